//! Counting all messages again: `tidings recount`. While the installation runs, in bounded steps, each of which is exact. After an upgrade that lets sums tell more, a job does so
//! by itself, once.
//!
//! Whoever counts takes locks in one order: messages, then their sums by slot, by day and by month. A step here does the same, so that it waits for those who change messages and never with them.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use model::{CampaignId, Channel, MessageId, TenantId, Timestamp};
use store::{
    Scope, Tx, fallbacks, installation,
    message_counters::{self, Counts, Filter, SLOT_S, Split, Table},
    messages::{self, Message},
    retention, tenants, usage,
};

use super::{
    count::{self, Sums},
    period,
};
use crate::{Engine, Error};

/// Messages read at once.
const PAGE: i64 = 5_000;
/// Messages counted in one step, unless a single slot has more: some tenths of a second in which nothing else is counted.
const STEP_MAX: usize = 20_000;
/// How long before its message is accepted an id may be made, in seconds.
const EARLY_S: i64 = 60;

pub(crate) const DAY_S: i64 = 86_400;
/// Sums by day are made anew a week at a time: some thousands of sums by slot.
pub(crate) const WEEK_S: i64 = 7 * DAY_S;
/// Under which name the installation keeps that sums are to be counted again: `all`, a tenant's id while those of older tenants still are, or [`DONE`]. A migration writes it.
const PENDING: &str = "sums_to_recount";
const DONE: &str = "done";

/// Sums by month.
type Months = BTreeMap<usage::Key, usage::Counts>;

/// How far counting again after an upgrade has come.
struct Place {
    /// As the installation keeps it.
    kept: String,
    /// The tenants from this one on, the newest first, are counted.
    before: TenantId,
}

/// `None` when nothing is to be counted again.
async fn place(tx: &mut Tx) -> Result<Option<Place>, store::Error> {
    let kept = installation::find(tx, PENDING).await?.filter(|kept| kept != DONE);
    Ok(kept.map(|kept| Place { before: kept.parse().unwrap_or(TenantId::from_ulid(u128::MAX)), kept }))
}

/// Whether sums of anybody were made by an earlier version and do not tell everything yet.
pub(crate) async fn is_pending(tx: &mut Tx) -> Result<bool, store::Error> {
    Ok(place(tx).await?.is_some())
}

/// Whether the tenant's sums were made by an earlier version. Those by half hour are right in what they tell, which is neither cost nor replies nor variants of campaigns; there are none by
/// day but of what came since.
pub(crate) async fn is_pending_for(tx: &mut Tx, tenant: TenantId) -> Result<bool, store::Error> {
    Ok(place(tx).await?.is_some_and(|place| tenant < place.before))
}

/// Counts everybody's messages again if an upgrade asks for it, tenant by tenant. Answers how many sums were other ones. Killed half-way, it goes on with the tenant it was at; two nodes
/// that do so at once do no harm.
#[crate::boxed]
pub async fn recount_pending(engine: &Engine) -> Result<u64, Error> {
    let db = &engine.ports.db;
    let mut corrected = 0;
    loop {
        let read = db.read(Scope::System, |tx| {
            Box::pin(async move {
                let Some(place) = place(tx).await? else { return Ok::<_, Error>(None) };
                let next = tenants::list(tx, place.before, 1).await?.into_iter().next();
                Ok(Some((place.kept, next.map(|tenant| tenant.id))))
            })
        });
        let Some((kept, next)) = read.await? else { return Ok(corrected) };
        if let Some(tenant) = next {
            corrected += engine.recount(tenant).await?;
        }
        let reached = next.map_or_else(|| DONE.to_owned(), |tenant| tenant.to_string());
        let write = db.write(Scope::System, move |tx| {
            Box::pin(async move { Ok::<_, Error>(installation::replace(tx, PENDING, &kept, &reached).await?) })
        });
        if write.await? && next.is_none() {
            tracing::info!(corrected, "Counted all messages again after an upgrade");
        }
    }
}

/// What one step came to.
struct Step {
    /// Sums that were wrong.
    wrong: u64,
    /// Where the next one begins; `None` at the end.
    next: Option<Timestamp>,
}

