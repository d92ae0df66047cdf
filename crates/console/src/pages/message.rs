//! One message: everything that became of it, oldest first, with each request and answer as they went.

use axum::extract::Path;
use engine::{accounts, campaigns, contacts, once::Repeat};
use maud::{Markup, html};
use model::{Failure, FailureKind, MessageId, Status};
use serde_json::Value;

use crate::{
    cx::{Answer, Cx, Posted},
    format,
    parts::{
        self, Tone, icon,
        timeline::{Event, timeline},
    },
    read::{self, Entry, Message, Timeline},
    shell::{self, Section},
};

/// Shows a message.
pub(crate) async fn show(cx: Cx, Path(id): Path<String>) -> Answer {
    cx.tenant()?;
    let id: MessageId = super::id(&id)?;
    let message: Message = read::json(&cx.engine().message(&cx.caller, id).await?)?;
    let story: Timeline = read::json(&cx.engine().timeline(&cx.caller, id).await?)?;
    let names = Names::read(&cx, &message).await;
    let title = message.to.clone();
    Ok(cx.page(shell::Page {
        above: &[("/console/messages", "Messages")],
        actions: Some(actions(&cx, &message, &story)),
        is_live: true,
        ..shell::Page::new(&title, Section::Messages, body(&cx, &message, &story, &names))
    }))
}

/// What the things a message belongs to are called; `None` for what is gone, or not for this person to see.
struct Names {
    account: Option<String>,
    contact: Option<String>,
    campaign: Option<String>,
}

impl Names {
    async fn read(cx: &Cx, message: &Message) -> Self {
        let account = match message.account_id {
            Some(id) => accounts::get(cx.engine().parts(), &cx.caller, id).await.ok().map(|account| account.name),
            None => None,
        };
        let contact = match message.contact_id {
            Some(id) => contacts::get(cx.engine(), &cx.caller, id).await.ok().map(|one| super::contacts::name(&one)),
            None => None,
        };
        let campaign = match message.campaign_id {
            Some(id) => campaigns::get(cx.engine(), &cx.caller, id).await.ok().map(|campaign| campaign.name),
            None => None,
        };
        Self { account, contact, campaign }
    }
}

/// A link with the name of what it leads to, or what is known of it without one.
fn named(path: &str, id: impl std::fmt::Display, name: Option<&String>) -> Markup {
    html! { @match name { Some(name) => a.break dir="auto" href={ (path) "/" (id) } { (name) }, None => code.break { (id) } } }
}

fn actions(cx: &Cx, message: &Message, story: &Timeline) -> Markup {
    let path = format!("/console/messages/{}", message.id);
    html! {
        @if cx.may_send(message.channel) && matches!(message.status, Status::Scheduled | Status::Queued) {
            button."button danger" type="button" data-opens="cancel" { "Cancel message" }
            (parts::dialog(&parts::Dialog {
                id: "cancel",
                title: "Cancel this message?",
                action: &format!("{path}/cancel"),
                csrf: cx.csrf(),
                body: html! { p.muted { "It is withdrawn before it leaves. An attempt that is already under way cannot be called back." } },
                yes: "Cancel message",
                is_dangerous: true,
            }))
        }
        @if cx.may_send(message.channel) && is_dead_letter(message, story) { (parts::act(&format!("{path}/retry"), cx.csrf(), "primary", Some("retry"), "Send again")) }
    }
}

/// Whether it was given up after every try, so that it can be sent again; what its recipient or its content stood against cannot.
fn is_dead_letter(message: &Message, story: &Timeline) -> bool {
    let is_asked_about = story.data.iter().any(|entry| matches!(entry, Entry::NextQuestion { .. }));
    match (message.status, message.failure.as_ref().map(|failure| failure.kind)) {
        (Status::Failed, Some(kind)) => {
            !matches!(kind, FailureKind::Recipient | FailureKind::OptedOut | FailureKind::Content)
        }
        (Status::Unknown, _) => !is_asked_about,
        _ => false,
    }
}

fn body(cx: &Cx, message: &Message, story: &Timeline, names: &Names) -> Markup {
    let content = story.data.iter().find_map(|entry| match entry {
        Entry::Accepted { content, .. } => Some(content),
        _ => None,
    });
    html! {
        div.stack.loose #message hx-get={ "/console/messages/" (message.id) } hx-trigger="news from:body" hx-select="#message" hx-swap="outerHTML" {
            @if let Some(failure) = message.failure.as_ref().filter(|_| !matches!(message.status, Status::Delivered | Status::Read)) { (trouble(message.status, failure)) }
            div.columns {
                div.stack {
                    (parts::card("What happened", None, timeline(story.data.iter().filter_map(|entry| event(cx, entry)).collect())))
                }
                div.stack {
                    (parts::card("Message", Some(parts::status(message.status)), facts(cx, message, names)))
                    @if let Some(content) = content { (parts::card("Content", None, says(content))) }
                    @if let Some(metadata) = message.metadata.as_ref().filter(|value| !value.is_null()) {
                        (parts::card("Metadata", None, parts::code(&pretty(metadata))))
                    }
                }
            }
        }
    }
}

