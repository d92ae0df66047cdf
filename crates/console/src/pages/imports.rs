//! Contacts from a file, in three steps: upload, say what the columns are and look at what would happen, follow it.

use axum::{
    extract::{FromRequestParts as _, Path, Request, State},
    response::Response,
};
use engine::{
    Error, ErrorKind, attachments,
    contacts::{
        import::{self, ImportQuery, ImportView, OnDuplicate},
        lists,
    },
    once::Repeat,
};
use http::{HeaderName, HeaderValue, header};
use maud::{Markup, html};
use model::{AttachmentId, ImportId, ListId};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::contacts::tabs;
use crate::{
    App,
    cx::{Answer, Cx, Posted, check_token, decoded, html as answer, read_body},
    form::{self, Faults, Form},
    format,
    parts::{
        self, Control, Field, Tone, icon, link_button,
        table::{self, Row, Table, cell, text},
    },
    read::{self, Made, Upload},
    shell::{self, Section},
};

const PATH: &str = "/console/contacts/import";
const ABOVE: &[(&str, &str)] = &[("/console/contacts", "Contacts"), (PATH, "Import")];
/// The contact's own fields a column can be.
const FIELDS: [(&str, &str); 10] = [
    ("email", "E-mail"),
    ("phone", "Phone"),
    ("name", "Name"),
    ("first_name", "First name"),
    ("last_name", "Last name"),
    ("external_id", "Your own id"),
    ("whatsapp", "WhatsApp number"),
    ("telegram_chat_id", "Telegram chat"),
    ("language", "Language"),
    ("timezone", "Time zone"),
];

/// Shows the first step and what was imported before.
pub(crate) async fn show(cx: Cx) -> Answer {
    cx.tenant()?;
    cx.caller.need("contacts:read")?;
    let imports = import::list(cx.engine(), &cx.caller, Some(20), None).await?.data;
    let may = cx.may("contacts:write") && cx.may("attachments:write");
    let row = |import: &ImportView| Row {
        href: Some(format!("{PATH}/{}", import.id)),
        cells: vec![
            cell(cx.here().at(import.created_at)),
            cell(state(import)),
            table::number(import.rows as i64),
            table::number(import.created as i64),
            table::number(import.updated as i64),
            table::number(import.failed as i64),
        ],
    };
    let body = html! {
        @if may {
            (parts::card("From a file", None, html! {
                file-list.field action={ (PATH) "/file" } token=(cx.csrf()) {
                    label for="f-file" { "A table (CSV) or one JSON object a line" }
                    input #f-file type="file" accept=".csv,.txt,.ndjson,.jsonl,text/csv";
                    ul.stack.tight {}
                    p.help { "Up to " (format::bytes(attachments::UPLOAD_MAX as u64)) ". Any encoding and delimiter. You see what would happen before anything is written; larger files go through the API." }
                }
            }))
        }
        @if !imports.is_empty() {
            (parts::card_flush("Imports", None, table::table(Table { caption: "Imports, newest first", columns: &["Begun", "State", "Rows", "Added", "Changed", "Wrong"], rows: imports.iter().map(row).collect() })))
        }
    };
    Ok(cx.page(shell::Page { tabs: Some(tabs(PATH)), ..shell::Page::new("Import contacts", Section::Contacts, body) }))
}

fn state(import: &ImportView) -> Markup {
    match import.state.as_str() {
        "done" if import.failed > 0 => parts::badge(Tone::Warn, "Done, some rows wrong"),
        "done" => parts::badge(Tone::Good, "Done"),
        "failed" => parts::badge(Tone::Bad, "Failed"),
        "canceled" => parts::badge(Tone::Plain, "Canceled"),
        _ => html! { span."badge info moving" { (import.percent) " %" } },
    }
}

