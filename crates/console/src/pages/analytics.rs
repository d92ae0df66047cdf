//! What was sent and what became of it, over time and compared: charts of the figures the API tells.

mod compare;
mod periods;

use engine::analytics::{AnalyticsQuery, AnalyticsView, Figures, Interval};
use http::{HeaderValue, header};
use maud::{Markup, html};
use model::Channel;
use serde::Deserialize;

pub(super) use self::periods::Periods;
use super::channels;
use crate::{
    cx::{Answer, Cx, Query},
    format,
    parts::{
        self,
        chart::{self, Line, Series},
        link_button,
        table::{self, Filter},
    },
    shell::{self, Section},
};

const PATH: &str = "/console/analytics";

/// What the page is narrowed to, as its address says.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Wanted {
    period: Option<String>,
    channel: Option<Channel>,
    by: Option<String>,
}

/// A stretch of time to look at.
struct Stretch {
    word: &'static str,
    name: &'static str,
    interval: Interval,
    /// Days, weeks or months it has.
    count: u16,
}

/// The first is shown when none is chosen.
const STRETCHES: [Stretch; 4] = [
    Stretch { word: "month", name: "Last 30 days", interval: Interval::Day, count: 30 },
    Stretch { word: "week", name: "Last 7 days", interval: Interval::Day, count: 7 },
    Stretch { word: "quarter", name: "Last 13 weeks", interval: Interval::Week, count: 13 },
    Stretch { word: "year", name: "Last 12 months", interval: Interval::Month, count: 12 },
];

impl Wanted {
    fn stretch(&self) -> &'static Stretch {
        let word = self.period.as_deref().unwrap_or_default();
        STRETCHES.iter().find(|stretch| stretch.word == word).unwrap_or(&STRETCHES[0])
    }

    fn by(&self) -> compare::By {
        compare::By::from_word(self.by.as_deref().unwrap_or_default())
    }

    fn query(&self, periods: &Periods) -> AnalyticsQuery {
        AnalyticsQuery { since: Some(periods.since()), channel: self.channel, ..AnalyticsQuery::default() }
    }

    /// The page's address with another comparison.
    fn address(&self, path: &str, by: &str) -> String {
        let channel = self.channel.map(Channel::as_str).unwrap_or_default();
        table::address(path, [("period", self.period.as_deref().unwrap_or_default()), ("channel", channel), ("by", by)])
    }
}

/// Shows the figures.
pub(crate) async fn show(cx: Cx, Query(wanted): Query<Wanted>) -> Answer {
    let periods = periods(&cx, &wanted)?;
    let over_time = AnalyticsQuery {
        interval: Some(wanted.stretch().interval),
        group_by: Some("channel".to_owned()),
        ..wanted.query(&periods)
    };
    let view = cx.engine().analytics_view(&cx.caller, &over_time).await?;
    let rows = compare::read(&cx, wanted.by(), wanted.query(&periods)).await?;
    Ok(cx.page(shell::Page {
        lead: Some(
            html! { "What was sent and what became of it, by when it was accepted, on the tenant's clock (" (view.timezone) ")." },
        ),
        ..shell::Page::new("Analytics", Section::Analytics, body(&wanted, &periods, &view, &rows))
    }))
}

fn periods(cx: &Cx, wanted: &Wanted) -> Result<Periods, crate::cx::Fault> {
    let stretch = wanted.stretch();
    Ok(Periods::until_now(&cx.tenant()?.timezone, cx.here().now, stretch.interval, stretch.count))
}

fn body(wanted: &Wanted, periods: &Periods, view: &AnalyticsView, rows: &[compare::Compared]) -> Markup {
    let period = wanted.period.clone().unwrap_or_default();
    let channel = wanted.channel.map(|channel| channel.to_string()).unwrap_or_default();
    let stretches = STRETCHES[1..].iter().map(|stretch| (stretch.word.to_owned(), stretch.name.to_owned())).collect();
    let of_people = channels::of_people().map(|one| (one.to_string(), format::channel(one).to_owned())).collect();
    let filters = [
        Filter::Choice { name: "period", label: STRETCHES[0].name, value: &period, choices: stretches },
        Filter::Choice { name: "channel", label: "Every channel", value: &channel, choices: of_people },
        Filter::Kept { name: "by", value: wanted.by().word() },
    ];
    html! {
        section.card aria-label="Time and channel" { (table::filters(PATH, "figures", &filters)) }
        div.stack.loose #figures {
            @if view.totals.accepted == 0 {
                section.card aria-label="Figures" { (parts::empty("chart", "Nothing was sent", "Choose a longer time or another channel, or send a first message.", Some(link_button("/console/compose", "", Some("pen"), "Compose")))) }
            } @else {
                (numbers(&view.totals))
                (volume(periods, view))
                div."columns even" { (rates(periods, view)) (reasons(&view.totals)) }
                @if wanted.channel.is_none() { (by_channel(periods, view)) }
                (compare::card(wanted, rows))
            }
        }
    }
}

/// Messages that did not arrive and will not.
pub(super) const fn lost(f: &Figures) -> i64 {
    f.failed + f.bounced + f.expired + f.suppressed + f.unknown
}

