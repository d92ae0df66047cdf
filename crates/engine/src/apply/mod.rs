//! Apply: the only writer of message state.
//!
//! Ends of attempts, providers' reports, polls, cancellations, expiries and what recovery finds all come here as [`Input`]s. A group of them is one transaction: the rows are
//! locked, the pure rules ([`model::step`], [`conclude`], [`health`]) say what changes, and message, attempt, observation, next delivery, events, usage and account
//! health are written together. Facts may come late, twice or shuffled; rows and counters end up the same.

mod changes;
pub mod conclude;
mod early;
pub mod fallback;
mod fold;
pub mod health;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use connectors::{Outcome, Pricing};
use model::{AccountId, Fact, Failure, FailureKind, MessageId, Money, TenantId, Timestamp};
use store::{
    Scope, Tx,
    account_states::{self, AccountState},
    attempts, consents, deliveries, fallbacks,
    inflight::{self, Flight},
    messages::{self, Message},
    reports, suppressions,
};

use self::fold::{Fold, Means, Ways};
pub use self::{changes::Change, early::EarlyPayload};
use crate::{
    Engine, Error,
    consent::{notice, screen::Ruling},
    directory::{Account, Tenant},
    engine::Tenants,
    money::purse::{self, Purses},
    plans::quota::Rooms,
    routing::again::{self, Because, History},
    writes::Writes,
};

/// Attempts and facts in one transaction.
pub(crate) const COMMIT_MAX: usize = 1_024;
/// Newest messages to an address among which one that arrived is looked for, when it bounced softly often enough.
const ARRIVALS_MAX: i64 = 200;
/// Messages moved on in one go.
const OVERDUE_PAGE: i64 = 500;

/// Something that became known.
#[derive(Clone)]
pub enum Input {
    /// Attempts that ended.
    Finished(Vec<Finished>),
    /// Facts about messages, from wherever.
    Learned(Vec<Learned>),
    /// Attempts whose process is gone.
    Abandoned(Vec<Flight>),
    /// The provider was asked and this is what it leaves us with.
    Asked(Vec<AskedAbout>),
    /// Messages to be withdrawn before they leave: canceled or expired.
    Withdrawn(Vec<Withdrawn>),
    /// Messages that wait for an account that was deleted, or that fails.
    Rerouted(Vec<Rerouted>),
    /// Messages that wait, to wait for another time.
    Moved(Vec<Moved>),
    /// Messages that were claimed and then found to be held back: their request never left.
    Held(Vec<Held>),
    /// Messages that were sent and did not arrive in time.
    Overdue(Vec<(TenantId, MessageId)>),
}

/// An attempt that ended.
#[derive(Clone)]
pub struct Finished {
    /// The attempt.
    pub flight: Flight,
    /// Its account, unless that is gone.
    pub account: Option<Arc<Account>>,
    /// How it ended.
    pub outcome: Outcome,
    /// Redacted request and answer, as JSON.
    pub exchange: Option<String>,
    /// How long the exchange took, in milliseconds; [`UNANSWERED_MS`](store::attempt_counters::UNANSWERED_MS) when no answer came, `None` when nobody was asked.
    pub took_ms: Option<i64>,
    /// How much was handed to the provider, in bytes; `None` when nothing was.
    pub bytes: Option<i64>,
    /// Set by apply.
    pub finished_at: Timestamp,
}

/// A fact about a message.
#[derive(Debug, Clone, PartialEq)]
pub struct Learned {
    /// Whose.
    pub tenant_id: TenantId,
    /// Which message.
    pub message_id: MessageId,
    /// What happened.
    pub fact: Fact,
    /// When.
    pub at: Timestamp,
    /// Who says so: `provider`, `poll`, `sandbox`, or an actor.
    pub source: String,
    /// Makes a repeated report the same; unique per message.
    pub dedupe: String,
    /// The provider's own status word.
    pub provider_status: Option<String>,
    /// The provider's id, when it becomes known by this.
    pub provider_message_id: Option<String>,
    /// Parts the provider counted.
    pub segments: Option<u32>,
    /// The price it names.
    pub price: Option<Money>,
    /// As what kind of message it billed it.
    pub pricing: Option<Pricing>,
    /// Why it was a machine that opened or clicked; `None` when a person may have.
    pub machine: Option<&'static str>,
    /// Which attempt it speaks of, when the provider echoes it.
    pub attempt: Option<u32>,
}

