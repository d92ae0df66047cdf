//! What the workloads send: requests of the shapes people send, each message different from every other.

use std::fmt::Write as _;

use model::Clock as _;
use net::SystemClock;

/// A short text with a variable: a login code, about a hundred characters.
const CODE_TEXT: &str =
    "Your Acme code is {{ code }}. It is valid for ten minutes. Never share it; we will not ask for it.";

/// `POST /v1/messages`: message `number` by SMS. The text differs from message to message, as a transactional program would post it.
pub fn sms(number: u64) -> String {
    format!(
        r#"{{"to":{{"phone":"{}"}},"channel":"sms","content":{{"text":"Your Acme code is {number:08}. It is valid for ten minutes. Never share it; we will not ask for it."}},"metadata":{{"order":"{number}"}}}}"#,
        phone(number)
    )
}

/// `POST /v1/messages/batch`: messages `from` up to `to` by SMS, sharing one text with a variable.
pub fn sms_batch(from: u64, to: u64) -> String {
    batch(from, to, |text, number| sms_of_batch(text, number, ""))
}

/// The same as a campaign, which waits behind everything transactional.
pub fn bulk_batch(from: u64, to: u64) -> String {
    batch(from, to, |text, number| sms_of_batch(text, number, r#","purpose":"marketing""#))
}

/// The same, to leave in a month: accepted, with its event told, and nothing more. Each bears its number, so that the event does.
pub fn later_batch(from: u64, to: u64) -> String {
    let send_at = SystemClock.now().plus_seconds(30 * 86_400);
    batch(from, to, |text, number| {
        let extra = format!(r#","send_at":"{send_at}","metadata":{{"order":"{number}"}}"#);
        sms_of_batch(text, number, &extra);
    })
}

fn sms_of_batch(text: &mut String, number: u64, extra: &str) {
    let _ = write!(
        text,
        r#"{{"to":{{"phone":"{}"}},"channel":"sms","content":{{"text":"{CODE_TEXT}"}},"variables":{{"code":"{number:08}"}}{extra}}}"#,
        phone(number)
    );
}

/// `POST /v1/messages/batch` with mails of a campaign: a subject, 3.5 KB of HTML and a text, each with variables.
pub fn mail_batch(from: u64, to: u64) -> String {
    let html = mail_html();
    batch(from, to, |text, number| {
        let _ = write!(
            text,
            r#"{{"to":{{"email":"u{number:08}@example.com"}},"channel":"email","purpose":"marketing","content":{{"subject":"{{{{ name }}}}, your tickets for Friday","text":"Hello {{{{ name }}}},\nyour seat is {{{{ seat }}}}. See {{{{ link }}}}\n","html":"{html}"}},"variables":{{"name":"Ada {number}","seat":"R{} S{}","link":"https://acme.example/t/{number:08}"}}}}"#,
            number / 40,
            number % 40
        );
    })
}

fn batch(from: u64, to: u64, write: impl Fn(&mut String, u64)) -> String {
    let mut text = String::from(r#"{"messages":["#);
    for number in from..to {
        if number > from {
            text.push(',');
        }
        write(&mut text, number);
    }
    text.push_str("]}");
    text
}

/// A valid mobile number of its own for every `number` below ten million.
pub fn phone(number: u64) -> String {
    format!("+4915{:09}", 100_000_000 + number)
}

/// 3.5 KB of HTML with three variables, already escaped for JSON.
fn mail_html() -> String {
    const ROW: &str = "<tr><td style='padding:8px;font-family:sans-serif;color:#222'>Doors open at seven, the show begins at eight. Bring this mail.</td></tr>";
    let mut html = String::from("<!doctype html><html><body><table role='presentation' width='600'>");
    html.push_str("<tr><td><h1>Hello {{ name }}</h1><p>Your seat is <b>{{ seat }}</b>.</p></td></tr>");
    while html.len() + ROW.len() < 3_400 {
        html.push_str(ROW);
    }
    html.push_str("<tr><td><a href='{{ link }}'>Your ticket</a></td></tr></table></body></html>");
    html
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn requests_are_json() {
        let one: Value = serde_json::from_str(&sms(7)).unwrap();
        assert_eq!(one["to"]["phone"], "+4915100000007");
        for batch in [sms_batch(0, 3), bulk_batch(0, 3), later_batch(7, 10), mail_batch(5, 8)] {
            let batch: Value = serde_json::from_str(&batch).unwrap();
            assert_eq!(batch["messages"].as_array().unwrap().len(), 3);
        }
    }

    #[test]
    fn the_mail_has_three_and_a_half_kilobytes() {
        assert!((3_300..3_600).contains(&mail_html().len()), "{}", mail_html().len());
    }
}
