//! Interakt's webhooks: what became of messages, clicks, and what people wrote. Those of campaigns made in Interakt itself are not ours.
//! <https://www.interakt.shop/resource-center/how-to-receive-webhooks-from-interakt/>

use model::{Address, Channel, Fact, Failure, Timestamp};
use serde_json::Value;

use super::NAME;
use crate::{
    Cx, InboundMedia, InboundMessage, Observed, Report,
    read::{bad_callback, text},
    whatsapp::{codes, envelope, number},
};

/// Reads a webhook.
pub(super) fn read(cx: &Cx<'_>, body: &[u8]) -> Result<Vec<Observed>, Failure> {
    let body: Value = serde_json::from_slice(body).map_err(|_| bad_callback(NAME))?;
    let seen = match text(&body, "/type").unwrap_or_default() {
        "message_received" => message(cx, &body).map(Observed::Message),
        kind => report(&body, kind).map(Observed::Status),
    };
    Ok(seen.into_iter().collect())
}

fn report(body: &Value, kind: &str) -> Option<Report> {
    let message = &body["data"]["message"];
    let (fact, at) = match kind {
        "message_api_sent" => (Fact::Sent, "/received_at_utc"),
        "message_api_delivered" => (Fact::Delivered, "/delivered_at_utc"),
        "message_api_read" => (Fact::Read, "/seen_at_utc"),
        "message_api_failed" => (Fact::Failed { failure: failed(message) }, ""),
        "message_api_clicked" => (Fact::Clicked { url: link(body).map(str::to_owned) }, ""),
        // Campaigns, accounts, templates, and the test from Interakt's settings.
        _ => return None,
    };
    let echo = text(message, "/meta_data/source_data/callback_data");
    let attempt_id = echo.or(text(body, "/event/callbackData")).and_then(|echo| echo.parse().ok());
    let id = text(message, "/id").map(str::to_owned);
    if id.is_none() && attempt_id.is_none() {
        return None;
    }
    let at = text(message, at).or(text(body, "/timestamp")).and_then(instant);
    Some(Report { provider_message_id: id, attempt_id, at, ..Report::new("", kind, fact) })
}

/// The code is Meta's, as a text.
fn failed(message: &Value) -> Failure {
    let words = text(message, "/channel_failure_reason").unwrap_or_default();
    codes::reported(envelope::code(&message["channel_error_code"]), words)
}

fn link(body: &Value) -> Option<&str> {
    text(body, "/event/button_link").or(text(body, "/data/event/button_link"))
}

/// Times are in UTC and say nothing of it.
fn instant(at: &str) -> Option<Timestamp> {
    let with_zone = at.parse::<jiff::Timestamp>().ok();
    let without = || at.parse::<jiff::civil::DateTime>().ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok();
    with_zone.or_else(|| without().map(|at| at.timestamp())).map(Timestamp::from)
}

fn message(cx: &Cx<'_>, body: &Value) -> Option<InboundMessage> {
    let (customer, message) = (&body["data"]["customer"], &body["data"]["message"]);
    let from = text(customer, "/channel_phone_number").and_then(number)?;
    let words = text(message, "/message").unwrap_or_default();
    let is_press = text(message, "/message_content_type").is_some_and(|kind| kind.contains("Reply"));
    let press = text(message, "/meta_data/button_payload").or(text(message, "/meta_data/button_text"));
    let read = InboundMessage {
        provider_message_id: text(message, "/id").unwrap_or_default().to_owned(),
        channel: Channel::Whatsapp,
        from: Address::Phone(from),
        from_name: text(customer, "/traits/name").map(str::to_owned),
        // Interakt does not name the organization's number.
        to: cx.from.unwrap_or_default().to_owned(),
        text: words.to_owned(),
        media: media(message).into_iter().collect(),
        location: None,
        button: press.or(Some(words).filter(|words| is_press && !words.is_empty())).map(str::to_owned),
        in_reply_to: text(message, "/source_message_id").map(str::to_owned),
        keyword: None,
        mail: None,
        at: text(message, "/received_at_utc").or(text(body, "/timestamp")).and_then(instant),
    };
    let says_something = !read.text.is_empty() || !read.media.is_empty() || read.button.is_some();
    says_something.then_some(read)
}

/// Interakt names a kind (`Image`) and no media type.
fn media(message: &Value) -> Option<InboundMedia> {
    let reference = text(message, "/media_url")?.to_owned();
    Some(InboundMedia { content_type: None, reference, filename: None })
}
