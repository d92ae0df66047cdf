//! How much a message hands to its provider, in bytes: what usage counts as `bytes`. Pure.
//!
//! Counted is what the message says, in UTF-8, as it left (with its placeholders filled, its links made to count clicks, and the picture that counts openings), and every file that went with
//! it as a file. Not counted are addresses, names of senders, headers, what transport adds (base64, MIME, JSON), and media that the provider fetches from a URL.

use connectors::File;
use model::{Button, Content, Location, Media};

/// Bytes of a rendered content and its files.
pub(super) fn handed(content: &Content, files: &[File]) -> i64 {
    let said = match content {
        Content::Email(mail) => mail.subject.len() + of(mail.text.as_ref()) + of(mail.html.as_ref()),
        Content::Sms(sms) => sms.text.len() + captions(&sms.media),
        Content::Whatsapp(w) => {
            let template = w.whatsapp_template.iter().flat_map(|template| &template.components);
            let template: usize = template.map(|component| component.to_string().len()).sum();
            w.text.len() + captions(&w.media) + buttons(&w.buttons) + place(w.location.as_ref()) + template
        }
        Content::Telegram(t) => {
            let rows: usize = t.buttons.iter().map(|row| buttons(row)).sum();
            t.text.len() + captions(&t.media) + rows + place(t.location.as_ref())
        }
        Content::Voice(voice) => voice.say.len(),
        Content::Webhook(event) => event.body.len(),
    };
    let files: usize = files.iter().map(|file| file.bytes.len()).sum();
    i64::try_from(said + files).unwrap_or(i64::MAX)
}

fn of(text: Option<&String>) -> usize {
    text.map_or(0, String::len)
}

fn captions(media: &[Media]) -> usize {
    media.iter().map(|one| of(one.caption.as_ref())).sum()
}

fn buttons(buttons: &[Button]) -> usize {
    buttons.iter().map(|one| one.text.len() + of(one.url.as_ref()) + of(one.data.as_ref())).sum()
}

fn place(location: Option<&Location>) -> usize {
    location.map_or(0, |place| of(place.name.as_ref()) + of(place.address.as_ref()))
}

#[cfg(test)]
mod tests {
    use model::{AttachmentId, AttachmentRef};
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn what_a_message_says_and_its_files_count() {
        let check = |content: Value, expected: i64| {
            let content: Content = serde_json::from_value(content).unwrap();
            assert_eq!(handed(&content, &[]), expected, "{content:?}");
        };
        check(
            json!({"channel": "email", "subject": "Hi", "text": "Grüße", "html": "<p>x</p>", "headers": {"X-Kind": "long"}}),
            2 + 7 + 8,
        );
        check(
            json!({"channel": "sms", "text": "five!", "media": [{"type": "image", "url": "https://a.test/i.png", "caption": "abc"}]}),
            8,
        );
        check(
            json!({"channel": "whatsapp", "text": "ab", "buttons": [{"text": "Yes", "data": "y"}], "location": {"latitude": 1.0, "longitude": 2.0, "name": "Inn"}}),
            9,
        );
        check(
            json!({"channel": "whatsapp", "whatsapp_template": {"name": "n", "language": "en", "components": [{"a": 1}]}}),
            7,
        );
        check(
            json!({"channel": "telegram", "text": "abc", "buttons": [[{"text": "A"}], [{"text": "B", "url": "https://b"}]]}),
            14,
        );
        check(json!({"channel": "voice", "say": "one two"}), 7);
        let reference = AttachmentRef {
            attachment_id: AttachmentId::from_ulid(1),
            filename: "a.pdf".to_owned(),
            content_type: "application/pdf".to_owned(),
            sha256: String::new(),
            size: 1_000,
            content_id: None,
        };
        let file = File { reference, bytes: vec![0; 1_000].into() };
        let content: Content =
            serde_json::from_value(json!({"channel": "email", "subject": "Hi", "text": "x"})).unwrap();
        assert_eq!(handed(&content, &[file.clone(), file]), 2_003);
    }
}
