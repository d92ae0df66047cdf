//! What a tenant's messages come to: usage by month, the counters by half hour, day and template, what is used of its plan, and attempts on record.

use std::collections::{BTreeMap, BTreeSet};

use model::{Channel, MessageId, TenantId, Timestamp};
use serde_json::Value;
use store::{
    Db, Tx, attempt_counters,
    fallbacks::FormerRoute,
    message_counters::{self, Counts},
    messages::Message,
    plans,
    quotas::{self, Counter},
    recounts, subscriptions, usage,
};

use super::{
    END, Found, ROWS_MAX, differing, each,
    history::{History, new_plan},
    read,
};
use crate::{
    Error,
    analytics::{count, recount},
    plans::{allowances, quota},
    tracking,
};

/// Sums of one tenant read at once.
const SUMS_MAX: i64 = i64::MAX;
/// Attempts are held against their sums over the last so many seconds of which there are any: a week, and those are kept for a day longer.
const ATTEMPTS_S: i64 = 7 * 86_400;

type Slots = BTreeMap<message_counters::Key, Counts>;

/// Everything a tenant's messages come to.
#[derive(Default)]
pub(super) struct Recount {
    slots: Slots,
    /// Half hours that seem to differ.
    suspects: BTreeSet<Timestamp>,
    counters: Vec<Counter>,
    used: BTreeMap<(Channel, Timestamp), i64>,
}

impl Recount {
    pub(super) async fn begin(db: &Db, tenant: TenantId) -> Result<Self, Error> {
        let counters = read(db, tenant, move |tx| Box::pin(quotas::all(tx, tenant))).await?;
        let used = counters.iter().map(|counter| ((counter.channel, counter.starts_at), 0)).collect();
        Ok(Self { counters, used, ..Self::default() })
    }

    pub(super) fn add<'a>(&mut self, m: &Message, routes: impl Iterator<Item = &'a FormerRoute>) {
        count::change(&mut self.slots, None, m);
        if quota::counts(m) {
            self.use_up(m.channel, m.created_at);
        }
        for route in routes {
            count::former(&mut self.slots, m, route);
            if route.sent_at.is_some() {
                self.use_up(route.channel, m.created_at);
            }
        }
    }

    fn use_up(&mut self, channel: Channel, at: Timestamp) {
        let is_of = |counter: &&Counter| counter.channel == channel && counter.starts_at <= at && at < counter.ends_at;
        if let Some(counter) = self.counters.iter().find(is_of) {
            *self.used.entry((channel, counter.starts_at)).or_default() += 1;
        }
    }

    /// Holds the sums of a time against the messages, of which no more of it are expected, and lets go of what they came to.
    pub(super) async fn compare(
        &mut self,
        db: &Db,
        tenant: TenantId,
        (from, until): (Timestamp, Timestamp),
    ) -> Result<(), Error> {
        let kept = read(db, tenant, move |tx| Box::pin(slots(tx, tenant, from, until))).await?;
        let (later, mut counted): (Slots, Slots) =
            std::mem::take(&mut self.slots).into_iter().partition(|(key, _)| key.at >= until);
        self.slots = later;
        counted.retain(|_, sums| *sums != Counts::default());
        self.suspects.extend(differing(&counted, &kept).into_iter().map(|(key, ..)| key.at));
        Ok(())
    }

    /// Tells what differs, once everything was compared, counting what seems to once more. `late_s`: how much later than the clock a message's id may be, in seconds.
    pub(super) async fn tell(self, db: &Db, history: &History, late_s: i64, found: &mut Found) -> Result<(), Error> {
        let tenant = history.tenant;
        self.compare_quotas(db, tenant, found).await?;
        sums(db, tenant, self.suspects, late_s, found).await?;
        uncounted(db, history, found).await?;
        notices(db, tenant, found).await?;
        templates(db, tenant, found).await?;
        attempts(db, tenant, found).await?;
        clocks(db, history, found).await
    }

    async fn compare_quotas(&self, db: &Db, tenant: TenantId, found: &mut Found) -> Result<(), Error> {
        let of = Some(tenant);
        let is_suspect =
            |counter: &&Counter| self.used.get(&(counter.channel, counter.starts_at)) != Some(&counter.used);
        for counter in self.counters.iter().filter(is_suspect) {
            let (channel, starts_at) = (counter.channel, counter.starts_at);
            let seen = read(db, tenant, move |tx| {
                Box::pin(async move {
                    let all = quotas::all(tx, tenant).await?;
                    let is_it = |counter: &Counter| (counter.channel, counter.starts_at) == (channel, starts_at);
                    let Some(counter) = all.into_iter().find(is_it) else { return Ok(None) };
                    let time = (starts_at, counter.ends_at);
                    let used = recounts::used(tx, tenant, channel, time, MessageId::from_ulid(0)).await?;
                    Ok(Some((counter.used, used)))
                })
            });
            if let Some((told, used)) = seen.await?.filter(|(told, used)| told != used) {
                found.add(of, "quota", || {
                    format!("{channel} from {starts_at}: {used} messages count, the plan's counter says {told}")
                });
            }
        }
        Ok(())
    }
}

