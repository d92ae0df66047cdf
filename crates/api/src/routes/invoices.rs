//! What tenants owe, and how the operator writes it.

use axum::extract::State;
use engine::{
    invoices::{
        self, InvoicePayment, InvoiceView, InvoiceVoid, InvoicesQuery, mailing, printing,
        settings::{self, BillingSettings, BillingSettingsPatch},
    },
    page::Page,
};
use model::InvoiceId;

use crate::{
    App,
    answer::{self, Answer},
    examples,
    extract::{Args, Id, Json, Post, Who, read},
};

/// Lists invoices
///
/// Newest first, credit notes too. A tenant sees those that were issued; an operator also drafts, and outside of any tenant everybody's.
#[utoipa::path(get, path = "/v1/invoices", operation_id = "list_invoices", tag = "Money", params(InvoicesQuery),
    responses((status = 200, description = "One page.", body = Page<InvoiceView>, example = json!(examples::page(examples::invoice())))))]
pub(crate) async fn list(State(app): State<App>, Who(caller): Who, Args(query): Args<InvoicesQuery>) -> Answer {
    answer::json(&invoices::list(app.engine(), &caller, &query).await?)
}

/// Shows an invoice
///
/// With its lines, taxes and what became of it.
#[utoipa::path(get, path = "/v1/invoices/{id}", operation_id = "get_invoice", tag = "Money",
    responses((status = 200, description = "The invoice.", body = InvoiceView, example = json!(examples::invoice()))))]
pub(crate) async fn get(State(app): State<App>, Who(caller): Who, Id(id): Id<InvoiceId>) -> Answer {
    answer::json(&invoices::get(app.engine(), &caller, id).await?)
}

/// Writes a draft anew
///
/// With the customer, tax, seller, note and means of payment of now, so that what was mended there can be looked at before it is issued. Its lines stay.
#[utoipa::path(post, path = "/v1/invoices/{id}/renew", operation_id = "renew_invoice", tag = "Money",
    responses((status = 200, description = "The draft as it is now.", body = InvoiceView, example = json!(examples::invoice()))))]
pub(crate) async fn renew(State(app): State<App>, Who(caller): Who, Id(id): Id<InvoiceId>, post: Post) -> Answer {
    post.must_be_empty()?;
    answer::reply(invoices::renew(app.engine(), &caller, &post.repeat, id).await?)
}

/// Issues a draft
///
/// It is written anew, like by `…/renew`, gets the next number of its series, and is final. With `issues_by_itself` this happens when the month is closed.
#[utoipa::path(post, path = "/v1/invoices/{id}/issue", operation_id = "issue_invoice", tag = "Money",
    responses((status = 200, description = "The invoice as it is now.", body = InvoiceView, example = json!(examples::invoice()))))]
pub(crate) async fn issue(State(app): State<App>, Who(caller): Who, Id(id): Id<InvoiceId>, post: Post) -> Answer {
    post.must_be_empty()?;
    answer::reply(invoices::issue(app.engine(), &caller, &post.repeat, id).await?)
}

/// Records a payment
///
/// Of an issued invoice, in full. A tenant that pays its messages afterwards gets what they had cost by the price list back into its credit.
#[utoipa::path(post, path = "/v1/invoices/{id}/payment", operation_id = "pay_invoice", tag = "Money",
    request_body(content = InvoicePayment, example = json!({"reference": "bank transfer 2026-12-09"})),
    responses((status = 200, description = "The invoice as it is now.", body = InvoiceView, example = json!(examples::invoice()))))]
pub(crate) async fn pay(State(app): State<App>, Who(caller): Who, Id(id): Id<InvoiceId>, post: Post) -> Answer {
    let payment: InvoicePayment = read(&post.body)?;
    answer::reply(invoices::pay(app.engine(), &caller, &post.repeat, id, payment).await?)
}

