//! What Twilio takes as a sender: a number, a short code or a name for SMS; a number for WhatsApp and calls.

use model::{BadSetting, Channel, Phone};

use super::bad;

/// How Twilio marks the address of a WhatsApp message.
pub(super) const WHATSAPP: &str = "whatsapp:";

/// Longest alphanumeric sender (<https://www.twilio.com/docs/glossary/what-alphanumeric-sender-id>), set by the GSM networks.
const NAME_MAX: usize = 11;
/// Short codes have 3 to 8 digits, depending on the country.
const SHORT_CODE: std::ops::RangeInclusive<usize> = 3..=8;

/// Checks a sender on one channel.
pub(super) fn check(from: &str, channel: Channel) -> Result<(), BadSetting> {
    match channel {
        Channel::Whatsapp => number(from.strip_prefix(WHATSAPP).unwrap_or(from)),
        Channel::Voice => number(from),
        _ => sms(from),
    }
}

fn number(from: &str) -> Result<(), BadSetting> {
    from.parse::<Phone>().map(drop).map_err(|why| bad("from", why.to_string()))
}

fn sms(from: &str) -> Result<(), BadSetting> {
    if from.starts_with('+') {
        return number(from);
    }
    if from.starts_with(WHATSAPP) {
        return Err(bad("from", "is a WhatsApp sender; an SMS sender has no `whatsapp:` before it"));
    }
    if !from.is_empty() && from.bytes().all(|b| b.is_ascii_digit()) {
        return match SHORT_CODE.contains(&from.len()) {
            true => Ok(()),
            false => {
                Err(bad("from", "is neither a short code (3 to 8 digits) nor a number with a plus, as in +15550100001"))
            }
        };
    }
    let is_name_byte = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b' ' | b'-' | b'_' | b'+' | b'&');
    let is_name = from.bytes().all(is_name_byte) && from.bytes().any(|b| b.is_ascii_alphabetic());
    if !is_name || from.len() > NAME_MAX {
        return Err(bad(
            "from",
            "is neither a number such as +15550100001, a short code, nor a name of at most 11 letters and digits",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn senders_by_channel() {
        let ok = |from, channel| check(from, channel).is_ok();
        for from in ["+15550100001", "12345", "ACME", "Acme & Co", "ACME2GO", "12345678901A".get(1..).unwrap()] {
            assert!(ok(from, Channel::Sms), "{from}");
        }
        for from in [
            "",
            "15550100001",
            "12",
            "+1555010000x",
            "whatsapp:+15550100001",
            "Acme Tickets",
            "Zürich",
            "A\nB",
            "+ - &",
        ] {
            assert!(!ok(from, Channel::Sms), "{from}");
        }
        for from in ["+15550100001", "whatsapp:+15550100001"] {
            assert!(ok(from, Channel::Whatsapp), "{from}");
        }
        for from in ["ACME", "12345", "whatsapp:ACME", "sms:+15550100001"] {
            assert!(!ok(from, Channel::Whatsapp), "{from}");
            assert!(!ok(from, Channel::Voice), "{from}");
        }
        assert!(ok("+15550100001", Channel::Voice) && !ok("whatsapp:+15550100001", Channel::Voice));
    }
}
