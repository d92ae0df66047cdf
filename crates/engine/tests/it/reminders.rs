//! How often a contact wants to be reminded, on both engines: what comes too soon is held back with the reason, whoever sends it and over whichever channel.

use engine::{contacts, once::Repeat};
use serde_json::{Value, json};
use testkit::Stage;

use crate::setting::{body, json as answer};

const DAY: u64 = 86_400_000;

async fn remind(stage: &Stage, contact: &Value, channel: &str, topic: &str) -> String {
    let content = if channel == "email" {
        json!({"subject": "Due", "text": "Please pay"})
    } else {
        json!({"text": "Please pay"})
    };
    let message = json!({"to": {"contact_id": contact}, "channel": channel, "topic": topic, "content": content});
    let id = stage.send(message).await;
    stage.dispatch().await;
    let message = stage.message(id).await;
    let failure: Option<Value> = message.failure.as_deref().map(|text| serde_json::from_str(text).unwrap());
    match failure {
        Some(failure) => format!("{}: {}", message.status, failure["code"].as_str().unwrap()),
        None => message.status.to_string(),
    }
}

testkit::both! {
    async fn who_wants_a_reminder_a_week_gets_one_a_week(db: TestDb) {
        let stage = Stage::new(&db).await;
        stage.account("sandbox", json!({}), None).await;
        let new = body(json!({"email": "ada@example.com", "phone": "+4915112345678", "timezone": "Europe/Berlin"}));
        let ada = answer(&contacts::create(&stage.engine, &stage.caller, &Repeat::NONE, new).await.unwrap())["id"].clone();
        assert_eq!(remind(&stage, &ada, "sms", "payment_reminders").await, "sent");
        assert_eq!(remind(&stage, &ada, "sms", "payment_reminders").await, "sent", "it did not say how often");
        let weekly = body(json!({"reminders": {"frequency": "weekly"}}));
        stage.engine.patch_preferences(&stage.caller, ada.as_str().unwrap().parse().unwrap(), weekly).await.unwrap();
        assert_eq!(remind(&stage, &ada, "email", "payment_reminders").await, "suppressed: reminder_frequency");
        // Another subject, and what is no reminder, are not counted.
        assert_eq!(remind(&stage, &ada, "email", "compliance_reminders").await, "sent");
        assert_eq!(remind(&stage, &ada, "email", "invoice_delivery").await, "sent");
        stage.world.clock.advance_ms(6 * DAY);
        assert_eq!(remind(&stage, &ada, "sms", "payment_reminders").await, "suppressed: reminder_frequency");
        stage.world.clock.advance_ms(DAY);
        assert_eq!(remind(&stage, &ada, "sms", "payment_reminders").await, "sent", "what was held back does not count");
    }

    async fn one_of_a_batch_reminds_and_what_waits_is_looked_at_again(db: TestDb) {
        let stage = Stage::new(&db).await;
        stage.account("sandbox", json!({}), None).await;
        let new = body(json!({"email": "ada@example.com"}));
        let ada = answer(&contacts::create(&stage.engine, &stage.caller, &Repeat::NONE, new).await.unwrap())["id"].clone();
        let daily = body(json!({"reminders": {"frequency": "daily"}}));
        stage.engine.patch_preferences(&stage.caller, ada.as_str().unwrap().parse().unwrap(), daily).await.unwrap();
        let message = |send_at: Option<&str>| {
            let mut message = json!({"to": {"contact_id": ada}, "channel": "email", "topic": "payment_reminders", "content": {"subject": "Due", "text": "Please pay"}});
            if let Some(at) = send_at {
                message["send_at"] = json!(at);
            }
            message
        };
        let batch = json!({"messages": [message(None), message(None), message(Some("2026-11-22T09:30:00Z"))]}).to_string();
        let reply = stage.engine.send_batch(&stage.caller, batch.as_bytes(), None).await.unwrap();
        let ids: Vec<model::MessageId> =
            answer(&reply)["data"].as_array().unwrap().iter().map(|line| line["id"].as_str().unwrap().parse().unwrap()).collect();
        stage.dispatch().await;
        let mut seen = Vec::new();
        for id in &ids {
            seen.push(stage.status(*id).await);
        }
        assert_eq!(seen, ["sent", "suppressed", "scheduled"]);
        stage.world.clock.advance_ms(DAY);
        stage.tick().await;
        assert_eq!(stage.status(ids[2]).await, "sent");
    }
}
