//! Prices on both engines: what a message costs when it goes another way, when a thousand of it cost a few millionths, and what promotional credit pays of it.

use engine::{
    accounts,
    keys::Caller,
    money::{
        credits::{self, Credits, CreditsPatch},
        marks, prices, sheet,
        what_if::WhatIf,
    },
    once::Repeat,
    reconciliations, tenants,
};
use model::{AccountId, Call, MessageId};
use serde_json::{Value, json};
use testkit::{Stage, TestDb, World, broken_before, http_answer};

use crate::hooks;
use crate::setting::{body, column, pointers};

/// A stage whose tenant pays ahead at these prices.
async fn at_prices(db: &TestDb, credit: i64, rows: Value) -> Stage {
    let stage = Stage::new(db).await;
    stage.account("sandbox", json!({}), None).await;
    pay_ahead(&stage, credit, rows).await;
    stage
}

async fn pay_ahead(stage: &Stage, credit: i64, rows: Value) {
    list(stage, rows).await;
    change(stage, json!({ "mode": "prepaid" })).await;
    let new = body(json!({ "amount_micros": credit, "reference": "bank" }));
    credits::purchase(stage.engine.parts(), &stage.caller, &Repeat::NONE, new).await.unwrap();
}

/// A stage whose tenant pays 7 for an SMS through Twilio, which cannot be reached, and 3 through the sandbox.
async fn with_a_dear_account(db: &TestDb) -> (Stage, AccountId) {
    let stage = Stage::in_world(World::answering(db, |_| broken_before("connect_refused"))).await;
    let settings = json!({ "account_sid": format!("AC{:032}", 1), "auth_token": "0123456789abcdef0123456789abcdef" });
    let dear = stage.account("twilio", settings, Some("+15550100001")).await;
    let rows = json!([{ "channel": "sms", "unit": "message", "amount_micros": 7 }, { "channel": "sms", "provider": "sandbox", "unit": "message", "amount_micros": 3 }]);
    pay_ahead(&stage, 100, rows).await;
    (stage, dear)
}

fn sms() -> Value {
    json!({ "to": { "phone": "+254700000001" }, "channel": "sms", "content": { "text": "Hello" } })
}

async fn list(stage: &Stage, rows: Value) {
    let new = body(json!({ "currency": "USD", "rows": rows }));
    prices::create(stage.engine.parts(), &Caller::system(None), &Repeat::NONE, new).await.unwrap();
}

async fn change(stage: &Stage, change: Value) -> Credits {
    let change: CreditsPatch = body(change);
    credits::patch(stage.engine.parts(), &stage.caller, change).await.unwrap()
}

/// Available, reserved, spent and promotional; everything must add up.
async fn balance(stage: &Stage) -> (i64, i64, i64, i64) {
    let credits = credits::get(stage.engine.parts(), &stage.caller, true).await.unwrap();
    assert_eq!(credits.differences, Vec::<String>::new());
    let micros = [&credits.available, &credits.reserved, &credits.spent, &credits.promotional].map(|m| m.amount_micros);
    (micros[0], micros[1], micros[2], micros[3])
}

/// The provider's table says what it took for a message, in millionths of a dollar.
async fn said(stage: &Stage, id: MessageId, micros: i64) {
    let message = stage.message(id).await;
    stage.world.clock.advance_ms(1_000);
    let now = stage.world.ports.clock.now();
    let csv = format!("sid,price,currency\n{},0.{micros:06},USD\n", message.provider_message_id.unwrap());
    let new =
        json!({ "account_id": message.account_id, "starts_at": now.plus_seconds(-3_600), "ends_at": now, "csv": csv });
    reconciliations::create(stage.engine.parts(), &stage.caller, &Repeat::NONE, body(new)).await.unwrap();
    while reconciliations::work::run(&stage.engine).await.unwrap() > 0 {}
}

fn both_ways(phone: &str, extra: Value) -> Value {
    let mut request = json!({
        "to": { "phone": phone, "email": "ada@example.com" }, "channel": ["sms", "email"], "content": { "subject": "Hi", "text": "Hello" },
    });
    request.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    request
}

