//! Reads Twilio's message resource: the answer to a send, and its status words wherever they appear.

use model::{Answer, Fact, Failure, FailureKind, HttpAnswer, Money, Timestamp};
use serde_json::Value;

use super::errors;
use crate::{Acceptance, Outcome, decimal::micros};

/// How an attempt ended.
pub(super) fn outcome(answer: &Answer, now: Timestamp) -> Outcome {
    let Answer::Http(http) = answer else {
        return Outcome::Refused(unreadable("no HTTP answer"));
    };
    match http.status {
        200..=299 => taken(http),
        _ => Outcome::Refused(refusal(http, now)),
    }
}

/// Reads a 2xx: the message exists, unless the answer is not Twilio's.
fn taken(http: &HttpAnswer) -> Outcome {
    let Some(message) = json(http) else {
        return Outcome::Refused(unreadable(&http.text()));
    };
    let Some(sid) = text(&message, "sid") else {
        return Outcome::Refused(unreadable(&http.text()));
    };
    // Twilio may take a message and fail it in the same breath.
    if let Some(Fact::Failed { failure }) = status_fact(&message) {
        return Outcome::Refused(failure);
    }
    Outcome::Accepted(Acceptance { segments: segments(&message), price: price(&message), ..Acceptance::with_id(sid) })
}

/// Reads a refusal: no message exists, except where the failure says `unknown`.
pub(super) fn refusal(http: &HttpAnswer, now: Timestamp) -> Failure {
    let error = json(http).unwrap_or_default();
    let code = number(&error["code"]);
    let words = match text(&error, "message") {
        Some(words) => words.to_owned(),
        None => http.text().into_owned(),
    };
    let mut failure = errors::refused(http.status, code, &words);
    if failure.kind == FailureKind::Throttled {
        failure.retry_after_ms = http.retry_after_ms(now).or(failure.retry_after_ms);
    }
    failure
}

/// A success that is not Twilio's: nobody can say whether it took the message.
pub(super) fn unreadable(words: &str) -> Failure {
    Failure::new(
        FailureKind::Unknown,
        "malformed_answer",
        "Twilio answered with success but without a SID, so nobody can say whether it took the message.",
    )
    .with_provider_detail(words)
}

/// The body as a JSON object; `None` when it is anything else, or was cut at our limit.
pub(super) fn json(http: &HttpAnswer) -> Option<Value> {
    serde_json::from_slice(&http.body).ok().filter(Value::is_object)
}

/// A text that is not empty.
pub(super) fn text<'a>(object: &'a Value, name: &str) -> Option<&'a str> {
    object[name].as_str().filter(|text| !text.is_empty())
}

/// Error codes are numbers in resources and texts in some older answers.
fn number(value: &Value) -> Option<u32> {
    match value {
        Value::Number(number) => number.as_u64().and_then(|number| u32::try_from(number).ok()),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

/// What a message resource says became of the message.
pub(super) fn status_fact(message: &Value) -> Option<Fact> {
    let words = text(message, "error_message").unwrap_or_default();
    fact(text(message, "status")?, number(&message["error_code"]), words)
}

/// What a status word says; `None` for words of incoming messages and new ones. An error code beside any other word than a failed one is a
/// warning and is left out. <https://www.twilio.com/docs/messaging/api/message-resource#message-status-values>
pub(super) fn fact(status: &str, error_code: Option<u32>, words: &str) -> Option<Fact> {
    match status {
        // Twilio has it; whether it waits in Twilio's queue or the carrier's makes no difference to us.
        "accepted" | "scheduled" | "queued" | "sending" | "sent" | "partially_delivered" => Some(Fact::Sent),
        "delivered" => Some(Fact::Delivered),
        "read" => Some(Fact::Read),
        "canceled" => Some(Fact::Canceled),
        "failed" | "undelivered" => Some(Fact::Failed { failure: failed(status, error_code, words) }),
        _ => None,
    }
}

fn failed(status: &str, error_code: Option<u32>, words: &str) -> Failure {
    match error_code {
        Some(code) if code > 0 => errors::reported(code, words),
        _ => Failure::new(FailureKind::Unavailable, status, "Twilio did not deliver the message and gave no reason.")
            .with_provider_detail(words),
    }
}

/// Parts, which a messaging service does not know before it has chosen a sender: it says 0 then.
pub(super) fn segments(message: &Value) -> Option<u32> {
    number(&message["num_segments"]).filter(|count| *count > 0)
}

/// The price, which Twilio writes as what it takes from the balance: `-0.00750`.
pub(super) fn price(message: &Value) -> Option<Money> {
    let currency = text(message, "price_unit")?.to_ascii_uppercase();
    let amount_micros = micros(text(message, "price")?)?;
    Some(Money { amount_micros, currency })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_words() {
        let word = |status| fact(status, None, "").map(|fact| fact.as_str());
        for status in ["accepted", "scheduled", "queued", "sending", "sent", "partially_delivered"] {
            assert_eq!(word(status), Some("sent"));
        }
        assert_eq!(word("delivered"), Some("delivered"));
        assert_eq!(word("read"), Some("read"));
        assert_eq!(word("canceled"), Some("canceled"));
        assert_eq!(word("undelivered"), Some("failed"));
        for status in ["received", "receiving", "teleported"] {
            assert_eq!(word(status), None);
        }
    }

    #[test]
    fn a_warning_beside_a_good_status_changes_nothing() {
        assert_eq!(fact("sent", Some(30025), ""), Some(Fact::Sent));
        let Some(Fact::Failed { failure }) = fact("failed", Some(30005), "Unknown destination") else { panic!() };
        assert_eq!((failure.kind, failure.code.as_str()), (FailureKind::Recipient, "30005"));
        let Some(Fact::Failed { failure }) = fact("undelivered", None, "") else { panic!() };
        assert_eq!((failure.kind, failure.code.as_str()), (FailureKind::Unavailable, "undelivered"));
    }
}
