//! What Mailgun's errors mean. It has no codes: status and words decide, and a request is refused as a whole.
//! <https://documentation.mailgun.com/docs/mailgun/api-reference/send/mailgun/messages/post-v3--domain-name--messages>

use model::{Failure, FailureKind, HttpAnswer, Timestamp};

use super::NAME;
use crate::{
    Cx,
    email::{self, Rule, Said, rule},
};

use FailureKind::{Account, Content, Recipient, Throttled, Unknown};

const ADDRESS: &str = "Mailgun refused the recipient's address.";
const FROM: &str = "Mailgun refused the sender's address. Update the account's sender.";
const CONTENT: &str = "Mailgun refused the content of the mail.";
const NOT_ALLOWED: &str = "The domain may not send: it is not verified, a sandbox, or the Mailgun account is not activated. Look into Mailgun.";
const KEY: &str = "Mailgun refused the API key. Update the account's key.";
const FORBIDDEN: &str = "Mailgun does not allow this to the account. Look into Mailgun.";
const DOMAIN: &str = "Mailgun does not know the domain in this region. Check the domain and the region.";
const SIZE: &str = "The mail is larger than the 25 MB Mailgun takes.";
const TOO_FAST: &str = "Mailgun takes no more mails for now: a limit of the account is exceeded.";
const LOST: &str = "Mailgun failed and did not say whether it took the mail.";

/// The wait when Mailgun names none, in milliseconds: its shortest limits count by the minute.
const WAIT_MS: u64 = 60_000;
/// Longest wait that is believed, in milliseconds: a day, as for `Retry-After`.
const WAIT_MAX_MS: u64 = 86_400_000;

const RULES: &[Rule] = &[
    rule(Throttled, TOO_FAST).statuses(&[429]).wait_ms(WAIT_MS),
    rule(Throttled, TOO_FAST).statuses(&[400, 403]).says(&["limit exceeded"]).wait_ms(WAIT_MS),
    rule(Account, NOT_ALLOWED).statuses(&[400]).says(&["not allowed to send", "activate", "free accounts", "sandbox"]),
    rule(Account, FROM).statuses(&[400]).says(&["from parameter", "'from'"]),
    rule(Recipient, ADDRESS)
        .statuses(&[400])
        .says(&["to parameter is not a valid address", "'to' parameter is not a valid"]),
    rule(Content, CONTENT).statuses(&[400]),
    rule(Account, KEY).statuses(&[401]),
    rule(Account, FORBIDDEN).statuses(&[402, 403]),
    rule(Account, DOMAIN).statuses(&[404]),
    rule(Content, SIZE).statuses(&[413]),
    rule(Unknown, LOST).statuses(&[500, 502, 503, 504]),
];

/// What an answer other than 200 means.
pub(super) fn failure(cx: &Cx<'_>, http: &HttpAnswer) -> Failure {
    let words = words(http);
    let mut said = Said::new(http, cx.now, "", &words);
    said.wait_ms =
        said.wait_ms.or_else(|| wait_ms(cx, &words)).or_else(|| email::until(cx, http.header("x-ratelimit-reset")?));
    email::refusal(NAME, RULES, &said)
}

/// For a request that did not reach Mailgun's API.
pub(super) fn elsewhere(http: &HttpAnswer) -> Failure {
    let detail = "Mailgun does not know the address of the request. Check the domain and any base URL.";
    Failure::new(Account, "not_found", detail).with_provider_detail(http.text())
}

/// Some errors are JSON with one of two names, some are plain text.
fn words(http: &HttpAnswer) -> String {
    let body = email::json(http);
    match email::text(&body, "/message").or_else(|| email::text(&body, "/Reason")) {
        Some(words) => words.to_owned(),
        None => http.text().into_owned(),
    }
}

