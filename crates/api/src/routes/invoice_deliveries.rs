//! Invoices to a tenant's customers.

use axum::{extract::State, response::Response};
use engine::invoice_deliveries::{self, InvoiceDeliveryQuery, InvoiceDeliveryView, NewInvoiceDelivery};
use engine::page::Page;
use model::InvoiceDeliveryId;

use super::attachments::download;
use crate::{
    App,
    answer::{self, Answer},
    examples,
    extract::{Args, Id, Post, Who, read},
    problem::Problem,
};

/// Sends an invoice
///
/// Given as data it is drawn as a PDF with your branding, after everything was added up again; or give a ready PDF. It goes as `invoice-{number}.pdf`: by e-mail as an attachment, with your
/// template `invoice-delivery` or a letter we wrote; by WhatsApp as a document, with your template `invoice-whatsapp` or the provider's approved template `invoice_whatsapp`. `auto` follows what
/// the contact prefers and allows for the topic `invoice_delivery`. A number is sent once: the second time is 409 `invoice_already_sent`, unless `resend` is true. With `dry_run` the answer
/// is 200 and explains each message.
#[utoipa::path(post, path = "/v1/invoice-deliveries", operation_id = "create_invoice_delivery", tag = "Invoice deliveries",
    request_body(content = NewInvoiceDelivery, example = json!(examples::new_invoice_delivery())),
    responses((status = 202, description = "It is on its way.", body = InvoiceDeliveryView, example = json!(examples::invoice_delivery()))))]
pub(crate) async fn create(State(app): State<App>, Who(caller): Who, post: Post) -> Answer {
    let new: NewInvoiceDelivery = read(&post.body)?;
    answer::reply(invoice_deliveries::create(app.engine(), &caller, &post.repeat, new).await?)
}

/// Lists sent invoices
///
/// Newest first, each with its messages as they are now.
#[utoipa::path(get, path = "/v1/invoice-deliveries", operation_id = "list_invoice_deliveries", tag = "Invoice deliveries", params(InvoiceDeliveryQuery),
    responses((status = 200, description = "One page.", body = Page<InvoiceDeliveryView>, example = json!(examples::page(examples::invoice_delivery())))))]
pub(crate) async fn list(State(app): State<App>, Who(caller): Who, Args(query): Args<InvoiceDeliveryQuery>) -> Answer {
    answer::json(&invoice_deliveries::list(app.engine(), &caller, query).await?)
}

/// Shows a sent invoice
///
/// With its messages as they are now.
#[utoipa::path(get, path = "/v1/invoice-deliveries/{id}", operation_id = "get_invoice_delivery", tag = "Invoice deliveries",
    responses((status = 200, description = "The delivery.", body = InvoiceDeliveryView, example = json!(examples::invoice_delivery()))))]
pub(crate) async fn get(State(app): State<App>, Who(caller): Who, Id(id): Id<InvoiceDeliveryId>) -> Answer {
    answer::json(&invoice_deliveries::get(app.engine(), &caller, id).await?)
}

/// Downloads a sent invoice
///
/// The PDF as it was sent. It is kept for a year.
#[utoipa::path(get, path = "/v1/invoice-deliveries/{id}/document", operation_id = "download_invoice_delivery", tag = "Invoice deliveries",
    responses((status = 200, description = "The PDF.", body = String, content_type = "application/pdf",
        headers(("Content-Disposition" = String, description = "The file's name.")), example = json!("%PDF-1.7\n"))))]
pub(crate) async fn document(
    State(app): State<App>,
    Who(caller): Who,
    Id(id): Id<InvoiceDeliveryId>,
) -> Result<Response, Problem> {
    Ok(download(invoice_deliveries::document(app.engine(), &caller, id).await?)?)
}
