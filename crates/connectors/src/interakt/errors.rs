//! What Interakt's refusals mean, by the HTTP status and the words, which are not documented beyond a few.

use model::{Failure, FailureKind, HttpAnswer};
use serde_json::Value;

use super::NAME;
use crate::{
    Cx,
    read::text,
    refusals::{Rule, Said, foreign, refusal, rule},
};

use FailureKind::{Account, Content, Recipient, Throttled, Unavailable, Unknown};

const BALANCE: &str = "The balance at Interakt is used up. Top it up.";
/// Interakt counts requests by the minute, in milliseconds.
const MINUTE_MS: i64 = 60_000;

const RULES: &[Rule] = &[
    rule(Throttled, "More requests in this minute than the plan at Interakt allows.").statuses(&[429]),
    rule(Account, "Interakt refused the secret key, or the plan has no API. Update the account's key, or the plan.")
        .statuses(&[401, 403]),
    rule(Account, BALANCE).statuses(&[402]),
    rule(Account, BALANCE).statuses(&[200, 201, 202, 400]).says(&["balance", "insufficient credit"]),
    rule(Recipient, "Interakt refused the recipient's number.").statuses(&[200, 201, 202, 400]).says(&[
        "phone number",
        "phonenumber",
        "country code",
        "countrycode",
    ]),
    rule(Unknown, "The connection to Interakt ran out of time after the request left.").statuses(&[408]),
    rule(Unavailable, "Interakt failed inside and did not take the message.").statuses(&[500, 501, 502, 503, 504]),
    rule(Content, "Interakt refused the message: the template, its values, or no open window of 24 hours."),
];

/// The failure behind an answer that took nothing, or says nothing.
pub(super) fn refused(cx: &Cx<'_>, http: &HttpAnswer, body: &Value) -> Failure {
    let is_taken = (200..=299).contains(&http.status) && body["result"] != Value::Bool(false);
    let words = match (text(body, "/message"), body["result"].as_bool()) {
        _ if is_taken => return foreign(NAME, http, cx.now),
        (Some(words), _) => words.to_owned(),
        (None, Some(_)) => http.text().into_owned(),
        (None, None) => return foreign(NAME, http, cx.now),
    };
    let mut said = Said::new(http, cx.now, "", &words);
    if http.status == 429 && said.wait_ms.is_none() {
        said.wait_ms = u64::try_from(MINUTE_MS - cx.now.as_millis().rem_euclid(MINUTE_MS)).ok();
    }
    refusal(NAME, RULES, &said)
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{Timestamp, Values};

    fn failure(status: u16, body: &str) -> Failure {
        let settings = Values::default();
        let now = Timestamp::from_seconds(1_795_253_410);
        let cx = Cx { settings: &settings, from: None, base_url: None, callback_url: "", now, nonce: 0 };
        let http = HttpAnswer { status, body: body.to_owned().into(), ..HttpAnswer::default() };
        refused(&cx, &http, &crate::read::json(&http))
    }

    #[test]
    fn statuses_and_words() {
        for (status, body, kind) in [
            (400, r#"{"result":false,"message":"Template does not exist"}"#, Content),
            (400, r#"{"result":false,"message":"Body values mismatch"}"#, Content),
            (400, r#"{"result":false,"message":"No active session window"}"#, Content),
            (400, r#"{"result":false,"message":"Phone number is invalid"}"#, Recipient),
            (400, r#"{"result":false,"message":"countryCode missing"}"#, Recipient),
            (400, r#"{"result":false,"message":"Insufficient wallet balance"}"#, Account),
            (400, r#"{"result":false}"#, Content),
            (401, r#"{"result":false,"message":"Unauthorized"}"#, Account),
            (403, r#"{"result":false,"message":"Plan"}"#, Account),
            (402, r#"{"result":false,"message":"Pay"}"#, Account),
            (429, r#"{"message":"Rate limit exceeded for this resource"}"#, Throttled),
            (500, r#"{"result":false,"message":"Server error"}"#, Unavailable),
            (502, r#"{"message":"Bad gateway"}"#, Unavailable),
            (200, r#"{"result":false,"message":"Template does not exist"}"#, Content),
            (201, r#"{"result":true,"message":"Message queued"}"#, Unknown),
            (201, r#"{"message":"phone number"}"#, Unknown),
            (201, "", Unknown),
            (302, "", Unknown),
            (403, "<html>", Unavailable),
            (429, "", Throttled),
            (502, "<html>", Unknown),
            (504, "", Unknown),
        ] {
            assert_eq!(failure(status, body).kind, kind, "{status} {body}");
        }
    }

    #[test]
    fn a_full_minute_ends_with_the_clock() {
        assert_eq!(failure(429, r#"{"message":"Rate limit exceeded"}"#).retry_after_ms, Some(50_000));
    }
}
