//! When something repeats: RRULE (RFC 5545) or cron, on a clock in a time zone, without skipped dates. Pure: no clock of its own.
//!
//! A rule speaks of the clock on the wall. It is worked out there, and each wall time then becomes one instant: a time the clock jumps over (spring) is moved on by
//! the jump, a time it shows twice (autumn) is the first of the two. So an occurrence is never lost to a change of clocks and never doubled by one.

use std::{collections::BTreeSet, str::FromStr};

use chrono::TimeZone as _;
use croner::{
    Cron,
    parser::{CronParser, Seconds},
};
use jiff::{
    civil::{Date, DateTime},
    tz::TimeZone,
};
use model::Timestamp;
use rrule::RRuleSet;

use crate::names::Faults;

/// Longest rule, in bytes: every part of an RRULE with long lists fits.
const RULE_MAX: usize = 500;
/// Skipped dates of one schedule: each day of a leap year.
pub const SKIPS_MAX: usize = 366;
/// How far a change of clocks moves a wall time at most, with room: the largest known is a day, and within a zone three hours.
const JUMP_MAX_S: i64 = 3 * 3_600;
/// Wall times looked at around a change of clocks: all of six hours by the minute, and more.
const AROUND: u16 = 500;
/// Wall times looked at as a rule.
const FEW: u16 = 8;
/// Spans searched for the latest occurrence, in seconds: an hour, a day, a month, a year.
const SPANS_S: [i64; 4] = [3_600, 86_400, 32 * 86_400, 400 * 86_400];

/// How a rule is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// As in `FREQ=WEEKLY;BYDAY=MO`.
    Rrule,
    /// As in `0 9 * * MON-FRI`.
    Cron,
}

impl Kind {
    /// The word in JSON and SQL.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rrule => "rrule",
            Self::Cron => "cron",
        }
    }

    /// Reads the database's word.
    pub fn from_stored(word: &str) -> Self {
        if word == "cron" { Self::Cron } else { Self::Rrule }
    }
}

/// When something repeats.
#[derive(Debug, Clone)]
pub struct Recurrence {
    rule: Rule,
    zone: TimeZone,
    starts_at: Timestamp,
    ends_at: Option<Timestamp>,
    dates: BTreeSet<Date>,
    instants: BTreeSet<Timestamp>,
}

#[derive(Debug, Clone)]
enum Rule {
    Cron(Box<Cron>),
    /// Worked out on the wall clock, which it takes for UTC.
    Rrule(Box<RRuleSet>),
}

/// The parts of a recurrence as they are written.
#[derive(Debug, Clone)]
pub struct Written<'a> {
    /// How the rule is written.
    pub kind: Kind,
    /// The rule.
    pub rule: &'a str,
    /// IANA name.
    pub timezone: &'a str,
    /// Not before; it also gives an RRULE the time of day.
    pub starts_at: Timestamp,
    /// Not after.
    pub ends_at: Option<Timestamp>,
    /// Dates (`2026-12-25`) and instants that are left out.
    pub skip: &'a [String],
}

impl Recurrence {
    /// Reads a recurrence, and notes what is wrong with it.
    pub fn read(written: &Written<'_>, faults: &mut Faults) -> Option<Self> {
        let before = faults.0.len();
        let pointer = format!("/{}", written.kind.as_str());
        let zone = TimeZone::get(&faults.timezone("/timezone", written.timezone)).ok();
        if written.rule.len() > RULE_MAX {
            faults.add(&pointer, format!("at most {RULE_MAX} bytes"));
        }
        if written.ends_at.is_some_and(|end| end <= written.starts_at) {
            faults.add("/ends_at", "must be later than `starts_at`");
        }
        if written.skip.len() > SKIPS_MAX {
            faults.add("/skip", format!("at most {SKIPS_MAX} dates"));
        }
        let (mut dates, mut instants) = (BTreeSet::new(), BTreeSet::new());
        for (index, text) in written.skip.iter().enumerate().take(SKIPS_MAX) {
            if let Ok(at) = text.parse() {
                instants.insert(at);
            } else if let Ok(date) = text.parse() {
                dates.insert(date);
            } else {
                faults.add(
                    format!("/skip/{index}"),
                    "a date such as 2026-12-25, or an instant such as 2026-12-25T09:00:00Z",
                );
            }
        }
        let zone = zone.filter(|_| faults.0.len() == before)?;
        let rule = match written.kind {
            Kind::Cron => read_cron(written.rule).map(|cron| Rule::Cron(Box::new(cron))),
            Kind::Rrule => read_rrule(written.rule, written.starts_at, &zone).map(|set| Rule::Rrule(Box::new(set))),
        };
        match rule {
            Ok(rule) => {
                let (starts_at, ends_at) = (written.starts_at, written.ends_at);
                Some(Self { rule, zone, starts_at, ends_at, dates, instants })
            }
            Err(why) => {
                faults.add(pointer, why);
                None
            }
        }
    }

