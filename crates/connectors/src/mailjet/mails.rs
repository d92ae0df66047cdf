//! Mails that the Parse API posts to us.
//! <https://dev.mailjet.com/email/guides/parse-api/>

use base64::{Engine as _, engine::general_purpose::STANDARD};
use mail_parser::{MessageParser, MimeHeaders as _};
use model::AttemptId;
use serde_json::Value;

use super::Settings;
use crate::{
    Cx, InboundFile, Observed, email,
    letter::{self, Letter},
};

/// True when a body is a mail: events name their kind.
pub(super) fn is_mail(body: &Value) -> bool {
    body.get("event").is_none() && body.get("Recipient").is_some() && body.get("Headers").is_some()
}

/// Reads a posted mail.
pub(super) fn read(cx: &Cx<'_>, settings: &Settings, body: &Value) -> Vec<Observed> {
    let text = |name: &str| body.get(name).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned);
    let head = letter::head(headers(&body["Headers"]));
    let Some(head) = MessageParser::default().parse(&head) else { return Vec::new() };
    let recipients = text("Recipient").into_iter().collect();
    let parts = body.get("Parts").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    // The answered mail's own: our echo.
    let answers = email::text(body, "/CustomID").and_then(|id| id.parse().ok()).map(AttemptId::message);
    letter::read(
        cx,
        Some(&settings.secret_key),
        Letter {
            head: head.into_owned(),
            recipients,
            text: text("Text-part"),
            html: text("Html-part"),
            files: parts.iter().filter_map(|part| file(body, part)).collect(),
            left_out: 0,
            answers,
        },
    )
}

/// Headers that come once are texts, others lists of texts.
fn headers(object: &Value) -> Vec<(&str, &str)> {
    let mut all = Vec::new();
    for (name, value) in object.as_object().into_iter().flatten() {
        match value {
            Value::Array(values) => {
                all.extend(values.iter().filter_map(Value::as_str).map(|value| (name.as_str(), value)))
            }
            value => all.extend(value.as_str().map(|value| (name.as_str(), value))),
        }
    }
    all
}

/// A file, whose bytes stand under the name its part refers to.
fn file(body: &Value, part: &Value) -> Option<InboundFile> {
    let name = email::text(part, "/ContentRef")
        .filter(|name| name.starts_with("Attachment") || name.starts_with("InlineAttachment"))?;
    let bytes = STANDARD.decode(body.get(name)?.as_str()?).ok()?;
    let head = letter::head(headers(&part["Headers"]));
    let head = MessageParser::default().parse(&head)?;
    let kind = head.content_type().map(|kind| format!("{}/{}", kind.ctype(), kind.subtype().unwrap_or("octet-stream")));
    Some(InboundFile {
        filename: head.attachment_name().unwrap_or_default().to_owned(),
        content_type: kind.unwrap_or_default(),
        content_id: head.content_id().map(str::to_owned),
        bytes: bytes.into(),
    })
}
