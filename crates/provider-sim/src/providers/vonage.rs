//! Vonage: the SMS API, Messages v1 (SMS, MMS, WhatsApp), Voice, the balance; signed parameters and signed webhooks.
//! <https://developer.vonage.com/en/api/sms> <https://developer.vonage.com/en/api/messages> <https://developer.vonage.com/en/api/voice>

use aws_lc_rs::hmac;
use model::{HttpCall, Method};
use serde_json::{Value, json};

use super::whatsapp_cloud::describe;
use crate::{
    fate::Fate,
    fields::form,
    message::{Draft, Message, Stage},
    provider::{Cx, Provider, Setting, Settings, Written, account, iso, text, written as formatted},
    request::{Reply, Request},
    sign,
};

pub(crate) struct Vonage;

const SETTINGS: &[Setting] = &[
    Setting { name: "api_key", default: "abcd1234" },
    Setting { name: "api_secret", default: "simulated-api-secret" },
    Setting { name: "signature_secret", default: "simulated-signature-secret-0123456789" },
    Setting { name: "application_id", default: "aaaaaaaa-bbbb-4ccc-8ddd-0123456789ab" },
    // What tokens of the application are checked with; its private half is shown in `accounts`.
    Setting { name: "public_key", default: sign::PUBLIC_KEY },
    Setting { name: "from", default: "15550100001" },
    Setting { name: "callback_url", default: "" },
    Setting { name: "application", default: "{}" },
];
/// Longest text of an SMS over the Messages API, of a WhatsApp message, and of a spoken one, in characters.
const SMS_MAX: usize = 3_200;
const WHATSAPP_MAX: usize = 4_096;
const TALK_MAX: usize = 1_500;
/// How old a token may be, in seconds.
const TOKEN_S: i64 = 86_400;

fn is_basic(cx: &Cx<'_>, request: &Request) -> bool {
    request.basic().is_some_and(|(user, password)| user == cx.get("api_key") && password == cx.get("api_secret"))
}

/// The application with its webhooks, and the account's number with where its messages go. Where messages come to is one address here: the last that was
/// named. <https://developer.vonage.com/en/api/application.v2> <https://developer.vonage.com/en/api/numbers>
fn manage(cx: &mut Cx<'_>, request: &Request) -> Result<Reply, Reply> {
    let refused = |status: u16, words: &str| {
        Reply::json(status, &json!({"type": "UNAUTHORIZED", "title": words, "detail": words}))
    };
    if !is_basic(cx, request) {
        return Err(refused(401, "You did not provide correct credentials."));
    }
    let own = cx.get("from").to_owned();
    match (request.method.as_str(), &request.segments()[..]) {
        (method, ["v2", "applications", id]) if *id == cx.get("application_id") => {
            let mut application = cx.kept("application");
            if application["name"].is_null() {
                application = json!({"name": "Simulated", "keys": {"public_key": cx.get("public_key")}, "capabilities": {"messages": {}, "voice": {}}});
            }
            if method == "PUT" {
                let body = request.json().unwrap_or_default();
                if text(&body, "/name").is_empty() || !body["capabilities"].is_object() {
                    return Err(refused(400, "name and capabilities are required"));
                }
                let url = text(&body, "/capabilities/messages/webhooks/inbound_url/address").to_owned();
                cx.keep("application", &body);
                cx.changes.push(("callback_url", url));
                application = body;
            }
            application["id"] = (*id).into();
            Ok(Reply::json(200, &application))
        }
        ("GET", ["account", "numbers"]) => {
            let asked = request.parameters();
            let is_ours = asked.get("pattern").is_empty() || own.contains(asked.get("pattern"));
            let number = json!({"country": "US", "msisdn": own, "moHttpUrl": cx.get("callback_url"), "type": "mobile-lvn", "features": ["VOICE", "SMS", "MMS"]});
            Ok(Reply::json(
                200,
                &match is_ours {
                    true => json!({"count": 1, "numbers": [number]}),
                    false => json!({}),
                },
            ))
        }
        ("POST", ["number", "update"]) => {
            let form = request.form();
            if form.get("country") != "US" || form.get("msisdn") != own {
                return Err(Reply::json(420, &json!({"error-code": "420", "error-code-label": "method failed"})));
            }
            cx.changes.push(("callback_url", form.get("moHttpUrl").to_owned()));
            Ok(Reply::json(200, &json!({"error-code": "200", "error-code-label": "success"})))
        }
        _ => Err(refused(404, "Not found")),
    }
}

