//! Resend: mails as JSON, events by Svix.
//! <https://resend.com/docs/api-reference/emails/send-email>
//!
//! Resend has idempotency keys: a repeated request with the same key and payload answers as the first did. So the payload of a message never
//! changes between attempts (its echo names the message, not the attempt), the key is made of the payload, and a server error is
//! tried again. That holds for single messages only: a batch of other members has another key, so a batch that failed stays `unknown`.

mod account;
mod callbacks;
mod domains;
mod errors;
mod events;
mod figures;
mod lookup;
mod mails;
mod request;

use aws_lc_rs::hmac;
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD},
};
use model::{
    Answer, BadSetting, Call, Channel, Content, EmailAddress, Failure, FailureKind, HttpAnswer, HttpCall, MessageId,
    Method, Secret, Values, settings,
};
use serde_json::Value;

use crate::{
    Acceptance, Asked, Batch, Check, Connector, Cx, Inbound, Limits, Observed, Outcome, Outgoing, Polled, Probe,
    Request, Spec, Step, Verdict, email, letter, manage,
};

settings! {
    /// Settings of a Resend account.
    pub struct Settings {
        /// Starts with `re_`; a key that may only send is enough.
        api_key: Secret = "API key";
        /// Starts with `whsec_`; on the webhook's page. Without it events are refused.
        webhook_secret: Option<Secret> = "Webhook signing secret";
        /// A domain of yours that receives at Resend, such as reply.acme.example: each mail then asks for answers to an address of its own there, and the event `email.received` makes inbound
        /// messages of them. The key then needs full access, since texts and files are fetched with it.
        reply_domain: Option<String> = "Reply domain";
    }
}

const NAME: &str = "Resend";
const HOST: &str = "https://api.resend.com";
/// Messages of one request.
const BATCH_MAX: usize = 100;
/// Age at which a signed event is no longer believed, in milliseconds. Repeats are signed anew.
const EVENT_AGE_MAX_MS: i64 = 300_000;
/// How long after a message was accepted its idempotency key surely lives, in milliseconds: a day, less a few hours for the queue.
const KEY_MS: i64 = 20 * 3_600_000;

static SPEC: Spec = Spec {
    id: "resend",
    name: "Resend",
    docs_url: "https://resend.com/docs/api-reference/emails/send-email",
    channels: &[Channel::Email],
    fields: Settings::FIELDS,
    from_example: "Acme Tickets <tickets@acme.example>",
    needs_from: true,
    // Resend counts requests, a few a second for the whole team, not messages: few at once let batches of a hundred fill up.
    limits: Limits { per_second: 0, concurrency: 2 },
    has_receipts: true,
    callback_help: "In Resend, under Webhooks, add the callback URL for all email events, `email.received` among them where a reply domain is set, and paste its signing \
                    secret into this account.",
    callback_security: "Signed: Svix, HMAC-SHA256 over id, timestamp and body, checked with `webhook_secret`. Without that secret events are refused.",
};

/// The connector for Resend.
pub struct Resend;

impl Connector for Resend {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn check(&self, settings: &Values) -> Result<(), BadSetting> {
        let settings = Settings::read(settings)?;
        if !email::is_key(settings.api_key.reveal()) {
            return Err(email::bad("api_key", "must be the key itself, starting with re_, without spaces"));
        }
        letter::check_domain(settings.reply_domain.as_deref())?;
        match &settings.webhook_secret {
            Some(secret) => key(secret).map(drop),
            None => Ok(()),
        }
    }

    fn check_from(&self, from: &str, _channel: Channel) -> Result<(), BadSetting> {
        email::check_from(from, NAME)?;
        request::check_name(from)
    }

    fn can_carry(&self, _settings: &Values, content: &Content) -> Result<(), Failure> {
        request::check(email::content(content, NAME)?)
    }

    fn send(&self, cx: &Cx<'_>, message: &Outgoing<'_>) -> Result<Call, Failure> {
        let settings = Settings::read(cx.settings)?;
        let body = request::single(cx, message)?;
        let key = request::key(&message.message_id.to_string(), &body);
        Ok(Call::Http(post(cx, &settings, "/emails", key, body)))
    }

    fn answer(&self, cx: &Cx<'_>, message: &Outgoing<'_>, _step: u8, answer: &Answer) -> Step {
        Step::Done(match email::http(answer) {
            Ok(http) if (200..300).contains(&http.status) => taken(http),
            Ok(http) => Outcome::Refused(repeatable(cx, message, http, errors::failure(cx, http))),
            Err(failure) => Outcome::Refused(failure),
        })
    }

    fn batch(&self) -> Option<&dyn Batch> {
        Some(self)
    }

