//! Webhook endpoints: where events go, whether they are taken, each delivery with its request and answer, and sending them again.

use axum::extract::Path;
use engine::{
    Error,
    endpoints::{
        self, DeliveryQuery, EVENT_TYPES, EndpointDelivery, EndpointPatch, EndpointState, EndpointView, NewEndpoint,
        ReplayRequest, RotateSecret,
    },
    once::Repeat,
    page::Page,
    patch::Patch,
};
use maud::{Markup, html};
use model::{EndpointId, MessageId};
use serde::Deserialize;
use serde_json::Value;

use super::settings;
use crate::{
    cx::{Answer, Cx, Posted, Query},
    form::{self, Faults, Form},
    parts::{
        self, Control, Dialog, Field, Tone, field, icon, link_button,
        table::{self, Filter, Pages, Row, Table, cell, text},
        timeline::{Event, timeline},
    },
    read::{self, Made},
    shell::{self, Section},
};

const PATH: &str = "/console/settings/webhooks";
const ABOVE: &[(&str, &str)] = &[("/console/settings", "Settings"), (PATH, "Webhooks")];

fn state(endpoint: &EndpointView) -> Markup {
    match endpoint.state {
        EndpointState::Active => parts::badge(Tone::Good, "Active"),
        EndpointState::Failing => parts::badge(Tone::Bad, "Failing"),
        EndpointState::Disabled => parts::badge(Tone::Plain, "Disabled"),
    }
}

/// Lists the endpoints.
pub(crate) async fn list(cx: Cx) -> Answer {
    cx.tenant()?;
    let endpoints = endpoints::list(cx.engine(), &cx.caller, Some(100), None).await?.data;
    let may = cx.may("webhooks:write");
    let new = || link_button("/console/settings/webhooks/new", "primary", Some("plus"), "Add endpoint");
    let row = |endpoint: &EndpointView| Row {
        href: Some(format!("{PATH}/{}", endpoint.id)),
        cells: vec![
            cell(html! { span.wide-text title=(endpoint.url) { (endpoint.url) } }),
            cell(state(endpoint)),
            cell(
                html! { span.wide-text title=(endpoint.events.join(", ")) { @if endpoint.events == ["*"] { "All" } @else { (endpoint.events.join(", ")) } } },
            ),
            cell(html! { span.wide-text { (endpoint.description) } }),
        ],
    };
    let body = html! {
        section.card aria-label="Webhook endpoints" {
            @if endpoints.is_empty() {
                (parts::empty("webhook", "No endpoints", "An endpoint is an address of yours that is told what happens: delivered, failed, answered. Requests are signed (Standard Webhooks) and tried again for three days.", may.then(new)))
            } @else {
                (table::table(Table { caption: "Webhook endpoints", columns: &["Address", "State", "Events", "For"], rows: endpoints.iter().map(row).collect() }))
            }
        }
    };
    let actions = (may && !endpoints.is_empty()).then(new);
    Ok(cx.page(shell::Page {
        actions,
        tabs: Some(settings::tabs(&cx, PATH)),
        ..shell::Page::new("Webhooks", Section::Settings, body)
    }))
}

fn fields(cx: &Cx, form: &Form, faults: &Faults) -> Markup {
    let on: Vec<&str> = form.all("events").collect();
    let hears_of_operator = cx.engine().config.mail_tenant.is_some_and(|tenant| cx.caller.tenant == Some(tenant));
    let is_told = |(name, _): &&(&str, &str)| {
        *name != "webhook.test" && (hears_of_operator || !name.starts_with("operator_alert."))
    };
    html! {
        (shell::form_faults(faults, &["url", "description", "events"]))
        (Field::text("url", "Address").required().example("https://shop.example/hooks/tidings").help("A public https address.").draw(form, faults))
        (Field::text("description", "What it is for").draw(form, faults))
        fieldset.field {
            legend { "Events" }
            @if let Some(fault) = faults.at("events") { p.error { (icon("alert")) span { (fault) } } }
            div.checks {
                (field::check("events", "*", on.contains(&"*"), "All of them", "Also those that are added later."))
                (field::check("events", "message.*", on.contains(&"message.*"), "Everything about messages", ""))
            }
            details.more id="types" open[on.iter().any(|word| !word.contains('*'))] {
                summary { "Choose single ones" }
                div."checks spaced" { @for (name, meaning) in EVENT_TYPES.iter().filter(is_told) { (field::check("events", name, on.contains(name), name, meaning)) } }
            }
        }
    }
}

