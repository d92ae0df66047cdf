//! People at the API: the matrix of roles on every route, what is a person's own, and what keeps other sites out.

use api::access::{Access, OPERATIONS, Verb};
use engine::access::{
    Permissions, Role,
    permissions::{Need, need},
};
use serde_json::{Value, json};
use testkit::TestDb;

use crate::{
    support::{Api, DOCUMENT, example_body, guarded},
    walls::{concrete, nobody},
};

const PASSWORD: &str = "purple tram waits calmly";

#[test]
fn every_route_obeys_the_matrix() {
    testkit::on_sqlite(async |db: TestDb| {
        let api = Api::new(&db).await;
        let mut people = Vec::new();
        for role in Role::ALL {
            people
                .push((Permissions::of(*role), api.sign_in(&format!("{role}@example.com"), role.as_str(), &[]).await));
        }
        let granted = ["send:sms", "manage:voice", "administration"];
        let viewer = api.sign_in("special@example.com", "viewer", &granted).await;
        people.push((Permissions::from_stored("viewer", &granted.join(" ")), viewer));
        let (mut allowed, mut refused) = (0, 0);
        for (operation, described) in guarded() {
            let Some(needed) = operation.access.scope().and_then(need) else { panic!("{operation:?} has no line") };
            for (permissions, token) in &people {
                let path = concrete(operation, nobody);
                let call = api.call(&operation.method.as_str().to_uppercase(), &path).bearer(token);
                let call = match example_body(described) {
                    Some(body) => call.json(&body),
                    None => call,
                };
                if operation.path == "/v1/stream" && permissions.meet(needed) {
                    continue;
                }
                let seen = call.send().await;
                let code = if seen.status.is_success() {
                    String::new()
                } else {
                    seen.json()["code"].as_str().unwrap().to_owned()
                };
                let role = permissions.role();
                if matches!(operation.access, Access::Operator(_)) {
                    assert_eq!(
                        (seen.status.as_u16(), code.as_str()),
                        (403, "operator_only"),
                        "{operation:?} as {role}"
                    );
                } else if permissions.meet(needed) {
                    // One channel among several, and giving more than one has, are asked about later; the role as such is enough to be heard.
                    let is_narrow = matches!(needed, Need::AnySend | Need::AnyManage) && role == Role::Viewer;
                    let is_heard = seen.status.as_u16() != 403 || is_narrow || code.ends_with("_escalation");
                    assert!(is_heard, "{operation:?} as {role}: {}", seen.text());
                    allowed += 1;
                } else {
                    assert_eq!(
                        (seen.status.as_u16(), code.as_str()),
                        (403, "missing_permission"),
                        "{operation:?} as {role}"
                    );
                    refused += 1;
                }
            }
        }
        assert!(allowed > 100 && refused > 30, "{allowed} allowed, {refused} refused");
    });
}

#[test]
fn what_is_a_persons_own_is_nobody_elses() {
    testkit::on_sqlite(async |db: TestDb| {
        let api = Api::new(&db).await;
        for operation in OPERATIONS.iter().filter(|operation| operation.access == Access::Person) {
            let path = concrete(operation, nobody);
            let described = &DOCUMENT["paths"][operation.path][operation.method.as_str()];
            let call = || {
                let call = api.call(&operation.method.as_str().to_uppercase(), &path);
                match example_body(described) {
                    Some(body) => call.json(&body),
                    None => call,
                }
            };
            assert_eq!(call().anonymous().send().await.problem(401), "api_key_missing", "{operation:?}");
            assert_eq!(call().send().await.problem(403), "person_only", "{operation:?}");
            assert_eq!(
                call().bearer("tds_0000000000000000000000000000000000000000").send().await.problem(401),
                "session_ended"
            );
        }
    });
}

