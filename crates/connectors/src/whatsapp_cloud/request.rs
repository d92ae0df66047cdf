//! What a message becomes in Meta's JSON, and the upload of its file.
//! <https://developers.facebook.com/docs/whatsapp/cloud-api/reference/messages>

use aws_lc_rs::hmac;
use model::{
    AttachmentRef, Call, Failure, FailureKind, HttpCall, Location, Media, MediaKind, Method, WhatsappTemplate,
};
use serde_json::{Map, Value, json};

use super::{HOST, Settings};
use crate::{
    Cx, Outgoing, hook, multipart, phone,
    whatsapp::{self, Above, Says, refused},
};

/// Time for a request that uploads a file, in milliseconds: 100 MB over a line of 10 Mbit/s and some more.
const UPLOAD_TIMEOUT_MS: u64 = 120_000;

/// What Meta takes of one kind of file: the largest size in bytes, and the media types, all for none.
/// <https://developers.facebook.com/docs/whatsapp/cloud-api/reference/media#supported-media-types>
fn takes(kind: MediaKind) -> (u64, &'static [&'static str]) {
    match kind {
        MediaKind::Image => (5 << 20, &["image/jpeg", "image/png"]),
        MediaKind::Video => (16 << 20, &["video/mp4", "video/3gpp"]),
        MediaKind::Audio => (16 << 20, &["audio/aac", "audio/amr", "audio/mpeg", "audio/mp4", "audio/ogg"]),
        MediaKind::Document => (100 << 20, &[]),
    }
}

/// Refuses what WhatsApp carries but Meta's interface does not.
pub(super) fn check(says: Says<'_>) -> Result<(), Failure> {
    match says {
        Says::Template(template) => check_name(template),
        Says::Text(_) | Says::Media(..) | Says::Buttons(..) | Says::Link(..) | Says::Place(_) => Ok(()),
    }
}

fn check_name(template: &WhatsappTemplate) -> Result<(), Failure> {
    let is_name = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    match template.name.bytes().all(is_name) {
        true => Ok(()),
        false => {
            Err(refused("/content/whatsapp_template/name", "has only small letters, digits and underscores at Meta"))
        }
    }
}

/// The first request: the message, or the upload of its file.
pub(super) fn first(cx: &Cx<'_>, message: &Outgoing<'_>) -> Result<Call, Failure> {
    let says = whatsapp::says(message.content)?;
    check(says)?;
    match upload_of(says) {
        Some(media) => upload(cx, message, media),
        None => self::message(cx, message, None),
    }
}

/// The file of a message that must be brought to Meta first.
pub(super) fn upload_of(says: Says<'_>) -> Option<&Media> {
    let media = match says {
        Says::Media(media, _) => Some(media),
        Says::Buttons(above, _) | Says::Link(above, _, _) => above.header,
        Says::Text(_) | Says::Place(_) | Says::Template(_) => None,
    };
    media.filter(|media| media.url.is_none())
}

fn upload(cx: &Cx<'_>, message: &Outgoing<'_>, media: &Media) -> Result<Call, Failure> {
    let file = message.files.iter().find(|file| Some(file.reference.attachment_id) == media.attachment_id);
    let file = file.ok_or_else(|| {
        let detail = "The uploaded file of the message is gone. Upload it again.";
        Failure::new(FailureKind::Content, "attachment_missing", detail)
    })?;
    check_file(media.kind, &file.reference, file.bytes.len() as u64)?;
    let kind = media_type(&file.reference);
    let mut form = multipart::Form::new(cx.nonce);
    form.text("messaging_product", "whatsapp");
    form.text("type", kind);
    form.file("file", media.filename.as_deref().unwrap_or(&file.reference.filename), kind, &file.bytes);
    let (content_type, body) = form.finish();
    let settings = Settings::read(cx.settings)?;
    let path = format!("/{}/media", settings.phone_number_id);
    let mut call = call(cx, &settings, Method::Post, &path).body(&content_type, body);
    call.timeout_ms = UPLOAD_TIMEOUT_MS;
    Ok(Call::Http(call))
}

