//! A mail as bytes: headers, text, HTML, inline images and attachments, for every connector that hands over a finished message.
//!
//! Written by hand because a mail costs little and millions are sent: one buffer, one pass over each text, no intermediate tree. [`check`] refuses at
//! accept what [`build`] could not write: line breaks in headers (injection), headers the mail needs itself, bad file names. There is never a
//! `Bcc`, and a retry of the same message carries the same `Message-ID`, so that receivers can drop a repeat.
//! Invariant: lines end in CRLF and have at most 998 octets (RFC 5322 2.1.1).

mod body;
mod check;
mod header;
mod parties;

use model::{EmailAddress, EmailContent, Failure, FailureKind, Mailbox, MessageId, Timestamp};

use crate::File;

pub use check::check;
pub use header::{header_text, mailbox_text};
pub use parties::{Parties, mailbox, parties};

/// What goes into one mail.
#[derive(Debug, Clone, Copy)]
pub struct Mail<'a> {
    /// Who sends.
    pub from: &'a Mailbox,
    /// Who receives.
    pub to: &'a EmailAddress,
    /// Which message: its `Message-ID` is the same for every attempt.
    pub message_id: MessageId,
    /// When it was accepted: its `Date`.
    pub at: Timestamp,
    /// What it says.
    pub content: &'a EmailContent,
    /// The bytes of the content's attachments, in the same order.
    pub files: &'a [File],
    /// Randomness for the boundaries between parts.
    pub nonce: u128,
}

/// Room for headers and the lines between parts, so that one allocation is enough for most mails.
const ROOM: usize = 2048;

/// The finished message. Refuses what [`check`] refuses.
pub fn build(mail: &Mail<'_>) -> Result<Vec<u8>, Failure> {
    let content = mail.content;
    check(content)?;
    if mail.files.len() != content.attachments.len() {
        return Err(Failure::new(
            FailureKind::Unavailable,
            "attachments_missing",
            "The bytes of the `attachments` could not be read; the message is tried again.",
        ));
    }
    let mut out = Vec::with_capacity(room(mail));
    headers(&mut out, mail);
    parts(&mut out, mail);
    if !out.ends_with(b"\r\n") {
        out.extend_from_slice(b"\r\n");
    }
    Ok(out)
}

/// The `Message-ID`, with its angle brackets.
pub fn message_id(id: MessageId, from: &Mailbox) -> String {
    format!("<{id}@{}>", from.address.domain())
}

fn room(mail: &Mail<'_>) -> usize {
    let text = |text: &Option<String>| text.as_ref().map_or(0, |text| text.len() + text.len() / 4);
    let files: usize = mail.files.iter().map(|file| file.bytes.len() / 2 * 3 + 512).sum();
    ROOM + text(&mail.content.text) + text(&mail.content.html) + files
}

fn headers(out: &mut Vec<u8>, mail: &Mail<'_>) {
    let content = mail.content;
    header::mailbox(out, "From", mail.from);
    header::plain(out, "To", mail.to.as_str());
    if let Some(reply_to) = &content.reply_to {
        header::plain(out, "Reply-To", reply_to.as_str());
    }
    header::text(out, "Subject", &content.subject);
    header::plain(out, "Date", &header::date(mail.at));
    header::plain(out, "Message-ID", &message_id(mail.message_id, mail.from));
    for (name, value) in &content.headers {
        header::text(out, name, value);
    }
    header::plain(out, "MIME-Version", "1.0");
}

/// What stands inside a boundary, from the outside in.
#[derive(Clone, Copy)]
enum Wrap {
    Mixed,
    Alternative,
    Related,
}

impl Wrap {
    fn kind(self) -> &'static str {
        match self {
            Self::Mixed => "mixed",
            Self::Alternative => "alternative",
            Self::Related => "related",
        }
    }

    /// `=_` cannot stand in quoted-printable or base64; the nonce keeps it apart from plain text.
    fn boundary(self, nonce: u128) -> String {
        format!("=_{}{nonce:032x}", &self.kind()[..1])
    }

    fn open(self, out: &mut Vec<u8>, nonce: u128) {
        let boundary = self.boundary(nonce);
        header::plain(out, "Content-Type", &format!("multipart/{};\r\n boundary=\"{boundary}\"", self.kind()));
    }

    fn next(self, out: &mut Vec<u8>, nonce: u128) {
        out.extend_from_slice(format!("\r\n--{}\r\n", self.boundary(nonce)).as_bytes());
    }

    fn close(self, out: &mut Vec<u8>, nonce: u128) {
        out.extend_from_slice(format!("\r\n--{}--\r\n", self.boundary(nonce)).as_bytes());
    }
}

fn parts(out: &mut Vec<u8>, mail: &Mail<'_>) {
    let has_html = mail.content.html.is_some();
    let is_inline = |file: &&File| has_html && file.reference.content_id.is_some();
    let inline: Vec<&File> = mail.files.iter().filter(is_inline).collect();
    let attached: Vec<&File> = mail.files.iter().filter(|file| !is_inline(file)).collect();
    if attached.is_empty() {
        return words(out, mail, &inline);
    }
    Wrap::Mixed.open(out, mail.nonce);
    Wrap::Mixed.next(out, mail.nonce);
    words(out, mail, &inline);
    for file in attached {
        Wrap::Mixed.next(out, mail.nonce);
        self::file(out, file, "attachment");
    }
    Wrap::Mixed.close(out, mail.nonce);
}

fn words(out: &mut Vec<u8>, mail: &Mail<'_>, inline: &[&File]) {
    match (&mail.content.text, &mail.content.html) {
        (Some(text), Some(html)) => {
            Wrap::Alternative.open(out, mail.nonce);
            Wrap::Alternative.next(out, mail.nonce);
            body::text(out, "text/plain", text);
            Wrap::Alternative.next(out, mail.nonce);
            self::html(out, mail, html, inline);
            Wrap::Alternative.close(out, mail.nonce);
        }
        (None, Some(html)) => self::html(out, mail, html, inline),
        (text, None) => body::text(out, "text/plain", text.as_deref().unwrap_or_default()),
    }
}

fn html(out: &mut Vec<u8>, mail: &Mail<'_>, html: &str, inline: &[&File]) {
    if inline.is_empty() {
        return body::text(out, "text/html", html);
    }
    Wrap::Related.open(out, mail.nonce);
    Wrap::Related.next(out, mail.nonce);
    body::text(out, "text/html", html);
    for file in inline {
        Wrap::Related.next(out, mail.nonce);
        self::file(out, file, "inline");
    }
    Wrap::Related.close(out, mail.nonce);
}

fn file(out: &mut Vec<u8>, file: &File, disposition: &str) {
    let reference = &file.reference;
    // RFC 2046 5.2.1: nested messages and multiparts must not be base64, so they travel as plain bytes.
    let is_nested = ["message/", "multipart/"]
        .iter()
        .any(|kind| reference.content_type.get(..kind.len()).is_some_and(|given| given.eq_ignore_ascii_case(kind)));
    header::plain(out, "Content-Type", if is_nested { "application/octet-stream" } else { &reference.content_type });
    let mut line = disposition.to_owned();
    line.push_str(&header::filename(&reference.filename));
    header::plain(out, "Content-Disposition", &line);
    if let Some(id) = &reference.content_id {
        header::plain(out, "Content-ID", &format!("<{id}>"));
    }
    header::plain(out, "Content-Transfer-Encoding", "base64");
    out.extend_from_slice(b"\r\n");
    body::base64(out, &file.bytes);
}
