//! What happened today, and what needs somebody.

use std::collections::BTreeMap;

use engine::{
    accounts::{self, AccountState, AccountView},
    dead_letters::DeadLetterQuery,
    endpoints::{self, EndpointState},
    overview::Overview,
    queries::ListQuery,
};
use maud::{Markup, html};
use model::{Channel, Status};

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

/// What the page is made from.
pub(crate) struct View {
    overview: Option<Overview>,
    accounts: Vec<AccountView>,
    newest: Vec<Message>,
    needs: Vec<Need>,
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
            overview: None,
            newest: Vec::new(),
            needs: accounts.iter().filter_map(needs_account).collect(),
            accounts,
        };
        if cx.may("messages:read") {
            view.overview = Some(engine.overview(caller, cx.here().midnight()).await?);
            let query = ListQuery { limit: Some(NEWEST), ..ListQuery::default() };
            view.newest = read::json::<Page<Message>>(&engine.messages(caller, &query).await?)?.data;
            let dead = DeadLetterQuery { limit: Some(DEAD_MAX), ..DeadLetterQuery::default() };
            let dead: Page<Message> = read::json(&engine.dead_letters(caller, &dead).await?)?;
            view.needs.extend(needs_dead(dead.data.len(), dead.next_cursor.is_some()));
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
            (needs(&view.needs))
            @if let Some(overview) = &view.overview {
                (numbers(cx, overview))
                div.columns {
                    (by_hour(cx, overview))
                    (by_channel(overview))
                }
            }
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

/// Messages by what became of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Sums {
    total: i64,
    arrived: i64,
    read: i64,
    under_way: i64,
    failed: i64,
}

impl Sums {
    fn add(&mut self, status: Status) {
        self.total += 1;
        match status {
            Status::Delivered => self.arrived += 1,
            Status::Read => {
                self.arrived += 1;
                self.read += 1;
            }
            Status::Failed | Status::Bounced | Status::Expired | Status::Suppressed | Status::Unknown => {
                self.failed += 1
            }
            Status::Scheduled | Status::Queued | Status::Sending | Status::Sent => self.under_way += 1,
            Status::Canceled => {}
        }
    }
}

fn numbers(cx: &Cx, overview: &Overview) -> Markup {
    let mut sums = Sums::default();
    overview.messages.iter().for_each(|(_, _, status)| sums.add(*status));
    let more = if overview.is_cut { "+" } else { "" };
    let since = if overview.is_cut {
        html! { "since " (cx.here().at(overview.since)) }
    } else {
        html! { "since midnight" }
    };
    html! {
        section.tiles aria-label="Today" {
            (parts::tile("Messages today", &format!("{}{more}", format::number(sums.total)), Some(since)))
            (parts::tile("Arrived", &format::number(sums.arrived), Some(html! { (format::percent(sums.arrived, sums.total)) " of all" })))
            (parts::tile("Read", &format::number(sums.read), Some(html! { (format::percent(sums.read, sums.arrived)) " of those that arrived" })))
            (parts::tile("Under way", &format::number(sums.under_way), Some(html! { "waiting, or no report yet" })))
            (parts::tile("Did not arrive", &format::number(sums.failed), Some(html! { (format::percent(sums.failed, sums.total)) " of all" })))
        }
    }
}

fn by_hour(cx: &Cx, overview: &Overview) -> Markup {
    let mut hours = vec![Sums::default(); 24];
    for (at, _, status) in &overview.messages {
        hours[cx.here().hour(*at).min(23)].add(*status);
    }
    let labels: Vec<String> = (0..24).map(|hour| format!("{hour:02}")).collect();
    let values = |of: fn(&Sums) -> i64| hours.iter().map(of).collect();
    let series = [
        Series { name: "Arrived", colour: '1', values: values(|sums| sums.arrived) },
        Series { name: "Under way", colour: 'n', values: values(|sums| sums.under_way) },
        Series { name: "Did not arrive", colour: 'b', values: values(|sums| sums.failed) },
    ];
    parts::card("By hour", None, chart::bars("Messages of today by hour", &labels, &series, 220))
}

fn by_channel(overview: &Overview) -> Markup {
    let mut channels: BTreeMap<Channel, Sums> = BTreeMap::new();
    for (_, channel, status) in &overview.messages {
        channels.entry(*channel).or_default().add(*status);
    }
    parts::card(
        "By channel",
        None,
        html! {
            @if channels.is_empty() { p.muted { "Nothing was sent today." } }
            ul.bar-list {
                @for (channel, sums) in &channels {
                    li.line {
                        div.row.apart {
                            span.row { (icon(parts::channel_icon(*channel))) span.strong { (format::channel(*channel)) } }
                            span."num muted" { (format::number(sums.total)) " · " (format::percent(sums.arrived, sums.total)) " arrived" }
                        }
                        (chart::shares(
                            &format!("{}: {} arrived, {} under way, {} did not arrive", format::channel(*channel), sums.arrived, sums.under_way, sums.failed),
                            &[('1', sums.arrived), ('n', sums.under_way), ('b', sums.failed)],
                        ))
                    }
                }
            }
        },
    )
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_counts_once_and_canceled_messages_count_as_nothing_else() {
        let mut sums = Sums::default();
        Status::ALL.iter().for_each(|status| sums.add(*status));
        assert_eq!(sums, Sums { total: 12, arrived: 2, read: 1, under_way: 4, failed: 5 });
        assert_eq!(sums.arrived + sums.under_way + sums.failed + 1, sums.total);
    }
}
