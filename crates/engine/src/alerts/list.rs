//! What people do with alerts (`/v1/alerts`): see them, say that somebody takes care, say that it is over.

use std::sync::Arc;

use model::{AlertId, AlertRuleId, TenantId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;
use store::{
    Tx, alert_rules,
    alerts::{self as rows, Alert},
    payments,
};
use utoipa::{IntoParams, ToSchema};

use super::{
    AlertCounts, AlertKind, AlertState, AlertView,
    evaluate::{Memory, SUBJECTS_MAX},
    events::{Audience, Told},
    letters,
    rules::Rule,
    view,
};
use crate::{
    Engine, Error, Parts, audit,
    keys::Caller,
    once::{Repeat, Reply, Secrecy, once},
    page::{Page, Window},
};

/// Longest note, in characters.
const NOTE_MAX: usize = 1_000;
/// Alerts counted at most; a console shows more as "many".
const COUNT_MAX: i64 = 1_000;

/// Which alerts a list shows by their state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AlertStateFilter {
    /// Those that are not over.
    Open,
    /// Those nobody took note of.
    Firing,
    /// Those somebody takes care of.
    Acknowledged,
    /// Those that are over.
    Resolved,
}

/// Which alerts a list shows (`GET /v1/alerts`).
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AlertQuery {
    /// `open` (firing or acknowledged), `firing`, `acknowledged` or `resolved`; all by default.
    #[param(value_type = Option<String>, example = "open")]
    pub state: Option<AlertStateFilter>,
    /// Only those of this rule.
    #[param(value_type = Option<String>)]
    pub rule_id: Option<AlertRuleId>,
    /// Only those of this kind.
    #[param(value_type = Option<String>, example = "bounce_rate")]
    pub kind: Option<AlertKind>,
    /// Rows of the page.
    #[param(minimum = 1, maximum = 500, default = 50)]
    pub limit: Option<u32>,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
}

/// What somebody writes about an alert.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = AlertNote)]
pub struct Note {
    /// For the others: what is being done.
    #[serde(default)]
    #[schema(example = "Rotated the token, watching it.")]
    pub note: Option<String>,
}

impl Note {
    fn checked(self) -> Result<Option<String>, Error> {
        if self.note.as_ref().is_some_and(|note| note.chars().count() > NOTE_MAX || note.contains('\0')) {
            return Err(Error::invalid("/note", format!("at most {NOTE_MAX} characters, none of them NUL")));
        }
        Ok(self.note.filter(|note| !note.trim().is_empty()))
    }
}

/// Lists the caller's alerts, newest first. Needs the scope `alerts:read`.
#[crate::boxed]
pub async fn list(parts: &Parts, caller: &Caller, query: &AlertQuery) -> Result<Page<AlertView>, Error> {
    let owner = caller.need_owner("alerts:read")?;
    let window = Window::read("alerts", query.limit, query.cursor.as_deref())?;
    let state = match query.state {
        None | Some(AlertStateFilter::Open) => None,
        Some(AlertStateFilter::Firing) => Some(AlertState::Firing),
        Some(AlertStateFilter::Acknowledged) => Some(AlertState::Acknowledged),
        Some(AlertStateFilter::Resolved) => Some(AlertState::Resolved),
    };
    let filter = rows::Filter {
        state: state.map(|state| state.as_str().to_owned()),
        is_open: query.state == Some(AlertStateFilter::Open),
        rule_id: query.rule_id,
        kind: query.kind.map(|kind| kind.as_str().to_owned()),
    };
    let read = parts.ports.db.read(caller.reach(), move |tx| {
        Box::pin(async move {
            let before = AlertId::from_ulid(window.before);
            Ok::<_, Error>(rows::list(tx, owner, &filter, before, window.rows()).await?)
        })
    });
    let page = window.page(read.await?, |row| row.id.ulid(), |row| view::alert(&row));
    Ok(Page { data: page.data.into_iter().flatten().collect(), next_cursor: page.next_cursor })
}

