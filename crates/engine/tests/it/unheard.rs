//! What is paid, and not told of, or cannot be asked for at once, on both engines, against the simulator's Stripe: it is learned or done all the same, once.

use serde_json::json;
use tidings_engine::{
    keys::Caller,
    money::{credits, follow_up, payments, refunds},
    once::Repeat,
};

use crate::purchases::Shop;

const M: i64 = 1_000_000;
const CARD: &str = "4242424242424242";

async fn states(shop: &Shop) -> Vec<String> {
    shop.all().await.iter().rev().map(|purchase| purchase["state"].as_str().unwrap().to_owned()).collect()
}

/// Lets so many seconds pass, and asks about what did not tell by itself. Answers about how many.
async fn after(shop: &Shop, seconds: u64) -> u64 {
    shop.stage.world.clock.advance_ms(seconds * 1_000);
    let asked = follow_up::run(&shop.stage.engine).await.unwrap();
    shop.jobs().await;
    asked
}

async fn spend(shop: &Shop, micros: i64) {
    let take = serde_json::from_value(json!({"amount_micros": -micros, "reason": "spent"})).unwrap();
    credits::adjust(shop.parts(), &shop.stage.caller, &Repeat::NONE, take).await.unwrap();
}

async fn keep(shop: &Shop, micros: i64) {
    let first = shop.try_buy(json!({"amount_micros": micros, "save_payment_method": true}), None).await.unwrap();
    shop.on_page(&first, "paid", CARD);
    shop.tell().await;
}

async fn key(shop: &Shop, secret_key: &str) {
    let keys = serde_json::from_value(json!({"stripe": {"secret_key": secret_key}})).unwrap();
    payments::patch(shop.parts(), &Caller::system(None), keys).await.unwrap();
}

