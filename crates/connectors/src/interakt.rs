//! Interakt: WhatsApp for businesses in India, one message in a request, with signed webhooks.
//! <https://www.interakt.shop/resource-center/how-to-send-whatsapp-templates-using-apis-webhooks/>
//!
//! [`request`] says what a message becomes in Interakt's JSON, [`errors`] what its refusals mean, [`events`] reads its webhooks, and [`account`] is the
//! account's test. Our attempt id rides along and comes back with every webhook. Interakt has no idempotency key and cannot be asked about a message.
//!
//! Refused: uploaded media; buttons outside templates and locations, for which Interakt documents no form; carousels and named values. The words of its
//! refusals (HTTP 400) and its kinds of incoming messages are not documented either: they are matched loosely, and what is not recognised is judged by the
//! status, or taken as a text.

mod account;
mod errors;
mod events;
mod request;
mod templates;

use model::{Answer, BadSetting, Call, Channel, Content, Failure, Secret, Values, settings};
use serde_json::Value;

use crate::{
    Acceptance, Check, Connector, Cx, Inbound, Limits, Observed, Outcome, Outgoing, Probe, Request, Spec, Step,
    Verdict, manage,
    read::{self, bad, is_key, text},
    whatsapp::{self, is_signed},
};

settings! {
    /// Settings of an organization at Interakt.
    pub struct Settings {
        /// Under Settings, Developer Setting, as it stands there: it is base64 already.
        api_key: Secret = "Secret key";
        /// The secret key you enter there together with the webhook URL. It signs Interakt's requests to us; they are refused without it.
        webhook_secret: Option<Secret> = "Webhook secret key";
    }
}

const NAME: &str = "Interakt";
const HOST: &str = "https://api.interakt.ai";
const HEADER: &str = "interakt-signature";

static SPEC: Spec = Spec {
    id: "interakt",
    name: "Interakt",
    docs_url: "https://www.interakt.shop/resource-center/how-to-send-whatsapp-templates-using-apis-webhooks/",
    channels: &[Channel::Whatsapp],
    fields: Settings::FIELDS,
    from_example: "",
    // The organization has one number.
    needs_from: false,
    // The Growth plan takes 300 requests a minute; Advanced takes 600, and the Starter plan has no API.
    limits: Limits { per_second: 5, concurrency: 8 },
    has_receipts: true,
    callback_help: "In Interakt under Settings, Developer Setting, enter the callback URL and a secret key of your choice, and switch on the events of API messages \
                    and of incoming messages. Interakt switches a webhook off after five failures in ten minutes and repeats nothing.",
    callback_security: "Signed: Interakt-Signature, HMAC-SHA256 with the webhook secret key over the body.",
};

/// The connector for Interakt.
pub struct Interakt;

impl Connector for Interakt {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn check(&self, settings: &Values) -> Result<(), BadSetting> {
        match is_key(Settings::read(settings)?.api_key.reveal()) {
            true => Ok(()),
            false => Err(bad("api_key", "must be the key itself as Interakt shows it, without `Basic` and spaces")),
        }
    }

    fn can_carry(&self, _settings: &Values, content: &Content) -> Result<(), Failure> {
        request::object(whatsapp::says(content)?).map(drop)
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
        Some(&templates::OwnTemplates)
    }
}

impl Inbound for Interakt {
    fn verify(&self, cx: &Cx<'_>, request: &Request<'_>, _fetched: Option<&Answer>) -> Verdict {
        match signed(cx, request) {
            Ok(()) => Verdict::Valid,
            Err(reason) => Verdict::Invalid(reason),
        }
    }

    fn read(&self, cx: &Cx<'_>, request: &Request<'_>) -> Result<Vec<Observed>, Failure> {
        events::read(cx, request.body)
    }
}

fn signed(cx: &Cx<'_>, request: &Request<'_>) -> Result<(), String> {
    let settings =
        Settings::read(cx.settings).map_err(|bad| format!("the account's settings cannot be read: {bad}"))?;
    let secret = settings
        .webhook_secret
        .ok_or("the account has no `webhook_secret`; set the secret key entered at Interakt beside the webhook URL")?;
    let given = request.header(HEADER).ok_or("the request has no Interakt-Signature header")?;
    let given = given.strip_prefix("sha256=").ok_or("the Interakt-Signature header does not begin with sha256=")?;
    match is_signed(secret.reveal(), request.body, given) {
        true => Ok(()),
        false => Err("the signature does not match: check the webhook secret key".to_owned()),
    }
}

fn outcome(cx: &Cx<'_>, answer: &Answer) -> Outcome {
    let http = match read::http(answer) {
        Ok(http) => http,
        Err(failure) => return Outcome::Refused(failure),
    };
    let body: Value = read::json(http);
    match (http.status, body["result"].as_bool(), text(&body, "/id")) {
        (200..=299, Some(true), Some(id)) => Outcome::Accepted(Acceptance::with_id(id)),
        _ => Outcome::Refused(errors::refused(cx, http, &body)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::whatsapp::vectors;

    #[test]
    fn signatures() {
        vectors::check(include_str!("../tests/data/interakt_webhook.json"), &Interakt, "webhook_secret", "api_key");
    }
}
