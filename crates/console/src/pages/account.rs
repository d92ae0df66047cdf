//! One account: its form, drawn from the connector's own declaration, its test, where its provider reports to, what it is doing, and its end.

pub(crate) mod provider;
mod watch;

use std::str::FromStr as _;

use axum::extract::Path;
use connectors::{Connector, Spec, registry};
use engine::{
    Error,
    accounts::{self, AccountHealth, AccountPatch, AccountStats, AccountView, NewAccount},
    analytics::{AnalyticsQuery, AnalyticsView, Interval},
    once::Repeat,
    patch::Patch,
    registrations::RegistrationView,
    routing::figures::CircuitState,
};
use http::HeaderMap;
use maud::{Markup, html};
use model::{AccountId, Channel, FieldKind};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{analytics::Periods, home::account_state, registrations};
use crate::{
    cx::{Answer, Cx, Fault, Posted, Query, html as answer},
    form::{self, Faults, Form},
    format,
    parts::{self, Control, Dialog, Field, Tone, chart, field, icon, link_button},
    read::{self, Made, Test},
    shell::{self, Section},
};

const ABOVE: &[(&str, &str)] = &[("/console/channels", "Channels")];

fn connector(id: &str) -> Result<&'static dyn Connector, Error> {
    registry::listed().find(|connector| connector.spec().id == id).ok_or_else(super::no_page)
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Wanted {
    channel: Option<Channel>,
}

/// Shows the form of a new account.
pub(crate) async fn new(cx: Cx, Path(id): Path<String>, Query(wanted): Query<Wanted>) -> Answer {
    cx.tenant()?;
    cx.caller.need("accounts:write")?;
    let spec = connector(&id)?.spec();
    let taken = defaults(&cx).await?;
    let mut form = Form::of([("name", spec.name)]);
    fill_declared(&mut form, spec, None);
    for channel in spec
        .channels
        .iter()
        .filter(|channel| wanted.channel.is_none_or(|only| only == **channel) || spec.channels.len() == 1)
        .filter(|channel| cx.may_manage(&[**channel]))
    {
        form.set("channels", channel.as_str());
        if !taken.contains(channel) {
            form.set("default_for", channel.as_str());
        }
    }
    form.set("enabled", "true");
    Ok(cx.page(new_page(&cx, spec, &form, &Faults::default())))
}

/// The channels that have a default account.
async fn defaults(cx: &Cx) -> Result<Vec<Channel>, Error> {
    let accounts = accounts::list(cx.engine().parts(), &cx.caller, Some(super::channels::ALL), None).await?;
    Ok(accounts.data.into_iter().flat_map(|account| account.default_for).collect())
}

fn new_page<'a>(cx: &Cx, spec: &'static Spec, form: &Form, faults: &Faults) -> shell::Page<'a> {
    let body = html! {
        section.card {
            form method="post" action={ "/console/channels/new/" (spec.id) } data-guard {
                (form::token(cx.csrf()))
                div.body { div.form { (shell::form_faults(faults, &names(spec))) (fields(spec, None, form, faults)) } }
                footer {
                    a."button quiet" href=(spec.docs_url) rel="noreferrer" target="_blank" { (icon("external")) (spec.name) " documentation" }
                    div.end { (link_button("/console/channels", "", None, "Cancel")) button."button primary" type="submit" { "Save account" } }
                }
            }
        }
    };
    shell::Page {
        above: ABOVE,
        lead: Some(
            html! { "Settings are sealed before they are stored, and opened only to send. You can test the connection next." },
        ),
        is_narrow: true,
        ..shell::Page::new(spec.name, Section::Channels, body)
    }
}

