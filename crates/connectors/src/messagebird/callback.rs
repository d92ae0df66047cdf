//! The provider's requests to us: reports and messages of classic SMS (parameters), of Conversations and of Bird (JSON).
//!
//! Classic requests carry a token over their URL and body, Bird's a signature over time, URL and body; both cover the public URL as the provider
//! knows it, so that is rebuilt from configuration. <https://developers.messagebird.com/api/#verifying-http-requests>

use aws_lc_rs::{digest, hmac};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use model::{Address, Answer, Channel, Fact, Failure, FailureKind, Location, Money, Phone, Secret, Timestamp};
use serde_json::Value;
use url::form_urlencoded;

use super::{Api, MessageBird, NAME, Settings, conversations, errors};
use crate::{
    Cx, Inbound, InboundMedia, InboundMessage, Observed, Reply, Report, Request, Verdict, decimal, hook, jwt,
    read::{self, text},
};

/// Who makes the tokens.
const ISSUER: &str = "MessageBird";
/// How far the provider's clock may be from ours for a token, in seconds, as in its own libraries.
const LEEWAY_S: i64 = 1;
/// How old one of Bird's requests may be, in seconds. Bird names no limit; this is ours.
const AGE_MAX_S: i64 = 300;

impl Inbound for MessageBird {
    fn path(&self, cx: &Cx<'_>) -> String {
        Settings::read(cx.settings).map_or(String::new(), |settings| path(cx, &settings))
    }

    fn verify(&self, cx: &Cx<'_>, request: &Request<'_>, _fetched: Option<&Answer>) -> Verdict {
        match checked(cx, request) {
            Ok(()) => Verdict::Valid,
            Err(reason) => Verdict::Invalid(reason),
        }
    }

    fn read(&self, cx: &Cx<'_>, request: &Request<'_>) -> Result<Vec<Observed>, Failure> {
        let is_bird = Settings::read(cx.settings)?.api == Api::Bird;
        let is_json = request.header("content-type").is_some_and(|kind| kind.starts_with("application/json"));
        if !is_bird && !is_json {
            return sms(&params(request)).map(|observed| observed.into_iter().collect());
        }
        let body: Value = serde_json::from_slice(request.body).map_err(|_| read::bad_callback(NAME))?;
        let observed = if is_bird { event(&body)? } else { conversation(&body)? };
        Ok(observed.into_iter().collect())
    }

    fn reply(&self, _cx: &Cx<'_>, _request: &Request<'_>) -> Reply {
        Reply { status: 200, body: Some(("text/plain", "OK".to_owned())) }
    }
}

/// What follows the callback URL: a secret where reports come unsigned.
pub(super) fn path(cx: &Cx<'_>, settings: &Settings) -> String {
    match settings.api == Api::Classic && !settings.signed_reports {
        true => format!("/{}", hook::token(cx, &settings.access_key, "messagebird reports")),
        false => String::new(),
    }
}

fn checked(cx: &Cx<'_>, request: &Request<'_>) -> Result<(), String> {
    let settings =
        Settings::read(cx.settings).map_err(|bad| format!("the account's settings cannot be read: {bad}"))?;
    let url = hook::url(cx, request);
    let key = || settings.signing_key.as_ref().ok_or("the account has no signing key; set `signing_key`");
    if settings.api == Api::Bird {
        return Ok(by_signature(request, &url, key()?, cx.now)?);
    }
    match request.header("messagebird-signature-jwt") {
        Some(token) => Ok(by_token(token, &url, request.body, key()?, cx.now)?),
        None if !settings.signed_reports && is_report(request) => {
            let secret = path(cx, &settings);
            match hook::has_token(request, secret.trim_start_matches('/')) {
                true => Ok(()),
                false => Err("the address does not end in the account's secret".to_owned()),
            }
        }
        None => Err("the request has no MessageBird-Signature-JWT header".to_owned()),
    }
}

/// True for a delivery report, the only kind that may come unsigned. It can move a message of ours, by ids nobody outside knows, and no more.
fn is_report(request: &Request<'_>) -> bool {
    let params = params(request);
    let has = |name: &str| params.iter().any(|(known, _)| known == name);
    request.method == "GET" && has("status") && has("reference") && !has("body") && !has("message")
}

