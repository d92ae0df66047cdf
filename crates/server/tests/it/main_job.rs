//! The main job on real input: a fresh data directory, the server, a tenant, a real Postfix, a provider that speaks Twilio's API and reports back; killed
//! in the middle and started again.

use std::sync::Arc;

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use mail_parser::{Message, MessageParser, MimeHeaders as _};
use rustix::process::Signal;
use serde_json::{Value, json};
use url::form_urlencoded;

use crate::{
    binary::{Installation, Server},
    events::Events,
    house::{AUTH_TOKEN, make_tenant, smtp_account, twilio_account},
    http::{Answer, Client},
    postfix::{PASSWORD, Postfix, USER, free_port},
    sink::{Arrival, Sink},
};

/// What is attached: every byte there is.
fn file() -> Vec<u8> {
    (0..=255).cycle().take(10_000).collect()
}

/// The installation and everything around it.
struct Job {
    installation: Installation,
    sink: Arc<Sink>,
    postfix: Postfix,
    key: String,
}

impl Job {
    /// Starts everything from nothing; answers the running server too.
    fn start() -> (Self, Server) {
        let sink = Sink::new();
        let mail_port = free_port();
        let postfix = Postfix::start(sink.take_mail(), mail_port);
        let installation = Installation::new()
            .with("TIDINGS_MAIL_LISTEN", &format!("127.0.0.1:{mail_port}"))
            // The same address after a restart, because the provider was told where to report to.
            .with("TIDINGS_LISTEN", &format!("127.0.0.1:{}", free_port()))
            .with("TIDINGS_OUTBOUND__CA_FILES", postfix.authority().to_str().unwrap())
            .with("TIDINGS_CONNECTORS__TWILIO__BASE_URL", &format!("http://{}", sink.take_text_messages()));
        let server = installation.serve(&["serve"]);
        let key = make_tenant(server.url(), server.announced["operator_api_key"].as_str().unwrap());
        (Self { installation, sink, postfix, key }, server)
    }

    fn client(&self, server: &Server) -> Client {
        Client::new(server.url(), &self.key)
    }

    /// Waits for what became of a message.
    fn until(&self, server: &Server, kind: &str, id: &str) -> Value {
        Events::from_the_beginning(server.url(), &self.key, kind).until(kind, id)
    }

    /// The last mail that came through Postfix.
    fn last(&self) -> Arrival {
        self.sink.arrivals().pop().unwrap()
    }
}

/// The steps of a message's timeline in words.
fn timeline(client: &mut Client, id: &str) -> Vec<String> {
    let timeline = client.get(&format!("/v1/messages/{id}/timeline"));
    let word = |entry: &Value, name: &str| entry[name].as_str().unwrap_or_default().to_owned();
    let told = |entry: &Value| match entry["type"].as_str().unwrap() {
        "attempt" => format!("attempt {}", word(entry, "outcome")),
        "observation" => format!("{} says {}", word(entry, "source"), word(entry, "kind")),
        "change" => format!("is {}", word(entry, "status")),
        other => other.to_owned(),
    };
    timeline["data"].as_array().unwrap().iter().map(told).collect()
}

#[test]
fn from_nothing_to_delivered() {
    let (job, server) = Job::start();
    let mut client = job.client(&server);
    accounts(&job, &mut client);
    a_mail_arrives_as_it_was_sent(&job, &server, &mut client);
    a_refused_recipient_is_a_failure(&job, &server, &mut client);
    let server = killed_in_the_middle_nothing_is_lost(&job, server);
    callbacks_tell_the_rest(&job, &server);
    a_mail_that_comes_back_is_a_bounce(&job, &server);
    assert_eq!(server.stop(Signal::TERM).code, 0);
}

fn accounts(job: &Job, client: &mut Client) {
    let login = |port: u16, security: &str, password: &str| {
        smtp_account(json!({
            "port": port, "security": security, "username": USER, "password": password,
            "bounce_domain": "bounce.mail.test", "bounce_secret": "a-secret-for-bounces",
        }))
    };
    let (starttls, tls) = (job.postfix.port, job.postfix.tls_port);
    let mut aside = [login(starttls, "starttls", "wrong"), login(tls, "tls", "wrong"), login(tls, "tls", PASSWORD)];
    aside.iter_mut().for_each(|account| account["enabled"] = false.into());
    let [wrong, wrong_tls, right_tls] = aside;
    let right = login(starttls, "starttls", PASSWORD);
    let accounts = [(wrong, false), (wrong_tls, false), (right_tls, true), (right, true), (twilio_account(), true)];
    for (account, is_ok) in accounts {
        let made = client.post("/v1/accounts", &account);
        let tested = client.post(&format!("/v1/accounts/{}/test", made["id"].as_str().unwrap()), &Value::Null);
        assert_eq!(tested["ok"], is_ok, "{tested:#} {}", job.postfix.log());
        let said = tested["checks"].to_string();
        assert!(made["connector"] == "twilio" || said.contains("TLSv1_3"), "{said}");
        assert!(is_ok || said.contains("535 5.7.8"), "{said}");
    }
}

