//! The job that moves campaigns on: freezes audiences, accepts messages, waits for tests, holds and withdraws what waits. Every step is one bounded transaction that moves the row's
//! cursor, so it may end anywhere.

use std::{collections::BTreeMap, sync::Arc};

use jiff::{civil::DateTime, tz::TimeZone};
use model::{CampaignId, ContactId, Fact, Ids, MessageId, TenantId, Timestamp};
use serde_json::{Value, json};
use store::{
    Scope, Tx,
    campaign_recipients::{self, ACCEPTED, EXCLUDED, RESTING, Recipient, WAITING},
    campaigns::{self, Campaign},
    contacts::{self, Audience, Contact},
};

use super::{
    check,
    definition::NewCampaign,
    states::State,
    tally, tell,
    timing::{CampaignTiming, at_clock},
    variants::{assign, winner},
    view::rates,
};
use crate::{
    Engine, Error,
    accept::{Accepted, CAMPAIGN_WAITS, Step, request::MessageRequest},
    apply::{Input, Moved, Withdrawn},
    contacts::links,
    schedules::recurrence::{self, Recurrence},
    segments,
};

/// The audience is being counted: one of the recipients may block the campaign.
pub const CHECKING: &str = "checking";
/// The audience is being written down.
pub const FREEZING: &str = "freezing";
/// Messages are being accepted.
pub const EXPANDING: &str = "expanding";
/// The test runs.
pub const TESTING: &str = "testing";
/// The rest gets the winner.
pub const RESTING_PHASE: &str = "resting";
/// Every recipient has a message; some still wait to leave.
pub const DRAINING: &str = "draining";
/// Nothing is left to do.
pub const DONE: &str = "done";

/// When the messages of a paused campaign are due: in the year 9999, so never. Resuming moves them back.
pub const HELD: Timestamp = Timestamp::from_seconds(253_370_764_800);

/// Contacts looked at in one step of freezing.
const FREEZE_PAGE: i64 = 1_000;
/// Messages accepted in one step: small enough that another tenant's message waits for no more than one such commit.
const EXPAND_PAGE: i64 = 500;
/// Messages moved or withdrawn in one step.
const MOVE_PAGE: i64 = 500;
/// Steps of one campaign before others have their turn.
const STEPS_MAX: usize = 20;
/// Campaigns taken at once.
const LEASES: i64 = 8;
/// How long a campaign is ours, in milliseconds: many times what a turn takes.
const LEASE_MS: i64 = 60_000;
/// Wait before a campaign whose messages only have to leave is looked at again, in milliseconds.
const LOOK_AGAIN_MS: i64 = 2_000;

/// What a step leaves.
enum Turn {
    /// There is more to do at once.
    More,
    /// Nothing now.
    Rest,
}

/// Starts a campaign: whoever is made a contact from now on does not belong to it. `is_unsure`: somebody who was not looked at yet may block it.
pub(super) fn begin(row: &mut Campaign, is_unsure: bool, now: Timestamp, ids: &Ids) {
    row.state = State::Sending.as_str().to_owned();
    row.phase = if is_unsure { CHECKING } else { FREEZING }.to_owned();
    row.cursor = ContactId::from_ulid(0);
    row.bound = ContactId::from_ulid(ids.ulid(now));
    (row.started_at, row.next_at) = (Some(now), Some(now));
}

/// Moves campaigns on that have something to do. Answers how many steps were taken.
#[crate::boxed]
pub async fn run(engine: &Arc<Engine>) -> Result<u64, Error> {
    let (now, worker) = (engine.ports.clock.now(), engine.worker);
    let until = now.plus_millis(LEASE_MS);
    let lease =
        engine.ports.db.write(Scope::System, move |tx| Box::pin(campaigns::lease(tx, worker, now, until, LEASES)));
    let leased: Vec<Campaign> = lease.await?;
    let mut steps = 0;
    for row in leased {
        let taken = match turns(engine, row.clone()).await {
            // What is wrong with it for good ends it; anything else is tried again.
            Err(error) if error.kind.status() < 500 && error.kind.status() != 429 => {
                fail(engine, &row, &error).await.map(|()| 0)
            }
            taken => taken,
        };
        // One that cannot go on must not keep the others waiting.
        match taken {
            Ok(count) => steps += count,
            Err(error) => {
                tracing::warn!(campaign.id = %row.id, %error, "A campaign could not go on and will be tried again")
            }
        }
        let (tenant, id) = (row.tenant_id, row.id);
        let release = engine
            .ports
            .db
            .write(Scope::Tenant(tenant), move |tx| Box::pin(campaigns::release(tx, tenant, id, worker)));
        let released: Result<(), store::Error> = release.await;
        released?;
    }
    Ok(steps)
}

