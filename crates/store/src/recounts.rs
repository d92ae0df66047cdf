//! What does not fit together across tables: for the check of the ledger, which must find nothing. Each answers differences only, so however much there is, little is read out.

mod bills;
mod history;
mod purchases;
mod sums;

use model::{Channel, MessageId, Status, TenantId, Timestamp};

pub use self::{bills::*, history::*, purchases::*, sums::*};
use crate::{Error, Param, Row, Tx, retention};

/// The first of what was found, and how many there are of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found<T> {
    /// As many as were asked for.
    pub rows: Vec<T>,
    /// All of them.
    pub count: u64,
}

/// Runs a statement that finds differences, in one snapshot. They come in the order of its first column.
async fn found<T>(
    tx: &mut Tx,
    sql: &str,
    params: &[&dyn Param],
    limit: i64,
    read: impl Fn(Row) -> Result<T, Error>,
) -> Result<Found<T>, Error> {
    let sql = format!("SELECT COUNT(*) OVER (), found.* FROM ({sql}) AS found ORDER BY 2 LIMIT {limit}");
    let mut found = Found { rows: Vec::new(), count: 0 };
    for mut row in tx.rows(&sql, params).await? {
        found.count = row.get(0)?;
        row.0.remove(0);
        found.rows.push(read(row)?);
    }
    Ok(found)
}

/// A message whose entries do not come to what its charge says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mischarged {
    /// Which one.
    pub message_id: MessageId,
    /// The charge's state, quote and amount; `None` when there is no charge.
    pub charge: Option<(String, i64, i64)>,
    /// What its entries leave set aside.
    pub aside: i64,
    /// What its entries charged.
    pub paid: i64,
}

/// What entries come to, message by message. `first` and `last` are the first and the last entry that set something aside.
const BY_MESSAGE: &str = "SELECT message_id, CAST(SUM(CASE WHEN to_book = 'reserved' THEN amount ELSE 0 END) - SUM(CASE WHEN from_book = 'reserved' THEN amount ELSE 0 END) AS BIGINT) AS aside,
    CAST(SUM(CASE WHEN to_book = 'revenue' THEN amount ELSE 0 END) - SUM(CASE WHEN from_book = 'revenue' THEN amount ELSE 0 END) AS BIGINT) AS paid,
    CAST(SUM(CASE WHEN from_book = 'promotional' AND kind <> 'expire' THEN amount ELSE 0 END) - SUM(CASE WHEN to_book = 'promotional' THEN amount ELSE 0 END) AS BIGINT) AS promo,
    CAST(SUM(CASE WHEN kind = 'reserve' THEN amount ELSE 0 END) AS BIGINT) AS quoted,
    MIN(CASE WHEN kind = 'reserve' THEN number END) AS first, MAX(CASE WHEN kind = 'reserve' THEN number END) AS last
    FROM credit_entries WHERE tenant_id = $1 AND message_id IS NOT NULL GROUP BY message_id";

/// What messages cost: what is set aside stands in a message's row, and what it was charged before that, or in all, in its charge.
const OWED: &str = "SELECT m.id AS message_id, 'reserved' AS state, CAST(m.aside ->> 'quoted' AS BIGINT) AS quoted, COALESCE(c.charged, 0) AS charged,
        COALESCE(CAST(m.aside ->> 'promo' AS BIGINT), 0) AS promo, COALESCE(CAST(m.aside ->> 'charged_before' AS BIGINT), 0) AS charged_before FROM messages AS m
        LEFT JOIN message_charges AS c ON c.tenant_id = m.tenant_id AND c.message_id = m.id WHERE m.tenant_id = $1 AND m.aside IS NOT NULL
    UNION ALL SELECT c.message_id, c.state, c.quoted, c.charged, c.promo, c.charged_before FROM message_charges AS c WHERE c.tenant_id = $1
        AND NOT EXISTS (SELECT 1 FROM messages AS m WHERE m.tenant_id = $1 AND m.id = c.message_id AND m.aside IS NOT NULL)";

