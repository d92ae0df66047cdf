//! What happened today, and what needs somebody.

use engine::{
    accounts::{self, AccountState, AccountView},
    alerts::{self, AlertQuery, AlertStateFilter, AlertView},
    analytics::{AnalyticsQuery, AnalyticsView, Figures, Interval},
    campaigns::{self, CampaignState, CampaignView},
    dead_letters::DeadLetterQuery,
    endpoints::{self, EndpointState},
    inbound::InboundQuery,
    money::{BillingMode, credits},
    plans::{quota::QuotaLevel, subscription::SubscriptionView},
    queries::ListQuery,
};
use maud::{Markup, html};
use model::{Channel, Money, Timestamp};
use serde::Deserialize;

use super::analytics::{Periods, lost, seen, under_way};
use crate::{
    cx::{Answer, Cx, Fault, go},
    format,
    parts::{
        self, Tone,
        chart::{self, Series},
        icon, link_button,
    },
    read::{self, Message, Page},
    shell::{self, Section},
};

/// Messages shown at the end of the page.
const NEWEST: u32 = 8;
/// Dead letters counted at most: how many does not matter beyond some.
const DEAD_MAX: u32 = 100;

/// Alerts shown: the newest. The rest is a click away.
const ALERTS_SHOWN: u32 = 3;
/// Received messages counted at most, for the same reason as dead letters.
const RECEIVED_MAX: u32 = 100;
/// Days of the trend beside a channel, today included.
const TREND_DAYS: u16 = 14;
/// Campaigns looked at for those under way: the newest.
const CAMPAIGNS_MAX: u32 = 50;

/// What the page is made from.
pub(crate) struct View {
    figures: Option<Lately>,
    accounts: Vec<AccountView>,
    campaigns: Vec<CampaignView>,
    credit: Option<Money>,
    received: Option<Received>,
    plan: Option<SubscriptionView>,
    alerts: Vec<AlertView>,
    alerts_firing: i64,
    newest: Vec<Message>,
    needs: Vec<Need>,
}

/// What was sent.
struct Lately {
    /// Since midnight where the viewer is, by hour and channel.
    today: AnalyticsView,
    /// By day and channel, on the tenant's clock.
    trend: AnalyticsView,
    days: Periods,
}

impl Lately {
    async fn read(cx: &Cx) -> Result<Self, Fault> {
        let days = Periods::until_now(&cx.tenant()?.timezone, cx.here().now, Interval::Day, TREND_DAYS);
        let query = |since: String, interval| AnalyticsQuery {
            since: Some(since),
            interval: Some(interval),
            group_by: Some("channel".to_owned()),
            ..AnalyticsQuery::default()
        };
        let (engine, caller) = (cx.engine(), &cx.caller);
        let today = engine.analytics_view(caller, &query(cx.here().midnight().to_string(), Interval::Hour)).await?;
        let trend = engine.analytics_view(caller, &query(days.since(), Interval::Day)).await?;
        Ok(Self { today, trend, days })
    }

    /// What the messages of a channel come to today; of every channel without one.
    fn sum(&self, channel: Option<Channel>, of: fn(&Figures) -> i64) -> i64 {
        let rows = self.today.data.iter().filter(|row| channel.is_none() || row.channel == channel);
        rows.map(|row| of(&row.figures)).sum()
    }
}

/// What people wrote today.
struct Received {
    count: usize,
    /// Whether there are more than were counted.
    has_more: bool,
}

/// The part of a received message that is counted.
#[derive(Deserialize)]
struct ReceivedAt {
    received_at: Timestamp,
}

impl Received {
    async fn read(cx: &Cx) -> Result<Self, Fault> {
        let query = InboundQuery { limit: Some(RECEIVED_MAX), ..InboundQuery::default() };
        let page: Page<ReceivedAt> = read::json(&cx.engine().inbound_messages(&cx.caller, &query).await?)?;
        let since = cx.here().midnight();
        let count = page.data.iter().filter(|message| message.received_at >= since).count();
        Ok(Self { count, has_more: page.next_cursor.is_some() && count == page.data.len() })
    }
}

