//! Asks Mailjet what became of an attempt: by its id, or, when its answer was lost, by our echo.
//! <https://dev.mailjet.com/email/reference/messages/#v3_get_message>
//!
//! Mailjet does not say how soon a mail can be found, so one that is not found is `undecided`, never "not taken".

use model::{Answer, Call, Fact, Failure, FailureKind, Method, Timestamp};
use serde_json::Value;
use url::form_urlencoded;

use super::{Settings, call, events, number};
use crate::{Asked, Cx, Polled, email};

/// Most mails read: one attempt is one mail, so two would already be too many to tell apart.
const LIMIT: &str = "2";

pub(super) fn ask(cx: &Cx<'_>, asked: &Asked<'_>) -> Option<Call> {
    let settings = Settings::read(cx.settings).ok()?;
    let path = match asked.provider_message_id {
        Some(id) if !id.is_empty() && id.bytes().all(|b| b.is_ascii_digit()) => format!("/v3/REST/message/{id}"),
        Some(_) => return None,
        None => {
            let mut query = form_urlencoded::Serializer::new(String::new());
            query.append_pair("CustomID", &asked.attempt_id.to_string());
            query.append_pair("ShowCustomID", "true").append_pair("Limit", LIMIT);
            format!("/v3/REST/message?{}", query.finish())
        }
    };
    Some(Call::Http(call(cx, &settings, Method::Get, &path)))
}

pub(super) fn read(asked: &Asked<'_>, answer: &Answer) -> Polled {
    let Ok(http) = email::http(answer) else { return Polled::Undecided };
    let body = if http.status == 200 { email::json(http) } else { Value::Null };
    let Some([mail]) = body.get("Data").and_then(Value::as_array).map(Vec::as_slice) else {
        return Polled::Undecided;
    };
    let echo = asked.attempt_id.to_string();
    let is_ours = asked.provider_message_id.is_some() || email::text(mail, "/CustomID") == Some(&echo);
    match (mail.get("ID").and_then(number), email::text(mail, "/Status").and_then(|status| facts(status, mail))) {
        (Some(id), Some(facts)) if is_ours => Polled::Known {
            provider_message_id: asked.provider_message_id.map_or(id, str::to_owned),
            facts: facts.into_iter().map(|fact| (fact, None::<Timestamp>)).collect(),
        },
        _ => Polled::Undecided,
    }
}

/// What a status word says. `sent` means that the recipient's server took the mail, and who opens or complains has received it.
fn facts(status: &str, mail: &Value) -> Option<Vec<Fact>> {
    let bounced = |hard, kind, detail: &str| Fact::Bounced { hard, failure: Failure::new(kind, status, detail) };
    let last = match status {
        "unknown" | "queued" | "deferred" => return Some(vec![Fact::Sent]),
        "sent" => return Some(vec![Fact::Sent, Fact::Delivered]),
        "opened" => Fact::Opened,
        "clicked" => Fact::Clicked { url: None },
        "spam" => Fact::Complained,
        "unsub" => Fact::Unsubscribed,
        "bounce" | "softbounced" => {
            let detail = "The recipient's server returned the mail; Mailjet tries no longer.";
            return Some(vec![Fact::Sent, bounced(false, FailureKind::Unavailable, detail)]);
        }
        "hardbounced" => {
            let detail = "The recipient's server returned the mail for good.";
            return Some(vec![Fact::Sent, bounced(true, FailureKind::Recipient, detail)]);
        }
        "blocked" => {
            let cause = email::text(mail, "/State").unwrap_or_default();
            let kind = events::cause_of(cause).unwrap_or(FailureKind::Unavailable);
            let failure = Failure::new(kind, status, "Mailjet did not send the mail on.").with_provider_detail(cause);
            return Some(vec![Fact::Sent, Fact::Failed { failure }]);
        }
        _ => return None,
    };
    Some(vec![Fact::Sent, Fact::Delivered, last])
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn status_words() {
        let words = |status: &str| {
            let facts = facts(status, &json!({ "State": "user unknown" }))?;
            let word = |fact: &Fact| match fact {
                Fact::Bounced { hard, failure } => format!("bounced {hard} {}", failure.kind),
                Fact::Failed { failure } => format!("failed {}", failure.kind),
                other => other.as_str().to_owned(),
            };
            Some(facts.iter().map(word).collect::<Vec<_>>().join(" "))
        };
        for (status, wanted) in [
            ("unknown", Some("sent")),
            ("queued", Some("sent")),
            ("deferred", Some("sent")),
            ("sent", Some("sent delivered")),
            ("opened", Some("sent delivered opened")),
            ("clicked", Some("sent delivered clicked")),
            ("spam", Some("sent delivered complained")),
            ("unsub", Some("sent delivered unsubscribed")),
            ("bounce", Some("sent bounced false unavailable")),
            ("softbounced", Some("sent bounced false unavailable")),
            ("hardbounced", Some("sent bounced true recipient")),
            ("blocked", Some("sent failed recipient")),
            ("newest", None),
        ] {
            assert_eq!(words(status).as_deref(), wanted, "{status}");
        }
    }
}
