//! What a workload found out, as text for people and as JSON.
//!
//! A report travels as JSON from the process that ran the workload to the one that was asked for several, so it can be read back.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

/// What one workload, or one set of floors, found out.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Report {
    /// `b1` and so on, or `floors`.
    pub workload: String,
    /// One sentence.
    pub title: String,
    /// `sqlite` or `postgres`.
    pub database: String,
    /// What a commit waits for.
    pub durability: String,
    /// What was measured, in order.
    pub phases: Vec<Phase>,
    /// The issue's targets.
    pub targets: Vec<Target>,
    /// What a reader must know to compare.
    pub notes: Vec<String>,
}

/// One measured stretch of work.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Phase {
    /// What was done.
    pub name: String,
    /// Messages, requests or rows.
    pub count: u64,
    /// How long it took.
    pub seconds: f64,
    /// `count` over `seconds`.
    pub per_second: f64,
    /// How long each took, where that was looked at.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub latency: Option<Latency>,
    /// What it cost, where that was looked at.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cost: Option<Cost>,
    /// Accepted and never seen at the other end.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub lost: Option<u64>,
    /// Seen more than once.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub duplicates: Option<u64>,
    /// The most this could be, measured in the same run.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub ceiling: Option<Ceiling>,
}

/// Milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// Half were quicker.
    pub p50_ms: f64,
    /// 95 of 100 were quicker.
    pub p95_ms: f64,
    /// 99 of 100 were quicker.
    pub p99_ms: f64,
    /// The slowest.
    pub max_ms: f64,
}

/// What a phase cost. Per message unless the name says otherwise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// Processor time of our process, in microseconds.
    pub cpu_us: f64,
    /// Processor time of the database server, in microseconds; `None` when it is part of our process or out of sight.
    pub database_cpu_us: Option<f64>,
    /// Most memory our process ever held, in MiB.
    pub peak_mib: f64,
    /// Commits that waited for the disk; on PostgreSQL its count of synced writes of the log.
    pub syncs: Option<f64>,
    /// Bytes our process and the database server handed to the disk.
    pub written_bytes: f64,
}

/// The most a phase could reach.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Ceiling {
    /// What was measured.
    pub name: String,
    /// How fast it was.
    pub per_second: f64,
    /// The phase's share of it.
    pub ratio: f64,
}

/// A number that was aimed at.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Target {
    /// What it speaks of.
    pub name: String,
    /// The aim, with its unit.
    pub wanted: String,
    /// The figure, with the same unit.
    pub measured: String,
    /// Whether it was reached.
    pub is_reached: bool,
}

impl Phase {
    /// `count` in `seconds`.
    pub fn new(name: impl Into<String>, count: u64, seconds: f64) -> Self {
        let per_second = if seconds > 0.0 { count as f64 / seconds } else { 0.0 };
        Self { name: name.into(), count, seconds, per_second, ..Self::default() }
    }

    /// Sets a floor of the same run beside it.
    pub fn below(mut self, ceiling: &Phase) -> Self {
        let ratio = if ceiling.per_second > 0.0 { self.per_second / ceiling.per_second } else { 0.0 };
        self.ceiling = Some(Ceiling { name: ceiling.name.clone(), per_second: ceiling.per_second, ratio });
        self
    }
}

impl Cost {
    /// Adds what another stretch of work cost in all.
    pub fn add(&mut self, other: Self) {
        let sum = |a: Option<f64>, b: Option<f64>| a.or(b).map(|_| a.unwrap_or(0.0) + b.unwrap_or(0.0));
        *self = Self {
            cpu_us: self.cpu_us + other.cpu_us,
            database_cpu_us: sum(self.database_cpu_us, other.database_cpu_us),
            peak_mib: self.peak_mib.max(other.peak_mib),
            syncs: sum(self.syncs, other.syncs),
            written_bytes: self.written_bytes + other.written_bytes,
        };
    }

    /// What each of `count` messages cost, of what they cost in all.
    pub fn each(self, count: u64) -> Self {
        let each = |all: f64| all / count.max(1) as f64;
        Self {
            cpu_us: each(self.cpu_us),
            database_cpu_us: self.database_cpu_us.map(each),
            peak_mib: self.peak_mib,
            syncs: self.syncs.map(each),
            written_bytes: each(self.written_bytes),
        }
    }
}

impl Latency {
    /// The percentiles of some waits, in microseconds. Sorts them.
    pub fn of(waits_us: &mut [u64]) -> Option<Self> {
        waits_us.sort_unstable();
        let last = waits_us.len().checked_sub(1)?;
        let at = |percent: usize| waits_us[last * percent / 100] as f64 / 1_000.0;
        Some(Self { p50_ms: at(50), p95_ms: at(95), p99_ms: at(99), max_ms: at(100) })
    }
}

impl Target {
    /// At least `wanted` a second.
    pub fn rate(name: impl Into<String>, measured: f64, wanted: f64) -> Self {
        Self {
            name: name.into(),
            wanted: format!("≥ {}/s", grouped(wanted)),
            measured: format!("{}/s", grouped(measured)),
            is_reached: measured >= wanted,
        }
    }

