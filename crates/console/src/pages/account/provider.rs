//! What an account's provider has about it: where it reports to, what it counted, and whom it no longer writes to. Asked when the page is opened, kept nowhere.

use axum::extract::Path;
use connectors::registry;
use engine::{
    Error,
    accounts::{self, AccountCallbacks, ProviderDay, ProviderStats, ProviderSuppression, ProviderSuppressions},
    once::Repeat,
};
use maud::{Markup, html};
use model::AccountId;
use serde::Deserialize;

use crate::{
    cx::{Answer, Cx, Posted, Query},
    format,
    parts::{
        self, Tone, icon, link_button,
        table::{self, Filter, Pages, Row, Table, cell, figure, text},
    },
    shell::{self, Section},
};

/// The lists providers keep: the word in addresses, and words for people.
const LISTS: [(&str, &str); 3] =
    [("bounces", "Bounced"), ("complaints", "Complained"), ("unsubscribes", "Unsubscribed there")];

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Wanted {
    list: Option<String>,
    cursor: Option<String>,
}

/// Where an account's page about its provider is.
pub(super) fn path(id: AccountId) -> String {
    format!("/console/channels/{id}/provider")
}

/// Asks the provider, and shows what it says.
pub(crate) async fn show(cx: Cx, Path(id): Path<String>, Query(wanted): Query<Wanted>) -> Answer {
    cx.tenant()?;
    let id: AccountId = crate::pages::id(&id)?;
    let (parts_of, caller) = (cx.engine().parts(), &cx.caller);
    let account = accounts::get(parts_of, caller, id).await?;
    let list =
        LISTS.iter().map(|(word, _)| *word).find(|word| Some(*word) == wanted.list.as_deref()).unwrap_or(LISTS[0].0);
    let (callbacks, stats, suppressed) = futures_util::future::join3(
        accounts::callbacks(parts_of, caller, id),
        accounts::stats(parts_of, caller, id),
        accounts::suppressions(parts_of, caller, id, Some(list), wanted.cursor.as_deref()),
    )
    .await;
    let name = registry::find(&account.connector).map_or(account.connector.as_str(), |connector| connector.spec().name);
    let body = html! {
        (callbacks_card(&cx, id, name, callbacks))
        (statistics_card(name, stats?.provider.as_ref()))
        (suppressions_card(&path(id), list, wanted.cursor.is_none(), name, suppressed))
    };
    let own = format!("/console/channels/{id}");
    let above = [("/console/channels", "Channels"), (own.as_str(), account.name.as_str())];
    let title = format!("At {name}");
    Ok(cx.page(shell::Page {
        above: &above,
        lead: Some(html! { "What the provider says now; nothing of it is kept here." }),
        ..shell::Page::new(&title, Section::Channels, body)
    }))
}

/// What went wrong when the provider was asked.
fn no_answer(error: &Error) -> Markup {
    parts::notice(
        Tone::Warn,
        "The provider gave no answer",
        html! { p.break dir="auto" { (error.detail) } p { "Load the page again in a while; the test of the connection says more." } },
    )
}

fn callbacks_card(cx: &Cx, id: AccountId, name: &str, found: Result<AccountCallbacks, Error>) -> Markup {
    let callbacks = match found {
        Ok(callbacks) => callbacks,
        Err(error) => return parts::card("Callbacks", None, no_answer(&error)),
    };
    let (tone, word) = match callbacks.state {
        "set" => (Tone::Good, "Set up"),
        "not_set" => (Tone::Warn, "Not set up"),
        "by_hand" => (Tone::Info, "Set up by hand"),
        "none" => (Tone::Plain, "Not needed"),
        _ => (Tone::Warn, "Not known"),
    };
    let may = cx.may("accounts:write") && callbacks.can_be_set;
    html! {
        section.card aria-label="Callbacks" {
            header { h2 { "Callbacks" } (parts::badge(tone, word)) }
            div.body { div.stack {
                p.muted { "How " (name) " tells what became of messages, and what people answered." }
                @if !callbacks.lines.is_empty() { ul.stack.tight { @for line in &callbacks.lines { li.break dir="auto" { (line) } } } }
                @if let Some(url) = &callbacks.url { (super::watch::address(url, "the callback address")) }
                @for paste in &callbacks.by_hand { div.field { span.label { (paste.place) } (super::watch::address(&paste.value, &paste.place)) } }
                @if let Some(help) = &callbacks.help { p.small { (help.replace('`', "")) } }
                @if !callbacks.security.is_empty() { p."small muted" { (callbacks.security.replace('`', "")) } }
            } }
            @if may || callbacks.set_at.is_some() {
                footer {
                    @if let Some(at) = callbacks.set_at { span."muted small" { "Set up from here " (cx.here().at(at)) } }
                    @if may { div.end { (parts::act(&format!("{}/callbacks", path(id)), cx.csrf(), if callbacks.state == "set" { "" } else { "primary" }, Some("webhook"), if callbacks.state == "set" { "Set up again" } else { "Set up callbacks" })) } }
                }
            }
        }
    }
}

