//! Gupshup: WhatsApp for one of its apps, with callbacks that nobody signs.
//! <https://docs.gupshup.io/docs/whatsapp-api-documentation>
//!
//! [`request`] says what a message becomes in Gupshup's forms, [`errors`] what its refusals mean, [`events`] reads its requests to us in both versions, and
//! [`account`] is the account's test. Gupshup takes nearly everything and reports later what it could not do. It has no idempotency key, no field that
//! is repeated to us, and cannot be asked: an attempt without an answer stays `unknown`.
//!
//! A template goes by Gupshup's id, a UUID, and takes its values in order. Refused: uploaded media, buttons with links, values for a text header and for
//! code buttons (Gupshup does not document where they go), carousels. The words of Gupshup's refusals are not documented either; what is not recognised
//! is judged by the HTTP status.

mod account;
mod errors;
mod events;
mod request;
mod templates;

use model::{Answer, BadSetting, Call, Channel, Content, Failure, Phone, Secret, Values, settings};
use serde_json::Value;

use crate::{
    Acceptance, Check, Connector, Cx, Inbound, Limits, Observed, Outcome, Outgoing, Probe, Request, Spec, Step,
    Verdict, hook, manage,
    read::{self, bad, is_key, text},
    whatsapp,
};

settings! {
    /// Settings of an app at Gupshup.
    pub struct Settings {
        /// In Gupshup's dashboard under the profile menu. The address for callbacks is made from it, too: paste that again after changing the key.
        api_key: Secret = "API key";
        /// The app's name, exactly as Gupshup's dashboard shows it.
        app_name: String = "App name";
        /// The app's WhatsApp number with its country code. Messages leave from it unless the account or the message names another sender.
        source: Option<String> = "Source number";
        /// The app's id, a UUID in the address of its page in Gupshup's dashboard. Only templates are made and deleted with it.
        app_id: Option<String> = "App ID";
    }
}

const NAME: &str = "Gupshup";
const HOST: &str = "https://api.gupshup.io";

static SPEC: Spec = Spec {
    id: "gupshup",
    name: "Gupshup",
    docs_url: "https://docs.gupshup.io/docs/whatsapp-api-documentation",
    channels: &[Channel::Whatsapp],
    fields: Settings::FIELDS,
    from_example: "+917834811114",
    needs_from: false,
    // Gupshup documents no rate beyond Meta's for each number; this is a careful guess of ours.
    limits: Limits { per_second: 20, concurrency: 16 },
    has_receipts: true,
    callback_help: "In Gupshup's dashboard, open the app's webhooks, add this account's callback URL, which ends in a secret of its own, and choose the events \
                    message, sent, delivered, read, failed, enqueued and user events.",
    callback_security: "Not signed: Gupshup signs nothing. Requests are believed only when they come to the account's callback URL with its secret last part, which is \
                        made from the API key; keep it to yourself.",
};

/// The connector for Gupshup.
pub struct Gupshup;

impl Connector for Gupshup {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn check(&self, settings: &Values) -> Result<(), BadSetting> {
        let settings = Settings::read(settings)?;
        if !is_key(settings.api_key.reveal()) {
            return Err(bad("api_key", "must be the key itself, without spaces"));
        }
        if settings.app_name.trim().is_empty() || settings.app_name.chars().any(char::is_control) {
            return Err(bad("app_name", "is the app's name at Gupshup, in one line"));
        }
        if settings.source.as_deref().is_some_and(|source| whatsapp::number(source).is_none()) {
            return Err(bad("source", "is a phone number with its country code, as in +917834811114"));
        }
        Ok(())
    }

    fn check_from(&self, from: &str, _channel: Channel) -> Result<(), BadSetting> {
        number(from).map(drop)
    }

    fn can_carry(&self, _settings: &Values, content: &Content) -> Result<(), Failure> {
        request::fields(whatsapp::says(content)?, "").map(drop)
    }

    fn send(&self, cx: &Cx<'_>, message: &Outgoing<'_>) -> Result<Call, Failure> {
        request::call(cx, message)
    }

    fn answer(&self, cx: &Cx<'_>, _message: &Outgoing<'_>, _step: u8, answer: &Answer) -> Step {
        Step::Done(outcome(cx, answer))
    }

    fn test(&self, cx: &Cx<'_>) -> Result<Vec<Probe>, Failure> {
        account::probes(cx)
    }

    fn tested(&self, cx: &Cx<'_>, probe: &Probe, answer: &Answer) -> Vec<Check> {
        vec![account::check(cx, probe.name, answer)]
    }

    fn inbound(&self) -> Option<&dyn Inbound> {
        Some(self)
    }

    fn templates(&self) -> Option<&dyn manage::Templates> {
        Some(&templates::AppTemplates)
    }
}

impl Inbound for Gupshup {
    fn path(&self, cx: &Cx<'_>) -> String {
        Settings::read(cx.settings).map_or(String::new(), |settings| format!("/{}", token(cx, &settings)))
    }

    fn verify(&self, cx: &Cx<'_>, request: &Request<'_>, _fetched: Option<&Answer>) -> Verdict {
        match Settings::read(cx.settings) {
            Ok(settings) if hook::has_token(request, &token(cx, &settings)) => Verdict::Valid,
            Ok(_) => Verdict::Invalid(
                "the address does not end in the account's secret: paste the account's callback URL into Gupshup again"
                    .to_owned(),
            ),
            Err(bad) => Verdict::Invalid(format!("the account's settings cannot be read: {bad}")),
        }
    }

    fn read(&self, cx: &Cx<'_>, request: &Request<'_>) -> Result<Vec<Observed>, Failure> {
        events::read(cx, request.body)
    }
}

fn token(cx: &Cx<'_>, settings: &Settings) -> String {
    hook::token(cx, &settings.api_key, "gupshup events")
}

/// The number messages leave from: the chosen sender, or the settings' source.
fn sender(cx: &Cx<'_>, settings: &Settings) -> Result<Option<Phone>, BadSetting> {
    cx.from.or(settings.source.as_deref()).map(number).transpose()
}

/// A sender, with or without a plus.
fn number(from: &str) -> Result<Phone, BadSetting> {
    whatsapp::number(from).ok_or_else(|| bad("from", "is a phone number with its country code, as in +917834811114"))
}

fn outcome(cx: &Cx<'_>, answer: &Answer) -> Outcome {
    let http = match read::http(answer) {
        Ok(http) => http,
        Err(failure) => return Outcome::Refused(failure),
    };
    let body: Value = read::json(http);
    // A refusal may hide in an answer of success.
    let is_error = text(&body, "/status") == Some("error");
    match (http.status, text(&body, "/messageId")) {
        (200..=299, Some(id)) if !is_error => Outcome::Accepted(Acceptance::with_id(id)),
        _ => Outcome::Refused(errors::refused(cx, http, &body)),
    }
}
