//! Mails that Inbound Parse posts to us, as forms: whole (`email`, with "POST the raw, full MIME message"), or taken apart.
//! <https://www.twilio.com/docs/sendgrid/for-developers/parsing-email/setting-up-the-inbound-parse-webhook>

use bytes::Bytes;
use mail_parser::{MessageParser, decoders::charsets::map::charset_decoder};
use serde_json::Value;

use super::Settings;
use crate::{
    Cx, InboundFile, Observed,
    letter::{self, Letter},
    multipart::{Fields, Part},
};

/// Reads a posted mail.
pub(super) fn read(cx: &Cx<'_>, settings: &Settings, fields: &Fields<'_>) -> Vec<Observed> {
    let secret = Some(&settings.api_key);
    let recipients = recipients(fields);
    if let Some(raw) = fields.bytes("email") {
        return letter::whole(cx, secret, raw, recipients);
    }
    let Some(head) = fields.bytes("headers").map(|head| [head.trim_ascii_end(), b"\r\n\r\n"].concat()) else {
        return Vec::new();
    };
    let Some(head) = MessageParser::default().parse(&head) else { return Vec::new() };
    let json =
        |name: &str| fields.text(name).and_then(|text| serde_json::from_str::<Value>(&text).ok()).unwrap_or_default();
    let (charsets, ids) = (json("charsets"), json("content-ids"));
    let text = |name: &str| {
        let charset = charsets.get(name).and_then(Value::as_str).unwrap_or("utf-8");
        fields.bytes(name).map(|bytes| decoded(bytes, charset)).filter(|text| !text.is_empty())
    };
    let id_of = |part: &Part<'_>| {
        let (id, _) = ids.as_object()?.iter().find(|(_, name)| name.as_str() == Some(&part.name))?;
        Some(id.clone())
    };
    let file = |part: &Part<'_>| InboundFile {
        filename: part.filename.clone().unwrap_or_default(),
        content_type: part.content_type.clone().unwrap_or_default(),
        content_id: id_of(part),
        bytes: Bytes::copy_from_slice(&part.bytes),
    };
    let files = fields.files().map(file).collect();
    let letter = Letter {
        head: head.into_owned(),
        recipients,
        text: text("text"),
        html: text("html"),
        files,
        left_out: 0,
        answers: None,
    };
    letter::read(cx, secret, letter)
}

/// For whom the mail came: the envelope, which senders cannot word as they like.
fn recipients(fields: &Fields<'_>) -> Vec<String> {
    let envelope = fields.text("envelope").and_then(|text| serde_json::from_str::<Value>(&text).ok());
    let to = envelope.as_ref().and_then(|envelope| envelope.get("to")).and_then(Value::as_array);
    to.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Each field comes in the charset it was written in.
fn decoded(bytes: &[u8], charset: &str) -> String {
    match charset_decoder(charset.as_bytes()) {
        Some(decode) if !charset.eq_ignore_ascii_case("utf-8") => decode(bytes),
        Some(_) | None => String::from_utf8_lossy(bytes).into_owned(),
    }
}