async fn turns(engine: &Arc<Engine>, mut row: Campaign) -> Result<u64, Error> {
    for step in 1..=STEPS_MAX {
        if matches!(turn(engine, &row).await?, Turn::Rest) {
            return Ok(step as u64);
        }
        row = super::read_one(engine, row.tenant_id, row.id).await?;
    }
    Ok(STEPS_MAX as u64)
}

async fn turn(engine: &Arc<Engine>, row: &Campaign) -> Result<Turn, Error> {
    let now = engine.ports.clock.now();
    match (State::from_stored(&row.state), row.phase.as_str()) {
        (State::Scheduled, _) => start(engine, row, now).await,
        (State::Paused, _) => hold(engine, row, now).await,
        (State::Canceled, _) => withdraw(engine, row, now).await,
        (State::Sending, _) if row.paused_at.is_some() => let_go(engine, row, now).await,
        (State::Sending, CHECKING) => count(engine, row, now).await,
        (State::Sending, FREEZING) => freeze(engine, row, now).await,
        (State::Sending, EXPANDING | RESTING_PHASE) => expand(engine, row, now).await,
        (State::Sending, TESTING) => end_test(engine, row, now).await,
        (State::Sending, DRAINING) => drain(engine, row, now).await,
        _ => settle(engine, row, |row| row.next_at = None, None).await,
    }
}

/// Writes a change of the row unless somebody else changed it meanwhile; tells the tenant `what` with it.
async fn settle(
    engine: &Arc<Engine>,
    seen: &Campaign,
    change: impl FnOnce(&mut Campaign) + Send + 'static,
    what: Option<&'static str>,
) -> Result<Turn, Error> {
    let (_, tenant) = engine.tenant(seen.tenant_id).await?;
    let (now, shard, ids, seen) =
        (engine.ports.clock.now(), engine.shard(), Arc::clone(&engine.ports.ids), seen.clone());
    let tenant_id = seen.tenant_id;
    let write = engine.ports.db.write(Scope::Tenant(tenant_id), move |tx| {
        Box::pin(async move {
            let Some(mut row) = unchanged(tx, &seen).await? else { return Ok(()) };
            change(&mut row);
            campaigns::update(tx, &row).await?;
            match what {
                Some(what) => tell(tx, &tenant, &row, what, &ids, now, shard).await,
                None => Ok(()),
            }
        })
    });
    write.await?;
    engine.wakers.wake(tenant_id);
    Ok(Turn::More)
}

/// The row, locked, unless it is no longer as it was seen.
async fn unchanged(tx: &mut Tx, seen: &Campaign) -> Result<Option<Campaign>, store::Error> {
    Ok(campaigns::lock(tx, seen.tenant_id, seen.id).await?.filter(|row| row == seen))
}

/// Starts a scheduled campaign, looking once more at what would block it.
async fn start(engine: &Arc<Engine>, row: &Campaign, now: Timestamp) -> Result<Turn, Error> {
    if let Some(recurrence) = NewCampaign::of(row)?.timing.unwrap_or_default().recurrence()? {
        return occur(engine, row, &recurrence, now).await;
    }
    let is_unsure = check::before_start(engine, row, now).await?;
    let ids = Arc::clone(&engine.ports.ids);
    settle(engine, row, move |row| begin(row, is_unsure, now, &ids), Some("campaign.started")).await
}

