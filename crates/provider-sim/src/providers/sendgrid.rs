//! Twilio SendGrid v3: mail/send, Email Activity, scopes, authenticated domains, credits, and the signed event webhook.
//! <https://www.twilio.com/docs/sendgrid/api-reference>

mod manage;

use model::{HttpCall, Method};
use serde_json::{Value, json};

use crate::{
    fate::Fate,
    fields::decoded,
    letter,
    message::{Draft, Message, Stage},
    mime::{is_address, part},
    provider::{Cx, Provider, Setting, Settings, Written, account, iso, text},
    request::{Reply, Request},
    sign,
};

pub(crate) struct SendGrid;

const SETTINGS: &[Setting] = &[
    Setting { name: "api_key", default: "SG.simulated.key" },
    Setting { name: "from", default: "Acme Tickets <tickets@acme.example>" },
    Setting { name: "callback_url", default: "" },
    Setting { name: "mail_url", default: "" },
    // Whether mails are posted as they came: `true` or nothing.
    Setting { name: "send_raw", default: "" },
    Setting { name: "webhooks", default: "[]" },
    Setting { name: "domains", default: "[]" },
];
/// Event webhooks of one account.
const HOOKS_MAX: usize = 2;
/// Most personalizations, and most recipients, of one request.
const RECIPIENTS_MAX: usize = 1_000;
/// Headers SendGrid writes itself. <https://www.twilio.com/docs/sendgrid/api-reference/mail-send/errors>
const OWN_HEADERS: &[&str] = &[
    "x-sg-id",
    "x-sg-eid",
    "received",
    "dkim-signature",
    "content-type",
    "content-transfer-encoding",
    "to",
    "from",
    "subject",
    "reply-to",
    "cc",
    "bcc",
];

fn error(status: u16, field: Value, message: &str) -> Reply {
    Reply::json(status, &json!({"errors": [{"message": message, "field": field, "help": null}]}))
}

