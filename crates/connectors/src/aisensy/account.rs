//! The test of an AiSensy account: the key and one campaign, whose values AiSensy tells without sending anything.

use model::{Answer, Call, Failure, FailureKind};
use serde_json::{Value, json};

use super::{Settings, errors, request};
use crate::{Check, Cx, Probe, read};

const CREDENTIALS: &str = "Credentials";
/// Asked for when no campaign is named: that AiSensy does not know it says at least that it was asked.
const NO_CAMPAIGN: &str = "tidings_account_test";

pub(super) fn probes(cx: &Cx<'_>) -> Result<Vec<Probe>, Failure> {
    let settings = Settings::read(cx.settings)?;
    let campaign = settings.test_campaign.as_deref().unwrap_or(NO_CAMPAIGN);
    let body = json!({"apiKey": settings.api_key.reveal(), "campaignName": campaign});
    let call = request::post(cx, "/campaign/t1/api/campaign-details", body);
    Ok(vec![Probe { name: CREDENTIALS, call: Call::Http(call) }])
}

pub(super) fn check(cx: &Cx<'_>, name: &'static str, answer: &Answer) -> Check {
    let http = match read::http(answer) {
        Ok(http) => http,
        Err(failure) => return Check::failed(name, failure.detail),
    };
    let body: Value = read::json(http);
    if http.status == 200 && errors::is_success(&body) == Some(true) {
        let values = body["requestBody"]["templateParams"].as_array().map_or(0, Vec::len);
        return Check::ok(name, format!("The key works, and the campaign is there with {values} values."));
    }
    let failure = errors::refused(cx, http, &body);
    let has_campaign = cx.settings.get("test_campaign").is_some_and(|campaign| !campaign.is_empty());
    match failure.kind {
        FailureKind::Content if !has_campaign => Check::failed(
            name,
            "AiSensy can only be asked about a campaign. Set `test_campaign` to the name of a live API campaign.",
        ),
        FailureKind::Unknown if http.status == 200 => {
            Check::failed(name, "The answer is not AiSensy's. Check the connector's base URL.")
        }
        FailureKind::Unknown => Check::failed(name, format!("AiSensy answered HTTP {}. Try again later.", http.status)),
        _ => Check::failed(name, format!("{} (HTTP {})", failure.detail, http.status)),
    }
}
