//! The people of a tenant, or of the operator's staff: invited, given a role and permissions beyond it, removed.

use axum::extract::Path;
use engine::{
    access::{
        permissions::{OperatorRole, Permission, Role},
        users::{self, MemberPatch, MemberState, MemberView, NewMember},
    },
    once::Repeat,
    page,
    patch::Patch,
};
use maud::{Markup, html};
use model::UserId;
use serde::Deserialize;

use super::settings;
use crate::{
    cx::{Answer, Cx, Posted, Query},
    form::{self, Faults, Form},
    format,
    parts::{
        self, Control, Dialog, Field, Tone, field, icon, link_button,
        table::{self, Pages, Row, Table, cell, labelled},
    },
    read,
    shell::{self, Section},
};

const PATH: &str = "/console/settings/users";
const ABOVE: &[(&str, &str)] = &[("/console/settings", "Settings"), (PATH, "Users")];

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Wanted {
    cursor: Option<String>,
}

/// Lists the people.
pub(crate) async fn list(cx: Cx, Query(wanted): Query<Wanted>) -> Answer {
    let page = users::list(cx.engine().parts(), &cx.caller, None, wanted.cursor.as_deref()).await?;
    Ok(cx.page(list_page(&cx, &page, wanted.cursor.is_none())))
}

fn list_page<'a>(cx: &Cx, page: &page::Page<MemberView>, is_first: bool) -> shell::Page<'a> {
    let may = cx.may("users:write");
    let row = |member: &MemberView| Row {
        href: may.then(|| format!("{PATH}/{}", member.id)),
        cells: vec![
            cell(
                html! { @if member.name.is_empty() { span.break { (member.email) } } @else { span.break { (member.name) } div.sub.break { (member.email) } } },
            ),
            cell(
                html! { (format::words(&member.role)) @if !member.permissions.is_empty() { div.sub { "and " (member.permissions.join(", ")) } } },
            ),
            cell(match member.state {
                MemberState::Active => parts::badge(Tone::Good, "Active"),
                MemberState::Invited => parts::badge(Tone::Info, "Invited"),
            }),
            labelled(
                html! { @if member.has_second_factor { (parts::badge(Tone::Good, "On")) } @else { span.muted { "Off" } } },
            ),
            labelled(
                html! { @match member.last_signed_in_at { Some(at) => (cx.here().at(at)), None => span.muted { "Never" } } },
            ),
        ],
    };
    let body = html! {
        section.card aria-label="Users" {
            @if page.data.is_empty() {
                (parts::empty("people", "Nobody yet", "Invite the people who work with this tenant. Each has a role, and permissions beyond it where needed.", may.then(|| link_button("/console/settings/users/new", "primary", Some("plus"), "Invite somebody"))))
            } @else {
                (table::table(Table { caption: "Users", columns: &["Who", "Role", "State", "Second factor", "Last signed in"], rows: page.data.iter().map(row).collect() }))
                (table::pager(&Pages { path: PATH, query: &[], is_first, next: page.next_cursor.as_deref(), shown: page.data.len() }))
            }
        }
    };
    let actions = may.then(|| link_button("/console/settings/users/new", "primary", Some("plus"), "Invite somebody"));
    shell::Page { actions, tabs: Some(settings::tabs(cx, PATH)), ..shell::Page::new("Users", Section::Settings, body) }
}

/// What each role may do, in a sentence.
const fn meaning(role: Role) -> &'static str {
    match role {
        Role::Owner => "Everything.",
        Role::Admin => "Everything but making and removing owners.",
        Role::Member => "Works with contacts, templates and conversations, and sends.",
        Role::Viewer => "Sees everything, changes nothing.",
    }
}