/// Makes an account.
pub(crate) async fn create(Path(id): Path<String>, Posted { cx, form }: Posted) -> Answer {
    let spec = connector(&id)?.spec();
    let new = NewAccount {
        name: form.text("name").to_owned(),
        connector: spec.id.to_owned(),
        settings: settings(spec, &form, true),
        channels: Some(chosen(&form, "channels")),
        enabled: Some(form.is_on("enabled")),
        default_for: Some(chosen(&form, "default_for")),
        from: form.filled("from").map(str::to_owned),
        per_second: number(&form, "per_second"),
        concurrency: number(&form, "concurrency"),
    };
    let made = match number_faults(&form) {
        Some(error) => Err(error),
        None => accounts::create(cx.engine().parts(), &cx.caller, &Repeat::NONE, new).await,
    };
    match made {
        Ok(reply) => {
            let made: Made = read::json(&reply.body)?;
            Ok(cx.done(&format!("/console/channels/{}", made.id), "The account was saved. Test its connection now."))
        }
        Err(error) if matches!(error.kind.status(), 409 | 422) => {
            Ok(cx.again(new_page(&cx, spec, &form, &Faults::of(&error))))
        }
        Err(error) => Err(error.into()),
    }
}

/// The fields of the form, for errors that belong to none.
fn names(spec: &Spec) -> Vec<String> {
    let own = ["name", "from", "channels", "default_for", "per_second", "concurrency"].map(str::to_owned);
    own.into_iter().chain(spec.fields.iter().map(field::setting_name)).collect()
}

/// What the form shows of stored settings: everything but secrets, which only leave a hint.
fn fill_declared(form: &mut Form, spec: &Spec, shown: Option<&Map<String, Value>>) {
    for declared in spec.fields.iter().filter(|declared| declared.kind != FieldKind::Secret) {
        let value = match shown.and_then(|shown| shown.get(declared.name)) {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Null) | None => declared.default.unwrap_or_default().to_owned(),
            Some(other) => other.to_string(),
        };
        form.set(field::setting_name(declared), value);
    }
}

fn fields(spec: &'static Spec, shown: Option<&Map<String, Value>>, form: &Form, faults: &Faults) -> Markup {
    let from = Field::text("from", "Default sender")
        .example(spec.from_example)
        .help("Who messages come from when they do not say.");
    let from = if spec.needs_from { from.required() } else { from };
    let boxes = |name: &'static str, label: &str, help: &str| {
        let on: Vec<&str> = form.all(name).collect();
        html! {
            fieldset.field {
                legend { (label) }
                div."checks inline" { @for channel in spec.channels { (field::check(name, channel.as_str(), on.contains(&channel.as_str()), format::channel(*channel), "")) } }
                @if let Some(fault) = faults.at(name) { p.error { (icon("alert")) span { (fault) } } }
                p.help { (help) }
            }
        }
    };
    html! {
        (Field::text("name", "Name").required().help("How you tell this account from others.").draw(form, faults))
        @if !spec.fields.is_empty() {
            @for declared in spec.fields { (field::declared(declared, shown.and_then(|shown| shown.get(declared.name)), form, faults)) }
        }
        @if !spec.from_example.is_empty() { (from.draw(form, faults)) }
        @if spec.channels.len() > 1 {
            (boxes("channels", "Channels", "What this account may carry."))
            (boxes("default_for", "Default for", "Messages that name no account leave through the channel's default. Another account loses it."))
        } @else {
            @for channel in spec.channels {
                input type="hidden" name="channels" value=(channel);
                div.field {
                    (field::check("default_for", channel.as_str(), form.all("default_for").any(|on| on == channel.as_str()), &format!("Default for {}", format::channel(*channel)), "Messages that name no account leave through it."))
                    @if let Some(fault) = faults.at("default_for") { p.error { (icon("alert")) span { (fault) } } }
                }
            }
        }
        (field::check("enabled", "true", form.is_on("enabled"), "Enabled", "Messages may leave through it. A disabled account keeps its settings, and what waits for it waits on."))
        details.more id="pace" open[faults.at("per_second").is_some() || faults.at("concurrency").is_some()] {
            summary { "Pace" }
            div."fields-2 spaced" {
                (Field::text("per_second", "Messages a second").with(Control::Number).help(&pace_help(spec)).draw(form, faults))
                (Field::text("concurrency", "Requests at once").with(Control::Number).help(&format!("The provider's own limit is {}.", spec.limits.concurrency)).draw(form, faults))
            }
        }
    }
}

