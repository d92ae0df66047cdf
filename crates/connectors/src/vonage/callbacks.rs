//! The webhooks of the account's application, and where SMS to its number go.
//! <https://developer.vonage.com/en/api/application.v2>

use model::{Answer, Call, Method};
use serde_json::{Map, Value, json};

use super::{NAME, REST_HOST, Settings};
use crate::{
    Cx,
    manage::{self, CallbackState, Callbacks, Next, Paste, Plan, each, reply},
    read::text,
};

const API_HOST: &str = "https://api.nexmo.com";

pub(super) struct Application;

impl Callbacks for Application {
    fn state(&self, cx: &Cx<'_>, answers: &[Answer]) -> Plan<CallbackState> {
        let settings = Settings::read(cx.settings)?;
        let Some(id) = &settings.application_id else { return Ok(Next::Done(by_hand(cx))) };
        if answers.is_empty() {
            return Ok(Next::Call(Call::Http(application(cx, &settings, Method::Get, id))));
        }
        let body = reply(NAME, answers, 0)?;
        let is_ours = |pointer: &&str| text(&body, pointer) == Some(cx.callback_url);
        let pointers = [
            "/capabilities/messages/webhooks/inbound_url/address",
            "/capabilities/messages/webhooks/status_url/address",
        ];
        let is_set = pointers.iter().all(is_ours);
        let line = if is_set { "The application reports here." } else { "The application does not report here." };
        let mut state = CallbackState { is_set, lines: vec![line.to_owned()], ..CallbackState::default() };
        state.by_hand = secret(cx);
        state.is_set &= state.by_hand.is_empty();
        Ok(Next::Done(state))
    }

    fn set(&self, cx: &Cx<'_>, answers: &[Answer]) -> Plan<CallbackState> {
        let settings = Settings::read(cx.settings)?;
        let mut lines = Vec::new();
        let mut at = 0;
        if let Some(id) = &settings.application_id {
            match answers.len() {
                0 => return Ok(Next::Call(Call::Http(application(cx, &settings, Method::Get, id)))),
                1 => {
                    let body = with_webhooks(&reply(NAME, answers, 0)?, cx.callback_url);
                    let call = application(cx, &settings, Method::Put, id);
                    return Ok(Next::Call(Call::Http(manage::json_body(call, &body))));
                }
                _ => {
                    reply(NAME, answers, 1)?;
                    lines.push("The application reports messages, statuses and calls here.".to_owned());
                    at = 2;
                }
            }
        }
        if let Some(number) = number(cx) {
            match answers.len() - at {
                0 => return Ok(Next::Call(Call::Http(numbers_call(cx, &settings, number)))),
                1 => match reply(NAME, answers, at)?.pointer("/numbers/0/country").and_then(Value::as_str) {
                    Some(country) => {
                        let call = rest(cx, &settings, Method::Post, "/number/update");
                        let pairs = [("country", country), ("msisdn", number), ("moHttpUrl", cx.callback_url)];
                        return Ok(Next::Call(Call::Http(manage::form(call, &pairs))));
                    }
                    None => lines.push(format!("{number} is no number of this Vonage account.")),
                },
                _ => {
                    reply(NAME, answers, at + 1)?;
                    lines.push(format!("SMS to {number} come here."));
                }
            }
        }
        if lines.is_empty() {
            return Ok(Next::Done(by_hand(cx)));
        }
        let by_hand = secret(cx);
        Ok(Next::Done(CallbackState { is_set: by_hand.is_empty(), lines, by_hand, ..CallbackState::default() }))
    }
}

/// Without an application and a number, the dashboard is the only place.
fn by_hand(cx: &Cx<'_>) -> CallbackState {
    let place =
        "\"Inbound SMS webhooks\" and \"Delivery receipts\" in the dashboard's API settings, method POST".to_owned();
    let mut by_hand = vec![Paste { place, value: cx.callback_url.to_owned() }];
    by_hand.extend(secret(cx));
    let lines = vec!["Status reports need no set-up: every message names this account's callback URL.".to_owned()];
    CallbackState { lines, by_hand, ..CallbackState::default() }
}

/// The signature secret is shown in the dashboard only.
fn secret(cx: &Cx<'_>) -> Vec<Paste> {
    let has_secret = cx.settings.get("signature_secret").is_some_and(|secret| !secret.is_empty());
    let paste = Paste {
        place: "this account's `signature_secret`".to_owned(),
        value: "the signature secret, in the dashboard's API settings".to_owned(),
    };
    if has_secret { Vec::new() } else { vec![paste] }
}

/// An account's sender as a number without a plus.
pub(super) fn number<'a>(cx: &Cx<'a>) -> Option<&'a str> {
    let digits = cx.from.map(|from| from.strip_prefix('+').unwrap_or(from))?;
    (digits.len() > 6 && digits.bytes().all(|b| b.is_ascii_digit())).then_some(digits)
}

fn rest(cx: &Cx<'_>, settings: &Settings, method: Method, path: &str) -> model::HttpCall {
    model::HttpCall::new(method, format!("{}{path}", cx.base_or(REST_HOST)))
        .basic_auth(&settings.api_key, &settings.api_secret)
}

/// Asks for one of the account's numbers.
pub(super) fn numbers_call(cx: &Cx<'_>, settings: &Settings, number: &str) -> model::HttpCall {
    rest(cx, settings, Method::Get, &format!("/account/numbers?pattern={number}&search_pattern=1&size=1"))
}

fn application(cx: &Cx<'_>, settings: &Settings, method: Method, id: &str) -> model::HttpCall {
    let url = format!("{}/v2/applications/{id}", cx.base_or(API_HOST));
    model::HttpCall::new(method, url).basic_auth(&settings.api_key, &settings.api_secret)
}

/// The application as it is, with our webhooks. What it can do besides stays.
fn with_webhooks(body: &Value, url: &str) -> Value {
    let hook = || json!({ "address": url, "http_method": "POST" });
    let mut capabilities = body.get("capabilities").and_then(Value::as_object).cloned().unwrap_or_default();
    let mut put = |capability: &str, hooks: &[&str]| {
        let entry = capabilities.entry(capability).or_insert_with(|| json!({}));
        let webhooks: Map<String, Value> = hooks.iter().map(|name| ((*name).to_owned(), hook())).collect();
        let mut all = entry.get("webhooks").and_then(Value::as_object).cloned().unwrap_or_default();
        all.extend(webhooks);
        entry["webhooks"] = all.into();
    };
    put("messages", &["inbound_url", "status_url"]);
    if body.pointer("/capabilities/voice").is_some() {
        put("voice", &["event_url"]);
    }
    let mut whole = json!({ "name": text(body, "/name").unwrap_or("Tidings"), "capabilities": capabilities });
    if let Some(key) = text(body, "/keys/public_key") {
        whole["keys"] = json!({ "public_key": key });
    }
    whole
}

/// The account's numbers in the answer to [`numbers_call`].
pub(super) fn found<'a>(body: &'a Value, number: &str) -> Option<&'a Value> {
    each(body, "/numbers").find(|row| text(row, "/msisdn") == Some(number))
}
