//! Our records held against a provider's: which were, how accurate they are, and what differs, message by message.

use axum::extract::{FromRequestParts as _, Path, Request, State};
use engine::{
    Error,
    accounts::{self, AccountView},
    once::Repeat,
    reconciliations::{self, Difference, NewReconciliation, ReconciliationDifference, ReconciliationView},
};
use http::{HeaderValue, header};
use jiff::{ToSpan as _, civil::Date, tz::TimeZone};
use maud::{Markup, html};
use model::{AccountId, Channel, ReconciliationId, Timestamp};
use serde::Deserialize;

use super::billing;
use crate::{
    App,
    cx::{Answer, Cx, Fault, Query, check_token, read_body},
    form::{self, Faults, Form},
    format, pages,
    parts::{
        self, Control, Field, Tone, link_button,
        table::{self, Filter, Pages, Row, Table, cell, figure, number},
    },
    read::{self, Made},
    shell::{self, Section},
};

pub(super) const PATH: &str = "/console/reconciliations";
const NEW: &str = "/console/reconciliations/new";
/// Reconciliations on a page.
const ROWS: u32 = 50;
/// Differences on a page.
const DIFFERENCES: i64 = 100;
/// Months to choose from: as long as providers keep records for.
const MONTHS: i64 = 13;
/// Largest form, in bytes: what the API takes, with room for what forms escape.
const FORM_MAX: usize = 16 * 1024 * 1024;
const NAMES: [&str; 6] = ["account_id", "month", "starts_at", "ends_at", "csv", "channel"];
/// What a table may be of: everything but calls together, or one channel.
const HOLDS: [(&str, &str); 4] = [
    ("", "Messages of every channel"),
    ("sms", "Text messages only"),
    ("whatsapp", "WhatsApp only"),
    ("voice", "Calls"),
];
const ABOVE: &[(&str, &str)] = &[(PATH, "Reconciliation")];

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Wanted {
    cursor: Option<String>,
}

/// Lists reconciliations.
pub(crate) async fn list(cx: Cx, Query(wanted): Query<Wanted>) -> Answer {
    cx.tenant()?;
    let (parts_of, caller) = (cx.engine().parts(), &cx.caller);
    let page = reconciliations::list(parts_of, caller, Some(ROWS), wanted.cursor.as_deref()).await?;
    let names = if page.data.is_empty() { Vec::new() } else { known(&cx).await? };
    let may = cx.may("usage:write");
    let new = || link_button(NEW, "primary", Some("plus"), "Compare records");
    let is_running = page.data.iter().any(|one| one.state == "running");
    let row = |one: &ReconciliationView| Row {
        href: Some(format!("{PATH}/{}", one.id)),
        cells: vec![
            cell(
                html! { span."strong wide-text" dir="auto" { (name_of(&names, one.account_id)) } div.sub { (source(&one.source)) } },
            ),
            cell(html! { (span_of(&cx, one)) }),
            cell(state(one)),
            figure(&one.accuracy_ppm.map_or_else(|| "–".to_owned(), accuracy)),
            number(one.ours),
            number(one.missing_here + one.missing_there),
            number(one.price_differences),
            cell(cx.here().at(one.created_at)),
        ],
    };
    let columns =
        &["Account", "Time", "State", "Accuracy", "Our messages", "On one side only", "Other price", "Asked for"];
    let again = table::address(PATH, wanted.cursor.as_deref().map(|cursor| ("cursor", cursor)));
    let body = html! {
        section.card #reconciliations aria-label="Reconciliations" hx-get=[is_running.then_some(again)] hx-trigger=[is_running.then_some("every 3s")] hx-select="#reconciliations" hx-swap="outerHTML" {
            @if page.data.is_empty() {
                (parts::empty("check", "Nothing was compared yet", "Hold what an account sent in a month against its provider's own records: you see what only one side has, and where prices differ.", may.then(new)))
            } @else {
                (table::table(Table { caption: "Reconciliations, newest first", columns, rows: page.data.iter().map(row).collect() }))
                (table::pager(&Pages { path: PATH, query: &[], is_first: wanted.cursor.is_none(), next: page.next_cursor.as_deref(), shown: page.data.len() }))
            }
        }
    };
    Ok(cx.page(shell::Page {
        lead: Some(
            html! { "Our records against the providers' own: 99.9 % of all messages have to be on both sides." },
        ),
        actions: (may && !page.data.is_empty()).then(new),
        tabs: Some(billing::tabs(&cx, PATH)),
        ..shell::Page::new("Reconciliation", Section::Usage, body)
    }))
}

