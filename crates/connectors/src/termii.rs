//! Termii: SMS in Nigeria and beyond. <https://developers.termii.com/messaging-api>
//!
//! [`errors`] says what its refusals mean, [`events`] reads its webhooks. Termii has no idempotency key, no field that is repeated to us, and is not asked
//! about messages.
//!
//! Not documented, and so handled with care: how webhooks are signed (public code mostly takes HMAC-SHA512 over the body, some SHA-256, and keys differ),
//! so requests must come to an address nobody can guess, and a signature is checked besides when the account has a secret for it; the bodies of refusals,
//! which are judged by their status and a few words. Refused: media, which Termii carries over WhatsApp only.

mod errors;
mod events;

use aws_lc_rs::hmac;
use model::{
    Answer, BadSetting, Call, Channel, Content, Failure, FailureKind, FieldKind, HttpAnswer, HttpCall, Method, Secret,
    Setting, Values, settings,
};
use serde_json::{Value, json};
use url::{Url, form_urlencoded};

use crate::{
    Acceptance, Check, Connector, Cx, Inbound, Limits, Observed, Outcome, Outgoing, Probe, Request, Spec, Step,
    Verdict, hook, phone,
    read::{self, bad, is_key, text},
};

settings! {
    /// Settings of a Termii account.
    pub struct Settings {
        /// On the dashboard. The address for webhooks is made from it, too: paste that again after changing the key.
        api_key: Secret = "API key";
        /// The account's own, on the dashboard below the API key, such as https://v3.api.termii.com.
        base_url: String = "Base URL", default "https://api.ng.termii.com";
        /// `dnd` is for transactional messages and reaches numbers on the do-not-disturb list; `generic` is for promotional ones.
        route: Route = "Route", default "dnd";
        /// If Termii signs your webhooks: the secret. Requests must then carry a good signature, too.
        webhook_secret: Option<Secret> = "Webhook secret";
        /// How Termii signs them; sha512 is what most report.
        signature: Digest = "Signature", default "sha512";
    }
}

/// Termii's name for how a message travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// Transactional.
    Dnd,
    /// Promotional.
    Generic,
}

impl Setting for Route {
    const KIND: FieldKind = FieldKind::Choice { choices: &["dnd", "generic"] };

    fn read(text: Option<&str>) -> Result<Self, String> {
        match text {
            Some("dnd") => Ok(Self::Dnd),
            Some("generic") => Ok(Self::Generic),
            _ => Err("must be dnd or generic".to_owned()),
        }
    }
}

/// The hash behind a webhook's signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Digest {
    /// HMAC-SHA512.
    Sha512,
    /// HMAC-SHA256.
    Sha256,
}

impl Setting for Digest {
    const KIND: FieldKind = FieldKind::Choice { choices: &["sha512", "sha256"] };

    fn read(text: Option<&str>) -> Result<Self, String> {
        match text {
            Some("sha512") => Ok(Self::Sha512),
            Some("sha256") => Ok(Self::Sha256),
            _ => Err("must be sha512 or sha256".to_owned()),
        }
    }
}

const NAME: &str = "Termii";
const HEADER: &str = "x-termii-signature";
/// Termii's domain: accounts have hosts of their own below it.
const DOMAIN: &str = ".termii.com";
/// Longest sender id.
const FROM_MAX: usize = 11;
const CREDENTIALS: &str = "Credentials";
const BALANCE: &str = "Balance";

static SPEC: Spec = Spec {
    id: "termii",
    name: "Termii",
    docs_url: "https://developers.termii.com/messaging-api",
    channels: &[Channel::Sms],
    fields: Settings::FIELDS,
    from_example: "Acme",
    needs_from: true,
    limits: Limits { per_second: 0, concurrency: 8 },
    has_receipts: true,
    callback_help: "In Termii's dashboard under Webhook Config, paste this account's callback URL, which ends in a secret of its own.",
    callback_security: "Not reliably signed: Termii does not document its signature. Requests are believed only when they come to the account's callback URL with its \
                        secret last part, which is made from the API key, and, when the account has a webhook secret, with a good X-Termii-Signature.",
};

