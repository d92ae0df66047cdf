//! Campaigns: one message to an audience.

use axum::extract::State;
use engine::{
    campaigns::{
        self, CampaignPatch, CampaignStats, CampaignView, NewCampaign, RecipientView, ScheduleRequest, SendRequest,
        WinnerRequest, check::CheckReport,
    },
    page::Page,
};
use model::CampaignId;
use serde::Deserialize;
use utoipa::IntoParams;

use super::PageQuery;
use crate::{
    App,
    answer::{self, Answer},
    examples,
    extract::{Args, Id, Json, Post, Who, read},
    formats::{Form, FormatQuery, Formed},
};

/// Makes a draft
///
/// Nothing is sent before `/send` or `/schedule`. The audience is everybody on the lists, in the segments and among the contacts, without those excluded; contents see each recipient as `contact`.
#[utoipa::path(post, path = "/v1/campaigns", operation_id = "create_campaign", tag = "Campaigns",
    request_body(content = NewCampaign, example = json!(examples::new_campaign())),
    responses((status = 201, description = "The draft.", body = CampaignView, example = json!(examples::campaign()))))]
pub(crate) async fn create(State(app): State<App>, Who(caller): Who, post: Post) -> Answer {
    let new: NewCampaign = read(&post.body)?;
    answer::reply(campaigns::create(app.engine(), &caller, &post.repeat, new).await?)
}

/// Lists campaigns
///
/// Newest first.
#[utoipa::path(get, path = "/v1/campaigns", operation_id = "list_campaigns", tag = "Campaigns", params(PageQuery),
    responses((status = 200, description = "One page.", body = Page<CampaignView>, example = json!(examples::page(examples::campaign())))))]
pub(crate) async fn list(State(app): State<App>, Who(caller): Who, Args(query): Args<PageQuery>) -> Answer {
    answer::json(&campaigns::list(app.engine(), &caller, query.limit, query.cursor.as_deref()).await?)
}

/// Shows a campaign
///
/// With its progress and when every recipient will have a message.
#[utoipa::path(get, path = "/v1/campaigns/{id}", operation_id = "get_campaign", tag = "Campaigns",
    responses((status = 200, description = "The campaign.", body = CampaignView, example = json!(examples::campaign()))))]
pub(crate) async fn get(State(app): State<App>, Who(caller): Who, Id(id): Id<CampaignId>) -> Answer {
    answer::json(&campaigns::get(app.engine(), &caller, id).await?)
}

/// Changes a draft
///
/// JSON Merge Patch: fields left out keep their value, `null` removes one.
#[utoipa::path(patch, path = "/v1/campaigns/{id}", operation_id = "update_campaign", tag = "Campaigns",
    request_body(content = CampaignPatch, example = json!({"name": "Summer, second try"})),
    responses((status = 200, description = "The campaign as it is now.", body = CampaignView, example = json!(examples::campaign()))))]
pub(crate) async fn patch(
    State(app): State<App>,
    Who(caller): Who,
    Id(id): Id<CampaignId>,
    Json(body): Json,
) -> Answer {
    let change: CampaignPatch = read(&body)?;
    answer::json(&campaigns::patch(app.engine(), &caller, id, change).await?)
}

/// Deletes a campaign
///
/// With the record of its recipients; its messages stay. One that is under way is canceled first.
#[utoipa::path(delete, path = "/v1/campaigns/{id}", operation_id = "delete_campaign", tag = "Campaigns",
    responses((status = 204, description = "It is deleted.")))]
pub(crate) async fn delete(State(app): State<App>, Who(caller): Who, Id(id): Id<CampaignId>) -> Answer {
    campaigns::delete(app.engine(), &caller, id).await?;
    answer::nothing()
}

/// Makes a draft that is the same
///
/// Of a campaign in any state.
#[utoipa::path(post, path = "/v1/campaigns/{id}/duplicate", operation_id = "duplicate_campaign", tag = "Campaigns",
    responses((status = 201, description = "The new draft.", body = CampaignView, example = json!(examples::campaign()))))]
pub(crate) async fn duplicate(State(app): State<App>, Who(caller): Who, Id(id): Id<CampaignId>, post: Post) -> Answer {
    post.must_be_empty()?;
    answer::reply(campaigns::duplicate(app.engine(), &caller, &post.repeat, id).await?)
}

