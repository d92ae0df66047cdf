//! Carrying reconciliations on, one bounded step at a time: what the provider has is fetched, our messages are looked for in it, and its rows among ours.
//!
//! A row is leased for a step, so that nodes share them. The step asks the provider outside of any transaction and writes what came of it together with how far the work is, so a process that dies
//! in between, or one that comes back after its lease, changes nothing. A step that came to nothing is tried again later, each time after a longer wait.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use connectors::{
    Cx,
    manage::{self, Day, Next, Period, Record as Theirs, RecordPage},
};
use model::{AccountId, Answer, Channel, Fact, Failure, FailureKind, MessageId, Money, TenantId, Timestamp};
use store::{
    Scope, Tx, attempts, credits,
    credits::Charge,
    fallbacks,
    messages::{self, Message},
    reconciliations::{self as rows, Reconciliation, Record},
};

use crate::{
    Engine, Error, Parts,
    apply::{Input, Learned},
    directory::Account,
    money::book::Price,
    provider,
};

/// Reconciliations carried on in one run.
const RUN_MAX: u64 = 5;
/// Messages of ours looked at in one step.
const OURS_PAGE: i64 = 2_000;
/// Records compared in one step.
const THEIRS_PAGE: i64 = 1_000;
/// How much longer than asked the provider is asked about, on both sides, in seconds: a day, as lists go by the day.
const MARGIN_S: i64 = 86_400;
/// How long before its time a message may have been accepted, in seconds: messages are scheduled a year ahead at most.
const AHEAD_S: i64 = 366 * 86_400;
/// How near the edge of the time a message of ours may be missing in a table, in seconds: whoever cut it out goes by another clock.
const EDGE_S: i64 = 900;
/// Missing messages a provider is asked about one by one at most; what is missing beyond is believed.
const LOOKED_UP_MAX: i64 = 200;
/// Tries in a row that may bring nothing: with the waits between them, some four hours, in which an outage at a provider is mostly over.
const TRIES_MAX: i64 = 10;
/// Wait after the first of them, in seconds; each further one is twice as long, up to [`WAIT_MAX_S`].
const WAIT_S: i64 = 15;
const WAIT_MAX_S: i64 = 3_600;
/// How long a reconciliation is ours for one step, in milliseconds: 200 questions about missing messages, each of which is given up after 30 seconds, would take longer, but then nobody else
/// gets answers either, and the step that comes too late is not written.
const LEASE_MS: i64 = 10 * 60_000;
/// Days of statistics at most: the longest time and its margins.
const DAYS_MAX: i64 = 70;

/// Carries reconciliations on, each leased for its own step. Run every second; answers how many steps were made.
#[crate::boxed]
pub async fn run(engine: &Arc<Engine>) -> Result<u64, Error> {
    for count in 0..RUN_MAX {
        let (worker, now) = (engine.worker, engine.ports.clock.now());
        let until = now.plus_millis(LEASE_MS);
        let lease = engine.ports.db.write(Scope::System, move |tx| Box::pin(rows::lease(tx, worker, now, until, 1)));
        let leased: Result<Vec<Reconciliation>, store::Error> = lease.await;
        let Some(row) = leased?.pop() else { return Ok(count) };
        let (tenant, id) = (row.tenant_id, row.id);
        let done = step(engine, row).await;
        let release =
            engine.ports.db.write(Scope::Tenant(tenant), move |tx| Box::pin(rows::release(tx, tenant, id, worker)));
        let released: Result<(), store::Error> = release.await;
        done?;
        released?;
    }
    Ok(RUN_MAX)
}

async fn step(engine: &Arc<Engine>, row: Reconciliation) -> Result<(), Error> {
    let done = match (row.stage.as_str(), row.source.as_str()) {
        ("fetch", "statistics") => fetch_days(engine, &row).await?,
        ("fetch", _) => fetch_page(engine, &row).await?,
        ("ours", _) => look_for_ours(engine, &row).await?,
        (_, "statistics") => compare_days(engine, &row).await?,
        _ => compare(engine, &row).await?,
    };
    // Nobody can say now: again later, and not for ever.
    if let Err(failure) = done {
        let is_over = matches!(failure.kind, FailureKind::Account | FailureKind::Content) || row.tries + 1 >= TRIES_MAX;
        let state = if is_over { "failed" } else { "running" }.to_owned();
        let next_at = Some(engine.ports.clock.now().plus_seconds(wait_s(row.tries, failure.retry_after_ms)));
        tracing::info!(reconciliation.id = %row.id, code = failure.code, tries = row.tries + 1, "A step of a reconciliation came to nothing");
        // Said while it goes on, too: whoever waits for it sees why.
        let after =
            Reconciliation { tries: row.tries + 1, state, failure: Some(failure.detail), next_at, ..row.clone() };
        write(engine, &row, after, |_| Box::pin(async { Ok(()) })).await?;
    }
    Ok(())
}

