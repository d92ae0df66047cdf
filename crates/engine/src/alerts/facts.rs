//! What rules are judged by. Read before anything is judged, in a few queries whose cost does not grow with the number of messages: sums by slot, pauses, the first row of each
//! lane, and counts that end at a bound.

pub(super) mod money;
mod operator;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, PoisonError},
};

use jiff::{ToSpan as _, Unit, ZonedRound, tz::TimeZone};
use model::{AccountId, Channel, Failure, MessageId, TenantId, Timestamp};
use store::{
    Tx,
    account_states::AccountState,
    alert_facts::{self, Lapsed},
    deliveries::Lane,
    message_counters::{self, Counts, Filter, Split, Table},
    payments, quotas, retention,
};

pub use self::{
    money::{Cost, Quota, Spent},
    operator::{Disputed, Known, Stuck, Unmailed, of_operator},
};
use super::{AlertKind, TOPICS, measure::WEEKS, rules::Rule};
use crate::{
    Error,
    analytics::{Interval, period::Zone},
    directory::{Tenant, TenantState},
    plans::Allowance,
};

/// Sums read at once: 30 days of slots for a dozen accounts.
const SUMS_MAX: i64 = 50_000;
/// Dead letters counted at most. More say the same.
pub const DEAD_MAX: i64 = 10_000;
/// How much older than the time looked at a message can be when it becomes a dead letter, in seconds: longer than any message is retried.
const RETRIED_S: i64 = 7 * 86_400;
/// Domains and templates read at most.
const LAPSED_MAX: i64 = 100;
/// What is looked at when a day has too few mails, in seconds.
const LONGER_S: [i64; 2] = [7 * 86_400, 30 * 86_400];

/// An account that can send.
#[derive(Debug, Clone)]
pub struct Account {
    /// Which one.
    pub id: AccountId,
    /// Name for people.
    pub name: String,
    /// Its connector.
    pub connector: &'static str,
    /// Channels it carries.
    pub channels: Vec<Channel>,
    /// Since when it has been paused.
    pub paused_at: Option<Timestamp>,
    /// Why.
    pub failure: Option<Failure>,
}

/// What became of the messages of a slot through one account (for a tenant) or one provider (for the operator).
#[derive(Debug, Clone)]
pub struct Rated {
    /// The account's id, or the connector.
    pub subject: String,
    /// Name for people.
    pub name: String,
    /// Over which channel.
    pub channel: Channel,
    /// Whether the provider reports deliveries.
    pub has_receipts: bool,
    /// The beginning of the slot they were accepted in.
    pub at: Timestamp,
    /// The sums.
    pub counts: Counts,
}

/// Transactional work that could leave.
#[derive(Debug, Clone)]
pub struct Queue {
    /// The account's id; `queue` for the operator's.
    pub subject: String,
    /// Name for people.
    pub name: String,
    /// Channels of the account.
    pub channels: Vec<Channel>,
    /// Since when its first row has been due.
    pub since: Timestamp,
}

/// The last full hour, and the same hour of past weeks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hours {
    /// Which hour, in words.
    pub label: String,
    /// Messages accepted in it, and in that hour of each past week, the latest first.
    pub by_channel: BTreeMap<Channel, (i64, Vec<i64>)>,
}

/// Everything rules are judged by.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// The tenant's accounts.
    pub accounts: Vec<Account>,
    /// Paused accounts of all tenants by connector, for the operator.
    pub paused_by_connector: BTreeMap<String, i64>,
    /// Sums by slot, for as long as the rules look back.
    pub rates: Vec<Rated>,
    /// Sums of mails over longer times, where there are few; by the time in seconds.
    pub longer: Longer,
    /// The last full hour; `None` when it was looked at before.
    pub hours: Option<Hours>,
    /// What was refused.
    pub lapsed: Vec<Lapsed>,
    /// Lanes with work that could leave.
    pub queues: Vec<Queue>,
    /// Dead letters by the time looked at, in seconds.
    pub dead_letters: BTreeMap<i64, i64>,
    /// What is used of the plan.
    pub quotas: Vec<Quota>,
    /// What messages cost; `None` when that was looked at before.
    pub spent: Option<Spent>,
    /// What the last check of the books found that does not add up; `None` before the first check.
    pub findings: Option<i64>,
    /// Whose these are, by tenant's id and name with how many, for the operator. What no tenant is named for is the installation's own.
    pub findings_of: Vec<(TenantId, String, i64)>,
    /// Purchases of all tenants with a dispute that is not over, for the operator.
    pub disputed: Vec<Disputed>,
    /// Invoices of all tenants that are to be paid and could not be mailed, for the operator.
    pub unmailed: Vec<Unmailed>,
    /// Registrations of all tenants that wait for the operator, for the operator.
    pub stuck: Vec<Stuck>,
    /// Payments that brought nobody credit and are not settled, the newest first, for the operator.
    pub strays: Vec<payments::Finding>,
    /// When payments were found by asking since an event last came, the newest first, for the operator.
    pub unheard: Vec<Timestamp>,
}

