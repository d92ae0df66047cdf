//! SMS and WhatsApp in Bird's Channels API. Every sender is a channel in a workspace.
//! <https://docs.bird.com/api/channels-api/supported-channels>
//!
//! The shapes of pictures, files and places are from memory of Bird's documentation.

use model::{
    Answer, Channel, Content, Fact, Failure, FailureKind, HttpCall, Media, MediaKind, Method, Timestamp,
    WhatsappTemplate,
};
use serde_json::{Value, json};

use super::{NAME, Settings, call, errors, says, text, unreadable, whatsapp_channel};
use crate::{
    Acceptance, Cx, Outcome, Outgoing, Polled, phone, read,
    whatsapp::{self, Says, refused},
};

pub(super) const HOST: &str = "https://api.bird.com";
/// Largest request, in bytes.
const BODY_MAX: usize = 200 * 1024;

pub(super) fn request(cx: &Cx<'_>, settings: &Settings, message: &Outgoing<'_>) -> Result<HttpCall, Failure> {
    let to = json!({ "identifierKey": "phonenumber", "identifierValue": phone(message.to)?.as_str() });
    let mut body = json!({ "receiver": { "contacts": [to] }, "reference": message.attempt_id.to_string() });
    match message.content {
        Content::Sms(_) => body["body"] = words(text(message.content)?),
        _ => match says(message.content)? {
            Says::Template(given) => body["template"] = template(given)?,
            Says::Text(text) => body["body"] = words(text),
            Says::Media(media, caption) => body["body"] = self::media(media, caption)?,
            Says::Place(place) => {
                let point = json!({ "latitude": place.latitude, "longitude": place.longitude });
                let mut location = json!({ "coordinates": point });
                if place.name.is_some() || place.address.is_some() {
                    location["location"] = json!({ "label": place.name, "address": place.address });
                }
                body["body"] = json!({ "type": "location", "location": location });
            }
            Says::Buttons(..) | Says::Link(..) => {
                return Err(refused("/content/buttons", "Bird carries WhatsApp buttons only in templates here"));
            }
        },
    }
    let body = body.to_string();
    if body.len() > BODY_MAX {
        return Err(refused("/content", "is larger than the 200 kB of a request to Bird"));
    }
    let path = path(settings, message.channel)?;
    Ok(call(cx, settings, Method::Post, HOST, &path).body("application/json", body))
}

/// The messages of the channel this goes out by.
pub(super) fn path(settings: &Settings, channel: Channel) -> Result<String, Failure> {
    let missing = |kind, code, detail: &str| Failure::new(kind, code, detail);
    let workspace = settings.workspace_id.as_deref().ok_or_else(|| {
        missing(FailureKind::Account, "no_workspace", "The account names no workspace. Set `workspace_id`.")
    })?;
    let channel = match channel {
        Channel::Whatsapp => whatsapp_channel(settings)?,
        _ => settings.sms_channel_id.as_deref().ok_or_else(|| {
            missing(FailureKind::Content, "no_channel", "The account names no SMS channel. Set `sms_channel_id`.")
        })?,
    };
    Ok(format!("/workspaces/{workspace}/channels/{channel}/messages"))
}

fn words(text: &str) -> Value {
    json!({ "type": "text", "text": { "text": text } })
}

fn media(media: &Media, caption: Option<&str>) -> Result<Value, Failure> {
    let url = whatsapp::link(media, NAME)?;
    let (kind, mut file) = match media.kind {
        MediaKind::Image => ("image", json!({ "images": [{ "mediaUrl": url }] })),
        MediaKind::Video | MediaKind::Audio | MediaKind::Document => {
            let name = whatsapp::filename(media.filename.as_deref(), url);
            let content_type = content_type(&name, media.kind);
            ("file", json!({ "files": [{ "mediaUrl": url, "contentType": content_type, "filename": name }] }))
        }
    };
    if let Some(caption) = caption {
        file["text"] = caption.into();
    }
    Ok(json!({ "type": kind, kind: file }))
}

