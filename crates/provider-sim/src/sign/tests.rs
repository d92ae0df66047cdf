//! The signatures against vectors made by the providers' own libraries. Each is also tried with something changed, so that none passes by accident.

use serde_json::Value;

use super::*;
use crate::{
    fields::form,
    providers::{bird, termii, vonage},
};

macro_rules! vectors {
    ($name:literal) => {
        serde_json::from_str::<Value>(include_str!(concat!("../../tests/vectors/", $name))).unwrap()
    };
}

fn cases(vectors: &Value) -> &[Value] {
    vectors["cases"].as_array().unwrap()
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("{name} in {value}"))
}

#[test]
fn twilio_signs_forms() {
    let vectors = vectors!("twilio_signature.json");
    let mut checked = 0;
    for case in cases(&vectors).iter().filter(|case| case["params"].is_object() && case["valid"] == true) {
        let mut fields = Vec::new();
        for (name, value) in case["params"].as_object().unwrap() {
            match value {
                Value::Array(all) => {
                    fields.extend(all.iter().map(|one| (name.clone(), one.as_str().unwrap().to_owned())))
                }
                one => fields.push((name.clone(), one.as_str().unwrap().to_owned())),
            }
        }
        let (token, url) = (text(&vectors, "auth_token"), text(case, "url"));
        // Some URLs are signed with their default port in them; which of the two Twilio signs is not ours to choose here.
        let ported = url.replacen("example.com/", "example.com:443/", 1);
        let signed = [twilio(token, url, &fields), twilio(token, &ported, &fields)];
        assert!(signed.contains(&text(case, "signature").to_owned()), "{}", case["name"]);
        assert_ne!(twilio("other", url, &fields), text(case, "signature"), "{}", case["name"]);
        checked += 1;
    }
    assert!(checked >= 4, "{checked}");
}

#[test]
fn shared_secrets_over_the_body() {
    let meta = vectors!("meta_webhook.json");
    for (vectors, secret, prefix) in [
        (&meta, "app_secret", "sha256="),
        (&vectors!("interakt_webhook.json"), "secret", "sha256="),
        (&vectors!("aisensy_webhook.json"), "secret", ""),
    ] {
        for case in cases(vectors).iter().filter(|case| case["header"].is_string() && case["raw_body"].is_string()) {
            let signed = format!("{prefix}{}", mac_sha256(text(vectors, secret), text(case, "raw_body").as_bytes()));
            assert_eq!(signed == text(case, "header"), case["valid"] == true, "{}", case["name"]);
        }
    }
    let termii = vectors!("termii_webhook_UNVERIFIED.json");
    let signed = termii::signature(text(&termii, "secret"), text(&termii, "raw_body").as_bytes());
    assert_eq!(signed, text(&termii, "hmac_sha512_hex"));
}

#[test]
fn svix_and_mailgun() {
    let resend = vectors!("resend_svix.json");
    let headers = &resend["headers"];
    let of =
        |body: &[u8]| svix(text(&resend, "secret"), text(headers, "svix-id"), text(headers, "svix-timestamp"), body);
    assert_eq!(of(text(&resend, "raw_body").as_bytes()), text(headers, "svix-signature"));
    assert_ne!(of(b"{}"), text(headers, "svix-signature"));

    let mailgun = vectors!("mailgun_webhook.json");
    let given = &mailgun["signature"];
    let signed = format!("{}{}", text(given, "timestamp"), text(given, "token"));
    assert_eq!(mac_sha256(text(&mailgun, "http_signing_key"), signed.as_bytes()), text(given, "signature"));
}

#[test]
fn messagebird_and_bird() {
    let bird = vectors!("bird_webhook.json");
    for case in cases(&bird) {
        let (timestamp, url, body) = (text(case, "timestamp"), text(case, "url"), text(case, "raw_body"));
        let signed = bird::signature(text(&bird, "signing_key"), timestamp, url, body.as_bytes());
        assert_eq!(signed == text(case, "signature"), case["valid"] == true, "{}", case["name"]);
    }
    // The claims of MessageBird's own token, signed again, are the same token but for the order of the claims: so the signature alone is compared.
    let classic = vectors!("messagebird_jwt.json");
    let case = &cases(&classic)[0];
    let (signed, signature) = text(case, "header").rsplit_once('.').unwrap();
    let again = mac(hmac::HMAC_SHA256, text(&classic, "signing_key").as_bytes(), signed.as_bytes());
    assert_eq!(URL_SAFE_NO_PAD.encode(again), signature);
    let claims: Value =
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(signed.split_once('.').unwrap().1).unwrap()).unwrap();
    assert_eq!(claims["url_hash"], sha256(text(case, "url").as_bytes()));
    assert_eq!(claims["payload_hash"], sha256(text(case, "raw_body").as_bytes()));
}

