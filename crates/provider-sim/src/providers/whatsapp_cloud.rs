//! Meta's WhatsApp Business Cloud API: messages, media, the number, subscribed apps, and signed webhooks.
//! <https://developers.facebook.com/docs/whatsapp/cloud-api>

use model::{HttpCall, Method};
use serde_json::{Value, json};

use crate::{
    fate::Fate,
    fields::{form, with_query},
    message::{Draft, Message, Stage},
    mime::form_data,
    provider::{Cx, Provider, Setting, Settings, Written, account, text},
    request::{Reply, Request},
    sign,
};

pub(crate) struct WhatsappCloud;

const SETTINGS: &[Setting] = &[
    Setting { name: "phone_number_id", default: "106540352242922" },
    Setting { name: "business_account_id", default: "102290129340398" },
    Setting { name: "access_token", default: "EAAsimulated" },
    Setting { name: "app_secret", default: "0123456789abcdef0123456789abcdef" },
    Setting { name: "verify_token", default: "simulated-verify-token" },
    Setting { name: "from", default: "15550783881" },
    Setting { name: "callback_url", default: "" },
    Setting { name: "templates", default: "[]" },
];
/// Longest text, in characters.
const TEXT_MAX: usize = 4_096;

fn error(status: u16, code: u32, message: &str, details: &str) -> Reply {
    let error = json!({
        "message": format!("(#{code}) {message}"), "type": "OAuthException", "code": code, "error_data": {"messaging_product": "whatsapp", "details": details},
        "fbtrace_id": "Az8or2yhqkZfEZ-_4Qn_Bam",
    });
    Reply::json(status, &json!({ "error": error }))
}

