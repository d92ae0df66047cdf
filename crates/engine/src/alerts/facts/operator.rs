//! What the operator's rules are judged by: the same as a tenant's, by provider instead of account, and what is the matter with payments and invoices of all tenants.

use std::collections::BTreeMap;

use model::{AccountId, TenantId, Timestamp};
use store::{
    Tx,
    alert_facts::{self, Mails},
    message_counters::{self, Counts, Filter, Split},
    payments, tenants, usage,
};

use super::{Facts, LONGER_S, Longer, Queue, Rated, SUMS_MAX, Shared, money, reach_s};
use crate::{
    Error,
    access::mail,
    alerts::{AlertKind, TOPICS, evaluate::SUBJECTS_MAX, rules::Rule, words},
    analytics::{Interval, period::Zone},
    invoices::mailing::MailFailure,
    money::disputes,
    vault::OPERATOR,
};

/// Disputed purchases read at most, those first that have waited longest. Each is an alert of its own.
const DISPUTED_MAX: i64 = 200;
/// Invoices read at most that could not be mailed. Each is an alert of its own.
const UNMAILED_MAX: i64 = 200;

/// Payments read at most that brought nobody credit: as many as one rule can tell.
const STRAYS_MAX: i64 = 50;
/// Payments counted at most whose events did not come. More say the same.
const UNHEARD_MAX: i64 = 1_000;
/// How far back these are read, in seconds: as far as a rule may look.
const PAYMENTS_S: i64 = 30 * 86_400;

/// Registrations read at most that wait for the operator. Each is an alert of its own.
const STUCK_MAX: i64 = 200;

/// A payment for credit that is disputed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disputed {
    /// The purchase's id.
    pub id: String,
    /// Whose, for people.
    pub whose: String,
    /// How much was bought, for people.
    pub amount: String,
    /// Until when it has to be answered, where that is known.
    pub respond_by: Option<Timestamp>,
}

/// An invoice that did not reach its customer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unmailed {
    /// Its id.
    pub id: String,
    /// Its number, or its id.
    pub number: String,
    /// Whose, for people.
    pub whose: String,
    /// Why.
    pub why: Option<String>,
}

/// A registration that waits for the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stuck {
    /// Its id.
    pub id: String,
    /// Where it is found in the API.
    pub path: String,
    /// Whose, for people.
    pub whose: String,
    /// What happened.
    pub why: Option<String>,
}

/// What a look of the operator's knows before it reads.
#[derive(Debug, Default)]
pub struct Known {
    /// Which connector an account in trouble has.
    pub connectors: BTreeMap<AccountId, &'static str>,
    /// Since when something waits that could leave.
    pub waiting: Option<Timestamp>,
    /// Mails over longer times, where they were read lately.
    pub longer: Option<Longer>,
}

