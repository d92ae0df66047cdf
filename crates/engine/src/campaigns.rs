//! Campaigns: one message to an audience, exactly once to each.
//!
//! **Life.** A draft is checked ([`check`]) and started. Starting sets a bound: contacts made later do not belong to it. The job [`work::run`] then does three things in bounded batches,
//! each of which moves the row's `cursor` in the transaction that writes what was done: it *freezes* the audience into `campaign_recipients`, in the order of the contacts; it *expands* it, accepting one
//! message per recipient through [`crate::accept`]; and, where variants are tested, it waits for the test and expands the *rest* with the winner.
//!
//! **Crashes and nodes.** A batch is there with its cursor or not at all, so whoever goes on begins where the last commit ended. One node at a time holds the row's lease; one that lost it finds
//! the cursor moved and writes nothing.
//!
//! **Pausing** stops expansion, and what waits in the queue is moved to a time that does not come; resuming moves it back. Canceling withdraws it. Both go through [`crate::apply`]: nothing here writes
//! the state of a message.

pub mod check;
pub(crate) mod definition;
pub(crate) mod states;
mod tally;
pub mod timing;
pub mod variants;
mod view;
pub mod work;

use std::sync::Arc;

use model::{CampaignId, ContactId, TenantId, Timestamp};
use serde::Deserialize;
use serde_json::json;
use store::{
    Scope, Tx, campaign_recipients,
    campaigns::{self, Campaign},
};
use utoipa::ToSchema;

pub use self::{
    definition::{AudienceRequest, CampaignPatch, Metric, NewCampaign, TestRequest, VariantRequest},
    timing::CampaignTiming,
    view::{CampaignState, CampaignStats, CampaignView, RecipientView, VariantStats},
};
use self::{
    states::{Action, State},
    work::HELD,
};
use crate::{
    Engine, Error,
    access::Permission,
    audit,
    csv::Csv,
    keys::Caller,
    names::Faults,
    once::{Repeat, Reply, Secrecy, once},
    page::{Page, Window, read_cursor, write_cursor},
    writes::Writes,
};

/// When a campaign starts by itself.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ScheduleRequest {
    /// Not before this instant; with a zone as in `2026-12-01T09:00:00[Europe/Berlin]` if you like. Exactly one of `start_at`, `local_start`, `rrule` and `cron`.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub start_at: Option<Timestamp>,
    /// When each recipient's own clock shows this (the tenant's, for those without a time zone). For whom that is over when it begins, it leaves at once.
    #[serde(default)]
    #[schema(example = "2026-12-01T09:00:00")]
    pub local_start: Option<String>,
    /// Again and again, as in RFC 5545: at most every hour. Each time is a campaign of its own, with the audience as it is then.
    #[serde(default)]
    #[schema(example = "FREQ=WEEKLY;BYDAY=MO")]
    pub rrule: Option<String>,
    /// Again and again, as five cron fields.
    #[serde(default)]
    pub cron: Option<String>,
    /// Whose clock a rule speaks of, as an IANA name; the tenant's when left out.
    #[serde(default)]
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
    /// Leaves recipients out who have not agreed, or (false) refuses to start while there are any; as the campaign says when left out.
    #[serde(default)]
    pub remove_without_consent: Option<bool>,
}

/// How a campaign starts now.
#[derive(Debug, Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SendRequest {
    /// Leaves recipients out who have not agreed, or (false) refuses to start while there are any; as the campaign says when left out.
    #[serde(default)]
    pub remove_without_consent: Option<bool>,
}

/// Which variant everybody else gets.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WinnerRequest {
    /// Its place, from 0.
    pub variant: u32,
}

