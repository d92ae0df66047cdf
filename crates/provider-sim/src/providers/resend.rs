//! Resend: e-mails one by one and in batches, look-ups, domains, idempotency keys, and webhooks signed by Svix.
//! <https://resend.com/docs/api-reference>

mod manage;
mod received;

use model::{HttpCall, Method};
use serde_json::{Value, json};

use crate::{
    fate::Fate,
    message::{Draft, Message, Stage},
    mime::{bare, is_address, part},
    provider::{Cx, Provider, Setting, Settings, Written, account, iso, text},
    request::{Reply, Request},
    sign,
};

pub(crate) struct Resend;

const SETTINGS: &[Setting] = &[
    Setting { name: "api_key", default: "re_simulated" },
    Setting { name: "webhook_secret", default: "whsec_c2ltdWxhdGVkLXNlY3JldC1vZi1zdml4" },
    Setting { name: "from", default: "Acme Tickets <tickets@acme.example>" },
    Setting { name: "callback_url", default: "" },
    Setting { name: "domains", default: "[]" },
    Setting { name: "webhooks", default: "[]" },
    Setting { name: "received", default: "[]" },
];
/// Received mails kept.
const RECEIVED_MAX: usize = 50;
/// Most mails of one batch.
const BATCH_MAX: usize = 100;
/// Longest idempotency key.
const KEY_MAX: usize = 256;
/// Most recipients of one mail.
const RECIPIENTS_MAX: usize = 50;

fn error(status: u16, name: &str, message: &str) -> Reply {
    Reply::json(status, &json!({"statusCode": status, "name": name, "message": message}))
}

impl Provider for Resend {
    fn id(&self) -> &'static str {
        "resend"
    }

    fn settings(&self) -> &'static [Setting] {
        SETTINGS
    }

    fn accounts(&self, settings: &Settings) -> Vec<Value> {
        let keys = json!({
            "api_key": settings["api_key"], "webhook_secret": settings["webhook_secret"], "reply_domain": "resend.reply.example",
        });
        vec![account("resend", "Resend", Some(&settings["from"]), keys)]
    }

    fn answer(&self, cx: &mut Cx<'_>, request: &Request) -> Result<Reply, Reply> {
        // Files lie at an address that is its own proof.
        if let ("GET", ["files", id, index]) = (request.method.as_str(), &request.segments()[..]) {
            return received::file(cx, id, index);
        }
        match request.bearer() {
            "" => return Err(error(401, "missing_api_key", "Missing API Key")),
            key if key != cx.get("api_key") => return Err(error(403, "invalid_api_key", "API key is invalid")),
            _ => {}
        }
        match (request.method.as_str(), &request.segments()[..]) {
            ("POST", ["emails"]) => {
                let mail = request
                    .json()
                    .ok_or_else(|| error(400, "validation_error", "The request body is not valid JSON."))?;
                once(cx, request, |cx| Ok(json!({ "id": one(cx, &mail)? })))
            }
            ("POST", ["emails", "batch"]) => once(cx, request, |cx| batch(cx, request)),
            ("GET", ["emails"]) => {
                let limit = request.parameters().get("limit").parse().unwrap_or(20).min(100);
                let data: Vec<Value> = cx.known().take(limit).map(|message| resource(cx, message)).collect();
                Ok(Reply::json(200, &json!({"object": "list", "has_more": false, "data": data})))
            }
            ("GET", ["emails", "receiving", id]) => received::mail(cx, id),
            ("GET", ["emails", "receiving", id, "attachments"]) => received::files(cx, &request.parameters(), id),
            ("GET", ["emails", "metrics"]) => manage::metrics(cx, request),
            ("GET", ["emails", id]) => match cx.find(id) {
                Some(message) => Ok(Reply::json(200, &resource(cx, message))),
                None => Err(error(404, "not_found", "Email not found")),
            },
            (_, ["domains", rest @ ..]) => manage::domains(cx, request, rest),
            (_, ["webhooks", rest @ ..]) => manage::webhooks(cx, request, rest),
            ("GET", ["suppressions"]) => manage::suppressions(cx, request),
            _ => Err(error(404, "not_found", "The requested endpoint does not exist.")),
        }
    }

    fn throttled(&self, after_s: Option<u64>) -> Reply {
        error(429, "rate_limit_exceeded", "Too many requests. You can only make 2 requests per second.")
            .retry_after(after_s)
    }

    fn broken(&self, status: u16) -> Reply {
        error(status, "application_error", "An unexpected error occurred")
    }

    fn report(&self, cx: &Cx<'_>, message: &Message, stage: Stage) -> Option<HttpCall> {
        let url = cx.callback_of(message)?;
        let (kind, more) = match stage {
            Stage::Sent => ("email.sent", json!({})),
            Stage::Delivered => ("email.delivered", json!({})),
            Stage::Opened => ("email.opened", json!({})),
            Stage::Clicked => (
                "email.clicked",
                json!({"click": {"ipAddress": "192.0.2.1", "link": "https://acme.example/clicked", "timestamp": iso(cx.now), "userAgent": "Simulator/1.0"}}),
            ),
            Stage::Bounced => (
                "email.bounced",
                json!({"bounce": {"type": "Permanent", "subType": "General", "message": "The recipient's mailbox does not exist.", "diagnosticCode": ["smtp; 550 5.1.1 user unknown"]}}),
            ),
            Stage::SoftBounced => (
                "email.bounced",
                json!({"bounce": {"type": "Transient", "subType": "MailboxFull", "message": "The mailbox is full.", "diagnosticCode": ["smtp; 452 4.2.2 mailbox full"]}}),
            ),
            Stage::Failed => ("email.failed", json!({"failed": {"reason": "reached_daily_quota"}})),
            Stage::Complained => ("email.complained", json!({})),
            _ => return None,
        };
        let mut data = json!({
            "email_id": message.id, "created_at": iso(message.at), "from": message.from, "to": [message.to], "subject": message.subject,
            "tags": message.more["tags"],
        });
        data.as_object_mut()?.extend(more.as_object().cloned().unwrap_or_default());
        Some(event(cx, url, kind, &data))
    }

    fn inbound(&self, cx: &mut Cx<'_>, written: &Written) -> Option<HttpCall> {
        let (url, to) = (cx.callback("callback_url")?, written.to.clone()?);
        let data = received::keep(cx, written, &to);
        Some(event(cx, url, "email.received", &data))
    }
}

