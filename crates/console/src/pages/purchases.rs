//! Credit that is bought: the form that leads to the payment page, what became of each purchase, money that goes back, and what is bought by itself when credit runs low.
//!
//! A browser that comes back from the payment page only says so; whether anything was paid is told by the payment provider, mostly seconds later, and the page follows.

mod disputes;
mod marks;

use axum::extract::Path;
use connectors::stripe;
use engine::{
    Error, ErrorKind,
    invoices::compose::TaxRate,
    money::{
        BillingMode,
        credits::{self, Credits},
        payments,
        purchases::{self, NewPurchase, PurchaseView},
        receipts,
        refunds::{self, NewRefund, RefundView},
        top_ups::{self, MethodView},
    },
    once::{IdempotencyKey, Repeat, fingerprint},
    page::Page,
    patch::Patch,
};
use maud::{Markup, html};
use model::{Money, PurchaseId};
use serde::Deserialize;

use super::{billing, bills::rate};
use crate::{
    cx::{Answer, Cx, Fault, Posted, Query, go},
    form::{self, Faults, Form},
    format, pages,
    parts::{
        self, Dialog, Field, Tone,
        field::check,
        icon, link_button,
        table::{self, Pages, Row, Table, cell, figure},
    },
    read::{self, Made},
    shell::{self, Section},
};

pub(crate) use self::marks::mark;

pub(super) const PATH: &str = "/console/billing/purchases";
pub(super) const NEW: &str = "/console/billing/purchases/new";
/// Purchases on a page.
const ROWS: u32 = 50;
/// Refunds shown beside them: the newest.
const REFUNDS: u32 = 20;
/// Amounts that are proposed, in the currency's unit.
const PROPOSED: [i64; 4] = [20, 50, 100, 250];

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Wanted {
    cursor: Option<String>,
    /// How somebody came back from the payment page: `paid` or `canceled`.
    back: Option<String>,
}

/// What the page shows.
struct View {
    purchases: Page<PurchaseView>,
    refunds: Vec<RefundView>,
    credits: Credits,
    method: Option<MethodView>,
    can_pay: bool,
    is_first: bool,
    back: String,
}

impl View {
    async fn read(cx: &Cx, wanted: Wanted) -> Result<Self, Fault> {
        cx.tenant()?;
        let (parts, caller) = (cx.engine().parts(), &cx.caller);
        Ok(Self {
            purchases: purchases::list(parts, caller, Some(ROWS), wanted.cursor.as_deref()).await?,
            refunds: refunds::list(parts, caller, Some(REFUNDS), None).await?.data,
            credits: credits::get(parts, caller, false).await?,
            method: method(cx).await?,
            can_pay: can_pay(cx).await?,
            is_first: wanted.cursor.is_none(),
            back: wanted.back.unwrap_or_default(),
        })
    }
}

