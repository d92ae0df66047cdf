//! Alerts: what rules found, until it was over.

use model::{AlertId, AlertRuleId, TenantId, Timestamp};

use crate::{Error, Row, Tx, sql::Sql};

/// A row of `alerts`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alert {
    /// Whose; the operator's own are kept under the zero id.
    pub tenant_id: TenantId,
    /// Which one.
    pub id: AlertId,
    /// The rule that found it.
    pub rule_id: AlertRuleId,
    /// What that rule watches, as a word.
    pub kind: String,
    /// About what: an account's id, a channel, or another word.
    pub subject: String,
    /// `warning` or `critical`.
    pub severity: String,
    /// In a few words.
    pub title: String,
    /// What was seen, in a sentence or two.
    pub detail: String,
    /// What was seen, in millionths of the kind's unit.
    pub value_micros: i64,
    /// The rule's threshold then.
    pub threshold_micros: i64,
    /// In which currency both are, of a budget.
    pub currency: Option<String>,
    /// `firing`, `acknowledged` or `resolved`.
    pub state: String,
    /// How often it began to fire.
    pub times: i64,
    /// When it began to fire, the last time.
    pub fired_at: Timestamp,
    /// When it was last the occasion to tell somebody, or not to within the quiet period: when it fired, came back or was to be reminded of.
    pub seen_at: Timestamp,
    /// When somebody took note.
    pub acknowledged_at: Option<Timestamp>,
    /// Who did.
    pub acknowledged_by: Option<String>,
    /// What they wrote.
    pub note: Option<String>,
    /// When it was over.
    pub resolved_at: Option<Timestamp>,
    /// Who ended it; `None` when it ended by itself.
    pub resolved_by: Option<String>,
    /// What is still to be told: `firing` or `resolved`.
    pub telling: Option<String>,
    /// When a letter about it was last accepted.
    pub told_at: Option<Timestamp>,
    /// Who is told by letter, and how far that is, as JSON; `None` before the first try.
    pub letters: Option<String>,
    /// When the next letter is tried, while there is something to be told.
    pub tell_at: Option<Timestamp>,
}

const COLUMNS: &str = "tenant_id, id, rule_id, kind, subject, severity, title, detail, value_micros, threshold_micros, state, times, fired_at, seen_at, \
    acknowledged_at, acknowledged_by, note, resolved_at, resolved_by, telling, told_at, letters, tell_at, currency";

fn read(mut row: Row) -> Result<Alert, Error> {
    let row = &mut row;
    Ok(Alert {
        tenant_id: row.get(0)?,
        id: row.get(1)?,
        rule_id: row.get(2)?,
        kind: row.get(3)?,
        subject: row.get(4)?,
        severity: row.get(5)?,
        title: row.get(6)?,
        detail: row.get(7)?,
        value_micros: row.get(8)?,
        threshold_micros: row.get(9)?,
        currency: row.get(23)?,
        state: row.get(10)?,
        times: row.get(11)?,
        fired_at: row.get(12)?,
        seen_at: row.get(13)?,
        acknowledged_at: row.get(14)?,
        acknowledged_by: row.get(15)?,
        note: row.get(16)?,
        resolved_at: row.get(17)?,
        resolved_by: row.get(18)?,
        telling: row.get(19)?,
        told_at: row.get(20)?,
        letters: row.get(21)?,
        tell_at: row.get(22)?,
    })
}

/// Writes an alert, new or changed.
pub async fn put(tx: &mut Tx, alert: &Alert) -> Result<(), Error> {
    let sql = format!(
        "INSERT INTO alerts ({COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24)
         ON CONFLICT (tenant_id, id) DO UPDATE SET severity = excluded.severity, title = excluded.title, detail = excluded.detail,
         value_micros = excluded.value_micros, threshold_micros = excluded.threshold_micros, state = excluded.state, times = excluded.times,
         fired_at = excluded.fired_at, seen_at = excluded.seen_at, acknowledged_at = excluded.acknowledged_at, acknowledged_by = excluded.acknowledged_by,
         note = excluded.note, resolved_at = excluded.resolved_at, resolved_by = excluded.resolved_by, telling = excluded.telling, told_at = excluded.told_at,
         letters = excluded.letters, tell_at = excluded.tell_at, currency = excluded.currency"
    );
    let a = alert;
    let params: [&dyn crate::Param; 24] = [
        &a.tenant_id,
        &a.id,
        &a.rule_id,
        &a.kind,
        &a.subject,
        &a.severity,
        &a.title,
        &a.detail,
        &a.value_micros,
        &a.threshold_micros,
        &a.state,
        &a.times,
        &a.fired_at,
        &a.seen_at,
        &a.acknowledged_at,
        &a.acknowledged_by,
        &a.note,
        &a.resolved_at,
        &a.resolved_by,
        &a.telling,
        &a.told_at,
        &a.letters,
        &a.tell_at,
        &a.currency,
    ];
    tx.execute(&sql, &params).await.map(drop)
}

