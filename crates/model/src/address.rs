//! How to reach somebody: parsed once at the edge, trusted inside.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Channel;

/// Why a text is not an address, in words for the person who typed it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadAddress(pub &'static str);

/// An E.164 number such as `+15550100001`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Phone(String);

impl Phone {
    /// With the plus sign.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Without the plus sign, as some providers want it.
    pub fn digits(&self) -> &str {
        &self.0[1..]
    }
}

/// Area codes of American toll-free numbers, which carriers verify another way than local ones.
pub const TOLL_FREE: [&str; 7] = ["800", "833", "844", "855", "866", "877", "888"];

/// True for a toll-free number of the United States, written without its country code.
pub fn is_toll_free(national: &str) -> bool {
    TOLL_FREE.iter().any(|code| national.starts_with(code))
}

impl FromStr for Phone {
    type Err = BadAddress;

    /// Accepts exactly E.164 (ITU-T): a plus, a first digit of 1–9, 7 to 15 digits in all, nothing else.
    fn from_str(text: &str) -> Result<Self, BadAddress> {
        let digits = text
            .strip_prefix('+')
            .ok_or(BadAddress("a phone number is written in E.164: a plus and the country code, as in +15550100001"))?;
        if !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(BadAddress(
                "a phone number in E.164 has only digits after the plus: no spaces, dashes or letters",
            ));
        }
        if digits.starts_with('0') {
            return Err(BadAddress("a phone number in E.164 starts with a country code, which never begins with 0"));
        }
        if !(7..=15).contains(&digits.len()) {
            return Err(BadAddress("a phone number in E.164 has 7 to 15 digits after the plus"));
        }
        Ok(Self(text.to_owned()))
    }
}

/// An e-mail address. The domain is kept in its ASCII form (IDNA), in lower case; the local part as given.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EmailAddress {
    text: String,
    at: usize,
}

impl EmailAddress {
    /// `local@domain`, the domain in ASCII.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The part before the last `@`.
    pub fn local(&self) -> &str {
        &self.text[..self.at]
    }

    /// The part after the last `@`, in ASCII and lower case.
    pub fn domain(&self) -> &str {
        &self.text[self.at + 1..]
    }
}

impl FromStr for EmailAddress {
    type Err = BadAddress;

    /// RFC 5321 lengths (64, 255, 254 octets), RFC 5322 dot-atoms; no quoting, comments or address literals. Internationalised
    /// domains become ASCII by UTS 46; an internationalised local part (RFC 6531) is kept.
    fn from_str(text: &str) -> Result<Self, BadAddress> {
        if text.chars().any(|c| c.is_control() || c.is_whitespace() || matches!(c, '\u{2028}' | '\u{2029}')) {
            return Err(BadAddress("an e-mail address has no spaces, line breaks or control characters"));
        }
        let (local, domain) = text.rsplit_once('@').ok_or(BadAddress("an e-mail address has the form name@domain"))?;
        if local.is_empty() || domain.is_empty() {
            return Err(BadAddress("an e-mail address has the form name@domain"));
        }
        if local.len() > 64 {
            return Err(BadAddress("the part before the @ is at most 64 bytes"));
        }
        let domain =
            idna::domain_to_ascii_strict(domain).map_err(|_| BadAddress("the domain is not a valid internet name"))?;
        if !domain.contains('.') {
            return Err(BadAddress("the domain needs at least one dot, as in example.com"));
        }
        let ascii = format!("{local}@{domain}");
        if ascii.len() > 254 {
            return Err(BadAddress("an e-mail address is at most 254 bytes"));
        }
        let options =
            email_address::Options::default().without_display_text().without_domain_literal().with_required_tld();
        if local.starts_with('"') || email_address::EmailAddress::parse_with_options(&ascii, options).is_err() {
            return Err(BadAddress("not a valid e-mail address"));
        }
        Ok(Self { at: local.len(), text: ascii })
    }
}

/// A Telegram chat: positive for people, negative for groups. Bots can only write to people who started them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChatId(pub i64);

/// Where one message goes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// For e-mail.
    Email(EmailAddress),
    /// For SMS, WhatsApp and voice.
    Phone(Phone),
    /// For Telegram.
    Telegram(ChatId),
    /// For a tenant's webhook endpoint: its URL.
    Url(String),
}

impl Address {
    /// Reads the text form the database keeps, knowing the channel it was stored under.
    pub fn read(channel: Channel, text: &str) -> Result<Self, BadAddress> {
        match channel {
            Channel::Email => text.parse().map(Self::Email),
            Channel::Sms | Channel::Whatsapp | Channel::Voice => text.parse().map(Self::Phone),
            Channel::Telegram => text
                .parse()
                .map(|id| Self::Telegram(ChatId(id)))
                .map_err(|_| BadAddress("a Telegram chat id is a whole number")),
            Channel::Webhook => Ok(Self::Url(text.to_owned())),
        }
    }

