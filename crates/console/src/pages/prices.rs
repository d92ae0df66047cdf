//! The price book: what the operator asks for a message, in lists that count from an instant on and never change.

use axum::extract::Path;
use engine::{
    Error,
    money::{
        book::PriceUnit,
        prices::{self, PriceListSummary, PriceListView, PriceRow},
        sheet::{self, PriceTable},
        what_if::{WhatIf, WhatIfRow, WhatIfView},
    },
    once::Repeat,
};
use maud::{Markup, html};
use model::Money;
use serde::Deserialize;

use crate::{
    cx::{Answer, Cx, Posted, Query},
    form::{self, Faults, Form},
    format,
    parts::{
        self, Control, Field, Tone, link_button,
        table::{self, Pages, Row, Table, cell, text},
    },
    shell::{self, Section},
};

const PATH: &str = "/console/operator/prices";
const ABOVE: &[(&str, &str)] = &[(PATH, "Prices")];
const NAMES: [&str; 5] = ["currency", "valid_from", "note", "csv", "month"];
/// Groups of messages that are shown where prices are tried: the dearest.
const TRIED: usize = 100;
/// Lists on a page.
const LISTS: u32 = 50;

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Wanted {
    cursor: Option<String>,
}

/// What a row asks: a fixed price, what the provider takes and a share on it, or both.
fn price(row: &PriceRow, currency: &str) -> String {
    let fixed = row.amount_micros.map(|micros| format!("{} {currency}", format::amount(micros)));
    let share = row.markup_basis_points.map(|points| format!("cost + {}.{:02} %", points / 100, points % 100));
    fixed.into_iter().chain(share).collect::<Vec<_>>().join(" + ")
}

/// The rows of a list.
pub(super) fn rows_table(list: &PriceListView) -> Markup {
    let row = |row: &PriceRow| Row {
        href: None,
        cells: vec![
            text(format::channel(row.channel)),
            cell(html! { @match (&row.country, &row.prefix) {
                (Some(country), _) => (country),
                (None, Some(prefix)) => { "+" (prefix) }
                (None, None) => span.muted { "Anywhere" }
            } }),
            cell(
                html! { @match row.provider.as_deref() { Some(id) => (connectors::registry::find(id).map_or(id, |found| found.spec().name)), None => span.muted { "Any" } } },
            ),
            cell(
                html! { @match row.purpose { Some(purpose) => (format::words(purpose.as_str())), None => span.muted { "Any" } } },
            ),
            cell(
                html! { @match row.category { Some(category) => (format::words(category.as_str())), None => span.muted { "Any" } } },
            ),
            table::figure(&price(row, &list.currency)),
            text(match row.unit {
                PriceUnit::Message => "a message",
                PriceUnit::Segment => "a part",
                PriceUnit::Minute => "a minute",
                PriceUnit::Thousand => "a thousand",
            }),
        ],
    };
    html! {
        @if !list.note.is_empty() { p."muted padded" dir="auto" { (list.note) } }
        (table::table(Table { caption: "Prices", columns: &["Channel", "To", "Through", "Purpose", "Category", "Price", "For"], rows: list.rows.iter().map(row).collect() }))
    }
}

/// Lists the price lists.
pub(crate) async fn list(cx: Cx, Query(wanted): Query<Wanted>) -> Answer {
    let caller = cx.outside();
    caller.need_operator("prices:read")?;
    let page = prices::list(cx.engine().parts(), &caller, Some(LISTS), wanted.cursor.as_deref()).await?;
    let may = cx.may_outside("prices:write");
    let new = || link_button("/console/operator/prices/new", "primary", Some("plus"), "New price list");
    let counting = prices::counting(cx.engine().parts(), &caller).await?;
    let now = cx.here().now;
    let state = |list: &PriceListSummary| {
        if list.valid_from > now {
            parts::badge(Tone::Info, "Later")
        } else if counting.contains(&list.version) {
            parts::badge(Tone::Good, "Counts now")
        } else {
            parts::badge(Tone::Plain, "Replaced")
        }
    };
    let row = |list: &PriceListSummary| Row {
        href: Some(format!("{PATH}/{}", list.version)),
        cells: vec![
            cell(html! { span.strong { (list.version) } }),
            text(&list.currency),
            cell(cx.here().at(list.valid_from)),
            table::number(list.row_count),
            cell(html! { span.wide-text dir="auto" { (list.note) } }),
            cell(state(list)),
        ],
    };
    let body = html! {
        @if page.data.is_empty() {
            section.card aria-label="Price lists" { (parts::empty("card", "No price lists yet", "A list says what messages cost in one currency. Tenants that pay are charged by the list that counts when their message is accepted.", may.then(new))) }
        }
        @if !page.data.is_empty() {
            (parts::card_flush("Lists", None, table::table(Table { caption: "Price lists, newest first", columns: &["List", "Currency", "Counts from", "Prices", "Note", "State"], rows: page.data.iter().map(row).collect() })))
            (table::pager(&Pages { path: PATH, query: &[], is_first: wanted.cursor.is_none(), next: page.next_cursor.as_deref(), shown: page.data.len() }))
        }
    };
    Ok(cx.page(shell::Page {
        lead: Some(
            html! { "What messages cost. A list counts until the next of its currency does, and never changes." },
        ),
        actions: (may && !page.data.is_empty()).then(new),
        ..shell::Page::new("Prices", Section::Prices, body)
    }))
}

