//! What was sent in a month, by channel and provider: the sums the bill is made from.

use engine::usage::UsageQuery;
use http::{HeaderValue, header};
use maud::{Markup, html};
use model::Channel;
use serde::Deserialize;

use crate::{
    cx::{Answer, Cx, Query},
    format,
    parts::{
        self,
        chart::{self, Series},
        icon, link_button,
        table::{self, Filter, Row, Table, cell, number},
    },
    read::{self, Counts, Usage, UsageRow},
    shell::{self, Section},
};

const PATH: &str = "/console/usage";
/// Months to choose from.
const MONTHS: i16 = 13;

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Wanted {
    month: Option<String>,
}

/// Shows a month.
pub(crate) async fn show(cx: Cx, Query(wanted): Query<Wanted>) -> Answer {
    cx.tenant()?;
    let query = UsageQuery { month: wanted.month.clone(), day: None, group_by: Some("channel,provider".to_owned()) };
    let usage: Usage = read::json(&cx.engine().usage(&cx.caller, &query).await?)?;
    Ok(cx.page(shell::Page {
        lead: Some(html! { "What was sent, by the month (UTC) in which it was accepted." }),
        tabs: Some(super::billing::tabs(&cx, PATH)),
        ..shell::Page::new("Usage", Section::Usage, body(&cx, &usage))
    }))
}

/// The last months, newest first: as in the address, and in words.
fn months(cx: &Cx) -> Vec<(String, String)> {
    let first = cx.here().now.jiff().to_zoned(jiff::tz::TimeZone::UTC).date().first_of_month();
    let month = |back: i16| {
        let date = first.saturating_sub(jiff::Span::new().months(back));
        (date.strftime("%Y-%m").to_string(), date.strftime("%B %Y").to_string())
    };
    (0..MONTHS).map(month).collect()
}

fn body(cx: &Cx, usage: &Usage) -> Markup {
    let totals = &usage.totals;
    html! {
        section.card aria-label="Month" {
            (table::filters(PATH, "usage", &[Filter::Choice { name: "month", label: "This month", value: &usage.month, choices: months(cx) }]))
            div #usage {
                @if totals.accepted == 0 {
                    (parts::empty("chart", "Nothing was sent", "Choose another month, or send a first message.", Some(link_button("/console/compose", "", Some("pen"), "Compose"))))
                } @else {
                    div.body-inner {
                        section.tiles aria-label="Sums" {
                            (parts::tile("Accepted", &format::number(totals.accepted), None))
                            (parts::tile("Sent", &format::number(totals.sent), Some(html! { (format::count(totals.segments, "SMS part", "SMS parts")) })))
                            (parts::tile("Arrived", &format::number(totals.delivered), Some(html! { (format::percent(totals.delivered, totals.sent)) " of those sent" })))
                            (parts::tile("Read", &format::number(totals.read), None))
                            (parts::tile("Did not arrive", &format::number(lost(totals)), Some(html! { (format::percent(lost(totals), totals.accepted)) " of all" })))
                        }
                        (by_channel(&usage.data))
                        div.row { (link_button(&table::address("/console/usage/export", [("month", usage.month.as_str())]), "small", Some("file"), "Export CSV")) }
                    }
                    (rows(&usage.data))
                }
            }
        }
    }
}

const fn lost(counts: &Counts) -> i64 {
    counts.failed + counts.bounced + counts.unknown
}

fn by_channel(rows: &[UsageRow]) -> Markup {
    let channels: Vec<Channel> =
        Channel::ALL.iter().copied().filter(|channel| rows.iter().any(|row| row.channel == Some(*channel))).collect();
    let labels: Vec<String> = channels.iter().map(|channel| format::channel(*channel).to_owned()).collect();
    let sum = |of: fn(&Counts) -> i64| -> Vec<i64> {
        let channel = |channel: &Channel| {
            rows.iter().filter(|row| row.channel == Some(*channel)).map(|row| of(&row.counts)).sum()
        };
        channels.iter().map(channel).collect()
    };
    let series = [
        Series { name: "Arrived", colour: '1', values: sum(|counts| counts.delivered) },
        Series {
            name: "Sent or under way",
            colour: 'n',
            values: sum(|counts| (counts.accepted - counts.delivered - lost(counts)).max(0)),
        },
        Series { name: "Did not arrive", colour: 'b', values: sum(lost) },
    ];
    chart::bars("Messages of the month by channel", &labels, &series, 200)
}

fn rows(rows: &[UsageRow]) -> Markup {
    let row = |row: &UsageRow| Row {
        href: None,
        cells: vec![
            cell(
                html! { @if let Some(channel) = row.channel { span.row { (icon(parts::channel_icon(channel))) (format::channel(channel)) } } },
            ),
            cell(
                html! { @match row.provider.as_deref() { Some("") | None => span.muted { "None" }, Some(id) => (connectors::registry::find(id).map_or(id, |connector| connector.spec().name)) } },
            ),
            number(row.counts.accepted),
            number(row.counts.sent),
            number(row.counts.delivered),
            number(row.counts.read),
            number(lost(&row.counts)),
            number(row.counts.segments),
            number(row.counts.recipients),
            table::figure(&format::bytes(row.counts.bytes.unsigned_abs())),
        ],
    };
    table::table(Table {
        caption: "Usage by channel and provider",
        columns: &[
            "Channel",
            "Provider",
            "Accepted",
            "Sent",
            "Arrived",
            "Read",
            "Lost",
            "Parts",
            "Recipients",
            "Handed over",
        ],
        rows: rows.iter().map(row).collect(),
    })
}

/// Hands out the month as a table for spreadsheets.
pub(crate) async fn export(cx: Cx, Query(wanted): Query<Wanted>) -> Answer {
    let query = UsageQuery { month: wanted.month, ..UsageQuery::default() };
    let csv = cx.engine().usage_csv(&cx.caller, &query).await?;
    let mut response = axum::response::Response::new(csv.into());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/csv; charset=utf-8"));
    response
        .headers_mut()
        .insert(header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment; filename=\"usage.csv\""));
    Ok(response)
}
