//! How an account does: whether its circuit lets messages through, and what came of its attempts over the last day. Read from sums that are written with the attempts; nothing is
//! counted when somebody asks, and rules choose by the same numbers ([`crate::routing::figures`]).

use std::collections::BTreeMap;

use model::{AccountId, Failure, TenantId, Timestamp};
use serde::Serialize;
use store::{
    Scope, Tx,
    account_states::{self, AccountState},
    attempt_counters::{self, Counts, TOOK_MS},
    message_counters::{self, Filter, Split},
};
use utoipa::ToSchema;

use super::find;
use crate::{
    Engine, Error, Parts,
    analytics::quantile,
    keys::Caller,
    routing::figures::{self, Circuit, CircuitState},
};

/// Hours that are shown, the current one among them.
const HOURS: i64 = 24;
/// How long sums are kept, in seconds: as far as a rule looks back, and a day more.
const KEPT_S: i64 = 8 * 86_400;

/// How an account does.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct AccountHealth {
    /// Which account.
    #[schema(value_type = String)]
    pub account_id: AccountId,
    /// Whether its circuit lets messages through.
    pub circuit: CircuitView,
    /// All of the last 24 hours.
    pub last_24h: AttemptFigures,
    /// Of its messages of the last 24 hours, the share that arrived among those whose end is known, 0 to 1. Where a provider reports no arrivals: of those it took and did not return.
    #[schema(example = 0.982)]
    pub delivery_rate: Option<f64>,
    /// The last failure of the last eight days.
    pub last_error: Option<LastError>,
    /// The last 24 hours, oldest first; the last one is under way.
    pub hours: Vec<HealthHour>,
    /// When this was true.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
}

/// Whether messages leave through an account.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct CircuitView {
    /// `closed`: they do. `throttled`: they wait a moment. `open`: nothing leaves. `half_open`: one at a time tries it out.
    pub state: CircuitState,
    /// Since when it has failed.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub since: Option<Timestamp>,
    /// When it is tried again.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub until: Option<Timestamp>,
    /// Why it is open.
    #[schema(value_type = Option<Object>)]
    pub failure: Option<Failure>,
}

/// Sums over attempts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, ToSchema)]
pub struct AttemptFigures {
    /// Attempts that ended.
    #[schema(example = 1_204)]
    pub attempts: i64,
    /// The provider took the message.
    #[schema(example = 1_180)]
    pub accepted: i64,
    /// Refused because of the recipient or the content: that says nothing about the provider.
    #[schema(example = 12)]
    pub refused: i64,
    /// The provider wanted less.
    #[schema(example = 8)]
    pub throttled: i64,
    /// The provider or the way to it was out of order.
    #[schema(example = 3)]
    pub unavailable: i64,
    /// The account failed by itself.
    #[schema(example = 0)]
    pub account: i64,
    /// Nobody can say whether the provider took the message.
    #[schema(example = 1)]
    pub unknown: i64,
    /// Attempts that do not speak against the provider, of all: 0 to 1. `null` without attempts.
    #[schema(example = 0.99)]
    pub success_rate: Option<f64>,
    /// Attempts the provider wanted fewer of, of all: 0 to 1.
    #[schema(example = 0.0066)]
    pub throttled_share: Option<f64>,
    /// Time within which half of the attempts that asked the provider were answered, refusals among them, in milliseconds. 30,000 stands for longer, too, and for no answer at all.
    #[schema(example = 180)]
    pub p50_ms: Option<i64>,
    /// The same of 95 in a hundred.
    #[schema(example = 740)]
    pub p95_ms: Option<i64>,
}

/// One hour.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct HealthHour {
    /// When it began.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// What came of its attempts.
    #[serde(flatten)]
    pub figures: AttemptFigures,
}

/// A failure of an attempt.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct LastError {
    /// What class of failure.
    #[schema(example = "throttled")]
    pub kind: String,
    /// The provider's code, or ours.
    #[schema(example = "20429")]
    pub code: String,
    /// What happened and what to do.
    pub detail: String,
    /// When it was recorded.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
}

/// How an account did in the last 24 hours, in short.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct ShortHealth {
    /// Whether its circuit lets messages through.
    pub circuit: CircuitState,
    /// Attempts that ended.
    #[schema(example = 1_204)]
    pub attempts: i64,
    /// Attempts that do not speak against the provider, of all: 0 to 1. `null` without attempts.
    #[schema(example = 0.99)]
    pub success_rate: Option<f64>,
}

impl ShortHealth {
    pub(super) fn of(running: Option<&AccountState>, lately: Option<&Counts>, now: Timestamp) -> Self {
        let attempts = lately.map_or(0, Counts::attempts);
        let good = lately.map_or(0, figures::good);
        Self { circuit: Circuit::of(running, now).state(), attempts, success_rate: share(good, attempts) }
    }
}

