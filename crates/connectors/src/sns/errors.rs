//! What Amazon SNS's errors mean.
//! <https://docs.aws.amazon.com/sns/latest/api/API_Publish.html#API_Publish_Errors>

use model::{Failure, FailureKind, HttpAnswer, Timestamp};

use crate::aws::xml;

use FailureKind::{Account, Content, OptedOut, Recipient, Throttled, Unavailable, Unknown};

/// One line of the table: the first that fits decides.
struct Rule {
    codes: &'static [&'static str],
    /// Words of the message in lower case, of which one is there; empty for any.
    says: &'static [&'static str],
    kind: FailureKind,
    detail: &'static str,
}

const fn rule(
    codes: &'static [&'static str],
    says: &'static [&'static str],
    kind: FailureKind,
    detail: &'static str,
) -> Rule {
    Rule { codes, says, kind, detail }
}

const BAD_PARAMETER: &[&str] =
    &["InvalidParameter", "InvalidParameterValue", "ParameterValueInvalid", "ValidationException", "ValidationError"];

const TOO_FAST: &str = "Too many messages at once for this Amazon account and region.";
const BROKEN: &str = "Amazon SNS failed inside and took nothing.";
const KEYS: &str = "Amazon refused the access key. Update the account's keys.";
const RIGHTS: &str = "Amazon refused the request for lack of rights. Allow the key's user sns:Publish, sns:GetSMSSandboxAccountStatus and sns:GetSMSAttributes.";
const CLOCK: &str = "Amazon refused the time of the request. Set this machine's clock.";
const REGION: &str = "Amazon SNS does not know this here. Check the account's region, and that it can send SMS.";

const RULES: &[Rule] = &[
    rule(
        &[
            "Throttling",
            "Throttled",
            "ThrottledException",
            "ThrottlingException",
            "TooManyRequestsException",
            "KMSThrottling",
        ],
        &[],
        Throttled,
        TOO_FAST,
    ),
    rule(&["InternalError", "InternalFailure", "ServiceUnavailable"], &[], Unavailable, BROKEN),
    rule(
        &["OptedOut", "OptedOutException"],
        &[],
        OptedOut,
        "The recipient has opted out of messages from this account.",
    ),
    rule(&["EndpointDisabled"], &[], Recipient, "The recipient cannot be reached any longer."),
    rule(BAD_PARAMETER, &["opted out"], OptedOut, "The recipient has opted out of messages from this account."),
    rule(BAD_PARAMETER, &["phonenumber", "phone number"], Recipient, "The recipient's number is not valid."),
    rule(
        BAD_PARAMETER,
        &["senderid", "originationnumber"],
        Account,
        "Amazon SNS refused the sender. Update the account's sender.",
    ),
    rule(BAD_PARAMETER, &["maxprice"], Account, "Amazon SNS refused the highest price. Update the account."),
    rule(BAD_PARAMETER, &[], Content, "Amazon SNS refused the message."),
    rule(&["SignatureDoesNotMatch"], &["signature expired", "not yet current"], Account, CLOCK),
    rule(&["RequestExpired", "RequestTimeTooSkewed"], &[], Account, CLOCK),
    rule(&["AuthorizationError", "AccessDenied", "AccessDeniedException"], &[], Account, RIGHTS),
    rule(
        &[
            "InvalidClientTokenId",
            "SignatureDoesNotMatch",
            "UnrecognizedClientException",
            "IncompleteSignature",
            "MissingAuthenticationToken",
            "ExpiredToken",
            "InvalidSecurity",
        ],
        &[],
        Account,
        KEYS,
    ),
    rule(
        &["KMSDisabled", "KMSInvalidState", "KMSNotFound", "KMSOptInRequired", "KMSAccessDenied"],
        &[],
        Account,
        "Amazon's key management refused the request. Check the keys named in Amazon SNS's settings.",
    ),
    rule(&["NotFound", "InvalidAction", "PlatformApplicationDisabled"], &[], Account, REGION),
];

/// What an answer other than 200 means. SNS's own word for a failure inside says that nothing was taken; a server error without it may come from
/// in between, and nobody knows what it left behind.
pub(super) fn failure(answer: &HttpAnswer, now: Timestamp) -> Failure {
    let error = xml::error(answer);
    let words = error.message.to_lowercase();
    let fits = |rule: &&Rule| {
        rule.codes.contains(&error.kind.as_str())
            && (rule.says.is_empty() || rule.says.iter().any(|phrase| words.contains(phrase)))
    };
    let (kind, detail) = match RULES.iter().find(fits) {
        Some(rule) => (rule.kind, rule.detail),
        None => by_status(answer.status),
    };
    let said = if error.message.is_empty() { answer.text().into_owned() } else { error.message };
    let code = if error.kind.is_empty() { format!("http_{}", answer.status) } else { error.kind };
    let wait_ms = answer.retry_after_ms(now).filter(|_| kind == Throttled);
    Failure::new(kind, code, detail).with_provider_detail(said).with_retry_after_ms(wait_ms)
}

