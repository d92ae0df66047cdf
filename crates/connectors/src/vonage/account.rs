//! The test of a Vonage account: key and secret with the balance, the application where there is one, and the sender.

use model::{Answer, Call, Failure, HttpAnswer, HttpCall, Method};
use url::form_urlencoded;

use super::{
    REST_HOST, Settings,
    callbacks::{found, number, numbers_call},
    voice_call,
};
use crate::{Check, Cx, Probe, read};

const CREDENTIALS: &str = "Credentials";
const APPLICATION: &str = "Application";
const SENDER: &str = "Sender";

pub(super) fn probes(cx: &Cx<'_>) -> Result<Vec<Probe>, Failure> {
    let settings = Settings::read(cx.settings)?;
    let query = form_urlencoded::Serializer::new(String::new())
        .append_pair("api_key", &settings.api_key)
        .append_pair("api_secret", settings.api_secret.reveal())
        .finish();
    let balance = HttpCall::new(Method::Get, format!("{}/account/get-balance?{query}", cx.base_or(REST_HOST)));
    let mut probes = vec![Probe { name: CREDENTIALS, call: Call::Http(balance) }];
    if let Some(number) = number(cx) {
        probes.push(Probe { name: SENDER, call: Call::Http(numbers_call(cx, &settings, number)) });
    }
    if settings.application_id.is_some() {
        // Asking for calls costs nothing and shows that Vonage believes the application's tokens.
        let calls = voice_call(cx, &settings, Method::Get, "?page_size=1")?;
        probes.push(Probe { name: APPLICATION, call: Call::Http(calls) });
    }
    Ok(probes)
}

pub(super) fn checks(cx: &Cx<'_>, probe: &Probe, answer: &Answer) -> Vec<Check> {
    let Ok(http) = read::http(answer) else {
        return vec![Check::failed(probe.name, "Vonage gave no HTTP answer.")];
    };
    match probe.name {
        APPLICATION => vec![application(http)],
        SENDER => vec![own_number(cx, http)],
        _ => credentials(cx, http),
    }
}

fn credentials(cx: &Cx<'_>, http: &HttpAnswer) -> Vec<Check> {
    match http.status {
        200 => {}
        401 | 403 => {
            let detail = format!("Vonage rejected the API key or secret (HTTP {}). Update the account.", http.status);
            return vec![Check::failed(CREDENTIALS, detail)];
        }
        status => return vec![Check::failed(CREDENTIALS, format!("Vonage answered HTTP {status}. Try again later."))],
    }
    let body = read::json(http);
    let Some(value) = body["value"].as_f64() else {
        return vec![Check::failed(CREDENTIALS, "The answer is not Vonage's. Check the connector's base URL.")];
    };
    let is_refilled = body["autoReload"].as_bool() == Some(true);
    let shown = format!("{value}{}", if is_refilled { ", refilled by itself" } else { "" });
    let balance = match value > 0.0 {
        true => Check::ok("Balance", shown),
        false => Check::failed("Balance", format!("{shown}. Top up the account in Vonage's dashboard.")),
    };
    let mut checks = vec![Check::ok(CREDENTIALS, "Key and secret work."), balance];
    // Of a number Vonage is asked; there is no list of names.
    if number(cx).is_none() {
        checks.push(named(cx));
    }
    checks.push(callbacks(cx));
    checks
}

fn named(cx: &Cx<'_>) -> Check {
    match cx.from {
        Some(from) => Check::ok(SENDER, format!("SMS leave from {from}, where the country allows it.")),
        None => {
            Check::failed(SENDER, "There is no sender. Set `from` to a number of the account, or for SMS to a name.")
        }
    }
}

/// In many countries Vonage lets any number send, so one that is not the account's is worth a word and no failure.
fn own_number(cx: &Cx<'_>, http: &HttpAnswer) -> Check {
    let number = number(cx).unwrap_or_default();
    match http.status {
        200 if found(&read::json(http), number).is_some() => {
            Check::ok(SENDER, format!("{number} is a number of this Vonage account."))
        }
        200 => Check::ok(
            SENDER,
            format!(
                "{number} is no number of this Vonage account; many countries refuse it then. Rent it, or use one of the account's."
            ),
        ),
        401 | 403 => Check::failed(SENDER, "Vonage rejected the API key or secret. Update the account."),
        status => Check::failed(SENDER, format!("Vonage answered HTTP {status}. Try again later.")),
    }
}

fn callbacks(cx: &Cx<'_>) -> Check {
    const NAME: &str = "Callbacks";
    match cx.settings.get("signature_secret").filter(|secret| !secret.is_empty()) {
        Some(_) => Check::ok(NAME, "Vonage's callbacks are checked with the signature secret."),
        None => Check::failed(
            NAME,
            "There is no signature secret, so statuses and replies are refused. Copy it from the dashboard's API settings.",
        ),
    }
}

fn application(http: &HttpAnswer) -> Check {
    match http.status {
        200..=299 => Check::ok(APPLICATION, "Vonage accepts the application's tokens."),
        401 | 403 => Check::failed(
            APPLICATION,
            "Vonage rejected the application's token. Check the application ID, its private key, and this machine's clock.",
        ),
        status => Check::failed(APPLICATION, format!("Vonage answered HTTP {status}. Try again later.")),
    }
}
