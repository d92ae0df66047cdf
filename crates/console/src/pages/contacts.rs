//! Contacts: found, added, changed, and each with everything that was said between them and the tenant.

use axum::{body::Body, extract::Path, response::Response};
use engine::{
    contacts::{
        self, ContactPatch, ContactQuery, ContactView, NewContact,
        attributes::{self, AttributeType, AttributeView},
        export::{Export, ExportQuery},
        lists::{self, ListView},
    },
    once::Repeat,
    page::Page,
    patch::Patch,
};
use http::{HeaderValue, header};
use maud::{Markup, html};
use model::{Channel, ContactId, ListId, Timestamp};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::on_lists;
use crate::{
    App,
    cx::{Answer, Cx, Posted, Query},
    form::{self, Faults, Form},
    format,
    parts::{
        self, Control, Dialog, Field, Tone, icon, link_button,
        table::{self, Filter, Pages, Row, Table, cell},
        timeline::{Event, timeline},
    },
    read::{self, Made, Message},
    shell::{self, Section},
};

const PATH: &str = "/console/contacts";
const ABOVE: &[(&str, &str)] = &[(PATH, "Contacts")];

/// What belongs to contacts.
pub(super) fn tabs(here: &str) -> Markup {
    parts::tabs(
        "Contacts",
        &[
            (PATH, "All"),
            (super::lists::PATH, "Lists"),
            ("/console/segments", "Segments"),
            ("/console/suppressions", "Suppressed"),
            ("/console/contacts/import", "Import"),
            (super::rules::PATH, "Rules and fields"),
        ],
        here,
    )
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Wanted {
    q: Option<String>,
    list: Option<ListId>,
    cursor: Option<String>,
}

/// Lists contacts.
pub(crate) async fn list(cx: Cx, Query(wanted): Query<Wanted>) -> Answer {
    cx.tenant()?;
    let query = ContactQuery {
        q: wanted.q.clone(),
        list_id: wanted.list,
        cursor: wanted.cursor.clone(),
        ..ContactQuery::default()
    };
    let page = contacts::list(cx.engine(), &cx.caller, &query).await?;
    let lists = lists::list(cx.engine(), &cx.caller, Some(200), None).await?.data;
    let may = cx.may("contacts:write");
    let list = wanted.list.map(|id| id.to_string()).unwrap_or_default();
    let export = table::address("/console/contacts/export", [("list", list.as_str())]);
    let actions = html! {
        @if !page.data.is_empty() { (link_button(&export, "", Some("file"), if list.is_empty() { "Export" } else { "Export this list" })) }
        @if may {
            (link_button("/console/contacts/import", "", Some("upload"), "Import"))
            (link_button("/console/contacts/new", "primary", Some("plus"), "Add contact"))
        }
    };
    Ok(cx.page(shell::Page {
        actions: Some(actions),
        lead: Some(html! { "The people you write to." }),
        tabs: Some(tabs(PATH)),
        ..shell::Page::new("Contacts", Section::Contacts, body(&cx, &wanted, &page, &lists))
    }))
}

fn body(cx: &Cx, wanted: &Wanted, page: &Page<ContactView>, lists: &[ListView]) -> Markup {
    let list = wanted.list.map(|id| id.to_string()).unwrap_or_default();
    let q = wanted.q.as_deref().unwrap_or_default();
    let filters = [
        Filter::Search { name: "q", label: "Find by name, address, number or your own id", value: q },
        Filter::Choice {
            name: "list",
            label: "Every list",
            value: &list,
            choices: lists.iter().map(|list| (list.id.to_string(), list.name.clone())).collect(),
        },
    ];
    let query = [("q", q.to_owned()), ("list", list.clone())];
    let row = |contact: &ContactView| Row {
        href: Some(format!("{PATH}/{}", contact.id)),
        cells: vec![
            cell(html! { span.wide-text dir="auto" { (name(contact)) } }),
            cell(html! { span.wide-text { (contact.email.as_deref().unwrap_or("–")) } }),
            cell(html! { (contact.phone.as_deref().unwrap_or("–")) }),
            cell(html! { (contact.language.as_deref().unwrap_or("–")) }),
            cell(cx.here().day(contact.created_at)),
        ],
    };
    let may = cx.may("contacts:write");
    html! {
        section.card aria-label="Contacts" {
            (table::filters(PATH, "contacts", &filters))
            div #contacts {
                @if page.data.is_empty() && (!q.is_empty() || !list.is_empty()) {
                    (parts::empty("search", "Nobody matches", "Search for the beginning of a name or address, or clear the filters.", Some(link_button(PATH, "", None, "Clear the filters"))))
                } @else if page.data.is_empty() {
                    (parts::empty("people", "No contacts yet", "Bring them in from a file, add one by hand, or let your program add them through the API.", may.then(|| html! {
                        (link_button("/console/contacts/import", "primary", Some("upload"), "Import a file")) (link_button("/console/contacts/new", "", Some("plus"), "Add one"))
                    })))
                } @else {
                    (table::table(Table { caption: "Contacts, newest first", columns: &["Name", "E-mail", "Phone", "Language", "Added"], rows: page.data.iter().map(row).collect() }))
                    (table::pager(&Pages { path: PATH, query: &query, is_first: wanted.cursor.is_none(), next: page.next_cursor.as_deref(), shown: page.data.len() }))
                }
            }
        }
    }
}