/// An event, signed.
fn event(cx: &Cx<'_>, url: String, kind: &str, data: &Value) -> HttpCall {
    let body = json!({"type": kind, "created_at": iso(cx.now), "data": data}).to_string();
    let (id, timestamp) = (format!("msg_{}", cx.hex(27)), cx.unix().to_string());
    let signature = sign::svix(cx.get("webhook_secret"), &id, &timestamp, body.as_bytes());
    HttpCall::new(Method::Post, url)
        .body("application/json", body)
        .header("svix-id", id)
        .header("svix-timestamp", timestamp)
        .header("svix-signature", signature)
}

/// Takes a request once: the same key with the same body gets the first answer again.
fn once(
    cx: &mut Cx<'_>,
    request: &Request,
    take: impl FnOnce(&mut Cx<'_>) -> Result<Value, Reply>,
) -> Result<Reply, Reply> {
    let key = request.header("idempotency-key");
    if key.len() > KEY_MAX {
        return Err(error(400, "invalid_idempotency_key", "The key must be between 1-256 characters."));
    }
    let hash = sign::sha256(&request.body);
    if let Some(first) = cx.known().find(|message| !key.is_empty() && message.more["key"] == key) {
        if first.more["hash"] != hash {
            return Err(error(
                409,
                "invalid_idempotent_request",
                "Same idempotency key used with a different request payload.",
            ));
        }
        return Ok(Reply::json(200, &first.more["answer"]));
    }
    let answer = take(cx)?;
    for message in &mut cx.taken {
        message.more["key"] = key.into();
        message.more["hash"] = hash.clone().into();
        message.more["answer"] = answer.clone();
    }
    Ok(Reply::json(200, &answer))
}

fn batch(cx: &mut Cx<'_>, request: &Request) -> Result<Value, Reply> {
    let body = request.json().and_then(|body| body.as_array().cloned());
    let mails = body.ok_or_else(|| error(422, "validation_error", "The request body must be an array of emails."))?;
    if mails.is_empty() || mails.len() > BATCH_MAX {
        return Err(error(422, "validation_error", "The batch must have 1 to 100 emails."));
    }
    let is_permissive = request.header("x-batch-validation") == "permissive";
    let (mut data, mut errors) = (Vec::new(), Vec::new());
    for (index, mail) in mails.iter().enumerate() {
        match one(cx, mail) {
            Ok(id) => data.push(json!({ "id": id })),
            Err(refusal) if is_permissive && refusal.status == 422 => {
                let words: Value = serde_json::from_slice(&refusal.body).unwrap_or_default();
                errors.push(json!({"index": index, "message": words["message"]}));
            }
            Err(refusal) => {
                // One bad mail fails all.
                cx.taken.clear();
                return Err(refusal);
            }
        }
    }
    let mut answer = json!({ "data": data });
    if is_permissive {
        answer["errors"] = errors.into();
    }
    Ok(answer)
}

/// Takes a mail; answers its id.
fn one(cx: &mut Cx<'_>, mail: &Value) -> Result<String, Reply> {
    let from = bare(text(mail, "/from"));
    if !is_address(&from) {
        return Err(error(
            422,
            "invalid_from_address",
            "Invalid `from` field. The email address needs to follow the `email@example.com` or `Name <email@example.com>` format.",
        ));
    }
    let domain = from.rsplit('@').next().unwrap_or_default();
    if !manage::is_verified(cx, domain) {
        return Err(error(
            403,
            "validation_error",
            &format!("The {domain} domain is not verified. Please, add and verify your domain."),
        ));
    }
    if text(mail, "/subject").is_empty() {
        return Err(error(422, "missing_required_field", "Missing `subject` field."));
    }
    if mail["html"].is_null() && mail["text"].is_null() {
        return Err(error(422, "missing_required_field", "Missing `html` or `text` field."));
    }
    let recipients: Vec<&str> = match &mail["to"] {
        Value::String(one) => vec![one.as_str()],
        list => list.as_array().into_iter().flatten().filter_map(Value::as_str).collect(),
    };
    if recipients.is_empty() || recipients.len() > RECIPIENTS_MAX {
        return Err(error(422, "missing_required_field", "Missing `to` field."));
    }
    let id = cx.uuid();
    let tags: serde_json::Map<String, Value> = mail["tags"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|tag| (text(tag, "/name").to_owned(), tag["value"].clone()))
        .collect();
    for to in recipients {
        match cx.fate(to) {
            Fate::Throttled => return Err(Resend.throttled(None)),
            fate if fate == Fate::Refused || !is_address(&bare(to)) => {
                return Err(error(
                    422,
                    "validation_error",
                    "Invalid `to` field. The email address needs to follow the `email@example.com` or `Name <email@example.com>` format.",
                ));
            }
            _ => {}
        }
        let files = mail["attachments"].as_array().into_iter().flatten();
        let files = files.map(|file| {
            part(
                text(file, "/filename"),
                text(file, "/content_type"),
                text(file, "/content"),
                text(file, "/content_id"),
            )
        });
        let html = mail["html"].as_str().map(|_| "html".to_owned());
        cx.take(Draft {
            id: id.clone(),
            channel: "email",
            to: bare(to),
            from: from.clone(),
            echo: tags.values().next().and_then(Value::as_str).map(str::to_owned),
            subject: mail["subject"].as_str().map(str::to_owned),
            reply_to: mail["reply_to"].as_str().or_else(|| mail["reply_to"][0].as_str()).map(bare),
            text: text(mail, "/text").to_owned(),
            parts: html.into_iter().chain(files).collect(),
            callback_url: None,
            more: json!({ "tags": tags }),
        });
    }
    Ok(id)
}

fn resource(cx: &Cx<'_>, message: &Message) -> Value {
    let last = match message.stage(cx.now) {
        Stage::Taken => "queued",
        Stage::Delivered | Stage::Unsubscribed => "delivered",
        Stage::Opened => "opened",
        Stage::Clicked => "clicked",
        Stage::Bounced | Stage::SoftBounced => "bounced",
        Stage::Complained => "complained",
        Stage::Failed => "failed",
        _ => "sent",
    };
    json!({
        "object": "email", "id": message.id, "to": [message.to], "from": message.from, "subject": message.subject, "created_at": iso(message.at),
        "last_event": last, "tags": message.more["tags"],
    })
}
