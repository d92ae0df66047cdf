//! Payments that their payers dispute, on both engines, against the simulator's Stripe: what the bank takes leaves the credit once, and what it gives back comes back once, in whatever order it
//! is told.

use serde_json::{Value, json};
use testkit::TestDb;
use tidings_engine::{
    books,
    money::{credits, prices, top_ups::TopUpWay},
    once::Repeat,
};

use crate::purchases::Shop;

const M: i64 = 1_000_000;
const CARD: &str = "4242424242424242";

/// A purchase of ten that was paid, and Stripe's id of the payment.
async fn paid(shop: &Shop, db: &TestDb) -> (Value, String) {
    let purchase = shop.buy(10 * M).await;
    shop.on_page(&purchase, "paid", CARD);
    shop.tell().await;
    shop.jobs().await;
    let payment = crate::setting::column(db, "SELECT payment FROM credit_purchases").await;
    (purchase, payment)
}

fn at_bank(shop: &Shop, payment: &str, outcome: &str) {
    shop.at_stripe("bank/disputes", &format!("payment_intent={payment}&outcome={outcome}"));
}

/// Tells what happened, everything twice and the last first, and lets the jobs ask.
async fn settle(shop: &Shop) {
    shop.tell().await;
    shop.jobs().await;
    shop.jobs().await;
}

async fn spend(shop: &Shop, micros: i64) {
    let take = serde_json::from_value(json!({"amount_micros": -micros, "reason": "spent"})).unwrap();
    credits::adjust(shop.parts(), &shop.stage.caller, &Repeat::NONE, take).await.unwrap();
}

async fn state(shop: &Shop, purchase: &Value) -> (Value, i64) {
    let seen = shop.purchase(purchase).await;
    let last = seen["disputes"].as_array().unwrap().last().map_or(Value::Null, |last| last["state"].clone());
    (last, seen["disputed"]["amount_micros"].as_i64().unwrap())
}

async fn debt(shop: &Shop) -> i64 {
    credits::get(shop.parts(), &shop.stage.caller, true).await.unwrap().debt.amount_micros
}

/// A purchase of ten that was paid with a card that is kept, and Stripe's id of the payment.
async fn kept(shop: &Shop, db: &TestDb) -> (Value, String) {
    let new = json!({"amount_micros": 10 * M, "save_payment_method": true});
    let purchase = shop.try_buy(new, None).await.unwrap();
    shop.on_page(&purchase, "paid", CARD);
    settle(shop).await;
    let payments = crate::setting::column(db, "SELECT payment FROM credit_purchases ORDER BY id").await;
    (purchase, payments.lines().last().unwrap().to_owned())
}

/// What happens when credit runs low, and why.
async fn way(shop: &Shop) -> (TopUpWay, Option<String>) {
    let state = credits::get(shop.parts(), &shop.stage.caller, false).await.unwrap().top_up_state.unwrap();
    (state.state, state.reason)
}

async fn told(db: &TestDb) -> String {
    crate::setting::column(db, "SELECT type FROM events WHERE type LIKE 'credit.dispute%' ORDER BY seq").await
}

