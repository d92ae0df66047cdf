//! Price lists, ledgers, entries and charges: each function on both engines.

use model::{Channel, MessageId, TenantId, Timestamp};
use store::{
    Error, Scope,
    credits::{self, Charge, Entry, Grant, Ledger, RESERVED},
    messages::{self, ContentId, Message},
    prices::{self, PriceList},
    recounts, tenants,
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
        messages: (number > 1).then_some(3),
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
        charged_before: 0,
        may_stay: false,
        charged: 0,
        state: "settled".into(),
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
        assert_eq!(write!(db, |tx| (prices::insert(tx, &first, 7).await?, prices::insert(tx, &second, 0).await?)), (1, 2));
        assert_eq!(write!(db, |tx| prices::newest(tx).await?), 2);
        assert_eq!(write!(db, |tx| prices::find(tx, 1).await?), Some(PriceList { version: 1, ..list("EUR") }));
        assert_eq!(write!(db, |tx| prices::find(tx, 3).await?), None);
        let found = write!(db, |tx| prices::list(tx, i64::MAX, 9).await?);
        let seen: Vec<_> = found.iter().map(|head| (head.version, head.currency.as_str(), head.row_count)).collect();
        assert_eq!(seen, [(2, "USD", 0), (1, "EUR", 7)]);
        assert_eq!(write!(db, |tx| prices::list(tx, 2, 9).await?.len()), 1);
    }

    async fn a_currency_keeps_the_lists_that_count_last_however_many_others_get(db: TestDb) {
        let list = |(currency, valid_from): (&str, i64)| PriceList {
            version: 0, currency: currency.to_owned(), valid_from: Timestamp::from_seconds(valid_from), note: String::new(), body: "[]".to_owned(), created_at: Timestamp::from_seconds(1),
        };
        // The fourth replaces the second; the last counts before all others in its currency.
        let all = [("EUR", 9), ("USD", 30), ("USD", 20), ("USD", 30), ("EUR", 8), ("USD", 10)].map(list);
        write!(db, |tx| for list in &all {
            prices::insert(tx, list, 0).await?;
        });
        let versions = |lists: Vec<PriceList>| lists.into_iter().map(|list| list.version).collect::<Vec<_>>();
        assert_eq!(versions(write!(db, |tx| prices::latest_of_each(tx, 2).await?)), [4, 3, 1, 5]);
        assert_eq!(versions(write!(db, |tx| prices::latest_of_each(tx, 9).await?)), [4, 3, 6, 1, 5]);
        let at = Timestamp::from_seconds;
        assert_eq!(write!(db, |tx| (prices::ahead(tx, "USD", at(10), at(0)).await?, prices::ahead(tx, "USD", at(10), at(20)).await?)), (2, 1));
        assert_eq!(write!(db, |tx| (prices::ahead(tx, "USD", at(9), at(0)).await?, prices::ahead(tx, "EUR", at(9), at(0)).await?)), (3, 0));
        assert_eq!(write!(db, |tx| (prices::counting(tx, at(7)).await?, prices::counting(tx, at(20)).await?, prices::counting(tx, at(30)).await?)), (vec![], vec![1, 3], vec![1, 4]));
        let counts = |list: Option<PriceList>| list.map(|list| list.version);
        assert_eq!(write!(db, |tx| (counts(prices::counting_in(tx, "USD", at(9)).await?), counts(prices::counting_in(tx, "USD", at(40)).await?))), (None, Some(4)));
        let coming = write!(db, |tx| prices::coming_in(tx, "USD", at(10), 9).await?);
        assert_eq!(coming.into_iter().map(|head| head.version).collect::<Vec<_>>(), [3, 4]);
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
        write!(db, |tx| credits::put_charges(tx, &rows).await?);
        assert_eq!(write!(db, |tx| credits::sums(tx, ACME).await?), (0, 0));
        assert_eq!(write!(db, |tx| credits::charges(tx, &[(OTHER, MessageId::from_ulid(1))]).await?), [charge(OTHER, 1, 40)]);
        let other = Charge {
            list_version: 2, unit: 21, per: 0, cost_unit: None, markup: None, category: String::new(), charged: 15, promo: 2, quoted: 22, reported: Some(9),
            reported_currency: Some("EUR".to_owned()), units: 3, charged_before: 4, state: "settled".into(), ..charge(ACME, 2, 20)
        };
        let expected = other.clone();
        write!(db, |tx| credits::put_charges(tx, &[other]).await?);
        assert_eq!(write!(db, |tx| credits::sums(tx, ACME).await?), (0, 15));
        let id = MessageId::from_ulid(2);
        assert_eq!(write!(db, |tx| credits::charges(tx, &[(ACME, id), (OTHER, id)]).await?), [expected]);
        assert_eq!(write!(db, |tx| credits::charges(tx, &[]).await?), []);
        let new = charge(OTHER, 3, 7);
        let given = [new.clone()];
        write!(db, |tx| credits::insert_charges(tx, &given).await?);
        assert_eq!(write!(db, |tx| credits::charges(tx, &[(OTHER, MessageId::from_ulid(3))]).await?), [charge(OTHER, 3, 7)]);
        let twice = db.write(Scope::System, |tx| Box::pin(async move { credits::insert_charges(tx, &[new]).await }));
        assert!(twice.await.is_err(), "there is a row of it");
    }

    async fn what_is_set_aside_stands_with_its_message(db: TestDb) {
        let aside = Charge { state: RESERVED.into(), may_stay: true, charged_before: 4, charged: 4, ..charge(ACME, 1, 10) };
        let moved = Charge { promo: 0, quoted: 7, ..aside.clone() };
        let sms = |id: u128, cost: i64, aside: Option<String>| Message {
            cost_micros: Some(cost), aside,
            ..Message::new(ACME, MessageId::from_ulid(id), Channel::Sms, "+1".to_owned(), ContentId(1), Timestamp::from_seconds(1))
        };
        let messages = [sms(1, 14, aside.to_aside()), sms(2, 20, None), sms(3, 30, None)];
        let ended = [Charge { charged: 4, ..charge(ACME, 1, 4) }, Charge { charged: 20, ..charge(ACME, 2, 20) }];
        assert_eq!(ended[0].to_aside(), None);
        let (rows, given) = (messages.clone(), ended.clone());
        write!(db, |tx| (messages::insert_many(tx, &rows).await?, credits::put_charges(tx, &given).await?));
        assert_eq!(write!(db, |tx| credits::sums(tx, ACME).await?), (10, 24));
        assert_eq!(write!(db, |tx| credits::promo_aside(tx, ACME).await?), 0, "nothing is aside in a ledger that is not there");
        write!(db, |tx| credits::put(tx, ACME, &ledger(ACME, 0)).await?);
        assert_eq!(write!(db, |tx| (credits::promo_aside(tx, ACME).await?, credits::promo_aside(tx, OTHER).await?)), (1, 0));
        let read = write!(db, |tx| {
            let all = messages::after(tx, ACME, MessageId::from_ulid(0), 9).await?;
            credits::of_messages(tx, &all).await?
        });
        assert_eq!(read.into_values().collect::<Vec<_>>(), [aside, ended[1].clone()]);
        let text = moved.to_aside().unwrap();
        write!(db, |tx| messages::update_asides(tx, &[(ACME, MessageId::from_ulid(1), text)]).await?);
        let found = write!(db, |tx| messages::find(tx, ACME, MessageId::from_ulid(1)).await?).unwrap();
        assert_eq!(Charge::of_aside(ACME, found.id, &found.aside.unwrap()).unwrap(), moved);
        assert!(Charge::of_aside(ACME, found.id, "{}").is_err());
    }

    async fn what_was_charged_as_it_was_set_aside_stays_with_its_message(db: TestDb) {
        let aside = Charge { state: RESERVED.into(), may_stay: true, markup: None, category: String::new(), quoted: 30, promo: 5, ..charge(ACME, 1, 0) };
        let settled = Charge { state: "settled".into(), may_stay: false, charged: aside.quoted, ..aside.clone() };
        let text = aside.to_aside().unwrap();
        assert!(settled.is_kept(&aside));
        assert_eq!(Charge::of_kept(ACME, aside.message_id, &text).unwrap(), settled);
        let differs = [
            Charge { list_version: 8, ..settled.clone() }, Charge { unit: 8, ..settled.clone() }, Charge { per: 8, ..settled.clone() }, Charge { cost_unit: Some(8), ..settled.clone() },
            Charge { units: 8, ..settled.clone() }, Charge { quoted: 8, ..settled.clone() }, Charge { promo: 8, ..settled.clone() }, Charge { charged: 8, ..settled.clone() },
            Charge { markup: Some(8), ..settled.clone() }, Charge { category: "mms".to_owned(), ..settled.clone() }, Charge { reported: Some(8), ..settled.clone() },
            Charge { charged_before: 8, ..settled.clone() }, Charge { state: "released".into(), ..settled.clone() },
        ];
        for other in differs {
            assert!(!other.is_kept(&aside), "{other:?}");
        }
        for other in [Charge { may_stay: false, ..aside.clone() }, Charge { markup: Some(8), ..aside.clone() }, Charge { category: "mms".to_owned(), ..aside.clone() }] {
            assert!(!settled.is_kept(&other), "{other:?}");
        }
        let sms = |id: u128| Message {
            aside: Some(text.clone()), account_id: Some(model::AccountId::from_ulid(1)), connector: Some("sandbox".to_owned()), provider_message_id: Some("SM1".to_owned()),
            sent_at: Some(Timestamp::from_seconds(1)),
            ..Message::new(ACME, MessageId::from_ulid(id), Channel::Sms, "+1".to_owned(), ContentId(1), Timestamp::from_seconds(1))
        };
        let mut rows = [sms(1), sms(2), sms(3)];
        let new = rows.clone();
        write!(db, |tx| messages::insert_many(tx, &new).await?);
        for m in &mut rows {
            m.aside = None;
        }
        let ids = rows.each_ref().map(|m| m.id);
        let (sent, kept) = (rows.clone(), text.clone());
        write!(db, |tx| messages::update_many(tx, &sent, &ids[..2].iter().map(|id| (*id, Some(&*kept))).collect()).await?);
        let all = async || write!(db, |tx| messages::after(tx, ACME, MessageId::from_ulid(0), 9).await?);
        let said = |all: &[Message]| all.iter().map(|m| m.charge.is_some()).collect::<Vec<_>>();
        let read = all().await;
        assert_eq!(said(&read), [true, true, false]);
        assert_eq!(write!(db, |tx| credits::of_messages(tx, &read).await?.into_values().collect::<Vec<_>>()), [settled.clone(), Charge { message_id: ids[1], ..settled.clone() }]);
        assert_eq!(write!(db, |tx| credits::sums(tx, ACME).await?), (0, 2 * settled.charged));
        let range = (MessageId::from_ulid(0), MessageId::from_ulid(9));
        let (wrong, together) = write!(db, |tx| recounts::mischarged(tx, ACME, range, 9).await?);
        assert_eq!((wrong.count, together.charged, together.charges, together.promo), (0, 2 * settled.charged, 2, 2 * settled.promo));
        assert_eq!(write!(db, |tx| recounts::charged_as_one(tx, ACME, 9).await?.count), 1);
        let alike = write!(db, |tx| recounts::by_price(tx, ACME, "EUR", Timestamp::EPOCH).await?).unwrap();
        let told: Vec<_> = alike.iter().map(|alike| (alike.charge.unit, alike.charge.per, alike.charge.cost_unit, alike.charge.units, alike.charge.charged, alike.count)).collect();
        assert_eq!(told, [(settled.unit, settled.per, settled.cost_unit, settled.units, 2 * settled.charged, 2)]);
        // What is changed otherwise goes on to say it, and what it says can be taken away.
        let read = all().await;
        let first = ids[0];
        write!(db, |tx| messages::update_many(tx, &read, &[(first, None)].into()).await?);
        assert_eq!(said(&all().await), [false, true, false]);
        let row = [Charge { message_id: first, charged: 5, ..settled.clone() }];
        write!(db, |tx| credits::insert_charges(tx, &row).await?);
        assert_eq!(write!(db, |tx| credits::sums(tx, ACME).await?), (0, 5 + settled.charged));
    }

    async fn grants_end_and_are_found(db: TestDb) {
        let rows = [grant(ACME, 2, 90, 50), grant(ACME, 5, 40, 0), grant(ACME, 7, 60, 5), grant(OTHER, 1, 70, 50)];
        write!(db, |tx| credits::put_grants(tx, &rows).await?);
        let spent = [grant(ACME, 7, 60, 3)];
        write!(db, |tx| credits::put_grants(tx, &spent).await?);
        assert_eq!(write!(db, |tx| credits::grants(tx, ACME, 9).await?), [grant(ACME, 5, 40, 0), grant(ACME, 7, 60, 3), grant(ACME, 2, 90, 50)]);
        // What has something left is read however many came after it.
        assert_eq!(write!(db, |tx| credits::grants(tx, ACME, 2).await?), [grant(ACME, 5, 40, 0), grant(ACME, 7, 60, 3), grant(ACME, 2, 90, 50)]);
        assert_eq!(write!(db, |tx| credits::grants(tx, ACME, 1).await?), [grant(ACME, 7, 60, 3), grant(ACME, 2, 90, 50)]);
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

/// A message under way, one that was sent, and one that was charged for the way it left, as they were kept when what is set aside had a row of its own.
const CHARGED_BEFORE: &str = "INSERT INTO message_charges (tenant_id, message_id, list_version, unit, is_per_segment, per, cost_unit, markup, category, units, reported,
        reported_currency, quoted, promo, former, charged, state)
    VALUES ($1, $2, 7, 9, TRUE, 1, NULL, 250, 'mms', 2, NULL, NULL, 18, 5, 0, 0, 'reserved'), ($1, $3, 7, 9, TRUE, 1, NULL, NULL, '', 2, NULL, NULL, 18, 0, 0, 18, 'settled'),
        ($1, $4, 7, 9, FALSE, 0, 3, NULL, '', 0, 4, 'EUR', 9, 0, 6, 6, 'reserved')";

