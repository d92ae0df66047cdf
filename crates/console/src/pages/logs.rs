//! The log people look at when they ask who did this: a tenant's own, and the operator's, with what its staff and keys did in tenants.

use axum::response::Response;
use engine::{
    access::users,
    audit::{self, ActorKind, AuditEntry, AuditQuery},
    export::Format,
    keys::{self, Caller},
    page::Page,
};
use http::{HeaderValue, header};
use maud::{Markup, html};
use model::{TenantId, Timestamp};
use serde::Deserialize;
use serde_json::Value;

use super::settings;
use crate::{
    cx::{Answer, Cx, Query},
    format,
    parts::{
        self, link_button,
        table::{self, Filter, Pages, Row, Table, cell},
    },
    shell::{self, Section},
};

const AUDIT: &str = "/console/settings/audit";
const EXPORT: &str = "/console/settings/audit/export";

/// What an audit log is narrowed to.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct AuditWanted {
    #[serde(default)]
    about: String,
    #[serde(default)]
    by: String,
    #[serde(default)]
    period: String,
    #[serde(default)]
    q: String,
    #[serde(default)]
    tenant: String,
    cursor: Option<String>,
}

/// Periods to choose from: the word in the address, the words for people, and days.
const PERIODS: &[(&str, &str, i64)] = &[
    ("day", "Last 24 hours", 1),
    ("week", "Last 7 days", 7),
    ("month", "Last 30 days", 30),
    ("quarter", "Last 90 days", 90),
    ("year", "Last 365 days", 365),
];

impl AuditWanted {
    /// What the addresses of its pages and of its file say.
    fn narrowed(&self) -> [(&'static str, String); 5] {
        let values = [
            ("q", &self.q),
            ("about", &self.about),
            ("by", &self.by),
            ("period", &self.period),
            ("tenant", &self.tenant),
        ];
        values.map(|(name, value)| (name, value.clone()))
    }

    fn is_narrowed(&self) -> bool {
        self.narrowed().iter().any(|(_, value)| !value.is_empty())
    }

    /// The tenant the operator's log is narrowed to.
    pub(super) fn tenant(&self) -> Option<TenantId> {
        self.tenant.parse().ok()
    }

    /// As the engine is asked. `limit`: entries of a page.
    pub(super) fn query(&self, limit: Option<u32>, now: Timestamp) -> AuditQuery {
        let text = |value: &str| Some(value.trim()).filter(|text| !text.is_empty()).map(str::to_owned);
        let period = PERIODS.iter().find(|(word, ..)| *word == self.period);
        AuditQuery {
            about: text(&self.about),
            actor: text(&self.by),
            q: text(&self.q),
            tenant_id: self.tenant(),
            since: period.map(|(.., days)| now.plus_seconds(-days * 86_400)),
            limit,
            cursor: self.cursor.clone(),
            ..AuditQuery::default()
        }
    }
}

/// A log as it is shown.
pub(super) struct Log<'a> {
    /// Its page.
    pub(super) path: &'a str,
    /// Where its entries are a file.
    pub(super) export: &'a str,
    /// What it is narrowed to.
    pub(super) wanted: &'a AuditWanted,
    /// Who may have done something, by id.
    pub(super) people: &'a [(String, String)],
    /// The tenants it can be narrowed to, by id: of the operator's log only.
    pub(super) tenants: Option<Vec<(String, String)>>,
    /// What it says where there is nothing yet.
    pub(super) nothing: &'a str,
}

