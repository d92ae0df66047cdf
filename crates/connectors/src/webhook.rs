//! A tenant's own endpoint: our events go out as Standard Webhooks (<https://www.standardwebhooks.com>), over the same path as messages.
//!
//! Internal: the engine keeps one account per endpoint, tenants see `/v1/webhook-endpoints`. Receivers drop repeats by `webhook-id`, so everything
//! that is not a plain yes is sent again; this connector never answers "unknown". Redirects are not followed: a receiver that moved
//! must be told to us, because a redirect could lead anywhere.

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use model::{
    Answer, BadSetting, Call, Channel, Content, Failure, FailureKind, HttpAnswer, HttpCall, Method, Secret, Values,
    WebhookContent, settings,
};

use crate::{Acceptance, Check, Connector, Cx, Limits, Outcome, Outgoing, Probe, Spec, Step};

settings! {
    /// Settings of an endpoint.
    pub struct Settings {
        /// Where events are posted.
        url: String = "URL";
        /// Signing secrets (`whsec_…`), newest first, separated by spaces. While a secret is being replaced both sign.
        secrets: Secret = "Signing secrets";
    }
}

/// Time for the receiver to answer, in milliseconds: what the specification recommends (15–30 s), its lower end, since events queue behind it.
const TIMEOUT_MS: u64 = 15_000;
/// Largest answer read, in bytes: enough for the delivery log, too little to hurt.
const ANSWER_MAX: usize = 64 * 1024;
/// Most secrets at once: the current one and those in their overlap.
const SECRETS_MAX: usize = 5;
/// Length of a secret in bytes, by the specification.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;
/// What begins every signing secret.
pub const SECRET_PREFIX: &str = "whsec_";

static SPEC: Spec = Spec {
    id: "webhook",
    name: "Webhook endpoint",
    docs_url: "https://www.standardwebhooks.com",
    channels: &[Channel::Webhook],
    fields: Settings::FIELDS,
    from_example: "",
    needs_from: false,
    limits: Limits { per_second: 0, concurrency: 16 },
    has_receipts: false,
    callback_help: "",
    callback_security: "",
};

/// The connector for tenants' endpoints.
pub struct Webhook;

impl Connector for Webhook {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn check(&self, settings: &Values) -> Result<(), BadSetting> {
        let settings = Settings::read(settings)?;
        check_url(&settings.url)?;
        keys(&settings.secrets).map(drop)
    }

    // Receivers know a repeated event by its `webhook-id`.
    fn repeats_safely(&self) -> bool {
        true
    }

    fn send(&self, cx: &Cx<'_>, message: &Outgoing<'_>) -> Result<Call, Failure> {
        let Content::Webhook(event) = message.content else {
            return Err(Failure::new(FailureKind::Content, "wrong_channel", "Endpoints take events, not messages."));
        };
        let settings = Settings::read(cx.settings)?;
        Ok(Call::Http(post(&settings, event, cx.now.as_seconds())?))
    }

    fn answer(&self, cx: &Cx<'_>, _message: &Outgoing<'_>, _step: u8, answer: &Answer) -> Step {
        Step::Done(match answer {
            Answer::Http(http) => read(http, http.retry_after_ms(cx.now)),
            Answer::Smtp(_) | Answer::Local => Outcome::Refused(Failure::new(
                FailureKind::Unavailable,
                "no_answer",
                "The endpoint gave no HTTP answer.",
            )),
        })
    }

