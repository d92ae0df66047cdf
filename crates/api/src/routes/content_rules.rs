//! What a tenant allows its messages to say.

use axum::extract::State;
use engine::{
    content_rules::{self, ContentRulePatch, ContentRuleView, NewContentRule},
    page::Page,
};
use model::ContentRuleId;

use super::contacts::NoQuery;
use crate::{
    App,
    answer::{self, Answer},
    examples,
    extract::{Args, Id, Json, Post, Who, read},
};

/// Makes a content rule
///
/// Words no message may say, where links may lead, or a text each message must have. A message that breaks a rule is refused with 422 `content_rule`, naming the rule and the field, also in a
/// dry run; a campaign's checklist counts such messages, and publishing a template warns. Our own pages, such as the one to unsubscribe, may always be linked to.
#[utoipa::path(post, path = "/v1/content-rules", operation_id = "create_content_rule", tag = "Content rules",
    request_body(content = NewContentRule, example = json!({"name": "No gambling", "blocked_words": {"words": ["casino", "jackpot"]}, "purpose": "marketing"})),
    responses((status = 201, description = "The new rule.", body = ContentRuleView, example = json!(examples::content_rule()))))]
pub(crate) async fn create(State(app): State<App>, Who(caller): Who, post: Post) -> Answer {
    let new: NewContentRule = read(&post.body)?;
    answer::reply(content_rules::create(app.engine(), &caller, &post.repeat, new).await?)
}

/// Lists content rules
///
/// All of them, oldest first.
#[utoipa::path(get, path = "/v1/content-rules", operation_id = "list_content_rules", tag = "Content rules",
    responses((status = 200, description = "All rules.", body = Page<ContentRuleView>, example = json!(examples::page(examples::content_rule())))))]
pub(crate) async fn list(State(app): State<App>, Who(caller): Who, Args(NoQuery {}): Args<NoQuery>) -> Answer {
    answer::json(&content_rules::list(app.engine(), &caller).await?)
}

/// Shows a content rule
///
/// With what it looks for, and in which messages.
#[utoipa::path(get, path = "/v1/content-rules/{id}", operation_id = "get_content_rule", tag = "Content rules",
    responses((status = 200, description = "The rule.", body = ContentRuleView, example = json!(examples::content_rule()))))]
pub(crate) async fn get(State(app): State<App>, Who(caller): Who, Id(id): Id<ContentRuleId>) -> Answer {
    answer::json(&content_rules::get(app.engine(), &caller, id).await?)
}

/// Changes a content rule
///
/// JSON Merge Patch: fields left out keep their value. Messages that were accepted before stay accepted.
#[utoipa::path(patch, path = "/v1/content-rules/{id}", operation_id = "update_content_rule", tag = "Content rules",
    request_body(content = ContentRulePatch, example = json!({"blocked_words": {"words": ["casino", "jackpot", "free spins"]}})),
    responses((status = 200, description = "The rule as it is now.", body = ContentRuleView, example = json!(examples::content_rule()))))]
pub(crate) async fn patch(
    State(app): State<App>,
    Who(caller): Who,
    Id(id): Id<ContentRuleId>,
    Json(body): Json,
) -> Answer {
    answer::json(&content_rules::patch(app.engine(), &caller, id, &body).await?)
}

/// Removes a content rule
///
/// Nothing is looked at for it any more.
#[utoipa::path(delete, path = "/v1/content-rules/{id}", operation_id = "delete_content_rule", tag = "Content rules",
    responses((status = 204, description = "It is removed.")))]
pub(crate) async fn delete(State(app): State<App>, Who(caller): Who, Id(id): Id<ContentRuleId>) -> Answer {
    content_rules::delete(app.engine(), &caller, id).await?;
    answer::nothing()
}
