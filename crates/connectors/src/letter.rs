//! Mails people write to a tenant: answers to its mails, above all. Every e-mail connector brings them into one form here, whatever the way they came.
//!
//! Which mail is answered is said by the address the answer came to, which each message has of its own ([`crate::returns`]), or else by the ids the answer refers to. Reports of mail
//! servers are no letters, and what a machine wrote by itself (RFC 3834) is marked: nobody asked for anything in it.

use bytes::Bytes;
use mail_parser::{HeaderValue, Message, MessageParser, MimeHeaders as _};
use model::{Address, AttemptId, BadSetting, Channel, EmailAddress, MessageId, Secret, Timestamp};

use crate::{Cx, InboundFile, InboundMail, InboundMessage, Observed, returns};

/// Largest mail a provider hands to us, in bytes: Gmail sends 25 MB, which is a third more in base64, and SendGrid and Mailgun pass on about 30 MB.
pub(crate) const MAIL_MAX: usize = 40 << 20;
/// Bytes kept of the text: what a person types is shorter, what lies below is quoted.
const TEXT_MAX: usize = 64 * 1024;
/// Bytes kept of the HTML: Gmail itself shows no more than 102 KB.
const HTML_MAX: usize = 256 * 1024;
/// Bytes kept of the subject.
const SUBJECT_MAX: usize = 998;
/// Files kept: more are an archive.
pub(crate) const FILES_MAX: usize = 50;
/// Ids of mails a letter refers to that are looked at, nearest first.
const REFERENCES_MAX: usize = 20;
/// Bytes of such an id: what mail servers allow for a line.
const REFERENCE_MAX: usize = 998;
/// Where mail servers write down for whom a mail came in.
const RECIPIENT_HEADERS: &[&str] = &["Delivered-To", "X-Original-To", "To", "Cc"];
/// How subjects of answers begin that mail programs write by themselves, where they say so in no header.
const AUTOMATIC_SUBJECTS: &[&str] = &[
    "automatic reply",
    "auto reply",
    "auto-reply",
    "autoreply",
    "out of office",
    "out of the office",
    "automatische antwort",
    "abwesenheitsnotiz",
    "réponse automatique",
    "respuesta automática",
    "risposta automatica",
    "resposta automática",
    "automatisch antwoord",
];

/// A letter as it is handed to us, in parts.
pub(crate) struct Letter<'a> {
    /// The head, or the whole mail.
    pub head: Message<'a>,
    /// For whom it came, as the provider says; may be empty.
    pub recipients: Vec<String>,
    /// What it says.
    pub text: Option<String>,
    /// The same as HTML.
    pub html: Option<String>,
    /// What is attached.
    pub files: Vec<InboundFile>,
    /// How many more files it has that were not brought here.
    pub left_out: usize,
    /// The message the provider says it answers.
    pub answers: Option<MessageId>,
}

/// Checks the setting `reply_domain`.
pub(crate) fn check_domain(domain: Option<&str>) -> Result<(), BadSetting> {
    let is_label = |label: &str| {
        !label.is_empty() && label.len() <= 63 && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    let is_domain = |domain: &str| {
        domain.contains('.')
            && domain.len() <= 190
            && domain.split('.').all(is_label)
            && !domain.ends_with(|c: char| c.is_ascii_digit())
    };
    if domain.is_none_or(is_domain) {
        return Ok(());
    }
    Err(BadSetting {
        field: "reply_domain".to_owned(),
        detail: "must be a domain in ASCII, such as reply.acme.example".to_owned(),
    })
}

/// The address answers to this message go to, where the account has a `reply_domain`. The same for all its attempts, so that a repeated request is the same, too.
pub(crate) fn reply_address(cx: &Cx<'_>, secret: &Secret, message: MessageId) -> Option<EmailAddress> {
    let account = returns::account(cx)?;
    returns::address(returns::Way::Reply, account, message.attempt(0), secret, domain(cx)?).parse().ok()
}

/// The message behind one of this account's reply addresses.
pub(crate) fn answered(cx: &Cx<'_>, secret: &Secret, address: &str) -> Option<MessageId> {
    let attempt = returns::attempt_of(returns::Way::Reply, address, returns::account(cx)?, secret, domain(cx)?);
    attempt.map(AttemptId::message)
}

fn domain<'a>(cx: &Cx<'a>) -> Option<&'a str> {
    cx.settings.get("reply_domain").filter(|domain| !domain.is_empty())
}

