//! What a tenant has, and where it went.

use axum::extract::State;
use engine::{
    Error, ErrorKind,
    money::{
        credits::{self, CreditEntry, CreditGrant, Credits, CreditsPatch, NewAdjustment, NewGrant, StatementQuery},
        payments::{self, PaymentSettings, PaymentSettingsPatch},
        purchases::{self, NewPurchase, PurchaseView},
        receipts,
        refunds::{self, NewRefund, RefundView},
        top_ups::{self, MethodView},
    },
    page::Page,
};
use model::{PurchaseId, Timestamp};
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

/// Which entries, in which form. `limit` is for JSON, `since` and `until` are for a table.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct EntriesQuery {
    /// Rows of the page.
    #[param(minimum = 1, maximum = 500, default = 50)]
    limit: Option<u32>,
    /// `next_cursor` of the page before, or `Next-Cursor` of the table before.
    cursor: Option<String>,
    /// In the table: those that happened at or after this instant.
    #[param(value_type = Option<String>, format = DateTime)]
    since: Option<Timestamp>,
    /// In the table: those that happened before this instant.
    #[param(value_type = Option<String>, format = DateTime)]
    until: Option<Timestamp>,
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
/// `prepaid`: nothing is accepted without enough credit (402 `insufficient_credit`). `postpaid`: credit may go below zero, and what it is short
/// of is asked for by a monthly invoice, with a plan or without. Messages accepted before keep their price. Below `low_at_micros` the event
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
/// Newest first. Each is one movement between two books, with the balances after it. As a table (`format=csv`) up to 50,000, of all or of the time from `since` until `until`: when there may be
/// more, the header `Next-Cursor` leads to the next table. Of a part of the time, a table has what is found among a million movements, and may be short or empty and lead on all the same.
#[utoipa::path(get, path = "/v1/credits/entries", operation_id = "list_credit_entries", tag = "Money", params(EntriesQuery, FormatQuery),
    responses((status = 200, description = "One page, or one table.",
        headers(("Next-Cursor" = String, description = "Of a table: give this as `cursor` to get the next one; missing at the end.")),
        content(
        (Page<CreditEntry> = "application/json", example = json!(examples::page(examples::credit_entry()))),
        (String = "text/csv", example = json!("number,at,kind,from,to,amount_micros,currency\r\n1,2026-11-28T09:00:00Z,purchase,purchased,available,50000000,USD\r\n"))))))]
pub(crate) async fn entries(
    State(app): State<App>,
    Who(caller): Who,
    Formed(query, wanted): Formed<EntriesQuery>,
) -> Answer {
    let parts = app.engine().parts();
    let EntriesQuery { limit, cursor, since, until } = query;
    match wanted.of(&[Form::Json, Form::Csv])? {
        Form::Json if since.is_some() || until.is_some() => {
            let detail = "`since` and `until` are for a table: leave them out, or ask for `format=csv`.";
            Err(Error::new(ErrorKind::Malformed, "invalid_query", detail).into())
        }
        Form::Json => answer::json(&credits::entries(parts, &caller, limit, cursor.as_deref()).await?),
        Form::Csv if limit.is_some() => {
            let detail =
                "`limit` is for JSON: a table has up to 50,000 movements, and `Next-Cursor` leads to the next.";
            Err(Error::new(ErrorKind::Malformed, "invalid_query", detail).into())
        }
        _ => {
            let asked = StatementQuery { since, until, cursor };
            Ok(answer::file(credits::statement(parts, &caller, &asked).await?))
        }
    }
}

/// Buys credit
///
/// With `reference`, by the operator: records a payment that was made outside of Tidings, and adds the credit at once. Without: opens a page at Stripe (`url`) on which it is paid; the
/// credit is there once Stripe says it was paid, and `credit.purchased` is told. Where credit is sold with tax (`purchase_tax` of `/v1/credits`), that comes on top of the amount: `total` is what is
/// paid. 409 `payments_not_configured` where the operator has no account there.
#[utoipa::path(post, path = "/v1/credits/purchases", operation_id = "buy_credit", tag = "Money",
    request_body(content = NewPurchase, example = json!({"amount_micros": 50000000, "success_url": "https://acme.example/credit?paid=1", "cancel_url": "https://acme.example/credit"})),
    responses((status = 201, description = "The purchase.", body = PurchaseView, example = json!(examples::credit_purchase()))))]
pub(crate) async fn buy(State(app): State<App>, Who(caller): Who, post: Post) -> Answer {
    let new: NewPurchase = read(&post.body)?;
    answer::reply(purchases::create(app.engine().parts(), &caller, &post.repeat, new).await?)
}

/// Lists purchases of credit
///
/// Newest first, also those that came to nothing.
#[utoipa::path(get, path = "/v1/credits/purchases", operation_id = "list_credit_purchases", tag = "Money", params(PageQuery),
    responses((status = 200, description = "One page.", body = Page<PurchaseView>, example = json!(examples::page(examples::credit_purchase())))))]
pub(crate) async fn purchases(State(app): State<App>, Who(caller): Who, Args(query): Args<PageQuery>) -> Answer {
    answer::json(&purchases::list(app.engine().parts(), &caller, query.limit, query.cursor.as_deref()).await?)
}

