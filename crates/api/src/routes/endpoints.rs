//! Webhook endpoints: where a tenant is told what happens.

use axum::extract::State;
use engine::{
    endpoints::{
        self, DeliveryQuery, DeliveryQueued, EndpointDelivery, EndpointDeliveryDetail, EndpointPatch, EndpointView,
        EndpointWithSecret, NewEndpoint, ReplayQueued, ReplayRequest, RotateSecret,
    },
    page::Page,
};
use model::{EndpointId, MessageId};
use serde::Deserialize;
use utoipa::IntoParams;

use super::PageQuery;
use crate::{
    App,
    answer::{self, Answer},
    examples,
    extract::{Args, Id, Ids, Json, Post, Who, read},
};

/// Adds an endpoint
///
/// Events are posted to it per Standard Webhooks, signed with the secret in this answer, which is shown this once. What it does not take is tried again for three days;
/// after five days without success it is switched off.
#[utoipa::path(post, path = "/v1/webhook-endpoints", operation_id = "create_webhook_endpoint", tag = "Webhook endpoints",
    request_body(content = NewEndpoint, example = json!({"url": "https://shop.example/hooks/tidings", "description": "Order status", "events": ["message.*"]})),
    responses((status = 201, description = "The new endpoint with its secret.", body = EndpointWithSecret, example = json!(examples::endpoint_with_secret()))))]
pub(crate) async fn create(State(app): State<App>, Who(caller): Who, post: Post) -> Answer {
    let new: NewEndpoint = read(&post.body)?;
    answer::reply(endpoints::create(app.engine(), &caller, &post.repeat, new).await?)
}

/// Lists endpoints
///
/// Newest first, without their secrets.
#[utoipa::path(get, path = "/v1/webhook-endpoints", operation_id = "list_webhook_endpoints", tag = "Webhook endpoints", params(PageQuery),
    responses((status = 200, description = "One page.", body = Page<EndpointView>, example = json!(examples::page(examples::endpoint())))))]
pub(crate) async fn list(State(app): State<App>, Who(caller): Who, Args(query): Args<PageQuery>) -> Answer {
    answer::json(&endpoints::list(app.engine(), &caller, query.limit, query.cursor.as_deref()).await?)
}

/// Shows an endpoint
///
/// With what is the matter, while it does not take events.
#[utoipa::path(get, path = "/v1/webhook-endpoints/{id}", operation_id = "get_webhook_endpoint", tag = "Webhook endpoints",
    responses((status = 200, description = "The endpoint.", body = EndpointView, example = json!(examples::endpoint()))))]
pub(crate) async fn get(State(app): State<App>, Who(caller): Who, Id(id): Id<EndpointId>) -> Answer {
    answer::json(&endpoints::get(app.engine(), &caller, id).await?)
}

/// Changes an endpoint
///
/// JSON Merge Patch: fields left out keep their value. Switching it on, or giving it another URL, tries what waits at once.
#[utoipa::path(patch, path = "/v1/webhook-endpoints/{id}", operation_id = "update_webhook_endpoint", tag = "Webhook endpoints",
    request_body(content = EndpointPatch, example = json!({"events": ["message.delivered", "message.bounced"]})),
    responses((status = 200, description = "The endpoint as it is now.", body = EndpointView, example = json!(examples::endpoint()))))]
pub(crate) async fn patch(
    State(app): State<App>,
    Who(caller): Who,
    Id(id): Id<EndpointId>,
    Json(body): Json,
) -> Answer {
    let change: EndpointPatch = read(&body)?;
    answer::json(&endpoints::patch(app.engine(), &caller, id, change).await?)
}

/// Deletes an endpoint
///
/// With its secrets; what waits for it is withdrawn.
#[utoipa::path(delete, path = "/v1/webhook-endpoints/{id}", operation_id = "delete_webhook_endpoint", tag = "Webhook endpoints",
    responses((status = 204, description = "It is deleted.")))]
pub(crate) async fn delete(State(app): State<App>, Who(caller): Who, Id(id): Id<EndpointId>) -> Answer {
    endpoints::delete(app.engine(), &caller, id).await?;
    answer::nothing()
}

/// Gives an endpoint a new secret
///
/// Shown this once. Former secrets sign beside it until the overlap ends, so that receivers can change over without missing anything.
#[utoipa::path(post, path = "/v1/webhook-endpoints/{id}/rotate-secret", operation_id = "rotate_webhook_secret", tag = "Webhook endpoints",
    request_body(content = RotateSecret, example = json!({"overlap_s": 86400})),
    responses((status = 200, description = "The endpoint with its new secret.", body = EndpointWithSecret, example = json!(examples::endpoint_with_secret()))))]
