//! What Africa's Talking's refusals mean: of a request by the status and its words, of a recipient by a code, of a message later on by a word.
//! <https://help.africastalking.com/en/articles/1036021-what-are-the-status-codes-returned-on-sending-an-sms>

use model::{Failure, FailureKind, HttpAnswer};
use serde_json::Value;

use super::NAME;
use crate::{
    Cx,
    refusals::{Rule, Said, foreign, refusal, rule},
};

use FailureKind::{Account, Content, OptedOut, Recipient, Throttled, Unavailable, Unknown};

const KEY: &str = "Africa's Talking refused the API key. Update the account's username and API key.";
const SENDER: &str = "The sender is not registered for this application. Change the account's sender.";
const BALANCE: &str = "The balance at Africa's Talking is used up. Top it up.";

/// Refusals of a whole request are plain text.
const RULES: &[Rule] = &[
    rule(Throttled, "Africa's Talking takes no more requests for now.").statuses(&[429]),
    rule(Account, KEY).statuses(&[401, 403]),
    rule(Unknown, "The connection to Africa's Talking ran out of time after the request left.").statuses(&[408]),
    rule(Unknown, "Africa's Talking failed and did not say whether it took the message.")
        .statuses(&[500, 501, 502, 503, 504]),
    rule(Account, SENDER).says(&["invalidsenderid", "invalid sender id"]),
    rule(Account, BALANCE).says(&["insufficientbalance", "insufficient balance"]),
    rule(Content, "Africa's Talking refused the message."),
];

/// Codes of one recipient whose message was taken: processed, sent, queued.
pub(super) const ACCEPTED: std::ops::RangeInclusive<u32> = 100..=102;

/// Codes of one recipient that took nothing, in order.
#[rustfmt::skip]
const CODES: &[(u32, FailureKind, &str)] = &[
    (401, Account, "Africa's Talking holds the application's messages back. Ask its support."),
    (402, Account, SENDER),
    (403, Recipient, "The recipient's number is not valid."),
    (404, Recipient, "The recipient's number is of a kind that gets no SMS."),
    (405, Account, BALANCE),
    (406, OptedOut, "The recipient has opted out of this sender. Only they can undo it."),
    (407, Recipient, "Africa's Talking has no route to the recipient."),
    (409, Recipient, "The recipient takes no promotional messages (do not disturb), or not at this hour."),
    (500, Unavailable, "Africa's Talking failed inside."),
    (501, Unavailable, "The gateway to the recipient's network failed."),
    (502, Recipient, "The recipient's network rejected the message."),
];

/// Words of reports, in the provider's own spelling.
#[rustfmt::skip]
const REASONS: &[(&str, FailureKind, &str)] = &[
    ("InsufficientCredit", Account, "The credit is used up."),
    ("InvalidLinkId", Content, "The link id of a premium message is not valid."),
    ("UserIsInactive", Recipient, "The recipient's number is not active."),
    ("UserInBlackList", OptedOut, "The recipient has opted out of this sender. Only they can undo it."),
    ("UserAccountSuspended", Recipient, "The recipient's line is suspended."),
    ("NotNetworkSubcriber", Recipient, "The number does not belong to this network."),
    ("UserNotSubscribedToProduct", Content, "The recipient has not subscribed to the premium product."),
    ("UserDoesNotExist", Recipient, "The recipient's number does not exist."),
    ("DeliveryFailure", Unknown, "The network did not say why the message was not delivered."),
    ("DoNotDisturbRejection", Recipient, "The recipient takes no promotional messages (do not disturb), or not at this hour."),
    ("AbsentSubscriber", Unavailable, "The recipient's phone could not be reached."),
    ("Expired", Unavailable, "The recipient's phone could not be reached in time."),
];

/// The failure behind a whole request that took nothing, or says nothing.
pub(super) fn refused(cx: &Cx<'_>, http: &HttpAnswer) -> Failure {
    let words = http.text();
    let is_page = words.trim_start().starts_with('<');
    match http.status {
        200..=399 => foreign(NAME, http, cx.now),
        _ if is_page || words.is_empty() => foreign(NAME, http, cx.now),
        _ => refusal(NAME, RULES, &Said::new(http, cx.now, "", &words)),
    }
}

/// The failure behind an answer that names no recipient.
pub(super) fn unsent(words: &str) -> Failure {
    let said = Said { status: 400, code: "unsent", words, wait_ms: None };
    refusal(NAME, RULES, &said)
}

