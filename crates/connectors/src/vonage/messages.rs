//! The Messages API, version 1: what a content becomes in it, what it cannot carry, and its answers.
//! <https://developer.vonage.com/en/api/messages>

use model::{Answer, Channel, Content, Failure, HttpCall, Media, MediaKind, Method, SmsContent, Timestamp};
use serde_json::{Map, Value, json};

use super::{NAME, Region, Settings, authorized, errors, from, rich, unreadable};
use crate::{
    Acceptance, Cx, Outcome, Outgoing, phone, read,
    whatsapp::{self, Says, refused},
};

/// Longest SMS, in characters.
const SMS_MAX: usize = 3200;
/// Longest text below the file of an MMS, in characters.
const CAPTION_MAX: usize = 3000;

/// The fields of a message that depend on what it says. The namespace goes before the name of a WhatsApp template that has none.
pub(super) fn parts(content: &Content, namespace: Option<&str>) -> Result<Map<String, Value>, Failure> {
    let parts = match content {
        Content::Sms(sms) => self::sms(sms)?,
        Content::Whatsapp(_) => self::whatsapp(content, namespace)?,
        Content::Email(_) | Content::Telegram(_) | Content::Voice(_) | Content::Webhook(_) => {
            return Err(refused("/channel", "this account carries SMS, WhatsApp and calls"));
        }
    };
    match parts {
        Value::Object(parts) => Ok(parts),
        _ => Err(refused("/content", "has no form in Vonage's API")),
    }
}

pub(super) fn request(cx: &Cx<'_>, settings: &Settings, message: &Outgoing<'_>) -> Result<HttpCall, Failure> {
    let mut body = parts(message.content, settings.whatsapp_namespace.as_deref())?;
    let is_text = body.get("channel").is_some_and(|channel| channel == "sms");
    // A picture leaves from a number, never from a name.
    let channel = if is_text { Channel::Sms } else { Channel::Whatsapp };
    body.insert("from".to_owned(), from(cx, channel)?.into());
    body.insert("to".to_owned(), phone(message.to)?.digits().into());
    body.insert("client_ref".to_owned(), message.attempt_id.to_string().into());
    if is_text && let Some(registered) = registered(settings) {
        body.insert("sms".to_owned(), registered);
    }
    if !cx.callback_url.is_empty() {
        body.insert("webhook_url".to_owned(), cx.callback_url.into());
        body.insert("webhook_version".to_owned(), "v1".into());
    }
    let host = match settings.region {
        Region::Global => "https://api.nexmo.com",
        Region::Eu => "https://api-eu.vonage.com",
        Region::Us => "https://api-us.vonage.com",
    };
    let call = HttpCall::new(Method::Post, format!("{}/v1/messages", cx.base_or(host)));
    Ok(authorized(cx, settings, call)?.body("application/json", Value::Object(body).to_string()))
}

/// India's registers.
fn registered(settings: &Settings) -> Option<Value> {
    let ids = [("entity_id", &settings.entity_id), ("content_id", &settings.content_id)];
    let given: Map<String, Value> =
        ids.into_iter().filter_map(|(name, id)| Some((name.to_owned(), id.clone()?.into()))).collect();
    (!given.is_empty()).then_some(Value::Object(given))
}

fn sms(sms: &SmsContent) -> Result<Value, Failure> {
    match sms.media.as_slice() {
        [] if sms.text.is_empty() => Err(refused("/content/text", "is empty and there is no media")),
        [] => {
            check_length("/content/text", &sms.text, SMS_MAX)?;
            Ok(json!({ "channel": "sms", "message_type": "text", "text": sms.text }))
        }
        [one] => {
            let kind = match one.kind {
                MediaKind::Image => "image",
                MediaKind::Video => "video",
                MediaKind::Audio => "audio",
                MediaKind::Document => {
                    return Err(refused(
                        "/content/media/0/type",
                        "Vonage's MMS carries pictures, films and sounds, no documents",
                    ));
                }
            };
            Ok(json!({ "channel": "mms", "message_type": kind, kind: file(one, &sms.text)? }))
        }
        _ => Err(refused("/content/media", "Vonage carries one file in an MMS; send one message for each")),
    }
}

/// What WhatsApp itself cannot hold is refused by [`whatsapp::says`].
fn whatsapp(content: &Content, namespace: Option<&str>) -> Result<Value, Failure> {
    match whatsapp::says(content)? {
        Says::Text(text) => Ok(json!({ "channel": "whatsapp", "message_type": "text", "text": text })),
        Says::Media(media, text) => self::media(media, text),
        Says::Buttons(above, buttons) => rich::buttons(above, buttons),
        Says::Link(above, text, url) => rich::link(above, text, url),
        Says::Place(place) => Ok(rich::location(place)),
        Says::Template(template) => Ok(rich::template(template, namespace)),
    }
}

fn media(media: &Media, text: Option<&str>) -> Result<Value, Failure> {
    let kind = match media.kind {
        MediaKind::Image => "image",
        MediaKind::Video => "video",
        MediaKind::Audio => "audio",
        MediaKind::Document => "file",
    };
    let mut file = json!({ "url": whatsapp::link(media, NAME)? });
    if let Some(text) = text {
        file["caption"] = text.into();
    }
    if kind == "file"
        && let Some(name) = media.filename.as_deref().filter(|name| !name.is_empty())
    {
        file["name"] = name.into();
    }
    Ok(json!({ "channel": "whatsapp", "message_type": kind, kind: file }))
}

