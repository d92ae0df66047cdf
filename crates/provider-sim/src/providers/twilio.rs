//! Twilio: messages (SMS, MMS, WhatsApp), calls, look-ups, the account.
//! <https://www.twilio.com/docs/messaging/api/message-resource> <https://www.twilio.com/docs/voice/api/call-resource>

mod a2p;
mod content;
mod toll_free;

use model::{HttpCall, Method, Timestamp};
use serde_json::{Value, json};

use crate::{
    fate::Fate,
    fields::{Fields, form},
    holdings::page,
    message::{Draft, Message, Stage},
    provider::{Cx, Provider, Setting, Settings, Written, account, rfc2822, written},
    request::{Reply, Request},
    sign,
};

pub(crate) struct Twilio;

const SETTINGS: &[Setting] = &[
    Setting { name: "account_sid", default: "AC00000000000000000000000000000001" },
    Setting { name: "auth_token", default: "0123456789abcdef0123456789abcdef" },
    Setting { name: "api_key_sid", default: "SK00000000000000000000000000000001" },
    Setting { name: "api_key_secret", default: "simulated-api-key-secret" },
    Setting { name: "from", default: "+15550100001" },
    Setting { name: "callback_url", default: "" },
    Setting { name: a2p::KEPT, default: "" },
    Setting { name: "contents", default: "[]" },
    // Most rows of a list on one page.
    Setting { name: "page_max", default: "1000" },
];
/// Most pictures of one message.
const MEDIA_MAX: usize = 10;
/// Longest text, in characters.
const BODY_MAX: usize = 1_600;
/// Most of a list on one page.
const PAGE_MAX: usize = 1_000;
/// How long a call lasts that somebody listens to, in seconds.
const CALL_S: &str = "7";

/// An error of the API. <https://www.twilio.com/docs/api/errors>
/// The sid of the account's number.
const NUMBER: &str = "PN00000000000000000000000000000001";

fn error(status: u16, code: u32, message: &str) -> Reply {
    let more_info = format!("https://www.twilio.com/docs/errors/{code}");
    Reply::json(status, &json!({"code": code, "message": message, "more_info": more_info, "status": status}))
}