/// What asking a provider left us with, besides facts (which are [`Learned`]).
#[derive(Debug, Clone)]
pub struct AskedAbout {
    /// Whose.
    pub tenant_id: TenantId,
    /// Which message.
    pub message_id: MessageId,
    /// True when the provider certainly never took the attempt.
    pub is_not_taken: bool,
    /// When to ask again, if it should be asked again.
    pub ask_again_at: Option<Timestamp>,
    /// True when asking is over and an unsettled at-least-once message is to be tried again.
    pub gives_up: bool,
}

/// A message that waits, and is to wait for another time.
#[derive(Debug, Clone)]
pub struct Moved {
    /// Whose.
    pub tenant_id: TenantId,
    /// Which message.
    pub message_id: MessageId,
    /// Not before this, and not before its own `send_at`.
    pub due_at: Timestamp,
}

/// A message to be withdrawn before it leaves.
#[derive(Debug, Clone)]
pub struct Withdrawn {
    /// Whose.
    pub tenant_id: TenantId,
    /// Which message.
    pub message_id: MessageId,
    /// `Canceled` or `Expired`.
    pub fact: Fact,
    /// Who did it: an actor, or `engine`.
    pub source: String,
}

/// A message that waits for an account that was deleted, or that fails.
#[derive(Debug, Clone)]
pub struct Rerouted {
    /// Whose.
    pub tenant_id: TenantId,
    /// Which message.
    pub message_id: MessageId,
    /// The account.
    pub account_id: AccountId,
    /// What is the matter with it.
    pub because: Because,
    /// Tries of the message that counted so far.
    pub tries: u32,
}

/// A message that was claimed and must not leave now.
#[derive(Debug, Clone)]
pub struct Held {
    /// The attempt that is not made.
    pub flight: Flight,
    /// Why.
    pub(crate) ruling: Ruling,
}

impl Input {
    /// Its share of a transaction.
    pub(crate) fn weight(&self) -> usize {
        self.keys().len()
    }

    fn keys(&self) -> Vec<(TenantId, MessageId)> {
        match self {
            Self::Finished(items) => items.iter().map(|item| (item.flight.tenant_id, item.flight.message_id)).collect(),
            Self::Learned(items) => items.iter().map(|item| (item.tenant_id, item.message_id)).collect(),
            Self::Abandoned(items) => items.iter().map(|item| (item.tenant_id, item.message_id)).collect(),
            Self::Asked(items) => items.iter().map(|item| (item.tenant_id, item.message_id)).collect(),
            Self::Withdrawn(items) => items.iter().map(|item| (item.tenant_id, item.message_id)).collect(),
            Self::Rerouted(items) => items.iter().map(|item| (item.tenant_id, item.message_id)).collect(),
            Self::Moved(items) => items.iter().map(|item| (item.tenant_id, item.message_id)).collect(),
            Self::Held(items) => items.iter().map(|item| (item.flight.tenant_id, item.flight.message_id)).collect(),
            Self::Overdue(items) => items.clone(),
        }
    }
}

/// Applies a group in one transaction; if that fails for a reason that may be one input's, each by itself.
pub(crate) async fn write(engine: &Engine, inputs: Vec<Input>) -> Vec<Result<(), Error>> {
    let inputs = Arc::new(inputs);
    let all: Vec<usize> = (0..inputs.len()).collect();
    match write_some(engine, Arc::clone(&inputs), all.clone()).await {
        Ok(()) => inputs.iter().map(|_| Ok(())).collect(),
        Err(error) if inputs.len() == 1 || error.kind == crate::ErrorKind::Unavailable => {
            inputs.iter().map(|_| Err(error.clone())).collect()
        }
        Err(_) => {
            let mut results = Vec::with_capacity(inputs.len());
            for index in all {
                results.push(write_some(engine, Arc::clone(&inputs), vec![index]).await);
            }
            results
        }
    }
}

/// What the transaction leaves for memory, once it is committed.
#[derive(Default)]
pub(crate) struct Aftermath {
    pauses: Vec<(AccountId, Option<Timestamp>, bool)>,
    due: Vec<(TenantId, AccountId, model::Class, Timestamp)>,
    told: Vec<TenantId>,
    /// What each fact that was given changed, in their order; for what was learned alone.
    pub(crate) changes: Vec<Vec<Change>>,
}

