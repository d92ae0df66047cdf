//! Invoices the operator writes to tenants: the tenant's own with their PDF, and everybody's for the operator, who issues, records payments and takes back. How they are written is
//! set here, too.

use axum::{extract::Path, response::Response};
use engine::{
    invoices::{
        self, InvoiceKind, InvoicePayment, InvoiceState, InvoiceView, InvoiceVoid, InvoicesQuery,
        compose::{Line, TaxRate},
        mailing::{self, MailState},
        printing,
        settings::{self, BillingSettings, BillingSettingsPatch, CreditTaxed, Seller, TaxRule},
    },
    keys::Caller,
    once::Repeat,
    patch::Patch,
};
use http::{HeaderValue, Uri, header};
use maud::{Markup, html};
use model::{InvoiceId, TenantId};
use serde::Deserialize;

use super::billing;
use crate::{
    cx::{Answer, Cx, Fault, Posted, Query},
    form::{self, Faults, Form},
    format,
    parts::{
        self, Control, Dialog, Field, Tone,
        field::check,
        link_button,
        table::{self, Filter, Pages, Row, Table, cell, figure},
    },
    shell::{self, Section},
};

pub(super) const PATH: &str = "/console/billing/invoices";
const OPERATOR_PATH: &str = "/console/operator/invoices";
const SETTINGS: &str = "/console/operator/invoices/settings";
const NAMES: [&str; 12] = [
    "seller/name",
    "seller/address",
    "seller/tax_id",
    "seller/email",
    "series",
    "credit_note_series",
    "due_days",
    "mail_tenant_id",
    "payment",
    "note",
    "taxes",
    "credit_taxed",
];

/// Whose invoices the pages are about.
struct Side {
    path: &'static str,
    section: Section,
    caller: Caller,
    /// Whether this person issues, records and takes back.
    may: bool,
    is_operators: bool,
}

impl Side {
    fn of(cx: &Cx, uri: &Uri) -> Result<Self, Fault> {
        if uri.path().starts_with(OPERATOR_PATH) {
            let caller = cx.outside();
            caller.need_operator("invoices:read")?;
            let may = cx.may_outside("invoices:write");
            return Ok(Self { path: OPERATOR_PATH, section: Section::Bills, caller, may, is_operators: true });
        }
        cx.tenant()?;
        let is_demo = cx.tenant.as_ref().is_some_and(|tenant| tenant.is_demo);
        let may = cx.caller.need_operator("invoices:write").is_ok() && !is_demo;
        Ok(Self { path: PATH, section: Section::Usage, caller: cx.caller.clone(), may, is_operators: false })
    }

    fn tabs(&self, cx: &Cx, here: &str) -> Markup {
        if self.is_operators { operators_tabs(here) } else { billing::tabs(cx, here) }
    }
}

