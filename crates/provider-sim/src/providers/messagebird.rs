//! MessageBird: classic SMS and Conversations here, Bird's channels in `bird`; their paths tell them apart.
//! <https://developers.messagebird.com/api/>

use model::{HttpCall, Method, Timestamp};
use serde_json::{Value, json};

use super::bird;
use crate::{
    fate::Fate,
    fields::{form, with_query},
    message::{Draft, Message, Stage},
    provider::{Cx, Provider, Setting, Settings, Written, account, iso, text},
    request::{Reply, Request},
    sign,
};

pub(crate) struct MessageBird;

const SETTINGS: &[Setting] = &[
    Setting { name: "access_key", default: "live_simulated" },
    Setting { name: "signing_key", default: "simulated-signing-key-0123456789" },
    Setting { name: "from", default: "15550100001" },
    Setting { name: "whatsapp_channel_id", default: "2a2bd7a3-5e5c-4a2f-9b25-0c4c5dd4c0ef" },
    Setting { name: "whatsapp_namespace", default: "20332cd4_f095_b080_d255_35677159aaff" },
    Setting { name: "workspace_id", default: "5a2bd7a3-5e5c-4a2f-9b25-0c4c5dd4c0ef" },
    Setting { name: "bird_sms_channel_id", default: "6a2bd7a3-5e5c-4a2f-9b25-0c4c5dd4c0ef" },
    Setting { name: "bird_whatsapp_channel_id", default: "4a2bd7a3-5e5c-4a2f-9b25-0c4c5dd4c0ef" },
    Setting { name: "callback_url", default: "" },
    Setting { name: "bird_callback_url", default: "" },
    Setting { name: "bird_channel_group_id", default: "7a2bd7a3-5e5c-4a2f-9b25-0c4c5dd4c0ef" },
    Setting { name: "bird_projects", default: "[]" },
];
/// Most recipients of one request.
const RECIPIENTS_MAX: usize = 50;
/// How long a signature holds, in seconds.
const HOLDS_S: i64 = 60;

fn error(status: u16, code: u32, description: &str, parameter: Option<&str>) -> Reply {
    Reply::json(status, &json!({"errors": [{"code": code, "description": description, "parameter": parameter}]}))
}