impl Engine {
    /// Counts all of a tenant's messages again and answers how many sums were wrong, none of which is afterwards: also those of messages from before there were sums. Each step
    /// counts the messages of some slots while nothing else is counted, so the new sums are exact. What was summed of messages that have since been removed is left as it is.
    #[crate::boxed]
    pub async fn recount(&self, tenant: TenantId) -> Result<u64, Error> {
        let read = self.ports.db.read(Scope::Tenant(tenant), move |tx| {
            Box::pin(async move {
                let oldest =
                    messages::after(tx, tenant, MessageId::from_ulid(0), 1).await?.first().map(|m| m.created_at);
                Ok::<_, Error>((oldest, message_counters::first(tx, tenant).await?))
            })
        });
        let (oldest, first) = read.await?;
        let has_messages = oldest.is_some();
        // Without messages what is kept by half hour stays, and the days are made of it.
        let Some(oldest) = oldest.or(first).map(message_counters::slot) else { return self.recount_days(tenant).await };
        // Sums older than the oldest message tell of messages that were removed, perhaps some of its slot among them.
        let is_cut = first.is_some_and(|first| first < oldest);
        let mut from = has_messages.then(|| if is_cut { oldest.plus_seconds(SLOT_S) } else { oldest });
        let zone = self.directory.tenant(tenant).await?.map_or(TimeZone::UTC, |tenant| tenant.consent.zone.clone());
        let mut wrong = 0;
        while let Some(begin) = from {
            let zone = zone.clone();
            let write = self
                .ports
                .db
                .write(Scope::Tenant(tenant), move |tx| Box::pin(async move { step(tx, tenant, &zone, begin).await }));
            let step = write.await?;
            wrong += step.wrong;
            from = step.next;
        }
        wrong += self.recount_days(tenant).await?;
        Ok(wrong + self.recount_months(tenant, oldest).await?)
    }

    /// Makes the sums by month what those by slot come to, from the month of the oldest message on. Answers how many were wrong.
    async fn recount_months(&self, tenant: TenantId, oldest: Timestamp) -> Result<u64, Error> {
        let (mut wrong, mut month) = (0, oldest.month());
        let last = self.ports.clock.now().month();
        while month <= last {
            let (from, until) = crate::usage::span(&month, None)?;
            let write = self.ports.db.write(Scope::Tenant(tenant), move |tx| {
                Box::pin(async move { self::month(tx, tenant, &month, (from, until)).await })
            });
            wrong += write.await?;
            month = until.month();
        }
        Ok(wrong)
    }

    /// Makes the sums by day what those by slot come to, a week at a time. Answers how many were wrong.
    async fn recount_days(&self, tenant: TenantId) -> Result<u64, Error> {
        let read = self.ports.db.read(Scope::Tenant(tenant), move |tx| {
            Box::pin(async move { Ok::<_, Error>(message_counters::span(tx, tenant).await?) })
        });
        let Some((first, last)) = read.await? else { return Ok(0) };
        let (mut wrong, mut begin) = (0, first_week(first));
        while begin <= last.plus_seconds(DAY_S) {
            let write = self
                .ports
                .db
                .write(Scope::Tenant(tenant), move |tx| Box::pin(async move { week(tx, tenant, begin).await }));
            wrong += write.await?;
            begin = begin.plus_seconds(WEEK_S);
        }
        Ok(wrong)
    }
}

/// Counts the messages of as many whole slots as a step may, from `from` on.
async fn step(tx: &mut Tx, tenant: TenantId, zone: &TimeZone, from: Timestamp) -> Result<Step, Error> {
    set_clocks(tx, tenant, zone, from).await?;
    message_counters::lock(tx).await?;
    let (all, until) = of_slots(tx, tenant, from).await?;
    let is_over = until.is_none();
    let until = until.unwrap_or(Filter::everything().until);
    let sums = counted(tx, tenant, &all).await?;
    let filter = Filter { from, until, ..Filter::default() };
    let kept = message_counters::sums(tx, Some(tenant), &filter, Split::FULL, i64::MAX).await?;
    let kept: Sums = kept.into_iter().filter(|(_, counts)| *counts != Counts::default()).collect();
    let wrong = differing(&sums, &kept);
    if wrong > 0 {
        message_counters::remove(tx, Table::Slots, tenant, from, until).await?;
        message_counters::add_to(tx, Table::Slots, 0, &sums).await?;
    }
    Ok(Step { wrong, next: (!is_over).then_some(until) })
}

