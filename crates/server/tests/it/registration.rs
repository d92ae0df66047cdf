//! A business registered with American carriers on the real binary: refused text messages before, each stage told by an event, and a number that sends afterwards.

use serde_json::json;

use crate::{
    binary::Installation,
    events::Events,
    house::{OPERATOR_KEY, make_tenant},
    http::Client,
};

testkit::both! {
    async fn a_business_is_registered_through_the_simulator(db: TestDb) {
        let home = Installation::new();
        let simulator = home.serve(&["provider-sim", "--listen", "127.0.0.1:0", "--smtp-listen", "127.0.0.1:0"]);
        let mut control = Client::new(simulator.url(), "");
        // Reviews are over before they are asked about.
        control.ask("PUT", "/_sim/pace", &[], &json!({"step_ms": 25})).success();
        let installation = Installation::on(&db)
            .with("TIDINGS_BOOTSTRAP_OPERATOR_KEY", OPERATOR_KEY)
            .with("TIDINGS_CONNECTORS__TWILIO__BASE_URL", &format!("{}/twilio", simulator.url()));
        let server = installation.serve(&["serve"]);
        let key = make_tenant(server.url(), OPERATOR_KEY);
        let mut client = Client::new(server.url(), &key);
        let account = json!({
            "name": "Twilio", "connector": "twilio", "from": "+15550100001",
            "settings": {"account_sid": "AC00000000000000000000000000000001", "auth_token": "0123456789abcdef0123456789abcdef"},
        });
        let account = client.post("/v1/accounts", &account)["id"].as_str().unwrap().to_owned();
        let profile = json!({
            "legal_name": "Acme Events LLC", "business_type": "llc", "ein": "12-3456789", "industry": "hospitality", "website": "https://acme.example",
            "address": {"street": "1 High Street", "city": "Springfield", "region": "IL", "postal_code": "62701"},
            "owner": {"first_name": "Ada", "last_name": "Byron", "title": "Founder", "position": "ceo", "email": "ada@acme.example", "phone": "+14155550123"},
            "contact_email": "compliance@acme.example", "monthly_volume": 5000,
            "use_case": {
                "category": "marketing", "description": "News about the events of a venue, to people who asked for them.",
                "opt_in_flow": "Whoever buys a ticket on our website can tick a box that is empty at first.",
                "samples": ["Acme Tickets: the doors open at 7 pm. Reply STOP to stop.", "Acme Tickets: new dates in May. Reply STOP to stop."],
                "privacy_policy_url": "https://acme.example/privacy", "terms_url": "https://acme.example/sms-terms",
            },
            "compliance": {"has_opt_in": true, "numbers_not_shared": true, "no_forbidden_content": true},
        });
        client.ask("PATCH", "/v1/business-profile", &[], &profile).success();
        let begun = client.post("/v1/registrations/10dlc", &json!({"account_id": account, "area_code": "628"}));
        let message = json!({"to": {"phone": "+14155550177"}, "channel": "sms", "content": {"text": "Hi"}});
        let refused = client.ask("POST", "/v1/messages", &[], &message);
        assert_eq!((refused.status, &refused.json()["code"], &refused.json()["action"]), (409, &json!("registration_required"), &json!("WAIT_FOR_APPROVAL")));

        let mut events = Events::from_the_beginning(server.url(), &key, "registration.changed");
        let mut stages = Vec::new();
        let approved = loop {
            let event = events.next();
            stages.push(event.about["stage"].as_str().unwrap().to_owned());
            assert_ne!(event.about["state"], "rejected", "{event:?}");
            if event.about["state"] == "approved" {
                break event.about;
            }
        };
        assert_eq!(approved["id"], begun["id"]);
        assert_eq!(stages, ["profile_review", "trust", "brand", "brand_review", "service", "campaign", "campaign_review", "number", "attach", "approved"]);
        let sent = client.post("/v1/messages", &message);
        Events::from_the_beginning(server.url(), &key, "message.*").until("message.delivered", sent["id"].as_str().unwrap());
        let mut operator = Client::new(server.url(), OPERATOR_KEY);
        let numbers = operator.get("/v1/numbers?state=allocated");
        assert_eq!((&numbers["data"][0]["number"], &numbers["data"][0]["registration_id"]), (&approved["number"], &begun["id"]));
        // A toll-free number the account does not have at the provider cannot be verified.
        let toll_free = json!({"account_id": account, "number": "+18005550177", "opt_in_type": "web_form", "opt_in_image_urls": ["https://acme.example/opt-in.png"]});
        let begun = client.post("/v1/registrations/toll-free", &toll_free);
        let mut told = Events::from_the_beginning(server.url(), &key, "registration.changed");
        let rejected = loop {
            let event = told.next();
            if event.about["id"] == begun["id"] {
                break event.about;
            }
        };
        assert_eq!((&rejected["state"], &rejected["reasons"][0]["code"]), (&json!("rejected"), &json!("number_not_there")));
        let number = format!("/v1/numbers/{}", numbers["data"][0]["id"].as_str().unwrap());
        let refused = operator.ask("DELETE", &format!("{number}?release=true"), &[], &json!(null));
        assert_eq!((refused.status, &refused.json()["code"]), (409, &json!("number_allocated")));
        operator.ask("PATCH", &number, &[], &json!({"state": "retired"})).success();
        let given_back = operator.ask("DELETE", &format!("{number}?release=true"), &[], &json!(null));
        assert_eq!(given_back.status, 204, "{}", given_back.body);
        assert_eq!(operator.ask("GET", &number, &[], &json!(null)).status, 404);
    }
}
