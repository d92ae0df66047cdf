//! Mailjet by Sinch: Send API v3.1, with its event API, which signs nothing.
//! <https://dev.mailjet.com/email/guides/send-api-v31/>
//!
//! One request carries fifty messages, each whole and with its own outcome: a good answer may hold refusals, and a bad one successes, so every
//! entry is read. Mailjet has no idempotency key but can be asked by our echo (`CustomID`), which settles lost answers that did arrive.

mod account;
mod callbacks;
mod domains;
mod errors;
mod events;
mod figures;
mod lookup;
mod mails;
mod request;

use aws_lc_rs::{constant_time, hmac};
use model::{
    Answer, BadSetting, Call, Channel, Content, EmailAddress, Failure, HttpCall, MessageId, Method, Secret, Values,
    settings,
};
use serde_json::Value;

use crate::{
    Acceptance, Asked, Batch, Check, Connector, Cx, Inbound, Limits, Observed, Outcome, Outgoing, Polled, Probe,
    Request, Spec, Step, Verdict, email, letter, manage,
};

settings! {
    /// Settings of a Mailjet account.
    pub struct Settings {
        /// Under Account settings, REST API, API key management.
        api_key: String = "API key";
        /// Shown once when the key is made. The address for events is made from it, too: paste that again after changing the key.
        secret_key: Secret = "Secret key";
        /// A domain of yours whose MX record is parse.mailjet.com, such as reply.acme.example: each mail then asks for answers to an address of its own there, and the Parse API makes
        /// inbound messages of them.
        reply_domain: Option<String> = "Reply domain";
    }
}

const NAME: &str = "Mailjet";
const HOST: &str = "https://api.mailjet.com";
/// Messages of one request.
const BATCH_MAX: usize = 50;

static SPEC: Spec = Spec {
    id: "mailjet",
    name: "Mailjet",
    docs_url: "https://dev.mailjet.com/email/guides/send-api-v31/",
    channels: &[Channel::Email],
    fields: Settings::FIELDS,
    from_example: "Acme Tickets <tickets@acme.example>",
    needs_from: true,
    // Mailjet publishes no numbers and says when it is too fast; it asks for fifty messages a request rather than many requests.
    limits: Limits { per_second: 0, concurrency: 8 },
    has_receipts: true,
    callback_help: "In Mailjet, under Account settings, REST API, Event notifications, enter this account's callback URL, which ends in a secret of its own, for \
                    every event type, and choose to group events. For answers, make a parse route with the reply domain to the same URL.",
    callback_security: "Not signed: Mailjet signs nothing. Events and mails are believed only when they come to the account's callback URL with its secret last part, which \
                        is made from the secret key; keep it to yourself.",
};

/// The connector for Mailjet.
pub struct Mailjet;

impl Connector for Mailjet {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn check(&self, settings: &Values) -> Result<(), BadSetting> {
        let settings = Settings::read(settings)?;
        // A colon would end the name in Basic authentication.
        if !email::is_key(&settings.api_key) || settings.api_key.contains(':') {
            return Err(email::bad("api_key", "must be the key itself, without spaces"));
        }
        if !email::is_key(settings.secret_key.reveal()) {
            return Err(email::bad("secret_key", "must be the secret key itself, without spaces"));
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
        post(cx, std::slice::from_ref(message))
    }

    fn answer(&self, cx: &Cx<'_>, message: &Outgoing<'_>, _step: u8, answer: &Answer) -> Step {
        let outcome = outcomes(cx, std::slice::from_ref(message), answer).pop();
        Step::Done(outcome.unwrap_or_else(|| Outcome::Refused(unspoken(""))))
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
        letter::reply_address(cx, &Settings::read(cx.settings).ok()?.secret_key, message)
    }

    fn inbound(&self) -> Option<&dyn Inbound> {
        Some(self)
    }

    fn domains(&self) -> Option<&dyn manage::Domains> {
        Some(&domains::Domains)
    }

    fn callbacks(&self) -> Option<&dyn manage::Callbacks> {
        Some(&callbacks::EventUrls)
    }

    fn figures(&self) -> Option<&dyn manage::Figures> {
        Some(&figures::Counters)
    }
}

impl Batch for Mailjet {
    fn max(&self) -> usize {
        BATCH_MAX
    }