#[test]
fn what_was_set_aside_before_an_upgrade_still_is() {
    testkit::on_each_older(27, |db| async move {
        let ids = [1, 2, 3].map(MessageId::from_ulid);
        write!(db, |tx| {
            for id in ids {
                let sql = "INSERT INTO messages (tenant_id, id, channel, purpose, class, guarantee, status, address, content_id, attempts, polls, cost_micros, cost_currency, created_at)
                    VALUES ($1, $2, 2, 0, 0, 0, 0, '+1', $2, 0, 0, $3, 'EUR', $4)";
                tx.execute(sql, &[&ACME, &id, &if id == ids[2] { 15_i64 } else { 18 }, &Timestamp::from_seconds(1)])
                    .await?;
            }
            tx.execute(CHARGED_BEFORE, &[&ACME, &ids[0], &ids[1], &ids[2]]).await?;
        });
        store::migrate(&db, Timestamp::EPOCH).await.unwrap();
        let read = write!(db, |tx| {
            let all = messages::after(tx, ACME, MessageId::from_ulid(0), 9).await?;
            credits::of_messages(tx, &all).await?
        });
        let plain =
            Charge { list_version: 7, unit: 9, per: 1, units: 2, quoted: 18, ..Charge::new(ACME, ids[0], RESERVED) };
        let first = Charge { markup: Some(250), category: "mms".to_owned(), promo: 5, ..plain.clone() };
        let second = Charge { message_id: ids[1], charged: 18, state: "settled".into(), ..plain.clone() };
        let third = Charge {
            message_id: ids[2],
            per: 0,
            units: 0,
            cost_unit: Some(3),
            reported: Some(4),
            reported_currency: Some("EUR".to_owned()),
            quoted: 9,
            charged_before: 6,
            may_stay: false,
            charged: 6,
            ..plain
        };
        assert_eq!(read.into_values().collect::<Vec<_>>(), [first, second, third]);
        assert_eq!(write!(db, |tx| credits::sums(tx, ACME).await?), (27, 24));
    });
}

