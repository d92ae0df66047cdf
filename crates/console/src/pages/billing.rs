//! What a tenant has, where it went, and what messages cost: the credit with its statement, and the prices that count. The operator records purchases and corrections here.

use axum::extract::Path;
use engine::{
    Error,
    invoices::compose::TaxRate,
    money::{
        BillingMode,
        credits::{
            self, CreditEntry, CreditGrant, Credits, CreditsPatch, NewAdjustment, NewGrant, NewPurchase, StatementQuery,
        },
        prices::{self, PriceListSummary, TenantPrices},
        purchases::NewTax,
    },
    once::{IdempotencyKey, Repeat, fingerprint},
    page::Page,
    patch::Patch,
};
use http::{HeaderValue, header};
use maud::{Markup, html};
use model::{Money, PurchaseId};
use serde::Deserialize;

use super::{prices::rows_table, purchases};
use crate::{
    cx::{Answer, Cx, Posted, Query},
    form::{Faults, Form},
    format, pages,
    parts::{
        self, Control, Dialog, Field, Tone,
        field::check,
        link_button,
        table::{self, Pages, Row, Table, cell},
    },
    shell::{self, Section},
};

pub(super) const PATH: &str = "/console/billing";
/// Movements on a page.
const ROWS: u32 = 50;
/// Promotional credit shown beside them: the newest.
const GRANTS: u32 = 20;

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Wanted {
    cursor: Option<String>,
}

/// The parts of the place.
pub(super) fn tabs(cx: &Cx, here: &str) -> Markup {
    let all = [
        ("/console/usage", "Usage", "usage:read"),
        (super::subscription::PATH, "Plan", "plans:read"),
        (super::bills::PATH, "Invoices", "invoices:read"),
        (PATH, "Credit", "credits:read"),
        (purchases::PATH, "Purchases", "purchases:read"),
        (PRICES, "Prices", "prices:read"),
        (super::reconciliations::PATH, "Reconciliation", "usage:read"),
    ];
    let mine: Vec<(&str, &str)> =
        all.iter().filter(|(.., scope)| cx.may(scope)).map(|(path, name, _)| (*path, *name)).collect();
    parts::tabs("Usage and billing", &mine, here)
}

const PRICES: &str = "/console/billing/prices";
const STATEMENT: &str = "/console/billing/statement.csv";

/// Shows the credit and its statement.
pub(crate) async fn show(cx: Cx, Query(wanted): Query<Wanted>) -> Answer {
    cx.tenant()?;
    let credits = credits::get(cx.engine().parts(), &cx.caller, false).await?;
    let entries = credits::entries(cx.engine().parts(), &cx.caller, Some(ROWS), wanted.cursor.as_deref()).await?;
    let grants = credits::grants(cx.engine().parts(), &cx.caller, Some(GRANTS), None).await?.data;
    let can_pay = purchases::can_pay(&cx).await?;
    let body = html! {
        (numbers(&credits))
        @if credits.mode == BillingMode::None && credits.entries == 0 {
            section.card aria-label="Statement" {
                (parts::empty("card", "Messages are not charged", "The operator does not bill this tenant for its messages. Once it does, every movement of credit stands here.", None))
            }
        } @else { (statement(&cx, &entries, wanted.cursor.is_none())) }
        @if !grants.is_empty() { (promotional(&cx, &grants)) }
    };
    Ok(cx.page(shell::Page {
        lead: Some(html! { "Every message's price is set aside when it is accepted, and charged once it was sent." }),
        actions: Some(actions(&cx, &credits, can_pay)),
        tabs: Some(tabs(&cx, PATH)),
        is_live: true,
        ..shell::Page::new("Credit", Section::Usage, body)
    }))
}

const fn mode_words(mode: BillingMode) -> &'static str {
    match mode {
        BillingMode::None => "Not charged",
        BillingMode::Prepaid => "Prepaid",
        BillingMode::Postpaid => "Paid afterwards",
    }
}

