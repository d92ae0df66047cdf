//! What refusals and states of the three APIs mean.
//!
//! Of the classic codes 2, 9, 10, 20 and 25 stand in the vendor's libraries; 98 and 99 are from memory. Bird's codes are known by their thousands only, so
//! they decide between the message's fault and the network's and never pause an account.
//! <https://developers.messagebird.com/api/#api-errors>

use model::{Fact, Failure, FailureKind, HttpAnswer, Timestamp};
use serde_json::Value;

use crate::read;

use FailureKind::{Account, Content, OptedOut, Recipient, Throttled, Unavailable, Unknown};

/// Code of a report: the recipient has answered STOP.
const STOPPED: u64 = 103;

/// Why a classic API refused a request: by the first code of its `errors`, or by the HTTP status.
pub(super) fn classic(http: &HttpAnswer, now: Timestamp) -> Failure {
    let body = read::json(http);
    let error = &body["errors"][0];
    let code = number(&error["code"]);
    let words = ["/description", "/message"].iter().find_map(|name| read::text(error, name));
    let parameter = read::text(error, "/parameter").unwrap_or_default();
    let (kind, says) = match (http.status, code) {
        (429, _) => (Throttled, "Too many requests for this MessageBird account."),
        (_, Some(2)) => (Account, "MessageBird rejected the access key, or it may not do this. Update the account."),
        (_, Some(9 | 10)) => parameter_of(parameter),
        (_, Some(20)) => (Account, "MessageBird does not find this. Check the channel, and the connector's base URL."),
        (_, Some(25)) => (Account, "The MessageBird account has no credit left. Top it up."),
        (_, Some(98 | 99)) => (Unavailable, "MessageBird failed inside and took nothing."),
        (status, code) => by_status(status, code.is_some()),
    };
    failed(http, now, kind, code.map(|code| code.to_string()), says, words)
}

fn parameter_of(name: &str) -> (FailureKind, &'static str) {
    match name {
        "recipient" | "recipients" | "to" => (Recipient, "The recipient's number is not valid."),
        "originator" | "from" => (Account, "MessageBird refused the sender. Update the account's sender or channel."),
        _ => (Content, "MessageBird refused the message."),
    }
}

/// Why Bird refused a request: its codes are words that are not published, so the status decides.
pub(super) fn bird(http: &HttpAnswer, now: Timestamp) -> Failure {
    let body = read::json(http);
    let code = read::text(&body, "/code");
    let (kind, says) = by_status(http.status, code.is_some());
    failed(http, now, kind, code.map(str::to_owned), says, read::text(&body, "/message"))
}

fn failed(
    http: &HttpAnswer,
    now: Timestamp,
    kind: FailureKind,
    code: Option<String>,
    says: &str,
    words: Option<&str>,
) -> Failure {
    let wait_ms = http.retry_after_ms(now).filter(|_| kind == Throttled);
    let failure = Failure::new(kind, code.unwrap_or_else(|| format!("http_{}", http.status)), says);
    let failure = match words {
        Some(words) => failure.with_provider_detail(words),
        None => failure.with_provider_detail(http.text()),
    };
    failure.with_retry_after_ms(wait_ms)
}

/// A server error is a refusal only in the provider's own words; without them it may come from in between.
fn by_status(status: u16, is_own: bool) -> (FailureKind, &'static str) {
    match status {
        401 | 403 => (Account, "MessageBird rejected the access key, or it may not do this. Update the account."),
        402 => (Account, "The account has no credit left. Top it up."),
        404 => (Account, "MessageBird does not find this. Check workspace, channel and product of the account."),
        408 => (Unknown, "MessageBird gave up waiting and did not say whether it took the message."),
        429 => (Throttled, "Too many requests for this account."),
        400..=499 => (Content, "MessageBird refused the message."),
        500..=599 if is_own => (Unavailable, "MessageBird failed inside and took nothing."),
        _ => (Unknown, "MessageBird did not say whether it took the message."),
    }
}

/// What a status of classic SMS says. The reason is free text: shown, and read only where it names the number.
/// <https://developers.messagebird.com/api/sms-messaging/#handle-a-status-report>
pub(super) fn sms_status(status: &str, code: Option<u64>, reason: &str) -> Option<Fact> {
    let failed = |kind, says: &str| {
        let code = code.map_or(status.to_owned(), |code| code.to_string());
        Some(Fact::Failed { failure: Failure::new(kind, code, says).with_provider_detail(reason) })
    };
    let words = reason.to_lowercase();
    match status {
        "scheduled" | "sent" | "buffered" => Some(Fact::Sent),
        "delivered" => Some(Fact::Delivered),
        "expired" => failed(Unavailable, "The message's time ran out before the phone could be reached."),
        "delivery_failed" if code == Some(STOPPED) => failed(OptedOut, "The recipient has answered STOP."),
        "delivery_failed" if ["unknown", "incorrect"].iter().any(|word| words.contains(word)) => {
            failed(Recipient, "The recipient's number is unknown or not valid.")
        }
        "delivery_failed" => failed(Unavailable, "The carrier did not deliver the message."),
        _ => None,
    }
}

/// What a message of Bird's says of itself.
pub(super) fn bird_status(message: &Value) -> Option<Fact> {
    let status = read::text(message, "/status")?;
    match status {
        "accepted" | "processing" | "scheduled" | "sent" => Some(Fact::Sent),
        "delivered" => Some(Fact::Delivered),
        "read" => Some(Fact::Read),
        "sending_failed" | "delivery_failed" | "rejected" | "skipped" => {
            Some(Fact::Failed { failure: bird_failure(message, status) })
        }
        _ => None,
    }
}

