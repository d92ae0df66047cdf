//! The test of a SendGrid account: what the key may do, whether the sender's domain is authenticated, and the credits that are left.

use model::{Answer, Call, Failure, HttpAnswer, Method};
use serde_json::Value;
use url::form_urlencoded;

use super::{Settings, call, errors};
use crate::{Check, Cx, Probe, email, mime};

const CREDENTIALS: &str = "Credentials";
const SENDER: &str = "Sender";
const CREDITS: &str = "Credits";
/// What the key must be allowed.
const SCOPE: &str = "mail.send";
const NOT_SENDGRID: &str = "The answer is not SendGrid's. Check any base URL.";

pub(super) fn probes(cx: &Cx<'_>) -> Result<Vec<Probe>, Failure> {
    let settings = Settings::read(cx.settings)?;
    let probe = |name, path: &str| Probe { name, call: Call::Http(call(cx, &settings, Method::Get, path)) };
    let mut probes = vec![probe(CREDENTIALS, "/v3/scopes")];
    if let Some(from) = cx.from {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("domain", mime::mailbox(from)?.address.domain());
        probes.push(probe(SENDER, &format!("/v3/whitelabel/domains?{}", query.finish())));
    }
    probes.push(probe(CREDITS, "/v3/user/credits"));
    Ok(probes)
}

pub(super) fn check(cx: &Cx<'_>, name: &'static str, answer: &Answer) -> Check {
    let http = match email::http(answer) {
        Ok(http) => http,
        Err(failure) => return Check::failed(name, failure.detail),
    };
    match (name, http.status) {
        (CREDENTIALS, 200) => credentials(http),
        (SENDER, 200) => sender(http),
        (CREDITS, 200) => credits(http),
        // Keys that may only send are good keys.
        (SENDER | CREDITS, 401 | 403 | 404) => Check::ok(name, "The API key may not look this up."),
        _ => {
            let failure = errors::refusal(cx, http).failure;
            Check::failed(name, format!("{} (HTTP {})", failure.detail, http.status))
        }
    }
}

fn credentials(http: &HttpAnswer) -> Check {
    let body = email::json(http);
    match body.get("scopes").and_then(Value::as_array) {
        Some(scopes) if scopes.iter().any(|scope| scope == SCOPE) => {
            Check::ok(CREDENTIALS, "The API key may send mail.")
        }
        Some(_) => {
            Check::failed(CREDENTIALS, "The API key may not send. Give it Mail Send, or make another one in SendGrid.")
        }
        None => Check::failed(CREDENTIALS, NOT_SENDGRID),
    }
}

fn sender(http: &HttpAnswer) -> Check {
    let body = email::json(http);
    let Some(domains) = body.as_array() else { return Check::failed(SENDER, NOT_SENDGRID) };
    let is_valid = |domain: &Value| domain["valid"] == Value::Bool(true);
    match (domains.iter().find(|domain| is_valid(domain)), domains.first()) {
        (Some(domain), _) => {
            let name = email::text(domain, "/domain").unwrap_or_default();
            Check::ok(SENDER, format!("The domain {name} is authenticated."))
        }
        (None, Some(_)) => Check::failed(
            SENDER,
            "SendGrid has not seen the domain's DNS records. Publish them and press Verify there.",
        ),
        (None, None) => Check::failed(
            SENDER,
            "SendGrid knows no such domain. Authenticate it, or make sure that the address is a verified single sender.",
        ),
    }
}

fn credits(http: &HttpAnswer) -> Check {
    let body = email::json(http);
    let number = |name: &str| body.get(name).and_then(Value::as_i64);
    let (Some(remain), Some(total)) = (number("remain"), number("total")) else {
        return Check::failed(CREDITS, NOT_SENDGRID);
    };
    let reset = email::text(&body, "/next_reset").map_or(String::new(), |day| format!(", renewed on {day}"));
    let left = format!("{remain} of {total} left{reset}.");
    // Plans without a fixed number say 0 of 0.
    match remain <= 0 && total > 0 {
        true => Check::failed(CREDITS, format!("{left} Upgrade the SendGrid plan.")),
        false => Check::ok(CREDITS, left),
    }
}
