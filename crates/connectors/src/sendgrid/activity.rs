//! Asks SendGrid's Email Activity what became of a mail; accounts pay extra for it, so it is asked only where the settings say so.
//! <https://www.twilio.com/docs/sendgrid/for-developers/sending-email/getting-started-email-activity-api>
//!
//! A lost answer cannot be looked up here: the mails are found by the id that answer would have brought.

use model::{Address, Answer, Call, Fact, Failure, FailureKind, Method};
use serde_json::Value;
use url::form_urlencoded;

use super::{Settings, call};
use crate::{Asked, Cx, Polled, email};

/// Most mails read: one request sends one mail to a recipient, so two would already be too many to tell apart.
const LIMIT: &str = "2";

pub(super) fn ask(cx: &Cx<'_>, asked: &Asked<'_>) -> Option<Call> {
    let settings = Settings::read(cx.settings).ok().filter(|settings| settings.email_activity)?;
    let Address::Email(to) = asked.to else { return None };
    let id = request_id(asked.provider_message_id?);
    // Neither may end the query's quotes.
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    if id.is_empty() || !id.bytes().all(is_plain) || to.as_str().contains(['"', '\\']) {
        return None;
    }
    let wanted = format!("msg_id LIKE '{id}%' AND to_email=\"{}\"", to.as_str());
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("limit", LIMIT).append_pair("query", &wanted);
    Some(Call::Http(call(cx, &settings, Method::Get, &format!("/v3/messages?{}", query.finish()))))
}

/// The request's id: those of a batch have the recipient after it.
fn request_id(id: &str) -> &str {
    id.split('/').next().unwrap_or_default()
}

pub(super) fn read(asked: &Asked<'_>, answer: &Answer) -> Polled {
    let (Some(id), Ok(http)) = (asked.provider_message_id, email::http(answer)) else { return Polled::Undecided };
    let body = if http.status == 200 { email::json(http) } else { Value::Null };
    let Some([mail]) = body.get("messages").and_then(Value::as_array).map(Vec::as_slice) else {
        return Polled::Undecided;
    };
    let at = email::text(mail, "/last_event_time").and_then(|text| text.parse().ok());
    let last = match email::text(mail, "/status") {
        Some("processed") => None,
        Some("delivered") => Some(Fact::Delivered),
        Some("not_delivered") => Some(Fact::Failed {
            failure: Failure::new(
                FailureKind::Unavailable,
                "not_delivered",
                "SendGrid did not deliver the mail. Its Activity page says why.",
            ),
        }),
        _ => return Polled::Undecided,
    };
    let taken = (Fact::Sent, None);
    let facts = std::iter::once(taken).chain(last.map(|fact| (fact, at))).collect();
    Polled::Known { provider_message_id: id.to_owned(), facts }
}
