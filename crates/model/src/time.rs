//! Instants in UTC with microseconds, the resolution both databases keep.

use std::{fmt, ops::Add, ops::Sub, str::FromStr, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An instant in UTC, in microseconds since 1970. Text form: RFC 3339 with `Z`. Also read with a zone, as in `2026-12-01T09:00:00[Europe/Berlin]` (RFC 9557).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

impl Timestamp {
    /// 1970-01-01T00:00:00Z.
    pub const EPOCH: Self = Self(0);

    /// The instant `micros` after 1970.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// The instant `millis` after 1970.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis * 1000)
    }

    /// The instant `seconds` after 1970.
    pub const fn from_seconds(seconds: i64) -> Self {
        Self(seconds * 1_000_000)
    }

    /// Microseconds since 1970.
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// Whole milliseconds since 1970.
    pub const fn as_millis(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// Whole seconds since 1970.
    pub const fn as_seconds(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// This instant moved by `millis`, which may be negative.
    pub const fn plus_millis(self, millis: i64) -> Self {
        Self(self.0.saturating_add(millis.saturating_mul(1000)))
    }

    /// This instant moved by `seconds`, which may be negative.
    pub const fn plus_seconds(self, seconds: i64) -> Self {
        self.plus_millis(seconds.saturating_mul(1000))
    }

    /// Milliseconds from `earlier` to this instant; negative when `earlier` is later.
    pub const fn millis_since(self, earlier: Self) -> i64 {
        (self.0 - earlier.0) / 1000
    }

    /// The calendar month in UTC, as in `2026-11`.
    pub fn month(self) -> String {
        let date = self.jiff().to_zoned(jiff::tz::TimeZone::UTC).date();
        format!("{:04}-{:02}", date.year(), date.month())
    }

    /// The same instant for calendar arithmetic.
    pub fn jiff(self) -> jiff::Timestamp {
        // Of its last second jiff takes no fractions in this unit.
        let [first, last] = [jiff::Timestamp::MIN, jiff::Timestamp::MAX].map(|end| end.as_second() * 1_000_000);
        jiff::Timestamp::from_microsecond(self.0.clamp(first, last)).expect("the clamp keeps within what jiff knows")
    }
}

impl From<jiff::Timestamp> for Timestamp {
    fn from(instant: jiff::Timestamp) -> Self {
        Self(instant.as_microsecond())
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;
    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)))
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Self;
    fn sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.6}", self.jiff())
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Timestamp {
    type Err = jiff::Error;
    fn from_str(text: &str) -> Result<Self, jiff::Error> {
        // A clock on a wall, where no offset says which instant is meant. A time it jumps over is moved on by the jump; of one it shows twice the first is meant.
        if text.ends_with(']') {
            return text.parse::<jiff::Zoned>().map(|zoned| zoned.timestamp().into());
        }
        text.parse::<jiff::Timestamp>().map(Self::from)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(|_| serde::de::Error::custom("expected an RFC 3339 instant such as 2026-11-21T09:30:00Z"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trips() {
        let at: Timestamp = "2026-11-21T09:30:00.25+01:00".parse().unwrap();
        assert_eq!(at.to_string(), "2026-11-21T08:30:00.250000Z");
        assert_eq!(at.to_string().parse::<Timestamp>().unwrap(), at);
        assert_eq!(at.month(), "2026-11");
    }

    #[test]
    fn a_wall_clock_in_a_zone_is_an_instant() {
        let check =
            |text: &str, expected: &str| assert_eq!(text.parse::<Timestamp>().unwrap().to_string(), expected, "{text}");
        check("2026-12-01T09:00:00[Europe/Berlin]", "2026-12-01T08:00:00.000000Z");
        check("2026-07-01T09:00:00[Europe/Berlin]", "2026-07-01T07:00:00.000000Z");
        check("2026-07-01T09:00:00+02:00[Europe/Berlin]", "2026-07-01T07:00:00.000000Z");
        // Half past two does not exist on 29 March, and comes twice on 25 October.
        check("2026-03-29T02:30:00[Europe/Berlin]", "2026-03-29T01:30:00.000000Z");
        check("2026-10-25T02:30:00[Europe/Berlin]", "2026-10-25T00:30:00.000000Z");
        for wrong in [
            "2026-12-01T09:00:00[Mars/Base]",
            "2026-12-01T09:00:00+05:00[Europe/Berlin]",
            "2026-12-01T09:00:00",
            "[UTC]",
        ] {
            assert!(wrong.parse::<Timestamp>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn arithmetic_saturates_and_rounds_down() {
        assert_eq!(Timestamp::from_micros(-1).as_millis(), -1);
        assert_eq!(Timestamp::from_millis(5).plus_millis(i64::MAX).as_micros(), i64::MAX);
        assert_eq!(Timestamp::from_micros(i64::MAX).to_string(), "9999-12-30T22:00:00.000000Z");
        // What can be read is told as it was read.
        for text in ["9999-01-01T00:00:00.000000Z", "9999-12-30T22:00:00.000000Z", "-009999-01-02T01:59:59.000000Z"] {
            assert_eq!(text.parse::<Timestamp>().unwrap().to_string(), text);
        }
    }
}
