//! Segments: contacts by what is known about them. The builder writes conditions row by row and counts who they describe while they are written; `rows` is its form.

mod rows;

use axum::extract::Path;
use engine::{
    Error,
    contacts::{
        attributes::{self, AttributeView},
        lists::{self, ListView},
    },
    once::Repeat,
    patch::Patch,
    segments::{self, NewSegment, PreviewRequest, SegmentPatch, SegmentView},
};
use maud::{Markup, html};
use model::SegmentId;
use serde::Deserialize;

use super::contacts;
use crate::{
    cx::{Answer, Cx, Fault, Posted, Query, html as answer},
    form::{self, Faults, Form},
    format,
    parts::{
        self, Control, Dialog, Field, Tone, icon, link_button,
        table::{self, Pages, Row, Table, cell},
    },
    read::{self, Made},
    shell::{self, Section},
};

const PATH: &str = "/console/segments";
const ABOVE: &[(&str, &str)] = &[("/console/contacts", "Contacts"), (PATH, "Segments")];

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Wanted {
    cursor: Option<String>,
}

/// Lists segments.
pub(crate) async fn list(cx: Cx, Query(wanted): Query<Wanted>) -> Answer {
    cx.tenant()?;
    let page = segments::list(cx.engine(), &cx.caller, None, wanted.cursor.as_deref()).await?;
    let may = cx.may("contacts:write");
    let row = |segment: &SegmentView| Row {
        href: Some(format!("{PATH}/{}", segment.id)),
        cells: vec![
            cell(html! { span.wide-text dir="auto" { (segment.name) } }),
            cell(html! { span.wide-text dir="auto" { (segment.description) } }),
            cell(cx.here().at(segment.updated_at)),
        ],
    };
    let new = html! { @if may { (link_button(&format!("{PATH}/new"), "primary", Some("plus"), "Add segment")) } };
    let body = html! {
        section.card aria-label="Segments" {
            @if page.data.is_empty() {
                (parts::empty("people", "No segments yet", "A segment is a question about your contacts, such as who speaks German and opened something this month. It is asked anew each time it is used.", Some(new.clone())))
            } @else {
                (table::table(Table { caption: "Segments, newest first", columns: &["Name", "For", "Changed"], rows: page.data.iter().map(row).collect() }))
                (table::pager(&Pages { path: PATH, query: &[], is_first: wanted.cursor.is_none(), next: page.next_cursor.as_deref(), shown: page.data.len() }))
            }
        }
    };
    Ok(cx.page(shell::Page {
        actions: (!page.data.is_empty()).then_some(new),
        tabs: Some(contacts::tabs(PATH)),
        lead: Some(html! { "Contacts by what is known about them." }),
        ..shell::Page::new("Segments", Section::Contacts, body)
    }))
}

/// What conditions can speak of.
struct Known {
    attributes: Vec<AttributeView>,
    lists: Vec<ListView>,
}

impl Known {
    async fn read(cx: &Cx) -> Result<Self, Fault> {
        Ok(Self {
            attributes: attributes::list(cx.engine(), &cx.caller).await?.data,
            lists: lists::list(cx.engine(), &cx.caller, Some(200), None).await?.data,
        })
    }
}

/// Shows the builder, empty.
pub(crate) async fn new(cx: Cx) -> Answer {
    cx.tenant()?;
    cx.caller.need("contacts:write")?;
    let known = Known::read(&cx).await?;
    let form = Form::of([("match", "all"), ("rows", "1")]);
    Ok(cx.page(new_page(&cx, &known, &form, &Faults::default())))
}

fn new_page<'a>(cx: &Cx, known: &Known, form: &Form, faults: &Faults) -> shell::Page<'a> {
    let body = sheet(cx, PATH, known, form, faults);
    shell::Page { above: ABOVE, ..shell::Page::new("Add segment", Section::Contacts, body) }
}

