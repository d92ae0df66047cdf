//! Money on both engines: what is asked, set aside, charged and given back, and that nobody spends what is not there.

use futures_util::future::{join, join_all};
use model::{Call, Channel, Ids, MessageId, Method};
use serde_json::{Value, json};
use testkit::{Stage, TestDb, World, broken_before, http_answer};
use tidings_engine::{
    books,
    keys::Caller,
    money::{
        credits::{self, CreditsPatch, StatementQuery},
        prices,
    },
    once::{IdempotencyKey, Repeat},
};

use crate::hooks;

/// A stage whose tenant pays ahead: an SMS segment costs 10, 4 to India, a mail 3.
pub async fn prepaid(db: &TestDb, credit: i64) -> Stage {
    let stage = Stage::new(db).await;
    stage.account("sandbox", json!({}), None).await;
    pays_ahead(stage, 3, credit).await
}

/// The same for a stage that is there, where a mail costs something else.
async fn pays_ahead(stage: Stage, mail: i64, credit: i64) -> Stage {
    let rows = json!([
        {"channel": "sms", "unit": "segment", "amount_micros": 10}, {"channel": "sms", "prefix": "91", "unit": "segment", "amount_micros": 4},
        {"channel": "email", "unit": "message", "amount_micros": mail},
    ]);
    let new = serde_json::from_value(json!({"currency": "USD", "rows": rows})).unwrap();
    prices::create(stage.engine.parts(), &Caller::system(None), &Repeat::NONE, new).await.unwrap();
    mode(&stage, "prepaid").await;
    buy(&stage, credit, Repeat::NONE).await;
    stage
}

async fn mode(stage: &Stage, word: &str) {
    let change: CreditsPatch = serde_json::from_value(json!({"mode": word})).unwrap();
    credits::patch(stage.engine.parts(), &stage.caller, change).await.unwrap();
}

async fn buy(stage: &Stage, amount: i64, repeat: Repeat) {
    let new = serde_json::from_value(json!({"amount_micros": amount, "reference": "bank"})).unwrap();
    credits::purchase(stage.engine.parts(), &stage.caller, &repeat, new).await.unwrap();
}

fn sms(to: &str) -> Value {
    json!({"to": {"phone": to}, "channel": "sms", "content": {"text": "Hello"}})
}

/// Available, reserved and spent; everything must add up.
async fn balance(stage: &Stage) -> (i64, i64, i64) {
    let credits = credits::get(stage.engine.parts(), &stage.caller, true).await.unwrap();
    assert_eq!(credits.differences, Vec::<String>::new());
    (credits.available.amount_micros, credits.reserved.amount_micros, credits.spent.amount_micros)
}

async fn cost(stage: &Stage, id: MessageId) -> Option<i64> {
    stage.message(id).await.cost_micros
}