#[test]
fn vonage_signs_parameters_and_bodies() {
    let sms = vectors!("vonage_sms_signature.json");
    let secret = text(&sms, "signature_secret");
    let mut checked = 0;
    for case in cases(&sms).iter().filter(|case| case["sig"]["sha256"].is_string()) {
        let params: Vec<(&str, &str)> = case["params"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str().unwrap()))
            .collect();
        assert_eq!(
            vonage::signature(secret, &params),
            text(&case["sig"], "sha256"),
            "{} {}",
            case["name"],
            form(&params)
        );
        assert_ne!(vonage::signature("other", &params), text(&case["sig"], "sha256"));
        checked += 1;
    }
    assert!(checked >= 2, "{checked}");

    let webhook = vectors!("vonage_jwt_webhook.json");
    let case = &cases(&webhook)[0];
    let token = text(case, "authorization").strip_prefix("Bearer ").unwrap();
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let again = mac(hmac::HMAC_SHA256, text(&webhook, "signature_secret").as_bytes(), signed.as_bytes());
    assert_eq!(URL_SAFE_NO_PAD.encode(again), signature);
    let claims: Value =
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(signed.split_once('.').unwrap().1).unwrap()).unwrap();
    assert_eq!(claims["payload_hash"], sha256(text(case, "raw_body").as_bytes()));
}

#[test]
fn signature_v4_as_botocore_makes_it() {
    let vectors = vectors!("aws_sigv4_sms.json");
    for case in cases(&vectors) {
        let url = url::Url::parse(text(case, "url")).unwrap();
        let mut headers: Vec<(String, String)> = case["headers"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(name, value)| (name.to_ascii_lowercase(), value.as_str().unwrap().to_owned()))
            .collect();
        let (date, region, service) = (text(case, "amz_date"), text(case, "region"), text(case, "service"));
        let mut names: Vec<&str> = vec!["host", "x-amz-date"];
        names.extend(headers.iter().map(|(name, _)| name.as_str()));
        names.sort_unstable();
        names.dedup();
        let scope = format!("{}/{}/{region}/{service}/aws4_request", text(&vectors, "access_key_id"), &date[..8]);
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders={}, Signature={}",
            names.join(";"),
            text(case, "signature")
        );
        headers.extend([
            ("host".to_owned(), url.host_str().unwrap().to_owned()),
            ("x-amz-date".to_owned(), date.to_owned()),
            ("authorization".to_owned(), authorization),
        ]);
        let request = Request {
            method: "POST".to_owned(),
            path: url.path().to_owned(),
            query: String::new(),
            headers,
            body: text(case, "body").to_owned().into(),
        };
        let problem = |request: &Request| {
            sigv4_problem(request, text(&vectors, "access_key_id"), text(&vectors, "secret_access_key"), service)
        };
        assert_eq!(problem(&request), None, "{service}");
        let changed = Request { body: "Action=Other".into(), ..request.clone() };
        assert_eq!(problem(&changed), Some("SignatureDoesNotMatch"));
        assert_eq!(sigv4_problem(&request, "AKIDOTHER", "x", service), Some("InvalidClientTokenId"));
    }
}

/// Signatures with a key of our own: the public half must accept what the private half made, and nothing else.
#[test]
fn sendgrid_and_sns_verify_under_their_public_keys() {
    use aws_lc_rs::signature::ECDSA_P256_SHA256_ASN1;

    let key = STANDARD.decode(sendgrid_public_key()).unwrap();
    let (_, info) = SubjectPublicKeyInfo::from_der(&key).unwrap();
    let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &info.subject_public_key.data);
    let signature = STANDARD.decode(sendgrid("1600112502", b"[]\r\n")).unwrap();
    assert!(key.verify(b"1600112502[]\r\n", &signature).is_ok());
    assert!(key.verify(b"1600112502[]", &signature).is_err());

    let (_, pem) = parse_x509_pem(CERTIFICATE.as_bytes()).unwrap();
    let certificate = pem.parse_x509().unwrap();
    let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &certificate.public_key().subject_public_key.data);
    let signature = STANDARD.decode(sns("Message\nhello\n")).unwrap();
    assert!(key.verify(b"Message\nhello\n", &signature).is_ok());
    assert!(key.verify(b"Message\nhallo\n", &signature).is_err());
}
