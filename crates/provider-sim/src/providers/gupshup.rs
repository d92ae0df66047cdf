//! Gupshup: session messages, template messages, the list of templates; callbacks without a signature.
//! <https://docs.gupshup.io/docs/whatsapp-api-documentation>

mod templates;

use model::{HttpCall, Method};
use serde_json::{Value, json};

use crate::{
    fate::Fate,
    fields::decoded,
    message::{Draft, Message, Stage},
    provider::{Cx, Provider, Setting, Settings, Written, account, text},
    request::{Reply, Request},
};

pub(crate) struct Gupshup;

/// A template every app has.
const ORDER_UPDATE: &str = r#"[{"id": "c6aecef6-bcb0-4fb1-8100-28c094e3bc6b", "elementName": "order_update", "languageCode": "en", "category": "UTILITY", "status": "APPROVED", "data": "Your order {{1}} is {{2}}", "vertical": "orders"}]"#;
const SETTINGS: &[Setting] = &[
    Setting { name: "api_key", default: "simulated-api-key" },
    Setting { name: "app_name", default: "DemoApp" },
    Setting { name: "app_id", default: "8a2bd7a3-5e5c-4a2f-9b25-0c4c5dd4c0ef" },
    Setting { name: "templates", default: ORDER_UPDATE },
    Setting { name: "from", default: "917834811114" },
    Setting { name: "callback_url", default: "" },
];

fn error(status: u16, message: &str) -> Reply {
    Reply::json(status, &json!({"status": "error", "message": message}))
}

impl Provider for Gupshup {
    fn id(&self) -> &'static str {
        "gupshup"
    }

    fn settings(&self) -> &'static [Setting] {
        SETTINGS
    }

    fn accounts(&self, settings: &Settings) -> Vec<Value> {
        let keys =
            json!({"api_key": settings["api_key"], "app_name": settings["app_name"], "app_id": settings["app_id"]});
        vec![account("gupshup", "Gupshup", Some(&format!("+{}", settings["from"])), keys)]
    }

    fn answer(&self, cx: &mut Cx<'_>, request: &Request) -> Result<Reply, Reply> {
        if request.header("apikey") != cx.get("api_key") {
            return Err(error(401, "Authentication Failed"));
        }
        match (request.method.as_str(), &request.segments()[..]) {
            ("POST", ["wa", "api", "v1", "msg"]) => send(cx, request, false),
            ("POST", ["wa", "api", "v1", "template", "msg"]) => send(cx, request, true),
            ("GET", ["wa", "api", "v1", "template", "list", app]) if decoded(app) == cx.get("app_name") => {
                Ok(templates::list(cx))
            }
            ("POST", ["wa", "app", id, "template"]) if *id == cx.get("app_id") => {
                templates::create(cx, &request.form())
            }
            ("DELETE", ["wa", "app", id, "template", name]) if *id == cx.get("app_id") => {
                templates::delete(cx, &decoded(name))
            }
            ("GET", ["wa", "api", "v1", "template", "list", _]) => Err(error(400, "Invalid App Details")),
            _ => Err(error(404, "Not Found")),
        }
    }

    fn throttled(&self, after_s: Option<u64>) -> Reply {
        error(429, "Too Many Requests").retry_after(after_s)
    }

    fn broken(&self, status: u16) -> Reply {
        error(status, "Internal Server Error")
    }

    fn report(&self, cx: &Cx<'_>, message: &Message, stage: Stage) -> Option<HttpCall> {
        let url = cx.callback_of(message)?;
        let word = match stage {
            Stage::Sent => "sent",
            Stage::Delivered => "delivered",
            Stage::Read => "read",
            Stage::Failed | Stage::OptedOut => "failed",
            _ => return None,
        };
        let own = format!("gBE{}", &message.id.replace('-', ""));
        let payload = match stage {
            Stage::Failed => {
                json!({"id": message.id, "type": word, "destination": message.to, "payload": {"code": 1002, "reason": "Number Does Not Exists On WhatsApp"}})
            }
            Stage::OptedOut => {
                json!({"id": message.id, "type": word, "destination": message.to, "payload": {"code": 1012, "reason": "User opted out"}})
            }
            _ => {
                json!({"id": own, "gsId": message.id, "type": word, "destination": message.to, "payload": {"ts": cx.unix()}})
            }
        };
        Some(event(cx, url, "message-event", &payload))
    }

    fn inbound(&self, cx: &mut Cx<'_>, written: &Written) -> Option<HttpCall> {
        let url = cx.callback("callback_url")?;
        let from = written.from.trim_start_matches('+');
        let (kind, payload) = match (&written.media, &written.location, &written.button) {
            (Some(media), ..) => {
                let kind = if written.kind() == "document" { "file" } else { written.kind() };
                (
                    kind,
                    json!({"url": media.url, "contentType": media.content_type, "caption": written.text, "urlExpiry": cx.unix() + 3_600}),
                )
            }
            (None, Some(place), _) => ("location", json!({"latitude": place.latitude, "longitude": place.longitude})),
            (None, None, Some(button)) => (
                "button_reply",
                json!({"title": written.text, "id": button, "reply": format!("{} 1", written.text), "postbackText": button}),
            ),
            (None, None, None) => ("text", json!({ "text": written.text })),
        };
        let mut payload = json!({
            "id": format!("ABE{}", cx.hex(30)), "source": from, "type": kind, "payload": payload,
            "sender": {"phone": from, "name": "Somebody", "country_code": "91", "dial_code": from.get(2..)},
        });
        if let Some(answered) = &written.in_reply_to {
            payload["context"] = json!({"id": "gBE", "gsId": answered});
        }
        Some(event(cx, url, "message", &payload))
    }
}

