//! The operator's tenants: made, found, suspended, entered.

use axum::extract::Path;
use engine::{
    directory::TenantState,
    keys::Caller,
    once::Repeat,
    page,
    patch::Patch,
    plans::subscription::SubscriptionView,
    tenants::{self, NewTenant, TenantPatch, TenantView},
};
use maud::{Markup, html};
use model::TenantId;
use serde::Deserialize;

use super::{settings, subscription};
use crate::{
    cx::{Answer, Cx, Fault, Posted, Query},
    form::{self, Faults, Form},
    format,
    parts::{
        self, Dialog, Tone, icon, link_button,
        table::{self, Pages, Row, Table, cell, text},
    },
    read::{self, Made},
    shell::{self, Section},
};

const PATH: &str = "/console/tenants";
const ABOVE: &[(&str, &str)] = &[(PATH, "Tenants")];
const NAMES: [&str; 4] = ["name", "timezone", "currency", "default_country"];

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Wanted {
    cursor: Option<String>,
}

/// Lists the tenants: the operator's staff all, others those they belong to.
pub(crate) async fn list(cx: Cx, Query(wanted): Query<Wanted>) -> Answer {
    if !cx.person.is_staff() {
        return Ok(cx.page(own(&cx)));
    }
    let page = tenants::list(cx.engine().parts(), &cx.outside(), None, wanted.cursor.as_deref()).await?;
    Ok(cx.page(all(&cx, &page, wanted.cursor.is_none())))
}

/// The tenants somebody belongs to, to choose from.
fn own<'a>(cx: &Cx) -> shell::Page<'a> {
    let body = html! {
        @if cx.person.session.memberships.is_empty() {
            section.card { (parts::empty("building", "You belong to no tenant", "Ask an administrator of your organisation to invite you.", None)) }
        } @else {
            div.grid { @for (id, name) in cx.person.tenants() { (parts::card(name, None, enter(cx, id, "primary wide"))) } }
        }
    };
    shell::Page::new("Choose a tenant", Section::Elsewhere, body)
}

fn enter(cx: &Cx, id: TenantId, class: &str) -> Markup {
    html! {
        form method="post" action="/console/enter" {
            (form::token(cx.csrf()))
            input type="hidden" name="tenant" value=(id);
            button class={ "button " (class) } type="submit" { "Enter" }
        }
    }
}

fn all<'a>(cx: &Cx, page: &page::Page<TenantView>, is_first: bool) -> shell::Page<'a> {
    let may = cx.may_outside("tenants:write");
    let new = || link_button("/console/tenants/new", "primary", Some("plus"), "Add tenant");
    let row = |tenant: &TenantView| Row {
        href: Some(format!("{PATH}/{}", tenant.id)),
        cells: vec![
            cell(html! { span.wide-text { (tenant.name) } }),
            cell(
                html! { span.row { (settings::state(tenant.state)) @if tenant.is_demo { (parts::badge(Tone::Special, "Demo")) } } },
            ),
            text(&tenant.timezone),
            text(&tenant.currency),
            cell(cx.here().day(tenant.created_at)),
            cell(enter(cx, tenant.id, "small")),
        ],
    };
    let body = html! {
        section.card aria-label="Tenants" {
            @if page.data.is_empty() {
                (parts::empty("building", "No tenants yet", "A tenant is one of your customers: its own accounts, contacts, keys and bill.", may.then(new)))
            } @else {
                (table::table(Table { caption: "Tenants, newest first", columns: &["Name", "State", "Time zone", "Currency", "Made", ""], rows: page.data.iter().map(row).collect() }))
                (table::pager(&Pages { path: PATH, query: &[], is_first, next: page.next_cursor.as_deref(), shown: page.data.len() }))
            }
        }
    };
    shell::Page {
        actions: (may && !page.data.is_empty()).then(new),
        ..shell::Page::new("Tenants", Section::Tenants, body)
    }
}

/// Shows the form of a new tenant.
pub(crate) async fn new(cx: Cx) -> Answer {
    cx.outside().need_operator("tenants:write")?;
    Ok(cx.page(new_page(&cx, &Form::of([("timezone", "UTC"), ("currency", "USD")]), &Faults::default())))
}

