//! Vonage's codes and what they mean for a message, its recipient and the account.
//!
//! Three APIs, three tables: the statuses of the SMS API (<https://developer.vonage.com/en/messaging/sms/guides/troubleshooting-sms>), the error codes
//! of its receipts, and the codes of the Messages API (<https://developer.vonage.com/en/api-errors/messages>). A failure is the account's, and pauses
//! it as a whole, only when every message would meet it; a fault of one country, one sender there or one text fails that message alone.

use model::{Failure, FailureKind, HttpAnswer, Timestamp};
use serde_json::Value;

use crate::read;

use FailureKind::{Account, Content, OptedOut, Recipient, Throttled, Unavailable, Unknown};

/// Codes, what they mean, and what we say.
type Row = (&'static [u64], FailureKind, &'static str);

/// Statuses of the SMS API.
#[rustfmt::skip]
const SMS: &[Row] = &[
    (&[1], Throttled, "Too many messages at once for this Vonage account or sender."),
    (&[2, 3], Content, "Vonage refused a parameter of the message."),
    (&[4], Account, "Vonage rejected the API key or secret. Update the account."),
    (&[5], Unavailable, "Vonage failed inside and took nothing."),
    (&[6], Content, "Vonage could not process the message."),
    (&[7], Recipient, "Vonage does not send to this number."),
    (&[8], Account, "The Vonage account is barred. Contact Vonage."),
    (&[9], Account, "The Vonage account has no credit left. Top it up in Vonage's dashboard."),
    (&[11], Account, "The Vonage account may not use this API. Enable it in Vonage's dashboard."),
    (&[12], Content, "The text is too long."),
    (&[13], Unknown, "Vonage did not hear back from inside; nobody can say whether the message was taken."),
    (&[14], Account, "Vonage rejected the signature of the request. Check the account's settings at Vonage."),
    (&[15], Content, "Vonage refused the sender for this message. Choose a sender that the recipient's country allows."),
    (&[16, 20], Content, "Vonage refused a setting of the message."),
    (&[19, 22], Account, "The Vonage account lacks what this message needs. Check it in Vonage's dashboard."),
    (&[23], Account, "Vonage refuses our callback URL. The operator sets the public URL."),
    (&[29], Content, "A Vonage account on trial can only send to numbers on its list. Add the number, or upgrade the account."),
    (&[32], Account, "Vonage wants either a signature or the secret. Check the account's settings at Vonage."),
    (&[33, 34], Recipient, "The recipient's number is not valid or no longer in use."),
];

/// Error codes of the SMS API's receipts.
#[rustfmt::skip]
const RECEIPTS: &[Row] = &[
    (&[1, 99], Unknown, "The carrier gave no reason."),
    (&[2, 7], Unavailable, "The recipient's phone could not be reached: switched off or busy."),
    (&[3, 9, 11, 12, 13], Recipient, "The recipient's number cannot be reached by this sender."),
    (&[4], Recipient, "The recipient's phone bars messages from this sender."),
    (&[5, 14, 15], Recipient, "The recipient's carrier does not take messages for this number."),
    (&[6], Content, "The carrier filtered the message as unwanted. Change its text, or register the sender."),
    (&[8], Unavailable, "The carrier's network failed."),
    (&[10], Content, "The carrier does not take this message."),
    (&[50, 51, 52, 53, 54], Content, "The message breaks the rules of the recipient's country. Register sender and text, and check the DLT ids."),
];