/// The parts of what the operator bills and is paid.
pub(super) fn operators_tabs(here: &str) -> Markup {
    let all = [
        (OPERATOR_PATH, "Invoices"),
        (SETTINGS, "How they are written"),
        (super::payments::PATH, "How they are paid"),
        (super::callbacks::PAYMENTS, "Stripe's events"),
    ];
    parts::tabs("Invoices", &all, here)
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Wanted {
    state: Option<String>,
    cursor: Option<String>,
}

/// A state of an invoice by its word.
fn read_state(word: Option<&str>) -> Option<InvoiceState> {
    match word? {
        "draft" => Some(InvoiceState::Draft),
        "issued" => Some(InvoiceState::Issued),
        "paid" => Some(InvoiceState::Paid),
        "void" => Some(InvoiceState::Void),
        _ => None,
    }
}

/// Lists invoices.
pub(crate) async fn list(cx: Cx, uri: Uri, Query(wanted): Query<Wanted>) -> Answer {
    let side = Side::of(&cx, &uri)?;
    let state = read_state(wanted.state.as_deref());
    let query = InvoicesQuery { state, limit: None, cursor: wanted.cursor.clone() };
    let page = invoices::list(cx.engine(), &side.caller, &query).await?;
    let chosen = state.map(InvoiceState::as_str).unwrap_or_default();
    let words: &[&str] =
        if side.is_operators { &["draft", "issued", "paid", "void"] } else { &["issued", "paid", "void"] };
    let choices = words.iter().map(|word| ((*word).to_owned(), words_of(word).to_owned())).collect();
    let row = |invoice: &InvoiceView| Row {
        href: Some(format!("{}/{}", side.path, invoice.id)),
        cells: vec![
            cell(
                html! { span.strong { (name(invoice)) } @if side.is_operators { div.sub { span.break dir="auto" { (invoice.customer.name.as_deref().unwrap_or("–")) } } } },
            ),
            cell(html! { (invoice.month) }),
            cell(html! { span.wide-text dir="auto" { (plan(invoice)) } }),
            figure(&format::money(&invoice.total)),
            cell(badge(invoice)),
            cell(
                html! { @match invoice.due_at { Some(at) if invoice.state == InvoiceState::Issued => (cx.here().day(at)), _ => span.muted { "–" } } },
            ),
        ],
    };
    let body = html! {
        section.card aria-label="Invoices" {
            (table::filters(side.path, "bills", &[Filter::Choice { name: "state", label: "Any state", value: chosen, choices }]))
            div #bills {
                @if page.data.is_empty() {
                    @if chosen.is_empty() {
                        (parts::empty("file", "No invoices yet", if side.is_operators { "An hour after a month ends on a tenant's clock, its invoice is made from what was sent." } else { "Each month's invoice appears here an hour after the month has ended." }, None))
                    } @else { (parts::empty("search", "No invoice is in this state", "Choose another.", Some(link_button(side.path, "", None, "Clear the filter")))) }
                } @else {
                    (table::table(Table { caption: "Invoices, newest first", columns: &["Number", "Month", "Plan", "Total", "State", "Due"], rows: page.data.iter().map(row).collect() }))
                    (table::pager(&Pages { path: side.path, query: &[("state", chosen.to_owned())], is_first: wanted.cursor.is_none(), next: page.next_cursor.as_deref(), shown: page.data.len() }))
                }
            }
        }
    };
    Ok(cx.page(shell::Page {
        lead: Some(if side.is_operators {
            html! { "What tenants owe, and what they paid." }
        } else {
            html! { "What this installation's operator billed you." }
        }),
        tabs: Some(side.tabs(&cx, side.path)),
        ..shell::Page::new("Invoices", side.section, body)
    }))
}

fn words_of(word: &str) -> &str {
    match word {
        "draft" => "Draft",
        "issued" => "To be paid",
        "paid" => "Paid",
        _ => "Taken back",
    }
}

/// What people call an invoice.
fn name(invoice: &InvoiceView) -> &str {
    invoice.number.as_deref().unwrap_or("Draft")
}

fn badge(invoice: &InvoiceView) -> Markup {
    let tone = match invoice.state {
        InvoiceState::Draft | InvoiceState::Void => Tone::Plain,
        InvoiceState::Issued if invoice.is_overdue => Tone::Bad,
        InvoiceState::Issued => Tone::Info,
        InvoiceState::Paid => Tone::Good,
    };
    let word = if invoice.is_overdue { "Overdue" } else { words_of(invoice.state.as_str()) };
    html! { span.row { (parts::badge(tone, word)) @match invoice.kind {
        InvoiceKind::Invoice => {},
        InvoiceKind::Correction => (parts::tag("Correction")),
        InvoiceKind::CreditNote => (parts::tag("Credit note")),
    } } }
}