fn new_page<'a>(cx: &Cx, form: &Form, faults: &Faults) -> shell::Page<'a> {
    let body = html! {
        section.card {
            form method="post" action=(PATH) data-guard {
                (form::token(cx.csrf()))
                div.body { div.form { (shell::form_faults(faults, &NAMES)) (settings::fields(form, faults, true)) } }
                footer { div.end { (link_button(PATH, "", None, "Cancel")) button."button primary" type="submit" { "Add tenant" } } }
            }
        }
    };
    shell::Page { above: ABOVE, is_narrow: true, ..shell::Page::new("Add tenant", Section::Tenants, body) }
}

/// Makes a tenant.
pub(crate) async fn create(Posted { cx, form }: Posted) -> Answer {
    let text = |name: &str| form.filled(name).map(str::to_owned);
    let new = NewTenant {
        name: form.text("name").to_owned(),
        timezone: text("timezone"),
        currency: text("currency"),
        default_country: text("default_country"),
        per_second: None,
    };
    match tenants::create(cx.engine().parts(), &cx.outside(), &Repeat::NONE, new).await {
        Ok(reply) => {
            let made: Made = read::json(&reply.body)?;
            Ok(cx.done(&format!("{PATH}/{}", made.id), "The tenant was added."))
        }
        Err(error) if error.kind.status() == 422 => Ok(cx.again(new_page(&cx, &form, &Faults::of(&error)))),
        Err(error) => Err(error.into()),
    }
}

/// Shows a tenant.
pub(crate) async fn show(cx: Cx, Path(id): Path<String>) -> Answer {
    let tenant = tenants::get(cx.engine().parts(), &cx.outside(), super::id(&id)?).await?;
    let form = settings::stored(&tenant);
    let (title, plan) = (tenant.name.clone(), plan(&cx, &tenant).await?);
    Ok(cx.page(page(&cx, &title, &tenant, plan.as_ref(), &form, &Faults::default())))
}

/// The plan of a tenant, for those of the staff who may see plans.
async fn plan(cx: &Cx, tenant: &TenantView) -> Result<Option<SubscriptionView>, Fault> {
    if !cx.may_outside("plans:read") {
        return Ok(None);
    }
    subscription::find(cx, &Caller { tenant: Some(tenant.id), ..cx.outside() }).await
}

/// What a tenant pays for and what it used of that. It is changed inside of the tenant, by those of the staff who may change plans; a demo tenant has what it has.
fn plan_card(cx: &Cx, tenant: &TenantView, plan: Option<&SubscriptionView>) -> Markup {
    let words = match plan {
        _ if tenant.is_demo || !cx.may_outside("plans:write") => "See it inside",
        Some(_) => "Change it inside",
        None => "Give it a plan",
    };
    let change = html! {
        form method="post" action="/console/enter" {
            (form::token(cx.csrf()))
            input type="hidden" name="tenant" value=(tenant.id);
            input type="hidden" name="next" value=(subscription::PATH);
            button."button small" type="submit" { (words) }
        }
    };
    let body = html! {
        @match plan {
            None => p.muted { "No plan: nothing is limited, and no invoice is written." },
            Some(plan) => div.stack {
                div.row {
                    @match &plan.plan {
                        Some(of) => { span.strong dir="auto" { (of.name) } span.muted { (format::money(&of.monthly_fee)) " a month" } }
                        None => span.strong { "By the price list alone" },
                    }
                    (subscription::state(plan.state))
                }
                @if plan.plan.is_some() { (subscription::quotas(cx, plan)) }
            }
        }
    };
    parts::card("Plan", Some(change), body)
}

