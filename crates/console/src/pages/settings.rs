//! The tenant's own settings, and the tabs of everything below them.

use engine::{
    accounts, branding,
    consent::hours::clock,
    directory::TenantState,
    patch::Patch,
    tenants::{self, OwnTenantPatch, TenantPatch, TenantView},
};
use jiff::tz;
use maud::{Markup, html};

use super::{branding as branding_page, channels};
use crate::{
    cx::{Answer, Cx, Fault, Posted},
    form::{self, Faults, Form},
    format,
    parts::{self, Field, Tone},
    shell::{self, Section},
};

const PATH: &str = "/console/settings";
/// Where the rules of consent are.
const RULES: &str = "/console/contacts/rules";
const NAMES: [&str; 4] = ["name", "timezone", "currency", "default_country"];

/// The tabs of the settings this person may see.
pub(crate) fn tabs(cx: &Cx, here: &str) -> Markup {
    let all: [(&str, &str, &'static str); 9] = [
        (PATH, "General", "tenant:read"),
        (branding_page::PATH, "Branding", "templates:read"),
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
    let page = page(&cx, tenant, &stored(tenant), &Faults::default()).await?;
    Ok(cx.page(page))
}

/// The form as the tenant is.
pub(crate) fn stored(tenant: &TenantView) -> Form {
    Form::of([
        ("name", tenant.name.as_str()),
        ("timezone", &tenant.timezone),
        ("currency", &tenant.currency),
        ("default_country", tenant.default_country.as_deref().unwrap_or_default()),
    ])
}

/// Whether what is the operator's can be changed here, too.
fn is_operators(cx: &Cx) -> bool {
    cx.may_outside("tenants:write")
}

async fn page<'a>(cx: &Cx, tenant: &TenantView, form: &Form, faults: &Faults) -> Result<shell::Page<'a>, Fault> {
    let may = cx.may("tenant:write");
    let body = html! {
        section.card aria-label="General" {
            header { h2 { "General" } (state(tenant.state)) }
            form method="post" action=(PATH) data-guard {
                (form::token(cx.csrf()))
                fieldset disabled[!may] { div.body { div.form { (shell::form_faults(faults, &NAMES)) (fields(form, faults, is_operators(cx))) } } }
                footer {
                    @if may { div.end { button."button primary" type="submit" { "Save" } } } @else { span."muted small" { "Your administrators change these." } }
                }
            }
        }
        (defaults(cx).await?)
        (parts::card("For programs", None, html! {
            div.stack {
                div.field { span.label { "Tenant id" } (parts::copy_line(&tenant.id.to_string(), "the tenant id")) }
                div.field { span.label { "API address" } (parts::copy_line(&format!("{}/v1", cx.engine().config.public_url), "the API address")) p.help { "The reference is at " a href="/openapi.json" { "/openapi.json" } "." } }
            }
        }))
    };
    Ok(shell::Page {
        tabs: Some(tabs(cx, PATH)),
        is_narrow: true,
        ..shell::Page::new("Settings", Section::Settings, body)
    })
}

/// What is used where a message says nothing itself, and where each of it is changed.
async fn defaults(cx: &Cx) -> Result<Markup, Fault> {
    let mut rows = Vec::new();
    if cx.may("templates:read") {
        let branding = branding::get(cx.engine(), &cx.caller).await?.branding;
        let sender = branding.sender_name.or(branding.name);
        let language = branding.default_locale;
        rows.push((
            "Sender's name",
            branding_page::PATH,
            html! { span dir="auto" { (sender.as_deref().unwrap_or("The tenant's name")) } },
        ));
        rows.push((
            "Language",
            branding_page::PATH,
            html! { (language.as_deref().unwrap_or("That of each template")) },
        ));
    }
    if cx.may("consent:read") {
        let rules = cx.engine().consent_policy(&cx.caller).await?;
        let hours = rules
            .quiet_hours
            .map_or("None".to_owned(), |hours| format!("{} to {}", clock::show(hours.from), clock::show(hours.until)));
        let cap = rules.frequency_cap.map_or("None".to_owned(), |cap| {
            format!(
                "{} in {}",
                format::count(i64::from(cap.max), "message", "messages"),
                format::count(i64::from(cap.days), "day", "days")
            )
        });
        rows.push(("Quiet hours", RULES, html! { (hours) }));
        rows.push(("Most marketing", RULES, html! { (cap) }));
    }
    if cx.may("accounts:read") {
        let accounts = accounts::list(cx.engine().parts(), &cx.caller, Some(channels::ALL), None).await?.data;
        for channel in channels::of_people() {
            let default = accounts.iter().find(|account| account.default_for.contains(&channel));
            let name = default.map_or("No account", |account| account.name.as_str());
            rows.push((format::channel(channel), "/console/channels", html! { span dir="auto" { (name) } }));
        }
    }
    let body = html! {
        dl.facts {
            @for (name, path, value) in rows {
                dt { (name) }
                dd { span."row apart" { span.break { (value) } a.small href=(path) aria-label={ "Change: " (name) } { "Change" } } }
            }
        }
    };
    Ok(parts::card("Where a message says nothing", None, body))
}

/// A tenant's state as a badge.
pub(crate) fn state(state: TenantState) -> Markup {
    match state {
        TenantState::Active => parts::badge(Tone::Good, "Active"),
        TenantState::Suspended => parts::badge(Tone::Bad, "Suspended"),
    }
}

/// The fields of a tenant, new or old. What it pays in is the operator's to choose.
pub(crate) fn fields(form: &Form, faults: &Faults, is_operators: bool) -> Markup {
    html! {
        (Field::text("name", "Name").required().draw(form, faults))
        div.fields-2 {
            (Field::text("timezone", "Time zone").example("Europe/Berlin").help("For schedules, quiet hours and days of analytics.").proposing("zones").draw(form, faults))
            (Field::text("default_country", "Country").example("DE").help("Two letters. Numbers without a country code are read as numbers there.").draw(form, faults))
            @if is_operators {
                (Field::text("currency", "Currency").example("EUR").help("Three letters.").draw(form, faults))
            } @else {
                div.field { span.label { "Currency" } p { (form.text("currency")) } p.help { "The operator of this installation changes it." } }
            }
        }
        datalist id="zones" { @for zone in zones() { option value=(zone) {} } }
    }
}

/// Time zones by the names of their places, for proposals.
fn zones() -> Vec<String> {
    let is_place = |name: &String| {
        name.contains('/') && !["Etc/", "posix/", "right/", "SystemV/", "US/"].iter().any(|old| name.starts_with(old))
    };
    let mut names: Vec<String> = tz::db().available().map(|name| name.to_string()).filter(is_place).collect();
    names.sort_unstable();
    names
}

/// The changes a form asks for; an empty field brings back the default.
pub(crate) fn patch(form: &Form) -> TenantPatch {
    let OwnTenantPatch { name, timezone, default_country } = own_patch(form);
    let currency = form.filled("currency").map_or(Patch::Clear, |text| Patch::Set(text.to_owned()));
    TenantPatch { name, timezone, default_country, currency, ..TenantPatch::default() }
}

fn own_patch(form: &Form) -> OwnTenantPatch {
    let text = |name: &str| form.filled(name).map_or(Patch::Clear, |text| Patch::Set(text.to_owned()));
    OwnTenantPatch {
        name: Patch::Set(form.text("name").to_owned()),
        timezone: text("timezone"),
        default_country: text("default_country"),
    }
}

/// Changes the tenant: what is its own for its administrators, the rest for the operator's staff.
pub(crate) async fn save(Posted { cx, form }: Posted) -> Answer {
    let tenant = cx.tenant()?.clone();
    let changed = if is_operators(&cx) {
        tenants::patch(cx.engine().parts(), &cx.outside(), tenant.id, patch(&form)).await
    } else {
        tenants::patch_own(cx.engine().parts(), &cx.caller, own_patch(&form)).await
    };
    match changed {
        Ok(_) => Ok(cx.done(PATH, "Saved.")),
        Err(error) if error.kind.status() == 422 => {
            let shown = if is_operators(&cx) { form } else { form.with("currency", tenant.currency.clone()) };
            let page = page(&cx, &tenant, &shown, &Faults::of(&error)).await?;
            Ok(cx.again(page))
        }
        Err(error) => Err(error.into()),
    }
}
