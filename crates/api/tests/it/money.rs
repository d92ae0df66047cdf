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
        let mut summary = list.clone();
        let rows = summary.as_object_mut().unwrap().remove("rows").unwrap();
        summary["row_count"] = json!(rows.as_array().unwrap().len());
        assert_eq!(api.get("/v1/prices").send().await.ok(200)["data"], json!([summary]));
        assert_eq!(api.get("/v1/prices/1").for_operator().send().await.ok(200), list);
        for unknown in ["2", "0", "x", "99999999999999999999"] {
            assert_eq!(api.get(&format!("/v1/prices/{unknown}")).send().await.problem(404), "not_found");
        }
        let mode = api.patch("/v1/credits", &json!({"mode": "prepaid"})).for_operator();
        mode.header("tidings-tenant", &tenant).send().await.ok(200);
        let mail = json!({"to": {"email": "ada@example.com"}, "channel": "email", "content": {"subject": "Hello", "text": "Ada"}});
        let refused = api.post("/v1/messages", &mail).send().await;
        assert_eq!(refused.problem(402), "insufficient_credit");
        let usd = |micros: i64| json!({"amount_micros": micros, "currency": "USD"});
        assert_eq!((&refused.json()["need"], &refused.json()["available"]), (&usd(400), &usd(0)));
        let bought = operator("/v1/credits/purchases", json!({"amount_micros": 1000, "reference": "bank"})).send().await.ok(201);
        let id = bought["id"].as_str().unwrap();
        let receipt = api.get(&format!("/v1/credits/purchases/{id}/receipt")).send().await;
        assert_eq!((receipt.status.as_u16(), receipt.header("content-type")), (200, Some("application/pdf")));
        assert_eq!(receipt.header("content-disposition"), Some(format!("attachment; filename=\"receipt-{id}.pdf\"").as_str()));
        assert!(receipt.body.starts_with(b"%PDF-"));
        let accepted = api.post("/v1/messages", &mail).send().await.ok(202);
        assert_eq!(accepted["cost"], usd(400));
        api.stage.dispatch().await;
        let credits = api.get("/v1/credits").send().await.ok(200);
        assert_eq!((&credits["available"], &credits["reserved"], &credits["spent"]), (&usd(600), &usd(0), &usd(400)));
        let table = api.get("/v1/credits/entries?format=csv").send().await.text();
        let kinds: Vec<_> = table.lines().skip(1).map(|line| line.split(',').nth(2).unwrap()).collect();
        assert_eq!(kinds, ["settle", "reserve", "purchase"]);
        // What a table and a page each do not read is refused, and not passed over.
        for query in ["format=csv&limit=5", "since=2026-11-01T00:00:00Z", "format=json&until=2026-11-01T00:00:00Z"] {
            assert_eq!(api.get(&format!("/v1/credits/entries?{query}")).send().await.problem(400), "invalid_query");
        }
        let page = api.get("/v1/credits/entries?limit=2").send().await.ok(200);
        let rest = format!("/v1/credits/entries?format=csv&cursor={}", page["next_cursor"].as_str().unwrap());
        let rest = api.get(&rest).send().await;
        assert_eq!((rest.text().lines().count(), rest.header("next-cursor")), (2, None));
        let bad = operator("/v1/credits/purchases", json!({"amount_micros": 0, "reference": ""})).send().await;
        assert_eq!(bad.pointers(), ["/amount_micros", "/reference"]);
    }

    async fn a_plan_that_is_used_up_says_what_is_left_and_what_to_do(db: TestDb) {
        let api = Api::new(&db).await;
        let tenant = api.stage.tenant.to_string();
        let change = |body| api.patch("/v1/subscription", &body).for_operator().header("tidings-tenant", &tenant);
        api.post("/v1/accounts", &json!({"name": "Sandbox", "connector": "sandbox"})).send().await.ok(201);
        assert_eq!(api.get("/v1/subscription").send().await.problem(404), "not_found");
        let new = json!({"name": "Small", "currency": "USD", "monthly_fee_micros": 1_000_000, "allowances": [{"channel": "email", "included": 3}]});
        let plan = api.post("/v1/plans", &new).for_operator().send().await.ok(201);
        assert_eq!(api.get("/v1/plans").send().await.ok(200)["data"], json!([]));
        let bad = change(json!({"canceled_at": "2099-01-01T00:00:00Z"})).send().await;
        assert_eq!(bad.pointers(), ["/plan_id"]);
        change(json!({"plan_id": plan["id"]})).send().await.ok(200);
        let bad = change(json!({"customer": {"country": "Germany", "email": "x"}})).send().await;
        assert_eq!(bad.pointers(), ["/customer/country", "/customer/email"]);
        assert_eq!(api.get("/v1/plans").send().await.ok(200)["data"], json!([plan]));
        let mail = json!({"to": {"email": "ada@example.com"}, "content": {"subject": "Hello", "text": "Ada"}});
        api.post("/v1/messages", &mail).send().await.ok(202);
        let batch = json!({"messages": [mail, mail, mail, mail]});
        let refused = api.post("/v1/messages/batch", &batch).send().await;
        assert_eq!(refused.problem(402), "quota_exceeded");
        let told = refused.json();
        assert_eq!((&told["need"], &told["used"], &told["remaining"], &told["channel"]), (&json!(4), &json!(1), &json!(2), &json!("email")));
        let resets_at = &told["resets_at"];
        assert_eq!(told["choices"], json!([{"choice": "remove", "messages": 2}, {"choice": "upgrade"}, {"choice": "next_month", "from": resets_at}]));
        let seen = api.get("/v1/subscription").send().await.ok(200);
        assert_eq!((&seen["state"], &seen["quotas"][0]["used"], &seen["quotas"][0]["resets_at"]), (&json!("active"), &json!(1), resets_at));
        let ended = json!({"canceled_at": api.stage.world.ports.clock.now()});
        change(ended).send().await.ok(200);
        assert_eq!(api.post("/v1/messages", &mail).send().await.problem(402), "subscription_canceled");
        let archived = api.patch(&format!("/v1/plans/{}", plan["id"].as_str().unwrap()), &json!({"is_archived": true})).for_operator().send().await;
        assert_eq!(archived.ok(200)["is_archived"], true);
        api.patch("/v1/plans/pln_01K9ZC8Q6T7Y2V5B3N4M1XWRSD", &json!({"name": "X"})).for_operator().send().await.problem(404);
    }

    async fn a_month_is_billed_sent_and_paid(db: TestDb) {
        let api = Api::new(&db).await;
        let tenant = api.stage.tenant.to_string();
        let clock = &api.stage.world.clock;
        clock.set("2026-11-01T00:00:00Z".parse().unwrap());
        api.post("/v1/accounts", &json!({"name": "Sandbox", "connector": "sandbox"})).send().await.ok(201);
        let settings = json!({
            "seller": {"name": "Host GmbH", "address": ["Hafenstr. 1"]}, "mail_tenant_id": tenant, "issues_by_itself": false,
            "taxes": [{"country": "DE", "name": "VAT", "rate_ppm": 190_000}],
        });
        let kept = api.patch("/v1/billing-settings", &settings).for_operator().send().await.ok(200);
        assert_eq!(api.get("/v1/billing-settings").for_operator().send().await.ok(200), kept);
        let bad = api.patch("/v1/billing-settings", &json!({"due_days": 1000, "series": ""})).for_operator().send().await;
        assert_eq!(bad.pointers(), ["/series", "/due_days"]);
        let plan = json!({"name": "Studio", "currency": "EUR", "monthly_fee_micros": 10_000_000});
        let plan = api.post("/v1/plans", &plan).for_operator().send().await.ok(201);
        let change = json!({"plan_id": plan["id"], "customer": {"country": "DE", "email": "billing@acme.example"}});
        api.patch("/v1/subscription", &change).for_operator().header("tidings-tenant", &tenant).send().await.ok(200);
        clock.set("2026-12-01T02:00:00Z".parse().unwrap());
        engine::invoices::closing::run(&api.stage.engine).await.unwrap();
        assert_eq!(api.get("/v1/invoices").send().await.ok(200)["data"], json!([]), "a draft is not shown");
        let drafts = api.get("/v1/invoices?state=draft").for_operator().send().await.ok(200);
        let path = format!("/v1/invoices/{}", drafts["data"][0]["id"].as_str().unwrap());
        assert_eq!(api.get(&path).send().await.problem(404), "not_found");
        let operator = |path: String, body| api.post(&path, &body).for_operator();
        assert_eq!(operator(format!("{path}/payment"), json!({"reference": "bank"})).send().await.problem(409), "invoice_state");
        let renewed = api.call("POST", &format!("{path}/renew")).for_operator().send().await.ok(200);
        assert_eq!((&renewed["state"], &renewed["customer"]["country"]), (&json!("draft"), &drafts["data"][0]["customer"]["country"]));
        let issued = api.call("POST", &format!("{path}/issue")).for_operator().keyed("once").send().await.ok(200);
        assert_eq!(api.call("POST", &format!("{path}/issue")).for_operator().keyed("once").send().await.ok(200), issued);
        assert_eq!((&issued["number"], &issued["total"]["amount_micros"]), (&json!("INV-000001"), &json!(11_900_000)));
        assert_eq!(api.get(&path).send().await.ok(200), issued);
        let pdf = api.get(&format!("{path}/document")).send().await;
        assert_eq!((pdf.status.as_u16(), pdf.header("content-type")), (200, Some("application/pdf")));
        assert_eq!(pdf.header("content-disposition"), Some("attachment; filename=\"invoice-INV-000001.pdf\""));
        assert!(pdf.body.starts_with(b"%PDF-"));
        // It goes out once by itself, and again when it is asked for.
        assert_eq!(engine::invoices::mailing::run(&api.stage.engine).await.unwrap(), 1);
        assert_eq!(engine::invoices::mailing::run(&api.stage.engine).await.unwrap(), 0);
        api.call("POST", &format!("{path}/send")).for_operator().send().await.ok(200);
        let mails = api.get("/v1/messages").send().await.ok(200);
        let to: Vec<_> = mails["data"].as_array().unwrap().iter().map(|mail| mail["to"].as_str().unwrap()).collect();
        assert_eq!(to, ["billing@acme.example", "billing@acme.example"]);
        let paid = operator(format!("{path}/payment"), json!({"reference": "bank"})).send().await.ok(200);
        assert_eq!((&paid["state"], &paid["payment_reference"]), (&json!("paid"), &json!("bank")));
        let void = operator(format!("{path}/void"), json!({"reason": "a mistake", "bills_again": true})).send().await.ok(200);
        assert_eq!(void["state"], "void");
        let drafts = api.get("/v1/invoices?state=draft").for_operator().send().await.ok(200);
        assert_eq!((&drafts["data"][0]["replaces_id"], &drafts["data"][0]["total"]), (&void["id"], &void["total"]));
        assert_eq!(operator(format!("{path}/renew"), json!({})).send().await.problem(409), "invoice_state");
        // A bill that was given away is billed after all.
        let again = |of: &serde_json::Value| api.call("POST", &format!("/v1/invoices/{}/bill-again", of["id"].as_str().unwrap())).for_operator();
        assert_eq!(again(&void).send().await.problem(409), "invoice_billed_again");
        let draft = format!("/v1/invoices/{}", drafts["data"][0]["id"].as_str().unwrap());
        let dropped = operator(format!("{draft}/void"), json!({"reason": "nothing is to be paid"})).send().await.ok(200);
        let made = again(&dropped).keyed("again").send().await.ok(201);
        assert_eq!(again(&dropped).keyed("again").send().await.ok(201), made);
        assert_eq!((&made["replaces_id"], &made["state"], &made["total"]), (&dropped["id"], &json!("draft"), &void["total"]));
        let all = api.get("/v1/invoices").send().await.ok(200);
        assert_eq!((&all["data"][0]["number"], &all["data"][0]["credits_id"]), (&json!("CN-000001"), &void["id"]));
        assert_eq!(operator(format!("{path}/void"), json!({"reason": ""})).send().await.pointers(), ["/reason"]);
    }
}
