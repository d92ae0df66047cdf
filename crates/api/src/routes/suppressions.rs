//! Addresses that must not be written to.

use axum::extract::State;
use engine::{
    consent::suppressions::{NewSuppression, NewSuppressions, SuppressionQuery, SuppressionView, SuppressionsAdded},
    export::Format,
    page::Page,
};
use model::{Channel, SuppressionId, SuppressionReason};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::{
    App,
    answer::{self, Answer},
    examples,
    extract::{Args, Id, Post, Who, read},
    formats::{FormatQuery, Formed},
};

/// Suppresses an address
///
/// Nothing that its `blocks` covers is sent to it from now on, also not what waits already: such messages become `suppressed`. An address that is on the list for the same
/// reason is answered as it is.
#[utoipa::path(post, path = "/v1/suppressions", operation_id = "add_suppression", tag = "Suppressions",
    request_body(content = NewSuppression, example = json!({"channel": "email", "address": "ada@example.com", "reason": "manual", "detail": "Asked by telephone"})),
    responses((status = 201, description = "The entry.", body = SuppressionView, example = json!(examples::suppression()))))]
pub(crate) async fn add(State(app): State<App>, Who(caller): Who, post: Post) -> Answer {
    let new: NewSuppression = read(&post.body)?;
    answer::reply(app.engine().suppress(&caller, &post.repeat, new).await?)
}

/// Suppresses many addresses
///
/// Up to 1,000, all or none: when one cannot be read, nothing is added and the error names it. Meant for the list of a former provider.
#[utoipa::path(post, path = "/v1/suppressions/batch", operation_id = "add_suppressions", tag = "Suppressions",
    request_body(content = NewSuppressions, example = json!({"suppressions": [
        {"channel": "email", "address": "ada@example.com", "reason": "import"}, {"channel": "sms", "address": "+15550100002", "reason": "opted_out"},
    ]})),
    responses((status = 200, description = "How many are new.", body = SuppressionsAdded, example = json!({"added": 2, "known": 0}))))]
pub(crate) async fn add_many(State(app): State<App>, Who(caller): Who, post: Post) -> Answer {
    let new: NewSuppressions = read(&post.body)?;
    answer::reply(app.engine().suppress_many(&caller, &post.repeat, new).await?)
}

/// Lists suppressions
///
/// Newest first.
#[utoipa::path(get, path = "/v1/suppressions", operation_id = "list_suppressions", tag = "Suppressions", params(SuppressionQuery),
    responses((status = 200, description = "One page.", body = Page<SuppressionView>, example = json!(examples::page(examples::suppression())))))]
pub(crate) async fn list(State(app): State<App>, Who(caller): Who, Args(query): Args<SuppressionQuery>) -> Answer {
    answer::made(app.engine().suppressions(&caller, &query).await?)
}

/// Which suppressions, in which form.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ExportQuery {
    /// On this channel.
    #[param(value_type = Option<String>, example = "email")]
    channel: Option<Channel>,
    /// For this reason.
    #[param(value_type = Option<String>, example = "hard_bounce")]
    reason: Option<SuppressionReason>,
    /// `Next-Cursor` of the file before.
    cursor: Option<String>,
}

/// Exports suppressions
///
/// As a file of up to 50,000 rows: a table, or one JSON object per line. When there are more, the header `Next-Cursor` leads to the next file.
#[utoipa::path(get, path = "/v1/suppressions/export", operation_id = "export_suppressions", tag = "Suppressions", params(ExportQuery, FormatQuery),
    responses((status = 200, description = "The file.",
        headers(("Next-Cursor" = String, description = "Give this as `cursor` to get the next file; missing at the end.")),
        content(
            (String = "text/csv", example = json!("id,channel,address,reason\r\nsup_01K9ZC8Q6T7Y2V5B3N4M1XWRSD,email,ada@example.com,hard_bounce\r\n")),
            (String = "application/x-ndjson", example = json!("{\"id\":\"sup_01K9ZC8Q6T7Y2V5B3N4M1XWRSD\",\"channel\":\"email\"}\n"))))))]
pub(crate) async fn export(
    State(app): State<App>,
    Who(caller): Who,
    Formed(query, wanted): Formed<ExportQuery>,
) -> Answer {
    let format = wanted.file(Format::Csv)?;
    let ExportQuery { channel, reason, cursor } = query;
    let asked = SuppressionQuery { channel, reason, cursor, ..SuppressionQuery::default() };
    let file = app.engine().export_suppressions(&caller, &asked, format).await?;
    Ok(answer::file(file))
}

/// Shows a suppression
///
/// With why it is there and who put it there.
#[utoipa::path(get, path = "/v1/suppressions/{id}", operation_id = "get_suppression", tag = "Suppressions",
    responses((status = 200, description = "The entry.", body = SuppressionView, example = json!(examples::suppression()))))]
pub(crate) async fn get(State(app): State<App>, Who(caller): Who, Id(id): Id<SuppressionId>) -> Answer {
    answer::json(&app.engine().suppression(&caller, id).await?)
}

/// Why an entry is taken off.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct LiftQuery {
    /// Why the address may be written to again; kept in the audit log. Required.
    #[param(example = "The mailbox exists again")]
    reason: Option<String>,
}

/// Lifts a suppression
///
/// Only this entry: an address that is on the list for another reason, too, stays suppressed. Messages that were held back are not sent.
#[utoipa::path(delete, path = "/v1/suppressions/{id}", operation_id = "remove_suppression", tag = "Suppressions", params(LiftQuery),
    responses((status = 204, description = "It is off the list.")))]
pub(crate) async fn remove(
    State(app): State<App>,
    Who(caller): Who,
    Id(id): Id<SuppressionId>,
    Args(query): Args<LiftQuery>,
) -> Answer {
    app.engine().unsuppress(&caller, id, query.reason).await?;
    answer::nothing()
}