/// What is paid with when credit runs low, if anything was kept.
async fn method(cx: &Cx) -> Result<Option<MethodView>, Error> {
    match top_ups::method(cx.engine().parts(), &cx.caller).await {
        Ok(method) => Ok(Some(method)),
        Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn is_demo(cx: &Cx) -> bool {
    cx.tenant.as_ref().is_some_and(|tenant| tenant.is_demo)
}

/// Whether this person can buy credit here: they may, payments are set up, and the tenant is none for show.
pub(super) async fn can_pay(cx: &Cx) -> Result<bool, Error> {
    if !cx.may("purchases:write") || is_demo(cx) {
        return Ok(false);
    }
    payments::are_taken(cx.engine().parts(), &cx.caller).await
}

/// Lists purchases.
pub(crate) async fn list(cx: Cx, Query(wanted): Query<Wanted>) -> Answer {
    let view = View::read(&cx, wanted).await?;
    let form = marks::stored(&view.credits);
    Ok(cx.page(page(&cx, &view, &form, &Faults::default())))
}

fn page<'a>(cx: &Cx, view: &View, marks: &Form, faults: &Faults) -> shell::Page<'a> {
    let again = table::address(PATH, [("back", view.back.as_str())]);
    // Stripe's word may come while the page is on its way to the browser, before it listens: somebody who waits for their money asks again.
    let asks = if is_awaited(view) { "news from:body, every 2s" } else { "news from:body" };
    let body = html! {
        div.stack.loose #purchases hx-get=(again) hx-trigger=(asks) hx-select="#purchases" hx-swap="outerHTML" {
            (came_back(view))
            (rows(cx, view))
        }
        div."columns even" {
            (marks::card(cx, view, marks, faults))
            div #paid-with hx-get=(PATH) hx-trigger="news from:body" hx-select="#paid-with" hx-swap="outerHTML" { (method_card(cx, view)) }
        }
        @if !view.refunds.is_empty() { (refunds_card(cx, &view.refunds)) }
    };
    shell::Page {
        lead: Some(html! { "What was bought, and what went back." }),
        actions: view.can_pay.then(|| link_button(NEW, "primary", Some("card"), "Buy credit")),
        tabs: Some(billing::tabs(cx, PATH)),
        is_live: true,
        ..shell::Page::new("Purchases", Section::Usage, body)
    }
}

/// The purchase somebody comes back from: the newest that was asked for.
fn newest(view: &View) -> Option<&PurchaseView> {
    let mut all = view.purchases.data.iter().filter(|_| view.is_first);
    all.find(|purchase| !purchase.is_top_up && purchase.provider == payments::STRIPE)
}

/// Whether somebody says that they paid, and nobody has confirmed it yet.
fn is_awaited(view: &View) -> bool {
    view.back == "paid" && newest(view).is_some_and(|purchase| purchase.state == "open")
}

/// A word to whoever comes back from the payment page. What it says is what is known, not what the address says.
fn came_back(view: &View) -> Markup {
    let Some(newest) = newest(view) else { return html! {} };
    let (amount, total) = (format::money(&newest.amount), format::money(&newest.total));
    match (view.back.as_str(), newest.state.as_str()) {
        ("paid" | "canceled", "paid") => parts::notice(
            Tone::Good,
            "Your payment arrived",
            html! { p { (amount) " were added to your credit. " a href=(billing::PATH) { "See the statement" } } },
        ),
        ("paid" | "canceled", "pending") => parts::notice(
            Tone::Info,
            "Your payment is on its way",
            html! { p { "It was made in a way that takes some days. The " (amount) " are added when they arrive; nothing is left to do." } },
        ),
        ("paid", "open") => parts::notice(
            Tone::Info,
            "Thank you",
            html! { p { "The payment provider is about to tell whether the " (total) " were paid, mostly within seconds. This page follows by itself." } },
        ),
        ("canceled", "open") => parts::notice(
            Tone::Info,
            "Nothing was paid",
            html! { p { "The page for " (total) " stays open for a day: pay it from the list below, or leave it and it ends by itself." } },
        ),
        ("paid" | "canceled", "failed" | "expired") => parts::notice(
            Tone::Bad,
            "The payment came to nothing",
            html! { p dir="auto" { (newest.failure.as_deref().unwrap_or("Nobody paid in time.")) } p { "Nothing was taken. " a href=(NEW) { "Try again" } } },
        ),
        _ => html! {},
    }
}

/// Where a purchase is, in a word.
fn state(purchase: &PurchaseView) -> Markup {
    let (all, back) = (purchase.amount.amount_micros, purchase.refunded.amount_micros);
    let (tone, word) = match purchase.state.as_str() {
        "opening" => (Tone::Info, "Being paid"),
        "open" => (Tone::Warn, "To be paid"),
        "pending" => (Tone::Info, "On its way"),
        "paid" if back >= all => (Tone::Plain, "Given back"),
        "paid" if back > 0 => (Tone::Good, "Paid, part given back"),
        "paid" => (Tone::Good, "Paid"),
        "failed" => (Tone::Bad, "Failed"),
        "expired" => (Tone::Plain, "Not paid"),
        other => return parts::badge(Tone::Warn, &format::words(other)),
    };
    parts::badge(tone, word)
}

/// The page a purchase can still be paid on, when it is one.
fn pay_url(purchase: &PurchaseView) -> Option<&str> {
    purchase.url.as_deref().filter(|url| url.starts_with("https://") || url.starts_with("http://"))
}

/// What is paid for a purchase that is sold with tax.
fn with_tax(purchase: &PurchaseView) -> Markup {
    html! { @for tax in &purchase.taxes { div.sub { (format::money(&purchase.total)) " with " (tax.name) " " (rate(tax.rate_ppm)) " %" } } }
}

/// Who was paid.
fn way(purchase: &PurchaseView) -> &'static str {
    match (purchase.provider.as_str(), purchase.is_top_up) {
        (payments::STRIPE, true) => "Bought by itself",
        (payments::STRIPE, false) => "Paid online",
        _ => "Recorded by the operator",
    }
}