fn numbers(credits: &Credits) -> Markup {
    let note = |words: &'static str| Some(html! { (words) });
    let promotional = Some(&credits.promotional).filter(|money| money.amount_micros > 0);
    let mode = html! { (mode_words(credits.mode)) @if let Some(more) = promotional { ", and " (format::money(more)) " promotional" } };
    html! {
        @if credits.available.amount_micros < 0 && credits.mode == BillingMode::Prepaid { (parts::notice(Tone::Bad, "There is a debt", html! { p { "Credit is below zero, because a payment was disputed or given back after it was spent. Nothing is accepted before it is paid." } })) }
        @if let Some(why) = credits.top_up_state.as_ref().and_then(|state| state.reason.as_ref()) { (parts::notice(Tone::Warn, "Credit is not bought by itself", html! { p { (why) } })) }
        @for difference in &credits.differences { (parts::notice(Tone::Bad, "The books do not add up", html! { p { (difference) } })) }
        section.tiles #credit aria-label="Credit" hx-get=(PATH) hx-trigger="news from:body" hx-select="#credit" hx-swap="outerHTML" {
            (parts::tile("Available", &format::money(&credits.available), Some(mode)))
            (parts::tile("Set aside", &format::money(&credits.reserved), note("for messages under way")))
            (parts::tile("Spent", &format::money(&credits.spent), note("on messages that were sent")))
            (parts::tile("Bought", &format::money(&credits.purchased), note("so far")))
            (parts::tile("Adjusted", &format::money(&credits.adjusted), note("gifts and corrections")))
        }
    }
}

/// What a kind of movement means.
fn kind(entry: &CreditEntry) -> Markup {
    let (tone, words) = match entry.kind.as_str() {
        "purchase" => (Tone::Good, "Bought"),
        "adjustment" => (Tone::Special, "Adjusted"),
        "reserve" => (Tone::Plain, "Set aside"),
        "settle" => (Tone::Info, "Charged"),
        "release" => (Tone::Plain, "Given back"),
        "correct" => (Tone::Info, "Put right"),
        "grant" => (Tone::Special, "Promotion"),
        "expire" => (Tone::Plain, "Promotion ended"),
        "refund" => (Tone::Warn, "Paid back"),
        "dispute" => (Tone::Bad, "Disputed"),
        "dispute_returned" => (Tone::Good, "Dispute returned"),
        "refund_failed" => (Tone::Bad, "Paying back failed"),
        other => return parts::badge(Tone::Plain, &format::words(other)),
    };
    parts::badge(tone, words)
}

/// The amount as it changes what can be spent; a charge takes from what was set aside.
fn signed(entry: &CreditEntry) -> String {
    let is_out = matches!(entry.from.as_str(), "available" | "promotional");
    let amount = Money {
        amount_micros: if is_out { -entry.amount.amount_micros } else { entry.amount.amount_micros },
        currency: entry.amount.currency.clone(),
    };
    format::money(&amount)
}

fn statement(cx: &Cx, page: &Page<CreditEntry>, is_first: bool) -> Markup {
    // What Stripe's word brought names the purchase first.
    let purchase = |entry: &CreditEntry| {
        let first = entry.reference.as_deref()?.split(' ').next()?;
        first.parse::<PurchaseId>().ok()
    };
    let row = |entry: &CreditEntry| Row {
        href: match (&entry.message_id, purchase(entry)) {
            (Some(id), _) if entry.messages == Some(1) => Some(format!("/console/messages/{id}")),
            (Some(_), _) => None,
            (None, Some(id)) => Some(format!("{}/{id}", purchases::PATH)),
            (None, None) => None,
        },
        cells: vec![
            cell(html! { (format::number(entry.number)) }),
            cell(kind(entry)),
            table::figure(&signed(entry)),
            table::figure(&format::amount_of(entry.available_after_micros, &entry.amount.currency)),
            table::figure(&format::amount_of(entry.reserved_after_micros, &entry.amount.currency)),
            cell(html! { @match (&entry.reference, &entry.message_id) {
                (Some(reference), _) if purchase(entry).is_some() => span title=(reference) { "Paid online" },
                (Some(reference), _) => span.wide-text dir="auto" title=(reference) { (reference) },
                (None, Some(_)) => {
                    @match entry.messages {
                        Some(messages) if messages > 1 => { (format::number(messages)) " messages" }
                        _ => "A message",
                    }
                }
                (None, None) => span.muted { "–" },
            } }),
            cell(cx.here().at(entry.at)),
        ],
    };
    let export = link_button(STATEMENT, "small", Some("file"), "Statement as CSV");
    parts::card_flush(
        "Statement",
        (!page.data.is_empty()).then_some(export),
        html! {
            @if page.data.is_empty() {
                (parts::empty("card", "No movements yet", "Purchases, and what messages cost, appear here.", None))
            } @else {
                (table::table(Table { caption: "Movements of credit, newest first", columns: &["No.", "What", "Amount", "Available after", "Set aside after", "For", "When"], rows: page.data.iter().map(row).collect() }))
                (table::pager(&Pages { path: PATH, query: &[], is_first, next: page.next_cursor.as_deref(), shown: page.data.len() }))
            }
        },
    )
}

