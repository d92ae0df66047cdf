//! The price book: what the operator asks for a message, in lists that count from an instant on and never change.

use std::str::FromStr as _;

use engine::{
    Error, FieldError,
    money::prices::{self, NewPriceList, PriceListView, PriceRow, PriceUnit},
    once::Repeat,
};
use maud::{Markup, html};
use model::{Channel, Purpose};
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
const NAMES: [&str; 4] = ["currency", "valid_from", "note", "rows"];
/// Lists on a page: each comes with all its rows.
const LISTS: u32 = 10;

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Wanted {
    cursor: Option<String>,
}

/// Choosing among lists.
pub(super) mod lists_of {
    use engine::money::prices::PriceListView;
    use model::Timestamp;

    /// Lists looked at: the newest.
    pub(in crate::pages) const MAX: u32 = 104;

    /// The list that counts now in a currency, and those that will, soonest first.
    pub(in crate::pages) fn of_currency<'a>(
        lists: &'a [PriceListView],
        currency: &str,
        now: Timestamp,
    ) -> (Option<&'a PriceListView>, Vec<&'a PriceListView>) {
        let own = || lists.iter().filter(|list| list.currency == currency);
        let current = own().filter(|list| list.valid_from <= now).max_by_key(|list| (list.valid_from, list.version));
        let mut coming: Vec<_> = own().filter(|list| list.valid_from > now).collect();
        coming.sort_by_key(|list| list.valid_from);
        (current, coming)
    }
}

/// The rows of a list.
pub(super) fn rows_table(list: &PriceListView) -> Markup {
    let row = |row: &PriceRow| Row {
        href: None,
        cells: vec![
            text(format::channel(row.channel)),
            cell(html! { @match &row.prefix { Some(prefix) => { "+" (prefix) } None => span.muted { "Anywhere" } } }),
            cell(
                html! { @match row.provider.as_deref() { Some(id) => (connectors::registry::find(id).map_or(id, |found| found.spec().name)), None => span.muted { "Any" } } },
            ),
            cell(
                html! { @match row.purpose { Some(purpose) => (format::words(purpose.as_str())), None => span.muted { "Any" } } },
            ),
            table::figure(&format!("{} {}", format::amount(row.amount_micros), list.currency)),
            text(match row.unit {
                PriceUnit::Message => "a message",
                PriceUnit::Segment => "a part",
            }),
        ],
    };
    html! {
        @if !list.note.is_empty() { p."muted padded" dir="auto" { (list.note) } }
        (table::table(Table { caption: "Prices", columns: &["Channel", "To", "Through", "Purpose", "Price", "For"], rows: list.rows.iter().map(row).collect() }))
    }
}

/// Lists the price lists.
pub(crate) async fn list(cx: Cx, Query(wanted): Query<Wanted>) -> Answer {
    let caller = cx.outside();
    caller.need_operator("prices:read")?;
    let page = prices::list(cx.engine().parts(), &caller, Some(LISTS), wanted.cursor.as_deref()).await?;
    let may = cx.may_outside("prices:write");
    let new = || link_button("/console/operator/prices/new", "primary", Some("plus"), "New price list");
    let now = cx.here().now;
    let state = |list: &PriceListView| {
        let (current, _) = lists_of::of_currency(&page.data, &list.currency, now);
        if list.valid_from > now {
            parts::badge(Tone::Info, "Later")
        } else if current.is_some_and(|current| current.version == list.version) && wanted.cursor.is_none() {
            parts::badge(Tone::Good, "Counts now")
        } else {
            parts::badge(Tone::Plain, "Replaced")
        }
    };
    let body = html! {
        @if page.data.is_empty() {
            section.card aria-label="Price lists" { (parts::empty("card", "No price lists yet", "A list says what messages cost in one currency. Tenants that pay are charged by the list that counts when their message is accepted.", may.then(new))) }
        }
        @for list in &page.data {
            section.card aria-label={ "Price list " (list.version) } {
                header { h2 { "List " (list.version) ", " (list.currency) } div.row { span."muted small" { "From " (cx.here().at(list.valid_from)) } (state(list)) } }
                details.more id={ "list-" (list.version) } { summary.padded { (format::count(list.rows.len() as i64, "price", "prices")) } (rows_table(list)) }
            }
        }
        @if !page.data.is_empty() { (table::pager(&Pages { path: PATH, query: &[], is_first: wanted.cursor.is_none(), next: page.next_cursor.as_deref(), shown: page.data.len() })) }
    };
    Ok(cx.page(shell::Page {
        lead: Some(
            html! { "What messages cost. A list counts until the next of its currency does, and never changes." },
        ),
        actions: (may && !page.data.is_empty()).then(new),
        ..shell::Page::new("Prices", Section::Prices, body)
    }))
}

const EXAMPLE: &str = "sms, , , , segment, 0.0090\nsms, 91, , , segment, 0.0045\nsms, 49, twilio, marketing, segment, 0.0810\nemail, , , , message, 0.0004";

/// Shows the form of a new list.
pub(crate) async fn new(cx: Cx) -> Answer {
    cx.outside().need_operator("prices:write")?;
    let newest = prices::list(cx.engine().parts(), &cx.outside(), Some(1), None).await?.data.pop();
    let form = match newest {
        Some(list) => Form::of([
            ("currency", list.currency.clone()),
            ("rows", list.rows.iter().map(line).collect::<Vec<_>>().join("\n")),
        ]),
        None => Form::of([("currency", "USD"), ("rows", "")]),
    };
    Ok(cx.page(new_page(&cx, &form, &Faults::default())))
}