    /// Any messages: each travels whole. Files go alone, for the size of the request.
    fn fits(&self, _cx: &Cx<'_>, first: &Outgoing<'_>, other: &Outgoing<'_>) -> bool {
        email::is_light(first) && email::is_light(other)
    }

    fn send(&self, cx: &Cx<'_>, messages: &[Outgoing<'_>]) -> Result<Call, Failure> {
        post(cx, messages)
    }

    fn answer(&self, cx: &Cx<'_>, messages: &[Outgoing<'_>], answer: &Answer) -> Vec<Outcome> {
        outcomes(cx, messages, answer)
    }
}

impl Inbound for Mailjet {
    fn path(&self, cx: &Cx<'_>) -> String {
        Settings::read(cx.settings).map_or(String::new(), |settings| format!("/{}", token(cx, &settings)))
    }

    fn verify(&self, cx: &Cx<'_>, request: &Request<'_>, _fetched: Option<&Answer>) -> Verdict {
        let Ok(settings) = Settings::read(cx.settings) else {
            return Verdict::Invalid("the account's settings cannot be read".to_owned());
        };
        let given = request.path.strip_prefix('/').unwrap_or_default();
        match constant_time::verify_slices_are_equal(given.as_bytes(), token(cx, &settings).as_bytes()) {
            Ok(()) => Verdict::Valid,
            Err(_) => Verdict::Invalid(
                "the address does not end in the account's secret: paste the account's callback URL into Mailjet again"
                    .to_owned(),
            ),
        }
    }

    /// Events and mails come to one address, and mails are large.
    fn mail_path(&self, cx: &Cx<'_>) -> Option<String> {
        Some(self.path(cx)).filter(|path| !path.is_empty())
    }

    /// Events come in lists, or one by one where the tenant chose not to group them.
    fn read(&self, cx: &Cx<'_>, request: &Request<'_>) -> Result<Vec<Observed>, Failure> {
        match serde_json::from_slice(request.body) {
            Ok(Value::Array(events)) => Ok(events.iter().filter_map(events::read).map(Observed::Status).collect()),
            Ok(body @ Value::Object(_)) if mails::is_mail(&body) => {
                Ok(mails::read(cx, &Settings::read(cx.settings)?, &body))
            }
            Ok(event @ Value::Object(_)) => Ok(events::read(&event).map(Observed::Status).into_iter().collect()),
            _ => Err(email::bad_callback(NAME)),
        }
    }
}

/// What makes the callback URL unguessable: made from the secret key, so that there is nothing more to keep. The account's id keeps two accounts of
/// one key apart.
fn token(cx: &Cx<'_>, settings: &Settings) -> String {
    let account = cx.callback_url.rsplit('/').next().unwrap_or_default();
    let key = hmac::Key::new(hmac::HMAC_SHA256, settings.secret_key.reveal().as_bytes());
    let tag = hmac::sign(&key, format!("tidings mailjet events {account}").as_bytes());
    tag.as_ref().iter().take(TOKEN_BYTES).map(|byte| format!("{byte:02x}")).collect()
}

/// Bytes of the secret in the address: 128 bits cannot be guessed, and the URL stays short.
const TOKEN_BYTES: usize = 16;

fn call(cx: &Cx<'_>, settings: &Settings, method: Method, path: &str) -> HttpCall {
    HttpCall::new(method, format!("{}{path}", cx.base_or(HOST))).basic_auth(&settings.api_key, &settings.secret_key)
}

fn post(cx: &Cx<'_>, messages: &[Outgoing<'_>]) -> Result<Call, Failure> {
    let settings = Settings::read(cx.settings)?;
    let body = request::body(cx, messages)?;
    Ok(Call::Http(call(cx, &settings, Method::Post, "/v3.1/send").body("application/json", body)))
}

/// Reads an answer entry by entry, whatever its status says: one outcome per message.
fn outcomes(cx: &Cx<'_>, messages: &[Outgoing<'_>], answer: &Answer) -> Vec<Outcome> {
    let http = match email::http(answer) {
        Ok(http) => http,
        Err(failure) => return email::whole(messages.len(), failure),
    };
    let body = email::json(http);
    match body.get("Messages").and_then(Value::as_array) {
        Some(entries) => {
            let entry = |(index, message)| entry(entries, messages.len(), index, message);
            let outcome = |found: Option<&Value>| match found {
                Some(entry) => read(cx, entry),
                None => Outcome::Refused(unspoken(&http.text())),
            };
            messages.iter().enumerate().map(entry).map(outcome).collect()
        }
        None if http.status == 200 => email::whole(messages.len(), email::unreadable(NAME, http)),
        None => email::whole(messages.len(), errors::whole(cx, http)),
    }
}

