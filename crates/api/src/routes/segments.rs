//! Segments of contacts.

use axum::extract::State;
use engine::{
    page::Page,
    segments::{self, NewSegment, Preview, PreviewRequest, SegmentPatch, SegmentView},
};
use model::SegmentId;
use serde::Deserialize;
use utoipa::IntoParams;

use super::PageQuery;
use crate::{
    App,
    answer::{self, Answer},
    examples,
    extract::{Args, Id, Json, Post, Who, read},
};

/// Makes a segment
///
/// Conditions are a tree of `{"all": […]}`, `{"any": […]}` and `{"not": …}` over tests:
/// `{"attribute": "plan", "is": "pro"}` (or one of several texts; `starts_with`, `contains`, `exists`; numbers: `is`, `at_least`, `at_most`, `more_than`, `less_than`;
/// flags: `is`; dates: `on_or_after`, `before`, `within_last_days`, `within_next_days`, `more_than_days_ago`; lists of texts: `has`),
/// `{"field": "language", …}` with the same tests, `{"list": "lst_…"}`, and
/// `{"message": {"was": "opened", "channel"?, "campaign_id"?, "within_days"?}}` (`accepted`, `sent`, `delivered`, `opened`, `clicked`, `failed`, `replied`),
/// `{"consent": {"channel": "email", "topic"?, "is": "opted_in"}}` (`opted_in`, `opted_out`, `pending`, `nothing`), `{"do_not_contact": true}`, `{"suppressed": "email"}` and
/// `{"reachable": "email"}`.
/// Several tests beside one attribute or field must all hold. What a contact does not have fails every test. At most 100 conditions, 8 levels deep.
#[utoipa::path(post, path = "/v1/segments", operation_id = "create_segment", tag = "Segments",
    request_body(content = NewSegment, example = json!({"name": "German, not written to lately", "conditions": examples::conditions()})),
    responses((status = 201, description = "The new segment.", body = SegmentView, example = json!(examples::segment()))))]
pub(crate) async fn create(State(app): State<App>, Who(caller): Who, post: Post) -> Answer {
    let new: NewSegment = read(&post.body)?;
    answer::reply(segments::create(app.engine(), &caller, &post.repeat, new).await?)
}

/// Lists segments
///
/// Newest first.
#[utoipa::path(get, path = "/v1/segments", operation_id = "list_segments", tag = "Segments", params(PageQuery),
    responses((status = 200, description = "One page.", body = Page<SegmentView>, example = json!(examples::page(examples::segment())))))]
pub(crate) async fn list(State(app): State<App>, Who(caller): Who, Args(query): Args<PageQuery>) -> Answer {
    answer::json(&segments::list(app.engine(), &caller, query.limit, query.cursor.as_deref()).await?)
}

/// Counts contacts by conditions
///
/// As a segment with these conditions would have them now, with a sample. Nothing is kept.
#[utoipa::path(post, path = "/v1/segments/preview", operation_id = "preview_conditions", tag = "Segments",
    request_body(content = PreviewRequest, example = json!({"conditions": examples::conditions()})),
    responses((status = 200, description = "How many, and some of them.", body = Preview, example = json!(examples::preview()))))]
pub(crate) async fn preview(State(app): State<App>, Who(caller): Who, post: Post) -> Answer {
    let request: PreviewRequest = read(&post.body)?;
    answer::json(&segments::preview(app.engine(), &caller, request).await?)
}

/// Shows a segment
///
/// With its conditions.
#[utoipa::path(get, path = "/v1/segments/{id}", operation_id = "get_segment", tag = "Segments",
    responses((status = 200, description = "The segment.", body = SegmentView, example = json!(examples::segment()))))]
pub(crate) async fn get(State(app): State<App>, Who(caller): Who, Id(id): Id<SegmentId>) -> Answer {
    answer::json(&segments::get(app.engine(), &caller, id).await?)
}

/// Changes a segment
///
/// JSON Merge Patch, except that `conditions` are replaced as a whole.
#[utoipa::path(patch, path = "/v1/segments/{id}", operation_id = "update_segment", tag = "Segments",
    request_body(content = SegmentPatch, example = json!({"name": "German"})),
    responses((status = 200, description = "The segment as it is now.", body = SegmentView, example = json!(examples::segment()))))]
pub(crate) async fn patch(State(app): State<App>, Who(caller): Who, Id(id): Id<SegmentId>, Json(body): Json) -> Answer {
    let change: SegmentPatch = read(&body)?;
    answer::json(&segments::patch(app.engine(), &caller, id, change).await?)
}

/// Deletes a segment
///
/// The contacts stay.
#[utoipa::path(delete, path = "/v1/segments/{id}", operation_id = "delete_segment", tag = "Segments",
    responses((status = 204, description = "It is deleted.")))]
pub(crate) async fn delete(State(app): State<App>, Who(caller): Who, Id(id): Id<SegmentId>) -> Answer {
    segments::delete(app.engine(), &caller, id).await?;
    answer::nothing()
}

/// Counts a segment's contacts
///
/// As it has them now, with a sample. With a channel, also how many of them can be sent marketing over it after consent and suppression.
#[utoipa::path(get, path = "/v1/segments/{id}/preview", operation_id = "preview_segment", tag = "Segments", params(WayQuery),
    responses((status = 200, description = "How many, and some of them.", body = Preview, example = json!(examples::preview()))))]
pub(crate) async fn preview_stored(
    State(app): State<App>,
    Who(caller): Who,
    Id(id): Id<SegmentId>,
    Args(query): Args<WayQuery>,
) -> Answer {
    let way = segments::Way { channel: query.channel, topic: query.topic };
    answer::json(&segments::preview_stored(app.engine(), &caller, id, way).await?)
}

/// Over which channel, and about what.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct WayQuery {
    /// `email`, `sms`, `whatsapp`, `telegram` or `voice`.
    #[param(value_type = Option<String>)]
    channel: Option<model::Channel>,
    /// The topic it is about.
    topic: Option<String>,
}