/// A problem of the Messages API.
fn problem(status: u16, code: u32, title: &str, detail: &str) -> Reply {
    let body = json!({
        "type": format!("https://developer.vonage.com/api-errors/messages#{code}"), "title": title, "detail": detail, "instance": "bf0ca0bf927b3b52e3cb03217e1a1ddf",
    });
    Reply::of(status, "application/problem+json", body.to_string())
}

impl Provider for Vonage {
    fn id(&self) -> &'static str {
        "vonage"
    }

    fn settings(&self) -> &'static [Setting] {
        SETTINGS
    }

    fn accounts(&self, settings: &Settings) -> Vec<Value> {
        let keys = |api: &str| {
            json!({
                "api_key": settings["api_key"], "api_secret": settings["api_secret"], "signature_secret": settings["signature_secret"], "sms_api": api,
                "application_id": settings["application_id"], "private_key": sign::KEY,
            })
        };
        let from = format!("+{}", settings["from"]);
        vec![
            account("vonage", "Vonage", Some(&from), keys("messages")),
            account("vonage", "Vonage SMS API", Some(&from), keys("sms")),
        ]
    }

    fn answer(&self, cx: &mut Cx<'_>, request: &Request) -> Result<Reply, Reply> {
        match (request.method.as_str(), &request.segments()[..]) {
            ("POST", ["sms", "json"]) => Ok(sms(cx, request)),
            ("GET", ["account", "get-balance"]) => {
                let asked = request.parameters();
                match asked.get("api_key") == cx.get("api_key") && asked.get("api_secret") == cx.get("api_secret") {
                    true => Ok(Reply::json(200, &json!({"value": 42.5, "autoReload": false}))),
                    false => Err(Reply::json(
                        401,
                        &json!({"error-code": "401", "error-code-label": "authentication failed"}),
                    )),
                }
            }
            (_, ["v2", "applications", _] | ["account", "numbers"] | ["number", "update"]) => manage(cx, request),
            ("POST", ["v1", "messages"]) => {
                if !is_basic(cx, request) && !is_application(cx, request) {
                    return Err(problem(401, 1_060, "Unauthorized", "You did not provide correct credentials."));
                }
                message(cx, request)
            }
            ("GET", ["v2", "reports", "records"]) => records(cx, request),
            (method, ["v1", "calls", rest @ ..]) => {
                if !is_application(cx, request) {
                    return Err(Reply::json(
                        401,
                        &json!({"title": "Unauthorized", "type": "UNAUTHORIZED", "detail": "The token is not valid"}),
                    ));
                }
                match (method, rest) {
                    ("POST", []) => call(cx, request),
                    ("GET", []) => {
                        let calls: Vec<Value> = cx
                            .known()
                            .filter(|message| message.channel == "voice")
                            .map(|message| resource(cx, message))
                            .take(10)
                            .collect();
                        Ok(Reply::json(
                            200,
                            &json!({"count": calls.len(), "page_size": 10, "record_index": 0, "_embedded": {"calls": calls}}),
                        ))
                    }
                    ("GET", [id]) => match cx.find(id) {
                        Some(message) => Ok(Reply::json(200, &resource(cx, message))),
                        None => Err(Reply::json(404, &json!({"title": "Not Found", "type": "NOT_FOUND"}))),
                    },
                    _ => Err(Reply::json(405, &json!({"title": "Method not allowed", "type": "METHOD_NOT_ALLOWED"}))),
                }
            }
            _ => Err(Reply::json(404, &json!({"title": "Not Found", "type": "NOT_FOUND"}))),
        }
    }

    fn throttled(&self, after_s: Option<u64>) -> Reply {
        problem(429, 1_000, "Rate Limit Hit", "Please wait, then retry your request").retry_after(after_s)
    }

    fn broken(&self, status: u16) -> Reply {
        problem(status, 1_030, "Internal error", "There was an error processing your request in the Platform.")
    }

    fn report(&self, cx: &Cx<'_>, message: &Message, stage: Stage) -> Option<HttpCall> {
        let url = cx.callback_of(message)?;
        match message.more["api"].as_str() {
            Some("sms") => receipt(cx, message, stage, url),
            Some("voice") => {
                let status = call_status(stage)?;
                let mut event = json!({
                    "uuid": message.id, "conversation_uuid": message.more["conversation"], "status": status, "direction": "outbound", "to": message.to,
                    "from": message.from, "timestamp": iso(cx.now),
                });
                if stage == Stage::Delivered {
                    event.as_object_mut()?.extend(
                        json!({"price": "0.0100", "rate": "0.0600", "duration": "7", "network": "23410"})
                            .as_object()?
                            .clone(),
                    );
                }
                Some(signed(cx, url, event.to_string()))
            }
            _ => {
                let status = match stage {
                    Stage::Sent => "submitted",
                    Stage::Delivered => "delivered",
                    Stage::Read => "read",
                    Stage::Failed | Stage::OptedOut => "rejected",
                    _ => return None,
                };
                let mut event = json!({
                    "message_uuid": message.id, "to": message.to, "from": message.from, "timestamp": iso(cx.now), "status": status,
                    "channel": message.more["channel"], "client_ref": message.echo,
                });
                let error = |code: u32, detail: &str| json!({"type": format!("https://developer.vonage.com/api-errors/messages#{code}"), "title": code.to_string(), "detail": detail, "instance": "bf0c"});
                match stage {
                    Stage::Failed => event["error"] = error(1_300, "Not part of the provider network"),
                    Stage::OptedOut => event["error"] = error(1_240, "Illegal Sender Address - opted out"),
                    Stage::Delivered => event["usage"] = json!({"price": "0.0333", "currency": "EUR"}),
                    _ => {}
                }
                Some(signed(cx, url, event.to_string()))
            }
        }
    }

    fn inbound(&self, cx: &mut Cx<'_>, written: &Written) -> Option<HttpCall> {
        let url = cx.callback("callback_url")?;
        let from = written.from.trim_start_matches('+');
        let to = written.to.as_deref().unwrap_or_else(|| cx.get("from")).trim_start_matches('+');
        let mut event = json!({
            "message_uuid": cx.uuid(), "to": to, "from": from, "timestamp": iso(cx.now), "channel": if written.is_whatsapp() { "whatsapp" } else { "sms" },
            "profile": {"name": "Somebody"},
        });
        let kind = match (&written.media, &written.location, &written.button) {
            (Some(media), ..) => {
                let kind = if written.kind() == "document" { "file" } else { written.kind() };
                event[kind] = json!({"url": media.url, "caption": written.text});
                kind
            }
            (None, Some(place), _) => {
                event["location"] = json!({"lat": place.latitude, "long": place.longitude, "name": place.name, "address": place.address});
                "location"
            }
            (None, None, Some(button)) => {
                event["reply"] = json!({"id": button, "title": written.text});
                "reply"
            }
            (None, None, None) => {
                event["text"] = written.text.clone().into();
                "text"
            }
        };
        event["message_type"] = kind.into();
        if let Some(answered) = &written.in_reply_to {
            event["context"] = json!({ "message_uuid": answered });
        }
        Some(signed(cx, url, event.to_string()))
    }
}

