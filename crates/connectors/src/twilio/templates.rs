//! Content templates, submitted to WhatsApp for approval.
//! <https://www.twilio.com/docs/content/content-api-resources>
//!
//! A template's name is that of its approval request; messages refer to a template by its `HX…` sid, which is its id here.

use model::{Answer, Call, Failure, FailureKind, Method};
use serde_json::{Map, Value, json};

use super::{Settings, callbacks::NAME, request};
use crate::{
    Cx,
    manage::{self, NewTemplate, Next, Plan, Template, TemplateStatus, Templates, each, get, reply},
    read::text,
};

const HOST: &str = "https://content.twilio.com";
const PAGE: usize = 100;

pub(super) struct ContentTemplates;

impl Templates for ContentTemplates {
    fn list(&self, cx: &Cx<'_>, answers: &[Answer]) -> Plan<Vec<Template>> {
        let next = match answers.len() {
            0 => Some(format!("/v1/ContentAndApprovals?PageSize={PAGE}")),
            count => {
                let last = reply(NAME, answers, count - 1)?;
                // An absolute URL; only its path and query are followed.
                text(&last, "/meta/next_page_url").and_then(|url| url.find("/v1/").map(|at| url[at..].to_owned()))
            }
        };
        if let Some(path) = next {
            return ask(cx, Method::Get, &path, None);
        }
        let mut all = Vec::new();
        for index in 0..answers.len() {
            all.extend(each(&reply(NAME, answers, index)?, "/contents").filter_map(read));
        }
        Ok(Next::Done(all))
    }

    fn create(&self, cx: &Cx<'_>, new: &NewTemplate, answers: &[Answer]) -> Option<Plan<Template>> {
        Some(create(cx, new, answers))
    }

    fn remove(&self, cx: &Cx<'_>, template: &Template, answers: &[Answer]) -> Option<Plan<()>> {
        if answers.is_empty() {
            return Some(ask(cx, Method::Delete, &format!("/v1/Content/{}", template.id), None));
        }
        Some(removed(answers))
    }
}

fn removed(answers: &[Answer]) -> Plan<()> {
    match get(answers, 0)?.status {
        404 => Ok(Next::Done(())),
        _ => reply(NAME, answers, 0).map(|_| Next::Done(())),
    }
}

fn create(cx: &Cx<'_>, new: &NewTemplate, answers: &[Answer]) -> Plan<Template> {
    match answers.len() {
        0 => ask(cx, Method::Post, "/v1/Content", Some(content(new)?)),
        1 => {
            let made = reply(NAME, answers, 0)?;
            let sid = text(&made, "/sid").ok_or_else(|| manage::unreadable(NAME))?;
            let body = json!({ "name": new.name, "category": new.category });
            ask(cx, Method::Post, &format!("/v1/Content/{sid}/ApprovalRequests/whatsapp"), Some(body))
        }
        _ => {
            let (made, approval) = (reply(NAME, answers, 0)?, reply(NAME, answers, 1)?);
            Ok(Next::Done(Template {
                name: new.name.clone(),
                language: new.language.clone(),
                id: text(&made, "/sid").unwrap_or_default().to_owned(),
                category: text(&approval, "/category").unwrap_or(&new.category).to_owned(),
                status: TemplateStatus::read(text(&approval, "/status").unwrap_or("received")),
                quality: None,
                reason: text(&approval, "/rejection_reason").map(str::to_owned),
                components: new.components.clone(),
            }))
        }
    }
}

/// The content in Twilio's form. What that has no place for is refused, never dropped.
fn content(new: &NewTemplate) -> Result<Value, Failure> {
    let refuse = |detail: &str| Failure::new(FailureKind::Content, "not_supported", format!("`/components`: {detail}"));
    if new.component("HEADER").is_some() || new.component("FOOTER").is_some() {
        return Err(refuse("Twilio takes headers and footers only in its Content Template Builder"));
    }
    let body = new.body();
    let buttons: Vec<&Value> =
        new.component("BUTTONS").into_iter().flat_map(|buttons| each(buttons, "/buttons")).collect();
    let title = |button: &Value| text(button, "/text").unwrap_or_default().to_owned();
    let actions: Result<Vec<Value>, Failure> = buttons
        .iter()
        .map(|button| match text(button, "/type").map(str::to_ascii_uppercase).as_deref() {
            Some("QUICK_REPLY") => Ok(json!({ "type": "QUICK_REPLY", "title": title(button), "id": title(button) })),
            Some("URL") => Ok(json!({ "type": "URL", "title": title(button), "url": button["url"] })),
            Some("PHONE_NUMBER") => {
                Ok(json!({ "type": "PHONE_NUMBER", "title": title(button), "phone": button["phone_number"] }))
            }
            _ => Err(refuse("Twilio takes the buttons QUICK_REPLY, URL and PHONE_NUMBER here")),
        })
        .collect();
    let actions = actions?;
    let is_quick = |action: &Value| action["type"] == "QUICK_REPLY";
    let (kind, inner) = match actions.as_slice() {
        [] => ("twilio/text", json!({ "body": body })),
        actions if actions.iter().all(is_quick) => ("twilio/quick-reply", json!({ "body": body, "actions": actions })),
        actions if !actions.iter().any(is_quick) => {
            ("twilio/call-to-action", json!({ "body": body, "actions": actions }))
        }
        _ => return Err(refuse("Twilio does not mix quick replies with other buttons")),
    };
    let samples = new.examples().into_iter().enumerate();
    let samples: Map<String, Value> = samples.map(|(index, sample)| ((index + 1).to_string(), sample.into())).collect();
    let mut content = json!({ "friendly_name": new.name, "language": new.language, "types": { kind: inner } });
    if !samples.is_empty() {
        content["variables"] = samples.into();
    }
    Ok(content)
}

fn ask<T>(cx: &Cx<'_>, method: Method, path: &str, body: Option<Value>) -> Plan<T> {
    let settings = Settings::read(cx.settings)?;
    let mut call = request(cx, &settings, method, "");
    call.url = format!("{}{path}", cx.base_or(HOST));
    Ok(Next::Call(Call::Http(match body {
        Some(body) => manage::json_body(call, &body),
        None => call,
    })))
}

fn read(row: &Value) -> Option<Template> {
    let approval = row.get("approval_requests").unwrap_or(&Value::Null);
    let friendly = text(row, "/friendly_name").or(text(row, "/sid"))?;
    let types = row.get("types").and_then(Value::as_object);
    let body = types.into_iter().flatten().find_map(|(_, inner)| text(inner, "/body"));
    Some(Template {
        name: text(approval, "/name").unwrap_or(friendly).to_owned(),
        language: text(row, "/language").unwrap_or_default().to_owned(),
        id: text(row, "/sid")?.to_owned(),
        category: text(approval, "/category").unwrap_or_default().to_owned(),
        status: TemplateStatus::read(text(approval, "/status").unwrap_or("unsubmitted")),
        quality: None,
        reason: text(approval, "/rejection_reason").map(str::to_owned),
        components: body.map(|body| json!({ "type": "BODY", "text": body })).into_iter().collect(),
    })
}