/// Tells what differs in sums: by half hour against the messages, of half hours that seem to, and by day and month against the half hours. Where half hours are wrong, that is told already.
async fn sums(
    db: &Db,
    tenant: TenantId,
    suspects: BTreeSet<Timestamp>,
    late_s: i64,
    found: &mut Found,
) -> Result<(), Error> {
    let mut is_told = BTreeSet::new();
    for at in suspects {
        let differences = read(db, tenant, move |tx| Box::pin(half_hour(tx, tenant, at, late_s))).await?;
        for (channel, provider, detail) in differences {
            is_told.insert((at.month(), channel, provider));
            found.add(Some(tenant), "counters", || detail);
        }
    }
    let is_told =
        |month: String, channel: Channel, provider: &str| is_told.contains(&(month, channel, provider.to_owned()));
    let read_ends = read(db, tenant, move |tx| {
        Box::pin(async move { Ok((message_counters::span(tx, tenant).await?, usage::months(tx, tenant).await?)) })
    });
    let (span, mut months) = read_ends.await?;
    let (mut week, last) = span.map_or((END, Timestamp::EPOCH), |(first, last)| (recount::first_week(first), last));
    while week <= last.plus_seconds(recount::DAY_S) {
        let (days, kept) = read(db, tenant, move |tx| Box::pin(recount::of_week(tx, tenant, week))).await?;
        for (key, counts, told) in differing(&days, &kept) {
            // A day on some clock may begin in the month before.
            let months = [key.at.plus_seconds(-recount::DAY_S), key.at.plus_seconds(2 * recount::DAY_S)];
            if months.into_iter().any(|at| is_told(at.month(), key.channel, &key.provider)) {
                continue;
            }
            let (counts, told) = (sent(counts), sent(told));
            found.add(Some(tenant), "counters", || {
                format!(
                    "{} through {} on the day {}: the half hours come to {} accepted and {} sent, the day says {} and {}, or differ in what became of them",
                    key.channel, key.provider, key.at, counts.0, counts.1, told.0, told.1
                )
            });
        }
        let until = week.plus_seconds(recount::WEEK_S);
        months.extend([week.month(), until.month()]);
        week = until;
    }
    for month in months {
        let Ok(time) = crate::usage::span(&month, None) else {
            found.add(Some(tenant), "usage", || format!("{month:?} is no month"));
            continue;
        };
        let name = month.clone();
        let sums =
            read(db, tenant, move |tx| Box::pin(async move { recount::of_month(tx, tenant, &name, time).await }));
        let (counted, kept) = sums.await?;
        for (key, counts, told) in differing(&counted, &kept) {
            if !is_told(month.clone(), key.channel, &key.provider) {
                let name = format!("{} {} through {} in {month}", key.purpose.as_str(), key.channel, key.provider);
                found.add(Some(tenant), "usage", || {
                    format!("{name}: the half hours come to {counts:?}, the month says {told:?}")
                });
            }
        }
    }
    Ok(())
}

