//! What the operator's payment provider told, in the operator's callback log, on both engines: each request with what was found about it and what it changed, and nothing of who paid.

use engine::keys::Caller;
use model::HttpCall;
use serde_json::{Value, json};
use tidings_engine::{Error, callbacks::CallbackQuery, money::payments, tenants};

use crate::{
    hooks::read,
    purchases::Shop,
    setting::{body, code, member, operator},
};

const CARD: &str = "4242424242424242";
const M: i64 = 1_000_000;

async fn query(shop: &Shop, by: &Caller, query: Value) -> Result<Vec<u8>, Error> {
    shop.stage.engine.callback_log(by, &body::<CallbackQuery>(query)).await
}

/// The rows of the operator's log that are asked for, newest first.
async fn log(shop: &Shop, asked: Value) -> Vec<Value> {
    read(query(shop, &operator(), asked).await)["data"].as_array().unwrap().clone()
}

/// The newest row.
async fn newest(shop: &Shop) -> Value {
    log(shop, json!({})).await.remove(0)
}

/// A row with its whole body.
async fn entry(shop: &Shop, row: &Value) -> Value {
    read(shop.stage.engine.callback_entry(&operator(), row["id"].as_str().unwrap().parse().unwrap()).await)
}

/// What the only thing an event told came to: what it changed, or why nothing.
fn came_to(row: &Value) -> Value {
    let told = row["told"].as_array().unwrap();
    assert_eq!((told.len(), &told[0]["fact"]), (1, &row["event_type"]), "{row}");
    if told[0]["unchanged"].is_null() { told[0]["changed"].clone() } else { told[0]["unchanged"].clone() }
}

/// A purchase of ten, and the events of its payment: of the payment itself, and of its page.
async fn paid(shop: &Shop) -> (Value, Vec<HttpCall>) {
    let purchase = shop.buy(10 * M).await;
    shop.on_page(&purchase, "paid", CARD);
    (purchase, shop.take_events())
}

fn payment(events: &[HttpCall]) -> String {
    let event: Value = serde_json::from_slice(&events[0].body).unwrap();
    event["data"]["object"]["id"].as_str().unwrap().to_owned()
}

