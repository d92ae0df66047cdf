//! Asks Mailgun's event log what became of an attempt: by the recipient and the time, and among those by our echo or the id.
//! <https://documentation.mailgun.com/docs/mailgun/user-manual/events/events>

use model::{Address, Answer, Call, Fact, Method, Timestamp};
use serde_json::Value;
use url::form_urlencoded;

use super::{Settings, call, events};
use crate::{Asked, Cx, Polled, Report, email};

/// Most events on a page.
const LIMIT: usize = 300;
/// How far Mailgun's clock and ours may be apart, in seconds.
const SKEW_S: i64 = 60;
/// Events reach the log late, by up to half an hour as Mailgun says. After twice that, an attempt that is not in it was never taken; in milliseconds.
const COMPLETE_AFTER_MS: i64 = 3_600_000;
/// The least time Mailgun keeps events, in milliseconds: a day on the smallest plan.
const KEPT_MS: i64 = 86_400_000;

pub(super) fn ask(cx: &Cx<'_>, asked: &Asked<'_>) -> Option<Call> {
    let settings = Settings::read(cx.settings).ok()?;
    let Address::Email(to) = asked.to else { return None };
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("begin", &(asked.sent_at.as_seconds() - SKEW_S).to_string());
    query.append_pair("ascending", "yes");
    query.append_pair("limit", &LIMIT.to_string());
    query.append_pair("recipient", to.as_str());
    if let Some(id) = message_id(asked) {
        query.append_pair("message-id", id);
    }
    let path = format!("/v3/{}/events?{}", settings.domain, query.finish());
    Some(Call::Http(call(cx, &settings, Method::Get, &path)))
}

/// Mailgun's id: those of a batch have the recipient after it.
fn message_id<'a>(asked: &Asked<'a>) -> Option<&'a str> {
    asked.provider_message_id?.split('/').next()
}

pub(super) fn read(cx: &Cx<'_>, asked: &Asked<'_>, answer: &Answer) -> Polled {
    let Ok(http) = email::http(answer) else { return Polled::Undecided };
    let body = if http.status == 200 { email::json(http) } else { Value::Null };
    let Some(items) = body.get("items").and_then(Value::as_array) else { return Polled::Undecided };
    let ours: Vec<Report> = items.iter().filter_map(events::read).filter(|report| is_ours(report, asked)).collect();
    let id = asked.provider_message_id.map(str::to_owned);
    match id.or_else(|| ours.iter().find_map(|report| report.provider_message_id.clone())) {
        Some(provider_message_id) if !ours.is_empty() => Polled::Known { provider_message_id, facts: facts(ours) },
        None if items.len() < LIMIT && is_complete(cx, asked) => Polled::NotTaken,
        _ => Polled::Undecided,
    }
}

/// The echo tells attempts apart; an event without it is ours when it has the id.
fn is_ours(report: &Report, asked: &Asked<'_>) -> bool {
    match report.attempt_id {
        Some(attempt) => attempt == asked.attempt_id,
        None => report.provider_message_id.as_deref() == message_id(asked),
    }
}

/// Any event shows that the mail was taken.
fn facts(reports: Vec<Report>) -> Vec<(Fact, Option<Timestamp>)> {
    let mut facts: Vec<_> = reports.into_iter().map(|report| (report.fact, report.at)).collect();
    if !facts.iter().any(|(fact, _)| *fact == Fact::Sent) {
        facts.insert(0, (Fact::Sent, None));
    }
    facts
}

fn is_complete(cx: &Cx<'_>, asked: &Asked<'_>) -> bool {
    (COMPLETE_AFTER_MS..KEPT_MS).contains(&cx.now.millis_since(asked.sent_at))
}
