//! What was sent and what became of it, over time and compared: charts of the figures the API tells. The tenant has its own, and so has the operator, of all tenants, on pages that are
//! the same.

mod compare;
mod money;
mod people;
mod periods;

use engine::{
    analytics::{AnalyticsQuery, AnalyticsView, Figures, Interval},
    keys::Caller,
};
use http::{HeaderValue, Uri, header};
use maud::{Markup, html};
use model::{AccountId, CampaignId, Channel, Purpose, TemplateId};
use serde::Deserialize;

pub(super) use self::periods::Periods;
use super::channels;
use crate::{
    cx::{Answer, Cx, Fault, Query},
    format,
    parts::{
        self,
        chart::{self, Line, Series},
        icon, link_button,
        table::{self, Filter},
    },
    shell::{self, Section},
};

const PATH: &str = "/console/analytics";
const OPERATOR_PATH: &str = "/console/operator/analytics";

/// Whose figures the page shows.
pub(super) struct Side {
    path: &'static str,
    export: &'static str,
    section: Section,
    /// As whom the engine is asked.
    caller: Caller,
    /// Whose clock days begin on.
    zone: String,
    is_operators: bool,
}

impl Side {
    /// Whose figures an address is about; those of all tenants are for the operator's staff.
    fn of(cx: &Cx, uri: &Uri) -> Result<Self, Fault> {
        if uri.path().starts_with(OPERATOR_PATH) {
            let caller = cx.outside();
            caller.need_operator("usage:read")?;
            return Ok(Self {
                path: OPERATOR_PATH,
                export: "/console/operator/analytics/export",
                section: Section::OperatorAnalytics,
                caller,
                zone: "UTC".to_owned(),
                is_operators: true,
            });
        }
        Ok(Self {
            path: PATH,
            export: "/console/analytics/export",
            section: Section::Analytics,
            caller: cx.caller.clone(),
            zone: cx.tenant()?.timezone.clone(),
            is_operators: false,
        })
    }
}

/// What the page is narrowed to, as its address says.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Wanted {
    period: Option<String>,
    channel: Option<Channel>,
    purpose: Option<Purpose>,
    provider: Option<String>,
    account_id: Option<AccountId>,
    country: Option<String>,
    campaign_id: Option<CampaignId>,
    template_id: Option<TemplateId>,
    topic: Option<String>,
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

    fn by(&self, side: &Side) -> compare::By {
        compare::By::from_word(self.by.as_deref().unwrap_or_default(), side)
    }

    fn query(&self, periods: &Periods) -> AnalyticsQuery {
        AnalyticsQuery {
            since: Some(periods.since()),
            channel: self.channel,
            purpose: self.purpose,
            provider: self.provider.clone(),
            account_id: self.account_id,
            country: self.country.clone(),
            campaign_id: self.campaign_id,
            template_id: self.template_id,
            topic: self.topic.clone(),
            ..AnalyticsQuery::default()
        }
    }

    /// What it is narrowed to from a row of the comparison: the parameter and its value.
    fn narrowed(&self) -> Vec<(&'static str, String)> {
        let all = [
            ("provider", self.provider.clone()),
            ("account_id", self.account_id.map(|id| id.to_string())),
            ("country", self.country.clone()),
            ("campaign_id", self.campaign_id.map(|id| id.to_string())),
            ("template_id", self.template_id.map(|id| id.to_string())),
            ("topic", self.topic.clone()),
        ];
        all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }

    /// The page's address with another comparison, and with one parameter set; an empty value takes it out.
    fn address(&self, path: &str, by: &str, set: Option<(&'static str, &str)>) -> String {
        let mut pairs = vec![
            ("period", self.period.clone().unwrap_or_default()),
            ("channel", self.channel.map(|channel| channel.to_string()).unwrap_or_default()),
            ("purpose", self.purpose.map(|purpose| purpose.to_string()).unwrap_or_default()),
        ];
        pairs.extend(self.narrowed());
        if let Some((name, value)) = set {
            pairs.retain(|(known, _)| *known != name);
            pairs.push((name, value.to_owned()));
        }
        pairs.push(("by", by.to_owned()));
        table::address(path, pairs.iter().map(|(name, value)| (*name, value.as_str())))
    }
}

