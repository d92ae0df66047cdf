//! Mailgun: messages, the event log, the domain and its queue, webhooks to be set up, and signed ones.
//! <https://documentation.mailgun.com/docs/mailgun/api-reference/>

mod manage;

use aws_lc_rs::hmac;
use model::{HttpCall, Method, Timestamp};
use serde_json::{Value, json};

use crate::{
    fate::Fate,
    fields::{Fields, decoded, form},
    letter,
    message::{Draft, Message, Stage},
    mime::{FormFile, bare, form_data, is_address},
    provider::{Cx, Provider, Setting, Settings, Written, account, rfc2822, written},
    request::{Reply, Request},
    sign,
};

pub(crate) struct Mailgun;

const SETTINGS: &[Setting] = &[
    Setting { name: "api_key", default: "key-simulated" },
    Setting { name: "domain", default: "mg.acme.example" },
    Setting { name: "webhook_signing_key", default: "simulated-signing-key" },
    Setting { name: "from", default: "Acme Tickets <tickets@mg.acme.example>" },
    Setting { name: "callback_url", default: "" },
    Setting { name: "mail_url", default: "" },
    Setting { name: "webhooks", default: "{}" },
    Setting { name: "domains", default: "[]" },
];
/// Kinds of events a webhook can be for, and URLs for each.
const HOOKS: &[&str] =
    &["accepted", "delivered", "opened", "clicked", "unsubscribed", "complained", "permanent_fail", "temporary_fail"];
const HOOK_URLS_MAX: usize = 3;
/// Most recipients of one request.
const RECIPIENTS_MAX: usize = 1_000;

fn error(status: u16, message: &str) -> Reply {
    Reply::json(status, &json!({ "message": message }))
}

