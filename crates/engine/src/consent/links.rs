//! Links in marketing messages: unsubscribe, preferences, and the confirmation of a double opt-in.
//!
//! A link carries all it needs (message, contact, address, channel, topic), sealed with AES-256-GCM under a key of the tenant's own secret, so it can neither be read, guessed, changed nor
//! used for somebody else, and works without any row. The nonce is a keyed hash of what is sealed: the same link is the same text each time, and two different ones never share a nonce.

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hmac,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use model::{Channel, ConsentId, ContactId, MessageId, TenantId, Timestamp};

use super::policy::Policy;

const VERSION: u8 = 1;
/// Longest token that is looked at, in characters: an address, a topic and some ids.
const TOKEN_MAX: usize = 1_000;
/// How long a link to the preferences shows them, in seconds: half a year. Unsubscribing works for ever: no law says that a person may be tired of a sender only for a while.
const PREFERENCES_KEPT_S: i64 = 183 * 86_400;
/// How long a question for consent can be answered, in seconds: a week.
const CONFIRM_KEPT_S: i64 = 7 * 86_400;

/// What a link is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// No more marketing.
    Unsubscribe = 1,
    /// See and change what is sent.
    Preferences = 2,
    /// Confirm consent.
    Confirm = 3,
}

impl Kind {
    /// The first part of its path.
    pub const fn path(self) -> &'static str {
        match self {
            Self::Unsubscribe => "u",
            Self::Preferences => "p",
            Self::Confirm => "c",
        }
    }
}

/// What a link says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Whose sender.
    pub tenant_id: TenantId,
    /// What for.
    pub kind: Kind,
    /// The message it stands in.
    pub message_id: Option<MessageId>,
    /// The contact it was sent to.
    pub contact_id: Option<ContactId>,
    /// The consent to be confirmed.
    pub consent_id: Option<ConsentId>,
    /// Over which channel.
    pub channel: Channel,
    /// When it was made.
    pub made_at: Timestamp,
    /// The message's topic; empty for none.
    pub topic: String,
    /// The address it was sent to.
    pub address: String,
}

impl Link {
    /// True when its time is over.
    pub fn is_over(&self, now: Timestamp) -> bool {
        let kept_s = match self.kind {
            Kind::Unsubscribe => return false,
            Kind::Preferences => PREFERENCES_KEPT_S,
            Kind::Confirm => CONFIRM_KEPT_S,
        };
        now > self.made_at.plus_seconds(kept_s)
    }

    /// Its text; `None` without a secret.
    pub fn seal(&self, policy: &Policy) -> Option<String> {
        let ulid = |id: Option<u128>| id.unwrap_or_default().to_be_bytes();
        let mut plain = vec![self.kind as u8, self.channel.code() as u8];
        plain.extend(ulid(self.message_id.map(MessageId::ulid).or(self.consent_id.map(ConsentId::ulid))));
        plain.extend(ulid(self.contact_id.map(ContactId::ulid)));
        plain.extend(u32::try_from(self.made_at.as_seconds()).unwrap_or_default().to_be_bytes());
        plain.push(u8::try_from(self.topic.len()).ok()?);
        plain.extend(self.topic.as_bytes());
        plain.extend(self.address.as_bytes());
        let tag = hmac::sign(&policy.key("tidings link nonce 1")?, &plain);
        let nonce: [u8; NONCE_LEN] = tag.as_ref()[..NONCE_LEN].try_into().ok()?;
        let aad = Aad::from(self.tenant_id.ulid().to_be_bytes());
        key(policy)?.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut plain).ok()?;
        let bytes = [&[VERSION][..], &self.tenant_id.ulid().to_be_bytes(), &nonce, &plain].concat();
        Some(URL_SAFE_NO_PAD.encode(bytes))
    }

    /// Whose a token claims to be, before anything is opened.
    pub fn tenant(token: &str) -> Option<TenantId> {
        let bytes = bytes(token)?;
        Some(TenantId::from_ulid(u128::from_be_bytes(bytes.get(1..17)?.try_into().ok()?)))
    }

    /// Opens a token; `None` for everything this tenant's secret did not seal as this kind.
    pub fn open(token: &str, kind: Kind, policy: &Policy) -> Option<Self> {
        let tenant_id = Self::tenant(token)?;
        let mut bytes = bytes(token)?;
        let nonce: [u8; NONCE_LEN] = bytes.get(17..17 + NONCE_LEN)?.try_into().ok()?;
        let sealed = bytes.get_mut(17 + NONCE_LEN..)?;
        let aad = Aad::from(tenant_id.ulid().to_be_bytes());
        let plain = key(policy)?.open_in_place(Nonce::assume_unique_for_key(nonce), aad, sealed).ok()?;
        let (head, rest) = plain.split_at_checked(2 + 16 + 16 + 4 + 1)?;
        let id = |from: usize| Some(u128::from_be_bytes(head.get(from..from + 16)?.try_into().ok()?));
        let named = id(2).filter(|id| *id != 0);
        let (topic, address) = rest.split_at_checked(usize::from(head[38]))?;
        let is_confirm = kind == Kind::Confirm;
        let link = Self {
            tenant_id,
            kind,
            message_id: named.filter(|_| !is_confirm).map(MessageId::from_ulid),
            consent_id: named.filter(|_| is_confirm).map(ConsentId::from_ulid),
            contact_id: id(18).filter(|id| *id != 0).map(ContactId::from_ulid),
            channel: Channel::from_code(i64::from(head[1]))?,
            made_at: Timestamp::from_seconds(i64::from(u32::from_be_bytes(head[34..38].try_into().ok()?))),
            topic: String::from_utf8(topic.to_vec()).ok()?,
            address: String::from_utf8(address.to_vec()).ok()?,
        };
        (head[0] == kind as u8).then_some(link)
    }
}