/// Codes are numbers; a text of digits is read, too.
pub(super) fn code(value: &Value) -> Option<u32> {
    value.as_u64().and_then(|code| u32::try_from(code).ok()).or_else(|| value.as_str()?.parse().ok())
}

/// The failure behind a recipient's code. A good or new code without an id says neither that the message was taken nor that it was not.
pub(super) fn recipient(code: Option<u32>, words: &str) -> Failure {
    let found = CODES.iter().find(|(known, _, _)| Some(*known) == code);
    let failure = match (found, code) {
        (Some((code, kind, says)), _) => Failure::new(*kind, code.to_string(), *says),
        (None, Some(code)) if !ACCEPTED.contains(&code) => Failure::new(
            Unknown,
            code.to_string(),
            "Africa's Talking answered with a status we do not know, so nobody can say whether it took the message.",
        ),
        (None, _) => Failure::new(
            Unknown,
            "malformed_answer",
            "Africa's Talking answered without a message id, so nobody can say whether it took the message.",
        ),
    };
    failure.with_provider_detail(words)
}

/// The failure behind a report's status and reason.
pub(super) fn reported(status: &str, reason: Option<&str>) -> Failure {
    let find = |word: &str| REASONS.iter().find(|(known, _, _)| known.eq_ignore_ascii_case(word));
    let word = reason.unwrap_or(status);
    let (kind, says) = find(word).or_else(|| find(status)).map_or(
        (Unavailable, "The message was not delivered; the reason is in the provider's words."),
        |(_, kind, says)| (*kind, *says),
    );
    Failure::new(kind, word, says).with_provider_detail(word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{Timestamp, Values};

    #[test]
    fn each_code() {
        for (code, kind) in [
            (401, Account),
            (402, Account),
            (403, Recipient),
            (404, Recipient),
            (405, Account),
            (406, OptedOut),
            (407, Recipient),
            (409, Recipient),
            (500, Unavailable),
            (501, Unavailable),
            (502, Recipient),
            (777, Unknown),
        ] {
            let failure = recipient(Some(code), "x");
            assert_eq!((failure.kind, failure.code), (kind, code.to_string()), "{code}");
        }
        assert_eq!(CODES.len(), 11);
        assert_eq!(recipient(None, "").kind, Unknown);
        // Accepted, but without an id.
        assert_eq!(recipient(Some(101), "Success").code, "malformed_answer");
    }

    #[test]
    fn each_reason() {
        for (reason, kind) in [
            ("UserDoesNotExist", Recipient),
            ("NotNetworkSubcriber", Recipient),
            ("UserInBlackList", OptedOut),
            ("userinblacklist", OptedOut),
            ("UserAccountSuspended", Recipient),
            ("UserIsInactive", Recipient),
            ("DoNotDisturbRejection", Recipient),
            ("InsufficientCredit", Account),
            ("InvalidLinkId", Content),
            ("UserNotSubscribedToProduct", Content),
            ("DeliveryFailure", Unknown),
            ("AbsentSubscriber", Unavailable),
            ("SomethingNew", Unavailable),
        ] {
            assert_eq!(reported("Failed", Some(reason)).kind, kind, "{reason}");
        }
        assert_eq!(reported("AbsentSubscriber", None).kind, Unavailable);
        assert_eq!(reported("Expired", None).code, "Expired");
        assert_eq!(reported("Rejected", None).kind, Unavailable);
    }

    #[test]
    fn statuses_and_words() {
        let settings = Values::default();
        let cx =
            Cx { settings: &settings, from: None, base_url: None, callback_url: "", now: Timestamp::EPOCH, nonce: 0 };
        for (status, body, kind) in [
            (401, "The supplied authentication is invalid", Account),
            (400, "Request is missing required form field 'to'", Content),
            (429, "Too many requests", Throttled),
            (500, "Internal error", Unknown),
            (408, "Timeout", Unknown),
            (200, "hello", Unknown),
            (302, "", Unknown),
            (400, "<html>", Unavailable),
            (403, "<html>", Unavailable),
            (502, "<html>", Unknown),
        ] {
            let http = HttpAnswer { status, body: body.to_owned().into(), ..HttpAnswer::default() };
            assert_eq!(refused(&cx, &http).kind, kind, "{status} {body}");
        }
        assert_eq!(unsent("InvalidSenderId").kind, Account);
        assert_eq!(unsent("InsufficientBalance").kind, Account);
        assert_eq!(unsent("Something").kind, Content);
    }
}