/// Shows a price list with its rows.
pub(crate) async fn show(cx: Cx, Path(version): Path<String>) -> Answer {
    let caller = cx.outside();
    caller.need_operator("prices:read")?;
    let version = version.parse().map_err(|_| super::no_page())?;
    let list = prices::get(cx.engine().parts(), &caller, Some(version)).await?;
    let since = html! { span."muted small" { "From " (cx.here().at(list.valid_from)) } };
    let count = format::count(list.rows.len() as i64, "price", "prices");
    let title = format!("List {}, {}", list.version, list.currency);
    let body = parts::card_flush(&count, Some(since), rows_table(&list));
    Ok(cx.page(shell::Page { above: ABOVE, ..shell::Page::new(&title, Section::Prices, body) }))
}

const EXAMPLE: &str =
    "channel,country,purpose,unit,amount_micros\nsms,,,segment,9000\nsms,IN,,segment,4500\nemail,,,thousand,400000";

/// Shows the form of a new list, which begins with the newest one.
pub(crate) async fn new(cx: Cx) -> Answer {
    let caller = cx.outside();
    caller.need_operator("prices:write")?;
    let parts = cx.engine().parts();
    let newest = prices::list(parts, &caller, Some(1), None).await?.data.pop();
    let form = match newest {
        Some(list) => {
            let table = sheet::export(parts, &caller, Some(list.version)).await?;
            Form::of([
                ("currency", list.currency.clone()),
                ("csv", String::from_utf8_lossy(&table).replace("\r\n", "\n")),
            ])
        }
        None => Form::of([("currency", "USD"), ("csv", "")]),
    };
    Ok(cx.page(new_page(&cx, &form, &Faults::default(), None)))
}

fn new_page<'a>(cx: &Cx, form: &Form, faults: &Faults, tried: Option<&WhatIfView>) -> shell::Page<'a> {
    let months = super::reconciliations::months(cx.here().now);
    let months = months.iter().map(|(value, words)| (value.as_str(), words.clone())).collect();
    let body = html! {
        @if let Some(tried) = tried { (result(tried)) }
        section.card {
            form method="post" action=(PATH) data-guard {
                (form::token(cx.csrf()))
                div.body {
                    div.form {
                        (shell::form_faults(faults, &NAMES))
                        div.fields-2 {
                            (Field::text("currency", "Currency").required().example("USD").draw(form, faults))
                            (Field::text("valid_from", "Counts from").with(Control::When).help("At once when left empty. In your own time zone.").draw(form, faults))
                        }
                        (Field::text("csv", "Prices").required().with(Control::Area { rows: 12 }).example(EXAMPLE)
                            .help("A table with the names of the columns in its first line, as the export writes it. Amounts are millionths. What is left empty fits everything; the row that fits most closely counts.").draw(form, faults))
                        div.fields-2 {
                            (Field::text("note", "Note").draw(form, faults))
                            (Field::text("month", "Try them on").plain().with(Control::Choice(months)).help("What everybody who is billed in this currency sent in that month would cost at these prices. Nothing changes by it.").draw(form, faults))
                        }
                    }
                }
                footer {
                    button.button type="submit" formaction={ (PATH) "/try" } { "Try the prices" }
                    div.end { (link_button(PATH, "", None, "Cancel")) button."button primary" type="submit" { "Publish the list" } } }
            }
        }
    };
    shell::Page {
        above: ABOVE,
        lead: Some(html! { "It cannot be changed afterwards: another list takes its place." }),
        ..shell::Page::new("New price list", Section::Prices, body)
    }
}

/// Publishes a list.
pub(crate) async fn create(Posted { cx, form }: Posted) -> Answer {
    let caller = cx.outside();
    caller.need_operator("prices:write")?;
    let made = match read_new(&cx, &form) {
        Ok(table) => sheet::import(cx.engine().parts(), &caller, &Repeat::NONE, table).await,
        Err(error) => Err(error),
    };
    match made {
        Ok(_) => Ok(cx.done(PATH, "The list was published.")),
        Err(error) if matches!(error.kind.status(), 409 | 422) => {
            Ok(cx.again(new_page(&cx, &form, &Faults::of(&error), None)))
        }
        Err(error) => Err(error.into()),
    }
}

