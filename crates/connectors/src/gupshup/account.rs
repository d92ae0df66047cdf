//! The test of a Gupshup account: the key and the app, by the app's list of templates. Gupshup shows the wallet's balance to partners only.
//! <https://docs.gupshup.io/reference/get_wa-api-v1-template-list-appname>

use model::{Answer, Call, Failure, FailureKind, Method};
use serde_json::Value;
use url::form_urlencoded;

use super::{Settings, errors, request};
use crate::{
    Check, Cx, Probe,
    read::{self, text},
};

const CREDENTIALS: &str = "Credentials";

pub(super) fn probes(cx: &Cx<'_>) -> Result<Vec<Probe>, Failure> {
    let settings = Settings::read(cx.settings)?;
    // In a path a space is %20 and no plus.
    let app: String =
        form_urlencoded::byte_serialize(settings.app_name.as_bytes()).collect::<String>().replace('+', "%20");
    let path = format!("/wa/api/v1/template/list/{app}");
    Ok(vec![Probe { name: CREDENTIALS, call: Call::Http(request::request(cx, &settings, Method::Get, &path)) }])
}

pub(super) fn check(cx: &Cx<'_>, name: &'static str, answer: &Answer) -> Check {
    let http = match read::http(answer) {
        Ok(http) => http,
        Err(failure) => return Check::failed(name, failure.detail),
    };
    let body = read::json(http);
    match (http.status, text(&body, "/status"), body["templates"].as_array()) {
        (200, Some("success"), Some(templates)) => Check::ok(name, found(templates)),
        (200, status, _) if status != Some("error") => {
            Check::failed(name, "The answer is not Gupshup's. Check the connector's base URL.")
        }
        _ => match errors::refused(cx, http, &body) {
            failure if failure.kind == FailureKind::Unknown => {
                Check::failed(name, format!("Gupshup answered HTTP {}. Try again later.", http.status))
            }
            failure => Check::failed(name, format!("{} (HTTP {})", failure.detail, http.status)),
        },
    }
}

fn found(templates: &[Value]) -> String {
    let approved = templates.iter().filter(|template| text(template, "/status") == Some("APPROVED")).count();
    format!("The key works; the app has {} templates, {approved} approved.", templates.len())
}
