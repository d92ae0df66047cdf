//! From facts to readings: what a rule sees of each subject, how bad that is, and in words. Pure.

mod money;
mod payments;

use std::collections::{BTreeMap, BTreeSet};

use model::{Channel, Timestamp};
use store::message_counters::{Counts, SLOT_S};

use self::{
    money::{cost, credit, used},
    payments::{stray, unheard},
};
use super::{
    AlertKind,
    facts::{Disputed, Facts, Hours, Rated, Stuck, Unmailed},
    kinds::{AlertUnit, Side},
    rules::Rule,
    words::{self, duration, grouped_number, percent},
};
use crate::routing::figures;

/// Share of the threshold below which (or of the room above it, over which) it is over.
const OVER_PERCENT: i64 = 80;
/// What was sent this lately may still arrive, in seconds: until then only what is known of it counts.
const GRACE_S: i64 = 1_800;
/// Weeks an hour is compared with.
pub const WEEKS: usize = 8;
/// Weeks that must have had messages of the channel before an hour can be unusual.
const WEEKS_MIN: usize = 4;
const MICROS: i64 = 1_000_000;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Something is the matter.
    Bad,
    /// Not beyond the threshold, and not far enough from it to be over.
    Between,
    /// Nothing is the matter.
    Good,
    /// There is too little to say.
    Unknown,
}

/// What a rule sees of one subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// About what: an account's id, a channel, or another word.
    pub subject: String,
    /// How bad it is.
    pub level: Level,
    /// What was seen, in millionths of the kind's unit.
    pub value_micros: i64,
    /// In a few words.
    pub title: String,
    /// In a sentence or two.
    pub detail: String,
    /// Of something that is used up: at which pace, in millionths in seven days. The pace falls once there is too little left to use, so what fires is judged by the highest seen meanwhile.
    pub pace_micros: Option<i64>,
}

impl Reading {
    /// A reading of a subject about which nothing is known yet.
    pub fn of(subject: &str) -> Self {
        Self {
            subject: subject.to_owned(),
            level: Level::Unknown,
            value_micros: 0,
            title: String::new(),
            detail: String::new(),
            pace_micros: None,
        }
    }
}

/// How bad a value is under a rule.
pub fn level(rule: &Rule, value_micros: i64) -> Level {
    let threshold = rule.threshold_micros;
    let spec = rule.kind.spec();
    let (is_bad, is_good) = match spec.side {
        Side::Above => (value_micros >= threshold, value_micros < threshold / 100 * OVER_PERCENT),
        Side::Below => {
            let over = match spec.unit {
                AlertUnit::Percent => threshold + (100 * MICROS - threshold) / 100 * (100 - OVER_PERCENT),
                _ => threshold / OVER_PERCENT * 100,
            };
            (value_micros < threshold, value_micros >= over)
        }
    };
    match (is_bad, is_good) {
        (true, _) => Level::Bad,
        (_, true) => Level::Good,
        _ => Level::Between,
    }
}

/// What a rule sees. `None`: the facts say nothing about what it watches, so nothing changes. `held_micros` is the highest pace seen while it fires ([`Reading::pace_micros`]).
pub fn measure(rule: &Rule, facts: &Facts, held_micros: Option<i64>, now: Timestamp) -> Option<Vec<Reading>> {
    match rule.kind {
        AlertKind::AccountFailing => Some(failing_accounts(rule, facts, now)),
        AlertKind::ProviderFailing => Some(failing_providers(rule, facts)),
        AlertKind::DeliveryRate => Some(delivery(rule, facts, now)),
        AlertKind::BounceRate => Some(share_of_mails(rule, facts, now, "came back", bounced)),
        AlertKind::ComplaintRate => {
            Some(share_of_mails(rule, facts, now, "were reported as unwanted", |c| (c.outcome.sent, c.complained)))
        }
        AlertKind::UsageAnomaly => facts.hours.as_ref().map(|hours| unusual(rule, hours)),
        AlertKind::Registration => Some(lapsed(facts)),
        AlertKind::QueueAge => Some(queues(rule, facts, now)),
        AlertKind::Cost => facts.spent.as_ref().map(|spent| vec![cost(rule, spent, false)]),
        AlertKind::CostForecast => facts.spent.as_ref().map(|spent| vec![cost(rule, spent, true)]),
        AlertKind::CreditLow => {
            facts.spent.as_ref().map(|spent| credit(rule, spent, held_micros).into_iter().collect())
        }
        AlertKind::Quota => Some(facts.quotas.iter().flat_map(|quota| used(rule, quota)).collect()),
        AlertKind::LedgerFinding => facts.findings.map(|count| findings(rule, count, facts)),
        AlertKind::PaymentDisputed => Some(disputed(rule, &facts.disputed)),
        AlertKind::InvoiceUnmailed => Some(unmailed(rule, &facts.unmailed)),
        AlertKind::RegistrationStuck => Some(stuck(rule, &facts.stuck)),
        AlertKind::PaymentStray => Some(stray(rule, &facts.strays, now)),
        AlertKind::PaymentUnheard => Some(vec![unheard(rule, &facts.unheard, now)]),
        AlertKind::DeadLetters => facts.dead_letters.get(&rule.over_s).map(|count| vec![dead_letters(rule, *count)]),
    }
}