/// What the traffic of a month costs today and would cost.
fn result(tried: &WhatIfView) -> Markup {
    let currency = &tried.today.currency;
    let difference =
        Money { amount_micros: tried.then.amount_micros - tried.today.amount_micros, currency: currency.clone() };
    let amount = |micros: Option<i64>| table::figure(&micros.map_or_else(|| "–".to_owned(), format::amount));
    let row = |row: &WhatIfRow| Row {
        href: None,
        cells: vec![
            text(format::channel(row.channel)),
            cell(
                html! { (connectors::registry::find(&row.provider).map_or(row.provider.as_str(), |connector| connector.spec().name)) },
            ),
            text(if row.country.is_empty() { "–" } else { &row.country }),
            text(&format::words(row.purpose.as_str())),
            text(&row.category.map_or_else(|| "–".to_owned(), |kind| format::words(kind.as_str()))),
            table::number(row.messages),
            table::number(row.segments),
            amount(row.today_micros),
            amount(row.then_micros),
        ],
    };
    let columns =
        &["Channel", "Provider", "Country", "Purpose", "Kind", "Messages", "Parts", "Today", "At these prices"];
    let rows: Vec<Row> = tried.data.iter().take(TRIED).map(row).collect();
    html! {
        section.tiles aria-label="What it would cost" {
            (parts::tile("Today", &format::money(&tried.today), Some(html! { "for " (tried.month) })))
            (parts::tile("At these prices", &format::money(&tried.then), Some(html! { (format::money(&difference)) " of difference" })))
            (parts::tile("Providers take", &format::money(&tried.provider_cost), Some(html! { "as far as the list says" })))
            (parts::tile("Without a price", &format::number(tried.without_price), Some(html! { "messages no row fits" })))
        }
        @if tried.rows_left_out > 0 { (parts::notice(Tone::Info, "", html! { p { (format::count(i64::try_from(tried.rows_left_out).unwrap_or(i64::MAX), "row is", "rows are")) " for a longer prefix than a country’s: sums do not tell such numbers apart, so they were left out here." } })) }
        @if tried.tenants_left_out > 0 { (parts::notice(Tone::Info, "", html! { p { (format::count(tried.tenants_left_out, "tenant that sent something is", "tenants that sent something are")) " left out: not billed, or not in " (currency) "." } })) }
        @if tried.guessed > 0 { (parts::notice(Tone::Info, "", html! { p { (format::count(tried.guessed, "WhatsApp message was", "WhatsApp messages were")) " not charged by kind, and counted as marketing or utility by purpose." } })) }
        @if rows.is_empty() { section.card { (parts::empty("chart", "Nothing was sent", "Choose a month with messages to try the prices on.", None)) } }
        @else { (parts::card_flush(&format!("By kind, in {currency}"), (tried.data.len() > TRIED).then(|| html! { span."muted small" { "The dearest " (TRIED) } }), table::table(Table { caption: "What messages cost today and at these prices, the dearest first", columns, rows }))) }
    }
}

/// Tries the prices of the form on a month's messages, and shows the form again with what came of it.
pub(crate) async fn try_out(Posted { cx, form }: Posted) -> Answer {
    let caller = cx.outside();
    caller.need_operator("prices:write")?;
    let tried = match sheet::rows(form.text("csv")) {
        Ok(rows) => {
            let currency = form.text("currency").to_uppercase();
            let asked =
                WhatIf { currency, month: form.filled("month").map(str::to_owned), rows: Some(rows), version: None };
            cx.engine().what_if(&caller, asked).await
        }
        Err(error) => Err(error),
    };
    match tried {
        Ok(tried) => Ok(cx.page(new_page(&cx, &form, &Faults::default(), Some(&tried)))),
        Err(error) if matches!(error.kind.status(), 409 | 422) => {
            Ok(cx.again(new_page(&cx, &form, &Faults::of(&error), None)))
        }
        Err(error) => Err(error.into()),
    }
}

fn read_new(cx: &Cx, form: &Form) -> Result<PriceTable, Error> {
    let valid_from = match form.filled("valid_from") {
        None => None,
        Some(text) => Some(
            cx.here()
                .read_local(text)
                .ok_or_else(|| Error::invalid("/valid_from", "choose a day and a time, or leave it empty"))?,
        ),
    };
    Ok(PriceTable {
        currency: form.text("currency").to_uppercase(),
        valid_from,
        note: form.filled("note").map(str::to_owned),
        csv: form.text("csv").to_owned(),
        dry_run: false,
    })
}