impl Provider for Twilio {
    fn id(&self) -> &'static str {
        "twilio"
    }

    fn settings(&self) -> &'static [Setting] {
        SETTINGS
    }

    fn accounts(&self, settings: &Settings) -> Vec<Value> {
        let keys = json!({"account_sid": settings["account_sid"], "auth_token": settings["auth_token"]});
        vec![account("twilio", "Twilio", Some(&settings["from"]), keys)]
    }

    fn answer(&self, cx: &mut Cx<'_>, request: &Request) -> Result<Reply, Reply> {
        let segments = request.segments();
        let sid = cx.get("account_sid").to_owned();
        let pairs = [(sid.as_str(), "auth_token"), (cx.get("api_key_sid"), "api_key_secret")];
        let is_known = request.basic().is_some_and(|(user, password)| {
            pairs.iter().any(|(name, secret)| user == *name && password == cx.get(secret))
        });
        if let ["v1", path @ ..] = &segments[..] {
            let is_content = matches!(path.first(), Some(&("Content" | "ContentAndApprovals")));
            return match (is_known, is_content) {
                (false, _) => Err(error(401, 20003, "Authenticate")),
                (true, true) => content::answer(cx, request, path),
                (true, false) => a2p::answer(cx, request, path),
            };
        }
        let [_, "Accounts", rest @ ..] = &segments[..] else {
            return Err(error(404, 20404, "The requested resource was not found"));
        };
        let is_own = rest.first().is_some_and(|given| given.trim_end_matches(".json") == sid);
        if !is_known || !is_own {
            return Err(error(401, 20003, "Authenticate"));
        }
        if let Some(answered) = a2p::own(cx, request, &rest[1..]) {
            return answered;
        }
        match (request.method.as_str(), &rest[1..]) {
            ("GET", []) => Ok(Reply::json(
                200,
                &json!({"sid": sid, "friendly_name": "Simulated", "status": "active", "type": "Full", "owner_account_sid": sid}),
            )),
            ("GET", ["Balance.json"]) => {
                Ok(Reply::json(200, &json!({"account_sid": sid, "balance": "42.5000", "currency": "USD"})))
            }
            ("GET", ["IncomingPhoneNumbers.json"]) => {
                let asked = request.parameters();
                let wanted = asked.some("PhoneNumber");
                let is_ours =
                    wanted.is_none_or(|wanted| wanted == cx.get("from")) && asked.get("FriendlyName").is_empty();
                let mut numbers = if is_ours { vec![number(cx, cx.get("callback_url"))] } else { Vec::new() };
                numbers.extend(a2p::bought(cx, &asked));
                Ok(a2p::listed(cx, request, "incoming_phone_numbers", &numbers))
            }
            ("POST", ["IncomingPhoneNumbers", id]) if id.trim_end_matches(".json") == NUMBER => {
                let url = request.form().get("SmsUrl").to_owned();
                let shown = number(cx, &url);
                cx.changes.push(("callback_url", url));
                Ok(Reply::json(200, &shown))
            }
            ("POST", ["Messages.json"]) => send(cx, &request.form()),
            ("POST", ["Calls.json"]) => call(cx, &request.form()),
            ("GET", ["Messages.json"]) => Ok(list(cx, &request.parameters(), "messages")),
            ("GET", ["Calls.json"]) => Ok(list(cx, &request.parameters(), "calls")),
            ("GET", ["Messages" | "Calls", id]) => match cx.find(id.trim_end_matches(".json")) {
                Some(message) => Ok(Reply::json(200, &resource(cx, message))),
                None => Err(error(404, 20404, "The requested resource was not found")),
            },
            _ => Err(error(404, 20404, "The requested resource was not found")),
        }
    }

    fn throttled(&self, after_s: Option<u64>) -> Reply {
        error(429, 20429, "Too Many Requests").retry_after(after_s)
    }

    fn broken(&self, status: u16) -> Reply {
        match status {
            503 => error(503, 20503, "Service unavailable"),
            status => error(status, 20500, "An internal server error has occurred"),
        }
    }

    fn report(&self, cx: &Cx<'_>, message: &Message, stage: Stage) -> Option<HttpCall> {
        let word = word(message, stage)?;
        let url = cx.callback_of(message)?;
        let (sid, to) = (message.id.as_str(), message.to.as_str());
        let mut fields = vec![
            ("AccountSid", cx.get("account_sid")),
            ("ApiVersion", "2010-04-01"),
            ("From", &message.from),
            ("To", to),
        ];
        let timestamp = rfc2822(cx.now);
        if message.channel == "voice" {
            fields.extend([
                ("CallSid", sid),
                ("CallStatus", word),
                ("Direction", "outbound-api"),
                ("Timestamp", &timestamp),
                ("CallbackSource", "call-progress-events"),
            ]);
            fields.extend((stage == Stage::Delivered).then_some(("CallDuration", CALL_S)));
        } else {
            fields.extend([("MessageSid", sid), ("SmsSid", sid), ("MessageStatus", word), ("SmsStatus", word)]);
            fields.extend((stage == Stage::Read).then_some(("EventType", "READ")));
            match stage {
                Stage::Failed => fields.push(("ErrorCode", "30003")),
                Stage::OptedOut => fields.push(("ErrorCode", "21610")),
                _ => {}
            }
        }
        Some(signed(cx, url, &fields))
    }

    fn inbound(&self, cx: &mut Cx<'_>, written: &Written) -> Option<HttpCall> {
        let url = cx.callback("callback_url")?;
        let prefix = if written.is_whatsapp() { "whatsapp:" } else { "" };
        let sid = format!("{}{}", if written.media.is_some() { "MM" } else { "SM" }, cx.hex(32));
        let from = format!("{prefix}{}", written.from);
        let to = format!("{prefix}{}", written.to.as_deref().unwrap_or_else(|| cx.get("from")));
        let mut fields = vec![
            ("AccountSid", cx.get("account_sid")),
            ("ApiVersion", "2010-04-01"),
            ("MessageSid", &sid),
            ("SmsSid", &sid),
            ("SmsMessageSid", &sid),
            ("SmsStatus", "received"),
            ("From", &from),
            ("To", &to),
            ("Body", &written.text),
            ("NumSegments", "1"),
            ("NumMedia", if written.media.is_some() { "1" } else { "0" }),
        ];
        if let Some(media) = &written.media {
            fields.extend([("MediaUrl0", media.url.as_str()), ("MediaContentType0", &media.content_type)]);
        }
        let place = written.location.as_ref().map(|at| (at.latitude.to_string(), at.longitude.to_string()));
        if let Some((latitude, longitude)) = &place {
            fields.extend([("Latitude", latitude.as_str()), ("Longitude", longitude)]);
        }
        if let Some(button) = &written.button {
            fields.extend([("ButtonPayload", button.as_str()), ("ButtonText", &written.text), ("ButtonType", "REPLY")]);
        }
        if let Some(answered) = &written.in_reply_to {
            fields.push(("OriginalRepliedMessageSid", answered));
        }
        Some(signed(cx, url, &fields))
    }
}

