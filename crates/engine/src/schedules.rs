//! Schedules: one message, repeated by RRULE or cron on a clock in a time zone.
//!
//! A schedule's row says which occurrence comes next. The job [`fire`] accepts its message and moves the row on in one transaction, so an occurrence fires once
//! however often the process dies and however many processes look: whoever comes second finds the row moved. A message that is refused when its
//! time has come is recorded with the reason, and the schedule goes on.

pub mod recurrence;
mod view;

use std::sync::Arc;

use model::{ScheduleId, TenantId, Timestamp};
use serde::Deserialize;
use serde_json::value::RawValue;
use store::{
    Scope, Tx,
    schedules::{self, Occurrence, Schedule},
    tenants,
};
use utoipa::ToSchema;

use self::recurrence::{Due, Kind, Recurrence, Written, due};
pub use self::view::{OccurrenceState, OccurrenceView, OccurrencesView, ScheduleState, ScheduleView};
use crate::{
    Engine, Error,
    accept::{
        Step, may_send,
        request::{self, MessageRequest},
    },
    audit,
    keys::Caller,
    names::Faults,
    once::{Repeat, Reply, Secrecy, once},
    page::{Page, Window},
    patch::Patch,
};

/// Schedules of a tenant that still bring something: each is looked at by itself when it is due.
pub const SCHEDULES_MAX: u64 = 10_000;
/// Largest message of a schedule, in bytes of JSON. Files are uploaded first and named by `attachment_id`.
const REQUEST_MAX: usize = 256 * 1024;
/// Schedules looked at in one run of the job.
const PAGE: i64 = 200;
/// Most occurrences shown ahead.
const AHEAD_MAX: u32 = 100;
/// Occurrences shown ahead unless the request says otherwise.
const AHEAD: u32 = 10;
/// Recorded occurrences shown beside them.
const PAST: i64 = 50;

const ACTIVE: &str = "active";
const ENDED: &str = "ended";
const CANCELED: &str = "canceled";

/// What happens to occurrences that were missed while nothing ran.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, serde::Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CatchUp {
    /// The latest of them is sent late, the others are left out.
    #[default]
    Last,
    /// None is sent.
    None,
}

impl CatchUp {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Last => "last",
            Self::None => "none",
        }
    }

    fn from_stored(word: &str) -> Self {
        if word == "none" { Self::None } else { Self::Last }
    }
}

/// A schedule to be made.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewSchedule {
    /// What it is for.
    #[schema(example = "Weekly report")]
    pub name: String,
    /// The message, as in `POST /v1/messages`, without `send_at`, `expires_at` and `dry_run`.
    #[schema(value_type = MessageRequest)]
    pub message: Box<RawValue>,
    /// When, as in RFC 5545: at most every hour. Exactly one of `rrule` and `cron`.
    #[serde(default)]
    #[schema(example = "FREQ=WEEKLY;BYDAY=MO")]
    pub rrule: Option<String>,
    /// When, as five cron fields.
    #[serde(default)]
    #[schema(example = "0 9 * * MON-FRI")]
    pub cron: Option<String>,
    /// Whose clock, as an IANA name; the tenant's when left out.
    #[serde(default)]
    #[schema(example = "Europe/Berlin")]
    pub timezone: Option<String>,
    /// Nothing before this; now when left out. It also gives an RRULE its time of day.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub starts_at: Option<Timestamp>,
    /// Nothing after this.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ends_at: Option<Timestamp>,
    /// Dates such as `2026-12-25`, on that clock, and instants that are left out.
    #[serde(default)]
    pub skip: Vec<String>,
    /// What happens to occurrences that were missed while nothing ran: `last` (default) or `none`.
    #[serde(default)]
    pub catch_up: CatchUp,
}

