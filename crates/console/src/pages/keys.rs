//! API keys: made with scopes and limits, shown once, revoked.

use axum::extract::Path;
use engine::{
    keys::{self, ApiKeyView, NewApiKey, SCOPES},
    once::Repeat,
    page,
};
use maud::{Markup, html};
use model::KeyId;
use serde::Deserialize;

use super::settings;
use crate::{
    cx::{Answer, Cx, Posted, Query},
    form::{self, Faults, Form},
    parts::{
        self, Control, Dialog, Field, Tone, field, icon, link_button,
        table::{self, Pages, Row, Table, cell, labelled},
    },
    read::{self, Made},
    shell::{self, Section},
};

const PATH: &str = "/console/settings/keys";
const ABOVE: &[(&str, &str)] = &[("/console/settings", "Settings"), (PATH, "API keys")];

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Wanted {
    cursor: Option<String>,
}

/// Lists the keys.
pub(crate) async fn list(cx: Cx, Query(wanted): Query<Wanted>) -> Answer {
    cx.tenant()?;
    let page = keys::list(cx.engine().parts(), &cx.caller, None, wanted.cursor.as_deref()).await?;
    Ok(cx.page(list_page(&cx, &page, wanted.cursor.is_none())))
}

fn list_page<'a>(cx: &Cx, page: &page::Page<ApiKeyView>, is_first: bool) -> shell::Page<'a> {
    let may = cx.may("keys:write");
    let new = || link_button("/console/settings/keys/new", "primary", Some("plus"), "Make a key");
    let row = |key: &ApiKeyView| Row {
        href: None,
        cells: vec![
            cell(html! { span.strong.break { (key.name) } div.sub { code { (key.hint) } } }),
            labelled(scopes(&key.scopes)),
            labelled(
                html! { @if key.ip_allow_list.is_empty() { span.muted { "Everywhere" } } @else { span.break { (key.ip_allow_list.join(", ")) } } },
            ),
            labelled(
                html! { @match key.last_used_at { Some(at) => (cx.here().at(at)), None => span.muted { "Never" } } },
            ),
            labelled(
                html! { @match key.expires_at { Some(at) if at <= cx.here().now => (parts::badge(Tone::Warn, "Expired")), Some(at) => (cx.here().day(at)), None => span.muted { "Never" } } },
            ),
            cell(html! {
                @if may {
                    @let id = format!("revoke-{}", key.id);
                    button."button small danger" type="button" data-opens=(id) aria-label={ "Revoke " (key.name) } { "Revoke" }
                    (parts::dialog(&Dialog { id: &id, title: &format!("Revoke “{}”?", key.name), action: &format!("{PATH}/{}/revoke", key.id), csrf: cx.csrf(),
                        body: html! { p.muted { "Programs that use it are refused from now on. This cannot be undone." } }, yes: "Revoke", is_dangerous: true }))
                }
            }),
        ],
    };
    let body = html! {
        section.card aria-label="API keys" {
            @if page.data.is_empty() {
                (parts::empty("key", "No API keys", "A key lets one of your programs send messages and read what became of them.", may.then(new)))
            } @else {
                (table::table(Table { caption: "API keys", columns: &["Name", "May", "From", "Last used", "Ends", ""], rows: page.data.iter().map(row).collect() }))
                (table::pager(&Pages { path: PATH, query: &[], is_first, next: page.next_cursor.as_deref(), shown: page.data.len() }))
            }
        }
    };
    let actions = (may && !page.data.is_empty()).then(new);
    shell::Page {
        actions,
        tabs: Some(settings::tabs(cx, PATH)),
        ..shell::Page::new("API keys", Section::Settings, body)
    }
}

fn scopes(words: &[String]) -> Markup {
    html! {
        @match words {
            [all] if all == "*" => span { "Everything" },
            words => {
                span title=(words.join(", ")) { (words.iter().take(2).cloned().collect::<Vec<_>>().join(", ")) @if words.len() > 2 { " and " (words.len() - 2) " more" } }
            }
        }
    }
}

