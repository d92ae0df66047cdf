//! What does not fit together across tables: for the check of the ledger, which must find nothing. Each answers differences only, so however much there is, little is read out.

mod bills;
mod history;
mod prices;
mod purchases;
mod sums;

use model::{Channel, MessageId, Status, TenantId, Timestamp};

pub use self::{bills::*, history::*, prices::*, purchases::*, sums::*};
use crate::{
    Error, Param, Row, Tx,
    credits::{RESERVED, charged},
    retention,
};

/// The first of what was found, and how many there are of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found<T> {
    /// As many as were asked for.
    pub rows: Vec<T>,
    /// All of them.
    pub count: u64,
}

/// Of a message `m`: nothing Tidings says itself, which counts against no plan and costs nothing.
const NOT_OURS: &str = "(m.topic IS NULL OR m.topic NOT LIKE '%:%')";

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

/// What a message costs, or what its entries come to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Costs {
    /// What is set aside for it.
    pub aside: i64,
    /// What it was charged.
    pub charged: i64,
    /// What was set aside for it: by its charge for the way it goes now, by its entries for all ways it went.
    pub quoted: i64,
    /// How much of that promotional credit pays: by its charge for the way it goes now, by its entries for all ways it went.
    pub promo: i64,
}

/// A message whose entries do not come to what its charge says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mischarged {
    /// Which one.
    pub message_id: MessageId,
    /// The state of its charge, and what that says; `None` when there is none.
    pub charge: Option<(String, Costs)>,
    /// What its entries say.
    pub entries: Costs,
}

/// What entries come to, message by message, without those that set aside for several together, or charged them. `first` and `last` are the first and the last entry that set something aside.
const BY_MESSAGE: &str = "SELECT message_id, CAST(SUM(CASE WHEN to_book = 'reserved' THEN amount ELSE 0 END) - SUM(CASE WHEN from_book = 'reserved' THEN amount ELSE 0 END) AS BIGINT) AS aside,
    CAST(SUM(CASE WHEN to_book = 'revenue' THEN amount ELSE 0 END) - SUM(CASE WHEN from_book = 'revenue' THEN amount ELSE 0 END) AS BIGINT) AS charged,
    CAST(SUM(CASE WHEN from_book = 'promotional' AND kind <> 'expire' THEN amount ELSE 0 END) - SUM(CASE WHEN to_book = 'promotional' THEN amount ELSE 0 END) AS BIGINT) AS promo,
    CAST(SUM(CASE WHEN kind = 'reserve' THEN amount ELSE 0 END) AS BIGINT) AS quoted,
    MIN(CASE WHEN kind = 'reserve' THEN number END) AS first, MAX(CASE WHEN kind = 'reserve' THEN number END) AS last
    FROM credit_entries WHERE tenant_id = $1 AND message_id >= $2 AND message_id < $3 AND messages IS NULL GROUP BY message_id";

/// What messages cost: what is set aside stands in a message's row, and what it was charged before that, or in all, in its charge. `is_free`: so it is the way it goes now.
fn owed(charges: &str) -> String {
    format!(
        "SELECT m.id AS message_id, 'reserved' AS state, CAST(m.aside ->> 'quoted' AS BIGINT) AS quoted, COALESCE(c.charged, 0) AS charged,
        COALESCE(CAST(m.aside ->> 'promo' AS BIGINT), 0) AS promo, COALESCE(CAST(m.aside ->> 'charged_before' AS BIGINT), 0) AS charged_before,
        CAST(m.aside ->> 'unit' AS BIGINT) = 0 AND (m.aside ->> 'markup' IS NULL OR COALESCE(CAST(m.aside ->> 'cost_unit' AS BIGINT), 0) = 0) AS is_free
        FROM messages AS m LEFT JOIN message_charges AS c ON c.tenant_id = m.tenant_id AND c.message_id = m.id
        WHERE m.tenant_id = $1 AND m.id >= $2 AND m.id < $3 AND m.aside IS NOT NULL
    UNION ALL SELECT c.message_id, c.state, c.quoted, c.charged, c.promo, c.charged_before, c.unit = 0 AND (c.markup IS NULL OR COALESCE(c.cost_unit, 0) = 0)
        FROM {charges} AS c WHERE c.tenant_id = $1 AND c.message_id >= $2 AND c.message_id < $3
        AND NOT EXISTS (SELECT 1 FROM messages AS m WHERE m.tenant_id = $1 AND m.id = c.message_id AND m.aside IS NOT NULL)"
    )
}

