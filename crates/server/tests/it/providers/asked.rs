//! Answers that are lost while the provider says nothing by itself: it is asked, and the message is neither lost nor sent twice.

use serde_json::json;

use super::{Expected, Line, Stage, sms, table::address};

/// Providers that can be asked by what we gave them to echo, or by what they list. SendGrid, where mails are found by the id a lost answer would have brought, is not among them.
const CAN_BE_ASKED: &[(&str, &str, &str)] = &[
    ("Mailgun", "mailgun", "email"),
    ("Mailjet", "mailjet", "email"),
    ("Resend", "resend", "email"),
    ("Twilio", "twilio", "sms"),
    ("MessageBird", "messagebird", "sms"),
    ("Vonage", "vonage", "sms"),
    ("Vonage SMS API", "vonage", "sms"),
];

/// Providers that repeat what we gave them in their reports: that settles an attempt whose answer was lost, without a question and where none can be asked.
const REPEAT: &[(&str, &str, &str)] = &[
    ("Twilio", "twilio", "whatsapp"),
    ("Twilio", "twilio", "voice"),
    ("Vonage", "vonage", "whatsapp"),
    ("Vonage", "vonage", "voice"),
    ("Vonage SMS API", "vonage", "sms"),
    ("MessageBird", "messagebird", "sms"),
    ("Bird", "messagebird", "sms"),
    ("Bird", "messagebird", "whatsapp"),
    ("WhatsApp Cloud", "whatsapp_cloud", "whatsapp"),
    ("Interakt", "interakt", "whatsapp"),
    ("Amazon SES", "ses", "email"),
    ("SendGrid", "sendgrid", "email"),
    ("Mailgun", "mailgun", "email"),
    ("Mailjet", "mailjet", "email"),
    ("Resend", "resend", "email"),
];

fn line(account: &'static str, channel: &'static str) -> Line {
    let content = match channel {
        "email" => json!({"subject": "Ticket", "text": "Hello"}),
        "voice" => json!({"say": "Hello"}),
        _ => json!({"text": "Hello"}),
    };
    Line { account, channel, content, ..sms("Twilio") }
}

testkit::both! {
    async fn lost_answers_are_settled_by_asking(db: TestDb) {
        let stage = Stage::open(&db);
        for account in ["Vonage", "Vonage SMS API"] {
            let path = format!("/v1/accounts/{}", stage.account(account));
            stage.client().ask("PATCH", &path, &[], &json!({"settings": {"reports": "true"}})).success();
        }
        let mut expected = Vec::new();
        for (number, (account, provider, channel)) in CAN_BE_ASKED.iter().enumerate() {
            stage.script(&json!({"provider": provider, "times": 1, "day": {"drop": {"is_silent": true}}}));
            let line = line(account, channel);
            let to = address(channel, "ada", number);
            let id = stage.send(&line, &to, &json!({}));
            expected.push((line, to, Expected { about: format!("{account} asked"), id, event: "message.delivered" }));
        }
        for (line, to, one) in &expected {
            stage.end(&one.about, &one.id, one.event);
            let taken = stage.taken(line, to);
            stage.check(taken.len() == 1, || format!("{}: taken {} times", one.about, taken.len()));
            let provider = &stage.accounts[line.account].1;
            let made = stage.control().get(&format!("/_sim/callbacks?provider={provider}"));
            stage.check(made["data"].as_array().unwrap().is_empty(), || format!("{}: {made:#}", one.about));
        }
        stage.close();
    }

    async fn lost_answers_are_settled_by_what_is_reported(db: TestDb) {
        let stage = Stage::open(&db);
        let mut expected = Vec::new();
        for (number, (account, provider, channel)) in REPEAT.iter().enumerate() {
            stage.script(&json!({"provider": provider, "times": 1, "day": {"drop": {}}}));
            let line = line(account, channel);
            let to = address(channel, "ada", number);
            let id = stage.send(&line, &to, &json!({"guarantee": "at_most_once"}));
            let event = if *channel == "whatsapp" { "message.read" } else { "message.delivered" };
            stage.end(&format!("{account} {channel}"), &id, event);
            expected.push((line, to, id));
        }
        for (line, to, id) in &expected {
            let (story, taken) = (stage.story(id), stage.taken(line, to));
            let about = format!("{} {}", line.account, line.channel);
            stage.check(story.contains(&"attempt unknown".to_owned()) && taken.len() == 1, || format!("{about}: {story:?} {taken:#?}"));
        }
        stage.close();
    }
}