fn rows(cx: &Cx, view: &View) -> Markup {
    let row = |purchase: &PurchaseView| Row {
        href: Some(format!("{PATH}/{}", purchase.id)),
        cells: vec![
            cell(html! { span."strong num" { (format::money(&purchase.amount)) } (with_tax(purchase)) }),
            cell(
                html! { (state(purchase)) @if disputes::is_open(purchase) { " " (parts::badge(Tone::Bad, "Disputed")) } },
            ),
            figure(&if purchase.refunded.amount_micros > 0 {
                format::money(&purchase.refunded)
            } else {
                "–".to_owned()
            }),
            cell(html! {
                (way(purchase))
                @if let Some(words) = purchase.reference.as_ref().or(purchase.failure.as_ref()) { div.sub { span.wide-text dir="auto" title=(words) { (words) } } }
            }),
            cell(cx.here().at(purchase.created_at)),
            cell(html! {
                @if let Some(url) = pay_url(purchase).filter(|_| view.can_pay) { (pay_button(url, purchase, "small")) }
                @if purchase.state == "paid" { (receipt_link(purchase)) }
            }),
        ],
    };
    let nothing = || {
        let (text, next) = if view.can_pay {
            (
                "Buy credit, pay it on the payment provider's page, and it can be spent at once.",
                Some(link_button(NEW, "primary", Some("card"), "Buy credit")),
            )
        } else {
            (cannot_pay(cx), None)
        };
        parts::empty("card", "Nothing was bought yet", text, next)
    };
    html! {
        @if !view.can_pay && !view.purchases.data.is_empty() && cx.may("purchases:write") { (parts::notice(Tone::Info, "", html! { p { (cannot_pay(cx)) } })) }
        section.card aria-label="Purchases" {
            @if view.purchases.data.is_empty() { (nothing()) } @else {
                (table::table(Table { caption: "Purchases of credit, newest first", columns: &["Amount", "State", "Given back", "How", "When", ""], rows: view.purchases.data.iter().map(row).collect() }))
                (table::pager(&Pages { path: PATH, query: &[], is_first: view.is_first, next: view.purchases.next_cursor.as_deref(), shown: view.purchases.data.len() }))
            }
        }
    }
}

/// Why there is no button to buy credit.
fn cannot_pay(cx: &Cx) -> &'static str {
    if is_demo(cx) {
        "A demo sends nothing and pays nothing, so no credit is bought for it."
    } else if cx.may("purchases:write") {
        "This installation takes no payments by itself. The operator records what you pay in other ways, and it stands here."
    } else {
        "Somebody with the permission “billing” buys credit."
    }
}

fn pay_button(url: &str, purchase: &PurchaseView, class: &str) -> Markup {
    html! { a class={ "button " (class) } href=(url) rel="noreferrer" aria-label={ "Pay " (format::money(&purchase.total)) } { (icon("external")) "Pay" } }
}

fn receipt_link(purchase: &PurchaseView) -> Markup {
    html! { a."button small" href=(format!("{PATH}/{}/receipt", purchase.id)) aria-label={ "Receipt of " (format::money(&purchase.amount)) } { (icon("file")) "Receipt" } }
}

