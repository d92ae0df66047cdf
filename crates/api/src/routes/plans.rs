//! What tenants can subscribe to.

use axum::extract::State;
use engine::{
    page::Page,
    plans::{self, NewPlan, PlanPatch, PlanView},
};
use model::PlanId;

use super::PageQuery;
use crate::{
    App,
    answer::{self, Answer},
    examples,
    extract::{Args, Id, Json, Post, Who, read},
};

/// Makes a plan
///
/// What it grants and costs never changes; make another one and move tenants there. On a channel it names, sending stops where `included` is used up, unless further
/// messages have a price (`overage_micros`); then it stops at `limit`, if there is one.
#[utoipa::path(post, path = "/v1/plans", operation_id = "create_plan", tag = "Money",
    request_body(content = NewPlan, example = json!({"name": "Studio", "currency": "USD", "monthly_fee_micros": 49000000, "is_offered": true, "allowances": [
        {"channel": "email", "included": 50000}, {"channel": "sms", "included": 1000, "overage_micros": 9000, "limit": 5000}]})),
    responses((status = 201, description = "The new plan.", body = PlanView, example = json!(examples::plan()))))]
pub(crate) async fn create(State(app): State<App>, Who(caller): Who, post: Post) -> Answer {
    let new: NewPlan = read(&post.body)?;
    answer::reply(plans::create(app.engine().parts(), &caller, &post.repeat, new).await?)
}

/// Lists plans
///
/// Newest first. A tenant sees those that are offered, and its own.
#[utoipa::path(get, path = "/v1/plans", operation_id = "list_plans", tag = "Money", params(PageQuery),
    responses((status = 200, description = "One page.", body = Page<PlanView>, example = json!(examples::page(examples::plan())))))]
pub(crate) async fn list(State(app): State<App>, Who(caller): Who, Args(query): Args<PageQuery>) -> Answer {
    answer::json(&plans::list(app.engine().parts(), &caller, query.limit, query.cursor.as_deref()).await?)
}

/// Shows a plan
///
/// One that is offered, or the tenant's own.
#[utoipa::path(get, path = "/v1/plans/{id}", operation_id = "get_plan", tag = "Money",
    responses((status = 200, description = "The plan.", body = PlanView, example = json!(examples::plan()))))]
pub(crate) async fn get(State(app): State<App>, Who(caller): Who, Id(id): Id<PlanId>) -> Answer {
    answer::json(&plans::get(app.engine().parts(), &caller, id).await?)
}

/// Changes a plan
///
/// Its name, whether it is offered, and whether tenants can still be moved to it. Those who have it keep it.
#[utoipa::path(patch, path = "/v1/plans/{id}", operation_id = "update_plan", tag = "Money",
    request_body(content = PlanPatch, example = json!({"is_archived": true})),
    responses((status = 200, description = "The plan as it is now.", body = PlanView, example = json!(examples::plan()))))]
pub(crate) async fn patch(State(app): State<App>, Who(caller): Who, Id(id): Id<PlanId>, Json(body): Json) -> Answer {
    let change: PlanPatch = read(&body)?;
    answer::json(&plans::patch(app.engine().parts(), &caller, id, change).await?)
}
