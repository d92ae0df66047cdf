//! Telegram's Bot API: messages, media by URL, upload and album, places, the bot, its webhook. There are no receipts. <https://core.telegram.org/bots/api>

use model::{HttpCall, Method};
use serde_json::{Value, json};

use crate::{
    fate::Fate,
    fields::Fields,
    message::{Draft, Message, Stage},
    mime::{FormFile, form_data},
    provider::{Cx, Provider, Setting, Settings, Written, account, text},
    request::{Reply, Request},
};

pub(crate) struct Telegram;

const SETTINGS: &[Setting] = &[
    Setting { name: "bot_token", default: "123456789:AASimulatedTokenSimulatedTokenSimul" },
    Setting { name: "secret_token", default: "simulated-secret-token" },
    Setting { name: "callback_url", default: "" },
    Setting { name: "allowed_updates", default: "[]" },
];
/// Longest text and caption, in UTF-16 units as Telegram counts, and longest data of a button, in bytes.
const TEXT_MAX: usize = 4_096;
const CAPTION_MAX: usize = 1_024;
const DATA_MAX: usize = 64;

fn error(code: u16, description: &str) -> Reply {
    Reply::json(code, &json!({"ok": false, "error_code": code, "description": description}))
}

fn bad(description: &str) -> Reply {
    error(400, &format!("Bad Request: {description}"))
}

fn ok(result: &Value) -> Reply {
    Reply::json(200, &json!({"ok": true, "result": result}))
}

