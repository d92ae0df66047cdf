//! MessageBird, now Bird: SMS and WhatsApp through its classic REST APIs, or through Bird's current one, as the account is set.
//!
//! The two products have other hosts, keys, ids and signatures and share nothing but the company. [`classic`] is SMS in the classic API,
//! [`conversations`] its WhatsApp, [`bird`] both in the current API; [`errors`] classifies refusals and states, [`callback`] checks and reads the
//! requests to us, [`account`] is the account's test. Our attempt id travels as `reference`, which SMS and Bird repeat in their reports; SMS can also
//! be looked up by it, so a lost answer is settled there. Nothing has an idempotency key.
//!
//! Much of Bird's API, and the shapes of the Conversations webhooks, were not seen in a source of the vendor: fields are read where they are
//! expected and their absence is never taken for success. The vendor steers new accounts to Bird.
//!
//! Refused here: MMS, uploaded media (only URLs are fetched) and WhatsApp buttons outside templates. What only one of the two products cannot carry is
//! refused when the message is sent, since accepting does not know the account's product.

mod account;
mod bird;
mod callback;
mod classic;
mod conversations;
mod errors;
mod templates;

use model::{
    Answer, BadSetting, Call, Channel, Content, Failure, FailureKind, FieldKind, HttpCall, Method, Phone, Secret,
    Setting, Values, settings,
};

use crate::{
    Asked, Check, Connector, Cx, Inbound, Limits, Outgoing, Polled, Probe, Spec, Step, manage,
    read::{bad, is_key},
    whatsapp::{self, Says, refused},
};

settings! {
    /// Settings of a MessageBird or Bird account.
    pub struct Settings {
        /// Under Developers (classic) or Settings, Access keys (Bird).
        access_key: Secret = "Access key";
        /// `classic` is rest.messagebird.com, `bird` is api.bird.com. Keys of one do not work at the other.
        api: Api = "API", default "classic";
        /// Signs the callbacks: the account's signing key (classic), or the one given to the webhook subscription (Bird). Without it every callback is refused.
        signing_key: Option<Secret> = "Signing key";
        /// The WhatsApp channel; WhatsApp cannot be sent without it.
        whatsapp_channel_id: Option<String> = "WhatsApp channel ID";
        /// Classic only: the WhatsApp namespace of your templates.
        whatsapp_namespace: Option<String> = "WhatsApp namespace";
        /// Bird only: the SMS channel.
        sms_channel_id: Option<String> = "SMS channel ID";
        /// Bird only: the workspace the channels are in.
        workspace_id: Option<String> = "Workspace ID";
        /// Bird only: the channel group of your WhatsApp Business Account, for templates that are made from here. Without it templates are listed and deleted only.
        whatsapp_channel_group_id: Option<String> = "WhatsApp channel group ID";
        /// Classic only: whether SMS delivery reports are signed. Where they are not, reports are believed for the secret in their address.
        signed_reports: bool = "Signed delivery reports", default "true";
    }
}

/// Which product the account is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Api {
    /// MessageBird's classic REST APIs.
    Classic,
    /// Bird's Channels API.
    Bird,
}

impl Setting for Api {
    const KIND: FieldKind = FieldKind::Choice { choices: &["classic", "bird"] };

    fn read(text: Option<&str>) -> Result<Self, String> {
        match text {
            Some("classic") => Ok(Self::Classic),
            Some("bird") => Ok(Self::Bird),
            _ => Err("must be classic or bird".to_owned()),
        }
    }
}

/// The provider's name, for people.
const NAME: &str = "MessageBird";
/// Longest alphanumeric sender. <https://developers.messagebird.com/api/sms-messaging/#the-message-object>
const NAME_MAX: usize = 11;
/// Short codes have 3 to 8 digits, depending on the country.
const SHORT_CODE: std::ops::RangeInclusive<usize> = 3..=8;

