//! WhatsApp templates at an account's provider.

use axum::extract::State;
use engine::{
    page::Page,
    whatsapp_templates::{self, NewWhatsappTemplate, WhatsappTemplateSync, WhatsappTemplateView},
};
use model::AccountId;

use super::PageQuery;
use crate::{
    App,
    answer::{self, Answer},
    examples,
    extract::{Args, Id, Ids, Post, TemplateName, Who, read},
};

/// Lists WhatsApp templates
///
/// As the provider last showed them, newest first. They are read again by themselves, and at once with `POST …/sync`.
#[utoipa::path(get, path = "/v1/accounts/{id}/whatsapp-templates", operation_id = "list_whatsapp_templates", tag = "WhatsApp templates", params(PageQuery),
    responses((status = 200, description = "One page.", body = Page<WhatsappTemplateView>, example = json!(examples::page(examples::whatsapp_template())))))]
pub(crate) async fn list(
    State(app): State<App>,
    Who(caller): Who,
    Id(id): Id<AccountId>,
    Args(query): Args<PageQuery>,
) -> Answer {
    let parts = app.engine().parts();
    answer::json(&whatsapp_templates::list(parts, &caller, id, query.limit, query.cursor.as_deref()).await?)
}

/// Submits a WhatsApp template
///
/// At the account's provider, for review. What becomes of it is told as `whatsapp_template.updated`.
#[utoipa::path(post, path = "/v1/accounts/{id}/whatsapp-templates", operation_id = "create_whatsapp_template", tag = "WhatsApp templates",
    request_body(content = NewWhatsappTemplate, example = json!({
        "name": "order_update", "language": "en", "category": "UTILITY",
        "components": [{"type": "BODY", "text": "Your order {{1}} is on its way.", "example": {"body_text": [["42"]]}}],
    })),
    responses((status = 201, description = "The template under review.", body = WhatsappTemplateView, example = json!(examples::whatsapp_template()))))]
pub(crate) async fn create(State(app): State<App>, Who(caller): Who, Id(id): Id<AccountId>, post: Post) -> Answer {
    let new: NewWhatsappTemplate = read(&post.body)?;
    answer::reply(whatsapp_templates::create(app.engine().parts(), &caller, &post.repeat, id, new).await?)
}

/// Reads WhatsApp templates again
///
/// Asks the provider for all of the account's templates, now.
#[utoipa::path(post, path = "/v1/accounts/{id}/whatsapp-templates/sync", operation_id = "sync_whatsapp_templates", tag = "WhatsApp templates",
    responses((status = 200, description = "What the reading came to.", body = WhatsappTemplateSync, example = json!({
        "total": 12, "changed": 1, "gone": 0, "at": "2026-11-21T09:30:00.000000Z",
    }))))]
pub(crate) async fn sync(State(app): State<App>, Who(caller): Who, Id(id): Id<AccountId>, post: Post) -> Answer {
    post.must_be_empty()?;
    answer::reply(whatsapp_templates::sync(app.engine(), &caller, &post.repeat, id).await?)
}

/// Deletes a WhatsApp template
///
/// By its name, in all its languages, here and at the provider.
#[utoipa::path(delete, path = "/v1/accounts/{id}/whatsapp-templates/{name}", operation_id = "delete_whatsapp_template", tag = "WhatsApp templates",
    responses((status = 204, description = "It is deleted.")))]
pub(crate) async fn delete(
    State(app): State<App>,
    Who(caller): Who,
    Ids(id, TemplateName(name)): Ids<AccountId, TemplateName>,
) -> Answer {
    whatsapp_templates::delete(app.engine().parts(), &caller, id, &name).await?;
    answer::nothing()
}