/// Takes the file; tells the page where to go on.
pub(crate) async fn file(State(app): State<App>, request: Request) -> Answer {
    let (mut parts, body) = request.into_parts();
    let cx = Cx::from_request_parts(&mut parts, &app).await?;
    check_token(&cx, &parts.headers, &Form::default())?;
    cx.caller.need("contacts:write")?;
    let value = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (name, kind) = (decoded(value("x-filename")), value("content-type").to_owned());
    let kept = match read_body(body, attachments::UPLOAD_MAX).await {
        Ok(bytes) => attachments::upload(cx.engine(), &cx.caller, &Repeat::NONE, &name, &kind, bytes).await,
        Err(error) => Err(error),
    };
    match kept {
        Ok(reply) => {
            let upload: Upload = read::json(&reply.body)?;
            let mut response = answer(html! { li { "Reading …" } });
            let to = HeaderValue::from_str(&format!("{PATH}/new/{}", upload.id)).map_err(Error::internal)?;
            response.headers_mut().insert(HeaderName::from_static("x-go"), to);
            Ok(response)
        }
        Err(error) if error.kind == ErrorKind::Internal => Err(error.into()),
        Err(error) => Ok(answer(html! { li.row { (icon("alert")) span.break { (name) ": " (error.detail) } } })),
    }
}

/// What a dry run says.
#[derive(Debug, Deserialize)]
struct Preview {
    format: String,
    encoding: String,
    delimiter: Option<String>,
    columns: Vec<Column>,
    rows: u64,
    failed: u64,
    sample: Vec<Map<String, Value>>,
    problems: Vec<Problem>,
}

