//! Dispatch: due work leaves.
//!
//! A round asks [`lanes`] who is next, claims that much in one transaction (the delivery's row becomes a row in `inflight`: the attempt is on record before its request leaves),
//! reads what the messages say without any transaction open, and hands each to its connector and the transport. Results go to `apply` in groups. A process that
//! dies leaves its rows in `inflight`; [`crate::recovery`] finds them. Several processes on one PostgreSQL pass over each other's locked rows.

pub mod exchange;
mod handed;
pub mod lanes;
mod send;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use model::{AccountId, BoxFuture, Class, TenantId, Timestamp};
use store::{
    Scope, Tx, account_states,
    account_states::AccountState,
    contents, deliveries,
    inflight::{self, Flight, WorkerId},
    messages::{self, ContentId, Message},
    tenants,
};
use tokio::sync::Notify;

use self::{
    lanes::{Claim, Lanes, Pace},
    send::{Job, Part},
};
use crate::{
    Engine, Error,
    consent::screen::{self, Rulings},
    directory::{Account, TenantState},
    engine::Tenants,
    render::Prepared,
};

/// Lanes looked at in one scan of the database.
const LANES_MAX: usize = 20_000;
/// Longest wait between two looks at the database, in milliseconds: work other nodes accepted, and nudges that were lost.
pub const PERIOD_MS: u64 = 1_000;
/// Wait before a read that failed is tried again, in milliseconds.
const RETRY_MS: u64 = 200;
/// Times messages are read again because the configuration changed meanwhile, before the caller waits a little.
const LOOKS_MAX: usize = 8;

/// The dispatcher's memory: lanes and what is in flight.
pub struct Dispatcher {
    lanes: Mutex<Lanes>,
    wake: Notify,
}

impl Dispatcher {
    /// Nothing known yet.
    pub fn new(slots: usize) -> Self {
        Self { lanes: Mutex::new(Lanes::new(slots)), wake: Notify::new() }
    }

    /// Says that a lane has work due at `due_at`. Called after the commit that put it there.
    pub fn nudge(&self, tenant: TenantId, account: AccountId, class: Class, due_at: Timestamp) {
        self.lanes().note(tenant, account, class, due_at);
        self.wake.notify_one();
    }

    /// Messages in flight in this process.
    pub fn in_flight(&self) -> usize {
        self.lanes().in_flight()
    }

    pub(crate) fn lanes(&self) -> std::sync::MutexGuard<'_, Lanes> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place in flight for a message that is being accepted, when it may leave at once: nothing waits for its account, and its rate is not limited.
    pub(crate) fn reserve(engine: &Arc<Engine>, account: &Account, class: Class, now: Timestamp) -> Option<Place> {
        let has_place = rate_of(account) == 0
            && engine.dispatcher.lanes().reserve(account.id, class, now, pace_of(account, account.is_enabled));
        has_place.then(|| Place { engine: Arc::clone(engine), account_id: account.id, class, is_taken: false })
    }

    fn answered(&self, account: AccountId) -> bool {
        let was_answered = self.lanes().answered(account);
        self.wake.notify_one();
        was_answered
    }

    fn landed(&self, account: AccountId, class: Class, was_answered: bool) {
        self.lanes().landed(account, class, was_answered);
        self.wake.notify_one();
    }
}

/// A place in flight, given back when it is dropped.
pub(crate) struct Place {
    engine: Arc<Engine>,
    account_id: AccountId,
    class: Class,
    is_taken: bool,
}

impl Place {
    /// Sends a message whose attempt was recorded in the transaction that accepted it.
    pub(crate) fn depart(mut self, account: Arc<Account>, flight: Flight, message: Message, content: Arc<Prepared>) {
        self.is_taken = true;
        let job = Job { account, parts: vec![Part { flight, message, content, ruling: None }] };
        tokio::spawn(send::perform(Arc::clone(&self.engine), job));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.is_taken {
            self.engine.dispatcher.landed(self.account_id, self.class, false);
        }
    }
}