/// Shows an invoice.
pub(crate) async fn show(cx: Cx, uri: Uri, Path(id): Path<String>) -> Answer {
    let side = Side::of(&cx, &uri)?;
    let invoice = invoices::get(cx.engine(), &side.caller, super::id(&id)?).await?;
    let path = format!("{}/{}", side.path, invoice.id);
    let is_taken_back = invoice.state == InvoiceState::Void && invoice.kind != InvoiceKind::CreditNote;
    let again = if side.may && is_taken_back {
        invoices::in_place_of(cx.engine(), &side.caller, invoice.id).await?
    } else {
        None
    };
    let actions = html! {
        (buttons(&cx, &side, &invoice, &path))
        @if side.may && is_taken_back && again.is_none() { (parts::act(&format!("{path}/bill-again"), cx.csrf(), "", None, "Bill it again")) }
        (link_button(&format!("{path}/document"), "primary", Some("file"), "PDF"))
    };
    let currency = &invoice.total.currency;
    let money = |micros: i64| format!("{} {currency}", format::amount_of(micros, currency));
    let row = |line: &Line| Row {
        href: None,
        cells: vec![
            cell(html! { span.break dir="auto" { (line.description) } }),
            figure(&format::number(line.quantity)),
            figure(&line.unit_micros.map_or_else(|| "–".to_owned(), |micros| format::amount_of(micros, currency))),
            figure(&format::amount_of(line.amount_micros, currency)),
        ],
    };
    let day = |at: Option<model::Timestamp>| html! { @match at { Some(at) => (cx.here().day(at)), None => span.muted { "–" } } };
    let customer = &invoice.customer;
    let body = html! {
        @if let Some(reason) = &invoice.reason { (parts::notice(Tone::Info, "Why it was taken back", html! { p dir="auto" { (reason) } })) }
        section.tiles aria-label="Sums" {
            (parts::tile("Total", &format::money(&invoice.total), Some(badge(&invoice))))
            (parts::tile("Month", &invoice.month, Some(match &invoice.plan { Some(plan) => html! { "plan " span dir="auto" { (plan) } }, None => html! { (plan(&invoice)) } })))
            @if let Some(at) = invoice.due_at { (parts::tile("Due", &cx.here().date(at), invoice.paid_at.map(|at| html! { "paid " (cx.here().day(at)) }))) }
        }
        section.card aria-label="Lines" {
            header { h2 { "Lines" } span."muted small" { "in " (currency) } }
            div."body flush" {
                @if invoice.lines.is_empty() { p."muted padded" { "Nothing was charged for this month." } }
                @else { (table::table(Table { caption: "Lines of the invoice", columns: &["For", "How many", "Each", "Amount"], rows: invoice.lines.iter().map(row).collect() })) }
            }
            footer { dl."facts end-facts" {
                dt { "Net" } dd.num { (money(invoice.net.amount_micros)) }
                @for tax in &invoice.taxes { dt { (tax.name) " " (rate(tax.rate_ppm)) " %" } dd.num { (money(tax.amount_micros)) } }
                dt { "Total" } dd."num strong" { (money(invoice.total.amount_micros)) }
            } }
        }
        div."columns even" {
            (parts::card("From and to", None, parts::facts([
                ("From", html! { span dir="auto" { (if invoice.seller.name.is_empty() { "–" } else { &invoice.seller.name }) } @for line in &invoice.seller.address { br; span dir="auto" { (line) } } }),
                ("To", html! { span dir="auto" { (customer.name.as_deref().unwrap_or("–")) } @for line in &customer.address { br; span dir="auto" { (line) } } @if let Some(country) = &customer.country { br; (country) } }),
                ("Tax number", html! { (customer.tax_id.as_deref().unwrap_or("–")) }),
                ("Mailed", mailed(&cx, &invoice)),
            ])))
            (parts::card("Dates", None, parts::facts([
                ("Bills from", day(Some(invoice.starts_at))),
                ("Until", day(Some(invoice.ends_at))),
                ("Issued", day(invoice.issued_at)),
                ("Paid", html! { (day(invoice.paid_at)) @if let Some(reference) = &invoice.payment_reference { div."muted small" dir="auto" { (reference) } } }),
            ].into_iter().chain(replaced(side.path, &invoice)).chain(again.map(|other| ("Billed again", html! { a href=(format!("{}/{}", side.path, other.id)) { (name(&other)) } }))))))
        }
        @if !invoice.payment_details.is_empty() || invoice.note.is_some() {
            (parts::card(if invoice.payment_details.is_empty() { "Note" } else { "How to pay" }, None, html! { div.stack {
                @if !invoice.payment_details.is_empty() { p { @for line in &invoice.payment_details { span dir="auto" { (line) } br; } } }
                @if let Some(note) = &invoice.note { p.muted dir="auto" { (note) } }
            } }))
        }
    };
    let above: &[(&str, &str)] = if side.is_operators { &[(OPERATOR_PATH, "Invoices")] } else { &[(PATH, "Invoices")] };
    Ok(cx.page(shell::Page { above, actions: Some(actions), ..shell::Page::new(name(&invoice), side.section, body) }))
}