/// Notes what the tenant's clock showed on messages of a step that do not say so: their rows are locked, in the order in which everybody does, before the sums are.
async fn set_clocks(tx: &mut Tx, tenant: TenantId, zone: &TimeZone, from: Timestamp) -> Result<(), Error> {
    let (all, _) = of_slots(tx, tenant, from).await?;
    let unset: Vec<_> = all.iter().filter(|m| m.clock.is_none()).map(|m| (tenant, m.id)).collect();
    if unset.is_empty() {
        return Ok(());
    }
    let mut locked = messages::lock_many(tx, &unset).await?;
    for m in &mut locked {
        m.clock = Some(period::clock(zone, m.created_at));
    }
    Ok(messages::set_clocks(tx, &locked).await?)
}

/// The messages of as many whole slots as a step may count, from `from` on, and where they end; `None` when there are no more.
async fn of_slots(tx: &mut Tx, tenant: TenantId, from: Timestamp) -> Result<(Vec<Message>, Option<Timestamp>), Error> {
    let mut all: Vec<Message> = Vec::new();
    let mut after = MessageId::from_ulid(retention::first_id(from).saturating_sub(1));
    let is_over = loop {
        let page = messages::after(tx, tenant, after, PAGE).await?;
        let is_last = (page.len() as i64) < PAGE;
        after = page.last().map_or(after, |last| last.id);
        all.extend(page);
        let has_whole_slot = all.last().is_some_and(|last| message_counters::slot(last.created_at) > from);
        if is_last || (all.len() >= STEP_MAX && has_whole_slot) {
            break is_last;
        }
    };
    // The last slot may go on in the next step.
    let until = all.last().map(|last| message_counters::slot(last.created_at)).filter(|_| !is_over);
    let is_in = |m: &Message| m.created_at >= from && until.is_none_or(|until| m.created_at < until);
    all.retain(|m| is_in(m) && m.channel != Channel::Webhook);
    Ok((all, until))
}

/// Sums of a month again, from those by slot.
async fn month(tx: &mut Tx, tenant: TenantId, name: &str, time: (Timestamp, Timestamp)) -> Result<u64, Error> {
    message_counters::lock(tx).await?;
    let (right, kept) = of_month(tx, tenant, name, time).await?;
    let wrong = differing(&right, &kept);
    if wrong > 0 {
        usage::remove(tx, tenant, name).await?;
        usage::add_many(tx, 0, &right).await?;
    }
    Ok(wrong)
}

/// Sums of a month, which lasts from an instant until another, as those by slot come to, and as they are kept.
pub(crate) async fn of_month(
    tx: &mut Tx,
    tenant: TenantId,
    name: &str,
    (from, until): (Timestamp, Timestamp),
) -> Result<(Months, Months), store::Error> {
    let split = Split { channel: true, provider: true, purpose: true, ..Split::default() };
    let filter = Filter { from, until, ..Filter::default() };
    let slots = message_counters::sums(tx, Some(tenant), &filter, split, i64::MAX).await?;
    let key = |key: message_counters::Key| usage::Key {
        tenant_id: tenant,
        month: name.to_owned(),
        channel: key.channel,
        provider: key.provider,
        purpose: key.purpose,
    };
    let mut right: Months = slots.into_iter().map(|(slot, counts)| (key(slot), counts.outcome)).collect();
    let mut kept: Months = usage::of_month(tx, tenant, name).await?.into_iter().collect();
    for months in [&mut right, &mut kept] {
        months.retain(|_, counts| *counts != usage::Counts::default());
    }
    Ok((right, kept))
}

/// Sums by day again of the week that begins with a day, from those by slot.
async fn week(tx: &mut Tx, tenant: TenantId, from: Timestamp) -> Result<u64, Error> {
    message_counters::lock(tx).await?;
    let (days, kept) = of_week(tx, tenant, from).await?;
    let wrong = differing(&days, &kept);
    if wrong > 0 {
        message_counters::remove(tx, Table::Days, tenant, from, from.plus_seconds(WEEK_S)).await?;
        message_counters::add_to(tx, Table::Days, 0, &days).await?;
    }
    Ok(wrong)
}

