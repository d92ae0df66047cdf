//! Hours, days, weeks and months on the clock of a tenant's time zone. Pure.

use jiff::{ToSpan as _, civil::Date, tz::TimeZone};
use model::Timestamp;
use store::message_counters::{QUARTER_S, quarter, slot};

use super::Interval;
use crate::{Error, queries::malformed};

/// Years figures can be asked for: before the first there were no messages, and clocks work on both ends of it.
const YEARS: std::ops::RangeInclusive<i16> = 1970..=2999;

/// A time zone.
#[derive(Clone)]
pub struct Zone(TimeZone);

impl Zone {
    /// UTC.
    pub const fn utc() -> Self {
        Self(TimeZone::UTC)
    }

    /// The zone of this IANA name. Tenants are checked for theirs when it is set; one that is no longer known is UTC.
    pub fn named(name: &str) -> Self {
        Self(TimeZone::get(name).unwrap_or(TimeZone::UTC))
    }

    /// Its name.
    pub fn name(&self) -> String {
        self.0.iana_name().unwrap_or("UTC").to_owned()
    }

    /// When the period an instant lies in begins.
    pub fn begin(&self, at: Timestamp, interval: Interval) -> Timestamp {
        let zoned = at.jiff().to_zoned(self.0.clone());
        let date = zoned.date();
        match interval {
            Interval::All => Timestamp::EPOCH,
            Interval::Hour => at.plus_seconds(-(i64::from(zoned.minute()) * 60 + i64::from(zoned.second()))),
            Interval::Day => self.midnight(date).unwrap_or(at),
            Interval::Week => {
                let days = i64::from(date.weekday().to_monday_zero_offset());
                date.checked_sub(days.days()).ok().and_then(|monday| self.midnight(monday)).unwrap_or(at)
            }
            Interval::Month => self.midnight(date.first_of_month()).unwrap_or(at),
        }
    }

    /// The beginning of the slot an instant lies in.
    pub fn slot(&self, at: Timestamp) -> Timestamp {
        if clock(&self.0, at) % 2 == 0 { slot(at) } else { quarter(at) }
    }

    /// The day that begins at an instant, named by its midnight as if this clock showed UTC; `None` when no day begins then.
    pub fn day_from(&self, at: Timestamp) -> Option<Timestamp> {
        if self.begin(at, Interval::Day) != at {
            return None;
        }
        let date = at.jiff().to_zoned(self.0.clone()).date();
        date.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp().into())
    }

    /// When a day begins that is named so.
    pub fn day_of(&self, named: Timestamp) -> Timestamp {
        self.midnight(named.jiff().to_zoned(TimeZone::UTC).date()).unwrap_or(named)
    }

    /// The beginning of a day: the first instant of it where the clock jumps over midnight.
    fn midnight(&self, date: Date) -> Option<Timestamp> {
        let zoned = date.to_zoned(self.0.clone()).ok()?;
        Some(zoned.timestamp().into())
    }

    /// The beginning of the day that lies `days` before that of an instant.
    pub fn days_before(&self, at: Timestamp, days: i64) -> Timestamp {
        let date = at.jiff().to_zoned(self.0.clone()).date();
        date.checked_sub(days.days()).ok().and_then(|date| self.midnight(date)).unwrap_or(at)
    }

    /// Reads a day or an instant.
    pub fn edge(&self, pointer: &str, text: &str) -> Result<Timestamp, Error> {
        let day = text.parse::<Date>().ok().filter(|_| text.len() == 10).and_then(|date| self.midnight(date));
        let at = day.or_else(|| text.parse().ok()).ok_or_else(|| {
            let detail = "neither a day as in 2026-11-01 nor an instant as in 2026-11-01T09:00:00Z";
            malformed(pointer, detail.to_owned())
        })?;
        if !YEARS.contains(&at.jiff().to_zoned(self.0.clone()).year()) {
            let detail = format!("a year from {} to {}", YEARS.start(), YEARS.end());
            return Err(malformed(pointer, detail));
        }
        Ok(at)
    }
}