/// One of the tenant's alerts.
pub async fn find(tx: &mut Tx, tenant: TenantId, id: AlertId) -> Result<Option<Alert>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM alerts WHERE tenant_id = $1 AND id = $2");
    tx.row(&sql, &[&tenant, &id]).await?.map(read).transpose()
}

/// The same; its row stays as it is until the transaction ends.
pub async fn lock(tx: &mut Tx, tenant: TenantId, id: AlertId) -> Result<Option<Alert>, Error> {
    let lock = tx.dialect().for_update();
    let sql = format!("SELECT {COLUMNS} FROM alerts WHERE tenant_id = $1 AND id = $2 {lock}");
    tx.row(&sql, &[&tenant, &id]).await?.map(read).transpose()
}

/// Which alerts a list shows.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only those in this state.
    pub state: Option<String>,
    /// Only those that are not over.
    pub is_open: bool,
    /// Only those of this rule.
    pub rule_id: Option<AlertRuleId>,
    /// Only those of this kind.
    pub kind: Option<String>,
}

/// The tenant's alerts that were made before `before`, newest first.
pub async fn list(
    tx: &mut Tx,
    tenant: TenantId,
    filter: &Filter,
    before: AlertId,
    limit: i64,
) -> Result<Vec<Alert>, Error> {
    let mut sql = Sql::default();
    sql.push(" FROM alerts WHERE tenant_id = ").bind(tenant).push(" AND id < ").bind(before);
    if filter.is_open {
        sql.push(" AND state <> 'resolved'");
    }
    if let Some(state) = &filter.state {
        sql.push(" AND state = ").bind(state.as_str());
    }
    if let Some(rule) = filter.rule_id {
        sql.push(" AND rule_id = ").bind(rule);
    }
    if let Some(kind) = &filter.kind {
        sql.push(" AND kind = ").bind(kind.as_str());
    }
    sql.push(" ORDER BY id DESC LIMIT ").bind(limit);
    sql.rows(tx, &format!("SELECT {COLUMNS}")).await?.into_iter().map(read).collect()
}

/// How many of the tenant's alerts are not over, counted up to `limit`: those that fire, and those somebody took note of.
pub async fn count_open(tx: &mut Tx, tenant: TenantId, limit: i64) -> Result<(i64, i64), Error> {
    let sql = "SELECT CAST(COALESCE(SUM(CASE WHEN state = 'firing' THEN 1 ELSE 0 END), 0) AS BIGINT), COUNT(*)
        FROM (SELECT state FROM alerts WHERE tenant_id = $1 AND state <> 'resolved' LIMIT $2) AS open_alerts";
    let Some(mut row) = tx.row(sql, &[&tenant, &limit]).await? else { return Ok((0, 0)) };
    let (firing, open): (i64, i64) = (row.get(0)?, row.get(1)?);
    Ok((firing, open - firing))
}

/// The tenant's alerts about which something is to be told by `now`, oldest first.
pub async fn telling(tx: &mut Tx, tenant: TenantId, now: Timestamp, limit: i64) -> Result<Vec<Alert>, Error> {
    let sql = format!(
        "SELECT {COLUMNS} FROM alerts WHERE tenant_id = $1 AND telling IS NOT NULL AND (tell_at IS NULL OR tell_at <= $2) ORDER BY tell_at, id LIMIT $3"
    );
    tx.rows(&sql, &[&tenant, &now, &limit]).await?.into_iter().map(read).collect()
}

/// Removes alerts of any tenant that were over before `before`. Answers how many.
pub async fn purge(tx: &mut Tx, before: Timestamp, limit: i64) -> Result<u64, Error> {
    let sql = "DELETE FROM alerts WHERE (tenant_id, id) IN (SELECT tenant_id, id FROM alerts WHERE resolved_at IS NOT NULL AND resolved_at < $1 ORDER BY resolved_at LIMIT $2)";
    tx.execute(sql, &[&before, &limit]).await
}
