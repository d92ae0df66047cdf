//! From readings to what is told. Pure.
//!
//! Of each subject a rule remembers when something began to be the matter, whether it fires, when it began to be over, and when somebody was last told. That is enough to be
//! calm about any series of readings: within one quiet period a subject is told about at most twice, once that it fires and once that it is over, whatever the readings do.

use std::collections::{BTreeMap, BTreeSet};

use model::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    facts::Facts,
    measure::{Level, Reading, measure},
    rules::Rule,
};

/// Subjects of one rule that can fire at once. More say the same: something is wrong everywhere.
pub const SUBJECTS_MAX: usize = 50;
/// How long something must be over before it is said to be, at least, in seconds.
pub const CALM_S: i64 = 300;
/// How long nothing must be known about something that fires before it counts as over, in seconds: a day without messages says that nobody sends, and no more.
pub const UNKNOWN_S: i64 = 86_400;

/// What a rule remembers about one subject.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// Since when something has been the matter without a break, while nothing is said yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bad_since: Option<Timestamp>,
    /// Whether it fires.
    #[serde(default)]
    pub is_firing: bool,
    /// Since when it has been over without a break, while it fires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calm_since: Option<Timestamp>,
    /// Whether somebody was told that it fires, this time.
    #[serde(default)]
    pub is_told: bool,
    /// When somebody was last told that it fires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told_at: Option<Timestamp>,
    /// The highest pace seen while it fires, of something that is used up; see [`Reading::pace_micros`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pace_micros: Option<i64>,
    /// Of something that is counted: the highest count seen while it fires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub most_micros: Option<i64>,
    /// Whether the count has risen since somebody was told.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_worse: bool,
    /// Nothing fires before this, because a person said it is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub muted_until: Option<Timestamp>,
}

impl Memory {
    /// Whether there is anything worth keeping.
    fn is_blank(&self, quiet_s: i64, now: Timestamp) -> bool {
        let is_quiet = self.told_at.is_some_and(|at| now < at.plus_seconds(quiet_s));
        let is_muted = self.muted_until.is_some_and(|until| now < until);
        !self.is_firing && self.bad_since.is_none() && !is_quiet && !is_muted
    }

    /// What is left of it once a person said that it is over: it does not fire again before the quiet period has passed.
    #[must_use]
    pub fn resolved_by_hand(self, quiet_s: i64, now: Timestamp) -> Self {
        Self { told_at: self.told_at, muted_until: Some(now.plus_seconds(quiet_s)), ..Self::default() }
    }
}

/// What everything a rule remembers is kept by: the subject.
pub type Memories = BTreeMap<String, Memory>;

/// What happened to a subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It fires.
    Fired,
    /// It fires again, within the quiet period: the alert of before is opened again.
    Reopened,
    /// It has fired for a while, and now somebody is told because the quiet period is over.
    Reminded,
    /// There are more of what is counted than before, and the quiet period is not over.
    Risen,
    /// It is over.
    Resolved,
}

/// Something to be written down, and perhaps told.
#[derive(Debug, Clone, PartialEq)]
pub struct Notice {
    /// About what.
    pub subject: String,
    /// What happened.
    pub change: Change,
    /// What was seen; `None` when the subject is gone.
    pub reading: Option<Reading>,
    /// Whether people are told.
    pub is_told: bool,
}

/// Judges a rule. Answers what it remembers from now on, and what is to be written down.
pub fn evaluate(rule: &Rule, facts: &Facts, memories: &Memories, now: Timestamp) -> (Memories, Vec<Notice>) {
    let held_micros = memories.values().filter(|memory| memory.is_firing).filter_map(|memory| memory.pace_micros).max();
    let Some(readings) = measure(rule, facts, held_micros, now) else { return (memories.clone(), Vec::new()) };
    judge(rule, readings, memories, now)
}

