//! Templates: what is said many times, in languages and versions.

use axum::extract::State;
use engine::{
    page::Page,
    templates::{
        self, NewTemplate, NewVersion, Preview, PreviewRequest, TemplatePatch, TemplateQuery, TemplateStats,
        TemplateView, TestRequest, VersionView, WhichVersion,
    },
};
use model::{MessageId, TemplateId};
use serde::Serialize;
use utoipa::ToSchema;

use super::PageQuery;
use crate::{
    App,
    answer::{self, Answer},
    examples,
    extract::{Args, Id, Json, Post, Who, read},
};

/// Makes a template
///
/// With its first version as a draft: publish it to send it. Texts hold MiniJinja placeholders; a mail is written in MJML, HTML or text.
#[utoipa::path(post, path = "/v1/templates", operation_id = "create_template", tag = "Templates",
    request_body(content = NewTemplate, example = json!(examples::new_template())),
    responses((status = 201, description = "The new template.", body = TemplateView, example = json!(examples::template()))))]
pub(crate) async fn create(State(app): State<App>, Who(caller): Who, post: Post) -> Answer {
    let new: NewTemplate = read(&post.body)?;
    answer::reply(templates::create(app.engine(), &caller, &post.repeat, new).await?)
}

/// Lists templates
///
/// Newest first.
#[utoipa::path(get, path = "/v1/templates", operation_id = "list_templates", tag = "Templates", params(TemplateQuery),
    responses((status = 200, description = "One page.", body = Page<TemplateView>, example = json!(examples::page(examples::template())))))]
pub(crate) async fn list(State(app): State<App>, Who(caller): Who, Args(query): Args<TemplateQuery>) -> Answer {
    answer::json(&templates::list(app.engine(), &caller, &query).await?)
}

/// Shows a template
///
/// What it says is in its versions.
#[utoipa::path(get, path = "/v1/templates/{id}", operation_id = "get_template", tag = "Templates",
    responses((status = 200, description = "The template.", body = TemplateView, example = json!(examples::template()))))]
pub(crate) async fn get(State(app): State<App>, Who(caller): Who, Id(id): Id<TemplateId>) -> Answer {
    answer::json(&templates::get(app.engine(), &caller, id).await?)
}

/// Changes a template
///
/// JSON Merge Patch of its name, description and marks. What it says changes by a new version.
#[utoipa::path(patch, path = "/v1/templates/{id}", operation_id = "update_template", tag = "Templates",
    request_body(content = TemplatePatch, example = json!({"default": true})),
    responses((status = 200, description = "The template as it is now.", body = TemplateView, example = json!(examples::template()))))]
pub(crate) async fn patch(
    State(app): State<App>,
    Who(caller): Who,
    Id(id): Id<TemplateId>,
    Json(body): Json,
) -> Answer {
    let change: TemplatePatch = read(&body)?;
    answer::json(&templates::patch(app.engine(), &caller, id, change).await?)
}

/// Deletes a template
///
/// It can no longer be used, and its name is free. Messages made of it stay what they are, and those that wait still leave.
#[utoipa::path(delete, path = "/v1/templates/{id}", operation_id = "delete_template", tag = "Templates",
    responses((status = 204, description = "It is deleted.")))]
pub(crate) async fn delete(State(app): State<App>, Who(caller): Who, Id(id): Id<TemplateId>) -> Answer {
    templates::delete(app.engine(), &caller, id).await?;
    answer::nothing()
}

/// Writes another version
///
/// As a draft; the published one stays until this one is published. A version does not change once it is written.
#[utoipa::path(post, path = "/v1/templates/{id}/versions", operation_id = "create_template_version", tag = "Templates",
    request_body(content = NewVersion, example = json!(examples::new_version())),
    responses((status = 201, description = "The new version.", body = VersionView, example = json!(examples::template_version()))))]
pub(crate) async fn add_version(
    State(app): State<App>,
    Who(caller): Who,
    Id(id): Id<TemplateId>,
    post: Post,
) -> Answer {
    let new: NewVersion = read(&post.body)?;
    answer::reply(templates::add_version(app.engine(), &caller, &post.repeat, id, new).await?)
}

/// Lists a template's versions
///
/// Newest first, with what they say.
#[utoipa::path(get, path = "/v1/templates/{id}/versions", operation_id = "list_template_versions", tag = "Templates", params(PageQuery),
    responses((status = 200, description = "One page.", body = Page<VersionView>, example = json!(examples::page(examples::template_version())))))]
pub(crate) async fn versions(
    State(app): State<App>,
    Who(caller): Who,
    Id(id): Id<TemplateId>,
    Args(query): Args<PageQuery>,
) -> Answer {
    answer::json(&templates::versions(app.engine(), &caller, id, query.limit, query.cursor.as_deref()).await?)
}