/// Bird wants a file's media type, which a URL does not tell: the end of its name does, or else its kind.
fn content_type(name: &str, kind: MediaKind) -> &'static str {
    let end = name.rsplit_once('.').map_or("", |(_, end)| end).to_ascii_lowercase();
    match (end.as_str(), kind) {
        ("pdf", _) => "application/pdf",
        ("txt", _) => "text/plain",
        ("csv", _) => "text/csv",
        ("doc", _) => "application/msword",
        ("docx", _) => "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        ("xls", _) => "application/vnd.ms-excel",
        ("xlsx", _) => "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        ("3gp", _) => "video/3gpp",
        ("mp4", MediaKind::Video) => "video/mp4",
        ("ogg" | "opus", _) => "audio/ogg",
        ("aac", _) => "audio/aac",
        ("amr", _) => "audio/amr",
        ("m4a" | "mp4", MediaKind::Audio) => "audio/mp4",
        (_, MediaKind::Video) => "video/mp4",
        (_, MediaKind::Audio) => "audio/mpeg",
        (_, MediaKind::Document | MediaKind::Image) => "application/octet-stream",
    }
}

/// A template is a project of Bird's, with values by name; values without a name are numbered in the order given, over all components.
fn template(template: &WhatsappTemplate) -> Result<Value, Failure> {
    const PLACES: &[&str] = &[
        "/text",
        "/payload",
        "/coupon_code",
        "/currency/fallback_value",
        "/date_time/fallback_value",
        "/image/link",
        "/video/link",
        "/document/link",
    ];
    let mut parameters = Vec::new();
    let mut numbered = 0;
    for (at, component) in template.components.iter().enumerate() {
        let values = component["parameters"].as_array().map(Vec::as_slice).unwrap_or_default();
        for (index, value) in values.iter().enumerate() {
            let pointer = format!("/content/whatsapp_template/components/{at}/parameters/{index}");
            let text = PLACES.iter().find_map(|place| read::text(value, place));
            let text = text.ok_or_else(|| refused(pointer, "holds no text, payload, link or fallback value"))?;
            let key = match read::text(value, "/parameter_name") {
                Some(name) => name.to_owned(),
                None => {
                    numbered += 1;
                    numbered.to_string()
                }
            };
            parameters.push(json!({ "type": "string", "key": key, "value": text }));
        }
    }
    let mut project = json!({ "projectId": template.name, "version": "latest", "locale": template.language });
    if !parameters.is_empty() {
        project["parameters"] = parameters.into();
    }
    Ok(project)
}

/// How an attempt ended.
pub(super) fn outcome(answer: &Answer, now: Timestamp) -> Outcome {
    let http = match read::http(answer) {
        Ok(http) => http,
        Err(failure) => return Outcome::Refused(failure),
    };
    if !(200..=299).contains(&http.status) {
        return Outcome::Refused(errors::bird(http, now));
    }
    let message = read::json(http);
    let Some(id) = read::text(&message, "/id") else {
        return Outcome::Refused(unreadable(&http.text()));
    };
    match errors::bird_status(&message) {
        Some(Fact::Failed { failure }) => Outcome::Refused(failure),
        _ => Outcome::Accepted(Acceptance::with_id(id)),
    }
}

pub(super) fn polled(answer: &Answer) -> Option<Polled> {
    let http = read::http(answer).ok().filter(|http| http.status == 200)?;
    let message = read::json(http);
    let at = |name| read::text(&message, name).and_then(|at| at.parse().ok());
    let taken = (Fact::Sent, at("/createdAt"));
    let facts = match errors::bird_status(&message)? {
        Fact::Sent => vec![taken],
        other => vec![taken, (other, at("/lastStatusAt"))],
    };
    Some(Polled::Known { provider_message_id: read::text(&message, "/id")?.to_owned(), facts })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_types_by_name_and_kind() {
        for (name, kind, wanted) in [
            ("Ticket.PDF", MediaKind::Document, "application/pdf"),
            ("notes", MediaKind::Document, "application/octet-stream"),
            ("a.mp4", MediaKind::Video, "video/mp4"),
            ("a.mp4", MediaKind::Audio, "audio/mp4"),
            ("a.3gp", MediaKind::Video, "video/3gpp"),
            ("a", MediaKind::Video, "video/mp4"),
            ("a.ogg", MediaKind::Audio, "audio/ogg"),
            ("a", MediaKind::Audio, "audio/mpeg"),
        ] {
            assert_eq!(content_type(name, kind), wanted, "{name} {kind:?}");
        }
    }
}
