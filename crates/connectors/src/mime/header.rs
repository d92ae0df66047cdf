//! Header lines: folding (RFC 5322 2.2.3), encoded words for text beyond ASCII (RFC 2047), file names (RFC 2231).
//!
//! Values were checked before: they hold no line breaks.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use model::{Mailbox, Timestamp};

/// Lines are folded to this many columns (RFC 5322 2.1.1).
const COLUMNS: usize = 78;
/// Bytes of text in one encoded word: 60 characters of base64 and 12 around them stay below the 75 allowed (RFC 2047 2).
const WORD_BYTES: usize = 45;
/// Longest run without a space that is written as it is; the line must stay below 998 octets with the header's name before it.
pub(super) const RUN_MAX: usize = 850;
/// File names up to here are written in one piece.
const FILENAME_MAX: usize = 60;

/// Writes a header whose value needs no encoding.
pub(super) fn plain(out: &mut Vec<u8>, name: &str, value: &str) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Writes a header with free text: folded, and encoded where it must be.
pub(super) fn text(out: &mut Vec<u8>, name: &str, value: &str) {
    if !is_plain(value) {
        return plain(out, name, &encoded_words(value));
    }
    if name.len() + 2 + value.len() <= COLUMNS {
        return plain(out, name, value);
    }
    if value.split(' ').any(|word| word.is_empty() || word.len() > RUN_MAX) {
        return plain(out, name, &encoded_words(value));
    }
    plain(out, name, &folded(name.len() + 2, value));
}

/// Writes an address header.
pub(super) fn mailbox(out: &mut Vec<u8>, name: &str, mailbox: &Mailbox) {
    let Some(person) = &mailbox.name else { return plain(out, name, mailbox.address.as_str()) };
    let phrase = phrase(person);
    let column =
        phrase.rsplit('\n').next().map_or(0, str::len) + if phrase.contains('\n') { 0 } else { name.len() + 2 };
    let gap = if column + mailbox.address.as_str().len() + 3 > COLUMNS { "\r\n " } else { " " };
    plain(out, name, &format!("{phrase}{gap}<{}>", mailbox.address.as_str()));
}

/// A mailbox on one line, for providers that take it as a text of their own: names beyond ASCII as encoded words.
pub fn mailbox_text(mailbox: &Mailbox) -> String {
    match &mailbox.name {
        Some(name) => format!("{} <{}>", phrase(name).replace("\r\n ", " "), mailbox.address.as_str()),
        None => mailbox.address.as_str().to_owned(),
    }
}

/// A header's value on one line, for providers that write it into the mail as it is: encoded words beyond ASCII.
pub fn header_text(value: &str) -> String {
    if is_plain(value) { value.to_owned() } else { encoded_words(value).replace("\r\n ", " ") }
}

/// The `Date` header's form of an instant.
pub(super) fn date(at: Timestamp) -> String {
    at.jiff().strftime("%a, %d %b %Y %H:%M:%S +0000").to_string()
}

/// The `filename` parameter with the semicolon before it: quoted when it is ASCII, RFC 2231 in pieces otherwise.
pub(super) fn filename(name: &str) -> String {
    if name.len() <= FILENAME_MAX && name.bytes().all(|b| matches!(b, b' '..=b'~')) {
        return format!("; filename=\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\""));
    }
    let mut pieces = vec!["UTF-8''".to_owned()];
    for c in name.chars() {
        let piece = percent(c);
        match pieces.last_mut() {
            Some(last) if last.len() + piece.len() <= FILENAME_MAX => last.push_str(&piece),
            _ => pieces.push(piece),
        }
    }
    match pieces.as_slice() {
        [only] => format!(";\r\n filename*={only}"),
        many => many.iter().enumerate().map(|(index, piece)| format!(";\r\n filename*{index}*={piece}")).collect(),
    }
}

fn percent(c: char) -> String {
    if c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_') {
        return c.to_string();
    }
    c.encode_utf8(&mut [0; 4]).bytes().map(|byte| format!("%{byte:02X}")).collect()
}

fn is_plain(value: &str) -> bool {
    value.bytes().all(|b| matches!(b, b' '..=b'~' | b'\t')) && !value.contains("=?")
}

