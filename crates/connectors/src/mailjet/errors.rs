//! What Mailjet's errors mean: of a whole request, and of one message in it.
//! <https://dev.mailjet.com/email/guides/send-api-v31/#send-api-errors>

use model::{Failure, FailureKind, HttpAnswer};
use serde_json::Value;

use super::NAME;
use crate::{
    Cx,
    email::{self, Rule, Said, rule},
};

use FailureKind::{Account, Content, Recipient, Throttled, Unknown};

const ADDRESS: &str = "Mailjet refused the recipient's address.";
const FROM: &str = "Mailjet refused the sender's address. Update the account's sender.";
const CONTENT: &str = "Mailjet refused the content of the mail.";
const KEY: &str = "Mailjet refused the API key and secret key. Update the account's keys.";
const SUSPENDED: &str = "Mailjet has suspended the API key. Ask Mailjet's support.";
const SENDER: &str = "Mailjet knows the sender as not verified. Verify the address or its domain in Mailjet.";
const TEMPLATE: &str = "The Mailjet account may not do this. Look into Mailjet.";
const TOO_FAST: &str = "Mailjet takes no more requests for now.";
const LOST: &str = "Mailjet failed and did not say whether it took the mail.";

/// The wait when Mailjet names none, in milliseconds: its limits count by the second and by the minute.
const WAIT_MS: u64 = 5_000;

const RULES: &[Rule] = &[
    rule(Throttled, TOO_FAST).statuses(&[429]).wait_ms(WAIT_MS),
    rule(Account, SUSPENDED).codes(&["mj-0001"]),
    rule(Account, KEY).codes(&["mj-0015"]),
    rule(Account, SENDER).codes(&["send-0006", "send-0007", "send-0008"]),
    rule(Account, TEMPLATE).codes(&["send-0010", "send-0013"]),
    rule(Content, CONTENT).codes(&[
        "mj-0002",
        "mj-0003",
        "mj-0004",
        "mj-0005",
        "mj-0006",
        "mj-0007",
        "mj-0008",
        "mj-0011",
        "mj-0012",
        "mj-0013",
        "send-0003",
        "send-0004",
        "send-0011",
        "send-0012",
        "send-0015",
        "send-0016",
    ]),
    rule(Account, KEY).statuses(&[401]),
    rule(Account, SENDER).statuses(&[403]),
    rule(Unknown, LOST).statuses(&[500, 502, 503, 504]),
];

/// An address that is none, by the property it stands in.
const ADDRESSES: &[(&str, FailureKind, &str)] =
    &[("To", Recipient, ADDRESS), ("From", Account, FROM), ("Sender", Account, FROM)];
/// The code of such an address.
const BAD_ADDRESS: &str = "mj-0013";

/// What an answer means that speaks of no message.
pub(super) fn whole(cx: &Cx<'_>, http: &HttpAnswer) -> Failure {
    let body = email::json(http);
    let words = match email::text(&body, "/ErrorMessage") {
        Some(words) => words.to_owned(),
        None => http.text().into_owned(),
    };
    let code = email::text(&body, "/ErrorCode").unwrap_or_default();
    email::refusal(NAME, RULES, &Said::new(http, cx.now, code, &words))
}

/// What the errors of one message mean: its first, since it is refused already.
pub(super) fn single(cx: &Cx<'_>, entry: &Value) -> Failure {
    let error = entry.pointer("/Errors/0").unwrap_or(&Value::Null);
    let code = email::text(error, "/ErrorCode").unwrap_or_default();
    let words = email::text(error, "/ErrorMessage").unwrap_or_default();
    if code == BAD_ADDRESS
        && let Some((kind, detail)) = address(error)
    {
        return Failure::new(kind, code, detail).with_provider_detail(words);
    }
    // An entry says `error` without one: the mail was refused, whatever else.
    let status =
        error.get("StatusCode").and_then(Value::as_u64).and_then(|status| u16::try_from(status).ok()).unwrap_or(400);
    let http = HttpAnswer { status, ..HttpAnswer::default() };
    email::refusal(NAME, RULES, &Said::new(&http, cx.now, code, words))
}