fn sheet(cx: &Cx, action: &str, known: &Known, form: &Form, faults: &Faults) -> Markup {
    let may = cx.may("contacts:write");
    let is_json = form.get("conditions").is_some();
    let ways = vec![("all", "All of these hold".to_owned()), ("any", "Any of these holds".to_owned())];
    html! {
        form #segment method="post" action=(action) hx-post={ (PATH) "/preview" } hx-trigger="input delay:400ms, change delay:100ms, load" hx-target="#count" hx-swap="innerHTML" data-guard {
            (form::token(cx.csrf()))
            div."columns" {
                section.card aria-label="Segment" {
                    div.body {
                        div.form {
                            (shell::form_faults(faults, &["name", "description"]))
                            div.fields-2 {
                                (Field::text("name", "Name").required().draw(form, faults))
                                (Field::text("description", "For").draw(form, faults))
                            }
                            @if is_json {
                                (parts::notice(Tone::Info, "These conditions are nested", html! { p { "They were written by a program and are changed as JSON." } }))
                                (Field::text("conditions", "Conditions").with(Control::Area { rows: 14 }).required().draw(form, faults))
                            } @else {
                                (Field::text("match", "A contact belongs to it when").with(Control::Choice(ways)).required().draw(form, faults))
                                (rows::draw(&known.attributes, &known.lists, form))
                            }
                        }
                    }
                    @if may {
                        footer {
                            @if !is_json { button.button type="submit" formaction={ (PATH) "/row" } formnovalidate { (icon("plus")) "Another condition" } }
                            div.end { (link_button(PATH, "", None, "Cancel")) button."button primary" type="submit" { "Save segment" } }
                        }
                    }
                }
                div."stack sticky" {
                    section.card aria-label="Who belongs to it" {
                        header { h2 { "Who belongs to it" } }
                        div.body { div #count aria-live="polite" { p.muted { "Say something about the contacts, and they are counted." } } }
                    }
                }
            }
            @if let Some(id) = form.get("segment") { input type="hidden" name="segment" value=(id); }
        }
    }
}

/// Shows the builder with one more row.
pub(crate) async fn more(Posted { cx, mut form }: Posted) -> Answer {
    cx.tenant()?;
    let known = Known::read(&cx).await?;
    form = rows::with_one_more(&form);
    match form.text("segment").parse::<SegmentId>() {
        Ok(id) => {
            let segment = segments::get(cx.engine(), &cx.caller, id).await?;
            Ok(cx.page(edit_page(&cx, &segment.name, &segment, &known, &form, &Faults::default())))
        }
        Err(_) => Ok(cx.page(new_page(&cx, &known, &form, &Faults::default()))),
    }
}

/// Counts the contacts the form describes.
pub(crate) async fn preview(Posted { cx, form }: Posted) -> Answer {
    cx.tenant()?;
    let known = Known::read(&cx).await?;
    let counted = match rows::tree(&form, &known.attributes) {
        Ok(Some(conditions)) => {
            segments::preview(cx.engine(), &cx.caller, PreviewRequest { conditions, channel: None, topic: None }).await
        }
        Ok(None) => {
            return Ok(answer(html! { p.muted { "Say something about the contacts, and they are counted." } }));
        }
        Err(error) => Err(error),
    };
    match counted {
        Ok(counted) => Ok(answer(html! {
            div.stack {
                p { strong.count { (format::number(counted.contacts)) } " " (if counted.contacts == 1 { "contact" } else { "contacts" }) }
                @if !counted.sample.is_empty() {
                    ul.stack.tight { @for contact in &counted.sample { li { a.break dir="auto" href={ "/console/contacts/" (contact.id) } { (contacts::name(contact)) } } } }
                    @if counted.contacts > counted.sample.len() as i64 { p."muted small" { "and others" } }
                }
            }
        })),
        Err(error) if error.kind.status() < 500 => {
            let lines: Vec<String> = Faults::of(&error).rest::<&str>(&[]).collect();
            Ok(answer(parts::notice(
                Tone::Warn,
                "This cannot be asked yet",
                html! { @for line in lines { p { (line) } } },
            )))
        }
        Err(error) => Err(error.into()),
    }
}

fn nothing_said() -> Error {
    Error::invalid("/conditions", "say at least one thing about the contacts")
}