async fn write_some(engine: &Engine, inputs: Arc<Vec<Input>>, chosen: Vec<usize>) -> Result<(), Error> {
    let mut tenants = Tenants::new();
    for (tenant_id, _) in chosen.iter().flat_map(|index| inputs[*index].keys()) {
        if !tenants.contains_key(&tenant_id)
            && let Some(tenant) = engine.directory.tenant(tenant_id).await?
        {
            // What rules are asked with should a message need another account. Tenants without rules have none to read.
            engine.figures(&tenant).await?;
            tenants.insert(tenant_id, tenant);
        }
    }
    let ruled: Vec<Arc<Tenant>> = tenants.values().filter(|tenant| !tenant.routes.is_empty()).map(Arc::clone).collect();
    let troubled: Vec<AccountId> = engine.dispatcher.lanes().troubled();
    let (ids, now, shard) = (Arc::clone(&engine.ports.ids), engine.ports.clock.now(), engine.shard());
    let aftermath = engine
        .ports
        .db
        .write(Scope::System, move |tx| {
            Box::pin(async move {
                let chosen: Vec<&Input> = chosen.iter().map(|index| &inputs[*index]).collect();
                write_in(tx, &chosen, &tenants, &troubled, &ids, now, shard).await
            })
        })
        .await?;
    if !aftermath.pauses.is_empty() {
        ruled.iter().for_each(|tenant| tenant.routes.forget_circuits());
    }
    aftermath.remember(engine);
    Ok(())
}

impl Aftermath {
    /// Tells the dispatcher and the streams what was committed.
    pub(crate) fn remember(self, engine: &Engine) {
        for (account, until, is_probing) in self.pauses {
            engine.dispatcher.lanes().pause(account, until, is_probing);
        }
        for (tenant, account, class, due_at) in self.due {
            engine.dispatcher.nudge(tenant, account, class, due_at);
        }
        for tenant in self.told {
            engine.wakers.wake(tenant);
        }
    }
}

/// Applies inputs within a transaction that writes more than they do: callbacks with their log, and requests with their idempotency key. `troubled` are the accounts
/// known to be in trouble; it matters for ends of attempts only.
pub(crate) async fn write_in(
    tx: &mut Tx,
    inputs: &[&Input],
    tenants: &Tenants,
    troubled: &[AccountId],
    ids: &model::Ids,
    now: Timestamp,
    shard: i64,
) -> Result<Aftermath, Error> {
    let mut keys: Vec<_> = inputs.iter().flat_map(|input| input.keys()).collect();
    keys.sort_unstable();
    keys.dedup();
    let rows: HashMap<MessageId, Message> =
        messages::lock_many(tx, &keys).await?.into_iter().map(|message| (message.id, message)).collect();
    // Of two ends of one attempt in this transaction the first counts, and the second comes late.
    let mut held = end_flights(tx, inputs).await?;
    let early = early_reports(tx, inputs).await?;
    let ways = ways(tx, &rows).await?;
    let histories = histories(tx, inputs, &rows).await?;
    let purses = purses(tx, tenants, inputs, &rows, (&ways, &histories), now).await?;
    let rooms = rooms(tx, tenants, &rows, &ways).await?;
    let mut fold = Fold::new(rows, tenants, ids, now, ways, histories, Means { rooms, purses });
    let mut changes = Vec::new();
    for input in inputs {
        match input {
            Input::Finished(items) => {
                for item in items {
                    fold.finished(item, held.remove(&item.flight.message_id));
                }
            }
            Input::Learned(items) => {
                for item in items {
                    let changed = match is_anothers(tx, &fold, item).await? {
                        true => Vec::new(),
                        false => fold.learned(item),
                    };
                    changes.push(changed);
                }
            }
            Input::Abandoned(items) => {
                items.iter().filter(|item| held.remove(&item.message_id)).for_each(|item| fold.abandoned(item))
            }
            Input::Asked(items) => items.iter().for_each(|item| fold.asked(item)),
            Input::Withdrawn(items) => {
                for item in items {
                    if still_waits(tx, fold.row(item.message_id)).await? {
                        let doubt = doubt(tx, fold.row(item.message_id)).await?;
                        fold.withdrawn(item, doubt);
                    }
                }
            }
            Input::Moved(items) => {
                for item in items {
                    let row =
                        fold.row(item.message_id).filter(|m| m.due_at.is_some_and(|due_at| due_at != item.due_at));
                    if still_waits(tx, row).await? {
                        fold.moved(item);
                    }
                }
            }
            Input::Held(items) => {
                for item in items.iter().filter(|item| held.remove(&item.flight.message_id)) {
                    let doubt = doubt(tx, fold.row(item.flight.message_id)).await?;
                    fold.held(item, doubt);
                }
            }
            Input::Overdue(items) => items.iter().for_each(|(tenant, id)| fold.overdue(*tenant, *id)),
            Input::Rerouted(items) => {
                for item in items {
                    let row = fold
                        .row(item.message_id)
                        .filter(|m| m.account_id == Some(item.account_id) && m.due_at.is_some());
                    if still_waits(tx, row).await? {
                        fold.rerouted(item);
                    }
                }
            }
        }
    }
    early.iter().for_each(|report| fold.early(report));
    let pauses = account_health(tx, &mut fold, troubled).await?;
    notices(tx, &mut fold).await?;
    let (writes, mut due, told, rooms) = fold.into_writes();
    writes.write(tx, shard).await?;
    let mut notices = Writes::default();
    for (id, kind, data) in rooms.notices(tx, |id| tenants.get(&id).map(|tenant| &**tenant), now).await? {
        if let Some(tenant) = tenants.get(&id) {
            notices.event(tenant, kind, data.to_string(), now, ids);
        }
    }
    if !notices.events.is_empty() {
        notices.write(tx, shard).await?;
        due.extend(notices.deliveries.iter().map(|d| (d.tenant_id, d.account_id, d.class, d.due_at)));
    }
    Ok(Aftermath { pauses, due, told, changes })
}

