//! Asks Vonage's Reports API what became of a message: by its id, or, when its answer was lost, by our reference among those of that minute. Vonage takes money for each question, so only
//! accounts that are set so ask. Calls are asked about at the Voice API ([`super::voice`]).
//! <https://developer.vonage.com/en/api/reports>
//!
//! Records come some minutes after the message and nobody says when they are complete, so a message that is not found is `undecided`, never "not taken".

use model::{Answer, Call, Fact, HttpCall, Method, Timestamp};
use serde_json::{Value, json};
use url::form_urlencoded;

use super::{API_HOST, Api, Settings, errors, is_id};
use crate::{Asked, Cx, Polled, read};

/// How far Vonage's clock and ours may be apart, in milliseconds.
const SKEW_MS: i64 = 60_000;
/// How long a request may have been on its way, in milliseconds.
const TRAVEL_MS: i64 = 30_000;
/// Largest answer, in bytes: some thousand records, which one key cannot send in the two minutes that are asked about.
const ANSWER_MAX: usize = 4 << 20;

/// The request that asks about an attempt; `None` for calls, and where the account does not ask.
pub(super) fn ask(cx: &Cx<'_>, settings: &Settings, asked: &Asked<'_>) -> Option<Call> {
    let product = match Api::of(asked.content, settings) {
        Api::Messages => "MESSAGES",
        Api::Sms => "SMS",
        Api::Voice => return None,
    };
    if !settings.reports {
        return None;
    }
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("account_id", &settings.api_key).append_pair("product", product);
    query.append_pair("direction", "outbound");
    // An id and dates exclude one another.
    match asked.provider_message_id {
        Some(id) if is_id(id) => query.append_pair("id", id),
        Some(_) => return None,
        None => {
            let end = asked.sent_at.plus_millis(TRAVEL_MS + SKEW_MS);
            query.append_pair("date_start", &second(asked.sent_at.plus_millis(-SKEW_MS)));
            query.append_pair("date_end", &second(end))
        }
    };
    let url = format!("{}/v2/reports/records?{}", cx.base_or(API_HOST), query.finish());
    let mut call = HttpCall::new(Method::Get, url).basic_auth(&settings.api_key, &settings.api_secret);
    call.answer_max = ANSWER_MAX;
    Some(Call::Http(call))
}

fn second(at: Timestamp) -> String {
    at.jiff().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Reads the answer to [`ask`]. A long text is several messages to the SMS API; each has its record.
pub(super) fn read(asked: &Asked<'_>, answer: &Answer) -> Polled {
    let body = match answer {
        Answer::Http(http) if http.status == 200 && !http.is_truncated => read::json(http),
        _ => return Polled::Undecided,
    };
    let is_ours = |record: &&Value| match asked.provider_message_id {
        Some(id) => read::text(record, "/message_id") == Some(id),
        None => read::text(record, "/client_ref").is_some_and(|echo| echo == asked.attempt_id.to_string()),
    };
    let records = body.get("records").and_then(Value::as_array);
    let ours: Vec<&Value> = records.into_iter().flatten().filter(is_ours).collect();
    let id = ours.iter().find_map(|record| read::text(record, "/message_id"));
    let facts: Vec<_> = ours.iter().flat_map(|record| facts(record)).collect();
    match id {
        Some(id) if !facts.is_empty() => Polled::Known { provider_message_id: id.to_owned(), facts },
        _ => Polled::Undecided,
    }
}

/// That it was taken, and what came after.
fn facts(record: &Value) -> Vec<(Fact, Option<Timestamp>)> {
    let at = |name: &str| read::text(record, name).and_then(|at| at.parse().ok());
    let taken = (Fact::Sent, at("/date_received"));
    let status = read::text(record, "/status").unwrap_or_default().to_ascii_lowercase();
    let fact = match status.as_str() {
        "delivered" => Fact::Delivered,
        "read" => Fact::Read,
        "expired" | "failed" | "rejected" | "undeliverable" => Fact::Failed { failure: failure(record, &status) },
        // Among them `unknown`: the carrier will say nothing more, and the message stays sent.
        "accepted" | "buffered" | "deleted" | "submitted" | "unknown" => return vec![taken],
        _ => return Vec::new(),
    };
    vec![taken, (fact, at("/date_finalized"))]
}

/// The SMS API's codes have one or two digits, those of the Messages API four.
fn failure(record: &Value, status: &str) -> model::Failure {
    let code = record.get("error_code");
    let code = code.and_then(|code| code.as_u64().or_else(|| code.as_str()?.parse().ok()));
    match code {
        Some(code @ 1_000..) => errors::reported(&json!({"title": code.to_string()}), status),
        code => errors::receipt(code, status),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_of_a_record() {
        let word = |status: &str, code: &str| match facts(&json!({"status": status, "error_code": code})).pop() {
            Some((Fact::Failed { failure }, _)) => failure.kind.as_str(),
            Some((fact, _)) => fact.as_str(),
            None => "nothing",
        };
        for (status, code, wanted) in [
            ("accepted", "0", "sent"),
            ("buffered", "0", "sent"),
            ("submitted", "", "sent"),
            ("unknown", "", "sent"),
            ("deleted", "", "sent"),
            ("delivered", "0", "delivered"),
            ("DELIVERED", "0", "delivered"),
            ("read", "", "read"),
            ("expired", "2", "unavailable"),
            ("failed", "3", "recipient"),
            ("failed", "10", "content"),
            ("rejected", "1240", "opted_out"),
            ("undeliverable", "1300", "recipient"),
            ("failed", "", "unavailable"),
            ("teleported", "", "nothing"),
        ] {
            assert_eq!(word(status, code), wanted, "{status} {code}");
        }
    }
}
