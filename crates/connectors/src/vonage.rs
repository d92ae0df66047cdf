//! Vonage (once Nexmo): SMS, MMS and WhatsApp through its Messages API, SMS through its older SMS API where an account is set so, and calls with a
//! spoken text.
//!
//! [`messages`] says what a content becomes in the Messages API and what cannot be carried (WhatsApp's richer kinds are in [`rich`]), [`sms`] is the
//! SMS API, [`voice`] the calls, [`errors`] the tables of codes, [`callback`] checks and reads Vonage's requests to us ([`signature`] is how the SMS
//! API signs), [`account`] is the account's test. Every request carries our attempt id, which Vonage repeats in its reports. It can be asked about calls, by their id,
//! and about messages through [`reports`] where the account pays for that; elsewhere an attempt without an answer is `unknown` until a report settles it.
//!
//! A long text is several messages to the SMS API, each with a receipt of its own under the same attempt. Statuses only rise, so such a message
//! counts as delivered once its first part is, and as failed when none is. The Messages API adds the parts up itself.
//!
//! Refused here: uploaded media (Vonage only fetches URLs) and what WhatsApp cannot show in one message.

mod account;
mod callback;
mod callbacks;
mod errors;
mod messages;
mod numbers;
mod reports;
mod rich;
mod signature;
mod sms;
mod voice;

use model::{
    Answer, BadSetting, Call, Channel, Content, Failure, FailureKind, FieldKind, HttpCall, Method, Phone, Secret,
    Setting, Values, settings,
};
use serde_json::json;

use crate::{
    Asked, Check, Connector, Cx, Inbound, Limits, Outgoing, Polled, Probe, Spec, Step, hook, jwt, manage,
    read::{bad, is_key},
};

settings! {
    /// Settings of a Vonage account.
    pub struct Settings {
        /// Eight characters, on the first page of Vonage's dashboard.
        api_key: String = "API key";
        /// Below the API key.
        api_secret: Secret = "API secret";
        /// In the dashboard's API settings. It signs Vonage's callbacks; without it every callback is refused.
        signature_secret: Option<Secret> = "Signature secret";
        /// How the SMS API signs its callbacks, as chosen in the dashboard's API settings. The Messages and Voice APIs do not ask.
        signature_method: signature::Method = "Signature method", default "sha256";
        /// Of a Vonage application. Calls need one; messages use it instead of the API secret when it is given.
        application_id: Option<String> = "Application ID";
        /// The application's private key in PEM, downloaded when it was made.
        private_key: Option<Secret> = "Private key";
        /// Which API carries SMS. Media and WhatsApp always use the Messages API.
        sms_api: SmsApi = "SMS API", default "messages";
        /// Where the Messages API handles the messages.
        region: Region = "Region", default "global";
        /// Your WhatsApp namespace: put before the names of templates that name none.
        whatsapp_namespace: Option<String> = "WhatsApp namespace";
        /// India only: the entity id of your DLT registration.
        entity_id: Option<String> = "DLT entity ID";
        /// India only: the id of the registered template all SMS of this account follow.
        content_id: Option<String> = "DLT content ID";
        /// Looks messages up in Vonage's Reports API when nothing is heard of them for five minutes, and soon when an answer is lost. Vonage charges for each look.
        reports: bool = "Look messages up", default "false";
    }
}

/// Which API carries SMS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SmsApi {
    /// Messages API, version 1.
    Messages,
    /// The older SMS API.
    Sms,
}

impl Setting for SmsApi {
    const KIND: FieldKind = FieldKind::Choice { choices: &["messages", "sms"] };

    fn read(text: Option<&str>) -> Result<Self, String> {
        match text {
            Some("messages") => Ok(Self::Messages),
            Some("sms") => Ok(Self::Sms),
            _ => Err("must be messages or sms".to_owned()),
        }
    }
}

/// Where the Messages API handles messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Region {
    /// The nearest.
    Global,
    /// In Europe.
    Eu,
    /// In the United States.
    Us,
}

