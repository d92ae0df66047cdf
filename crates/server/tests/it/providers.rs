//! Every provider, end to end: the real server sends the whole catalogue to the real simulator, whose callbacks come back signed; replies arrive, refused
//! recipients are refused, and each class of bad day ends as it should.

mod asked;
mod letters;
mod managed;
mod signed;
mod table;
mod templates;
mod together;

use std::{cell::RefCell, collections::BTreeMap, fs};

use serde_json::{Value, json};
use testkit::TestDb;

use self::table::{Line, address, lines, refusal};
use crate::{
    binary::{Installation, Server},
    dns::Zone,
    events::Events,
    house::{OPERATOR_KEY, make_tenant},
    http::Client,
};

/// A server with an account at every simulated provider.
struct Stage {
    simulator: Server,
    server: Server,
    key: String,
    /// Id and provider of each account, by its name in the simulator.
    accounts: BTreeMap<String, (String, String)>,
    /// The DNS the server asks.
    zone: Zone,
    /// What was not as it should be. Told together, because a provider with a fault must not hide what the others do.
    problems: RefCell<Vec<String>>,
    /// Keeps the directories of both.
    _homes: [Installation; 2],
}

impl Stage {
    fn open(db: &TestDb) -> Self {
        let home = Installation::new();
        let simulator = home.serve(&["provider-sim", "--listen", "127.0.0.1:0", "--smtp-listen", "127.0.0.1:0"]);
        let authority = home.directory().join("authority.pem");
        fs::write(&authority, simulator.get("/_sim/ca.pem").1).unwrap();
        let mut control = Client::new(simulator.url(), "");
        control.ask("PUT", "/_sim/pace", &[], &json!({"step_ms": 25})).success();
        let providers = control.get("/_sim/providers")["data"].as_array().unwrap().clone();
        let zone = Zone::default();
        let mut installation = Installation::on(db)
            .with("TIDINGS_DNS_RESOLVER", &zone.serve().to_string())
            .with("TIDINGS_BOOTSTRAP_OPERATOR_KEY", OPERATOR_KEY)
            .with("TIDINGS_OUTBOUND__CA_FILES", authority.to_str().unwrap());
        for provider in providers.iter().filter(|provider| provider["id"] != "smtp") {
            let name = format!("TIDINGS_CONNECTORS__{}__BASE_URL", provider["id"].as_str().unwrap().to_uppercase());
            installation = installation.with(&name, provider["base_url"].as_str().unwrap());
        }
        let server = installation.serve(&["serve"]);
        let key = make_tenant(server.url(), OPERATOR_KEY);
        let mut stage = Self {
            simulator,
            server,
            key,
            accounts: BTreeMap::new(),
            zone,
            problems: RefCell::default(),
            _homes: [home, installation],
        };
        for provider in &providers {
            stage.configure(provider);
        }
        stage
    }

    /// Makes a provider's accounts as the simulator describes them, and tells it where their callbacks go. The credentials must pass the account's test,
    /// and must not when the provider knows others.
    fn configure(&mut self, provider: &Value) {
        let id = provider["id"].as_str().unwrap();
        let (mut client, mut control) = (self.client(), self.control());
        for account in provider["accounts"].as_array().unwrap() {
            let made = client.post("/v1/accounts", account);
            let (name, account_id) = (account["name"].as_str().unwrap(), made["id"].as_str().unwrap());
            let setting = if name == "Bird" { "bird_callback_url" } else { "callback_url" };
            // Mail servers know no such thing: they write to return addresses.
            if let Some(url) = made["callback_url"].as_str().filter(|_| provider["settings"][setting].is_string()) {
                set(&mut control, id, setting, url);
            }
            let path = format!("/v1/accounts/{account_id}/test");
            let tested = client.post(&path, &Value::Null);
            self.check(tested["ok"] == true, || format!("{name}: {tested:#}"));
            let secret =
                provider["settings"].as_object().unwrap().keys().find(|name| SECRETS.contains(&name.as_str())).unwrap();
            set(&mut control, id, secret, "the-other-one");
            let tested = client.post(&path, &Value::Null);
            self.check(tested["ok"] == false, || format!("{name} without the right {secret}: {tested:#}"));
            set(&mut control, id, secret, provider["settings"][secret].as_str().unwrap());
            self.accounts.insert(name.to_owned(), (account_id.to_owned(), id.to_owned()));
        }
    }

