//! Interakt: templates and session messages, the list of templates, and signed webhooks. <https://www.interakt.shop/resource-center/>

use model::{HttpCall, Method};
use serde_json::{Value, json};

use crate::{
    fate::Fate,
    message::{Draft, Message, Stage},
    provider::{Cx, Provider, Setting, Settings, Written, account, text, written as formatted},
    request::{Reply, Request},
    sign,
};

pub(crate) struct Interakt;

const SETTINGS: &[Setting] = &[
    Setting { name: "api_key", default: "c2ltdWxhdGVkLWtleTo=" },
    Setting { name: "webhook_secret", default: "simulated-webhook-secret" },
    Setting { name: "callback_url", default: "" },
];

fn error(status: u16, message: &str) -> Reply {
    Reply::json(status, &json!({"result": false, "message": message}))
}

impl Provider for Interakt {
    fn id(&self) -> &'static str {
        "interakt"
    }

    fn settings(&self) -> &'static [Setting] {
        SETTINGS
    }

    fn accounts(&self, settings: &Settings) -> Vec<Value> {
        let keys = json!({"api_key": settings["api_key"], "webhook_secret": settings["webhook_secret"]});
        vec![account("interakt", "Interakt", None, keys)]
    }

    fn answer(&self, cx: &mut Cx<'_>, request: &Request) -> Result<Reply, Reply> {
        if request.header("authorization") != format!("Basic {}", cx.get("api_key")) {
            return Err(error(401, "Invalid API key"));
        }
        match (request.method.as_str(), &request.segments()[..]) {
            // The trailing slash is part of the address.
            ("POST", ["v1", "public", "message"]) if request.path.ends_with('/') => send(cx, request),
            ("GET", ["v1", "public", "track", "organization", "templates"]) => {
                let template = json!({"id": "t1", "name": "order_update", "language": "en", "category": "UTILITY", "approval_status": "APPROVED", "header_format": null, "body": "Your order {{1}} is {{2}}"});
                Ok(Reply::json(
                    200,
                    &json!({"result": true, "count": 1, "has_next": false, "results": {"templates": [template]}}),
                ))
            }
            _ => Err(error(404, "Not Found")),
        }
    }

    fn throttled(&self, after_s: Option<u64>) -> Reply {
        error(429, "Rate limit exceeded for this resource").retry_after(after_s)
    }

    fn broken(&self, status: u16) -> Reply {
        error(status, "Internal server error")
    }

    fn report(&self, cx: &Cx<'_>, message: &Message, stage: Stage) -> Option<HttpCall> {
        let url = cx.callback_of(message)?;
        let word = match stage {
            Stage::Sent => "Sent",
            Stage::Delivered => "Delivered",
            Stage::Read => "Read",
            Stage::Failed | Stage::OptedOut => "Failed",
            _ => return None,
        };
        let (code, reason) = match stage {
            Stage::Failed => (Some("131026"), Some("Message undeliverable")),
            Stage::OptedOut => (Some("131050"), Some("User stopped marketing messages")),
            _ => (None, None),
        };
        let at = formatted(cx.now, "%Y-%m-%dT%H:%M:%S");
        let data = json!({
            "customer": {"id": "c1", "channel_phone_number": message.to, "phone_number": message.to.get(2..), "country_code": "+91", "traits": {}},
            "message": {
                "id": message.id, "chat_message_type": "PublicApiMessage", "channel_failure_reason": reason, "channel_error_code": code, "message_status": word,
                "received_at_utc": at, "delivered_at_utc": null, "seen_at_utc": null, "campaign_id": null, "is_template_message": true, "message_content_type": "Template",
                "media_url": null, "message": null, "meta_data": {"source": "PublicAPI", "source_data": {"callback_data": message.echo}},
            },
        });
        Some(signed(cx, url, &format!("message_api_{}", word.to_lowercase()), &data))
    }

    fn inbound(&self, cx: &mut Cx<'_>, written: &Written) -> Option<HttpCall> {
        let url = cx.callback("callback_url")?;
        let from = written.from.trim_start_matches('+');
        let kind = match (&written.media, &written.button) {
            (Some(_), _) => match written.kind() {
                "image" => "Image",
                "video" => "Video",
                "audio" => "Audio",
                _ => "Document",
            },
            (None, Some(_)) => "InteractiveButtonReply",
            (None, None) if written.location.is_some() => return None,
            (None, None) => "Text",
        };
        let data = json!({
            "customer": {"id": "c1", "channel_phone_number": from, "phone_number": from.get(2..), "country_code": "+91", "traits": {"name": "Somebody"}},
            "message": {
                "id": cx.uuid(), "chat_message_type": "CustomerMessage", "message_status": "Sent", "received_at_utc": formatted(cx.now, "%Y-%m-%dT%H:%M:%S"),
                "is_template_message": false, "message_content_type": kind, "media_url": written.media.as_ref().map(|media| &media.url), "message": written.text,
                "source_message_id": written.in_reply_to, "meta_data": {"button_payload": written.button, "button_text": written.button.as_ref().map(|_| &written.text)},
            },
        });
        Some(signed(cx, url, "message_received", &data))
    }
}