/// What is left of credit for messages with another channel or account to go to. Costs nothing for the others, and where nobody pays ahead.
async fn purses(
    tx: &mut Tx,
    tenants: &Tenants,
    inputs: &[&Input],
    rows: &HashMap<MessageId, Message>,
    (ways, histories): (&Ways, &HashMap<MessageId, History>),
    now: Timestamp,
) -> Result<Purses, store::Error> {
    let rerouted = inputs.iter().filter(|input| matches!(input, Input::Rerouted(_))).flat_map(|input| input.keys());
    let moving: BTreeSet<MessageId> =
        ways.left.keys().chain(histories.keys()).copied().chain(rerouted.map(|(_, id)| id)).collect();
    let pays_ahead = |m: &&Message| tenants.get(&m.tenant_id).is_some_and(|tenant| purse::pays_ahead(tenant));
    let moving: Vec<&Message> = moving.iter().filter_map(|id| rows.get(id)).filter(pays_ahead).collect();
    if moving.is_empty() {
        return Ok(Purses::default());
    }
    Purses::lock(tx, rows.values().map(|m| m.tenant_id).collect(), &moving, now).await
}

/// True when a question was answered with what is, by its id, another message of ours. Costs nothing where the message's id was known.
async fn is_anothers(tx: &mut Tx, fold: &Fold<'_>, item: &Learned) -> Result<bool, store::Error> {
    let Some((m, id)) = fold.row(item.message_id).zip(item.provider_message_id.as_deref()) else { return Ok(false) };
    if item.source != "poll" || m.provider_message_id.as_deref() == Some(id) {
        return Ok(false);
    }
    let connector = m.connector.clone().unwrap_or_default();
    let is_taken_here = fold.has_taken(&connector, id);
    Ok(is_taken_here || messages::is_anothers(tx, &connector, id, (m.tenant_id, m.id)).await?)
}

/// What is left of plans for messages with another channel to go to. Costs nothing for messages with one channel.
async fn rooms(
    tx: &mut Tx,
    tenants: &Tenants,
    rows: &HashMap<MessageId, Message>,
    ways: &Ways,
) -> Result<Rooms, store::Error> {
    let left = ways.left.values().filter_map(|left| Some((rows.get(&left.message_id)?, fallback::steps(&left.rest))));
    let wanted: BTreeSet<_> =
        left.flat_map(|(m, steps)| steps.into_iter().map(|step| (m.tenant_id, step.channel, m.created_at))).collect();
    if wanted.is_empty() {
        return Ok(Rooms::default());
    }
    let mut batch: BTreeMap<TenantId, (&Tenant, Timestamp)> = BTreeMap::new();
    for m in rows.values() {
        if let Some(tenant) = tenants.get(&m.tenant_id) {
            let since = &mut batch.entry(m.tenant_id).or_insert((&**tenant, m.created_at)).1;
            *since = (*since).min(m.created_at);
        }
    }
    Rooms::lock(tx, &batch, &wanted).await
}

