//! What was sent in a time, as prices are tried on it: read from the sums, and, for what the sums do not tell apart, from what messages were charged as.
//!
//! Without a tenant it is about everybody whose ledger is kept in one currency and who is billed: what others send costs nobody anything in it.

use model::{Channel, MessageId, Purpose, TenantId, Timestamp};

use crate::{Error, Row, Tx, retention::first_id, sql::Sql};

/// How much of an address is enough to tell its country: the calling code, and where several countries share one, the digits their numbers differ in. An erased address is as long.
const BEGINNING: usize = 9;
/// How far a message's id may lie from the instant it was accepted in: ids do not go back when a clock does.
const SKEW_S: i64 = 3_600;

/// Messages that were sent and are priced together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// Over which channel.
    pub channel: Channel,
    /// Through which connector.
    pub provider: String,
    /// Why.
    pub purpose: Purpose,
    /// To which country, as sums name it; of kinds, the address of one of them.
    pub place: String,
    /// As what kind they were charged; empty for sums, which do not say.
    pub category: String,
    /// How many.
    pub messages: i64,
    /// How many parts they have, as far as they are known.
    pub segments: i64,
    /// Of how many messages they are not; sums do not say.
    pub uncounted: i64,
}

fn read(mut row: Row) -> Result<Sent, Error> {
    Ok(Sent {
        channel: row.get(0)?,
        provider: row.get(1)?,
        purpose: row.get(2)?,
        place: row.get(3)?,
        category: row.get(4)?,
        messages: row.get(5)?,
        segments: row.get(6)?,
        uncounted: row.get(7)?,
    })
}

/// A condition: the column is the tenant, or one who is billed in this currency.
fn whose(sql: &mut Sql, column: &str, tenant: Option<TenantId>, currency: &str) {
    sql.push(&format!(" AND {column} "));
    match tenant {
        Some(tenant) => sql.push("= ").bind(tenant),
        None => billed(sql.push("IN "), currency),
    };
}

fn billed<'a>(sql: &'a mut Sql, currency: &str) -> &'a mut Sql {
    sql.push("(SELECT tenant_id FROM credit_ledgers WHERE mode <> 'none' AND currency = ").bind(currency).push(")")
}

/// What was sent of messages accepted in a time, by channel, connector, purpose and country; up to `limit` groups, the largest first.
pub async fn sent(
    tx: &mut Tx,
    tenant: Option<TenantId>,
    currency: &str,
    (from, until): (Timestamp, Timestamp),
    limit: i64,
) -> Result<Vec<Sent>, Error> {
    let mut sql = Sql::default();
    sql.push(" FROM message_counters WHERE at >= ").bind(from).push(" AND at < ").bind(until);
    whose(&mut sql, "tenant_id", tenant, currency);
    sql.push(" GROUP BY channel, provider, purpose, country HAVING SUM(sent) > 0 ORDER BY SUM(sent) DESC LIMIT ");
    sql.bind(limit);
    let head = "SELECT channel, provider, purpose, country, '', CAST(SUM(sent) AS BIGINT), CAST(SUM(segments) AS BIGINT), CAST(0 AS BIGINT)";
    sql.rows(tx, head).await?.into_iter().map(read).collect()
}

