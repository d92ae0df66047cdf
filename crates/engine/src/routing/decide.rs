//! Which account a message leaves through, given the rules and what is known of the accounts. A pure decision that keeps its reasons: it is stored with the message and shown.
//!
//! The rules about the channel are asked in order. The first that matches puts those of its accounts in order that exist, are enabled, carry the channel and can carry the content, and
//! takes the first whose circuit lets messages through. When there is none, the rule says whether the next one is asked or the message waits. After the last rule comes the channel's
//! default account; when that does not work either, the message waits for the first account of the first rule that matched.

use std::sync::Arc;

use model::{AccountId, FailureKind, MessageId, RouteId, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    figures::{Circuit, Figures, Routes},
    rule::{By, Candidate, Otherwise, Rule, Subject},
};
use crate::{
    accept::plan::default_account,
    country,
    directory::{Account, Tenant},
    money::book::{Asked, Book, PriceUnit, provider_cost},
    registrations::gate::{self, Registered},
};

/// Messages whose end is known, or attempts, below which nothing is concluded from them.
const SAMPLE_MIN: i64 = 20;
/// One message of so many goes to an account of which too little is known, so that something becomes known; and to one that has failed and is tried out.
const TRIAL_SHARE: u64 = 20;
/// How long only that share is let through to an account that is tried out, in milliseconds: a tenant that sends little would not find out otherwise.
const TRIAL_MS: i64 = 60_000;

/// What a decision is made from.
pub struct Facts<'a> {
    /// The tenant's rules.
    pub routes: &'a Routes,
    /// Its accounts.
    pub accounts: &'a [Arc<Account>],
    /// Its clock.
    pub timezone: &'a str,
    /// Its currency, in which rules name prices.
    pub currency: &'a str,
    /// Every price list.
    pub prices: &'a Book,
    /// The currency whose lists speak of it.
    pub price_currency: &'a str,
    /// The message.
    pub message: Subject<'a>,
    /// What is known of the accounts.
    pub figures: &'a Figures,
    /// The account that carries the channel where no rule says otherwise.
    pub default: Option<&'a Arc<Account>>,
    /// What was decided about the tenant's registrations with carriers.
    pub registered: &'a Registered,
    /// Why an account is out of the question for this message: it cannot carry the content, or was tried already.
    pub refuses: &'a dyn Fn(&Account) -> Option<String>,
}

impl<'a> Facts<'a> {
    /// What a tenant's rules are asked with about a message.
    pub fn of(
        tenant: &'a Tenant,
        message: Subject<'a>,
        figures: &'a Figures,
        refuses: &'a dyn Fn(&Account) -> Option<String>,
    ) -> Self {
        Self {
            routes: &tenant.routes,
            accounts: &tenant.accounts,
            timezone: &tenant.timezone,
            currency: &tenant.currency,
            prices: &tenant.prices,
            price_currency: tenant.price_currency(),
            default: default_account(tenant, message.channel),
            registered: &tenant.registered,
            message,
            figures,
            refuses,
        }
    }

    /// Why an account is out of the question for this message.
    fn refusal(&self, account: &Account) -> Option<String> {
        let (channel, address) = (self.message.channel, self.message.address);
        match gate::action(self.registered, account, None, channel, address) {
            Some(gate::Missing { action, is_toll_free: false }) => {
                Some(format!("not registered with American carriers ({action})"))
            }
            Some(gate::Missing { action, is_toll_free: true }) => {
                Some(format!("its toll-free number is not verified ({action})"))
            }
            None => (self.refuses)(account),
        }
    }
}