/// The channels left to messages, and the ways they went before. Costs nothing for messages with one channel.
async fn ways(tx: &mut Tx, rows: &HashMap<MessageId, Message>) -> Result<Ways, Error> {
    let mut keys: Vec<_> = rows.values().filter(|m| fallback::may_move_on(m)).map(|m| (m.tenant_id, m.id)).collect();
    keys.sort_unstable();
    let mut ways = Ways::default();
    if keys.is_empty() {
        return Ok(ways);
    }
    for row in fallbacks::find_many(tx, &keys).await? {
        ways.left.insert(row.message_id, row);
    }
    for route in fallbacks::former(tx, &keys).await? {
        ways.former.entry(route.message_id).or_default().push(route);
    }
    Ok(ways)
}

/// What was tried for messages that may go through another account. Costs nothing for messages no rule decided about.
async fn histories(
    tx: &mut Tx,
    inputs: &[&Input],
    rows: &HashMap<MessageId, Message>,
) -> Result<HashMap<MessageId, History>, store::Error> {
    let mut moving: Vec<&Message> = Vec::new();
    let ruled = |id: &MessageId| rows.get(id).filter(|m| again::was_ruled(m));
    for input in inputs {
        match input {
            Input::Finished(items) => moving.extend(items.iter().filter_map(|item| match &item.outcome {
                Outcome::Refused(failure) if again::allows(failure) => ruled(&item.flight.message_id),
                Outcome::Refused(_) | Outcome::Accepted(_) => None,
            })),
            Input::Rerouted(items) => moving.extend(items.iter().filter_map(|item| ruled(&item.message_id))),
            Input::Learned(_)
            | Input::Abandoned(_)
            | Input::Asked(_)
            | Input::Withdrawn(_)
            | Input::Moved(_)
            | Input::Held(_)
            | Input::Overdue(_) => {}
        }
    }
    if moving.is_empty() { Ok(HashMap::new()) } else { again::histories(tx, &moving).await }
}

/// Moves messages on that were sent and did not arrive in time. Run every second; answers how many were looked at.
#[crate::boxed]
pub async fn move_on(engine: &Engine) -> Result<u64, Error> {
    let now = engine.ports.clock.now();
    let due = engine
        .ports
        .db
        .read(Scope::System, move |tx| Box::pin(async move { fallbacks::due(tx, now, OVERDUE_PAGE).await }))
        .await
        .map_err(Error::from)?;
    let count = due.len();
    if count > 0 {
        let applied = engine.applies.submit(Input::Overdue(due), count).await;
        applied.unwrap_or_else(|| Err(Error::internal("moving messages on panicked")))?;
    }
    Ok(count as u64)
}

/// True when a message can still be withdrawn: its due work is there and nobody is taking it, or it waits for an answer about an earlier attempt.
async fn still_waits(tx: &mut Tx, row: Option<&Message>) -> Result<bool, Error> {
    let Some(m) = row else { return Ok(false) };
    if let (Some(account), Some(due_at)) = (m.account_id, m.due_at) {
        return Ok(deliveries::find(tx, account, m.class, due_at, m.id).await?.is_some());
    }
    Ok(inflight::find_many(tx, &[m.id]).await?.is_empty())
}

/// Why nobody can say whether one of a message's attempts reached the recipient, if there is such an attempt.
async fn doubt(tx: &mut Tx, row: Option<&Message>) -> Result<Option<Failure>, Error> {
    let Some(m) = row.filter(|m| m.attempts > 0) else { return Ok(None) };
    let attempts = attempts::of_message(tx, m.tenant_id, m.id).await?;
    let unknown = attempts.iter().rfind(|attempt| attempt.outcome == FailureKind::Unknown.code());
    Ok(unknown.and_then(|attempt| serde_json::from_str(attempt.failure.as_deref()?).ok()))
}

