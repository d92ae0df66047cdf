//! Twilio SendGrid, version 3 of its API, with its signed event webhook.
//! <https://www.twilio.com/docs/sendgrid/api-reference/mail-send/mail-send>
//!
//! One request carries a thousand recipients of the same text, each with its own subject, headers and echo of our attempt. SendGrid has no
//! idempotency key: an attempt without an answer is `unknown` until an event with our echo says more. Only accounts with the paid
//! Email Activity can be asked about a mail.

mod account;
mod activity;
mod callbacks;
mod domains;
mod errors;
mod events;
mod figures;
mod mails;
mod request;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use model::{
    Answer, BadSetting, Call, Channel, Content, EmailAddress, Failure, FieldKind, HttpCall, MessageId, Method, Secret,
    Setting, Values, settings,
};
use serde_json::Value;

use crate::{
    Acceptance, Asked, Batch, Check, Connector, Cx, Inbound, Limits, Observed, Outcome, Outgoing, Polled, Probe,
    Request, Spec, Step, Verdict, email, hook, letter, manage, multipart::Fields,
};

settings! {
    /// Settings of a SendGrid account.
    pub struct Settings {
        /// Starts with `SG.`; it needs Mail Send, and read access to Scopes for the account's test.
        api_key: Secret = "API key";
        /// The verification key of the signed event webhook, under Settings, Mail Settings, Event Webhooks. Without it events are refused.
        webhook_public_key: Option<String> = "Webhook verification key";
        /// `eu` for subusers in the European Union.
        region: Region = "Region", default "global";
        /// Asks SendGrid about mails that had no event. Only with the additional email activity history, which costs extra.
        email_activity: bool = "Email Activity", default "false";
        /// A domain of yours whose MX record is mx.sendgrid.net, such as reply.acme.example: each mail then asks for answers to an address of its own there, and Inbound Parse makes inbound
        /// messages of them. Mails then leave one by one: SendGrid has one address for answers in a request.
        reply_domain: Option<String> = "Reply domain";
    }
}

/// Where a SendGrid user lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Region {
    /// Everybody but European subusers.
    Global,
    /// Subusers in the European Union.
    Eu,
}

impl Setting for Region {
    const KIND: FieldKind = FieldKind::Choice { choices: &["global", "eu"] };
    fn read(text: Option<&str>) -> Result<Self, String> {
        match text {
            Some("global") => Ok(Self::Global),
            Some("eu") => Ok(Self::Eu),
            _ => Err("must be global or eu".to_owned()),
        }
    }
}

const NAME: &str = "SendGrid";
/// Recipients of one request, over all its personalizations.
const BATCH_MAX: usize = 1000;
/// Largest mail, in bytes, encoded.
const MAIL_MAX: u64 = 30 * 1024 * 1024;
/// SendGrid delivers an event for 24 hours; a repeat may carry its first signature. In milliseconds, with an hour to spare.
const EVENT_AGE_MAX_MS: i64 = 25 * 3_600_000;
/// What stands before the 65 bytes of a P-256 point in its DER form (RFC 5480).
const SPKI_PREFIX: &[u8] = &[
    0x30, 0x59, 0x30, 0x13, 6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7, 3,
    0x42, 0,
];

static SPEC: Spec = Spec {
    id: "sendgrid",
    name: "Twilio SendGrid",
    docs_url: "https://www.twilio.com/docs/sendgrid/api-reference/mail-send/mail-send",
    channels: &[Channel::Email],
    fields: Settings::FIELDS,
    from_example: "Acme Tickets <tickets@acme.example>",
    needs_from: true,
    // SendGrid takes 10 000 requests a second and says when it is too many.
    limits: Limits { per_second: 0, concurrency: 32 },
    has_receipts: true,
    callback_help: "In SendGrid, under Settings, Mail Settings, Event Webhooks, make a webhook with the callback URL and all events, switch on the \
                    signed event webhook, and paste its verification key into this account. For answers, enter the reply domain and this account's address for mails under \
                    Inbound Parse.",
    callback_security: "Signed: ECDSA (P-256, SHA-256) over timestamp and body, checked with `webhook_public_key`. Without that key events are refused. Mails of Inbound Parse are not \
                        signed: they are believed only at the account's address for mails with its secret last part, which is made from the API key.",
};

