//! Bird's channels: messages over an SMS or a WhatsApp channel of a workspace, and signed events about them.
//! <https://docs.bird.com/api/channels-api>

mod projects;

use aws_lc_rs::{digest, hmac};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use model::{HttpCall, Method};
use serde_json::{Value, json};

use crate::{
    fate::Fate,
    message::{Draft, Message, Stage},
    provider::{Cx, Written, iso, text},
    request::{Reply, Request},
    sign,
};

/// An error.
pub(super) fn error(status: u16, code: &str, message: &str) -> Reply {
    Reply::json(status, &json!({"code": code, "message": message}))
}

/// Answers a request below `/workspaces`, whose key was checked.
pub(super) fn answer(cx: &mut Cx<'_>, request: &Request) -> Result<Reply, Reply> {
    let segments = request.segments();
    if let [_, workspace, "projects", rest @ ..] = &segments[..] {
        return match *workspace == cx.get("workspace_id") {
            true => projects::answer(cx, request, rest),
            false => Err(error(404, "NotFound", "There is no such workspace")),
        };
    }
    let [_, workspace, "channels", channel, rest @ ..] = &segments[..] else {
        return Err(error(404, "NotFound", "There is nothing here"));
    };
    let name = [("bird_sms_channel_id", "sms"), ("bird_whatsapp_channel_id", "whatsapp")];
    let name = name.iter().find(|(setting, _)| cx.get(setting) == *channel).map(|(_, name)| *name);
    let Some(name) = name.filter(|_| *workspace == cx.get("workspace_id")) else {
        return Err(error(404, "NotFound", "There is no such channel in this workspace"));
    };
    match (request.method.as_str(), rest) {
        ("GET", []) => Ok(Reply::json(
            200,
            &json!({"id": channel, "name": format!("Simulated {name}"), "platformId": name, "status": "active"}),
        )),
        ("POST", ["messages"]) => send(cx, request, channel, name),
        ("GET", ["messages", id]) => match cx.find(id) {
            Some(message) => Ok(Reply::json(200, &resource(cx, message, message.stage(cx.now)))),
            None => Err(error(404, "NotFound", "There is no such message")),
        },
        _ => Err(error(404, "NotFound", "There is nothing here")),
    }
}

fn send(cx: &mut Cx<'_>, request: &Request, channel: &str, name: &'static str) -> Result<Reply, Reply> {
    let invalid = |words: &str| error(422, "InvalidPayload", words);
    let sent = request.json().ok_or_else(|| invalid("The request body is not valid JSON"))?;
    let contact = &sent["receiver"]["contacts"][0];
    let to = text(contact, "/identifierValue");
    let is_number = to
        .strip_prefix('+')
        .is_some_and(|digits| digits.len() >= 8 && digits.bytes().all(|byte| byte.is_ascii_digit()));
    match cx.fate(to) {
        Fate::Throttled => return Err(error(429, "TooManyRequests", "Too many requests")),
        fate if fate == Fate::Refused || !is_number => {
            return Err(invalid("receiver.contacts[0].identifierValue is not a valid phone number"));
        }
        _ => {}
    }
    let (body, template) = (&sent["body"], &sent["template"]);
    let (words, part) = match (text(body, "/type"), template) {
        ("text", _) => (text(body, "/text/text"), None),
        ("image", _) => {
            let url = text(body, "/image/images/0/mediaUrl");
            (text(body, "/image/text"), Some(format!("image {url}")).filter(|_| !url.is_empty()))
        }
        ("file", _) => {
            let file = &body["file"]["files"][0];
            let url = text(file, "/mediaUrl");
            (
                text(body, "/file/text"),
                Some(format!("file {url} {}", text(file, "/contentType"))).filter(|_| !url.is_empty()),
            )
        }
        ("location", _) => {
            let place = &body["location"]["coordinates"];
            ("", Some(format!("location {},{}", place["latitude"], place["longitude"])).filter(|_| place.is_object()))
        }
        ("", Value::Object(_)) => {
            let values = template["parameters"].as_array().into_iter().flatten().map(|value| text(value, "/value"));
            let values = values.collect::<Vec<_>>().join(" ");
            let id = text(template, "/projectId");
            (
                "",
                Some(format!("template {id} {} {values}", text(template, "/locale")).trim_end().to_owned())
                    .filter(|_| !id.is_empty()),
            )
        }
        (kind, _) => return Err(invalid(&format!("body.type {kind:?} is not supported"))),
    };
    if words.is_empty() && part.is_none() {
        return Err(invalid("body is incomplete"));
    }
    let draft = Draft {
        id: cx.uuid(),
        channel: name,
        to: to.to_owned(),
        from: channel.to_owned(),
        echo: sent["reference"].as_str().map(str::to_owned),
        text: words.to_owned(),
        parts: part.into_iter().collect(),
        callback_url: Some(cx.get("bird_callback_url").to_owned()),
        more: json!({"api": "bird", "body": body, "channel": channel}),
        ..Draft::default()
    };
    cx.take(draft);
    match cx.taken.last() {
        Some(message) => Ok(Reply::json(202, &resource(cx, message, Stage::Taken))),
        None => Err(error(500, "InternalError", "The message was lost")),
    }
}

