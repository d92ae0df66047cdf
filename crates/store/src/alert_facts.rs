//! What alerts are judged by, besides sums and account states: read in a handful of queries whose cost does not grow with the number of messages.

use model::{Channel, MessageId, TenantId, Timestamp};

use crate::{Error, Row, Tx, sql::Sql};

/// Tenants that were not deleted and have had messages accepted in a slot from `since` on: one look at the primary key for each tenant. Across tenants.
pub async fn active_tenants(tx: &mut Tx, since: Timestamp, limit: i64) -> Result<Vec<TenantId>, Error> {
    let sql = "SELECT id FROM tenants WHERE deleted_at IS NULL
        AND EXISTS (SELECT 1 FROM message_counters WHERE message_counters.tenant_id = tenants.id AND message_counters.at >= $1) ORDER BY id LIMIT $2";
    tx.rows(sql, &[&since, &limit]).await?.into_iter().map(|mut row| row.get(0)).collect()
}

/// Tenants about whom rules remember something, or whose mail domains or WhatsApp templates are in trouble. Across tenants.
pub async fn tenants_in_trouble(tx: &mut Tx, limit: i64) -> Result<Vec<TenantId>, Error> {
    let sql = "SELECT tenant_id FROM alert_states UNION SELECT tenant_id FROM domains WHERE state = 'failed'
        UNION SELECT tenant_id FROM whatsapp_templates WHERE status IN ('rejected', 'paused', 'disabled')
        UNION SELECT tenant_id FROM registrations WHERE state IN ('rejected', 'operator_needed') ORDER BY tenant_id LIMIT $1";
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
