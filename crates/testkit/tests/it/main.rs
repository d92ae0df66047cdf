//! The fixtures themselves, on both engines.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, missing_docs)]

mod simulator;

use model::TenantId;
use store::{Error, Scope};
use tidings_testkit as testkit;

testkit::both! {
    async fn a_fresh_database_is_migrated_and_empty(db: TestDb) {
        let counts = db.read(Scope::System, |tx| Box::pin(async move {
            let version = store::version(tx).await?;
            let tenants: i64 = tx.row("SELECT COUNT(*) FROM tenants", &[]).await?.expect("a count is a row").get(0)?;
            Ok::<_, Error>((version, tenants))
        }));
        assert_eq!(counts.await.unwrap(), (store::NEWEST, 0));
    }

    async fn databases_of_two_tests_are_apart(db: TestDb) {
        let other = if db.engine == "sqlite" { testkit::sqlite().await } else { testkit::postgres().await };
        insert_content(&db, Scope::System).await.unwrap();
        assert_eq!((count_contents(&db).await, count_contents(&other).await), (1, 0));
    }

    async fn the_url_opens_the_same_database(db: TestDb) {
        insert_content(&db, Scope::System).await.unwrap();
        let again = store::Db::open(&db.url).unwrap();
        assert_eq!(count_contents(&again).await, 1);
    }
}

#[tokio::test]
async fn row_level_security_is_in_force() {
    let db = testkit::postgres().await;
    let stranger = TenantId::from_ulid(9);
    assert!(insert_content(&db, Scope::Tenant(stranger)).await.is_err());
    assert_eq!(count_contents(&db).await, 0);
}

#[tokio::test]
async fn each_database_visits_both_engines() {
    let seen = std::sync::Mutex::new(Vec::new());
    testkit::each_database(|db| {
        seen.lock().unwrap().push(db.engine);
        async {}
    })
    .await;
    assert_eq!(*seen.lock().unwrap(), ["sqlite", "postgres"]);
}

/// Writes a row of a tenant that exists nowhere else.
async fn insert_content(db: &store::Db, scope: Scope) -> Result<u64, Error> {
    db.write(scope, |tx| {
        Box::pin(async move {
            let tenant = TenantId::from_ulid(1);
            tx.execute("INSERT INTO contents (tenant_id, id, body) VALUES ($1, $2, '{}')", &[&tenant, &tenant]).await
        })
    })
    .await
}

async fn count_contents(db: &store::Db) -> i64 {
    db.read(Scope::System, |tx| {
        Box::pin(async move {
            let row = tx.row("SELECT COUNT(*) FROM contents", &[]).await?;
            row.expect("a count is a row").get::<i64>(0)
        })
    })
    .await
    .unwrap()
}
