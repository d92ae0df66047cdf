//! Counting what a tenant uses of its plan, in the transactions that accept messages and that write what became of them.
//!
//! A message counts from when it was accepted, in the month of the tenant's bills that instant lies in ([`month_of`]), over the channel it goes by. It stops counting when it ends without having been
//! sent: withdrawn, expired, held back, or failed. So a counter equals a recount of its month's messages ([`counts`]), and `tidings doctor --ledger` compares the two. What Tidings
//! says itself (answers to STOP and HELP, letters about alerts) does not count, as it costs nothing.
//!
//! Accept locks the counters of what it is about to write ([`lock`]), so of many that are accepted at the same time those come first that fit, and the others are refused.
//! What moves to another channel afterwards counts there, and a dead letter that is tried again counts again; both only as far as the plan reaches ([`Rooms`]). Only what a provider
//! says after the fact, that a message it had refused went out after all, is counted whatever the plan says.

use std::collections::{BTreeMap, BTreeSet};

use jiff::tz::TimeZone;
use model::{Channel, TenantId, Timestamp};
use serde::Serialize;
use serde_json::{Value, json};
use store::{
    Scope, Tx, credits,
    fallbacks::FormerRoute,
    invoices,
    messages::Message,
    quotas::{self, Counter},
    subscriptions,
};
use utoipa::ToSchema;

use super::{Allowance, months};
use crate::{Error, ErrorKind, Parts, directory::Tenant, money::charge};

/// How long after a plan changed messages may still be accepted under the one before, in seconds.
pub(crate) const LATE_S: i64 = 60;
/// Percentages of a plan's messages at which the tenant is told, once each and month; with a plan of another size anew, also with one it had before. From the first one on they are nearly used up ([`level`]).
pub(crate) const NOTICES: [i64; 3] = [80, 90, 100];

/// What is missing where a plan is used up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Shortfall {
    /// Over which channel.
    pub channel: Channel,
    /// Messages of the request.
    pub need: i64,
    /// Messages of the month so far.
    pub used: i64,
    /// Messages that are left.
    pub remaining: i64,
    /// When the next month begins.
    pub resets_at: Timestamp,
    /// What can be done.
    pub choices: Vec<Choice>,
}

impl Shortfall {
    /// What is missing where `need` messages are wanted and `remaining` are left until `resets_at`, with what can be done.
    pub(crate) fn new(channel: Channel, need: i64, used: i64, remaining: i64, resets_at: Timestamp) -> Self {
        let mut choices = vec![Choice::Upgrade, Choice::NextMonth { from: resets_at }];
        if remaining > 0 {
            choices.insert(0, Choice::Remove { messages: need - remaining });
        }
        Self { channel, need, used, remaining, resets_at, choices }
    }
}

/// A way on where a plan is used up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = QuotaChoice)]
#[serde(tag = "choice", rename_all = "snake_case")]
pub enum Choice {
    /// Send to fewer.
    Remove {
        /// How many messages have to be left out.
        #[schema(example = 30)]
        messages: i64,
    },
    /// Move to a larger plan.
    Upgrade,
    /// Send in the next month.
    NextMonth {
        /// When it begins.
        #[schema(value_type = String, format = DateTime)]
        from: Timestamp,
    },
}

/// True for what Tidings says itself: its topic has a colon, which nobody else can give one.
pub fn is_ours(m: &Message) -> bool {
    m.topic.as_deref().is_some_and(|topic| topic.contains(':'))
}

/// True while a message counts.
pub fn counts(m: &Message) -> bool {
    m.channel != Channel::Webhook && !is_ours(m) && !charge::is_over(m)
}

/// Changes of what counts, by the instant the messages were accepted.
pub(crate) type Changes = BTreeMap<(TenantId, Channel), Vec<(Timestamp, i64)>>;

/// Notes what a change of a message's row means for what counts, which is nothing as a rule. What was sent a way it `left` with this change stays counted there.
pub(crate) fn note<'a>(
    changes: &mut Changes,
    before: &Message,
    after: &Message,
    left: impl Iterator<Item = &'a FormerRoute>,
) {
    let mut add = |channel: Channel, by: i64| {
        if by != 0 {
            changes.entry((after.tenant_id, channel)).or_default().push((after.created_at, by));
        }
    };
    left.filter(|way| way.sent_at.is_some()).for_each(|way| add(way.channel, 1));
    let (then, now) = (i64::from(counts(before)), i64::from(counts(after)));
    if before.channel == after.channel {
        add(after.channel, now - then);
    } else {
        add(before.channel, -then);
        add(after.channel, now);
    }
}