/// What was set aside for messages together with others, and charged: by what the messages say, or by the entries that did it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Together {
    /// How much was set aside.
    pub amount: i64,
    /// How much of that promotional credit paid, at least.
    pub promo: i64,
    /// For how many messages, each counted once for each book that pays a part of it.
    pub messages: i64,
    /// How much was charged.
    pub charged: i64,
    /// For how many messages.
    pub charges: i64,
    /// Some of them went another way after they were charged, of which nobody knows any more what paid how much: promotional credit may have paid more.
    pub is_blurred: bool,
}

impl std::ops::AddAssign for Together {
    fn add_assign(&mut self, more: Self) {
        self.amount += more.amount;
        self.promo += more.promo;
        self.messages += more.messages;
        self.charged += more.charged;
        self.charges += more.charges;
        self.is_blurred |= more.is_blurred;
    }
}

/// The tenant's messages, of those whose ids begin a range and lie before its end, whose entries and charge differ: set aside and not charged or given back, charged twice, paid otherwise by
/// promotional credit, or without one of the two. What was set aside more than once (another way, another try) was so in more entries than what was set aside last, and for a way that costs
/// nothing in none. What a message was charged and its own entries do not say (`even`) it was charged together with others, out of what was set aside; what its own entries and that took out of what is
/// set aside and its own did not bring there was set aside together with others (`share`), once: what all others come to is answered, to be held against [`moved_together`].
pub async fn mischarged(
    tx: &mut Tx,
    tenant: TenantId,
    (from, until): (MessageId, MessageId),
    limit: i64,
) -> Result<(Found<Mischarged>, Together), Error> {
    let sql = format!(
        // Both sides one under the other and put together by their message: SQLite joins what has no index row by row, which takes the square of their number.
        "WITH sides AS (SELECT message_id, state, quoted, charged, promo, charged_before, CASE WHEN is_free THEN 1 ELSE 0 END AS is_free, CAST(NULL AS BIGINT) AS own_aside,
                CAST(NULL AS BIGINT) AS own_charged, CAST(NULL AS BIGINT) AS own_quoted, CAST(NULL AS BIGINT) AS own_promo, CAST(NULL AS BIGINT) AS first, CAST(NULL AS BIGINT) AS last
                FROM ({}) AS c
            UNION ALL SELECT message_id, NULL, NULL, NULL, NULL, NULL, NULL, aside, charged, quoted, promo, first, last FROM ({BY_MESSAGE}) AS e),
        joined AS (SELECT message_id, MAX(state) AS state, MAX(quoted) AS quoted, CAST(SUM(charged) AS BIGINT) AS charged, MAX(promo) AS promo, MAX(charged_before) AS charged_before,
            MAX(is_free) AS is_free, COALESCE(MAX(own_aside), 0) AS own_aside, COALESCE(MAX(own_charged), 0) AS own_charged, COALESCE(MAX(own_quoted), 0) AS own_quoted,
            COALESCE(MAX(own_promo), 0) AS own_promo, MAX(first) AS first, MAX(last) AS last, CAST(SUM(charged) AS BIGINT) - COALESCE(MAX(own_charged), 0) AS even,
            CASE WHEN MAX(state) = 'reserved' THEN MAX(quoted) ELSE 0 END - COALESCE(MAX(own_aside), 0) + CAST(SUM(charged) AS BIGINT) - COALESCE(MAX(own_charged), 0) AS share
            FROM sides GROUP BY message_id),
        judged AS (SELECT joined.*, CASE WHEN state IS NULL OR share < 0 OR even < 0 OR own_quoted + share < quoted
            OR (share = 0 AND own_promo < promo) OR (share > 0 AND promo - own_promo > share) OR (charged_before = 0 AND (own_promo > promo OR (share = 0 AND own_promo <> promo)))
            OR (CASE WHEN share > 0 THEN first IS NULL ELSE COALESCE(last - first, 0) <= 1 END AND own_quoted + share <> quoted AND NOT (quoted = 0
                AND (is_free = 1 OR EXISTS (SELECT 1 FROM former_routes r WHERE r.tenant_id = $1 AND r.message_id = joined.message_id)))) THEN 1 ELSE 0 END AS is_wrong FROM joined)
        SELECT CAST(SUM(is_wrong) OVER () AS BIGINT), CAST(SUM(CASE WHEN is_wrong = 0 THEN share ELSE 0 END) OVER () AS BIGINT),
            CAST(SUM(CASE WHEN is_wrong = 0 AND share > 0 AND promo > own_promo THEN promo - own_promo ELSE 0 END) OVER () AS BIGINT),
            CAST(SUM(CASE WHEN is_wrong = 1 OR share <= 0 THEN 0 WHEN promo <= own_promo OR promo - own_promo = share THEN 1 ELSE 2 END) OVER () AS BIGINT),
            CAST(SUM(CASE WHEN is_wrong = 0 THEN even ELSE 0 END) OVER () AS BIGINT), CAST(SUM(CASE WHEN is_wrong = 0 AND even > 0 THEN 1 ELSE 0 END) OVER () AS BIGINT),
            CAST(SUM(CASE WHEN share > 0 AND charged_before <> 0 THEN 1 ELSE 0 END) OVER () AS BIGINT),
            CAST(is_wrong AS BIGINT), message_id, state, quoted, charged, promo, own_aside, own_charged, own_quoted, own_promo
        FROM judged ORDER BY is_wrong DESC, message_id LIMIT {limit}",
        owed(&charged(tx.dialect()))
    );
    let (mut found, mut together) = (Found { rows: Vec::new(), count: 0 }, Together::default());
    for mut row in tx.rows(&sql, &[&tenant, &from, &until]).await? {
        let (wrong, blurred, is_wrong): (i64, i64, i64) = (row.get(0)?, row.get(6)?, row.get(7)?);
        found.count = wrong.unsigned_abs();
        let (charged, charges, is_blurred) = (row.get(4)?, row.get(5)?, blurred > 0);
        together =
            Together { amount: row.get(1)?, promo: row.get(2)?, messages: row.get(3)?, charged, charges, is_blurred };
        if is_wrong == 0 {
            break;
        }
        let state: Option<String> = row.get(9)?;
        let charge = match state {
            Some(state) => {
                let (quoted, charged, promo) = (row.get(10)?, row.get(11)?, row.get(12)?);
                let aside = if state == RESERVED { quoted } else { 0 };
                Some((state, Costs { aside, charged, quoted, promo }))
            }
            None => None,
        };
        let entries = Costs { aside: row.get(13)?, charged: row.get(14)?, quoted: row.get(15)?, promo: row.get(16)? };
        found.rows.push(Mischarged { message_id: row.get(8)?, charge, entries });
    }
    Ok((found, together))
}