/// The media type without parameters such as the character set.
fn media_type(file: &AttachmentRef) -> &str {
    file.content_type.split(';').next().unwrap_or_default().trim()
}

/// Refuses a file of `size` bytes that Meta does not take as this kind of media.
pub(super) fn check_file(kind: MediaKind, file: &AttachmentRef, size: u64) -> Result<(), Failure> {
    let (size_max, types) = takes(kind);
    let name = &file.filename;
    if size > size_max {
        let detail = format!("{name} has {size} bytes, and WhatsApp takes {size_max} here ({} MB).", size_max >> 20);
        return Err(Failure::new(FailureKind::Content, "file_too_large", detail));
    }
    let given = media_type(file).to_ascii_lowercase();
    if !types.is_empty() && !types.contains(&given.as_str()) {
        let detail = format!("{name} is {given}; WhatsApp takes {} here.", types.join(", "));
        return Err(Failure::new(FailureKind::Content, "file_type", detail));
    }
    Ok(())
}

/// The message itself; `media_id` names the uploaded file.
pub(super) fn message(cx: &Cx<'_>, message: &Outgoing<'_>, media_id: Option<&str>) -> Result<Call, Failure> {
    let (name, value) = object(whatsapp::says(message.content)?, media_id);
    let body = json!({
        "messaging_product": "whatsapp",
        "recipient_type": "individual",
        "to": phone(message.to)?.digits(),
        "type": name,
        name: value,
        // Comes back with every status: that is how one finds an attempt whose answer was lost.
        "biz_opaque_callback_data": message.attempt_id.to_string(),
    });
    let settings = Settings::read(cx.settings)?;
    let path = format!("/{}/messages", settings.phone_number_id);
    Ok(Call::Http(call(cx, &settings, Method::Post, &path).body("application/json", body.to_string())))
}

/// The kind of a message, and the object of that name.
fn object(says: Says<'_>, media_id: Option<&str>) -> (&'static str, Value) {
    match says {
        Says::Text(text) => ("text", json!({"body": text})),
        Says::Media(media, caption) => {
            let mut file = file(media, media_id);
            set(&mut file, "caption", caption);
            (kind(media.kind), Value::Object(file))
        }
        Says::Buttons(above, buttons) => {
            let reply = |button: &model::Button| json!({"type": "reply", "reply": {"id": whatsapp::data(button), "title": button.text}});
            let buttons: Vec<_> = buttons.iter().map(reply).collect();
            ("interactive", interactive("button", above, media_id, json!({"buttons": buttons})))
        }
        Says::Link(above, text, url) => {
            let action = json!({"name": "cta_url", "parameters": {"display_text": text, "url": url}});
            ("interactive", interactive("cta_url", above, media_id, action))
        }
        Says::Place(place) => ("location", location(place)),
        Says::Template(template) => ("template", self::template(template)),
    }
}

fn kind(kind: MediaKind) -> &'static str {
    match kind {
        MediaKind::Image => "image",
        MediaKind::Video => "video",
        MediaKind::Audio => "audio",
        MediaKind::Document => "document",
    }
}

/// A file by its URL or by Meta's id; only documents have a name.
fn file(media: &Media, media_id: Option<&str>) -> Map<String, Value> {
    let mut file = Map::new();
    match &media.url {
        Some(url) => set(&mut file, "link", Some(url)),
        None => set(&mut file, "id", media_id),
    }
    if media.kind == MediaKind::Document {
        set(&mut file, "filename", media.filename.as_deref());
    }
    file
}

