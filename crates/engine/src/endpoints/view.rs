//! An endpoint as people see it.

use model::{EndpointId, EventId, Failure, Timestamp};
use serde::Serialize;
use store::{account_states::AccountState, endpoints::Endpoint};
use utoipa::ToSchema;

/// Whether events leave for an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EndpointState {
    /// They do.
    Active,
    /// They wait and are tried again, because it did not take the last ones; see `failing`.
    Failing,
    /// It is switched off, by you or because it took nothing for 5 days; see `disabled_reason`.
    Disabled,
}

/// What is the matter with a failing endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct EndpointFailing {
    /// Since when it has taken nothing.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// Its last answer's status, or our code such as `timeout`.
    #[schema(example = "503")]
    pub code: Option<String>,
    /// What happened.
    pub detail: Option<String>,
    /// When it is tried again.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub retry_at: Option<Timestamp>,
}

/// Where a tenant's events go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct EndpointView {
    /// Its id.
    #[schema(value_type = String, example = "whk_01K9ZC8Q6T7Y2V5B3N4M1XWRSD")]
    pub id: EndpointId,
    /// Where events are posted.
    #[schema(example = "https://shop.example/hooks/tidings")]
    pub url: String,
    /// What it is for.
    pub description: String,
    /// Which events it gets.
    #[schema(example = json!(["message.*"]))]
    pub events: Vec<String>,
    /// Whether it is switched on.
    pub enabled: bool,
    /// Whether events leave for it.
    pub state: EndpointState,
    /// Why it was switched off.
    pub disabled_reason: Option<String>,
    /// What is the matter while it is failing.
    pub failing: Option<EndpointFailing>,
    /// Until when former secrets sign beside the newest.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub previous_secret_until: Option<Timestamp>,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it last changed.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}

/// An endpoint with its signing secret, which is shown this once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct EndpointWithSecret {
    /// The endpoint.
    #[serde(flatten)]
    pub endpoint: EndpointView,
    /// Signs the requests (Standard Webhooks). Keep it; it is not shown again.
    #[schema(example = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")]
    pub secret: String,
}

/// An event that was queued for an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct DeliveryQueued {
    /// The delivery, for looking it up.
    #[schema(value_type = String, example = "msg_01K9ZC8Q6T7Y2V5B3N4M1XWRSD")]
    pub message_id: model::MessageId,
    /// The event: the request's `webhook-id`.
    #[schema(value_type = String, example = "evt_01K9ZC8Q6T7Y2V5B3N4M1XWRSD")]
    pub event_id: EventId,
}

/// What a replay queued.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ReplayQueued {
    /// How many events were queued by this call.
    pub queued: u64,
    /// Give this as `cursor` to replay the rest; `null` when there is none.
    pub next_cursor: Option<String>,
}

/// The row's word for an endpoint that is switched on.
pub(super) const ACTIVE: &str = "active";
/// The row's word for one that is not.
pub(super) const DISABLED: &str = "disabled";

/// Shows an endpoint; `running` is the state of its account, when it has one.
pub(super) fn endpoint(row: &Endpoint, running: Option<&AccountState>) -> EndpointView {
    let is_enabled = row.state == ACTIVE;
    let failing = running.filter(|_| is_enabled).and_then(failing);
    EndpointView {
        id: row.id,
        url: row.url.clone(),
        description: row.description.clone(),
        events: row.events.split_whitespace().map(str::to_owned).collect(),
        enabled: is_enabled,
        state: match (is_enabled, &failing) {
            (false, _) => EndpointState::Disabled,
            (true, Some(_)) => EndpointState::Failing,
            (true, None) => EndpointState::Active,
        },
        disabled_reason: row.state_reason.clone(),
        failing,
        previous_secret_until: row.previous_secret_until,
        created_at: row.created_at,
        updated_at: row.updated_at,
    }
}

fn failing(running: &AccountState) -> Option<EndpointFailing> {
    let since = running.paused_at?;
    let failure: Option<Failure> = running.pause.as_deref().and_then(|text| serde_json::from_str(text).ok());
    let (code, detail) = failure.map(|failure| (failure.code, failure.detail)).unzip();
    Some(EndpointFailing { since, code, detail, retry_at: running.paused_until })
}