/// Makes a draft. Needs the scope `campaigns:write`.
#[crate::boxed]
pub async fn create(engine: &Engine, caller: &Caller, repeat: &Repeat, new: NewCampaign) -> Result<Reply, Error> {
    let tenant_id = writer(caller)?;
    let now = engine.ports.clock.now();
    let mut faults = Faults::default();
    new.check(&mut faults);
    if new.timing.is_some() {
        faults.add("/timing", "a draft goes out when it is told to: use /schedule");
    }
    faults.end()?;
    caller.need_permission(Permission::Send(new.channel))?;
    let row = Campaign {
        tenant_id,
        id: CampaignId::from_ulid(engine.ports.ids.ulid(now)),
        name: new.name.trim().to_owned(),
        description: new.description.clone().unwrap_or_default(),
        state: State::Draft.as_str().to_owned(),
        definition: new.stored_text()?,
        creator: caller.actor(),
        phase: work::FREEZING.to_owned(),
        cursor: ContactId::from_ulid(0),
        bound: ContactId::from_ulid(0),
        total: 0,
        accepted: 0,
        excluded: 0,
        winner: None,
        problem: None,
        scheduled_at: None,
        started_at: None,
        test_ends_at: None,
        paused_at: None,
        ended_at: None,
        next_at: None,
        parent_id: None,
        created_at: now,
        updated_at: now,
    };
    check::can_be_read(engine, tenant_id, &new).await?;
    let (ids, by) = (Arc::clone(&engine.ports.ids), caller.clone());
    once(engine.parts(), caller, repeat, 201, Secrecy::Plain, move |tx| {
        Box::pin(async move {
            campaigns::insert(tx, &row).await?;
            audit::record(tx, tenant_id, &ids, now, &by, "campaign.created", row.id, &told(&row)).await?;
            view::campaign(&row, now)
        })
    })
    .await
}

/// What the audit log holds of a campaign: to whom it goes and what it says.
fn told(row: &Campaign) -> serde_json::Value {
    let definition: serde_json::Value = serde_json::from_str(&row.definition).unwrap_or_default();
    json!({"name": row.name, "description": row.description, "definition": definition})
}

/// Makes a draft that is the same as a campaign. Needs the scope `campaigns:write`.
#[crate::boxed]
pub async fn duplicate(engine: &Engine, caller: &Caller, repeat: &Repeat, id: CampaignId) -> Result<Reply, Error> {
    let tenant = writer(caller)?;
    let now = engine.ports.clock.now();
    let copy_id = CampaignId::from_ulid(engine.ports.ids.ulid(now));
    let actor = caller.actor();
    let (ids, by) = (Arc::clone(&engine.ports.ids), caller.clone());
    once(engine.parts(), caller, repeat, 201, Secrecy::Plain, move |tx| {
        Box::pin(async move {
            let row = found(campaigns::find(tx, tenant, id).await?)?;
            let mut new = NewCampaign::of(&row)?;
            new.timing = None;
            new.name = new.name.chars().take(crate::names::NAME_MAX - 7).collect::<String>() + " (copy)";
            let copy = Campaign {
                id: copy_id,
                definition: new.stored_text()?,
                name: new.name,
                state: State::Draft.as_str().to_owned(),
                creator: actor,
                phase: work::FREEZING.to_owned(),
                cursor: ContactId::from_ulid(0),
                bound: ContactId::from_ulid(0),
                total: 0,
                accepted: 0,
                excluded: 0,
                winner: None,
                problem: None,
                scheduled_at: None,
                started_at: None,
                test_ends_at: None,
                paused_at: None,
                ended_at: None,
                next_at: None,
                parent_id: None,
                created_at: now,
                updated_at: now,
                ..row
            };
            campaigns::insert(tx, &copy).await?;
            let mut detail = told(&copy);
            detail["copy_of"] = json!(id);
            audit::record(tx, tenant, &ids, now, &by, "campaign.created", copy_id, &detail).await?;
            view::campaign(&copy, now)
        })
    })
    .await
}

