//! Withdrawing messages, and sending dead letters again, on both engines.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use futures_util::future::join_all;
use model::{AccountId, MessageId};
use serde_json::{Value, json};
use testkit::{Stage, TestDb, World, broken_after, broken_before, http_answer};
use tidings_engine::{
    dead_letters::{DeadLetterQuery, RetryRequest},
    export::Format,
    once::{IdempotencyKey, Repeat, Reply},
};

use crate::hooks::{neighbour, now, read, read_usage, recount, sms, taken, told, twilio, twilio_account};
use crate::setting::code;

async fn cancel(stage: &Stage, id: MessageId) -> Result<Value, &'static str> {
    let reply = stage.engine.cancel(&stage.caller, &Repeat::NONE, id).await;
    reply.map(|reply| body(&reply)).map_err(|error| error.code)
}

async fn retry(stage: &Stage, id: MessageId) -> Result<Value, &'static str> {
    let reply = stage.engine.retry(&stage.caller, &Repeat::NONE, id).await;
    reply.map(|reply| body(&reply)).map_err(|error| error.code)
}

fn body(reply: &Reply) -> Value {
    serde_json::from_slice(&reply.body).unwrap()
}

fn repeat(key: &str) -> Repeat {
    Repeat { key: Some(IdempotencyKey::parse(key).unwrap()), fingerprint: [7; 32] }
}

/// A stage whose provider is down until the switch is turned.
async fn switched(db: &TestDb) -> (Stage, AccountId, Arc<AtomicBool>) {
    let is_up = Arc::new(AtomicBool::new(false));
    let switch = Arc::clone(&is_up);
    let (stage, account) =
        twilio(db, move |_| if is_up.load(Ordering::SeqCst) { taken() } else { broken_before("connect_refused") })
            .await;
    (stage, account, switch)
}

/// A message that failed after every try.
async fn dead_letter(stage: &Stage) -> MessageId {
    let id = stage.send(sms()).await;
    stage.pass(200_000).await;
    assert_eq!(stage.status(id).await, "failed");
    id
}

/// The kinds of observations in a message's timeline, each with who said so.
async fn observed(stage: &Stage, id: MessageId) -> Vec<(String, String)> {
    let timeline = read(stage.engine.timeline(&stage.caller, id).await);
    let entries = timeline["data"].as_array().unwrap().iter().filter(|entry| entry["type"] == "observation");
    entries
        .map(|entry| (entry["kind"].as_str().unwrap().to_owned(), entry["source"].as_str().unwrap().to_owned()))
        .collect()
}

