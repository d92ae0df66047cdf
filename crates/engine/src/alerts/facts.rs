//! What rules are judged by. Read before anything is judged, in a few queries whose cost does not grow with the number of messages: sums by slot, pauses, the first row of each
//! lane, and counts that end at a bound.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{ToSpan as _, Unit, ZonedRound, tz::TimeZone};
use model::{AccountId, Channel, Failure, MessageId, TenantId, Timestamp};
use store::{
    Tx,
    account_states::AccountState,
    alert_facts::{self, Lapsed},
    credits,
    deliveries::Lane,
    invoices,
    message_counters::{self, Counts, Filter, Split, Table},
    payments, purchases, quotas,
};

use super::{AlertKind, TOPICS, measure::WEEKS, rules::Rule};
use crate::{
    Error,
    analytics::{Interval, period::Zone},
    directory::Tenant,
    plans::Allowance,
    vault::OPERATOR,
};

/// Sums read at once: 30 days of slots for a dozen accounts.
const SUMS_MAX: i64 = 50_000;
/// Dead letters counted at most. More say the same.
pub const DEAD_MAX: i64 = 10_000;
/// How much older than the time looked at a message can be when it becomes a dead letter, in seconds: longer than any message is retried.
const RETRIED_S: i64 = 7 * 86_400;
/// Disputed purchases counted at most. More say the same.
const DISPUTED_MAX: i64 = 1_000;
/// Invoices counted at most that could not be mailed. More say the same.
const UNMAILED_MAX: i64 = 1_000;
/// Payments read at most that brought nobody credit: as many as one rule can tell.
const STRAYS_MAX: i64 = 50;
/// Payments counted at most whose events did not come. More say the same.
const UNHEARD_MAX: i64 = 1_000;
/// How far back these are read, in seconds: as far as a rule may look.
const PAYMENTS_S: i64 = 30 * 86_400;
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
    /// Sums of mails over longer times, for tenants with few; by the time in seconds.
    pub longer: Vec<(i64, Vec<Rated>)>,
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
    /// Purchases of all tenants with a dispute that is not over, for the operator.
    pub disputed: i64,
    /// Invoices of all tenants that are to be paid and could not be mailed, for the operator.
    pub unmailed: i64,
    /// Payments that brought nobody credit and are not settled, the newest first, for the operator.
    pub strays: Vec<payments::Finding>,
    /// When payments were found by asking since an event last came, the newest first, for the operator.
    pub unheard: Vec<Timestamp>,
}

/// What is used of the plan on one channel this month.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quota {
    /// Over which channel.
    pub channel: Channel,
    /// Messages so far.
    pub used: i64,
    /// Messages there are.
    pub of: i64,
    /// Whether nothing is accepted beyond them.
    pub stops: bool,
}

/// What a tenant's messages cost, in its own currency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spent {
    /// Which currency.
    pub currency: String,
    /// Since the first of the month on the tenant's clock.
    pub month_micros: i64,
    /// In the last seven days.
    pub week_micros: i64,
    /// What is left of the month, in seconds.
    pub month_left_s: i64,
    /// The credit; `None` for tenants who do not pay ahead.
    pub available_micros: Option<i64>,
    /// Below this the tenant wants to be told, at any pace.
    pub low_at_micros: Option<i64>,
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

