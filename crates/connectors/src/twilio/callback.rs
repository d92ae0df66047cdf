//! Twilio's requests to us: status reports of messages and calls we made, and messages people send to the tenant. All are forms and come to the
//! same URL, told apart by their ids and their status word.

use aws_lc_rs::{constant_time, digest, hmac};
use base64::Engine as _;
use model::{Address, AttemptId, Channel, Failure, FailureKind, Location, Phone};
use url::form_urlencoded;

use super::{Settings, Twilio, answer, sender::WHATSAPP, voice};
use crate::{
    Cx, Inbound, InboundMedia, InboundMessage, Keyword, Observed, Reply, Report, Request, Verdict, hook, read,
};

/// Most media in one incoming message (Twilio's own limit).
const MEDIA_MAX: usize = 10;

impl Inbound for Twilio {
    fn verify(&self, cx: &Cx<'_>, request: &Request<'_>, _fetched: Option<&model::Answer>) -> Verdict {
        let settings = match Settings::read(cx.settings) {
            Ok(settings) => settings,
            Err(bad) => return Verdict::Invalid(format!("the account's settings cannot be read: {bad}")),
        };
        match check(settings.auth_token.reveal(), &hook::url(cx, request), request) {
            Ok(()) => Verdict::Valid,
            Err(reason) => Verdict::Invalid(reason.to_owned()),
        }
    }

    fn read(&self, _cx: &Cx<'_>, request: &Request<'_>) -> Result<Vec<Observed>, Failure> {
        let form = Form::read(request);
        Ok(match form.kind() {
            Kind::Status(status) => report(&form, request, status).map(Observed::Status).into_iter().collect(),
            Kind::Call(status) => call(&form, request, status).map(Observed::Status).into_iter().collect(),
            Kind::Message => message(&form)?.map(Observed::Message).into_iter().collect(),
            Kind::Other => Vec::new(),
        })
    }

    fn reply(&self, _cx: &Cx<'_>, request: &Request<'_>) -> Reply {
        match Form::read(request).kind() {
            // Anything else in this answer would be taken as instructions (TwiML), such as a text to send back.
            Kind::Message => Reply { status: 200, body: Some(("text/xml", "<Response></Response>".to_owned())) },
            Kind::Status(_) | Kind::Call(_) | Kind::Other => Reply { status: 204, body: None },
        }
    }
}

/// Checks `X-Twilio-Signature` over the public URL as Twilio called it.
/// <https://www.twilio.com/docs/usage/security#validating-requests>
fn check(auth_token: &str, url: &str, request: &Request<'_>) -> Result<(), &'static str> {
    let given = request.header("x-twilio-signature").ok_or("the request has no X-Twilio-Signature header")?;
    let given = base64::engine::general_purpose::STANDARD
        .decode(given.trim())
        .map_err(|_| "the X-Twilio-Signature header is not base64")?;
    let appended = match signed_body(request) {
        SignedBody::Form => appended(request.body),
        SignedBody::Nothing => String::new(),
        SignedBody::Hash(expected) => {
            let actual = hook::hex(digest::digest(&digest::SHA256, request.body).as_ref());
            constant_time::verify_slices_are_equal(actual.as_bytes(), expected.as_bytes())
                .map_err(|_| "bodySHA256 is not the hash of the body")?;
            String::new()
        }
        SignedBody::Unprotected => return Err("the body is neither a form nor covered by bodySHA256"),
    };
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, auth_token.as_bytes());
    let is_signed = |url: &str| hmac::verify(&key, format!("{url}{appended}").as_bytes(), &given).is_ok();
    // Twilio signs some requests with the default port in the URL and some without; its own libraries accept both.
    let (with_port, without_port) = both_ports(url);
    if is_signed(&without_port) | is_signed(&with_port) {
        Ok(())
    } else {
        Err("the signature does not match: check the auth token and the public URL")
    }
}

enum SignedBody {
    /// The decoded form follows the URL.
    Form,
    /// There is no body.
    Nothing,
    /// The query, which is part of the URL, holds the body's SHA-256 in hex.
    Hash(String),
    /// Nothing would protect this body.
    Unprotected,
}

