//! How long a tenant keeps things.

use axum::extract::State;
use engine::retention::{self, RetentionPatch, RetentionView};

use crate::{
    App,
    answer::{self, Answer},
    examples,
    extract::{Json, Who},
};

/// Shows how long things are kept
///
/// In days, by kind, with what was taken away so far.
#[utoipa::path(get, path = "/v1/retention", operation_id = "get_retention", tag = "Retention",
    responses((status = 200, description = "What is set.", body = RetentionView, example = json!(examples::retention()))))]
pub(crate) async fn get(State(app): State<App>, Who(caller): Who) -> Answer {
    answer::json(&retention::get(app.engine(), &caller).await?)
}

/// Changes how long things are kept
///
/// JSON Merge Patch: fields left out keep their value, `null` keeps the kind for ever. What is older is taken away from now on, in the background, and cannot be brought back. Rows that count stay, emptied:
/// usage, analytics and charges say the same before and after.
#[utoipa::path(patch, path = "/v1/retention", operation_id = "update_retention", tag = "Retention",
    request_body(content = RetentionPatch, example = json!({"message_content_days": 365, "exchanges_days": 90})),
    responses((status = 200, description = "What is set now.", body = RetentionView, example = json!(examples::retention()))))]
pub(crate) async fn patch(State(app): State<App>, Who(caller): Who, Json(body): Json) -> Answer {
    answer::json(&retention::patch(app.engine(), &caller, &body).await?)
}
