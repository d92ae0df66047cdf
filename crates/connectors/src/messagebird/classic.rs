//! SMS in the classic API: one recipient a request, so that the message's id is the recipient's.
//! <https://developers.messagebird.com/api/sms-messaging/>

use model::{Answer, Fact, HttpCall, Method, Money, Timestamp};
use serde_json::{Value, json};
use url::form_urlencoded;

use super::{Settings, call, callback, errors, originator, text, unreadable};
use crate::{Acceptance, Asked, Cx, Outcome, Outgoing, Polled, decimal, phone, read};

pub(super) const HOST: &str = "https://rest.messagebird.com";
/// How far the provider's clock and ours may be apart when an attempt is searched, in milliseconds.
const SKEW_MS: i64 = 60_000;

pub(super) fn request(cx: &Cx<'_>, settings: &Settings, message: &Outgoing<'_>) -> Result<HttpCall, model::Failure> {
    let mut body = json!({
        "originator": originator(cx)?,
        "recipients": [phone(message.to)?.digits()],
        "body": text(message.content)?,
        "datacoding": "auto",
        // Without a reference there are no reports.
        "reference": message.attempt_id.to_string(),
    });
    if !cx.callback_url.is_empty() {
        body["reportUrl"] = format!("{}{}", cx.callback_url, callback::path(cx, settings)).into();
    }
    Ok(call(cx, settings, Method::Post, HOST, "/messages").body("application/json", body.to_string()))
}

/// How an attempt ended.
pub(super) fn outcome(answer: &Answer, now: Timestamp) -> Outcome {
    let http = match read::http(answer) {
        Ok(http) => http,
        Err(failure) => return Outcome::Refused(failure),
    };
    if !(200..=299).contains(&http.status) {
        return Outcome::Refused(errors::classic(http, now));
    }
    let message = read::json(http);
    let Some(id) = read::text(&message, "/id") else {
        return Outcome::Refused(unreadable(&http.text()));
    };
    let item = &message["recipients"]["items"][0];
    match fact(item) {
        Some(Fact::Failed { failure }) => Outcome::Refused(failure),
        _ => Outcome::Accepted(Acceptance {
            segments: errors::number(&item["messagePartCount"]).and_then(|count| u32::try_from(count).ok()),
            price: price(&item["price"]),
            ..Acceptance::with_id(id)
        }),
    }
}

fn price(price: &Value) -> Option<Money> {
    let amount = &price["amount"];
    let amount_micros = decimal::micros(&amount.as_str().map_or_else(|| amount.to_string(), str::to_owned))?;
    Some(Money { amount_micros, currency: read::text(price, "/currency")?.to_ascii_uppercase() })
}

/// What a recipient's entry says.
fn fact(item: &Value) -> Option<Fact> {
    let reason = read::text(item, "/statusReason").unwrap_or_default();
    errors::sms_status(read::text(item, "/status")?, errors::number(&item["statusErrorCode"]), reason)
}

/// Messages read of the list: one recipient gets fewer in a few minutes. Without it there are twenty.
const LIST_MAX: &str = "50";

/// The messages to this recipient since the attempt began, newest first.
pub(super) fn search(cx: &Cx<'_>, settings: &Settings, asked: &Asked<'_>) -> Option<HttpCall> {
    let recipient = phone(asked.to).ok()?;
    // To the second, as the list takes it.
    let since = asked.sent_at.plus_millis(-SKEW_MS).jiff().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let query = form_urlencoded::Serializer::new(String::new())
        .append_pair("recipient", recipient.digits())
        .append_pair("direction", "mt")
        .append_pair("from", &since)
        .append_pair("limit", LIST_MAX)
        .finish();
    Some(call(cx, settings, Method::Get, HOST, &format!("/messages?{query}")))
}

/// The message asked about, or the one in the list that carries our reference. A list without it proves nothing: it may come late.
pub(super) fn polled(asked: &Asked<'_>, answer: &Answer) -> Option<Polled> {
    let http = read::http(answer).ok().filter(|http| http.status == 200)?;
    let body = read::json(http);
    let echo = asked.attempt_id.to_string();
    let message = match asked.provider_message_id {
        Some(_) => &body,
        None => body["items"].as_array()?.iter().find(|item| item["reference"] == echo.as_str())?,
    };
    let item = &message["recipients"]["items"][0];
    let at = |value: &Value, name: &str| read::text(value, name).and_then(|at| at.parse().ok());
    let taken = (Fact::Sent, at(message, "/createdDatetime"));
    let facts = match fact(item)? {
        Fact::Sent => vec![taken],
        other => vec![taken, (other, at(item, "/statusDatetime"))],
    };
    Some(Polled::Known { provider_message_id: read::text(message, "/id")?.to_owned(), facts })
}
