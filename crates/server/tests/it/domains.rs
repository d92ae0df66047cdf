//! A mail domain on the real binary: its records are published in a DNS on loopback, and mails are signed from then on, as the sender the message names.

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::{
    binary::Installation,
    dns::Zone,
    house::{make_tenant, smtp_account},
    http::Client,
    sink::Sink,
};

fn without_body(client: &mut Client, path: &str) -> Value {
    client.exchange("POST", path, &[], "").unwrap().success()
}

#[test]
fn mails_are_signed_once_the_domain_is_verified() {
    let (sink, zone) = (Sink::new(), Zone::default());
    let installation = Installation::new()
        .with("TIDINGS_DNS_RESOLVER", &zone.serve().to_string())
        .with("TIDINGS_PUBLIC_URL", "https://tidings.acme.example");
    let server = installation.serve(&["serve"]);
    let key = make_tenant(server.url(), server.announced["operator_api_key"].as_str().unwrap());
    let mut client = Client::new(server.url(), &key);
    let settings = json!({
        "port": sink.take_mail().port(), "security": "none", "bounce_domain": "back.acme.example", "bounce_secret": "0123456789abcdef",
    });
    let account = client.post("/v1/accounts", &smtp_account(settings));
    let domain = client.post("/v1/domains", &json!({"name": "acme.example", "account_id": account["id"]}));
    let verify = format!("/v1/domains/{}/verify", domain["id"].as_str().unwrap());
    assert_eq!(without_body(&mut client, &verify)["state"], "pending");

    for record in domain["records"].as_array().unwrap() {
        zone.publish(record);
    }
    let seen = without_body(&mut client, &verify);
    assert_eq!(seen["state"], "verified", "{seen:#}");
    let of_bounces: Vec<&Value> =
        seen["records"].as_array().unwrap().iter().filter(|record| record["name"] == "back.acme.example").collect();
    let shown: Vec<_> =
        of_bounces.iter().map(|record| (record["type"].as_str().unwrap(), record["value"].as_str().unwrap())).collect();
    assert_eq!(shown, [("MX", "10 tidings.acme.example"), ("TXT", "v=spf1 ip4:127.0.0.1 ~all")], "{seen:#}");
    assert!(of_bounces.iter().all(|record| record["state"] == "ok"), "{seen:#}");

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