/// One of the caller's alerts. Needs the scope `alerts:read`.
#[crate::boxed]
pub async fn get(parts: &Parts, caller: &Caller, id: AlertId) -> Result<AlertView, Error> {
    let owner = caller.need_owner("alerts:read")?;
    view::alert(&get_row(parts, caller, owner, id).await?).ok_or_else(not_found)
}

/// How many of the caller's alerts are not over, for a person's first page. Needs the scope `alerts:read`.
#[crate::boxed]
pub async fn count_open(parts: &Parts, caller: &Caller) -> Result<AlertCounts, Error> {
    let owner = caller.need_owner("alerts:read")?;
    let read = parts.ports.db.read(caller.reach(), move |tx| {
        Box::pin(async move { Ok::<_, Error>(rows::count_open(tx, owner, COUNT_MAX).await?) })
    });
    let (firing, acknowledged) = read.await?;
    Ok(AlertCounts { firing, acknowledged })
}

fn not_found() -> Error {
    Error::not_found("alert")
}

/// What a person does to an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Acknowledge,
    Resolve,
}

/// Notes that somebody takes care of an alert. Saying it again replaces the note. Needs the scope `alerts:write`.
#[crate::boxed]
pub async fn acknowledge(
    engine: &Engine,
    caller: &Caller,
    repeat: &Repeat,
    id: AlertId,
    note: Note,
) -> Result<Reply, Error> {
    act(engine, caller, repeat, id, note, Act::Acknowledge).await
}

/// Ends an alert. Its subject does not fire again before the rule's quiet period has passed. Needs the scope `alerts:write`.
#[crate::boxed]
pub async fn resolve(
    engine: &Engine,
    caller: &Caller,
    repeat: &Repeat,
    id: AlertId,
    note: Note,
) -> Result<Reply, Error> {
    act(engine, caller, repeat, id, note, Act::Resolve).await
}

async fn act(
    engine: &Engine,
    caller: &Caller,
    repeat: &Repeat,
    id: AlertId,
    note: Note,
    act: Act,
) -> Result<Reply, Error> {
    let (owner, now) = (caller.need_owner("alerts:write")?, engine.ports.clock.now());
    get_row(engine, caller, owner, id).await?;
    let note = note.checked()?;
    let audience = Audience::of(engine, owner).await?;
    let hearing = audience.clone();
    let (ids, shard, by) = (Arc::clone(&engine.ports.ids), engine.shard(), caller.clone());
    let reply = once(engine.parts(), caller, repeat, 200, Secrecy::Plain, move |tx| {
        Box::pin(async move {
            // What rules remember changes with the alert, so nobody judges meanwhile.
            alert_rules::hold(tx, owner, None).await?;
            let mut row = rows::lock(tx, owner, id).await?.ok_or_else(not_found)?;
            if AlertState::from_stored(&row.state) == AlertState::Resolved {
                let detail =
                    format!("This alert was over at {}. Nothing is left to do.", row.resolved_at.unwrap_or(now));
                return Err(Error::conflict("alert_resolved", detail));
            }
            row.note = note.or(row.note);
            match act {
                Act::Acknowledge => {
                    row.state = AlertState::Acknowledged.as_str().to_owned();
                    (row.acknowledged_at, row.acknowledged_by) = (Some(now), Some(by.actor()));
                }
                Act::Resolve => end(tx, &mut row, &by.actor(), now).await?,
            }
            rows::put(tx, &row).await?;
            let (what, told) = match act {
                Act::Acknowledge => ("alert.acknowledged", Told::Acknowledged),
                Act::Resolve => ("alert.resolved", Told::Resolved),
            };
            let detail = json!({"title": row.title, "note": row.note});
            audit::record(tx, owner, &ids, now, &by, what, id, &detail).await?;
            let shown = view::alert(&row).ok_or_else(not_found)?;
            if let Some(hearing) = &hearing {
                hearing.tell(tx, told, &shown, &ids, now, shard).await?;
            }
            Ok(shown)
        })
    });
    let reply = reply.await?;
    if let Some(audience) = audience {
        audience.wake(engine, &[]);
    }
    Ok(reply)
}