fn a_mail_arrives_as_it_was_sent(job: &Job, server: &Server, client: &mut Client) {
    let id = client.post(
        "/v1/messages",
        &json!({
            "to": {"email": "ada@mail.test"}, "channel": "email", "purpose": "transactional",
            "content": {"subject": "Ihr Ticket für {{ name }} 🎫", "text": "Hallo {{ name }},\n.\nbis bald", "html": "<p>Hallo <b>{{ name }}</b></p>"},
            "variables": {"name": "Åda & Söhne"},
            "attachments": [{"filename": "Sitzplan Größe.bin", "content_type": "application/octet-stream", "content_base64": STANDARD.encode(file())}],
        }),
    )["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let sent = job.until(server, "message.sent", &id);
    assert!(sent["provider_message_id"].as_str().is_some_and(|queued| !queued.is_empty()), "{sent}");
    assert_eq!(timeline(client, &id), ["accepted", "routed", "attempt accepted", "is sent"]);

    job.sink.wait(1);
    let arrival = job.last();
    assert_eq!(arrival.to, "ada@mail.test");
    let mail: Message<'_> = MessageParser::default().parse(arrival.content.as_bytes()).unwrap();
    assert_eq!(mail.subject(), Some("Ihr Ticket für Åda & Söhne 🎫"));
    assert_eq!(mail.body_text(0).unwrap().replace("\r\n", "\n").trim_end(), "Hallo Åda & Söhne,\n.\nbis bald");
    assert_eq!(mail.body_html(0).unwrap().trim_end(), "<p>Hallo <b>Åda &amp; Söhne</b></p>");
    let attached = mail.attachment(0).unwrap();
    assert_eq!((attached.attachment_name(), attached.contents()), (Some("Sitzplan Größe.bin"), file().as_slice()));
    let received = mail.header_raw("Received").unwrap();
    assert!(received.contains("ESMTPSA"), "under TLS and signed in: {received}");
}

fn a_refused_recipient_is_a_failure(job: &Job, server: &Server, client: &mut Client) {
    let message = json!({"to": {"email": "nobody@mail.test"}, "channel": "email", "purpose": "transactional", "content": {"subject": "x", "text": "x"}});
    let id = client.post("/v1/messages", &message)["id"].as_str().unwrap().to_owned();
    let failed = job.until(server, "message.failed", &id);
    assert_eq!((&failed["status"], &failed["failure"]["kind"]), (&"failed".into(), &"recipient".into()), "{failed:#}");
    let words = failed["failure"]["provider_detail"].as_str().unwrap();
    assert!(words.contains("550 5.1.1") && words.contains("User unknown"), "{words}");
    assert_eq!(timeline(client, &id), ["accepted", "routed", "attempt recipient", "is failed"]);
}

fn killed_in_the_middle_nothing_is_lost(job: &Job, server: Server) -> Server {
    job.sink.hold(true);
    let messages: Vec<Value> = (0..20)
        .map(|number| match number % 2 {
            0 => json!({"to": {"email": "bob@mail.test"}, "channel": "email", "purpose": "transactional", "content": {"subject": format!("Ticket {number}"), "text": "x"}}),
            _ => json!({"to": {"phone": format!("+4915100000{number:03}")}, "channel": "sms", "purpose": "transactional", "content": {"text": format!("Gate {number}")}}),
        })
        .collect();
    let accepted = job.client(&server).post("/v1/messages/batch", &json!({"messages": messages}));
    let ids: Vec<&str> = accepted["data"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap()).collect();
    // The provider has the text messages, and nobody has its answers.
    job.sink.until(|arrivals| {
        arrivals.iter().filter(|arrival| arrival.content.starts_with("Gate ")).count() == ids.len() / 2
    });
    assert_ne!(server.stop(Signal::KILL).code, 0);
    job.sink.hold(false);

    let server = job.installation.serve(&["serve"]);
    assert_eq!(server.announced["operator_api_key"], Value::Null, "it is the same installation");
    // Two messages came to their end before; what is waited for here is the mail to Ada and these.
    let mut events = Events::from_the_beginning(server.url(), &job.key, "message.sent");
    events.until_sent(1 + ids.len());
    let mut client = job.client(&server);
    for (number, id) in ids.iter().enumerate() {
        let is_it = |arrival: &&Arrival| match number % 2 {
            0 => arrival.content.contains(&format!("Subject: Ticket {number}\r\n")),
            _ => arrival.content == format!("Gate {number}"),
        };
        // Postfix takes a mail before it hands it on.
        job.sink.until(|arrivals| arrivals.iter().any(|arrival| is_it(&arrival)));
        let times = job.sink.arrivals().iter().filter(is_it).count();
        let told = timeline(&mut client, id);
        let unknown = told.iter().filter(|step| *step == "attempt unknown").count();
        assert!(times <= 1 + unknown, "{number} arrived {times} times: {told:?}");
        assert!(told.contains(&"is sent".to_owned()), "{told:?}");
    }
    server
}

/// A report as Twilio posts it.
fn report(client: &mut Client, arrival: &Arrival, status: &str, auth_token: &str) -> Answer {
    let form = [
        ("AccountSid", "AC0123456789abcdef0123456789abcdef"),
        ("MessageSid", &arrival.sid),
        ("MessageStatus", status),
        ("To", &arrival.to),
    ];
    let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    let signed: String = form.iter().map(|(name, value)| format!("{name}{value}")).collect();
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, auth_token.as_bytes());
    let signature = STANDARD.encode(hmac::sign(&key, format!("{}{signed}", arrival.callback).as_bytes()));
    let (_, rest) = arrival.callback.split_once("://").unwrap();
    let path = &rest[rest.find('/').unwrap()..];
    let headers = [("content-type", "application/x-www-form-urlencoded"), ("x-twilio-signature", signature.as_str())];
    client.exchange("POST", path, &headers, &body).unwrap()
}

