//! The transaction of callbacks: many requests of many tenants, each with its raw row, what it tells, and the events of that.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use connectors::Observed;
use model::{AccountId, Call, Fact, Ids, InboundId, MessageId, Timestamp};
use store::{
    Scope, Tx,
    callback_log::{self, Callback},
    inbound::{self, Inbound},
    messages::{self, Writer},
};

use super::{
    answers, files,
    log::{TOLD_MAX, Told},
    matching::{self, Reported},
};
use crate::{
    Engine, Error, ErrorKind,
    apply::{self, Aftermath, Change, Input, Learned},
    consent::keywords,
    contacts::links::Links,
    directory::{Account, Tenant},
    engine::Tenants,
    inbound::{self as messages_in, Arrived, MailFile},
    whatsapp_templates,
    writes::Writes,
};

/// Times a batch is tried again because another node wrote one of its requests at the same moment.
const RACES_MAX: usize = 4;

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Written {
    /// It is written, with everything it told.
    New,
    /// It was here before; only that it came again is counted.
    Repeated,
}

/// Whether a request is on disk.
pub(crate) type Committed = Result<Written, Error>;

/// A request, verified and read, or found to be somebody else's.
pub(crate) struct Item {
    tenant: Arc<Tenant>,
    row: Callback,
    reports: Vec<Reported>,
    messages: Vec<Arrived>,
    /// True when the account's WhatsApp templates are to be read again.
    has_template_news: bool,
}

impl Item {
    /// Prepares a request for the transaction. Answers also the calls it asks for.
    pub(super) fn new(
        tenant: &Arc<Tenant>,
        account: &Account,
        mut row: Callback,
        (observed, files): (Vec<Observed>, Vec<Vec<MailFile>>),
        now: Timestamp,
        ids: &Ids,
    ) -> (Self, Vec<Call>) {
        let (mut reports, mut messages, mut calls) = (Vec::new(), Vec::new(), Vec::new());
        let key = row.dedupe.clone().unwrap_or_default();
        let mut has_template_news = false;
        let mut files = files.into_iter();
        for (position, seen) in observed.into_iter().enumerate() {
            match seen {
                Observed::Status(report) => {
                    let request = [key.as_slice(), &position.to_be_bytes()].concat();
                    reports.push(Reported::new(tenant.id, account.id, report, &request, now));
                }
                Observed::Message(message) => {
                    let files = message.mail.is_some().then(|| files.next()).flatten().unwrap_or_default();
                    messages.push(Arrived::new((tenant.id, account.id), row.id, message, files, now, ids));
                }
                Observed::Templates => has_template_news = true,
                Observed::Follow(call) => calls.push(call),
            }
        }
        row.observed = (reports.len() + messages.len()) as u32;
        (Self { tenant: Arc::clone(tenant), row, reports, messages, has_template_news }, calls)
    }

    /// Its share of a transaction.
    pub(super) fn weight(&self) -> usize {
        1 + self.reports.len() + self.messages.len()
    }

    fn key(&self) -> Option<(AccountId, Vec<u8>)> {
        self.row.dedupe.clone().map(|dedupe| (self.row.account_id, dedupe))
    }
}

/// Why a transaction was rolled back.
enum Stop {
    /// Another node wrote one of the requests at the same moment.
    Raced,
    Failed(Error),
}

