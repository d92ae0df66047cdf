//! Meta's error codes, which providers in front of WhatsApp pass on unchanged.
//! <https://developers.facebook.com/docs/whatsapp/cloud-api/support/error-codes>
//!
//! A fault is an `account` failure, which pauses the account as a whole, only when every message would meet it; one that concerns a country or a
//! kind of message is `content`. Two limits of Meta's hold for one recipient or one flow, so the message waits and not its whole lane: they are
//! `unavailable` with a wait instead of `throttled`.

use model::{Failure, FailureKind};

use FailureKind::{Account, Content, OptedOut, Recipient, Throttled, Unavailable};

/// Wait after Meta held back a marketing message (131049): at least a day, by Meta's own words.
const MARKETING_WAIT_MS: u64 = 24 * 3_600_000;
/// Wait where Meta counts by the hour: calls of an app (4, 80007), messages with one flow (132069).
const HOUR_WAIT_MS: u64 = 15 * 60_000;
/// Wait after the limit for unwanted messages (131048). Meta names no end; a few tries a day find it.
const SPAM_WAIT_MS: u64 = 3_600_000;
/// Wait while Meta serves a number (131057), which takes some minutes.
const MAINTENANCE_WAIT_MS: u64 = 5 * 60_000;
/// Wait after too many messages to one recipient (131056): Meta lets one pass in six seconds.
const PAIR_WAIT_MS: u64 = 6_000;

struct Row {
    code: u32,
    kind: FailureKind,
    wait_ms: Option<u64>,
    says: &'static str,
}

const fn row(code: u32, kind: FailureKind, says: &'static str) -> Row {
    Row { code, kind, wait_ms: None, says }
}

const fn slow(code: u32, kind: FailureKind, wait_ms: u64, says: &'static str) -> Row {
    Row { code, kind, wait_ms: Some(wait_ms), says }
}

/// In order of the codes.
#[rustfmt::skip]
static ROWS: &[Row] = &[
    row(0, Account, "Meta cannot sign in with the access token. Update the account with a new one."),
    row(1, Unavailable, "Meta failed with an unknown error."),
    row(2, Unavailable, "Meta is down or overloaded."),
    row(3, Account, "The access token lacks a permission. Give it whatsapp_business_messaging and whatsapp_business_management."),
    slow(4, Throttled, HOUR_WAIT_MS, "The app has made too many calls this hour."),
    row(10, Account, "The access token lacks a permission, or it was withdrawn."),
    row(33, Account, "Meta does not know the business phone number any more. Update the account's phone number id."),
    row(100, Content, "Meta refused a parameter of the message."),
    row(190, Account, "The access token has expired or was withdrawn. Update the account with a new one."),
    row(368, Account, "Meta has blocked the WhatsApp Business account for breaking its policy."),
    row(613, Throttled, "Too many calls to Meta."),
    slow(80007, Throttled, HOUR_WAIT_MS, "The WhatsApp Business account has made too many calls this hour."),
    row(130429, Throttled, "The business number sends faster than Meta allows it."),
    row(130472, Recipient, "Meta keeps this recipient out of marketing messages for an experiment."),
    row(130497, Content, "The WhatsApp Business account may not write to people in this country."),
    row(131000, Unavailable, "Meta failed with an unknown error."),
    row(131005, Account, "The access token lacks a permission, or it was withdrawn."),
    row(131008, Content, "The message lacks a parameter Meta needs."),
    row(131009, Content, "A parameter of the message has a value Meta does not take."),
    row(131016, Unavailable, "A service of Meta's is down."),
    row(131021, Recipient, "The recipient is the sender."),
    row(131026, Recipient, "The recipient is not on WhatsApp, has an old version, or has not accepted its terms."),
    row(131030, Recipient, "The recipient is not on the list of a test number. Add them in Meta's app dashboard."),
    row(131031, Account, "The WhatsApp Business account is locked. See Meta's business manager."),
    row(131037, Account, "The business number has no approved display name. Give it one in WhatsApp Manager."),
    row(131042, Account, "The WhatsApp Business account has no valid way to pay. Mend it in WhatsApp Manager."),
    row(131044, Account, "The WhatsApp Business account has no valid way to pay. Mend it in WhatsApp Manager."),
    row(131045, Account, "The business number is not registered rightly. Register it again."),
    row(131047, Content, "The recipient has not written in the last 24 hours, so WhatsApp only takes an approved template."),
    slow(131048, Throttled, SPAM_WAIT_MS, "Meta slows the business number down, since people blocked or reported its messages."),
    slow(131049, Unavailable, MARKETING_WAIT_MS, "Meta chose not to deliver this marketing message now."),
    row(131050, OptedOut, "The recipient has stopped marketing messages of this business. Only they can undo it."),
    row(131051, Content, "WhatsApp does not know this kind of message."),
    row(131052, Content, "Meta could not fetch a file from its URL."),
    row(131053, Content, "Meta could not take a file of the message: its type, its size, or its URL."),
    slow(131056, Unavailable, PAIR_WAIT_MS, "Too many messages from this number to this recipient in a short time."),
    slow(131057, Unavailable, MAINTENANCE_WAIT_MS, "Meta is working on the business number, perhaps for more throughput."),
    row(131062, Recipient, "WhatsApp cannot use this recipient's id for this message."),
    row(131063, Content, "The WhatsApp Business account may not send this message."),
    row(131064, Content, "The WhatsApp Business account may not send this message."),
    row(132000, Content, "The template has another number of values."),
    row(132001, Content, "The template does not exist in this language, or is not approved."),
    row(132005, Content, "The template's text becomes too long with these values."),
    row(132007, Content, "The template breaks WhatsApp's policy."),
    row(132008, Content, "A value of the template has the wrong form."),
    row(132012, Content, "A value of the template has another form than the template says."),
    row(132015, Content, "The template is paused for its quality. Edit it, or wait until Meta resumes it."),
    row(132016, Content, "The template is disabled for its quality. Make another one."),
    row(132068, Content, "The flow of the template is blocked."),
    slow(132069, Unavailable, HOUR_WAIT_MS, "The flow of the template is slowed down."),
    row(133010, Account, "The business number is not registered. Register it in WhatsApp Manager."),
    slow(133016, Throttled, HOUR_WAIT_MS, "The business number was registered too often. Meta wants a pause."),
    row(135000, Unavailable, "Meta failed with an unknown error."),
    row(137000, Recipient, "The recipient's identity key has changed."),
    row(2388040, Content, "A field of the template is too long."),
    row(2388047, Content, "The header of the template has the wrong form."),
    row(2388073, Content, "The body of the template has the wrong form."),
    row(2388293, Content, "The template has too many values for its text."),
    row(2388299, Content, "A template cannot begin or end with a value."),
];

