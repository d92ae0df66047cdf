//! Checking the books on both engines: what adds up is left alone, and every difference that is planted is found.

use engine::{
    alerts::AlertKind,
    books::{self, Verified},
    invoices::closing,
    keys::Caller,
    money::{credits, prices},
    once::Repeat,
};
use serde_json::{Value, json};
use store::Scope;
use testkit::{Stage, TestDb};

use crate::{
    alert_kinds::open,
    alerts::minutes,
    plans::{set_clock, subscribed},
};

fn sms(number: u32) -> Value {
    json!({"to": {"phone": format!("+4915510{number:06}")}, "channel": "sms", "content": {"text": "Hello"}})
}

/// A tenant with a plan, credit, messages in every state, and an invoice.
async fn busy(db: &TestDb) -> Stage {
    let stage = subscribed(db, "2026-11-01T00:00:00Z", "UTC", json!([{"channel": "sms", "included": 50}])).await;
    let parts = stage.engine.parts();
    let rows = json!([{"channel": "sms", "unit": "segment", "amount_micros": 10}]);
    let list = serde_json::from_value(json!({"currency": "USD", "rows": rows})).unwrap();
    prices::create(parts, &Caller::system(None), &Repeat::NONE, list).await.unwrap();
    credits::patch(parts, &stage.caller, serde_json::from_value(json!({"mode": "prepaid"})).unwrap()).await.unwrap();
    let bought = serde_json::from_value(json!({"amount_micros": 1_000, "reference": "bank"})).unwrap();
    credits::purchase(parts, &stage.caller, &Repeat::NONE, bought).await.unwrap();
    let grant = json!({"amount_micros": 15, "reference": "welcome", "expires_at": "2026-12-31T00:00:00Z"});
    credits::grant(parts, &stage.caller, &Repeat::NONE, serde_json::from_value(grant).unwrap()).await.unwrap();
    set_clock(&stage, "2026-11-20T12:00:00Z");
    for number in 0..4 {
        stage.send(sms(number)).await;
    }
    stage.pass(60_000).await;
    let mut later = sms(5);
    later["send_at"] = json!("2027-01-20T12:00:00Z");
    stage.send(later.clone()).await;
    let withdrawn = stage.send(later).await;
    stage.engine.cancel(&stage.caller, &Repeat::NONE, withdrawn).await.unwrap();
    set_clock(&stage, "2026-12-01T02:00:00Z");
    closing::run(&stage.engine).await.unwrap();
    stage
}

async fn verify(stage: &Stage) -> Verified {
    books::verify(&stage.world.ports.db).await.unwrap()
}

/// Changes rows behind the engine's back, and expects that some were.
async fn plant(stage: &Stage, sql: &'static str) {
    let write =
        stage.world.ports.db.write(Scope::System, move |tx| Box::pin(async move { tx.execute(sql, &[]).await }));
    let changed: Result<u64, store::Error> = write.await;
    assert!(changed.unwrap() > 0, "nothing was changed by {sql}");
}

/// Plants something, and expects that it is told, as all of these kinds.
async fn found(db: &TestDb, sql: &'static str, kinds: &[&str]) {
    let stage = busy(db).await;
    plant(&stage, sql).await;
    let seen = verify(&stage).await.differences;
    assert!(kinds.iter().all(|kind| seen.iter().any(|one| one.kind == *kind)), "{kinds:?} of {seen:?}");
}