/// Writes changes. Months that were not counted, and tenants without a plan, have no counter and are passed over.
pub(crate) async fn apply(tx: &mut Tx, changes: &Changes) -> Result<(), store::Error> {
    for ((tenant, channel), shifts) in changes {
        let Some(earliest) = shifts.iter().map(|(at, _)| *at).min() else { continue };
        let mut counters = quotas::lock(tx, *tenant, *channel, earliest).await?;
        for (at, by) in shifts {
            if let Some(counter) = counters.iter_mut().find(|counter| covers(counter, *at)) {
                counter.used += by;
            }
        }
        quotas::put_many(tx, &counters).await?;
    }
    Ok(())
}

/// The locked counters of the tenants among those about to accept that have a plan.
#[derive(Default)]
pub(crate) struct Meters(BTreeMap<(TenantId, Channel), Vec<(Counter, bool)>>);

/// Part of a plan that a request is about to use.
pub(crate) struct Taken {
    key: (TenantId, Channel),
    place: usize,
    messages: i64,
}

/// Locks the counters of messages about to be accepted, in one order so that two transactions cannot wait for each other. Asks nothing for tenants without a plan.
pub(crate) async fn lock(tx: &mut Tx, messages: Vec<(&Tenant, &Message)>) -> Result<Meters, store::Error> {
    let mut wanted: BTreeMap<(TenantId, Channel), (&Tenant, Timestamp, Timestamp)> = BTreeMap::new();
    for (tenant, m) in messages {
        if allowance(tenant, m.channel).is_some() {
            let entry = wanted.entry((tenant.id, m.channel)).or_insert((tenant, m.created_at, m.created_at));
            (entry.1, entry.2) = (entry.1.min(m.created_at), entry.2.max(m.created_at));
        }
    }
    let mut meters = Meters::default();
    for (key, (tenant, earliest, latest)) in wanted {
        let mut counters = quotas::lock(tx, key.0, key.1, earliest).await?;
        for at in [earliest, latest] {
            if !counters.iter().any(|counter| covers(counter, at)) {
                begin(tx, tenant, key.1, at).await?;
                counters = quotas::lock(tx, key.0, key.1, earliest).await?;
            }
        }
        meters.0.insert(key, counters.into_iter().map(|counter| (counter, false)).collect());
    }
    Ok(meters)
}

pub(super) fn allowance(tenant: &Tenant, channel: Channel) -> Option<&Allowance> {
    tenant.subscription.as_ref()?.allowances.iter().find(|allowance| allowance.channel == channel)
}

/// True when a counter counts what was accepted at an instant. What a clock that was set back puts before the counting began is not counted, here and in a recount.
pub(super) fn covers(counter: &Counter, at: Timestamp) -> bool {
    counter.starts_at <= at && at < counter.ends_at
}

/// The month of a tenant's bills an instant lies in, from when its plan counts: quotas have no other. How often the tenant changes its clock makes it no shorter, because it ends where
/// the subscription says, and the next one where that is said with its first message, or when the one before is closed.
async fn month_of(
    tx: &mut Tx,
    tenant: TenantId,
    zone: &TimeZone,
    at: Timestamp,
) -> Result<Option<(Timestamp, Timestamp)>, store::Error> {
    let Some(row) = subscriptions::find(tx, tenant).await? else { return Ok(None) };
    // Of a demo, and long after a subscription has ended, nothing is billed.
    let Some(closes_at) = row.closes_at else { return Ok(Some(months::month(zone, at))) };
    let (mut starts_at, mut ends_at) = if at < row.billed_until {
        let Some(billed) = invoices::month_of(tx, tenant, at).await? else { return Ok(None) };
        billed
    } else {
        (row.billed_until, closes_at)
    };
    while at >= ends_at {
        // Not closed yet. Another channel may have begun it, on the clock of that instant.
        let begun = begun_until(tx, tenant, ends_at).await?;
        (starts_at, ends_at) = (ends_at, begun.unwrap_or_else(|| months::next(zone, ends_at)));
    }
    let starts_at = starts_at.max(row.counted_from);
    Ok((starts_at <= at).then_some((starts_at, ends_at)))
}

