//! Buying credit and giving it back, on both engines, against the simulator's Stripe: money is booked once, whatever is told twice, too late, or in another order.

use std::sync::{Arc, Mutex, OnceLock};

use model::{Answer, BoxFuture, Broken, Call, HttpAnswer, HttpCall, Ids, Transport};
use provider_sim::{Request, Simulator};
use serde_json::{Value, json};
use testkit::{FakeTransport, Stage, TestDb, World};
use tidings_engine::{
    Error,
    callbacks::OwnedRequest,
    money::{
        credits::{self, CreditsPatch, StatementQuery},
        marks, payment_events, payments, purchases, receipts, refunds, top_ups,
    },
    once::{IdempotencyKey, Repeat},
};

/// A tenant that pays ahead, and a Stripe that keeps its events until they are posted.
pub struct Shop {
    pub stage: Stage,
    stripe: Arc<Simulator>,
    events: Arc<Mutex<Vec<HttpCall>>>,
    /// What Stripe does not answer: the next so many requests reach it, and their answers are lost.
    lost: Arc<Mutex<u32>>,
}

/// The simulator makes no calls by itself here.
struct Nobody;

impl Transport for Nobody {
    fn exchange(&self, _: Arc<Call>) -> BoxFuture<'static, Result<Answer, Broken>> {
        Box::pin(std::future::pending())
    }
}

fn asked(simulator: &Simulator, events: &Mutex<Vec<HttpCall>>, request: &Request) -> HttpAnswer {
    let turn = simulator.turn(request);
    events.lock().unwrap().extend(turn.due.iter().filter_map(|due| simulator.call(due)));
    let reply = turn.reply.unwrap();
    HttpAnswer { status: reply.status, body: reply.body, ..HttpAnswer::default() }
}

impl Shop {
    pub async fn open(db: &TestDb) -> Self {
        let stripe = Arc::new(OnceLock::<Arc<Simulator>>::new());
        let (events, lost) = (Arc::<Mutex<Vec<HttpCall>>>::default(), Arc::<Mutex<u32>>::default());
        let (inside, kept, losing) = (Arc::clone(&stripe), Arc::clone(&events), Arc::clone(&lost));
        let transport = FakeTransport::new(move |call| {
            let Call::Http(http) = call else { return Ok(Answer::Local) };
            let below = http.url.strip_prefix("https://api.stripe.com").unwrap();
            let (path, query) = below.split_once('?').unwrap_or((below, ""));
            let request = Request {
                method: http.method.to_string(),
                path: format!("/stripe{path}"),
                query: query.to_owned(),
                headers: http.headers.iter().cloned().chain([("host".to_owned(), "sim.test".to_owned())]).collect(),
                body: http.body.clone(),
            };
            let answer = asked(inside.get().unwrap(), &kept, &request);
            let mut left = losing.lock().unwrap();
            if *left > 0 {
                *left -= 1;
                let detail = "the connection broke".to_owned();
                return Err(Broken { may_have_acted: true, code: "connection_lost", detail });
            }
            Ok(Answer::Http(answer))
        });
        let world = World::with_transport(db, transport);
        let simulator = Simulator::new(Arc::clone(&world.ports.clock), Ids::seeded(7), Arc::new(Nobody));
        simulator.set("stripe", "callback_url", "https://messages.test/hooks/stripe");
        assert!(stripe.set(Arc::clone(&simulator)).is_ok());
        let stage = Stage::in_world(world).await;
        let shop = Self { stage, stripe: simulator, events, lost };
        let keys = json!({"stripe": {"secret_key": "sk_test_simulated", "webhook_secret": "whsec_simulated"}});
        let operator = tidings_engine::keys::Caller::system(None);
        payments::patch(shop.parts(), &operator, serde_json::from_value(keys).unwrap()).await.unwrap();
        shop.change(json!({"mode": "prepaid"})).await;
        shop
    }

    pub fn parts(&self) -> &tidings_engine::Parts {
        self.stage.engine.parts()
    }

    pub async fn change(&self, change: Value) {
        let change: CreditsPatch = serde_json::from_value(change).unwrap();
        credits::patch(self.parts(), &self.stage.caller, change).await.unwrap();
    }

    pub async fn try_buy(&self, new: Value, key: Option<&str>) -> Result<Value, Error> {
        let key = key.map(|key| IdempotencyKey::parse(key).unwrap());
        let repeat = Repeat { key, fingerprint: [1; 32] };
        let new = serde_json::from_value(new).unwrap();
        let reply = purchases::create(self.parts(), &self.stage.caller, &repeat, new).await?;
        Ok(serde_json::from_slice(&reply.body).unwrap())
    }

