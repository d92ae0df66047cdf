//! What providers said: the log of what they sent to a tenant's accounts, and the operator's own of what its payment provider told.

use axum::extract::Path;
use engine::{
    accounts,
    callbacks::{CallbackQuery, Told, Unchanged, VerdictWord},
};
use maud::{Markup, html};
use model::{AccountId, CallbackId, TenantId};
use serde::Deserialize;
use serde_json::Value;

use super::{bills, operator, settings};
use crate::{
    cx::{Answer, Cx, Query},
    format,
    parts::{
        self, Tone,
        table::{self, Filter, Pages, Row, Table, cell},
    },
    read::{self, Callback, Page},
    shell::{self, Section},
};

const PATH: &str = "/console/settings/callbacks";
pub(super) const PAYMENTS: &str = "/console/operator/payments/callbacks";

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Wanted {
    account_id: Option<AccountId>,
    tenant: Option<String>,
    event_id: Option<String>,
    verdict: Option<String>,
    cursor: Option<String>,
}

impl Wanted {
    fn verdict(&self) -> Option<VerdictWord> {
        match self.verdict.as_deref()? {
            "valid" => Some(VerdictWord::Valid),
            "invalid" => Some(VerdictWord::Invalid),
            "unreadable" => Some(VerdictWord::Unreadable),
            _ => None,
        }
    }

    fn by_verdict(&self) -> Filter<'_> {
        Filter::Choice {
            name: "verdict",
            label: "Any verdict",
            value: self.verdict.as_deref().unwrap_or_default(),
            choices: ["valid", "invalid", "unreadable"].map(|word| (word.to_owned(), format::words(word))).to_vec(),
        }
    }
}

/// Lists what providers sent.
pub(crate) async fn list(cx: Cx, Query(wanted): Query<Wanted>) -> Answer {
    cx.tenant()?;
    let query = CallbackQuery {
        account_id: wanted.account_id,
        verdict: wanted.verdict(),
        cursor: wanted.cursor.clone(),
        ..CallbackQuery::default()
    };
    let page: Page<Callback> = read::json(&cx.engine().callback_log(&cx.caller, &query).await?)?;
    let accounts = if cx.may("accounts:read") {
        accounts::list(cx.engine().parts(), &cx.caller, Some(200), None).await?.data
    } else {
        Vec::new()
    };
    let account = wanted.account_id.map(|id| id.to_string()).unwrap_or_default();
    let name = |id: Option<AccountId>| {
        let known = accounts.iter().find(|account| Some(account.id) == id).map(|account| account.name.clone());
        known.or_else(|| id.map(|id| id.to_string())).unwrap_or_default()
    };
    let row = |callback: &Callback| Row {
        href: Some(format!("{PATH}/{}", callback.id)),
        cells: vec![
            cell(html! { span.wide-text { (name(callback.account_id)) } }),
            cell(verdict_badge(&callback.verdict)),
            cell(
                html! { (format::count(i64::from(callback.observed), "report", "reports")) @if callback.unmatched > 0 { div.sub { (callback.unmatched) " about unknown messages" } } },
            ),
            cell(
                html! { (format::bytes(callback.size)) @if callback.repeats > 0 { div.sub { "came " (callback.repeats) " more times" } } },
            ),
            cell(cx.here().at(callback.received_at)),
        ],
    };
    let filters = [
        Filter::Choice {
            name: "account_id",
            label: "Any account",
            value: &account,
            choices: accounts.iter().map(|account| (account.id.to_string(), account.name.clone())).collect(),
        },
        wanted.by_verdict(),
    ];
    let narrowed = [("account_id", account.clone()), ("verdict", wanted.verdict.clone().unwrap_or_default())];
    let body = html! {
        section.card aria-label="Callback log" {
            (table::filters(PATH, "callbacks", &filters))
            div #callbacks {
                @if page.data.is_empty() {
                    (parts::empty("inbox", "No callbacks", "What providers report about messages is kept here for 30 days, with whether its signature was right.", None))
                } @else {
                    (table::table(Table { caption: "Callbacks, newest first", columns: &["Account", "Verdict", "Reports", "Size", "Received"], rows: page.data.iter().map(row).collect() }))
                    (table::pager(&Pages { path: PATH, query: &narrowed, is_first: wanted.cursor.is_none(), next: page.next_cursor.as_deref(), shown: page.data.len() }))
                }
            }
        }
    };
    Ok(cx.page(shell::Page {
        tabs: Some(settings::tabs(&cx, PATH)),
        lead: Some(html! { "Every request a provider made to your callback addresses, without secrets." }),
        ..shell::Page::new("Callback log", Section::Settings, body)
    }))
}

