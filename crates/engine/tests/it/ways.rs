//! What each way a message went costs, whatever its provider says of it and when: in how many parts, for how much, as what kind, or nothing for days.

use aws_lc_rs::hmac;
use engine::{
    accounts,
    callbacks::OwnedRequest,
    keys::Caller,
    money::{
        credits::{self, CreditsPatch},
        prices,
        what_if::WhatIf,
    },
    once::Repeat,
    reconciliations,
};
use model::{AccountId, Call, MessageId, Method};
use serde_json::{Value, json};
use testkit::{Stage, TestDb, World, broken_after, broken_before, http_answer};

use crate::{
    hooks,
    setting::{body, column},
};

const CALL_SID: &str = "CA0123456789abcdef0123456789abcdef";
const WAMID: &str = "wamid.HBgLMTY1";
/// The channel of a call, as it stands in a row.
const VOICE: &str = "5";
const DAY_MS: u64 = 86_400_000;

/// Gives a stage's tenant prices, and 100 to spend.
async fn pays_ahead(stage: &Stage, rows: Value) {
    let new = body(json!({ "currency": "USD", "rows": rows }));
    prices::create(stage.engine.parts(), &Caller::system(None), &Repeat::NONE, new).await.unwrap();
    let mode: CreditsPatch = body(json!({ "mode": "prepaid" }));
    credits::patch(stage.engine.parts(), &stage.caller, mode).await.unwrap();
    let new = body(json!({ "amount_micros": 100, "reference": "bank" }));
    credits::purchase(stage.engine.parts(), &stage.caller, &Repeat::NONE, new).await.unwrap();
}

