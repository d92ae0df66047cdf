//! Rules, sums over attempts, and what is looked up to send a message another way, on both engines.

use std::collections::BTreeMap;

use model::{AccountId, Channel, Class, MessageId, Priority, Purpose, RouteId, TenantId, Timestamp};
use store::{
    Db, Error, Scope, Tx,
    attempt_counters::{self, Counts, Key},
    attempts::{self, Attempt, Observation},
    deliveries::{self, Delivery},
    routes::{self, Route},
};

const ACME: TenantId = TenantId::from_ulid(10);
const OTHER: TenantId = TenantId::from_ulid(20);
const ACCOUNT: AccountId = AccountId::from_ulid(1);
const SECOND: AccountId = AccountId::from_ulid(2);

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(seconds)
}

async fn write<T: Send + 'static>(
    db: &Db,
    work: impl for<'t> FnOnce(&'t mut Tx) -> model::BoxFuture<'t, Result<T, Error>> + Send + 'static,
) -> T {
    db.write(Scope::System, work).await.unwrap()
}

fn route(id: u128, channel: Channel, position: u32) -> Route {
    Route {
        tenant_id: ACME,
        id: RouteId::from_ulid(id),
        channel,
        position,
        name: "Kenya".to_owned(),
        is_enabled: true,
        matches: r#"{"countries":["KE"]}"#.to_owned(),
        choice: r#"{"by":"priority"}"#.to_owned(),
        accounts: "[]".to_owned(),
        otherwise: "next_rule".to_owned(),
        created_at: at(1),
        updated_at: at(1),
    }
}

