//! Lists: contacts named by hand or by import, each with who is on it.

use axum::extract::Path;
use engine::{
    contacts::{
        ContactView,
        lists::{self, ListPatch, ListView, Members, NewList, Way},
    },
    once::Repeat,
    page::Page,
    patch::Patch,
};
use maud::html;
use model::{ContactId, ListId};
use serde::Deserialize;

use super::{contacts, personal};
use crate::{
    cx::{Answer, Cx, Posted, Query},
    form::{self, Faults, Form},
    parts::{
        self, Dialog, Field, icon, link_button,
        table::{self, Pages, Row, Table, cell},
    },
    shell::{self, Section},
};

pub(super) const PATH: &str = "/console/lists";
const ABOVE: &[(&str, &str)] = &[("/console/contacts", "Contacts"), (PATH, "Lists")];

/// Shows the lists.
pub(crate) async fn all(cx: Cx, Query(wanted): Query<Wanted>) -> Answer {
    cx.tenant()?;
    let page = lists::list(cx.engine(), &cx.caller, None, wanted.cursor.as_deref()).await?;
    let lists = &page.data;
    let may = cx.may("contacts:write");
    let row = |list: &ListView| Row {
        href: Some(format!("{PATH}/{}", list.id)),
        cells: vec![
            cell(html! { span.wide-text dir="auto" { (list.name) } }),
            cell(
                html! { span.wide-text dir="auto" { (if list.description.is_empty() { "–" } else { &list.description }) } },
            ),
            table::number(list.contacts),
            cell(cx.here().day(list.created_at)),
        ],
    };
    let new = html! { button."button primary" type="button" data-opens="new-list" { (icon("plus")) "Add list" } };
    let body = html! {
        section.card aria-label="Lists" {
            @if lists.is_empty() {
                (parts::empty("list", "No lists", "A list names contacts by hand or by import: “Newsletter”, “Season tickets”.", may.then(|| new.clone())))
            } @else {
                (table::table(Table { caption: "Lists, newest first", columns: &["Name", "For", "Contacts", "Made"], rows: lists.iter().map(row).collect() }))
                (table::pager(&Pages { path: PATH, query: &[], is_first: wanted.cursor.is_none(), next: page.next_cursor.as_deref(), shown: lists.len() }))
            }
        }
        @if may {
            (parts::dialog(&Dialog { id: "new-list", title: "Add list", action: PATH, csrf: cx.csrf(), body: html! {
                (Field::text("name", "Name").required().draw(&Form::default(), &Faults::default()))
                (Field::text("description", "For").draw(&Form::default(), &Faults::default()))
            }, yes: "Add list", is_dangerous: false }))
        }
    };
    let actions = (may && !lists.is_empty()).then_some(new);
    Ok(cx.page(shell::Page {
        actions,
        tabs: Some(contacts::tabs(PATH)),
        ..shell::Page::new("Lists", Section::Contacts, body)
    }))
}

