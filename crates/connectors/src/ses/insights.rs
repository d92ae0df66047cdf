//! Asks Amazon what became of a mail, by its id: for accounts with message insights, since nobody else may ask.
//! <https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_GetMessageInsights.html>
//!
//! A mail whose id never came cannot be asked about: SES cannot look for our tag.

use model::{Answer, Call, Fact, Failure, FailureKind, HttpCall, Method, Timestamp};
use serde_json::Value;

use super::{Settings, base, http, sign};
use crate::{Asked, Cx, Polled, email::seconds, read::text};

pub(super) fn ask(cx: &Cx<'_>, asked: &Asked<'_>) -> Option<Call> {
    let settings = Settings::read(cx.settings).ok().filter(|settings| settings.message_insights)?;
    let id = asked.provider_message_id?;
    let is_id = !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let url = is_id.then(|| format!("{}/v2/email/insights/{id}/", base(cx, &settings)))?;
    sign(cx, &settings, HttpCall::new(Method::Get, url)).ok()
}

/// Anything but the mail itself decides nothing: insights come late, and are kept for a while only.
pub(super) fn read(asked: &Asked<'_>, answer: &Answer) -> Polled {
    let Some(id) = asked.provider_message_id else { return Polled::Undecided };
    let body: Value = match http(answer) {
        Ok(http) if http.status == 200 && !http.is_truncated => serde_json::from_slice(&http.body).unwrap_or_default(),
        Ok(_) | Err(_) => return Polled::Undecided,
    };
    let insights = body.get("Insights").and_then(Value::as_array);
    let events = insights.into_iter().flatten().filter_map(|one| one.get("Events").and_then(Value::as_array)).flatten();
    let facts: Vec<(Fact, Option<Timestamp>)> =
        events.filter_map(|event| Some((fact(event)?, event.get("Timestamp").and_then(seconds)))).collect();
    match text(&body, "/MessageId") == Some(id) && !facts.is_empty() {
        true => Polled::Known { provider_message_id: id.to_owned(), facts },
        false => Polled::Undecided,
    }
}

fn fact(event: &Value) -> Option<Fact> {
    Some(match text(event, "/Type")? {
        "SEND" => Fact::Sent,
        "DELIVERY" => Fact::Delivered,
        "OPEN" => Fact::Opened,
        "CLICK" => Fact::Clicked { url: None },
        "COMPLAINT" => Fact::Complained,
        "REJECT" | "RENDERING_FAILURE" => {
            let detail = "Amazon SES refused the content after taking the mail.";
            Fact::Failed { failure: Failure::new(FailureKind::Content, "Reject", detail) }
        }
        "BOUNCE" => {
            let hard = text(event, "/Details/Bounce/BounceType") == Some("PERMANENT");
            let kind = if hard { FailureKind::Recipient } else { FailureKind::Unavailable };
            let code = text(event, "/Details/Bounce/BounceSubType").unwrap_or("Bounce");
            let words = text(event, "/Details/Bounce/DiagnosticCode").unwrap_or_default();
            let detail = if hard {
                "The recipient's server returned the mail for good."
            } else {
                "The recipient's server returned the mail; Amazon SES tries no longer."
            };
            Fact::Bounced { hard, failure: Failure::new(kind, code, detail).with_provider_detail(words) }
        }
        // DELIVERY_DELAY, SUBSCRIPTION and what is still to come change nothing.
        _ => return None,
    })
}
