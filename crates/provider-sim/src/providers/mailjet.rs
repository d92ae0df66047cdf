//! Mailjet: Send API v3.1, messages, the key, senders, and events, which are not signed.
//! <https://dev.mailjet.com/email/reference/>

mod manage;

use model::{HttpCall, Method};
use serde_json::{Value, json};

use crate::{
    fate::Fate,
    letter,
    message::{Draft, Message, Stage},
    mime::{is_address, part},
    provider::{Cx, Provider, Setting, Settings, Written, account, iso, rfc2822, text},
    request::{Reply, Request},
};

pub(crate) struct Mailjet;

const SETTINGS: &[Setting] = &[
    Setting { name: "api_key", default: "0123456789abcdef0123456789abcdef" },
    Setting { name: "secret_key", default: "fedcba9876543210fedcba9876543210" },
    Setting { name: "from", default: "Acme Tickets <tickets@acme.example>" },
    Setting { name: "callback_url", default: "" },
    Setting { name: "senders", default: "[]" },
    Setting { name: "event_urls", default: "[]" },
];
/// Most messages of one request.
const MESSAGES_MAX: usize = 50;

/// An error of the REST API.
fn rest_error(status: u16, message: &str) -> Reply {
    Reply::json(status, &json!({"ErrorInfo": "", "ErrorMessage": message, "StatusCode": status}))
}

/// An error of a whole request to the Send API.
fn send_error(status: u16, code: &str, message: &str) -> Reply {
    let body = json!({
        "ErrorIdentifier": "00000000-0000-4000-a000-000000000000", "ErrorCode": code, "ErrorMessage": message, "StatusCode": status,
    });
    Reply::json(status, &body)
}

