//! What Resend reports about a mail.
//! <https://resend.com/docs/dashboard/webhooks/event-types>

use model::{Fact, Failure, FailureKind, MessageId};
use serde_json::Value;

use super::request::TAG;
use crate::{Report, email};

use FailureKind::{Account, Content, OptedOut, Recipient, Unavailable};

/// Sub types of bounces that speak of the content.
const CONTENT: &[&str] = &["MessageTooLarge", "ContentRejected", "AttachmentRejected"];

/// Reads one event; `None` for one that changes nothing, or is not about a mail.
pub(super) fn read(event: &Value) -> Option<Report> {
    let data = event.get("data")?;
    let (status, fact) = seen(email::text(event, "/type")?, data)?;
    // The echo names the message; its first attempt leads back to it as any other would.
    let message: Option<MessageId> = email::text(data, &format!("/tags/{TAG}")).and_then(|id| id.parse().ok());
    Some(Report {
        attempt_id: message.map(|message| message.attempt(1)),
        at: email::text(event, "/created_at").and_then(|at| at.parse().ok()),
        ..Report::new(email::text(data, "/email_id")?, status, fact)
    })
}

fn seen(kind: &str, data: &Value) -> Option<(String, Fact)> {
    let fact = match kind {
        "email.sent" | "email.scheduled" => Fact::Sent,
        "email.delivered" => Fact::Delivered,
        "email.bounced" => return Some(bounced(kind, data)),
        "email.suppressed" => Fact::Failed { failure: suppressed(data) },
        "email.complained" => Fact::Complained,
        "email.failed" => Fact::Failed { failure: failed(data) },
        "email.opened" => Fact::Opened,
        "email.clicked" => Fact::Clicked { url: email::text(data, "/click/link").map(str::to_owned) },
        // `email.delivery_delayed` changes nothing: Resend tries again. Received mail, contacts and domains are not about a mail we sent.
        _ => return None,
    };
    Some((kind.to_owned(), fact))
}

fn bounced(kind: &str, data: &Value) -> (String, Fact) {
    let class = email::text(data, "/bounce/type").unwrap_or("Undetermined");
    let sub = email::text(data, "/bounce/subType").unwrap_or("Undetermined");
    let hard = class == "Permanent";
    let (failure_kind, detail) = match (hard, CONTENT.contains(&sub)) {
        (true, _) => (Recipient, "The recipient's server returned the mail for good."),
        (false, true) => (Content, "The recipient's server refused the content of the mail."),
        (false, false) => (Unavailable, "The recipient's server returned the mail; Resend tries no longer."),
    };
    let words = email::text(data, "/bounce/diagnosticCode/0").or_else(|| email::text(data, "/bounce/message"));
    let failure = Failure::new(failure_kind, sub, detail).with_provider_detail(words.unwrap_or_default());
    (format!("{kind} {class}/{sub}"), Fact::Bounced { hard, failure })
}

fn suppressed(data: &Value) -> Failure {
    let (kind, detail) = match email::text(data, "/suppressed/reason") {
        Some("previous_complaint") => {
            (OptedOut, "The recipient has reported an earlier mail as spam; the mail was not tried.")
        }
        _ => (
            Recipient,
            "The address is on Resend's suppression list; the mail was not tried. Remove it there when it works again.",
        ),
    };
    let code = email::text(data, "/suppressed/type").unwrap_or("suppressed");
    Failure::new(kind, code, detail).with_provider_detail(email::text(data, "/suppressed/message").unwrap_or_default())
}

fn failed(data: &Value) -> Failure {
    let reason = email::text(data, "/failed/reason").unwrap_or("failed");
    Failure::new(Account, reason, "Resend took the mail but may not send it for this account. Look into Resend.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn word(kind: &str, mut data: Value) -> Option<String> {
        data["email_id"] = json!("4ef9a417-02e9-4d39-ad75-ab1d02fb286a");
        let report = read(&json!({ "type": kind, "created_at": "2026-11-20T22:00:00.000Z", "data": data }))?;
        assert_eq!(report.provider_message_id.as_deref(), Some("4ef9a417-02e9-4d39-ad75-ab1d02fb286a"));
        Some(match &report.fact {
            Fact::Bounced { hard, failure } => format!("bounced {hard} {}", failure.kind),
            Fact::Failed { failure } => format!("failed {}", failure.kind),
            other => other.as_str().to_owned(),
        })
    }

    #[test]
    fn every_event() {
        let bounce = |class: &str, sub: &str| json!({ "bounce": { "type": class, "subType": sub } });
        let suppressed = |reason: &str| json!({ "suppressed": { "type": "Suppressed", "reason": reason } });
        for (kind, data, wanted) in [
            ("email.scheduled", json!({}), Some("sent")),
            ("email.sent", json!({}), Some("sent")),
            ("email.delivered", json!({}), Some("delivered")),
            ("email.delivery_delayed", json!({}), None),
            ("email.bounced", bounce("Permanent", "General"), Some("bounced true recipient")),
            ("email.bounced", bounce("Permanent", "NoEmail"), Some("bounced true recipient")),
            ("email.bounced", bounce("Transient", "General"), Some("bounced false unavailable")),
            ("email.bounced", bounce("Transient", "MailboxFull"), Some("bounced false unavailable")),
            ("email.bounced", bounce("Transient", "MessageTooLarge"), Some("bounced false content")),
            ("email.bounced", bounce("Transient", "ContentRejected"), Some("bounced false content")),
            ("email.bounced", bounce("Transient", "AttachmentRejected"), Some("bounced false content")),
            ("email.bounced", bounce("Undetermined", "Undetermined"), Some("bounced false unavailable")),
            ("email.bounced", json!({}), Some("bounced false unavailable")),
            ("email.suppressed", suppressed("previous_bounce"), Some("failed recipient")),
            ("email.suppressed", suppressed("previous_complaint"), Some("failed opted_out")),
            ("email.complained", json!({}), Some("complained")),
            ("email.failed", json!({ "failed": { "reason": "reached_daily_quota" } }), Some("failed account")),
            ("email.opened", json!({}), Some("opened")),
            ("email.clicked", json!({ "click": { "link": "https://acme.example" } }), Some("clicked")),
            ("email.received", json!({}), None),
            ("domain.updated", json!({}), None),
            ("contact.created", json!({}), None),
        ] {
            assert_eq!(word(kind, data.clone()).as_deref(), wanted, "{kind} {data}");
        }
    }

    #[test]
    fn the_echo_leads_to_the_message() {
        let message = MessageId::from_ulid(1 << 80 | 7 << 40);
        let data = json!({ "email_id": "x", "tags": { (TAG): message.to_string() } });
        let report = read(&json!({ "type": "email.sent", "data": data })).unwrap();
        assert_eq!(report.attempt_id, Some(message.attempt(1)));
        assert!(read(&json!({ "type": "email.sent", "data": {} })).is_none());
    }
}
