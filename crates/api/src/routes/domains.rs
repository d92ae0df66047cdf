//! Mail domains.

use axum::extract::State;
use engine::{
    domains::{self, DomainView, NewDomain},
    page::Page,
};
use model::DomainId;

use super::PageQuery;
use crate::{
    App,
    answer::{self, Answer},
    examples,
    extract::{Args, Id, Post, Who, read},
};

/// Adds a mail domain
///
/// Made known to the account's provider (Amazon SES, SendGrid, Mailgun, Mailjet, Resend), or given DKIM keys of its own for a mail server. The answer shows the records
/// to publish; they are looked up by themselves until all stand, and at once with `POST /v1/domains/{id}/verify`.
#[utoipa::path(post, path = "/v1/domains", operation_id = "create_domain", tag = "Domains",
    request_body(content = NewDomain, example = json!({"name": "acme.example", "account_id": "acc_01K9ZC1M2N3P4Q5R6S7T8V9W0X"})),
    responses((status = 201, description = "The domain with its records.", body = DomainView, example = json!(examples::domain()))))]
pub(crate) async fn create(State(app): State<App>, Who(caller): Who, post: Post) -> Answer {
    let new: NewDomain = read(&post.body)?;
    answer::reply(domains::create(app.engine().parts(), &caller, &post.repeat, new).await?)
}

/// Lists mail domains
///
/// Newest first.
#[utoipa::path(get, path = "/v1/domains", operation_id = "list_domains", tag = "Domains", params(PageQuery),
    responses((status = 200, description = "One page.", body = Page<DomainView>, example = json!(examples::page(examples::domain())))))]
pub(crate) async fn list(State(app): State<App>, Who(caller): Who, Args(query): Args<PageQuery>) -> Answer {
    answer::json(&domains::list(app.engine().parts(), &caller, query.limit, query.cursor.as_deref()).await?)
}

/// Shows a mail domain
///
/// With each record and what was found for it the last time.
#[utoipa::path(get, path = "/v1/domains/{id}", operation_id = "get_domain", tag = "Domains",
    responses((status = 200, description = "The domain.", body = DomainView, example = json!(examples::domain()))))]
pub(crate) async fn get(State(app): State<App>, Who(caller): Who, Id(id): Id<DomainId>) -> Answer {
    answer::json(&domains::get(app.engine().parts(), &caller, id).await?)
}

/// Verifies a mail domain
///
/// Looks its records up in the DNS and asks the provider, now. Mails of a mail server's account are signed from then on.
#[utoipa::path(post, path = "/v1/domains/{id}/verify", operation_id = "verify_domain", tag = "Domains",
    responses((status = 200, description = "The domain as it was found.", body = DomainView, example = json!(examples::domain()))))]
pub(crate) async fn verify(State(app): State<App>, Who(caller): Who, Id(id): Id<DomainId>, post: Post) -> Answer {
    post.must_be_empty()?;
    answer::reply(domains::verify(app.engine(), &caller, &post.repeat, id).await?)
}

/// Deletes a mail domain
///
/// Here and at the provider, with its keys.
#[utoipa::path(delete, path = "/v1/domains/{id}", operation_id = "delete_domain", tag = "Domains",
    responses((status = 204, description = "It is deleted.")))]
pub(crate) async fn delete(State(app): State<App>, Who(caller): Who, Id(id): Id<DomainId>) -> Answer {
    domains::delete(app.engine().parts(), &caller, id).await?;
    answer::nothing()
}
