//! The lines of a campaign's checklist that other files do not play: WhatsApp's approval, an audience of which nobody is left, registration with American carriers, and the state cap.

use std::sync::{Arc, Mutex};

use engine::{
    campaigns::{
        self,
        check::{Level, Line},
    },
    contacts,
    once::Repeat,
    whatsapp_templates,
};
use model::CampaignId;
use serde_json::{Value, json};
use testkit::{Stage, World, http_answer};

use crate::setting::{body, json as answer};

async fn contact(stage: &Stage, fields: Value) -> Value {
    let reply = contacts::create(&stage.engine, &stage.caller, &Repeat::NONE, body(fields)).await.unwrap();
    answer(&reply)["id"].clone()
}

async fn make(stage: &Stage, new: Value) -> CampaignId {
    let reply = campaigns::create(&stage.engine, &stage.caller, &Repeat::NONE, body(new)).await.unwrap();
    answer(&reply)["id"].as_str().unwrap().parse().unwrap()
}

async fn line(stage: &Stage, id: CampaignId, code: &str) -> Option<Line> {
    let report = campaigns::check::check(&stage.engine, &stage.caller, id).await.unwrap();
    report.lines.into_iter().find(|line| line.code == code)
}

async fn refused(stage: &Stage, id: CampaignId) -> (String, Option<&'static str>) {
    let error = campaigns::start(&stage.engine, &stage.caller, &Repeat::NONE, id, None).await.unwrap_err();
    assert_eq!(error.code, "campaign_blocked");
    (error.errors[0].pointer.clone(), error.action)
}