impl Provider for Mailgun {
    fn id(&self) -> &'static str {
        "mailgun"
    }

    fn settings(&self) -> &'static [Setting] {
        SETTINGS
    }

    fn accounts(&self, settings: &Settings) -> Vec<Value> {
        let keys = json!({
            "api_key": settings["api_key"], "domain": settings["domain"], "webhook_signing_key": settings["webhook_signing_key"],
            "reply_domain": "mailgun.reply.example",
        });
        vec![account("mailgun", "Mailgun", Some(&settings["from"]), keys)]
    }

    fn answer(&self, cx: &mut Cx<'_>, request: &Request) -> Result<Reply, Reply> {
        let key = cx.get("api_key").to_owned();
        let is_known = request.basic().is_some_and(|(user, password)| user == "api" && password == key);
        let domain = cx.get("domain").to_owned();
        let segments = request.segments();
        if !is_known {
            return Err(match segments.last() {
                Some(&"messages") => Reply::of(401, "text/plain", "Forbidden"),
                _ => error(401, "Invalid private key"),
            });
        }
        let is_own = |name: &str| decoded(name).eq_ignore_ascii_case(&domain);
        match (request.method.as_str(), &segments[..]) {
            ("POST", ["v3", name, "messages"]) if is_own(name) => send(cx, request, &domain),
            ("GET", ["v3", name, "events"]) if is_own(name) => Ok(events(cx, request)),
            (_, ["v4", "domains", rest @ ..]) => manage::domains(cx, request, rest),
            ("DELETE", ["v3", "domains", name]) => manage::domains(cx, request, &[name]),
            ("GET", ["v3", name, "stats", "total"]) if is_own(name) => manage::stats(cx, request),
            ("GET", ["v3", name, list @ ("bounces" | "complaints" | "unsubscribes")]) if is_own(name) => {
                Ok(manage::suppressed(cx, request, list))
            }
            ("GET", ["v3", "domains", name, "sending_queues"]) if is_own(name) => Ok(Reply::json(
                200,
                &json!({"regular": {"is_disabled": false, "disabled": null}, "scheduled": {"is_disabled": false, "disabled": null}}),
            )),
            ("GET", ["v3", "domains", name, "webhooks"]) if is_own(name) => {
                Ok(Reply::json(200, &json!({"webhooks": cx.kept("webhooks")})))
            }
            ("POST", ["v3", "domains", name, "webhooks"]) if is_own(name) => {
                let event = fields(request).0.get("id").to_owned();
                hook(cx, request, &event, true)
            }
            ("PUT", ["v3", "domains", name, "webhooks", event]) if is_own(name) => hook(cx, request, event, false),
            ("GET", ["v5", "accounts", "http_signing_key"]) => {
                let key = cx.get("webhook_signing_key");
                Ok(Reply::json(200, &json!({"message": "success", "http_signing_key": key})))
            }
            (_, ["v3" | "v4", ..]) => Err(error(404, "Domain not found")),
            _ => Err(error(404, "Not Found")),
        }
    }

    fn throttled(&self, after_s: Option<u64>) -> Reply {
        let words = format!(
            "Domain is not allowed to send: request limit exceeded, try again after {} seconds",
            after_s.unwrap_or(60)
        );
        error(429, &words).retry_after(after_s)
    }

    fn broken(&self, status: u16) -> Reply {
        error(status, "Internal Server Error")
    }

    fn report(&self, cx: &Cx<'_>, message: &Message, stage: Stage) -> Option<HttpCall> {
        let url = cx.callback_of(message)?;
        let event = event(message, stage, cx.now, &cx.hex(22))?;
        let (timestamp, token) = (cx.unix().to_string(), cx.hex(50));
        let signed = sign::mac(
            hmac::HMAC_SHA256,
            cx.get("webhook_signing_key").as_bytes(),
            format!("{timestamp}{token}").as_bytes(),
        );
        let signature = json!({"timestamp": timestamp, "token": token, "signature": sign::hex(&signed)});
        let body = json!({"signature": signature, "event-data": event});
        Some(HttpCall::new(Method::Post, url).body("application/json", body.to_string()))
    }

    /// A route that forwards: whole mails to addresses that end in `mime`, others taken apart.
    /// <https://documentation.mailgun.com/docs/mailgun/user-manual/receive-forward-store/receive-http>
    fn inbound(&self, cx: &mut Cx<'_>, written: &Written) -> Option<HttpCall> {
        let (url, to) = (Some(cx.get("mail_url")).filter(|url| !url.is_empty())?, written.to.clone()?);
        let (timestamp, token) = (cx.unix().to_string(), cx.hex(50));
        let key = cx.get("webhook_signing_key").as_bytes();
        let signature = sign::hex(&sign::mac(hmac::HMAC_SHA256, key, format!("{timestamp}{token}").as_bytes()));
        let from = format!("Somebody <{}>", written.from);
        let mut fields = vec![
            ("recipient", to.as_str()),
            ("sender", &written.from),
            ("from", &from),
            ("subject", &written.subject),
            ("timestamp", &timestamp),
            ("token", &token),
            ("signature", &signature),
        ];
        if url.ends_with("mime") {
            let raw = letter::raw(cx, written, &to);
            fields.push(("body-mime", &raw));
            return Some(HttpCall::new(Method::Post, url).body("application/x-www-form-urlencoded", form(&fields)));
        }
        let headers = json!(letter::headers(cx, written, &to)).to_string();
        let count = written.files.len().to_string();
        fields.extend([
            ("message-headers", headers.as_str()),
            ("body-plain", &written.text),
            ("attachment-count", &count),
        ]);
        fields.extend(written.html.as_deref().map(|html| ("body-html", html)));
        let files: Vec<_> =
            (0..written.files.len()).map(|index| (format!("attachment-{}", index + 1), written, index)).collect();
        let (kind, body) = letter::form_data(cx, &fields, &files);
        Some(HttpCall::new(Method::Post, url).body(&kind, body))
    }
}