    /// True when this kind of address can be reached over `channel`.
    pub fn fits(&self, channel: Channel) -> bool {
        match self {
            Self::Email(_) => channel == Channel::Email,
            Self::Phone(_) => matches!(channel, Channel::Sms | Channel::Whatsapp | Channel::Voice),
            Self::Telegram(_) => channel == Channel::Telegram,
            Self::Url(_) => channel == Channel::Webhook,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Email(email) => f.write_str(email.as_str()),
            Self::Phone(phone) => f.write_str(phone.as_str()),
            Self::Telegram(ChatId(id)) => write!(f, "{id}"),
            Self::Url(url) => f.write_str(url),
        }
    }
}

/// A sender as people write it: `Acme Tickets <tickets@acme.example>`, or the bare address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mailbox {
    /// The name shown to the reader, without quotes.
    pub name: Option<String>,
    /// The address itself.
    pub address: EmailAddress,
}

impl FromStr for Mailbox {
    type Err = BadAddress;

    fn from_str(text: &str) -> Result<Self, BadAddress> {
        if text.chars().any(char::is_control) {
            return Err(BadAddress("a sender has no line breaks or control characters"));
        }
        let text = text.trim();
        let Some((name, rest)) = text.split_once('<') else {
            return Ok(Self { name: None, address: text.parse()? });
        };
        let address = rest.strip_suffix('>').ok_or(BadAddress("a sender is written as Name <name@domain>"))?.parse()?;
        let name = name.trim();
        let name = name.strip_prefix('"').and_then(|n| n.strip_suffix('"')).unwrap_or(name);
        Ok(Self { name: (!name.is_empty()).then(|| name.to_owned()), address })
    }
}

impl fmt::Display for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{name} <{}>", self.address.as_str()),
            None => f.write_str(self.address.as_str()),
        }
    }
}

macro_rules! text_serde {
    ($($name:ident),+) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> { serializer.serialize_str(self.as_str()) }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                std::borrow::Cow::<'de, str>::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    )+};
}
text_serde!(Phone, EmailAddress);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phones() {
        for good in ["+15550100001", "+4915112345678", "+1234567", "+123456789012345"] {
            assert_eq!(good.parse::<Phone>().unwrap().as_str(), good);
        }
        for bad in [
            "",
            "15550100001",
            "+0155501",
            "+1 555 0100",
            "+1555a",
            "+123456",
            "+1234567890123456",
            "+1555\n0100",
            "whatsapp:+15550100001",
        ] {
            assert!(bad.parse::<Phone>().is_err(), "{bad}");
        }
    }

    #[test]
    fn emails() {
        for (given, kept) in [
            ("ada@example.com", "ada@example.com"),
            ("Ada.L+x@EXAMPLE.com", "Ada.L+x@example.com"),
            ("ada@bücher.example", "ada@xn--bcher-kva.example"),
            ("用户@例子.example", "用户@xn--fsqu00a.example"),
        ] {
            assert_eq!(given.parse::<EmailAddress>().unwrap().as_str(), kept);
        }
        for bad in [
            "",
            "ada",
            "ada@",
            "@example.com",
            "ada@localhost",
            "a b@example.com",
            "ada@example.com\r\nBcc: x@y.z",
            "ada@exa mple.com",
            "ada..b@example.com",
            ".ada@example.com",
            "ada@[127.0.0.1]",
            "\"a b\"@example.com",
            "ada@-example.com",
            "ada@example.com,bob@example.com",
            "Ada <ada@example.com>",
            "ada\u{2028}@example.com",
            "a\0@example.com",
        ] {
            assert!(bad.parse::<EmailAddress>().is_err(), "{bad:?}");
        }
        assert!(format!("{}@example.com", "a".repeat(65)).parse::<EmailAddress>().is_err());
    }

    #[test]
    fn mailboxes() {
        let full: Mailbox = "Acme Tickets <tickets@acme.example>".parse().unwrap();
        assert_eq!(full.name.as_deref(), Some("Acme Tickets"));
        assert_eq!(full.to_string(), "Acme Tickets <tickets@acme.example>");
        let bare: Mailbox = "tickets@acme.example".parse().unwrap();
        assert_eq!(bare.name, None);
        assert_eq!("\"Acme, Inc.\" <a@acme.example>".parse::<Mailbox>().unwrap().name.as_deref(), Some("Acme, Inc."));
        assert!("Acme\r\nBcc: <a@acme.example>".parse::<Mailbox>().is_err());
    }
}