impl Provider for Mailjet {
    fn id(&self) -> &'static str {
        "mailjet"
    }

    fn settings(&self) -> &'static [Setting] {
        SETTINGS
    }

    fn accounts(&self, settings: &Settings) -> Vec<Value> {
        let keys = json!({
            "api_key": settings["api_key"], "secret_key": settings["secret_key"], "reply_domain": "mailjet.reply.example",
        });
        vec![account("mailjet", "Mailjet", Some(&settings["from"]), keys)]
    }

    fn answer(&self, cx: &mut Cx<'_>, request: &Request) -> Result<Reply, Reply> {
        let segments = request.segments();
        let is_send = segments == ["v3.1", "send"];
        let is_known = request
            .basic()
            .is_some_and(|(user, password)| user == cx.get("api_key") && password == cx.get("secret_key"));
        if !is_known {
            return Err(match is_send {
                true => send_error(
                    401,
                    "mj-0015",
                    "API key authentication/authorization failure. You may be unauthorized to access the API or your API key may be expired.",
                ),
                false => rest_error(401, "API key authentication/authorization failure."),
            });
        }
        let data =
            |data: Vec<Value>| Ok(Reply::json(200, &json!({"Count": data.len(), "Total": data.len(), "Data": data})));
        match (request.method.as_str(), &segments[..]) {
            ("POST", ["v3.1", "send"]) => send(cx, request),
            ("GET", ["v3", "REST", "apikey"]) => data(vec![
                json!({"ID": 1, "APIKey": cx.get("api_key"), "IsActive": true, "IsMaster": true, "Name": "Simulated", "Runlevel": "Normal"}),
            ]),
            ("GET", ["v3", "REST", "message", id]) => match cx.find(id) {
                Some(message) => data(vec![resource(cx, message)]),
                None => Err(rest_error(404, "Object not found")),
            },
            ("GET", ["v3", "REST", "message"]) => {
                let echo = request.parameters().some("CustomID");
                let found = cx.known().filter(|message| echo.is_some() && message.echo == echo);
                data(found.map(|message| resource(cx, message)).collect())
            }
            (_, ["v3", "REST", rest @ ..]) => manage::answer(cx, request, rest),
            _ => Err(rest_error(404, "Object not found")),
        }
    }

    fn throttled(&self, after_s: Option<u64>) -> Reply {
        rest_error(429, "Too many requests").retry_after(after_s)
    }

    fn broken(&self, status: u16) -> Reply {
        send_error(status, "mj-0000", "Internal server error")
    }

    fn report(&self, cx: &Cx<'_>, message: &Message, stage: Stage) -> Option<HttpCall> {
        let url = cx.callback_of(message)?;
        let (event, more) = match stage {
            // What Mailjet calls sent is that the recipient's server took the mail.
            Stage::Delivered => ("sent", json!({"mj_message_id": message.id, "smtp_reply": "sent (250 2.0.0 OK)"})),
            Stage::Opened => ("open", json!({"ip": "192.0.2.1", "geo": "EU", "agent": "Simulator/1.0"})),
            Stage::Clicked => (
                "click",
                json!({"url": "https://acme.example/clicked", "ip": "192.0.2.1", "geo": "EU", "agent": "Simulator/1.0"}),
            ),
            Stage::Bounced => (
                "bounce",
                json!({"blocked": false, "hard_bounce": true, "error_related_to": "recipient", "error": "user unknown", "comment": "550 5.1.1"}),
            ),
            Stage::SoftBounced => (
                "bounce",
                json!({"blocked": false, "hard_bounce": false, "error_related_to": "recipient", "error": "quota exceeded", "comment": "452 4.2.2"}),
            ),
            Stage::Failed => ("blocked", json!({"error_related_to": "mailjet", "error": "preblocked"})),
            Stage::Complained => ("spam", json!({"source": "JMRPP"})),
            Stage::Unsubscribed => {
                ("unsub", json!({"mj_list_id": 1, "ip": "192.0.2.1", "geo": "EU", "agent": "Simulator/1.0"}))
            }
            _ => return None,
        };
        let mut told = json!({
            "event": event, "time": cx.unix(), "MessageID": message.id.parse::<i64>().unwrap_or(0), "Message_GUID": message.more["uuid"], "email": message.to,
            "mj_campaign_id": 0, "mj_contact_id": 0, "customcampaign": "", "CustomID": message.echo, "Payload": "",
        });
        told.as_object_mut()?.extend(more.as_object().cloned().unwrap_or_default());
        Some(HttpCall::new(Method::Post, url).body("application/json", json!([told]).to_string()))
    }

    /// The Parse API. <https://dev.mailjet.com/email/guides/parse-api/>
    fn inbound(&self, cx: &mut Cx<'_>, written: &Written) -> Option<HttpCall> {
        let (url, to) = (cx.callback("callback_url")?, written.to.clone()?);
        let headers: serde_json::Map<String, Value> =
            letter::headers(cx, written, &to).into_iter().map(|(name, value)| (name, value.into())).collect();
        let mut parts =
            vec![json!({"Headers": {"Content-Type": "text/plain; charset=UTF-8"}, "ContentRef": "Text-part"})];
        parts.extend(
            written
                .html
                .as_ref()
                .map(|_| json!({"Headers": {"Content-Type": "text/html; charset=UTF-8"}, "ContentRef": "Html-part"})),
        );
        let mut body = json!({
            "Sender": written.from, "Recipient": to, "Date": rfc2822(cx.now), "From": format!("Somebody <{}>", written.from), "Subject": written.subject,
            "Headers": headers, "Text-part": written.text, "Html-part": written.html.clone().unwrap_or_default(), "SpamAssassinScore": "0", "CustomID": "", "Payload": "",
        });
        for (index, file) in written.files.iter().enumerate() {
            let name = format!("Attachment{}", index + 1);
            parts.push(json!({
                "Headers": {"Content-Type": file.content_type, "Content-Disposition": format!("attachment; filename=\"{}\"", file.filename)}, "ContentRef": name,
            }));
            body[name] = file.content_base64.clone().into();
        }
        body["Parts"] = parts.into();
        Some(HttpCall::new(Method::Post, url).body("application/json", body.to_string()))
    }
}

fn resource(cx: &Cx<'_>, message: &Message) -> Value {
    let (status, state) = match message.stage(cx.now) {
        Stage::Delivered => ("sent", ""),
        Stage::Opened => ("opened", ""),
        Stage::Clicked => ("clicked", ""),
        Stage::Bounced => ("hardbounced", "user unknown"),
        Stage::SoftBounced => ("softbounced", "quota exceeded"),
        Stage::Failed => ("blocked", "preblocked"),
        Stage::Complained => ("spam", ""),
        Stage::Unsubscribed => ("unsub", ""),
        _ => ("queued", ""),
    };
    json!({
        "ID": message.id.parse::<i64>().unwrap_or(0), "UUID": message.more["uuid"], "CustomID": message.echo, "Status": status, "State": state,
        "ArrivedAt": iso(message.at), "AttemptCount": 1,
    })
}

