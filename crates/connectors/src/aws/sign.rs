//! Signature V4, through Amazon's own crate.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::{
    http_request::{
        PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings,
        UriPathNormalizationMode, sign,
    },
    sign::v4::SigningParams,
};
use model::{Failure, FailureKind, HttpCall, Secret, Timestamp};

/// With what a request is signed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Keys<'a> {
    /// Public half of the key.
    pub access_key_id: &'a str,
    /// Secret half of the key.
    pub secret_access_key: &'a Secret,
    /// Comes with temporary keys.
    pub session_token: Option<&'a Secret>,
    /// The region whose service is called.
    pub region: &'a str,
}

/// Adds the headers that sign the call for `service` as it stands: nothing may be changed after.
pub(crate) fn signed(mut call: HttpCall, keys: &Keys<'_>, service: &str, now: Timestamp) -> Result<HttpCall, Failure> {
    let refuse = |problem: &dyn std::fmt::Display| {
        Failure::new(
            FailureKind::Account,
            "cannot_sign",
            format!("The request could not be signed: {problem}. Check the account's region and keys."),
        )
    };
    let identity = Credentials::new(
        keys.access_key_id,
        keys.secret_access_key.reveal(),
        keys.session_token.map(|token| token.reveal().to_owned()),
        None,
        "tidings",
    )
    .into();
    let mut settings = SigningSettings::default();
    if service == "s3" {
        // <https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html>: objects are named as they are, and the body's hash is a header.
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    }
    let params = SigningParams::builder()
        .identity(&identity)
        .region(keys.region)
        .name(service)
        .time(system_time(now))
        .settings(settings)
        .build()
        .map_err(|problem| refuse(&problem))?;
    let method = call.method.to_string();
    let headers = call.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let request = SignableRequest::new(&method, call.url.as_str(), headers, SignableBody::Bytes(&call.body))
        .map_err(|problem| refuse(&problem))?;
    let (instructions, _signature) = sign(request, &params.into()).map_err(|problem| refuse(&problem))?.into_parts();
    let added: Vec<_> = instructions.headers().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    call.headers.extend(added);
    Ok(call)
}

fn system_time(now: Timestamp) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_micros(now.as_micros().max(0).unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Method;
    use serde_json::Value;

    #[test]
    fn signatures_are_the_ones_botocore_makes() {
        let vectors: Value = serde_json::from_str(include_str!("../../tests/data/aws_sigv4_sms.json")).unwrap();
        let secret = Secret::new(vectors["secret_access_key"].as_str().unwrap());
        let cases = vectors["cases"].as_array().unwrap();
        assert_eq!(cases.len(), 2);
        for case in cases {
            let text = |name: &str| case[name].as_str().unwrap();
            let mut call = HttpCall::new(Method::Post, text("url"));
            for (name, value) in case["headers"].as_object().unwrap() {
                call = call.header(&name.to_ascii_lowercase(), value.as_str().unwrap());
            }
            call.body = text("body").to_owned().into();
            let access_key_id = vectors["access_key_id"].as_str().unwrap();
            let keys = Keys { access_key_id, secret_access_key: &secret, session_token: None, region: text("region") };
            let now = "2026-01-01T00:00:00Z".parse().unwrap();
            let call = signed(call, &keys, text("service"), now).unwrap();
            let (_, authorization) = call.headers.iter().find(|(name, _)| name == "authorization").unwrap();
            assert!(authorization.ends_with(&format!("Signature={}", text("signature"))), "{authorization}");
            assert!(call.headers.contains(&("x-amz-date".to_owned(), text("amz_date").to_owned())));
        }
    }

    #[test]
    fn temporary_keys_bring_their_token() {
        let (secret, token) = (Secret::new("s"), Secret::new("session-token"));
        let keys =
            Keys { access_key_id: "A", secret_access_key: &secret, session_token: Some(&token), region: "eu-west-1" };
        let call = signed(HttpCall::new(Method::Get, "https://x.example/"), &keys, "ses", Timestamp::EPOCH).unwrap();
        assert!(call.headers.contains(&("x-amz-security-token".to_owned(), "session-token".to_owned())));
        let bad = signed(HttpCall::new(Method::Get, "not a url"), &keys, "ses", Timestamp::EPOCH).unwrap_err();
        assert_eq!((bad.kind, bad.code.as_str()), (FailureKind::Account, "cannot_sign"));
    }
}
