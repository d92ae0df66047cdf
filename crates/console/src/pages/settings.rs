//! The tenant's own settings, and the tabs of everything below them.

use engine::patch::Patch;
use engine::{
    directory::TenantState,
    tenants::{self, TenantPatch, TenantView},
};
use maud::{Markup, html};

use crate::{
    cx::{Answer, Cx, Posted},
    form::{self, Faults, Form},
    parts::{self, Field, Tone},
    shell::{self, Section},
};

const PATH: &str = "/console/settings";
const NAMES: [&str; 4] = ["name", "timezone", "currency", "default_country"];

/// The tabs of the settings this person may see.
pub(crate) fn tabs(cx: &Cx, here: &str) -> Markup {
    let all: [(&str, &str, &'static str); 9] = [
        (PATH, "General", "tenant:read"),
        ("/console/settings/branding", "Branding", "templates:read"),
        ("/console/settings/content", "Content rules", "content-rules:read"),
        ("/console/settings/retention", "Retention", "retention:read"),
        ("/console/settings/users", "Users", "users:read"),
        ("/console/settings/keys", "API keys", "keys:read"),
        ("/console/settings/webhooks", "Webhooks", "webhooks:read"),
        ("/console/settings/audit", "Audit log", "audit:read"),
        ("/console/settings/callbacks", "Callback log", "callbacks:read"),
    ];
    let shown: Vec<(&str, &str)> =
        all.iter().filter(|(_, _, scope)| cx.may(scope)).map(|(path, name, _)| (*path, *name)).collect();
    parts::tabs("Settings", &shown, here)
}

/// Shows the tenant.
pub(crate) async fn show(cx: Cx) -> Answer {
    cx.caller.need("tenant:read")?;
    let tenant = cx.tenant()?;
    let form = Form::of([
        ("name", tenant.name.as_str()),
        ("timezone", &tenant.timezone),
        ("currency", &tenant.currency),
        ("default_country", tenant.default_country.as_deref().unwrap_or_default()),
    ]);
    Ok(cx.page(page(&cx, tenant, &form, &Faults::default())))
}

/// Whether this person may change the tenant: so far that is the operator's.
fn may_change(cx: &Cx) -> bool {
    cx.may_outside("tenants:write")
}

fn page<'a>(cx: &Cx, tenant: &TenantView, form: &Form, faults: &Faults) -> shell::Page<'a> {
    let may = may_change(cx);
    let body = html! {
        section.card aria-label="General" {
            header { h2 { "General" } (state(tenant.state)) }
            form method="post" action=(PATH) data-guard {
                (form::token(cx.csrf()))
                fieldset disabled[!may] { div.body { div.form { (shell::form_faults(faults, &NAMES)) (fields(form, faults)) } } }
                footer {
                    @if may { div.end { button."button primary" type="submit" { "Save" } } } @else { span."muted small" { "The operator of this installation changes these." } }
                }
            }
        }
        (parts::card("For programs", None, html! {
            div.stack {
                div.field { span.label { "Tenant id" } (parts::copy_line(&tenant.id.to_string(), "the tenant id")) }
                div.field { span.label { "API address" } (parts::copy_line(&format!("{}/v1", cx.engine().config.public_url), "the API address")) p.help { "The reference is at " a href="/openapi.json" { "/openapi.json" } "." } }
            }
        }))
    };
    shell::Page { tabs: Some(tabs(cx, PATH)), is_narrow: true, ..shell::Page::new("Settings", Section::Settings, body) }
}

/// A tenant's state as a badge.
pub(crate) fn state(state: TenantState) -> Markup {
    match state {
        TenantState::Active => parts::badge(Tone::Good, "Active"),
        TenantState::Suspended => parts::badge(Tone::Bad, "Suspended"),
    }
}

/// The fields of a tenant, new or old.
pub(crate) fn fields(form: &Form, faults: &Faults) -> Markup {
    html! {
        (Field::text("name", "Name").required().draw(form, faults))
        div.fields-2 {
            (Field::text("timezone", "Time zone").example("Europe/Berlin").help("For schedules and quiet hours.").draw(form, faults))
            (Field::text("currency", "Currency").example("EUR").help("Three letters.").draw(form, faults))
            (Field::text("default_country", "Country").example("DE").help("Two letters.").draw(form, faults))
        }
    }
}

/// The changes a form asks for; an empty field brings back the default.
pub(crate) fn patch(form: &Form) -> TenantPatch {
    let text = |name: &str| form.filled(name).map_or(Patch::Clear, |text| Patch::Set(text.to_owned()));
    TenantPatch {
        name: Patch::Set(form.text("name").to_owned()),
        timezone: text("timezone"),
        currency: text("currency"),
        default_country: text("default_country"),
        ..TenantPatch::default()
    }
}

/// Changes the tenant.
pub(crate) async fn save(Posted { cx, form }: Posted) -> Answer {
    let tenant = cx.tenant()?.clone();
    match tenants::patch(cx.engine().parts(), &cx.outside(), tenant.id, patch(&form)).await {
        Ok(_) => Ok(cx.done(PATH, "Saved.")),
        Err(error) if error.kind.status() == 422 => Ok(cx.again(page(&cx, &tenant, &form, &Faults::of(&error)))),
        Err(error) => Err(error.into()),
    }
}
