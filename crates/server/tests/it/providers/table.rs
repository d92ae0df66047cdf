//! What is sent to whom: one line per account, channel and kind of content. A new kind of content, or a new provider, is a new line.

use serde_json::{Value, json};

/// One message to be sent, and how the provider must have understood it.
pub struct Line {
    /// The account's name in the simulator.
    pub account: &'static str,
    pub channel: &'static str,
    pub content: Value,
    /// What the provider must have found in it besides the words: the beginnings of lines, in order.
    pub parts: &'static [&'static str],
    /// The event that is the last one about it.
    pub ends: &'static str,
}

const MAIL_PARTS: &[&str] =
    &["html", "attachment ticket.pdf application/pdf 8 bytes", "inline logo.png image/png 3 bytes"];
/// Mailgun knows a picture in the text by its file name, so that its content id stands for the name.
const MAILGUN_PARTS: &[&str] =
    &["html", "attachment ticket.pdf application/pdf 8 bytes", "inline logo image/png 3 bytes"];
const PICTURE: &str = "https://files.acme.example/seat.jpg";

fn line(
    account: &'static str,
    channel: &'static str,
    content: Value,
    parts: &'static [&'static str],
    ends: &'static str,
) -> Line {
    Line { account, channel, content, parts, ends }
}

fn media(kind: &str, url: &str) -> Value {
    json!([{"type": kind, "url": url}])
}

/// A template's body with two values.
fn template(name: &str) -> Value {
    let values = json!([{"type": "text", "text": "Ada"}, {"type": "text", "text": "Gate 7"}]);
    json!({"whatsapp_template": {"name": name, "language": "en", "components": [{"type": "body", "parameters": values}]}})
}

fn place() -> Value {
    json!({"location": {"latitude": 52.5, "longitude": 13.4}})
}

