//! Checking the books: everything that is billed is counted again from what happened, and every difference is told. `tidings doctor --ledger`, and a job once a day.
//!
//! For each tenant: its messages against usage, the counters by half hour, day and template, its plan and the attempts on record ([`counters`]), against what each was charged and under which
//! price ([`charges`]), and in which quarter of an hour that is summed ([`places`]); each ledger's entries against one another, its balances, what prices come to and its grants ([`ledgers`]);
//! purchases, refunds and disputes against their entries ([`purchases`]); what is on its invoices against what was counted ([`months`]); and what its subscription says
//! against what somebody set ([`subscribed`]). Then every invoice against its own lines, the series
//! of numbers, and the credit notes ([`bills`]), and against what the operator's log says of it ([`issued`]), also of tenants that are gone, and every plan against how it was made ([`plans`]). Messages are read in pages, what they come to is let go of once it was held against the sums of its day, and
//! differences are few, so memory does not grow with what there is.
//!
//! Nothing holds a snapshot of the database for longer than one page, one half hour of messages or one statement takes, however much a tenant has. What goes on meanwhile makes sums seem to
//! differ, so what seems to is counted once more by itself, in one snapshot of that half hour or month: only what differs then is told.
//!
//! What the daily check found is looked at again every hour ([`again()`]), so that it is over soon after somebody mended it, and at once when a person checks and finds nothing ([`verify_and_note`]).

mod again;
mod bills;
mod charges;
mod counters;
mod history;
mod issued;
mod ledgers;
mod months;
mod places;
mod plans;
mod purchases;
mod subscribed;

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
    messages::{self, Message},
    recounts, retention, tenants,
};

pub use self::again::again;
use self::history::{History, Prices};
use crate::{Engine, Error, analytics, vault::OPERATOR, writes::Writes};

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
/// Charged messages whose entries are put together in one statement: some megabytes of them.
const RANGE_MAX: usize = 50_000;
/// How much later than the clock a message's id may be at least, in seconds, whatever was seen.
const LATE_S: i64 = 3_600;
/// Seconds of messages that are counted before what they come to is held against the sums.
const DAY_S: i64 = 86_400;
/// Differences of one kind and tenant that are told one by one: enough to see what they have in common. All are counted.
const TOLD_MAX: usize = 100;
/// The same for a statement that finds them.
const ROWS_MAX: i64 = TOLD_MAX as i64;
/// When everything there is was over.
const END: Timestamp = Timestamp::from_seconds(200_000_000_000);

/// Something that does not add up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Whose; `None` for the operator's own.
    pub tenant_id: Option<TenantId>,
    /// What kind: `usage`, `counters`, `quota`, `attempts`, `ledger`, `charge`, `grant`, `purchase`, `billing` or `invoice`.
    pub kind: &'static str,
    /// In words.
    pub detail: String,
}

/// Differences of a kind beyond those that are told one by one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct More {
    /// Whose; `None` for the operator's own.
    pub tenant_id: Option<TenantId>,
    /// What kind.
    pub kind: &'static str,
    /// How many more.
    pub count: u64,
}

fn of(tenant_id: Option<TenantId>) -> String {
    tenant_id.map_or_else(String::new, |tenant| format!("{tenant}: "))
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}: {}", of(self.tenant_id), self.kind, self.detail)
    }
}

impl fmt::Display for More {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}: and {} more of this kind", of(self.tenant_id), self.kind, self.count)
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
    /// How many there are of a kind and tenant beyond those.
    pub more: Vec<More>,
}

impl Verified {
    /// How many differences there are, those that are not told one by one among them.
    pub fn count(&self) -> u64 {
        self.counts().into_values().sum()
    }

    /// The same by tenant; `None` for the operator's own.
    fn counts(&self) -> BTreeMap<Option<TenantId>, u64> {
        let told = self.differences.iter().map(|difference| (difference.tenant_id, 1));
        let mut counts = BTreeMap::new();
        for (tenant, count) in told.chain(self.more.iter().map(|more| (more.tenant_id, more.count))) {
            *counts.entry(tenant).or_default() += count;
        }
        counts
    }
}

/// Checks everything.
#[crate::boxed]
pub async fn verify(db: &Db) -> Result<Verified, Error> {
    let mut found = Found::default();
    let mut prices = Prices::read(db).await?;
    let mut before = TenantId::from_ulid(u128::MAX);
    loop {
        let read = db.read(Scope::System, move |tx| {
            Box::pin(async move { Ok::<_, Error>(tenants::list(tx, before, PAGE).await?) })
        });
        let page = read.await?;
        let Some(last) = page.last() else { break };
        before = last.id;
        for tenant in page {
            found.verified.tenants += 1;
            look(db, &tenant, &mut prices, &mut found).await?;
        }
    }
    bills::look(db, &mut found).await?;
    plans::look(db, &mut found).await?;
    Ok(found.end())
}