/// Shows the receipt of a purchase.
pub(crate) async fn receipt(cx: Cx, Path(id): Path<String>) -> Answer {
    cx.tenant()?;
    Ok(super::bills::pdf(receipts::document(cx.engine(), &cx.caller, pages::id(&id)?).await?))
}

fn method_card(cx: &Cx, view: &View) -> Markup {
    parts::card(
        "Paid with",
        None,
        html! {
            @match &view.method {
                None => p.muted { "Nothing is kept to pay with. Check “Keep what I pay with” when you buy credit, and it pays when credit runs low." },
                Some(method) => div.stack {
                    div."row apart" {
                        span.row { (icon("card")) span."strong break" dir="auto" { (method.name) } }
                        @if cx.may("purchases:write") {
                            button."button small danger" type="button" data-opens="forget" { "Forget it" }
                            (parts::dialog(&Dialog { id: "forget", title: "Forget what is paid with?", action: "/console/billing/payment-method/forget", csrf: cx.csrf(), yes: "Forget it", is_dangerous: true,
                                body: html! { p.muted { "Nothing is bought by itself any more. The next purchase can keep another." } } }))
                        }
                    }
                    p."muted small" { "Kept since " (cx.here().day(method.created_at)) "." }
                }
            }
        },
    )
}

fn refunds_card(cx: &Cx, refunds: &[RefundView]) -> Markup {
    let row = |refund: &RefundView| {
        let (tone, word) = match refund.state.as_str() {
            "done" => (Tone::Good, "Done"),
            "failed" => (Tone::Bad, "Failed"),
            "opening" => (Tone::Info, "Being asked for"),
            _ => (Tone::Info, "On its way"),
        };
        Row {
            href: refund.purchase_id.map(|id| format!("{PATH}/{id}")),
            cells: vec![
                cell(
                    html! { span."strong num" { (format::money(&refund.amount)) } @if refund.taken != refund.amount { div.sub { (format::money(&refund.taken)) " out of the credit" } } @if refund.total != refund.amount { div.sub { (format::money(&refund.total)) " with tax" } } },
                ),
                cell(parts::badge(tone, word)),
                cell(
                    html! { span.wide-text dir="auto" title=(refund.reason) { (refund.reason) } @if let Some(why) = &refund.failure { div."sub break" dir="auto" { (why) } } },
                ),
                cell(cx.here().at(refund.created_at)),
            ],
        }
    };
    let newest = (refunds.len() >= REFUNDS as usize).then(|| html! { span."muted small" { "The newest " (REFUNDS) } });
    let columns = &["Amount", "State", "Why", "When"];
    parts::card_flush(
        "Given back",
        newest,
        table::table(Table {
            caption: "Money given back, newest first",
            columns,
            rows: refunds.iter().map(row).collect(),
        }),
    )
}

/// Shows the form to buy credit, or why there is none.
pub(crate) async fn new(cx: Cx) -> Answer {
    cx.tenant()?;
    cx.caller.need("purchases:write")?;
    let credits = credits::get(cx.engine().parts(), &cx.caller, false).await?;
    let can_pay = can_pay(&cx).await?;
    Ok(cx.page(new_page(&cx, &credits, can_pay, &Form::default(), &Faults::default())))
}