fn page<'a>(
    cx: &Cx,
    title: &'a str,
    tenant: &TenantView,
    plan: Option<&SubscriptionView>,
    form: &Form,
    faults: &Faults,
) -> shell::Page<'a> {
    let may = cx.may_outside("tenants:write");
    let path = format!("{PATH}/{}", tenant.id);
    let actions = html! {
        (enter(cx, tenant.id, "primary"))
        @if may {
            @match tenant.state {
                TenantState::Active => {
                    button."button danger" type="button" data-opens="suspend" { "Suspend" }
                    (parts::dialog(&Dialog { id: "suspend", title: "Suspend this tenant?", action: &format!("{path}/suspend"), csrf: cx.csrf(),
                        body: html! { p.muted { "It can look at everything, but nothing is accepted and nothing leaves until you let it go on. What waits, waits." } }, yes: "Suspend", is_dangerous: true }))
                }
                TenantState::Suspended => (parts::act(&format!("{path}/resume"), cx.csrf(), "", None, "Let it go on")),
            }
        }
    };
    let body = html! {
        section.card aria-label="Settings" {
            header { h2 { "Settings" } div.row { (settings::state(tenant.state)) @if tenant.is_demo { (parts::badge(Tone::Special, "Demo")) } } }
            form method="post" action=(path) data-guard {
                (form::token(cx.csrf()))
                fieldset disabled[!may] { div.body { div.form { (shell::form_faults(faults, &NAMES)) (settings::fields(form, faults, true)) } } }
                @if may { footer { div.end { button."button primary" type="submit" { "Save" } } } }
            }
        }
        @if cx.may_outside("plans:read") { (plan_card(cx, tenant, plan)) }
        (parts::card("Facts", None, html! {
            (parts::facts([("Made", cx.here().at(tenant.created_at)), ("Changed", cx.here().at(tenant.updated_at)),
                ("Request rate", html! { @match tenant.per_second { Some(rate) => { (rate) " a second" } None => "the installation's" } })]))
            div.ids { div.field { span.label { "Tenant id" } (parts::copy_line(&tenant.id.to_string(), "the tenant id")) } }
        }))
        @if may && !tenant.is_demo {
            section.card aria-label="Delete" {
                div.body { div.row.apart { div.grow { p.strong { "Delete this tenant" } p.muted { "Its keys stop working and nothing leaves any more. This cannot be undone." } }
                    button."button danger" type="button" data-opens="delete" { (icon("trash")) "Delete" } } }
                (parts::dialog(&Dialog { id: "delete", title: &format!("Delete “{}”?", tenant.name), action: &format!("{path}/delete"), csrf: cx.csrf(),
                    body: html! { p.muted { "Write its name to confirm." } (parts::Field::text("confirm", "Name").required().draw(&Form::default(), &Faults::default())) }, yes: "Delete tenant", is_dangerous: true }))
            }
        }
    };
    shell::Page {
        above: ABOVE,
        actions: Some(actions),
        is_narrow: true,
        ..shell::Page::new(title, Section::Tenants, body)
    }
}

/// Changes a tenant.
pub(crate) async fn update(Path(id): Path<String>, Posted { cx, form }: Posted) -> Answer {
    let id: TenantId = super::id(&id)?;
    match tenants::patch(cx.engine().parts(), &cx.outside(), id, settings::patch(&form)).await {
        Ok(_) => Ok(cx.done(&format!("{PATH}/{id}"), "Saved.")),
        Err(error) if error.kind.status() == 422 => {
            let tenant = tenants::get(cx.engine().parts(), &cx.outside(), id).await?;
            let (title, plan) = (tenant.name.clone(), plan(&cx, &tenant).await?);
            Ok(cx.again(page(&cx, &title, &tenant, plan.as_ref(), &form, &Faults::of(&error))))
        }
        Err(error) => Err(error.into()),
    }
}

/// Does what one of a tenant's buttons says.
pub(crate) async fn act(Path((id, action)): Path<(String, String)>, Posted { cx, form }: Posted) -> Answer {
    let id: TenantId = super::id(&id)?;
    let (parts, caller) = (cx.engine().parts(), cx.outside());
    let path = format!("{PATH}/{id}");
    let to = |state| TenantPatch { state: Patch::Set(state), ..TenantPatch::default() };
    match action.as_str() {
        "suspend" => {
            tenants::patch(parts, &caller, id, to(TenantState::Suspended)).await?;
            Ok(cx.done(&path, "The tenant is suspended."))
        }
        "resume" => {
            tenants::patch(parts, &caller, id, to(TenantState::Active)).await?;
            Ok(cx.done(&path, "The tenant goes on."))
        }
        "delete" => {
            let tenant = tenants::get(parts, &caller, id).await?;
            if form.text("confirm") != tenant.name.trim() {
                return Ok(cx.refused(&path, "The name did not match, so nothing was deleted."));
            }
            match tenants::delete(parts, &caller, id).await {
                Ok(()) => Ok(cx.done(PATH, "The tenant was deleted.")),
                Err(error) if error.kind.status() == 409 => Ok(cx.refused(&path, &error.detail)),
                Err(error) => Err(error.into()),
            }
        }
        _ => Err(super::no_page().into()),
    }
}
