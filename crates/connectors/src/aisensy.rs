//! AiSensy: WhatsApp templates through its campaign API, with signed project webhooks.
//! <https://wiki.aisensy.com/en/articles/11501889-api-reference-docs>
//!
//! A campaign of the kind API, live in AiSensy's dashboard, fixes a template and its language; a request names the campaign (the template's name in our
//! content) and fills its values. So only templates are carried, and the language in the content is the campaign's own, whatever it says. The API has no
//! idempotency key, no field that is repeated to us and no look-up: an attempt without an answer stays `unknown`.
//!
//! Refused: everything that is no template; values for a text header and for buttons that answer, locations in headers, carousels and named values, for
//! which AiSensy documents no form. Whether the id in a webhook is the one of the answer is not documented either, so a report is looked for under both of
//! a webhook's ids.

mod account;
mod errors;
mod events;
mod request;

use model::{Answer, BadSetting, Call, Channel, Content, Failure, Secret, Values, settings};
use serde_json::Value;

use crate::{
    Acceptance, Check, Connector, Cx, Inbound, Limits, Observed, Outcome, Outgoing, Probe, Request, Spec, Step,
    Verdict,
    read::{self, bad, is_key, text},
    whatsapp::{self, is_signed},
};

settings! {
    /// Settings of a project at AiSensy.
    pub struct Settings {
        /// A long text under Manage, API Key.
        api_key: Secret = "API key";
        /// Shown when a project webhook is made. It signs AiSensy's requests to us; they are refused without it.
        webhook_secret: Option<Secret> = "Webhook secret";
        /// The exact name of a live API campaign. Only the account's test asks for it; nothing is sent.
        test_campaign: Option<String> = "Campaign for the test";
    }
}

const NAME: &str = "AiSensy";
const HOST: &str = "https://backend.aisensy.com";
const HEADER: &str = "x-aisensy-signature";

static SPEC: Spec = Spec {
    id: "aisensy",
    name: "AiSensy",
    docs_url: "https://wiki.aisensy.com/en/articles/11501889-api-reference-docs",
    channels: &[Channel::Whatsapp],
    fields: Settings::FIELDS,
    from_example: "",
    // The project has one number.
    needs_from: false,
    // AiSensy documents no rate; this is a careful guess of ours.
    limits: Limits { per_second: 10, concurrency: 8 },
    has_receipts: true,
    callback_help: "In AiSensy, make a project webhook with the callback URL and the topics message.status.updated and message.sender.user, and set its secret here. \
                    AiSensy switches a webhook off after a hundred failures in twenty minutes.",
    callback_security: "Signed: X-AiSensy-Signature, HMAC-SHA256 with the webhook's secret over the body.",
};

/// The connector for AiSensy.
pub struct Aisensy;

impl Connector for Aisensy {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn check(&self, settings: &Values) -> Result<(), BadSetting> {
        match is_key(Settings::read(settings)?.api_key.reveal()) {
            true => Ok(()),
            false => Err(bad("api_key", "must be the key itself, without spaces")),
        }
    }

    fn can_carry(&self, _settings: &Values, content: &Content) -> Result<(), Failure> {
        request::fields(whatsapp::says(content)?).map(drop)
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
}

impl Inbound for Aisensy {
    fn verify(&self, cx: &Cx<'_>, request: &Request<'_>, _fetched: Option<&Answer>) -> Verdict {
        match signed(cx, request) {
            Ok(()) => Verdict::Valid,
            Err(reason) => Verdict::Invalid(reason),
        }
    }

    fn read(&self, cx: &Cx<'_>, request: &Request<'_>) -> Result<Vec<Observed>, Failure> {
        events::read(cx, request.body)
    }

    /// The webhook's own id, together with its topic. It is read only once the signature is found good.
    fn dedupe_key(&self, request: &Request<'_>) -> Option<String> {
        let body: Value = serde_json::from_slice(request.body).ok()?;
        Some(format!("{}:{}", text(&body, "/topic")?, text(&body, "/id")?))
    }
}

fn signed(cx: &Cx<'_>, request: &Request<'_>) -> Result<(), String> {
    let settings =
        Settings::read(cx.settings).map_err(|bad| format!("the account's settings cannot be read: {bad}"))?;
    let secret = settings
        .webhook_secret
        .ok_or("the account has no `webhook_secret`; set the one of AiSensy's project webhook")?;
    let given = request.header(HEADER).ok_or("the request has no X-AiSensy-Signature header")?;
    match is_signed(secret.reveal(), request.body, given) {
        true => Ok(()),
        false => Err("the signature does not match: check the webhook's secret".to_owned()),
    }
}

/// Success is the text `true`. A refusal may hide in an answer of success.
fn outcome(cx: &Cx<'_>, answer: &Answer) -> Outcome {
    let http = match read::http(answer) {
        Ok(http) => http,
        Err(failure) => return Outcome::Refused(failure),
    };
    let body: Value = read::json(http);
    match (http.status, errors::is_success(&body), text(&body, "/submitted_message_id")) {
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
        vectors::check(include_str!("../tests/data/aisensy_webhook.json"), &Aisensy, "webhook_secret", "api_key");
    }
}