fn failing_accounts(rule: &Rule, facts: &Facts, now: Timestamp) -> Vec<Reading> {
    let wanted = |account: &&super::facts::Account| {
        rule.account_id.is_none_or(|id| id == account.id)
            && rule.channel.is_none_or(|channel| account.channels.contains(&channel))
    };
    let reading = |account: &super::facts::Account| {
        let Some(since) = account.paused_at else {
            return Reading { level: Level::Good, ..Reading::of(&account.id.to_string()) };
        };
        let paused_s = (now.as_seconds() - since.as_seconds()).max(0);
        let because = account
            .failure
            .as_ref()
            .map_or_else(String::new, |failure| format!(" The last answer ({}): {}", failure.code, failure.detail));
        Reading {
            subject: account.id.to_string(),
            pace_micros: None,
            level: level(rule, paused_s * MICROS),
            value_micros: paused_s * MICROS,
            title: format!("{} takes no messages", account.name),
            detail: format!(
                "The account {} ({}) has been paused for {}; its messages wait or go another way.{because}",
                account.name,
                account.connector,
                duration(paused_s)
            ),
        }
    };
    facts.accounts.iter().filter(wanted).map(reading).collect()
}

fn failing_providers(rule: &Rule, facts: &Facts) -> Vec<Reading> {
    let reading = |(connector, count): (&String, &i64)| Reading {
        subject: connector.clone(),
        pace_micros: None,
        level: level(rule, count * MICROS),
        value_micros: count * MICROS,
        title: format!("{count} accounts of {connector} take no messages"),
        detail: format!(
            "{count} accounts of {connector} are paused at the same time. If they belong to several tenants, the provider is out of order: look at its status page."
        ),
    };
    facts.paused_by_connector.iter().map(reading).collect()
}

/// What is known of messages: how many there were, and how many of them arrived.
fn arrived(rated: &Rated, now: Timestamp) -> (i64, i64) {
    let o = &rated.counts.outcome;
    let bad = o.failed + o.bounced;
    if !rated.has_receipts {
        let score = figures::without_receipts(&rated.counts);
        return (score.ended, score.delivered);
    }
    let is_old = rated.at.plus_seconds(SLOT_S + GRACE_S) <= now;
    let known = o.delivered + bad;
    (if is_old { o.sent.max(known) } else { known }, o.delivered)
}

fn delivery(rule: &Rule, facts: &Facts, now: Timestamp) -> Vec<Reading> {
    // Reports of deliveries take a while: the time looked at ends when most of them are there, and begins earlier by as much.
    let from = now.plus_seconds(-rule.over_s - GRACE_S);
    let mut groups = grouped(rule, facts.rates.iter().filter(|rated| rated.at >= from));
    for subject in watched(rule, facts) {
        groups.entry(subject).or_default();
    }
    let reading = |(subject, rates): (String, Vec<&Rated>)| {
        let (known, came) = rates.iter().fold((0, 0), |(known, came), rated| {
            let (more_known, more_came) = arrived(rated, now);
            (known + more_known, came + more_came)
        });
        if known < rule.at_least.max(1) {
            return Reading::of(&subject);
        }
        let value_micros = share(came, known);
        let name = &rates[0].name;
        Reading {
            level: level(rule, value_micros),
            value_micros,
            title: format!("{} of messages through {name} arrive", percent(value_micros)),
            detail: format!(
                "Of {} messages through {name} in the last {}, {} arrived ({}). The alert is set to less than {}.",
                grouped_number(known),
                duration(rule.over_s),
                grouped_number(came),
                percent(value_micros),
                percent(rule.threshold_micros)
            ),
            pace_micros: None,
            subject,
        }
    };
    groups.into_iter().map(reading).collect()
}