fn new_page<'a>(cx: &Cx, form: &Form, faults: &Faults) -> shell::Page<'a> {
    let body = html! {
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
                        (Field::text("rows", "Prices").required().with(Control::Area { rows: 12 }).example(EXAMPLE)
                            .help("One a line: channel, what the number begins with, provider, purpose, unit (message or segment), price. What is left empty fits everything. The row that fits most closely counts.").draw(form, faults))
                        (Field::text("note", "Note").draw(form, faults))
                    }
                }
                footer { div.end { (link_button(PATH, "", None, "Cancel")) button."button primary" type="submit" { "Publish the list" } } }
            }
        }
    };
    shell::Page {
        above: ABOVE,
        lead: Some(html! { "It cannot be changed afterwards: another list takes its place." }),
        ..shell::Page::new("New price list", Section::Prices, body)
    }
}

/// A row as a line of the form.
fn line(row: &PriceRow) -> String {
    let unit = match row.unit {
        PriceUnit::Message => "message",
        PriceUnit::Segment => "segment",
    };
    let purpose = row.purpose.map(Purpose::as_str).unwrap_or_default();
    let (prefix, provider) = (row.prefix.as_deref().unwrap_or_default(), row.provider.as_deref().unwrap_or_default());
    format!(
        "{}, {prefix}, {provider}, {purpose}, {unit}, {}",
        row.channel,
        format::amount(row.amount_micros).replace(',', "")
    )
}

/// Reads the lines of the form; what is wrong with one is said with its number.
fn read_lines(lines: &str) -> Result<Vec<PriceRow>, Error> {
    let mut faults = Vec::new();
    let mut rows = Vec::new();
    for (at, text) in lines.lines().enumerate().filter(|(_, text)| !text.trim().is_empty()) {
        match read_line(text) {
            Ok(row) => rows.push(row),
            Err(wrong) => faults.push(FieldError::new("/rows", format!("line {}: {wrong}", at + 1))),
        }
    }
    if faults.is_empty() { Ok(rows) } else { Err(Error::invalid_fields(faults)) }
}

fn read_line(text: &str) -> Result<PriceRow, String> {
    let cells: Vec<&str> = text.split([',', ';', '\t']).map(str::trim).collect();
    let &[channel, prefix, provider, purpose, unit, price] = cells.as_slice() else {
        return Err(format!("six values with commas between them are needed; there are {}", cells.len()));
    };
    let filled = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    Ok(PriceRow {
        channel: Channel::from_str(channel).map_err(|_| format!("there is no channel `{channel}`"))?,
        provider: filled(provider),
        prefix: filled(prefix.trim_start_matches('+')),
        purpose: match filled(purpose) {
            Some(word) => Some(Purpose::from_str(&word).map_err(|_| format!("there is no purpose `{word}`"))?),
            None => None,
        },
        unit: match unit {
            "message" => PriceUnit::Message,
            "segment" => PriceUnit::Segment,
            other => return Err(format!("`{other}` is neither message nor segment")),
        },
        amount_micros: format::read_amount(price).ok_or_else(|| format!("`{price}` is no price such as 0.0045"))?,
    })
}

/// Publishes a list.
pub(crate) async fn create(Posted { cx, form }: Posted) -> Answer {
    let caller = cx.outside();
    caller.need_operator("prices:write")?;
    let made = match read_new(&cx, &form) {
        Ok(new) => prices::create(cx.engine().parts(), &caller, &Repeat::NONE, new).await,
        Err(error) => Err(error),
    };
    match made {
        Ok(_) => Ok(cx.done(PATH, "The list was published.")),
        Err(error) if matches!(error.kind.status(), 409 | 422) => {
            Ok(cx.again(new_page(&cx, &form, &Faults::of(&error))))
        }
        Err(error) => Err(error.into()),
    }
}

fn read_new(cx: &Cx, form: &Form) -> Result<NewPriceList, Error> {
    let valid_from = match form.filled("valid_from") {
        None => None,
        Some(text) => Some(
            cx.here()
                .read_local(text)
                .ok_or_else(|| Error::invalid("/valid_from", "choose a day and a time, or leave it empty"))?,
        ),
    };
    Ok(NewPriceList {
        currency: form.text("currency").to_uppercase(),
        valid_from,
        note: form.filled("note").map(str::to_owned),
        rows: read_lines(form.text("rows"))?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_price_is_read_as_it_is_written() {
        let rows = read_lines(EXAMPLE).unwrap();
        assert_eq!(rows.iter().map(|row| row.amount_micros).collect::<Vec<_>>(), [9_000, 4_500, 81_000, 400]);
        let again: Vec<String> = rows.iter().map(line).collect();
        assert_eq!(read_lines(&again.join("\n")).unwrap(), rows);
        let wrong = |text: &str| read_lines(text).unwrap_err().errors[0].detail.clone();
        assert_eq!(wrong("email, , , , message, 0.1\n\nfax, , , , message, 1"), "line 3: there is no channel `fax`");
        assert_eq!(wrong("sms, 49"), "line 1: six values with commas between them are needed; there are 2");
        assert_eq!(wrong("sms, , , , part, 1"), "line 1: `part` is neither message nor segment");
        assert_eq!(wrong("sms, , , , message, much"), "line 1: `much` is no price such as 0.0045");
    }
}