/// What was decided, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = RouteDecision)]
pub struct Decision {
    /// The rule that chose; `null` when rules matched and none of their accounts could be used, so that the default account was taken.
    #[schema(value_type = Option<String>, example = "rte_01K9ZC8Q6T7Y2V5B3N4M1XWRSD")]
    pub rule_id: Option<RouteId>,
    /// Its name.
    pub rule: Option<String>,
    /// The account.
    #[schema(value_type = String, example = "acc_01K9ZC1M2N3P4Q5R6S7T8V9W0X")]
    pub account_id: AccountId,
    /// Its name.
    pub account: String,
    /// True when no account lets messages through now: it waits for this one.
    pub waits: bool,
    /// The decision in words.
    #[schema(example = "the cheapest of 3 for KE at 0.0075 USD; Account B skipped: failing since 14:02 UTC")]
    pub why: String,
    /// The country of the recipient's number.
    pub country: Option<String>,
    /// The accounts of the rule, in the order they would be taken.
    pub considered: Vec<Considered>,
    /// Rules that matched before and had no account that could be used.
    pub passed: Vec<Passed>,
    /// Accounts that cannot carry this content.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub cannot_carry: Vec<AccountId>,
}

/// An account that was considered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = RouteConsidered)]
pub struct Considered {
    /// Which.
    #[schema(value_type = String)]
    pub account_id: AccountId,
    /// Its name.
    pub account: String,
    /// Whether it was taken.
    pub verdict: Verdict,
    /// What it was judged by: its price, rate or weight.
    pub figure: Option<String>,
    /// Why it was skipped.
    pub why: Option<String>,
}

/// What became of an account that was considered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = RouteVerdict)]
pub enum Verdict {
    /// It was taken.
    Chosen,
    /// It would be taken next.
    Next,
    /// It cannot be used now.
    Skipped,
}

/// A rule that matched and had no account that could be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = RoutePassed)]
pub struct Passed {
    /// Which.
    #[schema(value_type = String)]
    pub rule_id: RouteId,
    /// Its name.
    pub rule: String,
    /// Why none of its accounts could be used.
    pub why: String,
}

/// What the rules say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Routed {
    /// None matches.
    Unruled,
    /// This account.
    To(Box<Decision>),
    /// Rules matched, and there is no account at all that the message may leave through.
    Nowhere(Vec<Passed>),
}

/// Decides.
pub fn route(facts: &Facts<'_>, now: Timestamp) -> Routed {
    let m = &facts.message;
    let (mut passed, mut fallback): (Vec<Passed>, Option<Decision>) = (Vec::new(), None);
    for rule in facts.routes.about(m.channel).filter(|rule| rule.matches.hold(m, facts.timezone)) {
        let order = order(rule, facts, now);
        let decided = decision(rule, &order, facts);
        match decided {
            Some(decision) if !decision.waits || rule.otherwise == Otherwise::Wait => {
                return Routed::To(Box::new(Decision { passed, ..decision }));
            }
            decided => {
                passed.push(Passed { rule_id: rule.id, rule: rule.name.clone(), why: reasons(&order) });
                if rule.otherwise == Otherwise::Wait {
                    return Routed::Nowhere(passed);
                }
                fallback = fallback.or(decided);
            }
        }
    }
    if passed.is_empty() {
        return Routed::Unruled;
    }
    let default = facts.default.filter(|account| facts.refusal(account).is_none());
    let works = default.filter(|account| trouble(facts, account.id, now).is_none());
    match (works, fallback, default) {
        (Some(account), _, _) => Routed::To(Box::new(by_default(account, false, passed, facts))),
        // The first rule's word counts more than the default's where neither works.
        (None, Some(decision), _) => {
            passed.remove(0);
            Routed::To(Box::new(Decision { passed, ..decision }))
        }
        (None, None, Some(account)) => Routed::To(Box::new(by_default(account, true, passed, facts))),
        (None, None, None) => Routed::Nowhere(passed),
    }
}

/// An account in a rule's order.
struct Place<'a> {
    id: AccountId,
    name: String,
    /// `None` when it cannot be used at all.
    account: Option<&'a Arc<Account>>,
    figure: Option<String>,
    /// Why it is not taken: for good, or now.
    trouble: Option<String>,
}