/// The connector for SendGrid.
pub struct SendGrid;

impl Connector for SendGrid {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn check(&self, settings: &Values) -> Result<(), BadSetting> {
        let settings = Settings::read(settings)?;
        if !email::is_key(settings.api_key.reveal()) {
            return Err(email::bad("api_key", "must be the key itself, starting with SG., without spaces"));
        }
        letter::check_domain(settings.reply_domain.as_deref())?;
        match &settings.webhook_public_key {
            Some(key) => point(key).map(drop),
            None => Ok(()),
        }
    }

    fn check_from(&self, from: &str, _channel: Channel) -> Result<(), BadSetting> {
        email::check_from(from, NAME)
    }

    fn can_carry(&self, _settings: &Values, content: &Content) -> Result<(), Failure> {
        request::check(email::content(content, NAME)?)
    }

    fn send(&self, cx: &Cx<'_>, message: &Outgoing<'_>) -> Result<Call, Failure> {
        post(cx, std::slice::from_ref(message))
    }

    fn answer(&self, cx: &Cx<'_>, _message: &Outgoing<'_>, _step: u8, answer: &Answer) -> Step {
        Step::Done(match taken(cx, answer) {
            Ok(id) => Outcome::Accepted(Acceptance::with_id(id)),
            Err(refusal) => Outcome::Refused(refusal.failure),
        })
    }

    fn batch(&self) -> Option<&dyn Batch> {
        Some(self)
    }

    fn test(&self, cx: &Cx<'_>) -> Result<Vec<Probe>, Failure> {
        account::probes(cx)
    }

    fn tested(&self, cx: &Cx<'_>, probe: &Probe, answer: &Answer) -> Vec<Check> {
        vec![account::check(cx, probe.name, answer)]
    }

    fn can_poll(&self, settings: &Values) -> bool {
        Settings::read(settings).is_ok_and(|settings| settings.email_activity)
    }

    fn poll(&self, cx: &Cx<'_>, asked: &Asked<'_>) -> Option<Call> {
        activity::ask(cx, asked)
    }

    fn polled(&self, _cx: &Cx<'_>, asked: &Asked<'_>, answer: &Answer) -> Polled {
        activity::read(asked, answer)
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
        Some(&callbacks::EventWebhook)
    }

    /// What happened to the mail inside SendGrid follows the id, or the host that took it; with the recipient it is that of one mail of several in a request.
    fn listed_id(&self, written: &str, to: Option<&str>) -> String {
        let id = events::bare_id(written.trim_start_matches('<'));
        let id = id.split_once('@').map_or(id, |(id, _)| id);
        to.map_or_else(|| id.to_owned(), |to| format!("{id}/{to}"))
    }

    fn figures(&self) -> Option<&dyn manage::Figures> {
        Some(&figures::Stats)
    }
}

impl Batch for SendGrid {
    fn max(&self) -> usize {
        BATCH_MAX
    }

    /// The same body; subjects and extra headers may differ.
    fn fits(&self, _cx: &Cx<'_>, first: &Outgoing<'_>, other: &Outgoing<'_>) -> bool {
        email::is_same_body(first, other).is_some()
    }

    fn send(&self, cx: &Cx<'_>, messages: &[Outgoing<'_>]) -> Result<Call, Failure> {
        post(cx, messages)
    }

    fn answer(&self, cx: &Cx<'_>, messages: &[Outgoing<'_>], answer: &Answer) -> Vec<Outcome> {
        match taken(cx, answer) {
            // The id is the request's: with the recipient it is a message's.
            Ok(id) => {
                messages.iter().map(|m| Outcome::Accepted(Acceptance::with_id(format!("{id}/{}", m.to)))).collect()
            }
            Err(refusal) => refusal.split(messages.len()),
        }
    }
}

impl Inbound for SendGrid {
    fn mail_path(&self, cx: &Cx<'_>) -> Option<String> {
        let settings = Settings::read(cx.settings).ok()?;
        Some(format!("/{}", hook::token(cx, &settings.api_key, "sendgrid mails")))
    }