impl Provider for Telegram {
    fn id(&self) -> &'static str {
        "telegram"
    }

    fn settings(&self) -> &'static [Setting] {
        SETTINGS
    }

    fn accounts(&self, settings: &Settings) -> Vec<Value> {
        let keys = json!({"bot_token": settings["bot_token"], "secret_token": settings["secret_token"]});
        vec![account("telegram", "Telegram", None, keys)]
    }

    fn answer(&self, cx: &mut Cx<'_>, request: &Request) -> Result<Reply, Reply> {
        let segments = request.segments();
        let [bot, method] = &segments[..] else { return Err(error(404, "Not Found")) };
        match bot.strip_prefix("bot") {
            Some(token) if token == cx.get("bot_token") => {}
            Some(token) if token.contains(':') => return Err(error(401, "Unauthorized")),
            _ => return Err(error(404, "Not Found")),
        }
        let (given, files) = arguments(request)?;
        match *method {
            "getMe" => {
                let id: i64 = cx.get("bot_token").split(':').next().and_then(|id| id.parse().ok()).unwrap_or(0);
                Ok(ok(&json!({"id": id, "is_bot": true, "first_name": "Simulated", "username": "simulated_bot"})))
            }
            "getWebhookInfo" => Ok(ok(
                &json!({"url": cx.get("callback_url"), "has_custom_certificate": false, "pending_update_count": 0, "max_connections": 40, "allowed_updates": cx.kept("allowed_updates")}),
            )),
            "setWebhook" => {
                let url = given["url"].as_str().ok_or_else(|| bad("bad webhook: URL is required"))?;
                cx.changes.push(("callback_url", url.to_owned()));
                cx.keep("allowed_updates", &given["allowed_updates"]);
                if let Some(secret) = given["secret_token"].as_str() {
                    cx.changes.push(("secret_token", secret.to_owned()));
                }
                Ok(Reply::json(200, &json!({"ok": true, "result": true, "description": "Webhook was set"})))
            }
            "deleteWebhook" => {
                cx.changes.push(("callback_url", String::new()));
                Ok(ok(&json!(true)))
            }
            "answerCallbackQuery" if given["callback_query_id"].is_string() => Ok(ok(&json!(true))),
            "answerCallbackQuery" => Err(bad("query is too old and response timeout expired or query ID is invalid")),
            method => send(cx, method, &given, &files),
        }
    }

    fn throttled(&self, after_s: Option<u64>) -> Reply {
        let wait = after_s.unwrap_or(1);
        let body = json!({"ok": false, "error_code": 429, "description": format!("Too Many Requests: retry after {wait}"), "parameters": {"retry_after": wait}});
        Reply::json(429, &body).retry_after(after_s)
    }

    fn broken(&self, status: u16) -> Reply {
        error(status, "Internal Server Error: restart")
    }

    fn report(&self, _cx: &Cx<'_>, _message: &Message, _stage: Stage) -> Option<HttpCall> {
        None
    }

    fn inbound(&self, cx: &mut Cx<'_>, written: &Written) -> Option<HttpCall> {
        let url = cx.callback("callback_url")?;
        let from: i64 = written.from.parse().ok()?;
        let chat = json!({"id": from, "type": "private", "first_name": "Somebody"});
        let user = json!({"id": from, "is_bot": false, "first_name": "Somebody"});
        let update_id = cx.ids.below(1 << 31);
        // An answer names the message by its chat and its number, which is the provider's id.
        let answered = written.in_reply_to.as_deref().and_then(|id| id.rsplit(':').next()?.parse::<i64>().ok());
        let update = if let Some(button) = &written.button {
            let pressed = json!({"message_id": answered.unwrap_or(1), "date": cx.unix(), "chat": chat});
            json!({"update_id": update_id, "callback_query": {"id": cx.ids.below(1 << 53).to_string(), "from": user, "message": pressed, "chat_instance": "1", "data": button}})
        } else {
            let mut message =
                json!({"message_id": cx.ids.below(1 << 31), "date": cx.unix(), "chat": chat, "from": user});
            match (&written.media, &written.location) {
                (Some(media), _) => {
                    let file = json!({"file_id": media.url, "file_unique_id": cx.hex(12), "file_size": 1_000, "mime_type": media.content_type});
                    match written.kind() {
                        "image" => message["photo"] = json!([file]),
                        kind => message[kind] = file,
                    }
                    message["caption"] = written.text.clone().into();
                }
                (None, Some(place)) => {
                    message["location"] = json!({"latitude": place.latitude, "longitude": place.longitude})
                }
                (None, None) => message["text"] = written.text.clone().into(),
            }
            if let Some(answered) = answered {
                message["reply_to_message"] = json!({"message_id": answered, "date": cx.unix(), "chat": chat});
            }
            json!({"update_id": update_id, "message": message})
        };
        Some(
            HttpCall::new(Method::Post, url)
                .body("application/json", update.to_string())
                .header("x-telegram-bot-api-secret-token", cx.get("secret_token")),
        )
    }
}

/// The arguments of a method: JSON, a form or a multipart form. What a form says in JSON is read.
fn arguments(request: &Request) -> Result<(Value, Vec<FormFile>), Reply> {
    let content_type = request.header("content-type");
    let of = |fields: Fields| -> Value {
        let read = |text: String| match text.as_bytes().first() {
            Some(b'{' | b'[') => serde_json::from_str(&text).unwrap_or(Value::String(text)),
            _ => Value::String(text),
        };
        fields.0.into_iter().map(|(name, value)| (name, read(value))).collect::<serde_json::Map<_, _>>().into()
    };
    if content_type.starts_with("multipart/") {
        let (fields, files) = form_data(content_type, &request.body);
        return Ok((of(fields), files));
    }
    if content_type.starts_with("application/json") {
        return request.json().map(|given| (given, Vec::new())).ok_or_else(|| bad("can't parse JSON object"));
    }
    let body = of(request.form());
    Ok((if request.body.is_empty() { of(request.parameters()) } else { body }, Vec::new()))
}