#[test]
fn doors_read_their_bodies_strictly() {
    testkit::on_sqlite(async |db: TestDb| {
        let api = Api::new(&db).await;
        let doors =
            |operation: &&api::access::Operation| operation.access == Access::Door && operation.method == Verb::Post;
        for operation in OPERATIONS.iter().filter(doors) {
            let body = |body: &[u8]| {
                api.call("POST", operation.path).anonymous().header("content-type", "application/json").bytes(body)
            };
            assert_eq!(body(b"{").send().await.problem(400), "malformed_json", "{operation:?}");
            let mut unknown = example_body(&DOCUMENT["paths"][operation.path]["post"]).unwrap();
            unknown["zzz"] = json!(1);
            let seen = body(unknown.to_string().as_bytes()).send().await;
            assert_eq!(
                (seen.problem(422), seen.pointers()),
                ("invalid_request".to_owned(), vec!["/zzz".to_owned()]),
                "{operation:?}"
            );
            let seen = api
                .call("POST", operation.path)
                .anonymous()
                .bytes("{}")
                .header("content-type", "text/plain")
                .send()
                .await;
            assert_eq!(seen.problem(415), "unsupported_media_type", "{operation:?}");
        }
    });
}

testkit::both! {
    async fn an_invitation_becomes_a_session_over_the_api(db: TestDb) {
        let api = Api::new(&db).await;
        let invited = api.post("/v1/users", &json!({"email": "ada@example.com", "role": "member", "permissions": ["campaigns"]})).send().await.ok(201);
        assert_eq!((&invited["state"], &invited["is_sent"]), (&json!("invited"), &json!(false)));
        let token = invited["link"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
        let open = |path: &'static str, body: Value| { let api = &api; async move { api.post(path, &body).anonymous().send().await } };
        let shown = open("/v1/invitations/show", json!({"token": token})).await.ok(200);
        assert_eq!((&shown["tenant_name"], &shown["role"], &shown["has_account"]), (&json!("Acme"), &json!("member"), &json!(false)));
        let done = open("/v1/invitations/accept", json!({"token": token, "name": "Ada", "password": PASSWORD})).await.ok(200);
        let session = done["session"]["token"].as_str().unwrap();
        let me = api.get("/v1/users/me").bearer(session).send().await.ok(200);
        assert_eq!((&me["name"], &me["memberships"][0]["permissions"]), (&json!("Ada"), &json!(["campaigns"])));
        assert_eq!(api.get("/v1/tenant").bearer(session).send().await.ok(200)["name"], "Acme");
        let again = open("/v1/sessions", json!({"email": "ada@example.com", "password": PASSWORD})).await.ok(200);
        let other = again["session"]["token"].as_str().unwrap();
        assert_eq!(open("/v1/sessions", json!({"email": "ada@example.com", "password": "wrong"})).await.problem(401), "sign_in_failed");
        let listed = api.get("/v1/sessions").bearer(session).send().await.ok(200);
        assert_eq!(listed["data"].as_array().unwrap().len(), 2);
        let path = format!("/v1/sessions/{}", done["session"]["id"].as_str().unwrap());
        api.delete(&path).bearer(other).send().await.ok(204);
        assert_eq!(api.get("/v1/users/me").bearer(session).send().await.problem(401), "session_ended");
        let user = invited["id"].as_str().unwrap();
        let changed = api.patch(&format!("/v1/users/{user}"), &json!({"role": "viewer", "permissions": null})).send().await.ok(200);
        assert_eq!((&changed["role"], &changed["permissions"]), (&json!("viewer"), &json!([])));
        api.delete(&format!("/v1/users/{user}")).send().await.ok(204);
        assert_eq!(api.get("/v1/users/me").bearer(other).send().await.problem(401), "session_ended");
    }

    async fn the_second_factor_works_over_the_api(db: TestDb) {
        let api = Api::new(&db).await;
        let token = api.sign_in("ada@example.com", "member", &[]).await;
        let setup = api.call("POST", "/v1/users/me/second-factor").bearer(&token).send().await.ok(200);
        let secret = totp_rs::Secret::try_from_base32(setup["secret"].as_str().unwrap()).unwrap();
        let app = totp_rs::Builder::new().with_algorithm(totp_rs::Algorithm::SHA1).with_digits(6).with_step_duration(30).with_secret(secret).build_noncompliant();
        let code = app.generate(api.stage.engine.ports.clock.now().as_seconds().unsigned_abs()).to_string();
        let on = api.post("/v1/users/me/second-factor/confirm", &json!({"code": code})).bearer(&token).send().await.ok(200);
        let fresh = on["session"]["token"].as_str().unwrap();
        assert_eq!(api.get("/v1/users/me").bearer(&token).send().await.problem(401), "session_ended");
        let codes = on["recovery_codes"].as_array().unwrap();
        let left = api.post("/v1/users/me/recovery-codes", &json!({"code": codes[0]})).bearer(fresh).send().await.ok(200);
        assert_eq!(left["recovery_codes"].as_array().unwrap().len(), 10);
        let old = api.post("/v1/users/me/second-factor/remove", &json!({"code": codes[1]})).bearer(fresh).send().await;
        assert_eq!(old.pointers(), ["/code"]);
        api.post("/v1/users/me/second-factor/remove", &json!({"code": left["recovery_codes"][0]})).bearer(fresh).send().await.ok(204);
        assert_eq!(api.get("/v1/users/me").bearer(fresh).send().await.ok(200)["has_second_factor"], false);
    }

    async fn another_site_cannot_use_the_cookie(db: TestDb) {
        let api = Api::new(&db).await;
        let token = api.sign_in("ada@example.com", "owner", &[]).await;
        let cookie = format!("theme=dark; tidings_session={token}");
        let with_cookie = |method: &str, path: &str| api.call(method, path).anonymous().header("cookie", &cookie);
        let me = with_cookie("GET", "/v1/users/me").send().await.ok(200);
        let csrf = me["csrf"].as_str().unwrap();
        let new = json!({"name": "Key"});
        for wrong in ["", "x", &csrf[1..]] {
            let seen = with_cookie("POST", "/v1/api-keys").json(&new).header("tidings-csrf", wrong).send().await;
            assert_eq!(seen.problem(403), "csrf_token_missing", "{wrong:?}");
        }
        with_cookie("POST", "/v1/api-keys").json(&new).header("tidings-csrf", csrf).send().await.ok(201);
        // A key beside the cookie counts, and is not taken for the person.
        assert_eq!(with_cookie("GET", "/v1/users/me").bearer(&api.key).send().await.problem(403), "person_only");
    }

    async fn a_channel_is_a_permission_of_its_own(db: TestDb) {
        let api = Api::new(&db).await;
        let sandbox = |name: &str, channels: &[&str]| json!({"name": name, "connector": "sandbox", "channels": channels});
        api.post("/v1/accounts", &sandbox("All", &["email", "sms"])).send().await.ok(201);
        let sms = json!({"to": {"phone": "+15550100001"}, "channel": "sms", "content": {"text": "Hello"}});
        let mail = json!({"to": {"email": "ada@example.com"}, "content": {"subject": "Hi", "text": "Hello"}});
        let either = json!({"to": {"email": "ada@example.com", "phone": "+15550100001"}, "channel": ["sms", "email"], "content": {"text": "Hello"}});
        let texter = api.sign_in("texter@example.com", "viewer", &["send:sms", "manage:sms"]).await;
        api.post("/v1/messages", &sms).bearer(&texter).send().await.ok(202);
        assert_eq!(api.post("/v1/messages", &mail).bearer(&texter).send().await.problem(403), "missing_permission");
        assert_eq!(api.post("/v1/messages", &either).bearer(&texter).send().await.problem(403), "missing_permission");
        let batch = api.post("/v1/messages/batch", &json!({"messages": [sms, mail]})).bearer(&texter).send().await.ok(202);
        assert!(batch["data"][0]["id"].is_string() && batch["data"][1]["error"]["code"] == "missing_permission", "{batch}");
        let later = api.stage.engine.ports.clock.now().plus_seconds(3_600);
        let theirs = json!({"send_at": later, "to": {"email": "ada@example.com"}, "content": {"subject": "Hi", "text": "Hello"}});
        let theirs = api.post("/v1/messages", &theirs).send().await.ok(202);
        let cancel = format!("/v1/messages/{}/cancel", theirs["id"].as_str().unwrap());
        assert_eq!(api.call("POST", &cancel).bearer(&texter).send().await.problem(403), "missing_permission");
        let own = api.post("/v1/accounts", &sandbox("SMS", &["sms"])).bearer(&texter).send().await.ok(201);
        assert_eq!(api.post("/v1/accounts", &sandbox("Both", &["sms", "email"])).bearer(&texter).send().await.problem(403), "missing_permission");
        let path = format!("/v1/accounts/{}", own["id"].as_str().unwrap());
        assert_eq!(api.patch(&path, &json!({"channels": ["sms", "email"]})).bearer(&texter).send().await.problem(403), "missing_permission");
        api.delete(&path).bearer(&texter).send().await.ok(204);
        let mailer = api.post("/v1/accounts", &sandbox("Mail", &["email"])).send().await.ok(201)["id"].clone();
        for (path, body) in [
            ("/v1/schedules", json!({"name": "Weekly", "cron": "0 9 * * MON", "message": mail})),
            ("/v1/senders", json!({"account_id": mailer, "from": "news@acme.example"})),
            ("/v1/domains", json!({"account_id": mailer, "name": "acme.example"})),
        ] {
            assert_eq!(api.post(path, &body).bearer(&texter).send().await.problem(403), "missing_permission", "{path}");
            api.post(path, &body).send().await.ok(201);
        }
        let planner = api.sign_in("planner@example.com", "viewer", &["campaigns", "templates", "send:sms"]).await;
        let contact = api.post("/v1/contacts", &json!({"email": "ada@example.com", "phone": "+15550100001"})).send().await.ok(201)["id"].clone();
        let campaign = |channel: &str| json!({"name": "Summer", "channel": channel, "purpose": "transactional", "audience": {"contact_ids": [contact]},
            "content": if channel == "sms" { json!({"text": "Hello"}) } else { json!({"subject": "Hi", "text": "Hello"}) }});
        assert_eq!(api.post("/v1/campaigns", &campaign("email")).bearer(&planner).send().await.problem(403), "missing_permission");
        api.post("/v1/campaigns", &campaign("sms")).bearer(&planner).send().await.ok(201);
        let theirs = api.post("/v1/campaigns", &campaign("email")).send().await.ok(201);
        let path = format!("/v1/campaigns/{}/send", theirs["id"].as_str().unwrap());
        assert_eq!(api.call("POST", &path).bearer(&planner).send().await.problem(403), "missing_permission");
    }

    async fn somebody_of_several_tenants_names_one(db: TestDb) {
        let api = Api::new(&db).await;
        let token = api.sign_in("ada@example.com", "owner", &[]).await;
        let (other, other_key) = api.another_tenant().await;
        let invited = api.post("/v1/users", &json!({"email": "ada@example.com", "role": "viewer"})).bearer(&other_key).send().await.ok(201);
        let link = invited["link"].as_str().unwrap().rsplit('/').next().unwrap();
        let joined = api.post("/v1/invitations/join", &json!({"token": link})).bearer(&token).send().await.ok(200);
        assert_eq!(joined["tenant_id"], other.to_string());
        let stage = api.stage.tenant.to_string();
        let with = |tenant: &str| api.get("/v1/tenant").bearer(&token).header("tidings-tenant", tenant);
        assert_eq!(with(&stage).send().await.ok(200)["name"], "Acme");
        assert_eq!(with(&other.to_string()).send().await.ok(200)["name"], "Other");
        assert_eq!(with("ten_01K9ZC8Q6T7Y2V5B3N4M1XWRSD").send().await.problem(404), "not_found");
        assert_eq!(with("nonsense").send().await.problem(404), "not_found");
        // In each with the role they have there.
        let new = json!({"name": "Key"});
        let key = |tenant: &str| api.post("/v1/api-keys", &new).bearer(&token).header("tidings-tenant", tenant);
        key(&stage).send().await.ok(201);
        assert_eq!(key(&other.to_string()).send().await.problem(403), "missing_permission");
    }

    async fn staff_acts_as_far_as_its_role_goes(db: TestDb) {
        let api = Api::new(&db).await;
        let tenant = api.stage.tenant.to_string();
        let admin = api.sign_in_staff("admin@tidings.example", "admin").await;
        let support = api.sign_in_staff("support@tidings.example", "support").await;
        let sales = api.sign_in_staff("sales@tidings.example", "sales").await;
        api.post("/v1/tenants", &json!({"name": "New"})).bearer(&admin).send().await.ok(201);
        api.get("/v1/tenants").bearer(&support).send().await.ok(200);
        assert_eq!(api.post("/v1/tenants", &json!({"name": "New"})).bearer(&support).send().await.problem(403), "missing_permission");
        assert_eq!(api.get("/v1/tenants").bearer(&sales).send().await.problem(403), "missing_permission");
        let messages = |token: &str| api.get("/v1/messages").bearer(token).header("tidings-tenant", &tenant);
        messages(&support).send().await.ok(200);
        assert_eq!(messages(&sales).send().await.problem(404), "not_found");
        assert_eq!(api.get("/v1/users").bearer(&support).send().await.ok(200)["data"].as_array().unwrap().len(), 3);
    }
}