/// Sums of mails over longer times, by the time in seconds.
pub type Longer = Vec<(i64, Vec<Rated>)>;

/// Everybody's mails over longer times as they were read last. They hardly change within a quarter of an hour, and to read them means to go to each tenant's days.
#[derive(Debug, Default)]
pub struct LongerKept(Mutex<Option<(i64, Longer)>>);

impl LongerKept {
    /// What was read in this quarter of an hour.
    pub fn of(&self, quarter: i64) -> Option<Longer> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.as_ref().filter(|(at, _)| *at == quarter).map(|(_, longer)| longer.clone())
    }

    /// Keeps what was read; nothing is kept of a look that needed none.
    pub fn keep(&self, quarter: i64, longer: &Longer) {
        if !longer.is_empty() {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((quarter, longer.clone()));
        }
    }
}

/// What is read once for all tenants.
#[derive(Debug, Default)]
pub struct Shared {
    /// Accounts in trouble.
    pub troubled: Vec<AccountState>,
    /// Lanes with work.
    pub lanes: Vec<Lane>,
    /// What the last check of the books found, by whose they are; `None` before the first check.
    pub findings: Option<BTreeMap<TenantId, i64>>,
}

impl Shared {
    fn state(&self, account: AccountId) -> Option<&AccountState> {
        self.troubled.iter().find(|state| state.account_id == account)
    }

    /// Whether nothing leaves through an account now.
    pub fn is_paused(&self, account: AccountId) -> bool {
        self.state(account).is_some_and(|state| state.pause.is_some())
    }
}

/// How far back the sums must go for these rules, in seconds; `None` when no rule needs any.
fn reach_s(rules: &[Rule]) -> Option<i64> {
    let needs =
        |rule: &&Rule| matches!(rule.kind, AlertKind::DeliveryRate | AlertKind::BounceRate | AlertKind::ComplaintRate);
    // A delivery rate ends half an hour ago.
    rules.iter().filter(needs).map(|rule| rule.over_s + 3_600).max()
}

/// Reads what a tenant's rules are judged by. The last full hour is only compared with those of past weeks when `is_new_quarter`.
#[crate::boxed]
pub async fn of_tenant(
    tx: &mut Tx,
    tenant: &Tenant,
    rules: &[Rule],
    shared: &Shared,
    is_new_quarter: bool,
    now: Timestamp,
) -> Result<Facts, Error> {
    let has = |kind: AlertKind| rules.iter().any(|rule| rule.kind == kind);
    let sending = tenant.accounts.iter().filter(|account| account.connector.spec().id != "webhook");
    let mut facts = Facts {
        accounts: sending
            .map(|account| {
                // An account that is switched off fails nobody.
                let state = shared.state(account.id).filter(|state| state.pause.is_some() && account.is_enabled);
                let failure = state.and_then(|state| state.pause.as_deref());
                Account {
                    id: account.id,
                    name: account.name.clone(),
                    connector: account.connector.spec().id,
                    channels: account.channels.clone(),
                    paused_at: state.and_then(|state| state.paused_at),
                    failure: failure.and_then(|text| serde_json::from_str(text).ok()),
                }
            })
            .collect(),
        queues: shared
            .lanes
            .iter()
            .filter(|lane| lane.tenant_id == tenant.id)
            .filter_map(|lane| queue(tenant, shared, lane, now))
            .collect(),
        findings: shared.findings.as_ref().map(|found| found.get(&tenant.id).copied().unwrap_or(0)),
        ..Facts::default()
    };
    merge_queues(&mut facts.queues);
    if let Some(reach_s) = reach_s(rules) {
        let split = Split { at: true, channel: true, account: true, ..Split::default() };
        facts.rates = rates(tx, tenant, now.plus_seconds(-reach_s), now, split).await?;
        let mail_rules =
            rules.iter().filter(|rule| matches!(rule.kind, AlertKind::BounceRate | AlertKind::ComplaintRate));
        let wanted = mail_rules.map(|rule| (rule.over_s, rule.at_least)).reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)));
        if wanted.is_some_and(|(over_s, needed)| has_few(&facts, over_s, needed, now)) {
            for over_s in LONGER_S {
                facts.longer.push((over_s, days(tx, tenant, over_s, now).await?));
            }
        }
    }
    if is_new_quarter && has(AlertKind::UsageAnomaly) {
        facts.hours = Some(hours(tx, tenant, now).await?);
    }
    if is_new_quarter && [AlertKind::Cost, AlertKind::CostForecast, AlertKind::CreditLow].into_iter().any(has) {
        facts.spent = Some(money::spent(tx, tenant, now).await?);
    }
    if let Some(subscribed) = tenant.subscription.as_ref().filter(|_| has(AlertKind::Quota)) {
        let counters = quotas::at(tx, tenant.id, now).await?;
        let quota = |allowance: &Allowance| {
            let counter = counters.iter().find(|counter| counter.channel == allowance.channel);
            let (of, stops) = (allowance.stop().unwrap_or(allowance.included), allowance.stop().is_some());
            (of > 0).then(|| Quota {
                channel: allowance.channel,
                used: counter.map_or(0, |counter| counter.used),
                of,
                stops,
            })
        };
        facts.quotas = subscribed.allowances.iter().filter_map(quota).collect();
    }
    if has(AlertKind::Registration) {
        facts.lapsed = alert_facts::lapsed(tx, tenant.id, LAPSED_MAX).await?;
    }
    let times: BTreeSet<i64> =
        rules.iter().filter(|rule| rule.kind == AlertKind::DeadLetters).map(|rule| rule.over_s).collect();
    for over_s in times {
        let since = now.plus_seconds(-over_s);
        let oldest = MessageId::from_ulid(retention::first_id(since.plus_seconds(-RETRIED_S)));
        let count = alert_facts::dead_letters(tx, tenant.id, since, oldest, TOPICS, DEAD_MAX).await?;
        facts.dead_letters.insert(over_s, count);
    }
    Ok(facts)
}

