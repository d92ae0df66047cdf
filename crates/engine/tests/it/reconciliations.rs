//! Holding our records against the simulator's Twilio and SendGrid, and against tables, on both engines: planted differences are all found, and none is invented.

use std::sync::{Arc, Mutex, OnceLock};

use model::{AccountId, Answer, BoxFuture, Broken, Call, HttpAnswer, Ids, Transport};
use provider_sim::{Request, Simulator};
use serde_json::{Value, json};
use testkit::{FakeTransport, Stage, TestDb, World};
use tidings_engine::{
    Error, accounts,
    keys::Caller,
    money::{
        credits::{self, CreditsPatch},
        prices,
    },
    once::Repeat,
    reconciliations::{self, Difference, work},
};

use crate::setting::column;

/// A stage whose providers are the simulator's.
struct Desk {
    stage: Stage,
    simulator: Arc<Simulator>,
    edit: Arc<Mutex<Edit>>,
}

/// Changes what a provider answers: its path, and the body where it is JSON.
type Edit = Box<dyn Fn(&str, &mut Value) + Send>;

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
        let edit = Arc::new(Mutex::new(Box::new(|_: &str, _: &mut Value| ()) as Edit));
        let edited = Arc::clone(&edit);
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
            let mut body = reply.body;
            if let Ok(mut value) = serde_json::from_slice::<Value>(&body) {
                edited.lock().unwrap()(&http.url, &mut value);
                body = value.to_string().into();
            }
            Ok(Answer::Http(HttpAnswer { status: reply.status, headers, body, ..HttpAnswer::default() }))
        });
        let world = World::with_transport(db, transport);
        let simulator = Simulator::new(Arc::clone(&world.ports.clock), Ids::seeded(7), Arc::new(Nobody));
        assert!(inside.set(Arc::clone(&simulator)).is_ok());
        Self { stage: Stage::in_world(world).await, simulator, edit }
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

    /// Has providers answer otherwise.
    fn edit(&self, edit: impl Fn(&str, &mut Value) + Send + 'static) {
        *self.edit.lock().unwrap() = Box::new(edit);
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

    async fn what_other_accounts_sent_through_the_same_one_there_is_no_difference(db: TestDb) {
        let (desk, account) = Desk::with_twilio(&db).await;
        let settings = json!({"account_sid": format!("AC{:032}", 1), "auth_token": "0123456789abcdef0123456789abcdef"});
        let second = desk.stage.account("twilio", settings, Some("+15550100001")).await;
        desk.send((0..3).map(|number| format!("+49151111100{number}"))).await;
        let plain = |to: &str| json!({"to": {"phone": to}, "channel": "sms", "content": {"text": "Hi"}, "account_id": second});
        desk.stage.send(plain("+491511111008")).await;
        desk.stage.send(plain("+491511111009")).await;
        desk.stage.dispatch().await;
        // One of them is another tenant's.
        desk.plant("UPDATE messages SET tenant_id = (SELECT id FROM tenants ORDER BY id DESC LIMIT 1) WHERE address = '+491511111009'", 1).await;
        let basic = "Basic QUMwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMTowMTIzNDU2Nzg5YWJjZGVmMDEyMzQ1Njc4OWFiY2RlZg==";
        let path = format!("/2010-04-01/Accounts/AC{:032}/Messages.json", 1);
        desk.sends_without_us("twilio", &path, basic, "application/x-www-form-urlencoded", "To=%2B491511234567&From=%2B15550100001&Body=Hi");
        desk.stage.world.clock.advance_ms(3_600_000);
        let (view, found) = desk.compare(account, 2, None).await;
        assert_eq!((figures(&view), &view["elsewhere"]), ([3, 4, 3, 1, 0, 0], &json!(2)));
        assert_eq!(found.len(), 1, "what nobody here sent is found all the same");
        let ids = column(&db, "SELECT provider_message_id FROM messages ORDER BY id").await;
        let (view, found) = desk.compare(account, 2, Some(&format!("sid\n{ids}\n"))).await;
        assert_eq!((figures(&view), &view["elsewhere"], found), ([3, 3, 3, 0, 0, 0], &json!(2), vec![]));
    }

    async fn what_a_tenant_sent_that_is_gone_is_no_difference_for_three_months(db: TestDb) {
        let (desk, account) = Desk::with_twilio(&db).await;
        let other = crate::hooks::neighbour(&desk.stage).await;
        let settings = json!({"account_sid": format!("AC{:032}", 1), "auth_token": "0123456789abcdef0123456789abcdef"});
        other.account("twilio", settings, Some("+15550100001")).await;
        desk.send((0..3).map(|number| format!("+49151111100{number}"))).await;
        for number in 0..2 {
            other.send(json!({"to": {"phone": format!("+49151111200{number}")}, "channel": "sms", "content": {"text": "Hi"}})).await;
        }
        other.dispatch().await;
        let basic = "Basic QUMwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMTowMTIzNDU2Nzg5YWJjZGVmMDEyMzQ1Njc4OWFiY2RlZg==";
        let path = format!("/2010-04-01/Accounts/AC{:032}/Messages.json", 1);
        desk.sends_without_us("twilio", &path, basic, "application/x-www-form-urlencoded", "To=%2B491511234567&From=%2B15550100001&Body=Hi");
        crate::bills::delete(&other).await;
        assert_eq!(column(&db, "SELECT CAST(COUNT(*) AS TEXT) FROM messages").await, "3");
        desk.stage.world.clock.advance_ms(3_600_000);
        let (view, found) = desk.compare(account, 2, None).await;
        assert_eq!((figures(&view), &view["elsewhere"]), ([3, 4, 3, 1, 0, 0], &json!(2)));
        assert_eq!(found.len(), 1, "what nobody here sent is found all the same");
        desk.stage.world.clock.advance_ms(92 * 86_400_000);
        assert_eq!(reconciliations::removed::forget(&desk.stage.engine).await.unwrap(), 0);
        desk.stage.world.clock.advance_ms(86_400_000);
        assert_eq!(reconciliations::removed::forget(&desk.stage.engine).await.unwrap(), 2);
        assert_eq!(column(&db, "SELECT CAST(COUNT(*) AS TEXT) FROM removed_messages").await, "0");
    }

    async fn segments_the_list_says_are_compared_and_paid(db: TestDb) {
        let (desk, account) = Desk::with_twilio(&db).await;
        // A messaging service says the parts later; two messages differ, one of them in its price as well.
        desk.edit(|url, body| {
            let is_list = url.contains("Messages.json?");
            if body["sid"].is_string() {
                body["num_segments"] = json!("0");
            }
            for message in body["messages"].as_array_mut().into_iter().flatten() {
                assert!(is_list);
                let (segments, price) = match message["to"].as_str().unwrap() {
                    "+491511111001" => ("4", json!("-0.03")),
                    "+491511111002" => ("4", json!(null)),
                    _ => ("3", json!("-0.0225")),
                };
                (message["num_segments"], message["price"]) = (json!(segments), price);
            }
        });
        let long = "x".repeat(450);
        let sms = |number: u32| json!({"to": {"phone": format!("+49151111100{number}")}, "channel": "sms", "content": {"text": long}});
        for number in 1..=3 {
            desk.stage.send(sms(number)).await;
        }
        desk.stage.dispatch().await;
        desk.stage.world.clock.advance_ms(3_600_000);
        let sums = || column(&db, "SELECT CAST(SUM(segments) AS TEXT) || ' ' || CAST(SUM(cost_micros) AS TEXT) FROM messages");
        assert_eq!(sums().await, format!("9 {}", 9 * 9_375));
        let (view, found) = desk.compare(account, 2, None).await;
        assert_eq!((figures(&view), &view["segment_differences"]), ([3, 3, 3, 0, 0, 1], &json!(2)));
        let mut kinds: Vec<&str> = found.iter().map(|(kind, _)| kind.as_str()).collect();
        kinds.sort_unstable();
        assert_eq!(kinds, ["price", "segments"]);
        let (parts, caller) = (desk.stage.engine.parts(), &desk.stage.caller);
        let newest = reconciliations::list(parts, caller, Some(1), None).await.unwrap().data[0].id;
        let of_parts = reconciliations::differences_after(parts, caller, newest, Some(Difference::Segments), "", 9).await.unwrap();
        let said: Vec<_> = of_parts.iter().map(|found| (found.segments_ours, found.segments_theirs)).collect();
        assert_eq!(said, [(Some(3), Some(4)), (Some(3), Some(4))]);
        // Four are paid from now on, and found once.
        assert_eq!(sums().await, format!("11 {}", 11 * 9_375));
        assert_eq!(column(&db, "SELECT CAST(SUM(segments) AS TEXT) FROM usage_counters").await, "11");
        let (view, found) = desk.compare(account, 2, None).await;
        assert_eq!((figures(&view), &view["segment_differences"], found), ([3, 3, 3, 0, 0, 0], &json!(0), vec![]));
        assert_eq!(tidings_engine::books::verify(&db.db).await.unwrap().differences, []);
        // A table says them, too.
        let ids = column(&db, "SELECT provider_message_id FROM messages ORDER BY id").await;
        let rows: Vec<String> = ids.lines().map(|id| format!("{id};4")).collect();
        let (view, found) = desk.compare(account, 2, Some(&format!("sid;segments\n{}\n", rows.join("\n")))).await;
        assert_eq!((&view["segment_differences"], found.len()), (&json!(1), 1));
    }

    async fn days_change_places_by_what_lay_at_midnight_alone(db: TestDb) {
        let desk = Desk::open(&db).await;
        let account = desk.stage.account("sendgrid", json!({"api_key": "SG.simulated.key"}), Some("tickets@acme.example")).await;
        let mail = |to: &str| json!({"to": {"email": to}, "channel": "email", "content": {"subject": "Hi", "text": "Hello"}});
        for (at, to) in [("2026-12-01T12:00:00Z", "ada@mail.test"), ("2026-12-01T23:50:00Z", "bob@mail.test"), ("2026-12-02T12:00:00Z", "eve@mail.test")] {
            crate::plans::set_clock(&desk.stage, at);
            desk.stage.send(mail(to)).await;
            desk.stage.dispatch().await;
        }
        crate::plans::set_clock(&desk.stage, "2026-12-05T12:00:00Z");
        let compare = async |first: u64, second: u64| {
            desk.edit(move |url, body| {
                for day in body.as_array_mut().into_iter().flatten().filter(|_| url.contains("/v3/stats")) {
                    let sent = match day["date"].as_str().unwrap() {
                        "2026-12-01" => first,
                        "2026-12-02" => second,
                        _ => 0,
                    };
                    day["stats"][0]["metrics"]["requests"] = json!(sent);
                }
            });
            let view = desk.compare(account, 120, None).await.0;
            (figures(&view), view["accuracy_ppm"].as_i64().unwrap())
        };
        assert_eq!(compare(2, 1).await, ([3, 3, 3, 0, 0, 0], 1_000_000));
        assert_eq!(compare(1, 2).await, ([3, 3, 3, 0, 0, 0], 1_000_000), "one lay ten minutes before midnight");
        assert_eq!(compare(0, 3).await, ([3, 3, 2, 1, 1, 0], 500_000), "no clock moves the one of noon");
        assert_eq!(compare(3, 0).await, ([3, 3, 2, 1, 1, 0], 500_000));
    }

    async fn mails_sendgrid_drops_were_sent_to_it(db: TestDb) {
        let desk = Desk::open(&db).await;
        let account = desk.stage.account("sendgrid", json!({"api_key": "SG.simulated.key"}), Some("tickets@acme.example")).await;
        for to in ["ada@mail.test", "fails@mail.test"] {
            desk.stage.send(json!({"to": {"email": to}, "channel": "email", "content": {"subject": "Hi", "text": "Hello"}})).await;
        }
        desk.stage.dispatch().await;
        desk.stage.world.clock.advance_ms(3_600_000);
        let seen = Arc::new(Mutex::new(Value::Null));
        let keep = Arc::clone(&seen);
        desk.edit(move |url, body| {
            if url.contains("/v3/stats") {
                let days = body.as_array().unwrap();
                *keep.lock().unwrap() = days.last().unwrap()["stats"][0]["metrics"].clone();
            }
        });
        assert_eq!(figures(&desk.compare(account, 2, None).await.0), [2, 2, 2, 0, 0, 0]);
        let seen = seen.lock().unwrap();
        assert_eq!((&seen["requests"], &seen["processed"], &seen["bounce_drops"]), (&json!(2), &json!(1), &json!(1)));
    }

    async fn days_a_provider_has_forgotten_are_not_asked_for(db: TestDb) {
        let desk = Desk::open(&db).await;
        let settings = json!({"access_key_id": "AKIASIMULATED", "secret_access_key": "simulated-secret-key", "region": "eu-central-1"});
        let account = desk.stage.account("ses", settings, Some("tickets@acme.example")).await;
        crate::plans::set_clock(&desk.stage, "2026-12-20T10:00:00Z");
        let new = |starts: &str| json!({"account_id": account, "starts_at": starts, "ends_at": "2026-12-20T00:00:00Z"});
        let error = desk.try_begin(new("2026-12-06T23:00:00Z")).await.unwrap_err();
        assert_eq!(error.errors[0].pointer, "/starts_at");
        assert!(error.errors[0].detail.contains("2026-12-07") && error.errors[0].detail.contains("`csv`"), "{error:?}");
        desk.try_begin(new("2026-12-07T00:00:00Z")).await.unwrap();
        let mut table = new("2026-11-20T00:00:00Z");
        table["csv"] = json!("id\n");
        desk.try_begin(table).await.unwrap();
    }

    async fn a_table_without_dates_is_of_the_time_our_clock_says(db: TestDb) {
        let (desk, account) = Desk::with_twilio(&db).await;
        desk.send((1..4).map(|number| format!("+49151123400{number}"))).await;
        desk.stage.world.clock.advance_ms(2 * 3_600_000);
        let ids = column(&db, "SELECT provider_message_id FROM messages ORDER BY id").await;
        let (view, found) = desk.compare(account, 1, Some(&format!("sid\n{ids}\n"))).await;
        assert_eq!((figures(&view), found), ([0, 0, 0, 0, 0, 0], vec![]));
        let (view, found) = desk.compare(account, 3, Some(&format!("sid\n{ids}\n"))).await;
        assert_eq!((figures(&view), found), ([3, 3, 3, 0, 0, 0], vec![]));
        // A table that dates them into the time is no reason to count what was sent before.
        let now = desk.stage.world.ports.clock.now();
        let dated: Vec<String> = ids.lines().map(|id| format!("{id},{}", now.plus_seconds(-1_800))).collect();
        let (view, found) = desk.compare(account, 1, Some(&format!("sid,date\n{}\n", dated.join("\n")))).await;
        assert_eq!((figures(&view), found), ([0, 0, 0, 0, 0, 0], vec![]));
    }

    async fn what_twilio_exports_is_read_without_what_was_received(db: TestDb) {
        let (desk, account) = Desk::with_twilio(&db).await;
        desk.send((1..4).map(|number| format!("+49151123400{number}"))).await;
        desk.stage.world.clock.advance_ms(3_600_000);
        let sent = desk.stage.world.ports.clock.now().plus_seconds(-3_600).to_string();
        let day = &sent[..10];
        let ids = column(&db, "SELECT provider_message_id FROM messages ORDER BY id").await;
        let row = |sid: &str, direction: &str, at: &str| format!("+1,+49,Hi,delivered,{at},2010,1,,AC1,{sid},{direction},-0.0075,USD");
        let mut rows: Vec<String> = ids.lines().map(|id| row(id, "outbound-api", &format!("{} {}", &sent[..10], &sent[11..19]))).collect();
        rows.push(row("SM11111111111111111111111111111111", "inbound", &sent));
        rows.push(row("SM22222222222222222222222222222222", "outbound-api", "2026-10-21 10:00:00"));
        let header = "From,To,Body,Status,SentDate,ApiVersion,NumSegments,ErrorCode,AccountSid,Sid,Direction,Price,PriceUnit";
        let (view, found) = desk.compare(account, 2, Some(&format!("{header}\n{}\n", rows.join("\n")))).await;
        assert_eq!((figures(&view), found), ([3, 3, 3, 0, 0, 0], vec![]));
        // Days alone: one is of the time, one is not.
        let rows = [("SM33333333333333333333333333333333", day), ("SM44444444444444444444444444444444", "2026-10-21")];
        let rows: Vec<String> = ids.lines().map(|id| (id, day)).chain(rows).map(|(id, day)| format!("{id};{day}")).collect();
        let (view, found) = desk.compare(account, 2, Some(&format!("sid;date_sent\n{}\n", rows.join("\n")))).await;
        let expected = vec![("missing_here".to_owned(), "SM33333333333333333333333333333333".to_owned())];
        assert_eq!((figures(&view), found), ([3, 4, 3, 1, 0, 0], expected));
    }

    async fn mails_of_one_request_are_told_apart_in_a_table(db: TestDb) {
        let desk = Desk::open(&db).await;
        let account = desk.stage.account("sendgrid", json!({"api_key": "SG.simulated.key"}), Some("tickets@acme.example")).await;
        let mail = |to: &str| json!({"to": {"email": to}, "channel": "email", "content": {"subject": "Hi", "text": "Hello"}});
        let both = ["ada@mail.test", "bob@mail.test"].map(mail);
        let batch = json!({"messages": both}).to_string();
        desk.stage.engine.send_batch(&desk.stage.caller, batch.as_bytes(), None).await.unwrap();
        desk.stage.dispatch().await;
        let mut other = mail("eve@mail.test");
        other["content"]["text"] = json!("Another");
        desk.stage.send(other).await;
        desk.stage.dispatch().await;
        desk.stage.world.clock.advance_ms(3_600_000);
        let sent = column(&db, "SELECT provider_message_id || ' ' || address FROM messages ORDER BY id").await;
        let rows = sent.lines().map(|line| {
            let (id, to) = line.split_once(' ').unwrap();
            format!("{}.recvd-6d-1-5F.0,{to}", id.split('/').next().unwrap())
        });
        let csv = format!("msg_id,to_email\n{}\n", rows.collect::<Vec<_>>().join("\n"));
        let (view, found) = desk.compare(account, 2, Some(&csv)).await;
        assert_eq!((figures(&view), found), ([3, 3, 3, 0, 0, 0], vec![]));
    }

    async fn a_table_of_the_tenants_is_compared_and_moves_no_money(db: TestDb) {
        let (desk, account) = Desk::with_twilio(&db).await;
        desk.send((1..4).map(|number| format!("+49151123400{number}"))).await;
        desk.stage.world.clock.advance_ms(3_600_000);
        let ids = column(&db, "SELECT provider_message_id FROM messages ORDER BY id").await;
        let rows: Vec<String> = ids.lines().map(|id| format!("{id},0,USD,9")).collect();
        let csv = format!("sid,price,currency,segments\n{}\n", rows.join("\n"));
        let now = desk.stage.world.ports.clock.now();
        let new = json!({"account_id": account, "starts_at": now.plus_seconds(-7_200), "ends_at": now, "csv": csv});
        let tenants = Caller { is_operator: false, ..desk.stage.caller.clone() };
        let charged = || column(&db, "SELECT DISTINCT CAST(charged AS TEXT) || ' ' || CAST(units AS TEXT) FROM message_charges");
        let before = charged().await;
        let begun = reconciliations::create(desk.stage.engine.parts(), &tenants, &Repeat::NONE, serde_json::from_value(new.clone()).unwrap());
        let begun: Value = serde_json::from_slice(&begun.await.unwrap().body).unwrap();
        desk.work().await;
        let view = desk.view(begun["id"].as_str().unwrap()).await;
        assert_eq!((figures(&view), &view["segment_differences"], &view["is_binding"]), ([3, 3, 3, 0, 0, 3], &json!(3), &json!(false)));
        assert_eq!((&view["cost_ours"]["amount_micros"], charged().await), (&json!(22_500), before));
        // What the price list says of the provider is the operator's to know: a tenant that is charged could ask for it with any table.
        let id = begun["id"].as_str().unwrap().parse().unwrap();
        let mine = reconciliations::get(desk.stage.engine.parts(), &tenants, id).await.unwrap();
        assert!(mine.cost_ours.is_none() && mine.cost_theirs.is_some() && mine.price_differences == 3);
        let seen = reconciliations::differences(desk.stage.engine.parts(), &tenants, id).await.unwrap();
        assert!(seen.iter().all(|one| one.kind == "price" && one.ours.is_none() && one.theirs == Some(0)), "{seen:?}");
        let seen = reconciliations::differences(desk.stage.engine.parts(), &desk.stage.caller, id).await.unwrap();
        assert!(seen.iter().all(|one| one.ours.is_some()), "{seen:?}");
        assert_eq!(column(&db, "SELECT DISTINCT CAST(segments AS TEXT) FROM messages").await, "1");
        // The operator's word counts.
        let id = desk.try_begin(new).await.unwrap();
        desk.work().await;
        assert_eq!(desk.view(&id).await["is_binding"], json!(true));
        assert_eq!(charged().await, "0 9");
        assert_eq!(tidings_engine::books::verify(&db.db).await.unwrap().differences, []);
    }

    async fn every_message_a_list_lacks_is_asked_about(db: TestDb) {
        let (desk, account) = Desk::with_twilio(&db).await;
        desk.send((0..450).map(|number| format!("+4915111110{number:03}"))).await;
        desk.stage.world.clock.advance_ms(3_600_000);
        // A list without what was not sent.
        desk.edit(|_, body| {
            if body["messages"].is_array() {
                (body["messages"], body["next_page_uri"]) = (json!([]), Value::Null);
            }
        });
        let (view, found) = desk.compare(account, 2, None).await;
        assert_eq!((figures(&view), &view["not_asked"], found), ([450, 450, 450, 0, 0, 0], &json!(0), vec![]));
        assert_eq!(view["accuracy_ppm"], json!(1_000_000));
        // Beyond what it may be asked about nothing is claimed.
        let now = desk.stage.world.ports.clock.now();
        let id = desk.try_begin(json!({"account_id": account, "starts_at": now.plus_seconds(-7_200), "ends_at": now})).await.unwrap();
        desk.plant("UPDATE reconciliations SET looked_up = 9990 WHERE state = 'running'", 1).await;
        desk.work().await;
        let view = desk.view(&id).await;
        assert_eq!((figures(&view), &view["not_asked"]), ([450, 10, 10, 0, 0, 0], &json!(440)));
        assert_eq!((&view["state"], &view["accuracy_ppm"], &view["is_accurate"]), (&json!("done"), &Value::Null, &Value::Null));
    }

    async fn an_account_that_was_deleted_is_compared_with_a_table(db: TestDb) {
        let (desk, account) = Desk::with_twilio(&db).await;
        desk.send(["+491511234001".to_owned()].into_iter()).await;
        desk.stage.pass_by(3_600_000, 10_000).await;
        accounts::force_delete(desk.stage.engine.parts(), &desk.stage.caller, account).await.unwrap();
        let ids = column(&db, "SELECT provider_message_id FROM messages").await;
        let (view, found) = desk.compare(account, 2, Some(&format!("sid\n{ids}\n"))).await;
        assert_eq!((figures(&view), found), ([1, 1, 1, 0, 0, 0], vec![]));
        let now = desk.stage.world.ports.clock.now();
        let error = desk.try_begin(json!({"account_id": account, "starts_at": now.plus_seconds(-60), "ends_at": now})).await.unwrap_err();
        assert!(error.errors[0].pointer == "/account_id" && error.errors[0].detail.contains("`csv`"), "{error:?}");
    }

    async fn a_price_in_a_currency_that_cannot_be_used_hides_no_difference(db: TestDb) {
        let (desk, account) = Desk::with_twilio(&db).await;
        let say = |amount: &'static str, unit: &'static str| {
            desk.edit(move |_, body| {
                for message in body["messages"].as_array_mut().into_iter().flatten() {
                    (message["price"], message["price_unit"]) = (json!(amount), json!(unit));
                }
            });
        };
        desk.send(["+491511234001".to_owned()].into_iter()).await;
        desk.stage.world.clock.advance_ms(3_600_000);
        say("-0.009", "EUR");
        assert_eq!(figures(&desk.compare(account, 2, None).await.0), [1, 1, 1, 0, 0, 0]);
        say("-0.009", "USD");
        let (view, found) = desk.compare(account, 2, None).await;
        assert_eq!((figures(&view), found.len()), ([1, 1, 1, 0, 0, 1], 1));
        assert_eq!((&view["cost_ours"]["amount_micros"], &view["cost_theirs"]["amount_micros"]), (&json!(7_500), &json!(9_000)));
    }
}