impl Provider for SendGrid {
    fn id(&self) -> &'static str {
        "sendgrid"
    }

    fn settings(&self) -> &'static [Setting] {
        SETTINGS
    }

    fn accounts(&self, settings: &Settings) -> Vec<Value> {
        let keys = json!({
            "api_key": settings["api_key"], "webhook_public_key": sign::sendgrid_public_key(), "email_activity": true,
        });
        vec![account("sendgrid", "SendGrid", Some(&settings["from"]), keys)]
    }

    fn answer(&self, cx: &mut Cx<'_>, request: &Request) -> Result<Reply, Reply> {
        if request.bearer() != cx.get("api_key") {
            return Err(error(401, Value::Null, "The provided authorization grant is invalid, expired, or revoked"));
        }
        match (request.method.as_str(), &request.segments()[..]) {
            ("POST", ["v3", "mail", "send"]) => send(cx, request),
            ("GET", ["v3", "scopes"]) => Ok(Reply::json(200, &json!({"scopes": ["mail.send", "messages.read"]}))),
            (_, ["v3", "whitelabel", "domains", rest @ ..]) => manage::domains(cx, request, rest),
            ("GET", ["v3", "stats"]) => manage::stats(cx, request),
            ("GET", ["v3", "suppression", list]) => manage::suppressed(cx, request, list),
            ("GET", ["v3", "user", "credits"]) => Ok(Reply::json(
                200,
                &json!({"remain": 99_000, "total": 100_000, "overage": 0, "used": 1_000, "last_reset": "2026-11-01", "next_reset": "2026-12-01", "reset_frequency": "monthly"}),
            )),
            ("GET", ["v3", "messages"]) => Ok(activity(cx, request)),
            (method, ["v3", "user", "webhooks", "event", "settings", rest @ ..]) => hooks(cx, request, method, rest),
            _ => Err(error(404, Value::Null, "Resource not found")),
        }
    }

    fn throttled(&self, after_s: Option<u64>) -> Reply {
        error(429, Value::Null, "too many requests").retry_after(after_s)
    }

    fn broken(&self, status: u16) -> Reply {
        error(status, Value::Null, "internal server error")
    }

    fn report(&self, cx: &Cx<'_>, message: &Message, stage: Stage) -> Option<HttpCall> {
        let url = cx.callback_of(message)?;
        let (event, more) = match stage {
            Stage::Sent => ("processed", json!({})),
            Stage::Delivered => ("delivered", json!({"response": "250 OK", "tls": 1})),
            Stage::Opened => {
                ("open", json!({"useragent": "Simulator/1.0", "ip": "192.0.2.1", "sg_machine_open": false}))
            }
            Stage::Clicked => (
                "click",
                json!({"useragent": "Simulator/1.0", "ip": "192.0.2.1", "url": "https://acme.example/clicked"}),
            ),
            Stage::Bounced => (
                "bounce",
                json!({"type": "bounce", "reason": "550 5.1.1 user unknown", "status": "5.1.1", "bounce_classification": "Invalid Address"}),
            ),
            Stage::SoftBounced => {
                ("bounce", json!({"type": "blocked", "reason": "452 4.2.2 mailbox full", "status": "4.2.2"}))
            }
            Stage::Failed => ("dropped", json!({"reason": "Bounced Address", "status": "5.1.1"})),
            Stage::Complained => ("spamreport", json!({})),
            Stage::Unsubscribed => ("unsubscribe", json!({})),
            _ => return None,
        };
        let mut told = json!({
            "email": message.to, "timestamp": cx.unix(), "event": event, "sg_event_id": cx.hex(22),
            "smtp-id": format!("<{}@geopod-ismtpd-1>", message.id), "sg_message_id": format!("{}.recvd-sim-1-0.0", message.id),
        });
        if let Some(told) = told.as_object_mut() {
            // The arguments of the request become members of the event itself.
            let arguments = message.more["custom_args"].as_object().into_iter().flatten();
            let all = arguments.chain(more.as_object().into_iter().flatten());
            told.extend(all.map(|(name, value)| (name.clone(), value.clone())));
        }
        let (body, timestamp) = (format!("[{told}]\r\n"), cx.unix().to_string());
        let signature = sign::sendgrid(&timestamp, body.as_bytes());
        Some(
            HttpCall::new(Method::Post, url)
                .body("application/json", body)
                .header("x-twilio-email-event-webhook-timestamp", timestamp)
                .header("x-twilio-email-event-webhook-signature", signature),
        )
    }

    /// Inbound Parse.
    /// <https://www.twilio.com/docs/sendgrid/for-developers/parsing-email/setting-up-the-inbound-parse-webhook>
    fn inbound(&self, cx: &mut Cx<'_>, written: &Written) -> Option<HttpCall> {
        let (url, to) = (Some(cx.get("mail_url")).filter(|url| !url.is_empty())?, written.to.clone()?);
        let envelope = json!({"to": [to], "from": written.from}).to_string();
        let from = format!("Somebody <{}>", written.from);
        let mut fields = vec![
            ("to", to.as_str()),
            ("from", &from),
            ("subject", &written.subject),
            ("envelope", &envelope),
            ("sender_ip", "192.0.2.1"),
            ("SPF", "pass"),
            ("dkim", "{@mail.example : pass}"),
        ];
        if cx.get("send_raw") == "true" {
            let raw = letter::raw(cx, written, &to);
            fields.push(("email", &raw));
            let (kind, body) = letter::form_data(cx, &fields, &[]);
            return Some(HttpCall::new(Method::Post, url).body(&kind, body));
        }
        let headers = letter::headers(cx, written, &to);
        let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
        let count = written.files.len().to_string();
        let charsets = r#"{"to":"UTF-8","html":"utf-8","subject":"UTF-8","from":"UTF-8","text":"utf-8"}"#;
        fields.extend([
            ("headers", headers.as_str()),
            ("text", &written.text),
            ("charsets", charsets),
            ("attachments", &count),
        ]);
        fields.extend(written.html.as_deref().map(|html| ("html", html)));
        let files: Vec<_> =
            (0..written.files.len()).map(|index| (format!("attachment{}", index + 1), written, index)).collect();
        let (kind, body) = letter::form_data(cx, &fields, &files);
        Some(HttpCall::new(Method::Post, url).body(&kind, body))
    }
}