async fn known(cx: &Cx) -> Result<Vec<AccountView>, Error> {
    if !cx.may("accounts:read") {
        return Ok(Vec::new());
    }
    Ok(accounts::list(cx.engine().parts(), &cx.caller, Some(super::channels::ALL), None).await?.data)
}

fn name_of(accounts: &[AccountView], id: AccountId) -> &str {
    accounts.iter().find(|account| account.id == id).map_or("An account that was deleted", |account| &account.name)
}

/// Where the provider's records come from.
fn source(word: &str) -> &'static str {
    match word {
        "messages" => "its list of messages",
        "statistics" => "its counts by day",
        _ => "a table exported there",
    }
}

fn span_of(cx: &Cx, one: &ReconciliationView) -> Markup {
    html! { (cx.here().day(one.starts_at)) " – " (cx.here().day(one.ends_at)) }
}

/// Millionths as a share, never rounded up: `99.98 %`.
fn accuracy(ppm: i64) -> String {
    let hundredths = ppm / 100;
    if hundredths % 100 == 0 {
        format!("{} %", hundredths / 100)
    } else {
        format!("{}.{:02} %", hundredths / 100, hundredths % 100)
    }
}

fn state(one: &ReconciliationView) -> Markup {
    match (one.state.as_str(), one.is_accurate) {
        ("failed", _) => parts::badge(Tone::Bad, "Failed"),
        ("done", None) => parts::badge(Tone::Warn, "Not all asked about"),
        ("done", Some(true)) => parts::badge(Tone::Good, "Accurate"),
        ("done", _) => parts::badge(Tone::Bad, "Below 99.9 %"),
        _ => html! { span."badge info moving" { "Comparing" } },
    }
}

/// The months that can be chosen, the running one first: value and words.
pub(super) fn months(now: Timestamp) -> Vec<(String, String)> {
    let today = now.jiff().to_zoned(TimeZone::UTC).date();
    (0..MONTHS)
        .filter_map(|back| today.first_of_month().checked_sub(back.months()).ok())
        .map(|first| (first.strftime("%Y-%m").to_string(), first.strftime("%B %Y").to_string()))
        .collect()
}

/// From the first instant of a month (UTC, as providers count) to its end, or to now.
fn month_of(text: &str, now: Timestamp) -> Option<(Timestamp, Timestamp)> {
    let first: Date = format!("{text}-01").parse().ok()?;
    let instant = |date: Date| Some(Timestamp::from(date.to_zoned(TimeZone::UTC).ok()?.timestamp()));
    let (starts, ends) = (instant(first)?, instant(first.checked_add(1.month()).ok()?)?);
    Some((starts, ends.min(now)))
}

/// Shows the form.
pub(crate) async fn new(cx: Cx) -> Answer {
    cx.tenant()?;
    cx.caller.need("usage:write")?;
    let accounts = known(&cx).await?;
    // The month that is over is what one looks at; the running one has messages under way.
    let month = months(cx.here().now).into_iter().nth(1).map(|(value, _)| value).unwrap_or_default();
    Ok(cx.page(new_page(&cx, &accounts, &Form::of([("month", month)]), &Faults::default())))
}