fn address(error: &Value) -> Option<(FailureKind, &'static str)> {
    let related = error.get("ErrorRelatedTo").and_then(Value::as_array)?;
    // Such as `To` or `To[0].Email`.
    let is_about =
        |name: &str, field: &Value| field.as_str().and_then(|field| field.split(['[', '.']).next()) == Some(name);
    let found = ADDRESSES.iter().find(|(name, _, _)| related.iter().any(|field| is_about(name, field)));
    found.map(|(_, kind, detail)| (*kind, *detail))
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{Timestamp, Values};
    use serde_json::json;

    fn with_cx<T>(run: impl FnOnce(&Cx<'_>) -> T) -> T {
        let settings = Values::default();
        let now = Timestamp::EPOCH;
        run(&Cx { settings: &settings, from: None, base_url: None, callback_url: "", now, nonce: 0 })
    }

    fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> HttpAnswer {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        HttpAnswer { status, headers, body: body.to_owned().into(), is_truncated: false }
    }

    #[test]
    fn every_row_of_the_table() {
        for (code, status, wanted) in [
            ("mj-0001", 401, Account),
            ("mj-0002", 400, Content),
            ("mj-0003", 400, Content),
            ("mj-0004", 400, Content),
            ("mj-0005", 400, Content),
            ("mj-0006", 400, Content),
            ("mj-0007", 400, Content),
            ("mj-0008", 400, Content),
            ("mj-0011", 400, Content),
            ("mj-0012", 400, Content),
            ("mj-0013", 400, Content),
            ("mj-0015", 401, Account),
            ("send-0003", 400, Content),
            ("send-0004", 400, Content),
            ("send-0006", 403, Account),
            ("send-0007", 403, Account),
            ("send-0008", 403, Account),
            ("send-0010", 400, Account),
            ("send-0011", 400, Content),
            ("send-0012", 400, Content),
            ("send-0013", 400, Account),
            ("send-0015", 400, Content),
            ("send-0016", 400, Content),
            ("newest", 400, Content),
            ("", 401, Account),
            ("", 403, Account),
            ("", 429, Throttled),
            ("", 500, Unknown),
            ("", 502, Unknown),
            ("", 503, Unknown),
            ("", 504, Unknown),
        ] {
            let error =
                json!({ "ErrorIdentifier": "f1", "ErrorCode": code, "StatusCode": status, "ErrorMessage": "no" });
            let one = with_cx(|cx| single(cx, &json!({ "Status": "error", "Errors": [error] })));
            let all = with_cx(|cx| whole(cx, &answer(status, &[], &error.to_string())));
            for failure in [one, all] {
                let shown = if code.is_empty() { status.to_string() } else { code.to_owned() };
                assert_eq!((failure.kind, failure.code), (wanted, shown), "{code} {status}");
                assert_eq!(failure.provider_detail.as_deref(), Some("no"));
            }
        }
    }

    #[test]
    fn bad_addresses_are_told_apart() {
        for (related, wanted) in [
            (json!(["To"]), Recipient),
            (json!(["To[0].Email"]), Recipient),
            (json!(["From"]), Account),
            (json!(["From.Email", "Sender"]), Account),
            (json!(["ReplyTo"]), Content),
            (json!([]), Content),
        ] {
            let error = json!({ "ErrorCode": "mj-0013", "StatusCode": 400, "ErrorRelatedTo": related });
            let failure = with_cx(|cx| single(cx, &json!({ "Errors": [error] })));
            assert_eq!((failure.kind, failure.code.as_str()), (wanted, "mj-0013"), "{related}");
        }
    }

    #[test]
    fn throttling_carries_its_wait() {
        let wait = |headers: &[(&str, &str)]| with_cx(|cx| whole(cx, &answer(429, headers, "{}"))).retry_after_ms;
        assert_eq!(wait(&[]), Some(WAIT_MS));
        assert_eq!(wait(&[("retry-after", "30")]), Some(30_000));
    }

    #[test]
    fn an_error_without_reasons_is_still_a_refusal() {
        assert_eq!(with_cx(|cx| single(cx, &json!({ "Status": "error" }))).kind, Content);
    }
}
