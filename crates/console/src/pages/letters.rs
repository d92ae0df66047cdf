//! Dead letters, which a person may send again, and messages people sent to the tenant.

use engine::{
    dead_letters::{DeadLetterQuery, RetryRequest},
    export::Format,
    inbound::InboundQuery,
    once::Repeat,
};
use http::{HeaderValue, header};
use maud::html;
use model::{Channel, Timestamp};
use serde::Deserialize;

use super::messages;
use crate::{
    cx::{Answer, Cx, Posted, Query},
    format,
    parts::{
        self, Dialog, icon, link_button,
        table::{self, Filter, Pages, Row, Table, cell, text},
    },
    read::{self, Message, Page},
    shell::{self, Section},
};

const DEAD: &str = "/console/dead-letters";
const INBOUND: &str = "/console/inbound";

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Wanted {
    channel: Option<Channel>,
    cursor: Option<String>,
}

/// Lists dead letters.
pub(crate) async fn dead(cx: Cx, Query(wanted): Query<Wanted>) -> Answer {
    cx.tenant()?;
    let query =
        DeadLetterQuery { channel: wanted.channel, cursor: wanted.cursor.clone(), ..DeadLetterQuery::default() };
    let page: Page<Message> = read::json(&cx.engine().dead_letters(&cx.caller, &query).await?)?;
    let may = cx.may("messages:write");
    let row = |message: &Message| Row {
        href: Some(format!("/console/messages/{}", message.id)),
        cells: vec![
            cell(html! { span.wide-text { (message.to) } }),
            cell(
                html! { span.row { (icon(parts::channel_icon(message.channel))) (format::channel(message.channel)) } },
            ),
            cell(
                html! { @if let Some(failure) = &message.failure { span.break { (failure.detail) } div.sub { code { (failure.code) } } } },
            ),
            cell(html! { (message.attempts) }),
            cell(html! { @match message.dead_at { Some(at) => (cx.here().at(at)), None => "–" } }),
            cell(
                html! { @if cx.may_send(message.channel) { (parts::act(&format!("/console/messages/{}/retry", message.id), cx.csrf(), "small", None, "Send again")) } },
            ),
        ],
    };
    let actions = html! {
        @if !page.data.is_empty() {
            (link_button("/console/dead-letters/export", "", Some("file"), "Export CSV"))
            @if may {
                button."button primary" type="button" data-opens="retry-all" { (icon("retry")) "Send all again" }
                (parts::dialog(&Dialog { id: "retry-all", title: "Send all dead letters again?", action: "/console/dead-letters/retry", csrf: cx.csrf(),
                    body: html! { p.muted { "Each gets a fresh set of tries, up to 1,000 at once. Do this when the cause is gone." } }, yes: "Send all again", is_dangerous: false }))
            }
        }
    };
    let channel = wanted.channel.map(Channel::as_str).unwrap_or_default();
    let choices = super::channels::of_people()
        .map(|channel| (channel.as_str().to_owned(), format::channel(channel).to_owned()))
        .collect();
    let body = html! {
        section.card aria-label="Dead letters" {
            (table::filters(DEAD, "dead", &[Filter::Choice { name: "channel", label: "Any channel", value: channel, choices }]))
            div #dead {
                @if page.data.is_empty() {
                    (parts::empty("check", "No dead letters", "Messages that failed after every try wait here until somebody sends them again.", None))
                } @else {
                    (table::table(Table { caption: "Dead letters, newest first", columns: &["To", "Channel", "Why", "Tries", "Given up", ""], rows: page.data.iter().map(row).collect() }))
                    (table::pager(&Pages { path: DEAD, query: &[("channel", channel.to_owned())], is_first: wanted.cursor.is_none(), next: page.next_cursor.as_deref(), shown: page.data.len() }))
                }
            }
        }
    };
    Ok(cx.page(shell::Page {
        actions: Some(actions),
        lead: Some(html! { "Messages that were given up." }),
        tabs: Some(messages::tabs(DEAD)),
        ..shell::Page::new("Dead letters", Section::Messages, body)
    }))
}

#[derive(Debug, Deserialize)]
struct Retried {
    data: Vec<serde_json::Value>,
    has_more: bool,
}

