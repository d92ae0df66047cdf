//! The older SMS API. It answers 200 whatever happened; only the status of each part says what did.
//! <https://developer.vonage.com/en/api/sms>

use model::{Answer, Channel, Content, Encoding, Failure, FailureKind, HttpCall, Method, Timestamp, segments};
use serde_json::Value;
use url::form_urlencoded;

use super::{REST_HOST, Settings, errors, from, messages, unreadable};
use crate::{Acceptance, Cx, Outcome, Outgoing, phone, read, whatsapp::refused};

/// Longest callback URL a request may name, in characters. Longer ones are left to the account's settings.
const CALLBACK_MAX: usize = 100;

pub(super) fn request(cx: &Cx<'_>, settings: &Settings, message: &Outgoing<'_>) -> Result<HttpCall, Failure> {
    let Content::Sms(sms) = message.content else {
        return Err(refused("/channel", "this API carries SMS only"));
    };
    messages::parts(message.content, None)?;
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("api_key", &settings.api_key)
        .append_pair("api_secret", settings.api_secret.reveal())
        .append_pair("from", &from(cx, Channel::Sms)?)
        .append_pair("to", phone(message.to)?.digits())
        .append_pair("text", &sms.text);
    // Left to itself Vonage replaces what GSM's alphabet lacks by question marks.
    if segments(&sms.text).encoding == Encoding::Ucs2 {
        form.append_pair("type", "unicode");
    }
    form.append_pair("client-ref", &message.attempt_id.to_string()).append_pair("status-report-req", "1");
    if !cx.callback_url.is_empty() && cx.callback_url.len() <= CALLBACK_MAX {
        form.append_pair("callback", cx.callback_url);
    }
    for (name, id) in [("entity-id", &settings.entity_id), ("content-id", &settings.content_id)] {
        if let Some(id) = id {
            form.append_pair(name, id);
        }
    }
    let call = HttpCall::new(Method::Post, format!("{}/sms/json", cx.base_or(REST_HOST)));
    Ok(call.body("application/x-www-form-urlencoded", form.finish()))
}

/// How an attempt ended. A server error decides nothing, since the API answers 200 whenever it has decided.
pub(super) fn outcome(answer: &Answer, now: Timestamp) -> Outcome {
    let http = match read::http(answer) {
        Ok(http) => http,
        Err(failure) => return Outcome::Refused(failure),
    };
    if http.status != 200 {
        return Outcome::Refused(errors::sms_http(http, now));
    }
    let body = read::json(http);
    let parts = body["messages"].as_array().map(Vec::as_slice).unwrap_or_default();
    let is_whole = number(&body["message-count"]) == u64::try_from(parts.len()).ok();
    let Some((first, rest)) = parts.split_first().filter(|_| is_whole) else {
        return Outcome::Refused(unreadable(&http.text()));
    };
    let refused = parts.iter().find_map(refusal);
    match (refused, rest) {
        (None, _) => taken(first, parts.len()).unwrap_or_else(|| Outcome::Refused(unreadable(&http.text()))),
        (Some(failure), []) => Outcome::Refused(failure),
        (Some(failure), _) if parts.iter().all(|part| refusal(part).is_some()) => Outcome::Refused(failure),
        (Some(failure), _) => Outcome::Refused(torn(failure)),
    }
}

fn taken(first: &Value, count: usize) -> Option<Outcome> {
    let id = read::text(first, "/message-id")?;
    Some(Outcome::Accepted(Acceptance { segments: u32::try_from(count).ok(), ..Acceptance::with_id(id) }))
}

/// Why a part was not taken; `None` when it was. A part without a status is not taken for granted.
fn refusal(part: &Value) -> Option<Failure> {
    match number(&part["status"]) {
        Some(0) => None,
        Some(status) => Some(errors::sms_status(status, read::text(part, "/error-text").unwrap_or_default())),
        None => Some(unreadable(&part.to_string())),
    }
}

/// Some parts left and others did not: sending all of them again would show the first ones twice.
fn torn(failure: Failure) -> Failure {
    let detail = format!("Vonage sent only some parts of this long text. It is not sent again. {}", failure.detail);
    Failure { kind: FailureKind::Content, detail, ..failure }
}

/// Numbers are texts in this API, mostly.
fn number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}
