//! A mail domain on the real binary: its records are published in a DNS on loopback, and mails are signed from then on, as the sender the message names.

use std::{
    collections::HashMap,
    net::{SocketAddr, UdpSocket},
    sync::{Arc, Mutex},
    thread,
};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::{
    binary::Installation,
    house::{make_tenant, smtp_account},
    http::Client,
    sink::Sink,
};

/// TXT records by name, in lower case without the dot at the end.
type Zone = Arc<Mutex<HashMap<String, String>>>;

/// A DNS server that knows TXT records only. It lives as long as the test.
fn serve(zone: &Zone) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let zone = Arc::clone(zone);
    thread::spawn(move || {
        let mut question = [0; 2048];
        while let Ok((length, from)) = socket.recv_from(&mut question) {
            socket.send_to(&answer(&question[..length], &zone), from).unwrap();
        }
    });
    address
}

/// RFC 1035: the header, the question as it came, and the record with its text in strings of 255 bytes.
fn answer(question: &[u8], zone: &Zone) -> Vec<u8> {
    let mut at = 12;
    let mut labels = Vec::new();
    while question[at] != 0 {
        let length = usize::from(question[at]);
        labels.push(String::from_utf8_lossy(&question[at + 1..=at + length]).to_ascii_lowercase());
        at += length + 1;
    }
    let end = at + 5;
    let is_txt = question[at + 1..at + 3] == [0, 16];
    let text = zone.lock().unwrap().get(&labels.join(".")).cloned().filter(|_| is_txt);
    let mut out = question[..2].to_vec();
    out.extend([0x81, if text.is_some() { 0x80 } else { 0x83 }, 0, 1, 0, u8::from(text.is_some()), 0, 0, 0, 0]);
    out.extend(&question[12..end]);
    if let Some(text) = text {
        let strings: Vec<u8> =
            text.as_bytes().chunks(255).flat_map(|part| [&[part.len() as u8], part].concat()).collect();
        out.extend([0xc0, 12, 0, 16, 0, 1, 0, 0, 0, 60]);
        out.extend((strings.len() as u16).to_be_bytes());
        out.extend(strings);
    }
    out
}

fn without_body(client: &mut Client, path: &str) -> Value {
    client.exchange("POST", path, &[], "").unwrap().success()
}

#[test]
fn mails_are_signed_once_the_domain_is_verified() {
    let (sink, zone) = (Sink::new(), Zone::default());
    let installation = Installation::new().with("TIDINGS_DNS_RESOLVER", &serve(&zone).to_string());
    let server = installation.serve(&["serve"]);
    let key = make_tenant(server.url(), server.announced["operator_api_key"].as_str().unwrap());
    let mut client = Client::new(server.url(), &key);
    let account =
        client.post("/v1/accounts", &smtp_account(json!({"port": sink.take_mail().port(), "security": "none"})));
    let domain = client.post("/v1/domains", &json!({"name": "acme.example", "account_id": account["id"]}));
    let verify = format!("/v1/domains/{}/verify", domain["id"].as_str().unwrap());
    assert_eq!(without_body(&mut client, &verify)["state"], "pending");

    for record in domain["records"].as_array().unwrap() {
        let (name, value) = (record["name"].as_str().unwrap(), record["value"].as_str().unwrap());
        zone.lock().unwrap().insert(name.to_owned(), value.to_owned());
    }
    let seen = without_body(&mut client, &verify);
    assert_eq!(seen["state"], "verified", "{seen:#}");

    let sender = client.post("/v1/senders", &json!({"account_id": account["id"], "from": "News <news@acme.example>"}));
    assert_eq!(sender["state"], "verified", "{sender:#}");
    let message = json!({"to": {"email": "ada@mail.test"}, "sender_id": sender["id"], "content": {"subject": "Hi", "text": "Hello"}});
    let sent = client.post("/v1/messages", &message);
    assert_eq!(sent["sender_id"], sender["id"]);
    sink.wait(1);
    let mail = sink.arrivals().pop().unwrap().content;
    assert!(mail.starts_with("DKIM-Signature: v=1; a=ed25519-sha256;"), "{mail}");
    assert!(mail.contains("a=rsa-sha256;") && mail.contains("d=acme.example;"), "{mail}");
    assert!(mail.contains("From: News <news@acme.example>"), "{mail}");
    server.stop(Signal::TERM);
}
