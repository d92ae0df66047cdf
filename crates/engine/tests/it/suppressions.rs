//! Nothing goes to a suppressed address, on both engines.

use engine::{
    consent::suppressions::{NewSuppression, SuppressionQuery},
    once::Repeat,
};
use model::SuppressionId;
use serde_json::{Value, json};
use testkit::{Stage, TestDb, World, http_answer};

use crate::setting::column;

const TWILIO_FROM: &str = "+15550100001";

fn sms(to: &str) -> Value {
    json!({ "to": { "phone": to }, "channel": "sms", "content": { "text": "Hello" } })
}

fn mail(to: &str, purpose: &str) -> Value {
    json!({ "to": { "email": to }, "purpose": purpose, "content": { "subject": "Hi", "text": "Hello" } })
}

async fn suppress(stage: &Stage, entry: Value) -> SuppressionId {
    let new: NewSuppression = serde_json::from_value(entry).unwrap();
    let reply = stage.engine.suppress(&stage.caller, &Repeat::NONE, new).await.unwrap();
    serde_json::from_slice::<Value>(&reply.body).unwrap()["id"].as_str().unwrap().parse().unwrap()
}

async fn listed(stage: &Stage) -> Vec<(String, String, String)> {
    let query = SuppressionQuery::default();
    let page: Value = serde_json::from_slice(&stage.engine.suppressions(&stage.caller, &query).await.unwrap()).unwrap();
    let word = |row: &Value, name: &str| row[name].as_str().unwrap().to_owned();
    let rows = page["data"].as_array().unwrap().iter();
    rows.map(|row| (word(row, "address"), word(row, "reason"), word(row, "blocks"))).collect()
}

