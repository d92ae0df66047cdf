//! Africa's Talking: SMS in Kenya, Uganda, Tanzania, Nigeria and other African countries, with callbacks that nobody signs.
//! <https://developers.africastalking.com/docs/sms/sending/bulk>
//!
//! [`errors`] is the table of its codes and words, [`reports`] reads its forms to us. An answer of success holds an outcome for each recipient, so every
//! refusal of a number hides in one. Africa's Talking has no idempotency key, no field that is repeated to us, and cannot be asked about a message.
//!
//! Refused: media. Its rates are not documented, so none is declared.

mod errors;
mod reports;

use model::{
    Answer, BadSetting, Call, Channel, Content, Failure, FailureKind, HttpAnswer, HttpCall, Method, Money, Secret,
    Values, settings,
};
use serde_json::Value;
use url::form_urlencoded;

use crate::{
    Acceptance, Check, Connector, Cx, Inbound, Limits, Observed, Outcome, Outgoing, Probe, Request, Spec, Step,
    Verdict, decimal, hook, phone,
    read::{self, bad, is_key, text},
};

settings! {
    /// Settings of an application at Africa's Talking.
    pub struct Settings {
        /// Of the application; `sandbox` for the sandbox, which has an API key of its own.
        username: String = "Username";
        /// Under Settings, API Key. The address for callbacks is made from it, too: paste that again after changing the key.
        api_key: Secret = "API key";
    }
}

const NAME: &str = "Africa's Talking";
const HOST: &str = "https://api.africastalking.com";
const SANDBOX: &str = "https://api.sandbox.africastalking.com";
/// Longest sender: an international number with its plus is longer than any name or short code.
const FROM_MAX: usize = 16;
const CREDENTIALS: &str = "Credentials";
const BALANCE: &str = "Balance";

static SPEC: Spec = Spec {
    id: "africastalking",
    name: "Africa's Talking",
    docs_url: "https://developers.africastalking.com/docs/sms/sending/bulk",
    channels: &[Channel::Sms],
    fields: Settings::FIELDS,
    from_example: "ACME",
    // Without one, Africa's Talking sends from a shared sender of its own.
    needs_from: false,
    limits: Limits { per_second: 0, concurrency: 8 },
    has_receipts: true,
    callback_help: "In the application's dashboard under SMS, SMS Callback URLs, paste this account's callback URL, which ends in a secret of its own, as delivery \
                    reports, incoming messages and bulk SMS opt-out.",
    callback_security: "Not signed: Africa's Talking signs nothing. Requests are believed only when they come to the account's callback URL with its secret last part, \
                        which is made from the API key; keep it to yourself.",
};

/// The connector for Africa's Talking.
pub struct AfricasTalking;

impl Connector for AfricasTalking {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn check(&self, settings: &Values) -> Result<(), BadSetting> {
        let settings = Settings::read(settings)?;
        if !is_key(&settings.username) {
            return Err(bad("username", "is the application's username, without spaces"));
        }
        match is_key(settings.api_key.reveal()) {
            true => Ok(()),
            false => Err(bad("api_key", "must be the key itself, without spaces")),
        }
    }

    /// Names and short codes differ by country and are registered there; only what cannot be a sender anywhere is refused.
    fn check_from(&self, from: &str, _channel: Channel) -> Result<(), BadSetting> {
        let is_good = |b: u8| b.is_ascii_graphic() && b != b',' || b == b' ';
        match !from.trim().is_empty() && from.len() <= FROM_MAX && from.bytes().all(is_good) {
            true => Ok(()),
            false => Err(bad("from", "is a registered name such as ACME, or a short code")),
        }
    }

    fn can_carry(&self, _settings: &Values, content: &Content) -> Result<(), Failure> {
        words(content).map(drop)
    }

    fn send(&self, cx: &Cx<'_>, message: &Outgoing<'_>) -> Result<Call, Failure> {
        let settings = Settings::read(cx.settings)?;
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("username", &settings.username)
            .append_pair("to", phone(message.to)?.as_str())
            .append_pair("message", words(message.content)?);
        if let Some(from) = cx.from.filter(|from| !from.is_empty()) {
            form.append_pair("from", from);
        }
        // The account pays, and a full queue there is not our loss.
        form.append_pair("bulkSMSMode", "1").append_pair("enqueue", "1");
        let call = request(cx, &settings, Method::Post, "/version1/messaging");
        Ok(Call::Http(call.body("application/x-www-form-urlencoded", form.finish())))
    }

    fn answer(&self, cx: &Cx<'_>, _message: &Outgoing<'_>, _step: u8, answer: &Answer) -> Step {
        Step::Done(match read::http(answer) {
            Ok(http) => outcome(cx, http),
            Err(failure) => Outcome::Refused(failure),
        })
    }