impl Setting for Region {
    const KIND: FieldKind = FieldKind::Choice { choices: &["global", "eu", "us"] };

    fn read(text: Option<&str>) -> Result<Self, String> {
        match text {
            Some("global") => Ok(Self::Global),
            Some("eu") => Ok(Self::Eu),
            Some("us") => Ok(Self::Us),
            _ => Err("must be global, eu or us".to_owned()),
        }
    }
}

/// The provider's name, for people.
const NAME: &str = "Vonage";
/// Host of the SMS API and the account's balance.
const REST_HOST: &str = "https://rest.nexmo.com";
/// Host of the Voice API.
const API_HOST: &str = "https://api.nexmo.com";
/// How long a token of ours is good for, in seconds: Vonage's own libraries take 15 minutes.
const TOKEN_S: i64 = 900;
/// Longest alphanumeric sender, set by the GSM networks.
const NAME_MAX: usize = 11;
/// Short codes have 3 to 8 digits, depending on the country.
const SHORT_CODE: std::ops::RangeInclusive<usize> = 3..=8;

static SPEC: Spec = Spec {
    id: "vonage",
    name: NAME,
    docs_url: "https://developer.vonage.com/en/api/messages",
    channels: &[Channel::Sms, Channel::Whatsapp, Channel::Voice],
    fields: Settings::FIELDS,
    from_example: "+15550100001",
    needs_from: true,
    // 30 requests a second for a key (https://developer.vonage.com/en/messaging/sms/guides/throughput); three calls a second may begin, US long
    // numbers send one message a second, and the Messages API's limits per channel are not published. Vonage says when one is exceeded.
    limits: Limits { per_second: 30, concurrency: 16 },
    has_receipts: true,
    callback_help: "Status reports of the Messages and Voice APIs need no set-up: every message names this account's callback URL. To receive messages, \
        enter it as inbound URL (and as status URL) of the application or, for the SMS API, as webhook of the number and of the account's API settings.",
    callback_security: "Signed: a token (HS256) with the hash of the body for the Messages and Voice APIs, a signature over the parameters for the SMS \
        API, both with the account's signature secret. For the SMS API switch signed webhooks on in the dashboard. Nothing unsigned is believed.",
};

/// The Vonage connector.
pub struct Vonage;

/// Which of Vonage's APIs carries a content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Api {
    Messages,
    Sms,
    Voice,
}

impl Api {
    fn of(content: &Content, settings: &Settings) -> Self {
        match content {
            Content::Voice(_) => Self::Voice,
            Content::Sms(sms) if sms.media.is_empty() && settings.sms_api == SmsApi::Sms => Self::Sms,
            _ => Self::Messages,
        }
    }
}

impl Connector for Vonage {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn check(&self, settings: &Values) -> Result<(), BadSetting> {
        let settings = Settings::read(settings)?;
        for (field, text) in [("api_key", settings.api_key.as_str()), ("api_secret", settings.api_secret.reveal())] {
            if !is_key(text) {
                return Err(bad(
                    field,
                    "must be letters, digits and signs without spaces, as Vonage's dashboard shows it",
                ));
            }
        }
        match (&settings.application_id, &settings.private_key) {
            (Some(_), None) => return Err(bad("private_key", "belongs to the application ID; give both or neither")),
            (None, Some(_)) => return Err(bad("application_id", "belongs to the private key; give both or neither")),
            (Some(id), Some(_)) if !is_id(id) => {
                return Err(bad(
                    "application_id",
                    "must be the application's id, as in aaaaaaaa-bbbb-cccc-dddd-0123456789ab",
                ));
            }
            (Some(_), Some(key)) => jwt::rsa_key(key).map(drop).map_err(|detail| bad("private_key", detail))?,
            (None, None) => {}
        }
        let is_namespace = |text: &str| !text.contains(':') && is_key(text);
        if settings.whatsapp_namespace.as_deref().is_some_and(|text| !is_namespace(text)) {
            return Err(bad("whatsapp_namespace", "must be the namespace alone, without a colon or spaces"));
        }
        Ok(())
    }