/// The failure behind one of Meta's codes; `None` for a new one.
pub(crate) fn known(code: u32) -> Option<Failure> {
    let (kind, wait_ms, says) = match (ROWS.binary_search_by_key(&code, |row| row.code), code) {
        (Ok(at), _) => (ROWS[at].kind, ROWS[at].wait_ms, ROWS[at].says),
        (Err(_), 200..=299) => (Account, None, "The access token lacks a permission, or it was withdrawn."),
        (Err(_), 133_000..=133_999) => {
            (Account, None, "The business number is not registered rightly. Register it again.")
        }
        (Err(_), _) => return None,
    };
    Some(Failure::new(kind, code.to_string(), says).with_retry_after_ms(wait_ms))
}

/// The failure behind a code that came with a message's status. Meta adds codes, so one we do not know says nothing about the recipient.
pub(crate) fn reported(code: Option<u32>, words: &str) -> Failure {
    let unknown = || {
        let code = code.map_or_else(|| "failed".to_owned(), |code| code.to_string());
        Failure::new(Unavailable, code, "WhatsApp did not deliver the message; the reason is in the provider's words.")
    };
    code.and_then(known).unwrap_or_else(unknown).with_provider_detail(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLASSES: &str = include_str!("../../tests/data/meta-error-classes.csv");

    #[test]
    fn each_code_has_the_kind_of_its_class() {
        let mut seen = 0;
        for line in CLASSES.lines().skip(1) {
            let (code, class) = line.split_once(',').unwrap();
            let code: u32 = code.parse().unwrap();
            let expected = match (class, code) {
                ("PERMANENT_RECIPIENT", 131_050) => OptedOut,
                ("PERMANENT_RECIPIENT", _) => Recipient,
                ("PERMANENT_CONTENT", _) => Content,
                // These concern a country or a kind of message and not the whole account.
                ("PERMANENT_CONFIG", 130_497 | 131_063 | 131_064) => Content,
                ("PERMANENT_CONFIG", _) => Account,
                // These concern one recipient and one flow and not the whole lane.
                ("RATE_LIMITED", 131_056 | 132_069) => Unavailable,
                ("RATE_LIMITED", _) => Throttled,
                ("TRANSIENT", _) => Unavailable,
                other => panic!("{other:?}"),
            };
            let failure = known(code).unwrap_or_else(|| panic!("{code} is missing"));
            assert_eq!(failure.kind, expected, "{code} {class}");
            assert_eq!(failure.code, code.to_string());
            seen += usize::from(ROWS.iter().any(|row| row.code == code));
        }
        assert_eq!(seen, ROWS.len(), "a row of ours is not in the list of classes");
    }

    #[test]
    fn the_table_is_sorted_and_speaks_in_sentences() {
        assert!(ROWS.windows(2).all(|pair| pair[0].code < pair[1].code));
        assert!(ROWS.iter().all(|row| row.says.ends_with('.')));
    }

    #[test]
    fn new_codes_blame_nobody() {
        assert_eq!(known(99_999), None);
        let failure = reported(Some(99_999), "New");
        assert_eq!((failure.kind, failure.code.as_str()), (Unavailable, "99999"));
        assert_eq!(reported(None, "").code, "failed");
    }

    #[test]
    fn a_marketing_message_held_back_waits_a_day() {
        assert_eq!(reported(Some(131_049), "").retry_after_ms, Some(MARKETING_WAIT_MS));
    }
}