/// Something that needs somebody.
struct Need {
    tone: Tone,
    title: String,
    text: String,
    path: String,
    action: &'static str,
}

/// Shows the first page.
pub(crate) async fn show(cx: Cx) -> Answer {
    let tenant = match cx.tenant() {
        Err(_) if cx.person.is_staff() => return Ok(go("/console/tenants")),
        tenant => tenant?,
    };
    let view = View::read(&cx).await?;
    let title = format!("{}, {}", greeting(&cx), cx.person.name().split(' ').next().unwrap_or_default());
    let title = if cx.person.session.name.is_empty() { tenant.name.clone() } else { title };
    let actions = html! { @if cx.may("messages:write") && !view.accounts.is_empty() { (link_button("/console/compose", "primary", Some("pen"), "Compose")) } };
    Ok(cx.page(shell::Page {
        actions: Some(actions),
        is_live: true,
        ..shell::Page::new(&title, Section::Home, body(&cx, &view))
    }))
}

fn greeting(cx: &Cx) -> &'static str {
    match cx.here().hour(cx.here().now) {
        5..12 => "Good morning",
        12..18 => "Good afternoon",
        _ => "Good evening",
    }
}

impl View {
    async fn read(cx: &Cx) -> Result<Self, Fault> {
        let (engine, caller) = (cx.engine(), &cx.caller);
        let accounts = if cx.may("accounts:read") {
            accounts::list(engine.parts(), caller, Some(200), None).await?.data
        } else {
            Vec::new()
        };
        let mut view = Self {
            figures: None,
            campaigns: Vec::new(),
            credit: None,
            received: None,
            plan: None,
            alerts: Vec::new(),
            alerts_firing: 0,
            newest: Vec::new(),
            needs: accounts.iter().filter_map(needs_account).collect(),
            accounts,
        };
        if cx.may("messages:read") {
            let query = ListQuery { limit: Some(NEWEST), ..ListQuery::default() };
            view.newest = read::json::<Page<Message>>(&engine.messages(caller, &query).await?)?.data;
            let dead = DeadLetterQuery { limit: Some(DEAD_MAX), ..DeadLetterQuery::default() };
            let dead: Page<Message> = read::json(&engine.dead_letters(caller, &dead).await?)?;
            view.needs.extend(needs_dead(dead.data.len(), dead.next_cursor.is_some()));
            view.received = Some(Received::read(cx).await?);
        }
        if cx.may("alerts:read") {
            view.alerts_firing = alerts::count_open(engine.parts(), caller).await?.firing;
            let query = AlertQuery {
                state: Some(AlertStateFilter::Firing),
                limit: Some(ALERTS_SHOWN),
                ..AlertQuery::default()
            };
            view.alerts = alerts::list(engine.parts(), caller, &query).await?.data;
        }
        if cx.may("plans:read") {
            view.plan = super::subscription::find(cx, caller).await?;
            view.needs.extend(view.plan.as_ref().into_iter().flat_map(needs_quota));
        }
        if cx.may("usage:read") {
            view.figures = Some(Lately::read(cx).await?);
        }
        if cx.may("campaigns:read") {
            let page = campaigns::list(engine, caller, Some(CAMPAIGNS_MAX), None).await?;
            let is_under_way = |one: &CampaignView| matches!(one.state, CampaignState::Sending | CampaignState::Paused);
            view.campaigns = page.data.into_iter().filter(is_under_way).collect();
        }
        if cx.may("credits:read") {
            let (mode, available) = credits::balance(engine.parts(), caller).await?;
            view.credit = (mode != BillingMode::None).then_some(available);
        }
        if cx.may("webhooks:read") {
            let endpoints = endpoints::list(engine, caller, Some(100), None).await?;
            view.needs.extend(endpoints.data.iter().filter(|endpoint| endpoint.state == EndpointState::Failing).map(
                |endpoint| Need {
                    tone: Tone::Warn,
                    title: format!("{} takes no events", endpoint.url),
                    text: endpoint.failing.as_ref().and_then(|failing| failing.detail.clone()).unwrap_or_default(),
                    path: format!("/console/settings/webhooks/{}", endpoint.id),
                    action: "Look at it",
                },
            ));
        }
        Ok(view)
    }
}

