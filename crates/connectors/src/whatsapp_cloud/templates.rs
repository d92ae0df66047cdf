//! Message templates of the business account.
//! <https://developers.facebook.com/docs/graph-api/reference/whats-app-business-account/message_templates>

use model::{Answer, Call, Method};
use serde_json::{Value, json};

use super::{NAME, Settings, callbacks::business, request};
use crate::{
    Cx,
    manage::{self, NewTemplate, Next, Plan, Template, TemplateStatus, Templates, each, get, reply},
    read::text,
};

const FIELDS: &str = "id,name,language,category,status,quality_score,rejected_reason,components";
const LIMIT: usize = 200;

pub(super) struct MessageTemplates;

impl Templates for MessageTemplates {
    fn list(&self, cx: &Cx<'_>, answers: &[Answer]) -> Plan<Vec<Template>> {
        let last = match answers.len() {
            0 => Value::Null,
            count => reply(NAME, answers, count - 1)?,
        };
        let after = text(&last, "/paging/cursors/after").filter(|_| text(&last, "/paging/next").is_some());
        if !answers.is_empty() && after.is_none() {
            let mut all = Vec::new();
            for index in 0..answers.len() {
                all.extend(each(&reply(NAME, answers, index)?, "/data").filter_map(read));
            }
            return Ok(Next::Done(all));
        }
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.append_pair("fields", FIELDS).append_pair("limit", &LIMIT.to_string());
        if let Some(after) = after {
            query.append_pair("after", after);
        }
        ask(cx, Method::Get, &format!("?{}", query.finish()), None)
    }

    fn create(&self, cx: &Cx<'_>, new: &NewTemplate, answers: &[Answer]) -> Option<Plan<Template>> {
        Some(create(cx, new, answers))
    }

    fn remove(&self, cx: &Cx<'_>, template: &Template, answers: &[Answer]) -> Option<Plan<()>> {
        if answers.is_empty() {
            let mut query = url::form_urlencoded::Serializer::new(String::new());
            query.append_pair("name", &template.name).append_pair("hsm_id", &template.id);
            return Some(ask(cx, Method::Delete, &format!("?{}", query.finish()), None));
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
    if answers.is_empty() {
        let body = json!({
            "name": new.name, "language": new.language, "category": new.category, "components": new.components,
        });
        return ask(cx, Method::Post, "", Some(body));
    }
    let made = reply(NAME, answers, 0)?;
    let id = text(&made, "/id").ok_or_else(|| manage::unreadable(NAME))?;
    Ok(Next::Done(Template {
        name: new.name.clone(),
        language: new.language.clone(),
        id: id.to_owned(),
        category: text(&made, "/category").unwrap_or(&new.category).to_owned(),
        status: TemplateStatus::read(text(&made, "/status").unwrap_or("PENDING")),
        quality: None,
        reason: None,
        components: new.components.clone(),
    }))
}

fn ask<T>(cx: &Cx<'_>, method: Method, query: &str, body: Option<Value>) -> Plan<T> {
    let settings = Settings::read(cx.settings)?;
    let path = format!("/{}/message_templates{query}", business(&settings)?);
    let call = request::call(cx, &settings, method, &path);
    Ok(Next::Call(Call::Http(match body {
        Some(body) => manage::json_body(call, &body),
        None => call,
    })))
}

fn read(row: &Value) -> Option<Template> {
    let word = |pointer| text(row, pointer).filter(|word| !matches!(*word, "NONE" | "UNKNOWN")).map(str::to_owned);
    Some(Template {
        name: text(row, "/name")?.to_owned(),
        language: text(row, "/language")?.to_owned(),
        id: text(row, "/id")?.to_owned(),
        category: text(row, "/category").unwrap_or_default().to_owned(),
        status: TemplateStatus::read(text(row, "/status").unwrap_or_default()),
        quality: word("/quality_score/score"),
        reason: word("/rejected_reason"),
        components: each(row, "/components").cloned().collect(),
    })
}