    pub async fn buy(&self, micros: i64) -> Value {
        self.try_buy(json!({"amount_micros": micros}), None).await.unwrap()
    }

    /// Somebody does something on the page of a purchase.
    pub fn on_page(&self, purchase: &Value, outcome: &str, card: &str) {
        let path = purchase["url"].as_str().unwrap().split_once("/stripe/").unwrap().1;
        self.at_stripe(path, &format!("outcome={outcome}&card={card}"));
    }

    /// Somebody does something on Stripe's own pages.
    pub fn at_stripe(&self, path: &str, form: &str) {
        let request = Request {
            method: "POST".to_owned(),
            path: format!("/stripe/{path}"),
            headers: vec![("host".to_owned(), "sim.test".to_owned())],
            body: form.to_owned().into(),
            ..Request::default()
        };
        let answer = asked(&self.stripe, &self.events, &request);
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    }

    pub fn take_events(&self) -> Vec<HttpCall> {
        std::mem::take(&mut *self.events.lock().unwrap())
    }

    pub async fn post(&self, event: &HttpCall) -> Result<(), Error> {
        let (headers, body) = (event.headers.clone(), event.body.clone());
        let request = OwnedRequest { method: "POST".to_owned(), headers, body, ..OwnedRequest::default() };
        payment_events::take(&self.stage.engine, &request, None).await
    }

    /// Posts what Stripe has to tell, the last first and each twice: nothing may depend on the order.
    pub async fn tell(&self) {
        let events = self.take_events();
        for event in events.iter().rev().chain(&events) {
            self.post(event).await.unwrap();
        }
    }

    /// A second tenant of the same installation and the same Stripe.
    pub async fn beside(&self) -> Self {
        let stage = crate::hooks::neighbour(&self.stage).await;
        let (stripe, events, lost) = (Arc::clone(&self.stripe), Arc::clone(&self.events), Arc::clone(&self.lost));
        let shop = Self { stage, stripe, events, lost };
        shop.change(json!({"mode": "prepaid"})).await;
        shop
    }

    /// An event with this body, signed as Stripe signs it.
    pub fn signed(&self, body: &str) -> HttpCall {
        let at = crate::hooks::now(&self.stage).as_seconds();
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, b"whsec_simulated");
        let tag = aws_lc_rs::hmac::sign(&key, format!("{at}.{body}").as_bytes());
        let tag: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        HttpCall::new(model::Method::Post, "https://messages.test/hooks/stripe".to_owned())
            .body("application/json", body.to_owned())
            .header("stripe-signature", format!("t={at},v1={tag}"))
    }

    /// The operator's open alerts of a kind, once they were looked at.
    pub async fn alerts(&self, kind: &str) -> Vec<tidings_engine::alerts::AlertView> {
        use tidings_engine::alerts::{self, AlertQuery, AlertStateFilter};
        for _ in 0..8 {
            self.stage.world.clock.advance_ms(60_000);
            alerts::watch(&self.stage.engine).await.unwrap();
        }
        let query = AlertQuery { state: Some(AlertStateFilter::Open), ..AlertQuery::default() };
        let operator = tidings_engine::keys::Caller::system(None);
        let page = alerts::list(self.parts(), &operator, &query).await.unwrap();
        page.data.into_iter().filter(|alert| alert.kind.as_str() == kind).collect()
    }

    /// Has the next so many answers get lost.
    pub fn lose(&self, answers: u32) {
        *self.lost.lock().unwrap() = answers;
    }

    /// What the simulator keeps of a kind: `sessions`, `payments`, `refunds`.
    pub fn kept(&self, name: &str) -> Value {
        let path = "/_sim/providers/stripe".to_owned();
        let control = Request { method: "GET".to_owned(), path, ..Request::default() };
        let shown: Value = serde_json::from_slice(&self.stripe.turn(&control).reply.unwrap().body).unwrap();
        serde_json::from_str(shown["settings"][name].as_str().unwrap()).unwrap()
    }

    pub async fn refund(&self, new: Value) -> Result<Value, Error> {
        let new = serde_json::from_value(new).unwrap();
        let reply = refunds::create(self.parts(), &self.stage.caller, &Repeat::NONE, new).await?;
        Ok(serde_json::from_slice(&reply.body).unwrap())
    }

    /// The jobs, as far as they have to do with this.
    pub async fn jobs(&self) {
        marks::watch(&self.stage.engine).await.unwrap();
        top_ups::run(&self.stage.engine).await.unwrap();
        refunds::run(&self.stage.engine).await.unwrap();
    }

    /// Available and purchased; everything must add up.
    pub async fn balance(&self) -> (i64, i64) {
        let credits = credits::get(self.parts(), &self.stage.caller, true).await.unwrap();
        assert_eq!(credits.differences, Vec::<String>::new());
        (credits.available.amount_micros, credits.purchased.amount_micros)
    }

    pub async fn purchase(&self, purchase: &Value) -> Value {
        let id = purchase["id"].as_str().unwrap().parse().unwrap();
        serde_json::to_value(purchases::get(self.parts(), &self.stage.caller, id).await.unwrap()).unwrap()
    }

    pub async fn all(&self) -> Vec<Value> {
        let page = purchases::list(self.parts(), &self.stage.caller, None, None).await.unwrap();
        page.data.iter().map(|purchase| serde_json::to_value(purchase).unwrap()).collect()
    }

    pub async fn all_refunds(&self) -> Vec<Value> {
        let page = refunds::list(self.parts(), &self.stage.caller, None, None).await.unwrap();
        page.data.iter().map(|refund| serde_json::to_value(refund).unwrap()).collect()
    }

    /// What stands on a purchase's receipt, without spaces.
    pub async fn receipt(&self, purchase: &Value) -> Result<String, Error> {
        let id = purchase["id"].as_str().unwrap();
        let (name, pdf) = receipts::document(&self.stage.engine, &self.stage.caller, id.parse().unwrap()).await?;
        assert_eq!(name, format!("receipt-{id}.pdf"));
        let text = lopdf::Document::load_mem(&pdf).unwrap().extract_text(&[1]).unwrap();
        Ok(text.split_whitespace().collect())
    }

    /// The kinds of movements, oldest first.
    pub async fn kinds(&self) -> Vec<String> {
        let page = credits::entries(self.parts(), &self.stage.caller, Some(500), None).await.unwrap();
        page.data.into_iter().rev().map(|entry| entry.kind).collect()
    }
}

