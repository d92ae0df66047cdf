//! Which account a message leaves through: rules, another account after a failure, and how accounts do, on both engines.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use engine::{
    accounts,
    once::Repeat,
    routing::{self, RouteView},
};
use model::{AccountId, Answer, Broken, Call, Clock as _, MessageId};
use serde_json::{Value, json};
use testkit::{Stage, TestDb, World, broken_after, broken_before, http_answer};

use crate::setting::{body, pointers};

const KENYA: &str = "+254700000001";
const GERMANY: &str = "+4915112345678";

fn sms(to: &str) -> Value {
    json!({ "to": { "phone": to }, "channel": "sms", "content": { "text": "Hello" } })
}

fn taken() -> Result<Answer, Broken> {
    http_answer(201, r#"{"sid": "SM0123456789abcdef0123456789abcdef", "status": "queued", "num_segments": "1"}"#)
}

fn throttled() -> Result<Answer, Broken> {
    http_answer(429, r#"{"code": 20429, "message": "Too Many Requests", "status": 429}"#)
}

fn bad_token() -> Result<Answer, Broken> {
    http_answer(401, r#"{"code": 20003, "message": "Authenticate", "status": 401}"#)
}

/// True for a request to the first of two Twilio accounts.
fn is_first(call: &Call) -> bool {
    matches!(call, Call::Http(http) if http.url.contains("AC00000000000000000000000000000001"))
}

/// A stage with two Twilio accounts, of which the first is the default and its provider answers as told; the second one takes everything.
async fn two(
    db: &TestDb,
    first: impl Fn() -> Result<Answer, Broken> + Send + Sync + 'static,
) -> (Stage, AccountId, AccountId) {
    let respond = move |call: &Call| match call {
        Call::Http(http) if http.method == model::Method::Get => http_answer(200, r#"{"messages": []}"#),
        call if is_first(call) => first(),
        _ => taken(),
    };
    let stage = Stage::in_world(World::answering(db, respond)).await;
    let mut accounts = Vec::new();
    for number in 1..=2 {
        let settings =
            json!({ "account_sid": format!("AC{number:032}"), "auth_token": "0123456789abcdef0123456789abcdef" });
        accounts.push(stage.account("twilio", settings, Some("+15550100001")).await);
    }
    (stage, accounts[0], accounts[1])
}

async fn rule(stage: &Stage, rule: Value) -> Result<RouteView, engine::Error> {
    let reply = routing::create(&stage.engine, &stage.caller, &Repeat::NONE, body(rule)).await?;
    let id = serde_json::from_slice::<Value>(&reply.body).unwrap()["id"].as_str().unwrap().parse().unwrap();
    routing::get(&stage.engine, &stage.caller, id).await
}

/// A rule about all SMS that takes the accounts in this order.
async fn in_order(stage: &Stage, accounts: &[AccountId], otherwise: &str) -> RouteView {
    let listed: Vec<_> = accounts.iter().map(|id| json!({ "account_id": id })).collect();
    let new = json!({ "name": "All", "channel": "sms", "choose": { "by": "priority" }, "accounts": listed, "otherwise": otherwise });
    rule(stage, new).await.unwrap()
}

/// The kinds and details of what the engine noted about a message.
async fn noted(stage: &Stage, id: MessageId) -> Vec<(String, Value)> {
    let timeline = stage.engine.timeline(&stage.caller, id).await.unwrap();
    let timeline: Value = serde_json::from_slice(&timeline).unwrap();
    let entries = timeline["data"].as_array().unwrap().clone();
    let observed = entries.into_iter().filter(|entry| entry["type"] == "observation" && entry["source"] == "engine");
    observed.map(|entry| (entry["kind"].as_str().unwrap().to_owned(), entry["detail"].clone())).collect()
}

async fn pause(stage: &Stage, account: AccountId) {
    let mut request = sms(GERMANY);
    request["account_id"] = json!(account);
    stage.send(request).await;
    stage.dispatch().await;
    let state = accounts::get(stage.engine.parts(), &stage.caller, account).await.unwrap();
    assert_eq!(state.state, accounts::AccountState::Paused);
}

testkit::both! {
    async fn a_rule_chooses_and_the_timeline_tells_why(db: TestDb) {
        let (stage, first, second) = two(&db, taken).await;
        let kenya = json!({ "name": "Kenya", "channel": "sms", "match": { "countries": ["KE"] }, "choose": { "by": "lowest_price" },
            "accounts": [{ "account_id": first, "price_micros": 9_000 }, { "account_id": second, "price_micros": 7_500 }] });
        let kenya = rule(&stage, kenya).await.unwrap();
        let id = stage.send(sms(KENYA)).await;
        let message = stage.message(id).await;
        assert_eq!(message.account_id, Some(second));
        let why = "the cheapest of 2 for KE at 0.0075 USD";
        assert_eq!(message.route.unwrap(), format!("sms: the channel was given; by rule Kenya ({}): twilio, {why}", kenya.id));
        let noted = noted(&stage, id).await;
        assert_eq!((noted.len(), noted[0].0.as_str()), (1, "routed"));
        let decision = &noted[0].1;
        assert_eq!((&decision["rule_id"], &decision["account_id"], &decision["why"]), (&json!(kenya.id), &json!(second), &json!(why)));
        assert_eq!(decision["considered"][1]["figure"], "0.009 USD");
        let other = stage.send(sms(GERMANY)).await;
        assert_eq!(stage.message(other).await.account_id, Some(first), "no rule is about it");
        assert!(self::noted(&stage, other).await.is_empty());
        let mut named = sms(KENYA);
        named["account_id"] = json!(first);
        let named = stage.send(named).await;
        assert_eq!(stage.message(named).await.account_id, Some(first), "who names an account gets it");
        stage.dispatch().await;
        assert_eq!(stage.status(id).await, "sent");
    }

    async fn a_dry_run_and_a_trial_tell_the_decision(db: TestDb) {
        let (stage, first, second) = two(&db, bad_token).await;
        in_order(&stage, &[first, second], "next_rule").await;
        pause(&stage, first).await;
        let mut request = sms(KENYA);
        request["dry_run"] = true.into();
        let told = stage.try_send(request, None).await.unwrap();
        assert_eq!((&told["account_id"], &told["routing"]["account_id"]), (&json!(second), &json!(second)));
        let why = told["routing"]["why"].as_str().unwrap();
        assert!(why.starts_with("the first of 2 for KE that works; twilio skipped: failing since "), "{why}");
        assert!(told["route"].as_str().unwrap().contains(why));
        let trial = json!({ "channel": "sms", "to": { "phone": KENYA } });
        let trial = routing::try_out(&stage.engine, &stage.caller, body(trial)).await.unwrap();
        assert_eq!((trial.account_id, trial.why.as_str()), (Some(second), why));
        let mail = json!({ "channel": "email", "to": { "email": "ada@example.com" } });
        let mail = routing::try_out(&stage.engine, &stage.caller, body(mail)).await.unwrap();
        assert_eq!((mail.account_id, mail.decision), (None, None));
    }

    async fn what_lies_with_the_account_sends_the_message_through_the_next(db: TestDb) {
        let refusals: [fn() -> Result<Answer, Broken>; 3] = [throttled, || broken_before("connect_refused"), bad_token];
        let turn = Arc::new(AtomicUsize::new(0));
        let now = Arc::clone(&turn);
        let (stage, first, second) = two(&db, move || refusals[now.load(Ordering::Relaxed)]()).await;
        in_order(&stage, &[first, second], "next_rule").await;
        for at in 0..refusals.len() {
            turn.store(at, Ordering::Relaxed);
            // What the provider asked for before is over.
            stage.world.clock.advance_ms(60_000);
            let id = stage.send(sms(KENYA)).await;
            assert_eq!(stage.message(id).await.account_id, Some(first), "{at}");
            stage.dispatch().await;
            let message = stage.message(id).await;
            assert_eq!((message.status.as_str(), message.account_id, message.attempts), ("sent", Some(second), 2), "{at}");
            let noted = noted(&stage, id).await;
            let moved = noted.iter().find(|(kind, _)| kind == "rerouted").unwrap();
            assert_eq!((&moved.1["from"], &moved.1["to"]), (&json!(first), &json!(second)));
            assert!(message.route.unwrap().contains("twilio failed ("));
        }
    }

    async fn what_lies_with_the_recipient_or_the_content_is_not_tried_elsewhere(db: TestDb) {
        let code = Arc::new(AtomicUsize::new(0));
        let now = Arc::clone(&code);
        let answer = move || {
            let code = now.load(Ordering::Relaxed);
            http_answer(400, format!(r#"{{"code": {code}, "message": "no", "status": 400}}"#))
        };
        let (stage, first, second) = two(&db, answer).await;
        in_order(&stage, &[first, second], "next_rule").await;
        for (refusal, number) in [21_211, 21_610, 30_007].into_iter().zip(1..) {
            code.store(refusal, Ordering::Relaxed);
            let id = stage.send(sms(&format!("+25470000000{number}"))).await;
            stage.dispatch().await;
            stage.pass(30_000).await;
            let message = stage.message(id).await;
            assert_eq!((message.status.as_str(), message.account_id, message.attempts), ("failed", Some(first), 1), "{refusal}");
        }
    }

    async fn nobody_else_is_asked_while_one_may_have_taken_it(db: TestDb) {
        let (stage, first, second) = two(&db, || broken_after("timeout")).await;
        in_order(&stage, &[first, second], "next_rule").await;
        let id = stage.send(sms(KENYA)).await;
        stage.dispatch().await;
        stage.pass(120_000).await;
        let message = stage.message(id).await;
        assert_eq!(message.account_id, Some(first));
        let sent = stage.world.transport.calls();
        let posts = sent.iter().filter(|call| matches!(&***call, Call::Http(http) if http.method == model::Method::Post));
        assert!(posts.into_iter().all(|call| is_first(call)));
    }

    async fn every_account_has_its_turn_and_then_the_first_again(db: TestDb) {
        let stage = Stage::in_world(World::answering(&db, |_| throttled())).await;
        let mut accounts = Vec::new();
        for number in 1..=3 {
            let settings = json!({ "account_sid": format!("AC{number:032}"), "auth_token": "0123456789abcdef0123456789abcdef" });
            accounts.push(stage.account("twilio", settings, Some("+15550100001")).await);
        }
        in_order(&stage, &accounts, "wait").await;
        stage.send(sms(KENYA)).await;
        stage.dispatch().await;
        assert_eq!(stage.world.transport.take_calls().len(), 3, "each is asked once, at once");
        stage.pass(20_000).await;
        let asked = stage.world.transport.calls();
        let count = |number: usize| {
            let sid = format!("AC{number:032}");
            asked.iter().filter(|call| matches!(&***call, Call::Http(http) if http.url.contains(&sid))).count()
        };
        assert!((1..=3).all(|number| count(number) > 0), "{asked:?}");
    }

    async fn what_waits_for_a_failing_account_goes_another_way(db: TestDb) {
        let (stage, first, second) = two(&db, bad_token).await;
        in_order(&stage, &[first, second], "wait").await;
        let mut waiting = Vec::new();
        for _ in 0..5 {
            let mut request = sms(KENYA);
            request["send_at"] = json!(stage.world.clock.now().plus_seconds(5));
            waiting.push(stage.send(request).await);
        }
        assert_eq!(stage.message(waiting[0]).await.account_id, Some(first));
        let mut named = sms(GERMANY);
        named["account_id"] = json!(first);
        let named = stage.send(named).await;
        stage.dispatch().await;
        stage.pass(8_000).await;
        for id in waiting {
            let message = stage.message(id).await;
            assert_eq!((message.status.as_str(), message.account_id, message.attempts), ("sent", Some(second), 1));
            assert!(message.route.unwrap().ends_with("twilio fails"));
        }
        let named = stage.message(named).await;
        assert_eq!((named.status.as_str(), named.account_id), ("queued", Some(first)), "who names an account waits for it");
    }

    async fn a_deleted_account_leaves_its_messages_to_the_rules(db: TestDb) {
        let (stage, first, second) = two(&db, taken).await;
        let other = stage.account("sandbox", json!({}), None).await;
        let rule = in_order(&stage, &[second, other], "wait").await;
        let later = async || {
            let mut request = sms(KENYA);
            request["send_at"] = json!(stage.world.clock.now().plus_seconds(60));
            stage.send(request).await
        };
        let id = later().await;
        assert_eq!(stage.message(id).await.account_id, Some(second));
        accounts::force_delete(stage.engine.parts(), &stage.caller, second).await.unwrap();
        engine::waiting::reroute(&stage.engine).await.unwrap();
        assert_eq!(stage.message(id).await.account_id, Some(other), "not the default account {first}");
        let shown = routing::get(&stage.engine, &stage.caller, rule.id).await.unwrap();
        assert!(shown.problems[0].contains("was deleted and is skipped"), "{:?}", shown.problems);
        accounts::force_delete(stage.engine.parts(), &stage.caller, other).await.unwrap();
        engine::waiting::reroute(&stage.engine).await.unwrap();
        let message = stage.message(id).await;
        assert_eq!((message.status.as_str(), message.dead_at.is_some()), ("failed", true));
        let refused = stage.try_send(sms(KENYA), None).await.unwrap_err();
        assert_eq!((refused.code, refused.action), ("no_account_for_route", Some("CHANGE_ROUTE")));
        // With another account in the rule the dead letter goes that way.
        let change = body(json!({ "accounts": [{ "account_id": first }] }));
        routing::patch(&stage.engine, &stage.caller, rule.id, change).await.unwrap();
        stage.engine.retry(&stage.caller, &Repeat::NONE, id).await.unwrap();
        stage.dispatch().await;
        let message = stage.message(id).await;
        assert_eq!((message.status.as_str(), message.account_id), ("sent", Some(first)));
    }

    async fn a_batch_and_each_channel_of_a_list_are_routed(db: TestDb) {
        let (stage, first, second) = two(&db, taken).await;
        let sandbox = stage.account("sandbox", json!({}), None).await;
        let kenya = json!({ "name": "Kenya", "channel": "sms", "match": { "prefixes": ["2547"], "metadata": { "tier": ["gold"] } },
            "choose": { "by": "priority" }, "accounts": [{ "account_id": second }] });
        rule(&stage, kenya).await.unwrap();
        let mut gold = sms(KENYA);
        gold["metadata"] = json!({ "tier": "gold" });
        let batch = json!({ "messages": [gold, sms(KENYA)] }).to_string();
        let reply = stage.engine.send_batch(&stage.caller, batch.as_bytes(), None).await.unwrap();
        let reply: Value = serde_json::from_slice(&reply.body).unwrap();
        let mut accounts = Vec::new();
        for line in reply["data"].as_array().unwrap() {
            accounts.push(stage.message(line["id"].as_str().unwrap().parse().unwrap()).await.account_id);
        }
        assert_eq!(accounts, [Some(second), Some(first)]);
        let list = json!({ "to": { "email": "bounce@example.com", "phone": KENYA }, "channel": ["email", "sms"], "metadata": { "tier": "gold" },
            "content": { "subject": "Hi", "text": "Hello" } });
        let id = stage.send(list).await;
        assert_eq!(stage.message(id).await.account_id, Some(sandbox));
        stage.dispatch().await;
        stage.pass(10_000).await;
        let message = stage.message(id).await;
        assert_eq!((message.channel.as_str(), message.account_id), ("sms", Some(second)));
    }

    async fn rules_keep_their_order(db: TestDb) {
        let (stage, first, second) = two(&db, taken).await;
        let named = async |name: &str, position: Option<u32>| {
            let new = json!({ "name": name, "channel": "sms", "position": position, "match": { "countries": ["KE"] }, "choose": { "by": "priority" },
                "accounts": [{ "account_id": first }, { "account_id": second }] });
            rule(&stage, new).await.unwrap()
        };
        let order = async || {
            let all = routing::list(&stage.engine, &stage.caller, None).await.unwrap().data;
            assert!(all.iter().zip(1..).all(|(rule, position)| rule.position == position), "{all:?}");
            all.into_iter().map(|rule| rule.name).collect::<Vec<_>>().join(" ")
        };
        let (a, b) = (named("a", None).await, named("b", None).await);
        named("c", Some(1)).await;
        assert_eq!(order().await, "c a b");
        let patch = async |id, change: Value| routing::patch(&stage.engine, &stage.caller, id, body(change)).await;
        patch(b.id, json!({ "position": 1 })).await.unwrap();
        assert_eq!(order().await, "b c a");
        patch(b.id, json!({ "position": 99, "name": "z" })).await.unwrap();
        assert_eq!(order().await, "c a z");
        routing::delete(&stage.engine, &stage.caller, a.id).await.unwrap();
        assert_eq!(order().await, "c z");
        assert_eq!(routing::delete(&stage.engine, &stage.caller, a.id).await.unwrap_err().code, "not_found");
        let after = patch(b.id, json!({ "match": null, "enabled": false })).await.unwrap();
        assert!(after.matches.is_empty() && !after.enabled);
    }

    async fn what_is_wrong_with_a_rule_is_named(db: TestDb) {
        let (stage, first, second) = two(&db, taken).await;
        let template = json!({ "name": "hello", "channel": "email", "variants": { "en": { "subject": "Hi", "text": "Hello" } } });
        let template = engine::templates::create(&stage.engine, &stage.caller, &Repeat::NONE, body(template)).await.unwrap();
        let template: Value = serde_json::from_slice(&template.body).unwrap();
        let refused = async |change: Value| {
            let mut new = json!({ "name": "All", "channel": "sms", "choose": { "by": "priority" }, "accounts": [{ "account_id": first }] });
            new.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
            pointers(rule(&stage, new).await)
        };
        let missing = "acc_01K9ZC1M2N3P4Q5R6S7T8V9W0X";
        assert_eq!(refused(json!({ "accounts": [] })).await, ["/accounts"]);
        assert_eq!(refused(json!({ "accounts": [{ "account_id": missing }] })).await, ["/accounts/0/account_id"]);
        assert_eq!(refused(json!({ "accounts": [{ "account_id": first }, { "account_id": first }] })).await, ["/accounts/1/account_id"]);
        assert_eq!(refused(json!({ "channel": "email" })).await, ["/accounts/0/account_id"], "Twilio carries no mail");
        assert_eq!(refused(json!({ "accounts": [{ "account_id": first, "weight": 2, "price_micros": 1 }] })).await, ["/accounts/0/weight", "/accounts/0/price_micros"]);
        assert_eq!(refused(json!({ "choose": { "by": "weight" }, "accounts": [{ "account_id": first, "weight": 0 }] })).await, ["/accounts"]);
        assert_eq!(refused(json!({ "choose": { "by": "priority", "hours": 3 } })).await, ["/choose/hours"]);
        assert_eq!(refused(json!({ "choose": { "by": "health", "hours": 169 } })).await, ["/choose/hours"]);
        assert_eq!(refused(json!({ "match": { "countries": ["Kenya"], "prefixes": ["+254"], "topics": ["A b"] } })).await,
            ["/match/countries/0", "/match/prefixes/0", "/match/topics/0"]);
        assert_eq!(refused(json!({ "match": { "template_ids": [template["id"], "tpl_01K9ZC8Q6T7Y2V5B3N4M1XWRSD"] } })).await,
            ["/match/template_ids/0", "/match/template_ids/1"]);
        assert_eq!(refused(json!({ "match": { "hours": { "from": "09:00", "until": "09:00", "timezone": "Mars/Base" } } })).await,
            ["/match/hours/until", "/match/hours/timezone"]);
        assert_eq!(refused(json!({ "match": { "metadata": { "a/b": [] } } })).await, ["/match/metadata/a~1b"]);
        assert_eq!(refused(json!({ "position": 0, "name": "" })).await, ["/name", "/position"]);
        let telegram = stage.account("sandbox", json!({}), None).await;
        let chats = json!({ "channel": "telegram", "match": { "countries": ["KE"] }, "accounts": [{ "account_id": telegram }] });
        assert_eq!(refused(chats).await, ["/match/countries"]);
        // Behind a rule that lets nothing through none can match, and none may be put before others that does.
        let all = in_order(&stage, &[first], "wait").await;
        assert_eq!(refused(json!({ "accounts": [{ "account_id": second }] })).await, ["/position"]);
        rule(&stage, json!({ "name": "First", "channel": "sms", "position": 1, "choose": { "by": "priority" }, "accounts": [{ "account_id": second }] })).await.unwrap();
        let moved = routing::patch(&stage.engine, &stage.caller, all.id, body(json!({ "position": 1 }))).await;
        assert_eq!(pointers(moved), ["/position"]);
    }

    async fn an_accounts_health_is_told_by_hour(db: TestDb) {
        let (stage, first, second) = two(&db, throttled).await;
        in_order(&stage, &[first, second], "next_rule").await;
        let id = stage.send(sms(KENYA)).await;
        stage.dispatch().await;
        let health = async |account| accounts::health_of(stage.engine.parts(), &stage.caller, account).await.unwrap();
        let told = health(first).await;
        assert_eq!((told.hours.len(), told.last_24h.attempts, told.last_24h.throttled), (24, 1, 1));
        assert_eq!((told.last_24h.success_rate, told.last_24h.throttled_share), (Some(0.0), Some(1.0)));
        assert_eq!(told.hours.last().unwrap().figures, told.last_24h);
        let error = told.last_error.unwrap();
        assert_eq!((error.kind.as_str(), error.code.as_str()), ("throttled", "20429"));
        let told = health(second).await;
        assert_eq!((told.last_24h.accepted, told.last_24h.success_rate, told.delivery_rate), (1, Some(1.0), None));
        assert!(told.last_24h.p95_ms.is_some() && told.last_error.is_none());
        let listed = accounts::list(stage.engine.parts(), &stage.caller, None, None).await.unwrap().data;
        let short = |id| listed.iter().find(|account| account.id == id).unwrap().health.clone();
        assert_eq!((short(first).success_rate, short(second).attempts), (Some(0.0), 1));
        assert_eq!(stage.status(id).await, "sent");
        stage.world.clock.advance_ms(25 * 3_600_000);
        let told = health(first).await;
        assert_eq!((told.last_24h.attempts, told.last_24h.success_rate), (0, None));
        assert!(told.last_error.is_some(), "the last error is remembered for longer");
        stage.world.clock.advance_ms(8 * 86_400_000);
        assert!(accounts::health::purge(&stage.engine).await.unwrap() >= 2);
        assert_eq!(health(first).await.last_error, None);
    }

    async fn what_is_not_answered_is_waited_for_longest_and_a_refusal_is_an_answer(db: TestDb) {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let (stage, first, _) = two(&db, move || match count.fetch_add(1, Ordering::SeqCst) {
            0 => broken_before("connect_refused"),
            _ => http_answer(503, r#"{"code": 20503, "message": "Service unavailable", "status": 503}"#),
        }).await;
        let sends = async || {
            stage.send(sms(KENYA)).await;
            stage.dispatch().await;
            accounts::health_of(stage.engine.parts(), &stage.caller, first).await.unwrap().last_24h
        };
        let told = sends().await;
        assert_eq!((told.attempts, told.unavailable), (1, 1));
        assert_eq!((told.p50_ms, told.p95_ms), (Some(30_000), Some(30_000)), "the refused connection broke at once");
        let told = sends().await;
        assert_eq!((told.attempts, told.unavailable, told.unknown), (2, 1, 1));
        assert_eq!((told.p50_ms, told.p95_ms), (Some(50), Some(30_000)), "the provider said at once that it was out of order");
    }

    async fn the_best_rate_is_that_of_real_messages(db: TestDb) {
        let stage = Stage::new(&db).await;
        let (good, bad) = (stage.account("sandbox", json!({}), None).await, stage.account("sandbox", json!({}), None).await);
        for number in 0..20 {
            for (account, to) in [(good, KENYA.to_owned()), (bad, if number < 10 { "+15005550002".to_owned() } else { KENYA.to_owned() })] {
                let mut request = sms(&to);
                request["account_id"] = json!(account);
                stage.send(request).await;
            }
        }
        stage.dispatch().await;
        stage.pass(20_000).await;
        let new = json!({ "name": "Best", "channel": "sms", "choose": { "by": "best_delivery_rate", "hours": 2 },
            "accounts": [{ "account_id": bad }, { "account_id": good }] });
        rule(&stage, new).await.unwrap();
        let id = stage.send(sms(KENYA)).await;
        let message = stage.message(id).await;
        assert_eq!(message.account_id, Some(good), "{:?}", message.route);
        assert!(message.route.unwrap().contains("the best delivery rate of 2 for KE: 100.0 % of 20 delivered in 2 h"));
    }
}