/// Mails, and how many of them came back. An address a mail server refuses at once is as bad as one it reports later, though the mail was never sent.
fn bounced(counts: &Counts) -> (i64, i64) {
    let bounced = counts.outcome.bounced.max(counts.failed_recipient);
    (counts.outcome.sent + bounced - counts.outcome.bounced, bounced)
}

fn share_of_mails(
    rule: &Rule,
    facts: &Facts,
    now: Timestamp,
    what: &str,
    count: impl Fn(&Counts) -> (i64, i64),
) -> Vec<Reading> {
    let from = now.plus_seconds(-rule.over_s);
    let is_mail = |rated: &&Rated| rated.channel == Channel::Email;
    let recent = grouped(rule, facts.rates.iter().filter(|rated| rated.at >= from).filter(is_mail));
    let longer: Vec<_> =
        facts.longer.iter().map(|(over_s, rates)| (*over_s, grouped(rule, rates.iter().filter(is_mail)))).collect();
    let mut subjects: BTreeSet<String> =
        recent.keys().chain(longer.iter().flat_map(|(_, groups)| groups.keys())).cloned().collect();
    subjects.extend(watched(rule, facts));
    let reading = |subject: String| {
        // The shortest time with enough mails to say something.
        let times =
            std::iter::once((rule.over_s, &recent)).chain(longer.iter().map(|(over_s, groups)| (*over_s, groups)));
        let found = times.filter_map(|(over_s, groups)| {
            let rates = groups.get(&subject)?;
            let counts = rates.iter().map(|rated| count(&rated.counts));
            let (sent, bad) = counts.fold((0, 0), |(sent, bad), (more, more_bad)| (sent + more, bad + more_bad));
            (sent >= rule.at_least.max(1)).then(|| (over_s, sent, bad, rates[0].name.clone()))
        });
        let Some((over_s, sent, bad, name)) = found.into_iter().next() else { return Reading::of(&subject) };
        let value_micros = share(bad, sent);
        Reading {
            subject,
            pace_micros: None,
            level: level(rule, value_micros),
            value_micros,
            title: format!("{} of mails through {name} {what}", percent(value_micros)),
            detail: format!(
                "Of {} mails through {name} in the last {}, {} {what} ({}). The alert is set to {}. Stop sending to old or bought addresses before the provider stops the account.",
                grouped_number(sent),
                duration(over_s),
                grouped_number(bad),
                percent(value_micros),
                percent(rule.threshold_micros)
            ),
        }
    };
    subjects.into_iter().map(reading).collect()
}

/// The accounts a rule is about. One that sent nothing is still there, and nothing is known of it.
fn watched(rule: &Rule, facts: &Facts) -> impl Iterator<Item = String> {
    let wanted = facts.accounts.iter().filter(|account| {
        rule.account_id.is_none_or(|id| id == account.id)
            && rule.channel.is_none_or(|channel| account.channels.contains(&channel))
    });
    wanted.map(|account| account.id.to_string())
}

/// What a rule is about, by subject.
fn grouped<'a>(rule: &Rule, rates: impl Iterator<Item = &'a Rated>) -> BTreeMap<String, Vec<&'a Rated>> {
    let mut groups = BTreeMap::<String, Vec<&Rated>>::new();
    let wanted = |rated: &&Rated| {
        rule.channel.is_none_or(|channel| channel == rated.channel)
            && rule.account_id.is_none_or(|id| id.to_string() == rated.subject)
    };
    for rated in rates.filter(wanted) {
        groups.entry(rated.subject.clone()).or_default().push(rated);
    }
    groups
}

/// The middle of some numbers; of two middles the lower.
fn median(numbers: &mut [i64]) -> i64 {
    numbers.sort_unstable();
    numbers[(numbers.len() - 1) / 2]
}

