//! What the law asks about one person: everything that is known about them as a file, two entries that are one person made one, and erasing them.

use axum::{body::Body, extract::Path, response::Response};
use engine::{
    Error, ErrorKind,
    contacts::{
        self, ContactQuery, ContactView,
        dossier::{self, Dossier},
        merge::{self, MergeRequest},
    },
    once::Repeat,
};
use http::{HeaderValue, header};
use maud::html;
use model::{ContactExportId, ContactId};
use serde::Deserialize;

use super::{consent, contacts as place};
use crate::{
    App,
    cx::{Answer, Cx, Fault, Posted, go},
    form::{Faults, Form},
    format,
    parts::{self, Dialog, Field, icon},
    read::{self, Made},
    shell::{self, Section},
};

const ABOVE: &[(&str, &str)] = &[("/console/contacts", "Contacts")];
/// What has to be typed before somebody is erased.
const SURE: &str = "erase";

/// Where a contact's page about this is.
pub(super) fn path(id: ContactId) -> String {
    format!("/console/contacts/{id}/data")
}

/// Shows what can be done.
pub(crate) async fn show(cx: Cx, Path(id): Path<String>) -> Answer {
    cx.tenant()?;
    cx.caller.need("contacts:write")?;
    let contact = contacts::get(cx.engine(), &cx.caller, super::id(&id)?).await?;
    Ok(cx.page(page(&cx, &contact, &place::name(&contact), &Form::default(), &Faults::default())))
}

fn page<'a>(cx: &Cx, contact: &ContactView, title: &'a str, form: &Form, faults: &Faults) -> shell::Page<'a> {
    let path = path(contact.id);
    let none = Faults::default();
    let body = html! {
        (parts::card("Everything about them", None, html! {
            div.stack {
                p.muted { "A zip with the contact, its lists, preferences and consent, every message both ways with its timeline, files, and who changed what. It is made while it is read, and that it was is in the audit log." }
                div.row { (parts::act(&format!("{path}/export"), cx.csrf(), "", Some("file"), "Download everything")) }
            }
        }))
        section.card aria-label="The same person twice" {
            header { h2 { "The same person twice" } }
            form method="post" action={ (path) "/merge" } {
                (crate::form::token(cx.csrf()))
                div.body { div.form {
                    (shell::form_faults(faults, &["from"]))
                    (Field::text("from", "The other entry").required().example("ada@example.com").help("Its address, number, your own id of it, or its id here. What this contact lacks it gets from the other one, with its messages and lists; then the other one is gone.").draw(form, faults))
                } }
                footer { div.end { button.button type="submit" { "Make them one" } } }
            }
        }
        (parts::card("Erase", None, html! {
            div.stack {
                p.muted { "Takes the person out of messages, events, logs and files. What was sent goes on counting without them, and their addresses stay on the suppression list in a form nobody can read, so that no import brings them back by accident." }
                div.row { button."button danger" type="button" data-opens="erase" { (icon("trash")) "Erase this person" } }
                (parts::dialog(&Dialog { id: "erase", title: "Erase this person?", action: &format!("{path}/erase"), csrf: cx.csrf(), yes: "Erase for good", is_dangerous: true,
                    body: html! {
                        p.muted { "What waits for them is withdrawn. Nobody can bring any of it back." }
                        (Field::text("sure", "Type “erase” to go on").required().draw(&Form::default(), &none))
                    } }))
            }
        }))
    };
    shell::Page {
        above: ABOVE,
        tabs: Some(consent::tabs(cx, contact.id, &path)),
        lead: Some(html! { "What the law asks about one person." }),
        is_narrow: true,
        ..shell::Page::new(title, Section::Contacts, body)
    }
}

/// Makes the file and leads to it.
pub(crate) async fn ask(Path(id): Path<String>, Posted { cx, .. }: Posted) -> Answer {
    cx.tenant()?;
    let id: ContactId = super::id(&id)?;
    let reply = dossier::ask(cx.engine(), &cx.caller, &Repeat::NONE, id).await?;
    let made: Made = read::json(&reply.body)?;
    Ok(go(&format!("{}/{}.zip", path(id), made.id)))
}