/// Shows the figures.
pub(crate) async fn show(cx: Cx, uri: Uri, Query(wanted): Query<Wanted>) -> Answer {
    let side = Side::of(&cx, &uri)?;
    let periods = periods(&cx, &side, &wanted);
    let over_time = AnalyticsQuery {
        interval: Some(wanted.stretch().interval),
        group_by: Some("channel".to_owned()),
        ..wanted.query(&periods)
    };
    let view = cx.engine().analytics_view(&side.caller, &over_time).await?;
    let compared = compare::read(&cx, &side, wanted.by(&side), wanted.query(&periods)).await?;
    let narrowed = compare::narrowed(&cx, &side, &wanted).await?;
    let whose = if side.is_operators { "Every tenant's messages" } else { "What was sent and what became of it" };
    Ok(cx.page(shell::Page {
        lead: Some(html! { (whose) ", by when it was accepted (" (view.timezone) ")." }),
        ..shell::Page::new("Analytics", side.section, body(&side, &wanted, &narrowed, &periods, &view, &compared))
    }))
}

fn periods(cx: &Cx, side: &Side, wanted: &Wanted) -> Periods {
    let stretch = wanted.stretch();
    Periods::until_now(&side.zone, cx.here().now, stretch.interval, stretch.count)
}

fn body(
    side: &Side,
    wanted: &Wanted,
    narrowed: &[compare::Narrowed],
    periods: &Periods,
    view: &AnalyticsView,
    compared: &[compare::Compared],
) -> Markup {
    html! {
        section.card aria-label="What is shown" {
            (filters(side, wanted))
            @if !narrowed.is_empty() {
                div."row padded" {
                    span.muted { "Only" }
                    @for one in narrowed {
                        a."button small" href=(wanted.address(side.path, wanted.by(side).word(), Some((one.parameter, "")))) aria-label={ "Show all again, not only " (one.name) } {
                            span.break dir="auto" { (one.name) } (icon("close"))
                        }
                    }
                }
            }
        }
        div.stack.loose #figures {
            @if view.totals.accepted == 0 {
                section.card aria-label="Figures" { (nothing(side, narrowed)) }
            } @else {
                (numbers(view))
                (volume(periods, view))
                div."columns even" { (rates(periods, view)) (people::card(&view.totals)) }
                div."columns even" { (money::card(periods, view)) (reasons(&view.totals)) }
                @if wanted.channel.is_none() { (by_channel(periods, view)) }
                (compare::card(side, wanted, compared))
            }
        }
    }
}

fn filters(side: &Side, wanted: &Wanted) -> Markup {
    let period = wanted.period.clone().unwrap_or_default();
    let channel = wanted.channel.map(|channel| channel.to_string()).unwrap_or_default();
    let purpose = wanted.purpose.map(|purpose| purpose.to_string()).unwrap_or_default();
    let stretches = STRETCHES[1..].iter().map(|stretch| (stretch.word.to_owned(), stretch.name.to_owned())).collect();
    let of_people = channels::of_people().map(|one| (one.to_string(), format::channel(one).to_owned())).collect();
    let purposes = [Purpose::Transactional, Purpose::Marketing];
    let purposes = purposes.map(|one| (one.to_string(), format::words(one.as_str()))).to_vec();
    let narrowed = wanted.narrowed();
    let mut filters = vec![
        Filter::Choice { name: "period", label: STRETCHES[0].name, value: &period, choices: stretches },
        Filter::Choice { name: "channel", label: "Every channel", value: &channel, choices: of_people },
        Filter::Choice { name: "purpose", label: "Every purpose", value: &purpose, choices: purposes },
    ];
    filters.extend(narrowed.iter().map(|(name, value)| Filter::Kept { name, value }));
    filters.push(Filter::Kept { name: "by", value: wanted.by(side).word() });
    table::filters(side.path, "figures", &filters)
}

/// What stands where nothing was sent, with why that may be.
fn nothing(side: &Side, narrowed: &[compare::Narrowed]) -> Markup {
    if !narrowed.is_empty() {
        let all = link_button(side.path, "", None, "Show everything");
        return parts::empty(
            "chart",
            "Nothing of this was sent",
            "In this time no message was both of what is chosen above. Choose a longer time, or show everything.",
            Some(all),
        );
    }
    if side.is_operators {
        return parts::empty(
            "chart",
            "Nothing was sent",
            "No tenant had a message accepted in this time. Choose a longer time or another channel.",
            None,
        );
    }
    let compose = link_button("/console/compose", "", Some("pen"), "Compose");
    parts::empty(
        "chart",
        "Nothing was sent",
        "Choose a longer time or another channel, or send a first message.",
        Some(compose),
    )
}

