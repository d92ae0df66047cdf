//! The transaction that accepts: items planned apart, written together.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use model::Status;
use model::{AccountId, ContactId, TenantId, Timestamp};
use store::{
    Scope, Tx,
    attempts::Observation,
    contents::Stored,
    credits::Charge,
    deliveries::Delivery,
    fallbacks::Fallback,
    idempotency::{self, Answered},
    inflight::{Flight, WorkerId},
    messages::Message,
    tenants,
};

use super::{Step, fallback::Tail};
use crate::{
    Engine, Error,
    consent::screen::{self, Ruling, Rulings},
    contacts::links::Links,
    directory::{Account, Tenant},
    dispatch::{Dispatcher, Place},
    money::{
        charge::{self, Spending},
        marks,
    },
    once::{self, Judged},
    plans::quota,
    render::Prepared,
    routing::again,
    view,
    writes::Writes,
};

/// Messages in one transaction: bounds how long the first of them waits for the last.
pub(crate) const COMMIT_MAX: usize = 1_024;

/// What one request adds, planned and ready to be written.
pub(crate) struct Item {
    /// The account and the compiled content of a single message that is due now: it may leave with the commit.
    pub(super) leaving: Option<(Arc<Account>, Arc<Prepared>)>,
    pub(super) tenant: Arc<Tenant>,
    pub(super) version: i64,
    pub(super) messages: Vec<Planned>,
    pub(super) answer: Answered,
    pub(super) has_key: bool,
    /// The answer shows the one message itself.
    pub(super) is_single: bool,
    /// What moves in the same transaction.
    pub(super) step: Option<Step>,
}

/// One of its messages.
pub(super) struct Planned {
    pub(super) message: Message,
    /// What it is to be charged, when its tenant is billed.
    pub(super) charge: Option<Charge>,
    /// What has to be stored with it.
    pub(super) content: Option<Stored>,
    /// What is left to try after its first channel.
    pub(super) tail: Option<(Tail, Fallback)>,
    /// What rules decided about its account, as JSON.
    pub(super) decision: Option<String>,
}

/// What became of an item.
pub(crate) enum Committed {
    /// Written.
    Done {
        /// True when the message left with it.
        has_left: bool,
        /// The contact that was found behind the address.
        contact: Option<ContactId>,
        /// The answer, when it became another in the transaction: a contact was found, or the message is held back.
        body: Option<Vec<u8>>,
    },
    /// Its step was taken by somebody else: nothing was written.
    Passed,
    /// Its key was used before.
    Known(Answered),
    /// The configuration changed; plan again.
    Stale,
    /// Not written.
    Failed(Error),
}

/// Writes a batch of items in one transaction. When that fails for a reason that may be one item's, each is tried by itself.
pub(crate) async fn write(engine: &Arc<Engine>, items: Vec<Item>) -> Vec<Committed> {
    let items = Arc::new(items);
    let all: Vec<usize> = (0..items.len()).collect();
    match write_some(engine, Arc::clone(&items), all.clone()).await {
        Ok(committed) => committed,
        Err(error) if error.is_temporary() || items.len() == 1 => {
            let error = Error::from(error);
            items.iter().map(|_| Committed::Failed(error.clone())).collect()
        }
        Err(_) => {
            let mut committed = Vec::with_capacity(items.len());
            for index in all {
                let alone = write_some(engine, Arc::clone(&items), vec![index]).await;
                committed.push(match alone {
                    Ok(mut one) => one.pop().unwrap_or(Committed::Stale),
                    Err(error) => Committed::Failed(error.into()),
                });
            }
            committed
        }
    }
}

async fn write_some(
    engine: &Arc<Engine>,
    items: Arc<Vec<Item>>,
    chosen: Vec<usize>,
) -> Result<Vec<Committed>, store::Error> {
    let (ids, now, shard) = (Arc::clone(&engine.ports.ids), engine.ports.clock.now(), engine.shard());
    let places: Vec<Option<Place>> = chosen.iter().map(|index| place(engine, &items[*index], now)).collect();
    let held: Vec<bool> = places.iter().map(Option::is_some).collect();
    let worker = engine.worker;
    let write = |may_wait: bool| {
        let (items, chosen, held, ids) = (Arc::clone(&items), chosen.clone(), held.clone(), Arc::clone(&ids));
        let is_outdated = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&is_outdated);
        let written = engine.ports.db.write(Scope::System, move |tx| {
            Box::pin(async move {
                let chosen: Vec<(&Item, bool)> =
                    chosen.iter().zip(held).map(|(index, is_held)| (&items[*index], is_held)).collect();
                write_in(tx, &chosen, worker, &ids, (now, shard), may_wait.then_some(&*seen)).await
            })
        });
        (written, is_outdated)
    };
    let (written, is_outdated) = write(true);
    let committed = match written.await {
        // Others spent the credit that was looked at: this time nobody else does.
        Err(_) if is_outdated.load(Ordering::Relaxed) => write(false).0.await?,
        written => written?,
    };
    for ((index, place), committed) in chosen.iter().zip(places).zip(&committed) {
        let item = &items[*index];
        if let (Some(place), Some((account, content)), Committed::Done { has_left: true, contact, .. }) =
            (place, &item.leaving, committed)
        {
            let mut message = item.messages[0].message.clone();
            message.contact_id = message.contact_id.or(*contact);
            place.depart(Arc::clone(account), flight(&message, account.id, worker, now), message, Arc::clone(content));
        }
    }
    Ok(committed)
}

