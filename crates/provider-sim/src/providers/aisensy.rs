//! AiSensy: API campaigns, their details, and signed project webhooks. <https://wiki.aisensy.com/>

use model::{HttpCall, Method};
use serde_json::{Value, json};

use crate::{
    fate::Fate,
    message::{Draft, Message, Stage},
    provider::{Cx, Provider, Setting, Settings, Written, account, text},
    request::{Reply, Request},
    sign,
};

pub(crate) struct AiSensy;

const SETTINGS: &[Setting] = &[
    Setting { name: "api_key", default: "simulated-api-key" },
    Setting { name: "webhook_secret", default: "simulated-webhook-secret" },
    Setting { name: "campaign", default: "order_update" },
    Setting { name: "callback_url", default: "" },
];

fn error(status: u16, message: &str) -> Reply {
    Reply::json(status, &json!({ "message": message }))
}

impl Provider for AiSensy {
    fn id(&self) -> &'static str {
        "aisensy"
    }

    fn settings(&self) -> &'static [Setting] {
        SETTINGS
    }

    fn accounts(&self, settings: &Settings) -> Vec<Value> {
        let keys = json!({
            "api_key": settings["api_key"], "webhook_secret": settings["webhook_secret"], "test_campaign": settings["campaign"],
        });
        vec![account("aisensy", "AiSensy", None, keys)]
    }

    fn answer(&self, cx: &mut Cx<'_>, request: &Request) -> Result<Reply, Reply> {
        let body = request.json().ok_or_else(|| error(400, "Invalid JSON"))?;
        if text(&body, "/apiKey") != cx.get("api_key") {
            return Err(error(401, "Invalid API key"));
        }
        let campaign = text(&body, "/campaignName");
        match (request.method.as_str(), &request.segments()[..]) {
            (_, ["campaign", ..]) if campaign != cx.get("campaign") => Err(error(400, "Campaign does not exist.")),
            ("POST", ["campaign", "t1", "api", "v2"]) => send(cx, &body),
            ("POST", ["campaign", "t1", "api", "campaign-details"]) => Ok(Reply::json(
                200,
                &json!({"success": true, "requestBody": {"campaignName": campaign, "templateParams": ["", ""], "media": {}}}),
            )),
            _ => Err(error(404, "Not Found")),
        }
    }

    fn throttled(&self, after_s: Option<u64>) -> Reply {
        error(429, "Too many requests").retry_after(after_s)
    }

    fn broken(&self, status: u16) -> Reply {
        Reply::json(
            status,
            &json!({"name": "ERR500", "errorCode": "ERR500", "errorMessage": "Something went wrong", "aisTraceId": "t1"}),
        )
    }

    fn report(&self, cx: &Cx<'_>, message: &Message, stage: Stage) -> Option<HttpCall> {
        let url = cx.callback_of(message)?;
        let status = match stage {
            Stage::Sent => "SENT",
            Stage::Delivered => "DELIVERED",
            Stage::Read => "READ",
            Stage::Failed | Stage::OptedOut => "FAILED",
            _ => return None,
        };
        let failure = match stage {
            Stage::Failed => json!({"code": 131_026, "reason": "Message undeliverable"}),
            Stage::OptedOut => json!({"code": 131_050, "reason": "User stopped marketing messages"}),
            _ => Value::Null,
        };
        let told = json!({
            "type": "message", "id": message.id, "messageId": message.id, "project_id": "p1", "contact_id": "c1", "phone_number": message.to.trim_start_matches('+'),
            "campaign": {"name": message.more["campaign"]}, "sender": "AGENT", "message_type": "TEXT", "message_content": {}, "status": status, "is_HSM": true,
            "sent_at": cx.now.as_millis(), "failureResponse": failure,
        });
        Some(signed(cx, url, "message.status.updated", &told))
    }

    fn inbound(&self, cx: &mut Cx<'_>, written: &Written) -> Option<HttpCall> {
        let url = cx.callback("callback_url")?;
        let (kind, content) = match (&written.media, &written.location, &written.button) {
            (Some(media), ..) => (written.kind().to_uppercase(), json!({"url": media.url, "caption": written.text})),
            (None, Some(place), _) => {
                ("LOCATION".to_owned(), json!({"latitude": place.latitude, "longitude": place.longitude}))
            }
            (None, None, Some(button)) => ("BUTTON".to_owned(), json!({"text": written.text, "payload": button})),
            (None, None, None) => ("TEXT".to_owned(), json!({ "text": written.text })),
        };
        let id = cx.uuid();
        let told = json!({
            "type": "message", "id": id, "messageId": id, "project_id": "p1", "contact_id": "c1", "phone_number": written.from.trim_start_matches('+'), "sender": "USER",
            "message_type": kind, "message_content": content, "sent_at": cx.now.as_millis(),
        });
        Some(signed(cx, url, "message.sender.user", &told))
    }
}

fn signed(cx: &Cx<'_>, url: String, topic: &str, message: &Value) -> HttpCall {
    let body = json!({
        "id": cx.uuid(), "created_at": cx.now.as_millis(), "topic": topic, "delivery_attempt": 1, "app_id": "a1", "webhook_id": "w1", "project_id": "p1",
        "data": {"message": message},
    })
    .to_string();
    let signature = sign::mac_sha256(cx.get("webhook_secret"), body.as_bytes());
    HttpCall::new(Method::Post, url)
        .body("application/json", body)
        .header("x-aisensy-signature", signature)
        .header("x-aisensy-project-id", "p1")
}

fn send(cx: &mut Cx<'_>, body: &Value) -> Result<Reply, Reply> {
    let to = text(body, "/destination");
    let digits = to.trim_start_matches('+');
    let is_number = digits.len() >= 8 && digits.bytes().all(|byte| byte.is_ascii_digit());
    match cx.fate(to) {
        Fate::Throttled => return Err(AiSensy.throttled(None)),
        fate if fate == Fate::Refused || !is_number => return Err(error(400, "Invalid Number")),
        _ => {}
    }
    if text(body, "/userName").is_empty() {
        return Err(error(400, "userName is required"));
    }
    let values = body["templateParams"].as_array().cloned().unwrap_or_default();
    if values.iter().any(|value| !value.is_string()) {
        return Err(error(400, "templateParams must be an array of strings"));
    }
    let values = values.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" ");
    let campaign = text(body, "/campaignName");
    let media = body["media"]["url"].as_str().map(|url| format!("media {url}"));
    let buttons = body["buttons"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|button| format!("button {}", text(button, "/parameters/0/text")));
    let line = format!("template {campaign} {values}").trim_end().to_owned();
    let draft = Draft {
        id: cx.uuid(),
        channel: "whatsapp",
        to: to.to_owned(),
        parts: [Some(line), media].into_iter().flatten().chain(buttons).collect(),
        more: json!({ "campaign": campaign }),
        ..Draft::default()
    };
    let id = draft.id.clone();
    cx.take(draft);
    Ok(Reply::json(200, &json!({"success": "true", "submitted_message_id": id})))
}
