//! What every operation must refuse, walked over the document: a new operation is covered the moment it exists.

use api::access::{Access, Operation, Verb};
use serde_json::{Value, json};
use testkit::TestDb;

use crate::support::{Api, Call, Seen, example_body, guarded};

/// An id of the right kind that nothing has.
pub fn nobody(collection: &str) -> String {
    let prefix = match collection {
        "whatsapp-templates" => return "order_update".to_owned(),
        "tenants" | "demo-tenants" => "ten",
        "accounts" => "acc",
        "messages" | "deliveries" => "msg",
        "api-keys" => "key",
        "users" => "usr",
        "sessions" => "ses",
        "webhook-endpoints" => "whk",
        "contacts" => "con",
        "contact-attributes" => return "nothing".to_owned(),
        "prices" => return "1000000".to_owned(),
        "lists" => "lst",
        "segments" => "seg",
        "imports" => "imp",
        "attachments" => "atc",
        "inbound-messages" => "inb",
        "senders" => "snd",
        "routes" => "rte",
        "domains" => "dom",
        "10dlc" | "toll-free" => "reg",
        "numbers" => "num",
        "callback-log" => "cbk",
        "schedules" => "sch",
        "invoice-deliveries" => "ivd",
        "campaigns" => "cmp",
        "templates" => "tpl",
        "suppressions" => "sup",
        "topics" => "top",
        "plans" => "pln",
        "content-rules" => "crl",
        "exports" => "cxp",
        "alerts" => "alt",
        "alert-rules" => "alr",
        "invoices" => "inv",
        "purchases" => "pur",
        "reconciliations" => "rec",
        other => panic!("the collection {other} is new: name the prefix of its ids here"),
    };
    format!("{prefix}_01K9ZC8Q6T7Y2V5B3N4M1XWRSD")
}

/// The path with the id this collection's things have.
pub fn concrete(operation: &Operation, id: impl Fn(&str) -> String) -> String {
    let parts: Vec<&str> = operation.path.split('/').collect();
    let parts = parts.iter().enumerate().map(|(index, part)| match part.starts_with('{') {
        true => id(parts[index - 1]),
        false => (*part).to_owned(),
    });
    parts.collect::<Vec<_>>().join("/")
}

/// A request as the document's example has it.
fn example<'a>(api: &'a Api, operation: &Operation, described: &Value, path: &str) -> Call<'a> {
    let call = api.call(&operation.method.as_str().to_uppercase(), path);
    match example_body(described) {
        Some(body) => call.json(&body),
        None => call,
    }
}

fn takes_json(operation: &Operation) -> bool {
    matches!(operation.method, Verb::Post | Verb::Patch)
}

async fn each(api: &Api, check: impl AsyncFn(&Operation, &Value, &str)) {
    let mut seen = 0;
    for (operation, described) in guarded() {
        check(operation, described, &concrete(operation, nobody)).await;
        seen += 1;
    }
    assert!(seen > 40, "only {seen} operations of {} were walked", api.peer);
}