    fn check(&self, holds: bool, words: impl FnOnce() -> String) {
        if !holds {
            self.problems.borrow_mut().push(words());
        }
    }

    /// Fails the test unless everything was as it should be and every callback was believed: every signature held.
    #[track_caller]
    fn close(&self) {
        let made = self.control().get("/_sim/callbacks");
        for callback in made["data"].as_array().unwrap() {
            self.check(callback["outcome"].as_str().unwrap().starts_with('2'), || format!("{callback:#}"));
        }
        let problems = self.problems.borrow();
        assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
    }

    /// Waits until an event of its type has come about each of these messages; answers the messages as they were then. What ends otherwise or not at
    /// all is a problem.
    fn ends(&self, expected: &[Expected]) -> BTreeMap<String, Value> {
        let mut open: BTreeMap<&str, &Expected> = expected.iter().map(|one| (one.id.as_str(), one)).collect();
        let (mut ended, mut events) = (BTreeMap::new(), self.events("*"));
        while !open.is_empty() {
            let Some(event) = events.next_within(QUIET_HEARTBEATS) else { break };
            let id = event.about["message_id"].as_str().or(event.about["id"].as_str()).unwrap_or_default();
            let Some(one) = open.get(id) else { continue };
            if event.kind == one.event {
                open.remove(id);
                ended.insert(id.to_owned(), event.about.clone());
            } else if is_end(&event.kind, one.event) {
                self.check(false, || format!("{}: {} {:#}", one.about, event.kind, event.about));
                open.remove(id);
            }
        }
        for one in open.values() {
            self.check(false, || format!("{}: no {}; {:?}", one.about, one.event, self.story(&one.id)));
        }
        ended
    }

    /// The same for one message.
    fn end(&self, about: &str, id: &str, event: &'static str) {
        self.ends(&[Expected { about: about.to_owned(), id: id.to_owned(), event }]);
    }

    fn client(&self) -> Client {
        Client::new(self.server.url(), &self.key)
    }

    fn control(&self) -> Client {
        Client::new(self.simulator.url(), "")
    }

    fn events(&self, filter: &str) -> Events {
        Events::from_the_beginning(self.server.url(), &self.key, filter)
    }

    fn account(&self, name: &str) -> &str {
        &self.accounts.get(name).unwrap_or_else(|| panic!("no account {name}")).0
    }

    /// Sends to somebody over an account; answers the message's id.
    fn send(&self, line: &Line, to: &Value, more: &Value) -> String {
        let mut message = json!({
            "to": to, "channel": line.channel, "account_id": self.account(line.account), "purpose": "transactional", "content": line.content,
        });
        if line.channel == "email" {
            message["attachments"] = json!([
                {"filename": "ticket.pdf", "content_type": "application/pdf", "content_base64": "JVBERi0xLjc="},
                {"filename": "logo.png", "content_type": "image/png", "content_base64": "UE5H", "content_id": "logo"},
            ]);
        }
        message.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
        let answer = self.client().ask("POST", "/v1/messages", &[], &message);
        assert_eq!(answer.status, 202, "{} {} {}: {}", line.account, line.channel, line.content, answer.body);
        answer.json()["id"].as_str().unwrap().to_owned()
    }

    /// What the provider took for this recipient.
    fn taken(&self, line: &Line, to: &Value) -> Vec<Value> {
        let provider = &self.accounts[line.account].1;
        let to = to.as_object().unwrap().values().next().unwrap();
        let to = to.as_str().map_or_else(|| to.to_string(), |to| to.trim_start_matches('+').to_owned());
        let taken = self.control().get(&format!("/_sim/messages?provider={provider}"));
        let is_it = |message: &&Value| {
            message["to"].as_str().unwrap().trim_start_matches("whatsapp:").trim_start_matches('+') == to
        };
        taken["data"].as_array().unwrap().iter().filter(is_it).cloned().collect()
    }