/// The tenant's campaigns, newest first. Needs the scope `campaigns:read`.
#[crate::boxed]
pub async fn list(
    engine: &Engine,
    caller: &Caller,
    limit: Option<u32>,
    cursor: Option<&str>,
) -> Result<Page<CampaignView>, Error> {
    let tenant = reader(caller)?;
    let now = engine.ports.clock.now();
    let window = Window::read("campaigns", limit, cursor)?;
    let read = engine.ports.db.read(Scope::Tenant(tenant), move |tx| {
        Box::pin(async move { campaigns::list(tx, tenant, CampaignId::from_ulid(window.before), window.rows()).await })
    });
    let rows = read.await?;
    let mut views = Vec::with_capacity(rows.len());
    for row in rows {
        views.push((row.id, view::campaign(&row, now)?));
    }
    Ok(window.page(views, |(id, _)| id.ulid(), |(_, view)| view))
}

/// One campaign. Needs the scope `campaigns:read`.
#[crate::boxed]
pub async fn get(engine: &Engine, caller: &Caller, id: CampaignId) -> Result<CampaignView, Error> {
    let tenant = reader(caller)?;
    view::campaign(&read_one(engine, tenant, id).await?, engine.ports.clock.now())
}

/// Changes a draft. Needs the scope `campaigns:write`.
#[crate::boxed]
pub async fn patch(
    engine: &Engine,
    caller: &Caller,
    id: CampaignId,
    change: CampaignPatch,
) -> Result<CampaignView, Error> {
    let tenant = writer(caller)?;
    let now = engine.ports.clock.now();
    let before = read_one(engine, tenant, id).await?;
    states::allow(&before, Action::Change)?;
    let mut after = before.clone();
    definition::amend(&mut after, change)?;
    after.updated_at = now;
    let new = NewCampaign::of(&after)?;
    caller.need_permission(Permission::Send(new.channel))?;
    check::can_be_read(engine, tenant, &new).await?;
    let (ids, by) = (Arc::clone(&engine.ports.ids), caller.clone());
    let write = engine.ports.db.write(Scope::Tenant(tenant), move |tx| {
        Box::pin(async move {
            let row = found(campaigns::lock(tx, tenant, id).await?)?;
            if row != before {
                return Err(changing());
            }
            campaigns::update(tx, &after).await?;
            let difference = audit::difference(&told(&before), &told(&after));
            audit::record(tx, tenant, &ids, now, &by, "campaign.updated", id, &difference).await?;
            view::campaign(&after, now)
        })
    });
    write.await
}

/// Deletes a campaign that is not under way; its messages stay. Needs the scope `campaigns:write`.
#[crate::boxed]
pub async fn delete(engine: &Engine, caller: &Caller, id: CampaignId) -> Result<(), Error> {
    let tenant = writer(caller)?;
    let (ids, now, by) = (Arc::clone(&engine.ports.ids), engine.ports.clock.now(), caller.clone());
    let write = engine.ports.db.write(Scope::Tenant(tenant), move |tx| {
        Box::pin(async move {
            let row = found(campaigns::lock(tx, tenant, id).await?)?;
            states::allow(&row, Action::Delete)?;
            campaigns::delete(tx, tenant, id).await?;
            let mut detail = told(&row);
            detail["state"] = json!(row.state);
            audit::record(tx, tenant, &ids, now, &by, "campaign.deleted", id, &detail).await
        })
    });
    write.await
}

/// Starts a campaign now (`/send`) or lets it start by itself (`/schedule`). Refused with the counts while something blocks it. Needs the scope `campaigns:write`.
#[crate::boxed]
pub async fn start(
    engine: &Engine,
    caller: &Caller,
    repeat: &Repeat,
    id: CampaignId,
    start_at: Option<Timestamp>,
) -> Result<Reply, Error> {
    match start_at {
        Some(_) => {
            schedule(engine, caller, repeat, id, ScheduleRequest { start_at, ..ScheduleRequest::default() }).await
        }
        None => start_with(engine, caller, repeat, id, None, None).await,
    }
}