testkit::both! {
    async fn what_waits_can_be_withdrawn(db: TestDb) {
        let (stage, _) = twilio(&db, |_| taken()).await;
        let mut later = sms();
        later["send_at"] = now(&stage).plus_seconds(60).to_string().into();
        for id in [stage.send(sms()).await, stage.send(later).await] {
            assert_eq!(cancel(&stage, id).await.unwrap()["status"], "canceled");
            assert_eq!(cancel(&stage, id).await, Err("message_not_cancelable"));
            assert_eq!(observed(&stage, id).await, [("canceled".to_owned(), "system".to_owned())]);
        }
        stage.pass(120_000).await;
        assert!(stage.world.transport.calls().is_empty());
        assert_eq!(told(&stage).await, ["message.canceled", "message.canceled"]);
        assert_eq!(read_usage(&stage).await["totals"]["canceled"], json!(2));
        recount(&stage).await;
    }

    async fn a_repeated_withdrawal_answers_the_same(db: TestDb) {
        let (stage, _) = twilio(&db, |_| taken()).await;
        let id = stage.send(sms()).await;
        let first = stage.engine.cancel(&stage.caller, &repeat("k"), id).await.unwrap();
        let second = stage.engine.cancel(&stage.caller, &repeat("k"), id).await.unwrap();
        assert_eq!((first.status, first.replayed, second.replayed), (200, false, true));
        assert_eq!(first.body, second.body);
        assert_eq!(told(&stage).await, ["message.canceled"]);
    }

    async fn what_is_under_way_or_over_cannot(db: TestDb) {
        let (stage, _) = twilio(&db, |_| taken()).await;
        let id = stage.send(sms()).await;
        stage.world.transport.hold();
        let dispatch = async { stage.dispatch().await };
        let meanwhile = async {
            while stage.world.transport.calls().is_empty() {
                tokio::task::yield_now().await;
            }
            assert_eq!(cancel(&stage, id).await, Err("message_in_flight"));
            let shown = read(stage.engine.message(&stage.caller, id).await);
            assert_eq!(shown["status"], "sending");
            stage.world.transport.release();
        };
        tokio::join!(dispatch, meanwhile);
        assert_eq!(stage.status(id).await, "sent");
        assert_eq!(cancel(&stage, id).await, Err("message_not_cancelable"));
        let other = neighbour(&stage).await;
        assert_eq!(cancel(&other, id).await, Err("not_found"));
        assert_eq!(cancel(&stage, MessageId::from_ulid(5)).await, Err("not_found"));
        recount(&stage).await;
    }

    async fn withdrawing_and_sending_at_once_does_one_of_them(db: TestDb) {
        let (stage, _) = twilio(&db, |_| taken()).await;
        let mut ids = Vec::new();
        for _ in 0..20 {
            ids.push(stage.send(sms()).await);
        }
        let cancels = join_all(ids.iter().map(|id| cancel(&stage, *id)));
        let (canceled, ()) = tokio::join!(cancels, stage.dispatch());
        stage.dispatch().await;
        let mut sent = 0;
        for (id, canceled) in ids.iter().zip(&canceled) {
            let status = stage.status(*id).await;
            assert_eq!(status, if canceled.is_ok() { "canceled" } else { "sent" });
            sent += usize::from(status == "sent");
        }
        assert_eq!(stage.world.transport.calls().len(), sent, "what was withdrawn did not leave, and what left did so once");
        recount(&stage).await;
    }

    async fn a_message_that_may_have_arrived_loses_its_retry_and_is_not_called_canceled(db: TestDb) {
        let stage = Stage::in_world(World::answering(&db, |_| broken_after("timeout"))).await;
        let mail = json!({ "host": "mail.example.com", "port": 25, "security": "none" });
        stage.account("smtp", mail, Some("Acme <acme@example.com>")).await;
        let id = stage.send(json!({ "to": { "email": "ada@example.com" }, "content": { "subject": "Hi", "text": "Hello" } })).await;
        stage.dispatch().await;
        assert_eq!(stage.status(id).await, "queued", "it waits for its retry");
        assert_eq!(cancel(&stage, id).await.unwrap()["status"], "unknown");
        stage.pass(60_000).await;
        assert_eq!((stage.status(id).await, stage.world.transport.calls().len()), ("unknown", 1));
        assert!(observed(&stage, id).await.contains(&("canceled".to_owned(), "system".to_owned())));
        recount(&stage).await;
    }

    async fn a_dead_letter_is_sent_again_by_a_person(db: TestDb) {
        let (stage, _, switch) = switched(&db).await;
        let id = dead_letter(&stage).await;
        assert_eq!(read_usage(&stage).await["totals"]["failed"], json!(1));
        let list = read(stage.engine.dead_letters(&stage.caller, &DeadLetterQuery::default()).await);
        assert_eq!((&list["data"][0]["id"], list["data"][0]["dead_at"].is_string()), (&json!(id), true));
        switch.store(true, Ordering::SeqCst);
        let first = stage.engine.retry(&stage.caller, &repeat("r"), id).await.unwrap();
        assert_eq!((first.status, body(&first)["status"].clone(), body(&first)["attempts"].clone()), (202, json!("queued"), json!(5)));
        assert_eq!(read_usage(&stage).await["totals"]["failed"], json!(0));
        let replayed = stage.engine.retry(&stage.caller, &repeat("r"), id).await.unwrap();
        assert!(replayed.replayed && replayed.body == first.body);
        assert_eq!(retry(&stage, id).await, Err("message_not_retryable"), "it waits already");
        stage.dispatch().await;
        let message = stage.message(id).await;
        assert_eq!((message.status.as_str(), message.attempts, message.dead_at, message.ended_at), ("sent", 6, None, None));
        assert_eq!(observed(&stage, id).await, [("retried".to_owned(), "system".to_owned())]);
        assert_eq!(told(&stage).await, ["message.failed", "message.retried", "message.sent"]);
        assert_eq!(retry(&stage, id).await, Err("message_not_retryable"));
        let list = read(stage.engine.dead_letters(&stage.caller, &DeadLetterQuery::default()).await);
        assert_eq!(list["data"], json!([]));
        recount(&stage).await;
    }

    async fn a_retried_message_has_all_its_tries_again(db: TestDb) {
        let (stage, ..) = switched(&db).await;
        let id = dead_letter(&stage).await;
        retry(&stage, id).await.unwrap();
        stage.pass(400_000).await;
        let message = stage.message(id).await;
        assert_eq!((message.status.as_str(), message.attempts, message.dead_at.is_some()), ("failed", 10, true));
        recount(&stage).await;
    }

    async fn only_dead_letters_of_the_tenant_in_time_can_be_retried(db: TestDb) {
        let (stage, ..) = switched(&db).await;
        let mut short = sms();
        short["expires_at"] = now(&stage).plus_seconds(300).to_string().into();
        let expiring = stage.send(short).await;
        let refused = stage.send(json!({ "to": { "phone": "+15005550001" }, "channel": "sms", "content": { "text": "x" } })).await;
        stage.pass(200_000).await;
        assert_eq!(stage.status(expiring).await, "failed");
        stage.pass(200_000).await;
        assert_eq!(retry(&stage, expiring).await, Err("message_not_retryable"));
        let other = neighbour(&stage).await;
        assert_eq!(retry(&other, refused).await, Err("not_found"));
        let many = RetryRequest { ids: Some(vec![refused]), ..RetryRequest::default() };
        let reply = other.engine.retry_many(&other.caller, &Repeat::NONE, many).await.unwrap();
        assert_eq!(body(&reply)["data"][0]["error"]["code"], "not_found");
        assert_eq!(stage.status(refused).await, "failed");
    }

    async fn when_the_account_is_gone_the_default_one_takes_over(db: TestDb) {
        let (stage, account, switch) = switched(&db).await;
        let id = dead_letter(&stage).await;
        tidings_engine::accounts::delete(stage.engine.parts(), &stage.caller, account).await.unwrap();
        assert_eq!(retry(&stage, id).await, Err("message_not_retryable"), "nothing carries it any more");
        let sandbox = stage.account("sandbox", json!({}), None).await;
        switch.store(true, Ordering::SeqCst);
        let shown = retry(&stage, id).await.unwrap();
        assert_eq!((&shown["account_id"], &shown["connector"]), (&json!(sandbox), &json!("sandbox")));
        let route = stage.message(id).await.route.unwrap();
        assert!(route.contains("gone") && route.contains("sandbox"), "{route}");
        stage.dispatch().await;
        assert_eq!(stage.status(id).await, "sent");
        recount(&stage).await;
    }

    async fn what_waits_for_a_deleted_account_leaves_another_way_or_fails_with_the_reason(db: TestDb) {
        let (stage, account, _) = switched(&db).await;
        let soon = stage.send(sms()).await;
        let mut later = sms();
        later["send_at"] = json!(now(&stage).plus_seconds(3_600));
        let later = stage.send(later).await;
        let (parts, me) = (stage.engine.parts(), &stage.caller);
        assert_eq!(code(tidings_engine::accounts::delete(parts, me, account).await), "account_in_use");
        tidings_engine::accounts::force_delete(parts, me, account).await.unwrap();
        stage.dispatch().await;
        assert_eq!(stage.status(soon).await, "queued", "nothing leaves through an account that is gone");

        let sandbox = stage.account("sandbox", json!({}), None).await;
        assert_eq!(tidings_engine::waiting::reroute(&stage.engine).await.unwrap(), 2);
        let message = stage.message(soon).await;
        assert!(message.account_id == Some(sandbox) && message.route.unwrap().contains("deleted"));
        assert_eq!(stage.status(later).await, "scheduled", "its time stays");
        stage.dispatch().await;
        assert_eq!(stage.status(soon).await, "sent");

        tidings_engine::accounts::force_delete(parts, me, sandbox).await.unwrap();
        assert_eq!(tidings_engine::waiting::reroute(&stage.engine).await.unwrap(), 1);
        let message = stage.message(later).await;
        assert!(message.dead_at.is_some() && message.failure.unwrap().contains("account_deleted"));
        assert_eq!(stage.status(later).await, "failed");
        assert_eq!(tidings_engine::waiting::reroute(&stage.engine).await.unwrap(), 0);
        recount(&stage).await;
    }

    async fn many_dead_letters_are_sent_again_at_once(db: TestDb) {
        let (stage, first, switch) = switched(&db).await;
        let (second, third) = (twilio_account(&stage).await, twilio_account(&stage).await);
        let mut ids = Vec::new();
        for account in [first, second, third] {
            let mut request = sms();
            request["account_id"] = json!(account);
            ids.push(stage.send(request).await);
        }
        stage.pass(60_000).await;
        switch.store(true, Ordering::SeqCst);
        let of_second = RetryRequest { account_id: Some(second), ..RetryRequest::default() };
        let reply = stage.engine.retry_many(&stage.caller, &Repeat::NONE, of_second).await.unwrap();
        assert_eq!((reply.status, &body(&reply)["data"]), (202, &json!([{ "id": ids[1], "status": "queued" }])));
        let named = RetryRequest { ids: Some(vec![ids[0], ids[1], MessageId::from_ulid(9)]), ..RetryRequest::default() };
        let reply = body(&stage.engine.retry_many(&stage.caller, &Repeat::NONE, named).await.unwrap());
        assert_eq!(reply["data"][0], json!({ "id": ids[0], "status": "queued" }));
        assert_eq!(reply["data"][1]["error"]["code"], "message_not_retryable");
        assert_eq!(reply["data"][2]["error"]["status"], 404);
        let all = RetryRequest { all: true, ..RetryRequest::default() };
        let reply = body(&stage.engine.retry_many(&stage.caller, &Repeat::NONE, all).await.unwrap());
        assert_eq!((&reply["data"], &reply["has_more"]), (&json!([{ "id": ids[2], "status": "queued" }]), &json!(false)));
        stage.pass(120_000).await;
        for id in &ids {
            assert_eq!(stage.status(*id).await, "sent");
        }
        recount(&stage).await;
    }

    async fn dead_letters_leave_as_files(db: TestDb) {
        let (stage, ..) = switched(&db).await;
        let mut request = sms();
        request["metadata"] = json!({ "note": "=1+1, \"x\"" });
        let id = stage.send(request).await;
        stage.pass(200_000).await;
        let export = |format| stage.engine.export_dead_letters(&stage.caller, &EXPORTED, format);
        let csv = export(Format::Csv).await.unwrap();
        let text = String::from_utf8(csv.body).unwrap();
        let rows: Vec<&str> = text.lines().collect();
        assert_eq!((csv.content_type, csv.next_cursor, rows.len()), ("text/csv; charset=utf-8", None, 2));
        assert!(rows[1].starts_with(&format!("{id},")) && rows[1].contains(",'+4915112345678,"), "{}", rows[1]);
        assert!(rows[1].contains("unavailable,connect_refused,"), "{}", rows[1]);
        let lines = export(Format::Ndjson).await.unwrap();
        let line: Value = serde_json::from_slice(&lines.body).unwrap();
        assert_eq!((lines.content_type, &line["id"], &line["metadata"]["note"]), ("application/x-ndjson", &json!(id), &json!("=1+1, \"x\"")));
        let other = neighbour(&stage).await;
        let none = other.engine.export_dead_letters(&other.caller, &EXPORTED, Format::Ndjson).await.unwrap();
        assert!(none.body.is_empty());
    }

    async fn a_provider_without_messages_gives_no_dead_letters(db: TestDb) {
        let (stage, _) = twilio(&db, |_| http_answer(400, r#"{"code": 21211, "message": "Invalid 'To'", "status": 400}"#)).await;
        let id = stage.send(sms()).await;
        stage.dispatch().await;
        assert_eq!(stage.status(id).await, "failed");
        assert_eq!(retry(&stage, id).await, Err("message_not_retryable"), "a bad number stays bad");
    }
}

static EXPORTED: DeadLetterQuery =
    DeadLetterQuery { account_id: None, channel: None, since: None, until: None, limit: None, cursor: None };
