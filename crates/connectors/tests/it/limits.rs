//! Every provider's own numbers, held at accept: what is just as long, as many or as large as it takes goes, and one more is refused by a name its sender can find.
//!
//! The numbers stand here once more, from the providers' documentation, so that a slip in a connector's constant does not go unseen.

use model::{AttachmentId, AttachmentRef, Content, Failure, FailureKind, MediaKind, Values};
use serde_json::{Value, json};
use tidings_connectors::{Connector, registry};

const MIB: u64 = 1 << 20;

fn connector(id: &str) -> &'static dyn Connector {
    registry::find(id).unwrap_or_else(|| panic!("there is no connector `{id}`"))
}

fn carries(id: &str, content: Value) -> Result<(), Failure> {
    // Calls need an application at Vonage, which these accounts have.
    let mut settings = Values::default();
    settings.set("application_id", "aaaaaaaa-bbbb-4ccc-8ddd-0123456789ab");
    let content: Content = serde_json::from_value(content).unwrap();
    connector(id).can_carry(&settings, &content)
}

/// `most` is carried and one more is not: the refusal is about the content and names `field`.
#[track_caller]
fn check(id: &str, most: usize, field: &str, content: impl Fn(usize) -> Value) {
    assert_eq!(carries(id, content(most)), Ok(()), "{id} {field} {most}");
    let refused = carries(id, content(most + 1)).expect_err(&format!("{id} carries {field} {}", most + 1));
    assert_eq!(refused.kind, FailureKind::Content, "{id} {refused:?}");
    assert!(refused.detail.contains(field), "{id}: `{}` does not name {field}", refused.detail);
}

fn button(index: usize) -> Value {
    json!({"text": format!("B{index}"), "data": format!("d{index}")})
}

fn buttons(count: usize) -> Vec<Value> {
    (0..count).map(button).collect()
}

fn media(count: usize) -> Vec<Value> {
    vec![json!({"type": "image", "url": "https://files.example/1.png"}); count]
}

#[test]
fn texts_are_as_long_as_the_provider_takes() {
    let sms = |n| json!({"channel": "sms", "text": "x".repeat(n)});
    check("twilio", 1600, "/content/text", sms);
    check("vonage", 3200, "/content/text", sms);
    check("sns", 1600, "/content/text", sms);
    // SNS counts bytes.
    check("sns", 800, "/content/text", |n| json!({"channel": "sms", "text": "я".repeat(n)}));

    let whatsapp = |n| json!({"channel": "whatsapp", "text": "x".repeat(n)});
    for id in ["whatsapp_cloud", "gupshup", "interakt", "messagebird", "vonage"] {
        check(id, 4096, "/content/text", whatsapp);
    }
    check("twilio", 1600, "/content/text", whatsapp);
    let caption = |n| json!({"channel": "whatsapp", "text": "x".repeat(n), "media": media(1)});
    for id in ["whatsapp_cloud", "gupshup", "interakt", "messagebird"] {
        check(id, 1024, "/content/text", caption);
    }

    // Telegram counts UTF-16 units.
    check("telegram", 4096, "/content/text", |n| json!({"channel": "telegram", "text": "x".repeat(n)}));
    check("telegram", 2048, "/content/text", |n| json!({"channel": "telegram", "text": "😀".repeat(n)}));
    check(
        "telegram",
        1024,
        "/content/media/0/caption",
        |n| json!({"channel": "telegram", "media": [{"type": "image", "url": "https://files.example/1.png", "caption": "x".repeat(n)}]}),
    );

    check("vonage", 1500, "/content/say", |n| json!({"channel": "voice", "say": "x".repeat(n)}));
    // Twilio counts the whole TwiML.
    let frame = "<Response><Say></Say></Response>".len();
    check("twilio", 4000 - frame, "/content/say", |n| json!({"channel": "voice", "say": "x".repeat(n)}));
}

#[test]
fn there_are_as_many_as_the_provider_takes() {
    check("twilio", 10, "/content/media", |n| json!({"channel": "sms", "media": media(n)}));
    check("telegram", 10, "/content/media", |n| json!({"channel": "telegram", "media": media(n)}));
    for id in ["whatsapp_cloud", "gupshup", "interakt", "vonage", "twilio", "messagebird"] {
        check(id, 1, "/content/media", |n| json!({"channel": "whatsapp", "media": media(n)}));
    }
    for id in ["whatsapp_cloud", "gupshup", "vonage"] {
        check(id, 3, "/content/buttons", |n| json!({"channel": "whatsapp", "text": "Hi", "buttons": buttons(n)}));
        let words = |n| json!({"channel": "whatsapp", "text": "Hi", "buttons": [{"text": "x".repeat(n), "data": "d"}]});
        check(id, 20, "/content/buttons/0/text", words);
        let data = |n| json!({"channel": "whatsapp", "text": "Hi", "buttons": [{"text": "x", "data": "d".repeat(n)}]});
        check(id, 256, "/content/buttons/0/data", data);
    }
    // In bytes.
    let data = |n| json!({"channel": "telegram", "text": "Hi", "buttons": [[{"text": "x", "data": "d".repeat(n)}]]});
    check("telegram", 64, "/content/buttons/0/0", data);
}