/// The whole catalogue.
pub fn lines() -> Vec<Line> {
    let mut lines = Vec::new();
    for account in ["SMTP", "Amazon SES", "SendGrid", "Mailgun", "Mailjet", "Resend"] {
        let mail = json!({"subject": "Grüße, Ihr Ticket 🎫", "text": "Hallo Åda", "html": "<p>Hallo <img src=\"cid:logo\"></p>"});
        lines.push(line(
            account,
            "email",
            mail,
            if account == "Mailgun" { MAILGUN_PARTS } else { MAIL_PARTS },
            if account == "SMTP" { "message.sent" } else { "message.delivered" },
        ));
    }
    let text = || json!({"text": "Gate 7 – bis bald 🎫"});
    for account in
        ["Twilio", "Vonage", "Vonage SMS API", "Amazon SNS", "MessageBird", "Bird", "Africa's Talking", "Termii"]
    {
        lines.push(line(account, "sms", text(), &[], "message.delivered"));
    }
    for account in ["Twilio", "Vonage"] {
        let part: &[&str] = if account == "Twilio" { &["media https://"] } else { &["image https://"] };
        lines.push(line(
            account,
            "sms",
            json!({"text": "Your seat", "media": media("image", PICTURE)}),
            part,
            "message.delivered",
        ));
        let call = json!({"say": "Your code is 1, 2 & 3", "language": "en-GB"});
        lines.push(line(account, "voice", call, &[], "message.delivered"));
    }
    let read = "message.read";
    for account in ["Twilio", "Vonage", "MessageBird", "Bird", "WhatsApp Cloud", "Gupshup", "Interakt"] {
        lines.push(line(account, "whatsapp", text(), &[], read));
        let part: &[&str] = if account == "Twilio" { &["media https://"] } else { &["image https://"] };
        lines.push(line(
            account,
            "whatsapp",
            json!({"text": "Your seat", "media": media("image", PICTURE)}),
            part,
            read,
        ));
    }
    for account in ["Vonage", "MessageBird", "Bird", "WhatsApp Cloud", "Gupshup", "Interakt"] {
        for (kind, part) in
            [("document", ["document https://"]), ("video", ["video https://"]), ("audio", ["audio https://"])]
        {
            let url = format!("https://files.acme.example/{kind}.bin");
            let part: &'static [&'static str] = match (account, kind) {
                ("Bird", _) | ("Vonage" | "MessageBird" | "Gupshup", "document") => &["file https://"],
                _ => match part {
                    ["document https://"] => &["document https://"],
                    ["video https://"] => &["video https://"],
                    _ => &["audio https://"],
                },
            };
            lines.push(line(account, "whatsapp", json!({"media": media(kind, &url)}), part, read));
        }
    }
    let twilio_place =
        json!({"text": "We meet here.", "location": {"latitude": 52.5, "longitude": 13.4, "name": "Gate 7"}});
    lines.push(line("Twilio", "whatsapp", twilio_place, &["location 52.5,13.4"], read));
    for account in ["Vonage", "MessageBird", "Bird", "WhatsApp Cloud", "Gupshup"] {
        lines.push(line(account, "whatsapp", place(), &["location 52.5,13.4"], read));
    }
    let buttons =
        || json!({"text": "Coming?", "buttons": [{"text": "Yes", "data": "y:42"}, {"text": "No", "data": "n:42"}]});
    let link = || json!({"text": "Pay here.", "buttons": [{"text": "Pay", "url": "https://acme.example/pay"}]});
    lines.push(line("Vonage", "whatsapp", buttons(), &["text Coming?", "button Yes", "button No"], read));
    lines.push(line("WhatsApp Cloud", "whatsapp", buttons(), &["button Yes", "button No"], read));
    lines.push(line("Gupshup", "whatsapp", buttons(), &["button Yes", "button No"], read));
    lines.push(line("Vonage", "whatsapp", link(), &["text Pay here.", "link Pay https://acme.example/pay"], read));
    lines.push(line("WhatsApp Cloud", "whatsapp", link(), &["link Pay https://acme.example/pay"], read));
    for (account, name, part) in [
        (
            "Twilio",
            "HX00000000000000000000000000000005",
            &["template HX00000000000000000000000000000005 {\"1\":\"Ada\",\"2\":\"Gate 7\"}"] as &[_],
        ),
        ("Vonage", "ns:order_update", &["template ns:order_update en Ada Gate 7"]),
        ("MessageBird", "order_update", &["template order_update en Ada Gate 7"]),
        (
            "Bird",
            "0f6f1e3a-1111-4222-8333-444455556666",
            &["template 0f6f1e3a-1111-4222-8333-444455556666 en Ada Gate 7"],
        ),
        ("WhatsApp Cloud", "order_update", &["template order_update en Ada Gate 7"]),
        (
            "Gupshup",
            "c6aecef6-bcb0-4fb1-8100-28c094e3bc6b",
            &["template c6aecef6-bcb0-4fb1-8100-28c094e3bc6b Ada Gate 7"],
        ),
        ("AiSensy", "order_update", &["template order_update Ada Gate 7"]),
        ("Interakt", "order_update", &["template order_update en Ada Gate 7"]),
    ] {
        lines.push(line(account, "whatsapp", template(name), part, read));
    }
    let sent = "message.sent";
    lines.push(line("Telegram", "telegram", text(), &[], sent));
    let pressed = json!({"text": "Coming?", "buttons": [[{"text": "Yes", "data": "y:42"}], [{"text": "Pay", "url": "https://acme.example/pay"}]]});
    lines.push(line("Telegram", "telegram", pressed, &["button Yes", "button Pay"], sent));
    for (kind, part) in [
        ("image", &["photo https://"] as &'static [&'static str]),
        ("video", &["video https://"]),
        ("audio", &["audio https://"]),
        ("document", &["document https://"]),
    ] {
        lines.push(line(
            "Telegram",
            "telegram",
            json!({"text": "Your seat", "media": media(kind, PICTURE)}),
            part,
            sent,
        ));
    }
    let album = json!({"text": "Both", "media": [{"type": "image", "url": PICTURE}, {"type": "image", "url": "https://files.acme.example/2.jpg"}]});
    lines.push(line("Telegram", "telegram", album, &["photo https://", "photo https://"], sent));
    lines.push(line("Telegram", "telegram", place(), &["location 52.5,13.4"], sent));
    lines
}

/// What an account's provider says of a recipient there is none of: the failure's kind. Where only a code for any bad field comes back, it is `content`.
pub fn refusal(account: &str, channel: &str) -> &'static str {
    match (account, channel) {
        ("Bird" | "Gupshup" | "Termii", _) | ("Vonage", "voice") => "content",
        _ => "recipient",
    }
}

/// An address whose message ends as its last part says; each number is somebody else.
pub fn address(channel: &str, story: &str, number: usize) -> Value {
    match channel {
        "email" => json!({"email": format!("{story}+{number}@mail.test")}),
        "telegram" => json!({"telegram_chat_id": format!("7{number:04}{}", digits(story)).parse::<i64>().unwrap()}),
        _ => json!({"phone": format!("+4917{number:04}{}", digits(story))}),
    }
}

fn digits(story: &str) -> &'static str {
    match story {
        "refused" => "5550001",
        "fails" => "5550002",
        _ => "6660000",
    }
}