/// Twilio takes text messages and calls, and Resend mails.
async fn twilio_and_resend(db: &TestDb) -> (Stage, AccountId) {
    let (stage, twilio) = hooks::twilio(db, |call| match call {
        Call::Http(http) if http.url.contains("/Calls") => {
            http_answer(201, format!(r#"{{"sid": "{CALL_SID}", "status": "queued"}}"#))
        }
        Call::Http(http) if http.url.contains("twilio") => hooks::taken(),
        _ => http_answer(200, r#"{"id": "4ef9a417-02e9-4d39-ad75-9611e0fcc33c"}"#),
    })
    .await;
    let settings = json!({ "api_key": "re_12345678_abcdefghijklmnop" });
    stage.account("resend", settings, Some("Acme <news@acme.example>")).await;
    (stage, twilio)
}

/// Text messages for 10 and calls for 7 a minute, or for what Twilio takes, 8, and a quarter; mails for 3.
fn rows(is_marked: bool) -> Value {
    let sms = match is_marked {
        true => json!({ "channel": "sms", "unit": "segment", "cost_micros": 8, "markup_basis_points": 2_500 }),
        false => json!({ "channel": "sms", "unit": "segment", "amount_micros": 10 }),
    };
    let voice = json!({ "channel": "voice", "unit": "minute", "amount_micros": 7 });
    json!([sms, voice, { "channel": "email", "unit": "message", "amount_micros": 3 }])
}

fn first_then_second(first: &str, second: &str) -> Value {
    json!({
        "to": { "phone": "+4915112345678", "email": "ada@example.com" }, "channel": [first, second], "fallback_after_s": 60,
        "content": { "subject": "Hi", "text": "Hello", "say": "Hello" },
    })
}

/// Sends a message, which goes on to its second channel.
async fn goes_on(stage: &Stage, first: &str, second: &str) -> MessageId {
    let id = stage.send(first_then_second(first, second)).await;
    stage.dispatch().await;
    stage.world.clock.advance_ms(61_000);
    stage.tick().await;
    assert_eq!(stage.message(id).await.channel.as_str(), second);
    id
}

/// A call that costs 7 a minute.
fn calls() -> Value {
    json!({ "to": { "phone": "+4915112345678" }, "channel": "voice", "content": { "say": "Hello" } })
}

/// The call lasted so long.
async fn rang_off(stage: &Stage, twilio: AccountId, id: MessageId, seconds: &str) {
    let query = format!("attempt={}", id.attempt(1));
    let ended =
        [("CallSid", CALL_SID), ("CallStatus", "completed"), ("CallDuration", seconds), ("Direction", "outbound-api")];
    hooks::call(stage, twilio, hooks::signed_with(hooks::TOKEN, twilio, &query, &ended)).await.unwrap();
}

/// The provider's table says what it took for messages; answers how many of them differ in that, and what we had.
async fn priced(stage: &Stage, account: AccountId, records: &[(&str, i64)]) -> (i64, i64) {
    stage.world.clock.advance_ms(1_000);
    let now = stage.world.ports.clock.now();
    let lines: Vec<String> = records.iter().map(|(id, micros)| format!("{id},0.{micros:06},USD\n")).collect();
    let new = json!({
        "account_id": account, "starts_at": now.plus_seconds(-3_600), "ends_at": now, "csv": format!("sid,price,currency\n{}", lines.concat()),
    });
    let reply = reconciliations::create(stage.engine.parts(), &stage.caller, &Repeat::NONE, body(new)).await.unwrap();
    let id: Value = serde_json::from_slice(&reply.body).unwrap();
    while reconciliations::work::run(&stage.engine).await.unwrap() > 0 {}
    let id = id["id"].as_str().unwrap().parse().unwrap();
    let view = reconciliations::get(stage.engine.parts(), &stage.caller, id).await.unwrap();
    assert_eq!((view.state.as_str(), view.missing_here, view.missing_there), ("done", 0, 0));
    (view.price_differences, view.cost_ours.map_or(0, |cost| cost.amount_micros))
}

/// Available, reserved and spent. Everything adds up, also when it is counted again.
async fn balance(stage: &Stage) -> (i64, i64, i64) {
    let credits = credits::get(stage.engine.parts(), &stage.caller, true).await.unwrap();
    assert_eq!(credits.differences, Vec::<String>::new());
    adds_up(stage).await;
    (credits.available.amount_micros, credits.reserved.amount_micros, credits.spent.amount_micros)
}

async fn adds_up(stage: &Stage) {
    assert_eq!(engine::books::verify(&stage.world.ports.db).await.unwrap().differences, []);
    assert_eq!(stage.engine.recount(stage.tenant).await.unwrap(), 0);
}

/// The messages that say themselves what they were charged, and the charges that have rows of their own: by parts, amount and state.
async fn places(db: &TestDb) -> (String, String) {
    let kept = column(db, "SELECT CAST(channel AS TEXT) FROM messages WHERE charge IS NOT NULL ORDER BY id").await;
    let rows = "SELECT CAST(units AS TEXT) || ' for ' || CAST(charged AS TEXT) || ', ' || state FROM message_charges ORDER BY message_id";
    (kept, column(db, rows).await)
}

/// What counts as cost, by channel.
async fn costs(db: &TestDb) -> String {
    let sql = "SELECT CAST(channel AS TEXT) || ':' || CAST(SUM(cost_micros) AS TEXT) FROM message_counters GROUP BY channel HAVING SUM(cost_micros) <> 0 ORDER BY channel";
    named(&column(db, sql).await)
}

/// What stands on invoices, by channel.
async fn charges(db: &TestDb) -> String {
    let sql = "SELECT CAST(channel AS TEXT) || ':' || CAST(SUM(charged) AS TEXT) FROM charge_counters GROUP BY channel HAVING SUM(charged) <> 0 ORDER BY channel";
    named(&column(db, sql).await)
}

fn named(rows: &str) -> String {
    let name = |row: &str| {
        let (code, sum) = row.split_once(':').unwrap();
        let channel = model::Channel::from_code(code.parse().unwrap()).unwrap();
        format!("{channel} {sum}")
    };
    let mut names: Vec<String> = rows.lines().map(name).collect();
    names.sort();
    names.join(", ")
}

/// Kinds of entries about messages and their sums.
async fn entries(db: &TestDb, kind: &str) -> String {
    let sql = format!("SELECT CAST(amount AS TEXT) FROM credit_entries WHERE kind = '{kind}' ORDER BY number");
    column(db, Box::leak(sql.into_boxed_str())).await
}

async fn shown(stage: &Stage, id: MessageId) -> Value {
    hooks::read(stage.engine.message(&stage.caller, id).await)
}

/// Changes rows behind the engine's back.
async fn plant(stage: &Stage, sql: &'static str) {
    let write =
        stage.world.ports.db.write(store::Scope::System, move |tx| Box::pin(async move { tx.execute(sql, &[]).await }));
    let planted: Result<u64, store::Error> = write.await;
    planted.unwrap();
}

/// A stage that sends templates through Meta, at prices by kind, which takes 5 for each but costs nothing where it takes nothing.
async fn meta(db: &TestDb) -> (Stage, AccountId) {
    let world = World::answering(db, |_| http_answer(200, json!({ "messages": [{ "id": WAMID }] }).to_string()));
    let stage = Stage::in_world(world).await;
    let settings = json!({
        "phone_number_id": "1", "access_token": "t", "business_account_id": "2", "app_secret": "s3cret", "verify_token": "v",
    });
    let account = stage.account("whatsapp_cloud", settings, None).await;
    let row = |category: &str, amount: i64| json!({ "channel": "whatsapp", "category": category, "unit": "message", "amount_micros": amount, "cost_micros": 4, "markup_basis_points": 5_000 });
    pays_ahead(&stage, json!([row("marketing", 24), row("utility", 4), row("service", 1), row("authentication", 9)]))
        .await;
    (stage, account)
}

fn template() -> Value {
    json!({ "to": { "phone": "+4915112345678" }, "channel": "whatsapp", "content": { "whatsapp_template": { "name": "order_update", "language": "en" } } })
}

/// Meta says where a message is, and as what it billed it.
async fn billed(stage: &Stage, account: AccountId, status: &str, pricing: Value) {
    let status = json!({ "id": WAMID, "status": status, "timestamp": "1795253405", "recipient_id": "4915112345678", "pricing": pricing });
    let value = json!({ "messaging_product": "whatsapp", "metadata": { "display_phone_number": "1", "phone_number_id": "1" }, "statuses": [status] });
    let text = json!({ "object": "whatsapp_business_account", "entry": [{ "id": "2", "changes": [{ "value": value, "field": "messages" }] }] }).to_string();
    let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, b"s3cret"), text.as_bytes());
    let mac: String = mac.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let request = OwnedRequest {
        method: "POST".to_owned(),
        path: String::new(),
        query: String::new(),
        headers: vec![
            ("content-type".to_owned(), "application/json".to_owned()),
            ("x-hub-signature-256".to_owned(), format!("sha256={mac}")),
        ],
        body: text.into(),
    };
    assert_eq!(hooks::call(stage, account, request).await.unwrap(), 200);
}

fn regular(category: &str) -> Value {
    json!({ "billable": true, "pricing_model": "PMP", "type": "regular", "category": category })
}

/// A message nobody answers for: the connection breaks after the request was written.
async fn unanswered(db: &TestDb) -> (Stage, AccountId, MessageId) {
    let (stage, account) = hooks::twilio(db, |call| match call {
        Call::Http(http) if http.method == Method::Get => http_answer(200, r#"{"messages": []}"#),
        _ => broken_after("timeout"),
    })
    .await;
    pays_ahead(&stage, rows(false)).await;
    let mut request = hooks::sms();
    request["guarantee"] = json!("at_most_once");
    let id = stage.send(request).await;
    stage.dispatch().await;
    (stage, account, id)
}

testkit::both! {
    async fn what_was_set_aside_together_adds_up_when_a_later_grant_paid_a_part_of_it(db: TestDb) {
        let (stage, twilio) = twilio_and_resend(&db).await;
        pays_ahead(&stage, rows(true)).await;
        let mut later = first_then_second("sms", "email");
        later["send_at"] = json!(stage.world.ports.clock.now().plus_seconds(86_400));
        let messages = json!({ "messages": [first_then_second("sms", "email"), later] });
        stage.engine.send_batch(&stage.caller, messages.to_string().as_bytes(), None).await.unwrap();
        stage.dispatch().await;
        assert_eq!(balance(&stage).await, (80, 10, 10));
        let grant = json!({ "amount_micros": 20, "reference": "welcome", "expires_at": "2099-01-01T00:00:00Z" });
        credits::grant(stage.engine.parts(), &stage.caller, &Repeat::NONE, body(grant)).await.unwrap();
        // It took 12 instead of 8: the grant pays the 5 that are missing, and the mail that follows.
        assert_eq!(priced(&stage, twilio, &[(hooks::SID, 12)]).await.0, 1);
        assert_eq!(balance(&stage).await, (80, 10, 15));
        stage.world.clock.advance_ms(61_000);
        stage.tick().await;
        stage.dispatch().await;
        assert_eq!(balance(&stage).await, (80, 10, 18));
    }

    async fn a_charge_stays_with_its_message_until_it_is_put_right(db: TestDb) {
        let (stage, twilio) = twilio_and_resend(&db).await;
        pays_ahead(&stage, rows(false)).await;
        let grant = json!({ "amount_micros": 5, "reference": "welcome", "expires_at": "2099-01-01T00:00:00Z" });
        credits::grant(stage.engine.parts(), &stage.caller, &Repeat::NONE, body(grant)).await.unwrap();
        let id = stage.send(calls()).await;
        assert_eq!(places(&db).await, (String::new(), String::new()), "what is set aside is no charge");
        stage.dispatch().await;
        assert_eq!((places(&db).await, balance(&stage).await), ((VOICE.to_owned(), String::new()), (98, 0, 7)));
        // Its minutes are known now, which what was set aside did not say.
        rang_off(&stage, twilio, id, "50").await;
        assert_eq!((places(&db).await, balance(&stage).await), ((String::new(), "1 for 7, settled".to_owned()), (98, 0, 7)));
        for _ in 0..2 {
            rang_off(&stage, twilio, id, "130").await;
            assert_eq!((places(&db).await, balance(&stage).await), ((String::new(), "3 for 21, settled".to_owned()), (84, 0, 21)));
        }
        // What goes another way after it was sent keeps what it was charged, and what is withdrawn was never charged.
        let moved = goes_on(&stage, "sms", "email").await;
        assert_eq!((places(&db).await.1, balance(&stage).await), ("3 for 21, settled\n0 for 13, settled".to_owned(), (71, 0, 34)));
        assert_eq!(stage.message(moved).await.charge, None);
        let mut later = first_then_second("sms", "email");
        later["send_at"] = json!(stage.world.ports.clock.now().plus_seconds(3_600));
        let withdrawn = stage.send(later).await;
        stage.engine.cancel(&stage.caller, &Repeat::NONE, withdrawn).await.unwrap();
        assert_eq!((places(&db).await, balance(&stage).await), ((String::new(), "3 for 21, settled\n0 for 13, settled\n1 for 0, released".to_owned()), (71, 0, 34)));
    }

    async fn for_an_hour_after_an_upgrade_charges_stand_where_the_version_before_looks_for_them(db: TestDb) {
        let (stage, twilio) = twilio_and_resend(&db).await;
        let now = stage.world.ports.clock.now();
        let upgrade = stage.world.ports.db.write(store::Scope::System, move |tx| {
            Box::pin(async move { tx.execute("UPDATE migrations SET applied_at = $1 WHERE version = 52", &[&now]).await })
        });
        assert_eq!(upgrade.await.unwrap(), 1);
        pays_ahead(&stage, rows(false)).await;
        let first = stage.send(calls()).await;
        stage.dispatch().await;
        assert_eq!((places(&db).await, balance(&stage).await), ((String::new(), "0 for 7, settled".to_owned()), (93, 0, 7)));
        stage.world.clock.advance_ms(3_600_000);
        let second = stage.send(hooks::sms()).await;
        stage.dispatch().await;
        assert_eq!((stage.message(second).await.charge.is_some(), balance(&stage).await), (true, (83, 0, 17)));
        rang_off(&stage, twilio, first, "130").await;
        assert_eq!((places(&db).await.1, balance(&stage).await), ("3 for 21, settled".to_owned(), (69, 0, 31)));
    }

    async fn what_a_left_way_says_of_its_length_is_charged_there_once(db: TestDb) {
        let (stage, twilio) = twilio_and_resend(&db).await;
        pays_ahead(&stage, rows(false)).await;
        let id = goes_on(&stage, "voice", "email").await;
        assert_eq!((stage.message(id).await.cost_micros, balance(&stage).await), (Some(10), (90, 0, 10)));
        assert_eq!((costs(&db).await.as_str(), charges(&db).await.as_str()), ("email 3, voice 7", "email 3, voice 7"));
        for _ in 0..2 {
            rang_off(&stage, twilio, id, "130").await;
            assert_eq!((stage.message(id).await.cost_micros, balance(&stage).await), (Some(24), (76, 0, 24)));
            assert_eq!((costs(&db).await.as_str(), charges(&db).await.as_str()), ("email 3, voice 21", "email 3, voice 21"));
            assert_eq!(entries(&db, "correct").await, "14");
        }
        let message = shown(&stage, id).await;
        assert_eq!(message["cost"], json!({ "amount_micros": 24, "currency": "USD" }));
        let way = &message["former_routes"][0];
        assert_eq!((&way["channel"], &way["segments"], &way["cost"]["amount_micros"]), (&json!("voice"), &json!(3), &json!(21)));
    }

    async fn what_a_left_way_says_while_the_next_one_waits_counts_as_well(db: TestDb) {
        let (stage, twilio) = twilio_and_resend(&db).await;
        pays_ahead(&stage, rows(true)).await;
        let id = stage.send(first_then_second("sms", "email")).await;
        stage.dispatch().await;
        stage.world.clock.advance_ms(61_000);
        engine::apply::move_on(&stage.engine).await.unwrap();
        assert_eq!((stage.message(id).await.cost_micros, balance(&stage).await), (Some(13), (87, 3, 10)));
        assert_eq!(priced(&stage, twilio, &[(hooks::SID, 12)]).await, (1, 8));
        assert_eq!((stage.message(id).await.cost_micros, balance(&stage).await), (Some(18), (82, 3, 15)));
        stage.dispatch().await;
        assert_eq!((stage.message(id).await.cost_micros, balance(&stage).await), (Some(18), (82, 0, 18)));
        assert_eq!(costs(&db).await, "email 3, sms 15");
    }

    async fn what_arrives_by_a_left_way_costs_that_way_alone(db: TestDb) {
        let (stage, twilio) = twilio_and_resend(&db).await;
        pays_ahead(&stage, rows(false)).await;
        let id = stage.send(first_then_second("voice", "email")).await;
        stage.dispatch().await;
        stage.world.clock.advance_ms(61_000);
        engine::apply::move_on(&stage.engine).await.unwrap();
        assert_eq!(balance(&stage).await, (90, 3, 7));
        rang_off(&stage, twilio, id, "70").await;
        assert_eq!((stage.message(id).await.cost_micros, balance(&stage).await), (Some(14), (86, 0, 14)));
        assert_eq!(costs(&db).await, "voice 14");
    }

    async fn what_a_provider_took_for_a_left_way_is_compared_and_charged_there(db: TestDb) {
        let (stage, twilio) = twilio_and_resend(&db).await;
        pays_ahead(&stage, rows(true)).await;
        let id = goes_on(&stage, "sms", "email").await;
        assert_eq!((stage.message(id).await.cost_micros, balance(&stage).await), (Some(13), (87, 0, 13)));
        assert_eq!(priced(&stage, twilio, &[(hooks::SID, 12)]).await, (1, 8));
        assert_eq!((stage.message(id).await.cost_micros, balance(&stage).await), (Some(18), (82, 0, 18)));
        assert_eq!((costs(&db).await.as_str(), charges(&db).await.as_str()), ("email 3, sms 15", "email 3, sms 15"));
        assert_eq!(priced(&stage, twilio, &[(hooks::SID, 12)]).await, (0, 12));
        assert_eq!((balance(&stage).await, entries(&db, "correct").await.as_str()), ((82, 0, 18), "5"));
    }

    async fn who_is_not_billed_sees_what_each_way_took(db: TestDb) {
        let (stage, twilio) = twilio_and_resend(&db).await;
        let id = goes_on(&stage, "sms", "email").await;
        for (difference, micros) in [(0, 7_500), (0, 7_500), (1, 8_000)] {
            assert_eq!(priced(&stage, twilio, &[(hooks::SID, micros)]).await.0, difference);
            assert_eq!(stage.message(id).await.cost_micros, Some(micros));
            assert_eq!(costs(&db).await, format!("sms {micros}"));
            adds_up(&stage).await;
        }
        let resend = stage.message(id).await.account_id.unwrap();
        priced(&stage, resend, &[("4ef9a417-02e9-4d39-ad75-9611e0fcc33c", 400)]).await;
        assert_eq!((stage.message(id).await.cost_micros, costs(&db).await.as_str()), (Some(8_400), "email 400, sms 8000"));
        adds_up(&stage).await;
    }

    async fn what_was_sent_and_failed_at_once_is_charged_both_ways(db: TestDb) {
        let (stage, twilio) = twilio_and_resend(&db).await;
        pays_ahead(&stage, rows(false)).await;
        let id = stage.send(first_then_second("sms", "email")).await;
        // The report is there before the answer that names its id.
        hooks::call(&stage, twilio, hooks::report(twilio, None, hooks::SID, "undelivered")).await.unwrap();
        stage.dispatch().await;
        let m = stage.message(id).await;
        assert_eq!((m.channel.as_str(), m.cost_micros, balance(&stage).await), ("email", Some(13), (87, 0, 13)));
        assert_eq!((costs(&db).await.as_str(), charges(&db).await.as_str()), ("email 3, sms 10", "email 3, sms 10"));
    }

    async fn a_way_that_costs_nothing_adds_up(db: TestDb) {
        let (stage, _) = twilio_and_resend(&db).await;
        let price = |channel: &str, micros: i64| json!({ "channel": channel, "unit": "message", "amount_micros": micros });
        pays_ahead(&stage, json!([price("sms", 10), price("email", 0)])).await;
        let id = goes_on(&stage, "sms", "email").await;
        assert_eq!((stage.message(id).await.cost_micros, balance(&stage).await), (Some(10), (90, 0, 10)));
    }

    async fn a_way_that_cost_nothing_is_left_for_one_that_costs_something(db: TestDb) {
        let (stage, _) = twilio_and_resend(&db).await;
        let price = |channel: &str, micros: i64| json!({ "channel": channel, "unit": "message", "amount_micros": micros });
        pays_ahead(&stage, json!([price("sms", 0), price("email", 3)])).await;
        let id = stage.send(first_then_second("sms", "email")).await;
        stage.dispatch().await;
        assert_eq!((stage.message(id).await.charge.is_some(), balance(&stage).await), (true, (100, 0, 0)));
        stage.world.clock.advance_ms(61_000);
        engine::apply::move_on(&stage.engine).await.unwrap();
        assert_eq!((places(&db).await, balance(&stage).await), ((String::new(), String::new()), (97, 3, 0)));
        stage.dispatch().await;
        assert_eq!((stage.message(id).await.cost_micros, places(&db).await.1, balance(&stage).await), (Some(3), "0 for 3, settled".to_owned(), (97, 0, 3)));
    }

    async fn a_dead_letter_that_was_sent_after_all_keeps_its_way_when_it_goes_another(db: TestDb) {
        let stage = Stage::in_world(World::answering(&db, |_| broken_before("connect_refused"))).await;
        let twilio = hooks::twilio_account(&stage).await;
        let rows = json!([{ "channel": "sms", "unit": "message", "amount_micros": 7 }, { "channel": "sms", "provider": "sandbox", "unit": "message", "amount_micros": 3 }]);
        pays_ahead(&stage, rows).await;
        let id = stage.send(hooks::sms()).await;
        for _ in 0..60 {
            stage.world.clock.advance_ms(60_000);
            stage.tick().await;
        }
        assert_eq!((stage.status(id).await, balance(&stage).await), ("failed", (100, 0, 0)));
        hooks::call(&stage, twilio, hooks::report(twilio, Some(id), hooks::SID, "sent")).await.unwrap();
        assert_eq!((stage.status(id).await, balance(&stage).await), ("failed", (93, 0, 7)));
        accounts::force_delete(stage.engine.parts(), &stage.caller, twilio).await.unwrap();
        stage.account("sandbox", json!({}), None).await;
        stage.engine.retry(&stage.caller, &Repeat::NONE, id).await.unwrap();
        assert_eq!(balance(&stage).await, (90, 3, 7));
        stage.dispatch().await;
        assert_eq!((stage.message(id).await.cost_micros, balance(&stage).await), (Some(10), (90, 0, 10)));
        let ways = shown(&stage, id).await["former_routes"].clone();
        assert_eq!((&ways[0]["connector"], &ways[0]["cost"]["amount_micros"]), (&json!("twilio"), &json!(7)));
    }

    async fn ways_left_before_they_were_told_apart_go_on_to_add_up(db: TestDb) {
        let (stage, twilio) = twilio_and_resend(&db).await;
        pays_ahead(&stage, rows(false)).await;
        let id = goes_on(&stage, "voice", "email").await;
        plant(&stage, "UPDATE former_routes SET charge = NULL, cost_micros = NULL, cost_currency = NULL").await;
        plant(&stage, "UPDATE messages SET cost_before = NULL").await;
        assert!(stage.engine.recount(stage.tenant).await.unwrap() > 0);
        assert_eq!(costs(&db).await, "email 10");
        rang_off(&stage, twilio, id, "130").await;
        assert_eq!((stage.message(id).await.cost_micros, balance(&stage).await), (Some(10), (90, 0, 10)));
        assert_eq!((costs(&db).await.as_str(), charges(&db).await.as_str()), ("email 10", "email 3, voice 7"));
        assert_eq!(shown(&stage, id).await["former_routes"][0]["cost"], Value::Null);
    }

    async fn a_message_costs_what_the_kind_costs_it_was_billed_as(db: TestDb) {
        let (stage, account) = meta(&db).await;
        let id = stage.send(template()).await;
        stage.dispatch().await;
        assert_eq!(balance(&stage).await, (90, 0, 10));
        billed(&stage, account, "sent", regular("utility")).await;
        assert_eq!((balance(&stage).await, entries(&db, "correct").await.as_str()), ((90, 0, 10), ""));
        for _ in 0..2 {
            billed(&stage, account, "delivered", regular("marketing")).await;
            assert_eq!((stage.message(id).await.cost_micros, balance(&stage).await), (Some(30), (70, 0, 30)));
            assert_eq!(entries(&db, "correct").await, "20");
        }
        // What Meta takes nothing for is like an answer to the recipient, and has no cost to put a markup on.
        let free = json!({ "billable": false, "pricing_model": "PMP", "type": "free_customer_service", "category": "utility" });
        for _ in 0..2 {
            billed(&stage, account, "read", free.clone()).await;
            assert_eq!((stage.message(id).await.cost_micros, balance(&stage).await), (Some(1), (99, 0, 1)));
            assert_eq!((entries(&db, "correct").await.as_str(), costs(&db).await.as_str()), ("20\n29", "whatsapp 1"));
        }
        // A kind nobody knows here changes nothing, and is told all the same.
        billed(&stage, account, "delivered", regular("something_new")).await;
        assert_eq!(balance(&stage).await, (99, 0, 1));
        let told = hooks::read(stage.engine.timeline(&stage.caller, id).await);
        let told = told["data"].as_array().unwrap().iter().filter_map(|entry| entry["detail"].get("billed_as"));
        let told: Vec<(&str, bool)> = told.map(|as_what| (as_what["category"].as_str().unwrap(), as_what["is_free"].as_bool().unwrap())).collect();
        assert_eq!(told.len(), 4, "each status was told once for each kind");
        for as_what in [("utility", false), ("marketing", false), ("utility", true), ("something_new", false)] {
            assert!(told.contains(&as_what), "{told:?}");
        }
        let asked: WhatIf = body(json!({ "currency": "USD", "rows": [{ "channel": "whatsapp", "unit": "message", "amount_micros": 5 }] }));
        let tried = stage.engine.what_if(&stage.caller, asked).await.unwrap();
        let kinds: Vec<_> = tried.data.iter().map(|row| (row.category.map(|kind| kind.as_str()), row.messages)).collect();
        assert_eq!(kinds, [(Some("service"), 1)]);
    }

    async fn a_kind_that_is_known_before_the_answer_is_charged_at_once(db: TestDb) {
        let (stage, account) = meta(&db).await;
        let id = stage.send(template()).await;
        billed(&stage, account, "sent", regular("marketing")).await;
        assert_eq!(balance(&stage).await, (90, 10, 0));
        stage.dispatch().await;
        assert_eq!((stage.message(id).await.cost_micros, balance(&stage).await), (Some(30), (70, 0, 30)));
        assert_eq!(entries(&db, "correct").await, "");
    }

    async fn what_nobody_speaks_for_is_given_back_and_charged_once_somebody_does(db: TestDb) {
        let (stage, account, id) = unanswered(&db).await;
        for day in 0..4 {
            let is_over = day == 3;
            assert_eq!((stage.status(id).await, balance(&stage).await), ("unknown", if is_over { (100, 0, 0) } else { (90, 10, 0) }), "{day}");
            stage.world.clock.advance_ms(DAY_MS);
            // It was asked about every five minutes until then; once is enough here.
            stage.tick().await;
        }
        assert_eq!(entries(&db, "release").await, "10");
        for _ in 0..2 {
            hooks::call(&stage, account, hooks::report(account, Some(id), hooks::SID, "delivered")).await.unwrap();
            assert_eq!((stage.status(id).await, balance(&stage).await), ("delivered", (90, 0, 10)));
        }
        assert_eq!((entries(&db, "release").await.as_str(), entries(&db, "settle").await.as_str()), ("10", "10"));
    }

    async fn what_somebody_speaks_for_in_time_is_charged_and_not_given_back(db: TestDb) {
        let (stage, account, id) = unanswered(&db).await;
        stage.world.clock.advance_ms(2 * DAY_MS);
        stage.tick().await;
        hooks::call(&stage, account, hooks::report(account, Some(id), hooks::SID, "delivered")).await.unwrap();
        stage.world.clock.advance_ms(2 * DAY_MS);
        stage.tick().await;
        assert_eq!((balance(&stage).await, entries(&db, "release").await.as_str()), ((90, 0, 10), ""));
    }

    async fn what_failed_after_it_was_given_back_costs_nothing(db: TestDb) {
        let (stage, account, id) = unanswered(&db).await;
        stage.world.clock.advance_ms(4 * DAY_MS);
        stage.tick().await;
        hooks::call(&stage, account, hooks::report(account, Some(id), hooks::SID, "failed")).await.unwrap();
        assert_eq!((stage.status(id).await, balance(&stage).await, entries(&db, "release").await.as_str()), ("failed", (100, 0, 0), "10"));
    }

    async fn who_cannot_be_asked_is_waited_for_as_long(db: TestDb) {
        let stage = Stage::in_world(World::answering(&db, |_| broken_after("timeout"))).await;
        stage.account("smtp", json!({ "host": "mail.example.com", "port": 25, "security": "none" }), Some("acme@example.com")).await;
        pays_ahead(&stage, rows(false)).await;
        let mail = json!({ "to": { "email": "ada@example.com" }, "guarantee": "at_most_once", "content": { "subject": "Hi", "text": "Hello" } });
        let ids = [stage.send(mail.clone()).await, stage.send(mail).await];
        stage.dispatch().await;
        stage.world.clock.advance_ms(2 * DAY_MS);
        stage.tick().await;
        assert_eq!((stage.status(ids[0]).await, balance(&stage).await), ("unknown", (94, 6, 0)));
        // What is tried again before then keeps what is set aside, and what is tried after sets it aside again.
        stage.engine.retry(&stage.caller, &Repeat::NONE, ids[0]).await.unwrap();
        assert_eq!(balance(&stage).await, (94, 6, 0));
        stage.world.clock.advance_ms(2 * DAY_MS);
        stage.tick().await;
        assert_eq!((stage.status(ids[0]).await, stage.status(ids[1]).await, balance(&stage).await), ("unknown", "unknown", (97, 3, 0)));
        stage.engine.retry(&stage.caller, &Repeat::NONE, ids[1]).await.unwrap();
        assert_eq!(balance(&stage).await, (94, 6, 0));
        for _ in 0..2 {
            stage.world.clock.advance_ms(4 * DAY_MS);
            stage.tick().await;
        }
        assert_eq!(balance(&stage).await, (100, 0, 0));
    }
}