/// Changes of a schedule.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SchedulePatch {
    /// What it is for.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub name: Patch<String>,
    /// Another message.
    #[serde(default)]
    #[schema(value_type = Option<MessageRequest>)]
    pub message: Patch<Box<RawValue>>,
    /// Another RRULE, instead of whatever rule there was.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub rrule: Patch<String>,
    /// Another cron pattern, instead of whatever rule there was.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub cron: Patch<String>,
    /// Another clock.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub timezone: Patch<String>,
    /// Another beginning.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub starts_at: Patch<Timestamp>,
    /// Another end; `null` for none.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ends_at: Patch<Timestamp>,
    /// Other dates to leave out.
    #[serde(default)]
    #[schema(value_type = Option<Vec<String>>)]
    pub skip: Patch<Vec<String>>,
    /// `last` or `none`.
    #[serde(default)]
    #[schema(value_type = Option<CatchUp>)]
    pub catch_up: Patch<CatchUp>,
}

/// What of a schedule is canceled.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CancelSchedule {
    /// One occurrence to come; all of them when left out.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub occurrence: Option<Timestamp>,
}

/// Makes a schedule. Its message is planned once to see whether it could be sent. Needs the scope `messages:write`.
#[crate::boxed]
pub async fn create(engine: &Engine, caller: &Caller, repeat: &Repeat, new: NewSchedule) -> Result<Reply, Error> {
    caller.need("messages:write")?;
    let tenant_id = caller.need_tenant()?;
    let (_, tenant) = engine.tenant(tenant_id).await?;
    let now = engine.ports.clock.now();
    let mut faults = Faults::default();
    let (kind, rule) = match (new.rrule, new.cron) {
        (Some(rule), None) => (Kind::Rrule, rule),
        (None, Some(rule)) => (Kind::Cron, rule),
        _ => return Err(Error::invalid("/rrule", "say when it repeats: exactly one of `rrule` and `cron`")),
    };
    let name = faults.name("/name", &new.name);
    let mut row = Schedule {
        tenant_id,
        id: ScheduleId::from_ulid(engine.ports.ids.ulid(now)),
        name,
        state: ACTIVE.to_owned(),
        kind: kind.as_str().to_owned(),
        rule,
        timezone: new.timezone.unwrap_or_else(|| tenant.timezone.clone()),
        starts_at: new.starts_at.unwrap_or_else(|| Timestamp::from_seconds(now.as_seconds())),
        ends_at: new.ends_at,
        skip: serde_json::to_string(&new.skip).map_err(Error::internal)?,
        catch_up: new.catch_up.as_str().to_owned(),
        request: new.message.get().to_owned(),
        next_at: None,
        fired: 0,
        created_at: now,
        updated_at: now,
    };
    settle(&mut row, faults, now)?;
    check_message(engine, caller, tenant_id, &row.request).await?;
    let (ids, by) = (Arc::clone(&engine.ports.ids), caller.clone());
    once(engine.parts(), caller, repeat, 201, Secrecy::Plain, move |tx| {
        Box::pin(async move {
            // One at a time, so that the limit holds.
            tenants::bump(tx, Some(tenant_id)).await?;
            if schedules::count_active(tx, tenant_id).await? >= SCHEDULES_MAX {
                return Err(Error::conflict(
                    "too_many_schedules",
                    format!(
                        "There are {SCHEDULES_MAX} schedules already, which is the most. Cancel those nobody needs."
                    ),
                ));
            }
            schedules::insert(tx, &row).await?;
            audit::record(tx, tenant_id, &ids, now, &by, "schedule.created", row.id, &told(&row)).await?;
            Ok(view::schedule(&row))
        })
    })
    .await
}

/// The tenant's schedules, newest first. Needs the scope `messages:read`.
#[crate::boxed]
pub async fn list(
    engine: &Engine,
    caller: &Caller,
    limit: Option<u32>,
    cursor: Option<&str>,
) -> Result<Page<ScheduleView>, Error> {
    caller.need("messages:read")?;
    let tenant = caller.need_tenant()?;
    let window = Window::read("schedules", limit, cursor)?;
    let read = engine.ports.db.read(Scope::Tenant(tenant), move |tx| {
        Box::pin(async move { schedules::list(tx, tenant, ScheduleId::from_ulid(window.before), window.rows()).await })
    });
    Ok(window.page(read.await?, |row| row.id.ulid(), |row| view::schedule(&row)))
}

