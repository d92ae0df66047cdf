//! The organization's templates. They are made and deleted on Interakt's own pages.

use model::{Answer, Call, Method};
use serde_json::{Value, json};

use super::{NAME, Settings, request};
use crate::{
    Cx,
    manage::{Next, Plan, Template, TemplateStatus, Templates, each, reply},
    read::text,
};

const PATH: &str = "/v1/public/track/organization/templates?offset=";

pub(super) struct OwnTemplates;

impl Templates for OwnTemplates {
    fn list(&self, cx: &Cx<'_>, answers: &[Answer]) -> Plan<Vec<Template>> {
        let mut all = Vec::new();
        let mut rows = 0;
        let mut has_more = true;
        for index in 0..answers.len() {
            let body = reply(NAME, answers, index)?;
            rows += each(&body, "/results/templates").count();
            all.extend(each(&body, "/results/templates").filter_map(read));
            has_more = body["has_next"] == true || body["has_next_page"] == true;
        }
        if !has_more {
            return Ok(Next::Done(all));
        }
        let settings = Settings::read(cx.settings)?;
        Ok(Next::Call(Call::Http(request::request(cx, &settings, Method::Get, &format!("{PATH}{rows}")))))
    }
}

fn read(row: &Value) -> Option<Template> {
    let body = text(row, "/body").map(|body| json!({ "type": "BODY", "text": body }));
    let id = row.get("id")?;
    Some(Template {
        name: text(row, "/name")?.to_owned(),
        language: text(row, "/language").unwrap_or_default().to_owned(),
        id: id.as_str().map_or_else(|| id.to_string(), str::to_owned),
        category: text(row, "/category").unwrap_or_default().to_ascii_uppercase(),
        status: TemplateStatus::read(text(row, "/approval_status").unwrap_or_default()),
        quality: None,
        reason: text(row, "/rejection_reason").map(str::to_owned),
        components: body.into_iter().collect(),
    })
}
