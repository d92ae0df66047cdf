//! Telegram's updates: messages to the bot and pressed buttons.
//!
//! An update is one JSON object with an `update_id` and one field that says what it is. Read are `message` and `callback_query`. Left out on
//! purpose: `edited_message` (the first version is stored under the same id), `channel_post` (nobody wrote to the bot), service messages (joins,
//! pins), and `my_chat_member`: blocking the bot belongs to no message of ours, and the next send says `opted_out`.

use aws_lc_rs::{constant_time, digest};
use model::{Address, Answer, Call, Channel, ChatId, Failure, FailureKind, Location, Timestamp};
use serde_json::{Value, json};

use super::{Settings, Telegram, request};
use crate::{Cx, Inbound, InboundMedia, InboundMessage, Observed, Request, Verdict};

const HEADER: &str = "x-telegram-bot-api-secret-token";

impl Inbound for Telegram {
    fn verify(&self, cx: &Cx<'_>, request: &Request<'_>, _fetched: Option<&Answer>) -> Verdict {
        match check(cx, request) {
            Ok(()) => Verdict::Valid,
            Err(reason) => Verdict::Invalid(reason),
        }
    }

    fn read(&self, cx: &Cx<'_>, request: &Request<'_>) -> Result<Vec<Observed>, Failure> {
        let update: Value = serde_json::from_slice(request.body).map_err(|error| {
            Failure::new(FailureKind::Content, "malformed_update", format!("The update is not JSON: {error}."))
        })?;
        if update["message"].is_object() {
            return Ok(message(cx, &update["message"]).map(Observed::Message).into_iter().collect());
        }
        match &update["callback_query"] {
            query @ Value::Object(_) => pressed(cx, query),
            _ => Ok(Vec::new()),
        }
    }

    /// The update's id, which counts up and can be guessed: the secret goes into the key, so that a forged request never passes for a repetition of
    /// a real one, whether keys are compared before or after the check.
    fn dedupe_key(&self, request: &Request<'_>) -> Option<String> {
        let update: Value = serde_json::from_slice(request.body).ok()?;
        let id = update["update_id"].as_i64()?;
        let mark = digest::digest(&digest::SHA256, format!("{id}:{}", request.header(HEADER)?).as_bytes());
        let mark: String = mark.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        Some(format!("{id}:{mark}"))
    }
}

fn check(cx: &Cx<'_>, request: &Request<'_>) -> Result<(), String> {
    let settings =
        Settings::read(cx.settings).map_err(|bad| format!("the account's settings cannot be read: {bad}"))?;
    let secret = settings
        .secret_token
        .ok_or("the account has no secret token; set `secret_token` and call setWebhook with it")?;
    if request.method != "POST" {
        return Err("updates are sent by POST".to_owned());
    }
    let given = request.header(HEADER).ok_or("the request has no X-Telegram-Bot-Api-Secret-Token header")?;
    constant_time::verify_slices_are_equal(given.as_bytes(), secret.reveal().as_bytes())
        .map_err(|_| "the secret token does not match: call setWebhook with the account's".to_owned())
}

/// Reads a message; `None` for service messages and kinds we have no place for (polls, games). In a group the address is the group, so that an
/// answer goes there; the name is the person's.
fn message(cx: &Cx<'_>, message: &Value) -> Option<InboundMessage> {
    let chat = message["chat"]["id"].as_i64()?;
    let read = InboundMessage {
        provider_message_id: id(message)?,
        channel: Channel::Telegram,
        from: Address::Telegram(ChatId(chat)),
        from_name: name(message),
        to: bot_id(cx),
        text: text(message),
        media: media(message),
        location: location(message),
        button: None,
        in_reply_to: id(&message["reply_to_message"]),
        keyword: None,
        mail: None,
        at: message["date"].as_i64().map(Timestamp::from_seconds),
    };
    let says_something = !read.text.is_empty() || !read.media.is_empty() || read.location.is_some();
    says_something.then_some(read)
}

/// A pressed button is an incoming message with its data, and Telegram's app shows a spinner until the press is answered.
fn pressed(cx: &Cx<'_>, query: &Value) -> Result<Vec<Observed>, Failure> {
    let Some(query_id) = query["id"].as_str() else { return Ok(Vec::new()) };
    let body = json!({"callback_query_id": query_id}).to_string();
    let answer = request(cx, "answerCallbackQuery")?.body("application/json", body);
    let follow = Observed::Follow(Call::Http(answer));
    let chat = query["message"]["chat"]["id"].as_i64().or(query["from"]["id"].as_i64());
    let (Some(chat), Some(data)) = (chat, query["data"].as_str()) else { return Ok(vec![follow]) };
    let message = InboundMessage {
        provider_message_id: format!("callback_query:{query_id}"),
        channel: Channel::Telegram,
        from: Address::Telegram(ChatId(chat)),
        from_name: name(query),
        to: bot_id(cx),
        text: String::new(),
        media: Vec::new(),
        location: None,
        button: Some(data.to_owned()),
        in_reply_to: id(&query["message"]),
        keyword: None,
        mail: None,
        // The date in the update is the one of the message with the button, not of the press.
        at: None,
    };
    Ok(vec![Observed::Message(message), follow])
}