/// Takes an invoice back
///
/// A draft is dropped. Of an issued or paid invoice a credit note is written, with a number of its own series; the invoice itself stays as it was.
///
/// With `bills_again` a draft is made in its place (`replaces_id`), which says the same with the customer, tax and seller of now: mend these, look at it, and issue it. Without, what was billed
/// is given away and stands on no other invoice, unless it is billed again later (`…/bill-again`).
#[utoipa::path(post, path = "/v1/invoices/{id}/void", operation_id = "void_invoice", tag = "Money",
    request_body(content = InvoiceVoid, example = json!({"reason": "The address was wrong.", "bills_again": true})),
    responses((status = 200, description = "The invoice as it is now.", body = InvoiceView, example = json!(examples::invoice()))))]
pub(crate) async fn void(State(app): State<App>, Who(caller): Who, Id(id): Id<InvoiceId>, post: Post) -> Answer {
    let why: InvoiceVoid = read(&post.body)?;
    answer::reply(invoices::void(app.engine(), &caller, &post.repeat, id, why).await?)
}

/// Bills again what was taken back
///
/// Makes the draft that `bills_again` of `…/void` would have made, of a bill that was taken back without it: it says the same with the customer, tax and seller of now, and what messages had
/// cost by the price list is owed again. Where another bill stands in its place already it is refused (409 `invoice_billed_again`), and names that.
#[utoipa::path(post, path = "/v1/invoices/{id}/bill-again", operation_id = "bill_invoice_again", tag = "Money",
    responses((status = 201, description = "The draft in its place.", body = InvoiceView, example = json!(examples::invoice()))))]
pub(crate) async fn bill_again(State(app): State<App>, Who(caller): Who, Id(id): Id<InvoiceId>, post: Post) -> Answer {
    post.must_be_empty()?;
    answer::reply(invoices::bill_again(app.engine(), &caller, &post.repeat, id).await?)
}

/// Sends an invoice
///
/// As PDF to the customer's e-mail address, through the account of the operator's own that the billing settings name. With `sends_by_itself` this happens once by itself, and `mail`
/// says what became of it.
#[utoipa::path(post, path = "/v1/invoices/{id}/send", operation_id = "send_invoice", tag = "Money",
    responses((status = 200, description = "The invoice as it is now.", body = InvoiceView, example = json!(examples::invoice()))))]
pub(crate) async fn send(State(app): State<App>, Who(caller): Who, Id(id): Id<InvoiceId>, post: Post) -> Answer {
    post.must_be_empty()?;
    answer::reply(mailing::send(app.engine(), &caller, &post.repeat, id).await?)
}

/// Downloads an invoice
///
/// As PDF, with the branding of the operator's own tenant that the billing settings name.
#[utoipa::path(get, path = "/v1/invoices/{id}/document", operation_id = "download_invoice", tag = "Money",
    responses((status = 200, description = "The PDF.", body = String, content_type = "application/pdf",
        headers(("Content-Disposition" = String, description = "The file's name.")), example = json!("%PDF-1.7\n"))))]
pub(crate) async fn document(State(app): State<App>, Who(caller): Who, Id(id): Id<InvoiceId>) -> Answer {
    answer::pdf(printing::document(app.engine(), &caller, id).await?)
}

/// Shows how invoices are written
///
/// As whom, in which series, with which taxes, and by which way they go out.
#[utoipa::path(get, path = "/v1/billing-settings", operation_id = "get_billing_settings", tag = "Money",
    responses((status = 200, description = "The settings.", body = BillingSettings, example = json!(examples::billing_settings()))))]
pub(crate) async fn settings(State(app): State<App>, Who(caller): Who) -> Answer {
    answer::json(&settings::get(app.engine().parts(), &caller).await?)
}

/// Changes how invoices are written
///
/// JSON Merge Patch: fields left out keep their value. Counts for invoices made from then on.
#[utoipa::path(patch, path = "/v1/billing-settings", operation_id = "update_billing_settings", tag = "Money",
    request_body(content = BillingSettingsPatch, example = json!({"due_days": 30, "taxes": [{"country": "DE", "name": "VAT", "rate_ppm": 190000}]})),
    responses((status = 200, description = "The settings as they are now.", body = BillingSettings, example = json!(examples::billing_settings()))))]
pub(crate) async fn patch_settings(State(app): State<App>, Who(caller): Who, Json(body): Json) -> Answer {
    let change: BillingSettingsPatch = read(&body)?;
    answer::json(&settings::patch(app.engine().parts(), &caller, change).await?)
}
