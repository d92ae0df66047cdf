//! Twilio's error codes and what they mean for a message, its recipient and the account.
//!
//! The classes come from Twilio's error dictionary (<https://www.twilio.com/docs/api/errors>) as collected in `tests/data/twilio-error-classes.csv`;
//! a test walks it row by row. One class needed a second look: what Twilio calls a configuration fault is an `account` failure, which
//! pauses the account as a whole, only when every message of the account would meet it (credentials, suspension, the messaging service, the
//! account's own sender). A fault that concerns one country, one sender and destination, one channel or one kind of content is a `content`
//! failure: that message fails, nothing else stops, and the recipient is not suppressed for it.

use model::{Failure, FailureKind};

use FailureKind::{Account, Content, OptedOut, Recipient, Throttled, Unavailable, Unknown};

/// Wait after a daily cap. The caps end at midnight in zones Twilio does not name (the carrier's, the brand's), so a few tries a day find the
/// end of one without a calendar.
const DAILY_CAP_WAIT_MS: u64 = 6 * 3_600_000;
/// Wait after Meta held back a marketing message (63049): a day at least.
const MARKETING_WAIT_MS: u64 = 24 * 3_600_000;

/// What one code means.
struct Row {
    code: u32,
    kind: FailureKind,
    says: &'static str,
}

const fn row(code: u32, kind: FailureKind, says: &'static str) -> Row {
    Row { code, kind, says }
}