/// How long after a try that brought nothing the next one is made, in seconds; not before the provider said.
fn wait_s(tries: i64, retry_after_ms: Option<u64>) -> i64 {
    let doubled = WAIT_S << tries.clamp(0, 16);
    let asked = retry_after_ms.map_or(0, |ms| i64::try_from(ms.div_ceil(1_000)).unwrap_or(i64::MAX));
    doubled.min(WAIT_MAX_S).max(asked.min(WAIT_MAX_S))
}

/// Writes how far the work is and what came of the step, unless somebody else made it meanwhile.
async fn write<W>(engine: &Engine, seen: &Reconciliation, after: Reconciliation, work: W) -> Result<bool, Error>
where
    W: for<'t> FnOnce(&'t mut Tx) -> model::BoxFuture<'t, Result<(), Error>> + Send + 'static,
{
    let (seen, now) = (seen.clone(), engine.ports.clock.now());
    let write = engine.ports.db.write(Scope::Tenant(seen.tenant_id), move |tx| {
        Box::pin(async move {
            let there = rows::lock(tx, seen.tenant_id, seen.id).await?;
            if there.is_none_or(|there| there != seen) {
                return Ok::<_, Error>(false);
            }
            work(tx).await?;
            // Behind the others that wait, or later still where the step said so.
            let next_at = after.next_at.map(|at| at.max(now)).filter(|_| after.state == "running");
            rows::put(tx, seen.tenant_id, &Reconciliation { updated_at: now, next_at, ..after }).await?;
            Ok(true)
        })
    });
    write.await
}

async fn account(engine: &Engine, row: &Reconciliation) -> Result<Result<Arc<Account>, Failure>, Error> {
    let found = engine.directory.account(row.tenant_id, row.account_id).await?;
    Ok(found.filter(|account| account.trouble.is_none()).ok_or_else(|| {
        Failure::new(FailureKind::Account, "account_gone", "The account was deleted, or cannot be used any more.")
    }))
}

/// Days of a time with its margins, in UTC.
fn period(starts_at: Timestamp, ends_at: Timestamp) -> Period {
    let day = |at: Timestamp| at.to_string().chars().take(10).collect();
    Period { from: day(starts_at.plus_seconds(-MARGIN_S)), to: day(ends_at.plus_seconds(MARGIN_S)) }
}

/// Days of a time itself: the last ends no later than it.
fn days(starts_at: Timestamp, ends_at: Timestamp) -> Period {
    let day = |at: Timestamp| at.to_string().chars().take(10).collect();
    Period { from: day(starts_at), to: day(ends_at.plus_millis(-1)) }
}

/// Whether an account's provider counts by day. Asks nothing.
pub(super) fn counts(parts: &Parts, account: &Account, starts_at: Timestamp, ends_at: Timestamp) -> bool {
    let Some(figures) = account.connector.figures() else { return false };
    let cx = Cx {
        settings: &account.values,
        from: account.from.as_deref(),
        base_url: parts.config.base_urls.get(account.connector.spec().id).map(String::as_str),
        callback_url: &account.callback_url,
        now: parts.ports.clock.now(),
        nonce: 0,
    };
    figures.statistics(&cx, &days(starts_at, ends_at), &[]).is_some()
}

type Step = Result<Result<(), Failure>, Error>;

