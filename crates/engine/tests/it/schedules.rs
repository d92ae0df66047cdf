//! Messages that repeat: each occurrence once, whatever happens in between.

use engine::{Error, once::Repeat, schedules};
use model::{ScheduleId, Timestamp};
use serde_json::{Value, json};
use store::Scope;
use testkit::{Stage, TestDb};

/// A minute, in milliseconds.
const MINUTE: i64 = 60_000;

fn mail() -> Value {
    json!({ "to": { "email": "ada@example.com" }, "content": { "subject": "Hi", "text": "Hello" } })
}

async fn stage(db: &TestDb) -> Stage {
    let stage = Stage::new(db).await;
    stage.account("sandbox", json!({}), None).await;
    stage
}

async fn make(stage: &Stage, new: Value) -> Result<Value, Error> {
    let new = serde_json::from_value(new).unwrap();
    let reply = schedules::create(&stage.engine, &stage.caller, &Repeat::NONE, new).await?;
    Ok(serde_json::from_slice(&reply.body).unwrap())
}

/// A schedule of every ten minutes: the stage begins at half past nine, so the first is five minutes away.
async fn every_ten_minutes(stage: &Stage) -> ScheduleId {
    let made =
        make(stage, json!({ "name": "Often", "cron": "5-55/10 * * * *", "timezone": "UTC", "message": mail() })).await;
    made.unwrap()["id"].as_str().unwrap().parse().unwrap()
}

async fn fire(stage: &Stage) {
    schedules::fire(&stage.engine).await.unwrap();
}

/// (outcome, has a message) of what is recorded, the earliest first.
async fn past(stage: &Stage, id: ScheduleId) -> Vec<(String, bool)> {
    let seen = schedules::occurrences(&stage.engine, &stage.caller, id, None).await.unwrap();
    let seen = serde_json::to_value(&seen.past).unwrap();
    let mut seen: Vec<_> = seen
        .as_array()
        .unwrap()
        .iter()
        .map(|o| (o["state"].as_str().unwrap().to_owned(), !o["message_id"].is_null()))
        .collect();
    seen.reverse();
    seen
}

async fn messages(stage: &Stage) -> u64 {
    let tenant = stage.tenant;
    let read = stage.world.ports.db.read(Scope::System, move |tx| {
        Box::pin(async move {
            let sql = "SELECT COUNT(*) FROM messages WHERE tenant_id = $1";
            tx.row(sql, &[&tenant]).await?.map_or(Ok(0), |mut row| row.get(0))
        })
    });
    let count: Result<u64, store::Error> = read.await;
    count.unwrap()
}

fn sent() -> (String, bool) {
    ("sent".to_owned(), true)
}