impl Provider for WhatsappCloud {
    fn id(&self) -> &'static str {
        "whatsapp_cloud"
    }

    fn settings(&self) -> &'static [Setting] {
        SETTINGS
    }

    fn accounts(&self, settings: &Settings) -> Vec<Value> {
        let names = ["phone_number_id", "business_account_id", "access_token", "app_secret", "verify_token"];
        let keys: serde_json::Map<String, Value> =
            names.iter().map(|name| ((*name).to_owned(), settings[*name].clone().into())).collect();
        vec![account("whatsapp_cloud", "WhatsApp Cloud", None, keys.into())]
    }

    fn answer(&self, cx: &mut Cx<'_>, request: &Request) -> Result<Reply, Reply> {
        if request.bearer() != cx.get("access_token") {
            return Err(error(401, 190, "Invalid OAuth access token - Cannot parse access token", ""));
        }
        let proof = request.parameters().some("appsecret_proof");
        let wanted = sign::mac_sha256(cx.get("app_secret"), cx.get("access_token").as_bytes());
        if proof.is_some_and(|proof| proof != wanted) {
            return Err(error(400, 100, "Invalid appsecret_proof provided in the API argument", ""));
        }
        let segments = request.segments();
        let [version, object, rest @ ..] = &segments[..] else {
            return Err(error(404, 100, "Unsupported request", ""));
        };
        let is_version = version.strip_prefix('v').is_some_and(|number| number.parse::<f32>().is_ok());
        let (number, waba) = (cx.get("phone_number_id").to_owned(), cx.get("business_account_id").to_owned());
        match (request.method.as_str(), *object, rest) {
            _ if !is_version => Err(error(400, 2_635, "You are calling a deprecated version of the API", "")),
            ("POST", id, ["messages"]) if id == number => send(cx, request),
            ("POST", id, ["media"]) if id == number => {
                let (fields, files) = form_data(request.header("content-type"), &request.body);
                match &files[..] {
                    [_] if fields.get("messaging_product") == "whatsapp" => {
                        Ok(Reply::json(200, &json!({"id": format!("1{:015}", cx.ids.below(1_000_000_000_000_000))})))
                    }
                    _ => Err(error(400, 100, "Invalid parameter", "messaging_product and one file are required")),
                }
            }
            ("GET", id, []) if id == number => Ok(Reply::json(
                200,
                &json!({
                    "id": number, "display_phone_number": format!("+{}", cx.get("from")), "verified_name": "Acme Tickets", "quality_rating": "GREEN",
                    "throughput": {"level": "STANDARD"}, "platform_type": "CLOUD_API", "code_verification_status": "VERIFIED",
                }),
            )),
            ("GET", id, ["subscribed_apps"]) if id == waba => {
                let mut app = json!({"whatsapp_business_api_data": {"id": "1", "name": "Simulated", "link": "https://acme.example"}});
                if !cx.get("callback_url").is_empty() {
                    app["override_callback_uri"] = cx.get("callback_url").into();
                }
                Ok(Reply::json(200, &json!({ "data": [app] })))
            }
            ("POST", id, ["subscribed_apps"]) if id == waba => {
                let body = request.json().unwrap_or_default();
                let url = text(&body, "/override_callback_uri").to_owned();
                if !url.is_empty() {
                    // Meta asks whether the address knows the token; the answer repeats the challenge.
                    let challenge = cx.hex(10);
                    let token = text(&body, "/verify_token");
                    let query =
                        form(&[("hub.mode", "subscribe"), ("hub.challenge", &challenge), ("hub.verify_token", token)]);
                    cx.calls.push(HttpCall::new(Method::Get, with_query(&url, &query)));
                    cx.changes.push(("callback_url", url));
                }
                Ok(Reply::json(200, &json!({"success": true})))
            }
            (method, id, ["message_templates"]) if id == waba => templates(cx, request, method),
            _ => Err(error(400, 100, "Unsupported request. Object does not exist or cannot be loaded", "")),
        }
    }

    fn throttled(&self, after_s: Option<u64>) -> Reply {
        error(429, 130_429, "Rate limit hit", "Message failed to send because there were too many messages sent")
            .retry_after(after_s)
    }

    fn broken(&self, status: u16) -> Reply {
        error(status, 131_016, "Service unavailable", "A service is temporarily unavailable")
    }

    fn report(&self, cx: &Cx<'_>, message: &Message, stage: Stage) -> Option<HttpCall> {
        let url = cx.callback_of(message)?;
        let word = match stage {
            Stage::Sent => "sent",
            Stage::Delivered => "delivered",
            Stage::Read => "read",
            Stage::Failed | Stage::OptedOut => "failed",
            _ => return None,
        };
        // What is no template answers somebody who has just written, which is free.
        let is_template = message.parts.iter().any(|part| part.starts_with("template "));
        let (kind, category) = if is_template { ("regular", "utility") } else { ("free_customer_service", "service") };
        let mut status = json!({
            "id": message.id, "status": word, "timestamp": cx.unix().to_string(), "recipient_id": message.to.trim_start_matches('+'),
            "pricing": {"billable": is_template, "pricing_model": "PMP", "type": kind, "category": category},
        });
        if let Some(echo) = &message.echo {
            status["biz_opaque_callback_data"] = echo.clone().into();
        }
        let failed = |code: u32, title: &str| json!([{"code": code, "title": title, "message": title, "error_data": {"details": title}}]);
        match stage {
            Stage::Failed => status["errors"] = failed(131_026, "Message undeliverable"),
            Stage::OptedOut => status["errors"] = failed(131_050, "User has stopped marketing messages"),
            _ => {}
        }
        Some(signed(cx, url, json!({ "statuses": [status] })))
    }

    fn inbound(&self, cx: &mut Cx<'_>, written: &Written) -> Option<HttpCall> {
        let url = cx.callback("callback_url")?;
        let from = written.from.trim_start_matches('+');
        let contact = json!({"profile": {"name": "Somebody"}, "wa_id": from, "user_id": format!("US.{from}")});
        let message = inbound_message(cx, written, &format!("wamid.{}", cx.hex(40)));
        Some(signed(cx, url, json!({"contacts": [contact], "messages": [message]})))
    }
}

/// A message as Meta tells of it; `None` of its fields is specific to who passes it on.
pub(super) fn inbound_message(cx: &Cx<'_>, written: &Written, id: &str) -> Value {
    let mut message =
        json!({"from": written.from.trim_start_matches('+'), "id": id, "timestamp": cx.unix().to_string()});
    if let Some(answered) = &written.in_reply_to {
        message["context"] = json!({"from": cx.get("from"), "id": answered});
    }
    let kind = match (&written.media, &written.location, &written.button) {
        (Some(media), ..) => {
            message[written.kind()] = json!({"id": cx.hex(15), "mime_type": media.content_type, "sha256": "", "url": media.url, "caption": written.text});
            written.kind()
        }
        (None, Some(place), _) => {
            message["location"] = json!({"latitude": place.latitude, "longitude": place.longitude, "name": place.name, "address": place.address});
            "location"
        }
        (None, None, Some(button)) => {
            message["interactive"] =
                json!({"type": "button_reply", "button_reply": {"id": button, "title": written.text}});
            "interactive"
        }
        (None, None, None) => {
            message["text"] = json!({ "body": written.text });
            "text"
        }
    };
    message["type"] = kind.into();
    message
}

