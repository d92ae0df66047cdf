//! How the SMS API signs the parameters of a request.
//! <https://developer.vonage.com/en/getting-started/concepts/signing-messages>
//!
//! The method is the account's own choice and set there; it is never taken from the request. MD5 is among them because Vonage's oldest accounts
//! still sign with it; the connector's help advises SHA-256.

use aws_lc_rs::hmac;
use md5::{Digest as _, Md5};
use model::{FieldKind, Secret, Setting, Timestamp};

use crate::hook;

/// How far the request's time may be from ours, in seconds. Vonage's own libraries allow five minutes.
const AGE_MAX_S: i64 = 300;
/// The block size of MD5 in bytes, for its HMAC (RFC 2104).
const MD5_BLOCK: usize = 64;

/// How parameters become a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// MD5 over the parameters followed by the secret.
    Md5Hash,
    /// HMAC-MD5.
    Md5,
    /// HMAC-SHA1.
    Sha1,
    /// HMAC-SHA256.
    Sha256,
    /// HMAC-SHA512.
    Sha512,
}

impl Setting for Method {
    const KIND: FieldKind = FieldKind::Choice { choices: &["md5hash", "md5", "sha1", "sha256", "sha512"] };

    fn read(text: Option<&str>) -> Result<Self, String> {
        match text {
            Some("md5hash") => Ok(Self::Md5Hash),
            Some("md5") => Ok(Self::Md5),
            Some("sha1") => Ok(Self::Sha1),
            Some("sha256") => Ok(Self::Sha256),
            Some("sha512") => Ok(Self::Sha512),
            _ => Err("must be md5hash, md5, sha1, sha256 or sha512".to_owned()),
        }
    }
}

/// Checks the parameter `sig` over all others, and that the request is of now.
pub(super) fn check(
    params: &[(String, String)],
    method: Method,
    secret: &Secret,
    now: Timestamp,
) -> Result<(), &'static str> {
    let get = |name: &str| params.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    let given = get("sig").ok_or("the request has no parameter sig")?;
    let at: i64 = get("timestamp").and_then(|at| at.parse().ok()).ok_or("the request names no timestamp")?;
    let age_s = now.as_seconds().saturating_sub(at);
    if !(-AGE_MAX_S..=AGE_MAX_S).contains(&age_s) {
        return Err("the request's timestamp is more than five minutes from our clock");
    }
    let wanted = signature(&canonical(params), method, secret);
    match hook::is_same(&given.to_ascii_lowercase(), &wanted) {
        true => Ok(()),
        false => Err("the signature does not match: check the signature secret and method"),
    }
}

/// All parameters but the signature in order of their names, each as `&name=value`; `&` and `=` inside a value become `_`.
fn canonical(params: &[(String, String)]) -> String {
    let mut params: Vec<_> = params.iter().filter(|(name, _)| name != "sig").collect();
    params.sort();
    params.into_iter().map(|(name, value)| format!("&{name}={}", value.replace(['&', '='], "_"))).collect()
}

fn signature(text: &str, method: Method, secret: &Secret) -> String {
    let mac = |algorithm| {
        hook::hex(hmac::sign(&hmac::Key::new(algorithm, secret.reveal().as_bytes()), text.as_bytes()).as_ref())
    };
    match method {
        Method::Md5Hash => hook::hex(&Md5::new().chain_update(text).chain_update(secret.reveal()).finalize()),
        Method::Md5 => hook::hex(&hmac_md5(secret.reveal().as_bytes(), text.as_bytes())),
        Method::Sha1 => mac(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY),
        Method::Sha256 => mac(hmac::HMAC_SHA256),
        Method::Sha512 => mac(hmac::HMAC_SHA512),
    }
}

/// RFC 2104 over MD5, which our crypto library leaves out.
fn hmac_md5(key: &[u8], text: &[u8]) -> [u8; 16] {
    let mut block = [0; MD5_BLOCK];
    if key.len() > MD5_BLOCK {
        block[..16].copy_from_slice(&Md5::digest(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let pad = |with: u8| block.map(|byte| byte ^ with);
    let inner = Md5::new().chain_update(pad(0x36)).chain_update(text).finalize();
    Md5::new().chain_update(pad(0x5c)).chain_update(inner).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn signatures_made_by_vonages_library() {
        let vectors: Value = serde_json::from_str(include_str!("../../tests/data/vonage_sms_signature.json")).unwrap();
        let secret = Secret::new(vectors["signature_secret"].as_str().unwrap());
        let now = Timestamp::from_seconds(vectors["now_for_check"].as_i64().unwrap());
        let mut seen = 0;
        for case in vectors["cases"].as_array().unwrap() {
            let params: Vec<(String, String)> = case["params"]
                .as_object()
                .unwrap()
                .iter()
                .map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()))
                .collect();
            assert_eq!(canonical(&params), case["canonical"].as_str().unwrap());
            for (name, signature) in case["sig"].as_object().unwrap() {
                let method = Method::read(Some(name)).unwrap();
                let with = |sig: &str| [params.clone(), vec![("sig".to_owned(), sig.to_owned())]].concat();
                let signature = signature.as_str().unwrap();
                assert_eq!(check(&with(signature), method, &secret, now), Ok(()), "{name}");
                assert_eq!(check(&with(&signature.to_uppercase()), method, &secret, now), Ok(()), "{name}");
                // One character of the signature, of a value, or of the secret changed.
                let last = if signature.ends_with('0') { "1" } else { "0" };
                let bent = format!("{}{last}", &signature[..signature.len() - 1]);
                assert!(check(&with(&bent), method, &secret, now).is_err(), "{name}");
                let mut other = with(signature);
                other[0].1.push('x');
                assert!(check(&other, method, &secret, now).is_err(), "{name}");
                assert!(check(&with(signature), method, &Secret::new("signing_secret_2"), now).is_err(), "{name}");
                assert!(check(&with(&signature[1..]), method, &secret, now).is_err(), "{name}");
                seen += 1;
            }
        }
        assert_eq!(seen, 10);
    }

    #[test]
    fn old_requests_and_requests_without_time_are_refused() {
        let params = |timestamp: &str| {
            let mut params = vec![("timestamp".to_owned(), timestamp.to_owned())];
            let sig = signature(&canonical(&params), Method::Sha256, &Secret::new("s"));
            params.push(("sig".to_owned(), sig));
            params
        };
        let now = Timestamp::from_seconds(1_700_000_000);
        let is_ok = |timestamp: &str| check(&params(timestamp), Method::Sha256, &Secret::new("s"), now).is_ok();
        assert!(is_ok("1700000300") && is_ok("1699999700"));
        assert!(!is_ok("1700000301") && !is_ok("1699999699") && !is_ok("") && !is_ok("now"));
        assert!(check(&[], Method::Sha256, &Secret::new("s"), now).is_err());
    }

    #[test]
    fn the_examples_of_rfc_2202() {
        assert_eq!(hook::hex(&hmac_md5(&[0x0b; 16], b"Hi There")), "9294727a3638bb1c13f48ef8158bfc9d");
        assert_eq!(hook::hex(&hmac_md5(b"Jefe", b"what do ya want for nothing?")), "750c783e6ab0b503eaa86e310a5db738");
        let long = hmac_md5(&[0xaa; 80], b"Test Using Larger Than Block-Size Key - Hash Key First");
        assert_eq!(hook::hex(&long), "6b1ab7fe4bd7bf8f0b62e6ce61b9d0cd");
    }
}
