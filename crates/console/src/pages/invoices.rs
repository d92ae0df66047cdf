//! Invoices to customers: written in a form whose sums add up by themselves, looked at as a PDF, sent, and followed.

use axum::{extract::Path, response::Response};
use bytes::Bytes;
use engine::{
    Error,
    accept::request::To,
    invoice_deliveries::{
        self, Decimal, InvoiceChannel, InvoiceData, InvoiceDeliveryQuery, InvoiceDeliveryView, InvoiceLine,
        InvoiceParty, NewInvoiceDelivery,
    },
    once::{self, IdempotencyKey, Repeat},
};
use http::{HeaderValue, header};
use jiff::{civil::Date, tz::TimeZone};
use maud::{Markup, html};
use model::{EmailAddress, Phone};
use serde::Deserialize;

use super::messages;
use crate::{
    cx::{Answer, Cx, Fault, Posted, Query},
    form::{self, Faults, Form},
    parts::{
        self, Control, Field, icon, link_button,
        table::{self, Pages, Row, Table, cell, text},
    },
    shell::{self, Section},
};

pub(super) const PATH: &str = "/console/invoices";
/// Lines of an empty form, and how many more a click brings.
const LINES: usize = 4;
/// Lines a form can have: longer invoices come through the API.
const LINES_MAX: usize = 60;

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Wanted {
    number: Option<String>,
    cursor: Option<String>,
}

/// Shows sent invoices.
pub(crate) async fn list(cx: Cx, Query(wanted): Query<Wanted>) -> Answer {
    cx.tenant()?;
    let query = InvoiceDeliveryQuery { number: wanted.number.clone(), limit: None, cursor: wanted.cursor.clone() };
    let page = invoice_deliveries::list(cx.engine(), &cx.caller, query).await?;
    let send = html! { @if cx.may("messages:write") { (link_button(&format!("{PATH}/new"), "primary", Some("plus"), "Send an invoice")) } };
    let number = wanted.number.clone().unwrap_or_default();
    let body = html! {
        section.card aria-label="Invoices" {
            (table::filters(PATH, "invoices", &[table::Filter::Search { name: "number", label: "Find by number", value: &number }]))
            div #invoices {
                @if page.data.is_empty() {
                    @if number.is_empty() {
                        (parts::empty("file", "No invoices sent", "An invoice goes to a customer as a PDF, by e-mail, WhatsApp or both, and you see here what became of it.", Some(send.clone())))
                    } @else {
                        (parts::empty("search", "No invoice has this number", "Numbers are compared as a whole.", Some(link_button(PATH, "", None, "Clear the filter"))))
                    }
                } @else {
                    (sent(&cx, &page.data))
                    (table::pager(&Pages { path: PATH, query: &[("number", number.clone())], is_first: wanted.cursor.is_none(), next: page.next_cursor.as_deref(), shown: page.data.len() }))
                }
            }
        }
    };
    Ok(cx.page(shell::Page {
        lead: Some(html! { "Invoices you sent to your customers." }),
        actions: Some(send),
        tabs: Some(messages::tabs(PATH)),
        ..shell::Page::new("Invoices", Section::Messages, body)
    }))
}

fn sent(cx: &Cx, deliveries: &[InvoiceDeliveryView]) -> Markup {
    let row = |delivery: &InvoiceDeliveryView| Row {
        href: None,
        cells: vec![
            cell(html! {
                a href={ (PATH) "/" (delivery.id) "/document" } { (delivery.document.filename) }
                @if delivery.is_resend { " " (parts::tag("Again")) }
            }),
            text(&delivery.total.as_ref().map_or_else(|| "–".to_owned(), invoice_deliveries::amount)),
            cell(html! {
                @for message in &delivery.messages {
                    div.row {
                        (icon(parts::channel_icon(message.channel)))
                        a.wide-text href={ "/console/messages/" (message.id) } { (message.to) }
                        (parts::status(message.status))
                    }
                }
            }),
            cell(html! { span."num nowrap" { (cx.here().at(delivery.created_at)) } div.sub { (delivery.reason) } }),
        ],
    };
    table::table(Table {
        caption: "Invoices, newest first",
        columns: &["Document", "Total", "Went to", "Sent"],
        rows: deliveries.iter().map(row).collect(),
    })
}