/// A log with what it can be narrowed by.
pub(super) fn log(cx: &Cx, log: Log<'_>, page: &Page<AuditEntry>) -> Markup {
    let Log { path, export, wanted, people, tenants, nothing } = log;
    let is_operators = tenants.is_some();
    let others = [("operator", "The operator"), ("system", "The program")];
    let others = others.iter().filter(|(actor, _)| !is_operators || *actor != "operator");
    let others = others.map(|(actor, name)| ((*actor).to_owned(), (*name).to_owned()));
    let mut filters = vec![
        Filter::Search { name: "q", label: "An id, or a word of the details", value: &wanted.q },
        Filter::Choice {
            name: "about",
            label: "About anything",
            value: &wanted.about,
            choices: audit::NOUNS.iter().map(|(noun, _)| ((*noun).to_owned(), format::words(noun))).collect(),
        },
        Filter::Choice {
            name: "by",
            label: "By anybody",
            value: &wanted.by,
            choices: people.iter().cloned().chain(others).collect(),
        },
        Filter::Choice {
            name: "period",
            label: "Any time",
            value: &wanted.period,
            choices: PERIODS.iter().map(|(word, text, _)| ((*word).to_owned(), (*text).to_owned())).collect(),
        },
    ];
    filters.extend(tenants.map(|choices| Filter::Choice {
        name: "tenant",
        label: "In any tenant, or none",
        value: &wanted.tenant,
        choices,
    }));
    let narrowed = wanted.narrowed();
    let file = table::address(export, narrowed.iter().map(|(name, value)| (*name, value.as_str())));
    html! {
        (table::filters(path, "audit", &filters))
        div #audit {
            @if page.data.is_empty() && wanted.is_narrowed() {
                (parts::empty("search", "No entry matches", "Choose something else, or a longer time.", Some(link_button(path, "", None, "Clear the filters"))))
            } @else if page.data.is_empty() {
                (parts::empty("log", "Nothing has been changed yet", nothing, None))
            } @else {
                (changes(cx, &page.data, people, is_operators.then_some(path)))
                p."row padded" { (link_button(&file, "small", Some("file"), "Export CSV")) span."muted small" { "These entries on all pages, the newest 10,000 of them." } }
                (table::pager(&Pages { path, query: &narrowed, is_first: wanted.cursor.is_none(), next: page.next_cursor.as_deref(), shown: page.data.len() }))
            }
        }
    }
}

/// The people and keys a caller sees, by id.
pub(super) async fn people(cx: &Cx, caller: &Caller) -> Result<Vec<(String, String)>, engine::Error> {
    let mut people = Vec::new();
    if caller.need("users:read").is_ok() {
        let page = users::list(cx.engine().parts(), caller, Some(200), None).await?;
        let name = |name: String, email: String| if name.is_empty() { email } else { name };
        people.extend(page.data.into_iter().map(|user| (user.id.to_string(), name(user.name, user.email))));
    }
    if caller.need("keys:read").is_ok() {
        let page = keys::list(cx.engine().parts(), caller, Some(200), None).await?;
        people.extend(page.data.into_iter().map(|key| (key.id.to_string(), format!("{} (key)", key.name))));
    }
    Ok(people)
}

/// Lists who changed what.
pub(crate) async fn audit_log(cx: Cx, Query(wanted): Query<AuditWanted>) -> Answer {
    cx.tenant()?;
    let query = wanted.query(None, cx.here().now);
    let page = audit::search(cx.engine().parts(), &cx.caller, &query).await?;
    let people = people(&cx, &cx.caller).await?;
    let shown = Log {
        path: AUDIT,
        export: EXPORT,
        wanted: &wanted,
        people: &people,
        tenants: None,
        nothing: "Every change of accounts, keys, endpoints and settings is written here, with who made it.",
    };
    let body = html! { section.card aria-label="Audit log" { (log(&cx, shown, &page)) } };
    Ok(cx.page(shell::Page {
        tabs: Some(settings::tabs(&cx, AUDIT)),
        lead: Some(html! { "Who changed what. It is never changed itself." }),
        ..shell::Page::new("Audit log", Section::Settings, body)
    }))
}

/// The entries a page shows, as a file.
pub(crate) async fn export(cx: Cx, Query(wanted): Query<AuditWanted>) -> Answer {
    cx.tenant()?;
    file(&cx, &cx.caller, &wanted, "audit-log").await
}

/// The newest entries that are asked for as a file, from the cursor on. That it was taken is an entry itself.
pub(super) async fn file(cx: &Cx, caller: &Caller, wanted: &AuditWanted, name: &str) -> Answer {
    let query = wanted.query(None, cx.here().now);
    let export = audit::export(cx.engine().parts(), caller, &query, Format::Csv).await?;
    let mut response = Response::new(export.body.into());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(export.content_type));
    let disposition = format!("attachment; filename=\"{name}.csv\"");
    headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_str(&disposition).map_err(engine::Error::internal)?);
    Ok(response)
}

/// Entries as a table. `people` are names of those who may have done it; `by_tenant` is where the operator's log is narrowed to a tenant.
fn changes(cx: &Cx, entries: &[AuditEntry], people: &[(String, String)], by_tenant: Option<&str>) -> Markup {
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