fn signed_body(request: &Request<'_>) -> SignedBody {
    let is_form = request.header("content-type").is_some_and(|kind| {
        kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/x-www-form-urlencoded")
    });
    if request.body.is_empty() {
        return SignedBody::Nothing;
    }
    if is_form {
        return SignedBody::Form;
    }
    match form_urlencoded::parse(request.query.as_bytes()).find(|(name, _)| name == "bodySHA256") {
        Some((_, hash)) => SignedBody::Hash(hash.into_owned()),
        None => SignedBody::Unprotected,
    }
}

/// Names in order of their code points, each followed by its value; a repeated name counts once for each distinct value, in order.
fn appended(body: &[u8]) -> String {
    let mut pairs: Vec<(String, String)> = form_urlencoded::parse(body).into_owned().collect();
    pairs.sort();
    pairs.dedup();
    pairs.into_iter().map(|(name, value)| name + &value).collect()
}

/// The URL with its port (the scheme's own when it has none) and without one.
fn both_ports(url: &str) -> (String, String) {
    let Some((scheme, rest)) = url.split_once("://") else { return (url.to_owned(), url.to_owned()) };
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (host, tail) = rest.split_at(end);
    // A colon inside the brackets of an IPv6 address is no port.
    let (bare, port) = match host.rsplit_once(':') {
        Some((bare, port)) if port.bytes().all(|b| b.is_ascii_digit()) => (bare, port),
        _ => (host, if scheme == "http" { "80" } else { "443" }),
    };
    (format!("{scheme}://{bare}:{port}{tail}"), format!("{scheme}://{bare}{tail}"))
}

/// The parameters of a request: Twilio sends them as a form, or in the query where a tenant chose GET.
struct Form(Vec<(String, String)>);

enum Kind<'a> {
    /// About a message we sent, with its status word.
    Status(&'a str),
    /// About a call we made, with its status word.
    Call(&'a str),
    /// A message from somebody.
    Message,
    /// Neither.
    Other,
}

impl Form {
    fn read(request: &Request<'_>) -> Self {
        let text = if request.method == "GET" { request.query.as_bytes() } else { request.body };
        Self(form_urlencoded::parse(text).into_owned().collect())
    }

    /// The first value of a parameter; an empty one is none.
    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, value)| n == name && !value.is_empty()).map(|(_, value)| value.as_str())
    }

    fn kind(&self) -> Kind<'_> {
        if self.get("MessageSid").or(self.get("SmsSid")).is_none() {
            // A call to the tenant waits for instructions that we have none of.
            let is_ours = self.get("Direction").is_some_and(|direction| direction.starts_with("outbound"));
            return match self.get("CallStatus").filter(|_| is_ours) {
                Some(status) => Kind::Call(status),
                None => Kind::Other,
            };
        }
        match self.get("MessageStatus").or(self.get("SmsStatus")) {
            Some("received" | "receiving") => Kind::Message,
            Some(status) => Kind::Status(status),
            // An incoming WhatsApp message may come without a status word.
            None if self.get("From").is_some() && self.0.iter().any(|(name, _)| name == "Body") => Kind::Message,
            None => Kind::Other,
        }
    }
}

fn report(form: &Form, request: &Request<'_>, status: &str) -> Option<Report> {
    let status = if form.get("EventType") == Some("READ") { "read" } else { status };
    let words = form.get("ErrorMessage").or(form.get("ChannelStatusMessage")).unwrap_or_default();
    let error_code = form.get("ErrorCode").and_then(|code| code.parse().ok());
    let fact = answer::fact(status, error_code, words)?;
    let sid = form.get("MessageSid").or(form.get("SmsSid"))?;
    // `RawDlrDoneDate` names no zone, so the time of the report is ours.
    Some(Report { attempt_id: attempt(request.query), ..Report::new(sid, status, fact) })
}

fn call(form: &Form, request: &Request<'_>, status: &str) -> Option<Report> {
    let fact = voice::fact(status, form.get("SipResponseCode"), form.get("CallDuration"))?;
    let at = form.get("Timestamp").and_then(|at| jiff::fmt::rfc2822::parse(at).ok());
    Some(Report {
        attempt_id: attempt(request.query),
        at: at.map(|at| at.timestamp().into()),
        segments: form.get("CallDuration").filter(|_| status == "completed").and_then(read::begun_minutes),
        ..Report::new(form.get("CallSid")?, status, fact)
    })
}

