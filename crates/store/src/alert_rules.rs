//! Alert rules, what they remember between two looks, and who was looked at when.

use std::collections::BTreeMap;

use model::{AccountId, AlertId, AlertRuleId, Channel, TenantId, Timestamp};

use crate::{Error, Given, Kind, Row, Tx};

/// A row of `alert_rules`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlertRule {
    /// Whose; the operator's own are kept under the zero id.
    pub tenant_id: TenantId,
    /// Which one.
    pub id: AlertRuleId,
    /// What it watches, as a word.
    pub kind: String,
    /// Name for people.
    pub name: String,
    /// False when it does not watch.
    pub is_enabled: bool,
    /// From where on something is the matter, in millionths of the kind's unit.
    pub threshold_micros: i64,
    /// The currency of a budget; `None` for other kinds.
    pub currency: Option<String>,
    /// The time it looks back over, in seconds.
    pub over_s: i64,
    /// Fewer than this say nothing.
    pub at_least: i64,
    /// Only this channel.
    pub channel: Option<Channel>,
    /// Only this account.
    pub account_id: Option<AccountId>,
    /// How long something must be the matter, in seconds.
    pub for_s: i64,
    /// How long nothing more is said about the same thing, in seconds.
    pub quiet_s: i64,
    /// Where notices go, as JSON.
    pub deliver: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

const COLUMNS: &str = "tenant_id, id, kind, name, is_enabled, threshold_micros, over_s, at_least, channel, account_id, for_s, quiet_s, deliver, created_at, updated_at, currency";

fn read(mut row: Row) -> Result<AlertRule, Error> {
    let row = &mut row;
    Ok(AlertRule {
        tenant_id: row.get(0)?,
        id: row.get(1)?,
        kind: row.get(2)?,
        name: row.get(3)?,
        is_enabled: row.get(4)?,
        threshold_micros: row.get(5)?,
        currency: row.get(15)?,
        over_s: row.get(6)?,
        at_least: row.get(7)?,
        channel: row.get(8)?,
        account_id: row.get(9)?,
        for_s: row.get(10)?,
        quiet_s: row.get(11)?,
        deliver: row.get(12)?,
        created_at: row.get(13)?,
        updated_at: row.get(14)?,
    })
}

/// Writes a rule, new or changed.
pub async fn put(tx: &mut Tx, rule: &AlertRule) -> Result<(), Error> {
    let sql = format!(
        "INSERT INTO alert_rules ({COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
         ON CONFLICT (tenant_id, id) DO UPDATE SET name = excluded.name, is_enabled = excluded.is_enabled, threshold_micros = excluded.threshold_micros,
         over_s = excluded.over_s, at_least = excluded.at_least, channel = excluded.channel, account_id = excluded.account_id, for_s = excluded.for_s,
         quiet_s = excluded.quiet_s, deliver = excluded.deliver, updated_at = excluded.updated_at, currency = excluded.currency"
    );
    let r = rule;
    let params: [&dyn crate::Param; 16] = [
        &r.tenant_id,
        &r.id,
        &r.kind,
        &r.name,
        &r.is_enabled,
        &r.threshold_micros,
        &r.over_s,
        &r.at_least,
        &r.channel,
        &r.account_id,
        &r.for_s,
        &r.quiet_s,
        &r.deliver,
        &r.created_at,
        &r.updated_at,
        &r.currency,
    ];
    tx.execute(&sql, &params).await.map(drop)
}

/// One of the tenant's rules.
pub async fn find(tx: &mut Tx, tenant: TenantId, id: AlertRuleId) -> Result<Option<AlertRule>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM alert_rules WHERE tenant_id = $1 AND id = $2");
    tx.row(&sql, &[&tenant, &id]).await?.map(read).transpose()
}

/// The tenant's rules made before `before`, newest first.
pub async fn list(tx: &mut Tx, tenant: TenantId, before: AlertRuleId, limit: i64) -> Result<Vec<AlertRule>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM alert_rules WHERE tenant_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3");
    tx.rows(&sql, &[&tenant, &before, &limit]).await?.into_iter().map(read).collect()
}

/// All of the tenant's rules, oldest first.
pub async fn all(tx: &mut Tx, tenant: TenantId) -> Result<Vec<AlertRule>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM alert_rules WHERE tenant_id = $1 ORDER BY id");
    tx.rows(&sql, &[&tenant]).await?.into_iter().map(read).collect()
}

