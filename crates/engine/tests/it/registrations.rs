//! A business registered with American carriers, end to end against the provider simulator; and what may leave meanwhile.

use std::sync::{Arc, Mutex, OnceLock};

use engine::{
    campaigns, contacts,
    keys::Caller,
    once::{Repeat, Reply},
    registrations::{self, numbers, profile},
};
use model::{AccountId, Answer, Call, HttpCall, Ids, Method, NumberId, RegistrationId};
use provider_sim::{Request, Simulator};
use serde_json::{Value, json};
use testkit::{Stage, TestDb, World, broken_after, http_answer, smtp_accepted};

const SID: &str = "AC00000000000000000000000000000001";

fn body(reply: Result<Reply, engine::Error>) -> Value {
    serde_json::from_slice(&reply.expect("it is done").body).expect("an answer is JSON")
}

/// What Twilio does besides answering.
#[derive(Default)]
struct Mood {
    /// The answer to the next request to make something at each of these is lost, although it was made.
    drops: Vec<&'static str>,
    /// Nothing is answered but this.
    status: Option<u16>,
}

struct Twilio {
    stage: Stage,
    mood: Arc<Mutex<Mood>>,
    account: AccountId,
    simulator: Arc<Simulator>,
}

impl Twilio {
    async fn new(db: &TestDb) -> Self {
        let (mood, slot) = (Arc::new(Mutex::new(Mood::default())), Arc::new(OnceLock::<Arc<Simulator>>::new()));
        let (inner, simulator) = (Arc::clone(&mood), Arc::clone(&slot));
        let world = World::answering(db, move |call| match call {
            Call::Http(http) => ask(simulator.get().expect("the simulator is there"), http, &inner),
            Call::Smtp(_) => smtp_accepted(),
            Call::Local => Ok(Answer::Local),
        });
        let transport: Arc<dyn model::Transport> = world.ports.transport.clone();
        let simulator = Simulator::new(world.ports.clock.clone(), Ids::seeded(9), transport);
        assert!(slot.set(Arc::clone(&simulator)).is_ok());
        let stage = Stage::in_world(world).await;
        let account = stage.account("twilio", settings(), Some("+14155550123")).await;
        Self { stage, mood, account, simulator }
    }

    /// Goes on with one more of the tenant's accounts at the same account of Twilio's.
    async fn another(&mut self, service: Option<&str>) {
        let mut with = settings();
        if let Some(service) = service {
            with["messaging_service_sid"] = service.into();
        }
        self.account = self.stage.account("twilio", with, Some("+14155550124")).await;
    }

