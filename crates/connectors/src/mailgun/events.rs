//! What Mailgun reports about a mail, by webhook and in its event log alike.
//! <https://documentation.mailgun.com/docs/mailgun/user-manual/events/event-structure>

use model::{Fact, Failure, FailureKind};
use serde_json::Value;

use super::bare;
use crate::{Report, email};

use FailureKind::{Account, Content, OptedOut, Recipient, Unavailable};

/// Why Mailgun did not try a mail: its reason, and what it means.
const SUPPRESSED: &[(&str, FailureKind, &str)] = &[
    (
        "suppress-bounce",
        Recipient,
        "The address is on Mailgun's list of bounces; the mail was not tried. Remove it there when it works again.",
    ),
    ("suppress-complaint", OptedOut, "The recipient has reported an earlier mail as spam; the mail was not tried."),
    ("suppress-unsubscribe", OptedOut, "The recipient has unsubscribed at Mailgun; the mail was not tried."),
];
/// Reasons of failures that are the address's own.
const HARD: &[&str] = &["bounce", "hardfail"];
/// Words of rejections that are the account's fault; any other is the content's.
const ACCOUNT: &[&str] = &["sandbox", "authorized recipient", "not allowed", "disabled", "limit exceeded", "suspended"];

/// Reads one event; `None` for one that changes nothing, or names neither a mail nor an attempt of ours.
pub(super) fn read(event: &Value) -> Option<Report> {
    let (status, fact) = seen(event)?;
    let id = email::text(event, "/message/headers/message-id").map(bare);
    let attempt_id = email::text(event, &format!("/user-variables/{}", email::ECHO)).and_then(|id| id.parse().ok());
    if id.is_none() && attempt_id.is_none() {
        return None;
    }
    Some(Report {
        provider_message_id: id.map(str::to_owned),
        attempt_id,
        at: email::seconds(&event["timestamp"]),
        ..Report::new("", status, fact)
    })
}

fn seen(event: &Value) -> Option<(String, Fact)> {
    let kind = email::text(event, "/event")?;
    let fact = match kind {
        "accepted" => Fact::Sent,
        "delivered" => Fact::Delivered,
        "failed" => return failed(event),
        "rejected" => Fact::Failed { failure: rejected(event) },
        // A machine that looks into mails is no reader.
        "opened" | "clicked" if email::text(event, "/client-info/bot").is_some() => return None,
        "opened" => Fact::Opened,
        "clicked" => Fact::Clicked { url: email::text(event, "/url").map(str::to_owned) },
        "complained" => Fact::Complained,
        "unsubscribed" => Fact::Unsubscribed,
        // `stored` is about mail that came in; kinds to come say nothing yet.
        _ => return None,
    };
    Some((kind.to_owned(), fact))
}

/// A temporary failure changes nothing: Mailgun tries again.
fn failed(event: &Value) -> Option<(String, Fact)> {
    if email::text(event, "/severity") != Some("permanent") {
        return None;
    }
    let reason = email::text(event, "/reason").unwrap_or("unknown");
    let code = code(event).unwrap_or_else(|| reason.to_owned());
    let words =
        email::text(event, "/delivery-status/message").or_else(|| email::text(event, "/delivery-status/description"));
    let failure =
        |kind, detail: &str| Failure::new(kind, &code, detail).with_provider_detail(words.unwrap_or_default());
    let fact = match SUPPRESSED.iter().find(|(suppressed, _, _)| *suppressed == reason) {
        Some((_, kind, detail)) => Fact::Failed { failure: failure(*kind, detail) },
        None if HARD.contains(&reason) || code.starts_with("5.1.") => Fact::Bounced {
            hard: true,
            failure: failure(Recipient, "The recipient's server returned the mail for good."),
        },
        None => Fact::Bounced {
            hard: false,
            failure: failure(Unavailable, "The recipient's server refused the mail; Mailgun tries no longer."),
        },
    };
    Some((format!("failed {reason}"), fact))
}

/// The enhanced code where there is one, else the SMTP code.
fn code(event: &Value) -> Option<String> {
    let status = event.get("delivery-status")?;
    let named = ["enhanced-code", "bounce-code"].iter().find_map(|name| email::text(status, &format!("/{name}")));
    let number = || status.get("code").and_then(Value::as_u64).filter(|code| *code > 0).map(|code| code.to_string());
    named.map(str::to_owned).or_else(number)
}

