//! Vonage's requests to us. The Messages and Voice APIs send JSON with a token over it; the SMS API sends parameters (in the query, as a form or as
//! JSON, as the account is set) with a signature over them. Which of the two a request is decides both how it is checked and what of it is read.
//! <https://developer.vonage.com/en/getting-started/concepts/webhooks#decoding-signed-webhooks>

use aws_lc_rs::digest;
use model::{Address, Answer, Channel, Fact, Failure, FailureKind, Location, Money, Phone, Secret, Timestamp};
use serde_json::Value;
use url::form_urlencoded;

use super::{Settings, Vonage, errors, signature, voice};
use crate::{
    Cx, Inbound, InboundMedia, InboundMessage, Observed, Report, Request, Verdict, decimal, hook, jwt,
    read::{self, text},
    whatsapp::envelope,
};

/// How far a token's time may be from ours, in seconds. Vonage's own libraries allow five minutes.
const AGE_MAX_S: i64 = 300;
/// Who makes the tokens.
const ISSUER: &str = "Vonage";

type Params = Vec<(String, String)>;

impl Inbound for Vonage {
    fn verify(&self, cx: &Cx<'_>, request: &Request<'_>, _fetched: Option<&Answer>) -> Verdict {
        match checked(cx, request) {
            Ok(()) => Verdict::Valid,
            Err(reason) => Verdict::Invalid(reason),
        }
    }

    fn read(&self, _cx: &Cx<'_>, request: &Request<'_>) -> Result<Vec<Observed>, Failure> {
        if bearer(request).is_none() {
            let params = params(request).ok_or_else(|| read::bad_callback("Vonage"))?;
            return sms(&params).map(|observed| observed.into_iter().collect());
        }
        let body: Value = serde_json::from_slice(request.body).map_err(|_| read::bad_callback("Vonage"))?;
        let observed = if body.get("message_uuid").is_some() {
            message(&body)?
        } else {
            voice::event(&body).map(|report| Report { attempt_id: echo(request.query), ..report }).map(Observed::Status)
        };
        Ok(observed.into_iter().collect())
    }
}

fn checked(cx: &Cx<'_>, request: &Request<'_>) -> Result<(), String> {
    let settings =
        Settings::read(cx.settings).map_err(|bad| format!("the account's settings cannot be read: {bad}"))?;
    let secret =
        settings.signature_secret.as_ref().ok_or("the account has no signature secret; set `signature_secret`")?;
    match bearer(request) {
        Some(token) => by_token(token, request.body, &settings.api_key, secret, cx.now)?,
        None => {
            let params = params(request).ok_or("the request has neither a token nor parameters")?;
            signature::check(&params, settings.signature_method, secret, cx.now)?;
            let is_ours = params.iter().all(|(name, value)| name != "api-key" || *value == settings.api_key);
            if !is_ours {
                return Err("the request is about another API key".to_owned());
            }
        }
    }
    Ok(())
}

fn bearer<'a>(request: &Request<'a>) -> Option<&'a str> {
    let headers: &'a [(String, String)] = request.headers;
    let (_, value) = headers.iter().find(|(name, _)| name == "authorization")?;
    value.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, token)| token.trim())
}

fn by_token(token: &str, body: &[u8], api_key: &str, secret: &Secret, now: Timestamp) -> Result<(), &'static str> {
    let claims = jwt::verified(token, &["HS256"], secret)?;
    if jwt::text(&claims, "iss") != ISSUER {
        return Err("the token was not made by Vonage");
    }
    if jwt::text(&claims, "api_key") != api_key {
        return Err("the token is about another API key");
    }
    let iat = jwt::seconds(&claims, "iat").ok_or("the token names no time")?;
    if !(-AGE_MAX_S..=AGE_MAX_S).contains(&now.as_seconds().saturating_sub(iat)) {
        return Err("the token's time is more than five minutes from our clock");
    }
    let hash = hook::hex(digest::digest(&digest::SHA256, body).as_ref());
    match hook::is_same(&jwt::text(&claims, "payload_hash").to_ascii_lowercase(), &hash) {
        true => Ok(()),
        false => Err("the token is about another body"),
    }
}

/// The parameters of the SMS API's request; `None` when its body is neither a form nor a JSON object of plain values.
fn params(request: &Request<'_>) -> Option<Params> {
    if request.method == "GET" {
        return Some(form_urlencoded::parse(request.query.as_bytes()).into_owned().collect());
    }
    if !request.header("content-type").is_some_and(|kind| kind.starts_with("application/json")) {
        return Some(form_urlencoded::parse(request.body).into_owned().collect());
    }
    let body: Value = serde_json::from_slice(request.body).ok()?;
    let plain = |(name, value): (&String, &Value)| match value {
        Value::String(text) => Some((name.clone(), text.clone())),
        Value::Number(number) => Some((name.clone(), number.to_string())),
        Value::Bool(flag) => Some((name.clone(), flag.to_string())),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    };
    body.as_object()?.iter().map(plain).collect()
}

