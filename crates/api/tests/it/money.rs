//! Prices and credit as a tenant and the operator see them.

use serde_json::json;

use crate::support::Api;

testkit::both! {
    async fn a_tenant_pays_ahead_and_is_told_what_is_missing(db: TestDb) {
        let api = Api::new(&db).await;
        let tenant = api.stage.tenant.to_string();
        let operator = |path: &str, body| api.post(path, &body).for_operator().header("tidings-tenant", &tenant);
        api.post("/v1/accounts", &json!({"name": "Sandbox", "connector": "sandbox"})).send().await.ok(201);
        let rows = json!([{"channel": "email", "unit": "message", "amount_micros": 400}]);
        let list = api.post("/v1/prices", &json!({"currency": "USD", "rows": rows})).for_operator().send().await.ok(201);
        assert_eq!(api.get("/v1/prices").send().await.ok(200)["data"], json!([list]));
        let mode = api.patch("/v1/credits", &json!({"mode": "prepaid"})).for_operator();
        mode.header("tidings-tenant", &tenant).send().await.ok(200);
        let mail = json!({"to": {"email": "ada@example.com"}, "channel": "email", "content": {"subject": "Hello", "text": "Ada"}});
        let refused = api.post("/v1/messages", &mail).send().await;
        assert_eq!(refused.problem(402), "insufficient_credit");
        let usd = |micros: i64| json!({"amount_micros": micros, "currency": "USD"});
        assert_eq!((&refused.json()["need"], &refused.json()["available"]), (&usd(400), &usd(0)));
        operator("/v1/credits/purchases", json!({"amount_micros": 1000, "reference": "bank"})).send().await.ok(201);
        let accepted = api.post("/v1/messages", &mail).send().await.ok(202);
        assert_eq!(accepted["cost"], usd(400));
        api.stage.dispatch().await;
        let credits = api.get("/v1/credits").send().await.ok(200);
        assert_eq!((&credits["available"], &credits["reserved"], &credits["spent"]), (&usd(600), &usd(0), &usd(400)));
        let table = api.get("/v1/credits/entries?format=csv").send().await.text();
        let kinds: Vec<_> = table.lines().skip(1).map(|line| line.split(',').nth(2).unwrap()).collect();
        assert_eq!(kinds, ["settle", "reserve", "purchase"]);
        let bad = operator("/v1/credits/purchases", json!({"amount_micros": 0, "reference": ""})).send().await;
        assert_eq!(bad.pointers(), ["/amount_micros", "/reference"]);
    }
}