#[test]
fn what_nobody_spoke_for_before_an_upgrade_is_looked_at_once_more() {
    testkit::on_each_older(33, |db| async move {
        let ids = [1, 2, 3].map(MessageId::from_ulid);
        let ended_at = Timestamp::from_seconds(7);
        write!(db, |tx| {
            // One that ended unknown, one nothing is set aside for, and one that is still asked about.
            for (id, aside, poll_at) in [
                (ids[0], r#"'{"quoted":18}'"#, None),
                (ids[1], "NULL", None),
                (ids[2], r#"'{"quoted":18}'"#, Some(Timestamp::from_seconds(9))),
            ] {
                let sql = format!(
                    "INSERT INTO messages (tenant_id, id, channel, purpose, class, guarantee, status, address, content_id, attempts, polls, aside, poll_at, ended_at, created_at)
                    VALUES ($1, $2, 2, 0, 0, 0, 6, '+1', $2, 1, 0, {aside}, $3, $4, $4)"
                );
                tx.execute(&sql, &[&ACME, &id, &poll_at, &ended_at]).await?;
            }
        });
        store::migrate(&db, Timestamp::EPOCH).await.unwrap();
        let all = write!(db, |tx| messages::after(tx, ACME, MessageId::from_ulid(0), 9).await?);
        let polls: Vec<_> = all.iter().map(|m| (m.poll_at, m.cost_before)).collect();
        assert_eq!(polls, [(Some(ended_at), 0), (None, 0), (Some(Timestamp::from_seconds(9)), 0)]);
    });
}