/// A signed form. The fragment of a URL holds settings for Twilio and is not sent.
fn signed(cx: &Cx<'_>, url: String, fields: &[(&str, &str)]) -> HttpCall {
    let owned: Vec<_> = fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let signature = sign::twilio(cx.get("auth_token"), &url, &owned);
    HttpCall::new(Method::Post, url)
        .body("application/x-www-form-urlencoded", form(fields))
        .header("x-twilio-signature", signature)
}

/// The word for a stage; `None` where there is no callback. The events of calls are others than the statuses of messages.
fn word(message: &Message, stage: Stage) -> Option<&'static str> {
    let is_call = message.channel == "voice";
    Some(match stage {
        Stage::Sent if is_call => "initiated",
        Stage::Sent => "sent",
        Stage::Ringing => "ringing",
        Stage::Answered => "in-progress",
        Stage::Delivered if is_call => "completed",
        Stage::Delivered => "delivered",
        Stage::Read => "read",
        Stage::Failed if is_call => "no-answer",
        Stage::Failed | Stage::OptedOut => "undelivered",
        _ => return None,
    })
}

/// The checks every recipient goes through.
fn check_to(cx: &mut Cx<'_>, to: &str) -> Result<(), Reply> {
    let number = to.trim_start_matches("whatsapp:");
    let is_number = number
        .strip_prefix('+')
        .is_some_and(|digits| (8..=15).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit()));
    match cx.fate(to) {
        _ if !is_number => Err(error(400, 21211, &format!("Invalid 'To' Phone Number: {to}"))),
        Fate::Refused => Err(error(400, 21211, &format!("Invalid 'To' Phone Number: {to}"))),
        Fate::OptedOut => Err(error(400, 21610, "Attempt to send to unsubscribed recipient")),
        Fate::Throttled => Err(Twilio.throttled(None)),
        _ => Ok(()),
    }
}

/// The account's number. <https://www.twilio.com/docs/phone-numbers/api/incomingphonenumber-resource>
fn number(cx: &Cx<'_>, sms_url: &str) -> Value {
    json!({
        "sid": NUMBER, "account_sid": cx.get("account_sid"), "phone_number": cx.get("from"), "sms_url": sms_url, "sms_method": "POST",
        "capabilities": {"sms": true, "mms": true, "voice": true},
    })
}

