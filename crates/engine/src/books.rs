//! Checking the books: everything that is billed is counted again from what happened, and every difference is told. `tidings doctor --ledger`, and a job once a day.
//!
//! For each tenant: usage and the counters by half hour against a recount of the messages, what was used of the plan likewise, messages called sent against
//! attempts on record; each ledger's entries against one another, its balances, what is left of its grants and the purchases they came from, each message's charge against its entries and against what became of it; and invoices against
//! their lines, their series of numbers and the months they follow. Messages are read in pages and differences are few, so memory does not grow with what there is.
//!
//! Nothing holds a snapshot of the database for longer than one page, one half hour of messages or one statement takes, however much a tenant has. What goes on meanwhile makes sums seem to
//! differ, so what seems to is counted once more by itself, in one snapshot of that half hour or month: only what differs then is told.

mod bills;
mod ledgers;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use model::{BoxFuture, Channel, MessageId, TenantId, Timestamp};
use serde::Serialize;
use store::{
    Db, Scope, Tx,
    credits::{self, Charge},
    fallbacks::{self, FormerRoute},
    installation,
    message_counters::{self, Table},
    messages::{self, Message},
    quotas::{self, Counter},
    recounts, tenants,
    usage::{self, Counts, Key},
};

use crate::{
    Engine, Error,
    analytics::{self, count},
    money::{
        charge,
        ledger::{RELEASED, RESERVED, SETTLED},
    },
    plans::quota,
    vault::OPERATOR,
    writes::Writes,
};

/// How long ago the last check of the installation must be, in milliseconds: a day, as one reads every message there is.
const CHECKED_MS: i64 = 86_400_000;
/// How often the job looks whether one is due, in milliseconds.
pub const EVERY_MS: u64 = 3_600_000;
/// Under which name the installation keeps when it was checked last, in milliseconds since 1970.
const CHECKED: &str = "books_checked_at";
/// Under which name it keeps what the last check found: numbers by tenant, in JSON.
const FOUND: &str = "books_findings";
/// Tenants whose findings are kept one by one; those of more are the operator's.
const FOUND_MAX: usize = 1_000;
/// Rows read at once.
const PAGE: i64 = 1_000;
/// How much later than the clock a message's id may be because that was set back, in seconds, without all later messages being looked at.
const LATER_S: i64 = 86_400;
/// Differences of one kind and tenant that are told one by one: enough to see what they have in common.
const TOLD_MAX: usize = 100;
/// Sums of one tenant read at once.
const SUMS_MAX: i64 = i64::MAX;

/// Something that does not add up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Whose; `None` for the operator's own.
    pub tenant_id: Option<TenantId>,
    /// What kind: `usage`, `counters`, `quota`, `attempts`, `ledger`, `charge` or `invoice`.
    pub kind: &'static str,
    /// In words.
    pub detail: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.tenant_id {
            Some(tenant) => write!(f, "{tenant}: {}: {}", self.kind, self.detail),
            None => write!(f, "{}: {}", self.kind, self.detail),
        }
    }
}

/// What was looked at, and what does not add up.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Verified {
    /// Tenants.
    pub tenants: u64,
    /// Messages.
    pub messages: u64,
    /// Movements of credit.
    pub entries: u64,
    /// Invoices and credit notes.
    pub invoices: u64,
    /// What does not add up: of each kind and tenant the first hundred.
    pub differences: Vec<Difference>,
}

/// Checks everything.
#[crate::boxed]
pub async fn verify(db: &Db) -> Result<Verified, Error> {
    let mut verified = Verified::default();
    let mut before = TenantId::from_ulid(u128::MAX);
    loop {
        let read = db.read(Scope::System, move |tx| {
            Box::pin(async move { Ok::<_, Error>(tenants::list(tx, before, PAGE).await?) })
        });
        let page = read.await?;
        let Some(last) = page.last() else { break };
        before = last.id;
        for tenant in page {
            let of_tenant = look(db, tenant.id).await?;
            verified.tenants += 1;
            verified.messages += of_tenant.messages;
            verified.entries += of_tenant.entries;
            verified.differences.extend(of_tenant.differences);
        }
    }
    let read = db.read(Scope::System, |tx| Box::pin(async move { bills::look(tx).await }));
    let of_bills = read.await?;
    verified.invoices = of_bills.invoices;
    verified.differences.extend(of_bills.differences);
    Ok(verified)
}

