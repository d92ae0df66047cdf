//! Demo tenants: made with a name, entered by a link, gone after a week.

use axum::extract::Path;
use engine::{
    demo::{self, DemoTenantView, NewDemoTenant},
    once::{Repeat, Reply},
    page,
};
use maud::{Markup, html};
use model::TenantId;
use serde::Deserialize;

use crate::{
    cx::{Answer, Cx, Posted, Query},
    form::{self, Faults, Form},
    parts::{
        self, Tone, link_button,
        table::{self, Pages, Row, Table, cell},
    },
    read,
    shell::{self, Section},
};

const PATH: &str = "/console/demos";
const ABOVE: &[(&str, &str)] = &[(PATH, "Demos")];

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Wanted {
    cursor: Option<String>,
}

/// Lists the demo tenants, with the form that makes one.
pub(crate) async fn list(cx: Cx, Query(wanted): Query<Wanted>) -> Answer {
    let page = find(&cx, wanted.cursor.as_deref()).await?;
    Ok(cx.page(shown(&cx, &page, wanted.cursor.is_none(), &Form::default(), &Faults::default())))
}

async fn find(cx: &Cx, cursor: Option<&str>) -> Result<page::Page<DemoTenantView>, engine::Error> {
    demo::list(cx.engine().parts(), &cx.outside(), None, cursor).await
}

fn shown<'a>(
    cx: &Cx,
    page: &page::Page<DemoTenantView>,
    is_first: bool,
    form: &Form,
    faults: &Faults,
) -> shell::Page<'a> {
    let may = cx.may_outside("demo-tenants:write");
    let row = |demo: &DemoTenantView| Row {
        href: None,
        cells: vec![
            cell(
                html! { div.row { span.wide-text { (demo.name) } @if !demo.is_filled { (parts::badge(Tone::Info, "Being filled")) } } },
            ),
            cell(cx.here().day(demo.created_at)),
            cell(cx.here().day(demo.ends_at)),
            cell(buttons(cx, demo, may)),
        ],
    };
    let body = html! {
        @if may {
            section.card aria-label="Make a demo" {
                form method="post" action=(PATH) data-guard {
                    (form::token(cx.csrf()))
                    div.body { div.form {
                        (shell::form_faults(faults, &["name"]))
                        (parts::Field::text("name", "Whom is it for?").required().draw(form, faults))
                        p.muted { "A tenant full of contacts, messages and campaigns. Everything can be done in it and nothing leaves. It is deleted after a week." }
                    } }
                    footer { div.end { button."button primary" type="submit" { "Make a demo" } } }
                }
            }
        }
        section.card aria-label="Demo tenants" {
            @if page.data.is_empty() {
                (parts::empty("beaker", "No demos yet", "Make one to show somebody around.", None))
            } @else {
                (table::table(Table { caption: "Demo tenants, newest first", columns: &["Name", "Made", "Ends", ""], rows: page.data.iter().map(row).collect() }))
                (table::pager(&Pages { path: PATH, query: &[], is_first, next: page.next_cursor.as_deref(), shown: page.data.len() }))
            }
        }
    };
    shell::Page::new("Demos", Section::Demos, body)
}

fn buttons(cx: &Cx, demo: &DemoTenantView, may: bool) -> Markup {
    html! {
        div.row {
            form method="post" action="/console/enter" {
                (form::token(cx.csrf()))
                input type="hidden" name="tenant" value=(demo.id);
                button."button small" type="submit" { "Enter" }
            }
            @if may {
                (parts::act(&format!("{PATH}/{}/link", demo.id), cx.csrf(), "small", None, "New link"))
                (parts::act(&format!("{PATH}/{}/delete", demo.id), cx.csrf(), "small danger", None, "Delete"))
            }
        }
    }
}

/// Makes a demo tenant and shows its link.
pub(crate) async fn create(Posted { cx, form }: Posted) -> Answer {
    let new = NewDemoTenant { name: form.text("name").to_owned() };
    match demo::create(cx.engine(), &cx.outside(), &Repeat::NONE, new).await {
        Ok(reply) => made(&cx, &reply),
        Err(error) if matches!(error.kind.status(), 409 | 422) => {
            let page = find(&cx, None).await?;
            Ok(cx.again(shown(&cx, &page, true, &form, &Faults::of(&error))))
        }
        Err(error) => Err(error.into()),
    }
}

/// What making one answers.
#[derive(Debug, Deserialize)]
struct MadeDemo {
    name: String,
    link: Option<String>,
}

fn made(cx: &Cx, reply: &Reply) -> Answer {
    let made: MadeDemo = read::json(&reply.body)?;
    let body = html! {
        section.card {
            div.body {
                div.stack {
                    (parts::notice(Tone::Info, "Hand over this link", html! { p { "It opens “" (made.name) "”, signed in as its owner. It works once, for a day, and is shown this once." } }))
                    @if let Some(link) = &made.link { (parts::copy_line(link, "the demo's link")) }
                }
            }
            footer { div.end { (link_button(PATH, "primary", None, "I have copied it")) } }
        }
    };
    Ok(cx.page(shell::Page { above: ABOVE, is_narrow: true, ..shell::Page::new("A way in", Section::Demos, body) }))
}

/// Does what one of a demo's buttons says.
pub(crate) async fn act(Path((id, action)): Path<(String, String)>, Posted { cx, .. }: Posted) -> Answer {
    let id: TenantId = super::id(&id)?;
    let (parts, caller) = (cx.engine().parts(), cx.outside());
    match action.as_str() {
        "link" => made(&cx, &demo::link(parts, &caller, &Repeat::NONE, id).await?),
        "delete" => {
            demo::delete(parts, &caller, id).await?;
            Ok(cx.done(PATH, "The demo was deleted."))
        }
        _ => Err(super::no_page().into()),
    }
}
