//! What messages say, as JSON. Written once, shared by all messages of a batch that say the same.

use model::TenantId;

use crate::{Error, Given, Kind, Tx, messages::ContentId};

/// Writes contents: (tenant, id, JSON). One that is there stays as it is: an event keeps its content over replays.
pub async fn insert_many(tx: &mut Tx, contents: &[(TenantId, ContentId, String)]) -> Result<(), Error> {
    let mut given = Given::new(&[("tenant_id", Kind::Id), ("id", Kind::Id), ("body", Kind::Text)]);
    for (tenant, id, body) in contents {
        given.row([tenant, id, body]);
    }
    tx.insert_many("contents", &given, "ON CONFLICT DO NOTHING").await.map(drop)
}

/// Reads contents of any tenants: for the dispatcher.
pub async fn find_many(tx: &mut Tx, keys: &[(TenantId, ContentId)]) -> Result<Vec<(ContentId, String)>, Error> {
    let mut given = Given::new(&[("tenant_id", Kind::Id), ("id", Kind::Id)]);
    for (tenant, id) in keys {
        given.row([tenant, id]);
    }
    let rows = tx.match_many("SELECT id, body FROM contents", &given, "").await?;
    rows.into_iter().map(|mut row| Ok((row.get(0)?, row.get(1)?))).collect()
}
