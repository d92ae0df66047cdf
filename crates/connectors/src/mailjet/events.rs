//! What Mailjet reports about a mail.
//! <https://dev.mailjet.com/email/guides/webhooks/#event-types>

use model::{Fact, Failure, FailureKind};
use serde_json::Value;

use super::number;
use crate::{Report, email};

use FailureKind::{Account, Content, OptedOut, Recipient, Unavailable};

/// Why a mail was returned or blocked: Mailjet's `error` or, where it names none, `error_related_to`; and what it means.
/// <https://dev.mailjet.com/email/guides/webhooks/#possible-values-for-errors>
const CAUSES: &[(&str, FailureKind)] = &[
    ("user unknown", Recipient),
    ("mailbox inactive", Recipient),
    ("quota exceeded", Unavailable),
    ("blacklisted", Recipient),
    ("spam reporter", OptedOut),
    ("invalid domain", Recipient),
    ("no mail host", Recipient),
    ("relay/access denied", Recipient),
    ("greylisted", Unavailable),
    ("typofix", Recipient),
    ("bad or empty template", Content),
    ("error in template language", Content),
    ("content blocked", Content),
    ("sender blocked", Account),
    ("policy issue", Account),
    ("preblocked", Recipient),
    ("duplicate in campaign", Content),
    ("system issue", Unavailable),
    ("protocol issue", Unavailable),
    ("connection issue", Unavailable),
    ("recipient", Recipient),
    ("domain", Recipient),
    ("content", Content),
    ("spam", Content),
    ("mailjet", Recipient),
];

/// Reads one event; `None` for one that changes nothing, or names neither a mail nor an attempt of ours.
pub(super) fn read(event: &Value) -> Option<Report> {
    let (status, fact) = seen(event)?;
    let id = event.get("MessageID").and_then(number);
    let attempt_id = email::text(event, "/CustomID").and_then(|id| id.parse().ok());
    if id.is_none() && attempt_id.is_none() {
        return None;
    }
    Some(Report {
        provider_message_id: id,
        attempt_id,
        at: email::seconds(&event["time"]),
        ..Report::new("", status, fact)
    })
}

fn seen(event: &Value) -> Option<(String, Fact)> {
    let kind = email::text(event, "/event")?;
    let fact = match kind {
        // The recipient's server took the mail.
        "sent" => Fact::Delivered,
        "open" => Fact::Opened,
        "click" => Fact::Clicked { url: email::text(event, "/url").map(str::to_owned) },
        "bounce" => {
            let hard = is_true(&event["hard_bounce"]);
            let fact = Fact::Bounced { hard, failure: bounced(event, hard) };
            return Some((format!("bounce {}", if hard { "hard" } else { "soft" }), fact));
        }
        "blocked" => Fact::Failed { failure: blocked(event) },
        "spam" => Fact::Complained,
        "unsub" => Fact::Unsubscribed,
        // Kinds to come say nothing yet.
        _ => return None,
    };
    Some((kind.to_owned(), fact))
}

/// Flags are booleans, and texts or numbers in older deliveries.
fn is_true(value: &Value) -> bool {
    match value {
        Value::Bool(flag) => *flag,
        Value::Number(number) => number.as_u64() == Some(1),
        Value::String(text) => matches!(text.as_str(), "1" | "true" | "True"),
        Value::Null | Value::Array(_) | Value::Object(_) => false,
    }
}

fn bounced(event: &Value, hard: bool) -> Failure {
    match hard {
        true => failure(event, Recipient, "The recipient's server returned the mail for good."),
        false => {
            // What returns for a while is not the address's fault, whatever the cause is called.
            let kind = match cause(event) {
                Some(Recipient) | None => Unavailable,
                Some(kind) => kind,
            };
            failure(event, kind, "The recipient's server returned the mail; Mailjet tries no longer.")
        }
    }
}

fn blocked(event: &Value) -> Failure {
    failure(event, cause(event).unwrap_or(Unavailable), "Mailjet did not send the mail on.")
}

fn failure(event: &Value, kind: FailureKind, detail: &str) -> Failure {
    let code = email::text(event, "/error").or_else(|| email::text(event, "/error_related_to")).unwrap_or("unknown");
    Failure::new(kind, code, detail).with_provider_detail(email::text(event, "/comment").unwrap_or_default())
}

