//! Idempotency through one node and through two.

use engine::{
    Error, Parts,
    once::{self, Repeat, Reply, Secrecy, once},
};
use model::TenantId;
use serde_json::json;
use store::{Scope, installation};
use testkit::TestDb;

use crate::setting::*;

/// Work with an effect one can count.
async fn post(parts: &Parts, tenant: TenantId, repeat: &Repeat, effect: &'static str) -> Result<Reply, Error> {
    once(parts, &member(tenant), repeat, 202, Secrecy::Plain, move |tx| {
        Box::pin(async move {
            installation::claim(tx, effect, "done").await?;
            Ok(json!({"effect": effect}))
        })
    })
    .await
}

async fn effects(db: &TestDb) -> String {
    column(db, "SELECT name FROM installation ORDER BY name").await
}

testkit::both! {
    async fn a_repeated_request_does_nothing_and_answers_the_same(db: TestDb) {
        let (_world, parts) = node(&db);
        let (acme, _) = tenant(&parts, "Acme").await;
        let first = post(&parts, acme, &repeat("k", "a"), "one").await.unwrap();
        let again = post(&parts, acme, &repeat("k", "a"), "two").await.unwrap();
        assert_eq!((first.status, first.replayed, again.status, again.replayed), (202, false, 202, true));
        assert_eq!(first.body, again.body);
        assert_eq!(effects(&db).await, "one");
        assert_eq!(once::replay(&parts, &member(acme), &repeat("k", "a")).await.unwrap(), Some(again));
        assert_eq!(once::replay(&parts, &member(acme), &repeat("other", "a")).await.unwrap(), None);
    }

    async fn without_a_key_everything_is_done(db: TestDb) {
        let (_world, parts) = node(&db);
        let (acme, _) = tenant(&parts, "Acme").await;
        for effect in ["one", "two"] {
            assert!(!post(&parts, acme, &Repeat::NONE, effect).await.unwrap().replayed);
        }
        assert_eq!(effects(&db).await, "one\ntwo");
    }

    async fn a_key_belongs_to_one_request_of_one_tenant(db: TestDb) {
        let (_world, parts) = node(&db);
        let (acme, _) = tenant(&parts, "Acme").await;
        let (other, _) = tenant(&parts, "Other").await;
        post(&parts, acme, &repeat("k", "a"), "one").await.unwrap();
        let reused = post(&parts, acme, &repeat("k", "b"), "two").await.unwrap_err();
        assert_eq!((reused.kind, reused.code), (engine::ErrorKind::Invalid, "idempotency_key_reused"));
        assert!(!post(&parts, other, &repeat("k", "b"), "three").await.unwrap().replayed);
        assert_eq!(effects(&db).await, "one\nthree");
    }

    async fn a_refused_request_may_try_its_key_again(db: TestDb) {
        let (_world, parts) = node(&db);
        let (acme, _) = tenant(&parts, "Acme").await;
        let refused = once(&parts, &member(acme), &repeat("k", "a"), 202, Secrecy::Plain, |tx| Box::pin(async move {
            installation::claim(tx, "half", "done").await?;
            Err::<(), _>(Error::invalid("/to", "wrong"))
        })).await;
        assert_eq!(refused.unwrap_err().code, "invalid_request");
        assert_eq!(effects(&db).await, "");
        assert!(!post(&parts, acme, &repeat("k", "b"), "one").await.unwrap().replayed);
    }

    async fn a_key_is_free_again_after_a_day_and_old_ones_are_purged(db: TestDb) {
        let (world, parts) = node(&db);
        let (acme, _) = tenant(&parts, "Acme").await;
        post(&parts, acme, &repeat("k", "a"), "one").await.unwrap();
        post(&parts, acme, &repeat("old", "a"), "two").await.unwrap();
        world.clock.advance_ms(24 * 60 * 60 * 1_000 - 1);
        assert!(post(&parts, acme, &repeat("k", "a"), "three").await.unwrap().replayed);
        assert_eq!(once::purge(&parts).await, Ok(0));
        world.clock.advance_ms(1);
        assert!(!post(&parts, acme, &repeat("k", "b"), "four").await.unwrap().replayed);
        world.clock.advance_ms(1);
        assert_eq!(once::purge(&parts).await, Ok(1));
        assert_eq!(column(&db, "SELECT key FROM idempotency_keys").await, "k");
    }

    async fn of_two_nodes_one_does_the_work_and_both_answer_the_same(db: TestDb) {
        let (world, one) = node(&db);
        let two = parts(&world);
        let (acme, _) = tenant(&one, "Acme").await;
        for (key, effects) in [("k1", ("a", "b")), ("k2", ("c", "d")), ("k3", ("e", "f"))] {
            let request = repeat(key, "same");
            let (a, b) = tokio::join!(post(&one, acme, &request, effects.0), post(&two, acme, &request, effects.1));
            let (a, b) = (a.unwrap(), b.unwrap());
            assert_eq!(a.body, b.body);
            assert!(a.replayed != b.replayed);
        }
        assert_eq!(effects(&db).await.lines().count(), 3);
    }

    async fn while_a_request_runs_its_key_is_taken(db: TestDb) {
        let (_world, parts) = node(&db);
        let (acme, _) = tenant(&parts, "Acme").await;
        let request = repeat("k", "a");
        let guard = parts.running.begin(acme, request.key.as_ref().unwrap()).unwrap();
        let refused = post(&parts, acme, &request, "one").await.unwrap_err();
        assert_eq!((refused.kind, refused.code), (engine::ErrorKind::Conflict, "idempotency_key_in_use"));
        drop(guard);
        assert!(post(&parts, acme, &request, "one").await.is_ok());
    }

    async fn a_sealed_answer_opens_again_also_for_the_operator(db: TestDb) {
        let (_world, parts) = node(&db);
        let (acme, _) = tenant(&parts, "Acme").await;
        for caller in [member(acme), operator()] {
            let run = async || once(&parts, &caller, &repeat("k", "a"), 201, Secrecy::Sealed, |_| Box::pin(async { Ok("hunter22") })).await.unwrap();
            let (first, again) = (run().await, run().await);
            assert_eq!((first.body.as_slice(), again.body.as_slice(), again.replayed), (b"\"hunter22\"".as_slice(), b"\"hunter22\"".as_slice(), true));
        }
        let bodies = db.read(Scope::System, |tx| Box::pin(async move {
            let rows = tx.rows("SELECT body FROM idempotency_keys WHERE data_key_id = 1", &[]).await?;
            rows.into_iter().map(|mut row| row.get::<Vec<u8>>(0)).collect::<Result<Vec<_>, store::Error>>()
        })).await.unwrap();
        assert_eq!(bodies.len(), 2);
        assert!(bodies.iter().all(|body| !body.windows(8).any(|part| part == b"hunter22")));
    }
}