fn send(cx: &mut Cx<'_>, fields: &Fields) -> Result<Reply, Reply> {
    let (to, text) = (fields.get("To"), fields.get("Body"));
    let media = fields.all("MediaUrl");
    let content = fields.get("ContentSid");
    let service = fields.get("MessagingServiceSid");
    let from = fields.get("From");
    if to.is_empty() {
        return Err(error(400, 21604, "A 'To' phone number is required"));
    }
    if from.is_empty() && service.is_empty() {
        return Err(error(400, 21603, "A 'From' phone number is required"));
    }
    if text.is_empty() && media.is_empty() && content.is_empty() && fields.get("PersistentAction").is_empty() {
        return Err(error(400, 21602, "Message body is required"));
    }
    if text.chars().count() > BODY_MAX {
        return Err(error(400, 21617, "The concatenated message body exceeds the 1600 character limit"));
    }
    if media.len() > MEDIA_MAX || media.iter().any(|url| !url.starts_with("http")) {
        return Err(error(400, 21620, "Invalid media URL(s)"));
    }
    let variables = fields.get("ContentVariables");
    if !variables.is_empty() && serde_json::from_str::<Value>(variables).map_or(true, |given| !given.is_object()) {
        return Err(error(400, 21656, "The ContentVariables parameter is invalid"));
    }
    let is_whatsapp = to.starts_with("whatsapp:");
    if !from.is_empty() && from.starts_with("whatsapp:") != is_whatsapp {
        return Err(error(400, 21910, "Invalid From and To pair. From and To should be of the same channel"));
    }
    check_to(cx, to)?;
    let place = fields.get("PersistentAction").strip_prefix("geo:");
    let parts = media.iter().map(|url| format!("media {url}"));
    let parts = parts.chain(place.map(|place| format!("location {place}")));
    let parts = parts.chain((!content.is_empty()).then(|| format!("template {content} {variables}").trim().to_owned()));
    let id = format!("{}{}", if media.is_empty() { "SM" } else { "MM" }, cx.hex(32));
    let parts: Vec<String> = parts.collect();
    cx.take(Draft {
        id: id.clone(),
        channel: if is_whatsapp { "whatsapp" } else { "sms" },
        to: to.to_owned(),
        from: if from.is_empty() { service } else { from }.to_owned(),
        text: text.to_owned(),
        parts,
        callback_url: fields.some("StatusCallback"),
        more: json!({"service": service, "media": media.len()}),
        ..Draft::default()
    });
    Ok(taken(cx))
}

fn call(cx: &mut Cx<'_>, fields: &Fields) -> Result<Reply, Reply> {
    let (to, from, twiml) = (fields.get("To"), fields.get("From"), fields.get("Twiml"));
    if to.is_empty() {
        return Err(error(400, 21201, "No 'To' number is specified"));
    }
    if !from.starts_with('+') {
        return Err(error(400, 21210, "The source phone number provided is not yet verified for your account"));
    }
    if twiml.is_empty() && fields.get("Url").is_empty() && fields.get("ApplicationSid").is_empty() {
        return Err(error(400, 21205, "Url is not a valid URL"));
    }
    check_to(cx, to)?;
    let id = format!("CA{}", cx.hex(32));
    cx.take(Draft {
        id,
        channel: "voice",
        to: to.to_owned(),
        from: from.to_owned(),
        text: twiml.to_owned(),
        callback_url: fields.some("StatusCallback"),
        ..Draft::default()
    });
    Ok(taken(cx))
}

/// The answer to the message this request brought.
fn taken(cx: &Cx<'_>) -> Reply {
    cx.taken.last().map_or_else(|| Twilio.broken(500), |message| Reply::json(201, &resource(cx, message)))
}