/// The file of an MMS: `url` and `caption`, which is the text or the file's own.
fn file(media: &Media, text: &str) -> Result<Value, Failure> {
    let mut file = json!({ "url": whatsapp::link(media, NAME)? });
    let own = media.caption.as_deref().unwrap_or_default();
    let caption = match (text.is_empty(), own.is_empty()) {
        (false, false) => {
            return Err(refused(
                "/content/media/0/caption",
                "Vonage carries one text below the file; put it into `text`",
            ));
        }
        (false, true) => text,
        (true, _) => own,
    };
    if !caption.is_empty() {
        check_length("/content/text", caption, CAPTION_MAX)?;
        file["caption"] = caption.into();
    }
    Ok(file)
}

pub(super) fn check_length(pointer: &str, text: &str, most: usize) -> Result<(), Failure> {
    match text.chars().count() > most {
        true => Err(refused(pointer, format!("is longer than Vonage's {most} characters"))),
        false => Ok(()),
    }
}

/// How an attempt ended.
pub(super) fn outcome(answer: &Answer, now: Timestamp) -> Outcome {
    let http = match read::http(answer) {
        Ok(http) => http,
        Err(failure) => return Outcome::Refused(failure),
    };
    if !(200..=299).contains(&http.status) {
        return Outcome::Refused(errors::problem(http, now));
    }
    match read::text(&read::json(http), "/message_uuid") {
        Some(id) => Outcome::Accepted(Acceptance::with_id(id)),
        None => Outcome::Refused(unreadable(&http.text())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the content becomes without its channel, or the field that cannot be carried.
    fn check(content: Value, wanted: Result<Value, &str>) {
        let content: Content = serde_json::from_value(content).unwrap();
        let given = match parts(&content, None) {
            Ok(mut parts) => {
                parts.remove("channel");
                Ok(Value::Object(parts))
            }
            Err(failure) => Err(failure.detail.split(':').next().unwrap().to_owned()),
        };
        assert_eq!(given, wanted.map_err(str::to_owned), "{content:?}");
    }

    fn file(kind: &str) -> Value {
        json!({ "type": kind, "url": "https://acme.example/1" })
    }

    #[test]
    fn what_an_sms_becomes() {
        let sms = |text: &str, media: Value| json!({ "channel": "sms", "text": text, "media": media });
        check(sms("Hi", json!([])), Ok(json!({ "message_type": "text", "text": "Hi" })));
        check(sms("", json!([])), Err("/content/text"));
        let long = "ä".repeat(3200);
        check(sms(&long, json!([])), Ok(json!({ "message_type": "text", "text": long })));
        check(sms(&"ä".repeat(3201), json!([])), Err("/content/text"));
        for kind in ["image", "video", "audio"] {
            check(
                sms("Look", json!([file(kind)])),
                Ok(json!({ "message_type": kind, kind: { "url": "https://acme.example/1", "caption": "Look" } })),
            );
        }
        check(sms("", json!([file("document")])), Err("/content/media/0/type"));
        check(sms("", json!([file("image"), file("image")])), Err("/content/media"));
        check(sms(&"a".repeat(3001), json!([file("image")])), Err("/content/text"));
        let uploaded = json!({ "type": "image", "attachment_id": "atc_01KAK4HKM000000000000000A1" });
        check(sms("", json!([uploaded])), Err("/content/media/0"));
        let captioned = json!({ "type": "image", "url": "https://acme.example/1", "caption": "Below" });
        check(
            sms("", json!([captioned])),
            Ok(json!({ "message_type": "image", "image": { "url": "https://acme.example/1", "caption": "Below" } })),
        );
        check(sms("Hi", json!([captioned])), Err("/content/media/0/caption"));
    }

    #[test]
    fn what_a_whatsapp_message_becomes() {
        let text = |text: String| json!({ "channel": "whatsapp", "text": text });
        check(text("Hi".into()), Ok(json!({ "message_type": "text", "text": "Hi" })));
        check(text("ä".repeat(4097)), Err("/content/text"));
        check(text(String::new()), Err("/content/text"));
        let with = |media: Value| json!({ "channel": "whatsapp", "media": media });
        for (kind, name) in [("image", "image"), ("video", "video"), ("audio", "audio"), ("document", "file")] {
            check(
                with(json!([file(kind)])),
                Ok(json!({ "message_type": name, name: { "url": "https://acme.example/1" } })),
            );
        }
        let named = json!({ "type": "document", "url": "https://acme.example/1", "filename": "Ticket.pdf" });
        check(
            with(json!([named])),
            Ok(json!({ "message_type": "file", "file": { "url": "https://acme.example/1", "name": "Ticket.pdf" } })),
        );
        check(with(json!([file("image"), file("image")])), Err("/content/media"));
        check(json!({ "channel": "whatsapp", "text": "Hi", "media": [file("audio")] }), Err("/content/text"));
        let place = json!({ "latitude": 1.0, "longitude": 2.0 });
        check(json!({ "channel": "whatsapp", "text": "Hi", "location": place }), Err("/content/text"));
        let template = json!({ "name": "ready", "language": "en" });
        check(json!({ "channel": "whatsapp", "text": "Hi", "whatsapp_template": template }), Err("/content"));
        check(json!({ "channel": "telegram", "text": "Hi" }), Err("/channel"));
    }
}