/// Ends the flights the inputs speak of, and says which were still there: a worker that was taken for dead finds its own gone.
async fn end_flights(tx: &mut Tx, inputs: &[&Input]) -> Result<std::collections::HashSet<MessageId>, Error> {
    let mut flights: Vec<Flight> = Vec::new();
    for input in inputs {
        match input {
            Input::Finished(items) => flights.extend(items.iter().map(|item| item.flight.clone())),
            Input::Abandoned(items) => flights.extend(items.iter().cloned()),
            Input::Held(items) => flights.extend(items.iter().map(|item| item.flight.clone())),
            Input::Learned(_)
            | Input::Asked(_)
            | Input::Withdrawn(_)
            | Input::Rerouted(_)
            | Input::Moved(_)
            | Input::Overdue(_) => {}
        }
    }
    flights.sort_by_key(|flight| flight.message_id);
    Ok(inflight::end_many(tx, &flights).await?.into_iter().collect())
}

/// Reports that came before the id they speak of was known here.
async fn early_reports(tx: &mut Tx, inputs: &[&Input]) -> Result<Vec<reports::EarlyReport>, Error> {
    let mut known: Vec<(AccountId, String)> = Vec::new();
    for input in inputs {
        let Input::Finished(items) = input else { continue };
        known.extend(items.iter().filter_map(|item| {
            let account = item.account.as_ref().filter(|account| account.connector.inbound().is_some())?;
            match &item.outcome {
                Outcome::Accepted(acceptance) => acceptance.provider_message_id.clone().map(|id| (account.id, id)),
                Outcome::Refused(_) => None,
            }
        }));
    }
    Ok(reports::take_early(tx, &known).await?)
}

/// Suppresses the addresses that reports say should not be written to, and those that bounced softly often enough. Without such reports it costs nothing.
async fn notices(tx: &mut Tx, fold: &mut Fold<'_>) -> Result<(), Error> {
    let (mut suppressions, soft) = fold.take_notices();
    if !soft.is_empty() {
        suppressions::note_soft(tx, &soft.iter().map(|(bounce, _)| bounce.clone()).collect::<Vec<_>>()).await?;
    }
    for (bounce, address) in &soft {
        let (tenant, channel, key) = (bounce.tenant_id, bounce.channel, bounce.address.as_str());
        let bounces = suppressions::soft(tx, tenant, channel, key).await?;
        if bounces.len() < notice::SOFT_MAX {
            continue;
        }
        let arrival = suppressions::last_arrival(tx, tenant, channel, address, ARRIVALS_MAX).await?;
        if let Some(arrival) = arrival {
            suppressions::forget_soft(tx, tenant, channel, key, arrival).await?;
        }
        if notice::is_given_up(&bounces, arrival, fold.now()) {
            suppressions.push(fold.soft_suppression(bounce));
        }
    }
    if suppressions.is_empty() {
        return Ok(());
    }
    let new = crate::consent::suppressions::unknown(tx, suppressions).await?;
    for row in new.iter().filter(|row| row.reason == model::SuppressionReason::OptedOut) {
        let people = consents::people_at(tx, row.tenant_id, row.channel, &row.address).await?;
        let records = fold.opted_out(row, &people);
        consents::append(tx, &records).await?;
    }
    fold.suppress(new);
    Ok(())
}

/// Folds the attempts' ends into the health of their accounts. Accounts in good health cost nothing.
async fn account_health(
    tx: &mut Tx,
    fold: &mut Fold<'_>,
    troubled: &[AccountId],
) -> Result<Vec<(AccountId, Option<Timestamp>, bool)>, Error> {
    let mut pauses = Vec::new();
    for (tenant_id, account_id, ends) in fold.take_ends() {
        if ends.iter().all(Option::is_none) && !troubled.contains(&account_id) {
            continue;
        }
        let before = account_states::lock(tx, tenant_id, account_id).await?;
        let mut state = before.clone().unwrap_or_else(|| AccountState::new(tenant_id, account_id, fold.now()));
        for end in &ends {
            if let Some(news) = health::observe(&mut state, end.as_ref(), fold.now()) {
                fold.account_news(tenant_id, account_id, news, end.as_ref());
            }
        }
        if before.as_ref() != Some(&state) {
            account_states::save(tx, &state).await?;
        }
        pauses.push((account_id, state.paused_until, state.failures > 0));
    }
    Ok(pauses)
}
