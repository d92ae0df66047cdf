//! An installation with a tenant and accounts whose providers are receivers of the test, and the laws of what becomes of its messages.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Value, json};
use testkit::TestDb;

use crate::{
    binary::{Installation, Server},
    events::Events,
    http::Client,
    sink::Sink,
};

pub const OPERATOR_KEY: &str = "tdo_0123456789012345678901234567890123456789";
/// What signs the callbacks of the Twilio account.
pub const AUTH_TOKEN: &str = "0123456789abcdef0123456789abcdef";
const SERVE: &[&str] = &["serve"];
/// Tries of a message before a person is asked.
pub const TRIES: u64 = 5;

/// Where a test of whole processes takes place.
pub struct House {
    installation: Installation,
    pub sink: Arc<Sink>,
    /// The tenant's API key.
    pub key: String,
}

impl House {
    /// On the database of a test, with a tenant, an account for mail and one for text messages. No server runs.
    pub fn on(db: &TestDb) -> Self {
        let sink = Sink::new();
        let (mail, twilio) = (sink.take_mail(), sink.take_text_messages());
        let installation = Installation::on(db)
            .with("TIDINGS_BOOTSTRAP_OPERATOR_KEY", OPERATOR_KEY)
            .with("TIDINGS_CONNECTORS__TWILIO__BASE_URL", &format!("http://{twilio}"));
        let mut house = Self { installation, sink, key: String::new() };
        let server = house.serve();
        house.key = make_tenant(server.url(), OPERATOR_KEY);
        let mut client = Client::new(server.url(), &house.key);
        client.post("/v1/accounts", &twilio_account());
        client.post("/v1/accounts", &smtp_account(json!({"port": mail.port(), "security": "none"})));
        house
    }

    /// Starts a server.
    pub fn serve(&self) -> Server {
        self.installation.serve(SERVE)
    }

    /// Waits until so many messages were sent; `filter` is what events to look at. A message that was under way at as many kills as it has tries becomes a dead letter of which nobody can say whether it
    /// arrived, as is promised. It is tried again, as a person would.
    pub fn until_sent(&self, server: &Server, filter: &str, count: usize) {
        let mut client = Client::new(server.url(), &self.key);
        Events::from_the_beginning(server.url(), &self.key, filter).until_sent_or(count, |event| {
            let m = &event.about;
            let is_given_up = event.kind == "message.unknown"
                && m["failure"]["code"] == "process_ended"
                && m["attempts"].as_u64().unwrap().is_multiple_of(TRIES);
            assert!(is_given_up || event.kind == "message.retried", "{event:?} before {count} were sent");
            let path = format!("/v1/messages/{}", m["id"].as_str().unwrap());
            // What is told of may have been tried again since.
            if is_given_up && client.get(&path)["status"] == "unknown" {
                client.post(&format!("{path}/retry"), &Value::Null);
            }
        });
    }

    /// Waits until every message was sent, and checks the laws for the messages with these numbers and ids. Answers how many arrived twice, and how
    /// many attempts ended unknown among those.
    pub fn settle(&self, server: &Server, accepted: &BTreeMap<u64, String>) -> (usize, usize) {
        self.until_sent(server, "*", accepted.len());
        self.check(&mut Client::new(server.url(), &self.key), accepted)
    }

    /// Checks the laws for messages that were all sent. Answers as [`House::settle`] does.
    pub fn check(&self, client: &mut Client, accepted: &BTreeMap<u64, String>) -> (usize, usize) {
        let mut arrived: BTreeMap<u64, usize> = BTreeMap::new();
        for arrival in self.sink.arrivals() {
            *arrived.entry(number(&arrival.to)).or_default() += 1;
        }
        let lost: Vec<_> = accepted.keys().filter(|number| !arrived.contains_key(number)).collect();
        assert!(lost.is_empty(), "answered 202 and never arrived: {lost:?}");
        assert!(arrived.keys().all(|number| accepted.contains_key(number)), "arrived and was never answered 202");

        let (mut twice, mut unknown) = (0, 0);
        for (number, times) in arrived.iter().filter(|(_, times)| **times > 1) {
            let timeline = client.get(&format!("/v1/messages/{}/timeline", accepted[number]));
            let is_unknown = |entry: &&Value| entry["type"] == "attempt" && entry["outcome"] == "unknown";
            let told = timeline["data"].as_array().unwrap().iter().filter(is_unknown).count();
            assert!(*times <= 1 + told, "message {number} arrived {times} times: {timeline:#}");
            twice += 1;
            unknown += told;
        }

        let usage = client.get("/v1/usage?group_by=channel");
        let of = |channel: &str, is_sms: bool| {
            let count = accepted.keys().filter(|number| is_text(**number) == is_sms).count();
            let row = usage["data"].as_array().unwrap().iter().find(|row| row["channel"] == channel);
            assert!(
                row.is_none()
                    || row.is_some_and(|row| (&row["accepted"], &row["sent"]) == (&count.into(), &count.into())),
                "{count}: {usage:#}"
            );
        };
        of("sms", true);
        of("email", false);
        assert_eq!(
            (&usage["totals"]["accepted"], &usage["totals"]["sent"]),
            (&accepted.len().into(), &accepted.len().into())
        );
        for status in ["scheduled", "queued", "sending", "unknown", "failed"] {
            let left = client.get(&format!("/v1/messages?status={status}&limit=5"));
            assert_eq!(left["data"], json!([]), "{status}");
        }
        (twice, unknown)
    }
}

/// A tenant's API key, made by an operator.
pub fn make_tenant(url: &str, operator_key: &str) -> String {
    let tenant = Client::new(url, operator_key).post("/v1/tenants", &json!({"name": "Acme Tickets"}));
    let mut inside = Client::new(url, operator_key).inside(tenant["id"].as_str().unwrap());
    inside.post("/v1/api-keys", &json!({"name": "shop"}))["key"].as_str().unwrap().to_owned()
}

pub fn twilio_account() -> Value {
    json!({
        "name": "Twilio", "connector": "twilio", "from": "+15550100001", "channels": ["sms"],
        "settings": {"account_sid": "AC0123456789abcdef0123456789abcdef", "auth_token": AUTH_TOKEN},
    })
}

/// A mail server on loopback, with these settings besides.
pub fn smtp_account(mut settings: Value) -> Value {
    settings["host"] = "127.0.0.1".into();
    json!({"name": "Mail", "connector": "smtp", "from": "Acme Tickets <tickets@acme.example>", "settings": settings})
}

/// A numbered message: text messages and mails in turn.
pub fn message(number: u64) -> Value {
    if is_text(number) {
        json!({
            "to": {"phone": format!("+4915{number:09}")}, "channel": "sms", "purpose": "transactional",
            "content": {"text": format!("Gate {number}")},
        })
    } else {
        json!({
            "to": {"email": format!("u{number:09}@mail.test")}, "channel": "email", "purpose": "transactional",
            "content": {"subject": format!("Ticket {number}"), "text": "Hello {{ name }}"}, "variables": {"name": "Ada"},
        })
    }
}

const fn is_text(number: u64) -> bool {
    number.is_multiple_of(2)
}

/// The number of the message that went to this recipient.
pub fn number(to: &str) -> u64 {
    let digits = to.strip_prefix("+4915").or_else(|| to.strip_prefix('u')?.strip_suffix("@mail.test"));
    digits.and_then(|digits| digits.parse().ok()).unwrap_or_else(|| panic!("{to} is none of our recipients"))
}
