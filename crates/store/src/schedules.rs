//! Schedules: one message request, repeated. `next_at` is the occurrence that comes next; it moves with the message it brings.

use model::{MessageId, ScheduleId, TenantId, Timestamp};

use crate::{Error, Param, Row, Tx};

/// A row of `schedules`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// Whose.
    pub tenant_id: TenantId,
    /// Which one.
    pub id: ScheduleId,
    /// Name for people.
    pub name: String,
    /// `active`, `ended` or `canceled`.
    pub state: String,
    /// `rrule` or `cron`.
    pub kind: String,
    /// The rule.
    pub rule: String,
    /// IANA name.
    pub timezone: String,
    /// No occurrence before this.
    pub starts_at: Timestamp,
    /// Nor after this.
    pub ends_at: Option<Timestamp>,
    /// Dates and instants left out, as a JSON array.
    pub skip: String,
    /// `last` or `none`.
    pub catch_up: String,
    /// The message as it was posted, in JSON.
    pub request: String,
    /// The next occurrence; `None` when there is none.
    pub next_at: Option<Timestamp>,
    /// Messages so far.
    pub fired: u64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed by somebody.
    pub updated_at: Timestamp,
}

const COLUMNS: &str = "tenant_id, id, name, state, kind, rule, timezone, starts_at, ends_at, skip, catch_up, request, next_at, fired, created_at, updated_at";

fn read(mut row: Row) -> Result<Schedule, Error> {
    let row = &mut row;
    Ok(Schedule {
        tenant_id: row.get(0)?,
        id: row.get(1)?,
        name: row.get(2)?,
        state: row.get(3)?,
        kind: row.get(4)?,
        rule: row.get(5)?,
        timezone: row.get(6)?,
        starts_at: row.get(7)?,
        ends_at: row.get(8)?,
        skip: row.get(9)?,
        catch_up: row.get(10)?,
        request: row.get(11)?,
        next_at: row.get(12)?,
        fired: row.get(13)?,
        created_at: row.get(14)?,
        updated_at: row.get(15)?,
    })
}

/// Adds a schedule.
pub async fn insert(tx: &mut Tx, s: &Schedule) -> Result<(), Error> {
    let sql = format!(
        "INSERT INTO schedules ({COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)"
    );
    let params: [&dyn Param; 16] = [
        &s.tenant_id,
        &s.id,
        &s.name,
        &s.state,
        &s.kind,
        &s.rule,
        &s.timezone,
        &s.starts_at,
        &s.ends_at,
        &s.skip,
        &s.catch_up,
        &s.request,
        &s.next_at,
        &s.fired,
        &s.created_at,
        &s.updated_at,
    ];
    tx.execute(&sql, &params).await.map(drop)
}

/// Writes everything that can change.
pub async fn update(tx: &mut Tx, s: &Schedule) -> Result<(), Error> {
    let params: [&dyn Param; 15] = [
        &s.name,
        &s.state,
        &s.kind,
        &s.rule,
        &s.timezone,
        &s.starts_at,
        &s.ends_at,
        &s.skip,
        &s.catch_up,
        &s.request,
        &s.next_at,
        &s.fired,
        &s.updated_at,
        &s.tenant_id,
        &s.id,
    ];
    let sql = "UPDATE schedules SET name = $1, state = $2, kind = $3, rule = $4, timezone = $5, starts_at = $6, ends_at = $7, skip = $8, catch_up = $9,
        request = $10, next_at = $11, fired = $12, updated_at = $13 WHERE tenant_id = $14 AND id = $15";
    tx.execute(sql, &params).await.map(drop)
}

/// One of the tenant's schedules.
pub async fn find(tx: &mut Tx, tenant: TenantId, id: ScheduleId) -> Result<Option<Schedule>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM schedules WHERE tenant_id = $1 AND id = $2");
    tx.row(&sql, &[&tenant, &id]).await?.map(read).transpose()
}