/// A stage whose SMS, for 10 a segment, and calls, for 7 a minute, leave through Twilio, and whose mail, for 3, is answered with `mail`.
async fn with_two_ways(db: &TestDb, mail: u16) -> (Stage, AccountId) {
    let (stage, twilio) = hooks::twilio(db, move |call| match call {
        Call::Http(http) if http.url.contains("/Calls") => {
            http_answer(201, r#"{"sid": "CA0123456789abcdef0123456789abcdef", "status": "queued"}"#)
        }
        Call::Http(http) if http.url.contains("twilio") => {
            http_answer(201, format!(r#"{{"sid": "{}", "status": "queued"}}"#, hooks::SID))
        }
        _ => http_answer(mail, r#"{"name": "not_now", "message": "No."}"#),
    })
    .await;
    let settings = json!({ "api_key": "re_12345678_abcdefghijklmnop" });
    stage.account("resend", settings, Some("Acme <news@acme.example>")).await;
    let mut rows = sms_and_mail();
    rows.as_array_mut().unwrap().push(json!({ "channel": "voice", "unit": "minute", "amount_micros": 7 }));
    pay_ahead(&stage, 100, rows).await;
    (stage, twilio)
}

/// An SMS goes on to mail, which is answered with `mail` and leaves such a balance, and then it arrives.
async fn arrives_late(db: &TestDb, mail: u16, before: (i64, i64, i64, i64)) {
    let (stage, twilio) = with_two_ways(db, mail).await;
    let id = stage.send(both_ways("+4915112345678", json!({ "fallback_after_s": 60 }))).await;
    stage.dispatch().await;
    stage.world.clock.advance_ms(61_000);
    stage.tick().await;
    assert_eq!((stage.message(id).await.channel.as_str(), balance(&stage).await), ("email", before));
    hooks::call(&stage, twilio, hooks::report(twilio, Some(id), hooks::SID, "delivered")).await.unwrap();
    stage.world.clock.advance_ms(600_000);
    stage.tick().await;
    let m = stage.message(id).await;
    assert_eq!((m.status.as_str(), m.sent_at, m.cost_micros, m.attempts), ("delivered", None, Some(10), 2));
    assert_eq!(balance(&stage).await, (90, 0, 10, 0));
    let usage = hooks::read_usage(&stage).await;
    assert_eq!((&usage["totals"]["sent"], &usage["totals"]["delivered"]), (&json!(1), &json!(1)));
    assert_eq!(engine::books::verify(&stage.world.ports.db).await.unwrap().differences, []);
}

fn mail() -> Value {
    json!({ "to": { "email": "ada@example.com" }, "channel": "email", "content": { "subject": "Hi", "text": "Hello" } })
}

/// What events of a kind say a message costs.
async fn told(db: &TestDb, kind: &str) -> Vec<i64> {
    let sql: &'static str =
        Box::leak(format!("SELECT data FROM events WHERE type = '{kind}' ORDER BY at").into_boxed_str());
    let text = column(db, sql).await;
    let cost = |line: &str| serde_json::from_str::<Value>(line).unwrap()["cost"]["amount_micros"].as_i64().unwrap();
    text.lines().map(cost).collect()
}

fn sms_and_mail() -> Value {
    json!([{ "channel": "sms", "unit": "segment", "amount_micros": 10 }, { "channel": "email", "unit": "message", "amount_micros": 3 }])
}

testkit::both! {
    async fn a_channel_that_refuses_costs_nothing_and_the_next_its_own_price(db: TestDb) {
        let stage = at_prices(&db, 100, sms_and_mail()).await;
        let id = stage.send(both_ways("+15005550001", json!({}))).await;
        assert_eq!(balance(&stage).await, (90, 10, 0, 0));
        stage.dispatch().await;
        stage.pass(20_000).await;
        assert_eq!(stage.message(id).await.cost_micros, Some(3));
        assert_eq!(balance(&stage).await, (97, 0, 3, 0));
        assert_eq!((told(&db, "message.fell_back").await, told(&db, "message.sent").await), (vec![3], vec![3]));
    }

    async fn what_was_sent_and_goes_on_costs_both_ways(db: TestDb) {
        let stage = at_prices(&db, 100, sms_and_mail()).await;
        let id = stage.send(both_ways("+15005550009", json!({ "fallback_after_s": 60 }))).await;
        stage.dispatch().await;
        assert_eq!(balance(&stage).await, (90, 0, 10, 0));
        stage.pass(70_000).await;
        assert_eq!(stage.message(id).await.cost_micros, Some(13));
        assert_eq!(balance(&stage).await, (87, 0, 13, 0));
        assert_eq!((told(&db, "message.fell_back").await, told(&db, "message.sent").await), (vec![13], vec![10]));
        assert_eq!(told(&db, "message.delivered").await, [13]);
    }

    async fn what_arrives_by_the_way_it_left_does_not_pay_for_a_way_that_waits(db: TestDb) {
        arrives_late(&db, 429, (87, 3, 10, 0)).await;
    }

    async fn what_arrives_by_the_way_it_left_does_not_pay_for_a_way_that_failed(db: TestDb) {
        arrives_late(&db, 422, (90, 0, 10, 0)).await;
    }

    async fn what_the_way_it_left_says_of_its_length_is_not_that_of_the_next(db: TestDb) {
        let (stage, twilio) = with_two_ways(&db, 200).await;
        let request = json!({
            "to": { "phone": "+4915112345678" }, "channel": ["voice", "sms"], "fallback_after_s": 60,
            "content": { "say": "Hello", "text": "Hello ".repeat(60) },
        });
        let id = stage.send(request).await;
        stage.dispatch().await;
        stage.world.clock.advance_ms(61_000);
        stage.tick().await;
        let m = stage.message(id).await;
        assert_eq!((m.channel.as_str(), m.segments, balance(&stage).await), ("sms", Some(3), (63, 0, 37, 0)));
        let query = format!("attempt={}", id.attempt(1));
        let ended = [("CallSid", "CA0123456789abcdef0123456789abcdef"), ("CallStatus", "completed"), ("CallDuration", "7"), ("Direction", "outbound-api")];
        let report = hooks::signed_with(hooks::TOKEN, twilio, &query, &ended);
        hooks::call(&stage, twilio, report).await.unwrap();
        let m = stage.message(id).await;
        assert_eq!((m.status.as_str(), m.segments, balance(&stage).await), ("delivered", Some(3), (63, 0, 37, 0)));
        assert_eq!(engine::books::verify(&stage.world.ports.db).await.unwrap().differences, []);
    }

    async fn a_next_channel_without_a_price_is_refused_now(db: TestDb) {
        let rows = json!([{ "channel": "sms", "unit": "segment", "amount_micros": 10 }]);
        let stage = at_prices(&db, 100, rows).await;
        assert_eq!(stage.try_send(both_ways("+15550100001", json!({})), None).await.unwrap_err().code, "no_price");
        assert_eq!(balance(&stage).await, (100, 0, 0, 0));
    }

    async fn another_account_has_its_own_price(db: TestDb) {
        let rows = json!([{ "channel": "email", "provider": "sandbox", "unit": "message", "amount_micros": 3 }, { "channel": "email", "unit": "message", "amount_micros": 7 }]);
        let stage = at_prices(&db, 100, rows).await;
        let mut later = mail();
        later["send_at"] = json!(stage.world.ports.clock.now().plus_seconds(600));
        let id = stage.send(later).await;
        assert_eq!(balance(&stage).await, (97, 3, 0, 0));
        let first = stage.message(id).await.account_id.unwrap();
        stage.account("smtp", json!({ "host": "mail.example", "security": "none" }), Some("news@acme.example")).await;
        accounts::force_delete(stage.engine.parts(), &stage.caller, first).await.unwrap();
        engine::waiting::reroute(&stage.engine).await.unwrap();
        assert_eq!(balance(&stage).await, (93, 7, 0, 0));
        stage.pass(601_000).await;
        assert_eq!((stage.message(id).await.cost_micros, balance(&stage).await), (Some(7), (93, 0, 7, 0)));
    }

    async fn what_a_rule_sends_through_another_account_has_that_ones_price(db: TestDb) {
        let (stage, dear) = with_a_dear_account(&db).await;
        let cheap = stage.account("sandbox", json!({}), None).await;
        let accounts = json!([{ "account_id": dear }, { "account_id": cheap }]);
        let rule = json!({ "name": "All", "channel": "sms", "choose": { "by": "priority" }, "accounts": accounts });
        engine::routing::create(&stage.engine, &stage.caller, &Repeat::NONE, body(rule)).await.unwrap();
        let id = stage.send(sms()).await;
        assert_eq!((stage.message(id).await.account_id, balance(&stage).await), (Some(dear), (93, 7, 0, 0)));
        stage.dispatch().await;
        let message = stage.message(id).await;
        assert_eq!((message.account_id, message.cost_micros), (Some(cheap), Some(3)));
        assert_eq!((balance(&stage).await, told(&db, "message.sent").await), ((97, 0, 3, 0), vec![3]));
    }

    async fn a_dead_letter_that_is_retried_elsewhere_has_that_ways_price(db: TestDb) {
        let (stage, dear) = with_a_dear_account(&db).await;
        let id = stage.send(sms()).await;
        stage.dispatch().await;
        stage.pass(60_000).await;
        assert_eq!((stage.status(id).await, balance(&stage).await), ("failed", (100, 0, 0, 0)));
        accounts::force_delete(stage.engine.parts(), &stage.caller, dear).await.unwrap();
        stage.account("sandbox", json!({}), None).await;
        stage.engine.retry(&stage.caller, &Repeat::NONE, id).await.unwrap();
        stage.dispatch().await;
        assert_eq!((stage.message(id).await.cost_micros, balance(&stage).await), (Some(3), (97, 0, 3, 0)));
    }

    async fn a_thousand_mails_add_up_and_events_say_what_was_charged(db: TestDb) {
        let rows = json!([{ "channel": "email", "unit": "thousand", "amount_micros": 400 }]);
        let stage = at_prices(&db, 100, rows).await;
        let mut costs = Vec::new();
        for _ in 0..5 {
            let id = stage.send(mail()).await;
            stage.dispatch().await;
            costs.push(stage.message(id).await.cost_micros.unwrap());
            stage.world.clock.advance_ms(1);
        }
        assert_eq!(costs, [0, 0, 1, 0, 1]);
        assert_eq!((told(&db, "message.accepted").await, told(&db, "message.sent").await), (vec![1; 5], costs));
        assert_eq!(balance(&stage).await, (98, 0, 2, 0));
    }

    async fn promotional_credit_pays_first_and_ends(db: TestDb) {
        let stage = at_prices(&db, 100, sms_and_mail()).await;
        let ends = stage.world.ports.clock.now().plus_seconds(100);
        let new = body(json!({ "amount_micros": 5, "expires_at": ends, "reference": "welcome" }));
        credits::grant(stage.engine.parts(), &stage.caller, &Repeat::NONE, new).await.unwrap();
        stage.send(mail()).await;
        assert_eq!(balance(&stage).await, (100, 3, 0, 2));
        stage.dispatch().await;
        stage.world.clock.advance_ms(100_000);
        // What has ended is not spent any more, whether the job has come by or not.
        stage.send(mail()).await;
        assert_eq!(balance(&stage).await, (97, 3, 3, 0));
        assert_eq!(credits::expire_grants(&stage.engine).await.unwrap(), 0);
        let kinds: Vec<_> = credits::entries(stage.engine.parts(), &stage.caller, Some(2), None).await.unwrap().data;
        assert_eq!(kinds.iter().map(|entry| entry.kind.as_str()).collect::<Vec<_>>(), ["reserve", "expire"]);
        let past = body(json!({ "amount_micros": 5, "expires_at": ends, "reference": "late" }));
        assert_eq!(pointers(credits::grant(stage.engine.parts(), &stage.caller, &Repeat::NONE, past).await), ["/expires_at"]);
    }

    async fn the_job_takes_back_what_has_ended(db: TestDb) {
        let stage = at_prices(&db, 100, sms_and_mail()).await;
        let ends = stage.world.ports.clock.now().plus_seconds(100);
        let new = body(json!({ "amount_micros": 5, "expires_at": ends, "reference": "welcome" }));
        credits::grant(stage.engine.parts(), &stage.caller, &Repeat::NONE, new).await.unwrap();
        assert_eq!(credits::expire_grants(&stage.engine).await.unwrap(), 0);
        stage.world.clock.advance_ms(100_000);
        assert_eq!(credits::expire_grants(&stage.engine).await.unwrap(), 1);
        assert_eq!(balance(&stage).await, (100, 0, 0, 0));
        let grants = credits::grants(stage.engine.parts(), &stage.caller, None, None).await.unwrap().data;
        assert_eq!((grants.len(), grants[0].left.amount_micros, grants[0].amount.amount_micros), (1, 0, 5));
    }

    async fn a_grant_is_spent_and_ends_however_many_come_after_it(db: TestDb) {
        let stage = at_prices(&db, 100, sms_and_mail()).await;
        let grant = async |amount: i64, seconds: i64| {
            let ends = stage.world.ports.clock.now().plus_seconds(seconds);
            let new = body(json!({ "amount_micros": amount, "expires_at": ends, "reference": "welcome" }));
            credits::grant(stage.engine.parts(), &stage.caller, &Repeat::NONE, new).await.unwrap();
        };
        grant(500, 1_000).await;
        for _ in 0..201 {
            grant(1, 1).await;
            stage.world.clock.advance_ms(1_000);
        }
        stage.send(mail()).await;
        stage.dispatch().await;
        let first = async || {
            let differences = credits::get(stage.engine.parts(), &stage.caller, true).await.unwrap().differences;
            let grants = column(&db, "SELECT CAST(MAX(rest) AS TEXT) FROM credit_grants").await;
            (differences, grants.parse::<i64>().unwrap())
        };
        assert_eq!((first().await, balance(&stage).await), ((Vec::new(), 497), (100, 0, 3, 497)));
        stage.world.clock.advance_ms(1_000_000);
        credits::expire_grants(&stage.engine).await.unwrap();
        assert_eq!((first().await, balance(&stage).await), ((Vec::new(), 0), (100, 0, 3, 0)));
    }

    async fn what_comes_back_to_a_grant_behind_many_ends_with_it_and_the_books_add_up(db: TestDb) {
        let stage = at_prices(&db, 100, sms_and_mail()).await;
        let grant = async |amount: i64, seconds: i64| {
            let ends = stage.world.ports.clock.now().plus_seconds(seconds);
            let new = body(json!({ "amount_micros": amount, "expires_at": ends, "reference": "welcome" }));
            credits::grant(stage.engine.parts(), &stage.caller, &Repeat::NONE, new).await.unwrap();
        };
        grant(3, 1_000_000).await;
        let mut later = mail();
        later["send_at"] = json!(stage.world.ports.clock.now().plus_seconds(100_000));
        let id = stage.send(later).await;
        assert_eq!(balance(&stage).await, (100, 3, 0, 0));
        for _ in 0..201 {
            grant(1, 1).await;
            stage.world.clock.advance_ms(1_000);
        }
        stage.engine.cancel(&stage.caller, &Repeat::NONE, id).await.unwrap();
        credits::expire_grants(&stage.engine).await.unwrap();
        assert_eq!(balance(&stage).await, (100, 0, 0, 0));
        let verified = engine::books::verify(&db).await.unwrap();
        assert_eq!((verified.differences, verified.more), (vec![], vec![]));
    }

    async fn a_tenant_is_told_once_that_credit_runs_low(db: TestDb) {
        let stage = at_prices(&db, 10, sms_and_mail()).await;
        change(&stage, json!({ "low_at_micros": 6, "top_up": { "below_micros": 2, "amount_micros": 50 } })).await;
        let told = async || column(&db, "SELECT type FROM events WHERE type LIKE 'credit.%' ORDER BY type").await;
        stage.send(mail()).await;
        assert_eq!(told().await, "");
        stage.send(mail()).await;
        stage.send(mail()).await;
        assert_eq!(told().await, "credit.low\ncredit.top_up_needed");
        marks::watch(&stage.engine).await.unwrap();
        assert_eq!(told().await, "credit.low\ncredit.top_up_needed");
        let buy = |amount: i64| body(json!({ "amount_micros": amount, "reference": "bank" }));
        credits::purchase(stage.engine.parts(), &stage.caller, &Repeat::NONE, buy(10)).await.unwrap();
        marks::watch(&stage.engine).await.unwrap();
        let take = body(json!({ "amount_micros": -8, "reason": "a test" }));
        credits::adjust(stage.engine.parts(), &stage.caller, &Repeat::NONE, take).await.unwrap();
        marks::watch(&stage.engine).await.unwrap();
        assert_eq!(told().await, "credit.low\ncredit.low\ncredit.top_up_needed");
    }

    async fn a_table_becomes_a_list_and_a_month_is_tried_at_it(db: TestDb) {
        let stage = at_prices(&db, 1_000, sms_and_mail()).await;
        for phone in ["+15550100001", "+15550100002", "+919800000001"] {
            stage.send(json!({ "to": { "phone": phone }, "channel": "sms", "content": { "text": "Hello" } })).await;
        }
        stage.send(mail()).await;
        stage.dispatch().await;
        let operator = Caller::system(None);
        let csv = "channel,country,prefix,unit,amount_micros,cost_micros\nsms,,,segment,20,8\nsms,IN,,segment,5,4\nsms,,9198,segment,1,1\n";
        let table = |csv: &str, dry_run: bool| body(json!({ "currency": "USD", "csv": csv, "dry_run": dry_run }));
        let told = sheet::import(stage.engine.parts(), &operator, &Repeat::NONE, table(csv, true)).await.unwrap();
        let told: Value = serde_json::from_slice(&told.body).unwrap();
        assert_eq!(told, json!({ "dry_run": true, "rows": 3, "added": 2, "changed": 1, "removed": 1, "errors": [] }));
        let bad = sheet::import(stage.engine.parts(), &operator, &Repeat::NONE, table("channel,unit\nsms,flight\n", false)).await;
        assert!(bad.unwrap_err().errors[0].detail.starts_with("line 2, unit: "));
        stage.world.clock.advance_ms(1_000);
        let tried = json!({ "currency": "USD", "rows": [
            { "channel": "sms", "unit": "segment", "amount_micros": 20, "cost_micros": 8 }, { "channel": "sms", "country": "IN", "unit": "segment", "amount_micros": 5, "cost_micros": 4 },
            { "channel": "sms", "prefix": "9198", "unit": "segment", "amount_micros": 1 },
        ] });
        let view = stage.engine.what_if(&operator, body::<WhatIf>(tried)).await.unwrap();
        let sums = [&view.today, &view.then, &view.provider_cost].map(|money| money.amount_micros);
        assert_eq!((sums, view.without_price, view.rows_left_out), ([33, 45, 20], 1, 1));
        let imported = sheet::import(stage.engine.parts(), &operator, &Repeat::NONE, table(csv, false)).await.unwrap();
        assert_eq!(imported.status, 201);
        let version = serde_json::from_slice::<Value>(&imported.body).unwrap()["version"].as_i64().unwrap();
        let view = stage.engine.what_if(&operator, body::<WhatIf>(json!({ "currency": "USD", "version": version }))).await.unwrap();
        assert_eq!((view.today.amount_micros, view.then.amount_micros), (45, 45));
        let written = sheet::export(stage.engine.parts(), &operator, None).await.unwrap();
        assert!(String::from_utf8(written).unwrap().contains("\r\nsms,,IN,,,,segment,5,4,\r\n"));
        // The tenant sees its prices, and not what the provider takes.
        let tenant = Caller { is_operator: false, ..stage.caller.clone() };
        let seen = prices::get(stage.engine.parts(), &tenant, Some(version)).await.unwrap();
        assert!(seen.rows.len() == 3 && seen.rows.iter().all(|row| row.cost_micros.is_none()), "{seen:?}");
        let listed = prices::list(stage.engine.parts(), &tenant, Some(1), None).await.unwrap();
        assert_eq!((listed.data[0].version, listed.data[0].row_count), (version, 3));
    }

    async fn a_call_whose_minutes_nobody_told_costs_one_beside_long_ones(db: TestDb) {
        let rows = json!([{ "channel": "voice", "unit": "minute", "amount_micros": 10, "cost_micros": 4 }]);
        let stage = at_prices(&db, 10_000, rows.clone()).await;
        for number in 1..4 {
            stage.send(json!({ "to": { "phone": format!("+1555010000{number}") }, "channel": "voice", "content": { "say": "Hello" } })).await;
        }
        stage.dispatch().await;
        let tenant = stage.tenant;
        let write = db.db.write(store::Scope::System, move |tx| {
            Box::pin(async move {
                let calls = tx.execute("UPDATE messages SET segments = NULL WHERE tenant_id = $1", &[&tenant]).await?;
                let long = "UPDATE messages SET segments = 7 WHERE tenant_id = $1 AND id = (SELECT id FROM messages WHERE tenant_id = $1 ORDER BY id LIMIT 1)";
                tx.execute("UPDATE message_counters SET segments = 0 WHERE tenant_id = $1", &[&tenant]).await?;
                // Sums of busy tenants lie in several rows.
                let sums = "UPDATE message_counters SET segments = 7 WHERE tenant_id = $1 AND shard = (SELECT shard FROM message_counters WHERE tenant_id = $1 AND sent > 0 ORDER BY shard LIMIT 1)";
                Ok::<_, store::Error>((calls, tx.execute(long, &[&tenant]).await?, tx.execute(sums, &[&tenant]).await?))
            })
        });
        assert_eq!(write.await.unwrap(), (3, 1, 1));
        stage.world.clock.advance_ms(1_000);
        for caller in [Caller::system(None), stage.caller.clone()] {
            let view = stage.engine.what_if(&caller, body::<WhatIf>(json!({ "currency": "USD", "rows": rows }))).await.unwrap();
            assert_eq!([&view.today, &view.then, &view.provider_cost].map(|money| money.amount_micros), [90, 90, 36]);
            assert_eq!((view.data[0].messages, view.data[0].segments), (3, 7));
        }
    }

    async fn what_is_tried_is_what_was_charged_by_kind(db: TestDb) {
        let rows = json!([
            { "channel": "sms", "unit": "segment", "amount_micros": 10 }, { "channel": "sms", "category": "mms", "unit": "message", "amount_micros": 500, "cost_micros": 400 },
            { "channel": "whatsapp", "category": "service", "unit": "message", "amount_micros": 1 }, { "channel": "whatsapp", "category": "utility", "unit": "message", "amount_micros": 50 },
            { "channel": "whatsapp", "category": "marketing", "unit": "message", "amount_micros": 90 },
        ]);
        let stage = at_prices(&db, 10_000, rows.clone()).await;
        let to = |phone: &str, channel: &str, content: Value| json!({ "to": { "phone": phone }, "channel": channel, "content": content });
        let picture = json!({ "text": "Look", "media": [{ "type": "image", "url": "https://acme.example/a.png" }] });
        for phone in ["+254700000001", "+447781000001", "+447400000001"] {
            stage.send(to(phone, "sms", picture.clone())).await;
            stage.send(to(phone, "sms", json!({ "text": "Hello" }))).await;
            stage.send(to(phone, "whatsapp", json!({ "text": "Hello" }))).await;
        }
        stage.dispatch().await;
        stage.world.clock.advance_ms(1_000);
        let spent = 3 * (500 + 10 + 1);
        assert_eq!(balance(&stage).await, (10_000 - spent, 0, spent, 0));
        for caller in [Caller::system(None), stage.caller.clone()] {
            let view = stage.engine.what_if(&caller, body::<WhatIf>(json!({ "currency": "USD", "rows": rows }))).await.unwrap();
            let sums = [&view.today, &view.then, &view.provider_cost].map(|money| money.amount_micros);
            assert_eq!((sums, view.without_price, view.guessed, view.tenants_left_out), ([spent, spent, 1_200], 0, 0, 0));
            let of = |country: &str| view.data.iter().filter(|row| row.country == country).map(|row| (row.category, row.messages, row.then_micros)).collect::<Vec<_>>();
            for country in ["KE", "GG", "GB"] {
                assert_eq!(of(country), [(Some(prices::Category::Mms), 1, Some(500)), (None, 1, Some(10)), (Some(prices::Category::Service), 1, Some(1))], "{country}");
            }
        }
        // A month nothing was sent in.
        let view = stage.engine.what_if(&Caller::system(None), body::<WhatIf>(json!({ "currency": "USD", "month": "2020-01", "rows": rows }))).await.unwrap();
        assert_eq!((view.then.amount_micros, view.data.len()), (0, 0));
    }

    async fn prices_are_tried_on_those_who_pay_in_their_currency(db: TestDb) {
        let mut stage = Stage::new(&db).await;
        let rows = json!([{ "channel": "sms", "unit": "segment", "amount_micros": 10 }, { "channel": "whatsapp", "unit": "message", "amount_micros": 7 }]);
        for currency in ["USD", "EUR"] {
            let new = body(json!({ "currency": currency, "rows": rows }));
            prices::create(stage.engine.parts(), &Caller::system(None), &Repeat::NONE, new).await.unwrap();
        }
        let mut callers = Vec::new();
        for (name, currency, mode) in [("Paid", "USD", "postpaid"), ("Euro", "EUR", "postpaid"), ("Free", "USD", "none")] {
            let new = body(json!({ "name": name, "currency": currency }));
            let (tenant, _) = tenants::create_with_key(stage.engine.parts(), &Caller::system(None), new).await.unwrap();
            (stage.tenant, stage.caller) = (tenant.id, Caller::system(Some(tenant.id)));
            stage.account("sandbox", json!({}), None).await;
            change(&stage, json!({ "mode": mode })).await;
            stage.send(sms()).await;
            stage.send(json!({ "to": { "phone": "+254700000001" }, "channel": "whatsapp", "content": { "text": "Hello" } })).await;
            callers.push(stage.caller.clone());
        }
        stage.dispatch().await;
        stage.world.clock.advance_ms(1_000);
        let tried = async |caller: &Caller, currency: &str| {
            let view = stage.engine.what_if(caller, body::<WhatIf>(json!({ "currency": currency, "rows": rows }))).await.unwrap();
            (view.today.amount_micros, view.then.amount_micros, view.guessed, view.tenants_left_out)
        };
        let everybody = Caller::system(None);
        assert_eq!(tried(&everybody, "USD").await, (17, 17, 0, 2));
        assert_eq!(tried(&everybody, "EUR").await, (17, 17, 0, 2));
        assert_eq!(tried(&everybody, "CHF").await, (0, 0, 0, 3));
        // One who is not billed yet is asked for by itself, and what its messages are is not known.
        assert_eq!(tried(&callers[2], "USD").await, (17, 17, 1, 0));
    }

    async fn lists_entered_ahead_do_not_end_the_one_that_counts(db: TestDb) {
        let stage = at_prices(&db, 100, sms_and_mail()).await;
        let operator = Caller::system(None);
        let week = |number: i64| stage.world.ports.clock.now().plus_seconds(604_800 * number);
        let ahead = |number: i64, amount: i64| json!({ "currency": "USD", "valid_from": week(number), "rows": [{ "channel": "sms", "unit": "segment", "amount_micros": amount }] });
        for number in 1..=104 {
            prices::create(stage.engine.parts(), &operator, &Repeat::NONE, body(ahead(number, 11))).await.unwrap();
        }
        stage.send(sms()).await;
        assert_eq!(balance(&stage).await, (90, 10, 0, 0));
        // One more is refused, also by a dry run; one that replaces another is not, nor one that counts at once.
        assert_eq!(pointers(prices::create(stage.engine.parts(), &operator, &Repeat::NONE, body(ahead(105, 11))).await), ["/valid_from"]);
        let table = json!({ "currency": "USD", "valid_from": week(105), "csv": "channel,unit,amount_micros\nsms,segment,1\n", "dry_run": true });
        assert_eq!(pointers(sheet::import(stage.engine.parts(), &operator, &Repeat::NONE, body(table)).await), ["/valid_from"]);
        prices::create(stage.engine.parts(), &operator, &Repeat::NONE, body(ahead(1, 12))).await.unwrap();
        list(&stage, json!([{ "channel": "sms", "unit": "segment", "amount_micros": 13 }])).await;
        stage.send(sms()).await;
        assert_eq!(balance(&stage).await, (77, 23, 0, 0));
        stage.world.clock.advance_ms(604_800_000);
        stage.send(sms()).await;
        assert_eq!(balance(&stage).await, (65, 35, 0, 0));
    }

    async fn a_dry_run_refuses_what_the_import_refuses(db: TestDb) {
        let stage = Stage::new(&db).await;
        stage.world.clock.advance_ms(60_000);
        let past = stage.world.ports.clock.now().plus_seconds(-1);
        let csv = "channel,unit,amount_micros\nsms,segment,1\n";
        let bad = json!({ "currency": "nope", "valid_from": past, "note": "x".repeat(501), "csv": csv });
        for dry_run in [true, false] {
            let mut bad = bad.clone();
            bad["dry_run"] = json!(dry_run);
            let refused = sheet::import(stage.engine.parts(), &Caller::system(None), &Repeat::NONE, body(bad)).await;
            assert_eq!(pointers(refused), ["/currency", "/valid_from", "/note"], "{dry_run}");
        }
    }

    async fn a_correction_gives_back_no_more_than_was_paid_too_much(db: TestDb) {
        let rows = json!([{ "channel": "sms", "unit": "segment", "cost_micros": 6, "markup_basis_points": 0 }]);
        let stage = at_prices(&db, 50, rows).await;
        let id = stage.send(sms()).await;
        stage.dispatch().await;
        assert_eq!(balance(&stage).await, (44, 0, 6, 0));
        said(&stage, id, 100).await;
        assert_eq!(balance(&stage).await, (0, 0, 50, 0));
        said(&stage, id, 90).await;
        assert_eq!(balance(&stage).await, (0, 0, 50, 0));
        let new = body(json!({ "amount_micros": 1_000, "reference": "bank" }));
        credits::purchase(stage.engine.parts(), &stage.caller, &Repeat::NONE, new).await.unwrap();
        said(&stage, id, 80).await;
        assert_eq!(balance(&stage).await, (970, 0, 80, 0));
        said(&stage, id, 40).await;
        assert_eq!(balance(&stage).await, (1_010, 0, 40, 0));
    }
}