    fn test(&self, cx: &Cx<'_>) -> Result<Vec<Probe>, Failure> {
        let settings = Settings::read(cx.settings)?;
        let query =
            form_urlencoded::Serializer::new(String::new()).append_pair("username", &settings.username).finish();
        let call = request(cx, &settings, Method::Get, &format!("/version1/user?{query}"));
        Ok(vec![Probe { name: CREDENTIALS, call: Call::Http(call) }])
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

impl Inbound for AfricasTalking {
    fn path(&self, cx: &Cx<'_>) -> String {
        Settings::read(cx.settings).map_or(String::new(), |settings| format!("/{}", token(cx, &settings)))
    }

    fn verify(&self, cx: &Cx<'_>, request: &Request<'_>, _fetched: Option<&Answer>) -> Verdict {
        match Settings::read(cx.settings) {
            Ok(settings) if hook::has_token(request, &token(cx, &settings)) => Verdict::Valid,
            Ok(_) => Verdict::Invalid(
                "the address does not end in the account's secret: paste the account's callback URL into the dashboard again"
                    .to_owned(),
            ),
            Err(bad) => Verdict::Invalid(format!("the account's settings cannot be read: {bad}")),
        }
    }

    fn read(&self, _cx: &Cx<'_>, request: &Request<'_>) -> Result<Vec<Observed>, Failure> {
        reports::read(request.body)
    }
}

fn token(cx: &Cx<'_>, settings: &Settings) -> String {
    hook::token(cx, &settings.api_key, "africastalking events")
}

fn request(cx: &Cx<'_>, settings: &Settings, method: Method, path: &str) -> HttpCall {
    let host = if settings.username == "sandbox" { SANDBOX } else { HOST };
    HttpCall::new(method, format!("{}{path}", cx.base_or(host)))
        .header("apikey", settings.api_key.reveal())
        .header("accept", "application/json")
}

/// The text of an SMS, or which of its fields Africa's Talking cannot carry.
fn words(content: &Content) -> Result<&str, Failure> {
    let refused =
        |field: &str, problem: &str| Failure::new(FailureKind::Content, "cannot_carry", format!("{field}: {problem}."));
    match content {
        Content::Sms(sms) if !sms.media.is_empty() => {
            Err(refused("/content/media", "Africa's Talking carries texts only"))
        }
        Content::Sms(sms) if sms.text.is_empty() => Err(refused("/content/text", "is empty")),
        Content::Sms(sms) => Ok(&sms.text),
        Content::Email(_) | Content::Whatsapp(_) | Content::Telegram(_) | Content::Voice(_) | Content::Webhook(_) => {
            Err(refused("/channel", "this account carries SMS only"))
        }
    }
}

/// Reads the outcome of the only recipient. Without any, the reason stands in the message.
fn outcome(cx: &Cx<'_>, http: &HttpAnswer) -> Outcome {
    let body = read::json(http);
    let data = &body["SMSMessageData"];
    let (200..=299, true) = (http.status, data.is_object()) else {
        return Outcome::Refused(errors::refused(cx, http));
    };
    let Some(recipient) = data["Recipients"].as_array().and_then(|recipients| recipients.first()) else {
        return Outcome::Refused(errors::unsent(text(data, "/Message").unwrap_or_default()));
    };
    let id = text(recipient, "/messageId").filter(|id| *id != "None");
    match (errors::code(&recipient["statusCode"]), id) {
        (Some(code), Some(id)) if errors::ACCEPTED.contains(&code) => {
            Outcome::Accepted(Acceptance { price: text(recipient, "/cost").and_then(price), ..Acceptance::with_id(id) })
        }
        (code, _) => Outcome::Refused(errors::recipient(code, text(recipient, "/status").unwrap_or_default())),
    }
}

/// A price with its currency, as in `KES 0.8000`.
fn price(cost: &str) -> Option<Money> {
    let (currency, amount) = cost.split_once(' ')?;
    let is_currency = currency.len() == 3 && currency.bytes().all(|b| b.is_ascii_uppercase());
    let amount_micros = decimal::micros(amount.trim()).filter(|_| is_currency)?;
    Some(Money { amount_micros, currency: currency.to_owned() })
}

fn checks(cx: &Cx<'_>, http: &HttpAnswer) -> Vec<Check> {
    let body: Value = read::json(http);
    let Some(balance) = text(&body, "/UserData/balance") else {
        let failure = errors::refused(cx, http);
        let detail = match failure.kind {
            FailureKind::Unknown if http.status == 200 => {
                "The answer is not Africa's Talking's. Check the connector's base URL.".to_owned()
            }
            FailureKind::Unknown => format!("Africa's Talking answered HTTP {}. Try again later.", http.status),
            _ => format!("{} (HTTP {})", failure.detail, http.status),
        };
        return vec![Check::failed(CREDENTIALS, detail)];
    };
    let is_empty = balance.contains('-') || price(balance).is_some_and(|money| money.amount_micros == 0);
    let balance = match is_empty {
        true => Check::failed(BALANCE, format!("{balance}. Top up the application in the dashboard.")),
        false => Check::ok(BALANCE, balance),
    };
    vec![Check::ok(CREDENTIALS, "The username and the API key work."), balance]
}