/// Reads what a tenant's rules are judged by. The last full hour is only compared with those of past weeks when `is_new_hour`.
#[crate::boxed]
pub async fn of_tenant(
    tx: &mut Tx,
    tenant: &Tenant,
    rules: &[Rule],
    shared: &Shared,
    is_new_hour: bool,
    now: Timestamp,
) -> Result<Facts, Error> {
    let has = |kind: AlertKind| rules.iter().any(|rule| rule.kind == kind);
    let sending = tenant.accounts.iter().filter(|account| account.connector.spec().id != "webhook");
    let mut facts = Facts {
        accounts: sending
            .map(|account| {
                let state = shared.state(account.id).filter(|state| state.pause.is_some());
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
    if is_new_hour && has(AlertKind::UsageAnomaly) {
        facts.hours = Some(hours(tx, tenant, now).await?);
    }
    if is_new_hour && [AlertKind::Cost, AlertKind::CostForecast, AlertKind::CreditLow].into_iter().any(has) {
        facts.spent = Some(spent(tx, tenant, now).await?);
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
        let oldest = first_id(since.plus_seconds(-RETRIED_S));
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

/// An id begins with the millisecond it was made in, so the ids of a time are those above its first one.
fn first_id(at: Timestamp) -> MessageId {
    MessageId::from_ulid(u128::from(at.as_millis().max(0).unsigned_abs()) << 80)
}

/// A lane as the tenant sees it. Bulk work waits lawfully, and a paused account has its own alert.
fn queue(tenant: &Tenant, shared: &Shared, lane: &Lane, now: Timestamp) -> Option<Queue> {
    if lane.class.is_bulk() || lane.due_at > now || shared.is_paused(lane.account_id) {
        return None;
    }
    let account = tenant.account(lane.account_id).filter(|account| account.connector.spec().id != "webhook")?;
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

async fn spent(tx: &mut Tx, tenant: &Tenant, now: Timestamp) -> Result<Spent, Error> {
    let ledger = credits::find(tx, tenant.id).await?;
    let currency = ledger.as_ref().map_or_else(|| tenant.currency.clone(), |ledger| ledger.currency.clone());
    let zone = Zone::named(&tenant.timezone);
    let begin = zone.begin(now, Interval::Month);
    // The next month begins within 32 days of the beginning of this one.
    let end = zone.begin(begin.plus_seconds(32 * 86_400), Interval::Month);
    let mut sums = [0; 2];
    for (sum, from) in sums.iter_mut().zip([begin, now.plus_seconds(-7 * 86_400)]) {
        let filter = Filter { from: message_counters::quarter(from), until: now.plus_seconds(1), ..Filter::default() };
        let split = Split { currency: true, ..Split::default() };
        let by_currency = message_counters::sums(tx, Some(tenant.id), &filter, split, SUMS_MAX).await?;
        *sum =
            by_currency.iter().filter(|(key, _)| key.currency == currency).map(|(_, counts)| counts.cost_micros).sum();
    }
    Ok(Spent {
        currency,
        month_micros: sums[0],
        week_micros: sums[1],
        low_at_micros: ledger.as_ref().and_then(|ledger| ledger.low_at),
        month_left_s: (end.as_seconds() - now.as_seconds()).max(0),
        available_micros: ledger.filter(|ledger| ledger.mode == "prepaid").map(|ledger| ledger.left()),
    })
}

/// Reads what the operator's rules are judged by: the same, by provider instead of account. `connectors` says which connector an account in trouble has.
#[crate::boxed]
pub async fn of_operator(
    tx: &mut Tx,
    rules: &[Rule],
    shared: &Shared,
    connectors: &BTreeMap<AccountId, &'static str>,
    now: Timestamp,
) -> Result<Facts, Error> {
    let all = |found: &BTreeMap<TenantId, i64>| found.get(&OPERATOR).copied().unwrap_or(0);
    let disputed = match rules.iter().any(|rule| rule.kind == AlertKind::PaymentDisputed) {
        true => purchases::disputed(tx, DISPUTED_MAX).await?,
        false => 0,
    };
    let unmailed = match rules.iter().any(|rule| rule.kind == AlertKind::InvoiceUnmailed) {
        true => invoices::unmailed(tx, UNMAILED_MAX).await?,
        false => 0,
    };
    let since = now.plus_seconds(-PAYMENTS_S);
    let strays = match rules.iter().any(|rule| rule.kind == AlertKind::PaymentStray) {
        true => payments::stray(tx, since, STRAYS_MAX).await?,
        false => Vec::new(),
    };
    let unheard = match rules.iter().any(|rule| rule.kind == AlertKind::PaymentUnheard) {
        true => payments::unheard(tx, since, UNHEARD_MAX).await?,
        false => Vec::new(),
    };
    let mut facts =
        Facts { findings: shared.findings.as_ref().map(all), disputed, unmailed, strays, unheard, ..Facts::default() };
    for state in shared.troubled.iter().filter(|state| state.pause.is_some()) {
        if let Some(connector) = connectors.get(&state.account_id) {
            *facts.paused_by_connector.entry((*connector).to_owned()).or_default() += 1;
        }
    }
    let waiting = shared
        .lanes
        .iter()
        .filter(|lane| !lane.class.is_bulk() && lane.due_at <= now && !shared.is_paused(lane.account_id));
    if let Some(since) = waiting.map(|lane| lane.due_at).min() {
        let (subject, name) = ("queue".to_owned(), "the busiest account".to_owned());
        facts.queues.push(Queue { subject, name, channels: Vec::new(), since });
    }
    let Some(reach_s) = reach_s(rules) else { return Ok(facts) };
    let filter = Filter {
        from: message_counters::slot(now.plus_seconds(-reach_s)),
        until: now.plus_seconds(1),
        other_than: TOPICS,
        ..Filter::default()
    };
    let split = Split { at: true, channel: true, provider: true, ..Split::default() };
    for (key, counts) in message_counters::sums(tx, None, &filter, split, SUMS_MAX).await? {
        let Some(connector) = connectors::registry::find(&key.provider) else { continue };
        facts.rates.push(Rated {
            subject: key.provider.clone(),
            name: connector.spec().name.to_owned(),
            channel: key.channel,
            has_receipts: connector.spec().has_receipts,
            at: key.at,
            counts,
        });
    }
    Ok(facts)
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