/// The same, of readings.
pub fn judge(rule: &Rule, mut readings: Vec<Reading>, memories: &Memories, now: Timestamp) -> (Memories, Vec<Notice>) {
    // One look says one thing of a subject: of two templates of the same name the one that is worse.
    readings.sort_by_key(|reading| reading.level != Level::Bad);
    let mut seen = BTreeSet::new();
    readings.retain(|reading| seen.insert(reading.subject.clone()));
    // Those that fire are kept whatever else comes.
    readings.sort_by_key(|reading| !memories.get(&reading.subject).is_some_and(|memory| memory.is_firing));
    let mut firing = memories.values().filter(|memory| memory.is_firing).count();
    let (mut after, mut notices) = (Memories::new(), Vec::new());
    let gone = memories.keys().filter(|subject| !readings.iter().any(|reading| reading.subject == **subject));
    let subjects: Vec<(String, Option<Reading>)> = gone.map(|subject| (subject.clone(), None)).collect();
    let read = readings.into_iter().map(|reading| (reading.subject.clone(), Some(reading)));
    for (subject, reading) in subjects.into_iter().chain(read) {
        let before = memories.get(&subject).copied().unwrap_or_default();
        let has_room = before.is_firing || firing < SUBJECTS_MAX;
        let level = reading.as_ref().map(|reading| reading.level);
        let pace_micros = reading.as_ref().and_then(|reading| reading.pace_micros);
        let value_micros = reading.as_ref().map(|reading| reading.value_micros);
        let (mut memory, change) = step(rule, before, level.filter(|_| has_room), value_micros, now);
        memory.pace_micros = pace_micros.filter(|_| memory.is_firing);
        firing += usize::from(memory.is_firing && !before.is_firing);
        if let Some((change, is_told)) = change {
            notices.push(Notice { subject: subject.clone(), change, reading, is_told });
        }
        if !memory.is_blank(rule.quiet_s, now) {
            after.insert(subject, memory);
        }
    }
    (after, notices)
}

/// One subject's next step. `None` for the level: the subject is gone.
fn step(
    rule: &Rule,
    mut m: Memory,
    level: Option<Level>,
    value_micros: Option<i64>,
    now: Timestamp,
) -> (Memory, Option<(Change, bool)>) {
    // More of something that is counted is more to be seen to, and whoever knows of the first knows nothing of the others.
    let count_micros = value_micros.filter(|_| rule.kind.is_counted());
    let is_bad = level == Some(Level::Bad);
    let is_quiet = m.told_at.is_some_and(|at| now < at.plus_seconds(rule.quiet_s));
    if !m.is_firing {
        if !is_bad || m.muted_until.is_some_and(|until| now < until) {
            m.bad_since = None;
            return (m, None);
        }
        let since = *m.bad_since.get_or_insert(now);
        if now < since.plus_seconds(rule.for_s) {
            return (m, None);
        }
        let change = if is_quiet { Change::Reopened } else { Change::Fired };
        let told_at = if is_quiet { m.told_at } else { Some(now) };
        return (
            Memory { is_firing: true, is_told: !is_quiet, told_at, most_micros: count_micros, ..Memory::default() },
            Some((change, !is_quiet)),
        );
    }
    match level {
        Some(Level::Bad) => {
            m.calm_since = None;
            let is_risen = m.most_micros.is_some_and(|most| count_micros > Some(most));
            m.most_micros = m.most_micros.max(count_micros);
            m.is_worse |= is_risen;
            if (!m.is_told || m.is_worse) && !is_quiet {
                (m.is_told, m.is_worse, m.told_at) = (true, false, Some(now));
                return (m, Some((Change::Reminded, true)));
            }
            (m, is_risen.then_some((Change::Risen, false)))
        }
        Some(Level::Between) => {
            m.calm_since = None;
            (m, None)
        }
        Some(Level::Good | Level::Unknown) | None => {
            let since = *m.calm_since.get_or_insert(now);
            let calm_s = match level {
                Some(Level::Unknown) => UNKNOWN_S,
                _ => rule.for_s.max(CALM_S),
            };
            if now < since.plus_seconds(calm_s) {
                return (m, None);
            }
            (Memory { told_at: m.told_at, ..Memory::default() }, Some((Change::Resolved, m.is_told)))
        }
    }
}