fn trouble(status: Status, failure: &Failure) -> Markup {
    let tone = if status.is_final() { Tone::Bad } else { Tone::Warn };
    let title = match status {
        Status::Unknown => "Nobody can say whether it was taken",
        status if status.is_final() => "It did not arrive",
        _ => "The last try did not work",
    };
    parts::notice(
        tone,
        title,
        html! {
            p { (failure.detail) }
            @if let Some(words) = &failure.provider_detail { p.small { "The provider says: “" (words) "”" } }
            p.small { (format::words(failure.kind.as_str())) " · " code { (failure.code) } }
        },
    )
}

fn facts(cx: &Cx, message: &Message, names: &Names) -> Markup {
    let here = cx.here();
    let mut rows: Vec<(&'static str, Markup)> = vec![
        ("To", html! { span.break { (message.to) } }),
        (
            "Channel",
            html! { span.row { (icon(parts::channel_icon(message.channel))) (format::channel(message.channel)) } },
        ),
        (
            "Purpose",
            html! { (format::words(message.purpose.as_str())) @if let Some(topic) = &message.topic { " · " (format::words(topic)) } },
        ),
    ];
    rows.extend(message.account_id.map(|id| ("Account", named("/console/channels", id, names.account.as_ref()))));
    if let Some(connector) = &message.connector {
        rows.push((
            "Provider",
            html! { (connectors::registry::find(connector).map_or(connector.as_str(), |c| c.spec().name)) },
        ));
    }
    rows.push(("Accepted", here.at(message.created_at)));
    for (name, at) in [
        ("Not before", message.send_at),
        ("Not after", message.expires_at),
        ("Next try", message.next_attempt_at),
        ("Sent", message.sent_at),
        ("Delivered", message.delivered_at),
        ("Read", message.read_at),
    ] {
        rows.extend(at.map(|at| (name, here.at(at))));
    }
    rows.push(("Attempts", html! { (message.attempts) }));
    rows.extend(message.segments.map(|segments| ("Parts", html! { (segments) })));
    rows.extend(message.cost.as_ref().map(|cost| ("Cost", html! { (format::money(cost)) })));
    rows.extend(message.contact_id.map(|id| ("Contact", named("/console/contacts", id, names.contact.as_ref()))));
    rows.extend(message.campaign_id.map(|id| ("Campaign", named("/console/campaigns", id, names.campaign.as_ref()))));
    html! {
        (parts::facts(rows))
        div.stack.tight.ids {
            div.field { span.label { "Message id" } (parts::copy_line(&message.id.to_string(), "the message id")) }
            @if let Some(id) = &message.provider_message_id { div.field { span.label { "Provider's id" } (parts::copy_line(id, "the provider's id")) } }
        }
    }
}