/// Checks a campaign
///
/// Each line says whether something is in order, worth knowing or blocks the campaign, how many recipients it concerns, and what to do next. A large audience is counted on in the background:
/// `is_complete` is false then, and `GET` says how far it is. While that goes on, the same count is shown.
#[utoipa::path(post, path = "/v1/campaigns/{id}/check", operation_id = "check_campaign", tag = "Campaigns",
    responses((status = 200, description = "The checklist.", body = CheckReport, example = json!(examples::check()))))]
pub(crate) async fn check(State(app): State<App>, Who(caller): Who, Id(id): Id<CampaignId>, post: Post) -> Answer {
    post.must_be_empty()?;
    answer::json(&campaigns::check::check(app.engine(), &caller, id).await?)
}

/// Shows a campaign's checklist
///
/// The count that is under way, or was made of a large audience within the last hour; otherwise it is counted anew.
#[utoipa::path(get, path = "/v1/campaigns/{id}/check", operation_id = "get_campaign_check", tag = "Campaigns",
    responses((status = 200, description = "The checklist.", body = CheckReport, example = json!(examples::check()))))]
pub(crate) async fn current_check(State(app): State<App>, Who(caller): Who, Id(id): Id<CampaignId>) -> Answer {
    answer::json(&campaigns::check::current(app.engine(), &caller, id).await?)
}

/// Starts a campaign
///
/// Its audience is frozen, and each recipient gets exactly one message. Answers 409 `campaign_blocked` with the lines that block it; `remove_without_consent` leaves those out
/// who have not agreed.
#[utoipa::path(post, path = "/v1/campaigns/{id}/send", operation_id = "send_campaign", tag = "Campaigns",
    request_body(content = Option<SendRequest>, example = json!({"remove_without_consent": true})),
    responses((status = 200, description = "The campaign, under way.", body = CampaignView, example = json!(examples::campaign()))))]
pub(crate) async fn send(State(app): State<App>, Who(caller): Who, Id(id): Id<CampaignId>, post: Post) -> Answer {
    let request: SendRequest = if post.body.is_empty() { SendRequest::default() } else { read(&post.body)? };
    let removes = request.remove_without_consent;
    answer::reply(campaigns::start_with(app.engine(), &caller, &post.repeat, id, None, removes).await?)
}

/// Lets a campaign start by itself
///
/// At one instant, when each recipient's own clock shows a time, or again and again by RRULE or cron. It is checked now and again when its time comes. What repeats makes a campaign of
/// its own each time, whose `parent_id` leads back; canceling it ends what is to come and leaves those under way alone.
#[utoipa::path(post, path = "/v1/campaigns/{id}/schedule", operation_id = "schedule_campaign", tag = "Campaigns",
    request_body(content = ScheduleRequest, example = json!({"start_at": "2026-12-01T08:00:00Z"})),
    responses((status = 200, description = "The campaign.", body = CampaignView, example = json!(examples::campaign()))))]
pub(crate) async fn schedule(State(app): State<App>, Who(caller): Who, Id(id): Id<CampaignId>, post: Post) -> Answer {
    let request: ScheduleRequest = read(&post.body)?;
    answer::reply(campaigns::schedule(app.engine(), &caller, &post.repeat, id, request).await?)
}

/// Pauses a campaign
///
/// No more messages are accepted, and those that wait do not leave.
#[utoipa::path(post, path = "/v1/campaigns/{id}/pause", operation_id = "pause_campaign", tag = "Campaigns",
    responses((status = 200, description = "The campaign.", body = CampaignView, example = json!(examples::campaign()))))]
pub(crate) async fn pause(State(app): State<App>, Who(caller): Who, Id(id): Id<CampaignId>, post: Post) -> Answer {
    post.must_be_empty()?;
    answer::reply(campaigns::pause(app.engine(), &caller, &post.repeat, id).await?)
}

/// Goes on with a paused campaign
///
/// Where it stopped.
#[utoipa::path(post, path = "/v1/campaigns/{id}/resume", operation_id = "resume_campaign", tag = "Campaigns",
    responses((status = 200, description = "The campaign.", body = CampaignView, example = json!(examples::campaign()))))]