/// Waits until everybody was counted. What blocks it then ends it, before anybody was written to.
async fn count(engine: &Arc<Engine>, row: &Campaign, now: Timestamp) -> Result<Turn, Error> {
    match check::whole(engine, row, now).await? {
        Some(report) => {
            report.refuse()?;
            settle(engine, row, |row| row.phase = FREEZING.to_owned(), None).await
        }
        None => {
            let look_again = move |row: &mut Campaign| row.next_at = Some(now.plus_millis(LOOK_AGAIN_MS));
            settle(engine, row, look_again, None).await.map(|_| Turn::Rest)
        }
    }
}

/// Makes the campaign of an occurrence and moves the recurring one on, in one transaction. The new one is scheduled for that instant and starts like any other, so that one which
/// is blocked fails by itself and the next one comes all the same.
async fn occur(engine: &Arc<Engine>, seen: &Campaign, recurrence: &Recurrence, now: Timestamp) -> Result<Turn, Error> {
    let next_at = seen.scheduled_at.unwrap_or(now);
    let due = recurrence::due(recurrence, next_at, now, true);
    let id = CampaignId::from_ulid(engine.ports.ids.ulid(now));
    let mut new = NewCampaign::of(seen)?;
    new.timing = None;
    let definition = new.stored_text()?;
    let (_, tenant) = engine.tenant(seen.tenant_id).await?;
    let (shard, ids, seen) = (engine.shard(), Arc::clone(&engine.ports.ids), seen.clone());
    let write = engine.ports.db.write(Scope::Tenant(seen.tenant_id), move |tx| {
        Box::pin(async move {
            let Some(mut row) = unchanged(tx, &seen).await? else { return Ok::<_, Error>(()) };
            if let Some(at) = due.fire {
                let child = Campaign {
                    id,
                    definition,
                    parent_id: Some(row.id),
                    scheduled_at: Some(at),
                    next_at: Some(now),
                    created_at: now,
                    updated_at: now,
                    ..row.clone()
                };
                campaigns::insert(tx, &child).await?;
            }
            (row.scheduled_at, row.next_at) = (due.next, due.next);
            if due.next.is_none() {
                (row.state, row.phase, row.ended_at) = (State::Sent.as_str().to_owned(), DONE.to_owned(), Some(now));
            }
            campaigns::update(tx, &row).await?;
            if due.next.is_none() {
                tell(tx, &tenant, &row, "campaign.sent", &ids, now, shard).await?;
            }
            Ok(())
        })
    });
    write.await?;
    Ok(Turn::Rest)
}

async fn fail(engine: &Arc<Engine>, row: &Campaign, error: &Error) -> Result<(), Error> {
    let (now, detail) = (engine.ports.clock.now(), error.detail.clone());
    let row = super::read_one(engine, row.tenant_id, row.id).await?;
    let end = move |row: &mut Campaign| {
        (row.state, row.problem) = (State::Failed.as_str().to_owned(), Some(detail));
        (row.ended_at, row.next_at) = (Some(now), None);
    };
    settle(engine, &row, end, Some("campaign.failed")).await.map(drop)
}

/// One stretch of the audience: its contacts in order, and where the next begins.
pub(super) struct Stretch {
    /// Whom it is for.
    pub contacts: Vec<Contact>,
    /// The last contact this stretch speaks of; `None` at the end.
    pub until: Option<ContactId>,
}

