//! Mailgun by Sinch: mails as multipart forms, events by signed webhooks and by asking.
//! <https://documentation.mailgun.com/docs/mailgun/api-reference/send/mailgun/messages>
//!
//! One request carries a thousand recipients of the same text; what differs (subject, extra headers, our echo) travels as recipient
//! variables, which also keep recipients from seeing each other. Mailgun has no idempotency key, but its event log repeats our echo: a lost
//! answer is settled by asking.

mod account;
mod callbacks;
mod domains;
mod errors;
mod events;
mod figures;
mod log;
mod mails;
mod request;

use aws_lc_rs::hmac;
use model::{
    Answer, BadSetting, Call, Channel, Content, EmailAddress, Failure, FieldKind, HttpAnswer, HttpCall, MessageId,
    Method, Secret, Setting, Values, settings,
};
use serde_json::Value;

use crate::{
    Acceptance, Asked, Batch, Check, Connector, Cx, Inbound, Limits, Observed, Outcome, Outgoing, Polled, Probe,
    Request, Spec, Step, Verdict, email, hook, letter, manage, multipart::Fields,
};

settings! {
    /// Settings of a Mailgun account.
    pub struct Settings {
        /// Of the whole account or of the sending domain; under API Security. A domain's key can send but cannot look anything up.
        api_key: Secret = "API key";
        /// The sending domain as Mailgun knows it, such as mg.example.com.
        domain: String = "Sending domain";
        /// Where the domain lives; it cannot be moved.
        region: Region = "Region", default "us";
        /// The HTTP webhook signing key, under API Security; it is not the API key. Without it events are refused.
        webhook_signing_key: Option<Secret> = "Webhook signing key";
        /// A domain of yours that receives at Mailgun, such as reply.acme.example: each mail then asks for answers to an address of its own there, and the route that forwards them to
        /// this account's address for mails makes inbound messages of them. Needs `webhook_signing_key`.
        reply_domain: Option<String> = "Reply domain";
    }
}

/// Where a domain lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Region {
    /// The United States.
    Us,
    /// The European Union.
    Eu,
}

impl Setting for Region {
    const KIND: FieldKind = FieldKind::Choice { choices: &["us", "eu"] };
    fn read(text: Option<&str>) -> Result<Self, String> {
        match text {
            Some("us") => Ok(Self::Us),
            Some("eu") => Ok(Self::Eu),
            _ => Err("must be us or eu".to_owned()),
        }
    }
}

const NAME: &str = "Mailgun";
/// Recipients of one request.
const BATCH_MAX: usize = 1000;
/// Mailgun repeats an event for 8 hours; a repeat may carry its first signature. In milliseconds, with an hour to spare.
const EVENT_AGE_MAX_MS: i64 = 9 * 3_600_000;

static SPEC: Spec = Spec {
    id: "mailgun",
    name: "Mailgun",
    docs_url: "https://documentation.mailgun.com/docs/mailgun/api-reference/send/mailgun/messages",
    channels: &[Channel::Email],
    fields: Settings::FIELDS,
    from_example: "Acme Tickets <tickets@mg.acme.example>",
    needs_from: true,
    // The rate is the account's own; Mailgun says when it is exceeded, and for how long.
    limits: Limits { per_second: 0, concurrency: 16 },
    has_receipts: true,
    callback_help: "In Mailgun, under Send, Sending, Webhooks, choose the domain and add the callback URL for every event type. Paste the HTTP webhook \
                    signing key into this account. For answers, make a route that matches the recipients of the reply domain and forwards to this account's address for mails.",
    callback_security: "Signed: HMAC-SHA256 over timestamp and token with `webhook_signing_key`. The signature does not cover the event itself, so each \
                        token is believed once. Without that key events are refused.",
};

/// The connector for Mailgun.
pub struct Mailgun;

impl Connector for Mailgun {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn check(&self, settings: &Values) -> Result<(), BadSetting> {
        let settings = Settings::read(settings)?;
        if !email::is_key(settings.api_key.reveal()) {
            return Err(email::bad("api_key", "must be the key itself, without spaces"));
        }
        let is_name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
        let domain = settings.domain.as_str();
        if !domain.contains('.') || domain.contains("..") || domain.len() > 255 || !domain.bytes().all(is_name) {
            return Err(email::bad("domain", "must be a domain name, such as mg.example.com"));
        }
        if settings.reply_domain.is_some() && settings.webhook_signing_key.is_none() {
            return Err(email::bad(
                "webhook_signing_key",
                "is missing; without it no mail that Mailgun forwards can be verified",
            ));
        }
        letter::check_domain(settings.reply_domain.as_deref())
    }

    fn check_from(&self, from: &str, _channel: Channel) -> Result<(), BadSetting> {
        email::check_from(from, NAME)
    }

    fn can_carry(&self, _settings: &Values, content: &Content) -> Result<(), Failure> {
        request::check(email::content(content, NAME)?)
    }

