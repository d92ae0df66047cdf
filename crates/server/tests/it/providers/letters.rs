//! Answers by e-mail: each provider's own way from the person who answers to the inbound message, and our own listener.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{QUIET_HEARTBEATS, Stage, set, table::address};

/// Settings of the simulator and their values.
type Settings = &'static [(&'static str, &'static str)];

/// An account, its provider in the simulator, its domain for answers, and settings of the simulator that make it bring mails another way.
const WAYS: &[(&str, &str, &str, Settings)] = &[
    ("Mailgun", "mailgun", "mailgun.reply.example", &[]),
    ("Mailjet", "mailjet", "mailjet.reply.example", &[]),
    ("Resend", "resend", "resend.reply.example", &[]),
    ("SendGrid", "sendgrid", "sendgrid.reply.example", &[]),
    ("SendGrid", "sendgrid", "sendgrid.reply.example", &[("send_raw", "true")]),
    ("Amazon SES", "ses", "ses.reply.example", &[]),
    ("Amazon SES", "ses", "ses.reply.example", &[("mail_bucket", "acme-mails")]),
];

/// Gives the account a domain for answers and tells the provider where mails go.
fn prepare(stage: &Stage, account: &str, provider: &str, domain: &str, settings: &[(&str, &str)]) {
    let (mut client, mut control) = (stage.client(), stage.control());
    let path = format!("/v1/accounts/{}", stage.account(account));
    client.ask("PATCH", &path, &[], &json!({"settings": {"reply_domain": domain}})).success();
    let shown = client.get(&path);
    if let ("mailgun" | "sendgrid", Some(url)) = (provider, shown["mail_url"].as_str()) {
        set(&mut control, provider, "mail_url", url);
    }
    for (name, value) in settings {
        set(&mut control, provider, name, value);
    }
}

fn send(stage: &Stage, account: &str, to: &Value) -> String {
    let message = json!({
        "to": to, "channel": "email", "account_id": stage.account(account), "content": {"subject": "Your ticket", "text": "Are you coming?"},
    });
    stage.client().post("/v1/messages", &message)["id"].as_str().unwrap().to_owned()
}

/// What the simulator took for somebody.
fn taken(stage: &Stage, provider: &str, to: &Value) -> Value {
    let path = format!("/_sim/messages?provider={provider}&to={}", to["email"].as_str().unwrap().replace('+', "%2B"));
    stage.control().get(&path)["data"][0].clone()
}

/// An answer with a file.
fn answer(provider: &str, from: &Value, to: &str) -> Value {
    json!({
        "provider": provider, "from": from["email"], "to": to, "subject": "Re: Your ticket",
        "text": "Ja, gerne 🎫\n\nOn Sat, Acme wrote:\n> Are you coming?", "html": "<p>Ja, gerne 🎫</p>",
        "files": [{"filename": "plan.pdf", "content_type": "application/pdf", "content_base64": STANDARD.encode("%PDF-1.7")}],
    })
}