/// What a form chose; `*` holds all others.
fn chosen(form: &Form) -> Vec<String> {
    let events: Vec<String> = form.all("events").map(str::to_owned).collect();
    if events.iter().any(|word| word == "*") { vec!["*".to_owned()] } else { events }
}

/// Shows the form of a new endpoint.
pub(crate) async fn new(cx: Cx) -> Answer {
    cx.tenant()?;
    cx.caller.need("webhooks:write")?;
    Ok(cx.page(new_page(&cx, &Form::of([("events", "*")]), &Faults::default())))
}

fn new_page<'a>(cx: &Cx, form: &Form, faults: &Faults) -> shell::Page<'a> {
    let body = html! {
        section.card {
            form method="post" action=(PATH) data-guard {
                (form::token(cx.csrf()))
                div.body { div.form { (fields(cx, form, faults)) } }
                footer { div.end { (link_button(PATH, "", None, "Cancel")) button."button primary" type="submit" { "Add endpoint" } } }
            }
        }
    };
    shell::Page { above: ABOVE, is_narrow: true, ..shell::Page::new("Add endpoint", Section::Settings, body) }
}

/// Makes an endpoint and shows its secret, this once.
pub(crate) async fn create(Posted { cx, form }: Posted) -> Answer {
    cx.tenant()?;
    let new = NewEndpoint {
        url: form.text("url").to_owned(),
        description: form.filled("description").map(str::to_owned),
        events: Some(chosen(&form)),
        enabled: None,
    };
    match endpoints::create(cx.engine(), &cx.caller, &Repeat::NONE, new).await {
        Ok(reply) => Ok(secret_page(&cx, &read::json(&reply.body)?, "The endpoint was added")),
        Err(error) if matches!(error.kind.status(), 409 | 422) => {
            Ok(cx.again(new_page(&cx, &form, &Faults::of(&error))))
        }
        Err(error) => Err(error.into()),
    }
}

fn secret_page(cx: &Cx, made: &Made, title: &str) -> axum::response::Response {
    let body = html! {
        section.card {
            div.body {
                div.stack {
                    (parts::notice(Tone::Good, title, html! { p { "Its signing secret is shown this once. Your endpoint checks with it that requests are ours." } }))
                    (parts::copy_line(made.secret.as_deref().unwrap_or_default(), "the signing secret"))
                }
            }
            footer { div.end { (link_button(&format!("{PATH}/{}", made.id), "primary", None, "I have copied it")) } }
        }
    };
    cx.page(shell::Page {
        above: ABOVE,
        is_narrow: true,
        ..shell::Page::new("Signing secret", Section::Settings, body)
    })
}

#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Wanted {
    status: Option<String>,
    cursor: Option<String>,
}

/// Shows an endpoint with its deliveries.
pub(crate) async fn show(cx: Cx, Path(id): Path<String>, Query(wanted): Query<Wanted>) -> Answer {
    cx.tenant()?;
    let id: EndpointId = super::id(&id)?;
    let endpoint = endpoints::get(cx.engine(), &cx.caller, id).await?;
    let query = DeliveryQuery { status: wanted.status.clone(), limit: Some(30), cursor: wanted.cursor.clone() };
    let deliveries = endpoints::deliveries(cx.engine(), &cx.caller, id, &query).await?;
    let title = endpoint.url.clone();
    Ok(cx.page(page(&cx, &title, &endpoint, &deliveries, &wanted, &stored(&endpoint), &Faults::default())))
}

fn stored(endpoint: &EndpointView) -> Form {
    let mut form = Form::of([("url", endpoint.url.as_str()), ("description", &endpoint.description)]);
    endpoint.events.iter().for_each(|word| form.set("events", word.as_str()));
    form
}

