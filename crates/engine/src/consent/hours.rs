//! When the day is open for marketing: quiet hours and lawful windows on a person's own clock. Pure, and exact over changes of the clock.
//!
//! What is asked is the wall clock, minute by minute: a message may go at an instant if the wall clock then shows an open minute. Where the clock is set forward over the end of the
//! quiet hours, they end with the jump; where it is set back into them, they begin again.

use jiff::tz::TimeZone;
use model::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Minutes of a day.
pub const DAY: u16 = 1_440;
/// Steps after which a search gives up: every step passes a boundary of some window, and a week has few.
const STEPS_MAX: usize = 400;
/// No opening within this many days is none.
const DAYS_MAX: i64 = 9;

/// A daily span in which marketing waits, such as 22:00 to 09:00.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct QuietHours {
    /// From this time of day.
    #[serde(with = "clock")]
    #[schema(value_type = String, example = "22:00")]
    pub from: u16,
    /// Until this time of day; earlier than `from` is the next morning.
    #[serde(with = "clock")]
    #[schema(value_type = String, example = "09:00")]
    pub until: u16,
}

impl QuietHours {
    /// The windows it leaves open.
    pub fn windows(self) -> Windows {
        let open = if self.from > self.until {
            vec![(self.until, self.from)]
        } else {
            vec![(0, self.from), (self.until, DAY)]
        };
        Windows { days: std::array::from_fn(|_| open.clone()) }
    }
}

/// `HH:MM`, as minutes of the day.
pub mod clock {
    use serde::{Deserialize, Deserializer, Serializer};

    /// Reads `HH:MM`.
    pub fn parse(text: &str) -> Option<u16> {
        let (hours, minutes) = text.split_once(':')?;
        let is_two = |part: &str| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
        let (hours, minutes): (u16, u16) = (hours.parse().ok()?, minutes.parse().ok()?);
        (is_two(text.split(':').next()?) && is_two(text.split(':').nth(1)?) && hours < 24 && minutes < 60)
            .then_some(hours * 60 + minutes)
    }

    /// Writes `HH:MM`.
    pub fn show(minutes: u16) -> String {
        format!("{:02}:{:02}", minutes / 60, minutes % 60)
    }

    /// For serde.
    pub fn serialize<S: Serializer>(minutes: &u16, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&show(*minutes))
    }

    /// For serde.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u16, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        parse(&text).ok_or_else(|| serde::de::Error::custom("expected a time of day such as 22:00"))
    }
}

/// Open spans of each day of a week, from Monday; minutes of the day, the end not included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Windows {
    /// Spans of each day, in order.
    pub days: [Vec<(u16, u16)>; 7],
}

impl Windows {
    fn is_open(&self, day: usize, minute: u16) -> bool {
        self.days[day].iter().any(|(from, until)| (*from..*until).contains(&minute))
    }

    /// Minutes from a minute of a day to the next one that begins a span, or to midnight.
    fn to_boundary(&self, day: usize, minute: u16) -> u16 {
        let next = self.days[day].iter().map(|(from, _)| *from).filter(|from| *from > minute).min();
        next.unwrap_or(DAY) - minute
    }
}

/// A clock and what is open on it.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Whose clock.
    pub zone: TimeZone,
    /// What is open.
    pub windows: Windows,
}

impl Rule {
    /// The first instant from `at` on at which it is open, or a later instant to look again from.
    fn step(&self, at: jiff::Timestamp) -> Result<(), jiff::Timestamp> {
        let local = self.zone.to_datetime(at);
        let day = usize::from(local.weekday().to_monday_zero_offset().unsigned_abs());
        let minute = local.hour().unsigned_abs() as u16 * 60 + local.minute().unsigned_abs() as u16;
        if self.windows.is_open(day, minute) {
            return Ok(());
        }
        let seconds = i64::from(self.windows.to_boundary(day, minute)) * 60 - i64::from(local.second());
        let later = at.as_second() + seconds;
        let boundary = jiff::Timestamp::from_second(later).unwrap_or(jiff::Timestamp::MAX);
        let change = self.zone.following(at).next().map(|change| change.timestamp());
        Err(change.filter(|change| *change < boundary).unwrap_or(boundary))
    }
}

