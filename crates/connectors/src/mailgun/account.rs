//! The test of a Mailgun account: the key with the state of its domain, and whether the domain's queue runs.

use model::{Answer, Call, Failure, HttpAnswer, Method};
use serde_json::Value;

use super::{Settings, call, errors};
use crate::{Check, Cx, Probe, email};

const CREDENTIALS: &str = "Credentials";
const QUEUE: &str = "Sending queue";
const NOT_MAILGUN: &str = "The answer is not Mailgun's. Check any base URL.";

pub(super) fn probes(cx: &Cx<'_>) -> Result<Vec<Probe>, Failure> {
    let settings = Settings::read(cx.settings)?;
    let probe = |name, path: String| Probe { name, call: Call::Http(call(cx, &settings, Method::Get, &path)) };
    Ok(vec![
        probe(CREDENTIALS, format!("/v4/domains/{}", settings.domain)),
        probe(QUEUE, format!("/v3/domains/{}/sending_queues", settings.domain)),
    ])
}

pub(super) fn checks(cx: &Cx<'_>, name: &'static str, answer: &Answer) -> Vec<Check> {
    let http = match email::http(answer) {
        Ok(http) => http,
        Err(failure) => return vec![Check::failed(name, failure.detail)],
    };
    match (name, http.status) {
        (CREDENTIALS, 200) => domain(http),
        (CREDENTIALS, 401 | 403) => vec![Check::failed(
            name,
            "Mailgun refused the API key. Update it; a domain's sending key can send but not be looked at, so only a test message proves it.",
        )],
        (QUEUE, 200) => vec![queue(http)],
        // Keys that may only send are good keys.
        (QUEUE, 401 | 403) => vec![Check::ok(name, "The API key may not look this up.")],
        _ => {
            let failure = errors::failure(cx, http);
            vec![Check::failed(name, format!("{} (HTTP {})", failure.detail, http.status))]
        }
    }
}

fn domain(http: &HttpAnswer) -> Vec<Check> {
    const NAME: &str = "Domain";
    let body = email::json(http);
    let (Some(name), Some(state)) = (email::text(&body, "/domain/name"), email::text(&body, "/domain/state")) else {
        return vec![Check::failed(CREDENTIALS, NOT_MAILGUN)];
    };
    let reason = email::text(&body, "/domain/disabled/reason").unwrap_or("no reason given");
    let domain = match state {
        "active" => Check::ok(NAME, format!("{name} is active.")),
        "unverified" => {
            Check::failed(NAME, format!("{name} is not verified. Publish its DNS records and verify it in Mailgun."))
        }
        "disabled" => Check::failed(NAME, format!("{name} is disabled ({reason}). Ask Mailgun's support.")),
        other => Check::failed(NAME, format!("{name} is {other}. Look into Mailgun.")),
    };
    vec![Check::ok(CREDENTIALS, "The API key works."), domain]
}

fn queue(http: &HttpAnswer) -> Check {
    let body = email::json(http);
    match body.pointer("/regular/is_disabled").and_then(Value::as_bool) {
        Some(false) => Check::ok(QUEUE, "Mails leave at once."),
        Some(true) => {
            let reason = email::text(&body, "/regular/disabled/reason").unwrap_or("no reason given");
            let until = email::text(&body, "/regular/disabled/until").unwrap_or("further notice");
            Check::failed(QUEUE, format!("Stopped until {until}: {reason}. Look into Mailgun."))
        }
        None => Check::failed(QUEUE, NOT_MAILGUN),
    }
}