/// Accepted and sent.
fn sent(counts: Option<&Counts>) -> (i64, i64) {
    counts.map_or((0, 0), |c| (c.outcome.accepted, c.outcome.sent))
}

/// The sums of half hours that begin in a time, as they are kept.
async fn slots(tx: &mut Tx, tenant: TenantId, from: Timestamp, until: Timestamp) -> Result<Slots, store::Error> {
    let filter = message_counters::Filter { from, until, ..message_counters::Filter::default() };
    let sums = message_counters::sums(tx, Some(tenant), &filter, message_counters::Split::FULL, SUMS_MAX).await?;
    Ok(sums.into_iter().filter(|(_, counts)| *counts != Counts::default()).collect())
}

/// Counts the messages of one half hour again, in one snapshot, and says what differs.
async fn half_hour(
    tx: &mut Tx,
    tenant: TenantId,
    at: Timestamp,
    late_s: i64,
) -> Result<Vec<(Channel, String, String)>, store::Error> {
    let until = at.plus_seconds(message_counters::SLOT_S);
    let mut kept = slots(tx, tenant, at, until).await?;
    kept.retain(|key, _| key.at == at);
    let mut recount = Recount::default();
    each(tx, tenant, (at, until), late_s, false, |page, m| recount.add(m, page.routes_of(m))).await?;
    recount.slots.retain(|key, counts| key.at == at && *counts != Counts::default());
    let words = |(key, counts, told): (&message_counters::Key, Option<&Counts>, Option<&Counts>)| {
        let (counts, told) = (sent(counts), sent(told));
        let detail = format!(
            "{} through {} in the half hour from {}: the messages come to {} accepted and {} sent, the counters say {} and {}, or differ in what became of them",
            key.channel, key.provider, key.at, counts.0, counts.1, told.0, told.1
        );
        (key.channel, key.provider.clone(), detail)
    };
    Ok(differing(&recount.slots, &kept).into_iter().map(words).collect())
}

/// Months of a plan that nobody counted, or that are counted twice. What a plan speaks of counts from when the tenant got it.
async fn uncounted(db: &Db, history: &History, found: &mut Found) -> Result<(), Error> {
    let (tenant, of) = (history.tenant, Some(history.tenant));
    let rows = read(db, tenant, move |tx| Box::pin(recounts::overlapping(tx, tenant, ROWS_MAX))).await?;
    found.add_all(of, "quota", rows, |(counter, ends_at)| {
        format!("{} from {} begins before the counter before it ends, at {ends_at}", counter.channel, counter.starts_at)
    });
    let Some(since) = history.plan_since else { return Ok(()) };
    let missing = read(db, tenant, move |tx| {
        Box::pin(async move {
            let mut missing = Vec::new();
            let Some(subscription) = subscriptions::find(tx, tenant).await? else { return Ok(missing) };
            let Some(plan_id) = subscription.plan_id else { return Ok(missing) };
            let Some(plan) = plans::find(tx, plan_id).await? else { return Ok(missing) };
            let since = since.plus_seconds(quota::LATE_S).max(subscription.counted_from);
            for allowance in allowances(&plan.allowances) {
                let rows = recounts::uncounted(tx, tenant, allowance.channel, since).await?;
                missing.extend(rows.map(|(at, count)| (allowance.channel, at, count)));
            }
            Ok(missing)
        })
    });
    for (channel, at, count) in missing.await? {
        found.add(of, "quota", || {
            format!("{channel}: {count} messages sent from {at} on count for the plan, and there is no counter for their month")
        });
    }
    Ok(())
}

