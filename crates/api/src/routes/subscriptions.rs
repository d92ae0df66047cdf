//! A tenant's plan, and what it used of it.

use axum::extract::State;
use engine::plans::subscription::{self, SubscriptionPatch, SubscriptionView};

use crate::{
    App,
    answer::{self, Answer},
    examples,
    extract::{Json, Who, read},
};

/// Shows the subscription
///
/// The plan, whether it is in order, and what was used of it this month. Without a plan (`plan` is `null`) a tenant that pays afterwards is billed by the price list alone. `not_found` for a tenant
/// that gets no invoices: nothing is counted for it.
#[utoipa::path(get, path = "/v1/subscription", operation_id = "get_subscription", tag = "Money",
    responses((status = 200, description = "The subscription.", body = SubscriptionView, example = json!(examples::subscription()))))]
pub(crate) async fn get(State(app): State<App>, Who(caller): Who) -> Answer {
    answer::json(&subscription::get(app.engine().parts(), &caller).await?)
}

/// Changes the subscription
///
/// The first change gives the tenant its plan, unless it pays afterwards by the price list alone (`mode` of `/v1/credits`). Without enough messages left, sending is refused (402 `quota_exceeded`); after `canceled_at` everything is
/// (`subscription_canceled`), and 14 days after `past_due_since` marketing is (`subscription_past_due`).
#[utoipa::path(patch, path = "/v1/subscription", operation_id = "update_subscription", tag = "Money",
    request_body(content = SubscriptionPatch, example = json!({"plan_id": "pln_01K9ZC8Q6T7Y2V5B3N4M1XWRSD", "trial_ends_at": "2026-12-14T23:00:00Z"})),
    responses((status = 200, description = "The subscription.", body = SubscriptionView, example = json!(examples::subscription()))))]
pub(crate) async fn patch(State(app): State<App>, Who(caller): Who, Json(body): Json) -> Answer {
    let change: SubscriptionPatch = read(&body)?;
    answer::json(&subscription::patch(app.engine(), &caller, change).await?)
}
