//! Tax on credit that is sold, on both engines, against the simulator's Stripe: it is paid on top, kept as it was, and goes back with its share of the credit, to the coin.

use model::HttpCall;
use serde_json::{Value, json};
use testkit::TestDb;
use tidings_engine::{
    books,
    invoices::settings,
    keys::Caller,
    money::{credits, refunds},
    once::Repeat,
    tenants,
};

use crate::{plans::subscribe, purchases::Shop, setting::pointers};

const M: i64 = 1_000_000;
const CARD: &str = "4242424242424242";
/// A card whose refunds fail.
const NO_REFUNDS: &str = "4000000000005126";

async fn settle(shop: &Shop, change: Value) {
    let change = serde_json::from_value(change).unwrap();
    settings::patch(shop.parts(), &Caller::system(None), change).await.unwrap();
}

/// A shop whose credit is sold with tax.
async fn taxed(db: &TestDb) -> Shop {
    let shop = Shop::open(db).await;
    let taxes = json!([{"country": "DE", "name": "VAT", "rate_ppm": 190_000}, {"name": "None", "rate_ppm": 0}]);
    let seller = json!({"name": "Host GmbH", "tax_id": "DE987654321"});
    settle(&shop, json!({"seller": seller, "taxes": taxes, "credit_taxed": "at_purchase"})).await;
    shop
}

/// The same, and a customer in Germany. It pays ahead and has no plan.
async fn german(db: &TestDb) -> Shop {
    let shop = taxed(db).await;
    let customer = json!({"name": "Acme GmbH", "country": "DE", "tax_id": "DE123456789"});
    let seen = subscribe(&shop.stage, json!({ "customer": customer })).await;
    assert_eq!((seen.plan, seen.next_invoice_at), (None, None), "what is paid ahead without a plan needs no invoice");
    shop
}

fn micros(of: &Value, name: &str) -> i64 {
    of[name]["amount_micros"].as_i64().unwrap_or_else(|| panic!("no {name} in {of}"))
}

/// What a purchase was for, its tax, and what was paid.
fn sums(purchase: &Value) -> (i64, i64, i64) {
    let tax = purchase["taxes"].as_array().unwrap().iter().map(|tax| tax["amount_micros"].as_i64().unwrap()).sum();
    (micros(purchase, "amount"), tax, micros(purchase, "total"))
}

/// What went back: of the credit, and in money.
fn back(purchase: &Value) -> (i64, i64) {
    (micros(purchase, "refunded"), micros(purchase, "refunded_total"))
}

async fn agree(db: &TestDb) {
    assert_eq!(books::verify(&db.db).await.unwrap().differences, []);
}

async fn payment(db: &TestDb) -> String {
    crate::setting::column(db, "SELECT payment FROM credit_purchases WHERE payment IS NOT NULL").await
}

async fn spend(shop: &Shop, micros: i64) {
    let take = serde_json::from_value(json!({"amount_micros": -micros, "reason": "spent"})).unwrap();
    credits::adjust(shop.parts(), &shop.stage.caller, &Repeat::NONE, take).await.unwrap();
}

/// Tells what happened, everything twice and the last first, and lets the jobs ask.
async fn hear(shop: &Shop) {
    shop.tell().await;
    shop.jobs().await;
    shop.jobs().await;
}

