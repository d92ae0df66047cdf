//! Lists: contacts named by hand or by an import.

use axum::extract::Path;
use engine::{
    contacts::lists::{self, ListPatch, ListView, NewList},
    once::Repeat,
    page::Page,
    patch::Patch,
};
use maud::{Markup, html};
use model::ListId;
use serde::Deserialize;

use super::contacts;
use crate::{
    cx::{Answer, Cx, Posted, Query},
    form::{self, Faults, Form},
    format,
    parts::{
        self, Dialog, Field, icon, link_button,
        table::{self, Pages, Row, Table, cell},
    },
    shell::{self, Section},
};

pub(super) const PATH: &str = "/console/lists";
const ABOVE: &[(&str, &str)] = &[("/console/contacts", "Contacts"), (PATH, "Lists")];
const NAMES: [&str; 2] = ["name", "description"];

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Wanted {
    cursor: Option<String>,
}

/// Shows the lists.
pub(crate) async fn show_all(cx: Cx, Query(wanted): Query<Wanted>) -> Answer {
    cx.tenant()?;
    let page = lists::list(cx.engine(), &cx.caller, None, wanted.cursor.as_deref()).await?;
    Ok(cx.page(all(&cx, &page, wanted.cursor.is_none())))
}

fn all<'a>(cx: &Cx, page: &Page<ListView>, is_first: bool) -> shell::Page<'a> {
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
            @if page.data.is_empty() {
                (parts::empty("list", "No lists", "A list names contacts by hand or by import: “Newsletter”, “Season tickets”.", may.then(|| new.clone())))
            } @else {
                (table::table(Table { caption: "Lists, newest first", columns: &["Name", "For", "Contacts", "Made"], rows: page.data.iter().map(row).collect() }))
                (table::pager(&Pages { path: PATH, query: &[], is_first, next: page.next_cursor.as_deref(), shown: page.data.len() }))
            }
        }
        @if may {
            (parts::dialog(&Dialog { id: "new-list", title: "Add list", action: PATH, csrf: cx.csrf(), body: fields(&Form::default(), &Faults::default()), yes: "Add list", is_dangerous: false }))
        }
    };
    shell::Page {
        actions: (may && !page.data.is_empty()).then_some(new),
        tabs: Some(contacts::tabs(PATH)),
        ..shell::Page::new("Lists", Section::Contacts, body)
    }
}

fn fields(form: &Form, faults: &Faults) -> Markup {
    html! {
        (Field::text("name", "Name").required().draw(form, faults))
        (Field::text("description", "For").draw(form, faults))
    }
}

/// Adds a list.
pub(crate) async fn create(Posted { cx, form }: Posted) -> Answer {
    cx.tenant()?;
    let new =
        NewList { name: form.text("name").to_owned(), description: form.filled("description").map(str::to_owned) };
    match lists::create(cx.engine(), &cx.caller, &Repeat::NONE, new).await {
        Ok(_) => Ok(cx.done(PATH, "The list was added.")),
        Err(error) if matches!(error.kind.status(), 409 | 422) => {
            Ok(cx.refused(PATH, &Faults::of(&error).rest::<&str>(&[]).collect::<Vec<_>>().join("; ")))
        }
        Err(error) => Err(error.into()),
    }
}

/// Shows a list.
pub(crate) async fn show(cx: Cx, Path(id): Path<String>) -> Answer {
    cx.tenant()?;
    let list = lists::get(cx.engine(), &cx.caller, super::id(&id)?).await?;
    let form = Form::of([("name", &list.name), ("description", &list.description)]);
    Ok(cx.page(page(&cx, &list, &list.name, &form, &Faults::default())))
}

fn page<'a>(cx: &Cx, list: &ListView, title: &'a str, form: &Form, faults: &Faults) -> shell::Page<'a> {
    let may = cx.may("contacts:write");
    let path = format!("{PATH}/{}", list.id);
    let id = list.id.to_string();
    let actions = html! {
        (link_button(&table::address("/console/contacts", [("list", id.as_str())]), "", Some("people"), "See its contacts"))
        @if may {
            button."button danger" type="button" data-opens="delete" { (icon("trash")) "Delete" }
            (parts::dialog(&Dialog { id: "delete", title: &format!("Delete “{}”?", list.name), action: &format!("{path}/delete"), csrf: cx.csrf(),
                body: html! { p.muted { "Its contacts stay." } }, yes: "Delete list", is_dangerous: true }))
        }
    };
    let body = html! {
        section.card aria-label="List" {
            header { h2 { (format::count(list.contacts, "contact", "contacts")) } span."muted small" { "Made " (cx.here().day(list.created_at)) } }
            form method="post" action=(path) data-guard {
                (form::token(cx.csrf()))
                fieldset disabled[!may] { div.body { div.form { (shell::form_faults(faults, &NAMES)) (fields(form, faults)) } } }
                @if may { footer { div.end { button."button primary" type="submit" { "Save" } } } }
            }
        }
        (parts::card("For programs", None, html! { div.ids { div.field { span.label { "List id" } (parts::copy_line(&id, "the list id")) } } }))
    };
    shell::Page {
        above: ABOVE,
        actions: Some(actions),
        is_narrow: true,
        ..shell::Page::new(title, Section::Contacts, body)
    }
}

/// Changes what a list is called.
pub(crate) async fn update(Path(id): Path<String>, Posted { cx, form }: Posted) -> Answer {
    let id: ListId = super::id(&id)?;
    let change = ListPatch {
        name: Patch::Set(form.text("name").to_owned()),
        description: Patch::Set(form.text("description").to_owned()),
    };
    match lists::patch(cx.engine(), &cx.caller, id, change).await {
        Ok(_) => Ok(cx.done(&format!("{PATH}/{id}"), "Saved.")),
        Err(error) if matches!(error.kind.status(), 409 | 422) => {
            let list = lists::get(cx.engine(), &cx.caller, id).await?;
            Ok(cx.again(page(&cx, &list, &list.name, &form, &Faults::of(&error))))
        }
        Err(error) => Err(error.into()),
    }
}

/// Deletes a list.
pub(crate) async fn delete(Path(id): Path<String>, Posted { cx, .. }: Posted) -> Answer {
    match lists::delete(cx.engine(), &cx.caller, super::id(&id)?).await {
        Ok(()) => Ok(cx.done(PATH, "The list was deleted.")),
        Err(error) if error.kind.status() == 409 => Ok(cx.refused(PATH, &error.detail)),
        Err(error) => Err(error.into()),
    }
}