fn page<'a>(
    cx: &Cx,
    title: &'a str,
    endpoint: &EndpointView,
    deliveries: &Page<EndpointDelivery>,
    wanted: &Wanted,
    form: &Form,
    faults: &Faults,
) -> shell::Page<'a> {
    let path = format!("{PATH}/{}", endpoint.id);
    let may = cx.may("webhooks:write");
    let actions = html! {
        @if may {
            (parts::act(&format!("{path}/test"), cx.csrf(), "", Some("pulse"), "Send a test"))
            button.button type="button" data-opens="replay" { (icon("retry")) "Replay" }
            (parts::act(&format!("{path}/{}", if endpoint.enabled { "disable" } else { "enable" }), cx.csrf(), "", None, if endpoint.enabled { "Disable" } else { "Enable" }))
            button."button danger" type="button" data-opens="delete" { (icon("trash")) "Delete" }
            (dialogs(cx, &path))
        }
    };
    let body = html! {
        @if let Some(failing) = &endpoint.failing {
            (parts::notice(Tone::Bad, "It takes no events", html! {
                p { @match &failing.detail { Some(detail) => (detail), None => "Its last answers were not 2xx." } @if let Some(code) = &failing.code { " " code { (code) } } }
                p.small { "Since " (cx.here().at(failing.since)) @if let Some(at) = failing.retry_at { " · tried again " (cx.here().distance(at)) } }
            }))
        }
        @if let Some(reason) = &endpoint.disabled_reason { (parts::notice(Tone::Warn, "It is switched off", html! { p { (reason) } })) }
        div.columns {
            section.card aria-label="Deliveries" {
                header { h2 { "Deliveries" } }
                (table::filters(&path, "deliveries", &[Filter::Choice { name: "status", label: "Any status", value: wanted.status.as_deref().unwrap_or_default(),
                    choices: ["queued", "sending", "sent", "failed", "canceled"].iter().map(|word| ((*word).to_owned(), crate::format::words(word))).collect() }]))
                div #deliveries hx-get=[wanted.cursor.is_none().then(|| table::address(&path, [("status", wanted.status.as_deref().unwrap_or_default())]))] hx-trigger="news from:body" hx-select="#deliveries" hx-swap="outerHTML" {
                    (deliveries_table(cx, &path, deliveries, wanted))
                }
            }
            div.stack {
                section.card aria-label="Endpoint" {
                    header { h2 { "Endpoint" } (state(endpoint)) }
                    form method="post" action=(path) data-guard {
                        (form::token(cx.csrf()))
                        fieldset disabled[!may] { div.body { div.form { (fields(cx, form, faults)) } } }
                        @if may { footer { div.end { button."button primary" type="submit" { "Save" } } } }
                    }
                }
                (parts::card("Signing secret", None, html! {
                    div.stack {
                        p.muted { "Requests are signed as Standard Webhooks say; the secret was shown when it was made." }
                        @if let Some(until) = endpoint.previous_secret_until { p.small { "The one before signs beside it until " (cx.here().at(until)) "." } }
                        @if may { div { button."button small" type="button" data-opens="rotate" { (icon("key")) "Make a new one" } } }
                    }
                }))
            }
        }
    };
    shell::Page {
        above: ABOVE,
        actions: Some(actions),
        is_live: true,
        ..shell::Page::new(title, Section::Settings, body)
    }
}

fn dialogs(cx: &Cx, path: &str) -> Markup {
    html! {
        (parts::dialog(&Dialog { id: "delete", title: "Delete this endpoint?", action: &format!("{path}/delete"), csrf: cx.csrf(),
            body: html! { p.muted { "What waits for it is withdrawn. This cannot be undone." } }, yes: "Delete endpoint", is_dangerous: true }))
        (parts::dialog(&Dialog { id: "replay", title: "Send events again", action: &format!("{path}/replay"), csrf: cx.csrf(),
            body: html! { p.muted { "Events are kept for seven days. Your endpoint recognises what it gets twice by the event's id." }
                (Field::text("since", "Since").with(Control::When).required().draw(&Form::default(), &Faults::default())) }, yes: "Send them again", is_dangerous: false }))
        (parts::dialog(&Dialog { id: "rotate", title: "Make a new signing secret?", action: &format!("{path}/rotate"), csrf: cx.csrf(),
            body: html! { p.muted { "The present one signs beside it for a day, so that your endpoint can be changed without losing anything." } }, yes: "Make it", is_dangerous: false }))
    }
}

