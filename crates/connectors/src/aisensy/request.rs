//! What a template becomes in a request to a campaign.

use model::{Call, Failure, HttpCall, Method, WhatsappTemplate};
use serde_json::{Map, Value, json};

use super::{HOST, NAME, Settings};
use crate::{
    Cx, Outgoing, phone,
    whatsapp::{
        self, Says, filename, refused,
        template::{self, Does, Header},
    },
};

/// The request for one message. The key is a field of the body; the exchange log redacts the account's secrets.
pub(super) fn call(cx: &Cx<'_>, message: &Outgoing<'_>) -> Result<Call, Failure> {
    let settings = Settings::read(cx.settings)?;
    let digits = phone(message.to)?.digits();
    let mut body = fields(whatsapp::says(message.content)?)?;
    body.insert("apiKey".to_owned(), Value::from(settings.api_key.reveal()));
    body.insert("destination".to_owned(), Value::from(digits));
    // AiSensy wants a name for the contact it makes; the number is the one we know.
    body.insert("userName".to_owned(), Value::from(digits));
    Ok(Call::Http(post(cx, "/campaign/t1/api/v2", Value::Object(body))))
}

/// A request to AiSensy.
pub(super) fn post(cx: &Cx<'_>, path: &str, body: Value) -> HttpCall {
    HttpCall::new(Method::Post, format!("{}{path}", cx.base_or(HOST))).body("application/json", body.to_string())
}

/// The fields that hold a template, or which of the content's fields AiSensy cannot carry.
pub(super) fn fields(says: Says<'_>) -> Result<Map<String, Value>, Failure> {
    const TEMPLATES: &str =
        "AiSensy's campaign API carries templates only; send a `whatsapp_template` named after a live API campaign";
    match says {
        Says::Template(template) => self::template(template),
        Says::Text(_) | Says::Buttons(..) | Says::Link(..) => Err(refused("/content/text", TEMPLATES)),
        Says::Media(..) => Err(refused("/content/media", TEMPLATES)),
        Says::Place(_) => Err(refused("/content/location", TEMPLATES)),
    }
}

fn template(given: &WhatsappTemplate) -> Result<Map<String, Value>, Failure> {
    let parts = template::parts(given, NAME)?;
    let mut fields = Map::new();
    fields.insert("campaignName".to_owned(), Value::from(given.name.as_str()));
    if !parts.body.is_empty() {
        fields.insert("templateParams".to_owned(), Value::from(parts.body));
    }
    match parts.header {
        Some(Header::Media(_, link, name)) => {
            fields.insert("media".to_owned(), json!({"url": link, "filename": filename(name, link)}));
        }
        Some(Header::Text(_)) => {
            return Err(refused(
                "/content/whatsapp_template/components",
                "AiSensy documents no place for the value of a text header; make a template whose header is fixed",
            ));
        }
        Some(Header::Place(_)) => {
            return Err(refused(
                "/content/whatsapp_template/components",
                "AiSensy documents no form for locations in headers",
            ));
        }
        None => {}
    }
    let mut buttons = Vec::new();
    for press in parts.buttons {
        match press.does {
            // A code to copy goes as a link, too.
            Does::Open | Does::Copy => buttons.push(json!({
                "type": "button",
                "sub_type": "url",
                "index": press.index,
                "parameters": [{"type": "text", "text": press.value}],
            })),
            Does::Reply => {
                return Err(refused(press.pointer, "AiSensy documents no form for the data of buttons that answer"));
            }
        }
    }
    if !buttons.is_empty() {
        fields.insert("buttons".to_owned(), Value::from(buttons));
    }
    Ok(fields)
}
