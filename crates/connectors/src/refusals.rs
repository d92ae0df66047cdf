//! Tables of refusals: what an answer other than success means, by status, the provider's code, and its words.

use model::{Failure, FailureKind, HttpAnswer, Timestamp};

/// One line of a provider's table: the first that fits decides.
#[derive(Debug)]
pub(crate) struct Rule {
    statuses: &'static [u16],
    codes: &'static [&'static str],
    says: &'static [&'static str],
    kind: FailureKind,
    wait_ms: Option<u64>,
    detail: &'static str,
}

/// A rule that fits everything; the methods below narrow it.
pub(crate) const fn rule(kind: FailureKind, detail: &'static str) -> Rule {
    Rule { statuses: &[], codes: &[], says: &[], kind, wait_ms: None, detail }
}

impl Rule {
    /// Only these HTTP statuses.
    pub(crate) const fn statuses(self, statuses: &'static [u16]) -> Self {
        Self { statuses, ..self }
    }

    /// Only these codes of the provider.
    pub(crate) const fn codes(self, codes: &'static [&'static str]) -> Self {
        Self { codes, ..self }
    }

    /// Only when one of these stands in the provider's words; in lower case.
    pub(crate) const fn says(self, says: &'static [&'static str]) -> Self {
        Self { says, ..self }
    }

    /// The wait when the provider names none, in milliseconds.
    pub(crate) const fn wait_ms(self, wait_ms: u64) -> Self {
        Self { wait_ms: Some(wait_ms), ..self }
    }

    fn fits(&self, said: &Said<'_>, words: &str) -> bool {
        (self.statuses.is_empty() || self.statuses.contains(&said.status))
            && (self.codes.is_empty() || self.codes.contains(&said.code))
            && (self.says.is_empty() || self.says.iter().any(|phrase| words.contains(phrase)))
    }
}

/// What a provider said when it refused.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Said<'a> {
    /// HTTP status, of the answer or of one message in it.
    pub status: u16,
    /// Its code; empty for none.
    pub code: &'a str,
    /// Its words.
    pub words: &'a str,
    /// The wait it asked for, in milliseconds.
    pub wait_ms: Option<u64>,
}

impl<'a> Said<'a> {
    /// What a whole answer says, with the wait of its `Retry-After`.
    pub(crate) fn new(http: &HttpAnswer, now: Timestamp, code: &'a str, words: &'a str) -> Self {
        Self { status: http.status, code, words, wait_ms: http.retry_after_ms(now) }
    }
}

/// The failure a table makes of what was said. What no rule fits is judged by the status alone.
pub(crate) fn refusal(provider: &str, rules: &[Rule], said: &Said<'_>) -> Failure {
    let words = said.words.to_lowercase();
    let code = match (said.code, said.status) {
        // A refusal that hides in an answer of success.
        ("", 200..=299) => "refused".to_owned(),
        ("", status) => status.to_string(),
        (code, _) => code.to_owned(),
    };
    let (kind, wait_ms, detail) = match rules.iter().find(|rule| rule.fits(said, &words)) {
        Some(rule) => (rule.kind, rule.wait_ms, rule.detail.to_owned()),
        None => {
            let (kind, problem) = by_status(said.status);
            (kind, None, format!("{provider} {problem}"))
        }
    };
    let wait_ms = match kind {
        FailureKind::Throttled | FailureKind::Unavailable => said.wait_ms.or(wait_ms),
        _ => None,
    };
    Failure::new(kind, code, detail).with_provider_detail(said.words).with_retry_after_ms(wait_ms)
}