/// Reads the next stretch of an audience behind `after`. Every source is read in the order of its contacts, so one position serves them all.
pub(super) async fn stretch(
    tx: &mut Tx,
    tenant: TenantId,
    new: &NewCampaign,
    after: ContactId,
    at: Timestamp,
) -> Result<Stretch, Error> {
    let wanted = &new.audience;
    let mut found: BTreeMap<ContactId, Contact> = BTreeMap::new();
    let mut until: Option<ContactId> = None;
    for audience in audiences(tx, tenant, &wanted.lists, &wanted.segments, at).await? {
        let page = contacts::page(tx, tenant, &audience, after, FREEZE_PAGE).await?;
        if page.len() as i64 == FREEZE_PAGE {
            let last = page.last().map(|contact| contact.id);
            until = until.min(last).or(until).or(last);
        }
        found.extend(page.into_iter().map(|contact| (contact.id, contact)));
    }
    let mut named: Vec<ContactId> = wanted.contact_ids.iter().copied().filter(|id| *id > after).collect();
    named.sort_unstable();
    named.dedup();
    if named.len() as i64 > FREEZE_PAGE {
        named.truncate(FREEZE_PAGE as usize);
        let last = named.last().copied();
        until = until.min(last).or(until).or(last);
    }
    found.extend(contacts::find_many(tx, tenant, &named).await?.into_iter().map(|contact| (contact.id, contact)));
    if let Some(until) = until {
        found.retain(|id, _| *id <= until);
    }
    for audience in audiences(tx, tenant, &wanted.exclude_lists, &wanted.exclude_segments, at).await? {
        let mut from = after;
        while let Some(last) = found.keys().next_back().copied().filter(|last| *last > from) {
            let page = contacts::page(tx, tenant, &audience, from, FREEZE_PAGE).await?;
            let Some(end) = page.last().map(|contact| contact.id) else { break };
            page.iter().for_each(|contact| drop(found.remove(&contact.id)));
            if page.len() as i64 != FREEZE_PAGE || end >= last {
                break;
            }
            from = end;
        }
    }
    Ok(Stretch { contacts: found.into_values().collect(), until })
}

async fn audiences(
    tx: &mut Tx,
    tenant: TenantId,
    lists: &[model::ListId],
    segments: &[model::SegmentId],
    at: Timestamp,
) -> Result<Vec<Audience>, Error> {
    let mut audiences = Vec::new();
    for list in lists {
        if store::lists::find(tx, tenant, *list).await?.is_none() {
            let detail = format!("The list {list} is not there any more. Choose others.");
            return Err(Error::conflict("audience_gone", detail));
        }
        audiences.push(Audience::List(*list));
    }
    for segment in segments {
        audiences.push(segments::audience(tx, tenant, *segment, at).await?);
    }
    Ok(audiences)
}

/// Writes the next stretch of the audience down.
async fn freeze(engine: &Arc<Engine>, row: &Campaign, now: Timestamp) -> Result<Turn, Error> {
    let new = NewCampaign::of(row)?;
    let seen = row.clone();
    let write = engine.ports.db.write(Scope::Tenant(row.tenant_id), move |tx| {
        Box::pin(async move {
            let Some(mut row) = unchanged(tx, &seen).await? else { return Ok::<_, Error>(()) };
            let at = row.started_at.unwrap_or(now);
            let stretch = stretch(tx, row.tenant_id, &new, row.cursor, at).await?;
            let recipients: Vec<Recipient> = stretch
                .contacts
                .iter()
                .filter(|contact| contact.id <= row.bound)
                .map(|contact| recipient(&row, &new, contact))
                .collect();
            row.total += recipients.len() as u64;
            row.excluded += recipients.iter().filter(|recipient| recipient.outcome == EXCLUDED).count() as u64;
            campaign_recipients::insert_many(tx, &recipients).await?;
            match stretch.until.filter(|until| *until < row.bound) {
                Some(until) => row.cursor = until,
                None => (row.phase, row.cursor) = (EXPANDING.to_owned(), ContactId::from_ulid(0)),
            }
            Ok(campaigns::update(tx, &row).await?)
        })
    });
    write.await?;
    Ok(Turn::More)
}

fn recipient(row: &Campaign, new: &NewCampaign, contact: &Contact) -> Recipient {
    let is_reachable = links::address(contact, new.channel).is_some();
    let variant = new.test.as_ref().map(|test| assign(row.id, contact.id, test.percent, &new.weights()));
    Recipient {
        tenant_id: row.tenant_id,
        campaign_id: row.id,
        contact_id: contact.id,
        variant: variant.flatten(),
        outcome: match variant {
            _ if !is_reachable => EXCLUDED,
            Some(None) => RESTING,
            _ => WAITING,
        },
        reason: (!is_reachable).then(|| "no_address".to_owned()),
        message_id: None,
    }
}