/// Sorted by code.
#[rustfmt::skip]
static ROWS: &[Row] = &[
    row(20001, Content, "Twilio does not know a parameter of the request."),
    row(20003, Account, "Twilio rejected the credentials, or they lack a permission. Update the account SID and auth token."),
    row(20004, Account, "Twilio does not allow this method here. Check the connector's base URL."),
    row(20005, Account, "The Twilio account is not active. Reactivate it in Twilio's console."),
    row(20008, Account, "Twilio's test credentials cannot do this. Use live credentials."),
    row(20403, Account, "Twilio forbids this to the account. Check its permissions in Twilio's console."),
    row(20404, Account, "Twilio does not find the account. Check the account SID and that the credentials belong to it."),
    row(20426, Account, "Twilio wants another protocol version. Check the connector's base URL."),
    row(20429, Throttled, "Too many requests at once for this Twilio account."),
    row(20500, Unknown, "Twilio failed inside and did not say whether it took the message."),
    row(20503, Unknown, "Twilio was unavailable and did not say whether it took the message."),
    row(21201, Recipient, "The call has no recipient."),
    row(21203, Content, "International calls are not enabled. Enable them in Twilio's geographic permissions."),
    row(21205, Content, "A URL of the call is not valid."),
    row(21210, Content, "The sender of the call is not verified. Verify the number in Twilio's console."),
    row(21211, Recipient, "The recipient's number is not valid."),
    row(21212, Account, "The sender is not valid. Update the account's sender."),
    row(21214, Recipient, "The recipient's number cannot be reached."),
    row(21215, Content, "Calls to this country are not enabled. Enable it in Twilio's geographic permissions."),
    row(21217, Recipient, "The recipient's number does not look valid."),
    row(21219, Content, "A trial account can only call verified numbers. Verify the number or upgrade the Twilio account."),
    row(21220, Content, "The call is not in a state that allows this."),
    row(21408, Content, "Messages to this country are not enabled. Enable it in Twilio's geographic permissions."),
    row(21601, Account, "The sender cannot do SMS. Choose a number that can."),
    row(21602, Content, "The message has neither text nor media."),
    row(21603, Account, "The account names no sender. Set its sender or a messaging service."),
    row(21604, Recipient, "The message has no recipient."),
    row(21605, Content, "The text is too long."),
    row(21606, Content, "The sender cannot be used for this destination. Choose another sender for this country."),
    row(21607, Account, "A trial account can only send from its own number. Change the sender or upgrade the Twilio account."),
    row(21608, Content, "A trial account can only send to verified numbers. Verify the number or upgrade the Twilio account."),
    row(21609, Account, "Twilio refuses our callback URL. It needs a public host name without underscores; the operator sets it as public URL."),
    row(21610, OptedOut, "The recipient has answered STOP to this sender. Only they can undo it, by answering START."),
    row(21611, Throttled, "The sender's queue at Twilio is full."),
    row(21612, Content, "Twilio cannot connect this sender with this recipient. Choose another sender for this country."),
    row(21614, Recipient, "The recipient's number is not a mobile number."),
    row(21617, Content, "The text is longer than 1600 characters."),
    row(21618, Content, "Twilio cannot send this text."),
    row(21619, Content, "The message has no content."),
    row(21620, Content, "A media URL is not valid."),
    row(21621, Content, "The sender cannot do MMS. Choose another sender or send without media."),
    row(21622, Content, "The Twilio account cannot do MMS. Send without media."),
    row(21623, Content, "The message has too many media."),
    row(21654, Content, "The message has template variables without a template."),
    row(21655, Content, "The content SID is not valid."),
    row(21656, Content, "The template variables are not valid."),
    row(21658, Content, "A parameter is too long."),
    row(21701, Account, "The messaging service does not exist. Update the account's messaging service SID."),
    row(21703, Content, "The messaging service has no sender that fits this message. Add one in Twilio's console."),
    row(21704, Account, "The messaging service has no senders. Add one in Twilio's console."),
    row(21705, Account, "The messaging service SID is not valid. Update the account."),
    row(21710, Account, "The sender is in the messaging service already."),
    row(21711, Account, "The sender is not in the messaging service. Add it in Twilio's console."),
    row(21712, Account, "The sender belongs to another messaging service."),
    row(21713, Account, "The use case of the messaging service is not valid."),
    row(21714, Account, "The messaging service holds as many senders as it can."),
    row(21715, Account, "The number lacks a capability that the messaging service needs."),
    row(21717, Account, "The brand is not registered, or not for this use case."),
    row(30001, Throttled, "The message waited too long in the sender's queue at Twilio."),
    row(30002, Account, "The Twilio account is suspended. Contact Twilio."),
    row(30003, Unavailable, "The recipient's phone could not be reached: switched off or without network."),
    row(30004, Recipient, "The recipient cannot get messages from this sender."),
    row(30005, Recipient, "The recipient's number is unknown or no longer in use."),
    row(30006, Recipient, "The recipient's number is a landline, or its carrier cannot be reached."),
    row(30007, Content, "The carrier or Twilio filtered the message as unwanted. Change its text, or register the sender."),
    row(30008, Unavailable, "The carrier reported an unknown error."),
    row(30009, Unavailable, "A part of an incoming message is missing."),
    row(30010, Content, "The message costs more than its price limit."),
    row(30011, Content, "The recipient's carrier cannot take MMS. Send without media."),
    row(30012, Content, "The validity period is too short."),
    row(30017, Unavailable, "The carrier is congested."),
    row(30018, Content, "This country wants the sender registered first. Register it with Twilio or use another sender."),
    row(30019, Content, "The message is too large for the carrier."),
    row(30020, Unavailable, "Twilio could not schedule the message."),
    row(30021, Unavailable, "The messaging service failed inside Twilio."),
    row(30022, Throttled, "The carrier's rate for this campaign is exceeded."),
    row(30023, Throttled, "The brand's daily cap is reached."),
    row(30024, Content, "The sender is not provisioned with this carrier."),
    row(30025, Unavailable, "Half of the daily cap at T-Mobile is used."),
    row(30026, Unavailable, "70% of the daily cap at T-Mobile is used."),
    row(30027, Throttled, "The daily cap at T-Mobile is reached."),
    row(30028, Content, "The API version is not valid."),
    row(30029, Content, "The content retention is not valid."),
    row(30030, Content, "The address retention is not valid."),
    row(30032, Content, "The toll-free sender is not verified. Verify it with Twilio."),
    row(30033, Content, "The sender's 10DLC campaign is suspended. Contact Twilio."),
    row(30034, Content, "The sender is not on an approved 10DLC campaign. Register it with Twilio."),
    row(30035, Content, "The sender is still being set up for 10DLC. Try later or use another sender."),
    row(30036, Unavailable, "The message's validity period ran out in Twilio's queue."),
    row(30122, Unavailable, "The fallback URL set at Twilio is not valid."),
    row(30123, Unavailable, "The callback URL set at Twilio is missing."),
    row(30125, Content, "The sender could not be registered for 10DLC."),
    row(30410, Unknown, "The carrier did not answer Twilio in time; the message may have been delivered."),
    row(30450, Unavailable, "Twilio blocks the delivery for a while."),
    row(30882, Account, "The 10DLC campaign was rejected: its terms."),
    row(30883, Account, "The 10DLC campaign was rejected: its content."),
    row(30884, Account, "The 10DLC campaign was rejected: spam or phishing."),
    row(30885, Account, "The 10DLC campaign was rejected: high risk."),
    row(30886, Account, "The 10DLC campaign was rejected: its description."),
    row(30897, Account, "The 10DLC campaign was rejected: content that is not allowed."),
    row(63001, Content, "WhatsApp rejected Twilio's sign-in for this sender. Reconnect the WhatsApp sender in Twilio's console."),
    row(63002, Content, "WhatsApp does not know the sender. Check the WhatsApp sender in Twilio's console."),
    row(63003, Recipient, "The recipient is not on WhatsApp, or their number is not active."),
    row(63005, Content, "WhatsApp refused the content."),
    row(63006, Content, "The content cannot be brought into WhatsApp's form."),
    row(63007, Content, "Twilio knows no WhatsApp sender with this number. Register it in Twilio's console."),
    row(63008, Content, "The WhatsApp sender is set up wrongly in Twilio's console."),
    row(63009, Unavailable, "WhatsApp failed."),
    row(63010, Unavailable, "Twilio failed inside."),
    row(63012, Unavailable, "WhatsApp failed inside."),
    row(63013, Content, "The message breaks WhatsApp's policy."),
    row(63014, OptedOut, "The recipient has blocked this sender on WhatsApp."),
    row(63015, Recipient, "The recipient has not joined the WhatsApp sandbox."),
    row(63016, Content, "The recipient has not written in the last 24 hours, so WhatsApp only takes an approved template."),
    row(63017, Throttled, "WhatsApp's rate is exceeded."),
    row(63018, Throttled, "WhatsApp's rate for this sender is exceeded."),
    row(63019, Content, "The media could not be downloaded from its URL."),
    row(63020, Content, "The WhatsApp business account has a fault. Check it in Meta's business manager."),
    row(63021, Content, "WhatsApp does not accept the content."),
    row(63022, Content, "The sender's WhatsApp name certificate is not valid. Register the sender again."),
    row(63023, Unavailable, "WhatsApp reported a general error."),
    row(63024, Recipient, "WhatsApp does not accept the recipient."),
    row(63026, Content, "WhatsApp flagged the sender's content as spam."),
    row(63027, Content, "The template does not exist in this language."),
    row(63028, Content, "The template has another number of parameters."),
    row(63029, Unavailable, "The template could not be downloaded."),
    row(63030, Content, "The template does not support a parameter."),
    row(63031, Content, "Sender and recipient are the same."),
    row(63032, Recipient, "WhatsApp limits messages to this recipient."),
    row(63033, Recipient, "The recipient is blocked on WhatsApp."),
    row(63034, Content, "The media is too large."),
    row(63035, Content, "The RCS agent is not launched."),
    row(63036, Recipient, "The recipient cannot be reached by RCS."),
    row(63037, Content, "The media could not be uploaded."),
    row(63038, Throttled, "The Twilio account's daily limit is reached."),
    row(63041, Content, "WhatsApp has paused the template for its quality."),
    row(63042, Content, "WhatsApp has disabled the template."),
    row(63049, Unavailable, "Meta chose not to deliver this marketing message now."),
    row(63051, Content, "The WhatsApp business account is locked. Contact Meta."),
];