/// A webhook with this value. Meta writes everything outside ASCII as `\uXXXX`, and signs it so.
fn signed(cx: &Cx<'_>, url: String, more: Value) -> HttpCall {
    let mut value = json!({
        "messaging_product": "whatsapp", "metadata": {"display_phone_number": cx.get("from"), "phone_number_id": cx.get("phone_number_id")},
    });
    if let (Some(value), Value::Object(more)) = (value.as_object_mut(), more) {
        value.extend(more);
    }
    let body = json!({
        "object": "whatsapp_business_account", "entry": [{"id": cx.get("business_account_id"), "changes": [{"value": value, "field": "messages"}]}],
    });
    let body = escaped(&body.to_string());
    let signature = sign::mac_sha256(cx.get("app_secret"), body.as_bytes());
    HttpCall::new(Method::Post, url)
        .body("application/json", body)
        .header("x-hub-signature-256", format!("sha256={signature}"))
}

/// JSON with everything outside ASCII escaped.
pub(super) fn escaped(json: &str) -> String {
    let mut units = [0; 2];
    json.chars()
        .map(|c| match c.is_ascii() {
            true => c.to_string(),
            false => c.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")).collect(),
        })
        .collect()
}

/// The words of a message in Meta's form, and a line for everything else; `Err` names what is missing.
pub(super) fn describe(body: &Value) -> Result<(Option<String>, Vec<String>), String> {
    let kind = text(body, "/type");
    let content = &body[kind];
    if !content.is_object() {
        return Err(format!("Parameter '{kind}' is mandatory for type '{kind}'"));
    }
    let missing = |name: &str| format!("The parameter {kind}['{name}'] is required.");
    let words = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    match kind {
        "text" => match text(content, "/body") {
            "" => Err(missing("body")),
            long if long.chars().count() > TEXT_MAX => {
                Err("Param text['body'] must be at most 4096 characters long.".to_owned())
            }
            short => Ok((words(short), Vec::new())),
        },
        "image" | "video" | "audio" | "document" | "sticker" => {
            let source = match (content["link"].as_str(), content["id"].as_str()) {
                (Some(source), None) | (None, Some(source)) => source,
                _ => return Err(format!("Exactly one of {kind}['id'] and {kind}['link'] is required.")),
            };
            Ok((words(text(content, "/caption")), vec![format!("{kind} {source}")]))
        }
        "location" => match (content["latitude"].as_f64(), content["longitude"].as_f64()) {
            (Some(latitude), Some(longitude)) => Ok((None, vec![format!("location {latitude},{longitude}")])),
            _ => Err(missing("latitude")),
        },
        "interactive" => {
            let action = &content["action"];
            let mut parts: Vec<String> = action["buttons"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|button| format!("button {}", text(button, "/reply/title")))
                .collect();
            parts.extend(
                action["parameters"]["url"]
                    .as_str()
                    .map(|url| format!("link {} {url}", text(action, "/parameters/display_text"))),
            );
            let rows = action["sections"]
                .as_array()
                .into_iter()
                .flatten()
                .flat_map(|section| section["rows"].as_array().into_iter().flatten());
            parts.extend(rows.map(|row| format!("row {}", text(row, "/title"))));
            match (parts.is_empty(), text(content, "/body/text")) {
                (true, _) => Err(missing("action")),
                (_, "") => Err(missing("body")),
                (false, above) => Ok((words(above), parts)),
            }
        }
        "template" => {
            let (name, language) = (text(content, "/name"), text(content, "/language/code"));
            if name.is_empty() || language.is_empty() {
                return Err(missing("name"));
            }
            let components = content["components"].as_array().into_iter().flatten();
            let values = components.flat_map(|component| component["parameters"].as_array().into_iter().flatten());
            let values: Vec<&str> = values
                .filter_map(|value| {
                    ["/text", "/payload", "/coupon_code", "/image/link", "/document/link", "/video/link"]
                        .iter()
                        .map(|at| text(value, at))
                        .find(|text| !text.is_empty())
                })
                .collect();
            Ok((None, vec![format!("template {name} {language} {}", values.join(" ")).trim_end().to_owned()]))
        }
        _ => Err(format!("Param type must be one of the known types, and is {kind:?}")),
    }
}