/// True when the request carries a token of the application, of now.
fn is_application(cx: &Cx<'_>, request: &Request) -> bool {
    sign::verified_jwt(request.bearer(), cx.get("public_key")).is_some_and(|claims| {
        let iat = claims["iat"].as_i64().unwrap_or(0);
        let exp = claims["exp"].as_i64().unwrap_or(iat + TOKEN_S);
        claims["application_id"] == cx.get("application_id")
            && claims["jti"].is_string()
            && iat <= cx.unix() + 60
            && exp > cx.unix()
            && exp - iat <= TOKEN_S
    })
}

/// A webhook of Messages and Voice: a token over the body.
fn signed(cx: &Cx<'_>, url: String, body: String) -> HttpCall {
    let claims = json!({
        "iat": cx.unix(), "jti": cx.uuid(), "iss": "Vonage", "payload_hash": sign::sha256(body.as_bytes()), "api_key": cx.get("api_key"),
        "application_id": cx.get("application_id"),
    });
    let token = sign::jwt(cx.get("signature_secret"), &claims);
    HttpCall::new(Method::Post, url).body("application/json", body).header("authorization", format!("Bearer {token}"))
}

/// The signature of parameters with HMAC-SHA256: all in order of their names, `&` and `=` in values replaced.
pub(crate) fn signature(secret: &str, fields: &[(&str, &str)]) -> String {
    let mut sorted = fields.to_vec();
    sorted.sort_unstable();
    let text: String =
        sorted.iter().map(|(name, value)| format!("&{name}={}", value.replace(['&', '='], "_"))).collect();
    sign::hex(&sign::mac(hmac::HMAC_SHA256, secret.as_bytes(), text.as_bytes()))
}