/// Makes a segment.
pub(crate) async fn create(Posted { cx, form }: Posted) -> Answer {
    cx.tenant()?;
    cx.caller.need("contacts:write")?;
    let known = Known::read(&cx).await?;
    let made = match rows::tree(&form, &known.attributes).and_then(|tree| tree.ok_or_else(nothing_said)) {
        Ok(conditions) => {
            let new = NewSegment {
                name: form.text("name").to_owned(),
                description: form.filled("description").map(str::to_owned),
                conditions,
            };
            segments::create(cx.engine(), &cx.caller, &Repeat::NONE, new).await
        }
        Err(error) => Err(error),
    };
    match made {
        Ok(reply) => {
            let made: Made = read::json(&reply.body)?;
            Ok(cx.done(&format!("{PATH}/{}", made.id), "The segment was added."))
        }
        Err(error) if matches!(error.kind.status(), 409 | 422) => {
            Ok(cx.again(new_page(&cx, &known, &form, &Faults::of(&error))))
        }
        Err(error) => Err(error.into()),
    }
}

/// Shows a segment in the builder.
pub(crate) async fn show(cx: Cx, Path(id): Path<String>) -> Answer {
    cx.tenant()?;
    let segment = segments::get(cx.engine(), &cx.caller, super::id(&id)?).await?;
    let known = Known::read(&cx).await?;
    let form = rows::fill(&segment, &known.attributes);
    Ok(cx.page(edit_page(&cx, &segment.name, &segment, &known, &form, &Faults::default())))
}

fn edit_page<'a>(
    cx: &Cx,
    title: &'a str,
    segment: &SegmentView,
    known: &Known,
    form: &Form,
    faults: &Faults,
) -> shell::Page<'a> {
    let path = format!("{PATH}/{}", segment.id);
    let mut form = form.clone();
    if form.get("segment").is_none() {
        form.set("segment", segment.id.to_string());
    }
    let actions = html! {
        @if cx.may("contacts:write") {
            button."button danger" type="button" data-opens="delete" { (icon("trash")) "Delete" }
            (parts::dialog(&Dialog { id: "delete", title: "Delete this segment?", action: &format!("{path}/delete"), csrf: cx.csrf(),
                body: html! { p.muted { "Its contacts stay. Campaigns that name it can no longer start." } }, yes: "Delete segment", is_dangerous: true }))
        }
    };
    let body = sheet(cx, &path, known, &form, faults);
    shell::Page { above: ABOVE, actions: Some(actions), ..shell::Page::new(title, Section::Contacts, body) }
}

/// Changes a segment.
pub(crate) async fn update(Path(id): Path<String>, Posted { cx, form }: Posted) -> Answer {
    cx.tenant()?;
    let id: SegmentId = super::id(&id)?;
    let known = Known::read(&cx).await?;
    let changed = match rows::tree(&form, &known.attributes).and_then(|tree| tree.ok_or_else(nothing_said)) {
        Ok(conditions) => {
            let change = SegmentPatch {
                name: Patch::Set(form.text("name").to_owned()),
                description: Patch::Set(form.text("description").to_owned()),
                conditions: Patch::Set(conditions),
            };
            segments::patch(cx.engine(), &cx.caller, id, change).await
        }
        Err(error) => cx.caller.need("contacts:write").and(Err(error)),
    };
    match changed {
        Ok(_) => Ok(cx.done(&format!("{PATH}/{id}"), "Saved.")),
        Err(error) if matches!(error.kind.status(), 409 | 422) => {
            let segment = segments::get(cx.engine(), &cx.caller, id).await?;
            Ok(cx.again(edit_page(&cx, &segment.name, &segment, &known, &form, &Faults::of(&error))))
        }
        Err(error) => Err(error.into()),
    }
}

/// Deletes a segment.
pub(crate) async fn delete(Path(id): Path<String>, Posted { cx, .. }: Posted) -> Answer {
    segments::delete(cx.engine(), &cx.caller, super::id(&id)?).await?;
    Ok(cx.done(PATH, "The segment was deleted."))
}