/// Codes of the Messages API.
#[rustfmt::skip]
const MESSAGES: &[Row] = &[
    (&[1000], Throttled, "Too many messages at once for this Vonage account."),
    (&[1010, 1020, 1021], Content, "Vonage refused a parameter of the message."),
    (&[1022], Content, "Vonage or WhatsApp refused the template or its values."),
    (&[1030], Unavailable, "Vonage failed inside and took nothing."),
    (&[1040, 1090, 1130, 1150], Content, "Vonage refused the content of the message."),
    (&[1050], Recipient, "Vonage does not send to this number."),
    (&[1060], Account, "The Vonage account is barred. Contact Vonage."),
    (&[1070], Account, "The Vonage account has no credit left. Top it up in Vonage's dashboard."),
    (&[1080], Account, "The Vonage account may not use this API. Enable it in Vonage's dashboard."),
    (&[1100, 1330], Unknown, "Vonage cannot say what became of the message."),
    (&[1110], Account, "Vonage rejected the signature of the request. Update the account."),
    (&[1120], Content, "Vonage refused the sender for this message. Choose a sender that the recipient's country and channel allow."),
    (&[1140], Account, "The Vonage account lacks what this message needs. Check it in Vonage's dashboard."),
    (&[1160], Content, "A Vonage account on trial can only send to numbers on its list. Add the number, or upgrade the account."),
    (&[1170], Recipient, "The recipient's number is not valid."),
    (&[1180, 1220], Unavailable, "The recipient's phone could not be reached: switched off or busy."),
    (&[1190, 1250, 1260, 1270], Recipient, "The recipient's number cannot be reached by this sender."),
    (&[1200, 1230], Unavailable, "The carrier's network failed."),
    (&[1210], Content, "The carrier filtered the message as unwanted. Change its text, or register the sender."),
    (&[1240], OptedOut, "The recipient does not want messages from this sender."),
    (&[1241], Content, "The message was refused as sent too often."),
    (&[1280, 1290, 1300, 1310], Recipient, "The recipient's carrier or channel does not take messages for them."),
    (&[1320], Unknown, "Vonage says that it has sent this message already."),
    (&[1340], Content, "The recipient has not written in the last 24 hours, so WhatsApp only takes an approved template."),
    (&[1350, 1370], Content, "A setting at Vonage keeps this message from being sent. See Vonage's words for which."),
    (&[1360], Unavailable, "The message's time ran out before it was delivered."),
];

fn find(rows: &'static [Row], code: u64) -> Option<(FailureKind, &'static str)> {
    rows.iter().find(|(codes, _, _)| codes.contains(&code)).map(|(_, kind, says)| (*kind, *says))
}

/// Why the SMS API did not take a part. A status that is new still says that nothing was sent.
pub(super) fn sms_status(status: u64, words: &str) -> Failure {
    // Status 6 stands for numbers that cannot be routed, too; only its words tell.
    let is_number =
        status == 6 && ["number", "msisdn", "prefix"].iter().any(|word| words.to_lowercase().contains(word));
    let (kind, says) = match is_number {
        true => (Recipient, "Vonage cannot route messages to this number."),
        false => find(SMS, status).unwrap_or((Unavailable, "Vonage did not take the message.")),
    };
    Failure::new(kind, status.to_string(), says).with_provider_detail(words)
}

/// What another status than 200 means at the SMS API, which decides nothing by status.
pub(super) fn sms_http(http: &HttpAnswer, now: Timestamp) -> Failure {
    let (kind, says) = match http.status {
        401 | 403 => (Account, "Vonage rejected the API key or secret. Update the account."),
        429 => (Throttled, "Too many requests for this Vonage account."),
        404 => (Account, "There is no SMS API at this address. Check the connector's base URL."),
        400 | 413 | 414 | 415 => (Content, "Vonage refused the request."),
        _ => (Unknown, "Vonage did not say whether it took the message."),
    };
    let wait_ms = http.retry_after_ms(now).filter(|_| kind == Throttled);
    Failure::new(kind, format!("http_{}", http.status), says)
        .with_provider_detail(http.text())
        .with_retry_after_ms(wait_ms)
}

/// Why a message failed, by the error code of its receipt.
pub(super) fn receipt(code: Option<u64>, status: &str) -> Failure {
    let found = code.and_then(|code| find(RECEIPTS, code));
    let (kind, says) = found.unwrap_or((Unavailable, "The carrier did not deliver the message."));
    let code = code.filter(|code| *code > 0).map_or(status.to_owned(), |code| code.to_string());
    Failure::new(kind, code, says).with_provider_detail(status)
}