fn bird_failure(message: &Value, status: &str) -> Failure {
    let code = number(&message["failure"]["code"]);
    let (kind, says) = match (code.map(|code| code / 1000), status) {
        (Some(11), _) => (Content, "Bird refused the message."),
        (Some(14), _) => (Content, "A setting at Bird keeps this message from being sent. See Bird's words for which."),
        (Some(12 | 15), _) => (Unavailable, "Bird or the carrier failed."),
        (_, "rejected" | "skipped") => (Content, "Bird decided not to send the message."),
        _ => (Unavailable, "The message was not delivered."),
    };
    let source = ["/failure/source/name", "/reason"].iter().find_map(|name| read::text(message, name));
    Failure::new(kind, code.map_or(status.to_owned(), |code| code.to_string()), says)
        .with_provider_detail(source.unwrap_or_default())
}

/// Codes and counts are numbers, or texts in queries and some answers.
pub(super) fn number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn answer(status: u16, body: Value) -> HttpAnswer {
        HttpAnswer { status, body: body.to_string().into(), ..HttpAnswer::default() }
    }

    #[test]
    fn every_code_of_the_classic_apis() {
        for (status, code, parameter, wanted) in [
            (401, 2, "access_key", Account),
            (422, 9, "recipients", Recipient),
            (422, 9, "body", Content),
            (422, 10, "recipient", Recipient),
            (422, 10, "to", Recipient),
            (422, 10, "originator", Account),
            (422, 10, "from", Account),
            (422, 10, "type", Content),
            (404, 20, "", Account),
            (402, 25, "", Account),
            (422, 25, "", Account),
            (500, 98, "", Unavailable),
            (500, 99, "", Unavailable),
            (503, 1, "", Unavailable),
            (422, 21, "", Content),
            (429, 9, "", Throttled),
        ] {
            let body = json!({ "errors": [{ "code": code, "description": "no", "parameter": parameter }] });
            let failure = classic(&answer(status, body), Timestamp::EPOCH);
            assert_eq!(failure.kind, wanted, "{status} {code} {parameter}");
            assert_eq!((failure.code, failure.provider_detail.as_deref()), (code.to_string(), Some("no")));
        }
        let voice = json!({ "errors": [{ "code": 2, "message": "no" }] });
        assert_eq!(classic(&answer(401, voice), Timestamp::EPOCH).provider_detail.as_deref(), Some("no"));
    }

    #[test]
    fn statuses_alone() {
        for (status, plain, own) in [
            (400, Content, Content),
            (401, Account, Account),
            (402, Account, Account),
            (403, Account, Account),
            (404, Account, Account),
            (408, Unknown, Unknown),
            (422, Content, Content),
            (429, Throttled, Throttled),
            (500, Unknown, Unavailable),
            (503, Unknown, Unavailable),
            (302, Unknown, Unknown),
        ] {
            assert_eq!(classic(&answer(status, json!({})), Timestamp::EPOCH).kind, plain, "{status}");
            assert_eq!(bird(&answer(status, json!({})), Timestamp::EPOCH).kind, plain, "{status}");
            let body = json!({ "code": "Code", "message": "no" });
            assert_eq!(bird(&answer(status, body), Timestamp::EPOCH).kind, own, "{status}");
        }
    }

    fn word(fact: Option<Fact>) -> &'static str {
        match fact {
            Some(Fact::Failed { failure }) => failure.kind.as_str(),
            Some(fact) => fact.as_str(),
            None => "nothing",
        }
    }

    #[test]
    fn every_status_of_classic_sms() {
        for (status, code, reason, wanted) in [
            ("scheduled", None, "", "sent"),
            ("sent", None, "", "sent"),
            ("buffered", None, "", "sent"),
            ("delivered", None, "successfully delivered", "delivered"),
            ("expired", None, "", "unavailable"),
            ("delivery_failed", None, "", "unavailable"),
            ("delivery_failed", Some(103), "", "opted_out"),
            ("delivery_failed", Some(1), "unknown subscriber", "recipient"),
            ("delivery_failed", None, "Incorrect number", "recipient"),
            ("delivery_failed", Some(5), "carrier rejected", "unavailable"),
            ("pondering", None, "", "nothing"),
        ] {
            assert_eq!(word(sms_status(status, code, reason)), wanted, "{status} {code:?} {reason}");
        }
    }

    #[test]
    fn every_status_of_bird() {
        let status =
            |status: &str, code: u64| word(bird_status(&json!({ "status": status, "failure": { "code": code } })));
        for (given, code, wanted) in [
            ("accepted", 0, "sent"),
            ("processing", 0, "sent"),
            ("scheduled", 0, "sent"),
            ("sent", 0, "sent"),
            ("delivered", 0, "delivered"),
            ("read", 0, "read"),
            ("sending_failed", 11_001, "content"),
            ("sending_failed", 12_001, "unavailable"),
            ("delivery_failed", 14_001, "content"),
            ("delivery_failed", 15_001, "unavailable"),
            ("delivery_failed", 0, "unavailable"),
            ("rejected", 0, "content"),
            ("skipped", 0, "content"),
            ("deleted", 0, "nothing"),
        ] {
            assert_eq!(status(given, code), wanted, "{given} {code}");
        }
        assert_eq!(bird_status(&json!({})), None);
    }
}