static SPEC: Spec = Spec {
    id: "messagebird",
    name: "MessageBird (Bird)",
    docs_url: "https://developers.messagebird.com/api/",
    channels: &[Channel::Sms, Channel::Whatsapp],
    fields: Settings::FIELDS,
    from_example: "+31612345678",
    // Only classic SMS names a sender; elsewhere the channel is one.
    needs_from: false,
    // Bird documents 500 requests a second for sending; the classic API's rate is not published. Both say when theirs is exceeded.
    limits: Limits { per_second: 0, concurrency: 32 },
    has_receipts: true,
    callback_help: "Classic: SMS reports need no set-up, because every SMS names the callback URL; to receive SMS, let the number's flow forward to it, and \
        for WhatsApp make a Conversations webhook for message.created and message.updated. Bird: make webhook subscriptions of the service `channels` for the \
        events sms.outbound, sms.inbound, whatsapp.outbound, whatsapp.inbound and whatsapp.interaction, with the signing key of this account.",
    callback_security: "Signed: a token (MessageBird-Signature-JWT) over URL and body at the classic APIs, HMAC-SHA256 over time, URL and body at Bird. \
        Where a classic account's SMS reports come unsigned, switch `signed_reports` off: the callback URL then ends in a secret and only reports are believed for it.",
};

/// The MessageBird connector.
pub struct MessageBird;

/// Which of the APIs carries a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Route {
    Classic,
    Conversations,
    Bird,
}

impl Route {
    fn of(channel: Channel, settings: &Settings) -> Self {
        match (settings.api, channel) {
            (Api::Bird, _) => Self::Bird,
            (Api::Classic, Channel::Whatsapp) => Self::Conversations,
            (Api::Classic, _) => Self::Classic,
        }
    }
}

impl Connector for MessageBird {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn check(&self, settings: &Values) -> Result<(), BadSetting> {
        let settings = Settings::read(settings)?;
        if !is_key(settings.access_key.reveal()) {
            return Err(bad("access_key", "must be the key as it is shown, without spaces"));
        }
        let ids = [
            ("whatsapp_channel_id", &settings.whatsapp_channel_id),
            ("sms_channel_id", &settings.sms_channel_id),
            ("workspace_id", &settings.workspace_id),
            ("whatsapp_channel_group_id", &settings.whatsapp_channel_group_id),
        ];
        for (field, id) in ids {
            if id.as_deref().is_some_and(|id| !is_id(id)) {
                return Err(bad(field, "must be an id of letters, digits and dashes, as the console shows it"));
            }
        }
        if settings.api == Api::Classic {
            return Ok(());
        }
        if settings.workspace_id.is_none() {
            return Err(bad("workspace_id", "is needed for Bird; its console shows it in the workspace's settings"));
        }
        match settings.sms_channel_id.is_none() && settings.whatsapp_channel_id.is_none() {
            true => {
                Err(bad("sms_channel_id", "or `whatsapp_channel_id` is needed for Bird, which sends from channels"))
            }
            false => Ok(()),
        }
    }

    fn check_from(&self, from: &str, channel: Channel) -> Result<(), BadSetting> {
        sender(from, channel).map(drop)
    }

    fn can_carry(&self, _settings: &Values, content: &Content) -> Result<(), Failure> {
        match content {
            Content::Sms(_) => text(content).map(drop),
            _ => says(content).map(drop),
        }
    }

    fn send(&self, cx: &Cx<'_>, message: &Outgoing<'_>) -> Result<Call, Failure> {
        let settings = Settings::read(cx.settings)?;
        let call = match Route::of(message.channel, &settings) {
            Route::Classic => classic::request(cx, &settings, message),
            Route::Conversations => conversations::request(cx, &settings, message),
            Route::Bird => bird::request(cx, &settings, message),
        }?;
        Ok(Call::Http(call))
    }