/// Hands out contacts, all or those of a list, as a table that is made while it is read.
pub(crate) async fn export(cx: Cx, Query(wanted): Query<Wanted>) -> Answer {
    cx.tenant()?;
    let query = ExportQuery { list_id: wanted.list, ..ExportQuery::default() };
    let export = Export::begin(cx.engine(), &cx.caller, &query).await?;
    let pieces = futures_util::stream::try_unfold((cx.app, export), |(app, mut export): (App, Export)| async move {
        let piece = export.next(app.engine()).await?;
        Ok::<_, engine::Error>(piece.map(|piece| (piece, (app, export))))
    });
    let mut response = Response::new(Body::from_stream(pieces));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/csv; charset=utf-8"));
    headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment; filename=\"contacts.csv\""));
    Ok(response)
}

/// What a contact is called by: the best of what is known.
pub(super) fn name(contact: &ContactView) -> String {
    let parts = [contact.first_name.as_deref(), contact.last_name.as_deref()];
    let joined = parts.into_iter().flatten().collect::<Vec<_>>().join(" ");
    let known = contact.name.clone().or_else(|| Some(joined).filter(|name| !name.is_empty()));
    let other = || contact.email.clone().or_else(|| contact.phone.clone()).or_else(|| contact.external_id.clone());
    known.or_else(other).unwrap_or_else(|| contact.id.to_string())
}

/// The fields of a contact that hold a text: name in the form, and for people.
const TEXTS: [(&str, &str, &str); 9] = [
    ("name", "Name", ""),
    ("first_name", "First name", ""),
    ("last_name", "Last name", ""),
    ("email", "E-mail", "ada@example.com"),
    ("phone", "Phone", "+15550100001"),
    ("whatsapp", "WhatsApp number", "+15550100001"),
    ("language", "Language", "en-GB"),
    ("timezone", "Time zone", "Europe/London"),
    ("external_id", "Your own id", "customer-42"),
];

fn fields(schema: &[AttributeView], form: &Form, faults: &Faults) -> Markup {
    let names: Vec<String> = TEXTS
        .iter()
        .map(|(name, ..)| (*name).to_owned())
        .chain(["telegram_chat_id".to_owned()])
        .chain(schema.iter().map(|attribute| format!("attributes/{}", attribute.name)))
        .collect();
    html! {
        (shell::form_faults(faults, &names))
        div.fields-2 {
            @for (name, label, example) in TEXTS { (Field::text(name, label).example(example).draw(form, faults)) }
            (Field::text("telegram_chat_id", "Telegram chat").with(Control::Number).draw(form, faults))
        }
        @if !schema.is_empty() {
            fieldset.form {
                legend { "Your own fields" }
                div.fields-2 { @for attribute in schema { (Field::text(&format!("attributes/{}", attribute.name), &attribute.name).help(kind(attribute)).draw(form, faults)) } }
            }
        }
    }
}

