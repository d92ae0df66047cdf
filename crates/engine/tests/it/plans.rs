//! Plans on both engines: what is counted, where it stops, and who is told.

use futures_util::future::join_all;
use model::{Channel, PlanId, Timestamp};
use serde_json::{Value, json};
use store::{Scope, quotas};
use testkit::{Stage, TestDb, World, broken_before};
use tidings_engine::{
    Error,
    keys::Caller,
    once::Repeat,
    plans::{
        self,
        quota::{self, QuotaView},
        subscription::{self, SubscriptionView},
    },
    tenants,
};

/// A number the sandbox refuses.
const REFUSED: &str = "+15005550001";

/// A plan with these allowances.
pub async fn plan(stage: &Stage, allowances: Value) -> PlanId {
    let new = json!({"name": "Studio", "currency": "USD", "monthly_fee_micros": 30_000_000, "allowances": allowances});
    let new = serde_json::from_value(new).unwrap();
    let reply = plans::create(stage.engine.parts(), &Caller::system(None), &Repeat::NONE, new).await.unwrap();
    serde_json::from_slice::<Value>(&reply.body).unwrap()["id"].as_str().unwrap().parse().unwrap()
}

pub async fn subscribe(stage: &Stage, change: Value) -> SubscriptionView {
    try_subscribe(stage, change).await.unwrap()
}

pub async fn try_subscribe(stage: &Stage, change: Value) -> Result<SubscriptionView, Error> {
    let change = serde_json::from_value(change).unwrap();
    subscription::patch(&stage.engine, &stage.caller, change).await
}

/// A stage on a clock, whose tenant has a plan.
pub async fn subscribed(db: &TestDb, at: &str, zone: &str, allowances: Value) -> Stage {
    let stage = Stage::new(db).await;
    set_clock(&stage, at);
    stage.account("sandbox", json!({}), None).await;
    let change = serde_json::from_value(json!({ "timezone": zone })).unwrap();
    tenants::patch(stage.engine.parts(), &stage.caller, stage.tenant, change).await.unwrap();
    let plan = plan(&stage, allowances).await;
    subscribe(&stage, json!({ "plan_id": plan })).await;
    stage
}

pub fn set_clock(stage: &Stage, at: &str) {
    stage.world.clock.set(at.parse().unwrap());
}

fn sms(number: u32) -> Value {
    json!({"to": {"phone": format!("+1555010{number:04}")}, "channel": "sms", "content": {"text": "Hello"}})
}

fn batch(count: u32) -> String {
    json!({ "messages": (0..count).map(sms).collect::<Vec<_>>() }).to_string()
}

async fn on_sms(stage: &Stage) -> QuotaView {
    on(stage, Channel::Sms).await
}

async fn on(stage: &Stage, channel: Channel) -> QuotaView {
    let tenant = stage.engine.parts().directory.tenant(stage.tenant).await.unwrap().unwrap();
    quota::on_channel(stage.engine.parts(), &tenant, channel).await.unwrap().unwrap()
}

async fn used(stage: &Stage) -> i64 {
    on_sms(stage).await.used
}

async fn code(stage: &Stage, request: Value) -> &'static str {
    stage.try_send(request, None).await.unwrap_err().code
}

/// Events about quotas: type and percentage.
async fn told(stage: &Stage) -> Vec<(String, i64)> {
    let tenant = stage.tenant;
    let read = stage.world.ports.db.read(Scope::System, move |tx| {
        Box::pin(async move {
            let sql = "SELECT type, data FROM events WHERE tenant_id = $1 AND type LIKE 'quota.%' ORDER BY seq";
            let rows = tx.rows(sql, &[&tenant]).await?;
            rows.into_iter()
                .map(|mut row| Ok((row.get::<String>(0)?, row.get::<String>(1)?)))
                .collect::<Result<Vec<_>, store::Error>>()
        })
    });
    let rows = read.await.unwrap();
    let percent = |data: &str| serde_json::from_str::<Value>(data).unwrap()["percent"].as_i64().unwrap();
    rows.into_iter().map(|(kind, data)| (kind, percent(&data))).collect()
}