/// Whether one of the mail accounts sent too few mails within the shortest time to say something of it by itself, however many the others sent.
fn has_few(facts: &Facts, over_s: i64, needed: i64, now: Timestamp) -> bool {
    let from = now.plus_seconds(-over_s);
    let sent = |account: &Account| {
        let subject = account.id.to_string();
        let mails = facts.rates.iter().filter(|rated| rated.channel == Channel::Email && rated.subject == subject);
        mails.filter(|rated| rated.at >= from).map(|rated| rated.counts.outcome.sent).sum::<i64>()
    };
    facts.accounts.iter().filter(|account| account.channels.contains(&Channel::Email)).any(|of| sent(of) < needed)
}

/// Sums of mails over the days of a longer time, the first of them whole: there are far fewer by day than by slot.
async fn days(tx: &mut Tx, tenant: &Tenant, over_s: i64, now: Timestamp) -> Result<Vec<Rated>, Error> {
    let zone = Zone::named(&tenant.timezone);
    let first = now.plus_seconds(-over_s);
    let filter = Filter {
        from: zone.day_from(zone.begin(first, Interval::Day)).unwrap_or(first),
        channel: Some(Channel::Email),
        other_than: TOPICS,
        ..Filter::everything()
    };
    let split = Split { channel: true, account: true, ..Split::default() };
    let sums = message_counters::sums_of(tx, Table::Days, Some(tenant.id), &filter, split, SUMS_MAX).await?;
    Ok(rated(tenant, sums))
}

/// A lane as the tenant sees it. What is held back waits lawfully, as bulk work does, and a paused account has its own alert.
pub(super) fn queue(tenant: &Tenant, shared: &Shared, lane: &Lane, now: Timestamp) -> Option<Queue> {
    if lane.class.is_bulk()
        || lane.due_at > now
        || shared.is_paused(lane.account_id)
        || tenant.state != TenantState::Active
    {
        return None;
    }
    let account = tenant.account(lane.account_id)?;
    if !account.is_enabled || account.connector.spec().id == "webhook" {
        return None;
    }
    Some(Queue {
        subject: account.id.to_string(),
        name: account.name.clone(),
        channels: account.channels.clone(),
        since: lane.due_at,
    })
}

/// One queue for each subject: the one that has waited longest.
fn merge_queues(queues: &mut Vec<Queue>) {
    queues.sort_by(|a, b| (&a.subject, a.since).cmp(&(&b.subject, b.since)));
    queues.dedup_by(|later, first| later.subject == first.subject);
}

async fn rates(
    tx: &mut Tx,
    tenant: &Tenant,
    from: Timestamp,
    now: Timestamp,
    split: Split,
) -> Result<Vec<Rated>, Error> {
    let filter = Filter {
        from: message_counters::slot(from),
        until: now.plus_seconds(1),
        other_than: TOPICS,
        ..Filter::default()
    };
    let sums = message_counters::sums(tx, Some(tenant.id), &filter, split, SUMS_MAX).await?;
    Ok(rated(tenant, sums))
}

