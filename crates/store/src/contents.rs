//! What messages say, as JSON. Written once, shared by all messages of a batch that say the same.

use model::TenantId;

use crate::{Error, Given, Kind, Tx, messages::ContentId};

/// A row of `contents`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Whose.
    pub tenant_id: TenantId,
    /// Which.
    pub id: ContentId,
    /// What is said, as JSON.
    pub body: String,
    /// For a template's: what it needs to be filled, as JSON.
    pub template: Option<String>,
}

/// Writes contents. One that is there stays as it is: an event keeps its content over replays.
pub async fn insert_many(tx: &mut Tx, contents: &[Stored]) -> Result<(), Error> {
    let mut given =
        Given::new(&[("tenant_id", Kind::Id), ("id", Kind::Id), ("body", Kind::Text), ("template", Kind::Text)]);
    for c in contents {
        given.row([&c.tenant_id, &c.id, &c.body, &c.template]);
    }
    tx.insert_many_later("contents", &given, "ON CONFLICT DO NOTHING").await
}

/// Replaces what one of the tenant's contents says.
pub async fn replace(tx: &mut Tx, tenant: TenantId, id: ContentId, body: &str) -> Result<(), Error> {
    let sql = "UPDATE contents SET body = $1, template = NULL WHERE tenant_id = $2 AND id = $3";
    tx.execute(sql, &[&body, &tenant, &id]).await.map(drop)
}

/// Reads contents of any tenants: for the dispatcher.
pub async fn find_many(tx: &mut Tx, keys: &[(TenantId, ContentId)]) -> Result<Vec<Stored>, Error> {
    let mut given = Given::new(&[("tenant_id", Kind::Id), ("id", Kind::Id)]);
    for (tenant, id) in keys {
        given.row([tenant, id]);
    }
    let rows = tx.match_many("SELECT tenant_id, id, body, template FROM contents", &given, "").await?;
    rows.into_iter()
        .map(|mut row| Ok(Stored { tenant_id: row.get(0)?, id: row.get(1)?, body: row.get(2)?, template: row.get(3)? }))
        .collect()
}