/// A delivery receipt of the SMS API.
fn receipt(cx: &Cx<'_>, message: &Message, stage: Stage, url: String) -> Option<HttpCall> {
    let (status, code) = match stage {
        Stage::Sent => ("accepted", "0"),
        Stage::Delivered => ("delivered", "0"),
        Stage::Failed => ("failed", "12"),
        Stage::OptedOut => ("rejected", "9"),
        _ => return None,
    };
    let (at, scts, timestamp, nonce) =
        (formatted(cx.now, "%Y-%m-%d %H:%M:%S"), formatted(cx.now, "%y%m%d%H%M"), cx.unix().to_string(), cx.uuid());
    let mut fields = vec![
        ("msisdn", message.to.as_str()),
        ("to", &message.from),
        ("network-code", "23410"),
        ("messageId", &message.id),
        ("price", "0.03330000"),
        ("status", status),
        ("scts", &scts),
        ("err-code", code),
        ("api-key", cx.get("api_key")),
        ("message-timestamp", &at),
        ("timestamp", &timestamp),
        ("nonce", &nonce),
    ];
    fields.extend(message.echo.as_deref().map(|echo| ("client-ref", echo)));
    let sig = signature(cx.get("signature_secret"), &fields);
    fields.push(("sig", &sig));
    Some(HttpCall::new(Method::Post, url).body("application/x-www-form-urlencoded", form(&fields)))
}

