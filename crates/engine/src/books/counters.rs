//! What a tenant's messages come to: usage by month, the counters by half hour, day and template, what is used of its plan, and attempts on record.

use std::collections::{BTreeMap, BTreeSet};

use model::{Channel, MessageId, TenantId, Timestamp};
use serde_json::Value;
use store::{
    Db, Tx, attempt_counters,
    fallbacks::FormerRoute,
    message_counters::{self, Table},
    messages::Message,
    plans,
    quotas::{self, Counter},
    recounts, subscriptions,
    usage::{self, Counts, Key},
};

use super::{END, Found, LATER_S, ROWS_MAX, differing, each, history::History, read};
use crate::{
    Error,
    analytics::count,
    plans::{allowances, quota},
    tracking,
};

/// Sums of one tenant read at once.
const SUMS_MAX: i64 = i64::MAX;
/// Attempts are held against their sums over the last so many seconds of which there are any: a week, and those are kept for a day longer.
const ATTEMPTS_S: i64 = 7 * 86_400;
/// How long after a change of plan a message may still have been accepted under the one before, in seconds.
const PLAN_SLACK_S: i64 = 60;

type Slots = BTreeMap<message_counters::Key, message_counters::Counts>;

/// Everything a tenant's messages come to.
#[derive(Default)]
pub(super) struct Recount {
    slots: Slots,
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

    pub(super) async fn compare(self, db: &Db, history: &History, found: &mut Found) -> Result<(), Error> {
        let tenant = history.tenant;
        self.compare_sums(db, tenant, found).await?;
        self.compare_quotas(db, tenant, found).await?;
        uncounted(db, history, found).await?;
        notices(db, tenant, found).await?;
        templates(db, tenant, found).await?;
        attempts(db, tenant, found).await?;
        clocks(db, history, found).await
    }