/// The invoice that was taken back in whose place it stands.
fn replaced(path: &str, invoice: &InvoiceView) -> Option<(&'static str, Markup)> {
    let of = invoice.replaces_id?;
    Some(("In place of", html! { a href=(format!("{path}/{of}")) { "the one taken back" } }))
}

/// The plan it bills.
fn plan(invoice: &InvoiceView) -> &str {
    invoice.plan.as_deref().unwrap_or("By price list")
}

/// How it went out to the customer.
fn mailed(cx: &Cx, invoice: &InvoiceView) -> Markup {
    let at = html! { @if let Some(at) = invoice.mailed_at { " " (cx.here().at(at)) } };
    html! {
        @if let Some(email) = &invoice.customer.email { span.break { (email) } " " }
        @match invoice.mail.as_ref() {
            None => span.muted { "not by mail" },
            Some(mail) => {
                @match mail.state {
                    MailState::Waiting => span.muted { "not yet" },
                    MailState::Accepted => { "on its way since" (at) },
                    MailState::Sent => { "sent" (at) },
                    MailState::Delivered => { "arrived, sent" (at) },
                    MailState::Failed if invoice.state == InvoiceState::Draft => (parts::badge(Tone::Bad, "Cannot be printed")),
                    MailState::Failed => (parts::badge(Tone::Bad, "Did not arrive")),
                }
                @if let Some(why) = &mail.failure { div."muted small" dir="auto" { (why.detail) } }
                @if let (Some(at), MailState::Failed) = (mail.next_try_at, mail.state) { div."muted small" { "Tried again " (cx.here().at(at)) "." } }
            }
        }
    }
}

/// What the operator can do about an invoice.
fn buttons(cx: &Cx, side: &Side, invoice: &InvoiceView, path: &str) -> Markup {
    let (form, none, csrf) = (Form::default(), Faults::default(), cx.csrf());
    let is_bill = invoice.kind != InvoiceKind::CreditNote;
    html! {
        @if side.may {
            @if is_bill && invoice.state != InvoiceState::Void {
                button."button danger" type="button" data-opens="void" { "Take back" }
                (parts::dialog(&Dialog { id: "void", title: "Take this invoice back?", action: &format!("{path}/void"), csrf, yes: "Take it back", is_dangerous: true,
                    body: html! {
                        p.muted { @if invoice.state == InvoiceState::Draft { "The draft is dropped." } @else { "A credit note is written for all of it." } }
                        (Field::text("reason", "Reason").required().help("It stands on the credit note.").draw(&form, &none))
                        label.check { input type="checkbox" name="bills_again" value="true"; span { "Bill it again: a draft in its place says the same, to the customer and with the tax of now" } }
                        p."muted small" { "Without that, what it bills is given away and stands on no other invoice, unless you bill it again later." }
                    } }))
            }
            @if invoice.state == InvoiceState::Draft {
                (parts::act(&format!("{path}/renew"), csrf, "", None, "Renew customer and tax"))
                (parts::act(&format!("{path}/issue"), csrf, "", None, "Issue"))
            }
            @if matches!(invoice.state, InvoiceState::Issued | InvoiceState::Paid) { (parts::act(&format!("{path}/send"), csrf, "", Some("send"), "Send")) }
            @if invoice.state == InvoiceState::Issued {
                button.button type="button" data-opens="pay" { "Record payment" }
                (parts::dialog(&Dialog { id: "pay", title: "Record a payment", action: &format!("{path}/pay"), csrf, yes: "Record it", is_dangerous: false,
                    body: html! { p.muted { (format::money(&invoice.total)) " arrived." } (Field::text("reference", "Reference").required().example("bank transfer 2026-12-09").draw(&form, &none)) } }))
            }
        }
    }
}