testkit::both! {
    async fn what_adds_up_has_no_differences(db: TestDb) {
        let stage = busy(&db).await;
        let verified = verify(&stage).await;
        assert_eq!(verified.differences, []);
        assert_eq!((verified.tenants, verified.messages, verified.invoices), (1, 6, 1));
        assert!(verified.entries >= 12, "{}", verified.entries);
        assert_eq!(books::watch(&stage.engine).await.unwrap(), 0);
    }

    async fn a_miscounted_month_is_found(db: TestDb) {
        found(&db, "UPDATE usage_counters SET sent = sent + 1", &["usage"]).await;
    }

    async fn a_miscounted_half_hour_is_found(db: TestDb) {
        found(&db, "UPDATE message_counters SET delivered = delivered - 1 WHERE delivered > 0", &["counters"]).await;
    }

    async fn a_miscounted_plan_is_found(db: TestDb) {
        found(&db, "UPDATE quota_counters SET used = used - 1", &["quota"]).await;
    }

    async fn a_wrong_balance_is_found(db: TestDb) {
        found(&db, "UPDATE credit_ledgers SET available = available + 5", &["ledger"]).await;
    }

    async fn a_balance_that_was_moved_is_found(db: TestDb) {
        found(&db, "UPDATE credit_ledgers SET available = available - 5, revenue = revenue + 5", &["ledger"]).await;
    }

    async fn a_book_that_was_emptied_into_another_is_found(db: TestDb) {
        found(&db, "UPDATE credit_ledgers SET purchased = purchased - 100, adjusted = adjusted + 100", &["ledger"]).await;
    }

    async fn an_entry_that_came_from_elsewhere_is_found(db: TestDb) {
        found(&db, "UPDATE credit_entries SET from_book = 'adjusted' WHERE kind = 'purchase'", &["ledger"]).await;
    }

    async fn a_purchase_that_brought_something_else_is_found(db: TestDb) {
        found(&db, "UPDATE credit_purchases SET amount = amount + 1", &["purchase"]).await;
    }

    async fn a_purchase_without_its_entry_is_found(db: TestDb) {
        found(&db, "UPDATE credit_purchases SET entry = NULL", &["purchase"]).await;
    }

    async fn promotional_credit_that_was_made_up_is_found(db: TestDb) {
        found(&db, "UPDATE credit_grants SET rest = rest + 5", &["ledger"]).await;
    }

    async fn a_promotional_balance_that_was_changed_is_found(db: TestDb) {
        found(&db, "UPDATE credit_entries SET promo = promo + 1 WHERE kind = 'grant'", &["ledger"]).await;
    }

    async fn an_entry_that_is_gone_is_found(db: TestDb) {
        found(&db, "DELETE FROM credit_entries WHERE number = 3", &["ledger", "charge"]).await;
    }

    async fn an_entry_that_was_changed_is_found(db: TestDb) {
        found(&db, "UPDATE credit_entries SET amount = amount + 1 WHERE number = 3", &["ledger", "charge"]).await;
    }

    async fn a_charge_that_was_changed_is_found(db: TestDb) {
        found(&db, "UPDATE messages SET charge = REPLACE(charge, '\"units\"', '\"parts\"')", &["charge"]).await;
        }

    async fn a_message_that_was_sent_for_nothing_is_found(db: TestDb) {
        found(&db, "UPDATE messages SET charge = NULL", &["ledger", "charge"]).await;
    }

    async fn two_charged_messages_that_are_one_to_the_provider_are_found(db: TestDb) {
        found(&db, "UPDATE messages SET provider_message_id = 'SM1' WHERE sent_at IS NOT NULL", &["charge"]).await;
    }

    async fn a_message_without_an_attempt_is_found(db: TestDb) {
        found(&db, "DELETE FROM attempts", &["attempts"]).await;
    }

    async fn an_invoice_that_was_changed_is_found(db: TestDb) {
        found(&db, "UPDATE invoices SET total = total + 1", &["invoice"]).await;
    }

    async fn a_number_without_its_invoice_is_found(db: TestDb) {
        found(&db, "DELETE FROM invoices", &["invoice"]).await;
    }

    async fn a_difference_is_told(db: TestDb) {
        let stage = busy(&db).await;
        plant(&stage, "UPDATE usage_counters SET sent = sent + 1").await;
        assert_eq!(books::watch(&stage.engine).await.unwrap(), 1);
        let told = crate::setting::column(&db, "SELECT data FROM events WHERE type = 'ledger.difference'").await;
        let told: Value = serde_json::from_str(&told).unwrap();
        assert_eq!((&told["count"], &told["differences"][0]["kind"]), (&json!(1), &json!("usage")));
    }

    async fn what_was_mended_is_over_long_before_the_next_daily_check(db: TestDb) {
        let stage = busy(&db).await;
        assert!(!books::again(&stage.engine).await.unwrap(), "nothing was found yet");
        plant(&stage, "UPDATE usage_counters SET sent = sent + 1").await;
        assert_eq!(books::watch(&stage.engine).await.unwrap(), 1);
        let firing = async |whose: &Caller| open(&stage, whose, AlertKind::LedgerFinding).await.len();
        minutes(&stage, 2).await;
        assert_eq!((firing(&stage.caller).await, firing(&Caller::system(None)).await), (1, 1));
        assert!(books::again(&stage.engine).await.unwrap());
        minutes(&stage, 12).await;
        assert_eq!(firing(&stage.caller).await, 1, "it still does not add up");

        plant(&stage, "UPDATE usage_counters SET sent = sent - 1").await;
        assert!(!books::again(&stage.engine).await.unwrap(), "an hour has not passed");
        stage.world.clock.advance_ms(3_600_000);
        assert!(books::again(&stage.engine).await.unwrap());
        assert!(!books::again(&stage.engine).await.unwrap(), "another node comes second");
        minutes(&stage, 12).await;
        assert_eq!((firing(&stage.caller).await, firing(&Caller::system(None)).await), (0, 0));
        stage.world.clock.advance_ms(3_600_000);
        assert!(!books::again(&stage.engine).await.unwrap(), "nothing is left to look at");
        let told = crate::setting::column(&db, "SELECT data FROM events WHERE type = 'ledger.difference'").await;
        assert_eq!(told.lines().count(), 1, "looking again tells nobody twice");
    }

    async fn the_installation_is_checked_once_a_day_by_whoever_comes_first(db: TestDb) {
        let mut stage = busy(&db).await;
        assert!(!books::daily(&stage.engine).await.unwrap(), "a start does not read everything");
        plant(&stage, "UPDATE usage_counters SET sent = sent + 1").await;
        stage.world.clock.advance_ms(86_399_000);
        stage.restart();
        assert!(!books::daily(&stage.engine).await.unwrap(), "nor does the next one");
        stage.world.clock.advance_ms(1_000);
        assert!(books::daily(&stage.engine).await.unwrap());
        stage.restart();
        assert!(!books::daily(&stage.engine).await.unwrap(), "somebody did");
        let told = crate::setting::column(&db, "SELECT data FROM events WHERE type = 'ledger.difference'").await;
        assert_eq!(told.lines().count(), 1);
    }
}