/// Makes or changes the webhook for one kind of event. Where events go is one address here: the last that was named.
/// <https://documentation.mailgun.com/docs/mailgun/api-reference/send/mailgun/domain-webhooks>
fn hook(cx: &mut Cx<'_>, request: &Request, event: &str, is_new: bool) -> Result<Reply, Reply> {
    let (fields, _) = fields(request);
    let urls: Vec<String> = fields.all("url").iter().map(|url| (*url).to_string()).collect();
    if !HOOKS.contains(&event) {
        return Err(error(400, "Invalid event type"));
    }
    let Some(last) = urls.last().cloned().filter(|_| urls.len() <= HOOK_URLS_MAX) else {
        return Err(error(400, "url parameter must be given from one to three times"));
    };
    let mut hooks = cx.kept("webhooks");
    match (is_new, hooks[event].is_object()) {
        (true, true) => return Err(error(400, "Webhook already exists")),
        (false, false) => return Err(error(404, "Webhook not found")),
        _ => hooks[event] = json!({ "urls": urls }),
    }
    cx.keep("webhooks", &hooks);
    cx.changes.push(("callback_url", last));
    let words = if is_new { "Webhook has been created" } else { "Webhook has been updated" };
    Ok(Reply::json(200, &json!({"message": words, "webhook": {"urls": urls}})))
}

/// One event, as webhooks bring it and the log keeps it. Its time has a fraction.
fn event(message: &Message, stage: Stage, at: Timestamp, id: &str) -> Option<Value> {
    let (name, more) = match stage {
        Stage::Sent => ("accepted", json!({"envelope": {"targets": message.to}})),
        Stage::Delivered => {
            ("delivered", json!({"delivery-status": {"code": 250, "message": "OK", "attempt-no": 1, "tls": true}}))
        }
        Stage::Opened => ("opened", json!({"ip": "192.0.2.1", "client-info": {"client-type": "browser"}})),
        Stage::Clicked => (
            "clicked",
            json!({"ip": "192.0.2.1", "url": "https://acme.example/clicked", "client-info": {"client-type": "browser"}}),
        ),
        Stage::Bounced => (
            "failed",
            json!({"severity": "permanent", "reason": "bounce", "delivery-status": {"code": 550, "message": "5.1.1 user unknown", "enhanced-code": "5.1.1", "attempt-no": 1}}),
        ),
        Stage::SoftBounced => (
            "failed",
            json!({"severity": "permanent", "reason": "old", "delivery-status": {"code": 452, "message": "4.2.2 mailbox full", "enhanced-code": "4.2.2", "attempt-no": 8}}),
        ),
        Stage::Failed => (
            "failed",
            json!({"severity": "permanent", "reason": "suppress-bounce", "delivery-status": {"code": 605, "message": "", "description": "Not delivering to previously bounced address"}}),
        ),
        Stage::Complained => ("complained", json!({})),
        Stage::Unsubscribed => ("unsubscribed", json!({"ip": "192.0.2.1"})),
        _ => return None,
    };
    let mut event = json!({
        "event": name, "id": id, "timestamp": at.as_micros() as f64 / 1e6, "recipient": message.to, "user-variables": message.more["variables"],
        "tags": [], "flags": {"is-test-mode": false}, "log-level": "info",
        "message": {"headers": {"message-id": message.id, "to": message.to, "from": message.from, "subject": message.subject}, "attachments": [], "size": 867},
    });
    event.as_object_mut()?.extend(more.as_object().cloned().unwrap_or_default());
    Some(event)
}

/// Mailgun takes forms of either kind.
fn fields(request: &Request) -> (Fields, Vec<FormFile>) {
    let content_type = request.header("content-type");
    match content_type.starts_with("multipart/") {
        true => form_data(content_type, &request.body),
        false => (request.form(), Vec::new()),
    }
}

