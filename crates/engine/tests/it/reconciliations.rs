//! Holding our records against the simulator's Twilio and SendGrid, and against tables, on both engines: planted differences are all found, and none is invented.

use std::sync::{Arc, OnceLock};

use model::{AccountId, Answer, BoxFuture, Broken, Call, HttpAnswer, Ids, Transport};
use provider_sim::{Request, Simulator};
use serde_json::{Value, json};
use testkit::{FakeTransport, Stage, TestDb, World};
use tidings_engine::{
    Error,
    keys::Caller,
    money::{
        credits::{self, CreditsPatch},
        prices,
    },
    once::Repeat,
    reconciliations::{self, work},
};

use crate::setting::column;

/// A stage whose providers are the simulator's.
struct Desk {
    stage: Stage,
    simulator: Arc<Simulator>,
}

/// The simulator makes no calls by itself here.
struct Nobody;

impl Transport for Nobody {
    fn exchange(&self, _: Arc<Call>) -> BoxFuture<'static, Result<Answer, Broken>> {
        Box::pin(std::future::pending())
    }
}

impl Desk {
    async fn open(db: &TestDb) -> Self {
        let inside = Arc::new(OnceLock::<Arc<Simulator>>::new());
        let simulator = Arc::clone(&inside);
        let transport = FakeTransport::new(move |call| {
            let Call::Http(http) = call else { return Ok(Answer::Local) };
            let (host, below) = http.url.strip_prefix("https://api.").unwrap().split_once(".com").unwrap();
            let (path, query) = below.split_once('?').unwrap_or((below, ""));
            let request = Request {
                method: http.method.to_string(),
                path: format!("/{host}{path}"),
                query: query.to_owned(),
                headers: http.headers.iter().cloned().chain([("host".to_owned(), "sim.test".to_owned())]).collect(),
                body: http.body.clone(),
            };
            let reply = simulator.get().unwrap().turn(&request).reply.unwrap();
            let headers = reply.headers.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
            Ok(Answer::Http(HttpAnswer { status: reply.status, headers, body: reply.body, ..HttpAnswer::default() }))
        });
        let world = World::with_transport(db, transport);
        let simulator = Simulator::new(Arc::clone(&world.ports.clock), Ids::seeded(7), Arc::new(Nobody));
        assert!(inside.set(Arc::clone(&simulator)).is_ok());
        Self { stage: Stage::in_world(world).await, simulator }
    }

    /// A tenant that pays afterwards for what Twilio takes and a quarter: 7,500 by the list, and to India 4,000.
    async fn with_twilio(db: &TestDb) -> (Self, AccountId) {
        let desk = Self::open(db).await;
        let settings = json!({"account_sid": format!("AC{:032}", 1), "auth_token": "0123456789abcdef0123456789abcdef"});
        let account = desk.stage.account("twilio", settings, Some("+15550100001")).await;
        let rows = json!([
            {"channel": "sms", "unit": "segment", "cost_micros": 7500, "markup_basis_points": 2500},
            {"channel": "sms", "country": "IN", "unit": "segment", "cost_micros": 4000, "markup_basis_points": 2500},
            {"channel": "voice", "unit": "minute", "cost_micros": 14000, "markup_basis_points": 2500},
            {"channel": "voice", "country": "IN", "unit": "minute", "cost_micros": 10000, "markup_basis_points": 2500},
        ]);
        let list = serde_json::from_value(json!({"currency": "USD", "rows": rows})).unwrap();
        prices::create(desk.stage.engine.parts(), &Caller::system(None), &Repeat::NONE, list).await.unwrap();
        let mode: CreditsPatch = serde_json::from_value(json!({"mode": "postpaid"})).unwrap();
        credits::patch(desk.stage.engine.parts(), &desk.stage.caller, mode).await.unwrap();
        (desk, account)
    }

    async fn send(&self, numbers: impl Iterator<Item = String>) {
        let sms = |to: String| json!({"to": {"phone": to}, "channel": "sms", "content": {"text": "Hello"}});
        let batch = json!({"messages": numbers.map(sms).collect::<Vec<_>>()}).to_string();
        self.stage.engine.send_batch(&self.stage.caller, batch.as_bytes(), None).await.unwrap();
        self.stage.dispatch().await;
    }