/// The connector for Termii.
pub struct Termii;

impl Connector for Termii {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn check(&self, settings: &Values) -> Result<(), BadSetting> {
        let settings = Settings::read(settings)?;
        if !is_key(settings.api_key.reveal()) {
            return Err(bad("api_key", "must be the key itself, without spaces"));
        }
        match is_host(&settings.base_url) {
            true => Ok(()),
            false => Err(bad("base_url", "is https:// and a host of termii.com, as the dashboard shows it")),
        }
    }

    fn check_from(&self, from: &str, _channel: Channel) -> Result<(), BadSetting> {
        let is_good = |b: u8| b.is_ascii_graphic() || b == b' ';
        match !from.trim().is_empty() && from.len() <= FROM_MAX && from.bytes().all(is_good) {
            true => Ok(()),
            false => Err(bad("from", "is a registered sender id of at most 11 characters")),
        }
    }

    fn can_carry(&self, _settings: &Values, content: &Content) -> Result<(), Failure> {
        words(content).map(drop)
    }

    fn send(&self, cx: &Cx<'_>, message: &Outgoing<'_>) -> Result<Call, Failure> {
        let settings = Settings::read(cx.settings)?;
        let from = cx.from.ok_or_else(|| {
            Failure::new(
                FailureKind::Account,
                "no_sender",
                "The Termii account has no sender. Set `from` to a registered sender id.",
            )
        })?;
        let body = json!({
            "api_key": settings.api_key.reveal(),
            "to": phone(message.to)?.digits(),
            "from": from,
            "sms": words(message.content)?,
            "type": "plain",
            "channel": match settings.route {
                Route::Dnd => "dnd",
                Route::Generic => "generic",
            },
        });
        let call = HttpCall::new(Method::Post, format!("{}/api/sms/send", cx.base_or(&settings.base_url)));
        Ok(Call::Http(call.body("application/json", body.to_string())))
    }

    fn answer(&self, cx: &Cx<'_>, _message: &Outgoing<'_>, _step: u8, answer: &Answer) -> Step {
        Step::Done(match read::http(answer) {
            Ok(http) => outcome(cx, http),
            Err(failure) => Outcome::Refused(failure),
        })
    }

    fn test(&self, cx: &Cx<'_>) -> Result<Vec<Probe>, Failure> {
        let settings = Settings::read(cx.settings)?;
        // The key is part of the URL; the exchange log redacts the account's secrets.
        let query =
            form_urlencoded::Serializer::new(String::new()).append_pair("api_key", settings.api_key.reveal()).finish();
        let url = format!("{}/api/get-balance?{query}", cx.base_or(&settings.base_url));
        Ok(vec![Probe { name: CREDENTIALS, call: Call::Http(HttpCall::new(Method::Get, url)) }])
    }

    fn tested(&self, cx: &Cx<'_>, probe: &Probe, answer: &Answer) -> Vec<Check> {
        match read::http(answer) {
            Ok(http) => checks(cx, http),
            Err(failure) => vec![Check::failed(probe.name, failure.detail)],
        }
    }

    fn inbound(&self) -> Option<&dyn Inbound> {
        Some(self)
    }
}

impl Inbound for Termii {
    fn path(&self, cx: &Cx<'_>) -> String {
        Settings::read(cx.settings).map_or(String::new(), |settings| format!("/{}", token(cx, &settings)))
    }

    fn verify(&self, cx: &Cx<'_>, request: &Request<'_>, _fetched: Option<&Answer>) -> Verdict {
        match checked(cx, request) {
            Ok(()) => Verdict::Valid,
            Err(reason) => Verdict::Invalid(reason),
        }
    }

    fn read(&self, _cx: &Cx<'_>, request: &Request<'_>) -> Result<Vec<Observed>, Failure> {
        events::read(request.body)
    }
}

fn token(cx: &Cx<'_>, settings: &Settings) -> String {
    hook::token(cx, &settings.api_key, "termii events")
}

