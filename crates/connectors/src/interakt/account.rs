//! The test of an Interakt account: the secret key, by the list of approved templates.

use model::{Answer, Call, Failure, FailureKind, Method};

use super::{Settings, errors, request};
use crate::{Check, Cx, Probe, read};

const CREDENTIALS: &str = "Credentials";
const PATH: &str = "/v1/public/track/organization/templates?offset=0&approval_status=APPROVED";

pub(super) fn probes(cx: &Cx<'_>) -> Result<Vec<Probe>, Failure> {
    let settings = Settings::read(cx.settings)?;
    Ok(vec![Probe { name: CREDENTIALS, call: Call::Http(request::request(cx, &settings, Method::Get, PATH)) }])
}

pub(super) fn check(cx: &Cx<'_>, name: &'static str, answer: &Answer) -> Check {
    let http = match read::http(answer) {
        Ok(http) => http,
        Err(failure) => return Check::failed(name, failure.detail),
    };
    let body = read::json(http);
    if http.status == 200 {
        let found = body["results"]["templates"].as_array().map(|templates| templates.len() as u64);
        return match body["count"].as_u64().or(found) {
            Some(count) => Check::ok(name, format!("The key works; the organization has {count} approved templates.")),
            None => Check::failed(name, "The answer is not Interakt's. Check the connector's base URL."),
        };
    }
    let failure = errors::refused(cx, http, &body);
    match failure.kind {
        FailureKind::Unknown => {
            Check::failed(name, format!("Interakt answered HTTP {}. Try again later.", http.status))
        }
        _ => Check::failed(name, format!("{} (HTTP {})", failure.detail, http.status)),
    }
}
