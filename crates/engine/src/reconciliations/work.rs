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
use model::{AccountId, Answer, Channel, Fact, Failure, FailureKind, MessageId, Money, Timestamp};
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
/// How near the edge of the time a message of ours may be missing in a table, and how near midnight it may be counted on the day beside it, in seconds: whoever cut it out goes by another clock.
const EDGE_S: i64 = 900;
const DAY_S: i64 = 86_400;
/// Missing messages a provider is asked about one by one at most; what is missing beyond is believed.
const LOOKED_UP_MAX: i64 = 200;
/// Shortest id by which a message is looked for at other accounts, in characters: shorter ones are numbers every account begins anew.
const UNIQUE_MIN: usize = 16;
/// Looks for messages at other accounts in one step, at most: an id at an account each, some seconds' work. Beyond, what is missing is believed.
const LOOKS_MAX: usize = 2_000_000;
/// The same in one transaction.
const LOOKS_AT_ONCE: usize = 20_000;
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
    Period { from: day_name(starts_at.plus_seconds(-MARGIN_S)), to: day_name(ends_at.plus_seconds(MARGIN_S)) }
}

/// Days of a time itself: the last ends no later than it.
fn days(starts_at: Timestamp, ends_at: Timestamp) -> Period {
    Period { from: day_name(starts_at), to: day_name(ends_at.plus_millis(-1)) }
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

/// What is to be said where an account's provider no longer counts the first day of a time.
pub(super) fn forgotten(account: &Account, starts_at: Timestamp, now: Timestamp) -> Option<String> {
    let kept = account.connector.figures()?.days_kept()?;
    let oldest = midnight(now).plus_seconds(-i64::from(kept) * DAY_S);
    (midnight(starts_at) < oldest).then(|| {
        let (name, first) = (account.connector.spec().name, day_name(oldest));
        format!("{name} no longer counts days before {first}: begin then or later, or export its messages and send them as `csv`")
    })
}

fn midnight(at: Timestamp) -> Timestamp {
    Timestamp::from_seconds(at.as_seconds().div_euclid(DAY_S) * DAY_S)
}

/// As `2026-11-21`.
fn day_name(at: Timestamp) -> String {
    at.to_string().chars().take(10).collect()
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
        at: theirs.at,
        theirs: theirs.price.as_ref().map(|price| price.amount_micros),
        currency: theirs.price.map(|price| price.currency),
        segments_theirs: theirs.segments.filter(|count| *count > 0).map(i64::from),
        ..Record::default()
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
    if let Some(detail) = forgotten(&account, row.starts_at, engine.ports.clock.now()) {
        return Ok(Err(Failure::new(FailureKind::Account, "days_forgotten", detail)));
    }
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
    Record { record: day.to_owned(), at, ours: Some(0), theirs: Some(theirs), ..Record::default() }
}

/// A message of ours as its provider knows it.
struct Ours {
    record: String,
    message_id: MessageId,
    at: Timestamp,
    /// The same where several messages of one request have one id at the provider, and only the recipient tells them apart.
    with_recipient: String,
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
            let names = ours.iter().flat_map(|ours| [ours.record.clone(), ours.with_recipient.clone()]);
            let names: Vec<String> = names.collect();
            let known =
                if seen.source == "statistics" { Vec::new() } else { rows::known(tx, tenant, id, &names).await? };
            Ok::<_, Error>((page, ours, known))
        })
    });
    let (page, ours, known) = read.await?;
    let is_after = |m: &Message| m.created_at >= row.ends_at.plus_seconds(margin_s(row));
    let is_last = (page.len() as i64) < OURS_PAGE || page.last().is_some_and(is_after);
    let place = page.last().map(|m| m.id.to_string()).filter(|_| !is_last);
    let mut next = Reconciliation {
        ours: row.ours + ours.iter().filter(|ours| is_counted(row, ours.at)).count() as i64,
        stage: if place.is_some() { "ours" } else { "compare" }.to_owned(),
        place: place.unwrap_or_default(),
        tries: 0,
        failure: None,
        ..row.clone()
    };
    if row.source == "statistics" {
        let seen = row.clone();
        write(engine, row, next, move |tx| Box::pin(async move { count_days(tx, &seen, &ours).await })).await?;
        return Ok(Ok(()));
    }
    let mut known: BTreeMap<String, Record> = known.into_iter().map(|record| (record.record.clone(), record)).collect();
    let mut written = Vec::new();
    for one in ours {
        let found = match known.remove(&one.record).or_else(|| known.remove(&one.with_recipient)) {
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
        ..Record::default()
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

/// How far beyond the time our messages are looked at, in seconds: those near its ends may be counted in it by the provider.
fn margin_s(row: &Reconciliation) -> i64 {
    if row.source == "statistics" { EDGE_S } else { 0 }
}

/// Whether a message of ours is one of those compared: sent in the time, and where the provider counts while more are sent, before it was asked.
fn is_counted(row: &Reconciliation, at: Timestamp) -> bool {
    at >= row.starts_at && at < counted_until(row)
}

fn counted_until(row: &Reconciliation) -> Timestamp {
    if row.source == "statistics" { row.ends_at.min(row.created_at) } else { row.ends_at }
}

/// The messages of a page that the account's provider took in the time, under each id it gave: also the ways they left, and the tries before the last.
async fn ours_of(
    tx: &mut Tx,
    page: &[Message],
    account: AccountId,
    row: &Reconciliation,
) -> Result<Vec<Ours>, store::Error> {
    let (from, until) = (row.starts_at.plus_seconds(-margin_s(row)), row.ends_at.plus_seconds(margin_s(row)));
    let is_in = |at: Option<Timestamp>| at.filter(|at| *at >= from && *at < until);
    let mut found: BTreeMap<String, Ours> = BTreeMap::new();
    let mut add = |record: Option<&String>, address: &str, message_id: MessageId, at: Option<Timestamp>| {
        if let (Some(record), Some(at)) = (record, is_in(at)) {
            let with_recipient = format!("{record}/{address}");
            found.insert(record.clone(), Ours { record: record.clone(), message_id, at, with_recipient });
        }
    };
    let people = || page.iter().filter(|m| m.channel != Channel::Webhook);
    let keys: Vec<_> = people().map(|m| (m.tenant_id, m.id)).collect();
    for route in fallbacks::former(tx, &keys).await? {
        if route.account_id == account && is_compared(row, route.channel) {
            add(route.provider_message_id.as_ref(), &route.address, route.message_id, route.sent_at);
        }
    }
    for m in people().filter(|m| is_compared(row, m.channel)) {
        if m.account_id == Some(account) {
            add(m.provider_message_id.as_ref(), &m.address, m.id, m.sent_at);
        }
        if m.attempts > 1 {
            for attempt in attempts::of_message(tx, m.tenant_id, m.id).await? {
                let is_taken = attempt.outcome == 0 && attempt.account_id == account;
                if is_taken && attempt.provider_message_id != m.provider_message_id {
                    add(attempt.provider_message_id.as_ref(), &m.address, m.id, Some(attempt.finished_at));
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

/// Adds our messages to the days they were sent on. Those near midnight are counted apart, too: another clock may put them on the day beside it.
async fn count_days(tx: &mut Tx, row: &Reconciliation, ours: &[Ours]) -> Result<(), Error> {
    let (tenant, id, until) = (row.tenant_id, row.id, counted_until(row));
    let mut counts: BTreeMap<String, [i64; 3]> = BTreeMap::new();
    for one in ours {
        let (begin, is_ours) = (midnight(one.at), is_counted(row, one.at));
        let end = begin.plus_seconds(DAY_S);
        // What was sent after the provider was asked lies behind the time, whatever day it is.
        let day = if one.at >= until { midnight(row.ends_at) } else { begin };
        let is_early = one.at >= until || one.at < begin.plus_seconds(EDGE_S);
        let is_late = one.at < until && one.at >= end.plus_seconds(-EDGE_S);
        let count = counts.entry(day_name(day)).or_default();
        for (sum, is_one) in count.iter_mut().zip([is_ours, is_early, is_late]) {
            *sum += i64::from(is_one);
        }
    }
    let names: Vec<String> = counts.keys().cloned().collect();
    let known: BTreeMap<String, Record> =
        rows::known(tx, tenant, id, &names).await?.into_iter().map(|record| (record.record.clone(), record)).collect();
    let more = |(day, [ours, early, late]): (String, [i64; 3])| {
        let record = known.get(&day).cloned().unwrap_or_else(|| day_of(&day, 0));
        let plus = |before: Option<i64>, count: i64| Some(before.unwrap_or(0) + count);
        Record {
            ours: plus(record.ours, ours),
            early: plus(record.early, early),
            late: plus(record.late, late),
            ..record
        }
    };
    let counted: Vec<Record> = counts.into_iter().map(more).collect();
    Ok(rows::put_records(tx, tenant, id, &counted).await?)
}

/// Compares the days of a time. Pure: answers what both have, what one lacks, and leaves the days that differ. A message that one clock puts before midnight and the other after is no difference: so
/// many may have changed the day as ours lie that near to it. Of the days beside the time nothing is known but that.
fn judged(starts_at: Timestamp, ends_at: Timestamp, days: &mut Vec<Record>) -> (i64, i64, i64) {
    let is_in = |day: &Record| day.at.is_some_and(|at| at >= starts_at && at < ends_at);
    for beside in [starts_at.plus_seconds(-DAY_S), ends_at] {
        if !days.iter().any(|day| day.at == Some(beside)) {
            days.push(day_of(&day_name(beside), 0));
        }
    }
    days.sort_by(|one, other| one.record.cmp(&other.record));
    let mut more: Vec<i64> = days.iter().map(|day| day.ours.unwrap_or(0) - day.theirs.unwrap_or(0)).collect();
    for index in 1..days.len() {
        let (before, here) = (&days[index - 1], &days[index]);
        if before.at.map(|at| at.plus_seconds(DAY_S)) != here.at {
            continue;
        }
        let unknown = |day: &Record, by: i64| if is_in(day) { by.max(0) } else { i64::MAX };
        // Ours of before midnight which they count after it, or the other way round.
        let later = unknown(before, more[index - 1]).min(unknown(here, -more[index])).min(before.late.unwrap_or(0));
        let sooner = unknown(before, -more[index - 1]).min(unknown(here, more[index])).min(here.early.unwrap_or(0));
        let moved = if later > 0 { later } else { -sooner };
        more[index - 1] -= moved;
        more[index] += moved;
    }
    let mut differences = more.into_iter();
    let (mut ours, mut missing_here, mut missing_there) = (0, 0, 0);
    days.retain_mut(|day| {
        let by = differences.next().unwrap_or(0);
        if !is_in(day) {
            return false;
        }
        ours += day.ours.unwrap_or(0);
        missing_there += by.max(0);
        missing_here += (-by).max(0);
        "count".clone_into(&mut day.kind);
        by != 0
    });
    (ours - missing_there, missing_here, missing_there)
}

async fn compare_days(engine: &Arc<Engine>, row: &Reconciliation) -> Step {
    let (tenant, id) = (row.tenant_id, row.id);
    let read = engine.ports.db.read(Scope::Tenant(tenant), move |tx| {
        Box::pin(async move { Ok::<_, Error>(rows::records(tx, tenant, id, Some(""), "", DAYS_MAX).await?) })
    });
    let all = read.await?;
    let mut different = all.clone();
    let (matched, missing_here, missing_there) = judged(row.starts_at, row.ends_at, &mut different);
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
    /// Records of messages that another account sent.
    elsewhere: BTreeSet<String>,
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
    let messages = messages::find_many(tx, &keys).await?.into_iter().map(|m| (m.id, m)).collect();
    let charges = credits::charges(tx, &keys).await?.into_iter().map(|charge| (charge.message_id, charge)).collect();
    let ledger = credits::find(tx, row.tenant_id).await?.map(|ledger| ledger.currency);
    Ok(Known { of_record, messages, charges, ledger, elsewhere: BTreeSet::new() })
}

/// Which of these records are messages that another account sent through the same account at the provider, of whichever tenant: which one is told nobody.
async fn elsewhere(engine: &Engine, row: &Reconciliation, names: &[String]) -> Result<BTreeSet<String>, Error> {
    // An id may have the recipient behind it, where several messages of one request share it.
    let mut open: BTreeMap<String, String> = BTreeMap::new();
    for name in names {
        let bare = name.split_once('/').map(|(id, _)| id);
        let ids = std::iter::once(name.as_str()).chain(bare).filter(|id| id.len() >= UNIQUE_MIN);
        open.extend(ids.map(|id| (id.to_owned(), name.clone())));
    }
    let (tenant, account_id) = (row.tenant_id, row.account_id);
    let (mut found, mut looks, mut before) = (BTreeSet::new(), 0, AccountId::from_ulid(u128::MAX));
    while !open.is_empty() && looks < LOOKS_MAX {
        let limit = (LOOKS_AT_ONCE / open.len()).max(1);
        let ids: Vec<String> = open.keys().cloned().collect();
        let read = engine.ports.db.read(Scope::System, move |tx| {
            Box::pin(async move {
                let Some(own) = store::accounts::find_ever(tx, tenant, account_id).await? else {
                    return Ok((Vec::new(), BTreeSet::new()));
                };
                let accounts = store::accounts::ever_of_connector(tx, &own.connector, before, limit as i64).await?;
                let keys = accounts.iter().flat_map(|account| ids.iter().map(|id| (*account, id.clone())));
                let keys: Vec<(AccountId, String)> = keys.collect();
                let mut there = messages::find_by_provider_ids(tx, &keys).await?;
                there.extend(fallbacks::find_by_provider_ids(tx, &keys).await?);
                let there: BTreeSet<String> = there.into_iter().map(|(_, id, ..)| id).collect();
                Ok::<_, Error>((accounts, there))
            })
        });
        let (accounts, there) = read.await?;
        looks += accounts.len() * open.len();
        found.extend(there.iter().filter_map(|id| open.remove(id)));
        match accounts.last().filter(|_| accounts.len() == limit) {
            Some(last) => before = *last,
            None => break,
        }
    }
    Ok(found)
}

/// What the provider took for a message as we have it, in a currency: what it said before, or what the price list says it takes.
fn our_cost(m: &Message, charge: Option<&Charge>, ledger: Option<&str>, currency: &str) -> Option<i64> {
    let Some(charge) = charge else {
        // Who is not billed is shown what the provider takes.
        return m.cost_micros.filter(|_| m.cost_currency.as_deref() == Some(currency));
    };
    // What it said in another currency than the ledger's is kept, and was not used.
    if let Some(reported) = charge.reported.filter(|_| charge.reported_currency.as_deref() == Some(currency)) {
        return Some(reported);
    }
    let cost = Price { fixed_micros: charge.cost_unit?, cost_micros: None, markup: None, ..Price::of_charge(charge) };
    (ledger == Some(currency)).then(|| cost.of(u32::try_from(charge.units).ok()))
}

/// What the provider says about a message of ours that we did not know.
struct News {
    message_id: MessageId,
    price: Option<Money>,
    segments: Option<u32>,
}

/// What the comparison of a page comes to.
#[derive(Default)]
struct Judged {
    same: Vec<String>,
    different: Vec<Record>,
    news: Vec<News>,
}

impl Known {
    fn message(&self, record: &Record) -> Option<&Message> {
        self.of_record.get(&record.record).and_then(|id| self.messages.get(id))
    }
}

/// Whether the provider sent something in the time; where it does not say when, it is taken for one of it.
fn is_asked(row: &Reconciliation, record: &Record) -> bool {
    record.at.is_none_or(|at| at >= row.starts_at && at < row.ends_at)
}

/// Compares a page of the provider's records with ours. Pure.
fn judge(row: &mut Reconciliation, page: Vec<Record>, known: &Known) -> Judged {
    let mut judged = Judged::default();
    for record in page {
        let is_asked = is_asked(row, &record);
        let Some(m) = known.message(&record) else {
            let is_elsewhere = known.elsewhere.contains(&record.record);
            row.elsewhere += i64::from(is_asked && is_elsewhere);
            if is_asked && !is_elsewhere {
                row.theirs += 1;
                row.missing_here += 1;
                judged.different.push(Record { kind: "missing_here".to_owned(), ..record });
            } else {
                judged.same.push(record.record);
            }
            continue;
        };
        // Our messages of the time were marked. Of the others our clock says that they belong to another time, or nothing where they never were sent as far as we know.
        if record.message_id.is_none() {
            let is_of_time = record.at.is_some() && is_asked && m.sent_at.is_none();
            if !is_of_time || !is_compared(row, m.channel) {
                judged.same.push(record.record);
                continue;
            }
            row.ours += 1;
        }
        row.theirs += 1;
        row.matched += 1;
        compare_one(row, &mut judged, record, m, known);
    }
    judged
}

/// Compares what both know of a message: its parts and its price.
fn compare_one(row: &mut Reconciliation, judged: &mut Judged, record: Record, m: &Message, known: &Known) {
    // What is known of a message's parts and price is of the way it went last.
    if m.provider_message_id.as_ref() != Some(&record.record) {
        judged.same.push(record.record);
        return;
    }
    let segments = record.segments_theirs.and_then(|count| u32::try_from(count).ok());
    let had = m.segments.filter(|count| *count > 0);
    let mut news = News { message_id: m.id, price: None, segments: segments.filter(|_| segments != had) };
    let has_other_parts = news.segments.is_some() && had.is_some();
    row.segment_differences += i64::from(has_other_parts);
    let mut record = Record { message_id: Some(m.id), segments_ours: had.map(i64::from), ..record };
    if let (Some(theirs), Some(currency)) = (record.theirs, record.currency.clone()) {
        let charge = known.charges.get(&m.id);
        let is_told = match charge {
            Some(charge) => {
                charge.reported == Some(theirs) && charge.reported_currency.as_deref() == Some(currency.as_str())
            }
            None => m.cost_micros == Some(theirs) && m.cost_currency.as_deref() == Some(currency.as_str()),
        };
        if !is_told {
            news.price = Some(Money { amount_micros: theirs, currency: currency.clone() });
        }
        if let Some(ours) = our_cost(m, charge, known.ledger.as_deref(), &currency) {
            if row.currency.get_or_insert_with(|| currency.clone()) == &currency {
                row.cost_ours += ours;
                row.cost_theirs += theirs;
            }
            if ours != theirs {
                row.price_differences += 1;
                record = Record { kind: "price".to_owned(), ours: Some(ours), ..record };
            }
        }
    }
    if record.kind.is_empty() && has_other_parts {
        let (kind, currency) = ("segments".to_owned(), None);
        record = Record { kind, currency, ours: record.segments_ours, theirs: record.segments_theirs, ..record };
    }
    if news.price.is_some() || news.segments.is_some() {
        judged.news.push(news);
    }
    if record.kind.is_empty() {
        judged.same.push(record.record);
    } else {
        judged.different.push(record);
    }
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
    let (page, mut known) = read.await?;
    let missing = page.iter().filter(|record| is_asked(row, record) && known.message(record).is_none());
    let missing: Vec<String> = missing.map(|record| record.record.clone()).collect();
    known.elsewhere = elsewhere(engine, row, &missing).await?;
    let mut after = Reconciliation { tries: 0, failure: None, ..row.clone() };
    match page.last().filter(|_| page.len() as i64 == THEIRS_PAGE) {
        Some(last) => after.place.clone_from(&last.record),
        None => "done".clone_into(&mut after.state),
    }
    let Judged { same, different, news } = judge(&mut after, page, &known);
    // First what is learned, which may be learned twice: the page is not looked at again once it is written.
    if !news.is_empty() {
        learn(engine, row, news).await?;
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

/// What the provider says it takes, and for how many parts, reaches what messages cost.
async fn learn(engine: &Arc<Engine>, row: &Reconciliation, news: Vec<News>) -> Result<(), Error> {
    let now = engine.ports.clock.now();
    let learned = |news: News| Learned {
        tenant_id: row.tenant_id,
        message_id: news.message_id,
        fact: Fact::Sent,
        at: now,
        source: "reconciliation".to_owned(),
        dedupe: format!("reconciled:{}", row.id),
        provider_status: None,
        provider_message_id: None,
        segments: news.segments,
        price: news.price,
        machine: None,
        attempt: None,
    };
    let learned: Vec<Learned> = news.into_iter().map(learned).collect();
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
        let check = |days: &[(i64, i64, [i64; 2])], expected: (i64, i64, i64), different: &[&str]| {
            let near = |((ours, theirs, [early, late]), number): (&(i64, i64, [i64; 2]), u32)| Record {
                early: Some(*early),
                late: Some(*late),
                ..day(number, *ours, *theirs)
            };
            let at = |day: usize| format!("2026-11-{day:02}T00:00:00Z").parse::<Timestamp>().unwrap();
            let (starts_at, ends_at) = (at(1), at(days.len() + 1));
            let mut days: Vec<Record> = days.iter().zip(1u32..).map(near).collect();
            assert_eq!(judged(starts_at, ends_at, &mut days), expected);
            assert_eq!(days.iter().map(|day| day.record.as_str()).collect::<Vec<_>>(), different);
        };
        let none = [0, 0];
        check(&[(10, 10, none), (5, 5, none)], (15, 0, 0), &[]);
        // One message lay at midnight, on either side.
        check(&[(10, 9, [0, 1]), (5, 6, none)], (15, 0, 0), &[]);
        check(&[(10, 11, none), (5, 4, [1, 0])], (15, 0, 0), &[]);
        // None lay there, or not enough of them.
        check(&[(0, 14, none), (14, 0, none)], (0, 14, 14), &["2026-11-01", "2026-11-02"]);
        check(&[(10, 7, [0, 1]), (5, 8, [3, 0])], (13, 2, 2), &["2026-11-01", "2026-11-02"]);
        check(&[(10, 9, [0, 1]), (5, 8, none)], (15, 2, 0), &["2026-11-02"]);
        check(&[(10, 9, [1, 0]), (5, 5, none), (5, 5, none)], (20, 0, 0), &[]);
        check(&[(10, 9, none), (5, 5, none), (5, 5, none)], (19, 0, 1), &["2026-11-01"]);
        check(&[(0, 3, [0, 3]), (5, 5, none), (4, 0, [4, 0])], (5, 3, 4), &["2026-11-01", "2026-11-03"]);
        // At the ends of the time it may have been counted outside, and what lay outside in it.
        check(&[(10, 10, none), (5, 4, [0, 1])], (15, 0, 0), &[]);
        let beside =
            |number: u32, early: i64, late: i64| Record { early: Some(early), late: Some(late), ..day(number, 0, 0) };
        let at = |day: u32| format!("2026-11-{day:02}T00:00:00Z").parse::<Timestamp>().unwrap();
        let mut days = vec![beside(1, 0, 1), day(2, 5, 6), day(3, 5, 7), beside(4, 1, 0)];
        assert_eq!(judged(at(2), at(4), &mut days), (10, 1, 0));
        assert_eq!(days.iter().map(|day| day.record.as_str()).collect::<Vec<_>>(), ["2026-11-03"]);
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