/// What a message says, as far as its content is known here.
fn says(content: &Value) -> Markup {
    let text = |name: &str| content.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    html! {
        div.stack.tight {
            @if let Some(subject) = text("subject") { p.strong.break { (subject) } }
            @if let Some(said) = text("text").or_else(|| text("say")) { div.bubble dir="auto" { (said) } }
            @else if let Some(source) = text("html") { (parts::code(source)) }
            @else { (parts::code(&pretty(content))) }
            @if content.to_string().contains("{{") { p."small muted" { "Placeholders are filled in for each recipient when it leaves." } }
        }
    }
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

fn event(cx: &Cx, entry: &Entry) -> Option<Event> {
    let here = cx.here();
    let plain = |picture, title: Markup, at, detail| Event {
        tone: Tone::Plain,
        picture,
        title,
        at: here.at(at),
        detail,
        is_future: false,
    };
    Some(match entry {
        Entry::Accepted { at, purpose, guarantee, .. } => plain(
            "check",
            html! { "Accepted" },
            *at,
            Some(
                html! { (format::words(purpose)) " · " (format::words(guarantee).to_lowercase()) ". From here on it is on disk and cannot be lost." },
            ),
        ),
        Entry::Routed { at, why } => plain("route", html! { "Routed" }, *at, why.as_ref().map(|why| html! { (why) })),
        Entry::Attempt { at, number, finished_at, outcome, failure, provider_message_id, exchange, note } => Event {
            tone: match outcome.as_str() {
                "accepted" => Tone::Good,
                "under_way" => Tone::Info,
                "unknown" => Tone::Warn,
                _ => Tone::Bad,
            },
            picture: "send",
            title: html! { "Attempt " (number) " " (outcome_badge(outcome)) },
            at: here.at(*at),
            detail: Some(html! {
                @if let Some(end) = finished_at { p { "Took " (end.millis_since(*at).max(0)) " ms" @if let Some(id) = provider_message_id { " · the provider calls it " code { (id) } } } }
                @if let Some(failure) = failure { p { (failure.detail) " " code { (failure.code) } } @if let Some(words) = &failure.provider_detail { p { "“" (words) "”" } } }
                @if let Some(note) = note { p { (note) } }
                @if let Some(exchange) = exchange.as_ref().filter(|value| !value.is_null()) { (exchanged(*number, exchange)) }
            }),
            is_future: false,
        },
        Entry::Observation { at, recorded_at, source, kind, detail } => {
            let tone = kind.parse::<Status>().map_or(Tone::Plain, parts::status_tone);
            let late = recorded_at.millis_since(*at) > 60_000;
            Event {
                tone,
                picture: if kind == "opened" || kind == "read" { "eye" } else { "inbox" },
                title: html! { (format::words(source)) " says: " (format::words(kind).to_lowercase()) },
                at: here.at(*recorded_at),
                detail: Some(html! {
                    @if late { p { "It happened at " (here.at(*at)) "." } }
                    @if let Some(detail) = detail.as_ref().filter(|value| !value.is_null()) { (observed(detail)) }
                }),
                is_future: false,
            }
        }
        Entry::Change { at, status } => Event {
            tone: parts::status_tone(*status),
            picture: match status {
                Status::Read => "eye",
                status if status.was_accepted() => "check",
                _ => "close",
            },
            title: html! { (format::words(status.as_str())) },
            at: here.at(*at),
            detail: None,
            is_future: false,
        },
        Entry::NextAttempt { at } => Event {
            tone: Tone::Plain,
            picture: "clock",
            title: html! { @if *at > here.now { "Next try " (here.distance(*at)) } @else { "Waits for its turn" } },
            at: here.at(*at),
            detail: None,
            is_future: true,
        },
        Entry::NextQuestion { at } => Event {
            tone: Tone::Plain,
            picture: "clock",
            title: html! { "The provider is asked what became of it " (here.distance(*at)) },
            at: here.at(*at),
            detail: None,
            is_future: true,
        },
        Entry::Unknown => return None,
    })
}

/// What a provider told beyond the word, in words where we have them.
fn observed(detail: &Value) -> Markup {
    let text = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
    let failure = detail.get("failure").filter(|failure| failure.is_object());
    html! {
        @if let Some(words) = text(detail, "detail") { p { (words) } }
        @else if let Some(failure) = failure {
            p { (text(failure, "detail").unwrap_or_default()) " " @if let Some(code) = text(failure, "code") { code { (code) } } }
            @if let Some(words) = text(failure, "provider_detail") { p { "“" (words) "”" } }
        }
        @else if let Some(url) = text(detail, "url") { p.break { (url) } }
        @else { p { code { (detail) } } }
    }
}

fn outcome_badge(outcome: &str) -> Markup {
    match outcome {
        "accepted" => parts::badge(Tone::Good, "Accepted by the provider"),
        "under_way" => parts::badge(Tone::Info, "Under way"),
        "unknown" => parts::badge(Tone::Warn, "No usable answer"),
        "recipient" => parts::badge(Tone::Bad, "The address does not work"),
        "opted_out" => parts::badge(Tone::Bad, "They want no more"),
        "content" => parts::badge(Tone::Bad, "The content was refused"),
        "throttled" => parts::badge(Tone::Warn, "Too fast for the provider"),
        "unavailable" => parts::badge(Tone::Warn, "The provider was out of order"),
        "account" => parts::badge(Tone::Bad, "The account was refused"),
        other => parts::badge(Tone::Bad, &format::words(other)),
    }
}

/// Request and answer as they were recorded, without secrets.
fn exchanged(number: u32, exchange: &Value) -> Markup {
    let part = |name: &str| exchange.get(name).filter(|value| !value.is_null());
    html! {
        details.more id={ "exchange-" (number) } {
            summary { "Request and answer" }
            div.exchange {
                @match (part("request"), part("answer")) {
                    (None, None) => (parts::code(&pretty(exchange))),
                    (request, answer) => {
                        @if let Some(request) = request { div { h4 { "Request" } (parts::code(&spoken(request))) } }
                        @if let Some(answer) = answer { div { h4 { "Answer" } (parts::code(&spoken(answer))) } }
                    }
                }
            }
        }
    }
}

/// JSON, or the text itself where it is one.
fn spoken(value: &Value) -> String {
    value.as_str().map_or_else(|| pretty(value), str::to_owned)
}

/// Withdraws a message.
pub(crate) async fn cancel(Path(id): Path<String>, Posted { cx, .. }: Posted) -> Answer {
    let id: MessageId = super::id(&id)?;
    let path = format!("/console/messages/{id}");
    match cx.engine().cancel(&cx.caller, &Repeat::NONE, id).await {
        Ok(_) => Ok(cx.done(&path, "The message was canceled.")),
        Err(error) if error.kind.status() == 409 => Ok(cx.refused(&path, &error.detail)),
        Err(error) => Err(error.into()),
    }
}

/// Sends a dead letter again.
pub(crate) async fn retry(Path(id): Path<String>, Posted { cx, .. }: Posted) -> Answer {
    let id: MessageId = super::id(&id)?;
    let path = format!("/console/messages/{id}");
    match cx.engine().retry(&cx.caller, &Repeat::NONE, id).await {
        Ok(_) => Ok(cx.done(&path, "The message is in the queue again.")),
        Err(error) if error.kind.status() == 409 => Ok(cx.refused(&path, &error.detail)),
        Err(error) => Err(error.into()),
    }
}
