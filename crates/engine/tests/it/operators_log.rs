//! The operator's own log of what its staff and keys did in tenants, on both engines: it is there when the tenant is gone, and names nobody the tenant wrote to.

use engine::{
    audit::{self, ActorKind, AuditEntry, AuditQuery},
    contacts,
    keys::Caller,
    money::credits,
    once::Repeat,
    tenants,
};
use model::{ContactId, KeyId, UserId};
use serde_json::{Value, json};
use testkit::Stage;

use crate::{
    bills::delete,
    hooks::neighbour,
    setting::{body, code, column, json, member, operator},
};

/// One of the operator's staff, inside of the tenant.
fn staff(stage: &Stage) -> Caller {
    Caller {
        user_id: Some(UserId::from_ulid(7)),
        name: Some("staff@example.org".into()),
        ..Caller::system(Some(stage.tenant))
    }
}

/// The entries of the operator's log that are asked for, the oldest first.
async fn logged(stage: &Stage, query: Value) -> Vec<AuditEntry> {
    let page = audit::search(stage.engine.parts(), &operator(), &body::<AuditQuery>(query)).await.unwrap();
    page.data.into_iter().rev().collect()
}

fn actions(entries: &[AuditEntry]) -> Vec<&str> {
    entries.iter().map(|entry| entry.action.as_str()).collect()
}

async fn buy(stage: &Stage, by: &Caller) {
    let change = body(json!({"mode": "prepaid"}));
    credits::patch(stage.engine.parts(), by, change).await.unwrap();
    let bought = body(json!({"amount_micros": 5_000_000, "reference": "Wire 7"}));
    credits::purchase(stage.engine.parts(), by, &Repeat::NONE, bought).await.unwrap();
}

async fn list(stage: &Stage, by: &Caller) {
    contacts::lists::create(&stage.engine, by, &Repeat::NONE, body(json!({"name": "Ada's"}))).await.unwrap();
}

