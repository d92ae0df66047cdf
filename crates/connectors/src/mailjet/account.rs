//! The test of a Mailjet account: the pair of keys, and the sender's state.

use model::{Answer, Call, Failure, HttpAnswer, Method};
use serde_json::Value;
use url::form_urlencoded;

use super::{Settings, call, errors};
use crate::{Check, Cx, Probe, email, mime};

const CREDENTIALS: &str = "Credentials";
const SENDER: &str = "Sender";
const NOT_MAILJET: &str = "The answer is not Mailjet's. Check any base URL.";
/// Senders read: a domain has its catch-all and a few addresses; the list's own maximum.
const LIMIT: &str = "1000";

pub(super) fn probes(cx: &Cx<'_>) -> Result<Vec<Probe>, Failure> {
    let settings = Settings::read(cx.settings)?;
    let probe = |name, path: &str| Probe { name, call: Call::Http(call(cx, &settings, Method::Get, path)) };
    let mut probes = vec![probe(CREDENTIALS, "/v3/REST/apikey?Limit=1")];
    if let Some(from) = cx.from {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("Domain", mime::mailbox(from)?.address.domain()).append_pair("Limit", LIMIT);
        probes.push(probe(SENDER, &format!("/v3/REST/sender?{}", query.finish())));
    }
    Ok(probes)
}

pub(super) fn check(cx: &Cx<'_>, name: &'static str, answer: &Answer) -> Check {
    let http = match email::http(answer) {
        Ok(http) => http,
        Err(failure) => return Check::failed(name, failure.detail),
    };
    match (name, http.status) {
        (SENDER, 200) => sender(cx, http),
        (_, 200) => credentials(http),
        (CREDENTIALS, 403) => Check::ok(name, "The keys are known; they may not look up keys."),
        (SENDER, 401 | 403) => Check::ok(name, "The keys may not look this up."),
        _ => {
            let failure = errors::whole(cx, http);
            Check::failed(name, format!("{} (HTTP {})", failure.detail, http.status))
        }
    }
}

fn credentials(http: &HttpAnswer) -> Check {
    let body = email::json(http);
    let Some(keys) = body.get("Data").and_then(Value::as_array) else { return Check::failed(CREDENTIALS, NOT_MAILJET) };
    match keys.first().and_then(|key| key["IsActive"].as_bool()) {
        Some(false) => Check::failed(CREDENTIALS, "The API key is not active. Activate it in Mailjet."),
        Some(true) | None => Check::ok(CREDENTIALS, "The keys work."),
    }
}

/// A sender is one address, or a whole domain as `*@example.com`.
fn sender(cx: &Cx<'_>, http: &HttpAnswer) -> Check {
    let body = email::json(http);
    let (Some(senders), Some(Ok(from))) = (body.get("Data").and_then(Value::as_array), cx.from.map(mime::mailbox))
    else {
        return Check::failed(SENDER, NOT_MAILJET);
    };
    let address = from.address.as_str();
    let domain = format!("*@{}", from.address.domain());
    let is_it = |sender: &&Value| {
        email::text(sender, "/Email")
            .is_some_and(|known| known.eq_ignore_ascii_case(address) || known.eq_ignore_ascii_case(&domain))
    };
    let found: Vec<&Value> = senders.iter().filter(is_it).collect();
    match found.iter().any(|sender| email::text(sender, "/Status") == Some("Active")) {
        true => Check::ok(SENDER, format!("{address} is verified.")),
        false if found.is_empty() => Check::failed(
            SENDER,
            format!("Mailjet does not know {address}. Add and verify it, or its domain, in Mailjet."),
        ),
        false => Check::failed(SENDER, format!("{address} is not verified. Verify it, or its domain, in Mailjet.")),
    }
}
