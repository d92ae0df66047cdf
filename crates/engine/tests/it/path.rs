//! One message, end to end, on both engines.

use model::{Answer, Broken, Call, FailureKind};
use serde_json::json;
use testkit::{Stage, TestDb, World, broken_after, broken_before, http_answer};

use crate::setting::column;

fn sms(to: &str) -> serde_json::Value {
    json!({ "to": { "phone": to }, "channel": "sms", "content": { "text": "Hello {{ name }}" }, "variables": { "name": "Ada" } })
}

const TWILIO_FROM: &str = "+15550100001";

fn twilio_settings() -> serde_json::Value {
    json!({ "account_sid": "AC00000000000000000000000000000001", "auth_token": "0123456789abcdef0123456789abcdef" })
}

/// A stage with a Twilio account whose provider answers as told.
async fn twilio(db: &TestDb, respond: impl Fn(&Call) -> Result<Answer, Broken> + Send + Sync + 'static) -> Stage {
    let stage = Stage::in_world(World::answering(db, respond)).await;
    stage.account("twilio", twilio_settings(), Some(TWILIO_FROM)).await;
    stage
}

fn taken() -> Result<Answer, Broken> {
    http_answer(201, r#"{"sid": "SM0123456789abcdef0123456789abcdef", "status": "queued", "num_segments": "1"}"#)
}

testkit::both! {
    async fn the_sandbox_acts_a_delivery_out(db: TestDb) {
        let stage = Stage::new(&db).await;
        stage.account("sandbox", json!({}), None).await;
        let id = stage.send(sms("+4915112345678")).await;
        assert_eq!(stage.status(id).await, "queued");
        stage.dispatch().await;
        assert_eq!(stage.status(id).await, "sent");
        stage.pass(20_000).await;
        let message = stage.message(id).await;
        assert_eq!(message.status.as_str(), "read");
        assert!(message.sent_at < message.delivered_at && message.delivered_at <= message.read_at);
    }

    async fn the_sandbox_acts_each_failure_out(db: TestDb) {
        let stage = Stage::new(&db).await;
        stage.account("sandbox", json!({}), None).await;
        let invalid = stage.send(sms("+15005550001")).await;
        let opted_out = stage.send(sms("+15005550003")).await;
        let mail = json!({ "to": { "email": "bounce@example.com" }, "content": { "subject": "Hi", "text": "Hello" } });
        let bounced = stage.send(mail).await;
        stage.dispatch().await;
        stage.pass(20_000).await;
        assert_eq!(stage.status(invalid).await, "failed");
        assert_eq!(stage.status(opted_out).await, "failed");
        assert_eq!(stage.status(bounced).await, "bounced");
    }

    async fn a_message_leaves_with_the_commit_that_accepts_it_when_nobody_waits(db: TestDb) {
        let stage = twilio(&db, |_| taken()).await;
        tidings_engine::dispatch::open(&stage.engine);
        stage.world.transport.hold();
        let id = stage.send(sms("+4915112345678")).await;
        let rows = async |table: &str| {
            column(&db, if table == "deliveries" { "SELECT CAST(COUNT(*) AS TEXT) FROM deliveries" } else { "SELECT CAST(COUNT(*) AS TEXT) FROM inflight" }).await
        };
        assert_eq!((rows("deliveries").await, rows("inflight").await), ("0".to_owned(), "1".to_owned()));
        let mut later = sms("+4915112345678");
        later["send_at"] = json!("2027-01-01T00:00:00Z");
        stage.send(later).await;
        assert_eq!((rows("deliveries").await, rows("inflight").await), ("1".to_owned(), "1".to_owned()), "its time has not come");
        stage.world.transport.release();
        tidings_engine::dispatch::landed(&stage.engine).await;
        assert_eq!((stage.status(id).await, rows("inflight").await), ("sent", "0".to_owned()));
        assert_eq!(stage.world.transport.calls().len(), 1);
    }

    async fn a_message_that_left_with_its_commit_is_found_after_a_crash(db: TestDb) {
        let mut stage = twilio(&db, |_| taken()).await;
        tidings_engine::dispatch::open(&stage.engine);
        stage.world.transport.hold();
        let mut once = sms("+4915112345678");
        once["guarantee"] = json!("at_most_once");
        let id = stage.send(once).await;
        stage.restart();
        tidings_engine::recovery::recover(&stage.engine, true).await.unwrap();
        assert_eq!(stage.status(id).await, "unknown");
    }

    async fn a_repeated_request_is_the_same_message(db: TestDb) {
        let stage = Stage::new(&db).await;
        stage.account("sandbox", json!({}), None).await;
        let first = stage.try_send(sms("+4915112345678"), Some("order-42")).await.unwrap();
        let second = stage.try_send(sms("+4915112345678"), Some("order-42")).await.unwrap();
        assert_eq!(first, second);
        let other = stage.try_send(sms("+4915112345679"), Some("order-42")).await.unwrap_err();
        assert_eq!((other.code, other.kind.status()), ("idempotency_key_reused", 422));
    }

    async fn the_provider_is_asked_in_its_own_words(db: TestDb) {
        let stage = twilio(&db, |_| taken()).await;
        let id = stage.send(sms("+4915112345678")).await;
        stage.dispatch().await;
        let message = stage.message(id).await;
        assert_eq!(message.provider_message_id.as_deref(), Some("SM0123456789abcdef0123456789abcdef"));
        assert_eq!((message.status.as_str(), message.attempts, message.segments), ("sent", 1, Some(1)));
    }

    async fn trouble_at_the_provider_is_retried_five_times_and_ends_as_a_dead_letter(db: TestDb) {
        let stage = twilio(&db, |_| broken_before("connect_refused")).await;
        let id = stage.send(sms("+4915112345678")).await;
        stage.dispatch().await;
        assert_eq!(stage.status(id).await, "queued");
        stage.pass(60_000).await;
        let message = stage.message(id).await;
        assert_eq!((message.status.as_str(), message.attempts), ("failed", 5));
        assert!(message.dead_at.is_some());
    }

    async fn a_bad_token_pauses_the_account_and_burns_nothing(db: TestDb) {
        let stage = twilio(&db, |_| http_answer(401, r#"{"code": 20003, "message": "Authenticate", "status": 401}"#)).await;
        let mut ids = Vec::new();
        for n in 0..20 {
            ids.push(stage.send(sms(&format!("+49151123456{n:02}"))).await);
        }
        stage.dispatch().await;
        let calls = stage.world.transport.calls().len();
        assert!(calls <= 20, "{calls}");
        stage.pass(10_000).await;
        assert_eq!(stage.world.transport.calls().len(), calls, "nothing leaves while the account is paused");
        for id in ids {
            assert_eq!(stage.status(id).await, "queued");
        }
    }

    async fn an_answer_that_never_came_is_unknown_at_most_once(db: TestDb) {
        let stage = twilio(&db, |call| match call {
            Call::Http(http) if http.method == model::Method::Get => http_answer(200, r#"{"messages": []}"#),
            _ => broken_after("timeout"),
        }).await;
        let mut request = sms("+4915112345678");
        request["guarantee"] = "at_most_once".into();
        let id = stage.send(request).await;
        stage.dispatch().await;
        stage.pass(600_000).await;
        let message = stage.message(id).await;
        assert_eq!((message.status.as_str(), message.attempts), ("unknown", 1));
    }

    async fn a_dead_process_leaves_its_attempts_to_be_found(db: TestDb) {
        let mut stage = Stage::new(&db).await;
        stage.account("smtp", json!({ "host": "mail.example.com", "port": 25, "security": "none" }), Some("Acme <acme@example.com>")).await;
        let mail = json!({ "to": { "email": "ada@example.com" }, "guarantee": "at_most_once", "content": { "subject": "Hi", "text": "Hello" } });
        let id = stage.send(mail).await;
        tidings_engine::recovery::beat(&stage.engine).await.unwrap();
        // Claimed, and then the process is gone: the future that would send is dropped.
        tidings_engine::dispatch::claim_and_forget(&stage.engine).await.unwrap();
        stage.restart();
        assert_eq!(tidings_engine::recovery::recover(&stage.engine, false).await.unwrap(), 0, "not before it has been silent for a while");
        stage.world.clock.advance_ms(31_000);
        tidings_engine::recovery::beat(&stage.engine).await.unwrap();
        assert_eq!(tidings_engine::recovery::recover(&stage.engine, false).await.unwrap(), 1);
        let message = stage.message(id).await;
        assert_eq!((message.status.as_str(), message.attempts), ("unknown", 1));
        let failure: model::Failure = serde_json::from_str(&message.failure.unwrap()).unwrap();
        assert_eq!(failure.kind, FailureKind::Unknown);
    }

    async fn a_message_waits_for_its_time_and_expires_after_it(db: TestDb) {
        let stage = Stage::new(&db).await;
        stage.account("sandbox", json!({}), None).await;
        let now = model::Clock::now(&*stage.world.clock);
        let mut later = sms("+4915112345678");
        later["send_at"] = now.plus_seconds(60).to_string().into();
        let later = stage.send(later).await;
        stage.dispatch().await;
        assert_eq!(stage.status(later).await, "scheduled");
        stage.pass(61_000).await;
        assert_ne!(stage.status(later).await, "scheduled");
        let account = stage.account("twilio", twilio_settings(), Some(TWILIO_FROM)).await;
        let now = model::Clock::now(&*stage.world.clock);
        let mut short = sms("+4915112345678");
        short["account_id"] = account.to_string().into();
        short["send_at"] = now.plus_seconds(5).to_string().into();
        short["expires_at"] = now.plus_seconds(6).to_string().into();
        let short = stage.send(short).await;
        stage.world.clock.advance_ms(10_000);
        stage.tick().await;
        assert_eq!(stage.status(short).await, "expired");
    }
}