#[cfg(test)]
mod tests {
    use model::{AlertRuleId, Timestamp};
    use proptest::prelude::*;

    use super::*;
    use crate::alerts::AlertKind;

    const MINUTE_S: i64 = 60;

    fn rule() -> Rule {
        Rule { quiet_s: 3_600, for_s: 120, ..Rule::default_of(AlertKind::BounceRate, AlertRuleId::from_ulid(1)) }
    }

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_seconds(1_000_000 + minute * MINUTE_S)
    }

    /// The minutes at which people were told, and of what, for one level a minute.
    fn told(rule: &Rule, levels: &[Option<Level>]) -> Vec<(i64, Change)> {
        let (mut memories, mut told) = (Memories::new(), Vec::new());
        for (minute, level) in levels.iter().enumerate() {
            let readings = level.map(|level| Reading { level, ..Reading::of("x") }).into_iter().collect();
            let (after, notices) = judge(rule, readings, &memories, at(minute as i64));
            told.extend(notices.iter().filter(|n| n.is_told).map(|n| (minute as i64, n.change)));
            memories = after;
        }
        told
    }

    fn series(parts: &[(Level, usize)]) -> Vec<Option<Level>> {
        parts.iter().flat_map(|(level, minutes)| std::iter::repeat_n(Some(*level), *minutes)).collect()
    }

    use Change::{Fired, Reminded, Resolved};
    use Level::{Bad, Between, Good, Unknown};

    #[test]
    fn something_must_be_the_matter_and_over_for_a_while() {
        assert_eq!(told(&rule(), &series(&[(Bad, 2), (Good, 20)])), []);
        assert_eq!(told(&rule(), &series(&[(Bad, 4), (Good, 20)])), [(2, Fired), (9, Resolved)]);
        assert_eq!(told(&rule(), &series(&[(Bad, 4), (Between, 60)])), [(2, Fired)]);
        assert_eq!(told(&rule(), &series(&[(Bad, 4), (Unknown, 60)])), [(2, Fired)], "silence is not calm");
        let gone: Vec<_> = series(&[(Bad, 4)]).into_iter().chain(std::iter::repeat_n(None, 20)).collect();
        assert_eq!(told(&rule(), &gone), [(2, Fired), (9, Resolved)], "a deleted account is over");
    }

    #[test]
    fn what_comes_back_soon_is_told_when_the_quiet_period_ends() {
        let back = series(&[(Bad, 4), (Good, 10), (Bad, 80)]);
        assert_eq!(told(&rule(), &back), [(2, Fired), (9, Resolved), (62, Reminded)]);
        let late = series(&[(Bad, 4), (Good, 100), (Bad, 10)]);
        assert_eq!(told(&rule(), &late), [(2, Fired), (9, Resolved), (106, Fired)]);
    }

    #[test]
    fn what_a_person_ended_stays_ended_for_the_quiet_period() {
        let rule = rule();
        let (memories, notices) = judge(
            &Rule { for_s: 0, ..rule.clone() },
            vec![Reading { level: Bad, ..Reading::of("x") }],
            &Memories::new(),
            at(0),
        );
        assert_eq!(notices.len(), 1);
        let muted = memories["x"].resolved_by_hand(rule.quiet_s, at(1));
        let (muted, notices) = judge(
            &rule,
            vec![Reading { level: Bad, ..Reading::of("x") }],
            &Memories::from([("x".to_owned(), muted)]),
            at(30),
        );
        assert_eq!((notices.len(), muted["x"].is_firing), (0, false));
    }

    #[test]
    fn a_subject_fires_once_however_often_it_is_seen() {
        let rule = Rule { for_s: 0, ..rule() };
        let reading = |level, title: &str| Reading { level, title: title.to_owned(), ..Reading::of("x") };
        let twice = || vec![reading(Good, "fine"), reading(Bad, "German"), reading(Bad, "French")];
        let (memories, notices) = judge(&rule, twice(), &Memories::new(), at(0));
        assert_eq!(notices.iter().map(|n| n.reading.as_ref().unwrap().title.as_str()).collect::<Vec<_>>(), ["German"]);
        let (_, notices) = judge(&rule, twice(), &memories, at(10));
        assert_eq!(notices, []);
    }

    #[test]
    fn more_of_what_is_counted_is_told_when_the_quiet_period_ends() {
        let rule = Rule { quiet_s: 3_600, ..Rule::default_of(AlertKind::LedgerFinding, AlertRuleId::from_ulid(1)) };
        let (mut memories, mut seen) = (Memories::new(), Vec::new());
        for minute in 0..200 {
            let count =
                [1, 3, 2, 4][usize::from(minute >= 10) + usize::from(minute >= 20) + usize::from(minute >= 150)];
            let reading = Reading { level: Bad, value_micros: count * 1_000_000, ..Reading::of("books") };
            let (after, notices) = judge(&rule, vec![reading], &memories, at(minute));
            seen.extend(notices.iter().map(|notice| (minute, notice.change, notice.is_told)));
            memories = after;
        }
        assert_eq!(seen, [(0, Fired, true), (10, Change::Risen, false), (60, Reminded, true), (150, Reminded, true)]);
    }

    #[test]
    fn only_so_many_fire_at_once() {
        let rule = Rule { for_s: 0, ..rule() };
        let many = (0..200).map(|n| Reading { level: Bad, ..Reading::of(&format!("{n:03}")) }).collect();
        let (memories, notices) = judge(&rule, many, &Memories::new(), at(0));
        assert_eq!((notices.len(), memories.len()), (SUBJECTS_MAX, SUBJECTS_MAX));
    }

    proptest! {
        /// Whatever the readings do, a subject is told about at most twice in a quiet period, and fires and ends alternate.
        #[test]
        fn no_series_flaps(levels in proptest::collection::vec(prop_oneof![Just(Some(Bad)), Just(Some(Between)), Just(Some(Good)), Just(Some(Unknown)), Just(None)], 0..600)) {
            let rule = rule();
            let told = told(&rule, &levels);
            let fires: Vec<i64> = told.iter().filter(|(_, change)| *change != Resolved).map(|(minute, _)| *minute).collect();
            for pair in fires.windows(2) {
                prop_assert!((pair[1] - pair[0]) * MINUTE_S >= rule.quiet_s, "{told:?}");
            }
            for pair in told.windows(2) {
                prop_assert!(pair[0].1 != pair[1].1 || pair[0].1 != Resolved, "{told:?}");
            }
        }

        /// A noisy value around the threshold, never as low as where it is over, fires once.
        #[test]
        fn noise_around_the_threshold_fires_once(noise in proptest::collection::vec(-15i64..=15, 30..300)) {
            let rule = rule();
            let value = |n: &i64| rule.threshold_micros + n * rule.threshold_micros / 100;
            let levels: Vec<_> = noise.iter().map(|n| Some(super::super::measure::level(&rule, value(n)))).collect();
            let (mut memories, mut notices) = (Memories::new(), Vec::new());
            for (minute, level) in levels.iter().enumerate() {
                let readings = level.map(|level| Reading { level, ..Reading::of("x") }).into_iter().collect();
                let (after, new) = judge(&rule, readings, &memories, at(minute as i64));
                (memories, notices) = (after, [notices, new].concat());
            }
            prop_assert!(notices.len() <= 1, "{notices:?}");
        }
    }
}
