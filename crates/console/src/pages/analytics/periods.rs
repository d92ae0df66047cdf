//! The periods of a chart, on the tenant's clock: also those in which nothing was accepted, which the figures leave out. Pure.

use std::collections::BTreeMap;

use engine::analytics::{AnalyticsRow, AnalyticsView, Figures, Interval};
use jiff::{Span, civil::Date, tz::TimeZone};
use model::Timestamp;

/// Days, weeks or months in a row, the last one the current.
pub(in crate::pages) struct Periods {
    interval: Interval,
    /// First days, with the instants they begin at.
    begins: Vec<(Date, Timestamp)>,
}

impl Periods {
    /// The last `count` of them, the one `now` lies in included. A zone that is not known is UTC, as for the figures.
    pub(in crate::pages) fn until_now(zone: &str, now: Timestamp, interval: Interval, count: u16) -> Self {
        let zone = TimeZone::get(zone).unwrap_or(TimeZone::UTC);
        let today = now.jiff().to_zoned(zone.clone()).date();
        let last = match interval {
            Interval::Month => today.first_of_month(),
            Interval::Week => today.saturating_sub(Span::new().days(today.weekday().to_monday_zero_offset())),
            Interval::Day | Interval::Hour | Interval::All => today,
        };
        let begin = |back: u16| {
            let back = i32::from(back);
            let span = match interval {
                Interval::Month => Span::new().months(back),
                Interval::Week => Span::new().weeks(back),
                Interval::Day | Interval::Hour | Interval::All => Span::new().days(back),
            };
            let date = last.saturating_sub(span);
            date.to_zoned(zone.clone()).ok().map(|zoned| (date, Timestamp::from(zoned.timestamp())))
        };
        Self { interval, begins: (0..count).rev().filter_map(begin).collect() }
    }

    /// The first day, as the API reads it.
    pub(in crate::pages) fn since(&self) -> String {
        self.begins.first().map(|(date, _)| date.to_string()).unwrap_or_default()
    }

    /// A short name for each.
    pub(in crate::pages) fn labels(&self) -> Vec<String> {
        let pattern = if self.interval == Interval::Month { "%b %y" } else { "%-d %b" };
        self.begins.iter().map(|(date, _)| date.strftime(pattern).to_string()).collect()
    }

    /// What the rows that are wanted come to in each.
    pub(in crate::pages) fn sums(
        &self,
        view: &AnalyticsView,
        is_wanted: impl Fn(&AnalyticsRow) -> bool,
        of: impl Fn(&Figures) -> i64,
    ) -> Vec<i64> {
        let mut sums: BTreeMap<Timestamp, i64> = BTreeMap::new();
        for row in view.data.iter().filter(|row| is_wanted(row)) {
            if let Some(at) = row.period {
                *sums.entry(at).or_default() += of(&row.figures);
            }
        }
        self.begins.iter().map(|(_, at)| sums.get(at).copied().unwrap_or(0)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_end_with_the_current_one_on_the_tenants_clock() {
        let check = |zone, now: &str, interval, count, expected: &[&str], first: &str| {
            let periods = Periods::until_now(zone, now.parse().unwrap(), interval, count);
            assert_eq!(periods.labels(), expected);
            assert_eq!(periods.begins[0].1, first.parse().unwrap());
        };
        check("Asia/Kolkata", "2026-11-29T18:40:00Z", Interval::Day, 2, &["29 Nov", "30 Nov"], "2026-11-28T18:30:00Z");
        check("UTC", "2026-11-29T12:00:00Z", Interval::Week, 2, &["16 Nov", "23 Nov"], "2026-11-16T00:00:00Z");
        check(
            "Europe/Berlin",
            "2026-03-31T12:00:00Z",
            Interval::Month,
            3,
            &["Jan 26", "Feb 26", "Mar 26"],
            "2025-12-31T23:00:00Z",
        );
        check("nowhere", "2026-01-01T00:00:00Z", Interval::Day, 1, &["1 Jan"], "2026-01-01T00:00:00Z");
    }
}