/// Fetches one page of the provider's messages.
async fn fetch_page(engine: &Arc<Engine>, row: &Reconciliation) -> Step {
    let account = match account(engine, row).await? {
        Ok(account) => account,
        Err(failure) => return Ok(Err(failure)),
    };
    let Some(records) = account.connector.records() else {
        return Ok(Err(Failure::new(FailureKind::Account, "no_list", "This provider shows no list of messages.")));
    };
    let (period, after) =
        (period(row.starts_at, row.ends_at), Some(row.place.clone()).filter(|place| !place.is_empty()));
    let plan = |cx: &Cx<'_>, answers: &[Answer]| records.page(cx, &period, after.as_deref(), answers);
    let page: RecordPage = match provider::drive(engine.parts(), &account, plan).await {
        Ok(page) => page,
        Err(failure) => return Ok(Err(failure)),
    };
    let found: Vec<Record> = page.records.into_iter().map(laid_down).collect();
    let (stage, place) = match page.next {
        Some(next) if next != row.place => ("fetch", next),
        _ => ("ours", String::new()),
    };
    let after = Reconciliation { stage: stage.to_owned(), place, tries: 0, failure: None, ..row.clone() };
    let (tenant, id) = (row.tenant_id, row.id);
    write(engine, row, after, move |tx| Box::pin(async move { Ok(rows::put_records(tx, tenant, id, &found).await?) }))
        .await?;
    Ok(Ok(()))
}

fn laid_down(theirs: Theirs) -> Record {
    Record {
        record: theirs.provider_message_id,
        kind: String::new(),
        message_id: None,
        at: theirs.at,
        ours: None,
        theirs: theirs.price.as_ref().map(|price| price.amount_micros),
        currency: theirs.price.map(|price| price.currency),
    }
}

/// Fetches what the provider counted by day.
async fn fetch_days(engine: &Arc<Engine>, row: &Reconciliation) -> Step {
    let account = match account(engine, row).await? {
        Ok(account) => account,
        Err(failure) => return Ok(Err(failure)),
    };
    let Some(figures) = account.connector.figures() else {
        return Ok(Err(Failure::new(FailureKind::Account, "no_statistics", "This provider shows no statistics.")));
    };
    let period = days(row.starts_at, row.ends_at);
    let plan = |cx: &Cx<'_>, answers: &[Answer]| {
        figures.statistics(cx, &period, answers).unwrap_or_else(|| Ok(Next::Done(Vec::new())))
    };
    let counted: Vec<Day> = match provider::drive(engine.parts(), &account, plan).await {
        Ok(counted) => counted,
        Err(failure) => return Ok(Err(failure)),
    };
    let is_asked = |day: &Day| period.from <= day.day && day.day <= period.to;
    let found: Vec<Record> =
        counted.into_iter().filter(is_asked).filter_map(|day| Some(day_of(&day.day, day.sent?))).collect();
    let after =
        Reconciliation { stage: "ours".to_owned(), place: String::new(), tries: 0, failure: None, ..row.clone() };
    let (tenant, id) = (row.tenant_id, row.id);
    write(engine, row, after, move |tx| Box::pin(async move { Ok(rows::put_records(tx, tenant, id, &found).await?) }))
        .await?;
    Ok(Ok(()))
}

fn day_of(day: &str, theirs: i64) -> Record {
    let at = format!("{day}T00:00:00Z").parse().ok();
    Record {
        record: day.to_owned(),
        kind: String::new(),
        message_id: None,
        at,
        ours: Some(0),
        theirs: Some(theirs),
        currency: None,
    }
}

/// A message of ours as its provider knows it.
struct Ours {
    record: String,
    message_id: MessageId,
    at: Timestamp,
}

/// Looks for one page of our messages among the provider's.
async fn look_for_ours(engine: &Arc<Engine>, row: &Reconciliation) -> Step {
    let (tenant, id, account_id) = (row.tenant_id, row.id, row.account_id);
    let first = row.starts_at.plus_seconds(-AHEAD_S).as_millis().max(0);
    let after = row.place.parse().unwrap_or(MessageId::from_ulid((first.unsigned_abs() as u128) << 80));
    let seen = row.clone();
    let read = engine.ports.db.read(Scope::Tenant(tenant), move |tx| {
        Box::pin(async move {
            let page = messages::after(tx, tenant, after, OURS_PAGE).await?;
            let ours = ours_of(tx, &page, account_id, &seen).await?;
            let names: Vec<String> = ours.iter().map(|ours| ours.record.clone()).collect();
            let known =
                if seen.source == "statistics" { Vec::new() } else { rows::known(tx, tenant, id, &names).await? };
            Ok::<_, Error>((page, ours, known))
        })
    });
    let (page, ours, known) = read.await?;
    let is_last = (page.len() as i64) < OURS_PAGE || page.last().is_some_and(|m| m.created_at >= row.ends_at);
    let place = page.last().map(|m| m.id.to_string()).filter(|_| !is_last);
    let mut next = Reconciliation {
        ours: row.ours + ours.len() as i64,
        stage: if place.is_some() { "ours" } else { "compare" }.to_owned(),
        place: place.unwrap_or_default(),
        tries: 0,
        failure: None,
        ..row.clone()
    };
    if row.source == "statistics" {
        write(engine, row, next, move |tx| Box::pin(async move { count_days(tx, tenant, id, &ours).await })).await?;
        return Ok(Ok(()));
    }
    let mut known: BTreeMap<String, Record> = known.into_iter().map(|record| (record.record.clone(), record)).collect();
    let mut written = Vec::new();
    for one in ours {
        let found = match known.remove(&one.record) {
            Some(record) => Some(record),
            None => match ask_about(engine, row, &mut next, &one).await? {
                Ok(found) => found,
                Err(failure) => return Ok(Err(failure)),
            },
        };
        match found {
            Some(record) => written.push(Record { message_id: Some(one.message_id), ..record }),
            None if is_at_edge(row, one.at) => next.ours -= 1,
            None => {
                next.missing_there += 1;
                written.push(missing_there(one));
            }
        }
    }
    write(engine, row, next, move |tx| Box::pin(async move { Ok(rows::put_records(tx, tenant, id, &written).await?) }))
        .await?;
    Ok(Ok(()))
}