testkit::both! {
    async fn a_whatsapp_template_blocks_until_it_is_approved(db: TestDb) {
        let status = Arc::new(Mutex::new("PENDING"));
        let now = Arc::clone(&status);
        let world = World::answering(&db, move |_| {
            let row = json!({"id": "1", "name": "order_update", "language": "en", "category": "UTILITY", "status": *now.lock().unwrap()});
            http_answer(200, json!({"data": [row]}).to_string())
        });
        let stage = Stage::in_world(world).await;
        let settings = json!({"phone_number_id": "1", "access_token": "t", "business_account_id": "2"});
        let account = stage.account("whatsapp_cloud", settings, None).await;
        let ada = contact(&stage, json!({"phone": "+4915112345678"})).await;
        let new = json!({
            "name": "Orders", "channel": "whatsapp", "purpose": "transactional", "audience": {"contact_ids": [ada]},
            "content": {"whatsapp_template": {"name": "order_update", "language": "en"}},
        });
        let id = make(&stage, new).await;
        // Nothing is known of it yet: a warning, not a wall.
        let unknown = line(&stage, id, "registration").await.unwrap();
        assert_eq!((unknown.level, unknown.action), (Level::Warning, Some("SYNC_TEMPLATES")));
        for (word, level, action) in [
            ("PENDING", Level::Blocking, Some("WAIT_FOR_APPROVAL")),
            ("REJECTED", Level::Blocking, Some("CHANGE_TEMPLATE")),
            ("APPROVED", Level::Ok, None),
        ] {
            *status.lock().unwrap() = word;
            whatsapp_templates::sync(&stage.engine, &stage.caller, &Repeat::NONE, account).await.unwrap();
            let seen = line(&stage, id, "registration").await.unwrap();
            assert_eq!((seen.level, seen.action), (level, action), "{word}");
            if level == Level::Blocking {
                assert_eq!(refused(&stage, id).await, ("/check/registration".to_owned(), action), "{word}");
            }
        }
        campaigns::start(&stage.engine, &stage.caller, &Repeat::NONE, id, None).await.unwrap();
    }

    async fn an_audience_of_which_nobody_is_left_blocks(db: TestDb) {
        let stage = Stage::new(&db).await;
        stage.account("sandbox", json!({}), None).await;
        let ada = contact(&stage, json!({"phone": "+4915112345678"})).await;
        let new = json!({
            "name": "News", "channel": "email", "purpose": "transactional", "audience": {"contact_ids": [ada]}, "content": {"subject": "Hi", "text": "Hello"},
        });
        let id = make(&stage, new).await;
        let seen = line(&stage, id, "audience").await.unwrap();
        assert_eq!((seen.level, seen.count, seen.action), (Level::Blocking, 1, Some("CHANGE_AUDIENCE")));
        assert_eq!(refused(&stage, id).await.0, "/check/audience");
    }

    async fn what_carriers_would_block_is_not_begun(db: TestDb) {
        let stage = Stage::new(&db).await;
        let settings = json!({"account_sid": "AC00000000000000000000000000000001", "auth_token": "0123456789abcdef0123456789abcdef"});
        stage.account("twilio", settings, Some("+14155550123")).await;
        let required = json!({"us_sms": "required"}).to_string();
        engine::registrations::profile::patch(&stage.engine, &stage.caller, required.as_bytes()).await.unwrap();
        let american = contact(&stage, json!({"phone": "+14155550177"})).await;
        let german = contact(&stage, json!({"phone": "+4915112345678"})).await;
        let new = json!({
            "name": "News", "channel": "sms", "purpose": "transactional", "audience": {"contact_ids": [american, german]}, "content": {"text": "Doors open at 7 pm"},
        });
        let id = make(&stage, new.clone()).await;
        let seen = line(&stage, id, "registration").await.unwrap();
        assert_eq!((seen.level, seen.count, seen.action), (Level::Blocking, 1, Some("CONFIGURE_BUSINESS_INFO")), "{}", seen.detail);
        assert_eq!(refused(&stage, id).await, ("/check/registration".to_owned(), Some("CONFIGURE_BUSINESS_INFO")));
        // Without Americans there is nothing to register for.
        let mut elsewhere = new;
        elsewhere["audience"] = json!({"contact_ids": [german]});
        let id = make(&stage, elsewhere).await;
        assert_eq!(line(&stage, id, "registration").await.map(|line| line.level), None);
        campaigns::start(&stage.engine, &stage.caller, &Repeat::NONE, id, None).await.unwrap();
    }

    async fn a_fourth_text_to_florida_waits_a_day(db: TestDb) {
        let stage = Stage::new(&db).await;
        stage.account("sandbox", json!({}), None).await;
        // Noon in Miami on a Monday.
        stage.world.clock.set("2026-11-23T17:00:00Z".parse().unwrap());
        let ada = contact(&stage, json!({"phone": "+13055550177", "timezone": "America/New_York"})).await;
        let yes = json!({"channel": "sms", "state": "opted_in"});
        stage.engine.record_consent(&stage.caller, &Repeat::NONE, ada.as_str().unwrap().parse().unwrap(), body(yes)).await.unwrap();
        let text = |topic: &str| json!({"to": {"contact_id": ada}, "channel": "sms", "purpose": "marketing", "topic": topic, "content": {"text": "Sale"}});
        let mut due = Vec::new();
        for topic in ["offers", "offers", "offers", "offers", "news"] {
            let id = stage.send(text(topic)).await;
            stage.dispatch().await;
            due.push(stage.message(id).await.due_at.map(|at| at.to_string()));
            stage.world.clock.advance_ms(60_000);
        }
        // Three about one subject leave at once, the fourth when the first is a day old, and one about another subject at once.
        assert_eq!(due, [None, None, None, Some("2026-11-24T17:00:00.000000Z".to_owned()), None]);
        stage.world.clock.set("2026-11-24T17:00:01Z".parse().unwrap());
        stage.tick().await;
        assert_eq!(stage.engine.ports.clock.now().to_string(), "2026-11-24T17:00:01.000000Z");
        let tenant = stage.tenant;
        let read = stage.world.ports.db.read(store::Scope::System, move |tx| {
            Box::pin(async move {
                let sql = "SELECT COUNT(*) FROM messages WHERE tenant_id = $1 AND sent_at IS NOT NULL";
                tx.row(sql, &[&tenant]).await?.map_or(Ok(0), |mut row| row.get::<i64>(0))
            })
        });
        let sent: Result<i64, store::Error> = read.await;
        assert_eq!(sent.unwrap(), 5);
    }
}
