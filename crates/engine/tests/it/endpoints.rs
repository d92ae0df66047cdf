//! Webhook endpoints: signed, rotated, retried, replayed, switched off.

use std::sync::{Arc, Mutex};

use connectors::webhook;
use engine::{
    endpoints::{self, DeliveryQuery, EndpointState},
    keys::Caller,
    once::Repeat,
};
use model::{Answer, BoxFuture, Broken, Call, EndpointId, HttpCall, MessageId, Secret, TenantId, Transport};
use serde_json::{Value, json};
use testkit::{Stage, TestDb, World, broken_before, http_answer};

use crate::setting::{body, code, column, json as read, pointers, repeat};

const URL: &str = "https://shop.example/hooks";
const OTHER_URL: &str = "https://audit.example/hooks";

/// A stage with a sandbox account, whose endpoints answer with what the switch says.
async fn stage(db: &TestDb) -> (Stage, Arc<Mutex<u16>>) {
    let status = Arc::new(Mutex::new(200));
    let answer = Arc::clone(&status);
    let world = World::answering(db, move |call| match call {
        Call::Http(call) if call.url == URL => http_answer(*answer.lock().unwrap(), "so be it"),
        Call::Http(_) => http_answer(204, ""),
        _ => Ok(Answer::Local),
    });
    let stage = Stage::in_world(world).await;
    stage.account("sandbox", json!({}), None).await;
    (stage, status)
}

struct Made {
    id: EndpointId,
    secret: Secret,
}

async fn make(stage: &Stage, new: Value) -> Made {
    let reply = endpoints::create(&stage.engine, &stage.caller, &Repeat::NONE, body(new)).await.unwrap();
    assert_eq!(reply.status, 201);
    made(&read(&reply))
}

fn made(json: &Value) -> Made {
    Made { id: json["id"].as_str().unwrap().parse().unwrap(), secret: Secret::new(json["secret"].as_str().unwrap()) }
}

async fn rotate(stage: &Stage, id: EndpointId, overlap_s: u32) -> Secret {
    let request = body(json!({ "overlap_s": overlap_s }));
    let reply = endpoints::rotate_secret(&stage.engine, &stage.caller, &Repeat::NONE, id, request).await.unwrap();
    assert_eq!(reply.status, 200);
    made(&read(&reply)).secret
}

async fn sms(stage: &Stage) -> MessageId {
    stage.send(json!({ "to": { "phone": "+4915112345678" }, "channel": "sms", "content": { "text": "Hello" } })).await
}

/// The requests to endpoints since the last look.
fn posted(stage: &Stage) -> Vec<HttpCall> {
    let http = |call: Arc<Call>| match &*call {
        Call::Http(call) => Some(call.clone()),
        _ => None,
    };
    stage.world.transport.take_calls().into_iter().filter_map(http).collect()
}

fn header<'a>(call: &'a HttpCall, name: &str) -> &'a str {
    call.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str()).unwrap()
}

fn kinds(calls: &[HttpCall]) -> Vec<String> {
    let kind =
        |call: &HttpCall| serde_json::from_slice::<Value>(&call.body).unwrap()["type"].as_str().unwrap().to_owned();
    calls.iter().map(kind).collect()
}

/// Whether a request carries a signature by `secret`.
fn is_signed_by(call: &HttpCall, secret: &Secret) -> bool {
    let (id, at) = (header(call, "webhook-id"), header(call, "webhook-timestamp").parse().unwrap());
    let body = std::str::from_utf8(&call.body).unwrap();
    let signature = webhook::signature(secret, id, at, body).unwrap();
    header(call, "webhook-signature").split(' ').any(|one| one == signature)
}

async fn list(stage: &Stage, id: EndpointId, status: Option<&str>) -> Vec<Value> {
    let query = DeliveryQuery { status: status.map(str::to_owned), ..DeliveryQuery::default() };
    let page = endpoints::deliveries(&stage.engine, &stage.caller, id, &query).await.unwrap();
    page.data.iter().map(|view| serde_json::to_value(view).unwrap()).collect()
}

async fn state(stage: &Stage, id: EndpointId) -> EndpointState {
    endpoints::get(&stage.engine, &stage.caller, id).await.unwrap().state
}

/// Lets days pass at once, without what would happen in between.
fn days(stage: &Stage, days: u64) {
    stage.world.clock.advance_ms(days * 86_400_000);
}