/// One schedule. Needs the scope `messages:read`.
#[crate::boxed]
pub async fn get(engine: &Engine, caller: &Caller, id: ScheduleId) -> Result<ScheduleView, Error> {
    caller.need("messages:read")?;
    let tenant = caller.need_tenant()?;
    let read = engine.ports.db.read(Scope::Tenant(tenant), move |tx| Box::pin(schedules::find(tx, tenant, id)));
    read.await?.map(|row| view::schedule(&row)).ok_or_else(not_found)
}

/// Changes a schedule; what comes next is worked out anew. Needs the scope `messages:write`.
#[crate::boxed]
pub async fn patch(
    engine: &Engine,
    caller: &Caller,
    id: ScheduleId,
    change: SchedulePatch,
) -> Result<ScheduleView, Error> {
    caller.need("messages:write")?;
    let tenant = caller.need_tenant()?;
    let now = engine.ports.clock.now();
    let exists = engine.ports.db.read(Scope::Tenant(tenant), move |tx| Box::pin(schedules::find(tx, tenant, id)));
    exists.await?.ok_or_else(not_found)?;
    if let Patch::Set(message) = &change.message {
        check_message(engine, caller, tenant, message.get()).await?;
    }
    let (ids, by) = (Arc::clone(&engine.ports.ids), caller.clone());
    let write = engine.ports.db.write(Scope::Tenant(tenant), move |tx| {
        Box::pin(async move {
            let mut row = schedules::lock(tx, tenant, id).await?.ok_or_else(not_found)?;
            let before = told(&row);
            amend(&mut row, change, now)?;
            schedules::update(tx, &row).await?;
            let difference = audit::difference(&before, &told(&row));
            audit::record(tx, tenant, &ids, now, &by, "schedule.updated", id, &difference).await?;
            Ok::<_, Error>(view::schedule(&row))
        })
    });
    write.await
}

/// Deletes a schedule with its record; messages it brought stay. Needs the scope `messages:write`.
#[crate::boxed]
pub async fn delete(engine: &Engine, caller: &Caller, id: ScheduleId) -> Result<(), Error> {
    caller.need("messages:write")?;
    let tenant = caller.need_tenant()?;
    let (ids, now, by) = (Arc::clone(&engine.ports.ids), engine.ports.clock.now(), caller.clone());
    let write = engine.ports.db.write(Scope::Tenant(tenant), move |tx| {
        Box::pin(async move {
            let row = schedules::find(tx, tenant, id).await?.ok_or_else(not_found)?;
            schedules::delete(tx, tenant, id).await?;
            audit::record(tx, tenant, &ids, now, &by, "schedule.deleted", id, &told(&row)).await
        })
    });
    write.await
}

/// Cancels one occurrence to come, or all of them. Needs the scope `messages:write`.
#[crate::boxed]
pub async fn cancel(
    engine: &Engine,
    caller: &Caller,
    repeat: &Repeat,
    id: ScheduleId,
    what: CancelSchedule,
) -> Result<Reply, Error> {
    caller.need("messages:write")?;
    let tenant = caller.need_tenant()?;
    let now = engine.ports.clock.now();
    let (ids, by) = (Arc::clone(&engine.ports.ids), caller.clone());
    once(engine.parts(), caller, repeat, 200, Secrecy::Plain, move |tx| {
        Box::pin(async move {
            let mut row = schedules::lock(tx, tenant, id).await?.ok_or_else(not_found)?;
            match what.occurrence {
                None => (row.state, row.next_at) = (CANCELED.to_owned(), None),
                Some(at) => cancel_one(tx, &mut row, at, now).await?,
            }
            row.updated_at = now;
            schedules::update(tx, &row).await?;
            let detail = serde_json::json!({"occurrence": what.occurrence});
            audit::record(tx, tenant, &ids, now, &by, "schedule.canceled", id, &detail).await?;
            Ok(view::schedule(&row))
        })
    })
    .await
}