    /// The first occurrence later than `after`; `None` when there is none.
    pub fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        let mut after = after.max(self.starts_at.plus_millis(-1));
        // Each turn gets past a skipped instant or a skipped date.
        for _ in 0..=SKIPS_MAX * 2 {
            let next = self.raw_after(after).filter(|next| self.ends_at.is_none_or(|end| *next <= end))?;
            let date = self.wall(next).date();
            if self.dates.contains(&date) {
                let midnight = date.tomorrow().ok()?.to_zoned(self.zone.clone()).ok()?;
                after = Timestamp::from(midnight.timestamp()).plus_millis(-1).max(next);
            } else if self.instants.contains(&next) {
                after = next;
            } else {
                return Some(next);
            }
        }
        None
    }

    /// The latest occurrence from `from` to `until`, both included.
    pub fn last_until(&self, from: Timestamp, until: Timestamp) -> Option<Timestamp> {
        let just_before = from.plus_millis(-1);
        for span_s in SPANS_S {
            let begin = until.plus_seconds(-span_s).max(just_before);
            let mut found = None;
            let mut at = begin;
            while let Some(next) = self.next_after(at).filter(|next| *next <= until) {
                found = Some(next);
                at = next;
            }
            if found.is_some() || begin == just_before {
                return found;
            }
        }
        self.next_after(just_before).filter(|next| *next <= until)
    }

    /// The first occurrence later than `after` with nothing left out.
    fn raw_after(&self, after: Timestamp) -> Option<Timestamp> {
        match &self.rule {
            Rule::Cron(cron) => {
                let next = cron.find_next_occurrence(&after.jiff().to_zoned(self.zone.clone()), false).ok()?;
                Some(next.timestamp().into())
            }
            Rule::Rrule(set) => {
                let wall = as_utc(self.wall(after));
                let from = chrono(wall.plus_seconds(-JUMP_MAX_S))?;
                let (few, was_moved) = self.first(set.as_ref().clone().after(from).all(FEW).dates, after);
                if few.is_some() && !was_moved {
                    return few;
                }
                self.first(set.as_ref().clone().after(from).all(AROUND).dates, after).0
            }
        }
    }

    /// The first instant later than `after` among wall times, and whether a change of clocks moved it.
    fn first(&self, walls: Vec<chrono::DateTime<rrule::Tz>>, after: Timestamp) -> (Option<Timestamp>, bool) {
        let instants = walls.into_iter().filter_map(|wall| {
            let written = Timestamp::from_seconds(wall.timestamp()).jiff().to_zoned(TimeZone::UTC).datetime();
            let at = Timestamp::from(self.zone.to_timestamp(written).ok()?);
            Some((at, self.wall(at) != written))
        });
        let first = instants.filter(|(at, _)| *at > after).min();
        (first.map(|(at, _)| at), first.is_some_and(|(_, was_moved)| was_moved))
    }

    fn wall(&self, at: Timestamp) -> DateTime {
        self.zone.to_datetime(at.jiff())
    }
}

/// What is to be done about a schedule whose next occurrence is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// The occurrence that fires now.
    pub fire: Option<Timestamp>,
    /// The last occurrence that is left out because it was missed.
    pub missed: Option<Timestamp>,
    /// What is due after that.
    pub next: Option<Timestamp>,
}

/// An occurrence later than this was missed, in milliseconds: long enough for a restart.
pub const MISSED_AFTER_MS: i64 = 5 * 60_000;