struct Guarded;

impl Transport for Guarded {
    fn exchange(&self, _call: Arc<Call>) -> BoxFuture<'static, Result<Answer, Broken>> {
        Box::pin(async { broken_before("refused_address") })
    }

    fn check_url(&self, url: &str) -> Result<(), String> {
        if url.contains("127.0.0.1") || url.contains("[::1]") {
            Err("leads to a loopback address".to_owned())
        } else {
            Ok(())
        }
    }
}

testkit::both! {
    async fn a_password_in_an_endpoints_address_stands_neither_in_the_log_nor_in_exchanges(db: TestDb) {
        let (stage, _) = stage(&db).await;
        let made = make(&stage, json!({ "url": format!("{OTHER_URL}?token=hush-hush&v=1"), "events": ["message.accepted"] })).await;
        sms(&stage).await;
        stage.dispatch().await;
        stage.pass(2_000).await;
        assert!(posted(&stage).iter().any(|call| call.url.ends_with("?token=hush-hush&v=1")));
        let change = body(json!({ "url": format!("{OTHER_URL}?token=other-hush") }));
        endpoints::patch(&stage.engine, &stage.caller, made.id, change).await.unwrap();
        let exchanges = column(&db, "SELECT exchange FROM attempts WHERE exchange LIKE '%audit.example%'").await;
        assert!(exchanges.contains("/hooks?token=••••&v=••••\\n") && !exchanges.contains("hush"), "{exchanges}");
        let told = column(&db, "SELECT detail FROM audit_log WHERE action LIKE 'endpoint.%'").await;
        assert!(told.matches("https://audit.example/secret:").count() == 3 && !told.contains("hush") && !told.contains("/hooks"), "{told}");
        endpoints::delete(&stage.engine, &stage.caller, made.id).await.unwrap();
        let told = column(&db, "SELECT detail FROM audit_log WHERE action = 'endpoint.deleted'").await;
        assert!(told.contains("https://audit.example/secret:") && !told.contains("hush"), "{told}");
        // Some services have the password in the path; what stands for it tells whether it is the same.
        let made = make(&stage, json!({ "url": "https://chat.example/services/T0/hush-hush-hush", "events": ["message.accepted"] })).await;
        let change = body(json!({ "description": "Chat" }));
        endpoints::patch(&stage.engine, &stage.caller, made.id, change).await.unwrap();
        let change = body(json!({ "url": "https://chat.example/" }));
        endpoints::patch(&stage.engine, &stage.caller, made.id, change).await.unwrap();
        let told = column(&db, "SELECT detail FROM audit_log WHERE detail LIKE '%chat.example%' OR detail LIKE '%Chat%' ORDER BY id").await;
        let told: Vec<serde_json::Value> = told.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!((told.len(), &told[1]["url"]), (3, &serde_json::Value::Null), "only the description changed");
        assert_eq!((&told[2]["url"]["from"], &told[2]["url"]["to"]), (&told[0]["url"], &json!("https://chat.example/")));
        assert!(told[0]["url"].as_str().unwrap().starts_with("https://chat.example/secret:") && !told[0].to_string().contains("hush"), "{told:?}");
    }

    async fn events_are_posted_signed_and_once(db: TestDb) {
        let (stage, _) = stage(&db).await;
        let made = make(&stage, json!({ "url": URL, "events": ["message.accepted", "message.sent"] })).await;
        sms(&stage).await;
        stage.dispatch().await;
        stage.pass(20_000).await;
        let calls = posted(&stage);
        assert_eq!(kinds(&calls), ["message.accepted", "message.sent"]);
        assert!(calls.iter().all(|call| is_signed_by(call, &made.secret) && call.is_untrusted));
        assert!(header(&calls[0], "webhook-id").starts_with("evt_"));
        let log = list(&stage, made.id, None).await;
        assert_eq!(log.len(), 2);
        assert_eq!((log[0]["event_type"].as_str(), log[0]["status"].as_str()), (Some("message.sent"), Some("sent")));
        assert_eq!((log[0]["last_answer"].as_u64(), log[0]["attempts"].as_u64()), (Some(200), Some(1)));
        assert_eq!(log[1]["event_id"].as_str(), Some(header(&calls[0], "webhook-id")));
    }

    async fn the_secret_is_shown_once_and_kept_sealed(db: TestDb) {
        let (stage, _) = stage(&db).await;
        let new = json!({ "url": URL });
        let again = repeat("k", "endpoint");
        let first = endpoints::create(&stage.engine, &stage.caller, &again, body(new.clone())).await.unwrap();
        let second = endpoints::create(&stage.engine, &stage.caller, &again, body(new)).await.unwrap();
        assert_eq!((first.body.clone(), second.replayed), (second.body, true));
        let made = made(&read(&first));
        assert!(made.secret.reveal().starts_with("whsec_"));
        let shown = endpoints::get(&stage.engine, &stage.caller, made.id).await.unwrap();
        let shown = serde_json::to_value(shown).unwrap();
        assert_eq!((shown["secret"].as_str(), shown["events"][0].as_str()), (None, Some("*")));
        let hex = if db.engine == "sqlite" { "SELECT HEX(body) FROM idempotency_keys" } else { "SELECT UPPER(ENCODE(body, 'hex')) FROM idempotency_keys" };
        let plain: String = made.secret.reveal().bytes().map(|byte| format!("{byte:02X}")).collect();
        assert!(!column(&db, hex).await.contains(&plain));
        assert!(!column(&db, "SELECT detail FROM audit_log").await.contains(made.secret.reveal()));
    }

    async fn both_secrets_sign_until_the_overlap_ends(db: TestDb) {
        let (stage, _) = stage(&db).await;
        let first = make(&stage, json!({ "url": URL, "events": ["message.accepted"] })).await;
        let second = rotate(&stage, first.id, 3_600).await;
        sms(&stage).await;
        stage.dispatch().await;
        let call = posted(&stage).remove(0);
        assert!(is_signed_by(&call, &first.secret) && is_signed_by(&call, &second));

        stage.world.clock.advance_ms(3_599_000);
        assert_eq!(endpoints::expire_secrets(&stage.engine, stage.world.ports.clock.now()).await, Ok(0));
        stage.world.clock.advance_ms(1_000);
        assert_eq!(endpoints::expire_secrets(&stage.engine, stage.world.ports.clock.now()).await, Ok(1));
        assert_eq!(endpoints::expire_secrets(&stage.engine, stage.world.ports.clock.now()).await, Ok(0));
        sms(&stage).await;
        stage.dispatch().await;
        let call = posted(&stage).remove(0);
        assert!(!is_signed_by(&call, &first.secret) && is_signed_by(&call, &second));
    }

    async fn a_rotation_without_overlap_ends_all_former_secrets(db: TestDb) {
        let (stage, _) = stage(&db).await;
        let first = make(&stage, json!({ "url": URL, "events": ["message.accepted"] })).await;
        let mut former = vec![first.secret];
        for _ in 0..4 {
            former.push(rotate(&stage, first.id, 60).await);
        }
        let request = body(json!({}));
        let sixth = endpoints::rotate_secret(&stage.engine, &stage.caller, &Repeat::NONE, first.id, request).await;
        assert_eq!(code(sixth), "too_many_secrets");
        let last = rotate(&stage, first.id, 0).await;
        sms(&stage).await;
        stage.dispatch().await;
        let call = posted(&stage).remove(0);
        assert!(is_signed_by(&call, &last) && !former.iter().any(|secret| is_signed_by(&call, secret)));
        let long = body(json!({ "overlap_s": 604_801 }));
        let refused = endpoints::rotate_secret(&stage.engine, &stage.caller, &Repeat::NONE, first.id, long).await;
        assert_eq!(pointers(refused), ["/overlap_s"]);
    }

    async fn what_cannot_be_an_endpoint_is_refused(db: TestDb) {
        let mut world = World::new(&db);
        world.ports.transport = Arc::new(Guarded);
        let stage = Stage::in_world(world).await;
        for (new, expected) in [
            (json!({ "url": "ftp://shop.example" }), "/url"),
            (json!({ "url": "shop.example" }), "/url"),
            (json!({ "url": "https://user:word@shop.example" }), "/url"),
            (json!({ "url": "http://127.0.0.1/hooks" }), "/url"),
            (json!({ "url": "http://[::1]/" }), "/url"),
            (json!({ "url": format!("https://shop.example/{}", "x".repeat(2_048)) }), "/url"),
            (json!({ "url": URL, "events": [] }), "/events"),
            (json!({ "url": URL, "events": ["message.lost"] }), "/events/0"),
            (json!({ "url": URL, "description": "x".repeat(501) }), "/description"),
        ] {
            let refused = endpoints::create(&stage.engine, &stage.caller, &Repeat::NONE, body(new.clone())).await;
            assert_eq!(pointers(refused), [expected], "{new}");
        }
        let made = make(&stage, json!({ "url": URL })).await;
        let change = body(json!({ "url": "http://127.0.0.1/" }));
        assert_eq!(pointers(endpoints::patch(&stage.engine, &stage.caller, made.id, change).await), ["/url"]);
    }

    async fn a_failed_delivery_is_sent_again_under_the_same_event(db: TestDb) {
        let (stage, status) = stage(&db).await;
        *status.lock().unwrap() = 500;
        let made = make(&stage, json!({ "url": URL, "events": ["message.accepted"] })).await;
        sms(&stage).await;
        stage.dispatch().await;
        let waiting = list(&stage, made.id, Some("queued")).await.remove(0);
        let message: MessageId = waiting["message_id"].as_str().unwrap().parse().unwrap();
        assert_eq!((waiting["last_answer"].as_u64(), waiting["failure"]["code"].as_str()), (Some(500), Some("500")));
        let early = endpoints::retry(&stage.engine, &stage.caller, &Repeat::NONE, made.id, message).await;
        assert_eq!(code(early), "delivery_waiting");
        for _ in 0..20 {
            days(&stage, 1);
            stage.tick().await;
        }
        let failed = list(&stage, made.id, Some("failed")).await;
        assert_eq!(failed.len(), 1);
        assert!(failed[0]["attempts"].as_u64().unwrap() > 5);
        let detail = endpoints::delivery(&stage.engine, &stage.caller, made.id, message).await.unwrap();
        let detail = serde_json::to_value(detail).unwrap();
        assert_eq!(detail["log"].as_array().unwrap().len() as u64, failed[0]["attempts"].as_u64().unwrap());
        assert_eq!((detail["log"][0]["answer"].as_u64(), detail["body"]["type"].as_str()), (Some(500), Some("message.accepted")));
        let before = posted(&stage).remove(0);

        *status.lock().unwrap() = 200;
        days(&stage, 1);
        let reply = endpoints::retry(&stage.engine, &stage.caller, &Repeat::NONE, made.id, message).await.unwrap();
        assert_eq!((reply.status, read(&reply)["event_id"].as_str()), (202, failed[0]["event_id"].as_str()));
        stage.dispatch().await;
        let after = posted(&stage).remove(0);
        assert_eq!((header(&after, "webhook-id"), &after.body), (header(&before, "webhook-id"), &before.body));
        assert_eq!(list(&stage, made.id, Some("sent")).await.len(), 1);
        assert_eq!(state(&stage, made.id).await, EndpointState::Active);
    }

    async fn a_replay_keeps_the_events_ids(db: TestDb) {
        let (stage, _) = stage(&db).await;
        let made = make(&stage, json!({ "url": URL, "events": ["message.*"] })).await;
        let other = make(&stage, json!({ "url": OTHER_URL, "events": ["message.read"] })).await;
        let since = stage.world.ports.clock.now();
        sms(&stage).await;
        stage.dispatch().await;
        stage.pass(20_000).await;
        let before = posted(&stage);
        let ids = |calls: &[HttpCall]| calls.iter().map(|call| header(call, "webhook-id").to_owned()).collect::<Vec<_>>();
        let first: Vec<HttpCall> = before.iter().filter(|call| call.url == URL).cloned().collect();
        assert_eq!(kinds(&first), ["message.accepted", "message.sent", "message.delivered", "message.read"]);

        let request = json!({ "since": since, "events": ["message.sent", "message.read"] });
        let key = repeat("replay", "1");
        let replay = || endpoints::replay(&stage.engine, &stage.caller, &key, made.id, body(request.clone()));
        let reply = replay().await.unwrap();
        assert_eq!((reply.status, read(&reply)), (202, json!({ "queued": 2, "next_cursor": null })));
        assert!(replay().await.unwrap().replayed);
        stage.dispatch().await;
        let again = posted(&stage);
        assert_eq!(ids(&again), [ids(&first)[1].clone(), ids(&first)[3].clone()]);
        assert!(again.iter().all(|call| is_signed_by(call, &made.secret)));
        assert_eq!(again[0].body, first[1].body);

        // Without filters of its own a replay takes the endpoint's, and events it never got count as well.
        let request = body(json!({ "since": since, "until": stage.world.ports.clock.now() }));
        let reply = endpoints::replay(&stage.engine, &stage.caller, &Repeat::NONE, other.id, request).await.unwrap();
        assert_eq!(read(&reply)["queued"], 1);
        let request = body(json!({ "since": stage.world.ports.clock.now() }));
        let refused = endpoints::replay(&stage.engine, &stage.caller, &Repeat::NONE, other.id, request).await;
        assert_eq!(pointers(refused), ["/since"]);
    }

    async fn a_large_replay_goes_on_where_it_ended(db: TestDb) {
        let (stage, _) = stage(&db).await;
        let made = make(&stage, json!({ "url": URL })).await;
        let (tenant, ids, now) = (stage.tenant, stage.world.ports.ids.clone(), stage.world.ports.clock.now());
        let events: Vec<_> = (0..endpoints::REPLAY_MAX as i64 + 700)
            .map(|n| store::events::Event {
                id: model::EventId::from_ulid(ids.ulid(now)),
                tenant_id: tenant,
                kind: "message.sent".to_owned(),
                at: now.plus_millis(n),
                data: "{}".to_owned(),
            })
            .collect();
        let write = db.write(store::Scope::System, move |tx| {
            Box::pin(async move { store::events::insert_many(tx, &events).await })
        });
        write.await.unwrap();
        stage.world.clock.advance_ms(3_600_000);
        let replay = async |cursor: Option<&str>| {
            let request = body(json!({ "since": now, "cursor": cursor }));
            read(&endpoints::replay(&stage.engine, &stage.caller, &Repeat::NONE, made.id, request).await.unwrap())
        };
        let first = replay(None).await;
        assert_eq!(first["queued"], endpoints::REPLAY_MAX);
        let second = replay(first["next_cursor"].as_str()).await;
        assert_eq!(second, json!({ "queued": 700, "next_cursor": null }));
        let queued = column(&db, "SELECT CAST(COUNT(DISTINCT content_id) AS TEXT) FROM messages").await;
        assert_eq!(queued, (endpoints::REPLAY_MAX + 700).to_string());
        assert_eq!(code(endpoints::replay(&stage.engine, &stage.caller, &Repeat::NONE, made.id, body(json!({ "since": now, "cursor": "x" }))).await), "invalid_cursor");
    }

    async fn a_test_goes_to_one_endpoint_whatever_its_filters(db: TestDb) {
        let (stage, _) = stage(&db).await;
        let made = make(&stage, json!({ "url": URL, "events": ["message.read"] })).await;
        make(&stage, json!({ "url": OTHER_URL })).await;
        let reply = endpoints::test(&stage.engine, &stage.caller, &Repeat::NONE, made.id).await.unwrap();
        assert_eq!(reply.status, 202);
        stage.dispatch().await;
        let calls = posted(&stage);
        assert_eq!((kinds(&calls), calls[0].url.as_str()), (vec!["webhook.test".to_owned()], URL));
    }

    async fn an_endpoint_that_takes_nothing_for_five_days_is_switched_off(db: TestDb) {
        let (stage, status) = stage(&db).await;
        *status.lock().unwrap() = 503;
        let made = make(&stage, json!({ "url": URL })).await;
        make(&stage, json!({ "url": OTHER_URL, "events": ["endpoint.*"] })).await;
        sms(&stage).await;
        stage.dispatch().await;
        let now = || stage.world.ports.clock.now();
        assert_eq!(state(&stage, made.id).await, EndpointState::Failing);
        stage.world.clock.advance_ms(5 * 86_400_000 - 1);
        assert_eq!(endpoints::disable_failing(&stage.engine, now()).await, Ok(0));
        stage.world.clock.advance_ms(1);
        assert_eq!(endpoints::disable_failing(&stage.engine, now()).await, Ok(1));
        assert_eq!(endpoints::disable_failing(&stage.engine, now()).await, Ok(0));
        let view = endpoints::get(&stage.engine, &stage.caller, made.id).await.unwrap();
        assert_eq!((view.enabled, view.state), (false, EndpointState::Disabled));
        assert!(view.disabled_reason.unwrap().contains("5 days"));
        posted(&stage);
        stage.dispatch().await;
        let calls = posted(&stage);
        assert_eq!((kinds(&calls), calls[0].url.as_str()), (vec!["endpoint.disabled".to_owned()], OTHER_URL));
        assert_eq!(code(endpoints::test(&stage.engine, &stage.caller, &Repeat::NONE, made.id).await), "endpoint_disabled");

        *status.lock().unwrap() = 200;
        let on = endpoints::patch(&stage.engine, &stage.caller, made.id, body(json!({ "enabled": true }))).await.unwrap();
        assert_eq!((on.state, on.disabled_reason, on.failing), (EndpointState::Active, None, None));
        stage.dispatch().await;
        assert!(posted(&stage).iter().any(|call| call.url == URL));
    }

    async fn an_endpoint_that_is_gone_is_switched_off_at_once(db: TestDb) {
        let (stage, status) = stage(&db).await;
        *status.lock().unwrap() = 410;
        let made = make(&stage, json!({ "url": URL })).await;
        sms(&stage).await;
        stage.dispatch().await;
        assert_eq!(endpoints::disable_failing(&stage.engine, stage.world.ports.clock.now()).await, Ok(1));
        let view = endpoints::get(&stage.engine, &stage.caller, made.id).await.unwrap();
        assert!(view.disabled_reason.unwrap().contains("410"));
        // What waits is kept for three days in case it is switched on again, and then withdrawn.
        assert!(!list(&stage, made.id, Some("queued")).await.is_empty());
        let now = || stage.world.ports.clock.now();
        assert_eq!(endpoints::withdraw_idle(&stage.engine, now()).await, Ok(0));
        days(&stage, 4);
        assert!(endpoints::withdraw_idle(&stage.engine, now()).await.unwrap() > 0);
        assert!(list(&stage, made.id, Some("queued")).await.is_empty());
    }

    async fn a_deleted_endpoint_gets_nothing_more(db: TestDb) {
        let (stage, _) = stage(&db).await;
        let made = make(&stage, json!({ "url": URL })).await;
        sms(&stage).await;
        endpoints::delete(&stage.engine, &stage.caller, made.id).await.unwrap();
        stage.dispatch().await;
        sms(&stage).await;
        stage.dispatch().await;
        assert!(posted(&stage).is_empty());
        assert_eq!(column(&db, "SELECT CAST(COUNT(*) AS TEXT) FROM deliveries").await, "0");
        assert_eq!(code(endpoints::get(&stage.engine, &stage.caller, made.id).await), "not_found");
        assert_eq!(column(&db, "SELECT action FROM audit_log WHERE action LIKE 'endpoint%' ORDER BY id").await, "endpoint.created\nendpoint.deleted");
    }

    async fn another_tenants_endpoint_does_not_exist(db: TestDb) {
        let (stage, _) = stage(&db).await;
        let made = make(&stage, json!({ "url": URL })).await;
        sms(&stage).await;
        let message: MessageId = list(&stage, made.id, None).await[0]["message_id"].as_str().unwrap().parse().unwrap();
        let stranger = Caller::system(Some(stranger(&stage).await));
        let (engine, caller, none) = (&stage.engine, &stranger, &Repeat::NONE);
        let since = json!({ "since": "2026-01-01T00:00:00Z" });
        let codes = [
            code(endpoints::get(engine, caller, made.id).await),
            code(endpoints::patch(engine, caller, made.id, body(json!({}))).await),
            code(endpoints::delete(engine, caller, made.id).await),
            code(endpoints::rotate_secret(engine, caller, none, made.id, body(json!({}))).await),
            code(endpoints::deliveries(engine, caller, made.id, &DeliveryQuery::default()).await),
            code(endpoints::delivery(engine, caller, made.id, message).await),
            code(endpoints::retry(engine, caller, none, made.id, message).await),
            code(endpoints::replay(engine, caller, none, made.id, body(since)).await),
            code(endpoints::test(engine, caller, none, made.id).await),
        ];
        assert_eq!(codes, ["not_found"; 9]);
        assert!(endpoints::list(engine, caller, None, None).await.unwrap().data.is_empty());
        assert_eq!(endpoints::list(engine, &stage.caller, None, None).await.unwrap().data.len(), 1);
    }
}

async fn stranger(stage: &Stage) -> TenantId {
    crate::setting::tenant(stage.engine.parts(), "Stranger").await.0
}