/// What the audit log holds of a schedule. What its message says stands in the schedule itself.
fn told(row: &Schedule) -> serde_json::Value {
    serde_json::json!({
        "name": row.name, "state": row.state, "kind": row.kind, "rule": row.rule, "timezone": row.timezone, "starts_at": row.starts_at, "ends_at": row.ends_at,
        "skip": row.skip, "catch_up": row.catch_up,
    })
}

/// What is to come, and what became of the latest. Needs the scope `messages:read`.
#[crate::boxed]
pub async fn occurrences(
    engine: &Engine,
    caller: &Caller,
    id: ScheduleId,
    limit: Option<u32>,
) -> Result<OccurrencesView, Error> {
    caller.need("messages:read")?;
    let tenant = caller.need_tenant()?;
    let limit = limit.unwrap_or(AHEAD);
    if !(1..=AHEAD_MAX).contains(&limit) {
        let detail = format!("`limit` is a number from 1 to {AHEAD_MAX}; this one is {limit}.");
        return Err(Error::new(crate::ErrorKind::Malformed, "invalid_limit", detail));
    }
    let read = engine.ports.db.read(Scope::Tenant(tenant), move |tx| {
        Box::pin(async move {
            let row = schedules::find(tx, tenant, id).await?.ok_or_else(not_found)?;
            let never = Timestamp::from_micros(i64::MAX / 2);
            Ok::<_, Error>((row, schedules::occurrences(tx, tenant, id, never, PAST).await?))
        })
    });
    let (row, recorded) = read.await?;
    let recurrence = recurrence(&row)?;
    let (mut ahead, mut next) = (Vec::new(), row.next_at);
    while let Some(at) = next.filter(|_| ahead.len() < limit as usize) {
        ahead.push(at);
        next = recurrence.next_after(at);
    }
    Ok(view::occurrences(&row, &ahead, &recorded))
}

/// Fires what is due. Answers how many schedules were worked on.
#[crate::boxed]
pub async fn fire(engine: &Arc<Engine>) -> Result<u64, Error> {
    let now = engine.ports.clock.now();
    let found = engine.ports.db.read(Scope::System, move |tx| Box::pin(schedules::due(tx, now, PAGE))).await?;
    let mut worked = 0;
    for row in found {
        // One that cannot be worked on now must not keep the others waiting.
        match fire_one(engine, &row, now).await {
            Ok(()) => worked += 1,
            Err(error) => {
                tracing::warn!(schedule.id = %row.id, %error, "A schedule could not fire and will be tried again")
            }
        }
    }
    Ok(worked)
}

async fn fire_one(engine: &Arc<Engine>, row: &Schedule, now: Timestamp) -> Result<(), Error> {
    let Some(next_at) = row.next_at else { return Ok(()) };
    let due = due(&recurrence(row)?, next_at, now, CatchUp::from_stored(&row.catch_up) == CatchUp::Last);
    let refusal = match due.fire {
        None => None,
        Some(at) => match accept(engine, row, due, at, now).await {
            Ok(()) => return Ok(()),
            Err(error) if error.kind.status() >= 500 || error.kind.status() == 429 => return Err(error),
            Err(error) => Some((at, error.detail)),
        },
    };
    let row = row.clone();
    let write = engine.ports.db.write(Scope::Tenant(row.tenant_id), move |tx| {
        Box::pin(async move {
            let outcome = refusal.map(|(at, detail)| (at, "failed", None, Some(detail)));
            advance(tx, &row, due, outcome, now).await
        })
    });
    write.await?;
    Ok(())
}

