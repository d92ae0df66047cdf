//! Tenants, keys, accounts, data keys, the audit log: each function on both engines.

use model::{AccountId, AuditId, EndpointId, KeyId, TenantId, Timestamp};
use store::{
    Db, Error, Scope, Tx,
    accounts::{self, Account},
    api_keys::{self, ApiKey},
    audit,
    data_keys::{self, DataKey},
    idempotency, installation,
    tenants::{self, Tenant},
};

const ACME: TenantId = TenantId::from_ulid(10);
const OTHER: TenantId = TenantId::from_ulid(20);

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(seconds)
}

pub fn tenant(id: TenantId) -> Tenant {
    Tenant {
        id,
        name: format!("Tenant {}", id.ulid()),
        state: "active".to_owned(),
        timezone: "Europe/Berlin".to_owned(),
        currency: "EUR".to_owned(),
        default_country: Some("DE".to_owned()),
        per_second: Some(7),
        is_demo: false,
        config_version: 1,
        created_at: at(1),
        updated_at: at(2),
        deleted_at: None,
    }
}

pub fn account(id: u128, owner: TenantId) -> Account {
    Account {
        id: AccountId::from_ulid(id),
        tenant: owner,
        connector: "smtp".to_owned(),
        name: "Mail".to_owned(),
        channels: "email".to_owned(),
        default_for: "email".to_owned(),
        sender: Some("a@example.com".to_owned()),
        settings: vec![1, 2, 3],
        data_key_id: 1,
        is_enabled: true,
        per_second: None,
        concurrency: Some(4),
        created_at: at(1),
        updated_at: at(2),
        deleted_at: None,
    }
}

fn key(id: u128, owner: Option<TenantId>) -> ApiKey {
    ApiKey {
        id: KeyId::from_ulid(id),
        tenant: owner,
        name: "Shop".to_owned(),
        hash: vec![u8::try_from(id).unwrap(); 32],
        hint: "tdk_••••abcd".to_owned(),
        scopes: "*".to_owned(),
        ip_allow_list: String::new(),
        expires_at: Some(at(9)),
        created_at: at(1),
        revoked_at: None,
        last_used_at: None,
    }
}

fn data_key(owner: TenantId, id: i64, master: &str) -> DataKey {
    DataKey { tenant: owner, id, master_key_id: master.to_owned(), sealed: vec![9; 61], created_at: at(1) }
}

/// Runs work in a transaction and expects it to succeed.
macro_rules! write {
    ($db:expr, |$tx:ident| $work:expr) => {
        write!($db, Scope::System, |$tx| $work)
    };
    ($db:expr, $scope:expr, |$tx:ident| $work:expr) => {
        $db.write($scope, move |$tx| Box::pin(async move { Ok::<_, Error>($work) })).await.unwrap()
    };
}

async fn both_tenants(db: &Db) {
    write!(db, |tx| {
        tenants::insert(tx, &tenant(ACME)).await?;
        tenants::insert(tx, &tenant(OTHER)).await?;
    });
}

async fn ids(tx: &mut Tx, before: u128, limit: i64) -> Result<Vec<u128>, Error> {
    Ok(tenants::list(tx, TenantId::from_ulid(before), limit).await?.iter().map(|row| row.id.ulid()).collect())
}

