//! Accounts: settings, defaults, tests, deletion.

use engine::{
    Error, Parts,
    accounts::{self, AccountState, AccountView},
    audit,
    once::{Repeat, Reply},
};
use model::{AccountId, Answer, Call, Channel, TenantId, Timestamp};
use serde_json::{Value, json};
use store::{Scope, account_states};
use testkit::{TestDb, World, broken_before, http_answer};

use crate::setting::*;

const SID: &str = "AC0123456789abcdef0123456789abcdef";
const TOKEN: &str = "0123456789abcdef0123456789abWXYZ";

fn twilio(name: &str) -> Value {
    json!({"name": name, "connector": "twilio", "settings": {"account_sid": SID, "auth_token": TOKEN}, "from": "+15550100001"})
}

async fn make(parts: &Parts, tenant: TenantId, new: Value) -> Result<Reply, Error> {
    accounts::create(parts, &member(tenant), &Repeat::NONE, body(new)).await
}

async fn made(parts: &Parts, tenant: TenantId, new: Value) -> AccountId {
    json(&make(parts, tenant, new).await.unwrap())["id"].as_str().unwrap().parse().unwrap()
}

async fn get(parts: &Parts, tenant: TenantId, id: AccountId) -> AccountView {
    accounts::get(parts, &member(tenant), id).await.unwrap()
}

async fn patch(parts: &Parts, tenant: TenantId, id: AccountId, change: Value) -> Result<AccountView, Error> {
    accounts::patch(parts, &member(tenant), id, body(change)).await
}

async fn pause(db: &TestDb, tenant: TenantId, id: AccountId, now: Timestamp) {
    let failure =
        model::Failure::new(model::FailureKind::Account, "20003", "Twilio refused the auth token. Update the account.");
    let write = db.write(Scope::System, move |tx| {
        Box::pin(async move {
            let mut state = account_states::AccountState::new(tenant, id, now);
            (state.paused_at, state.paused_until, state.failures) = (Some(now), Some(now.plus_seconds(60)), 3);
            state.pause = Some(serde_json::to_string(&failure).unwrap());
            account_states::save(tx, &state).await
        })
    });
    write.await.unwrap();
}

/// A node in a world with one HTTP provider.
fn provider(
    db: &TestDb,
    respond: impl Fn(&Call) -> Result<Answer, model::Broken> + Send + Sync + 'static,
) -> (World, Parts) {
    let world = World::answering(db, respond);
    let parts = parts(&world);
    (world, parts)
}