const CARD: &str = "4242424242424242";
const M: i64 = 1_000_000;

async fn told(db: &TestDb) -> String {
    crate::setting::column(db, "SELECT type FROM events WHERE type LIKE 'credit.%' ORDER BY id").await
}

testkit::both! {
    async fn what_was_paid_on_the_page_is_there_once(db: TestDb) {
        let shop = Shop::open(&db).await;
        let first = shop.try_buy(json!({"amount_micros": 50 * M}), Some("k")).await.unwrap();
        assert_eq!((&first["state"], &first["provider"]), (&json!("open"), &json!("stripe")));
        assert_eq!(shop.try_buy(json!({"amount_micros": 50 * M}), Some("k")).await.unwrap(), first);
        assert_eq!(shop.balance().await, (0, 0));
        shop.on_page(&first, "declined", CARD);
        shop.tell().await;
        assert_eq!(shop.purchase(&first).await["state"], "open", "somebody at a page may try again");
        shop.on_page(&first, "paid", CARD);
        shop.tell().await;
        assert_eq!(shop.balance().await, (50 * M, 50 * M));
        let paid = shop.purchase(&first).await;
        assert_eq!((&paid["state"], &paid["entry"], &paid["url"]), (&json!("paid"), &json!(1), &Value::Null));
        assert_eq!(shop.kinds().await, ["purchase"]);
        assert_eq!(told(&db).await, "credit.purchased");
    }

    async fn what_takes_days_comes_or_does_not(db: TestDb) {
        let shop = Shop::open(&db).await;
        let (one, other, none) = (shop.buy(5 * M).await, shop.buy(7 * M).await, shop.buy(9 * M).await);
        shop.on_page(&one, "later", CARD);
        shop.on_page(&other, "later", CARD);
        shop.on_page(&none, "expired", CARD);
        shop.tell().await;
        let states = async || {
            [shop.purchase(&one).await, shop.purchase(&other).await, shop.purchase(&none).await].map(|purchase| purchase["state"].as_str().unwrap().to_owned())
        };
        assert_eq!(states().await, ["pending", "pending", "expired"]);
        assert_eq!(shop.balance().await, (0, 0));
        shop.on_page(&one, "arrived", CARD);
        shop.on_page(&other, "bounced", CARD);
        shop.tell().await;
        assert_eq!(states().await, ["paid", "failed", "expired"]);
        assert_eq!(shop.balance().await, (5 * M, 5 * M));
        assert_eq!(told(&db).await.lines().filter(|line| *line == "credit.purchase_failed").count(), 2);
    }

    async fn what_is_not_stripes_changes_nothing(db: TestDb) {
        let shop = Shop::open(&db).await;
        let purchase = shop.buy(5 * M).await;
        shop.on_page(&purchase, "paid", CARD);
        let events = shop.take_events();
        let mut forged = events[0].clone();
        forged.body = String::from_utf8_lossy(&forged.body).replace("500", "900").into();
        assert_eq!(shop.post(&forged).await.unwrap_err().code, "invalid_signature");
        forged = events[0].clone();
        forged.headers.clear();
        assert_eq!(shop.post(&forged).await.unwrap_err().code, "invalid_signature");
        shop.stage.world.clock.advance_ms(301_000);
        assert_eq!(shop.post(&events[0]).await.unwrap_err().code, "invalid_signature", "it is old");
        assert_eq!(shop.balance().await, (0, 0));
    }

    async fn a_purchase_nobody_wrote_down_is_there_all_the_same(db: TestDb) {
        let shop = Shop::open(&db).await;
        *shop.lost.lock().unwrap() = 1;
        let refused = shop.try_buy(json!({"amount_micros": 5 * M}), None).await.unwrap_err();
        assert_eq!((refused.code, refused.kind.status()), ("payment_provider_unavailable", 503));
        assert_eq!(shop.all().await, Vec::<Value>::new());
        shop.on_page(&shop.kept("sessions")[0], "paid", CARD);
        shop.tell().await;
        assert_eq!(shop.balance().await, (5 * M, 5 * M));
        assert_eq!(shop.all().await.len(), 1);
    }

    async fn what_was_bought_has_a_receipt(db: TestDb) {
        let shop = Shop::open(&db).await;
        // In Kolkata it is the next day.
        shop.stage.world.clock.set("2026-11-28T20:00:00Z".parse().unwrap());
        let zone = serde_json::from_value(json!({"timezone": "Asia/Kolkata"})).unwrap();
        tidings_engine::tenants::patch(shop.parts(), &shop.stage.caller, shop.stage.tenant, zone).await.unwrap();
        let seller = json!({"seller": {"name": "Host GmbH", "address": ["Hafenstr. 1"], "tax_id": "DE987654321"}});
        let operator = tidings_engine::keys::Caller::system(None);
        let seller = serde_json::from_value(seller).unwrap();
        tidings_engine::invoices::settings::patch(shop.parts(), &operator, seller).await.unwrap();
        let bought = shop.try_buy(json!({"amount_micros": 50 * M, "reference": "bank transfer 7"}), None).await.unwrap();
        let id = bought["id"].as_str().unwrap();
        let golden = format!(
            "HostGmbHReceipt{id}FromHostGmbHHafenstr.1TaxID:DE987654321BilledtoAcmeNumber{id}Date29November2026Paymentbanktransfer7\
            DescriptionAmountPrepaidcredit50.00TotalUSD50.00AlreadypaidUSD-50.00AmountdueUSD0.00"
        );
        assert_eq!(shop.receipt(&bought).await.unwrap(), format!("{golden}HostGmbHPage1of1"));
        let back = json!({"purchase_id": id, "amount_micros": 20 * M, "reason": "too much"});
        shop.refund(back).await.unwrap();
        let after = shop.receipt(&bought).await.unwrap();
        assert_eq!(after, format!("{golden}NotesOfit20.00USDwasgivenback.HostGmbHPage1of1"));
        // Nothing is paid yet.
        let open = shop.buy(5 * M).await;
        assert_eq!(shop.receipt(&open).await.unwrap_err().code, "purchase_not_paid");
        shop.on_page(&open, "paid", CARD);
        shop.tell().await;
        assert!(shop.receipt(&open).await.unwrap().contains("Paymentpi_"));
    }

    async fn refusals_name_what_is_wrong(db: TestDb) {
        let shop = Shop::open(&db).await;
        let pointers = async |new: Value| -> Vec<String> {
            shop.try_buy(new, None).await.unwrap_err().errors.into_iter().map(|error| error.pointer).collect()
        };
        assert_eq!(pointers(json!({"amount_micros": 12_345})).await, ["/amount_micros"]);
        assert_eq!(pointers(json!({"amount_micros": M, "success_url": "ftp://x", "cancel_url": "x"})).await, ["/success_url", "/cancel_url"]);
        assert_eq!(pointers(json!({"amount_micros": M, "reference": "bank", "success_url": "https://x.test"})).await, ["/success_url"]);
        let small = shop.try_buy(json!({"amount_micros": 10_000}), None).await.unwrap_err();
        assert_eq!((small.code, small.kind.status()), ("payment_provider_refused", 422));
        shop.stripe.set("stripe", "secret_key", "another");
        let refused = shop.try_buy(json!({"amount_micros": M}), None).await.unwrap_err();
        assert_eq!((refused.code, refused.action), ("payment_provider_refused", Some("CONTACT_OPERATOR")));
        let operator = tidings_engine::keys::Caller::system(None);
        payments::patch(shop.parts(), &operator, serde_json::from_value(json!({"stripe": null})).unwrap()).await.unwrap();
        assert_eq!(shop.try_buy(json!({"amount_micros": M}), None).await.unwrap_err().code, "payments_not_configured");
        assert_eq!(shop.balance().await, (0, 0));
    }

    async fn money_goes_back_in_parts_and_never_more_than_was_paid(db: TestDb) {
        let shop = Shop::open(&db).await;
        let purchase = shop.buy(10 * M).await;
        let id = purchase["id"].clone();
        let back = |micros: i64| json!({"amount_micros": micros, "reason": "closed", "purchase_id": id});
        assert_eq!(shop.refund(back(M)).await.unwrap_err().code, "purchase_not_paid");
        shop.on_page(&purchase, "paid", CARD);
        shop.tell().await;
        shop.jobs().await;
        // The answer of the first try is lost: it is asked again under the same key.
        *shop.lost.lock().unwrap() = 1;
        let refund = shop.refund(back(4 * M)).await.unwrap();
        assert_eq!((&refund["state"], shop.balance().await), (&json!("opening"), (6 * M, 6 * M)));
        shop.jobs().await;
        assert_eq!(shop.all_refunds().await[0]["state"], "opening");
        shop.jobs().await;
        assert_eq!(shop.all_refunds().await[0]["state"], "done");
        shop.tell().await;
        shop.jobs().await;
        assert_eq!((shop.all_refunds().await.len(), shop.balance().await), (1, (6 * M, 6 * M)));
        assert_eq!(shop.refund(back(7 * M)).await.unwrap_err().errors[0].pointer, "/amount_micros");
        shop.refund(back(6 * M)).await.unwrap();
        shop.jobs().await;
        shop.tell().await;
        assert_eq!(shop.purchase(&purchase).await["refunded"]["amount_micros"], 10 * M);
        assert_eq!((shop.balance().await, shop.kinds().await), ((0, 0), ["purchase", "refund", "refund"].map(str::to_owned).to_vec()));
        let statement = String::from_utf8(credits::statement(shop.parts(), &shop.stage.caller, &StatementQuery::default()).await.unwrap().body).unwrap();
        assert!(statement.contains(",refund,available,purchased,4000000,USD,6000000,"), "{statement}");
    }

    async fn a_refund_that_fails_brings_the_credit_back(db: TestDb) {
        let shop = Shop::open(&db).await;
        let (fails, waits) = (shop.buy(10 * M).await, shop.buy(3 * M).await);
        shop.on_page(&fails, "paid", "4000000000005126");
        shop.on_page(&waits, "paid", "4000000000007726");
        shop.tell().await;
        for (purchase, micros) in [(&fails, 10 * M), (&waits, 3 * M)] {
            shop.refund(json!({"amount_micros": micros, "reason": "closed", "purchase_id": purchase["id"]})).await.unwrap();
        }
        assert_eq!(shop.balance().await, (0, 0));
        shop.jobs().await;
        shop.tell().await;
        shop.jobs().await;
        assert_eq!(shop.balance().await, (10 * M, 10 * M));
        assert_eq!(shop.purchase(&fails).await["refunded"]["amount_micros"], 0);
        let states: Vec<Value> = shop.all_refunds().await.iter().map(|refund| refund["state"].clone()).collect();
        assert_eq!(states, [json!("done"), json!("failed")]);
        assert_eq!(shop.kinds().await.last().unwrap(), "refund_failed");
    }

    async fn what_goes_back_on_stripes_pages_is_taken_as_far_as_it_is_there(db: TestDb) {
        let shop = Shop::open(&db).await;
        let purchase = shop.buy(10 * M).await;
        shop.on_page(&purchase, "paid", CARD);
        shop.tell().await;
        let payment = crate::setting::column(&db, "SELECT payment FROM credit_purchases").await;
        shop.at_stripe("dashboard/refunds", &format!("payment_intent={payment}&amount=300"));
        // Only the oldest way of telling arrives: the charge, without its refunds.
        let events = shop.take_events();
        let is_charge = |event: &&HttpCall| String::from_utf8_lossy(&event.body).contains("charge.refunded");
        shop.post(events.iter().find(is_charge).unwrap()).await.unwrap();
        shop.jobs().await;
        assert_eq!(shop.balance().await, (7 * M, 7 * M));
        for event in &events {
            shop.post(event).await.unwrap();
        }
        shop.jobs().await;
        assert_eq!(shop.balance().await, (7 * M, 7 * M), "it is known by its id");
        let take = serde_json::from_value(json!({"amount_micros": -5 * M, "reason": "spent"})).unwrap();
        credits::adjust(shop.parts(), &shop.stage.caller, &Repeat::NONE, take).await.unwrap();
        shop.at_stripe("dashboard/refunds", &format!("payment_intent={payment}&amount=700"));
        shop.tell().await;
        assert_eq!(shop.balance().await, (0, 5 * M));
        let seen = &shop.all_refunds().await[0];
        assert_eq!((&seen["amount"]["amount_micros"], &seen["taken"]["amount_micros"]), (&json!(7 * M), &json!(2 * M)));
    }

    async fn what_went_back_before_we_heard_of_the_payment_is_not_forgotten(db: TestDb) {
        let shop = Shop::open(&db).await;
        let purchase = shop.buy(10 * M).await;
        shop.on_page(&purchase, "paid", CARD);
        let paid = shop.take_events();
        let body = String::from_utf8_lossy(&paid[0].body).into_owned();
        let payment = body.split('"').find(|word| word.starts_with("pi_")).unwrap();
        shop.at_stripe("dashboard/refunds", &format!("payment_intent={payment}&amount=300"));
        for event in shop.take_events().iter().chain(&paid) {
            shop.post(event).await.unwrap();
        }
        shop.jobs().await;
        assert_eq!(shop.balance().await, (7 * M, 7 * M));
    }

    async fn the_operator_gives_back_outside_and_below_zero_only_on_purpose(db: TestDb) {
        let shop = Shop::open(&db).await;
        let bought = shop.try_buy(json!({"amount_micros": 100, "reference": "bank"}), None).await.unwrap();
        assert_eq!((&bought["state"], &bought["provider"], &bought["entry"]), (&json!("paid"), &json!("operator"), &json!(1)));
        let take = serde_json::from_value(json!({"amount_micros": -60, "reason": "spent"})).unwrap();
        credits::adjust(shop.parts(), &shop.stage.caller, &Repeat::NONE, take).await.unwrap();
        let mut back = json!({"amount_micros": 70, "reason": "closed", "purchase_id": bought["id"]});
        let refused = shop.refund(back.clone()).await.unwrap_err();
        assert!(refused.errors[0].detail.contains("may_overdraw"), "{refused:?}");
        back["may_overdraw"] = json!(true);
        assert_eq!(shop.refund(back).await.unwrap()["state"], "done");
        assert_eq!(shop.balance().await, (-30, 30));
        assert_eq!(shop.refund(json!({"amount_micros": 31, "reason": "more", "may_overdraw": true})).await.unwrap_err().errors[0].pointer, "/amount_micros");
        assert_eq!(shop.purchase(&bought).await["refunded"]["amount_micros"], 70);
    }

    async fn credit_buys_itself_once_per_crossing_and_within_its_limits(db: TestDb) {
        let shop = Shop::open(&db).await;
        shop.change(json!({"top_up": {"below_micros": 4 * M, "amount_micros": 10 * M, "monthly_max_micros": 25 * M}})).await;
        let first = shop.try_buy(json!({"amount_micros": 5 * M, "save_payment_method": true}), None).await.unwrap();
        shop.on_page(&first, "paid", CARD);
        shop.tell().await;
        shop.jobs().await;
        assert_eq!(top_ups::method(shop.parts(), &shop.stage.caller).await.unwrap().name, "visa •••• 4242");
        assert!(!shop.receipt(&first).await.unwrap().contains("visa"), "which card paid before it was kept nobody told");
        let spend = async |micros: i64| {
            let take = serde_json::from_value(json!({"amount_micros": -micros, "reason": "spent"})).unwrap();
            credits::adjust(shop.parts(), &shop.stage.caller, &Repeat::NONE, take).await.unwrap();
        };
        spend(2 * M).await;
        // Stripe takes it, and its answer is lost: asked again under the same key, and told by events, too.
        *shop.lost.lock().unwrap() = 1;
        shop.jobs().await;
        assert_eq!(shop.balance().await.0, 3 * M);
        shop.jobs().await;
        shop.tell().await;
        shop.jobs().await;
        assert_eq!(shop.balance().await, (13 * M, 15 * M));
        let all = shop.all().await;
        assert_eq!(all.len(), 2);
        let by_itself = all.iter().find(|purchase| purchase["is_top_up"] == true).unwrap();
        assert!(shop.receipt(by_itself).await.unwrap().contains("Paidwithvisa••••4242"));
        spend(10 * M).await;
        shop.jobs().await;
        assert_eq!(shop.balance().await, (13 * M, 25 * M));
        // The third would exceed the month's limit, and is told once.
        spend(10 * M).await;
        shop.jobs().await;
        shop.jobs().await;
        assert_eq!(shop.balance().await, (3 * M, 25 * M));
        assert_eq!(told(&db).await.lines().filter(|line| *line == "credit.top_up_failed").count(), 1);
        shop.stage.world.clock.advance_ms(31 * 86_400_000);
        shop.change(json!({"top_up": {"below_micros": 4 * M + 1, "amount_micros": 10 * M, "monthly_max_micros": 25 * M}})).await;
        shop.jobs().await;
        assert_eq!(shop.balance().await, (13 * M, 35 * M));
        top_ups::forget(shop.parts(), &shop.stage.caller).await.unwrap();
        spend(10 * M).await;
        shop.jobs().await;
        assert_eq!(shop.balance().await, (3 * M, 35 * M));
        assert_eq!(top_ups::method(shop.parts(), &shop.stage.caller).await.unwrap_err().code, "not_found");
    }

    async fn a_bank_that_refuses_is_asked_once(db: TestDb) {
        let shop = Shop::open(&db).await;
        shop.change(json!({"top_up": {"below_micros": 4 * M, "amount_micros": 10 * M}})).await;
        let first = shop.try_buy(json!({"amount_micros": 5 * M, "save_payment_method": true}), None).await.unwrap();
        shop.on_page(&first, "paid", "4000000000000341");
        shop.tell().await;
        shop.jobs().await;
        let take = serde_json::from_value(json!({"amount_micros": -3 * M, "reason": "spent"})).unwrap();
        credits::adjust(shop.parts(), &shop.stage.caller, &Repeat::NONE, take).await.unwrap();
        for _ in 0..3 {
            shop.jobs().await;
            shop.tell().await;
        }
        let all = shop.all().await;
        assert_eq!((all.len(), &all[0]["state"], &all[0]["failure"]), (2, &json!("failed"), &json!("Your card was declined.")));
        assert_eq!(shop.balance().await, (2 * M, 5 * M));
        assert_eq!(told(&db).await.lines().filter(|line| *line == "credit.top_up_failed").count(), 1);
    }

    async fn secrets_are_sealed_and_never_shown(db: TestDb) {
        let shop = Shop::open(&db).await;
        let operator = tidings_engine::keys::Caller::system(None);
        let shown = serde_json::to_string(&payments::get(shop.parts(), &operator).await.unwrap()).unwrap();
        assert!(shown.contains("••••ated") && !shown.contains("sk_test_simulated"), "{shown}");
        let kept = crate::setting::column(&db, "SELECT detail FROM audit_log").await;
        assert!(kept.contains(r#""stripe.secret_key":{"from":null,"to":"secret:"#) && !kept.contains("sk_test_simulated") && !kept.contains("ated\""), "{kept}");
        let mine = payments::get(shop.parts(), &tidings_engine::keys::Caller { is_operator: false, ..shop.stage.caller.clone() }).await;
        assert_eq!(mine.unwrap_err().code, "operator_only");
    }

    async fn a_payment_brings_credit_to_one_purchase_only(db: TestDb) {
        let shop = Shop::open(&db).await;
        let other = shop.beside().await;
        let (mine, theirs) = (shop.buy(5 * M).await, other.buy(5 * M).await);
        shop.on_page(&mine, "paid", CARD);
        let paid = shop.take_events();
        // Events of the same payment that name the other tenant's purchase, and one there is not.
        let names = |purchase: &Value, tenant: &Shop| {
            let ids = |text: String| {
                let text = text.replace(mine["id"].as_str().unwrap(), purchase["id"].as_str().unwrap());
                let text = text.replace(&shop.stage.tenant.to_string(), &tenant.stage.tenant.to_string());
                text.replace("evt_", &format!("evt_{}_{}_", tenant.stage.tenant, purchase["id"].as_str().unwrap()))
            };
            paid.iter().map(|event| shop.signed(&ids(String::from_utf8_lossy(&event.body).into_owned()))).collect::<Vec<_>>()
        };
        for event in &paid {
            shop.post(event).await.unwrap();
        }
        let unknown = json!({"id": "pur_01ARZ3NDEKTSV4RRFFQ69G5FAV"});
        for event in names(&theirs, &other).iter().chain(&names(&unknown, &other)).chain(&names(&unknown, &shop)) {
            shop.post(event).await.unwrap();
        }
        assert_eq!((shop.balance().await, other.balance().await), ((5 * M, 5 * M), (0, 0)));
        assert_eq!((shop.all().await.len(), other.purchase(&theirs).await["state"].clone()), (1, json!("open")));
        let told = shop.alerts("payment_stray").await;
        assert_eq!(told.len(), 1, "{told:?}");
        let payment = crate::setting::column(&db, "SELECT payment FROM credit_purchases WHERE payment IS NOT NULL").await;
        assert!(told[0].title.contains(&payment) && told[0].detail.contains(theirs["id"].as_str().unwrap()) && told[0].detail.contains(mine["id"].as_str().unwrap()), "{told:?}");
        // The other tenant pays for its purchase after all, and twice.
        other.on_page(&theirs, "paid", CARD);
        let events = other.take_events();
        for event in &events {
            other.post(event).await.unwrap();
        }
        assert_eq!(other.balance().await, (5 * M, 5 * M));
        let is_payment = |event: &&HttpCall| String::from_utf8_lossy(&event.body).contains("payment_intent.succeeded");
        let again = String::from_utf8_lossy(&events.iter().find(is_payment).unwrap().body).into_owned();
        other.post(&other.signed(&again.replace("\"pi_", "\"pi_again_").replace("evt_", "evt_y"))).await.unwrap();
        assert_eq!(other.balance().await, (5 * M, 5 * M));
        let told = shop.alerts("payment_stray").await;
        assert!(told.len() == 2 && told.iter().any(|alert| alert.detail.contains("pi_again_") && alert.detail.contains("paid by pi_")), "{told:?}");
        // One is over because its money went back, the other because somebody says so.
        shop.at_stripe("dashboard/refunds", &format!("payment_intent={payment}&amount=500"));
        shop.tell().await;
        let left = shop.alerts("payment_stray").await;
        assert_eq!(left.len(), 1, "{left:?}");
        tidings_engine::alerts::resolve(&shop.stage.engine, &tidings_engine::keys::Caller::system(None), &Repeat::NONE, left[0].id, Default::default()).await.unwrap();
        shop.stage.world.clock.advance_ms(6 * 3_600_000);
        assert_eq!(shop.alerts("payment_stray").await.len(), 0, "it does not come back");
    }

    async fn of_two_purchases_one_payment_names_at_once_one_is_paid(db: TestDb) {
        let shop = Shop::open(&db).await;
        let other = shop.beside().await;
        let (mine, theirs) = (shop.buy(5 * M).await, other.buy(5 * M).await);
        shop.on_page(&mine, "paid", CARD);
        let paid = shop.take_events();
        let named = |event: &HttpCall| {
            let text = String::from_utf8_lossy(&event.body).replace(mine["id"].as_str().unwrap(), theirs["id"].as_str().unwrap());
            shop.signed(&text.replace(&shop.stage.tenant.to_string(), &other.stage.tenant.to_string()).replace("evt_", "evt_x"))
        };
        let copies: Vec<HttpCall> = paid.iter().map(named).collect();
        let posts = paid.iter().chain(&copies).map(|event| shop.post(event));
        for posted in futures_util::future::join_all(posts).await {
            posted.unwrap();
        }
        let (one, two) = (shop.balance().await.0, other.balance().await.0);
        assert_eq!((one + two, shop.alerts("payment_stray").await.len()), (5 * M, 1), "{one} {two}");
    }

    async fn who_pays_for_a_deleted_tenant_is_told_to_the_operator(db: TestDb) {
        let shop = Shop::open(&db).await;
        let page = shop.buy(5 * M).await;
        shop.on_page(&page, "paid", CARD);
        let events = shop.take_events();
        tidings_engine::tenants::delete(shop.parts(), &tidings_engine::keys::Caller::system(None), shop.stage.tenant).await.unwrap();
        for event in events.iter().chain(&events) {
            shop.post(event).await.unwrap();
        }
        let told = shop.alerts("payment_stray").await;
        assert!(told.len() == 1 && told[0].detail.contains("5.00 USD") && told[0].detail.contains(&shop.stage.tenant.to_string()), "{told:?}");
        assert_eq!(crate::setting::column(&db, "SELECT CAST(COUNT(*) AS TEXT) FROM credit_entries").await, "0");
    }
}