    fn answer(&self, cx: &Cx<'_>, message: &Outgoing<'_>, _step: u8, answer: &Answer) -> Step {
        let route = Settings::read(cx.settings).map(|settings| Route::of(message.channel, &settings));
        Step::Done(match route.unwrap_or(Route::Classic) {
            Route::Classic => classic::outcome(answer, cx.now),
            Route::Conversations => conversations::outcome(answer, cx.now),
            Route::Bird => bird::outcome(answer, cx.now),
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

    /// By the provider's id; classic SMS without one by its recipient and our reference.
    fn poll(&self, cx: &Cx<'_>, asked: &Asked<'_>) -> Option<Call> {
        let settings = Settings::read(cx.settings).ok()?;
        let id = asked.provider_message_id;
        if id.is_some_and(|id| !is_id(id)) {
            return None;
        }
        let call = match (Route::of(asked.channel, &settings), id) {
            (Route::Classic, Some(id)) => call(cx, &settings, Method::Get, classic::HOST, &format!("/messages/{id}")),
            (Route::Classic, None) => classic::search(cx, &settings, asked)?,
            (Route::Conversations, Some(id)) => {
                call(cx, &settings, Method::Get, conversations::HOST, &format!("/v1/messages/{id}"))
            }
            (Route::Bird, Some(id)) => {
                let path = format!("{}/{id}", bird::path(&settings, asked.channel).ok()?);
                call(cx, &settings, Method::Get, bird::HOST, &path)
            }
            (Route::Conversations | Route::Bird, None) => return None,
        };
        Some(Call::Http(call))
    }

    fn polled(&self, cx: &Cx<'_>, asked: &Asked<'_>, answer: &Answer) -> Polled {
        let known = match Settings::read(cx.settings).map(|settings| Route::of(asked.channel, &settings)) {
            Ok(Route::Classic) => classic::polled(asked, answer),
            Ok(Route::Conversations) => conversations::polled(answer),
            Ok(Route::Bird) => bird::polled(answer),
            Err(_) => None,
        };
        known.unwrap_or(Polled::Undecided)
    }

    fn inbound(&self) -> Option<&dyn Inbound> {
        Some(self)
    }

    fn templates(&self) -> Option<&dyn manage::Templates> {
        Some(&templates::Touchpoints)
    }
}

/// A request with the account's key.
fn call(cx: &Cx<'_>, settings: &Settings, method: Method, host: &str, path: &str) -> HttpCall {
    HttpCall::new(method, format!("{}{path}", cx.base_or(host)))
        .header("authorization", format!("AccessKey {}", settings.access_key.reveal()))
}

/// The text of an SMS. How long it may be is not published; the parts are counted and billed by the provider.
fn text(content: &Content) -> Result<&str, Failure> {
    let Content::Sms(sms) = content else {
        return Err(refused("/channel", "this account carries SMS and WhatsApp"));
    };
    if !sms.media.is_empty() {
        return Err(refused("/content/media", "this account carries no MMS; put a link into the text"));
    }
    match sms.text.is_empty() {
        true => Err(refused("/content/text", "is empty")),
        false => Ok(&sms.text),
    }
}

/// What a WhatsApp message says, short of what neither product carries.
fn says(content: &Content) -> Result<Says<'_>, Failure> {
    if !matches!(content, Content::Whatsapp(_)) {
        return Err(refused("/channel", "this account carries SMS and WhatsApp"));
    }
    let says = whatsapp::says(content)?;
    match says {
        Says::Buttons(..) | Says::Link(..) => Err(refused(
            "/content/buttons",
            "MessageBird carries WhatsApp buttons only in templates; make one and send it as `whatsapp_template`",
        )),
        Says::Media(media, _) => whatsapp::link(media, NAME).map(|_| says),
        Says::Text(_) | Says::Place(_) | Says::Template(_) => Ok(says),
    }
}

/// The account's sender for classic SMS: numbers without a plus.
fn originator(cx: &Cx<'_>) -> Result<String, Failure> {
    let account = |code, detail: String| Failure::new(FailureKind::Account, code, detail);
    let from = cx
        .from
        .filter(|from| !from.is_empty())
        .ok_or_else(|| account("no_sender", "SMS need a sender. Set the account's `from`.".to_owned()))?;
    sender(from, Channel::Sms)
        .map_err(|bad| account("bad_sender", format!("The sender {from} cannot be used: it {}.", bad.detail)))
}

fn sender(from: &str, channel: Channel) -> Result<String, BadSetting> {
    if let Ok(phone) = from.parse::<Phone>() {
        return Ok(phone.digits().to_owned());
    }
    let is_code = SHORT_CODE.contains(&from.len()) && from.bytes().all(|b| b.is_ascii_digit());
    let is_name = (1..=NAME_MAX).contains(&from.len())
        && from.bytes().all(|b| b.is_ascii_alphanumeric() || b == b' ')
        && from.bytes().any(|b| b.is_ascii_alphabetic());
    match channel {
        Channel::Sms if is_code || is_name => Ok(from.to_owned()),
        Channel::Sms => Err(bad(
            "from",
            "must be a number such as +31612345678, a short code, or a name of at most 11 letters and digits",
        )),
        _ => Err(bad("from", "must be a number with a plus, as in +31612345678")),
    }
}

/// The channel WhatsApp leaves from. Its lack is the message's failure: the account's SMS have nothing to do with it.
fn whatsapp_channel(settings: &Settings) -> Result<&str, Failure> {
    settings.whatsapp_channel_id.as_deref().ok_or_else(|| {
        let detail = "The account names no WhatsApp channel. Set `whatsapp_channel_id`.";
        Failure::new(FailureKind::Content, "no_channel", detail)
    })
}

/// Ids of messages, channels and workspaces.
fn is_id(text: &str) -> bool {
    !text.is_empty() && text.len() <= 64 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// A success that is not the provider's: nobody can say whether it took the message.
fn unreadable(words: &str) -> Failure {
    let detail = "MessageBird answered with success but without an id, so nobody can say whether it took the message.";
    Failure::new(FailureKind::Unknown, "malformed_answer", detail).with_provider_detail(words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn senders_by_channel() {
        let check = |from, channel| sender(from, channel).ok();
        let of = |text: &str| Some(text.to_owned());
        assert_eq!(check("+31612345678", Channel::Sms), of("31612345678"));
        assert_eq!(check("12345", Channel::Sms), of("12345"));
        assert_eq!(check("Acme Ticket", Channel::Sms), of("Acme Ticket"));
        for bad in ["", "31612345678", "Acme Tickets", "12", "Zürich", "A\nB", "   "] {
            assert_eq!(check(bad, Channel::Sms), None, "{bad}");
        }
        assert_eq!(check("+31612345678", Channel::Whatsapp), of("31612345678"));
        assert_eq!(check("Acme", Channel::Whatsapp), None);
    }

    #[test]
    fn what_neither_product_carries() {
        let check = |content: serde_json::Value, wanted: Option<&str>| {
            let content: Content = serde_json::from_value(content).unwrap();
            let refused = MessageBird.can_carry(&Values::default(), &content).err();
            let field = refused.map(|failure| failure.detail.split(':').next().unwrap().to_owned());
            assert_eq!(field.as_deref(), wanted, "{content:?}");
        };
        let file = json!({ "type": "image", "url": "https://acme.example/1" });
        check(json!({ "channel": "sms", "text": "Hi" }), None);
        check(json!({ "channel": "sms" }), Some("/content/text"));
        check(json!({ "channel": "sms", "text": "Hi", "media": [file] }), Some("/content/media"));
        check(json!({ "channel": "whatsapp", "text": "Hi" }), None);
        check(json!({ "channel": "whatsapp", "media": [file] }), None);
        check(
            json!({ "channel": "whatsapp", "media": [{ "type": "image", "attachment_id": "atc_01KAK4HKM000000000000000A1" }] }),
            Some("/content/media/0"),
        );
        check(json!({ "channel": "whatsapp", "text": "Hi", "buttons": [{ "text": "Yes" }] }), Some("/content/buttons"));
        check(
            json!({ "channel": "whatsapp", "text": "Hi", "buttons": [{ "text": "Open", "url": "https://acme.example" }] }),
            Some("/content/buttons"),
        );
        check(json!({ "channel": "voice", "say": "Hi" }), Some("/channel"));
    }
}