/// Reads a whole mail. Nothing for a report of a mail server, and for what names no sender.
pub(crate) fn whole(cx: &Cx<'_>, secret: Option<&Secret>, raw: &[u8], recipients: Vec<String>) -> Vec<Observed> {
    let Some(mail) = MessageParser::default().parse(raw) else { return Vec::new() };
    let is_html = |at: &usize| mail.html_part(*at as u32).is_some_and(mail_parser::MessagePart::is_text_html);
    let text: Vec<_> = (0..mail.text_body_count()).filter_map(|at| mail.body_text(at)).collect();
    let html: Vec<_> = (0..mail.html_body_count()).filter(is_html).filter_map(|at| mail.body_html(at)).collect();
    let files = mail.attachments().take(FILES_MAX).map(file).collect();
    let (text, html) = (text.join("\n"), html.join("\n"));
    read(
        cx,
        secret,
        Letter {
            text: Some(text).filter(|text| !text.is_empty()),
            html: Some(html).filter(|html| !html.is_empty()),
            files,
            left_out: mail.attachment_count().saturating_sub(FILES_MAX),
            recipients,
            answers: None,
            head: mail.clone(),
        },
    )
}

/// Makes a head of a list of headers, as providers hand it on.
pub(crate) fn head<'a>(headers: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<u8> {
    let mut text = String::new();
    for (name, value) in headers {
        let is_name = |b: u8| b.is_ascii_graphic() && b != b':';
        if !name.is_empty() && name.bytes().all(is_name) {
            text.push_str(&format!("{name}: {}\r\n", value.replace(['\r', '\n'], " ")));
        }
    }
    text.push_str("\r\n");
    text.into_bytes()
}

/// Turns a letter into what somebody wrote.
pub(crate) fn read(cx: &Cx<'_>, secret: Option<&Secret>, letter: Letter<'_>) -> Vec<Observed> {
    let Letter { head, recipients, text, html, files, left_out, answers } = letter;
    if is_report(&head) {
        return Vec::new();
    }
    let Some(sender) = head.from().and_then(|from| from.first()) else { return Vec::new() };
    let Some(from) = sender.address().and_then(|address| address.trim().parse::<EmailAddress>().ok()) else {
        return Vec::new();
    };
    let named = |name: &&str| headers(&head, name).flat_map(addresses).map(str::to_owned).collect::<Vec<_>>();
    let written: Vec<String> = RECIPIENT_HEADERS.iter().flat_map(named).collect();
    let by_address = || {
        let secret = secret?;
        recipients.iter().chain(&written).find_map(|address| answered(cx, secret, address))
    };
    let answers = by_address().or(answers);
    let to = recipients.first().or_else(|| written.first()).cloned().unwrap_or_default();
    let text = match (text, &html) {
        (Some(text), _) => text,
        (None, Some(html)) => mail_parser::decoders::html::html_to_text(html),
        (None, None) => String::new(),
    };
    let text = cut(text.replace("\r\n", "\n"), TEXT_MAX);
    let left_out = left_out + files.len().saturating_sub(FILES_MAX);
    let mail = InboundMail {
        files_left_out: u32::try_from(left_out).unwrap_or(u32::MAX),
        subject: cut(head.subject().unwrap_or_default().to_owned(), SUBJECT_MAX),
        new_text: own_words(&text).to_owned(),
        html: html.map(|html| cut(html, HTML_MAX)),
        files: files.into_iter().take(FILES_MAX).map(tidy).collect(),
        references: references(&head),
        answers,
        is_automatic: is_automatic(&head),
    };
    let at = head.date().map(|date| Timestamp::from_seconds(date.to_timestamp()).min(cx.now));
    vec![Observed::Message(InboundMessage {
        provider_message_id: head.message_id().map(|id| cut(id.to_owned(), REFERENCE_MAX)).unwrap_or_default(),
        channel: Channel::Email,
        from: Address::Email(from),
        from_name: sender.name().map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()),
        to,
        text: text.trim_end().to_owned(),
        media: Vec::new(),
        location: None,
        button: None,
        in_reply_to: mail.references.first().cloned(),
        keyword: None,
        at,
        mail: Some(Box::new(mail)),
    })]
}

/// True for a delivery report or a complaint: `multipart/report`.
pub(crate) fn is_report(head: &Message<'_>) -> bool {
    head.content_type().is_some_and(|kind| {
        kind.ctype().eq_ignore_ascii_case("multipart")
            && kind.subtype().is_some_and(|sub| sub.eq_ignore_ascii_case("report"))
    })
}