impl Provider for MessageBird {
    fn id(&self) -> &'static str {
        "messagebird"
    }

    fn settings(&self) -> &'static [Setting] {
        SETTINGS
    }

    fn accounts(&self, settings: &Settings) -> Vec<Value> {
        let classic = json!({
            "access_key": settings["access_key"], "api": "classic", "signing_key": settings["signing_key"],
            "whatsapp_channel_id": settings["whatsapp_channel_id"], "whatsapp_namespace": settings["whatsapp_namespace"],
        });
        let bird = json!({
            "access_key": settings["access_key"], "api": "bird", "signing_key": settings["signing_key"], "workspace_id": settings["workspace_id"],
            "sms_channel_id": settings["bird_sms_channel_id"], "whatsapp_channel_id": settings["bird_whatsapp_channel_id"],
            "whatsapp_channel_group_id": settings["bird_channel_group_id"],
        });
        let from = format!("+{}", settings["from"]);
        vec![account("messagebird", "MessageBird", Some(&from), classic), account("messagebird", "Bird", None, bird)]
    }

    fn answer(&self, cx: &mut Cx<'_>, request: &Request) -> Result<Reply, Reply> {
        let segments = request.segments();
        let is_bird = segments.first() == Some(&"workspaces");
        if request.header("authorization") != format!("AccessKey {}", cx.get("access_key")) {
            return Err(match is_bird {
                true => bird::error(401, "Unauthorized", "The access key is not valid"),
                false => error(401, 2, "Request not allowed (incorrect access_key)", Some("access_key")),
            });
        }
        match (request.method.as_str(), &segments[..]) {
            (_, ["workspaces", ..]) => bird::answer(cx, request),
            ("GET", ["balance"]) => {
                Ok(Reply::json(200, &json!({"payment": "prepaid", "type": "euros", "amount": 42.5})))
            }
            ("POST", ["messages"]) => send(cx, request),
            ("GET", ["messages"]) => list(cx, request),
            ("GET", ["messages", id]) => match cx.find(id) {
                Some(message) => Ok(Reply::json(200, &resource(message, cx.now))),
                None => Err(error(404, 20, "message not found", None)),
            },
            ("POST", ["v1", "send"]) => converse(cx, request),
            ("GET", ["v1", "messages", id]) => match cx.find(id) {
                Some(message) => Ok(Reply::json(200, &conversation(message, message.stage(cx.now), cx.now))),
                None => Err(error(404, 20, "message not found", None)),
            },
            _ => Err(error(404, 20, "not found", None)),
        }
    }

    fn throttled(&self, after_s: Option<u64>) -> Reply {
        error(429, 429, "Too many requests", None).retry_after(after_s)
    }

    fn broken(&self, status: u16) -> Reply {
        error(status, 99, "An internal error has occurred", None)
    }

    fn report(&self, cx: &Cx<'_>, message: &Message, stage: Stage) -> Option<HttpCall> {
        match message.more["api"].as_str() {
            Some("bird") => bird::report(cx, message, stage),
            Some("conversations") => {
                let url = cx.callback_of(message)?;
                matches!(stage, Stage::Sent | Stage::Delivered | Stage::Read | Stage::Failed | Stage::OptedOut).then(
                    || {
                        let body = json!({"type": "message.updated", "message": conversation(message, stage, cx.now)});
                        signed(cx, url, body.to_string())
                    },
                )
            }
            _ => sms_report(cx, message, stage),
        }
    }

    fn inbound(&self, cx: &mut Cx<'_>, written: &Written) -> Option<HttpCall> {
        if written.channel.as_deref().is_some_and(|channel| channel.starts_with("bird-")) {
            return bird::inbound(cx, written);
        }
        let url = cx.callback("callback_url")?;
        let from = written.from.trim_start_matches('+');
        if !written.is_whatsapp() {
            let own = written.to.as_deref().unwrap_or_else(|| cx.get("from")).trim_start_matches('+');
            let (id, at) = (cx.hex(32), iso(cx.now));
            let query = form(&[
                ("id", &id),
                ("recipient", own),
                ("originator", from),
                ("body", &written.text),
                ("createdDatetime", &at),
            ]);
            return Some(signed_get(cx, &with_query(&url, &query)));
        }
        let (kind, content) = match (&written.media, &written.location) {
            (Some(media), _) => {
                let kind = if written.kind() == "document" { "file" } else { written.kind() };
                (kind, json!({ kind: {"url": media.url, "caption": written.text} }))
            }
            (None, Some(place)) => {
                ("location", json!({"location": {"latitude": place.latitude, "longitude": place.longitude}}))
            }
            (None, None) => ("text", json!({ "text": written.text })),
        };
        let message = json!({
            "id": cx.hex(32), "conversationId": cx.hex(32), "channelId": cx.get("whatsapp_channel_id"), "platform": "whatsapp", "direction": "received", "status": "received",
            "from": format!("+{from}"), "to": format!("+{}", cx.get("from")), "type": kind, "content": content, "createdDatetime": iso(cx.now), "updatedDatetime": iso(cx.now),
        });
        let contact = json!({"id": cx.hex(32), "displayName": "Somebody", "msisdn": from.parse::<u64>().unwrap_or(0)});
        let body = json!({"type": "message.created", "contact": contact, "message": message});
        Some(signed(cx, url, body.to_string()))
    }
}

/// Messages by what the list can be narrowed to, which their reference is not.
fn list(cx: &Cx<'_>, request: &Request) -> Result<Reply, Reply> {
    const NARROWS: &[&str] =
        &["originator", "recipient", "direction", "limit", "offset", "status", "type", "from", "until"];
    let names = request.query.split('&').filter_map(|pair| pair.split('=').next()).filter(|name| !name.is_empty());
    if let Some(unknown) = names.into_iter().find(|name| !NARROWS.contains(name)) {
        return Err(error(422, 10, &format!("{unknown} is invalid"), Some(unknown)));
    }
    let asked = request.parameters();
    let second = |name: &str| match asked.some(name) {
        None => Ok(None),
        Some(given) if given.contains('.') => Err(error(422, 10, &format!("{name} is invalid"), Some(name))),
        Some(given) => {
            given.parse::<Timestamp>().map(Some).map_err(|_| error(422, 10, &format!("{name} is invalid"), Some(name)))
        }
    };
    let (from, until) = (second("from")?, second("until")?);
    let is = |name: &str, given: &str| asked.some(name).is_none_or(|wanted| wanted == given);
    let is_wanted = |message: &&Message| {
        message.more["api"] == "classic"
            && is("recipient", &message.to)
            && is("originator", &message.from)
            && is("direction", "mt")
            && is("type", "sms")
            && from.is_none_or(|from| from <= message.at)
            && until.is_none_or(|until| message.at <= until)
    };
    let (limit, offset) = (asked.get("limit").parse().unwrap_or(20), asked.get("offset").parse().unwrap_or(0));
    let found: Vec<Value> = cx.known().filter(is_wanted).map(|message| resource(message, cx.now)).collect();
    let items: Vec<&Value> = found.iter().skip(offset).take(limit).collect();
    Ok(Reply::json(
        200,
        &json!({"offset": offset, "limit": limit, "count": items.len(), "totalCount": found.len(), "items": items}),
    ))
}

