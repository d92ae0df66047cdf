//! What messages cost.

use axum::extract::State;
use engine::{
    money::{
        prices::{self, NewPriceList, PriceListSummary, PriceListView},
        sheet::{self, PriceImport, PriceTable},
        what_if::{WhatIf, WhatIfView},
    },
    page::Page,
};
use serde::Deserialize;
use utoipa::IntoParams;

use super::PageQuery;
use crate::{
    App,
    answer::{self, Answer},
    examples,
    extract::{Args, Named, Post, Who, read},
    formats::{Form, FormatQuery, Formed},
};

/// Makes a price list
///
/// It counts from `valid_from` until the next list of its currency does, and never changes. Within a list the most particular row that fits wins: first by place (a longer `prefix` before a
/// shorter one; a `country` counts like its calling code, and before a prefix of that length), then a row that names the provider, then one that names the category, then one that names the
/// purpose. A message's price is looked up when it is accepted, and again when it goes another way. Prices are exact: what is less than a millionth is carried to the next message.
#[utoipa::path(post, path = "/v1/prices", operation_id = "create_price_list", tag = "Money",
    request_body(content = NewPriceList, example = json!({"currency": "USD", "note": "From December", "rows": [
        {"channel": "sms", "unit": "segment", "cost_micros": 7200, "markup_basis_points": 2500}, {"channel": "sms", "country": "IN", "unit": "segment", "amount_micros": 4500},
        {"channel": "whatsapp", "category": "marketing", "unit": "message", "amount_micros": 25000}, {"channel": "whatsapp", "unit": "message", "amount_micros": 5000},
        {"channel": "voice", "unit": "minute", "amount_micros": 14000}, {"channel": "email", "unit": "thousand", "amount_micros": 400000}]})),
    responses((status = 201, description = "The new list.", body = PriceListView, example = json!(examples::price_list()))))]
pub(crate) async fn create(State(app): State<App>, Who(caller): Who, post: Post) -> Answer {
    let new: NewPriceList = read(&post.body)?;
    answer::reply(prices::create(app.engine().parts(), &caller, &post.repeat, new).await?)
}

/// Lists price lists
///
/// Newest first, also those that will only count later, each with the number of its rows.
#[utoipa::path(get, path = "/v1/prices", operation_id = "list_price_lists", tag = "Money", params(PageQuery),
    responses((status = 200, description = "One page.", body = Page<PriceListSummary>, example = json!(examples::page(examples::price_list_summary())))))]
pub(crate) async fn list(State(app): State<App>, Who(caller): Who, Args(query): Args<PageQuery>) -> Answer {
    answer::json(&prices::list(app.engine().parts(), &caller, query.limit, query.cursor.as_deref()).await?)
}

/// Shows a price list
///
/// With its rows. Only an operator sees what providers take.
#[utoipa::path(get, path = "/v1/prices/{version}", operation_id = "get_price_list", tag = "Money",
    responses((status = 200, description = "The list.", body = PriceListView, example = json!(examples::price_list()))))]
pub(crate) async fn get(State(app): State<App>, Who(caller): Who, Named(version): Named) -> Answer {
    // What is no number is the version of no list.
    let version = version.parse().unwrap_or(0);
    answer::json(&prices::get(app.engine().parts(), &caller, Some(version)).await?)
}

/// Imports a price list
///
/// Of a table with the fields of a row as its columns; `channel` and `unit` are needed. It is taken as a whole or not at all: what is wrong is told by line. With `dry_run` nothing is kept, and the
/// answer is 200 with what the list would change.
#[utoipa::path(post, path = "/v1/prices/import", operation_id = "import_price_list", tag = "Money",
    request_body(content = PriceTable, example = json!({"currency": "USD", "csv": "channel,country,unit,amount_micros,cost_micros\r\nsms,IN,segment,4500,3900\r\nemail,,thousand,400000,100000\r\n", "dry_run": false})),
    responses(
        (status = 201, description = "The new list.", body = PriceListView, example = json!(examples::price_list())),
        (status = 200, description = "What an import would do.", body = PriceImport, example = json!({"dry_run": true, "rows": 2, "added": 1, "changed": 1, "removed": 0, "errors": []}))))]
pub(crate) async fn import(State(app): State<App>, Who(caller): Who, post: Post) -> Answer {
    let table: PriceTable = read(&post.body)?;
    answer::reply(sheet::import(app.engine().parts(), &caller, &post.repeat, table).await?)
}

/// Which price list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ExportQuery {
    /// Its version; the newest when left out.
    #[param(example = 1)]
    version: Option<i64>,
}

/// Exports a price list
///
/// As a table an import reads back. Only an operator sees what providers take.
#[utoipa::path(get, path = "/v1/prices/export", operation_id = "export_price_list", tag = "Money", params(ExportQuery, FormatQuery),
    responses((status = 200, description = "The table.", content_type = "text/csv", body = String,
        example = json!("channel,provider,country,prefix,category,purpose,unit,amount_micros,cost_micros,markup_basis_points\r\nsms,,IN,,,,segment,4500,3900,\r\n"))))]
pub(crate) async fn export(
    State(app): State<App>,
    Who(caller): Who,
    Formed(query, wanted): Formed<ExportQuery>,
) -> Answer {
    wanted.of(&[Form::Csv])?;
    Ok(answer::csv(sheet::export(app.engine().parts(), &caller, query.version).await?))
}

/// Tries prices out
///
/// What the traffic of a month would cost at other prices, beside what it costs at today's: of one tenant (`Tidings-Tenant`), or of all that are billed in this currency. Read from sums, so rows for a
/// longer prefix than a calling code are left out and counted. MMS and the categories of WhatsApp are those messages were charged as; what was not charged is taken for what its purpose says.
#[utoipa::path(post, path = "/v1/prices/what-if", operation_id = "try_prices", tag = "Money",
    request_body(content = WhatIf, example = json!({"currency": "USD", "month": "2026-11", "rows": [{"channel": "sms", "unit": "segment", "amount_micros": 8000}]})),
    responses((status = 200, description = "What it would cost.", body = WhatIfView, example = json!({
        "month": "2026-11", "today": {"amount_micros": 9000, "currency": "USD"}, "then": {"amount_micros": 8000, "currency": "USD"},
        "provider_cost": {"amount_micros": 0, "currency": "USD"}, "without_price": 0, "guessed": 0, "tenants_left_out": 0, "rows_left_out": 0,
        "data": [{"channel": "sms", "provider": "twilio", "country": "US", "purpose": "transactional", "category": null, "messages": 1, "segments": 1, "today_micros": 9000, "then_micros": 8000}]}))))]
pub(crate) async fn what_if(State(app): State<App>, Who(caller): Who, post: Post) -> Answer {
    let asked: WhatIf = read(&post.body)?;
    answer::json(&app.engine().what_if(&caller, asked).await?)
}