/// Notices that were given twice, and marks of notices there are not.
async fn notices(db: &Db, tenant: TenantId, found: &mut Found) -> Result<(), Error> {
    let told = read(db, tenant, move |tx| {
        Box::pin(async move {
            let changes = recounts::changes_of_billing(tx, tenant).await?;
            Ok((recounts::quota_notices(tx, tenant).await?, changes, quotas::all(tx, tenant).await?))
        })
    });
    let (told, changes, counters) = told.await?;
    let plans: Vec<Timestamp> =
        changes.iter().filter(|change| new_plan(change).is_some()).map(|change| change.0).collect();
    let mut seen = BTreeMap::new();
    for (at, data) in &told {
        let Ok(data) = serde_json::from_str::<Value>(data) else { continue };
        let name = ["channel", "starts_at", "percent", "included", "limit"].map(|field| data[field].to_string());
        let Some(before) = seen.insert(name.clone(), *at) else { continue };
        // Of another plan's messages the marks are told anew, also of one the tenant had before.
        // The clock may have been set back since.
        let (since, until) = (before.min(*at).plus_seconds(-quota::LATE_S), before.max(*at));
        if !plans.iter().any(|change| (since..=until).contains(change)) {
            let [channel, starts_at, percent, ..] = name;
            found.add(Some(tenant), "quota", || {
                format!(
                    "{channel} from {starts_at}: the tenant was told more than once that {percent} percent are used"
                )
            });
        }
    }
    for counter in counters.iter().filter(|counter| counter.warned != 0 && !quota::NOTICES.contains(&counter.warned)) {
        found.add(Some(tenant), "quota", || {
            format!(
                "{} from {}: it was told at {} percent, where nobody is told",
                counter.channel, counter.starts_at, counter.warned
            )
        });
    }
    Ok(())
}

/// Sums by template against the messages, in one snapshot.
async fn templates(db: &Db, tenant: TenantId, found: &mut Found) -> Result<(), Error> {
    let test = i64::from(tracking::TEST);
    let (mut kept, counted) = read(db, tenant, move |tx| Box::pin(recounts::templates(tx, tenant, test))).await?;
    kept.retain(|_, sums| sums.iter().any(|sum| *sum != 0));
    for ((template, version, is_test), counted, kept) in differing(&counted, &kept) {
        found.add(Some(tenant), "counters", || {
            let tests = if *is_test { ", tests" } else { "" };
            format!(
                "version {version} of {template}{tests}: the messages come to {counted:?}, the counters say {kept:?}"
            )
        });
    }
    Ok(())
}

/// Sums of attempts against those on record, in one snapshot.
async fn attempts(db: &Db, tenant: TenantId, found: &mut Found) -> Result<(), Error> {
    let length = attempt_counters::SLOT_S;
    let (kept, counted) =
        read(db, tenant, move |tx| Box::pin(recounts::attempts(tx, tenant, ATTEMPTS_S, length))).await?;
    for ((account, at, outcome), counted, kept) in differing(&counted, &kept) {
        found.add(Some(tenant), "attempts", || {
            let (counted, kept) = (counted.unwrap_or(&0), kept.unwrap_or(&0));
            format!("{account} in the hour from {at}: {counted} attempts ended with {outcome}, their sums say {kept}")
        });
    }
    Ok(())
}

/// Messages that do not say what the tenant's clock showed, on which the sums by day depend.
async fn clocks(db: &Db, history: &History, found: &mut Found) -> Result<(), Error> {
    let (tenant, since) = (history.tenant, history.clocks_kept);
    // A demo's past is made up, and its clock is UTC.
    if !history.is_demo {
        let rows = read(db, tenant, move |tx| Box::pin(recounts::without_clock(tx, tenant, since, ROWS_MAX))).await?;
        found.add_all(Some(tenant), "counters", rows, |id| format!("{id} does not say what the tenant's clock showed"));
    }
    let rows = read(db, tenant, move |tx| Box::pin(recounts::sent_without_attempt(tx, tenant, ROWS_MAX))).await?;
    found.add_all(Some(tenant), "attempts", rows, |id| format!("{id} is called sent, and nothing was ever tried"));
    let rows = read(db, tenant, move |tx| Box::pin(recounts::taken_and_not_sent(tx, tenant, ROWS_MAX))).await?;
    found.add_all(Some(tenant), "attempts", rows, |id| format!("a provider took {id}, and it is not called sent"));
    Ok(())
}