/// A place in flight for an item that may leave with its commit, when there is one.
fn place(engine: &Arc<Engine>, item: &Item, now: Timestamp) -> Option<Place> {
    let (account, _) = item.leaving.as_ref()?;
    Dispatcher::reserve(engine, account, item.messages.first()?.message.class, now)
}

/// The first attempt of a message that leaves as it is accepted.
fn flight(m: &Message, account_id: AccountId, worker: WorkerId, now: Timestamp) -> Flight {
    Flight {
        message_id: m.id,
        tenant_id: m.tenant_id,
        account_id,
        class: m.class,
        number: 1,
        tries: 0,
        worker,
        started_at: now,
        expires_at: m.expires_at,
    }
}

/// `is_outdated` is set when this has to be begun anew without it, because credit was looked at and spent by others since.
async fn write_in(
    tx: &mut Tx,
    items: &[(&Item, bool)],
    worker: WorkerId,
    ids: &model::Ids,
    (now, shard): (Timestamp, i64),
    is_outdated: Option<&AtomicBool>,
) -> Result<Vec<Committed>, store::Error> {
    let version = tenants::version(tx).await?;
    let keys: Vec<(TenantId, &str)> = items
        .iter()
        .filter(|(item, _)| item.has_key)
        .map(|(item, _)| (item.answer.tenant, item.answer.key.as_str()))
        .collect();
    let mut known: HashMap<(TenantId, String), Answered> = idempotency::find_many(tx, &keys)
        .await?
        .into_iter()
        .map(|answered| ((answered.tenant, answered.key.clone()), answered))
        .collect();
    let links = links(tx, items).await?;
    let linked: Vec<Vec<Cow<'_, Message>>> = items.iter().map(|(item, _)| linked(item, &links)).collect();
    let rulings = screened(tx, items, &linked, version, now).await?;
    let metered = metered(items, &linked, version);
    // Counters of plans come after ledgers, and who takes a step must not wait for one who waits for the ledger.
    let may_wait = is_outdated.is_some() && metered.is_empty() && items.iter().all(|(item, _)| item.step.is_none());
    let mut spending = Spending::begin(tx, needs(items, version), may_wait, now).await?;
    let mut asides = Vec::new();
    let mut meters = quota::lock(tx, metered).await?;
    let mut committed = Vec::with_capacity(items.len());
    let (mut writes, mut answers, mut expired) = (Writes::default(), Vec::new(), Vec::new());
    for ((item, has_place), linked) in items.iter().zip(&linked) {
        let before = item.has_key.then(|| known.remove(&(item.answer.tenant, item.answer.key.clone()))).flatten();
        if let Some(before) = before {
            let fingerprint = item.answer.fingerprint.as_slice().try_into().unwrap_or(&[0; 32]);
            match once::judge(&before, fingerprint, now) {
                Ok(Judged::Replay) => {
                    committed.push(Committed::Known(before));
                    continue;
                }
                Ok(Judged::Expired) => expired.push(before),
                Err(error) => {
                    committed.push(Committed::Failed(error));
                    continue;
                }
            }
        }
        if item.version != version {
            committed.push(Committed::Stale);
            continue;
        }
        // What is held back for good costs nothing, unless another channel may still take it, and neither does what Tidings says itself.
        let is_barred = |m: &Message| matches!(rulings.get(&m.id), Some(Ruling::Bar(_)));
        let costs = |(planned, m): &(&Planned, &Cow<'_, Message>)| {
            !quota::is_ours(m) && (planned.tail.is_some() || !is_barred(m))
        };
        let (costing, counted): (Vec<&Planned>, Vec<&Message>) =
            item.messages.iter().zip(linked).filter(costs).map(|(planned, m)| (planned, &**m)).unzip();
        let afforded = meters.afford(&item.tenant, &counted).and_then(|taken| {
            let quoted = costing.iter().filter_map(|planned| planned.charge.as_ref());
            let owed = charge::afford(spending.of(item.tenant.id), &item.tenant, quoted)?;
            Ok((taken, owed))
        });
        let (taken, mut owed) = match afforded {
            Ok(afforded) => afforded,
            Err(refusal) => {
                committed.push(Committed::Failed(refusal));
                continue;
            }
        };
        if let Some(step) = &item.step
            && !step.take(tx).await?
        {
            committed.push(Committed::Passed);
            continue;
        }
        if spending.of(item.tenant.id).is_some() {
            spending.reserve(item.tenant.id, &mut owed, now);
            asides.extend(owed.iter().map(|charge| (charge.message_id, charge.to_aside())));
        }
        for (kind, data) in meters.take(&item.tenant, taken) {
            writes.event(&item.tenant, kind, data.to_string(), now, ids);
        }
        let mut has_left = *has_place;
        let first = linked.first().filter(|m| item.is_single && matches!(m, Cow::Owned(_)));
        let contact = first.and_then(|m| m.contact_id);
        let mut body = first.map(|m| view::message_json(m, now).into_bytes());
        for (planned, m) in item.messages.iter().zip(linked) {
            writes.fallbacks.extend(planned.tail.as_ref().map(|(_, row)| row.clone()));
            writes.observations.extend(planned.decision.as_ref().map(|decision| decided(m, decision, now)));
            writes.contents.extend(planned.tail.iter().flat_map(|(tail, _)| &tail.contents).cloned());
            match rulings.get(&m.id) {
                // It takes its turn, is held back then, and goes on over its next channel.
                Some(Ruling::Bar(_)) if planned.tail.is_some() => {
                    has_left = false;
                    add(&mut writes, item, m, planned.content.as_ref(), None, now, ids);
                }
                Some(ruling) => {
                    let held = held(m, ruling, now);
                    has_left = false;
                    body = item.is_single.then(|| view::message_json(&held, now).into_bytes());
                    add(&mut writes, item, &held, planned.content.as_ref(), None, now, ids);
                }
                None => {
                    let leaving = has_left.then_some(worker);
                    add(&mut writes, item, m, planned.content.as_ref(), leaving, now, ids);
                }
            }
        }
        if item.has_key {
            answers.push(match &body {
                Some(body) => Answered { body: body.clone(), ..item.answer.clone() },
                None => item.answer.clone(),
            });
        }
        committed.push(Committed::Done { has_left, contact, body });
    }
    // In the order of the messages, of which not all cost something.
    let mut asides = asides.into_iter().peekable();
    for m in &mut writes.new_messages {
        m.aside = asides.next_if(|(id, _)| *id == m.id).and_then(|(_, aside)| aside);
    }
    let shared = writes.write_own(tx).await?;
    if !spending.hold(tx, now).await? {
        is_outdated.inspect(|is_outdated| is_outdated.store(true, Ordering::Relaxed));
        return Err(store::Error::Conflict { detail: "credit was spent at the same time".to_owned() });
    }
    let told = tell_marks(items, &mut spending, now, ids);
    spending.write(tx).await?;
    meters.write(tx).await?;
    shared.write(tx, shard).await?;
    if let Some(told) = told {
        told.write(tx, shard).await?;
    }
    for answered in &expired {
        idempotency::remove(tx, answered).await?;
    }
    let inserted = idempotency::insert_many(tx, &answers).await?;
    if inserted < answers.len() as u64 {
        // Another node was first with one of the keys: roll back, and find its answer on the second look.
        return Err(store::Error::Conflict { detail: "an idempotency key was used at the same time".to_owned() });
    }
    Ok(committed)
}

