//! What a message becomes in Gupshup's forms: one for templates, one for everything else, each with JSON in its fields.
//! <https://docs.gupshup.io/reference/msg> <https://docs.gupshup.io/reference/post_wa-api-v1-template-msg>

use model::{Call, Failure, FailureKind, HttpCall, Location, Media, MediaKind, Method, WhatsappTemplate};
use serde_json::{Map, Value, json};
use url::form_urlencoded;

use super::{HOST, NAME, Settings, sender};
use crate::{
    Cx, Outgoing, phone,
    whatsapp::{
        self, Above, Says, filename, link, refused,
        template::{self, Does, Header},
    },
};

/// The fields that hold a message, and where they go.
pub(super) struct Fields {
    path: &'static str,
    fields: Vec<(&'static str, String)>,
}

/// The request for one message.
pub(super) fn call(cx: &Cx<'_>, message: &Outgoing<'_>) -> Result<Call, Failure> {
    let settings = Settings::read(cx.settings)?;
    let from = sender(cx, &settings)?.ok_or_else(|| {
        Failure::new(
            FailureKind::Account,
            "no_sender",
            "The Gupshup account has no sender. Set `source` or `from` to the app's number.",
        )
    })?;
    let Fields { path, fields } = fields(whatsapp::says(message.content)?, &message.attempt_id.to_string())?;
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("channel", "whatsapp")
        .append_pair("source", from.digits())
        .append_pair("destination", phone(message.to)?.digits())
        .append_pair("src.name", &settings.app_name)
        .extend_pairs(fields);
    Ok(Call::Http(request(cx, &settings, Method::Post, path).body("application/x-www-form-urlencoded", form.finish())))
}

/// A request to Gupshup, with the account's key.
pub(super) fn request(cx: &Cx<'_>, settings: &Settings, method: Method, path: &str) -> HttpCall {
    HttpCall::new(method, format!("{}{path}", cx.base_or(HOST))).header("apikey", settings.api_key.reveal())
}

/// The fields that hold a message, or which of its fields Gupshup cannot carry. `id` names a message with buttons.
pub(super) fn fields(says: Says<'_>, id: &str) -> Result<Fields, Failure> {
    let message = match says {
        Says::Template(template) => return self::template(template),
        Says::Text(text) => json!({"type": "text", "text": text}),
        Says::Media(media, caption) => self::media(media, caption)?,
        Says::Buttons(above, buttons) => quick_reply(above, buttons, id)?,
        Says::Link(..) => {
            return Err(refused("/content/buttons/0", "Gupshup carries links on buttons only in templates"));
        }
        Says::Place(place) => location(place),
    };
    Ok(Fields { path: "/wa/api/v1/msg", fields: vec![("message", message.to_string())] })
}

/// Fields that are absent stay away: Gupshup refuses a caption that is null.
fn set(object: &mut Value, name: &str, value: Option<&str>) {
    if let Some(value) = value.filter(|value| !value.is_empty()) {
        object[name] = Value::from(value);
    }
}

fn media(media: &Media, caption: Option<&str>) -> Result<Value, Failure> {
    let url = link(media, NAME)?;
    let mut body = match media.kind {
        MediaKind::Image => json!({"type": "image", "originalUrl": url, "previewUrl": url}),
        MediaKind::Video => json!({"type": "video", "url": url}),
        MediaKind::Audio => json!({"type": "audio", "url": url}),
        MediaKind::Document => {
            json!({"type": "file", "url": url, "filename": filename(media.filename.as_deref(), url)})
        }
    };
    set(&mut body, "caption", caption);
    Ok(body)
}

/// <https://docs.gupshup.io/docs/quick-replies>
fn quick_reply(above: Above<'_>, buttons: &[model::Button], id: &str) -> Result<Value, Failure> {
    let mut content = json!({"type": "text", "text": above.text});
    if let Some(media) = above.header {
        let url = link(media, NAME)?;
        content["url"] = Value::from(url);
        content["type"] = Value::from(match media.kind {
            MediaKind::Image => "image",
            MediaKind::Video => "video",
            // A sound above buttons is refused before.
            MediaKind::Audio | MediaKind::Document => "file",
        });
        if media.kind == MediaKind::Document {
            content["filename"] = Value::from(filename(media.filename.as_deref(), url));
        }
    }
    let option =
        |button: &model::Button| json!({"type": "text", "title": button.text, "postbackText": whatsapp::data(button)});
    let options: Vec<_> = buttons.iter().map(option).collect();
    Ok(json!({"type": "quick_reply", "msgid": id, "content": content, "options": options}))
}

fn location(place: &Location) -> Value {
    let mut body = json!({"type": "location", "latitude": place.latitude, "longitude": place.longitude});
    set(&mut body, "name", place.name.as_deref());
    set(&mut body, "address", place.address.as_deref());
    body
}

/// Values stand in one list, of the body first and of link buttons after it.
fn template(given: &WhatsappTemplate) -> Result<Fields, Failure> {
    if !given.name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        return Err(refused(
            "/content/whatsapp_template/name",
            "Gupshup knows templates by their id, such as c6aecef6-bcb0-4fb1-8100-28c094e3bc6b",
        ));
    }
    let mut parts = template::parts(given, NAME)?;
    parts.buttons.sort_by_key(|press| press.index);
    let mut params = parts.body;
    let mut answers = Vec::new();
    for press in parts.buttons {
        match press.does {
            Does::Open => params.push(press.value),
            Does::Reply => answers.push(json!({"index": press.index, "text": press.value})),
            Does::Copy => {
                return Err(refused(press.pointer, "Gupshup documents no place for the value of a code button"));
            }
        }
    }
    let mut fields = vec![("template", json!({"id": given.name, "params": params}).to_string())];
    fields.extend(parts.header.map(header).transpose()?.map(|message| ("message", message.to_string())));
    if !answers.is_empty() {
        fields.push(("postbackTexts", Value::from(answers).to_string()));
    }
    Ok(Fields { path: "/wa/api/v1/template/msg", fields })
}

fn header(header: Header<'_>) -> Result<Value, Failure> {
    let of = |kind: &str, value: Value| {
        let mut body = Map::new();
        body.insert("type".to_owned(), Value::from(kind));
        body.insert(kind.to_owned(), value);
        Value::Object(body)
    };
    match header {
        Header::Media(MediaKind::Image, link, _) => Ok(of("image", json!({"link": link}))),
        Header::Media(MediaKind::Video, link, _) => Ok(of("video", json!({"link": link}))),
        Header::Media(_, link, name) => Ok(of("document", json!({"link": link, "filename": filename(name, link)}))),
        Header::Place(place) => Ok(of("location", place.clone())),
        Header::Text(_) => Err(refused(
            "/content/whatsapp_template/components",
            "Gupshup documents no place for the value of a text header; make a template whose header is fixed",
        )),
    }
}