/// Lets a campaign start by itself: at one instant, at a time of each recipient's clock, or again and again. Needs the scope `campaigns:write`.
#[crate::boxed]
pub async fn schedule(
    engine: &Engine,
    caller: &Caller,
    repeat: &Repeat,
    id: CampaignId,
    request: ScheduleRequest,
) -> Result<Reply, Error> {
    let tenant_id = writer(caller)?;
    let (_, tenant) = engine.tenant(tenant_id).await?;
    let when = timing::read(&request, &tenant.timezone, engine.ports.clock.now())?;
    start_with(engine, caller, repeat, id, Some(when), request.remove_without_consent).await
}

/// As [`start`], where the caller chooses anew what becomes of recipients without consent. `when`: the first time, and how it goes on. Needs the scope `campaigns:write`.
#[crate::boxed]
pub async fn start_with(
    engine: &Engine,
    caller: &Caller,
    repeat: &Repeat,
    id: CampaignId,
    when: Option<(Timestamp, Option<CampaignTiming>)>,
    removes: Option<bool>,
) -> Result<Reply, Error> {
    let tenant = writer(caller)?;
    let now = engine.ports.clock.now();
    let start_at = when.as_ref().map(|(at, _)| *at);
    let mut before = read_one(engine, tenant, id).await?;
    states::allow(&before, if start_at.is_some() { Action::Schedule } else { Action::Send })?;
    let mut new = NewCampaign::of(&before)?;
    caller.need_permission(Permission::Send(new.channel))?;
    let definition = before.definition.clone();
    if let Some(removes) = removes {
        new.remove_without_consent = removes;
    }
    new.timing = when.and_then(|(_, timing)| timing);
    before.definition = new.stored_text()?;
    let chosen = before.definition.clone();
    let is_unsure = check::before_start(engine, &before, now).await?;
    act(engine, caller, repeat, id, "campaign.started", move |row, ids| {
        states::allow(row, if start_at.is_some() { Action::Schedule } else { Action::Send })?;
        if row.definition != definition {
            return Err(changing());
        }
        row.definition = chosen;
        match start_at {
            Some(at) => {
                (row.state, row.scheduled_at, row.next_at) = (State::Scheduled.as_str().to_owned(), Some(at), Some(at));
                Ok(false)
            }
            None => {
                work::begin(row, is_unsure, now, ids);
                Ok(true)
            }
        }
    })
    .await
}

/// Stops a campaign and holds what waits. Needs the scope `campaigns:write`.
#[crate::boxed]
pub async fn pause(engine: &Engine, caller: &Caller, repeat: &Repeat, id: CampaignId) -> Result<Reply, Error> {
    let now = engine.ports.clock.now();
    act(engine, caller, repeat, id, "campaign.paused", move |row, _| {
        states::allow(row, Action::Pause)?;
        (row.state, row.paused_at, row.next_at) = (State::Paused.as_str().to_owned(), Some(now), Some(now));
        Ok(true)
    })
    .await
}

/// Goes on with a paused campaign. Needs the scope `campaigns:write`.
#[crate::boxed]
pub async fn resume(engine: &Engine, caller: &Caller, repeat: &Repeat, id: CampaignId) -> Result<Reply, Error> {
    let now = engine.ports.clock.now();
    act(engine, caller, repeat, id, "campaign.resumed", move |row, _| {
        states::allow(row, Action::Resume)?;
        // What is held is let go first; then the row says it is no longer paused.
        (row.state, row.next_at) = (State::Sending.as_str().to_owned(), Some(now));
        Ok(true)
    })
    .await
}

/// Ends a campaign; what waits is withdrawn, what left has left. Needs the scope `campaigns:write`.
#[crate::boxed]
pub async fn cancel(engine: &Engine, caller: &Caller, repeat: &Repeat, id: CampaignId) -> Result<Reply, Error> {
    let now = engine.ports.clock.now();
    act(engine, caller, repeat, id, "campaign.canceled", move |row, _| {
        states::allow(row, Action::Cancel)?;
        (row.state, row.ended_at, row.next_at) = (State::Canceled.as_str().to_owned(), Some(now), Some(now));
        Ok(true)
    })
    .await
}