testkit::both! {
    async fn a_fact_is_claimed_once(db: TestDb) {
        assert!(write!(db, |tx| installation::claim(tx, "made", "now").await?));
        assert!(!write!(db, |tx| installation::claim(tx, "made", "later").await?));
        assert!(!write!(db, |tx| installation::replace(tx, "made", "later", "never").await?));
        assert!(!write!(db, |tx| installation::replace(tx, "other", "now", "never").await?));
        assert!(write!(db, |tx| installation::replace(tx, "made", "now", "then").await?));
        assert!(write!(db, |tx| installation::replace(tx, "made", "then", "now").await?));
        let found = write!(db, |tx| (installation::find(tx, "made").await?, installation::find(tx, "other").await?));
        assert_eq!(found, (Some("now".to_owned()), None));
    }

    async fn a_demo_is_known_as_one_after_it_was_deleted(db: TestDb) {
        let demo = Tenant { is_demo: true, ..tenant(ACME) };
        let gone = Tenant { deleted_at: Some(at(5)), ..demo.clone() };
        write!(db, |tx| {
            tenants::insert(tx, &demo).await?;
            tenants::insert(tx, &tenant(OTHER)).await?;
            tenants::update(tx, &gone).await?
        });
        let told = write!(db, |tx| (tenants::was_demo(tx, ACME).await?, tenants::was_demo(tx, OTHER).await?, tenants::was_demo(tx, TenantId::from_ulid(11)).await?));
        assert_eq!(told, (true, false, false));
    }

    async fn a_tenant_is_written_changed_listed_and_hidden(db: TestDb) {
        both_tenants(&db).await;
        let mut changed = tenant(ACME);
        (changed.name, changed.per_second, changed.default_country) = ("New".to_owned(), None, None);
        changed.state = "suspended".to_owned();
        let expected = changed.clone();
        write!(db, |tx| tenants::update(tx, &changed).await?);
        let found = write!(db, |tx| (tenants::find(tx, ACME).await?, tenants::find(tx, TenantId::from_ulid(11)).await?));
        assert_eq!(found, (Some(expected.clone()), None));
        let pages = write!(db, |tx| (ids(tx, u128::MAX, 10).await?, ids(tx, u128::MAX, 1).await?, ids(tx, 20, 10).await?));
        assert_eq!(pages, (vec![20, 10], vec![20], vec![10]));

        write!(db, |tx| tenants::update(tx, &Tenant { deleted_at: Some(at(5)), ..expected }).await?);
        let left = write!(db, |tx| (tenants::find(tx, ACME).await?, ids(tx, u128::MAX, 10).await?));
        assert_eq!(left, (None, vec![20]));
    }

    async fn each_bump_raises_the_version_and_marks_its_tenant(db: TestDb) {
        both_tenants(&db).await;
        let start = write!(db, |tx| tenants::version(tx).await?);
        assert_eq!(write!(db, |tx| tenants::bump(tx, Some(OTHER)).await?), start + 1);
        assert_eq!(write!(db, |tx| tenants::bump(tx, None).await?), start + 2);
        let seen = write!(db, |tx| (tenants::version(tx).await?, tenants::changed_since(tx, start).await?, tenants::changed_since(tx, start + 1).await?));
        assert_eq!(seen, (start + 2, vec![OTHER], vec![]));
    }

    async fn the_directory_sees_endpoints_that_are_left(db: TestDb) {
        write!(db, |tx| {
            for (id, deleted) in [(1u128, None), (2, Some(at(3)))] {
                tx.execute(
                    "INSERT INTO endpoints (id, tenant_id, url, description, events, state, created_at, updated_at, deleted_at)
                     VALUES ($1, $2, 'https://example.com', '', 'message.* account.paused', 'active', $3, $3, $4)",
                    &[&EndpointId::from_ulid(id), &ACME, &at(1), &deleted],
                ).await?;
            }
        });
        let found = write!(db, Scope::Tenant(ACME), |tx| tenants::endpoints(tx, ACME).await?);
        assert_eq!(found, [tenants::Endpoint { id: EndpointId::from_ulid(1), events: "message.* account.paused".to_owned(), state: "active".to_owned() }]);
        assert_eq!(write!(db, |tx| tenants::endpoints(tx, OTHER).await?), []);
    }

    async fn keys_belong_to_one_owner(db: TestDb) {
        let operators = None;
        write!(db, |tx| for row in [key(1, Some(ACME)), key(2, Some(ACME)), key(3, Some(OTHER)), key(4, None)] {
            api_keys::insert(tx, &row).await?;
        });
        let list = |owner: Option<TenantId>| {
            let db = db.db.clone();
            async move {
                let rows = write!(db, |tx| api_keys::list(tx, owner, KeyId::from_ulid(u128::MAX), 10).await?);
                rows.iter().map(|row| row.id.ulid()).collect::<Vec<_>>()
            }
        };
        assert_eq!((list(Some(ACME)).await, list(Some(OTHER)).await, list(operators).await), (vec![2, 1], vec![3], vec![4]));
        let found = write!(db, |tx| (
            api_keys::find_by_hash(tx, &[3; 32]).await?,
            api_keys::find_by_hash(tx, &[9; 32]).await?,
            api_keys::find(tx, Some(ACME), KeyId::from_ulid(3)).await?,
            api_keys::find(tx, None, KeyId::from_ulid(4)).await?,
        ));
        assert_eq!(found, (Some(key(3, Some(OTHER))), None, None, Some(key(4, None))));
        assert_eq!(write!(db, |tx| (api_keys::count(tx, Some(ACME)).await?, api_keys::count(tx, None).await?)), (2, 1));

        assert!(write!(db, |tx| api_keys::revoke(tx, KeyId::from_ulid(2), at(7)).await?));
        assert!(!write!(db, |tx| api_keys::revoke(tx, KeyId::from_ulid(2), at(8)).await?));
        assert_eq!(list(Some(ACME)).await, [1]);
        let revoked = write!(db, |tx| api_keys::find(tx, Some(ACME), KeyId::from_ulid(2)).await?);
        assert_eq!(revoked.unwrap().revoked_at, Some(at(7)));
    }

    async fn uses_of_many_keys_are_noted_together(db: TestDb) {
        write!(db, |tx| for row in [key(1, Some(ACME)), key(2, None), key(3, Some(OTHER))] {
            api_keys::insert(tx, &row).await?;
        });
        let used = [(KeyId::from_ulid(1), at(60)), (KeyId::from_ulid(2), at(61)), (KeyId::from_ulid(9), at(62))];
        assert_eq!(write!(db, |tx| api_keys::touch(tx, &used).await?), 2);
        assert_eq!(write!(db, |tx| api_keys::touch(tx, &[]).await?), 0);
        let mut last = Vec::new();
        for id in 1..=3 {
            let row = write!(db, |tx| api_keys::find_by_hash(tx, &[id; 32]).await?);
            last.push(row.unwrap().last_used_at);
        }
        assert_eq!(last, [Some(at(60)), Some(at(61)), None]);
    }

    async fn an_account_is_found_by_its_tenant_only(db: TestDb) {
        let webhook = Account { connector: "webhook".to_owned(), ..account(3, ACME) };
        write!(db, |tx| for row in [account(1, ACME), account(2, ACME), webhook, account(4, OTHER)] {
            accounts::insert(tx, &row).await?;
        });
        let id = AccountId::from_ulid;
        let found = write!(db, |tx| (accounts::find(tx, ACME, id(1)).await?, accounts::find(tx, OTHER, id(1)).await?));
        assert_eq!(found, (Some(account(1, ACME)), None));
        assert_eq!(write!(db, |tx| (accounts::owner(tx, id(4)).await?, accounts::owner(tx, id(5)).await?)), (Some(OTHER), None));
        let ulids = |rows: Vec<Account>| rows.iter().map(|row| row.id.ulid()).collect::<Vec<_>>();
        assert_eq!(ulids(write!(db, |tx| accounts::all(tx, ACME).await?)), [1, 2, 3]);
        assert_eq!(ulids(write!(db, |tx| accounts::list(tx, ACME, id(u128::MAX), 10).await?)), [2, 1]);
        assert_eq!(ulids(write!(db, |tx| accounts::list(tx, ACME, id(2), 10).await?)), [1]);
        let held = async |connector: &'static str, after: u128| write!(db, |tx| accounts::of_connector(tx, connector, id(after), 10).await?);
        assert_eq!(held("smtp", 0).await, [], "of tenants that are gone nothing is found");
        write!(db, |tx| for of in [ACME, OTHER] {
            tenants::insert(tx, &tenant(of)).await?;
        });
        assert_eq!(held("smtp", 1).await, [(ACME, id(2)), (OTHER, id(4))]);

        let changed = Account {
            name: "New".to_owned(), default_for: String::new(), sender: None, settings: vec![4], data_key_id: 2, is_enabled: false, per_second: Some(1),
            concurrency: None, updated_at: at(5), ..account(1, ACME)
        };
        let expected = changed.clone();
        write!(db, |tx| accounts::update(tx, &changed).await?);
        assert_eq!(write!(db, |tx| accounts::find(tx, ACME, id(1)).await?), Some(expected.clone()));
        // An update in another tenant's name touches nothing.
        write!(db, |tx| accounts::update(tx, &Account { tenant: OTHER, name: "Stolen".to_owned(), ..account(1, ACME) }).await?);
        assert_eq!(write!(db, |tx| accounts::find(tx, ACME, id(1)).await?), Some(expected.clone()));

        write!(db, |tx| accounts::update(tx, &Account { deleted_at: Some(at(6)), ..expected }).await?);
        let gone = write!(db, |tx| (accounts::find(tx, ACME, id(1)).await?, accounts::owner(tx, id(1)).await?));
        assert_eq!(gone, (None, None));
        assert_eq!(ulids(write!(db, |tx| accounts::all(tx, ACME).await?)), [2, 3]);
    }

    async fn resealing_an_account_needs_it_unchanged(db: TestDb) {
        let rows = [account(1, ACME), Account { data_key_id: 2, ..account(2, ACME) }, Account { data_key_id: 0, ..account(3, ACME) }, account(4, OTHER), account(5, ACME)];
        write!(db, |tx| for row in rows {
            accounts::insert(tx, &row).await?;
        });
        let old = |after: u128, limit: i64| {
            let db = db.db.clone();
            async move {
                let rows = write!(db, |tx| accounts::sealed_by_others(tx, ACME, 2, AccountId::from_ulid(after), limit).await?);
                rows.iter().map(|row| row.id.ulid()).collect::<Vec<_>>()
            }
        };
        assert_eq!((old(0, 10).await, old(0, 1).await, old(1, 10).await), (vec![1, 5], vec![1], vec![5]));
        let stale = Account { settings: vec![0], ..account(1, ACME) };
        assert!(!write!(db, |tx| accounts::reseal(tx, &stale, &[7], 2).await?));
        assert!(write!(db, |tx| accounts::reseal(tx, &account(1, ACME), &[7], 2).await?));
        assert_eq!(old(0, 10).await, [5]);
    }

    async fn recent_messages_are_counted_within_a_window(db: TestDb) {
        write!(db, |tx| for (id, status, account) in [(1i64, 7i64, 1i64), (2, 8, 1), (3, 8, 1), (4, 8, 2), (5, 4, 1)] {
            tx.execute(
                "INSERT INTO messages (tenant_id, id, channel, purpose, class, guarantee, status, address, account_id, content_id, attempts, created_at, polls)
                 VALUES ($1, $2, 1, 0, 0, 0, $3, 'a@example.com', $4, $2, 0, $5, 0)",
                &[&ACME, &model::MessageId::from_ulid(id as u128), &status, &AccountId::from_ulid(account as u128), &at(1)],
            ).await?;
        });
        let count = |window: i64| {
            let db = db.db.clone();
            async move {
                let rows = write!(db, |tx| accounts::recent_statuses(tx, ACME, AccountId::from_ulid(1), window).await?);
                rows.iter().map(|(status, count)| (status.code(), *count)).collect::<Vec<_>>()
            }
        };
        assert_eq!((count(10).await, count(3).await), (vec![(4, 1), (7, 1), (8, 2)], vec![(4, 1), (8, 1)]));
    }

    async fn data_keys_are_numbered_and_guarded(db: TestDb) {
        assert!(write!(db, |tx| data_keys::insert(tx, &data_key(ACME, 1, "old")).await?));
        assert!(!write!(db, |tx| data_keys::insert(tx, &data_key(ACME, 1, "other")).await?));
        assert!(write!(db, |tx| data_keys::insert(tx, &data_key(ACME, 2, "new")).await?));
        assert!(write!(db, |tx| data_keys::insert(tx, &data_key(OTHER, 1, "old")).await?));
        let found = write!(db, |tx| (data_keys::newest(tx, ACME).await?, data_keys::find(tx, ACME, 1).await?, data_keys::find(tx, OTHER, 2).await?));
        assert_eq!(found, (Some(data_key(ACME, 2, "new")), Some(data_key(ACME, 1, "old")), None));
        assert_eq!(write!(db, |tx| data_keys::masters_in_use(tx).await?), [("new".to_owned(), 1), ("old".to_owned(), 2)]);
        assert_eq!(write!(db, |tx| data_keys::rotating(tx, 10).await?), [ACME]);

        let old = write!(db, |tx| (
            data_keys::sealed_by_others(tx, "new", (TenantId::from_ulid(0), 0), 1).await?,
            data_keys::sealed_by_others(tx, "new", (ACME, 1), 10).await?,
        ));
        assert_eq!(old, (vec![data_key(ACME, 1, "old")], vec![data_key(OTHER, 1, "old")]));
        let fresh = DataKey { sealed: vec![5; 61], ..data_key(ACME, 1, "new") };
        let expected = fresh.clone();
        assert!(write!(db, |tx| data_keys::reseal(tx, &fresh, "old").await?));
        assert!(!write!(db, |tx| data_keys::reseal(tx, &data_key(ACME, 1, "third"), "old").await?));
        assert_eq!(write!(db, |tx| data_keys::find(tx, ACME, 1).await?), Some(expected));
    }

    async fn an_old_data_key_stays_while_something_is_sealed_with_it(db: TestDb) {
        write!(db, |tx| {
            for id in 1..=4 {
                data_keys::insert(tx, &data_key(ACME, id, "m")).await?;
            }
            data_keys::insert(tx, &data_key(OTHER, 1, "m")).await?;
            accounts::insert(tx, &account(1, ACME)).await?;
            let answered = idempotency::Answered {
                tenant: ACME, key: "k".to_owned(), fingerprint: vec![1; 32], status: 201, body: vec![1], data_key_id: Some(2), created_at: at(1),
            };
            idempotency::insert_many(tx, &[answered]).await?;
        });
        assert_eq!(write!(db, Scope::Tenant(ACME), |tx| data_keys::remove_unused(tx, ACME, 4).await?), 1);
        let left = write!(db, |tx| {
            let mut left = Vec::new();
            for id in 1..=4 {
                left.extend(data_keys::find(tx, ACME, id).await?.map(|row| row.id));
            }
            left
        });
        assert_eq!(left, [1, 2, 4]);
        assert!(write!(db, |tx| data_keys::find(tx, OTHER, 1).await?).is_some());
    }

    async fn the_audit_log_is_read_newest_first(db: TestDb) {
        let entry = |id: u128, tenant: TenantId| audit::Entry {
            tenant, id: AuditId::from_ulid(id), at: at(id as i64), actor: "system".to_owned(), action: "account.created".to_owned(), subject: "acc".to_owned(),
            detail: "{}".to_owned(), ip: (id == 1).then(|| "192.0.2.1".to_owned()), agent: (id == 1).then(|| "Lynx/2.9".to_owned()),
            actor_kind: (id == 2).then(|| "operator".to_owned()), actor_name: (id == 2).then(|| "ann@example.com".to_owned()),
            acted_in: (id == 2).then(|| audit::ActedIn { tenant: OTHER, name: "Globex".to_owned() }),
        };
        let rows = [entry(1, ACME), entry(2, ACME), entry(3, OTHER)];
        let expected = vec![rows[1].clone(), rows[0].clone()];
        write!(db, |tx| for row in &rows {
            let number = audit::lock_head(tx, row.tenant).await?.map_or(1, |head| head.number + 1);
            let commitment = audit::Commitment { hash: vec![8], salt: Some("salt".to_owned()) };
            audit::append(tx, row, &audit::Link { number, hash: vec![7], seal: Some(vec![9]) }, &commitment).await?;
        });
        let (all, next) = write!(db, |tx| (
            audit::list(tx, ACME, &audit::Filter::default(), AuditId::from_ulid(u128::MAX), 10).await?,
            audit::list(tx, ACME, &audit::Filter::default(), AuditId::from_ulid(2), 10).await?,
        ));
        assert_eq!((all.clone(), next), (expected, vec![all[1].clone()]));
        let found = |filter: audit::Filter| {
            let db = db.db.clone();
            async move {
                let rows = write!(db, |tx| audit::list(tx, ACME, &filter, AuditId::from_ulid(u128::MAX), 10).await?);
                rows.iter().map(|row| row.id.ulid()).collect::<Vec<_>>()
            }
        };
        let none = Vec::<u128>::new();
        assert_eq!(found(audit::Filter { actor: Some("system".to_owned()), subject: Some("acc".to_owned()), ..Default::default() }).await, [2, 1]);
        assert_eq!(found(audit::Filter { actor: Some("key".to_owned()), ..Default::default() }).await, none);
        assert_eq!(found(audit::Filter { action: Some(audit::Action::Is("account.created".to_owned())), ..Default::default() }).await, [2, 1]);
        assert_eq!(found(audit::Filter { action: Some(audit::Action::BeginsWith("account.".to_owned())), ..Default::default() }).await, [2, 1]);
        assert_eq!(found(audit::Filter { action: Some(audit::Action::BeginsWith("acc.".to_owned())), ..Default::default() }).await, none);
        let nouns = |nouns: &[&str]| audit::Filter { nouns: nouns.iter().map(|noun| (*noun).to_owned()).collect(), ..Default::default() };
        assert_eq!(found(nouns(&["user.", "account."])).await, [2, 1]);
        assert_eq!(found(nouns(&["user.", "acc."])).await, none);
        let text = |text: &str| audit::Filter { text: Some(text.to_owned()), ..Default::default() };
        assert_eq!(found(text("SYS")).await, [2, 1]);
        for strange in ["s%m", "s_stem", "\\", "%", "x"] {
            assert_eq!(found(text(strange)).await, none, "{strange}");
        }
        assert_eq!(found(audit::Filter { until: Some(at(2)), ..text("{}") }).await, [1]);
        assert_eq!(found(audit::Filter { since: Some(at(2)), ..Default::default() }).await, [2]);
        assert_eq!(found(audit::Filter { actor_kind: Some("operator".to_owned()), ..Default::default() }).await, [2]);
        assert_eq!(found(audit::Filter { acted_in: Some(OTHER), ..Default::default() }).await, [2]);
        assert_eq!(found(audit::Filter { acted_in: Some(ACME), ..Default::default() }).await, none);
        assert_eq!(found(audit::Filter { until: Some(at(2)), ..Default::default() }).await, [1]);
    }
}