fn signed(cx: &Cx<'_>, url: String, kind: &str, data: &Value) -> HttpCall {
    let timestamp = formatted(cx.now, "%Y-%m-%dT%H:%M:%S.000000");
    let body = json!({"version": "1.0", "timestamp": timestamp, "type": kind, "data": data}).to_string();
    let signature = sign::mac_sha256(cx.get("webhook_secret"), body.as_bytes());
    HttpCall::new(Method::Post, url)
        .body("application/json", body)
        .header("interakt-signature", format!("sha256={signature}"))
}

fn send(cx: &mut Cx<'_>, request: &Request) -> Result<Reply, Reply> {
    let body = request.json().ok_or_else(|| error(400, "Invalid JSON"))?;
    let national = body["phoneNumber"]
        .as_str()
        .map(|number| format!("{}{number}", text(&body, "/countryCode").trim_start_matches('+')));
    let to = match (body["fullPhoneNumber"].as_str(), national) {
        (Some(full), None) => full.to_owned(),
        (None, Some(national)) => national,
        _ => {
            return Err(error(
                400,
                "Give either fullPhoneNumber, or countryCode and phoneNumber: phone number is invalid",
            ));
        }
    };
    let is_number = to.len() >= 8 && to.bytes().all(|byte| byte.is_ascii_digit());
    match cx.fate(&to) {
        Fate::Throttled => return Err(Interakt.throttled(None)),
        fate if fate == Fate::Refused || !is_number => {
            return Err(error(400, "The phone number is invalid for this country code"));
        }
        _ => {}
    }
    let data = &body["data"];
    let (words, parts) = match text(&body, "/type") {
        "Template" => {
            let template = &body["template"];
            let (name, language) = (text(template, "/name"), text(template, "/languageCode"));
            if name.is_empty() || language.is_empty() {
                return Err(error(400, "Template name and languageCode are required: template not found"));
            }
            let list = |name: &str| {
                template[name].as_array().into_iter().flatten().filter_map(Value::as_str).collect::<Vec<_>>().join(" ")
            };
            let line = format!("template {name} {language} {}", list("bodyValues")).trim_end().to_owned();
            let header =
                Some(list("headerValues")).filter(|header| !header.is_empty()).map(|header| format!("header {header}"));
            (String::new(), [Some(line), header].into_iter().flatten().collect())
        }
        "Text" if !text(data, "/message").is_empty() => (text(data, "/message").to_owned(), Vec::new()),
        kind @ ("Image" | "Audio" | "Video" | "Document" | "Sticker") => {
            let url = data["mediaUrl"].as_str().ok_or_else(|| error(400, "mediaUrl is required"))?;
            (text(data, "/message").to_owned(), vec![format!("{} {url}", kind.to_lowercase())])
        }
        _ => return Err(error(400, "Invalid message type or missing data")),
    };
    let draft = Draft {
        id: cx.uuid(),
        channel: "whatsapp",
        to,
        echo: body["callbackData"].as_str().map(str::to_owned),
        text: words,
        parts,
        ..Draft::default()
    };
    let id = draft.id.clone();
    cx.take(draft);
    let words = "Message queued for sending via Interakt. Check webhook for delivery status";
    Ok(Reply::json(201, &json!({"result": true, "message": words, "id": id})))
}