/// Accepts an occurrence's message and moves the schedule on in the same transaction.
async fn accept(engine: &Arc<Engine>, row: &Schedule, due: Due, at: Timestamp, now: Timestamp) -> Result<(), Error> {
    let mut request: MessageRequest = request::read(row.request.as_bytes(), "/message")?;
    engine.find_recipients(row.tenant_id, std::iter::once(&mut request)).await?;
    let step = |message_id| {
        let row = row.clone();
        Step::new(move |tx| {
            let row = row.clone();
            Box::pin(async move { advance(tx, &row, due, Some((at, "sent", Some(message_id), None)), now).await })
        })
    };
    engine.accept_with(row.tenant_id, &request, step).await.map(drop)
}

type Outcome = (Timestamp, &'static str, Option<model::MessageId>, Option<String>);

/// Moves a schedule past what is due, unless somebody else did. Answers whether it moved.
async fn advance(
    tx: &mut Tx,
    seen: &Schedule,
    due: Due,
    outcome: Option<Outcome>,
    now: Timestamp,
) -> Result<bool, store::Error> {
    // Changed in any way since it was looked at: it will be looked at again.
    let Some(mut row) = schedules::lock(tx, seen.tenant_id, seen.id).await?.filter(|row| row == seen) else {
        return Ok(false);
    };
    let missed = due.missed.map(|at| (at, "missed", None, Some("Nothing ran when its time came.".to_owned())));
    for (at, outcome, message_id, detail) in missed.into_iter().chain(outcome) {
        row.fired += u64::from(outcome == "sent");
        let occurrence = Occurrence {
            tenant_id: row.tenant_id,
            schedule_id: row.id,
            at,
            outcome: outcome.to_owned(),
            message_id,
            detail,
            recorded_at: now,
        };
        schedules::record(tx, &occurrence).await?;
    }
    row.next_at = due.next;
    if due.next.is_none() {
        row.state = ENDED.to_owned();
    }
    schedules::update(tx, &row).await?;
    Ok(true)
}

/// Leaves one occurrence out.
async fn cancel_one(tx: &mut Tx, row: &mut Schedule, at: Timestamp, now: Timestamp) -> Result<(), Error> {
    let rule = recurrence(row)?;
    let is_ahead = row.next_at.is_some_and(|next| at >= next) && rule.next_after(at.plus_millis(-1)) == Some(at);
    if !is_ahead {
        let detail = "there is no such occurrence ahead; GET /v1/schedules/{id}/occurrences lists those there are";
        return Err(Error::invalid("/occurrence", detail));
    }
    let mut skip: Vec<String> = serde_json::from_str(&row.skip).map_err(Error::internal)?;
    skip.push(at.to_string());
    if skip.len() > recurrence::SKIPS_MAX {
        let detail =
            format!("{} dates are left out already, which is the most; change the rule instead", skip.len() - 1);
        return Err(Error::invalid("/occurrence", detail));
    }
    row.skip = serde_json::to_string(&skip).map_err(Error::internal)?;
    if row.next_at == Some(at) {
        row.next_at = recurrence(row)?.next_after(at);
        if row.next_at.is_none() {
            row.state = ENDED.to_owned();
        }
    }
    let occurrence = Occurrence {
        tenant_id: row.tenant_id,
        schedule_id: row.id,
        at,
        outcome: "canceled".to_owned(),
        message_id: None,
        detail: None,
        recorded_at: now,
    };
    schedules::record(tx, &occurrence).await?;
    Ok(())
}

fn amend(row: &mut Schedule, change: SchedulePatch, now: Timestamp) -> Result<(), Error> {
    let mut faults = Faults::default();
    if row.state == CANCELED {
        return Err(Error::conflict(
            "schedule_canceled",
            "This schedule was canceled and brings nothing more. Make a new one.",
        ));
    }
    let name = change.name.required(row.name.clone(), "/name", &mut faults.0);
    row.name = faults.name("/name", &name);
    match (change.rrule, change.cron) {
        (Patch::Keep, Patch::Keep) => {}
        (Patch::Set(rule), Patch::Keep | Patch::Clear) => {
            (row.kind, row.rule) = (Kind::Rrule.as_str().to_owned(), rule);
        }
        (Patch::Keep | Patch::Clear, Patch::Set(rule)) => {
            (row.kind, row.rule) = (Kind::Cron.as_str().to_owned(), rule);
        }
        _ => faults.add("/rrule", "a schedule has exactly one of `rrule` and `cron`"),
    }
    match change.message {
        Patch::Keep => {}
        Patch::Set(message) => message.get().clone_into(&mut row.request),
        Patch::Clear => faults.add("/message", "a schedule needs a message; give one or leave it out"),
    }
    row.timezone = change.timezone.required(row.timezone.clone(), "/timezone", &mut faults.0);
    row.starts_at = change.starts_at.required(row.starts_at, "/starts_at", &mut faults.0);
    row.ends_at = change.ends_at.onto(row.ends_at);
    let skip = serde_json::from_str(&row.skip).map_err(Error::internal)?;
    row.skip = serde_json::to_string(&change.skip.or(skip, Vec::new())).map_err(Error::internal)?;
    row.catch_up = change.catch_up.or(CatchUp::from_stored(&row.catch_up), CatchUp::Last).as_str().to_owned();
    row.updated_at = now;
    settle(row, faults, now)
}

/// Checks the rule and works out what comes next.
fn settle(row: &mut Schedule, mut faults: Faults, now: Timestamp) -> Result<(), Error> {
    let skip: Vec<String> = serde_json::from_str(&row.skip).map_err(Error::internal)?;
    let recurrence = Recurrence::read(&written(row, &skip), &mut faults);
    faults.end()?;
    row.timezone = canonical(&row.timezone);
    row.next_at = recurrence.and_then(|recurrence| recurrence.next_after(now.plus_millis(-1)));
    if row.next_at.is_none() {
        let pointer = format!("/{}", row.kind);
        return Err(Error::invalid(pointer, "there is no occurrence from now on, so nothing would ever be sent"));
    }
    row.state = ACTIVE.to_owned();
    Ok(())
}

fn canonical(timezone: &str) -> String {
    Faults::default().timezone("", timezone)
}

fn written<'a>(row: &'a Schedule, skip: &'a [String]) -> Written<'a> {
    Written {
        kind: Kind::from_stored(&row.kind),
        rule: &row.rule,
        timezone: &row.timezone,
        starts_at: row.starts_at,
        ends_at: row.ends_at,
        skip,
    }
}

fn recurrence(row: &Schedule) -> Result<Recurrence, Error> {
    let skip: Vec<String> = serde_json::from_str(&row.skip).map_err(Error::internal)?;
    let mut faults = Faults::default();
    Recurrence::read(&written(row, &skip), &mut faults)
        .ok_or_else(|| Error::internal(format!("the rule of {} cannot be read any more: {:?}", row.id, faults.0)))
}

/// Plans a schedule's message as a dry run: what would be refused every time is refused now.
async fn check_message(engine: &Engine, caller: &Caller, tenant: TenantId, text: &str) -> Result<(), Error> {
    if text.len() > REQUEST_MAX {
        let detail = format!("at most {REQUEST_MAX} bytes; upload files first and name them by `attachment_id`");
        return Err(Error::invalid("/message", detail));
    }
    let mut request: MessageRequest = request::read(text.as_bytes(), "/message")?;
    let mut faults = Faults::default();
    if request.dry_run {
        faults.add("/message/dry_run", "a schedule sends; leave this out");
    }
    if request.send_at.is_some() {
        faults.add("/message/send_at", "the schedule says when; leave this out");
    }
    if request.expires_at.is_some() {
        faults.add("/message/expires_at", "each occurrence has its own time; leave this out");
    }
    faults.end()?;
    engine.find_recipients(tenant, std::iter::once(&mut request)).await?;
    let explained = engine.explain(tenant, &request).await.map(drop);
    let (_, tenant) = engine.tenant(tenant).await?;
    explained.and_then(|()| may_send(caller, &request, &tenant)).map_err(|mut error| {
        for field in &mut error.errors {
            field.pointer = format!("/message{}", field.pointer);
        }
        error
    })
}

fn not_found() -> Error {
    Error::not_found("schedule")
}
