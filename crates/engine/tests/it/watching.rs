//! What people's first pages and the operator's are made from.

use engine::keys::Caller;
use model::{Channel, Status, Timestamp};
use serde_json::json;
use testkit::{Stage, both};

both! {
    async fn an_overview_counts_the_tenants_messages_since_an_instant(db: TestDb) {
        let stage = Stage::new(&db).await;
        stage.account("sandbox", json!({}), None).await;
        let mail = json!({"to": {"email": "ada@example.com"}, "content": {"subject": "x", "text": "x"}});
        stage.send(mail.clone()).await;
        stage.pass(60_000).await;
        let since = stage.engine.ports.clock.now();
        stage.send(mail).await;
        stage.send(json!({"to": {"phone": "+12025550123"}, "channel": "sms", "content": {"text": "x"}})).await;
        let all = stage.engine.overview(&stage.caller, Timestamp::EPOCH).await.unwrap();
        assert_eq!((all.messages.len(), all.is_cut, all.since), (3, false, Timestamp::EPOCH));
        assert_eq!((all.messages[2].1, all.messages[2].2), (Channel::Email, Status::Read), "newest first, as they are now");
        let late = stage.engine.overview(&stage.caller, since).await.unwrap();
        assert_eq!(late.messages.iter().map(|(_, channel, _)| *channel).collect::<Vec<_>>(), [Channel::Sms, Channel::Email]);
    }

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

    async fn a_tenant_cannot_watch_the_installation(db: TestDb) {
        let stage = Stage::new(&db).await;
        let tenant = Caller { is_operator: false, ..stage.caller.clone() };
        assert_eq!(stage.engine.troubled_accounts(&tenant).await.unwrap_err().code, "operator_only");
        assert_eq!(stage.engine.waiting_accounts(&tenant).await.unwrap_err().code, "operator_only");
        assert_eq!(stage.engine.system(&tenant).await.unwrap_err().code, "operator_only");
    }
}