fn new_page<'a>(cx: &Cx, credits: &Credits, can_pay: bool, form: &Form, faults: &Faults) -> shell::Page<'a> {
    let currency = &credits.available.currency;
    let key = form.filled("key").map_or_else(|| cx.engine().ports.ids.token(24), str::to_owned);
    let body = html! {
        @if !can_pay { (parts::notice(Tone::Info, "Credit cannot be bought here", html! { p { (cannot_pay(cx)) } })) }
        @else {
            section.card aria-label="Buy credit" {
                form method="post" action=(PATH) {
                    (form::token(cx.csrf()))
                    input type="hidden" name="key" value=(key);
                    div.body { div.form {
                        (shell::form_faults(faults, &["amount_micros"]))
                        (Field::text("amount_micros", &format!("Amount in {currency}")).required().example("50.00").proposing("proposed").help("Paid on the payment provider's page; you see it before you pay.").draw(form, faults))
                        datalist #proposed { @for amount in PROPOSED { option value=(format!("{amount}.00")) {} } }
                        @if let Some(tax) = &credits.purchase_tax { (on_top(tax, currency)) }
                        (check("keep", "true", form.is_on("keep"), "Keep what I pay with", "It then pays by itself when credit falls below the mark the operator set with you. You can have it forgotten at any time."))
                    } }
                    footer { div.end { (link_button(PATH, "", None, "Cancel")) button."button primary" type="submit" { "Go to payment" } } }
                }
            }
        }
        (parts::card("Now", None, parts::facts([
            ("Available", html! { span.num { (format::money(&credits.available)) } }),
            ("Set aside", html! { span.num { (format::money(&credits.reserved)) } " " span.muted { "for messages under way" } }),
            ("Charged", html! { @if credits.mode == BillingMode::None { "Messages are not charged at the moment; what you buy stays until they are." } @else { "Each message, once it was sent." } }),
        ])))
    };
    shell::Page {
        above: &[(billing::PATH, "Credit"), (PATH, "Purchases")],
        is_narrow: true,
        ..shell::Page::new("Buy credit", Section::Usage, body)
    }
}

/// What is to be paid with the tax that comes on top of credit.
fn on_top(tax: &TaxRate, currency: &str) -> Markup {
    let money = |amount_micros| format::money(&Money { amount_micros, currency: currency.to_owned() });
    let row = |amount: &i64| {
        let credit = amount * 1_000_000;
        let total = purchases::total(credit, Some(tax), currency);
        Row { href: None, cells: vec![figure(&money(credit)), figure(&money(total))] }
    };
    html! {
        p { "On the amount comes " strong { (tax.name) " " (rate(tax.rate_ppm)) " %" } "." }
        @if tax.rate_ppm > 0 { (table::table(Table { caption: "What is paid for credit", columns: &["Credit", "To be paid"], rows: PROPOSED.iter().map(row).collect() })) }
    }
}

/// Reads an amount somebody pays, in the smallest coins of its currency.
fn read_amount(text: &str, currency: &str) -> Result<i64, Error> {
    let bad = |detail: String| Error::invalid("/amount_micros", detail);
    let micros = format::read_amount(text)
        .ok_or_else(|| bad("write an amount such as 50.00, without a comma between thousands".to_owned()))?;
    let step = stripe::step_micros(currency);
    if micros <= 0 {
        return Err(bad("more than nothing".to_owned()));
    }
    if micros % step != 0 {
        return Err(bad(format!("{currency} is paid in steps of {}", format::amount(step))));
    }
    Ok(micros)
}

