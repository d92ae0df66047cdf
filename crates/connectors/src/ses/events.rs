//! What Amazon SES reports about a mail.
//! <https://docs.aws.amazon.com/ses/latest/dg/event-publishing-retrieving-sns-contents.html>

use model::{Fact, Failure, FailureKind, Timestamp};
use serde_json::Value;

use crate::{Observed, Report};

use super::request::TAG;

/// What the sub types of a bounce mean: the type (empty for any), the sub type (empty for any), and what became of the mail.
const BOUNCES: &[(&str, &str, Bounce)] = &[
    // Amazon never tried: the address is on its or the account's suppression list.
    ("Permanent", "Suppressed", Bounce::NotTried),
    ("Permanent", "OnAccountSuppressionList", Bounce::NotTried),
    ("Permanent", "", Bounce::Hard),
    ("Transient", "MessageTooLarge", Bounce::Soft(FailureKind::Content)),
    ("Transient", "ContentRejected", Bounce::Soft(FailureKind::Content)),
    ("Transient", "AttachmentRejected", Bounce::Soft(FailureKind::Content)),
    // General, MailboxFull, Undetermined, and what is still to come: not the recipient's fault for good.
    ("", "", Bounce::Soft(FailureKind::Unavailable)),
];

#[derive(Debug, Clone, Copy)]
enum Bounce {
    NotTried,
    Hard,
    Soft(FailureKind),
}

/// Reads the text of a notification. What is no event, or an event that changes nothing, yields nothing: topics also carry other things.
pub(super) fn read(text: &str) -> Vec<Observed> {
    let Ok(event) = serde_json::from_str::<Value>(text) else { return Vec::new() };
    // Notifications of an identity call the type otherwise than those of a configuration set.
    let kind = at(&event, "/eventType").or_else(|| at(&event, "/notificationType")).unwrap_or_default();
    let (Some(id), Some(seen)) = (at(&event, "/mail/messageId"), seen(kind, &event)) else { return Vec::new() };
    let (part, status, fact) = seen;
    vec![Observed::Status(Report {
        attempt_id: at(&event, &format!("/mail/tags/{TAG}/0")).and_then(|id| id.parse().ok()),
        at: instant(&event, &format!("/{part}/timestamp")),
        ..Report::new(id, status, fact)
    })]
}

/// The part of the event that holds its time, the provider's status, and the fact.
fn seen(kind: &str, event: &Value) -> Option<(&'static str, String, Fact)> {
    Some(match kind {
        "Send" => ("mail", kind.to_owned(), Fact::Sent),
        "Delivery" => ("delivery", kind.to_owned(), Fact::Delivered),
        "Bounce" => {
            let (status, fact) = bounce(event);
            ("bounce", status, fact)
        }
        // Somebody who takes a mail out of the spam folder is no complaint.
        "Complaint" if at(event, "/complaint/complaintFeedbackType") == Some("not-spam") => return None,
        "Complaint" => {
            let cause =
                at(event, "/complaint/complaintFeedbackType").or_else(|| at(event, "/complaint/complaintSubType"));
            ("complaint", cause.map_or(kind.to_owned(), |cause| format!("{kind} {cause}")), Fact::Complained)
        }
        "Reject" => {
            let words = at(event, "/reject/reason").unwrap_or_default();
            let failure =
                Failure::new(FailureKind::Content, "Reject", "Amazon SES refused the content after taking the mail.");
            ("mail", kind.to_owned(), Fact::Failed { failure: failure.with_provider_detail(words) })
        }
        "Rendering Failure" => {
            let words = at(event, "/failure/errorMessage").unwrap_or_default();
            let failure =
                Failure::new(FailureKind::Content, "RenderingFailure", "Amazon SES could not render the template.");
            ("mail", kind.to_owned(), Fact::Failed { failure: failure.with_provider_detail(words) })
        }
        "Open" => ("open", kind.to_owned(), Fact::Opened),
        "Click" => ("click", kind.to_owned(), Fact::Clicked { url: at(event, "/click/link").map(str::to_owned) }),
        "Subscription" if has_opted_out(event) => ("subscription", kind.to_owned(), Fact::Unsubscribed),
        // DeliveryDelay changes nothing: SES still tries. Mails received and kinds to come are not about a mail we sent.
        _ => return None,
    })
}

fn bounce(event: &Value) -> (String, Fact) {
    let kind = at(event, "/bounce/bounceType").unwrap_or_default();
    let sub = at(event, "/bounce/bounceSubType").unwrap_or_default();
    let code = at(event, "/bounce/bouncedRecipients/0/status").unwrap_or(sub);
    let words = at(event, "/bounce/bouncedRecipients/0/diagnosticCode").unwrap_or_default();
    let fits = |(wanted, wanted_sub, _): &&(&str, &str, Bounce)| {
        (wanted.is_empty() || *wanted == kind) && (wanted_sub.is_empty() || *wanted_sub == sub)
    };
    let what = BOUNCES.iter().find(fits).map_or(Bounce::Soft(FailureKind::Unavailable), |(_, _, what)| *what);
    let failure = |kind, detail: &str| Failure::new(kind, code, detail).with_provider_detail(words);
    let fact = match what {
        Bounce::NotTried => Fact::Failed {
            failure: Failure::new(
                FailureKind::Recipient,
                sub,
                "The address is on Amazon SES's suppression list; the mail was not tried. Remove it there when it works again.",
            )
            .with_provider_detail(words),
        },
        Bounce::Hard => Fact::Bounced { hard: true, failure: failure(FailureKind::Recipient, "The recipient's server returned the mail for good.") },
        Bounce::Soft(kind) => Fact::Bounced { hard: false, failure: failure(kind, "The recipient's server returned the mail; Amazon SES tries no longer.") },
    };
    (format!("Bounce {kind}/{sub}"), fact)
}