/// Checks everything, for a person who asks. That nothing was found is noted, as by the daily check, so the alerts about what an earlier check found end; what a check of the server's told meanwhile stays.
#[crate::boxed]
pub async fn verify_and_note(db: &Db) -> Result<Verified, Error> {
    let read = db.read(Scope::System, |tx| {
        Box::pin(async move {
            Ok::<_, Error>((installation::find(tx, FOUND).await?, installation::find(tx, CHECKED).await?))
        })
    });
    let (found, checked) = read.await?;
    let verified = verify(db).await?;
    let Some(found) = found.filter(|_| verified.count() == 0) else { return Ok(verified) };
    let nothing = serde_json::to_string(&findings_of(BTreeMap::new(), 0)).map_err(Error::internal)?;
    let write = db.write(Scope::System, move |tx| {
        Box::pin(async move {
            let is_newest = installation::find(tx, CHECKED).await? == checked;
            Ok::<_, Error>(is_newest && installation::replace(tx, FOUND, &found, &nothing).await?)
        })
    });
    // The books are as they were counted, whether that can be noted or not.
    if let Err(error) = write.await {
        tracing::warn!(%error, "Cannot note that the books add up: alerts about them end with the next check of the server's");
    }
    Ok(verified)
}

/// Shows, as a metric of this process, how many differences the last check found, whichever process did it; nothing before the first.
pub(crate) fn show(found: Option<&BTreeMap<TenantId, i64>>) {
    if let Some(total) = found.and_then(|found| found.get(&OPERATOR)) {
        metrics::gauge!("tidings_ledger_differences").set(*total as f64);
    }
}

/// Differences as they are found, each kind of each tenant up to a bound.
#[derive(Default)]
struct Found {
    /// How many were told one by one, and how many there are.
    counts: BTreeMap<(Option<TenantId>, &'static str), (usize, u64)>,
    verified: Verified,
}

impl Found {
    fn add(&mut self, tenant_id: Option<TenantId>, kind: &'static str, detail: impl FnOnce() -> String) {
        let (told, all) = self.counts.entry((tenant_id, kind)).or_default();
        *all += 1;
        if *told < TOLD_MAX {
            *told += 1;
            self.verified.differences.push(Difference { tenant_id, kind, detail: detail() });
        }
    }

    /// Adds what a statement found.
    fn add_all<T>(
        &mut self,
        tenant_id: Option<TenantId>,
        kind: &'static str,
        rows: recounts::Found<T>,
        detail: impl Fn(T) -> String,
    ) {
        let more = rows.count.saturating_sub(rows.rows.len() as u64);
        for row in rows.rows {
            self.add(tenant_id, kind, || detail(row));
        }
        if more > 0 {
            self.counts.entry((tenant_id, kind)).or_default().1 += more;
        }
    }