/// Removes a rule with what it remembers; its alerts stay. `false` when there is none.
pub async fn remove(tx: &mut Tx, tenant: TenantId, id: AlertRuleId) -> Result<bool, Error> {
    tx.execute("DELETE FROM alert_states WHERE tenant_id = $1 AND rule_id = $2", &[&tenant, &id]).await?;
    Ok(tx.execute("DELETE FROM alert_rules WHERE tenant_id = $1 AND id = $2", &[&tenant, &id]).await? == 1)
}

/// What a rule remembers about one subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlertState {
    /// Whose.
    pub tenant_id: TenantId,
    /// Of which rule.
    pub rule_id: AlertRuleId,
    /// About what.
    pub subject: String,
    /// What, as JSON.
    pub memory: String,
    /// The alert it made last.
    pub alert_id: Option<AlertId>,
    /// When it last changed.
    pub updated_at: Timestamp,
}

const STATE_COLUMNS: &str = "tenant_id, rule_id, subject, memory, alert_id, updated_at";

/// Everything the tenant's rules remember. Whoever changes it holds the watch ([`hold`]).
pub async fn states(tx: &mut Tx, tenant: TenantId) -> Result<Vec<AlertState>, Error> {
    let sql = format!("SELECT {STATE_COLUMNS} FROM alert_states WHERE tenant_id = $1 ORDER BY rule_id, subject");
    let read = |mut row: Row| {
        Ok(AlertState {
            tenant_id: row.get(0)?,
            rule_id: row.get(1)?,
            subject: row.get(2)?,
            memory: row.get(3)?,
            alert_id: row.get(4)?,
            updated_at: row.get(5)?,
        })
    };
    tx.rows(&sql, &[&tenant]).await?.into_iter().map(read).collect()
}

/// Writes what rules remember.
pub async fn put_states(tx: &mut Tx, states: &[AlertState]) -> Result<(), Error> {
    let mut given = Given::new(&[
        ("tenant_id", Kind::Id),
        ("rule_id", Kind::Id),
        ("subject", Kind::Text),
        ("memory", Kind::Text),
        ("alert_id", Kind::Id),
        ("updated_at", Kind::Time),
    ]);
    for s in states {
        given.row([&s.tenant_id, &s.rule_id, &s.subject, &s.memory, &s.alert_id, &s.updated_at]);
    }
    if given.is_empty() {
        return Ok(());
    }
    let conflict = "ON CONFLICT (tenant_id, rule_id, subject) DO UPDATE SET memory = excluded.memory, alert_id = excluded.alert_id, updated_at = excluded.updated_at";
    tx.insert_many("alert_states", &given, conflict).await.map(drop)
}

/// Forgets what rules remember about these subjects.
pub async fn remove_states(tx: &mut Tx, tenant: TenantId, keys: &[(AlertRuleId, String)]) -> Result<(), Error> {
    let mut given = Given::new(&[("tenant_id", Kind::Id), ("rule_id", Kind::Id), ("subject", Kind::Text)]);
    for (rule, subject) in keys {
        given.row([&tenant, rule, subject]);
    }
    tx.delete_many("alert_states", &given).await.map(drop)
}

/// Notes that the tenant is watched from now on and that it got the default rules of the first `kinds` kinds. Answers of how many it had got them before, for whoever does so
/// first: the kinds from there on are new to the tenant.
pub async fn begin(tx: &mut Tx, tenant: TenantId, kinds: i64, now: Timestamp) -> Result<Option<i64>, Error> {
    let sql = "INSERT INTO alert_watches (tenant_id, checked_at, created_at, kinds) VALUES ($1, $2, $3, $4) ON CONFLICT (tenant_id) DO NOTHING";
    if tx.execute(sql, &[&tenant, &Timestamp::EPOCH, &now, &kinds]).await? == 1 {
        return Ok(Some(0));
    }
    let lock = tx.dialect().for_update();
    let row = tx.row(&format!("SELECT kinds FROM alert_watches WHERE tenant_id = $1 {lock}"), &[&tenant]).await?;
    let before: i64 = row.map_or(Ok(kinds), |mut row| row.get(0))?;
    if before >= kinds {
        return Ok(None);
    }
    tx.execute("UPDATE alert_watches SET kinds = $1 WHERE tenant_id = $2", &[&kinds, &tenant]).await?;
    Ok(Some(before))
}

