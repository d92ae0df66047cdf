//! How long things are kept: nothing older is left, nothing younger is touched, and every figure is as before.

use engine::{
    contacts,
    once::Repeat,
    retention::{self, RetentionView},
};
use serde_json::{Value, json};
use testkit::Stage;

use crate::setting::{body, column, json as read};

const DAY_MS: u64 = 86_400_000;

async fn set(stage: &Stage, settings: Value) -> Result<RetentionView, engine::Error> {
    retention::patch(&stage.engine, &stage.caller, settings.to_string().as_bytes()).await
}

/// Lets the job run until it has nothing to do.
async fn take_away(stage: &Stage) {
    while retention::run(&stage.engine).await.unwrap() > 0 {}
}

fn done(view: &RetentionView, kind: &str) -> u64 {
    view.done.iter().find(|done| done.kind == kind).map_or(0, |done| done.rows)
}

/// What was sent in each month over each channel, a line each.
async fn usage(db: &testkit::TestDb) -> Vec<String> {
    let sql = "SELECT month || ' ' || channel || ' ' || accepted || ' ' || sent || ' ' || delivered || ' ' || segments FROM usage_counters ORDER BY 1";
    column(db, sql).await.lines().map(str::to_owned).collect()
}

testkit::both! {
    async fn nothing_older_is_left_and_every_figure_is_as_before(db: TestDb) {
        let stage = Stage::new(&db).await;
        stage.account("sandbox", json!({}), None).await;
        let old = json!({"to": {"phone": "+12025550142"}, "channel": "sms", "content": {"text": "old {{ n }}"}, "variables": {"n": "secret"}, "metadata": {"k": "mine"}});
        let mut ids = Vec::new();
        for _ in 0..3 {
            ids.push(stage.send(old.clone()).await);
        }
        // Still to be sent when its time is over.
        let later = stage.world.ports.clock.now().plus_seconds(200 * 86_400);
        let waiting = stage.send(json!({"to": {"email": "eve@example.com"}, "send_at": later, "content": {"subject": "later", "text": "old too"}})).await;
        stage.pass(12_000).await;
        let before = usage(&db).await;
        stage.world.clock.advance_ms(100 * DAY_MS);
        let young = stage.send(json!({"to": {"email": "bob@example.com"}, "content": {"subject": "young", "text": "young"}})).await;
        stage.pass(12_000).await;

        let view = set(&stage, json!({"message_content_days": 30, "message_addresses_days": 90, "exchanges_days": 60, "callbacks_days": 1, "events_days": 1})).await.unwrap();
        assert_eq!(view.next_at, view.updated_at);
        take_away(&stage).await;
        let view = retention::get(&stage.engine, &stage.caller).await.unwrap();
        assert_eq!((done(&view, "message_content"), done(&view, "message_addresses"), done(&view, "exchanges")), (3, 3, 3));
        assert!(done(&view, "events") > 3 && view.next_at > view.updated_at);
        for id in &ids {
            let m = stage.message(*id).await;
            assert_eq!((m.address.as_str(), m.variables, m.metadata, m.delivered_at.is_some()), ("erased:US", None, None, true));
        }
        let texts = "SELECT COUNT(*) || ' ' || SUM(CASE WHEN body LIKE '%old {{%' THEN 1 ELSE 0 END) FROM contents";
        assert_eq!(column(&db, texts).await.split(' ').next_back(), Some("0"));
        let words = "SELECT CAST(COUNT(*) AS TEXT) FROM observations AS o JOIN messages AS m ON m.tenant_id = o.tenant_id AND m.id = o.message_id WHERE m.address = 'erased:US' AND o.detail IS NOT NULL";
        assert_eq!(column(&db, words).await, "0");
        assert_eq!(stage.message(young).await.address, "bob@example.com");
        // What is to be sent yet says what it should, and goes; then it is emptied with the next look.
        assert_eq!(stage.message(waiting).await.address, "eve@example.com");
        let after = usage(&db).await;
        assert!(before.iter().all(|line| after.contains(line)), "{before:?} {after:?}");
        assert_eq!(stage.engine.recount(stage.tenant).await.unwrap(), 0);
        stage.world.clock.advance_ms(101 * DAY_MS);
        stage.pass(12_000).await;
        assert_eq!(stage.status(waiting).await, "read");
        take_away(&stage).await;
        let view = retention::get(&stage.engine, &stage.caller).await.unwrap();
        assert_eq!((done(&view, "message_content"), stage.message(waiting).await.address.as_str()), (5, "erased"));
        assert_eq!(column(&db, "SELECT CAST(COUNT(*) AS TEXT) FROM retention_left").await, "0");
        assert_eq!(stage.engine.recount(stage.tenant).await.unwrap(), 0);
    }

    async fn a_restart_goes_on_and_two_processes_do_nothing_twice(db: TestDb) {
        let mut stage = Stage::new(&db).await;
        stage.account("sandbox", json!({}), None).await;
        let one = json!({"to": {"email": "ada@example.com"}, "content": {"subject": "Hi", "text": "Hello"}});
        let batch = json!({ "messages": vec![one; 450] }).to_string();
        stage.engine.send_batch(&stage.caller, batch.as_bytes(), None).await.unwrap();
        stage.pass(12_000).await;
        stage.world.clock.advance_ms(3 * DAY_MS);
        set(&stage, json!({"message_content_days": 2})).await.unwrap();
        let before = std::sync::Arc::clone(&stage.engine);
        stage.restart();
        let (one, two) = tokio::join!(retention::run(&before), retention::run(&stage.engine));
        one.unwrap();
        two.unwrap();
        take_away(&stage).await;
        let view = retention::get(&stage.engine, &stage.caller).await.unwrap();
        assert_eq!(done(&view, "message_content"), 450);
        assert_eq!(column(&db, "SELECT CAST(COUNT(*) AS TEXT) FROM contents WHERE body LIKE '%Hello%'").await, "0");
    }

    async fn contacts_nobody_has_to_do_with_are_erased(db: TestDb) {
        let stage = Stage::new(&db).await;
        stage.account("sandbox", json!({}), None).await;
        let mut ids: Vec<model::ContactId> = Vec::new();
        for name in ["idle", "written", "changed", "agreed"] {
            let made = contacts::create(&stage.engine, &stage.caller, &Repeat::NONE, body(json!({"email": format!("{name}@example.com")}))).await.unwrap();
            ids.push(read(&made)["id"].as_str().unwrap().parse().unwrap());
        }
        stage.send(json!({"to": {"contact_id": ids[0]}, "channel": "email", "content": {"subject": "Hi", "text": "long ago"}})).await;
        stage.pass(12_000).await;
        stage.world.clock.advance_ms(300 * DAY_MS);
        stage.send(json!({"to": {"contact_id": ids[1]}, "channel": "email", "content": {"subject": "Hi", "text": "Hello"}})).await;
        contacts::patch(&stage.engine, &stage.caller, ids[2], body(json!({"first_name": "Ada"}))).await.unwrap();
        stage.engine.record_consent(&stage.caller, &Repeat::NONE, ids[3], body(json!({"channel": "email", "state": "opted_in"}))).await.unwrap();
        stage.pass(12_000).await;
        stage.world.clock.advance_ms(100 * DAY_MS);
        set(&stage, json!({"inactive_contacts_days": 365})).await.unwrap();
        take_away(&stage).await;
        let mut there = Vec::new();
        for id in &ids {
            there.push(contacts::get(&stage.engine, &stage.caller, *id).await.is_ok());
        }
        assert_eq!(there, [false, true, true, true]);
        assert_eq!(column(&db, "SELECT CAST(COUNT(*) AS TEXT) FROM messages WHERE address = 'idle@example.com'").await, "0");
        let view = retention::get(&stage.engine, &stage.caller).await.unwrap();
        assert_eq!(done(&view, "inactive_contacts"), 1);
        // Nobody writes to the address by mistake, and the log says why it went.
        let again = stage.send(json!({"to": {"email": "idle@example.com"}, "content": {"subject": "Hi", "text": "Hello"}})).await;
        stage.pass(12_000).await;
        assert_eq!(stage.status(again).await, "suppressed");
        let log = engine::audit::list(stage.engine.parts(), &stage.caller, None, None).await.unwrap().data;
        let erased = log.iter().find(|entry| entry.action == "contact.erased").unwrap();
        assert_eq!((&erased.detail["why"], erased.subject.as_str()), (&json!("inactive"), ids[0].to_string().as_str()));
    }

    async fn what_people_wrote_and_imports_go_in_their_time(db: TestDb) {
        let stage = Stage::new(&db).await;
        let account = stage.account("sandbox", json!({}), None).await;
        let (tenant, now) = (stage.tenant, stage.world.ports.clock.now());
        let row = |at: model::Timestamp, n: u128| store::inbound::Inbound {
            tenant_id: tenant,
            id: model::InboundId::from_ulid(store::retention::first_id(at) + n),
            account_id: account,
            channel: model::Channel::Sms,
            provider_message_id: n.to_string(),
            address: "+12025550142".to_owned(),
            body: json!({"to": "+15550100001", "text": "I moved", "media": []}).to_string(),
            received_at: at,
            contact_id: None,
        };
        let rows = vec![row(now, 1), row(now.plus_seconds(10 * 86_400), 2)];
        let write = stage.world.ports.db.write(store::Scope::System, move |tx| Box::pin(async move { store::inbound::insert_many(tx, &rows).await }));
        let written: Result<u64, store::Error> = write.await;
        assert_eq!(written.unwrap(), 2);
        stage.world.clock.advance_ms(12 * DAY_MS);
        set(&stage, json!({"inbound_days": 5, "imports_days": 1})).await.unwrap();
        take_away(&stage).await;
        let addresses = column(&db, "SELECT address FROM inbound_messages WHERE provider_message_id = '1'").await;
        assert_eq!((addresses.as_str(), column(&db, "SELECT address FROM inbound_messages WHERE provider_message_id = '2'").await.as_str()), ("erased", "+12025550142"));
        assert_eq!(column(&db, "SELECT CAST(COUNT(*) AS TEXT) FROM inbound_messages WHERE body LIKE '%I moved%'").await, "1");
    }

    async fn what_cannot_be_kept_so_long_or_so_short_is_refused(db: TestDb) {
        let stage = Stage::new(&db).await;
        for (settings, pointer) in [
            (json!({"message_addresses_days": 30}), "/message_addresses_days"),
            (json!({"callbacks_days": 60}), "/callbacks_days"),
            (json!({"inactive_contacts_days": 100}), "/inactive_contacts_days"),
            (json!({"messages_days": 100}), "/messages_days"),
        ] {
            assert_eq!(set(&stage, settings).await.unwrap_err().errors[0].pointer, pointer);
        }
        assert_eq!(set(&stage, json!({"events_days": 3})).await.unwrap().settings.events_days, Some(3));
        let off = set(&stage, json!({"events_days": null})).await.unwrap();
        assert_eq!((off.settings.events_days, off.next_at), (None, None));
        let log = engine::audit::list(stage.engine.parts(), &stage.caller, None, None).await.unwrap().data;
        assert_eq!((log[0].action.as_str(), &log[0].detail["events_days"]), ("retention.updated", &json!({"from": 3, "to": null})));
    }
}