testkit::both! {
    async fn what_is_disputed_leaves_the_credit_and_comes_back_when_it_is_won(db: TestDb) {
        let shop = Shop::open(&db).await;
        let (purchase, payment) = paid(&shop, &db).await;
        at_bank(&shop, &payment, "disputed");
        settle(&shop).await;
        assert_eq!((shop.balance().await, state(&shop, &purchase).await), ((0, 0), (json!("open"), 10 * M)));
        let seen = shop.purchase(&purchase).await["disputes"][0].clone();
        assert_eq!((&seen["reason"], &seen["amount"]["amount_micros"], seen["respond_by"].is_string()), (&json!("fraudulent"), &json!(10 * M), true));
        at_bank(&shop, &payment, "answered");
        settle(&shop).await;
        assert_eq!((shop.balance().await, state(&shop, &purchase).await), ((0, 0), (json!("under_review"), 10 * M)));
        at_bank(&shop, &payment, "won");
        settle(&shop).await;
        assert_eq!((shop.balance().await, state(&shop, &purchase).await), ((10 * M, 10 * M), (json!("won"), 0)));
        assert_eq!(shop.kinds().await, ["purchase", "dispute", "dispute_returned"]);
        assert_eq!(told(&db).await, "credit.disputed\ncredit.disputed\ncredit.dispute_closed");
        let statement = String::from_utf8(credits::statement(shop.parts(), &shop.stage.caller, &credits::StatementQuery::default()).await.unwrap().body).unwrap();
        assert!(statement.contains(",dispute,available,purchased,10000000,USD,0,"), "{statement}");
        assert_eq!(books::verify(&db.db).await.unwrap().differences, []);
    }

    async fn what_was_spent_of_it_is_a_debt_that_a_purchase_pays(db: TestDb) {
        let shop = Shop::open(&db).await;
        let (purchase, payment) = paid(&shop, &db).await;
        spend(&shop, 4 * M).await;
        assert_eq!(debt(&shop).await, 0);
        at_bank(&shop, &payment, "disputed");
        settle(&shop).await;
        assert_eq!((shop.balance().await, debt(&shop).await), ((-4 * M, 0), 4 * M));
        at_bank(&shop, &payment, "lost");
        settle(&shop).await;
        assert_eq!((shop.balance().await, state(&shop, &purchase).await), ((-4 * M, 0), (json!("lost"), 10 * M)));
        // Nothing prepaid is accepted for credit that is owed.
        let rows = json!([{"channel": "sms", "unit": "segment", "amount_micros": 10}]);
        let list = serde_json::from_value(json!({"currency": "USD", "rows": rows})).unwrap();
        prices::create(shop.parts(), &tidings_engine::keys::Caller::system(None), &Repeat::NONE, list).await.unwrap();
        shop.stage.account("sandbox", json!({}), None).await;
        let sms = json!({"to": {"phone": "+4915112345678"}, "channel": "sms", "content": {"text": "Hello"}});
        assert_eq!(shop.stage.try_send(sms.clone(), None).await.unwrap_err().code, "insufficient_credit");
        let more = shop.try_buy(json!({"amount_micros": 5 * M, "reference": "bank"}), None).await.unwrap();
        assert_eq!((shop.balance().await, debt(&shop).await, &more["disputed"]["amount_micros"]), ((M, 5 * M), 0, &json!(0)));
        shop.stage.send(sms).await;
        assert_eq!(told(&db).await, "credit.disputed\ncredit.dispute_closed");
        assert_eq!(books::verify(&db.db).await.unwrap().differences, []);
    }

    async fn what_went_back_before_is_owed_too_and_promotional_credit_waits(db: TestDb) {
        let shop = Shop::open(&db).await;
        let (purchase, payment) = paid(&shop, &db).await;
        shop.refund(json!({"amount_micros": 4 * M, "reason": "by bank transfer"})).await.unwrap();
        spend(&shop, 6 * M).await;
        at_bank(&shop, &payment, "disputed");
        settle(&shop).await;
        assert_eq!((shop.balance().await, state(&shop, &purchase).await), ((-10 * M, -4 * M), (json!("open"), 10 * M)));
        assert_eq!(debt(&shop).await, 10 * M);
        let refused = shop.refund(json!({"amount_micros": 1, "reason": "more", "may_overdraw": true})).await.unwrap_err();
        assert!(refused.errors[0].detail.starts_with("only 0 millionths were bought"), "{refused:?}");
        let rows = json!([{"channel": "sms", "unit": "segment", "amount_micros": 10}]);
        let list = serde_json::from_value(json!({"currency": "USD", "rows": rows})).unwrap();
        prices::create(shop.parts(), &tidings_engine::keys::Caller::system(None), &Repeat::NONE, list).await.unwrap();
        shop.stage.account("sandbox", json!({}), None).await;
        let ends = shop.stage.world.ports.clock.now().plus_seconds(1_000);
        let gift = serde_json::from_value(json!({"amount_micros": M, "expires_at": ends, "reference": "welcome"})).unwrap();
        credits::grant(shop.parts(), &shop.stage.caller, &Repeat::NONE, gift).await.unwrap();
        let sms = json!({"to": {"phone": "+4915112345678"}, "channel": "sms", "content": {"text": "Hello"}});
        assert_eq!(shop.stage.try_send(sms.clone(), None).await.unwrap_err().code, "insufficient_credit");
        at_bank(&shop, &payment, "won");
        settle(&shop).await;
        assert_eq!((shop.balance().await, debt(&shop).await), ((0, 6 * M), 0));
        shop.stage.send(sms).await;
        assert_eq!(books::verify(&db.db).await.unwrap().differences, []);
    }

    async fn an_inquiry_takes_nothing_before_it_becomes_a_dispute(db: TestDb) {
        let shop = Shop::open(&db).await;
        let (purchase, payment) = paid(&shop, &db).await;
        at_bank(&shop, &payment, "asked");
        settle(&shop).await;
        assert_eq!((shop.balance().await, state(&shop, &purchase).await), ((10 * M, 10 * M), (json!("warning"), 0)));
        assert_eq!(crate::setting::column(&db, "SELECT CAST(COUNT(*) AS TEXT) FROM credit_purchases WHERE is_disputed").await, "1");
        at_bank(&shop, &payment, "dropped");
        settle(&shop).await;
        assert_eq!((shop.balance().await, state(&shop, &purchase).await), ((10 * M, 10 * M), (json!("dropped"), 0)));
        // Somebody else at the bank asks again, and this time it takes a part.
        shop.at_stripe("bank/disputes", &format!("payment_intent={payment}&outcome=disputed&amount=300&reason=duplicate"));
        settle(&shop).await;
        assert_eq!((shop.balance().await, state(&shop, &purchase).await), ((7 * M, 7 * M), (json!("open"), 3 * M)));
        // What the bank took cannot be given back as well.
        let back = |micros: i64| json!({"amount_micros": micros, "reason": "closed", "purchase_id": purchase["id"]});
        assert_eq!(shop.refund(back(8 * M)).await.unwrap_err().errors[0].pointer, "/amount_micros");
        shop.refund(back(7 * M)).await.unwrap();
        assert_eq!(shop.balance().await, (0, 0));
        assert_eq!(crate::setting::column(&db, "SELECT CAST(COUNT(*) AS TEXT) FROM credit_purchases WHERE is_disputed").await, "1");
        at_bank(&shop, &payment, "lost");
        settle(&shop).await;
        assert_eq!(crate::setting::column(&db, "SELECT CAST(COUNT(*) AS TEXT) FROM credit_purchases WHERE is_disputed").await, "0");
        assert_eq!(books::verify(&db.db).await.unwrap().differences, []);
    }

    async fn the_last_event_alone_is_enough_and_the_first_alone_is_too(db: TestDb) {
        let shop = Shop::open(&db).await;
        let (purchase, payment) = paid(&shop, &db).await;
        at_bank(&shop, &payment, "disputed");
        let early = shop.take_events();
        at_bank(&shop, &payment, "won");
        let late = shop.take_events();
        // That it began is heard only after it ended.
        shop.post(late.last().unwrap()).await.unwrap();
        shop.jobs().await;
        for event in early.iter().chain(&late) {
            shop.post(event).await.unwrap();
            shop.jobs().await;
        }
        assert_eq!((shop.balance().await, state(&shop, &purchase).await), ((10 * M, 10 * M), (json!("won"), 0)));
        assert_eq!(shop.kinds().await, ["purchase"], "nothing was missing when we looked");
        // An answer that is lost is asked for again, and an event that is forged changes nothing.
        at_bank(&shop, &payment, "disputed");
        let events = shop.take_events();
        let mut forged = events[0].clone();
        forged.headers.clear();
        assert_eq!(shop.post(&forged).await.unwrap_err().code, "invalid_signature");
        shop.jobs().await;
        assert_eq!(shop.balance().await, (10 * M, 10 * M));
        shop.post(&events[1]).await.unwrap();
        shop.lose(1);
        shop.jobs().await;
        assert_eq!(shop.balance().await, (10 * M, 10 * M));
        shop.jobs().await;
        assert_eq!(shop.balance().await, (0, 0));
    }

    async fn a_dispute_before_we_heard_of_the_payment_is_not_forgotten(db: TestDb) {
        let shop = Shop::open(&db).await;
        let purchase = shop.buy(10 * M).await;
        shop.on_page(&purchase, "paid", CARD);
        let paid = shop.take_events();
        let body = String::from_utf8_lossy(&paid[0].body).into_owned();
        let payment = body.split('"').find(|word| word.starts_with("pi_")).unwrap();
        at_bank(&shop, payment, "disputed");
        for event in shop.take_events().iter().chain(&paid) {
            shop.post(event).await.unwrap();
        }
        shop.jobs().await;
        assert_eq!((shop.balance().await, state(&shop, &purchase).await), ((0, 0), (json!("open"), 10 * M)));
    }

    async fn nothing_is_bought_by_itself_with_what_is_disputed(db: TestDb) {
        let shop = Shop::open(&db).await;
        shop.change(json!({"top_up": {"below_micros": 4 * M, "amount_micros": 10 * M}})).await;
        assert_eq!(way(&shop).await, (TopUpWay::Asks, None));
        let (first, payment) = kept(&shop, &db).await;
        assert_eq!(way(&shop).await, (TopUpWay::Buys, None));
        at_bank(&shop, &payment, "disputed");
        settle(&shop).await;
        assert_eq!((shop.balance().await, shop.all().await.len()), ((0, 0), 1));
        let (state, reason) = way(&shop).await;
        assert!(state == TopUpWay::Stopped && reason.unwrap().contains(first["id"].as_str().unwrap()));
        let failures = async || crate::setting::column(&db, "SELECT data FROM events WHERE type = 'credit.top_up_failed'").await;
        assert!(failures().await.contains("is disputed"), "{}", failures().await);
        at_bank(&shop, &payment, "lost");
        settle(&shop).await;
        assert_eq!((way(&shop).await.0, shop.all().await.len()), (TopUpWay::Stopped, 1));
        assert_eq!(failures().await.lines().count(), 1, "it is told once");
        // Whoever keeps another card wants to pay with it.
        shop.stage.world.clock.advance_ms(60_000);
        kept(&shop, &db).await;
        assert_eq!(way(&shop).await, (TopUpWay::Buys, None));
        spend(&shop, 8 * M).await;
        settle(&shop).await;
        assert_eq!((shop.balance().await.0, shop.all().await.len()), (12 * M, 3));
        assert_eq!(books::verify(&db.db).await.unwrap().differences, []);
    }

    async fn credit_is_bought_by_itself_again_when_the_bank_lets_it_be(db: TestDb) {
        let shop = Shop::open(&db).await;
        shop.change(json!({"top_up": {"below_micros": 4 * M, "amount_micros": 10 * M}})).await;
        let (_, payment) = kept(&shop, &db).await;
        at_bank(&shop, &payment, "asked");
        settle(&shop).await;
        spend(&shop, 8 * M).await;
        settle(&shop).await;
        assert_eq!((shop.balance().await.0, way(&shop).await.0), (2 * M, TopUpWay::Stopped));
        at_bank(&shop, &payment, "dropped");
        settle(&shop).await;
        settle(&shop).await;
        assert_eq!((shop.balance().await.0, way(&shop).await.0), (12 * M, TopUpWay::Buys));
    }

    async fn a_neighbours_dispute_is_the_neighbours(db: TestDb) {
        let shop = Shop::open(&db).await;
        let (_, payment) = paid(&shop, &db).await;
        let other = crate::hooks::neighbour(&shop.stage).await;
        let bought = serde_json::from_value(json!({"amount_micros": 5 * M, "reference": "bank"})).unwrap();
        credits::purchase(shop.parts(), &other.caller, &Repeat::NONE, bought).await.unwrap();
        at_bank(&shop, &payment, "disputed");
        settle(&shop).await;
        assert_eq!(credits::get(shop.parts(), &other.caller, true).await.unwrap().available.amount_micros, 5 * M);
        assert_eq!(shop.balance().await, (0, 0));
    }
}