/// Publishes a version
///
/// The newest, or the given one. It is compiled, and refused when it would fail for every message: each mistake with its field, its line and the reason. What is odd and no mistake is
/// told in `warnings`.
#[utoipa::path(post, path = "/v1/templates/{id}/publish", operation_id = "publish_template", tag = "Templates",
    request_body(content = WhichVersion, example = json!({"version": 2})),
    responses((status = 200, description = "The version that is sent from now on.", body = VersionView, example = json!(examples::template_version()))))]
pub(crate) async fn publish(State(app): State<App>, Who(caller): Who, Id(id): Id<TemplateId>, post: Post) -> Answer {
    let which = if post.body.is_empty() { WhichVersion::default() } else { read(&post.body)? };
    answer::reply(templates::publish(app.engine(), &caller, &post.repeat, id, which).await?)
}

/// Takes the published version back
///
/// The one that was published before it, or the given one, is sent again at once.
#[utoipa::path(post, path = "/v1/templates/{id}/rollback", operation_id = "roll_back_template", tag = "Templates",
    request_body(content = WhichVersion, example = json!({"version": 1})),
    responses((status = 200, description = "The version that is sent from now on.", body = VersionView, example = json!(examples::template_version()))))]
pub(crate) async fn rollback(State(app): State<App>, Who(caller): Who, Id(id): Id<TemplateId>, post: Post) -> Answer {
    let which = if post.body.is_empty() { WhichVersion::default() } else { read(&post.body)? };
    answer::reply(templates::roll_back(app.engine(), &caller, &post.repeat, id, which).await?)
}

/// Shows a version as somebody would get it
///
/// Drafts too. Filled with the given variables, and with examples and defaults for the rest; with the parts of an SMS and what made it dear, the WhatsApp template it stands for, and
/// what to look out for.
#[utoipa::path(post, path = "/v1/templates/{id}/preview", operation_id = "preview_template", tag = "Templates",
    request_body(content = PreviewRequest, example = json!({"variables": {"name": "Ada"}, "purpose": "marketing"})),
    responses((status = 200, description = "What would be sent.", body = Preview, example = json!(examples::template_preview()))))]
pub(crate) async fn preview(State(app): State<App>, Who(caller): Who, Id(id): Id<TemplateId>, post: Post) -> Answer {
    let request = if post.body.is_empty() { PreviewRequest::default() } else { read(&post.body)? };
    answer::json(&templates::preview(app.engine(), &caller, id, request).await?)
}

/// A message of a test.
#[derive(Serialize, ToSchema)]
#[allow(dead_code, reason = "describes what the engine answers")]
pub(crate) struct TestSent {
    /// Its id.
    #[schema(value_type = String, example = "msg_01K9ZC8Q6T7Y2V5B3N4M1XWRSD")]
    id: MessageId,
    /// To whom.
    #[schema(example = "ada@example.com")]
    to: String,
}

/// The messages of a test.
#[derive(Serialize, ToSchema)]
#[allow(dead_code, reason = "describes what the engine answers")]
pub(crate) struct TestsSent {
    /// One for each address.
    data: Vec<TestSent>,
}

/// Sends a version to a few addresses
///
/// Drafts too, to look at them where they arrive. Test messages carry `"test": "[Test]"` in their metadata and are counted apart.
#[utoipa::path(post, path = "/v1/templates/{id}/test", operation_id = "test_template", tag = "Templates",
    request_body(content = TestRequest, example = json!({"to": [{"email": "ada@example.com"}], "variables": {"name": "Ada"}})),
    responses((status = 202, description = "The messages are on their way.", body = TestsSent, example = json!(examples::template_test()))))]
pub(crate) async fn test(State(app): State<App>, Who(caller): Who, Id(id): Id<TemplateId>, post: Post) -> Answer {
    let request: TestRequest = read(&post.body)?;
    answer::reply(templates::test(app.engine(), &caller, &post.repeat, id, request).await?)
}

/// Counts what came of a template
///
/// By version, newest first: what became of its messages, and who opened and clicked, people apart from machines.
#[utoipa::path(get, path = "/v1/templates/{id}/stats", operation_id = "get_template_stats", tag = "Templates",
    responses((status = 200, description = "The counts.", body = TemplateStats, example = json!(examples::template_stats()))))]
pub(crate) async fn stats(State(app): State<App>, Who(caller): Who, Id(id): Id<TemplateId>) -> Answer {
    answer::json(&templates::stats(app.engine(), &caller, id).await?)
}