/// A token over URL and body. <https://developers.messagebird.com/api/#verifying-http-requests>
fn token(cx: &Cx<'_>, url: &str, body: &[u8]) -> String {
    let mut claims = json!({
        "iss": "MessageBird", "nbf": cx.unix() - 1, "exp": cx.unix() + HOLDS_S, "jti": cx.uuid(), "url_hash": sign::sha256(url.as_bytes()),
    });
    if !body.is_empty() {
        claims["payload_hash"] = sign::sha256(body).into();
    }
    sign::jwt(cx.get("signing_key"), &claims)
}

fn signed(cx: &Cx<'_>, url: String, body: String) -> HttpCall {
    let token = token(cx, &url, body.as_bytes());
    HttpCall::new(Method::Post, url).body("application/json", body).header("messagebird-signature-jwt", token)
}

fn signed_get(cx: &Cx<'_>, url: &str) -> HttpCall {
    HttpCall::new(Method::Get, url).header("messagebird-signature-jwt", token(cx, url, b""))
}

/// Status, reason and error code of a classic message at a stage.
const fn sms_status(stage: Stage) -> Option<(&'static str, &'static str, &'static str)> {
    Some(match stage {
        Stage::Taken | Stage::Sent => ("sent", "", ""),
        Stage::Delivered => ("delivered", "successfully delivered", ""),
        Stage::Failed => ("delivery_failed", "unknown subscriber", "1"),
        Stage::OptedOut => ("delivery_failed", "opted out", "103"),
        _ => return None,
    })
}

/// A classic report: a GET with everything in its query, only for messages with a reference.
fn sms_report(cx: &Cx<'_>, message: &Message, stage: Stage) -> Option<HttpCall> {
    let (status, reason, code) = sms_status(stage)?;
    let (url, reference) = (cx.callback_of(message)?, message.echo.as_deref()?);
    let at = iso(cx.now);
    let mut fields = vec![
        ("id", message.id.as_str()),
        ("reference", reference),
        ("recipient", message.to.as_str()),
        ("status", status),
        ("statusReason", reason),
        ("statusDatetime", &at),
    ];
    fields.extend((!code.is_empty()).then_some(("statusErrorCode", code)));
    fields.extend([
        ("messageLength", "5"),
        ("messagePartCount", "1"),
        ("price[amount]", "0.0750"),
        ("price[currency]", "EUR"),
    ]);
    Some(signed_get(cx, &with_query(&url, &form(&fields))))
}

fn resource(message: &Message, now: Timestamp) -> Value {
    let (status, reason, code) = sms_status(message.stage(now)).unwrap_or_default();
    let item = json!({
        "recipient": message.to.parse::<u64>().unwrap_or(0), "status": status, "statusReason": reason, "statusErrorCode": code.parse::<u32>().ok(),
        "statusDatetime": iso(message.changed_at(now)), "messagePartCount": 1,
    });
    json!({
        "id": message.id, "href": format!("https://rest.messagebird.com/messages/{}", message.id), "direction": "mt", "type": "sms", "originator": message.from,
        "body": message.text, "reference": message.echo, "createdDatetime": iso(message.at),
        "recipients": {"totalCount": 1, "totalSentCount": 1, "totalDeliveredCount": 0, "totalDeliveryFailedCount": 0, "items": [item]},
    })
}

fn send(cx: &mut Cx<'_>, request: &Request) -> Result<Reply, Reply> {
    let body = request.json().ok_or_else(|| error(422, 9, "request body is not valid JSON", None))?;
    let missing = |name| error(422, 9, &format!("{name} is required"), Some(name));
    for name in ["originator", "body"] {
        if text(&body, &format!("/{name}")).is_empty() {
            return Err(missing(name));
        }
    }
    let plain = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let recipients: Vec<String> = match &body["recipients"] {
        Value::Array(list) => list.iter().map(plain).collect(),
        Value::String(list) => list.split(',').map(str::to_owned).collect(),
        _ => return Err(missing("recipients")),
    };
    if recipients.is_empty() || recipients.len() > RECIPIENTS_MAX {
        return Err(error(422, 9, "no (correct) recipients found", Some("recipients")));
    }
    let id = cx.hex(32);
    for to in recipients {
        let is_number = to.len() >= 8 && to.bytes().all(|byte| byte.is_ascii_digit());
        match cx.fate(&to) {
            Fate::Throttled => return Err(MessageBird.throttled(None)),
            fate if fate == Fate::Refused || !is_number => {
                return Err(error(422, 9, "no (correct) recipients found", Some("recipients")));
            }
            _ => {}
        }
        cx.take(Draft {
            id: id.clone(),
            channel: "sms",
            to,
            from: text(&body, "/originator").to_owned(),
            echo: body["reference"].as_str().map(str::to_owned),
            text: text(&body, "/body").to_owned(),
            callback_url: body["reportUrl"].as_str().map(str::to_owned),
            more: json!({"api": "classic"}),
            ..Draft::default()
        });
    }
    cx.taken.last().map(|message| Reply::json(201, &resource(message, cx.now))).ok_or_else(|| missing("recipients"))
}