    fn verify(&self, cx: &Cx<'_>, request: &Request<'_>, _fetched: Option<&Answer>) -> Verdict {
        if self.mail_path(cx).is_some_and(|path| hook::is_same(request.path, &path)) {
            return Verdict::Valid;
        }
        match signed(cx, request) {
            Ok(()) => Verdict::Valid,
            Err(reason) => Verdict::Invalid(reason.to_owned()),
        }
    }

    fn read(&self, cx: &Cx<'_>, request: &Request<'_>) -> Result<Vec<Observed>, Failure> {
        // The path was checked: only at the address for mails anything but the event webhook's own address is believed.
        if !request.path.is_empty()
            && let Some(fields) = Fields::read(request)
        {
            return Ok(mails::read(cx, &Settings::read(cx.settings)?, &fields));
        }
        match serde_json::from_slice(request.body) {
            Ok(Value::Array(events)) => Ok(events.iter().filter_map(events::read).map(Observed::Status).collect()),
            _ => Err(email::bad_callback(NAME)),
        }
    }
}

/// A request with the account's key.
fn call(cx: &Cx<'_>, settings: &Settings, method: Method, path: &str) -> HttpCall {
    let host = match settings.region {
        Region::Global => "https://api.sendgrid.com",
        Region::Eu => "https://api.eu.sendgrid.com",
    };
    let key = format!("Bearer {}", settings.api_key.reveal());
    HttpCall::new(method, format!("{}{path}", cx.base_or(host))).header("authorization", key)
}

fn post(cx: &Cx<'_>, messages: &[Outgoing<'_>]) -> Result<Call, Failure> {
    let settings = Settings::read(cx.settings)?;
    let body = request::body(cx, messages)?;
    Ok(Call::Http(call(cx, &settings, Method::Post, "/v3/mail/send").body("application/json", body)))
}

/// The request's id. A mail is taken with 202; 200 is what sandbox mode says, which sends nothing and which we never ask for.
fn taken(cx: &Cx<'_>, answer: &Answer) -> Result<String, errors::Refusal> {
    let http = email::http(answer).map_err(errors::Refusal::from)?;
    if !(200..300).contains(&http.status) {
        return Err(errors::refusal(cx, http));
    }
    match http.header("x-message-id").map(str::trim).filter(|id| !id.is_empty()) {
        Some(id) => Ok(id.to_owned()),
        None => Err(email::unreadable(NAME, http).into()),
    }
}

/// Checks the signature over the timestamp and the body as sent.
/// <https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/getting-started-event-webhook-security-features>
fn signed(cx: &Cx<'_>, request: &Request<'_>) -> Result<(), &'static str> {
    let settings = Settings::read(cx.settings).map_err(|_| "the account's settings cannot be read")?;
    let key = settings.webhook_public_key.ok_or(
        "the account has no webhook verification key: switch on the signed event webhook and set `webhook_public_key`",
    )?;
    let point = point(&key).map_err(|_| "the account's webhook verification key cannot be read")?;
    let timestamp = request
        .header("x-twilio-email-event-webhook-timestamp")
        .ok_or("the request has no X-Twilio-Email-Event-Webhook-Timestamp header")?;
    let signature = request
        .header("x-twilio-email-event-webhook-signature")
        .ok_or("the request has no X-Twilio-Email-Event-Webhook-Signature header")?;
    let signature = STANDARD.decode(signature.trim()).map_err(|_| "the signature is not base64")?;
    let text = [timestamp.as_bytes(), request.body].concat();
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point)
        .verify(&text, &signature)
        .map_err(|_| "the signature does not match: check `webhook_public_key`")?;
    let at = email::seconds(&Value::from(timestamp)).ok_or("the timestamp is no number of seconds")?;
    email::check_age(cx, at, EVENT_AGE_MAX_MS)
}

