//! What a tenant has, and where it went.

use axum::extract::State;
use engine::{
    money::credits::{self, CreditEntry, CreditGrant, Credits, CreditsPatch, NewAdjustment, NewGrant, NewPurchase},
    page::Page,
};
use http::StatusCode;
use serde::Deserialize;
use utoipa::IntoParams;

use super::PageQuery;
use crate::{
    App,
    answer::{self, Answer},
    examples,
    extract::{Args, Json, Post, Who, read},
};

/// Which entries, in which form.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct EntriesQuery {
    /// Rows of the page.
    #[param(minimum = 1, maximum = 500, default = 50)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// `csv` for the newest 50,000 as a table.
    #[param(value_type = Option<String>, example = "json")]
    format: Option<Format>,
}

/// JSON or a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Format {
    Json,
    Csv,
}

/// Whether to recount.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct CreditsQuery {
    /// True to compare the balances with all charges, which takes the longer the more messages there are.
    #[param(value_type = Option<bool>, example = false)]
    recount: Option<bool>,
}

/// Shows the credit
///
/// Balances of this moment. `differences` is what is wrong with the books: nothing, always; `recount=true` also compares them with every charge.
#[utoipa::path(get, path = "/v1/credits", operation_id = "get_credits", tag = "Money", params(CreditsQuery),
    responses((status = 200, description = "The credit.", body = Credits, example = json!(examples::credits()))))]
pub(crate) async fn get(State(app): State<App>, Who(caller): Who, Args(query): Args<CreditsQuery>) -> Answer {
    answer::json(&credits::get(app.engine().parts(), &caller, query.recount == Some(true)).await?)
}

/// Changes how a tenant pays
///
/// `prepaid`: nothing is accepted without enough credit (402 `insufficient_credit`). `postpaid`: credit may go below zero. Messages accepted before keep their price. Below `low_at_micros` the event
/// `credit.low` is told, below `top_up.below_micros` the event `credit.top_up_needed`; each once, until credit was above it again.
#[utoipa::path(patch, path = "/v1/credits", operation_id = "update_credits", tag = "Money",
    request_body(content = CreditsPatch, example = json!({"mode": "prepaid", "low_at_micros": 5000000, "top_up": {"below_micros": 2000000, "amount_micros": 50000000}})),
    responses((status = 200, description = "The credit.", body = Credits, example = json!(examples::credits()))))]
pub(crate) async fn patch(State(app): State<App>, Who(caller): Who, Json(body): Json) -> Answer {
    let change: CreditsPatch = read(&body)?;
    answer::json(&credits::patch(app.engine().parts(), &caller, change).await?)
}

/// Lists movements of credit
///
/// Newest first. Each is one movement between two books, with the balances after it.
#[utoipa::path(get, path = "/v1/credits/entries", operation_id = "list_credit_entries", tag = "Money", params(EntriesQuery),
    responses((status = 200, description = "One page.", content(
        (Page<CreditEntry> = "application/json", example = json!(examples::page(examples::credit_entry()))),
        (String = "text/csv", example = json!("number,at,kind,from,to,amount_micros,currency\r\n1,2026-11-28T09:00:00Z,purchase,purchased,available,50000000,USD\r\n"))))))]
pub(crate) async fn entries(State(app): State<App>, Who(caller): Who, Args(query): Args<EntriesQuery>) -> Answer {
    let parts = app.engine().parts();
    match query.format.unwrap_or(Format::Json) {
        Format::Json => answer::json(&credits::entries(parts, &caller, query.limit, query.cursor.as_deref()).await?),
        Format::Csv => {
            let table = credits::statement(parts, &caller).await?;
            Ok(answer::bytes(StatusCode::OK, "text/csv; charset=utf-8", table.into()))
        }
    }
}

/// Records a purchase
///
/// Credit a tenant paid for outside of Tidings, with the payment's reference.
#[utoipa::path(post, path = "/v1/credits/purchases", operation_id = "record_credit_purchase", tag = "Money",
    request_body(content = NewPurchase, example = json!({"amount_micros": 50000000, "reference": "bank transfer 2026-11-28"})),
    responses((status = 201, description = "The movement.", body = CreditEntry, example = json!(examples::credit_entry()))))]
pub(crate) async fn purchase(State(app): State<App>, Who(caller): Who, post: Post) -> Answer {
    let new: NewPurchase = read(&post.body)?;
    answer::reply(credits::purchase(app.engine().parts(), &caller, &post.repeat, new).await?)
}

/// Adjusts the credit
///
/// Gives, or takes with an amount below zero; of prepaid credit never more than is available.
#[utoipa::path(post, path = "/v1/credits/adjustments", operation_id = "adjust_credit", tag = "Money",
    request_body(content = NewAdjustment, example = json!({"amount_micros": 2500000, "reason": "goodwill for the outage of 12 November"})),
    responses((status = 201, description = "The movement.", body = CreditEntry, example = json!(examples::credit_entry()))))]
pub(crate) async fn adjust(State(app): State<App>, Who(caller): Who, post: Post) -> Answer {
    let new: NewAdjustment = read(&post.body)?;
    answer::reply(credits::adjust(app.engine().parts(), &caller, &post.repeat, new).await?)
}

/// Gives promotional credit
///
/// It is spent before credit that was paid for, the one that ends first first; what is left of it at `expires_at` is taken back.
#[utoipa::path(post, path = "/v1/credits/grants", operation_id = "grant_credit", tag = "Money",
    request_body(content = NewGrant, example = json!({"amount_micros": 10000000, "expires_at": "2099-12-31T00:00:00Z", "reference": "welcome"})),
    responses((status = 201, description = "The credit.", body = CreditGrant, example = json!(examples::credit_grant()))))]
pub(crate) async fn grant(State(app): State<App>, Who(caller): Who, post: Post) -> Answer {
    let new: NewGrant = read(&post.body)?;
    answer::reply(credits::grant(app.engine().parts(), &caller, &post.repeat, new).await?)
}

/// Lists promotional credit
///
/// Newest first, also what was spent or has ended.
#[utoipa::path(get, path = "/v1/credits/grants", operation_id = "list_credit_grants", tag = "Money", params(PageQuery),
    responses((status = 200, description = "One page.", body = Page<CreditGrant>, example = json!(examples::page(examples::credit_grant())))))]
pub(crate) async fn grants(State(app): State<App>, Who(caller): Who, Args(query): Args<PageQuery>) -> Answer {
    answer::json(&credits::grants(app.engine().parts(), &caller, query.limit, query.cursor.as_deref()).await?)
}
