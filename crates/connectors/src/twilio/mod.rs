//! Twilio: SMS, MMS and WhatsApp through one resource, `Messages`, and spoken calls through another, `Calls`.
//!
//! [`content`] says what a message becomes in Twilio's form fields and what cannot be carried, [`answer`] reads the message resource, [`errors`]
//! is the table of Twilio's codes, [`lookup`] asks what became of an attempt, [`callback`] checks and reads Twilio's requests to us, [`voice`] is
//! what calls have of their own, and [`account`] is the account's test. Twilio has no idempotency key: an attempt without an answer is `unknown`
//! until its status callback (which carries our attempt id in its query) or the look-up settles it.
//!
//! Refused here: uploaded media (Twilio only fetches URLs), free-form buttons (they need a content template).

mod account;
mod answer;
mod asking;
mod attaching;
mod callback;
mod callbacks;
mod content;
mod errors;
mod lookup;
mod numbers;
mod records;
mod registrations;
mod sender;
mod sole_proprietor;
mod templates;
mod toll_free;
mod voice;

use model::{
    Address, Answer, BadSetting, Call, Channel, Content, Failure, FailureKind, HttpCall, Method, Money, Secret, Values,
    settings,
};
use url::form_urlencoded;

use crate::{Asked, Check, Connector, Cx, Inbound, Limits, Outgoing, Polled, Probe, Spec, Step, manage, phone};

settings! {
    /// Settings of a Twilio account.
    pub struct Settings {
        /// Starts with `AC`; on the first page of Twilio's console.
        account_sid: String = "Account SID";
        /// Below the account SID. It signs Twilio's callbacks, also when requests use an API key; rotating it here takes effect for the next message.
        auth_token: Secret = "Auth token";
        /// Starts with `MG`. Messages then leave through this messaging service instead of a number, and the account needs a sender only for calls.
        messaging_service_sid: Option<String> = "Messaging service SID";
        /// Starts with `SK`. Requests are then made with this API key instead of the auth token.
        api_key_sid: Option<String> = "API key SID";
        /// Shown once when the API key is made.
        api_key_secret: Option<Secret> = "API key secret";
    }
}

/// Twilio's API host. Operators who use a region set `https://api.{edge}.{region}.twilio.com` as base URL.
const HOST: &str = "https://api.twilio.com";

static SPEC: Spec = Spec {
    id: "twilio",
    name: "Twilio",
    docs_url: "https://www.twilio.com/docs/messaging/api/message-resource",
    channels: &[Channel::Sms, Channel::Whatsapp, Channel::Voice],
    fields: Settings::FIELDS,
    from_example: "+15550100001",
    // A messaging service stands in for a sender, so only `send` and the account's test can say that neither is there.
    needs_from: false,
    // Twilio publishes no rate for requests; it queues per sender and answers 429 (20429) above the account's concurrency.
    limits: Limits { per_second: 0, concurrency: 64 },
    has_receipts: true,
    callback_help: "Status reports need no set-up: every message and call names this account's callback URL. To receive messages, open the number (or the \
                    messaging service, or the WhatsApp sender) in Twilio's console and enter the callback URL under \"A message comes in\", method POST.",
    callback_security: "Signed: X-Twilio-Signature, HMAC-SHA1 with the auth token over the public URL and the form.",
};

/// The Twilio connector.
pub struct Twilio;

impl Connector for Twilio {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn check(&self, settings: &Values) -> Result<(), BadSetting> {
        let settings = Settings::read(settings)?;
        check_sid("account_sid", &settings.account_sid, "AC")?;
        if let Some(sid) = &settings.messaging_service_sid {
            check_sid("messaging_service_sid", sid, "MG")?;
        }
        if let Some(sid) = &settings.api_key_sid {
            check_sid("api_key_sid", sid, "SK")?;
        }
        match (&settings.api_key_sid, &settings.api_key_secret) {
            (Some(_), None) => Err(bad("api_key_secret", "belongs to the API key SID; give both or neither")),
            (None, Some(_)) => Err(bad("api_key_sid", "belongs to the API key secret; give both or neither")),
            _ => Ok(()),
        }
    }

    fn check_from(&self, from: &str, channel: Channel) -> Result<(), BadSetting> {
        sender::check(from, channel)
    }

    fn can_carry(&self, _settings: &Values, content: &Content) -> Result<(), Failure> {
        match content {
            Content::Voice(voice) => voice::twiml(voice).map(drop),
            _ => content::fields(content).map(drop),
        }
    }

    fn send(&self, cx: &Cx<'_>, message: &Outgoing<'_>) -> Result<Call, Failure> {
        let settings = Settings::read(cx.settings)?;
        let to = phone(message.to)?.as_str();
        // Twilio repeats this URL with its query: that is how a callback finds an attempt whose answer was lost.
        let report_to = format!("{}?attempt={}", cx.callback_url, message.attempt_id);
        let (path, fields, mut reports) = match message.content {
            Content::Voice(voice) => ("/Calls.json", voice::fields(cx, voice)?, voice::reports(report_to)),
            _ => ("/Messages.json", message_fields(cx, &settings, message)?, vec![("StatusCallback", report_to)]),
        };
        if cx.callback_url.is_empty() {
            reports.clear();
        }
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("To", &address(to, message.channel)).extend_pairs(fields).extend_pairs(reports);
        let call = request(cx, &settings, Method::Post, path);
        Ok(Call::Http(call.body("application/x-www-form-urlencoded", form.finish())))
    }

