//! The callback log, messages people sent, early reports, and usage over all tenants: each function on both engines.

use model::{AccountId, CallbackId, Channel, InboundId, Purpose, TenantId, Timestamp};
use store::{
    Db, Error, Scope, Tx,
    callback_log::{self, Callback, Event, Filter},
    inbound::{self, Inbound},
    reports::{self, EarlyReport},
    usage::{self, Counts, Key},
};

const ACME: TenantId = TenantId::from_ulid(10);
const OTHER: TenantId = TenantId::from_ulid(20);
const ONE: AccountId = AccountId::from_ulid(1);
const TWO: AccountId = AccountId::from_ulid(2);

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(seconds)
}

/// A request that came `seconds` after 1970.
fn callback(tenant: TenantId, account: AccountId, seconds: i64, dedupe: Option<&str>) -> Callback {
    Callback {
        tenant_id: tenant,
        id: CallbackId::from_ulid((seconds as u128 * 1_000) << 80),
        account_id: account,
        received_at: at(seconds),
        method: "POST".to_owned(),
        path: "/inbound".to_owned(),
        query: "a=1".to_owned(),
        headers: "[]".to_owned(),
        body: vec![b'x'; 5_000],
        size: 5_000,
        dedupe: dedupe.map(|text| text.as_bytes().to_vec()),
        verdict: if dedupe.is_some() { "valid" } else { "invalid" }.to_owned(),
        detail: None,
        observed: 1,
        unmatched: 0,
        repeats: 0,
        told: Some(r#"[{"fact":"delivered"}]"#.to_owned()),
        event: Event::default(),
    }
}

/// An event of the operator's payment provider that came `seconds` after 1970.
fn event(seconds: i64, dedupe: Option<&str>, about: Option<TenantId>) -> Callback {
    let event = Event { kind: Some("refund.updated".to_owned()), id: Some(format!("evt_{seconds}")), about };
    Callback { event, told: None, ..callback(TenantId::from_ulid(0), AccountId::from_ulid(0), seconds, dedupe) }
}

async fn write<T: Send + 'static>(
    db: &Db,
    work: impl for<'t> FnOnce(&'t mut Tx) -> model::BoxFuture<'t, Result<T, Error>> + Send + 'static,
) -> T {
    db.write(Scope::System, work).await.unwrap()
}

async fn insert(db: &Db, rows: Vec<Callback>) -> u64 {
    write(db, move |tx| Box::pin(async move { callback_log::insert_many(tx, &rows).await })).await
}

