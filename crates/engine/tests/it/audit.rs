//! The chain of the audit log, on both engines: whoever alters, removes, adds or moves an entry by SQL is found out.

use serde_json::json;
use testkit::{Stage, TestDb};
use tidings_engine::{
    audit::{self, AuditQuery},
    contacts,
    export::Format,
    keys::Caller,
    once::Repeat,
    segments,
};

use crate::setting::{body, json as json_of, member};

async fn written(db: &TestDb) -> Stage {
    let stage = Stage::new(db).await;
    for _ in 0..3 {
        stage.world.clock.advance_ms(1_000);
        stage.account("sandbox", json!({}), None).await;
    }
    stage
}

async fn run(db: &TestDb, sql: &'static str) {
    let write = db.db.write(store::Scope::System, move |tx| Box::pin(async move { tx.execute(sql, &[]).await }));
    assert!(write.await.unwrap() > 0, "{sql}");
}

async fn broken(db: &TestDb) -> String {
    audit::verify(&db.db).await.unwrap().broken.join("; ")
}

testkit::both! {
    async fn an_untouched_log_is_right(db: TestDb) {
        let _stage = written(&db).await;
        let verified = audit::verify(&db.db).await.unwrap();
        assert!(verified.entries >= 3 && verified.logs >= 1, "{verified:?}");
        assert_eq!(verified.broken, Vec::<String>::new());
    }

    async fn an_altered_entry_is_named(db: TestDb) {
        let _stage = written(&db).await;
        run(&db, "UPDATE audit_log SET actor = 'nobody' WHERE number = 2 AND action = 'account.created'").await;
        let what = broken(&db).await;
        assert!(what.contains("number 2") && what.contains("not as it was written"), "{what}");
    }

    async fn an_altered_detail_is_named(db: TestDb) {
        let _stage = written(&db).await;
        run(&db, "UPDATE audit_log SET detail = '{\"name\": \"other\"}' WHERE number = 2 AND action = 'account.created'").await;
        assert!(broken(&db).await.contains("not as it was written"));
        run(&db, "UPDATE audit_log SET detail_salt = NULL WHERE number = 2 AND action = 'account.created'").await;
        assert!(broken(&db).await.contains("not as it was written"), "only nothing at all passes as erased");
    }

    async fn a_removed_entry_is_missed(db: TestDb) {
        let _stage = written(&db).await;
        run(&db, "DELETE FROM audit_log WHERE number = 2").await;
        assert!(broken(&db).await.contains("number 2 is missing"));
    }

    async fn a_log_that_was_cut_off_is_too_short(db: TestDb) {
        let _stage = written(&db).await;
        run(&db, "DELETE FROM audit_log WHERE number >= 2").await;
        assert!(broken(&db).await.contains("it ends with entry number 1"));
    }

    async fn an_added_entry_is_a_stranger(db: TestDb) {
        let stage = written(&db).await;
        run(&db, "UPDATE audit_log SET number = NULL, hash = NULL WHERE number = (SELECT number FROM audit_heads WHERE audit_heads.tenant_id = audit_log.tenant_id)").await;
        run(&db, "UPDATE audit_heads SET number = number - 1, hash = (SELECT hash FROM audit_log WHERE audit_log.tenant_id = audit_heads.tenant_id AND audit_log.number = audit_heads.number - 1) WHERE number > 1").await;
        let what = broken(&db).await;
        assert!(what.contains(&format!("the log of {}", stage.tenant)) && what.contains("no place in the chain"), "{what}");
    }

    async fn entries_that_changed_places_are_found(db: TestDb) {
        let _stage = written(&db).await;
        run(&db, "UPDATE audit_log SET number = -1 WHERE number = 2").await;
        run(&db, "UPDATE audit_log SET number = 2 WHERE number = 3").await;
        run(&db, "UPDATE audit_log SET number = 3 WHERE number = -1").await;
        assert!(broken(&db).await.contains("number 2"));
    }
}

async fn actions(stage: &Stage, query: serde_json::Value) -> Vec<String> {
    let query: AuditQuery = serde_json::from_value(query).unwrap();
    let page = audit::search(stage.engine.parts(), &stage.caller, &query).await.unwrap();
    page.data.into_iter().map(|entry| entry.action).collect()
}