/// Claims, sends and applies until told to stop; then waits for what is in flight.
#[crate::boxed]
pub async fn run(engine: Arc<Engine>, mut stop: tokio::sync::watch::Receiver<bool>) {
    let mut scanned_at = Timestamp::EPOCH;
    let mut flying = tokio::task::JoinSet::new();
    open(&engine);
    while !*stop.borrow() {
        let now = engine.ports.clock.now();
        if now.millis_since(scanned_at) >= PERIOD_MS as i64 || now < scanned_at {
            scanned_at = now;
            if let Err(error) = scan(&engine).await {
                tracing::warn!(%error, "Cannot look for due work");
            }
        }
        let jobs = match round(&engine).await {
            Ok(jobs) => jobs,
            Err(error) => {
                tracing::warn!(%error, "Cannot claim due work");
                engine.ports.clock.sleep(RETRY_MS).await;
                continue;
            }
        };
        let is_idle = jobs.is_empty();
        for job in jobs {
            flying.spawn(send::perform(Arc::clone(&engine), job));
        }
        while flying.try_join_next().is_some() {}
        if is_idle {
            let now = engine.ports.clock.now();
            let next_due = engine.dispatcher.lanes().next_due().filter(|due| *due > now);
            let wait_ms =
                next_due.map_or(PERIOD_MS, |due| (due.millis_since(now).max(0).unsigned_abs() + 1).min(PERIOD_MS));
            tokio::select! {
                () = engine.dispatcher.wake.notified() => {}
                () = engine.ports.clock.sleep(wait_ms) => {}
                _ = stop.changed() => {}
            }
        }
    }
    engine.dispatcher.lanes().run(false);
    tracing::info!(in_flight = engine.dispatcher.in_flight(), "Waiting for what is in flight");
    while flying.join_next().await.is_some() {}
    // Messages that left as they were accepted are not among the flying.
    landed(&engine).await;
}

/// Lets messages leave as they are accepted, as [`run`] does.
pub fn open(engine: &Engine) {
    engine.dispatcher.lanes().run(true);
}

/// Waits until nothing is in flight.
#[crate::boxed]
pub async fn landed(engine: &Engine) {
    while engine.dispatcher.in_flight() > 0 {
        engine.dispatcher.wake.notified().await;
    }
}

/// Claims what is due now, sends it and applies the results, one round: for tests and the simulator. Answers how many messages left.
#[crate::boxed]
pub async fn step(engine: &Arc<Engine>) -> Result<usize, Error> {
    scan(engine).await?;
    let jobs = round(engine).await?;
    let count = jobs.iter().map(|job| job.parts.len()).sum();
    for job in jobs {
        send::perform(Arc::clone(engine), job).await;
    }
    Ok(count)
}

