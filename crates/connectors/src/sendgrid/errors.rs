//! What SendGrid's errors mean. It refuses a request as a whole: nothing was sent to anybody.
//! <https://www.twilio.com/docs/sendgrid/api-reference/mail-send/errors>

use std::collections::BTreeMap;

use model::{Failure, FailureKind, HttpAnswer};
use serde_json::Value;

use super::NAME;
use crate::{
    Cx, Outcome,
    email::{self, Rule, Said, rule},
};

use FailureKind::{Account, Content, Recipient, Throttled, Unknown};

const KEY: &str = "SendGrid refused the API key. Update the account's key.";
const CREDITS: &str = "The SendGrid account has used up its credits. Upgrade the plan or wait for the next period.";
const SENDER: &str = "SendGrid knows the sender as no verified identity. Verify the sender or authenticate its domain.";
const RIGHTS: &str = "SendGrid refused the request for lack of rights. Give the API key the scope mail.send.";
const FROM: &str = "SendGrid refused the sender's address. Update the account's sender.";
const ADDRESS: &str = "SendGrid refused the recipient's address.";
const CONTENT: &str = "SendGrid refused the content of the mail.";
const SIZE: &str = "The mail is larger than the 30 MB SendGrid takes.";
const TOO_FAST: &str = "SendGrid takes no more requests for now.";
const ELSEWHERE: &str = "SendGrid does not know the address of the request. Check the region and any base URL.";
const LOST: &str = "SendGrid failed and did not say whether it took the mail.";

/// The wait when SendGrid names none, in milliseconds: its limits count by the second or minute.
const WAIT_MS: u64 = 1_000;

/// The code is the field a 400 complains about, without indices.
const RULES: &[Rule] = &[
    rule(Account, CREDITS).statuses(&[401, 403]).says(&["maximum credits exceeded"]),
    rule(Account, KEY).statuses(&[401]),
    rule(Account, SENDER).statuses(&[403]).says(&["verified sender identity", "from address"]),
    rule(Account, RIGHTS).statuses(&[403]),
    rule(Recipient, ADDRESS).statuses(&[400]).codes(&["personalizations.to", "personalizations.to.email"]),
    rule(Account, FROM).statuses(&[400]).codes(&["from", "from.email", "from.name"]),
    rule(Content, CONTENT).statuses(&[400]),
    rule(Content, SIZE).statuses(&[413]),
    rule(Account, ELSEWHERE).statuses(&[404, 405]),
    rule(Throttled, TOO_FAST).statuses(&[429]).wait_ms(WAIT_MS),
    rule(Unknown, LOST).statuses(&[500, 502, 503, 504]),
];

/// A request that was refused.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Refusal {
    /// What its first error means.
    pub failure: Failure,
    /// What was said of single recipients, by their place in the request.
    of: BTreeMap<usize, Failure>,
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self { failure, of: BTreeMap::new() }
    }
}

impl Refusal {
    /// One outcome per message: those that were complained about fail, the others are tried again.
    pub(super) fn split(self, count: usize) -> Vec<Outcome> {
        if self.of.is_empty() {
            return email::whole(count, self.failure);
        }
        let outcome = |index: usize| {
            Outcome::Refused(self.of.get(&index).cloned().unwrap_or_else(|| email::again(self.failure.clone())))
        };
        (0..count).map(outcome).collect()
    }
}

/// Reads every answer but a success.
pub(super) fn refusal(cx: &Cx<'_>, http: &HttpAnswer) -> Refusal {
    let body = email::json(http);
    let errors = body.get("errors").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let mut of = BTreeMap::new();
    for error in errors {
        if let (Some(index), _) = place(field(error)) {
            of.entry(index).or_insert_with(|| failure(cx, http, error));
        }
    }
    // Another field than the recipients' condemns the whole request, whatever else is wrong.
    let first = errors.iter().find(|error| place(field(error)).0.is_none()).or(errors.first());
    let failure = match first {
        Some(error) => failure(cx, http, error),
        None => failure_of(cx, http, "", &http.text()),
    };
    let is_whole = errors.iter().any(|error| place(field(error)).0.is_none());
    Refusal { failure, of: if is_whole { BTreeMap::new() } else { of } }
}

fn failure(cx: &Cx<'_>, http: &HttpAnswer, error: &Value) -> Failure {
    let words = email::text(error, "/message").unwrap_or_default();
    failure_of(cx, http, &place(field(error)).1, words)
}

fn failure_of(cx: &Cx<'_>, http: &HttpAnswer, field: &str, words: &str) -> Failure {
    let mut said = Said::new(http, cx.now, field, words);
    said.wait_ms = said.wait_ms.or_else(|| email::until(cx, http.header("x-ratelimit-reset")?));
    email::refusal(NAME, RULES, &said)
}

/// The field an error names; the specification allows the text `null` for none.
fn field(error: &Value) -> &str {
    email::text(error, "/field").filter(|field| *field != "null").unwrap_or_default()
}

