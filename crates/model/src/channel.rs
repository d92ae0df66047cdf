//! The ways to reach somebody, and what kind of message it is.

use serde::{Deserialize, Serialize};

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal / $code:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name { $($(#[$vdoc])* #[serde(rename = $word)] $variant = $code,)+ }

        impl $name {
            /// Every value, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word used in JSON, SQL and logs.
            pub const fn as_str(self) -> &'static str { match self { $(Self::$variant => $word),+ } }

            /// The small number the database keeps.
            pub const fn code(self) -> i64 { self as i64 }

            /// Reads the database's number.
            pub const fn from_code(code: i64) -> Option<Self> { match code { $($code => Some(Self::$variant),)+ _ => None } }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str(self.as_str()) }
        }

        impl std::str::FromStr for $name {
            type Err = String;
            fn from_str(text: &str) -> Result<Self, String> {
                match text { $($word => Ok(Self::$variant),)+ _ => Err(format!("expected one of {}", [$($word),+].join(", "))) }
            }
        }
    };
}
pub(crate) use words;

words! {
    /// A way to reach somebody.
    Channel {
        /// E-mail.
        Email = "email" / 1,
        /// SMS and MMS.
        Sms = "sms" / 2,
        /// WhatsApp.
        Whatsapp = "whatsapp" / 3,
        /// Telegram.
        Telegram = "telegram" / 4,
        /// A spoken call.
        Voice = "voice" / 5,
        /// A tenant's own HTTP endpoint: events out walk the same path as messages, but are not messages to people.
        Webhook = "webhook" / 6,
    }
}

words! {
    /// Why a message is sent; the law treats the two apart.
    Purpose {
        /// Part of something the recipient asked for: a ticket, an invoice, a code.
        Transactional = "transactional" / 0,
        /// Everything else. Always leaves after transactional work.
        Marketing = "marketing" / 1,
    }
}

words! {
    /// Order within one purpose.
    Priority {
        /// Before normal: one-time codes, alarms.
        High = "high" / 0,
        /// The default.
        Normal = "normal" / 1,
        /// After normal: digests, reports.
        Low = "low" / 2,
    }
}

words! {
    /// What to do when nobody can say whether the provider took a message.
    Guarantee {
        /// Ask the provider first where it can be asked, then try again; the timeline marks the possible duplicate.
        AtLeastOnce = "at_least_once" / 0,
        /// Never try again: the message becomes `unknown` until the provider says what happened.
        AtMostOnce = "at_most_once" / 1,
    }
}

/// A lane's place in the order of work: 0 leaves first. Transactional 0–2, marketing 3–5.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Class(u8);

impl Class {
    /// Number of classes.
    pub const COUNT: u8 = 6;

    /// The class of a message.
    pub const fn new(purpose: Purpose, priority: Priority) -> Self {
        Self(purpose as u8 * 3 + priority as u8)
    }

    /// The number the database keeps.
    pub const fn code(self) -> i64 {
        self.0 as i64
    }

    /// Reads the database's number.
    pub const fn from_code(code: i64) -> Option<Self> {
        if code >= 0 && code < Self::COUNT as i64 { Some(Self(code as u8)) } else { None }
    }

    /// True for marketing: work that gives way.
    pub const fn is_bulk(self) -> bool {
        self.0 >= 3
    }
}
