//! How much of its plan a tenant used: one row for each channel and month on its clock.

use model::{Channel, TenantId, Timestamp};

use crate::{Error, Given, Kind, Row, Tx};

/// A row of `quota_counters`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counter {
    /// Whose.
    pub tenant_id: TenantId,
    /// Over which channel.
    pub channel: Channel,
    /// The first instant of the month.
    pub starts_at: Timestamp,
    /// The first instant after it.
    pub ends_at: Timestamp,
    /// Messages that count.
    pub used: i64,
    /// The highest percentage the tenant was told of.
    pub warned: i64,
    /// Of how many messages; 0 when that is not known.
    pub warned_of: i64,
}

const COLUMNS: &str = "tenant_id, channel, starts_at, ends_at, used, warned, warned_of";

fn read(mut row: Row) -> Result<Counter, Error> {
    let row = &mut row;
    Ok(Counter {
        tenant_id: row.get(0)?,
        channel: row.get(1)?,
        starts_at: row.get(2)?,
        ends_at: row.get(3)?,
        used: row.get(4)?,
        warned: row.get(5)?,
        warned_of: row.get(6)?,
    })
}

/// The counters of a tenant's channel that end after `since`, the earliest first. Nobody else counts there until this transaction ends; whoever locks several does so in the order of
/// their tenants and channels.
pub async fn lock(tx: &mut Tx, tenant: TenantId, channel: Channel, since: Timestamp) -> Result<Vec<Counter>, Error> {
    let sql = format!(
        "SELECT {COLUMNS} FROM quota_counters WHERE tenant_id = $1 AND channel = $2 AND ends_at > $3 ORDER BY starts_at {}",
        tx.dialect().for_update()
    );
    tx.rows(&sql, &[&tenant, &channel, &since]).await?.into_iter().map(read).collect()
}

/// The last counter of a channel that begins by an instant, and when the first one after it begins.
pub async fn around(
    tx: &mut Tx,
    tenant: TenantId,
    channel: Channel,
    at: Timestamp,
) -> Result<(Option<Counter>, Option<Timestamp>), Error> {
    let of = "FROM quota_counters WHERE tenant_id = $1 AND channel = $2 AND starts_at";
    let before = format!("SELECT {COLUMNS} {of} <= $3 ORDER BY starts_at DESC LIMIT 1");
    let after = format!("SELECT starts_at {of} > $3 ORDER BY starts_at LIMIT 1");
    let before = tx.row(&before, &[&tenant, &channel, &at]).await?.map(read).transpose()?;
    let after = tx.row(&after, &[&tenant, &channel, &at]).await?.map(|mut row| row.get(0)).transpose()?;
    Ok((before, after))
}

/// Lets a counter go on until a later instant.
pub async fn prolong(tx: &mut Tx, counter: &Counter, ends_at: Timestamp) -> Result<(), Error> {
    let sql = "UPDATE quota_counters SET ends_at = $1 WHERE tenant_id = $2 AND channel = $3 AND starts_at = $4";
    tx.execute(sql, &[&ends_at, &counter.tenant_id, &counter.channel, &counter.starts_at]).await.map(drop)
}

/// Begins counters that are not there yet; their tenants are their own.
pub async fn begin_many(tx: &mut Tx, counters: &[Counter]) -> Result<(), Error> {
    write_many(tx, counters, "ON CONFLICT (tenant_id, channel, starts_at) DO NOTHING").await
}

/// Writes counters the caller has locked; their tenants are their own.
pub async fn put_many(tx: &mut Tx, counters: &[Counter]) -> Result<(), Error> {
    let suffix = "ON CONFLICT (tenant_id, channel, starts_at) DO UPDATE SET used = excluded.used, warned = excluded.warned, warned_of = excluded.warned_of";
    write_many(tx, counters, suffix).await
}

async fn write_many(tx: &mut Tx, counters: &[Counter], suffix: &str) -> Result<(), Error> {
    let mut given = Given::new(&[
        ("tenant_id", Kind::Id),
        ("channel", Kind::Int),
        ("starts_at", Kind::Time),
        ("ends_at", Kind::Time),
        ("used", Kind::Int),
        ("warned", Kind::Int),
        ("warned_of", Kind::Int),
    ]);
    for c in counters {
        given.row([&c.tenant_id, &c.channel, &c.starts_at, &c.ends_at, &c.used, &c.warned, &c.warned_of]);
    }
    tx.insert_many_later("quota_counters", &given, suffix).await
}

/// Removes a counter: nobody speaks of its channel any more.
pub async fn remove(tx: &mut Tx, tenant: TenantId, channel: Channel, starts_at: Timestamp) -> Result<(), Error> {
    let sql = "DELETE FROM quota_counters WHERE tenant_id = $1 AND channel = $2 AND starts_at = $3";
    tx.execute(sql, &[&tenant, &channel, &starts_at]).await.map(drop)
}

/// The tenant's counters of the months an instant lies in, by channel.
pub async fn at(tx: &mut Tx, tenant: TenantId, at: Timestamp) -> Result<Vec<Counter>, Error> {
    let sql = format!(
        "SELECT {COLUMNS} FROM quota_counters WHERE tenant_id = $1 AND starts_at <= $2 AND ends_at > $2 ORDER BY channel"
    );
    tx.rows(&sql, &[&tenant, &at]).await?.into_iter().map(read).collect()
}

/// All the tenant's counters, the earliest first. For the recount.
pub async fn all(tx: &mut Tx, tenant: TenantId) -> Result<Vec<Counter>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM quota_counters WHERE tenant_id = $1 ORDER BY starts_at, channel");
    tx.rows(&sql, &[&tenant]).await?.into_iter().map(read).collect()
}