testkit::both! {
    async fn rules_are_read_in_their_order(db: TestDb) {
        let (first, second, mail) = (route(3, Channel::Sms, 1), route(1, Channel::Sms, 2), route(2, Channel::Email, 1));
        let rows = vec![second.clone(), first.clone(), mail.clone()];
        write(&db, move |tx| Box::pin(async move { routes::put_many(tx, ACME, &rows).await })).await;
        let all = |tenant| write(&db, move |tx| Box::pin(async move { routes::all(tx, tenant).await }));
        assert_eq!(all(ACME).await, [mail.clone(), first.clone(), second.clone()]);
        assert_eq!(all(OTHER).await, []);
        let moved = Route { position: 3, name: "Later".to_owned(), is_enabled: false, updated_at: at(9), ..first.clone() };
        let rows = vec![moved.clone()];
        write(&db, move |tx| Box::pin(async move { routes::put_many(tx, ACME, &rows).await })).await;
        assert_eq!(all(ACME).await, [mail.clone(), second.clone(), moved]);
        let remove = |tenant| write(&db, move |tx| Box::pin(async move { routes::remove(tx, tenant, RouteId::from_ulid(3)).await }));
        assert!(!remove(OTHER).await && remove(ACME).await && !remove(ACME).await);
        assert_eq!(all(ACME).await, [mail, second]);
    }

    async fn sums_over_attempts_add_up_over_shards(db: TestDb) {
        let key = |account_id, seconds| Key { tenant_id: ACME, account_id, at: attempt_counters::slot(at(seconds)) };
        let add = |shard, key: Key, outcome, took_ms, failure: Option<&'static str>, seconds| {
            let mut counts = Counts::default();
            counts.add(outcome, took_ms, failure, at(seconds));
            write(&db, move |tx| Box::pin(async move { attempt_counters::add_many(tx, shard, &BTreeMap::from([(key, counts)])).await }))
        };
        add(0, key(ACCOUNT, 7_300), 0, Some(40), None, 7_300).await;
        add(0, key(ACCOUNT, 7_400), 4, Some(900), Some("{\"n\":1}"), 7_400).await;
        add(1, key(ACCOUNT, 7_500), 7, None, Some("{\"n\":2}"), 7_500).await;
        add(0, key(ACCOUNT, 7_600), 0, Some(99_999), None, 7_600).await;
        add(0, key(SECOND, 3_000), 0, Some(1), None, 3_000).await;
        let since = |account, from| write(&db, move |tx| Box::pin(async move { attempt_counters::since(tx, ACME, account, from).await }));
        let one = since(Some(ACCOUNT), at(7_200)).await;
        assert_eq!(one.len(), 1);
        let (found, sums) = &one[0];
        assert_eq!((found.at, sums.outcomes), (at(7_200), [2, 0, 0, 0, 1, 0, 0, 1]));
        assert_eq!((sums.took[0], sums.took[5], sums.took[10]), (1, 1, 1));
        assert_eq!((sums.failure.as_deref(), sums.failed_at), (Some("{\"n\":2}"), Some(at(7_500))));
        assert_eq!(since(None, at(0)).await.iter().map(|(key, _)| key.account_id).collect::<Vec<_>>(), [ACCOUNT, SECOND]);
        assert_eq!(write(&db, |tx| Box::pin(async move { attempt_counters::since(tx, OTHER, None, at(0)).await })).await, []);
        assert_eq!(write(&db, |tx| Box::pin(async move { attempt_counters::purge(tx, at(7_200)).await })).await, 1);
        assert_eq!(since(None, at(0)).await.len(), 1);
    }

    async fn what_was_tried_and_decided_is_found_for_several_messages(db: TestDb) {
        let (first, second) = (MessageId::from_ulid(1 << 10), MessageId::from_ulid(2 << 10));
        let attempt = move |message_id, number, account_id, outcome| Attempt {
            tenant_id: ACME, message_id, number, account_id, started_at: at(1), finished_at: at(2), outcome, failure: None, provider_message_id: None,
            exchange: None, note: None,
        };
        let observation = move |message_id, dedupe: &str, kind: &str, detail: Option<&str>, seconds| Observation {
            tenant_id: ACME, message_id, dedupe: dedupe.to_owned(), source: "engine".to_owned(), kind: kind.to_owned(), detail: detail.map(str::to_owned),
            at: at(seconds), recorded_at: at(seconds),
        };
        write(&db, move |tx| Box::pin(async move {
            attempts::insert_many(tx, &[attempt(first, 1, ACCOUNT, 4), attempt(first, 2, SECOND, 0), attempt(second, 1, ACCOUNT, 7)]).await?;
            let learned = [
                observation(first, "b", "routed", Some("new"), 9), observation(first, "a", "routed", Some("old"), 5), observation(first, "c", "sent", Some("x"), 6),
                observation(second, "a", "routed", None, 6),
            ];
            attempts::insert_observations(tx, &learned).await
        })).await;
        let keys = vec![(ACME, first), (ACME, second), (OTHER, first)];
        let (mut ways, details) = write(&db, move |tx| Box::pin(async move {
            Ok((attempts::ways_of(tx, &keys).await?, attempts::details_of(tx, &keys, "routed").await?))
        })).await;
        ways.sort_unstable();
        assert_eq!(ways, [(first, ACCOUNT, 4), (first, SECOND, 0), (second, ACCOUNT, 7)]);
        assert_eq!(details, [(first, "old".to_owned()), (first, "new".to_owned())]);
    }

    async fn due_work_of_an_account_is_looked_through_in_pages(db: TestDb) {
        let class = |purpose| Class::new(purpose, Priority::Normal);
        let (urgent, bulk) = (class(Purpose::Transactional), class(Purpose::Marketing));
        let delivery = move |id: u128, class, due: i64| Delivery {
            account_id: ACCOUNT, class, due_at: at(due), message_id: MessageId::from_ulid(id << 10), tenant_id: ACME, attempts: 0, tries: 1, expires_at: None,
        };
        let rows = [delivery(1, bulk, 3), delivery(2, urgent, 5), delivery(3, urgent, 4), delivery(4, urgent, 99)];
        let expected = [rows[2].clone(), rows[1].clone(), rows[0].clone()];
        write(&db, move |tx| Box::pin(async move { deliveries::insert_many(tx, &rows).await })).await;
        let page = |tenant, after, limit| {
            write(&db, move |tx| Box::pin(async move { deliveries::due_of_account(tx, tenant, ACCOUNT, at(50), after, limit).await }))
        };
        let beginning = (class(Purpose::Transactional), at(0), MessageId::from_ulid(0));
        assert_eq!(page(ACME, beginning, 2).await, expected[..2]);
        let last = &expected[1];
        assert_eq!(page(ACME, (last.class, last.due_at, last.message_id), 2).await, expected[2..]);
        assert_eq!(page(OTHER, beginning, 2).await, []);
    }
}
