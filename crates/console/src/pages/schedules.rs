//! Messages that repeat: made in the composer by saying how often, listed here with what comes next, and ended.

use axum::extract::Path;
use engine::{
    Error, FieldError,
    once::{IdempotencyKey, Repeat, Reply, fingerprint},
    schedules::{
        self, CancelSchedule, CatchUp, NewSchedule, OccurrenceState, OccurrenceView, ScheduleState, ScheduleView,
    },
};
use jiff::{civil::Weekday, tz::TimeZone};
use maud::{Markup, html};
use model::{ScheduleId, Timestamp};
use serde::Deserialize;
use serde_json::Value;

use super::messages;
use crate::{
    cx::{Answer, Cx, Posted, Query},
    form::{self, Faults, Form},
    format, pages,
    parts::{
        self, Control, Dialog, Field, Tone, icon, link_button,
        table::{self, Pages, Row, Table, cell},
    },
    shell::{self, Section},
};

pub(super) const PATH: &str = "/console/schedules";
/// Occurrences to come that are shown.
const AHEAD: u32 = 10;
/// The fields the composer has for this.
pub(super) const NAMES: [&str; 3] = ["repeat", "schedule_name", "ends_at"];
/// How often, in the composer's words.
const REPEATS: [(&str, &str); 5] = [
    ("", "Once"),
    ("daily", "Every day"),
    ("weekdays", "Monday to Friday"),
    ("weekly", "Every week, on the same day"),
    ("monthly", "Every month, on the same day"),
];

/// Fields of the composer that make its message repeat.
pub(super) fn fields(form: &Form, faults: &Faults) -> Markup {
    let choices = REPEATS.map(|(word, text)| (word, text.to_owned())).to_vec();
    html! {
        (Field::text("repeat", "How often").plain().with(Control::Choice(choices)).help("From the time above on, or from now. A month without that day is left out.").draw(form, faults))
        div.fields-2 data-when="repeat=daily|weekdays|weekly|monthly" {
            (Field::text("schedule_name", "What it is for").plain().example("Weekly report").draw(form, faults))
            (Field::text("ends_at", "Until").with(Control::When).help("Empty goes on until somebody ends it.").draw(form, faults))
        }
    }
}

/// The two letters a rule has for a day.
const fn letters(day: Weekday) -> &'static str {
    match day {
        Weekday::Monday => "MO",
        Weekday::Tuesday => "TU",
        Weekday::Wednesday => "WE",
        Weekday::Thursday => "TH",
        Weekday::Friday => "FR",
        Weekday::Saturday => "SA",
        Weekday::Sunday => "SU",
    }
}

/// The rule for what was chosen, from its first time on.
fn rule(repeat: &str, first: Timestamp, zone: &TimeZone) -> Option<String> {
    let first = first.jiff().to_zoned(zone.clone());
    Some(match repeat {
        "daily" => "FREQ=DAILY".to_owned(),
        "weekdays" => "FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR".to_owned(),
        "weekly" => format!("FREQ=WEEKLY;BYDAY={}", letters(first.weekday())),
        "monthly" => format!("FREQ=MONTHLY;BYMONTHDAY={}", first.day()),
        _ => return None,
    })
}

/// How often, in words, where it is one of those the composer makes.
fn in_words(schedule: &ScheduleView) -> Markup {
    let Some(rule) = &schedule.rrule else {
        return html! { code.break { (schedule.cron.as_deref().unwrap_or("–")) } };
    };
    let (freq, rest) = rule.split_once(';').unwrap_or((rule, ""));
    match (freq, rest) {
        ("FREQ=DAILY", "") => html! { "Every day" },
        ("FREQ=WEEKLY", "BYDAY=MO,TU,WE,TH,FR") => html! { "Monday to Friday" },
        ("FREQ=WEEKLY", day) if day.len() == "BYDAY=MO".len() => html! { "Every week" },
        ("FREQ=MONTHLY", day) if day.starts_with("BYMONTHDAY=") && !day.contains([';', ',']) => {
            html! { "Every month, on day " (day.trim_start_matches("BYMONTHDAY=")) }
        }
        _ => html! { code.break { (rule) } },
    }
}

