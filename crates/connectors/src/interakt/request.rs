//! What a message becomes in Interakt's JSON.

use model::{Call, Failure, HttpCall, Media, MediaKind, Method, WhatsappTemplate};
use serde_json::{Map, Value, json};

use super::{HOST, NAME, Settings};
use crate::{
    Cx, Outgoing, phone,
    whatsapp::{
        self, Says, filename, link, refused,
        template::{self, Does, Header},
    },
};

/// The request for one message.
pub(super) fn call(cx: &Cx<'_>, message: &Outgoing<'_>) -> Result<Call, Failure> {
    let settings = Settings::read(cx.settings)?;
    let (kind, name, object) = object(whatsapp::says(message.content)?)?;
    let body = json!({
        "fullPhoneNumber": phone(message.to)?.digits(),
        // Comes back with every webhook.
        "callbackData": message.attempt_id.to_string(),
        "type": kind,
        name: object,
    });
    // The slash at the end belongs there.
    let call = request(cx, &settings, Method::Post, "/v1/public/message/");
    Ok(Call::Http(call.body("application/json", body.to_string())))
}

/// A request to Interakt. The key is base64 as Interakt gives it, so it stands behind `Basic` as it is.
pub(super) fn request(cx: &Cx<'_>, settings: &Settings, method: Method, path: &str) -> HttpCall {
    HttpCall::new(method, format!("{}{path}", cx.base_or(HOST)))
        .header("authorization", format!("Basic {}", settings.api_key.reveal()))
}

/// The kind of a message with the object that holds it and its name, or which of its fields Interakt cannot carry.
pub(super) fn object(says: Says<'_>) -> Result<(&'static str, &'static str, Value), Failure> {
    match says {
        Says::Text(text) => Ok(("Text", "data", json!({"message": text}))),
        Says::Media(media, caption) => self::media(media, caption),
        Says::Template(template) => Ok(("Template", "template", self::template(template)?)),
        Says::Buttons(..) | Says::Link(..) => Err(refused(
            "/content/buttons",
            "Interakt documents no form for buttons outside templates; send a `whatsapp_template`",
        )),
        Says::Place(_) => Err(refused("/content/location", "Interakt carries no locations")),
    }
}

fn media(media: &Media, caption: Option<&str>) -> Result<(&'static str, &'static str, Value), Failure> {
    let url = link(media, NAME)?;
    let mut data = Map::new();
    data.insert("mediaUrl".to_owned(), Value::from(url));
    if let Some(caption) = caption {
        data.insert("message".to_owned(), Value::from(caption));
    }
    let kind = match media.kind {
        MediaKind::Image => "Image",
        MediaKind::Video => "Video",
        MediaKind::Audio => "Audio",
        MediaKind::Document => {
            data.insert("fileName".to_owned(), Value::from(filename(media.filename.as_deref(), url)));
            "Document"
        }
    };
    Ok((kind, "data", Value::Object(data)))
}

/// Values stand in lists of their own for header, body and each button, which is named by its place in the template.
fn template(given: &WhatsappTemplate) -> Result<Value, Failure> {
    let parts = template::parts(given, NAME)?;
    let mut body = json!({"name": given.name, "languageCode": given.language});
    match parts.header {
        Some(Header::Text(text)) => body["headerValues"] = json!([text]),
        Some(Header::Media(kind, link, name)) => {
            body["headerValues"] = json!([link]);
            if kind == MediaKind::Document {
                body["fileName"] = Value::from(filename(name, link));
            }
        }
        Some(Header::Place(_)) => {
            return Err(refused("/content/whatsapp_template/components", "Interakt carries no locations in headers"));
        }
        None => {}
    }
    if !parts.body.is_empty() {
        body["bodyValues"] = Value::from(parts.body);
    }
    for press in parts.buttons {
        let list = match press.does {
            Does::Open | Does::Copy => "buttonValues",
            Does::Reply => "buttonPayload",
        };
        body[list][press.index.to_string()] = json!([press.value]);
    }
    Ok(body)
}
