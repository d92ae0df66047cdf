//! The test of a Telegram account: the token, and where the bot's updates go.

use model::{Answer, Call, Failure, FailureKind, HttpAnswer};
use serde_json::Value;

use super::{answer, errors, request};
use crate::{Check, Cx, Probe};

const CREDENTIALS: &str = "Credentials";
const CALLBACKS: &str = "Callbacks";

pub(super) fn probes(cx: &Cx<'_>) -> Result<Vec<Probe>, Failure> {
    Ok(vec![
        Probe { name: CREDENTIALS, call: Call::Http(request(cx, "getMe")?) },
        Probe { name: CALLBACKS, call: Call::Http(request(cx, "getWebhookInfo")?) },
    ])
}

pub(super) fn checks(cx: &Cx<'_>, probe: &Probe, answer: &Answer) -> Vec<Check> {
    let Answer::Http(http) = answer else {
        return vec![Check::failed(probe.name, "Telegram gave no HTTP answer.")];
    };
    let result = match result(cx, http) {
        Ok(result) => result,
        Err(detail) => return vec![Check::failed(probe.name, detail)],
    };
    vec![match probe.name {
        CALLBACKS => callbacks(cx, &result),
        _ => credentials(&result),
    }]
}

fn result(cx: &Cx<'_>, http: &HttpAnswer) -> Result<Value, String> {
    let mut body: Value = serde_json::from_slice(&http.body).unwrap_or_default();
    let failure = match body["ok"].as_bool() {
        Some(true) => return Ok(body["result"].take()),
        Some(false) => errors::refused(http.status, body["description"].as_str().unwrap_or_default()),
        None => answer::foreign(cx, http),
    };
    Err(match failure.kind {
        FailureKind::Unknown | FailureKind::Unavailable => {
            format!(
                "The answer (HTTP {}) is not what Telegram says to this. Check the connector's base URL, or try again later.",
                http.status
            )
        }
        _ => format!("{} ({})", failure.detail, failure.code),
    })
}

fn credentials(bot: &Value) -> Check {
    match bot["username"].as_str() {
        Some(name) if bot["is_bot"] == Value::Bool(true) => {
            Check::ok(CREDENTIALS, format!("The token belongs to @{name}."))
        }
        _ => Check::failed(CREDENTIALS, "The answer does not name a bot. Check the connector's base URL."),
    }
}

/// Updates are optional, so a bot without them is in order unless the tenant has prepared for them with a secret.
fn callbacks(cx: &Cx<'_>, hook: &Value) -> Check {
    let url = hook["url"].as_str().unwrap_or_default();
    let has_secret = cx.settings.get("secret_token").is_some_and(|secret| !secret.is_empty());
    let is_ours = url.strip_prefix(cx.callback_url).is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?']));
    let remedy = format!("Call setWebhook with the URL {} and the secret token.", cx.callback_url);
    match (is_ours, has_secret) {
        (true, true) => pending(hook),
        (true, false) => Check::failed(
            CALLBACKS,
            "Updates come here, but are refused without a secret token. Set `secret_token` and call setWebhook with it.",
        ),
        (false, true) if url.is_empty() => Check::failed(CALLBACKS, format!("Telegram sends no updates. {remedy}")),
        (false, true) => Check::failed(CALLBACKS, format!("Telegram sends updates to {url}. {remedy}")),
        (false, false) => Check::ok(
            CALLBACKS,
            "Messages to the bot and pressed buttons do not come here; set `secret_token` to receive them.",
        ),
    }
}

fn pending(hook: &Value) -> Check {
    let waiting = hook["pending_update_count"].as_u64().unwrap_or(0);
    match hook["last_error_message"].as_str() {
        // Telegram keeps the last error for ever; with nothing waiting it has been overcome.
        Some(error) if waiting > 0 => Check::failed(
            CALLBACKS,
            format!("{waiting} updates wait; Telegram could not deliver the last one: {error}"),
        ),
        _ => Check::ok(CALLBACKS, format!("Updates come here; {waiting} wait.")),
    }
}