fn event(cx: &Cx<'_>, url: String, kind: &str, payload: &Value) -> HttpCall {
    let body = json!({"app": cx.get("app_name"), "timestamp": cx.now.as_millis(), "version": 2, "type": kind, "payload": payload});
    HttpCall::new(Method::Post, url).body("application/json", body.to_string())
}

fn send(cx: &mut Cx<'_>, request: &Request, is_template: bool) -> Result<Reply, Reply> {
    let fields = request.form();
    let to = fields.get("destination").to_owned();
    if fields.get("src.name") != cx.get("app_name") {
        return Err(error(400, "Invalid App Details"));
    }
    if fields.get("source") != cx.get("from") {
        return Err(error(400, "Invalid source"));
    }
    let is_number = to.len() >= 8 && to.bytes().all(|byte| byte.is_ascii_digit());
    match cx.fate(&to) {
        Fate::Throttled => return Err(Gupshup.throttled(None)),
        fate if fate == Fate::Refused || !is_number => return Err(error(400, "Invalid Destination")),
        _ => {}
    }
    let read = |name: &str| {
        serde_json::from_str::<Value>(fields.get(name)).map_err(|_| error(400, &format!("Invalid {name}")))
    };
    let (words, parts) = if is_template {
        let template = read("template")?;
        let values = template["params"].as_array().into_iter().flatten().filter_map(Value::as_str).collect::<Vec<_>>();
        if text(&template, "/id").is_empty() {
            return Err(error(400, "Template Not Found"));
        }
        let head = match fields.get("message") {
            "" => None,
            _ => {
                let message = read("message")?;
                let kind = text(&message, "/type").to_owned();
                let content = message[&kind].clone();
                Some(match content["link"].as_str() {
                    Some(link) => format!("{kind} {link}"),
                    None => format!("{kind} {},{}", content["latitude"], content["longitude"]),
                })
            }
        };
        let line = format!("template {} {}", text(&template, "/id"), values.join(" ")).trim_end().to_owned();
        (String::new(), [Some(line), head].into_iter().flatten().collect())
    } else {
        if fields.get("channel") != "whatsapp" {
            return Err(error(400, "Invalid channel"));
        }
        session(&read("message")?).ok_or_else(|| error(400, "Invalid message type or missing content"))?
    };
    let draft = Draft {
        id: cx.uuid(),
        channel: "whatsapp",
        to,
        from: fields.get("source").to_owned(),
        text: words,
        parts,
        ..Draft::default()
    };
    let id = draft.id.clone();
    cx.take(draft);
    Ok(Reply::json(202, &json!({"status": "submitted", "messageId": id})))
}

/// The words and the other parts of a session message.
fn session(message: &Value) -> Option<(String, Vec<String>)> {
    // A null caption is refused.
    if message.as_object()?.values().any(Value::is_null) {
        return None;
    }
    let of = |name: &str| message[name].as_str();
    let caption = of("caption").unwrap_or_default().to_owned();
    Some(match of("type")? {
        "text" => (of("text").filter(|text| !text.is_empty())?.to_owned(), Vec::new()),
        "image" => (caption, vec![format!("image {}", of("originalUrl")?)]),
        kind @ ("audio" | "video" | "file" | "sticker") => (caption, vec![format!("{kind} {}", of("url")?)]),
        "location" => (
            String::new(),
            vec![format!("location {},{}", place(&message["latitude"])?, place(&message["longitude"])?)],
        ),
        "quick_reply" => {
            let buttons =
                message["options"].as_array()?.iter().map(|option| format!("button {}", text(option, "/title")));
            (text(message, "/content/text").to_owned(), buttons.collect())
        }
        "list" => (of("body")?.to_owned(), vec![format!("list {}", of("title")?)]),
        _ => return None,
    })
}

/// A coordinate, as a number or as text.
fn place(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| value.as_str()?.parse().ok())
}