/// Reads `try again after 120 seconds` and `try again after Tue, 24 Nov 2026 10:00:00 UTC`.
fn wait_ms(cx: &Cx<'_>, words: &str) -> Option<u64> {
    const AFTER: &str = "again after ";
    let rest = words.get(words.to_lowercase().find(AFTER)? + AFTER.len()..)?.trim();
    let first = rest.split_whitespace().next()?;
    let wait_ms = match first.parse::<u64>() {
        Ok(seconds) => seconds.saturating_mul(1000),
        Err(_) => {
            let date = rest.trim_end_matches(['.', ',']).replace("UTC", "GMT");
            let at: Timestamp = jiff::fmt::rfc2822::parse(&date).ok()?.timestamp().into();
            u64::try_from(at.millis_since(cx.now)).ok()?
        }
    };
    Some(wait_ms.min(WAIT_MAX_MS))
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Values;

    fn read(status: u16, headers: &[(&str, &str)], body: &str) -> Failure {
        let settings = Values::default();
        let now = "2026-11-21T09:30:00Z".parse().unwrap();
        let cx = Cx { settings: &settings, from: None, base_url: None, callback_url: "", now, nonce: 0 };
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        failure(&cx, &HttpAnswer { status, headers, body: body.to_owned().into(), is_truncated: false })
    }

    #[test]
    fn every_row_of_the_table() {
        for (status, message, wanted) in [
            (400, "to parameter is not a valid address. please check documentation", Recipient),
            (400, "'to' parameter is not a valid address. please check documentation", Recipient),
            (400, "from parameter is missing", Account),
            (400, "'from' parameter is not a valid address. please check documentation", Account),
            (400, "Need at least one of 'text' or 'html' parameters specified", Content),
            (400, "Send options (parameters starting with o:, h:, or v:) are limited to 16 kB total", Content),
            (400, "Too many recipients", Content),
            (
                400,
                "Domain mg.acme.example is not allowed to send: The domain is unverified and requires DNS configuration.",
                Account,
            ),
            (
                400,
                "Domain sandbox123.mailgun.org is not allowed to send: Sandbox subdomains are for test purposes only.",
                Account,
            ),
            (400, "Domain is not allowed to send: Free accounts are for test purposes only.", Account),
            (400, "Please activate your Mailgun account.", Account),
            (401, "Forbidden", Account),
            (401, "Invalid private key", Account),
            (402, "Payment required", Account),
            (403, "Domain mg.acme.example is not allowed to send large batches yet", Account),
            (403, "IP 203.0.113.7 can't be used", Account),
            (404, "Domain not found: mg.acme.example", Account),
            (413, "Request too large", Content),
            (
                429,
                "Domain mg.acme.example is not allowed to send: request limit exceeded, try again after 120 seconds",
                Throttled,
            ),
            (
                400,
                "Domain mg.acme.example is not allowed to send: recipient limit exceeded, try again after 120 seconds",
                Throttled,
            ),
            (500, "Internal Server Error", Unknown),
            (502, "", Unknown),
            (503, "", Unknown),
            (504, "", Unknown),
        ] {
            for body in [
                serde_json::json!({ "message": message }).to_string(),
                serde_json::json!({ "Reason": message }).to_string(),
                message.to_owned(),
            ] {
                let failure = read(status, &[], &body);
                assert_eq!((failure.kind, failure.code), (wanted, status.to_string()), "{status} {body}");
            }
            assert_eq!(read(status, &[], message).provider_detail.unwrap_or_default(), message);
        }
    }

    #[test]
    fn throttling_carries_its_wait() {
        let wait = |headers: &[(&str, &str)], words: &str| read(429, headers, words).retry_after_ms;
        assert_eq!(wait(&[], "limit exceeded, try again after 120 seconds"), Some(120_000));
        assert_eq!(wait(&[], "limit exceeded, try again after Sat, 21 Nov 2026 09:31:00 UTC"), Some(60_000));
        assert_eq!(wait(&[], "limit exceeded, try again after Sat, 21 Nov 2026 09:31:00 GMT."), Some(60_000));
        assert_eq!(wait(&[], "limit exceeded, try again after 99999999999999999999"), Some(WAIT_MS));
        assert_eq!(wait(&[], "limit exceeded, try again after 9999999999999999"), Some(WAIT_MAX_MS));
        assert_eq!(wait(&[("x-ratelimit-reset", "1795253430")], "limit exceeded"), Some(30_000));
        assert_eq!(wait(&[("retry-after", "7")], "try again after 120 seconds"), Some(7_000));
        assert_eq!(wait(&[], "limit exceeded"), Some(WAIT_MS));
    }
}