/// Messages that wait, or of which nothing was heard yet.
pub(super) fn under_way(f: &Figures) -> i64 {
    (f.accepted - f.delivered - lost(f) - f.canceled).max(0)
}

/// Messages somebody looked at, as far as their channel tells.
pub(super) const fn seen(f: &Figures) -> i64 {
    // A mail is opened, a chat is read; where a provider tells both they are the same people.
    if f.opened > f.read { f.opened } else { f.read }
}

fn numbers(totals: &Figures) -> Markup {
    let share = |part: i64, whole: i64, of: &'static str| Some(html! { (format::percent(part, whole)) " " (of) });
    html! {
        section.tiles aria-label="Sums" {
            (parts::tile("Accepted", &format::number(totals.accepted), Some(html! { (format::number(totals.sent)) " sent" })))
            (parts::tile("Arrived", &format::number(totals.delivered), share(totals.delivered, totals.sent, "of those sent")))
            (parts::tile("Opened or read", &format::number(seen(totals)), share(seen(totals), totals.delivered, "of those that arrived")))
            (parts::tile("Clicked", &format::number(totals.clicked), share(totals.clicked, totals.delivered, "of those that arrived")))
            (parts::tile("Did not arrive", &format::number(lost(totals)), share(lost(totals), totals.accepted, "of all")))
            (parts::tile("Time to arrive", &totals.delivery_median_ms.map_or_else(|| "–".to_owned(), format::duration), Some(html! { "half are quicker" @if let Some(most) = totals.delivery_p95_ms { ", 95 % within " (format::duration(most)) } })))
        }
    }
}

fn volume(periods: &Periods, view: &AnalyticsView) -> Markup {
    let values = |of: fn(&Figures) -> i64| periods.sums(view, |_| true, of);
    let series = [
        Series { name: "Arrived", colour: '1', values: values(|f| f.delivered) },
        Series { name: "Sent or under way", colour: 'n', values: values(under_way) },
        Series { name: "Did not arrive", colour: 'b', values: values(lost) },
    ];
    parts::card("Messages", None, chart::bars("Messages over time", &periods.labels(), &series, 240))
}

fn rates(periods: &Periods, view: &AnalyticsView) -> Markup {
    let sums = |of: fn(&Figures) -> i64| periods.sums(view, |_| true, of);
    let share = |part: Vec<i64>, whole: &[i64]| {
        part.iter().zip(whole).map(|(part, whole)| (*whole > 0).then(|| part * 100 / whole)).collect()
    };
    let (sent, delivered) = (sums(|f| f.sent), sums(|f| f.delivered));
    let lines = [
        Line { name: "Arrived, of those sent", colour: '1', values: share(delivered.clone(), &sent) },
        Line { name: "Opened or read, of those that arrived", colour: '2', values: share(sums(seen), &delivered) },
        Line { name: "Clicked, of those that arrived", colour: '3', values: share(sums(|f| f.clicked), &delivered) },
    ];
    parts::card("Shares", None, chart::lines("Shares over time", &periods.labels(), &lines, " %", 240))
}

/// Why messages did not arrive, the most frequent reason first.
pub(super) fn reasons(totals: &Figures) -> Markup {
    let r = &totals.failed_by_reason;
    let mut reasons = vec![
        ("The address does not work", r.recipient),
        ("They want no more", r.opted_out + totals.suppressed),
        ("The provider refused the content", r.content),
        ("The provider took no more", r.throttled),
        ("The provider was out of order", r.unavailable),
        ("The account does not work", r.account),
        ("Too late to be sent", totals.expired),
        ("Nobody can say", r.unknown + totals.unknown),
    ];
    reasons.retain(|(_, count)| *count > 0);
    reasons.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let whole = reasons.iter().map(|(_, count)| count).sum::<i64>();
    parts::card(
        "Why messages did not arrive",
        None,
        html! {
            @if reasons.is_empty() { p.muted { "Every message that was sent has arrived or is under way." } }
            @else { (chart::shares_of("Reasons", whole, &reasons)) }
        },
    )
}

fn by_channel(periods: &Periods, view: &AnalyticsView) -> Markup {
    let used = channels::of_people().filter(|channel| view.data.iter().any(|row| row.channel == Some(*channel)));
    let series: Vec<Series<'_>> = used
        .zip(['1', '2', '3', '4', '5'])
        .map(|(channel, colour)| Series {
            name: format::channel(channel),
            colour,
            values: periods.sums(view, |row| row.channel == Some(channel), |f| f.accepted),
        })
        .collect();
    parts::card("By channel", None, chart::bars("Messages over time by channel", &periods.labels(), &series, 200))
}

/// Hands out the comparison over time as a table for spreadsheets.
pub(crate) async fn export(cx: Cx, Query(wanted): Query<Wanted>) -> Answer {
    let periods = periods(&cx, &wanted)?;
    let query = AnalyticsQuery {
        interval: Some(wanted.stretch().interval),
        group_by: Some(wanted.by().word().to_owned()),
        ..wanted.query(&periods)
    };
    let mut response = axum::response::Response::new(cx.engine().analytics_csv(&cx.caller, &query).await?.into());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/csv; charset=utf-8"));
    headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment; filename=\"analytics.csv\""));
    Ok(response)
}