fn send(cx: &mut Cx<'_>, request: &Request) -> Result<Reply, Reply> {
    let body = request
        .json()
        .ok_or_else(|| send_error(400, "mj-0002", "Malformed JSON, please review the syntax and properties types."))?;
    let messages = body["Messages"].as_array().filter(|messages| !messages.is_empty());
    let messages = messages.ok_or_else(|| send_error(400, "mj-0003", "\"Messages\" property is mandatory."))?;
    if messages.len() > MESSAGES_MAX {
        return Err(send_error(400, "mj-0008", "The number of messages exceeds the limit of 50."));
    }
    let mut results = Vec::new();
    for message in messages {
        results.push(one(cx, message)?);
    }
    let status = if results.iter().all(|result| result["Status"] == "error") { 400 } else { 200 };
    Ok(Reply::json(status, &json!({ "Messages": results })))
}

/// What becomes of one message of a request.
fn one(cx: &mut Cx<'_>, message: &Value) -> Result<Value, Reply> {
    let refused = |status: u16, code: &str, related: &str, words: &str| {
        let error = json!({
            "ErrorIdentifier": "00000000-0000-4000-a000-000000000000", "ErrorCode": code, "StatusCode": status, "ErrorMessage": words, "ErrorRelatedTo": [related],
        });
        Ok(json!({"Status": "error", "Errors": [error]}))
    };
    let from = text(message, "/From/Email");
    if !manage::is_verified(cx, from.rsplit('@').next().unwrap_or_default()) {
        return refused(
            403,
            "send-0008",
            "From",
            "\"From\" email address is not an authorized sender email address for your account.",
        );
    }
    if ["TextPart", "HTMLPart", "TemplateID"].iter().all(|name| message[*name].is_null()) {
        return refused(
            400,
            "send-0003",
            "TextPart",
            "At least \"HTMLPart\", \"TextPart\" or \"TemplateID\" must be provided.",
        );
    }
    let recipients = message["To"].as_array().cloned().unwrap_or_default();
    if recipients.is_empty() {
        return refused(400, "mj-0003", "To", "\"To\" property is mandatory.");
    }
    let mut taken = Vec::new();
    for recipient in &recipients {
        let to = text(recipient, "/Email");
        match cx.fate(to) {
            Fate::Throttled => return Err(Mailjet.throttled(None)),
            fate if fate == Fate::Refused || !is_address(to) => {
                return refused(400, "mj-0013", "To", &format!("\"{to}\" is an invalid email address."));
            }
            _ => {}
        }
        // 17 digits, above 2^53 as the real ones are.
        let id = format!("{}{:08}", 705_000_000, cx.ids.below(100_000_000));
        let files = [("Attachments", ""), ("InlinedAttachments", "/ContentID")].into_iter().flat_map(|(name, id)| {
            message[name].as_array().into_iter().flatten().map(move |file| {
                let content_id = if id.is_empty() { "" } else { text(file, id) };
                part(text(file, "/Filename"), text(file, "/ContentType"), text(file, "/Base64Content"), content_id)
            })
        });
        let html = message["HTMLPart"].as_str().map(|_| "html".to_owned());
        let uuid = cx.uuid();
        taken.push(json!({"Email": to, "MessageUUID": uuid, "MessageID": id.parse::<i64>().unwrap_or(0), "MessageHref": format!("{}/v3/REST/message/{id}", cx.base_url)}));
        cx.take(Draft {
            id,
            channel: "email",
            to: to.to_owned(),
            from: from.to_owned(),
            echo: message["CustomID"].as_str().map(str::to_owned),
            subject: message["Subject"].as_str().map(str::to_owned),
            reply_to: Some(text(message, "/ReplyTo/Email").to_owned()),
            text: text(message, "/TextPart").to_owned(),
            parts: html.into_iter().chain(files).collect(),
            callback_url: None,
            more: json!({ "uuid": uuid }),
        });
    }
    Ok(json!({"Status": "success", "CustomID": message["CustomID"], "To": taken, "Cc": [], "Bcc": []}))
}