/// Sends all of them again.
pub(crate) async fn retry_all(Posted { cx, .. }: Posted) -> Answer {
    let request = RetryRequest { all: true, ..RetryRequest::default() };
    let answer: Retried = read::json(&cx.engine().retry_many(&cx.caller, &Repeat::NONE, request).await?.body)?;
    let refused = answer.data.iter().filter(|line| line.get("error").is_some()).count();
    let queued = (answer.data.len() - refused) as i64;
    let mut said = format!("{} again.", format::count(queued, "message is queued", "messages are queued"));
    if refused > 0 {
        said.push_str(&format!(" {} stay: their account or their time is gone.", format::number(refused as i64)));
    }
    if answer.has_more {
        said.push_str(" There are more: send all again once more.");
    }
    Ok(cx.done(DEAD, &said))
}

/// Hands out a table for spreadsheets.
pub(crate) async fn export(cx: Cx) -> Answer {
    let export = cx.engine().export_dead_letters(&cx.caller, &DeadLetterQuery::default(), Format::Csv).await?;
    let mut response = axum::response::Response::new(export.body.into());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(export.content_type));
    response
        .headers_mut()
        .insert(header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment; filename=\"dead-letters.csv\""));
    Ok(response)
}

/// A message somebody sent to the tenant.
#[derive(Debug, Deserialize)]
struct Inbound {
    channel: Channel,
    from: String,
    from_name: Option<String>,
    to: String,
    text: String,
    #[serde(default)]
    media: Vec<serde_json::Value>,
    button: Option<String>,
    received_at: Timestamp,
}

/// Lists what people sent.
pub(crate) async fn inbound(cx: Cx, Query(wanted): Query<Wanted>) -> Answer {
    cx.tenant()?;
    let query = InboundQuery { channel: wanted.channel, cursor: wanted.cursor.clone(), ..InboundQuery::default() };
    let page: Page<Inbound> = read::json(&cx.engine().inbound_messages(&cx.caller, &query).await?)?;
    let row = |message: &Inbound| Row {
        href: None,
        cells: vec![
            cell(
                html! { span.strong.break { (message.from_name.as_deref().unwrap_or(&message.from)) } @if message.from_name.is_some() { div.sub { (message.from) } } },
            ),
            cell(
                html! { span.row { (icon(parts::channel_icon(message.channel))) (format::channel(message.channel)) } },
            ),
            cell(html! {
                span.break dir="auto" { (message.text) }
                @if let Some(button) = &message.button { div.sub { "Pressed " code { (button) } } }
                @if !message.media.is_empty() { div.sub { (format::count(message.media.len() as i64, "attachment", "attachments")) } }
            }),
            text(&message.to),
            cell(cx.here().at(message.received_at)),
        ],
    };
    let channel = wanted.channel.map(Channel::as_str).unwrap_or_default();
    let choices = super::channels::of_people()
        .map(|channel| (channel.as_str().to_owned(), format::channel(channel).to_owned()))
        .collect();
    let body = html! {
        section.card aria-label="Received" {
            (table::filters(INBOUND, "inbound", &[Filter::Choice { name: "channel", label: "Any channel", value: channel, choices }]))
            div #inbound hx-get=[wanted.cursor.is_none().then(|| table::address(INBOUND, [("channel", channel)]))] hx-trigger="news from:body" hx-select="#inbound" hx-swap="outerHTML" {
                @if page.data.is_empty() {
                    (parts::empty("inbox", "Nobody wrote yet", "Answers over two-way channels appear here once the provider's callback is set up.", Some(link_button("/console/channels", "", None, "Channels"))))
                } @else {
                    (table::table(Table { caption: "Received, newest first", columns: &["From", "Channel", "Text", "To", "Received"], rows: page.data.iter().map(row).collect() }))
                    (table::pager(&Pages { path: INBOUND, query: &[("channel", channel.to_owned())], is_first: wanted.cursor.is_none(), next: page.next_cursor.as_deref(), shown: page.data.len() }))
                }
            }
        }
    };
    Ok(cx.page(shell::Page {
        lead: Some(html! { "What people sent to you." }),
        tabs: Some(messages::tabs(INBOUND)),
        is_live: true,
        ..shell::Page::new("Received", Section::Messages, body)
    }))
}
