//! What messages cost.

use axum::extract::State;
use engine::{
    money::prices::{self, NewPriceList, PriceListView},
    page::Page,
};

use super::PageQuery;
use crate::{
    App,
    answer::{self, Answer},
    examples,
    extract::{Args, Post, Who, read},
};

/// Makes a price list
///
/// It counts from `valid_from` until the next list of its currency does, and never changes. Within a list the longest `prefix` wins, then a row that names the
/// provider, then one that names the purpose. A message's price is looked up when it is accepted.
#[utoipa::path(post, path = "/v1/prices", operation_id = "create_price_list", tag = "Money",
    request_body(content = NewPriceList, example = json!({"currency": "USD", "note": "From December", "rows": [
        {"channel": "sms", "unit": "segment", "amount_micros": 9000}, {"channel": "sms", "prefix": "91", "unit": "segment", "amount_micros": 4500},
        {"channel": "email", "unit": "message", "amount_micros": 400}]})),
    responses((status = 201, description = "The new list.", body = PriceListView, example = json!(examples::price_list()))))]
pub(crate) async fn create(State(app): State<App>, Who(caller): Who, post: Post) -> Answer {
    let new: NewPriceList = read(&post.body)?;
    answer::reply(prices::create(app.engine().parts(), &caller, &post.repeat, new).await?)
}

/// Lists price lists
///
/// Newest first, also those that will only count later.
#[utoipa::path(get, path = "/v1/prices", operation_id = "list_price_lists", tag = "Money", params(PageQuery),
    responses((status = 200, description = "One page.", body = Page<PriceListView>, example = json!(examples::page(examples::price_list())))))]
pub(crate) async fn list(State(app): State<App>, Who(caller): Who, Args(query): Args<PageQuery>) -> Answer {
    answer::json(&prices::list(app.engine().parts(), &caller, query.limit, query.cursor.as_deref()).await?)
}
