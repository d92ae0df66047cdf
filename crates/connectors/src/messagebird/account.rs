//! The test of an account: the key with the balance (classic) or with each channel (Bird), the sender, and whether callbacks can be believed.

use model::{Answer, Call, Channel, Failure, HttpAnswer, Method};

use super::{Api, Settings, bird, call, classic, errors};
use crate::{Check, Cx, Probe, read};

const CREDENTIALS: &str = "Credentials";
const SMS: &str = "SMS channel";
const WHATSAPP: &str = "WhatsApp channel";

pub(super) fn probes(cx: &Cx<'_>) -> Result<Vec<Probe>, Failure> {
    let settings = Settings::read(cx.settings)?;
    if settings.api == Api::Classic {
        let call = call(cx, &settings, Method::Get, classic::HOST, "/balance");
        return Ok(vec![Probe { name: CREDENTIALS, call: Call::Http(call) }]);
    }
    let channels = [
        (SMS, Channel::Sms, settings.sms_channel_id.is_some()),
        (WHATSAPP, Channel::Whatsapp, settings.whatsapp_channel_id.is_some()),
    ];
    let named = channels.into_iter().filter(|(_, _, is_named)| *is_named);
    named
        .map(|(name, channel, _)| {
            let messages = bird::path(&settings, channel)?;
            let path = messages.trim_end_matches("/messages");
            Ok(Probe { name, call: Call::Http(call(cx, &settings, Method::Get, bird::HOST, path)) })
        })
        .collect()
}

pub(super) fn checks(cx: &Cx<'_>, probe: &Probe, answer: &Answer) -> Vec<Check> {
    let Ok(http) = read::http(answer) else {
        return vec![Check::failed(probe.name, "MessageBird gave no HTTP answer.")];
    };
    match probe.name {
        CREDENTIALS => balance(cx, http),
        name => {
            let mut checks = vec![channel(cx, name, http)];
            checks.extend((name == SMS || cx.settings.get("sms_channel_id").is_none()).then(|| callbacks(cx)));
            checks
        }
    }
}

fn balance(cx: &Cx<'_>, http: &HttpAnswer) -> Vec<Check> {
    if http.status != 200 {
        let failure = errors::classic(http, cx.now);
        return vec![Check::failed(CREDENTIALS, format!("{} ({})", failure.detail, failure.code))];
    }
    let body = read::json(http);
    let Some(amount) = body["amount"].as_f64() else {
        return vec![Check::failed(CREDENTIALS, "The answer is not MessageBird's. Check the connector's base URL.")];
    };
    let payment = read::text(&body, "/payment").unwrap_or("prepaid");
    let shown = format!("{amount} {} ({payment})", read::text(&body, "/type").unwrap_or_default());
    let balance = match amount > 0.0 || payment == "postpaid" {
        true => Check::ok("Balance", shown),
        false => Check::failed("Balance", format!("{shown}. Top up the account in MessageBird's console.")),
    };
    vec![Check::ok(CREDENTIALS, "The access key works."), balance, sender(cx), callbacks(cx)]
}

fn sender(cx: &Cx<'_>) -> Check {
    const NAME: &str = "Sender";
    let channel = cx.settings.get("whatsapp_channel_id").filter(|id| !id.is_empty());
    match (cx.from, channel) {
        (Some(from), _) => Check::ok(NAME, format!("SMS leave from {from}.")),
        (None, Some(_)) => Check::ok(NAME, "WhatsApp leaves from its channel. SMS would need `from`."),
        (None, None) => Check::failed(
            NAME,
            "There is neither a sender nor a WhatsApp channel. Set `from` or `whatsapp_channel_id`.",
        ),
    }
}

fn callbacks(cx: &Cx<'_>) -> Check {
    const NAME: &str = "Callbacks";
    match cx.settings.get("signing_key").filter(|key| !key.is_empty()) {
        Some(_) => Check::ok(NAME, "Callbacks are checked with the signing key."),
        None => Check::failed(NAME, "There is no signing key, so signed callbacks are refused. Set `signing_key`."),
    }
}

/// The state of a channel; which words there are besides `active` was not seen in a source.
fn channel(cx: &Cx<'_>, name: &str, http: &HttpAnswer) -> Check {
    if http.status != 200 {
        let failure = errors::bird(http, cx.now);
        return Check::failed(name, format!("{} ({})", failure.detail, failure.code));
    }
    let body = read::json(http);
    if read::text(&body, "/id").is_none() {
        return Check::failed(name, "The answer is not Bird's. Check the connector's base URL.");
    }
    let shown = read::text(&body, "/name").unwrap_or("without a name");
    match read::text(&body, "/status") {
        None | Some("active") => Check::ok(name, format!("Channel {shown} is there.")),
        Some(status) => Check::failed(name, format!("Channel {shown} is {status}. Look into Bird's console.")),
    }
}