/// Records of messages: by their ids, or by when they were received. <https://developer.vonage.com/en/api/reports>
fn records(cx: &Cx<'_>, request: &Request) -> Result<Reply, Reply> {
    let unusable = |name: &str, reason: &str| {
        let body = json!({"title": "Unprocessable entity", "invalid_parameters": [{"name": name, "reason": reason}], "instance": "bf0ca0bf927b3b52e3cb03217e1a1ddf"});
        Reply::of(422, "application/problem+json", body.to_string())
    };
    if !is_basic(cx, request) {
        return Err(problem(401, 1_060, "Unauthorized", "You did not provide correct credentials."));
    }
    let asked = request.parameters();
    let (product, id) = (asked.get("product"), asked.get("id"));
    if asked.get("account_id") != cx.get("api_key") {
        return Err(problem(403, 1_070, "Forbidden", "User not authorized to query the requested data"));
    }
    if !matches!(product, "SMS" | "MESSAGES") {
        return Err(unusable("product", "Could not resolve product name"));
    }
    if asked.get("direction") != "outbound" {
        return Err(unusable("direction", "Missing required parameter"));
    }
    let instant = |name: &str| asked.get(name).parse::<model::Timestamp>().ok();
    let window = (instant("date_start"), instant("date_end"));
    let day_ms = 86_400_000;
    let is_wanted: Box<dyn Fn(&Message) -> bool> = match window {
        (None, None) if !id.is_empty() => Box::new(|message| id.split(',').any(|id| id == message.id)),
        (Some(start), Some(end)) if id.is_empty() && (1..=day_ms).contains(&end.millis_since(start)) => {
            Box::new(move |message| start <= message.at && message.at < end)
        }
        _ => return Err(unusable("date_end", "Give an id, or date_start and date_end of at most 24 hours")),
    };
    let is_sms = product == "SMS";
    let of_product = |message: &&Message| match message.more["api"].as_str() {
        Some("sms") => is_sms,
        Some("messages") => !is_sms,
        _ => false,
    };
    let found: Vec<Value> = cx
        .known()
        .filter(of_product)
        .filter(|message| is_wanted(message))
        .map(|message| {
            let (status, code) = match (message.stage(cx.now), is_sms) {
                (Stage::Delivered, _) => ("delivered", "0"),
                (Stage::Read, _) => ("read", "0"),
                (Stage::Failed, true) => ("failed", "12"),
                (Stage::OptedOut, true) => ("rejected", "9"),
                (Stage::Failed, false) => ("rejected", "1300"),
                (Stage::OptedOut, false) => ("rejected", "1240"),
                (_, true) => ("accepted", "0"),
                (_, false) => ("submitted", ""),
            };
            let stamp = |at| formatted(at, "%Y-%m-%dT%H:%M:%S+0000");
            json!({
                "account_id": cx.get("api_key"), "message_id": message.id, "client_ref": message.echo, "direction": "outbound", "from": message.from,
                "to": message.to, "country": "GB", "country_name": "United Kingdom", "date_received": stamp(message.at), "date_finalized": stamp(message.changed_at(cx.now)),
                "latency": "1200", "status": status, "error_code": code, "currency": "EUR", "total_price": "0.03330000",
            })
        })
        .collect();
    Ok(Reply::json(
        200,
        &json!({
            "request_id": cx.uuid(), "request_status": "SUCCESS", "received_at": formatted(cx.now, "%Y-%m-%dT%H:%M:%S+0000"), "account_id": cx.get("api_key"),
            "product": product, "direction": "outbound", "include_message": false, "items_count": found.len(), "records": found,
        }),
    ))
}