/// Does what one of the operator's buttons says.
pub(crate) async fn act(uri: Uri, Path((id, action)): Path<(String, String)>, Posted { cx, form }: Posted) -> Answer {
    let side = Side::of(&cx, &uri)?;
    let id: InvoiceId = super::id(&id)?;
    let (engine, caller, once) = (cx.engine(), &side.caller, &Repeat::NONE);
    let (done, said) = match action.as_str() {
        "renew" => {
            (invoices::renew(engine, caller, once, id).await, "The draft has the customer, tax and seller of now.")
        }
        "issue" => (invoices::issue(engine, caller, once, id).await, "The invoice was issued."),
        "send" => (mailing::send(engine, caller, once, id).await, "The invoice is on its way."),
        "pay" => {
            let payment = InvoicePayment { reference: form.text("reference").to_owned(), paid_at: None };
            (invoices::pay(engine, caller, once, id, payment).await, "The payment was recorded.")
        }
        "void" => {
            let bills_again = form.is_on("bills_again");
            let why = InvoiceVoid { reason: form.text("reason").to_owned(), bills_again };
            let said = if bills_again {
                "The invoice was taken back, and a draft stands in its place."
            } else {
                "The invoice was taken back."
            };
            (invoices::void(engine, caller, once, id, why).await, said)
        }
        "bill-again" => (invoices::bill_again(engine, caller, once, id).await, "A draft stands in its place."),
        _ => return Err(super::no_page().into()),
    };
    let path = format!("{}/{id}", side.path);
    match done {
        Ok(_) => Ok(cx.done(&path, said)),
        Err(error) if matches!(error.kind.status(), 409 | 422) => {
            let lines: Vec<String> = Faults::of(&error).rest::<&str>(&[]).collect();
            Ok(cx.refused(&path, &lines.join("; ")))
        }
        Err(error) => Err(error.into()),
    }
}

/// Hands out an invoice as PDF.
pub(crate) async fn document(cx: Cx, uri: Uri, Path(id): Path<String>) -> Answer {
    let side = Side::of(&cx, &uri)?;
    Ok(pdf(printing::document(cx.engine(), &side.caller, super::id(&id)?).await?))
}

/// A PDF of this name, to be looked at.
pub(super) fn pdf((name, bytes): (String, Vec<u8>)) -> Response {
    let mut response = Response::new(bytes.into());
    let disposition = HeaderValue::from_str(&format!("inline; filename=\"{name}\""));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/pdf"));
    headers.insert(header::CONTENT_DISPOSITION, disposition.unwrap_or(HeaderValue::from_static("inline")));
    response
}