fn pace_help(spec: &Spec) -> String {
    match spec.limits.per_second {
        0 => "The provider declares no limit.".to_owned(),
        most => format!("The provider's own limit is {most}. Leave empty to use it."),
    }
}

fn chosen(form: &Form, name: &'static str) -> Vec<Channel> {
    form.all(name).filter_map(|word| Channel::from_str(word).ok()).collect()
}

/// The settings a form says: what is left empty is left out of a new account and removed from an old one, and a secret left empty is kept.
fn settings(spec: &Spec, form: &Form, is_new: bool) -> Map<String, Value> {
    let mut settings = Map::new();
    for declared in spec.fields {
        let text = form.get(&field::setting_name(declared)).unwrap_or_default().trim();
        let is_secret = declared.kind == FieldKind::Secret;
        match (text.is_empty(), is_new || is_secret) {
            (false, _) => settings.insert(declared.name.to_owned(), Value::String(text.to_owned())),
            (true, true) => None,
            (true, false) => settings.insert(declared.name.to_owned(), Value::Null),
        };
    }
    settings
}

fn number(form: &Form, name: &str) -> Option<u32> {
    form.filled(name).and_then(|text| text.parse().ok())
}

/// What is wrong with numbers before the engine can look at them.
fn number_faults(form: &Form) -> Option<Error> {
    let bad = ["per_second", "concurrency"]
        .into_iter()
        .filter(|name| form.filled(name).is_some() && number(form, name).is_none());
    let bad: Vec<_> = bad
        .map(|name| engine::FieldError::new(format!("/{name}"), "write a whole number, or leave it empty"))
        .collect();
    (!bad.is_empty()).then(|| Error::invalid_fields(bad))
}

/// What one account's page shows beside its form.
struct View {
    account: AccountView,
    stats: AccountStats,
    /// By day; none for somebody who may not see figures.
    figures: Option<(Periods, AnalyticsView)>,
    health: AccountHealth,
    /// Of its business with American carriers, where there is one.
    registration: Option<RegistrationView>,
    tested: Option<Result<Test, String>>,
    refused: Option<Error>,
}

/// Days of the chart of an account.
const DAYS: u16 = 14;

/// Shows an account.
pub(crate) async fn show(cx: Cx, Path(id): Path<String>) -> Answer {
    cx.tenant()?;
    let view = View::read(&cx, super::id(&id)?).await?;
    let form = stored(&view.account);
    let title = view.account.name.clone();
    Ok(cx.page(page(&cx, &title, &view, &form, &Faults::default())))
}

impl View {
    async fn read(cx: &Cx, id: AccountId) -> Result<Self, Fault> {
        let account = accounts::get(cx.engine().parts(), &cx.caller, id).await?;
        let stats = accounts::stats(cx.engine().parts(), &cx.caller, id).await?;
        let health = accounts::health_of(cx.engine().parts(), &cx.caller, id).await?;
        let figures = if cx.may("usage:read") {
            let days = Periods::until_now(&cx.tenant()?.timezone, cx.here().now, Interval::Day, DAYS);
            let query = AnalyticsQuery {
                since: Some(days.since()),
                interval: Some(Interval::Day),
                account_id: Some(id),
                ..AnalyticsQuery::default()
            };
            Some((days, cx.engine().analytics_view(&cx.caller, &query).await?))
        } else {
            None
        };
        let registration = registrations::by_account(cx).await?.remove(&id);
        Ok(Self { account, stats, figures, health, registration, tested: None, refused: None })
    }
}