fn send(cx: &mut Cx<'_>, request: &Request, domain: &str) -> Result<Reply, Reply> {
    let (fields, files) = fields(request);
    let recipients: Vec<String> = fields.all("to").iter().flat_map(|list| list.split(',')).map(bare).collect();
    if recipients.is_empty() {
        return Err(error(400, "to parameter is missing"));
    }
    if recipients.len() > RECIPIENTS_MAX {
        return Err(error(400, "too many recipients"));
    }
    if !is_address(&bare(fields.get("from"))) {
        return Err(error(400, "from parameter is not a valid address. please check documentation"));
    }
    if ["text", "html", "amp-html", "template"].iter().all(|name| fields.get(name).is_empty()) {
        return Err(error(400, "Need at least one of 'text', 'html', 'amp-html' or 'template' parameters specified"));
    }
    let variables = match fields.get("recipient-variables") {
        "" => json!({}),
        text => {
            serde_json::from_str(text).map_err(|_| error(400, "recipient-variables parameter is not valid JSON"))?
        }
    };
    let id = format!("{}.1.{}@{domain}", written(cx.now, "%Y%m%d%H%M%S"), cx.hex(16));
    let mut drafts = Vec::new();
    for to in recipients {
        match cx.fate(&to) {
            Fate::Throttled => return Err(Mailgun.throttled(None)),
            fate if fate == Fate::Refused || !is_address(&to) => {
                return Err(error(400, "to parameter is not a valid address. please check documentation"));
            }
            _ => {}
        }
        let own = variables.as_object().and_then(|all| all.iter().find(|(name, _)| name.eq_ignore_ascii_case(&to)));
        let own = own.and_then(|(_, own)| own.as_object()).cloned().unwrap_or_default();
        let filled = |text: &str| {
            own.iter().fold(text.to_owned(), |text, (name, value)| {
                text.replace(&format!("%recipient.{name}%"), value.as_str().unwrap_or_default())
            })
        };
        let echoes = fields.0.iter().filter_map(|(name, value)| Some((name.strip_prefix("v:")?, filled(value))));
        let echoes: serde_json::Map<String, Value> =
            echoes.map(|(name, value)| (name.to_owned(), value.into())).collect();
        let html = (!fields.get("html").is_empty()).then(|| "html".to_owned());
        let lines = files.iter().map(|file| match file.name.as_str() {
            "inline" => {
                format!("inline {} {} {} bytes cid:{}", file.filename, file.content_type, file.size, file.filename)
            }
            _ => format!("attachment {} {} {} bytes", file.filename, file.content_type, file.size),
        });
        drafts.push(Draft {
            id: id.clone(),
            channel: "email",
            from: bare(fields.get("from")),
            echo: echoes.values().next().and_then(Value::as_str).map(str::to_owned),
            subject: Some(filled(fields.get("subject"))),
            reply_to: Some(filled(fields.get("h:Reply-To"))),
            text: filled(fields.get("text")),
            parts: html.into_iter().chain(lines).collect(),
            callback_url: None,
            more: json!({ "variables": echoes }),
            to,
        });
    }
    drafts.into_iter().for_each(|draft| cx.take(draft));
    Ok(Reply::json(200, &json!({"id": format!("<{id}>"), "message": "Queued. Thank you."})))
}

/// The log: what has happened to messages by now, oldest first.
fn events(cx: &Cx<'_>, request: &Request) -> Reply {
    let asked = request.parameters();
    let begin: f64 = asked.get("begin").parse().unwrap_or(0.0);
    let (recipient, id) = (asked.get("recipient"), asked.get("message-id"));
    let is_wanted = |message: &&Message| {
        (recipient.is_empty() || message.to.eq_ignore_ascii_case(recipient)) && (id.is_empty() || message.id == id)
    };
    let mut items = Vec::new();
    for message in cx.known().filter(is_wanted) {
        for (at, stage) in message.steps.iter().filter(|(at, _)| *at <= cx.now && at.as_micros() as f64 / 1e6 >= begin)
        {
            items.extend(event(message, *stage, *at, &format!("{}-{stage:?}", message.id)));
        }
    }
    items.reverse();
    items.truncate(asked.get("limit").parse().unwrap_or(100));
    let next = format!("{}/v3/{}/events/next?at={}", cx.base_url, cx.get("domain"), rfc2822(cx.now));
    Reply::json(200, &json!({"items": items, "paging": {"next": next}}))
}