/// The account's event webhooks. Where events go is one address here: the last that was named.
/// <https://www.twilio.com/docs/sendgrid/api-reference/webhooks>
fn hooks(cx: &mut Cx<'_>, request: &Request, method: &str, rest: &[&str]) -> Result<Reply, Reply> {
    let mut hooks = cx.kept("webhooks");
    let all = hooks.as_array().cloned().unwrap_or_default();
    let body = request.json().unwrap_or_default();
    let at = |id: &str| all.iter().position(|hook| hook["id"] == id);
    let unknown = || error(404, Value::Null, "webhook not found");
    match (method, rest) {
        ("GET", ["all"]) => Ok(Reply::json(200, &json!({"max_allowed": HOOKS_MAX, "webhooks": hooks}))),
        ("POST", []) | ("PATCH", [_]) => {
            let Some(url) = body["url"].as_str().filter(|url| url.starts_with("http")).map(str::to_owned) else {
                return Err(error(400, "url".into(), "url must be a valid URL"));
            };
            let (status, at) = match rest {
                [id] => (200, at(id).ok_or_else(unknown)?),
                _ if all.len() >= HOOKS_MAX => {
                    return Err(error(400, Value::Null, "you have reached the maximum number of webhooks"));
                }
                _ => (201, all.len()),
            };
            let id = all.get(at).map_or_else(|| json!(cx.hex(8)), |hook| hook["id"].clone());
            let mut hook = body;
            hook["id"] = id;
            match hooks.as_array_mut() {
                Some(hooks) if at < hooks.len() => hooks[at] = hook.clone(),
                Some(hooks) => hooks.push(hook.clone()),
                None => hooks = json!([hook]),
            }
            cx.keep("webhooks", &hooks);
            cx.changes.push(("callback_url", url));
            Ok(Reply::json(status, &hook))
        }
        ("PATCH", ["signed", id]) => {
            at(id).ok_or_else(unknown)?;
            Ok(Reply::json(200, &json!({"id": id, "public_key": sign::sendgrid_public_key()})))
        }
        _ => Err(error(404, Value::Null, "Resource not found")),
    }
}

fn send(cx: &mut Cx<'_>, request: &Request) -> Result<Reply, Reply> {
    let body = request.json().ok_or_else(|| error(400, Value::Null, "Bad Request"))?;
    let personalizations = body["personalizations"].as_array().filter(|all| !all.is_empty());
    let Some(personalizations) = personalizations else {
        return Err(error(
            400,
            "personalizations".into(),
            "The personalizations field is required and must have at least one personalization.",
        ));
    };
    let from = text(&body, "/from/email");
    if !is_address(from) {
        return Err(error(400, "from.email".into(), "The from email does not contain a valid address."));
    }
    if !manage::is_verified(cx, domain(from)) {
        let words = "The from address does not match a verified Sender Identity. Mail cannot be sent until this error is resolved.";
        return Err(error(403, "from".into(), words));
    }
    let contents = body["content"].as_array().cloned().unwrap_or_default();
    if text(&body, "/template_id").is_empty() {
        if text(&body, "/subject").is_empty() && personalizations.iter().any(|one| text(one, "/subject").is_empty()) {
            return Err(error(
                400,
                "subject".into(),
                "The subject is required. You can get around this requirement if you use a template with a subject defined or if every personalization has a subject defined.",
            ));
        }
        if contents.iter().all(|one| text(one, "/value").is_empty()) {
            return Err(error(
                400,
                "content".into(),
                "Unless a valid template_id is provided, the content parameter is required. There must be at least one defined content block.",
            ));
        }
        let first_html = contents.iter().position(|one| one["type"] == "text/html");
        if contents.iter().skip(1).any(|one| one["type"] == "text/plain") && first_html == Some(0) {
            return Err(error(400, "content".into(), "The content type must be ordered text/plain first."));
        }
    }
    let headers = [&body["headers"]].into_iter().chain(personalizations.iter().map(|one| &one["headers"]));
    if let Some(name) = headers
        .filter_map(Value::as_object)
        .flatten()
        .map(|(name, _)| name.to_ascii_lowercase())
        .find(|name| OWN_HEADERS.contains(&name.as_str()))
    {
        return Err(error(400, format!("headers.{name}").into(), "The header is reserved."));
    }
    let (mut drafts, id) = (Vec::new(), cx.hex(22));
    for (number, one) in personalizations.iter().enumerate() {
        let recipients = ["to", "cc", "bcc"].iter().flat_map(|kind| one[*kind].as_array().into_iter().flatten());
        for (index, recipient) in recipients.enumerate() {
            let to = text(recipient, "/email");
            match cx.fate(to) {
                Fate::Throttled => return Err(SendGrid.throttled(None)),
                fate if fate == Fate::Refused || !is_address(to) => {
                    let field = format!("personalizations.{number}.to.{index}.email");
                    return Err(error(400, field.into(), "Does not contain a valid address."));
                }
                _ => {}
            }
            drafts.push(draft(&body, &contents, one, &id, to));
        }
        if one["to"].as_array().is_none_or(Vec::is_empty) {
            return Err(error(
                400,
                format!("personalizations.{number}.to").into(),
                "The to array is required for all personalization objects, and must have at least one email object with a valid email address.",
            ));
        }
    }
    if drafts.len() > RECIPIENTS_MAX || personalizations.len() > RECIPIENTS_MAX {
        return Err(error(400, "personalizations".into(), "There are too many recipients; the most is 1000."));
    }
    drafts.into_iter().for_each(|draft| cx.take(draft));
    Ok(Reply::empty(202).header("x-message-id", id))
}