fn status(stage: Stage) -> &'static str {
    match stage {
        Stage::Taken => "accepted",
        Stage::Failed => "delivery_failed",
        Stage::OptedOut => "rejected",
        Stage::Sent => "sent",
        _ => "delivered",
    }
}

fn resource(cx: &Cx<'_>, message: &Message, stage: Stage) -> Value {
    let failure = matches!(stage, Stage::Failed | Stage::OptedOut)
        .then(|| json!({"code": 11_000, "description": "The recipient cannot be reached", "source": {"name": "simulator", "code": "131026"}}));
    let contact = json!({"identifierKey": "phonenumber", "identifierValue": message.to});
    json!({
        "id": message.id, "channelId": message.from, "sender": {"connector": {"identifierValue": message.from}}, "receiver": {"contacts": [contact]},
        "body": message.more["body"], "reference": message.echo, "direction": "outgoing", "status": status(stage), "reason": "", "failure": failure,
        "createdAt": iso(message.at), "updatedAt": iso(cx.now), "lastStatusAt": iso(cx.now),
    })
}

/// The event about a message at a stage.
pub(super) fn report(cx: &Cx<'_>, message: &Message, stage: Stage) -> Option<HttpCall> {
    let url = message.callback_url.clone()?;
    let body = match stage {
        Stage::Sent | Stage::Delivered | Stage::Failed | Stage::OptedOut => {
            json!({"service": "channels", "event": format!("{}.outbound", message.channel), "payload": resource(cx, message, stage)})
        }
        Stage::Read => json!({
            "service": "channels", "event": format!("{}.interaction", message.channel),
            "payload": {"id": cx.uuid(), "messageId": message.id, "channelId": message.from, "type": "read", "messageReference": message.echo, "createdAt": iso(cx.now)},
        }),
        _ => return None,
    };
    Some(signed(cx, url, body.to_string()))
}

/// The event about a message somebody wrote.
pub(super) fn inbound(cx: &Cx<'_>, written: &Written) -> Option<HttpCall> {
    let url = Some(cx.get("bird_callback_url")).filter(|url| !url.is_empty())?.to_owned();
    let channel = if written.is_whatsapp() { "whatsapp" } else { "sms" };
    let body = match (&written.media, &written.location) {
        (Some(media), _) if written.kind() == "image" => {
            json!({"type": "image", "image": {"text": written.text, "images": [{"mediaUrl": media.url, "contentType": media.content_type}]}})
        }
        (Some(media), _) => {
            json!({"type": "file", "file": {"text": written.text, "files": [{"mediaUrl": media.url, "contentType": media.content_type}]}})
        }
        (None, Some(place)) => {
            json!({"type": "location", "location": {"coordinates": {"latitude": place.latitude, "longitude": place.longitude}}})
        }
        (None, None) => json!({"type": "text", "text": {"text": written.text}}),
    };
    let setting = format!("bird_{channel}_channel_id");
    let payload = json!({
        "id": cx.uuid(), "channelId": cx.get(&setting), "direction": "incoming", "status": "delivered", "body": body, "createdAt": iso(cx.now),
        "sender": {"contact": {"identifierKey": "phonenumber", "identifierValue": written.from, "annotations": {"name": "Somebody"}}},
        "receiver": {"connector": {"identifierValue": cx.get("from")}},
    });
    let event = json!({"service": "channels", "event": format!("{channel}.inbound"), "payload": payload});
    Some(signed(cx, url, event.to_string()))
}

fn signed(cx: &Cx<'_>, url: String, body: String) -> HttpCall {
    let timestamp = cx.unix().to_string();
    let signature = signature(cx.get("signing_key"), &timestamp, &url, body.as_bytes());
    HttpCall::new(Method::Post, url)
        .body("application/json", body)
        .header("messagebird-request-timestamp", timestamp)
        .header("messagebird-signature", signature)
}

/// Keyed SHA-256 over time, URL and the hash of the body.
pub(crate) fn signature(key: &str, timestamp: &str, url: &str, body: &[u8]) -> String {
    let hash = digest::digest(&digest::SHA256, body);
    let text = [format!("{timestamp}\n{url}\n").as_bytes(), hash.as_ref()].concat();
    STANDARD.encode(sign::mac(hmac::HMAC_SHA256, key.as_bytes(), &text))
}