fn deliveries_table(cx: &Cx, path: &str, deliveries: &Page<EndpointDelivery>, wanted: &Wanted) -> Markup {
    let row = |delivery: &EndpointDelivery| Row {
        href: Some(format!("{path}/{}", delivery.message_id)),
        cells: vec![
            text(&delivery.event_type),
            cell(parts::status(delivery.status)),
            cell(html! { @match delivery.last_answer { Some(code) => code { (code) }, None => span.muted { "–" } } }),
            cell(html! { (delivery.attempts) }),
            cell(cx.here().at(delivery.created_at)),
        ],
    };
    let query = [("status", wanted.status.clone().unwrap_or_default())];
    html! {
        @if deliveries.data.is_empty() {
            (parts::empty("inbox", "Nothing was sent to it", "Deliveries appear here as soon as something happens. Send a test to see one.", None))
        } @else {
            (table::table(Table { caption: "Deliveries, newest first", columns: &["Event", "Status", "Answer", "Tries", "Queued"], rows: deliveries.data.iter().map(row).collect() }))
            (table::pager(&Pages { path, query: &query, is_first: wanted.cursor.is_none(), next: deliveries.next_cursor.as_deref(), shown: deliveries.data.len() }))
        }
    }
}

/// Shows one delivery.
pub(crate) async fn delivery(cx: Cx, Path((id, message)): Path<(String, String)>) -> Answer {
    cx.tenant()?;
    let (id, message): (EndpointId, MessageId) = (super::id(&id)?, super::id(&message)?);
    let detail = endpoints::delivery(cx.engine(), &cx.caller, id, message).await?;
    let delivery = &detail.delivery;
    let path = format!("{PATH}/{id}");
    let attempts = detail.log.iter().map(|attempt| {
        let code = |raw: &serde_json::value::RawValue| serde_json::from_str::<Value>(raw.get()).ok().and_then(|value| serde_json::to_string_pretty(&value).ok());
        let is_taken = attempt.failure.is_none();
        Event {
            tone: if is_taken { Tone::Good } else { Tone::Bad },
            picture: "send",
            title: html! { "Attempt " (attempt.number) @if let Some(answer) = attempt.answer { " · answered " code { (answer) } } },
            at: cx.here().at(attempt.started_at),
            detail: Some(html! {
                p { "Took " (attempt.finished_at.millis_since(attempt.started_at).max(0)) " ms" }
                @if let Some(failure) = attempt.failure.as_deref().and_then(|raw| serde_json::from_str::<model::Failure>(raw.get()).ok()) { p { (failure.detail) " " code { (failure.code) } } }
                @if let Some(exchange) = attempt.exchange.as_deref().and_then(code) { details.more { summary { "Request and answer" } (parts::code(&exchange)) } }
            }),
            is_future: false,
        }
    });
    let attempts: Vec<Event> = attempts.collect();
    let actions = html! { @if cx.may("webhooks:write") && delivery.status.is_final() { (parts::act(&format!("{path}/{message}/retry"), cx.csrf(), "primary", Some("retry"), "Send again")) } };
    let body = html! {
        div.columns {
            (parts::card("Attempts", None, if attempts.is_empty() { html! { p.muted { "None yet." } } } else { timeline(attempts) }))
            (parts::card("Delivery", Some(parts::status(delivery.status)), parts::facts([
                ("Event", html! { (delivery.event_type) }),
                ("Event id", html! { code.break { (delivery.event_id) } }),
                ("Queued", cx.here().at(delivery.created_at)),
                ("Taken", html! { @match delivery.sent_at { Some(at) => (cx.here().at(at)), None => span.muted { "not yet" } } }),
            ])))
        }
        @if let Some(body) = detail.body.as_deref().and_then(|raw| serde_json::from_str::<Value>(raw.get()).ok()) {
            (parts::card("Body", None, parts::code(&serde_json::to_string_pretty(&body).unwrap_or_default())))
        }
    };
    let url = path.clone();
    Ok(cx.page(shell::Page {
        above: &[("/console/settings", "Settings"), (PATH, "Webhooks"), (&url, "Endpoint")],
        actions: Some(actions),
        ..shell::Page::new(&delivery.event_type, Section::Settings, body)
    }))
}