fn rejected(event: &Value) -> Failure {
    let reason = email::text(event, "/reject/reason").unwrap_or_default();
    let words = reason.to_lowercase();
    let (kind, detail) = match ACCOUNT.iter().any(|phrase| words.contains(phrase)) {
        true => (Account, "Mailgun did not try the mail: the account may not send it. Look into Mailgun."),
        false => (Content, "Mailgun refused the content after taking the mail."),
    };
    Failure::new(kind, "rejected", detail).with_provider_detail(reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn word(mut event: Value) -> Option<String> {
        event["message"] = json!({ "headers": { "message-id": "20261120.1.abc@mg.acme.example" } });
        let report = read(&event)?;
        assert_eq!(report.provider_message_id.as_deref(), Some("20261120.1.abc@mg.acme.example"));
        Some(match &report.fact {
            Fact::Bounced { hard, failure } => format!("bounced {hard} {} {}", failure.kind, failure.code),
            Fact::Failed { failure } => format!("failed {} {}", failure.kind, failure.code),
            other => other.as_str().to_owned(),
        })
    }

    fn permanent(reason: &str, status: Value) -> Value {
        json!({ "event": "failed", "severity": "permanent", "reason": reason, "delivery-status": status })
    }

    #[test]
    fn every_event() {
        for (event, wanted) in [
            (json!({ "event": "accepted" }), Some("sent")),
            (json!({ "event": "delivered" }), Some("delivered")),
            (json!({ "event": "failed", "severity": "temporary", "reason": "generic" }), None),
            (permanent("suppress-bounce", json!({ "code": 605 })), Some("failed recipient 605")),
            (permanent("suppress-complaint", json!({ "code": 607 })), Some("failed opted_out 607")),
            (permanent("suppress-unsubscribe", json!({ "code": 606 })), Some("failed opted_out 606")),
            (
                permanent("bounce", json!({ "code": 550, "enhanced-code": "5.1.1" })),
                Some("bounced true recipient 5.1.1"),
            ),
            (permanent("hardfail", json!({ "code": 550 })), Some("bounced true recipient 550")),
            (
                permanent("generic", json!({ "code": 550, "bounce-code": "5.1.10" })),
                Some("bounced true recipient 5.1.10"),
            ),
            (permanent("generic", json!({ "code": 552 })), Some("bounced false unavailable 552")),
            (permanent("espblock", json!({ "code": 554, "enhanced-code": "" })), Some("bounced false unavailable 554")),
            (permanent("blacklisted", json!({ "code": 554 })), Some("bounced false unavailable 554")),
            (permanent("greylisted", json!({ "code": 451 })), Some("bounced false unavailable 451")),
            (permanent("old", json!({ "code": 602 })), Some("bounced false unavailable 602")),
            (permanent("unknown", json!({})), Some("bounced false unavailable unknown")),
            (
                json!({ "event": "rejected", "reject": { "reason": "Sandbox subdomains are for test purposes only." } }),
                Some("failed account rejected"),
            ),
            (json!({ "event": "rejected", "reject": { "reason": "Virus found" } }), Some("failed content rejected")),
            (json!({ "event": "opened", "client-info": { "bot": "" } }), Some("opened")),
            (json!({ "event": "opened", "client-info": { "bot": "apple" } }), None),
            (json!({ "event": "clicked", "url": "https://acme.example" }), Some("clicked")),
            (json!({ "event": "clicked", "client-info": { "bot": "generic" } }), None),
            (json!({ "event": "complained" }), Some("complained")),
            (json!({ "event": "unsubscribed" }), Some("unsubscribed")),
            (json!({ "event": "stored" }), None),
            (json!({ "event": "newest" }), None),
            (json!({}), None),
        ] {
            assert_eq!(word(event.clone()).as_deref(), wanted, "{event}");
        }
    }

    #[test]
    fn an_event_about_nothing_of_ours_yields_nothing() {
        assert!(read(&json!({ "event": "delivered" })).is_none());
        let attempt = model::AttemptId::from_ulid(7);
        let variables = json!({ (email::ECHO): attempt.to_string() });
        let report = read(&json!({ "event": "delivered", "user-variables": variables })).unwrap();
        assert_eq!((report.provider_message_id, report.attempt_id), (None, Some(attempt)));
    }
}