testkit::both! {
    async fn each_occurrence_brings_one_message(db: TestDb) {
        let stage = stage(&db).await;
        let id = every_ten_minutes(&stage).await;
        for _ in 0..30 {
            stage.world.clock.advance_ms(MINUTE as u64);
            fire(&stage).await;
            fire(&stage).await;
        }
        assert_eq!(past(&stage, id).await, vec![sent(); 3]);
        assert_eq!(messages(&stage).await, 3);
        assert_eq!(schedules::get(&stage.engine, &stage.caller, id).await.unwrap().fired, 3);
    }

    async fn two_processes_fire_it_once(db: TestDb) {
        let mut stage = stage(&db).await;
        let id = every_ten_minutes(&stage).await;
        let first = std::sync::Arc::clone(&stage.engine);
        stage.restart();
        for _ in 0..4 {
            stage.world.clock.advance_ms(10 * MINUTE as u64);
            let (one, two) = tokio::join!(schedules::fire(&first), schedules::fire(&stage.engine));
            one.unwrap();
            two.unwrap();
        }
        assert_eq!(past(&stage, id).await, vec![sent(); 4]);
        assert_eq!(messages(&stage).await, 4);
    }

    async fn what_was_missed_is_caught_up_with_as_told(db: TestDb) {
        let mut stage = stage(&db).await;
        let last = every_ten_minutes(&stage).await;
        let none = make(&stage, json!({ "name": "Not late", "cron": "5-55/10 * * * *", "catch_up": "none", "timezone": "UTC", "message": mail() })).await.unwrap();
        let none = none["id"].as_str().unwrap().parse().unwrap();
        stage.world.clock.advance_ms(57 * MINUTE as u64);
        stage.restart();
        fire(&stage).await;
        fire(&stage).await;
        assert_eq!(past(&stage, last).await, [("missed".to_owned(), false), sent()]);
        assert_eq!(past(&stage, none).await, [("missed".to_owned(), false), sent()], "what is two minutes late is not missed");
        stage.world.clock.advance_ms(10 * MINUTE as u64);
        fire(&stage).await;
        assert_eq!(past(&stage, none).await, [("missed".to_owned(), false), sent(), sent()]);
    }

    async fn one_occurrence_or_all_are_canceled(db: TestDb) {
        let stage = stage(&db).await;
        let id = every_ten_minutes(&stage).await;
        let next = schedules::get(&stage.engine, &stage.caller, id).await.unwrap().next_at.unwrap();
        let cancel = async |occurrence: Option<Timestamp>| {
            let what = schedules::CancelSchedule { occurrence };
            schedules::cancel(&stage.engine, &stage.caller, &Repeat::NONE, id, what).await
        };
        let error = cancel(Some(next.plus_millis(1))).await.unwrap_err();
        assert_eq!(error.errors[0].pointer, "/occurrence");
        cancel(Some(next)).await.unwrap();
        for _ in 0..2 {
            stage.world.clock.advance_ms(10 * MINUTE as u64);
            fire(&stage).await;
        }
        assert_eq!(past(&stage, id).await, [("canceled".to_owned(), false), sent()]);
        cancel(None).await.unwrap();
        stage.world.clock.advance_ms(30 * MINUTE as u64);
        fire(&stage).await;
        assert_eq!(messages(&stage).await, 1);
        let view = schedules::get(&stage.engine, &stage.caller, id).await.unwrap();
        assert_eq!((view.state, view.next_at), (schedules::ScheduleState::Canceled, None));
    }

    async fn a_refused_occurrence_is_recorded_and_the_next_one_comes(db: TestDb) {
        let stage = stage(&db).await;
        let id = every_ten_minutes(&stage).await;
        let suspend = async |state: &str| {
            let change = serde_json::from_value(json!({ "state": state })).unwrap();
            engine::tenants::patch(stage.engine.parts(), &engine::keys::Caller::system(None), stage.tenant, change).await.unwrap();
            stage.engine.directory.refresh().await.unwrap();
        };
        suspend("suspended").await;
        stage.world.clock.advance_ms(10 * MINUTE as u64);
        fire(&stage).await;
        suspend("active").await;
        stage.world.clock.advance_ms(10 * MINUTE as u64);
        fire(&stage).await;
        assert_eq!(past(&stage, id).await, [("failed".to_owned(), false), sent()]);
    }

    async fn a_schedule_ends_and_a_changed_one_goes_on_from_now(db: TestDb) {
        let stage = stage(&db).await;
        let made = make(&stage, json!({ "name": "Twice", "rrule": "FREQ=HOURLY;COUNT=2", "timezone": "UTC", "message": mail() })).await.unwrap();
        let id: ScheduleId = made["id"].as_str().unwrap().parse().unwrap();
        for _ in 0..4 {
            fire(&stage).await;
            stage.world.clock.advance_ms(60 * MINUTE as u64);
        }
        let view = schedules::get(&stage.engine, &stage.caller, id).await.unwrap();
        assert_eq!((view.state, view.fired), (schedules::ScheduleState::Ended, 2));
        let change = serde_json::from_value(json!({ "rrule": null, "cron": "*/10 * * * *" })).unwrap();
        let view = schedules::patch(&stage.engine, &stage.caller, id, change).await.unwrap();
        assert_eq!((view.state, view.rrule, view.cron.as_deref()), (schedules::ScheduleState::Active, None, Some("*/10 * * * *")));
        schedules::delete(&stage.engine, &stage.caller, id).await.unwrap();
        assert_eq!(schedules::get(&stage.engine, &stage.caller, id).await.unwrap_err().code, "not_found");
        stage.world.clock.advance_ms(60 * MINUTE as u64);
        fire(&stage).await;
        assert_eq!(messages(&stage).await, 2);
    }

    async fn what_could_never_be_sent_is_refused_at_once(db: TestDb) {
        let stage = stage(&db).await;
        for (change, pointer) in [
            (json!({ "message": { "to": { "email": "ada@example.com" }, "content": { "subject": "{{ name }}", "text": "x" } } }), "/message/content/subject"),
            (json!({ "message": { "to": { "email": "ada" } } }), "/message/to/email"),
            (json!({ "message": { "to": { "email": "ada@example.com" }, "send_at": "2027-01-01T00:00:00Z" } }), "/message/send_at"),
            (json!({ "name": " " }), "/name"),
            (json!({ "rrule": "FREQ=DAILY" }), "/rrule"),
            (json!({ "cron": null }), "/rrule"),
            (json!({ "cron": "0 9 30 2 *" }), "/cron"),
            (json!({ "ends_at": "2020-01-01T00:00:00Z" }), "/ends_at"),
            (json!({ "timezone": "Europe/Bern" }), "/timezone"),
        ] {
            let mut new = json!({ "name": "Daily", "cron": "0 9 * * *", "message": mail() });
            new.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
            let error = make(&stage, new).await.unwrap_err();
            assert_eq!(error.errors.first().map(|field| field.pointer.as_str()), Some(pointer), "{change}: {}", error.detail);
        }
    }
}
