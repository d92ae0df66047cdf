//! What the operator's pages are made from.

use engine::keys::Caller;
use serde_json::json;
use testkit::{Stage, both};

both! {
    async fn the_operator_sees_whose_accounts_are_in_trouble_and_what_waits(db: TestDb) {
        let stage = Stage::new(&db).await;
        let account = stage.account("sandbox", json!({}), None).await;
        let operator = Caller::system(None);
        assert!(stage.engine.troubled_accounts(&operator).await.unwrap().is_empty());
        // The sandbox's number for an account that is suspended.
        stage.send(json!({"to": {"phone": "+15005550007"}, "channel": "sms", "content": {"text": "x"}})).await;
        stage.dispatch().await;
        let troubled = stage.engine.troubled_accounts(&operator).await.unwrap();
        assert_eq!(troubled.len(), 1);
        assert_eq!((troubled[0].account_id, troubled[0].tenant.as_str(), troubled[0].connector.as_str()), (account, "Acme", "sandbox"));
        assert_eq!(troubled[0].pause.as_ref().unwrap().code, "account_suspended");
        let waiting = stage.engine.waiting_accounts(&operator).await.unwrap();
        assert_eq!(waiting.iter().map(|lane| (lane.account_id, lane.waiting, lane.in_flight)).collect::<Vec<_>>(), [(account, 1, 0)]);
        let system = stage.engine.system(&operator).await.unwrap();
        assert_eq!((system.schema, system.schema_newest), (store::NEWEST, store::NEWEST));
        assert!(system.jobs.iter().any(|(name, _)| *name == "recover"));
    }

    async fn the_operator_sees_whose_messages_gave_up(db: TestDb) {
        let stage = Stage::new(&db).await;
        stage.account("sandbox", json!({}), None).await;
        let operator = Caller::system(None);
        assert!(stage.engine.dead_letters_by_tenant(&operator).await.unwrap().is_empty());
        // The sandbox's number for an outage.
        stage.send(json!({"to": {"phone": "+15005550006"}, "channel": "sms", "content": {"text": "x"}})).await;
        stage.pass(120_000).await;
        let dead = stage.engine.dead_letters_by_tenant(&operator).await.unwrap();
        assert_eq!(dead.iter().map(|one| (one.tenant_id, one.tenant.as_str(), one.count)).collect::<Vec<_>>(), [(stage.tenant, "Acme", 1)]);
        assert!(dead[0].newest_at.is_some());
    }

    async fn a_tenant_cannot_watch_the_installation(db: TestDb) {
        let stage = Stage::new(&db).await;
        let tenant = Caller { is_operator: false, ..stage.caller.clone() };
        assert_eq!(stage.engine.troubled_accounts(&tenant).await.unwrap_err().code, "operator_only");
        assert_eq!(stage.engine.waiting_accounts(&tenant).await.unwrap_err().code, "operator_only");
        assert_eq!(stage.engine.dead_letters_by_tenant(&tenant).await.unwrap_err().code, "operator_only");
        assert_eq!(stage.engine.system(&tenant).await.unwrap_err().code, "operator_only");
    }
}
