//! Meta's requests to us: the handshake when the callback URL is saved, and afterwards what became of messages and what people wrote.
//! <https://developers.facebook.com/docs/graph-api/webhooks/getting-started>

use model::{Answer, Failure};
use serde_json::Value;
use url::form_urlencoded;

use super::{NAME, Settings, WhatsappCloud};
use crate::{
    Cx, Inbound, Observed, Reply, Request, Verdict, hook,
    read::{bad_callback, text},
    whatsapp::{
        codes,
        envelope::{self, Dialect},
        is_signed,
    },
};

const HEADER: &str = "x-hub-signature-256";

impl Inbound for WhatsappCloud {
    fn verify(&self, cx: &Cx<'_>, request: &Request<'_>, _fetched: Option<&Answer>) -> Verdict {
        let settings = match Settings::read(cx.settings) {
            Ok(settings) => settings,
            Err(bad) => return Verdict::Invalid(format!("the account's settings cannot be read: {bad}")),
        };
        let checked = if request.method == "GET" { handshake(&settings, request) } else { signed(&settings, request) };
        checked.map_or_else(|reason| Verdict::Invalid(reason.to_owned()), |()| Verdict::Valid)
    }

    fn read(&self, cx: &Cx<'_>, request: &Request<'_>) -> Result<Vec<Observed>, Failure> {
        if request.method == "GET" {
            return Ok(Vec::new());
        }
        let body: Value = serde_json::from_slice(request.body).map_err(|_| bad_callback(NAME))?;
        let dialect = Dialect {
            phone_number_id: cx.settings.get("phone_number_id"),
            id: |status| text(status, "/id"),
            failed: codes::reported,
        };
        envelope::read(&body, &dialect)
    }

    /// The handshake wants its challenge back.
    fn reply(&self, _cx: &Cx<'_>, request: &Request<'_>) -> Reply {
        match (request.method, query(request, "hub.challenge")) {
            ("GET", Some(challenge)) => Reply { status: 200, body: Some(("text/plain", challenge)) },
            _ => Reply::default(),
        }
    }
}

fn handshake(settings: &Settings, request: &Request<'_>) -> Result<(), &'static str> {
    let wanted =
        settings.verify_token.as_ref().ok_or("the account has no `verify_token`; set the one given to Meta")?;
    if query(request, "hub.mode").as_deref() != Some("subscribe") {
        return Err("a GET is not Meta's handshake: it does not say hub.mode=subscribe");
    }
    let given = query(request, "hub.verify_token").ok_or("the handshake has no hub.verify_token")?;
    match hook::is_same(&given, wanted.reveal()) {
        true => Ok(()),
        false => Err("the verify token does not match the account's"),
    }
}

fn query(request: &Request<'_>, name: &str) -> Option<String> {
    form_urlencoded::parse(request.query.as_bytes()).find(|(n, _)| n == name).map(|(_, value)| value.into_owned())
}

/// The signature covers the body as it came: Meta writes letters beyond ASCII as escapes, which no other writing of the same JSON would repeat.
fn signed(settings: &Settings, request: &Request<'_>) -> Result<(), &'static str> {
    let secret = settings.app_secret.as_ref().ok_or("the account has no `app_secret`; set the one of Meta's app")?;
    let given = request.header(HEADER).ok_or("the request has no X-Hub-Signature-256 header")?;
    let given = given.strip_prefix("sha256=").ok_or("the X-Hub-Signature-256 header does not begin with sha256=")?;
    match is_signed(secret.reveal(), request.body, given) {
        true => Ok(()),
        false => Err("the signature does not match: check the app secret"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::whatsapp::vectors;

    #[test]
    fn signatures_as_metas_libraries_check_them() {
        let given = include_str!("../../tests/data/meta_webhook.json");
        vectors::check(given, &WhatsappCloud, "app_secret", "phone_number_id access_token");
    }
}
