//! The test of a business number: the access token, the number's state, and whether Meta reports back.

use model::{Answer, Call, Failure, FailureKind, HttpAnswer, Method};
use serde_json::Value;

use super::{Settings, answer, request};
use crate::{
    Check, Cx, Probe,
    read::{self, text},
};

const CREDENTIALS: &str = "Credentials";
const SENDER: &str = "Sender";
const QUALITY: &str = "Quality";
const CALLBACKS: &str = "Callbacks";
const FIELDS: &str =
    "display_phone_number,verified_name,quality_rating,throughput,platform_type,code_verification_status";
const NOT_META: &str = "The answer is not Meta's. Check the connector's base URL.";

pub(super) fn probes(cx: &Cx<'_>) -> Result<Vec<Probe>, Failure> {
    let settings = Settings::read(cx.settings)?;
    let probe = |name, path: String| Probe { name, call: Call::Http(request::call(cx, &settings, Method::Get, &path)) };
    let mut probes = vec![probe(CREDENTIALS, format!("/{}?fields={FIELDS}", settings.phone_number_id))];
    probes.extend(settings.business_account_id.as_ref().map(|id| probe(CALLBACKS, format!("/{id}/subscribed_apps"))));
    Ok(probes)
}

pub(super) fn checks(cx: &Cx<'_>, probe: &Probe, answer: &Answer) -> Vec<Check> {
    let http = match read::http(answer) {
        Ok(http) => http,
        Err(failure) => return vec![Check::failed(probe.name, failure.detail)],
    };
    if http.status != 200 {
        return vec![refused(cx, probe.name, http)];
    }
    let body = read::json(http);
    match probe.name {
        CALLBACKS => vec![callbacks(cx, &body)],
        _ => number(&body),
    }
}

fn refused(cx: &Cx<'_>, name: &str, http: &HttpAnswer) -> Check {
    let failure = answer::refusal(cx, 1, http);
    match failure.kind {
        FailureKind::Unknown => Check::failed(name, format!("Meta answered HTTP {}. Try again later.", http.status)),
        _ => Check::failed(name, format!("{} ({})", failure.detail, failure.code)),
    }
}

fn number(body: &Value) -> Vec<Check> {
    let Some(shown) = text(body, "/display_phone_number") else {
        return vec![Check::failed(CREDENTIALS, NOT_META)];
    };
    vec![Check::ok(CREDENTIALS, "The access token works."), sender(body, shown), quality(body)]
}

fn sender(body: &Value, shown: &str) -> Check {
    let name = text(body, "/verified_name").unwrap_or("no name");
    let throughput = text(body, "/throughput/level").unwrap_or("unknown");
    if text(body, "/platform_type").is_some_and(|platform| platform != "CLOUD_API") {
        return Check::failed(SENDER, format!("{shown} ({name}) is not registered for the Cloud API. Register it."));
    }
    match text(body, "/code_verification_status") {
        None | Some("VERIFIED") => {
            Check::ok(SENDER, format!("Messages leave from {shown} ({name}), throughput {throughput}."))
        }
        // The code that proved the number runs out; a registered number goes on sending.
        Some("EXPIRED") => Check::ok(
            SENDER,
            format!("Messages leave from {shown} ({name}), throughput {throughput}; its code has expired."),
        ),
        Some(_) => Check::failed(SENDER, format!("{shown} ({name}) is not verified. Verify it in WhatsApp Manager.")),
    }
}

fn quality(body: &Value) -> Check {
    match text(body, "/quality_rating") {
        Some("RED") => Check::failed(
            QUALITY,
            "People block or report this number's messages. Meta may limit it; write to fewer people who did not ask.",
        ),
        Some(rating) => Check::ok(QUALITY, format!("Meta rates the number {rating}.")),
        None => Check::ok(QUALITY, "Meta has not rated the number yet."),
    }
}

/// Which app is subscribed is not compared: the token does not tell ours.
fn callbacks(cx: &Cx<'_>, body: &Value) -> Check {
    let has = |name| cx.settings.get(name).is_some_and(|value| !value.is_empty());
    match body["data"].as_array() {
        None => Check::failed(CALLBACKS, NOT_META),
        Some(apps) if apps.is_empty() => Check::failed(
            CALLBACKS,
            "No app is subscribed to the WhatsApp Business account, so Meta reports nothing. Call POST /<account id>/subscribed_apps.",
        ),
        Some(_) if !has("app_secret") => Check::failed(
            CALLBACKS,
            "Meta reports to an app, but its requests are refused here without `app_secret`. Set it.",
        ),
        Some(apps) => {
            let names: Vec<_> = apps.iter().filter_map(|app| text(app, "/whatsapp_business_api_data/name")).collect();
            let names = if names.is_empty() { apps.len().to_string() } else { names.join(", ") };
            Check::ok(CALLBACKS, format!("Meta reports to the app: {names}."))
        }
    }
}
