//! What an issued invoice says stays, and what becomes of it is in the operator's log, on both engines: whatever is done to invoices the log tells of, and of those of an earlier Tidings from when
//! they were found on.

use engine::{
    audit::{self, AuditQuery},
    books,
    invoices::{self, closing, digest, settings},
    once::Repeat,
};
use serde_json::json;
use store::Scope;
use testkit::{Stage, TestDb};

use crate::{
    bills::{adds_up, bill_after_all, bill_again, closed, delete, everybodys, issue, mode, pay, priced, send, void},
    plans::{set_clock, subscribe},
    setting::{body, operator},
};

/// Runs a statement behind the engine's back. Answers how many rows it changed.
async fn run(db: &TestDb, sql: &'static str) -> u64 {
    let write = db.write(Scope::System, move |tx| Box::pin(async move { tx.execute(sql, &[]).await }));
    write.await.unwrap()
}

/// Leaves the operator's log as an earlier Tidings did, which wrote nothing there of what happened to invoices by itself.
async fn forget(db: &TestDb) {
    let sql =
        "DELETE FROM audit_log WHERE action LIKE 'invoice.%' AND acted_in IS NOT NULL AND action <> 'invoice.recorded'";
    assert!(run(db, sql).await > 0);
}

/// What the check tells, all of it about invoices.
async fn told(db: &TestDb) -> Vec<String> {
    let differences = books::verify(db).await.unwrap().differences;
    assert!(differences.iter().all(|one| one.kind == "invoice"), "{differences:?}");
    differences.into_iter().map(|one| one.detail).collect()
}

async fn by_itself(stage: &Stage, issues_by_itself: bool) {
    let change = body(json!({ "issues_by_itself": issues_by_itself }));
    settings::patch(stage.engine.parts(), &operator(), change).await.unwrap();
}

