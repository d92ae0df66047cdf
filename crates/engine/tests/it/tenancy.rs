//! Tenants and the directory.

use engine::{
    audit,
    directory::TenantState,
    tenants::{self, NewTenant, OwnTenantPatch, TenantPatch},
};
use model::{AccountId, TenantId};
use serde_json::json;

use crate::setting::*;

testkit::both! {
    async fn a_tenant_is_made_read_and_changed(db: TestDb) {
        let (world, parts) = node(&db);
        let request = repeat("t-1", "{}");
        let new: NewTenant = body(json!({"name": " Acme ", "timezone": "europe/berlin", "currency": "EUR", "default_country": "DE"}));
        let made = tenants::create(&parts, &operator(), &request, new.clone()).await.unwrap();
        let shown = json(&made);
        assert_eq!((made.status, &shown["name"], &shown["state"], &shown["timezone"]), (201, &json!("Acme"), &json!("active"), &json!("Europe/Berlin")));
        let again = tenants::create(&parts, &operator(), &request, new).await.unwrap();
        assert_eq!((again.body, again.replayed), (made.body, true));
        assert_eq!(tenants::list(&parts, &operator(), None, None).await.unwrap().data.len(), 1);

        let id: TenantId = shown["id"].as_str().unwrap().parse().unwrap();
        world.clock.advance_ms(1_000);
        let change = json!({"name": "New", "default_country": null, "timezone": null, "per_second": 9, "state": "suspended"});
        let after = tenants::patch(&parts, &operator(), id, body(change)).await.unwrap();
        assert_eq!((after.name.as_str(), after.default_country, after.timezone.as_str(), after.per_second), ("New", None, "UTC", Some(9)));
        assert_eq!((after.state, after.currency.as_str()), (TenantState::Suspended, "EUR"));
        assert_eq!(after.updated_at, after.created_at.plus_seconds(1));
        assert_eq!(tenants::own(&parts, &member(id)).await.unwrap(), tenants::get(&parts, &operator(), id).await.unwrap());

        // Both logs tell it: the tenant's own and the operator's.
        for log in [member(id), operator()] {
            let told = audit::list(&parts, &log, None, None).await.unwrap().data;
            assert_eq!(told.iter().map(|entry| entry.action.as_str()).collect::<Vec<_>>(), ["tenant.updated", "tenant.created"]);
            assert_eq!(told[0].detail["name"], json!({"from": "Acme", "to": "New"}));
            assert_eq!(told[0].detail.get("currency"), None);
        }
    }

    async fn bad_tenants_name_their_fields(db: TestDb) {
        let (_world, parts) = node(&db);
        let (id, _) = tenant(&parts, "Acme").await;
        let all = json!({"name": " ", "timezone": "Mars/Base", "currency": "eur", "default_country": "Germany", "per_second": 0});
        let expected = ["/name", "/timezone", "/currency", "/default_country", "/per_second"];
        let made = tenants::create(&parts, &operator(), &engine::once::Repeat::NONE, body(all.clone())).await;
        assert_eq!(pointers(made), expected);
        assert_eq!(pointers(tenants::patch(&parts, &operator(), id, body(all)).await), expected);
        let nulls = body::<TenantPatch>(json!({"name": null, "state": null}));
        assert_eq!(pointers(tenants::patch(&parts, &operator(), id, nulls).await), ["/name", "/state"]);
        assert!(serde_json::from_value::<NewTenant>(json!({"name": "x", "colour": "red"})).is_err());
    }

    async fn tenants_are_the_operators_business(db: TestDb) {
        let (_world, parts) = node(&db);
        let (id, _) = tenant(&parts, "Acme").await;
        let me = member(id);
        assert_eq!(code(tenants::create(&parts, &me, &engine::once::Repeat::NONE, NewTenant::default()).await), "operator_only");
        assert_eq!(code(tenants::list(&parts, &me, None, None).await), "operator_only");
        assert_eq!(code(tenants::get(&parts, &me, id).await), "operator_only");
        assert_eq!(code(tenants::patch(&parts, &me, id, TenantPatch::default()).await), "operator_only");
        assert_eq!(code(tenants::delete(&parts, &me, id).await), "operator_only");
        assert_eq!(code(tenants::own(&parts, &operator()).await), "tenant_required");
        // An operator inside a tenant still works on tenants.
        let inside = engine::keys::Caller::system(Some(id));
        let made = tenants::create(&parts, &inside, &repeat("k", "{}"), body(json!({"name": "Made inside"}))).await;
        assert_eq!(made.unwrap().status, 201);
    }

    async fn a_tenant_says_what_it_is_called_and_where_it_is_at_home(db: TestDb) {
        let (_world, parts) = node(&db);
        let (id, _) = tenant(&parts, "Acme").await;
        let (other, _) = tenant(&parts, "Other").await;
        let me = member(id);
        let change = body::<OwnTenantPatch>(json!({"name": "Acme Tickets", "timezone": "europe/berlin", "default_country": "DE"}));
        let after = tenants::patch_own(&parts, &me, change).await.unwrap();
        assert_eq!((after.name.as_str(), after.timezone.as_str(), after.default_country.as_deref()), ("Acme Tickets", "Europe/Berlin", Some("DE")));
        assert_eq!(parts.directory.tenant(id).await.unwrap().unwrap().name, "Acme Tickets", "the directory knows at once");
        let again = tenants::patch_own(&parts, &me, body(json!({"timezone": null, "default_country": null}))).await.unwrap();
        assert_eq!((again.name.as_str(), again.timezone.as_str(), again.default_country), ("Acme Tickets", "UTC", None));
        assert_eq!(tenants::get(&parts, &operator(), other).await.unwrap().name, "Other");
        // Both logs tell it: the tenant's own and the operator's.
        for log in [me.clone(), operator()] {
            let told = audit::list(&parts, &log, None, None).await.unwrap().data;
            assert_eq!((told[1].action.as_str(), &told[1].subject), ("tenant.updated", &id.to_string()));
            assert_eq!(told[1].detail["name"], json!({"from": "Acme", "to": "Acme Tickets"}));
        }
        // What is not its own has no field, and who may only look changes nothing.
        for theirs in ["state", "currency", "per_second"] {
            assert!(serde_json::from_value::<OwnTenantPatch>(json!({theirs: null})).is_err(), "{theirs}");
        }
        assert_eq!(pointers(tenants::patch_own(&parts, &me, body(json!({"name": " ", "timezone": "Mars/Base"}))).await), ["/name", "/timezone"]);
        let mut weak = me.clone();
        weak.scopes = engine::keys::Scopes::Some(["tenant:read"].into());
        assert_eq!(code(tenants::patch_own(&parts, &weak, OwnTenantPatch::default()).await), "missing_scope");
        assert_eq!(code(tenants::patch_own(&parts, &operator(), OwnTenantPatch::default()).await), "tenant_required");
    }

    async fn a_deleted_tenant_is_gone_for_everybody(db: TestDb) {
        let (_world, parts) = node(&db);
        let (id, _) = tenant(&parts, "Acme").await;
        assert!(parts.directory.tenant(id).await.unwrap().is_some());
        tenants::delete(&parts, &operator(), id).await.unwrap();
        assert!(parts.directory.tenant(id).await.unwrap().is_none());
        assert_eq!(code(tenants::get(&parts, &operator(), id).await), "not_found");
        assert_eq!(code(tenants::patch(&parts, &operator(), id, TenantPatch::default()).await), "not_found");
        assert_eq!(code(tenants::delete(&parts, &operator(), id).await), "not_found");
        assert_eq!(tenants::list(&parts, &operator(), None, None).await.unwrap().data, []);
    }

    async fn a_list_stays_the_same_while_tenants_are_added(db: TestDb) {
        let (world, parts) = node(&db);
        let mut made = Vec::new();
        for n in 0..5 {
            world.clock.advance_ms(1);
            made.push(tenant(&parts, &format!("Tenant {n}")).await.0);
        }
        let (mut seen, mut cursor) = (Vec::new(), None::<String>);
        loop {
            let page = tenants::list(&parts, &operator(), Some(2), cursor.as_deref()).await.unwrap();
            seen.extend(page.data.iter().map(|tenant| tenant.id));
            tenant(&parts, "Added meanwhile").await;
            cursor = page.next_cursor;
            if cursor.is_none() { break; }
        }
        made.reverse();
        assert_eq!(seen, made);
        assert_eq!(code(tenants::list(&parts, &operator(), Some(2), Some("AAAA")).await), "invalid_cursor");
        assert_eq!(code(tenants::list(&parts, &operator(), Some(501), None).await), "invalid_limit");
        let audits = engine::audit::list(&parts, &operator(), Some(1), None).await.unwrap();
        assert_eq!(code(tenants::list(&parts, &operator(), None, audits.next_cursor.as_deref()).await), "invalid_cursor");
    }

    async fn a_node_sees_anothers_change_once_it_looks(db: TestDb) {
        let (world, one) = node(&db);
        let two = parts(&world);
        let (id, _) = tenant(&one, "Acme").await;
        let (other, _) = tenant(&one, "Other").await;
        two.directory.refresh().await.unwrap();
        let before = two.directory.tenant(id).await.unwrap().unwrap();
        let untouched = two.directory.tenant(other).await.unwrap().unwrap();
        tenants::patch(&one, &operator(), id, body(json!({"name": "New"}))).await.unwrap();
        assert_eq!(one.directory.tenant(id).await.unwrap().unwrap().name, "New");

        // Until it looks, the other node serves what it knew, without asking the database.
        assert!(std::sync::Arc::ptr_eq(&two.directory.tenant(id).await.unwrap().unwrap(), &before));
        two.directory.refresh_to(two.directory.version()).await;
        assert_eq!(two.directory.tenant(id).await.unwrap().unwrap().name, "Acme");
        two.directory.refresh_to(one.directory.version()).await;
        assert_eq!(two.directory.tenant(id).await.unwrap().unwrap().name, "New");
        assert!(std::sync::Arc::ptr_eq(&two.directory.tenant(other).await.unwrap().unwrap(), &untouched));
        assert!(!two.directory.refresh().await.unwrap());
    }

    async fn nobody_is_found_under_an_unknown_id(db: TestDb) {
        let (_world, parts) = node(&db);
        let (id, _) = tenant(&parts, "Acme").await;
        assert!(parts.directory.tenant(TenantId::from_ulid(5)).await.unwrap().is_none());
        assert!(parts.directory.account(id, AccountId::from_ulid(5)).await.unwrap().is_none());
        assert!(parts.directory.account_by_id(AccountId::from_ulid(5)).await.unwrap().is_none());
        assert!(parts.directory.api_key(&[0; 32]).await.unwrap().is_none());
    }
}