fn needs_account(account: &AccountView) -> Option<Need> {
    let (tone, what) = match account.state {
        AccountState::Ready | AccountState::Disabled => return None,
        AccountState::Paused => (Tone::Bad, "is paused"),
        AccountState::Unusable => (Tone::Bad, "cannot be used: its settings have to be entered again"),
    };
    Some(Need {
        tone,
        title: format!("{} {what}", account.name),
        text: account.pause.as_ref().map(|pause| pause.detail.clone()).unwrap_or_default(),
        path: format!("/console/channels/{}", account.id),
        action: "Look at it",
    })
}

/// Channels of the plan on which sending stops, or soon will.
fn needs_quota(plan: &SubscriptionView) -> Vec<Need> {
    let near = plan.quotas.iter().filter_map(|quota| {
        let left = quota.remaining?;
        (quota.level != QuotaLevel::Enough).then(|| Need {
            tone: if left == 0 { Tone::Bad } else { Tone::Warn },
            title: if left == 0 {
                format!("The month's {} messages are used up", format::channel(quota.channel))
            } else {
                format!(
                    "{} of the month are left",
                    format::count(
                        left,
                        &format!("{} message", format::channel(quota.channel)),
                        &format!("{} messages", format::channel(quota.channel))
                    )
                )
            },
            text: "A larger plan, or the next month, brings more.".to_owned(),
            path: super::subscription::PATH.to_owned(),
            action: "See the plan",
        })
    });
    near.collect()
}

fn needs_dead(count: usize, has_more: bool) -> Option<Need> {
    (count > 0).then(|| Need {
        tone: Tone::Warn,
        title: format!(
            "{}{} gave up after every try",
            format::count(count as i64, "message", "messages"),
            if has_more { " or more" } else { "" }
        ),
        text: "They can be sent again once the cause is gone.".to_owned(),
        path: "/console/dead-letters".to_owned(),
        action: "See dead letters",
    })
}

fn body(cx: &Cx, view: &View) -> Markup {
    if view.accounts.is_empty() && view.newest.is_empty() {
        return start(cx);
    }
    html! {
        div.stack.loose #today hx-get="/console" hx-trigger="news from:body" hx-select="#today" hx-swap="outerHTML" {
            (alerts_card(cx, view))
            (needs(&view.needs))
            @if let Some(figures) = &view.figures {
                (numbers(figures, view))
                div.columns {
                    (by_hour(cx, figures))
                    (by_channel(figures))
                }
            }
            (campaigns_card(&view.campaigns))
            (quota_card(cx, view.plan.as_ref()))
            (accounts_card(&view.accounts))
            @if !view.newest.is_empty() {
                (parts::card_flush("Newest messages", Some(link_button("/console/messages", "small", None, "See all")), super::messages::list_of(cx, &view.newest, &view.accounts)))
            }
        }
    }
}