/// The failure behind an answer that has not the provider's own form: something between us and the provider spoke, or its edge did, or the answer was
/// cut. A refusal took nothing; anything else leaves open what happened.
pub(crate) fn foreign(provider: &str, http: &HttpAnswer, now: Timestamp) -> Failure {
    use FailureKind::{Account, Throttled, Unavailable, Unknown};
    let (kind, says) = match http.status {
        200..=299 => (
            Unknown,
            format!(
                "{provider} answered with success but without an id, so nobody can say whether it took the message."
            ),
        ),
        401 => (Account, format!("{provider} refused the credentials. Update the account.")),
        408 => (Unknown, format!("The connection to {provider} ran out of time after the request left.")),
        429 => (Throttled, format!("{provider} takes no more messages for now.")),
        400..=499 => (
            Unavailable,
            format!(
                "Something in front of {provider} refused the request. Check the connector's base URL and proxies."
            ),
        ),
        _ => (Unknown, format!("The edge of {provider} failed and did not say whether the message was taken.")),
    };
    let code = match http.status {
        200..=299 => "malformed_answer".to_owned(),
        status => format!("http_{status}"),
    };
    let failure = Failure::new(kind, code, says).with_provider_detail(http.text());
    match kind {
        Throttled => failure.with_retry_after_ms(http.retry_after_ms(now)),
        _ => failure,
    }
}

fn by_status(status: u16) -> (FailureKind, &'static str) {
    match status {
        300..=399 => (FailureKind::Unavailable, "answered with a redirect; nothing was sent."),
        401 | 403 => (FailureKind::Account, "refused the key, or what it may do. Update the account's key."),
        404 | 405 => {
            (FailureKind::Account, "does not know the address of the request. Check the account and any base URL.")
        }
        429 => (FailureKind::Throttled, "takes no more mails for now."),
        400 | 413 | 422 => (FailureKind::Content, "refused the mail."),
        402..=499 => (FailureKind::Unavailable, "did not take the request; it is tried again."),
        _ => (FailureKind::Unknown, "gave no usable answer: nobody can say whether it took the mail."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_rule_that_fits_decides() {
        let rules = [
            rule(FailureKind::Recipient, "a").statuses(&[400]).codes(&["c"]).says(&["to ", "cc"]),
            rule(FailureKind::Throttled, "b").statuses(&[400]).wait_ms(7),
        ];
        let read = |status, code, words, wait_ms| {
            let failure = refusal("Acme", &rules, &Said { status, code, words, wait_ms });
            (failure.kind, failure.code, failure.retry_after_ms)
        };
        assert_eq!(read(400, "c", "The CC is bad", Some(1)), (FailureKind::Recipient, "c".into(), None));
        assert_eq!(read(400, "c", "bad", None), (FailureKind::Throttled, "c".into(), Some(7)));
        assert_eq!(read(400, "", "to x", Some(1)), (FailureKind::Throttled, "400".into(), Some(1)));
        assert_eq!(read(413, "", "", None), (FailureKind::Content, "413".into(), None));
    }

    #[test]
    fn answers_from_elsewhere_blame_nobody() {
        for (status, wanted) in [
            (200, FailureKind::Unknown),
            (202, FailureKind::Unknown),
            (302, FailureKind::Unknown),
            (400, FailureKind::Unavailable),
            (401, FailureKind::Account),
            (403, FailureKind::Unavailable),
            (404, FailureKind::Unavailable),
            (407, FailureKind::Unavailable),
            (408, FailureKind::Unknown),
            (429, FailureKind::Throttled),
            (500, FailureKind::Unknown),
            (504, FailureKind::Unknown),
        ] {
            let http = HttpAnswer { status, ..HttpAnswer::default() };
            assert_eq!(foreign("Acme", &http, Timestamp::EPOCH).kind, wanted, "{status}");
        }
    }

    #[test]
    fn statuses_without_a_rule() {
        for (status, wanted) in [
            (302, FailureKind::Unavailable),
            (400, FailureKind::Content),
            (401, FailureKind::Account),
            (402, FailureKind::Unavailable),
            (403, FailureKind::Account),
            (404, FailureKind::Account),
            (408, FailureKind::Unavailable),
            (413, FailureKind::Content),
            (422, FailureKind::Content),
            (429, FailureKind::Throttled),
            (100, FailureKind::Unknown),
            (500, FailureKind::Unknown),
            (503, FailureKind::Unknown),
        ] {
            let failure = refusal("Acme", &[], &Said { status, code: "", words: "", wait_ms: None });
            assert_eq!(failure.kind, wanted, "{status}");
        }
    }
}
