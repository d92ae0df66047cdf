//! Messages: sent, listed, followed, withdrawn, tried again.

use axum::extract::State;
use engine::{
    accept::request::MessageRequest,
    page::Page,
    queries::{ListQuery, Timeline},
    view::{MessageDetail, MessageView},
};
use model::MessageId;
use utoipa::ToSchema;

use crate::{
    App,
    answer::{self, Answer},
    examples,
    extract::{Args, Id, Json, Key, Post, Who},
    problem::FieldProblem,
};

/// Sends one message
///
/// Answers 202 once the message is on disk; from then on it is sent, and sent again after a failure, until it has an outcome. Follow it with
/// `GET /v1/messages/{id}/timeline`, `/v1/stream` or a webhook endpoint. With `dry_run` it answers 200 with what would happen, and sends nothing.
#[utoipa::path(post, path = "/v1/messages", operation_id = "send_message", tag = "Messages",
    request_body(content = MessageRequest, example = json!(examples::message_request())),
    responses(
        (status = 202, description = "Accepted; durable.", body = MessageView<'static>, example = json!(examples::message())),
        (status = 200, description = "The explanation of a dry run.", body = DryRun, example = json!({
            "dry_run": true, "status": "queued", "channel": "email", "to": "ada@example.com", "account_id": "acc_01K9ZC1M2N3P4Q5R6S7T8V9W0X",
            "connector": "smtp", "route": "email: the channel was given; Ticket mail: the channel's default account",
            "leaves_at": "2026-11-21T09:30:00.000000Z", "segments": null,
            "consent": {"verdict": "go", "code": null, "detail": null, "until": null, "contact_id": null},
            "content": {"channel": "email", "subject": "Your ticket", "text": "Hello Ada"},
        }))))]
pub(crate) async fn send(State(app): State<App>, Who(caller): Who, Key(key): Key, Json(body): Json) -> Answer {
    answer::reply(app.engine().send(&caller, &body, key).await?)
}

/// What would happen to a message.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes an answer the engine writes")]
struct DryRun {
    /// Always true.
    dry_run: bool,
    /// What its status would be: `queued`, `scheduled`, or `suppressed`.
    #[schema(example = "queued")]
    status: String,
    /// Over which channel it would go.
    #[schema(example = "email")]
    channel: String,
    /// To whom.
    to: String,
    /// Through which account.
    account_id: String,
    /// Of which connector.
    connector: String,
    /// Why this channel and this account.
    route: String,
    /// When it would leave.
    #[schema(format = DateTime)]
    leaves_at: String,
    /// Whether it may go: consent, suppression and quiet hours.
    consent: DryRunConsent,
    /// Parts (SMS).
    segments: Option<u32>,
    /// What it would cost the tenant, where the operator bills it.
    #[schema(value_type = Option<Object>)]
    cost: Option<()>,
    /// What it would say, filled in.
    #[schema(value_type = Object)]
    content: (),
}

/// Whether a message may go to its recipient.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes an answer the engine writes")]
struct DryRunConsent {
    /// `go`, `held_back` or `waits`.
    #[schema(example = "go")]
    verdict: String,
    /// Why it is held back: a code such as `no_consent` or `suppressed_hard_bounce`.
    code: Option<String>,
    /// Why it is held back or waits, in words.
    detail: Option<String>,
    /// Until when it waits.
    #[schema(format = DateTime)]
    until: Option<String>,
    /// The contact behind the address, when there is one.
    contact_id: Option<String>,
}

/// Up to 1,000 messages.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes a request the engine reads")]
struct Batch {
    /// Each as in `POST /v1/messages`, without `dry_run`.
    #[schema(min_items = 1, max_items = 1000)]
    messages: Vec<MessageRequest>,
}

/// What became of each message of a batch, in order.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes an answer the engine writes")]
struct BatchAnswer {
    /// One for each message.
    data: Vec<BatchItem>,
}

/// One message of a batch: accepted under an id, or refused.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes an answer the engine writes")]
struct BatchItem {
    /// Its place in the request, from 0.
    index: u32,
    /// Its id, when it was accepted.
    #[schema(nullable = false, example = "msg_01K9ZC8Q6T7Y2V5B3N4M1XWRSD")]
    id: Option<String>,
    /// Why it was refused.
    #[schema(nullable = false)]
    error: Option<BatchProblem>,
}

