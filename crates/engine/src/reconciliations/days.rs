//! Comparing days, where the provider only counts: ours are counted for the same ones, in UTC. Which messages it counted nobody knows, so that only numbers differ; those near midnight may be counted on
//! either of two days.

use std::{collections::BTreeMap, sync::Arc};

use connectors::{
    Cx,
    manage::{Day, Next, Period},
};
use model::{Answer, Failure, FailureKind, Timestamp};
use store::{
    Scope, Tx,
    reconciliations::{self as rows, Reconciliation, Record},
};

use super::{
    DAY_S,
    work::{self, EDGE_S, Ours, Step, write},
};
use crate::{Engine, Error, Parts, accounts::day, directory::Account, provider};

/// Days of statistics at most: the longest time and its margins.
const DAYS_MAX: i64 = 70;

/// Days of a time itself: the last ends no later than it.
pub(super) fn days(starts_at: Timestamp, ends_at: Timestamp) -> Period {
    Period { from: day(starts_at), to: day(ends_at.plus_millis(-1)) }
}

/// Whether an account's provider counts by day. Asks nothing.
pub(super) fn counts(parts: &Parts, account: &Account, starts_at: Timestamp, ends_at: Timestamp) -> bool {
    let Some(figures) = account.connector.figures() else { return false };
    figures.statistics(&account.cx(parts.ports.clock.now()), &days(starts_at, ends_at), &[]).is_some()
}

/// What is to be said where an account's provider no longer counts the first day of a time.
pub(super) fn forgotten(account: &Account, starts_at: Timestamp, now: Timestamp) -> Option<String> {
    let kept = account.connector.figures()?.days_kept()?;
    let oldest = midnight(now).plus_seconds(-i64::from(kept) * DAY_S);
    (midnight(starts_at) < oldest).then(|| {
        let (name, first) = (account.connector.spec().name, day(oldest));
        format!("{name} no longer counts days before {first}: begin then or later, or export its messages and send them as `csv`")
    })
}

/// Fetches what the provider counted by day.
pub(super) async fn fetch_days(engine: &Arc<Engine>, row: &Reconciliation) -> Step {
    let account = match work::account(engine, row).await? {
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

pub(super) fn midnight(at: Timestamp) -> Timestamp {
    Timestamp::from_seconds(at.as_seconds().div_euclid(DAY_S) * DAY_S)
}

/// How far beyond the time our messages are looked at, in seconds: those near its ends may be counted in it by the provider.
pub(super) fn margin_s(row: &Reconciliation) -> i64 {
    if row.source == "statistics" { EDGE_S } else { 0 }
}

/// Whether a message of ours is one of those compared: sent in the time, and where the provider counts while more are sent, before it was asked.
pub(super) fn is_counted(row: &Reconciliation, at: Timestamp) -> bool {
    at >= row.starts_at && at < counted_until(row)
}

fn counted_until(row: &Reconciliation) -> Timestamp {
    if row.source == "statistics" { row.ends_at.min(row.created_at) } else { row.ends_at }
}

/// Adds our messages to the days they were sent on. Those near midnight are counted apart, too: another clock may put them on the day beside it.
pub(super) async fn count_days(tx: &mut Tx, row: &Reconciliation, ours: &[Ours]) -> Result<(), Error> {
    let (tenant, id, until) = (row.tenant_id, row.id, counted_until(row));
    let mut counts: BTreeMap<String, [i64; 3]> = BTreeMap::new();
    for one in ours {
        let (begin, is_ours) = (midnight(one.at), is_counted(row, one.at));
        let end = begin.plus_seconds(DAY_S);
        // What was sent after the provider was asked lies behind the time, whatever day it is.
        let counted = if one.at >= until { midnight(row.ends_at) } else { begin };
        let is_early = one.at >= until || one.at < begin.plus_seconds(EDGE_S);
        let is_late = one.at < until && one.at >= end.plus_seconds(-EDGE_S);
        let count = counts.entry(day(counted)).or_default();
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

pub(super) async fn compare_days(engine: &Arc<Engine>, row: &Reconciliation) -> Step {
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

/// Compares the days of a time. Pure: answers what both have, what one lacks, and leaves the days that differ. A message that one clock puts before midnight and the other after is no difference: so
/// many may have changed the day as ours lie that near to it. Of the days beside the time nothing is known but that.
fn judged(starts_at: Timestamp, ends_at: Timestamp, days: &mut Vec<Record>) -> (i64, i64, i64) {
    let is_in = |day: &Record| day.at.is_some_and(|at| at >= starts_at && at < ends_at);
    for beside in [starts_at.plus_seconds(-DAY_S), ends_at] {
        if !days.iter().any(|day| day.at == Some(beside)) {
            days.push(day_of(&day(beside), 0));
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

#[cfg(test)]
mod tests {
    use super::*;

    fn day(number: u32, ours: i64, theirs: i64) -> Record {
        Record { ours: Some(ours), ..day_of(&format!("2026-11-{number:02}"), theirs) }
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
}