/// Messages that did not arrive and will not.
pub(super) const fn lost(f: &Figures) -> i64 {
    f.failed + f.bounced + f.expired + f.suppressed + f.unknown
}

/// Messages that wait, or of which nothing was heard yet.
pub(super) fn under_way(f: &Figures) -> i64 {
    (f.accepted - f.delivered - lost(f) - f.canceled).max(0)
}

/// Messages of one channel somebody looked at, as far as that tells.
pub(super) const fn seen(f: &Figures) -> i64 {
    // A mail is opened, a chat is read; where a provider tells both they are the same people. Figures of several channels are added one by one.
    if f.opened > f.read { f.opened } else { f.read }
}

/// What the messages of one channel come to.
fn of_channel(view: &AnalyticsView, channel: Channel, of: fn(&Figures) -> i64) -> i64 {
    view.data.iter().filter(|row| row.channel == Some(channel)).map(|row| of(&row.figures)).sum()
}

/// A length of time, or a dash.
fn took(ms: Option<i64>) -> String {
    ms.map_or_else(|| "–".to_owned(), format::duration)
}

fn numbers(view: &AnalyticsView) -> Markup {
    let f = &view.totals;
    let number = |label: &str, count: i64, note: Markup| parts::tile(label, &format::number(count), Some(note));
    let of = |part: i64, whole: i64, what: &str| html! { (format::percent(part, whole)) " " (what) };
    let apart =
        |programs: i64| html! { @if programs > 0 { ", " (format::number(programs)) " more by programs alone" } };
    let within = |most: Option<i64>, none: &str| {
        let text = |most| format!("half are quicker, 95 % within {}", format::duration(most));
        html! { (most.map_or_else(|| none.to_owned(), text)) }
    };
    let mails = of_channel(view, Channel::Email, |f| f.delivered);
    html! {
        section.tiles aria-label="Sums" {
            (number("Accepted", f.accepted, html! { (format::number(f.sent)) " sent" }))
            (number("Arrived", f.delivered, of(f.delivered, f.sent, "of those sent")))
            (number("Did not arrive", lost(f), of(lost(f), f.accepted, "of all")))
            (parts::tile("Time to arrive", &took(f.delivery_median_ms), Some(within(f.delivery_p95_ms, "nothing has arrived yet"))))
            (number("Opened", f.opened, html! { (of(f.opened, mails, "of mails that arrived")) (apart(f.machine_opened)) }))
            (number("Read", f.read, of(f.read, f.delivered, "of those that arrived")))
            (number("Clicked", f.clicked, html! { (of(f.clicked, f.delivered, "of those that arrived")) (apart(f.machine_clicked)) }))
            (number("Replied", f.replied, of(f.replied, f.delivered, "of those that arrived")))
            (parts::tile("Time to reply", &took(f.response_median_ms), Some(within(f.response_p95_ms, "nobody has replied yet"))))
            (number("Unsubscribed", f.unsubscribed, of(f.unsubscribed, f.delivered, "of those that arrived")))
            (number("Complaints", f.complained, of(f.complained, of_channel(view, Channel::Email, |f| f.sent), "of mails sent")))
            (parts::tile("Cost", &money::amounts(&f.costs), Some(html! { @if f.cost_per_delivered.is_empty() { "no cost is known" } @else { (money::amounts(&f.cost_per_delivered)) " for each that arrived" } })))
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
        Line { name: "Replied, of those that arrived", colour: '4', values: share(sums(|f| f.replied), &delivered) },
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
pub(crate) async fn export(cx: Cx, uri: Uri, Query(wanted): Query<Wanted>) -> Answer {
    let side = Side::of(&cx, &uri)?;
    let periods = periods(&cx, &side, &wanted);
    let query = AnalyticsQuery {
        interval: Some(wanted.stretch().interval),
        group_by: Some(wanted.by(&side).group().to_owned()),
        ..wanted.query(&periods)
    };
    let mut response = axum::response::Response::new(cx.engine().analytics_csv(&side.caller, &query).await?.into());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/csv; charset=utf-8"));
    headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment; filename=\"analytics.csv\""));
    Ok(response)
}

#[cfg(test)]
mod tests {
    use engine::analytics::{AnalyticsRow, Dimension};
    use model::{Money, Timestamp};

    use super::*;

    fn row(channel: Channel, period: Timestamp, figures: Figures) -> AnalyticsRow {
        AnalyticsRow {
            period: Some(period),
            tenant_id: None,
            channel: Some(channel),
            provider: None,
            account_id: None,
            purpose: None,
            country: None,
            campaign_id: None,
            template_id: None,
            template_version: None,
            topic: None,
            variant: None,
            figures,
        }
    }

    fn view() -> (Periods, AnalyticsView) {
        let now: Timestamp = "2026-11-29T12:00:00Z".parse().unwrap();
        let today: Timestamp = "2026-11-29T00:00:00Z".parse().unwrap();
        let euros = |amount_micros| vec![Money { amount_micros, currency: "EUR".to_owned() }];
        let mails = Figures {
            accepted: 10,
            sent: 10,
            delivered: 8,
            opened: 4,
            machine_opened: 2,
            clicked: 1,
            machine_clicked: 3,
            complained: 1,
            ..Figures::default()
        };
        let texts = Figures {
            accepted: 5,
            sent: 5,
            delivered: 4,
            read: 3,
            replied: 2,
            unsubscribed: 1,
            costs: euros(2_500_000),
            ..Figures::default()
        };
        let totals = Figures {
            accepted: 15,
            sent: 15,
            delivered: 12,
            opened: 4,
            machine_opened: 2,
            read: 3,
            clicked: 1,
            machine_clicked: 3,
            complained: 1,
            replied: 2,
            unsubscribed: 1,
            response_median_ms: Some(300_000),
            response_p95_ms: Some(900_000),
            costs: euros(2_500_000),
            cost_per_delivered: euros(208_333),
            ..Figures::default()
        };
        let data = vec![row(Channel::Email, today, mails), row(Channel::Sms, today, texts)];
        let view = AnalyticsView {
            since: today,
            until: now,
            timezone: "UTC".to_owned(),
            interval: Interval::Day,
            group_by: vec![Dimension::Channel],
            data,
            totals,
        };
        (Periods::until_now("UTC", now, Interval::Day, 2), view)
    }

    #[test]
    fn people_programs_and_money_stand_apart() {
        let (periods, view) = view();
        let tiles = numbers(&view).into_string();
        let tile = |label: &str, value: &str, note: &str| {
            format!(
                "<span class=\"label\">{label}</span><span class=\"value\">{value}</span><span class=\"note\">{note}</span>"
            )
        };
        for expected in [
            tile("Opened", "4", "50.0 % of mails that arrived, 2 more by programs alone"),
            tile("Read", "3", "25.0 % of those that arrived"),
            tile("Clicked", "1", "8.3 % of those that arrived, 3 more by programs alone"),
            tile("Replied", "2", "16.6 % of those that arrived"),
            tile("Time to reply", "5 min", "half are quicker, 95 % within 15 min"),
            tile("Unsubscribed", "1", "8.3 % of those that arrived"),
            tile("Complaints", "1", "10.0 % of mails sent"),
            tile("Cost", "2.50 EUR", "0.208333 EUR for each that arrived"),
        ] {
            assert!(tiles.contains(&expected), "{expected}\n{tiles}");
        }
        let did = people::card(&view.totals).into_string();
        assert!(did.contains("Opened by programs alone") && did.contains("Reported as unwanted"), "{did}");
        let cost = money::card(&periods, &view).into_string();
        assert!(cost.contains("<th scope=\"row\">29 Nov</th><td>250</td>"), "{cost}");
        // Shares of a day add up over channels: four mails were opened and three texts read.
        let shares = rates(&periods, &view).into_string();
        assert!(
            shares.contains("<th scope=\"row\">29 Nov</th><td>80</td><td>58</td><td>8</td><td>16</td>"),
            "{shares}"
        );
    }

    #[test]
    fn nothing_known_is_said_in_words() {
        let empty = AnalyticsView { totals: Figures::default(), data: Vec::new(), ..view().1 };
        assert!(people::card(&empty.totals).into_string().contains("Nothing is known yet"));
        assert!(money::card(&view().0, &empty).into_string().contains("No cost is known"));
        assert!(numbers(&empty).into_string().contains("no cost is known"));
    }
}