/// How far `count` lies from the same hour of past weeks, in millionths of what is usual between them, with the middle of those weeks. `None` with too little past.
///
/// Usual is the median distance from the median, made comparable to a standard deviation, and never less than a tenth of the median, its square root or 5: weeks that happen to be
/// alike must not make every next one unusual. Medians, because one outage or one big campaign in the past must not hide the next.
fn distance(count: i64, weeks: &[i64]) -> Option<(i64, i64)> {
    if weeks.iter().filter(|week| **week > 0).count() < WEEKS_MIN {
        return None;
    }
    let mut numbers = weeks.to_vec();
    let middle = median(&mut numbers);
    let mut distances: Vec<i64> = numbers.iter().map(|number| (number - middle).abs()).collect();
    let spread_micros = median(&mut distances).saturating_mul(1_482_600);
    let usual_micros =
        spread_micros.max(middle.saturating_mul(MICROS / 10)).max(middle.isqrt() * MICROS).max(5 * MICROS);
    let away = (count - middle).abs();
    let value = i128::from(away) * i128::from(MICROS) * i128::from(MICROS) / i128::from(usual_micros);
    Some((i64::try_from(value).unwrap_or(i64::MAX), middle))
}

/// The weeks an hour is compared with: before the first one with messages there was nothing.
fn past(weeks: &[i64]) -> &[i64] {
    &weeks[..weeks.iter().rposition(|week| *week > 0).map_or(0, |oldest| oldest + 1)]
}

fn unusual(rule: &Rule, hours: &Hours) -> Vec<Reading> {
    let wanted = hours.by_channel.iter().filter(|(channel, _)| rule.channel.is_none_or(|only| only == **channel));
    let reading = |(channel, counts): (&Channel, &(i64, Vec<i64>))| {
        let (count, weeks) = (&counts.0, past(&counts.1));
        let subject = channel.as_str();
        let Some((value_micros, middle)) = distance(*count, weeks) else { return Reading::of(subject) };
        let is_much = (count - middle).abs() >= rule.at_least;
        let (low, high) = (weeks.iter().min().unwrap_or(&0), weeks.iter().max().unwrap_or(&0));
        let more = if *count > middle { "more" } else { "fewer" };
        Reading {
            subject: subject.to_owned(),
            pace_micros: None,
            level: if is_much { level(rule, value_micros) } else { Level::Good },
            value_micros,
            title: format!(
                "Unusually {} {} messages",
                if *count > middle { "many" } else { "few" },
                words::channel(*channel)
            ),
            detail: format!(
                "{} {} messages were accepted {}. In the same hour of the past {} weeks there were between {} and {}, in the middle {}: this is {} {more}, {} times the distance that is usual.",
                grouped_number(*count),
                words::channel(*channel),
                hours.label,
                weeks.len(),
                grouped_number(*low),
                grouped_number(*high),
                grouped_number(middle),
                grouped_number((count - middle).abs()),
                value_micros / MICROS,
            ),
        }
    };
    wanted.map(reading).collect()
}

fn lapsed(facts: &Facts) -> Vec<Reading> {
    let reading = |lapsed: &store::alert_facts::Lapsed| {
        let because = lapsed.reason.as_ref().map_or_else(String::new, |reason| format!(" The reason given: {reason}"));
        let (what, remedy) = match lapsed.kind.as_str() {
            "domain" => ("mail domain", "Compare its records under Settings with what your DNS says."),
            "registration" => (
                "registration with American carriers of the account",
                "GET /v1/registrations/10dlc says why and what to do next; text messages to the United States may be refused meanwhile.",
            ),
            _ => (
                "WhatsApp template",
                "Change the template and submit it again; messages that use it are refused meanwhile.",
            ),
        };
        let state = if lapsed.state == "operator_needed" { "waiting for the operator" } else { &lapsed.state };
        Reading {
            subject: format!("{}:{}", lapsed.kind, lapsed.name),
            pace_micros: None,
            level: Level::Bad,
            value_micros: 0,
            title: format!("The {what} {} is {state}", lapsed.name),
            detail: format!("The {what} {} is {state}.{because} {remedy}", lapsed.name),
        }
    };
    facts.lapsed.iter().map(reading).collect()
}

fn queues(rule: &Rule, facts: &Facts, now: Timestamp) -> Vec<Reading> {
    let wanted = facts.queues.iter().filter(|queue| {
        rule.account_id.is_none_or(|id| id.to_string() == queue.subject)
            && rule.channel.is_none_or(|channel| queue.channels.contains(&channel))
    });
    let reading = |queue: &super::facts::Queue| {
        let waits_s = (now.as_seconds() - queue.since.as_seconds()).max(0);
        Reading {
            subject: queue.subject.clone(),
            pace_micros: None,
            level: level(rule, waits_s * MICROS),
            value_micros: waits_s * MICROS,
            title: format!("Messages wait {} for {}", duration(waits_s), queue.name),
            detail: format!(
                "The oldest transactional message that could leave through {} has waited for {}. Its rate may be too low for what is sent, or no worker is running.",
                queue.name,
                duration(waits_s)
            ),
        }
    };
    wanted.map(reading).collect()
}

