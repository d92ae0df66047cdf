//! What a mail may not hold. Each refusal names the field, so that the API can point at it.

use model::{AttachmentRef, EmailContent, Failure, FailureKind};

use super::header::RUN_MAX;

/// Headers the mail writes itself or that servers add; a tenant's own would contradict them.
const RESERVED: &[&str] = &[
    "from",
    "sender",
    "to",
    "cc",
    "bcc",
    "reply-to",
    "subject",
    "date",
    "message-id",
    "mime-version",
    "return-path",
    "received",
    "dkim-signature",
];
/// Beginnings of header names that are likewise not the tenant's.
const RESERVED_PREFIXES: &[&str] = &["content-", "resent-", "arc-"];
/// Most extra headers: real mails have a handful, and servers limit the whole block.
const HEADERS_MAX: usize = 50;
/// Longest header name: the least of the providers' limits (SES 126, with room for a fold).
const HEADER_NAME_MAX: usize = 76;
/// Longest header value in bytes: a `List-Unsubscribe` with two long links fits, a text does not belong there.
const HEADER_VALUE_MAX: usize = 4096;
/// Longest subject in bytes, far beyond what any reader shows.
const SUBJECT_MAX: usize = 2000;
/// Longest file name in characters: what file systems and SES take.
const FILENAME_MAX: usize = 255;

/// Refuses what cannot be written into a mail: a `content` failure whose detail names the field.
pub fn check(content: &EmailContent) -> Result<(), Failure> {
    line("subject", &content.subject)?;
    if content.subject.len() > SUBJECT_MAX {
        return Err(refused("subject", &format!("has more than {SUBJECT_MAX} bytes")));
    }
    if content.text.is_none() && content.html.is_none() {
        return Err(refused("text", "and `html` are both missing; give at least one of them"));
    }
    if content.headers.len() > HEADERS_MAX {
        return Err(refused("headers", &format!("has more than {HEADERS_MAX} entries")));
    }
    for (name, value) in &content.headers {
        header(name, value)?;
    }
    content.attachments.iter().enumerate().try_for_each(|(index, file)| attachment(index, file))
}

fn header(name: &str, value: &str) -> Result<(), Failure> {
    // The name is only repeated when it is one: it could itself hold line breaks.
    let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic() && b != b':');
    if !is_name || name.len() > HEADER_NAME_MAX {
        let problem = format!(
            "has a name that is no header name: up to {HEADER_NAME_MAX} visible ASCII characters without a colon"
        );
        return Err(refused("headers", &problem));
    }
    let field = format!("headers.{name}");
    let lower = name.to_ascii_lowercase();
    if RESERVED.contains(&lower.as_str()) || RESERVED_PREFIXES.iter().any(|prefix| lower.starts_with(prefix)) {
        return Err(refused(&field, "is written by the mail itself and cannot be set here"));
    }
    line(&field, value)?;
    if value.len() > HEADER_VALUE_MAX || value.split(' ').any(|word| word.len() > RUN_MAX) {
        let problem = format!("is too long: at most {HEADER_VALUE_MAX} bytes, and {RUN_MAX} without a space");
        return Err(refused(&field, &problem));
    }
    Ok(())
}

fn attachment(index: usize, file: &AttachmentRef) -> Result<(), Failure> {
    let field = |name: &str| format!("attachments[{index}].{name}");
    line(&field("filename"), &file.filename)?;
    if file.filename.is_empty() || file.filename.chars().count() > FILENAME_MAX {
        return Err(refused(&field("filename"), &format!("must have 1 to {FILENAME_MAX} characters")));
    }
    if !is_media_type(&file.content_type) {
        return Err(refused(&field("content_type"), "is not a media type such as application/pdf"));
    }
    let is_id = |id: &str| {
        !id.is_empty() && id.len() <= 200 && id.bytes().all(|b| b.is_ascii_graphic() && !b"<>\"".contains(&b))
    };
    if file.content_id.as_deref().is_some_and(|id| !is_id(id)) {
        return Err(refused(&field("content_id"), "must be visible ASCII characters without angle brackets or quotes"));
    }
    Ok(())
}

/// `type/subtype`, perhaps with parameters, in 7-bit text of at most 78 characters (SES's limit and one line).
fn is_media_type(text: &str) -> bool {
    let is_token = |token: &str| {
        !token.is_empty() && token.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&^_.+-".contains(&b))
    };
    let kind = text.split(';').next().unwrap_or_default().trim_end();
    text.len() <= 78
        && text.bytes().all(|b| matches!(b, b' '..=b'~'))
        && kind.split_once('/').is_some_and(|(main, sub)| is_token(main) && is_token(sub))
}