/// The point of a P-256 key in base64 of its DER form, with or without the PEM lines around it.
fn point(key: &str) -> Result<Vec<u8>, BadSetting> {
    let bare = key.replace("-----BEGIN PUBLIC KEY-----", "").replace("-----END PUBLIC KEY-----", "");
    let bare: String = bare.split_whitespace().collect();
    let der = STANDARD.decode(bare).unwrap_or_default();
    match der.strip_prefix(SPKI_PREFIX) {
        Some(point) if point.len() == 65 && point[0] == 4 => Ok(point.to_vec()),
        _ => Err(email::bad(
            "webhook_public_key",
            "must be the verification key as SendGrid shows it: about 124 characters starting with MFkw",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Deserialize)]
    struct Vectors {
        public_key: String,
        headers: std::collections::BTreeMap<String, String>,
        raw_body: String,
        negative: Vec<Negative>,
    }

    #[derive(Deserialize)]
    struct Negative {
        why: String,
        raw_body: Option<String>,
        timestamp: Option<String>,
    }

    fn verdict(key: Option<&str>, timestamp: &str, signature: &str, body: &[u8], now: i64) -> Verdict {
        let mut settings = Values::default();
        settings.set("api_key", "SG.x");
        if let Some(key) = key {
            settings.set("webhook_public_key", key);
        }
        let now = model::Timestamp::from_seconds(now);
        let cx = Cx { settings: &settings, from: None, base_url: None, callback_url: "", now, nonce: 0 };
        let headers = [
            ("x-twilio-email-event-webhook-timestamp".to_owned(), timestamp.to_owned()),
            ("x-twilio-email-event-webhook-signature".to_owned(), signature.to_owned()),
        ];
        SendGrid.verify(&cx, &Request { method: "POST", path: "", query: "", headers: &headers, body }, None)
    }

    fn is_valid(verdict: &Verdict) -> bool {
        matches!(verdict, Verdict::Valid)
    }

    fn changed(text: &[u8], at: usize) -> Vec<u8> {
        let mut text = text.to_vec();
        text[at] ^= 1;
        text
    }

    #[test]
    fn the_vectors_hold_and_no_byte_may_change() {
        let vectors: Vectors = serde_json::from_str(include_str!("../tests/data/sendgrid_event_webhook.json")).unwrap();
        let header = |name: &str| vectors.headers[&format!("X-Twilio-Email-Event-Webhook-{name}")].as_str();
        let (timestamp, signature, body) = (header("Timestamp"), header("Signature"), vectors.raw_body.as_bytes());
        let key = Some(vectors.public_key.as_str());
        let now = timestamp.parse::<i64>().unwrap();
        assert!(is_valid(&verdict(key, timestamp, signature, body, now)));
        for negative in &vectors.negative {
            let body = negative.raw_body.as_deref().unwrap_or(&vectors.raw_body).as_bytes();
            let timestamp = negative.timestamp.as_deref().unwrap_or(timestamp);
            assert!(!is_valid(&verdict(key, timestamp, signature, body, now)), "{}", negative.why);
        }
        for at in 0..body.len() {
            assert!(!is_valid(&verdict(key, timestamp, signature, &changed(body, at), now)), "byte {at}");
        }
        let der = STANDARD.decode(signature).unwrap();
        for at in 0..der.len() {
            assert!(!is_valid(&verdict(key, timestamp, &STANDARD.encode(changed(&der, at)), body, now)), "byte {at}");
        }
        for (other, now) in [(None, now), (Some(SDK_KEY), now), (key, now + 25 * 3600 + 1), (key, now - 301)] {
            assert!(!is_valid(&verdict(other, timestamp, signature, body, now)));
        }
        assert!(is_valid(&verdict(key, timestamp, signature, body, now + 25 * 3600)));
    }

    const SDK_KEY: &str = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE83T4O/n84iotIvIW4mdBgQ/7dAfSmpqIM8kF9mN1flpVKS3GRqe62gw+2fNNRaINXvVpiglSI8eNEc6wEA3F+g==";

    #[test]
    fn the_key_is_taken_in_both_its_forms() {
        let pem = format!("-----BEGIN PUBLIC KEY----- {SDK_KEY} -----END PUBLIC KEY-----");
        assert_eq!(point(SDK_KEY).unwrap(), point(&pem).unwrap());
        for bad in ["", "MFkw", "no base64", &SDK_KEY[..100], &SDK_KEY.replace("MFkwEw", "MFkwEx")] {
            assert_eq!(point(bad).unwrap_err().field, "webhook_public_key");
        }
    }
}