/// Makes the composer's message repeat. What is wrong is told by the composer's own fields.
pub(super) async fn make(cx: &Cx, form: &Form, mut message: Value) -> Result<Reply, Error> {
    let (now, zone) = (cx.here().now, cx.here().zone.clone());
    let when = |name: &str| match form.filled(name) {
        None => Ok(None),
        Some(text) => cx
            .here()
            .read_local(text)
            .map(Some)
            .ok_or_else(|| Error::invalid(format!("/{name}"), "choose a day and a time")),
    };
    let (starts_at, ends_at) = (when("send_at")?, when("ends_at")?);
    let rrule = rule(form.text("repeat"), starts_at.unwrap_or(now), &zone)
        .ok_or_else(|| Error::invalid("/repeat", "choose how often"))?;
    if let Some(message) = message.as_object_mut() {
        for name in ["send_at", "dry_run"] {
            message.remove(name);
        }
    }
    let said = message.to_string();
    let new = NewSchedule {
        name: form.text("schedule_name").to_owned(),
        message: serde_json::value::to_raw_value(&message).map_err(Error::internal)?,
        rrule: Some(rrule.clone()),
        cron: None,
        timezone: zone.iana_name().map(str::to_owned),
        starts_at,
        ends_at,
        skip: Vec::new(),
        catch_up: CatchUp::default(),
    };
    let once = Repeat {
        key: IdempotencyKey::parse(&format!("console-repeat-{}", form.text("key"))).ok(),
        fingerprint: fingerprint(
            "POST",
            PATH,
            format!("{said}\n{rrule}\n{}\n{}", new.name, form.text("ends_at")).as_bytes(),
        ),
    };
    schedules::create(cx.engine(), &cx.caller, &once, new).await.map_err(by_field)
}

