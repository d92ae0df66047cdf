//! Demo tenants: full of life, closed to the outside, and gone without a trace.

use engine::{
    accounts, audit, demo, endpoints,
    inbound::InboundQuery,
    invoices::{self, InvoicesQuery},
    once::Repeat,
    plans::subscription,
    tenants,
};
use model::TenantId;
use serde_json::{Value, json};
use store::Scope;
use testkit::{Stage, TestDb};

use crate::setting::{body, code, json, operator, pointers};

/// How long a demo tenant lives.
const WEEK_MS: u64 = 7 * 86_400_000;

/// A stage on which a demo tenant was made; its caller may do everything in it.
async fn demo_stage(db: &TestDb) -> Stage {
    let mut stage = Stage::new(db).await;
    begin(&mut stage).await;
    stage
}

/// Makes a demo tenant and goes there.
async fn begin(stage: &mut Stage) -> TenantId {
    let made = demo::create(&stage.engine, &operator(), &Repeat::NONE, body(json!({"name": "Demo for Globex"}))).await;
    let made = json(&made.unwrap());
    assert!(made["link"].as_str().unwrap().starts_with("https://tidings.example/console/enter/"), "{made}");
    stage.tenant = made["id"].as_str().unwrap().parse().unwrap();
    stage.caller = engine::keys::Caller::system(Some(stage.tenant));
    stage.tenant
}

/// How many rows a tenant has in each table that holds any.
async fn rows(stage: &Stage, tenant: TenantId) -> Vec<(&'static str, i64)> {
    let read = stage.world.ports.db.read(Scope::System, move |tx| {
        Box::pin(async move {
            let mut found = Vec::new();
            for table in store::tenant_tables() {
                let count = store::tenant_rows::count(tx, tenant, table).await?;
                if count > 0 {
                    found.push((table, count));
                }
            }
            Ok::<_, store::Error>(found)
        })
    });
    read.await.unwrap()
}

async fn number(stage: &Stage, sql: &str) -> i64 {
    let (tenant, sql) = (stage.tenant, sql.to_owned());
    let read = stage.world.ports.db.read(Scope::System, move |tx| {
        Box::pin(async move { tx.row(&sql, &[&tenant]).await?.map_or(Ok(0), |mut row| row.get::<i64>(0)) })
    });
    read.await.unwrap()
}

/// Lets the job that removes tenants do all it has to.
async fn remove_all(stage: &Stage) {
    for _ in 0..100 {
        if tenants::removal::run(&stage.engine).await.unwrap() == 0 {
            return;
        }
    }
    panic!("removing a tenant does not end");
}

