//! The body of `v3.1/send`.
//! <https://dev.mailjet.com/email/reference/send-emails/#v3_1_post_send>

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use model::{EmailContent, Failure, FailureKind};
use serde::Serialize;

use super::NAME;
use crate::{Cx, File, Outgoing, email, mime};

/// All files of a message together, in bytes, encoded.
const FILES_MAX: u64 = 15 * 1024 * 1024;
/// Longest subject, in characters.
const SUBJECT_MAX: usize = 255;
/// Headers Mailjet writes itself or has a property for, besides those of every mail.
/// <https://dev.mailjet.com/email/guides/send-api-v31/#add-email-headers>
const RESERVED: &[&str] = &[
    "authentication-results",
    "delivered-to",
    "domainkey-status",
    "list-id",
    "received-spf",
    "user-agent",
    "x-csa-complaints",
    "x-feedback-id",
    "x-mailer",
];
/// Beginnings of header names that are likewise Mailjet's.
const RESERVED_PREFIXES: &[&str] = &["x-mj-", "x-mailjet-"];

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Send<'a> {
    messages: Vec<Message<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Message<'a> {
    from: Party<'a>,
    to: [Party<'a>; 1],
    #[serde(skip_serializing_if = "Option::is_none")]
    reply_to: Option<Party<'a>>,
    #[serde(skip_serializing_if = "str::is_empty")]
    subject: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    text_part: Option<&'a str>,
    #[serde(rename = "HTMLPart", skip_serializing_if = "Option::is_none")]
    html_part: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    attachments: Vec<Attachment<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    inlined_attachments: Vec<Attachment<'a>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    headers: BTreeMap<&'a str, String>,
    #[serde(rename = "CustomID")]
    custom_id: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Party<'a> {
    email: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Attachment<'a> {
    content_type: &'a str,
    filename: &'a str,
    #[serde(rename = "ContentID", skip_serializing_if = "Option::is_none")]
    content_id: Option<&'a str>,
    #[serde(rename = "Base64Content")]
    content: String,
}

/// Refuses what Mailjet would refuse or not carry.
pub(super) fn check(content: &EmailContent) -> Result<(), Failure> {
    email::check(content, NAME, FILES_MAX)?;
    if email::present(&content.text).is_none() && email::present(&content.html).is_none() {
        return Err(email::refused("text", "and `html` are both empty, which Mailjet does not take"));
    }
    if content.subject.chars().count() > SUBJECT_MAX {
        return Err(email::refused("subject", &format!("has more than the {SUBJECT_MAX} characters Mailjet takes")));
    }
    let is_reserved = |name: &str| {
        let name = name.to_ascii_lowercase();
        RESERVED.contains(&name.as_str()) || RESERVED_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
    };
    if let Some(name) = content.headers.keys().find(|name| is_reserved(name)) {
        return Err(email::refused(&format!("headers.{name}"), "is Mailjet's own and cannot be set"));
    }
    if let Some(index) = content.attachments.iter().position(|file| file.size == 0) {
        return Err(email::refused(&format!("attachments[{index}]"), "is an empty file, which Mailjet does not take"));
    }
    Ok(())
}

/// Builds the body: one whole entry per message, because recipients of one message see each other.
pub(super) fn body(cx: &Cx<'_>, messages: &[Outgoing<'_>]) -> Result<Vec<u8>, Failure> {
    let parties = messages.iter().map(|message| mime::parties(cx, message)).collect::<Result<Vec<_>, _>>()?;
    let entry = |(message, party)| entry(message, party);
    let send = Send { messages: messages.iter().zip(&parties).map(entry).collect::<Result<_, _>>()? };
    serde_json::to_vec(&send).map_err(|error| {
        Failure::new(FailureKind::Content, "bad_content", format!("The mail has no JSON form: {error}."))
    })
}

fn entry<'a>(message: &Outgoing<'a>, parties: &'a mime::Parties<'a>) -> Result<Message<'a>, Failure> {
    let content = parties.content;
    check(content)?;
    let files = email::files(message, content)?;
    let (inlined, attached): (Vec<_>, Vec<_>) =
        files.iter().partition(|file| email::is_inline(content, &file.reference));
    Ok(Message {
        from: Party { email: parties.from.address.as_str(), name: parties.from.name.as_deref() },
        to: [Party { email: parties.to.as_str(), name: None }],
        reply_to: content.reply_to.as_ref().map(|address| Party { email: address.as_str(), name: None }),
        subject: &content.subject,
        text_part: email::present(&content.text),
        html_part: email::present(&content.html),
        attachments: attached.into_iter().map(|file| attachment(file, None)).collect(),
        inlined_attachments: inlined
            .into_iter()
            .map(|file| attachment(file, file.reference.content_id.as_deref()))
            .collect(),
        headers: email::headers(content),
        custom_id: message.attempt_id.to_string(),
    })
}

fn attachment<'a>(file: &'a File, content_id: Option<&'a str>) -> Attachment<'a> {
    Attachment {
        content_type: &file.reference.content_type,
        filename: &file.reference.filename,
        content_id,
        content: STANDARD.encode(&file.bytes),
    }
}