    fn test(&self, cx: &Cx<'_>) -> Result<Vec<Probe>, Failure> {
        account::probes(cx)
    }

    fn tested(&self, cx: &Cx<'_>, probe: &Probe, answer: &Answer) -> Vec<Check> {
        account::checks(cx, probe.name, answer)
    }

    fn can_poll(&self, _settings: &Values) -> bool {
        true
    }

    fn poll(&self, cx: &Cx<'_>, asked: &Asked<'_>) -> Option<Call> {
        lookup::ask(cx, asked)
    }

    fn polled(&self, _cx: &Cx<'_>, asked: &Asked<'_>, answer: &Answer) -> Polled {
        lookup::read(asked, answer)
    }

    fn reply_address(&self, cx: &Cx<'_>, message: MessageId) -> Option<EmailAddress> {
        letter::reply_address(cx, &Settings::read(cx.settings).ok()?.api_key, message)
    }

    fn inbound(&self) -> Option<&dyn Inbound> {
        Some(self)
    }

    fn domains(&self) -> Option<&dyn manage::Domains> {
        Some(&domains::Domains)
    }

    fn callbacks(&self) -> Option<&dyn manage::Callbacks> {
        Some(&callbacks::Webhook)
    }

    fn figures(&self) -> Option<&dyn manage::Figures> {
        Some(&figures::Metrics)
    }
}

impl Batch for Resend {
    fn max(&self) -> usize {
        BATCH_MAX
    }

    /// Any messages: each travels whole. Files go alone: batches did not always take them.
    fn fits(&self, _cx: &Cx<'_>, first: &Outgoing<'_>, other: &Outgoing<'_>) -> bool {
        email::is_light(first) && email::is_light(other)
    }

    /// `permissive`: one bad message does not refuse the others.
    /// <https://resend.com/docs/api-reference/emails/send-batch-emails>
    fn send(&self, cx: &Cx<'_>, messages: &[Outgoing<'_>]) -> Result<Call, Failure> {
        let settings = Settings::read(cx.settings)?;
        let body = request::batch(cx, messages)?;
        let key = request::key("batch", &body);
        let call = post(cx, &settings, "/emails/batch", key, body);
        Ok(Call::Http(call.header("x-batch-validation", "permissive")))
    }

    fn answer(&self, cx: &Cx<'_>, messages: &[Outgoing<'_>], answer: &Answer) -> Vec<Outcome> {
        match email::http(answer) {
            Ok(http) if (200..300).contains(&http.status) => split(cx, messages.len(), http),
            Ok(http) => email::whole(messages.len(), errors::of_batch(errors::failure(cx, http))),
            Err(failure) => email::whole(messages.len(), failure),
        }
    }
}

impl Inbound for Resend {
    fn verify(&self, cx: &Cx<'_>, request: &Request<'_>, _fetched: Option<&Answer>) -> Verdict {
        match signed(cx, request) {
            Ok(()) => Verdict::Valid,
            Err(reason) => Verdict::Invalid(reason.to_owned()),
        }
    }

    fn read(&self, _cx: &Cx<'_>, request: &Request<'_>) -> Result<Vec<Observed>, Failure> {
        match serde_json::from_slice::<Value>(request.body) {
            Ok(event) if event.is_object() => Ok(events::read(&event).map(Observed::Status).into_iter().collect()),
            _ => Err(email::bad_callback(NAME)),
        }
    }

    fn missing(&self, cx: &Cx<'_>, request: &Request<'_>, answers: &[Answer]) -> Result<Option<Call>, Failure> {
        match serde_json::from_slice::<Value>(request.body) {
            Ok(event) => mails::missing(cx, &event, answers),
            Err(_) => Ok(None),
        }
    }

    fn read_with(&self, cx: &Cx<'_>, request: &Request<'_>, answers: &[Answer]) -> Result<Vec<Observed>, Failure> {
        match serde_json::from_slice::<Value>(request.body) {
            Ok(event) if mails::id(&event).is_some() => mails::read(cx, &Settings::read(cx.settings)?, &event, answers),
            _ => self.read(cx, request),
        }
    }

    /// Repeats of an event carry its id.
    fn dedupe_key(&self, request: &Request<'_>) -> Option<String> {
        header(request, "id").map(str::to_owned)
    }
}

fn call(cx: &Cx<'_>, settings: &Settings, method: Method, path: &str) -> HttpCall {
    let key = format!("Bearer {}", settings.api_key.reveal());
    HttpCall::new(method, format!("{}{path}", cx.base_or(HOST))).header("authorization", key)
}

fn post(cx: &Cx<'_>, settings: &Settings, path: &str, key: String, body: Vec<u8>) -> HttpCall {
    call(cx, settings, Method::Post, path).header("idempotency-key", key).body("application/json", body)
}