/// Differences as they are found, each kind up to a bound.
#[derive(Default)]
struct Found {
    told: BTreeMap<&'static str, usize>,
    verified: Verified,
}

impl Found {
    fn add(&mut self, tenant_id: Option<TenantId>, kind: &'static str, detail: impl FnOnce() -> String) {
        let told = self.told.entry(kind).or_default();
        *told += 1;
        if *told <= TOLD_MAX {
            self.verified.differences.push(Difference { tenant_id, kind, detail: detail() });
        }
    }
}

/// Reads within a tenant, in one short snapshot.
async fn read<T, W>(db: &Db, tenant: TenantId, work: W) -> Result<T, Error>
where
    T: Send + 'static,
    W: for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<T, store::Error>> + Send + 'static,
{
    Ok(db.read(Scope::Tenant(tenant), work).await?)
}

/// Checks one tenant.
async fn look(db: &Db, tenant: TenantId) -> Result<Verified, Error> {
    let mut found = Found::default();
    let of = Some(tenant);
    let mut recount = Recount::default();
    let counters = read(db, tenant, move |tx| Box::pin(quotas::all(tx, tenant))).await?;
    recount.used = counters.iter().map(|counter| ((counter.channel, counter.starts_at), 0)).collect();
    recount.counters = counters;
    let mut after = MessageId::from_ulid(0);
    loop {
        let page = read(db, tenant, move |tx| Box::pin(page(tx, tenant, after, true))).await?;
        let Some(last) = page.last else { break };
        after = last;
        for m in &page.messages {
            found.verified.messages += 1;
            recount.add(m, page.routes.iter().filter(|route| route.message_id == m.id));
            if let Some(wrong) = misjudged(m, page.charges.get(&m.id)) {
                found.add(of, "charge", || format!("{}: {wrong}", m.id));
            }
        }
    }
    recount.compare(db, tenant, &mut found).await?;
    let limit = TOLD_MAX as i64;
    for id in read(db, tenant, move |tx| Box::pin(recounts::sent_without_attempt(tx, tenant, limit))).await? {
        found.add(of, "attempts", || format!("{id} is called sent, and nothing was ever tried"));
    }
    for id in read(db, tenant, move |tx| Box::pin(recounts::taken_and_not_sent(tx, tenant, limit))).await? {
        found.add(of, "attempts", || format!("a provider took {id}, and it is not called sent"));
    }
    for (one, other) in read(db, tenant, move |tx| Box::pin(recounts::charged_as_one(tx, tenant, limit))).await? {
        found.add(of, "charge", || format!("{one} and {other} are one message to the provider, and both were charged"));
    }
    ledgers::look(db, tenant, &mut found).await?;
    Ok(found.verified)
}

/// Some of a tenant's messages to people, the ways they left, and what they were charged.
struct Page {
    /// The last of all that were read; `None` when there are no more.
    last: Option<MessageId>,
    messages: Vec<Message>,
    routes: Vec<FormerRoute>,
    charges: BTreeMap<MessageId, Charge>,
}

async fn page(tx: &mut Tx, tenant: TenantId, after: MessageId, has_charges: bool) -> Result<Page, store::Error> {
    let mut messages = messages::after(tx, tenant, after, PAGE).await?;
    let last = messages.last().map(|m| m.id);
    messages.retain(|m| m.channel != Channel::Webhook);
    let keys: Vec<_> = messages.iter().map(|m| (tenant, m.id)).collect();
    let routes = fallbacks::former(tx, &keys).await?;
    let charges = if has_charges { credits::of_messages(tx, &messages).await? } else { BTreeMap::new() };
    Ok(Page { last, messages, routes, charges })
}

type Slots = BTreeMap<message_counters::Key, message_counters::Counts>;

/// Everything a tenant's messages come to.
#[derive(Default)]
struct Recount {
    slots: Slots,
    counters: Vec<Counter>,
    used: BTreeMap<(Channel, Timestamp), i64>,
}