fn by_token(token: &str, url: &str, body: &[u8], key: &Secret, now: Timestamp) -> Result<(), &'static str> {
    let claims = jwt::verified(token.trim(), &["HS256", "HS384", "HS512"], key)?;
    if jwt::text(&claims, "iss") != ISSUER {
        return Err("the token was not made by MessageBird");
    }
    let now_s = now.as_seconds();
    let (from, until) = (jwt::seconds(&claims, "nbf"), jwt::seconds(&claims, "exp"));
    let (Some(from), Some(until)) = (from, until) else {
        return Err("the token names no time");
    };
    if now_s < from.saturating_sub(LEEWAY_S) || now_s >= until.saturating_add(LEEWAY_S) {
        return Err("the token is not valid at this time");
    }
    if !hook::is_same(jwt::text(&claims, "url_hash"), &sha256(url.as_bytes())) {
        return Err("the token is about another URL: check the public URL");
    }
    let wanted = if body.is_empty() { String::new() } else { sha256(body) };
    match hook::is_same(jwt::text(&claims, "payload_hash"), &wanted) {
        true => Ok(()),
        false => Err("the token is about another body"),
    }
}

fn by_signature(request: &Request<'_>, url: &str, key: &Secret, now: Timestamp) -> Result<(), &'static str> {
    let signature = request.header("messagebird-signature").ok_or("the request has no messagebird-signature header")?;
    let signature = STANDARD.decode(signature.trim()).map_err(|_| "the signature is not base64")?;
    let time = request.header("messagebird-request-timestamp").unwrap_or_default().trim();
    let at: i64 = time.parse().map_err(|_| "the request names no time")?;
    if !(-AGE_MAX_S..=AGE_MAX_S).contains(&now.as_seconds().saturating_sub(at)) {
        return Err("the request's time is more than five minutes from our clock");
    }
    let mut signed = format!("{time}\n{url}\n").into_bytes();
    signed.extend_from_slice(digest::digest(&digest::SHA256, request.body).as_ref());
    let key = hmac::Key::new(hmac::HMAC_SHA256, key.reveal().as_bytes());
    hmac::verify(&key, &signed, &signature)
        .map_err(|_| "the signature does not match: check the signing key and the public URL")
}

fn sha256(bytes: &[u8]) -> String {
    hook::hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

type Params = Vec<(String, String)>;

fn params(request: &Request<'_>) -> Params {
    let given = if request.method == "GET" { request.query.as_bytes() } else { request.body };
    form_urlencoded::parse(given).into_owned().collect()
}

/// Classic SMS: a report has a status, a message has words. Messages to short codes name their fields otherwise.
fn sms(params: &Params) -> Result<Option<Observed>, Failure> {
    let get = |names: &[&str]| {
        let find = |name: &&str| params.iter().find(|(known, value)| known == *name && !value.is_empty());
        names.iter().find_map(find).map(|(_, value)| value.as_str())
    };
    let Some(id) = get(&["id", "mid"]) else { return Ok(None) };
    if let Some(status) = get(&["status"]) {
        let code = get(&["statusErrorCode"]).and_then(|code| code.parse().ok());
        let Some(fact) = errors::sms_status(status, code, get(&["statusReason"]).unwrap_or_default()) else {
            return Ok(None);
        };
        let price = || {
            let amount_micros = decimal::micros(get(&["price[amount]"])?)?;
            Some(Money { amount_micros, currency: get(&["price[currency]"])?.to_ascii_uppercase() })
        };
        return Ok(Some(Observed::Status(Report {
            attempt_id: get(&["reference"]).and_then(|echo| echo.parse().ok()),
            at: get(&["statusDatetime"]).and_then(|at| at.parse().ok()),
            segments: get(&["messagePartCount"]).and_then(|count| count.parse().ok()).filter(|count| *count > 0),
            price: price(),
            ..Report::new(id, status, fact)
        })));
    }
    let Some(from) = get(&["originator"]) else { return Ok(None) };
    Ok(Some(Observed::Message(InboundMessage {
        at: get(&["createdDatetime", "receive_datetime"]).and_then(|at| at.parse().ok()),
        text: get(&["body", "message"]).unwrap_or_default().to_owned(),
        ..written(id, Channel::Sms, phone(from)?, ours(get(&["recipient", "shortcode"]).unwrap_or_default()))
    })))
}

/// A message with nothing in it yet.
fn written(id: &str, channel: Channel, from: Address, to: String) -> InboundMessage {
    InboundMessage {
        provider_message_id: id.to_owned(),
        channel,
        from,
        from_name: None,
        to,
        text: String::new(),
        media: Vec::new(),
        location: None,
        button: None,
        in_reply_to: None,
        keyword: None,
        mail: None,
        at: None,
    }
}

/// Conversations: `{type: message.created | message.updated, message, contact}`; reports to a message's own URL may hold the message alone.
fn conversation(body: &Value) -> Result<Option<Observed>, Failure> {
    let message = body.get("message").filter(|message| message.is_object()).unwrap_or(body);
    let Some(id) = text(message, "/id") else { return Ok(None) };
    if text(message, "/direction") != Some("received") {
        let report = |fact| Report {
            at: text(message, "/updatedDatetime").and_then(|at| at.parse().ok()),
            ..Report::new(id, text(message, "/status").unwrap_or_default(), fact)
        };
        return Ok(conversations::fact(message).map(|fact| Observed::Status(report(fact))));
    }
    let is_whatsapp = text(message, "/platform").is_none_or(|platform| platform.starts_with("whatsapp"));
    if !is_whatsapp || text(body, "/type") == Some("message.updated") {
        return Ok(None);
    }
    let from = text(message, "/from").or(text(body, "/contact/msisdn"));
    let from = from.map(str::to_owned).or_else(|| body["contact"]["msisdn"].as_u64().map(|number| number.to_string()));
    let kind = text(message, "/type").unwrap_or_default();
    let content = &message["content"];
    Ok(Some(Observed::Message(InboundMessage {
        from_name: text(body, "/contact/displayName").map(str::to_owned),
        text: text(content, "/text").or(text(&content[kind], "/caption")).unwrap_or_default().to_owned(),
        media: text(&content[kind], "/url").map(|url| file(url, None)).into_iter().collect(),
        location: place(&content["location"]),
        at: text(message, "/createdDatetime").and_then(|at| at.parse().ok()),
        ..written(
            id,
            Channel::Whatsapp,
            phone(&from.unwrap_or_default())?,
            ours(text(message, "/to").unwrap_or_default()),
        )
    })))
}

/// Bird: `{service, event: sms.outbound | whatsapp.inbound | whatsapp.interaction …, payload}`.
fn event(body: &Value) -> Result<Option<Observed>, Failure> {
    let Some((platform, what)) = text(body, "/event").and_then(|event| event.split_once('.')) else { return Ok(None) };
    let channel = match platform {
        "sms" => Channel::Sms,
        "whatsapp" => Channel::Whatsapp,
        _ => return Ok(None),
    };
    let payload = &body["payload"];
    match what {
        "outbound" => Ok(outbound(payload).map(Observed::Status)),
        "interaction" => Ok(interaction(payload).map(Observed::Status)),
        "inbound" => inbound(payload, channel).map(Observed::Message).map(Some),
        _ => Ok(None),
    }
}

fn outbound(payload: &Value) -> Option<Report> {
    let fact = errors::bird_status(payload)?;
    Some(Report {
        attempt_id: text(payload, "/reference").and_then(|echo| echo.parse().ok()),
        at: text(payload, "/lastStatusAt").and_then(|at| at.parse().ok()),
        ..Report::new(text(payload, "/id")?, text(payload, "/status")?, fact)
    })
}

/// Both words mean that somebody saw the message.
fn interaction(payload: &Value) -> Option<Report> {
    let word = text(payload, "/type").or(text(payload, "/status"))?;
    let id = text(payload, "/messageId").or(text(payload, "/id"))?;
    matches!(word, "read" | "opened").then(|| Report {
        attempt_id: text(payload, "/reference").and_then(|echo| echo.parse().ok()),
        at: text(payload, "/createdAt").and_then(|at| at.parse().ok()),
        ..Report::new(id, word, Fact::Read)
    })
}

fn inbound(payload: &Value, channel: Channel) -> Result<InboundMessage, Failure> {
    let id = text(payload, "/id").ok_or_else(|| read::bad_callback(NAME))?;
    let body = &payload["body"];
    let kind = text(body, "/type").unwrap_or_default();
    let said = &body[kind];
    let to = text(payload, "/receiver/connectors/0/identifierValue").or(text(payload, "/channelId"));
    let files = ["images", "files"].iter().find_map(|name| said[*name].as_array());
    let one = |entry: &Value| {
        let mut file = file(text(entry, "/mediaUrl")?, text(entry, "/contentType"));
        file.filename = text(entry, "/filename").map(str::to_owned);
        Some(file)
    };
    Ok(InboundMessage {
        from_name: text(payload, "/sender/contact/annotations/name").map(str::to_owned),
        text: text(said, "/text").unwrap_or_default().to_owned(),
        media: files.map(|files| files.iter().filter_map(one).collect()).unwrap_or_default(),
        location: place(&said["coordinates"]),
        in_reply_to: text(payload, "/replyTo/id").map(str::to_owned),
        at: text(payload, "/createdAt").and_then(|at| at.parse().ok()),
        ..written(
            id,
            channel,
            phone(text(payload, "/sender/contact/identifierValue").unwrap_or_default())?,
            ours(to.unwrap_or_default()),
        )
    })
}

fn file(url: &str, content_type: Option<&str>) -> InboundMedia {
    InboundMedia { content_type: content_type.map(str::to_owned), reference: url.to_owned(), filename: None }
}

fn place(point: &Value) -> Option<Location> {
    let degrees = |name: &str, most: f64| point[name].as_f64().filter(|value| value.abs() <= most);
    Some(Location {
        latitude: degrees("latitude", 90.0)?,
        longitude: degrees("longitude", 180.0)?,
        name: None,
        address: None,
    })
}

/// Numbers come with and without a plus. A sender that is no number (a name, a short code, WhatsApp's private ids) cannot be answered.
fn phone(number: &str) -> Result<Address, Failure> {
    let phone: Phone = format!("+{}", number.trim_start_matches('+')).parse().map_err(|_| {
        let detail =
            format!("An incoming message comes from {number}, which is not a phone number; it was not stored.");
        Failure::new(FailureKind::Recipient, "unreadable_sender", detail)
    })?;
    Ok(Address::Phone(phone))
}

/// The tenant's sender as they wrote it: numbers with a plus, short codes and channels as they are.
fn ours(sender: &str) -> String {
    phone(sender).map_or(sender.to_owned(), |address| address.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_700_000_010;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    fn bend(text: &str, index: usize) -> String {
        let mut bytes = text.as_bytes().to_vec();
        bytes[index] = if bytes[index] == b'A' { b'B' } else { b'A' };
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn tokens_made_by_messagebirds_library() {
        let vectors: Value = serde_json::from_str(include_str!("../../tests/data/messagebird_jwt.json")).unwrap();
        let key = Secret::new(vectors["signing_key"].as_str().unwrap());
        let is_valid =
            |token: &str, url: &str, body: &str, now| by_token(token, url, body.as_bytes(), &key, at(now)).is_ok();
        let cases = vectors["cases"].as_array().unwrap();
        assert_eq!(cases.len(), 5);
        for case in cases {
            let of = |name: &str| case[name].as_str().unwrap();
            // The token that is too old for its case ran out five minutes after it was made.
            let now = if of("name") == "expired" { NOW + 600 } else { NOW };
            assert_eq!(is_valid(of("header"), of("url"), of("raw_body"), now), case["valid"] == true, "{}", of("name"));
        }
        let of = |name: &str| cases[0][name].as_str().unwrap();
        let (token, url, body) = (of("header"), of("url"), of("raw_body"));
        assert!(is_valid(token, url, body, 1_699_999_999) && !is_valid(token, url, body, 1_699_999_998));
        assert!(!is_valid(token, url, "", NOW) && !is_valid(token, "", body, NOW));
        for index in 0..token.len() - 1 {
            assert!(!is_valid(&bend(token, index), url, body, NOW), "{index}");
        }
        for index in 0..url.len() {
            assert!(!is_valid(token, &bend(url, index), body, NOW), "{index}");
        }
        for index in 0..body.len() {
            assert!(!is_valid(token, url, &bend(body, index), NOW), "{index}");
        }
        assert!(
            by_token(token, url, body.as_bytes(), &Secret::new("mb_signing_key_0123456789abcdef02"), at(NOW)).is_err()
        );
    }

    #[test]
    fn signatures_as_bird_documents_them() {
        let vectors: Value = serde_json::from_str(include_str!("../../tests/data/bird_webhook.json")).unwrap();
        let key = Secret::new(vectors["signing_key"].as_str().unwrap());
        let is_valid = |signature: &str, time: &str, url: &str, body: &str, now| {
            let headers = [
                ("messagebird-signature".to_owned(), signature.to_owned()),
                ("messagebird-request-timestamp".to_owned(), time.to_owned()),
            ];
            let request = Request { method: "POST", path: "", query: "", headers: &headers, body: body.as_bytes() };
            by_signature(&request, url, &key, at(now)).is_ok()
        };
        let cases = vectors["cases"].as_array().unwrap();
        assert_eq!(cases.len(), 3);
        for case in cases {
            let of = |name: &str| case[name].as_str().unwrap();
            let given = is_valid(of("signature"), of("timestamp"), of("url"), of("raw_body"), NOW);
            assert_eq!(given, case["valid"] == true, "{}", of("name"));
        }
        let of = |name: &str| cases[0][name].as_str().unwrap();
        let (signature, time, url, body) = (of("signature"), of("timestamp"), of("url"), of("raw_body"));
        assert!(is_valid(signature, time, url, body, 1_700_000_300));
        assert!(!is_valid(signature, time, url, body, 1_700_000_301));
        assert!(!is_valid(signature, time, url, body, 1_699_999_699));
        for index in 0..signature.len() - 2 {
            assert!(!is_valid(&bend(signature, index), time, url, body, NOW), "{index}");
        }
        for index in 0..body.len() {
            assert!(!is_valid(signature, time, url, &bend(body, index), NOW), "{index}");
        }
        assert!(!is_valid("", time, url, body, NOW) && !is_valid("?", time, url, body, NOW));
        assert!(!is_valid(signature, "", url, body, NOW));
    }
}