    fn end(mut self) -> Verified {
        for ((tenant_id, kind), (told, all)) in self.counts {
            let count = all - told as u64;
            if count > 0 {
                self.verified.more.push(More { tenant_id, kind, count });
            }
        }
        self.verified
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
async fn look(db: &Db, row: &tenants::Tenant, prices: &mut Prices, found: &mut Found) -> Result<(), Error> {
    let (tenant, of) = (row.id, Some(row.id));
    let history = History::read(db, row).await?;
    let mut counted = counters::Recount::begin(db, tenant).await?;
    let mut charged = places::Recount::default();
    let (mut after, mut late_ms, mut day) = (MessageId::from_ulid(0), 0, Timestamp::EPOCH);
    let (mut ranges, mut charges) = (vec![after], 0);
    loop {
        let page = read(db, tenant, move |tx| Box::pin(page(tx, tenant, after, true))).await?;
        let Some(last) = page.last else { break };
        after = last;
        let known = page.charges.values().chain(page.ways.values());
        let versions: BTreeSet<i64> = known.map(|charge| charge.list_version).collect();
        prices.need(db, &versions).await?;
        for m in &page.messages {
            found.verified.messages += 1;
            late_ms = late_ms.max(made_ms(m.id) - m.created_at.as_millis());
            counted.add(m, page.routes_of(m));
            charged.add(&history, m, &page);
            for wrong in charges::misjudged(&history, prices, m, &page) {
                found.add(of, "charge", || format!("{}: {wrong}", m.id));
            }
        }
        charges += page.charges.len();
        if charges >= RANGE_MAX {
            ranges.push(last);
            charges = 0;
        }
        // Of an earlier day no more messages are expected.
        let reached = Timestamp::from_seconds(made_ms(last) / 1_000 / DAY_S * DAY_S);
        if reached > day {
            counted.compare(db, tenant, (day, reached)).await?;
            charged.compare(db, &history, (day, reached)).await?;
            day = reached;
        }
    }
    counted.compare(db, tenant, (day, END)).await?;
    charged.compare(db, &history, (day, END)).await?;
    let late_s = late_ms / 1_000 + LATE_S;
    counted.tell(db, &history, late_s, found).await?;
    charged.tell(db, &history, late_s, found).await?;
    ranges.push(MessageId::from_ulid(u128::MAX));
    charges::look(db, &history, &ranges, found).await?;
    ledgers::look(db, &history, found).await?;
    purchases::look(db, &history, found).await?;
    months::look(db, &history, found).await
}

/// Some of a tenant's messages to people, the ways they left, and what they were charged.
struct Page {
    /// The last of all that were read; `None` when there are no more.
    last: Option<MessageId>,
    messages: Vec<Message>,
    routes: Vec<FormerRoute>,
    charges: BTreeMap<MessageId, Charge>,
    /// What ways they left were charged, by message and number of the way.
    ways: BTreeMap<(MessageId, u32), Charge>,
    /// Messages of which nobody can read what is set aside for them, or what they or a way they left were charged.
    unread: BTreeSet<MessageId>,
}

impl Page {
    /// The ways a message left.
    fn routes_of(&self, m: &Message) -> impl Iterator<Item = &FormerRoute> + Clone {
        let from = self.routes.partition_point(|route| route.message_id < m.id);
        let id = m.id;
        self.routes[from..].iter().take_while(move |route| route.message_id == id)
    }
}

async fn page(tx: &mut Tx, tenant: TenantId, after: MessageId, has_charges: bool) -> Result<Page, store::Error> {
    let mut messages = messages::after(tx, tenant, after, PAGE).await?;
    let last = messages.last().map(|m| m.id);
    messages.retain(|m| m.channel != Channel::Webhook);
    let keys: Vec<_> = messages.iter().map(|m| (tenant, m.id)).collect();
    let routes = fallbacks::former(tx, &keys).await?;
    let (mut charges, mut unread) = (BTreeMap::new(), BTreeSet::new());
    if has_charges {
        let is_read = |m: &&Message| Charge::of_row(m).is_ok();
        let (read, other): (Vec<&Message>, Vec<&Message>) = messages.iter().partition(is_read);
        charges = credits::of_messages(tx, &read).await?;
        unread = other.into_iter().map(|m| m.id).collect();
    }
    let mut ways = BTreeMap::new();
    for (route, way) in routes.iter().filter_map(|route| Some((route, route.charge.as_deref()?))) {
        match Charge::of_way(tenant, route.message_id, way) {
            Ok(way) => drop(ways.insert((route.message_id, route.position), way)),
            Err(_) => drop(unread.insert(route.message_id)),
        }
    }
    Ok(Page { last, messages, routes, charges, ways, unread })
}

/// Goes through a tenant's messages to people that were accepted in a time, in one snapshot. Ids follow the clock but for where it was set back, and then they are later, `late_s` seconds at most.
async fn each(
    tx: &mut Tx,
    tenant: TenantId,
    (from, until): (Timestamp, Timestamp),
    late_s: i64,
    has_charges: bool,
    mut take: impl FnMut(&Page, &Message) + Send,
) -> Result<(), store::Error> {
    let mut after = MessageId::from_ulid(retention::first_id(from));
    let end = MessageId::from_ulid(retention::first_id(until.plus_seconds(late_s)));
    loop {
        let page = page(tx, tenant, after, has_charges).await?;
        for m in page.messages.iter().filter(|m| m.created_at >= from && m.created_at < until) {
            take(&page, m);
        }
        match page.last.filter(|last| *last < end) {
            Some(last) => after = last,
            None => return Ok(()),
        }
    }
}

/// When an id was made, in milliseconds since 1970: it begins with that.
fn made_ms(id: MessageId) -> i64 {
    i64::try_from(id.ulid() >> 80).unwrap_or(i64::MAX)
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

/// What a check found as it is kept: how many differences by tenant, and all there are under [`OPERATOR`], who answers for everybody's.
fn findings_of(counts: BTreeMap<Option<TenantId>, u64>, total: u64) -> BTreeMap<TenantId, u64> {
    let mut kept: BTreeMap<TenantId, u64> =
        counts.into_iter().take(FOUND_MAX).map(|(tenant, count)| (tenant.unwrap_or(OPERATOR), count)).collect();
    kept.insert(OPERATOR, total);
    kept
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
    let (all, total) = (verified.counts(), verified.count());
    let mut by_tenant: BTreeMap<TenantId, Vec<&Difference>> = BTreeMap::new();
    for difference in &verified.differences {
        tracing::error!(kind = difference.kind, "The books do not add up: {difference}");
        by_tenant.entry(difference.tenant_id.unwrap_or(OPERATOR)).or_default().push(difference);
    }
    for more in &verified.more {
        tracing::error!(kind = more.kind, count = more.count, "The books do not add up: {more}");
    }
    for (tenant_id, differences) in &by_tenant {
        if *tenant_id == OPERATOR {
            continue;
        }
        let (tenant_id, now, shard) = (*tenant_id, engine.ports.clock.now(), engine.shard());
        let count = all.get(&Some(tenant_id)).copied().unwrap_or(0);
        // A bill outlives its tenant, whom nobody tells anything.
        let Some(tenant) = engine.directory.tenant(tenant_id).await? else { continue };
        let data =
            serde_json::json!({ "count": count, "differences": differences.iter().take(10).collect::<Vec<_>>() });
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
    let text = serde_json::to_string(&findings_of(all, total)).map_err(Error::internal)?;
    let write = engine.ports.db.write(Scope::System, move |tx| {
        Box::pin(async move { Ok::<_, Error>(installation::put(tx, FOUND, &text).await?) })
    });
    write.await?;
    Ok(total)
}