/// A message or a call as it is by now.
fn resource(cx: &Cx<'_>, message: &Message) -> Value {
    let stage = message.stage(cx.now);
    let is_call = message.channel == "voice";
    let initial = if is_call || message.more["service"] == "" { "queued" } else { "accepted" };
    let status = word(message, stage).unwrap_or(initial);
    let code = match stage {
        Stage::Failed if !is_call => json!(30003),
        Stage::OptedOut => json!(21610),
        _ => Value::Null,
    };
    let mut resource = json!({
        "sid": message.id, "account_sid": cx.get("account_sid"), "api_version": "2010-04-01", "status": status, "direction": "outbound-api",
        "to": message.to, "from": message.from, "price": price(message, stage), "price_unit": "USD",
        "date_created": rfc2822(message.at), "date_updated": rfc2822(message.changed_at(cx.now)),
    });
    let more = if is_call {
        let began = dialled(message).filter(|at| *at <= cx.now);
        json!({
            "duration": (stage == Stage::Delivered).then_some(CALL_S), "start_time": began.map(rfc2822),
            "end_time": (stage >= Stage::Delivered).then(|| rfc2822(message.changed_at(cx.now))), "answered_by": null,
        })
    } else {
        json!({
            "body": message.text, "num_segments": "1", "num_media": message.more["media"].to_string(), "error_code": code, "error_message": null,
            "date_sent": (stage > Stage::Taken).then(|| rfc2822(message.at)), "messaging_service_sid": message.more["service"],
        })
    };
    if let (Some(resource), Some(more)) = (resource.as_object_mut(), more.as_object()) {
        resource.extend(more.clone());
    }
    resource
}

/// What it takes from the balance: for a message said some time after it left, for a call once it was heard to its end.
fn price(message: &Message, stage: Stage) -> Value {
    match message.channel {
        "voice" if stage == Stage::Delivered => "-0.01400".into(),
        "voice" => Value::Null,
        _ if stage > Stage::Taken => "-0.00750".into(),
        _ => Value::Null,
    }
}

/// When a call was dialled.
fn dialled(call: &Message) -> Option<Timestamp> {
    call.steps.iter().find(|(_, stage)| *stage > Stage::Taken).map(|(at, _)| *at)
}

/// A page of messages or calls to a number, the newest first.
fn list(cx: &Cx<'_>, asked: &Fields, name: &str) -> Reply {
    let (to, from) = (asked.get("To"), asked.get("From"));
    let is_calls = name == "calls";
    let (after, before) = if is_calls { ("StartTime>", "StartTime<") } else { ("DateSent>", "DateSent<") };
    let (since, until) = (asked.get(after), asked.get(before));
    let is_wanted = |message: &&Message| {
        // A call that was not dialled yet has no time to be asked by.
        let at = if is_calls { dialled(message).filter(|at| *at <= cx.now) } else { Some(message.at) };
        let day = at.map(|at| written(at, "%Y-%m-%d"));
        (message.channel == "voice") == is_calls
            && (to.is_empty() || message.to == to)
            && (from.is_empty() || message.from == from)
            && (since.is_empty() || day.as_deref().is_some_and(|day| day >= since))
            // Messages of the last day are in the list, calls end before it.
            && (until.is_empty() || day.as_deref().is_some_and(|day| day < until || (!is_calls && day == until)))
    };
    let size = asked.get("PageSize").parse().unwrap_or(50).clamp(1, PAGE_MAX);
    let number: usize = asked.get("Page").parse().unwrap_or(0);
    let all: Vec<Value> = cx.known().filter(is_wanted).map(|message| resource(cx, message)).collect();
    let (found, next) = page(all, number.saturating_mul(size), size);
    let next = next.map(|_| {
        let query = form(&[
            (after, since),
            (before, until),
            ("PageSize", &size.to_string()),
            ("Page", &(number + 1).to_string()),
            ("PageToken", "PA1"),
        ]);
        let resource = if is_calls { "Calls" } else { "Messages" };
        format!("/2010-04-01/Accounts/{}/{resource}.json?{query}", cx.get("account_sid"))
    });
    Reply::json(200, &json!({ name: found, "page": number, "page_size": size, "next_page_uri": next }))
}
