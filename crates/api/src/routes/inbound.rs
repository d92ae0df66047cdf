//! What people wrote to a tenant.

use axum::extract::State;
use engine::{
    inbound::{InboundQuery, InboundView},
    page::Page,
};
use model::InboundId;

use crate::{
    App,
    answer::{self, Answer},
    examples,
    extract::{Args, Id, Who},
};

/// Lists inbound messages
///
/// What people wrote to the tenant's senders, newest first. The same as the events `message.received`.
#[utoipa::path(get, path = "/v1/inbound-messages", operation_id = "list_inbound_messages", tag = "Inbound messages", params(InboundQuery),
    responses((status = 200, description = "One page.", body = Page<InboundView>, example = json!(examples::page(examples::inbound())))))]
pub(crate) async fn list(State(app): State<App>, Who(caller): Who, Args(query): Args<InboundQuery>) -> Answer {
    answer::made(app.engine().inbound_messages(&caller, &query).await?)
}

/// Shows an inbound message
///
/// With what was attached, as the provider refers to it.
#[utoipa::path(get, path = "/v1/inbound-messages/{id}", operation_id = "get_inbound_message", tag = "Inbound messages",
    responses((status = 200, description = "The message.", body = InboundView, example = json!(examples::inbound()))))]
pub(crate) async fn get(State(app): State<App>, Who(caller): Who, Id(id): Id<InboundId>) -> Answer {
    answer::made(app.engine().inbound_message(&caller, id).await?)
}
