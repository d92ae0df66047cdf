//! Reads what Meta answers to a message, and to the upload of its file. Meta asks to go by the code in the JSON and not by the status.
//! <https://developers.facebook.com/docs/whatsapp/cloud-api/support/error-codes>

use model::{Answer, Failure, FailureKind, HttpAnswer};
use serde_json::Value;

use super::{NAME, request};
use crate::{
    Acceptance, Cx, Outcome, Outgoing, Step,
    read::{self, text},
    refusals::foreign,
    whatsapp::{self, codes, envelope},
};

use FailureKind::{Account, Content, Throttled, Unavailable, Unknown};

/// A recipient gets one message in six seconds; Meta asks to wait 4^attempt seconds after 131056, in milliseconds.
const PAIR_STEP_MS: u64 = 1_000;
/// Tries after which the wait grows no longer: 4^6 seconds is more than an hour.
const PAIR_TRIES_MAX: u32 = 6;
/// Of code 100: the object of the request does not exist, or the token may not see it.
const NO_OBJECT: u32 = 33;

/// Reads the answer to step `step`.
pub(super) fn step(cx: &Cx<'_>, message: &Outgoing<'_>, step: u8, answer: &Answer) -> Step {
    let http = match read::http(answer) {
        Ok(http) => http,
        Err(failure) => return refused(failure),
    };
    let has_upload = whatsapp::says(message.content).is_ok_and(|says| request::upload_of(says).is_some());
    if !has_upload || step > 0 {
        return Step::Done(outcome(cx, message, http));
    }
    match uploaded(cx, message, http) {
        Ok(id) => request::message(cx, message, Some(&id)).map_or_else(refused, Step::Call),
        Err(failure) => refused(failure),
    }
}

fn refused(failure: Failure) -> Step {
    Step::Done(Outcome::Refused(failure))
}

/// The id of an uploaded file. Whatever went wrong here, no message has left, so nothing is unknown.
fn uploaded(cx: &Cx<'_>, message: &Outgoing<'_>, http: &HttpAnswer) -> Result<String, Failure> {
    let body = read::json(http);
    if let (200..=299, Some(id)) = (http.status, text(&body, "/id")) {
        return Ok(id.to_owned());
    }
    let mut failure = refusal(cx, message.attempt, http);
    if failure.kind == Unknown {
        failure.kind = Unavailable;
        failure.detail = "Meta did not take the message's file, and no message was sent.".to_owned();
    }
    Err(failure)
}

fn outcome(cx: &Cx<'_>, message: &Outgoing<'_>, http: &HttpAnswer) -> Outcome {
    let body = read::json(http);
    match (http.status, text(&body, "/messages/0/id")) {
        // It may say `held_for_quality_assessment` or `paused` besides; a status tells later what became of it.
        (200..=299, Some(id)) => Outcome::Accepted(Acceptance::with_id(id)),
        _ => Outcome::Refused(refusal(cx, message.attempt, http)),
    }
}

/// The failure behind any other answer.
pub(super) fn refusal(cx: &Cx<'_>, attempt: u32, http: &HttpAnswer) -> Failure {
    let body = read::json(http);
    let error = &body["error"];
    if !error.is_object() {
        return foreign(NAME, http, cx.now);
    }
    let words = [text(error, "/message"), text(error, "/error_data/details")];
    let words = words.into_iter().flatten().collect::<Vec<_>>().join(": ");
    let code = envelope::code(&error["code"]);
    let known = match (code, envelope::code(&error["error_subcode"])) {
        (Some(100), Some(NO_OBJECT)) => Some(Failure::new(
            Account,
            "100",
            "Meta does not know the phone number id, or the access token may not use it. Update the account.",
        )),
        (Some(code), _) => codes::known(code),
        (None, _) => None,
    };
    let mut failure = known.unwrap_or_else(|| by_status(http.status, error, code)).with_provider_detail(words);
    match code {
        Some(131_056) => failure.retry_after_ms = Some(PAIR_STEP_MS << (2 * attempt.clamp(1, PAIR_TRIES_MAX))),
        _ if failure.kind == Throttled => {
            failure.retry_after_ms = http.retry_after_ms(cx.now).or(failure.retry_after_ms)
        }
        _ => {}
    }
    failure
}

/// A code we do not know, in Meta's own form: nothing was accepted.
fn by_status(status: u16, error: &Value, code: Option<u32>) -> Failure {
    let (kind, says) = match status {
        429 => (Throttled, "Too many calls to Meta."),
        _ if error["is_transient"] == Value::Bool(true) => (Unavailable, "Meta failed for a while."),
        401 => (Account, "Meta refused the access token. Update the account with a new one."),
        500..=599 => (Unavailable, "Meta failed inside and did not take the message."),
        _ => (Content, "Meta refused the message."),
    };
    Failure::new(kind, code.map_or_else(|| format!("http_{status}"), |code| code.to_string()), says)
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{Timestamp, Values};

    fn failure(attempt: u32, status: u16, body: &str) -> Failure {
        let settings = Values::default();
        let cx =
            Cx { settings: &settings, from: None, base_url: None, callback_url: "", now: Timestamp::EPOCH, nonce: 0 };
        let http = HttpAnswer { status, body: body.to_owned().into(), ..HttpAnswer::default() };
        refusal(&cx, attempt, &http)
    }

    #[test]
    fn the_code_decides_and_then_the_status() {
        for (status, body, kind) in [
            (400, r#"{"error":{"code":131026}}"#, FailureKind::Recipient),
            (500, r#"{"error":{"code":3}}"#, Account),
            (400, r#"{"error":{"code":"131047"}}"#, Content),
            (400, r#"{"error":{"code":100}}"#, Content),
            (400, r#"{"error":{"code":100,"error_subcode":33}}"#, Account),
            (400, r#"{"error":{"code":200}}"#, Account),
            (400, r#"{"error":{"code":999999}}"#, Content),
            (401, r#"{"error":{"code":999999}}"#, Account),
            (429, r#"{"error":{"code":999999}}"#, Throttled),
            (500, r#"{"error":{"code":999999}}"#, Unavailable),
            (400, r#"{"error":{"code":999999,"is_transient":true}}"#, Unavailable),
            (400, r#"{"error":{}}"#, Content),
            (200, r#"{"error":{"code":131000}}"#, Unavailable),
            (200, "{}", Unknown),
            (200, "", Unknown),
            (302, "", Unknown),
            (403, "<html>", Unavailable),
            (408, "", Unknown),
            (429, "", Throttled),
            (500, "<html>", Unknown),
            (502, "", Unknown),
        ] {
            assert_eq!(failure(1, status, body).kind, kind, "{status} {body}");
        }
    }

    #[test]
    fn one_recipient_waits_longer_each_time() {
        let wait = |attempt| failure(attempt, 400, r#"{"error":{"code":131056}}"#).retry_after_ms;
        assert_eq!((wait(1), wait(2), wait(3)), (Some(4_000), Some(16_000), Some(64_000)));
        assert_eq!(wait(99), wait(6));
    }
}
