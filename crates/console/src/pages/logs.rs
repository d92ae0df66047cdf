//! The two logs people look at when they ask "who did this" and "what did the provider say": the audit log and the callback log.

use axum::extract::Path;
use engine::{
    access::users,
    accounts,
    audit::{self, ActorKind, AuditEntry, AuditQuery},
    callbacks::{CallbackQuery, Told, Unchanged, VerdictWord},
    keys,
};
use maud::{Markup, html};
use model::{AccountId, CallbackId, Timestamp};
use serde::Deserialize;
use serde_json::Value;

use super::settings;
use crate::{
    cx::{Answer, Cx, Query},
    format,
    parts::{
        self, Tone, link_button,
        table::{self, Filter, Pages, Row, Table, cell},
    },
    read::{self, Callback, Page},
    shell::{self, Section},
};

const AUDIT: &str = "/console/settings/audit";
const CALLBACKS: &str = "/console/settings/callbacks";

/// What a list of the audit log is narrowed to.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct AuditWanted {
    about: Option<String>,
    by: Option<String>,
    period: Option<String>,
    q: Option<String>,
    cursor: Option<String>,
}

/// Periods to choose from: the word in the address, the words for people, and days.
const PERIODS: &[(&str, &str, i64)] =
    &[("day", "Last 24 hours", 1), ("week", "Last 7 days", 7), ("month", "Last 30 days", 30)];

impl AuditWanted {
    fn is_narrowed(&self) -> bool {
        self.about.is_some() || self.by.is_some() || self.period.is_some() || self.q.is_some()
    }

    /// As the engine is asked.
    fn query(&self, now: Timestamp) -> AuditQuery {
        let text =
            |value: &Option<String>| value.as_deref().map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned);
        let period = PERIODS.iter().find(|(word, ..)| Some(*word) == self.period.as_deref());
        AuditQuery {
            about: text(&self.about),
            actor: text(&self.by),
            q: text(&self.q),
            since: period.map(|(.., days)| now.plus_seconds(-days * 86_400)),
            cursor: self.cursor.clone(),
            ..AuditQuery::default()
        }
    }
}

/// The people and keys of the tenant by id, as far as this person may see them.
pub(super) async fn people(cx: &Cx) -> Result<Vec<(String, String)>, engine::Error> {
    let mut people = Vec::new();
    if cx.may("users:read") {
        let page = users::list(cx.engine().parts(), &cx.caller, Some(200), None).await?;
        let name = |name: String, email: String| if name.is_empty() { email } else { name };
        people.extend(page.data.into_iter().map(|user| (user.id.to_string(), name(user.name, user.email))));
    }
    if cx.may("keys:read") {
        let page = keys::list(cx.engine().parts(), &cx.caller, Some(200), None).await?;
        people.extend(page.data.into_iter().map(|key| (key.id.to_string(), format!("{} (key)", key.name))));
    }
    Ok(people)
}

/// Lists who changed what.
pub(crate) async fn audit_log(cx: Cx, Query(wanted): Query<AuditWanted>) -> Answer {
    cx.tenant()?;
    let page = audit::search(cx.engine().parts(), &cx.caller, &wanted.query(cx.here().now)).await?;
    let (entries, next) = (page.data, page.next_cursor);
    let people = people(&cx).await?;
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let (about, by, period, q) = (text(&wanted.about), text(&wanted.by), text(&wanted.period), text(&wanted.q));
    let others = [("operator", "The operator"), ("system", "The program")];
    let others = others.map(|(actor, name)| (actor.to_owned(), name.to_owned()));
    let doers = people.iter().cloned().chain(others).collect();
    let filters = [
        Filter::Search { name: "q", label: "An id, or a word of the details", value: &q },
        Filter::Choice {
            name: "about",
            label: "About anything",
            value: &about,
            choices: audit::NOUNS.iter().map(|(noun, _)| ((*noun).to_owned(), format::words(noun))).collect(),
        },
        Filter::Choice { name: "by", label: "By anybody", value: &by, choices: doers },
        Filter::Choice {
            name: "period",
            label: "Any time",
            value: &period,
            choices: PERIODS.iter().map(|(word, text, _)| ((*word).to_owned(), (*text).to_owned())).collect(),
        },
    ];
    let narrowed = [("q", q.clone()), ("about", about.clone()), ("by", by.clone()), ("period", period.clone())];
    let body = html! {
        section.card aria-label="Audit log" {
            (table::filters(AUDIT, "audit", &filters))
            div #audit {
                @if entries.is_empty() && wanted.is_narrowed() {
                    (parts::empty("search", "No entry matches", "Choose something else, or a longer time.", Some(link_button(AUDIT, "", None, "Clear the filters"))))
                } @else if entries.is_empty() {
                    (parts::empty("log", "Nothing has been changed yet", "Every change of accounts, keys, endpoints and settings is written here, with who made it.", None))
                } @else {
                    (audit_table(&cx, &entries, &people, None))
                    (table::pager(&Pages { path: AUDIT, query: &narrowed, is_first: wanted.cursor.is_none(), next: next.as_deref(), shown: entries.len() }))
                }
            }
        }
    };
    Ok(cx.page(shell::Page {
        tabs: Some(settings::tabs(&cx, AUDIT)),
        lead: Some(html! { "Who changed what. It is never changed itself." }),
        ..shell::Page::new("Audit log", Section::Settings, body)
    }))
}

