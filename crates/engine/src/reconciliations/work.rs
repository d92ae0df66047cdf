//! Carrying reconciliations on, one bounded step at a time: what the provider has is fetched, our messages are looked for in it, and its rows among ours.
//!
//! A row is leased for a step, so that nodes share them. The step asks the provider outside of any transaction and writes what came of it together with how far the work is, so a process that dies
//! in between, or one that comes back after its lease, changes nothing. A step that came to nothing is tried again later, each time after a longer wait.

use std::{collections::BTreeMap, sync::Arc};

use connectors::{
    Cx,
    manage::{self, Period, Record as Theirs, RecordPage},
};
use model::{AccountId, Answer, Channel, Failure, FailureKind, MessageId, Timestamp};
use store::{
    Scope, Tx, attempts, fallbacks,
    messages::{self, Message},
    reconciliations::{self as rows, Reconciliation, Record},
};

use super::{
    compare::compare,
    days::{compare_days, count_days, fetch_days, is_counted, margin_s},
};
use crate::{Engine, Error, accounts::day, directory::Account, provider};

/// Reconciliations carried on in one run.
const RUN_MAX: u64 = 5;
/// Messages of ours looked at in one step.
const OURS_PAGE: i64 = 2_000;
/// How much longer than asked the provider is asked about, on both sides, in seconds: a day, as lists go by the day.
const MARGIN_S: i64 = 86_400;
/// How long before its time a message may have been accepted, in seconds: messages are scheduled a year ahead at most.
const AHEAD_S: i64 = 366 * 86_400;
/// How near the edge of the time a message of ours may be missing in a table, and how near midnight it may be counted on the day beside it, in seconds: whoever cut it out goes by another clock.
pub(super) const EDGE_S: i64 = 900;
/// Messages missing in a list that the provider is asked about one by one at most: a list that lacks more is of another account, or its provider keeps messages for a shorter time.
const LOOKED_UP_MAX: i64 = 10_000;
/// The same in one step.
const LOOKED_UP_AT_ONCE: usize = 200;
/// Tries in a row that may bring nothing: with the waits between them, some four hours, in which an outage at a provider is mostly over.
const TRIES_MAX: i64 = 10;
/// Wait after the first of them, in seconds; each further one is twice as long, up to [`WAIT_MAX_S`].
const WAIT_S: i64 = 15;
const WAIT_MAX_S: i64 = 3_600;
/// How long a reconciliation is ours for one step, in milliseconds: 200 questions about missing messages, each of which is given up after 30 seconds, would take longer, but then nobody else
/// gets answers either, and the step that comes too late is not written.
const LEASE_MS: i64 = 10 * 60_000;
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
pub(super) async fn write<W>(
    engine: &Engine,
    seen: &Reconciliation,
    after: Reconciliation,
    work: W,
) -> Result<bool, Error>
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

pub(super) async fn account(engine: &Engine, row: &Reconciliation) -> Result<Result<Arc<Account>, Failure>, Error> {
    let found = engine.directory.account(row.tenant_id, row.account_id).await?;
    Ok(found.filter(|account| account.trouble.is_none()).ok_or_else(|| {
        Failure::new(FailureKind::Account, "account_gone", "The account was deleted, or cannot be used any more.")
    }))
}

/// Days of a time with its margins, in UTC.
fn period(starts_at: Timestamp, ends_at: Timestamp) -> Period {
    Period { from: day(starts_at.plus_seconds(-MARGIN_S)), to: day(ends_at.plus_seconds(MARGIN_S)) }
}

pub(super) type Step = Result<Result<(), Failure>, Error>;

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

/// A message of ours as its provider knows it.
pub(super) struct Ours {
    record: String,
    message_id: MessageId,
    pub(super) at: Timestamp,
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
    let mut known: BTreeMap<String, Record> = known.into_iter().map(|record| (record.record.clone(), record)).collect();
    let names = |one: &Ours| [one.record.clone(), one.with_recipient.clone()];
    let is_open = |one: &Ours| row.source == "messages" && names(one).iter().all(|name| !known.contains_key(name));
    // What the list lacks is asked about message by message: as many as one step has time for, and the next goes on with the first that was not.
    let stop = ours.iter().filter(|one| is_open(one)).nth(LOOKED_UP_AT_ONCE).map(|one| one.message_id);
    let stop = stop.filter(|stop| page.first().is_some_and(|first| first.id < *stop));
    let ours: Vec<Ours> = ours.into_iter().filter(|one| stop.is_none_or(|stop| one.message_id < stop)).collect();
    let place = match stop {
        Some(stop) => page.iter().map(|m| m.id).take_while(|id| *id < stop).last(),
        None => page.last().map(|m| m.id).filter(|_| !is_last),
    };
    let place = place.map(|id| id.to_string());
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
    let mut written = Vec::new();
    for one in ours {
        let listed = known.remove(&one.record).or_else(|| known.remove(&one.with_recipient));
        let found = match listed {
            Some(record) => Some(record),
            None if row.source == "messages" && next.looked_up >= LOOKED_UP_MAX => {
                next.not_asked += 1;
                continue;
            }
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
    if row.source != "messages" {
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
    let mut found: Vec<Ours> = found.into_values().collect();
    found.sort_by_key(|one| one.message_id);
    Ok(found)
}

/// Whether the provider's records are of a channel: its own list holds everything; in a table are the messages of the channel that was named, or of all but calls.
pub(super) fn is_compared(row: &Reconciliation, channel: Channel) -> bool {
    match row.channel {
        Some(only) => channel == only,
        None => row.source != "csv" || channel != Channel::Voice,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_end() {
        let all: Vec<i64> = (0..TRIES_MAX).map(|tries| wait_s(tries, None)).collect();
        assert_eq!(all, [15, 30, 60, 120, 240, 480, 960, 1_920, 3_600, 3_600]);
        assert_eq!((wait_s(0, Some(45_500)), wait_s(3, Some(1))), (46, 120));
        assert_eq!(wait_s(0, Some(u64::MAX)), WAIT_MAX_S, "nobody may keep it waiting for ever");
    }

    #[test]
    fn lists_are_asked_for_with_a_margin_and_days_without() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let (from, until) = (at("2026-10-31T18:30:00Z"), at("2026-11-30T18:30:00Z"));
        assert_eq!(period(from, until), Period { from: "2026-10-30".to_owned(), to: "2026-12-01".to_owned() });
        let month = crate::reconciliations::days::days(at("2026-11-01T00:00:00Z"), at("2026-12-01T00:00:00Z"));
        assert_eq!(month, Period { from: "2026-11-01".to_owned(), to: "2026-11-30".to_owned() });
    }
}