fn verdict_badge(verdict: &str) -> Markup {
    match verdict {
        "valid" => parts::badge(Tone::Good, "Valid"),
        "invalid" => parts::badge(Tone::Bad, "Invalid"),
        other => parts::badge(Tone::Warn, &format::words(other)),
    }
}

/// What a request told, and about which messages.
fn told(callback: &Callback) -> Markup {
    let row = |one: &Told| Row {
        href: one.message_id.map(|id| format!("/console/messages/{id}")),
        cells: vec![
            cell(html! { (format::words(&one.fact)) }),
            cell(html! {
                @let about = about(one);
                @for id in &about { div { code.break { (id) } } }
                @if about.is_empty() { span.muted { "–" } }
            }),
            cell(changed(one)),
        ],
    };
    let rows = callback.told.iter().map(row).collect();
    parts::card_flush(
        "What it told",
        None,
        table::table(Table {
            caption: "What this request told, in its order",
            columns: &["What", "About", "What it changed"],
            rows,
        }),
    )
}

/// What something a request told is about.
fn about(one: &Told) -> Vec<String> {
    let message = one.message_id.map(|id| id.to_string());
    let message = message.or_else(|| one.inbound_message_id.map(|id| id.to_string()));
    let money = [one.purchase_id.map(|id| id.to_string()), one.refund_id.map(|id| id.to_string())];
    message.into_iter().chain(money.into_iter().flatten()).collect()
}

/// What something a request told changed, or why nothing.
fn changed(one: &Told) -> Markup {
    html! {
        @for change in &one.changed {
            div.break dir="auto" {
                (format::words(&change.what)) ": "
                @if let Some(from) = &change.from { (from) " → " }
                (change.to)
            }
        }
        @match one.unchanged {
            Some(Unchanged::KnownAlready) => span.muted { "Nothing: it was known, or went another way" },
            Some(Unchanged::UnknownMessage) => span.muted { "Nothing: no such message was known then" },
            Some(Unchanged::UnknownPurchase) => span.muted { "Nothing: it is about no purchase here" },
            Some(Unchanged::TenantGone) => span.muted { "Nothing: the tenant is not there any more" },
            Some(Unchanged::StillOpen) => span.muted { "Nothing: refused, and whoever is at the page may try again" },
            Some(Unchanged::NotLookedAt) => span.muted { "Nothing: events of this type are not looked at" },
            None => {},
        }
    }
}

/// Shows one request.
pub(crate) async fn show(cx: Cx, Path(id): Path<String>) -> Answer {
    cx.tenant()?;
    let id: CallbackId = super::id(&id)?;
    let callback: Callback = read::json(&cx.engine().callback_entry(&cx.caller, id).await?)?;
    let account = match callback.account_id {
        Some(id) => html! { a href={ "/console/channels/" (id) } { (id) } },
        None => html! { span.muted { "–" } },
    };
    let unmatched = html! { (callback.observed) ", " (callback.unmatched) " about messages that were not known then" };
    let body = request(&cx, &callback, [("Account", account), ("Reports", unmatched)]);
    Ok(cx.page(shell::Page {
        above: &[("/console/settings", "Settings"), (PATH, "Callback log")],
        is_narrow: true,
        ..shell::Page::new("Callback", Section::Settings, body)
    }))
}

