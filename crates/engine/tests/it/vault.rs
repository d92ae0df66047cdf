//! Sealing, opening, and replacing keys while everything runs.

use std::sync::Arc;

use engine::{
    Error, Parts,
    vault::{Place, Sealed},
};
use model::{AccountId, TenantId};
use serde_json::json;
use store::{Scope, data_keys};
use testkit::TestDb;

use crate::setting::*;

const ACME: TenantId = TenantId::from_ulid(10);
const OTHER: TenantId = TenantId::from_ulid(20);

fn place(tenant: TenantId, row: &'static str) -> Place<'static> {
    Place { tenant, table: "accounts", row, field: "settings" }
}

async fn seal(parts: &Parts, at: Place<'static>, plain: &'static str) -> Sealed {
    let inner = parts.clone();
    let now = parts.ports.clock.now();
    let write = parts.ports.db.write(Scope::Tenant(at.tenant), move |tx| {
        Box::pin(async move { inner.vault.seal(tx, &inner.ports.ids, now, &at, plain.as_bytes()).await })
    });
    write.await.unwrap()
}

async fn open(parts: &Parts, at: Place<'static>, bytes: &[u8]) -> Result<String, Error> {
    let (inner, bytes) = (parts.clone(), bytes.to_vec());
    let read = parts.ports.db.read(Scope::Tenant(at.tenant), move |tx| {
        Box::pin(async move {
            let plain = inner.vault.open(tx, &at, &bytes).await?;
            Ok::<_, Error>(String::from_utf8(plain.to_vec()).unwrap())
        })
    });
    read.await
}

async fn masters(parts: &Parts) -> Vec<(String, i64)> {
    let read = parts.ports.db.read(Scope::System, |tx| Box::pin(data_keys::masters_in_use(tx)));
    read.await.unwrap()
}

async fn data_key_ids(db: &TestDb, tenant: TenantId) -> Vec<i64> {
    let read = db.read(Scope::System, move |tx| {
        Box::pin(async move {
            let rows = tx.rows("SELECT id FROM data_keys WHERE tenant_id = $1 ORDER BY id", &[&tenant]).await?;
            rows.into_iter().map(|mut row| row.get(0)).collect::<Result<Vec<i64>, store::Error>>()
        })
    });
    read.await.unwrap()
}

/// A tenant with this many accounts with a secret.
async fn with_accounts(parts: &Parts, count: usize) -> (TenantId, Vec<AccountId>) {
    let (tenant, _) = tenant(parts, "Acme").await;
    let mut ids = Vec::new();
    for n in 0..count {
        let new = json!({"name": format!("Bot {n}"), "connector": "telegram", "settings": {"bot_token": format!("12345{n}:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw")}});
        let reply =
            engine::accounts::create(parts, &member(tenant), &engine::once::Repeat::NONE, body(new)).await.unwrap();
        ids.push(json(&reply)["id"].as_str().unwrap().parse().unwrap());
    }
    (tenant, ids)
}

async fn all_open(parts: &Parts, tenant: TenantId, ids: &[AccountId]) -> bool {
    let found = parts.directory.tenant(tenant).await.unwrap().unwrap();
    ids.iter().all(|id| {
        found.account(*id).is_some_and(|account| account.trouble.is_none() && account.values.get("bot_token").is_some())
    })
}

testkit::both! {
    async fn what_was_sealed_opens_at_its_place_only(db: TestDb) {
        let (world, parts) = node(&db);
        let here = place(ACME, "row-1");
        let sealed = seal(&parts, here, "secret").await;
        // Another key of the same number for the other tenant, so that only what is authenticated tells them apart.
        seal(&parts, place(OTHER, "row-1"), "other").await;
        assert_eq!(open(&parts, here, &sealed.bytes).await.unwrap(), "secret");
        let fresh = crate::setting::parts(&world);
        assert_eq!(open(&fresh, here, &sealed.bytes).await.unwrap(), "secret");
        let elsewhere = [
            place(ACME, "row-2"),
            place(OTHER, "row-1"),
            Place { field: "secrets", ..here },
            Place { table: "endpoints", ..here },
            place(TenantId::from_ulid(30), "row-1"),
        ];
        for at in elsewhere {
            for node in [&parts, &fresh] {
                assert_eq!(code(open(node, at, &sealed.bytes).await), "secret_unreadable", "{at:?}");
            }
        }
    }

    async fn an_altered_text_does_not_open(db: TestDb) {
        let (_world, parts) = node(&db);
        let here = place(ACME, "row-1");
        let sealed = seal(&parts, here, "secret").await.bytes;
        for length in 0..sealed.len() {
            assert_eq!(code(open(&parts, here, &sealed[..length]).await), "secret_unreadable");
        }
        for index in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[index] ^= 1;
            assert_eq!(code(open(&parts, here, &altered).await), "secret_unreadable", "byte {index}");
        }
        let longer = [sealed.as_slice(), &[0]].concat();
        assert_eq!(code(open(&parts, here, &longer).await), "secret_unreadable");
    }

    async fn sealing_twice_gives_two_texts(db: TestDb) {
        let (_world, parts) = node(&db);
        let here = place(ACME, "row-1");
        assert_ne!(seal(&parts, here, "secret").await.bytes, seal(&parts, here, "secret").await.bytes);
    }

    async fn a_key_that_was_rolled_back_seals_nothing_later(db: TestDb) {
        let (_world, parts) = node(&db);
        let (inner, now) = (parts.clone(), parts.ports.clock.now());
        let failed = parts.ports.db.write(Scope::Tenant(ACME), move |tx| Box::pin(async move {
            inner.vault.seal(tx, &inner.ports.ids, now, &place(ACME, "row-1"), b"lost").await?;
            Err::<(), _>(Error::not_found("thing"))
        }));
        assert_eq!(code(failed.await), "not_found");
        assert!(data_key_ids(&db, ACME).await.is_empty());
        let sealed = seal(&parts, place(ACME, "row-1"), "kept").await;
        assert_eq!(open(&parts, place(ACME, "row-1"), &sealed.bytes).await.unwrap(), "kept");
    }

    async fn two_nodes_agree_on_the_first_key(db: TestDb) {
        let (world, one) = node(&db);
        let two = crate::setting::parts(&world);
        let here = place(ACME, "row-1");
        let (a, b) = tokio::join!(seal(&one, here, "a"), seal(&two, here, "b"));
        assert_eq!((open(&two, here, &a.bytes).await.unwrap(), open(&one, here, &b.bytes).await.unwrap()), ("a".to_owned(), "b".to_owned()));
        assert_eq!(data_key_ids(&db, ACME).await, [1]);
    }

    async fn the_master_key_is_replaced_and_the_old_one_can_go(db: TestDb) {
        let (world, old) = node(&db);
        let here = place(ACME, "row-1");
        let sealed = seal(&old, here, "secret").await;
        seal(&old, place(OTHER, "row-1"), "other").await;

        // Without the old key nothing opens, and the error names it.
        let alone = with_masters(&world, MASTER_2);
        for refused in [open(&alone, here, &sealed.bytes).await.map(drop), alone.vault.check(&db).await.map(drop), alone.vault.rotate_master(&db, &world.ports.ids).await.map(drop)] {
            let refused = refused.unwrap_err();
            assert_eq!(refused.code, "master_key_missing");
            assert!(refused.detail.contains("`first`"), "{}", refused.detail);
        }

        let both = with_masters(&world, &format!("{MASTER_2},{MASTER}"));
        assert_eq!(both.vault.check(&db).await.unwrap(), [("first".to_owned(), 2)]);
        let done = both.vault.rotate_master(&db, &world.ports.ids).await.unwrap();
        assert_eq!((done.master_key_id.as_str(), done.resealed, done.unreadable.len()), ("second", 2, 0));
        assert_eq!(masters(&both).await, [("second".to_owned(), 2)]);
        // A second run finds nothing; the old key is no longer needed, and a node that still has the old order goes on working.
        assert_eq!(both.vault.rotate_master(&db, &world.ports.ids).await.unwrap().resealed, 0);
        let alone = with_masters(&world, MASTER_2);
        assert!(alone.vault.check(&db).await.is_ok());
        assert_eq!(open(&alone, here, &sealed.bytes).await.unwrap(), "secret");
        let later = with_masters(&world, &format!("{MASTER},{MASTER_2}"));
        assert_eq!(open(&later, here, &sealed.bytes).await.unwrap(), "secret");
        assert_eq!(code(open(&with_masters(&world, MASTER), here, &sealed.bytes).await), "master_key_missing");
    }

    async fn a_rotation_that_was_killed_is_carried_on(db: TestDb) {
        let (world, old) = node(&db);
        for n in 1..=450u128 {
            let at = Place { tenant: TenantId::from_ulid(n), ..place(ACME, "row-1") };
            seal(&old, at, "secret").await;
        }
        let both = with_masters(&world, &format!("{MASTER_2},{MASTER}"));
        // Killed after its first step: a future that is dropped while it waits for the second.
        let mut rotation = Box::pin(both.vault.rotate_master(&db, &world.ports.ids));
        loop {
            assert!(futures_util::poll!(&mut rotation).is_pending(), "450 keys take more than one step");
            if masters(&both).await.iter().any(|(id, _)| id == "second") { break; }
        }
        drop(rotation);
        let left = masters(&both).await.iter().find(|(id, _)| id == "first").map_or(0, |(_, count)| *count);
        assert!(left > 0);
        let done = both.vault.rotate_master(&db, &world.ports.ids).await.unwrap();
        assert!(done.resealed > 0 && done.resealed <= u64::try_from(left).unwrap());
        assert_eq!(masters(&both).await, [("second".to_owned(), 450)]);
    }

    async fn a_data_key_that_does_not_open_is_reported_and_does_not_hold_up_others(db: TestDb) {
        let (world, old) = node(&db);
        for tenant in [ACME, OTHER] {
            seal(&old, place(tenant, "row-1"), "secret").await;
        }
        db.write(Scope::System, |tx| Box::pin(async move {
            let other = data_keys::find(tx, OTHER, 1).await?.unwrap();
            data_keys::reseal(tx, &data_keys::DataKey { tenant: ACME, ..other }, "first").await
        })).await.unwrap();
        let both = with_masters(&world, &format!("{MASTER_2},{MASTER}"));
        let done = both.vault.rotate_master(&db, &world.ports.ids).await.unwrap();
        assert_eq!((done.resealed, done.unreadable), (1, vec![(ACME, 1)]));
        assert_eq!(code(open(&both, place(ACME, "row-1"), &seal(&both, place(OTHER, "row-1"), "x").await.bytes).await), "data_key_unreadable");
    }

    async fn a_tenants_data_key_is_replaced_row_by_row(db: TestDb) {
        let (world, parts) = node(&db);
        let (tenant, ids) = with_accounts(&parts, 3).await;
        for round in 2..=3 {
            let done = parts.vault.rotate_data_key(&db, &world.ports.ids, tenant, world.ports.clock.now()).await.unwrap();
            // The accounts, and the key of the audit log's fingerprints.
            assert_eq!((done.data_key_id, done.resealed, done.unreadable, done.removed), (round, 4, 0, 1));
            assert_eq!(data_key_ids(&db, tenant).await, [round]);
            assert!(all_open(&crate::setting::parts(&world), tenant, &ids).await);
        }
        assert_eq!(parts.vault.finish_rotations(&db, &world.ports.ids, world.ports.clock.now()).await, Ok(0));
    }

    async fn a_data_key_stays_until_kept_answers_are_gone(db: TestDb) {
        let (world, parts) = node(&db);
        let (tenant, _) = with_accounts(&parts, 1).await;
        let request = repeat("k", "{}");
        let first = engine::keys::create(&parts, &member(tenant), &request, named("k")).await.unwrap();
        let done = parts.vault.rotate_data_key(&db, &world.ports.ids, tenant, world.ports.clock.now()).await.unwrap();
        assert_eq!((done.resealed, done.removed), (2, 0));
        assert_eq!(engine::keys::create(&parts, &member(tenant), &request, named("k")).await.unwrap().body, first.body);
        world.clock.advance_ms(24 * 60 * 60 * 1_000 + 1);
        engine::once::purge(&parts).await.unwrap();
        parts.vault.finish_rotations(&db, &world.ports.ids, world.ports.clock.now()).await.unwrap();
        assert_eq!(data_key_ids(&db, tenant).await, [2]);
    }

    async fn a_rotation_of_a_data_key_that_was_killed_is_carried_on(db: TestDb) {
        let (world, parts) = node(&db);
        let (tenant, ids) = with_accounts(&parts, 150).await;
        let mut rotation = Box::pin(parts.vault.rotate_data_key(&db, &world.ports.ids, tenant, world.ports.clock.now()));
        while data_key_ids(&db, tenant).await.len() < 2 {
            assert!(futures_util::poll!(&mut rotation).is_pending(), "the new key is written before any row");
        }
        drop(rotation);
        assert!(all_open(&crate::setting::parts(&world), tenant, &ids).await);
        let again = crate::setting::parts(&world);
        assert!(again.vault.finish_rotations(&db, &world.ports.ids, world.ports.clock.now()).await.unwrap() > 0);
        assert_eq!(data_key_ids(&db, tenant).await, [2]);
        assert!(all_open(&again, tenant, &ids).await);
    }

    async fn secrets_open_while_their_key_is_replaced(db: TestDb) {
        let (world, parts) = node(&db);
        let (tenant, ids) = with_accounts(&parts, 3).await;
        let vault = Arc::clone(&parts.vault);
        let rotating = vault.rotate_data_key(&db, &world.ports.ids, tenant, world.ports.clock.now());
        let changing = async {
            for (n, id) in ids.iter().enumerate() {
                let change = json!({"settings": {"bot_token": format!("99999{n}:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw")}});
                engine::accounts::patch(&parts, &member(tenant), *id, body(change)).await.unwrap();
            }
        };
        let (rotated, ()) = tokio::join!(rotating, changing);
        rotated.unwrap();
        parts.vault.finish_rotations(&db, &world.ports.ids, world.ports.clock.now()).await.unwrap();
        assert_eq!(data_key_ids(&db, tenant).await, [2]);
        let found = crate::setting::parts(&world).directory.tenant(tenant).await.unwrap().unwrap();
        assert!(ids.iter().all(|id| found.account(*id).unwrap().values.get("bot_token").unwrap().starts_with("99999")));
    }
}