/// Reads the file, made while it is read.
pub(crate) async fn file(cx: Cx, Path((id, name)): Path<(String, String)>) -> Answer {
    cx.tenant()?;
    let id: ContactId = super::id(&id)?;
    let export: ContactExportId = super::id(name.strip_suffix(".zip").unwrap_or_default())?;
    let dossier = Dossier::begin(cx.engine(), &cx.caller, id, export).await?;
    let begun = (cx.app, dossier);
    let pieces = futures_util::stream::try_unfold(begun, |(app, mut dossier): (App, Dossier)| async move {
        let piece = dossier.next(app.engine()).await?;
        Ok::<_, Error>(piece.map(|piece| (piece, (app, dossier))))
    });
    let mut response = Response::new(Body::from_stream(pieces));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/zip"));
    let name = format!("attachment; filename=\"{id}.zip\"");
    headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_str(&name).map_err(Error::internal)?);
    Ok(response)
}

/// The one contact a text means, other than one of them, or what is wrong with it.
pub(super) async fn find(
    cx: &Cx,
    text: &str,
    not: Option<ContactId>,
) -> Result<Result<ContactId, &'static str>, Fault> {
    if let Ok(id) = text.parse::<ContactId>() {
        return match contacts::get(cx.engine(), &cx.caller, id).await {
            Ok(contact) => Ok(Ok(contact.id)),
            Err(error) if error.kind == ErrorKind::NotFound => Ok(Err("there is no such contact")),
            Err(error) => Err(error.into()),
        };
    }
    let query = ContactQuery { q: Some(text.to_owned()), limit: Some(20), ..ContactQuery::default() };
    let found = match contacts::list(cx.engine(), &cx.caller, &query).await {
        Ok(page) => page.data,
        Err(error) if matches!(error.kind.status(), 400 | 422) => {
            return Ok(Err("write an address, a number or an id"));
        }
        Err(error) => return Err(error.into()),
    };
    let is_whole = |contact: &&ContactView| {
        let known = [&contact.email, &contact.phone, &contact.whatsapp, &contact.external_id];
        Some(contact.id) != not
            && known.iter().any(|known| known.as_deref().is_some_and(|known| known.eq_ignore_ascii_case(text)))
    };
    let mut whole = found.iter().filter(is_whole);
    Ok(match (whole.next(), whole.next()) {
        (Some(one), None) => Ok(one.id),
        (Some(_), Some(_)) => Err("several contacts have it: write the id of the one you mean"),
        (None, _) => Err(if not.is_some() { "no other contact has it" } else { "no contact has it" }),
    })
}

/// Makes two contacts one.
pub(crate) async fn join(Path(id): Path<String>, Posted { cx, form }: Posted) -> Answer {
    cx.tenant()?;
    cx.caller.need("contacts:write")?;
    let id: ContactId = super::id(&id)?;
    let contact = contacts::get(cx.engine(), &cx.caller, id).await?;
    let mut faults = Faults::default();
    match find(&cx, form.text("from"), Some(id)).await? {
        Err(why) => faults.add("from", why),
        Ok(from) => match merge::merge(cx.engine(), &cx.caller, &Repeat::NONE, id, MergeRequest { from }).await {
            Ok(_) => {
                return Ok(cx.done(&format!("/console/contacts/{id}"), "They are one. Messages follow within moments."));
            }
            Err(error) if matches!(error.kind.status(), 404 | 409 | 422) => faults = Faults::of(&error),
            Err(error) => return Err(error.into()),
        },
    }
    Ok(cx.again(page(&cx, &contact, &place::name(&contact), &form, &faults)))
}

/// What an erasure came to.
#[derive(Debug, Deserialize)]
struct Erased {
    messages: i64,
    inbound_messages: i64,
}

/// Erases the person, once it was typed that this is meant.
pub(crate) async fn erase(Path(id): Path<String>, Posted { cx, form }: Posted) -> Answer {
    cx.tenant()?;
    cx.caller.need("contacts:write")?;
    let id: ContactId = super::id(&id)?;
    if !form.text("sure").eq_ignore_ascii_case(SURE) {
        return Ok(cx.refused(&path(id), "Nobody was erased: type “erase” to say that you mean it."));
    }
    match contacts::erase(cx.engine(), &cx.caller, &Repeat::NONE, id).await {
        Ok(reply) => {
            let erased: Erased = read::json(&reply.body)?;
            let count = format::count(erased.messages + erased.inbound_messages, "message was", "messages were");
            Ok(cx.done("/console/contacts", &format!("The person was erased; {count} emptied.")))
        }
        Err(error) if error.kind.status() == 409 => Ok(cx.refused(&path(id), &error.detail)),
        Err(error) => Err(error.into()),
    }
}
