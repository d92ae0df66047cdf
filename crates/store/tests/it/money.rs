//! Price lists, ledgers, entries and charges: each function on both engines.

use model::{MessageId, TenantId, Timestamp};
use store::{
    Error, Scope,
    credits::{self, Charge, Entry, Grant, Ledger},
    prices::{self, PriceList},
    tenants,
};

const ACME: TenantId = TenantId::from_ulid(10);
const OTHER: TenantId = TenantId::from_ulid(20);

fn ledger(tenant_id: TenantId, available: i64) -> Ledger {
    Ledger {
        available,
        reserved: 2,
        revenue: 3,
        purchased: 4,
        adjusted: 5,
        promo: 6,
        granted: 7,
        remainder: 8,
        low_at: Some(9),
        is_low: true,
        top_up_at: Some(10),
        top_up_amount: Some(11),
        is_topping_up: true,
        top_ups: 13,
        top_up_month_max: Some(14),
        entries: 12,
        ..Ledger::empty(tenant_id, "prepaid", "EUR", Timestamp::from_seconds(1))
    }
}

fn grant(tenant_id: TenantId, number: i64, ends: i64, rest: i64) -> Grant {
    Grant {
        tenant_id,
        number,
        amount: 50,
        rest,
        expires_at: Timestamp::from_seconds(ends),
        reference: "welcome".to_owned(),
        created_at: Timestamp::from_seconds(1),
    }
}

fn entry(tenant_id: TenantId, number: i64) -> Entry {
    Entry {
        tenant_id,
        number,
        kind: "purchase".into(),
        from_book: "purchased".into(),
        to_book: "available".into(),
        amount: 7,
        available: 8,
        reserved: 9,
        promo: 10,
        message_id: (number > 1).then(|| MessageId::from_ulid(5)),
        reference: Some("bank".to_owned()),
        actor: None,
        at: Timestamp::from_seconds(2),
    }
}

fn charge(tenant_id: TenantId, message: u128, quoted: i64) -> Charge {
    Charge {
        tenant_id,
        message_id: MessageId::from_ulid(message),
        list_version: 1,
        unit: quoted,
        per: credits::PER_SEGMENT,
        cost_unit: Some(3),
        markup: Some(2_500),
        category: "mms".to_owned(),
        units: 2,
        reported: None,
        reported_currency: None,
        quoted,
        promo: 1,
        former: 0,
        charged: 0,
        state: "reserved".into(),
    }
}

/// Runs work in a transaction and expects it to succeed.
macro_rules! write {
    ($db:expr, |$tx:ident| $work:expr) => {
        $db.write(Scope::System, move |$tx| Box::pin(async move { Ok::<_, Error>($work) })).await.unwrap()
    };
}