/// An attribute's type in words.
const fn kind(attribute: &AttributeView) -> &'static str {
    match attribute.kind {
        AttributeType::Text => "",
        AttributeType::Number => "A number.",
        AttributeType::Boolean => "true or false.",
        AttributeType::Date => "A day such as 2026-11-21.",
        AttributeType::List => "Several, separated by commas.",
    }
}

/// The value a text stands for, as the attribute's type asks. What does not fit stays a text, and the engine says what is wrong with it.
fn attribute_value(attribute: &AttributeView, text: &str) -> Value {
    if text.is_empty() {
        return Value::Null;
    }
    let plain = || Value::String(text.to_owned());
    match attribute.kind {
        AttributeType::Number => text.parse::<serde_json::Number>().map_or_else(|_| plain(), Value::Number),
        AttributeType::Boolean => text.parse::<bool>().map_or_else(|_| plain(), Value::Bool),
        AttributeType::List => text.split(',').map(|part| Value::String(part.trim().to_owned())).collect(),
        AttributeType::Text | AttributeType::Date => plain(),
    }
}

/// The changes a form asks for: an empty field is removed.
fn patch(schema: &[AttributeView], form: &Form) -> ContactPatch {
    let text = |name: &str| form.filled(name).map_or(Patch::Clear, |text| Patch::Set(text.to_owned()));
    let attributes: Map<String, Value> = schema
        .iter()
        .map(|attribute| {
            (attribute.name.clone(), attribute_value(attribute, form.text(&format!("attributes/{}", attribute.name))))
        })
        .collect();
    ContactPatch {
        external_id: text("external_id"),
        email: text("email"),
        phone: text("phone"),
        whatsapp: text("whatsapp"),
        telegram_chat_id: form
            .filled("telegram_chat_id")
            .and_then(|text| text.parse().ok())
            .map_or(Patch::Clear, Patch::Set),
        language: text("language"),
        timezone: text("timezone"),
        name: text("name"),
        first_name: text("first_name"),
        last_name: text("last_name"),
        attributes: if attributes.is_empty() { Patch::Keep } else { Patch::Set(attributes) },
    }
}

/// What is wrong with the chat's number before the engine can look at it.
fn chat_fault(form: &Form) -> Option<Faults> {
    let text = form.filled("telegram_chat_id")?;
    text.parse::<i64>().is_err().then(|| {
        let mut faults = Faults::default();
        faults.add("telegram_chat_id", "write the chat's number, such as 123456789, or leave it empty");
        faults
    })
}

async fn schema(cx: &Cx) -> Result<Vec<AttributeView>, engine::Error> {
    Ok(attributes::list(cx.engine(), &cx.caller).await?.data)
}

/// Shows the form of a new contact.
pub(crate) async fn new(cx: Cx) -> Answer {
    cx.tenant()?;
    cx.caller.need("contacts:write")?;
    let schema = schema(&cx).await?;
    Ok(cx.page(new_page(&cx, &schema, &Form::default(), &Faults::default())))
}

fn new_page<'a>(cx: &Cx, schema: &[AttributeView], form: &Form, faults: &Faults) -> shell::Page<'a> {
    let body = html! {
        section.card {
            form method="post" action=(PATH) data-guard {
                (form::token(cx.csrf()))
                div.body { div.form { (fields(schema, form, faults)) } }
                footer { div.end { (link_button(PATH, "", None, "Cancel")) button."button primary" type="submit" { "Add contact" } } }
            }
        }
    };
    shell::Page { above: ABOVE, is_narrow: true, ..shell::Page::new("Add contact", Section::Contacts, body) }
}