/// Decides about an occurrence that has come. One that is a little late fires as if on time. After a longer absence the latest fires (`catches_up`), or none.
pub fn due(recurrence: &Recurrence, next_at: Timestamp, now: Timestamp, catches_up: bool) -> Due {
    let limit = now.plus_millis(-MISSED_AFTER_MS);
    if next_at >= limit {
        return Due { fire: Some(next_at), missed: None, next: recurrence.next_after(next_at) };
    }
    let last = recurrence.last_until(next_at, now).unwrap_or(next_at);
    if catches_up {
        let missed = Some(next_at).filter(|at| *at < last);
        return Due { fire: Some(last), missed, next: recurrence.next_after(last) };
    }
    // What is only a little late is not missed: it comes next.
    let next = recurrence.next_after(limit.plus_millis(-1));
    Due { fire: None, missed: Some(next_at), next }
}

fn read_cron(text: &str) -> Result<Cron, String> {
    let parser = CronParser::builder().seconds(Seconds::Disallowed).build();
    parser.parse(text).map_err(|error| {
        format!(
            "not a cron pattern of five fields (minute, hour, day, month, weekday), such as 0 9 * * MON-FRI: {error}"
        )
    })
}

/// An RRULE on the wall clock. What ends it (`UNTIL`) is an instant when it has a `Z`, and a wall time otherwise.
fn read_rrule(text: &str, starts_at: Timestamp, zone: &TimeZone) -> Result<RRuleSet, String> {
    let wall = zone.to_datetime(starts_at.jiff());
    let text = text.trim().strip_prefix("RRULE:").unwrap_or(text.trim()).to_ascii_uppercase();
    if !text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'=' | b';' | b',' | b'-' | b'+')) {
        return Err("one RRULE as in RFC 5545, such as FREQ=WEEKLY;BYDAY=MO,TH".to_owned());
    }
    let mut parts = Vec::new();
    for part in text.split(';').filter(|part| !part.is_empty()) {
        let (name, value) = part.split_once('=').ok_or_else(|| format!("`{part}` is not NAME=VALUE"))?;
        match (name, value) {
            ("FREQ", "SECONDLY" | "MINUTELY") => {
                return Err("at most every hour; for more often use `cron`, which goes down to the minute".to_owned());
            }
            ("BYSECOND", _) => return Err("seconds are not chosen; leave BYSECOND out".to_owned()),
            ("UNTIL", value) => parts.push(format!("UNTIL={}", until(value, zone)?)),
            _ => parts.push(part.to_owned()),
        }
    }
    let stamp = wall.strftime("%Y%m%dT%H%M%SZ");
    RRuleSet::from_str(&format!("DTSTART:{stamp}\nRRULE:{}", parts.join(";")))
        .map_err(|error| format!("not an RRULE such as FREQ=WEEKLY;BYDAY=MO: {error}"))
}

/// The wall time an `UNTIL` means, in the form the rule is worked out with.
fn until(value: &str, zone: &TimeZone) -> Result<String, String> {
    let bad = |_| "UNTIL is a date (20261231), a local time (20261231T235959) or UTC (20261231T235959Z)".to_owned();
    let wall = match value.strip_suffix('Z') {
        Some(text) => {
            let utc =
                DateTime::strptime("%Y%m%dT%H%M%S", text).and_then(|at| TimeZone::UTC.to_timestamp(at)).map_err(bad)?;
            zone.to_datetime(utc)
        }
        None if value.len() == 8 => Date::strptime("%Y%m%d", value).map_err(bad)?.at(23, 59, 59, 0),
        None => DateTime::strptime("%Y%m%dT%H%M%S", value).map_err(bad)?,
    };
    Ok(wall.strftime("%Y%m%dT%H%M%SZ").to_string())
}

fn as_utc(wall: DateTime) -> Timestamp {
    TimeZone::UTC.to_timestamp(wall).map(Timestamp::from).unwrap_or_default()
}

