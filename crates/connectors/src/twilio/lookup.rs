//! Asks Twilio what became of an attempt: by its SID, or, when its answer was lost, in the list of messages or calls to that recipient. Calls have no
//! text to be known by, so only the time tells them apart.
//!
//! The list cannot prove that Twilio never took an attempt: `DateSent` leaves out messages that still wait in Twilio's queue, bodies may be
//! redacted by the account's retention, and a late request may yet arrive. So a message that is not found is `undecided`, never "not
//! taken", and so are two that look alike. Whether the SID found belongs to another attempt of ours is for the caller to see.

use model::{Answer, Call, Channel, Fact, HttpAnswer, Method, Money, Timestamp};
use serde_json::Value;
use url::form_urlencoded;

use super::{Settings, answer, content, request, sender, to_address, voice};
use crate::{Asked, Cx, Polled};

/// Most messages read from the list: one recipient gets fewer in the day or two it covers, and a page of these stays under our answer limit.
const PAGE_MAX: usize = 100;
/// How far Twilio's clock and ours may be apart, in milliseconds.
const SKEW_MS: i64 = 60_000;
/// The request itself may take as long as its timeout before Twilio makes the message, in milliseconds.
const TRAVEL_MS: i64 = 30_000;
/// What Twilio puts before the text of a trial account's messages.
const TRIAL_PREFIX: &str = "Sent from your Twilio trial account - ";

/// The request that asks about an attempt; `None` when its SID was lost and its text is Twilio's (a content template).
pub(super) fn ask(cx: &Cx<'_>, asked: &Asked<'_>) -> Option<Call> {
    let settings = Settings::read(cx.settings).ok()?;
    let path = match asked.provider_message_id {
        Some(sid) if sid.bytes().all(|b| b.is_ascii_alphanumeric()) => format!("/{}/{sid}.json", resource(asked)),
        Some(_) => return None,
        None => list(cx, &settings, asked)?,
    };
    Some(Call::Http(request(cx, &settings, Method::Get, &path)))
}

fn resource(asked: &Asked<'_>) -> &'static str {
    if asked.channel == Channel::Voice { "Calls" } else { "Messages" }
}

/// `DateSent>` and `StartTime>` mean on or after that day, in GMT.
fn list(cx: &Cx<'_>, settings: &Settings, asked: &Asked<'_>) -> Option<String> {
    let is_call = asked.channel == Channel::Voice;
    if !is_call {
        content::body(asked.content)?;
    }
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("To", &to_address(asked)?);
    // A messaging service chooses the sender, so it is not known.
    if is_call || settings.messaging_service_sid.is_none() {
        query.append_pair("From", &sender(cx, asked.channel).ok()?);
    }
    let day = asked.sent_at.plus_millis(-SKEW_MS).to_string();
    query.append_pair(if is_call { "StartTime>" } else { "DateSent>" }, day.get(..10)?);
    query.append_pair("PageSize", &PAGE_MAX.to_string());
    Some(format!("/{}.json?{}", resource(asked), query.finish()))
}

/// Reads the answer to [`ask`].
pub(super) fn read(asked: &Asked<'_>, given: &Answer) -> Polled {
    let Answer::Http(http) = given else { return Polled::Undecided };
    match found(asked, http) {
        Some(found) => known(asked, &found).unwrap_or(Polled::Undecided),
        None => Polled::Undecided,
    }
}

/// What Twilio took for the attempt, which the answer to [`ask`] says once it knows.
pub(super) fn price(asked: &Asked<'_>, given: &Answer) -> Option<Money> {
    let Answer::Http(http) = given else { return None };
    answer::price(&found(asked, http)?)
}

fn found(asked: &Asked<'_>, http: &HttpAnswer) -> Option<Value> {
    if http.status != 200 {
        return None;
    }
    let body = answer::json(http)?;
    if asked.provider_message_id.is_some() {
        return Some(body);
    }
    let (list, expected) = match asked.channel {
        Channel::Voice => ("calls", None),
        _ => ("messages", Some(content::body(asked.content)?)),
    };
    let mut alike = body[list].as_array()?.iter().filter(|one| is_like(one, expected.as_deref(), asked.sent_at));
    match (alike.next(), alike.next()) {
        (Some(one), None) => Some(one.clone()),
        _ => None,
    }
}

fn is_like(message: &Value, expected: Option<&str>, sent_at: Timestamp) -> bool {
    let is_ours = answer::text(message, "direction").is_some_and(|direction| direction.starts_with("outbound"));
    let is_body = expected.is_none_or(|expected| {
        let body = message["body"].as_str();
        body.is_some_and(|body| body.strip_prefix(TRIAL_PREFIX).unwrap_or(body).trim_end() == expected.trim_end())
    });
    let is_in_time = date(message, "date_created").is_some_and(|at| {
        let late_ms = at.millis_since(sent_at);
        (-SKEW_MS..=TRAVEL_MS + SKEW_MS).contains(&late_ms)
    });
    is_ours && is_body && is_in_time
}

fn known(asked: &Asked<'_>, message: &Value) -> Option<Polled> {
    let sid = answer::text(message, "sid")?;
    let fact = match asked.channel {
        Channel::Voice => voice::status_fact(message)?,
        _ => answer::status_fact(message)?,
    };
    let taken = (Fact::Sent, date(message, "date_created"));
    let facts = match fact {
        Fact::Sent => vec![taken],
        other => vec![taken, (other, date(message, "date_updated"))],
    };
    Some(Polled::Known { provider_message_id: sid.to_owned(), facts })
}

/// Dates are RFC 2822, in GMT, to the second.
fn date(message: &Value, name: &str) -> Option<Timestamp> {
    jiff::fmt::rfc2822::parse(answer::text(message, name)?).ok().map(|at| at.timestamp().into())
}