pub(crate) async fn resume(State(app): State<App>, Who(caller): Who, Id(id): Id<CampaignId>, post: Post) -> Answer {
    post.must_be_empty()?;
    answer::reply(campaigns::resume(app.engine(), &caller, &post.repeat, id).await?)
}

/// Ends a campaign
///
/// What waits is withdrawn; what left has left.
#[utoipa::path(post, path = "/v1/campaigns/{id}/cancel", operation_id = "cancel_campaign", tag = "Campaigns",
    responses((status = 200, description = "The campaign.", body = CampaignView, example = json!(examples::campaign()))))]
pub(crate) async fn cancel(State(app): State<App>, Who(caller): Who, Id(id): Id<CampaignId>, post: Post) -> Answer {
    post.must_be_empty()?;
    answer::reply(campaigns::cancel(app.engine(), &caller, &post.repeat, id).await?)
}

/// Chooses the winner of a test
///
/// The rest of the audience gets this variant.
#[utoipa::path(post, path = "/v1/campaigns/{id}/winner", operation_id = "choose_campaign_winner", tag = "Campaigns",
    request_body(content = WinnerRequest, example = json!({"variant": 1})),
    responses((status = 200, description = "The campaign.", body = CampaignView, example = json!(examples::campaign()))))]
pub(crate) async fn winner(State(app): State<App>, Who(caller): Who, Id(id): Id<CampaignId>, post: Post) -> Answer {
    let request: WinnerRequest = read(&post.body)?;
    answer::reply(campaigns::choose(app.engine(), &caller, &post.repeat, id, request).await?)
}

/// Shows how a campaign goes
///
/// Counted from its messages, with 95 % intervals beside the shares.
#[utoipa::path(get, path = "/v1/campaigns/{id}/stats", operation_id = "get_campaign_stats", tag = "Campaigns",
    responses((status = 200, description = "The numbers.", body = CampaignStats, example = json!(examples::campaign_stats()))))]
pub(crate) async fn stats(State(app): State<App>, Who(caller): Who, Id(id): Id<CampaignId>) -> Answer {
    answer::json(&campaigns::stats(app.engine(), &caller, id).await?)
}

/// Lists a campaign's recipients
///
/// What became of each, the newest contact first.
#[utoipa::path(get, path = "/v1/campaigns/{id}/recipients", operation_id = "list_campaign_recipients", tag = "Campaigns", params(PageQuery),
    responses((status = 200, description = "One page.", body = Page<RecipientView>, example = json!(examples::page(examples::recipient())))))]
pub(crate) async fn recipients(
    State(app): State<App>,
    Who(caller): Who,
    Id(id): Id<CampaignId>,
    Args(query): Args<PageQuery>,
) -> Answer {
    answer::json(&campaigns::recipients(app.engine(), &caller, id, query.limit, query.cursor.as_deref()).await?)
}

/// Where a file begins.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct FileQuery {
    /// `Next-Cursor` of the file before.
    cursor: Option<String>,
}

/// Exports a campaign's recipients
///
/// As a table of up to 10,000 rows. When there are more, the header `Next-Cursor` leads to the next file.
#[utoipa::path(get, path = "/v1/campaigns/{id}/recipients/export", operation_id = "export_campaign_recipients", tag = "Campaigns", params(FileQuery, FormatQuery),
    responses((status = 200, description = "The file.",
        headers(("Next-Cursor" = String, description = "Give this as `cursor` to get the next file; missing at the end.")),
        body = String, content_type = "text/csv",
        example = json!("contact_id,to,status,variant,message_id,reason\r\ncon_01K9ZCB1C2D3E4F5G6H7J8K9M0,ada@example.com,delivered,,msg_01K9ZC8Q6T7Y2V5B3N4M1XWRSD,\r\n"))))]
pub(crate) async fn export(
    State(app): State<App>,
    Who(caller): Who,
    Id(id): Id<CampaignId>,
    Formed(query, wanted): Formed<FileQuery>,
) -> Answer {
    wanted.of(&[Form::Csv])?;
    let (body, next) = campaigns::export(app.engine(), &caller, id, query.cursor.as_deref()).await?;
    Ok(answer::going_on(answer::csv(body), next))
}
