//! How long the tenant keeps what it does not need for ever.

use engine::retention::{self, RetentionSettings, RetentionView};
use maud::{Markup, html};
use serde_json::{Map, Value, json};

use super::settings;
use crate::{
    cx::{Answer, Cx, Posted},
    form::{self, Faults, Form},
    format,
    parts::{
        self, Control, Field,
        table::{self, Row, Table, cell, figure},
    },
    shell::{self, Section},
};

const PATH: &str = "/console/settings/retention";

/// One kind of thing.
struct Kind {
    field: &'static str,
    label: &'static str,
    help: &'static str,
    of: fn(&RetentionSettings) -> Option<u32>,
}

const KINDS: [Kind; 8] = [
    Kind {
        field: "message_content_days",
        label: "What messages said",
        help: "At least 1 day. A dead letter of that age can no longer be retried.",
        of: |s| s.message_content_days,
    },
    Kind {
        field: "message_addresses_days",
        label: "To whom messages went",
        help: "At least 90 days. The country stays.",
        of: |s| s.message_addresses_days,
    },
    Kind {
        field: "exchanges_days",
        label: "Requests and answers of providers",
        help: "At least 7 days. What happened and when stays.",
        of: |s| s.exchanges_days,
    },
    Kind { field: "inbound_days", label: "What people wrote", help: "At least 1 day.", of: |s| s.inbound_days },
    Kind {
        field: "callbacks_days",
        label: "Log of providers' callbacks",
        help: "1 to 30 days; 30 when empty.",
        of: |s| s.callbacks_days,
    },
    Kind { field: "events_days", label: "Events", help: "1 to 7 days; 7 when empty.", of: |s| s.events_days },
    Kind { field: "imports_days", label: "Imports with their errors", help: "At least 1 day.", of: |s| s.imports_days },
    Kind {
        field: "inactive_contacts_days",
        label: "Contacts nobody wrote to or heard from",
        help: "At least 365 days. They are erased as if they had asked for it.",
        of: |s| s.inactive_contacts_days,
    },
];

/// Shows how long things are kept.
pub(crate) async fn show(cx: Cx) -> Answer {
    cx.tenant()?;
    let view = retention::get(cx.engine(), &cx.caller).await?;
    let set = KINDS.iter().filter_map(|kind| Some((kind.field, (kind.of)(&view.settings)?.to_string())));
    let form = Form::of(set);
    Ok(cx.page(page(&cx, &view, &form, &Faults::default())))
}

fn page<'a>(cx: &Cx, view: &RetentionView, form: &Form, faults: &Faults) -> shell::Page<'a> {
    let may = cx.may("retention:write");
    let names: Vec<&str> = KINDS.iter().map(|kind| kind.field).collect();
    let body = html! {
        section.card aria-label="Days to keep" {
            form method="post" action=(PATH) data-guard {
                (form::token(cx.csrf()))
                fieldset disabled[!may] { div.body { div.form {
                    (shell::form_faults(faults, &names))
                    div.fields-2 { @for kind in &KINDS { (Field::text(kind.field, kind.label).plain().with(Control::Number).example("For ever").help(kind.help).draw(form, faults)) } }
                } } }
                @if may { footer { span."muted small" { "In days. What is older goes from now on, and does not come back." } div.end { button."button primary" type="submit" { "Save" } } } }
            }
        }
        @if !view.done.is_empty() { (parts::card_flush("Taken away so far", view.next_at.map(|at| html! { span."muted small" { "next look " (cx.here().distance(at)) } }), done(cx, view))) }
    };
    shell::Page {
        tabs: Some(settings::tabs(cx, PATH)),
        lead: Some(html! { "How long things are kept. Usage, analytics and charges say the same before and after." }),
        is_narrow: true,
        ..shell::Page::new("Retention", Section::Settings, body)
    }
}

fn done(cx: &Cx, view: &RetentionView) -> Markup {
    let rows = view.done.iter().map(|done| Row {
        href: None,
        cells: vec![
            cell(html! { (format::words(&done.kind)) }),
            figure(&format::number(i64::try_from(done.rows).unwrap_or(i64::MAX))),
            cell(cx.here().at(done.worked_at)),
        ],
    });
    table::table(Table {
        caption: "What was taken away",
        columns: &["What", "Rows", "Last worked on"],
        rows: rows.collect(),
    })
}

/// Changes how long things are kept.
pub(crate) async fn save(Posted { cx, form }: Posted) -> Answer {
    cx.tenant()?;
    cx.caller.need("retention:write")?;
    let (mut faults, mut change) = (Faults::default(), Map::new());
    for kind in &KINDS {
        let days = match form.filled(kind.field).map(str::parse::<u32>) {
            None => Value::Null,
            Some(Ok(days)) => json!(days),
            Some(Err(_)) => {
                faults.add(kind.field, "write days as a whole number, or leave it empty");
                continue;
            }
        };
        change.insert(kind.field.to_owned(), days);
    }
    if faults.is_empty() {
        match retention::patch(cx.engine(), &cx.caller, Value::Object(change).to_string().as_bytes()).await {
            Ok(_) => return Ok(cx.done(PATH, "Saved.")),
            Err(error) if matches!(error.kind.status(), 409 | 422) => faults = Faults::of(&error),
            Err(error) => return Err(error.into()),
        }
    }
    let view = retention::get(cx.engine(), &cx.caller).await?;
    Ok(cx.again(page(&cx, &view, &form, &faults)))
}
