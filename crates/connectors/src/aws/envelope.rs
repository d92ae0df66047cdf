//! Notifications of Amazon SNS over HTTPS: their envelope and its signature.
//! <https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html>
//!
//! Everybody can post to us, so nothing of an envelope is believed before its signature holds, made with a certificate from Amazon's own host.
//! Raw delivery has no envelope and no signature, and is refused.

use aws_lc_rs::signature::{
    RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY, RSA_PKCS1_2048_8192_SHA256, RsaParameters, UnparsedPublicKey,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use model::{Answer, HttpCall, Method, Timestamp};
use serde::Deserialize;
use x509_parser::{pem::parse_x509_pem, time::ASN1Time};

use crate::{Request, Verdict};

/// How old an envelope may be, in seconds. SNS gives up after a minute by default and after an hour at most, so older ones are replays.
const AGE_MAX_S: i64 = 3_600;
/// How far its clock may run before ours, in seconds.
const AHEAD_MAX_S: i64 = 900;
/// Time to fetch the certificate, in milliseconds: SNS itself waits 15 s for our answer.
const FETCH_TIMEOUT_MS: u64 = 10_000;
/// Largest certificate read, in bytes; real ones have about 2,000.
const CERTIFICATE_MAX: usize = 16 * 1024;

/// A notification, or the request to confirm a subscription.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Envelope {
    /// `Notification`, `SubscriptionConfirmation` or `UnsubscribeConfirmation`.
    pub r#type: String,
    /// The same over repeated deliveries.
    pub message_id: String,
    /// The topic it comes from.
    pub topic_arn: String,
    subject: Option<String>,
    /// What it says: a text, often JSON.
    pub message: String,
    timestamp: String,
    signature_version: String,
    signature: String,
    #[serde(rename = "SigningCertURL", alias = "SigningCertUrl")]
    signing_cert_url: String,
    /// Where a subscription is confirmed.
    #[serde(rename = "SubscribeURL", alias = "SubscribeUrl")]
    pub subscribe_url: Option<String>,
    token: Option<String>,
}

impl Envelope {
    /// Reads the body of a request.
    pub(crate) fn read(request: &Request<'_>) -> Result<Self, String> {
        if request.header("x-amz-sns-rawdelivery") == Some("true") {
            return Err("raw delivery carries no signature; turn it off on the subscription".to_owned());
        }
        serde_json::from_slice(request.body).map_err(|error| format!("the body is no SNS envelope: {error}"))
    }

    /// Checks that the envelope is fresh, from the tenant's topic where that is set, and signed by Amazon, or by who stands in for Amazon at the
    /// operator's `base_url`.
    pub(crate) fn verify(
        &self,
        topic_arn: Option<&str>,
        base_url: Option<&str>,
        now: Timestamp,
        fetched: Option<&Answer>,
    ) -> Verdict {
        match self.checked(topic_arn, base_url, now, fetched) {
            Ok(verdict) => verdict,
            Err(reason) => Verdict::Invalid(reason),
        }
    }

    fn checked(
        &self,
        topic_arn: Option<&str>,
        base_url: Option<&str>,
        now: Timestamp,
        fetched: Option<&Answer>,
    ) -> Result<Verdict, String> {
        let names = self.signed_fields()?;
        let algorithm = algorithm(&self.signature_version)?;
        let is_standing_in = is_below(&self.signing_cert_url, base_url);
        if !is_standing_in && !is_amazon(&self.signing_cert_url, |path| path.ends_with(".pem")) {
            return Err("SigningCertURL is not a certificate on Amazon's SNS hosts".to_owned());
        }
        if topic_arn.is_some_and(|topic| topic != self.topic_arn) {
            return Err(format!("the topic {} is not the account's `topic_arn`", self.topic_arn));
        }
        let at: Timestamp = self.timestamp.parse().map_err(|_| "Timestamp is no instant".to_owned())?;
        if at < now.plus_seconds(-AGE_MAX_S) || at > now.plus_seconds(AHEAD_MAX_S) {
            return Err(format!("Timestamp {at} is more than an hour old, or ahead of our clock"));
        }
        let Some(fetched) = fetched else {
            let mut call = HttpCall::new(Method::Get, &self.signing_cert_url);
            call.timeout_ms = FETCH_TIMEOUT_MS;
            call.answer_max = CERTIFICATE_MAX;
            call.is_untrusted = !is_standing_in;
            return Ok(Verdict::Fetch(call));
        };
        let key = public_key(fetched, now)?;
        let signature = STANDARD.decode(&self.signature).map_err(|_| "Signature is not base64".to_owned())?;
        UnparsedPublicKey::new(algorithm, key)
            .verify(signed_text(&names).as_bytes(), &signature)
            .map_err(|_| "the signature does not match".to_owned())?;
        Ok(Verdict::Valid)
    }