/// A reading that is a count.
fn counted(rule: &Rule, subject: &str, count: i64, title: String, detail: String) -> Reading {
    let value_micros = count * MICROS;
    Reading { level: level(rule, value_micros), value_micros, title, detail, ..Reading::of(subject) }
}

/// What the check of the books found; for the operator by tenant, as what is found at one is no less the matter when another is in order again.
fn findings(rule: &Rule, total: i64, facts: &Facts) -> Vec<Reading> {
    let reading = |subject: &str, whose: &str, count: i64| {
        let (noun, verb) = if count == 1 { ("thing", "does") } else { ("things", "do") };
        let number = grouped_number(count);
        let title = format!("{number} {noun} in the books{whose} {verb} not add up");
        let detail = format!(
            "The last check of the books counted again what was sent, charged and invoiced, and found {number} {noun}{whose} that {verb} not add up. `tidings doctor --ledger` lists them; the event `ledger.difference` names the first ten of a tenant. It is looked at again every hour.",
        );
        Reading { level: level(rule, total * MICROS), ..counted(rule, subject, count, title, detail) }
    };
    let of = facts.findings_of.iter();
    let mut all: Vec<Reading> =
        of.map(|(tenant, name, count)| reading(&tenant.to_string(), &format!(" of {name}"), *count)).collect();
    let rest = total - facts.findings_of.iter().map(|(.., count)| count).sum::<i64>();
    if all.is_empty() || rest > 0 {
        all.push(reading("books", "", rest));
    }
    all
}

/// Each disputed payment by itself: each has its own deadline, and a second one is no less the matter than the first.
fn disputed(rule: &Rule, all: &[Disputed]) -> Vec<Reading> {
    let count = all.len() as i64;
    let reading = |of: &Disputed| {
        let until = of.respond_by.map_or_else(
            || "before its deadline".to_owned(),
            |at| format!("until {} (UTC)", at.jiff().strftime("%-d %B %Y, %H:%M")),
        );
        let title = format!("A payment of {} by {} is disputed", of.amount, of.whose);
        let detail = format!(
            "The payment of {} for credit of {} is disputed at the payer's bank: it is the purchase {}. Answer at the payment provider {until}, or the money is lost.",
            of.amount, of.whose, of.id
        );
        counted(rule, &of.id, count, title, detail)
    };
    all.iter().map(reading).collect()
}

/// Each invoice by itself.
fn unmailed(rule: &Rule, all: &[Unmailed]) -> Vec<Reading> {
    let count = all.len() as i64;
    let reading = |of: &Unmailed| {
        let why = of.why.as_ref().map_or_else(String::new, |why| format!(": {why}"));
        let title = format!("The invoice {} did not reach {} by mail", of.number, of.whose);
        let detail = format!(
            "The invoice {} to {} did not arrive{why}{} Put right what is in the way (the customer's address with PATCH /v1/subscription, the mail account with PATCH /v1/billing-settings), or send it again with POST /v1/invoices/{}/send; a draft that could not be printed is issued then.",
            of.number,
            of.whose,
            if why.ends_with(['.', '!', '?']) { "" } else { "." },
            of.id
        );
        counted(rule, &of.id, count, title, detail)
    };
    all.iter().map(reading).collect()
}

/// Each registration by itself.
fn stuck(rule: &Rule, all: &[Stuck]) -> Vec<Reading> {
    let count = all.len() as i64;
    let reading = |of: &Stuck| {
        let why = of.why.as_ref().map_or_else(String::new, |why| format!(" {why}"));
        let title = format!("A registration of {} waits for the operator", of.whose);
        let detail = format!(
            "The registration {} of {} with American carriers waits for the operator.{why} Put right what is in the way and let it go on with POST {}/submit; text messages to the United States may be refused meanwhile.",
            of.id, of.whose, of.path
        );
        counted(rule, &of.id, count, title, detail)
    };
    all.iter().map(reading).collect()
}