fn bytes(token: &str) -> Option<Vec<u8>> {
    if token.len() > TOKEN_MAX {
        return None;
    }
    URL_SAFE_NO_PAD.decode(token).ok().filter(|bytes| bytes.first() == Some(&VERSION))
}

fn key(policy: &Policy) -> Option<LessSafeKey> {
    // Sealing a fixed text under the derived key makes 32 bytes of key out of it.
    let bytes = hmac::sign(&policy.key("tidings link 1")?, b"AES-256-GCM");
    Some(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, bytes.as_ref()).ok()?))
}

/// The links of one message, as its content and headers name them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Links {
    /// `{{ unsubscribe_url }}`.
    pub unsubscribe_url: String,
    /// `{{ preferences_url }}`.
    pub preferences_url: String,
}

impl Links {
    /// The links of a message to an address. `None` while the tenant has no secret.
    pub fn of(
        policy: &Policy,
        public_url: &str,
        tenant_id: TenantId,
        message: &store::messages::Message,
    ) -> Option<Self> {
        let url = |kind: Kind| {
            let link = Link {
                tenant_id,
                kind,
                message_id: Some(message.id),
                contact_id: message.contact_id,
                consent_id: None,
                channel: message.channel,
                made_at: message.created_at,
                topic: message.topic.clone().unwrap_or_default(),
                address: message.address.clone(),
            };
            Some(format!("{public_url}/{}/{}", kind.path(), link.seal(policy)?))
        };
        Some(Self { unsubscribe_url: url(Kind::Unsubscribe)?, preferences_url: url(Kind::Preferences)? })
    }

    /// Links as long as real ones, for looking at a message before it exists.
    pub fn sample(public_url: &str) -> Self {
        let token = "x".repeat(144);
        Self {
            unsubscribe_url: format!("{public_url}/{}/{token}", Kind::Unsubscribe.path()),
            preferences_url: format!("{public_url}/{}/{token}", Kind::Preferences.path()),
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;

    fn policy(secret: u8) -> Policy {
        Policy::with_secret(TimeZone::UTC, vec![secret; 32])
    }

    fn link() -> Link {
        Link {
            tenant_id: TenantId::from_ulid(7),
            kind: Kind::Unsubscribe,
            message_id: Some(MessageId::from_ulid(1 << 90)),
            contact_id: Some(ContactId::from_ulid(3)),
            consent_id: None,
            channel: Channel::Email,
            made_at: Timestamp::from_seconds(1_700_000_000),
            topic: "news".to_owned(),
            address: "ada@example.com".to_owned(),
        }
    }

    #[test]
    fn a_link_says_what_was_sealed_and_hides_it() {
        let token = link().seal(&policy(1)).unwrap();
        assert_eq!(Link::tenant(&token), Some(TenantId::from_ulid(7)));
        assert_eq!(Link::open(&token, Kind::Unsubscribe, &policy(1)), Some(link()));
        let bytes = URL_SAFE_NO_PAD.decode(&token).unwrap();
        assert!(!bytes.windows(3).any(|part| part == b"ada"));
        let bare = Link { message_id: None, contact_id: None, topic: String::new(), ..link() };
        assert_eq!(Link::open(&bare.seal(&policy(1)).unwrap(), Kind::Unsubscribe, &policy(1)), Some(bare));
        let confirm =
            Link { kind: Kind::Confirm, message_id: None, consent_id: Some(ConsentId::from_ulid(9)), ..link() };
        assert_eq!(Link::open(&confirm.seal(&policy(1)).unwrap(), Kind::Confirm, &policy(1)), Some(confirm));
    }

    #[test]
    fn a_link_that_was_touched_or_is_another_does_not_open() {
        let token = link().seal(&policy(1)).unwrap();
        assert_eq!(Link::open(&token, Kind::Unsubscribe, &policy(2)), None);
        assert_eq!(Link::open(&token, Kind::Preferences, &policy(1)), None);
        let bytes = URL_SAFE_NO_PAD.decode(&token).unwrap();
        for index in 0..bytes.len() {
            let mut forged = bytes.clone();
            forged[index] ^= 1;
            assert_eq!(Link::open(&URL_SAFE_NO_PAD.encode(forged), Kind::Unsubscribe, &policy(1)), None, "{index}");
        }
        for text in ["", "x", &token[1..], &"A".repeat(2_000)] {
            assert_eq!(Link::open(text, Kind::Unsubscribe, &policy(1)), None);
        }
    }

    #[test]
    fn unsubscribing_works_for_ever_and_the_rest_for_a_while() {
        let later = |days: i64| link().made_at.plus_seconds(days * 86_400);
        let of = |kind| Link { kind, ..link() };
        assert!(!of(Kind::Unsubscribe).is_over(later(4_000)));
        assert!(!of(Kind::Preferences).is_over(later(180)) && of(Kind::Preferences).is_over(later(190)));
        assert!(!of(Kind::Confirm).is_over(later(6)) && of(Kind::Confirm).is_over(later(8)));
    }

    #[test]
    fn a_sample_is_as_long_as_a_link() {
        let real = format!("https://tidings.example/u/{}", link().seal(&policy(1)).unwrap());
        let sample = Links::sample("https://tidings.example").unsubscribe_url;
        assert!(sample.len().abs_diff(real.len()) < 20, "{} {}", sample.len(), real.len());
    }
}