fn taken(http: &HttpAnswer) -> Outcome {
    match email::text(&email::json(http), "/id") {
        Some(id) => Outcome::Accepted(Acceptance::with_id(id)),
        None => Outcome::Refused(email::unreadable(NAME, http)),
    }
}

/// A server error of a single message is no riddle while its key lives: the same request again answers what became of it.
fn repeatable(cx: &Cx<'_>, message: &Outgoing<'_>, http: &HttpAnswer, failure: Failure) -> Failure {
    let is_alive = message.attempt == 1 || cx.now.millis_since(message.accepted_at) < KEY_MS;
    if http.status < 500 || failure.kind != FailureKind::Unknown || !is_alive {
        return failure;
    }
    let detail = "Resend failed; the same request is repeated under the same idempotency key.".to_owned();
    Failure { kind: FailureKind::Unavailable, detail, retry_after_ms: http.retry_after_ms(cx.now), ..failure }
}

/// Ids come in order; in permissive mode refused messages are named by their place and have no id.
fn split(cx: &Cx<'_>, count: usize, http: &HttpAnswer) -> Vec<Outcome> {
    let body = email::json(http);
    let list = |name: &str| body.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let (data, errors) = (list("data"), list("errors"));
    let refused: std::collections::BTreeMap<usize, &Value> = errors
        .iter()
        .filter_map(|error| Some((usize::try_from(error.get("index")?.as_u64()?).ok()?, error)))
        .filter(|(index, _)| *index < count)
        .collect();
    if data.len() + refused.len() != count || refused.len() != errors.len() {
        return email::whole(count, email::unreadable(NAME, http));
    }
    let mut ids = data.iter();
    let outcome = |index: usize| match refused.get(&index) {
        Some(error) => Outcome::Refused(errors::of_one(cx, error)),
        None => match ids.next().and_then(|entry| email::text(entry, "/id")) {
            Some(id) => Outcome::Accepted(Acceptance::with_id(id)),
            None => Outcome::Refused(email::unreadable(NAME, http)),
        },
    };
    (0..count).map(outcome).collect()
}

/// A Svix header; the same scheme also goes by the name of its standard.
fn header<'a>(request: &'a Request<'_>, name: &str) -> Option<&'a str> {
    let of = |prefix: &str| request.header(&format!("{prefix}-{name}")).filter(|value| !value.is_empty());
    of("svix").or_else(|| of("webhook"))
}

/// Checks the signature over id, timestamp and body.
/// <https://docs.svix.com/receiving/verifying-payloads/how-manual>
fn signed(cx: &Cx<'_>, request: &Request<'_>) -> Result<(), &'static str> {
    let settings = Settings::read(cx.settings).map_err(|_| "the account's settings cannot be read")?;
    let secret = settings.webhook_secret.ok_or("the account has no webhook secret: set `webhook_secret`")?;
    let key = key(&secret).map_err(|_| "the account's webhook secret cannot be read")?;
    let part = |name: &str| header(request, name).ok_or("the request has no Svix headers");
    let (id, timestamp, signatures) = (part("id")?, part("timestamp")?, part("signature")?);
    let text = [id.as_bytes(), b".", timestamp.as_bytes(), b".", request.body].concat();
    let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
    // While a secret is being replaced, both sign. Other versions than v1 are for others.
    let is_ours = |signature: &str| {
        let given = signature.strip_prefix("v1,").and_then(|given| STANDARD.decode(given).ok());
        given.is_some_and(|given| hmac::verify(&key, &text, &given).is_ok())
    };
    if !signatures.split(' ').any(is_ours) {
        return Err("the signature does not match: check `webhook_secret`");
    }
    let at = email::seconds(&Value::from(timestamp)).ok_or("the timestamp is no number of seconds")?;
    email::check_age(cx, at, EVENT_AGE_MAX_MS)
}

