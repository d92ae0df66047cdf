//! The test of a Twilio account: the credentials with the account's state, its sender, and its balance.

use model::{Answer, Call, Failure, FailureKind, HttpAnswer, Method};

use super::{Settings, answer, request};
use crate::{Check, Cx, Probe, decimal::micros};

const CREDENTIALS: &str = "Credentials";
const BALANCE: &str = "Balance";

pub(super) fn probes(cx: &Cx<'_>) -> Result<Vec<Probe>, Failure> {
    let settings = Settings::read(cx.settings)?;
    let probe = |name, path| Probe { name, call: Call::Http(request(cx, &settings, Method::Get, path)) };
    Ok(vec![probe(CREDENTIALS, ".json"), probe(BALANCE, "/Balance.json")])
}

pub(super) fn checks(cx: &Cx<'_>, probe: &Probe, answer: &Answer) -> Vec<Check> {
    let Answer::Http(http) = answer else {
        return vec![Check::failed(probe.name, "Twilio gave no HTTP answer.")];
    };
    match probe.name {
        BALANCE => vec![balance(cx, http)],
        _ => vec![credentials(cx, http), sender(cx)],
    }
}

fn credentials(cx: &Cx<'_>, http: &HttpAnswer) -> Check {
    if http.status != 200 {
        return refused(cx, CREDENTIALS, http);
    }
    let Some(account) = answer::json(http) else {
        return Check::failed(CREDENTIALS, "The answer is not Twilio's. Check the connector's base URL.");
    };
    let name = answer::text(&account, "friendly_name").unwrap_or("without a name");
    let kind = answer::text(&account, "type").unwrap_or("unknown type");
    match answer::text(&account, "status") {
        Some("active") => Check::ok(CREDENTIALS, format!("Account {name} ({kind}) is active.")),
        Some(status) => Check::failed(
            CREDENTIALS,
            format!("Account {name} ({kind}) is {status}. Reactivate it in Twilio's console."),
        ),
        None => Check::failed(CREDENTIALS, "The answer is not Twilio's. Check the connector's base URL."),
    }
}

/// Says who the messages come from: the rest of the account is not asked, because WhatsApp senders, short codes and names are no numbers
/// Twilio could list.
fn sender(cx: &Cx<'_>) -> Check {
    const NAME: &str = "Sender";
    match (cx.settings.get("messaging_service_sid").filter(|sid| !sid.is_empty()), cx.from) {
        (Some(sid), _) => Check::ok(NAME, format!("Messages leave through the messaging service {sid}.")),
        (None, Some(from)) => Check::ok(NAME, format!("Messages leave from {from}.")),
        (None, None) => Check::failed(
            NAME,
            "There is neither a sender nor a messaging service. Set `from` or `messaging_service_sid`.",
        ),
    }
}

fn balance(cx: &Cx<'_>, http: &HttpAnswer) -> Check {
    if matches!(http.status, 403 | 404) {
        return Check::ok(
            BALANCE,
            "Twilio does not show it here: subaccounts use their parent's, and API keys may lack the permission.",
        );
    }
    if http.status != 200 {
        return refused(cx, BALANCE, http);
    }
    let account = answer::json(http).unwrap_or_default();
    let (Some(amount), currency) = (answer::text(&account, "balance"), answer::text(&account, "currency")) else {
        return Check::failed(BALANCE, "The answer is not Twilio's. Check the connector's base URL.");
    };
    let shown = format!("{amount} {}", currency.unwrap_or_default());
    match amount.starts_with('-') || micros(amount) == Some(0) {
        true => Check::failed(BALANCE, format!("{}. Top up the account in Twilio's console.", shown.trim_end())),
        false => Check::ok(BALANCE, shown.trim_end()),
    }
}

fn refused(cx: &Cx<'_>, name: &str, http: &HttpAnswer) -> Check {
    let failure = answer::refusal(http, cx.now);
    match failure.kind {
        FailureKind::Unknown => Check::failed(name, format!("Twilio answered HTTP {}. Try again later.", http.status)),
        _ => Check::failed(name, format!("{} ({})", failure.detail, failure.code)),
    }
}
