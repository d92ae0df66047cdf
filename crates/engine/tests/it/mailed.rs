//! Invoices by mail on both engines: what became of each is said, what cannot go does not keep others, and what failed goes again where that makes sense.

use engine::{
    invoices::{
        self, InvoiceView, InvoicesQuery, closing,
        mailing::{self, MailState, MailView},
        settings,
    },
    keys::Caller,
    once::Repeat,
};
use serde_json::{Value, json};
use store::Scope;
use testkit::{Stage, TestDb};

use crate::{
    hooks::neighbour,
    plans::{plan, set_clock, subscribe, subscribed},
};

/// A tenant with a plan since November, and the operator's own through which invoices leave.
async fn hosted(db: &TestDb) -> (Stage, Stage) {
    let stage = subscribed(db, "2026-11-01T00:00:00Z", "UTC", json!([])).await;
    let host = neighbour(&stage).await;
    let change = serde_json::from_value(json!({ "mail_tenant_id": host.tenant })).unwrap();
    settings::patch(stage.engine.parts(), &Caller::system(None), change).await.unwrap();
    (stage, host)
}

async fn address(stage: &Stage, email: &str) {
    subscribe(stage, json!({"customer": {"email": email}})).await;
}

async fn close(stage: &Stage) {
    set_clock(stage, "2026-12-01T02:00:00Z");
    while closing::run(&stage.engine).await.unwrap() > 0 {}
}

async fn run(stage: &Stage) -> u64 {
    mailing::run(&stage.engine).await.unwrap()
}

/// Lets some time pass, and looks.
async fn later(stage: &Stage, seconds: u64) -> u64 {
    stage.world.clock.advance_ms(seconds * 1_000);
    run(stage).await
}

async fn invoice(stage: &Stage, caller: &Caller) -> InvoiceView {
    invoices::list(&stage.engine, caller, &InvoicesQuery::default()).await.unwrap().data.remove(0)
}

async fn mail(stage: &Stage) -> MailView {
    invoice(stage, &stage.caller).await.mail.unwrap()
}

/// To whom the operator's tenant wrote, oldest first.
async fn written_to(host: &Stage) -> Vec<String> {
    let tenant = host.tenant;
    let read = host.world.ports.db.read(Scope::System, move |tx| {
        Box::pin(async move {
            let rows = tx.rows("SELECT address FROM messages WHERE tenant_id = $1 ORDER BY id", &[&tenant]).await?;
            rows.into_iter().map(|mut row| row.get(0)).collect::<Result<Vec<String>, store::Error>>()
        })
    });
    read.await.unwrap()
}

async fn unmailed(stage: &Stage) -> usize {
    let db = &stage.world.ports.db;
    let read = db.read(Scope::System, |tx| Box::pin(async move { store::alert_facts::unmailed(tx, 9).await }));
    read.await.unwrap().len()
}