async fn twilio(db: &TestDb) -> Stage {
    let stage = Stage::in_world(World::answering(db, |_| {
        http_answer(201, r#"{"sid": "SM0123456789abcdef0123456789abcdef", "status": "queued", "num_segments": "1"}"#)
    }))
    .await;
    let settings = json!({ "account_sid": "AC00000000000000000000000000000001", "auth_token": "0123456789abcdef0123456789abcdef" });
    stage.account("twilio", settings, Some(TWILIO_FROM)).await;
    stage
}

testkit::both! {
    async fn marketing_with_an_unsubscribe_link_is_asked_about_like_everything_else(db: TestDb) {
        let stage = twilio(&db).await;
        let text = "News. To stop: {{ unsubscribe_url }}";
        let id = stage.send(json!({ "to": { "phone": "+4915112345678" }, "channel": "sms", "purpose": "marketing", "content": { "text": text } })).await;
        stage.dispatch().await;
        assert_eq!((stage.status(id).await, stage.world.transport.take_calls().len()), ("sent", 1));
        stage.world.clock.advance_ms(360_000);
        stage.tick().await;
        assert_eq!(stage.world.transport.calls().len(), 1, "after five minutes of silence the provider is asked");
    }

    async fn a_suppressed_address_is_refused_as_it_is_accepted(db: TestDb) {
        let stage = twilio(&db).await;
        let id = suppress(&stage, json!({ "channel": "sms", "address": "+4915112345678" })).await;
        let answer = stage.try_send(sms("+4915112345678"), Some("once")).await.unwrap();
        assert_eq!((answer["status"].as_str(), answer["failure"]["code"].as_str()), (Some("suppressed"), Some("suppressed_manual")));
        assert!(answer["failure"]["detail"].as_str().unwrap().contains(&id.to_string()));
        assert_eq!(stage.try_send(sms("+4915112345678"), Some("once")).await.unwrap(), answer, "a repeat is answered the same");
        let other = stage.send(sms("+4915112345679")).await;
        stage.dispatch().await;
        assert_eq!(stage.status(other).await, "sent");
        assert_eq!(stage.world.transport.calls().len(), 1, "only the other one left");
        stage.engine.unsuppress(&stage.caller, id, Some("It was a mistake".to_owned())).await.unwrap();
        let again = stage.send(sms("+4915112345678")).await;
        stage.dispatch().await;
        assert_eq!(stage.status(again).await, "sent");
    }

    async fn what_waits_is_held_back_when_its_turn_comes(db: TestDb) {
        let stage = twilio(&db).await;
        let mut later = sms("+4915112345678");
        later["send_at"] = json!(stage.engine.ports.clock.now().plus_seconds(60).to_string());
        let id = stage.send(later).await;
        // Another node is first with the tenant's first suppression; this one learns of it by its look.
        let other = second(&stage);
        suppress(&other, json!({ "channel": "sms", "address": "+4915112345678", "reason": "opted_out" })).await;
        stage.world.clock.advance_ms(61_000);
        stage.dispatch().await;
        let message = stage.message(id).await;
        assert_eq!((message.status.as_str(), message.attempts, message.due_at), ("suppressed", 0, None));
        assert!(message.failure.unwrap().contains("suppressed_opted_out"));
        assert_eq!(stage.world.transport.calls().len(), 0);
        assert_eq!(column(&db, "SELECT CAST(COUNT(*) AS TEXT) FROM inflight").await, "0");
        assert_eq!(column(&db, "SELECT CAST(COUNT(*) AS TEXT) FROM attempts").await, "0");
        assert_eq!(column(&db, "SELECT CAST(SUM(suppressed) AS TEXT) FROM usage_counters").await, "1");
    }

    async fn a_message_does_not_leave_with_its_commit_to_a_suppressed_address(db: TestDb) {
        let stage = twilio(&db).await;
        tidings_engine::dispatch::open(&stage.engine);
        suppress(&stage, json!({ "channel": "sms", "address": "+4915112345678" })).await;
        let id = stage.send(sms("+4915112345678")).await;
        tidings_engine::dispatch::landed(&stage.engine).await;
        assert_eq!(stage.status(id).await, "suppressed");
        assert_eq!(stage.world.transport.calls().len(), 0);
        let batch = json!({ "messages": [sms("+4915112345678"), sms("+4915112345679")] }).to_string();
        stage.engine.send_batch(&stage.caller, batch.as_bytes(), None).await.unwrap();
        stage.dispatch().await;
        assert_eq!(column(&db, "SELECT address FROM messages WHERE status = 7").await, "+4915112345679");
    }

    async fn reports_put_addresses_on_the_list(db: TestDb) {
        let stage = Stage::new(&db).await;
        stage.account("sandbox", json!({}), None).await;
        let bounced = stage.send(mail("Bounce@Example.com", "transactional")).await;
        let opted_out = stage.send(sms("+15005550003")).await;
        stage.dispatch().await;
        stage.pass(20_000).await;
        assert_eq!((stage.status(bounced).await, stage.status(opted_out).await), ("bounced", "failed"));
        let mut found = listed(&stage).await;
        found.sort();
        let row = |address: &str, reason: &str| (address.to_owned(), reason.to_owned(), "everything".to_owned());
        assert_eq!(found, [row("+15005550003", "opted_out"), row("bounce@example.com", "hard_bounce")]);
        let again = stage.send(mail("bounce@example.com", "transactional")).await;
        assert_eq!(stage.status(again).await, "suppressed");
        let told = column(&db, "SELECT type FROM events WHERE type LIKE 'suppression.%' ORDER BY seq").await;
        assert_eq!(told, "suppression.added\nsuppression.added");
    }

    async fn an_opt_out_at_the_provider_is_kept_with_what_the_contact_said(db: TestDb) {
        let stage = Stage::new(&db).await;
        stage.account("sandbox", json!({}), None).await;
        let new = serde_json::from_value(json!({ "phone": "+15005550003" })).unwrap();
        let reply = engine::contacts::create(&stage.engine, &stage.caller, &Repeat::NONE, new).await.unwrap();
        let contact = serde_json::from_slice::<Value>(&reply.body).unwrap()["id"].as_str().unwrap().parse().unwrap();
        let id = stage.send(sms("+15005550003")).await;
        stage.dispatch().await;
        stage.pass(20_000).await;
        let consents = stage.engine.consents(&stage.caller, contact, None, None).await.unwrap();
        let consents = serde_json::to_value(&consents).unwrap();
        let said = &consents["data"][0];
        assert_eq!((&said["channel"], &said["state"], &said["method"]), (&json!("sms"), &json!("opted_out"), &json!("provider")));
        assert_eq!(said["evidence"], json!(id.to_string()));
    }

    async fn a_complaint_holds_back_marketing_only(db: TestDb) {
        let stage = Stage::new(&db).await;
        stage.account("sandbox", json!({}), None).await;
        suppress(&stage, json!({ "channel": "email", "address": "Ada@example.com", "reason": "complaint" })).await;
        let news = stage.send(mail("ada@example.com", "marketing")).await;
        let ticket = stage.send(mail("ada@example.com", "transactional")).await;
        stage.dispatch().await;
        assert_eq!((stage.status(news).await, stage.status(ticket).await), ("suppressed", "sent"));
    }

    async fn other_tenants_lists_do_not_count(db: TestDb) {
        let stage = twilio(&db).await;
        suppress(&stage, json!({ "channel": "sms", "address": "+4915112345678" })).await;
        let other = crate::hooks::neighbour(&stage).await;
        other.account("sandbox", json!({}), None).await;
        let id = other.send(sms("+4915112345678")).await;
        other.dispatch().await;
        assert_eq!(other.status(id).await, "sent");
        assert_eq!(listed(&other).await, []);
    }
}

/// A second node on the same database, which knows nothing yet.
fn second(stage: &Stage) -> Stage {
    let world = World {
        ports: stage.world.ports.clone(),
        clock: std::sync::Arc::clone(&stage.world.clock),
        transport: std::sync::Arc::clone(&stage.world.transport),
        blobs: std::sync::Arc::clone(&stage.world.blobs),
        zone: std::sync::Arc::clone(&stage.world.zone),
        base_urls: stage.world.base_urls.clone(),
    };
    let engine = std::sync::Arc::clone(&stage.engine);
    let mut second = Stage { world, engine, tenant: stage.tenant, caller: stage.caller.clone() };
    second.restart();
    second
}