/// Adds a contact.
pub(crate) async fn create(Posted { cx, form }: Posted) -> Answer {
    cx.tenant()?;
    let schema = schema(&cx).await?;
    if let Some(faults) = chat_fault(&form) {
        return Ok(cx.again(new_page(&cx, &schema, &form, &faults)));
    }
    let text = |name: &str| form.filled(name).map(str::to_owned);
    let filled = schema.iter().filter_map(|attribute| {
        let value = attribute_value(attribute, form.text(&format!("attributes/{}", attribute.name)));
        (!value.is_null()).then(|| (attribute.name.clone(), value))
    });
    let new = NewContact {
        external_id: text("external_id"),
        email: text("email"),
        phone: text("phone"),
        whatsapp: text("whatsapp"),
        telegram_chat_id: form.filled("telegram_chat_id").and_then(|text| text.parse().ok()),
        language: text("language"),
        timezone: text("timezone"),
        name: text("name"),
        first_name: text("first_name"),
        last_name: text("last_name"),
        attributes: filled.collect(),
    };
    match contacts::create(cx.engine(), &cx.caller, &Repeat::NONE, new).await {
        Ok(reply) => {
            let made: Made = read::json(&reply.body)?;
            Ok(cx.done(&format!("{PATH}/{}", made.id), "The contact was added."))
        }
        Err(error) if matches!(error.kind.status(), 409 | 422) => {
            Ok(cx.again(new_page(&cx, &schema, &form, &Faults::of(&error))))
        }
        Err(error) => Err(error.into()),
    }
}

/// Which part of what was said is shown.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Said {
    cursor: Option<String>,
}

/// Shows a contact.
pub(crate) async fn show(cx: Cx, Path(id): Path<String>, Query(said): Query<Said>) -> Answer {
    cx.tenant()?;
    let contact = contacts::get(cx.engine(), &cx.caller, super::id(&id)?).await?;
    let schema = schema(&cx).await?;
    let form = stored(&contact);
    let title = name(&contact);
    let page = page(&cx, &title, &contact, &schema, (&form, &Faults::default()), said.cursor.as_deref()).await?;
    Ok(cx.page(page))
}

fn stored(contact: &ContactView) -> Form {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let mut form = Form::of([
        ("name", text(&contact.name)),
        ("first_name", text(&contact.first_name)),
        ("last_name", text(&contact.last_name)),
        ("email", text(&contact.email)),
        ("phone", text(&contact.phone)),
        ("whatsapp", text(&contact.whatsapp)),
        ("language", text(&contact.language)),
        ("timezone", text(&contact.timezone)),
        ("external_id", text(&contact.external_id)),
        ("telegram_chat_id", contact.telegram_chat_id.map(|id| id.to_string()).unwrap_or_default()),
    ]);
    for (name, value) in &contact.attributes {
        let text = match value {
            Value::Null => continue,
            Value::String(text) => text.clone(),
            Value::Array(items) => items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", "),
            other => other.to_string(),
        };
        form.set(format!("attributes/{name}"), text);
    }
    form
}

async fn page<'a>(
    cx: &Cx,
    title: &'a str,
    contact: &ContactView,
    schema: &[AttributeView],
    (form, faults): (&Form, &Faults),
    cursor: Option<&str>,
) -> Result<shell::Page<'a>, engine::Error> {
    let path = format!("{PATH}/{}", contact.id);
    let may = cx.may("contacts:write");
    let story = contacts::timeline(cx.engine(), &cx.caller, contact.id, Some(SAID), cursor).await?;
    let on = lists::of_contact(cx.engine(), &cx.caller, contact.id).await?;
    let every = if may { lists::list(cx.engine(), &cx.caller, Some(200), None).await?.data } else { Vec::new() };
    let mut events = Vec::new();
    for entry in &story.data {
        events.extend(event(cx, entry.kind, entry.at, &entry.data)?);
    }
    let actions = html! {
        @if let Some(to) = contact.email.as_ref().filter(|_| cx.may_send(Channel::Email)) {
            (link_button(&table::address("/console/compose", [("channel", "email"), ("to", to.as_str())]), "", Some("mail"), "Write"))
        } @else if let Some(to) = contact.phone.as_ref().filter(|_| cx.may_send(Channel::Sms)) {
            (link_button(&table::address("/console/compose", [("channel", "sms"), ("to", to.as_str())]), "", Some("sms"), "Write"))
        }
        @if may {
            button."button danger" type="button" data-opens="delete" { (icon("trash")) "Delete" }
            (parts::dialog(&Dialog { id: "delete", title: "Delete this contact?", action: &format!("{path}/delete"), csrf: cx.csrf(),
                body: html! { p.muted { "Messages that were sent keep their timelines. This cannot be undone." } }, yes: "Delete contact", is_dangerous: true }))
        }
    };
    let body = html! {
        div."columns even" {
            section.card aria-label="Contact" {
                header { h2 { "Contact" } span."muted small" { "Changed " (cx.here().at(contact.updated_at)) } }
                form method="post" action=(path) data-guard {
                    (form::token(cx.csrf()))
                    fieldset disabled[!may] { div.body { div.form { (fields(schema, form, faults)) } } }
                    @if may { footer { div.end { button."button primary" type="submit" { "Save" } } } }
                }
            }
            div.stack {
                (parts::card_flush("What was said", None, if events.is_empty() {
                    parts::empty("chat", "Nothing yet", "Messages to and from this contact appear here, over all channels.", None)
                } else { html! {
                    div.padded #said hx-get=[cursor.is_none().then_some(path.as_str())] hx-trigger="news from:body" hx-select="#said" hx-swap="outerHTML" { (timeline(events)) }
                    @if story.next_cursor.is_some() || cursor.is_some() { (table::pager(&Pages { path: &path, query: &[], is_first: cursor.is_none(), next: story.next_cursor.as_deref(), shown: story.data.len() })) }
                } }))
                (on_lists::card(cx, contact.id, &on, &every))
            }
        }
    };
    Ok(shell::Page {
        above: ABOVE,
        actions: Some(actions),
        tabs: cx.may("consent:read").then(|| super::consent::tabs(cx, contact.id, &path)),
        is_live: true,
        ..shell::Page::new(title, Section::Contacts, body)
    })
}