    fn mood(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    async fn fill(&self, change: Value) -> Value {
        let view = profile::patch(&self.stage.engine, &self.stage.caller, change.to_string().as_bytes()).await;
        serde_json::to_value(view.unwrap()).unwrap()
    }

    async fn begin(&self) -> RegistrationId {
        let new = serde_json::from_value(json!({"account_id": self.account, "area_code": "628"})).unwrap();
        let made = body(registrations::create(&self.stage.engine, &self.stage.caller, &Repeat::NONE, new).await);
        made["id"].as_str().unwrap().parse().unwrap()
    }

    async fn registration(&self, id: RegistrationId) -> Value {
        let view = registrations::get(self.stage.engine.parts(), &self.stage.caller, id).await.unwrap();
        serde_json::to_value(view).unwrap()
    }

    async fn submit(&self, id: RegistrationId) -> Result<Value, engine::Error> {
        let again = serde_json::from_value(json!({})).unwrap();
        let reply = registrations::submit(&self.stage.engine, &self.stage.caller, &Repeat::NONE, id, again).await?;
        Ok(serde_json::from_slice(&reply.body).unwrap())
    }

    /// Lets the job work for so many minutes.
    async fn minutes(&self, minutes: u64) {
        for _ in 0..minutes {
            for _ in 0..4 {
                registrations::run(&self.stage.engine).await.unwrap();
                self.stage.world.clock.advance_ms(15_000);
            }
        }
    }

    /// The same until the registration is in another state.
    async fn settle(&self, id: RegistrationId) -> Value {
        for _ in 0..60 {
            self.minutes(5).await;
            let seen = self.registration(id).await;
            if seen["state"] != "in_progress" {
                return seen;
            }
        }
        panic!("it does not come to an end: {}", self.registration(id).await);
    }

    async fn sms(&self, to: &str) -> Result<Value, engine::Error> {
        let message = json!({"channel": "sms", "to": {"phone": to}, "content": {"text": "Hi"}});
        self.stage.try_send(message, None).await
    }

    /// Buys a number by hand.
    async fn buy(&self, digits: &str) -> Value {
        let call = HttpCall::new(
            Method::Post,
            format!("https://api.twilio.com/2010-04-01/Accounts/{SID}/IncomingPhoneNumbers.json"),
        );
        let call = call
            .basic_auth(SID, &model::Secret::new("0123456789abcdef0123456789abcdef"))
            .body("application/x-www-form-urlencoded", format!("PhoneNumber=%2B{digits}"));
        let bought = self.stage.world.ports.transport.exchange(Arc::new(Call::Http(call))).await;
        let Ok(Answer::Http(bought)) = bought else { panic!("it is bought") };
        serde_json::from_slice(&bought.body).unwrap()
    }

    /// How many numbers were bought and not given back.
    async fn bought(&self) -> usize {
        let url = format!("https://api.twilio.com/2010-04-01/Accounts/{SID}/IncomingPhoneNumbers.json?FriendlyName=");
        let call =
            HttpCall::new(Method::Get, url).basic_auth(SID, &model::Secret::new("0123456789abcdef0123456789abcdef"));
        let listed = self.stage.world.ports.transport.exchange(Arc::new(Call::Http(call))).await;
        let Ok(Answer::Http(listed)) = listed else { panic!("they are listed") };
        let listed: Value = serde_json::from_slice(&listed.body).unwrap();
        // One is there from the beginning.
        listed["incoming_phone_numbers"].as_array().unwrap().len() - 1
    }

    /// How often something was made at Twilio.
    fn made(&self, path: &str) -> usize {
        let is_it = |call: &Arc<Call>| matches!(&**call, Call::Http(http) if http.method == Method::Post && http.url.ends_with(path));
        self.stage.world.transport.calls().iter().filter(|call| is_it(call)).count()
    }

    async fn events(&self) -> Vec<String> {
        let tenant = self.stage.tenant;
        let read = self.stage.world.ports.db.read(store::Scope::System, move |tx| {
            Box::pin(async move {
                let rows = tx
                    .rows(
                        "SELECT data FROM events WHERE tenant_id = $1 AND type = 'registration.changed' ORDER BY id",
                        &[&tenant],
                    )
                    .await?;
                rows.into_iter().map(|mut row| row.get::<String>(0)).collect::<Result<Vec<_>, store::Error>>()
            })
        });
        let stage_of = |text: String| {
            let data: Value = serde_json::from_str(&text).unwrap();
            data["stage"].as_str().unwrap().to_owned()
        };
        read.await.unwrap().into_iter().map(stage_of).collect()
    }
}

fn settings() -> Value {
    json!({"account_sid": SID, "auth_token": "0123456789abcdef0123456789abcdef"})
}

fn ask(simulator: &Simulator, http: &HttpCall, mood: &Mutex<Mood>) -> Result<Answer, model::Broken> {
    let mut mood = mood.lock().unwrap();
    if let Some(status) = mood.status {
        return http_answer(status, r#"{"code": 20500, "message": "An internal server error has occurred"}"#);
    }
    let (path, query) = http.url.split_once('?').unwrap_or((http.url.as_str(), ""));
    let path = path.splitn(4, '/').nth(3).unwrap_or_default();
    let method = format!("{:?}", http.method).to_uppercase();
    let request = Request {
        method: method.clone(),
        path: format!("/twilio/{path}"),
        query: query.to_owned(),
        headers: http.headers.clone(),
        body: http.body.clone(),
    };
    let reply = simulator.turn(&request).reply.expect("it answers");
    if let Some(lost) =
        mood.drops.iter().position(|end| (method == "POST" || method == "DELETE") && path.ends_with(end))
    {
        mood.drops.remove(lost);
        return broken_after("connection_reset");
    }
    http_answer(reply.status, reply.body)
}

fn whole() -> Value {
    json!({
        "legal_name": "Acme Events LLC", "dba": "Acme Tickets", "business_type": "llc", "ein": "123456789", "industry": "hospitality", "website": "https://acme.example",
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
    })
}

async fn campaign_line(twilio: &Twilio) -> Value {
    let new = json!({"phone": "+14155550177"});
    let (engine, caller) = (&twilio.stage.engine, &twilio.stage.caller);
    let found = contacts::create(engine, caller, &Repeat::NONE, serde_json::from_value(new).unwrap()).await;
    let id = match found {
        Ok(reply) => serde_json::from_slice::<Value>(&reply.body).unwrap()["id"].clone(),
        Err(_) => {
            let read = twilio.stage.world.ports.db.read(store::Scope::System, |tx| {
                Box::pin(async move {
                    let row = tx.row("SELECT id FROM contacts LIMIT 1", &[]).await?;
                    row.expect("a contact").get::<model::ContactId>(0)
                })
            });
            let id: Result<model::ContactId, store::Error> = read.await;
            json!(id.unwrap())
        }
    };
    let campaign = json!({
        "name": "News", "channel": "sms", "purpose": "transactional", "audience": {"contact_ids": [id]}, "content": {"text": "Doors open at 7 pm"},
    });
    let made = campaigns::create(engine, caller, &Repeat::NONE, serde_json::from_value(campaign).unwrap()).await;
    let id = body(made)["id"].as_str().unwrap().parse().unwrap();
    let report = serde_json::to_value(campaigns::check::check(engine, caller, id).await.unwrap()).unwrap();
    let lines = report["lines"].as_array().unwrap();
    lines.iter().find(|line| line["code"] == "registration").cloned().unwrap_or(Value::Null)
}

testkit::both! {
    async fn a_business_is_registered_from_its_profile_to_a_number_that_sends(db: TestDb) {
        let twilio = Twilio::new(&db).await;
        // Before anything was begun, messages leave as before, and the checklist warns.
        twilio.sms("+14155550177").await.unwrap();
        let line = campaign_line(&twilio).await;
        assert_eq!((line["level"].as_str(), line["action"].as_str()), (Some("warning"), Some("CONFIGURE_BUSINESS_INFO")), "{line}");

        let new = serde_json::from_value(json!({"account_id": twilio.account})).unwrap();
        let refused = registrations::create(&twilio.stage.engine, &twilio.stage.caller, &Repeat::NONE, new).await.unwrap_err();
        assert_eq!((refused.code, refused.action), ("business_profile_incomplete", Some("CONFIGURE_BUSINESS_INFO")));
        assert!(refused.errors.iter().any(|field| field.pointer == "/ein"), "{:?}", refused.errors);

        let seen = twilio.fill(whole()).await;
        assert_eq!((seen["is_complete"].as_bool(), seen["ein"].as_str()), (Some(true), Some("12-3456789")), "{seen}");
        let id = twilio.begin().await;
        // From now on what carriers would block is refused with what to do; everything else leaves.
        let refused = twilio.sms("+14155550177").await.unwrap_err();
        assert_eq!((refused.code, refused.action), ("registration_required", Some("WAIT_FOR_APPROVAL")));
        twilio.sms("+447700900123").await.unwrap();
        let line = campaign_line(&twilio).await;
        assert_eq!((line["level"].as_str(), line["action"].as_str(), line["count"].as_u64()), (Some("blocking"), Some("WAIT_FOR_APPROVAL"), Some(1)), "{line}");

        let done = twilio.settle(id).await;
        assert_eq!((done["state"].as_str(), done["next_action"].as_str()), (Some("approved"), None), "{done}");
        assert!(done["number"].as_str().unwrap().starts_with("+162855501"), "{done}");
        for what in ["/v1/CustomerProfiles", "/v1/TrustProducts", "/v1/a2p/BrandRegistrations", "/v1/Services", "/Compliance/Usa2p", "/IncomingPhoneNumbers.json"] {
            assert_eq!(twilio.made(what), 1, "{what}");
        }
        let stages = twilio.events().await;
        assert_eq!(stages, ["profile_review", "trust", "brand", "brand_review", "service", "campaign", "campaign_review", "number", "attach", "approved"]);

        // It leaves through the service that was registered.
        twilio.stage.world.transport.take_calls();
        twilio.sms("+14155550177").await.unwrap();
        twilio.stage.dispatch().await;
        let calls = twilio.stage.world.transport.take_calls();
        let sent = calls.iter().find_map(|call| match &**call {
            Call::Http(http) if http.url.ends_with("/Messages.json") => Some(String::from_utf8_lossy(&http.body).into_owned()),
            _ => None,
        });
        let service = done["references"]["service"].as_str().unwrap();
        assert!(sent.unwrap().contains(&format!("MessagingServiceSid={service}")));
        let line = campaign_line(&twilio).await;
        assert_eq!(line["level"], "ok", "{line}");

        // The number is in the operator's pool, and free again once the account is gone: until then it sends as what was registered.
        let operator = Caller::system(None);
        let pool = async || {
            let page = numbers::list(twilio.stage.engine.parts(), &operator, None, None, None).await.unwrap();
            serde_json::to_value(page).unwrap()["data"].clone()
        };
        let seen = pool().await;
        assert_eq!((seen[0]["state"].as_str(), seen[0]["provider_account"].as_str()), (Some("allocated"), Some(SID)), "{seen}");
        let refused = registrations::delete(twilio.stage.engine.parts(), &twilio.stage.caller, id).await.unwrap_err();
        assert_eq!((refused.code, pool().await[0]["state"].as_str()), ("registration_in_use", Some("allocated")));
        engine::accounts::delete(twilio.stage.engine.parts(), &twilio.stage.caller, twilio.account).await.unwrap();
        assert_eq!(pool().await[0]["state"], "free");
        assert_eq!(registrations::get(twilio.stage.engine.parts(), &twilio.stage.caller, id).await.unwrap_err().code, "not_found");
    }

    async fn lists_of_many_pages_are_read_until_what_was_made_is_found(db: TestDb) {
        let mut twilio = Twilio::new(&db).await;
        twilio.simulator.set("twilio", "page_max", "1");
        twilio.fill(whole()).await;
        let first = twilio.begin().await;
        assert_eq!(twilio.settle(first).await["state"], "approved");
        // Everything of the second lies behind what the first made, and the answers that told of it are lost.
        twilio.another(None).await;
        let second = twilio.begin().await;
        let makes = ["v1/CustomerProfiles", "v1/a2p/BrandRegistrations", "v1/Services", "Compliance/Usa2p", "IncomingPhoneNumbers.json"];
        twilio.mood(Mood { drops: makes.to_vec(), ..Mood::default() });
        let done = twilio.settle(second).await;
        assert_eq!(done["state"], "approved", "{done}");
        assert!(twilio.mood.lock().unwrap().drops.is_empty());
        for what in makes {
            assert_eq!(twilio.made(what), 2, "{what}");
        }
    }

    async fn a_business_registered_by_hand_is_taken_over_and_not_paid_for_again(db: TestDb) {
        let mut twilio = Twilio::new(&db).await;
        twilio.fill(whole()).await;
        let first = twilio.begin().await;
        let made = twilio.settle(first).await;
        let service = made["references"]["service"].as_str().unwrap().to_owned();
        // For the second account that service is somebody else's work: it names the service, and nothing else is known of it.
        twilio.another(Some(&service)).await;
        let second = twilio.begin().await;
        let done = twilio.settle(second).await;
        assert_eq!((done["state"].as_str(), done["number"].as_str()), (Some("approved"), None), "{done}");
        for what in ["service", "campaign", "brand"] {
            assert_eq!(done["references"][what], made["references"][what], "{what}");
        }
        for what in ["/v1/CustomerProfiles", "/v1/TrustProducts", "/v1/a2p/BrandRegistrations", "/v1/Services", "/Compliance/Usa2p", "/IncomingPhoneNumbers.json"] {
            assert_eq!(twilio.made(what), 1, "{what}");
        }
    }

    async fn what_is_rejected_is_mended_and_goes_on_where_it_was(db: TestDb) {
        let twilio = Twilio::new(&db).await;
        let mut said = whole();
        said["legal_name"] = json!("Rejected Events LLC");
        said["use_case"]["description"] = json!("Vague words about what might one day be sent to somebody.");
        twilio.fill(said).await;
        let id = twilio.begin().await;

        let seen = twilio.settle(id).await;
        assert_eq!((seen["state"].as_str(), seen["stage"].as_str(), seen["next_action"].as_str()), (Some("rejected"), Some("profile_review"), Some("UPDATE_BUSINESS_INFO")), "{seen}");
        assert_eq!(seen["reasons"][0]["pointers"], json!(["/legal_name"]), "{seen}");
        assert_eq!(twilio.sms("+14155550177").await.unwrap_err().action, Some("UPDATE_BUSINESS_INFO"));

        twilio.fill(json!({"legal_name": "Brandless Events LLC"})).await;
        twilio.submit(id).await.unwrap();
        assert_eq!(twilio.submit(id).await.unwrap_err().code, "registration_under_way");
        let seen = twilio.settle(id).await;
        assert_eq!((seen["stage"].as_str(), seen["reasons"][0]["code"].as_str()), (Some("brand_review"), Some("30795")), "{seen}");
        assert_eq!(seen["reasons"][0]["pointers"], json!(["/ein", "/legal_name"]));

        twilio.fill(json!({"legal_name": "Acme Events LLC"})).await;
        twilio.submit(id).await.unwrap();
        let seen = twilio.settle(id).await;
        assert_eq!((seen["stage"].as_str(), seen["reasons"][0]["pointers"].clone()), (Some("campaign_review"), json!(["/use_case/description"])), "{seen}");

        twilio.fill(json!({"use_case": {"description": "News about the events of a venue, to people who asked for them."}})).await;
        twilio.submit(id).await.unwrap();
        assert_eq!(twilio.settle(id).await["state"], "approved");
        // Nothing that costs money was made twice.
        for what in ["/v1/CustomerProfiles", "/v1/a2p/BrandRegistrations", "/Compliance/Usa2p", "/IncomingPhoneNumbers.json"] {
            assert_eq!(twilio.made(what), 1, "{what}");
        }
    }

    async fn a_provider_that_is_down_is_asked_for_a_while_and_then_the_operator(db: TestDb) {
        let twilio = Twilio::new(&db).await;
        twilio.fill(whole()).await;
        let id = twilio.begin().await;
        twilio.mood(Mood { status: Some(503), ..Mood::default() });
        twilio.minutes(30).await;
        let seen = twilio.registration(id).await;
        assert_eq!((seen["state"].as_str(), seen["failures"].as_u64()), (Some("in_progress"), Some(6)), "{seen}");
        let seen = twilio.settle(id).await;
        assert_eq!((seen["state"].as_str(), seen["failures"].as_u64(), seen["stage"].as_str()), (Some("operator_needed"), Some(10), Some("profile")), "{seen}");
        assert_eq!(twilio.sms("+14155550177").await.unwrap_err().action, Some("WAIT_FOR_APPROVAL"));

        // The operator sees it among all tenants', and lets it go on.
        let operator = Caller::system(None);
        let stuck = registrations::list(twilio.stage.engine.parts(), &operator, None, None).await.unwrap();
        assert_eq!(stuck.data.iter().map(|one| one.id).collect::<Vec<_>>(), [id]);
        twilio.mood(Mood::default());
        twilio.submit(id).await.unwrap();
        assert_eq!(twilio.settle(id).await["state"], "approved");
        assert!(registrations::list(twilio.stage.engine.parts(), &operator, None, None).await.unwrap().data.is_empty());
    }

    async fn a_lost_answer_makes_nothing_twice(db: TestDb) {
        let twilio = Twilio::new(&db).await;
        twilio.fill(whole()).await;
        let id = twilio.begin().await;
        for lost in ["/CustomerProfiles", "/EndUsers", "/TrustProducts", "/BrandRegistrations", "/Services", "/Usa2p", "/IncomingPhoneNumbers.json", "/PhoneNumbers"] {
            twilio.mood(Mood { drops: vec![lost], ..Mood::default() });
            let is_lost = || twilio.mood.lock().unwrap().drops.is_empty();
            for _ in 0..40 {
                twilio.minutes(1).await;
                if is_lost() {
                    break;
                }
            }
            assert!(is_lost(), "{lost}: {}", twilio.registration(id).await);
        }
        let done = twilio.settle(id).await;
        assert_eq!(done["state"], "approved", "{done}");
        for what in ["/v1/CustomerProfiles", "/v1/TrustProducts", "/v1/a2p/BrandRegistrations", "/v1/Services", "/Compliance/Usa2p", "/IncomingPhoneNumbers.json"] {
            assert_eq!(twilio.made(what), 1, "{what}");
        }
    }

    async fn a_free_number_of_the_same_holder_is_taken_before_one_is_bought(db: TestDb) {
        let twilio = Twilio::new(&db).await;
        let operator = Caller::system(None);
        let add = async |number: &str, holder: &str, reference: &str| {
            let new = json!({"number": number, "connector": "twilio", "provider_account": holder, "reference": reference});
            body(numbers::create(twilio.stage.engine.parts(), &operator, &Repeat::NONE, serde_json::from_value(new).unwrap()).await)
        };
        let other = add("+16285550190", "AC00000000000000000000000000000002", "PN2").await;
        let elsewhere = add("+12125550191", SID, "PN3").await;
        twilio.fill(whole()).await;
        // A number bought at Twilio by hand: the simulator has to know it, too.
        let bought = twilio.buy("16285550192").await;
        let mine = add("+16285550192", SID, bought["sid"].as_str().unwrap()).await;
        let id = twilio.begin().await;
        let done = twilio.settle(id).await;
        assert_eq!((done["state"].as_str(), done["number"].as_str()), (Some("approved"), Some("+16285550192")), "{done}");
        let state = async |number: &Value| {
            let id: NumberId = number["id"].as_str().unwrap().parse().unwrap();
            serde_json::to_value(numbers::get(twilio.stage.engine.parts(), &operator, id).await.unwrap()).unwrap()["state"].clone()
        };
        assert_eq!([state(&mine).await, state(&other).await, state(&elsewhere).await], [json!("allocated"), json!("free"), json!("free")]);

        let id: NumberId = mine["id"].as_str().unwrap().parse().unwrap();
        let retire = serde_json::from_value(json!({"state": "retired", "detail": "Given back"})).unwrap();
        let seen = numbers::patch(twilio.stage.engine.parts(), &operator, id, retire).await.unwrap();
        assert_eq!((seen.state, seen.tenant_id), (numbers::NumberState::Retired, None));
        let allocate = serde_json::from_value(json!({"state": "allocated"})).unwrap();
        let refused = numbers::patch(twilio.stage.engine.parts(), &operator, id, allocate).await.unwrap_err();
        assert_eq!(refused.errors[0].pointer, "/state");
    }

    async fn rules_skip_an_account_that_is_not_registered_and_say_so(db: TestDb) {
        let twilio = Twilio::new(&db).await;
        twilio.fill(whole()).await;
        twilio.begin().await;
        let second = twilio.stage.account("twilio", settings(), Some("+14155550124")).await;
        let rule = json!({"name": "All", "channel": "sms", "choose": {"by": "priority"}, "accounts": [{"account_id": twilio.account}, {"account_id": second}]});
        let rule = serde_json::from_value(rule).unwrap();
        engine::routing::create(&twilio.stage.engine, &twilio.stage.caller, &Repeat::NONE, rule).await.unwrap();
        let ask = async |to: &str, channel: Value| {
            let message = json!({"channel": channel, "to": {"phone": to}, "content": {"text": "Hi"}, "dry_run": true});
            twilio.stage.try_send(message, None).await.unwrap()
        };
        let told = ask("+14155550177", json!("sms")).await;
        assert_eq!(told["account_id"], json!(second), "{told}");
        let skipped = told["routing"]["considered"].as_array().unwrap().iter().find(|one| one["account_id"] == json!(twilio.account)).unwrap();
        assert_eq!((&skipped["verdict"], &skipped["why"]), (&json!("skipped"), &json!("not registered with American carriers (WAIT_FOR_APPROVAL)")));
        // A list of channels knows that a rule has a way.
        assert_eq!(ask("+14155550177", json!(["sms", "whatsapp"])).await["channel"], "sms");
        assert_eq!(ask("+447700900123", json!("sms")).await["account_id"], json!(twilio.account), "elsewhere nothing is asked");
    }

    async fn a_list_of_channels_asks_for_what_the_message_names(db: TestDb) {
        let twilio = Twilio::new(&db).await;
        twilio.fill(whole()).await;
        twilio.begin().await;
        twilio.stage.account("sandbox", json!({}), None).await;
        let second = twilio.stage.account("twilio", settings(), Some("+18005550199")).await;
        twilio.buy("18335550188").await;
        let sender = json!({"account_id": twilio.account, "from": "+18335550188", "channels": ["sms"]});
        let sender = engine::senders::create(&twilio.stage.engine, &twilio.stage.caller, &Repeat::NONE, serde_json::from_value(sender).unwrap()).await;
        let sender = body(sender)["id"].clone();
        let ask = async |name: &str, value: &Value| {
            let mut message = json!({
                "channel": ["sms", "email"], "to": {"phone": "+14155550177", "email": "ada@example.com"}, "content": {"subject": "Hi", "text": "Hi"}, "dry_run": true,
            });
            message[name] = value.clone();
            twilio.stage.try_send(message, None).await.unwrap()["channel"].clone()
        };
        assert_eq!(ask("topic", &json!("news")).await, "email", "the default account is not registered");
        assert_eq!(ask("account_id", &json!(second)).await, "sms", "another account needs no registration");
        assert_eq!(ask("sender_id", &sender).await, "sms", "nor does a toll-free sender of the first");
    }

    async fn a_campaign_waits_for_the_registration_and_leaves_nobody_out(db: TestDb) {
        let twilio = Twilio::new(&db).await;
        let (engine, caller) = (&twilio.stage.engine, &twilio.stage.caller);
        let new = serde_json::from_value(json!({"phone": "+14155550177"})).unwrap();
        let person = body(contacts::create(engine, caller, &Repeat::NONE, new).await)["id"].clone();
        let new = json!({"name": "News", "channel": "sms", "purpose": "transactional", "audience": {"contact_ids": [person]}, "content": {"text": "Doors open at 7 pm"}});
        let made = body(campaigns::create(engine, caller, &Repeat::NONE, serde_json::from_value(new).unwrap()).await);
        let campaign: model::CampaignId = made["id"].as_str().unwrap().parse().unwrap();
        campaigns::start(engine, caller, &Repeat::NONE, campaign, None).await.unwrap();
        // The registration is begun between the start and the first message.
        twilio.fill(whole()).await;
        let id = twilio.begin().await;
        let seen = async || serde_json::to_value(campaigns::get(engine, caller, campaign).await.unwrap()).unwrap();
        for _ in 0..8 {
            campaigns::work::run(engine).await.unwrap();
        }
        let waiting = seen().await;
        assert_eq!((&waiting["state"], &waiting["accepted"], &waiting["excluded"]), (&json!("sending"), &json!(0), &json!(0)), "{waiting}");
        assert!(waiting["problem"].as_str().unwrap().contains("registration_required"), "{waiting}");
        assert_eq!(twilio.settle(id).await["state"], "approved");
        for _ in 0..8 {
            campaigns::work::run(engine).await.unwrap();
        }
        let done = seen().await;
        assert_eq!((&done["accepted"], &done["excluded"]), (&json!(1), &json!(0)), "{done}");
    }

    async fn a_large_campaign_is_counted_before_it_meets_the_carriers(db: TestDb) {
        let twilio = Twilio::new(&db).await;
        twilio.fill(whole()).await;
        twilio.begin().await;
        let (engine, caller, tenant, now) = (&twilio.stage.engine, &twilio.stage.caller, twilio.stage.tenant, twilio.stage.world.ports.clock.now());
        let list = body(contacts::lists::create(engine, caller, &Repeat::NONE, serde_json::from_value(json!({"name": "All"})).unwrap()).await);
        let list: model::ListId = list["id"].as_str().unwrap().parse().unwrap();
        // More than are counted at once; only the last is in the United States.
        let phone = |n: u128| if n == 6_199 { "+14155550177".to_owned() } else { format!("+4915112{n:06}") };
        let person = |n: u128| store::contacts::Contact { phone: Some(phone(n)), ..store::contacts::Contact::new(tenant, model::ContactId::from_ulid(n + 1), now) };
        let people: Vec<store::contacts::Contact> = (0..6_200).map(person).collect();
        let write = twilio.stage.world.ports.db.write(store::Scope::System, move |tx| {
            Box::pin(async move {
                store::contacts::insert_many(tx, &people).await?;
                store::contacts::mark(tx, tenant).await?;
                let ids: Vec<_> = people.iter().map(|contact| contact.id).collect();
                store::lists::add(tx, tenant, list, &ids, now).await?;
                store::tenants::bump(tx, Some(tenant)).await
            })
        });
        let filled: Result<_, store::Error> = write.await;
        filled.unwrap();
        engine.directory.refresh().await.unwrap();
        let new = json!({"name": "News", "channel": "sms", "purpose": "transactional", "audience": {"lists": [list]}, "content": {"text": "Doors open at 7 pm"}});
        let made = body(campaigns::create(engine, caller, &Repeat::NONE, serde_json::from_value(new).unwrap()).await);
        let campaign: model::CampaignId = made["id"].as_str().unwrap().parse().unwrap();
        campaigns::start(engine, caller, &Repeat::NONE, campaign, None).await.unwrap();
        let seen = serde_json::to_value(campaigns::get(engine, caller, campaign).await.unwrap()).unwrap();
        assert_eq!((&seen["state"], &seen["stage"]), (&json!("sending"), &json!("checking")), "{seen}");
    }

    async fn the_checklist_speaks_of_american_carriers_for_texts_only(db: TestDb) {
        let twilio = Twilio::new(&db).await;
        let (engine, caller) = (&twilio.stage.engine, &twilio.stage.caller);
        let new = serde_json::from_value(json!({"phone": "+14155550177"})).unwrap();
        let person = body(contacts::create(engine, caller, &Repeat::NONE, new).await)["id"].clone();
        let new = json!({"name": "Call", "channel": "voice", "purpose": "transactional", "audience": {"contact_ids": [person]}, "content": {"say": "Doors open at 7 pm"}});
        let made = body(campaigns::create(engine, caller, &Repeat::NONE, serde_json::from_value(new).unwrap()).await);
        let report = campaigns::check::check(engine, caller, made["id"].as_str().unwrap().parse().unwrap()).await.unwrap();
        assert!(report.lines.iter().all(|line| line.code != "registration"), "{:?}", serde_json::to_value(&report.lines));
    }

    async fn registrations_are_leased_one_at_a_time_and_not_deleted_meanwhile(db: TestDb) {
        let twilio = Twilio::new(&db).await;
        twilio.fill(whole()).await;
        let id = twilio.begin().await;
        let second = twilio.stage.account("twilio", settings(), Some("+14155550124")).await;
        let new = serde_json::from_value(json!({"account_id": second})).unwrap();
        let other: RegistrationId = body(registrations::create(&twilio.stage.engine, &twilio.stage.caller, &Repeat::NONE, new).await)["id"].as_str().unwrap().parse().unwrap();
        // Another node is in the middle of the first, and takes longer than five minutes.
        let lease = async |until: u64| {
            let now = twilio.stage.world.ports.clock.now();
            let until = now.plus_millis(until as i64);
            let write = twilio.stage.world.ports.db.write(store::Scope::System, move |tx| {
                Box::pin(async move { tx.execute("UPDATE registrations SET leased_by = $1, lease_until = $2 WHERE id = $3", &[&store::inflight::WorkerId(99), &until, &id]).await })
            });
            let done: Result<u64, store::Error> = write.await;
            done.unwrap()
        };
        lease(600_000).await;
        let refused = registrations::delete(twilio.stage.engine.parts(), &twilio.stage.caller, id).await.unwrap_err();
        assert_eq!((refused.kind.status(), refused.code), (409, "registration_busy"));
        assert_eq!(registrations::run(&twilio.stage.engine).await.unwrap(), 1, "the other one's turn only");
        assert_eq!(twilio.registration(id).await["stage"], "profile");
        assert_ne!(twilio.registration(other).await["stage"], "profile");
        lease(0).await;
        registrations::delete(twilio.stage.engine.parts(), &twilio.stage.caller, id).await.unwrap();
    }

    async fn a_pool_number_comes_out_of_its_old_service(db: TestDb) {
        let twilio = Twilio::new(&db).await;
        twilio.fill(whole()).await;
        let first = twilio.begin().await;
        let number = twilio.settle(first).await["number"].clone();
        // The account goes; its number stays in the service that was made for it at Twilio, and is free here.
        engine::accounts::delete(twilio.stage.engine.parts(), &twilio.stage.caller, twilio.account).await.unwrap();
        let second = twilio.stage.account("twilio", settings(), Some("+14155550124")).await;
        let new = serde_json::from_value(json!({"account_id": second, "area_code": "628"})).unwrap();
        let id: RegistrationId = body(registrations::create(&twilio.stage.engine, &twilio.stage.caller, &Repeat::NONE, new).await)["id"].as_str().unwrap().parse().unwrap();
        let done = twilio.settle(id).await;
        assert_eq!((done["state"].as_str(), &done["number"]), (Some("approved"), &number), "{done}");
        assert_eq!(twilio.made("/IncomingPhoneNumbers.json"), 1, "none was bought");
    }

    async fn a_number_is_given_back_when_the_operator_says_so(db: TestDb) {
        let twilio = Twilio::new(&db).await;
        let (parts, operator) = (twilio.stage.engine.parts(), Caller::system(None));
        twilio.fill(whole()).await;
        let id = twilio.begin().await;
        assert_eq!(twilio.settle(id).await["state"], "approved");
        let only = async || numbers::list(parts, &operator, None, None, None).await.unwrap().data.remove(0);
        let number = only().await;
        let refused = numbers::remove(parts, &operator, number.id, true).await.unwrap_err();
        assert_eq!((refused.kind.status(), refused.code), (409, "number_allocated"), "{}", refused.detail);
        assert_eq!(only().await, number, "nothing happened to it");
        let aside = serde_json::from_value(json!({"state": "retired"})).unwrap();
        numbers::patch(parts, &operator, number.id, aside).await.unwrap();
        // The provider does not answer: the number stays aside, and can be given back later.
        twilio.mood(Mood { status: Some(500), ..Mood::default() });
        assert_eq!(numbers::remove(parts, &operator, number.id, true).await.unwrap_err().code, "provider_unavailable");
        assert_eq!(only().await.state, numbers::NumberState::Retired);
        // Then it does what it was asked, and the answer is lost.
        twilio.mood(Mood { drops: vec![".json"], ..Mood::default() });
        assert_eq!(numbers::remove(parts, &operator, number.id, true).await.unwrap_err().code, "provider_unavailable");
        assert_eq!(twilio.bought().await, 0, "it is given back there");
        numbers::remove(parts, &operator, number.id, true).await.unwrap();
        assert_eq!(numbers::get(parts, &operator, number.id).await.unwrap_err().code, "not_found");
        let told = engine::audit::list(parts, &operator, Some(1), None).await.unwrap().data.remove(0);
        assert_eq!((told.action.as_str(), &told.detail["number"]), ("number.released", &json!(number.number)));
        assert_eq!(numbers::remove(parts, &operator, number.id, true).await.unwrap_err().code, "not_found");
    }

    async fn a_number_nobody_here_holds_is_removed_here_only(db: TestDb) {
        let twilio = Twilio::new(&db).await;
        let (parts, operator) = (twilio.stage.engine.parts(), Caller::system(None));
        let new = json!({"number": "+14155550190", "connector": "twilio", "provider_account": "AC00000000000000000000000000000077", "reference": "PN2"});
        let made = body(numbers::create(parts, &operator, &Repeat::NONE, serde_json::from_value(new).unwrap()).await);
        let id: NumberId = made["id"].as_str().unwrap().parse().unwrap();
        let member = Caller { is_operator: false, ..twilio.stage.caller.clone() };
        assert_eq!(numbers::remove(parts, &member, id, false).await.unwrap_err().code, "operator_only");
        let refused = numbers::remove(parts, &operator, id, true).await.unwrap_err();
        assert_eq!((refused.code, refused.detail.contains("AC00000000000000000000000000000077")), ("number_account_missing", true));
        assert_eq!(numbers::get(parts, &operator, id).await.unwrap().state, numbers::NumberState::Free);
        numbers::remove(parts, &operator, id, false).await.unwrap();
        assert_eq!(numbers::get(parts, &operator, id).await.unwrap_err().code, "not_found");
        assert!(twilio.stage.world.transport.calls().iter().all(|call| !matches!(&**call, Call::Http(http) if http.method == Method::Delete)), "nothing was asked of the provider");
        let told = engine::audit::list(parts, &operator, Some(1), None).await.unwrap().data.remove(0);
        assert_eq!(told.action, "number.removed");
    }

    async fn one_person_is_registered_by_a_mobile_number(db: TestDb) {
        let twilio = Twilio::new(&db).await;
        twilio.fill(whole()).await;
        let person = json!({
            "legal_name": "Ada Silent", "dba": null, "business_type": "sole_proprietor", "ein": null,
            "owner": {"last_name": "Silent", "title": null, "position": null},
        });
        assert_eq!(twilio.fill(person).await["is_complete"], true);
        let id = twilio.begin().await;
        for _ in 0..12 {
            twilio.minutes(5).await;
        }
        // Twilio wrote to the number, and nobody answered.
        let waiting = twilio.registration(id).await;
        assert_eq!((&waiting["state"], &waiting["stage"], &waiting["next_action"]), (&json!("in_progress"), &json!("brand_review"), &json!("WAIT_FOR_APPROVAL")), "{waiting}");
        assert!(waiting["problem"].as_str().unwrap().contains("+14155550123"), "{waiting}");
        assert_eq!(waiting["failures"], 0);
        assert_eq!(twilio.submit(id).await.unwrap()["stage"], "code");
        let done = twilio.settle(id).await;
        assert_eq!((&done["state"], &done["problem"]), (&json!("approved"), &Value::Null), "{done}");
        assert_eq!((twilio.made("/SmsOtp"), twilio.made("/a2p/BrandRegistrations")), (1, 1));
        twilio.sms("+14155550177").await.unwrap();
        assert_eq!(twilio.submit(id).await.unwrap_err().code, "registration_under_way");
    }

    async fn a_toll_free_number_is_verified_and_sends_only_then(db: TestDb) {
        let twilio = Twilio::new(&db).await;
        let toll_free = twilio.stage.account("twilio", settings(), Some("+18005550177")).await;
        twilio.buy("18005550177").await;
        let from_it = async |twilio: &Twilio| {
            let message = json!({"channel": "sms", "to": {"phone": "+14155550177"}, "account_id": toll_free, "content": {"text": "Hi"}});
            twilio.stage.try_send(message, None).await.map_err(|error| (error.code, error.action))
        };
        let new = json!({"account_id": toll_free, "opt_in_type": "web_form", "opt_in_image_urls": ["https://acme.example/opt-in.png"]});
        let ask = async |twilio: &Twilio, new: &Value| {
            let new = serde_json::from_value(new.clone()).unwrap();
            registrations::toll_free::create(&twilio.stage.engine, &twilio.stage.caller, &Repeat::NONE, new).await
        };
        assert_eq!(ask(&twilio, &new).await.unwrap_err().code, "business_profile_incomplete");
        twilio.fill(whole()).await;
        let local = ask(&twilio, &json!({"account_id": twilio.account, "opt_in_type": "web_form", "opt_in_image_urls": ["https://acme.example/opt-in.png"]})).await.unwrap_err();
        assert_eq!(local.errors[0].pointer, "/number", "its sender is a local number");
        from_it(&twilio).await.unwrap();
        // The answer to what makes it is lost.
        twilio.mood(Mood { drops: vec!["Tollfree/Verifications"], ..Mood::default() });
        let begun = body(ask(&twilio, &new).await);
        assert_eq!((&begun["kind"], &begun["number"], &begun["stage"]), (&json!("toll_free"), &json!("+18005550177"), &json!("verification")));
        assert_eq!(ask(&twilio, &new).await.unwrap_err().code, "registration_exists");
        let id: RegistrationId = begun["id"].as_str().unwrap().parse().unwrap();
        assert_eq!(from_it(&twilio).await.unwrap_err(), ("registration_required", Some("WAIT_FOR_APPROVAL")));
        twilio.sms("+14155550177").await.unwrap();
        let member = &twilio.stage.caller;
        let seen = async || {
            let view = registrations::toll_free::get(twilio.stage.engine.parts(), member, id).await.unwrap();
            serde_json::to_value(view).unwrap()
        };
        for _ in 0..12 {
            twilio.minutes(5).await;
        }
        let done = seen().await;
        assert_eq!((&done["state"], &done["stage"], &done["next_action"]), (&json!("approved"), &json!("approved"), &Value::Null), "{done}");
        assert!(done["references"]["verification"].as_str().unwrap().starts_with("HH"), "{done}");
        assert_eq!(twilio.made("/Tollfree/Verifications"), 1, "it is asked for once");
        from_it(&twilio).await.unwrap();
        assert_eq!(twilio.events().await, ["verification_review", "approved"]);
        // The pool has nothing to do with it, and the lists are apart.
        assert!(numbers::list(twilio.stage.engine.parts(), &Caller::system(None), None, None, None).await.unwrap().data.is_empty());
        assert!(registrations::list(twilio.stage.engine.parts(), member, None, None).await.unwrap().data.is_empty());
        assert_eq!(registrations::get(twilio.stage.engine.parts(), member, id).await.unwrap_err().code, "not_found");
        assert_eq!(registrations::toll_free::list(twilio.stage.engine.parts(), member, None, None).await.unwrap().data.len(), 1);
        registrations::toll_free::delete(twilio.stage.engine.parts(), member, id).await.unwrap();
        from_it(&twilio).await.unwrap();
    }

    async fn a_verification_that_was_rejected_is_mended_or_asked_for_anew(db: TestDb) {
        let twilio = Twilio::new(&db).await;
        twilio.buy("18885550144").await;
        let says = |words: &str| json!({"use_case": {"description": format!("{words} news about the events of a venue, to people who asked.")}});
        twilio.fill(whole()).await;
        twilio.fill(says("Vague")).await;
        let new = json!({"account_id": twilio.account, "number": "+18885550144", "opt_in_type": "verbal", "opt_in_image_urls": ["https://acme.example/opt-in.png"], "additional_information": "Since 1990."});
        let new = serde_json::from_value(new).unwrap();
        let begun = body(registrations::toll_free::create(&twilio.stage.engine, &twilio.stage.caller, &Repeat::NONE, new).await);
        let id: RegistrationId = begun["id"].as_str().unwrap().parse().unwrap();
        let settled = async || {
            for _ in 0..12 {
                twilio.minutes(5).await;
            }
            let view = registrations::toll_free::get(twilio.stage.engine.parts(), &twilio.stage.caller, id).await.unwrap();
            serde_json::to_value(view).unwrap()
        };
        let submit = async |again: Value| {
            let again = serde_json::from_value(again).unwrap();
            registrations::toll_free::submit(&twilio.stage.engine, &twilio.stage.caller, &Repeat::NONE, id, again).await
        };
        let rejected = settled().await;
        assert_eq!((&rejected["state"], &rejected["next_action"], &rejected["reasons"][0]["code"]), (&json!("rejected"), &json!("UPDATE_BUSINESS_INFO"), &json!("30489")), "{rejected}");
        assert_eq!(submit(json!({"opt_in_image_urls": []})).await.unwrap_err().errors[0].pointer, "/opt_in_image_urls");
        // What Twilio lets be mended is mended.
        twilio.fill(says("Forbidden")).await;
        let again = body(submit(json!({"opt_in_type": "paper_form", "additional_information": null})).await);
        assert_eq!((&again["stage"], &again["toll_free"]["opt_in_type"], &again["toll_free"]["additional_information"]), (&json!("verification"), &json!("paper_form"), &Value::Null), "{again}");
        let first = rejected["references"]["verification"].clone();
        let rejected = settled().await;
        assert_eq!((&rejected["state"], &rejected["references"]["verification"]), (&json!("rejected"), &first), "{rejected}");
        // What it does not is asked for anew.
        twilio.fill(says("Good")).await;
        submit(json!({})).await.unwrap();
        let done = settled().await;
        assert_eq!(done["state"], "approved", "{done}");
        assert_ne!(done["references"]["verification"], first);
        let told: Vec<_> = engine::audit::list(twilio.stage.engine.parts(), &twilio.stage.caller, Some(200), None).await.unwrap().data.into_iter().map(|entry| entry.action).collect();
        assert_eq!(told.iter().filter(|action| *action == "registration.submitted").count(), 2);
    }

    async fn a_toll_free_number_the_account_does_not_have_is_rejected(db: TestDb) {
        let twilio = Twilio::new(&db).await;
        twilio.fill(whole()).await;
        let new = json!({"account_id": twilio.account, "number": "+18665550111", "opt_in_type": "via_text", "opt_in_image_urls": ["https://acme.example/opt-in.png"]});
        let new = serde_json::from_value(new).unwrap();
        let begun = body(registrations::toll_free::create(&twilio.stage.engine, &twilio.stage.caller, &Repeat::NONE, new).await);
        twilio.minutes(5).await;
        let view = registrations::toll_free::get(twilio.stage.engine.parts(), &twilio.stage.caller, begun["id"].as_str().unwrap().parse().unwrap()).await.unwrap();
        let seen = serde_json::to_value(view).unwrap();
        assert_eq!((&seen["state"], &seen["reasons"][0]["code"], &seen["reasons"][0]["pointers"]), (&json!("rejected"), &json!("number_not_there"), &json!(["/number"])), "{seen}");
        assert_eq!(twilio.made("/Tollfree/Verifications"), 0);
    }

    async fn the_pool_takes_no_toll_free_numbers(db: TestDb) {
        let twilio = Twilio::new(&db).await;
        let new = json!({"number": "+18445550190", "connector": "twilio", "provider_account": SID, "reference": "PN2"});
        let refused = numbers::create(twilio.stage.engine.parts(), &Caller::system(None), &Repeat::NONE, serde_json::from_value(new).unwrap()).await.unwrap_err();
        assert_eq!(refused.errors[0].pointer, "/number");
    }

    async fn a_deleted_account_leaves_its_number_to_others(db: TestDb) {
        let twilio = Twilio::new(&db).await;
        twilio.fill(whole()).await;
        let id = twilio.begin().await;
        assert_eq!(twilio.settle(id).await["state"], "approved");
        engine::accounts::delete(twilio.stage.engine.parts(), &twilio.stage.caller, twilio.account).await.unwrap();
        assert_eq!(registrations::get(twilio.stage.engine.parts(), &twilio.stage.caller, id).await.unwrap_err().code, "not_found");
        let operator = Caller::system(None);
        let pool = numbers::list(twilio.stage.engine.parts(), &operator, Some(numbers::NumberState::Free), None, None).await.unwrap();
        assert_eq!(pool.data.iter().map(|number| (number.tenant_id, number.registration_id)).collect::<Vec<_>>(), [(None, None)]);
    }

    async fn the_operator_says_when_registration_is_required(db: TestDb) {
        let twilio = Twilio::new(&db).await;
        let member = Caller { is_operator: false, ..twilio.stage.caller.clone() };
        let change = json!({"us_sms": "off"}).to_string();
        let refused = profile::patch(&twilio.stage.engine, &member, change.as_bytes()).await.unwrap_err();
        assert_eq!(refused.code, "operator_only");
        twilio.fill(json!({"us_sms": "required"})).await;
        assert_eq!(twilio.sms("+14155550177").await.unwrap_err().action, Some("CONFIGURE_BUSINESS_INFO"));
        // Not for those who are registered another way, or not at all.
        let toll_free = twilio.stage.account("twilio", settings(), Some("+18005550199")).await;
        let message = json!({"channel": "sms", "to": {"phone": "+14155550177"}, "account_id": toll_free, "content": {"text": "Hi"}});
        twilio.stage.try_send(message, None).await.unwrap();
        // A list of channels passes it over.
        twilio.stage.account("sandbox", json!({}), None).await;
        let message = json!({"channel": ["sms", "email"], "to": {"phone": "+14155550177", "email": "ada@example.com"}, "content": {"subject": "Hi", "text": "Hi"}});
        assert_eq!(twilio.stage.try_send(message, None).await.unwrap()["channel"], "email");
        twilio.fill(json!({"us_sms": "off"})).await;
        twilio.sms("+14155550177").await.unwrap();
    }

    async fn the_sandbox_approves_after_half_a_minute_with_a_number_of_fiction(db: TestDb) {
        let stage = Stage::new(&db).await;
        let account = stage.account("sandbox", json!({}), None).await;
        profile::patch(&stage.engine, &stage.caller, whole().to_string().as_bytes()).await.unwrap();
        let new = serde_json::from_value(json!({"account_id": account, "area_code": "212"})).unwrap();
        let made = body(registrations::create(&stage.engine, &stage.caller, &Repeat::NONE, new).await);
        let id: RegistrationId = made["id"].as_str().unwrap().parse().unwrap();
        let get = async || serde_json::to_value(registrations::get(stage.engine.parts(), &stage.caller, id).await.unwrap()).unwrap();
        registrations::run(&stage.engine).await.unwrap();
        stage.world.clock.advance_ms(29_000);
        registrations::run(&stage.engine).await.unwrap();
        assert_eq!(get().await["state"], "in_progress");
        stage.world.clock.advance_ms(1_000);
        registrations::run(&stage.engine).await.unwrap();
        let seen = get().await;
        assert_eq!(seen["state"], "approved", "{seen}");
        let number = seen["number"].as_str().unwrap();
        assert!(number.starts_with("+121255501") && number.len() == 12, "{number}");
        // Nobody is kept waiting at the sandbox.
        stage.send(json!({"channel": "sms", "to": {"phone": "+14155550177"}, "content": {"text": "Hi"}})).await;
    }
}