testkit::both! {
    async fn a_channel_a_new_plan_adds_begins_with_what_was_used_this_month(db: TestDb) {
        let mails = json!([{"channel": "email", "included": 100}]);
        let stage = subscribed(&db, "2026-10-20T12:00:00Z", "UTC", mails.clone()).await;
        stage.send(sms(1)).await;
        set_clock(&stage, "2026-11-10T12:00:00Z");
        for number in 2..6 {
            stage.send(sms(number)).await;
        }
        let refused = json!({"to": {"phone": REFUSED}, "channel": "sms", "content": {"text": "Hello"}});
        stage.send(refused).await;
        stage.dispatch().await;
        let clean = async || assert_eq!(tidings_engine::books::verify(&db.db).await.unwrap().differences, []);
        clean().await;
        let with_texts = plan(&stage, json!([{"channel": "email", "included": 100}, {"channel": "sms", "included": 6}])).await;
        subscribe(&stage, json!({ "plan_id": with_texts })).await;
        assert_eq!(used(&stage).await, 4, "what failed does not count, nor what was sent last month");
        clean().await;
        let refused = stage.engine.send_batch(&stage.caller, batch(3).as_bytes(), None).await.unwrap_err();
        assert_eq!(refused.quota.map(|quota| (quota.used, quota.remaining)), Some((4, 2)));
        stage.send(sms(7)).await;
        stage.dispatch().await;
        assert_eq!((used(&stage).await, told(&stage).await), (5, vec![("quota.warning".to_owned(), 80)]));
        // Without the channel nobody counts it; with it again all of the month counts.
        let without = plan(&stage, mails).await;
        subscribe(&stage, json!({ "plan_id": without })).await;
        stage.send(sms(8)).await;
        stage.dispatch().await;
        clean().await;
        let more = plan(&stage, json!([{"channel": "sms", "included": 6, "overage_micros": 5, "limit": 8}])).await;
        subscribe(&stage, json!({ "plan_id": more })).await;
        assert_eq!(used(&stage).await, 6);
        clean().await;
        // What came too late for that, a minute later.
        let tenant = stage.tenant;
        let write = stage.world.ports.db.write(Scope::System, move |tx| {
            Box::pin(async move { tx.execute("UPDATE quota_counters SET used = 5 WHERE tenant_id = $1 AND used = 6", &[&tenant]).await })
        });
        assert_eq!(write.await.unwrap(), 1);
        assert_eq!(tidings_engine::plans::recount::run(&stage.engine).await.unwrap(), 0);
        stage.world.clock.advance_ms(60_000);
        assert_eq!(tidings_engine::plans::recount::run(&stage.engine).await.unwrap(), 1);
        assert_eq!((used(&stage).await, tidings_engine::plans::recount::run(&stage.engine).await.unwrap()), (6, 0));
        stage.engine.send_batch(&stage.caller, batch(2).as_bytes(), None).await.unwrap();
        assert_eq!(code(&stage, sms(9)).await, "quota_exceeded");
    }

    async fn sending_stops_where_the_plan_ends(db: TestDb) {
        let stage = subscribed(&db, "2026-11-10T12:00:00Z", "UTC", json!([{"channel": "sms", "included": 5}])).await;
        for number in 0..3 {
            stage.send(sms(number)).await;
        }
        let refused = stage.engine.send_batch(&stage.caller, batch(4).as_bytes(), None).await.unwrap_err();
        assert_eq!((refused.code, refused.kind.status(), refused.action), ("quota_exceeded", 402, Some("UPGRADE_PLAN")));
        let quota = refused.quota.unwrap();
        assert_eq!((quota.need, quota.used, quota.remaining), (4, 3, 2));
        assert_eq!(quota.resets_at, "2026-12-01T00:00:00Z".parse().unwrap());
        assert_eq!(used(&stage).await, 3);
        stage.engine.send_batch(&stage.caller, batch(2).as_bytes(), None).await.unwrap();
        assert_eq!(code(&stage, sms(9)).await, "quota_exceeded");
        // Another channel is not part of the plan.
        stage.send(json!({"to": {"email": "ada@example.com"}, "content": {"subject": "Hi", "text": "Hello"}})).await;
        // More is let through at once with a larger plan, and what was used stays used.
        let larger = plan(&stage, json!([{"channel": "sms", "included": 5, "overage_micros": 9, "limit": 6}])).await;
        subscribe(&stage, json!({ "plan_id": larger })).await;
        stage.send(sms(9)).await;
        assert_eq!(code(&stage, sms(9)).await, "quota_exceeded");
        assert_eq!(used(&stage).await, 6);
    }

    async fn many_at_once_never_exceed_the_plan(db: TestDb) {
        let stage = subscribed(&db, "2026-11-10T12:00:00Z", "UTC", json!([{"channel": "sms", "included": 23}])).await;
        let singles = (0..40).map(|number| stage.try_send(sms(number), None));
        let batches = (0..10).map(|_| async {
            let body = batch(3);
            stage.engine.send_batch(&stage.caller, body.as_bytes(), None).await.is_ok()
        });
        let (singles, batches) = futures_util::future::join(join_all(singles), join_all(batches)).await;
        let accepted = singles.iter().filter(|sent| sent.is_ok()).count() + 3 * batches.iter().filter(|sent| **sent).count();
        assert!((21..=23).contains(&accepted), "{accepted}");
        assert_eq!(used(&stage).await, accepted as i64);
        assert_eq!(messages(&stage).await, accepted as i64);
    }

    async fn what_never_left_is_given_back(db: TestDb) {
        let stage = subscribed(&db, "2026-11-10T12:00:00Z", "UTC", json!([{"channel": "sms", "included": 2}])).await;
        let mut later = sms(1);
        later["send_at"] = json!("2026-11-11T12:00:00Z");
        let id = stage.send(later).await;
        let sent = stage.send(sms(2)).await;
        assert_eq!(code(&stage, sms(3)).await, "quota_exceeded");
        stage.engine.cancel(&stage.caller, &Repeat::NONE, id).await.unwrap();
        assert_eq!(used(&stage).await, 1);
        stage.pass(60_000).await;
        assert!(stage.message(sent).await.sent_at.is_some());
        assert_eq!(used(&stage).await, 1);
        stage.send(sms(3)).await;
        assert_eq!(code(&stage, sms(4)).await, "quota_exceeded");
    }

    async fn a_message_falls_back_only_as_far_as_the_plan_reaches(db: TestDb) {
        let allowances = json!([{"channel": "sms", "included": 9}, {"channel": "email", "included": 2}]);
        let stage = subscribed(&db, "2026-11-10T12:00:00Z", "UTC", allowances).await;
        let both = |to: &str| json!({
            "to": {"phone": to, "email": "ada@example.com"}, "channel": ["sms", "email"],
            "content": {"subject": "Hi", "text": "Hello"},
        });
        let mut ids = Vec::new();
        for _ in 0..3 {
            ids.push(stage.send(both(REFUSED)).await);
        }
        stage.dispatch().await;
        stage.pass(60_000).await;
        let mut states = Vec::new();
        for id in &ids {
            let m = stage.message(*id).await;
            states.push((m.channel, m.status.as_str()));
        }
        states.sort_unstable_by_key(|(channel, status)| (channel.as_str(), *status));
        let mail = (Channel::Email, "read");
        assert_eq!(states, [mail, mail, (Channel::Sms, "failed")]);
        assert_eq!(on(&stage, Channel::Email).await.used, 2);
        assert_eq!((used(&stage).await, told(&stage).await), (0, vec![("quota.reached".to_owned(), 100)]));
        let seen = crate::setting::column(&db, "SELECT kind FROM observations WHERE kind = 'passed_over'").await;
        assert_eq!(seen, "passed_over");
        assert_eq!(engine::books::verify(&stage.world.ports.db).await.unwrap().differences, []);
    }

    async fn a_dead_letter_is_tried_again_only_as_far_as_the_plan_reaches(db: TestDb) {
        let stage = Stage::in_world(World::answering(&db, |_| broken_before("connect_refused"))).await;
        set_clock(&stage, "2026-11-10T12:00:00Z");
        let settings = json!({"account_sid": format!("AC{:032}", 1), "auth_token": "0123456789abcdef0123456789abcdef"});
        stage.account("twilio", settings, Some("+15550100001")).await;
        let plan = plan(&stage, json!([{"channel": "sms", "included": 2}])).await;
        subscribe(&stage, json!({ "plan_id": plan })).await;
        let (one, other) = (stage.send(sms(1)).await, stage.send(sms(2)).await);
        // The account is paused and probed between tries.
        stage.pass_by(5_400_000, 10_000).await;
        assert_eq!((stage.status(one).await, stage.status(other).await, used(&stage).await), ("failed", "failed", 0));
        let third = stage.send(json!({"to": {"phone": "+15550109999"}, "channel": "sms", "content": {"text": "Hello"}, "send_at": "2026-11-20T12:00:00Z"})).await;
        let retried = stage.engine.retry_many(&stage.caller, &Repeat::NONE, serde_json::from_value(json!({"ids": [one, other]})).unwrap()).await.unwrap();
        let lines: Value = serde_json::from_slice(&retried.body).unwrap();
        assert_eq!((&lines["data"][0]["status"], &lines["data"][1]["error"]["code"]), (&json!("queued"), &json!("quota_exceeded")));
        assert_eq!(used(&stage).await, 2);
        let refused = stage.engine.retry(&stage.caller, &Repeat::NONE, other).await.unwrap_err();
        assert_eq!((refused.code, refused.kind.status(), refused.quota.unwrap().remaining), ("quota_exceeded", 402, 0));
        stage.engine.cancel(&stage.caller, &Repeat::NONE, third).await.unwrap();
        stage.engine.retry(&stage.caller, &Repeat::NONE, other).await.unwrap();
        assert_eq!((used(&stage).await, told(&stage).await), (2, vec![("quota.reached".to_owned(), 100)]));
        set_clock(&stage, "2026-12-02T12:00:00Z");
        assert_eq!(engine::books::verify(&stage.world.ports.db).await.unwrap().differences, []);
    }

    async fn a_repeated_request_counts_once_and_a_refused_one_not_at_all(db: TestDb) {
        let stage = subscribed(&db, "2026-11-10T12:00:00Z", "UTC", json!([{"channel": "sms", "included": 2}])).await;
        let first = stage.try_send(sms(1), Some("k")).await.unwrap();
        assert_eq!(stage.try_send(sms(1), Some("k")).await.unwrap()["id"], first["id"]);
        assert_eq!(used(&stage).await, 1);
        stage.send(sms(2)).await;
        // Also once the plan is used up.
        assert_eq!(stage.try_send(sms(1), Some("k")).await.unwrap()["id"], first["id"]);
        assert_eq!(stage.try_send(sms(3), Some("l")).await.unwrap_err().code, "quota_exceeded");
        assert_eq!(used(&stage).await, 2);
    }

    async fn the_tenant_is_told_once_at_each_mark(db: TestDb) {
        let stage = subscribed(&db, "2026-11-10T12:00:00Z", "UTC", json!([{"channel": "sms", "included": 10, "overage_micros": 5}])).await;
        for number in 0..12 {
            stage.send(sms(number)).await;
        }
        let expected = [("quota.warning", 80), ("quota.warning", 90), ("quota.reached", 100)];
        assert_eq!(told(&stage).await, expected.map(|(kind, percent)| (kind.to_owned(), percent)));
        set_clock(&stage, "2026-12-10T12:00:00Z");
        stage.engine.send_batch(&stage.caller, batch(9).as_bytes(), None).await.unwrap();
        assert_eq!(told(&stage).await.len(), 4);
    }

    async fn a_month_turns_on_the_clock_of_kolkata(db: TestDb) {
        turns(&db, "Asia/Kolkata", "2026-11-30T18:29:59.9Z", "2026-11-30T18:30:00Z").await;
    }

    async fn a_month_turns_on_the_clock_of_lagos(db: TestDb) {
        turns(&db, "Africa/Lagos", "2026-11-30T22:59:59.9Z", "2026-11-30T23:00:00Z").await;
    }

    async fn a_month_turns_in_los_angeles_on_the_day_the_clocks_go_back(db: TestDb) {
        turns(&db, "America/Los_Angeles", "2026-11-01T06:59:59.9Z", "2026-11-01T07:00:00Z").await;
    }

    async fn a_month_ends_in_los_angeles_an_hour_later_than_it_began(db: TestDb) {
        turns(&db, "America/Los_Angeles", "2026-12-01T07:59:59.9Z", "2026-12-01T08:00:00Z").await;
    }

    async fn a_change_of_zone_neither_doubles_nor_loses_a_month(db: TestDb) {
        let stage = subscribed(&db, "2026-11-10T12:00:00Z", "UTC", json!([{"channel": "sms", "included": 2}])).await;
        stage.send(sms(1)).await;
        let change = serde_json::from_value(json!({ "timezone": "Asia/Kolkata" })).unwrap();
        tenants::patch(stage.engine.parts(), &stage.caller, stage.tenant, change).await.unwrap();
        stage.send(sms(2)).await;
        assert_eq!(code(&stage, sms(3)).await, "quota_exceeded");
        // The month that had begun ends as it began to; the next one ends on the new clock.
        set_clock(&stage, "2026-11-30T23:00:00Z");
        assert_eq!(code(&stage, sms(3)).await, "quota_exceeded");
        set_clock(&stage, "2026-12-01T00:00:00Z");
        stage.send(sms(3)).await;
        stage.send(sms(4)).await;
        let refused = stage.try_send(sms(5), None).await.unwrap_err();
        assert_eq!(refused.quota.unwrap().resets_at, "2026-12-31T18:30:00Z".parse::<Timestamp>().unwrap());
    }

    async fn only_what_was_accepted_with_the_plan_counts(db: TestDb) {
        let stage = Stage::new(&db).await;
        set_clock(&stage, "2026-11-10T12:00:00Z");
        stage.account("sandbox", json!({}), None).await;
        let mut later = sms(1);
        later["send_at"] = json!("2026-11-11T12:00:00Z");
        let early = stage.send(later).await;
        assert_eq!(counters(&stage).await, 0, "nothing is counted for a tenant without a plan");
        let plan = plan(&stage, json!([{"channel": "sms", "included": 1}])).await;
        stage.world.clock.advance_ms(1_000);
        subscribe(&stage, json!({ "plan_id": plan })).await;
        stage.send(sms(2)).await;
        // What was accepted before is not given back.
        stage.engine.cancel(&stage.caller, &Repeat::NONE, early).await.unwrap();
        assert_eq!(used(&stage).await, 1);
        assert_eq!(code(&stage, sms(3)).await, "quota_exceeded");
    }

    async fn an_unpaid_bill_stops_marketing_only(db: TestDb) {
        let stage = subscribed(&db, "2026-11-10T12:00:00Z", "UTC", json!([])).await;
        let mut marketing = sms(1);
        marketing["purpose"] = json!("marketing");
        let seen = subscribe(&stage, json!({"past_due_since": "2026-11-10T12:00:00Z"})).await;
        assert_eq!(serde_json::to_value(seen.state).unwrap(), "past_due");
        let refused = try_subscribe(&stage, json!({"past_due_since": "2026-11-10T12:00:01Z"})).await.unwrap_err();
        assert_eq!(refused.errors[0].pointer, "/past_due_since");
        assert_ne!(stage.try_send(marketing.clone(), None).await.map_err(|error| error.code), Err("subscription_past_due"));
        set_clock(&stage, "2026-11-24T12:00:00Z");
        assert_eq!(code(&stage, marketing.clone()).await, "subscription_past_due");
        let mixed = json!({"messages": [sms(1), marketing]}).to_string();
        let answer = stage.engine.send_batch(&stage.caller, mixed.as_bytes(), None).await.unwrap();
        let answer: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(answer["data"][1]["error"]["code"], "subscription_past_due");
        assert!(answer["data"][0]["id"].is_string());
        subscribe(&stage, json!({"canceled_at": "2026-11-24T12:00:00Z"})).await;
        assert_eq!(code(&stage, sms(1)).await, "subscription_canceled");
        let mut rehearsal = sms(1);
        rehearsal["dry_run"] = true.into();
        assert_eq!(code(&stage, rehearsal).await, "subscription_canceled");
        subscribe(&stage, json!({"canceled_at": null, "past_due_since": null})).await;
        stage.send(sms(1)).await;
    }

    async fn a_campaign_sends_exactly_what_is_left_and_waits(db: TestDb) {
        let stage = subscribed(&db, "2026-11-10T12:00:00Z", "UTC", json!([{"channel": "email", "included": 10}])).await;
        let mut people = Vec::new();
        for number in 0..8 {
            let new = serde_json::from_value(json!({"email": format!("p{number}@example.com")})).unwrap();
            let made = engine::contacts::create(&stage.engine, &stage.caller, &Repeat::NONE, new).await.unwrap();
            people.push(serde_json::from_slice::<Value>(&made.body).unwrap()["id"].clone());
        }
        stage.send(json!({"to": {"email": "ada@example.com"}, "content": {"subject": "Hi", "text": "Hello"}})).await;
        let new = json!({
            "name": "Summer", "channel": "email", "purpose": "transactional", "audience": {"contact_ids": people}, "content": {"subject": "Hello", "text": "Hi"},
        });
        let new = serde_json::from_value(new).unwrap();
        let made = engine::campaigns::create(&stage.engine, &stage.caller, &Repeat::NONE, new).await.unwrap();
        let id = serde_json::from_slice::<Value>(&made.body).unwrap()["id"].as_str().unwrap().parse().unwrap();
        engine::campaigns::start(&stage.engine, &stage.caller, &Repeat::NONE, id, None).await.unwrap();
        // It fitted when it began; others were quicker.
        for _ in 0..4 {
            stage.send(json!({"to": {"email": "ada@example.com"}, "content": {"subject": "Hi", "text": "Hello"}})).await;
        }
        stage.pass(60_000).await;
        let seen = engine::campaigns::get(&stage.engine, &stage.caller, id).await.unwrap();
        let seen = serde_json::to_value(seen).unwrap();
        assert_eq!(messages(&stage).await, 10);
        assert!(seen["problem"].as_str().unwrap().contains("0 of the 10 of this month are left"), "{seen}");
        // It goes on when the month turns, and nobody got two.
        set_clock(&stage, "2026-12-01T00:00:00Z");
        stage.pass(120_000).await;
        assert_eq!(messages(&stage).await, 13);
        let seen = engine::campaigns::get(&stage.engine, &stage.caller, id).await.unwrap();
        assert_eq!(serde_json::to_value(seen).unwrap()["state"], "sent");
    }

    async fn with_a_larger_plan_the_marks_are_told_anew_once_they_are_reached(db: TestDb) {
        let stage = subscribed(&db, "2026-11-10T12:00:00Z", "UTC", json!([{"channel": "sms", "included": 10}])).await;
        let warned = |percents: &[i64]| percents.iter().map(|percent| ("quota.warning".to_owned(), *percent)).collect::<Vec<_>>();
        for number in 0..9 {
            stage.send(sms(number)).await;
        }
        assert_eq!(told(&stage).await, warned(&[80, 90]));
        let larger = plan(&stage, json!([{"channel": "sms", "included": 20}])).await;
        subscribe(&stage, json!({ "plan_id": larger })).await;
        for number in 9..15 {
            stage.send(sms(number)).await;
        }
        assert_eq!(told(&stage).await, warned(&[80, 90]), "15 of 20 are no reason");
        stage.send(sms(15)).await;
        stage.send(sms(16)).await;
        assert_eq!(told(&stage).await, warned(&[80, 90, 80]));
        // A plan that is as large and costs something else is no news.
        let dearer = plan(&stage, json!([{"channel": "sms", "included": 5, "overage_micros": 9, "limit": 20}])).await;
        subscribe(&stage, json!({ "plan_id": dearer })).await;
        stage.send(sms(17)).await;
        assert_eq!(told(&stage).await, warned(&[80, 90, 80, 90]));
        // A little larger, and most of it is used at once.
        let little = plan(&stage, json!([{"channel": "sms", "included": 21}])).await;
        subscribe(&stage, json!({ "plan_id": little })).await;
        stage.send(sms(18)).await;
        stage.send(sms(19)).await;
        assert_eq!(told(&stage).await, warned(&[80, 90, 80, 90, 80, 90]), "18 of 21 are told with the change");
        assert_eq!(engine::books::verify(&db.db).await.unwrap().differences, [], "what is told anew is told once");
    }

    async fn a_plan_the_tenant_had_before_tells_its_marks_anew_and_only_then(db: TestDb) {
        let stage = subscribed(&db, "2026-11-10T12:00:00Z", "UTC", json!([{"channel": "sms", "included": 10}])).await;
        let warned = |percents: &[i64]| percents.iter().map(|percent| ("quota.warning".to_owned(), *percent)).collect::<Vec<_>>();
        let before = subscribe(&stage, json!({})).await.plan.unwrap().id;
        set_clock(&stage, "2026-11-10T12:10:00Z");
        for number in 0..9 {
            stage.send(sms(number)).await;
        }
        set_clock(&stage, "2026-11-10T13:00:00Z");
        let larger = plan(&stage, json!([{"channel": "sms", "included": 20}])).await;
        subscribe(&stage, json!({ "plan_id": larger })).await;
        assert_eq!(told(&stage).await, warned(&[80, 90]), "9 of 20 are no reason");
        set_clock(&stage, "2026-11-10T14:00:00Z");
        subscribe(&stage, json!({ "plan_id": before })).await;
        assert_eq!(told(&stage).await, warned(&[80, 90, 90]), "the tenant has little left again");
        assert_eq!(engine::books::verify(&db.db).await.unwrap().differences, []);
        // Without another plan in between it is a mistake.
        let again = "UPDATE events SET data = (SELECT e.data FROM events e WHERE e.type = 'quota.warning' ORDER BY e.seq LIMIT 1) WHERE type = 'quota.warning'";
        let plant = db.write(Scope::System, move |tx| Box::pin(async move { tx.execute(again, &[]).await }));
        let planted: Result<u64, store::Error> = plant.await;
        assert_eq!(planted.unwrap(), 3);
        let found = engine::books::verify(&db.db).await.unwrap().differences;
        assert!(found.len() == 1 && found[0].detail.contains("told more than once that 80 percent are used"), "{found:?}");
    }

    async fn one_invoice_has_one_currency_at_every_door(db: TestDb) {
        let stage = Stage::new(&db).await;
        let parts = stage.engine.parts();
        let currency = async |code: &str| {
            let change = serde_json::from_value(json!({ "currency": code })).unwrap();
            tenants::patch(parts, &stage.caller, stage.tenant, change).await
        };
        let credit = async |change: Value| {
            let change = serde_json::from_value(change).unwrap();
            engine::money::credits::patch(parts, &stage.caller, change).await
        };
        let euro = json!({"name": "Euro", "currency": "EUR", "monthly_fee_micros": 1_000_000});
        let euro = plans::create(parts, &Caller::system(None), &Repeat::NONE, serde_json::from_value(euro).unwrap()).await.unwrap();
        let euro: Value = serde_json::from_slice(&euro.body).unwrap();
        // A ledger that was made before and never moved anything has the currency the tenant has by now.
        assert_eq!(credit(json!({"low_at_micros": 5})).await.unwrap().available.currency, "USD");
        subscribe(&stage, json!({"plan_id": euro["id"]})).await;
        let refused = credit(json!({"mode": "postpaid"})).await.unwrap_err();
        assert_eq!(refused.errors[0].pointer, "/mode");
        assert!(refused.errors[0].detail.contains("give the tenant a plan in USD first, or the currency EUR"), "{refused:?}");
        currency("EUR").await.unwrap();
        assert_eq!(credit(json!({"mode": "postpaid"})).await.unwrap().available.currency, "EUR");
        // From then on it keeps it, and plans follow it.
        assert_eq!(currency("USD").await.unwrap_err().code, "ledger_in_use");
        assert_eq!(credit(json!({})).await.unwrap().available.currency, "EUR");
        let dollars = plan(&stage, json!([])).await;
        let refused = try_subscribe(&stage, json!({ "plan_id": dollars })).await.unwrap_err();
        assert_eq!(refused.errors[0].pointer, "/plan_id");
        assert!(refused.errors[0].detail.contains("choose a plan in EUR"), "{refused:?}");
        // A ledger that is made after the plan, by what was bought, charges nothing in another currency.
        let bought = serde_json::from_value(json!({"amount_micros": 5, "reference": "bank"})).unwrap();
        engine::money::credits::purchase(parts, &stage.caller, &Repeat::NONE, bought).await.unwrap();
        credit(json!({"mode": "none"})).await.unwrap();
        subscribe(&stage, json!({ "plan_id": dollars })).await;
        for mode in ["prepaid", "postpaid"] {
            assert_eq!(credit(json!({ "mode": mode })).await.unwrap_err().errors[0].pointer, "/mode");
        }
        // What a plan costs stays as it is.
        assert!(serde_json::from_value::<plans::PlanPatch>(json!({"currency": "EUR"})).is_err());
    }

    async fn a_plan_has_the_currency_of_the_credit(db: TestDb) {
        let stage = Stage::new(&db).await;
        let change = serde_json::from_value(json!({"currency": "EUR"})).unwrap();
        tenants::patch(stage.engine.parts(), &stage.caller, stage.tenant, change).await.unwrap();
        let mode = serde_json::from_value(json!({"mode": "prepaid"})).unwrap();
        engine::money::credits::patch(stage.engine.parts(), &stage.caller, mode).await.unwrap();
        let plan = plan(&stage, json!([])).await;
        let refused = try_subscribe(&stage, json!({ "plan_id": plan })).await.unwrap_err();
        assert_eq!(refused.errors[0].pointer, "/plan_id");
        let unknown = try_subscribe(&stage, json!({ "plan_id": PlanId::from_ulid(7) })).await.unwrap_err();
        assert_eq!(unknown.errors[0].pointer, "/plan_id");
    }
}