/// Shows a sent document.
pub(crate) async fn document(cx: Cx, Path(id): Path<String>) -> Answer {
    cx.tenant()?;
    let file = invoice_deliveries::document(cx.engine(), &cx.caller, super::id(&id)?).await?;
    Ok(pdf(file.bytes))
}

/// A PDF in the browser's own window.
fn pdf(bytes: Bytes) -> Response {
    let mut response = Response::new(bytes.into());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/pdf"));
    headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_static("inline"));
    response
}

/// Shows an empty form.
pub(crate) async fn new(cx: Cx) -> Answer {
    let tenant = cx.tenant()?;
    cx.caller.need("messages:write")?;
    let today = cx.here().now.jiff().to_zoned(cx.here().zone.clone()).date();
    let form = Form::of([
        ("key", cx.engine().ports.ids.token(24)),
        ("invoice/issue_date", today.to_string()),
        ("invoice/currency", tenant.currency.clone()),
        ("invoice/seller/name", tenant.name.clone()),
        ("channel", "auto".to_owned()),
    ]);
    Ok(cx.page(page(&cx, &form, &Faults::default())))
}

/// How many lines a form shows: all that hold something, and some empty ones.
fn lines_of(form: &Form) -> usize {
    let asked = form.text("lines").parse().unwrap_or(LINES);
    asked.clamp(LINES, LINES_MAX)
}

fn page<'a>(cx: &Cx, form: &Form, faults: &Faults) -> shell::Page<'a> {
    let line_name = |index: usize, field: &str| format!("invoice/lines/{index}/{field}");
    let names: Vec<String> = NAMES
        .iter()
        .map(|name| (*name).to_owned())
        .chain((0..lines_of(form)).flat_map(|index| LINE.map(|field| line_name(index, field))))
        .collect();
    let channels = vec![
        ("auto", "As the customer prefers".to_owned()),
        ("email", "E-mail".to_owned()),
        ("whatsapp", "WhatsApp".to_owned()),
        ("both", "E-mail and WhatsApp".to_owned()),
    ];
    let text = |name: &'a str, label: &'a str| Field::text(name, label);
    let area = |rows| Control::Area { rows };
    let body = html! {
        form method="post" action=(PATH) data-guard {
            (form::token(cx.csrf()))
            input type="hidden" name="key" value=(form.text("key"));
            input type="hidden" name="lines" value=(lines_of(form));
            (shell::form_faults(faults, &names))
            (parts::card("Who gets it", None, html! { div.form {
                div.fields-2 {
                    (text("to/email", "E-mail").with(Control::Email).example("ada@example.com").draw(form, faults))
                    (text("to/phone", "Phone with WhatsApp").example("+4915112345678").draw(form, faults))
                    (text("channel", "Goes by").required().with(Control::Choice(channels)).draw(form, faults))
                    (text("invoice/buyer/name", "Customer").required().draw(form, faults))
                }
                div.fields-2 {
                    (text("invoice/buyer/address", "Their address").with(area(3)).draw(form, faults))
                    (text("invoice/buyer/tax_id", "Their tax number").draw(form, faults))
                }
            } }))
            (parts::card("The invoice", None, html! { div.form {
                div.fields-2 {
                    (text("invoice/number", "Number").required().example("2026-0042").draw(form, faults))
                    (text("invoice/currency", "Currency").required().example("EUR").draw(form, faults))
                    (text("invoice/issue_date", "Date").required().example("2026-11-29").draw(form, faults))
                    (text("invoice/due_date", "Due").example("2026-12-13").draw(form, faults))
                    (text("invoice/seller/name", "From").required().draw(form, faults))
                    (text("invoice/seller/tax_id", "Your tax number").draw(form, faults))
                    (text("invoice/seller/address", "Your address").with(area(3)).draw(form, faults))
                    (text("tax_name", "What the tax is called").example("VAT").draw(form, faults))
                }
            } }))
            (parts::card("Lines", None, html! { div.form {
                @for index in 0..lines_of(form) {
                    fieldset.form {
                        legend { "Line " (index + 1) }
                        (Field::text(&line_name(index, "description"), "Description").plain().draw(form, faults))
                        div.fields-3 {
                            (Field::text(&line_name(index, "quantity"), "Quantity").plain().example("1").draw(form, faults))
                            (Field::text(&line_name(index, "unit_price_micros"), "Price of one").plain().example("120.00").draw(form, faults))
                            (Field::text(&line_name(index, "tax_percent"), "Tax in percent").plain().example("19").draw(form, faults))
                        }
                    }
                }
                @if lines_of(form) < LINES_MAX {
                    button."button small" type="submit" formaction={ (PATH) "/more" } formnovalidate { (icon("plus")) "More lines" }
                }
            } }))
            (parts::card("Below the lines", None, html! { div.form {
                (text("invoice/payment", "How to pay").with(area(3)).example("IBAN DE02 1203 0000 0000 2020 51").draw(form, faults))
                (text("invoice/notes", "Notes").with(area(3)).draw(form, faults))
                (text("message", "A personal text in the mail").with(area(3)).draw(form, faults))
                (parts::field::check("resend", "true", form.is_on("resend"), "Send it again", "If this number was sent before."))
            } }))
            div.row {
                button."button primary" type="submit" { (icon("send")) @if cx.tenant.as_ref().is_some_and(|tenant| tenant.is_demo) { "Send (demo)" } @else { "Send" } }
                button.button type="submit" formaction={ (PATH) "/preview" } formtarget="_blank" { (icon("eye")) "Look at the PDF" }
            }
        }
    };
    shell::Page {
        above: &[(PATH, "Invoices")],
        is_narrow: true,
        lead: Some(html! { "Sums and taxes are worked out from the lines." }),
        ..shell::Page::new("Send an invoice", Section::Messages, body)
    }
}