/// Entries of what was said on one page.
const SAID: u32 = 30;

/// What somebody sent, as far as it is shown here.
#[derive(Debug, Deserialize)]
struct Received {
    channel: Channel,
    text: String,
}

fn event(cx: &Cx, kind: &str, at: Timestamp, data: &Value) -> Result<Option<Event>, engine::Error> {
    let unreadable = |error: serde_json::Error| engine::Error::internal(format!("a timeline cannot be read: {error}"));
    Ok(match kind {
        "message" => {
            let message: Message = serde_json::from_value(data.clone()).map_err(unreadable)?;
            Some(Event {
                tone: parts::status_tone(message.status),
                picture: parts::channel_icon(message.channel),
                title: html! { a href={ "/console/messages/" (message.id) } { (format::channel(message.channel)) " to " (message.to) } " " (parts::status(message.status)) },
                at: cx.here().at(at),
                detail: message.failure.map(|failure| html! { (failure.detail) }),
                is_future: false,
            })
        }
        "inbound_message" => {
            let message: Received = serde_json::from_value(data.clone()).map_err(unreadable)?;
            Some(Event {
                tone: Tone::Info,
                picture: "inbox",
                title: html! { "Answered by " (format::channel(message.channel)) },
                at: cx.here().at(at),
                detail: Some(html! { div.bubble dir="auto" { (message.text) } }),
                is_future: false,
            })
        }
        // What a later version tells and this page does not know.
        _ => None,
    })
}

/// Changes a contact.
pub(crate) async fn update(Path(id): Path<String>, Posted { cx, form }: Posted) -> Answer {
    let id: ContactId = super::id(&id)?;
    let schema = schema(&cx).await?;
    let faults = match chat_fault(&form) {
        Some(faults) => faults,
        None => match contacts::patch(cx.engine(), &cx.caller, id, patch(&schema, &form)).await {
            Ok(_) => return Ok(cx.done(&format!("{PATH}/{id}"), "Saved.")),
            Err(error) if matches!(error.kind.status(), 409 | 422) => Faults::of(&error),
            Err(error) => return Err(error.into()),
        },
    };
    let contact = contacts::get(cx.engine(), &cx.caller, id).await?;
    let title = name(&contact);
    let page = page(&cx, &title, &contact, &schema, (&form, &faults), None).await?;
    Ok(cx.again(page))
}

/// Deletes a contact.
pub(crate) async fn delete(Path(id): Path<String>, Posted { cx, .. }: Posted) -> Answer {
    contacts::delete(cx.engine(), &cx.caller, super::id(&id)?).await?;
    Ok(cx.done(PATH, "The contact was deleted."))
}