/// A rule's accounts, those that can be used first and in the rule's order.
fn order<'a>(rule: &Rule, facts: &Facts<'a>, now: Timestamp) -> Vec<Place<'a>> {
    let (mut usable, mut others) = (Vec::new(), Vec::new());
    for candidate in &rule.accounts {
        let found = facts.accounts.iter().find(|account| account.id == candidate.account_id);
        match found.map(|account| (account, unusable(account, facts))) {
            Some((account, None)) => usable.push((candidate, account)),
            Some((account, Some(why))) => others.push(place(account.id, &account.name, None, Some(why))),
            None => {
                let id = candidate.account_id;
                others.push(place(id, &id.to_string(), None, Some("deleted".to_owned())));
            }
        }
    }
    let ranked = rank(rule, usable, facts).into_iter().map(|(account, figure)| {
        let trouble = trouble(facts, account.id, now);
        Place { account: Some(account), figure, ..place(account.id, &account.name, None, trouble) }
    });
    ranked.chain(others).collect()
}

fn place(id: AccountId, name: &str, figure: Option<String>, trouble: Option<String>) -> Place<'static> {
    Place { id, name: name.to_owned(), account: None, figure, trouble }
}

/// Why an account cannot be used for this message at all.
fn unusable(account: &Account, facts: &Facts<'_>) -> Option<String> {
    if !account.is_enabled {
        return Some(account.trouble.as_ref().map_or("disabled", |_| "its settings cannot be opened").to_owned());
    }
    if !account.channels.contains(&facts.message.channel) {
        return Some(format!("does not carry {} any more", facts.message.channel));
    }
    facts.refusal(account)
}

/// Why an account lets no message through now.
fn trouble(facts: &Facts<'_>, account: AccountId, now: Timestamp) -> Option<String> {
    match facts.figures.circuit(account, now) {
        Circuit::Closed => None,
        Circuit::Throttled { until } => Some(format!("throttled until {}", clock(until, now, true))),
        Circuit::Open { since, until, failure } => {
            let since = since.map_or_else(String::new, |since| format!(" since {}", clock(since, now, false)));
            let code = failure.map_or_else(String::new, |failure| format!(" ({})", told(&failure)));
            Some(format!("failing{since}{code}, tried again at {}", clock(until, now, false)))
        }
        Circuit::HalfOpen { from, since, .. } => {
            let waited_ms = from.map_or(TRIAL_MS, |from| now.millis_since(from));
            let is_trial = waited_ms >= TRIAL_MS || stable(facts.message.id, account).is_multiple_of(TRIAL_SHARE);
            let since = since.map_or_else(String::new, |since| format!(" since {}", clock(since, now, false)));
            (!is_trial).then(|| format!("failing{since}, being tried out"))
        }
    }
}

fn told(failure: &model::Failure) -> String {
    match failure.kind {
        FailureKind::Account => format!("account: {}", failure.code),
        kind => format!("{}: {}", kind.as_str(), failure.code),
    }
}

/// A time of day for people, with its day when that is another.
fn clock(at: Timestamp, now: Timestamp, to_the_second: bool) -> String {
    let is_today = at.as_seconds().div_euclid(86_400) == now.as_seconds().div_euclid(86_400);
    let form = match (is_today, to_the_second) {
        (true, false) => "%H:%M UTC",
        (true, true) => "%H:%M:%S UTC",
        (false, _) => "%-d %b %H:%M UTC",
    };
    at.jiff().strftime(form).to_string()
}