/// When the month ends that begins at an instant, as far as its messages say so.
pub(crate) async fn begun_until(
    tx: &mut Tx,
    tenant: TenantId,
    starts_at: Timestamp,
) -> Result<Option<Timestamp>, store::Error> {
    // One of an earlier version may have been some hours long.
    let whole = starts_at.plus_seconds(months::HALF_S);
    let counters = quotas::at(tx, tenant, starts_at).await?;
    Ok(counters.into_iter().find(|one| one.starts_at == starts_at && one.ends_at >= whole).map(|one| one.ends_at))
}

/// The counter of the month an instant lies in, where it is to be begun. A month has one counter on a channel: where one of an earlier version, or of a clock that was changed in that moment,
/// ended too soon, it goes on. Nothing was counted in it yet: the plan spoke of the channel from its beginning on, or what was sent before is counted as it begins to ([`super::recount`]).
pub(super) async fn fresh(
    tx: &mut Tx,
    tenant: &Tenant,
    channel: Channel,
    at: Timestamp,
) -> Result<Option<Counter>, store::Error> {
    let Some(subscribed) = &tenant.subscription else { return Ok(None) };
    let Some((starts_at, ends_at)) = month_of(tx, tenant.id, &subscribed.zone, at).await? else { return Ok(None) };
    let (before, after) = quotas::around(tx, tenant.id, channel, at).await?;
    let ends_at = after.map_or(ends_at, |after| after.min(ends_at));
    if let Some(short) = before.as_ref().filter(|before| months::middle(before.starts_at, before.ends_at) >= starts_at)
    {
        quotas::prolong(tx, short, ends_at).await?;
        return Ok(None);
    }
    let starts_at = before.map_or(starts_at, |before| before.ends_at.max(starts_at));
    Ok(Some(Counter { tenant_id: tenant.id, channel, starts_at, ends_at, used: 0, warned: 0, warned_of: 0 }))
}

/// Lets the month an instant lies in be counted.
async fn begin(tx: &mut Tx, tenant: &Tenant, channel: Channel, at: Timestamp) -> Result<(), store::Error> {
    match fresh(tx, tenant, channel, at).await? {
        Some(new) => quotas::begin_many(tx, &[new]).await,
        None => Ok(()),
    }
}

/// What is left of plans for messages that may move to another channel, or are tried again. Counters are locked as long as the transaction lasts.
#[derive(Default)]
pub(crate) struct Rooms {
    counters: BTreeMap<(TenantId, Channel), Vec<Counter>>,
    taken: BTreeSet<(TenantId, Channel)>,
}

impl Rooms {
    /// Locks what is needed to know what is left: `batch` are all tenants of the transaction, with the earliest acceptance of their messages; `wanted` where messages may go.
    ///
    /// Everything is locked that the transaction may lock later, ledgers before counters, in the order accept locks them, so that two transactions cannot wait for each other. Costs nothing
    /// where no plan speaks of these channels.
    pub(crate) async fn lock(
        tx: &mut Tx,
        batch: &BTreeMap<TenantId, (&Tenant, Timestamp)>,
        wanted: &BTreeSet<(TenantId, Channel, Timestamp)>,
    ) -> Result<Self, store::Error> {
        let is_counted = |(tenant, channel, _): &&(TenantId, Channel, Timestamp)| {
            batch.get(tenant).is_some_and(|(tenant, _)| allowance(tenant, *channel).is_some())
        };
        let wanted: Vec<_> = wanted.iter().filter(is_counted).collect();
        let mut rooms = Self::default();
        if wanted.is_empty() {
            return Ok(rooms);
        }
        for tenant in batch.keys() {
            credits::lock(tx, *tenant).await?;
        }
        let plans = batch.iter().filter_map(|(id, (tenant, since))| Some((id, tenant.subscription.as_ref()?, since)));
        let channels =
            plans.flat_map(|(id, plan, since)| plan.allowances.iter().map(move |a| ((*id, a.channel), *since)));
        for ((tenant, channel), since) in channels.collect::<BTreeMap<_, _>>() {
            let mut counters = quotas::lock(tx, tenant, channel, since).await?;
            for (_, _, at) in wanted.iter().filter(|(id, on, _)| (*id, *on) == (tenant, channel)) {
                if !counters.iter().any(|counter| covers(counter, *at)) {
                    begin(tx, batch[&tenant].0, channel, *at).await?;
                    counters = quotas::lock(tx, tenant, channel, since).await?;
                }
            }
            rooms.counters.insert((tenant, channel), counters);
        }
        Ok(rooms)
    }

