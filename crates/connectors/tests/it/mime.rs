//! Mails are read back by somebody else's parser: what went in comes out, and every line keeps the standard's limits.

use bytes::Bytes;
use mail_parser::{HeaderForm, MessageParser, MimeHeaders};
use model::{AttachmentId, AttachmentRef, EmailContent, Mailbox, Timestamp};
use tidings_connectors::{
    File,
    mime::{Mail, build},
};

use crate::play::{MESSAGE, NONCE, NOW};

fn built(from: &str, content: &EmailContent, files: &[File]) -> Vec<u8> {
    let from: Mailbox = from.parse().unwrap();
    let to = "ada@example.com".parse().unwrap();
    let at: Timestamp = NOW.parse().unwrap();
    let mail = Mail { from: &from, to: &to, message_id: MESSAGE, at, content, files, nonce: NONCE };
    let bytes = build(&mail).unwrap();
    let text = String::from_utf8(bytes.clone()).unwrap();
    assert!(text.ends_with("\r\n"));
    assert!(text.split("\r\n").all(|line| line.len() <= 998 && !line.contains(['\r', '\n'])), "{text}");
    assert!(!text.to_lowercase().contains("bcc"));
    bytes
}

fn file(filename: &str, content_type: &str, content_id: Option<&str>, bytes: &[u8]) -> File {
    File {
        reference: AttachmentRef {
            attachment_id: AttachmentId::from_ulid(1),
            filename: filename.into(),
            content_type: content_type.into(),
            sha256: String::new(),
            size: bytes.len() as u64,
            content_id: content_id.map(str::to_owned),
        },
        bytes: Bytes::copy_from_slice(bytes),
    }
}

/// Line ends are the mail's own: texts are compared without telling them apart.
fn unified(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\r', "\n")
}

#[test]
fn texts_come_back_as_they_went_in() {
    let long = "x".repeat(5_000);
    for text in [
        "Hello",
        "Hello\nAda\n\n.\n..leading dots\nFrom here\n",
        "Grüße aus Köln = schön \n trailing tab\t\nend",
        "日本語のテキスト\n二行目",
        &long,
        "lone\rreturn and nul\0 and soft=\n",
        "",
        "🎫".repeat(300).as_str(),
    ] {
        for (as_text, as_html) in [(true, false), (false, true), (true, true)] {
            let content = EmailContent {
                subject: "S".into(),
                text: as_text.then(|| text.to_owned()),
                html: as_html.then(|| text.to_owned()),
                ..EmailContent::default()
            };
            let bytes = built("Acme <a@acme.example>", &content, &[]);
            let parsed = MessageParser::default().parse(&bytes).unwrap();
            let trimmed = |text: &str| unified(text).trim_end_matches('\n').to_owned();
            if as_text {
                assert_eq!(trimmed(&parsed.body_text(0).unwrap()), trimmed(text));
            }
            if as_html {
                assert_eq!(trimmed(&parsed.body_html(0).unwrap()), trimmed(text));
            }
        }
    }
}

#[test]
fn headers_come_back_as_they_went_in() {
    let subjects =
        ["Your ticket", "Grüße & Küsse", &"Ein sehr langer Betreff über Bücher ".repeat(12), "=?UTF-8?Q?no?=", "a  b"];
    for subject in subjects {
        for from in [
            "a@acme.example",
            "Acme, Inc. <a@acme.example>",
            "Bücher und noch viel mehr für alle, die gerne lesen <a@acme.example>",
        ] {
            let content = EmailContent {
                subject: subject.to_owned(),
                text: Some("x".into()),
                reply_to: Some("help@acme.example".parse().unwrap()),
                headers: [
                    ("X-Size".into(), "sehr groß".to_owned()),
                    (
                        "List-Unsubscribe".into(),
                        format!("<https://u.example.com/{}>, <mailto:u@example.com>", "t".repeat(200)),
                    ),
                ]
                .into(),
                ..EmailContent::default()
            };
            let bytes = built(from, &content, &[]);
            let parsed = MessageParser::default().parse(&bytes).unwrap();
            assert_eq!(parsed.subject().unwrap().trim_end(), subject.trim_end());
            let wanted: Mailbox = from.parse().unwrap();
            let sender = parsed.from().unwrap().first().unwrap();
            assert_eq!((sender.name(), sender.address()), (wanted.name.as_deref(), Some("a@acme.example")));
            assert_eq!(parsed.to().unwrap().first().unwrap().address(), Some("ada@example.com"));
            assert_eq!(parsed.reply_to().unwrap().first().unwrap().address(), Some("help@acme.example"));
            assert_eq!(parsed.message_id(), Some(format!("{MESSAGE}@acme.example").as_str()));
            assert_eq!(parsed.date().unwrap().to_rfc3339(), "2026-11-21T09:30:00Z");
            assert_eq!(parsed.header_as("X-Size", HeaderForm::Text)[0].as_text(), Some("sehr groß"));
            assert!(parsed.header("List-Unsubscribe").is_some());
        }
    }
}

#[test]
fn files_come_back_as_they_went_in() {
    let png: Vec<u8> = (0..=255).cycle().take(10_000).collect();
    let files = [
        file("logo.png", "image/png", Some("logo@acme"), &png),
        file(
            "Gebührenübersicht für das Jahr 2026 mit allen Einzelposten und Anmerkungen.pdf",
            "application/pdf",
            None,
            b"%PDF",
        ),
        file("mail.eml", "message/rfc822", None, b"Subject: x\r\n\r\n"),
        file("empty \"quoted\".txt", "text/plain", None, b""),
    ];
    let attachments = files.iter().map(|file| file.reference.clone()).collect();
    let content = EmailContent {
        subject: "Files".into(),
        text: Some("text".into()),
        html: Some("<img src=\"cid:logo@acme\">".into()),
        attachments,
        ..EmailContent::default()
    };
    let bytes = built("a@acme.example", &content, &files);
    let parsed = MessageParser::default().parse(&bytes).unwrap();
    assert_eq!(parsed.body_text(0).unwrap(), "text");
    assert_eq!(parsed.attachments().count(), files.len());
    for file in &files {
        let part = parsed.attachments().find(|part| part.attachment_name() == Some(&file.reference.filename));
        let part = part.unwrap_or_else(|| panic!("{} is missing", file.reference.filename));
        assert_eq!(part.contents(), &file.bytes[..]);
        assert_eq!(part.content_id(), file.reference.content_id.as_deref());
    }
    let shape: Vec<_> = String::from_utf8(bytes)
        .unwrap()
        .lines()
        .filter_map(|line| line.strip_prefix("Content-Type: ").map(str::to_owned))
        .collect();
    assert_eq!(
        shape,
        [
            "multipart/mixed;",
            "multipart/alternative;",
            "text/plain; charset=utf-8",
            "multipart/related;",
            "text/html; charset=utf-8",
            "image/png",
            "application/pdf",
            "application/octet-stream",
            "text/plain",
        ]
    );
}
