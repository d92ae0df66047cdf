//! The installation as the operator watches it: accounts in trouble, what waits, and what the program stands on.

use engine::{
    audit,
    installation::{DeadLetters, SHOWN_MAX, WAITING_MAX},
    tenants,
};
use maud::{Markup, html};
use model::TenantId;

use super::logs::{self, AuditWanted};
use crate::{
    cx::{Answer, Cx, Query},
    format,
    parts::{
        self, Tone,
        table::{self, Row, Table, cell},
    },
    shell::{self, Section},
};

/// Shows accounts that are paused or fail.
pub(crate) async fn accounts(cx: Cx) -> Answer {
    let found = cx.engine().troubled_accounts(&cx.outside()).await?;
    let rows = found.iter().map(|account| Row {
        href: Some(format!("/console/tenants/{}", account.tenant_id)),
        cells: vec![
            cell(html! { span.wide-text { (account.tenant) } }),
            cell(html! { span.strong.break { (account.account) } div.sub { (provider(&account.connector)) } }),
            cell(if account.paused_at.is_some() { parts::badge(Tone::Bad, "Paused") } else { parts::badge(Tone::Warn, "Failing") }),
            cell(html! {
                @if let Some(pause) = &account.pause { span.break { (pause.detail) } div.sub { code { (pause.code) } } } @else { span.muted { (format::count(account.failures, "failure", "failures")) " in a row" } }
            }),
            cell(html! { @match account.paused_at { Some(at) => (cx.here().at(at)), None => span.muted { "–" } } @if let Some(until) = account.paused_until { div.sub { "tried again " (cx.here().distance(until)) } } }),
        ],
    });
    let rows: Vec<Row> = rows.collect();
    let body = html! {
        section.card aria-label="Accounts in trouble" {
            @if rows.is_empty() {
                (parts::empty("check", "Every account works", "Accounts that a provider refuses, or that fail again and again, appear here with the reason.", None))
            } @else {
                (table::table(Table { caption: "Accounts in trouble, worst first", columns: &["Tenant", "Account", "State", "Why", "Since"], rows }))
                @if found.len() == SHOWN_MAX { p."muted small padded" { "The worst " (SHOWN_MAX) " are shown." } }
            }
        }
    };
    Ok(cx.page(shell::Page {
        lead: Some(html! { "Every tenant's accounts that are paused or fail." }),
        ..shell::Page::new("Accounts", Section::Health, body)
    }))
}

fn provider(connector: &str) -> &str {
    match connector {
        "webhook" => "A tenant's endpoint",
        id => connectors::registry::find(id).map_or(id, |connector| connector.spec().name),
    }
}

