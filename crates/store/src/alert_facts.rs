//! What alerts are judged by, besides sums and account states: read in a handful of queries whose cost does not grow with the number of messages.

use model::{Channel, InvoiceId, MessageId, PurchaseId, RegistrationId, TenantId, Timestamp};

use crate::{Error, Row, Tx, sql::Sql};

/// Tenants that were not deleted and have had messages accepted in a slot from `since` on: one look at the primary key for each tenant. Across tenants.
pub async fn active_tenants(tx: &mut Tx, since: Timestamp, limit: i64) -> Result<Vec<TenantId>, Error> {
    let sql = "SELECT id FROM tenants WHERE deleted_at IS NULL
        AND EXISTS (SELECT 1 FROM message_counters WHERE message_counters.tenant_id = tenants.id AND message_counters.at >= $1) ORDER BY id LIMIT $2";
    tx.rows(sql, &[&since, &limit]).await?.into_iter().map(|mut row| row.get(0)).collect()
}

/// Tenants about whom rules remember something, whose mail domains, WhatsApp templates or registrations are in trouble, or whose credit is below its mark: without messages it falls, too. Across tenants.
pub async fn tenants_in_trouble(tx: &mut Tx, limit: i64) -> Result<Vec<TenantId>, Error> {
    let sql = "SELECT tenant_id FROM alert_states UNION SELECT tenant_id FROM domains WHERE state = 'failed'
        UNION SELECT tenant_id FROM whatsapp_templates WHERE status IN ('rejected', 'paused', 'disabled')
        UNION SELECT tenant_id FROM registrations WHERE state IN ('rejected', 'operator_needed')
        UNION SELECT tenant_id FROM credit_ledgers WHERE is_low AND mode = 'prepaid' ORDER BY tenant_id LIMIT $1";
    tx.rows(sql, &[&limit]).await?.into_iter().map(|mut row| row.get(0)).collect()
}

/// How many of the tenant's messages became dead letters from `since` on, counted up to `limit`, without those about `topics`. Messages older than `oldest` are not looked at.
pub async fn dead_letters(
    tx: &mut Tx,
    tenant: TenantId,
    since: Timestamp,
    oldest: MessageId,
    topics: &[&str],
    limit: i64,
) -> Result<i64, Error> {
    let mut sql = Sql::default();
    sql.push(" FROM (SELECT 1 FROM messages WHERE tenant_id = ").bind(tenant);
    sql.push(" AND dead_at IS NOT NULL AND id >= ").bind(oldest).push(" AND dead_at >= ").bind(since);
    sql.push(" AND channel <> ").bind(Channel::Webhook.code());
    for topic in topics {
        sql.push(" AND (topic IS NULL OR topic <> ").bind(*topic).push(")");
    }
    sql.push(" LIMIT ").bind(limit).push(") AS dead");
    let row = sql.rows(tx, "SELECT COUNT(*)").await?.into_iter().next();
    row.map_or(Ok(0), |mut row| row.get(0))
}

/// Something a provider or the DNS no longer vouches for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lapsed {
    /// `domain`, `registration` or `whatsapp_template`.
    pub kind: String,
    /// Its name; a registration has that of its account.
    pub name: String,
    /// The word of its state.
    pub state: String,
    /// Why, as far as it is known.
    pub reason: Option<String>,
}

/// The tenant's mail domains that failed, and its WhatsApp templates that may not be used, by name.
pub async fn lapsed(tx: &mut Tx, tenant: TenantId, limit: i64) -> Result<Vec<Lapsed>, Error> {
    let sql =
        "SELECT 'domain' AS kind, name, state, detail AS reason FROM domains WHERE tenant_id = $1 AND state = 'failed'
        UNION ALL SELECT 'whatsapp_template' AS kind, name, status AS state, reason FROM whatsapp_templates
            WHERE tenant_id = $1 AND status IN ('rejected', 'paused', 'disabled')
        UNION ALL SELECT 'registration' AS kind, a.name, r.state, r.problem AS reason FROM registrations AS r
            JOIN accounts AS a ON a.tenant_id = r.tenant_id AND a.id = r.account_id
            WHERE r.tenant_id = $1 AND r.state IN ('rejected', 'operator_needed')
        ORDER BY kind, name LIMIT $2";
    let read =
        |mut row: Row| Ok(Lapsed { kind: row.get(0)?, name: row.get(1)?, state: row.get(2)?, reason: row.get(3)? });
    tx.rows(sql, &[&tenant, &limit]).await?.into_iter().map(read).collect()
}

/// Mails that left through one connector over some time, of all tenants.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mails {
    /// Those the provider took.
    pub sent: i64,
    /// Those that came back.
    pub bounced: i64,
    /// Those that failed or came back because of the recipient.
    pub failed_recipient: i64,
    /// Those reported as unwanted.
    pub complained: i64,
}

