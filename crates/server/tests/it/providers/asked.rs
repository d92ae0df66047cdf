//! Answers that are lost while the provider says nothing by itself: it is asked, and the message is neither lost nor sent twice.

use serde_json::json;

use super::{Expected, Line, Stage, set, sms, table::address};

/// Providers that can be asked by what we gave them to echo, or by what they list. SendGrid, where mails are found by the id a lost answer would have brought, is not among them.
const CAN_BE_ASKED: &[(&str, &str)] = &[("Mailgun", "mailgun"), ("Mailjet", "mailjet"), ("Resend", "resend")];

testkit::both! {
    async fn lost_answers_are_settled_by_asking(db: TestDb) {
        let stage = Stage::open(&db);
        let mut expected = Vec::new();
        for (number, (account, provider)) in CAN_BE_ASKED.iter().enumerate() {
            // Nothing is reported: only asking can tell.
            set(&mut stage.control(), provider, "callback_url", "");
            stage.script(&json!({"provider": provider, "times": 1, "day": {"drop": {}}}));
            let line = Line { account, channel: "email", content: json!({"subject": "Ticket", "text": "Hello"}), ..sms("Twilio") };
            let to = address("email", "ada", number);
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
}