#[derive(Debug, Deserialize)]
struct Column {
    column: String,
    field: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Problem {
    row: u64,
    column: String,
    reason: String,
}

/// Shows what the columns are and what would happen.
pub(crate) async fn plan(cx: Cx, Path(file): Path<String>) -> Answer {
    cx.tenant()?;
    preview(&cx, super::id(&file)?, &Form::default(), None).await
}

/// Shows it again with what was changed, or begins.
pub(crate) async fn go_on(Path(file): Path<String>, Posted { cx, form }: Posted) -> Answer {
    let id: AttachmentId = super::id(&file)?;
    if !form.is_on("begin") {
        return preview(&cx, id, &form, None).await;
    }
    match import::from_attachment(cx.engine(), &cx.caller, query(&form, false), id, None, PATH).await {
        Ok(reply) => {
            let made: Made = read::json(&reply.body)?;
            Ok(cx.done(&format!("{PATH}/{}", made.id), "The import has begun."))
        }
        Err(error) if matches!(error.kind.status(), 400 | 409 | 422) => preview(&cx, id, &form, Some(&error)).await,
        Err(error) => Err(error.into()),
    }
}

/// What a form says about how to read the file.
fn query(form: &Form, is_dry: bool) -> ImportQuery {
    let columns = form.all("column");
    let mapping: Map<String, Value> = columns
        .zip(form.all("field"))
        .map(|(column, field)| {
            (column.to_owned(), if field.is_empty() { Value::Null } else { Value::String(field.to_owned()) })
        })
        .collect();
    ImportQuery {
        mapping: (!mapping.is_empty()).then(|| Value::Object(mapping).to_string()),
        dry_run: Some(is_dry),
        list_id: form.filled("list_id").and_then(|id| id.parse::<ListId>().ok()),
        on_duplicate: (form.text("on_duplicate") == "skip").then_some(OnDuplicate::Skip),
        ..ImportQuery::default()
    }
}

/// Shows what an import would do, and why it could not begin.
async fn preview(cx: &Cx, file: AttachmentId, form: &Form, fault: Option<&engine::Error>) -> Answer {
    let looked = import::from_attachment(cx.engine(), &cx.caller, query(form, true), file, None, PATH).await;
    let preview: Preview = match looked {
        Ok(reply) => read::json(&reply.body)?,
        Err(error) if matches!(error.kind.status(), 400 | 422) => return Ok(cx.refused(PATH, &error.detail)),
        Err(error) => return Err(error.into()),
    };
    let lists = lists::list(cx.engine(), &cx.caller, Some(200), None).await?.data;
    let ids: Vec<(String, String)> = lists.into_iter().map(|list| (list.id.to_string(), list.name)).collect();
    let mut choices: Vec<(&str, String)> = vec![("", "No list".to_owned())];
    choices.extend(ids.iter().map(|(id, name)| (id.as_str(), name.clone())));
    let same = vec![("update", "Change them".to_owned()), ("skip", "Leave them as they are".to_owned())];
    let body = html! {
        form.stack.loose method="post" action={ (PATH) "/new/" (file) } {
            (form::token(cx.csrf()))
            @if let Some(error) = fault { (shell::form_faults::<&str>(&Faults::of(error), &[])) }
            (parts::card("What the columns are", Some(html! { span."muted small" { (preview.format.to_uppercase()) ", " (preview.encoding) @if let Some(between) = &preview.delimiter { ", cells between " code { (between) } } } }), html! {
                div.fields-2 { @for (at, column) in preview.columns.iter().enumerate() { (column_field(at, column)) } }
            }))
            (parts::card("Options", None, html! { div.fields-2 {
                (Field::text("list_id", "Put them on").with(Control::Choice(choices)).draw(form, &Faults::default()))
                (Field::text("on_duplicate", "Contacts that are there already").with(Control::Choice(same)).required().draw(form, &Faults::default()))
            } }))
            (what_would_happen(&preview))
            div.row {
                button."button primary" type="submit" name="begin" value="true" { "Import" }
                button.button type="submit" { "Look again" }
                (link_button(PATH, "quiet", None, "Cancel"))
            }
        }
    };
    let page = shell::Page {
        above: ABOVE,
        lead: Some(html! { "Nothing is written until you import." }),
        ..shell::Page::new("Check the file", Section::Contacts, body)
    };
    Ok(if fault.is_some() { cx.again(page) } else { cx.page(page) })
}

fn column_field(at: usize, column: &Column) -> Markup {
    let id = format!("column-{at}");
    let own = format!("attributes.{}", slug(&column.column));
    let now = column.field.as_deref().unwrap_or_default();
    let own = if now.starts_with("attributes.") { now } else { own.as_str() };
    html! {
        div.field {
            label for=(id) { (column.column) }
            input type="hidden" name="column" value=(column.column);
            select id=(id) name="field" {
                option value="" selected[now.is_empty()] { "Leave out" }
                @for (word, name) in FIELDS { option value=(word) selected[word == now] { (name) } }
                option value=(own) selected[own == now] { "Your own field “" (own.trim_start_matches("attributes.")) "”" }
            }
        }
    }
}

/// A name a field of the tenant's own can have.
fn slug(name: &str) -> String {
    let plain: String =
        name.trim().to_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    let plain = plain.trim_matches('_').to_owned();
    if plain.starts_with(|c: char| c.is_ascii_alphabetic()) { plain } else { format!("field_{plain}") }
}

fn what_would_happen(preview: &Preview) -> Markup {
    let shown: Vec<&str> = FIELDS
        .iter()
        .map(|(word, _)| *word)
        .filter(|word| preview.sample.iter().any(|contact| contact.get(*word).is_some_and(|value| !value.is_null())))
        .take(6)
        .collect();
    let names: Vec<&str> =
        shown.iter().filter_map(|word| FIELDS.iter().find(|(known, _)| known == word)).map(|(_, name)| *name).collect();
    let value = |contact: &Map<String, Value>, word: &str| match contact.get(word) {
        None | Some(Value::Null) => "–".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    html! {
        @if preview.failed > 0 {
            (parts::notice(Tone::Warn, &format!("{} of the first {} rows are wrong and would be left out", format::number(preview.failed as i64), format::number(preview.rows as i64)), html! {
                ul { @for problem in preview.problems.iter().take(8) { li { "Row " (problem.row) @if !problem.column.is_empty() { ", " (problem.column) } ": " (problem.reason) } } }
            }))
        } @else {
            (parts::notice(Tone::Good, &format!("The first {} are in order", format::count(preview.rows as i64, "row", "rows")), html! { p { "The whole file is worked on in the background." } }))
        }
        @if !shown.is_empty() {
            (parts::card_flush("The first contacts as they would be", None, table::table(Table {
                caption: "The first contacts as they would be", columns: &names,
                rows: preview.sample.iter().map(|contact| Row { href: None, cells: shown.iter().map(|word| text(&value(contact, word))).collect() }).collect(),
            })))
        }
    }
}

/// Follows an import.
pub(crate) async fn follow(cx: Cx, Path(id): Path<String>) -> Answer {
    cx.tenant()?;
    let import = import::get(cx.engine(), &cx.caller, super::id::<ImportId>(&id)?).await?;
    let path = format!("{PATH}/{}", import.id);
    let is_open = import.finished_at.is_none();
    let actions = html! { @if is_open && cx.may("contacts:write") { (parts::act(&format!("{path}/cancel"), cx.csrf(), "danger", None, "Cancel")) } };
    let trigger = if is_open { "news from:body, every 1s" } else { "news from:body" };
    let body = html! {
        div.stack #import hx-get=(path) hx-trigger=(trigger) hx-select="#import" hx-swap="outerHTML" {
            @if let Some(problem) = &import.problem { (parts::notice(Tone::Bad, "It failed", html! { p { (problem) } })) }
            (parts::card("Progress", Some(state(&import)), html! { div.stack {
                (parts::chart::shares(&format!("{} percent done", import.percent), &[('1', import.percent as i64), ('n', 100 - import.percent as i64)]))
                section.tiles aria-label="Rows" {
                    (parts::tile("Rows", &format::number(import.rows as i64), Some(html! { (format::bytes(import.size)) })))
                    (parts::tile("Added", &format::number(import.created as i64), None))
                    (parts::tile("Changed", &format::number(import.updated as i64), None))
                    (parts::tile("Left alone", &format::number((import.skipped + import.duplicates) as i64), None))
                    (parts::tile("Wrong", &format::number(import.failed as i64), None))
                }
                div.row {
                    @if import.failed > 0 { (link_button(&format!("{path}/errors"), "", Some("file"), "Rows that are wrong")) }
                    @if !is_open { (link_button("/console/contacts", "primary", Some("people"), "See contacts")) }
                }
            } }))
        }
    };
    Ok(cx.page(shell::Page {
        above: ABOVE,
        actions: Some(actions),
        is_live: true,
        ..shell::Page::new("Import", Section::Contacts, body)
    }))
}

/// Hands out the rows that are wrong.
pub(crate) async fn errors(cx: Cx, Path(id): Path<String>) -> Answer {
    let csv = import::errors(cx.engine(), &cx.caller, super::id::<ImportId>(&id)?).await?;
    let mut response = Response::new(csv.into());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/csv; charset=utf-8"));
    response
        .headers_mut()
        .insert(header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment; filename=\"import-errors.csv\""));
    Ok(response)
}

/// Stops an import.
pub(crate) async fn cancel(Path(id): Path<String>, Posted { cx, .. }: Posted) -> Answer {
    let path = format!("{PATH}/{id}");
    match import::cancel(cx.engine(), &cx.caller, &Repeat::NONE, super::id::<ImportId>(&id)?).await {
        Ok(_) => Ok(cx.done(&path, "The import was canceled. What it wrote stays.")),
        Err(error) if error.kind.status() == 409 => Ok(cx.refused(&path, &error.detail)),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_becomes_a_name_a_field_can_have() {
        let check = |name: &str, expected: &str| assert_eq!(slug(name), expected);
        check("Tarif (neu)", "tarif__neu");
        check("2024", "field_2024");
        check(" Größe ", "gr__e");
    }
}