/// The SMS API answers 200 whatever it decides.
fn sms(cx: &mut Cx<'_>, request: &Request) -> Reply {
    let fields = request.form();
    let refused = |status: u32, words: &str| {
        Reply::json(
            200,
            &json!({"message-count": "1", "messages": [{"status": status.to_string(), "error-text": words}]}),
        )
    };
    if fields.get("api_key") != cx.get("api_key") || fields.get("api_secret") != cx.get("api_secret") {
        return refused(4, "Bad Credentials");
    }
    let (to, text) = (fields.get("to"), fields.get("text"));
    if let Some(name) = ["from", "to", "text"].into_iter().find(|name| fields.get(name).is_empty()) {
        return refused(2, &format!("Missing {name} param"));
    }
    let is_number = to.len() >= 8 && to.bytes().all(|byte| byte.is_ascii_digit());
    match cx.fate(to) {
        Fate::Throttled => return refused(1, "Throughput Rate Exceeded - please wait [ 250 ] and retry"),
        fate if fate == Fate::Refused || !is_number => return refused(34, "Invalid or Missing Msisdn Param"),
        _ => {}
    }
    // 16 digits, the first part of a long text carries the receipts.
    let id = cx.hex(16).to_uppercase();
    let is_unicode = fields.get("type") == "unicode";
    let per_part = if is_unicode { 70 } else { 160 };
    let parts = text.chars().count().div_ceil(per_part).max(1);
    let part = |number: usize| {
        let id = if number == 0 { id.clone() } else { format!("{id}{number:02}") };
        json!({"to": to, "message-id": id, "status": "0", "remaining-balance": "42.50", "message-price": "0.0333", "network": "23410", "client-ref": fields.get("client-ref")})
    };
    let reply = json!({"message-count": parts.to_string(), "messages": (0..parts).map(part).collect::<Vec<_>>()});
    cx.take(Draft {
        id: id.clone(),
        channel: "sms",
        to: to.to_owned(),
        from: fields.get("from").to_owned(),
        echo: fields.some("client-ref"),
        // Without `type=unicode` what GSM's alphabet lacks is lost.
        text: if is_unicode {
            text.to_owned()
        } else {
            text.chars().map(|c| if u32::from(c) > 0x20AC { '?' } else { c }).collect()
        },
        callback_url: fields.some("callback"),
        more: json!({"api": "sms"}),
        ..Draft::default()
    });
    Reply::json(200, &reply)
}

fn message(cx: &mut Cx<'_>, request: &Request) -> Result<Reply, Reply> {
    let invalid = |name: &str, words: &str| {
        let mut body = json!({
            "type": "https://developer.vonage.com/api-errors/messages#1150", "title": "Invalid params", "detail": words, "instance": "bf0ca0bf927b3b52e3cb03217e1a1ddf",
        });
        body["invalid_parameters"] = json!([{"name": name, "reason": words}]);
        Reply::of(422, "application/problem+json", body.to_string())
    };
    let body = request.json().ok_or_else(|| invalid("body", "The body is not valid JSON"))?;
    let (to, from, kind, channel) =
        (text(&body, "/to"), text(&body, "/from"), text(&body, "/message_type"), text(&body, "/channel"));
    let is_number = (7..=15).contains(&to.len()) && to.bytes().all(|byte| byte.is_ascii_digit());
    if from.is_empty() {
        return Err(invalid("from", "from is required"));
    }
    match cx.fate(to) {
        Fate::Throttled => return Err(Vonage.throttled(None)),
        fate if fate == Fate::Refused || !is_number => return Err(invalid("to", "to must be a valid phone number")),
        _ => {}
    }
    let words = text(&body, "/text");
    let part = match (channel, kind) {
        ("sms", "text") if (1..=SMS_MAX).contains(&words.chars().count()) => Vec::new(),
        ("whatsapp", "text") if (1..=WHATSAPP_MAX).contains(&words.chars().count()) => Vec::new(),
        ("mms", "image" | "video" | "audio") | ("whatsapp", "image" | "video" | "audio" | "file") => {
            let url = body[kind]["url"].as_str().ok_or_else(|| invalid(&format!("{kind}.url"), "url is required"))?;
            vec![format!("{kind} {url}")]
        }
        ("whatsapp", "template") if body["whatsapp"]["policy"] == "deterministic" => {
            let values = body["template"]["parameters"].as_array().into_iter().flatten().filter_map(Value::as_str);
            let values = values.collect::<Vec<_>>().join(" ");
            vec![
                format!("template {} {} {values}", text(&body, "/template/name"), text(&body, "/whatsapp/locale"))
                    .trim_end()
                    .to_owned(),
            ]
        }
        ("whatsapp", "custom") => {
            let (words, parts) = describe(&body["custom"]).map_err(|words| invalid("custom", &words))?;
            words.into_iter().map(|words| format!("text {words}")).chain(parts).collect()
        }
        _ => {
            return Err(invalid(
                "message_type",
                "The message type is not valid for this channel, or its content is missing",
            ));
        }
    };
    let caption = ["image", "video", "file"].iter().find_map(|kind| body[*kind]["caption"].as_str());
    let draft = Draft {
        id: cx.uuid(),
        channel: if channel == "whatsapp" { "whatsapp" } else { "sms" },
        to: to.to_owned(),
        from: from.to_owned(),
        echo: body["client_ref"].as_str().map(str::to_owned),
        text: caption.unwrap_or(words).to_owned(),
        parts: part,
        callback_url: body["webhook_url"].as_str().map(str::to_owned),
        more: json!({"api": "messages", "channel": channel}),
        ..Draft::default()
    };
    let id = draft.id.clone();
    cx.take(draft);
    Ok(Reply::json(202, &json!({ "message_uuid": id })))
}

