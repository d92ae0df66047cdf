//! What Resend's errors mean: their name tells more than their status.
//! <https://resend.com/docs/api-reference/errors>

use model::{Failure, FailureKind, HttpAnswer};
use serde_json::Value;

use super::NAME;
use crate::{
    Cx,
    email::{self, Rule, Said, rule},
};

use FailureKind::{Account, Content, Recipient, Throttled, Unavailable, Unknown};

const QUOTA: &str = "The Resend account has used up its quota. Upgrade the plan or wait for the next day or month.";
const TOO_FAST: &str = "Resend takes no more requests for now.";
const KEY: &str = "Resend refused the API key. Update the account's key.";
const RIGHTS: &str = "The API key may not do this. Give it sending access, for this sender's domain.";
const TESTING: &str =
    "Without a verified domain Resend sends only to the account's own address. Verify a domain in Resend.";
const DOMAIN: &str = "Resend knows the sender's domain as not verified. Verify it in Resend.";
const FROM: &str = "Resend refused the sender's address. Update the account's sender.";
const ADDRESS: &str = "Resend refused the recipient's address.";
const CONTENT: &str = "Resend refused the content of the mail.";
const SECURITY: &str = "Resend found something dangerous in the mail.";
const ELSEWHERE: &str =
    "Resend does not know the address of the request, or the region. Check the account and any base URL.";
const BAD_KEY: &str = "Resend refused the idempotency key.";
const KEY_USED: &str = "Resend has had another request under this idempotency key: the mail may have been sent.";
const UNDER_WAY: &str = "Resend is still busy with the same request; it is tried again.";
const LOST: &str = "Resend failed and did not say whether it took the mail.";

/// The wait when Resend names none, in milliseconds: it counts by the second.
const WAIT_MS: u64 = 1_000;
/// The wait when a day's or month's quota is used up, in milliseconds. Once an hour is often enough to ask.
const QUOTA_MS: u64 = 3_600_000;
/// The wait while the same request is under way, in milliseconds.
const UNDER_WAY_MS: u64 = 10_000;

const QUOTA_CODES: &[&str] = &["daily_quota_exceeded", "monthly_quota_exceeded"];
const CONCURRENT: &str = "concurrent_idempotent_requests";
/// What one message of a batch is refused with.
const INVALID: &str = "validation_error";

const RULES: &[Rule] = &[
    rule(Throttled, QUOTA).codes(QUOTA_CODES).wait_ms(QUOTA_MS),
    rule(Throttled, TOO_FAST).codes(&["rate_limit_exceeded"]).wait_ms(WAIT_MS),
    rule(Throttled, TOO_FAST).statuses(&[429]).wait_ms(WAIT_MS),
    rule(Account, KEY).codes(&["missing_api_key", "invalid_api_key"]),
    rule(Account, RIGHTS).codes(&["restricted_api_key"]),
    rule(Account, TESTING).codes(&[INVALID]).says(&["testing emails"]),
    rule(Account, DOMAIN).codes(&[INVALID]).says(&["not verified"]),
    rule(Account, DOMAIN).statuses(&[403]).codes(&[INVALID]),
    rule(Account, FROM).codes(&["invalid_from_address"]),
    rule(Account, FROM).codes(&[INVALID, "invalid_parameter", "missing_required_field"]).says(&["`from`"]),
    rule(Recipient, ADDRESS).codes(&[INVALID, "invalid_parameter", "missing_required_field"]).says(&["`to`"]),
    rule(Content, CONTENT).codes(&[INVALID, "invalid_parameter", "missing_required_field", "invalid_attachment"]),
    rule(Account, ELSEWHERE).codes(&["invalid_access", "invalid_region", "not_found", "method_not_allowed"]),
    rule(Account, BAD_KEY).codes(&["invalid_idempotency_key"]),
    rule(Unknown, KEY_USED).codes(&["invalid_idempotent_request"]),
    rule(Unavailable, UNDER_WAY).codes(&[CONCURRENT]).wait_ms(UNDER_WAY_MS),
    rule(Content, SECURITY).codes(&["security_error"]),
    rule(Unknown, LOST).statuses(&[500, 502, 503, 504]),
];

/// What an answer other than a success means.
pub(super) fn failure(cx: &Cx<'_>, http: &HttpAnswer) -> Failure {
    let body = email::json(http);
    let words = match email::text(&body, "/message") {
        Some(words) => words.to_owned(),
        None => http.text().into_owned(),
    };
    let code = email::text(&body, "/name").unwrap_or_default();
    let mut said = Said::new(http, cx.now, code, &words);
    // The headers speak of the seconds' limit, which is none here.
    said.wait_ms = if QUOTA_CODES.contains(&code) { None } else { said.wait_ms.or_else(|| reset_ms(http)) };
    email::refusal(NAME, RULES, &said)
}

/// What is said of one message of a batch that was taken otherwise.
pub(super) fn of_one(cx: &Cx<'_>, error: &Value) -> Failure {
    let http = HttpAnswer { status: 422, ..HttpAnswer::default() };
    let words = email::text(error, "/message").unwrap_or_default();
    email::refusal(NAME, RULES, &Said::new(&http, cx.now, INVALID, words))
}