/// The tenant's messages whose entries and charge differ: set aside and not charged or given back, charged twice, or without one of the two.
pub async fn mischarged(tx: &mut Tx, tenant: TenantId, limit: i64) -> Result<Found<Mischarged>, Error> {
    let sql = format!(
        "SELECT c.message_id, COALESCE(e.aside, 0), COALESCE(e.paid, 0), c.state, c.quoted, c.charged
         FROM ({OWED}) c LEFT JOIN ({BY_MESSAGE}) e ON e.message_id = c.message_id
         WHERE (COALESCE(e.aside, 0) <> CASE WHEN c.state = 'reserved' THEN c.quoted ELSE 0 END OR COALESCE(e.paid, 0) <> c.charged)
         UNION ALL SELECT e.message_id, e.aside, e.paid, NULL, NULL, NULL FROM ({BY_MESSAGE}) e
         WHERE NOT EXISTS (SELECT 1 FROM message_charges c WHERE c.tenant_id = $1 AND c.message_id = e.message_id)
            AND NOT EXISTS (SELECT 1 FROM messages AS m WHERE m.tenant_id = $1 AND m.id = e.message_id AND m.aside IS NOT NULL)"
    );
    found(tx, &sql, &[&tenant], limit, |mut row| {
        let state: Option<String> = row.get(3)?;
        let charge = match state {
            Some(state) => Some((state, row.get(4)?, row.get(5)?)),
            None => None,
        };
        Ok(Mischarged { message_id: row.get(0)?, charge, aside: row.get(1)?, paid: row.get(2)? })
    })
    .await
}

/// A message whose charge says something else than its entries of how much was set aside for it, or of how much of it promotional credit pays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misquoted {
    /// Which one.
    pub message_id: MessageId,
    /// What its charge says was set aside.
    pub quoted: i64,
    /// What its entries set aside, for all ways it went.
    pub entries_quoted: i64,
    /// What its charge says promotional credit pays.
    pub promo: i64,
    /// What its entries took of promotional credit, for all ways it went.
    pub entries_promo: i64,
}

/// The tenant's messages whose charge and entries differ in what was set aside or in promotional credit. What was set aside more than once (another way, another try) was so in more entries than
/// what was set aside last.
pub async fn misquoted(tx: &mut Tx, tenant: TenantId, limit: i64) -> Result<Found<Misquoted>, Error> {
    let sql = format!(
        "SELECT c.message_id, c.quoted, COALESCE(e.quoted, 0), c.promo, COALESCE(e.promo, 0) FROM ({OWED}) c LEFT JOIN ({BY_MESSAGE}) e ON e.message_id = c.message_id
         WHERE COALESCE(e.quoted, 0) < c.quoted OR (COALESCE(e.last - e.first, 0) <= 1 AND COALESCE(e.quoted, 0) <> c.quoted)
            OR COALESCE(e.promo, 0) < c.promo OR (c.charged_before = 0 AND COALESCE(e.promo, 0) <> c.promo)"
    );
    found(tx, &sql, &[&tenant], limit, |mut row| {
        Ok(Misquoted {
            message_id: row.get(0)?,
            quoted: row.get(1)?,
            entries_quoted: row.get(2)?,
            promo: row.get(3)?,
            entries_promo: row.get(4)?,
        })
    })
    .await
}

/// The tenant's charges of messages that are not there, of those accepted since an instant.
pub async fn charges_of_nothing(
    tx: &mut Tx,
    tenant: TenantId,
    since: Timestamp,
    limit: i64,
) -> Result<Found<MessageId>, Error> {
    let sql = "SELECT c.message_id FROM message_charges c WHERE c.tenant_id = $1 AND c.message_id >= $2
        AND NOT EXISTS (SELECT 1 FROM messages m WHERE m.tenant_id = $1 AND m.id = c.message_id)";
    let since = MessageId::from_ulid(retention::first_id(since));
    found(tx, sql, &[&tenant, &since], limit, |mut row| row.get(0)).await
}