testkit::both! {
    async fn entries_are_found_by_who_what_to_what_and_when(db: TestDb) {
        let stage = written(&db).await;
        let account = stage.account("sandbox", json!({}), None).await;
        assert_eq!(actions(&stage, json!({"action": "account.*"})).await, ["account.created"; 4]);
        assert_eq!(actions(&stage, json!({"subject": account})).await, ["account.created"]);
        assert_eq!(actions(&stage, json!({"actor": "key_01K9ZC8Q6T7Y2V5B3N4M1XWRSD"})).await, Vec::<String>::new());
        let now = crate::hooks::now(&stage);
        assert_eq!(actions(&stage, json!({"action": "account.created", "until": now})).await.len(), 2);
        let refused = async |query: serde_json::Value| {
            let bad: AuditQuery = serde_json::from_value(query).unwrap();
            audit::search(stage.engine.parts(), &stage.caller, &bad).await.unwrap_err().errors.remove(0)
        };
        assert_eq!(refused(json!({"actor": ""})).await.pointer, "?actor");
        assert_eq!(refused(json!({"q": ""})).await.pointer, "?q");
        let unknown = refused(json!({"about": "accounts"})).await;
        assert!(unknown.pointer == "?about" && unknown.detail.contains("account, alert, "), "{unknown:?}");
    }

    async fn entries_are_found_by_noun_and_by_what_they_hold(db: TestDb) {
        let stage = written(&db).await;
        let suppress = |email: &str| serde_json::from_value(json!({"channel": "email", "address": email})).unwrap();
        let parts = stage.engine.parts();
        stage.engine.suppress(&stage.caller, &Repeat::NONE, suppress("ada@acme.example")).await.unwrap();
        let many = |emails: &[&str]| serde_json::from_value(json!({"suppressions": emails.iter().map(|email| json!({"channel": "email", "address": email})).collect::<Vec<_>>()})).unwrap();
        stage.engine.suppress_many(&stage.caller, &Repeat::NONE, many(&["bo@acme.example"])).await.unwrap();
        assert_eq!(actions(&stage, json!({"about": "suppression"})).await, ["suppressions.added", "suppression.added"]);
        assert_eq!(actions(&stage, json!({"about": "domain"})).await, Vec::<String>::new());
        assert_eq!(actions(&stage, json!({"about": "account", "action": "account.deleted"})).await, Vec::<String>::new());
        let id = stage.account("sandbox", json!({}), None).await.to_string();
        assert_eq!(actions(&stage, json!({"q": id.to_uppercase()})).await, ["account.created"]);
        assert_eq!(actions(&stage, json!({"q": "\"connector\"", "about": "suppression"})).await, Vec::<String>::new());
        assert_eq!(actions(&stage, json!({"q": "\"connector\""})).await, ["account.created"; 4]);
        let export: AuditQuery = serde_json::from_value(json!({"about": "suppression"})).unwrap();
        let file = audit::export(parts, &stage.caller, &export, Format::Ndjson).await.unwrap();
        assert_eq!(String::from_utf8(file.body).unwrap().lines().count(), 2);
    }

    async fn an_exported_log_says_that_it_was_exported(db: TestDb) {
        let stage = written(&db).await;
        let export = async |format| {
            let query: AuditQuery = serde_json::from_value(json!({"action": "account.*"})).unwrap();
            let file = audit::export(stage.engine.parts(), &stage.caller, &query, format).await.unwrap();
            String::from_utf8(file.body).unwrap()
        };
        let lines = export(Format::Ndjson).await;
        assert_eq!(lines.lines().count(), 3);
        assert!(lines.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["action"] == "account.created"));
        assert!(export(Format::Csv).await.starts_with("id,at,actor,action,subject,detail,ip,agent,tenant_id,tenant_name,actor_kind,actor_name\r\naud_"));
        assert_eq!(actions(&stage, json!({"action": "audit_log.exported"})).await.len(), 2);
        assert_eq!(broken(&db).await, "");
    }

    async fn what_is_done_to_contacts_lists_and_segments_leaves_entries(db: TestDb) {
        let stage = Stage::new(&db).await;
        let (engine, person) = (&stage.engine, Caller { user_id: Some(model::UserId::from_ulid(9)), ..member(stage.tenant) });
        let program = Caller { user_id: None, key_id: Some(model::KeyId::from_ulid(8)), ..person.clone() };
        contacts::attributes::create(engine, &person, &Repeat::NONE, body(json!({"name": "plan", "type": "text"}))).await.unwrap();
        let mut made = Vec::new();
        for (by, email) in [(&person, "ada@example.com"), (&program, "bob@example.com")] {
            let new = json!({"email": email, "attributes": {"plan": "pro"}});
            let reply = contacts::create(engine, by, &Repeat::NONE, body(new)).await.unwrap();
            made.push(json_of(&reply)["id"].as_str().unwrap().parse::<model::ContactId>().unwrap());
        }
        for change in [json!({"email": "eve@example.com", "attributes": {"plan": null}}), json!({"email": "eve@example.com"})] {
            contacts::patch(engine, &program, made[0], body(change)).await.unwrap();
        }
        let list = contacts::lists::create(engine, &person, &Repeat::NONE, body(json!({"name": "News"}))).await.unwrap();
        let list: model::ListId = json_of(&list)["id"].as_str().unwrap().parse().unwrap();
        for name in ["Tidings", "Tidings"] {
            contacts::lists::patch(engine, &person, list, body(json!({"name": name}))).await.unwrap();
        }
        for way in [contacts::lists::Way::Add, contacts::lists::Way::Add, contacts::lists::Way::Remove] {
            let members = body(json!({ "contact_ids": made }));
            contacts::lists::change_members(engine, &person, &Repeat::NONE, list, way, members).await.unwrap();
        }
        contacts::lists::delete(engine, &person, list).await.unwrap();
        let asks = |plan: &str| json!({"attribute": "plan", "is": plan});
        let segment = segments::create(engine, &person, &Repeat::NONE, body(json!({"name": "Paying", "conditions": asks("pro")}))).await.unwrap();
        let segment: model::SegmentId = json_of(&segment)["id"].as_str().unwrap().parse().unwrap();
        for plan in ["team", "team"] {
            segments::patch(engine, &person, segment, body(json!({"conditions": asks(plan)}))).await.unwrap();
        }
        segments::delete(engine, &person, segment).await.unwrap();
        contacts::attributes::delete(engine, &person, "plan".to_owned()).await.unwrap();

        let mut entries = audit::list(engine.parts(), &stage.caller, None, None).await.unwrap().data;
        entries.reverse();
        let told: Vec<_> = entries.into_iter().skip(1).map(|entry| (entry.action, entry.detail)).collect();
        let expected = [
            ("contact_attribute.created", json!({"type": "text"})),
            ("contact.created", json!({"fields": ["email", "attributes.plan"]})),
            ("contact.updated", json!({"fields": ["email", "attributes.plan"]})),
            ("list.created", json!({"name": "News", "description": ""})),
            ("list.updated", json!({"name": {"from": "News", "to": "Tidings"}})),
            ("list.contacts_added", json!({"changed": 2, "contacts": 2})),
            ("list.contacts_removed", json!({"changed": 2, "contacts": 0})),
            ("list.deleted", json!({"name": "Tidings", "description": ""})),
            ("segment.created", json!({"name": "Paying", "description": "", "conditions": asks("pro")})),
            ("segment.updated", json!({"conditions": {"from": asks("pro"), "to": asks("team")}})),
            ("segment.deleted", json!({"name": "Paying", "description": "", "conditions": asks("team")})),
            ("contact_attribute.deleted", json!({"type": "text"})),
        ];
        assert_eq!(told, expected.map(|(action, detail)| (action.to_owned(), detail)));
    }

    async fn schedules_and_campaigns_leave_entries(db: TestDb) {
        let stage = written(&db).await;
        let message = json!({"to": {"email": "ada@example.com"}, "content": {"subject": "Hi", "text": "Hello"}});
        let new = serde_json::from_str(&json!({"name": "Weekly", "cron": "0 9 * * MON", "message": message}).to_string()).unwrap();
        let made = tidings_engine::schedules::create(&stage.engine, &stage.caller, &Repeat::NONE, new).await.unwrap();
        let id = serde_json::from_slice::<serde_json::Value>(&made.body).unwrap()["id"].as_str().unwrap().parse().unwrap();
        let change = serde_json::from_value(json!({"name": "Every Monday"})).unwrap();
        tidings_engine::schedules::patch(&stage.engine, &stage.caller, id, change).await.unwrap();
        tidings_engine::schedules::cancel(&stage.engine, &stage.caller, &Repeat::NONE, id, Default::default()).await.unwrap();
        tidings_engine::schedules::delete(&stage.engine, &stage.caller, id).await.unwrap();
        assert_eq!(actions(&stage, json!({"subject": id})).await, ["schedule.deleted", "schedule.canceled", "schedule.updated", "schedule.created"]);

        let contact = contacts::create(&stage.engine, &stage.caller, &Repeat::NONE, body(json!({"email": "ada@example.com"}))).await.unwrap();
        let to = json!({"contact_ids": [json_of(&contact)["id"]]});
        let new = json!({"name": "Autumn", "channel": "email", "purpose": "transactional", "content": {"subject": "Hi", "text": "Dear all"}, "audience": to});
        let new = serde_json::from_str(&new.to_string()).unwrap();
        let made = tidings_engine::campaigns::create(&stage.engine, &stage.caller, &Repeat::NONE, new).await.unwrap();
        let id: model::CampaignId = json_of(&made)["id"].as_str().unwrap().parse().unwrap();
        tidings_engine::campaigns::patch(&stage.engine, &stage.caller, id, body(json!({"name": "Autumn"}))).await.unwrap();
        tidings_engine::campaigns::delete(&stage.engine, &stage.caller, id).await.unwrap();
        let told = audit::list(stage.engine.parts(), &stage.caller, Some(2), None).await.unwrap().data;
        assert_eq!([told[0].action.as_str(), &told[1].action], ["campaign.deleted", "campaign.created"], "what changes nothing is no entry");
        for entry in told {
            let whole = &entry.detail["definition"];
            assert!(whole["audience"]["contact_ids"] == to["contact_ids"] && whole.to_string().contains("Dear all"), "{}", entry.detail);
        }
        assert_eq!(broken(&db).await, "");
    }
}