/// The account's templates. One that was made is under review until it is asked for the next time, and approved then.
/// <https://developers.facebook.com/docs/whatsapp/business-management-api/message-templates>
fn templates(cx: &mut Cx<'_>, request: &Request, method: &str) -> Result<Reply, Reply> {
    let bad = |details: &str| error(400, 100, "Invalid parameter", details);
    let mut all = cx.kept("templates").as_array().cloned().unwrap_or_default();
    match method {
        "GET" => {
            let shown = Reply::json(200, &json!({"data": all, "paging": {"cursors": {"before": "A", "after": "B"}}}));
            all.iter_mut().for_each(|template| template["status"] = "APPROVED".into());
            cx.keep("templates", &all.into());
            Ok(shown)
        }
        "POST" => {
            let body = request.json().ok_or_else(|| bad("The body is no JSON"))?;
            let (name, language) = (text(&body, "/name"), text(&body, "/language"));
            let is_name =
                !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
            let is_category = ["UTILITY", "MARKETING", "AUTHENTICATION"].contains(&text(&body, "/category"));
            if !is_name || language.is_empty() || !is_category || !body["components"].is_array() {
                return Err(bad("name, language, category and components are required"));
            }
            if all.iter().any(|known| known["name"] == name && known["language"] == language) {
                return Err(bad("There is already content in this language for this template"));
            }
            let id = format!("5{:014}", cx.ids.below(100_000_000_000_000));
            all.push(json!({
                "id": id, "name": name, "language": language, "category": body["category"], "status": "PENDING",
                "quality_score": {"score": "UNKNOWN"}, "rejected_reason": "NONE", "components": body["components"],
            }));
            cx.keep("templates", &all.into());
            Ok(Reply::json(200, &json!({"id": id, "status": "PENDING", "category": body["category"]})))
        }
        "DELETE" => {
            let name = request.parameters().some("name").unwrap_or_default();
            let count = all.len();
            all.retain(|template| template["name"] != name.as_str());
            if all.len() == count {
                return Err(bad("There is no template of this name"));
            }
            cx.keep("templates", &all.into());
            Ok(Reply::json(200, &json!({"success": true})))
        }
        _ => Err(bad("Unsupported method")),
    }
}

fn send(cx: &mut Cx<'_>, request: &Request) -> Result<Reply, Reply> {
    let invalid = |details: &str| error(400, 100, "Invalid parameter", details);
    let body = request.json().ok_or_else(|| invalid("The body is not valid JSON"))?;
    if body["messaging_product"] != "whatsapp" {
        return Err(invalid("The parameter messaging_product is required."));
    }
    let to = text(&body, "/to");
    let digits = to.trim_start_matches('+');
    if digits.len() < 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(error(400, 131_009, "Parameter value is not valid", "The parameter to is not a phone number"));
    }
    match cx.fate(to) {
        Fate::Refused => {
            return Err(error(400, 131_026, "Message undeliverable", "The recipient is not a WhatsApp user"));
        }
        Fate::Throttled => return Err(WhatsappCloud.throttled(None)),
        _ => {}
    }
    let (words, parts) =
        describe(&body).map_err(|details| error(400, 131_008, "Required parameter is missing", &details))?;
    let draft = Draft {
        id: format!("wamid.{}", cx.hex(40)),
        channel: "whatsapp",
        to: to.to_owned(),
        from: cx.get("phone_number_id").to_owned(),
        echo: body["biz_opaque_callback_data"].as_str().map(str::to_owned),
        text: words.unwrap_or_default(),
        parts,
        ..Draft::default()
    };
    let answer = json!({
        "messaging_product": "whatsapp", "contacts": [{"input": to, "wa_id": digits}], "messages": [{"id": draft.id, "message_status": "accepted"}],
    });
    cx.take(draft);
    Ok(Reply::json(200, &answer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_outside_ascii_is_escaped() {
        assert_eq!(escaped(r#"{"t":"café 😀"}"#), r#"{"t":"caf\u00e9 \ud83d\ude00"}"#);
    }
}
