//! Events: what we tell tenants, appended in the transaction of what they tell about. Streams and webhook replays read them back.

use model::{EventId, TenantId, Timestamp};

use crate::{Dialect, Error, Given, Kind, Row, Tx};

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its id, the same on every channel it is told over.
    pub id: EventId,
    /// Whose.
    pub tenant_id: TenantId,
    /// Its type, such as `message.delivered`.
    pub kind: String,
    /// When it happened.
    pub at: Timestamp,
    /// The JSON object it carries.
    pub data: String,
}

/// A place in a tenant's stream: events after it are newer. Ordered by commit, so a reader that has passed a place misses nothing before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Place {
    txid: i64,
    seq: i64,
}

/// Appends events.
pub async fn insert_many(tx: &mut Tx, events: &[Event]) -> Result<(), Error> {
    let mut given = Given::new(&[
        ("tenant_id", Kind::Id),
        ("id", Kind::Id),
        ("type", Kind::Text),
        ("at", Kind::Time),
        ("data", Kind::Text),
    ]);
    for e in events {
        given.row([&e.tenant_id, &e.id, &e.kind, &e.at, &e.data]);
    }
    tx.insert_many("events", &given, "").await.map(drop)
}

/// Transactions that began later may still commit with a smaller number on PostgreSQL: events of unsettled ones are not shown yet.
fn settled(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Sqlite => "",
        Dialect::Postgres => "AND txid < pg_snapshot_xmin(pg_current_snapshot())::TEXT::BIGINT",
    }
}

/// Up to `limit` of a tenant's events after `after`, oldest first, each with its place.
pub async fn after(tx: &mut Tx, tenant: TenantId, after: Place, limit: i64) -> Result<Vec<(Place, Event)>, Error> {
    let sql = format!(
        "SELECT txid, seq, id, tenant_id, type, at, data FROM events WHERE tenant_id = $1 AND (txid, seq) > ($2, $3) {} ORDER BY txid, seq LIMIT $4",
        settled(tx.dialect())
    );
    let read = |mut row: Row| {
        let row = &mut row;
        let place = Place { txid: row.get(0)?, seq: row.get(1)? };
        Ok((
            place,
            Event { id: row.get(2)?, tenant_id: row.get(3)?, kind: row.get(4)?, at: row.get(5)?, data: row.get(6)? },
        ))
    };
    tx.rows(&sql, &[&tenant, &after.txid, &after.seq, &limit]).await?.into_iter().map(read).collect()
}

/// The place of a tenant's newest event: where a stream without history begins.
pub async fn newest(tx: &mut Tx, tenant: TenantId) -> Result<Place, Error> {
    let sql = format!(
        "SELECT txid, seq FROM events WHERE tenant_id = $1 {} ORDER BY txid DESC, seq DESC LIMIT 1",
        settled(tx.dialect())
    );
    match tx.row(&sql, &[&tenant]).await? {
        Some(mut row) => Ok(Place { txid: row.get(0)?, seq: row.get(1)? }),
        None => Ok(Place::default()),
    }
}

/// The place of an event a reader has seen; `None` when it is no longer kept.
pub async fn place_of(tx: &mut Tx, tenant: TenantId, id: EventId) -> Result<Option<Place>, Error> {
    // Ids are made shortly before the commit, in time order, so the row lies near the end for a reader that was away briefly.
    let sql = "SELECT txid, seq FROM events WHERE tenant_id = $1 AND id = $2 ORDER BY txid DESC, seq DESC LIMIT 1";
    let row = tx.row(sql, &[&tenant, &id]).await?;
    row.map(|mut row| Ok(Place { txid: row.get(0)?, seq: row.get(1)? })).transpose()
}

/// A tenant's events from `since` on, oldest first, after `after`: for replays to an endpoint.
pub async fn since(
    tx: &mut Tx,
    tenant: TenantId,
    after_place: Place,
    since: Timestamp,
    until: Timestamp,
    limit: i64,
) -> Result<Vec<(Place, Event)>, Error> {
    let mut page = after(tx, tenant, after_place, limit).await?;
    page.retain(|(_, event)| event.at >= since && event.at < until);
    Ok(page)
}

/// Forgets events older than `before`, of any tenant, in the order they were written. Answers how many.
pub async fn purge(tx: &mut Tx, before: Timestamp, limit: i64) -> Result<u64, Error> {
    let sql = "DELETE FROM events WHERE seq IN (SELECT seq FROM (SELECT seq, at FROM events ORDER BY seq LIMIT $2) AS oldest WHERE at < $1)";
    tx.execute(sql, &[&before, &limit]).await
}
