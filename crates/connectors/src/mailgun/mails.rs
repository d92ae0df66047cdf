//! Mails that a Mailgun route forwards to us, as forms: whole (`body-mime`), or taken apart.
//! <https://documentation.mailgun.com/docs/mailgun/user-manual/receive-forward-store/receive-http>

use bytes::Bytes;
use mail_parser::MessageParser;
use serde_json::Value;

use super::Settings;
use crate::{
    Cx, InboundFile, Observed,
    letter::{self, Letter},
    multipart::{Fields, Part},
};

/// True when a form is a mail: events are JSON.
pub(super) fn is_mail(fields: &Fields<'_>) -> bool {
    fields.text("recipient").is_some() && fields.text("token").is_some()
}

/// Reads a forwarded mail.
pub(super) fn read(cx: &Cx<'_>, settings: &Settings, fields: &Fields<'_>) -> Vec<Observed> {
    let secret = Some(&settings.api_key);
    let recipients: Vec<String> =
        fields.text("recipient").iter().flat_map(|all| letter::addresses(all)).map(str::to_owned).collect();
    if let Some(raw) = fields.bytes("body-mime") {
        return letter::whole(cx, secret, raw, recipients);
    }
    let named = fields.text("message-headers").unwrap_or_default();
    let pairs: Vec<(String, String)> = serde_json::from_str(&named).unwrap_or_default();
    let head = letter::head(pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    let Some(head) = MessageParser::default().parse(&head) else { return Vec::new() };
    let text = |name: &str| fields.text(name).map(std::borrow::Cow::into_owned).filter(|text| !text.is_empty());
    // `{"<id>": "attachment-1"}`
    let ids: Value = fields.text("content-id-map").and_then(|map| serde_json::from_str(&map).ok()).unwrap_or_default();
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
    letter::read(
        cx,
        secret,
        Letter {
            head: head.into_owned(),
            recipients,
            text: text("body-plain"),
            html: text("body-html"),
            files,
            left_out: 0,
            answers: None,
        },
    )
}