/// Opens the payment page of a purchase and leads there.
pub(crate) async fn buy(Posted { cx, form }: Posted) -> Answer {
    cx.tenant()?;
    let (parts, caller) = (cx.engine().parts(), &cx.caller);
    caller.need("purchases:write")?;
    let credits = credits::get(parts, caller, false).await?;
    let back = |how: &str| Some(format!("{}{PATH}?back={how}", cx.engine().config.public_url));
    let said = [form.text("amount_micros"), form.text("keep")].join("\n");
    let once = Repeat {
        key: IdempotencyKey::parse(&format!("console-{}", form.text("key"))).ok(),
        fingerprint: fingerprint("POST", PATH, said.as_bytes()),
    };
    let made = match read_amount(form.text("amount_micros"), &credits.available.currency) {
        Ok(amount_micros) => {
            let new = NewPurchase {
                amount_micros,
                tax: Patch::Keep,
                reference: None,
                success_url: back("paid"),
                cancel_url: back("canceled"),
                save_payment_method: form.is_on("keep"),
            };
            purchases::create(parts, caller, &once, new).await
        }
        Err(error) => Err(error),
    };
    match made {
        Ok(reply) => {
            let made: Made = read::json(&reply.body)?;
            Ok(go(&format!("{PATH}/{}?pay=now", made.id)))
        }
        Err(error) if matches!(error.kind.status(), 409 | 422 | 502 | 503) => {
            let can_pay = can_pay(&cx).await?;
            Ok(cx.again(new_page(&cx, &credits, can_pay, &form.with("key", ""), &Faults::of(&error))))
        }
        Err(error) => Err(error.into()),
    }
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Paying {
    /// `now` right after the form, to lead on to the payment page.
    pay: Option<String>,
}

/// Shows a purchase; right after it was asked for it leads on to the payment page.
pub(crate) async fn show(cx: Cx, Path(id): Path<String>, Query(paying): Query<Paying>) -> Answer {
    cx.tenant()?;
    let purchase = purchases::get(cx.engine().parts(), &cx.caller, pages::id(&id)?).await?;
    let may_pay = can_pay(&cx).await?;
    let url = pay_url(&purchase).filter(|_| may_pay);
    let leads_on = url.filter(|_| paying.pay.as_deref() == Some("now"));
    let path = format!("{PATH}/{}", purchase.id);
    let body = html! {
        @if let Some(url) = leads_on {
            lead-on { (parts::notice(Tone::Info, "On to the payment page", html! { p { "If nothing happens, " a href=(url) rel="noreferrer" data-lead { "go there yourself" } "." } })) }
        }
        div.stack.loose #purchase hx-get=(path) hx-trigger="news from:body" hx-select="#purchase" hx-swap="outerHTML" {
            @if let Some(failure) = &purchase.failure { (parts::notice(Tone::Bad, "It came to nothing", html! { p dir="auto" { (failure) } })) }
            section.tiles aria-label="Purchase" {
                (parts::tile("Amount", &format::money(&purchase.amount), Some(state(&purchase))))
                @for tax in &purchase.taxes {
                    (parts::tile("With tax", &format::money(&purchase.total), Some(html! { (tax.name) " " (rate(tax.rate_ppm)) " %: " (format::money(&Money { amount_micros: tax.amount_micros, ..purchase.total.clone() })) })))
                }
                (parts::tile("Given back", &format::money(&purchase.refunded), Some(html! { @if purchase.refunded_total == purchase.refunded { "so far" } @else { (format::money(&purchase.refunded_total)) " with tax" } })))
            }
            (disputes::card(&cx, &purchase))
            (parts::card("About it", None, parts::facts([
                ("How", html! { (way(&purchase)) }),
                ("Reference", html! { @match &purchase.reference { Some(words) => span.break dir="auto" { (words) }, None => span.muted { "–" } } }),
                ("On the statement", html! { @match purchase.entry { Some(number) => { "Movement " (format::number(number)) }, None => span.muted { "not yet" } } }),
                ("Asked for", cx.here().at(purchase.created_at)),
                ("Last changed", cx.here().at(purchase.updated_at)),
                ("Id", html! { code.break { (purchase.id) } }),
            ])))
        }
    };
    let actions = html! {
        @if let Some(url) = url { (pay_button(url, &purchase, "primary")) }
        @if purchase.state == "paid" { (link_button(&format!("{path}/receipt"), "", Some("file"), "Receipt")) }
        @if may_refund(&cx, &purchase) { (refund_dialog(&cx, &purchase, &path)) }
    };
    let title = format!("Purchase of {}", format::money(&purchase.amount));
    Ok(cx.page(shell::Page {
        above: &[(billing::PATH, "Credit"), (PATH, "Purchases")],
        actions: Some(actions),
        is_live: true,
        ..shell::Page::new(&title, Section::Usage, body)
    }))
}

/// Whether this person gives money back, and there is some.
fn may_refund(cx: &Cx, purchase: &PurchaseView) -> bool {
    purchase.state == "paid" && left(purchase) > 0 && marks::may(cx)
}

/// What did not go back yet, neither by us nor by the payer's bank.
const fn left(purchase: &PurchaseView) -> i64 {
    purchase.amount.amount_micros - purchase.refunded.amount_micros - purchase.disputed.amount_micros
}