    async fn call(&self, numbers: &[&str]) {
        let call = |to: &&str| json!({"to": {"phone": to}, "channel": "voice", "content": {"say": "Hello"}});
        let batch = json!({"messages": numbers.iter().map(call).collect::<Vec<_>>()}).to_string();
        self.stage.engine.send_batch(&self.stage.caller, batch.as_bytes(), None).await.unwrap();
        self.stage.dispatch().await;
    }

    /// Changes rows behind the engine's back, and expects that so many were.
    async fn plant(&self, sql: &'static str, expected: u64) {
        let write = self
            .stage
            .world
            .ports
            .db
            .write(store::Scope::System, move |tx| Box::pin(async move { tx.execute(sql, &[]).await }));
        let changed: Result<u64, store::Error> = write.await;
        assert_eq!(changed.unwrap(), expected, "{sql}");
    }

    /// Has the simulator spoil requests.
    fn spoil(&self, rule: &Value) {
        let reply = self.simulator.turn(&Request {
            method: "POST".to_owned(),
            path: "/_sim/script".to_owned(),
            body: rule.to_string().into(),
            ..Request::default()
        });
        assert_eq!(reply.reply.unwrap().status, 201);
    }

    async fn view(&self, id: &str) -> Value {
        let (parts, caller) = (self.stage.engine.parts(), &self.stage.caller);
        serde_json::to_value(reconciliations::get(parts, caller, id.parse().unwrap()).await.unwrap()).unwrap()
    }

    /// Carries on until nothing is due, and answers how many steps that took.
    async fn work(&self) -> u64 {
        let mut steps = 0;
        for _ in 0..20 {
            match work::run(&self.stage.engine).await.unwrap() {
                0 => break,
                made => steps += made,
            }
        }
        steps
    }

    /// Somebody sends at the provider without us.
    fn sends_without_us(&self, provider: &str, path: &str, authorization: &str, kind: &str, body: &str) {
        let headers = [("host", "sim.test"), ("authorization", authorization), ("content-type", kind)];
        let reply = self.simulator.turn(&Request {
            method: "POST".to_owned(),
            path: format!("/{provider}{path}"),
            headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
            body: body.to_owned().into(),
            ..Request::default()
        });
        assert!(reply.reply.unwrap().status < 300);
    }

    async fn try_begin(&self, new: Value) -> Result<String, Error> {
        let new = serde_json::from_value(new).unwrap();
        let reply = reconciliations::create(self.stage.engine.parts(), &self.stage.caller, &Repeat::NONE, new).await?;
        Ok(serde_json::from_slice::<Value>(&reply.body).unwrap()["id"].as_str().unwrap().to_owned())
    }

    /// Compares the last hours to the end, and answers what came of it, and the differences as kind and record.
    async fn compare(&self, account: AccountId, hours: i64, csv: Option<&str>) -> (Value, Vec<(String, String)>) {
        let now = self.stage.world.ports.clock.now();
        let mut new = json!({"account_id": account, "starts_at": now.plus_seconds(-3_600 * hours), "ends_at": now});
        if let Some(csv) = csv {
            new["csv"] = json!(csv);
        }
        let id = self.try_begin(new).await.unwrap().parse().unwrap();
        for _ in 0..20 {
            if work::run(&self.stage.engine).await.unwrap() == 0 {
                break;
            }
        }
        let (parts, caller) = (self.stage.engine.parts(), &self.stage.caller);
        let view = serde_json::to_value(reconciliations::get(parts, caller, id).await.unwrap()).unwrap();
        assert_eq!(view["state"], "done", "{view:#}");
        let found = reconciliations::differences(parts, caller, id).await.unwrap();
        (view, found.into_iter().map(|found| (found.kind, found.record)).collect())
    }
}

fn figures(view: &Value) -> [i64; 6] {
    ["ours", "theirs", "matched", "missing_here", "missing_there", "price_differences"]
        .map(|name| view[name].as_i64().unwrap())
}

