//! Months on the clock of a tenant's time zone. Pure.

use jiff::{ToSpan as _, civil::Date, tz::TimeZone};
use model::Timestamp;

/// Some instant in the middle of a month that begins now, in seconds from it.
pub const HALF_S: i64 = 14 * 86_400;

/// The zone of this IANA name. Tenants are checked for theirs when it is set; one that is no longer known is UTC.
pub fn zone(name: &str) -> TimeZone {
    TimeZone::get(name).unwrap_or(TimeZone::UTC)
}

/// The first instant of the month an instant lies in, and the first after it.
pub fn month(zone: &TimeZone, at: Timestamp) -> (Timestamp, Timestamp) {
    let first = at.jiff().to_zoned(zone.clone()).date().first_of_month();
    let begin = |date: Date| date.to_zoned(zone.clone()).ok().map(|zoned| Timestamp::from(zoned.timestamp()));
    let next = first.checked_add(1.month()).ok().and_then(begin);
    (begin(first).unwrap_or(at), next.unwrap_or(Timestamp::from_micros(i64::MAX)))
}

/// When the month ends that begins at an instant where another ended, which may have been on another clock: in its middle it is the same month on every clock.
pub fn next(zone: &TimeZone, starts_at: Timestamp) -> Timestamp {
    month(zone, starts_at.plus_seconds(HALF_S)).1
}

/// Halfway between two instants.
pub const fn middle(starts_at: Timestamp, ends_at: Timestamp) -> Timestamp {
    Timestamp::from_micros(starts_at.as_micros() + (ends_at.as_micros() - starts_at.as_micros()) / 2)
}

/// The month of a bill for a time, as in `2026-11`. One that reaches over several months, because nothing was to be billed for the first of them, is the last one's.
pub fn of_bill(zone: &TimeZone, starts_at: Timestamp, ends_at: Timestamp) -> String {
    name(zone, middle(starts_at, ends_at).max(ends_at.plus_seconds(-HALF_S)))
}

/// The month that begins at an instant, as in `2026-11`, on the zone's clock.
pub fn name(zone: &TimeZone, starts_at: Timestamp) -> String {
    let date = starts_at.jiff().to_zoned(zone.clone()).date();
    format!("{:04}-{:02}", date.year(), date.month())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_begin_and_end_on_the_tenants_clock() {
        let check = |name: &str, at: &str, starts: &str, ends: &str| {
            let found = month(&zone(name), at.parse().unwrap());
            let expected = (starts.parse().unwrap(), ends.parse().unwrap());
            assert_eq!(found, expected, "{name} {at}");
        };
        check("Asia/Kolkata", "2026-11-30T18:29:59Z", "2026-10-31T18:30:00Z", "2026-11-30T18:30:00Z");
        check("Asia/Kolkata", "2026-11-30T18:30:00Z", "2026-11-30T18:30:00Z", "2026-12-31T18:30:00Z");
        check("Africa/Lagos", "2026-11-30T22:59:59Z", "2026-10-31T23:00:00Z", "2026-11-30T23:00:00Z");
        check("Africa/Lagos", "2026-11-30T23:00:00Z", "2026-11-30T23:00:00Z", "2026-12-31T23:00:00Z");
        // In March the clocks of Los Angeles go forward, in November back: the month ends on another offset than it began.
        check("America/Los_Angeles", "2026-03-20T00:00:00Z", "2026-03-01T08:00:00Z", "2026-04-01T07:00:00Z");
        check("America/Los_Angeles", "2026-11-01T06:59:59Z", "2026-10-01T07:00:00Z", "2026-11-01T07:00:00Z");
        check("America/Los_Angeles", "2026-11-20T00:00:00Z", "2026-11-01T07:00:00Z", "2026-12-01T08:00:00Z");
        check("America/Los_Angeles", "2026-12-01T07:59:59Z", "2026-11-01T07:00:00Z", "2026-12-01T08:00:00Z");
        check("UTC", "2028-02-29T23:59:59Z", "2028-02-01T00:00:00Z", "2028-03-01T00:00:00Z");
        check("No/Where", "2026-12-31T23:59:59Z", "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z");
        // Where midnight of the first does not exist, the month begins with the first instant there is: Asunción's clocks went forward at midnight of 1 October 2017.
        check("America/Asuncion", "2017-10-05T00:00:00Z", "2017-10-01T04:00:00Z", "2017-11-01T03:00:00Z");
    }

    #[test]
    fn months_of_a_year_follow_one_another_without_gap() {
        for name in ["Asia/Kolkata", "Africa/Lagos", "America/Los_Angeles", "Australia/Lord_Howe", "Asia/Kathmandu"] {
            let zone = zone(name);
            let mut at: Timestamp = "2025-12-15T00:00:00Z".parse().unwrap();
            for _ in 0..30 {
                let (starts, ends) = month(&zone, at);
                assert!(starts <= at && at < ends, "{name} {at}");
                assert_eq!(month(&zone, ends).0, ends, "{name} {at}");
                assert_eq!(month(&zone, ends.plus_millis(-1)), (starts, ends), "{name} {at}");
                at = ends;
            }
        }
    }

    #[test]
    fn a_month_that_begins_on_one_clock_ends_on_another() {
        let zones = ["Pacific/Kiritimati", "Asia/Kolkata", "UTC", "Africa/Lagos", "America/Los_Angeles", "Etc/GMT+12"];
        for (from, to) in zones.iter().flat_map(|from| zones.map(|to| (*from, to))) {
            let mut at: Timestamp = "2025-12-15T00:00:00Z".parse().unwrap();
            for turn in 1..=24 {
                // Every month the clock is another one.
                at = next(&zone(if turn % 2 == 0 { from } else { to }), at);
                let days = (at.as_micros() - "2025-12-15T00:00:00Z".parse::<Timestamp>().unwrap().as_micros())
                    / 86_400_000_000;
                let months = f64::from(i32::try_from(days).unwrap()) / 30.44;
                assert!(
                    (months - 0.5 - f64::from(turn - 1)).abs() < 0.2,
                    "{from} {to}: {turn} months end after {days} days"
                );
            }
        }
    }

    #[test]
    fn a_bill_is_for_the_last_of_its_months() {
        let check = |name: &str, starts: &str, ends: &str, expected: &str| {
            assert_eq!(
                of_bill(&zone(name), starts.parse().unwrap(), ends.parse().unwrap()),
                expected,
                "{starts} {ends}"
            );
        };
        check("Asia/Kolkata", "2026-10-31T18:30:00Z", "2026-11-30T18:30:00Z", "2026-11");
        check("UTC", "2026-11-29T12:00:00Z", "2026-12-01T00:00:00Z", "2026-11");
        // It was cut off in its second day, or begins on another clock than it ends.
        check("UTC", "2026-12-01T00:00:00Z", "2026-12-02T12:00:00Z", "2026-12");
        check("Pacific/Kiritimati", "2026-12-01T12:00:00Z", "2026-12-31T10:00:00Z", "2026-12");
        check("UTC", "2026-08-30T09:31:32Z", "2026-12-01T00:00:00Z", "2026-11");
    }

    #[test]
    fn a_month_has_its_name_on_the_zones_clock() {
        assert_eq!(name(&zone("Asia/Kolkata"), "2026-10-31T18:30:00Z".parse().unwrap()), "2026-11");
    }
}