/// Whether the tenant is watched, and got the default rules of so many kinds.
pub async fn has_begun(tx: &mut Tx, tenant: TenantId, kinds: i64) -> Result<bool, Error> {
    let sql = "SELECT 1 FROM alert_watches WHERE tenant_id = $1 AND kinds >= $2";
    Ok(tx.row(sql, &[&tenant, &kinds]).await?.is_some())
}

/// Tenants who are watched and have not got the default rules of so many kinds yet: there are more since an upgrade. Across tenants: for the job that looks.
pub async fn behind(tx: &mut Tx, kinds: i64, limit: i64) -> Result<Vec<TenantId>, Error> {
    let sql = "SELECT tenant_id FROM alert_watches WHERE kinds < $1 ORDER BY tenant_id LIMIT $2";
    tx.rows(sql, &[&kinds, &limit]).await?.into_iter().map(|mut row| row.get(0)).collect()
}

/// When these tenants were last looked at; the epoch where the next round is to look, whatever happened. Across tenants: for the job that looks.
pub async fn checked(tx: &mut Tx, limit: i64) -> Result<BTreeMap<TenantId, Timestamp>, Error> {
    let rows = tx.rows("SELECT tenant_id, checked_at FROM alert_watches LIMIT $1", &[&limit]).await?;
    rows.into_iter().map(|mut row| Ok((row.get(0)?, row.get(1)?))).collect()
}

/// Takes the next look at these tenants, as far as no other node took it after `due`, and answers whose. Across tenants: for the job that looks.
pub async fn claim_many(
    tx: &mut Tx,
    tenants: &[TenantId],
    due: Timestamp,
    now: Timestamp,
) -> Result<Vec<TenantId>, Error> {
    let mut given = Given::new(&[("whom", Kind::Id), ("due", Kind::Time), ("at", Kind::Time)]);
    for tenant in tenants {
        given.row([tenant, &due, &now]);
    }
    let sql = "UPDATE alert_watches SET checked_at = given.at FROM {given}
        WHERE alert_watches.tenant_id = given.whom AND alert_watches.checked_at <= given.due RETURNING tenant_id";
    let mut claimed: Vec<TenantId> =
        tx.rows_many(sql, &given).await?.into_iter().map(|mut row| row.get(0)).collect::<Result<_, _>>()?;
    claimed.sort_unstable();
    Ok(claimed)
}

/// Keeps others from changing what the tenant's rules remember until the transaction ends. `seen` is when the look was taken, for the job; `false` when another node took
/// the next one meanwhile.
pub async fn hold(tx: &mut Tx, tenant: TenantId, seen: Option<Timestamp>) -> Result<bool, Error> {
    let sql = "UPDATE alert_watches SET checked_at = checked_at WHERE tenant_id = $1 AND ($2 = 0 OR checked_at = $3)";
    let any = i64::from(seen.is_some());
    Ok(tx.execute(sql, &[&tenant, &any, &seen.unwrap_or(Timestamp::EPOCH)]).await? == 1)
}

/// Has the tenant looked at in the next round, because its rules change, and keeps others from changing what they remember until the transaction ends. A look that is under way comes to nothing.
pub async fn look_again(tx: &mut Tx, tenant: TenantId) -> Result<(), Error> {
    let sql = "UPDATE alert_watches SET checked_at = $1 WHERE tenant_id = $2";
    tx.execute(sql, &[&Timestamp::EPOCH, &tenant]).await.map(drop)
}

/// Notes that letters to the tenant's people were tried.
pub async fn note_told(tx: &mut Tx, tenant: TenantId, now: Timestamp) -> Result<(), Error> {
    tx.execute("UPDATE alert_watches SET told_at = $1 WHERE tenant_id = $2", &[&now, &tenant]).await.map(drop)
}

/// Tenants with something to tell by `now` (what an earlier version left has no time) for whom nothing was tried after `before`, those first who have waited longest. Across tenants: for the job that tells.
pub async fn to_tell(tx: &mut Tx, before: Timestamp, now: Timestamp, limit: i64) -> Result<Vec<TenantId>, Error> {
    let sql = "SELECT tenant_id FROM alert_watches WHERE (told_at IS NULL OR told_at <= $1)
        AND tenant_id IN (SELECT tenant_id FROM alerts WHERE telling IS NOT NULL AND (tell_at IS NULL OR tell_at <= $2))
        ORDER BY told_at IS NOT NULL, told_at, tenant_id LIMIT $3";
    tx.rows(sql, &[&before, &now, &limit]).await?.into_iter().map(|mut row| row.get(0)).collect()
}