fn has_opted_out(event: &Value) -> bool {
    let preferences = event.pointer("/subscription/newTopicPreferences");
    let is_all = preferences.and_then(|all| all.get("unsubscribeAll")).and_then(Value::as_bool) == Some(true);
    let topics = preferences.and_then(|all| all.get("topicSubscriptionStatus")).and_then(Value::as_array);
    is_all || topics.is_some_and(|topics| topics.iter().any(|topic| at(topic, "/subscriptionStatus") == Some("OptOut")))
}

fn at<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    value.pointer(pointer).and_then(Value::as_str)
}

fn instant(value: &Value, pointer: &str) -> Option<Timestamp> {
    at(value, pointer).and_then(|text| text.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn seen_fact(mut event: Value) -> Option<Fact> {
        event["mail"] = json!({ "messageId": "m-1", "timestamp": "2026-11-20T22:00:00.000Z" });
        match read(&event.to_string()).pop()? {
            Observed::Status(report) => {
                assert_eq!(report.provider_message_id.as_deref(), Some("m-1"));
                Some(report.fact)
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn bounces() {
        for (kind, sub, wanted) in [
            ("Permanent", "General", "bounced hard recipient"),
            ("Permanent", "NoEmail", "bounced hard recipient"),
            ("Permanent", "Suppressed", "failed recipient"),
            ("Permanent", "OnAccountSuppressionList", "failed recipient"),
            ("Transient", "General", "bounced soft unavailable"),
            ("Transient", "MailboxFull", "bounced soft unavailable"),
            ("Transient", "MessageTooLarge", "bounced soft content"),
            ("Transient", "ContentRejected", "bounced soft content"),
            ("Transient", "AttachmentRejected", "bounced soft content"),
            ("Undetermined", "Undetermined", "bounced soft unavailable"),
        ] {
            let fact =
                seen_fact(json!({ "eventType": "Bounce", "bounce": { "bounceType": kind, "bounceSubType": sub } }))
                    .unwrap();
            let got = match &fact {
                Fact::Bounced { hard: true, failure } => format!("bounced hard {}", failure.kind),
                Fact::Bounced { hard: false, failure } => format!("bounced soft {}", failure.kind),
                Fact::Failed { failure } => format!("failed {}", failure.kind),
                other => panic!("{other:?}"),
            };
            assert_eq!(got, wanted, "{kind}/{sub}");
        }
    }

    #[test]
    fn the_other_kinds() {
        let word = |event| seen_fact(event).map(|fact| fact.as_str());
        for (event, wanted) in [
            (json!({ "eventType": "Send" }), Some("sent")),
            (json!({ "eventType": "Delivery" }), Some("delivered")),
            (json!({ "notificationType": "Delivery" }), Some("delivered")),
            (
                json!({ "eventType": "Complaint", "complaint": { "complaintFeedbackType": "abuse" } }),
                Some("complained"),
            ),
            (json!({ "eventType": "Complaint", "complaint": { "complaintFeedbackType": "not-spam" } }), None),
            (json!({ "eventType": "Reject", "reject": { "reason": "Bad content" } }), Some("failed")),
            (json!({ "eventType": "Rendering Failure" }), Some("failed")),
            (json!({ "eventType": "DeliveryDelay" }), None),
            (json!({ "eventType": "Open" }), Some("opened")),
            (json!({ "eventType": "Click" }), Some("clicked")),
            (
                json!({ "eventType": "Subscription", "subscription": { "newTopicPreferences": { "unsubscribeAll": true } } }),
                Some("unsubscribed"),
            ),
            (
                json!({ "eventType": "Subscription", "subscription": { "newTopicPreferences": { "unsubscribeAll": false } } }),
                None,
            ),
            (
                json!({ "eventType": "Subscription", "subscription": { "newTopicPreferences": { "topicSubscriptionStatus": [{ "topicName": "t", "subscriptionStatus": "OptOut" }] } } }),
                Some("unsubscribed"),
            ),
            (json!({ "notificationType": "Received" }), None),
            (json!({ "eventType": "Newest" }), None),
            (json!({}), None),
        ] {
            assert_eq!(word(event.clone()), wanted, "{event}");
        }
    }

    #[test]
    fn other_texts_yield_nothing() {
        for text in
            ["Successfully validated SNS topic for Amazon SES event publishing.", "", "[]", "{\"eventType\":\"Send\"}"]
        {
            assert!(read(text).is_empty());
        }
    }
}
