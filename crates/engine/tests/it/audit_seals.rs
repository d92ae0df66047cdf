//! What the seals of the audit log find, on both engines: each story is one way to tamper with it by SQL, without the installation's key.

use engine::{
    audit::{self, seals},
    contacts,
    keys::Caller,
    once::Repeat,
    tenants,
};
use model::{TenantId, UserId};
use serde_json::json;
use testkit::{Stage, TestDb};

use crate::setting::{MASTER_2, body, column, json, operator, with_masters};

/// A tenant with some entries, all of which are marked.
async fn marked(db: &TestDb) -> Stage {
    let stage = Stage::new(db).await;
    for _ in 0..3 {
        stage.world.clock.advance_ms(1_000);
        stage.account("sandbox", json!({}), None).await;
    }
    mark(&stage).await;
    stage
}

async fn mark(stage: &Stage) {
    stage.world.clock.advance_ms(10_000);
    seals::run(stage.engine.parts()).await.unwrap();
}

/// One of the operator's staff, inside of a tenant.
fn staff(tenant: TenantId) -> Caller {
    Caller { user_id: Some(UserId::from_ulid(7)), ..Caller::system(Some(tenant)) }
}

/// Runs SQL about the tenant, `$1`, which must touch something.
async fn run(stage: &Stage, sql: &'static str) {
    let tenant = stage.tenant;
    let write = stage
        .world
        .ports
        .db
        .write(store::Scope::System, move |tx| Box::pin(async move { tx.execute(sql, &[&tenant]).await }));
    assert!(write.await.unwrap() > 0, "{sql}");
}

/// Runs statements about everything.
async fn run_all(stage: &Stage, statements: &'static str) {
    for sql in statements.split("; ") {
        let write = stage
            .world
            .ports
            .db
            .write(store::Scope::System, move |tx| Box::pin(async move { tx.execute(sql, &[]).await }));
        write.await.unwrap();
    }
}

async fn broken(stage: &Stage) -> Vec<String> {
    audit::verify(&stage.world.ports.db).await.unwrap().broken
}

/// Exactly one thing is found, and it names the tenant's log and says this.
async fn found(stage: &Stage, what: &str) {
    let broken = broken(stage).await;
    let is_named = broken.iter().any(|one| one.contains(&format!("the log of {}", stage.tenant)) && one.contains(what));
    assert!(broken.len() == 1 && is_named, "{what}: {broken:?}");
}

/// Takes the newest entry of the tenant away as if it had never been: the head is what it was before.
async fn cut_off(stage: &Stage) {
    run(
        stage,
        "DELETE FROM audit_log WHERE tenant_id = $1 AND number = (SELECT number FROM audit_heads WHERE tenant_id = $1)",
    )
    .await;
    run(stage, "UPDATE audit_heads SET number = number - 1, hash = (SELECT hash FROM audit_log AS l WHERE l.tenant_id = $1 AND l.number = audit_heads.number - 1) WHERE tenant_id = $1").await;
}