    /// Takes room for one more message over a channel that was accepted at an instant; the refusal when there is none.
    pub(crate) fn take(&mut self, tenant: &Tenant, channel: Channel, at: Timestamp) -> Result<(), Error> {
        let Some(stop) = allowance(tenant, channel).and_then(Allowance::stop) else { return Ok(()) };
        let counters = self.counters.get_mut(&(tenant.id, channel));
        let Some(counter) = counters.and_then(|counters| counters.iter_mut().find(|counter| covers(counter, at)))
        else {
            return Ok(());
        };
        if counter.used >= stop {
            return Err(refusal(counter, stop, 1));
        }
        counter.used += 1;
        self.taken.insert((tenant.id, channel));
        Ok(())
    }

    /// What tenants are told of once everything is counted: the type of each event and its data.
    pub(crate) async fn notices<'a>(
        &self,
        tx: &mut Tx,
        tenant: impl Fn(TenantId) -> Option<&'a Tenant>,
        now: Timestamp,
    ) -> Result<Vec<(TenantId, &'static str, Value)>, store::Error> {
        let mut told = Vec::new();
        for (id, channel) in &self.taken {
            let Some(allowance) = tenant(*id).and_then(|tenant| allowance(tenant, *channel)) else { continue };
            let mut counters = quotas::lock(tx, *id, *channel, now).await?;
            let before = counters.clone();
            let notices: Vec<_> = counters.iter_mut().filter_map(|counter| notice(counter, allowance)).collect();
            told.extend(notices.into_iter().map(|(kind, data)| (*id, kind, data)));
            if counters != before {
                quotas::put_many(tx, &counters).await?;
            }
        }
        Ok(told)
    }
}

impl Meters {
    /// What messages use of their tenant's plan, or the refusal when it does not reach for all of them.
    pub(crate) fn afford(&self, tenant: &Tenant, messages: &[&Message]) -> Result<Vec<Taken>, Error> {
        if tenant.subscription.is_none() {
            return Ok(Vec::new());
        }
        let mut needs: BTreeMap<(Channel, usize), i64> = BTreeMap::new();
        for m in messages {
            let Some(counters) = self.0.get(&(tenant.id, m.channel)) else { continue };
            if let Some(place) = counters.iter().position(|(counter, _)| covers(counter, m.created_at)) {
                *needs.entry((m.channel, place)).or_default() += 1;
            }
        }
        let mut taken = Vec::new();
        for ((channel, place), need) in needs {
            let key = (tenant.id, channel);
            let counter = &self.0[&key][place].0;
            let stop = allowance(tenant, channel).and_then(Allowance::stop);
            if let Some(stop) = stop.filter(|stop| counter.used + need > *stop) {
                return Err(refusal(counter, stop, need));
            }
            taken.push(Taken { key, place, messages: need });
        }
        Ok(taken)
    }

    /// Counts what is accepted. Answers what the tenant is told of: the type of each event and its data.
    pub(crate) fn take(&mut self, tenant: &Tenant, taken: Vec<Taken>) -> Vec<(&'static str, Value)> {
        let mut notices = Vec::new();
        for Taken { key, place, messages } in taken {
            let Some((counter, is_changed)) = self.0.get_mut(&key).and_then(|counters| counters.get_mut(place)) else {
                continue;
            };
            counter.used += messages;
            *is_changed = true;
            notices.extend(allowance(tenant, key.1).and_then(|allowance| notice(counter, allowance)));
        }
        notices
    }

