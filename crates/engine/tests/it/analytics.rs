//! Figures over time and usage by day, account and country, on both engines: they say what a recount of the messages says.

use serde_json::{Value, json};
use testkit::{Stage, TestDb};
use tidings_engine::{analytics::AnalyticsQuery, keys::Caller, usage::UsageQuery};

use crate::{
    hooks::{SID, call, neighbour, read, report, sms, taken, twilio},
    setting::column,
};

async fn figures(stage: &Stage, query: Value) -> Value {
    let query: AnalyticsQuery = serde_json::from_value(query).unwrap();
    read(stage.engine.analytics(&stage.caller, &query).await)
}

async fn usage(stage: &Stage, query: Value) -> Value {
    let query: UsageQuery = serde_json::from_value(query).unwrap();
    read(stage.engine.usage(&stage.caller, &query).await)
}

async fn scribble(db: &TestDb) {
    let write = db.db.write(store::Scope::System, |tx| {
        Box::pin(async move { tx.execute("UPDATE message_counters SET delivered = delivered + 1", &[]).await })
    });
    assert!(write.await.unwrap() > 0);
}

testkit::both! {
    async fn what_became_of_messages_is_told_by_period_and_group(db: TestDb) {
        let (stage, account) = twilio(&db, |_| taken()).await;
        stage.account("sandbox", json!({}), None).await;
        let id = stage.send(sms()).await;
        stage.dispatch().await;
        stage.world.clock.advance_ms(3_000);
        call(&stage, account, report(account, Some(id), SID, "delivered")).await.unwrap();
        let told = figures(&stage, json!({ "interval": "day", "group_by": "channel,account,country" })).await;
        let row = &told["data"][0];
        assert_eq!(told["data"].as_array().unwrap().len(), 1, "{told}");
        assert_eq!((&row["channel"], &row["account_id"], &row["country"]), (&json!("sms"), &json!(account), &json!("DE")));
        assert_eq!((&row["accepted"], &row["sent"], &row["delivered"]), (&json!(1), &json!(1), &json!(1)));
        assert_eq!(row["delivery_median_ms"], 5_000, "three seconds lie in the bucket that ends at five");
        assert_eq!(row["period"].as_str().unwrap().len(), "2026-11-29T00:00:00.000000Z".len());
        assert_eq!(figures(&stage, json!({ "channel": "email" })).await["totals"]["accepted"], 0);
        assert_eq!(figures(&stage, json!({ "country": "DE" })).await["totals"]["delivered"], 1);
        let query: AnalyticsQuery = serde_json::from_value(json!({ "group_by": "country" })).unwrap();
        let csv = String::from_utf8(stage.engine.analytics_csv(&stage.caller, &query).await.unwrap()).unwrap();
        assert!(csv.starts_with("country,accepted,sent,delivered,") && csv.contains("\r\nDE,1,1,1,"), "{csv}");
        let other = neighbour(&stage).await;
        assert_eq!(figures(&other, json!({})).await["totals"]["accepted"], 0);
        let everybody: AnalyticsQuery = serde_json::from_value(json!({ "group_by": "tenant" })).unwrap();
        let told = read(stage.engine.analytics(&Caller::system(None), &everybody).await);
        assert_eq!((&told["data"][0]["tenant_id"], &told["data"][0]["sent"]), (&json!(stage.tenant), &json!(1)));
    }

    async fn a_failure_is_told_by_its_reason(db: TestDb) {
        let (stage, account) = twilio(&db, |_| taken()).await;
        let id = stage.send(sms()).await;
        stage.dispatch().await;
        let mut failed = report(account, Some(id), SID, "undelivered");
        failed = crate::hooks::signed_with(crate::hooks::TOKEN, account, &failed.query, &[("MessageSid", SID), ("MessageStatus", "undelivered"), ("ErrorCode", "30005")]);
        call(&stage, account, failed).await.unwrap();
        let totals = figures(&stage, json!({})).await["totals"].clone();
        assert_eq!((&totals["failed"], &totals["failed_by_reason"]["recipient"]), (&json!(1), &json!(1)), "{totals}");
        assert_eq!(stage.engine.recount(stage.tenant).await.unwrap(), 0);
    }

    async fn the_running_sums_equal_a_recount(db: TestDb) {
        let (stage, account) = twilio(&db, |_| taken()).await;
        stage.account("sandbox", json!({}), None).await;
        for (n, to) in ["+4915112345678", "+12025550123", "+919876543210"].iter().enumerate() {
            let mut request = sms();
            request["to"]["phone"] = json!(to);
            let id = stage.send(request).await;
            stage.dispatch().await;
            stage.world.clock.advance_ms(40 * 60_000);
            if n == 1 {
                call(&stage, account, report(account, Some(id), SID, "delivered")).await.unwrap();
            }
        }
        stage.send(json!({ "to": { "email": "ada@example.com" }, "purpose": "marketing", "content": { "subject": "Hi", "text": "x" } })).await;
        assert_eq!(stage.engine.recount(stage.tenant).await.unwrap(), 0, "nothing was wrong");
        let before = figures(&stage, json!({ "interval": "hour", "group_by": "channel,provider,account,purpose,country,campaign,template,topic" })).await;
        assert_eq!(before["data"].as_array().unwrap().len(), 4, "{before}");
        scribble(&db).await;
        assert!(stage.engine.recount(stage.tenant).await.unwrap() > 0);
        assert_eq!(figures(&stage, json!({ "interval": "hour", "group_by": "channel,provider,account,purpose,country,campaign,template,topic" })).await, before);
        assert_eq!(stage.engine.recount(stage.tenant).await.unwrap(), 0);
        assert_eq!(column(&db, "SELECT CAST(SUM(accepted) AS TEXT) FROM message_counters").await, "4");
    }

    async fn usage_is_told_by_day_account_and_country(db: TestDb) {
        let (stage, account) = twilio(&db, |_| taken()).await;
        stage.send(sms()).await;
        let month = usage(&stage, json!({})).await;
        let rows = usage(&stage, json!({ "group_by": "day,account,country" })).await;
        let row = &rows["data"][0];
        assert_eq!((&row["account_id"], &row["country"], &row["accepted"]), (&json!(account), &json!("DE"), &json!(1)));
        assert_eq!(rows["totals"], month["totals"], "both counters say the same");
        let today = row["day"].as_str().unwrap();
        assert_eq!(usage(&stage, json!({ "day": today })).await["data"][0]["provider"], "twilio");
        assert_eq!(usage(&stage, json!({ "day": format!("{}-01", month["month"].as_str().unwrap()) })).await["totals"]["accepted"], i64::from(today.ends_with("-01")));
        let bad: UsageQuery = serde_json::from_value(json!({ "day": "2026-02-30" })).unwrap();
        assert_eq!(stage.engine.usage(&stage.caller, &bad).await.unwrap_err().errors[0].pointer, "?day");
    }
}