/// Our echo in the query of the callback URL.
fn attempt(query: &str) -> Option<AttemptId> {
    form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "attempt")?.1.parse().ok()
}

/// Reads an incoming message; `None` over a channel that is not ours (Messenger, RCS). A sender that is no number, such as a short code, cannot
/// be answered over our channels and is an error for the callback log.
fn message(form: &Form) -> Result<Option<InboundMessage>, Failure> {
    let from = form.get("From").unwrap_or_default();
    let (channel, number) = match from.split_once(':') {
        None => (Channel::Sms, from),
        Some(("whatsapp", number)) => (Channel::Whatsapp, number),
        Some(_) => return Ok(None),
    };
    let phone: Phone = number.parse().map_err(|_| {
        let detail = format!("An incoming message comes from {from}, which is not a phone number; it was not stored.");
        Failure::new(FailureKind::Recipient, "unreadable_sender", detail)
    })?;
    let to = form.get("To").unwrap_or_default();
    Ok(Some(InboundMessage {
        provider_message_id: form.get("MessageSid").or(form.get("SmsSid")).unwrap_or_default().to_owned(),
        channel,
        from: Address::Phone(phone),
        from_name: form.get("ProfileName").map(str::to_owned),
        to: to.strip_prefix(WHATSAPP).unwrap_or(to).to_owned(),
        text: form.get("Body").unwrap_or_default().to_owned(),
        media: media(form),
        location: location(form),
        button: form.get("ButtonPayload").or(form.get("ButtonText")).map(str::to_owned),
        in_reply_to: form.get("OriginalRepliedMessageSid").map(str::to_owned),
        keyword: keyword(form.get("OptOutType")),
        mail: None,
        at: None,
    }))
}

fn media(form: &Form) -> Vec<InboundMedia> {
    let count = form.get("NumMedia").and_then(|count| count.parse::<usize>().ok()).unwrap_or(0).min(MEDIA_MAX);
    let one = |index| {
        Some(InboundMedia {
            content_type: form.get(&format!("MediaContentType{index}")).map(str::to_owned),
            reference: form.get(&format!("MediaUrl{index}"))?.to_owned(),
            filename: None,
        })
    };
    (0..count).filter_map(one).collect()
}

fn location(form: &Form) -> Option<Location> {
    let degrees = |name, most: f64| form.get(name)?.parse().ok().filter(|value: &f64| value.abs() <= most);
    Some(Location {
        latitude: degrees("Latitude", 90.0)?,
        longitude: degrees("Longitude", 180.0)?,
        name: form.get("Label").map(str::to_owned),
        address: form.get("Address").map(str::to_owned),
    })
}