    fn check_from(&self, from: &str, channel: Channel) -> Result<(), BadSetting> {
        sender(from, channel).map(drop)
    }

    fn can_carry(&self, settings: &Values, content: &Content) -> Result<(), Failure> {
        let set = |name: &str| settings.get(name).filter(|value| !value.is_empty());
        match content {
            Content::Voice(_) if set("application_id").is_none() => {
                let detail =
                    "`/channel`: calls need a Vonage application. Give the account its application ID and private key.";
                Err(Failure::new(FailureKind::Content, "no_application", detail))
            }
            Content::Voice(voice) => self::voice::talk(voice).map(drop),
            _ => messages::parts(content, set("whatsapp_namespace")).map(drop),
        }
    }

    fn send(&self, cx: &Cx<'_>, message: &Outgoing<'_>) -> Result<Call, Failure> {
        let settings = Settings::read(cx.settings)?;
        let call = match Api::of(message.content, &settings) {
            Api::Messages => messages::request(cx, &settings, message),
            Api::Sms => sms::request(cx, &settings, message),
            Api::Voice => voice::request(cx, &settings, message),
        }?;
        Ok(Call::Http(call))
    }

    fn answer(&self, cx: &Cx<'_>, message: &Outgoing<'_>, _step: u8, answer: &Answer) -> Step {
        let api = Settings::read(cx.settings).map(|settings| Api::of(message.content, &settings));
        Step::Done(match api.unwrap_or(Api::Messages) {
            Api::Messages => messages::outcome(answer, cx.now),
            Api::Sms => sms::outcome(answer, cx.now),
            Api::Voice => voice::outcome(answer, cx.now),
        })
    }

    fn test(&self, cx: &Cx<'_>) -> Result<Vec<Probe>, Failure> {
        account::probes(cx)
    }

    fn tested(&self, cx: &Cx<'_>, probe: &Probe, answer: &Answer) -> Vec<Check> {
        account::checks(cx, probe, answer)
    }

    /// Calls with an application, messages where the account pays for it.
    fn can_poll(&self, settings: &Values) -> bool {
        Settings::read(settings).is_ok_and(|settings| settings.application_id.is_some() || settings.reports)
    }

    fn poll(&self, cx: &Cx<'_>, asked: &Asked<'_>) -> Option<Call> {
        match asked.channel {
            Channel::Voice => voice::ask(cx, asked),
            _ => reports::ask(cx, &Settings::read(cx.settings).ok()?, asked),
        }
    }

    fn polled(&self, _cx: &Cx<'_>, asked: &Asked<'_>, answer: &Answer) -> Polled {
        match asked.channel {
            Channel::Voice => voice::polled(answer),
            _ => reports::read(asked, answer),
        }
    }

    fn inbound(&self) -> Option<&dyn Inbound> {
        Some(self)
    }

    fn callbacks(&self) -> Option<&dyn manage::Callbacks> {
        Some(&callbacks::Application)
    }

    fn numbers(&self) -> Option<&dyn manage::Numbers> {
        Some(&numbers::OwnNumbers)
    }
}

/// The value of `Authorization` for an application's requests; `None` without an application.
/// <https://developer.vonage.com/en/getting-started/concepts/authentication#json-web-tokens>
fn token(cx: &Cx<'_>, settings: &Settings) -> Option<Result<String, Failure>> {
    let (id, pem) = (settings.application_id.as_ref()?, settings.private_key.as_ref()?);
    let iat = cx.now.as_seconds();
    let claims =
        json!({ "application_id": id, "iat": iat, "exp": iat + TOKEN_S, "jti": hook::hex(&cx.nonce.to_be_bytes()) });
    let signed = jwt::rsa_key(pem).and_then(|key| jwt::signed(&key, &claims));
    Some(signed.map(|token| format!("Bearer {token}")).map_err(|detail| {
        let detail = format!("The private key cannot be used: it {detail}. Update the account.");
        Failure::new(FailureKind::Account, "bad_private_key", detail)
    }))
}