/// A message's id as we store it for our own: message ids are only unique inside their chat.
fn id(message: &Value) -> Option<String> {
    Some(format!("{}:{}", message["chat"]["id"].as_i64()?, message["message_id"].as_i64()?))
}

/// The token begins with the bot's own id.
fn bot_id(cx: &Cx<'_>) -> String {
    let token = cx.settings.get("bot_token").unwrap_or_default();
    token.split(':').next().unwrap_or_default().to_owned()
}

/// The person's name; for those who write as a group or channel, its title.
fn name(update: &Value) -> Option<String> {
    if let Some(title) = update["sender_chat"]["title"].as_str() {
        return Some(title.to_owned());
    }
    joined(&[&update["from"]["first_name"], &update["from"]["last_name"]])
}

fn joined(values: &[&Value]) -> Option<String> {
    let words: Vec<&str> = values.iter().filter_map(|value| value.as_str()).filter(|word| !word.is_empty()).collect();
    (!words.is_empty()).then(|| words.join(" "))
}

/// The text or caption. A shared contact has no other place, so its name and number are the text.
fn text(message: &Value) -> String {
    let contact = &message["contact"];
    let words = message["text"].as_str().or(message["caption"].as_str()).map(str::to_owned);
    words
        .or_else(|| joined(&[&contact["first_name"], &contact["last_name"], &contact["phone_number"]]))
        .unwrap_or_default()
}

/// Files by Telegram's id: the URL to fetch one holds the bot's token and must not be stored.
fn media(message: &Value) -> Vec<InboundMedia> {
    const KINDS: &[(&str, &str)] = &[
        ("animation", "video/mp4"),
        ("video", "video/mp4"),
        ("video_note", "video/mp4"),
        ("audio", "audio/mpeg"),
        ("voice", "audio/ogg"),
        ("sticker", "image/webp"),
        ("document", "application/octet-stream"),
    ];
    // Pictures come in several sizes, the largest last.
    if let Some(largest) = message["photo"].as_array().and_then(|sizes| sizes.last()) {
        return file(largest, "image/jpeg").into_iter().collect();
    }
    // An animation is repeated as a document for old programs; the first kind found is the right one.
    KINDS.iter().find_map(|(kind, usual)| file(&message[*kind], usual)).into_iter().collect()
}

fn file(file: &Value, usual: &str) -> Option<InboundMedia> {
    Some(InboundMedia {
        content_type: Some(file["mime_type"].as_str().unwrap_or(usual).to_owned()),
        reference: file["file_id"].as_str()?.to_owned(),
        filename: file["file_name"].as_str().map(str::to_owned),
    })
}

fn location(message: &Value) -> Option<Location> {
    let (point, venue) = (&message["location"], &message["venue"]);
    let word = |value: &Value| value.as_str().filter(|word| !word.is_empty()).map(str::to_owned);
    Some(Location {
        latitude: point["latitude"].as_f64()?,
        longitude: point["longitude"].as_f64()?,
        name: word(&venue["title"]),
        address: word(&venue["address"]),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Values;
    use serde::Deserialize;

    #[derive(Deserialize)]
    struct Vectors {
        header_name: String,
        secret_token: String,
        cases: Vec<Vector>,
    }

    #[derive(Deserialize)]
    struct Vector {
        header: Option<String>,
        valid: bool,
    }

    fn is_valid(secret: Option<&str>, name: &str, header: Option<&str>) -> bool {
        let mut settings = Values::default();
        settings.set("bot_token", "1:x");
        if let Some(secret) = secret {
            settings.set("secret_token", secret);
        }
        let cx =
            Cx { settings: &settings, from: None, base_url: None, callback_url: "", now: Timestamp::EPOCH, nonce: 0 };
        let headers: Vec<_> = header.map(|value| (name.to_ascii_lowercase(), value.to_owned())).into_iter().collect();
        let request = Request { method: "POST", path: "", query: "", headers: &headers, body: b"{}" };
        matches!(Telegram.verify(&cx, &request, None), Verdict::Valid)
    }

    #[test]
    fn the_secret_token_must_match() {
        let vectors: Vectors = serde_json::from_str(include_str!("../../tests/data/telegram_secret.json")).unwrap();
        for vector in &vectors.cases {
            let given = is_valid(Some(&vectors.secret_token), &vectors.header_name, vector.header.as_deref());
            assert_eq!(given, vector.valid, "{:?}", vector.header);
        }
        for at in 0..vectors.secret_token.len() {
            let mut bent = vectors.secret_token.as_bytes().to_vec();
            bent[at] ^= 1;
            let bent = String::from_utf8(bent).unwrap();
            assert!(!is_valid(Some(&vectors.secret_token), &vectors.header_name, Some(&bent)), "byte {at}");
        }
        // Without a secret on the account nothing can be shown to come from Telegram, whatever the request says.
        for header in [None, Some(""), Some("abc_DEF-123")] {
            assert!(!is_valid(None, &vectors.header_name, header));
            assert!(!is_valid(Some(""), &vectors.header_name, header));
        }
    }
}