    fn answer(&self, cx: &Cx<'_>, message: &Outgoing<'_>, _step: u8, answer: &Answer) -> Step {
        Step::Done(match message.content {
            Content::Voice(_) => voice::outcome(answer, cx.now),
            _ => answer::outcome(answer, cx.now),
        })
    }

    fn test(&self, cx: &Cx<'_>) -> Result<Vec<Probe>, Failure> {
        account::probes(cx)
    }

    fn tested(&self, cx: &Cx<'_>, probe: &Probe, answer: &Answer) -> Vec<Check> {
        account::checks(cx, probe, answer)
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

    fn polled_price(&self, _cx: &Cx<'_>, asked: &Asked<'_>, answer: &Answer) -> Option<Money> {
        lookup::price(asked, answer)
    }

    fn records(&self) -> Option<&dyn manage::Records> {
        Some(&records::Messages)
    }

    fn inbound(&self) -> Option<&dyn Inbound> {
        Some(self)
    }

    fn callbacks(&self) -> Option<&dyn manage::Callbacks> {
        Some(&callbacks::InboundUrls)
    }

    fn numbers(&self) -> Option<&dyn manage::Numbers> {
        Some(&numbers::OwnNumbers)
    }

    fn registrations(&self) -> Option<&dyn manage::Registrations> {
        Some(&registrations::A2p)
    }

    fn templates(&self) -> Option<&dyn manage::Templates> {
        Some(&templates::ContentTemplates)
    }
}

/// The messaging service a message leaves through. It stands for the account's own number of texts, so a sender somebody chose, and one of WhatsApp, is not replaced by it.
fn service<'s>(cx: &Cx<'_>, settings: &'s Settings, message: &Outgoing<'_>) -> Option<&'s str> {
    let has_from = cx.from.is_some_and(|from| !from.is_empty());
    let is_default = message.channel == Channel::Sms && !message.names_sender;
    settings.messaging_service_sid.as_deref().filter(|_| is_default || !has_from)
}

/// The form fields of a message besides `To`: who sends it, and what it says.
fn message_fields(cx: &Cx<'_>, settings: &Settings, message: &Outgoing<'_>) -> Result<content::Fields, Failure> {
    let mut fields = vec![match service(cx, settings, message) {
        Some(sid) => ("MessagingServiceSid", sid.to_owned()),
        None => ("From", sender(cx, message.channel)?),
    }];
    fields.extend(content::fields(message.content)?);
    Ok(fields)
}

/// A request below the account's own path, with its credentials.
fn request(cx: &Cx<'_>, settings: &Settings, method: Method, path: &str) -> HttpCall {
    let url = format!("{}/2010-04-01/Accounts/{}{path}", cx.base_or(HOST), settings.account_sid);
    let call = HttpCall::new(method, url);
    match (&settings.api_key_sid, &settings.api_key_secret) {
        (Some(sid), Some(secret)) => call.basic_auth(sid, secret),
        _ => call.basic_auth(&settings.account_sid, &settings.auth_token),
    }
}

/// The account's sender as Twilio writes it on this channel.
fn sender(cx: &Cx<'_>, channel: Channel) -> Result<String, Failure> {
    let account = |code, detail: String| Failure::new(FailureKind::Account, code, detail);
    let from = cx.from.filter(|from| !from.is_empty()).ok_or_else(|| {
        account(
            "no_sender",
            "The Twilio account has neither a sender nor a messaging service. Set `from` or `messaging_service_sid`."
                .to_owned(),
        )
    })?;
    sender::check(from, channel)
        .map_err(|bad| account("bad_sender", format!("The sender {from} cannot be used: {}.", bad.detail)))?;
    Ok(address(from, channel))
}

/// A number as Twilio writes it on this channel: both ends of a WhatsApp message carry `whatsapp:`.
fn address(number: &str, channel: Channel) -> String {
    match channel {
        Channel::Whatsapp if !number.starts_with(sender::WHATSAPP) => format!("{}{number}", sender::WHATSAPP),
        _ => number.to_owned(),
    }
}

fn to_address(asked: &Asked<'_>) -> Option<String> {
    match asked.to {
        Address::Phone(phone) => Some(address(phone.as_str(), asked.channel)),
        _ => None,
    }
}

/// Twilio's SIDs have 32 hexadecimal digits after the prefix. Only the prefix and the alphabet are insisted on, so that simulators and test
/// accounts may use shorter ones; a wrong one is found by the account's test.
fn check_sid(field: &str, sid: &str, prefix: &str) -> Result<(), BadSetting> {
    let rest = sid.strip_prefix(prefix).unwrap_or_default();
    if rest.is_empty() || !rest.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return Err(bad(field, format!("starts with {prefix}, followed by letters and digits only")));
    }
    Ok(())
}

fn bad(field: &str, detail: impl Into<String>) -> BadSetting {
    BadSetting { field: field.to_owned(), detail: detail.into() }
}
