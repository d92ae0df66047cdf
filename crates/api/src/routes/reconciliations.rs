//! Our records held against providers'.

use axum::extract::State;
use engine::{
    page::Page,
    reconciliations::{self, NewReconciliation, ReconciliationDifference, ReconciliationView},
};
use model::ReconciliationId;
use serde::Serialize;
use utoipa::ToSchema;

use super::PageQuery;
use crate::{
    App,
    answer::{self, Answer},
    examples,
    extract::{Args, Id, Nothing, Post, Who, read},
    formats::{Form, FormatQuery, Formed},
};

/// What differs.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ReconciliationDifferences {
    /// In the order of the provider's ids, or of the days; the first 50,000.
    data: Vec<ReconciliationDifference>,
}

/// Holds an account against its provider
///
/// Compares the messages an account sent in a time with the provider's own records: its lists of messages and calls with prices (Twilio), its counts by day (SES, SendGrid, Mailgun, Mailjet, Resend),
/// or a table exported there (`csv`), which may also be of an account that was deleted. Works in the background; what the provider's own list says it took for a message, and for how many segments, reaches its
/// cost; a table does only when the operator sends it.
/// What another account here sent through the same account at the provider is no difference.
#[utoipa::path(post, path = "/v1/reconciliations", operation_id = "start_reconciliation", tag = "Money",
    request_body(content = NewReconciliation, example = json!({"account_id": "acc_01K9ZC8Q6T7Y2V5B3N4M1XWRSD", "starts_at": "2026-11-01T00:00:00Z", "ends_at": "2026-11-21T00:00:00Z"})),
    responses((status = 201, description = "It has begun.", body = ReconciliationView, example = json!(examples::reconciliation()))))]
pub(crate) async fn create(State(app): State<App>, Who(caller): Who, post: Post) -> Answer {
    let new: NewReconciliation = read(&post.body)?;
    answer::reply(reconciliations::create(app.engine().parts(), &caller, &post.repeat, new).await?)
}

/// Lists reconciliations
///
/// Newest first; the newest 200 are kept.
#[utoipa::path(get, path = "/v1/reconciliations", operation_id = "list_reconciliations", tag = "Money", params(PageQuery),
    responses((status = 200, description = "One page.", body = Page<ReconciliationView>, example = json!(examples::page(examples::reconciliation())))))]
pub(crate) async fn list(State(app): State<App>, Who(caller): Who, Args(query): Args<PageQuery>) -> Answer {
    answer::json(&reconciliations::list(app.engine().parts(), &caller, query.limit, query.cursor.as_deref()).await?)
}

/// Shows a reconciliation
///
/// How far it is, and once it is done how accurate our records are: messages both have of all there are.
#[utoipa::path(get, path = "/v1/reconciliations/{id}", operation_id = "get_reconciliation", tag = "Money",
    responses((status = 200, description = "The reconciliation.", body = ReconciliationView, example = json!(examples::reconciliation()))))]
pub(crate) async fn get(State(app): State<App>, Who(caller): Who, Id(id): Id<ReconciliationId>) -> Answer {
    answer::json(&reconciliations::get(app.engine().parts(), &caller, id).await?)
}

/// Lists what differs
///
/// Messages only one side has, and prices and segments that differ: what we had before against what the provider says.
#[utoipa::path(get, path = "/v1/reconciliations/{id}/differences", operation_id = "list_reconciliation_differences", tag = "Money", params(FormatQuery),
    responses((status = 200, description = "What differs.", content(
        (ReconciliationDifferences = "application/json", example = json!({"data": [examples::reconciliation_difference()]})),
        (String = "text/csv", example = json!("kind,record,message_id,at,ours,theirs,currency,segments_ours,segments_theirs\r\nmissing_here,SM1,,2026-11-21T09:30:00Z,,7500,USD,,1\r\n"))))))]
pub(crate) async fn differences(
    State(app): State<App>,
    Who(caller): Who,
    Id(id): Id<ReconciliationId>,
    Formed(Nothing {}, wanted): Formed<Nothing>,
) -> Answer {
    let parts = app.engine().parts();
    match wanted.of(&[Form::Json, Form::Csv])? {
        Form::Csv => Ok(answer::csv(reconciliations::differences_csv(parts, &caller, id).await?)),
        _ => answer::json(&ReconciliationDifferences { data: reconciliations::differences(parts, &caller, id).await? }),
    }
}