impl Recount {
    fn add<'a>(&mut self, m: &Message, routes: impl Iterator<Item = &'a FormerRoute>) {
        count::change(&mut self.slots, None, m);
        if quota::counts(m) {
            self.use_up(m.channel, m.created_at);
        }
        for route in routes {
            count::former(&mut self.slots, m, route);
            if route.sent_at.is_some() {
                self.use_up(route.channel, m.created_at);
            }
        }
    }

    fn use_up(&mut self, channel: Channel, at: Timestamp) {
        let is_of = |counter: &&Counter| counter.channel == channel && counter.starts_at <= at && at < counter.ends_at;
        if let Some(counter) = self.counters.iter().find(is_of) {
            *self.used.entry((channel, counter.starts_at)).or_default() += 1;
        }
    }

    async fn compare(mut self, db: &Db, tenant: TenantId, found: &mut Found) -> Result<(), Error> {
        let of = Some(tenant);
        let sums = read(db, tenant, move |tx| {
            Box::pin(async move {
                let slots = slots(tx, tenant, Table::Slots, &everything()).await?;
                let days = self::slots(tx, tenant, Table::Days, &everything()).await?;
                Ok((slots, days, usage::of_tenant(tx, tenant).await?))
            })
        });
        let (kept, days, months) = sums.await?;
        self.slots.retain(|_, counts| *counts != message_counters::Counts::default());
        let suspects: BTreeSet<Timestamp> = differing(&self.slots, &kept).into_iter().map(|(key, ..)| key.at).collect();
        let mut wrong_months = BTreeSet::new();
        for at in suspects {
            let differences = read(db, tenant, move |tx| Box::pin(half_hour(tx, tenant, at))).await?;
            for detail in differences {
                wrong_months.insert(at.month());
                found.add(of, "counters", || detail);
            }
        }
        // All were read in one snapshot. Where half hours are wrong, that is told already.
        let mut months: BTreeMap<Key, Counts> = months.into_iter().collect();
        months.retain(|_, counts| *counts != Counts::default());
        let by_slots = by_month(&kept);
        let is_told = |key: &Key| wrong_months.contains(&key.month);
        for (key, counts, told) in differing(&by_slots, &months).into_iter().filter(|(key, ..)| !is_told(key)) {
            let name = format!("{} {} through {} in {}", key.purpose.as_str(), key.channel, key.provider, key.month);
            found.add(of, "usage", || format!("{name}: the half hours come to {counts:?}, the month says {told:?}"));
        }
        let mut by_day = message_counters::by_day(&kept);
        by_day.retain(|_, counts| *counts != message_counters::Counts::default());
        for (key, counts, told) in differing(&by_day, &days) {
            if wrong_months.contains(&key.at.month()) {
                continue;
            }
            let (counts, told) = (sent(counts), sent(told));
            found.add(of, "counters", || {
                format!(
                    "{} through {} on the day {}: the half hours come to {} accepted and {} sent, the day says {} and {}, or differ in what became of them",
                    key.channel, key.provider, key.at, counts.0, counts.1, told.0, told.1
                )
            });
        }
        let is_suspect =
            |counter: &&Counter| self.used.get(&(counter.channel, counter.starts_at)) != Some(&counter.used);
        for counter in self.counters.iter().filter(is_suspect) {
            let (channel, starts_at) = (counter.channel, counter.starts_at);
            let seen = read(db, tenant, move |tx| {
                Box::pin(async move {
                    let all = quotas::all(tx, tenant).await?;
                    let is_it = |counter: &Counter| (counter.channel, counter.starts_at) == (channel, starts_at);
                    let Some(counter) = all.into_iter().find(is_it) else { return Ok(None) };
                    let used = recounts::used(tx, tenant, channel, starts_at, counter.ends_at).await?;
                    Ok(Some((counter.used, used)))
                })
            });
            if let Some((told, used)) = seen.await?.filter(|(told, used)| told != used) {
                found.add(of, "quota", || {
                    format!("{channel} from {starts_at}: {used} messages count, the plan's counter says {told}")
                });
            }
        }
        Ok(())
    }
}

