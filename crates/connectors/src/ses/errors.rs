//! What Amazon SES's errors mean.
//! <https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendEmail.html#API_SendEmail_Errors>

use model::{Failure, FailureKind, HttpAnswer, Timestamp};

use crate::aws;

use FailureKind::{Account, Content, Recipient, Throttled};

/// One line of the table: the first that fits decides.
struct Rule {
    /// Error types; empty for any.
    types: &'static [&'static str],
    /// Words of the message in lower case, of which one is there; empty for any.
    says: &'static [&'static str],
    kind: FailureKind,
    wait_ms: Option<u64>,
    detail: &'static str,
}

const fn rule(types: &'static [&'static str], kind: FailureKind, detail: &'static str) -> Rule {
    Rule { types, says: &[], kind, wait_ms: None, detail }
}

impl Rule {
    const fn says(self, says: &'static [&'static str]) -> Self {
        Self { says, ..self }
    }

    const fn wait_ms(self, wait_ms: u64) -> Self {
        Self { wait_ms: Some(wait_ms), ..self }
    }
}

/// The daily quota looks back over 24 hours and frees itself bit by bit: once an hour is often enough to ask.
const QUOTA_MS: u64 = 3_600_000;

const TOO_FAST: &str = "Amazon SES takes no more mails for now: the sending rate is exceeded.";
const QUOTA: &str = "Amazon SES takes no more mails today: the daily quota is exceeded. Ask Amazon for a higher one.";
const CLOCK: &str = "Amazon refused the time of the request. Set this machine's clock.";
const KEYS: &str = "Amazon refused the access key. Update the account's keys.";
const RIGHTS: &str =
    "Amazon refused the request for lack of rights. Allow the key's user ses:SendEmail and ses:GetAccount.";
const VERIFY: &str = "Amazon SES knows the sender (or, in its sandbox, the recipient) as not verified. Verify it, or ask for production access.";
const MAIL_FROM: &str = "The custom MAIL FROM domain is not verified. Publish its DNS records.";
const SUSPENDED: &str =
    "Amazon has suspended or paused sending for this account or configuration set. Look into the SES console.";
const NOT_FOUND: &str =
    "Amazon SES does not know the configuration set or identity in this region. Update the account.";
const ADDRESS: &str = "Amazon SES refused the recipient's address.";
const CONTENT: &str = "Amazon SES refused the content of the mail.";

const RULES: &[Rule] = &[
    rule(&[], Throttled, QUOTA).says(&["daily message quota exceeded"]).wait_ms(QUOTA_MS),
    rule(&["LimitExceededException"], Throttled, QUOTA).wait_ms(QUOTA_MS),
    rule(&["TooManyRequestsException", "ThrottlingException", "Throttling"], Throttled, TOO_FAST),
    rule(&[], Throttled, TOO_FAST).says(&["maximum sending rate exceeded"]),
    rule(&[], Account, VERIFY).says(&["not verified"]),
    rule(&["MailFromDomainNotVerifiedException"], Account, MAIL_FROM),
    rule(&["AccountSuspendedException", "SendingPausedException"], Account, SUSPENDED),
    rule(&["NotFoundException"], Account, NOT_FOUND),
    rule(&["RequestExpired", "RequestTimeTooSkewed"], Account, CLOCK),
    rule(&["InvalidSignatureException", "SignatureDoesNotMatch"], Account, CLOCK)
        .says(&["signature expired", "not yet current"]),
    rule(
        &[
            "UnrecognizedClientException",
            "InvalidClientTokenId",
            "SignatureDoesNotMatch",
            "InvalidSignatureException",
            "IncompleteSignatureException",
            "MissingAuthenticationTokenException",
            "ExpiredToken",
            "ExpiredTokenException",
        ],
        Account,
        KEYS,
    ),
    rule(&["AccessDeniedException", "AccessDenied"], Account, RIGHTS),
    rule(&["MessageRejected"], Content, CONTENT),
    rule(&["BadRequestException"], Recipient, ADDRESS).says(&[
        "illegal address",
        "invalid address",
        "invalid email address",
        "missing final '@domain'",
        "missing '@domain'",
        "local address contains",
        "domain contains",
        "domain starts with dot",
    ]),
    rule(&["BadRequestException"], Content, CONTENT),
];