/// A request with what it told.
fn request(cx: &Cx, callback: &Callback, facts: [(&'static str, Markup); 2]) -> Markup {
    let headers = callback.headers.as_ref().and_then(Value::as_array).map(|pairs| {
        let line = |pair: &Value| Some(format!("{}: {}", pair.get(0)?.as_str()?, pair.get(1)?.as_str()?));
        pairs.iter().filter_map(line).collect::<Vec<_>>().join("\n")
    });
    let common =
        [("Received", cx.here().at(callback.received_at)), ("Repeated", html! { (callback.repeats) " times" })];
    html! {
        @if let Some(detail) = &callback.detail { (parts::notice(if callback.verdict == "valid" { Tone::Info } else { Tone::Bad }, "", html! { p { (detail) } })) }
        (parts::card("Request", Some(verdict_badge(&callback.verdict)), html! {
            div.stack {
                (parts::facts(facts.into_iter().chain(common)))
                (parts::code(&format!("{} {}{}{}", callback.method, callback.path, if callback.query.is_empty() { "" } else { "?" }, callback.query)))
                @if let Some(headers) = headers { div.field { span.label { "Headers" } (parts::code(&headers)) } }
                div.field { span.label { "Body" } (parts::code(&callback.body)) }
            }
        }))
        @if !callback.told.is_empty() { (told(callback)) }
        @else if callback.verdict != "valid" { (parts::card("What it told", None, html! { p.muted { "Nothing of it was believed, and nothing changed." } })) }
    }
}

/// Lists what the operator's payment provider told.
pub(crate) async fn payments(cx: Cx, Query(wanted): Query<Wanted>) -> Answer {
    let caller = cx.outside();
    caller.need_operator("callbacks:read")?;
    let tenant: Option<TenantId> = wanted.tenant.as_deref().and_then(|id| id.parse().ok());
    let event_id = wanted.event_id.as_deref().map(str::trim).unwrap_or_default();
    let query = CallbackQuery {
        tenant_id: tenant,
        event_id: Some(event_id.to_owned()).filter(|id| !id.is_empty()),
        verdict: wanted.verdict(),
        cursor: wanted.cursor.clone(),
        ..CallbackQuery::default()
    };
    let page: Page<Callback> = read::json(&cx.engine().callback_log(&caller, &query).await?)?;
    let tenants = operator::tenants_to_choose(&cx, tenant, || None).await?;
    let chosen = tenant.map(|id| id.to_string()).unwrap_or_default();
    let name = |id: TenantId| {
        let id = id.to_string();
        tenants.iter().find(|(known, _)| *known == id).map_or(id.clone(), |(_, name)| name.clone())
    };
    let row = |callback: &Callback| Row {
        href: Some(format!("{PAYMENTS}/{}", callback.id)),
        cells: vec![
            cell(html! {
                @match &callback.event_type { Some(kind) => code.break { (kind) }, None => span.muted { "Not read" } }
                @if let Some(id) = &callback.event_id { div."sub break" { (id) } }
            }),
            cell(verdict_badge(&callback.verdict)),
            cell(
                html! { @match callback.tenant_id { Some(id) => span dir="auto" { (name(id)) }, None => span.muted { "–" } } },
            ),
            cell(html! {
                @for one in &callback.told { (changed(one)) }
                @if callback.told.is_empty() { span."muted break" { (callback.detail.as_deref().unwrap_or_default()) } }
            }),
            cell(
                html! { (cx.here().at(callback.received_at)) @if callback.repeats > 0 { div.sub { "came " (callback.repeats) " more times" } } },
            ),
        ],
    };
    let filters = [
        Filter::Search { name: "event_id", label: "Stripe's id of an event", value: event_id },
        wanted.by_verdict(),
        Filter::Choice { name: "tenant", label: "About any tenant", value: &chosen, choices: tenants.clone() },
    ];
    let verdict = wanted.verdict.clone().unwrap_or_default();
    let narrowed = [("event_id", event_id.to_owned()), ("verdict", verdict), ("tenant", chosen.clone())];
    let body = html! {
        section.card aria-label="Stripe's events" {
            (table::filters(PAYMENTS, "callbacks", &filters))
            div #callbacks {
                @if page.data.is_empty() {
                    (parts::empty("inbox", "No events", "What Stripe tells of payments is kept here for 30 days, with whether its signature was right and what it changed.", None))
                } @else {
                    (table::table(Table { caption: "Stripe's events, newest first", columns: &["Event", "Verdict", "Tenant", "What it changed", "Received"], rows: page.data.iter().map(row).collect() }))
                    (table::pager(&Pages { path: PAYMENTS, query: &narrowed, is_first: wanted.cursor.is_none(), next: page.next_cursor.as_deref(), shown: page.data.len() }))
                }
            }
        }
    };
    Ok(cx.page(shell::Page {
        tabs: Some(bills::operators_tabs(PAYMENTS)),
        lead: Some(html! { "Every request to the address of Stripe's events, without what says who paid." }),
        ..shell::Page::new("Stripe's events", Section::Bills, body)
    }))
}

/// Shows one request of the operator's payment provider.
pub(crate) async fn payment(cx: Cx, Path(id): Path<String>) -> Answer {
    let caller = cx.outside();
    caller.need_operator("callbacks:read")?;
    let id: CallbackId = super::id(&id)?;
    let callback: Callback = read::json(&cx.engine().callback_entry(&caller, id).await?)?;
    let dash = || html! { span.muted { "–" } };
    let event = match callback.event_type.as_ref().zip(callback.event_id.as_ref()) {
        Some((kind, id)) => html! { code.break { (kind) } div."sub break" { (id) } },
        None => dash(),
    };
    let tenant = match callback.tenant_id {
        Some(id) => html! { a href={ "/console/tenants/" (id) } { (id) } },
        None => dash(),
    };
    let body = request(&cx, &callback, [("Event", event), ("Tenant", tenant)]);
    Ok(cx.page(shell::Page {
        above: &[(super::payments::PATH, "Payments"), (PAYMENTS, "Stripe's events")],
        is_narrow: true,
        ..shell::Page::new("Event", Section::Bills, body)
    }))
}
