//! Credit on the real binary: bought on the simulator's Stripe pages, told by signed events, given back, and bought again by itself, on both databases.

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::{binary::Installation, events::Events, house::OPERATOR_KEY, http::Client};

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

/// Somebody does something on a page of Stripe's.
fn at_stripe(simulator: &str, path: &str, form: &str) {
    let answer = Client::new(simulator, "").exchange("POST", path, &[FORM], form).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.body);
}

fn micros(credits: &Value, book: &str) -> i64 {
    credits[book]["amount_micros"].as_i64().unwrap()
}

testkit::both! {
    async fn credit_is_bought_given_back_and_bought_again(db: TestDb) {
        let home = Installation::new();
        let simulator = home.serve(&["provider-sim", "--listen", "127.0.0.1:0", "--smtp-listen", "127.0.0.1:0"]);
        let installation = Installation::on(&db)
            .with("TIDINGS_BOOTSTRAP_OPERATOR_KEY", OPERATOR_KEY)
            .with("TIDINGS_CONNECTORS__STRIPE__BASE_URL", &format!("{}/stripe", simulator.url()));
        let server = installation.serve(&["serve"]);
        let mut operator = Client::new(server.url(), OPERATOR_KEY);
        let tenant = operator.post("/v1/tenants", &json!({"name": "Acme"}))["id"].as_str().unwrap().to_owned();
        let mut operator = operator.inside(&tenant);
        let key = operator.post("/v1/api-keys", &json!({"name": "Shop", "scopes": ["purchases:write", "purchases:read", "credits:read", "events:read"]}));
        let key = key["key"].as_str().unwrap().to_owned();
        let mut shop = Client::new(server.url(), &key);
        let new = json!({"amount_micros": 5_000_000, "save_payment_method": true});
        let refused = shop.ask("POST", "/v1/credits/purchases", &[], &new);
        assert_eq!((refused.status, refused.json()["code"].as_str()), (409, Some("payments_not_configured")));

        let keys = json!({"stripe": {"secret_key": "sk_test_simulated", "webhook_secret": "whsec_simulated"}});
        let settings = operator.ask("PATCH", "/v1/payment-settings", &[], &keys).success();
        let url = settings["stripe_webhook_url"].as_str().unwrap();
        let path = url.split_once("/hooks/").unwrap().1;
        let mut control = Client::new(simulator.url(), "");
        control.ask("PUT", "/_sim/providers/stripe", &[], &json!({"callback_url": format!("{}/hooks/{path}", server.url())})).success();
        let change = json!({"mode": "prepaid", "top_up": {"below_micros": 2_000_000, "amount_micros": 10_000_000}});
        operator.ask("PATCH", "/v1/credits", &[], &change).success();

        // Bought by the tenant itself, once although it asked twice.
        let same = [("idempotency-key", "first")];
        let bought = shop.ask("POST", "/v1/credits/purchases", &same, &new).success();
        assert_eq!(shop.ask("POST", "/v1/credits/purchases", &same, &new).success(), bought);
        let page = bought["url"].as_str().unwrap().strip_prefix(simulator.url()).unwrap().to_owned();
        let events = || Events::from_the_beginning(server.url(), &key, "credit.*");
        at_stripe(simulator.url(), &page, "outcome=paid&card=4242424242424242");
        let id = bought["id"].as_str().unwrap();
        events().until("credit.purchased", id);
        assert_eq!(micros(&shop.get("/v1/credits"), "available"), 5_000_000);

        // Given back in part.
        let back = json!({"amount_micros": 1_000_000, "reason": "goodwill", "purchase_id": id});
        let refund = operator.post("/v1/credits/refunds", &back);
        events().until("credit.refunded", refund["id"].as_str().unwrap());
        assert_eq!(shop.get(&format!("/v1/credits/purchases/{id}"))["refunded"]["amount_micros"], 1_000_000);

        // Spent until it buys itself.
        let mut seen = events();
        while seen.next().kind != "credit.payment_method_kept" {}
        assert_eq!(shop.get("/v1/credits/payment-method")["name"], "visa •••• 4242");
        operator.post("/v1/credits/adjustments", &json!({"amount_micros": -3_000_000, "reason": "spent"}));
        let topped = loop {
            let event = seen.next();
            if event.kind == "credit.purchased" && event.about["is_top_up"] == true {
                break event.about;
            }
        };
        assert_eq!(topped["amount"]["amount_micros"], 10_000_000);
        let credits = shop.get("/v1/credits?recount=true");
        assert_eq!((micros(&credits, "available"), micros(&credits, "purchased")), (11_000_000, 14_000_000));
        assert_eq!(credits["differences"], json!([]));
        let table = shop.exchange("GET", "/v1/credits/entries?format=csv", &[], "").unwrap().body;
        let kinds: Vec<&str> = table.lines().skip(1).map(|line| line.split(',').nth(2).unwrap()).collect();
        assert_eq!(kinds, ["purchase", "adjustment", "refund", "purchase"]);

        // What is not Stripe's is refused, whoever sends it.
        let forged = json!({"id": "evt_1", "type": "checkout.session.completed", "data": {"object": {}}});
        let refused = Client::new(server.url(), "").ask("POST", "/hooks/stripe", &[("stripe-signature", "t=1,v1=00")], &forged);
        assert_eq!((refused.status, refused.json()["code"].as_str()), (401, Some("invalid_signature")));

        // What Stripe told stands in the operator's callback log, and so does what was refused.
        let mut outside = Client::new(server.url(), OPERATOR_KEY);
        let log = outside.get(&format!("/v1/callback-log?tenant_id={tenant}&event_type=checkout.session.completed"));
        assert_eq!((log["data"].as_array().unwrap().len(), log["data"][0]["told"][0]["purchase_id"].as_str()), (1, Some(id)));
        let refused = outside.get("/v1/callback-log?verdict=invalid");
        assert_eq!((&refused["data"][0]["path"], &refused["data"][0]["size"]), (&json!("/hooks/stripe"), &json!(forged.to_string().len())));
        server.stop(Signal::TERM);
        simulator.stop(Signal::TERM);
    }
}