/// Why a message failed, by the error in its status report: `{type, title, detail}`, with the code as title or behind the type's `#`.
pub(super) fn reported(error: &Value, status: &str) -> Failure {
    let code = code(error);
    let found = code.and_then(|code| find(MESSAGES, code));
    let (kind, says) = found.unwrap_or((Unavailable, "Vonage did not deliver the message."));
    let words = read::text(error, "/detail").unwrap_or(status);
    Failure::new(kind, code.map_or(status.to_owned(), |code| code.to_string()), says).with_provider_detail(words)
}

/// Why the Messages or the Voice API refused a request: by its code, or by the HTTP status. A server error counts as a refusal only in Vonage's own
/// words; without them it may come from in between.
pub(super) fn problem(http: &HttpAnswer, now: Timestamp) -> Failure {
    let body = read::json(http);
    let code = code(&body);
    let is_own = ["/type", "/title", "/error_title"].iter().any(|name| read::text(&body, name).is_some());
    let found = code.and_then(|code| find(MESSAGES, code));
    // 1150 stands for any bad field: which one it was says whether another number would help.
    let is_recipient = http.status == 422 && names_recipient(&body) && found.is_none_or(|(kind, _)| kind == Content);
    let (kind, says) = match found {
        _ if is_recipient => (Recipient, "The recipient's number is not valid."),
        Some(found) => found,
        None => by_status(http.status, is_own),
    };
    let words = ["/detail", "/title", "/error_title"].iter().find_map(|name| read::text(&body, name));
    let code = code.map_or(format!("http_{}", http.status), |code| code.to_string());
    let wait_ms = http.retry_after_ms(now).filter(|_| kind == Throttled);
    let failure = Failure::new(kind, code, says).with_retry_after_ms(wait_ms);
    match words {
        Some(words) => failure.with_provider_detail(words),
        None => failure.with_provider_detail(http.text()),
    }
}

fn by_status(status: u16, is_own: bool) -> (FailureKind, &'static str) {
    match status {
        401 | 403 => (Account, "Vonage rejected the credentials. Check key, secret, application ID and private key."),
        402 => (Account, "The Vonage account has no credit left. Top it up in Vonage's dashboard."),
        404 => (Account, "Vonage does not know this address. Check the account's region and the connector's base URL."),
        408 => (Unknown, "Vonage gave up waiting and did not say whether it took the message."),
        429 => (Throttled, "Too many requests for this Vonage account."),
        400..=499 => (Content, "Vonage refused the message."),
        500..=599 if is_own => (Unavailable, "Vonage failed inside and took nothing."),
        _ => (Unknown, "Vonage did not say whether it took the message."),
    }
}

/// The code behind `https://developer.vonage.com/api-errors/messages#1040`, or in the title of a report.
fn code(error: &Value) -> Option<u64> {
    let behind = |name| read::text(error, name).and_then(|text| text.rsplit('#').next()?.parse().ok());
    behind("/type").or_else(|| behind("/title"))
}

