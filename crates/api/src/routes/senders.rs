//! Senders: as whom an account may send.

use axum::extract::State;
use engine::{
    page::Page,
    senders::{self, NewSender, SenderPatch, SenderView},
};
use model::{AccountId, SenderId};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::{
    App,
    answer::{self, Answer},
    examples,
    extract::{Args, Id, Json, Post, Who, read},
};

/// Which senders.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct SendersQuery {
    /// Only those of this account.
    #[param(value_type = Option<String>, example = "acc_01K9ZC1M2N3P4Q5R6S7T8V9W0X")]
    account_id: Option<AccountId>,
    /// Rows of the page.
    #[param(minimum = 1, maximum = 500, default = 50)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Adds a sender
///
/// An address, a number or a name besides the account's own `from`. Messages choose it with `sender_id`. Whether a mail address may send follows from its domain
/// (`/v1/domains`); of numbers and names the provider is asked, where it can be.
#[utoipa::path(post, path = "/v1/senders", operation_id = "create_sender", tag = "Senders",
    request_body(content = NewSender, example = json!({"account_id": "acc_01K9ZC1M2N3P4Q5R6S7T8V9W0X", "from": "Acme News <news@acme.example>", "name": "Newsletter"})),
    responses((status = 201, description = "The new sender.", body = SenderView, example = json!(examples::sender()))))]
pub(crate) async fn create(State(app): State<App>, Who(caller): Who, post: Post) -> Answer {
    let new: NewSender = read(&post.body)?;
    answer::reply(senders::create(app.engine().parts(), &caller, &post.repeat, new).await?)
}

/// Lists senders
///
/// Newest first.
#[utoipa::path(get, path = "/v1/senders", operation_id = "list_senders", tag = "Senders", params(SendersQuery),
    responses((status = 200, description = "One page.", body = Page<SenderView>, example = json!(examples::page(examples::sender())))))]
pub(crate) async fn list(State(app): State<App>, Who(caller): Who, Args(query): Args<SendersQuery>) -> Answer {
    let parts = app.engine().parts();
    answer::json(&senders::list(parts, &caller, query.account_id, query.limit, query.cursor.as_deref()).await?)
}

/// Shows a sender
///
/// With whether it may be used, and why not.
#[utoipa::path(get, path = "/v1/senders/{id}", operation_id = "get_sender", tag = "Senders",
    responses((status = 200, description = "The sender.", body = SenderView, example = json!(examples::sender()))))]
pub(crate) async fn get(State(app): State<App>, Who(caller): Who, Id(id): Id<SenderId>) -> Answer {
    answer::json(&senders::get(app.engine().parts(), &caller, id).await?)
}

/// Changes a sender
///
/// JSON Merge Patch. `default: true` makes it the account's `from`.
#[utoipa::path(patch, path = "/v1/senders/{id}", operation_id = "update_sender", tag = "Senders",
    request_body(content = SenderPatch, example = json!({"default": true})),
    responses((status = 200, description = "The sender as it is now.", body = SenderView, example = json!(examples::sender()))))]
pub(crate) async fn patch(State(app): State<App>, Who(caller): Who, Id(id): Id<SenderId>, Json(body): Json) -> Answer {
    let change: SenderPatch = read(&body)?;
    answer::json(&senders::patch(app.engine().parts(), &caller, id, change).await?)
}

/// Verifies a sender
///
/// Asks the provider about a number or name, now. A mail address is verified by its domain.
#[utoipa::path(post, path = "/v1/senders/{id}/verify", operation_id = "verify_sender", tag = "Senders",
    responses((status = 200, description = "The sender as it was found.", body = SenderView, example = json!(examples::sender()))))]
pub(crate) async fn verify(State(app): State<App>, Who(caller): Who, Id(id): Id<SenderId>, post: Post) -> Answer {
    post.must_be_empty()?;
    answer::reply(senders::verify(app.engine().parts(), &caller, &post.repeat, id).await?)
}

/// Deletes a sender
///
/// Messages that still wait and name it fail with the reason.
#[utoipa::path(delete, path = "/v1/senders/{id}", operation_id = "delete_sender", tag = "Senders",
    responses((status = 204, description = "It is deleted.")))]
pub(crate) async fn delete(State(app): State<App>, Who(caller): Who, Id(id): Id<SenderId>) -> Answer {
    senders::delete(app.engine().parts(), &caller, id).await?;
    answer::nothing()
}