/// Shows what waits, by account.
pub(crate) async fn queue(cx: Cx) -> Answer {
    let found = cx.engine().waiting_accounts(&cx.outside()).await?;
    let now = cx.here().now;
    let rows: Vec<Row> = found
        .iter()
        .map(|lane| Row {
            href: Some(format!("/console/tenants/{}", lane.tenant_id)),
            cells: vec![
                cell(html! { span.wide-text { (lane.tenant) } }),
                cell(html! { span.strong.break { (lane.account) } div.sub { (provider(&lane.connector)) } }),
                table::figure(&format!("{}{}", format::number(lane.waiting), if lane.waiting >= WAITING_MAX { "+" } else { "" })),
                table::number(lane.in_flight),
                cell(html! {
                    @if lane.first_due_at > now { span.muted { "due " (cx.here().distance(lane.first_due_at)) } }
                    @else if now.millis_since(lane.first_due_at) > 60_000 { (parts::badge(Tone::Warn, &format!("waits for {}", format::duration(now.millis_since(lane.first_due_at))))) }
                    @else { (parts::badge(Tone::Good, "Flowing")) }
                }),
            ],
        })
        .collect();
    let waiting: i64 = found.iter().map(|lane| lane.waiting).sum();
    let late = found.iter().filter(|lane| now.millis_since(lane.first_due_at) > 60_000).count();
    let system = cx.engine().system(&cx.outside()).await?;
    let dead = cx.engine().dead_letters_by_tenant(&cx.outside()).await?;
    let body = html! {
        section.tiles aria-label="Queue" {
            (parts::tile("Waiting", &format::number(waiting), Some(html! { "messages, also those for later" })))
            (parts::tile("Under way here", &format::number(system.in_flight as i64), Some(html! { "of " (format::number(system.slots as i64)) " slots" })))
            (parts::tile("Accounts with work", &format::number(found.len() as i64), None))
            (parts::tile("Late by a minute", &format::number(late as i64), Some(html! { "accounts whose first message should have left" })))
        }
        section.card aria-label="Waiting by account" {
            @if rows.is_empty() {
                (parts::empty("check", "Nothing waits", "Messages that have not left yet appear here, by the account they wait for.", None))
            } @else {
                (table::table(Table { caption: "Waiting by account, longest wait first", columns: &["Tenant", "Account", "Waiting", "Under way", "First due"], rows }))
            }
        }
        @if !dead.is_empty() { (parts::card_flush("Dead letters", Some(html! { span."muted small" { "Enter the tenant to look at them and send them again." } }), dead_letters(&cx, &dead))) }
    };
    Ok(cx.page(shell::Page {
        lead: Some(html! { "What has not left yet, over all tenants." }),
        ..shell::Page::new("Queue", Section::Queue, body)
    }))
}

fn dead_letters(cx: &Cx, dead: &[DeadLetters]) -> Markup {
    let row = |dead: &DeadLetters| Row {
        href: Some(format!("/console/tenants/{}", dead.tenant_id)),
        cells: vec![
            cell(html! { span.wide-text dir="auto" { (dead.tenant) } }),
            table::figure(&format!(
                "{}{}",
                format::number(dead.count),
                if dead.count >= WAITING_MAX { "+" } else { "" }
            )),
            cell(html! { @match dead.newest_at { Some(at) => (cx.here().at(at)), None => span.muted { "–" } } }),
        ],
    };
    table::table(Table {
        caption: "Tenants with dead letters, most first",
        columns: &["Tenant", "Gave up", "The newest"],
        rows: dead.iter().map(row).collect(),
    })
}

const SYSTEM: &str = "/console/operator/system";
const EXPORT: &str = "/console/operator/system/audit-log/export";
/// Entries of the operator's log on one page.
const LOGGED: u32 = 20;
/// Tenants a list offers to choose from, the newest; names in it lead to all others.
const TENANTS_MAX: u32 = 200;

/// Tenants to choose from, by id, and the chosen one, whose name may be known to the caller when it is not among them.
pub(super) async fn tenants_to_choose(
    cx: &Cx,
    chosen: Option<TenantId>,
    name: impl FnOnce() -> Option<String>,
) -> Result<Vec<(String, String)>, engine::Error> {
    let caller = cx.outside();
    let mut choices: Vec<(String, String)> = if caller.need("tenants:read").is_ok() {
        let page = tenants::list(cx.engine().parts(), &caller, Some(TENANTS_MAX), None).await?;
        page.data.into_iter().map(|tenant| (tenant.id.to_string(), tenant.name)).collect()
    } else {
        Vec::new()
    };
    if let Some(id) = chosen.map(|id| id.to_string()).filter(|id| choices.iter().all(|(known, _)| known != id)) {
        let name = name().unwrap_or_else(|| id.clone());
        choices.push((id, name));
    }
    Ok(choices)
}