/// Shows a purchase of credit
///
/// What became of it, and how much of it was given back.
#[utoipa::path(get, path = "/v1/credits/purchases/{id}", operation_id = "get_credit_purchase", tag = "Money",
    responses((status = 200, description = "The purchase.", body = PurchaseView, example = json!(examples::credit_purchase()))))]
pub(crate) async fn purchase(State(app): State<App>, Who(caller): Who, Id(id): Id<PurchaseId>) -> Answer {
    answer::json(&purchases::get(app.engine().parts(), &caller, id).await?)
}

/// Downloads the receipt of a purchase
///
/// As PDF, with the branding of the operator's own tenant that the billing settings name: who paid whom how much, with which tax, when and how, and what went back. 409
/// `purchase_not_paid` before the purchase is paid, `receipt_unprintable` where a name on it has characters no font has.
#[utoipa::path(get, path = "/v1/credits/purchases/{id}/receipt", operation_id = "download_credit_receipt", tag = "Money",
    responses((status = 200, description = "The PDF.", body = String, content_type = "application/pdf",
        headers(("Content-Disposition" = String, description = "The file's name.")), example = json!("%PDF-1.7\n"))))]
pub(crate) async fn receipt(State(app): State<App>, Who(caller): Who, Id(id): Id<PurchaseId>) -> Answer {
    answer::pdf(receipts::document(app.engine(), &caller, id).await?)
}

/// Gives credit back
///
/// Takes the amount from what was paid for and is left, and stands on the statement as `refund`. Of a purchase its share of the tax goes back with it (`total`). With the `purchase_id` of one that was paid through Stripe the money goes back through it; should that
/// fail, the credit is there again (`credit.refund_failed`). Prepaid credit goes below zero only with `may_overdraw`.
#[utoipa::path(post, path = "/v1/credits/refunds", operation_id = "refund_credit", tag = "Money",
    request_body(content = NewRefund, example = json!({"amount_micros": 5000000, "reason": "closed their account"})),
    responses((status = 201, description = "The refund.", body = RefundView, example = json!(examples::credit_refund()))))]
pub(crate) async fn refund(State(app): State<App>, Who(caller): Who, post: Post) -> Answer {
    let new: NewRefund = read(&post.body)?;
    answer::reply(refunds::create(app.engine().parts(), &caller, &post.repeat, new).await?)
}

/// Lists money given back
///
/// Newest first, also what was given back on Stripe's own pages.
#[utoipa::path(get, path = "/v1/credits/refunds", operation_id = "list_credit_refunds", tag = "Money", params(PageQuery),
    responses((status = 200, description = "One page.", body = Page<RefundView>, example = json!(examples::page(examples::credit_refund())))))]
pub(crate) async fn refunds(State(app): State<App>, Who(caller): Who, Args(query): Args<PageQuery>) -> Answer {
    answer::json(&refunds::list(app.engine().parts(), &caller, query.limit, query.cursor.as_deref()).await?)
}

/// Shows what is paid with when credit runs low
///
/// Kept from a purchase with `save_payment_method`; used when credit falls below `top_up` of `/v1/credits`. 404 while there is none.
#[utoipa::path(get, path = "/v1/credits/payment-method", operation_id = "get_payment_method", tag = "Money",
    responses((status = 200, description = "The payment method.", body = MethodView, example = json!({"provider": "stripe", "name": "visa •••• 4242", "created_at": "2026-11-28T09:00:00Z"}))))]
pub(crate) async fn method(State(app): State<App>, Who(caller): Who) -> Answer {
    answer::json(&top_ups::method(app.engine().parts(), &caller).await?)
}

/// Forgets what is paid with
///
/// Nothing is bought by itself any more.
#[utoipa::path(delete, path = "/v1/credits/payment-method", operation_id = "forget_payment_method", tag = "Money",
    responses((status = 204, description = "Forgotten.")))]
pub(crate) async fn forget_method(State(app): State<App>, Who(caller): Who) -> Answer {
    top_ups::forget(app.engine().parts(), &caller).await?;
    answer::nothing()
}

/// Shows how payments are taken
///
/// The operator's account at Stripe, without its secrets, and where Stripe's events are to be posted to.
#[utoipa::path(get, path = "/v1/payment-settings", operation_id = "get_payment_settings", tag = "Money",
    responses((status = 200, description = "The settings.", body = PaymentSettings, example = json!(examples::payment_settings()))))]
pub(crate) async fn settings(State(app): State<App>, Who(caller): Who) -> Answer {
    answer::json(&payments::get(app.engine().parts(), &caller).await?)
}

/// Changes how payments are taken
///
/// Secrets are sealed and never shown again; what is left out stays, `"stripe": null` removes the account.
#[utoipa::path(patch, path = "/v1/payment-settings", operation_id = "update_payment_settings", tag = "Money",
    request_body(content = PaymentSettingsPatch, example = json!({"stripe": {"secret_key": "sk_live_51Example", "webhook_secret": "whsec_Example"}})),
    responses((status = 200, description = "The settings.", body = PaymentSettings, example = json!(examples::payment_settings()))))]
pub(crate) async fn patch_settings(State(app): State<App>, Who(caller): Who, Json(body): Json) -> Answer {
    let change: PaymentSettingsPatch = read(&body)?;
    answer::json(&payments::patch(app.engine().parts(), &caller, change).await?)
}

/// Adjusts the credit
///
/// Gives, or takes with an amount below zero; of prepaid credit never more than is available, unless `may_overdraw` says so.
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
