//! Whether the account's sender is verified: its address, its domain, or a domain above that.
//! <https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_ListEmailIdentities.html>

use model::{Answer, Call, Failure, HttpCall, Method};
use serde_json::{Value, json};

use super::{Settings, base, errors, http, sign};
use crate::{Check, Cx, Probe, mime, read::text};

pub(super) const NAME: &str = "Sender";
/// Identities listed, which is the most at once; an account may have ten thousand.
const LIST_MAX: u32 = 1_000;

/// Nothing for an account without a sender of its own.
pub(super) fn probe(cx: &Cx<'_>, settings: &Settings) -> Result<Option<Probe>, Failure> {
    if address(cx).is_none() {
        return Ok(None);
    }
    let url = format!("{}/v2/email/list-identities", base(cx, settings));
    let body = json!({ "PageSize": LIST_MAX }).to_string();
    let call: Call = sign(cx, settings, HttpCall::new(Method::Post, url).body("application/json", body))?;
    Ok(Some(Probe { name: NAME, call }))
}

pub(super) fn check(cx: &Cx<'_>, answer: &Answer) -> Check {
    let http = match http(answer) {
        Ok(http) if http.status == 200 => http,
        Ok(http) => {
            let failure = errors::failure(http, cx.now);
            return match failure.code.as_str() {
                // Whoever may only send is good enough.
                "AccessDenied" | "AccessDeniedException" => Check::ok(
                    NAME,
                    "The key may not look at identities (ses:ListEmailIdentities); a mail shows whether the sender is one.",
                ),
                code => Check::failed(NAME, format!("{} ({code})", failure.detail)),
            };
        }
        Err(failure) => return Check::failed(NAME, failure.detail),
    };
    let (Some((address, domain)), body) = (address(cx), crate::read::json(http)) else {
        return Check::failed(NAME, "There is no sender. Set `from`.");
    };
    let Some(listed) = body.get("EmailIdentities").and_then(Value::as_array) else {
        return Check::failed(NAME, "Amazon answered something that is no list of identities. Check any base URL.");
    };
    let covers =
        |name: &str| name.eq_ignore_ascii_case(&address) || name == domain || domain.ends_with(&format!(".{name}"));
    let known: Vec<(&str, &str)> = listed
        .iter()
        .filter_map(|one| Some((text(one, "/IdentityName")?, text(one, "/VerificationStatus").unwrap_or("SUCCESS"))))
        .filter(|(name, _)| covers(name))
        .collect();
    if let Some((name, _)) = known.iter().find(|(_, status)| *status == "SUCCESS") {
        return Check::ok(NAME, format!("{name} is verified."));
    }
    match known.first() {
        Some((name, status)) => Check::failed(
            NAME,
            format!(
                "{name} is not verified ({status}). Publish its DNS records; Amazon looks for them for three days."
            ),
        ),
        None if text(&body, "/NextToken").is_some() => Check::ok(
            NAME,
            format!("{domain} is not among the first {LIST_MAX} identities; a mail shows whether it is one."),
        ),
        None => Check::failed(
            NAME,
            format!(
                "Amazon SES does not know {domain} in this region. Add it with POST /v1/domains, or in the SES console."
            ),
        ),
    }
}

/// The sender's address and its domain.
fn address(cx: &Cx<'_>) -> Option<(String, String)> {
    let address = mime::mailbox(cx.from?).ok()?.address;
    Some((address.as_str().to_owned(), address.domain().to_owned()))
}