/// Conversations: a message over a channel.
fn converse(cx: &mut Cx<'_>, request: &Request) -> Result<Reply, Reply> {
    let body = request.json().ok_or_else(|| error(422, 9, "request body is not valid JSON", None))?;
    let (to, kind, content) = (text(&body, "/to"), text(&body, "/type"), &body["content"]);
    if text(&body, "/from") != cx.get("whatsapp_channel_id") {
        return Err(error(404, 20, "channel not found", Some("from")));
    }
    let digits = to.trim_start_matches('+');
    let is_number = digits.len() >= 8 && digits.bytes().all(|byte| byte.is_ascii_digit());
    match cx.fate(to) {
        Fate::Throttled => return Err(MessageBird.throttled(None)),
        fate if fate == Fate::Refused || !is_number => {
            return Err(error(422, 10, "to is not a valid phone number", Some("to")));
        }
        _ => {}
    }
    let invalid = |name: &str| error(422, 10, &format!("{name} is invalid"), Some("content"));
    let (words, part) = match kind {
        "text" => (text(content, "/text"), None),
        "image" | "video" | "audio" | "file" => {
            let url = content[kind]["url"].as_str().ok_or_else(|| invalid("url"))?;
            (content[kind]["caption"].as_str().unwrap_or_default(), Some(format!("{kind} {url}")))
        }
        "location" => {
            let place = &content["location"];
            let (Some(latitude), Some(longitude)) = (place["latitude"].as_f64(), place["longitude"].as_f64()) else {
                return Err(invalid("location"));
            };
            ("", Some(format!("location {latitude},{longitude}")))
        }
        "hsm" => {
            let hsm = &content["hsm"];
            if hsm["namespace"] != cx.get("whatsapp_namespace") || text(hsm, "/language/policy") != "deterministic" {
                return Err(invalid("hsm"));
            }
            let values = hsm["params"].as_array().into_iter().flatten().map(|value| text(value, "/default"));
            let values = values.collect::<Vec<_>>().join(" ");
            (
                "",
                Some(
                    format!("template {} {} {values}", text(hsm, "/templateName"), text(hsm, "/language/code"))
                        .trim_end()
                        .to_owned(),
                ),
            )
        }
        _ => return Err(invalid("type")),
    };
    if words.is_empty() && part.is_none() {
        return Err(invalid("text"));
    }
    let draft = Draft {
        id: cx.hex(32),
        channel: "whatsapp",
        to: to.to_owned(),
        from: text(&body, "/from").to_owned(),
        text: words.to_owned(),
        parts: part.into_iter().collect(),
        callback_url: body["reportUrl"].as_str().map(str::to_owned),
        more: json!({"api": "conversations", "type": kind, "content": content}),
        ..Draft::default()
    };
    let id = draft.id.clone();
    cx.take(draft);
    Ok(Reply::json(202, &json!({"id": id, "status": "accepted"})))
}

fn conversation(message: &Message, stage: Stage, now: Timestamp) -> Value {
    let status = match stage {
        Stage::Taken => "pending",
        Stage::Delivered => "delivered",
        Stage::Read => "read",
        Stage::Failed => "failed",
        Stage::OptedOut => "rejected",
        _ => "sent",
    };
    let error = matches!(stage, Stage::Failed | Stage::OptedOut)
        .then(|| json!({"code": 131026, "description": "Message undeliverable"}));
    json!({
        "id": message.id, "conversationId": "c0ffee00", "platform": "whatsapp", "channelId": message.from, "from": message.from, "to": message.to, "direction": "sent",
        "status": status, "error": error, "type": message.more["type"], "content": message.more["content"], "createdDatetime": iso(message.at), "updatedDatetime": iso(message.changed_at(now)),
    })
}
