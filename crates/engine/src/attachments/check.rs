//! What a file may be called and said to be. Pure.

use crate::{FieldError, accept::request::AttachmentRequest};

/// Longest file name, in bytes: what file systems take.
const FILENAME_MAX: usize = 255;
/// Longest media type, in bytes: SES's limit, and one line of a mail.
const CONTENT_TYPE_MAX: usize = 78;
/// Longest content id, in bytes.
const CONTENT_ID_MAX: usize = 200;
/// Longest URL of a file, in bytes.
const URL_MAX: usize = 2_048;

/// What is wrong with a file of a request, before its bytes are looked at.
pub(super) fn request(pointer: &str, file: &AttachmentRequest) -> Vec<FieldError> {
    let sources = [file.attachment_id.is_some(), file.content_base64.is_some(), file.url.is_some()];
    let mut bad = Vec::new();
    let mut add = |field: &str, problem: Option<String>| {
        bad.extend(problem.map(|problem| FieldError::new(format!("{pointer}{field}"), problem)));
    };
    if sources.iter().filter(|is_given| **is_given).count() != 1 {
        add("", Some("give exactly one of `content_base64`, `attachment_id` and `url`".to_owned()));
    }
    match &file.filename {
        Some(name) => add("/filename", filename(name).err()),
        None if file.content_base64.is_some() => add("/filename", Some("a file given inline needs a name".to_owned())),
        None => {}
    }
    match &file.content_type {
        Some(kind) => add("/content_type", content_type(kind).err()),
        None if file.content_base64.is_some() => {
            add("/content_type", Some("a file given inline needs its media type, such as application/pdf".to_owned()));
        }
        None => {}
    }
    add("/content_id", file.content_id.as_deref().and_then(|id| content_id(id).err()));
    if file.url.as_ref().is_some_and(|url| url.len() > URL_MAX) {
        add("/url", Some(format!("at most {URL_MAX} bytes")));
    }
    bad
}

/// Refuses names that are paths or cannot stand in a header.
pub(super) fn filename(name: &str) -> Result<(), String> {
    if name.trim().is_empty() || name.len() > FILENAME_MAX {
        return Err(format!("a file name has 1 to {FILENAME_MAX} bytes"));
    }
    if name.chars().any(|c| c.is_control() || matches!(c, '/' | '\\' | '\u{2028}' | '\u{2029}'))
        || matches!(name, "." | "..")
    {
        return Err("a file name has no slashes, line breaks or control characters".to_owned());
    }
    Ok(())
}

/// `type/subtype`, perhaps with parameters.
pub(super) fn content_type(text: &str) -> Result<(), String> {
    let is_token = |token: &str| {
        !token.is_empty() && token.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&^_.+-".contains(&b))
    };
    let essence = text.split(';').next().unwrap_or_default().trim_end();
    let is_good = text.len() <= CONTENT_TYPE_MAX
        && text.bytes().all(|b| matches!(b, b' '..=b'~'))
        && essence.split_once('/').is_some_and(|(main, sub)| is_token(main) && is_token(sub));
    if is_good {
        Ok(())
    } else {
        Err(format!("not a media type such as application/pdf, of at most {CONTENT_TYPE_MAX} bytes"))
    }
}

fn content_id(id: &str) -> Result<(), String> {
    let is_good =
        (1..=CONTENT_ID_MAX).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic() && !b"<>\"".contains(&b));
    if is_good {
        Ok(())
    } else {
        Err(format!("1 to {CONTENT_ID_MAX} visible ASCII characters without angle brackets or quotes"))
    }
}

/// A name made fit for a mail: what a server called its file is not the tenant's fault.
pub(super) fn tidy_filename(name: &str) -> Option<String> {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let mut tidy: String = last.chars().filter(|c| !c.is_control() && !matches!(c, '\u{2028}' | '\u{2029}')).collect();
    while tidy.len() > FILENAME_MAX {
        tidy.pop();
    }
    let tidy = tidy.trim();
    filename(tidy).ok().map(|()| tidy.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_are_no_paths() {
        for good in ["ticket.pdf", "Größe 5.pdf", "a;b.txt", "…", &"x".repeat(255)] {
            assert_eq!(filename(good), Ok(()), "{good}");
        }
        for bad in ["", " ", "a/b", "..\\b", ".", "..", "a\nb", "a\r\nX-Evil: 1", "a\0", "a\u{2028}b", &"x".repeat(256)]
        {
            assert!(filename(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn media_types_have_two_parts() {
        for good in ["application/pdf", "text/plain; charset=utf-8", "image/svg+xml", "application/vnd.ms-excel"] {
            assert_eq!(content_type(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "pdf",
            "/pdf",
            "application/",
            "a/b/c",
            "text/plain\r\nX: y",
            "text plain/x",
            &format!("a/{}", "b".repeat(80)),
        ] {
            assert!(content_type(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_servers_name_is_made_fit() {
        let check =
            |name: &str, expected: Option<&str>| assert_eq!(tidy_filename(name).as_deref(), expected, "{name:?}");
        check("report.pdf", Some("report.pdf"));
        check("../../etc/passwd", Some("passwd"));
        check("C:\\temp\\a.doc", Some("a.doc"));
        check("a\r\nb.pdf", Some("ab.pdf"));
        check("..", None);
        check("/", None);
        check(&"ü".repeat(200), Some(&"ü".repeat(127)));
    }
}