    fn send(&self, cx: &Cx<'_>, message: &Outgoing<'_>) -> Result<Call, Failure> {
        post(cx, request::single(cx, message)?)
    }

    fn answer(&self, cx: &Cx<'_>, _message: &Outgoing<'_>, _step: u8, answer: &Answer) -> Step {
        Step::Done(match taken(cx, answer) {
            Ok(id) => Outcome::Accepted(Acceptance::with_id(id)),
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
        log::ask(cx, asked)
    }

    fn polled(&self, cx: &Cx<'_>, asked: &Asked<'_>, answer: &Answer) -> Polled {
        log::read(cx, asked, answer)
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
        Some(&callbacks::Webhooks)
    }

    fn figures(&self) -> Option<&dyn manage::Figures> {
        Some(&figures::Stats)
    }
}

impl Batch for Mailgun {
    fn max(&self) -> usize {
        BATCH_MAX
    }

    fn fits(&self, _cx: &Cx<'_>, first: &Outgoing<'_>, other: &Outgoing<'_>) -> bool {
        request::fits(first, other)
    }

    fn send(&self, cx: &Cx<'_>, messages: &[Outgoing<'_>]) -> Result<Call, Failure> {
        post(cx, request::batch(cx, messages)?)
    }

    fn answer(&self, cx: &Cx<'_>, messages: &[Outgoing<'_>], answer: &Answer) -> Vec<Outcome> {
        match taken(cx, answer) {
            // The id is the request's: with the recipient it is a message's.
            Ok(id) => {
                messages.iter().map(|m| Outcome::Accepted(Acceptance::with_id(format!("{id}/{}", m.to)))).collect()
            }
            Err(failure) => email::whole(messages.len(), failure),
        }
    }
}

impl Inbound for Mailgun {
    fn verify(&self, cx: &Cx<'_>, request: &Request<'_>, _fetched: Option<&Answer>) -> Verdict {
        match signed(cx, request) {
            Ok(()) => Verdict::Valid,
            Err(reason) => Verdict::Invalid(reason.to_owned()),
        }
    }

    /// Ends in `mime`: then Mailgun forwards mails as they came.
    fn mail_path(&self, cx: &Cx<'_>) -> Option<String> {
        let key = Settings::read(cx.settings).ok()?.webhook_signing_key?;
        Some(format!("/{}/mime", hook::token(cx, &key, "mailgun mails")))
    }

    fn read(&self, cx: &Cx<'_>, request: &Request<'_>) -> Result<Vec<Observed>, Failure> {
        if let Some(fields) = Fields::read(request).filter(mails::is_mail) {
            return Ok(mails::read(cx, &Settings::read(cx.settings)?, &fields));
        }
        let body: Value = serde_json::from_slice(request.body).unwrap_or_default();
        match body.get("event-data") {
            Some(event) => Ok(events::read(event).map(Observed::Status).into_iter().collect()),
            None => Err(email::bad_callback(NAME)),
        }
    }

    /// The token, not the event's id: the signature covers only the token, so a second request with it could say anything.
    fn dedupe_key(&self, request: &Request<'_>) -> Option<String> {
        Signature::read(request).ok().map(|signature| signature.token)
    }
}

/// A request with the account's key.
fn call(cx: &Cx<'_>, settings: &Settings, method: Method, path: &str) -> HttpCall {
    let host = match settings.region {
        Region::Us => "https://api.mailgun.net",
        Region::Eu => "https://api.eu.mailgun.net",
    };
    HttpCall::new(method, format!("{}{path}", cx.base_or(host))).basic_auth("api", &settings.api_key)
}

fn post(cx: &Cx<'_>, (kind, body): (String, bytes::Bytes)) -> Result<Call, Failure> {
    let settings = Settings::read(cx.settings)?;
    let path = format!("/v3/{}/messages", settings.domain);
    Ok(Call::Http(call(cx, &settings, Method::Post, &path).body(&kind, body)))
}

/// The request's id, without the angle brackets that events leave out.
fn taken(cx: &Cx<'_>, answer: &Answer) -> Result<String, Failure> {
    let http = email::http(answer)?;
    if http.status != 200 {
        return Err(errors::failure(cx, http));
    }
    let body = email::json(http);
    match email::text(&body, "/id").map(bare) {
        Some(id) if !id.is_empty() => Ok(id.to_owned()),
        _ => Err(no_id(http)),
    }
}

/// Mailgun greets requests to addresses it does not know with 200 and a line of text.
fn no_id(http: &HttpAnswer) -> Failure {
    if http.text().contains("Mailgun Magnificent API") {
        return errors::elsewhere(http);
    }
    email::unreadable(NAME, http)
}

fn bare(id: &str) -> &str {
    id.trim().trim_start_matches('<').trim_end_matches('>')
}