testkit::both! {
    async fn credit_is_paid_with_its_tax_and_goes_back_with_its_share_of_it(db: TestDb) {
        let shop = german(&db).await;
        let seen = credits::get(shop.parts(), &shop.stage.caller, false).await.unwrap();
        assert_eq!(seen.purchase_tax.map(|tax| (tax.name, tax.rate_ppm)), Some(("VAT".to_owned(), 190_000)));
        let bought = shop.buy(50 * M).await;
        assert_eq!(sums(&bought), (50 * M, 9_500_000, 59_500_000));
        assert_eq!(bought["taxes"], json!([{"name": "VAT", "rate_ppm": 190_000, "amount_micros": 9_500_000}]));
        assert_eq!((&bought["tax_country"], &bought["tax_id"]), (&json!("DE"), &json!("DE123456789")));
        assert_eq!(shop.kept("sessions")[0]["amount_total"], 5_950);
        shop.on_page(&bought, "paid", CARD);
        hear(&shop).await;
        assert_eq!(shop.balance().await, (50 * M, 50 * M));
        let told = crate::setting::column(&db, "SELECT data FROM events WHERE type = 'credit.purchased'").await;
        assert_eq!(sums(&serde_json::from_str(&told).unwrap()), (50 * M, 9_500_000, 59_500_000));
        // Whatever the operator says later, it was sold with this tax to this customer.
        settle(&shop, json!({"taxes": [{"name": "VAT", "rate_ppm": 200_000}]})).await;
        subscribe(&shop.stage, json!({"customer": {"name": "Acme GmbH", "country": "FR", "tax_id": "FR1"}})).await;
        let receipt = shop.receipt(&bought).await.unwrap();
        for words in ["TaxID:DE987654321", "TaxID:DE123456789", "Prepaidcredit50.00", "VAT19%on50.00", "9.50", "TotalUSD59.50", "AlreadypaidUSD-59.50"] {
            assert!(receipt.contains(words), "{words}: {receipt}");
        }

        let part = shop.refund(json!({"amount_micros": 10 * M, "reason": "too much", "purchase_id": bought["id"]})).await.unwrap();
        assert_eq!((micros(&part, "amount"), micros(&part, "tax"), micros(&part, "total")), (10 * M, 1_900_000, 11_900_000));
        hear(&shop).await;
        assert_eq!((&shop.kept("refunds")[0]["amount"], back(&shop.purchase(&bought).await)), (&json!(1_190), (10 * M, 11_900_000)));
        // Somebody on Stripe's own pages gives back a part, and then the rest.
        let payment = payment(&db).await;
        shop.at_stripe("dashboard/refunds", &format!("payment_intent={payment}&amount=595"));
        hear(&shop).await;
        assert_eq!((shop.balance().await, back(&shop.purchase(&bought).await)), ((35 * M, 35 * M), (15 * M, 17_850_000)));
        assert!(shop.receipt(&bought).await.unwrap().contains("Ofit17.85USDwasgivenback."));
        agree(&db).await;
        shop.at_stripe("dashboard/refunds", &format!("payment_intent={payment}"));
        hear(&shop).await;
        assert_eq!((shop.balance().await, back(&shop.purchase(&bought).await)), ((0, 0), (50 * M, 59_500_000)));
        agree(&db).await;
    }

    async fn many_parts_come_to_exactly_all(db: TestDb) {
        let shop = german(&db).await;
        // 0.19 on 0.99 is 0.1881.
        let bought = shop.buy(990_000).await;
        assert_eq!(sums(&bought), (990_000, 190_000, 1_180_000));
        shop.on_page(&bought, "paid", CARD);
        hear(&shop).await;
        let payment = payment(&db).await;
        for _ in 0..3 {
            shop.at_stripe("dashboard/refunds", &format!("payment_intent={payment}&amount=7"));
            hear(&shop).await;
            shop.refund(json!({"amount_micros": 130_000, "reason": "a part", "purchase_id": bought["id"]})).await.unwrap();
            hear(&shop).await;
            let seen = shop.purchase(&bought).await;
            let (credit, total) = back(&seen);
            assert!(credit < 990_000 && total < 1_180_000 && total - credit <= 190_000, "{seen}");
            assert_eq!(shop.balance().await.0, 990_000 - credit);
            agree(&db).await;
        }
        let left = shop.balance().await.0;
        shop.refund(json!({"amount_micros": left, "reason": "the rest", "purchase_id": bought["id"]})).await.unwrap();
        hear(&shop).await;
        assert_eq!((shop.balance().await, back(&shop.purchase(&bought).await)), ((0, 0), (990_000, 1_180_000)));
        let gone: i64 = shop.kept("refunds").as_array().unwrap().iter().map(|refund| refund["amount"].as_i64().unwrap()).sum();
        assert_eq!(gone, 118, "Stripe gave back what it was paid, and no cent more");
        agree(&db).await;
    }

    async fn a_refund_that_fails_brings_back_what_it_took(db: TestDb) {
        let shop = german(&db).await;
        let bought = shop.buy(10 * M).await;
        shop.on_page(&bought, "paid", NO_REFUNDS);
        hear(&shop).await;
        let part = shop.refund(json!({"amount_micros": 3_330_000, "reason": "closed", "purchase_id": bought["id"]})).await.unwrap();
        assert_eq!((micros(&part, "tax"), micros(&part, "total"), shop.balance().await.0), (630_000, 3_960_000, 6_670_000));
        for _ in 0..2 {
            hear(&shop).await;
        }
        assert_eq!((shop.all_refunds().await[0]["state"].clone(), shop.balance().await), (json!("failed"), (10 * M, 10 * M)));
        assert_eq!(back(&shop.purchase(&bought).await), (0, 0));
        agree(&db).await;
    }

    async fn what_a_bank_takes_is_with_tax_and_comes_back_the_same(db: TestDb) {
        let shop = german(&db).await;
        let bought = shop.buy(10 * M).await;
        shop.on_page(&bought, "paid", CARD);
        hear(&shop).await;
        let payment = payment(&db).await;
        let at_bank = async |words: &str| {
            shop.at_stripe("bank/disputes", &format!("payment_intent={payment}&{words}"));
            hear(&shop).await;
            agree(&db).await;
        };
        at_bank("outcome=disputed&amount=300&reason=duplicate").await;
        let seen = shop.purchase(&bought).await;
        assert_eq!((micros(&seen, "disputed"), shop.balance().await.0), (2_520_000, 7_480_000));
        assert_eq!((micros(&seen["disputes"][0], "amount"), micros(&seen["disputes"][0], "taken")), (3 * M, 2_520_000));
        assert!(shop.receipt(&bought).await.unwrap().contains("Ofit3.00USDwastakenbackbythepayer'sbank."));
        at_bank("outcome=won").await;
        assert_eq!((micros(&shop.purchase(&bought).await, "disputed"), shop.balance().await), (0, (10 * M, 10 * M)));
        // What is left of it is disputed after a part went back: together they are all of it.
        shop.refund(json!({"amount_micros": 3_330_000, "reason": "a part", "purchase_id": bought["id"]})).await.unwrap();
        hear(&shop).await;
        at_bank("outcome=disputed&amount=794").await;
        assert_eq!((micros(&shop.purchase(&bought).await, "disputed"), shop.balance().await), (6_670_000, (0, 0)));
        at_bank("outcome=lost").await;
        assert_eq!(shop.balance().await, (0, 0));
    }

    async fn what_the_operator_records_has_the_tax_it_was_paid_with(db: TestDb) {
        let shop = german(&db).await;
        let record = async |micros: i64, tax: Option<Value>| {
            let mut new = json!({"amount_micros": micros, "reference": "bank"});
            if let Some(tax) = tax {
                new["tax"] = tax;
            }
            shop.try_buy(new, None).await
        };
        let vat = |amount: i64| Some(json!({"name": "VAT", "rate_ppm": 190_000, "amount_micros": amount}));
        let usual = record(50 * M, None).await.unwrap();
        assert_eq!((sums(&usual), &usual["state"]), ((50 * M, 9_500_000, 59_500_000), &json!("paid")));
        // Fifty were paid, and three cents: what is in them is not what comes on top of any credit.
        assert_eq!(sums(&record(42_020_000, vat(7_980_000)).await.unwrap()).2, 50 * M);
        assert_eq!(sums(&record(30_000, vat(0)).await.unwrap()), (30_000, 0, 30_000));
        let reduced = record(10 * M, Some(json!({"name": "VAT", "rate_ppm": 70_000}))).await.unwrap();
        assert_eq!(sums(&reduced), (10 * M, 700_000, 10_700_000));
        let none = record(10 * M, Some(Value::Null)).await.unwrap();
        assert_eq!((sums(&none), &none["taxes"]), ((10 * M, 0, 10 * M), &json!([])));
        assert_eq!(pointers(record(10 * M, vat(9)).await), ["/tax/amount_micros"]);
        assert_eq!(pointers(record(10 * M, Some(json!({"name": "", "rate_ppm": -1}))).await), ["/tax/name", "/tax/rate_ppm"]);
        assert_eq!(pointers(shop.try_buy(json!({"amount_micros": M, "tax": {"name": "VAT", "rate_ppm": 1}}), None).await), ["/tax"]);

        let refund = |new: Value| shop.refund(new);
        let whole = refund(json!({"amount_micros": 50 * M, "reason": "all", "purchase_id": usual["id"]})).await.unwrap();
        assert_eq!((micros(&whole, "total"), &whole["state"]), (59_500_000, &json!("done")));
        assert_eq!(refund(json!({"amount_micros": 1, "reason": "more", "purchase_id": usual["id"]})).await.unwrap_err().errors[0].pointer, "/amount_micros");
        let cash = refund(json!({"amount_micros": M, "tax_micros": 190_000, "reason": "in cash"})).await.unwrap();
        assert_eq!((micros(&cash, "tax"), micros(&cash, "total")), (190_000, 1_190_000));
        assert_eq!(pointers(refund(json!({"amount_micros": M, "tax_micros": M + 1, "reason": "x"})).await), ["/tax_micros"]);
        assert_eq!(pointers(refund(json!({"amount_micros": M, "tax_micros": 0, "reason": "x", "purchase_id": none["id"]})).await), ["/tax_micros"]);
        agree(&db).await;
    }

    async fn what_buys_itself_is_paid_with_tax_and_its_limit_is_of_credit(db: TestDb) {
        let shop = german(&db).await;
        shop.change(json!({"top_up": {"below_micros": 4 * M, "amount_micros": 10 * M, "monthly_max_micros": 20 * M}})).await;
        let first = shop.try_buy(json!({"amount_micros": 5 * M, "save_payment_method": true}), None).await.unwrap();
        shop.on_page(&first, "paid", CARD);
        hear(&shop).await;
        spend(&shop, 2 * M).await;
        // Its answer is lost: it is asked again under the same key, for the same.
        shop.lose(1);
        hear(&shop).await;
        hear(&shop).await;
        assert_eq!(shop.balance().await, (13 * M, 15 * M));
        let all = shop.all().await;
        let by_itself = all.iter().find(|purchase| purchase["is_top_up"] == true).unwrap();
        assert_eq!(sums(by_itself), (10 * M, 1_900_000, 11_900_000));
        let paid: Vec<Value> = shop.kept("payments").as_array().unwrap().iter().map(|payment| payment["amount"].clone()).collect();
        assert_eq!(paid, [json!(595), json!(1_190)]);
        // Twenty of credit in thirty days are no more than twenty, whatever was paid for them.
        spend(&shop, 10 * M).await;
        hear(&shop).await;
        assert_eq!(shop.balance().await, (13 * M, 25 * M));
        spend(&shop, 10 * M).await;
        hear(&shop).await;
        assert_eq!(shop.balance().await, (3 * M, 25 * M));
        agree(&db).await;
    }

    async fn a_purchase_keeps_the_tax_it_was_begun_with(db: TestDb) {
        let shop = Shop::open(&db).await;
        let before = shop.buy(5 * M).await;
        assert_eq!((sums(&before), &before["taxes"]), ((5 * M, 0, 5 * M), &json!([])));
        let always = json!({"taxes": [{"name": "VAT", "rate_ppm": 190_000}], "credit_taxed": "at_purchase"});
        settle(&shop, always).await;
        let after = shop.buy(10 * M).await;
        // Of this one nobody wrote anything down: Stripe says what it was.
        shop.lose(1);
        let lost = shop.try_buy(json!({"amount_micros": 20 * M}), None).await.unwrap_err();
        assert_eq!(lost.code, "payment_provider_unavailable");
        settle(&shop, json!({"credit_taxed": "never"})).await;
        assert_eq!(credits::get(shop.parts(), &shop.stage.caller, false).await.unwrap().purchase_tax, None);
        for session in shop.kept("sessions").as_array().unwrap() {
            shop.on_page(session, "paid", CARD);
        }
        hear(&shop).await;
        assert_eq!(shop.balance().await, (35 * M, 35 * M));
        let mut all: Vec<(i64, i64, i64)> = shop.all().await.iter().map(sums).collect();
        all.sort_unstable();
        assert_eq!(all, [(5 * M, 0, 5 * M), (10 * M, 1_900_000, 11_900_000), (20 * M, 3_800_000, 23_800_000)]);
        assert!(!shop.receipt(&before).await.unwrap().contains("VAT"));
        assert!(shop.receipt(&after).await.unwrap().contains("VAT19%on10.00"));
        agree(&db).await;
    }

    async fn another_amount_than_was_asked_for_brings_what_it_pays_for(db: TestDb) {
        let shop = german(&db).await;
        let bought = shop.buy(50 * M).await;
        shop.on_page(&bought, "paid", CARD);
        let less = |event: &HttpCall| shop.signed(&String::from_utf8_lossy(&event.body).replace(":5950", ":1190"));
        for event in shop.take_events().iter().map(less) {
            shop.post(&event).await.unwrap();
        }
        assert_eq!((shop.balance().await, sums(&shop.purchase(&bought).await)), ((10 * M, 10 * M), (10 * M, 1_900_000, 11_900_000)));
        agree(&db).await;
    }

    async fn a_tenant_without_a_plan_does_not_choose_its_tax(db: TestDb) {
        let shop = taxed(&db).await;
        let own = Caller { is_operator: false, ..shop.stage.caller.clone() };
        let move_to = async |country: &str| {
            let change = serde_json::from_value(json!({ "default_country": country })).unwrap();
            tenants::patch_own(shop.parts(), &own, change).await
        };
        assert_eq!(move_to("US").await.unwrap_err().code, "country_decides_tax");
        let german = serde_json::from_value(json!({"default_country": "DE"})).unwrap();
        tenants::patch(shop.parts(), &Caller::system(None), shop.stage.tenant, german).await.unwrap();
        assert_eq!(move_to("US").await.unwrap().default_country.as_deref(), Some("US"));
        let bought = shop.buy(10 * M).await;
        assert_eq!((sums(&bought).1, &bought["tax_country"]), (1_900_000, &json!("DE")));
        agree(&db).await;
    }

    async fn why_nothing_is_charged_stands_on_the_receipt_and_what_cannot_be_printed_is_refused(db: TestDb) {
        let shop = german(&db).await;
        let exempt = json!({"country": "FR", "tax_id": "FR12345678901", "tax": {"name": "Reverse charge", "rate_ppm": 0}});
        subscribe(&shop.stage, json!({ "customer": exempt })).await;
        let online = shop.buy(20 * M).await;
        assert_eq!((sums(&online), shop.kept("sessions")[0]["amount_total"].clone()), ((20 * M, 0, 20 * M), json!(2_000)));
        shop.on_page(&online, "paid", CARD);
        hear(&shop).await;
        let receipt = shop.receipt(&online).await.unwrap();
        assert!(receipt.contains("Reversecharge0%on20.00") && receipt.contains("TaxID:FR12345678901"), "{receipt}");
        // What somebody wrote of a payment is left out where no font has it; a name is not.
        let strange = shop.try_buy(json!({"amount_micros": M, "reference": "銀行振込"}), None).await.unwrap();
        assert!(!shop.receipt(&strange).await.unwrap().contains("Payment"));
        let name = serde_json::from_value(json!({"name": "山田商店"})).unwrap();
        tenants::patch(shop.parts(), &Caller::system(None), shop.stage.tenant, name).await.unwrap();
        let refused = shop.receipt(&strange).await.unwrap_err();
        assert!(refused.code == "receipt_unprintable" && refused.detail.contains("`customer.name`"), "{refused:?}");
        let page = refunds::list(shop.parts(), &shop.stage.caller, None, None).await.unwrap();
        assert_eq!(page.data.len(), 0);
        agree(&db).await;
    }
}