    async fn compare_sums(&self, db: &Db, tenant: TenantId, found: &mut Found) -> Result<(), Error> {
        let of = Some(tenant);
        let sums = read(db, tenant, move |tx| {
            Box::pin(async move {
                let slots = slots(tx, tenant, Table::Slots, &everything()).await?;
                let days = self::slots(tx, tenant, Table::Days, &everything()).await?;
                Ok((slots, days, usage::of_tenant(tx, tenant).await?))
            })
        });
        let (kept, days, months) = sums.await?;
        let is_something = |(_, counts): &(&message_counters::Key, &message_counters::Counts)| {
            **counts != message_counters::Counts::default()
        };
        let counted: Slots = self.slots.iter().filter(is_something).map(|(key, sums)| (key.clone(), *sums)).collect();
        let suspects: BTreeSet<Timestamp> = differing(&counted, &kept).into_iter().map(|(key, ..)| key.at).collect();
        let mut is_told = BTreeSet::new();
        for at in suspects {
            let differences = read(db, tenant, move |tx| Box::pin(half_hour(tx, tenant, at))).await?;
            for (channel, provider, detail) in differences {
                is_told.insert((at.month(), channel, provider));
                found.add(of, "counters", || detail);
            }
        }
        let is_told =
            |month: String, channel: Channel, provider: &str| is_told.contains(&(month, channel, provider.to_owned()));
        // All were read in one snapshot. Where half hours are wrong, that is told already.
        let mut months: BTreeMap<Key, Counts> = months.into_iter().collect();
        months.retain(|_, counts| *counts != Counts::default());
        let by_slots = by_month(&kept);
        for (key, counts, told) in differing(&by_slots, &months) {
            if is_told(key.month.clone(), key.channel, &key.provider) {
                continue;
            }
            let name = format!("{} {} through {} in {}", key.purpose.as_str(), key.channel, key.provider, key.month);
            found.add(of, "usage", || format!("{name}: the half hours come to {counts:?}, the month says {told:?}"));
        }
        let mut by_day = message_counters::by_day(&kept);
        by_day.retain(|_, counts| *counts != message_counters::Counts::default());
        for (key, counts, told) in differing(&by_day, &days) {
            // A day on some clock may begin in the month before.
            let months = [key.at.plus_seconds(-86_400), key.at.plus_seconds(2 * 86_400)].map(Timestamp::month);
            if months.into_iter().any(|month| is_told(month, key.channel, &key.provider)) {
                continue;
            }
            let (counts, told) = (sent(counts), sent(told));
            found.add(of, "counters", || {
                format!(
                    "{} through {} on the day {}: the half hours come to {} accepted and {} sent, the day says {} and {}, or differ in what became of them",
                    key.channel, key.provider, key.at, counts.0, counts.1, told.0, told.1
                )
            });
        }
        Ok(())
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

/// Accepted and sent.
fn sent(counts: Option<&message_counters::Counts>) -> (i64, i64) {
    counts.map_or((0, 0), |c| (c.outcome.accepted, c.outcome.sent))
}

fn everything() -> message_counters::Filter {
    message_counters::Filter::everything()
}

async fn slots(
    tx: &mut Tx,
    tenant: TenantId,
    table: Table,
    filter: &message_counters::Filter,
) -> Result<Slots, store::Error> {
    let split = message_counters::Split::FULL;
    let sums = message_counters::sums_of(tx, table, Some(tenant), filter, split, SUMS_MAX).await?;
    Ok(sums.into_iter().filter(|(_, counts)| *counts != message_counters::Counts::default()).collect())
}

/// Half hours by month, as usage is kept.
fn by_month(slots: &Slots) -> BTreeMap<Key, Counts> {
    let mut months: BTreeMap<Key, Counts> = BTreeMap::new();
    for (key, counts) in slots {
        let key = Key {
            tenant_id: key.tenant_id,
            month: key.at.month(),
            channel: key.channel,
            provider: key.provider.clone(),
            purpose: key.purpose,
        };
        *months.entry(key).or_default() += counts.outcome;
    }
    months.retain(|_, counts| *counts != Counts::default());
    months
}

/// Counts the messages of one half hour again, and says what differs.
async fn half_hour(
    tx: &mut Tx,
    tenant: TenantId,
    at: Timestamp,
) -> Result<Vec<(Channel, String, String)>, store::Error> {
    let until = at.plus_seconds(message_counters::SLOT_S);
    let filter = message_counters::Filter { from: at, until, ..everything() };
    let mut kept = slots(tx, tenant, Table::Slots, &filter).await?;
    kept.retain(|key, _| key.at == at);
    let mut differences = Vec::new();
    for end in [until.plus_seconds(LATER_S), END] {
        let mut recount = Recount::default();
        each(tx, tenant, (at, until, end), false, |page, m| recount.add(m, page.routes_of(m))).await?;
        recount.slots.retain(|key, counts| key.at == at && *counts != message_counters::Counts::default());
        differences = differing(&recount.slots, &kept).into_iter().map(|(key, counts, told)| {
            let (counts, told) = (sent(counts), sent(told));
            let detail = format!(
                "{} through {} in the half hour from {}: the messages come to {} accepted and {} sent, the counters say {} and {}, or differ in what became of them",
                key.channel, key.provider, key.at, counts.0, counts.1, told.0, told.1
            );
            (key.channel, key.provider.clone(), detail)
        }).collect();
        if differences.is_empty() {
            break;
        }
    }
    Ok(differences)
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
            let since = since.plus_seconds(PLAN_SLACK_S).max(subscription.counted_from);
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
        Box::pin(async move { Ok((recounts::quota_notices(tx, tenant).await?, quotas::all(tx, tenant).await?)) })
    });
    let (told, counters) = told.await?;
    let mut seen = BTreeSet::new();
    for data in told.iter().filter_map(|data| serde_json::from_str::<Value>(data).ok()) {
        let name = ["channel", "starts_at", "percent"].map(|field| data[field].to_string());
        if !seen.insert(name.clone()) {
            let [channel, starts_at, percent] = name;
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