/// The request each recipient's message is accepted by, but for the recipient.
pub(super) fn requests(new: &NewCampaign) -> Result<Vec<MessageRequest>, Error> {
    let request = |says: &super::definition::Says<'_>| {
        let mut request = json!({
            "to": {}, "channel": new.channel, "purpose": new.purpose.unwrap_or(model::Purpose::Marketing), "priority": "low",
        });
        let raw = |raw: &serde_json::value::RawValue| serde_json::from_str::<Value>(raw.get()).unwrap_or_default();
        let fields = [
            ("content", says.content.map(raw)),
            ("template", says.template.map(raw)),
            ("variables", new.variables.as_deref().map(raw)),
            ("account_id", new.account_id.map(|id| json!(id))),
            ("topic", new.topic.as_ref().map(|topic| json!(topic))),
        ];
        for (name, value) in fields {
            if let Some(value) = value {
                request[name] = value;
            }
        }
        crate::accept::request::read(request.to_string().as_bytes(), "")
    };
    new.says().iter().map(request).collect()
}

/// Lets each message leave when its recipient's clock shows a time; the tenant's clock for those without one.
pub(super) fn at_local_time(requests: &mut [MessageRequest], local: DateTime, zone: &TimeZone) {
    for request in requests {
        let own = request.recipient.as_ref().and_then(|recipient| recipient.contact.timezone.as_deref());
        let own = own.and_then(|name| TimeZone::get(name).ok());
        request.send_at = at_clock(local, own.as_ref().unwrap_or(zone));
    }
}

/// Accepts the next messages.
async fn expand(engine: &Arc<Engine>, row: &Campaign, now: Timestamp) -> Result<Turn, Error> {
    let new = NewCampaign::of(row)?;
    let wanted = if row.phase == RESTING_PHASE { RESTING } else { WAITING };
    let (tenant, id, cursor) = (row.tenant_id, row.id, row.cursor);
    let read = engine.ports.db.read(Scope::Tenant(tenant), move |tx| {
        Box::pin(campaign_recipients::with_outcome(tx, tenant, id, wanted, cursor, EXPAND_PAGE))
    });
    let waiting: Vec<Recipient> = read.await?;
    if waiting.is_empty() {
        return expanded(engine, row, &new, now).await;
    }
    accept_next(engine, row, &new, waiting, now).await
}

/// Accepts messages for the next recipients: for as many as the tenant's plan has left where that is fewer.
async fn accept_next(
    engine: &Arc<Engine>,
    row: &Campaign,
    new: &NewCampaign,
    mut waiting: Vec<Recipient>,
    now: Timestamp,
) -> Result<Turn, Error> {
    loop {
        match accept_these(engine, row, new, &waiting).await {
            Ok(_) => return Ok(Turn::More),
            Err(error) if error.code == CAMPAIGN_WAITS => {
                let left = error.quota.as_ref().map_or(0, |quota| usize::try_from(quota.remaining).unwrap_or(0));
                if (1..waiting.len()).contains(&left) {
                    waiting.truncate(left);
                    continue;
                }
                let wait = move |row: &mut Campaign| {
                    (row.problem, row.next_at) = (Some(error.detail), Some(now.plus_millis(LOOK_AGAIN_MS)));
                };
                return settle(engine, row, wait, None).await.map(|_| Turn::Rest);
            }
            Err(error) => return Err(error),
        }
    }
}

