//! The tenant's messages, newest first, with their status as it moves.

use engine::{accounts, queries::ListQuery};
use maud::{Markup, html};
use model::{AccountId, Channel, Status};
use serde::Deserialize;

use crate::{
    cx::{Answer, Cx, Query},
    format,
    parts::{
        self, icon, link_button,
        table::{self, Filter, Pages, Row, Table, cell, text},
    },
    read::{self, Message, Page},
    shell::{self, Section},
};

/// Rows of one page.
const ROWS: u32 = 50;
const PATH: &str = "/console/messages";

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Wanted {
    q: Option<String>,
    status: Option<Status>,
    channel: Option<Channel>,
    account: Option<AccountId>,
    period: Option<String>,
    cursor: Option<String>,
}

/// Periods to choose from: the word in the address, the words for people, and days.
const PERIODS: &[(&str, &str, i64)] =
    &[("day", "Last 24 hours", 1), ("week", "Last 7 days", 7), ("month", "Last 30 days", 30)];

/// Lists messages.
pub(crate) async fn list(cx: Cx, Query(wanted): Query<Wanted>) -> Answer {
    cx.tenant()?;
    let days = PERIODS.iter().find(|(word, ..)| Some(*word) == wanted.period.as_deref()).map(|(.., days)| *days);
    let query = ListQuery {
        q: wanted.q.clone(),
        status: wanted.status,
        channel: wanted.channel,
        account_id: wanted.account,
        since: days.map(|days| cx.here().now.plus_seconds(-days * 86_400)),
        limit: Some(ROWS),
        cursor: wanted.cursor.clone(),
        ..ListQuery::default()
    };
    let page: Page<Message> = read::json(&cx.engine().messages(&cx.caller, &query).await?)?;
    let accounts = if cx.may("accounts:read") {
        accounts::list(cx.engine().parts(), &cx.caller, Some(200), None).await?.data
    } else {
        Vec::new()
    };
    let actions = html! {
        @if cx.may("messages:write") { (link_button("/console/compose", "primary", Some("pen"), "Compose")) }
    };
    Ok(cx.page(shell::Page {
        lead: Some(html! { "Every message you sent, and where it is." }),
        actions: Some(actions),
        tabs: Some(tabs(PATH)),
        is_live: wanted.cursor.is_none(),
        ..shell::Page::new("Messages", Section::Messages, body(&cx, &wanted, &page, &accounts))
    }))
}

/// What belongs to messages.
pub(crate) fn tabs(here: &str) -> Markup {
    parts::tabs(
        "Messages",
        &[
            (PATH, "All"),
            ("/console/dead-letters", "Dead letters"),
            ("/console/inbound", "Received"),
            (super::schedules::PATH, "Repeating"),
            (super::invoices::PATH, "Invoices"),
        ],
        here,
    )
}

fn body(cx: &Cx, wanted: &Wanted, page: &Page<Message>, accounts: &[accounts::AccountView]) -> Markup {
    let channels = Channel::ALL.iter().filter(|channel| **channel != Channel::Webhook);
    let pair = |word: &str, name: &str| (word.to_owned(), name.to_owned());
    let account = wanted.account.map(|id| id.to_string()).unwrap_or_default();
    let filters = [
        Filter::Search {
            name: "q",
            label: "Find by address, message id or provider id",
            value: wanted.q.as_deref().unwrap_or_default(),
        },
        Filter::Choice {
            name: "status",
            label: "Any status",
            value: wanted.status.map(Status::as_str).unwrap_or_default(),
            choices: Status::ALL
                .iter()
                .map(|status| (status.as_str().to_owned(), format::words(status.as_str())))
                .collect(),
        },
        Filter::Choice {
            name: "channel",
            label: "Any channel",
            value: wanted.channel.map(Channel::as_str).unwrap_or_default(),
            choices: channels.map(|channel| pair(channel.as_str(), format::channel(*channel))).collect(),
        },
        Filter::Choice {
            name: "account",
            label: "Any account",
            value: &account,
            choices: accounts.iter().map(|account| (account.id.to_string(), account.name.clone())).collect(),
        },
        Filter::Choice {
            name: "period",
            label: "Any time",
            value: wanted.period.as_deref().unwrap_or_default(),
            choices: PERIODS.iter().map(|(word, name, _)| pair(word, name)).collect(),
        },
    ];
    let query: Vec<(&str, String)> = vec![
        ("q", wanted.q.clone().unwrap_or_default()),
        ("status", wanted.status.map(|status| status.as_str().to_owned()).unwrap_or_default()),
        ("channel", wanted.channel.map(|channel| channel.as_str().to_owned()).unwrap_or_default()),
        ("account", account.clone()),
        ("period", wanted.period.clone().unwrap_or_default()),
    ];
    let is_narrowed = query.iter().any(|(_, value)| !value.is_empty());
    let here = table::address(PATH, query.iter().map(|(name, value)| (*name, value.as_str())));
    let is_first = wanted.cursor.is_none();
    html! {
        section.card aria-label="Messages" {
            (table::filters(PATH, "messages", &filters))
            div #messages hx-get=[is_first.then_some(&here)] hx-trigger="news from:body" hx-select="#messages" hx-swap="outerHTML" {
                @if page.data.is_empty() {
                    (nothing(cx, is_narrowed))
                } @else {
                    (list_of(cx, &page.data, accounts))
                    (table::pager(&Pages { path: PATH, query: &query, is_first, next: page.next_cursor.as_deref(), shown: page.data.len() }))
                }
            }
        }
    }
}

/// Messages as a table.
pub(crate) fn list_of(cx: &Cx, messages: &[Message], accounts: &[accounts::AccountView]) -> Markup {
    let account = |message: &Message| {
        let known = accounts.iter().find(|account| Some(account.id) == message.account_id);
        known
            .map(|account| account.name.clone())
            .or_else(|| message.connector.clone())
            .unwrap_or_else(|| "–".to_owned())
    };
    let row = |message: &Message| Row {
        href: Some(format!("{PATH}/{}", message.id)),
        cells: vec![
            cell(html! { span.wide-text title=(message.to) { (message.to) } }),
            cell(html! {
                (parts::status(message.status))
                @if let Some(failure) = &message.failure { @if !message.status.was_accepted() { " " span."muted small" title=(failure.detail) { (failure.code) } } }
            }),
            cell(
                html! { span.row { (icon(parts::channel_icon(message.channel))) (format::channel(message.channel)) } },
            ),
            cell(html! { span.wide-text { (account(message)) } }),
            text(if message.purpose == model::Purpose::Marketing { "Marketing" } else { "Transactional" }),
            cell(html! { span."num nowrap" { (cx.here().at(message.created_at)) } }),
        ],
    };
    table::table(Table {
        caption: "Messages, newest first",
        columns: &["To", "Status", "Channel", "Account", "Purpose", "Accepted"],
        rows: messages.iter().map(row).collect(),
    })
}

fn nothing(cx: &Cx, is_narrowed: bool) -> Markup {
    if is_narrowed {
        return parts::empty(
            "search",
            "No message matches",
            "Addresses and ids are compared as a whole. Widen the filters, or clear them.",
            Some(link_button(PATH, "", None, "Clear the filters")),
        );
    }
    let next = html! {
        @if cx.may("messages:write") { (link_button("/console/compose", "primary", Some("pen"), "Write the first one")) }
        @if cx.may("keys:write") { (link_button("/console/settings/keys", "", Some("key"), "Make an API key")) }
    };
    parts::empty(
        "send",
        "No messages yet",
        "What you send here or through the API appears here at once, with everything that becomes of it.",
        Some(next),
    )
}
