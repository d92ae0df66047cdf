//! Telegram's Bot API: texts, media, places and inline buttons to people and groups that know the bot.
//!
//! [`parts`] says into which of Telegram's messages a content falls (a text beside an album and a place are messages of their own) and what cannot
//! be carried, [`call`] builds one request, [`answer`] reads its answer and decides what follows, [`errors`] classifies refusals, [`callback`]
//! checks and reads updates, [`account`] is the account's test.
//!
//! Texts go out as they are, without a parse mode: a stray `<` or `_` in a variable can then neither change nor break a message. Telegram reports no
//! delivery, cannot be asked about a message and has no idempotency key, so an attempt without an answer stays `unknown`. Besides the
//! 30 messages a second declared here, Telegram allows about one a second in each chat and twenty a minute in each group; it says so with 429 and
//! the seconds to wait.

mod account;
mod answer;
mod call;
mod callback;
mod callbacks;
mod errors;
mod parts;

use model::{
    Address, Answer, AttachmentRef, BadSetting, Call, Channel, ChatId, Content, Failure, FailureKind, HttpCall, Media,
    Method, Secret, Values, settings,
};

use crate::{Check, Connector, Cx, Inbound, Limits, Outgoing, Probe, Spec, Step, manage};

settings! {
    /// Settings of a Telegram bot.
    pub struct Settings {
        /// From @BotFather, as in `123456789:AAF…`.
        bot_token: Secret = "Bot token";
        /// 1 to 256 letters, digits, `_` and `-` of your choice, given to Telegram with `setWebhook`. Updates are refused without it.
        secret_token: Option<Secret> = "Webhook secret token";
    }
}

/// Telegram's API host.
const HOST: &str = "https://api.telegram.org";
/// Longest secret token, set by `setWebhook`.
const SECRET_MAX: usize = 256;

static SPEC: Spec = Spec {
    id: "telegram",
    name: "Telegram",
    docs_url: "https://core.telegram.org/bots/api",
    channels: &[Channel::Telegram],
    fields: Settings::FIELDS,
    from_example: "",
    // The token is the bot, and the bot is the sender.
    needs_from: false,
    // https://core.telegram.org/bots/faq#my-bot-is-hitting-limits-how-do-i-avoid-this
    limits: Limits { per_second: 30, concurrency: 16 },
    has_receipts: false,
    callback_help: "Choose a secret token, save it here, and give both to Telegram: curl https://api.telegram.org/bot<token>/setWebhook -d url=<callback URL> \
                    -d secret_token=<secret token> -d 'allowed_updates=[\"message\",\"callback_query\"]'",
    callback_security: "A shared secret in the header X-Telegram-Bot-Api-Secret-Token. Telegram does not sign updates.",
};

/// The Telegram connector.
pub struct Telegram;

impl Connector for Telegram {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn check(&self, settings: &Values) -> Result<(), BadSetting> {
        let settings = Settings::read(settings)?;
        if !is_token(settings.bot_token.reveal()) {
            return Err(bad(
                "bot_token",
                "is written as @BotFather gives it: digits, a colon, then letters, digits, _ and -",
            ));
        }
        match &settings.secret_token {
            Some(secret) if !is_secret(secret.reveal()) => {
                Err(bad("secret_token", "has 1 to 256 letters, digits, _ and -, and nothing else"))
            }
            _ => Ok(()),
        }
    }

    fn can_carry(&self, _settings: &Values, content: &Content) -> Result<(), Failure> {
        parts::of(content).map(drop)
    }

    fn can_upload(&self, media: &Media, file: &AttachmentRef) -> Result<(), Failure> {
        call::check_file(media.kind, file, file.size)
    }

    fn send(&self, cx: &Cx<'_>, message: &Outgoing<'_>) -> Result<Call, Failure> {
        call::part(cx, message, 0, chat(message.to)?)
    }

    fn answer(&self, cx: &Cx<'_>, message: &Outgoing<'_>, step: u8, answer: &Answer) -> Step {
        answer::step(cx, message, step, answer)
    }

    fn test(&self, cx: &Cx<'_>) -> Result<Vec<Probe>, Failure> {
        account::probes(cx)
    }

    fn tested(&self, cx: &Cx<'_>, probe: &Probe, answer: &Answer) -> Vec<Check> {
        account::checks(cx, probe, answer)
    }

    fn inbound(&self) -> Option<&dyn Inbound> {
        Some(self)
    }

    fn callbacks(&self) -> Option<&dyn manage::Callbacks> {
        Some(&callbacks::Webhook)
    }
}

/// A request for one of the bot's methods. The token is part of the URL; the exchange log redacts the account's secrets.
fn request(cx: &Cx<'_>, method: &str) -> Result<HttpCall, Failure> {
    let settings = Settings::read(cx.settings)?;
    Ok(HttpCall::new(Method::Post, format!("{}/bot{}/{method}", cx.base_or(HOST), settings.bot_token.reveal())))
}

fn chat(to: &Address) -> Result<ChatId, Failure> {
    match to {
        Address::Telegram(chat) => Ok(*chat),
        _ => Err(Failure::new(FailureKind::Recipient, "address_mismatch", "Telegram needs a chat id.")),
    }
}

/// The token becomes part of a URL, so its alphabet matters; its length does not, since test servers use short ones.
fn is_token(token: &str) -> bool {
    token.split_once(':').is_some_and(|(id, key)| {
        !id.is_empty() && id.bytes().all(|b| b.is_ascii_digit()) && !key.is_empty() && key.bytes().all(is_secret_byte)
    })
}

fn is_secret(secret: &str) -> bool {
    (1..=SECRET_MAX).contains(&secret.len()) && secret.bytes().all(is_secret_byte)
}

fn is_secret_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}

fn bad(field: &str, detail: &str) -> BadSetting {
    BadSetting { field: field.to_owned(), detail: detail.to_owned() }
}