/// What an answer other than 200 means. Nobody knows what a server error left behind, since SES has no idempotency key: those are `unknown`.
pub(super) fn failure(answer: &HttpAnswer, now: Timestamp) -> Failure {
    let error = aws::error(answer);
    let (kind, wait_ms, detail) = match find(&error.kind, &error.message) {
        Some(rule) => (rule.kind, rule.wait_ms, rule.detail),
        None => by_status(answer.status),
    };
    let said = if error.message.is_empty() { answer.text().into_owned() } else { error.message };
    let code = if error.kind.is_empty() { answer.status.to_string() } else { error.kind };
    Failure::new(kind, code, detail)
        .with_provider_detail(said)
        .with_retry_after_ms(answer.retry_after_ms(now).or(wait_ms))
}

fn find(kind: &str, message: &str) -> Option<&'static Rule> {
    let words = message.to_lowercase();
    RULES.iter().find(|rule| {
        (rule.types.is_empty() || rule.types.contains(&kind))
            && (rule.says.is_empty() || rule.says.iter().any(|phrase| words.contains(phrase)))
    })
}

/// The results of single mails in a bulk request, and the errors of a single request they correspond to. The service's model and its own prose name some differently.
const ENTRIES: &[(&[&str], &str)] = &[
    (&["MESSAGE_REJECTED"], "MessageRejected"),
    (&["MAIL_FROM_DOMAIN_NOT_VERIFIED"], "MailFromDomainNotVerifiedException"),
    (
        &[
            "CONFIGURATION_SET_NOT_FOUND",
            "CONFIGURATION_SET_DOES_NOT_EXIST",
            "TEMPLATE_NOT_FOUND",
            "TEMPLATE_DOES_NOT_EXIST",
            "INVALID_SENDING_POOL_NAME",
        ],
        "NotFoundException",
    ),
    (&["ACCOUNT_SUSPENDED"], "AccountSuspendedException"),
    (&["ACCOUNT_SENDING_PAUSED", "CONFIGURATION_SET_SENDING_PAUSED"], "SendingPausedException"),
    (&["ACCOUNT_THROTTLED"], "TooManyRequestsException"),
    (&["ACCOUNT_DAILY_QUOTA_EXCEEDED"], "LimitExceededException"),
    (&["INVALID_PARAMETER", "INVALID_PARAMETER_VALUE"], "BadRequestException"),
];

/// What the result of one mail of a bulk request means.
/// <https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_BulkEmailEntryResult.html>
pub(super) fn of_entry(status: &str, message: &str) -> Failure {
    let single = ENTRIES.iter().find(|(names, _)| names.contains(&status)).map(|(_, kind)| *kind);
    let (kind, wait_ms, detail) = match (single.and_then(|kind| find(kind, message)), status) {
        (Some(rule), _) => (rule.kind, rule.wait_ms, rule.detail),
        (None, "TRANSIENT_FAILURE" | "FAILED") => {
            (FailureKind::Unavailable, None, "Amazon SES could not take this mail now; it is tried again.")
        }
        (None, _) => by_status(0),
    };
    let failure = Failure::new(kind, status, detail).with_retry_after_ms(wait_ms);
    if message.is_empty() { failure } else { failure.with_provider_detail(message) }
}

