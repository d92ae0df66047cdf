//! Termii: SMS, the balance, and webhooks signed with HMAC-SHA512, as several public integrations report. <https://developers.termii.com/>

use aws_lc_rs::hmac;
use model::{HttpCall, Method};
use serde_json::{Value, json};

use crate::{
    fate::Fate,
    message::{Draft, Message, Stage},
    provider::{Cx, Provider, Setting, Settings, Written, account, text, written as formatted},
    request::{Reply, Request},
    sign,
};

pub(crate) struct Termii;

const SETTINGS: &[Setting] = &[
    Setting { name: "api_key", default: "TLsimulated" },
    Setting { name: "webhook_secret", default: "simulated-webhook-secret" },
    Setting { name: "from", default: "Acme" },
    Setting { name: "callback_url", default: "" },
];
/// Most recipients of one request.
const RECIPIENTS_MAX: usize = 100;

fn error(status: u16, message: &str) -> Reply {
    Reply::json(status, &json!({"code": status, "message": message}))
}

impl Provider for Termii {
    fn id(&self) -> &'static str {
        "termii"
    }

    fn settings(&self) -> &'static [Setting] {
        SETTINGS
    }

    fn accounts(&self, settings: &Settings) -> Vec<Value> {
        let keys = json!({"api_key": settings["api_key"], "webhook_secret": settings["webhook_secret"]});
        vec![account("termii", "Termii", Some(&settings["from"]), keys)]
    }

    fn answer(&self, cx: &mut Cx<'_>, request: &Request) -> Result<Reply, Reply> {
        match (request.method.as_str(), &request.segments()[..]) {
            ("POST", ["api", "sms", "send"]) => send(cx, request),
            ("GET", ["api", "get-balance"]) => match request.parameters().get("api_key") == cx.get("api_key") {
                true => Ok(Reply::json(200, &json!({"user": "Acme", "balance": 42.5, "currency": "NGN"}))),
                false => Err(error(401, "Invalid api key")),
            },
            _ => Err(error(404, "Not Found")),
        }
    }

    fn throttled(&self, after_s: Option<u64>) -> Reply {
        error(429, "Too Many Attempts.").retry_after(after_s)
    }

    fn broken(&self, status: u16) -> Reply {
        error(status, "Server Error")
    }

    fn report(&self, cx: &Cx<'_>, message: &Message, stage: Stage) -> Option<HttpCall> {
        let url = cx.callback_of(message)?;
        let status = match stage {
            Stage::Sent => "Message Sent",
            Stage::Delivered => "DELIVERED",
            Stage::Failed => "Message Failed",
            Stage::OptedOut => "DND Active on Phone Number",
            _ => return None,
        };
        let body = json!({
            "type": "outbound", "id": cx.uuid(), "message_id": message.id, "receiver": message.to, "sender": message.from, "message": message.text,
            "sent_at": formatted(message.at, "%Y-%m-%d %H:%M:%S"), "cost": "0", "status": status, "channel": "dnd",
        });
        Some(signed(cx, url, body.to_string()))
    }

    fn inbound(&self, cx: &mut Cx<'_>, written: &Written) -> Option<HttpCall> {
        let url = cx.callback("callback_url")?;
        let to = written.to.as_deref().unwrap_or_else(|| cx.get("from"));
        let body = json!({
            "type": "inbound", "id": cx.uuid(), "message_id": cx.ids.below(1 << 62).to_string(), "receiver": to, "sender": written.from.trim_start_matches('+'),
            "message": written.text, "received_at": formatted(cx.now, "%Y-%m-%d %H:%M:%S"), "status": "Received", "channel": "generic",
        });
        Some(signed(cx, url, body.to_string()))
    }
}

fn signed(cx: &Cx<'_>, url: String, body: String) -> HttpCall {
    let signature = signature(cx.get("webhook_secret"), body.as_bytes());
    HttpCall::new(Method::Post, url).body("application/json", body).header("x-termii-signature", signature)
}

/// HMAC-SHA512 of the body in hexadecimal.
pub(crate) fn signature(secret: &str, body: &[u8]) -> String {
    sign::hex(&sign::mac(hmac::HMAC_SHA512, secret.as_bytes(), body))
}

fn send(cx: &mut Cx<'_>, request: &Request) -> Result<Reply, Reply> {
    let body = request.json().ok_or_else(|| error(400, "Invalid JSON"))?;
    if text(&body, "/api_key") != cx.get("api_key") {
        return Err(error(401, "Invalid api key"));
    }
    if text(&body, "/from") != cx.get("from") {
        return Err(error(400, "ApplicationSenderId not found for applicationId and senderName: sender ID"));
    }
    let words = text(&body, "/sms");
    if words.is_empty()
        || text(&body, "/type").is_empty()
        || !["dnd", "generic", "whatsapp"].contains(&text(&body, "/channel"))
    {
        return Err(error(400, "sms, type and channel are required"));
    }
    let recipients: Vec<String> = match &body["to"] {
        Value::String(one) => vec![one.clone()],
        many => many.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect(),
    };
    if recipients.is_empty() || recipients.len() > RECIPIENTS_MAX {
        return Err(error(400, "to is required"));
    }
    // 19 digits, above 2^53 as the real ones are.
    let id = format!("912{:016}", cx.ids.below(10_000_000_000_000_000));
    for to in recipients {
        let is_number = to.len() >= 8 && to.bytes().all(|byte| byte.is_ascii_digit());
        match cx.fate(&to) {
            Fate::Throttled => return Err(Termii.throttled(None)),
            fate if fate == Fate::Refused || !is_number => return Err(error(400, "Invalid phone number")),
            _ => {}
        }
        cx.take(Draft {
            id: id.clone(),
            channel: "sms",
            to,
            from: text(&body, "/from").to_owned(),
            text: words.to_owned(),
            ..Draft::default()
        });
    }
    Ok(Reply::json(
        200,
        &json!({"code": "ok", "message_id": id, "message": "Successfully Sent", "balance": 42.5, "user": "Acme"}),
    ))
}