    /// The fields that are signed, in their order.
    fn signed_fields(&self) -> Result<Vec<(&'static str, &str)>, String> {
        let missing = |name: &str| format!("{name} is missing");
        let mut fields = vec![("Message", self.message.as_str()), ("MessageId", &self.message_id)];
        match self.r#type.as_str() {
            "Notification" => {
                fields.extend(self.subject.as_deref().map(|subject| ("Subject", subject)));
                fields.push(("Timestamp", &self.timestamp));
            }
            "SubscriptionConfirmation" | "UnsubscribeConfirmation" => {
                fields.push(("SubscribeURL", self.subscribe_url.as_deref().ok_or_else(|| missing("SubscribeURL"))?));
                fields.push(("Timestamp", &self.timestamp));
                fields.push(("Token", self.token.as_deref().ok_or_else(|| missing("Token"))?));
            }
            other => return Err(format!("the type {other} is unknown")),
        }
        fields.extend([("TopicArn", self.topic_arn.as_str()), ("Type", self.r#type.as_str())]);
        Ok(fields)
    }
}

fn signed_text(fields: &[(&str, &str)]) -> String {
    fields.iter().map(|(name, value)| format!("{name}\n{value}\n")).collect()
}

fn algorithm(version: &str) -> Result<&'static RsaParameters, String> {
    match version {
        "1" => Ok(&RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY),
        "2" => Ok(&RSA_PKCS1_2048_8192_SHA256),
        other => Err(format!("SignatureVersion {other} is unknown")),
    }
}

/// The RSA key of a fetched certificate that is valid now.
fn public_key(fetched: &Answer, now: Timestamp) -> Result<Vec<u8>, String> {
    let Answer::Http(answer) = fetched else { return Err("the certificate was not fetched over HTTP".to_owned()) };
    if answer.status != 200 || answer.is_truncated {
        return Err(format!("the certificate could not be fetched (status {})", answer.status));
    }
    let (_, pem) = parse_x509_pem(&answer.body).map_err(|_| "the certificate is not PEM".to_owned())?;
    let certificate = pem.parse_x509().map_err(|_| "the certificate cannot be read".to_owned())?;
    let now = ASN1Time::from_timestamp(now.as_seconds()).map_err(|_| "our clock is out of range".to_owned())?;
    if !certificate.validity().is_valid_at(now) {
        return Err("the certificate is not valid today".to_owned());
    }
    Ok(certificate.public_key().subject_public_key.data.to_vec())
}

/// True for an `https` URL on `sns.<region>.amazonaws.com` (or `.com.cn`) without port or credentials, whose path passes.
pub(crate) fn is_amazon(text: &str, path: impl Fn(&str) -> bool) -> bool {
    let Ok(url) = url::Url::parse(text) else { return false };
    let Some(host) = url.host_str() else { return false };
    let host = host.strip_suffix(".cn").unwrap_or(host);
    let region = host.strip_prefix("sns.").and_then(|rest| rest.strip_suffix(".amazonaws.com"));
    let is_region = region
        .is_some_and(|region| region.len() >= 3 && region.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'));
    let is_bare = url.port().is_none() && url.username().is_empty() && url.password().is_none();
    url.scheme() == "https" && is_region && is_bare && path(url.path())
}

/// True for a URL below the operator's own base URL: what stands there stands in for Amazon in everything else as well. Without a base URL nothing does,
/// nor where it leads to Amazon itself, which signs with its own certificates.
pub(crate) fn is_below(text: &str, base_url: Option<&str>) -> bool {
    let parsed = |text: &str| url::Url::parse(text).ok();
    let (Some(base), Some(url)) = (base_url.and_then(parsed), parsed(text)) else { return false };
    let is_amazon = |host: &str| host.strip_suffix(".cn").unwrap_or(host).ends_with(".amazonaws.com");
    // Parsed paths have no `..` left in them.
    let rest = url.path().strip_prefix(base.path().trim_end_matches('/'));
    let is_bare = url.username().is_empty() && url.password().is_none();
    is_bare
        && url.origin() == base.origin()
        && rest.is_some_and(|rest| rest.starts_with('/'))
        && base.host_str().is_some_and(|host| !is_amazon(host))
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::HttpAnswer;
    use serde_json::Value;

    const CERTIFICATE: &[u8] = include_bytes!("../../tests/data/sns_cert.pem");

    fn certificate() -> Answer {
        Answer::Http(HttpAnswer { status: 200, body: CERTIFICATE.to_vec().into(), ..HttpAnswer::default() })
    }

    fn cases() -> Vec<Value> {
        let vectors: Value = serde_json::from_str(include_str!("../../tests/data/sns_messages.json")).unwrap();
        vectors["cases"].as_array().unwrap().clone()
    }

    fn verdict(body: &Value, topic: Option<&str>, now: &str, fetched: &Answer) -> Verdict {
        let body = body.to_string();
        let request = Request { method: "POST", path: "", query: "", headers: &[], body: body.as_bytes() };
        let (envelope, now) = (Envelope::read(&request).unwrap(), now.parse().unwrap());
        match envelope.verify(topic, None, now, None) {
            Verdict::Fetch(_) => envelope.verify(topic, None, now, Some(fetched)),
            other => other,
        }
    }

    const NOW: &str = "2026-11-20T22:00:30Z";

    #[test]
    fn the_vectors_hold() {
        let cases = cases();
        assert_eq!(cases.len(), 11);
        for case in cases {
            let is_valid = matches!(verdict(&case["body"], None, NOW, &certificate()), Verdict::Valid);
            assert_eq!(is_valid, case["valid"].as_bool().unwrap(), "{}", case["name"]);
        }
    }

    #[test]
    fn no_byte_of_what_is_signed_may_change() {
        let (certificate, now) = (certificate(), NOW.parse().unwrap());
        let is_valid = |body: &Value| {
            let body = body.to_string();
            let request = Request { method: "POST", path: "", query: "", headers: &[], body: body.as_bytes() };
            let envelope = Envelope::read(&request);
            envelope
                .is_ok_and(|envelope| matches!(envelope.verify(None, None, now, Some(&certificate)), Verdict::Valid))
        };
        let mut seen = 0;
        for case in cases().iter().filter(|case| case["valid"] == true) {
            for field in [
                "Message",
                "MessageId",
                "Subject",
                "SubscribeURL",
                "Timestamp",
                "Token",
                "TopicArn",
                "Type",
                "Signature",
            ] {
                let Some(text) = case["body"][field].as_str() else { continue };
                // A notification signs no address to subscribe at, and the last letter before the padding holds bits that are not used.
                let is_signed = case["body"]["Type"] != "Notification" || !matches!(field, "SubscribeURL" | "Token");
                let end = if field == "Signature" { text.trim_end_matches('=').len() - 1 } else { text.len() };
                for at in (0..end).filter(|at| is_signed && text.as_bytes()[*at].is_ascii()) {
                    let mut bent = text.as_bytes().to_vec();
                    bent[at] = if bent[at] == b'A' { b'B' } else { b'A' };
                    let mut body = case["body"].clone();
                    body[field] = String::from_utf8(bent).unwrap().into();
                    assert!(!is_valid(&body), "{}: byte {at} of {field}", case["name"]);
                    seen += 1;
                }
            }
        }
        assert!(seen > 1_000, "{seen}");
    }

    #[test]
    fn everything_but_the_right_envelope_is_refused() {
        let good = cases()[0]["body"].clone();
        let topic = good["TopicArn"].as_str().unwrap();
        let reason = |body: &Value, topic, now, fetched: &Answer| match verdict(body, topic, now, fetched) {
            Verdict::Invalid(reason) => reason,
            other => panic!("{other:?}"),
        };
        assert!(matches!(verdict(&good, Some(topic), NOW, &certificate()), Verdict::Valid));
        assert!(reason(&good, Some("arn:aws:sns:us-east-1:1:other"), NOW, &certificate()).contains("topic_arn"));
        assert!(reason(&good, None, "2026-11-20T23:30:00Z", &certificate()).contains("old"));
        assert!(reason(&good, None, "2026-11-20T21:00:00Z", &certificate()).contains("ahead"));
        let answer = |status, body: &[u8]| {
            Answer::Http(HttpAnswer { status, body: body.to_vec().into(), ..HttpAnswer::default() })
        };
        assert!(reason(&good, None, NOW, &answer(404, b"")).contains("404"));
        assert!(reason(&good, None, NOW, &answer(200, b"<html>")).contains("PEM"));
        assert!(reason(&good, None, NOW, &Answer::Local).contains("HTTP"));
        for (field, value, wanted) in [
            ("SignatureVersion", "3", "SignatureVersion"),
            ("Type", "Other", "type"),
            ("Signature", "!", "base64"),
            ("Signature", "AAAA", "does not match"),
            ("Timestamp", "yesterday", "instant"),
            ("Subject", "Another", "does not match"),
        ] {
            let mut bad = good.clone();
            bad[field] = value.into();
            let reason = reason(&bad, None, NOW, &certificate());
            assert!(reason.contains(wanted), "{field}: {reason}");
        }
    }

    #[test]
    fn a_certificate_out_of_its_time_is_refused() {
        let late = "2040-01-01T00:00:00Z";
        assert_eq!(
            public_key(&certificate(), late.parse().unwrap()).unwrap_err(),
            "the certificate is not valid today"
        );
    }

    #[test]
    fn only_below_the_operators_base_url_does_anything_stand_in() {
        let base = Some("http://127.0.0.1:9100/ses");
        for (text, base_url, wanted) in [
            ("http://127.0.0.1:9100/ses/simulated.pem", base, true),
            ("http://127.0.0.1:9100/ses/simulated.pem", Some("http://127.0.0.1:9100/ses/"), true),
            ("https://ses.stand-in.example/a.pem", Some("https://ses.stand-in.example"), true),
            ("http://127.0.0.1:9100/ses/simulated.pem", None, false),
            ("http://127.0.0.1:9100/ses/../else.pem", base, false),
            ("http://127.0.0.1:9100/ses/%2e%2e/else.pem", base, false),
            ("http://127.0.0.1:9100/ses.pem", base, false),
            ("http://127.0.0.1:9101/ses/simulated.pem", base, false),
            ("https://127.0.0.1:9100/ses/simulated.pem", base, false),
            ("http://127.0.0.1:9100@evil.example/ses/a.pem", base, false),
            ("http://me@127.0.0.1:9100/ses/a.pem", base, false),
            ("https://email.eu-west-1.amazonaws.com/a.pem", Some("https://email.eu-west-1.amazonaws.com"), false),
            (
                "https://email.cn-north-1.amazonaws.com.cn/a.pem",
                Some("https://email.cn-north-1.amazonaws.com.cn"),
                false,
            ),
            ("simulated.pem", base, false),
        ] {
            assert_eq!(is_below(text, base_url), wanted, "{text} {base_url:?}");
        }
    }

    #[test]
    fn raw_delivery_and_other_bodies_are_refused() {
        let headers = [("x-amz-sns-rawdelivery".to_owned(), "true".to_owned())];
        let request = Request { method: "POST", path: "", query: "", headers: &headers, body: b"{}" };
        assert!(Envelope::read(&request).unwrap_err().contains("raw delivery"));
        for body in [&b""[..], b"[]", b"{}", b"\xff"] {
            assert!(Envelope::read(&Request { headers: &[], body, ..request }).is_err());
        }
    }

    #[test]
    fn only_amazons_hosts_are_asked() {
        for (url, wanted) in [
            ("https://sns.eu-west-1.amazonaws.com/x.pem", true),
            ("https://SNS.eu-west-1.amazonaws.com/x.pem", true),
            ("https://sns.cn-north-1.amazonaws.com.cn/x.pem", true),
            ("http://sns.eu-west-1.amazonaws.com/x.pem", false),
            ("https://sns.eu-west-1.amazonaws.com:8443/x.pem", false),
            ("https://user@sns.eu-west-1.amazonaws.com/x.pem", false),
            ("https://sns.eu-west-1.amazonaws.com.evil.example/x.pem", false),
            ("https://sns.evil.example/sns.eu-west-1.amazonaws.com/x.pem", false),
            ("https://sns.a.b.amazonaws.com/x.pem", false),
            ("https://sns..amazonaws.com/x.pem", false),
            ("https://s3.eu-west-1.amazonaws.com/x.pem", false),
            ("https://sns.eu-west-1.amazonaws.com/x.txt", false),
            ("x.pem", false),
        ] {
            assert_eq!(is_amazon(url, |path| path.ends_with(".pem")), wanted, "{url}");
        }
    }
}