/// Checks the signature over timestamp and token.
/// <https://documentation.mailgun.com/docs/mailgun/user-manual/webhooks/securing-webhooks>
fn signed(cx: &Cx<'_>, request: &Request<'_>) -> Result<(), &'static str> {
    let settings = Settings::read(cx.settings).map_err(|_| "the account's settings cannot be read")?;
    let key = settings
        .webhook_signing_key
        .filter(|key| !key.reveal().is_empty())
        .ok_or("the account has no webhook signing key: set `webhook_signing_key`")?;
    let Signature { timestamp, token, signature } = Signature::read(request)?;
    let signature = unhex(&signature).ok_or("the signature is not hexadecimal")?;
    let key = hmac::Key::new(hmac::HMAC_SHA256, key.reveal().as_bytes());
    hmac::verify(&key, format!("{timestamp}{token}").as_bytes(), &signature)
        .map_err(|_| "the signature does not match: check `webhook_signing_key`")?;
    let at = email::seconds(&Value::from(timestamp.as_str())).ok_or("the timestamp is no number of seconds")?;
    email::check_age(cx, at, EVENT_AGE_MAX_MS)
}

/// What a request is signed with: an event holds it, a forwarded mail has it beside its other fields.
struct Signature {
    timestamp: String,
    token: String,
    signature: String,
}

impl Signature {
    fn read(request: &Request<'_>) -> Result<Self, &'static str> {
        let missing = "the body has no signature";
        if let Some(fields) = Fields::read(request) {
            let part = |name: &str| fields.text(name).map(std::borrow::Cow::into_owned).ok_or(missing);
            return Ok(Self { timestamp: part("timestamp")?, token: part("token")?, signature: part("signature")? });
        }
        let body: Value = serde_json::from_slice(request.body).map_err(|_| "the body is neither JSON nor a form")?;
        let part = |name: &str| email::text(&body, &format!("/signature/{name}")).map(str::to_owned).ok_or(missing);
        Ok(Self { timestamp: part("timestamp")?, token: part("token")?, signature: part("signature")? })
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |b: &u8| char::from(*b).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = text.as_bytes().chunks(2).map(|pair| match pair {
        [high, low] => Some(digit(high)? << 4 | digit(low)?),
        _ => None,
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use serde_json::json;

    #[derive(Deserialize)]
    struct Vectors {
        http_signing_key: String,
        signature: Signature,
    }

    #[derive(Deserialize)]
    struct Signature {
        timestamp: String,
        token: String,
        signature: String,
    }

    fn is_valid(key: Option<&str>, timestamp: &str, token: &str, signature: &str, now: i64) -> bool {
        let mut settings = Values::default();
        settings.set("api_key", "k");
        settings.set("domain", "mg.acme.example");
        if let Some(key) = key {
            settings.set("webhook_signing_key", key);
        }
        let now = model::Timestamp::from_seconds(now);
        let cx = Cx { settings: &settings, from: None, base_url: None, callback_url: "", now, nonce: 0 };
        let signature = json!({ "timestamp": timestamp, "token": token, "signature": signature });
        let body = json!({ "signature": signature, "event-data": {} }).to_string();
        let request = Request { method: "POST", path: "", query: "", headers: &[], body: body.as_bytes() };
        matches!(Mailgun.verify(&cx, &request, None), Verdict::Valid)
    }

    /// The text with one byte exchanged for another ASCII character that is a digit, too.
    fn changed(text: &str, at: usize) -> String {
        let mut bytes = text.as_bytes().to_vec();
        bytes[at] = if bytes[at] == b'1' { b'2' } else { b'1' };
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn the_vector_holds_and_no_byte_may_change() {
        let vectors: Vectors = serde_json::from_str(include_str!("../tests/data/mailgun_webhook.json")).unwrap();
        let Signature { timestamp, token, signature } = &vectors.signature;
        let key = Some(vectors.http_signing_key.as_str());
        let now = timestamp.parse::<i64>().unwrap();
        assert!(is_valid(key, timestamp, token, signature, now));
        assert!(is_valid(key, timestamp, token, &signature.to_uppercase(), now));
        for at in 0..timestamp.len() {
            assert!(!is_valid(key, &changed(timestamp, at), token, signature, now));
        }
        for at in 0..token.len() {
            assert!(!is_valid(key, timestamp, &changed(token, at), signature, now));
        }
        for at in 0..signature.len() {
            assert!(!is_valid(key, timestamp, token, &changed(signature, at), now));
        }
        assert!(is_valid(key, timestamp, token, signature, now + 9 * 3600));
        for (key, signature, now) in [
            (None, signature.as_str(), now),
            (Some(""), signature.as_str(), now),
            (Some("another"), signature.as_str(), now),
            (key, "", now),
            (key, &signature[..63], now),
            (key, &signature[..62], now),
            (key, "zz", now),
            (key, signature.as_str(), now + 9 * 3600 + 1),
            (key, signature.as_str(), now - 301),
        ] {
            assert!(!is_valid(key, timestamp, token, signature, now));
        }
    }
}