/// A plan of one message is used up at the last instant of a month and new at the first of the next.
async fn turns(db: &TestDb, zone: &str, last: &str, first: &str) {
    let stage = subscribed(db, "2026-10-20T12:00:00Z", zone, json!([{"channel": "sms", "included": 1}])).await;
    set_clock(&stage, last);
    stage.send(sms(1)).await;
    let refused = stage.try_send(sms(2), None).await.unwrap_err();
    assert_eq!(refused.quota.unwrap().resets_at, first.parse::<Timestamp>().unwrap());
    set_clock(&stage, first);
    stage.send(sms(2)).await;
    assert_eq!(code(&stage, sms(3)).await, "quota_exceeded");
}

async fn counters(stage: &Stage) -> usize {
    let (tenant, now) = (stage.tenant, stage.world.ports.clock.now());
    let read =
        stage.world.ports.db.read(Scope::System, move |tx| Box::pin(async move { quotas::at(tx, tenant, now).await }));
    read.await.unwrap().len()
}

/// Messages that are there.
async fn messages(stage: &Stage) -> i64 {
    let tenant = stage.tenant;
    let read = stage.world.ports.db.read(Scope::System, move |tx| {
        Box::pin(async move {
            let row = tx.row("SELECT COUNT(*) FROM messages WHERE tenant_id = $1", &[&tenant]).await?;
            row.expect("a count is a row").get(0)
        })
    });
    let count: Result<i64, store::Error> = read.await;
    count.unwrap()
}