    /// Writes what was counted.
    pub(crate) async fn write(self, tx: &mut Tx) -> Result<(), store::Error> {
        let changed = self.0.into_values().flatten().filter(|(_, is_changed)| *is_changed);
        quotas::put_many(tx, &changed.map(|(counter, _)| counter).collect::<Vec<_>>()).await
    }
}

/// The notice a counter has come to, and that it was given.
pub(super) fn notice(counter: &mut Counter, allowance: &Allowance) -> Option<(&'static str, Value)> {
    let stop = allowance.stop();
    let whole = stop.unwrap_or(allowance.included);
    if counter.warned_of != whole {
        // Of another plan's messages the marks are reached anew. What an earlier version told of is taken for this one's.
        counter.warned = if counter.warned_of == 0 { counter.warned } else { 0 };
        counter.warned_of = whole;
    }
    let reached = NOTICES.into_iter().rfind(|percent| whole > 0 && counter.used * 100 >= whole * percent)?;
    if reached <= counter.warned {
        return None;
    }
    counter.warned = reached;
    let data = json!({
        "channel": counter.channel, "percent": reached, "used": counter.used, "included": allowance.included, "limit": stop,
        "remaining": stop.map(|stop| (stop - counter.used).max(0)), "starts_at": counter.starts_at, "resets_at": counter.ends_at,
    });
    Some((if reached == 100 { "quota.reached" } else { "quota.warning" }, data))
}

fn refusal(counter: &Counter, stop: i64, need: i64) -> Error {
    let remaining = (stop - counter.used).max(0);
    let detail = format!(
        "This needs {need} messages over {}, and {remaining} of the {stop} of this month are left. Leave {} out, ask for a larger plan, or wait until {}. Nothing was accepted.",
        counter.channel,
        need - remaining,
        counter.ends_at
    );
    let mut refusal = Error::new(ErrorKind::Payment, "quota_exceeded", detail).with_action("UPGRADE_PLAN");
    let short = Shortfall::new(counter.channel, need, counter.used, remaining, counter.ends_at);
    refusal.quota = Some(Box::new(short));
    refusal
}

/// What a tenant has used of its plan on one channel this month.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Quota)]
pub struct QuotaView {
    /// Over which channel.
    #[schema(value_type = String, example = "sms")]
    pub channel: Channel,
    /// Messages the fee pays for.
    #[schema(example = 1000)]
    pub included: i64,
    /// What each further one costs, in millionths of the plan's currency; `null` when there is none.
    #[schema(example = 9000)]
    pub overage_micros: Option<i64>,
    /// Messages at which sending stops; `null` when it does not.
    #[schema(example = 5000)]
    pub limit: Option<i64>,
    /// Messages of this month so far.
    #[schema(example = 812)]
    pub used: i64,
    /// Messages until sending stops; `null` when it does not.
    #[schema(example = 4188)]
    pub remaining: Option<i64>,
    /// The same in a word.
    pub level: QuotaLevel,
    /// When the next month of its bills begins.
    #[schema(value_type = String, format = DateTime)]
    pub resets_at: Timestamp,
}

/// How much of a month's messages is left, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum QuotaLevel {
    /// Enough, or nothing that could be used up.
    Enough,
    /// At least 80 of a hundred are used: of those at which sending stops, or where it does not stop, of those the fee pays for.
    NearlyUsedUp,
    /// All of them are used.
    UsedUp,
}

/// The one rule for when messages of a plan are nearly used up, and used up: of those at which sending stops, or where it does not stop, of those the fee pays for.
fn level(used: i64, included: i64, stop: Option<i64>) -> QuotaLevel {
    let whole = stop.unwrap_or(included);
    if used >= whole && (whole > 0 || stop.is_some()) {
        QuotaLevel::UsedUp
    } else if whole > 0 && used * 100 >= whole * NOTICES[0] {
        QuotaLevel::NearlyUsedUp
    } else {
        QuotaLevel::Enough
    }
}

