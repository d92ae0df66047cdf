//! Schedules as the API shows them.

use jiff::tz::TimeZone;
use model::{MessageId, ScheduleId, Timestamp};
use serde::Serialize;
use serde_json::{Value, value::RawValue};
use store::schedules::{Occurrence, Schedule};
use utoipa::ToSchema;

use super::CatchUp;

/// Where a schedule stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ScheduleState {
    /// It has occurrences to come.
    Active,
    /// All have come.
    Ended,
    /// Somebody canceled what was to come.
    Canceled,
}

/// A schedule.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ScheduleView {
    /// Its id.
    #[schema(value_type = String, example = "sch_01K9ZC8Q6T7Y2V5B3N4M1XWRSD")]
    pub id: ScheduleId,
    /// What it is for.
    pub name: String,
    /// Where it stands.
    pub state: ScheduleState,
    /// The message, as it was posted.
    #[schema(value_type = Object)]
    pub message: Box<RawValue>,
    /// When, as an RRULE.
    pub rrule: Option<String>,
    /// When, as cron.
    pub cron: Option<String>,
    /// Whose clock.
    pub timezone: String,
    /// Nothing before this.
    #[schema(value_type = String, format = DateTime)]
    pub starts_at: Timestamp,
    /// Nothing after this.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ends_at: Option<Timestamp>,
    /// What is left out.
    pub skip: Vec<String>,
    /// What happens to occurrences that were missed.
    pub catch_up: CatchUp,
    /// The next occurrence.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_at: Option<Timestamp>,
    /// Messages so far.
    pub fired: u64,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When somebody last changed it.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}

/// What became, or will become, of an occurrence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OccurrenceState {
    /// It is to come.
    Planned,
    /// Its message was accepted.
    Sent,
    /// Its message was refused.
    Failed,
    /// Nothing ran when its time came.
    Missed,
    /// Somebody canceled it.
    Canceled,
}

/// One occurrence.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct OccurrenceView {
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// When, on the schedule's clock.
    #[schema(example = "2026-12-07T09:00:00+01:00[Europe/Berlin]")]
    pub local: String,
    /// What became of it.
    pub state: OccurrenceState,
    /// The message it brought.
    #[schema(value_type = Option<String>)]
    pub message_id: Option<MessageId>,
    /// Why there is none.
    pub detail: Option<String>,
}

/// A schedule's occurrences.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct OccurrencesView {
    /// What is to come, the next first.
    pub data: Vec<OccurrenceView>,
    /// What became of the latest 50, the latest first.
    pub past: Vec<OccurrenceView>,
}

pub(super) fn schedule(row: &Schedule) -> ScheduleView {
    let rule = |kind: &str| (row.kind == kind).then(|| row.rule.clone());
    ScheduleView {
        id: row.id,
        name: row.name.clone(),
        state: match row.state.as_str() {
            super::CANCELED => ScheduleState::Canceled,
            super::ENDED => ScheduleState::Ended,
            _ => ScheduleState::Active,
        },
        message: RawValue::from_string(row.request.clone())
            .or_else(|_| serde_json::value::to_raw_value(&Value::Null))
            .expect("null has a JSON form"),
        rrule: rule("rrule"),
        cron: rule("cron"),
        timezone: row.timezone.clone(),
        starts_at: row.starts_at,
        ends_at: row.ends_at,
        skip: serde_json::from_str(&row.skip).unwrap_or_default(),
        catch_up: CatchUp::from_stored(&row.catch_up),
        next_at: row.next_at,
        fired: row.fired,
        created_at: row.created_at,
        updated_at: row.updated_at,
    }
}

pub(super) fn occurrences(row: &Schedule, ahead: &[Timestamp], recorded: &[Occurrence]) -> OccurrencesView {
    let zone = TimeZone::get(&row.timezone).unwrap_or(TimeZone::UTC);
    let local = |at: Timestamp| at.jiff().to_zoned(zone.clone()).to_string();
    let planned = |at: &Timestamp| OccurrenceView {
        at: *at,
        local: local(*at),
        state: OccurrenceState::Planned,
        message_id: None,
        detail: None,
    };
    let past = |occurrence: &Occurrence| OccurrenceView {
        at: occurrence.at,
        local: local(occurrence.at),
        state: match occurrence.outcome.as_str() {
            "sent" => OccurrenceState::Sent,
            "failed" => OccurrenceState::Failed,
            "canceled" => OccurrenceState::Canceled,
            _ => OccurrenceState::Missed,
        },
        message_id: occurrence.message_id,
        detail: occurrence.detail.clone(),
    };
    OccurrencesView { data: ahead.iter().map(planned).collect(), past: recorded.iter().map(past).collect() }
}