testkit::both! {
    async fn a_demo_tenant_is_full_and_its_usage_equals_a_recount(db: TestDb) {
        let stage = demo_stage(&db).await;
        let shown = demo::get(stage.engine.parts(), &operator(), stage.tenant).await.unwrap();
        assert!(shown.is_filled && shown.link.is_none());
        assert_eq!(shown.ends_at.millis_since(shown.created_at), WEEK_MS as i64);
        stage.pass(30_000).await;

        assert_eq!(number(&stage, "SELECT COUNT(*) FROM contacts WHERE tenant_id = $1").await, 120);
        assert_eq!(number(&stage, "SELECT COUNT(*) FROM campaigns WHERE tenant_id = $1 AND state = 'sent' AND ended_at IS NOT NULL").await, 1);
        let campaigns = engine::campaigns::list(&stage.engine, &stage.caller, None, None).await.unwrap().data;
        assert_eq!(campaigns.len(), 2);
        let ended = engine::campaigns::stats(&stage.engine, &stage.caller, campaigns[1].id).await.unwrap();
        assert!(serde_json::to_string(&ended).unwrap().contains("96"), "{}", serde_json::to_string(&ended).unwrap());
        assert!(number(&stage, "SELECT COUNT(*) FROM inbound_messages WHERE tenant_id = $1").await >= 50);
        let replies = stage.engine.inbound_messages(&stage.caller, &InboundQuery::default()).await.unwrap();
        assert!(serde_json::from_slice::<Value>(&replies).unwrap()["data"][0]["text"].as_str().unwrap().len() > 5);

        // Sixty days back there is something, and every month adds up.
        let oldest = number(&stage, "SELECT COUNT(*) FROM messages WHERE tenant_id = $1").await;
        assert!(oldest > 700, "{oldest}");
        let accepted = number(&stage, "SELECT CAST(SUM(accepted) AS BIGINT) FROM usage_counters WHERE tenant_id = $1").await;
        let messages = number(&stage, "SELECT COUNT(*) FROM messages WHERE tenant_id = $1 AND connector <> 'webhook'").await;
        assert_eq!(accepted, messages);
        let counted = number(&stage, "SELECT CAST(SUM(delivered) AS BIGINT) FROM usage_counters WHERE tenant_id = $1").await;
        assert_eq!(counted, number(&stage, "SELECT COUNT(*) FROM messages WHERE tenant_id = $1 AND delivered_at IS NOT NULL").await);
        let codes = [model::Status::Failed.code(), model::Status::Bounced.code()].map(|code| code.to_string()).join(", ");
        let came_back = format!("SELECT COUNT(*) FROM messages WHERE tenant_id = $1 AND status IN ({codes})");
        let counted = number(&stage, "SELECT CAST(SUM(failed + bounced) AS BIGINT) FROM usage_counters WHERE tenant_id = $1").await;
        assert_eq!(counted, number(&stage, &came_back).await);
        assert!(counted > 10);

        // Its people do something about what they read.
        let written = |text: &str| format!("SELECT COUNT(*) FROM inbound_messages WHERE tenant_id = $1 AND provider_message_id LIKE '{text}%'");
        for _ in 0..40 {
            demo::react(&stage.engine).await.unwrap();
            stage.pass(4_000).await;
        }
        demo::react(&stage.engine).await.unwrap();
        let answers = number(&stage, &written("sbx_re_")).await;
        assert!(answers > 0, "nobody answered");
        assert!(number(&stage, "SELECT COUNT(*) FROM suppressions WHERE tenant_id = $1").await > 0, "everybody could be reached");
        demo::react(&stage.engine).await.unwrap();
        assert_eq!(number(&stage, &written("sbx_re_")).await, answers, "everybody answers once");

        // It has a plan that counts, and the invoice of last month, of which no real series knows.
        let (parts, all) = (stage.engine.parts(), InvoicesQuery::default());
        let subscription = subscription::get(parts, &stage.caller).await.unwrap();
        let email = subscription.quotas.iter().find(|quota| quota.channel == model::Channel::Email).unwrap();
        assert!(email.used > 0 && subscription.next_invoice_at.is_none(), "{subscription:?}");
        let bill = invoices::list(&stage.engine, &stage.caller, &all).await.unwrap().data.pop().unwrap();
        assert!(bill.number.as_ref().unwrap().starts_with("DEMO-") && bill.ends_at <= bill.issued_at.unwrap(), "{bill:?}");
        assert!(bill.lines.len() > 1 && bill.total.amount_micros >= 49_000_000, "{bill:?}");
        assert!(invoices::printing::document(&stage.engine, &stage.caller, bill.id).await.unwrap().1.starts_with(b"%PDF-"));
        let payment = body(json!({"reference": "transfer"}));
        assert_eq!(code(invoices::pay(&stage.engine, &operator(), &Repeat::NONE, bill.id, payment).await), "demo_tenant");
        let staff = engine::keys::Caller { tenant: Some(stage.tenant), ..operator() };
        let change = body(json!({"canceled_at": null}));
        assert_eq!(code(subscription::patch(&stage.engine, &staff, change).await), "demo_tenant");
        assert_eq!(engine::books::verify(&stage.world.ports.db).await.unwrap().differences.len(), 0, "{:?}", engine::books::verify(&stage.world.ports.db).await.unwrap().differences);

        // Filling again changes nothing.
        let before = rows(&stage, stage.tenant).await;
        assert_eq!(demo::fill(&stage.engine, stage.tenant).await.unwrap(), 0);
        assert_eq!(rows(&stage, stage.tenant).await, before);
    }

    async fn nothing_leaves_a_demo_tenant(db: TestDb) {
        let stage = demo_stage(&db).await;
        let twilio = json!({"name": "Real", "connector": "twilio", "settings": {"account_sid": "AC00000000000000000000000000000000", "auth_token": "x"}, "from": "+15550100001"});
        let refused = accounts::create(stage.engine.parts(), &stage.caller, &Repeat::NONE, body(twilio)).await;
        assert_eq!(pointers(refused), ["/connector"]);
        // Somebody turns the account into a real one behind our back: it still plays.
        let (tenant, db_) = (stage.tenant, stage.world.ports.db.clone());
        let tamper = db_.write(Scope::System, move |tx| {
            Box::pin(async move {
                store::tenants::bump(tx, Some(tenant)).await?;
                tx.execute("UPDATE accounts SET connector = 'resend' WHERE tenant_id = $1", &[&tenant]).await
            })
        });
        tamper.await.unwrap();
        stage.engine.directory.refresh().await.unwrap();
        let endpoint = json!({"url": "https://hooks.example/in"});
        endpoints::create(&stage.engine, &stage.caller, &Repeat::NONE, body(endpoint)).await.unwrap();
        let sent = stage.send(json!({"to": {"email": "ada@example.com"}, "content": {"subject": "Hi", "text": "Hello"}})).await;
        let by_url = json!({"to": {"email": "ada@example.com"}, "content": {"subject": "Hi", "text": "Hello"}, "attachments": [{"url": "https://files.example/a.pdf"}]});
        assert_eq!(stage.try_send(by_url, None).await.unwrap_err().errors[0].pointer, "/attachments/0/url");
        stage.pass(15_000).await;
        assert_eq!(stage.status(sent).await, "read");
        let delivered = number(&stage, "SELECT COUNT(*) FROM messages WHERE tenant_id = $1 AND connector = 'webhook' AND delivered_at IS NOT NULL").await;
        assert!(delivered > 0);
        let member = json!({"email": "somebody@example.com", "role": "member"});
        let invited = engine::access::users::invite(&stage.engine, &stage.caller, &Repeat::NONE, body(member)).await.unwrap();
        assert!(json(&invited)["link"].is_string());
        let left: Vec<_> = stage.world.transport.calls().into_iter().filter(|call| !matches!(**call, model::Call::Local)).collect();
        assert!(left.is_empty(), "{left:?}");
    }

    async fn after_a_week_no_row_is_left(db: TestDb) {
        let mut stage = Stage::new(&db).await;
        let other = stage.tenant;
        stage.account("sandbox", json!({}), None).await;
        let kept = stage.send(json!({"to": {"email": "ada@example.com"}, "content": {"subject": "Hi", "text": "Hello"}})).await;
        let gone = begin(&mut stage).await;
        let owner = demo::get(stage.engine.parts(), &operator(), gone).await.unwrap().owner_id;
        stage.pass(20_000).await;
        let file = json!({"to": {"email": "ada@example.com"}, "content": {"subject": "Hi", "text": "Hello"},
            "attachments": [{"filename": "a.txt", "content_type": "text/plain", "content_base64": "aGVsbG8="}]});
        stage.send(file).await;
        stage.pass(15_000).await;
        assert!(rows(&stage, gone).await.len() > 15);
        let before = rows(&stage, other).await;

        stage.world.clock.advance_ms(WEEK_MS - 60_000);
        remove_all(&stage).await;
        assert!(demo::get(stage.engine.parts(), &operator(), gone).await.is_ok(), "its week is not over");
        stage.world.clock.advance_ms(60_000);
        remove_all(&stage).await;
        assert_eq!(code(demo::get(stage.engine.parts(), &operator(), gone).await), "not_found");
        assert!(!rows(&stage, gone).await.is_empty(), "what was under way may still end");
        // Its campaign goes nowhere, and holds nobody else's up.
        assert!(number(&stage, "SELECT COUNT(*) FROM campaigns WHERE tenant_id = $1 AND next_at IS NOT NULL").await > 0);
        engine::campaigns::work::run(&stage.engine).await.unwrap();
        stage.world.clock.advance_ms(200_000);
        remove_all(&stage).await;

        assert_eq!(rows(&stage, gone).await, []);
        assert_eq!(number(&stage, "SELECT COUNT(*) FROM tenants WHERE id = $1").await, 0);
        let users = stage.world.ports.db.read(Scope::System, move |tx| Box::pin(store::users::find(tx, owner)));
        assert_eq!(users.await.unwrap(), None);
        let told = audit::list(stage.engine.parts(), &operator(), None, None).await.unwrap().data;
        let actions: Vec<_> = told.iter().filter(|entry| entry.subject == gone.to_string()).map(|entry| entry.action.as_str()).collect();
        assert_eq!(actions, ["tenant.removed", "tenant.deleted", "tenant.created"]);
        assert_eq!(rows(&stage, other).await, before);
        stage.tenant = other;
        assert_eq!(stage.message(kept).await.id, kept);
    }

    async fn an_ordinary_tenant_goes_the_same_way(db: TestDb) {
        let stage = Stage::new(&db).await;
        stage.account("sandbox", json!({}), None).await;
        stage.send(json!({"to": {"email": "ada@example.com"}, "content": {"subject": "Hi", "text": "Hello"}})).await;
        assert_eq!(code(demo::delete(stage.engine.parts(), &operator(), stage.tenant).await), "not_found");
        tenants::delete(stage.engine.parts(), &operator(), stage.tenant).await.unwrap();
        stage.world.clock.advance_ms(200_000);
        remove_all(&stage).await;
        assert_eq!(rows(&stage, stage.tenant).await, []);
    }

    async fn every_table_with_a_tenant_is_among_those_that_are_emptied(db: TestDb) {
        let sql = match db.dialect() {
            store::Dialect::Sqlite => "SELECT m.name FROM sqlite_schema m JOIN pragma_table_info(m.name) c WHERE m.type = 'table' AND c.name = 'tenant_id' ORDER BY 1",
            store::Dialect::Postgres => "SELECT table_name::TEXT FROM information_schema.columns WHERE table_schema = current_schema() AND column_name = 'tenant_id' ORDER BY 1",
        };
        let found = crate::setting::column(&db, sql).await;
        let mut known: Vec<_> = store::tenant_tables().collect();
        known.sort_unstable();
        assert_eq!(found.lines().collect::<Vec<_>>(), known);
    }
}
