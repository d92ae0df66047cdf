//! Mails and multipart forms, as far as they are looked at.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use mail_parser::{MessageParser, MimeHeaders as _};

use crate::{fields::Fields, message::Draft};

/// What a mail says, put into a draft: subject, text, and a line for each other part.
pub(crate) fn describe(draft: &mut Draft, mail: &[u8]) {
    let Some(mail) = MessageParser::default().parse(mail) else { return };
    draft.subject = mail.subject().map(str::to_owned);
    draft.reply_to = mail.reply_to().and_then(|to| to.first()).and_then(|to| to.address()).map(str::to_owned);
    draft.text = mail.body_text(0).map(|text| text.trim_end().to_owned()).unwrap_or_default();
    draft.parts.extend((mail.html_body_count() > 0).then(|| "html".to_owned()));
    for part in mail.attachments() {
        let kind = part
            .content_type()
            .map_or(String::new(), |kind| format!("{}/{}", kind.ctype(), kind.subtype().unwrap_or_default()));
        let name = part.attachment_name().unwrap_or_default();
        draft.parts.push(match part.content_id() {
            Some(id) => format!("inline {name} {kind} {} bytes cid:{id}", part.contents().len()),
            None => format!("attachment {name} {kind} {} bytes", part.contents().len()),
        });
    }
}

/// The address of `Ada <ada@example.com>`.
pub(crate) fn bare(written: &str) -> String {
    let inner = written.rsplit_once('<').map_or(written, |(_, inner)| inner.trim_end_matches('>'));
    inner.trim().to_owned()
}

/// True for something like a mail address.
pub(crate) fn is_address(text: &str) -> bool {
    let is_plain = !text.contains([' ', '<', '>', ',', '\r', '\n']);
    is_plain
        && text.rsplit_once('@').is_some_and(|(local, domain)| {
            !local.is_empty() && domain.contains('.') && !domain.starts_with('.') && !domain.ends_with('.')
        })
}

/// A line for a file that came in base64.
pub(crate) fn part(filename: &str, content_type: &str, base64: &str, content_id: &str) -> String {
    let size =
        STANDARD.decode(base64).map_or_else(|_| "unreadable".to_owned(), |bytes| format!("{} bytes", bytes.len()));
    match content_id {
        "" => format!("attachment {filename} {content_type} {size}"),
        id => format!("inline {filename} {content_type} {size} cid:{id}"),
    }
}

/// A file in a form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FormFile {
    pub name: String,
    pub filename: String,
    pub content_type: String,
    pub size: usize,
}

/// Fields and files of a `multipart/form-data` body (RFC 7578). Anything that is none yields nothing.
pub(crate) fn form_data(content_type: &str, body: &[u8]) -> (Fields, Vec<FormFile>) {
    let (mut fields, mut files) = (Fields::default(), Vec::new());
    let boundary = content_type.split_once("boundary=").map_or("", |(_, rest)| rest.split(';').next().unwrap_or(rest));
    let boundary = boundary.trim().trim_matches('"');
    if boundary.is_empty() {
        return (fields, files);
    }
    let body = [b"\r\n", body].concat();
    let mark = format!("\r\n--{boundary}");
    let marks: Vec<usize> = memchr::memmem::find_iter(&body, mark.as_bytes()).collect();
    for pair in marks.windows(2) {
        let part = body.get(pair[0] + mark.len() + 2..pair[1]).unwrap_or_default();
        let Some(end) = memchr::memmem::find(part, b"\r\n\r\n") else { continue };
        let (head, content) = (String::from_utf8_lossy(&part[..end]).into_owned(), &part[end + 4..]);
        let header = |name: &str| {
            head.lines().find_map(|line| {
                let (known, value) = line.split_once(':')?;
                known.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
            })
        };
        let disposition = header("content-disposition").unwrap_or_default();
        let parameter = |name: &str| {
            let (_, rest) = disposition.split_once(&format!("; {name}=\""))?;
            Some(rest.split('"').next().unwrap_or_default().to_owned())
        };
        let name = parameter("name").unwrap_or_default();
        match parameter("filename") {
            Some(filename) => files.push(FormFile {
                name,
                filename,
                content_type: header("content-type").unwrap_or_default(),
                size: content.len(),
            }),
            None => fields.0.push((name, String::from_utf8_lossy(content).into_owned())),
        }
    }
    (fields, files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_with_a_file() {
        let body = "--x\r\nContent-Disposition: form-data; name=\"to\"\r\n\r\nada@example.com\r\n--x\r\n\
                    content-disposition: form-data; name=\"attachment\"; filename=\"t.pdf\"\r\ncontent-type: application/pdf\r\n\r\n%PDF\r\n\r\n1\r\n--x--\r\n";
        let (fields, files) = form_data("multipart/form-data; boundary=x", body.as_bytes());
        assert_eq!(fields.get("to"), "ada@example.com");
        let [file] = &files[..] else { panic!("{files:?}") };
        assert_eq!((file.name.as_str(), file.filename.as_str(), file.size), ("attachment", "t.pdf", 9));
        assert_eq!(form_data("text/plain", b"x"), (Fields::default(), Vec::new()));
    }
}
