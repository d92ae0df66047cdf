//! Reconciliations, a provider's records, and sums of charges: each function on both engines.

use std::collections::BTreeMap;

use model::{AccountId, Channel, MessageId, ReconciliationId, TenantId, Timestamp};
use store::{
    Error, Scope, accounts,
    charge_counters::{self, Counts, Key},
    inflight::WorkerId,
    reconciliations::{self, Reconciliation, Record},
    removed_messages, tenants,
};

const ACME: TenantId = TenantId::from_ulid(10);
const OTHER: TenantId = TenantId::from_ulid(20);
const FIRST: ReconciliationId = ReconciliationId::from_ulid(1);

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(seconds)
}

fn reconciliation(tenant_id: TenantId, id: u128, state: &str) -> Reconciliation {
    Reconciliation {
        tenant_id,
        id: ReconciliationId::from_ulid(id),
        account_id: AccountId::from_ulid(3),
        source: "messages".to_owned(),
        state: state.to_owned(),
        starts_at: at(1),
        ends_at: at(2),
        stage: "fetch".to_owned(),
        place: String::new(),
        ours: 1,
        theirs: 2,
        matched: 3,
        missing_here: 4,
        missing_there: 5,
        price_differences: 6,
        segment_differences: 10,
        elsewhere: 11,
        not_asked: 12,
        is_binding: id == 1,
        looked_up: 7,
        cost_ours: 8,
        cost_theirs: 9,
        currency: Some("USD".to_owned()),
        failure: None,
        tries: 0,
        actor: "key_1".to_owned(),
        created_at: at(3),
        updated_at: at(i64::try_from(id).unwrap()),
        channel: (id == 1).then_some(Channel::Voice),
        next_at: (state == "running").then(|| at(i64::try_from(id).unwrap())),
    }
}

fn record(name: &str, kind: &str) -> Record {
    Record {
        record: name.to_owned(),
        kind: kind.to_owned(),
        message_id: (kind == "price").then(|| MessageId::from_ulid(5)),
        at: Some(at(4)),
        ours: None,
        theirs: Some(7_500),
        currency: Some("USD".to_owned()),
        segments_ours: Some(3),
        segments_theirs: Some(if kind == "price" { 4 } else { 3 }),
        early: Some(1),
        late: Some(2),
    }
}

/// Runs work in a transaction and expects it to succeed.
macro_rules! write {
    ($db:expr, |$tx:ident| $work:expr) => {
        $db.write(Scope::System, move |$tx| Box::pin(async move { Ok::<_, Error>($work) })).await.unwrap()
    };
}

