//! AiSensy's project webhooks: what became of messages, and what people wrote.

use model::{Address, Channel, Fact, Failure, Timestamp};
use serde_json::Value;

use super::NAME;
use crate::{
    Cx, InboundMedia, InboundMessage, Observed, Report,
    read::{bad_callback, text},
    whatsapp::{self, codes, envelope, number},
};

/// Reads a webhook. Topics about contacts, orders and payments tell nothing of messages.
pub(super) fn read(cx: &Cx<'_>, body: &[u8]) -> Result<Vec<Observed>, Failure> {
    let body: Value = serde_json::from_slice(body).map_err(|_| bad_callback(NAME))?;
    let message = &body["data"]["message"];
    Ok(match text(&body, "/topic").unwrap_or_default() {
        "message.status.updated" => reports(&body, message).into_iter().map(Observed::Status).collect(),
        "message.sender.user" => self::message(cx, &body, message).map(Observed::Message).into_iter().collect(),
        _ => Vec::new(),
    })
}

/// One report for each of the message's ids: only one of them is the answer's, and AiSensy does not say which.
fn reports(body: &Value, message: &Value) -> Vec<Report> {
    let Some((fact, at)) = fact(message) else { return Vec::new() };
    let status = text(message, "/status").unwrap_or_default();
    let at = instant(&message[at]).or(instant(&body["created_at"]));
    let (first, second) = (text(message, "/messageId"), text(message, "/id"));
    let ids = first.into_iter().chain(second.filter(|id| first != Some(*id)));
    ids.map(|id| Report { at, ..Report::new(id, status, fact.clone()) }).collect()
}

fn fact(message: &Value) -> Option<(Fact, &'static str)> {
    match text(message, "/status")?.to_ascii_uppercase().as_str() {
        "SENT" => Some((Fact::Sent, "sent_at")),
        "DELIVERED" => Some((Fact::Delivered, "delivered_at")),
        "READ" => Some((Fact::Read, "read_at")),
        "FAILED" => {
            // The code is Meta's.
            let response = &message["failureResponse"];
            let words = text(response, "/reason").unwrap_or_default();
            let failure = codes::reported(envelope::code(&response["code"]), words);
            Some((Fact::Failed { failure }, "failed_at"))
        }
        _ => None,
    }
}

/// Milliseconds since 1970, or a date as text: both are seen in public.
fn instant(value: &Value) -> Option<Timestamp> {
    let date = || value.as_str()?.parse::<jiff::Timestamp>().ok().map(Timestamp::from);
    whatsapp::instant(value).or_else(date)
}

fn message(cx: &Cx<'_>, body: &Value, message: &Value) -> Option<InboundMessage> {
    let said = &message["message_content"];
    let word = |place: &str| text(said, place).map(str::to_owned);
    let media = word("/url").map(|reference| InboundMedia {
        content_type: word("/mime_type"),
        reference,
        filename: word("/filename"),
    });
    let read = InboundMessage {
        provider_message_id: text(message, "/messageId").or(text(message, "/id")).unwrap_or_default().to_owned(),
        channel: Channel::Whatsapp,
        from: Address::Phone(text(message, "/phone_number").and_then(number)?),
        from_name: None,
        // AiSensy does not name the project's number.
        to: cx.from.unwrap_or_default().to_owned(),
        text: word("/text").or_else(|| word("/caption")).unwrap_or_default(),
        media: media.into_iter().collect(),
        location: envelope::place(said),
        button: word("/payload"),
        in_reply_to: None,
        keyword: None,
        mail: None,
        at: instant(&message["sent_at"]).or(instant(&body["created_at"])),
    };
    let says_something =
        !read.text.is_empty() || !read.media.is_empty() || read.location.is_some() || read.button.is_some();
    says_something.then_some(read)
}