/// True for what a machine wrote by itself: RFC 3834, and what was usual before it.
fn is_automatic(head: &Message<'_>) -> bool {
    let any =
        |name: &str, is: &dyn Fn(&str) -> bool| headers(head, name).any(|value| is(&value.trim().to_ascii_lowercase()));
    let subject = head.subject().unwrap_or_default().trim().to_lowercase();
    any("Auto-Submitted", &|value| !value.is_empty() && value.split([';', ' ']).next() != Some("no"))
        || any("Precedence", &|value| matches!(value, "bulk" | "junk" | "list" | "auto_reply"))
        || ["X-Autoreply", "X-Autorespond", "X-Autoresponse"].iter().any(|name| any(name, &|value| value != "no"))
        || any("Return-Path", &|value| value == "<>")
        || any("List-Id", &|value| !value.is_empty())
        || AUTOMATIC_SUBJECTS.iter().any(|words| subject.starts_with(words))
}

/// What the letter answers, nearest first, without angle brackets.
fn references(head: &Message<'_>) -> Vec<String> {
    let nearest = ids(head.in_reply_to()).into_iter();
    let mut found: Vec<String> = Vec::new();
    for id in nearest.chain(ids(head.references()).into_iter().rev()) {
        let id = id.trim().trim_start_matches('<').trim_end_matches('>').to_owned();
        if !id.is_empty() && id.len() <= REFERENCE_MAX && !found.contains(&id) && found.len() < REFERENCES_MAX {
            found.push(id);
        }
    }
    found
}

fn ids(value: &HeaderValue<'_>) -> Vec<String> {
    match value {
        HeaderValue::Text(id) => vec![id.to_string()],
        HeaderValue::TextList(ids) => ids.iter().map(ToString::to_string).collect(),
        _ => Vec::new(),
    }
}

/// What somebody wrote above the mail they answer, as far as that can be told: mail programs quote it after a line that says who wrote when, or behind angle brackets.
fn own_words(text: &str) -> &str {
    let mut end = 0;
    let mut lines = text.split_inclusive('\n').peekable();
    while let Some(line) = lines.next() {
        let bare = line.trim();
        let is_quoted_next = lines.peek().is_some_and(|next| next.trim_start().starts_with('>'));
        let is_introduction = bare.ends_with(':') && (is_quoted_next || begins_quote(bare));
        let is_cut = bare.starts_with('>')
            || is_introduction
            || line.trim_end_matches(['\r', '\n']) == "-- "
            || bare.starts_with("-----Original Message")
            || bare.starts_with("________________________________");
        if is_cut {
            break;
        }
        end += line.len();
    }
    text[..end].trim()
}

/// `On Tue, 3 Nov 2026 at 10:12, Acme <a@b.c> wrote:`
fn begins_quote(line: &str) -> bool {
    line.starts_with("On ") && line.ends_with("wrote:")
        || line.starts_with("Am ") && line.contains("schrieb")
        || line.starts_with("Le ") && line.contains("a écrit")
        || line.starts_with("El ") && line.contains("escribió")
}

/// The raw values of a header.
fn headers<'a>(head: &'a Message<'_>, name: &str) -> impl Iterator<Item = &'a str> {
    let name = name.to_owned();
    head.headers_raw().filter(move |(given, _)| given.eq_ignore_ascii_case(&name)).map(|(_, value)| value)
}

/// Everything in a header that may be an address.
pub(crate) fn addresses(value: &str) -> impl Iterator<Item = &str> {
    value
        .split(|c: char| c.is_whitespace() || matches!(c, '<' | '>' | ',' | '"' | ';'))
        .filter(|word| word.contains('@'))
}

fn file(part: &mail_parser::MessagePart<'_>) -> InboundFile {
    let kind = part.content_type().map(|kind| format!("{}/{}", kind.ctype(), kind.subtype().unwrap_or("octet-stream")));
    let named = if part.is_message() { "message.eml" } else { "file" };
    InboundFile {
        filename: part.attachment_name().unwrap_or(named).to_owned(),
        content_type: kind.unwrap_or_default(),
        content_id: part.content_id().map(str::to_owned),
        bytes: Bytes::copy_from_slice(part.contents()),
    }
}

/// A file whose name and type can be shown and stored.
fn tidy(file: InboundFile) -> InboundFile {
    /// Bytes of a file's name.
    const NAME_MAX: usize = 200;
    let name: String = file.filename.chars().filter(|c| !c.is_control() && !matches!(c, '/' | '\\')).collect();
    let name = cut(name, NAME_MAX).trim().trim_start_matches('.').to_owned();
    let kind = file.content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let is_token = |text: &str| {
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'+' | b'.' | b'_'))
    };
    let is_kind = kind.len() <= 100 && kind.split_once('/').is_some_and(|(a, b)| is_token(a) && is_token(b));
    InboundFile {
        filename: if name.is_empty() { "file".to_owned() } else { name },
        content_type: if is_kind { kind } else { "application/octet-stream".to_owned() },
        content_id: file
            .content_id
            .map(|id| cut(id.trim().trim_start_matches('<').trim_end_matches('>').to_owned(), NAME_MAX)),
        bytes: file.bytes,
    }
}