/// What a tenant has used of its plan, channel by channel; empty without one.
#[crate::boxed]
pub async fn used(parts: &Parts, tenant: &Tenant) -> Result<Vec<QuotaView>, Error> {
    let Some(subscribed) = &tenant.subscription else { return Ok(Vec::new()) };
    let (id, now) = (tenant.id, parts.ports.clock.now());
    let zone = subscribed.zone.clone();
    let read = parts.ports.db.read(Scope::Tenant(id), move |tx| {
        Box::pin(async move {
            let month = month_of(tx, id, &zone, now).await?;
            Ok::<_, store::Error>((quotas::at(tx, id, now).await?, month))
        })
    });
    let (counters, month) = read.await.map_err(Error::from)?;
    let resets_at = month.map_or_else(|| months::month(&subscribed.zone, now).1, |(_, ends_at)| ends_at);
    let view = |allowance: &Allowance| {
        let counter = counters.iter().find(|counter| counter.channel == allowance.channel);
        let (used, limit) = (counter.map_or(0, |counter| counter.used), allowance.stop());
        QuotaView {
            channel: allowance.channel,
            included: allowance.included,
            overage_micros: allowance.overage_micros,
            limit,
            used,
            remaining: limit.map(|limit| (limit - used).max(0)),
            level: level(used, allowance.included, limit),
            resets_at: counter.map_or(resets_at, |counter| counter.ends_at),
        }
    };
    Ok(subscribed.allowances.iter().map(view).collect())
}

/// What a tenant has used of its plan on one channel; `None` when nothing limits it there. For a campaign's check.
#[crate::boxed]
pub async fn on_channel(parts: &Parts, tenant: &Tenant, channel: Channel) -> Result<Option<QuotaView>, Error> {
    Ok(used(parts, tenant).await?.into_iter().find(|quota| quota.channel == channel))
}

#[cfg(test)]
mod tests {
    use model::Status;

    use super::*;

    fn counter(used: i64) -> Counter {
        let (starts_at, ends_at) = (Timestamp::from_seconds(100), Timestamp::from_seconds(200));
        Counter {
            tenant_id: TenantId::from_ulid(1),
            channel: Channel::Sms,
            starts_at,
            ends_at,
            used,
            warned: 0,
            warned_of: 0,
        }
    }

    #[test]
    fn a_notice_is_given_once_and_says_the_highest_mark() {
        let allowance = Allowance { channel: Channel::Sms, included: 10, overage_micros: None, limit: None };
        let mut counter = counter(0);
        let mut told = Vec::new();
        for used in [5, 7, 8, 8, 7, 8, 9, 10, 10, 4, 10] {
            counter.used = used;
            told.extend(notice(&mut counter, &allowance).map(|(kind, data)| (kind, data["percent"].as_i64().unwrap())));
        }
        assert_eq!(told, [("quota.warning", 80), ("quota.warning", 90), ("quota.reached", 100)]);
        let mut at_once = super::tests::counter(10);
        assert_eq!(notice(&mut at_once, &allowance).unwrap().0, "quota.reached");
        assert_eq!(notice(&mut at_once, &allowance), None);
        // A larger plan begins anew, also where much of it is used from the start; a change of what costs nothing here does not.
        let larger = Allowance { included: 12, ..allowance.clone() };
        assert_eq!(notice(&mut at_once, &larger).unwrap().1["percent"], 80);
        assert_eq!(notice(&mut at_once, &larger), None);
        let much_larger = Allowance { included: 100, overage_micros: Some(1), ..allowance.clone() };
        assert_eq!(notice(&mut at_once, &much_larger), None);
        at_once.used = 80;
        assert_eq!(notice(&mut at_once, &much_larger).unwrap().1["percent"], 80);
        let mut before = Counter { used: 9, warned: 80, ..super::tests::counter(9) };
        assert_eq!(notice(&mut before, &allowance).unwrap().1["percent"], 90);
        let none = Allowance { included: 0, ..allowance };
        assert_eq!(notice(&mut super::tests::counter(10), &none), None);
    }

    #[test]
    fn the_word_follows_the_first_notice() {
        use QuotaLevel::{Enough, NearlyUsedUp, UsedUp};
        let check = |used, included, stop, expected| {
            assert_eq!(level(used, included, stop), expected, "{used} of {included}, {stop:?}")
        };
        check(0, 10, Some(10), Enough);
        check(7, 10, Some(10), Enough);
        check(8, 10, Some(10), NearlyUsedUp);
        check(10, 10, Some(10), UsedUp);
        check(12, 10, Some(20), Enough);
        check(16, 10, Some(20), NearlyUsedUp);
        // Where sending goes on, those the fee pays for are meant.
        check(9, 10, None, NearlyUsedUp);
        check(25, 10, None, UsedUp);
        check(25, 0, None, Enough);
        check(0, 0, Some(0), UsedUp);
    }

