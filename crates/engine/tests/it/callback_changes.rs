//! What the callback log says a request changed, and what it keeps to itself, on both engines.

use engine::{accounts, keys::Caller};
use serde_json::{Value, json};
use testkit::Stage;
use tidings_engine::callbacks::OwnedRequest;

use crate::hooks::{SID, TOKEN, call, log, report, signed_with, sms, taken, twilio};

/// What the newest request told.
async fn told(stage: &Stage) -> Value {
    log(stage).await.remove(0)["told"].take()
}

testkit::both! {
    async fn the_log_says_what_a_report_changed_and_why_nothing(db: TestDb) {
        let (stage, account) = twilio(&db, |_| taken()).await;
        let id = stage.send(sms()).await;
        stage.dispatch().await;
        call(&stage, account, report(account, Some(id), SID, "delivered")).await.unwrap();
        let changed = json!([{"what": "status", "from": "sent", "to": "delivered"}]);
        assert_eq!(told(&stage).await, json!([{"fact": "delivered", "message_id": id, "inbound_message_id": null, "changed": changed}]));
        // The same in another request, and what came too late, change nothing.
        for status in ["delivered", "sent"] {
            let again = signed_with(TOKEN, account, "", &[("MessageSid", SID), ("MessageStatus", status), ("Again", "1")]);
            call(&stage, account, again).await.unwrap();
            assert_eq!(told(&stage).await, json!([{"fact": status, "message_id": id, "inbound_message_id": null, "unchanged": "known_already"}]));
        }
        call(&stage, account, report(account, None, "SMffffffffffffffffffffffffffffffff", "delivered")).await.unwrap();
        assert_eq!(told(&stage).await[0]["unchanged"], "unknown_message");
        call(&stage, account, signed_with("another", account, "", &[("MessageSid", SID), ("MessageStatus", "failed")])).await.unwrap_err();
        let refused = log(&stage).await.remove(0);
        assert_eq!((&refused["verdict"], &refused["told"]), (&json!("invalid"), &json!([])));
    }

    async fn the_log_says_what_a_failure_means_for_the_address(db: TestDb) {
        let (stage, account) = twilio(&db, |_| taken()).await;
        let id = stage.send(sms()).await;
        stage.dispatch().await;
        let stopped = [("MessageSid", SID), ("MessageStatus", "failed"), ("ErrorCode", "21610")];
        call(&stage, account, signed_with(TOKEN, account, "", &stopped)).await.unwrap();
        let seen = told(&stage).await;
        let changed = json!([{"what": "status", "from": "sent", "to": stage.status(id).await}, {"what": "suppression", "to": "opted_out"}]);
        assert_eq!(seen[0]["changed"], changed, "{seen}");
    }

    async fn the_log_says_what_people_wrote_and_what_it_meant(db: TestDb) {
        let (stage, account) = twilio(&db, |_| taken()).await;
        let written = |n: &str, body: &str| {
            let id = format!("SM1111111111111111111111111111111{n}");
            signed_with(TOKEN, account, "", &[("MessageSid", &id), ("SmsStatus", "received"), ("From", "+15550109999"), ("To", "+15550100001"), ("Body", body)])
        };
        call(&stage, account, written("1", "Hello")).await.unwrap();
        let seen = told(&stage).await;
        assert_eq!((&seen[0]["fact"], &seen[0]["changed"]), (&json!("received"), &json!([{"what": "inbound_message", "to": "stored"}])));
        assert!(seen[0]["inbound_message_id"].is_string());
        call(&stage, account, written("1", "Hello once more")).await.unwrap();
        assert_eq!((&told(&stage).await[0]["unchanged"], &told(&stage).await[0]["inbound_message_id"]), (&json!("known_already"), &Value::Null));
        call(&stage, account, written("2", "STOP")).await.unwrap();
        let seen = told(&stage).await;
        assert!(seen[0]["changed"].as_array().unwrap().iter().any(|change| change["what"] == "contact"), "{seen}");
    }

    async fn who_may_only_read_sees_no_secret_of_an_address(db: TestDb) {
        let stage = Stage::new(&db).await;
        let settings = json!({"api_key": "public-key", "secret_key": "the-secret-key"});
        let account = stage.account("mailjet", settings, Some("tickets@acme.example")).await;
        let (parts, writer) = (stage.engine.parts(), &stage.caller);
        let reader = Caller { is_operator: false, scopes: engine::keys::Scopes::from_stored("accounts:read callbacks:read"), ..writer.clone() };
        let whole = accounts::get(parts, writer, account).await.unwrap().callback_url.unwrap();
        let secret = whole.rsplit('/').next().unwrap().to_owned();
        assert!(secret.len() >= 32, "{whole}");

        let hidden = format!("https://tidings.example/hooks/{account}/••••");
        let view = accounts::get(parts, &reader, account).await.unwrap();
        assert_eq!((view.callback_url.as_deref(), view.mail_url.as_deref()), (Some(&*hidden), Some(&*hidden)));
        let list = accounts::list(parts, &reader, None, None).await.unwrap();
        assert!(!serde_json::to_string(&list).unwrap().contains(&secret));
        let callbacks = accounts::callbacks(parts, &reader, account).await.unwrap();
        assert!(!serde_json::to_string(&callbacks).unwrap().contains(&secret), "{callbacks:?}");
        let callbacks = accounts::callbacks(parts, writer, account).await.unwrap();
        assert_eq!(callbacks.url.as_deref(), Some(&*whole));

        // It is still what shows that a request is the provider's, and the log does not tell it.
        let event = json!([{"event": "open", "time": 1, "MessageID": 1, "CustomID": ""}]).to_string();
        let request = |path: &str| OwnedRequest { method: "POST".to_owned(), path: path.to_owned(), headers: vec![("content-type".to_owned(), "application/json".to_owned())], body: event.clone().into(), ..OwnedRequest::default() };
        assert_eq!(call(&stage, account, request("/guessed")).await.unwrap_err().code, "callback_not_verified");
        assert_eq!(call(&stage, account, request(&format!("/{secret}"))).await, Ok(200));
        let kept = log(&stage).await;
        assert_eq!((&kept[0]["verdict"], &kept[0]["path"], &kept[1]["path"]), (&json!("valid"), &json!("/••••"), &json!("/guessed")));
        assert!(!crate::setting::column(&db, "SELECT path || headers || query FROM callback_log").await.contains(&secret));
        // What was kept before addresses were taken out is shown without them, too.
        let path = format!("/{secret}");
        let write = stage.world.ports.db.write(store::Scope::System, move |tx| Box::pin(async move { tx.execute("UPDATE callback_log SET path = $1", &[&path]).await }));
        write.await.unwrap();
        assert!(log(&stage).await.iter().all(|row| row["path"] == "/••••"));
    }
}