const fn call_status(stage: Stage) -> Option<&'static str> {
    Some(match stage {
        Stage::Taken | Stage::Sent => "started",
        Stage::Ringing => "ringing",
        Stage::Answered => "answered",
        Stage::Delivered => "completed",
        Stage::Failed => "unanswered",
        Stage::OptedOut => "rejected",
        _ => return None,
    })
}

fn resource(cx: &Cx<'_>, message: &Message) -> Value {
    let stage = message.stage(cx.now);
    let is_over = stage == Stage::Delivered;
    json!({
        "uuid": message.id, "conversation_uuid": message.more["conversation"], "status": call_status(stage), "direction": "outbound",
        "to": {"type": "phone", "number": message.to}, "from": {"type": "phone", "number": message.from}, "duration": is_over.then_some("7"),
        "start_time": is_over.then(|| iso(message.at)), "end_time": is_over.then(|| iso(message.changed_at(cx.now))), "network": "23410",
    })
}

fn call(cx: &mut Cx<'_>, request: &Request) -> Result<Reply, Reply> {
    let invalid = |name: &str, words: &str| {
        Reply::json(
            400,
            &json!({"type": "BAD_REQUEST", "title": "Bad Request", "detail": words, "invalid_parameters": [{"name": name, "reason": words}]}),
        )
    };
    let body = request.json().ok_or_else(|| invalid("body", "The body is not valid JSON"))?;
    let (to, from) = (text(&body, "/to/0/number"), text(&body, "/from/number"));
    if from.is_empty() != body["random_from_number"].as_bool().unwrap_or(false) {
        return Err(invalid("from", "Exactly one of from and random_from_number must be given"));
    }
    let is_number = to.len() >= 8 && to.bytes().all(|byte| byte.is_ascii_digit());
    match cx.fate(to) {
        Fate::Throttled => return Err(Vonage.throttled(None)),
        fate if fate == Fate::Refused || !is_number => return Err(invalid("to", "to must be a valid phone number")),
        _ => {}
    }
    let talk = &body["ncco"][0];
    let words = text(talk, "/text");
    if talk["action"] != "talk" || words.is_empty() || words.chars().count() > TALK_MAX {
        return Err(invalid("ncco", "The first action must be a talk of 1 to 1500 characters"));
    }
    let conversation = format!("CON-{}", cx.uuid());
    let draft = Draft {
        id: cx.uuid(),
        channel: "voice",
        to: to.to_owned(),
        from: from.to_owned(),
        text: words.to_owned(),
        parts: talk["language"]
            .as_str()
            .map(|language| format!("language {language} style {}", talk["style"]))
            .into_iter()
            .collect(),
        callback_url: body["event_url"][0].as_str().map(str::to_owned),
        more: json!({"api": "voice", "conversation": conversation}),
        ..Draft::default()
    };
    let id = draft.id.clone();
    cx.take(draft);
    Ok(Reply::json(
        201,
        &json!({"uuid": id, "status": "started", "direction": "outbound", "conversation_uuid": conversation}),
    ))
}