fn names_recipient(body: &Value) -> bool {
    let bad = body["invalid_parameters"].as_array().map(Vec::as_slice).unwrap_or_default();
    bad.iter().any(|parameter| parameter.as_str() == Some("to") || read::text(parameter, "/name") == Some("to"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn each(rows: &'static [Row], wanted: &[(&[u64], FailureKind)]) {
        let mut seen = 0;
        for (codes, kind) in wanted {
            for code in *codes {
                let (found, says) = find(rows, *code).unwrap_or_else(|| panic!("{code} is missing"));
                assert_eq!(found, *kind, "{code}");
                assert!(says.ends_with('.'), "{code}");
                seen += 1;
            }
        }
        let mut all: Vec<u64> = rows.iter().flat_map(|(codes, _, _)| codes.iter().copied()).collect();
        assert_eq!(all.len(), seen, "a new code needs a row in the test");
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), seen, "a code stands in two rows");
    }

    #[test]
    fn every_status_of_the_sms_api() {
        each(
            SMS,
            &[
                (&[1], Throttled),
                (&[2, 3, 6, 12, 15, 16, 20, 29], Content),
                (&[4, 8, 9, 11, 14, 19, 22, 23, 32], Account),
                (&[7, 33, 34], Recipient),
                (&[5], Unavailable),
                (&[13], Unknown),
            ],
        );
        assert_eq!(sms_status(6, "The message was invalid").kind, Content);
        assert_eq!(sms_status(6, "Unroutable number prefix").kind, Recipient);
        assert_eq!(sms_status(99, "New").kind, Unavailable);
    }

    #[test]
    fn every_error_code_of_receipts() {
        each(
            RECEIPTS,
            &[
                (&[1, 99], Unknown),
                (&[2, 7, 8], Unavailable),
                (&[3, 4, 5, 9, 11, 12, 13, 14, 15], Recipient),
                (&[6, 10, 50, 51, 52, 53, 54], Content),
            ],
        );
        let kind = |code, status| receipt(code, status).kind;
        assert_eq!(kind(Some(77), "failed"), Unavailable);
        assert_eq!(
            (receipt(None, "expired").code, receipt(Some(0), "expired").code),
            ("expired".into(), "expired".into())
        );
    }

    #[test]
    fn every_code_of_the_messages_api() {
        each(
            MESSAGES,
            &[
                (&[1000], Throttled),
                (&[1010, 1020, 1021, 1022, 1040, 1090, 1130, 1150, 1210, 1241, 1340], Content),
                (&[1120, 1160, 1350, 1370], Content),
                (&[1050, 1170, 1190, 1250, 1260, 1270, 1280, 1290, 1300, 1310], Recipient),
                (&[1240], OptedOut),
                (&[1060, 1070, 1080, 1110, 1140], Account),
                (&[1030, 1180, 1200, 1220, 1230, 1360], Unavailable),
                (&[1100, 1320, 1330], Unknown),
            ],
        );
    }

    #[test]
    fn problems_without_a_known_code() {
        let kind = |status, body: Value| {
            problem(&HttpAnswer { status, body: body.to_string().into(), ..HttpAnswer::default() }, Timestamp::EPOCH)
                .kind
        };
        let own = || json!({ "type": "https://developer.vonage.com/api-errors#other", "title": "Other" });
        for (status, wanted) in [
            (400, Content),
            (401, Account),
            (402, Account),
            (403, Account),
            (404, Account),
            (408, Unknown),
            (422, Content),
            (429, Throttled),
            (500, Unavailable),
            (503, Unavailable),
            (302, Unknown),
        ] {
            assert_eq!(kind(status, own()), wanted, "{status}");
        }
        assert_eq!(kind(500, json!("oops")), Unknown);
        assert_eq!(kind(502, json!({})), Unknown);
        assert_eq!(
            kind(422, json!({ "title": "x", "invalid_parameters": [{ "name": "to", "reason": "y" }] })),
            Recipient
        );
        assert_eq!(kind(422, json!({ "title": "x", "invalid_parameters": ["to"] })), Recipient);
        let bad = |code: u64, name: &str| json!({ "type": format!("https://developer.vonage.com/api-errors/messages#{code}"), "invalid_parameters": [{ "name": name }] });
        assert_eq!(kind(422, bad(1150, "to")), Recipient);
        assert_eq!(kind(422, bad(1150, "text")), Content);
        assert_eq!(kind(422, bad(1240, "to")), OptedOut);
        assert_eq!(
            kind(422, json!({ "title": "x", "invalid_parameters": [{ "name": "text", "reason": "y" }] })),
            Content
        );
        assert_eq!(kind(422, json!({ "type": "https://developer.vonage.com/api-errors/messages#1240" })), OptedOut);
    }

    #[test]
    fn the_sms_api_by_status_alone() {
        let kind = |status| sms_http(&HttpAnswer { status, ..HttpAnswer::default() }, Timestamp::EPOCH).kind;
        for (status, wanted) in [
            (401, Account),
            (403, Account),
            (404, Account),
            (429, Throttled),
            (400, Content),
            (500, Unknown),
            (503, Unknown),
            (302, Unknown),
        ] {
            assert_eq!(kind(status), wanted, "{status}");
        }
    }
}