fn interactive(of: &str, above: Above<'_>, media_id: Option<&str>, action: Value) -> Value {
    let mut body = json!({"type": of, "body": {"text": above.text}, "action": action});
    if let Some(media) = above.header {
        body["header"] = json!({"type": kind(media.kind), kind(media.kind): file(media, media_id)});
    }
    body
}

fn location(place: &Location) -> Value {
    let mut point = Map::new();
    point.insert("latitude".to_owned(), Value::from(place.latitude));
    point.insert("longitude".to_owned(), Value::from(place.longitude));
    set(&mut point, "name", place.name.as_deref());
    set(&mut point, "address", place.address.as_deref());
    Value::Object(point)
}

fn template(template: &WhatsappTemplate) -> Value {
    let mut body = json!({"name": template.name, "language": {"code": template.language}});
    if !template.components.is_empty() {
        body["components"] = Value::from(template.components.clone());
    }
    body
}

fn set(object: &mut Map<String, Value>, name: &str, value: Option<&str>) {
    if let Some(value) = value.filter(|value| !value.is_empty()) {
        object.insert(name.to_owned(), Value::from(value));
    }
}

/// A request to Meta, with the account's token.
pub(super) fn call(cx: &Cx<'_>, settings: &Settings, method: Method, path: &str) -> HttpCall {
    let mut url = format!("{}/{}{path}", cx.base_or(HOST), settings.api_version);
    if let (true, Some(secret)) = (settings.appsecret_proof, &settings.app_secret) {
        let separator = if path.contains('?') { '&' } else { '?' };
        url.push(separator);
        url.push_str("appsecret_proof=");
        url.push_str(&proof(secret.reveal(), settings.access_token.reveal()));
    }
    HttpCall::new(method, url).header("authorization", format!("Bearer {}", settings.access_token.reveal()))
}

/// <https://developers.facebook.com/docs/graph-api/guides/secure-requests#appsecret_proof>
fn proof(app_secret: &str, access_token: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, app_secret.as_bytes());
    hook::hex(hmac::sign(&key, access_token.as_bytes()).as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::AttachmentId;

    #[test]
    fn the_proof_is_metas() {
        let vectors: Value = serde_json::from_str(include_str!("../../tests/data/meta_webhook.json")).unwrap();
        let token = vectors["appsecret_proof"]["access_token"].as_str().unwrap();
        let secret = vectors["app_secret"].as_str().unwrap();
        assert_eq!(vectors["appsecret_proof"]["proof"], proof(secret, token));
        assert_ne!(vectors["appsecret_proof"]["proof"], proof(secret, "EAAtesttokem"));
    }

    fn file(content_type: &str) -> AttachmentRef {
        AttachmentRef {
            attachment_id: AttachmentId::from_ulid(1),
            filename: "a".to_owned(),
            content_type: content_type.to_owned(),
            sha256: String::new(),
            size: 0,
            content_id: None,
        }
    }

    #[test]
    fn files_have_metas_types_and_sizes() {
        let code =
            |kind, content_type, size| check_file(kind, &file(content_type), size).map_err(|failure| failure.code);
        for (kind, content_type, mega) in [
            (MediaKind::Image, "image/jpeg", 5),
            (MediaKind::Image, "Image/PNG", 5),
            (MediaKind::Video, "video/mp4", 16),
            (MediaKind::Audio, "audio/ogg; codecs=opus", 16),
            (MediaKind::Document, "application/x-anything", 100),
        ] {
            assert_eq!(code(kind, content_type, mega << 20), Ok(()), "{content_type}");
            assert_eq!(code(kind, content_type, (mega << 20) + 1), Err("file_too_large".to_owned()), "{content_type}");
        }
        assert_eq!(code(MediaKind::Image, "image/gif", 1), Err("file_type".to_owned()));
        assert_eq!(code(MediaKind::Video, "video/webm", 1), Err("file_type".to_owned()));
        assert_eq!(code(MediaKind::Audio, "audio/wav", 1), Err("file_type".to_owned()));
    }
}
