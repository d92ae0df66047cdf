//! What stands in a tracked address: whose message, which link, and where it leads, under a signature. Nothing is looked up to follow one, and nobody can make one that leads
//! elsewhere.

use aws_lc_rs::{
    constant_time,
    hmac::{self, HMAC_SHA256, Key},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use model::{AttachmentId, MessageId, TenantId, Timestamp};

/// Bytes of the signature: 128 bits, as many as an id has.
const TAG_LEN: usize = 16;
/// Longest token looked at: a link of two kilobytes and what is around it.
const TOKEN_MAX: usize = 3_000;
/// Longest link that is tracked; longer ones stay what they are.
pub const URL_MAX: usize = 2_000;

/// What an address stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// The picture that tells of an opening.
    Pixel(MessageId),
    /// A link: its place among the message's, how many those are, and where it leads.
    Link {
        /// Of which message.
        message: MessageId,
        /// From 0.
        index: u16,
        /// Tracked links of the message.
        count: u16,
        /// Where it leads.
        url: String,
    },
    /// A link no person sees.
    Trap(MessageId),
    /// A tenant's logo.
    Logo(AttachmentId),
    /// A document a provider fetches to deliver it.
    Document {
        /// Which file.
        file: AttachmentId,
        /// Until when it can be fetched, in whole seconds.
        until: Timestamp,
    },
}

/// Signs and checks addresses with a key for each tenant, derived from the installation's.
#[derive(Clone)]
pub struct Signer(Key);

impl Signer {
    /// A signer with the installation's secret.
    pub fn new(secret: &[u8]) -> Self {
        Self(Key::new(HMAC_SHA256, secret))
    }

    fn of(&self, tenant: TenantId) -> Key {
        let label = [b"tidings tracking 1:".as_slice(), &tenant.ulid().to_be_bytes()].concat();
        Key::new(HMAC_SHA256, hmac::sign(&self.0, &label).as_ref())
    }

    /// The token for a target.
    pub fn token(&self, tenant: TenantId, target: &Target) -> String {
        let mut bytes = Vec::with_capacity(64);
        let head = |bytes: &mut Vec<u8>, kind: u8, id: u128| {
            bytes.push(kind);
            bytes.extend_from_slice(&tenant.ulid().to_be_bytes());
            bytes.extend_from_slice(&id.to_be_bytes());
        };
        match target {
            Target::Pixel(message) => head(&mut bytes, b'o', message.ulid()),
            Target::Trap(message) => head(&mut bytes, b't', message.ulid()),
            Target::Logo(file) => head(&mut bytes, b'l', file.ulid()),
            Target::Document { file, until } => {
                head(&mut bytes, b'd', file.ulid());
                bytes.extend_from_slice(&until.as_seconds().to_be_bytes());
            }
            Target::Link { message, index, count, url } => {
                head(&mut bytes, b'c', message.ulid());
                bytes.extend_from_slice(&index.to_be_bytes());
                bytes.extend_from_slice(&count.to_be_bytes());
                bytes.extend_from_slice(url.as_bytes());
            }
        }
        let tag = hmac::sign(&self.of(tenant), &bytes);
        bytes.extend_from_slice(&tag.as_ref()[..TAG_LEN]);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// What a token stands for; `None` when we did not make it.
    pub fn read(&self, token: &str) -> Option<(TenantId, Target)> {
        if token.len() > TOKEN_MAX {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (body, tag) = bytes.split_at_checked(bytes.len().checked_sub(TAG_LEN)?)?;
        let id = |from: usize| Some(u128::from_be_bytes(body.get(from..from + 16)?.try_into().ok()?));
        let tenant = TenantId::from_ulid(id(1)?);
        let expected = hmac::sign(&self.of(tenant), body);
        constant_time::verify_slices_are_equal(&expected.as_ref()[..TAG_LEN], tag).ok()?;
        let (number, rest) = (id(17)?, &body[33..]);
        let target = match body[0] {
            b'o' => Target::Pixel(MessageId::from_ulid(number)),
            b't' => Target::Trap(MessageId::from_ulid(number)),
            b'l' => Target::Logo(AttachmentId::from_ulid(number)),
            b'd' => Target::Document {
                file: AttachmentId::from_ulid(number),
                until: Timestamp::from_seconds(i64::from_be_bytes(rest.get(..8)?.try_into().ok()?)),
            },
            b'c' => Target::Link {
                message: MessageId::from_ulid(number),
                index: u16::from_be_bytes(rest.get(..2)?.try_into().ok()?),
                count: u16::from_be_bytes(rest.get(2..4)?.try_into().ok()?),
                url: String::from_utf8(rest.get(4..)?.to_vec()).ok()?,
            },
            _ => return None,
        };
        Some((tenant, target))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn link(url: &str) -> Target {
        Target::Link { message: MessageId::from_ulid(5), index: 1, count: 3, url: url.to_owned() }
    }

    #[test]
    fn a_token_of_another_tenant_or_installation_is_none() {
        let (signer, other) = (Signer::new(b"one"), Signer::new(b"two"));
        let tenant = TenantId::from_ulid(9);
        let token = signer.token(tenant, &link("https://a.example/?b=1"));
        assert_eq!(signer.read(&token), Some((tenant, link("https://a.example/?b=1"))));
        assert_eq!(other.read(&token), None);
        let mut bytes = URL_SAFE_NO_PAD.decode(&token).unwrap();
        bytes[16] ^= 1;
        assert_eq!(signer.read(&URL_SAFE_NO_PAD.encode(bytes)), None, "the tenant is signed with it");
        for text in ["", "x", "%%%", &token[1..], &format!("{token}AAAA"), &"A".repeat(5_000)] {
            assert_eq!(signer.read(text), None);
        }
    }

    #[test]
    fn a_documents_address_says_until_when() {
        let (signer, tenant) = (Signer::new(b"one"), TenantId::from_ulid(9));
        let target =
            Target::Document { file: AttachmentId::from_ulid(4), until: Timestamp::from_seconds(1_800_000_000) };
        assert_eq!(signer.read(&signer.token(tenant, &target)), Some((tenant, target)));
    }

    proptest! {
        #[test]
        fn what_is_signed_is_read_and_nothing_else(url in ".{0,60}", at in 0_usize..200, bit in 0_u8..8) {
            let (signer, tenant) = (Signer::new(b"secret"), TenantId::from_ulid(77));
            let token = signer.token(tenant, &link(&url));
            prop_assert_eq!(signer.read(&token), Some((tenant, link(&url))));
            let mut bytes = URL_SAFE_NO_PAD.decode(&token).unwrap();
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
            prop_assert_eq!(signer.read(&URL_SAFE_NO_PAD.encode(bytes)), None);
        }
    }
}