testkit::both! {
    async fn what_was_cut_off_with_its_head_is_missed(db: TestDb) {
        let stage = marked(&db).await;
        cut_off(&stage).await;
        found(&stage, "it ends with entry number 3, and there were 4").await;
        // Neither later entries nor later marks cover it up.
        stage.account("sandbox", json!({}), None).await;
        mark(&stage).await;
        found(&stage, "(number 4").await;
        stage.account("sandbox", json!({}), None).await;
        mark(&stage).await;
        found(&stage, "is not the one that was there").await;
    }

    async fn a_log_that_is_gone_is_missed(db: TestDb) {
        let stage = marked(&db).await;
        run(&stage, "DELETE FROM audit_log WHERE tenant_id = $1").await;
        run(&stage, "DELETE FROM audit_heads WHERE tenant_id = $1").await;
        found(&stage, "it ends with entry number 0, and there were 4").await;
        run(&stage, "DELETE FROM audit_marks WHERE owner_id = $1").await;
        let told = broken(&stage).await;
        assert!(told.len() == 2 && told[0].contains("the marks of 1 logs"), "{told:?}");
        assert!(told[1].contains(&format!("the log of {}: it is gone, and nobody deleted the tenant", stage.tenant)), "{told:?}");
        run_all(&stage, "DELETE FROM tenants").await;
        assert!(broken(&stage).await[1].contains("it is gone"));
    }

    async fn a_wiped_detail_is_told_apart_from_an_erased_person(db: TestDb) {
        let stage = marked(&db).await;
        run(&stage, "UPDATE audit_log SET detail = '{}', detail_salt = NULL WHERE tenant_id = $1 AND number = 3").await;
        found(&stage, "what entry number 3 said was taken away").await;
    }

    async fn an_entry_beside_the_chain_is_found(db: TestDb) {
        let stage = marked(&db).await;
        // Also one that pretends to be older than the whole log.
        run(&stage, "INSERT INTO audit_log (tenant_id, id, at, actor, action, subject, detail) SELECT tenant_id, tenant_id, at, actor, 'account.deleted', subject, detail FROM audit_log WHERE tenant_id = $1 AND number = 2").await;
        found(&stage, "has no place in the chain").await;
    }

    async fn entries_of_nobody_are_found(db: TestDb) {
        let stage = marked(&db).await;
        run(&stage, "INSERT INTO audit_log (tenant_id, id, at, actor, action, subject, detail) SELECT id, id, at, actor, action, subject, detail FROM audit_log WHERE tenant_id = $1 AND number = 2").await;
        let told = broken(&stage).await;
        assert!(told.len() == 1 && told[0].contains("there is no such tenant"), "{told:?}");
        run_all(&stage, "DELETE FROM audit_log WHERE number IS NULL").await;

        tenants::delete(stage.engine.parts(), &operator(), stage.tenant).await.unwrap();
        assert_eq!(broken(&stage).await, Vec::<String>::new(), "it was deleted, and is not removed yet");
        remove(&stage).await;
        assert_eq!(broken(&stage).await, Vec::<String>::new(), "it was removed");
        mark(&stage).await;
        run(&stage, "INSERT INTO audit_log (tenant_id, id, at, actor, action, subject, detail) SELECT m.owner_id, l.id, l.at, l.actor, l.action, l.subject, l.detail FROM audit_log AS l, audit_marks AS m WHERE l.number = 1 AND m.owner_id = $1").await;
        found(&stage, "the tenant was deleted, and its log is still there").await;
    }

    async fn an_entry_made_without_the_key_is_found(db: TestDb) {
        let mut stage = marked(&db).await;
        let stranger = with_masters(&stage.world, MASTER_2);
        audit::note(&stranger, &stage.caller, "account.deleted", "acc", json!({})).await.unwrap();
        stage.restart();
        found(&stage, "it has no seal of this installation").await;
        run(&stage, "UPDATE audit_log SET seal = (SELECT seal FROM audit_log AS l WHERE l.tenant_id = $1 AND l.number = 4) WHERE tenant_id = $1 AND number = 5").await;
        found(&stage, "it has no seal of this installation").await;
        // No mark is made over it, and what follows does not hide it.
        stage.account("sandbox", json!({}), None).await;
        stage.world.clock.advance_ms(4_000_000);
        mark(&stage).await;
        found(&stage, "(number 5").await;
    }

    async fn a_mark_that_was_altered_or_put_back_is_found(db: TestDb) {
        let stage = marked(&db).await;
        run_all(&stage, "CREATE TABLE kept AS SELECT * FROM audit_marks").await;
        stage.account("sandbox", json!({}), None).await;
        mark(&stage).await;
        cut_off(&stage).await;
        run(&stage, "DELETE FROM audit_marks WHERE owner_id = $1").await;
        run(&stage, "INSERT INTO audit_marks SELECT * FROM kept WHERE owner_id = $1").await;
        let told = broken(&stage).await;
        assert!(told.len() == 1 && told[0].contains("put back to an older one"), "{told:?}");
        run(&stage, "UPDATE audit_marks SET number = number - 1, hash = (SELECT hash FROM audit_log AS l WHERE l.tenant_id = $1 AND l.number = audit_marks.number - 1) WHERE owner_id = $1").await;
        found(&stage, "the mark at entry number 3 was altered").await;
    }

    async fn a_log_put_back_with_its_mark_stays_found_and_is_named_by_the_operators_log(db: TestDb) {
        let mut stage = marked(&db).await;
        let other = crate::hooks::neighbour(&stage).await;
        mark(&stage).await;
        run_all(&stage, "CREATE TABLE kept AS SELECT * FROM audit_marks").await;
        let own = std::mem::replace(&mut stage.caller, staff(stage.tenant));
        stage.account("sandbox", json!({}), None).await;
        stage.caller = own;
        mark(&stage).await;
        assert_eq!(broken(&stage).await, Vec::<String>::new());

        cut_off(&stage).await;
        run(&stage, "DELETE FROM audit_marks WHERE owner_id = $1").await;
        run(&stage, "INSERT INTO audit_marks SELECT * FROM kept WHERE owner_id = $1").await;
        // Not even the marks that are made afterwards cover it up.
        for _ in 0..2 {
            let told = broken(&stage).await;
            assert!(told.len() == 2 && told[0].contains("the marks of 3 logs are not those that were made"), "{told:?}");
            let lacks = format!("the log of {}: it lacks the entry aud_", stage.tenant);
            assert!(told[1].starts_with(&lacks) && told[1].contains("which the operator's log has"), "{told:?}");
            other.account("sandbox", json!({}), None).await;
            mark(&stage).await;
        }
    }

    async fn what_was_put_back_as_a_whole_shows_against_a_kept_head(db: TestDb) {
        let stage = marked(&db).await;
        let kept = audit::verify(&stage.world.ports.db).await.unwrap().heads;
        assert_eq!(kept.iter().map(|head| head.number).collect::<Vec<_>>(), [4, 1], "{kept:?}");
        stage.account("sandbox", json!({}), None).await;
        assert_eq!(audit::verify_against(&stage.world.ports.db, &kept).await.unwrap().broken, Vec::<String>::new(), "it went on");
        cut_off(&stage).await;
        cut_off(&stage).await;
        run_all(&stage, "DELETE FROM audit_marks; DELETE FROM audit_register; UPDATE audit_log SET seal = NULL").await;
        assert_eq!(broken(&stage).await, Vec::<String>::new(), "inside of the database nothing is left that tells");
        let told = audit::verify_against(&stage.world.ports.db, &kept).await.unwrap().broken;
        assert!(told.len() == 1 && told[0].contains("it ends with entry number 3, and there were 4 as was kept elsewhere"), "{told:?}");
    }

    async fn erased_people_and_logs_that_go_on_are_no_tampering(db: TestDb) {
        let stage = marked(&db).await;
        for round in 0..3 {
            let new = json!({"email": format!("ada{round}@example.com"), "telegram_chat_id": 3});
            let made = contacts::create(&stage.engine, &stage.caller, &Repeat::NONE, body(new)).await.unwrap();
            let id: model::ContactId = json(&made)["id"].as_str().unwrap().parse().unwrap();
            let said = json!({"channel": "email", "state": "opted_in", "text": "Yes"});
            stage.engine.record_consent(&stage.caller, &Repeat::NONE, id, body(said)).await.unwrap();
            contacts::erase(&stage.engine, &stage.caller, &Repeat::NONE, id).await.unwrap();
            if round == 1 {
                mark(&stage).await;
            }
        }
        let verified = audit::verify(&stage.world.ports.db).await.unwrap();
        assert_eq!((verified.broken, verified.erased >= 3), (Vec::new(), true));
        let told = audit::list(stage.engine.parts(), &stage.caller, Some(1), None).await.unwrap().data.remove(0);
        assert_eq!((told.action.as_str(), told.detail["erased_entries"].is_array()), ("contact.erased", true));
    }

    async fn logs_that_are_written_meanwhile_are_right(db: TestDb) {
        let stage = marked(&db).await;
        for _ in 0..10 {
            let (parts, by) = (stage.engine.parts(), operator());
            let (_, _, made, marks, verified) = tokio::join!(
                stage.account("sandbox", json!({}), None),
                stage.account("sandbox", json!({}), None),
                tenants::create(parts, &by, &Repeat::NONE, body(json!({"name": "Globex"}))),
                seals::run(parts),
                audit::verify(&stage.world.ports.db),
            );
            assert!(made.is_ok() && marks.is_ok());
            assert_eq!(verified.unwrap().broken, Vec::<String>::new());
        }
        mark(&stage).await;
        let verified = audit::verify(&stage.world.ports.db).await.unwrap();
        assert_eq!((verified.broken, verified.unmarked), (Vec::new(), 0));
    }

    async fn logs_from_before_there_were_seals_are_marked_and_told(db: TestDb) {
        let stage = marked(&db).await;
        run(&stage, "INSERT INTO audit_log (tenant_id, id, at, actor, action, subject, detail) SELECT tenant_id, tenant_id, at, actor, action, subject, detail FROM audit_log WHERE tenant_id = $1 AND number = 2").await;
        run(&stage, "UPDATE audit_log SET detail = '{}', detail_salt = NULL WHERE tenant_id = $1 AND number = 3").await;
        run_all(&stage, "DELETE FROM audit_marks; DELETE FROM audit_register; UPDATE audit_log SET seal = NULL").await;
        assert_eq!(broken(&stage).await, Vec::<String>::new());

        mark(&stage).await;
        let verified = audit::verify(&stage.world.ports.db).await.unwrap();
        assert_eq!((verified.broken, verified.unmarked, verified.sealed_since.is_some()), (Vec::new(), 0, true));
        let told = audit::list(stage.engine.parts(), &stage.caller, Some(1), None).await.unwrap().data.remove(0);
        assert_eq!((told.action.as_str(), &told.detail), ("audit_log.sealed", &json!({"entries": 4, "erased_entries": [[3, 3]]})));
        assert_eq!(column(&db, "SELECT CAST(COUNT(*) AS TEXT) FROM audit_log WHERE action = 'audit_log.sealed'").await, "2", "in each log");

        run(&stage, "DELETE FROM audit_log WHERE tenant_id = $1 AND number IS NULL").await;
        found(&stage, "of the 1 entries from before there was a chain").await;
    }

    async fn what_an_older_program_writes_during_the_upgrade_is_taken_over(db: TestDb) {
        let mut stage = marked(&db).await;
        let older = async |stage: &mut Stage| {
            let other = with_masters(&stage.world, MASTER_2);
            audit::note(&other, &stage.caller, "account.deleted", "acc", json!({})).await.unwrap();
            stage.restart();
        };
        older(&mut stage).await;
        mark(&stage).await;
        assert_eq!(broken(&stage).await, Vec::<String>::new());
        stage.world.clock.advance_ms(3_700_000);
        older(&mut stage).await;
        mark(&stage).await;
        found(&stage, "it has no seal").await;
    }
}

/// Lets everything go that a deleted tenant had.
async fn remove(stage: &Stage) {
    stage.world.clock.advance_ms(200_000);
    while tenants::removal::run(&stage.engine).await.unwrap() > 0 {}
}