#[test]
pub fn nobody_gets_in_without_a_key() {
    testkit::on_sqlite(async |db: TestDb| {
        let api = Api::new(&db).await;
        each(&api, async |operation, described, path| {
            let seen = example(&api, operation, described, path).anonymous().send().await;
            assert_eq!(seen.problem(401), "api_key_missing", "{operation:?}");
            assert_eq!(seen.header("www-authenticate"), Some(r#"Bearer realm="tidings""#));
            for wrong in ["tdk_0000000000000000000000000000000000000000", "nonsense", "tdo_x"] {
                let seen = example(&api, operation, described, path).bearer(wrong).send().await;
                assert_eq!(seen.problem(401), "invalid_api_key", "{operation:?}");
            }
        })
        .await;
    });
}

#[test]
fn a_key_without_the_scope_gets_nowhere() {
    testkit::on_sqlite(async |db: TestDb| {
        let api = Api::new(&db).await;
        let tenant = Some(api.stage.tenant);
        let keys = [api.key_with(tenant, &["usage:read"]).await, api.key_with(tenant, &["audit:read"]).await];
        let operators = [api.key_with(None, &["usage:read"]).await, api.key_with(None, &["audit:read"]).await];
        each(&api, async |operation, described, path| {
            let other = usize::from(operation.access.scope() == Some("usage:read"));
            let keys = if matches!(operation.access, Access::Operator(_)) { &operators } else { &keys };
            let seen = example(&api, operation, described, path).bearer(&keys[other]).send().await;
            assert_eq!(seen.problem(403), "missing_scope", "{operation:?}");
            let detail = seen.json()["detail"].as_str().unwrap().to_owned();
            assert!(detail.contains(operation.access.scope().unwrap()), "{detail}");
        })
        .await;
    });
}

#[test]
fn a_tenant_is_no_operator_and_an_operator_names_a_tenant() {
    testkit::on_sqlite(async |db: TestDb| {
        let api = Api::new(&db).await;
        each(&api, async |operation, described, path| match operation.access {
            Access::Operator(_) => {
                let seen = example(&api, operation, described, path).send().await;
                assert_eq!(seen.problem(403), "operator_only", "{operation:?}");
            }
            Access::Tenant(_) => {
                let seen = example(&api, operation, described, path).for_operator().send().await;
                assert_eq!(seen.problem(400), "tenant_required", "{operation:?}");
            }
            Access::Owner(_) | Access::Open | Access::Door | Access::Person => {}
        })
        .await;
    });
}

/// Things of one tenant, by collection.
pub struct Things {
    tenant: String,
    account: String,
    message: String,
    key: String,
    user: String,
    endpoint: String,
    delivery: String,
    attachment: String,
    inbound: String,
    callback: String,
    contact: String,
    list: String,
    segment: String,
    import: String,
    schedule: String,
    invoice: String,
    campaign: String,
    sender: String,
    route: String,
    domain: String,
    registration: String,
    verification: String,
    template: String,
    suppression: String,
    topic: String,
    plan: String,
    rule: String,
    export: String,
    alert: String,
    alert_rule: String,
    bill: String,
    purchase: String,
    reconciliation: String,
}

impl Things {
    pub async fn of(api: &Api, tenant: &str, key: &str) -> Self {
        let id = |seen: Seen, status: u16| seen.ok(status)["id"].as_str().unwrap().to_owned();
        let account = json!({"name": "Sandbox", "connector": "sandbox"});
        let account = id(api.post("/v1/accounts", &account).bearer(key).send().await, 201);
        let message = json!({"to": {"email": "ada@example.com"}, "content": {"subject": "Hi", "text": "Hello"}});
        let message = id(api.post("/v1/messages", &message).bearer(key).send().await, 202);
        let new_key = id(api.post("/v1/api-keys", &json!({"name": "Second"})).bearer(key).send().await, 201);
        let user = json!({"email": format!("{tenant}@example.com"), "role": "member"});
        let user = id(api.post("/v1/users", &user).bearer(key).send().await, 201);
        let endpoint = json!({"url": "https://acme.example/hook", "events": ["*"]});
        let endpoint = id(api.post("/v1/webhook-endpoints", &endpoint).bearer(key).send().await, 201);
        let attachment = crate::messages::upload(api, key).await;
        let test = format!("/v1/webhook-endpoints/{endpoint}/test");
        let delivery = api.call("POST", &test).bearer(key).send().await.ok(202);
        let inbound = crate::hooks::inbound_message(api, key).await;
        api.post("/v1/contact-attributes", &json!({"name": "plan", "type": "text"})).bearer(key).send().await.ok(201);
        let contact = json!({"email": "ada@example.com", "attributes": {"plan": "pro"}});
        let contact = id(api.post("/v1/contacts", &contact).bearer(key).send().await, 201);
        let list = id(api.post("/v1/lists", &json!({"name": "Newsletter"})).bearer(key).send().await, 201);
        let members = json!({"contact_ids": [contact]});
        api.post(&format!("/v1/lists/{list}/contacts"), &members).bearer(key).send().await.ok(200);
        let segment = json!({"name": "German", "conditions": {"field": "language", "is": "de"}});
        let segment = id(api.post("/v1/segments", &segment).bearer(key).send().await, 201);
        let import = api
            .call("POST", "/v1/contacts/import")
            .header("content-type", "text/csv")
            .bytes("email\nada@example.com\n");
        let import = id(import.bearer(key).send().await, 202);
        let campaign = json!({"name": "Summer", "channel": "email", "content": {"subject": "Hi", "text": "Hello"}, "audience": {"contact_ids": [contact]}});
        let campaign = id(api.post("/v1/campaigns", &campaign).bearer(key).send().await, 201);
        let schedule = json!({"name": "Weekly", "cron": "0 9 * * MON",
            "message": {"to": {"email": "ada@example.com"}, "content": {"subject": "Hi", "text": "Hello"}}});
        let schedule = id(api.post("/v1/schedules", &schedule).bearer(key).send().await, 201);
        let invoice = json!({"to": {"email": "ada@example.com"}, "channel": "email", "document": {"number": "7", "content_base64": "JVBERi0xLjcK"}});
        let invoice = id(api.post("/v1/invoice-deliveries", &invoice).bearer(key).send().await, 202);
        let sender = json!({"account_id": account, "from": "news@acme.example"});
        let sender = id(api.post("/v1/senders", &sender).bearer(key).send().await, 201);
        let route = json!({"name": "All mail", "channel": "email", "choose": {"by": "priority"}, "accounts": [{"account_id": account}]});
        let route = id(api.post("/v1/routes", &route).bearer(key).send().await, 201);
        let domain = json!({"account_id": account, "name": "acme.example"});
        let domain = id(api.post("/v1/domains", &domain).bearer(key).send().await, 201);
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
        let profile = api.patch("/v1/business-profile", &profile).bearer(key).send().await.ok(200);
        assert_eq!(profile["is_complete"], true, "{profile}");
        let registration = json!({"account_id": account});
        let registration = id(api.post("/v1/registrations/10dlc", &registration).bearer(key).send().await, 201);
        let verification = json!({"account_id": account, "number": "+18005550100", "opt_in_type": "web_form", "opt_in_image_urls": ["https://acme.example/opt-in.png"]});
        let verification = id(api.post("/v1/registrations/toll-free", &verification).bearer(key).send().await, 201);
        let template =
            json!({"name": "hello", "channel": "email", "variants": {"en": {"subject": "Hi", "text": "Hello"}}});
        let template = id(api.post("/v1/templates", &template).bearer(key).send().await, 201);
        let suppression = json!({"channel": "email", "address": "nobody@example.com"});
        let suppression = id(api.post("/v1/suppressions", &suppression).bearer(key).send().await, 201);
        let topic = json!({"name": "match_reports", "title": "Match reports"});
        let topic = api.post("/v1/topics", &topic).bearer(key).send().await.ok(201);
        let plan = json!({"name": "Studio", "currency": "USD", "monthly_fee_micros": 0});
        let plan = id(api.post("/v1/plans", &plan).for_operator().send().await, 201);
        let subscription = api.patch("/v1/subscription", &json!({"plan_id": plan})).for_operator();
        subscription.header("tidings-tenant", tenant).send().await.ok(200);
        let rule = json!({"name": "No gambling", "blocked_words": {"words": ["casino"]}});
        let rule = id(api.post("/v1/content-rules", &rule).bearer(key).send().await, 201);
        let export = api.call("POST", &format!("/v1/contacts/{contact}/export")).bearer(key).send().await;
        let export = id(export, 201);
        let (alert_rule, alert) = crate::alerts::alert(api, key).await;
        let now = api.stage.world.ports.clock.now();
        api.stage.world.clock.advance_ms(32 * 86_400_000);
        engine::invoices::closing::run(&api.stage.engine).await.unwrap();
        api.stage.world.clock.set(now);
        let invoices = api.get("/v1/invoices").bearer(key).send().await.ok(200);
        let purchase =
            api.post("/v1/credits/purchases", &json!({"amount_micros": 1, "reference": "bank"})).for_operator();
        let purchase = id(purchase.header("tidings-tenant", tenant).send().await, 201);
        let now = api.stage.world.ports.clock.now();
        let reconciliation =
            json!({"account_id": account, "starts_at": now.plus_seconds(-60), "ends_at": now, "csv": "id\n"});
        let reconciliation = id(api.post("/v1/reconciliations", &reconciliation).bearer(key).send().await, 201);
        let log = api.get("/v1/callback-log").bearer(key).send().await.ok(200);
        Self {
            template,
            tenant: tenant.to_owned(),
            account,
            message,
            key: new_key,
            user,
            endpoint,
            delivery: delivery["message_id"].as_str().unwrap().to_owned(),
            attachment,
            schedule,
            invoice,
            campaign,
            inbound,
            contact,
            list,
            segment,
            import,
            callback: log["data"][0]["id"].as_str().unwrap().to_owned(),
            sender,
            route,
            domain,
            registration,
            verification,
            suppression,
            topic: topic["name"].as_str().unwrap().to_owned(),
            plan,
            alert,
            alert_rule,
            export,
            rule,
            purchase,
            reconciliation,
            bill: invoices["data"][0]["id"].as_str().unwrap().to_owned(),
        }
    }

    pub fn id(&self, collection: &str) -> String {
        let id = match collection {
            "whatsapp-templates" => return "order_update".to_owned(),
            "tenants" | "demo-tenants" => &self.tenant,
            "accounts" => &self.account,
            "messages" => &self.message,
            "api-keys" => &self.key,
            "users" => &self.user,
            "webhook-endpoints" => &self.endpoint,
            "deliveries" => &self.delivery,
            "callback-log" => &self.callback,
            "contacts" => &self.contact,
            "contact-attributes" => return "plan".to_owned(),
            "lists" => &self.list,
            "segments" => &self.segment,
            "imports" => &self.import,
            "schedules" => &self.schedule,
            "invoice-deliveries" => &self.invoice,
            "campaigns" => &self.campaign,
            "templates" => &self.template,
            "attachments" => &self.attachment,
            "inbound-messages" => &self.inbound,
            "senders" => &self.sender,
            "routes" => &self.route,
            "domains" => &self.domain,
            "10dlc" => &self.registration,
            "toll-free" => &self.verification,
            // The operator's, whom this does not concern.
            "numbers" => return nobody("numbers"),
            "prices" => return nobody("prices"),
            "suppressions" => &self.suppression,
            "topics" => &self.topic,
            "plans" => &self.plan,
            "content-rules" => &self.rule,
            "exports" => &self.export,
            "alerts" => &self.alert,
            "alert-rules" => &self.alert_rule,
            "invoices" => &self.bill,
            "purchases" => &self.purchase,
            "reconciliations" => &self.reconciliation,
            other => panic!("the collection {other} is new: give it a thing of another tenant here"),
        };
        id.clone()
    }
}

testkit::both! {
    async fn another_tenants_things_are_not_there(db: TestDb) {
        let api = Api::new(&db).await;
        let (other, other_key) = api.another_tenant().await;
        let things = Things::of(&api, &other.to_string(), &other_key).await;
        let owner = api.sign_in("owner@example.com", "owner", &[]).await;
        let mut walked = 0;
        for (operation, described) in guarded().filter(|(operation, _)| operation.path.contains('{')) {
            let path = concrete(operation, |collection| things.id(collection));
            // Price lists are the operator's, and shown to everybody.
            if matches!(operation.access, Access::Operator(_)) || operation.path == "/v1/prices/{version}" {
                continue;
            }
            let seen = example(&api, operation, described, &path).send().await;
            assert_eq!(seen.problem(404), "not_found", "{operation:?}");
            // The operator inside of the wrong tenant sees as little.
            let tenant = api.stage.tenant.to_string();
            let seen = example(&api, operation, described, &path).for_operator().header("tidings-tenant", &tenant).send().await;
            assert_eq!(seen.problem(404), "not_found", "{operation:?}");
            // Nor does an owner who signed in see more than an owner's key.
            let seen = example(&api, operation, described, &path).bearer(&owner).send().await;
            assert_eq!(seen.problem(404), "not_found", "{operation:?}");
            let seen = example(&api, operation, described, &path).bearer(&owner).header("tidings-tenant", &other.to_string()).send().await;
            assert_eq!(seen.problem(404), "not_found", "{operation:?}");
            walked += 1;
            if operation.method == Verb::Get {
                let seen = example(&api, operation, described, &path).bearer(&other_key).send().await;
                assert_eq!(seen.status.as_u16(), 200, "{operation:?} does not work for the owner: {}", seen.text());
            }
        }
        assert!(walked > 20, "{walked}");
    }

    async fn lists_hold_only_the_callers_own(db: TestDb) {
        let api = Api::new(&db).await;
        let (other, other_key) = api.another_tenant().await;
        Things::of(&api, &other.to_string(), &other_key).await;
        for (operation, _) in guarded() {
            let is_list = operation.method == Verb::Get && !operation.path.contains('{') && operation.path != "/v1/stream";
            if !is_list || !matches!(operation.access, Access::Tenant(_)) {
                continue;
            }
            let text = api.get(operation.path).send().await.text();
            assert!(!text.contains(&other.to_string()), "{}: {text}", operation.path);
            if let Some(rows) = serde_json::from_str::<Value>(&text).ok().and_then(|body| body["data"].as_array().cloned()) {
                assert_eq!(rows, Vec::<Value>::new(), "{}", operation.path);
            }
        }
    }
}

#[test]
fn an_id_that_is_none_is_not_there() {
    testkit::on_sqlite(async |db: TestDb| {
        let api = Api::new(&db).await;
        for (operation, described) in guarded().filter(|(operation, _)| operation.path.contains('{')) {
            let key = if matches!(operation.access, Access::Operator(_)) { &api.operator } else { &api.key };
            for wrong in
                ["x", "msg_", "ten_01K9ZC8Q6T7Y2V5B3N4M1XWRS", "evt_01K9ZC8Q6T7Y2V5B3N4M1XWRSD", "%00", "%F0%28"]
            {
                let path = concrete(operation, |_| wrong.to_owned());
                let seen = example(&api, operation, described, &path).bearer(key).send().await;
                assert_eq!(seen.problem(404), "not_found", "{operation:?} {wrong}");
            }
            let path = concrete(operation, nobody);
            let seen = example(&api, operation, described, &path).bearer(key).send().await;
            assert_eq!(seen.problem(404), "not_found", "{operation:?}");
        }
    });
}

#[test]
fn a_body_that_is_not_json_by_name_is_not_read() {
    testkit::on_sqlite(async |db: TestDb| {
        let api = Api::new(&db).await;
        for (operation, _) in guarded().filter(|(operation, _)| takes_json(operation)) {
            let path = concrete(operation, nobody);
            let key = if matches!(operation.access, Access::Operator(_)) { &api.operator } else { &api.key };
            for kind in ["text/plain", "application/x-www-form-urlencoded", "application/jsonp", ""] {
                let call = api.call(&operation.method.as_str().to_uppercase(), &path).bearer(key);
                let seen = call.header("content-type", kind).bytes("{}").send().await;
                assert_eq!(seen.problem(415), "unsupported_media_type", "{operation:?} {kind}");
            }
        }
    });
}

#[test]
fn a_body_that_cannot_be_read_is_refused_before_anything_is_done() {
    testkit::on_sqlite(async |db: TestDb| {
        let api = Api::new(&db).await;
        for (operation, described) in guarded().filter(|(operation, _)| takes_json(operation)) {
            let path = concrete(operation, nobody);
            let key = if matches!(operation.access, Access::Operator(_)) { &api.operator } else { &api.key };
            let send = async |body: &[u8]| {
                let call = api.call(&operation.method.as_str().to_uppercase(), &path).bearer(key);
                call.header("content-type", "application/json; charset=utf-8").bytes(body).send().await
            };
            for body in [&b"{"[..], b"{} x", b"\xff\xfe{}", b"{\"name\": \"\xff\"}", "[".repeat(200).as_bytes()] {
                let seen = send(body).await;
                assert_eq!(seen.problem(400), "malformed_json", "{operation:?}");
            }
            let mut unknown = example_body(described).unwrap_or_else(|| json!({}));
            unknown["zzz"] = json!(1);
            let seen = send(unknown.to_string().as_bytes()).await;
            assert_eq!(
                (seen.problem(422), seen.pointers()),
                ("invalid_request".to_owned(), vec!["/zzz".to_owned()]),
                "{operation:?}"
            );
            let seen = send(b"[]").await;
            assert_eq!(seen.status.as_u16(), 422, "{operation:?}: {}", seen.text());
        }
    });
}

#[test]
fn a_body_over_the_limit_is_refused() {
    testkit::on_sqlite(async |db: TestDb| {
        let stage = testkit::Stage::new(&db).await;
        let api = Api::with(stage, |options| api::Options { body_max: 1_000, ..options }).await;
        // Uploads have a limit of their own.
        let limited = |operation: &Operation| operation.path != "/v1/attachments";
        for (operation, _) in guarded().filter(|(operation, _)| takes_json(operation) && limited(operation)) {
            let path = concrete(operation, nobody);
            let key = if matches!(operation.access, Access::Operator(_)) { &api.operator } else { &api.key };
            let call = || {
                api.call(&operation.method.as_str().to_uppercase(), &path)
                    .bearer(key)
                    .header("content-type", "application/json")
            };
            let seen = call().bytes(vec![b' '; 1_001]).send().await;
            assert_eq!(seen.problem(413), "body_too_large", "{operation:?}");
            // By its announced length alone, before a byte is read.
            let seen = call().header("content-length", "5000000000").send().await;
            assert_eq!(seen.problem(413), "body_too_large", "{operation:?}");
        }
    });
}

#[test]
fn a_query_parameter_that_is_unknown_or_wrong_is_named() {
    testkit::on_sqlite(async |db: TestDb| {
        let api = Api::new(&db).await;
        let mut lists = 0;
        for (operation, described) in
            guarded().filter(|(operation, _)| operation.method == Verb::Get && !operation.path.contains('{'))
        {
            let parameters = described["parameters"].as_array().cloned().unwrap_or_default();
            let has =
                |name: &str| parameters.iter().any(|parameter| parameter["name"] == name && parameter["in"] == "query");
            let key = if matches!(operation.access, Access::Operator(_)) { &api.operator } else { &api.key };
            let get = async |query: &str| api.get(&format!("{}?{query}", operation.path)).bearer(key).send().await;
            if !has("cursor") {
                continue;
            }
            lists += 1;
            let seen = get("colour=red").await;
            assert_eq!(
                (seen.problem(400), seen.pointers()),
                ("invalid_query".to_owned(), vec!["?colour".to_owned()]),
                "{operation:?}"
            );
            for limit in ["0", "501", "-1", "many", "1e9"] {
                let seen = get(&format!("limit={limit}")).await;
                assert!(seen.problem(400).starts_with("invalid_"), "{operation:?}");
            }
            for cursor in ["x", "AAAA", "", "%00", "AZr6m2lXdmVyc2lvbiBvZiBhIGN1cnNvcg"] {
                assert_eq!(
                    get(&format!("cursor={cursor}")).await.problem(400),
                    "invalid_cursor",
                    "{operation:?} {cursor}"
                );
            }
        }
        assert!(lists >= 9, "{lists}");
    });
}
