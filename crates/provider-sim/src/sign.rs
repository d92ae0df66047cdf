//! How providers sign, on top of the primitives of libraries.

use aws_lc_rs::{
    digest, hmac,
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair,
        UnparsedPublicKey,
    },
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use serde_json::Value;
use x509_parser::{pem::parse_x509_pem, prelude::FromDer as _, x509::SubjectPublicKeyInfo};

use crate::request::Request;

/// The key of the simulator's certificate. Everybody knows it: nothing that matters may trust it.
pub(crate) const KEY: &str = include_str!("../keys/simulator.key");
/// The certificate for SMTP on loopback and for SNS's signatures.
pub(crate) const CERTIFICATE: &str = include_str!("../keys/simulator.pem");
/// Who signed it.
pub(crate) const AUTHORITY: &str = include_str!("../keys/ca.pem");
/// The public half of [`KEY`].
pub(crate) const PUBLIC_KEY: &str = include_str!("../keys/simulator.pub");
const SENDGRID_KEY: &str = include_str!("../keys/sendgrid.key");

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// SHA-256 in hexadecimal.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

/// A keyed hash.
pub(crate) fn mac(algorithm: hmac::Algorithm, key: &[u8], bytes: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(algorithm, key), bytes).as_ref().to_vec()
}

/// A keyed SHA-256 in hexadecimal.
pub(crate) fn mac_sha256(key: &str, bytes: &[u8]) -> String {
    hex(&mac(hmac::HMAC_SHA256, key.as_bytes(), bytes))
}

/// Twilio: the URL, then each parameter in order of its name, keyed SHA-1.
pub(crate) fn twilio(auth_token: &str, url: &str, fields: &[(String, String)]) -> String {
    let mut sorted = fields.to_vec();
    sorted.sort();
    sorted.dedup();
    let text = sorted.iter().fold(url.to_owned(), |text, (name, value)| text + name + value);
    STANDARD.encode(mac(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, auth_token.as_bytes(), text.as_bytes()))
}

/// SendGrid: ECDSA over the time and the body.
pub(crate) fn sendgrid(timestamp: &str, body: &[u8]) -> String {
    let (_, pem) = parse_x509_pem(SENDGRID_KEY.as_bytes()).expect("the key is in this repository");
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &pem.contents).expect("it is a P-256 key");
    let signed = [timestamp.as_bytes(), body].concat();
    let signature = key.sign(&SystemRandom::new(), &signed).expect("signing with a good key does not fail");
    STANDARD.encode(signature.as_ref())
}

/// The public key that belongs to [`sendgrid`], as SendGrid shows it.
pub(crate) fn sendgrid_public_key() -> String {
    let lines = include_str!("../keys/sendgrid.pub").lines();
    lines.filter(|line| !line.starts_with('-')).collect()
}

/// Svix, for Resend: id, time and body under the base64 key after `whsec_`.
pub(crate) fn svix(secret: &str, id: &str, timestamp: &str, body: &[u8]) -> String {
    let key = STANDARD.decode(secret.trim_start_matches("whsec_")).unwrap_or_default();
    let signed = [format!("{id}.{timestamp}.").as_bytes(), body].concat();
    format!("v1,{}", STANDARD.encode(mac(hmac::HMAC_SHA256, &key, &signed)))
}

/// A token over these claims, signed with a shared secret (HS256).
pub(crate) fn jwt(secret: &str, claims: &Value) -> String {
    let text = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","typ":"JWT"}"#),
        URL_SAFE_NO_PAD.encode(claims.to_string())
    );
    let signature = mac(hmac::HMAC_SHA256, secret.as_bytes(), text.as_bytes());
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// The claims of a token that the owner of this RSA key signed (RS256).
pub(crate) fn verified_jwt(token: &str, public_key: &str) -> Option<Value> {
    let (text, signature) = token.rsplit_once('.')?;
    let (header, claims) = text.split_once('.')?;
    let object = |part: &str| serde_json::from_slice::<Value>(&URL_SAFE_NO_PAD.decode(part).ok()?).ok();
    if object(header)?["alg"] != "RS256" {
        return None;
    }
    let (_, pem) = parse_x509_pem(public_key.as_bytes()).ok()?;
    let (_, info) = SubjectPublicKeyInfo::from_der(&pem.contents).ok()?;
    let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &info.subject_public_key.data);
    key.verify(text.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).ok()?).ok()?;
    object(claims)
}

/// SNS's signature of version 2: RSA with SHA-256 over the text.
pub(crate) fn sns(text: &str) -> String {
    let (_, pem) = parse_x509_pem(KEY.as_bytes()).expect("the key is in this repository");
    let key = RsaKeyPair::from_pkcs8(&pem.contents).expect("it is an RSA key");
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature)
        .expect("signing with a good key does not fail");
    STANDARD.encode(signature)
}

/// Why a request's Signature V4 does not hold; `None` when it does. Recomputed from AWS's description, not by the library connectors use.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>
pub(crate) fn sigv4_problem(request: &Request, key_id: &str, secret: &str, service: &str) -> Option<&'static str> {
    let Some(given) = request.header("authorization").strip_prefix("AWS4-HMAC-SHA256 ") else {
        return Some("MissingAuthenticationToken");
    };
    let part = |name: &str| given.split(',').find_map(|part| part.trim().strip_prefix(name)).unwrap_or_default();
    let scope: Vec<&str> = part("Credential=").split('/').collect();
    let [id, day, region, given_service, "aws4_request"] = scope[..] else { return Some("IncompleteSignature") };
    if id != key_id {
        return Some("InvalidClientTokenId");
    }
    if given_service != service || !request.header("x-amz-date").starts_with(day) {
        return Some("SignatureDoesNotMatch");
    }
    let names = part("SignedHeaders=");
    let headers: String = names
        .split(';')
        .map(|name| format!("{name}:{}\n", request.header(name).split_whitespace().collect::<Vec<_>>().join(" ")))
        .collect();
    let mut query: Vec<&str> = request.query.split('&').filter(|pair| !pair.is_empty()).collect();
    query.sort_unstable();
    // S3 alone signs the path as it is.
    let path = if service == "s3" { request.path.clone() } else { request.path.replace('%', "%25") };
    let canonical =
        format!("{}\n{path}\n{}\n{headers}\n{names}\n{}", request.method, query.join("&"), sha256(&request.body));
    let text = format!(
        "AWS4-HMAC-SHA256\n{}\n{day}/{region}/{service}/aws4_request\n{}",
        request.header("x-amz-date"),
        sha256(canonical.as_bytes())
    );
    let start = format!("AWS4{secret}").into_bytes();
    let chain = [day, region, service, "aws4_request"];
    let key = chain.iter().fold(start, |key, part| mac(hmac::HMAC_SHA256, &key, part.as_bytes()));
    let wanted = hex(&mac(hmac::HMAC_SHA256, &key, text.as_bytes()));
    (wanted != part("Signature=")).then_some("SignatureDoesNotMatch")
}

#[cfg(test)]
mod tests;