fn send(cx: &mut Cx<'_>, method: &str, given: &Value, files: &[FormFile]) -> Result<Reply, Reply> {
    let kind = match method {
        "sendMessage" => "text",
        "sendLocation" | "sendVenue" => "location",
        "sendMediaGroup" => "group",
        "sendPhoto" => "photo",
        "sendVideo" => "video",
        "sendAudio" => "audio",
        "sendVoice" => "voice",
        "sendDocument" => "document",
        "sendAnimation" => "animation",
        _ => return Err(error(404, "Not Found: method not found")),
    };
    let chat = match &given["chat_id"] {
        Value::Number(id) => id.to_string(),
        Value::String(id) if !id.is_empty() => id.clone(),
        _ => return Err(bad("chat_id is empty")),
    };
    match cx.fate(&chat) {
        Fate::Refused => return Err(bad("chat not found")),
        Fate::Fails | Fate::OptedOut => return Err(error(403, "Forbidden: bot was blocked by the user")),
        Fate::Throttled => return Err(Telegram.throttled(Some(1))),
        _ => {}
    }
    let units = |text: &str| text.encode_utf16().count();
    let words = if kind == "text" { text(given, "/text") } else { text(given, "/caption") };
    if kind == "text" && words.is_empty() {
        return Err(bad("message text is empty"));
    }
    if units(words) > if kind == "text" { TEXT_MAX } else { CAPTION_MAX } {
        return Err(bad(if kind == "text" { "message is too long" } else { "message caption is too long" }));
    }
    let mut words = words.to_owned();
    let source = |value: &Value| -> Result<String, Reply> {
        let given = value.as_str().unwrap_or_default();
        // `attach://name` and a file of the field's own name are uploads.
        let upload = given.strip_prefix("attach://").or((given.is_empty()).then_some(kind));
        match upload {
            Some(name) => files
                .iter()
                .find(|file| file.name == name)
                .map(|file| format!("{} {} {} bytes", file.filename, file.content_type, file.size))
                .ok_or_else(|| bad("there is no file in the request")),
            None => Ok(given.to_owned()),
        }
    };
    let mut parts = Vec::new();
    let mut count = 1_u64;
    match kind {
        "text" => {}
        "location" => {
            let number = |name: &str| given[name].as_f64().or_else(|| given[name].as_str()?.parse().ok());
            let (Some(latitude), Some(longitude)) = (number("latitude"), number("longitude")) else {
                return Err(bad("latitude and longitude must be specified"));
            };
            parts.push(format!("location {latitude},{longitude} {}", text(given, "/title")).trim_end().to_owned());
        }
        "group" => {
            let media = given["media"].as_array().filter(|media| (2..=10).contains(&media.len()));
            for item in media.ok_or_else(|| bad("group of 2 to 10 media expected"))? {
                parts.push(format!("{} {}", text(item, "/type"), source(&item["media"])?));
                if words.is_empty() {
                    words = text(item, "/caption").to_owned();
                }
            }
            count = parts.len() as u64;
        }
        kind => parts.push(format!("{kind} {}", source(&given[kind])?)),
    }
    for button in given["reply_markup"]["inline_keyboard"]
        .as_array()
        .into_iter()
        .flatten()
        .flat_map(|row| row.as_array().into_iter().flatten())
    {
        if text(button, "/callback_data").len() > DATA_MAX {
            return Err(bad("BUTTON_DATA_INVALID"));
        }
        parts.push(format!("button {}", text(button, "/text")));
    }
    let first = cx.ids.below(1 << 31);
    let message = |number: u64| {
        let id: Value = chat.parse::<i64>().map_or_else(|_| chat.clone().into(), Into::into);
        json!({"message_id": first + number, "date": cx.unix(), "chat": {"id": id, "type": "private"}})
    };
    let result = if kind == "group" { (0..count).map(message).collect() } else { message(0) };
    cx.take(Draft {
        id: format!("{chat}:{first}"),
        channel: "telegram",
        from: "simulated_bot".to_owned(),
        to: chat,
        text: words,
        parts,
        ..Draft::default()
    });
    Ok(ok(&result))
}
