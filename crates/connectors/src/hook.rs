//! What connectors share when they check requests to us: addresses nobody can guess for providers that sign nothing, and the public URL a request
//! was made to.

use aws_lc_rs::{constant_time, hmac};
use model::Secret;

use crate::{Cx, Request};

/// Bytes of the secret in the address: 128 bits cannot be guessed, and the URL stays short.
const TOKEN_BYTES: usize = 16;

/// What makes a callback URL unguessable: made from a secret of the account, so that there is nothing more to keep. `what` keeps two uses of one
/// secret apart, and the account's id two accounts with the same one.
pub(crate) fn token(cx: &Cx<'_>, secret: &Secret, what: &str) -> String {
    let account = cx.callback_url.rsplit('/').next().unwrap_or_default();
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.reveal().as_bytes());
    let tag = hmac::sign(&key, format!("tidings {what} {account}").as_bytes());
    hex(&tag.as_ref()[..TOKEN_BYTES])
}

/// True when the request's path is `/` and the token, compared in constant time.
pub(crate) fn has_token(request: &Request<'_>, token: &str) -> bool {
    let given = request.path.strip_prefix('/').unwrap_or_default();
    is_same(given, token)
}

/// Compares two texts in constant time, but for their lengths.
pub(crate) fn is_same(given: &str, wanted: &str) -> bool {
    constant_time::verify_slices_are_equal(given.as_bytes(), wanted.as_bytes()).is_ok()
}

/// The public URL the request was made to: signatures cover it as the provider knows it, not as a proxy in front of us rewrote it.
pub(crate) fn url(cx: &Cx<'_>, request: &Request<'_>) -> String {
    match request.query {
        "" => format!("{}{}", cx.callback_url, request.path),
        query => format!("{}{}?{query}", cx.callback_url, request.path),
    }
}

/// Checks a keyed hash over the body as it came, given in hexadecimal, in constant time.
pub(crate) fn is_signed(algorithm: hmac::Algorithm, secret: &str, body: &[u8], given: &str) -> bool {
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let byte = |pair: &[u8]| match *pair {
        [high, low] => Some(digit(high)? << 4 | digit(low)?),
        _ => None,
    };
    let tag: Option<Vec<u8>> = given.trim().as_bytes().chunks(2).map(byte).collect();
    let key = hmac::Key::new(algorithm, secret.as_bytes());
    tag.is_some_and(|tag| hmac::verify(&key, body, &tag).is_ok())
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_hex_and_whole() {
        let tag = hex(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, b"k"), b"x").as_ref());
        let given = |given: &str| is_signed(hmac::HMAC_SHA256, "k", b"x", given);
        assert!(given(&tag) && given(&tag.to_uppercase()));
        for bad in ["", "0", "zz", "é", "sha256=", &tag[..62], &format!("{tag}00")] {
            assert!(!given(bad), "{bad}");
        }
        assert!(!is_signed(hmac::HMAC_SHA512, "k", b"x", &tag));
    }
}
