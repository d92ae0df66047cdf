//! Hours, days, weeks and months on the clock of a tenant's time zone. Pure.

use jiff::{ToSpan as _, civil::Date, tz::TimeZone};
use model::Timestamp;

use super::Interval;
use crate::{Error, queries::malformed};

/// A time zone.
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
        day.or_else(|| text.parse().ok()).ok_or_else(|| {
            let detail = "neither a day as in 2026-11-01 nor an instant as in 2026-11-01T09:00:00Z";
            malformed(pointer, detail.to_owned())
        })
    }
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
        // The day the clocks go back has 25 hours, the hour that comes twice is two.
        check("America/Los_Angeles", Interval::Day, "2026-11-02T07:30:00Z", "2026-11-01T07:00:00Z");
        check("America/Los_Angeles", Interval::Hour, "2026-11-01T08:30:00Z", "2026-11-01T08:00:00Z");
        check("America/Los_Angeles", Interval::Hour, "2026-11-01T09:30:00Z", "2026-11-01T09:00:00Z");
        // The week of that day begins in summer time.
        check("America/Los_Angeles", Interval::Week, "2026-11-01T20:00:00Z", "2026-10-26T07:00:00Z");
    }
}