/// An error about a schedule by the composer's fields.
fn by_field(mut error: Error) -> Error {
    for fault in &mut error.errors {
        let FieldError { pointer, .. } = fault;
        *pointer = match pointer.as_str() {
            "/name" => "/schedule_name".to_owned(),
            "/starts_at" => "/send_at".to_owned(),
            "/rrule" | "/cron" => "/repeat".to_owned(),
            other => other.strip_prefix("/message").unwrap_or(other).to_owned(),
        };
    }
    error
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Wanted {
    cursor: Option<String>,
}

fn state(schedule: &ScheduleView) -> Markup {
    match schedule.state {
        ScheduleState::Active => parts::badge(Tone::Good, "Goes on"),
        ScheduleState::Ended => parts::badge(Tone::Plain, "Over"),
        ScheduleState::Canceled => parts::badge(Tone::Plain, "Canceled"),
    }
}

/// Whom a schedule writes to, as far as one can see it.
fn recipient(message: &Value) -> String {
    let to = &message["to"];
    let known = ["email", "phone", "telegram_chat_id", "contact_id"].iter().find_map(|name| match &to[*name] {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    });
    known.unwrap_or_else(|| "–".to_owned())
}

fn message_of(schedule: &ScheduleView) -> Value {
    serde_json::from_str(schedule.message.get()).unwrap_or_default()
}

/// Lists what repeats.
pub(crate) async fn list(cx: Cx, Query(wanted): Query<Wanted>) -> Answer {
    cx.tenant()?;
    let page = schedules::list(cx.engine(), &cx.caller, None, wanted.cursor.as_deref()).await?;
    let row = |one: &ScheduleView| Row {
        href: Some(format!("{PATH}/{}", one.id)),
        cells: vec![
            cell(html! { span."strong wide-text" dir="auto" { (one.name) } }),
            cell(html! { span.break { (recipient(&message_of(one))) } }),
            cell(in_words(one)),
            cell(state(one)),
            cell(
                html! { @match one.next_at { Some(at) => { (cx.here().at(at)) div.sub { (cx.here().distance(at)) } }, None => span.muted { "–" } } },
            ),
            table::number(i64::try_from(one.fired).unwrap_or(i64::MAX)),
        ],
    };
    let may = cx.may("messages:write");
    let columns = &["Name", "To", "How often", "State", "Next", "So far"];
    let body = html! {
        section.card aria-label="Repeating messages" {
            @if page.data.is_empty() {
                (parts::empty("clock", "Nothing repeats", "Write a message and say under Options how often it goes out: a report each Monday, a reminder each month.", may.then(|| link_button("/console/compose", "primary", Some("pen"), "Compose"))))
            } @else {
                (table::table(Table { caption: "Repeating messages, newest first", columns, rows: page.data.iter().map(row).collect() }))
                (table::pager(&Pages { path: PATH, query: &[], is_first: wanted.cursor.is_none(), next: page.next_cursor.as_deref(), shown: page.data.len() }))
            }
        }
    };
    Ok(cx.page(shell::Page {
        lead: Some(html! { "Messages that go out again and again, each to one recipient." }),
        tabs: Some(messages::tabs(PATH)),
        ..shell::Page::new("Repeating messages", Section::Messages, body)
    }))
}

/// Shows one, with what comes and what came.
pub(crate) async fn show(cx: Cx, Path(id): Path<String>) -> Answer {
    cx.tenant()?;
    let id: ScheduleId = pages::id(&id)?;
    let one = schedules::get(cx.engine(), &cx.caller, id).await?;
    let found = schedules::occurrences(cx.engine(), &cx.caller, id, Some(AHEAD)).await?;
    let path = format!("{PATH}/{id}");
    let may = cx.may("messages:write");
    let is_active = one.state == ScheduleState::Active;
    let message = message_of(&one);
    let coming = |occurrence: &OccurrenceView| Row {
        href: None,
        cells: vec![
            cell(cx.here().at(occurrence.at)),
            cell(html! { span.muted { (cx.here().distance(occurrence.at)) } }),
            cell(html! { @if may && is_active {
                form method="post" action={ (path) "/skip" } {
                    (form::token(cx.csrf()))
                    input type="hidden" name="at" value=(occurrence.at);
                    button."button small" type="submit" aria-label={ "Leave out " (cx.here().exact(occurrence.at)) } { "Leave out" }
                }
            } }),
        ],
    };
    let past = |occurrence: &OccurrenceView| {
        let (tone, word) = match occurrence.state {
            OccurrenceState::Sent => (Tone::Good, "Accepted"),
            OccurrenceState::Failed => (Tone::Bad, "Refused"),
            OccurrenceState::Missed => (Tone::Warn, "Missed"),
            OccurrenceState::Canceled => (Tone::Plain, "Left out"),
            OccurrenceState::Planned => (Tone::Info, "To come"),
        };
        Row {
            href: occurrence.message_id.map(|id| format!("/console/messages/{id}")),
            cells: vec![
                cell(cx.here().at(occurrence.at)),
                cell(parts::badge(tone, word)),
                cell(html! { @if let Some(detail) = &occurrence.detail { span.break dir="auto" { (detail) } } }),
            ],
        }
    };
    let text = serde_json::to_string_pretty(&message).unwrap_or_default();
    let body = html! {
        div."columns even" {
            (parts::card("About it", Some(state(&one)), parts::facts([
                ("To", html! { span.break { (recipient(&message)) } }),
                ("How often", in_words(&one)),
                ("On the clock of", html! { (one.timezone) }),
                ("From", cx.here().at(one.starts_at)),
                ("Until", html! { @match one.ends_at { Some(at) => (cx.here().at(at)), None => span.muted { "somebody ends it" } } }),
                ("So far", html! { (format::count(i64::try_from(one.fired).unwrap_or(i64::MAX), "message", "messages")) }),
                ("When nothing ran", html! { @match one.catch_up { CatchUp::Last => "the latest missed one is sent late", CatchUp::None => "missed ones are left out" } }),
            ])))
            (parts::card_flush("To come", None, if found.data.is_empty() { html! { p."muted padded" { "Nothing more comes." } } } else {
                table::table(Table { caption: "The next occurrences", columns: &["When", "In", ""], rows: found.data.iter().map(coming).collect() })
            }))
        }
        div #past hx-get=(path) hx-trigger="news from:body" hx-select="#past" hx-swap="outerHTML" {
            (parts::card_flush("What came of it", None, if found.past.is_empty() { html! { p."muted padded" { "Nothing has gone out yet." } } } else {
                table::table(Table { caption: "The latest occurrences, newest first", columns: &["When", "State", "Why"], rows: found.past.iter().map(past).collect() })
            }))
        }
        (parts::card("What it says", None, parts::code(&text)))
    };
    let dialog = |action: &str, title: &str, yes: &str, words: &str| {
        parts::dialog(&Dialog {
            id: action,
            title,
            action: &format!("{path}/{action}"),
            csrf: cx.csrf(),
            yes,
            is_dangerous: true,
            body: html! { p.muted { (words) } },
        })
    };
    let actions = html! {
        @if may {
            @if is_active {
                button.button type="button" data-opens="cancel" { "End it" }
                (dialog("cancel", "End it?", "End it", "Nothing more goes out. What went out stays."))
            }
            button."button danger" type="button" data-opens="delete" { (icon("trash")) "Delete" }
            (dialog("delete", "Delete it?", "Delete it", "It and the list of what came of it are gone. Messages that went out stay."))
        }
    };
    Ok(cx.page(shell::Page {
        above: &[(PATH, "Repeating messages")],
        actions: Some(actions),
        is_live: true,
        ..shell::Page::new(&one.name, Section::Messages, body)
    }))
}

