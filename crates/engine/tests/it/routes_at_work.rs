//! What a routing rule does to campaigns and to messages that repeat: each message is decided about on its own, when it is accepted, by the rules as they are then.

use engine::{
    campaigns, contacts,
    once::Repeat,
    routing::{self, RoutePatch},
    schedules,
};
use model::{AccountId, MessageId, RouteId, ScheduleId};
use serde_json::{Value, json};
use testkit::{Stage, TestDb};

use crate::setting::{body, json as answer};

const MINUTE: i64 = 60_000;

/// Two accounts that carry everything; the first is the default.
async fn two(db: &TestDb) -> (Stage, AccountId, AccountId) {
    let stage = Stage::new(db).await;
    let first = stage.account("sandbox", json!({}), None).await;
    let second = stage.account("sandbox", json!({}), None).await;
    (stage, first, second)
}

async fn rule(stage: &Stage, new: Value) -> RouteId {
    let reply = routing::create(&stage.engine, &stage.caller, &Repeat::NONE, body(new)).await.unwrap();
    answer(&reply)["id"].as_str().unwrap().parse().unwrap()
}

/// The tenant's messages in the order they were accepted: to whom, through which account.
async fn ways(stage: &Stage) -> Vec<(MessageId, String, AccountId)> {
    let tenant = stage.tenant;
    let read = stage.world.ports.db.read(store::Scope::System, move |tx| {
        Box::pin(async move {
            let rows = tx
                .rows("SELECT id, address, account_id FROM messages WHERE tenant_id = $1 ORDER BY id", &[&tenant])
                .await?;
            rows.into_iter()
                .map(|mut row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
                .collect::<Result<Vec<_>, store::Error>>()
        })
    });
    read.await.unwrap()
}

/// What the timeline says of the decision about a message.
async fn decision(stage: &Stage, id: MessageId) -> Option<Value> {
    let timeline = stage.engine.timeline(&stage.caller, id).await.unwrap();
    let timeline: Value = serde_json::from_slice(&timeline).unwrap();
    let entries = timeline["data"].as_array().unwrap();
    entries.iter().find(|entry| entry["kind"] == "routed").map(|entry| entry["detail"].clone())
}

testkit::both! {
    async fn each_recipient_of_a_campaign_goes_by_the_rules(db: TestDb) {
        let (stage, first, second) = two(&db).await;
        let kenya = json!({
            "name": "Kenya", "channel": "sms", "match": {"countries": ["KE"]}, "choose": {"by": "priority"},
            "accounts": [{"account_id": second}, {"account_id": first}],
        });
        let kenya = rule(&stage, kenya).await;
        let mut audience = Vec::new();
        for phone in ["+254700000001", "+4915112345678", "+254700000002"] {
            let new = body(json!({"phone": phone}));
            let reply = contacts::create(&stage.engine, &stage.caller, &Repeat::NONE, new).await.unwrap();
            audience.push(answer(&reply)["id"].clone());
        }
        let campaign = json!({
            "name": "News", "channel": "sms", "purpose": "transactional", "audience": {"contact_ids": audience}, "content": {"text": "Hello"},
        });
        let made = campaigns::create(&stage.engine, &stage.caller, &Repeat::NONE, body(campaign)).await.unwrap();
        let id = answer(&made)["id"].as_str().unwrap().parse().unwrap();
        campaigns::start(&stage.engine, &stage.caller, &Repeat::NONE, id, None).await.unwrap();
        stage.pass(10_000).await;
        let mut seen = ways(&stage).await;
        seen.sort_by(|a, b| a.1.cmp(&b.1));
        let by_address: Vec<_> = seen.iter().map(|(_, to, account)| (to.as_str(), *account)).collect();
        assert_eq!(by_address, [("+254700000001", second), ("+254700000002", second), ("+4915112345678", first)]);
        for (id, to, _) in &seen {
            let told = decision(&stage, *id).await;
            match to.starts_with("+254") {
                true => {
                    let told = told.expect("the timeline tells why");
                    assert_eq!((&told["rule_id"], &told["account_id"], &told["country"]), (&json!(kenya), &json!(second), &json!("KE")));
                }
                false => assert_eq!(told, None, "no rule is about it"),
            }
            assert!(["sent", "delivered", "read"].contains(&stage.status(*id).await));
        }
    }

    async fn weights_share_a_campaign_out_and_the_same_message_stays_where_it_is(db: TestDb) {
        let (stage, first, second) = two(&db).await;
        rule(&stage, json!({
            "name": "Shares", "channel": "email", "choose": {"by": "weight"}, "accounts": [{"account_id": first, "weight": 3}, {"account_id": second, "weight": 1}],
        })).await;
        let mut audience = Vec::new();
        for n in 0..80 {
            let new = body(json!({"email": format!("p{n}@example.com")}));
            let reply = contacts::create(&stage.engine, &stage.caller, &Repeat::NONE, new).await.unwrap();
            audience.push(answer(&reply)["id"].clone());
        }
        let campaign = json!({
            "name": "News", "channel": "email", "purpose": "transactional", "audience": {"contact_ids": audience}, "content": {"subject": "Hi", "text": "Hello"},
        });
        let made = campaigns::create(&stage.engine, &stage.caller, &Repeat::NONE, body(campaign)).await.unwrap();
        let id = answer(&made)["id"].as_str().unwrap().parse().unwrap();
        campaigns::start(&stage.engine, &stage.caller, &Repeat::NONE, id, None).await.unwrap();
        stage.pass(5_000).await;
        let before = ways(&stage).await;
        assert_eq!(before.len(), 80);
        let light = before.iter().filter(|(.., account)| *account == second).count();
        // A quarter of eighty is twenty; far from it would be no chance.
        assert!((8..=34).contains(&light), "{light} of 80 through the light account");
        stage.pass(20_000).await;
        assert_eq!(ways(&stage).await, before);
    }

    async fn each_occurrence_goes_by_the_rules_of_its_time(db: TestDb) {
        let (stage, first, second) = two(&db).await;
        let route = rule(&stage, json!({
            "name": "Reminders", "channel": "sms", "match": {"topics": ["payment_reminders"]}, "choose": {"by": "priority"}, "accounts": [{"account_id": second}],
        })).await;
        let message = json!({"to": {"phone": "+4915112345678"}, "channel": "sms", "topic": "payment_reminders", "content": {"text": "Please pay"}});
        let new = json!({"name": "Often", "cron": "5-55/10 * * * *", "timezone": "UTC", "message": message});
        let made = schedules::create(&stage.engine, &stage.caller, &Repeat::NONE, body(new)).await.unwrap();
        let _: ScheduleId = answer(&made)["id"].as_str().unwrap().parse().unwrap();
        stage.pass(6 * MINUTE).await;
        // From now on the other way; what comes later is decided by that.
        let change: RoutePatch = body(json!({"accounts": [{"account_id": first}]}));
        routing::patch(&stage.engine, &stage.caller, route, change).await.unwrap();
        stage.pass(10 * MINUTE).await;
        let seen = ways(&stage).await;
        assert_eq!(seen.iter().map(|(.., account)| *account).collect::<Vec<_>>(), [second, first]);
        for (id, _, account) in seen {
            let told = decision(&stage, id).await.expect("the timeline tells why");
            assert_eq!((&told["rule"], &told["account_id"]), (&json!("Reminders"), &json!(account)));
        }
    }
}