/// The form as the account is stored.
fn stored(account: &AccountView) -> Form {
    let mut form = Form::of([("name", account.name.as_str()), ("from", account.from.as_deref().unwrap_or_default())]);
    if let Some(connector) = registry::find(&account.connector) {
        fill_declared(&mut form, connector.spec(), Some(&account.settings));
    }
    account.channels.iter().for_each(|channel| form.set("channels", channel.as_str()));
    account.default_for.iter().for_each(|channel| form.set("default_for", channel.as_str()));
    if account.enabled {
        form.set("enabled", "true");
    }
    for (name, value) in [("per_second", account.per_second), ("concurrency", account.concurrency)] {
        form.set(name, value.map(|value| value.to_string()).unwrap_or_default());
    }
    form
}

fn page<'a>(cx: &Cx, title: &'a str, view: &View, form: &Form, faults: &Faults) -> shell::Page<'a> {
    let account = &view.account;
    let spec = registry::find(&account.connector).map(|connector| connector.spec());
    let path = format!("/console/channels/{}", account.id);
    let may_change = cx.may_manage(&account.channels);
    let actions = html! {
        @if spec.is_some() { (provider::link(account.id)) }
        @if may_change {
            (parts::act(&format!("{path}/{}", if account.enabled { "disable" } else { "enable" }), cx.csrf(), "", None, if account.enabled { "Disable" } else { "Enable" }))
            button."button danger" type="button" data-opens="delete" { (icon("trash")) "Delete" }
            (delete_dialog(cx, view, &path))
        }
    };
    let body = html! {
        @if let Some(error) = &view.refused { (still_used(cx, error, &path)) }
        @if let Some(pause) = &account.pause {
            (parts::notice(Tone::Bad, "Sending through this account is paused", html! {
                p { (pause.detail) }
                p.small { (format::words(&pause.kind)) " · " code { (pause.code) } @if let Some(since) = pause.since { " · since " (cx.here().at(since)) } @if let Some(until) = pause.until { " · tried again " (cx.here().distance(until)) } }
                p.small { "A test that passes, or new settings, end the pause." }
            }))
        }
        @if let Some((days, figures)) = &view.figures { (watch::days_card(days, figures)) }
        div.columns {
            @match spec {
                Some(spec) => section.card aria-label="Settings" {
                    header { h2 { "Settings" } (account_state(account)) }
                    form method="post" action=(path) data-guard {
                        (form::token(cx.csrf()))
                        fieldset disabled[!may_change] {
                            div.body { div.form { (shell::form_faults(faults, &names(spec))) (fields(spec, Some(&account.settings), form, faults)) } }
                        }
                        @if may_change { footer { span."muted small" { "Changed " (cx.here().at(account.updated_at)) } div.end { button."button primary" type="submit" { "Save" } } } }
                    }
                },
                None => (parts::notice(Tone::Bad, "This provider is not part of this version", html! { p { "The account can only be deleted." } })),
            }
            div.stack {
                (watch::test_card(cx, view, &path))
                @if let Some(spec) = spec { (watch::callback_card(account, spec)) }
                @if let Some(one) = &view.registration { (watch::registration_card(one)) }
                (health_card(cx, &view.health))
                (watch::stats_card(&view.stats, account))
            }
        }
    };
    shell::Page {
        above: ABOVE,
        actions: Some(actions),
        is_live: false,
        ..shell::Page::new(title, Section::Channels, body)
    }
}

