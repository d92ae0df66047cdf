//! Requests for pixels and tracked links. A row stays until enough is known to tell people from machines; then it becomes an observation.

use model::{MessageId, TenantId, Timestamp, Ulid};

use crate::{Error, Given, Kind, Row, Tx, messages::ContentId};

/// A row of `tracking_hits`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    /// When it is judged.
    pub settle_at: Timestamp,
    /// Of which message.
    pub message_id: MessageId,
    /// Which request.
    pub id: Ulid,
    /// Whose.
    pub tenant_id: TenantId,
    /// What was asked for and how, as JSON.
    pub hit: String,
    /// When it came.
    pub at: Timestamp,
}

fn read(mut row: Row) -> Result<Hit, Error> {
    let row = &mut row;
    Ok(Hit {
        settle_at: row.get(0)?,
        message_id: row.get(1)?,
        id: row.get::<ContentId>(2)?.0,
        tenant_id: row.get(3)?,
        hit: row.get(4)?,
        at: row.get(5)?,
    })
}

const COLUMNS: &str = "settle_at, message_id, id, tenant_id, hit, at";

/// Adds a request, unless its message has `most` waiting already. `false` when it has.
pub async fn insert(tx: &mut Tx, tenant: TenantId, hit: &Hit, most: i64) -> Result<bool, Error> {
    let sql = "SELECT COUNT(*) FROM tracking_hits WHERE tenant_id = $1 AND message_id = $2";
    let waiting: i64 = tx.row(sql, &[&tenant, &hit.message_id]).await?.map_or(Ok(0), |mut row| row.get(0))?;
    if waiting >= most {
        return Ok(false);
    }
    let sql = format!("INSERT INTO tracking_hits ({COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6)");
    let id = ContentId(hit.id);
    tx.execute(&sql, &[&hit.settle_at, &hit.message_id, &id, &tenant, &hit.hit, &hit.at]).await?;
    Ok(true)
}

/// Messages of any tenants with a request to be judged, and all requests that wait for them, oldest first.
pub async fn due(tx: &mut Tx, now: Timestamp, limit: i64) -> Result<Vec<Hit>, Error> {
    let sql = "SELECT DISTINCT tenant_id, message_id FROM (SELECT tenant_id, message_id FROM tracking_hits WHERE settle_at <= $1 ORDER BY settle_at LIMIT $2) AS first";
    let keys: Vec<(TenantId, MessageId)> = tx
        .rows(sql, &[&now, &limit])
        .await?
        .into_iter()
        .map(|mut row| Ok::<_, Error>((row.get(0)?, row.get(1)?)))
        .collect::<Result<_, _>>()?;
    let mut given = Given::new(&[("tenant_id", Kind::Id), ("message_id", Kind::Id)]);
    for (tenant, message) in &keys {
        given.row([tenant, message]);
    }
    let rows = tx.match_many(&format!("SELECT {COLUMNS} FROM tracking_hits"), &given, "").await?;
    let mut hits: Vec<Hit> = rows.into_iter().map(read).collect::<Result<_, _>>()?;
    hits.sort_by_key(|hit| (hit.message_id, hit.at, hit.id));
    Ok(hits)
}

/// Removes requests that were judged.
pub async fn remove_many(tx: &mut Tx, hits: &[Hit]) -> Result<(), Error> {
    let ids: Vec<_> = hits.iter().map(|hit| ContentId(hit.id)).collect();
    let mut given = Given::new(&[("settle_at", Kind::Time), ("message_id", Kind::Id), ("id", Kind::Id)]);
    for (hit, id) in hits.iter().zip(&ids) {
        given.row([&hit.settle_at, &hit.message_id, id]);
    }
    tx.delete_many_later("tracking_hits", &given).await
}
