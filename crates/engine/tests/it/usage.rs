//! Usage: recipients and bytes, and counting everything again while messages go on, on both engines.

use model::Call;
use serde_json::{Value, json};
use store::Scope;
use testkit::{Stage, broken_after, broken_before};
use tidings_engine::{books, usage::UsageQuery};

use crate::hooks::{self, SID, call, read, read_usage, report, sms, taken, twilio};

fn mail(html: &str) -> Value {
    json!({"to": {"email": "ada@example.com"}, "content": {"subject": "Hi", "text": "Grüße", "html": html}})
}

fn handed(usage: &Value) -> (i64, i64) {
    (usage["recipients"].as_i64().unwrap(), usage["bytes"].as_i64().unwrap())
}

async fn totals(stage: &Stage) -> (i64, i64) {
    handed(&read_usage(stage).await["totals"])
}

/// Nothing differs from a recount, whoever makes it.
async fn adds_up(stage: &Stage) {
    assert_eq!(books::verify(&stage.world.ports.db).await.unwrap().differences, []);
    assert_eq!(stage.engine.recount(stage.tenant).await.unwrap(), 0);
}

async fn execute(stage: &Stage, sql: &'static str) {
    let write =
        stage.world.ports.db.write(Scope::System, move |tx| Box::pin(async move { tx.execute(sql, &[]).await }));
    let changed: Result<u64, store::Error> = write.await;
    assert!(changed.unwrap() > 0, "nothing was changed by {sql}");
}

testkit::both! {
    async fn what_was_handed_over_is_counted_in_bytes(db: TestDb) {
        let stage = Stage::new(&db).await;
        stage.account("sandbox", json!({}), None).await;
        // Placeholders count as what they are filled with.
        let mut request = mail("<p>{{ name }}</p>");
        request["variables"] = json!({"name": "Ada"});
        request["attachments"] = json!([{"filename": "a.txt", "content_type": "text/plain", "content_base64": "QUJDREVGR0hJSg=="}]);
        stage.send(request).await;
        stage.send(sms()).await;
        assert_eq!(totals(&stage).await, (0, 0), "nothing was handed over yet");
        stage.dispatch().await;
        let of_mail = 2 + "Grüße".len() as i64 + "<p>Ada</p>".len() as i64 + 10;
        assert_eq!(totals(&stage).await, (2, of_mail + 5));
        let by = UsageQuery { group_by: Some("day,channel,country".to_owned()), ..UsageQuery::default() };
        let rows = read(stage.engine.usage(&stage.caller, &by).await)["data"].clone();
        let found: Vec<_> = rows.as_array().unwrap().iter().map(|row| (row["channel"].as_str().unwrap(), handed(row))).collect();
        assert_eq!(found, [("email", (1, of_mail)), ("sms", (1, 5))]);
        adds_up(&stage).await;
        // A sum that is wrong is found, and put right: by slot, by day and by month.
        for table in ["UPDATE usage_counters SET bytes = bytes + 1", "UPDATE message_counters SET bytes = bytes + 1", "UPDATE message_days SET bytes = bytes + 1"] {
            execute(&stage, table).await;
            assert_ne!(books::verify(&stage.world.ports.db).await.unwrap().differences, [], "{table}");
            assert!(stage.engine.recount(stage.tenant).await.unwrap() > 0, "{table}");
            assert_eq!(totals(&stage).await, (2, of_mail + 5));
            adds_up(&stage).await;
        }
    }

    async fn each_way_a_message_left_was_handed_over(db: TestDb) {
        let (stage, _) = twilio(&db, |_| taken()).await;
        stage.account("sandbox", json!({}), None).await;
        stage.send(json!({
            "to": {"phone": "+4915112345678", "email": "ada@example.com"}, "channel": ["sms", "email"], "fallback_after_s": 60,
            "content": {"subject": "Hi", "text": "Hello"},
        })).await;
        stage.dispatch().await;
        assert_eq!(totals(&stage).await, (1, 5));
        stage.pass(90_000).await;
        assert_eq!(totals(&stage).await, (2, 5 + 7));
        adds_up(&stage).await;
    }

    async fn what_was_not_taken_counts_nothing_and_what_was_found_out_later_counts(db: TestDb) {
        let (stage, account) = twilio(&db, |call| match call {
            Call::Http(http) if String::from_utf8_lossy(&http.body).contains("refused") => broken_before("refused"),
            _ => broken_after("lost"),
        }).await;
        let text = |text: &str| json!({"to": {"phone": "+4915112345678"}, "channel": "sms", "guarantee": "at_most_once", "content": {"text": text}});
        stage.send(text("refused")).await;
        let lost = stage.send(text("Hello you")).await;
        stage.dispatch().await;
        assert_eq!(totals(&stage).await, (0, 0));
        call(&stage, account, report(account, Some(lost), SID, "delivered")).await.unwrap();
        assert_eq!(totals(&stage).await, (1, 9));
        adds_up(&stage).await;
        hooks::recount(&stage).await;
    }

    async fn messages_go_on_while_they_are_counted_again(db: TestDb) {
        let stage = Stage::new(&db).await;
        stage.account("sandbox", json!({}), None).await;
        for round in 0..25 {
            for _ in 0..8 {
                stage.send(sms()).await;
            }
            // As after an upgrade: what the tenant's clock showed is to be noted with each.
            execute(&stage, "UPDATE messages SET clock = NULL").await;
            let (counted, ()) = tokio::join!(stage.engine.recount(stage.tenant), stage.dispatch());
            counted.unwrap_or_else(|error| panic!("round {round}: {error:?}"));
        }
        assert_eq!(read_usage(&stage).await["totals"]["sent"], json!(200));
        assert_eq!(stage.engine.recount(stage.tenant).await.unwrap(), 0);
        adds_up(&stage).await;
    }
}