/// A mail whose files take `max` bytes in base64 but for four, and a text of `text` bytes.
fn mail(max: u64, text: usize) -> Value {
    let file = json!({
        "attachment_id": AttachmentId::from_ulid(1), "filename": "a.pdf", "content_type": "application/pdf", "sha256": "", "size": max / 4 * 3 - 3,
    });
    json!({"channel": "email", "subject": "Hi", "text": "x".repeat(text), "attachments": [file]})
}

#[test]
fn mails_are_as_large_as_the_provider_takes() {
    for (id, max) in
        [("ses", 40 * MIB), ("sendgrid", 30 * MIB), ("mailgun", 25 * MIB), ("mailjet", 15 * MIB), ("resend", 40 * MIB)]
    {
        check(id, 4, "attachments", |text| mail(max, text));
    }
    let headed = |name: &str, value: usize| json!({"channel": "email", "subject": "Hi", "text": "x", "headers": {name: "v ".repeat(value / 2)}});
    assert!(carries("mailgun", headed("X-A", 4000)).is_ok());
    let many: serde_json::Map<String, Value> =
        (0..5).map(|n| (format!("X-{n}"), Value::from("v ".repeat(2000)))).collect();
    let refused = carries("mailgun", json!({"channel": "email", "subject": "Hi", "text": "x", "headers": many}));
    assert!(refused.unwrap_err().detail.contains("16 KB"));
    check("mailjet", 255, "subject", |n| json!({"channel": "email", "subject": "x".repeat(n), "text": "x"}));
}

#[test]
fn uploads_are_as_large_and_of_the_types_the_provider_takes() {
    use MediaKind::{Audio, Document, Image, Video};
    let upload = |id: &str, kind: MediaKind, content_type: &str, size: u64| {
        let file = AttachmentRef {
            attachment_id: AttachmentId::from_ulid(1),
            filename: "a".to_owned(),
            content_type: content_type.to_owned(),
            sha256: String::new(),
            size,
            content_id: None,
        };
        let media =
            model::Media { kind, url: None, attachment_id: Some(file.attachment_id), caption: None, filename: None };
        connector(id).can_upload(&media, &file).map_err(|failure| (failure.kind, failure.code))
    };
    let refused = |code: &str| Err((FailureKind::Content, code.to_owned()));
    for (id, kind, content_type, mega) in [
        ("whatsapp_cloud", Image, "image/jpeg", 5),
        ("whatsapp_cloud", Image, "image/png", 5),
        ("whatsapp_cloud", Video, "video/mp4", 16),
        ("whatsapp_cloud", Video, "video/3gpp", 16),
        ("whatsapp_cloud", Audio, "audio/ogg; codecs=opus", 16),
        ("whatsapp_cloud", Audio, "audio/mpeg", 16),
        ("whatsapp_cloud", Document, "application/pdf", 100),
        ("telegram", Image, "image/webp", 10),
        ("telegram", Video, "video/mp4", 50),
        ("telegram", Audio, "audio/mpeg", 50),
        ("telegram", Document, "application/zip", 50),
    ] {
        assert_eq!(upload(id, kind, content_type, mega * MIB), Ok(()), "{id} {content_type}");
        let larger = upload(id, kind, content_type, mega * MIB + 1);
        assert_eq!(larger, refused("file_too_large"), "{id} {content_type}");
    }
    for (id, kind, content_type) in [
        ("whatsapp_cloud", Image, "image/gif"),
        ("whatsapp_cloud", Image, "application/pdf"),
        ("whatsapp_cloud", Video, "video/webm"),
        ("whatsapp_cloud", Audio, "audio/wav"),
        ("telegram", Image, "application/pdf"),
    ] {
        assert_eq!(upload(id, kind, content_type, 1), refused("file_type"), "{id} {content_type}");
    }
}

/// Providers that fetch media themselves say so, instead of leaving an upload out.
#[test]
fn uploads_are_refused_where_only_addresses_are_taken() {
    let file = json!([{"type": "image", "attachment_id": AttachmentId::from_ulid(1)}]);
    for (id, channel) in [
        ("twilio", "sms"),
        ("vonage", "sms"),
        ("messagebird", "sms"),
        ("sns", "sms"),
        ("africastalking", "sms"),
        ("termii", "sms"),
        ("twilio", "whatsapp"),
        ("vonage", "whatsapp"),
        ("messagebird", "whatsapp"),
        ("gupshup", "whatsapp"),
        ("aisensy", "whatsapp"),
        ("interakt", "whatsapp"),
    ] {
        let refused = carries(id, json!({"channel": channel, "text": "Hi", "media": file})).unwrap_err();
        assert_eq!(refused.kind, FailureKind::Content, "{id} {channel}");
    }
}