/// Chooses the variant everybody else gets, before or at the end of a test. Needs the scope `campaigns:write`.
#[crate::boxed]
pub async fn choose(
    engine: &Engine,
    caller: &Caller,
    repeat: &Repeat,
    id: CampaignId,
    request: WinnerRequest,
) -> Result<Reply, Error> {
    let now = engine.ports.clock.now();
    act(engine, caller, repeat, id, "campaign.winner_chosen", move |row, _| {
        let count = NewCampaign::of(row)?.variants.len();
        if request.variant as usize >= count {
            return Err(Error::invalid("/variant", format!("this campaign has {count} variants, counted from 0")));
        }
        if row.phase != work::TESTING {
            return Err(Error::conflict(
                "no_test_under_way",
                "A winner is chosen while a test is under way; this campaign has none now.",
            ));
        }
        (row.winner, row.next_at) = (Some(request.variant), Some(now));
        Ok(false)
    })
    .await
}

/// How a campaign goes. Needs the scope `campaigns:read`.
#[crate::boxed]
pub async fn stats(engine: &Engine, caller: &Caller, id: CampaignId) -> Result<CampaignStats, Error> {
    let tenant = reader(caller)?;
    let now = engine.ports.clock.now();
    let read = engine.ports.db.read(Scope::Tenant(tenant), move |tx| {
        Box::pin(async move {
            let row = found(campaigns::find(tx, tenant, id).await?)?;
            let tally = tally::read(tx, &row, now).await?;
            let excluded = campaign_recipients::exclusions(tx, tenant, id).await?;
            Ok::<_, Error>((row, tally, excluded))
        })
    });
    let (row, tally, excluded) = read.await?;
    view::stats(&row, &tally, excluded, now)
}

/// What became of each recipient, the latest contact first. Needs the scope `campaigns:read`.
#[crate::boxed]
pub async fn recipients(
    engine: &Engine,
    caller: &Caller,
    id: CampaignId,
    limit: Option<u32>,
    cursor: Option<&str>,
) -> Result<Page<RecipientView>, Error> {
    let tenant = reader(caller)?;
    let window = Window::read(RECIPIENTS, limit, cursor)?;
    let read = engine.ports.db.read(Scope::Tenant(tenant), move |tx| {
        Box::pin(async move {
            found(campaigns::find(tx, tenant, id).await?)?;
            let before = ContactId::from_ulid(window.before);
            Ok::<_, Error>(campaign_recipients::list(tx, tenant, id, before, window.rows()).await?)
        })
    });
    Ok(window.page(read.await?, |row| row.recipient.contact_id.ulid(), |row| view::recipient(&row)))
}

/// Most rows of one file of recipients: some 2 MB. The next file begins at its cursor.
pub const EXPORT_MAX: usize = 10_000;
/// The list's name, which its cursors are bound to; the same as of the list itself.
const RECIPIENTS: &str = "campaign_recipients";

/// What became of each recipient, as a table of up to [`EXPORT_MAX`] rows and where the next one begins. Needs the scope `campaigns:read`.
#[crate::boxed]
pub async fn export(
    engine: &Engine,
    caller: &Caller,
    id: CampaignId,
    cursor: Option<&str>,
) -> Result<(Vec<u8>, Option<String>), Error> {
    let tenant = reader(caller)?;
    let before = cursor.map_or(Ok(u128::MAX), |cursor| read_cursor(RECIPIENTS, cursor))?;
    let read = engine.ports.db.read(Scope::Tenant(tenant), move |tx| {
        Box::pin(async move {
            found(campaigns::find(tx, tenant, id).await?)?;
            let before = ContactId::from_ulid(before);
            Ok::<_, Error>(campaign_recipients::list(tx, tenant, id, before, EXPORT_MAX as i64 + 1).await?)
        })
    });
    let mut rows = read.await?;
    let has_more = rows.len() > EXPORT_MAX;
    rows.truncate(EXPORT_MAX);
    let next = rows.last().filter(|_| has_more).map(|last| write_cursor(RECIPIENTS, last.recipient.contact_id.ulid()));
    let asked = json!({"cursor": cursor});
    audit::note_export(engine.parts(), caller, "campaign_recipients.exported", id, rows.len(), &asked).await?;
    let mut csv = Csv::with_header(&["contact_id", "to", "status", "variant", "message_id", "reason"]);
    for row in &rows {
        let view = view::recipient(row);
        let (contact, variant) = (view.contact_id.to_string(), view.variant.map(|n| n.to_string()).unwrap_or_default());
        let message = view.message_id.map(|id| id.to_string()).unwrap_or_default();
        let (to, reason) = (view.to.unwrap_or_default(), view.reason.unwrap_or_default());
        csv.row([contact.as_str(), &to, &view.status, &variant, &message, &reason]);
    }
    Ok((csv.into_bytes(), next))
}