pub(crate) async fn rotate_secret(
    State(app): State<App>,
    Who(caller): Who,
    Id(id): Id<EndpointId>,
    post: Post,
) -> Answer {
    let request = if post.body.is_empty() { RotateSecret::default() } else { read(&post.body)? };
    answer::reply(endpoints::rotate_secret(app.engine(), &caller, &post.repeat, id, request).await?)
}

/// Sends a test event to an endpoint
///
/// The event `webhook.test`, whatever the endpoint's filters are. Look at the delivery to see what it answered.
#[utoipa::path(post, path = "/v1/webhook-endpoints/{id}/test", operation_id = "test_webhook_endpoint", tag = "Webhook endpoints",
    responses((status = 202, description = "The event is queued.", body = DeliveryQueued, example = json!(examples::delivery_queued()))))]
pub(crate) async fn test(State(app): State<App>, Who(caller): Who, Id(id): Id<EndpointId>, post: Post) -> Answer {
    post.must_be_empty()?;
    answer::reply(endpoints::test(app.engine(), &caller, &post.repeat, id).await?)
}

/// Sends stored events again
///
/// Those of a span of time that pass the endpoint's filters, or the ones given, under their own ids: a receiver that keeps ids notices repeats. Up to 10,000 in one request;
/// `next_cursor` leads on.
#[utoipa::path(post, path = "/v1/webhook-endpoints/{id}/replay", operation_id = "replay_events", tag = "Webhook endpoints",
    request_body(content = ReplayRequest, example = json!({"since": "2026-11-20T00:00:00Z", "events": ["message.bounced"]})),
    responses((status = 202, description = "How many were queued.", body = ReplayQueued, example = json!({"queued": 42, "next_cursor": null}))))]
pub(crate) async fn replay(State(app): State<App>, Who(caller): Who, Id(id): Id<EndpointId>, post: Post) -> Answer {
    let request: ReplayRequest = read(&post.body)?;
    answer::reply(endpoints::replay(app.engine(), &caller, &post.repeat, id, request).await?)
}

/// Which deliveries.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct DeliveriesQuery {
    /// `queued`, `sending`, `sent`, `failed` or `canceled`.
    #[param(example = "failed")]
    status: Option<String>,
    /// Rows of the page.
    #[param(minimum = 1, maximum = 500, default = 50)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Lists what was sent to an endpoint
///
/// And what is to be sent, newest first.
#[utoipa::path(get, path = "/v1/webhook-endpoints/{id}/deliveries", operation_id = "list_webhook_deliveries", tag = "Webhook endpoints", params(DeliveriesQuery),
    responses((status = 200, description = "One page.", body = Page<EndpointDelivery>, example = json!(examples::page(examples::delivery())))))]
pub(crate) async fn deliveries(
    State(app): State<App>,
    Who(caller): Who,
    Id(id): Id<EndpointId>,
    Args(query): Args<DeliveriesQuery>,
) -> Answer {
    let asked = DeliveryQuery { status: query.status, limit: query.limit, cursor: query.cursor };
    answer::json(&endpoints::deliveries(app.engine(), &caller, id, &asked).await?)
}

/// Shows a delivery
///
/// With its body and each request that was made.
#[utoipa::path(get, path = "/v1/webhook-endpoints/{id}/deliveries/{delivery_id}", operation_id = "get_webhook_delivery", tag = "Webhook endpoints",
    responses((status = 200, description = "The delivery.", body = EndpointDeliveryDetail, example = json!(examples::delivery_detail()))))]
pub(crate) async fn delivery(
    State(app): State<App>,
    Who(caller): Who,
    Ids(id, message): Ids<EndpointId, MessageId>,
) -> Answer {
    answer::json(&endpoints::delivery(app.engine(), &caller, id, message).await?)
}

/// Sends a delivery again
///
/// A new delivery of the same event, under the same `webhook-id`. Answers 409 while the delivery is still being tried.
#[utoipa::path(post, path = "/v1/webhook-endpoints/{id}/deliveries/{delivery_id}/retry", operation_id = "retry_webhook_delivery", tag = "Webhook endpoints",
    responses((status = 202, description = "The event is queued.", body = DeliveryQueued, example = json!(examples::delivery_queued()))))]
pub(crate) async fn retry(
    State(app): State<App>,
    Who(caller): Who,
    Ids(id, message): Ids<EndpointId, MessageId>,
    post: Post,
) -> Answer {
    post.must_be_empty()?;
    answer::reply(endpoints::retry(app.engine(), &caller, &post.repeat, id, message).await?)
}