/// The entry of a message: at its place when the answer is complete and the echo does not object, else by the echo.
fn entry<'a>(entries: &'a [Value], count: usize, index: usize, message: &Outgoing<'_>) -> Option<&'a Value> {
    let echo = message.attempt_id.to_string();
    let said = |entry: &'a Value| email::text(entry, "/CustomID");
    let in_place = entries.get(index).filter(|entry| entries.len() == count && said(entry).is_none_or(|id| id == echo));
    in_place.or_else(|| entries.iter().find(|entry| said(entry) == Some(&echo)))
}

fn read(cx: &Cx<'_>, entry: &Value) -> Outcome {
    match (email::text(entry, "/Status"), entry.pointer("/To/0/MessageID").and_then(number)) {
        (Some("success"), Some(id)) => Outcome::Accepted(Acceptance::with_id(id)),
        (Some("error"), _) => Outcome::Refused(errors::single(cx, entry)),
        _ => Outcome::Refused(unspoken(&entry.to_string())),
    }
}

fn unspoken(words: &str) -> Failure {
    let detail = "Mailjet's answer does not say what became of this mail: nobody can say whether it took it.";
    Failure::new(model::FailureKind::Unknown, "malformed_answer", detail).with_provider_detail(words)
}

/// A message id: a whole number beyond what floating point holds, sometimes as a text. 0 stands for none.
fn number(value: &Value) -> Option<String> {
    let number = match value {
        Value::Number(number) => number.as_u64()?,
        Value::String(text) => text.parse().ok()?,
        _ => return None,
    };
    (number > 0).then(|| number.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(secret: &str, account: &str, path: &str) -> bool {
        let mut settings = Values::default();
        settings.set("api_key", "k");
        settings.set("secret_key", secret);
        let callback_url = format!("https://tidings.example/hooks/{account}");
        let now = model::Timestamp::EPOCH;
        let cx = Cx { settings: &settings, from: None, base_url: None, callback_url: &callback_url, now, nonce: 0 };
        assert_eq!(Mailjet.path(&cx).len(), 1 + 2 * TOKEN_BYTES);
        let own = if path == "own" { Mailjet.path(&cx) } else { path.to_owned() };
        let request = Request { method: "POST", path: &own, query: "", headers: &[], body: b"[]" };
        matches!(Mailjet.verify(&cx, &request, None), Verdict::Valid)
    }

    #[test]
    fn only_the_accounts_own_address_is_believed() {
        assert!(verdict("secret", "acc_1", "own"));
        let path = "/fd96a6e0f2f4d33c8b4a2f9f1f8a3f6c";
        for path in ["", "/", path, "//"] {
            assert!(!verdict("secret", "acc_1", path), "{path}");
        }
        let cx_path = |secret: &str, account: &str| {
            let mut settings = Values::default();
            settings.set("api_key", "k");
            settings.set("secret_key", secret);
            let now = model::Timestamp::EPOCH;
            Mailjet.path(&Cx { settings: &settings, from: None, base_url: None, callback_url: account, now, nonce: 0 })
        };
        let own = cx_path("secret", "https://a.example/hooks/acc_1");
        assert_eq!(own, cx_path("secret", "https://b.example/hooks/acc_1"));
        assert_ne!(own, cx_path("secret", "https://a.example/hooks/acc_2"));
        assert_ne!(own, cx_path("other", "https://a.example/hooks/acc_1"));
        assert!(verdict("secret", "acc_1", &own));
        assert!(!verdict("other", "acc_1", &own));
    }

    #[test]
    fn ids_are_kept_whole() {
        use serde_json::json;
        assert_eq!(number(&serde_json::from_str("70650219165027410").unwrap()).as_deref(), Some("70650219165027410"));
        assert_eq!(
            number(&serde_json::from_str("18446744073709551615").unwrap()).as_deref(),
            Some("18446744073709551615")
        );
        assert_eq!(number(&json!("1152921511742440156")).as_deref(), Some("1152921511742440156"));
        for bad in [json!(0), json!(-1), json!(1.5), json!("x"), json!(null)] {
            assert_eq!(number(&bad), None);
        }
    }
}