/// The failure behind a code that came with a message: in a report, a look-up, or an answer that took it and failed it at once. Twilio adds
/// and splits codes, so one we do not know says nothing about the recipient.
pub(super) fn reported(code: u32, words: &str) -> Failure {
    known(code)
        .unwrap_or_else(|| {
            let link = format!("https://www.twilio.com/docs/api/errors/{code}");
            Failure::new(
                Unavailable,
                code.to_string(),
                format!("Twilio did not deliver the message (error {code}). See {link}."),
            )
        })
        .with_provider_detail(words)
}

/// The failure behind a refused request: by Twilio's code, or by the HTTP status when there is none or a new one.
pub(super) fn refused(status: u16, code: Option<u32>, words: &str) -> Failure {
    code.and_then(known).unwrap_or_else(|| by_status(status, code)).with_provider_detail(words)
}

fn known(code: u32) -> Option<Failure> {
    let row = &ROWS[ROWS.binary_search_by_key(&code, |row| row.code).ok()?];
    let wait_ms = match code {
        30023 | 30027 | 63038 => Some(DAILY_CAP_WAIT_MS),
        63049 => Some(MARKETING_WAIT_MS),
        _ => None,
    };
    Some(Failure::new(row.kind, code.to_string(), row.says).with_retry_after_ms(wait_ms))
}