/// The first steps of a new tenant.
fn start(cx: &Cx) -> Markup {
    let steps: [(&str, &str, &str, &str, &str, bool); 3] = [
        (
            "plug",
            "Set up a channel",
            "Connect an e-mail, SMS, WhatsApp or Telegram provider. Or begin with the sandbox: it behaves like a provider and sends nothing.",
            "/console/channels",
            "Choose a channel",
            cx.may("accounts:write"),
        ),
        (
            "pen",
            "Send a first message",
            "Write to yourself and watch it go from queued to delivered.",
            "/console/compose",
            "Write a message",
            cx.may("messages:write"),
        ),
        (
            "key",
            "Connect your program",
            "Make an API key; one request sends a message, the same on every channel.",
            "/console/settings/keys",
            "Make a key",
            cx.may("keys:write"),
        ),
    ];
    html! {
        section.card aria-label="First steps" {
            header { h2 { "Three steps to your first message" } }
            div.body {
                ol.stack.loose {
                    @for (picture, title, text, path, action, may) in steps {
                        li.row.apart {
                            div.row.step { span.glyph { (icon(picture)) } div { p.strong { (title) } p.muted { (text) } } }
                            @if may { (link_button(path, if path == "/console/channels" { "primary" } else { "" }, None, action)) }
                        }
                    }
                }
            }
        }
    }
}

fn needs(needs: &[Need]) -> Markup {
    html! {
        @if !needs.is_empty() {
            section.stack.tight aria-label="What needs you" {
                @for need in needs {
                    div class={ "notice " (need.tone.class()) } {
                        (icon("alert"))
                        div.grow { p.title { (need.title) } @if !need.text.is_empty() { p { (need.text) } } }
                        (link_button(&need.path, "small", None, need.action))
                    }
                }
            }
        }
    }
}

fn alerts_card(cx: &Cx, view: &View) -> Markup {
    html! {
        @if !view.alerts.is_empty() {
            (parts::card_flush("Alerts", Some(html! { @if view.alerts_firing > view.alerts.len() as i64 { span."muted small num" { (format::number(view.alerts_firing)) " firing" } } (link_button(super::alerts::PATH, "small", None, "See alerts")) }), html! {
                @for alert in &view.alerts {
                    article.finding aria-label=(alert.title) {
                        div."row apart" { div.row { (super::alerts::state(alert)) span."strong break" dir="auto" { (alert.title) } } span."muted small" { (cx.here().at(alert.fired_at)) } }
                        p."muted break" dir="auto" { (alert.detail) }
                    }
                }
            }))
        }
    }
}

fn quota_card(cx: &Cx, plan: Option<&SubscriptionView>) -> Markup {
    html! {
        @if let Some(plan) = plan.filter(|plan| !plan.quotas.is_empty()) {
            (parts::card("Quota of this month", Some(link_button(super::subscription::PATH, "small", None, "Plan")), super::subscription::quotas(cx, plan)))
        }
    }
}

fn numbers(figures: &Lately, view: &View) -> Markup {
    let sum = |of| figures.sum(None, of);
    let (total, arrived, read) = (sum(|f| f.accepted), sum(|f| f.delivered), sum(seen));
    let (waiting, gone) = (sum(under_way), sum(lost));
    html! {
        section.tiles aria-label="Today" {
            (parts::tile("Messages today", &format::number(total), Some(html! { "since midnight" })))
            (parts::tile("Arrived", &format::number(arrived), Some(html! { (format::percent(arrived, total)) " of all" })))
            (parts::tile("Opened or read", &format::number(read), Some(html! { (format::percent(read, arrived)) " of those that arrived" })))
            (parts::tile("Under way", &format::number(waiting), Some(html! { "waiting, or no report yet" })))
            (parts::tile("Did not arrive", &format::number(gone), Some(html! { (format::percent(gone, total)) " of all" })))
            @if let Some(received) = &view.received {
                (parts::tile("Received today", &format!("{}{}", format::number(received.count as i64), if received.has_more { "+" } else { "" }), Some(html! { a href="/console/inbound" { "See what people wrote" } })))
            }
            @if let Some(credit) = &view.credit { (parts::tile("Credit", &format::money(credit), Some(html! { a href="/console/billing" { "See the statement" } }))) }
        }
    }
}