    fn test(&self, cx: &Cx<'_>) -> Result<Vec<Probe>, Failure> {
        let settings = Settings::read(cx.settings)?;
        let ping = WebhookContent {
            event_id: format!("ping_{:032x}", cx.nonce),
            body: format!(r#"{{"type":"endpoint.ping","timestamp":"{}","data":{{}}}}"#, cx.now),
        };
        Ok(vec![Probe { name: "Endpoint", call: Call::Http(post(&settings, &ping, cx.now.as_seconds())?) }])
    }

    fn tested(&self, _cx: &Cx<'_>, probe: &Probe, answer: &Answer) -> Vec<Check> {
        let outcome = match answer {
            Answer::Http(http) => read(http, None),
            Answer::Smtp(_) | Answer::Local => return Vec::new(),
        };
        vec![match outcome {
            Outcome::Accepted(_) => Check::ok(probe.name, "Took the event `endpoint.ping`."),
            Outcome::Refused(failure) => Check::failed(probe.name, failure.detail),
        }]
    }
}

/// The `webhook-signature` header: one `v1` signature per secret, newest first, separated by spaces.
pub fn signature(secrets: &Secret, event_id: &str, timestamp_s: i64, body: &str) -> Result<String, BadSetting> {
    let sign = |key: hmac::Key| {
        let mut context = hmac::Context::with_key(&key);
        context.update(event_id.as_bytes());
        context.update(format!(".{timestamp_s}.").as_bytes());
        context.update(body.as_bytes());
        format!("v1,{}", STANDARD.encode(context.sign()))
    };
    Ok(keys(secrets)?.into_iter().map(sign).collect::<Vec<_>>().join(" "))
}

fn post(settings: &Settings, event: &WebhookContent, now_s: i64) -> Result<HttpCall, BadSetting> {
    let signature = signature(&settings.secrets, &event.event_id, now_s, &event.body)?;
    let mut call = HttpCall::new(Method::Post, &settings.url)
        .header("webhook-id", &event.event_id)
        .header("webhook-timestamp", now_s.to_string())
        .header("webhook-signature", signature)
        .body("application/json", event.body.clone());
    call.timeout_ms = TIMEOUT_MS;
    call.answer_max = ANSWER_MAX;
    call.is_untrusted = true;
    Ok(call)
}

fn read(answer: &HttpAnswer, retry_after_ms: Option<u64>) -> Outcome {
    let (kind, detail) = match answer.status {
        200..=299 => return Outcome::Accepted(Acceptance::default()),
        300..=399 => (
            FailureKind::Unavailable,
            "The endpoint answered with a redirect; redirects are not followed. Update the endpoint's URL.",
        ),
        410 => (
            FailureKind::Account,
            "The endpoint answered 410 Gone: it wants no more events. Enable it again when it does.",
        ),
        429 | 503 if retry_after_ms.is_some() => (FailureKind::Throttled, "The endpoint asked us to wait."),
        _ => (FailureKind::Unavailable, "The endpoint did not answer with a 2xx status."),
    };
    Outcome::Refused(
        Failure::new(kind, answer.status.to_string(), detail)
            .with_provider_detail(answer.text())
            .with_retry_after_ms(retry_after_ms),
    )
}

fn check_url(text: &str) -> Result<(), BadSetting> {
    let bad = |detail: &str| BadSetting { field: "url".to_owned(), detail: detail.to_owned() };
    let url = url::Url::parse(text).map_err(|_| bad("is not a URL such as https://example.com/events"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err(bad("must begin with https:// (or http://) and name a host"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(bad("must not hold a user name or password; requests are signed instead"));
    }
    Ok(())
}

fn keys(secrets: &Secret) -> Result<Vec<hmac::Key>, BadSetting> {
    let bad = |detail: String| BadSetting { field: "secrets".to_owned(), detail };
    let keys = secrets.reveal().split_whitespace().map(key).collect::<Option<Vec<_>>>().ok_or_else(|| {
        bad(format!(
            "must each be {SECRET_PREFIX} followed by {} to {} bytes in base64",
            SECRET_BYTES.start(),
            SECRET_BYTES.end()
        ))
    })?;
    match keys.len() {
        0 => Err(bad("must hold at least one secret".to_owned())),
        1..=SECRETS_MAX => Ok(keys),
        count => Err(bad(format!("holds {count} secrets; at most {SECRETS_MAX} may overlap"))),
    }
}

fn key(text: &str) -> Option<hmac::Key> {
    let bytes = STANDARD.decode(text.strip_prefix(SECRET_PREFIX)?).ok()?;
    SECRET_BYTES.contains(&bytes.len()).then(|| hmac::Key::new(hmac::HMAC_SHA256, &bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From the specification's reference implementations.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    fn signed(secrets: &str) -> Result<String, BadSetting> {
        signature(&Secret::new(secrets), "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, r#"{"test": 2432232314}"#)
    }

    #[test]
    fn the_specifications_vector_holds() {
        assert_eq!(signed(SECRET).unwrap(), "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn every_secret_signs_and_the_newest_comes_first() {
        let newest = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX";
        let both = signed(&format!("{newest}\n {SECRET}")).unwrap();
        assert_eq!(both, format!("{} {}", signed(newest).unwrap(), signed(SECRET).unwrap()));
    }

    #[test]
    fn bad_secrets_are_refused() {
        for bad in
            ["", "  ", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_", "whsec_AAAA", "whsec_!!", &[SECRET; 6].join(" ")]
        {
            assert_eq!(signed(bad).unwrap_err().field, "secrets", "{bad}");
        }
    }

    #[test]
    fn statuses() {
        let kind = |status, wait| match read(&HttpAnswer { status, ..HttpAnswer::default() }, wait) {
            Outcome::Accepted(_) => None,
            Outcome::Refused(failure) => Some(failure.kind),
        };
        for status in [200, 201, 202, 204, 299] {
            assert_eq!(kind(status, None), None);
        }
        for status in [301, 302, 307, 308, 400, 401, 403, 404, 408, 413, 422, 429, 500, 502, 503, 504] {
            assert_eq!(kind(status, None), Some(FailureKind::Unavailable), "{status}");
        }
        for status in [429, 503] {
            assert_eq!(kind(status, Some(7)), Some(FailureKind::Throttled), "{status}");
        }
        assert_eq!(kind(410, None), Some(FailureKind::Account));
        assert_eq!(kind(500, Some(7)), Some(FailureKind::Unavailable));
    }
}