    #[test]
    fn a_refusal_says_what_can_be_done() {
        let shortfall = |used: i64, need: i64| *refusal(&counter(used), 10, need).quota.unwrap();
        let some = shortfall(8, 5);
        assert_eq!((some.need, some.used, some.remaining, some.resets_at), (5, 8, 2, Timestamp::from_seconds(200)));
        let next = Choice::NextMonth { from: Timestamp::from_seconds(200) };
        assert_eq!(some.choices, [Choice::Remove { messages: 3 }, Choice::Upgrade, next.clone()]);
        assert_eq!(shortfall(12, 1).remaining, 0);
        assert_eq!(shortfall(10, 1).choices, [Choice::Upgrade, next]);
    }

    #[test]
    fn what_ends_without_having_been_sent_does_not_count() {
        let tenant = TenantId::from_ulid(1);
        let content = store::messages::ContentId(1);
        let made = Message::new(
            tenant,
            model::MessageId::from_ulid(1 << 20),
            Channel::Sms,
            "+15550100001".to_owned(),
            content,
            Timestamp::from_seconds(5),
        );
        let with = |status: Status, sent: bool| Message {
            status,
            sent_at: sent.then(|| Timestamp::from_seconds(6)),
            ..made.clone()
        };
        let check = |m: Message, expected: bool| assert_eq!(counts(&m), expected, "{:?} {:?}", m.status, m.sent_at);
        for status in [Status::Scheduled, Status::Queued, Status::Sending, Status::Unknown] {
            check(with(status, false), true);
        }
        for status in [Status::Failed, Status::Canceled, Status::Expired, Status::Suppressed, Status::Bounced] {
            check(with(status, false), false);
            check(with(status, true), true);
        }
        check(Message { topic: Some("reply:stop".to_owned()), ..with(Status::Queued, false) }, false);
        check(Message { channel: Channel::Webhook, ..with(Status::Queued, false) }, false);
        let left_by = |before: Message, after: Message, left: &[FormerRoute]| {
            let mut changes = Changes::new();
            note(&mut changes, &before, &after, left.iter());
            let sums =
                changes.into_iter().map(|((_, channel), shifts)| (channel, shifts.iter().map(|(_, by)| by).sum()));
            sums.filter(|(_, by): &(Channel, i64)| *by != 0).collect::<Vec<_>>()
        };
        let changed = |before: Message, after: Message| left_by(before, after, &[]);
        let (queued, failed) = (with(Status::Queued, false), with(Status::Failed, false));
        let moved = |m: Message| Message { channel: Channel::Whatsapp, ..m };
        assert_eq!(changed(queued.clone(), with(Status::Sent, true)), []);
        assert_eq!(changed(queued.clone(), failed.clone()), [(Channel::Sms, -1)]);
        assert_eq!(changed(failed, queued.clone()), [(Channel::Sms, 1)]);
        let both = changed(queued.clone(), moved(queued.clone()));
        assert_eq!(both.len(), 2);
        assert!(both.contains(&(Channel::Sms, -1)) && both.contains(&(Channel::Whatsapp, 1)));
        let way = |m: Message| {
            let account_id = Some(model::AccountId::from_ulid(1));
            crate::apply::fallback::leave(&mut Message { account_id, ..m }, 0, Timestamp::from_seconds(7)).unwrap()
        };
        let (sent, moved) = (with(Status::Sent, true), moved(queued.clone()));
        assert_eq!(left_by(sent.clone(), moved.clone(), &[way(sent.clone())]), [(Channel::Whatsapp, 1)]);
        assert_eq!(
            left_by(queued.clone(), moved, &[way(sent.clone())]),
            [(Channel::Whatsapp, 1)],
            "sent and left at once"
        );
        assert_eq!(left_by(sent.clone(), queued, &[way(sent)]), [(Channel::Sms, 1)], "through another account");
    }
}