/// Sums by the tenant's accounts.
fn rated(tenant: &Tenant, sums: Vec<(message_counters::Key, Counts)>) -> Vec<Rated> {
    let rated = |(key, counts): (message_counters::Key, Counts)| {
        // What an account that is gone did is over.
        let account = tenant.account(key.account_id)?;
        Some(Rated {
            subject: account.id.to_string(),
            name: account.name.clone(),
            channel: key.channel,
            has_receipts: account.connector.spec().has_receipts,
            at: key.at,
            counts,
        })
    };
    sums.into_iter().filter_map(rated).collect()
}

/// When the last full hour on the tenant's clock began, and the same hour of the weeks before, the latest first.
fn same_hours(zone: &TimeZone, now: Timestamp) -> Option<Vec<(Timestamp, Timestamp)>> {
    let hour = ZonedRound::new().smallest(Unit::Hour).mode(jiff::RoundMode::Trunc);
    let end = now.jiff().to_zoned(zone.clone()).round(hour).ok()?;
    let begin = end.checked_sub(1.hour()).ok()?;
    let weeks = (0..=WEEKS as i64).map(|week| begin.checked_sub(week.weeks()).ok());
    weeks
        .map(|begin| {
            begin.map(|begin| (begin.timestamp().into(), Timestamp::from(begin.timestamp()).plus_seconds(3_600)))
        })
        .collect()
}

async fn hours(tx: &mut Tx, tenant: &Tenant, now: Timestamp) -> Result<Hours, Error> {
    let zone = TimeZone::get(&tenant.timezone).unwrap_or(TimeZone::UTC);
    let Some(weeks) = same_hours(&zone, now) else {
        return Ok(Hours { label: String::new(), by_channel: BTreeMap::new() });
    };
    let mut by_channel = BTreeMap::<Channel, (i64, Vec<i64>)>::new();
    for (week, (from, until)) in weeks.iter().enumerate() {
        let filter = Filter {
            from: message_counters::quarter(*from),
            until: message_counters::quarter(*until),
            other_than: TOPICS,
            ..Filter::default()
        };
        let split = Split { channel: true, ..Split::default() };
        for (key, counts) in message_counters::sums(tx, Some(tenant.id), &filter, split, SUMS_MAX).await? {
            let entry = by_channel.entry(key.channel).or_insert_with(|| (0, vec![0; WEEKS]));
            match week.checked_sub(1) {
                None => entry.0 = counts.outcome.accepted,
                Some(past) => entry.1[past] = counts.outcome.accepted,
            }
        }
    }
    let begin = weeks[0].0.jiff().to_zoned(zone.clone());
    let end = weeks[0].1.jiff().to_zoned(zone);
    let label = format!(
        "between {} and {} on {} ({})",
        begin.strftime("%H:%M"),
        end.strftime("%H:%M"),
        begin.strftime("%A"),
        tenant.timezone
    );
    Ok(Hours { label, by_channel })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_hour_is_the_same_on_the_tenants_clock() {
        let check = |zone: &str, now: &str, expected: [&str; 2]| {
            let zone = TimeZone::get(zone).unwrap();
            let hours = same_hours(&zone, now.parse().unwrap()).unwrap();
            assert_eq!(hours.len(), WEEKS + 1);
            assert_eq!(
                hours[..2].iter().map(|(from, _)| *from).collect::<Vec<_>>(),
                expected.map(|at| at.parse().unwrap()),
                "{now}"
            );
        };
        check("UTC", "2026-11-29T15:20:00Z", ["2026-11-29T14:00:00Z", "2026-11-22T14:00:00Z"]);
        check("Asia/Kolkata", "2026-11-29T15:20:00Z", ["2026-11-29T13:30:00Z", "2026-11-22T13:30:00Z"]);
        // The clocks went back on the first of November: the same hour on the wall was one earlier in UTC the week before.
        check("America/Los_Angeles", "2026-11-02T18:10:00Z", ["2026-11-02T17:00:00Z", "2026-10-26T16:00:00Z"]);
    }

    #[test]
    fn each_subject_waits_once() {
        let queue = |subject: &str, since: i64| Queue {
            subject: subject.to_owned(),
            name: String::new(),
            channels: Vec::new(),
            since: Timestamp::from_seconds(since),
        };
        let mut queues = vec![queue("b", 5), queue("a", 9), queue("b", 3)];
        merge_queues(&mut queues);
        let seen: Vec<_> = queues.iter().map(|queue| (queue.subject.as_str(), queue.since.as_seconds())).collect();
        assert_eq!(seen, [("a", 9), ("b", 3)]);
    }
}