fn chrono(at: Timestamp) -> Option<chrono::DateTime<rrule::Tz>> {
    rrule::Tz::UTC.timestamp_opt(at.as_seconds(), 0).single()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn recurrence(kind: Kind, rule: &str, zone: &str, starts_at: &str, skip: &[&str]) -> Recurrence {
        let skip: Vec<String> = skip.iter().map(|text| (*text).to_owned()).collect();
        let written = Written { kind, rule, timezone: zone, starts_at: at(starts_at), ends_at: None, skip: &skip };
        let mut faults = Faults::default();
        let read = Recurrence::read(&written, &mut faults);
        assert_eq!(faults.0, []);
        read.unwrap()
    }

    fn times(recurrence: &Recurrence, after: &str, count: usize) -> Vec<String> {
        let mut at: Timestamp = after.parse().unwrap();
        let mut times = Vec::new();
        while let Some(next) = recurrence.next_after(at).filter(|_| times.len() < count) {
            times.push(next.jiff().strftime("%m-%d %H:%M").to_string());
            at = next;
        }
        times
    }

    #[test]
    fn the_clock_on_the_wall_decides() {
        let check = |kind, rule: &str, zone: &str, after: &str, expected: &[&str]| {
            let recurrence = recurrence(kind, rule, zone, "2026-01-05T08:00:00Z", &[]);
            assert_eq!(times(&recurrence, after, expected.len()), expected, "{rule} in {zone}");
        };
        let berlin = "Europe/Berlin";
        // Nine o'clock stays nine o'clock when summer time begins on 29 March 2026.
        check(
            Kind::Rrule,
            "FREQ=DAILY",
            berlin,
            "2026-03-28T00:00:00Z",
            &["03-28 08:00", "03-29 07:00", "03-30 07:00"],
        );
        check(Kind::Cron, "0 9 * * *", berlin, "2026-03-28T00:00:00Z", &["03-28 08:00", "03-29 07:00", "03-30 07:00"]);
        // Half past two does not exist that day, and comes twice on 25 October.
        let half_past_two = "FREQ=DAILY;BYHOUR=2;BYMINUTE=30";
        check(Kind::Rrule, half_past_two, berlin, "2026-03-28T02:00:00Z", &["03-29 01:30", "03-30 00:30"]);
        check(Kind::Rrule, half_past_two, berlin, "2026-10-24T02:00:00Z", &["10-25 00:30", "10-26 01:30"]);
        check(Kind::Cron, "30 2 * * *", berlin, "2026-03-28T02:00:00Z", &["03-29 01:00", "03-30 00:30"]);
        check(Kind::Cron, "30 2 * * *", berlin, "2026-10-24T02:00:00Z", &["10-25 00:30", "10-26 01:30"]);
        // A time that was moved does not overtake the one after it.
        check(
            Kind::Rrule,
            "FREQ=DAILY;BYHOUR=2,3;BYMINUTE=15",
            berlin,
            "2026-03-28T12:00:00Z",
            &["03-29 01:15", "03-30 00:15"],
        );
        check(
            Kind::Rrule,
            "FREQ=MONTHLY;BYMONTHDAY=-1",
            "America/New_York",
            "2026-01-30T00:00:00Z",
            &["01-31 08:00", "02-28 08:00", "03-31 07:00"],
        );
        check(
            Kind::Rrule,
            "FREQ=WEEKLY;BYDAY=MO,TH",
            "Asia/Kolkata",
            "2026-01-05T08:00:00Z",
            &["01-08 08:00", "01-12 08:00"],
        );
    }

    #[test]
    fn rules_end() {
        let check = |rule: &str, expected: &[&str]| {
            let recurrence = recurrence(Kind::Rrule, rule, "Europe/Berlin", "2026-01-05T08:00:00Z", &[]);
            assert_eq!(times(&recurrence, "2026-01-01T00:00:00Z", 9), expected, "{rule}");
        };
        check("FREQ=DAILY;COUNT=2", &["01-05 08:00", "01-06 08:00"]);
        check("FREQ=DAILY;UNTIL=20260106", &["01-05 08:00", "01-06 08:00"]);
        check("FREQ=DAILY;UNTIL=20260106T080000Z", &["01-05 08:00", "01-06 08:00"]);
        check("FREQ=DAILY;UNTIL=20260106T085959", &["01-05 08:00"]);
    }

    #[test]
    fn skipped_dates_are_those_of_the_wall() {
        // Nine in the evening of the 24th in New York is the 25th in UTC.
        let recurrence = recurrence(
            Kind::Cron,
            "0 21 * * *",
            "America/New_York",
            "2026-12-01T00:00:00Z",
            &["2026-12-24", "2026-12-27T02:00:00Z"],
        );
        assert_eq!(times(&recurrence, "2026-12-23T12:00:00Z", 3), ["12-24 02:00", "12-26 02:00", "12-28 02:00"]);
    }

    #[test]
    fn what_is_wrong_is_pointed_at() {
        let check = |kind, rule: &str, zone: &str, skip: &str, pointer: &str| {
            let skip = [skip.to_owned()];
            let ends_at = Some(at("2030-01-01T00:00:00Z"));
            let written =
                Written { kind, rule, timezone: zone, starts_at: at("2026-01-05T08:00:00Z"), ends_at, skip: &skip };
            let mut faults = Faults::default();
            assert!(Recurrence::read(&written, &mut faults).is_none(), "{rule}");
            assert_eq!(faults.0[0].pointer, pointer, "{rule}");
        };
        for rule in [
            "",
            "FREQ=MINUTELY",
            "FREQ=DAILY;BYSECOND=5",
            "FREQ=DAILY;COUNT=x",
            "FREQ=DAILY\nDTSTART:20200101T000000Z",
            "FREQ=DAILY;UNTIL=later",
        ] {
            check(Kind::Rrule, rule, "UTC", "2026-01-01", "/rrule");
        }
        for rule in ["", "* * * *", "61 * * * *", "* * * * * *", "nonsense"] {
            check(Kind::Cron, rule, "UTC", "2026-01-01", "/cron");
        }
        check(Kind::Cron, "0 9 * * *", "Mars/Base", "2026-01-01", "/timezone");
        check(Kind::Cron, "0 9 * * *", "UTC", "Christmas", "/skip/0");
    }

    #[test]
    fn what_was_missed_is_caught_up_with_once_or_not_at_all() {
        let hourly = recurrence(Kind::Cron, "0 * * * *", "UTC", "2026-01-05T00:00:00Z", &[]);
        let check = |now: &str, catches_up, fire: Option<&str>, missed: Option<&str>, next: &str| {
            let due = due(&hourly, at("2026-01-05T01:00:00Z"), at(now), catches_up);
            assert_eq!(due, Due { fire: fire.map(at), missed: missed.map(at), next: Some(at(next)) }, "{now}");
        };
        let (one, two, four, five) =
            ("2026-01-05T01:00:00Z", "2026-01-05T02:00:00Z", "2026-01-05T04:00:00Z", "2026-01-05T05:00:00Z");
        check("2026-01-05T01:00:00Z", true, Some(one), None, two);
        check("2026-01-05T01:04:59Z", false, Some(one), None, two);
        check("2026-01-05T01:30:00Z", true, Some(one), None, two);
        check("2026-01-05T01:30:00Z", false, None, Some(one), two);
        check("2026-01-05T04:30:00Z", true, Some(four), Some(one), five);
        check("2026-01-05T04:30:00Z", false, None, Some(one), five);
        check("2026-01-05T04:02:00Z", false, None, Some(one), four);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Each wall time of a day is one instant of that day, in every zone, through every change of clocks.
        #[test]
        fn each_day_has_exactly_one_occurrence(zone in prop::sample::select(vec!["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "America/Santiago", "Africa/Cairo"]),
            hour in 0_i8..24, minute in 0_i8..60, day in 0_i64..400) {
            let start = at("2026-01-01T00:00:00Z");
            let tz = TimeZone::get(zone).unwrap();
            let rule = format!("FREQ=DAILY;BYHOUR={hour};BYMINUTE={minute}");
            let recurrence = recurrence(Kind::Rrule, &rule, zone, "2025-12-30T00:00:00Z", &[]);
            let from = start.plus_seconds(day * 86_400);
            let date = tz.to_datetime(from.jiff()).date().tomorrow().unwrap();
            let expected = Timestamp::from(tz.to_timestamp(date.at(hour, minute, 0, 0)).unwrap());
            let before = Timestamp::from(tz.to_timestamp(date.at(0, 0, 0, 0)).unwrap());
            let next = recurrence.next_after(before.min(expected).plus_millis(-1)).unwrap();
            prop_assert_eq!(next, expected);
            prop_assert!(recurrence.next_after(next).unwrap() > next);
        }

        /// The latest occurrence is what walking finds.
        #[test]
        fn the_latest_is_the_last_of_the_walk(minutes in 1_i64..3_000, step in prop::sample::select(vec!["*/7 * * * *", "0 * * * *", "15 3 * * *", "0 0 1 * *"])) {
            let recurrence = recurrence(Kind::Cron, step, "Europe/Berlin", "2026-03-27T00:00:00Z", &["2026-03-28"]);
            let from = at("2026-03-27T00:00:00Z");
            let until = from.plus_seconds(minutes * 60);
            let (mut walked, mut here) = (None, from.plus_millis(-1));
            while let Some(next) = recurrence.next_after(here).filter(|next| *next <= until) {
                (walked, here) = (Some(next), next);
            }
            prop_assert_eq!(recurrence.last_until(from, until), walked);
        }
    }
}
