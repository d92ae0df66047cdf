//! Dead letters: messages that were given up.

use axum::extract::State;
use engine::{
    dead_letters::{DeadLetterQuery, DeadLetterView, RetryAnswer, RetryRequest},
    export::Format,
    page::Page,
};
use model::{AccountId, Channel, Timestamp};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::{
    App,
    answer::{self, Answer},
    examples,
    extract::{Args, Post, Who, read},
    formats::{FormatQuery, Formed},
};

/// Lists dead letters
///
/// Messages that failed after every try, newest first. Fix the cause, then try them again.
#[utoipa::path(get, path = "/v1/dead-letters", operation_id = "list_dead_letters", tag = "Dead letters", params(DeadLetterQuery),
    responses((status = 200, description = "One page.", body = Page<DeadLetterView<'static>>, example = json!(examples::page(examples::dead_letter())))))]
pub(crate) async fn list(State(app): State<App>, Who(caller): Who, Args(query): Args<DeadLetterQuery>) -> Answer {
    answer::made(app.engine().dead_letters(&caller, &query).await?)
}

/// Which dead letters, in which form.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ExportQuery {
    /// Through this account.
    #[param(value_type = Option<String>)]
    account_id: Option<AccountId>,
    /// Over this channel.
    #[param(value_type = Option<String>, example = "email")]
    channel: Option<Channel>,
    /// Accepted at or after this instant.
    #[param(value_type = Option<String>, format = DateTime)]
    since: Option<Timestamp>,
    /// Accepted before this instant.
    #[param(value_type = Option<String>, format = DateTime)]
    until: Option<Timestamp>,
    /// `Next-Cursor` of the file before.
    cursor: Option<String>,
}

/// Exports dead letters
///
/// As a file of up to 10,000 rows: one JSON object per line, or a table. When there are more, the header `Next-Cursor` leads to the next file.
#[utoipa::path(get, path = "/v1/dead-letters/export", operation_id = "export_dead_letters", tag = "Dead letters", params(ExportQuery, FormatQuery),
    responses((status = 200, description = "The file.",
        headers(("Next-Cursor" = String, description = "Give this as `cursor` to get the next file; missing at the end.")),
        content(
            (String = "application/x-ndjson", example = json!("{\"id\":\"msg_01K9ZC8Q6T7Y2V5B3N4M1XWRSD\",\"status\":\"failed\"}\n")),
            (String = "text/csv", example = json!("id,created_at,dead_at,status\r\nmsg_01K9ZC8Q6T7Y2V5B3N4M1XWRSD,2026-11-21T09:30:00.000000Z,2026-11-21T15:30:00.000000Z,failed\r\n"))))))]
pub(crate) async fn export(
    State(app): State<App>,
    Who(caller): Who,
    Formed(query, wanted): Formed<ExportQuery>,
) -> Answer {
    let format = wanted.file(Format::Ndjson)?;
    let ExportQuery { account_id, channel, since, until, cursor } = query;
    let asked = DeadLetterQuery { account_id, channel, since, until, limit: None, cursor };
    let file = app.engine().export_dead_letters(&caller, &asked, format).await?;
    Ok(answer::file(file))
}

/// Tries dead letters again
///
/// Up to 1,000 of them: those named by `ids`, those of an account or since an instant, or `all`. Each is answered by itself; while `has_more` is true, repeat it.
#[utoipa::path(post, path = "/v1/dead-letters/retry", operation_id = "retry_dead_letters", tag = "Dead letters",
    request_body(content = RetryRequest, example = json!({"account_id": "acc_01K9ZC1M2N3P4Q5R6S7T8V9W0X"})),
    responses((status = 202, description = "What became of each.", body = RetryAnswer, example = json!({
        "data": [{"id": "msg_01K9ZC8Q6T7Y2V5B3N4M1XWRSD", "status": "queued"}], "has_more": false,
    }))))]
pub(crate) async fn retry(State(app): State<App>, Who(caller): Who, post: Post) -> Answer {
    let request: RetryRequest = read(&post.body)?;
    answer::reply(app.engine().retry_many(&caller, &post.repeat, request).await?)
}