fn fields(cx: &Cx, form: &Form, faults: &Faults) -> Markup {
    let granted: Vec<&str> = form.all("permissions").collect();
    let roles: Vec<(&str, String)> = if cx.caller.tenant.is_some() {
        Role::ALL
            .iter()
            .map(|role| (role.as_str(), format!("{}: {}", format::words(role.as_str()), meaning(*role))))
            .collect()
    } else {
        OperatorRole::ALL.iter().map(|role| (role.as_str(), format::words(role.as_str()))).collect()
    };
    html! {
        (Field::text("role", "Role").with(Control::Choice(roles)).required().draw(form, faults))
        @if cx.caller.tenant.is_some() {
            details.more id="beyond" open[!granted.is_empty() || faults.at("permissions").is_some()] {
                summary { "Permissions beyond the role" }
                div."checks spaced" {
                    @if let Some(fault) = faults.at("permissions") { p.error { (icon("alert")) span { (fault) } } }
                    @for permission in Permission::all().filter(|one| one.can_be_granted()) {
                        @let word = permission.to_string();
                        (field::check("permissions", &word, granted.contains(&word.as_str()), &said(permission), ""))
                    }
                }
            }
        }
    }
}

/// A permission in words.
fn said(permission: Permission) -> String {
    match permission {
        Permission::Send(channel) => format!("Send {}", format::channel(channel)),
        Permission::Manage(channel) => format!("Set up {}", format::channel(channel)),
        other => format::words(&other.to_string()),
    }
}

/// Shows the form of an invitation.
pub(crate) async fn new(cx: Cx) -> Answer {
    cx.caller.need("users:write")?;
    Ok(cx.page(new_page(&cx, &Form::of([("role", "member")]), &Faults::default())))
}

fn new_page<'a>(cx: &Cx, form: &Form, faults: &Faults) -> shell::Page<'a> {
    let body = html! {
        section.card {
            form method="post" action=(PATH) data-guard {
                (form::token(cx.csrf()))
                div.body {
                    div.form {
                        (shell::form_faults(faults, &["email", "name", "role", "permissions"]))
                        (Field::text("email", "E-mail").with(Control::Email).required().draw(form, faults))
                        (Field::text("name", "Name").draw(form, faults))
                        (fields(cx, form, faults))
                    }
                }
                footer { div.end { (link_button(PATH, "", None, "Cancel")) button."button primary" type="submit" { "Invite" } } }
            }
        }
    };
    shell::Page { above: ABOVE, is_narrow: true, ..shell::Page::new("Invite somebody", Section::Settings, body) }
}

/// What an invitation answers.
#[derive(Debug, Deserialize)]
struct Invited {
    email: String,
    link: Option<String>,
    is_sent: bool,
}

/// Invites somebody.
pub(crate) async fn create(Posted { cx, form }: Posted) -> Answer {
    let permissions: Vec<String> = form.all("permissions").map(str::to_owned).collect();
    let new = NewMember {
        email: form.text("email").to_owned(),
        name: form.filled("name").map(str::to_owned),
        role: form.text("role").to_owned(),
        permissions: (!permissions.is_empty()).then_some(permissions),
    };
    match users::invite(cx.engine(), &cx.caller, &Repeat::NONE, new).await {
        Ok(reply) => Ok(invited(&cx, &read::json(&reply.body)?)),
        Err(error) if matches!(error.kind.status(), 409 | 422) => {
            Ok(cx.again(new_page(&cx, &form, &Faults::of(&error))))
        }
        Err(error) => Err(error.into()),
    }
}

fn invited(cx: &Cx, made: &Invited) -> axum::response::Response {
    let Some(link) = &made.link else {
        let said = if made.is_sent {
            format!("An invitation is on its way to {}.", made.email)
        } else {
            format!("{} was added.", made.email)
        };
        return cx.done(PATH, &said);
    };
    let body = html! {
        section.card {
            div.body {
                div.stack {
                    (parts::notice(Tone::Info, "Hand over this link", html! { p { "No e-mail account is set up to send it. It works once, for seven days, and is shown this once." } }))
                    (parts::copy_line(link, "the invitation's link"))
                }
            }
            footer { div.end { (link_button(PATH, "primary", None, "I have copied it")) } }
        }
    };
    cx.page(shell::Page { above: ABOVE, is_narrow: true, ..shell::Page::new("Invitation", Section::Settings, body) })
}

