//! Gupshup's requests to us: version 2, its own, and version 3, which is Meta's with Gupshup's ids beside Meta's.
//! <https://docs.gupshup.io/docs/what-are-inbound-messages-and-events>
//!
//! Left out on purpose: template and account events, and what is typed while the URL is saved. Reports older than a week carry WhatsApp's id only
//! and find no message.

use model::{Address, Channel, Fact, Failure};
use serde_json::Value;

use super::{NAME, Settings, errors, sender};
use crate::{
    Cx, InboundMedia, InboundMessage, Keyword, Observed, Report,
    read::{bad_callback, text},
    whatsapp::{
        envelope::{self, Dialect},
        instant, number, wish,
    },
};

/// Reads a request of either version.
pub(super) fn read(cx: &Cx<'_>, body: &[u8]) -> Result<Vec<Observed>, Failure> {
    let body: Value = serde_json::from_slice(body).map_err(|_| bad_callback(NAME))?;
    if body["entry"].is_array() {
        return envelope::read(&body, &Dialect { phone_number_id: None, id, failed: errors::reported });
    }
    let payload = &body["payload"];
    let seen = match text(&body, "/type").unwrap_or_default() {
        "message-event" => report(&body, payload).map(Observed::Status),
        "billing-event" => billed(&body, payload).map(Observed::Status),
        "message" => message(cx, &body, payload).map(Observed::Message),
        "user-event" => consent(cx, &body, payload).map(Observed::Message),
        _ => None,
    };
    Ok(seen.into_iter().collect())
}

/// In version 3 Gupshup's id stands beside WhatsApp's, except while only Gupshup has the message.
fn id(status: &Value) -> Option<&str> {
    text(status, "/gs_id").or(text(status, "/id"))
}

/// `id` is Gupshup's own before the message reaches WhatsApp and WhatsApp's afterwards, when Gupshup's is `gsId`.
fn report(body: &Value, event: &Value) -> Option<Report> {
    let word = text(event, "/type")?;
    let details = &event["payload"];
    let fact = match word {
        "enqueued" | "sent" => Fact::Sent,
        "delivered" => Fact::Delivered,
        "read" => Fact::Read,
        "failed" => {
            let words = text(details, "/reason").unwrap_or_default();
            Fact::Failed { failure: errors::reported(envelope::code(&details["code"]), words) }
        }
        _ => return None,
    };
    let id = text(event, "/gsId").or(text(event, "/id"))?;
    let at = instant(&details["ts"]).or(instant(&body["timestamp"]));
    Some(Report { at, ..Report::new(id, word, fact) })
}

/// What was billed was sent. Version 2 tells as what in an event of its own, version 3 in the statuses.
fn billed(body: &Value, event: &Value) -> Option<Report> {
    let pricing = envelope::pricing(&event["deductions"])?;
    let id = text(event, "/references/gsId").or(text(event, "/references/id"))?;
    Some(Report {
        at: instant(&body["timestamp"]),
        pricing: Some(pricing),
        ..Report::new(id, "billing-event", Fact::Sent)
    })
}

fn message(cx: &Cx<'_>, body: &Value, message: &Value) -> Option<InboundMessage> {
    let from = text(message, "/source").or(text(message, "/sender/phone")).and_then(number)?;
    let said = &message["payload"];
    let word = |place: &str| text(said, place).map(str::to_owned);
    let mut read = InboundMessage {
        provider_message_id: text(message, "/id").unwrap_or_default().to_owned(),
        channel: Channel::Whatsapp,
        from: Address::Phone(from),
        from_name: text(message, "/sender/name").map(str::to_owned),
        to: to(cx, body),
        text: String::new(),
        media: Vec::new(),
        location: None,
        button: None,
        in_reply_to: text(message, "/context/gsId").or(text(message, "/context/id")).map(str::to_owned),
        keyword: None,
        mail: None,
        at: instant(&body["timestamp"]),
    };
    match text(message, "/type")? {
        "text" => read.text = word("/text")?,
        "image" | "video" | "audio" | "file" | "sticker" => {
            let reference = word("/url")?;
            read.media.push(InboundMedia { content_type: word("/contentType"), reference, filename: word("/name") });
            read.text = word("/caption").unwrap_or_default();
        }
        "location" => read.location = Some(envelope::place(said)?),
        "contact" => read.text = contacts(said)?,
        "button_reply" | "quick_reply" | "list_reply" => {
            read.text = word("/title").or_else(|| word("/text")).unwrap_or_default();
            read.button = Some(word("/postbackText").or_else(|| word("/id")).or_else(|| word("/reply"))?);
        }
        // The button of a template.
        "button" => {
            read.text = word("/text").unwrap_or_default();
            read.button = Some(word("/postbackText").or_else(|| word("/payload")).or_else(|| word("/text"))?);
        }
        _ => return None,
    }
    Some(read)
}

/// Shared contacts have no other place, so their names and numbers are the text, a line for each.
fn contacts(said: &Value) -> Option<String> {
    let line = |contact: &Value| {
        let name = text(contact, "/name/formatted_name").or(text(contact, "/name/formattedName"));
        let phones = contact["phones"].as_array().map(Vec::as_slice).unwrap_or_default();
        let phones = phones.iter().filter_map(|phone| text(phone, "/phone"));
        name.into_iter().chain(phones).collect::<Vec<_>>().join(" ")
    };
    let lines = said["contacts"].as_array()?.iter().map(line).collect::<Vec<_>>().join("\n");
    (!lines.trim().is_empty()).then_some(lines)
}

fn consent(cx: &Cx<'_>, body: &Value, event: &Value) -> Option<InboundMessage> {
    let keyword = match text(event, "/type")? {
        "opted-out" => Keyword::Stop,
        "opted-in" => Keyword::Start,
        _ => return None,
    };
    let from = text(event, "/phone").and_then(number)?;
    Some(wish(from, to(cx, body), keyword, instant(&body["timestamp"]), None))
}

/// The account's number; version 2 names only the app.
fn to(cx: &Cx<'_>, body: &Value) -> String {
    let settings = Settings::read(cx.settings).ok();
    let number =
        settings.and_then(|settings| sender(cx, &settings).ok().flatten()).map(|phone| phone.as_str().to_owned());
    number.or_else(|| text(body, "/app").map(str::to_owned)).unwrap_or_default()
}