/// Our echo in the query of a call's event URL. It is not part of what the token covers, but the token covers the call's id.
fn echo(query: &str) -> Option<model::AttemptId> {
    form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "attempt")?.1.parse().ok()
}

/// A request of the SMS API: a receipt, or a message. What has no number is neither.
fn sms(params: &Params) -> Result<Option<Observed>, Failure> {
    let get = |name: &str| {
        params.iter().find(|(known, value)| known == name && !value.is_empty()).map(|(_, value)| value.as_str())
    };
    let (Some(number), Some(id)) = (get("msisdn"), get("messageId")) else { return Ok(None) };
    let at = get("message-timestamp").and_then(|at| format!("{}Z", at.replace(' ', "T")).parse().ok());
    if let Some(status) = get("status") {
        let fact = match status {
            // `unknown` says that the carrier will say nothing more: the message stays sent.
            "accepted" | "buffered" | "unknown" => Fact::Sent,
            "delivered" => Fact::Delivered,
            "expired" | "failed" | "rejected" => {
                let code = get("err-code").and_then(|code| code.parse().ok());
                Fact::Failed { failure: errors::receipt(code, status) }
            }
            _ => return Ok(None),
        };
        let attempt_id = get("client-ref").and_then(|echo| echo.parse().ok());
        return Ok(Some(Observed::Status(Report { attempt_id, at, ..Report::new(id, status, fact) })));
    }
    Ok(Some(Observed::Message(InboundMessage {
        provider_message_id: id.to_owned(),
        channel: Channel::Sms,
        from: phone(number)?,
        from_name: None,
        to: ours(get("to").unwrap_or_default()),
        text: get("text").unwrap_or_default().to_owned(),
        media: Vec::new(),
        location: None,
        button: None,
        in_reply_to: None,
        keyword: None,
        mail: None,
        at,
    })))
}

/// A request of the Messages API: a status, or a message.
fn message(body: &Value) -> Result<Option<Observed>, Failure> {
    let id = text(body, "/message_uuid").ok_or_else(|| read::bad_callback("Vonage"))?;
    let at = text(body, "/timestamp").and_then(|at| at.parse().ok());
    if let Some(status) = text(body, "/status") {
        let fact = match status {
            "submitted" => Fact::Sent,
            "delivered" => Fact::Delivered,
            "read" => Fact::Read,
            "rejected" | "undeliverable" => Fact::Failed { failure: errors::reported(&body["error"], status) },
            _ => return Ok(None),
        };
        return Ok(Some(Observed::Status(Report {
            attempt_id: text(body, "/client_ref").and_then(|echo| echo.parse().ok()),
            at,
            segments: count(&body["sms"]["count_total"]),
            price: price(&body["usage"]),
            pricing: envelope::pricing(&body["whatsapp"]["pricing"]),
            ..Report::new(id, status, fact)
        })));
    }
    let channel = match text(body, "/channel") {
        Some("sms" | "mms") => Channel::Sms,
        Some("whatsapp") => Channel::Whatsapp,
        // Messenger, Viber and RCS are no channels of ours.
        _ => return Ok(None),
    };
    let kind = text(body, "/message_type").unwrap_or_default();
    if kind == "reaction" {
        return Ok(None);
    }
    let (words, button) = words(body, kind);
    Ok(Some(Observed::Message(InboundMessage {
        provider_message_id: id.to_owned(),
        channel,
        from: phone(text(body, "/from").unwrap_or_default())?,
        from_name: text(body, "/profile/name").map(str::to_owned),
        to: ours(text(body, "/to").unwrap_or_default()),
        text: words.to_owned(),
        media: media(body, kind).into_iter().collect(),
        location: location(&body["location"]),
        button: button.map(str::to_owned),
        in_reply_to: text(body, "/context/message_uuid").map(str::to_owned),
        keyword: None,
        mail: None,
        at,
    })))
}

/// What was written or pressed, and the data behind what was pressed.
fn words<'a>(body: &'a Value, kind: &str) -> (&'a str, Option<&'a str>) {
    let at = |pointer: &str| text(body, pointer);
    match kind {
        "reply" => (at("/reply/title").unwrap_or_default(), at("/reply/id")),
        "button" => (at("/button/text").unwrap_or_default(), at("/button/payload").or(at("/button/text"))),
        "text" => (at("/text").unwrap_or_default(), None),
        _ => (at(&format!("/{kind}/caption")).unwrap_or_default(), None),
    }
}