/// The messages of tenants with a plan, of items whose own plan still holds.
fn metered<'a>(
    items: &[(&'a Item, bool)],
    linked: &'a [Vec<Cow<'a, Message>>],
    version: i64,
) -> Vec<(&'a Tenant, &'a Message)> {
    let mut metered = Vec::new();
    for ((item, _), linked) in items.iter().zip(linked) {
        if item.version == version && item.tenant.subscription.is_some() {
            metered.extend(linked.iter().map(|m| (&*item.tenant, &**m)));
        }
    }
    metered
}

/// What is to be set aside at most, by tenants that are billed, for items whose own plan still holds.
fn needs(items: &[(&Item, bool)], version: i64) -> BTreeMap<TenantId, i64> {
    let mut needs = BTreeMap::new();
    for (item, _) in items.iter().filter(|(item, _)| item.version == version && item.tenant.billing.is_some()) {
        let need = needs.entry(item.tenant.id).or_insert(0i64);
        let quoted = item.messages.iter().filter_map(|planned| planned.charge.as_ref()).map(|charge| charge.quoted);
        *need = quoted.fold(*need, i64::saturating_add);
    }
    needs
}

/// What tenants are told whose credit these messages took below one of their marks.
fn tell_marks(items: &[(&Item, bool)], spending: &mut Spending, now: Timestamp, ids: &model::Ids) -> Option<Writes> {
    let mut told = None;
    for (id, open) in spending.changed() {
        let Some((item, _)) = items.iter().find(|(item, _)| item.tenant.id == id) else { continue };
        for (kind, data) in marks::cross(&mut open.ledger) {
            told.get_or_insert_with(Writes::default).event(&item.tenant, kind, data, now, ids);
        }
    }
    told
}