/// What was given for a time, and what is left of it.
fn promotional(cx: &Cx, grants: &[CreditGrant]) -> Markup {
    let row = |grant: &CreditGrant| Row {
        href: None,
        cells: vec![
            cell(html! { span."strong wide-text" dir="auto" title=(grant.reference) { (grant.reference) } }),
            table::figure(&format::money(&grant.amount)),
            table::figure(&format::money(&grant.left)),
            cell(
                html! { (cx.here().day(grant.expires_at)) @if grant.expires_at <= cx.here().now { " " (parts::badge(Tone::Plain, "Over")) } },
            ),
        ],
    };
    let columns = &["Why", "Given", "Left", "Ends"];
    let rows = grants.iter().map(row).collect();
    parts::card_flush(
        "Promotional credit",
        Some(html! { span."muted small" { "Spent before what was paid for" } }),
        table::table(Table { caption: "Promotional credit, newest first", columns, rows }),
    )
}

fn actions(cx: &Cx, credits: &Credits, can_pay: bool) -> Markup {
    let is_demo = cx.tenant.as_ref().is_some_and(|tenant| tenant.is_demo);
    let may = cx.caller.need_operator("credits:write").is_ok() && !is_demo;
    let (form, none, csrf) = (Form::default(), Faults::default(), cx.csrf());
    let key = || html! { input type="hidden" name="key" value=(cx.engine().ports.ids.token(24)); };
    let currency = &credits.available.currency;
    let amount = Field::text("amount", "Amount").required().example("50.00");
    html! {
        @if may {
            button.button type="button" data-opens="mode" { "How it pays" }
            button.button type="button" data-opens="adjust" { "Adjust" }
            button.button type="button" data-opens="grant" { "Give promotional credit" }
            button.button.primary[!can_pay] type="button" data-opens="purchase" { "Record a purchase" }
            (parts::dialog(&Dialog { id: "purchase", title: "Record a purchase", action: &format!("{PATH}/purchase"), csrf, yes: "Record it", is_dangerous: false,
                body: html! {
                    (key())
                    p.muted { "Credit the tenant paid for outside of Tidings, in " (currency) ". Once recorded it can be spent at once." }
                    (amount.draw(&form, &none))
                    (Field::text("tax", "Tax").example("VAT 19").help("On top of the amount. Empty: as your billing settings say. Otherwise a name and percent, or none.").draw(&form, &none))
                    (Field::text("reference", "Reference").required().example("bank transfer 2026-11-28").help("So that somebody finds the payment again.").draw(&form, &none))
                } }))
            (parts::dialog(&Dialog { id: "adjust", title: "Adjust the credit", action: &format!("{PATH}/adjust"), csrf, yes: "Adjust it", is_dangerous: false,
                body: html! {
                    (key())
                    p.muted { "In " (currency) ". An amount below zero takes; of prepaid credit never more than is available, unless you say so." }
                    (Field::text("adjust_amount", "Amount").required().example("−2.50").draw(&form, &none))
                    (Field::text("reason", "Reason").required().draw(&form, &none))
                    (check("may_overdraw", "true", false, "Also what was spent already", "Prepaid credit may go below zero by it."))
                } }))
            (parts::dialog(&Dialog { id: "grant", title: "Give promotional credit", action: &format!("{PATH}/grant"), csrf, yes: "Give it", is_dangerous: false,
                body: html! {
                    (key())
                    p.muted { "In " (currency) ". It is spent before what was paid for; what is left of it is taken back when it ends." }
                    (Field::text("grant_amount", "Amount").required().example("10.00").draw(&form, &none))
                    (Field::text("grant_until", "Ends").required().with(Control::When).draw(&form, &none))
                    (Field::text("grant_reason", "Why").required().example("Welcome").draw(&form, &none))
                } }))
            (parts::dialog(&Dialog { id: "mode", title: "How does this tenant pay?", action: &format!("{PATH}/mode"), csrf, yes: "Save", is_dangerous: false,
                body: html! {
                    p.muted { "Counts for messages accepted from now on; the others keep their price." }
                    (Field::text("mode", "It pays").plain().with(Control::Choice(vec![("none", "Nothing: messages are not charged".into()), ("prepaid", "In advance: nothing is accepted without credit".into()), ("postpaid", "Afterwards, by monthly invoices: credit may go below zero".into())]))
                        .draw(&Form::of([("mode", credits.mode.as_str())]), &none))
                } }))
        }
        @if can_pay { (link_button(purchases::NEW, "primary", Some("card"), "Buy credit")) }
    }
}