impl AttemptFigures {
    fn of(counts: &Counts) -> Self {
        let [accepted, recipient, opted_out, content, throttled, unavailable, account, unknown] = counts.outcomes;
        let attempts = counts.attempts();
        Self {
            attempts,
            accepted,
            refused: recipient + opted_out + content,
            throttled,
            unavailable,
            account,
            unknown,
            success_rate: share(figures::good(counts), attempts),
            throttled_share: share(throttled, attempts),
            p50_ms: quantile(&counts.took, &TOOK_MS, 50),
            p95_ms: quantile(&counts.took, &TOOK_MS, 95),
        }
    }
}

impl CircuitView {
    fn of(circuit: Circuit) -> Self {
        let state = circuit.state();
        let (since, until, failure) = match circuit {
            Circuit::Closed => (None, None, None),
            Circuit::Throttled { until } => (None, Some(until), None),
            Circuit::Open { since, until, failure } => (since, Some(until), failure),
            Circuit::HalfOpen { since, failure, .. } => (since, None, failure),
        };
        Self { state, since, until, failure }
    }
}

/// A share with four decimals; `None` of nothing.
fn share(part: i64, whole: i64) -> Option<f64> {
    (whole > 0).then(|| (part as f64 / whole as f64 * 10_000.0).round() / 10_000.0)
}

fn first_hour(now: Timestamp) -> Timestamp {
    attempt_counters::slot(now.plus_seconds(-(HOURS - 1) * attempt_counters::SLOT_S))
}

/// The sums of the last 24 hours by account; of one account where one is given.
pub(super) async fn lately(
    tx: &mut Tx,
    tenant: TenantId,
    account: Option<AccountId>,
    now: Timestamp,
) -> Result<BTreeMap<AccountId, Counts>, store::Error> {
    let mut sums: BTreeMap<AccountId, Counts> = BTreeMap::new();
    for (key, counts) in attempt_counters::since(tx, tenant, account, first_hour(now)).await? {
        sums.entry(key.account_id).or_default().merge(&counts);
    }
    Ok(sums)
}

/// Tells how an account does. Needs the scope `accounts:read`.
#[crate::boxed]
pub async fn health(parts: &Parts, caller: &Caller, id: AccountId) -> Result<AccountHealth, Error> {
    caller.need("accounts:read")?;
    let tenant = caller.need_tenant()?;
    let now = parts.ports.clock.now();
    let read = parts.ports.db.read(caller.reach(), move |tx| {
        Box::pin(async move {
            let row = find(tx, tenant, id).await?;
            let states = account_states::of_tenant(tx, tenant).await?;
            let sums = attempt_counters::since(tx, tenant, Some(id), now.plus_seconds(-KEPT_S)).await?;
            let filter = Filter {
                from: message_counters::slot(now.plus_seconds(-HOURS * attempt_counters::SLOT_S)),
                until: now.plus_seconds(1),
                account_id: Some(id),
                ..Filter::default()
            };
            let messages = message_counters::sums(tx, Some(tenant), &filter, Split::default(), 1).await?;
            let has_receipts =
                connectors::registry::find(&row.connector).is_some_and(|connector| connector.spec().has_receipts);
            Ok::<_, Error>((states, sums, messages, has_receipts))
        })
    });
    let (states, sums, messages, has_receipts) = read.await?;
    let state = states.iter().find(|state| state.account_id == id);
    let score = messages.first().map(|(_, counts)| figures::arrivals(counts, has_receipts)).unwrap_or_default();
    let from = first_hour(now);
    let mut all = Counts::default();
    let mut by_hour: BTreeMap<Timestamp, Counts> = BTreeMap::new();
    for hour in 0..HOURS {
        by_hour.insert(from.plus_seconds(hour * attempt_counters::SLOT_S), Counts::default());
    }
    for (key, counts) in sums.iter().filter(|(key, _)| key.at >= from) {
        all.merge(counts);
        by_hour.entry(key.at).or_default().merge(counts);
    }
    let failed = sums.iter().filter(|(_, counts)| counts.failure.is_some());
    let last =
        failed.max_by(|(_, one), (_, other)| (one.failed_at, &one.failure).cmp(&(other.failed_at, &other.failure)));
    let last_error = last.and_then(|(_, counts)| {
        let failure: Failure = serde_json::from_str(counts.failure.as_deref()?).ok()?;
        Some(LastError {
            kind: failure.kind.to_string(),
            code: failure.code,
            detail: failure.detail,
            at: counts.failed_at?,
        })
    });
    Ok(AccountHealth {
        account_id: id,
        circuit: CircuitView::of(Circuit::of(state, now)),
        last_24h: AttemptFigures::of(&all),
        delivery_rate: share(score.delivered, score.ended),
        last_error,
        hours: by_hour
            .into_iter()
            .map(|(at, counts)| HealthHour { at, figures: AttemptFigures::of(&counts) })
            .collect(),
        at: now,
    })
}

/// Forgets sums older than eight days. Run every hour.
#[crate::boxed]
pub async fn purge(engine: &Engine) -> Result<u64, Error> {
    let before = attempt_counters::slot(engine.ports.clock.now().plus_seconds(-KEPT_S));
    let purge = engine
        .ports
        .db
        .write(Scope::System, move |tx| Box::pin(async move { attempt_counters::purge(tx, before).await }));
    purge.await.map_err(Error::from)
}