fn checked(cx: &Cx<'_>, request: &Request<'_>) -> Result<(), String> {
    let settings =
        Settings::read(cx.settings).map_err(|bad| format!("the account's settings cannot be read: {bad}"))?;
    if !hook::has_token(request, &token(cx, &settings)) {
        return Err(
            "the address does not end in the account's secret: paste the account's callback URL into Termii again"
                .to_owned(),
        );
    }
    let Some(secret) = settings.webhook_secret else { return Ok(()) };
    let given = request.header(HEADER).ok_or("the request has no X-Termii-Signature header")?;
    let algorithm = match settings.signature {
        Digest::Sha512 => hmac::HMAC_SHA512,
        Digest::Sha256 => hmac::HMAC_SHA256,
    };
    match hook::is_signed(algorithm, secret.reveal(), request.body, given) {
        true => Ok(()),
        false => Err("the signature does not match: check `webhook_secret` and `signature`".to_owned()),
    }
}

/// A tenant chooses the host, so it must be one of Termii's.
fn is_host(url: &str) -> bool {
    let Ok(url) = Url::parse(url) else { return false };
    let is_bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    let is_plain =
        url.scheme() == "https" && url.port().is_none() && url.username().is_empty() && url.password().is_none();
    is_bare && is_plain && url.host_str().is_some_and(|host| host.ends_with(DOMAIN))
}

/// The text of an SMS, or which of its fields Termii cannot carry.
fn words(content: &Content) -> Result<&str, Failure> {
    let refused =
        |field: &str, problem: &str| Failure::new(FailureKind::Content, "cannot_carry", format!("{field}: {problem}."));
    match content {
        Content::Sms(sms) if !sms.media.is_empty() => Err(refused("/content/media", "Termii carries texts only")),
        Content::Sms(sms) if sms.text.is_empty() => Err(refused("/content/text", "is empty")),
        Content::Sms(sms) => Ok(&sms.text),
        Content::Email(_) | Content::Whatsapp(_) | Content::Telegram(_) | Content::Voice(_) | Content::Webhook(_) => {
            Err(refused("/channel", "this account carries SMS only"))
        }
    }
}

fn outcome(cx: &Cx<'_>, http: &HttpAnswer) -> Outcome {
    let body = read::json(http);
    let is_ok = text(&body, "/code").is_some_and(|code| code.eq_ignore_ascii_case("ok"));
    match (http.status, is_ok, id(&body["message_id"])) {
        (200..=299, true, Some(id)) => Outcome::Accepted(Acceptance::with_id(id)),
        _ => Outcome::Refused(errors::refused(cx, http, &body)),
    }
}

/// Ids are texts of digits, larger than what floating point holds; a whole number is read as one.
fn id(value: &Value) -> Option<String> {
    match value {
        Value::String(id) if !id.is_empty() => Some(id.clone()),
        Value::Number(id) => id.as_u64().map(|id| id.to_string()),
        _ => None,
    }
}