testkit::both! {
    async fn what_was_planted_at_twilio_is_found_and_nothing_else(db: TestDb) {
        let (desk, account) = Desk::with_twilio(&db).await;
        // More than one page of Twilio's list, and of the rules a message each.
        desk.send((0..300).map(|number| format!("+4915111110{number:03}"))).await;
        desk.stage.world.clock.advance_ms(3_600_000);
        let (view, found) = desk.compare(account, 2, None).await;
        assert_eq!((figures(&view), found), ([300, 300, 300, 0, 0, 0], vec![]));
        assert_eq!((&view["accuracy_ppm"], &view["is_accurate"]), (&json!(1_000_000), &json!(true)));
        assert_eq!(view["cost_ours"], view["cost_theirs"]);
        // Their prices reached ours: 7,500 and a quarter, and nothing moved.
        assert_eq!(column(&db, "SELECT DISTINCT CAST(reported AS TEXT) FROM message_charges").await, "7500");

        desk.send(["+919800000001", "+919800000002"].into_iter().map(str::to_owned)).await;
        let basic = "Basic QUMwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMTowMTIzNDU2Nzg5YWJjZGVmMDEyMzQ1Njc4OWFiY2RlZg==";
        let path = format!("/2010-04-01/Accounts/AC{:032}/Messages.json", 1);
        desk.sends_without_us("twilio", &path, basic, "application/x-www-form-urlencoded", "To=%2B491511234567&From=%2B15550100001&Body=Hi");
        let lost = column(&db, "SELECT MIN(provider_message_id) FROM messages WHERE address LIKE '+49%'").await;
        let write = desk.stage.world.ports.db.write(store::Scope::System, move |tx| {
            Box::pin(async move {
                tx.execute("UPDATE messages SET provider_message_id = 'SMnobody' WHERE provider_message_id = $1", &[&lost]).await
            })
        });
        assert_eq!(write.await.unwrap(), 1);
        desk.stage.world.clock.advance_ms(60_000);
        let (view, found) = desk.compare(account, 3, None).await;
        assert_eq!(figures(&view), [302, 303, 301, 2, 1, 2]);
        let mut kinds: Vec<&str> = found.iter().map(|(kind, _)| kind.as_str()).collect();
        kinds.sort_unstable();
        assert_eq!(kinds, ["missing_here", "missing_here", "missing_there", "price", "price"]);
        assert!(found.contains(&("missing_there".to_owned(), "SMnobody".to_owned())));
        assert_eq!((&view["accuracy_ppm"], &view["is_accurate"]), (&json!(301 * 1_000_000 / 304), &json!(false)));
        let cost = |name: &str| view[name]["amount_micros"].as_i64().unwrap();
        assert_eq!(cost("cost_theirs") - cost("cost_ours"), 2 * 3_500);
        // The provider's price counts from now on: what is marked up follows it, and the next comparison finds nothing of it.
        assert_eq!(column(&db, "SELECT CAST(charged AS TEXT) FROM message_charges WHERE cost_unit = 4000").await, "9375\n9375");
        assert_eq!(figures(&desk.compare(account, 3, None).await.0), [302, 303, 301, 2, 1, 0]);
        let credits = credits::get(desk.stage.engine.parts(), &desk.stage.caller, true).await.unwrap();
        assert_eq!(credits.differences, Vec::<String>::new());
        // Rows and sums of the messages say the new cost, too.
        assert_eq!(tidings_engine::books::verify(&db.db).await.unwrap().differences, []);
    }

    async fn calls_are_held_against_their_own_list(db: TestDb) {
        let (desk, account) = Desk::with_twilio(&db).await;
        desk.send(["+491511111001".to_owned()].into_iter()).await;
        desk.call(&["+491511111002", "+491511111003", "+491511111004"]).await;
        // Nobody answers: it costs nothing, and is there all the same.
        desk.call(&["+15005550002"]).await;
        desk.stage.world.clock.advance_ms(3_600_000);
        let (view, found) = desk.compare(account, 2, None).await;
        assert_eq!((figures(&view), found), ([5, 5, 5, 0, 0, 0], vec![]));
        assert_eq!((&view["cost_ours"], &view["cost_ours"]["amount_micros"]), (&view["cost_theirs"], &json!(7_500 + 3 * 14_000)));

        // One is made without us, one is forgotten there, one costs other than the list says.
        let basic = "Basic QUMwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMTowMTIzNDU2Nzg5YWJjZGVmMDEyMzQ1Njc4OWFiY2RlZg==";
        let path = format!("/2010-04-01/Accounts/AC{:032}/Calls.json", 1);
        let form = "To=%2B491511234567&From=%2B15550100001&Twiml=%3CResponse%2F%3E";
        desk.sends_without_us("twilio", &path, basic, "application/x-www-form-urlencoded", form);
        desk.plant("UPDATE messages SET provider_message_id = 'CAnobody' WHERE address = '+491511111002'", 1).await;
        desk.call(&["+919800000001"]).await;
        desk.stage.world.clock.advance_ms(60_000);
        let (view, found) = desk.compare(account, 3, None).await;
        assert_eq!(figures(&view), [6, 7, 5, 2, 1, 1]);
        let mut kinds: Vec<&str> = found.iter().map(|(kind, _)| kind.as_str()).collect();
        kinds.sort_unstable();
        assert_eq!(kinds, ["missing_here", "missing_here", "missing_there", "price"]);
        assert!(found.contains(&("missing_there".to_owned(), "CAnobody".to_owned())));
        assert!(found.iter().all(|(_, record)| record.starts_with("CA")), "{found:?}");
        // What the provider took is paid from now on, and found once.
        assert_eq!(column(&db, "SELECT CAST(charged AS TEXT) FROM message_charges WHERE cost_unit = 10000").await, "17500");
        assert_eq!(figures(&desk.compare(account, 3, None).await.0), [6, 7, 5, 2, 1, 0]);
        assert_eq!(tidings_engine::books::verify(&db.db).await.unwrap().differences, []);
    }

    async fn a_call_that_still_waits_is_asked_about_by_its_id(db: TestDb) {
        let (desk, account) = Desk::with_twilio(&db).await;
        desk.call(&["+491511111002"]).await;
        // It is not dialled, so it is in no list.
        desk.stage.world.clock.advance_ms(10);
        let now = desk.stage.world.ports.clock.now();
        let id = desk.try_begin(json!({"account_id": account, "starts_at": now.plus_seconds(-60), "ends_at": now})).await.unwrap();
        desk.work().await;
        assert_eq!(figures(&desk.view(&id).await), [1, 1, 1, 0, 0, 0]);
    }

    async fn a_table_of_calls_is_one_of_calls_alone(db: TestDb) {
        let (desk, account) = Desk::with_twilio(&db).await;
        desk.send(["+491511111001".to_owned()].into_iter()).await;
        desk.call(&["+491511111002", "+491511111003"]).await;
        desk.stage.world.clock.advance_ms(3_600_000);
        let ids = column(&db, "SELECT provider_message_id FROM messages WHERE provider_message_id LIKE 'CA%' ORDER BY id").await;
        let (one, other) = ids.split_once('\n').unwrap();
        let now = desk.stage.world.ports.clock.now();
        let table = |channel: Value| {
            let csv = format!("sid,price,currency\n{one},-0.014,usd\nCAother,-0.014,usd\n");
            json!({"account_id": account, "starts_at": now.plus_seconds(-7_200), "ends_at": now, "csv": csv, "channel": channel})
        };
        let id = desk.try_begin(table(json!("voice"))).await.unwrap();
        desk.work().await;
        let view = desk.view(&id).await;
        assert_eq!((figures(&view), &view["channel"]), ([2, 2, 1, 1, 1, 0], &json!("voice")));
        let found = reconciliations::differences(desk.stage.engine.parts(), &desk.stage.caller, id.parse().unwrap()).await.unwrap();
        assert!(found.iter().any(|found| found.kind == "missing_there" && found.record == other));
        let mut without = table(json!("voice"));
        without.as_object_mut().unwrap().remove("csv");
        for new in [without, table(json!("webhook"))] {
            assert_eq!(desk.try_begin(new).await.unwrap_err().errors[0].pointer, "/channel");
        }
    }

    async fn a_month_of_another_clock_is_cut_where_it_ends(db: TestDb) {
        let (desk, account) = Desk::with_twilio(&db).await;
        // Midnight of December in Kolkata is 18:30 in UTC, in the middle of a day of the provider's lists.
        for (at, number) in [("2026-11-30T18:00:00Z", "+491511111001"), ("2026-11-30T19:00:00Z", "+491511111002")] {
            crate::plans::set_clock(&desk.stage, at);
            desk.send([number.to_owned()].into_iter()).await;
            desk.call(&[number]).await;
        }
        crate::plans::set_clock(&desk.stage, "2026-12-31T18:30:00Z");
        for (starts, ends) in [("2026-10-31T18:30:00Z", "2026-11-30T18:30:00Z"), ("2026-11-30T18:30:00Z", "2026-12-31T18:30:00Z")] {
            let id = desk.try_begin(json!({"account_id": account, "starts_at": starts, "ends_at": ends})).await.unwrap();
            desk.work().await;
            assert_eq!(figures(&desk.view(&id).await), [2, 2, 2, 0, 0, 0], "{starts}");
        }
    }

    async fn an_outage_is_waited_out_and_not_for_ever(db: TestDb) {
        let (desk, account) = Desk::with_twilio(&db).await;
        desk.send(["+491511111001".to_owned()].into_iter()).await;
        desk.stage.world.clock.advance_ms(3_600_000);
        let now = desk.stage.world.ports.clock.now();
        let new = json!({"account_id": account, "starts_at": now.plus_seconds(-7_200), "ends_at": now});
        let spoiled = |times: Value| json!({"provider": "twilio", "path": "*.json", "times": times, "day": {"error": {"status": 503}}});
        desk.spoil(&spoiled(json!(3)));
        let id = desk.try_begin(new.clone()).await.unwrap();
        for wait_s in [15, 30, 60] {
            assert_eq!(desk.work().await, 1);
            let view = desk.view(&id).await;
            assert_eq!((&view["state"], view["failure"].is_string()), (&json!("running"), true));
            desk.stage.world.clock.advance_ms(wait_s * 1_000 - 1);
            assert_eq!(desk.work().await, 0, "it is not asked again before {wait_s} s");
            desk.stage.world.clock.advance_ms(1);
        }
        desk.work().await;
        let view = desk.view(&id).await;
        assert_eq!((&view["state"], &view["failure"], figures(&view)), (&json!("done"), &Value::Null, [1, 1, 1, 0, 0, 0]));

        desk.spoil(&spoiled(Value::Null));
        let id = desk.try_begin(new).await.unwrap();
        let mut tries = 0;
        while desk.view(&id).await["state"] == "running" {
            tries += desk.work().await;
            desk.stage.world.clock.advance_ms(3_600_000);
        }
        assert_eq!((tries, &desk.view(&id).await["state"]), (10, &json!("failed")));
        assert!(desk.view(&id).await["failure"].is_string());
    }

    async fn what_another_node_works_on_is_left_to_it(db: TestDb) {
        let (desk, account) = Desk::with_twilio(&db).await;
        desk.send(["+491511111001".to_owned()].into_iter()).await;
        desk.stage.world.clock.advance_ms(3_600_000);
        let now = desk.stage.world.ports.clock.now();
        let new = json!({"account_id": account, "starts_at": now.plus_seconds(-7_200), "ends_at": now});
        let id = desk.try_begin(new).await.unwrap();
        let other = store::inflight::WorkerId(7);
        let lease = db.db.write(store::Scope::System, move |tx| {
            Box::pin(store::reconciliations::lease(tx, other, now, now.plus_seconds(600), 9))
        });
        let leased: Result<Vec<_>, store::Error> = lease.await;
        assert_eq!(leased.unwrap().len(), 1);
        assert_eq!(desk.work().await, 0);
        // It died: whoever comes after the lease goes on.
        desk.stage.world.clock.advance_ms(600_000);
        assert!(desk.work().await > 0);
        assert_eq!(figures(&desk.view(&id).await), [1, 1, 1, 0, 0, 0]);
    }

    async fn a_price_that_comes_with_an_answer_is_paid_once(db: TestDb) {
        let (desk, _) = Desk::with_twilio(&db).await;
        // Twilio's callbacks are lost, and they would not say the price.
        desk.send(["+919800000001".to_owned()].into_iter()).await;
        desk.call(&["+919800000002"]).await;
        let charged = || column(&db, "SELECT CAST(charged AS TEXT) FROM message_charges ORDER BY cost_unit");
        assert_eq!(charged().await, "5000\n12500", "as the list says");
        for _ in 0..3 {
            desk.stage.world.clock.advance_ms(301_000);
            desk.stage.tick().await;
            assert_eq!(charged().await, "9375\n17500", "what Twilio takes, and a quarter");
        }
        let said = column(&db, "SELECT CAST(cost_micros AS TEXT) FROM messages ORDER BY address").await;
        assert_eq!(said, "9375\n17500", "messages say what they cost");
        assert_eq!(column(&db, "SELECT CAST(COUNT(*) AS TEXT) FROM messages WHERE delivered_at IS NOT NULL").await, "2");
        assert_eq!(column(&db, "SELECT kind FROM credit_entries ORDER BY number").await, "reserve\nsettle\nreserve\nsettle\ncorrect\ncorrect");
        let credits = credits::get(desk.stage.engine.parts(), &desk.stage.caller, true).await.unwrap();
        assert_eq!(credits.differences, Vec::<String>::new());
        assert_eq!(tidings_engine::books::verify(&db.db).await.unwrap().differences, []);
    }

    async fn a_price_that_is_not_known_yet_is_asked_for_again(db: TestDb) {
        let (desk, _) = Desk::with_twilio(&db).await;
        // The phone is off for a day: Twilio has the message, and says later what it takes.
        let pace = Request { method: "PUT".to_owned(), path: "/_sim/pace".to_owned(), body: json!({"step_ms": 600_000}).to_string().into(), ..Request::default() };
        assert_eq!(desk.simulator.turn(&pace).reply.unwrap().status, 200);
        desk.send(["+919800000001".to_owned()].into_iter()).await;
        let charged = || column(&db, "SELECT CAST(charged AS TEXT) FROM message_charges");
        desk.stage.world.clock.advance_ms(301_000);
        desk.stage.tick().await;
        assert_eq!((charged().await.as_str(), column(&db, "SELECT CAST(polls AS TEXT) FROM messages").await.as_str()), ("5000", "1"));
        desk.stage.world.clock.advance_ms(400_000);
        desk.stage.tick().await;
        assert_eq!(charged().await, "9375");
        assert_eq!(column(&db, "SELECT CAST(COUNT(*) AS TEXT) FROM messages WHERE delivered_at IS NOT NULL").await, "0");
        assert_eq!(tidings_engine::books::verify(&db.db).await.unwrap().differences, []);
    }

    async fn a_table_is_held_against_ours_without_inventing_edges(db: TestDb) {
        let (desk, account) = Desk::with_twilio(&db).await;
        desk.send(["+491511234001".to_owned()].into_iter()).await;
        desk.stage.world.clock.advance_ms(3_600_000);
        desk.send((2..5).map(|number| format!("+49151123400{number}"))).await;
        desk.stage.world.clock.advance_ms(3_600_000);
        let ids = column(&db, "SELECT provider_message_id FROM messages ORDER BY id").await;
        let ids: Vec<&str> = ids.lines().collect();
        // The first lies at the edge of the time; the second is right, the third has another price, the fourth is missing, and one is not ours.
        let csv = format!("Sid,Price,Currency\n{},-0.0075,usd\n{},-0.008,usd\nSMother,-0.01,usd\n", ids[1], ids[2]);
        let (view, found) = desk.compare(account, 2, Some(&csv)).await;
        assert_eq!(figures(&view), [3, 3, 2, 1, 1, 1]);
        let mut expected = vec![("price", ids[2]), ("missing_there", ids[3]), ("missing_here", "SMother")];
        expected.sort_unstable_by_key(|(_, record)| *record);
        let mut found: Vec<(&str, &str)> = found.iter().map(|(kind, record)| (kind.as_str(), record.as_str())).collect();
        found.sort_unstable_by_key(|(_, record)| *record);
        assert_eq!(found, expected);
        let newest = reconciliations::list(desk.stage.engine.parts(), &desk.stage.caller, Some(1), None).await.unwrap();
        let table = reconciliations::differences_csv(desk.stage.engine.parts(), &desk.stage.caller, newest.data[0].id).await.unwrap();
        assert!(String::from_utf8(table).unwrap().contains(&format!("price,{},msg_", ids[2])));
    }

    async fn counts_by_day_are_held_against_ours(db: TestDb) {
        let desk = Desk::open(&db).await;
        let account = desk.stage.account("sendgrid", json!({"api_key": "SG.simulated.key"}), Some("tickets@acme.example")).await;
        let mail = |to: &str| json!({"to": {"email": to}, "channel": "email", "content": {"subject": "Hi", "text": "Hello"}});
        for to in ["ada@mail.test", "bob@mail.test", "eve@mail.test"] {
            desk.stage.send(mail(to)).await;
        }
        desk.stage.dispatch().await;
        desk.stage.world.clock.advance_ms(20 * 3_600_000);
        let (view, found) = desk.compare(account, 24, None).await;
        assert_eq!((figures(&view), &view["source"], found), ([3, 3, 3, 0, 0, 0], &json!("statistics"), vec![]));
        let body = json!({
            "personalizations": [{"to": [{"email": "ann@mail.test"}]}], "from": {"email": "tickets@acme.example"}, "subject": "Hi",
            "content": [{"type": "text/plain", "value": "Hello"}],
        });
        desk.sends_without_us("sendgrid", "/v3/mail/send", "Bearer SG.simulated.key", "application/json", &body.to_string());
        let today = desk.stage.world.ports.clock.now().to_string()[..10].to_owned();
        desk.stage.world.clock.advance_ms(1_000);
        let (view, found) = desk.compare(account, 24, None).await;
        assert_eq!((figures(&view), found), ([3, 4, 3, 1, 0, 0], vec![("count".to_owned(), today)]));
    }

    async fn what_cannot_be_compared_is_said(db: TestDb) {
        let desk = Desk::open(&db).await;
        let account = desk.stage.account("sandbox", json!({}), None).await;
        let now = desk.stage.world.ports.clock.now();
        let pointer = async |starts: i64, ends: i64, csv: Option<&str>| {
            let mut new = json!({"account_id": account, "starts_at": now.plus_seconds(starts), "ends_at": now.plus_seconds(ends)});
            if let Some(csv) = csv {
                new["csv"] = json!(csv);
            }
            desk.try_begin(new).await.unwrap_err().errors[0].pointer.clone()
        };
        assert_eq!(pointer(-60, 0, None).await, "/csv");
        assert_eq!(pointer(-60, 60, Some("id\n")).await, "/ends_at");
        assert_eq!(pointer(-100 * 86_400, 0, Some("id\n")).await, "/ends_at");
        assert_eq!(pointer(-60, 0, Some("name\n")).await, "/csv");
        let nobody = json!({"account_id": "acc_01K9ZC8Q6T7Y2V5B3N4M1XWRSD", "starts_at": now.plus_seconds(-60), "ends_at": now});
        assert_eq!(desk.try_begin(nobody).await.unwrap_err().errors[0].pointer, "/account_id");
        for _ in 0..5 {
            let new = json!({"account_id": account, "starts_at": now.plus_seconds(-60), "ends_at": now, "csv": "id\n"});
            desk.try_begin(new).await.unwrap();
        }
        let sixth = json!({"account_id": account, "starts_at": now.plus_seconds(-60), "ends_at": now, "csv": "id\n"});
        assert_eq!(desk.try_begin(sixth).await.unwrap_err().code, "too_many_reconciliations");
    }
}