/// Shows a person.
pub(crate) async fn show(cx: Cx, Path(id): Path<String>) -> Answer {
    let member = users::get(cx.engine().parts(), &cx.caller, super::id(&id)?).await?;
    let mut form = Form::of([("role", member.role.as_str())]);
    member.permissions.iter().for_each(|word| form.set("permissions", word.as_str()));
    let title = if member.name.is_empty() { member.email.clone() } else { member.name.clone() };
    Ok(cx.page(page(&cx, &title, &member, &form, &Faults::default())))
}

fn page<'a>(cx: &Cx, title: &'a str, member: &MemberView, form: &Form, faults: &Faults) -> shell::Page<'a> {
    let path = format!("{PATH}/{}", member.id);
    let may = cx.may("users:write");
    let actions = html! {
        @if may {
            @if member.state == MemberState::Invited { (parts::act(&format!("{path}/resend"), cx.csrf(), "", Some("mail"), "Invite again")) }
            button."button danger" type="button" data-opens="remove" { (icon("trash")) "Remove" }
            (parts::dialog(&Dialog { id: "remove", title: &format!("Remove {title}?"), action: &format!("{path}/remove"), csrf: cx.csrf(),
                body: html! { p.muted { "They cannot enter any more, from their next click on. What they did stays in the audit log." } }, yes: "Remove", is_dangerous: true }))
        }
    };
    let body = html! {
        section.card aria-label="Rights" {
            header { h2 { "What they may do" } }
            form method="post" action=(path) data-guard {
                (form::token(cx.csrf()))
                fieldset disabled[!may] { div.body { div.form { (shell::form_faults(faults, &["role", "permissions"])) (fields(cx, form, faults)) } } }
                @if may { footer { div.end { button."button primary" type="submit" { "Save" } } } }
            }
        }
        (parts::card("Facts", None, parts::facts([
            ("E-mail", html! { span.break { (member.email) } }),
            ("Second factor", html! { @if member.has_second_factor { "On" } @else { "Off" } }),
            ("Invited", cx.here().at(member.created_at)),
            ("Last signed in", html! { @match member.last_signed_in_at { Some(at) => (cx.here().at(at)), None => "Never" } }),
        ])))
    };
    shell::Page {
        above: ABOVE,
        actions: Some(actions),
        is_narrow: true,
        ..shell::Page::new(title, Section::Settings, body)
    }
}

/// Changes what a person may do.
pub(crate) async fn update(Path(id): Path<String>, Posted { cx, form }: Posted) -> Answer {
    let id: UserId = super::id(&id)?;
    let change = MemberPatch {
        role: Patch::Set(form.text("role").to_owned()),
        permissions: if cx.caller.tenant.is_some() {
            Patch::Set(form.all("permissions").map(str::to_owned).collect())
        } else {
            Patch::Keep
        },
    };
    match users::patch(cx.engine().parts(), &cx.caller, id, change).await {
        Ok(_) => Ok(cx.done(&format!("{PATH}/{id}"), "Saved. It holds from their next click on.")),
        Err(error) if matches!(error.kind.status(), 409 | 422) => {
            let member = users::get(cx.engine().parts(), &cx.caller, id).await?;
            let title = member.email.clone();
            Ok(cx.again(page(&cx, &title, &member, &form, &Faults::of(&error))))
        }
        Err(error) => Err(error.into()),
    }
}

/// Does what one of a person's buttons says.
pub(crate) async fn act(Path((id, action)): Path<(String, String)>, Posted { cx, .. }: Posted) -> Answer {
    let id: UserId = super::id(&id)?;
    match action.as_str() {
        "resend" => match users::resend(cx.engine(), &cx.caller, &Repeat::NONE, id).await {
            Ok(reply) => Ok(invited(&cx, &read::json(&reply.body)?)),
            Err(error) if error.kind.status() == 409 => Ok(cx.refused(&format!("{PATH}/{id}"), &error.detail)),
            Err(error) => Err(error.into()),
        },
        "remove" => match users::remove(cx.engine().parts(), &cx.caller, id).await {
            Ok(()) => Ok(cx.done(PATH, "They were removed.")),
            Err(error) if error.kind.status() == 409 => Ok(cx.refused(&format!("{PATH}/{id}"), &error.detail)),
            Err(error) => Err(error.into()),
        },
        _ => Err(super::no_page().into()),
    }
}