/// Millionths as percent: `19`, `7.7`.
pub(super) fn rate(ppm: i64) -> String {
    let text = format!("{}.{:04}", ppm / 10_000, ppm % 10_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Reads a tax as a name and percent: `VAT 19`.
pub(super) fn read_rate(text: &str) -> Option<TaxRate> {
    let (name, percent) = text.trim().trim_end_matches('%').trim_end().rsplit_once(char::is_whitespace)?;
    // Percent with four decimals are millionths: the amount's millionths are a hundred times that.
    let micros = format::read_amount(percent).filter(|micros| micros % 100 == 0)?;
    Some(TaxRate { name: name.trim().to_owned(), rate_ppm: micros / 100 })
}

/// The lines of a field that say something.
pub(super) fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

/// Shows how invoices are written.
pub(crate) async fn settings_page(cx: Cx) -> Answer {
    let caller = cx.outside();
    let settings = settings::get(cx.engine().parts(), &caller).await?;
    Ok(cx.page(form_page(&cx, &stored(&settings), &Faults::default())))
}

fn stored(settings: &BillingSettings) -> Form {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let tax =
        |rule: &TaxRule| format!("{} {} {}", rule.country.as_deref().unwrap_or("*"), rule.name, rate(rule.rate_ppm));
    let mut form = Form::of([
        ("seller/name", settings.seller.name.clone()),
        ("seller/address", settings.seller.address.join("\n")),
        ("seller/tax_id", text(&settings.seller.tax_id)),
        ("seller/email", text(&settings.seller.email)),
        ("series", settings.series.clone()),
        ("credit_note_series", settings.credit_note_series.clone()),
        ("due_days", settings.due_days.to_string()),
        ("mail_tenant_id", settings.mail_tenant_id.map(|id| id.to_string()).unwrap_or_default()),
        ("payment", settings.payment.join("\n")),
        ("note", text(&settings.note)),
        ("taxes", settings.taxes.iter().map(tax).collect::<Vec<_>>().join("\n")),
        (
            "credit_taxed",
            match settings.credit_taxed {
                CreditTaxed::Never => "never".to_owned(),
                CreditTaxed::AtPurchase => "at_purchase".to_owned(),
            },
        ),
    ]);
    for (name, is) in [("issues_by_itself", settings.issues_by_itself), ("sends_by_itself", settings.sends_by_itself)] {
        if is {
            form.set(name, "true");
        }
    }
    form
}

fn form_page<'a>(cx: &Cx, form: &Form, faults: &Faults) -> shell::Page<'a> {
    let may = cx.may_outside("invoices:write");
    let body = html! {
        section.card aria-label="How invoices are written" {
            form method="post" action=(SETTINGS) data-guard {
                (form::token(cx.csrf()))
                fieldset disabled[!may] { div.body { div.form {
                    (shell::form_faults(faults, &NAMES))
                    h2.strong { "Who writes them" }
                    div.fields-2 {
                        (Field::text("seller/name", "Name").draw(form, faults))
                        (Field::text("seller/email", "E-mail for questions").draw(form, faults))
                        (Field::text("seller/tax_id", "Tax number").draw(form, faults))
                    }
                    (Field::text("seller/address", "Address").with(Control::Area { rows: 3 }).help("Line by line.").draw(form, faults))
                    h2.strong { "Numbers and dates" }
                    div.fields-3 {
                        (Field::text("series", "Numbers begin with").required().draw(form, faults))
                        (Field::text("credit_note_series", "Those of credit notes").required().draw(form, faults))
                        (Field::text("due_days", "Days to pay").required().with(Control::Number).draw(form, faults))
                    }
                    (check("issues_by_itself", "true", form.is_on("issues_by_itself"), "Issued when they are made", "Otherwise each waits as a draft for somebody to issue it."))
                    (check("sends_by_itself", "true", form.is_on("sends_by_itself"), "Sent when they are issued", "To the customer's e-mail address."))
                    (Field::text("mail_tenant_id", "Sent as").example("ten_…").help("A tenant of your own, through whose default e-mail account they leave and with whose branding they are printed.").draw(form, faults))
                    h2.strong { "What stands on them" }
                    (Field::text("payment", "How to pay").with(Control::Area { rows: 3 }).example("IBAN DE02 1203 0000 0000 2020 51").help("Line by line.").draw(form, faults))
                    (Field::text("note", "Note").with(Control::Area { rows: 2 }).draw(form, faults))
                    (Field::text("taxes", "Taxes").with(Control::Area { rows: 3 }).example("DE VAT 19\n* VAT 0").help("One on each line: the customer's country or * for every other, a name, and percent.").draw(form, faults))
                    (Field::text("credit_taxed", "Credit that is bought").plain().with(Control::Choice(vec![("never", "Is sold without tax".to_owned()), ("at_purchase", "Is sold with these taxes on top".to_owned())])).help("Invoices take off what was paid out of credit before tax. So credit is taxed when it is sold, or not at all.").draw(form, faults))
                } } }
                @if may { footer { div.end { button."button primary" type="submit" { "Save" } } } }
            }
        }
    };
    shell::Page {
        lead: Some(html! { "It counts for invoices made from now on; those that are there never change." }),
        tabs: Some(parts::tabs(
            "Invoices",
            &[(OPERATOR_PATH, "Invoices"), (SETTINGS, "How they are written")],
            SETTINGS,
        )),
        is_narrow: true,
        ..shell::Page::new("How invoices are written", Section::Bills, body)
    }
}

/// Reads the form of how invoices are written.
fn read(form: &Form, faults: &mut Faults) -> BillingSettingsPatch {
    let text = |name: &str| form.filled(name).map(str::to_owned);
    let due_days = match form.text("due_days").parse() {
        Ok(days) => Patch::Set(days),
        Err(_) => {
            faults.add("due_days", "write a whole number");
            Patch::Keep
        }
    };
    let mail_tenant_id = match form.filled("mail_tenant_id").map(str::parse::<TenantId>) {
        None => Patch::Clear,
        Some(Ok(id)) => Patch::Set(id),
        Some(Err(_)) => {
            faults.add("mail_tenant_id", "write a tenant's id, such as ten_01K9…");
            Patch::Keep
        }
    };
    let mut taxes = Vec::new();
    for line in lines(form.text("taxes")) {
        let read = line.split_once(char::is_whitespace).and_then(|(country, rest)| Some((country, read_rate(rest)?)));
        match read {
            Some((country, TaxRate { name, rate_ppm })) => {
                let country = (country != "*").then(|| country.to_uppercase());
                taxes.push(TaxRule { country, name, rate_ppm });
            }
            None => faults.add("taxes", format!("“{line}” cannot be read; write as in DE VAT 19")),
        }
    }
    BillingSettingsPatch {
        seller: Patch::Set(Seller {
            name: form.text("seller/name").to_owned(),
            address: lines(form.text("seller/address")),
            tax_id: text("seller/tax_id"),
            email: text("seller/email"),
        }),
        series: Patch::Set(form.text("series").to_owned()),
        credit_note_series: Patch::Set(form.text("credit_note_series").to_owned()),
        due_days,
        issues_by_itself: Patch::Set(form.is_on("issues_by_itself")),
        sends_by_itself: Patch::Set(form.is_on("sends_by_itself")),
        mail_tenant_id,
        payment: Patch::Set(lines(form.text("payment"))),
        note: text("note").map_or(Patch::Clear, Patch::Set),
        taxes: Patch::Set(taxes),
        credit_taxed: match form.text("credit_taxed") {
            "at_purchase" => Patch::Set(CreditTaxed::AtPurchase),
            "never" => Patch::Set(CreditTaxed::Never),
            _ => Patch::Keep,
        },
    }
}

/// Changes how invoices are written.
pub(crate) async fn save_settings(Posted { cx, form }: Posted) -> Answer {
    let caller = cx.outside();
    caller.need_operator("invoices:write")?;
    let mut faults = Faults::default();
    let change = read(&form, &mut faults);
    if faults.is_empty() {
        match settings::patch(cx.engine().parts(), &caller, change).await {
            Ok(_) => return Ok(cx.done(SETTINGS, "Saved.")),
            Err(error) if matches!(error.kind.status(), 409 | 422) => faults = Faults::of(&error),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(cx.again(form_page(&cx, &form, &faults)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taxes_are_written_as_a_name_and_percent() {
        let check = |text: &str, expected: Option<(&str, i64)>| {
            let read = read_rate(text);
            assert_eq!(read.as_ref().map(|tax| (tax.name.as_str(), tax.rate_ppm)), expected, "{text}");
        };
        check("VAT 19", Some(("VAT", 190_000)));
        check("Sales tax 7.25 %", Some(("Sales tax", 72_500)));
        check("VAT", None);
        check("VAT much", None);
        check("VAT 0.000001", None);
        assert_eq!([rate(190_000), rate(72_500), rate(0)], ["19", "7.25", "0"]);
        let settings = BillingSettings {
            taxes: vec![
                TaxRule { country: Some("DE".to_owned()), name: "VAT".to_owned(), rate_ppm: 190_000 },
                TaxRule { country: None, name: "VAT".to_owned(), rate_ppm: 0 },
            ],
            credit_taxed: CreditTaxed::AtPurchase,
            ..BillingSettings::default()
        };
        let mut faults = Faults::default();
        let again = read(&stored(&settings), &mut faults);
        assert!(faults.is_empty() && again.taxes == Patch::Set(settings.taxes));
        assert_eq!(again.credit_taxed, Patch::Set(CreditTaxed::AtPurchase));
    }
}