/// Accepts messages for these recipients, all or none.
async fn accept_these(
    engine: &Arc<Engine>,
    row: &Campaign,
    new: &NewCampaign,
    waiting: &[Recipient],
) -> Result<bool, Error> {
    let (tenant, id) = (row.tenant_id, row.id);
    let says = requests(new)?;
    let mut asked = Vec::with_capacity(waiting.len());
    for recipient in waiting {
        let variant = recipient.variant.or(row.winner).unwrap_or(0) as usize;
        let mut request = says.get(variant).ok_or_else(|| Error::internal("a variant is not there"))?.clone();
        request.to.contact_id = Some(recipient.contact_id);
        request.variant = Some(variant as u32).filter(|_| says.len() > 1);
        asked.push(request);
    }
    let step = |accepted: &[Accepted]| {
        let mut after = row.clone();
        let mut done = waiting.to_vec();
        for (recipient, accepted) in done.iter_mut().zip(accepted) {
            recipient.variant = recipient.variant.or(row.winner);
            match accepted {
                Ok(message) => (recipient.outcome, recipient.message_id) = (ACCEPTED, Some(*message)),
                Err(code) => (recipient.outcome, recipient.reason) = (EXCLUDED, Some(code.clone())),
            }
        }
        let accepted = accepted.iter().filter(|accepted| accepted.is_ok()).count() as u64;
        after.accepted += accepted;
        after.excluded += done.len() as u64 - accepted;
        after.problem = None;
        after.cursor = done.last().map_or(after.cursor, |last| last.contact_id);
        let (seen, done) = (Arc::new(row.clone()), Arc::new(done));
        let after = Arc::new(after);
        Step::new(move |tx| {
            let (seen, after, done) = (Arc::clone(&seen), Arc::clone(&after), Arc::clone(&done));
            Box::pin(async move {
                if unchanged(tx, &seen).await?.is_none() {
                    return Ok(false);
                }
                campaign_recipients::update_many(tx, &done).await?;
                campaigns::update(tx, &after).await?;
                Ok(true)
            })
        })
    };
    if let Some(local) = new.timing.as_ref().and_then(CampaignTiming::local) {
        engine.find_recipients(tenant, asked.iter_mut()).await?;
        at_local_time(&mut asked, local, &engine.tenant(tenant).await?.1.consent.zone);
    }
    engine.accept_campaign(tenant, id, asked, step).await
}

/// Every recipient of this phase has a message.
async fn expanded(engine: &Arc<Engine>, row: &Campaign, new: &NewCampaign, now: Timestamp) -> Result<Turn, Error> {
    let test = new.test.as_ref().filter(|_| row.phase == EXPANDING);
    match test.cloned() {
        Some(test) => {
            let ends_at = now.plus_seconds(i64::from(test.duration_s));
            let wait = move |row: &mut Campaign| {
                row.phase = TESTING.to_owned();
                (row.test_ends_at, row.next_at) = (Some(ends_at), Some(ends_at));
            };
            settle(engine, row, wait, None).await.map(|_| Turn::Rest)
        }
        None => {
            let drain = |row: &mut Campaign| (row.phase, row.cursor) = (DRAINING.to_owned(), ContactId::from_ulid(0));
            settle(engine, row, drain, None).await
        }
    }
}

/// Chooses the winner when the test has ended, unless somebody chose it or is to choose it.
async fn end_test(engine: &Arc<Engine>, row: &Campaign, now: Timestamp) -> Result<Turn, Error> {
    let new = NewCampaign::of(row)?;
    let Some(test) = new.test.as_ref() else { return Err(Error::internal("a test without a test")) };
    let chosen = match row.winner {
        Some(chosen) => Some(chosen),
        None if row.test_ends_at.is_some_and(|ends_at| ends_at > now) => {
            let ends_at = row.test_ends_at;
            return settle(engine, row, move |row| row.next_at = ends_at, None).await.map(|_| Turn::Rest);
        }
        None if test.automatic => {
            let of = row.clone();
            let read = engine
                .ports
                .db
                .read(Scope::Tenant(row.tenant_id), move |tx| Box::pin(async move { tally::read(tx, &of, now).await }));
            let tally = read.await?;
            winner(&rates(&tally, new.variants.len(), test.metric)).map(|(best, _)| best)
        }
        None => None,
    };
    let go_on = move |row: &mut Campaign| match chosen {
        Some(chosen) => {
            (row.winner, row.phase) = (Some(chosen), RESTING_PHASE.to_owned());
            (row.cursor, row.next_at) = (ContactId::from_ulid(0), Some(now));
        }
        // Somebody has to choose.
        None => row.next_at = None,
    };
    settle(engine, row, go_on, None).await
}