fn callbacks_tell_the_rest(job: &Job, server: &Server) {
    let mut client = job.client(server);
    let mut twilio = Client::new(server.url(), "");
    let message = json!({"to": {"phone": "+4915199999999"}, "channel": "sms", "purpose": "transactional", "content": {"text": "Doors open at 19:00"}});
    let id = client.post("/v1/messages", &message)["id"].as_str().unwrap().to_owned();
    job.until(server, "message.sent", &id);
    let arrival = job.sink.arrivals().into_iter().find(|arrival| arrival.to == "+4915199999999").unwrap();

    let before = client.get(&format!("/v1/messages/{id}/timeline"));
    assert_eq!(report(&mut twilio, &arrival, "delivered", "another token").status, 401);
    assert_eq!(client.get(&format!("/v1/messages/{id}/timeline")), before, "a bad signature changes nothing");

    for status in ["sent", "delivered", "delivered", "sent"] {
        assert_eq!(report(&mut twilio, &arrival, status, AUTH_TOKEN).status, 204, "{status}");
    }
    let delivered = job.until(server, "message.delivered", &id);
    assert_eq!(
        (&delivered["status"], &delivered["provider_message_id"]),
        (&"delivered".into(), &arrival.sid.as_str().into())
    );
    let told = timeline(&mut client, &id);
    assert_eq!(
        told,
        [
            "accepted",
            "routed",
            "attempt accepted",
            "is sent",
            "provider says sent",
            "provider says delivered",
            "is delivered"
        ]
    );
    let usage = client.get("/v1/usage?group_by=channel");
    assert_eq!(
        (&usage["totals"]["accepted"], &usage["totals"]["delivered"], &usage["totals"]["failed"]),
        (&23.into(), &1.into(), &1.into())
    );
}

/// Postfix takes the mail, the next server does not, and Postfix says so to the return address.
fn a_mail_that_comes_back_is_a_bounce(job: &Job, server: &Server) {
    let mut client = job.client(server);
    let message = json!({"to": {"email": "gone@mail.test"}, "channel": "email", "purpose": "transactional", "content": {"subject": "x", "text": "x"}});
    let id = client.post("/v1/messages", &message)["id"].as_str().unwrap().to_owned();
    let bounced = job.until(server, "message.bounced", &id);
    assert_eq!(
        (&bounced["status"], &bounced["failure"]["kind"]),
        (&"bounced".into(), &"recipient".into()),
        "{bounced:#}"
    );
    let words = bounced["failure"]["provider_detail"].as_str().unwrap();
    assert!(words.contains("550 5.1.1 no such user any more"), "{words}");
    assert_eq!(
        timeline(&mut client, &id),
        ["accepted", "routed", "attempt accepted", "is sent", "provider says bounced", "is bounced"]
    );
    let kept = client.get("/v1/suppressions");
    assert_eq!(kept["data"][0]["address"], "gone@mail.test", "{kept:#}");
}