fn missing_there(ours: Ours) -> Record {
    Record {
        record: ours.record,
        kind: "missing_there".to_owned(),
        message_id: Some(ours.message_id),
        at: Some(ours.at),
        ours: None,
        theirs: None,
        currency: None,
    }
}

/// Asks the provider about one message its list lacks: lists leave out what failed at once, and what changed while they were read.
async fn ask_about(
    engine: &Arc<Engine>,
    row: &Reconciliation,
    next: &mut Reconciliation,
    ours: &Ours,
) -> Result<Result<Option<Record>, Failure>, Error> {
    if row.source != "messages" || next.looked_up >= LOOKED_UP_MAX {
        return Ok(Ok(None));
    }
    let account = match account(engine, row).await? {
        Ok(account) => account,
        Err(failure) => return Ok(Err(failure)),
    };
    let Some(records) = account.connector.records() else { return Ok(Ok(None)) };
    next.looked_up += 1;
    let plan =
        |cx: &Cx<'_>, answers: &[Answer]| -> manage::Plan<Option<Theirs>> { records.one(cx, &ours.record, answers) };
    let found = provider::drive(engine.parts(), &account, plan).await;
    Ok(found.map(|found| found.map(laid_down)))
}

/// A table is cut out by another clock than ours.
fn is_at_edge(row: &Reconciliation, at: Timestamp) -> bool {
    row.source == "csv" && (at < row.starts_at.plus_seconds(EDGE_S) || at >= row.ends_at.plus_seconds(-EDGE_S))
}

/// The messages of a page that the account's provider took in the time, under each id it gave: also the ways they left, and the tries before the last.
async fn ours_of(
    tx: &mut Tx,
    page: &[Message],
    account: AccountId,
    row: &Reconciliation,
) -> Result<Vec<Ours>, store::Error> {
    let is_in = |at: Option<Timestamp>| at.filter(|at| *at >= row.starts_at && *at < row.ends_at);
    let mut found: BTreeMap<String, Ours> = BTreeMap::new();
    let mut add = |record: Option<&String>, message_id: MessageId, at: Option<Timestamp>| {
        if let (Some(record), Some(at)) = (record, is_in(at)) {
            found.insert(record.clone(), Ours { record: record.clone(), message_id, at });
        }
    };
    let people = || page.iter().filter(|m| m.channel != Channel::Webhook);
    let keys: Vec<_> = people().map(|m| (m.tenant_id, m.id)).collect();
    for route in fallbacks::former(tx, &keys).await? {
        if route.account_id == account && is_compared(row, route.channel) {
            add(route.provider_message_id.as_ref(), route.message_id, route.sent_at);
        }
    }
    for m in people().filter(|m| is_compared(row, m.channel)) {
        if m.account_id == Some(account) {
            add(m.provider_message_id.as_ref(), m.id, m.sent_at);
        }
        if m.attempts > 1 {
            for attempt in attempts::of_message(tx, m.tenant_id, m.id).await? {
                let is_taken = attempt.outcome == 0 && attempt.account_id == account;
                if is_taken && attempt.provider_message_id != m.provider_message_id {
                    add(attempt.provider_message_id.as_ref(), m.id, Some(attempt.finished_at));
                }
            }
        }
    }
    Ok(found.into_values().collect())
}