fn statistics_card(name: &str, stats: Option<&ProviderStats>) -> Markup {
    let count = |value: Option<i64>| figure(&value.map_or_else(|| "–".to_owned(), format::number));
    let row = |day: &ProviderDay| Row {
        href: None,
        cells: vec![
            text(&day.day),
            count(day.sent),
            count(day.delivered),
            count(day.bounced),
            count(day.complained),
            count(day.opened),
            count(day.clicked),
        ],
    };
    let columns = &["Day (UTC)", "Taken", "Arrived", "Came back", "Complained", "Opened", "Clicked"];
    let body = match stats {
        None => parts::empty(
            "chart",
            "It shows no figures",
            &format!("{name} has no statistics that can be read. What Tidings knows is under Analytics."),
            None,
        ),
        Some(ProviderStats { trouble: Some(trouble), .. }) => {
            parts::notice(Tone::Warn, "The provider gave no answer", html! { p.break dir="auto" { (trouble) } })
        }
        Some(stats) if stats.days.is_empty() => {
            parts::empty("chart", "Nothing was counted", "The provider counted nothing in the last seven days.", None)
        }
        Some(stats) => table::table(Table {
            caption: "What the provider counted by day",
            columns,
            rows: stats.days.iter().map(row).collect(),
        }),
    };
    parts::card_flush("What it counted in seven days", None, body)
}

fn suppressions_card(
    path: &str,
    list: &str,
    is_first: bool,
    name: &str,
    found: Result<ProviderSuppressions, Error>,
) -> Markup {
    let row = |one: &ProviderSuppression| Row {
        href: None,
        cells: vec![
            cell(html! { span.break dir="auto" { (one.address) } }),
            cell(html! { span.break dir="auto" { (one.reason.as_deref().unwrap_or("–")) } }),
            text(one.at.as_deref().unwrap_or("–")),
        ],
    };
    // The first list stands where a filter says "any": a provider has no list of everybody.
    let choices = LISTS[1..].iter().map(|(word, words)| ((*word).to_owned(), (*words).to_owned())).collect();
    let chosen = if list == LISTS[0].0 { "" } else { list };
    let filters = [Filter::Choice { name: "list", label: LISTS[0].1, value: chosen, choices }];
    let columns = &["Address", "Why", "Since"];
    html! {
        section.card aria-label="Whom it no longer writes to" {
            header { h2 { "Whom it no longer writes to" } }
            (table::filters(path, "suppressed", &filters))
            div #suppressed {
                @match found {
                    Err(error) => div.padded { (no_answer(&error)) },
                    Ok(page) if !page.offered => (parts::empty("info", "It shows no such list", &format!("{name} does not tell whom it no longer writes to. Addresses that bounced or complained are on your own list."), Some(link_button("/console/suppressions", "", None, "Suppressed addresses")))),
                    Ok(page) if page.data.is_empty() => (parts::empty("check", "Nobody is on it", "The provider writes to everybody you send to.", None)),
                    Ok(page) => {
                        (table::table(Table { caption: "Addresses the provider no longer writes to", columns, rows: page.data.iter().map(row).collect() }))
                        (table::pager(&Pages { path, query: &[("list", chosen.to_owned())], is_first, next: page.next_cursor.as_deref(), shown: page.data.len() }))
                    }
                }
            }
        }
    }
}

/// Has the provider told where to report to.
pub(crate) async fn set(Path(id): Path<String>, Posted { cx, .. }: Posted) -> Answer {
    cx.tenant()?;
    let id: AccountId = crate::pages::id(&id)?;
    match accounts::set_callbacks(cx.engine().parts(), &cx.caller, &Repeat::NONE, id).await {
        Ok(_) => Ok(cx.done(&path(id), "The provider reports here from now on.")),
        Err(error) if matches!(error.kind.status(), 409 | 422 | 502 | 503) => Ok(cx.refused(&path(id), &error.detail)),
        Err(error) => Err(error.into()),
    }
}

/// The link to it, for the account's own page.
pub(super) fn link(id: AccountId) -> Markup {
    html! { a.button href=(path(id)) { (icon("external")) "At the provider" } }
}
