//! Who may call: keys, scopes, allow-lists, tenants that come and go.

use std::net::IpAddr;

use serde_json::json;
use testkit::TestDb;

use crate::support::Api;

testkit::both! {
    async fn a_key_is_shown_once_and_revoked_for_good(db: TestDb) {
        let api = Api::new(&db).await;
        let made = api.post("/v1/api-keys", &json!({"name": "Shop", "scopes": ["messages:read"]})).send().await.ok(201);
        let (id, key) = (made["id"].as_str().unwrap(), made["key"].as_str().unwrap());
        assert!(key.starts_with("tdk_"), "{key}");
        api.get("/v1/messages").bearer(key).send().await.ok(200);
        let listed = api.get("/v1/api-keys").send().await;
        assert!(!listed.text().contains(key));
        assert_eq!(listed.ok(200)["data"][0]["id"], id);
        api.delete(&format!("/v1/api-keys/{id}")).send().await.ok(204);
        assert_eq!(api.get("/v1/messages").bearer(key).send().await.problem(401), "invalid_api_key");
        // Once more is no error, and the list does not show it.
        api.delete(&format!("/v1/api-keys/{id}")).send().await.ok(204);
        assert!(!api.get("/v1/api-keys").send().await.text().contains(id));
    }

    async fn a_repeated_request_shows_the_same_key_and_makes_one(db: TestDb) {
        let api = Api::new(&db).await;
        let post = || api.post("/v1/api-keys", &json!({"name": "Shop"})).keyed("first-key").send();
        let (first, second) = (post().await, post().await);
        assert_eq!(first.ok(201), second.ok(201));
        assert_eq!((first.header("idempotency-replayed"), second.header("idempotency-replayed")), (None, Some("true")));
        let count = api.get("/v1/api-keys").send().await.text().matches("\"Shop\"").count();
        assert_eq!(count, 1);
    }

    async fn a_tenant_comes_is_suspended_and_goes(db: TestDb) {
        let api = Api::new(&db).await;
        let (tenant, key) = api.another_tenant().await;
        let path = format!("/v1/tenants/{tenant}");
        assert_eq!(api.get("/v1/tenant").bearer(&key).send().await.ok(200)["name"], "Other");
        let inside = api.get("/v1/tenant").for_operator().header("tidings-tenant", &tenant.to_string()).send().await;
        assert_eq!(inside.ok(200)["id"], tenant.to_string());
        api.post("/v1/accounts", &json!({"name": "S", "connector": "sandbox"})).bearer(&key).send().await.ok(201);
        api.patch(&path, &json!({"state": "suspended"})).for_operator().send().await.ok(200);
        let message = json!({"to": {"email": "ada@example.com"}, "content": {"subject": "Hi", "text": "Hello"}});
        let seen = api.post("/v1/messages", &message).bearer(&key).send().await;
        assert_eq!((seen.problem(403), seen.json()["action"].as_str()), ("tenant_suspended".to_owned(), Some("CONTACT_OPERATOR")));
        api.get("/v1/messages").bearer(&key).send().await.ok(200);
        api.patch(&path, &json!({"state": "active", "timezone": null})).for_operator().send().await.ok(200);
        api.post("/v1/messages", &message).bearer(&key).send().await.ok(202);
        api.delete(&path).for_operator().send().await.ok(204);
        assert_eq!(api.get("/v1/tenant").bearer(&key).send().await.problem(401), "invalid_api_key");
        assert_eq!(api.get(&path).for_operator().send().await.problem(404), "not_found");
        let gone = api.get("/v1/tenant").for_operator().header("tidings-tenant", &tenant.to_string()).send().await;
        assert_eq!(gone.problem(404), "tenant_not_found");
    }
}

#[test]
fn a_key_may_only_be_used_from_where_it_says() {
    testkit::on_sqlite(async |db: TestDb| {
        let mut api = Api::new(&db).await;
        let new = json!({"name": "Shop", "ip_allow_list": ["192.0.2.0/24"]});
        let key = api.post("/v1/api-keys", &new).send().await.ok(201)["key"].as_str().unwrap().to_owned();
        api.get("/v1/tenant").bearer(&key).send().await.ok(200);
        api.peer = IpAddr::from([198, 51, 100, 7]);
        let call = || api.get("/v1/tenant").bearer(&key);
        assert_eq!(call().send().await.problem(403), "ip_not_allowed");
        // Nobody configured a proxy, so nobody's word is taken for it.
        assert_eq!(call().header("x-forwarded-for", "192.0.2.7").send().await.problem(403), "ip_not_allowed");
    });
}

#[test]
fn a_trusted_proxy_names_the_client_last() {
    testkit::on_sqlite(async |db: TestDb| {
        let stage = testkit::Stage::new(&db).await;
        let header = http::HeaderName::from_static("x-forwarded-for");
        let api = Api::with(stage, |options| api::Options { client_ip_header: Some(header), ..options }).await;
        let make = api.post("/v1/api-keys", &json!({"name": "Shop", "ip_allow_list": ["192.0.2.7", "2001:db8::/32"]}));
        let key = make.header("x-forwarded-for", "192.0.2.7").send().await.ok(201)["key"].as_str().unwrap().to_owned();
        let call = async |forwarded: &str| {
            let seen = api.get("/v1/tenant").bearer(&key).header("x-forwarded-for", forwarded).send().await;
            seen.status.as_u16()
        };
        assert_eq!(call("192.0.2.7").await, 200);
        assert_eq!(call("203.0.113.9, 192.0.2.7").await, 200);
        assert_eq!(call("2001:db8::1").await, 200);
        assert_eq!(call("[2001:db8::1]:443").await, 200);
        assert_eq!(call("192.0.2.7, 203.0.113.9").await, 403);
        assert_eq!(call("unknown").await, 403);
        assert_eq!(call("").await, 403);
    });
}

#[test]
fn an_operator_has_keys_and_a_log_of_its_own() {
    testkit::on_sqlite(async |db: TestDb| {
        let api = Api::new(&db).await;
        let made = api
            .post("/v1/api-keys", &json!({"name": "Deploy", "scopes": ["tenants:read"]}))
            .for_operator()
            .send()
            .await
            .ok(201);
        let key = made["key"].as_str().unwrap();
        assert!(key.starts_with("tdo_"));
        api.get("/v1/tenants").bearer(key).send().await.ok(200);
        assert_eq!(
            api.post("/v1/tenants", &json!({"name": "x"})).bearer(key).send().await.problem(403),
            "missing_scope"
        );
        let log = api.get("/v1/audit-log").for_operator().send().await.ok(200);
        assert!(log["data"].as_array().unwrap().iter().any(|entry| entry["subject"] == made["id"]), "{log}");
        assert!(!api.get("/v1/audit-log").send().await.text().contains(made["id"].as_str().unwrap()));
        let seen = api.post("/v1/api-keys", &json!({"name": "x", "scopes": ["tenants:read"]})).send().await;
        assert_eq!(seen.pointers(), ["/scopes/0"]);
    });
}