fn by_status(status: u16, code: Option<u32>) -> Failure {
    let (kind, says) = match status {
        401 | 403 => (Account, "Twilio rejected the credentials (HTTP {}). Update the account SID and auth token."),
        402 => (Account, "Twilio wants a payment first (HTTP {}). Check the account's balance in Twilio's console."),
        404 => (
            Account,
            "Twilio does not find the account (HTTP {}). Check the account SID, and the connector's base URL.",
        ),
        408 => (Unknown, "Twilio gave up waiting (HTTP {}) and did not say whether it took the message."),
        429 => (Throttled, "Too many requests for this Twilio account (HTTP {})."),
        400..=499 => (Content, "Twilio refused the message (HTTP {})."),
        _ => (Unknown, "Twilio answered HTTP {} and did not say whether it took the message."),
    };
    let code = code.map_or_else(|| format!("http_{status}"), |code| code.to_string());
    Failure::new(kind, code, says.replace("{}", &status.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLASSES: &str = include_str!("../../tests/data/twilio-error-classes.csv");

    /// Configuration faults that every message of an account meets.
    const ACCOUNT_WIDE: &[u32] = &[
        20003, 20004, 20005, 20008, 20403, 20404, 20426, 21212, 21601, 21603, 21607, 21609, 21701, 21704, 21705, 21710,
        21711, 21712, 21713, 21714, 21715, 21717, 30002,
    ];

    #[test]
    fn each_row_of_the_dictionary_has_the_kind_of_its_class() {
        let mut seen = 0;
        for line in CLASSES.lines().skip(1) {
            let mut cells = line.splitn(3, ',');
            let (code, class) = (cells.next().unwrap().parse().unwrap(), cells.next().unwrap());
            let expected = match class {
                "PERMANENT_RECIPIENT" if matches!(code, 21610 | 63014) => OptedOut,
                "PERMANENT_RECIPIENT" => Recipient,
                "PERMANENT_CONFIG" if ACCOUNT_WIDE.contains(&code) => Account,
                "PERMANENT_CONFIG" | "PERMANENT_CONTENT" => Content,
                "COMPLIANCE" => Account,
                "RATE_LIMITED" => Throttled,
                "TRANSIENT" | "INFO" => Unavailable,
                "AMBIGUOUS" => Unknown,
                other => panic!("{code} has the unknown class {other}"),
            };
            let failure = known(code).unwrap_or_else(|| panic!("{code} is missing"));
            assert_eq!(failure.kind, expected, "{code} {class}");
            assert_eq!(failure.code, code.to_string());
            seen += 1;
        }
        // Meta's hold-back of marketing messages is not in Twilio's dictionary of 2023.
        assert_eq!(seen + 1, ROWS.len());
    }

    #[test]
    fn the_table_is_sorted_and_speaks_in_sentences() {
        assert!(ROWS.windows(2).all(|pair| pair[0].code < pair[1].code));
        assert!(ROWS.iter().all(|row| row.says.ends_with('.')));
    }

    #[test]
    fn a_new_code_is_read_by_its_status_or_left_open() {
        let kind = |status, code| refused(status, code, "").kind;
        assert_eq!(kind(400, Some(21211)), Recipient);
        assert_eq!(kind(400, Some(99_999)), Content);
        assert_eq!(kind(401, None), Account);
        assert_eq!(kind(402, None), Account);
        assert_eq!(kind(404, None), Account);
        assert_eq!(kind(408, None), Unknown);
        assert_eq!(kind(429, Some(99_999)), Throttled);
        assert_eq!(kind(500, Some(20_500)), Unknown);
        assert_eq!(kind(502, None), Unknown);
        assert_eq!(kind(302, None), Unknown);
        assert_eq!(reported(99_999, "New").kind, Unavailable);
    }

    #[test]
    fn caps_of_a_day_wait_long() {
        assert_eq!(reported(63038, "").retry_after_ms, Some(DAILY_CAP_WAIT_MS));
        assert_eq!(reported(63049, "").retry_after_ms, Some(MARKETING_WAIT_MS));
        assert_eq!(reported(20429, "").retry_after_ms, None);
    }
}