/// Whether the provider's records are of a channel: its own list holds everything; in a table are the messages of the channel that was named, or of all but calls.
fn is_compared(row: &Reconciliation, channel: Channel) -> bool {
    match row.channel {
        Some(only) => channel == only,
        None => row.source != "csv" || channel != Channel::Voice,
    }
}

/// Adds our messages to the days they were sent on.
async fn count_days(tx: &mut Tx, tenant: TenantId, id: model::ReconciliationId, ours: &[Ours]) -> Result<(), Error> {
    let mut counts: BTreeMap<String, i64> = BTreeMap::new();
    for one in ours {
        *counts.entry(one.at.to_string().chars().take(10).collect()).or_default() += 1;
    }
    let names: Vec<String> = counts.keys().cloned().collect();
    let known: BTreeMap<String, Record> =
        rows::known(tx, tenant, id, &names).await?.into_iter().map(|record| (record.record.clone(), record)).collect();
    let more = |(day, count): (String, i64)| {
        let record = known.get(&day).cloned().unwrap_or_else(|| day_of(&day, 0));
        Record { ours: Some(record.ours.unwrap_or(0) + count), ..record }
    };
    let counted: Vec<Record> = counts.into_iter().map(more).collect();
    Ok(rows::put_records(tx, tenant, id, &counted).await?)
}

/// Compares days. Pure: answers what both have, what one lacks, and the days that differ. A message that one clock puts before midnight and the other after is no difference.
fn judged(days: &mut Vec<Record>) -> (i64, i64, i64) {
    let mut differences: Vec<i64> = days.iter().map(|day| day.ours.unwrap_or(0) - day.theirs.unwrap_or(0)).collect();
    for index in 1..differences.len() {
        let (before, here) = (differences[index - 1], differences[index]);
        if before.signum() * here.signum() < 0 {
            let moved = before.abs().min(here.abs());
            differences[index - 1] -= moved * before.signum();
            differences[index] -= moved * here.signum();
        }
    }
    let ours: i64 = days.iter().map(|day| day.ours.unwrap_or(0)).sum();
    let missing_there: i64 = differences.iter().filter(|by| **by > 0).sum();
    let missing_here: i64 = -differences.iter().filter(|by| **by < 0).sum::<i64>();
    let mut index = 0;
    days.retain(|_| {
        index += 1;
        differences[index - 1] != 0
    });
    for day in days.iter_mut() {
        "count".clone_into(&mut day.kind);
    }
    (ours - missing_there, missing_here, missing_there)
}

async fn compare_days(engine: &Arc<Engine>, row: &Reconciliation) -> Step {
    let (tenant, id) = (row.tenant_id, row.id);
    let read = engine.ports.db.read(Scope::Tenant(tenant), move |tx| {
        Box::pin(async move { Ok::<_, Error>(rows::records(tx, tenant, id, Some(""), "", DAYS_MAX).await?) })
    });
    let all = read.await?;
    let mut different = all.clone();
    let (matched, missing_here, missing_there) = judged(&mut different);
    let theirs = all.iter().filter_map(|day| day.theirs).sum();
    let after = Reconciliation {
        state: "done".to_owned(),
        theirs,
        matched,
        missing_here,
        missing_there,
        tries: 0,
        failure: None,
        ..row.clone()
    };
    let names: Vec<String> = all.into_iter().map(|day| day.record).collect();
    write(engine, row, after, move |tx| {
        Box::pin(async move {
            rows::remove_records(tx, tenant, id, &names).await?;
            Ok(rows::put_records(tx, tenant, id, &different).await?)
        })
    })
    .await?;
    Ok(Ok(()))
}

/// What is known of a page of records: our messages, and what they were charged.
struct Known {
    of_record: BTreeMap<String, MessageId>,
    messages: BTreeMap<MessageId, Message>,
    charges: BTreeMap<MessageId, Charge>,
    ledger: Option<String>,
}