testkit::both! {
    async fn a_message_is_set_aside_and_paid_when_it_was_sent(db: TestDb) {
        let stage = prepaid(&db, 100).await;
        let at_home = stage.send(sms("+15550100001")).await;
        let abroad = stage.send(sms("+919800000001")).await;
        assert_eq!(balance(&stage).await, (86, 14, 0));
        assert_eq!((cost(&stage, at_home).await, cost(&stage, abroad).await), (Some(10), Some(4)));
        stage.dispatch().await;
        stage.pass(60_000).await;
        assert_eq!(balance(&stage).await, (86, 0, 14));
        assert_eq!(stage.message(at_home).await.cost_currency.as_deref(), Some("USD"));
    }

    async fn messages_of_a_batch_are_set_aside_for_together_and_paid_one_by_one(db: TestDb) {
        let stage = prepaid(&db, 100).await;
        let grant = json!({"amount_micros": 15, "reference": "welcome", "expires_at": "2099-01-01T00:00:00Z"});
        credits::grant(stage.engine.parts(), &stage.caller, &Repeat::NONE, serde_json::from_value(grant).unwrap()).await.unwrap();
        let mut later = sms("+15550100004");
        later["send_at"] = json!(stage.world.ports.clock.now().plus_seconds(3_600));
        let messages = [sms("+15550100001"), sms("+919800000001"), sms("+15550100003"), later];
        let reply = stage.engine.send_batch(&stage.caller, json!({"messages": messages}).to_string().as_bytes(), None).await.unwrap();
        let ids: Value = serde_json::from_slice(&reply.body).unwrap();
        let ids: Vec<MessageId> = ids["data"].as_array().unwrap().iter().map(|m| m["id"].as_str().unwrap().parse().unwrap()).collect();
        assert_eq!(balance(&stage).await, (81, 34, 0));
        let entries = async || credits::entries(stage.engine.parts(), &stage.caller, None, None).await.unwrap().data;
        let told: Vec<_> = entries().await.into_iter().take(2).map(|e| (e.kind, e.from, e.amount.amount_micros, e.message_id, e.messages)).collect();
        let reserve = |from: &str, amount, first: usize, count| ("reserve".to_owned(), from.to_owned(), amount, Some(ids[first].to_string()), Some(count));
        assert_eq!(told, [reserve("available", 19, 2, 2), reserve("promotional", 15, 0, 3)]);
        stage.dispatch().await;
        stage.pass(60_000).await;
        stage.engine.cancel(&stage.caller, &Repeat::NONE, ids[3]).await.unwrap();
        assert_eq!(balance(&stage).await, (91, 0, 24));
        let told: Vec<_> = entries().await.into_iter().take_while(|e| e.kind != "reserve").map(|e| (e.kind, e.messages)).collect();
        assert_eq!(told.iter().filter(|(kind, messages)| kind == "settle" && *messages == Some(1)).count(), 3, "{told:?}");
        let made = credits::statement(stage.engine.parts(), &stage.caller, &StatementQuery::default()).await.unwrap();
        let text = String::from_utf8(made.body).unwrap();
        let cells = |line: &str| line.split(',').map(str::to_owned).collect::<Vec<_>>();
        let reserves: Vec<_> = text.lines().map(cells).filter(|cells| cells[2] == "reserve").map(|cells| (cells[5].clone(), cells[12].clone())).collect();
        assert_eq!(reserves, [("19".to_owned(), "2".to_owned()), ("15".to_owned(), "3".to_owned())]);
        assert_eq!(books::verify(&stage.world.ports.db).await.unwrap().differences, []);
    }

    async fn messages_that_end_at_once_are_charged_together(db: TestDb) {
        let stage = prepaid(&db, 1_000).await;
        let messages: Vec<_> = (0..20).map(|number| sms(&format!("+155501000{number:02}"))).collect();
        stage.engine.send_batch(&stage.caller, json!({"messages": messages}).to_string().as_bytes(), None).await.unwrap();
        join_all(engine::dispatch::exchanges(&stage.engine).await.unwrap()).await;
        stage.pass(60_000).await;
        assert_eq!(balance(&stage).await, (800, 0, 200));
        let entries = credits::entries(stage.engine.parts(), &stage.caller, Some(100), None).await.unwrap().data;
        let settled: Vec<_> = entries.iter().filter(|e| e.kind == "settle").map(|e| (e.amount.amount_micros, e.messages.unwrap())).collect();
        assert!(settled.len() < 20 && settled.iter().all(|(amount, messages)| *amount == 10 * messages), "{settled:?}");
        assert_eq!(settled.iter().map(|(_, messages)| messages).sum::<i64>(), 20);
        assert_eq!(books::verify(&stage.world.ports.db).await.unwrap().differences, []);
    }

    async fn what_was_sent_has_at_least_one_part_whatever_its_provider_says(db: TestDb) {
        let answer = r#"{"id": "e8077d803532c0b5937c639b60216938", "recipients": {"items": [{"status": "sent", "messagePartCount": 0}]}}"#;
        let stage = Stage::in_world(World::answering(&db, move |_| http_answer(201, answer))).await;
        stage.account("messagebird", json!({"api": "classic", "access_key": "test_0123456789", "signing_key": "0123456789"}), Some("+31612345678")).await;
        let stage = pays_ahead(stage, 3, 100).await;
        let mut long = sms("+4915510000001");
        long["content"]["text"] = json!("x".repeat(200));
        let id = stage.send(long).await;
        stage.dispatch().await;
        let m = stage.message(id).await;
        // Nothing is counted there yet: our own count stands.
        assert_eq!((m.status, m.segments, m.cost_micros), (model::Status::Sent, Some(2), Some(20)));
        assert_eq!(balance(&stage).await, (80, 0, 20));
        assert_eq!(books::verify(&stage.world.ports.db).await.unwrap().differences, []);
    }

    async fn what_is_withdrawn_costs_nothing(db: TestDb) {
        let stage = prepaid(&db, 100).await;
        let mut later = sms("+15550100001");
        later["send_at"] = json!(stage.world.ports.clock.now().plus_seconds(3_600));
        let id = stage.send(later).await;
        assert_eq!(balance(&stage).await, (90, 10, 0));
        stage.engine.cancel(&stage.caller, &Repeat::NONE, id).await.unwrap();
        assert_eq!(balance(&stage).await, (100, 0, 0));
        assert_eq!(cost(&stage, id).await, Some(0));
    }

    async fn a_dead_letter_is_tried_again_only_as_far_as_credit_reaches(db: TestDb) {
        let stage = Stage::in_world(World::answering(&db, |_| broken_before("connect_refused"))).await;
        let settings = json!({"account_sid": format!("AC{:032}", 1), "auth_token": "0123456789abcdef0123456789abcdef"});
        stage.account("twilio", settings, Some("+15550100001")).await;
        let stage = pays_ahead(stage, 3, 20).await;
        let (one, other) = (stage.send(sms("+15550100011")).await, stage.send(sms("+15550100012")).await);
        // The account is paused and probed between tries.
        stage.pass_by(5_400_000, 10_000).await;
        assert_eq!((stage.status(one).await, stage.status(other).await, balance(&stage).await), ("failed", "failed", (20, 0, 0)));
        let mut later = sms("+15550100013");
        later["send_at"] = json!(stage.world.ports.clock.now().plus_seconds(86_400));
        let third = stage.send(later).await;
        let both = serde_json::from_value(json!({"ids": [one, other]})).unwrap();
        let retried = stage.engine.retry_many(&stage.caller, &Repeat::NONE, both).await.unwrap();
        let lines: Value = serde_json::from_slice(&retried.body).unwrap();
        assert_eq!((&lines["data"][0]["status"], &lines["data"][1]["error"]["code"]), (&json!("queued"), &json!("insufficient_credit")));
        assert_eq!((balance(&stage).await, cost(&stage, one).await), ((0, 20, 0), Some(10)));
        let refused = stage.engine.retry(&stage.caller, &Repeat::NONE, other).await.unwrap_err();
        let short = refused.shortfall.map(|short| (short.0.amount_micros, short.1.amount_micros));
        assert_eq!((refused.code, refused.kind.status(), short), ("insufficient_credit", 402, Some((10, 0))));
        stage.engine.cancel(&stage.caller, &Repeat::NONE, third).await.unwrap();
        stage.engine.retry(&stage.caller, &Repeat::NONE, other).await.unwrap();
        assert_eq!((balance(&stage).await, stage.status(other).await), ((0, 20, 0), "queued"));
        stage.pass_by(5_400_000, 10_000).await;
        assert_eq!((stage.status(one).await, balance(&stage).await), ("failed", (20, 0, 0)));
        assert_eq!(tidings_engine::books::verify(&stage.world.ports.db).await.unwrap().differences, []);
    }

    async fn a_channel_credit_does_not_reach_for_is_passed_over(db: TestDb) {
        let stage = Stage::new(&db).await;
        stage.account("sandbox", json!({}), None).await;
        let stage = pays_ahead(stage, 12, 22).await;
        let both = json!({
            "to": {"phone": "+15005550001", "email": "ada@example.com"}, "channel": ["sms", "email"],
            "content": {"subject": "Hi", "text": "Hello"},
        });
        let ids = [stage.send(both.clone()).await, stage.send(both).await];
        assert_eq!(balance(&stage).await, (2, 20, 0));
        stage.pass(60_000).await;
        let mut states = [stage.message(ids[0]).await, stage.message(ids[1]).await].map(|m| (m.channel, m.status.as_str()));
        states.sort_unstable_by_key(|(channel, _)| channel.as_str());
        // What was set aside for the first way pays a part of the second: what is left reaches for one of them.
        assert_eq!(states, [(Channel::Email, "read"), (Channel::Sms, "failed")]);
        assert_eq!(balance(&stage).await, (10, 0, 12));
        let why = crate::setting::column(&db, "SELECT detail FROM observations WHERE kind = 'passed_over'").await;
        let why: Value = serde_json::from_str(&why).unwrap();
        assert_eq!(why, json!({"channels": ["email"], "because": "insufficient_credit"}));
        assert_eq!(tidings_engine::books::verify(&stage.world.ports.db).await.unwrap().differences, []);
    }

    async fn without_enough_credit_nothing_is_accepted(db: TestDb) {
        let stage = prepaid(&db, 25).await;
        let batch = json!({"messages": [sms("+15550100001"), sms("+15550100002"), sms("+15550100003")]}).to_string();
        let refused = stage.engine.send_batch(&stage.caller, batch.as_bytes(), None).await.unwrap_err();
        assert_eq!((refused.code, refused.kind.status(), refused.action), ("insufficient_credit", 402, Some("ADD_CREDIT")));
        let (need, available) = *refused.shortfall.unwrap();
        assert_eq!((need.amount_micros, available.amount_micros), (30, 25));
        assert_eq!(balance(&stage).await, (25, 0, 0));
        stage.send(sms("+15550100001")).await;
        stage.send(sms("+15550100001")).await;
        assert_eq!(stage.try_send(sms("+15550100001"), None).await.unwrap_err().code, "insufficient_credit");
        stage.send(sms("+919800000001")).await;
        assert_eq!(balance(&stage).await, (1, 24, 0));
    }

    async fn many_at_once_never_spend_more_than_there_is(db: TestDb) {
        let stage = prepaid(&db, 235).await;
        let sends = (0..60).map(|number| stage.try_send(sms(&format!("+1555010{number:04}")), None));
        let accepted = join_all(sends).await.into_iter().filter(Result::is_ok).count();
        assert_eq!(accepted, 23);
        assert_eq!(balance(&stage).await, (5, 230, 0));
        stage.pass(60_000).await;
        assert_eq!(balance(&stage).await, (5, 0, 230));
    }

    async fn whatever_comes_at_once_credit_is_never_overdrawn(db: TestDb) {
        let stage = prepaid(&db, 100).await;
        let chance = Ids::seeded(5);
        let below = |end: u64| i64::try_from(chance.below(end)).unwrap();
        let mut spent = 0;
        for round in 0..6 {
            buy(&stage, 1 + below(400), Repeat::NONE).await;
            // Batches of messages of several parts, and credit that is given and taken, all at the same time.
            let sends: Vec<String> = (0..20 + below(20))
                .map(|number| {
                    let text = "Hello ".repeat(1 + chance.below(60) as usize);
                    let one = |index: i64| json!({"to": {"phone": format!("+1555{round}{number:03}{index:03}")}, "channel": "sms", "content": {"text": text}});
                    json!({"messages": (0..=below(4)).map(one).collect::<Vec<_>>()}).to_string()
                })
                .collect();
            let sends = sends.iter().map(|batch| stage.engine.send_batch(&stage.caller, batch.as_bytes(), None));
            let moves: Vec<_> = (0..6).map(|_| serde_json::from_value(json!({"amount_micros": below(90) - 60, "reason": "a test"})).unwrap()).collect();
            let moves = moves.into_iter().map(|new| credits::adjust(stage.engine.parts(), &stage.caller, &Repeat::NONE, new));
            let (sent, _) = join(join_all(sends), join_all(moves)).await;
            let codes: Vec<_> = sent.into_iter().filter_map(Result::err).map(|error| error.code).collect();
            assert!(codes.iter().all(|code| *code == "insufficient_credit"), "{codes:?}");
            let (available, reserved, so_far) = balance(&stage).await;
            assert!(available >= 0 && reserved >= 0 && so_far >= spent, "round {round}: {available} {reserved} {so_far}");
            stage.pass(60_000).await;
            let (available, reserved, so_far) = balance(&stage).await;
            assert!(available >= 0 && reserved == 0 && so_far >= spent, "round {round}: {available} {reserved} {so_far}");
            spent = so_far;
        }
        assert!(spent > 0);
        assert_eq!(engine::books::verify(&stage.world.ports.db).await.unwrap().differences, []);
    }

    async fn a_repeated_request_is_paid_once(db: TestDb) {
        let stage = prepaid(&db, 100).await;
        let first = stage.try_send(sms("+15550100001"), Some("k")).await.unwrap();
        assert_eq!(stage.try_send(sms("+15550100001"), Some("k")).await.unwrap()["id"], first["id"]);
        assert_eq!(balance(&stage).await, (90, 10, 0));
        let repeat = || Repeat { key: Some(IdempotencyKey::parse("bought").unwrap()), fingerprint: [7; 32] };
        buy(&stage, 50, repeat()).await;
        buy(&stage, 50, repeat()).await;
        assert_eq!(balance(&stage).await, (140, 10, 0));
    }

    async fn what_has_no_price_is_refused_and_who_is_not_billed_is_not_asked(db: TestDb) {
        let stage = prepaid(&db, 100).await;
        let voice = json!({"to": {"phone": "+15550100001"}, "channel": "voice", "content": {"say": "Hello"}});
        assert_eq!(stage.try_send(voice.clone(), None).await.unwrap_err().code, "no_price");
        mode(&stage, "none").await;
        let id = stage.send(voice).await;
        assert_eq!(cost(&stage, id).await, None);
        assert_eq!(balance(&stage).await, (100, 0, 0));
        mode(&stage, "postpaid").await;
        let batch = json!({"messages": vec![sms("+15550100001"); 12]}).to_string();
        stage.engine.send_batch(&stage.caller, batch.as_bytes(), None).await.unwrap();
        assert_eq!(balance(&stage).await, (-20, 120, 0));
    }

    async fn what_was_charged_stays_its_charge_when_the_tenant_is_no_longer_billed(db: TestDb) {
        let (stage, _) = hooks::twilio(&db, |call| match call {
            // Asked about a message, Twilio says what it takes.
            Call::Http(http) if http.method == Method::Get => {
                let price = r#""price": "-0.000012", "price_unit": "USD""#;
                http_answer(200, format!(r#"{{"sid": "{}", "status": "delivered", {price}}}"#, hooks::SID))
            }
            _ => hooks::taken(),
        })
        .await;
        let rows = json!([{"channel": "sms", "unit": "segment", "cost_micros": 10, "markup_basis_points": 5_000}]);
        let new = serde_json::from_value(json!({"currency": "USD", "rows": rows})).unwrap();
        prices::create(stage.engine.parts(), &Caller::system(None), &Repeat::NONE, new).await.unwrap();
        mode(&stage, "prepaid").await;
        buy(&stage, 100, Repeat::NONE).await;
        let id = stage.send(sms("+4915112345678")).await;
        stage.dispatch().await;
        assert_eq!(cost(&stage, id).await, Some(15));
        mode(&stage, "none").await;
        let never = stage.send(sms("+4915112345679")).await;
        stage.dispatch().await;
        stage.world.clock.advance_ms(5 * 60_000);
        stage.tick().await;
        assert_eq!((cost(&stage, id).await, cost(&stage, never).await), (Some(18), Some(12)));
        assert_eq!(balance(&stage).await, (82, 0, 18));
        assert_eq!(books::verify(&stage.world.ports.db).await.unwrap().differences, []);
    }

    async fn a_statement_is_cut_by_time_and_continued(db: TestDb) {
        let stage = prepaid(&db, 100).await;
        let begun = stage.world.ports.clock.now();
        for _ in 0..3 {
            stage.world.clock.advance_ms(1_000);
            buy(&stage, 1, Repeat::NONE).await;
        }
        let numbers = async |query: StatementQuery| {
            let made = credits::statement(stage.engine.parts(), &stage.caller, &query).await.unwrap();
            let text = String::from_utf8(made.body).unwrap();
            let cells = text.lines().skip(1).map(|line| line.split(',').next().unwrap().parse::<i64>().unwrap());
            (cells.collect::<Vec<_>>(), made.next_cursor)
        };
        let (all, next) = numbers(StatementQuery::default()).await;
        assert_eq!((all, next), (vec![4, 3, 2, 1], None));
        let part = StatementQuery { since: Some(begun.plus_seconds(1)), until: Some(begun.plus_seconds(3)), cursor: None };
        assert_eq!(numbers(part.clone()).await.0, [3, 2]);
        let page = credits::entries(stage.engine.parts(), &stage.caller, Some(2), None).await.unwrap();
        let rest = StatementQuery { cursor: page.next_cursor, ..part };
        assert_eq!(numbers(rest).await.0, [2]);
        let foreign = StatementQuery { cursor: Some("x".to_owned()), ..StatementQuery::default() };
        assert_eq!(credits::statement(stage.engine.parts(), &stage.caller, &foreign).await.unwrap_err().code, "invalid_cursor");
    }

    async fn what_one_line_cannot_hold_is_refused(db: TestDb) {
        let stage = prepaid(&db, 100).await;
        for text in ["two\nlines", "a\0b"] {
            let new = serde_json::from_value(json!({"amount_micros": 1, "reason": text})).unwrap();
            let refused = credits::adjust(stage.engine.parts(), &stage.caller, &Repeat::NONE, new).await.unwrap_err();
            assert_eq!((refused.errors[0].pointer.as_str(), refused.kind.status()), ("/reason", 422));
        }
        let take = async |micros: i64, may_overdraw: bool| {
            let new = json!({"amount_micros": -micros, "reason": "a fee", "may_overdraw": may_overdraw});
            let done = credits::adjust(stage.engine.parts(), &stage.caller, &Repeat::NONE, serde_json::from_value(new).unwrap()).await;
            done.err().map(|error| error.errors[0].detail.clone())
        };
        assert!(take(150, false).await.unwrap().starts_with("only 100 millionths"));
        assert_eq!((take(150, true).await, balance(&stage).await.0), (None, -50));
        assert!(take(1, false).await.unwrap().starts_with("only 0 millionths"));
        let rows = json!([{"channel": "sms", "unit": "segment", "amount_micros": 1}]);
        let new = serde_json::from_value(json!({"currency": "USD", "note": "a\0b", "rows": rows})).unwrap();
        let refused = prices::create(stage.engine.parts(), &Caller::system(None), &Repeat::NONE, new).await.unwrap_err();
        assert_eq!(refused.errors[0].pointer, "/note");
        // Sixteen thousand a message is a dollar in Indonesia.
        let rows = json!([{"channel": "sms", "unit": "segment", "amount_micros": 16_000_000_000_i64}]);
        let new = serde_json::from_value(json!({"currency": "IDR", "rows": rows})).unwrap();
        prices::create(stage.engine.parts(), &Caller::system(None), &Repeat::NONE, new).await.unwrap();
    }

    async fn a_ledger_takes_another_currency_only_before_it_is_used(db: TestDb) {
        let stage = Stage::new(&db).await;
        let currency = async |word: &str| {
            let change = serde_json::from_value(json!({"currency": word})).unwrap();
            tidings_engine::tenants::patch(stage.engine.parts(), &Caller::system(None), stage.tenant, change).await
        };
        let marks: CreditsPatch = serde_json::from_value(json!({"low_at_micros": 5})).unwrap();
        credits::patch(stage.engine.parts(), &stage.caller, marks).await.unwrap();
        currency("EUR").await.unwrap();
        assert_eq!(credits::get(stage.engine.parts(), &stage.caller, true).await.unwrap().available.currency, "EUR");
        // However many lists of other currencies come after it, the one that counts is shown.
        for word in std::iter::once("EUR").chain(std::iter::repeat_n("USD", 105)) {
            let rows = json!([{"channel": "sms", "unit": "segment", "amount_micros": 1}]);
            let new = serde_json::from_value(json!({"currency": word, "rows": rows})).unwrap();
            prices::create(stage.engine.parts(), &Caller::system(None), &Repeat::NONE, new).await.unwrap();
        }
        let seen = prices::of_tenant(stage.engine.parts(), &stage.caller).await.unwrap();
        assert_eq!((seen.currency.as_str(), seen.current.map(|list| list.version), seen.coming.len()), ("EUR", Some(1), 0));
        assert_eq!(prices::counting(stage.engine.parts(), &Caller::system(None)).await.unwrap(), [1, 106].into());
        buy(&stage, 1, Repeat::NONE).await;
        assert_eq!(currency("USD").await.unwrap_err().code, "ledger_in_use");
        currency("EUR").await.unwrap();
    }

    async fn a_dry_run_tells_the_price_and_an_adjustment_takes_what_is_there(db: TestDb) {
        let stage = prepaid(&db, 100).await;
        let mut request = sms("+919800000001");
        request["dry_run"] = true.into();
        let told = stage.try_send(request, None).await.unwrap();
        assert_eq!(told["cost"], json!({"amount_micros": 4, "currency": "USD"}));
        assert_eq!(balance(&stage).await, (100, 0, 0));
        let adjust = async |amount: i64| {
            let new = serde_json::from_value(json!({"amount_micros": amount, "reason": "a test"})).unwrap();
            credits::adjust(stage.engine.parts(), &stage.caller, &Repeat::NONE, new).await.map(drop)
        };
        assert_eq!(adjust(-101).await.unwrap_err().errors[0].pointer, "/amount_micros");
        adjust(-60).await.unwrap();
        assert_eq!(balance(&stage).await, (40, 0, 0));
        let page = credits::entries(stage.engine.parts(), &stage.caller, Some(1), None).await.unwrap();
        assert_eq!((page.data[0].number, page.data[0].amount.amount_micros, page.data[0].available_after_micros), (2, 60, 40));
        let rest = credits::entries(stage.engine.parts(), &stage.caller, None, page.next_cursor.as_deref()).await.unwrap();
        assert_eq!(rest.data.iter().map(|entry| entry.kind.as_str()).collect::<Vec<_>>(), ["purchase"]);
    }
}
