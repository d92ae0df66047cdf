//! What SendGrid reports about a mail.
//! <https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/event>

use model::{Fact, Failure, FailureKind};
use serde_json::Value;

use crate::{Report, email};

use FailureKind::{Account, Content, OptedOut, Recipient, Unavailable};

/// Why SendGrid did not try a mail it had taken: words of the reason in lower case, and what they mean.
const DROPS: &[(&str, FailureKind, &str)] = &[
    (
        "bounced address",
        Recipient,
        "The address is on SendGrid's list of bounces; the mail was not tried. Remove it there when it works again.",
    ),
    ("invalid smtpapi header", Content, "SendGrid could not read the mail's own header."),
    ("invalid", Recipient, "The address is on SendGrid's list of invalid addresses; the mail was not tried."),
    ("unsubscribed address", OptedOut, "The recipient has unsubscribed at SendGrid; the mail was not tried."),
    ("spam reporting address", OptedOut, "The recipient has reported an earlier mail as spam; the mail was not tried."),
    ("spam content", Content, "SendGrid took the content for spam and did not try the mail."),
    (
        "package quota",
        Account,
        "The SendGrid account's quota is used up. Upgrade the plan or wait for the next period.",
    ),
];

/// The id SendGrid answered with, which is followed by what happened to the mail inside SendGrid wherever it is told later.
pub(super) fn bare_id(id: &str) -> &str {
    id.split('.').next().unwrap_or(id)
}

/// Reads one event; `None` for one that changes nothing, or names neither a mail nor an attempt of ours.
pub(super) fn read(event: &Value) -> Option<Report> {
    let (status, fact) = seen(event)?;
    let id = email::text(event, "/sg_message_id").map(bare_id);
    let attempt_id = email::text(event, &format!("/{}", email::ECHO)).and_then(|id| id.parse().ok());
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
        "processed" => Fact::Sent,
        "delivered" => Fact::Delivered,
        "bounce" => return Some(bounce(event)),
        "dropped" => Fact::Failed { failure: dropped(event) },
        // A mail program that fetches pictures beforehand is no reader.
        "open" if event["sg_machine_open"] == Value::Bool(true) => return None,
        "open" => Fact::Opened,
        "click" => Fact::Clicked { url: email::text(event, "/url").map(str::to_owned) },
        "spamreport" => Fact::Complained,
        "unsubscribe" | "group_unsubscribe" => Fact::Unsubscribed,
        // `deferred` changes nothing: SendGrid tries for 72 hours. `group_resubscribe` and kinds to come say nothing about this mail.
        _ => return None,
    };
    Some((kind.to_owned(), fact))
}

/// `blocked` is a refusal that may pass; everything else means that the address does not work.
fn bounce(event: &Value) -> (String, Fact) {
    let kind = email::text(event, "/type").unwrap_or("bounce");
    let class = email::text(event, "/bounce_classification").unwrap_or_default();
    let hard = kind != "blocked";
    let (failure_kind, detail) = match (hard, class.eq_ignore_ascii_case("content")) {
        (true, _) => (Recipient, "The recipient's server returned the mail for good."),
        (false, true) => (Content, "The recipient's server refused the content of the mail."),
        (false, false) => (Unavailable, "The recipient's server refused the mail; SendGrid tries no longer."),
    };
    let code = email::text(event, "/status").unwrap_or(kind);
    let failure = Failure::new(failure_kind, code, detail).with_provider_detail(reason(event));
    (format!("bounce {kind}"), Fact::Bounced { hard, failure })
}

fn dropped(event: &Value) -> Failure {
    let words = reason(event).to_lowercase();
    let code = email::text(event, "/status").unwrap_or("dropped");
    let fits = |(phrase, _, _): &&(&str, FailureKind, &str)| words.contains(phrase);
    let (kind, detail) = match DROPS.iter().find(fits) {
        Some((_, kind, detail)) => (*kind, *detail),
        None => (Unavailable, "SendGrid did not try the mail."),
    };
    Failure::new(kind, code, detail).with_provider_detail(reason(event))
}

fn reason(event: &Value) -> &str {
    email::text(event, "/reason").unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn word(mut event: Value) -> Option<String> {
        event["sg_message_id"] = json!("LRzXl_NHStOGhQ4kofSm_A.filterdrecv-p3mdw1-756b745b58-kmzbl-18-5F5FC76C-9.0");
        let report = read(&event)?;
        assert_eq!(report.provider_message_id.as_deref(), Some("LRzXl_NHStOGhQ4kofSm_A"));
        Some(match &report.fact {
            Fact::Bounced { hard, failure } => format!("bounced {hard} {}", failure.kind),
            Fact::Failed { failure } => format!("failed {}", failure.kind),
            other => other.as_str().to_owned(),
        })
    }

    #[test]
    fn every_event() {
        for (event, wanted) in [
            (json!({ "event": "processed" }), Some("sent")),
            (json!({ "event": "deferred", "attempt": "5" }), None),
            (json!({ "event": "delivered" }), Some("delivered")),
            (json!({ "event": "bounce", "type": "bounce", "status": "5.1.1" }), Some("bounced true recipient")),
            (json!({ "event": "bounce", "status": "5.1.1" }), Some("bounced true recipient")),
            (json!({ "event": "bounce", "type": "blocked" }), Some("bounced false unavailable")),
            (
                json!({ "event": "bounce", "type": "blocked", "bounce_classification": "Content" }),
                Some("bounced false content"),
            ),
            (json!({ "event": "dropped", "reason": "Bounced Address" }), Some("failed recipient")),
            (json!({ "event": "dropped", "reason": "Unsubscribed Address" }), Some("failed opted_out")),
            (json!({ "event": "dropped", "reason": "Spam Reporting Address" }), Some("failed opted_out")),
            (json!({ "event": "dropped", "reason": "Invalid" }), Some("failed recipient")),
            (
                json!({ "event": "dropped", "reason": "Spam Content (if spam checker app enabled)" }),
                Some("failed content"),
            ),
            (json!({ "event": "dropped", "reason": "Invalid SMTPAPI header" }), Some("failed content")),
            (json!({ "event": "dropped", "reason": "Recipient List over Package Quota" }), Some("failed account")),
            (json!({ "event": "dropped", "reason": "Newest" }), Some("failed unavailable")),
            (json!({ "event": "open" }), Some("opened")),
            (json!({ "event": "open", "sg_machine_open": false }), Some("opened")),
            (json!({ "event": "open", "sg_machine_open": true }), None),
            (json!({ "event": "click", "url": "https://acme.example" }), Some("clicked")),
            (json!({ "event": "spamreport" }), Some("complained")),
            (json!({ "event": "unsubscribe" }), Some("unsubscribed")),
            (json!({ "event": "group_unsubscribe", "asm_group_id": 1 }), Some("unsubscribed")),
            (json!({ "event": "group_resubscribe" }), None),
            (json!({ "event": "newest" }), None),
            (json!({}), None),
        ] {
            assert_eq!(word(event.clone()).as_deref(), wanted, "{event}");
        }
    }

    #[test]
    fn an_event_without_an_id_is_found_by_our_echo_or_not_at_all() {
        assert!(read(&json!({ "event": "delivered" })).is_none());
        let attempt = model::AttemptId::from_ulid(7);
        let report = read(&json!({ "event": "delivered", (email::ECHO): attempt.to_string() })).unwrap();
        assert_eq!((report.provider_message_id, report.attempt_id), (None, Some(attempt)));
        assert!(read(&json!({ "event": "delivered", (email::ECHO): "x" })).is_none());
    }
}
