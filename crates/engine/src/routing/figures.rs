//! What is known of accounts when a rule chooses: circuits, and sums over their messages and attempts. Read together for a tenant that has rules, kept with the
//! cached tenant for a moment, and the same numbers as people see in `GET /v1/accounts/{id}/health`.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use model::{AccountId, Channel, Failure, Timestamp};
use serde::Serialize;
use store::{
    Scope, Tx,
    account_states::{self, AccountState},
    attempt_counters,
    message_counters::{self, Filter, Split},
};
use utoipa::ToSchema;

use super::rule::Rule;
use crate::{Engine, Error, directory::Tenant};

/// How old circuits may be when a rule looks at them, in milliseconds: what was accepted for a failing account meanwhile goes another way when its attempt fails.
const CIRCUITS_MS: i64 = 2_000;
/// How old sums may be, in milliseconds: a rate over hours hardly changes within a minute, and reading it costs more.
const SUMS_MS: i64 = 60_000;
/// Sums read at most: each account and channel is one.
const SUMS_MAX: i64 = 2_000;

/// Whether messages leave through an account now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Circuit {
    /// They do.
    Closed,
    /// The provider wants less for a moment.
    Throttled {
        /// When it takes more.
        until: Timestamp,
    },
    /// It fails: nothing leaves.
    Open {
        /// Since when it has failed.
        since: Option<Timestamp>,
        /// When it is tried again.
        until: Timestamp,
        /// Why.
        failure: Option<Failure>,
    },
    /// It failed, and the next message tries it out.
    HalfOpen {
        /// Since when it has failed.
        since: Option<Timestamp>,
        /// Since when it may be tried.
        from: Option<Timestamp>,
        /// Why it failed.
        failure: Option<Failure>,
    },
}

/// The state of a circuit as people see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CircuitState {
    /// Messages leave.
    Closed,
    /// The provider asked for less; they wait a moment.
    Throttled,
    /// The account fails; nothing leaves.
    Open,
    /// One message at a time tries it out.
    HalfOpen,
}

impl Circuit {
    /// What an account's running state means at an instant. Accounts without one are in good health.
    pub fn of(state: Option<&AccountState>, now: Timestamp) -> Self {
        let Some(state) = state else { return Self::Closed };
        let until = state.paused_until.filter(|until| *until > now);
        let failure = || state.pause.as_deref().and_then(|text| serde_json::from_str(text).ok());
        match (until, state.pause.is_some()) {
            (Some(until), true) => Self::Open { since: state.paused_at, until, failure: failure() },
            (Some(until), false) => Self::Throttled { until },
            (None, true) => Self::HalfOpen { since: state.paused_at, from: state.paused_until, failure: failure() },
            (None, false) => Self::Closed,
        }
    }

    /// As people see it.
    pub const fn state(&self) -> CircuitState {
        match self {
            Self::Closed => CircuitState::Closed,
            Self::Throttled { .. } => CircuitState::Throttled,
            Self::Open { .. } => CircuitState::Open,
            Self::HalfOpen { .. } => CircuitState::HalfOpen,
        }
    }
}

/// What came of an account's messages and attempts over some hours.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Score {
    /// Messages that arrived.
    pub delivered: i64,
    /// Messages whose end is known: arrived, failed or bounced. Where nothing reports arrivals: taken by the provider, or failed.
    pub ended: i64,
    /// Attempts.
    pub attempts: i64,
    /// Those that do not speak against the provider: taken, or refused because of the recipient or the content.
    pub good: i64,
}

/// What is known of a tenant's accounts.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    states: HashMap<AccountId, AccountState>,
    states_at: Timestamp,
    scores: BTreeMap<(u32, Channel), HashMap<AccountId, Score>>,
    sums_at: Timestamp,
}

impl Figures {
    /// An account's circuit.
    pub fn circuit(&self, account: AccountId, now: Timestamp) -> Circuit {
        Circuit::of(self.states.get(&account), now)
    }

    /// What came of an account's messages over a channel in the last hours.
    pub fn score(&self, account: AccountId, channel: Channel, hours: u32) -> Score {
        self.scores.get(&(hours, channel)).and_then(|scores| scores.get(&account)).copied().unwrap_or_default()
    }

    /// The same with a state and a score, for tables of examples.
    #[cfg(test)]
    pub fn with(mut self, state: AccountState, scores: &[(u32, Channel, Score)]) -> Self {
        for (hours, channel, score) in scores {
            self.scores.entry((*hours, *channel)).or_default().insert(state.account_id, *score);
        }
        self.states.insert(state.account_id, state);
        self
    }
}

/// A tenant's rules in the order they are asked, and what is known of the accounts they choose among. Tenants without rules have an empty one, and nothing is read for them.
#[derive(Debug, Default)]
pub struct Routes {
    rules: Vec<Rule>,
    figures: Mutex<Option<Arc<Figures>>>,
}

impl Routes {
    /// Rules by channel and in their order.
    pub(crate) fn new(rules: Vec<Rule>) -> Self {
        Self { rules, figures: Mutex::new(None) }
    }

    /// True when it has no rule at all.
    pub const fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// The rules about a channel that count.
    pub fn about(&self, channel: Channel) -> impl Iterator<Item = &Rule> {
        self.rules.iter().filter(move |rule| rule.channel == channel && rule.is_enabled)
    }