#[tokio::test]
async fn row_level_security_hides_what_a_wrong_tenant_argument_would_show() {
    let db = testkit::postgres().await;
    write!(db, |tx| {
        accounts::insert(tx, &account(1, ACME)).await?;
        api_keys::insert(tx, &key(1, Some(ACME))).await?;
        api_keys::insert(tx, &key(2, None)).await?;
        data_keys::insert(tx, &data_key(ACME, 1, "m")).await?;
    });
    let seen = write!(db, Scope::Tenant(OTHER), |tx| (
        accounts::find(tx, ACME, AccountId::from_ulid(1)).await?,
        accounts::owner(tx, AccountId::from_ulid(1)).await?,
        api_keys::find_by_hash(tx, &[1; 32]).await?,
        api_keys::find_by_hash(tx, &[2; 32]).await?,
        data_keys::newest(tx, ACME).await?,
    ));
    assert_eq!(seen, (None, None, None, None, None));
}

#[tokio::test]
async fn a_tenants_transaction_reaches_further_only_while_it_is_widened() {
    let db = testkit::postgres().await;
    write!(db, |tx| accounts::insert(tx, &account(1, ACME)).await?);
    let seen = write!(db, Scope::Tenant(OTHER), |tx| {
        let first = accounts::owner(tx, AccountId::from_ulid(1)).await?;
        let before = tx.widen().await?;
        let wide = accounts::owner(tx, AccountId::from_ulid(1)).await?;
        tx.narrow(before).await?;
        (first, wide, accounts::owner(tx, AccountId::from_ulid(1)).await?)
    });
    assert_eq!(seen, (None, Some(ACME), None));
}