testkit::both! {
    async fn a_verified_request_is_there_once_and_forged_ones_stand_in_nobodys_way(db: TestDb) {
        assert_eq!(insert(&db, vec![callback(ACME, ONE, 1, None), callback(ACME, ONE, 2, None)]).await, 2);
        assert_eq!(insert(&db, vec![callback(ACME, ONE, 3, Some("k"))]).await, 1);
        assert_eq!(insert(&db, vec![callback(ACME, ONE, 4, Some("k")), callback(OTHER, TWO, 5, Some("k"))]).await, 1);
        let keys = vec![(ONE, b"k".to_vec()), (ONE, b"l".to_vec()), (TWO, b"k".to_vec())];
        let mut known = write(&db, move |tx| Box::pin(async move { callback_log::known(tx, &keys).await })).await;
        known.sort();
        assert_eq!(known, [(ONE, b"k".to_vec()), (TWO, b"k".to_vec())]);
    }

    async fn repetitions_are_counted_on_their_row(db: TestDb) {
        insert(&db, vec![callback(ACME, ONE, 1, Some("k")), callback(ACME, ONE, 2, Some("l")), callback(ACME, ONE, 3, None)]).await;
        let repeats = vec![(ONE, b"k".to_vec(), 3), (ONE, b"gone".to_vec(), 1)];
        write(&db, move |tx| Box::pin(async move { callback_log::count_repeats(tx, &repeats).await })).await;
        let counts = write(&db, |tx| Box::pin(async move {
            let rows = callback_log::list(tx, ACME, &Filter::default(), CallbackId::from_ulid(u128::MAX), 10).await?;
            Ok(rows.into_iter().map(|row| row.repeats).collect::<Vec<_>>())
        })).await;
        assert_eq!(counts, [0, 0, 3]);
    }

    async fn a_list_shows_the_tenants_own_with_the_beginning_of_the_body(db: TestDb) {
        insert(&db, vec![
            callback(ACME, ONE, 1, Some("k")), callback(ACME, TWO, 2, None), callback(OTHER, TWO, 3, None), callback(ACME, ONE, 4, None),
        ]).await;
        let list = |filter: Filter, before: i64| {
            let db = &db;
            async move {
                let before = CallbackId::from_ulid((before as u128 * 1_000) << 80);
                let rows = write(db, move |tx| Box::pin(async move { callback_log::list(tx, ACME, &filter, before, 2).await })).await;
                rows.into_iter().map(|row| (row.received_at.as_seconds(), row.body.len(), row.size)).collect::<Vec<_>>()
            }
        };
        assert_eq!(list(Filter::default(), 9).await, [(4, 2_048, 5_000), (2, 2_048, 5_000)]);
        assert_eq!(list(Filter::default(), 2).await, [(1, 2_048, 5_000)]);
        assert_eq!(list(Filter { account_id: Some(TWO), ..Filter::default() }, 9).await, [(2, 2_048, 5_000)]);
        assert_eq!(list(Filter { account_id: Some(ONE), verdict: Some("valid"), ..Filter::default() }, 9).await, [(1, 2_048, 5_000)]);
        insert(&db, vec![Callback { body: Vec::new(), size: 0, ..callback(ACME, ONE, 8, None) }]).await;
        assert_eq!(list(Filter::default(), 9).await[0], (8, 0, 0));
        let (found, foreign) = write(&db, |tx| Box::pin(async move {
            let id = callback(ACME, ONE, 1, None).id;
            callback_log::set_detail(tx, ACME, id, "done").await?;
            callback_log::set_detail(tx, OTHER, id, "not theirs").await?;
            Ok((callback_log::find(tx, ACME, id).await?, callback_log::find(tx, OTHER, id).await?))
        })).await;
        assert_eq!(found, Some(Callback { detail: Some("done".to_owned()), ..callback(ACME, ONE, 1, Some("k")) }));
        assert_eq!(foreign, None);
    }

    async fn old_requests_are_forgotten_tenant_by_tenant(db: TestDb) {
        insert(&db, (1..=5).map(|n| callback(ACME, ONE, n, None)).chain((1..=3).map(|n| callback(OTHER, TWO, n, None))).collect()).await;
        let step = |after: Option<TenantId>| {
            let db = &db;
            async move {
                let purged = write(db, move |tx| Box::pin(async move { callback_log::purge(tx, after, at(4), 2).await })).await;
                (purged.removed, purged.tenant)
            }
        };
        let operator = TenantId::from_ulid(0);
        write(&db, |tx| Box::pin(async move { callback_log::put(tx, &event(1, None, None), false).await })).await;
        assert_eq!(step(None).await, (1, Some(operator)), "the operator's own come first");
        assert_eq!(step(Some(operator)).await, (2, Some(ACME)));
        assert_eq!(step(Some(operator)).await, (1, Some(ACME)));
        assert_eq!(step(Some(ACME)).await, (2, Some(OTHER)));
        assert_eq!(step(Some(ACME)).await, (1, Some(OTHER)));
        assert_eq!(step(Some(ACME)).await, (0, None), "nothing of theirs is left");
        assert_eq!(step(Some(OTHER)).await, (0, None));
        let left = write(&db, |tx| Box::pin(async move {
            callback_log::list(tx, ACME, &Filter::default(), CallbackId::from_ulid(u128::MAX), 10).await
        })).await;
        assert_eq!(left.len(), 2);
    }

    async fn an_event_that_comes_again_is_counted_and_says_what_is_new(db: TestDb) {
        let put = |row: Callback, is_news: bool| write(&db, move |tx| Box::pin(async move { callback_log::put(tx, &row, is_news).await }));
        let told = |text: &str| Some(text.to_owned());
        put(Callback { told: told("first"), unmatched: 1, ..event(1, Some("k"), None) }, false).await;
        put(Callback { told: told("same"), unmatched: 1, ..event(2, Some("k"), Some(ACME)) }, false).await;
        put(event(3, None, None), false).await;
        put(event(4, None, None), false).await;
        let list = |filter: Filter| {
            let db = &db;
            async move {
                let (operator, end) = (TenantId::from_ulid(0), CallbackId::from_ulid(u128::MAX));
                write(db, move |tx| Box::pin(async move { callback_log::list(tx, operator, &filter, end, 10).await })).await
            }
        };
        let seen = list(Filter::default()).await;
        assert_eq!(seen.iter().map(|row| row.received_at.as_seconds()).collect::<Vec<_>>(), [4, 3, 1]);
        assert_eq!((seen[2].repeats, &seen[2].told, seen[2].event.about), (1, &told("first"), None));
        put(Callback { told: told("second"), unmatched: 0, ..event(5, Some("k"), Some(ACME)) }, true).await;
        let seen = list(Filter { about: Some(ACME), ..Filter::default() }).await;
        assert_eq!((seen.len(), seen[0].repeats, &seen[0].told, seen[0].unmatched), (1, 2, &told("second"), 0));
        assert_eq!(list(Filter { event_id: Some("evt_3".to_owned()), ..Filter::default() }).await.len(), 1);
        assert_eq!(list(Filter { event_type: Some("refund.updated".to_owned()), ..Filter::default() }).await.len(), 3);
        assert_eq!(list(Filter { event_type: Some("charge.refunded".to_owned()), ..Filter::default() }).await.len(), 0);
    }

    async fn of_refused_requests_the_newest_stay(db: TestDb) {
        for seconds in 1..=6 {
            let row = event(seconds, (seconds == 1).then_some("valid"), None);
            write(&db, move |tx| Box::pin(async move { callback_log::put(tx, &row, false).await })).await;
        }
        insert(&db, vec![callback(ACME, ONE, 1, None)]).await;
        let operator = TenantId::from_ulid(0);
        let trim = || write(&db, move |tx| Box::pin(async move { callback_log::trim(tx, operator, "invalid", 2, 2).await }));
        assert_eq!([trim().await, trim().await, trim().await], [2, 1, 0]);
        let left = write(&db, move |tx| Box::pin(async move {
            callback_log::list(tx, operator, &Filter::default(), CallbackId::from_ulid(u128::MAX), 10).await
        })).await;
        assert_eq!(left.iter().map(|row| row.received_at.as_seconds()).collect::<Vec<_>>(), [6, 5, 1], "what was verified stays");
    }

    async fn a_message_from_a_person_is_there_once_per_account(db: TestDb) {
        let message = |id: u128, tenant, account, provider: &str, channel| Inbound {
            contact_id: None,
            tenant_id: tenant,
            id: InboundId::from_ulid(id),
            account_id: account,
            channel,
            provider_message_id: provider.to_owned(),
            address: format!("+1555010000{id}"),
            body: "{}".to_owned(),
            received_at: at(1),
        };
        let rows = vec![
            message(1, ACME, ONE, "a", Channel::Sms), message(2, ACME, ONE, "b", Channel::Whatsapp), message(3, OTHER, TWO, "a", Channel::Sms),
        ];
        let again = vec![message(4, ACME, ONE, "a", Channel::Sms)];
        assert_eq!(write(&db, move |tx| Box::pin(async move { inbound::insert_many(tx, &rows).await })).await, 3);
        assert_eq!(write(&db, move |tx| Box::pin(async move { inbound::insert_many(tx, &again).await })).await, 0);
        let keys = vec![(ONE, "a".to_owned()), (ONE, "z".to_owned())];
        assert_eq!(write(&db, move |tx| Box::pin(async move { inbound::known(tx, &keys).await })).await, [(ONE, "a".to_owned())]);
        let list = |filter: inbound::Filter| {
            let db = &db;
            async move {
                let end = InboundId::from_ulid(u128::MAX);
                let rows = write(db, move |tx| Box::pin(async move { inbound::list(tx, ACME, &filter, end, 10).await })).await;
                rows.into_iter().map(|row| row.id.ulid()).collect::<Vec<_>>()
            }
        };
        assert_eq!(list(inbound::Filter::default()).await, [2, 1]);
        assert_eq!(list(inbound::Filter { channel: Some(Channel::Sms), ..Default::default() }).await, [1]);
        assert_eq!(list(inbound::Filter { address: Some("+15550100002".to_owned()), account_id: Some(ONE), channel: None, contact_id: None }).await, [2]);
        assert_eq!(list(inbound::Filter { account_id: Some(TWO), ..Default::default() }).await, Vec::<u128>::new());
        let found = |tenant| write(&db, move |tx| Box::pin(async move { inbound::find(tx, tenant, InboundId::from_ulid(1)).await }));
        assert!(found(ACME).await.is_some() && found(OTHER).await.is_none());
    }

    async fn early_reports_can_be_forgotten_one_by_one(db: TestDb) {
        let early = |dedupe: &str| EarlyReport {
            account_id: ONE,
            provider_message_id: "a".to_owned(),
            dedupe: dedupe.to_owned(),
            tenant_id: ACME,
            report: "{}".to_owned(),
            received_at: at(1),
        };
        let (one, two) = (early("1"), early("2"));
        let (kept, gone) = (two.clone(), one.clone());
        write(&db, move |tx| Box::pin(async move {
            reports::insert_early(tx, &[one, two]).await?;
            reports::remove_early(tx, &[gone]).await
        })).await;
        let (known, left) = write(&db, |tx| Box::pin(async move {
            Ok((reports::known_early(tx, 10).await?, reports::take_early(tx, &[(ONE, "a".to_owned())]).await?))
        })).await;
        assert_eq!((known, left), (vec![], vec![kept]));
    }

    async fn usage_of_all_tenants_adds_shards_up(db: TestDb) {
        let key = |tenant, month: &str| Key {
            tenant_id: tenant,
            month: month.to_owned(),
            channel: Channel::Sms,
            provider: "twilio".to_owned(),
            purpose: Purpose::Transactional,
        };
        let accepted = |accepted| Counts { accepted, ..Counts::default() };
        write(&db, move |tx| Box::pin(async move {
            for (shard, tenant, month, count) in [(0, ACME, "2026-11", 1), (1, ACME, "2026-11", 2), (0, OTHER, "2026-11", 4), (0, ACME, "2026-10", 8)] {
                usage::add_many(tx, shard, &[(key(tenant, month), accepted(count))].into()).await?;
            }
            Ok(())
        })).await;
        let sums = write(&db, |tx| Box::pin(async move { usage::of_month_of_all(tx, "2026-11", 10).await })).await;
        assert_eq!(sums, [(key(ACME, "2026-11"), accepted(3)), (key(OTHER, "2026-11"), accepted(4))]);
        let first = write(&db, |tx| Box::pin(async move { usage::of_month_of_all(tx, "2026-11", 1).await })).await;
        assert_eq!(first.len(), 1);
    }
}