/// Sums by day of the week that begins with a day, as those by slot come to, and as they are kept.
pub(crate) async fn of_week(tx: &mut Tx, tenant: TenantId, from: Timestamp) -> Result<(Sums, Sums), store::Error> {
    let until = from.plus_seconds(WEEK_S);
    // A day on some clock lies within a day of the same day of UTC.
    let wide = Filter { from: from.plus_seconds(-DAY_S), until: until.plus_seconds(DAY_S), ..Filter::default() };
    let slots = message_counters::sums(tx, Some(tenant), &wide, Split::FULL, i64::MAX).await?;
    let mut days = message_counters::by_day(&slots.into_iter().collect());
    days.retain(|key, counts| (from..until).contains(&key.at) && *counts != Counts::default());
    let narrow = Filter { from, until, ..Filter::default() };
    let kept = message_counters::sums_of(tx, Table::Days, Some(tenant), &narrow, Split::FULL, i64::MAX).await?;
    Ok((days, kept.into_iter().filter(|(_, counts)| *counts != Counts::default()).collect()))
}

/// The first of the weeks in which a tenant's sums by day are looked at whose first sum is this old.
pub(crate) fn first_week(first: Timestamp) -> Timestamp {
    Timestamp::from_seconds(first.as_seconds().div_euclid(DAY_S) * DAY_S - DAY_S)
}

/// How many sums are missing, other ones, or there without a reason.
fn differing<K: Ord, V: PartialEq>(right: &BTreeMap<K, V>, kept: &BTreeMap<K, V>) -> u64 {
    let missing = right.iter().filter(|(key, counts)| kept.get(*key) != Some(*counts)).count();
    let strange = kept.keys().filter(|key| !right.contains_key(*key)).count();
    (missing + strange) as u64
}

/// The sums of one campaign's messages, counted one by one: for as long as those that are kept do not tell everything.
pub(crate) async fn count_campaign(tx: &mut Tx, tenant: TenantId, campaign: CampaignId) -> Result<Sums, Error> {
    let (mut sums, mut after) = (Sums::new(), MessageId::from_ulid(0));
    loop {
        let page = messages::of_campaign(tx, tenant, campaign, after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(sums) };
        after = last.id;
        for (key, counts) in counted(tx, tenant, &page).await? {
            *sums.entry(key).or_default() += counts;
        }
    }
}

/// What messages come to that were accepted from an instant on and are summed with some of before it, because a slot holds both: counted one by one, half an hour of them at most.
pub(crate) async fn count_first(tx: &mut Tx, tenant: TenantId, from: Timestamp) -> Result<Sums, store::Error> {
    let mut sums = Sums::new();
    if message_counters::slot(from) == from {
        return Ok(sums);
    }
    let until = message_counters::slot(from.plus_seconds(SLOT_S));
    let (first, end) = (retention::first_id(from.plus_seconds(-EARLY_S)), retention::first_id(until));
    let mut after = MessageId::from_ulid(first);
    loop {
        let mut page = messages::after(tx, tenant, after, PAGE).await?;
        let last = page.last().map(|last| last.id).filter(|last| last.ulid() < end);
        page.retain(|m| m.channel != Channel::Webhook && m.created_at >= from && m.created_at < until);
        for (key, counts) in counted(tx, tenant, &page).await?.into_iter().filter(|(key, _)| key.at < from) {
            *sums.entry(key).or_default() += counts;
        }
        match last {
            Some(last) => after = last,
            None => return Ok(sums),
        }
    }
}

async fn counted(tx: &mut Tx, tenant: TenantId, all: &[Message]) -> Result<Sums, store::Error> {
    let mut sums: Sums = BTreeMap::new();
    for page in all.chunks(PAGE as usize) {
        let keys: Vec<_> = page.iter().map(|m| (tenant, m.id)).collect();
        let routes = fallbacks::former(tx, &keys).await?;
        for m in page {
            count::change(&mut sums, None, m);
            routes.iter().filter(|route| route.message_id == m.id).for_each(|route| count::former(&mut sums, m, route));
        }
    }
    sums.retain(|_, counts| *counts != Counts::default());
    Ok(sums)
}