testkit::both! {
    async fn an_invoice_says_that_its_mail_arrived(db: TestDb) {
        let (stage, host) = hosted(&db).await;
        host.account("sandbox", json!({}), None).await;
        address(&stage, "ada@acme.example").await;
        close(&stage).await;
        let before = invoice(&stage, &stage.caller).await;
        assert_eq!((before.mail.unwrap().state, before.mailed_at), (MailState::Waiting, None));
        assert_eq!((run(&stage).await, run(&stage).await), (1, 0));
        assert_eq!(mail(&stage).await.state, MailState::Accepted);
        host.dispatch().await;
        host.pass(30_000).await;
        assert_eq!(later(&stage, 60).await, 0);
        let after = invoice(&stage, &stage.caller).await;
        let mail = after.mail.unwrap();
        assert_eq!((mail.state, mail.failure, after.mailed_at), (MailState::Delivered, None, Some("2026-12-01T02:00:00Z".parse().unwrap())));
        assert_eq!((written_to(&host).await, unmailed(&stage).await), (vec!["ada@acme.example".to_owned()], 0));
    }

    async fn a_mail_that_comes_back_is_said_and_goes_again_to_another_address(db: TestDb) {
        let (stage, host) = hosted(&db).await;
        host.account("sandbox", json!({}), None).await;
        address(&stage, "bounce@acme.example").await;
        close(&stage).await;
        assert_eq!(run(&stage).await, 1);
        host.dispatch().await;
        host.pass(30_000).await;
        later(&stage, 60).await;
        let failed = mail(&stage).await;
        assert_eq!((failed.state, failed.failure.unwrap().code.as_str(), failed.next_try_at), (MailState::Failed, "5.1.1", None));
        assert_eq!(unmailed(&stage).await, 1);
        // The tenant sees that it did not arrive, and not what the operator's accounts say.
        let tenant = Caller { is_operator: false, ..stage.caller.clone() };
        let seen = invoice(&stage, &tenant).await.mail.unwrap();
        assert_eq!((seen.state, seen.failure, seen.message_id), (MailState::Failed, None, None));
        assert_eq!(later(&stage, 86_400).await, 0, "a mailbox that is not there is not there tomorrow");
        address(&stage, "ada@acme.example").await;
        assert_eq!(run(&stage).await, 1);
        host.dispatch().await;
        host.pass(30_000).await;
        later(&stage, 60).await;
        assert_eq!((mail(&stage).await.state, unmailed(&stage).await), (MailState::Delivered, 0));
        assert_eq!(written_to(&host).await, ["bounce@acme.example", "ada@acme.example"]);
    }

    async fn a_mail_that_is_refused_was_not_mailed_and_is_tried_again(db: TestDb) {
        let (stage, host) = hosted(&db).await;
        address(&stage, "ada@acme.example").await;
        close(&stage).await;
        assert_eq!(run(&stage).await, 0);
        let seen = invoice(&stage, &stage.caller).await;
        let mail = seen.mail.unwrap();
        assert_eq!((mail.state, seen.mailed_at, mail.failure.unwrap().code.as_str()), (MailState::Failed, None, "mail_tenant_missing"));
        assert_eq!(mail.next_try_at, Some("2026-12-01T03:00:00Z".parse().unwrap()));
        host.account("sandbox", json!({}), None).await;
        assert_eq!((later(&stage, 3_599).await, later(&stage, 1).await), (0, 1));
        assert_eq!(written_to(&host).await.len(), 1);
        assert_eq!(invoice(&stage, &stage.caller).await.mailed_at, Some("2026-12-01T03:00:00Z".parse().unwrap()));
    }

    async fn the_last_invoice_of_a_deleted_tenant_reaches_it(db: TestDb) {
        let (stage, host) = hosted(&db).await;
        host.account("sandbox", json!({}), None).await;
        address(&stage, "ada@acme.example").await;
        set_clock(&stage, "2026-11-16T00:00:00Z");
        crate::bills::delete(&stage).await;
        assert_eq!((run(&stage).await, written_to(&host).await), (1, vec!["ada@acme.example".to_owned()]));
        let seen = invoice(&host, &Caller::system(None)).await;
        assert_eq!((seen.tenant_id, seen.total.amount_micros, seen.mail.unwrap().state), (stage.tenant, 15_000_000, MailState::Accepted));
    }

    async fn what_nobody_tried_for_days_is_for_somebody_to_look_at(db: TestDb) {
        let (stage, host) = hosted(&db).await;
        address(&stage, "ada@acme.example").await;
        close(&stage).await;
        host.account("sandbox", json!({}), None).await;
        assert_eq!(later(&stage, 3 * 86_400 + 1).await, 0);
        let failed = mail(&stage).await;
        assert_eq!((failed.failure.unwrap().code.as_str(), failed.next_try_at), ("mail_too_late", None));
        let id = invoice(&stage, &stage.caller).await.id;
        let sent = mailing::send(&stage.engine, &Caller::system(None), &Repeat::NONE, id).await.unwrap();
        let sent: Value = serde_json::from_slice(&sent.body).unwrap();
        assert_eq!((&sent["mail"]["state"], written_to(&host).await.len()), (&json!("accepted"), 1));
    }

    async fn customers_without_an_address_do_not_keep_others_and_get_theirs_when_there_is_one(db: TestDb) {
        let (first, host) = hosted(&db).await;
        host.account("sandbox", json!({}), None).await;
        let studio = plan(&first, json!([])).await;
        let mut last = None;
        for _ in 0..52 {
            let other = neighbour(&first).await;
            subscribe(&other, json!({ "plan_id": studio })).await;
            last = Some(other);
        }
        let last = last.unwrap();
        address(&last, "ada@acme.example").await;
        close(&first).await;
        assert_eq!(run(&first).await + run(&first).await, 1);
        assert_eq!((run(&first).await, written_to(&host).await), (0, vec!["ada@acme.example".to_owned()]));
        let waits = mail(&first).await;
        assert_eq!((waits.state, waits.failure.unwrap().code.as_str()), (MailState::Waiting, "invoice_without_recipient"));
        assert_eq!(unmailed(&first).await, 0, "whoever gives no address wants no mail");
        set_clock(&first, "2026-12-20T00:00:00Z");
        address(&first, "bea@acme.example").await;
        assert_eq!((run(&first).await, run(&first).await), (1, 0));
        assert_eq!((mail(&first).await.state, written_to(&host).await[1].as_str()), (MailState::Accepted, "bea@acme.example"));
    }
}
