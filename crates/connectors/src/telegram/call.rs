//! Builds the request for one part of a message: JSON, or a multipart form when files are uploaded.

use model::{AttachmentRef, Call, ChatId, Failure, FailureKind, HttpCall, Location, Media, MediaKind};
use serde_json::{Map, Value, json};

use super::{
    parts::{self, Part, Parts},
    request,
};
use crate::{Cx, File, Outgoing, multipart};

/// Largest picture Telegram takes as an upload, in bytes.
const PHOTO_MAX: u64 = 10 << 20;
/// Largest other file, in bytes.
const FILE_MAX: u64 = 50 << 20;
/// Time for a request that uploads files, in milliseconds: 50 MB over a line of 5 Mbit/s and some more.
const UPLOAD_TIMEOUT_MS: u64 = 120_000;

/// The request for part `at` of a message to `chat`.
pub(super) fn part(cx: &Cx<'_>, message: &Outgoing<'_>, at: usize, chat: ChatId) -> Result<Call, Failure> {
    let parts = parts::of(message.content)?;
    let mut form = Form { fields: Map::new(), uploads: Vec::new(), files: message.files };
    form.set("chat_id", chat.0);
    let method = match parts.list[at] {
        Part::Text(text) => {
            form.set("text", text);
            "sendMessage"
        }
        Part::Media(media, caption) => {
            let (method, field) = method(media.kind);
            let value = form.media(media, field)?;
            form.set(field, value);
            form.set_some("caption", caption);
            method
        }
        Part::Album(many, caption) => {
            let album = form.album(many, caption)?;
            form.set("media", album);
            "sendMediaGroup"
        }
        Part::Place(place) => form.place(place),
    };
    if parts.keyboard_at == Some(at) {
        form.set("reply_markup", keyboard(&parts));
    }
    Ok(Call::Http(form.onto(request(cx, method)?, cx.nonce)))
}

/// The method and the field for one file.
fn method(kind: MediaKind) -> (&'static str, &'static str) {
    match kind {
        MediaKind::Image => ("sendPhoto", "photo"),
        MediaKind::Video => ("sendVideo", "video"),
        MediaKind::Audio => ("sendAudio", "audio"),
        MediaKind::Document => ("sendDocument", "document"),
    }
}

/// Refuses a file of `size` bytes that Telegram does not take as this kind of media. It has no list of types, but a photo is a picture.
/// <https://core.telegram.org/bots/api#sending-files>
pub(super) fn check_file(kind: MediaKind, file: &AttachmentRef, size: u64) -> Result<(), Failure> {
    let name = &file.filename;
    let most = if kind == MediaKind::Image { PHOTO_MAX } else { FILE_MAX };
    if size > most {
        let detail = format!("{name} has {size} bytes, and Telegram takes {most} here ({} MB).", most >> 20);
        return Err(Failure::new(FailureKind::Content, "file_too_large", detail));
    }
    if kind == MediaKind::Image && !file.content_type.to_ascii_lowercase().starts_with("image/") {
        let detail =
            format!("{name} is {}; Telegram takes pictures as photos. Send it as a document.", file.content_type);
        return Err(Failure::new(FailureKind::Content, "file_type", detail));
    }
    Ok(())
}

fn keyboard(parts: &Parts<'_>) -> Value {
    let button = |button: &model::Button| match &button.url {
        Some(url) => json!({"text": button.text, "url": url}),
        None => json!({"text": button.text, "callback_data": parts::data(button)}),
    };
    let row = |row: &Vec<model::Button>| row.iter().map(button).collect::<Vec<_>>();
    let rows: Vec<_> = parts.buttons.iter().filter(|row| !row.is_empty()).map(row).collect();
    json!({"inline_keyboard": rows})
}

struct Form<'a> {
    fields: Map<String, Value>,
    /// Files by the name of their form field.
    uploads: Vec<(String, Upload<'a>)>,
    files: &'a [File],
}

struct Upload<'a> {
    file: &'a File,
    filename: &'a str,
}

impl<'a> Form<'a> {
    fn set(&mut self, name: &str, value: impl Into<Value>) {
        self.fields.insert(name.to_owned(), value.into());
    }

    fn set_some(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            self.set(name, value);
        }
    }

    /// The value of a media field: a URL Telegram fetches, or the name of the form field that holds the upload.
    fn media(&mut self, media: &'a Media, field: &str) -> Result<Value, Failure> {
        if let Some(url) = &media.url {
            return Ok(Value::from(url.as_str()));
        }
        let file =
            self.files.iter().find(|file| Some(file.reference.attachment_id) == media.attachment_id).ok_or_else(
                || {
                    Failure::new(
                        FailureKind::Content,
                        "attachment_missing",
                        "An uploaded file of the message is gone. Upload it again.",
                    )
                },
            )?;
        check_file(media.kind, &file.reference, file.bytes.len() as u64)?;
        let filename = media.filename.as_deref().unwrap_or(&file.reference.filename);
        self.uploads.push((field.to_owned(), Upload { file, filename }));
        Ok(Value::from(format!("attach://{field}")))
    }

    fn album(&mut self, many: &'a [Media], caption: Option<&str>) -> Result<Value, Failure> {
        let mut items = Vec::new();
        for (index, media) in many.iter().enumerate() {
            let (_, kind) = method(media.kind);
            let mut item = json!({"type": kind, "media": self.media(media, &format!("file{index}"))?});
            let caption = if index == 0 { caption.or(media.caption.as_deref()) } else { media.caption.as_deref() };
            if let Some(caption) = caption.filter(|caption| !caption.is_empty()) {
                item["caption"] = Value::from(caption);
            }
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    /// A venue needs a title and an address; the point itself stands in for the one that is missing.
    fn place(&mut self, place: &Location) -> &'static str {
        self.set("latitude", place.latitude);
        self.set("longitude", place.longitude);
        let point = format!("{}, {}", place.latitude, place.longitude);
        let (title, address) = match (place.name.as_deref(), place.address.as_deref()) {
            (None, None) => return "sendLocation",
            (Some(name), address) => (name, address.unwrap_or(&point)),
            (None, Some(address)) => (address, point.as_str()),
        };
        self.set("title", title);
        self.set("address", address);
        "sendVenue"
    }

    fn onto(self, call: HttpCall, nonce: u128) -> HttpCall {
        if self.uploads.is_empty() {
            return call.body("application/json", Value::Object(self.fields).to_string());
        }
        let (kind, body) = self.multipart(nonce);
        let mut call = call.body(&kind, body);
        call.timeout_ms = UPLOAD_TIMEOUT_MS;
        call
    }

    fn multipart(mut self, nonce: u128) -> (String, bytes::Bytes) {
        // A single upload is the field itself, where an album points to its files.
        for (name, _) in &self.uploads {
            self.fields.remove(name);
        }
        let mut form = multipart::Form::new(nonce);
        for (name, value) in &self.fields {
            form.text(name, &value.as_str().map_or_else(|| value.to_string(), str::to_owned));
        }
        for (name, Upload { file, filename }) in &self.uploads {
            form.file(name, filename, &file.reference.content_type, &file.bytes);
        }
        form.finish()
    }
}