/// What makes the same form sent twice one movement: the key its page gave it, and what it says.
fn repeat(action: &str, form: &Form) -> Repeat {
    let fields = [
        "amount",
        "tax",
        "reference",
        "adjust_amount",
        "reason",
        "may_overdraw",
        "grant_amount",
        "grant_until",
        "grant_reason",
    ];
    let said = fields.map(|name| form.text(name)).join("\n");
    Repeat {
        key: IdempotencyKey::parse(&format!("console-{}", form.text("key"))).ok(),
        fingerprint: fingerprint("POST", &format!("{PATH}/{action}"), said.as_bytes()),
    }
}

/// Reads the tax somebody says was paid on credit; nothing for that of the billing settings.
fn read_tax(text: &str) -> Result<Patch<NewTax>, Error> {
    match text.trim() {
        "" => Ok(Patch::Keep),
        none if none.eq_ignore_ascii_case("none") => Ok(Patch::Clear),
        text => super::bills::read_rate(text)
            .map(|TaxRate { name, rate_ppm }| Patch::Set(NewTax { name, rate_ppm, amount_micros: None }))
            .ok_or_else(|| Error::invalid("/tax", "write a name and percent such as VAT 19, or none")),
    }
}

/// Does what one of the operator's buttons says.
pub(crate) async fn act(
    axum::extract::Path(action): axum::extract::Path<String>,
    Posted { cx, form }: Posted,
) -> Answer {
    cx.tenant()?;
    let (parts, caller) = (cx.engine().parts(), &cx.caller);
    caller.need_operator("credits:write")?;
    let amount = |name: &str| {
        format::read_amount(form.text(name)).ok_or_else(|| {
            Error::invalid(
                format!("/{name}"),
                "write an amount such as 12.50, without a comma between thousands and with at most six decimals",
            )
        })
    };
    let once = repeat(&action, &form);
    let done = match action.as_str() {
        "purchase" => match (amount("amount"), read_tax(form.text("tax"))) {
            (Ok(amount_micros), Ok(tax)) => {
                let new = NewPurchase { amount_micros, tax, reference: form.text("reference").to_owned() };
                credits::purchase(parts, caller, &once, new).await.map(|_| "The purchase was recorded.")
            }
            (Err(error), _) | (_, Err(error)) => Err(error),
        },
        "adjust" => match amount("adjust_amount") {
            Ok(amount_micros) => {
                let new = NewAdjustment {
                    amount_micros,
                    reason: form.text("reason").to_owned(),
                    may_overdraw: form.is_on("may_overdraw"),
                };
                credits::adjust(parts, caller, &once, new).await.map(|_| "The credit was adjusted.")
            }
            Err(error) => Err(error),
        },
        "grant" => match (amount("grant_amount"), cx.here().read_local(form.text("grant_until"))) {
            (Ok(amount_micros), Some(expires_at)) => {
                let new = NewGrant { amount_micros, expires_at, reference: form.text("grant_reason").to_owned() };
                credits::grant(parts, caller, &once, new).await.map(|_| "The promotional credit was given.")
            }
            (Err(error), _) => Err(error),
            (_, None) => Err(Error::invalid("/grant_until", "say when it ends")),
        },
        "mode" => {
            let mode = match form.text("mode") {
                "none" => BillingMode::None,
                "prepaid" => BillingMode::Prepaid,
                "postpaid" => BillingMode::Postpaid,
                _ => return Err(pages::no_page().into()),
            };
            credits::patch(parts, caller, CreditsPatch { mode: Some(mode), ..CreditsPatch::default() })
                .await
                .map(|_| "Saved. It counts from the next message on.")
        }
        _ => Err(pages::no_page()),
    };
    match done {
        Ok(said) => Ok(cx.done(PATH, said)),
        Err(error) if matches!(error.kind.status(), 409 | 422) => {
            let lines: Vec<String> = Faults::of(&error).rest::<&str>(&[]).collect();
            Ok(cx.refused(PATH, &lines.join("; ")))
        }
        Err(error) => Err(error.into()),
    }
}

