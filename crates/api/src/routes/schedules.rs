//! Messages that repeat.

use axum::extract::State;
use engine::{
    page::Page,
    schedules::{self, CancelSchedule, NewSchedule, OccurrencesView, SchedulePatch, ScheduleView},
};
use model::ScheduleId;
use serde::Deserialize;
use utoipa::IntoParams;

use super::PageQuery;
use crate::{
    App,
    answer::{self, Answer},
    examples,
    extract::{Args, Id, Json, Post, Who, read},
};

/// How far ahead to look.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct AheadQuery {
    /// Occurrences to come.
    #[param(minimum = 1, maximum = 100, default = 10)]
    limit: Option<u32>,
}

/// Makes a schedule
///
/// The message is sent again at each occurrence of an RRULE (RFC 5545) or cron pattern, on a clock in a time zone: nine o'clock stays nine o'clock when the clocks change. A time the clocks
/// jump over is moved on by the jump, a time they show twice fires once. The message is checked now and planned anew each time.
#[utoipa::path(post, path = "/v1/schedules", operation_id = "create_schedule", tag = "Schedules",
    request_body(content = NewSchedule, example = json!({"name": "Weekly report", "rrule": "FREQ=WEEKLY;BYDAY=MO;BYHOUR=9;BYMINUTE=0", "timezone": "Europe/Berlin", "skip": ["2026-12-28"],
        "message": {"to": {"email": "ada@example.com"}, "content": {"subject": "Your week", "text": "Hello Ada"}}})),
    responses((status = 201, description = "The new schedule.", body = ScheduleView, example = json!(examples::schedule()))))]
pub(crate) async fn create(State(app): State<App>, Who(caller): Who, post: Post) -> Answer {
    let new: NewSchedule = read(&post.body)?;
    answer::reply(schedules::create(app.engine(), &caller, &post.repeat, new).await?)
}

/// Lists schedules
///
/// Newest first, also those that have ended.
#[utoipa::path(get, path = "/v1/schedules", operation_id = "list_schedules", tag = "Schedules", params(PageQuery),
    responses((status = 200, description = "One page.", body = Page<ScheduleView>, example = json!(examples::page(examples::schedule())))))]
pub(crate) async fn list(State(app): State<App>, Who(caller): Who, Args(query): Args<PageQuery>) -> Answer {
    answer::json(&schedules::list(app.engine(), &caller, query.limit, query.cursor.as_deref()).await?)
}

/// Shows a schedule
///
/// With the occurrence that comes next.
#[utoipa::path(get, path = "/v1/schedules/{id}", operation_id = "get_schedule", tag = "Schedules",
    responses((status = 200, description = "The schedule.", body = ScheduleView, example = json!(examples::schedule()))))]
pub(crate) async fn get(State(app): State<App>, Who(caller): Who, Id(id): Id<ScheduleId>) -> Answer {
    answer::json(&schedules::get(app.engine(), &caller, id).await?)
}

/// Changes a schedule
///
/// JSON Merge Patch: fields left out keep their value. What comes next is worked out anew, from now on. A canceled schedule stays canceled.
#[utoipa::path(patch, path = "/v1/schedules/{id}", operation_id = "update_schedule", tag = "Schedules",
    request_body(content = SchedulePatch, example = json!({"rrule": null, "cron": "0 9 * * MON-FRI"})),
    responses((status = 200, description = "The schedule as it is now.", body = ScheduleView, example = json!(examples::schedule()))))]
pub(crate) async fn patch(
    State(app): State<App>,
    Who(caller): Who,
    Id(id): Id<ScheduleId>,
    Json(body): Json,
) -> Answer {
    let change: SchedulePatch = read(&body)?;
    answer::json(&schedules::patch(app.engine(), &caller, id, change).await?)
}

/// Deletes a schedule
///
/// With the record of its occurrences. Messages it brought stay.
#[utoipa::path(delete, path = "/v1/schedules/{id}", operation_id = "delete_schedule", tag = "Schedules",
    responses((status = 204, description = "It is deleted.")))]
pub(crate) async fn delete(State(app): State<App>, Who(caller): Who, Id(id): Id<ScheduleId>) -> Answer {
    schedules::delete(app.engine(), &caller, id).await?;
    answer::nothing()
}

/// Cancels one occurrence or all
///
/// With `occurrence`, that one is left out; without, nothing more comes. Messages that were accepted already are canceled one by one.
#[utoipa::path(post, path = "/v1/schedules/{id}/cancel", operation_id = "cancel_schedule", tag = "Schedules",
    request_body(content = CancelSchedule, example = json!({"occurrence": "2026-12-07T08:00:00Z"})),
    responses((status = 200, description = "The schedule as it is now.", body = ScheduleView, example = json!(examples::schedule()))))]
pub(crate) async fn cancel(State(app): State<App>, Who(caller): Who, Id(id): Id<ScheduleId>, post: Post) -> Answer {
    let what: CancelSchedule = read(&post.body)?;
    answer::reply(schedules::cancel(app.engine(), &caller, &post.repeat, id, what).await?)
}

/// Shows a schedule's occurrences
///
/// Those to come, and what became of the latest.
#[utoipa::path(get, path = "/v1/schedules/{id}/occurrences", operation_id = "list_schedule_occurrences", tag = "Schedules", params(AheadQuery),
    responses((status = 200, description = "The occurrences.", body = OccurrencesView, example = json!(examples::occurrences()))))]
pub(crate) async fn occurrences(
    State(app): State<App>,
    Who(caller): Who,
    Id(id): Id<ScheduleId>,
    Args(query): Args<AheadQuery>,
) -> Answer {
    answer::json(&schedules::occurrences(app.engine(), &caller, id, query.limit).await?)
}