/// Puts accounts in the order a rule takes them, each with what it was judged by.
fn rank<'a>(
    rule: &Rule,
    usable: Vec<(&Candidate, &'a Arc<Account>)>,
    facts: &Facts<'_>,
) -> Vec<(&'a Arc<Account>, Option<String>)> {
    let m = &facts.message;
    let hours = rule.choice.looks_back_h().unwrap_or_default();
    let mut ranked: Vec<(Rank, &'a Arc<Account>, Option<String>)> = Vec::with_capacity(usable.len());
    let total: u64 = usable.iter().map(|(candidate, _)| u64::from(candidate.weight.unwrap_or(1))).sum();
    for (candidate, account) in usable {
        let (rank, figure) = match rule.choice.by {
            By::Priority => (Rank::default(), None),
            By::Weight => {
                let weight = candidate.weight.unwrap_or(1);
                (Rank(lot(m.id, account.id, weight), 0), Some(format!("weight {weight} of {total}")))
            }
            By::LowestPrice => price(candidate, account, facts),
            By::BestDeliveryRate => {
                let score = facts.figures.score(account.id, m.channel, hours);
                if score.ended < SAMPLE_MIN {
                    let is_trial = stable(m.id, account.id).is_multiple_of(TRIAL_SHARE);
                    let figure = format!("{} messages in {hours} h, too few to judge", score.ended);
                    (Rank(if is_trial { i64::MIN } else { i64::MAX }, 0), Some(figure))
                } else {
                    let mille = score.delivered * 1_000 / score.ended;
                    let figure = format!("{}.{} % of {} delivered in {hours} h", mille / 10, mille % 10, score.ended);
                    (Rank(-mille, 0), Some(figure))
                }
            }
            By::Health => {
                let score = facts.figures.score(account.id, m.channel, hours);
                // Nothing speaks against an account nobody has used.
                let percent = if score.attempts < SAMPLE_MIN { 100 } else { score.good * 100 / score.attempts };
                let figure = match score.attempts {
                    attempts if attempts < SAMPLE_MIN => format!("{attempts} attempts in {hours} h, too few to judge"),
                    attempts => format!("{percent} % of {attempts} attempts in {hours} h in order"),
                };
                (Rank(-percent, 0), Some(figure))
            }
        };
        ranked.push((rank, account, figure));
    }
    ranked.sort_by_key(|(rank, ..)| *rank);
    ranked.into_iter().map(|(_, account, figure)| (account, figure)).collect()
}

/// The smaller the sooner; equal ones as they are listed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Rank(i64, i64);

/// What a message costs through an account: what the rule says, or what its provider takes by the price list, or what the tenant pays by it. Compared for a thousand
/// messages, so that prices per thousand differ without rounding.
fn price(candidate: &Candidate, account: &Account, facts: &Facts<'_>) -> (Rank, Option<String>) {
    let m = &facts.message;
    let segments = i64::from(m.segments.unwrap_or(1));
    let given =
        candidate.price_micros.map(|unit| (unit.saturating_mul(segments).saturating_mul(1_000), facts.currency));
    let listed = || {
        let (currency, at) = (facts.price_currency, m.accepted_at);
        let asked = Asked::new(m.channel, account.connector.spec().id, m.address, m.purpose);
        let price = facts.prices.find(currency, &asked, at)?;
        let units = if price.per == PriceUnit::Segment { segments } else { 1 };
        let taken = provider_cost(facts.prices, currency, &asked, at).map(|cost| cost.saturating_mul(units));
        Some((taken.unwrap_or_else(|| price.of(m.segments).saturating_mul(1_000)), currency))
    };
    match given.or_else(listed) {
        Some((thousand, currency)) => (Rank(0, thousand), Some(format!("{} {currency}", amount(thousand / 1_000)))),
        None => (Rank(1, 0), Some("no price known".to_owned())),
    }
}

/// Millionths as people write them: at least two decimals, no more than needed.
fn amount(micros: i64) -> String {
    let text = format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
    let short = text.trim_end_matches('0');
    let decimals = short.len() - short.find('.').unwrap_or_default() - 1;
    format!("{short}{}", "0".repeat(2_usize.saturating_sub(decimals)))
}

/// A number that is always the same for a message and an account, and looks like chance (SplitMix64).
fn stable(message: MessageId, account: AccountId) -> u64 {
    let mix = |mut z: u64| {
        z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    let parts = [message.ulid(), account.ulid()].map(|id| [(id >> 64) as u64, id as u64]);
    parts.as_flattened().iter().fold(0, |hash, part| mix(hash ^ *part))
}

/// An account's lot for a message: the smallest is drawn first, and each is so with the probability of its weight (weighted rendezvous hashing). Another
/// account more or less moves only the messages that are its own.
fn lot(message: MessageId, account: AccountId, weight: u32) -> i64 {
    if weight == 0 {
        return i64::MAX;
    }
    let chance = ((stable(message, account) >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
    // Exponentially distributed: at most some 40 divided by the weight.
    (-chance.ln() / f64::from(weight) * 1e15) as i64
}

/// A rule's decision over its order; `None` when none of its accounts can be used at all.
fn decision(rule: &Rule, order: &[Place<'_>], facts: &Facts<'_>) -> Option<Decision> {
    let m = &facts.message;
    let usable = order.iter().filter(|place| place.account.is_some()).count();
    let works = order.iter().position(|place| place.account.is_some() && place.trouble.is_none());
    let index = works.or_else(|| order.iter().position(|place| place.account.is_some()))?;
    let chosen = &order[index];
    let country = country::text(m.channel, m.address);
    let place = if country.is_empty() { String::new() } else { format!(" for {country}") };
    let figure = chosen.figure.as_deref().unwrap_or_default();
    let mut why = match rule.choice.by {
        _ if usable == 1 && order.len() == 1 => "its only account".to_owned(),
        By::Priority => format!("the first of {usable}{place} that works"),
        By::Weight => format!("by weight among {usable}{place} ({figure})"),
        By::LowestPrice => format!("the cheapest of {usable}{place} at {figure}"),
        By::BestDeliveryRate => format!("the best delivery rate of {usable}{place}: {figure}"),
        By::Health => format!("the healthiest of {usable}{place}: {figure}"),
    };
    if works.is_none() {
        why = format!("waits for it, {}: no account works now", chosen.trouble.as_deref().unwrap_or_default());
    }
    for skipped in order.iter().enumerate().filter(|(place, _)| *place != index).map(|(_, place)| place) {
        if let Some(trouble) = &skipped.trouble {
            why.push_str(&format!("; {} skipped: {trouble}", skipped.name));
        }
    }
    let considered = order.iter().enumerate().map(|(at, place)| Considered {
        account_id: place.id,
        account: place.name.clone(),
        verdict: match (at == index, &place.trouble) {
            (true, _) => Verdict::Chosen,
            (false, None) => Verdict::Next,
            (false, Some(_)) => Verdict::Skipped,
        },
        figure: place.figure.clone(),
        why: place.trouble.clone(),
    });
    Some(Decision {
        rule_id: Some(rule.id),
        rule: Some(rule.name.clone()),
        account_id: chosen.id,
        account: chosen.name.clone(),
        waits: works.is_none(),
        why,
        country: Some(country).filter(|country| !country.is_empty()),
        considered: considered.collect(),
        passed: Vec::new(),
        cannot_carry: Vec::new(),
    })
}

fn by_default(account: &Account, waits: bool, passed: Vec<Passed>, facts: &Facts<'_>) -> Decision {
    let told: Vec<_> =
        passed.iter().map(|passed| format!("the rule {} matched: {}", passed.rule, passed.why)).collect();
    let country = country::text(facts.message.channel, facts.message.address);
    Decision {
        rule_id: None,
        rule: None,
        account_id: account.id,
        account: account.name.clone(),
        waits,
        why: format!("the channel's default account, because no rule's account works ({})", told.join("; ")),
        country: Some(country).filter(|country| !country.is_empty()),
        considered: Vec::new(),
        passed,
        cannot_carry: Vec::new(),
    }
}

/// Why none of a rule's accounts can be used.
fn reasons(order: &[Place<'_>]) -> String {
    let each = order.iter().map(|place| format!("{} {}", place.name, place.trouble.as_deref().unwrap_or_default()));
    each.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use connectors::registry;
    use model::{Channel, Failure, Purpose, TenantId, Values};
    use store::account_states::AccountState;

    use super::{super::figures::Score, *};

    const A: AccountId = AccountId::from_ulid(0xa00);
    const B: AccountId = AccountId::from_ulid(0xb00);
    const C: AccountId = AccountId::from_ulid(0xc00);
    const D: AccountId = AccountId::from_ulid(0xd00);

    fn now() -> Timestamp {
        "2026-11-27T14:10:00Z".parse().unwrap()
    }

    fn account(id: AccountId, name: &str) -> Account {
        Account {
            id,
            tenant_id: TenantId::from_ulid(1),
            connector: registry::find("sandbox").unwrap(),
            name: name.to_owned(),
            channels: vec![Channel::Sms],
            default_for: if id == D { vec![Channel::Sms] } else { Vec::new() },
            from: None,
            values: Values::default(),
            is_enabled: true,
            per_second: None,
            concurrency: None,
            callback_url: String::new(),
            hidden: std::sync::OnceLock::new(),
            trouble: None,
            senders: Vec::new(),
        }
    }

    fn rule(id: u128, json: &str) -> Rule {
        let value: serde_json::Value = serde_json::from_str(json).unwrap();
        let of = |name: &str| value.get(name).cloned().unwrap_or_else(|| serde_json::json!({}));
        Rule {
            id: RouteId::from_ulid(id),
            channel: Channel::Sms,
            name: format!("Rule {id}"),
            is_enabled: true,
            matches: serde_json::from_value(of("match")).unwrap(),
            choice: serde_json::from_value(of("choose")).unwrap(),
            accounts: serde_json::from_value(of("accounts")).unwrap(),
            otherwise: value
                .get("otherwise")
                .map_or(Otherwise::NextRule, |word| Otherwise::from_stored(word.as_str().unwrap())),
        }
    }

    fn listed(by: &str, accounts: &[(AccountId, &str)]) -> String {
        let each = accounts.iter().map(|(id, more)| format!(r#"{{"account_id": "{id}"{more}}}"#));
        format!(r#""choose": {{"by": "{by}"}}, "accounts": [{}]"#, each.collect::<Vec<_>>().join(", "))
    }

    /// Three accounts A, B and C, and D, the channel's default.
    struct Scene {
        accounts: Vec<Arc<Account>>,
        routes: Routes,
        figures: Figures,
        prices: Book,
    }

    impl Scene {
        fn of(rules: &[String]) -> Self {
            let rules = rules.iter().enumerate().map(|(at, json)| rule(at as u128 + 1, &format!("{{{json}}}")));
            let accounts = [(A, "A"), (B, "B"), (C, "C"), (D, "D")];
            Self {
                prices: Book::default(),
                accounts: accounts.iter().map(|(id, name)| Arc::new(account(*id, name))).collect(),
                routes: Routes::new(rules.collect()),
                figures: Figures::default(),
            }
        }

        fn with(mut self, id: AccountId, change: impl Fn(&mut Account)) -> Self {
            for account in &mut self.accounts {
                if account.id == id {
                    let mut changed = self::account(id, &account.name);
                    change(&mut changed);
                    *account = Arc::new(changed);
                }
            }
            self
        }

        fn failing(mut self, id: AccountId, until: Timestamp) -> Self {
            let failure = Failure::new(FailureKind::Account, "20003", "Authenticate");
            let state = AccountState {
                paused_at: Some("2026-11-27T14:02:00Z".parse().unwrap()),
                paused_until: Some(until),
                pause: serde_json::to_string(&failure).ok(),
                failures: 3,
                ..AccountState::new(TenantId::from_ulid(1), id, now())
            };
            self.figures = self.figures.with(state, &[]);
            self
        }

        fn scored(mut self, id: AccountId, hours: u32, score: Score) -> Self {
            let state = AccountState::new(TenantId::from_ulid(1), id, now());
            self.figures = self.figures.with(state, &[(hours, Channel::Sms, score)]);
            self
        }

        fn ask(&self, message: u128) -> Routed {
            self.ask_with(message, &|_| None)
        }

        fn ask_with(&self, message: u128, refuses: &dyn Fn(&Account) -> Option<String>) -> Routed {
            let default = self.accounts.iter().find(|account| account.id == D && account.is_enabled);
            let facts = Facts {
                routes: &self.routes,
                accounts: &self.accounts,
                timezone: "UTC",
                currency: "USD",
                prices: &self.prices,
                price_currency: "USD",
                message: Subject {
                    id: MessageId::from_ulid(message << 10),
                    channel: Channel::Sms,
                    address: "+254700000001",
                    purpose: Purpose::Transactional,
                    topic: None,
                    template: None,
                    metadata: None,
                    segments: Some(2),
                    leaves_at: now(),
                    accepted_at: now(),
                },
                figures: &self.figures,
                default,
                registered: &Registered::default(),
                refuses,
            };
            route(&facts, now())
        }

        fn decided(&self) -> Decision {
            match self.ask(1) {
                Routed::To(decision) => *decision,
                other => panic!("{other:?}"),
            }
        }
    }

    fn soon() -> Timestamp {
        now().plus_seconds(600)
    }

    #[test]
    fn the_cheapest_that_works_is_taken_and_the_reasons_are_told() {
        let rule = listed(
            "lowest_price",
            &[(A, r#", "price_micros": 9000"#), (B, r#", "price_micros": 3000"#), (C, r#", "price_micros": 3750"#)],
        );
        let decision =
            Scene::of(&[format!(r#""match": {{"countries": ["KE"]}}, {rule}"#)]).failing(B, soon()).decided();
        assert_eq!((decision.account_id, decision.waits), (C, false));
        assert_eq!(
            decision.why,
            "the cheapest of 3 for KE at 0.0075 USD; B skipped: failing since 14:02 UTC (account: 20003), tried again at 14:20 UTC"
        );
        let told: Vec<_> = decision.considered.iter().map(|one| (one.account_id, one.verdict)).collect();
        assert_eq!(told, [(B, Verdict::Skipped), (C, Verdict::Chosen), (A, Verdict::Next)]);
        assert_eq!(decision.considered[2].figure.as_deref(), Some("0.018 USD"));
    }

    #[test]
    fn rules_are_asked_in_order_and_what_matches_none_is_left_alone() {
        let uganda = format!(r#""match": {{"countries": ["UG"]}}, {}"#, listed("priority", &[(A, "")]));
        let kenya = format!(r#""match": {{"countries": ["KE"]}}, {}"#, listed("priority", &[(B, ""), (A, "")]));
        let all = listed("priority", &[(C, "")]);
        let decision = Scene::of(&[uganda.clone(), kenya, all]).decided();
        assert_eq!((decision.account_id, decision.rule.as_deref()), (B, Some("Rule 2")));
        assert_eq!(Scene::of(&[uganda]).ask(1), Routed::Unruled);
    }

    #[test]
    fn what_cannot_be_used_is_skipped_and_said_so() {
        let rule = || vec![listed("priority", &[(AccountId::from_ulid(1), ""), (A, ""), (B, ""), (C, "")])];
        let scene = Scene::of(&rule())
            .with(A, |account| account.is_enabled = false)
            .with(B, |account| account.channels.clear());
        let decision = scene.decided();
        assert_eq!(decision.account_id, C);
        let told: Vec<_> = decision.considered.iter().filter_map(|one| one.why.as_deref()).collect();
        assert_eq!(told, ["deleted", "disabled", "does not carry sms any more"]);
        let heavy = |account: &Account| (account.id != B).then(|| "cannot carry it".to_owned());
        let Routed::To(decision) = Scene::of(&rule()).ask_with(1, &heavy) else { panic!("B can") };
        assert_eq!(decision.account_id, B);
    }

    #[test]
    fn a_rule_whose_accounts_fail_hands_on_or_waits() {
        let hands_on = listed("priority", &[(A, ""), (B, "")]);
        let waits = format!(r#"{hands_on}, "otherwise": "wait""#);
        let next = listed("priority", &[(C, "")]);
        let both = |scene: Scene| scene.failing(A, soon()).failing(B, soon());
        let decision = both(Scene::of(&[hands_on.clone(), next.clone()])).decided();
        assert_eq!((decision.account_id, decision.rule.as_deref(), decision.passed.len()), (C, Some("Rule 2"), 1));
        let decision = both(Scene::of(std::slice::from_ref(&hands_on))).decided();
        assert_eq!((decision.account_id, decision.rule_id, decision.waits), (D, None, false), "the default account");
        let decision = both(Scene::of(&[hands_on])).failing(D, soon()).decided();
        assert_eq!((decision.account_id, decision.rule.as_deref(), decision.waits), (A, Some("Rule 1"), true));
        assert!(decision.passed.is_empty(), "{decision:?}");
        let decision = both(Scene::of(&[waits.clone(), next])).decided();
        assert_eq!((decision.account_id, decision.waits), (A, true));
        let gone = Scene::of(&[waits]).with(A, |account| account.is_enabled = false);
        let gone = gone.with(B, |account| account.is_enabled = false);
        let Routed::Nowhere(passed) = gone.ask(1) else { panic!("it may go nowhere else") };
        assert_eq!(passed[0].why, "A disabled, B disabled");
    }

    #[test]
    fn weights_are_shares_and_the_same_message_goes_the_same_way() {
        let scene = Scene::of(&[listed(
            "weight",
            &[(A, r#", "weight": 3"#), (B, r#", "weight": 1"#), (C, r#", "weight": 0"#)],
        )]);
        let choose = |scene: &Scene, message| match scene.ask(message) {
            Routed::To(decision) => decision.account_id,
            other => panic!("{other:?}"),
        };
        let mut counts = [0; 3];
        for message in 1..=4_000 {
            let chosen = choose(&scene, message);
            assert_eq!(chosen, choose(&scene, message));
            counts[[A, B, C].iter().position(|id| *id == chosen).unwrap()] += 1;
        }
        assert!((2_880..=3_120).contains(&counts[0]), "{counts:?}");
        assert_eq!(counts[2], 0, "{counts:?}");
        // Without A its messages spread, and B keeps its own.
        let kept: Vec<u128> = (1..=500).filter(|message| choose(&scene, *message) == B).collect();
        let without = scene.with(A, |account| account.is_enabled = false);
        assert!(kept.iter().all(|message| choose(&without, *message) == B));
        let alone = without.with(B, |account| account.is_enabled = false);
        assert_eq!(choose(&alone, 1), C, "a weight of 0 steps in");
    }

    #[test]
    fn the_best_rate_wins_and_too_few_messages_say_nothing() {
        let score = |delivered, ended| Score { delivered, ended, ..Score::default() };
        let scene = Scene::of(&[listed("best_delivery_rate", &[(A, ""), (B, ""), (C, "")])])
            .scored(A, 24, score(950, 1_000))
            .scored(B, 24, score(982, 1_000))
            .scored(C, 24, score(19, 19));
        let mut tried = 0;
        for message in 1..=1_000 {
            let Routed::To(decision) = scene.ask(message) else { panic!("it matches") };
            tried += u32::from(decision.account_id == C);
            if decision.account_id != C {
                assert_eq!(decision.account_id, B);
                assert_eq!(decision.why, "the best delivery rate of 3 for KE: 98.2 % of 1000 delivered in 24 h");
            }
        }
        assert!((20..=90).contains(&tried), "one in twenty finds out about C: {tried}");
    }

    #[test]
    fn the_healthiest_wins_and_equals_stay_in_order() {
        let score = |good, attempts| Score { good, attempts, ..Score::default() };
        let rule = || vec![listed("health", &[(A, ""), (B, ""), (C, "")])];
        let scene = Scene::of(&rule()).scored(A, 1, score(90, 100)).scored(B, 1, score(991, 1_000));
        assert_eq!(scene.decided().account_id, C, "nothing speaks against it");
        let scene = scene.scored(C, 1, score(99, 100));
        assert_eq!(scene.decided().account_id, B, "99 percent like C, and listed before");
    }

    #[test]
    fn an_account_that_failed_is_tried_out_by_a_few_and_then_by_all() {
        let rule = || vec![listed("priority", &[(A, ""), (B, "")])];
        let chosen = |until: Timestamp| {
            let scene = Scene::of(&rule()).failing(A, until);
            let asked = (1..=400).filter(|message| match scene.ask(*message) {
                Routed::To(decision) => decision.account_id == A,
                _ => false,
            });
            asked.count()
        };
        assert_eq!(chosen(now().plus_millis(1)), 0);
        assert!((8..=40).contains(&chosen(now().plus_seconds(-5))), "one in twenty");
        assert_eq!(chosen(now().plus_seconds(-60)), 400);
    }

    #[test]
    fn prices_read_as_people_write_them() {
        for (micros, text) in
            [(7_500, "0.0075"), (1_000_000, "1.00"), (10_000, "0.01"), (123_456_789, "123.456789"), (0, "0.00")]
        {
            assert_eq!(amount(micros), text);
        }
    }
}
