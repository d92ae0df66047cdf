//! WhatsApp in the classic Conversations API.
//! <https://developers.messagebird.com/api/conversations/>
//!
//! It repeats nothing of ours, so reports are matched by its id alone, and an attempt without an answer stays `unknown`. Templates take the values of
//! their body only.

use model::{Answer, Fact, Failure, FailureKind, HttpCall, MediaKind, Method, Timestamp};
use serde_json::{Value, json};

use super::{NAME, Settings, call, callback, errors, says, unreadable, whatsapp_channel};
use crate::{
    Acceptance, Cx, Outcome, Outgoing, Polled, phone, read,
    whatsapp::{self, Says, refused, template},
};

pub(super) const HOST: &str = "https://conversations.messagebird.com";

pub(super) fn request(cx: &Cx<'_>, settings: &Settings, message: &Outgoing<'_>) -> Result<HttpCall, Failure> {
    let (kind, content) = content(&says(message.content)?, settings)?;
    let mut body = json!({
        "to": phone(message.to)?.as_str(),
        "from": whatsapp_channel(settings)?,
        "type": kind,
        "content": content,
    });
    if !cx.callback_url.is_empty() {
        body["reportUrl"] = format!("{}{}", cx.callback_url, callback::path(cx, settings)).into();
    }
    Ok(call(cx, settings, Method::Post, HOST, "/v1/send").body("application/json", body.to_string()))
}

fn content(says: &Says<'_>, settings: &Settings) -> Result<(&'static str, Value), Failure> {
    Ok(match says {
        Says::Text(text) => ("text", json!({ "text": text })),
        Says::Media(media, caption) => {
            let kind = match media.kind {
                MediaKind::Image => "image",
                MediaKind::Video => "video",
                MediaKind::Audio => "audio",
                MediaKind::Document => "file",
            };
            let mut file = json!({ "url": whatsapp::link(media, NAME)? });
            if let Some(caption) = caption {
                file["caption"] = (*caption).into();
            }
            (kind, json!({ kind: file }))
        }
        Says::Place(place) if place.name.is_some() || place.address.is_some() => {
            let detail = "MessageBird's Conversations API shows a point without name and address; leave them out";
            return Err(refused("/content/location", detail));
        }
        Says::Place(place) => {
            ("location", json!({ "location": { "latitude": place.latitude, "longitude": place.longitude } }))
        }
        Says::Template(given) => {
            let namespace = settings.whatsapp_namespace.as_deref().ok_or_else(|| {
                let detail = "Templates need the account's WhatsApp namespace. Set `whatsapp_namespace`.";
                Failure::new(FailureKind::Content, "no_namespace", detail)
            })?;
            let parts = template::parts(given, NAME)?;
            if parts.header.is_some() || !parts.buttons.is_empty() {
                let detail = "MessageBird's Conversations API takes values of the body only";
                return Err(refused("/content/whatsapp_template/components", detail));
            }
            let params: Vec<_> = parts.body.iter().map(|text| json!({ "default": text })).collect();
            let language = json!({ "policy": "deterministic", "code": given.language });
            let hsm =
                json!({ "namespace": namespace, "templateName": given.name, "language": language, "params": params });
            ("hsm", json!({ "hsm": hsm }))
        }
        Says::Buttons(..) | Says::Link(..) => {
            return Err(refused("/content/buttons", "MessageBird carries WhatsApp buttons only in templates"));
        }
    })
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
    match fact(&message) {
        Some(Fact::Failed { failure }) => Outcome::Refused(failure),
        _ => Outcome::Accepted(Acceptance::with_id(id)),
    }
}

/// What a message of a conversation says of itself. Error codes are passed on unread: none are documented.
pub(super) fn fact(message: &Value) -> Option<Fact> {
    let status = read::text(message, "/status")?;
    match status {
        "accepted" | "pending" | "sent" => Some(Fact::Sent),
        "delivered" => Some(Fact::Delivered),
        "read" => Some(Fact::Read),
        "rejected" | "failed" => {
            let code = errors::number(&message["error"]["code"]).map_or(status.to_owned(), |code| code.to_string());
            let words = read::text(message, "/error/description").unwrap_or_default();
            let detail = "MessageBird did not deliver the message.";
            let failure = Failure::new(FailureKind::Unavailable, code, detail).with_provider_detail(words);
            Some(Fact::Failed { failure })
        }
        _ => None,
    }
}

pub(super) fn polled(answer: &Answer) -> Option<Polled> {
    let http = read::http(answer).ok().filter(|http| http.status == 200)?;
    let message = read::json(http);
    let at = |name| read::text(&message, name).and_then(|at| at.parse().ok());
    let taken = (Fact::Sent, at("/createdDatetime"));
    let facts = match fact(&message)? {
        Fact::Sent => vec![taken],
        other => vec![taken, (other, at("/updatedDatetime"))],
    };
    Some(Polled::Known { provider_message_id: read::text(&message, "/id")?.to_owned(), facts })
}