    /// What was known last, without a look at the database.
    pub(crate) fn known(&self) -> Arc<Figures> {
        self.lock().clone().unwrap_or_default()
    }

    /// Makes the next look at circuits read them: one of them has just changed.
    pub(crate) fn forget_circuits(&self) {
        if let Some(figures) = self.lock().as_mut() {
            Arc::make_mut(figures).states_at = Timestamp::EPOCH;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Arc<Figures>>> {
        self.figures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How far back rules look, by channel.
    fn looks_back(&self) -> BTreeSet<(u32, Channel)> {
        self.rules.iter().filter_map(|rule| Some((rule.choice.looks_back_h()?, rule.channel))).collect()
    }
}

impl Engine {
    /// What is known of a tenant's accounts; `None` for tenants without rules, for which nothing is read.
    pub(crate) async fn figures(&self, tenant: &Tenant) -> Result<Option<Arc<Figures>>, Error> {
        if tenant.routes.is_empty() {
            return Ok(None);
        }
        let now = self.ports.clock.now();
        let known = tenant.routes.known();
        // The clock may have been set back.
        let is_fresh = |at: Timestamp, max_ms: i64| (0..max_ms).contains(&now.millis_since(at));
        let wanted = tenant.routes.looks_back();
        let needs_sums = !wanted.is_empty() && !is_fresh(known.sums_at, SUMS_MS);
        if is_fresh(known.states_at, CIRCUITS_MS) && !needs_sums {
            return Ok(Some(known));
        }
        let id = tenant.id;
        let no_receipts: BTreeSet<AccountId> = tenant
            .accounts
            .iter()
            .filter(|account| !account.connector.spec().has_receipts)
            .map(|account| account.id)
            .collect();
        let read = self.ports.db.read(Scope::Tenant(id), move |tx| {
            Box::pin(async move {
                let states = account_states::of_tenant(tx, id).await?;
                let mut scores = BTreeMap::new();
                if needs_sums {
                    for (hours, channel) in wanted {
                        scores.insert((hours, channel), scores_of(tx, id, channel, hours, &no_receipts, now).await?);
                    }
                }
                Ok::<_, store::Error>((states, scores))
            })
        });
        let (states, scores) = read.await.map_err(Error::from)?;
        let figures = Arc::new(Figures {
            states: states.into_iter().map(|state| (state.account_id, state)).collect(),
            states_at: now,
            scores: if needs_sums { scores } else { known.scores.clone() },
            sums_at: if needs_sums { now } else { known.sums_at },
        });
        *tenant.routes.lock() = Some(Arc::clone(&figures));
        Ok(Some(figures))
    }
}

/// What came of a tenant's messages over a channel in the last hours, by account.
async fn scores_of(
    tx: &mut Tx,
    tenant: model::TenantId,
    channel: Channel,
    hours: u32,
    no_receipts: &BTreeSet<AccountId>,
    now: Timestamp,
) -> Result<HashMap<AccountId, Score>, store::Error> {
    let from = now.plus_seconds(-i64::from(hours) * 3_600);
    let filter = Filter {
        from: message_counters::slot(from),
        until: now.plus_seconds(1),
        channel: Some(channel),
        ..Filter::default()
    };
    let split = Split { account: true, ..Split::default() };
    let mut scores: HashMap<AccountId, Score> = HashMap::new();
    for (key, counts) in message_counters::sums(tx, Some(tenant), &filter, split, SUMS_MAX).await? {
        scores.insert(key.account_id, arrivals(&counts, !no_receipts.contains(&key.account_id)));
    }
    for (key, counts) in attempt_counters::since(tx, tenant, None, attempt_counters::slot(from)).await? {
        let score = scores.entry(key.account_id).or_default();
        score.attempts += counts.attempts();
        score.good += good(&counts);
    }
    Ok(scores)
}

/// How many messages arrived, and of how many the end is known.
pub(crate) fn arrivals(counts: &message_counters::Counts, has_receipts: bool) -> Score {
    let outcome = counts.outcome;
    if !has_receipts {
        return without_receipts(counts);
    }
    let ended = outcome.delivered + outcome.failed + outcome.bounced;
    Score { delivered: outcome.delivered, ended, ..Score::default() }
}

/// The same of a provider that reports no deliveries: what it took and did not return counts as arrived.
///
/// What such a provider refuses was not sent, so the two add up; where it says later of what it took that it failed, as Amazon SNS does in its logs, one message is both. Nothing is more than
/// the messages that left the queue, so what goes beyond them is counted twice.
pub(crate) fn without_receipts(counts: &message_counters::Counts) -> Score {
    let o = counts.outcome;
    let left = o.accepted - counts.waiting - o.canceled - o.expired - o.suppressed - o.unknown;
    let ended = (o.sent + o.failed).min(left.max(o.sent));
    Score { delivered: (ended - o.failed - o.bounced).max(0), ended, ..Score::default() }
}

/// Attempts that do not speak against the provider: what is wrong with a recipient or a content would be wrong anywhere.
pub(crate) fn good(counts: &attempt_counters::Counts) -> i64 {
    counts.outcomes[..4].iter().sum()
}
