//! WhatsApp Business Cloud API, at Meta itself: messages of every kind, with statuses, answers and pressed buttons coming back signed.
//! <https://developers.facebook.com/docs/whatsapp/cloud-api>
//!
//! [`request`] says what a message becomes in Meta's JSON, [`answer`] reads what Meta says to it, [`callback`] checks and reads Meta's requests to us, and
//! [`account`] is the account's test. What WhatsApp itself cannot carry is refused in [`crate::whatsapp`]. An uploaded file takes two requests: it is
//! brought to Meta first, then the message names it.
//!
//! Meta has no idempotency key and cannot be asked about a message, so an attempt without an answer stays `unknown` until its status comes, which
//! carries our attempt id. Refused here: lists, flows and catalogues outside templates, for which our content has no place.

mod account;
mod answer;
mod callback;
mod callbacks;
mod numbers;
mod request;
mod templates;

use model::{Answer, AttachmentRef, BadSetting, Call, Channel, Content, Failure, Media, Secret, Values, settings};

use crate::{
    Check, Connector, Cx, Inbound, Limits, Outgoing, Probe, Spec, Step, manage, read::bad, read::is_key, whatsapp,
};

settings! {
    /// Settings of a business phone number at Meta.
    pub struct Settings {
        /// Digits; in Meta's app dashboard under WhatsApp, API Setup. It is not the phone number itself.
        phone_number_id: String = "Phone number ID";
        /// Of a system user with the permissions whatsapp_business_messaging and whatsapp_business_management, without an end.
        access_token: Secret = "Access token";
        /// In Meta's app dashboard under App settings, Basic. It signs Meta's requests to us; they are refused without it.
        app_secret: Option<Secret> = "App secret";
        /// A word of your choice, given to Meta together with the callback URL. Meta shows it once, when the URL is saved there.
        verify_token: Option<Secret> = "Verify token";
        /// Digits; in Meta's app dashboard beside the phone number ID. The account's test then sees whether Meta reports back.
        business_account_id: Option<String> = "WhatsApp Business account ID";
        /// As in `v23.0`. Meta serves each version for about two years.
        api_version: String = "API version", default "v23.0";
        /// Sends a proof that we know the app secret with every request, for apps that demand it. Needs the app secret.
        appsecret_proof: bool = "Send app secret proof", default "false";
    }
}

/// Meta's host.
const HOST: &str = "https://graph.facebook.com";
const NAME: &str = "Meta";

static SPEC: Spec = Spec {
    id: "whatsapp_cloud",
    name: "WhatsApp Cloud API",
    docs_url: "https://developers.facebook.com/docs/whatsapp/cloud-api",
    channels: &[Channel::Whatsapp],
    fields: Settings::FIELDS,
    from_example: "",
    // The phone number id is the sender.
    needs_from: false,
    // https://developers.facebook.com/docs/whatsapp/cloud-api/overview#throughput
    limits: Limits { per_second: 80, concurrency: 32 },
    has_receipts: true,
    callback_help: "In Meta's app dashboard under WhatsApp, Configuration, enter the callback URL and the verify token, then subscribe to the fields messages and \
                    user_preferences. The app must also be subscribed to the WhatsApp Business account: POST /<account id>/subscribed_apps.",
    callback_security: "Signed: X-Hub-Signature-256, HMAC-SHA256 with the app secret over the body. The first request, made when the URL is saved, shows the \
                        verify token.",
};

/// The connector for WhatsApp at Meta.
pub struct WhatsappCloud;

impl Connector for WhatsappCloud {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn check(&self, settings: &Values) -> Result<(), BadSetting> {
        let settings = Settings::read(settings)?;
        if !is_digits(&settings.phone_number_id) {
            return Err(bad("phone_number_id", "has digits only; it is the number's id and not the number itself"));
        }
        if settings.business_account_id.as_ref().is_some_and(|id| !is_digits(id)) {
            return Err(bad("business_account_id", "has digits only"));
        }
        if !is_key(settings.access_token.reveal()) {
            return Err(bad("access_token", "must be the token itself, without spaces"));
        }
        if !is_version(&settings.api_version) {
            return Err(bad("api_version", "is written as Meta does, as in v23.0"));
        }
        match (settings.appsecret_proof, &settings.app_secret) {
            (true, None) => Err(bad("app_secret", "is needed for the proof; give it, or turn `appsecret_proof` off")),
            _ => Ok(()),
        }
    }

    fn can_carry(&self, _settings: &Values, content: &Content) -> Result<(), Failure> {
        request::check(whatsapp::says(content)?)
    }

    fn can_upload(&self, media: &Media, file: &AttachmentRef) -> Result<(), Failure> {
        request::check_file(media.kind, file, file.size)
    }

    fn send(&self, cx: &Cx<'_>, message: &Outgoing<'_>) -> Result<Call, Failure> {
        request::first(cx, message)
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
        Some(&callbacks::Subscription)
    }

    fn numbers(&self) -> Option<&dyn manage::Numbers> {
        Some(&numbers::PhoneNumber)
    }

    fn templates(&self) -> Option<&dyn manage::Templates> {
        Some(&templates::MessageTemplates)
    }
}

/// Ids become part of URLs.
fn is_digits(id: &str) -> bool {
    !id.is_empty() && id.bytes().all(|b| b.is_ascii_digit())
}

fn is_version(version: &str) -> bool {
    version
        .strip_prefix('v')
        .and_then(|rest| rest.split_once('.'))
        .is_some_and(|(major, minor)| is_digits(major) && is_digits(minor))
}
