//! The body of `SendEmail`.
//! <https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendEmail.html>

use base64::{Engine as _, engine::general_purpose::STANDARD};
use model::{EmailContent, Failure, FailureKind};
use serde::Serialize;

use crate::{Cx, File, Outgoing, mime};

/// The tag that carries our attempt id and comes back in every event.
pub(super) const TAG: &str = "tidings_attempt";
/// Most headers of a `Simple` mail; more travel as `Raw`.
const HEADERS_MAX: usize = 15;
/// Longest header name and value together in a `Simple` mail, and longest value.
const HEADER_MAX: usize = 996;
const HEADER_VALUE_MAX: usize = 995;
/// Largest mail, in bytes, encoded.
const MAIL_MAX: u64 = 40 * 1024 * 1024;

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct SendEmail<'a> {
    from_email_address: String,
    destination: Destination<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reply_to_addresses: Option<[&'a str; 1]>,
    content: Content<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    configuration_set_name: Option<&'a str>,
    email_tags: [Pair<'a>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Destination<'a> {
    pub to_addresses: [&'a str; 1],
}

#[derive(Serialize)]
enum Content<'a> {
    Simple(Simple<'a>),
    Raw(Raw),
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Simple<'a> {
    subject: Text<'a>,
    body: Body<'a>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    headers: Vec<Pair<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    attachments: Vec<Attachment<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Body<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    html: Option<Text<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Text<'a> {
    data: &'a str,
    charset: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Raw {
    data: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Pair<'a> {
    pub name: &'a str,
    pub value: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Attachment<'a> {
    file_name: &'a str,
    content_type: &'a str,
    content_disposition: &'static str,
    content_transfer_encoding: &'static str,
    raw_content: String,
}

/// Builds the body: `Simple` where it can say everything, `Raw` for inline images and unusual headers.
pub(super) fn body(cx: &Cx<'_>, message: &Outgoing<'_>, configuration_set: Option<&str>) -> Result<Vec<u8>, Failure> {
    let parties = mime::parties(cx, message)?;
    let content = parties.content;
    if !parties.to.as_str().is_ascii() {
        let detail = "Amazon SES takes no recipients with letters beyond ASCII before the @.";
        return Err(Failure::new(FailureKind::Recipient, "address_not_ascii", detail));
    }
    let said = if is_simple(content) {
        mime::check(content)?;
        Content::Simple(simple(content, message.files))
    } else {
        let mail = mime::Mail {
            from: &parties.from,
            to: parties.to,
            message_id: message.message_id,
            at: message.accepted_at,
            content,
            files: message.files,
            nonce: cx.nonce,
        };
        Content::Raw(Raw { data: STANDARD.encode(mime::build(&mail)?) })
    };
    let attempt_id = message.attempt_id.to_string();
    let request = SendEmail {
        from_email_address: mime::mailbox_text(&parties.from),
        destination: Destination { to_addresses: [parties.to.as_str()] },
        reply_to_addresses: content.reply_to.as_ref().map(|address| [address.as_str()]),
        content: said,
        configuration_set_name: configuration_set,
        email_tags: [Pair { name: TAG, value: &attempt_id }],
    };
    serde_json::to_vec(&request).map_err(|error| {
        Failure::new(FailureKind::Content, "bad_content", format!("The mail has no JSON form: {error}."))
    })
}

/// Refuses mails that are larger than Amazon SES takes, by the sizes that are known before the bytes are read.
pub(super) fn check_size(content: &EmailContent) -> Result<(), Failure> {
    let texts = [&content.text, &content.html].into_iter().flatten().map(|text| text.len() as u64).sum::<u64>();
    let files = content.attachments.iter().map(|file| file.size).fold(0, u64::saturating_add);
    if texts.saturating_add(files.saturating_mul(4) / 3) <= MAIL_MAX {
        return Ok(());
    }
    let detail = "`attachments` are too large: Amazon SES takes mails of up to 40 MB, encoded.";
    Err(Failure::new(FailureKind::Content, "too_large", detail))
}

/// True for what SES can be told without building the mail ourselves.
pub(super) fn is_simple(content: &EmailContent) -> bool {
    let is_plain = |(name, value): (&String, &String)| {
        (1..=HEADER_VALUE_MAX).contains(&value.len())
            && name.len() + value.len() <= HEADER_MAX
            && value.bytes().all(|b| matches!(b, b' '..=b'~'))
    };
    let has_inline = content.html.is_some() && content.attachments.iter().any(|file| file.content_id.is_some());
    !has_inline && content.headers.len() <= HEADERS_MAX && content.headers.iter().all(is_plain)
}

fn simple<'a>(content: &'a EmailContent, files: &'a [File]) -> Simple<'a> {
    let text = |data: &'a str| Text { data, charset: "UTF-8" };
    Simple {
        subject: text(&content.subject),
        body: Body { text: content.text.as_deref().map(text), html: content.html.as_deref().map(text) },
        headers: content.headers.iter().map(|(name, value)| Pair { name, value }).collect(),
        attachments: files.iter().map(attachment).collect(),
    }
}

fn attachment(file: &File) -> Attachment<'_> {
    Attachment {
        file_name: &file.reference.filename,
        content_type: &file.reference.content_type,
        content_disposition: "ATTACHMENT",
        content_transfer_encoding: "BASE64",
        raw_content: STANDARD.encode(&file.bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{AttachmentId, AttachmentRef};

    fn with_headers(headers: Vec<(String, String)>) -> EmailContent {
        EmailContent { html: Some(String::new()), headers: headers.into_iter().collect(), ..EmailContent::default() }
    }

    fn with_file(content_id: Option<&str>, size: u64) -> EmailContent {
        let file = AttachmentRef {
            attachment_id: AttachmentId::from_ulid(1),
            filename: "a".into(),
            content_type: "a/b".into(),
            sha256: String::new(),
            size,
            content_id: content_id.map(str::to_owned),
        };
        EmailContent { attachments: vec![file], ..with_headers(Vec::new()) }
    }

    #[test]
    fn raw_only_where_simple_cannot_say_it() {
        let header = |value: String| with_headers(vec![("X-A".to_owned(), value)]);
        let many =
            |count: usize| with_headers((0..count).map(|index| (format!("X-{index}"), "1".to_owned())).collect());
        for (content, wanted) in [
            (header("plain".into()), true),
            (header("x".repeat(993)), true),
            (header("x".repeat(994)), false),
            (header(String::new()), false),
            (header("Grüße".into()), false),
            (many(15), true),
            (many(16), false),
            (with_file(None, 1), true),
            (with_file(Some("logo"), 1), false),
            (EmailContent { html: None, ..with_file(Some("logo"), 1) }, true),
        ] {
            assert_eq!(is_simple(&content), wanted, "{content:?}");
        }
    }

    #[test]
    fn forty_megabytes_are_the_end() {
        assert_eq!(check_size(&with_file(None, MAIL_MAX / 4 * 3)), Ok(()));
        assert_eq!(check_size(&with_file(None, MAIL_MAX / 4 * 3 + 3)).unwrap_err().kind, FailureKind::Content);
        assert!(check_size(&with_file(None, u64::MAX)).is_err());
    }
}