fn media(body: &Value, kind: &str) -> Option<InboundMedia> {
    if !matches!(kind, "image" | "audio" | "video" | "file" | "vcard" | "sticker") {
        return None;
    }
    Some(InboundMedia {
        content_type: None,
        reference: text(&body[kind], "/url")?.to_owned(),
        filename: text(&body[kind], "/name").map(str::to_owned),
    })
}

/// The field names of a place are from memory: both spellings in use are read.
fn location(place: &Value) -> Option<Location> {
    let degrees = |names: [&str; 2], most: f64| {
        names.iter().find_map(|name| place[*name].as_f64()).filter(|value| value.abs() <= most)
    };
    Some(Location {
        latitude: degrees(["lat", "latitude"], 90.0)?,
        longitude: degrees(["long", "longitude"], 180.0)?,
        name: text(place, "/name").map(str::to_owned),
        address: text(place, "/address").map(str::to_owned),
    })
}

/// Numbers come without a plus. A sender that is no number, such as a short code, cannot be answered over our channels.
fn phone(number: &str) -> Result<Address, Failure> {
    let phone: Phone = format!("+{}", number.trim_start_matches('+')).parse().map_err(|_| {
        let detail =
            format!("An incoming message comes from {number}, which is not a phone number; it was not stored.");
        Failure::new(FailureKind::Recipient, "unreadable_sender", detail)
    })?;
    Ok(Address::Phone(phone))
}

/// The tenant's sender as they wrote it: numbers with a plus, short codes and names as they are.
fn ours(sender: &str) -> String {
    phone(sender).map_or(sender.to_owned(), |address| address.to_string())
}

fn count(value: &Value) -> Option<u32> {
    let count = value.as_u64().or_else(|| value.as_str()?.parse().ok())?;
    u32::try_from(count).ok().filter(|count| *count > 0)
}

fn price(usage: &Value) -> Option<Money> {
    let amount_micros = decimal::micros(text(usage, "/price")?)?;
    Some(Money { amount_micros, currency: text(usage, "/currency")?.to_ascii_uppercase() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vectors() -> Value {
        serde_json::from_str(include_str!("../../tests/data/vonage_jwt_webhook.json")).unwrap()
    }

    fn is_valid(authorization: Option<&str>, body: &str, api_key: &str, now: i64) -> bool {
        let secret = Secret::new(vectors()["signature_secret"].as_str().unwrap());
        let headers: Vec<_> =
            authorization.map(|value| ("authorization".to_owned(), value.to_owned())).into_iter().collect();
        let request = Request { method: "POST", path: "", query: "", headers: &headers, body: body.as_bytes() };
        bearer(&request).is_some_and(|token| {
            by_token(token, body.as_bytes(), api_key, &secret, Timestamp::from_seconds(now)).is_ok()
        })
    }

    #[test]
    fn tokens_made_by_vonages_library() {
        let vectors = vectors();
        let now = vectors["now_for_check"].as_i64().unwrap();
        let cases = vectors["cases"].as_array().unwrap();
        assert_eq!(cases.len(), 5);
        for case in cases {
            let given = is_valid(case["authorization"].as_str(), case["raw_body"].as_str().unwrap(), "abcd1234", now);
            assert_eq!(given, case["valid"].as_bool().unwrap(), "{}", case["name"]);
        }
    }

    #[test]
    fn one_byte_another_key_or_another_time_is_refused() {
        let good = vectors()["cases"][0].clone();
        let (token, body) = (good["authorization"].as_str().unwrap(), good["raw_body"].as_str().unwrap());
        let now = 1_700_000_010;
        assert!(is_valid(Some(token), body, "abcd1234", now));
        assert!(is_valid(Some(&token.replace("Bearer", "bearer")), body, "abcd1234", now));
        assert!(!is_valid(Some(token), body, "abcd1235", now));
        assert!(is_valid(Some(token), body, "abcd1234", 1_700_000_300));
        assert!(!is_valid(Some(token), body, "abcd1234", 1_700_000_301));
        assert!(!is_valid(Some(token), body, "abcd1234", 1_699_999_699));
        for index in 0..body.len() {
            let mut bent = body.as_bytes().to_vec();
            bent[index] ^= 1;
            assert!(!is_valid(Some(token), std::str::from_utf8(&bent).unwrap(), "abcd1234", now), "{index}");
        }
        // The last character of a part may hold bits that are not used, so the one before it is changed.
        for index in "Bearer ".len()..token.len() - 1 {
            let mut bent = token.as_bytes().to_vec();
            bent[index] = if bent[index] == b'A' { b'B' } else { b'A' };
            assert!(!is_valid(Some(std::str::from_utf8(&bent).unwrap()), body, "abcd1234", now), "{index}");
        }
        assert!(!is_valid(Some(token.trim_start_matches("Bearer ")), body, "abcd1234", now));
    }
}