testkit::both! {
    async fn each_event_says_what_it_changed(db: TestDb) {
        let shop = Shop::open(&db).await;
        let (purchase, events) = paid(&shop).await;
        shop.post(&events[0]).await.unwrap();
        let row = newest(&shop).await;
        let expected = json!([
            {"what": "purchase", "from": "open", "to": "paid"}, {"what": "credit", "from": "0.00 USD", "to": "10.00 USD"},
            {"what": "refunds_and_disputes", "to": "to be asked for"},
        ]);
        assert_eq!((came_to(&row), &row["told"][0]["purchase_id"]), (expected, &purchase["id"]));
        assert_eq!((&row["verdict"], &row["event_type"], &row["tenant_id"]), (&json!("valid"), &json!("payment_intent.succeeded"), &json!(shop.stage.tenant)));
        assert_eq!((&row["account_id"], &row["path"], &row["method"]), (&Value::Null, &json!("/hooks/stripe"), &json!("POST")));
        shop.post(&events[1]).await.unwrap();
        assert_eq!(came_to(&newest(&shop).await), "known_already", "its page says the same");
        shop.post(&events[0]).await.unwrap();
        let rows = log(&shop, json!({})).await;
        let repeats: Vec<&Value> = rows.iter().map(|row| &row["repeats"]).collect();
        assert_eq!((repeats, came_to(&rows[1])), (vec![&json!(0), &json!(1)], came_to(&row)), "it came again, and is the same row");

        shop.at_stripe("dashboard/refunds", &format!("payment_intent={}&amount=300", payment(&events)));
        for event in shop.take_events() {
            shop.post(&event).await.unwrap();
        }
        let refund = log(&shop, json!({"event_type": "refund.created"})).await.remove(0);
        let expected = json!([
            {"what": "refund", "to": "done"}, {"what": "refunded", "from": "0.00 USD", "to": "3.00 USD"}, {"what": "credit", "from": "10.00 USD", "to": "7.00 USD"},
        ]);
        assert_eq!((came_to(&refund), &refund["told"][0]["refund_id"]), (expected, &shop.all_refunds().await[0]["id"]));
        let returned = log(&shop, json!({"event_type": "charge.refunded"})).await.remove(0);
        assert_eq!(came_to(&returned), json!([{"what": "refunds_and_disputes", "to": "to be asked for"}]));
        shop.at_stripe("bank/disputes", &format!("payment_intent={}&outcome=disputed", payment(&events)));
        for event in shop.take_events() {
            shop.post(&event).await.unwrap();
            let row = newest(&shop).await;
            assert_eq!(came_to(&row), json!([{"what": "refunds_and_disputes", "to": "to be asked for"}]), "{row}");
        }
        assert_eq!(shop.balance().await.0, 7 * M, "what the bank took is asked for by a job");

        let other = shop.buy(5 * M).await;
        shop.on_page(&other, "declined", CARD);
        shop.tell().await;
        assert_eq!(came_to(&newest(&shop).await), "still_open");
    }

    async fn what_is_not_taken_is_logged_with_the_reason_and_bounded(db: TestDb) {
        let shop = Shop::open(&db).await;
        let (_, events) = paid(&shop).await;
        let mut forged = events[0].clone();
        forged.body = json!({"id": "evt_1", "type": "charge.refunded", "data": {"object": {"receipt_email": "ada@example.org", "filler": vec![true; 2_000]}}}).to_string().into();
        forged.headers.push(("cookie".to_owned(), "session=1".to_owned()));
        assert_eq!(code(shop.post(&forged).await), "invalid_signature");
        let row = newest(&shop).await;
        let kept = entry(&shop, &row).await;
        assert_eq!((&row["verdict"], &row["detail"], &row["told"]), (&json!("invalid"), &json!("the signature is not Stripe's"), &json!([])));
        assert_eq!((kept["body"].as_str().unwrap().len(), row["size"].as_i64() > Some(10_000)), (4_096, true));
        assert!(!kept.to_string().contains("ada@") && !kept.to_string().contains("session=1"), "{kept}");
        assert_eq!((&row["event_id"], &row["tenant_id"]), (&Value::Null, &Value::Null), "nothing of it is believed");

        forged.headers.clear();
        forged.body = "name=ada@example.org".into();
        assert_eq!(code(shop.post(&forged).await), "invalid_signature");
        let row = newest(&shop).await;
        assert_eq!((&row["detail"], &row["body"], &row["size"]), (&json!("the header Stripe-Signature is missing"), &json!(""), &json!(20)));

        assert_eq!(code(shop.post(&shop.signed("{\"hello\": \"ada@example.org\"}")).await), "malformed_event");
        let row = newest(&shop).await;
        assert_eq!((&row["verdict"], &row["body"]), (&json!("unreadable"), &json!("{\n  \"hello\": \"••••\"\n}")));

        // So many a minute, which leave room for what is Stripe's, and the next minute again.
        for _ in 0..40 {
            shop.post(&forged).await.unwrap_err();
        }
        let logged = async |verdict: &str| log(&shop, json!({"limit": 500, "verdict": verdict})).await.len();
        assert_eq!((logged("invalid").await, logged("unreadable").await), (30, 1));
        for _ in 0..40 {
            assert_eq!(code(shop.post(&shop.signed("{\"hello\": 1}")).await), "malformed_event");
        }
        assert_eq!((logged("invalid").await, logged("unreadable").await), (30, 30));
        shop.stage.world.clock.advance_ms(60_000);
        shop.post(&forged).await.unwrap_err();
        assert_eq!((logged("invalid").await, logged("unreadable").await), (31, 30));

        let none = serde_json::from_value(json!({"stripe": null})).unwrap();
        payments::patch(shop.parts(), &operator(), none).await.unwrap();
        assert_eq!(code(shop.post(&events[0]).await), "not_found");
        let row = newest(&shop).await;
        assert!(row["verdict"] == "invalid" && row["detail"].as_str().unwrap().contains("no account at Stripe is set"), "{row}");
        assert_eq!(shop.balance().await, (0, 0));
    }

    async fn who_paid_and_with_what_is_not_in_the_log(db: TestDb) {
        let shop = Shop::open(&db).await;
        let (_, events) = paid(&shop).await;
        let mut event: Value = serde_json::from_slice(&events[1].body).unwrap();
        let object = event["data"]["object"].as_object_mut().unwrap();
        object.insert("customer_details".to_owned(), json!({"name": "Ada Lovelace", "email": "ada@example.org", "address": {"city": "London"}}));
        object.insert("payment_method_details".to_owned(), json!({"card": {"last4": "4242", "exp_year": 2031}}));
        object.insert("client_secret".to_owned(), json!("cs_test_secret_1"));
        let (id, payment) = (event["id"].clone(), event["data"]["object"]["payment_intent"].clone());
        shop.post(&shop.signed(&event.to_string())).await.unwrap();
        assert_eq!(shop.balance().await, (10 * M, 10 * M));
        let row = log(&shop, json!({"event_id": id})).await.remove(0);
        let entry = entry(&shop, &row).await;
        let kept: Value = serde_json::from_str(entry["body"].as_str().unwrap()).unwrap();
        let object = &kept["data"]["object"];
        assert_eq!((&object["payment_intent"], &object["amount_total"], &object["metadata"]["tenant_id"]), (&payment, &json!(1_000), &json!(shop.stage.tenant)));
        let text = entry.to_string();
        for secret in ["Lovelace", "ada@example.org", "London", "cs_test_secret_1", "/c/pay/"] {
            assert!(!text.contains(secret), "{secret}: {text}");
        }
        assert_eq!(object["payment_method_details"]["card"], json!({"last4": "••••", "exp_year": "••••"}));
    }

    async fn the_log_is_the_operators_and_is_narrowed_by_tenant(db: TestDb) {
        let shop = Shop::open(&db).await;
        let other = shop.beside().await;
        let ((_, mine), (_, theirs)) = (paid(&shop).await, paid(&other).await);
        for event in mine.iter().chain(&theirs) {
            shop.post(event).await.unwrap();
        }
        let nothing = json!({"id": "evt_1", "type": "customer.created", "data": {"object": {"id": "cus_1"}}}).to_string();
        shop.post(&shop.signed(&nothing)).await.unwrap();
        assert_eq!(came_to(&newest(&shop).await), "not_looked_at");
        let foreign = json!({"id": "evt_2", "type": "charge.refunded", "data": {"object": {"payment_intent": "pi_of_another_shop"}}}).to_string();
        shop.post(&shop.signed(&foreign)).await.unwrap();
        let row = newest(&shop).await;
        assert_eq!((came_to(&row), &row["unmatched"], &row["tenant_id"]), (json!("unknown_purchase"), &json!(1), &Value::Null));
        assert_eq!(log(&shop, json!({})).await.len(), 6);
        let of_other = log(&shop, json!({"tenant_id": other.stage.tenant})).await;
        assert!(of_other.len() == 2 && of_other.iter().all(|row| row["tenant_id"] == json!(other.stage.tenant)), "{of_other:?}");
        let kind = "checkout.session.completed";
        assert_eq!(log(&shop, json!({"tenant_id": other.stage.tenant, "event_type": kind})).await.len(), 1);

        // A tenant sees what came to its accounts, and nothing of this.
        let mine = member(shop.stage.tenant);
        assert_eq!(read(query(&shop, &mine, json!({})).await)["data"], json!([]));
        let id = row["id"].as_str().unwrap().parse().unwrap();
        assert_eq!(code(shop.stage.engine.callback_entry(&mine, id).await), "not_found");
        for asked in [json!({"tenant_id": shop.stage.tenant}), json!({"event_type": kind}), json!({"event_id": "evt_1"})] {
            assert_eq!(code(query(&shop, &mine, asked).await), "invalid_query");
        }
        let nobody = Caller { tenant: None, is_operator: false, ..mine };
        assert_eq!(code(query(&shop, &nobody, json!({})).await), "tenant_required");
    }

    async fn an_event_that_changes_something_when_it_comes_again_says_so(db: TestDb) {
        let shop = Shop::open(&db).await;
        let (_, events) = paid(&shop).await;
        shop.at_stripe("dashboard/refunds", &format!("payment_intent={}&amount=300", payment(&events)));
        let refund = shop.take_events().remove(0);
        shop.post(&refund).await.unwrap();
        let row = newest(&shop).await;
        assert_eq!((came_to(&row), &row["tenant_id"]), (json!("unknown_purchase"), &Value::Null), "nobody knows the payment yet");
        shop.post(&events[0]).await.unwrap();
        shop.post(&refund).await.unwrap();
        let row = log(&shop, json!({"event_type": "refund.created"})).await.remove(0);
        assert_eq!((&row["repeats"], &row["unmatched"], &row["tenant_id"]), (&json!(1), &json!(0), &json!(shop.stage.tenant)));
        assert_eq!(came_to(&row)[0], json!({"what": "refund", "to": "done"}));
        assert_eq!(shop.balance().await.0, 7 * M);
    }

    async fn what_brings_nobody_credit_stands_there_with_the_reason(db: TestDb) {
        let shop = Shop::open(&db).await;
        let other = shop.beside().await;
        let ((mine, events), theirs) = (paid(&shop).await, other.buy(10 * M).await);
        shop.post(&events[0]).await.unwrap();
        let text = String::from_utf8_lossy(&events[0].body).into_owned();
        let text = text.replace(mine["id"].as_str().unwrap(), theirs["id"].as_str().unwrap());
        let text = text.replace(&shop.stage.tenant.to_string(), &other.stage.tenant.to_string()).replace("evt_", "evt_x");
        shop.post(&shop.signed(&text)).await.unwrap();
        let row = newest(&shop).await;
        assert_eq!((came_to(&row), &row["tenant_id"]), (json!([{"what": "payment_stray", "to": "taken"}]), &json!(other.stage.tenant)));
        assert!(row["detail"].as_str().unwrap().contains("brought credit to"), "{row}");
        // Its money goes back: that is over, besides what it changes for whom it brought credit to.
        shop.at_stripe("dashboard/refunds", &format!("payment_intent={}&amount=1000", payment(&events)));
        shop.post(&shop.take_events()[0]).await.unwrap();
        assert_eq!(came_to(&newest(&shop).await)[0], json!({"what": "payment_stray", "to": "settled"}));

        let (_, late) = paid(&other).await;
        tenants::delete(shop.parts(), &operator(), other.stage.tenant).await.unwrap();
        shop.post(&late[0]).await.unwrap();
        let row = newest(&shop).await;
        assert_eq!((came_to(&row), &row["tenant_id"]), (json!([{"what": "payment_stray", "to": "gone"}]), &json!(other.stage.tenant)));
        shop.post(&late[1]).await.unwrap();
        assert_eq!(came_to(&newest(&shop).await), "tenant_gone", "of the same payment it is told once");
    }

    async fn the_log_is_kept_for_thirty_days(db: TestDb) {
        let shop = Shop::open(&db).await;
        let (_, events) = paid(&shop).await;
        shop.post(&events[0]).await.unwrap();
        shop.stage.world.clock.advance_ms(29 * 86_400_000);
        assert_eq!(code(shop.post(&events[1]).await), "invalid_signature", "it is old");
        shop.stage.engine.purge_callbacks().await.unwrap();
        assert_eq!(log(&shop, json!({})).await.len(), 2);
        shop.stage.world.clock.advance_ms(86_400_000 + 1_000);
        shop.stage.engine.purge_callbacks().await.unwrap();
        let left = log(&shop, json!({})).await;
        assert_eq!((left.len(), &left[0]["verdict"]), (1, &json!("invalid")));
    }
}