fn dead_letters(rule: &Rule, count: i64) -> Reading {
    let noun = if count == 1 { "message" } else { "messages" };
    counted(
        rule,
        "dead_letters",
        count,
        format!("{} {noun} failed after every try", grouped_number(count)),
        format!(
            "{} {noun} became dead letters in the last {}. See why under Dead letters, mend the cause, and retry them.",
            grouped_number(count),
            duration(rule.over_s)
        ),
    )
}

/// `part` of `whole` in millionths of a percent.
fn share(part: i64, whole: i64) -> i64 {
    i64::try_from(i128::from(part) * 100 * i128::from(MICROS) / i128::from(whole.max(1))).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use model::{AccountId, AlertRuleId, Failure, FailureKind};
    use store::usage;

    use super::*;
    use crate::alerts::facts::{Account, Queue};

    const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);

    fn rule(kind: AlertKind) -> Rule {
        Rule::default_of(kind, AlertRuleId::from_ulid(1))
    }

    fn rated(hours_ago: i64, channel: Channel, outcome: usage::Counts, has_receipts: bool) -> Rated {
        Rated {
            subject: "acc_1".to_owned(),
            name: "Postmark".to_owned(),
            channel,
            has_receipts,
            at: NOW.plus_seconds(-hours_ago * 3_600),
            counts: Counts { outcome, ..Counts::default() },
        }
    }

    fn only(rule: &Rule, facts: &Facts) -> Reading {
        let mut readings = measure(rule, facts, None, NOW).expect("the facts say something");
        assert_eq!(readings.len(), 1, "{readings:?}");
        readings.remove(0)
    }

    fn out(sent: i64, delivered: i64, failed: i64, bounced: i64) -> usage::Counts {
        usage::Counts {
            accepted: sent.max(delivered + failed + bounced),
            sent,
            delivered,
            failed,
            bounced,
            ..usage::Counts::default()
        }
    }

    #[test]
    fn a_rate_needs_volume_and_time() {
        let check = |hours_ago, counts, has_receipts, expected: (Level, i64)| {
            let facts = Facts { rates: vec![rated(hours_ago, Channel::Sms, counts, has_receipts)], ..Facts::default() };
            let reading = only(&rule(AlertKind::DeliveryRate), &facts);
            assert_eq!((reading.level, reading.value_micros / MICROS), expected, "{counts:?} {}", reading.detail);
        };
        check(1, out(100, 95, 5, 0), true, (Level::Good, 95));
        check(1, out(100, 82, 5, 0), true, (Level::Between, 82));
        check(1, out(100, 40, 5, 0), true, (Level::Bad, 40));
        check(0, out(100, 40, 5, 0), true, (Level::Unknown, 0));
        check(0, out(100, 40, 60, 0), true, (Level::Bad, 40));
        check(1, out(20, 0, 20, 0), true, (Level::Unknown, 0));
        check(1, out(0, 0, 80, 0), true, (Level::Bad, 0));
        let of = |accepted, counts| usage::Counts { accepted, ..counts };
        check(1, of(100, out(100, 0, 0, 2)), false, (Level::Good, 98));
        check(1, of(100, out(10, 0, 90, 0)), false, (Level::Bad, 10));
        check(1, of(99, out(50, 0, 49, 0)), false, (Level::Bad, 50));
        // Amazon SNS says in its logs what became of messages it took.
        check(1, of(100, out(100, 78, 22, 0)), false, (Level::Bad, 78));
    }

    #[test]
    fn few_mails_are_judged_over_a_longer_time() {
        let rule = rule(AlertKind::BounceRate);
        let bounces = |sent, bounced| rated(2, Channel::Email, out(sent, 0, 0, bounced), true);
        let facts = Facts { rates: vec![bounces(2_000, 100)], ..Facts::default() };
        assert_eq!(only(&rule, &facts).level, Level::Bad);
        assert!(
            only(&rule, &facts)
                .detail
                .contains("Of 2,000 mails through Postmark in the last 24 hours, 100 came back (5 %)")
        );
        let mut refused = bounces(1_000, 20);
        refused.counts.failed_recipient = 70;
        let reading = only(&rule, &Facts { rates: vec![refused], ..Facts::default() });
        assert!(
            reading.detail.contains("Of 1,050 mails through Postmark in the last 24 hours, 70 came back"),
            "at once or later"
        );
        let facts = Facts { rates: vec![bounces(40, 40)], ..Facts::default() };
        assert_eq!(only(&rule, &facts).level, Level::Unknown);
        let facts = Facts {
            rates: vec![bounces(40, 40)],
            longer: vec![(604_800, vec![bounces(500, 90)]), (2_592_000, vec![bounces(1_500, 90)])],
            ..Facts::default()
        };
        let reading = only(&rule, &facts);
        assert_eq!((reading.level, reading.value_micros), (Level::Bad, 6 * MICROS));
        assert!(reading.detail.contains("in the last 30 days"), "{}", reading.detail);
    }

    #[test]
    fn an_hour_is_unusual_by_what_is_usual() {
        let check = |count, weeks: &[i64], expected: Option<i64>| {
            assert_eq!(distance(count, past(weeks)).map(|(value, _)| value / MICROS), expected, "{count} {weeks:?}");
        };
        let steady = [100, 104, 96, 110, 98, 102, 90, 101];
        check(103, &steady, Some(0));
        check(1_840, &steady, Some(174));
        check(0, &steady, Some(10));
        // One campaign in the past hides nothing.
        check(1_840, &[100, 9_000, 96, 110, 98, 102, 90, 101], Some(174));
        // What was alike for weeks may vary a little.
        check(52, &[50; 8], Some(0));
        check(100, &[50; 8], Some(7));
        // Too little past.
        check(5_000, &[100, 100, 100, 0, 0, 0, 0, 0], None);
        check(5_000, &[0; 8], None);
        check(5_000, &[100, 0, 100, 100, 0, 0, 0, 0], None);
        check(300, &[1, 0, 0, 0, 0, 0, 0, 1], None);
        check(5_000, &[100, 0, 100, 100, 100, 0, 0, 0], Some(490));
    }

    #[test]
    fn an_unusual_hour_is_explained() {
        let by_channel = BTreeMap::from([(Channel::Sms, (1_840, vec![100, 104, 96, 110, 98, 102, 90, 101]))]);
        let hours = Hours { label: "between 14:00 and 15:00 on Sunday (Europe/Berlin)".to_owned(), by_channel };
        let reading = only(&rule(AlertKind::UsageAnomaly), &Facts { hours: Some(hours), ..Facts::default() });
        assert_eq!(reading.level, Level::Bad);
        assert_eq!(
            reading.detail,
            "1,840 SMS messages were accepted between 14:00 and 15:00 on Sunday (Europe/Berlin). In the same hour of the past 8 weeks there were between 90 and 110, in the middle 100: this is 1,740 more, 174 times the distance that is usual."
        );
        assert_eq!(
            measure(&rule(AlertKind::UsageAnomaly), &Facts::default(), None, NOW),
            None,
            "an hour that was not looked at says nothing"
        );
    }

    #[test]
    fn a_paused_account_is_the_matter_after_a_while() {
        let account = |paused_s: Option<i64>| Account {
            id: AccountId::from_ulid(1),
            name: "Twilio".to_owned(),
            connector: "twilio",
            channels: vec![Channel::Sms],
            paused_at: paused_s.map(|s| NOW.plus_seconds(-s)),
            failure: Some(Failure::new(FailureKind::Account, "20003", "The auth token is wrong.")),
        };
        let check = |paused_s, expected| {
            let facts = Facts { accounts: vec![account(paused_s)], ..Facts::default() };
            assert_eq!(only(&rule(AlertKind::AccountFailing), &facts).level, expected, "{paused_s:?}");
        };
        check(None, Level::Good);
        check(Some(30), Level::Good);
        check(Some(119), Level::Between);
        check(Some(120), Level::Bad);
        let facts = Facts { accounts: vec![account(Some(600))], ..Facts::default() };
        assert_eq!(
            only(&rule(AlertKind::AccountFailing), &facts).detail,
            "The account Twilio (twilio) has been paused for 10 minutes; its messages wait or go another way. The last answer (20003): The auth token is wrong."
        );
        let other = Rule { channel: Some(Channel::Email), ..rule(AlertKind::AccountFailing) };
        assert_eq!(measure(&other, &facts, None, NOW), Some(Vec::new()));
    }

    #[test]
    fn a_queue_that_stands_is_the_matter() {
        let queue = |waits_s: i64| Queue {
            subject: "acc_1".to_owned(),
            name: "Twilio".to_owned(),
            channels: vec![Channel::Sms],
            since: NOW.plus_seconds(-waits_s),
        };
        for (waits_s, expected) in [(10, Level::Good), (800, Level::Between), (900, Level::Bad)] {
            let facts = Facts { queues: vec![queue(waits_s)], ..Facts::default() };
            assert_eq!(only(&rule(AlertKind::QueueAge), &facts).level, expected, "{waits_s}");
        }
    }

    #[test]
    fn what_the_check_of_the_books_found_is_told() {
        let payment = |id: &str| Disputed {
            id: id.to_owned(),
            whose: "Acme".to_owned(),
            amount: "10.00 USD".to_owned(),
            respond_by: Some(NOW),
        };
        let see = |rule: &Rule, facts: &Facts| measure(rule, facts, None, NOW).unwrap();
        let two = Facts { disputed: vec![payment("pur_1"), payment("pur_2")], ..Facts::default() };
        let told = see(&rule(AlertKind::PaymentDisputed), &two);
        assert_eq!(
            told.iter().map(|of| (of.subject.as_str(), of.level)).collect::<Vec<_>>(),
            [("pur_1", Level::Bad), ("pur_2", Level::Bad)]
        );
        assert_eq!(
            told[0].detail,
            "The payment of 10.00 USD for credit of Acme is disputed at the payer's bank: it is the purchase pur_1. Answer at the payment provider until 15 January 2027, 08:00 (UTC), or the money is lost."
        );
        let patient = Rule { threshold_micros: 3 * MICROS, ..rule(AlertKind::PaymentDisputed) };
        assert!(see(&patient, &two).iter().all(|of| of.level == Level::Good), "two of three");
        assert_eq!(see(&rule(AlertKind::PaymentDisputed), &Facts::default()), []);
        let invoice = Unmailed {
            id: "inv_1".to_owned(),
            number: "INV-7".to_owned(),
            whose: "Acme".to_owned(),
            why: Some("The address does not exist.".to_owned()),
        };
        let told = see(&rule(AlertKind::InvoiceUnmailed), &Facts { unmailed: vec![invoice], ..Facts::default() });
        assert_eq!(
            (told[0].level, told[0].title.as_str()),
            (Level::Bad, "The invoice INV-7 did not reach Acme by mail")
        );
        assert!(told[0].detail.contains("did not arrive: The address does not exist. Put right"), "{}", told[0].detail);
        let unheard = |ages: &[i64]| {
            let unheard = ages.iter().map(|age_s| NOW.plus_seconds(-age_s)).collect();
            only(&rule(AlertKind::PaymentUnheard), &Facts { unheard, ..Facts::default() })
        };
        assert_eq!(
            (unheard(&[]).level, unheard(&[86_400]).level, unheard(&[5, 86_400]).level),
            (Level::Good, Level::Good, Level::Bad)
        );
        assert!(
            unheard(&[5]).title.contains("about 1 payment did")
                && unheard(&[5, 6]).title.contains("about 2 payments did")
        );
        let stray = |payment: &str, age_s: i64| store::payments::Finding {
            payment: payment.to_owned(),
            kind: "gone".to_owned(),
            detail: format!("{payment} is for nobody."),
            found_at: NOW.plus_seconds(-age_s),
        };
        let strays = vec![stray("pi_2", 5), stray("pi_1", 8 * 86_400)];
        let seen = measure(&rule(AlertKind::PaymentStray), &Facts { strays, ..Facts::default() }, None, NOW).unwrap();
        assert_eq!(
            seen.iter().map(|seen| (seen.subject.as_str(), seen.level)).collect::<Vec<_>>(),
            [("pi_2", Level::Bad)]
        );
        assert!(seen[0].detail.starts_with("pi_2 is for nobody. "), "{}", seen[0].detail);
        let found = |count| only(&rule(AlertKind::LedgerFinding), &Facts { findings: Some(count), ..Facts::default() });
        assert_eq!((found(0).level, found(1).level, found(3).level), (Level::Good, Level::Bad, Level::Bad));
        assert_eq!(found(1).title, "1 thing in the books does not add up");
        assert_eq!(measure(&rule(AlertKind::LedgerFinding), &Facts::default(), None, NOW), None, "not checked yet");
        let acme = (model::TenantId::from_ulid(1), "Acme".to_owned(), 2);
        let by_tenant = Facts { findings: Some(5), findings_of: vec![acme], ..Facts::default() };
        let titles: Vec<_> = see(&rule(AlertKind::LedgerFinding), &by_tenant).into_iter().map(|of| of.title).collect();
        assert_eq!(titles, ["2 things in the books of Acme do not add up", "3 things in the books do not add up"]);
    }
}