/// Only sent by messaging services with Advanced Opt-Out, where a tenant's own words count too.
/// <https://www.twilio.com/docs/messaging/tutorials/advanced-opt-out>
fn keyword(opt_out_type: Option<&str>) -> Option<Keyword> {
    match opt_out_type? {
        "STOP" => Some(Keyword::Stop),
        "START" => Some(Keyword::Start),
        "HELP" => Some(Keyword::Help),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Deserialize)]
    struct Vectors {
        auth_token: String,
        cases: Vec<Vector>,
    }

    #[derive(Deserialize)]
    struct Vector {
        name: String,
        url: String,
        #[serde(default)]
        params: Option<Params>,
        #[serde(default)]
        body: Option<String>,
        signature: String,
        valid: bool,
    }

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Params {
        Map(std::collections::BTreeMap<String, String>),
        List(Vec<(String, String)>),
    }

    fn is_valid(token: &str, url: &str, kind: &str, body: &str, signature: &str) -> bool {
        let headers =
            [("content-type".to_owned(), kind.to_owned()), ("x-twilio-signature".to_owned(), signature.to_owned())];
        let query = url.split_once('?').map_or("", |(_, query)| query);
        let request = Request { method: "POST", path: "", query, headers: &headers, body: body.as_bytes() };
        check(token, url, &request).is_ok()
    }

    const FORM: &str = "application/x-www-form-urlencoded; charset=UTF-8";

    #[test]
    fn signatures_made_by_twilios_library() {
        let vectors: Vectors = serde_json::from_str(include_str!("../../tests/data/twilio_signature.json")).unwrap();
        for vector in &vectors.cases {
            let pairs: Vec<(String, String)> = match &vector.params {
                Some(Params::Map(map)) => map.clone().into_iter().collect(),
                Some(Params::List(list)) => list.clone(),
                None => Vec::new(),
            };
            let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
            let (kind, body) = match &vector.body {
                Some(body) => ("application/json", body.as_str()),
                None => (FORM, form.as_str()),
            };
            let given = is_valid(&vectors.auth_token, &vector.url, kind, body, &vector.signature);
            assert_eq!(given, vector.valid, "{}", vector.name);
            if vector.valid {
                changed(&vectors.auth_token, (&vector.url, kind, body, &vector.signature), &vector.name);
            }
        }
    }

    /// One byte changed, wherever it is.
    fn changed(token: &str, (url, kind, body, signature): (&str, &str, &str, &str), name: &str) {
        let bent = |text: &str, at: usize| {
            let mut bytes = text.as_bytes().to_vec();
            bytes[at] = if bytes[at] == b'Z' { b'Y' } else { b'Z' };
            String::from_utf8(bytes).unwrap()
        };
        let whole = |text: &str| (0..text.len()).filter(|at| text.as_bytes()[*at].is_ascii()).collect::<Vec<_>>();
        for at in whole(url) {
            assert!(!is_valid(token, &bent(url, at), kind, body, signature), "{name}: byte {at} of the URL");
        }
        for at in whole(body) {
            assert!(!is_valid(token, url, kind, &bent(body, at), signature), "{name}: byte {at} of the body");
        }
        // The last letter before the padding holds bits that are not used.
        for at in 0..signature.len() - 2 {
            assert!(!is_valid(token, url, kind, body, &bent(signature, at)), "{name}: byte {at} of the signature");
        }
    }

    #[test]
    fn the_example_of_the_documentation() {
        let url = "https://mycompany.com/myapp.php?foo=1&bar=2";
        let body = "CallSid=CA1234567890ABCDE&Caller=%2B14158675309&Digits=1234&From=%2B14158675309&To=%2B18005551212";
        assert!(is_valid("12345", url, FORM, body, "RSOYDt4T1cUTdK1PDd93/VVr8B8="));
        assert!(!is_valid("12346", url, FORM, body, "RSOYDt4T1cUTdK1PDd93/VVr8B8="));
        assert!(!is_valid("12345", url, FORM, body, ""));
        assert!(!is_valid("12345", url, FORM, body, "RSOYDt4T1cUTdK1PDd93/VVr8B8"));
        let json = r#"{"property": "value", "boolean": true}"#;
        let hash = "0a1ff7634d9ab3b95db5c9a2dfe9416e41502b283a80c7cf19632632f96e6620";
        let signed = format!("{url}&bodySHA256={hash}");
        assert!(is_valid("12345", &signed, "application/json", json, "a9nBmqA0ju/hNViExpshrM61xv4="));
    }

    #[test]
    fn a_body_nothing_protects_is_refused() {
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, b"12345");
        let url = "https://x.example/hook";
        let signature = base64::engine::general_purpose::STANDARD.encode(hmac::sign(&key, url.as_bytes()));
        assert!(is_valid("12345", url, "application/json", "", &signature));
        assert!(!is_valid("12345", url, "application/json", "{}", &signature));
        assert!(!is_valid("12345", url, "text/plain", "MessageStatus=delivered", &signature));
    }

    #[test]
    fn ports_are_added_and_taken_away() {
        let both = |with: &str, without: &str| (with.to_owned(), without.to_owned());
        assert_eq!(both_ports("https://a.b/c:1?d"), both("https://a.b:443/c:1?d", "https://a.b/c:1?d"));
        assert_eq!(both_ports("http://a.b"), both("http://a.b:80", "http://a.b"));
        assert_eq!(both_ports("https://a.b:8443/c"), both("https://a.b:8443/c", "https://a.b/c"));
        assert_eq!(both_ports("http://[::1]:9/c"), both("http://[::1]:9/c", "http://[::1]/c"));
        assert_eq!(both_ports("http://[::1]/c"), both("http://[::1]:80/c", "http://[::1]/c"));
    }
}
