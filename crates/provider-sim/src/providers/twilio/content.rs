//! Content templates and their approval by WhatsApp. One is approved after it was listed once; one whose name holds `reject` is rejected then.
//! <https://www.twilio.com/docs/content/content-api-resources>

use serde_json::{Value, json};

use super::error;
use crate::{
    provider::{Cx, text},
    request::{Reply, Request},
};

/// Templates of one account.
const CONTENTS_MAX: usize = 250;
/// Kinds of content that are known.
const TYPES: &[&str] = &["twilio/text", "twilio/quick-reply", "twilio/call-to-action", "twilio/media", "twilio/card"];

/// Answers a request below `/v1`, whose credentials were checked.
pub(super) fn answer(cx: &mut Cx<'_>, request: &Request, rest: &[&str]) -> Result<Reply, Reply> {
    let absent = || error(404, 20404, "The requested resource was not found");
    let mut all = cx.list("contents");
    let at = |all: &[Value], sid: &str| all.iter().position(|content| content["sid"] == sid);
    match (request.method.as_str(), rest) {
        ("GET", ["ContentAndApprovals"]) => {
            let shown = Reply::json(
                200,
                &json!({"contents": all, "meta": {"page": 0, "page_size": 100, "next_page_url": null}}),
            );
            for content in &mut all {
                if content["approval_requests"]["status"] == "received" {
                    let is_bad = text(content, "/approval_requests/name").contains("reject");
                    content["approval_requests"]["status"] = if is_bad { "rejected" } else { "approved" }.into();
                    content["approval_requests"]["rejection_reason"] =
                        if is_bad { "INVALID_FORMAT" } else { "" }.into();
                }
            }
            cx.keep("contents", &all.into());
            Ok(shown)
        }
        ("POST", ["Content"]) => {
            let body = request.json().ok_or_else(|| error(400, 20001, "The body is no JSON"))?;
            let types = body["types"].as_object().filter(|types| !types.is_empty());
            let is_known = types.is_some_and(|types| types.keys().all(|kind| TYPES.contains(&kind.as_str())));
            if !is_known || text(&body, "/language").is_empty() {
                return Err(error(400, 20001, "language and at least one supported type are required"));
            }
            if all.len() >= CONTENTS_MAX {
                return Err(error(400, 20001, "The account has too many templates"));
            }
            let content = json!({
                "sid": format!("HX{}", cx.hex(32)), "account_sid": cx.get("account_sid"), "friendly_name": body["friendly_name"], "language": body["language"],
                "variables": body["variables"], "types": body["types"], "approval_requests": {},
            });
            all.push(content.clone());
            cx.keep("contents", &all.into());
            Ok(Reply::json(201, &content))
        }
        ("POST", ["Content", sid, "ApprovalRequests", "whatsapp"]) => {
            let at = at(&all, sid).ok_or_else(absent)?;
            let body = request.json().unwrap_or_default();
            let (name, category) = (text(&body, "/name"), text(&body, "/category"));
            let is_name = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
            if name.is_empty()
                || !name.bytes().all(is_name)
                || !["UTILITY", "MARKETING", "AUTHENTICATION"].contains(&category)
            {
                return Err(error(
                    400,
                    20001,
                    "name and category are required; a name has lower-case letters, digits and underscores",
                ));
            }
            let approval = json!({"name": name, "category": category, "content_type": "twilio/text", "status": "received", "rejection_reason": "", "allow_category_change": true});
            all[at]["approval_requests"] = approval.clone();
            cx.keep("contents", &all.into());
            Ok(Reply::json(201, &approval))
        }
        ("DELETE", ["Content", sid]) => {
            let at = at(&all, sid).ok_or_else(absent)?;
            all.remove(at);
            cx.keep("contents", &all.into());
            Ok(Reply::empty(204))
        }
        _ => Err(absent()),
    }
}