/// What was sent and charged as a particular kind of its channel, of messages accepted in a time, the way they went last and each way they left: of the last `scanned` of them, up to `limit`
/// groups, the largest first.
pub async fn kinds(
    tx: &mut Tx,
    tenant: Option<TenantId>,
    currency: &str,
    (from, until): (Timestamp, Timestamp),
    scanned: i64,
    limit: i64,
) -> Result<Vec<Sent>, Error> {
    let mut found = Vec::new();
    // The way messages went last, and the ways they left.
    let last = ("category FROM message_charges WHERE category <> '' AND state = 'settled'", "m");
    let left = (
        "charge ->> 'category' AS category, channel, connector, address, segments, sent_at FROM former_routes WHERE charge ->> 'category' <> ''",
        "c",
    );
    for (charged, way) in [last, left] {
        let mut sql = Sql::default();
        sql.push(&format!(" FROM (SELECT tenant_id, message_id, {charged} AND message_id >= "))
            .bind(MessageId::from_ulid(first_id(from.plus_seconds(-SKEW_S))))
            .push(" AND message_id < ")
            .bind(MessageId::from_ulid(first_id(until.plus_seconds(SKEW_S))));
        whose(&mut sql, "tenant_id", tenant, currency);
        sql.push(" ORDER BY message_id DESC LIMIT ").bind(scanned);
        sql.push(
            ") AS c JOIN messages AS m ON m.tenant_id = c.tenant_id AND m.id = c.message_id WHERE m.created_at >= ",
        );
        sql.bind(from).push(" AND m.created_at < ").bind(until).push(&format!(
            " AND {way}.sent_at IS NOT NULL GROUP BY {way}.channel, {way}.connector, m.purpose, c.category, SUBSTR({way}.address, 1, {BEGINNING})"
        ));
        sql.push(" ORDER BY COUNT(*) DESC LIMIT ").bind(limit);
        let head = format!(
            "SELECT {way}.channel, COALESCE({way}.connector, ''), m.purpose, MIN({way}.address), c.category, COUNT(*), CAST(SUM(COALESCE({way}.segments, 0)) AS BIGINT),
                COUNT(CASE WHEN COALESCE({way}.segments, 0) > 0 THEN NULL ELSE 1 END)"
        );
        for row in sql.rows(tx, &head).await? {
            found.push(read(row)?);
        }
    }
    Ok(found)
}

/// Calls that were made, of messages accepted in a time, whose minutes nobody told, the way they went last and each way they left; up to `limit` groups, the largest first. Their parts are 0.
pub async fn without_minutes(
    tx: &mut Tx,
    tenant: Option<TenantId>,
    currency: &str,
    (from, until): (Timestamp, Timestamp),
    limit: i64,
) -> Result<Vec<Sent>, Error> {
    let mut found = Vec::new();
    let last = ("messages AS m", "m", "m.id");
    let left = (
        "former_routes AS c JOIN messages AS m ON m.tenant_id = c.tenant_id AND m.id = c.message_id",
        "c",
        "c.message_id",
    );
    for (table, way, id) in [last, left] {
        let mut sql = Sql::default();
        sql.push(&format!(" FROM {table} WHERE {way}.channel = {} AND {id} >= ", Channel::Voice.code()))
            .bind(MessageId::from_ulid(first_id(from.plus_seconds(-SKEW_S))))
            .push(&format!(" AND {id} < "))
            .bind(MessageId::from_ulid(first_id(until.plus_seconds(SKEW_S))));
        whose(&mut sql, "m.tenant_id", tenant, currency);
        sql.push(" AND m.created_at >= ").bind(from).push(" AND m.created_at < ").bind(until);
        sql.push(&format!(
            " AND {way}.sent_at IS NOT NULL AND COALESCE({way}.segments, 0) = 0 GROUP BY {way}.channel, {way}.connector, m.purpose, SUBSTR({way}.address, 1, {BEGINNING})
             ORDER BY COUNT(*) DESC LIMIT "
        ));
        sql.bind(limit);
        let head = format!(
            "SELECT {way}.channel, COALESCE({way}.connector, ''), m.purpose, MIN({way}.address), '', COUNT(*), CAST(0 AS BIGINT), COUNT(*)"
        );
        for row in sql.rows(tx, &head).await? {
            found.push(read(row)?);
        }
    }
    Ok(found)
}

/// Tenants who sent something in a time and are not billed in this currency.
pub async fn not_billed(tx: &mut Tx, currency: &str, (from, until): (Timestamp, Timestamp)) -> Result<i64, Error> {
    let mut sql = Sql::default();
    sql.push(" FROM message_counters WHERE sent > 0 AND at >= ").bind(from).push(" AND at < ").bind(until);
    billed(sql.push(" AND tenant_id NOT IN "), currency);
    let found = sql.rows(tx, "SELECT COUNT(DISTINCT tenant_id)").await?;
    found.into_iter().next().map_or(Ok(0), |mut row| row.get(0))
}