/// Signs a request of the Messages API: as the application where there is one, with the API secret otherwise.
fn authorized(cx: &Cx<'_>, settings: &Settings, call: HttpCall) -> Result<HttpCall, Failure> {
    match token(cx, settings) {
        Some(token) => Ok(call.header("authorization", token?)),
        None => Ok(call.basic_auth(&settings.api_key, &settings.api_secret)),
    }
}

/// A request of the Voice API, which takes an application's token and nothing else.
fn voice_call(cx: &Cx<'_>, settings: &Settings, method: Method, path: &str) -> Result<HttpCall, Failure> {
    let token = token(cx, settings).ok_or_else(|| {
        // The account's other channels do without one, so its lack is this message's failure.
        let detail = "Calls need a Vonage application. Give the account its application ID and private key.";
        Failure::new(FailureKind::Content, "no_application", detail)
    })??;
    Ok(HttpCall::new(method, format!("{}/v1/calls{path}", cx.base_or(API_HOST))).header("authorization", token))
}

/// The account's sender as Vonage writes it on this channel: numbers without a plus. A name is good enough for SMS, so where it is not, only this
/// message fails.
fn from(cx: &Cx<'_>, channel: Channel) -> Result<String, Failure> {
    let given = cx.from.filter(|from| !from.is_empty()).ok_or_else(|| {
        Failure::new(FailureKind::Account, "no_sender", "The Vonage account has no sender. Set its `from`.")
    })?;
    let kind = if channel == Channel::Sms { FailureKind::Account } else { FailureKind::Content };
    sender(given, channel).map_err(|bad| {
        Failure::new(kind, "bad_sender", format!("The sender {given} cannot be used: it {}.", bad.detail))
    })
}

fn sender(from: &str, channel: Channel) -> Result<String, BadSetting> {
    if let Ok(phone) = from.parse::<Phone>() {
        return Ok(phone.digits().to_owned());
    }
    if channel != Channel::Sms {
        return Err(bad("from", "must be a number with a plus, as in +15550100001"));
    }
    let is_code = SHORT_CODE.contains(&from.len()) && from.bytes().all(|b| b.is_ascii_digit());
    let is_name = (1..=NAME_MAX).contains(&from.len())
        && from.bytes().all(|b| b.is_ascii_alphanumeric() || b == b' ')
        && from.bytes().any(|b| b.is_ascii_alphabetic());
    match is_code || is_name {
        true => Ok(from.to_owned()),
        false => Err(bad(
            "from",
            "must be a number such as +15550100001, a short code, or a name of at most 11 letters and digits",
        )),
    }
}

/// Ids of applications, messages and calls.
fn is_id(text: &str) -> bool {
    !text.is_empty() && text.len() <= 64 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// A success that is not Vonage's: nobody can say whether it took the message.
fn unreadable(words: &str) -> Failure {
    let detail = "Vonage answered with success but without an id, so nobody can say whether it took the message.";
    Failure::new(FailureKind::Unknown, "malformed_answer", detail).with_provider_detail(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn senders_by_channel() {
        let check = |from, channel| sender(from, channel).ok();
        let of = |text: &str| Some(text.to_owned());
        assert_eq!(check("+15550100001", Channel::Sms), of("15550100001"));
        assert_eq!(check("+15550100001", Channel::Whatsapp), of("15550100001"));
        assert_eq!(check("+15550100001", Channel::Voice), of("15550100001"));
        assert_eq!(check("12345", Channel::Sms), of("12345"));
        assert_eq!(check("Acme Ticket", Channel::Sms), of("Acme Ticket"));
        for bad in ["", "15550100001", "Acme Tickets", "12", "Zürich", "A\nB", "   "] {
            assert_eq!(check(bad, Channel::Sms), None, "{bad}");
        }
        for bad in ["Acme", "12345", ""] {
            assert_eq!(check(bad, Channel::Whatsapp), None, "{bad}");
            assert_eq!(check(bad, Channel::Voice), None, "{bad}");
        }
    }
}
