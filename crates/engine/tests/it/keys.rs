//! Who may call: bootstrap, authentication, scopes, revocation.

use engine::{
    ErrorKind, Parts,
    keys::{self, Caller, NewApiKey},
    tenants::{self, TenantPatch},
};
use model::{KeyId, Timestamp};
use serde_json::json;

use crate::setting::*;

async fn authenticate(parts: &Parts, key: &str) -> Result<Caller, engine::Error> {
    keys::authenticate(parts, Some(key), None, Some("192.0.2.1".parse().unwrap()), parts.ports.clock.now()).await
}

testkit::both! {
    async fn the_first_start_makes_one_operator_key(db: TestDb) {
        let (world, parts) = node(&db);
        let key = keys::bootstrap(&parts, None).await.unwrap().unwrap();
        assert!(key.reveal().starts_with("tdo_") && key.reveal().len() == 44);
        let caller = authenticate(&parts, key.reveal()).await.unwrap();
        assert!(caller.is_operator && caller.tenant.is_none() && caller.need_operator("tenants:write").is_ok());
        assert!(keys::bootstrap(&parts, None).await.unwrap().is_none());
        assert!(keys::bootstrap(&parts_again(&world), Some("tdo_0123456789012345678901")).await.unwrap().is_none());
    }

    async fn the_operator_may_choose_the_first_key(db: TestDb) {
        let (_world, parts) = node(&db);
        for bad in ["", "tdk_0123456789012345678901", "tdo_short", "tdo_0123456789 12345678901"] {
            assert_eq!(code(keys::bootstrap(&parts, Some(bad)).await), "invalid_bootstrap_key");
        }
        let given = "tdo_0123456789012345678901";
        assert_eq!(keys::bootstrap(&parts, Some(given)).await.unwrap().unwrap().reveal(), given);
        assert!(authenticate(&parts, given).await.unwrap().is_operator);
    }

    async fn of_two_nodes_that_start_at_once_one_makes_the_key(db: TestDb) {
        let (world, one) = node(&db);
        let two = parts_again(&world);
        let (a, b) = tokio::join!(keys::bootstrap(&one, None), keys::bootstrap(&two, None));
        assert_eq!(usize::from(a.unwrap().is_some()) + usize::from(b.unwrap().is_some()), 1);
    }

    async fn every_key_that_is_not_good_gets_the_same_answer(db: TestDb) {
        let (world, parts) = node(&db);
        let (acme, _) = tenant(&parts, "Acme").await;
        let me = member(acme);
        let expires_at = Some(world.ports.clock.now().plus_seconds(60));
        let short = keys::make(&parts, &me, NewApiKey { expires_at, ..named("short") }).await.unwrap();
        let revoked = keys::make(&parts, &me, named("revoked")).await.unwrap();
        assert!(authenticate(&parts, &short.key).await.is_ok() && authenticate(&parts, &revoked.key).await.is_ok());
        world.clock.advance_ms(60_000);
        keys::revoke(&parts, &me, revoked.view.id).await.unwrap();

        let unknown = format!("tdk_{}", "x".repeat(40));
        let expected = authenticate(&parts, &unknown).await.unwrap_err();
        assert_eq!((expected.kind, expected.code), (ErrorKind::Unauthorized, "invalid_api_key"));
        for bad in [short.key.as_str(), &revoked.key, "nonsense", "", &"tdk_x".repeat(100), "tdk_\u{fc}"] {
            assert_eq!(authenticate(&parts, bad).await.unwrap_err(), expected, "{bad}");
        }
        let missing = keys::authenticate(&parts, None, None, None, Timestamp::EPOCH).await;
        assert_eq!(missing.unwrap_err().kind, ErrorKind::Unauthorized);
    }

    async fn another_node_notices_a_revocation_at_its_next_look(db: TestDb) {
        let (world, one) = node(&db);
        let two = parts_again(&world);
        let (acme, _) = tenant(&one, "Acme").await;
        for owner in [member(acme), operator()] {
            let made = keys::make(&one, &owner, named("k")).await.unwrap();
            two.directory.refresh().await.unwrap();
            assert!(authenticate(&two, &made.key).await.is_ok());
            keys::revoke(&one, &owner, made.view.id).await.unwrap();
            assert!(authenticate(&one, &made.key).await.is_err());
            assert!(two.directory.refresh().await.unwrap());
            assert_eq!(code(authenticate(&two, &made.key).await), "invalid_api_key");
        }
    }

    async fn a_key_works_from_listed_addresses_only(db: TestDb) {
        let (world, parts) = node(&db);
        let (acme, _) = tenant(&parts, "Acme").await;
        let new = NewApiKey { ip_allow_list: Some(vec!["192.0.2.0/24".into(), "2001:db8::1".into()]), ..named("k") };
        let key = keys::make(&parts, &member(acme), new).await.unwrap().key;
        let from = async |ip: Option<&str>| {
            keys::authenticate(&parts, Some(&key), None, ip.map(|ip| ip.parse().unwrap()), world.ports.clock.now()).await.map(|caller| caller.ip)
        };
        for good in ["192.0.2.9", "::ffff:192.0.2.9", "2001:db8::1"] {
            assert_eq!(from(Some(good)).await, Ok(Some(good.parse().unwrap())));
        }
        for bad in [Some("198.51.100.1"), Some("2001:db8::2"), None] {
            let refused = from(bad).await.unwrap_err();
            assert_eq!((refused.kind, refused.code), (ErrorKind::Forbidden, "ip_not_allowed"));
        }
    }

    async fn an_operator_acts_inside_the_tenant_it_names(db: TestDb) {
        let (world, parts) = node(&db);
        let (acme, acme_key) = tenant(&parts, "Acme").await;
        let (other, _) = tenant(&parts, "Other").await;
        let operators = keys::bootstrap(&parts, None).await.unwrap().unwrap();
        let named = async |key: &str, tenant: &str| {
            keys::authenticate(&parts, Some(key), Some(tenant), None, world.ports.clock.now()).await.map(|caller| (caller.tenant, caller.is_operator))
        };
        assert_eq!(named(operators.reveal(), &acme.to_string()).await, Ok((Some(acme), true)));
        assert_eq!(named(&acme_key, &acme.to_string()).await, Ok((Some(acme), false)));
        let unknown = model::TenantId::from_ulid(77).to_string();
        for (key, tenant) in [(operators.reveal(), unknown.as_str()), (operators.reveal(), "acme"), (&acme_key, &other.to_string()), (&acme_key, "")] {
            let refused = named(key, tenant).await.unwrap_err();
            assert_eq!((refused.kind, refused.code), (ErrorKind::NotFound, "tenant_not_found"), "{tenant}");
        }
    }

    async fn a_deleted_tenants_keys_are_unknown_and_a_suspended_ones_are_not(db: TestDb) {
        let (_world, parts) = node(&db);
        let (acme, key) = tenant(&parts, "Acme").await;
        tenants::patch(&parts, &operator(), acme, body::<TenantPatch>(json!({"state": "suspended"}))).await.unwrap();
        assert_eq!(authenticate(&parts, &key).await.unwrap().tenant, Some(acme));
        tenants::delete(&parts, &operator(), acme).await.unwrap();
        assert_eq!(code(authenticate(&parts, &key).await), "invalid_api_key");
    }

    async fn a_new_key_is_shown_once_and_stored_as_a_hash(db: TestDb) {
        let (_world, parts) = node(&db);
        let (acme, _) = tenant(&parts, "Acme").await;
        let request = repeat("make-1", "{}");
        let made = keys::create(&parts, &member(acme), &request, named("Shop")).await.unwrap();
        let shown = json(&made);
        let key = shown["key"].as_str().unwrap().to_owned();
        assert_eq!((made.status, shown["scopes"].clone(), shown["hint"].clone()), (201, json!(["*"]), json!(format!("tdk_••••{}", &key[40..]))));
        assert_eq!(authenticate(&parts, &key).await.unwrap().actor(), shown["id"].as_str().unwrap());

        // Repeated, the answer is the same; in the database the kept answer is sealed.
        let again = keys::create(&parts, &member(acme), &request, named("Shop")).await.unwrap();
        assert_eq!((again.body, again.replayed), (made.body, true));
        let secret = key.clone();
        let leaked = db.read(store::Scope::System, move |tx| Box::pin(async move {
            let rows = tx.rows("SELECT body FROM idempotency_keys", &[]).await?;
            let bodies = rows.into_iter().map(|mut row| row.get::<Vec<u8>>(0)).collect::<Result<Vec<_>, _>>()?;
            Ok::<_, store::Error>((bodies.len(), bodies.iter().any(|body| body.windows(8).any(|part| part == &secret.as_bytes()[4..12]))))
        }));
        assert_eq!(leaked.await.unwrap(), (1, false));
        let listed = keys::list(&parts, &member(acme), None, None).await.unwrap();
        assert_eq!(listed.data.len(), 2);
        assert!(!serde_json::to_string(&listed).unwrap().contains(&key));
    }

    async fn a_key_cannot_make_a_stronger_one(db: TestDb) {
        let (_world, parts) = node(&db);
        let (acme, _) = tenant(&parts, "Acme").await;
        let scopes = |words: &[&str]| Some(words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
        let made = keys::make(&parts, &member(acme), NewApiKey { scopes: scopes(&["keys:write", "usage:read"]), ..named("weak") }).await.unwrap();
        let weak = authenticate(&parts, &made.key).await.unwrap();
        let make = async |words: Option<Vec<String>>| keys::make(&parts, &weak, NewApiKey { scopes: words, ..named("child") }).await.map(|key| key.view.scopes);
        assert_eq!(code(make(scopes(&["*"])).await), "scope_escalation");
        assert_eq!(code(make(scopes(&["messages:write"])).await), "scope_escalation");
        assert_eq!(make(scopes(&["usage:read"])).await.unwrap(), ["usage:read"]);
        assert_eq!(make(None).await.unwrap(), ["keys:write", "usage:read"]);
        assert_eq!(code(keys::list(&parts, &weak, None, None).await), "missing_scope");
        assert_eq!(code(tenants::list(&parts, &weak, None, None).await), "operator_only");
    }

    async fn bad_key_requests_name_their_fields(db: TestDb) {
        let (world, parts) = node(&db);
        let (acme, _) = tenant(&parts, "Acme").await;
        let check = async |json: serde_json::Value, expected: &[&str]| {
            assert_eq!(pointers(keys::make(&parts, &member(acme), body(json)).await), expected);
        };
        check(json!({"name": ""}), &["/name"]).await;
        check(json!({"name": "k", "scopes": ["usage:read", "tenants:read", "x"]}), &["/scopes/1", "/scopes/2"]).await;
        check(json!({"name": "k", "scopes": []}), &["/scopes"]).await;
        check(json!({"name": "k", "ip_allow_list": ["192.0.2.1", "x", "10.0.0.1/8"]}), &["/ip_allow_list/1", "/ip_allow_list/2"]).await;
        check(json!({"name": "k", "expires_at": world.ports.clock.now()}), &["/expires_at"]).await;
        check(json!({"name": "a\nb", "ip_allow_list": vec!["192.0.2.1"; 65]}), &["/name", "/ip_allow_list"]).await;
    }

    async fn another_tenants_key_is_not_found(db: TestDb) {
        let (_world, parts) = node(&db);
        let (acme, _) = tenant(&parts, "Acme").await;
        let (other, _) = tenant(&parts, "Other").await;
        let made = keys::make(&parts, &member(acme), named("k")).await.unwrap();
        let unknown = keys::revoke(&parts, &member(other), KeyId::from_ulid(5)).await.unwrap_err();
        assert_eq!(keys::revoke(&parts, &member(other), made.view.id).await.unwrap_err(), unknown);
        assert_eq!(keys::revoke(&parts, &operator(), made.view.id).await.unwrap_err(), unknown);
        assert!(authenticate(&parts, &made.key).await.is_ok());
        assert_eq!(keys::list(&parts, &operator(), None, None).await.unwrap().data, []);
        // Revoking twice changes nothing, and is told once.
        keys::revoke(&parts, &member(acme), made.view.id).await.unwrap();
        keys::revoke(&parts, &member(acme), made.view.id).await.unwrap();
        assert_eq!(column(&db, "SELECT action FROM audit_log WHERE action = 'api_key.revoked'").await, "api_key.revoked");
    }

    async fn the_last_use_is_written_behind_and_once_a_minute(db: TestDb) {
        let (world, parts) = node(&db);
        let (acme, key) = tenant(&parts, "Acme").await;
        let used_at = async || keys::list(&parts, &member(acme), None, None).await.unwrap().data[0].last_used_at;
        let start = world.ports.clock.now();
        for _ in 0..3 {
            authenticate(&parts, &key).await.unwrap();
        }
        assert_eq!(used_at().await, None);
        assert_eq!(keys::flush_last_used(&parts).await, Ok(1));
        assert_eq!(used_at().await, Some(start));
        world.clock.advance_ms(59_999);
        authenticate(&parts, &key).await.unwrap();
        assert_eq!(keys::flush_last_used(&parts).await, Ok(0));
        world.clock.advance_ms(1);
        authenticate(&parts, &key).await.unwrap();
        assert_eq!(keys::flush_last_used(&parts).await, Ok(1));
        assert_eq!(used_at().await, Some(start.plus_seconds(60)));
    }
}

fn parts_again(world: &testkit::World) -> Parts {
    parts(world)
}
