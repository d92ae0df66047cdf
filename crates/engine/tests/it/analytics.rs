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
        Box::pin(async move {
            tx.execute("UPDATE message_days SET accepted = accepted + 1", &[]).await?;
            tx.execute("UPDATE message_counters SET delivered = delivered + 1", &[]).await
        })
    });
    assert!(write.await.unwrap() > 0);
}

/// Sums as the migration that made days of them leaves them: no clock, no day, neither cost nor what waits.
pub async fn as_an_earlier_version_left_it(db: &TestDb) {
    let write = db.db.write(store::Scope::System, |tx| {
        Box::pin(async move {
            tx.execute("UPDATE messages SET clock = NULL", &[]).await?;
            tx.execute("DELETE FROM message_days", &[]).await?;
            tx.execute("UPDATE message_counters SET clock = 0, currency = '', waiting = 0", &[]).await?;
            store::installation::put(tx, "sums_to_recount", "all").await
        })
    });
    write.await.unwrap();
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
        let before = figures(&stage, json!({ "interval": "hour", "group_by": "channel,provider,account,purpose,country,campaign,template,topic,variant" })).await;
        assert_eq!(before["data"].as_array().unwrap().len(), 4, "{before}");
        scribble(&db).await;
        assert!(stage.engine.recount(stage.tenant).await.unwrap() > 0);
        assert_eq!(figures(&stage, json!({ "interval": "hour", "group_by": "channel,provider,account,purpose,country,campaign,template,topic,variant" })).await, before);
        assert_eq!(stage.engine.recount(stage.tenant).await.unwrap(), 0);
        assert_eq!(column(&db, "SELECT CAST(SUM(accepted) AS TEXT) FROM message_counters").await, "4");
    }

    async fn a_reply_is_told_with_how_long_it_took(db: TestDb) {
        let (stage, account) = twilio(&db, |_| taken()).await;
        let (first, last) = (stage.send(sms()).await, stage.send(sms()).await);
        stage.dispatch().await;
        stage.world.clock.advance_ms(4 * 60_000);
        let form = [("MessageSid", "SM1"), ("From", "+4915112345678"), ("To", "+15550100001"), ("Body", "Thanks")];
        call(&stage, account, crate::hooks::signed_with(crate::hooks::TOKEN, account, "", &form)).await.unwrap();
        call(&stage, account, crate::hooks::signed_with(crate::hooks::TOKEN, account, "", &[("MessageSid", "SM2"), ("From", "+4915112345678"), ("To", "+15550100001"), ("Body", "A lot")])).await.unwrap();
        assert!(stage.message(last).await.engagement.replied_at.is_some());
        assert_eq!(stage.message(first).await.engagement.replied_at, None, "the newest is answered");
        let totals = figures(&stage, json!({})).await["totals"].clone();
        assert_eq!((&totals["replied"], &totals["response_median_ms"]), (&json!(1), &json!(300_000)), "{totals}");
        let told = crate::hooks::told(&stage).await;
        assert_eq!(told.iter().filter(|kind| *kind == "message.replied").count(), 1, "{told:?}");
        assert_eq!(stage.engine.recount(stage.tenant).await.unwrap(), 0);
    }

    async fn cost_is_told_as_it_is_charged(db: TestDb) {
        let (stage, account) = twilio(&db, |_| taken()).await;
        let operator = Caller::system(None);
        let rows = json!([{ "channel": "sms", "unit": "segment", "amount_micros": 7_500 }]);
        let list = serde_json::from_value(json!({ "currency": "USD", "rows": rows })).unwrap();
        tidings_engine::money::prices::create(stage.engine.parts(), &operator, &tidings_engine::once::Repeat::NONE, list).await.unwrap();
        let mode = serde_json::from_value(json!({ "mode": "postpaid" })).unwrap();
        tidings_engine::money::credits::patch(stage.engine.parts(), &stage.caller, mode).await.unwrap();
        let mut long = sms();
        long["content"]["text"] = json!("x".repeat(200));
        let id = stage.send(long).await;
        let usd = |micros: i64| json!([{ "amount_micros": micros, "currency": "USD" }]);
        assert_eq!(figures(&stage, json!({})).await["totals"]["costs"], usd(15_000), "two parts are quoted");
        stage.dispatch().await;
        assert_eq!(figures(&stage, json!({})).await["totals"]["costs"], usd(7_500), "the provider counted one");
        call(&stage, account, report(account, Some(id), SID, "delivered")).await.unwrap();
        assert_eq!(figures(&stage, json!({ "group_by": "channel" })).await["data"][0]["cost_per_delivered"], usd(7_500));
        assert_eq!(stage.engine.recount(stage.tenant).await.unwrap(), 0);
    }

    async fn what_tidings_answers_counts_on_the_tenants_clock(db: TestDb) {
        let (stage, account) = twilio(&db, |_| taken()).await;
        let change = serde_json::from_value(json!({ "timezone": "Asia/Kathmandu" })).unwrap();
        tidings_engine::tenants::patch(stage.engine.parts(), &stage.caller, stage.tenant, change).await.unwrap();
        // Five past midnight there.
        stage.world.clock.set("2026-12-16T18:20:00Z".parse().unwrap());
        for (id, text) in [("SM1", "HELP"), ("SM2", "STOP")] {
            let wrote = crate::hooks::signed_with(crate::hooks::TOKEN, account, "", &[("MessageSid", id), ("From", "+4915112345678"), ("To", "+15550100001"), ("Body", text), ("NumMedia", "0")]);
            call(&stage, account, wrote).await.unwrap();
        }
        let told = figures(&stage, json!({ "since": "2026-12-16", "interval": "day", "group_by": "topic" })).await;
        let periods: Vec<_> = told["data"].as_array().unwrap().iter().map(|row| (row["topic"].as_str().unwrap(), row["period"].as_str().unwrap())).collect();
        let midnight = "2026-12-16T18:15:00.000000Z";
        assert_eq!(periods, [("reply:help", midnight), ("reply:stop", midnight)], "{told}");
        assert_eq!(stage.engine.recount(stage.tenant).await.unwrap(), 0);
    }

    async fn sums_of_an_earlier_version_are_counted_again_once(db: TestDb) {
        let (stage, _) = twilio(&db, |_| taken()).await;
        let change = serde_json::from_value(json!({ "timezone": "Asia/Kathmandu" })).unwrap();
        tidings_engine::tenants::patch(stage.engine.parts(), &stage.caller, stage.tenant, change).await.unwrap();
        for at in ["2026-12-01T18:14:00Z", "2026-12-01T18:16:00Z"] {
            stage.world.clock.set(at.parse().unwrap());
            stage.send(sms()).await;
        }
        stage.dispatch().await;
        let told = async || {
            let hours = figures(&stage, json!({ "since": "2026-12-01", "interval": "hour" })).await;
            (hours, figures(&stage, json!({ "since": "2026-12-01", "interval": "day" })).await)
        };
        let before = told().await;
        assert_eq!(before.0["data"].as_array().unwrap().len(), 2, "{}", before.0);
        // As the migration leaves them: no clock, no day, and sums by half hour.
        let run = |sql: &'static str| db.db.write(store::Scope::System, move |tx| Box::pin(async move { tx.execute(sql, &[]).await }));
        for sql in [
            "UPDATE messages SET clock = NULL",
            "DELETE FROM message_days",
            "UPDATE message_counters SET clock = 0, currency = '', waiting = 0, accepted = 3",
            "INSERT INTO installation (name, value) VALUES ('sums_to_recount', 'all')",
        ] {
            run(sql).await.unwrap();
        }
        assert!(!tidings_engine::books::daily(&stage.engine).await.unwrap(), "sums of an earlier version are not wrong");
        assert!(tidings_engine::analytics::recount_pending(&stage.engine).await.unwrap() > 0);
        assert_eq!(told().await, before);
        assert_eq!(tidings_engine::analytics::recount_pending(&stage.engine).await.unwrap(), 0, "once");
        assert_eq!(tidings_engine::books::verify(&db.db).await.unwrap().differences, []);
    }

    async fn figures_are_right_while_an_upgrade_counts_them_again(db: TestDb) {
        let (stage, _) = twilio(&db, |_| taken()).await;
        let change = serde_json::from_value(json!({ "timezone": "Asia/Kolkata" })).unwrap();
        tidings_engine::tenants::patch(stage.engine.parts(), &stage.caller, stage.tenant, change).await.unwrap();
        let other = neighbour(&stage).await;
        crate::hooks::twilio_account(&other).await;
        for at in ["2026-11-28T18:29:00Z", "2026-11-28T18:31:00Z", "2026-12-01T09:00:00Z", "2026-12-01T10:00:00Z"] {
            stage.world.clock.set(at.parse().unwrap());
            stage.send(sms()).await;
        }
        other.send(sms()).await;
        stage.dispatch().await;
        let told = async || {
            let ask = |interval: &str| json!({ "since": "2026-11-01", "interval": interval, "group_by": "channel,country" });
            let mine = [figures(&stage, ask("day")).await, figures(&stage, ask("month")).await, figures(&stage, ask("all")).await];
            (mine, figures(&other, ask("day")).await["totals"].clone())
        };
        let before = told().await;
        let days: Vec<_> = before.0[0]["data"].as_array().unwrap().iter().map(|row| row["sent"].as_i64().unwrap()).collect();
        assert_eq!((days, &before.1["sent"]), (vec![1, 1, 2], &json!(1)));
        // As the migration leaves it; and the neighbour keeps the sums of messages that are gone.
        as_an_earlier_version_left_it(&db).await;
        let gone = other.tenant;
        let remove = db.db.write(store::Scope::System, move |tx| {
            Box::pin(async move { tx.execute("DELETE FROM messages WHERE tenant_id = $1", &[&gone]).await })
        });
        assert_eq!(remove.await.unwrap(), 1);
        assert_eq!(told().await, before, "before counting began");
        let mut counting = std::pin::pin!(tidings_engine::analytics::recount_pending(&stage.engine));
        let mut asked = 0;
        while futures_util::poll!(&mut counting).is_pending() {
            assert_eq!(told().await, before, "after {asked} looks");
            asked += 1;
        }
        assert!(asked > 3, "it was asked {asked} times in the middle");
        assert_eq!(told().await, before, "when all is counted");
        assert_eq!(column(&db, "SELECT CAST(SUM(sent) AS TEXT) FROM message_days").await, "5", "those without messages have days, too");
        assert_eq!(column(&db, "SELECT value FROM installation WHERE name = 'sums_to_recount'").await, "done");
    }

    async fn counting_again_goes_on_with_the_tenant_it_was_at(db: TestDb) {
        let (stage, _) = twilio(&db, |_| taken()).await;
        let other = neighbour(&stage).await;
        crate::hooks::twilio_account(&other).await;
        for of in [&stage, &other] {
            of.send(sms()).await;
        }
        stage.dispatch().await;
        scribble(&db).await;
        let reached = other.tenant.to_string();
        let put = db.db.write(store::Scope::System, move |tx| {
            Box::pin(async move { store::installation::put(tx, "sums_to_recount", &reached).await })
        });
        put.await.unwrap();
        let accepted = async |of: &Stage| figures(of, json!({ "interval": "day" })).await["totals"]["accepted"].clone();
        let (mine, theirs) = (accepted(&stage).await, accepted(&other).await);
        assert!(mine == json!(1) && theirs.as_i64() > Some(1), "the newer one was counted and is read by day: {mine}, {theirs}");
        assert!(tidings_engine::analytics::recount_pending(&stage.engine).await.unwrap() > 0);
        assert_eq!((accepted(&stage).await, accepted(&other).await), (json!(1), theirs), "and is not counted once more");
        assert_eq!(stage.engine.recount(stage.tenant).await.unwrap(), 0);
    }

    async fn hours_begin_on_the_tenants_clock_also_where_that_is_off_by_a_quarter(db: TestDb) {
        let (stage, _) = twilio(&db, |_| taken()).await;
        let change = serde_json::from_value(json!({ "timezone": "Asia/Kathmandu" })).unwrap();
        tidings_engine::tenants::patch(stage.engine.parts(), &stage.caller, stage.tenant, change).await.unwrap();
        // In Kathmandu an hour, and this one a day, begins at a quarter past.
        for at in ["2026-12-01T18:14:59Z", "2026-12-01T18:15:00Z", "2026-12-01T18:29:00Z", "2026-12-01T18:31:00Z", "2026-12-01T19:15:00Z"] {
            stage.world.clock.set(at.parse().unwrap());
            stage.send(sms()).await;
        }
        stage.dispatch().await;
        let told = async |interval: &str| {
            let told = figures(&stage, json!({ "since": "2026-12-01", "interval": interval })).await;
            let rows = told["data"].as_array().unwrap().iter();
            rows.map(|row| (row["period"].as_str().unwrap()[..16].to_owned(), row["sent"].as_i64().unwrap())).collect::<Vec<_>>()
        };
        let rows = |rows: &[(&str, i64)]| rows.iter().map(|(at, n)| ((*at).to_owned(), *n)).collect::<Vec<_>>();
        assert_eq!(told("hour").await, rows(&[("2026-12-01T17:15", 1), ("2026-12-01T18:15", 3), ("2026-12-01T19:15", 1)]));
        assert_eq!(told("day").await, rows(&[("2026-11-30T18:15", 1), ("2026-12-01T18:15", 4)]));
        assert_eq!(told("month").await, rows(&[("2026-11-30T18:15", 5)]));
        assert_eq!(figures(&stage, json!({ "since": "2026-12-02" })).await["totals"]["sent"], 4, "from midnight on");
        // The operator's hours are those of the world's clock.
        let everybody: AnalyticsQuery = serde_json::from_value(json!({ "since": "2026-12-01", "interval": "hour" })).unwrap();
        let all = read(stage.engine.analytics(&Caller::system(None), &everybody).await);
        let sent: Vec<_> = all["data"].as_array().unwrap().iter().map(|row| row["sent"].as_i64().unwrap()).collect();
        assert_eq!(sent, [4, 1]);
        assert_eq!(stage.engine.recount(stage.tenant).await.unwrap(), 0);
    }

    async fn messages_from_before_the_sums_are_counted_too(db: TestDb) {
        let (stage, _) = twilio(&db, |_| taken()).await;
        for _ in 0..3 {
            stage.send(sms()).await;
            stage.dispatch().await;
            stage.world.clock.advance_ms(50 * 60_000);
        }
        let before = figures(&stage, json!({ "interval": "hour" })).await;
        let forget = |sql: &'static str| db.db.write(store::Scope::System, move |tx| Box::pin(async move { tx.execute(sql, &[]).await }));
        forget("DELETE FROM message_counters").await.unwrap();
        assert_eq!(stage.engine.recount(stage.tenant).await.unwrap(), 3);
        assert_eq!(figures(&stage, json!({ "interval": "hour" })).await, before);
        // Sums of messages that were removed stay.
        forget("DELETE FROM messages WHERE id IN (SELECT id FROM messages ORDER BY id LIMIT 1)").await.unwrap();
        let kept = figures(&stage, json!({})).await["totals"]["accepted"].clone();
        stage.engine.recount(stage.tenant).await.unwrap();
        assert_eq!((kept, figures(&stage, json!({})).await["totals"]["accepted"].clone()), (json!(3), json!(3)));
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