    /// At most `wanted` of a unit.
    pub fn at_most(name: impl Into<String>, measured: f64, wanted: f64, unit: &str) -> Self {
        Self {
            name: name.into(),
            wanted: format!("≤ {wanted} {unit}"),
            measured: format!("{measured:.2} {unit}"),
            is_reached: measured <= wanted,
        }
    }

    /// At least `wanted` of a unit.
    pub fn at_least(name: impl Into<String>, measured: f64, wanted: f64, unit: &str) -> Self {
        Self {
            name: name.into(),
            wanted: format!("≥ {wanted} {unit}"),
            measured: format!("{measured:.2} {unit}"),
            is_reached: measured >= wanted,
        }
    }

    /// None at all.
    pub fn none(name: impl Into<String>, measured: u64) -> Self {
        Self { name: name.into(), wanted: "0".to_owned(), measured: measured.to_string(), is_reached: measured == 0 }
    }
}

impl Report {
    /// A report without findings yet.
    pub fn new(workload: &str, title: &str, database: &str, durability: &str) -> Self {
        Self {
            workload: workload.to_owned(),
            title: title.to_owned(),
            database: database.to_owned(),
            durability: durability.to_owned(),
            ..Self::default()
        }
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut text = format!("{} · {} · {}\n", self.workload.to_uppercase(), self.title, self.database);
        let _ = writeln!(text, "   durability: {}", self.durability);
        for phase in &self.phases {
            write_phase(&mut text, phase);
        }
        for target in &self.targets {
            let verdict = if target.is_reached { "pass" } else { "MISS" };
            let _ = writeln!(text, "   {verdict}  {}: {} (wanted {})", target.name, target.measured, target.wanted);
        }
        for note in &self.notes {
            let _ = writeln!(text, "   note: {note}");
        }
        text
    }
}

fn write_phase(text: &mut String, phase: &Phase) {
    let _ = writeln!(
        text,
        "   {}: {}/s ({} in {:.2} s)",
        phase.name,
        grouped(phase.per_second),
        grouped(phase.count as f64),
        phase.seconds
    );
    if let Some(l) = &phase.latency {
        let _ = writeln!(
            text,
            "      latency p50 {:.2} ms, p95 {:.2} ms, p99 {:.2} ms, max {:.2} ms",
            l.p50_ms, l.p95_ms, l.p99_ms, l.max_ms
        );
    }
    if let Some(cost) = &phase.cost {
        let database = cost.database_cpu_us.map_or_else(String::new, |us| format!(" + {us:.1} µs database"));
        let syncs = cost.syncs.map_or_else(|| "unknown".to_owned(), |syncs| format!("{syncs:.4}"));
        let _ = writeln!(
            text,
            "      per message: {:.1} µs CPU{database}, {syncs} syncs, {} bytes written; peak memory {:.0} MiB",
            cost.cpu_us,
            grouped(cost.written_bytes),
            cost.peak_mib
        );
    }
    if phase.lost.is_some() || phase.duplicates.is_some() {
        let number = |n: Option<u64>| n.map_or_else(|| "not looked at".to_owned(), |n| n.to_string());
        let _ = writeln!(text, "      lost {}, duplicates {}", number(phase.lost), number(phase.duplicates));
    }
    if let Some(ceiling) = &phase.ceiling {
        let _ = writeln!(
            text,
            "      {:.0} % of the ceiling: {} ({}/s)",
            ceiling.ratio * 100.0,
            ceiling.name,
            grouped(ceiling.per_second)
        );
    }
}

/// A whole number with its thousands apart.
fn grouped(number: f64) -> String {
    let digits = format!("{:.0}", number.abs());
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_stand_apart() {
        for (number, text) in [(0.0, "0"), (999.6, "1,000"), (12_345.0, "12,345"), (1_234_567.0, "1,234,567")] {
            assert_eq!(grouped(number), text);
        }
    }

    #[test]
    fn percentiles_are_of_the_sorted_waits() {
        let mut waits: Vec<u64> = (1..=1_000).rev().map(|ms| ms * 1_000).collect();
        let latency = Latency::of(&mut waits).unwrap();
        assert_eq!((latency.p50_ms, latency.p95_ms, latency.p99_ms, latency.max_ms), (500.0, 950.0, 990.0, 1_000.0));
        assert_eq!(Latency::of(&mut []), None);
    }

    #[test]
    fn a_report_reads_as_text_and_back_from_json() {
        let mut report = Report::new("b3", "Drain", "sqlite", "WAL, synchronous=FULL");
        let floor = Phase::new("rows", 2_000, 1.0);
        report
            .phases
            .push(Phase { lost: Some(0), duplicates: Some(0), ..Phase::new("one per call", 1_000, 2.0) }.below(&floor));
        report.targets.push(Target::rate("one per call", 500.0, 12_000.0));
        insta::assert_snapshot!(report.text(), @r"
        B3 · Drain · sqlite
           durability: WAL, synchronous=FULL
           one per call: 500/s (1,000 in 2.00 s)
              lost 0, duplicates 0
              25 % of the ceiling: rows (2,000/s)
           MISS  one per call: 500/s (wanted ≥ 12,000/s)
        ");
        let back: Report = serde_json::from_str(&serde_json::to_string(&report).unwrap()).unwrap();
        assert_eq!(back.text(), report.text());
    }
}