/// How far a clock is ahead of UTC, in quarters of an hour. Where it is an odd number of them, hours begin at a quarter, and messages are summed by the quarter.
pub fn clock(zone: &TimeZone, at: Timestamp) -> i64 {
    i64::from(zone.to_offset(at.jiff()).seconds()).div_euclid(QUARTER_S)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_begin_on_the_tenants_clock() {
        let check = |zone: &str, interval, at: &str, expected: &str| {
            let begin = Zone::named(zone).begin(at.parse().unwrap(), interval);
            assert_eq!(begin, expected.parse().unwrap(), "{zone} {interval:?} {at}: {begin}");
        };
        check("Asia/Kolkata", Interval::Day, "2026-11-29T18:30:00Z", "2026-11-29T18:30:00Z");
        check("Asia/Kolkata", Interval::Day, "2026-11-29T18:00:00Z", "2026-11-28T18:30:00Z");
        check("Asia/Kolkata", Interval::Hour, "2026-11-29T18:00:00Z", "2026-11-29T17:30:00Z");
        check("Africa/Lagos", Interval::Month, "2026-11-30T23:30:00Z", "2026-11-30T23:00:00Z");
        check("Africa/Lagos", Interval::Month, "2026-11-30T22:30:00Z", "2026-10-31T23:00:00Z");
        check("America/Los_Angeles", Interval::Week, "2026-11-30T07:30:00Z", "2026-11-23T08:00:00Z");
        check("Asia/Kathmandu", Interval::Hour, "2026-11-29T18:14:59Z", "2026-11-29T17:15:00Z");
        check("Asia/Kathmandu", Interval::Day, "2026-11-29T18:15:00Z", "2026-11-29T18:15:00Z");
        check("Pacific/Chatham", Interval::Month, "2026-11-30T10:15:00Z", "2026-11-30T10:15:00Z");
        // The day the clocks go back has 25 hours, the hour that comes twice is two.
        check("America/Los_Angeles", Interval::Day, "2026-11-02T07:30:00Z", "2026-11-01T07:00:00Z");
        check("America/Los_Angeles", Interval::Hour, "2026-11-01T08:30:00Z", "2026-11-01T08:00:00Z");
        check("America/Los_Angeles", Interval::Hour, "2026-11-01T09:30:00Z", "2026-11-01T09:00:00Z");
        // The week of that day begins in summer time.
        check("America/Los_Angeles", Interval::Week, "2026-11-01T20:00:00Z", "2026-10-26T07:00:00Z");
    }

    #[test]
    fn clocks_that_are_off_by_a_quarter_are_known() {
        let at: Timestamp = "2026-11-29T18:20:00Z".parse().unwrap();
        let check = |zone: &str, expected: &str| {
            assert_eq!(Zone::named(zone).slot(at), expected.parse().unwrap(), "{zone}");
        };
        for zone in ["UTC", "Asia/Kolkata", "America/St_Johns", "Australia/Lord_Howe", "Africa/Lagos"] {
            check(zone, "2026-11-29T18:00:00Z");
        }
        for zone in ["Asia/Kathmandu", "Pacific/Chatham", "Australia/Eucla"] {
            check(zone, "2026-11-29T18:15:00Z");
        }
    }

    #[test]
    fn days_have_names_and_beginnings() {
        let check = |zone: &str, begin: &str, name: Option<&str>| {
            let (zone, begin) = (Zone::named(zone), begin.parse::<Timestamp>().unwrap());
            let name = name.map(|name| name.parse::<Timestamp>().unwrap());
            assert_eq!(zone.day_from(begin), name, "{begin}");
            if let Some(name) = name {
                assert_eq!(zone.day_of(name), begin);
            }
        };
        check("UTC", "2026-11-29T00:00:00Z", Some("2026-11-29T00:00:00Z"));
        check("UTC", "2026-11-29T00:30:00Z", None);
        check("Asia/Kathmandu", "2026-11-28T18:15:00Z", Some("2026-11-29T00:00:00Z"));
        check("America/Los_Angeles", "2026-11-01T07:00:00Z", Some("2026-11-01T00:00:00Z"));
        check("America/Los_Angeles", "2026-11-02T08:00:00Z", Some("2026-11-02T00:00:00Z"));
        // In Beirut the clock jumps over midnight: the day begins at one.
        check("Asia/Beirut", "2026-03-28T22:00:00Z", Some("2026-03-29T00:00:00Z"));
    }
}
