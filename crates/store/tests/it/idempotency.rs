//! Idempotency keys on both engines.

use model::{TenantId, Timestamp};
use store::{
    Error, Scope,
    idempotency::{self, Answered, Purged},
};

const ACME: TenantId = TenantId::from_ulid(10);
const OTHER: TenantId = TenantId::from_ulid(20);

fn answered(tenant: TenantId, key: &str, at: i64) -> Answered {
    Answered {
        tenant,
        key: key.to_owned(),
        fingerprint: vec![7; 32],
        status: 202,
        body: b"{}".to_vec(),
        data_key_id: None,
        created_at: Timestamp::from_seconds(at),
    }
}

/// Runs work in a transaction and expects it to succeed.
macro_rules! write {
    ($db:expr, |$tx:ident| $work:expr) => {
        $db.write(Scope::System, move |$tx| Box::pin(async move { Ok::<_, Error>($work) })).await.unwrap()
    };
}

testkit::both! {
    async fn a_key_is_written_once_per_tenant(db: TestDb) {
        let rows = [answered(ACME, "a", 1), answered(ACME, "b", 1), answered(OTHER, "a", 1)];
        let sealed = Answered { data_key_id: Some(3), ..answered(OTHER, "b", 1) };
        assert_eq!(write!(db, |tx| idempotency::insert_many(tx, &rows).await?), 3);
        let again = [answered(ACME, "b", 2), sealed.clone()];
        assert_eq!(write!(db, |tx| idempotency::insert_many(tx, &again).await?), 1);
        let found = write!(db, |tx| (idempotency::find(tx, ACME, "b").await?, idempotency::find(tx, OTHER, "b").await?, idempotency::find(tx, ACME, "c").await?));
        assert_eq!(found, (Some(answered(ACME, "b", 1)), Some(sealed), None));
    }

    async fn many_keys_are_found_together(db: TestDb) {
        let rows = [answered(ACME, "a", 1), answered(OTHER, "a", 1), answered(OTHER, "b", 1)];
        write!(db, |tx| idempotency::insert_many(tx, &rows).await?);
        let mut found = write!(db, |tx| idempotency::find_many(tx, &[(ACME, "a"), (ACME, "b"), (OTHER, "b")]).await?);
        found.sort_by(|a, b| (a.tenant, &a.key).cmp(&(b.tenant, &b.key)));
        assert_eq!(found, [answered(ACME, "a", 1), answered(OTHER, "b", 1)]);
        assert_eq!(write!(db, |tx| idempotency::find_many(tx, &[]).await?), []);
    }

    async fn only_the_row_that_was_found_is_removed(db: TestDb) {
        write!(db, |tx| idempotency::insert_many(tx, &[answered(ACME, "a", 5)]).await?);
        write!(db, |tx| idempotency::remove(tx, &answered(ACME, "a", 1)).await?);
        assert!(write!(db, |tx| idempotency::find(tx, ACME, "a").await?).is_some());
        write!(db, |tx| idempotency::remove(tx, &answered(ACME, "a", 5)).await?);
        assert!(write!(db, |tx| idempotency::find(tx, ACME, "a").await?).is_none());
    }

    async fn old_keys_are_purged_page_by_page(db: TestDb) {
        // Every third is young.
        let rows: Vec<_> = (0..10).map(|n| answered(if n < 5 { ACME } else { OTHER }, &format!("k{n}"), if n % 3 == 0 { 100 } else { 1 })).collect();
        write!(db, |tx| idempotency::insert_many(tx, &rows).await?);
        let before = Timestamp::from_seconds(50);
        let mut removed = Vec::new();
        let mut after = Some((TenantId::from_ulid(0), String::new()));
        while let Some(from) = after {
            let step: Purged = write!(db, |tx| idempotency::purge(tx, &from, before, 4).await?);
            removed.push(step.removed);
            after = step.next;
        }
        // k0 and k3, k6, k9 stay: of four rows two went, of the next four three, of the last two one.
        assert_eq!(removed, [2, 3, 1]);
        let left = write!(db, |tx| tx.rows("SELECT key FROM idempotency_keys ORDER BY key", &[]).await?);
        let left: Vec<String> = left.into_iter().map(|mut row| row.get(0).unwrap()).collect();
        assert_eq!(left, ["k0", "k3", "k6", "k9"]);
    }
}