testkit::both! {
    async fn what_no_event_tells_is_asked_and_counts_once(db: TestDb) {
        let shop = Shop::open(&db).await;
        let mut pages = Vec::new();
        for outcome in ["paid", "expired", "later", "later"] {
            let page = shop.buy(5 * M).await;
            shop.on_page(&page, outcome, CARD);
            pages.push(page);
        }
        shop.buy(5 * M).await;
        let lost = shop.take_events();
        assert_eq!(after(&shop, 299).await, 0, "events have five minutes");
        assert_eq!(after(&shop, 1).await, 5);
        assert_eq!((states(&shop).await, shop.balance().await), (["paid", "expired", "pending", "pending", "open"].map(String::from).to_vec(), (5 * M, 5 * M)));
        for event in &lost {
            shop.post(event).await.unwrap();
        }
        assert_eq!(shop.balance().await, (5 * M, 5 * M), "an event that comes later brings nothing more");
        assert_eq!(after(&shop, 0).await, 0, "it is not asked again at once");
        shop.on_page(&pages[2], "arrived", CARD);
        shop.on_page(&pages[3], "bounced", CARD);
        shop.take_events();
        assert_eq!(after(&shop, 300).await, 3);
        assert_eq!((states(&shop).await, shop.balance().await), (["paid", "expired", "paid", "failed", "open"].map(String::from).to_vec(), (10 * M, 10 * M)));
        assert_eq!(shop.all().await[1]["failure"], "The bank returned the debit.");
        assert_eq!(shop.kinds().await, ["purchase", "purchase"]);
        // Only the page nobody went to is asked about, less and less, and no more after a month.
        assert_eq!([after(&shop, 600).await, after(&shop, 1_200).await, after(&shop, 31 * 86_400).await, after(&shop, 86_400).await], [1, 1, 1, 0]);
        assert_eq!(states(&shop).await[4], "failed");
    }

    async fn a_refused_key_does_not_end_what_is_asked(db: TestDb) {
        let shop = Shop::open(&db).await;
        shop.change(json!({"top_up": {"below_micros": 4 * M, "amount_micros": 10 * M}})).await;
        keep(&shop, 5 * M).await;
        shop.jobs().await;
        let page = shop.buy(M).await;
        shop.on_page(&page, "paid", CARD);
        shop.take_events();
        key(&shop, "sk_test_refused").await;
        spend(&shop, 2 * M).await;
        assert_eq!(after(&shop, 300).await, 1);
        assert_eq!((states(&shop).await, shop.balance().await.0), (["paid", "open", "opening"].map(String::from).to_vec(), 3 * M));
        key(&shop, "sk_test_simulated").await;
        assert_eq!(after(&shop, 300).await, 1);
        assert_eq!((states(&shop).await, shop.balance().await.0), (["paid", "paid", "paid"].map(String::from).to_vec(), 14 * M));
    }

    async fn credit_that_was_low_before_is_topped_up(db: TestDb) {
        let shop = Shop::open(&db).await;
        shop.change(json!({"top_up": {"below_micros": 5 * M, "amount_micros": 10 * M}})).await;
        // It is below the mark, and nobody can pay yet.
        shop.jobs().await;
        keep(&shop, 2 * M).await;
        shop.jobs().await;
        shop.jobs().await;
        shop.tell().await;
        assert_eq!(shop.balance().await, (12 * M, 12 * M));
        // A limit ends this crossing; another limit, and it is tried at once. An amount nobody can pay is refused.
        let odd = serde_json::from_value(json!({"top_up": {"below_micros": 5 * M, "amount_micros": 10 * M + 5_000}})).unwrap();
        let refused = credits::patch(shop.parts(), &shop.stage.caller, odd).await.unwrap_err();
        assert_eq!(refused.errors[0].pointer, "/top_up/amount_micros");
        shop.change(json!({"top_up": {"below_micros": 5 * M, "amount_micros": 10 * M, "monthly_max_micros": 15 * M}})).await;
        spend(&shop, 10 * M).await;
        shop.jobs().await;
        assert_eq!((shop.all().await.len(), shop.balance().await.0), (2, 2 * M));
        shop.change(json!({"top_up": {"below_micros": 5 * M, "amount_micros": 10 * M}})).await;
        shop.jobs().await;
        shop.jobs().await;
        assert_eq!((shop.all().await.len(), shop.balance().await.0), (3, 12 * M));
        assert_eq!(shop.all().await[0]["is_top_up"], true);
    }

    async fn that_events_do_not_come_is_told_to_the_operator(db: TestDb) {
        let shop = Shop::open(&db).await;
        let told = async || {
            let open = shop.alerts("payment_unheard").await;
            open.into_iter().map(|alert| (alert.times, alert.title)).collect::<Vec<_>>()
        };
        for payments in 1..3 {
            let page = shop.buy(5 * M).await;
            shop.on_page(&page, "paid", CARD);
            shop.take_events();
            assert_eq!(after(&shop, 300).await, 1);
            let noun = if payments == 1 { "1 payment" } else { "2 payments" };
            let title = format!("Stripe's events about {noun} did not come");
            // One alert, however many: what it says stays what it said first.
            let seen = told().await;
            assert!(seen.len() == 1 && seen[0].0 == 1 && (payments == 2 || seen[0].1 == title), "{seen:?}");
        }
        // The endpoint is mended: an event comes.
        let page = shop.buy(5 * M).await;
        shop.on_page(&page, "paid", CARD);
        shop.tell().await;
        assert_eq!((told().await, shop.balance().await), (vec![], (15 * M, 15 * M)));
    }

    async fn one_row_that_errs_does_not_keep_the_others(db: TestDb) {
        let shop = Shop::open(&db).await;
        let other = shop.beside().await;
        let mut payments = Vec::new();
        for of in [&shop, &other] {
            let page = of.buy(5 * M).await;
            of.on_page(&page, "paid", CARD);
            of.tell().await;
            of.jobs().await;
            let sql = "SELECT payment FROM credit_purchases WHERE payment IS NOT NULL ORDER BY id";
            payments.push(crate::setting::column(&db, sql).await.lines().last().unwrap().to_owned());
        }
        // A number in the first one's ledger is taken: nothing more can be written there.
        let (broken, mended) = ("UPDATE credit_ledgers SET entries = entries - 1 WHERE tenant_id = $1", "UPDATE credit_ledgers SET entries = entries + 1 WHERE tenant_id = $1");
        let run = async |sql: &'static str| {
            let tenant = shop.stage.tenant;
            let write = db.db.write(store::Scope::System, move |tx| Box::pin(async move { tx.execute(sql, &[&tenant]).await }));
            assert_eq!(write.await.unwrap(), 1);
        };
        run(broken).await;
        for payment in &payments {
            shop.at_stripe("dashboard/refunds", &format!("payment_intent={payment}&amount=100"));
        }
        // Only that there is something to ask is told.
        for event in shop.take_events() {
            if String::from_utf8_lossy(&event.body).contains("\"charge.refunded\"") {
                let _ = shop.post(&event).await;
            }
        }
        let sql = "UPDATE credit_purchases SET looks = looks + 1 WHERE tenant_id = $1";
        run(sql).await;
        assert_eq!(refunds::run(&shop.stage.engine).await.unwrap(), 2);
        assert_eq!(other.balance().await, (4 * M, 4 * M));
        assert_eq!(refunds::run(&shop.stage.engine).await.unwrap(), 0, "it waits");
        run(mended).await;
        shop.stage.world.clock.advance_ms(600_000);
        assert_eq!(refunds::run(&shop.stage.engine).await.unwrap(), 1);
        assert_eq!(shop.balance().await, (4 * M, 4 * M));
    }

    async fn what_two_purchases_of_old_have_goes_back_once(db: TestDb) {
        let shop = Shop::open(&db).await;
        let other = shop.beside().await;
        let (mine, theirs) = (shop.buy(5 * M).await, other.buy(5 * M).await);
        for page in [&mine, &theirs] {
            shop.on_page(page, "paid", CARD);
        }
        shop.tell().await;
        shop.jobs().await;
        // As an earlier version let them be: the second has the first one's payment.
        let tenant = other.stage.tenant;
        let write = db.db.write(store::Scope::System, move |tx| {
            let sql = "UPDATE credit_purchases SET looks = looks + 1, payment = (SELECT p.payment FROM credit_purchases p WHERE p.tenant_id <> $1) WHERE tenant_id = $1";
            Box::pin(async move { tx.execute(sql, &[&tenant]).await })
        });
        assert_eq!(write.await.unwrap(), 1);
        let sql = "SELECT DISTINCT payment FROM credit_purchases";
        let payment = crate::setting::column(&db, sql).await;
        shop.at_stripe("dashboard/refunds", &format!("payment_intent={payment}&amount=200"));
        shop.tell().await;
        shop.jobs().await;
        assert_eq!(refunds::run(&shop.stage.engine).await.unwrap(), 0);
        assert_eq!(shop.balance().await.0 + other.balance().await.0, 8 * M);
    }
}