/// Refuses line breaks and other control characters: they would end the header and begin another.
fn line(field: &str, value: &str) -> Result<(), Failure> {
    let is_bad = |c: char| (c.is_control() && c != '\t') || matches!(c, '\u{2028}' | '\u{2029}');
    if value.contains(is_bad) { Err(refused(field, "may not hold line breaks or control characters")) } else { Ok(()) }
}

fn refused(field: &str, problem: &str) -> Failure {
    Failure::new(FailureKind::Content, "bad_content", format!("`{field}` {problem}."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::AttachmentId;

    fn mail() -> EmailContent {
        EmailContent { subject: "Hi".into(), text: Some("Hello".into()), ..EmailContent::default() }
    }

    fn refusal(content: &EmailContent) -> String {
        let failure = check(content).unwrap_err();
        assert_eq!(failure.kind, FailureKind::Content);
        failure.detail
    }

    #[test]
    fn a_common_mail_passes() {
        let headers = [
            ("List-Unsubscribe", "<https://u.example.com/u/1>, <mailto:u@example.com>"),
            ("List-Unsubscribe-Post", "List-Unsubscribe=One-Click"),
            ("X-Size", "Größe"),
        ];
        let headers = headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        assert_eq!(check(&EmailContent { headers, ..mail() }), Ok(()));
    }

    #[test]
    fn nothing_can_be_injected() {
        for break_ in ["\r\nBcc: x@example.com", "\nx", "\rx", "\0", "\u{85}", "\u{2028}"] {
            assert!(refusal(&EmailContent { subject: format!("Hi{break_}"), ..mail() }).starts_with("`subject`"));
            let headers = [("X-A".to_owned(), format!("b{break_}"))].into();
            assert!(refusal(&EmailContent { headers, ..mail() }).starts_with("`headers.X-A`"));
            let headers = [(format!("X-A{break_}"), "b".to_owned())].into();
            assert!(refusal(&EmailContent { headers, ..mail() }).starts_with("`headers` has a name"));
            for (filename, content_type, content_id, field) in [
                (format!("a{break_}"), "a/b".to_owned(), None, "filename"),
                ("a".to_owned(), format!("a/b{break_}"), None, "content_type"),
                ("a".to_owned(), "a/b".to_owned(), Some(format!("a{break_}")), "content_id"),
            ] {
                let file = AttachmentRef {
                    attachment_id: AttachmentId::from_ulid(1),
                    filename,
                    content_type,
                    content_id,
                    sha256: String::new(),
                    size: 0,
                };
                let text = refusal(&EmailContent { attachments: vec![file], ..mail() });
                assert!(text.starts_with(&format!("`attachments[0].{field}`")), "{text}");
            }
        }
    }

    #[test]
    fn the_mails_own_headers_are_refused_in_any_case() {
        for name in [
            "From",
            "TO",
            "cc",
            "Bcc",
            "Date",
            "Message-Id",
            "MIME-Version",
            "Content-Type",
            "content-foo",
            "Return-Path",
            "Received",
            "DKIM-Signature",
            "Sender",
            "Subject",
            "Reply-To",
            "Resent-From",
            "ARC-Seal",
        ] {
            let headers = [(name.to_owned(), "x".to_owned())].into();
            assert_eq!(
                refusal(&EmailContent { headers, ..mail() }),
                format!("`headers.{name}` is written by the mail itself and cannot be set here.")
            );
        }
        for name in ["", "a b", "a:b", "ä", &"x".repeat(77)] {
            let headers = [(name.to_owned(), "x".to_owned())].into();
            assert!(refusal(&EmailContent { headers, ..mail() }).starts_with("`headers` has a name"), "{name}");
        }
    }

    #[test]
    fn sizes_have_limits() {
        assert!(refusal(&EmailContent { subject: "x".repeat(2001), ..mail() }).starts_with("`subject`"));
        assert!(refusal(&EmailContent { text: None, ..mail() }).starts_with("`text`"));
        let headers = [("X-A".to_owned(), "x".repeat(851))].into();
        assert!(refusal(&EmailContent { headers, ..mail() }).starts_with("`headers.X-A` is too long"));
        let headers = (0..51).map(|index| (format!("X-{index}"), String::new())).collect();
        assert!(refusal(&EmailContent { headers, ..mail() }).starts_with("`headers` has more"));
    }
}