/// Ends one, leaves an occurrence out, or deletes it.
pub(crate) async fn act(Path((id, action)): Path<(String, String)>, Posted { cx, form }: Posted) -> Answer {
    cx.tenant()?;
    cx.caller.need("messages:write")?;
    let id: ScheduleId = pages::id(&id)?;
    let path = format!("{PATH}/{id}");
    let cancel = async |occurrence: Option<Timestamp>| {
        schedules::cancel(cx.engine(), &cx.caller, &Repeat::NONE, id, CancelSchedule { occurrence }).await.map(drop)
    };
    let (done, to, said) = match action.as_str() {
        "cancel" => (cancel(None).await, path.as_str(), "It is over."),
        "skip" => match form.text("at").parse::<Timestamp>() {
            Ok(at) => (cancel(Some(at)).await, path.as_str(), "It is left out."),
            Err(_) => return Err(pages::no_page().into()),
        },
        "delete" => (schedules::delete(cx.engine(), &cx.caller, id).await, PATH, "It was deleted."),
        _ => return Err(pages::no_page().into()),
    };
    match done {
        Ok(()) => Ok(cx.done(to, said)),
        Err(error) if matches!(error.kind.status(), 409 | 422) => {
            let lines: Vec<String> = Faults::of(&error).rest::<&str>(&[]).collect();
            Ok(cx.refused(&path, &lines.join("; ")))
        }
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_says_the_day_of_its_first_time_on_the_writers_clock() {
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        // Sunday evening in UTC is Monday in Berlin.
        let first: Timestamp = "2026-11-29T23:30:00Z".parse().unwrap();
        let check = |repeat: &str, expected: Option<&str>| assert_eq!(rule(repeat, first, &zone).as_deref(), expected);
        check("daily", Some("FREQ=DAILY"));
        check("weekly", Some("FREQ=WEEKLY;BYDAY=MO"));
        check("monthly", Some("FREQ=MONTHLY;BYMONTHDAY=30"));
        check("weekdays", Some("FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR"));
        check("", None);
        check("sometimes", None);
    }

    #[test]
    fn an_error_finds_the_composers_field() {
        let fields =
            ["/name", "/starts_at", "/rrule", "/message/to/email", "/ends_at"].map(|at| FieldError::new(at, "x"));
        let error = by_field(Error::invalid_fields(fields.to_vec()));
        let pointers: Vec<&str> = error.errors.iter().map(|fault| fault.pointer.as_str()).collect();
        assert_eq!(pointers, ["/schedule_name", "/send_at", "/repeat", "/to/email", "/ends_at"]);
    }
}