fn cut(mut text: String, max: usize) -> String {
    text.truncate(text.floor_char_boundary(max));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Values;

    #[test]
    fn what_stands_above_a_quote_is_their_own() {
        for (text, wanted) in [
            ("Yes, please.\n", "Yes, please."),
            ("Yes.\n\nOn Tue, 3 Nov 2026 at 10:12, Acme <a@b.c> wrote:\n> Coming?\n", "Yes."),
            ("Ja.\n\nAm 3.11.2026 um 10:12 schrieb Acme:\nKommen Sie?\n", "Ja."),
            ("Yes.\n> Coming?\n", "Yes."),
            ("STOP\n-- \nAda\n", "STOP"),
            ("Ok\n-----Original Message-----\nFrom: Acme\n", "Ok"),
            ("Ok\n________________________________\nFrom: Acme\n", "Ok"),
            ("Acme wrote last week:\n> Coming?\nYes.\n", ""),
            ("I want two things:\na ticket\n", "I want two things:\na ticket"),
            ("", ""),
        ] {
            assert_eq!(own_words(text), wanted, "{text:?}");
        }
    }

    #[test]
    fn what_machines_write_is_marked() {
        let is = |header: &str| {
            let raw = format!("From: a@b.example\r\n{header}\r\n\r\nhi");
            is_automatic(&MessageParser::default().parse(raw.as_bytes()).unwrap())
        };
        for header in [
            "Auto-Submitted: auto-replied",
            "auto-submitted: auto-generated; owner-email=x",
            "Precedence: bulk",
            "Precedence: auto_reply",
            "X-Autoreply: yes",
            "X-Autorespond: ",
            "Return-Path: <>",
            "List-Id: <news.example>",
            "Subject: Automatic reply: Your ticket",
            "Subject: =?utf-8?q?R=C3=A9ponse_automatique_?= : absence",
        ] {
            assert!(is(header), "{header}");
        }
        for header in [
            "Auto-Submitted: no",
            "Precedence: first-class",
            "Return-Path: <a@b.example>",
            "Subject: Re: Out of office hours?",
        ] {
            assert!(!is(header), "{header}");
        }
    }

    #[test]
    fn heads_made_of_lists_hold_no_more_than_the_lists() {
        let made = head([("Subject", "a\r\nBcc: x@y.z"), ("Bad name", "x"), ("", "x"), ("From", "A <a@b.example>")]);
        assert_eq!(String::from_utf8(made).unwrap(), "Subject: a  Bcc: x@y.z\r\nFrom: A <a@b.example>\r\n\r\n");
    }

    #[test]
    fn files_get_names_and_types_that_can_be_kept() {
        let named = |filename: &str, content_type: &str| {
            let file = tidy(InboundFile {
                filename: filename.to_owned(),
                content_type: content_type.to_owned(),
                content_id: Some("<a@b>".to_owned()),
                bytes: Bytes::new(),
            });
            assert_eq!(file.content_id.as_deref(), Some("a@b"));
            (file.filename, file.content_type)
        };
        let owned = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(named("a.pdf", "Application/PDF; name=a"), owned("a.pdf", "application/pdf"));
        assert_eq!(named("../../etc/passwd\0", "x"), owned("etcpasswd", "application/octet-stream"));
        assert_eq!(named("", "a/b c"), owned("file", "application/octet-stream"));
    }

    #[test]
    fn a_letter_without_a_sender_is_none() {
        let settings = Values::default();
        let cx =
            Cx { settings: &settings, from: None, base_url: None, callback_url: "", now: Timestamp::EPOCH, nonce: 0 };
        for raw in [
            "",
            "Subject: x\r\n\r\nhi",
            "From: nobody\r\n\r\nhi",
            "From: a@b.example\r\nContent-Type: multipart/report; boundary=x\r\n\r\n--x--\r\n",
        ] {
            assert!(whole(&cx, None, raw.as_bytes(), Vec::new()).is_empty(), "{raw}");
        }
        assert_eq!(whole(&cx, None, b"From: a@b.example\r\n\r\nhi", Vec::new()).len(), 1);
    }
}
