//! Purchases, refunds, payment methods and a payment provider's events: each function on both engines.

use model::{PurchaseId, RefundId, TenantId, Timestamp};
use store::{
    Error, Scope, alert_facts,
    credits::{self, Ledger},
    payments::{self, Finding},
    purchases::{self, PaymentMethod, PaymentSettings, Purchase, Refund, Tax},
};

const ACME: TenantId = TenantId::from_ulid(10);
const OTHER: TenantId = TenantId::from_ulid(20);

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(seconds)
}

fn purchase(tenant_id: TenantId, id: u128, state: &str) -> Purchase {
    Purchase {
        tenant_id,
        id: PurchaseId::from_ulid(id),
        provider: "stripe".to_owned(),
        state: state.to_owned(),
        amount: 10 * i64::try_from(id).unwrap(),
        tax: (id > 1).then(|| Tax {
            name: "VAT".to_owned(),
            rate_ppm: 190_000,
            amount: 2,
            country: Some("DE".to_owned()),
            number: None,
        }),
        currency: "USD".to_owned(),
        refunded: 1,
        refunded_tax: 0,
        reference: None,
        session: Some("cs_1".to_owned()),
        payment: Some(format!("pi_{id}")),
        url: Some("https://pay.test".to_owned()),
        failure: None,
        is_top_up: id > 1,
        saves_method: true,
        looks: 2,
        looked: 1,
        entry: None,
        disputes: format!(r#"[{{"id":"du_{id}"}}]"#),
        is_disputed: id == 2,
        ask_at: Some(at(5)),
        actor: "key_1".to_owned(),
        created_at: at(i64::try_from(id).unwrap()),
        updated_at: at(9),
    }
}

fn refund(tenant_id: TenantId, id: u128, state: &str) -> Refund {
    Refund {
        tenant_id,
        id: RefundId::from_ulid(id),
        purchase_id: (id > 1).then(|| PurchaseId::from_ulid(1)),
        provider: "stripe".to_owned(),
        state: state.to_owned(),
        amount: 5,
        tax: 1,
        taken: 4,
        reason: "closed".to_owned(),
        provider_id: (id > 1).then(|| format!("re_{id}")),
        failure: None,
        actor: "key_1".to_owned(),
        created_at: at(1),
        updated_at: at(2),
    }
}

/// Runs work in a transaction and expects it to succeed.
macro_rules! write {
    ($db:expr, |$tx:ident| $work:expr) => {
        $db.write(Scope::System, move |$tx| Box::pin(async move { Ok::<_, Error>($work) })).await.unwrap()
    };
}

testkit::both! {
    async fn purchases_change_and_are_found(db: TestDb) {
        let rows = [purchase(ACME, 1, "opening"), purchase(ACME, 2, "opening"), purchase(OTHER, 3, "open")];
        for row in rows.clone() {
            write!(db, |tx| purchases::put(tx, row.tenant_id, &row).await?);
        }
        let paid = Purchase { state: "paid".to_owned(), entry: Some(7), refunded: 3, refunded_tax: 1, looked: 2, url: None, ..purchase(ACME, 2, "") };
        let kept = paid.clone();
        write!(db, |tx| purchases::put(tx, ACME, &kept).await?);
        assert_eq!(write!(db, |tx| purchases::find(tx, ACME, PurchaseId::from_ulid(2)).await?), Some(paid.clone()));
        assert_eq!(write!(db, |tx| purchases::find(tx, OTHER, PurchaseId::from_ulid(2)).await?), None);
        let all = PurchaseId::from_ulid(u128::MAX);
        assert_eq!(write!(db, |tx| purchases::list(tx, ACME, all, 9).await?), [paid.clone(), rows[0].clone()]);
        assert_eq!(write!(db, |tx| purchases::list(tx, ACME, PurchaseId::from_ulid(2), 9).await?.len()), 1);
        assert_eq!(write!(db, |tx| purchases::of_payment(tx, "pi_2").await?), Some(paid));
        assert_eq!(write!(db, |tx| purchases::of_payment(tx, "pi_9").await?), None);
        assert_eq!(write!(db, |tx| purchases::opening(tx, at(9), 9).await?), [rows[0].clone()]);
        assert_eq!(write!(db, |tx| purchases::to_look_at(tx, at(9), 9).await?), [rows[0].clone(), rows[2].clone()]);
        assert_eq!(write!(db, |tx| purchases::topped_up(tx, ACME, at(0)).await?), (1, 20));
        assert_eq!(write!(db, |tx| purchases::topped_up(tx, ACME, at(2)).await?), (0, 0));
        assert_eq!(write!(db, |tx| (alert_facts::disputed(tx, 9).await?.len(), alert_facts::disputed(tx, 0).await?.len())), (1, 0));
        assert_eq!(write!(db, |tx| alert_facts::disputed(tx, 9).await?[0].amount), 22, "what was paid, tax included");
        let undisputed = Purchase { disputes: "[]".to_owned(), ..purchase(ACME, 9, "paid") };
        write!(db, |tx| purchases::put(tx, ACME, &undisputed).await?);
        let newest = write!(db, |tx| purchases::with_disputes(tx, ACME, 1).await?);
        assert_eq!(newest.into_iter().map(|row| row.id).collect::<Vec<_>>(), [PurchaseId::from_ulid(2)]);
    }

    async fn refunds_go_on_and_are_known_by_the_providers_id(db: TestDb) {
        for row in [refund(ACME, 1, "opening"), refund(ACME, 2, "pending"), refund(OTHER, 3, "opening")] {
            write!(db, |tx| purchases::put_refund(tx, row.tenant_id, &row).await?);
        }
        let failed = Refund { state: "failed".to_owned(), failure: Some("gone".to_owned()), provider_id: Some("re_1".to_owned()), ..refund(ACME, 1, "") };
        let kept = failed.clone();
        write!(db, |tx| purchases::put_refund(tx, ACME, &kept).await?);
        assert_eq!(write!(db, |tx| purchases::find_refund(tx, ACME, RefundId::from_ulid(1)).await?), Some(failed.clone()));
        assert_eq!(write!(db, |tx| purchases::find_refund(tx, OTHER, RefundId::from_ulid(1)).await?), None);
        assert_eq!(write!(db, |tx| purchases::refund_by_provider(tx, ACME, "re_1").await?), Some(failed));
        assert_eq!(write!(db, |tx| purchases::refund_by_provider(tx, OTHER, "re_1").await?), None);
        assert_eq!(write!(db, |tx| purchases::refunds(tx, ACME, RefundId::from_ulid(9), 9).await?.len()), 2);
        assert_eq!(write!(db, |tx| purchases::opening_refunds(tx, at(9), 9).await?), [refund(OTHER, 3, "opening")]);
    }

    async fn who_runs_low_and_has_something_to_pay_with_is_found(db: TestDb) {
        let method = |acted: i64| PaymentMethod {
            tenant_id: ACME, provider: "stripe".to_owned(), customer: "cus_1".to_owned(), method: "pm_1".to_owned(), name: "visa".to_owned(), acted, created_at: at(1),
        };
        let ledger = Ledger { is_topping_up: true, top_ups: 2, ..Ledger::empty(ACME, "prepaid", "USD", at(1)) };
        write!(db, |tx| credits::put(tx, ACME, &ledger).await?);
        assert_eq!(write!(db, |tx| purchases::running_low(tx, at(9), 9).await?), []);
        write!(db, |tx| purchases::put_method(tx, ACME, &method(1)).await?);
        assert_eq!(write!(db, |tx| purchases::running_low(tx, at(9), 9).await?), [ACME]);
        write!(db, |tx| purchases::put_method(tx, ACME, &method(2)).await?);
        assert_eq!(write!(db, |tx| purchases::running_low(tx, at(9), 9).await?), []);
        assert_eq!(write!(db, |tx| purchases::method(tx, ACME).await?), Some(method(2)));
        assert_eq!(write!(db, |tx| (purchases::forget_method(tx, ACME).await?, purchases::forget_method(tx, ACME).await?)), (true, false));
    }

    async fn an_event_is_taken_once_and_settings_are_replaced(db: TestDb) {
        let take = async |id: &'static str, seconds: i64| write!(db, |tx| purchases::take_event(tx, id, "refund.created", at(seconds)).await?);
        assert_eq!((take("evt_1", 1).await, take("evt_1", 5).await, take("evt_2", 5).await), (true, false, true));
        assert_eq!(write!(db, |tx| purchases::forget_events(tx, at(5), 9).await?), 1);
        assert_eq!((take("evt_1", 6).await, take("evt_2", 6).await), (true, false));
        let settings = |byte: u8| PaymentSettings { settings: vec![byte], data_key_id: 3, updated_at: at(1) };
        assert_eq!(write!(db, |tx| purchases::settings(tx, "stripe").await?), None);
        for byte in [1, 2] {
            write!(db, |tx| purchases::put_settings(tx, "stripe", Some(&settings(byte))).await?);
        }
        assert_eq!(write!(db, |tx| purchases::settings(tx, "stripe").await?), Some(settings(2)));
        write!(db, |tx| purchases::put_settings(tx, "stripe", None).await?);
        assert_eq!(write!(db, |tx| purchases::settings(tx, "stripe").await?), None);
    }

    async fn a_payment_is_of_one_purchase_for_good(db: TestDb) {
        let (first, second) = (PurchaseId::from_ulid(1), PurchaseId::from_ulid(2));
        assert_eq!(write!(db, |tx| payments::claim(tx, "pi_1", ACME, first).await?), (ACME, first));
        assert_eq!(write!(db, |tx| payments::claim(tx, "pi_1", OTHER, second).await?), (ACME, first));
        assert_eq!(write!(db, |tx| payments::claim(tx, "pi_1", ACME, first).await?), (ACME, first));
        assert_eq!(write!(db, |tx| payments::claim(tx, "pi_2", OTHER, second).await?), (OTHER, second));
    }

    async fn what_is_found_of_payments_is_kept_until_it_is_settled(db: TestDb) {
        let finding = |payment: &str, kind: &str, second: i64| Finding {
            payment: payment.to_owned(), kind: kind.to_owned(), detail: format!("{payment} at {second}"), found_at: at(second),
        };
        for found in [finding("pi_1", "gone", 5), finding("pi_1", "gone", 6), finding("pi_2", "taken", 7), finding("pi_1", payments::UNHEARD, 8)] {
            write!(db, |tx| payments::note(tx, &found).await?);
        }
        let stray = async |since: i64, limit: i64| write!(db, |tx| payments::stray(tx, at(since), limit).await?);
        assert_eq!(stray(4, 9).await, [finding("pi_2", "taken", 7), finding("pi_1", "gone", 5)], "the first word counts");
        assert_eq!((stray(5, 9).await.len(), stray(4, 1).await.len()), (1, 1));
        let unheard = async |since: i64| write!(db, |tx| payments::unheard(tx, at(since), 9).await?);
        assert_eq!((unheard(7).await, unheard(8).await), (vec![at(8)], vec![]));
        write!(db, |tx| purchases::take_event(tx, "evt_1", "refund.created", at(7)).await?);
        assert_eq!(unheard(7).await, [at(8)]);
        write!(db, |tx| purchases::take_event(tx, "evt_2", "refund.created", at(8)).await?);
        assert_eq!(unheard(7).await, [], "events come again");
        write!(db, |tx| payments::settle(tx, "pi_2", at(9)).await?);
        assert_eq!(stray(4, 9).await, [finding("pi_1", "gone", 5)]);
        assert_eq!(write!(db, |tx| (payments::forget(tx, at(8), 1).await?, payments::forget(tx, at(8), 9).await?, payments::forget(tx, at(8), 9).await?)), (1, 1, 0));
    }
}
