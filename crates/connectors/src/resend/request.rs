//! The body of `emails`, and of `emails/batch`, which is a list of the same.
//! <https://resend.com/docs/api-reference/emails/send-email>

use std::collections::BTreeMap;

use aws_lc_rs::digest;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use model::{BadSetting, EmailContent, Failure, FailureKind, Mailbox};
use serde::Serialize;

use super::NAME;
use crate::{Cx, File, Outgoing, email, mime, mime::Parties};

/// The tag that names our message and comes back in every event. It is not the attempt's, so that a repeat has the same payload.
pub(super) const TAG: &str = "tidings_message";
/// Largest mail, in bytes, encoded.
/// <https://resend.com/docs/dashboard/emails/attachments>
const MAIL_MAX: u64 = 40 * 1024 * 1024;
/// Bytes of the payload's hash in an idempotency key: as many as nobody can meet by chance.
const HASH_BYTES: usize = 16;
/// What Resend refuses in a sender's name, quoted or not.
const BAD_NAME: &[char] = &[',', ';', ':', '"', '<', '>', '@', '\\'];

#[derive(Serialize)]
struct SendEmail<'a> {
    from: String,
    to: [&'a str; 1],
    subject: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    html: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reply_to: Option<[&'a str; 1]>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    headers: BTreeMap<&'a str, String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    attachments: Vec<Attachment<'a>>,
    tags: [Tag; 1],
}

#[derive(Serialize)]
struct Attachment<'a> {
    filename: &'a str,
    content_type: &'a str,
    content: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_id: Option<&'a str>,
}

#[derive(Serialize)]
struct Tag {
    name: &'static str,
    value: String,
}

/// Refuses what Resend would refuse or not carry.
pub(super) fn check(content: &EmailContent) -> Result<(), Failure> {
    email::check(content, NAME, MAIL_MAX)?;
    if content.subject.is_empty() {
        return Err(email::refused("subject", "is empty, which Resend does not take"));
    }
    if email::present(&content.text).is_none() && email::present(&content.html).is_none() {
        return Err(email::refused("text", "and `html` are both empty, which Resend does not take"));
    }
    if let Some(index) = content.attachments.iter().position(|file| file.size == 0) {
        return Err(email::refused(&format!("attachments[{index}]"), "is an empty file, which Resend does not take"));
    }
    Ok(())
}

/// Refuses names that Resend cannot read as a sender: it knows neither quotes nor encoded words.
pub(super) fn check_name(from: &str) -> Result<(), BadSetting> {
    match mime::mailbox(from)?.name {
        Some(name) if name.contains(BAD_NAME) => Err(email::bad(
            "from",
            "has a name with punctuation that Resend does not take; leave out , ; : \" < > @ and \\",
        )),
        Some(_) | None => Ok(()),
    }
}

/// The body of one message.
pub(super) fn single(cx: &Cx<'_>, message: &Outgoing<'_>) -> Result<Vec<u8>, Failure> {
    let parties = mime::parties(cx, message)?;
    json(&mail(message, &parties)?)
}

/// The body of many messages.
pub(super) fn batch(cx: &Cx<'_>, messages: &[Outgoing<'_>]) -> Result<Vec<u8>, Failure> {
    let parties = messages.iter().map(|message| mime::parties(cx, message)).collect::<Result<Vec<_>, _>>()?;
    let mails = messages.iter().zip(&parties).map(|(message, parties)| mail(message, parties));
    json(&mails.collect::<Result<Vec<_>, _>>()?)
}

/// The idempotency key of a payload: what was changed since is another request, and not a conflict.
pub(super) fn key(name: &str, body: &[u8]) -> String {
    let hash = digest::digest(&digest::SHA256, body);
    let hex: String = hash.as_ref().iter().take(HASH_BYTES).map(|byte| format!("{byte:02x}")).collect();
    format!("{name}-{hex}")
}

fn json(body: &impl Serialize) -> Result<Vec<u8>, Failure> {
    serde_json::to_vec(body).map_err(|error| {
        Failure::new(FailureKind::Content, "bad_content", format!("The mail has no JSON form: {error}."))
    })
}

fn mail<'a>(message: &Outgoing<'a>, parties: &Parties<'a>) -> Result<SendEmail<'a>, Failure> {
    let content = parties.content;
    check(content)?;
    Ok(SendEmail {
        from: sender(&parties.from),
        to: [parties.to.as_str()],
        subject: &content.subject,
        text: email::present(&content.text),
        html: email::present(&content.html),
        reply_to: content.reply_to.as_ref().map(|address| [address.as_str()]),
        headers: email::headers(content),
        attachments: email::files(message, content)?.iter().map(|file| attachment(content, file)).collect(),
        tags: [Tag { name: TAG, value: message.message_id.to_string() }],
    })
}

/// Names stand as they are, beyond ASCII too: Resend refuses encoded words and quotes in `from`.
fn sender(from: &Mailbox) -> String {
    from.to_string()
}

fn attachment<'a>(content: &EmailContent, file: &'a File) -> Attachment<'a> {
    let reference = &file.reference;
    Attachment {
        filename: &reference.filename,
        content_type: &reference.content_type,
        content: STANDARD.encode(&file.bytes),
        content_id: reference.content_id.as_deref().filter(|_| email::is_inline(content, reference)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_resend_cannot_read_are_refused_when_the_account_is_saved() {
        for good in ["a@acme.example", "Acme <a@acme.example>", "Bücher & mehr GmbH. <a@acme.example>"] {
            assert_eq!(check_name(good), Ok(()), "{good}");
        }
        for bad in ["\"Acme, Inc.\" <a@acme.example>", "Acme: Tickets <a@acme.example>", "Say \"hi\" <a@acme.example>"]
        {
            assert_eq!(check_name(bad).unwrap_err().field, "from", "{bad}");
        }
    }

    #[test]
    fn another_payload_has_another_key() {
        assert_eq!(key("m", b"a"), key("m", b"a"));
        assert_ne!(key("m", b"a"), key("m", b"b"));
        assert_eq!(key("m", b"a").len(), 2 + 2 * HASH_BYTES);
    }
}