/// Hands out the statement as a table for spreadsheets. What does not fit is handed out by itself: the last row of each file says where the next begins.
pub(crate) async fn export(cx: Cx, Query(wanted): Query<Wanted>) -> Answer {
    let asked = StatementQuery { cursor: wanted.cursor, ..StatementQuery::default() };
    let mut file = credits::statement(cx.engine().parts(), &cx.caller, &asked).await?;
    if let Some(cursor) = file.next_cursor {
        let next = format!("{}{STATEMENT}?cursor={cursor}", cx.engine().config.public_url);
        file.body.extend_from_slice(format!("There is more: {next}\r\n").as_bytes());
    }
    let mut response = axum::response::Response::new(file.body.into());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/csv; charset=utf-8"));
    headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment; filename=\"statement.csv\""));
    Ok(response)
}

/// Shows the prices that count for the tenant.
pub(crate) async fn price_list(cx: Cx) -> Answer {
    cx.tenant()?;
    let TenantPrices { currency, current, coming } = prices::of_tenant(cx.engine().parts(), &cx.caller).await?;
    let row = |list: &PriceListSummary| Row {
        href: Some(format!("{PRICES}/{}", list.version)),
        cells: vec![
            cell(html! { span.strong { "From " (cx.here().at(list.valid_from)) } }),
            table::number(list.row_count),
            cell(html! { span.wide-text dir="auto" { (list.note) } }),
        ],
    };
    let body = html! {
        @match &current {
            Some(list) => (parts::card_flush(&format!("Prices in {currency}"), Some(html! { span."muted small" { "Since " (cx.here().at(list.valid_from)) } }), rows_table(list))),
            None => section.card aria-label="Prices" { (parts::empty("card", &format!("No prices in {currency}"), "The operator has not published a price list in this tenant's currency.", None)) },
        }
        @if !coming.is_empty() {
            (parts::card_flush("From later on", None, table::table(Table { caption: "Price lists to come, soonest first", columns: &["Counts", "Prices", "Note"], rows: coming.iter().map(row).collect() })))
        }
    };
    Ok(cx.page(shell::Page {
        lead: Some(html! { "What a message costs: the row that fits its recipient most closely counts." }),
        tabs: Some(tabs(&cx, PRICES)),
        ..shell::Page::new("Prices", Section::Usage, body)
    }))
}

/// Shows a price list that is to count for the tenant later.
pub(crate) async fn coming_list(cx: Cx, Path(version): Path<String>) -> Answer {
    cx.tenant()?;
    let version = version.parse().map_err(|_| pages::no_page())?;
    let list = prices::get(cx.engine().parts(), &cx.caller, Some(version)).await?;
    let since = html! { span."muted small" { "From " (cx.here().at(list.valid_from)) } };
    let title = format!("Prices in {}", list.currency);
    let body = parts::card_flush(&title, Some(since), rows_table(&list));
    Ok(cx.page(shell::Page { above: &[(PRICES, "Prices")], ..shell::Page::new(&title, Section::Usage, body) }))
}
