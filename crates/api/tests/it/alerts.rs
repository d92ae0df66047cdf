//! Alerts as clients see them.

use serde_json::json;

use crate::support::Api;

/// Lets the tenant's messages wait for longer than its rule allows, and answers the rule and the alert it makes. The tenant has an account.
pub async fn alert(api: &Api, key: &str) -> (String, String) {
    let rules = api.get("/v1/alert-rules").bearer(key).send().await.ok(200);
    let rule = rules["data"].as_array().unwrap().iter().find(|rule| rule["kind"] == "queue_age").unwrap();
    let rule = rule["id"].as_str().unwrap().to_owned();
    let strict = json!({"threshold": 1, "for_s": 0, "deliver": []});
    api.patch(&format!("/v1/alert-rules/{rule}"), &strict).bearer(key).send().await.ok(200);
    let mail = json!({"to": {"email": "ada@example.com"}, "content": {"subject": "Hi", "text": "Hello"}});
    let waiting = json!({"messages": [mail, mail]});
    api.post("/v1/messages/batch", &waiting).bearer(key).send().await.ok(202);
    api.stage.world.clock.advance_ms(2_000);
    engine::alerts::watch(&api.stage.engine).await.unwrap();
    let alerts = api.get(&format!("/v1/alerts?rule_id={rule}")).bearer(key).send().await.ok(200);
    (rule, alerts["data"][0]["id"].as_str().expect("the queue is too old").to_owned())
}

testkit::both! {
    async fn an_alert_goes_from_firing_to_resolved(db: TestDb) {
        let api = Api::new(&db).await;
        api.post("/v1/accounts", &json!({"name": "Sandbox", "connector": "sandbox"})).send().await.ok(201);
        let key = api.key.clone();
        let (rule, id) = alert(&api, &key).await;
        let open = api.get("/v1/alerts?state=open&kind=queue_age").send().await.ok(200);
        assert_eq!((&open["data"][0]["id"], &open["data"][0]["value"], &open["data"][0]["unit"]), (&json!(id), &json!(2.0), &json!("seconds")));
        let taken = api.post(&format!("/v1/alerts/{id}/acknowledge"), &json!({"note": "On it"})).send().await.ok(200);
        assert_eq!((&taken["state"], &taken["note"]), (&json!("acknowledged"), &json!("On it")));
        let over = api.call("POST", &format!("/v1/alerts/{id}/resolve")).send().await.ok(200);
        assert_eq!((&over["state"], &over["note"]), (&json!("resolved"), &json!("On it")));
        assert_eq!(api.call("POST", &format!("/v1/alerts/{id}/resolve")).send().await.problem(409), "alert_resolved");
        assert_eq!(api.get("/v1/alerts?state=open").send().await.ok(200)["data"], json!([]));
        assert_eq!(api.get(&format!("/v1/alerts?state=resolved&rule_id={rule}")).send().await.ok(200)["data"][0]["id"], json!(id));
    }

    async fn a_rule_is_made_changed_and_deleted(db: TestDb) {
        let api = Api::new(&db).await;
        let new = json!({"kind": "complaint_rate", "threshold": 0.05, "at_least": 500, "deliver": [{"channel": "telegram", "to": "123456789"}]});
        let rule = api.post("/v1/alert-rules", &new).send().await.ok(201);
        let path = format!("/v1/alert-rules/{}", rule["id"].as_str().unwrap());
        assert_eq!((&rule["threshold"], &rule["name"], &rule["deliver"]), (&json!(0.05), &json!("Complaints"), &new["deliver"]));
        let changed = api.patch(&path, &json!({"threshold": null, "enabled": false, "deliver": []})).send().await.ok(200);
        assert_eq!((&changed["threshold"], &changed["enabled"], &changed["deliver"]), (&json!(0.08), &json!(false), &json!([])));
        assert_eq!(api.get(&path).send().await.ok(200), changed);
        let budget = api.post("/v1/alert-rules", &json!({"kind": "cost", "threshold": 250, "currency": "EUR"})).send().await.ok(201);
        assert_eq!((&budget["currency"], &budget["other_costs"], &budget["unit"]), (&json!("EUR"), &json!([]), &json!("money")));
        let bad = api.post("/v1/alert-rules", &json!({"kind": "cost", "threshold": 250, "currency": "euro"})).send().await;
        assert_eq!(bad.pointers(), ["/currency"]);
        let bad = api.post("/v1/alert-rules", &json!({"kind": "weather"})).send().await;
        assert_eq!(bad.pointers(), ["/kind"]);
        let bad = api.patch(&path, &json!({"over_s": 5, "deliver": [{"channel": "email", "to": "x"}]})).send().await;
        assert_eq!(bad.pointers(), ["/over_s", "/deliver/0/to"]);
        assert_eq!(api.delete(&path).send().await.status.as_u16(), 204);
        assert_eq!(api.get(&path).send().await.problem(404), "not_found");
        let audit = api.get("/v1/audit-log").send().await.ok(200);
        let actions: Vec<_> = audit["data"].as_array().unwrap().iter().map(|entry| entry["action"].as_str().unwrap()).filter(|action| action.starts_with("alert_rule")).collect();
        assert_eq!(actions, ["alert_rule.deleted", "alert_rule.created", "alert_rule.updated", "alert_rule.created"]);
        let operators = api.get("/v1/alert-rules").for_operator().send().await.ok(200);
        assert!(operators["data"].as_array().unwrap().iter().any(|rule| rule["kind"] == "provider_failing"), "{operators}");
    }
}