fn by_status(status: u16) -> (FailureKind, Option<u64>, &'static str) {
    let (kind, detail) = match status {
        300..=399 => (FailureKind::Unavailable, "Amazon SES answered with a redirect; nothing was sent."),
        429 => (Throttled, TOO_FAST),
        401 | 403 => (Account, KEYS),
        404 => (Account, NOT_FOUND),
        400 | 413 => (Content, CONTENT),
        402..=499 => (FailureKind::Unavailable, "Amazon SES did not take the request; it is tried again."),
        _ => (FailureKind::Unknown, "Amazon SES gave no usable answer: nobody can say whether it took the mail."),
    };
    (kind, None, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classified(status: u16, kind: &str, message: &str) -> (FailureKind, Option<u64>, String) {
        let headers = match kind {
            "" => Vec::new(),
            _ => vec![("x-amzn-errortype".to_owned(), kind.to_owned())],
        };
        let body = serde_json::json!({ "message": message }).to_string();
        let failure =
            failure(&HttpAnswer { status, headers, body: body.into(), is_truncated: false }, Timestamp::EPOCH);
        if !message.is_empty() {
            assert_eq!(failure.provider_detail.as_deref(), Some(message));
        }
        (failure.kind, failure.retry_after_ms, failure.code)
    }

    #[test]
    fn every_row_of_the_table() {
        for (status, kind, message, wanted, wait_ms) in [
            (429, "TooManyRequestsException", "Maximum sending rate exceeded.", Throttled, None),
            (429, "ThrottlingException", "Rate exceeded", Throttled, None),
            (400, "Throttling", "Maximum sending rate exceeded.", Throttled, None),
            (400, "", "Maximum sending rate exceeded.", Throttled, None),
            (429, "", "", Throttled, None),
            (429, "TooManyRequestsException", "Daily message quota exceeded.", Throttled, Some(QUOTA_MS)),
            (400, "LimitExceededException", "limit", Throttled, Some(QUOTA_MS)),
            (
                400,
                "MessageRejected",
                "Email address is not verified. The following identities failed the check",
                Account,
                None,
            ),
            (400, "MessageRejected", "Transaction failed: Expected disposition, got null", Content, None),
            (400, "MailFromDomainNotVerifiedException", "", Account, None),
            (400, "AccountSuspendedException", "", Account, None),
            (400, "SendingPausedException", "", Account, None),
            (404, "NotFoundException", "Configuration set <cs1> does not exist.", Account, None),
            (404, "", "", Account, None),
            (400, "BadRequestException", "Illegal address", Recipient, None),
            (400, "BadRequestException", "Missing final '@domain'", Recipient, None),
            (400, "BadRequestException", "Local address contains control or whitespace", Recipient, None),
            (400, "BadRequestException", "Domain contains illegal character", Recipient, None),
            (400, "BadRequestException", "1 validation error detected", Content, None),
            (413, "", "", Content, None),
            (403, "AccessDeniedException", "User is not authorized to perform ses:SendEmail", Account, None),
            (
                403,
                "UnrecognizedClientException",
                "The security token included in the request is invalid.",
                Account,
                None,
            ),
            (403, "InvalidClientTokenId", "", Account, None),
            (403, "SignatureDoesNotMatch", "", Account, None),
            (403, "InvalidSignatureException", "The request signature we calculated does not match", Account, None),
            (
                403,
                "InvalidSignatureException",
                "Signature expired: 20261121T083000Z is now earlier than",
                Account,
                None,
            ),
            (403, "ExpiredToken", "", Account, None),
            (403, "ExpiredTokenException", "The security token included in the request is expired", Account, None),
            (403, "RequestExpired", "", Account, None),
            (403, "", "", Account, None),
            (302, "", "", FailureKind::Unavailable, None),
            (408, "", "", FailureKind::Unavailable, None),
            (500, "InternalServiceErrorException", "", FailureKind::Unknown, None),
            (503, "", "", FailureKind::Unknown, None),
            (504, "", "", FailureKind::Unknown, None),
        ] {
            let (got, wait, code) = classified(status, kind, message);
            assert_eq!((got, wait), (wanted, wait_ms), "{status} {kind} {message}");
            assert_eq!(code, if kind.is_empty() { status.to_string() } else { kind.to_owned() });
        }
    }

    #[test]
    fn results_of_single_mails() {
        use FailureKind::{Unavailable, Unknown};
        for (status, message, wanted, wait_ms) in [
            ("MESSAGE_REJECTED", "Email address is not verified.", Account, None),
            ("MESSAGE_REJECTED", "Transaction failed", Content, None),
            ("MAIL_FROM_DOMAIN_NOT_VERIFIED", "", Account, None),
            ("CONFIGURATION_SET_NOT_FOUND", "", Account, None),
            ("CONFIGURATION_SET_DOES_NOT_EXIST", "", Account, None),
            ("TEMPLATE_NOT_FOUND", "", Account, None),
            ("TEMPLATE_DOES_NOT_EXIST", "", Account, None),
            ("INVALID_SENDING_POOL_NAME", "", Account, None),
            ("ACCOUNT_SUSPENDED", "", Account, None),
            ("ACCOUNT_SENDING_PAUSED", "", Account, None),
            ("CONFIGURATION_SET_SENDING_PAUSED", "", Account, None),
            ("ACCOUNT_THROTTLED", "", Throttled, None),
            ("ACCOUNT_DAILY_QUOTA_EXCEEDED", "", Throttled, Some(QUOTA_MS)),
            ("INVALID_PARAMETER", "Illegal address", Recipient, None),
            ("INVALID_PARAMETER_VALUE", "Template rendering failed", Content, None),
            ("TRANSIENT_FAILURE", "", Unavailable, None),
            ("FAILED", "", Unavailable, None),
            ("SOMETHING_NEW", "", Unknown, None),
        ] {
            let failure = of_entry(status, message);
            assert_eq!((failure.kind, failure.retry_after_ms), (wanted, wait_ms), "{status} {message}");
            assert_eq!(failure.code, status);
        }
    }

    #[test]
    fn the_providers_wait_is_kept() {
        let headers = vec![("retry-after".to_owned(), "7".to_owned())];
        let failure = failure(&HttpAnswer { status: 429, headers, ..HttpAnswer::default() }, Timestamp::EPOCH);
        assert_eq!((failure.kind, failure.retry_after_ms), (Throttled, Some(7_000)));
    }
}