fn folded(mut column: usize, value: &str) -> String {
    let mut text = String::with_capacity(value.len() + 16);
    for (index, word) in value.split(' ').enumerate() {
        if index > 0 {
            let is_full = column + 1 + word.len() > COLUMNS;
            text.push_str(if is_full { "\r\n " } else { " " });
            column = if is_full { 1 } else { column + 1 };
        }
        text.push_str(word);
        column += word.len();
    }
    text
}

/// Base64 encoded words, one a line; each holds whole characters, as the standard demands.
fn encoded_words(value: &str) -> String {
    let mut text = String::with_capacity(value.len() * 2 + 16);
    let mut rest = value;
    loop {
        let mut cut = rest.len().min(WORD_BYTES);
        while !rest.is_char_boundary(cut) {
            cut -= 1;
        }
        text.push_str("=?UTF-8?B?");
        STANDARD.encode_string(&rest[..cut], &mut text);
        text.push_str("?=");
        rest = &rest[cut..];
        if rest.is_empty() {
            return text;
        }
        text.push_str("\r\n ");
    }
}

/// A display name: bare words, a quoted string, or encoded words.
fn phrase(name: &str) -> String {
    if name.len() > WORD_BYTES || !is_plain(name) {
        return encoded_words(name);
    }
    let is_atoms = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~ ".contains(&b));
    if is_atoms && !name.contains("  ") {
        return name.to_owned();
    }
    format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(name: &str, value: &str) -> String {
        let mut out = Vec::new();
        text(&mut out, name, value);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn short_ascii_stands_as_it_is() {
        assert_eq!(written("Subject", "Your ticket"), "Subject: Your ticket\r\n");
        assert_eq!(written("Subject", ""), "Subject: \r\n");
    }

    #[test]
    fn long_text_is_folded_at_its_spaces() {
        let lines = written("Subject", "word ".repeat(60).trim_end());
        assert!(lines.lines().all(|line| line.len() <= COLUMNS), "{lines}");
        assert_eq!(lines.replace("\r\n ", " "), format!("Subject: {}\r\n", "word ".repeat(60).trim_end()));
    }

    #[test]
    fn what_is_not_plain_becomes_encoded_words() {
        assert_eq!(written("Subject", "Grüße"), "Subject: =?UTF-8?B?R3LDvMOfZQ==?=\r\n");
        assert!(written("Subject", "=?UTF-8?Q?x?=").starts_with("Subject: =?UTF-8?B?"));
        let lines = written("Subject", &"日本".repeat(100));
        assert!(lines.lines().count() > 10 && lines.lines().skip(1).all(|line| line.len() <= 76), "{lines}");
        assert!(written("Subject", &"x".repeat(3000)).lines().all(|line| line.len() <= COLUMNS + 10));
    }

    #[test]
    fn mailboxes() {
        for (given, wanted) in [
            ("a@acme.example", "a@acme.example"),
            ("Acme Tickets <a@acme.example>", "Acme Tickets <a@acme.example>"),
            ("Acme, Inc. <a@acme.example>", "\"Acme, Inc.\" <a@acme.example>"),
            (r#"Say "hi" <a@acme.example>"#, r#""Say \"hi\"" <a@acme.example>"#),
            ("Bücher <a@acme.example>", "=?UTF-8?B?QsO8Y2hlcg==?= <a@acme.example>"),
        ] {
            assert_eq!(mailbox_text(&given.parse().unwrap()), wanted);
        }
    }

    #[test]
    fn values_on_one_line() {
        assert_eq!(header_text("<https://u.example/1>"), "<https://u.example/1>");
        assert_eq!(header_text("Grüße"), "=?UTF-8?B?R3LDvMOfZQ==?=");
        let long = header_text(&"ü".repeat(100));
        assert!(long.is_ascii() && long.contains("?= =?UTF-8?B?") && !long.contains('\n'), "{long}");
    }

    #[test]
    fn filenames() {
        for (given, wanted) in [
            ("ticket.pdf", "; filename=\"ticket.pdf\""),
            ("a \"b\".pdf", "; filename=\"a \\\"b\\\".pdf\""),
            ("Gebühr.pdf", ";\r\n filename*=UTF-8''Geb%C3%BChr.pdf"),
        ] {
            assert_eq!(filename(given), wanted);
        }
        let long = filename(&"ü".repeat(30));
        assert!(long.contains("filename*0*=UTF-8''%C3%BC") && long.contains("filename*3*="), "{long}");
        assert!(long.lines().all(|line| line.len() <= COLUMNS));
    }
}