/// What a tenant's entries set aside for several messages together, and charged them.
pub async fn moved_together(tx: &mut Tx, tenant: TenantId) -> Result<Together, Error> {
    let sql = "SELECT CAST(COALESCE(SUM(CASE WHEN to_book = 'reserved' THEN amount ELSE 0 END), 0) AS BIGINT),
            CAST(COALESCE(SUM(CASE WHEN from_book = 'promotional' THEN amount ELSE 0 END), 0) AS BIGINT),
            CAST(COALESCE(SUM(CASE WHEN to_book = 'reserved' THEN messages ELSE 0 END), 0) AS BIGINT),
            CAST(COALESCE(SUM(CASE WHEN to_book = 'revenue' THEN amount ELSE 0 END), 0) AS BIGINT),
            CAST(COALESCE(SUM(CASE WHEN to_book = 'revenue' THEN messages ELSE 0 END), 0) AS BIGINT)
        FROM credit_entries WHERE tenant_id = $1 AND messages IS NOT NULL";
    let Some(mut row) = tx.row(sql, &[&tenant]).await? else { return Ok(Together::default()) };
    let (charged, charges) = (row.get(3)?, row.get(4)?);
    Ok(Together { amount: row.get(0)?, promo: row.get(1)?, messages: row.get(2)?, charged, charges, is_blurred: false })
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
            "({m}.charge IS NOT NULL OR EXISTS (SELECT 1 FROM message_charges c WHERE c.tenant_id = $1 AND c.message_id = {m}.id AND c.state = 'settled'))"
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
        "SELECT (SELECT COUNT(*) FROM messages m WHERE m.tenant_id = $1 AND m.id >= $5 AND m.channel = $2 AND m.created_at >= $3 AND m.created_at < $4
                AND {NOT_OURS} AND (m.sent_at IS NOT NULL OR m.status NOT IN ({over})))
            + (SELECT COUNT(*) FROM former_routes r JOIN messages m ON m.tenant_id = r.tenant_id AND m.id = r.message_id
                WHERE r.tenant_id = $1 AND r.message_id >= $5 AND r.channel = $2 AND r.sent_at IS NOT NULL AND m.created_at >= $3 AND m.created_at < $4)"
    );
    let row = tx.row(&sql, &[&tenant, &channel, &starts_at, &ends_at, &from]).await?;
    row.map_or(Ok(0), |mut row| row.get(0))
}
