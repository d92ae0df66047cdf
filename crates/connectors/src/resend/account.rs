//! The test of a Resend account: the key, and the sender's domain where the key may see it.

use model::{Answer, Call, Failure, HttpAnswer, Method};
use serde_json::Value;

use super::{Settings, call, errors};
use crate::{Check, Cx, Probe, email, mime};

const CREDENTIALS: &str = "Credentials";
const SENDER: &str = "Sender";
const NOT_RESEND: &str = "The answer is not Resend's. Check any base URL.";
/// The refusal that proves a good key: one that may only send.
const RESTRICTED: &str = "restricted_api_key";

pub(super) fn probes(cx: &Cx<'_>) -> Result<Vec<Probe>, Failure> {
    let settings = Settings::read(cx.settings)?;
    Ok(vec![Probe { name: CREDENTIALS, call: Call::Http(call(cx, &settings, Method::Get, "/domains")) }])
}

pub(super) fn checks(cx: &Cx<'_>, name: &'static str, answer: &Answer) -> Vec<Check> {
    let http = match email::http(answer) {
        Ok(http) => http,
        Err(failure) => return vec![Check::failed(name, failure.detail)],
    };
    if http.status == 200 {
        return domains(cx, http);
    }
    let failure = errors::failure(cx, http);
    if failure.code == RESTRICTED {
        return vec![
            Check::ok(name, "The API key works; it may only send."),
            Check::ok(SENDER, "The API key may not look up domains, so only a test message proves the sender."),
        ];
    }
    vec![Check::failed(name, format!("{} (HTTP {})", failure.detail, http.status))]
}

fn domains(cx: &Cx<'_>, http: &HttpAnswer) -> Vec<Check> {
    let body = email::json(http);
    let Some(domains) = body.get("data").and_then(Value::as_array) else {
        return vec![Check::failed(CREDENTIALS, NOT_RESEND)];
    };
    let mut checks = vec![Check::ok(CREDENTIALS, "The API key works.")];
    checks.extend(cx.from.and_then(|from| mime::mailbox(from).ok()).map(|from| sender(from.address.domain(), domains)));
    checks
}

fn sender(domain: &str, domains: &[Value]) -> Check {
    let is_it = |known: &&Value| email::text(known, "/name").is_some_and(|name| name.eq_ignore_ascii_case(domain));
    match domains.iter().find(is_it).and_then(|known| email::text(known, "/status")) {
        Some("verified") => Check::ok(SENDER, format!("The domain {domain} is verified.")),
        Some(status) => Check::failed(
            SENDER,
            format!("The domain {domain} is {status}. Publish its DNS records and verify it in Resend."),
        ),
        None => {
            Check::failed(SENDER, format!("Resend does not know the domain {domain}. Add and verify it in Resend."))
        }
    }
}
