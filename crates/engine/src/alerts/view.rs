//! Alerts as the API and events show them.

use model::{AlertId, AlertRuleId, Timestamp};
use serde::{Deserialize, Serialize};
use store::alerts::Alert;
use utoipa::ToSchema;

use super::{
    kinds::{AlertKind, AlertUnit},
    letters::{self, AlertLetter},
};
use crate::vault::OPERATOR;

/// Where an alert stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AlertState {
    /// Something is the matter.
    Firing,
    /// Something is the matter, and somebody takes care of it.
    Acknowledged,
    /// It is over.
    Resolved,
}

impl AlertState {
    /// The word in JSON and SQL.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Firing => "firing",
            Self::Acknowledged => "acknowledged",
            Self::Resolved => "resolved",
        }
    }

    /// Reads the database's word.
    pub fn from_stored(word: &str) -> Self {
        match word {
            "firing" => Self::Firing,
            "acknowledged" => Self::Acknowledged,
            _ => Self::Resolved,
        }
    }
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = AlertSeverity)]
pub enum Severity {
    /// Messages do not arrive, or soon will not.
    Critical,
    /// Somebody should have a look.
    Warning,
}

impl Severity {
    /// The word in JSON and SQL.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Warning => "warning",
        }
    }
}

/// Something a rule found.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct AlertView {
    /// Its id.
    #[schema(value_type = String, example = "alt_01K9ZC8Q6T7Y2V5B3N4M1XWRSD")]
    pub id: AlertId,
    /// The rule that found it.
    #[schema(value_type = String, example = "alr_01K9ZC8Q6T7Y2V5B3N4M1XWRSD")]
    pub rule_id: AlertRuleId,
    /// What that rule watches.
    pub kind: AlertKind,
    /// About what: an account's id, a channel, or another word.
    #[schema(example = "acc_01K9ZC1M2N3P4Q5R6S7T8V9W0X")]
    pub subject: String,
    /// Where it stands.
    pub state: AlertState,
    /// How bad it is.
    pub severity: Severity,
    /// In a few words.
    pub title: String,
    /// What was seen, in a sentence or two.
    pub detail: String,
    /// What was seen when it began to fire, and when it was over.
    #[schema(example = 6.2)]
    pub value: f64,
    /// The rule's threshold then.
    #[schema(example = 4.0)]
    pub threshold: f64,
    /// In what both are given.
    pub unit: AlertUnit,
    /// In which currency, where that is money.
    pub currency: Option<String>,
    /// How often it began to fire: more than once when it came back within the rule's quiet period.
    pub times: i64,
    /// When it began to fire, the last time.
    #[schema(value_type = String, format = DateTime)]
    pub fired_at: Timestamp,
    /// When somebody took note.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub acknowledged_at: Option<Timestamp>,
    /// Who did: an API key's or user's id.
    pub acknowledged_by: Option<String>,
    /// What they wrote.
    pub note: Option<String>,
    /// When it was over.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub resolved_at: Option<Timestamp>,
    /// Who ended it; `null` when it ended by itself.
    pub resolved_by: Option<String>,
    /// When a letter about it was last accepted, as far as it was not lost since.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub told_at: Option<Timestamp>,
    /// The letters to everybody the rule tells, that it fires and that it is over, each with how far that is; empty before the first try, and where nobody is told.
    pub letters: Vec<AlertLetter>,
}

/// How many alerts are not over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct AlertCounts {
    /// Nobody took note of.
    pub firing: i64,
    /// Somebody takes care of.
    pub acknowledged: i64,
}

/// Shows an alert; `None` for a kind this binary does not know.
pub fn alert(row: &Alert) -> Option<AlertView> {
    let kind = AlertKind::from_stored(&row.kind)?;
    let units = |micros: i64| micros as f64 / 1e6;
    Some(AlertView {
        id: row.id,
        rule_id: row.rule_id,
        kind,
        subject: row.subject.clone(),
        state: AlertState::from_stored(&row.state),
        severity: if row.severity == Severity::Critical.as_str() { Severity::Critical } else { Severity::Warning },
        title: row.title.clone(),
        detail: row.detail.clone(),
        value: units(row.value_micros),
        threshold: units(row.threshold_micros),
        unit: kind.spec().unit,
        currency: row.currency.clone(),
        times: row.times,
        fired_at: row.fired_at,
        acknowledged_at: row.acknowledged_at,
        acknowledged_by: row.acknowledged_by.clone(),
        note: row.note.clone(),
        resolved_at: row.resolved_at,
        resolved_by: row.resolved_by.clone(),
        told_at: row.told_at,
        letters: letters::read(row.letters.as_deref())
            .into_iter()
            .map(|letter| letters::shown(letter, row.tenant_id == OPERATOR))
            .collect(),
    })
}