fn by_status(status: u16) -> (FailureKind, &'static str) {
    match status {
        429 => (Throttled, TOO_FAST),
        401 | 403 => (Account, KEYS),
        404 => (Account, REGION),
        408 => (Unknown, "Amazon SNS gave up waiting and did not say whether it took the message."),
        400..=499 => (Content, "Amazon SNS refused the message."),
        _ => (Unknown, "Amazon SNS gave no usable answer: nobody can say whether it took the message."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(status: u16, code: &str, message: &str, wanted: FailureKind) {
        let body = format!(
            "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error><RequestId>r</RequestId></ErrorResponse>"
        );
        let answer = HttpAnswer { status, body: body.into(), ..HttpAnswer::default() };
        let failure = failure(&answer, Timestamp::EPOCH);
        assert_eq!(failure.kind, wanted, "{status} {code} {message}");
        let code = if code.is_empty() { format!("http_{status}") } else { code.to_owned() };
        assert_eq!(failure.code, code);
        assert!(failure.detail.ends_with('.'));
    }

    #[test]
    fn every_row_of_the_table() {
        for (status, code, wanted) in [
            (400, "Throttling", Throttled),
            (429, "Throttled", Throttled),
            (429, "ThrottledException", Throttled),
            (400, "ThrottlingException", Throttled),
            (429, "TooManyRequestsException", Throttled),
            (400, "KMSThrottling", Throttled),
            (500, "InternalError", Unavailable),
            (500, "InternalFailure", Unavailable),
            (503, "ServiceUnavailable", Unavailable),
            (400, "OptedOut", OptedOut),
            (400, "OptedOutException", OptedOut),
            (400, "EndpointDisabled", Recipient),
            (400, "InvalidParameter", Content),
            (400, "InvalidParameterValue", Content),
            (400, "ParameterValueInvalid", Content),
            (400, "ValidationException", Content),
            (400, "ValidationError", Content),
            (403, "RequestExpired", Account),
            (403, "RequestTimeTooSkewed", Account),
            (403, "AuthorizationError", Account),
            (403, "AccessDenied", Account),
            (403, "AccessDeniedException", Account),
            (403, "InvalidClientTokenId", Account),
            (403, "SignatureDoesNotMatch", Account),
            (403, "UnrecognizedClientException", Account),
            (400, "IncompleteSignature", Account),
            (403, "MissingAuthenticationToken", Account),
            (403, "ExpiredToken", Account),
            (403, "InvalidSecurity", Account),
            (400, "KMSDisabled", Account),
            (400, "KMSInvalidState", Account),
            (400, "KMSNotFound", Account),
            (403, "KMSOptInRequired", Account),
            (400, "KMSAccessDenied", Account),
            (404, "NotFound", Account),
            (400, "InvalidAction", Account),
            (400, "PlatformApplicationDisabled", Account),
        ] {
            check(status, code, "", wanted);
        }
        let tested: usize = RULES.iter().filter(|rule| rule.says.is_empty()).map(|rule| rule.codes.len()).sum();
        assert_eq!(tested, 37, "a new code needs a row here");
    }

    #[test]
    fn words_decide_where_a_code_says_too_little() {
        let phone = "Invalid parameter: PhoneNumber Reason: +1555 is not valid to publish to";
        check(400, "InvalidParameter", phone, Recipient);
        check(400, "InvalidParameterValue", "The phone number is invalid", Recipient);
        check(400, "InvalidParameter", "Phone number is opted out", OptedOut);
        check(400, "InvalidParameter", "Invalid parameter: AWS.SNS.SMS.SenderID", Account);
        check(400, "InvalidParameter", "Invalid parameter: AWS.MM.SMS.OriginationNumber", Account);
        check(400, "InvalidParameter", "Invalid parameter: AWS.SNS.SMS.MaxPrice", Account);
        check(400, "InvalidParameter", "Invalid parameter: Message too long", Content);
        check(403, "SignatureDoesNotMatch", "Signature expired: 20261121T083000Z is now earlier than", Account);
    }

    #[test]
    fn without_a_known_code_the_status_decides() {
        for (status, wanted) in [
            (429, Throttled),
            (401, Account),
            (403, Account),
            (404, Account),
            (400, Content),
            (413, Content),
            (408, Unknown),
            (302, Unknown),
            (500, Unknown),
            (502, Unknown),
            (503, Unknown),
            (504, Unknown),
        ] {
            check(status, "", "", wanted);
            check(status, "SomethingNew", "", wanted);
        }
    }
}