/// What its provider did with attempts in the last day.
fn health_card(cx: &Cx, health: &AccountHealth) -> Markup {
    let figures = &health.last_24h;
    let (tone, word) = match health.circuit.state {
        CircuitState::Closed => (Tone::Good, "Closed"),
        CircuitState::Throttled => (Tone::Warn, "Throttled"),
        CircuitState::Open => (Tone::Bad, "Open"),
        CircuitState::HalfOpen => (Tone::Warn, "Being tried out"),
    };
    let share = |share: Option<f64>| share.map_or_else(|| "–".to_owned(), |share| format!("{:.1} %", share * 100.0));
    let millis = |ms: Option<i64>| ms.map_or_else(|| "–".to_owned(), |ms| format!("{} ms", format::number(ms)));
    let labels: Vec<String> = health.hours.iter().map(|hour| format!("{:02}:00", cx.here().hour(hour.at))).collect();
    let of = |value: &dyn Fn(&engine::accounts::AttemptFigures) -> i64| {
        health.hours.iter().map(|hour| value(&hour.figures)).collect::<Vec<i64>>()
    };
    let series = [
        chart::Series { name: "in order", colour: '1', values: of(&|f| f.accepted + f.refused) },
        chart::Series { name: "throttled", colour: 'n', values: of(&|f| f.throttled) },
        chart::Series { name: "failed", colour: 'b', values: of(&|f| f.unavailable + f.account + f.unknown) },
    ];
    parts::card(
        "Health, last 24 hours",
        None,
        html! {
            div.stack {
                @if figures.attempts > 0 { (chart::bars("Attempts by hour", &labels, &series, 160)) }
                (parts::facts([
                    ("Circuit", html! { (parts::badge(tone, word)) @if let Some(since) = health.circuit.since { " since " (cx.here().at(since)) } @if let Some(until) = health.circuit.until { ", tried again " (cx.here().distance(until)) } }),
                    ("Attempts", html! { span.num { (format::number(figures.attempts)) } }),
                    ("In order", html! { span.num { (share(figures.success_rate)) } }),
                    ("Throttled", html! { span.num { (share(figures.throttled_share)) } }),
                    ("Arrived", html! { span.num { (share(health.delivery_rate)) } }),
                    ("Answers", html! { span.num { "half within " (millis(figures.p50_ms)) ", 95 % within " (millis(figures.p95_ms)) } }),
                ]))
                @if let Some(error) = &health.last_error {
                    p.small { "Last error " (cx.here().at(error.at)) ": " (format::words(&error.kind)) " · " code { (error.code) } }
                    p."small muted break" { (error.detail) }
                }
            }
        },
    )
}

fn delete_dialog(cx: &Cx, view: &View, path: &str) -> Markup {
    let account = &view.account;
    parts::dialog(&Dialog {
        id: "delete",
        title: "Delete this account?",
        action: &format!("{path}/delete"),
        csrf: cx.csrf(),
        body: html! {
            p.muted { "Its stored secrets are removed. Messages that were sent keep their timelines." }
            ul.stack.tight {
                @for channel in &account.default_for { li { "It is the default for " strong { (format::channel(*channel)) } ": messages that name no account are refused until another is the default." } }
                @if view.stats.queued > 0 { li { (format::count(view.stats.queued, "message waits", "messages wait")) " for it." } }
                @if account.callback_url.is_some() { li { "Reports that still come from the provider are not taken any more." } }
            }
        },
        yes: "Delete account",
        is_dangerous: true,
    })
}

fn still_used(cx: &Cx, error: &Error, path: &str) -> Markup {
    parts::notice(
        Tone::Warn,
        "It was not deleted",
        html! {
            p { (error.detail.replace(", or delete it with `?force=true`, which sends them another way or fails them with the reason", "")) }
            @if error.action == Some("FORCE_DELETE") {
                form.spaced method="post" action={ (path) "/delete" } {
                    (form::token(cx.csrf()))
                    input type="hidden" name="force" value="true";
                    button."button small" type="submit" { "Delete anyway: send them another way, or fail them with the reason" }
                }
            }
        },
    )
}