/// Accepted and sent.
fn sent(counts: Option<&message_counters::Counts>) -> (i64, i64) {
    counts.map_or((0, 0), |c| (c.outcome.accepted, c.outcome.sent))
}

fn everything() -> message_counters::Filter {
    message_counters::Filter::everything()
}

async fn slots(
    tx: &mut Tx,
    tenant: TenantId,
    table: Table,
    filter: &message_counters::Filter,
) -> Result<Slots, store::Error> {
    let split = message_counters::Split::FULL;
    let sums = message_counters::sums_of(tx, table, Some(tenant), filter, split, SUMS_MAX).await?;
    Ok(sums.into_iter().filter(|(_, counts)| *counts != message_counters::Counts::default()).collect())
}

/// Half hours by month, as usage is kept.
fn by_month(slots: &Slots) -> BTreeMap<Key, Counts> {
    let mut months: BTreeMap<Key, Counts> = BTreeMap::new();
    for (key, counts) in slots {
        let key = Key {
            tenant_id: key.tenant_id,
            month: key.at.month(),
            channel: key.channel,
            provider: key.provider.clone(),
            purpose: key.purpose,
        };
        *months.entry(key).or_default() += counts.outcome;
    }
    months.retain(|_, counts| *counts != Counts::default());
    months
}

/// Counts the messages of one half hour again, and says what differs. Ids follow the clock but for where it was set back, and then they are later: so only the last look reads on to the end.
async fn half_hour(tx: &mut Tx, tenant: TenantId, at: Timestamp) -> Result<Vec<String>, store::Error> {
    let until = at.plus_seconds(message_counters::SLOT_S);
    let filter = message_counters::Filter { from: at, until, ..everything() };
    let mut kept = slots(tx, tenant, Table::Slots, &filter).await?;
    kept.retain(|key, _| key.at == at);
    let mut differences = Vec::new();
    for end in [until.plus_seconds(LATER_S), Timestamp::from_seconds(200_000_000_000)] {
        let mut recount = Recount::default();
        let mut after = first_id(at);
        loop {
            let page = page(tx, tenant, after, false).await?;
            for m in page.messages.iter().filter(|m| m.created_at >= at && m.created_at < until) {
                recount.add(m, page.routes.iter().filter(|route| route.message_id == m.id));
            }
            match page.last.filter(|last| *last < first_id(end)) {
                Some(last) => after = last,
                None => break,
            }
        }
        recount.slots.retain(|key, counts| key.at == at && *counts != message_counters::Counts::default());
        differences = differing(&recount.slots, &kept).into_iter().map(|(key, counts, told)| {
            let (counts, told) = (sent(counts), sent(told));
            format!(
                "{} through {} in the half hour from {}: the messages come to {} accepted and {} sent, the counters say {} and {}, or differ in what became of them",
                key.channel, key.provider, key.at, counts.0, counts.1, told.0, told.1
            )
        }).collect();
        if differences.is_empty() {
            break;
        }
    }
    Ok(differences)
}

/// The lowest id a message can have that was accepted at an instant.
fn first_id(at: Timestamp) -> MessageId {
    MessageId::from_ulid(u128::from(at.as_millis().max(0).unsigned_abs()) << 80)
}

/// The keys under which two maps say different things.
fn differing<'a, K: Ord, V: PartialEq>(
    one: &'a BTreeMap<K, V>,
    other: &'a BTreeMap<K, V>,
) -> Vec<(&'a K, Option<&'a V>, Option<&'a V>)> {
    let mut keys: Vec<&K> = one.keys().chain(other.keys()).collect();
    keys.sort_unstable();
    keys.dedup();
    let pairs = keys.into_iter().map(|key| (key, one.get(key), other.get(key)));
    pairs.filter(|(_, one, other)| one != other).collect()
}

