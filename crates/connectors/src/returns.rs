//! Return addresses: where a mail's reports and answers come back to, and how such an address leads to the attempt without a look-up (VERP).
//!
//! `b+TOKEN@bounce.acme.example` for reports, `r+TOKEN@reply.acme.example` for answers: the token is the account, the attempt and a tag over both with the account's secret, in base 32, because servers on the way
//! may change the case of an address. Account and attempt are no secrets; the tag is what cannot be guessed. Sixty-three characters in front of the `@`, where mail servers allow
//! sixty-four.

use aws_lc_rs::{constant_time, hmac};
use model::{AccountId, AttemptId, Secret};

use crate::Cx;

/// Bytes an address begins with.
const PREFIX_BYTES: usize = 2;
/// Bytes of the tag: whoever guesses has to ask us each time, and there are 2^48 to try.
const TAG_BYTES: usize = 6;
/// Bytes of a token: two ids and the tag.
const TOKEN_BYTES: usize = 16 + 16 + TAG_BYTES;
const DIGITS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// What comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Reports of mail servers, to the envelope's sender.
    Report,
    /// Answers of people, to `Reply-To`.
    Reply,
}

impl Way {
    /// What its addresses begin with. Servers that know sub-addresses hand `b+…` to `b`.
    fn prefix(self) -> &'static str {
        match self {
            Self::Report => "b+",
            Self::Reply => "r+",
        }
    }

    /// What keeps the tags of the two apart.
    fn word(self) -> &'static str {
        match self {
            Self::Report => "return",
            Self::Reply => "reply",
        }
    }
}

/// Which way an address looks like, if it looks like one at all.
pub fn way_of(address: &str) -> Option<Way> {
    let prefix = address.get(..PREFIX_BYTES)?;
    [Way::Report, Way::Reply].into_iter().find(|way| prefix.eq_ignore_ascii_case(way.prefix()))
}

/// Whose settings these are.
pub(crate) fn account(cx: &Cx<'_>) -> Option<AccountId> {
    cx.callback_url.rsplit('/').next()?.parse().ok()
}

/// The address what concerns this attempt comes back to.
pub(crate) fn address(way: Way, account: AccountId, attempt: AttemptId, secret: &Secret, domain: &str) -> String {
    let mut token = [0; TOKEN_BYTES];
    token[..16].copy_from_slice(&account.ulid().to_be_bytes());
    token[16..32].copy_from_slice(&attempt.ulid().to_be_bytes());
    token[32..].copy_from_slice(&tag(way, account, attempt, secret));
    format!("{}{}@{domain}", way.prefix(), base32(&token))
}

/// Whose return address this looks like. Anybody can write one: only [`attempt_of`] says whether it is one.
pub fn account_of(address: &str) -> Option<AccountId> {
    let (token, _) = token(address)?;
    Some(AccountId::from_ulid(u128::from_be_bytes(token[..16].try_into().ok()?)))
}

/// The attempt behind a return address of this account, if we made the address.
pub(crate) fn attempt_of(
    way: Way,
    address: &str,
    account: AccountId,
    secret: &Secret,
    domain: &str,
) -> Option<AttemptId> {
    let (token, at) = token(address).filter(|_| way_of(address) == Some(way))?;
    let attempt = AttemptId::from_ulid(u128::from_be_bytes(token[16..32].try_into().ok()?));
    let is_ours = account_of(address)? == account
        && at.eq_ignore_ascii_case(domain)
        && constant_time::verify_slices_are_equal(&token[32..], &tag(way, account, attempt, secret)).is_ok();
    is_ours.then_some(attempt)
}

fn tag(way: Way, account: AccountId, attempt: AttemptId, secret: &Secret) -> [u8; TAG_BYTES] {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.reveal().as_bytes());
    let tag = hmac::sign(&key, format!("tidings {} {account} {attempt}", way.word()).as_bytes());
    let mut short = [0; TAG_BYTES];
    short.copy_from_slice(&tag.as_ref()[..TAG_BYTES]);
    short
}

/// The bytes of an address's token, and its domain.
fn token(address: &str) -> Option<([u8; TOKEN_BYTES], &str)> {
    let (local, domain) = address.rsplit_once('@')?;
    way_of(local)?;
    let text = local.get(PREFIX_BYTES..)?;
    if text.len() != (TOKEN_BYTES * 8).div_ceil(5) {
        return None;
    }
    let mut bytes = [0; TOKEN_BYTES];
    let (mut held, mut bits, mut next) = (0_u32, 0, 0);
    for digit in text.bytes() {
        let value = DIGITS.iter().position(|known| *known == digit.to_ascii_lowercase())?;
        held = held << 5 | value as u32;
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            bytes[next] = (held >> bits) as u8;
            held &= (1 << bits) - 1;
            next += 1;
        }
    }
    // The last digit has a bit that means nothing; another one would be a second address for the same attempt.
    (held == 0).then_some((bytes, domain))
}

fn base32(bytes: &[u8]) -> String {
    let (mut text, mut held, mut bits) = (String::new(), 0_u32, 0);
    let digit = |value: u32| char::from(DIGITS[(value & 31) as usize]);
    for byte in bytes {
        held = held << 8 | u32::from(*byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            text.push(digit(held >> bits));
        }
        held &= (1 << bits) - 1;
    }
    if bits > 0 {
        text.push(digit(held << (5 - bits)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::MessageId;

    const ACCOUNT: AccountId = AccountId::from_ulid(0x0193_5f0a_7c00_1234_5678_9abc_def0_1234);
    const OTHER: AccountId = AccountId::from_ulid(0x0193_5f0a_7c00_1234_5678_9abc_def0_1235);

    #[test]
    fn an_address_leads_back_to_its_attempt_and_to_nothing_else() {
        let secret = Secret::new("a secret of the account");
        let attempt = MessageId::from_ulid(u128::MAX).attempt(3);
        let made = address(Way::Report, ACCOUNT, attempt, &secret, "bounce.acme.example");
        assert_eq!(made.find('@'), Some(63), "{made}");
        assert_eq!(account_of(&made), Some(ACCOUNT));
        let read = |address: &str| attempt_of(Way::Report, address, ACCOUNT, &secret, "bounce.acme.example");
        assert_eq!(read(&made), Some(attempt));
        assert_eq!(read(&made.to_uppercase()), Some(attempt));
        assert_eq!(attempt_of(Way::Report, &made, OTHER, &secret, "bounce.acme.example"), None);
        assert_eq!(
            attempt_of(Way::Report, &made, ACCOUNT, &Secret::new("another secret"), "bounce.acme.example"),
            None
        );
        assert_eq!(read(&made.replace("bounce.", "other.")), None);
        // The two ways do not lead into each other.
        assert_eq!(read(&made.replacen("b+", "r+", 1)), None);
        let reply = address(Way::Reply, ACCOUNT, attempt, &secret, "bounce.acme.example");
        assert_eq!((way_of(&reply), read(&reply)), (Some(Way::Reply), None));
        assert_eq!(attempt_of(Way::Reply, &reply, ACCOUNT, &secret, "bounce.acme.example"), Some(attempt));
        for at in 2..63 {
            let mut changed = made.clone().into_bytes();
            changed[at] = if changed[at] == b'a' { b'b' } else { b'a' };
            assert_eq!(read(std::str::from_utf8(&changed).unwrap()), None, "changed at {at}");
        }
        for bad in
            ["", "@", "b+@bounce.acme.example", "ada@acme.example", "b+é@x", &made[1..], &made.replace('@', "a@")]
        {
            assert_eq!(account_of(bad), None, "{bad}");
        }
    }
}
