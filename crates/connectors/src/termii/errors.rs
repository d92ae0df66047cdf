//! What Termii's refusals mean, by the HTTP status and a few words. Their bodies are not documented.

use model::{Failure, FailureKind, HttpAnswer};
use serde_json::Value;

use super::NAME;
use crate::{
    Cx,
    read::text,
    refusals::{Rule, Said, foreign, refusal, rule},
};

use FailureKind::{Account, Content, Throttled, Unavailable, Unknown};

const RULES: &[Rule] = &[
    rule(Throttled, "Termii takes no more requests for now.").statuses(&[429]),
    rule(Unknown, "The connection to Termii ran out of time after the request left.").statuses(&[408]),
    rule(Unavailable, "Termii failed inside and did not take the message.").statuses(&[500, 501, 502, 503, 504]),
    rule(Account, "The balance at Termii is used up. Top it up.").says(&["balance"]),
    rule(Account, "The sender id is not registered, or not active. Change the account's sender.").says(&[
        "sender id",
        "senderid",
        "sender name",
    ]),
    rule(Account, "Termii refused the API key. Update the account's key and base URL.").statuses(&[401, 403, 404]),
    rule(Content, "Termii refused the message."),
];

/// The failure behind an answer that took nothing, or says nothing.
pub(super) fn refused(cx: &Cx<'_>, http: &HttpAnswer, body: &Value) -> Failure {
    let code = text(body, "/code").unwrap_or_default();
    let is_claimed = code.eq_ignore_ascii_case("ok") || code.is_empty();
    match text(body, "/message") {
        // Success, but without its id.
        _ if is_claimed && (200..=299).contains(&http.status) => foreign(NAME, http, cx.now),
        Some(words) => refusal(NAME, RULES, &Said::new(http, cx.now, "", words)),
        None if !code.is_empty() => refusal(NAME, RULES, &Said::new(http, cx.now, "", &http.text())),
        None => foreign(NAME, http, cx.now),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{Timestamp, Values};

    #[test]
    fn statuses_and_words() {
        let settings = Values::default();
        let cx =
            Cx { settings: &settings, from: None, base_url: None, callback_url: "", now: Timestamp::EPOCH, nonce: 0 };
        for (status, body, kind) in [
            (400, r#"{"message":"The to field is required"}"#, Content),
            (400, r#"{"message":"Insufficient balance"}"#, Account),
            (400, r#"{"message":"Sender ID not registered"}"#, Account),
            (401, r#"{"message":"Invalid API key"}"#, Account),
            (404, r#"{"message":"ApplicationSenderId not found"}"#, Account),
            (403, r#"{"message":"Forbidden"}"#, Account),
            (500, r#"{"message":"Cannot read balance"}"#, Unavailable),
            (429, r#"{"message":"Too many"}"#, Throttled),
            (500, r#"{"message":"Server error"}"#, Unavailable),
            (503, r#"{"code":"error"}"#, Unavailable),
            (200, r#"{"code":"error","message":"Insufficient balance"}"#, Account),
            (200, r#"{"code":"ok","message":"Successfully Sent"}"#, Unknown),
            (200, r#"{"message":"Successfully Sent"}"#, Unknown),
            (200, "", Unknown),
            (302, "", Unknown),
            (400, "<html>", Unavailable),
            (408, "", Unknown),
            (429, "", Throttled),
            (502, "<html>", Unknown),
        ] {
            let http = HttpAnswer { status, body: body.to_owned().into(), ..HttpAnswer::default() };
            assert_eq!(refused(&cx, &http, &crate::read::json(&http)).kind, kind, "{status} {body}");
        }
    }
}
