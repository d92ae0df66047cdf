//! WhatsApp's richer messages. Vonage has a form of its own for a template whose values all stand in its body; everything else goes through
//! `custom`, which holds Meta's object unchanged.
//! <https://developer.vonage.com/en/messages/concepts/custom-objects>

use model::{Button, Failure, Location, Media, MediaKind, WhatsappTemplate};
use serde_json::{Map, Value, json};

use super::NAME;
use crate::whatsapp::{self, Above, refused};

fn custom(object: Value) -> Value {
    json!({ "channel": "whatsapp", "message_type": "custom", "custom": object })
}

pub(super) fn location(place: &Location) -> Value {
    let mut location = json!({ "latitude": place.latitude, "longitude": place.longitude });
    for (name, text) in [("name", &place.name), ("address", &place.address)] {
        if let Some(text) = text {
            location[name] = text.as_str().into();
        }
    }
    custom(json!({ "type": "location", "location": location }))
}

/// Answers to press.
pub(super) fn buttons(above: Above<'_>, buttons: &[Button]) -> Result<Value, Failure> {
    let reply =
        |button: &Button| json!({ "type": "reply", "reply": { "id": whatsapp::data(button), "title": button.text } });
    interactive("button", above, json!({ "buttons": buttons.iter().map(reply).collect::<Vec<_>>() }))
}

/// A page to open.
pub(super) fn link(above: Above<'_>, text: &str, url: &str) -> Result<Value, Failure> {
    let parameters = json!({ "display_text": text, "url": url });
    interactive("cta_url", above, json!({ "name": "cta_url", "parameters": parameters }))
}

fn interactive(kind: &str, above: Above<'_>, action: Value) -> Result<Value, Failure> {
    let mut object = json!({ "type": kind, "body": { "text": above.text }, "action": action });
    if let Some(media) = above.header {
        object["header"] = header(media)?;
    }
    Ok(custom(json!({ "type": "interactive", "interactive": object })))
}

fn header(media: &Media) -> Result<Value, Failure> {
    let kind = match media.kind {
        MediaKind::Image => "image",
        MediaKind::Video => "video",
        MediaKind::Document => "document",
        MediaKind::Audio => return Err(refused("/content/media/0/type", "WhatsApp shows no buttons below a sound")),
    };
    let mut file = json!({ "link": whatsapp::link(media, NAME)? });
    if kind == "document"
        && let Some(name) = &media.filename
    {
        file["filename"] = name.as_str().into();
    }
    Ok(json!({ "type": kind, kind: file }))
}

/// A template by name. `namespace:name` is how Vonage writes it; a name without a namespace gets the account's.
pub(super) fn template(template: &WhatsappTemplate, namespace: Option<&str>) -> Value {
    let (namespace, name) = match template.name.split_once(':') {
        Some((namespace, name)) => (Some(namespace), name),
        None => (namespace, template.name.as_str()),
    };
    if let Some(values) = plain_values(&template.components) {
        let full = namespace.map_or(name.to_owned(), |namespace| format!("{namespace}:{name}"));
        let mut named = json!({ "name": full });
        if !values.is_empty() {
            named["parameters"] = values.into();
        }
        let settings = json!({ "policy": "deterministic", "locale": template.language });
        return json!({ "channel": "whatsapp", "message_type": "template", "template": named, "whatsapp": settings });
    }
    let mut whole = Map::new();
    if let Some(namespace) = namespace {
        whole.insert("namespace".to_owned(), namespace.into());
    }
    whole.insert("name".to_owned(), name.into());
    whole.insert("language".to_owned(), json!({ "policy": "deterministic", "code": template.language }));
    whole.insert("components".to_owned(), template.components.clone().into());
    custom(json!({ "type": "template", "template": whole }))
}

/// The texts of a template that has nothing but an unnamed text for each placeholder of its body.
fn plain_values(components: &[Value]) -> Option<Vec<String>> {
    let body = match components {
        [] => return Some(Vec::new()),
        [body] if body["type"] == "body" => body,
        _ => return None,
    };
    let plain = |parameter: &Value| {
        let is_plain = parameter["type"] == "text" && parameter.get("parameter_name").is_none();
        parameter["text"].as_str().filter(|_| is_plain).map(str::to_owned)
    };
    body["parameters"].as_array()?.iter().map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_by_what_they_hold() {
        let check = |name: &str, components: Value, wanted: Value| {
            let given = WhatsappTemplate {
                name: name.to_owned(),
                language: "en_US".to_owned(),
                components: components.as_array().unwrap().clone(),
            };
            let value = template(&given, Some("ns"));
            let is_custom = value["message_type"] == "custom";
            let part = if is_custom { &value["custom"]["template"] } else { &value["template"] };
            assert_eq!(*part, wanted);
        };
        check("ready", json!([]), json!({ "name": "ns:ready" }));
        check("other:ready", json!([]), json!({ "name": "other:ready" }));
        let body = json!([{ "type": "body", "parameters": [{ "type": "text", "text": "Ada" }] }]);
        check("ready", body, json!({ "name": "ns:ready", "parameters": ["Ada"] }));
        let named =
            json!([{ "type": "body", "parameters": [{ "type": "text", "text": "Ada", "parameter_name": "who" }] }]);
        check(
            "ready",
            named.clone(),
            json!({ "namespace": "ns", "name": "ready", "language": { "policy": "deterministic", "code": "en_US" }, "components": named }),
        );
    }
}