/// Changes an endpoint.
pub(crate) async fn update(Path(id): Path<String>, Posted { cx, form }: Posted) -> Answer {
    let id: EndpointId = super::id(&id)?;
    let change = EndpointPatch {
        url: Patch::Set(form.text("url").to_owned()),
        description: Patch::Set(form.text("description").to_owned()),
        events: Patch::Set(chosen(&form)),
        enabled: Patch::Keep,
    };
    match endpoints::patch(cx.engine(), &cx.caller, id, change).await {
        Ok(_) => Ok(cx.done(&format!("{PATH}/{id}"), "Saved.")),
        Err(error) if error.kind.status() == 422 => {
            let endpoint = endpoints::get(cx.engine(), &cx.caller, id).await?;
            let query = DeliveryQuery { limit: Some(30), ..DeliveryQuery::default() };
            let deliveries = endpoints::deliveries(cx.engine(), &cx.caller, id, &query).await?;
            let title = endpoint.url.clone();
            Ok(cx.again(page(&cx, &title, &endpoint, &deliveries, &Wanted::default(), &form, &Faults::of(&error))))
        }
        Err(error) => Err(error.into()),
    }
}

/// Does what one of an endpoint's buttons says.
pub(crate) async fn act(Path((id, action)): Path<(String, String)>, Posted { cx, form }: Posted) -> Answer {
    let id: EndpointId = super::id(&id)?;
    let path = format!("{PATH}/{id}");
    let (engine, caller) = (cx.engine(), &cx.caller);
    let switch = |is_on| EndpointPatch { enabled: Patch::Set(is_on), ..EndpointPatch::default() };
    let done = match action.as_str() {
        "test" => endpoints::test(engine, caller, &Repeat::NONE, id).await.map(|_| "A test event is on its way."),
        "enable" => endpoints::patch(engine, caller, id, switch(true)).await.map(|_| "The endpoint is switched on."),
        "disable" => endpoints::patch(engine, caller, id, switch(false))
            .await
            .map(|_| "The endpoint is switched off. What waits for it is kept for three days."),
        "delete" => {
            endpoints::delete(engine, caller, id).await?;
            return Ok(cx.done(PATH, "The endpoint was deleted."));
        }
        "rotate" => {
            let reply = endpoints::rotate_secret(engine, caller, &Repeat::NONE, id, RotateSecret::default()).await?;
            return Ok(secret_page(&cx, &read::json(&reply.body)?, "The new secret signs from now on"));
        }
        "replay" => {
            let Some(since) = cx.here().read_local(form.text("since")) else {
                return Ok(cx.refused(&path, "Choose a day and a time to begin with."));
            };
            let request = ReplayRequest { since, until: None, events: None, cursor: None };
            endpoints::replay(engine, caller, &Repeat::NONE, id, request).await.map(|_| "The events are queued again.")
        }
        _ => Err(super::no_page()),
    };
    told(&cx, &path, done)
}

/// Sends an event again.
pub(crate) async fn retry(Path((id, message)): Path<(String, String)>, Posted { cx, .. }: Posted) -> Answer {
    let (id, message): (EndpointId, MessageId) = (super::id(&id)?, super::id(&message)?);
    let done = endpoints::retry(cx.engine(), &cx.caller, &Repeat::NONE, id, message)
        .await
        .map(|_| "The event is queued again.");
    told(&cx, &format!("{PATH}/{id}"), done)
}

fn told(cx: &Cx, path: &str, done: Result<&str, Error>) -> Answer {
    match done {
        Ok(said) => Ok(cx.done(path, said)),
        Err(error) if matches!(error.kind.status(), 409 | 422) => Ok(cx.refused(path, &error.detail)),
        Err(error) => Err(error.into()),
    }
}