fn checks(cx: &Cx<'_>, http: &HttpAnswer) -> Vec<Check> {
    let body = read::json(http);
    let balance = &body["balance"];
    if http.status != 200 || !(balance.is_number() || balance.is_string()) {
        let failure = errors::refused(cx, http, &body);
        let detail = match failure.kind {
            FailureKind::Unknown if http.status == 200 => {
                "The answer is not Termii's. Check the account's base URL.".to_owned()
            }
            FailureKind::Unknown => format!("Termii answered HTTP {}. Try again later.", http.status),
            _ => format!("{} (HTTP {})", failure.detail, http.status),
        };
        return vec![Check::failed(CREDENTIALS, detail)];
    }
    let amount = balance.as_str().map_or_else(|| balance.to_string(), str::to_owned);
    let shown = format!("{amount} {}", text(&body, "/currency").unwrap_or_default());
    let is_empty = amount.parse::<f64>().is_ok_and(|amount| amount <= 0.0);
    let balance = match is_empty {
        true => Check::failed(BALANCE, format!("{}. Top up the account in Termii's dashboard.", shown.trim_end())),
        false => Check::ok(BALANCE, shown.trim_end()),
    };
    vec![Check::ok(CREDENTIALS, "The API key works."), balance]
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Timestamp;

    fn is_valid(settings: &Values, path: &str, header: Option<&str>, body: &[u8]) -> bool {
        let callback_url = "https://tidings.example/hooks/acc_1";
        let cx = Cx { settings, from: None, base_url: None, callback_url, now: Timestamp::EPOCH, nonce: 0 };
        let path = path.replace("SECRET", &token(&cx, &Settings::read(settings).unwrap()));
        let headers: Vec<_> = header.map(|value| (HEADER.to_owned(), value.to_owned())).into_iter().collect();
        let request = Request { method: "POST", path: &path, query: "", headers: &headers, body };
        matches!(Termii.verify(&cx, &request, None), Verdict::Valid)
    }

    #[test]
    fn the_address_is_always_asked_for_and_the_signature_with_a_secret() {
        let vector: Value = serde_json::from_str(include_str!("../tests/data/termii_webhook_UNVERIFIED.json")).unwrap();
        let part = |name: &str| vector[name].as_str().unwrap();
        let (body, signature) = (part("raw_body").as_bytes(), part("hmac_sha512_hex"));
        let mut open = Values::default();
        open.set("api_key", "k");
        let mut signed = open.clone();
        signed.set("webhook_secret", part("secret"));
        assert!(is_valid(&open, "/SECRET", None, body));
        assert!(!is_valid(&open, "/SECRET0", None, body) && !is_valid(&open, "", Some(signature), body));
        assert!(is_valid(&signed, "/SECRET", Some(signature), body));
        assert!(!is_valid(&signed, "", Some(signature), body) && !is_valid(&signed, "/SECRET", None, body));
        for at in 0..body.len() {
            let mut changed = body.to_vec();
            changed[at] ^= 1;
            assert!(!is_valid(&signed, "/SECRET", Some(signature), &changed), "byte {at}");
        }
        for at in 0..signature.len() {
            let mut changed = signature.as_bytes().to_vec();
            changed[at] = if changed[at] == b'0' { b'1' } else { b'0' };
            let changed = String::from_utf8(changed).unwrap();
            assert!(!is_valid(&signed, "/SECRET", Some(&changed), body), "byte {at} of the header");
        }
        let mut shorter = signed.clone();
        shorter.set("signature", "sha256");
        assert!(!is_valid(&shorter, "/SECRET", Some(signature), body));
        let key = hmac::Key::new(hmac::HMAC_SHA256, part("secret").as_bytes());
        assert!(is_valid(&shorter, "/SECRET", Some(&hook::hex(hmac::sign(&key, body).as_ref())), body));
    }

    #[test]
    fn hosts_are_termiis() {
        for good in ["https://api.ng.termii.com", "https://v3.api.termii.com/"] {
            assert!(is_host(good), "{good}");
        }
        for bad in [
            "",
            "api.ng.termii.com",
            "http://api.ng.termii.com",
            "https://termii.com.evil.example",
            "https://evil.example/.termii.com",
            "https://api.ng.termii.com:8443",
            "https://a@api.ng.termii.com",
            "https://api.ng.termii.com/x",
            "https://api.ng.termii.com?x",
            "https://eviltermii.com",
        ] {
            assert!(!is_host(bad), "{bad}");
        }
    }

    #[test]
    fn ids_are_not_rounded() {
        let read = |body: &str| id(&serde_json::from_str::<Value>(body).unwrap());
        assert_eq!(read(r#""9122821270554876574""#).as_deref(), Some("9122821270554876574"));
        assert_eq!(read("9122821270554876574").as_deref(), Some("9122821270554876574"));
        assert_eq!(read("91228212705548765749122821270554876574"), None);
        assert_eq!((read(r#""""#), read("null"), read("1.5")), (None, None, None));
    }
}
