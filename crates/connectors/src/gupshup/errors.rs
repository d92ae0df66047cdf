//! What Gupshup's refusals mean: of a request, by its status and words, and of a message later on, by a code.
//! <https://docs.gupshup.io/docs/error-codes>

use model::{Failure, FailureKind, HttpAnswer};
use serde_json::Value;

use super::NAME;
use crate::{
    Cx,
    read::text,
    refusals::{Rule, Said, foreign, refusal, rule},
    whatsapp::codes,
};

use FailureKind::{Account, Content, OptedOut, Recipient, Throttled, Unavailable, Unknown};

const KEY: &str =
    "Gupshup refused the API key, or the app is not its owner's. Update the account's API key and app name.";
const APP: &str = "Gupshup does not know the app or its number. Update the account's app name and sender.";
const BALANCE: &str = "The wallet at Gupshup is empty. Top it up.";

/// For answers in Gupshup's form. The words are as seen in public; the documentation names none.
const RULES: &[Rule] = &[
    rule(Throttled, "Gupshup takes no more messages for now.").statuses(&[429]),
    rule(Account, KEY).statuses(&[401, 403]),
    rule(Account, KEY).says(&["portal user not found"]),
    rule(Account, APP).says(&["invalid app details"]),
    rule(Account, BALANCE).statuses(&[402]),
    rule(Account, BALANCE).says(&["insufficient balance", "low balance"]),
    rule(Unknown, "The connection to Gupshup ran out of time after the request left.").statuses(&[408]),
    rule(Unavailable, "Gupshup failed inside and did not take the message.").statuses(&[500, 501, 502, 503, 504]),
    rule(Content, "Gupshup refused the message."),
];

/// The failure behind an answer that took nothing, or says nothing.
pub(super) fn refused(cx: &Cx<'_>, http: &HttpAnswer, body: &Value) -> Failure {
    let words = text(body, "/message").or(text(body, "/message/message"));
    match (words, text(body, "/status")) {
        (Some(words), _) => refusal(NAME, RULES, &Said::new(http, cx.now, "", words)),
        (None, Some("error")) => refusal(NAME, RULES, &Said::new(http, cx.now, "", &http.text())),
        (None, _) => foreign(NAME, http, cx.now),
    }
}

/// Gupshup's own codes of messages that failed after it took them, in order.
#[rustfmt::skip]
const CODES: &[(u32, FailureKind, &str)] = &[
    (470, Content, "The recipient has not written in the last 24 hours, so WhatsApp only takes an approved template."),
    (500, Unavailable, "Gupshup failed inside."),
    (1000, Content, "WhatsApp does not take files of this kind."),
    (1001, Account, "The app and the sender do not belong together. Update the account's app name and sender."),
    (1002, Recipient, "The recipient is not on WhatsApp."),
    (1003, Account, BALANCE),
    (1004, Content, "The recipient has not written in the last 24 hours, and the app may not send templates."),
    (1005, Content, "The recipient has not written in the last 24 hours, and the text is no approved template."),
    (1006, OptedOut, "The recipient has not written in the last 24 hours and has not opted in."),
    (1007, OptedOut, "The recipient has not opted in, and the text is no approved template."),
    (1008, OptedOut, "The recipient has not written in the last 24 hours and has not opted in."),
    (1010, Content, "The URL of a file is not valid."),
    (1011, Content, "A file of the message is too large for WhatsApp."),
    (1012, OptedOut, "The recipient has opted out. Only they can undo it."),
    (1013, Recipient, "The recipient is not on WhatsApp."),
    (1014, Content, "A file of the message could not be fetched from its URL."),
    (4001, Throttled, "WhatsApp slows Gupshup's messages down."),
    (4002, Unavailable, "WhatsApp answered Gupshup with something it could not read."),
    (4003, Content, "The template does not exist in this language."),
];

/// The failure behind a code that came with a message's status: Gupshup's own, or Meta's passed on.
pub(super) fn reported(code: Option<u32>, words: &str) -> Failure {
    let ours = code.and_then(|code| CODES.iter().find(|(known, _, _)| *known == code));
    match ours {
        Some((code, kind, says)) => Failure::new(*kind, code.to_string(), *says).with_provider_detail(words),
        None => codes::reported(code, words),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{Timestamp, Values};

    #[test]
    fn each_code() {
        for (code, kind) in [
            (500, Unavailable),
            (1000, Content),
            (1001, Account),
            (1002, Recipient),
            (1013, Recipient),
            (1003, Account),
            (470, Content),
            (1004, Content),
            (1005, Content),
            // Gupshup files these under the recipient; they are about consent, not about the number.
            (1006, OptedOut),
            (1007, OptedOut),
            (1008, OptedOut),
            (1012, OptedOut),
            (1010, Content),
            (1014, Content),
            (1011, Content),
            (4001, Throttled),
            (4002, Unavailable),
            (4003, Content),
            (131_026, Recipient),
            (131_047, Content),
            (190, Account),
            (7777, Unavailable),
        ] {
            let failure = reported(Some(code), "x");
            assert_eq!((failure.kind, failure.code), (kind, code.to_string()), "{code}");
        }
        assert!(CODES.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }

    #[test]
    fn statuses_and_words() {
        let settings = Values::default();
        let cx =
            Cx { settings: &settings, from: None, base_url: None, callback_url: "", now: Timestamp::EPOCH, nonce: 0 };
        let kind = |status, body: &str| {
            let http = HttpAnswer { status, body: body.to_owned().into(), ..HttpAnswer::default() };
            refused(&cx, &http, &crate::read::json(&http)).kind
        };
        for (status, body, wanted) in [
            (400, r#"{"status":"error","message":"Invalid Destination"}"#, Content),
            (400, r#"{"status":"error","message":"Invalid App Details"}"#, Account),
            (401, r#"{"status":"error","message":"Portal User Not Found With APIKey"}"#, Account),
            (403, r#"{"status":"error","message":"Forbidden"}"#, Account),
            (402, r#"{"status":"error","message":"Pay"}"#, Account),
            (429, r#"{"status":"error","message":"Too Many Requests"}"#, Throttled),
            (500, r#"{"status":"error","message":"Internal"}"#, Unavailable),
            (503, r#"{"status":"error"}"#, Unavailable),
            (200, r#"{"status":"error","message":"Invalid Message"}"#, Content),
            (200, r#"{"status":"error"}"#, Content),
            (200, r#"{"status":"submitted"}"#, Unknown),
            (202, "", Unknown),
            (302, "", Unknown),
            (400, "<html>", Unavailable),
            (401, "", Account),
            (403, "<html>", Unavailable),
            (408, "", Unknown),
            (429, "", Throttled),
            (500, "<html>", Unknown),
            (502, "", Unknown),
        ] {
            assert_eq!(kind(status, body), wanted, "{status} {body}");
        }
    }
}
