//! What becomes of a message, told by its recipient's address, so that a test needs no script for the usual stories.

use serde::{Deserialize, Serialize};

use crate::message::Stage;

/// What becomes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// It arrives; over WhatsApp it is read as well.
    Arrives,
    /// Refused at once: there is no such recipient.
    Refused,
    /// Refused, or undelivered where the provider only tells later: the recipient opted out.
    OptedOut,
    /// Refused at once: too many requests.
    Throttled,
    /// Taken, and not delivered.
    Fails,
    /// Taken, and nothing more is heard.
    Silent,
    /// A mail that comes back for good.
    Bounces,
    /// A mail that comes back for now.
    SoftBounces,
    /// A mail that is opened and clicked.
    Clicks,
    /// A mail that is called spam.
    Complains,
    /// A mail that is answered with an unsubscription.
    Unsubscribes,
}

/// The local parts of mail addresses with a story of their own; what follows a `+` does not matter.
const MAILS: &[(&str, Fate)] = &[
    ("refused", Fate::Refused),
    ("throttled", Fate::Throttled),
    ("fails", Fate::Fails),
    ("silent", Fate::Silent),
    ("bounce", Fate::Bounces),
    ("soft-bounce", Fate::SoftBounces),
    ("clicks", Fate::Clicks),
    ("complaint", Fate::Complains),
    ("unsubscribes", Fate::Unsubscribes),
];

/// The last seven digits of phone numbers and chats with a story of their own.
const NUMBERS: &[(&str, Fate)] = &[
    ("5550001", Fate::Refused),
    ("5550002", Fate::Fails),
    ("5550003", Fate::OptedOut),
    ("5550004", Fate::Silent),
    ("5550005", Fate::Throttled),
];

impl Fate {
    /// What becomes of messages to an address.
    pub fn of(address: &str) -> Self {
        let of_mail = address.rsplit_once('@').and_then(|(local, _)| {
            let local = local.split('+').next().unwrap_or_default();
            MAILS.iter().find(|(name, _)| name.eq_ignore_ascii_case(local))
        });
        let of_number = || NUMBERS.iter().find(|(digits, _)| address.ends_with(digits));
        of_mail.or_else(of_number).map_or(Self::Arrives, |(_, fate)| *fate)
    }

    /// How far a message comes over a channel. Mails that fail do so at the provider; everything else at the recipient's end.
    pub fn stages(self, channel: &str) -> &'static [Stage] {
        use Stage::{
            Answered, Bounced, Clicked, Complained, Delivered, Failed, Opened, OptedOut, Read, Ringing, Sent,
            SoftBounced, Unsubscribed,
        };
        match (self, channel) {
            (Self::Refused | Self::Throttled | Self::Silent, _) => &[],
            (Self::OptedOut, _) => &[OptedOut],
            (Self::Fails, "email") => &[Failed],
            (Self::Fails, "voice") => &[Sent, Ringing, Failed],
            (Self::Fails, _) => &[Sent, Failed],
            (Self::Bounces, _) => &[Sent, Bounced],
            (Self::SoftBounces, _) => &[Sent, SoftBounced],
            (Self::Clicks, _) => &[Sent, Delivered, Opened, Clicked],
            (Self::Complains, _) => &[Sent, Delivered, Complained],
            (Self::Unsubscribes, _) => &[Sent, Delivered, Unsubscribed],
            (Self::Arrives, "voice") => &[Sent, Ringing, Answered, Delivered],
            (Self::Arrives, "whatsapp") => &[Sent, Delivered, Read],
            (Self::Arrives, _) => &[Sent, Delivered],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_tell_what_becomes_of_a_message() {
        for (address, wanted) in [
            ("ada@example.com", Fate::Arrives),
            ("bounce@example.com", Fate::Bounces),
            ("Soft-Bounce+7@example.com", Fate::SoftBounces),
            ("bouncer@example.com", Fate::Arrives),
            ("+15005550001", Fate::Refused),
            ("whatsapp:+15005550003", Fate::OptedOut),
            ("447700900000", Fate::Arrives),
            ("987655550002", Fate::Fails),
        ] {
            assert_eq!(Fate::of(address), wanted, "{address}");
        }
    }
}