/// The bytes of a signing secret.
fn key(secret: &Secret) -> Result<Vec<u8>, BadSetting> {
    let bare = secret.reveal().trim().trim_start_matches("whsec_").trim_end_matches('=');
    match STANDARD_NO_PAD.decode(bare) {
        Ok(key) if !key.is_empty() => Ok(key),
        _ => Err(email::bad("webhook_secret", "must be the signing secret as Resend shows it, starting with whsec_")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Deserialize)]
    struct Vectors {
        secret: String,
        headers: std::collections::BTreeMap<String, String>,
        raw_body: String,
        valid_if_clock_is: i64,
        tolerance_seconds: i64,
        also_valid: std::collections::BTreeMap<String, String>,
    }

    fn is_valid(secret: Option<&str>, headers: &[(String, String)], body: &[u8], now: i64) -> bool {
        let mut settings = Values::default();
        settings.set("api_key", "re_x");
        if let Some(secret) = secret {
            settings.set("webhook_secret", secret);
        }
        let now = model::Timestamp::from_seconds(now);
        let cx = Cx { settings: &settings, from: None, base_url: None, callback_url: "", now, nonce: 0 };
        let request = Request { method: "POST", path: "", query: "", headers, body };
        matches!(Resend.verify(&cx, &request, None), Verdict::Valid)
    }

    #[test]
    fn the_vector_holds_and_no_byte_may_change() {
        let vectors: Vectors = serde_json::from_str(include_str!("../tests/data/resend_svix.json")).unwrap();
        let headers: Vec<(String, String)> = vectors.headers.clone().into_iter().collect();
        let with = |name: &str, value: &str| {
            let change = |(n, v): &(String, String)| (n.clone(), if n == name { value.to_owned() } else { v.clone() });
            headers.iter().map(change).collect::<Vec<_>>()
        };
        let (secret, body, now) =
            (Some(vectors.secret.as_str()), vectors.raw_body.as_bytes(), vectors.valid_if_clock_is);
        assert!(is_valid(secret, &headers, body, now));
        assert!(is_valid(secret, &with("svix-signature", &vectors.also_valid["svix-signature"]), body, now));
        let standard: Vec<_> = headers.iter().map(|(n, v)| (n.replace("svix", "webhook"), v.clone())).collect();
        assert!(is_valid(secret, &standard, body, now));
        for at in 0..body.len() {
            let mut changed = body.to_vec();
            changed[at] ^= 1;
            assert!(!is_valid(secret, &headers, &changed, now), "byte {at}");
        }
        for (name, value) in &headers {
            for at in 0..value.len() {
                let mut changed = value.clone().into_bytes();
                changed[at] = if changed[at] == b'1' { b'2' } else { b'1' };
                assert!(!is_valid(secret, &with(name, &String::from_utf8(changed).unwrap()), body, now), "{name} {at}");
            }
            assert!(!is_valid(secret, &with(name, ""), body, now), "{name}");
        }
        let version = vectors.headers["svix-signature"].replace("v1,", "v2,");
        assert!(!is_valid(secret, &with("svix-signature", &version), body, now));
        for tolerance in [vectors.tolerance_seconds, -vectors.tolerance_seconds] {
            assert!(is_valid(secret, &headers, body, now + tolerance));
            assert!(!is_valid(secret, &headers, body, now + tolerance + tolerance.signum()));
        }
        for secret in [None, Some(""), Some("whsec_"), Some("whsec_AAAA")] {
            assert!(!is_valid(secret, &headers, body, now));
        }
        assert!(is_valid(Some(vectors.secret.trim_start_matches("whsec_")), &headers, body, now));
    }

    #[test]
    fn batches_are_split_only_when_every_message_is_spoken_of() {
        let settings = Values::default();
        let now = model::Timestamp::EPOCH;
        let cx = Cx { settings: &settings, from: None, base_url: None, callback_url: "", now, nonce: 0 };
        let read = |body: &str| {
            let http = HttpAnswer { status: 200, body: body.to_owned().into(), ..HttpAnswer::default() };
            let word = |outcome: Outcome| match outcome {
                Outcome::Accepted(acceptance) => acceptance.provider_message_id.unwrap(),
                Outcome::Refused(failure) => failure.kind.as_str().to_owned(),
            };
            split(&cx, 3, &http).into_iter().map(word).collect::<Vec<_>>().join(" ")
        };
        for (body, wanted) in [
            (r#"{"data":[{"id":"a"},{"id":"b"},{"id":"c"}]}"#, "a b c"),
            (r#"{"data":[{"id":"a"},{"id":"b"},{"id":"c"}],"errors":[]}"#, "a b c"),
            (
                r#"{"data":[{"id":"a"},{"id":"c"}],"errors":[{"index":1,"message":"The `to` field is bad"}]}"#,
                "a recipient c",
            ),
            (r#"{"data":[{"id":"a"},{},{"id":"c"}]}"#, "a unknown c"),
            (r#"{"data":[{"id":"a"},{"id":"c"}]}"#, "unknown unknown unknown"),
            (r#"{"data":[{"id":"a"},{"id":"b"},{"id":"c"}],"errors":[{"index":1}]}"#, "unknown unknown unknown"),
            (r#"{"data":[{"id":"a"},{"id":"b"},{"id":"c"}],"errors":[{"index":9}]}"#, "unknown unknown unknown"),
            (r#"{"data":[],"errors":[{"index":1},{"index":1},{"index":0}]}"#, "unknown unknown unknown"),
            ("<html>", "unknown unknown unknown"),
        ] {
            assert_eq!(read(body), wanted, "{body}");
        }
    }
}
