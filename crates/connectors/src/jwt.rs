//! JSON Web Tokens as far as providers use them (RFC 7515, RFC 7519): ours, signed with RSA, and theirs, signed with a shared secret.
//!
//! The algorithm of a token we check is chosen by us and never by the token: whatever its header names must be in the caller's list, so neither
//! `none` nor a public key used as a secret can pass. Times and claims are the caller's to check, because each provider has its own.

use aws_lc_rs::{
    hmac,
    rand::SystemRandom,
    signature::{RSA_PKCS1_SHA256, RsaKeyPair},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use model::Secret;
use serde_json::{Value, json};
use x509_parser::pem::parse_x509_pem;

/// HMAC algorithms by their names in a token's header.
const HMACS: &[(&str, &hmac::Algorithm)] =
    &[("HS256", &hmac::HMAC_SHA256), ("HS384", &hmac::HMAC_SHA384), ("HS512", &hmac::HMAC_SHA512)];

/// Reads an RSA private key in PEM, as PKCS#8 or PKCS#1. Line breaks may have become `\n` on their way through a form or an environment.
pub(crate) fn rsa_key(pem: &Secret) -> Result<RsaKeyPair, &'static str> {
    let text = pem.reveal().trim().replace("\\n", "\n");
    let (_, pem) =
        parse_x509_pem(text.as_bytes()).map_err(|_| "must be a private key in PEM, beginning with -----BEGIN")?;
    let key = match pem.label.as_str() {
        "PRIVATE KEY" => RsaKeyPair::from_pkcs8(&pem.contents),
        "RSA PRIVATE KEY" => RsaKeyPair::from_der(&pem.contents),
        _ => return Err("must be a private key, not a public key or a certificate"),
    };
    key.map_err(|_| "must be an RSA private key of 2048 bits or more without a password")
}

/// A token over these claims, signed with RS256.
pub(crate) fn signed(key: &RsaKeyPair, claims: &Value) -> Result<String, &'static str> {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let text = format!("{}.{}", part(&json!({ "alg": "RS256", "typ": "JWT" })), part(claims));
    let mut signature = vec![0; key.public_modulus_len()];
    // Signatures of this kind hold no randomness: the generator is only part of the function's form.
    key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature)
        .map_err(|_| "the private key could not sign")?;
    Ok(format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature)))
}

/// The claims of a token signed with `secret` by one of `algorithms`, or why it is not believed.
pub(crate) fn verified(token: &str, algorithms: &[&str], secret: &Secret) -> Result<Value, &'static str> {
    let (text, signature) = token.rsplit_once('.').ok_or("the token has no signature")?;
    let (header, claims) = text.split_once('.').ok_or("the token has no claims")?;
    let decoded = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| "the token is not base64url");
    let object = |part: &str| serde_json::from_slice::<Value>(&decoded(part)?).map_err(|_| "the token is not JSON");
    let name = object(header)?.get("alg").and_then(Value::as_str).unwrap_or_default().to_owned();
    let (_, algorithm) = HMACS
        .iter()
        .find(|(known, _)| *known == name && algorithms.contains(known))
        .ok_or("the token names an algorithm that is not accepted")?;
    let key = hmac::Key::new(**algorithm, secret.reveal().as_bytes());
    hmac::verify(&key, text.as_bytes(), &decoded(signature)?).map_err(|_| "the token's signature does not match")?;
    object(claims)
}

/// A text claim; empty when it is missing.
pub(crate) fn text<'a>(claims: &'a Value, name: &str) -> &'a str {
    claims.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// A time claim, in seconds; some libraries write a fraction.
pub(crate) fn seconds(claims: &Value, name: &str) -> Option<i64> {
    let value = claims.get(name)?;
    value.as_i64().or_else(|| value.as_f64().map(|seconds| seconds as i64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};

    const KEY: &str = include_str!("../tests/data/throwaway_rsa_key.pem");

    #[test]
    fn our_tokens_are_verified_by_the_public_key() {
        use aws_lc_rs::signature::KeyPair as _;
        let key = rsa_key(&Secret::new(KEY)).unwrap();
        let token = signed(&key, &json!({ "iat": 1 })).unwrap();
        let (text, signature) = token.rsplit_once('.').unwrap();
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key.public_key().as_ref());
        assert!(public.verify(text.as_bytes(), &signature).is_ok());
        assert!(public.verify(format!("{text}x").as_bytes(), &signature).is_err());
        assert_eq!(text, "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9.eyJpYXQiOjF9");
        assert_eq!(token, signed(&key, &json!({ "iat": 1 })).unwrap());
    }

    #[test]
    fn keys_in_all_their_forms() {
        let check = |pem: &str| rsa_key(&Secret::new(pem)).map(drop);
        assert_eq!(check(KEY), Ok(()));
        assert_eq!(check(include_str!("../tests/data/throwaway_rsa_key_pkcs1.pem")), Ok(()));
        assert_eq!(check(&KEY.trim().replace('\n', "\\n")), Ok(()));
        assert_eq!(check(&KEY.replace('\n', "\r\n")), Ok(()));
        for bad in [
            "",
            "secret",
            include_str!("../tests/data/sns_cert.pem"),
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----",
        ] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_listed_algorithms_and_whole_tokens_pass() {
        let secret = Secret::new("secret");
        let sign = |header: &str| {
            let text = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode("{\"a\":1}"));
            let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, b"secret"), text.as_bytes());
            format!("{text}.{}", URL_SAFE_NO_PAD.encode(tag))
        };
        let good = sign("{\"alg\":\"HS256\"}");
        assert_eq!(verified(&good, &["HS256"], &secret), Ok(json!({ "a": 1 })));
        assert!(verified(&good, &["HS512"], &secret).is_err());
        assert!(verified(&good, &["HS256"], &Secret::new("other")).is_err());
        for header in ["{\"alg\":\"none\"}", "{\"alg\":\"RS256\"}", "{\"alg\":\"HS384\"}", "{}", "x"] {
            assert!(verified(&sign(header), &["HS256", "HS384"], &secret).is_err(), "{header}");
        }
        for token in ["", ".", "..", "a.b.c", &good[..good.len() - 1], good.rsplit_once('.').unwrap().0] {
            assert!(verified(token, &["HS256"], &secret).is_err(), "{token}");
        }
    }
}
