//! What a provider counted, and whom it no longer writes to.

use model::Answer;
use serde::{Deserialize, Serialize};

use super::Plan;
use crate::Cx;

/// Figures and suppression lists a provider shows.
pub trait Figures: Sync + Send {
    /// What was counted, by day. `None` where the provider has no such report.
    fn statistics(&self, _cx: &Cx<'_>, _period: &Period, _answers: &[Answer]) -> Option<Plan<Vec<Day>>> {
        None
    }

    /// How many whole days before today are still counted, in UTC, where the provider forgets them soon.
    fn days_kept(&self) -> Option<u16> {
        None
    }

    /// One page of a suppression list; `after` is what the page before named. `None` where there is no such list.
    fn suppressed(
        &self,
        _cx: &Cx<'_>,
        _list: Suppression,
        _after: Option<&str>,
        _answers: &[Answer],
    ) -> Option<Plan<SuppressedPage>> {
        None
    }
}

/// Days in UTC, the last included, as `2026-11-21`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Period {
    /// The first day.
    pub from: String,
    /// The last day.
    pub to: String,
}

/// One day as the provider counted it. What it does not count is absent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Day {
    /// As `2026-11-21`.
    pub day: String,
    /// Taken for sending.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sent: Option<i64>,
    /// Arrived.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivered: Option<i64>,
    /// Came back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bounced: Option<i64>,
    /// Reported as unwanted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub complained: Option<i64>,
    /// Opened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub opened: Option<i64>,
    /// Links followed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clicked: Option<i64>,
}

/// Which list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Suppression {
    /// Addresses that do not exist or refuse.
    Bounces,
    /// People who reported a mail as unwanted.
    Complaints,
    /// People who asked for no more.
    Unsubscribes,
}

/// One page of a list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct SuppressedPage {
    /// Its entries.
    pub entries: Vec<Suppressed>,
    /// Where the next page begins, when there is one.
    pub next: Option<String>,
}

/// One address that is no longer written to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Suppressed {
    /// Whose.
    pub address: String,
    /// Why, in the provider's words.
    pub reason: Option<String>,
    /// Since when, as the provider writes it.
    pub at: Option<String>,
}