testkit::both! {
    async fn whatever_becomes_of_invoices_the_operators_log_tells(db: TestDb) {
        let stage = priced(&db, json!([{"channel": "sms", "included": 1, "overage_micros": 10_000}])).await;
        let kept = crate::hooks::neighbour(&stage).await;
        assert_eq!(digest::record_earlier(&stage.engine).await.unwrap(), 0);
        mode(&stage, "postpaid").await.unwrap();
        set_clock(&stage, "2026-11-20T12:00:00Z");
        send(&stage, 4).await;
        let first = closed(&stage, "2026-12-01T02:00:00Z").await.remove(0);
        assert_eq!(digest::record_earlier(&stage.engine).await.unwrap(), 0, "from now on each must have its entry");
        adds_up(&stage).await;
        pay(&stage, &first).await;
        adds_up(&stage).await;
        // Taken back after it was paid, and billed again by a draft that is written anew.
        let draft = bill_again(&stage, &first).await;
        adds_up(&stage).await;
        subscribe(&stage, json!({"customer": {"country": "DE", "name": "Acme Tickets GmbH"}})).await;
        invoices::renew(&stage.engine, &operator(), &Repeat::NONE, draft.id).await.unwrap();
        adds_up(&stage).await;
        issue(&stage, &draft).await;
        adds_up(&stage).await;
        // What is not paid in time.
        set_clock(&stage, "2026-12-20T12:00:00Z");
        assert_eq!(closing::note_overdue(&stage.engine).await.unwrap(), 1);
        adds_up(&stage).await;
        // A draft that is dropped, and billed again after all; and one that is dropped for good.
        by_itself(&stage, false).await;
        send(&stage, 2).await;
        let dropped = closed(&stage, "2027-01-01T02:00:00Z").await.pop().unwrap();
        adds_up(&stage).await;
        let again = bill_again(&stage, &dropped).await;
        adds_up(&stage).await;
        issue(&stage, &again).await;
        adds_up(&stage).await;
        let dropped = closed(&stage, "2027-02-01T02:00:00Z").await.pop().unwrap();
        void(&stage, &dropped).await;
        adds_up(&stage).await;
        by_itself(&stage, true).await;
        // It is forgiven.
        set_clock(&stage, "2027-02-02T12:00:00Z");
        subscribe(&stage, json!({"past_due_since": null})).await;
        adds_up(&stage).await;
        for change in [json!({"trial_ends_at": "2027-02-05T00:00:00Z"}), json!({"trial_ends_at": null}), json!({"canceled_at": "2027-03-15T00:00:00Z"}), json!({"canceled_at": null})] {
            subscribe(&stage, change).await;
            adds_up(&stage).await;
        }
        // The tenant goes, and what it is billed stays.
        set_clock(&stage, "2027-02-11T00:00:00Z");
        delete(&stage).await;
        adds_up(&kept).await;
        let found = everybodys(&kept).await;
        let last = found.last().unwrap();
        pay(&kept, last).await;
        adds_up(&kept).await;
        void(&kept, last).await;
        adds_up(&kept).await;
        assert_eq!(audit::verify(&db.db).await.unwrap().broken, Vec::<String>::new());
        // Credit notes have their digests, too.
        let note = everybodys(&kept).await.pop().unwrap();
        assert_eq!(note.credits_id, Some(last.id));
        let asked = body::<AuditQuery>(json!({"subject": note.id}));
        let entries = audit::search(kept.engine.parts(), &operator(), &asked).await.unwrap().data;
        assert_eq!(entries.iter().map(|entry| entry.action.as_str()).collect::<Vec<_>>(), ["invoice.issued"]);
        assert_eq!((&entries[0].detail["digest"]["form"], entries[0].detail["digest"]["sha256"].as_str().map(str::len)), (&json!(1), Some(64)));
        assert_eq!(run(&db, "UPDATE invoices SET body = REPLACE(body, 'a mistake', 'a gift') WHERE kind = 'credit_note' AND body LIKE '%a mistake%'").await, 1);
        let told = told(&db).await;
        assert!(told.len() == 1 && told[0].contains("does not say what it said when it became final"), "{told:?}");
    }

    async fn a_draft_that_lacks_of_its_fee_is_told_whatever_ends_were_said_before(db: TestDb) {
        let stage = priced(&db, json!([])).await;
        set_clock(&stage, "2026-11-10T12:00:00Z");
        subscribe(&stage, json!({"canceled_at": "2026-11-15T00:00:00Z"})).await;
        set_clock(&stage, "2026-11-12T12:00:00Z");
        subscribe(&stage, json!({"canceled_at": null})).await;
        by_itself(&stage, false).await;
        let draft = closed(&stage, "2026-12-01T02:00:00Z").await.remove(0);
        assert_eq!(draft.total.amount_micros, 30_000_000);
        adds_up(&stage).await;
        let lower = "UPDATE invoices SET total = 10000000, body = REPLACE(REPLACE(body, '\"unit_micros\":30000000,\"amount_micros\":30000000', '\"unit_micros\":null,\"amount_micros\":10000000'), '\"net\":30000000', '\"net\":10000000')";
        assert_eq!(run(&db, lower).await, 1);
        let seen = told(&db).await;
        assert!(seen.len() == 1 && seen[0].ends_with("its plan costs 30000000 a month, and of that it bills 10000000"), "{seen:?}");
        let right = "UPDATE invoices SET total = 30000000, body = REPLACE(REPLACE(body, '\"unit_micros\":null,\"amount_micros\":10000000', '\"unit_micros\":30000000,\"amount_micros\":30000000'), '\"net\":10000000', '\"net\":30000000')";
        assert_eq!(run(&db, right).await, 1);
        assert_eq!(told(&db).await, Vec::<String>::new());
        // What ended when its month was closed cost less, also where it goes on by the time it is billed again.
        set_clock(&stage, "2026-12-10T12:00:00Z");
        subscribe(&stage, json!({"canceled_at": "2026-12-16T00:00:00Z"})).await;
        let second = closed(&stage, "2027-01-01T02:00:00Z").await.remove(1);
        assert_eq!(second.total.amount_micros, 14_520_000);
        set_clock(&stage, "2027-01-10T12:00:00Z");
        subscribe(&stage, json!({"canceled_at": null})).await;
        bill_again(&stage, &second).await;
        adds_up(&stage).await;
    }

    async fn a_plan_that_is_written_over_before_it_bills_anybody_is_told(db: TestDb) {
        let allowances = json!([{"channel": "sms", "included": 100, "overage_micros": 9_000}]);
        let stage = priced(&db, allowances).await;
        adds_up(&stage).await;
        let turns = [
            ("UPDATE plans SET monthly_fee = 90000000", "UPDATE plans SET monthly_fee = 30000000"),
            ("UPDATE plans SET allowances = REPLACE(allowances, '9000', '90000')", "UPDATE plans SET allowances = REPLACE(allowances, '90000', '9000')"),
        ];
        for (turn, back) in turns {
            assert_eq!(run(&db, turn).await, 1);
            let seen = books::verify(&db).await.unwrap().differences;
            let [one] = &seen[..] else { panic!("{seen:?}") };
            assert_eq!((one.tenant_id, one.kind), (None, "billing"));
            let (_, made) = one.detail.split_once(", and was made to cost 30000000 USD and to grant ").unwrap();
            assert!(made.contains("\"overage_micros\":9000") && !made.contains("90000"), "{}", one.detail);
            assert_eq!(run(&db, back).await, 1);
        }
        adds_up(&stage).await;
    }

    async fn half_of_what_giving_away_and_billing_after_all_moved_is_told(db: TestDb) {
        let stage = priced(&db, json!([])).await;
        mode(&stage, "postpaid").await.unwrap();
        set_clock(&stage, "2026-11-20T12:00:00Z");
        send(&stage, 3).await;
        let first = closed(&stage, "2026-12-01T02:00:00Z").await.remove(0);
        void(&stage, &first).await;
        bill_after_all(&stage, &first).await.unwrap();
        assert_eq!(told(&db).await, Vec::<String>::new());
        for (half, left) in [("to_book = 'available'", "(false, 30000)"), ("from_book = 'available'", "(true, 30000)")] {
            let turn = |from: &str, to: &str| {
                let sql = format!("UPDATE credit_entries SET reference = '{to}' WHERE kind = 'adjustment' AND reference = '{from}' AND {half}");
                let write = db.write(Scope::System, move |tx| Box::pin(async move { tx.execute(&sql, &[]).await }));
                async move { assert_eq!(write.await.unwrap(), 1) }
            };
            turn("INV-000001", "by hand").await;
            let seen = told(&db).await;
            let expected = format!("INV-000001: it is void and asks for 30000 that a price list charged, and the ledger took [] and [{left}] for it");
            assert_eq!(seen, [expected]);
            turn("by hand", "INV-000001").await;
        }
        assert_eq!(told(&db).await, Vec::<String>::new());
    }

    async fn invoices_of_an_earlier_tidings_are_recorded_as_they_are_found(db: TestDb) {
        let stage = priced(&db, json!([{"channel": "sms", "included": 1, "overage_micros": 10_000}])).await;
        let record = async || digest::record_earlier(&stage.engine).await.unwrap();
        set_clock(&stage, "2026-11-20T12:00:00Z");
        send(&stage, 2).await;
        let first = closed(&stage, "2026-12-01T02:00:00Z").await.remove(0);
        pay(&stage, &first).await;
        forget(&db).await;
        assert_eq!(told(&db).await, Vec::<String>::new(), "nothing is known of it");
        set_clock(&stage, "2027-01-01T01:45:00Z");
        assert_eq!((record().await, record().await), (1, 0));
        assert_eq!(told(&db).await, Vec::<String>::new());
        // One that still runs beside this one issues another.
        let second = closed(&stage, "2027-01-01T02:00:00Z").await.remove(1);
        forget(&db).await;
        assert_eq!(told(&db).await, Vec::<String>::new(), "its entry is not missed yet");
        set_clock(&stage, "2027-01-01T02:45:00Z");
        assert_eq!((record().await, record().await), (1, 0));
        assert_eq!(told(&db).await, Vec::<String>::new());
        let asked = body::<AuditQuery>(json!({"about": "invoice"}));
        let entries = audit::search(stage.engine.parts(), &operator(), &asked).await.unwrap().data;
        let actions: Vec<_> = entries.iter().rev().map(|entry| entry.action.as_str()).collect();
        assert_eq!(actions, ["invoice.digests_begun", "invoice.recorded", "invoice.recorded", "invoice.digests_complete"]);
        assert_eq!((entries[2].subject.clone(), &entries[2].detail["reference"]), (first.id.to_string(), &json!("bank")));
        assert_eq!(entries[1].subject, second.id.to_string());
        // From then on what is written over them is told, and an invoice nobody tells of.
        pay(&stage, &second).await;
        assert_eq!(told(&db).await, Vec::<String>::new());
        assert_eq!(run(&db, "UPDATE invoices SET payment = 'cash' WHERE number = 'INV-000001'").await, 1);
        let seen = told(&db).await;
        assert!(seen.len() == 1 && seen[0].contains("(cash), taken back never, and the operator's log says paid") && seen[0].contains("(bank)"), "{seen:?}");
        assert_eq!(run(&db, "UPDATE invoices SET payment = 'bank', body = REPLACE(body, '\"note\":null', '\"note\":\"Thanks\"') WHERE number = 'INV-000001'").await, 1);
        let seen = told(&db).await;
        assert!(seen.len() == 1 && seen[0].contains("does not say what it said when it was recorded at 2027-01-01T01:45"), "{seen:?}");
        assert_eq!(run(&db, "DELETE FROM audit_log WHERE action = 'invoice.recorded'").await, 2);
        let seen = told(&db).await;
        assert!(seen.len() == 2 && seen.iter().all(|one| one.contains("no entry of the operator's log says who made it so")), "{seen:?}");
    }
}