/// Why one message of a batch was refused.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes an answer the engine writes")]
struct BatchProblem {
    /// The status it would have had alone.
    status: u16,
    /// As in a problem.
    code: String,
    /// As in a problem.
    detail: String,
    /// Which fields are wrong, pointed at within the message.
    #[schema(nullable = false)]
    errors: Option<Vec<FieldProblem>>,
    /// As in a problem.
    #[schema(nullable = false)]
    action: Option<String>,
}

/// Sends up to 1,000 messages
///
/// Each message is checked by itself: those that are in order are written together and sent, the others are answered with their problem. The whole batch counts as one
/// request for its `Idempotency-Key` and as its messages for the request rate.
#[utoipa::path(post, path = "/v1/messages/batch", operation_id = "send_messages", tag = "Messages",
    request_body(content = Batch, example = json!({"messages": [examples::message_request(), {"to": {"phone": "555"}, "channel": "sms", "content": {"text": "Hello"}}]})),
    responses((status = 202, description = "What became of each.", body = BatchAnswer, example = json!({"data": [
        {"index": 0, "id": "msg_01K9ZC8Q6T7Y2V5B3N4M1XWRSD"},
        {"index": 1, "error": {"status": 422, "code": "invalid_request", "detail": "/to/phone: expected a phone number in E.164 such as +15550100001",
            "errors": [{"pointer": "/to/phone", "detail": "expected a phone number in E.164 such as +15550100001"}]}},
    ]}))))]
pub(crate) async fn send_batch(State(app): State<App>, Who(caller): Who, Key(key): Key, Json(body): Json) -> Answer {
    answer::reply(app.engine().send_batch(&caller, &body, key).await?)
}

/// Lists messages
///
/// Newest first. `q` finds a message by its id, the provider's id or the recipient's whole address.
#[utoipa::path(get, path = "/v1/messages", operation_id = "list_messages", tag = "Messages", params(ListQuery),
    responses((status = 200, description = "One page.", body = Page<MessageView<'static>>, example = json!(examples::page(examples::message())))))]
pub(crate) async fn list(State(app): State<App>, Who(caller): Who, Args(query): Args<ListQuery>) -> Answer {
    answer::made(app.engine().messages(&caller, &query).await?)
}

/// Shows a message
///
/// Where it is now. Its status never goes back.
#[utoipa::path(get, path = "/v1/messages/{id}", operation_id = "get_message", tag = "Messages",
    responses((status = 200, description = "The message.", body = MessageDetail<'static>, example = json!(examples::message_in_full()))))]
pub(crate) async fn get(State(app): State<App>, Who(caller): Who, Id(id): Id<MessageId>) -> Answer {
    answer::made(app.engine().message(&caller, id).await?)
}

/// Tells what became of a message
///
/// Everything that happened, oldest first: accepted, routed and why, each attempt with its request and answer (secrets removed), what the provider reported, each
/// change of status, and what happens next.
#[utoipa::path(get, path = "/v1/messages/{id}/timeline", operation_id = "get_message_timeline", tag = "Messages",
    responses((status = 200, description = "The timeline.", body = Timeline, example = json!(examples::timeline()))))]
pub(crate) async fn timeline(State(app): State<App>, Who(caller): Who, Id(id): Id<MessageId>) -> Answer {
    answer::made(app.engine().timeline(&caller, id).await?)
}

/// Withdraws a message
///
/// Possible while it waits. Answers 409 while an attempt is under way, and once it has an outcome.
#[utoipa::path(post, path = "/v1/messages/{id}/cancel", operation_id = "cancel_message", tag = "Messages",
    responses((status = 200, description = "The message, canceled.", body = MessageView<'static>, example = json!(examples::message_at("canceled")))))]
pub(crate) async fn cancel(State(app): State<App>, Who(caller): Who, Id(id): Id<MessageId>, post: Post) -> Answer {
    post.must_be_empty()?;
    answer::reply(app.engine().cancel(&caller, &post.repeat, id).await?)
}

/// Tries a dead letter again
///
/// A message that was given up gets a fresh set of tries, through its account or the one its channel uses now. Answers 409 for a message that was not given up, ran out
/// of time, or has no account left to leave through.
#[utoipa::path(post, path = "/v1/messages/{id}/retry", operation_id = "retry_message", tag = "Messages",
    responses((status = 202, description = "The message, queued again.", body = MessageView<'static>, example = json!(examples::message()))))]
pub(crate) async fn retry(State(app): State<App>, Who(caller): Who, Id(id): Id<MessageId>, post: Post) -> Answer {
    post.must_be_empty()?;
    answer::reply(app.engine().retry(&caller, &post.repeat, id).await?)
}
