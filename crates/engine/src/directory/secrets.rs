//! What of an account stands nowhere in clear: not in the callback log, nor in recorded exchanges, nor in views of who may not change it.

use std::iter;

use super::{Account, DOTS};

/// Shortest part of a setting that is searched for, in bytes: shorter ones occur by chance.
const SECRET_MIN: usize = 4;

/// What of an account nobody may read who may not change it: its secret settings, and the secrets in its addresses, each in every form it is written in, the longest first.
#[derive(Debug, Clone)]
pub(crate) struct Secrets(Vec<String>);

impl Secrets {
    /// Those of one account; [`Account::secrets`] keeps them.
    pub(super) fn of(account: &Account) -> Self {
        let settings = account.values.secrets(account.connector.spec().fields);
        let parts = settings.flat_map(|secret| iter::once(secret).chain(secret.split_whitespace())).map(str::to_owned);
        Self::all(parts.filter(|part| part.len() >= SECRET_MIN).chain(account.address_secrets()))
    }

    fn all(plain: impl Iterator<Item = String>) -> Self {
        let mut forms: Vec<String> = plain.flat_map(forms).collect();
        forms.sort_unstable_by(|one, other| other.len().cmp(&one.len()).then_with(|| one.cmp(other)));
        forms.dedup();
        Self(forms)
    }

    /// A text without them.
    pub fn hidden(&self, text: String) -> String {
        let hide =
            |text: String, secret: &String| if text.contains(secret) { text.replace(secret, DOTS) } else { text };
        self.0.iter().fold(text, hide)
    }

    /// Bytes without them.
    pub fn hidden_bytes(&self, bytes: &[u8]) -> Vec<u8> {
        self.0.iter().fold(bytes.to_vec(), |bytes, secret| replaced(bytes, secret.as_bytes()))
    }
}

/// A secret as it is, and as it stands in an address, with capital or small hexadecimal digits, and in a form.
fn forms(secret: String) -> [String; 4] {
    let form = form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    [escaped(&secret, false), escaped(&secret, true), form, secret]
}

/// A secret as it stands in an address or a form, with small or capital hexadecimal digits.
fn escaped(secret: &str, has_small: bool) -> String {
    let one = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ if has_small => format!("%{byte:02x}"),
        _ => format!("%{byte:02X}"),
    };
    secret.bytes().map(one).collect()
}

fn replaced(bytes: Vec<u8>, secret: &[u8]) -> Vec<u8> {
    let find = |from: usize| bytes[from..].windows(secret.len()).position(|window| window == secret);
    let Some(first) = find(0) else { return bytes };
    let (mut clean, mut from, mut next) = (Vec::with_capacity(bytes.len()), 0, Some(first));
    while let Some(at) = next {
        clean.extend_from_slice(&bytes[from..from + at]);
        clean.extend_from_slice(DOTS.as_bytes());
        from += at + secret.len();
        next = find(from);
    }
    clean.extend_from_slice(&bytes[from..]);
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_replaced_wherever_they_are() {
        let check = |text: &str, expected: &str| {
            assert_eq!(String::from_utf8(replaced(text.as_bytes().to_vec(), b"hush")).unwrap(), expected);
        };
        check("no secret", "no secret");
        check("hush", "••••");
        check("a hush b hushhush c", "a •••• b •••••••• c");
        check("hus", "hus");
    }

    #[test]
    fn secrets_are_found_in_every_form_they_are_written_in() {
        let secrets = Secrets::all(["PLANTED/SECRET+xy=".to_owned(), "My *~ Secret+9".to_owned()].into_iter());
        for text in ["x=PLANTED/SECRET+xy=&y", "x=PLANTED%2FSECRET%2Bxy%3D&y", "x=PLANTED%2fSECRET%2bxy%3d&y"] {
            assert_eq!(secrets.hidden(text.to_owned()), "x=••••&y");
        }
        for text in ["My *~ Secret+9", "My%20%2A~%20Secret%2B9", "My+*%7E+Secret%2B9"] {
            assert_eq!(secrets.hidden(text.to_owned()), "••••");
        }
    }
}