fn draft(body: &Value, contents: &[Value], one: &Value, id: &str, to: &str) -> Draft {
    let value =
        |kind: &str| contents.iter().find(|content| content["type"] == kind).map(|content| text(content, "/value"));
    let replaced =
        |text: &str| {
            one["substitutions"].as_object().into_iter().flatten().fold(text.to_owned(), |text, (mark, with)| {
                text.replace(mark.as_str(), with.as_str().unwrap_or_default())
            })
        };
    let files = body["attachments"].as_array().into_iter().flatten();
    let files = files.map(|file| {
        part(text(file, "/filename"), text(file, "/type"), text(file, "/content"), text(file, "/content_id"))
    });
    let subject =
        Some(text(one, "/subject")).filter(|subject| !subject.is_empty()).unwrap_or_else(|| text(body, "/subject"));
    let arguments = &one["custom_args"];
    Draft {
        id: id.to_owned(),
        channel: "email",
        to: to.to_owned(),
        from: text(body, "/from/email").to_owned(),
        echo: arguments.as_object().and_then(|all| all.values().next()).and_then(Value::as_str).map(str::to_owned),
        subject: Some(replaced(subject)),
        reply_to: Some(text(body, "/reply_to/email").to_owned()),
        text: replaced(value("text/plain").unwrap_or_default()),
        parts: value("text/html").map(|_| "html".to_owned()).into_iter().chain(files).collect(),
        callback_url: None,
        more: json!({ "custom_args": arguments }),
    }
}

fn domain(address: &str) -> &str {
    address.rsplit('@').next().unwrap_or_default()
}

/// Email Activity: `query` is like SQL; what is looked for stands in it between quotes.
fn activity(cx: &Cx<'_>, request: &Request) -> Reply {
    let query = request.parameters().get("query").to_owned();
    let wanted: Vec<String> = query
        .split(['"', '\''])
        .skip(1)
        .step_by(2)
        .map(|text| decoded(text).trim_end_matches('%').to_owned())
        .collect();
    let is_wanted = |message: &&Message| {
        let known = [&message.id, &message.to, &message.from];
        let args = message.more["custom_args"].as_object().into_iter().flatten();
        let args: Vec<&str> = args.filter_map(|(_, value)| value.as_str()).collect();
        wanted.iter().all(|text| known.contains(&text) || args.contains(&text.as_str()))
    };
    let limit = request.parameters().get("limit").parse().unwrap_or(10);
    let found: Vec<Value> = cx.known().filter(is_wanted).take(limit).map(|message| {
        let stage = message.stage(cx.now);
        let status = match stage {
            Stage::Taken | Stage::Sent => "processed",
            Stage::Bounced | Stage::SoftBounced | Stage::Failed => "not_delivered",
            _ => "delivered",
        };
        json!({
            "from_email": message.from, "msg_id": format!("{}.recvd-sim-1-0.0", message.id), "subject": message.subject, "to_email": message.to, "status": status,
            "opens_count": u8::from(matches!(stage, Stage::Opened | Stage::Clicked)), "clicks_count": u8::from(stage == Stage::Clicked), "last_event_time": iso(message.changed_at(cx.now)),
        })
    }).collect();
    Reply::json(200, &json!({ "messages": found }))
}