/// Changes an account.
pub(crate) async fn update(Path(id): Path<String>, Posted { cx, form }: Posted) -> Answer {
    let id: AccountId = super::id(&id)?;
    let mut view = View::read(&cx, id).await?;
    let spec = registry::find(&view.account.connector).ok_or_else(super::no_page)?.spec();
    let channels = chosen(&form, "channels");
    let patch = AccountPatch {
        name: Patch::Set(form.text("name").to_owned()),
        settings: Patch::Set(settings(spec, &form, false)),
        channels: Patch::Set(channels),
        enabled: Patch::Set(form.is_on("enabled")),
        default_for: Patch::Set(chosen(&form, "default_for")),
        from: if spec.from_example.is_empty() {
            Patch::Keep
        } else {
            form.filled("from").map_or(Patch::Clear, |from| Patch::Set(from.to_owned()))
        },
        per_second: number(&form, "per_second").map_or(Patch::Clear, Patch::Set),
        concurrency: number(&form, "concurrency").map_or(Patch::Clear, Patch::Set),
    };
    let changed = match number_faults(&form) {
        Some(error) => Err(error),
        None => accounts::patch(cx.engine().parts(), &cx.caller, id, patch).await,
    };
    match changed {
        Ok(_) => Ok(cx.done(&format!("/console/channels/{id}"), "Saved.")),
        Err(error) if matches!(error.kind.status(), 409 | 422) => {
            let title = std::mem::take(&mut view.account.name);
            Ok(cx.again(page(&cx, &title, &view, &form, &Faults::of(&error))))
        }
        Err(error) => Err(error.into()),
    }
}

/// Tests an account; answers the result alone to the button, and the whole page without script.
pub(crate) async fn test(Path(id): Path<String>, headers: HeaderMap, Posted { cx, .. }: Posted) -> Answer {
    let id: AccountId = super::id(&id)?;
    let result = match accounts::test(cx.engine().parts(), &cx.caller, &Repeat::NONE, id).await {
        Ok(reply) => Ok(read::json::<Test>(&reply.body)?),
        Err(error) if matches!(error.kind.status(), 404 | 403) => return Err(error.into()),
        Err(error) => Err(error.detail),
    };
    if headers.contains_key("hx-request") {
        return Ok(answer(watch::tested(Some(&result))));
    }
    let view = View { tested: Some(result), ..View::read(&cx, id).await? };
    let (form, title) = (stored(&view.account), view.account.name.clone());
    Ok(cx.page(page(&cx, &title, &view, &form, &Faults::default())))
}

/// Switches an account on.
pub(crate) async fn enable(Path(id): Path<String>, Posted { cx, .. }: Posted) -> Answer {
    switch(&cx, &id, true).await
}

/// Switches an account off.
pub(crate) async fn disable(Path(id): Path<String>, Posted { cx, .. }: Posted) -> Answer {
    switch(&cx, &id, false).await
}

async fn switch(cx: &Cx, id: &str, is_on: bool) -> Answer {
    let id: AccountId = super::id(id)?;
    let change = AccountPatch { enabled: Patch::Set(is_on), ..AccountPatch::default() };
    accounts::patch(cx.engine().parts(), &cx.caller, id, change).await?;
    let said = if is_on { "The account is enabled." } else { "The account is disabled. What waits for it waits on." };
    Ok(cx.done(&format!("/console/channels/{id}"), said))
}

/// Deletes an account, or says what still depends on it.
pub(crate) async fn delete(Path(id): Path<String>, Posted { cx, form }: Posted) -> Answer {
    let id: AccountId = super::id(&id)?;
    let parts = cx.engine().parts();
    let deleted = if form.is_on("force") {
        accounts::force_delete(parts, &cx.caller, id).await
    } else {
        accounts::delete(parts, &cx.caller, id).await
    };
    match deleted {
        Ok(()) => Ok(cx.done("/console/channels", "The account was deleted.")),
        Err(error) if error.kind.status() == 409 => {
            let view = View { refused: Some(error), ..View::read(&cx, id).await? };
            let (form, title) = (stored(&view.account), view.account.name.clone());
            Ok(cx.again(page(&cx, &title, &view, &form, &Faults::default())))
        }
        Err(error) => Err(error.into()),
    }
}
