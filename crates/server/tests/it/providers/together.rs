//! Many messages in one request, of which the provider refuses some; and uploads, which need a request of their own first.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{Expected, Stage, table::address};

/// Mails of one batch: enough that a wrong idea of their failures would pause the account.
const COUNT: usize = 12;
/// Which of them the provider refuses.
const REFUSED: &[usize] = &[3, 8];

/// Each provider with batches, and how it says that it refuses some: all are refused because of them (and the others go again alone), or each has its own answer.
const BATCHING: &[(&str, &str, bool)] = &[
    ("SendGrid", "sendgrid", true),
    ("Mailgun", "mailgun", true),
    ("Mailjet", "mailjet", false),
    ("Resend", "resend", false),
    ("Amazon SES", "ses", false),
];

fn together(stage: &Stage, account: &str, number: usize) -> Vec<Expected> {
    let messages: Vec<Value> = (0..COUNT)
        .map(|index| {
            let story = if REFUSED.contains(&index) { "refused" } else { "ada" };
            json!({
                "to": address("email", story, number * 100 + index), "channel": "email", "account_id": stage.account(account),
                "content": {"subject": "Your ticket", "text": "Doors open at eight."},
            })
        })
        .collect();
    let answer = stage.client().post("/v1/messages/batch", &json!({ "messages": messages }));
    let ids = answer["data"].as_array().unwrap().iter().enumerate();
    ids.map(|(index, one)| Expected {
        about: format!("{account} {index}"),
        id: one["id"].as_str().unwrap_or_else(|| panic!("{one:#}")).to_owned(),
        event: if REFUSED.contains(&index) { "message.failed" } else { "message.delivered" },
    })
    .collect()
}

/// Most recipients a provider found in one request of ours.
fn most_in_one(stage: &Stage, provider: &str) -> usize {
    let requests = stage.control().get(&format!("/_sim/requests?provider={provider}"));
    let bodies = requests["data"].as_array().unwrap().iter().filter(|request| request["method"] == "POST");
    bodies.map(|request| request["body"].as_str().unwrap().matches("@mail.test").count()).max().unwrap_or(0)
}

testkit::both! {
    async fn a_batch_of_which_some_are_refused_ends_for_each_as_it_should(db: TestDb) {
        let stage = Stage::open(&db);
        for (number, (account, provider, is_refused_whole)) in BATCHING.iter().enumerate() {
            let expected = together(&stage, account, number);
            let ended = stage.ends(&expected);
            for (index, one) in expected.iter().enumerate() {
                let Some(message) = ended.get(&one.id) else { continue };
                if REFUSED.contains(&index) {
                    stage.check(message["failure"]["kind"] == "recipient", || format!("{}: {message:#}", one.about));
                    continue;
                }
                // Nothing is told against those beside them: at most one more attempt, and they are taken once.
                let story = stage.story(&one.id);
                let wanted: &[&str] = if *is_refused_whole { &["attempt unavailable", "attempt accepted"] } else { &["attempt accepted"] };
                let attempts: Vec<&String> = story.iter().filter(|step| step.starts_with("attempt")).collect();
                stage.check(attempts == wanted, || format!("{}: {story:?}", one.about));
            }
            let most = most_in_one(&stage, provider);
            stage.check(most >= COUNT, || format!("{account}: no request had more than {most} recipients"));
            let shown = stage.client().get(&format!("/v1/accounts/{}", stage.account(account)));
            stage.check(shown["state"] == "ready", || format!("{account}: {:#}", shown["pause"]));
            let taken = stage.control().get(&format!("/_sim/messages?provider={provider}"));
            stage.check(taken["data"].as_array().unwrap().len() == COUNT - REFUSED.len(), || format!("{account}: {taken:#}"));
        }
        stage.close();
    }

    async fn uploads_reach_the_provider_before_their_message(db: TestDb) {
        let stage = Stage::open(&db);
        let mut client = stage.client();
        let file = json!({"filename": "seat.png", "content_type": "image/png", "content_base64": STANDARD.encode("the picture")});
        let upload = client.post("/v1/attachments", &file)["id"].as_str().unwrap().to_owned();
        let media = json!({"text": "Your seat", "media": [{"type": "image", "attachment_id": upload}]});
        let mut expected = Vec::new();
        for (account, channel, event) in [("WhatsApp Cloud", "whatsapp", "message.read"), ("Telegram", "telegram", "message.sent")] {
            let message = json!({"to": address(channel, "ada", 1), "channel": channel, "account_id": stage.account(account), "content": media});
            let id = client.post("/v1/messages", &message)["id"].as_str().unwrap().to_owned();
            expected.push(Expected { about: format!("{account} upload"), id, event });
        }
        stage.ends(&expected);
        let of = |provider: &str| stage.control().get(&format!("/_sim/messages?provider={provider}"))["data"][0].clone();
        let telegram = of("telegram");
        stage.check(telegram["parts"].to_string().contains("seat.png image/png 11 bytes") && telegram["text"] == "Your seat", || format!("{telegram:#}"));
        let whatsapp = of("whatsapp_cloud");
        let part = whatsapp["parts"][0].as_str().unwrap_or_default().to_owned();
        stage.check(part.starts_with("image 1") && whatsapp["text"] == "Your seat", || format!("{whatsapp:#}"));
        let requests = stage.control().get("/_sim/requests?provider=whatsapp_cloud");
        let uploaded = requests["data"].as_array().unwrap().iter().any(|request| {
            request["path"].as_str().unwrap().ends_with("/media") && request["body"].as_str().unwrap().contains("the picture")
        });
        stage.check(uploaded, || "nothing was uploaded to WhatsApp".to_owned());

        // A file nobody uploaded is refused when the message is accepted, and the field is named.
        let absent = json!({"media": [{"type": "image", "attachment_id": "atc_01K9ZC8Q6T7Y2V5B3N4M1XWRSD"}]});
        let message = json!({"to": address("whatsapp", "ada", 2), "channel": "whatsapp", "account_id": stage.account("WhatsApp Cloud"), "content": absent});
        let refused = client.ask("POST", "/v1/messages", &[], &message);
        let pointer = refused.json()["errors"][0]["pointer"].clone();
        stage.check(refused.status == 422 && pointer == "/content/media/0/attachment_id", || refused.body.clone());
        // What is deleted after its message was accepted still goes.
        let at = json!({"to": address("telegram", "ada", 3), "channel": "telegram", "account_id": stage.account("Telegram"), "content": media});
        let id = client.post("/v1/messages", &at)["id"].as_str().unwrap().to_owned();
        client.ask("DELETE", &format!("/v1/attachments/{upload}"), &[], &Value::Null);
        stage.end("a file deleted meanwhile", &id, "message.sent");
        stage.close();
    }
}