/// What is wrong with a message's charge by what became of the message.
fn misjudged(m: &Message, charge: Option<&Charge>) -> Option<String> {
    // One without a charge was not to be billed; what its provider asked may stand on it all the same.
    let charge = charge?;
    let expected = match (m.sent_at.is_some(), charge::is_given_back(m)) {
        (true, _) => SETTLED,
        (false, true) => RELEASED,
        (false, false) => RESERVED,
    };
    // A dead letter that is tried again keeps what was given back until it is sent.
    let is_retried = charge.state == RELEASED && expected == RESERVED;
    if charge.state != expected && !is_retried {
        return Some(format!("it is {}, and its charge is {} instead of {expected}", m.status, charge.state));
    }
    let is_settled = charge.state == SETTLED;
    (is_settled && m.cost_micros != Some(charge.charged))
        .then(|| format!("it says it cost {:?} millionths, and {} were charged", m.cost_micros, charge.charged))
}

/// Checks everything when the last check of the installation, by whichever process, is a day ago; a new installation has its first one a day later. Answers whether it did.
#[crate::boxed]
pub async fn daily(engine: &Arc<Engine>) -> Result<bool, Error> {
    let now = engine.ports.clock.now().as_millis();
    let write = engine.ports.db.write(Scope::System, move |tx| {
        Box::pin(async move {
            let to = now.to_string();
            // Sums of an earlier version are not wrong: they are counted again first.
            if analytics::is_pending(tx).await? {
                return Ok(false);
            }
            let Some(from) = installation::find(tx, CHECKED).await? else {
                return installation::claim(tx, CHECKED, &to).await.map(|_| false);
            };
            // The clock may have been set back since.
            let is_due = !from.parse().is_ok_and(|at: i64| (0..CHECKED_MS).contains(&(now - at)));
            Ok::<_, store::Error>(is_due && installation::replace(tx, CHECKED, &from, &to).await?)
        })
    });
    let is_ours = write.await?;
    if is_ours {
        watch(engine).await?;
    }
    Ok(is_ours)
}

/// What the last check found, by tenant, and all of it under [`OPERATOR`]; `None` before the first check.
pub(crate) async fn findings(tx: &mut Tx) -> Result<Option<BTreeMap<TenantId, i64>>, Error> {
    let text = installation::find(tx, FOUND).await?;
    text.map(|text| serde_json::from_str(&text).map_err(Error::internal)).transpose()
}

/// Checks everything and tells the operator's log and each tenant's events of what does not add up. Answers how many differences there are.
#[crate::boxed]
pub async fn watch(engine: &Arc<Engine>) -> Result<u64, Error> {
    let verified = verify(&engine.ports.db).await?;
    let mut by_tenant: BTreeMap<TenantId, Vec<&Difference>> = BTreeMap::new();
    for difference in &verified.differences {
        tracing::error!(kind = difference.kind, "The books do not add up: {difference}");
        by_tenant.entry(difference.tenant_id.unwrap_or(OPERATOR)).or_default().push(difference);
    }
    for (tenant_id, differences) in &by_tenant {
        if *tenant_id == OPERATOR {
            continue;
        }
        let (tenant_id, now, shard) = (*tenant_id, engine.ports.clock.now(), engine.shard());
        let (_, tenant) = engine.tenant(tenant_id).await?;
        let data = serde_json::json!({ "count": differences.len(), "differences": differences.iter().take(10).collect::<Vec<_>>() });
        let (ids, data) = (Arc::clone(&engine.ports.ids), data.to_string());
        let write = engine.ports.db.write(Scope::Tenant(tenant_id), move |tx| {
            Box::pin(async move {
                let mut writes = Writes::default();
                writes.event(&tenant, "ledger.difference", data, now, &ids);
                writes.write(tx, shard).await
            })
        });
        write.await?;
        engine.wakers.wake(tenant_id);
    }
    let mut counts: BTreeMap<TenantId, usize> =
        by_tenant.iter().take(FOUND_MAX).map(|(tenant, differences)| (*tenant, differences.len())).collect();
    // The operator answers for everybody's.
    counts.insert(OPERATOR, verified.differences.len());
    let text = serde_json::to_string(&counts).map_err(Error::internal)?;
    let write = engine.ports.db.write(Scope::System, move |tx| {
        Box::pin(async move { Ok::<_, Error>(installation::put(tx, FOUND, &text).await?) })
    });
    write.await?;
    metrics::gauge!("tidings_ledger_differences").set(verified.differences.len() as f64);
    Ok(verified.differences.len() as u64)
}