fn cause(event: &Value) -> Option<FailureKind> {
    let named = |name: &str| email::text(event, name).and_then(cause_of);
    named("/error").or_else(|| named("/error_related_to"))
}

/// What a cause by Mailjet's name means.
pub(super) fn cause_of(name: &str) -> Option<FailureKind> {
    let name = name.to_lowercase();
    CAUSES.iter().find(|(cause, _)| *cause == name).map(|(_, kind)| *kind)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn word(mut event: Value) -> Option<String> {
        event["MessageID"] = json!(19_421_777_835_146_490_u64);
        let report = read(&event)?;
        assert_eq!(report.provider_message_id.as_deref(), Some("19421777835146490"));
        Some(match &report.fact {
            Fact::Bounced { hard, failure } => format!("bounced {hard} {}", failure.kind),
            Fact::Failed { failure } => format!("failed {}", failure.kind),
            other => other.as_str().to_owned(),
        })
    }

    #[test]
    fn every_event() {
        let bounce = |hard: Value, error: &str| json!({ "event": "bounce", "hard_bounce": hard, "error": error });
        for (event, wanted) in [
            (json!({ "event": "sent" }), Some("delivered")),
            (json!({ "event": "open" }), Some("opened")),
            (json!({ "event": "click", "url": "https://acme.example" }), Some("clicked")),
            (bounce(json!(true), "user unknown"), Some("bounced true recipient")),
            (bounce(json!("1"), "user unknown"), Some("bounced true recipient")),
            (bounce(json!(1), "user unknown"), Some("bounced true recipient")),
            (bounce(json!(false), "quota exceeded"), Some("bounced false unavailable")),
            (bounce(json!(false), "user unknown"), Some("bounced false unavailable")),
            (bounce(json!(""), "content blocked"), Some("bounced false content")),
            (json!({ "event": "bounce" }), Some("bounced false unavailable")),
            (json!({ "event": "spam", "source": "JMRPP" }), Some("complained")),
            (json!({ "event": "unsub" }), Some("unsubscribed")),
            (json!({ "event": "newest" }), None),
            (json!({}), None),
        ] {
            assert_eq!(word(event.clone()).as_deref(), wanted, "{event}");
        }
    }

    #[test]
    fn every_cause() {
        for (error, wanted) in [
            ("user unknown", "recipient"),
            ("mailbox inactive", "recipient"),
            ("quota exceeded", "unavailable"),
            ("blacklisted", "recipient"),
            ("spam reporter", "opted_out"),
            ("invalid domain", "recipient"),
            ("no mail host", "recipient"),
            ("relay/access denied", "recipient"),
            ("greylisted", "unavailable"),
            ("typofix", "recipient"),
            ("bad or empty template", "content"),
            ("error in template language", "content"),
            ("content blocked", "content"),
            ("sender blocked", "account"),
            ("policy issue", "account"),
            ("preblocked", "recipient"),
            ("duplicate in campaign", "content"),
            ("system issue", "unavailable"),
            ("protocol issue", "unavailable"),
            ("connection issue", "unavailable"),
        ] {
            let event = json!({ "event": "blocked", "error_related_to": "system", "error": error });
            assert_eq!(word(event), Some(format!("failed {wanted}")), "{error}");
        }
        for (related, wanted) in [
            ("recipient", "recipient"),
            ("domain", "recipient"),
            ("content", "content"),
            ("spam", "content"),
            ("mailjet", "recipient"),
            ("system", "unavailable"),
            ("", "unavailable"),
        ] {
            let event = json!({ "event": "blocked", "error_related_to": related, "error": "" });
            assert_eq!(word(event), Some(format!("failed {wanted}")), "{related}");
        }
    }

    #[test]
    fn an_event_about_nothing_of_ours_yields_nothing() {
        assert!(read(&json!({ "event": "sent", "MessageID": 0, "CustomID": "" })).is_none());
        let attempt = model::AttemptId::from_ulid(7);
        let report = read(&json!({ "event": "sent", "CustomID": attempt.to_string() })).unwrap();
        assert_eq!((report.provider_message_id, report.attempt_id), (None, Some(attempt)));
    }
}
