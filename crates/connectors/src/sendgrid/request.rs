//! The body of `mail/send`.
//! <https://www.twilio.com/docs/sendgrid/api-reference/mail-send/mail-send#request-body>

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use model::{EmailContent, Failure, FailureKind};
use serde::Serialize;

use super::{MAIL_MAX, NAME};
use crate::{Cx, File, Outgoing, email, mime};

/// Headers SendGrid keeps for itself, besides those of every mail.
const RESERVED: &[&str] = &["x-sg-id", "x-sg-eid"];

#[derive(Serialize)]
struct MailSend<'a> {
    personalizations: Vec<Personalization<'a>>,
    from: Party<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reply_to: Option<Party<'a>>,
    subject: &'a str,
    content: Vec<Part<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    attachments: Vec<Attachment<'a>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    headers: BTreeMap<&'a str, String>,
}

#[derive(Serialize)]
struct Personalization<'a> {
    to: [Party<'a>; 1],
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    headers: BTreeMap<&'a str, String>,
    custom_args: BTreeMap<&'static str, String>,
}

#[derive(Serialize)]
struct Party<'a> {
    email: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
}

#[derive(Serialize)]
struct Part<'a> {
    r#type: &'static str,
    value: &'a str,
}

#[derive(Serialize)]
struct Attachment<'a> {
    content: String,
    r#type: &'a str,
    filename: &'a str,
    disposition: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_id: Option<&'a str>,
}

/// Refuses what SendGrid would refuse or not carry.
pub(super) fn check(content: &EmailContent) -> Result<(), Failure> {
    email::check(content, NAME, MAIL_MAX)?;
    if content.subject.is_empty() {
        return Err(email::refused("subject", "is empty, which SendGrid does not take"));
    }
    if email::present(&content.text).is_none() && email::present(&content.html).is_none() {
        return Err(email::refused("text", "and `html` are both empty, which SendGrid does not take"));
    }
    if let Some(name) = content.headers.keys().find(|name| RESERVED.contains(&name.to_ascii_lowercase().as_str())) {
        return Err(email::refused(&format!("headers.{name}"), "is SendGrid's own and cannot be set"));
    }
    if let Some(index) = content.attachments.iter().position(|file| file.size == 0) {
        return Err(email::refused(&format!("attachments[{index}]"), "is an empty file, which SendGrid does not take"));
    }
    Ok(())
}

/// Builds the body for messages of the same text and files. What all share stands once, what differs stands with each recipient.
pub(super) fn body(cx: &Cx<'_>, messages: &[Outgoing<'_>]) -> Result<Vec<u8>, Failure> {
    let parties = messages.iter().map(|message| mime::parties(cx, message)).collect::<Result<Vec<_>, _>>()?;
    let (Some(first), Some(message)) = (parties.first(), messages.first()) else {
        return Err(Failure::new(FailureKind::Unavailable, "no_messages", "There is no message to send."));
    };
    let content = first.content;
    check(content)?;
    let is_shared = parties.iter().all(|party| party.content.headers == content.headers);
    let personalizations = messages.iter().zip(&parties).map(|(message, party)| Personalization {
        to: [Party { email: party.to.as_str(), name: None }],
        subject: (party.content.subject != content.subject).then_some(&party.content.subject),
        headers: if is_shared { BTreeMap::new() } else { email::headers(party.content) },
        custom_args: [(email::ECHO, message.attempt_id.to_string())].into(),
    });
    let request = MailSend {
        personalizations: personalizations.collect(),
        from: Party { email: first.from.address.as_str(), name: first.from.name.as_deref() },
        reply_to: content.reply_to.as_ref().map(|address| Party { email: address.as_str(), name: None }),
        subject: &content.subject,
        content: parts(content),
        attachments: email::files(message, content)?.iter().map(|file| attachment(content, file)).collect(),
        headers: if is_shared { email::headers(content) } else { BTreeMap::new() },
    };
    serde_json::to_vec(&request).map_err(|error| email::refused("content", &format!("has no JSON form: {error}")))
}

/// The plain text must come first.
fn parts(content: &EmailContent) -> Vec<Part<'_>> {
    let text = email::present(&content.text).map(|value| Part { r#type: "text/plain", value });
    let html = email::present(&content.html).map(|value| Part { r#type: "text/html", value });
    text.into_iter().chain(html).collect()
}

fn attachment<'a>(content: &EmailContent, file: &'a File) -> Attachment<'a> {
    let is_inline = email::is_inline(content, &file.reference);
    Attachment {
        content: STANDARD.encode(&file.bytes),
        r#type: &file.reference.content_type,
        filename: &file.reference.filename,
        disposition: if is_inline { "inline" } else { "attachment" },
        content_id: file.reference.content_id.as_deref().filter(|_| is_inline),
    }
}