testkit::both! {
    async fn an_account_shows_hints_and_is_stored_sealed(db: TestDb) {
        let (_world, parts) = node(&db);
        let (acme, _) = tenant(&parts, "Acme").await;
        let reply = accounts::create(&parts, &member(acme), &repeat("a", "{}"), body(twilio("SMS"))).await.unwrap();
        let shown = json(&reply);
        let id = shown["id"].as_str().unwrap();
        assert_eq!(reply.status, 201);
        assert_eq!(shown["settings"]["auth_token"], "••••WXYZ");
        assert_eq!(shown["settings"]["account_sid"], SID);
        assert_eq!((&shown["channels"], &shown["default_for"]), (&json!(["sms", "whatsapp", "voice"]), &json!(["sms", "whatsapp", "voice"])));
        assert_eq!((&shown["state"], &shown["enabled"], &shown["from"]), (&json!("ready"), &json!(true), &json!("+15550100001")));
        assert_eq!(shown["callback_url"], format!("https://tidings.example/hooks/{id}"));
        let again = accounts::create(&parts, &member(acme), &repeat("a", "{}"), body(twilio("SMS"))).await.unwrap();
        assert_eq!((again.body, again.replayed), (reply.body, true));

        let id: AccountId = id.parse().unwrap();
        let opened = parts.directory.account(acme, id).await.unwrap().unwrap();
        assert_eq!(opened.values.get("auth_token"), Some(TOKEN));
        let sealed = db.read(Scope::System, move |tx| Box::pin(async move {
            Ok::<_, store::Error>(store::accounts::find(tx, acme, id).await?.unwrap().settings)
        })).await.unwrap();
        for secret in [TOKEN, SID, "auth_token"] {
            assert!(!sealed.windows(secret.len()).any(|part| part == secret.as_bytes()));
        }
        // Nothing that is plain in the database tells the token either.
        let told = column(&db, "SELECT detail FROM audit_log").await;
        assert!(told.contains(SID) && !told.contains(TOKEN));
    }

    async fn bad_accounts_name_their_fields(db: TestDb) {
        let (_world, parts) = node(&db);
        let (acme, _) = tenant(&parts, "Acme").await;
        let check = async |new: Value, expected: &[&str]| assert_eq!(pointers(make(&parts, acme, new).await), expected);
        let with = |field: &str, value: Value| {
            let mut new = twilio("SMS");
            new[field] = value;
            new
        };
        check(with("connector", json!("pigeon")), &["/connector"]).await;
        for internal in ["webhook", "noop"] {
            check(with("connector", json!(internal)), &["/connector"]).await;
        }
        check(with("name", json!("")), &["/name"]).await;
        check(with("settings", json!({})), &["/settings/account_sid", "/settings/auth_token"]).await;
        check(with("settings", json!({"account_sid": "XX", "auth_token": TOKEN})), &["/settings/account_sid"]).await;
        check(with("settings", json!({"account_sid": SID, "auth_token": 7, "a/b": 1})), &["/settings/a~1b", "/settings/auth_token"]).await;
        check(with("channels", json!(["sms", "email"])), &["/channels/1"]).await;
        check(with("channels", json!([])), &["/channels"]).await;
        check(json!({"name": "x", "connector": "sandbox", "channels": ["sms"], "default_for": ["sms", "email"]}), &["/default_for/1"]).await;
        check(with("from", json!("not a number at all")), &["/from"]).await;
        check(with("from", json!("+1555\r\n0100001")), &["/from"]).await;
        check(with("per_second", json!(0)), &["/per_second"]).await;
        check(with("concurrency", json!(1_001)), &["/concurrency"]).await;
        assert_eq!(accounts::list(&parts, &member(acme), None, None).await.unwrap().data, []);
    }

    async fn a_channel_has_one_default(db: TestDb) {
        let (_world, parts) = node(&db);
        let (acme, _) = tenant(&parts, "Acme").await;
        let sandbox = |more: Value| {
            let mut new = json!({"name": "S", "connector": "sandbox"});
            new.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            new
        };
        let first = made(&parts, acme, sandbox(json!({"channels": ["email", "sms"]}))).await;
        let second = made(&parts, acme, sandbox(json!({}))).await;
        let defaults = async |id| get(&parts, acme, id).await.default_for;
        assert_eq!(defaults(first).await, [Channel::Email, Channel::Sms]);
        assert_eq!(defaults(second).await, [Channel::Whatsapp, Channel::Telegram, Channel::Voice]);

        let third = made(&parts, acme, sandbox(json!({"default_for": ["sms", "voice", "sms"]}))).await;
        assert_eq!((defaults(first).await, defaults(third).await), (vec![Channel::Email], vec![Channel::Sms, Channel::Voice]));
        assert_eq!(defaults(second).await, [Channel::Whatsapp, Channel::Telegram]);
        patch(&parts, acme, first, json!({"default_for": ["sms"]})).await.unwrap();
        assert_eq!((defaults(first).await, defaults(third).await), (vec![Channel::Sms], vec![Channel::Voice]));
        let none = made(&parts, acme, sandbox(json!({"default_for": []}))).await;
        assert_eq!(defaults(none).await, []);
        // A channel the account gives up is no longer its default.
        assert_eq!(patch(&parts, acme, third, json!({"channels": ["sms"]})).await.unwrap().default_for, []);
        let tenant = parts.directory.tenant(acme).await.unwrap().unwrap();
        assert_eq!(tenant.account(first).unwrap().default_for, [Channel::Sms]);
    }

    async fn settings_are_merged_and_the_change_is_told_without_secrets(db: TestDb) {
        let (_world, parts) = node(&db);
        let (acme, _) = tenant(&parts, "Acme").await;
        let id = made(&parts, acme, twilio("SMS")).await;
        let service = "MG0123456789abcdef0123456789abcdef";
        let change = json!({"settings": {"auth_token": "••••WXYZ", "messaging_service_sid": service}, "from": null, "enabled": false, "per_second": 3});
        let after = patch(&parts, acme, id, change).await.unwrap();
        assert_eq!((after.from, after.enabled, after.state, after.per_second), (None, false, AccountState::Disabled, Some(3)));
        let opened = parts.directory.account(acme, id).await.unwrap().unwrap();
        assert_eq!((opened.values.get("auth_token"), opened.values.get("messaging_service_sid")), (Some(TOKEN), Some(service)));
        assert!(!opened.is_enabled);

        let new_token = format!("{}WXYZ", "f".repeat(28));
        patch(&parts, acme, id, json!({"settings": {"auth_token": new_token, "messaging_service_sid": null}})).await.unwrap();
        let told = audit::list(&parts, &member(acme), Some(2), None).await.unwrap().data;
        let print = &told[0].detail["settings"]["auth_token"];
        assert!(print["from"] != print["to"] && [&print["from"], &print["to"]].iter().all(|text| text.as_str().unwrap().starts_with("secret:")), "{print}");
        assert_eq!(told[0].detail["settings"]["messaging_service_sid"], json!({"from": service, "to": null}));
        assert_eq!(told[1].detail, json!({
            "settings": {"messaging_service_sid": {"from": null, "to": service}}, "from": {"from": "+15550100001", "to": null},
            "enabled": {"from": true, "to": false}, "per_second": {"from": null, "to": 3},
        }));
        assert_eq!(parts.directory.account(acme, id).await.unwrap().unwrap().values.get("auth_token"), Some(new_token.as_str()));
        assert_eq!(pointers(patch(&parts, acme, id, json!({"settings": {"auth_token": null}, "name": null})).await), ["/name", "/settings/auth_token"]);
    }

    async fn another_tenants_account_is_not_found(db: TestDb) {
        let (_world, parts) = node(&db);
        let (acme, _) = tenant(&parts, "Acme").await;
        let (other, _) = tenant(&parts, "Other").await;
        let id = made(&parts, acme, twilio("SMS")).await;
        let me = member(other);
        let unknown = accounts::get(&parts, &me, AccountId::from_ulid(5)).await.unwrap_err();
        assert_eq!(unknown.code, "not_found");
        assert_eq!(accounts::get(&parts, &me, id).await.unwrap_err(), unknown);
        assert_eq!(patch(&parts, other, id, json!({"name": "Mine"})).await.unwrap_err(), unknown);
        assert_eq!(accounts::delete(&parts, &me, id).await.unwrap_err(), unknown);
        assert_eq!(accounts::test(&parts, &me, &Repeat::NONE, id).await.unwrap_err(), unknown);
        assert_eq!(accounts::stats(&parts, &me, id).await.unwrap_err(), unknown);
        assert!(parts.directory.account(other, id).await.unwrap().is_none());
        assert_eq!(accounts::list(&parts, &me, None, None).await.unwrap().data, []);
        assert_eq!(get(&parts, acme, id).await.name, "SMS");
        assert_eq!(code(accounts::get(&parts, &operator(), id).await), "tenant_required");
        let (owner, account) = parts.directory.account_by_id(id).await.unwrap().unwrap();
        assert_eq!((owner.id, account.id), (acme, id));
    }

    async fn accounts_need_their_scopes(db: TestDb) {
        let (_world, parts) = node(&db);
        let (acme, _) = tenant(&parts, "Acme").await;
        let id = made(&parts, acme, twilio("SMS")).await;
        let me = engine::keys::Caller { scopes: engine::keys::Scopes::from_stored("accounts:read"), ..member(acme) };
        assert!(accounts::get(&parts, &me, id).await.is_ok());
        assert_eq!(code(accounts::create(&parts, &me, &Repeat::NONE, body(twilio("B"))).await), "missing_scope");
        assert_eq!(code(accounts::patch(&parts, &me, id, body(json!({}))).await), "missing_scope");
        assert_eq!(code(accounts::delete(&parts, &me, id).await), "missing_scope");
        assert_eq!(code(accounts::test(&parts, &me, &Repeat::NONE, id).await), "missing_scope");
    }

    async fn a_test_asks_the_provider_and_ends_a_pause(db: TestDb) {
        let (world, parts) = provider(&db, |call| match call {
            Call::Http(http) if http.url.contains("Balance") => http_answer(200, r#"{"balance": "7.50", "currency": "USD"}"#),
            _ => http_answer(200, r#"{"friendly_name": "Acme", "status": "active", "type": "Full"}"#),
        });
        let (acme, _) = tenant(&parts, "Acme").await;
        let id = made(&parts, acme, twilio("SMS")).await;
        pause(&db, acme, id, world.ports.clock.now()).await;
        let paused = get(&parts, acme, id).await;
        assert_eq!((paused.state, paused.pause.unwrap().code.as_str()), (AccountState::Paused, "20003"));

        let request = repeat("test", "");
        let reply = accounts::test(&parts, &member(acme), &request, id).await.unwrap();
        let found = json(&reply);
        assert_eq!((reply.status, &found["ok"], found["checks"].as_array().unwrap().len()), (200, &json!(true), 3));
        assert_eq!(get(&parts, acme, id).await.state, AccountState::Ready);
        assert_eq!(world.transport.take_calls().len(), 2);
        // Repeated, nobody is asked again.
        assert!(accounts::test(&parts, &member(acme), &request, id).await.unwrap().replayed);
        assert!(world.transport.take_calls().is_empty());
    }

    async fn a_failing_test_says_what_to_do_and_keeps_the_pause(db: TestDb) {
        let (world, parts) = provider(&db, |call| match call {
            Call::Http(http) if http.url.contains("Balance") => broken_before("dns"),
            _ => http_answer(401, r#"{"code": 20003, "message": "Authenticate"}"#),
        });
        let (acme, _) = tenant(&parts, "Acme").await;
        let id = made(&parts, acme, twilio("SMS")).await;
        pause(&db, acme, id, world.ports.clock.now()).await;
        let found = json(&accounts::test(&parts, &member(acme), &Repeat::NONE, id).await.unwrap());
        assert_eq!(found["ok"], false);
        let broken = found["checks"].as_array().unwrap().iter().find(|check| check["name"] == "Balance").unwrap();
        assert_eq!(broken["detail"], "No answer: the test says so (dns). Check the host name in the settings.");
        assert_eq!(get(&parts, acme, id).await.state, AccountState::Paused);
        // Entering the settings anew is the other remedy.
        let after = patch(&parts, acme, id, json!({"settings": {"auth_token": "f".repeat(32)}})).await.unwrap();
        assert_eq!((after.state, after.pause), (AccountState::Ready, None));
    }

    async fn the_sandbox_is_in_order_without_a_network(db: TestDb) {
        let (world, parts) = node(&db);
        let (acme, _) = tenant(&parts, "Acme").await;
        let id = made(&parts, acme, json!({"name": "S", "connector": "sandbox", "enabled": false})).await;
        let found = json(&accounts::test(&parts, &member(acme), &Repeat::NONE, id).await.unwrap());
        assert_eq!(found["ok"], true);
        assert!(world.transport.calls().is_empty());
        let shown = get(&parts, acme, id).await;
        assert_eq!((shown.state, shown.callback_url), (AccountState::Disabled, None));
    }

    async fn an_account_in_use_is_not_deleted(db: TestDb) {
        let (_world, parts) = node(&db);
        let (acme, _) = tenant(&parts, "Acme").await;
        let id = made(&parts, acme, twilio("SMS")).await;
        let waiting = |verb: &'static str| {
            let db = db.db.clone();
            async move {
                db.write(Scope::System, move |tx| Box::pin(async move {
                    let sql = match verb {
                        "add" => "INSERT INTO deliveries (account_id, class, due_at, message_id, tenant_id, attempts, tries) VALUES ($1, 0, $3, $2, $2, 0, 0)",
                        _ => "DELETE FROM deliveries WHERE account_id = $1 AND tenant_id = $2 AND due_at = $3",
                    };
                    tx.execute(sql, &[&id, &acme, &Timestamp::EPOCH]).await
                })).await.unwrap()
            }
        };
        waiting("add").await;
        let refused = accounts::delete(&parts, &member(acme), id).await.unwrap_err();
        assert_eq!((refused.code, refused.kind), ("account_in_use", engine::ErrorKind::Conflict));
        assert_eq!(accounts::stats(&parts, &member(acme), id).await.unwrap().queued, 1);
        waiting("remove").await;

        accounts::delete(&parts, &member(acme), id).await.unwrap();
        assert_eq!(code(accounts::get(&parts, &member(acme), id).await), "not_found");
        assert!(parts.directory.account_by_id(id).await.unwrap().is_none());
        let left = db.read(Scope::System, move |tx| Box::pin(async move {
            let mut row = tx.row("SELECT settings, data_key_id FROM accounts WHERE id = $1", &[&id]).await?.unwrap();
            Ok::<_, store::Error>((row.get::<Vec<u8>>(0)?, row.get::<i64>(1)?))
        }));
        assert_eq!(left.await.unwrap(), (Vec::new(), 0));
    }

    async fn an_altered_secret_stops_its_account_only(db: TestDb) {
        let (_world, parts) = node(&db);
        let (acme, _) = tenant(&parts, "Acme").await;
        let (bad, good) = (made(&parts, acme, twilio("Bad")).await, made(&parts, acme, twilio("Good")).await);
        db.write(Scope::System, move |tx| Box::pin(async move {
            let other = store::accounts::find(tx, acme, good).await?.unwrap();
            let row = store::accounts::find(tx, acme, bad).await?.unwrap();
            store::accounts::update(tx, &store::accounts::Account { settings: other.settings, ..row }).await?;
            store::tenants::bump(tx, Some(acme)).await
        })).await.unwrap();
        parts.directory.refresh().await.unwrap();
        let tenant = parts.directory.tenant(acme).await.unwrap().unwrap();
        let (bad_one, good_one) = (tenant.account(bad).unwrap(), tenant.account(good).unwrap());
        assert!(!bad_one.is_enabled && bad_one.trouble.as_ref().unwrap().contains("Enter it again"));
        assert!(good_one.is_enabled && good_one.values.get("auth_token") == Some(TOKEN));
        assert_eq!(get(&parts, acme, bad).await.state, AccountState::Unusable);
        let found = json(&accounts::test(&parts, &member(acme), &Repeat::NONE, bad).await.unwrap());
        assert_eq!((&found["ok"], &found["checks"][0]["name"]), (&json!(false), &json!("Settings")));
        // Entering them again heals it.
        assert_eq!(pointers(patch(&parts, acme, bad, json!({"name": "x"})).await), ["/settings/account_sid", "/settings/auth_token"]);
        let after = patch(&parts, acme, bad, json!({"settings": {"account_sid": SID, "auth_token": TOKEN}})).await.unwrap();
        assert_eq!(after.state, AccountState::Ready);
    }
}