/// The fields that show their own errors, without the lines'.
const NAMES: [&str; 19] = [
    "to/email",
    "to/phone",
    "channel",
    "message",
    "resend",
    "tax_name",
    "invoice/number",
    "invoice/currency",
    "invoice/issue_date",
    "invoice/due_date",
    "invoice/seller/name",
    "invoice/seller/address",
    "invoice/seller/tax_id",
    "invoice/buyer/name",
    "invoice/buyer/address",
    "invoice/buyer/tax_id",
    "invoice/payment",
    "invoice/notes",
    "key",
];

/// And those of a line.
const LINE: [&str; 4] = ["description", "quantity", "unit_price_micros", "tax_percent"];

/// What a form stands for. Its sums are added up by the engine.
fn read(form: &Form) -> Result<NewInvoiceDelivery, Error> {
    let mut bad = Vec::new();
    let mut fault = |name: &str, detail: &str| bad.push(engine::FieldError::new(format!("/{name}"), detail));
    let area = |name: &str| form.filled(name).map(|text| text.replace("\r\n", "\n"));
    let party = |side: &str| InvoiceParty {
        name: form.text(&format!("invoice/{side}/name")).to_owned(),
        address: area(&format!("invoice/{side}/address"))
            .iter()
            .flat_map(|text| text.split('\n'))
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .map(str::to_owned)
            .collect(),
        tax_id: form.filled(&format!("invoice/{side}/tax_id")).map(str::to_owned),
        ..InvoiceParty::default()
    };
    let mut date = |name: &str| {
        let read = form.filled(name).map(|text| text.parse::<Date>());
        if matches!(read, Some(Err(_))) {
            fault(name, "write the day as 2026-11-29");
        }
        read.and_then(Result::ok)
    };
    let (issue_date, due_date) = (date("invoice/issue_date"), date("invoice/due_date"));
    if form.filled("invoice/issue_date").is_none() {
        fault("invoice/issue_date", "an invoice has a date");
    }
    let mut decimal = |name: &str| {
        let typed = form.filled(name)?;
        let read = Decimal::read(typed);
        if read.is_none() {
            fault(name, "write a number such as 12.5, with a point and at most six places");
        }
        read
    };
    let mut lines = Vec::new();
    for index in 0..LINES_MAX {
        let at = |field: &str| format!("invoice/lines/{index}/{field}");
        if LINE.iter().all(|field| form.filled(&at(field)).is_none()) {
            // Lines keep their place, so that an error finds its field; empty ones at the end are dropped below.
            lines.push(None);
            continue;
        }
        lines.push(Some(InvoiceLine {
            description: form.text(&at("description")).to_owned(),
            quantity: decimal(&at("quantity")).or(Some(Decimal::ONE)),
            unit: None,
            unit_price_micros: decimal(&at("unit_price_micros")).map(|price| price.0),
            tax_percent: decimal(&at("tax_percent")),
            amount_micros: 0,
        }));
    }
    let filled = lines.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
    for (index, _) in lines.iter().take(filled).enumerate().filter(|(_, line)| line.is_none()) {
        fault(&format!("invoice/lines/{index}/description"), "fill this line, or move those below it up");
    }
    let email = form.filled("to/email").map(str::parse::<EmailAddress>).transpose();
    let email = email.map_err(|_| Error::invalid("/to/email", "not an e-mail address"))?;
    let phone = form.filled("to/phone").map(|text| text.replace([' ', '-', '(', ')'], ""));
    let phone = phone.map(|text| text.parse::<Phone>()).transpose();
    let phone =
        phone.map_err(|_| Error::invalid("/to/phone", "write the number with its country code, as in +4915112345678"));
    let to = To { email, phone: phone?, ..To::default() };
    if !bad.is_empty() {
        return Err(Error::invalid_fields(bad));
    }
    let data = InvoiceData {
        kind: invoice_deliveries::InvoiceKind::Invoice,
        number: form.text("invoice/number").to_owned(),
        title: None,
        locale: None,
        paper: None,
        issue_date: issue_date.unwrap_or_else(|| jiff::Timestamp::UNIX_EPOCH.to_zoned(TimeZone::UTC).date()),
        due_date,
        period: None,
        references: Vec::new(),
        seller: party("seller"),
        buyer: party("buyer"),
        currency: form.text("invoice/currency").to_owned(),
        lines: lines.into_iter().flatten().collect(),
        taxes: Vec::new(),
        totals: invoice_deliveries::InvoiceTotals::default(),
        payment: area("invoice/payment"),
        notes: area("invoice/notes"),
    };
    Ok(NewInvoiceDelivery {
        to,
        channel: InvoiceChannel::from_stored(form.text("channel")),
        invoice: Some(data.added_up(form.filled("tax_name").unwrap_or("Tax"))),
        document: None,
        message: area("message"),
        locale: None,
        metadata: None,
        send_at: None,
        resend: form.is_on("resend"),
        dry_run: false,
    })
}