/// Waits until the last message has left.
async fn drain(engine: &Arc<Engine>, row: &Campaign, now: Timestamp) -> Result<Turn, Error> {
    let first = waiting(engine, row, MessageId::from_ulid(row.cursor.ulid()), None, 1).await?.into_iter().next();
    match first {
        Some(message) => {
            // Nothing before this one waits any more, so the next look begins here.
            let look_again = move |row: &mut Campaign| {
                row.cursor = ContactId::from_ulid(message.ulid() - 1);
                row.next_at = Some(now.plus_millis(LOOK_AGAIN_MS));
            };
            settle(engine, row, look_again, None).await.map(|_| Turn::Rest)
        }
        None => {
            let end = move |row: &mut Campaign| {
                (row.state, row.phase) = (State::Sent.as_str().to_owned(), DONE.to_owned());
                (row.ended_at, row.next_at) = (Some(now), None);
            };
            settle(engine, row, end, Some("campaign.sent")).await.map(|_| Turn::Rest)
        }
    }
}

/// Messages of a campaign that have not left, behind `after`. `held`: only those that are, or are not, held.
async fn waiting(
    engine: &Arc<Engine>,
    row: &Campaign,
    after: MessageId,
    held: Option<bool>,
    limit: i64,
) -> Result<Vec<MessageId>, Error> {
    let (tenant, id) = (row.tenant_id, row.id);
    let read = engine.ports.db.read(Scope::Tenant(tenant), move |tx| {
        Box::pin(campaign_recipients::waiting_messages(tx, tenant, id, after, HELD, held, limit))
    });
    let found: Result<Vec<MessageId>, store::Error> = read.await;
    Ok(found?)
}

/// Applies something to every waiting message, in bounded batches.
async fn each_waiting(
    engine: &Arc<Engine>,
    row: &Campaign,
    held: Option<bool>,
    input: impl Fn(Vec<MessageId>) -> Input + Send + Sync,
) -> Result<u64, Error> {
    let (mut after, mut count) = (MessageId::from_ulid(0), 0);
    loop {
        let found = waiting(engine, row, after, held, MOVE_PAGE).await?;
        let Some(last) = found.last() else { return Ok(count) };
        after = *last;
        let weight = found.len();
        count += weight as u64;
        let lost = || Err(Error::internal("applying panicked"));
        engine.applies.submit(input(found), weight).await.unwrap_or_else(lost)?;
    }
}

/// Moves what waits to a time that does not come. Looks again from time to time: an attempt that was under way may come back to the queue.
async fn hold(engine: &Arc<Engine>, row: &Campaign, now: Timestamp) -> Result<Turn, Error> {
    let tenant_id = row.tenant_id;
    let moved = |ids: Vec<MessageId>| {
        Input::Moved(ids.into_iter().map(|message_id| Moved { tenant_id, message_id, due_at: HELD }).collect())
    };
    each_waiting(engine, row, Some(false), moved).await?;
    let again = move |row: &mut Campaign| row.next_at = Some(now.plus_millis(LOOK_AGAIN_MS));
    settle(engine, row, again, None).await.map(|_| Turn::Rest)
}

/// Moves what was held back into the queue, then goes on.
async fn let_go(engine: &Arc<Engine>, row: &Campaign, now: Timestamp) -> Result<Turn, Error> {
    let tenant_id = row.tenant_id;
    let moved = |ids: Vec<MessageId>| {
        Input::Moved(ids.into_iter().map(|message_id| Moved { tenant_id, message_id, due_at: now }).collect())
    };
    each_waiting(engine, row, Some(true), moved).await?;
    settle(engine, row, |row| row.paused_at = None, None).await
}

/// Withdraws what waits, until nothing does.
async fn withdraw(engine: &Arc<Engine>, row: &Campaign, now: Timestamp) -> Result<Turn, Error> {
    let tenant_id = row.tenant_id;
    let withdrawn = |ids: Vec<MessageId>| {
        let withdrawn =
            |message_id| Withdrawn { tenant_id, message_id, fact: Fact::Canceled, source: "campaign".to_owned() };
        Input::Withdrawn(ids.into_iter().map(withdrawn).collect())
    };
    each_waiting(engine, row, None, withdrawn).await?;
    let is_over = waiting(engine, row, MessageId::from_ulid(0), None, 1).await?.is_empty();
    let next = move |row: &mut Campaign| row.next_at = (!is_over).then(|| now.plus_millis(LOOK_AGAIN_MS));
    settle(engine, row, next, None).await.map(|_| Turn::Rest)
}