/// The operator's log, with the names of its staff; all of it, or what was done in one tenant.
async fn log_card(cx: &Cx, wanted: &AuditWanted) -> Result<Markup, engine::Error> {
    let caller = cx.outside();
    if caller.need("audit:read").is_err() {
        return Ok(html! {});
    }
    let query = wanted.query(Some(LOGGED), cx.here().now);
    let page = audit::search(cx.engine().parts(), &caller, &query).await?;
    let tenant = wanted.tenant();
    let named = || {
        let mut of = page.data.iter().filter_map(|entry| entry.tenant.as_ref());
        of.find(|of| Some(of.id) == tenant).map(|of| of.name.clone())
    };
    let tenants = tenants_to_choose(cx, tenant, named).await?;
    let people = logs::people(cx, &caller).await?;
    let shown = logs::Log {
        path: SYSTEM,
        export: EXPORT,
        wanted,
        people: &people,
        tenants: Some(tenants),
        nothing: "What the operator changes is written here, also in tenants.",
    };
    Ok(parts::card_flush("The operator's log", None, logs::log(cx, shown, &page)))
}

/// The entries of the operator's log that are shown, as a file.
pub(crate) async fn export_log(cx: Cx, Query(wanted): Query<AuditWanted>) -> Answer {
    let caller = cx.outside();
    caller.need_operator("audit:read")?;
    logs::file(&cx, &caller, &wanted, "operators-log").await
}

/// Shows what the program stands on.
pub(crate) async fn system(cx: Cx, Query(wanted): Query<AuditWanted>) -> Answer {
    let caller = cx.outside();
    let system = cx.engine().system(&caller).await?;
    let log = log_card(&cx, &wanted).await?;
    let options = cx.app.options();
    let body = html! {
        div.stack.loose {
            (findings(&options.warnings, system.schema == system.schema_newest))
            div."columns even" {
                (parts::card("Program", None, parts::facts([
                    ("Version", html! { (options.version) }),
                    ("Reached at", html! { code.break { (system.public_url) } }),
                    ("Under way", html! { (system.in_flight) " of " (system.slots) " attempts" }),
                    ("Open streams", html! { (system.streams) }),
                ])))
                (parts::card("Database", None, parts::facts([
                    ("Engine", html! { (system.database) }),
                    ("Tables", html! { "version " (system.schema) @if system.schema == system.schema_newest { ", the newest" } @else { ", newest is " (system.schema_newest) } }),
                    ("Sealed by", html! { @if system.sealed_by.is_empty() { "nothing is sealed yet" } @for (key, count) in &system.sealed_by { div { code { (key) } ": " (format::count(*count, "data key", "data keys")) } } }),
                ])))
            }
            (parts::card_flush("Processes", None, table::table(Table {
                caption: "Processes that send", columns: &["Process", "Started", "Last seen"],
                rows: system.workers.iter().map(|worker| Row { href: None, cells: vec![
                    cell(html! { @if worker.is_this { "This one" } @else { "Another" } }), cell(cx.here().at(worker.started_at)), cell(html! { (cx.here().at(worker.seen_at)) " " span.muted { (cx.here().distance(worker.seen_at)) } }),
                ] }).collect(),
            })))
            (parts::card("Jobs", None, html! {
                p.muted { "Each looks at the database, does what is due, and may be ended at any time." }
                ul."grid spaced" { @for (name, every_ms) in &system.jobs { li.row.apart.account-line { span { (format::words(name)) } span."muted num" { "every " (period(*every_ms)) } } } }
            }))
            (log)
        }
    };
    Ok(cx.page(shell::Page {
        lead: Some(html! { "What this installation stands on." }),
        ..shell::Page::new("System", Section::System, body)
    }))
}

fn period(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..60_000 => format!("{} s", ms / 1_000),
        60_000..3_600_000 => format!("{} min", ms / 60_000),
        _ => format!("{} h", ms / 3_600_000),
    }
}

fn findings(warnings: &[String], is_newest: bool) -> Markup {
    html! {
        div.stack.tight {
            @if warnings.is_empty() && is_newest { (parts::notice(Tone::Good, "Nothing to put right", html! { p { "The configuration and the database are in order." } })) }
            @if !is_newest { (parts::notice(Tone::Warn, "The tables are not of this version", html! { p { "Run `tidings migrate`." } })) }
            @for warning in warnings { (parts::notice(Tone::Warn, "", html! { p { (warning) } })) }
        }
    }
}