/// Claims what is due now and hands out each exchange, which ends once its results are committed: for the simulator, which lets exchanges end in any order and drops those
/// of a process that dies.
#[crate::boxed]
pub async fn exchanges(engine: &Arc<Engine>) -> Result<Vec<BoxFuture<'static, ()>>, Error> {
    scan(engine).await?;
    let jobs = round(engine).await?;
    Ok(jobs.into_iter().map(|job| Box::pin(send::perform(Arc::clone(engine), job)) as BoxFuture<'static, ()>).collect())
}

/// Looks for lanes with work and for paused accounts in the database: what other nodes did, and what was forgotten in a restart.
#[crate::boxed]
pub async fn scan(engine: &Engine) -> Result<(), Error> {
    let (found, troubled) = engine
        .ports
        .db
        .read(Scope::System, |tx| {
            Box::pin(async move {
                Ok::<_, store::Error>((deliveries::lanes(tx, LANES_MAX).await?, account_states::troubled(tx).await?))
            })
        })
        .await?;
    let now = engine.ports.clock.now();
    let waits_ms = found.iter().map(|lane| now.millis_since(lane.due_at)).max().unwrap_or_default();
    metrics::gauge!("tidings_queue_age_seconds").set(waits_ms.max(0) as f64 / 1_000.0);
    let mut lanes = engine.dispatcher.lanes();
    for lane in found {
        lanes.note(lane.tenant_id, lane.account_id, lane.class, lane.due_at);
    }
    let recovered: Vec<_> = lanes
        .troubled()
        .into_iter()
        .filter(|account| troubled.iter().all(|state| state.account_id != *account))
        .collect();
    for account in recovered {
        lanes.pause(account, None, false);
    }
    for state in troubled {
        lanes.pause(state.account_id, state.paused_until, state.failures > 0);
    }
    Ok(())
}

/// Claims what is due now and reads what it says.
async fn round(engine: &Arc<Engine>) -> Result<Vec<Job>, Error> {
    let now = engine.ports.clock.now();
    let due = engine.dispatcher.lanes().due(now);
    if due.is_empty() {
        return Ok(Vec::new());
    }
    let mut accounts = HashMap::new();
    for (tenant_id, account_id) in due {
        let Some(tenant) = engine.directory.tenant(tenant_id).await? else { continue };
        let Some(account) = tenant.accounts.iter().find(|account| account.id == account_id) else { continue };
        accounts.insert(account_id, (Arc::clone(account), tenant.state == TenantState::Active));
    }
    let pace = accounts.iter().map(|(id, (account, is_active))| (*id, pace_of(account, *is_active))).collect();
    let claims = engine.dispatcher.lanes().claims(now, &pace);
    if claims.is_empty() {
        return Ok(Vec::new());
    }
    let wanted: Vec<(Claim, u32)> = claims
        .into_iter()
        .map(|claim| (claim, accounts.get(&claim.account_id).map_or(0, |(account, _)| rate_of(account))))
        .collect();
    let worker = engine.worker;
    let claimed = {
        let wanted = wanted.clone();
        engine
            .ports
            .db
            .write(Scope::System, move |tx| Box::pin(async move { claim_all(tx, &wanted, worker, now).await }))
            .await?
    };
    let mut flights = Vec::new();
    {
        let mut lanes = engine.dispatcher.lanes();
        for ((claim, _), (got, next_due)) in wanted.iter().zip(claimed) {
            lanes.claimed(claim, got.len(), next_due);
            flights.extend(got);
        }
    }
    metrics::histogram!("tidings_lease_batch_messages").record(flights.len() as f64);
    Ok(jobs(engine, flights, &accounts).await)
}

fn pace_of(account: &Account, is_active: bool) -> Pace {
    let spec = account.connector.spec();
    let requests =
        account.concurrency.map_or(spec.limits.concurrency, |own| own.min(spec.limits.concurrency)).max(1) as usize;
    let per_request = account.connector.batch().map_or(1, connectors::Batch::max);
    Pace { in_flight_max: requests * per_request, is_open: is_active && account.is_enabled }
}

/// Messages a second: the provider's declared limit, or less where the tenant says so. 0 for none.
fn rate_of(account: &Account) -> u32 {
    match (account.connector.spec().limits.per_second, account.per_second) {
        (0, own) => own.unwrap_or(0),
        (declared, own) => own.map_or(declared, |own| own.min(declared)),
    }
}

/// Turns due deliveries into attempts in flight. For each claim: the flights, and when to come back if the account's rate allows no more now.
async fn claim_all(
    tx: &mut Tx,
    claims: &[(Claim, u32)],
    worker: WorkerId,
    now: Timestamp,
) -> Result<Vec<(Vec<Flight>, Option<Timestamp>)>, Error> {
    let mut claimed = Vec::with_capacity(claims.len());
    let mut taken = Vec::new();
    for (claim, rate) in claims {
        let (limit, next_due) = take_tokens(tx, claim, *rate, now).await?;
        let due = if limit == 0 {
            Vec::new()
        } else {
            deliveries::due_in_lane(tx, claim.account_id, claim.class, now, limit as i64).await?
        };
        if *rate > 0 && due.len() < limit {
            give_back(tx, claim, limit - due.len(), now).await?;
        }
        let flights: Vec<Flight> = due
            .iter()
            .map(|d| Flight {
                message_id: d.message_id,
                tenant_id: d.tenant_id,
                account_id: d.account_id,
                class: d.class,
                number: d.attempts + 1,
                tries: d.tries,
                worker,
                started_at: now,
                expires_at: d.expires_at,
            })
            .collect();
        let is_limited = limit < claim.limit && flights.len() == limit;
        taken.extend(due);
        claimed.push((flights, next_due.filter(|_| is_limited)));
    }
    deliveries::remove_many(tx, &taken).await?;
    let all: Vec<Flight> = claimed.iter().flat_map(|(flights, _)| flights.iter().cloned()).collect();
    inflight::insert_many(tx, &all).await?;
    Ok(claimed)
}

const MICROS: i64 = 1_000_000;
/// The bucket refills at 95 % of the rate and holds 5 % of a second (one message at least), so that no second ever sees more than the rate.
const REFILL_PERCENT: i64 = 95;
/// How far the clocks of two nodes may be apart: a bucket that was filled later than this from now was filled by a clock that was wrong.
const SKEW_MAX_MICROS: i64 = 60 * MICROS;

/// Takes up to the claim's limit out of the account's bucket, which all nodes share. Answers how many, and when the next one drops in.
async fn take_tokens(
    tx: &mut Tx,
    claim: &Claim,
    rate: u32,
    now: Timestamp,
) -> Result<(usize, Option<Timestamp>), Error> {
    if rate == 0 {
        return Ok((claim.limit, None));
    }
    let before = account_states::lock(tx, claim.tenant_id, claim.account_id).await?;
    let capacity = (i64::from(rate) * MICROS / 20).max(MICROS);
    let mut state = before.unwrap_or_else(|| AccountState {
        tokens_micros: capacity,
        ..AccountState::new(claim.tenant_id, claim.account_id, now)
    });
    if state.refilled_at.as_micros() - now.as_micros() > SKEW_MAX_MICROS {
        // The clock was set back: waiting until it is where it was would keep the account still.
        state.refilled_at = now;
    }
    let elapsed_micros = (now.as_micros() - state.refilled_at.as_micros()).clamp(0, 3_600 * MICROS);
    let refill = i64::from(rate) * REFILL_PERCENT * elapsed_micros / 100;
    state.tokens_micros = (state.tokens_micros + refill).min(capacity);
    state.refilled_at = now.max(state.refilled_at);
    let limit = ((state.tokens_micros / MICROS).max(0) as usize).min(claim.limit);
    state.tokens_micros -= limit as i64 * MICROS;
    account_states::save(tx, &state).await?;
    let missing_micros = (MICROS - state.tokens_micros).max(0);
    let wait_micros = missing_micros * 100 / (i64::from(rate) * REFILL_PERCENT) + 1;
    Ok((limit, Some(Timestamp::from_micros(now.as_micros() + wait_micros))))
}

async fn give_back(tx: &mut Tx, claim: &Claim, unused: usize, now: Timestamp) -> Result<(), Error> {
    if let Some(mut state) = account_states::lock(tx, claim.tenant_id, claim.account_id).await? {
        state.tokens_micros += unused as i64 * MICROS;
        state.refilled_at = now.max(state.refilled_at);
        account_states::save(tx, &state).await?;
    }
    Ok(())
}

/// Reads messages and contents, trying until the database answers: the flights are on record and must be ended.
async fn jobs(
    engine: &Arc<Engine>,
    flights: Vec<Flight>,
    accounts: &HashMap<AccountId, (Arc<Account>, bool)>,
) -> Vec<Job> {
    if flights.is_empty() {
        return Vec::new();
    }
    let (mut found, mut rulings) = loop {
        match read(engine, &flights).await {
            Ok(found) => break found,
            Err(error) => {
                tracing::warn!(%error, "Cannot read what is to be sent; trying again");
                engine.ports.clock.sleep(RETRY_MS).await;
            }
        }
    };
    // In one order, so that a seed of the simulator always plays the same.
    let mut by_account: BTreeMap<AccountId, Vec<Part>> = BTreeMap::new();
    for flight in flights {
        let Some((message, content)) = found.remove(&flight.message_id) else { continue };
        let ruling = rulings.remove(&flight.message_id);
        by_account.entry(flight.account_id).or_default().push(Part { flight, message, content, ruling });
    }
    let mut jobs = Vec::new();
    for (account_id, parts) in by_account {
        let Some((account, _)) = accounts.get(&account_id) else { continue };
        jobs.extend(send::jobs(engine, account, parts));
    }
    jobs
}

type Found = HashMap<model::MessageId, (Message, Arc<Prepared>)>;

async fn read(engine: &Engine, flights: &[Flight]) -> Result<(Found, Rulings), Error> {
    let keys: Vec<_> = flights.iter().map(|flight| (flight.tenant_id, flight.message_id)).collect();
    let (messages, rulings) = look(engine, keys).await?;
    let mut prepared: HashMap<ContentId, Arc<Prepared>> = HashMap::new();
    let mut missing = Vec::new();
    for message in &messages {
        match engine.contents.get(message.content_id) {
            Some(content) => drop(prepared.insert(message.content_id, content)),
            None => missing.push((message.tenant_id, message.content_id)),
        }
    }
    missing.sort_unstable();
    missing.dedup();
    if !missing.is_empty() {
        let stored = engine
            .ports
            .db
            .read(Scope::System, move |tx| Box::pin(async move { contents::find_many(tx, &missing).await }))
            .await?;
        for stored in stored {
            let content = Arc::new(Prepared::stored(&stored)?);
            engine.contents.put(stored.id, Arc::clone(&content));
            prepared.insert(stored.id, content);
        }
    }
    let with_content = |message: Message| {
        prepared.get(&message.content_id).map(|content| (message.id, (message, Arc::clone(content))))
    };
    Ok((messages.into_iter().filter_map(with_content).collect(), rulings))
}

/// Reads messages, and whether they may go. The snapshot tells the configuration's version: when it is newer than what the directory knows, a tenant may have become one whose
/// messages are looked at.
pub(crate) async fn look(
    engine: &Engine,
    keys: Vec<(TenantId, model::MessageId)>,
) -> Result<(Vec<Message>, Rulings), Error> {
    let mut owners: Vec<TenantId> = keys.iter().map(|(tenant, _)| *tenant).collect();
    owners.sort_unstable();
    owners.dedup();
    let keys = Arc::new(keys);
    for _ in 0..LOOKS_MAX {
        let (known, now) = (engine.directory.version(), engine.ports.clock.now());
        let mut tenants = Tenants::new();
        for id in &owners {
            tenants.extend(engine.directory.tenant(*id).await?.map(|tenant| (*id, tenant)));
        }
        let keys = Arc::clone(&keys);
        let (version, found) = engine
            .ports
            .db
            .read(Scope::System, move |tx| {
                Box::pin(async move {
                    let version = tenants::version(tx).await?;
                    if version > known {
                        return Ok((version, None));
                    }
                    let messages = messages::find_many(tx, &keys).await?;
                    let known = messages.iter().filter_map(|m| Some((m, &**tenants.get(&m.tenant_id)?)));
                    let rulings = screen::look(tx, &known.collect::<Vec<_>>(), now).await?;
                    Ok::<_, store::Error>((version, Some((messages, rulings))))
                })
            })
            .await?;
        match found {
            Some(found) => return Ok(found),
            None => engine.directory.refresh_to(version).await,
        }
    }
    Err(Error::internal("the configuration keeps changing"))
}

/// Claims what is due and forgets it, as a process does that is killed between its claim and its first request: for tests of recovery. Answers how many.
#[crate::boxed]
pub async fn claim_and_forget(engine: &Arc<Engine>) -> Result<usize, Error> {
    scan(engine).await?;
    Ok(round(engine).await?.len())
}
