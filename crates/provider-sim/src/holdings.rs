//! What an account has at its provider besides messages: lists it keeps in its settings, what it counted by day, and the addresses it no longer writes to.
//! The last two follow from the messages that were taken, so what a test sent is what the provider shows.

use std::collections::BTreeSet;

use model::Timestamp;
use serde_json::Value;

use crate::{
    message::{Message, Stage},
    provider::{Cx, written},
};

/// Days of one report, at most; the longest period a provider offers.
const DAYS_MAX: usize = 366;

/// What was counted of one day's messages.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// As `2026-11-21`.
    pub day: String,
    pub sent: u64,
    pub delivered: u64,
    pub bounced: u64,
    pub bounced_for_now: u64,
    /// Taken, and not tried.
    pub dropped: u64,
    pub complained: u64,
    pub unsubscribed: u64,
    pub opened: u64,
    pub clicked: u64,
}

impl Cx<'_> {
    /// A list in a setting.
    pub fn list(&self, name: &str) -> Vec<Value> {
        self.kept(name).as_array().cloned().unwrap_or_default()
    }

    /// Each day from one to another, both included, with what was counted. Days that cannot be read have none.
    pub fn tallies(&self, from: &str, to: &str) -> Vec<Tally> {
        let at = |day: &str| format!("{}T00:00:00Z", day.get(..10).unwrap_or_default()).parse::<Timestamp>().ok();
        let (Some(mut day), Some(last)) = (at(from), at(to)) else { return Vec::new() };
        let mut all = Vec::new();
        while day <= last && all.len() < DAYS_MAX {
            all.push(self.tally(written(day, "%Y-%m-%d")));
            day = day.plus_seconds(86_400);
        }
        all
    }

    fn tally(&self, day: String) -> Tally {
        let mut tally = Tally::default();
        for message in self.known().filter(|message| written(message.at, "%Y-%m-%d") == day) {
            let has = |stage: Stage| u64::from(self.has_come_to(message, stage));
            tally.sent += 1;
            tally.delivered += has(Stage::Delivered);
            tally.bounced += has(Stage::Bounced);
            tally.bounced_for_now += has(Stage::SoftBounced);
            tally.dropped += has(Stage::Failed);
            tally.complained += has(Stage::Complained);
            tally.unsubscribed += has(Stage::Unsubscribed);
            tally.opened += has(Stage::Opened);
            tally.clicked += has(Stage::Clicked);
        }
        Tally { day, ..tally }
    }

    /// Addresses whose messages came to this stage, each once, the newest first, with when.
    pub fn suppressed(&self, why: Stage) -> Vec<(String, Timestamp)> {
        let mut seen = BTreeSet::new();
        let found = self.known().filter(|message| self.has_come_to(message, why));
        found
            .filter(|message| seen.insert(message.to.clone()))
            .map(|message| (message.to.clone(), message.at))
            .collect()
    }

    fn has_come_to(&self, message: &Message, stage: Stage) -> bool {
        message.steps.iter().any(|(at, step)| *step == stage && *at <= self.now)
    }
}

/// One page of a list: from an offset, at most so many; and where the next page begins.
pub(crate) fn page<T>(all: Vec<T>, offset: usize, limit: usize) -> (Vec<T>, Option<usize>) {
    let limit = limit.max(1);
    let has_more = all.len() > offset.saturating_add(limit);
    (all.into_iter().skip(offset).take(limit).collect(), has_more.then_some(offset.saturating_add(limit)))
}

/// True when a number that is an id is the one in a path.
pub(crate) fn is_id(number: &Value, segment: &str) -> bool {
    segment.parse().is_ok_and(|wanted: u64| number.as_u64() == Some(wanted))
}

/// Whether a provider finds a domain's records when it looks. It looks at no DNS here: as with addresses, the name tells.
pub(crate) fn is_published(domain: &str) -> bool {
    !domain.starts_with("unpublished.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages() {
        assert_eq!(page(vec![1, 2, 3], 0, 2), (vec![1, 2], Some(2)));
        assert_eq!(page(vec![1, 2, 3], 2, 2), (vec![3], None));
        assert_eq!(page(vec![1, 2], 0, 2), (vec![1, 2], None));
        assert_eq!(page::<u8>(Vec::new(), 7, 0), (Vec::new(), None));
    }
}