/// Adds a list.
pub(crate) async fn create(Posted { cx, form }: Posted) -> Answer {
    cx.tenant()?;
    let new =
        NewList { name: form.text("name").to_owned(), description: form.filled("description").map(str::to_owned) };
    match lists::create(cx.engine(), &cx.caller, &Repeat::NONE, new).await {
        Ok(_) => Ok(cx.done(PATH, "The list was added.")),
        Err(error) if matches!(error.kind.status(), 409 | 422) => {
            let lines: Vec<String> = Faults::of(&error).rest::<&str>(&[]).collect();
            Ok(cx.refused(PATH, &lines.join("; ")))
        }
        Err(error) => Err(error.into()),
    }
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Wanted {
    cursor: Option<String>,
}

/// Shows a list with who is on it.
pub(crate) async fn show(cx: Cx, Path(id): Path<String>, Query(wanted): Query<Wanted>) -> Answer {
    cx.tenant()?;
    let id: ListId = super::id(&id)?;
    let list = lists::get(cx.engine(), &cx.caller, id).await?;
    let members = lists::members(cx.engine(), &cx.caller, id, None, wanted.cursor.as_deref()).await?;
    let form = Form::of([("name", list.name.as_str()), ("description", &list.description)]);
    Ok(cx.page(page(&cx, &list, &members, wanted.cursor.is_none(), &form, &Faults::default())))
}

fn page<'a>(
    cx: &Cx,
    list: &'a ListView,
    members: &Page<ContactView>,
    is_first: bool,
    form: &Form,
    faults: &Faults,
) -> shell::Page<'a> {
    let (path, may) = (format!("{PATH}/{}", list.id), cx.may("contacts:write"));
    let row = |contact: &ContactView| Row {
        href: Some(format!("/console/contacts/{}", contact.id)),
        cells: vec![
            cell(html! { span.wide-text dir="auto" { (contacts::name(contact)) } }),
            cell(html! { span.wide-text { (contact.email.as_deref().unwrap_or("–")) } }),
            cell(html! { (contact.phone.as_deref().unwrap_or("–")) }),
            cell(html! { @if may {
                form method="post" action={ (path) "/remove" } {
                    (form::token(cx.csrf()))
                    input type="hidden" name="contact" value=(contact.id);
                    button."button small" type="submit" aria-label={ "Take off: " (contacts::name(contact)) } { "Take off" }
                }
            } }),
        ],
    };
    let export = table::address("/console/contacts/export", [("list", list.id.to_string().as_str())]);
    let body = html! {
        @if may {
            div."columns even" {
                section.card aria-label="Add somebody" {
                    header { h2 { "Add somebody" } }
                    form method="post" action={ (path) "/add" } {
                        (form::token(cx.csrf()))
                        div.body { div.form { (Field::text("contact", "Who").required().example("ada@example.com").help("A contact's address, number, your own id of it, or its id here. Many at once come by import.").draw(form, faults)) } }
                        footer { div.end { button."button primary" type="submit" { "Add to the list" } } }
                    }
                }
                section.card aria-label="The list" {
                    header { h2 { "The list" } }
                    form method="post" action=(path) data-guard {
                        (form::token(cx.csrf()))
                        div.body { div.form {
                            (shell::form_faults(faults, &["name", "description", "contact"]))
                            (Field::text("name", "Name").required().draw(form, faults))
                            (Field::text("description", "For").draw(form, faults))
                        } }
                        footer { div.end { button.button type="submit" { "Save" } } }
                    }
                }
            }
        }
        section.card aria-label="Who is on it" {
            header { h2 { "Who is on it" } span."muted small num" { (crate::format::count(list.contacts, "contact", "contacts")) } }
            div."body flush" {
                @if members.data.is_empty() {
                    (parts::empty("people", "Nobody is on it", "Add somebody, or bring them in from a file and choose this list there.", may.then(|| link_button("/console/contacts/import", "", Some("upload"), "Import"))))
                } @else {
                    (table::table(Table { caption: "Contacts on the list, newest first", columns: &["Name", "E-mail", "Phone", ""], rows: members.data.iter().map(row).collect() }))
                    (table::pager(&Pages { path: &path, query: &[], is_first, next: members.next_cursor.as_deref(), shown: members.data.len() }))
                }
            }
        }
    };
    let actions = html! {
        @if list.contacts > 0 { (link_button(&export, "", Some("file"), "Export")) }
        @if may {
            button."button danger" type="button" data-opens="delete" { (icon("trash")) "Delete" }
            (parts::dialog(&Dialog { id: "delete", title: "Delete this list?", action: &format!("{path}/delete"), csrf: cx.csrf(), body: html! { p.muted { "Its contacts stay." } }, yes: "Delete list", is_dangerous: true }))
        }
    };
    shell::Page {
        above: ABOVE,
        actions: Some(actions),
        lead: (!list.description.is_empty()).then(|| html! { span dir="auto" { (list.description) } }),
        ..shell::Page::new(&list.name, Section::Contacts, body)
    }
}

/// Changes a list's name and what it is for.
pub(crate) async fn update(Path(id): Path<String>, Posted { cx, form }: Posted) -> Answer {
    cx.tenant()?;
    let id: ListId = super::id(&id)?;
    let change = ListPatch {
        name: Patch::Set(form.text("name").to_owned()),
        description: Patch::Set(form.text("description").to_owned()),
    };
    match lists::patch(cx.engine(), &cx.caller, id, change).await {
        Ok(_) => Ok(cx.done(&format!("{PATH}/{id}"), "Saved.")),
        Err(error) if matches!(error.kind.status(), 409 | 422) => again(&cx, id, &form, &Faults::of(&error)).await,
        Err(error) => Err(error.into()),
    }
}

async fn again(cx: &Cx, id: ListId, form: &Form, faults: &Faults) -> Answer {
    let list = lists::get(cx.engine(), &cx.caller, id).await?;
    let members = lists::members(cx.engine(), &cx.caller, id, None, None).await?;
    // The form that was not sent keeps what is stored.
    let mut shown = form.clone();
    for (name, value) in [("name", &list.name), ("description", &list.description)] {
        if form.get(name).is_none() {
            shown.set(name, value);
        }
    }
    Ok(cx.again(page(cx, &list, &members, true, &shown, faults)))
}

/// Puts somebody on a list, takes them off, or deletes it.
pub(crate) async fn act(Path((id, action)): Path<(String, String)>, Posted { cx, form }: Posted) -> Answer {
    cx.tenant()?;
    cx.caller.need("contacts:write")?;
    let id: ListId = super::id(&id)?;
    let path = format!("{PATH}/{id}");
    let change = async |way: Way, contact: ContactId| {
        let members = Members { contact_ids: vec![contact] };
        lists::change_members(cx.engine(), &cx.caller, &Repeat::NONE, id, way, members).await
    };
    match action.as_str() {
        "add" => match personal::find(&cx, form.text("contact"), None).await? {
            Ok(contact) => {
                change(Way::Add, contact).await?;
                Ok(cx.done(&path, "They are on the list."))
            }
            Err(why) => {
                let mut faults = Faults::default();
                faults.add("contact", why);
                again(&cx, id, &form, &faults).await
            }
        },
        "remove" => {
            change(Way::Remove, super::id(form.text("contact"))?).await?;
            Ok(cx.done(&path, "They are off the list."))
        }
        "delete" => match lists::delete(cx.engine(), &cx.caller, id).await {
            Ok(()) => Ok(cx.done(PATH, "The list was deleted.")),
            Err(error) if error.kind.status() == 409 => Ok(cx.refused(&path, &error.detail)),
            Err(error) => Err(error.into()),
        },
        _ => Err(super::no_page().into()),
    }
}