    fn script(&self, rule: &Value) {
        self.control().post("/_sim/script", rule);
    }

    /// The attempts of a message and what it became, in words.
    fn story(&self, id: &str) -> Vec<String> {
        let timeline = self.client().get(&format!("/v1/messages/{id}/timeline"));
        let told = |entry: &Value| match entry["type"].as_str().unwrap() {
            "attempt" => Some(format!("attempt {}", entry["outcome"].as_str().unwrap_or_default())),
            "change" => Some(format!("is {}", entry["status"].as_str().unwrap_or_default())),
            _ => None,
        };
        timeline["data"].as_array().unwrap().iter().filter_map(told).collect()
    }
}

/// What is to become of a message.
struct Expected {
    /// Which message, in words.
    about: String,
    id: String,
    event: &'static str,
}

/// Heartbeats, one every 15 s, after which nothing more will come of messages that are all under way.
const QUIET_HEARTBEATS: u32 = 2;

/// True when nothing comes after this event, and another one was wanted. What is unknown may still be settled.
fn is_end(event: &str, wanted: &str) -> bool {
    match event {
        "message.failed" | "message.bounced" => true,
        "message.unknown" => wanted == "message.failed",
        _ => false,
    }
}

/// The settings that are credentials.
const SECRETS: &[&str] =
    &["access_key", "access_token", "api_key", "auth_token", "bot_token", "password", "secret_access_key"];

fn set(control: &mut Client, provider: &str, name: &str, value: &str) {
    control.ask("PUT", &format!("/_sim/providers/{provider}"), &[], &json!({ name: value })).success();
}

fn sms(account: &'static str) -> Line {
    Line { account, channel: "sms", content: json!({"text": "Gate 7"}), parts: &[], ends: "" }
}