/// Reads one of the tenant's schedules and keeps others from changing it until the transaction ends.
pub async fn lock(tx: &mut Tx, tenant: TenantId, id: ScheduleId) -> Result<Option<Schedule>, Error> {
    let lock = tx.dialect().for_update();
    let sql = format!("SELECT {COLUMNS} FROM schedules WHERE tenant_id = $1 AND id = $2 {lock}");
    tx.row(&sql, &[&tenant, &id]).await?.map(read).transpose()
}

/// The tenant's schedules, newest first, made before `before`.
pub async fn list(tx: &mut Tx, tenant: TenantId, before: ScheduleId, limit: i64) -> Result<Vec<Schedule>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM schedules WHERE tenant_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3");
    tx.rows(&sql, &[&tenant, &before, &limit]).await?.into_iter().map(read).collect()
}

/// How many schedules the tenant has that still bring something.
pub async fn count_active(tx: &mut Tx, tenant: TenantId) -> Result<u64, Error> {
    let sql = "SELECT COUNT(*) FROM schedules WHERE tenant_id = $1 AND next_at IS NOT NULL";
    tx.row(sql, &[&tenant]).await?.map_or(Ok(0), |mut row| row.get(0))
}

/// Removes a schedule with what is recorded of it. False when it is not there.
pub async fn delete(tx: &mut Tx, tenant: TenantId, id: ScheduleId) -> Result<bool, Error> {
    tx.execute("DELETE FROM schedule_occurrences WHERE tenant_id = $1 AND schedule_id = $2", &[&tenant, &id]).await?;
    Ok(tx.execute("DELETE FROM schedules WHERE tenant_id = $1 AND id = $2", &[&tenant, &id]).await? > 0)
}

/// Schedules of any tenant whose next occurrence has come, to look at: whoever fires one locks it.
pub async fn due(tx: &mut Tx, now: Timestamp, limit: i64) -> Result<Vec<Schedule>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM schedules WHERE next_at <= $1 ORDER BY next_at, id LIMIT $2");
    tx.rows(&sql, &[&now, &limit]).await?.into_iter().map(read).collect()
}

/// What became of one occurrence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Occurrence {
    /// Whose.
    pub tenant_id: TenantId,
    /// Of which schedule.
    pub schedule_id: ScheduleId,
    /// Which one.
    pub at: Timestamp,
    /// `sent`, `failed`, `missed` or `canceled`.
    pub outcome: String,
    /// The message it brought.
    pub message_id: Option<MessageId>,
    /// Why there is none, for people.
    pub detail: Option<String>,
    /// When this was recorded.
    pub recorded_at: Timestamp,
}

const OCCURRENCE: &str = "tenant_id, schedule_id, at, outcome, message_id, detail, recorded_at";

/// Records an occurrence. False when it is on record already.
pub async fn record(tx: &mut Tx, o: &Occurrence) -> Result<bool, Error> {
    let sql = format!(
        "INSERT INTO schedule_occurrences ({OCCURRENCE}) VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING"
    );
    let params: [&dyn Param; 7] =
        [&o.tenant_id, &o.schedule_id, &o.at, &o.outcome, &o.message_id, &o.detail, &o.recorded_at];
    Ok(tx.execute(&sql, &params).await? > 0)
}

/// What is recorded of a schedule's occurrences, the latest first, before `before`.
pub async fn occurrences(
    tx: &mut Tx,
    tenant: TenantId,
    schedule: ScheduleId,
    before: Timestamp,
    limit: i64,
) -> Result<Vec<Occurrence>, Error> {
    let sql = format!(
        "SELECT {OCCURRENCE} FROM schedule_occurrences WHERE tenant_id = $1 AND schedule_id = $2 AND at < $3 ORDER BY at DESC LIMIT $4"
    );
    let rows = tx.rows(&sql, &[&tenant, &schedule, &before, &limit]).await?;
    let read = |mut row: Row| {
        Ok(Occurrence {
            tenant_id: row.get(0)?,
            schedule_id: row.get(1)?,
            at: row.get(2)?,
            outcome: row.get(3)?,
            message_id: row.get(4)?,
            detail: row.get(5)?,
            recorded_at: row.get(6)?,
        })
    };
    rows.into_iter().map(read).collect()
}