impl From<store::Error> for Stop {
    fn from(error: store::Error) -> Self {
        Self::Failed(error.into())
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// Writes a batch in one transaction; if that fails for a reason that may be one request's, each by itself.
pub(crate) async fn write(engine: &Engine, items: Vec<Item>) -> Vec<Committed> {
    let items = Arc::new(items);
    let all: Vec<usize> = (0..items.len()).collect();
    match write_some(engine, &items, all.clone()).await {
        Ok(written) => written.into_iter().map(Ok).collect(),
        Err(error) if items.len() == 1 || error.kind == ErrorKind::Unavailable => {
            all.iter().map(|_| Err(error.clone())).collect()
        }
        Err(_) => {
            let mut committed = Vec::with_capacity(items.len());
            for index in all {
                let alone = write_some(engine, &items, vec![index]).await;
                committed.push(alone.map(|written| written.first().copied().unwrap_or(Written::New)));
            }
            committed
        }
    }
}

async fn write_some(engine: &Engine, items: &Arc<Vec<Item>>, chosen: Vec<usize>) -> Result<Vec<Written>, Error> {
    for _ in 0..RACES_MAX {
        let (ids, now, shard) = (Arc::clone(&engine.ports.ids), engine.ports.clock.now(), engine.shard());
        let (items, chosen) = (Arc::clone(items), chosen.clone());
        let write = engine.ports.db.write(Scope::System, move |tx| {
            Box::pin(async move {
                let chosen: Vec<&Item> = chosen.iter().map(|index| &items[*index]).collect();
                write_in(tx, &chosen, &ids, now, shard).await
            })
        });
        match write.await {
            Ok((written, aftermath, lanes)) => {
                aftermath.remember(engine);
                for (tenant, account, class, due_at) in lanes {
                    engine.dispatcher.nudge(tenant, account, class, due_at);
                    engine.wakers.wake(tenant);
                }
                return Ok(written);
            }
            Err(Stop::Raced) => {}
            Err(Stop::Failed(error)) => return Err(error),
        }
    }
    let detail = "Other nodes keep writing the same callbacks. Nothing was stored; try again.";
    Err(Error::new(ErrorKind::Unavailable, "callback_raced", detail).with_retry_after_ms(1_000))
}

type Lanes = Vec<(model::TenantId, AccountId, model::Class, Timestamp)>;

async fn write_in(
    tx: &mut Tx,
    items: &[&Item],
    ids: &Ids,
    now: Timestamp,
    shard: i64,
) -> Result<(Vec<Written>, Aftermath, Lanes), Stop> {
    let (written, repeats) = sort_out(tx, items).await?;
    let new: Vec<&Item> =
        items.iter().zip(&written).filter(|(_, written)| **written == Written::New).map(|(item, _)| *item).collect();
    let reported: Vec<&Reported> = new.iter().flat_map(|item| &item.reports).collect();
    let found = matching::find(tx, &reported).await?;
    let mut tenants = Tenants::new();
    for item in &new {
        tenants.entry(item.tenant.id).or_insert_with(|| Arc::clone(&item.tenant));
    }
    let mut aftermath = Aftermath::default();
    let arrived = unknown(tx, &new).await?;
    let mut learned = found.learned;
    learned.extend(replies(tx, &arrived, now).await?);
    if !learned.is_empty() {
        aftermath = apply::write_in(tx, &[&Input::Learned(learned)], &tenants, &[], ids, now, shard).await?;
    }
    let mut changed = Changed { reports: std::mem::take(&mut aftermath.changes), messages: HashMap::new() };
    let mut writes = Writes::default();
    writes.early.extend(found.early);
    receive(tx, arrived, &tenants, &mut writes, &mut changed, now, ids).await?;
    for item in new.iter().filter(|item| item.has_template_news) {
        whatsapp_templates::nudge(tx, item.tenant.id, item.row.account_id, now).await?;
    }
    writes.write(tx, shard).await?;
    let mut rows = rows(&new, &found.matched, changed, &repeats);
    // In one order, so that two transactions cannot wait for each other.
    rows.sort_by(|a, b| (a.account_id, &a.dedupe, a.id).cmp(&(b.account_id, &b.dedupe, b.id)));
    if callback_log::insert_many(tx, &rows).await? < rows.len() as u64 {
        return Err(Stop::Raced);
    }
    let is_new: HashSet<(AccountId, &Vec<u8>)> =
        rows.iter().filter_map(|row| Some((row.account_id, row.dedupe.as_ref()?))).collect();
    let known: Vec<(AccountId, Vec<u8>, u32)> = repeats
        .into_iter()
        .filter(|((account, dedupe), _)| !is_new.contains(&(*account, dedupe)))
        .map(|((account, dedupe), times)| (account, dedupe, times))
        .collect();
    callback_log::count_repeats(tx, &known).await?;
    let lanes = writes.deliveries.iter().map(|d| (d.tenant_id, d.account_id, d.class, d.due_at)).collect();
    Ok((written, aftermath, lanes))
}

/// How often each repeated request came again.
type Repeats = BTreeMap<(AccountId, Vec<u8>), u32>;

/// Says which requests are new, also within the batch, and counts the others.
async fn sort_out(tx: &mut Tx, items: &[&Item]) -> Result<(Vec<Written>, Repeats), Error> {
    let keys: Vec<_> = items.iter().filter_map(|item| item.key()).collect();
    let mut seen: HashSet<(AccountId, Vec<u8>)> = callback_log::known(tx, &keys).await?.into_iter().collect();
    let mut repeats = Repeats::new();
    let mut written = Vec::with_capacity(items.len());
    for item in items {
        let is_repeated = item.key().is_some_and(|key| {
            let is_new = seen.insert(key.clone());
            if !is_new {
                *repeats.entry(key).or_default() += 1;
            }
            !is_new
        });
        written.push(if is_repeated { Written::Repeated } else { Written::New });
    }
    Ok((written, repeats))
}

/// How long after a message somebody who writes is taken to answer it, in seconds: 30 days.
const ANSWERS_S: i64 = 30 * 86_400;

/// The messages people sent that are not stored yet, and what they answer as far as they say so.
async fn unknown(tx: &mut Tx, items: &[&Item]) -> Result<Vec<Arrived>, Stop> {
    let all: Vec<&Arrived> = items.iter().flat_map(|item| &item.messages).collect();
    let key = |m: &Arrived| (m.row.account_id, m.row.provider_message_id.clone());
    let keys: Vec<_> = all.iter().map(|m| key(m)).collect();
    let mut seen: HashSet<(AccountId, String)> = inbound::known(tx, &keys).await?.into_iter().collect();
    let mut arrived: Vec<Arrived> = all.into_iter().filter(|m| seen.insert(key(m))).cloned().collect();
    answers::find(tx, &mut arrived).await?;
    Ok(arrived)
}

/// Who wrote a message.
fn writer(m: &Inbound) -> Writer {
    Writer { tenant_id: m.tenant_id, account_id: m.account_id, channel: m.channel, address: m.address.clone() }
}

/// What people answer who wrote: what they say they do, or the newest message that left through the same account to where they write from, if nobody answered it yet. Machines answer nothing.
async fn replies(tx: &mut Tx, arrived: &[Arrived], now: Timestamp) -> Result<Vec<Learned>, Stop> {
    let oldest_ms = now.plus_seconds(-ANSWERS_S).as_millis().max(0).unsigned_abs();
    let oldest = MessageId::from_ulid(u128::from(oldest_ms) << 80);
    let people = || arrived.iter().filter(|one| !one.is_automatic());
    let silent = people().filter(|one| one.body.in_reply_to_message_id.is_none());
    let writers: Vec<Writer> = silent.map(|one| writer(&one.row)).collect::<HashSet<_>>().into_iter().collect();
    let found = messages::newest_sent_to(tx, &writers, oldest).await?.into_iter();
    let newest: HashMap<Writer, (MessageId, bool)> =
        found.map(|(who, id, is_answered)| (who, (id, is_answered))).collect();
    let mut learned: Vec<Learned> = Vec::new();
    for one in people() {
        let m = &one.row;
        let message_id = match one.body.in_reply_to_message_id {
            Some(answered) => answered,
            None => {
                let Some((message_id, false)) = newest.get(&writer(m)) else { continue };
                *message_id
            }
        };
        if learned.iter().any(|learned| learned.message_id == message_id) {
            continue;
        }
        learned.push(Learned {
            tenant_id: m.tenant_id,
            message_id,
            fact: Fact::Replied,
            at: m.received_at,
            source: "recipient".to_owned(),
            dedupe: "replied".to_owned(),
            provider_status: None,
            provider_message_id: None,
            segments: None,
            price: None,
            pricing: None,
            machine: None,
            attempt: None,
        });
    }
    Ok(learned)
}

/// Stores the messages people sent, and tells their tenants.
async fn receive(
    tx: &mut Tx,
    arrived: Vec<Arrived>,
    tenants: &Tenants,
    writes: &mut Writes,
    changed: &mut Changed,
    now: Timestamp,
    ids: &Ids,
) -> Result<(), Stop> {
    files::hold(tx, &arrived, now).await?;
    let mut new: Vec<Inbound> = arrived.into_iter().map(Arrived::into_row).collect();
    let known = |m: &&Inbound| tenants.get(&m.tenant_id).is_some_and(|tenant| tenant.has_contacts);
    let wanted = new.iter().filter(known).map(|m| (m.tenant_id, m.channel, m.address.as_str()));
    let links = Links::find(tx, wanted).await?;
    for m in &mut new {
        m.contact_id = links.of(m.tenant_id, m.channel, &m.address);
    }
    for m in &new {
        let mut changes = vec![Change::new("inbound_message", "stored")];
        if let Some(tenant) = tenants.get(&m.tenant_id) {
            writes.event(tenant, "message.received", messages_in::json(m), now, ids);
            let told = writes.events.len();
            keywords::act(tx, writes, tenant, m, now, ids).await?;
            changes.extend(writes.events[told..].iter().map(|event| Change::new("contact", &event.kind)));
        }
        changed.messages.insert(m.id, changes);
    }
    new.sort_by(|a, b| (a.account_id, &a.provider_message_id).cmp(&(b.account_id, &b.provider_message_id)));
    if inbound::insert_many(tx, &new).await? < new.len() as u64 {
        return Err(Stop::Raced);
    }
    Ok(())
}

/// What was changed by what requests told.
struct Changed {
    /// One for each report whose message was found, in order.
    reports: Vec<Vec<Change>>,
    /// By messages people sent that were stored.
    messages: HashMap<InboundId, Vec<Change>>,
}

/// The log's rows, with what each told about which message and what that changed, and how many of their reports found none. `matched` has one answer per report, in order.
fn rows(items: &[&Item], matched: &[Option<MessageId>], mut changed: Changed, repeats: &Repeats) -> Vec<Callback> {
    let mut reports = changed.reports.into_iter();
    let mut matched =
        matched.iter().map(|message| (*message, message.and_then(|_| reports.next()).unwrap_or_default()));
    let mut rows = Vec::with_capacity(items.len());
    for item in items {
        let found: Vec<_> = matched.by_ref().take(item.reports.len()).collect();
        let unmatched = found.iter().filter(|(message, _)| message.is_none()).count();
        let reports = item.reports.iter().zip(found);
        let reports = reports.map(|(report, (message, changes))| Told::report(report.fact(), message, changes));
        let stored = &mut changed.messages;
        let messages = item.messages.iter().map(|message| {
            let id = message.row.id;
            Told::message(id, stored.remove(&id).unwrap_or_default())
        });
        let templates = item.has_template_news.then(Told::templates);
        let told: Vec<Told> = reports.chain(messages).chain(templates).take(TOLD_MAX).collect();
        let told = (!told.is_empty()).then(|| serde_json::to_string(&told).expect("it has a JSON form"));
        let repeats = item.key().and_then(|key| repeats.get(&key)).copied().unwrap_or(0);
        rows.push(Callback { unmatched: unmatched as u32, repeats, told, ..item.row.clone() });
    }
    rows
}