/// Entries as a table. `people` are names of those who may have done it; `by_tenant` is where the operator's log is narrowed to a tenant.
pub(crate) fn audit_table(
    cx: &Cx,
    entries: &[AuditEntry],
    people: &[(String, String)],
    by_tenant: Option<&str>,
) -> Markup {
    let tenant = |path: &str, entry: &AuditEntry| {
        cell(html! {
            @match &entry.tenant {
                Some(tenant) => a dir="auto" href={ (path) "?tenant=" (tenant.id) } title=(tenant.id) { @if tenant.name.is_empty() { (tenant.id) } @else { (tenant.name) } },
                None => span.muted { "–" },
            }
        })
    };
    let who = |entry: &AuditEntry| {
        let known = people.iter().find(|(id, _)| *id == entry.actor).map(|(_, name)| name.clone());
        match entry.actor_kind {
            _ if entry.actor == "system" => Some("The program".to_owned()),
            Some(ActorKind::Operator) if by_tenant.is_none() => Some("The operator".to_owned()),
            Some(ActorKind::Key) => known.or_else(|| entry.actor_name.as_ref().map(|name| format!("{name} (key)"))),
            _ => known.or_else(|| entry.actor_name.clone()),
        }
    };
    let cells = |entry: &AuditEntry| {
        [
            cell(
                html! { span.break { @match who(entry) { Some(name) => span dir="auto" title=(entry.actor) { (name) }, None => code { (entry.actor) } } } },
            ),
            cell(subject(&entry.subject, by_tenant.is_some())),
            cell(html! {
                @match entry.detail.as_object() {
                    Some(object) if !object.is_empty() => details.more { summary { (format::count(object.len() as i64, "detail", "details")) } (parts::code(&pretty(&entry.detail))) },
                    _ => span.muted { "–" },
                }
            }),
            cell(
                html! { (cx.here().at(entry.at)) @if let Some(ip) = &entry.ip { div.sub title=[entry.agent.as_deref()] { (ip) } } },
            ),
        ]
    };
    let row = |entry: &AuditEntry| {
        let what = cell(html! { span.strong { (format::words(&entry.action)) } });
        let tenant = by_tenant.map(|path| tenant(path, entry));
        Row { href: None, cells: std::iter::once(what).chain(tenant).chain(cells(entry)).collect() }
    };
    table::table(Table {
        caption: "Changes, newest first",
        columns: match by_tenant {
            Some(_) => &["What", "Tenant", "Who", "To what", "Details", "When"],
            None => &["What", "Who", "To what", "Details", "When"],
        },
        rows: entries.iter().map(row).collect(),
    })
}

/// Where the things are that entries name by their id.
const PLACES: &[(&str, &str)] = &[
    ("acc_", "/console/channels"),
    ("alr_", "/console/alerts/rules"),
    ("cmp_", "/console/campaigns"),
    ("con_", "/console/contacts"),
    ("crl_", "/console/settings/content"),
    ("lst_", "/console/lists"),
    ("msg_", "/console/messages"),
    ("rte_", "/console/routing"),
    ("sch_", "/console/schedules"),
    ("seg_", "/console/segments"),
    ("tpl_", "/console/templates"),
    ("usr_", "/console/settings/users"),
    ("whk_", "/console/settings/webhooks"),
];

