//! The app's templates. One is approved after it was listed once; one whose name holds `reject` is rejected then.
//! <https://docs.gupshup.io/reference/post_wa-app-appid-template>

use serde_json::{Value, json};

use super::error;
use crate::{fields::Fields, provider::Cx, request::Reply};

/// Templates of one app.
const TEMPLATES_MAX: usize = 250;

pub(super) fn list(cx: &mut Cx<'_>) -> Reply {
    let mut all = cx.list("templates");
    let shown = Reply::json(200, &json!({"status": "success", "templates": all}));
    for template in all.iter_mut().filter(|template| template["status"] == "PENDING") {
        let is_bad = template["elementName"].as_str().is_some_and(|name| name.contains("reject"));
        template["status"] = if is_bad { "REJECTED" } else { "APPROVED" }.into();
        if is_bad {
            template["reason"] = "TAG_CONTENT_MISMATCH".into();
        }
    }
    cx.keep("templates", &all.into());
    shown
}

pub(super) fn create(cx: &mut Cx<'_>, fields: &Fields) -> Result<Reply, Reply> {
    let mut all = cx.list("templates");
    for name in ["elementName", "languageCode", "category", "templateType", "vertical", "content", "example"] {
        if fields.get(name).is_empty() {
            return Err(error(400, &format!("{name} is required")));
        }
    }
    let (name, language) = (fields.get("elementName"), fields.get("languageCode"));
    let is_known = |known: &Value| known["elementName"] == name && known["languageCode"] == language;
    if all.iter().any(is_known) {
        return Err(error(400, "Template Already exists with same namespace and elementName and languageCode"));
    }
    if all.len() >= TEMPLATES_MAX {
        return Err(error(400, "Template limit reached"));
    }
    let template = json!({
        "id": cx.uuid(), "elementName": name, "languageCode": language, "category": fields.get("category"), "status": "PENDING", "data": fields.get("content"),
        "vertical": fields.get("vertical"), "templateType": fields.get("templateType"),
    });
    all.push(template.clone());
    cx.keep("templates", &all.into());
    Ok(Reply::json(200, &json!({"status": "success", "template": template})))
}

pub(super) fn delete(cx: &mut Cx<'_>, name: &str) -> Result<Reply, Reply> {
    let mut all = cx.list("templates");
    let count = all.len();
    all.retain(|template| template["elementName"] != name);
    if all.len() == count {
        return Err(error(404, "Template does not exist"));
    }
    cx.keep("templates", &all.into());
    Ok(Reply::json(200, &json!({"status": "success"})))
}