fn by_hour(cx: &Cx, figures: &Lately) -> Markup {
    let values = |of: fn(&Figures) -> i64| {
        let mut hours = vec![0; 24];
        for row in &figures.today.data {
            let hour = row.period.map_or(0, |at| cx.here().hour(at).min(23));
            hours[hour] += of(&row.figures);
        }
        hours
    };
    let labels: Vec<String> = (0..24).map(|hour| format!("{hour:02}")).collect();
    let series = [
        Series { name: "Arrived", colour: '1', values: values(|f| f.delivered) },
        Series { name: "Under way", colour: 'n', values: values(under_way) },
        Series { name: "Did not arrive", colour: 'b', values: values(lost) },
    ];
    let more = link_button("/console/analytics", "small", None, "Analytics");
    parts::card("By hour", Some(more), chart::bars("Messages of today by hour", &labels, &series, 220))
}

fn by_channel(figures: &Lately) -> Markup {
    let used: Vec<Channel> = super::channels::of_people()
        .filter(|channel| figures.trend.data.iter().any(|row| row.channel == Some(*channel)))
        .collect();
    parts::card(
        "By channel",
        None,
        html! {
            @if used.is_empty() { p.muted { "Nothing was sent in the last " (TREND_DAYS) " days." } }
            ul.bar-list {
                @for channel in used {
                    @let sum = |of| figures.sum(Some(channel), of);
                    @let (total, arrived, waiting, gone) = (sum(|f| f.accepted), sum(|f| f.delivered), sum(under_way), sum(lost));
                    li.line {
                        div.row.apart {
                            span.row { (icon(parts::channel_icon(channel))) span.strong { (format::channel(channel)) } }
                            (chart::sparkline(&format!("{} by day, the last {TREND_DAYS} days", format::channel(channel)),
                                &figures.days.sums(&figures.trend, |row| row.channel == Some(channel), |f| f.accepted)))
                        }
                        (chart::shares(
                            &format!("{}: {arrived} arrived, {waiting} under way, {gone} did not arrive", format::channel(channel)),
                            &[('1', arrived), ('n', waiting), ('b', gone)],
                        ))
                        span."num muted small" { (format::number(total)) " today · " (format::percent(arrived, total)) " arrived" }
                    }
                }
            }
        },
    )
}

fn campaigns_card(campaigns: &[CampaignView]) -> Markup {
    html! {
        @if !campaigns.is_empty() {
            (parts::card("Campaigns under way", Some(link_button("/console/campaigns", "small", None, "Campaigns")), html! {
                ul.bar-list {
                    @for campaign in campaigns {
                        li.line {
                            div.row.apart {
                                a.clip dir="auto" href={ "/console/campaigns/" (campaign.id) } { (campaign.name) }
                                span.row { span."num muted" { (campaign.progress_percent) " %" } (super::campaigns::state(campaign)) }
                            }
                            (super::campaigns::progress(campaign))
                        }
                    }
                }
            }))
        }
    }
}

fn accounts_card(accounts: &[AccountView]) -> Markup {
    html! {
        @if !accounts.is_empty() {
            (parts::card("Accounts", Some(link_button("/console/channels", "small", None, "Channels")), html! {
                ul.grid {
                    @for account in accounts.iter().take(8) {
                        li.row.apart.account-line {
                            a.clip href={ "/console/channels/" (account.id) } { (account.name) }
                            (account_state(account))
                        }
                    }
                }
            }))
        }
    }
}

/// An account's state as a badge.
pub(crate) fn account_state(account: &AccountView) -> Markup {
    match account.state {
        AccountState::Ready => parts::badge(Tone::Good, "Ready"),
        AccountState::Disabled => parts::badge(Tone::Plain, "Disabled"),
        AccountState::Paused => parts::badge(Tone::Bad, "Paused"),
        AccountState::Unusable => parts::badge(Tone::Bad, "Unusable"),
    }
}