testkit::both! {
    async fn answers_by_mail_arrive_through_every_provider(db: TestDb) {
        let stage = Stage::open(&db);
        let mut events = stage.events("message.received");
        for (number, (account, provider, domain, settings)) in WAYS.iter().enumerate() {
            prepare(&stage, account, provider, domain, settings);
            let about = format!("{account} {settings:?}");
            let who = address("email", "ada", number);
            let id = send(&stage, account, &who);
            stage.end(&about, &id, "message.delivered");
            let mail = taken(&stage, provider, &who);
            let reply_to = mail["reply_to"].as_str().unwrap_or_default();
            stage.check(reply_to.starts_with("r+") && reply_to.ends_with(domain), || format!("{about}: {mail:#}"));
            let asked = stage.control().ask("POST", "/_sim/inbound", &[], &answer(provider, &who, reply_to));
            stage.check(asked.status == 202, || format!("{about}: {}", asked.body));
            let Some(event) = events.next_within(QUIET_HEARTBEATS) else {
                stage.check(false, || format!("{about}: nothing was received"));
                continue;
            };
            let received = event.about;
            let is_whole = received["channel"] == "email"
                && received["from"] == who["email"]
                && received["in_reply_to_message_id"] == id.as_str()
                && received["mail"]["subject"] == "Re: Your ticket"
                && received["mail"]["new_text"] == "Ja, gerne 🎫"
                && received["mail"]["html"] == "<p>Ja, gerne 🎫</p>"
                && received["mail"]["is_automatic"] == false;
            stage.check(is_whole, || format!("{about}: {received:#}"));
            let file = &received["mail"]["attachments"][0];
            let path = format!("/v1/attachments/{}/content", file["attachment_id"].as_str().unwrap_or_default());
            let content = stage.client().ask("GET", &path, &[], &Value::Null);
            let is_file = file["filename"] == "plan.pdf" && file["content_type"] == "application/pdf" && content.body == "%PDF-1.7";
            stage.check(is_file, || format!("{about}: {file:#} {}", content.body));
        }
        stage.close();
    }

    async fn a_mail_with_many_files_is_fetched_whole(db: TestDb) {
        let stage = Stage::open(&db);
        prepare(&stage, "Resend", "resend", "resend.reply.example", &[]);
        let who = address("email", "ada", 1);
        let id = send(&stage, "Resend", &who);
        stage.end("a mail", &id, "message.delivered");
        let mut written = answer("resend", &who, taken(&stage, "resend", &who)["reply_to"].as_str().unwrap());
        let file = |n: usize| json!({"filename": format!("{n}.txt"), "content_type": "text/plain", "content_base64": STANDARD.encode(n.to_string())});
        written["files"] = (0..53).map(file).collect();
        let mut events = stage.events("message.received");
        stage.control().ask("POST", "/_sim/inbound", &[], &written).success();
        let received = events.next_within(QUIET_HEARTBEATS).expect("a mail was written").about;
        let files = received["mail"]["attachments"].as_array().unwrap();
        let is_whole = files.len() == 50 && files[49]["filename"] == "49.txt" && received["mail"]["attachments_left_out"] == 3;
        stage.check(is_whole, || format!("{received:#}"));
        let path = format!("/v1/attachments/{}/content", files[49]["attachment_id"].as_str().unwrap_or_default());
        stage.check(stage.client().ask("GET", &path, &[], &Value::Null).body == "49", || "not its bytes".to_owned());
        stage.close();
    }

    async fn answers_to_other_addresses_find_their_mail_and_machines_are_told_apart(db: TestDb) {
        let stage = Stage::open(&db);
        prepare(&stage, "Mailgun", "mailgun", "mailgun.reply.example", &[]);
        let (ada, bob) = (address("email", "ada", 1), address("email", "bob", 2));
        let id = send(&stage, "Mailgun", &ada);
        stage.end("a mail", &id, "message.delivered");
        let mail = taken(&stage, "mailgun", &ada);
        let mut events = stage.events("message.received");
        let mut receive = |written: &Value| {
            stage.control().ask("POST", "/_sim/inbound", &[], written).success();
            events.next_within(QUIET_HEARTBEATS).expect("a mail was written").about
        };
        // By the Message-ID that Mailgun gave the mail.
        let mut written = answer("mailgun", &ada, "office@mailgun.reply.example");
        written["in_reply_to"] = mail["id"].clone();
        stage.check(receive(&written)["in_reply_to_message_id"] == id.as_str(), || "not threaded by In-Reply-To".to_owned());
        // A note of absence with a word that would act.
        let away = json!({
            "provider": "mailgun", "from": bob["email"], "to": mail["reply_to"], "subject": "Automatic reply", "text": "STOP", "headers": {"Auto-Submitted": "auto-replied"},
        });
        let noted = receive(&away);
        stage.check(noted["mail"]["is_automatic"] == true, || format!("{noted:#}"));
        let barred = |stage: &Stage| stage.client().get("/v1/suppressions")["data"].as_array().unwrap().len();
        stage.check(barred(&stage) == 0, || "a machine's STOP acted".to_owned());
        let stop = json!({"provider": "mailgun", "from": bob["email"], "to": mail["reply_to"], "subject": "Re: Your ticket", "text": "Stop\n\n> Are you coming?"});
        receive(&stop);
        stage.check(barred(&stage) == 1, || "a person's STOP did not act".to_owned());
        stage.close();
    }
}