testkit::both! {
    async fn what_the_operator_does_in_a_tenant_outlives_it(db: TestDb) {
        let stage = Stage::new(&db).await;
        let other = neighbour(&stage).await;
        buy(&stage, &staff(&stage)).await;
        buy(&other, &staff(&other)).await;
        let rename = body(json!({"name": "Acme Tickets"}));
        tenants::patch(stage.engine.parts(), &staff(&stage), stage.tenant, rename).await.unwrap();
        let key = Caller { user_id: None, key_id: Some(KeyId::from_ulid(8)), ..staff(&stage) };
        list(&stage, &key).await;

        let tenants_own = audit::list(stage.engine.parts(), &stage.caller, None, None).await.unwrap().data;
        let mut ids: Vec<_> = tenants_own.iter().map(|entry| (entry.id, entry.action.as_str())).collect();
        assert!(tenants_own.iter().all(|entry| entry.tenant.is_none()));
        ids.reverse();
        let copied = logged(&stage, json!({"tenant_id": stage.tenant})).await;
        assert_eq!(copied.iter().map(|entry| (entry.id, entry.action.as_str())).collect::<Vec<_>>(), ids, "each once, under the id it has there");
        assert_eq!(audit::verify(&db.db).await.unwrap().broken, Vec::<String>::new());

        delete(&stage).await;
        let left = logged(&stage, json!({"tenant_id": stage.tenant})).await;
        assert_eq!(actions(&left), ["tenant.created", "credits.updated", "credits.purchased", "tenant.updated", "list.created", "tenant.deleted", "tenant.removed"]);
        let paid = &left[2];
        assert_eq!((paid.actor.as_str(), &paid.detail["reference"]), (UserId::from_ulid(7).to_string().as_str(), &json!("Wire 7")));
        let names: Vec<_> = left.iter().map(|entry| entry.tenant.as_ref().unwrap().name.as_str()).collect();
        assert_eq!(names, ["Acme", "Acme", "Acme", "Acme Tickets", "Acme Tickets", "Acme Tickets", "Acme Tickets"]);
        assert_eq!(left[4].actor, KeyId::from_ulid(8).to_string());
        assert_eq!(actions(&logged(&stage, json!({"tenant_id": other.tenant})).await), ["tenant.created", "credits.updated", "credits.purchased"]);
        assert_eq!(audit::verify(&db.db).await.unwrap().broken, Vec::<String>::new());
    }

    async fn what_a_tenants_own_people_do_stays_with_the_tenant(db: TestDb) {
        let stage = Stage::new(&db).await;
        let own = Caller { user_id: Some(UserId::from_ulid(9)), ..member(stage.tenant) };
        list(&stage, &own).await;
        // What comes from inside is nobody's doing.
        list(&stage, &stage.caller).await;
        assert_eq!(actions(&logged(&stage, json!({})).await), ["tenant.created"]);
        let asked = body(json!({"tenant_id": stage.tenant}));
        let refused = audit::search(stage.engine.parts(), &own, &asked).await;
        assert_eq!(refused.unwrap_err().errors[0].pointer, "?tenant_id");
    }

    async fn entries_say_what_kind_of_actor_it_was_and_what_it_was_called(db: TestDb) {
        let stage = Stage::new(&db).await;
        let person = Caller { user_id: Some(UserId::from_ulid(9)), name: Some("ann@acme.example".into()), ..member(stage.tenant) };
        let program = Caller { user_id: None, key_id: Some(KeyId::from_ulid(8)), name: Some("Website".into()), ..person.clone() };
        for by in [&person, &program, &staff(&stage), &stage.caller] {
            list(&stage, by).await;
        }
        let told = async |query: Value| {
            let page = audit::search(stage.engine.parts(), &stage.caller, &body::<AuditQuery>(query)).await.unwrap();
            page.data.into_iter().rev().map(|entry| (entry.actor_kind.unwrap(), entry.actor_name)).collect::<Vec<_>>()
        };
        let expected = [
            (ActorKind::User, Some("ann@acme.example".to_owned())), (ActorKind::Key, Some("Website".to_owned())), (ActorKind::Operator, None),
            (ActorKind::System, None),
        ];
        assert_eq!(told(json!({"about": "list"})).await, expected);
        assert_eq!(told(json!({"actor": "operator"})).await, expected[2..3]);
        let logged = logged(&stage, json!({"about": "list"})).await;
        assert_eq!((logged.len(), logged[0].actor_name.as_deref()), (1, Some("staff@example.org")), "its own people are named there");
        // A tenant's people are called nothing outside of it.
        tenants::patch_own(stage.engine.parts(), &person, body(json!({"name": "Other"}))).await.unwrap();
        assert_eq!(column(&db, "SELECT COALESCE(actor_name, '') FROM audit_log WHERE action = 'tenant.updated' ORDER BY tenant_id").await, "\nann@acme.example");
        assert_eq!(audit::verify(&db.db).await.unwrap().broken, Vec::<String>::new());
        let renamed = "UPDATE audit_log SET actor_kind = 'system' WHERE actor_kind = 'operator' AND acted_in IS NULL";
        db.db.write(store::Scope::System, move |tx| Box::pin(async move { tx.execute(renamed, &[]).await })).await.unwrap();
        assert!(audit::verify(&db.db).await.unwrap().broken[0].contains("not as it was written"));
    }

    async fn the_operators_log_names_nobody_a_tenant_writes_to(db: TestDb) {
        let stage = Stage::new(&db).await;
        let by = staff(&stage);
        let made = contacts::create(&stage.engine, &by, &Repeat::NONE, body(json!({"email": "ada@example.com", "first_name": "Ada"}))).await.unwrap();
        let id: ContactId = json(&made)["id"].as_str().unwrap().parse().unwrap();
        contacts::patch(&stage.engine, &by, id, body(json!({"last_name": "Lovelace"}))).await.unwrap();
        stage.engine.suppress(&by, &Repeat::NONE, body(json!({"channel": "email", "address": "ada@example.com"}))).await.unwrap();
        let said = json!({"channel": "email", "state": "opted_in", "text": "Yes, Ada Lovelace", "evidence": "ada@example.com"});
        stage.engine.record_consent(&by, &Repeat::NONE, id, body(said)).await.unwrap();
        let only_ada = json!({"name": "Ada", "conditions": {"field": "email", "is": "ada@example.com"}});
        engine::segments::create(&stage.engine, &by, &Repeat::NONE, body(only_ada)).await.unwrap();
        list(&stage, &by).await;
        let told = logged(&stage, json!({})).await;
        assert_eq!(told.len(), 7, "{:?}", actions(&told));
        let text = serde_json::to_string(&told).unwrap().to_lowercase();
        assert!(!text.contains("ada") && !text.contains("lovelace"), "{text}");
        assert!(told[3].detail["withheld"].as_array().unwrap().contains(&json!("address")), "{}", told[3].detail);

        contacts::erase(&stage.engine, &by, &Repeat::NONE, id).await.unwrap();
        assert_eq!(actions(&logged(&stage, json!({"subject": id})).await), ["contact.created", "contact.updated", "consent.recorded", "contact.erased"]);
        let verified = audit::verify(&db.db).await.unwrap();
        assert_eq!((verified.broken, verified.erased > 0), (Vec::new(), true));
        // What an erasure emptied in the tenant's log covers nothing in the operator's.
        audit::seals::run(stage.engine.parts()).await.unwrap();
        let emptied = "UPDATE audit_log SET detail = '{}', detail_salt = NULL WHERE acted_in IS NOT NULL AND number = 3";
        db.db.write(store::Scope::System, move |tx| Box::pin(async move { tx.execute(emptied, &[]).await })).await.unwrap();
        let broken = audit::verify(&db.db).await.unwrap().broken;
        assert!(broken.len() == 1 && broken[0].contains("what entry number 3 said was taken away"), "{broken:?}");
    }

    async fn an_operators_request_that_fails_leaves_nothing_and_reaches_no_further(db: TestDb) {
        let stage = Stage::new(&db).await;
        let by = staff(&stage);
        let topic = body(json!({"name": "news", "title": "News"}));
        stage.engine.put_topic(&by, &Repeat::NONE, topic).await.unwrap();
        let unknown = contacts::lists::patch(&stage.engine, &by, model::ListId::from_ulid(5), body(json!({"name": "x"}))).await;
        assert_eq!(code(unknown), "not_found");
        assert_eq!(actions(&logged(&stage, json!({})).await), ["tenant.created", "topic.put"]);
        assert_eq!(column(&db, "SELECT action FROM audit_log WHERE acted_in_name = 'Acme' ORDER BY id").await, "tenant.created\ntopic.put");
    }
}