fn new_page<'a>(cx: &Cx, accounts: &[AccountView], form: &Form, faults: &Faults) -> shell::Page<'a> {
    let ids: Vec<String> = accounts.iter().map(|account| account.id.to_string()).collect();
    let choices = ids.iter().zip(accounts).map(|(id, account)| (id.as_str(), account.name.clone())).collect();
    let months = months(cx.here().now);
    let months: Vec<(&str, String)> = months
        .iter()
        .map(|(value, words)| (value.as_str(), words.clone()))
        .chain([("", "Another time".to_owned())])
        .collect();
    let body = html! {
        @if accounts.is_empty() {
            section.card { (parts::empty("plug", "No account to compare", "Set up an account first; once it has sent something, its provider has records of it.", Some(link_button("/console/channels", "", None, "Channels")))) }
        } @else {
            section.card aria-label="Compare records" {
                form method="post" action=(PATH) data-guard {
                    (form::token(cx.csrf()))
                    div.body { div.form {
                        (shell::form_faults(faults, &NAMES))
                        div.fields-2 {
                            (Field::text("account_id", "Account").required().with(Control::Choice(choices)).draw(form, faults))
                            (Field::text("month", "Month").plain().with(Control::Choice(months)).help("In UTC, as providers count.").draw(form, faults))
                        }
                        div.fields-2 data-when="month=" {
                            (Field::text("starts_at", "From").with(Control::When).draw(form, faults))
                            (Field::text("ends_at", "Until").with(Control::When).help("At most 62 days later.").draw(form, faults))
                        }
                        details.more id="table" open[faults.at("csv").is_some()] {
                            summary { "From a table exported at the provider" }
                            div."stack spaced" {
                                p.muted { "For providers that show neither their messages nor counts by day. One column has the provider’s ids (id, sid or message_id); date, price, currency and segments are compared where they are there. Commas, semicolons or tabs; dates without a zone are in UTC." }
                                file-text for="f-csv" { div.field { label for="f-file" { "File " span.optional { "optional" } } input #f-file type="file" accept=".csv,.txt,text/csv"; } }
                                (Field::text("csv", "Table").with(Control::Area { rows: 6 }).example("sid,date_sent,price,currency\nSM1,2026-11-21T09:30:00Z,-0.0075,USD").help("What the file says, or pasted.").draw(form, faults))
                                (Field::text("channel", "What the table holds").plain().with(Control::Choice(HOLDS.map(|(value, words)| (value, words.to_owned())).to_vec())).help("Providers keep calls in a table of their own.").draw(form, faults))
                            }
                        }
                    } }
                    footer { div.end { (link_button(PATH, "", None, "Cancel")) button."button primary" type="submit" { "Compare" } } }
                }
            }
        }
    };
    shell::Page {
        above: ABOVE,
        lead: Some(
            html! { "Our messages of an account against what its provider says it sent, and what it took for each." },
        ),
        is_narrow: true,
        ..shell::Page::new("Compare records", Section::Usage, body)
    }
}

fn read_new(cx: &Cx, form: &Form) -> Result<NewReconciliation, Faults> {
    let (mut faults, now) = (Faults::default(), cx.here().now);
    let account_id = form.text("account_id").parse::<AccountId>();
    if account_id.is_err() {
        faults.add("account_id", "choose an account");
    }
    let time = match form.filled("month") {
        Some(month) => {
            let found = month_of(month, now);
            if found.is_none() {
                faults.add("month", "choose a month");
            }
            found
        }
        None => {
            let mut at = |name: &str| {
                let found = cx.here().read_local(form.text(name));
                if found.is_none() {
                    faults.add(name, "say when");
                }
                found
            };
            let (starts, ends) = (at("starts_at"), at("ends_at"));
            starts.zip(ends)
        }
    };
    match (account_id, time) {
        (Ok(account_id), Some((starts_at, ends_at))) => {
            let csv = form.filled("csv").map(str::to_owned);
            // Which channel is the table's own matter: without one the field says nothing.
            let channel = csv.as_ref().and_then(|_| form.text("channel").parse::<Channel>().ok());
            Ok(NewReconciliation { account_id, starts_at, ends_at, channel, csv })
        }
        _ => Err(faults),
    }
}

/// Begins one. Its form may hold a table as large as the API takes.
pub(crate) async fn create(State(app): State<App>, request: Request) -> Answer {
    let (mut parts, body) = request.into_parts();
    let cx = Cx::from_request_parts(&mut parts, &app).await?;
    let form = Form::read(&read_body(body, FORM_MAX).await?);
    check_token(&cx, &parts.headers, &form)?;
    cx.tenant()?;
    cx.caller.need("usage:write")?;
    let faults = match read_new(&cx, &form) {
        Ok(new) => match reconciliations::create(cx.engine().parts(), &cx.caller, &Repeat::NONE, new).await {
            Ok(reply) => {
                let made: Made = read::json(&reply.body)?;
                return Ok(cx.done(&format!("{PATH}/{}", made.id), "The comparison has begun."));
            }
            Err(error) if matches!(error.kind.status(), 409 | 422) => Faults::of(&error),
            Err(error) => return Err(error.into()),
        },
        Err(faults) => faults,
    };
    let accounts = known(&cx).await?;
    /// Longest table that is shown again: more would make the page heavy, and the file is still there.
    const SHOWN_AGAIN: usize = 50_000;
    let form = if form.text("csv").len() > SHOWN_AGAIN { form.with("csv", "") } else { form };
    Ok(cx.again(new_page(&cx, &accounts, &form, &faults)))
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Narrowed {
    kind: Option<String>,
    cursor: Option<String>,
}

/// What kinds of differences there are: the word in addresses, the kind, and words for people.
const KINDS: [(&str, Difference, &str); 5] = [
    ("missing_here", Difference::MissingHere, "Only the provider has it"),
    ("missing_there", Difference::MissingThere, "Only we have it"),
    ("price", Difference::Price, "Another price"),
    ("segments", Difference::Segments, "Other segments or minutes"),
    ("count", Difference::Count, "Another count"),
];

/// Shows one with what differs.
pub(crate) async fn show(cx: Cx, Path(id): Path<String>, Query(wanted): Query<Narrowed>) -> Answer {
    cx.tenant()?;
    let (parts_of, caller) = (cx.engine().parts(), &cx.caller);
    let id: ReconciliationId = pages::id(&id)?;
    let one = reconciliations::get(parts_of, caller, id).await?;
    let chosen = KINDS.iter().find(|(word, ..)| Some(*word) == wanted.kind.as_deref());
    // A place that no list gave out is the beginning.
    let after = wanted.cursor.clone().filter(|after| !after.chars().any(char::is_control)).unwrap_or_default();
    let found = reconciliations::differences_after(
        parts_of,
        caller,
        id,
        chosen.map(|(_, kind, _)| *kind),
        &after,
        DIFFERENCES + 1,
    )
    .await?;
    let accounts = known(&cx).await?;
    let path = format!("{PATH}/{id}");
    let is_running = one.state == "running";
    let word = chosen.map(|(word, ..)| *word).unwrap_or_default();
    let title = name_of(&accounts, one.account_id).to_owned();
    let body = html! {
        div.stack.loose #reconciliation hx-get=[is_running.then_some(&path)] hx-trigger=[is_running.then_some("every 2s")] hx-select="#reconciliation" hx-swap="outerHTML" {
            (result(&cx, &one))
            (differences(&cx, &one, &path, word, wanted.cursor.is_none(), &found))
        }
    };
    let has_any =
        one.missing_here + one.missing_there + one.price_differences + one.segment_differences > 0 || !found.is_empty();
    Ok(cx.page(shell::Page {
        above: ABOVE,
        lead: Some(html! { (span_of(&cx, &one)) ", against " (source(&one.source)) "." }),
        actions: has_any
            .then(|| link_button(&format!("{path}/differences.csv"), "", Some("file"), "Differences as CSV")),
        ..shell::Page::new(&title, Section::Usage, body)
    }))
}

fn result(cx: &Cx, one: &ReconciliationView) -> Markup {
    let counted = one.missing_here + one.missing_there;
    html! {
        @if let Some(failure) = &one.failure { (parts::notice(Tone::Bad, "It came to nothing", html! { p dir="auto" { (failure) } p { "Mend it and compare again." } })) }
        @else if one.state == "running" {
            (parts::notice(Tone::Info, "Comparing", html! { p { (format::count(one.theirs, "record", "records")) " of the provider and " (format::count(one.ours, "message", "messages")) " of ours looked at so far. This page follows; you can leave it." } }))
        }
        section.tiles aria-label="Result" {
            (parts::tile("Accuracy", &one.accuracy_ppm.map_or_else(|| "–".to_owned(), accuracy), Some(state(one))))
            (parts::tile("Our messages", &format::number(one.ours), None))
            (parts::tile("The provider's", &format::number(one.theirs), None))
            (parts::tile("On both sides", &format::number(one.matched), Some(html! { (format::percent(one.matched, one.matched + counted)) " of all" })))
            (parts::tile("On one side only", &format::number(counted), Some(html! { (format::number(one.missing_there)) " ours, " (format::number(one.missing_here)) " theirs" })))
            @if one.elsewhere > 0 {
                (parts::tile("Sent by other accounts", &format::number(one.elsewhere), Some(html! { "through the same account there; not counted" })))
            }
            @if one.not_asked > 0 {
                (parts::tile("Not asked about", &format::number(one.not_asked), Some(html! { "its list lacks more than it can be asked about one by one" })))
            }
            @if one.segment_differences > 0 {
                (parts::tile("In other segments", &format::number(one.segment_differences), Some(html! { "or minutes" @if one.is_binding { "; theirs count from now on" } })))
            }
            @if let (Some(ours), Some(theirs)) = (&one.cost_ours, &one.cost_theirs) {
                (parts::tile("The provider took", &format::money(theirs), Some(html! { "we had " (format::money(ours)) })))
            }
        }
        p."muted small" { "Asked for " (cx.here().at(one.created_at)) ", last went on " (cx.here().at(one.updated_at)) "." }
    }
}

fn differences(
    cx: &Cx,
    one: &ReconciliationView,
    path: &str,
    kind: &str,
    is_first: bool,
    found: &[ReconciliationDifference],
) -> Markup {
    let most = usize::try_from(DIFFERENCES).unwrap_or(usize::MAX);
    let (shown, next) = if found.len() > most {
        (&found[..most], found.get(most - 1).map(|last| last.record.as_str()))
    } else {
        (found, None)
    };
    let choices = KINDS.iter().map(|(word, _, text)| ((*word).to_owned(), (*text).to_owned())).collect();
    let value = |micros: Option<i64>, currency: Option<&String>, units: Option<i64>| match (micros, currency, units) {
        (None, ..) => "–".to_owned(),
        (Some(micros), Some(currency), Some(units)) => format!("{} {currency} for {units}", format::amount(micros)),
        (Some(micros), Some(currency), None) => format!("{} {currency}", format::amount(micros)),
        (Some(count), None, _) => format::number(count),
    };
    let row = |difference: &ReconciliationDifference| Row {
        href: difference.message_id.map(|id| format!("/console/messages/{id}")),
        cells: vec![
            cell(html! { code.break { (difference.record) } }),
            cell(kind_of(&difference.kind)),
            figure(&value(difference.ours, difference.currency.as_ref(), difference.segments_ours)),
            figure(&value(difference.theirs, difference.currency.as_ref(), difference.segments_theirs)),
            cell(html! { @match difference.at { Some(at) => (cx.here().at(at)), None => span.muted { "–" } } }),
        ],
    };
    let columns = &["Record", "What", "Ours", "The provider's", "Sent"];
    html! {
        section.card aria-label="Differences" {
            header { h2 { "Differences" } }
            (table::filters(path, "differences", &[Filter::Choice { name: "kind", label: "Any difference", value: kind, choices }]))
            div #differences {
                @if !shown.is_empty() {
                    (table::table(Table { caption: "What differs, in the order of the provider's ids", columns, rows: shown.iter().map(row).collect() }))
                    (table::pager(&Pages { path, query: &[("kind", kind.to_owned())], is_first, next, shown: shown.len() }))
                } @else if !kind.is_empty() || !is_first {
                    (parts::empty("search", "No difference of this kind", "Choose another kind, or all.", Some(link_button(path, "", None, "All differences"))))
                } @else if one.state == "done" {
                    (parts::empty("check", "Nothing differs", "Both sides have the same messages at the same prices.", None))
                } @else if one.state == "failed" {
                    (parts::empty("alert", "Nothing was found", "The comparison ended before it found a difference.", None))
                } @else { p."muted padded" { "Found so far: nothing." } }
            }
        }
    }
}

fn kind_of(kind: &str) -> Markup {
    match KINDS.iter().find(|(word, ..)| *word == kind) {
        Some((_, Difference::Price, words)) => parts::badge(Tone::Info, words),
        Some((.., words)) => parts::badge(Tone::Warn, words),
        None => parts::badge(Tone::Plain, &format::words(kind)),
    }
}

/// Hands out what differs as a table for spreadsheets.
pub(crate) async fn export(cx: Cx, Path(id): Path<String>) -> Result<axum::response::Response, Fault> {
    cx.tenant()?;
    let id: ReconciliationId = pages::id(&id)?;
    let csv = reconciliations::differences_csv(cx.engine().parts(), &cx.caller, id).await?;
    let mut response = axum::response::Response::new(csv.into());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/csv; charset=utf-8"));
    let name = format!("attachment; filename=\"differences-{id}.csv\"");
    headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_str(&name).map_err(Error::internal)?);
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accuracy_is_never_written_better_than_it_is() {
        assert_eq!(
            [accuracy(1_000_000), accuracy(999_999), accuracy(999_000), accuracy(998_949), accuracy(0)],
            ["100 %", "99.99 %", "99.90 %", "99.89 %", "0 %"]
        );
    }

    #[test]
    fn a_month_ends_with_itself_or_now() {
        let now: Timestamp = "2026-11-29T12:00:00Z".parse().unwrap();
        let check = |text: &str| month_of(text, now).map(|(from, to)| (from.to_string(), to.to_string()));
        let whole = |from: &str, to: &str| Some((format!("{from}.000000Z"), format!("{to}.000000Z")));
        assert_eq!(check("2025-12"), whole("2025-12-01T00:00:00", "2026-01-01T00:00:00"));
        assert_eq!(check("2026-11"), whole("2026-11-01T00:00:00", "2026-11-29T12:00:00"));
        assert_eq!([check("2026-13"), check("soon"), check("")], [None, None, None]);
        let months = months(now);
        assert_eq!((months.len(), months[0].1.as_str(), months[11].0.as_str()), (13, "November 2026", "2025-12"));
    }
}