testkit::both! {
    async fn the_whole_catalogue_arrives_and_reports_back(db: TestDb) {
        let stage = Stage::open(&db);
        let sent: Vec<(Line, Value, Expected)> = lines().into_iter().enumerate().map(|(number, line)| {
            let to = address(line.channel, "ada", number);
            let id = stage.send(&line, &to, &Value::Null);
            let expected = Expected { about: format!("{} {} {}", line.account, line.channel, line.content), id, event: line.ends };
            (line, to, expected)
        }).collect();
        let (rows, expected): (Vec<_>, Vec<_>) = sent.into_iter().map(|(line, to, expected)| ((line, to), expected)).unzip();
        let ended = stage.ends(&expected);
        for ((line, to), expected) in rows.iter().zip(&expected) {
            let about = &expected.about;
            let taken = stage.taken(line, to);
            stage.check(taken.len() == 1, || format!("{about}: taken {} times", taken.len()));
            if let ([taken], Some(ended)) = (&taken[..], ended.get(&expected.id)) {
                stage.check(is_understood(line, taken), || format!("{about}: {taken:#}"));
                let (told, id) = (ended["provider_message_id"].as_str().unwrap_or_default(), taken["id"].as_str().unwrap());
                stage.check(!told.is_empty() && (told.contains(id) || id.contains(told)), || format!("{about}: {id} in {ended:#}"));
            }
        }
        stage.close();
    }

    async fn refused_recipients_failures_bounces_and_complaints(db: TestDb) {
        let stage = Stage::open(&db);
        let mut tried = BTreeMap::new();
        for line in lines() {
            tried.entry((line.account, line.channel)).or_insert(line);
        }
        let (mut expected, mut kinds) = (Vec::new(), BTreeMap::new());
        for ((account, channel), line) in &tried {
            let mut send = |story: &str, event: &'static str, kind: Option<&'static str>| {
                let id = stage.send(line, &address(channel, story, expected.len()), &Value::Null);
                kinds.insert(id.clone(), kind);
                expected.push(Expected { about: format!("{account} {channel} {story}"), id, event });
            };
            send("refused", "message.failed", Some(refusal(account, channel)));
            match *channel {
                "email" if *account != "SMTP" => {
                    send("bounce", "message.bounced", Some("recipient"));
                    send("complaint", "message.complained", None);
                    send("clicks", "message.clicked", None);
                }
                "sms" | "whatsapp" | "voice" => send("fails", "message.failed", None),
                _ => {}
            }
        }
        let ended = stage.ends(&expected);
        for Expected { about, id, .. } in &expected {
            if let (Some(ended), Some(kind)) = (ended.get(id), kinds[id]) {
                stage.check(ended["failure"]["kind"] == kind, || format!("{about}: not {kind} {ended:#}"));
            }
        }
        stage.close();
    }

    async fn replies_of_people_arrive(db: TestDb) {
        let stage = Stage::open(&db);
        let mut expected = BTreeMap::new();
        for (provider, channel, kinds) in [
            ("twilio", "sms", &["text", "media"] as &[_]),
            ("twilio", "whatsapp", &["text", "media", "location", "button"]),
            ("vonage", "sms", &["text"]),
            ("vonage", "whatsapp", &["text", "media", "location", "button"]),
            ("messagebird", "sms", &["text"]),
            ("messagebird", "whatsapp", &["text", "media", "location"]),
            ("messagebird", "bird-sms", &["text"]),
            ("messagebird", "bird-whatsapp", &["text", "media", "location"]),
            ("whatsapp_cloud", "whatsapp", &["text", "media", "location", "button"]),
            ("gupshup", "whatsapp", &["text", "media", "location", "button"]),
            ("aisensy", "whatsapp", &["text", "media", "location", "button"]),
            ("interakt", "whatsapp", &["text", "media", "button"]),
            ("telegram", "telegram", &["text", "media", "location", "button"]),
            ("africastalking", "sms", &["text"]),
            ("termii", "sms", &["text"]),
        ] {
            for kind in kinds {
                let number = expected.len();
                let from = if channel == "telegram" { format!("7{number:08}") } else { format!("+91987{number:07}") };
                let mut written = json!({"provider": provider, "channel": channel, "from": from, "text": "Ja, gerne 🎫"});
                match *kind {
                    "media" => written["media"] = json!({"url": "https://files.acme.example/in.jpg", "content_type": "image/jpeg"}),
                    "location" => written["location"] = json!({"latitude": 52.5, "longitude": 13.4}),
                    "button" => written["button"] = "y:42".into(),
                    _ => {}
                }
                let answer = stage.control().ask("POST", "/_sim/inbound", &[], &written);
                let about = format!("{provider} {channel} {kind}");
                stage.check(answer.status == 202, || format!("{about}: {}", answer.body));
                if answer.status == 202 {
                    expected.insert(from, (about, *kind));
                }
            }
        }
        let mut events = stage.events("message.received");
        while !expected.is_empty() {
            let Some(event) = events.next_within(QUIET_HEARTBEATS) else { break };
            let received = event.about;
            let from = received["from"].as_str().unwrap();
            let known = expected.remove(from);
            stage.check(known.is_some(), || format!("twice, or from nobody: {received:#}"));
            let Some((about, kind)) = known else { continue };
            let is_whole = match kind {
                "text" => received["text"] == "Ja, gerne 🎫",
                "media" => received["media"][0].is_object(),
                "location" => received["location"]["latitude"] == 52.5,
                _ => received["button"] == "y:42",
            };
            stage.check(is_whole, || format!("{about}: {received:#}"));
        }
        for (about, _) in expected.values() {
            stage.check(false, || format!("{about}: nothing was received"));
        }
        stage.close();
    }

    async fn bad_days(db: TestDb) {
        let stage = Stage::open(&db);
        let to = |number| address("sms", "ada", number);

        // Too many requests: the message waits as long as the provider says, and goes.
        stage.script(&json!({"provider": "twilio", "times": 1, "day": {"rate_limit": {"retry_after_s": 1}}}));
        let id = stage.send(&sms("Twilio"), &to(1), &Value::Null);
        stage.end("throttled", &id, "message.delivered");
        stage.check(stage.story(&id).starts_with(&["attempt throttled", "attempt accepted"].map(str::to_owned)), || format!("{:?}", stage.story(&id)));
        assert_eq!(stage.taken(&sms("Twilio"), &to(1)).len(), 1);

        // A failure in the provider's own words, which says that nothing was taken: it is tried again.
        let whatsapp = Line { channel: "whatsapp", ..sms("WhatsApp Cloud") };
        stage.script(&json!({"provider": "whatsapp_cloud", "times": 1, "day": {"error": {"status": 503}}}));
        let id = stage.send(&whatsapp, &to(2), &Value::Null);
        stage.end("503", &id, "message.read");
        stage.check(stage.story(&id).starts_with(&["attempt unavailable", "attempt accepted"].map(str::to_owned)), || format!("{:?}", stage.story(&id)));
        assert_eq!(stage.taken(&whatsapp, &to(2)).len(), 1);

        // The connection breaks after the message was taken: nobody knows, it is not sent twice, and the provider's report settles it.
        stage.script(&json!({"provider": "twilio", "times": 1, "day": {"drop": {}}}));
        let once = json!({"guarantee": "at_most_once"});
        let id = stage.send(&sms("Twilio"), &to(3), &once);
        stage.end("dropped after it was taken", &id, "message.delivered");
        assert_eq!(stage.story(&id)[0], "attempt unknown");
        assert_eq!(stage.taken(&sms("Twilio"), &to(3)).len(), 1);

        // The same before it was taken, at a provider that cannot be asked: it stays unknown.
        let gupshup = Line { channel: "whatsapp", ..sms("Gupshup") };
        stage.script(&json!({"provider": "gupshup", "times": 1, "day": {"drop": {"is_taken": false}}}));
        let id = stage.send(&gupshup, &to(4), &once);
        stage.end("dropped before it was taken", &id, "message.unknown");
        assert_eq!(stage.taken(&gupshup, &to(4)).len(), 0);

        // A proxy in front of the provider answers: nobody knows.
        let interakt = Line { channel: "whatsapp", ..sms("Interakt") };
        stage.script(&json!({"provider": "interakt", "times": 1, "day": {"error": {"status": 502, "own_words": false, "is_taken": true}}}));
        let id = stage.send(&interakt, &to(5), &once);
        stage.end("a proxy's 502", &id, "message.read");
        assert_eq!(stage.story(&id)[0], "attempt unknown");

        // Callbacks twice and in the wrong order: each status once, and never back.
        stage.script(&json!({"provider": "whatsapp_cloud", "times": 1, "day": {"callbacks": {"twice": true, "reversed": true}}}));
        let id = stage.send(&whatsapp, &to(6), &Value::Null);
        stage.end("reversed", &id, "message.read");
        let changes: Vec<String> = stage.story(&id).into_iter().filter(|step| step.starts_with("is ")).collect();
        let mut unique = changes.clone();
        unique.dedup();
        assert_eq!(changes, unique);

        // A slow answer is waited for.
        stage.script(&json!({"provider": "sendgrid", "times": 1, "day": {"slow": {"wait_ms": 1500}}}));
        let mail = Line { channel: "email", content: json!({"subject": "Ticket", "text": "Hello"}), ..sms("SendGrid") };
        let id = stage.send(&mail, &address("email", "ada", 7), &Value::Null);
        stage.end("slow", &id, "message.delivered");
        assert_eq!(stage.story(&id)[0], "attempt accepted");
        stage.close();
    }
}

/// True when the provider found in a message what was in it.
fn is_understood(line: &Line, taken: &Value) -> bool {
    let parts: Vec<&str> = taken["parts"].as_array().unwrap().iter().map(|part| part.as_str().unwrap()).collect();
    let words = line.content["text"].as_str().or(line.content["say"].as_str()).unwrap_or_default();
    let in_markup = words.replace('&', "&amp;");
    let has_words = [taken["text"].as_str().unwrap(), &parts.join(" ")]
        .iter()
        .any(|text| text.contains(words) || text.contains(&in_markup));
    has_words
        && line.parts.iter().all(|part| parts.iter().any(|found| found.starts_with(part)))
        && taken["subject"].as_str() == line.content["subject"].as_str()
}