/// Mails of everybody by connector, without those about `topics`: over the days from the first of `since` on, and from the second on, which is not earlier. Days are those of each tenant's clock, named by
/// their midnight as if that showed UTC. Goes to each tenant's days by the primary key, so the cost is in tenants and days, not in how long there are sums. Across tenants: for the operator's rules.
pub async fn mails(tx: &mut Tx, since: [Timestamp; 2], topics: &[&str]) -> Result<Vec<(String, [Mails; 2])>, Error> {
    let mut sql = Sql::default();
    sql.push(" FROM tenants CROSS JOIN message_days AS d WHERE d.tenant_id = tenants.id AND d.at >= ").bind(since[0]);
    sql.push(" AND d.channel = ").bind(Channel::Email.code());
    for topic in topics {
        sql.push(" AND d.topic <> ").bind(*topic);
    }
    // Which of the two times a day lies in is told apart here: it is a handful of rows.
    sql.push(" GROUP BY d.provider, d.at ORDER BY d.provider, d.at");
    let sum = |name: &str| format!("CAST(SUM(d.{name}) AS BIGINT)");
    let sums = ["sent", "bounced", "failed_recipient", "complained"].map(sum).join(", ");
    let head = format!("SELECT d.provider, d.at, {sums}");
    let mut found: Vec<(String, [Mails; 2])> = Vec::new();
    for mut row in sql.rows(tx, &head).await? {
        let (provider, at): (String, Timestamp) = (row.get(0)?, row.get(1)?);
        if found.last().is_none_or(|(last, _)| *last != provider) {
            found.push((provider, [Mails::default(); 2]));
        }
        let more =
            Mails { sent: row.get(2)?, bounced: row.get(3)?, failed_recipient: row.get(4)?, complained: row.get(5)? };
        let sums = &mut found.last_mut().expect("one was just pushed").1;
        for (sum, _) in sums.iter_mut().zip(since).filter(|(_, since)| at >= *since) {
            sum.sent += more.sent;
            sum.bounced += more.bounced;
            sum.failed_recipient += more.failed_recipient;
            sum.complained += more.complained;
        }
    }
    Ok(found)
}

/// What everybody's messages cost by day and currency, from `since` on and before `until`, without those of demo tenants, which are for show. Days are as for [`mails`], and so is the cost. Across tenants:
/// for the operator's budgets.
pub async fn costs(tx: &mut Tx, since: Timestamp, until: Timestamp) -> Result<Vec<(String, Timestamp, i64)>, Error> {
    let sql = "SELECT d.currency, d.at, CAST(SUM(d.cost_micros) AS BIGINT) FROM tenants CROSS JOIN message_days AS d
        WHERE d.tenant_id = tenants.id AND NOT tenants.is_demo AND d.at >= $1 AND d.at < $2 AND d.currency <> ''
        GROUP BY d.currency, d.at ORDER BY d.currency, d.at";
    let read = |mut row: Row| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
    tx.rows(sql, &[&since, &until]).await?.into_iter().map(read).collect()
}

/// A purchase with a dispute that is not over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disputed {
    /// Which one.
    pub id: PurchaseId,
    /// The tenant's name; `None` when it is gone.
    pub tenant: Option<String>,
    /// How much was paid, tax included.
    pub amount: i64,
    /// ISO 4217 code.
    pub currency: String,
    /// Its disputes, as a JSON array.
    pub disputes: String,
}

/// Purchases with a dispute that is not over, oldest first. Across tenants: for the operator's alert.
pub async fn disputed(tx: &mut Tx, limit: i64) -> Result<Vec<Disputed>, Error> {
    let sql = "SELECT id, (SELECT name FROM tenants WHERE tenants.id = credit_purchases.tenant_id), amount + tax, currency, disputes
        FROM credit_purchases WHERE is_disputed ORDER BY id LIMIT $1";
    let read = |mut row: Row| {
        Ok(Disputed {
            id: row.get(0)?,
            tenant: row.get(1)?,
            amount: row.get(2)?,
            currency: row.get(3)?,
            disputes: row.get(4)?,
        })
    };
    tx.rows(sql, &[&limit]).await?.into_iter().map(read).collect()
}

/// An invoice that is to be paid and could not be mailed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unmailed {
    /// Which one.
    pub id: InvoiceId,
    /// Its number.
    pub number: Option<String>,
    /// The tenant's name; `None` when it is gone.
    pub tenant: Option<String>,
    /// Why, as JSON.
    pub failure: Option<String>,
}

/// Invoices that are to be paid and could not be mailed, by when they are due, and before them drafts that would be if they could be printed. Across tenants: for the operator's alert.
pub async fn unmailed(tx: &mut Tx, limit: i64) -> Result<Vec<Unmailed>, Error> {
    let sql = "SELECT id, number, (SELECT name FROM tenants WHERE tenants.id = failed.tenant_id), mail_failure FROM (
            SELECT id, number, tenant_id, mail_failure, due_at, 1 AS place FROM invoices WHERE state = 'issued' AND mail_state = 'failed'
            UNION ALL SELECT id, number, tenant_id, mail_failure, created_at, 0 AS place FROM invoices WHERE state = 'draft' AND mail_state = 'failed'
        ) AS failed ORDER BY place, due_at, tenant_id, id LIMIT $1";
    let read =
        |mut row: Row| Ok(Unmailed { id: row.get(0)?, number: row.get(1)?, tenant: row.get(2)?, failure: row.get(3)? });
    tx.rows(sql, &[&limit]).await?.into_iter().map(read).collect()
}

/// A registration that waits for the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StuckRegistration {
    /// Which one.
    pub id: RegistrationId,
    /// The tenant's name; `None` when it is gone.
    pub tenant: Option<String>,
    /// `10dlc` or `toll_free`.
    pub kind: String,
    /// What happened.
    pub problem: Option<String>,
}

/// Registrations that wait for the operator, oldest first. Across tenants: for the operator's alert.
pub async fn stuck_registrations(tx: &mut Tx, limit: i64) -> Result<Vec<StuckRegistration>, Error> {
    let sql = "SELECT id, (SELECT name FROM tenants WHERE tenants.id = registrations.tenant_id), kind, problem
        FROM registrations WHERE state = 'operator_needed' ORDER BY id LIMIT $1";
    let read = |mut row: Row| {
        Ok(StuckRegistration { id: row.get(0)?, tenant: row.get(1)?, kind: row.get(2)?, problem: row.get(3)? })
    };
    tx.rows(sql, &[&limit]).await?.into_iter().map(read).collect()
}
