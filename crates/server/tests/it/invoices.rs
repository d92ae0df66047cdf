//! An invoice on the real binary: drawn, sent to a real mail server and over WhatsApp's sandbox, and the same bytes wherever one looks.

use std::io::{Read as _, Write as _};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use mail_parser::{MessageParser, MimeHeaders as _};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::{
    binary::Installation,
    events::Events,
    house::{make_tenant, smtp_account},
    http::{self, Client},
    sink::Sink,
};

/// The bytes at a path.
fn download(url: &str, key: &str, path: &str) -> Vec<u8> {
    let authority = url.strip_prefix("http://").unwrap();
    let mut connection = http::connect(authority).unwrap();
    let request =
        format!("GET {path} HTTP/1.1\r\nhost: {authority}\r\nauthorization: Bearer {key}\r\nconnection: close\r\n\r\n");
    connection.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer).unwrap();
    let head = answer.windows(4).position(|end| end == b"\r\n\r\n").unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer[..head]));
    answer.split_off(head + 4)
}

fn invoice(number: &str) -> Value {
    json!({
        "number": number, "issue_date": "2026-11-29", "due_date": "2026-12-13", "currency": "EUR",
        "seller": {"name": "Lovelace & Partner", "address": ["Analytische Straße 18", "10115 Berlin"]}, "buyer": {"name": "Babbage Engines Ltd"},
        "lines": [{"description": "Programs", "quantity": "12.5", "unit": "h", "unit_price_micros": 120_000_000, "tax_percent": "19", "amount_micros": 1_500_000_000}],
        "taxes": [{"name": "VAT", "percent": "19", "base_micros": 1_500_000_000, "amount_micros": 285_000_000}],
        "totals": {"net_micros": 1_500_000_000, "tax_micros": 285_000_000, "total_micros": 1_785_000_000}
    })
}

#[test]
fn an_invoice_arrives_byte_for_byte_and_opens() {
    let sink = Sink::new();
    let installation = Installation::new();
    let server = installation.serve(&["serve"]);
    let key = make_tenant(server.url(), server.announced["operator_api_key"].as_str().unwrap());
    let mut client = Client::new(server.url(), &key);
    client.post("/v1/accounts", &smtp_account(json!({"port": sink.take_mail().port(), "security": "none"})));
    client.post("/v1/accounts", &json!({"name": "Sandbox", "connector": "sandbox", "channels": ["whatsapp"]}));
    let request = json!({"to": {"email": "ada@mail.test", "phone": "+4915112345678"}, "channel": "both", "invoice": invoice("2026-0042")});

    let mut rehearsal = request.clone();
    rehearsal["dry_run"] = json!(true);
    let told = client.post("/v1/invoice-deliveries", &rehearsal);
    assert_eq!(told["document"]["filename"], "invoice-2026-0042.pdf", "{told:#}");

    let sent = client.post("/v1/invoice-deliveries", &request);
    sink.wait(1);
    let path = sent["document"]["path"].as_str().unwrap().to_owned();
    let document = download(server.url(), &key, &path);
    let arrival = sink.arrivals().pop().unwrap();
    let mail = MessageParser::default().parse(arrival.content.as_bytes()).unwrap();
    assert_eq!(mail.subject(), Some("Invoice 2026-0042 from Lovelace & Partner"));
    let attached = mail.attachments().next().unwrap();
    assert_eq!(attached.attachment_name(), Some("invoice-2026-0042.pdf"));
    assert_eq!(attached.contents(), document, "the file that arrived is the file that is kept");
    let opened = lopdf::Document::load_mem(&document).unwrap();
    let text = opened.extract_text(&[1]).unwrap();
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(text.contains("Analytische Straße 18") && text.contains("Total EUR 1,785.00"), "{text}");

    let by_whatsapp = sent["messages"][1]["id"].as_str().unwrap();
    Events::from_the_beginning(server.url(), &key, "message.delivered").until("message.delivered", by_whatsapp);
    let seen = client.get(&format!("/v1/invoice-deliveries/{}", sent["id"].as_str().unwrap()));
    assert_eq!((&seen["messages"][0]["status"], &seen["messages"][0]["channel"]), (&json!("sent"), &json!("email")));

    // The same number again is refused; a PDF made elsewhere arrives as it was made.
    let again = client.ask("POST", "/v1/invoice-deliveries", &[], &request);
    assert_eq!((again.status, again.json()["code"].as_str()), (409, Some("invoice_already_sent")));
    let ready = json!({"to": {"email": "ada@mail.test"}, "channel": "email", "document": {"number": "7", "content_base64": STANDARD.encode(&document)}});
    client.post("/v1/invoice-deliveries", &ready);
    sink.wait(2);
    let arrival = sink.arrivals().pop().unwrap();
    let mail = MessageParser::default().parse(arrival.content.as_bytes()).unwrap();
    assert_eq!(mail.attachments().next().unwrap().contents(), document);
    server.stop(Signal::TERM);
}