/// The contacts behind the addresses of messages that name none. Asks nothing for tenants without contacts.
async fn links(tx: &mut Tx, items: &[(&Item, bool)]) -> Result<Links, store::Error> {
    let messages = items.iter().filter(|(item, _)| item.tenant.has_contacts).flat_map(|(item, _)| &item.messages);
    let unnamed = messages.map(|planned| &planned.message).filter(|m| m.contact_id.is_none());
    Links::find(tx, unnamed.map(|m| (m.tenant_id, m.channel, m.address.as_str()))).await
}

/// An item's messages, each with the contact found behind its address.
fn linked<'a>(item: &'a Item, links: &Links) -> Vec<Cow<'a, Message>> {
    let with_contact = |planned: &'a Planned| {
        let m = &planned.message;
        let contact = links.of(m.tenant_id, m.channel, &m.address).filter(|_| m.contact_id.is_none());
        contact.map_or(Cow::Borrowed(m), |id| Cow::Owned(Message { contact_id: Some(id), ..m.clone() }))
    };
    item.messages.iter().map(with_contact).collect()
}

/// What is found about the messages of items whose plan still holds. Without any to look at it costs nothing.
async fn screened(
    tx: &mut Tx,
    items: &[(&Item, bool)],
    linked: &[Vec<Cow<'_, Message>>],
    version: i64,
    now: Timestamp,
) -> Result<Rulings, store::Error> {
    let fresh = items.iter().zip(linked).filter(|((item, _), _)| item.version == version);
    let messages: Vec<(&Message, &Tenant)> = fresh
        .flat_map(|((item, _), linked)| linked.iter().map(|m| (&**m, &*item.tenant)))
        .filter(|(m, tenant)| screen::is_watched(m, tenant))
        .collect();
    screen::look(tx, &messages, now).await
}

/// A message as it is accepted although it must not go now.
pub(super) fn held(planned: &Message, ruling: &Ruling, now: Timestamp) -> Message {
    let mut m = planned.clone();
    match ruling {
        Ruling::Bar(failure) => {
            (m.status, m.due_at, m.ended_at) = (Status::Suppressed, None, Some(now));
            m.failure = serde_json::to_string(failure).ok();
            (m.cost_micros, m.cost_currency) = (None, None);
        }
        Ruling::Wait { until, why } => {
            (m.status, m.due_at) = (Status::Scheduled, Some(*until));
            m.route = m.route.map(|route| format!("{route}; {why}"));
        }
    }
    m
}

/// What rules decided about a new message, for its timeline.
fn decided(m: &Message, decision: &str, now: Timestamp) -> Observation {
    Observation {
        tenant_id: m.tenant_id,
        message_id: m.id,
        dedupe: again::KIND.to_owned(),
        source: "engine".to_owned(),
        kind: again::KIND.to_owned(),
        detail: Some(decision.to_owned()),
        at: now,
        recorded_at: now,
    }
}

/// What a new message writes. `leaving`: the process that sends it at once, so that its attempt is on record instead of due work.
fn add(
    writes: &mut Writes,
    item: &Item,
    m: &Message,
    content: Option<&Stored>,
    leaving: Option<WorkerId>,
    now: Timestamp,
    ids: &model::Ids,
) {
    writes.contents.extend(content.cloned());
    match (m.account_id.zip(m.due_at), leaving) {
        (Some((account_id, _)), Some(worker)) => writes.flights.push(flight(m, account_id, worker, now)),
        (Some((account_id, due_at)), None) => writes.deliveries.push(Delivery {
            account_id,
            class: m.class,
            due_at,
            message_id: m.id,
            tenant_id: m.tenant_id,
            attempts: 0,
            tries: 0,
            expires_at: m.expires_at,
        }),
        (None, _) => {}
    }
    writes.count(None, m);
    writes.event(&item.tenant, "message.accepted", view::message_json(m, now), now, ids);
    if m.status == Status::Suppressed {
        writes.event(&item.tenant, "message.suppressed", view::message_json(m, now), now, ids);
    }
    writes.new_messages.push(m.clone());
}
