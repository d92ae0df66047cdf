//! Touchpoints: message templates as projects with versions. A version that was activated is reviewed when it is listed: one whose name holds `reject` is rejected.
//! <https://docs.bird.com/api/touchpoints-api/api-reference/message-templates>

use serde_json::{Value, json};

use super::error;
use crate::{
    provider::{Cx, iso, text},
    request::{Reply, Request},
};

/// Projects of one workspace.
const PROJECTS_MAX: usize = 100;

/// Answers a request below a workspace's `projects`.
pub(super) fn answer(cx: &mut Cx<'_>, request: &Request, rest: &[&str]) -> Result<Reply, Reply> {
    let absent = || error(404, "NotFound", "There is no such project or template");
    let invalid = |words: &str| error(422, "InvalidPayload", words);
    let mut all = cx.list("bird_projects");
    let at = |all: &[Value], id: &str| all.iter().position(|project| project["id"] == id);
    match (request.method.as_str(), rest) {
        ("GET", []) => {
            let shown: Vec<Value> = all.iter().map(|project| json!({"id": project["id"], "name": project["name"], "type": project["type"], "createdAt": project["createdAt"]})).collect();
            Ok(Reply::json(200, &json!({ "results": shown })))
        }
        ("POST", []) => {
            let body = request.json().ok_or_else(|| invalid("The request body is not valid JSON"))?;
            if text(&body, "/name").is_empty() || text(&body, "/type") != "channelTemplate" {
                return Err(invalid("name and type are required"));
            }
            if all.len() >= PROJECTS_MAX {
                return Err(invalid("The workspace has too many projects"));
            }
            let project = json!({"id": cx.uuid(), "name": body["name"], "type": body["type"], "createdAt": iso(cx.now), "versions": []});
            all.push(project.clone());
            cx.keep("bird_projects", &all.into());
            Ok(Reply::json(201, &project))
        }
        ("DELETE", [id]) => {
            let at = at(&all, id).ok_or_else(absent)?;
            all.remove(at);
            cx.keep("bird_projects", &all.into());
            Ok(Reply::empty(204))
        }
        ("GET", [id, "channel-templates"]) => {
            let at = at(&all, id).ok_or_else(absent)?;
            let shown = Reply::json(200, &json!({"results": all[at]["versions"]}));
            for version in all[at]["versions"].as_array_mut().into_iter().flatten() {
                if version["status"] == "pending" {
                    let is_bad = version["deployments"].to_string().contains("reject");
                    version["status"] = if is_bad { "rejected" } else { "active" }.into();
                    if is_bad {
                        version["rejectionReason"] = "INVALID_FORMAT".into();
                    }
                }
            }
            cx.keep("bird_projects", &all.into());
            Ok(shown)
        }
        ("POST", [id, "channel-templates"]) => {
            let at = at(&all, id).ok_or_else(absent)?;
            let mut version =
                request.json().filter(Value::is_object).ok_or_else(|| invalid("The request body is not valid JSON"))?;
            let content = &version["platformContent"][0];
            let is_ours = content["channelGroupIds"][0] == cx.get("bird_channel_group_id");
            let has_body = content["blocks"].as_array().into_iter().flatten().any(|block| block["role"] == "body");
            if text(&version, "/defaultLocale") != text(content, "/locale") {
                return Err(invalid("Default locale must exist in the content property"));
            }
            if !is_ours || !has_body {
                return Err(invalid("platformContent needs a channel group of this workspace and a body"));
            }
            version["id"] = cx.uuid().into();
            version["projectId"] = (*id).into();
            version["status"] = "draft".into();
            if let Some(versions) = all[at]["versions"].as_array_mut() {
                versions.insert(0, version.clone());
            }
            cx.keep("bird_projects", &all.into());
            Ok(Reply::json(201, &version))
        }
        ("PUT", [id, "channel-templates", version, "activate"]) => {
            let at = at(&all, id).ok_or_else(absent)?;
            let versions = all[at]["versions"].as_array_mut().ok_or_else(absent)?;
            let version = versions.iter_mut().find(|known| known["id"] == *version).ok_or_else(absent)?;
            version["status"] = "pending".into();
            let shown = version.clone();
            cx.keep("bird_projects", &all.into());
            Ok(Reply::json(200, &shown))
        }
        _ => Err(absent()),
    }
}