/// Changes a campaign's row in one transaction with its audit entry and event. `change` answers whether the event is told.
async fn act(
    engine: &Engine,
    caller: &Caller,
    repeat: &Repeat,
    id: CampaignId,
    what: &'static str,
    change: impl FnOnce(&mut Campaign, &model::Ids) -> Result<bool, Error> + Send + 'static,
) -> Result<Reply, Error> {
    let tenant_id = writer(caller)?;
    let (_, tenant) = engine.tenant(tenant_id).await?;
    let now = engine.ports.clock.now();
    let (ids, by, shard) = (Arc::clone(&engine.ports.ids), caller.clone(), engine.shard());
    let reply = once(engine.parts(), caller, repeat, 200, Secrecy::Plain, move |tx| {
        Box::pin(async move {
            let mut row = found(campaigns::lock(tx, tenant_id, id).await?)?;
            let before = row.state.clone();
            let is_told = change(&mut row, &ids)?;
            row.updated_at = now;
            campaigns::update(tx, &row).await?;
            let detail = json!({ "state": { "from": before, "to": row.state } });
            audit::record(tx, tenant_id, &ids, now, &by, what, id, &detail).await?;
            if is_told {
                tell(tx, &tenant, &row, what, &ids, now, shard).await?;
            }
            view::campaign(&row, now)
        })
    });
    let reply = reply.await?;
    engine.wakers.wake(tenant_id);
    Ok(reply)
}

/// Tells the tenant what happened to a campaign, in the transaction in which it happens.
async fn tell(
    tx: &mut Tx,
    tenant: &crate::directory::Tenant,
    row: &Campaign,
    what: &'static str,
    ids: &model::Ids,
    now: Timestamp,
    shard: i64,
) -> Result<(), Error> {
    let mut writes = Writes::default();
    let data = serde_json::to_string(&view::campaign(row, now)?).map_err(Error::internal)?;
    writes.event(tenant, what, data, now, ids);
    Ok(writes.write(tx, shard).await?)
}

async fn read_one(engine: &Engine, tenant: TenantId, id: CampaignId) -> Result<Campaign, Error> {
    let read = engine.ports.db.read(Scope::Tenant(tenant), move |tx| Box::pin(campaigns::find(tx, tenant, id)));
    found(read.await?)
}

fn found(row: Option<Campaign>) -> Result<Campaign, Error> {
    row.ok_or_else(|| Error::not_found("campaign"))
}

fn changing() -> Error {
    Error::conflict("campaign_changing", "This campaign was changed at the same moment. Look at it and try again.")
}

fn reader(caller: &Caller) -> Result<TenantId, Error> {
    caller.need("campaigns:read")?;
    caller.need_tenant()
}

fn writer(caller: &Caller) -> Result<TenantId, Error> {
    caller.need("campaigns:write")?;
    caller.need_tenant()
}

/// True for a message that a paused campaign holds.
pub fn is_held(due_at: Option<Timestamp>) -> bool {
    due_at == Some(HELD)
}