testkit::both! {
    async fn reconciliations_go_on_and_the_oldest_go(db: TestDb) {
        for row in [reconciliation(ACME, 1, "running"), reconciliation(ACME, 2, "running"), reconciliation(OTHER, 3, "done")] {
            write!(db, |tx| reconciliations::put(tx, row.tenant_id, &row).await?);
        }
        let done = Reconciliation { state: "done".to_owned(), stage: "compare".to_owned(), place: "SM9".to_owned(), matched: 30, segment_differences: 31, elsewhere: 32, not_asked: 33, tries: 2, ..reconciliation(ACME, 2, "") };
        let kept = done.clone();
        write!(db, |tx| reconciliations::put(tx, ACME, &kept).await?);
        assert_eq!(write!(db, |tx| reconciliations::find(tx, ACME, done.id).await?), Some(done.clone()));
        assert_eq!(write!(db, |tx| reconciliations::lock(tx, OTHER, ReconciliationId::from_ulid(2)).await?), None);
        let newest = write!(db, |tx| reconciliations::list(tx, ACME, ReconciliationId::from_ulid(9), 9).await?);
        assert_eq!(newest.iter().map(|row| row.id.ulid()).collect::<Vec<_>>(), [2, 1]);
        let acme = crate::tenancy::tenant(ACME);
        write!(db, |tx| tenants::insert(tx, &acme).await?);
        let (one, other) = (WorkerId(1), WorkerId(2));
        let running = [reconciliation(ACME, 1, "running")];
        assert_eq!(write!(db, |tx| reconciliations::lease(tx, one, at(0), at(50), 9).await?), [], "not due yet");
        assert_eq!(write!(db, |tx| reconciliations::lease(tx, one, at(10), at(50), 9).await?), running);
        assert_eq!(write!(db, |tx| reconciliations::lease(tx, other, at(20), at(50), 9).await?), [], "somebody works on it");
        assert_eq!(write!(db, |tx| reconciliations::lease(tx, other, at(50), at(60), 9).await?), running, "whoever did so is gone");
        write!(db, |tx| reconciliations::release(tx, ACME, FIRST, one).await?);
        assert_eq!(write!(db, |tx| reconciliations::lease(tx, one, at(51), at(60), 9).await?), [], "it is not theirs to give back");
        write!(db, |tx| reconciliations::release(tx, ACME, FIRST, other).await?);
        assert_eq!(write!(db, |tx| reconciliations::lease(tx, one, at(51), at(60), 9).await?), running);
        let rows = [record("a", "")];
        write!(db, |tx| reconciliations::put_records(tx, ACME, FIRST, &rows).await?);
        write!(db, |tx| reconciliations::remove_oldest(tx, ACME, 1).await?);
        assert_eq!(write!(db, |tx| reconciliations::list(tx, ACME, ReconciliationId::from_ulid(9), 9).await?.len()), 1);
        assert_eq!(write!(db, |tx| reconciliations::records(tx, ACME, FIRST, Some(""), "", 9).await?), []);
        assert_eq!(write!(db, |tx| reconciliations::list(tx, OTHER, ReconciliationId::from_ulid(9), 9).await?.len()), 1);
    }

    async fn records_are_compared_and_removed(db: TestDb) {
        let rows = [record("a", ""), record("b", ""), record("b", ""), record("c", "missing_there")];
        write!(db, |tx| reconciliations::put_records(tx, ACME, FIRST, &rows).await?);
        assert_eq!(write!(db, |tx| reconciliations::records(tx, ACME, FIRST, Some(""), "", 9).await?), [record("a", ""), record("b", "")]);
        assert_eq!(write!(db, |tx| reconciliations::records(tx, ACME, FIRST, Some(""), "a", 9).await?), [record("b", "")]);
        let names = ["a".to_owned(), "x".to_owned()];
        assert_eq!(write!(db, |tx| reconciliations::known(tx, ACME, FIRST, &names).await?), [record("a", "")]);
        let changed = [record("b", "price")];
        write!(db, |tx| reconciliations::put_records(tx, ACME, FIRST, &changed).await?);
        let same = ["a".to_owned()];
        write!(db, |tx| reconciliations::remove_records(tx, ACME, FIRST, &same).await?);
        assert_eq!(write!(db, |tx| reconciliations::records(tx, ACME, FIRST, None, "", 9).await?), [record("b", "price"), record("c", "missing_there")]);
        assert_eq!(write!(db, |tx| reconciliations::records(tx, OTHER, FIRST, None, "", 9).await?), []);
        // Where the price differs by the parts, both are found.
        let parts = [record("d", "segments"), Record { segments_theirs: Some(3), ..record("e", "price") }];
        write!(db, |tx| reconciliations::put_records(tx, ACME, FIRST, &parts).await?);
        let found = write!(db, |tx| reconciliations::records(tx, ACME, FIRST, Some("segments"), "", 9).await?);
        assert_eq!(found.iter().map(|record| record.record.as_str()).collect::<Vec<_>>(), ["b", "d"]);
        assert_eq!(write!(db, |tx| reconciliations::records(tx, ACME, FIRST, Some("price"), "", 9).await?.len()), 2);
    }

    async fn accounts_are_found_also_once_they_were_deleted(db: TestDb) {
        let account = |id: u128, tenant, connector: &str, is_deleted: bool| accounts::Account {
            id: AccountId::from_ulid(id),
            tenant,
            connector: connector.to_owned(),
            name: String::new(),
            channels: "sms".to_owned(),
            default_for: String::new(),
            sender: None,
            settings: Vec::new(),
            data_key_id: 0,
            is_enabled: true,
            per_second: None,
            concurrency: None,
            created_at: at(1),
            updated_at: at(1),
            deleted_at: is_deleted.then(|| at(2)),
        };
        let all = [account(1, ACME, "twilio", true), account(2, OTHER, "twilio", false), account(3, ACME, "ses", false), account(4, ACME, "twilio", false)];
        write!(db, |tx| for account in &all { accounts::insert(tx, account).await? });
        assert!(write!(db, |tx| accounts::find_ever(tx, ACME, AccountId::from_ulid(1)).await?).is_some());
        assert!(write!(db, |tx| accounts::find_ever(tx, ACME, AccountId::from_ulid(2)).await?).is_none());
        let page = |before: u128, limit| (AccountId::from_ulid(before), limit);
        for ((before, limit), expected) in [(page(9, 9), &[4, 2, 1][..]), (page(9, 2), &[4, 2]), (page(2, 9), &[1])] {
            let found = write!(db, |tx| accounts::ever_of_connector(tx, "twilio", before, limit).await?);
            assert_eq!(found.iter().map(|id| id.ulid()).collect::<Vec<_>>(), expected);
        }
    }

    async fn what_removed_tenants_sent_is_told_and_known_by_its_marks_for_a_time(db: TestDb) {
        let way = |tenant: TenantId, message: u128, position: i64, id: &'static str| (tenant, MessageId::from_ulid(message), position, id);
        let ways = [way(ACME, 2, 0, "SM2"), way(ACME, 1, 1, "SM1b"), way(ACME, 1, 0, "SM1a"), way(OTHER, 1, 0, "SM9")];
        write!(db, |tx| for (tenant, message, position, id) in &ways {
            let sql = "INSERT INTO former_routes (tenant_id, message_id, position, channel, address, account_id, connector, provider_message_id, sent_at, last_attempt, left_at)
                VALUES ($1, $2, $3, 2, '', $4, 'twilio', $5, $6, 1, $6)";
            tx.execute(sql, &[tenant, message, position, &AccountId::from_ulid(3), id, &at(7)]).await?;
        });
        assert!(removed_messages::is_sent("messages") && removed_messages::is_sent("former_routes") && !removed_messages::is_sent("attempts"));
        let mut told = Vec::new();
        for expected in [2, 1, 0] {
            let removed = write!(db, |tx| removed_messages::remove(tx, ACME, "former_routes", 2).await?);
            assert_eq!(removed.len(), expected);
            assert!(removed.iter().all(|sent| sent.connector.as_deref() == Some("twilio") && sent.sent_at == Some(at(7))), "{removed:?}");
            told.extend(removed.into_iter().filter_map(|sent| sent.provider_message_id));
        }
        told.sort();
        assert_eq!(told, ["SM1a", "SM1b", "SM2"]);
        assert_eq!(write!(db, |tx| removed_messages::remove(tx, OTHER, "messages", 2).await?).len(), 0);
        assert_eq!(write!(db, |tx| removed_messages::remove(tx, OTHER, "former_routes", 9).await?).len(), 1, "another tenant's stay until it is removed itself");

        let mark = |n: u8| vec![n; 16];
        let marks = [(mark(1), at(1)), (mark(2), at(2)), (mark(3), at(3))];
        write!(db, |tx| removed_messages::keep(tx, &marks).await?);
        write!(db, |tx| removed_messages::keep(tx, &[(mark(1), at(9))]).await?);
        let known = || async {
            let mut known = write!(db, |tx| removed_messages::known(tx, &[mark(1), mark(2), mark(3), mark(4)]).await?);
            known.sort();
            known
        };
        assert_eq!(known().await, [mark(1), mark(2), mark(3)]);
        assert_eq!(write!(db, |tx| removed_messages::forget(tx, at(3), 1).await?), 1);
        assert_eq!(known().await, [mark(2), mark(3)], "the oldest first, and one seen again is no younger");
        assert_eq!(write!(db, |tx| removed_messages::forget(tx, at(3), 9).await?), 1);
    }

    async fn charges_are_summed_by_channel_and_country(db: TestDb) {
        let key = |tenant_id, seconds, country: &str| Key { tenant_id, at: at(seconds), channel: Channel::Sms, country: country.to_owned() };
        let one = |messages, charged| Counts { messages, charged };
        let added: BTreeMap<Key, Counts> =
            [(key(ACME, 0, "DE"), one(2, 20)), (key(ACME, 1_800, "DE"), one(1, 10)), (key(ACME, 3_600, "IN"), one(1, 4)), (key(OTHER, 0, "DE"), one(9, 90))].into();
        write!(db, |tx| charge_counters::add_many(tx, &added).await?);
        let more: BTreeMap<Key, Counts> = [(key(ACME, 0, "DE"), one(0, -5))].into();
        write!(db, |tx| charge_counters::add_many(tx, &more).await?);
        let sums = write!(db, |tx| charge_counters::sums(tx, ACME, at(0), at(3_600)).await?);
        assert_eq!(sums, [((Channel::Sms, "DE".to_owned()), one(3, 25))].into());
        assert_eq!(write!(db, |tx| (charge_counters::total(tx, ACME).await?, charge_counters::total(tx, OTHER).await?)), (29, 90));
        assert_eq!(write!(db, |tx| charge_counters::total(tx, TenantId::from_ulid(1)).await?), 0);
    }
}