/// Ends what fires under a rule that stops watching, because it was switched off or deleted (`why`), and forgets what the rule remembers: nobody would end it, and it would stay silent when it watches again.
pub(super) async fn end_of_rule(
    tx: &mut Tx,
    audience: Option<&Audience>,
    rule: &alert_rules::AlertRule,
    by: &Caller,
    why: &str,
    ids: &model::Ids,
    now: Timestamp,
) -> Result<(), Error> {
    let filter = rows::Filter { is_open: true, rule_id: Some(rule.id), ..rows::Filter::default() };
    let newest = AlertId::from_ulid(u128::MAX);
    for open in rows::list(tx, rule.tenant_id, &filter, newest, SUBJECTS_MAX as i64).await? {
        // Letters about it may have been handed over since.
        let Some(mut row) = rows::lock(tx, rule.tenant_id, open.id).await? else { continue };
        close(&mut row, &by.actor(), why, now);
        rows::put(tx, &row).await?;
        let detail = json!({"title": row.title, "note": why});
        audit::record(tx, rule.tenant_id, ids, now, by, "alert.resolved", row.id, &detail).await?;
        if let (Some(audience), Some(shown)) = (audience, view::alert(&row)) {
            audience.tell(tx, Told::Resolved, &shown, ids, now, 0).await?;
        }
    }
    let states = alert_rules::states(tx, rule.tenant_id).await?;
    let mine = states.into_iter().filter(|state| state.rule_id == rule.id);
    let gone: Vec<_> = mine.map(|state| (state.rule_id, state.subject)).collect();
    Ok(alert_rules::remove_states(tx, rule.tenant_id, &gone).await?)
}

/// An alert as somebody ends it.
fn close(row: &mut Alert, by: &str, why: &str, now: Timestamp) {
    row.state = AlertState::Resolved.as_str().to_owned();
    (row.resolved_at, row.resolved_by, row.telling, row.tell_at) = (Some(now), Some(by.to_owned()), None, None);
    let mut letters = letters::read(row.letters.as_deref());
    letters::end(&mut letters, why);
    row.letters = Some(letters::write(&letters));
}

/// Ends an alert by hand, and what its rule remembers with it.
async fn end(tx: &mut Tx, row: &mut Alert, by: &str, now: Timestamp) -> Result<(), Error> {
    close(row, by, "Somebody resolved the alert first.", now);
    if AlertKind::from_stored(&row.kind) == Some(AlertKind::PaymentStray) {
        // Nothing else says that somebody took care of it.
        payments::settle(tx, &row.subject, now).await?;
    }
    let rule = alert_rules::find(tx, row.tenant_id, row.rule_id).await?;
    let Some(rule) = rule.as_ref().and_then(Rule::from_row) else { return Ok(()) };
    let states = alert_rules::states(tx, row.tenant_id).await?;
    let mine = states.into_iter().filter(|state| state.rule_id == row.rule_id && state.alert_id == Some(row.id));
    let mut changed = Vec::new();
    for mut state in mine {
        let memory: Memory = serde_json::from_str(&state.memory).unwrap_or_default();
        state.memory = serde_json::to_string(&memory.resolved_by_hand(rule.quiet_s, now)).map_err(Error::internal)?;
        state.updated_at = now;
        changed.push(state);
    }
    Ok(alert_rules::put_states(tx, &changed).await?)
}

async fn get_row(parts: &Parts, caller: &Caller, owner: TenantId, id: AlertId) -> Result<Alert, Error> {
    let read = parts
        .ports
        .db
        .read(caller.reach(), move |tx| Box::pin(async move { Ok::<_, Error>(rows::find(tx, owner, id).await?) }));
    read.await?.ok_or_else(not_found)
}