async fn known(tx: &mut Tx, row: &Reconciliation, page: &[Record]) -> Result<Known, store::Error> {
    let mut of_record: BTreeMap<String, MessageId> =
        page.iter().filter_map(|record| Some((record.record.clone(), record.message_id?))).collect();
    let open = page.iter().filter(|record| record.message_id.is_none());
    let open: Vec<(AccountId, String)> = open.map(|record| (row.account_id, record.record.clone())).collect();
    let mut found = messages::find_by_provider_ids(tx, &open).await?;
    found.extend(fallbacks::find_by_provider_ids(tx, &open).await?);
    let found = found.into_iter().filter(|(_, _, tenant, _)| *tenant == row.tenant_id);
    of_record.extend(found.map(|(_, record, _, message)| (record, message)));
    let keys: BTreeSet<_> = of_record.values().map(|id| (row.tenant_id, *id)).collect();
    let keys: Vec<_> = keys.into_iter().collect();
    let messages = messages::find_many(tx, &keys).await?;
    let charges = credits::of_messages(tx, &messages).await?;
    let messages = messages.into_iter().map(|m| (m.id, m)).collect();
    let ledger = credits::find(tx, row.tenant_id).await?.map(|ledger| ledger.currency);
    Ok(Known { of_record, messages, charges, ledger })
}

/// What the provider took for a message as we have it, in a currency: what it said before, or what the price list says it takes.
fn our_cost(m: &Message, charge: Option<&Charge>, ledger: Option<&str>, currency: &str) -> Option<i64> {
    let Some(charge) = charge else {
        // Who is not billed is shown what the provider takes.
        return m.cost_micros.filter(|_| m.cost_currency.as_deref() == Some(currency));
    };
    if let Some(reported) = charge.reported {
        return Some(reported).filter(|_| charge.reported_currency.as_deref() == Some(currency));
    }
    let cost = Price { fixed_micros: charge.cost_unit?, cost_micros: None, markup: None, ..Price::of_charge(charge) };
    (ledger == Some(currency)).then(|| cost.of(u32::try_from(charge.units).ok()))
}

/// What the comparison of a page comes to.
#[derive(Default)]
struct Judged {
    same: Vec<String>,
    different: Vec<Record>,
    prices: Vec<(MessageId, Money)>,
}

/// Compares a page of the provider's records with ours. Pure.
fn judge(row: &mut Reconciliation, page: Vec<Record>, known: &Known) -> Judged {
    let mut judged = Judged::default();
    let is_in = |at: Option<Timestamp>| at.is_none_or(|at| at >= row.starts_at && at < row.ends_at);
    let (starts_at, ends_at) = (row.starts_at, row.ends_at);
    for record in page {
        let is_asked = is_in(record.at);
        let m = known.of_record.get(&record.record).and_then(|id| known.messages.get(id));
        let Some(m) = m else {
            if is_asked {
                row.theirs += 1;
                row.missing_here += 1;
                judged.different.push(Record { kind: "missing_here".to_owned(), ..record });
            } else {
                judged.same.push(record.record);
            }
            continue;
        };
        let is_ours = m.sent_at.is_some_and(|at| at >= starts_at && at < ends_at) || record.message_id.is_some();
        if !is_asked && !is_ours {
            judged.same.push(record.record);
            continue;
        }
        row.theirs += 1;
        row.matched += 1;
        // What is known of a message's price is of the way it went last.
        let is_last = m.provider_message_id.as_ref() == Some(&record.record);
        let (Some(theirs), Some(currency), true) = (record.theirs, record.currency.clone(), is_last) else {
            judged.same.push(record.record);
            continue;
        };
        let charge = known.charges.get(&m.id);
        let ours = our_cost(m, charge, known.ledger.as_deref(), &currency);
        let is_told = match charge {
            Some(charge) => {
                charge.reported == Some(theirs) && charge.reported_currency.as_deref() == Some(currency.as_str())
            }
            None => m.cost_micros == Some(theirs) && m.cost_currency.as_deref() == Some(currency.as_str()),
        };
        if !is_told {
            judged.prices.push((m.id, Money { amount_micros: theirs, currency: currency.clone() }));
        }
        let Some(ours) = ours else {
            judged.same.push(record.record);
            continue;
        };
        if row.currency.get_or_insert_with(|| currency.clone()) == &currency {
            row.cost_ours += ours;
            row.cost_theirs += theirs;
        }
        if ours == theirs {
            judged.same.push(record.record);
        } else {
            row.price_differences += 1;
            let (kind, message_id) = ("price".to_owned(), Some(m.id));
            judged.different.push(Record { kind, message_id, ours: Some(ours), ..record });
        }
    }
    judged
}