/// The tenant's messages that are called sent although nothing was ever tried.
pub async fn sent_without_attempt(tx: &mut Tx, tenant: TenantId, limit: i64) -> Result<Found<MessageId>, Error> {
    let sql = "SELECT m.id FROM messages m WHERE m.tenant_id = $1 AND m.sent_at IS NOT NULL
            AND NOT EXISTS (SELECT 1 FROM attempts a WHERE a.tenant_id = $1 AND a.message_id = m.id)
            AND NOT EXISTS (SELECT 1 FROM inflight f WHERE f.message_id = m.id)";
    found(tx, sql, &[&tenant], limit, |mut row| row.get(0)).await
}

/// The tenant's messages a provider took by an attempt on record, and that are not called sent: they would be sent for nothing.
pub async fn taken_and_not_sent(tx: &mut Tx, tenant: TenantId, limit: i64) -> Result<Found<MessageId>, Error> {
    let sql = "SELECT DISTINCT a.message_id FROM attempts a JOIN messages m ON m.tenant_id = a.tenant_id AND m.id = a.message_id
        WHERE a.tenant_id = $1 AND a.outcome = 0 AND m.sent_at IS NULL
            AND NOT EXISTS (SELECT 1 FROM former_routes r WHERE r.tenant_id = $1 AND r.message_id = m.id)";
    found(tx, sql, &[&tenant], limit, |mut row| row.get(0)).await
}

/// The tenant's charged messages that an account's provider knows by the id of another charged one: it took one and two were paid. Mail
/// servers name what they queue, and use a name again.
pub async fn charged_as_one(tx: &mut Tx, tenant: TenantId, limit: i64) -> Result<Found<(MessageId, MessageId)>, Error> {
    let is_charged = |m: &str| {
        format!(
            "EXISTS (SELECT 1 FROM message_charges c WHERE c.tenant_id = $1 AND c.message_id = {m}.id AND c.state = 'settled')"
        )
    };
    let sql = format!(
        "SELECT m.id, o.id AS other FROM messages m JOIN messages o ON o.account_id = m.account_id AND o.provider_message_id = m.provider_message_id AND o.tenant_id = m.tenant_id AND o.id < m.id
        WHERE m.tenant_id = $1 AND m.connector <> 'smtp' AND m.sent_at IS NOT NULL AND o.sent_at IS NOT NULL AND {} AND {}",
        is_charged("m"),
        is_charged("o")
    );
    found(tx, &sql, &[&tenant], limit, |mut row| Ok((row.get(1)?, row.get(0)?))).await
}

/// Messages of a channel that count for the tenant's plan, of those accepted in a time: what a counter of [`crate::quotas`] must say. One statement, so one snapshot of a month. Only ids from `from`
/// on are looked at.
pub async fn used(
    tx: &mut Tx,
    tenant: TenantId,
    channel: Channel,
    (starts_at, ends_at): (Timestamp, Timestamp),
    from: MessageId,
) -> Result<i64, Error> {
    // What arrived and is not called sent did so by a way it had left.
    let over = [
        Status::Failed,
        Status::Bounced,
        Status::Canceled,
        Status::Expired,
        Status::Suppressed,
        Status::Delivered,
        Status::Read,
    ];
    let over = over.map(|status| status.code().to_string()).join(", ");
    let sql = format!(
        "SELECT (SELECT COUNT(*) FROM messages WHERE tenant_id = $1 AND id >= $5 AND channel = $2 AND created_at >= $3 AND created_at < $4
                AND (topic IS NULL OR topic NOT LIKE '%:%') AND (sent_at IS NOT NULL OR status NOT IN ({over})))
            + (SELECT COUNT(*) FROM former_routes r JOIN messages m ON m.tenant_id = r.tenant_id AND m.id = r.message_id
                WHERE r.tenant_id = $1 AND r.message_id >= $5 AND r.channel = $2 AND r.sent_at IS NOT NULL AND m.created_at >= $3 AND m.created_at < $4)"
    );
    let row = tx.row(&sql, &[&tenant, &channel, &starts_at, &ends_at, &from]).await?;
    row.map_or(Ok(0), |mut row| row.get(0))
}