fn refund_dialog(cx: &Cx, purchase: &PurchaseView, path: &str) -> Markup {
    let form = Form::of([("amount", format::amount(left(purchase)).replace(',', ""))]);
    let none = Faults::default();
    let is_online = purchase.provider == payments::STRIPE;
    html! {
        button."button danger" type="button" data-opens="refund" { "Give back" }
        (parts::dialog(&Dialog { id: "refund", title: "Give credit back?", action: &format!("{path}/refund"), csrf: cx.csrf(), yes: "Give it back", is_dangerous: true,
            body: html! {
                input type="hidden" name="key" value=(cx.engine().ports.ids.token(24));
                p.muted { @if is_online { "The money goes back to where it came from." } @else { "It is only recorded here: give the money back the way it came." } " It leaves the credit at once." }
                (Field::text("amount", &format!("Amount in {}", purchase.amount.currency)).required().help(if purchase.total == purchase.amount { "" } else { "Of the credit: its share of the tax goes back with it." }).draw(&form, &none))
                (Field::text("reason", "Reason").required().help("It stands on the statement.").draw(&form, &none))
                (check("may_overdraw", "true", false, "Also what was spent already", "Prepaid credit may go below zero by it."))
            } }))
    }
}

/// Gives money of a purchase back.
pub(crate) async fn refund(Path(id): Path<String>, Posted { cx, form }: Posted) -> Answer {
    cx.tenant()?;
    let (parts, caller) = (cx.engine().parts(), &cx.caller);
    caller.need_operator("credits:write")?;
    let id: PurchaseId = pages::id(&id)?;
    let path = format!("{PATH}/{id}");
    let said = ["amount", "reason", "may_overdraw"].map(|name| form.text(name)).join("\n");
    let once = Repeat {
        key: IdempotencyKey::parse(&format!("console-{}", form.text("key"))).ok(),
        fingerprint: fingerprint("POST", &format!("{path}/refund"), said.as_bytes()),
    };
    let Some(amount_micros) = format::read_amount(form.text("amount")) else {
        return Ok(cx.refused(&path, "Write an amount such as 12.50, without a comma between thousands."));
    };
    let new = NewRefund {
        amount_micros,
        reason: form.text("reason").to_owned(),
        purchase_id: Some(id),
        tax_micros: None,
        may_overdraw: form.is_on("may_overdraw"),
    };
    match refunds::create(parts, caller, &once, new).await {
        Ok(_) => Ok(cx.done(&path, "It goes back. What becomes of it stands under Purchases.")),
        Err(error) if matches!(error.kind.status(), 409 | 422) => {
            let lines: Vec<String> = Faults::of(&error).rest::<&str>(&[]).collect();
            Ok(cx.refused(&path, &lines.join("; ")))
        }
        Err(error) => Err(error.into()),
    }
}

/// Forgets what is paid with when credit runs low.
pub(crate) async fn forget(Posted { cx, .. }: Posted) -> Answer {
    cx.tenant()?;
    match top_ups::forget(cx.engine().parts(), &cx.caller).await {
        Ok(()) => Ok(cx.done(PATH, "It is forgotten. Nothing is bought by itself any more.")),
        Err(error) if error.kind == ErrorKind::NotFound => Ok(cx.done(PATH, "There was nothing to forget.")),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_is_one_that_can_be_paid() {
        let check =
            |text: &str, currency: &str| read_amount(text, currency).map_err(|error| error.errors[0].detail.clone());
        assert_eq!(check("50", "USD"), Ok(50_000_000));
        assert_eq!(check("12,50", "EUR"), Ok(12_500_000));
        assert_eq!(check("0", "USD"), Err("more than nothing".to_owned()));
        assert_eq!(check("-3", "USD"), Err("more than nothing".to_owned()));
        assert_eq!(check("1.005", "USD"), Err("USD is paid in steps of 0.01".to_owned()));
        assert_eq!(check("100.50", "JPY"), Err("JPY is paid in steps of 1.00".to_owned()));
        assert_eq!(
            check("much", "USD"),
            Err("write an amount such as 50.00, without a comma between thousands".to_owned())
        );
    }
}