/// The first instant from `at` on at which all rules are open, to the second; `None` when there is none within nine days.
pub fn next_open(rules: &[Rule], at: Timestamp) -> Option<Timestamp> {
    let mut now = at.jiff();
    let last = at.plus_seconds(DAYS_MAX * 86_400).jiff();
    for _ in 0..STEPS_MAX {
        match rules.iter().map(|rule| rule.step(now)).find_map(Result::err) {
            None => return Some(Timestamp::from(now).max(at)),
            Some(later) if later > last => return None,
            Some(later) => now = later,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rule(zone: &str, from: &str, until: &str) -> Rule {
        let quiet = QuietHours { from: clock::parse(from).unwrap(), until: clock::parse(until).unwrap() };
        Rule { zone: TimeZone::get(zone).unwrap(), windows: quiet.windows() }
    }

    fn check(rule: &Rule, at: &str, expected: &str) {
        let open = next_open(std::slice::from_ref(rule), at.parse().unwrap()).unwrap();
        assert_eq!(open, expected.parse().unwrap(), "{at}");
    }

    #[test]
    fn quiet_hours_end_in_the_morning() {
        let berlin = rule("Europe/Berlin", "22:00", "09:00");
        check(&berlin, "2026-11-28T12:00:00.5Z", "2026-11-28T12:00:00.5Z");
        check(&berlin, "2026-11-28T20:59:59Z", "2026-11-28T20:59:59Z");
        check(&berlin, "2026-11-28T21:00:00Z", "2026-11-29T08:00:00Z");
        check(&berlin, "2026-11-29T03:12:45.25Z", "2026-11-29T08:00:00Z");
        let siesta = rule("Europe/Madrid", "13:00", "15:30");
        check(&siesta, "2026-06-01T11:00:00Z", "2026-06-01T13:30:00Z");
        check(&siesta, "2026-06-01T13:30:00Z", "2026-06-01T13:30:00Z");
    }

    #[test]
    fn a_change_of_the_clock_moves_the_end() {
        let berlin = rule("Europe/Berlin", "22:00", "09:00");
        check(&berlin, "2026-03-28T22:00:00Z", "2026-03-29T07:00:00Z");
        check(&berlin, "2026-10-24T21:00:00Z", "2026-10-25T08:00:00Z");
        // The clock jumps from 02:00 to 03:00, over the end at 02:30.
        check(&rule("Europe/Berlin", "23:00", "02:30"), "2026-03-29T00:30:00Z", "2026-03-29T01:00:00Z");
        // It goes back from 03:00 to 02:00: half past two comes twice, and the second time is quiet until it comes.
        let early = rule("Europe/Berlin", "23:00", "02:30");
        check(&early, "2026-10-24T23:30:00Z", "2026-10-25T00:30:00Z");
        check(&early, "2026-10-25T01:10:00Z", "2026-10-25T01:30:00Z");
    }

    #[test]
    fn several_rules_wait_for_each_other_and_may_never_agree() {
        let day = rule("Asia/Kolkata", "20:00", "10:00");
        let night = rule("America/New_York", "22:00", "08:00");
        let open = next_open(&[day.clone(), night.clone()], "2026-11-28T00:00:00Z".parse().unwrap()).unwrap();
        assert_eq!(open, "2026-11-28T13:00:00Z".parse().unwrap());
        let never = rule("Asia/Kolkata", "10:00", "20:00");
        assert_eq!(next_open(&[day, never], "2026-11-28T00:00:00Z".parse().unwrap()), None);
    }

    #[test]
    fn times_of_day_are_read_strictly() {
        assert_eq!(
            (clock::parse("22:00"), clock::parse("00:00"), clock::parse("23:59")),
            (Some(1320), Some(0), Some(1439))
        );
        for bad in ["24:00", "9:00", "09:0", "09:60", "0900", "", ":", "09:00:00", "+9:00"] {
            assert_eq!(clock::parse(bad), None, "{bad}");
        }
        assert_eq!(clock::show(545), "09:05");
    }

    /// Zones with jumps of an hour, half an hour and a whole day, in both halves of the year and of the globe.
    const ZONES: &[&str] = &[
        "UTC",
        "Europe/Berlin",
        "Europe/Dublin",
        "America/New_York",
        "America/Los_Angeles",
        "America/St_Johns",
        "America/Sao_Paulo",
        "America/Santiago",
        "America/Nuuk",
        "America/Havana",
        "Australia/Lord_Howe",
        "Australia/Sydney",
        "Asia/Kolkata",
        "Asia/Kathmandu",
        "Asia/Tehran",
        "Asia/Beirut",
        "Africa/Cairo",
        "Africa/Casablanca",
        "Pacific/Apia",
        "Pacific/Auckland",
        "Pacific/Chatham",
        "Antarctica/Troll",
        "Europe/Chisinau",
        "Asia/Gaza",
    ];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(600))]

        /// Against looking at the wall clock minute after minute.
        #[test]
        fn the_end_is_the_first_open_minute(
            zone in 0..ZONES.len(), from in 0..DAY, length in 1..DAY, day in 0_i64..2_200, second in 0_i64..86_400,
        ) {
            // From 2008 to 2028: with Samoa's missing day and many changes of rules.
            let zone = TimeZone::get(ZONES[zone]).unwrap();
            let quiet = QuietHours { from, until: (from + length) % DAY };
            let rule = Rule { zone: zone.clone(), windows: quiet.windows() };
            let at = Timestamp::from_seconds(1_200_000_000 + day * 3 * 86_400 + second);
            let is_open = |at: Timestamp| {
                let local = zone.to_datetime(at.jiff());
                let minute = u16::try_from(local.hour()).unwrap() * 60 + u16::try_from(local.minute()).unwrap();
                let is_quiet = match quiet.from <= quiet.until {
                    true => (quiet.from..quiet.until).contains(&minute),
                    false => minute >= quiet.from || minute < quiet.until,
                };
                !is_quiet
            };
            let slow = (0..4 * 1_440).map(|step| {
                let second = at.as_seconds();
                if step == 0 { at } else { Timestamp::from_seconds(second - second.rem_euclid(60) + step * 60) }
            }).find(|at| is_open(*at));
            prop_assert_eq!(next_open(&[rule], at), slow);
        }
    }
}