/// Shows the form with more lines.
pub(crate) async fn more(Posted { cx, form }: Posted) -> Answer {
    cx.tenant()?;
    cx.caller.need("messages:write")?;
    let lines = (lines_of(&form) + LINES).min(LINES_MAX);
    Ok(cx.page(page(&cx, &form.with("lines", lines.to_string()), &Faults::default())))
}

/// Shows the PDF as it would be sent.
pub(crate) async fn preview(Posted { cx, form }: Posted) -> Answer {
    cx.tenant()?;
    cx.caller.need("messages:write")?;
    let drawn = match read(&form) {
        Ok(new) => invoice_deliveries::preview(cx.engine(), &cx.caller, new).await,
        Err(error) => Err(error),
    };
    match drawn {
        Ok(bytes) => Ok(pdf(bytes)),
        Err(error) => again(&cx, &form, error),
    }
}

/// Sends the invoice. The same form sent twice sends once.
pub(crate) async fn send(Posted { cx, form }: Posted) -> Answer {
    cx.tenant()?;
    cx.caller.need("messages:write")?;
    let repeat = Repeat {
        key: IdempotencyKey::parse(&format!("console-{}", form.text("key"))).ok(),
        fingerprint: once::fingerprint("POST", PATH, form.text("invoice/number").as_bytes()),
    };
    let sent = match read(&form) {
        Ok(new) => invoice_deliveries::create(cx.engine(), &cx.caller, &repeat, new).await,
        Err(error) => Err(error),
    };
    match sent {
        Ok(_) => Ok(cx.done(PATH, "Accepted. This list shows what becomes of it.")),
        Err(error) => again(&cx, &form, error),
    }
}

fn again(cx: &Cx, form: &Form, error: Error) -> Result<Response, Fault> {
    if error.kind.status() >= 500 {
        return Err(error.into());
    }
    Ok(cx.again(page(cx, form, &Faults::of(&error))))
}