/// Takes `personalizations.3.to.0.email` apart: the recipient's place and the field without indices.
fn place(field: &str) -> (Option<usize>, String) {
    let field = field.replace(['[', ']'], ".");
    let parts: Vec<&str> = field.split('.').filter(|part| !part.is_empty()).collect();
    let is_index = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    let index = match parts.as_slice() {
        ["personalizations", index, ..] => index.parse().ok(),
        _ => None,
    };
    let names: Vec<&str> = parts.into_iter().filter(|part| !is_index(part)).collect();
    (index, names.join("."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{Timestamp, Values};

    fn read(status: u16, headers: &[(&str, &str)], body: &str) -> Refusal {
        let settings = Values::default();
        let now = Timestamp::from_seconds(1_763_676_000);
        let cx = Cx { settings: &settings, from: None, base_url: None, callback_url: "", now, nonce: 0 };
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        refusal(&cx, &HttpAnswer { status, headers, body: body.to_owned().into(), is_truncated: false })
    }

    #[test]
    fn every_row_of_the_table() {
        for (status, field, message, wanted, code) in [
            (
                400,
                "personalizations.0.to.0.email",
                "Does not contain a valid address.",
                Recipient,
                "personalizations.to.email",
            ),
            (400, "personalizations[0].to", "The to array is required", Recipient, "personalizations.to"),
            (400, "personalizations.0.headers", "Reserved header", Content, "personalizations.headers"),
            (400, "from.email", "The from email does not contain a valid address.", Account, "from.email"),
            (400, "from", "The from object must be provided.", Account, "from"),
            (
                400,
                "content.0.value",
                "The content value must be a string at least one character in length.",
                Content,
                "content.value",
            ),
            (400, "null", "invalid request", Content, "400"),
            (401, "null", "The provided authorization grant is invalid, expired, or revoked", Account, "401"),
            (401, "null", "authorization required", Account, "401"),
            (401, "null", "Maximum credits exceeded", Account, "401"),
            (403, "from", "The from address does not match a verified Sender Identity.", Account, "from"),
            (403, "null", "access forbidden", Account, "403"),
            (404, "null", "not found", Account, "404"),
            (405, "null", "method not allowed", Account, "405"),
            (413, "null", "content too large", Content, "413"),
            (429, "null", "too many requests", Throttled, "429"),
            (500, "null", "internal error", Unknown, "500"),
            (502, "null", "", Unknown, "502"),
            (503, "null", "", Unknown, "503"),
            (504, "null", "", Unknown, "504"),
        ] {
            let body = serde_json::json!({ "errors": [{ "message": message, "field": field, "help": null }] });
            let failure = read(status, &[], &body.to_string()).failure;
            assert_eq!((failure.kind, failure.code.as_str()), (wanted, code), "{status} {field} {message}");
            assert_eq!(failure.provider_detail.unwrap_or_default(), message);
        }
        assert_eq!(read(403, &[], r#"{"errors":[{"message":"Maximum credits exceeded"}]}"#).failure.detail, CREDITS);
    }

    #[test]
    fn throttling_carries_its_wait() {
        let wait = |headers: &[(&str, &str)]| read(429, headers, "{}").failure.retry_after_ms;
        assert_eq!(wait(&[]), Some(WAIT_MS));
        assert_eq!(wait(&[("x-ratelimit-reset", "1763676030")]), Some(30_000));
        assert_eq!(wait(&[("retry-after", "7"), ("x-ratelimit-reset", "1763676030")]), Some(7_000));
    }

    #[test]
    fn texts_that_are_no_json_keep_their_words() {
        let failure = read(502, &[], "<html>Bad gateway</html>").failure;
        assert_eq!((failure.kind, failure.provider_detail.as_deref()), (Unknown, Some("<html>Bad gateway</html>")));
    }

    #[test]
    fn a_bad_recipient_does_not_take_the_others_along() {
        let kinds = |refusal: Refusal| {
            let kind = |outcome| match outcome {
                Outcome::Refused(failure) => failure.kind,
                Outcome::Accepted(_) => unreachable!("the request was refused"),
            };
            refusal.split(3).into_iter().map(kind).collect::<Vec<_>>()
        };
        let of = |fields: &[&str]| {
            let errors: Vec<_> = fields.iter().map(|f| serde_json::json!({ "message": "bad", "field": f })).collect();
            read(400, &[], &serde_json::json!({ "errors": errors }).to_string())
        };
        let again = FailureKind::Unavailable;
        assert_eq!(kinds(of(&["personalizations.1.to.0.email"])), [again, Recipient, again]);
        assert_eq!(kinds(of(&["personalizations.1.to", "personalizations.2.headers"])), [again, Recipient, Content]);
        assert_eq!(kinds(of(&["personalizations.1.to", "content"])), [again, again, again]);
        assert_eq!(kinds(of(&["from.email"])), [Account, Account, Account]);
        assert_eq!(kinds(read(429, &[], "")), [Throttled, Throttled, Throttled]);
    }
}