/// What an entry is about, with a link where it has a page. It may be gone by now. The operator's log has none: what it names lies in many tenants.
fn subject(subject: &str, is_operators: bool) -> Markup {
    let place = PLACES.iter().find(|(prefix, _)| !is_operators && subject.starts_with(prefix));
    html! {
        @match place {
            Some((_, path)) => a href={ (path) "/" (subject) } { code.break { (subject) } },
            None => code.break { (subject) },
        }
    }
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Wanted {
    account_id: Option<AccountId>,
    verdict: Option<String>,
    cursor: Option<String>,
}

/// Lists what providers sent.
pub(crate) async fn callbacks(cx: Cx, Query(wanted): Query<Wanted>) -> Answer {
    cx.tenant()?;
    let verdict = match wanted.verdict.as_deref() {
        Some("valid") => Some(VerdictWord::Valid),
        Some("invalid") => Some(VerdictWord::Invalid),
        Some("unreadable") => Some(VerdictWord::Unreadable),
        _ => None,
    };
    let query = CallbackQuery { account_id: wanted.account_id, verdict, limit: None, cursor: wanted.cursor.clone() };
    let page: Page<Callback> = read::json(&cx.engine().callback_log(&cx.caller, &query).await?)?;
    let accounts = if cx.may("accounts:read") {
        accounts::list(cx.engine().parts(), &cx.caller, Some(200), None).await?.data
    } else {
        Vec::new()
    };
    let account = wanted.account_id.map(|id| id.to_string()).unwrap_or_default();
    let name = |id: AccountId| {
        accounts.iter().find(|account| account.id == id).map_or_else(|| id.to_string(), |account| account.name.clone())
    };
    let row = |callback: &Callback| Row {
        href: Some(format!("{CALLBACKS}/{}", callback.id)),
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
        Filter::Choice {
            name: "verdict",
            label: "Any verdict",
            value: wanted.verdict.as_deref().unwrap_or_default(),
            choices: ["valid", "invalid", "unreadable"].map(|word| (word.to_owned(), format::words(word))).to_vec(),
        },
    ];
    let narrowed = [("account_id", account.clone()), ("verdict", wanted.verdict.clone().unwrap_or_default())];
    let body = html! {
        section.card aria-label="Callback log" {
            (table::filters(CALLBACKS, "callbacks", &filters))
            div #callbacks {
                @if page.data.is_empty() {
                    (parts::empty("inbox", "No callbacks", "What providers report about messages is kept here for 30 days, with whether its signature was right.", None))
                } @else {
                    (table::table(Table { caption: "Callbacks, newest first", columns: &["Account", "Verdict", "Reports", "Size", "Received"], rows: page.data.iter().map(row).collect() }))
                    (table::pager(&Pages { path: CALLBACKS, query: &narrowed, is_first: wanted.cursor.is_none(), next: page.next_cursor.as_deref(), shown: page.data.len() }))
                }
            }
        }
    };
    Ok(cx.page(shell::Page {
        tabs: Some(settings::tabs(&cx, CALLBACKS)),
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
            cell(html! { @match (one.message_id, one.inbound_message_id) {
                (Some(id), _) => code.break { (id) },
                (None, Some(id)) => code.break { (id) },
                (None, None) => span.muted { "–" },
            } }),
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
            None => {},
        }
    }
}

/// Shows one request.
pub(crate) async fn callback(cx: Cx, Path(id): Path<String>) -> Answer {
    cx.tenant()?;
    let id: CallbackId = super::id(&id)?;
    let callback: Callback = read::json(&cx.engine().callback_entry(&cx.caller, id).await?)?;
    let headers = callback.headers.as_ref().and_then(Value::as_array).map(|pairs| {
        let line = |pair: &Value| Some(format!("{}: {}", pair.get(0)?.as_str()?, pair.get(1)?.as_str()?));
        pairs.iter().filter_map(line).collect::<Vec<_>>().join("\n")
    });
    let body = html! {
        @if let Some(detail) = &callback.detail { (parts::notice(if callback.verdict == "valid" { Tone::Info } else { Tone::Bad }, "", html! { p { (detail) } })) }
        (parts::card("Request", Some(verdict_badge(&callback.verdict)), html! {
            div.stack {
                (parts::facts([
                    ("Account", html! { a href={ "/console/channels/" (callback.account_id) } { (callback.account_id) } }),
                    ("Received", cx.here().at(callback.received_at)),
                    ("Reports", html! { (callback.observed) ", " (callback.unmatched) " about messages that were not known then" }),
                    ("Repeated", html! { (callback.repeats) " times" }),
                ]))
                (parts::code(&format!("{} {}{}{}", callback.method, callback.path, if callback.query.is_empty() { "" } else { "?" }, callback.query)))
                @if let Some(headers) = headers { div.field { span.label { "Headers" } (parts::code(&headers)) } }
                div.field { span.label { "Body" } (parts::code(&callback.body)) }
            }
        }))
        @if !callback.told.is_empty() { (told(&callback)) }
        @else if callback.verdict != "valid" { (parts::card("What it told", None, html! { p.muted { "Nothing of it was believed, and nothing changed." } })) }
    };
    Ok(cx.page(shell::Page {
        above: &[("/console/settings", "Settings"), (CALLBACKS, "Callback log")],
        is_narrow: true,
        ..shell::Page::new("Callback", Section::Settings, body)
    }))
}