/// Shows the form of a new key.
pub(crate) async fn new(cx: Cx) -> Answer {
    cx.tenant()?;
    cx.caller.need("keys:write")?;
    let form = Form::of([("scopes", "messages:read"), ("scopes", "messages:write")]);
    Ok(cx.page(new_page(&cx, &form, &Faults::default())))
}

fn new_page<'a>(cx: &Cx, form: &Form, faults: &Faults) -> shell::Page<'a> {
    let on: Vec<&str> = form.all("scopes").collect();
    let mine = cx.caller.key_scopes();
    let offered = SCOPES.iter().filter(|(scope, _)| !scope.starts_with("tenants:") && mine.allow(scope));
    let body = html! {
        section.card {
            form method="post" action=(PATH) data-guard {
                (form::token(cx.csrf()))
                div.body {
                    div.form {
                        (shell::form_faults(faults, &["name", "scopes", "ip_allow_list", "expires_at"]))
                        (Field::text("name", "Name").required().example("Ticket shop").help("Which program uses it.").draw(form, faults))
                        fieldset.field {
                            legend { "What it may do" }
                            @if let Some(fault) = faults.at("scopes") { p.error { (icon("alert")) span { (fault) } } }
                            div.checks { @for (scope, meaning) in offered { (field::check("scopes", scope, on.contains(scope), scope, meaning)) } }
                        }
                        (Field::text("ip_allow_list", "Only from").with(Control::Area { rows: 3 }).example("192.0.2.0/24").help("IP addresses or ranges, one a line. Empty allows everywhere.").draw(form, faults))
                        (Field::text("expires_at", "Ends").with(Control::When).help("Empty: never.").draw(form, faults))
                    }
                }
                footer { div.end { (link_button(PATH, "", None, "Cancel")) button."button primary" type="submit" { "Make the key" } } }
            }
        }
    };
    shell::Page { above: ABOVE, is_narrow: true, ..shell::Page::new("Make an API key", Section::Settings, body) }
}

/// Makes a key and shows it, this once.
pub(crate) async fn create(Posted { cx, form }: Posted) -> Answer {
    cx.tenant()?;
    let mut faults = Faults::default();
    let expires_at = form.filled("expires_at").and_then(|text| {
        let at = cx.here().read_local(text);
        if at.is_none() {
            faults.add("expires_at", "choose a day and a time");
        }
        at
    });
    if !faults.is_empty() {
        return Ok(cx.again(new_page(&cx, &form, &faults)));
    }
    let lines = form.text("ip_allow_list").split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let new = NewApiKey {
        name: form.text("name").to_owned(),
        scopes: Some(form.all("scopes").map(str::to_owned).collect()),
        ip_allow_list: (!lines.is_empty()).then_some(lines),
        expires_at,
    };
    match keys::create(cx.engine().parts(), &cx.caller, &Repeat::NONE, new).await {
        Ok(reply) => {
            let made: Made = read::json(&reply.body)?;
            let key = made.key.unwrap_or_default();
            let body = html! {
                section.card {
                    div.body {
                        div.stack {
                            (parts::notice(Tone::Good, "The key was made", html! { p { "Copy it now: it is not stored and cannot be shown again." } }))
                            (parts::copy_line(&key, "the key"))
                            div.field { span.label { "Try it" } (parts::code(&format!("curl {}/v1/messages -H 'Authorization: Bearer {key}'", cx.engine().config.public_url))) }
                        }
                    }
                    footer { div.end { (link_button(PATH, "primary", None, "I have copied it")) } }
                }
            };
            Ok(cx.page(shell::Page {
                above: ABOVE,
                is_narrow: true,
                ..shell::Page::new("Your new API key", Section::Settings, body)
            }))
        }
        Err(error) if matches!(error.kind.status(), 409 | 422) => {
            Ok(cx.again(new_page(&cx, &form, &Faults::of(&error))))
        }
        Err(error) => Err(error.into()),
    }
}

/// Revokes a key.
pub(crate) async fn revoke(Path(id): Path<String>, Posted { cx, .. }: Posted) -> Answer {
    let id: KeyId = super::id(&id)?;
    keys::revoke(cx.engine().parts(), &cx.caller, id).await?;
    Ok(cx.done(PATH, "The key was revoked."))
}