/// A batch is not repeated as it was, so a request that is still under way cannot be asked for its answer.
pub(super) fn of_batch(failure: Failure) -> Failure {
    match failure.code == CONCURRENT {
        true => Failure { kind: Unknown, detail: LOST.to_owned(), retry_after_ms: None, ..failure },
        false => failure,
    }
}

/// `ratelimit-reset` counts the seconds that are left.
fn reset_ms(http: &HttpAnswer) -> Option<u64> {
    http.header("ratelimit-reset")?.trim().parse::<u64>().ok()?.checked_mul(1000).filter(|wait_ms| *wait_ms <= QUOTA_MS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{Timestamp, Values};

    fn read(status: u16, headers: &[(&str, &str)], body: &str) -> Failure {
        let settings = Values::default();
        let now = Timestamp::EPOCH;
        let cx = Cx { settings: &settings, from: None, base_url: None, callback_url: "", now, nonce: 0 };
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        failure(&cx, &HttpAnswer { status, headers, body: body.to_owned().into(), is_truncated: false })
    }

    fn body(status: u16, name: &str, message: &str) -> String {
        serde_json::json!({ "statusCode": status, "name": name, "message": message }).to_string()
    }

    #[test]
    fn every_row_of_the_table() {
        for (status, name, message, wanted) in [
            (401, "missing_api_key", "Missing API key", Account),
            (401, "restricted_api_key", "This API key is restricted to only send emails", Account),
            (403, "invalid_api_key", "API key is invalid", Account),
            (403, INVALID, "You can only send testing emails to your own email address (ada@example.com).", Account),
            (403, INVALID, "The acme.example domain is not verified.", Account),
            (403, INVALID, "Something else", Account),
            (400, INVALID, "We found an error with one or more fields in the request.", Content),
            (
                422,
                INVALID,
                "Invalid `to` field. The email address needs to follow the `email@example.com` format.",
                Recipient,
            ),
            (422, INVALID, "Invalid `from` field.", Account),
            (422, INVALID, "Invalid `subject` field.", Content),
            (422, "invalid_from_address", "Invalid from field.", Account),
            (422, "missing_required_field", "Missing `to` field.", Recipient),
            (422, "missing_required_field", "The request body is missing one or more required fields.", Content),
            (422, "invalid_attachment", "Attachment must have either a `content` or `path`.", Content),
            (422, "invalid_parameter", "The parameter must be a valid UUID.", Content),
            (422, "invalid_access", "Access must be full_access or sending_access.", Account),
            (422, "invalid_region", "Region must be us-east-1.", Account),
            (404, "not_found", "The requested endpoint does not exist.", Account),
            (405, "method_not_allowed", "Method is not allowed.", Account),
            (400, "invalid_idempotency_key", "The key must be between 1-256 chars.", Account),
            (409, "invalid_idempotent_request", "Same idempotency key used with a different request payload.", Unknown),
            (409, CONCURRENT, "Same idempotency key used while original request is still in progress.", Unavailable),
            (429, "rate_limit_exceeded", "Too many requests.", Throttled),
            (429, "daily_quota_exceeded", "You have reached your daily email quota.", Throttled),
            (429, "monthly_quota_exceeded", "You have reached your monthly email quota.", Throttled),
            (429, "newest", "", Throttled),
            (451, "security_error", "We may have found a security issue with the request.", Content),
            (500, "application_error", "An unexpected error occurred.", Unknown),
            (500, "internal_server_error", "An unexpected error occurred.", Unknown),
            (503, "", "", Unknown),
        ] {
            let failure = read(status, &[], &body(status, name, message));
            let code = if name.is_empty() { status.to_string() } else { name.to_owned() };
            assert_eq!((failure.kind, failure.code), (wanted, code), "{status} {name} {message}");
            if !message.is_empty() {
                assert_eq!(failure.provider_detail.as_deref(), Some(message));
            }
        }
        assert_eq!(read(502, &[], "<html>").kind, Unknown);
    }

    #[test]
    fn throttling_carries_its_wait() {
        let wait = |name: &str, headers: &[(&str, &str)]| read(429, headers, &body(429, name, "")).retry_after_ms;
        assert_eq!(wait("rate_limit_exceeded", &[]), Some(WAIT_MS));
        assert_eq!(wait("rate_limit_exceeded", &[("ratelimit-reset", "3")]), Some(3_000));
        assert_eq!(wait("rate_limit_exceeded", &[("retry-after", "2"), ("ratelimit-reset", "3")]), Some(2_000));
        assert_eq!(wait("rate_limit_exceeded", &[("ratelimit-reset", "18446744073709551615")]), Some(WAIT_MS));
        assert_eq!(wait("daily_quota_exceeded", &[("retry-after", "1")]), Some(QUOTA_MS));
        assert_eq!(wait("monthly_quota_exceeded", &[]), Some(QUOTA_MS));
    }
}
