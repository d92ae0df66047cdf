//! Mail of our own making on an installation with a public name: signed by us, with return and reply addresses of its own, whose mail comes in at our listener.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::TcpStream,
};

use rcgen::{CertificateParams, KeyPair};
use serde_json::{Value, json};

use super::QUIET_HEARTBEATS;
use crate::{
    binary::Installation,
    dns::Zone,
    events::Events,
    house::{OPERATOR_KEY, make_tenant, smtp_account},
    http::Client,
    sink::Sink,
};

/// A mail server that brings a mail to our listener; the listener offers STARTTLS.
fn bring(listener: &str, to: &str, mail: &str) {
    let mut stream = BufReader::new(TcpStream::connect(listener).unwrap());
    let mut say = |text: &str, code: &str| {
        stream.get_mut().write_all(text.as_bytes()).unwrap();
        let mut all = String::new();
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).unwrap();
            all.push_str(&line);
            if line.get(3..4) != Some("-") {
                assert!(line.starts_with(code), "{code} was wanted: {line}");
                return all;
            }
        }
    };
    say("", "220");
    let offers = say("EHLO mx.mail.test\r\n", "250");
    assert!(offers.contains("250-STARTTLS"), "{offers}");
    say("MAIL FROM:<>\r\n", "250");
    say("RCPT TO:<ada@reply.acme.example>\r\n", "550");
    say(&format!("RCPT TO:<{to}>\r\n"), "250");
    say("DATA\r\n", "354");
    say(&format!("{mail}\r\n.\r\n"), "250");
    say("STARTTLS\r\n", "220");
}

testkit::both! {
    async fn signed_mail_of_a_public_installation_brings_bounces_and_answers_back(db: TestDb) {
        let (sink, zone) = (Sink::new(), Zone::default());
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec!["tidings.example".to_owned()]).unwrap().self_signed(&key).unwrap();
        let installation = Installation::on(&db);
        let file = |name: &str, text: String| {
            let path = installation.directory().join(name);
            fs::write(&path, text).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let (chain, secret) = (file("mail.pem", certificate.pem()), file("mail.key", key.serialize_pem()));
        let installation = installation
            .with("TIDINGS_DNS_RESOLVER", &zone.serve().to_string())
            .with("TIDINGS_BOOTSTRAP_OPERATOR_KEY", OPERATOR_KEY)
            .with("TIDINGS_PUBLIC_URL", "https://tidings.example")
            .with("TIDINGS_OUTBOUND__ALLOW", "loopback")
            .with("TIDINGS_MAIL_LISTEN", "127.0.0.1:0")
            .with("TIDINGS_MAIL_TLS_CERTIFICATE", &chain)
            .with("TIDINGS_MAIL_TLS_KEY", &secret);
        let server = installation.serve(&["serve"]);
        let url = format!("http://{}", server.announced["listen"].as_str().unwrap());
        let key = make_tenant(&url, OPERATOR_KEY);
        let mut client = Client::new(&url, &key);
        let account = client.post("/v1/accounts", &smtp_account(json!({
            "port": sink.take_mail().port(), "security": "none",
            "bounce_domain": "bounce.acme.example", "bounce_secret": "a-secret-for-bounces", "reply_domain": "reply.acme.example",
        })));
        assert!(account["callback_url"].as_str().unwrap().starts_with("https://tidings.example/hooks/acc_"), "{account:#}");
        let domain = client.post("/v1/domains", &json!({"name": "acme.example", "account_id": account["id"]}));
        domain["records"].as_array().unwrap().iter().for_each(|record| zone.publish(record));
        let seen = client.post(&format!("/v1/domains/{}/verify", domain["id"].as_str().unwrap()), &Value::Null);
        assert_eq!(seen["state"], "verified", "{seen:#}");

        let send = |client: &mut Client, to: &str| {
            let message = json!({"to": {"email": to}, "account_id": account["id"], "content": {"subject": "Hi", "text": "Hello"}});
            client.post("/v1/messages", &message)["id"].as_str().unwrap().to_owned()
        };
        let bounced = send(&mut client, "bob@mail.test");
        sink.wait(1);
        let first = sink.arrivals().pop().unwrap();
        assert!(first.content.starts_with("DKIM-Signature: v=1; a=ed25519-sha256;"), "{}", first.content);
        assert!(first.content.contains("a=rsa-sha256;") && first.content.contains("d=acme.example;"), "{}", first.content);
        assert!(first.from.starts_with("b+") && first.from.ends_with("@bounce.acme.example"), "{}", first.from);
        let answered = send(&mut client, "ada@mail.test");
        sink.wait(2);
        let second = sink.arrivals().into_iter().find(|arrival| arrival.to == "ada@mail.test").unwrap();
        let reply_to = second.content.lines().find_map(|line| line.strip_prefix("Reply-To: ")).unwrap().trim().to_owned();
        assert!(reply_to.starts_with("r+") && reply_to.ends_with("@reply.acme.example"), "{reply_to}");

        let listener = server.announced["mail_address"].as_str().unwrap();
        bring(listener, &first.from, "From: MAILER-DAEMON@mx.mail.test\r\nContent-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n--b\r\n\
            Content-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.mail.test\r\n\r\nFinal-Recipient: rfc822; bob@mail.test\r\nAction: failed\r\nStatus: 5.1.1\r\n\r\n--b--");
        bring(listener, &reply_to, "From: Ada <ada@mail.test>\r\nSubject: Re: Hi\r\nMessage-ID: <1@mail.test>\r\n\r\nHello yourself");
        let mut events = Events::from_the_beginning(&url, &key, "message.bounced,message.received");
        let mut told = Vec::new();
        while told.len() < 2 {
            told.push(events.next_within(QUIET_HEARTBEATS).expect("a bounce and an answer came"));
        }
        assert_eq!((told[0].kind.as_str(), &told[0].about["id"]), ("message.bounced", &json!(bounced)), "{:#}", told[0].about);
        let answer = &told[1].about;
        assert_eq!((answer["in_reply_to_message_id"].as_str(), &answer["text"]), (Some(answered.as_str()), &json!("Hello yourself")), "{answer:#}");
    }
}