async fn compare(engine: &Arc<Engine>, row: &Reconciliation) -> Step {
    let (tenant, id, seen) = (row.tenant_id, row.id, row.clone());
    let read = engine.ports.db.read(Scope::Tenant(tenant), move |tx| {
        Box::pin(async move {
            let page = rows::records(tx, tenant, id, Some(""), &seen.place, THEIRS_PAGE).await?;
            let known = known(tx, &seen, &page).await?;
            Ok::<_, Error>((page, known))
        })
    });
    let (page, known) = read.await?;
    let mut after = Reconciliation { tries: 0, failure: None, ..row.clone() };
    match page.last().filter(|_| page.len() as i64 == THEIRS_PAGE) {
        Some(last) => after.place.clone_from(&last.record),
        None => "done".clone_into(&mut after.state),
    }
    let Judged { same, different, prices } = judge(&mut after, page, &known);
    // First what is learned, which may be learned twice: the page is not looked at again once it is written.
    if !prices.is_empty() {
        learn(engine, row, prices).await?;
    }
    let is_written = write(engine, row, after, move |tx| {
        Box::pin(async move {
            rows::remove_records(tx, tenant, id, &same).await?;
            Ok(rows::put_records(tx, tenant, id, &different).await?)
        })
    });
    is_written.await?;
    Ok(Ok(()))
}

/// What the provider says it takes reaches what messages cost.
async fn learn(engine: &Arc<Engine>, row: &Reconciliation, prices: Vec<(MessageId, Money)>) -> Result<(), Error> {
    let now = engine.ports.clock.now();
    let learned = |(message_id, price): (MessageId, Money)| Learned {
        tenant_id: row.tenant_id,
        message_id,
        fact: Fact::Sent,
        at: now,
        source: "reconciliation".to_owned(),
        dedupe: format!("reconciled:{}", row.id),
        provider_status: None,
        provider_message_id: None,
        segments: None,
        price: Some(price),
        machine: None,
        attempt: None,
    };
    let learned: Vec<Learned> = prices.into_iter().map(learned).collect();
    let weight = learned.len();
    let applied = engine.applies.submit(Input::Learned(learned), weight).await;
    applied.unwrap_or_else(|| Err(Error::internal("applying panicked")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(number: u32, ours: i64, theirs: i64) -> Record {
        Record { ours: Some(ours), ..day_of(&format!("2026-11-{number:02}"), theirs) }
    }

    #[test]
    fn waits_grow_and_end() {
        let all: Vec<i64> = (0..TRIES_MAX).map(|tries| wait_s(tries, None)).collect();
        assert_eq!(all, [15, 30, 60, 120, 240, 480, 960, 1_920, 3_600, 3_600]);
        assert_eq!((wait_s(0, Some(45_500)), wait_s(3, Some(1))), (46, 120));
        assert_eq!(wait_s(0, Some(u64::MAX)), WAIT_MAX_S, "nobody may keep it waiting for ever");
    }

    #[test]
    fn days_differ_by_what_no_clock_explains() {
        let check = |days: &[(i64, i64)], expected: (i64, i64, i64), different: &[&str]| {
            let mut days: Vec<Record> =
                days.iter().zip(1u32..).map(|((ours, theirs), number)| day(number, *ours, *theirs)).collect();
            assert_eq!(judged(&mut days), expected);
            assert_eq!(days.iter().map(|day| day.record.as_str()).collect::<Vec<_>>(), different);
        };
        check(&[(10, 10), (5, 5)], (15, 0, 0), &[]);
        // One message lay at midnight.
        check(&[(10, 9), (5, 6)], (15, 0, 0), &[]);
        check(&[(10, 9), (5, 8)], (15, 2, 0), &["2026-11-02"]);
        check(&[(10, 9), (5, 5), (5, 5)], (19, 0, 1), &["2026-11-01"]);
        check(&[(0, 3), (5, 5), (4, 0)], (5, 3, 4), &["2026-11-01", "2026-11-03"]);
    }

    #[test]
    fn lists_are_asked_for_with_a_margin_and_days_without() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let (from, until) = (at("2026-10-31T18:30:00Z"), at("2026-11-30T18:30:00Z"));
        assert_eq!(period(from, until), Period { from: "2026-10-30".to_owned(), to: "2026-12-01".to_owned() });
        let month = days(at("2026-11-01T00:00:00Z"), at("2026-12-01T00:00:00Z"));
        assert_eq!(month, Period { from: "2026-11-01".to_owned(), to: "2026-11-30".to_owned() });
    }
}