testkit::both! {
    async fn price_lists_count_up(db: TestDb) {
        let list = |currency: &str| PriceList {
            version: 0, currency: currency.to_owned(), valid_from: Timestamp::from_seconds(9), note: String::new(), body: "[]".to_owned(), created_at: Timestamp::from_seconds(1),
        };
        let (first, second) = (list("EUR"), list("USD"));
        assert_eq!(write!(db, |tx| prices::newest(tx).await?), 0);
        assert_eq!(write!(db, |tx| (prices::insert(tx, &first).await?, prices::insert(tx, &second).await?)), (1, 2));
        assert_eq!(write!(db, |tx| prices::newest(tx).await?), 2);
        assert_eq!(write!(db, |tx| prices::find(tx, 1).await?), Some(PriceList { version: 1, ..list("EUR") }));
        assert_eq!(write!(db, |tx| prices::find(tx, 3).await?), None);
        let found = write!(db, |tx| prices::list(tx, i64::MAX, 9).await?);
        assert_eq!(found, [PriceList { version: 2, ..list("USD") }, PriceList { version: 1, ..list("EUR") }]);
        assert_eq!(write!(db, |tx| prices::list(tx, 2, 9).await?.len()), 1);
    }

    async fn a_currency_keeps_the_lists_that_count_last_however_many_others_get(db: TestDb) {
        let list = |(currency, valid_from): (&str, i64)| PriceList {
            version: 0, currency: currency.to_owned(), valid_from: Timestamp::from_seconds(valid_from), note: String::new(), body: "[]".to_owned(), created_at: Timestamp::from_seconds(1),
        };
        // The fourth replaces the second; the last counts before all others in its currency.
        let all = [("EUR", 9), ("USD", 30), ("USD", 20), ("USD", 30), ("EUR", 8), ("USD", 10)].map(list);
        write!(db, |tx| for list in &all {
            prices::insert(tx, list).await?;
        });
        let versions = |lists: Vec<PriceList>| lists.into_iter().map(|list| list.version).collect::<Vec<_>>();
        assert_eq!(versions(write!(db, |tx| prices::latest_of_each(tx, 2).await?)), [4, 3, 1, 5]);
        assert_eq!(versions(write!(db, |tx| prices::latest_of_each(tx, 9).await?)), [4, 3, 6, 1, 5]);
        let at = Timestamp::from_seconds;
        assert_eq!(write!(db, |tx| (prices::ahead(tx, "USD", at(10), at(0)).await?, prices::ahead(tx, "USD", at(10), at(20)).await?)), (2, 1));
        assert_eq!(write!(db, |tx| (prices::ahead(tx, "USD", at(9), at(0)).await?, prices::ahead(tx, "EUR", at(9), at(0)).await?)), (3, 0));
    }

    async fn ledgers_are_kept_and_their_tenants_hear_of_prices(db: TestDb) {
        assert_eq!(write!(db, |tx| credits::find(tx, ACME).await?), None);
        write!(db, |tx| credits::put(tx, ACME, &ledger(ACME, 1)).await?);
        write!(db, |tx| credits::put(tx, ACME, &ledger(ACME, 11)).await?);
        assert_eq!(write!(db, |tx| (credits::find(tx, ACME).await?, credits::lock(tx, ACME).await?)), (Some(ledger(ACME, 11)), Some(ledger(ACME, 11))));
        assert_eq!(write!(db, |tx| credits::lock(tx, OTHER).await?), None);
        for id in [ACME, OTHER] {
            let row = crate::tenancy::tenant(id);
            write!(db, |tx| tenants::insert(tx, &row).await?);
        }
        write!(db, |tx| prices::touch_tenants(tx, 500).await?);
        assert_eq!(write!(db, |tx| tenants::changed_since(tx, 499).await?), [ACME, OTHER]);
    }

    async fn entries_are_read_newest_first_and_apart(db: TestDb) {
        let rows = [entry(ACME, 1), entry(ACME, 2), entry(OTHER, 1)];
        write!(db, |tx| credits::insert_entries(tx, &rows).await?);
        assert_eq!(write!(db, |tx| credits::entries(tx, ACME, i64::MAX, 9).await?), [entry(ACME, 2), entry(ACME, 1)]);
        assert_eq!(write!(db, |tx| credits::entries(tx, ACME, 2, 9).await?), [entry(ACME, 1)]);
        assert_eq!(write!(db, |tx| credits::entries(tx, OTHER, i64::MAX, 9).await?.len()), 1);
    }

    async fn charges_change_and_are_summed(db: TestDb) {
        let rows = [charge(ACME, 1, 10), charge(ACME, 2, 20), charge(OTHER, 1, 40)];
        write!(db, |tx| credits::insert_charges(tx, &rows).await?);
        assert_eq!(write!(db, |tx| credits::sums(tx, ACME).await?), (30, 0));
        assert_eq!(write!(db, |tx| credits::charges(tx, &[(OTHER, MessageId::from_ulid(1))]).await?), [charge(OTHER, 1, 40)]);
        let settled = Charge { charged: 15, reported: Some(9), reported_currency: Some("EUR".to_owned()), units: 3, former: 4, state: "settled".into(), ..charge(ACME, 2, 20) };
        let expected = settled.clone();
        write!(db, |tx| credits::reprice_charges(tx, &[settled]).await?);
        assert_eq!(write!(db, |tx| credits::sums(tx, ACME).await?), (10, 15));
        let id = MessageId::from_ulid(2);
        assert_eq!(write!(db, |tx| credits::charges(tx, &[(ACME, id), (OTHER, id)]).await?), [expected]);
        assert_eq!(write!(db, |tx| credits::charges(tx, &[]).await?), []);
        let corrected = Charge { charged: 14, promo: 2, reported: None, reported_currency: None, units: 1, former: 0, state: "released".into(), ..charge(ACME, 2, 20) };
        let expected = corrected.clone();
        assert!(corrected.is_priced_as(&charge(ACME, 2, 20)) && !corrected.is_priced_as(&charge(ACME, 2, 21)));
        write!(db, |tx| credits::update_charges(tx, &[corrected]).await?);
        assert_eq!(write!(db, |tx| credits::charges(tx, &[(ACME, id), (OTHER, id)]).await?), [expected]);
    }

    async fn grants_end_and_are_found(db: TestDb) {
        let rows = [grant(ACME, 2, 90, 50), grant(ACME, 5, 40, 0), grant(ACME, 7, 60, 5), grant(OTHER, 1, 70, 50)];
        write!(db, |tx| credits::put_grants(tx, &rows).await?);
        let spent = [grant(ACME, 7, 60, 3)];
        write!(db, |tx| credits::put_grants(tx, &spent).await?);
        assert_eq!(write!(db, |tx| credits::grants(tx, ACME, 9).await?), [grant(ACME, 5, 40, 0), grant(ACME, 7, 60, 3), grant(ACME, 2, 90, 50)]);
        assert_eq!(write!(db, |tx| credits::grants(tx, ACME, 2).await?), [grant(ACME, 5, 40, 0), grant(ACME, 7, 60, 3)]);
        assert_eq!(write!(db, |tx| credits::grants_before(tx, ACME, 7, 1).await?), [grant(ACME, 5, 40, 0)]);
        let all: i64 = write!(db, |tx| credits::grants(tx, ACME, 99).await?).iter().map(|grant| grant.rest).sum();
        assert_eq!(write!(db, |tx| credits::grants_left(tx, ACME).await?), all);
        let ended = async |at: i64| write!(db, |tx| credits::with_ended_grants(tx, Timestamp::from_seconds(at), 9).await?);
        assert_eq!(ended(59).await, []);
        assert_eq!(ended(60).await, [ACME]);
        assert_eq!(ended(70).await, [ACME, OTHER]);
    }

    async fn marks_that_were_crossed_are_found(db: TestDb) {
        let put = async |available: i64, is_low: bool, is_topping_up: bool| {
            let row = Ledger { promo: 0, is_low, is_topping_up, low_at: Some(50), top_up_at: Some(20), ..ledger(ACME, available) };
            write!(db, |tx| credits::put(tx, ACME, &row).await?);
            write!(db, |tx| credits::across_marks(tx, 9).await?.len())
        };
        assert_eq!(put(50, false, false).await, 0);
        assert_eq!(put(49, false, false).await, 1);
        assert_eq!(put(49, true, false).await, 0);
        assert_eq!(put(19, true, false).await, 1);
        assert_eq!(put(19, true, true).await, 0);
        assert_eq!(put(60, true, true).await, 1);
        let unpaid = Ledger { mode: "none".to_owned(), ..ledger(ACME, 0) };
        write!(db, |tx| credits::put(tx, ACME, &unpaid).await?);
        assert_eq!(write!(db, |tx| credits::across_marks(tx, 9).await?), []);
    }
}