/// Reads what the operator's rules are judged by. What messages cost is only read when `is_new_quarter`.
#[crate::boxed]
pub async fn of_operator(
    tx: &mut Tx,
    rules: &[Rule],
    shared: &Shared,
    known: Known,
    is_new_quarter: bool,
    now: Timestamp,
) -> Result<Facts, Error> {
    let has = |kind: AlertKind| rules.iter().any(|rule| rule.kind == kind);
    let all = |found: &BTreeMap<TenantId, i64>| found.get(&OPERATOR).copied().unwrap_or(0);
    let mut facts = Facts { findings: shared.findings.as_ref().map(all), ..Facts::default() };
    let found = shared.findings.iter().flatten().filter(|(tenant, count)| **tenant != OPERATOR && **count > 0);
    for (tenant, count) in found.take(SUBJECTS_MAX) {
        let name = tenants::name(tx, *tenant).await?;
        facts.findings_of.push((*tenant, whose(name), *count));
    }
    if has(AlertKind::PaymentDisputed) {
        facts.disputed = alert_facts::disputed(tx, DISPUTED_MAX).await?.into_iter().map(disputed).collect();
    }
    if has(AlertKind::InvoiceUnmailed) {
        facts.unmailed = alert_facts::unmailed(tx, UNMAILED_MAX).await?.into_iter().map(unmailed).collect();
    }
    if has(AlertKind::RegistrationStuck) {
        facts.stuck = alert_facts::stuck_registrations(tx, STUCK_MAX).await?.into_iter().map(stuck).collect();
    }
    if has(AlertKind::PaymentStray) {
        facts.strays = payments::stray(tx, now.plus_seconds(-PAYMENTS_S), STRAYS_MAX).await?;
    }
    if has(AlertKind::PaymentUnheard) {
        facts.unheard = payments::unheard(tx, now.plus_seconds(-PAYMENTS_S), UNHEARD_MAX).await?;
    }
    for state in shared.troubled.iter().filter(|state| state.pause.is_some()) {
        if let Some(connector) = known.connectors.get(&state.account_id) {
            *facts.paused_by_connector.entry((*connector).to_owned()).or_default() += 1;
        }
    }
    facts.queues.extend(known.waiting.map(|since| Queue {
        subject: "queue".to_owned(),
        name: "the busiest account".to_owned(),
        channels: Vec::new(),
        since,
    }));
    if is_new_quarter && (has(AlertKind::Cost) || has(AlertKind::CostForecast)) {
        facts.spent = Some(money::spent_by_all(tx, now).await?);
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
        facts.rates.extend(rated(&key.provider, key.channel, key.at, counts));
    }
    if has(AlertKind::BounceRate) || has(AlertKind::ComplaintRate) {
        facts.longer = match known.longer {
            Some(kept) => kept,
            None => longer(tx, now).await?,
        };
    }
    Ok(facts)
}

/// Sums of a provider; `None` for a connector this binary does not know, and for one through which nothing arrives at a person: what is tried out or shown there harms nobody's reputation.
fn rated(provider: &str, channel: model::Channel, at: Timestamp, counts: Counts) -> Option<Rated> {
    if mail::NOWHERE.contains(&provider) {
        return None;
    }
    let spec = connectors::registry::find(provider)?.spec();
    let (subject, name) = (provider.to_owned(), spec.name.to_owned());
    Some(Rated { subject, name, channel, has_receipts: spec.has_receipts, at, counts })
}

/// Everybody's mails over longer times, by provider: one query.
async fn longer(tx: &mut Tx, now: Timestamp) -> Result<Longer, Error> {
    let [short_s, long_s] = LONGER_S;
    let since = |over_s: i64| Zone::utc().begin(now.plus_seconds(-over_s), Interval::Day);
    let found = alert_facts::mails(tx, [since(long_s), since(short_s)], TOPICS).await?;
    let over = |place: usize, over_s: i64| {
        let rated = found.iter().filter_map(|(provider, sums)| {
            let Mails { sent, bounced, failed_recipient, complained } = sums[place];
            let outcome = usage::Counts { sent, bounced, ..usage::Counts::default() };
            rated(
                provider,
                model::Channel::Email,
                since(over_s),
                Counts { outcome, failed_recipient, complained, ..Counts::default() },
            )
        });
        (over_s, rated.collect())
    };
    Ok(vec![over(1, short_s), over(0, long_s)])
}

fn disputed(row: alert_facts::Disputed) -> Disputed {
    Disputed {
        id: row.id.to_string(),
        whose: whose(row.tenant),
        amount: words::money(row.amount, &row.currency),
        respond_by: disputes::respond_by(&row.disputes),
    }
}

fn unmailed(row: alert_facts::Unmailed) -> Unmailed {
    let failure: Option<MailFailure> = row.failure.as_deref().and_then(|text| serde_json::from_str(text).ok());
    Unmailed {
        id: row.id.to_string(),
        number: row.number.unwrap_or_else(|| row.id.to_string()),
        whose: whose(row.tenant),
        why: failure.map(|failure| failure.detail),
    }
}

fn stuck(row: alert_facts::StuckRegistration) -> Stuck {
    let word = if row.kind == "toll_free" { "toll-free" } else { "10dlc" };
    Stuck {
        id: row.id.to_string(),
        path: format!("/v1/registrations/{word}/{}", row.id),
        whose: whose(row.tenant),
        why: row.problem,
    }
}

fn whose(tenant: Option<String>) -> String {
    tenant.unwrap_or_else(|| "a tenant that is gone".to_owned())
}
