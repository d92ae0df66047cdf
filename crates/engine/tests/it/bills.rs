//! What is on a bill, on both engines: a change of clock, of currency or of the way a tenant pays neither loses money nor asks for it twice.

use engine::{
    invoices::{self, InvoiceKind, InvoiceState, InvoiceView, InvoicesQuery, closing},
    keys::Caller,
    money::{credits, prices},
    once::Repeat,
    tenants,
};
use model::Channel;
use serde_json::{Value, json};
use store::Scope;
use testkit::{Stage, TestDb};

use crate::plans::{set_clock, subscribe, subscribed};

fn operator() -> Caller {
    Caller::system(None)
}

/// A tenant with a plan since the first of November, and messages at 10,000 each.
pub async fn priced(db: &TestDb, allowances: Value) -> Stage {
    let stage = subscribed(db, "2026-11-01T00:00:00Z", "UTC", allowances).await;
    let rows = json!([{"channel": "sms", "unit": "message", "amount_micros": 10_000}]);
    let new = serde_json::from_value(json!({"currency": "USD", "rows": rows})).unwrap();
    prices::create(stage.engine.parts(), &operator(), &Repeat::NONE, new).await.unwrap();
    stage
}

/// A tenant without a plan, whose messages cost 10,000 each once it pays for them.
async fn unplanned(db: &TestDb, at: &str, zone: &str) -> Stage {
    let stage = Stage::new(db).await;
    set_clock(&stage, at);
    stage.account("sandbox", json!({}), None).await;
    move_to(&stage, zone).await;
    let rows = json!([{"channel": "sms", "unit": "message", "amount_micros": 10_000}]);
    let new = serde_json::from_value(json!({"currency": "USD", "rows": rows})).unwrap();
    prices::create(stage.engine.parts(), &operator(), &Repeat::NONE, new).await.unwrap();
    stage
}

/// A tenant that pays afterwards for messages at 10,000 each, without a plan.
async fn alone(db: &TestDb, at: &str, zone: &str) -> Stage {
    let stage = unplanned(db, at, zone).await;
    mode(&stage, "postpaid").await.unwrap();
    stage
}

/// A tenant that pays ahead, has no plan, and of which it was said in August as whom it does. Now it is the tenth of November, and 70,000 are left.
async fn ahead(db: &TestDb) -> Stage {
    let stage = unplanned(db, "2026-08-10T12:00:00Z", "UTC").await;
    mode(&stage, "prepaid").await.unwrap();
    buy(&stage, 100_000).await;
    let seen = subscribe(&stage, json!({"customer": {"name": "Acme Ltd"}})).await;
    assert_eq!((seen.plan, seen.next_invoice_at), (None, None));
    set_clock(&stage, "2026-09-05T12:00:00Z");
    send(&stage, 3).await;
    assert_eq!(closed(&stage, "2026-11-10T12:00:00Z").await.len(), 0);
    adds_up(&stage).await;
    stage
}

/// Deletes the tenant and lets everything it had be removed.
pub async fn delete(stage: &Stage) {
    tenants::delete(stage.engine.parts(), &operator(), stage.tenant).await.unwrap();
    stage.world.clock.advance_ms(121_000);
    for _ in 0..100 {
        if tenants::removal::run(&stage.engine).await.unwrap() == 0 {
            return;
        }
    }
    panic!("removing a tenant does not end");
}

/// Everybody's invoices as the operator sees them, the oldest first.
pub async fn everybodys(stage: &Stage) -> Vec<InvoiceView> {
    let page = invoices::list(&stage.engine, &operator(), &InvoicesQuery::default()).await.unwrap();
    page.data.into_iter().rev().collect()
}

pub async fn mode(stage: &Stage, word: &str) -> Result<(), engine::Error> {
    let change = serde_json::from_value(json!({ "mode": word })).unwrap();
    credits::patch(stage.engine.parts(), &stage.caller, change).await.map(drop)
}

async fn buy(stage: &Stage, amount: i64) {
    let new = serde_json::from_value(json!({"amount_micros": amount, "reference": "bank"})).unwrap();
    credits::purchase(stage.engine.parts(), &stage.caller, &Repeat::NONE, new).await.unwrap();
}

pub async fn send(stage: &Stage, count: u32) {
    for number in 0..count {
        let to = json!({"phone": format!("+4915510{number:06}")});
        stage.send(json!({"to": to, "channel": "sms", "content": {"text": "Hello"}})).await;
    }
    stage.dispatch().await;
}

/// Closes what ended by an instant, and answers all invoices, the oldest first.
pub async fn closed(stage: &Stage, at: &str) -> Vec<InvoiceView> {
    set_clock(stage, at);
    while closing::run(&stage.engine).await.unwrap() > 0 {}
    let page = invoices::list(&stage.engine, &stage.caller, &InvoicesQuery::default()).await.unwrap();
    page.data.into_iter().rev().collect()
}

pub async fn pay(stage: &Stage, invoice: &InvoiceView) {
    let payment = serde_json::from_value(json!({"reference": "bank"})).unwrap();
    invoices::pay(&stage.engine, &operator(), &Repeat::NONE, invoice.id, payment).await.unwrap();
}

pub async fn void(stage: &Stage, invoice: &InvoiceView) {
    let why = serde_json::from_value(json!({"reason": "a mistake"})).unwrap();
    invoices::void(&stage.engine, &operator(), &Repeat::NONE, invoice.id, why).await.unwrap();
}

/// What can be spent, and is owed when it is below zero.
async fn available(stage: &Stage) -> i64 {
    credits::get(stage.engine.parts(), &stage.caller, false).await.unwrap().available.amount_micros
}

/// The lines about messages by the price list.
fn messages(invoice: &InvoiceView) -> Vec<(String, i64)> {
    let word = |line: &engine::invoices::compose::Line| serde_json::to_value(line.kind).unwrap();
    let lines = invoice.lines.iter().map(|line| (word(line).as_str().unwrap().to_owned(), line.amount_micros));
    lines.filter(|(kind, _)| ["messages", "messages_correction", "credit"].contains(&kind.as_str())).collect()
}

fn line(kind: &str, amount: i64) -> (String, i64) {
    (kind.to_owned(), amount)
}

async fn on_paper(stage: &Stage, invoice: &InvoiceView) -> String {
    let (_, pdf) = invoices::printing::document(&stage.engine, &stage.caller, invoice.id).await.unwrap();
    let text = lopdf::Document::load_mem(&pdf).unwrap().extract_text(&[1]).unwrap();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

async fn move_to(stage: &Stage, zone: &str) {
    let change = serde_json::from_value(json!({ "timezone": zone })).unwrap();
    tenants::patch(stage.engine.parts(), &stage.caller, stage.tenant, change).await.unwrap();
}

/// Takes an invoice back to bill it again, and answers the draft in its place.
pub async fn bill_again(stage: &Stage, invoice: &InvoiceView) -> InvoiceView {
    let why = serde_json::from_value(json!({"reason": "the address", "bills_again": true})).unwrap();
    invoices::void(&stage.engine, &operator(), &Repeat::NONE, invoice.id, why).await.unwrap();
    let found = everybodys(stage).await;
    found.into_iter().find(|row| row.replaces_id == Some(invoice.id)).unwrap()
}

/// Bills again what was taken back without that, and answers the draft in its place.
pub async fn bill_after_all(stage: &Stage, invoice: &InvoiceView) -> Result<InvoiceView, engine::Error> {
    let reply = invoices::bill_again(&stage.engine, &operator(), &Repeat::NONE, invoice.id).await?;
    assert_eq!(reply.status, 201);
    let made: Value = serde_json::from_slice(&reply.body).unwrap();
    invoices::get(&stage.engine, &operator(), made["id"].as_str().unwrap().parse().unwrap()).await
}

pub async fn issue(stage: &Stage, invoice: &InvoiceView) -> InvoiceView {
    let reply = invoices::issue(&stage.engine, &operator(), &Repeat::NONE, invoice.id).await.unwrap();
    assert_eq!(reply.status, 200);
    invoices::get(&stage.engine, &operator(), invoice.id).await.unwrap()
}

/// A plan in yen.
async fn yen(stage: &Stage) -> Value {
    let allowances = json!([{"channel": "sms", "included": 0, "overage_micros": 1_300_000_000}]);
    let new = json!({"name": "Yen", "currency": "JPY", "monthly_fee_micros": 1_500_000_000, "allowances": allowances});
    let new = serde_json::from_value(new).unwrap();
    let made = engine::plans::create(stage.engine.parts(), &operator(), &Repeat::NONE, new).await.unwrap();
    serde_json::from_slice::<Value>(&made.body).unwrap()["id"].clone()
}

/// Accepts messages that leave on the fifth of December.
async fn later(stage: &Stage, count: u32) {
    for number in 0..count {
        let to = json!({"phone": format!("+4915511{number:06}")});
        let send_at = "2026-12-05T12:00:00Z";
        stage.send(json!({"to": to, "channel": "sms", "content": {"text": "Hello"}, "send_at": send_at})).await;
    }
}

/// A plan that begins seven minutes into a slot of a clock bills what its quota counts: what was sent from that instant on, also what leaves after the month was closed.
async fn begins(db: &TestDb, zone: &str) {
    let stage = subscribed(db, "2026-11-01T00:00:00Z", "UTC", json!([])).await;
    let other = crate::hooks::neighbour(&stage).await;
    other.account("sandbox", json!({}), None).await;
    move_to(&other, zone).await;
    set_clock(&stage, "2026-11-20T12:05:00Z");
    send(&other, 5).await;
    set_clock(&stage, "2026-11-20T12:07:00Z");
    let allowances = json!([{"channel": "sms", "included": 1, "overage_micros": 20_000}]);
    let plan = crate::plans::plan(&stage, allowances).await;
    subscribe(&other, json!({ "plan_id": plan })).await;
    send(&other, 2).await;
    later(&other, 1).await;
    for at in ["2026-11-20T12:20:00Z", "2026-11-20T12:40:00Z"] {
        set_clock(&stage, at);
        send(&other, 1).await;
    }
    assert_eq!(subscribe(&other, json!({})).await.quotas[0].used, 5);
    let told = |invoice: &InvoiceView| {
        let lines = invoice.lines.iter().filter(|line| line.channel.is_some());
        lines.map(|line| (line.quantity, line.amount_micros)).collect::<Vec<_>>()
    };
    let first = closed(&other, "2026-12-01T02:00:00Z").await.remove(0);
    assert_eq!((first.starts_at, told(&first)), ("2026-11-20T12:07:00Z".parse().unwrap(), vec![(1, 0), (3, 60_000)]));
    adds_up(&stage).await;
    set_clock(&stage, "2026-12-05T12:00:00Z");
    other.tick().await;
    other.dispatch().await;
    let second = closed(&other, "2027-01-01T02:00:00Z").await.remove(1);
    assert_eq!(told(&second), [(0, 0), (1, 20_000)]);
    let third = closed(&other, "2027-02-01T02:00:00Z").await.remove(2);
    assert_eq!(told(&third), [(0, 0)]);
    adds_up(&stage).await;
}

/// Goes from clock to clock around the ends of three months, an hour at a time, and sends all that is let through: the month's messages once, and its counters are its bills' months.
async fn hops(db: &TestDb, zones: &[&str]) {
    let allowances = json!([{"channel": "sms", "included": 2}, {"channel": "email", "included": 3}]);
    let stage = subscribed(db, "2026-11-10T12:00:00Z", zones[0], allowances).await;
    let mut accepted = [0, 0];
    for (turn, end) in ["2026-12-01T00:30:00Z", "2027-01-01T00:30:00Z", "2027-02-01T00:30:00Z"].iter().enumerate() {
        let end: model::Timestamp = end.parse().unwrap();
        for hour in -15..=28i64 {
            stage.world.clock.set(end.plus_seconds(hour * 3_600));
            let place = usize::try_from(hour + 15).unwrap() + turn;
            move_to(&stage, zones[place % zones.len()]).await;
            let text = json!({"to": {"phone": "+4915510000000"}, "channel": "sms", "content": {"text": "Hello"}});
            let mail = json!({"to": {"email": "ada@example.com"}, "content": {"subject": "Hi", "text": "Hello"}});
            // One of them is used at other hours than the other.
            let tried = [Some(text), Some(mail).filter(|_| hour % 5 == 0)];
            for (request, accepted) in tried.into_iter().zip(&mut accepted) {
                while let Some(request) = &request
                    && stage.try_send(request.clone(), None).await.is_ok()
                {
                    *accepted += 1;
                }
            }
            stage.dispatch().await;
            closing::run(&stage.engine).await.unwrap();
        }
    }
    assert_eq!(accepted, [8, 12], "four months of 2 and of 3");
    let found = closed(&stage, "2027-02-10T00:00:00Z").await;
    assert_eq!(found.len(), 3);
    for invoice in &found {
        let used: Vec<_> = invoice.lines.iter().skip(1).map(|line| line.quantity).collect();
        assert_eq!((invoice.total.amount_micros > 19_000_000, used), (true, vec![2, 3]), "{}", invoice.month);
    }
    let ends = subscribe(&stage, json!({})).await.next_invoice_at.unwrap();
    let mut months: Vec<_> = found.iter().map(|invoice| (invoice.starts_at, invoice.ends_at)).collect();
    months.push((found[2].ends_at, ends));
    let tenant = stage.tenant;
    let read = db.read(Scope::System, move |tx| Box::pin(async move { store::quotas::all(tx, tenant).await }));
    let counters = read.await.unwrap();
    for channel in [Channel::Sms, Channel::Email] {
        let counted = counters.iter().filter(|one| one.channel == channel).map(|one| (one.starts_at, one.ends_at));
        assert_eq!(counted.collect::<Vec<_>>(), months, "{channel}");
    }
    adds_up(&stage).await;
}

pub async fn adds_up(stage: &Stage) {
    assert_eq!(engine::books::verify(&stage.world.ports.db).await.unwrap().differences, []);
}

/// A tenant without a plan that sent one message on 20 November and has two to come, priced in its ledger's currency and paid for, and is charged for nothing since.
async fn priced_in_dollars(db: &TestDb) -> Stage {
    let stage = alone(db, "2026-11-01T00:00:00Z", "UTC").await;
    set_clock(&stage, "2026-11-20T12:00:00Z");
    send(&stage, 1).await;
    later(&stage, 2).await;
    buy(&stage, 30_000).await;
    mode(&stage, "none").await.unwrap();
    set_clock(&stage, "2026-11-20T12:01:00Z");
    stage
}

testkit::both! {
    async fn a_change_of_the_zone_costs_no_more_and_no_less_than_a_month(db: TestDb) {
        let stage = subscribed(&db, "2026-11-01T00:00:00Z", "UTC", json!([])).await;
        let first = closed(&stage, "2026-12-01T02:00:00Z").await.remove(0);
        let before = on_paper(&stage, &first).await;
        set_clock(&stage, "2026-12-10T00:00:00Z");
        move_to(&stage, "America/Los_Angeles").await;
        assert_eq!(on_paper(&stage, &first).await, before, "what was issued stays as it was");
        closed(&stage, "2027-01-20T00:00:00Z").await;
        move_to(&stage, "Asia/Kolkata").await;
        let found = closed(&stage, "2027-03-02T00:00:00Z").await;
        let told: Vec<_> = found.iter().map(|row| (row.month.as_str(), row.ends_at.to_string(), row.total.amount_micros)).collect();
        let month = |name, ends: &str| (name, ends.parse::<model::Timestamp>().unwrap().to_string(), 30_000_000);
        // A month that has begun ends as it was to end, and the next begins there.
        assert_eq!(told, [month("2026-11", "2026-12-01T00:00:00Z"), month("2026-12", "2027-01-01T00:00:00Z"), month("2027-01", "2027-02-01T08:00:00Z"), month("2027-02", "2027-02-28T18:30:00Z")]);
        assert!(found.windows(2).all(|pair| pair[0].ends_at == pair[1].starts_at));
        adds_up(&stage).await;
    }

    async fn a_month_in_which_plan_and_zone_change_costs_its_part(db: TestDb) {
        let stage = subscribed(&db, "2026-12-01T02:00:00Z", "UTC", json!([])).await;
        move_to(&stage, "America/Los_Angeles").await;
        let first = closed(&stage, "2027-01-01T12:00:00Z").await.remove(0);
        // 742 of December's 744 hours.
        assert_eq!((first.month.as_str(), first.total.amount_micros), ("2026-12", 29_920_000));
    }

    async fn a_clock_that_is_changed_gives_no_more_messages(db: TestDb) {
        hops(&db, &["Pacific/Kiritimati", "Etc/GMT+12"]).await;
    }

    async fn nor_do_clocks_of_the_whole_world(db: TestDb) {
        let world = ["Asia/Kolkata", "Etc/GMT+12", "Africa/Lagos", "Asia/Kathmandu", "America/Los_Angeles", "UTC", "Pacific/Kiritimati"];
        hops(&db, &world).await;
    }

    async fn nor_one_that_runs_with_the_sun(db: TestDb) {
        let west: Vec<String> = (-14..=12).map(|hours| format!("Etc/GMT{hours:+}")).collect();
        hops(&db, &west.iter().map(String::as_str).collect::<Vec<_>>()).await;
    }

    async fn what_is_learned_of_a_month_in_another_currency_is_billed_in_that(db: TestDb) {
        let stage = subscribed(&db, "2026-11-01T00:00:00Z", "UTC", json!([{"channel": "sms", "included": 0, "overage_micros": 9_000_000}])).await;
        set_clock(&stage, "2026-11-20T12:00:00Z");
        send(&stage, 2).await;
        later(&stage, 3).await;
        closed(&stage, "2026-12-01T02:00:00Z").await;
        set_clock(&stage, "2026-12-05T12:00:00Z");
        stage.tick().await;
        subscribe(&stage, json!({"plan_id": yen(&stage).await})).await;
        send(&stage, 1).await;
        let found = closed(&stage, "2027-01-01T02:00:00Z").await;
        let told = |row: &InvoiceView| (row.kind, row.month.clone(), row.total.amount_micros, row.total.currency.clone());
        assert_eq!(told(&found[0]), (InvoiceKind::Invoice, "2026-11".to_owned(), 48_000_000, "USD".to_owned()));
        assert_eq!(told(&found[1]), (InvoiceKind::Invoice, "2026-12".to_owned(), 2_800_000_000, "JPY".to_owned()));
        assert_eq!(told(&found[2]), (InvoiceKind::Correction, "2026-11".to_owned(), 27_000_000, "USD".to_owned()));
        assert_eq!((found[2].starts_at, found[2].ends_at), (found[0].starts_at, found[0].ends_at));
        assert_eq!(found[2].lines[0].description, "INV-000001: 3 sms messages more beyond what was included");
        assert_eq!((found[2].number.as_deref(), found[2].state), (Some("INV-000003"), InvoiceState::Issued));
        adds_up(&stage).await;
        // It is paid, taken back and billed again like another, and nothing of it comes twice.
        let again = issue(&stage, &bill_again(&stage, &found[2]).await).await;
        assert_eq!(told(&again), told(&found[2]));
        pay(&stage, &again).await;
        let found = closed(&stage, "2027-02-01T02:00:00Z").await;
        assert_eq!((found.len(), found[5].lines.len()), (6, 1));
        adds_up(&stage).await;
        // In another currency it puts nothing right.
        let turn = db.write(Scope::System, |tx| Box::pin(async move { tx.execute("UPDATE invoices SET currency = 'JPY' WHERE kind = 'correction' AND state = 'paid'", &[]).await }));
        assert_eq!(turn.await.unwrap(), 1);
        let told = engine::books::verify(&db.db).await.unwrap().differences;
        assert!(told.iter().any(|one| one.kind == "billing" && one.detail.contains("INV-000001: sms: 0 included and 2 beyond are billed, and 5 are said to be")), "{told:?}");
    }

    async fn what_a_price_list_charged_of_a_month_in_another_currency_is_billed_in_that(db: TestDb) {
        let stage = alone(&db, "2026-11-01T00:00:00Z", "UTC").await;
        set_clock(&stage, "2026-11-20T12:00:00Z");
        send(&stage, 1).await;
        later(&stage, 2).await;
        let first = closed(&stage, "2026-12-01T02:00:00Z").await.remove(0);
        pay(&stage, &first).await;
        buy(&stage, 20_000).await;
        mode(&stage, "none").await.unwrap();
        subscribe(&stage, json!({"plan_id": yen(&stage).await})).await;
        set_clock(&stage, "2026-12-05T12:00:00Z");
        stage.tick().await;
        let found = closed(&stage, "2027-01-01T02:00:00Z").await;
        assert_eq!((messages(&found[1]), found[1].total.currency.as_str()), (vec![], "JPY"));
        assert_eq!((messages(&found[2]), found[2].total.currency.as_str()), (vec![line("messages_correction", 20_000), line("credit", -20_000)], "USD"));
        assert_eq!((available(&stage).await, found[2].total.amount_micros), (0, 0));
        adds_up(&stage).await;
    }

    async fn what_was_taken_back_is_billed_again_and_nothing_twice(db: TestDb) {
        let stage = priced(&db, json!([])).await;
        mode(&stage, "postpaid").await.unwrap();
        set_clock(&stage, "2026-11-20T12:00:00Z");
        send(&stage, 8).await;
        later(&stage, 1).await;
        let first = closed(&stage, "2026-12-01T02:00:00Z").await.remove(0);
        set_clock(&stage, "2026-12-05T12:00:00Z");
        stage.tick().await;
        let second = closed(&stage, "2027-01-01T02:00:00Z").await.remove(1);
        assert_eq!(messages(&second), [line("messages_correction", 10_000)]);
        assert_eq!(available(&stage).await, -90_000);
        // Not paid yet, it is owed all the same.
        let draft = bill_again(&stage, &first).await;
        assert_eq!((&draft.lines, draft.state, draft.number.as_deref()), (&first.lines, InvoiceState::Draft, None));
        assert_eq!(available(&stage).await, -90_000);
        adds_up(&stage).await;
        let third = issue(&stage, &draft).await;
        assert!(on_paper(&stage, &third).await.contains("Replaces INV-000001"));
        pay(&stage, &third).await;
        pay(&stage, &second).await;
        assert_eq!(available(&stage).await, 0);
        // Paid, it is to be paid again.
        let draft = bill_again(&stage, &third).await;
        assert_eq!(available(&stage).await, -80_000);
        adds_up(&stage).await;
        let found = closed(&stage, "2027-02-01T02:00:00Z").await;
        assert_eq!(messages(found.last().unwrap()), [], "nothing of November comes again");
        // A draft that is dropped comes again, too.
        let fourth = issue(&stage, &bill_again(&stage, &draft).await).await;
        pay(&stage, &fourth).await;
        assert_eq!(available(&stage).await, 0);
        adds_up(&stage).await;
        // Given away for good.
        void(&stage, &fourth).await;
        let found = closed(&stage, "2027-03-01T02:00:00Z").await;
        let numbers: Vec<_> = found.iter().map(|row| row.number.as_deref().unwrap_or("none")).collect();
        assert_eq!(numbers, ["INV-000001", "INV-000002", "CN-000001", "INV-000003", "CN-000002", "none", "INV-000004", "INV-000005", "CN-000003", "INV-000006"]);
        assert_eq!((messages(found.last().unwrap()), available(&stage).await), (vec![], 0));
        adds_up(&stage).await;
        let turn = db.write(Scope::System, |tx| Box::pin(async move { tx.execute("UPDATE invoices SET body = REPLACE(body, '\"quantity\":8,', '\"quantity\":7,') WHERE number = 'INV-000005'", &[]).await }));
        assert_eq!(turn.await.unwrap(), 1);
        let told = engine::books::verify(&db.db).await.unwrap().differences;
        assert!(told.iter().any(|one| one.detail.contains("another one stands in its place and does not say the same")), "{told:?}");
    }

    async fn messages_are_charged_in_the_currency_of_the_plan(db: TestDb) {
        let stage = priced(&db, json!([])).await;
        let new = json!({"name": "Euro", "currency": "EUR", "monthly_fee_micros": 1_000_000});
        let new = serde_json::from_value(new).unwrap();
        let made = engine::plans::create(stage.engine.parts(), &operator(), &Repeat::NONE, new).await.unwrap();
        let made: Value = serde_json::from_slice(&made.body).unwrap();
        subscribe(&stage, json!({"plan_id": made["id"]})).await;
        for word in ["postpaid", "prepaid"] {
            let refused = mode(&stage, word).await.unwrap_err();
            assert_eq!(refused.errors[0].pointer, "/mode");
        }
        mode(&stage, "none").await.unwrap();
    }

    async fn credit_that_paid_for_messages_is_taken_off_the_invoice(db: TestDb) {
        let stage = priced(&db, json!([])).await;
        mode(&stage, "postpaid").await.unwrap();
        let grant = serde_json::from_value(json!({"amount_micros": 50_000, "expires_at": "2027-06-01T00:00:00Z", "reference": "welcome"})).unwrap();
        credits::grant(stage.engine.parts(), &stage.caller, &Repeat::NONE, grant).await.unwrap();
        set_clock(&stage, "2026-11-20T12:00:00Z");
        send(&stage, 8).await;
        assert_eq!(available(&stage).await, -30_000);
        let first = closed(&stage, "2026-12-01T02:00:00Z").await.remove(0);
        assert_eq!(messages(&first), [line("messages", 80_000), line("credit", -50_000)]);
        // While it is unpaid, what it asks for is not asked for again.
        set_clock(&stage, "2026-12-20T12:00:00Z");
        send(&stage, 2).await;
        let second = closed(&stage, "2027-01-01T02:00:00Z").await.remove(1);
        assert_eq!(messages(&second), [line("messages", 20_000)]);
        pay(&stage, &first).await;
        pay(&stage, &second).await;
        assert_eq!(available(&stage).await, 0);
        adds_up(&stage).await;
    }

    async fn what_was_paid_beforehand_is_not_billed_by_a_tenant_that_pays_afterwards_since(db: TestDb) {
        let stage = priced(&db, json!([])).await;
        mode(&stage, "prepaid").await.unwrap();
        buy(&stage, 100_000).await;
        set_clock(&stage, "2026-11-20T12:00:00Z");
        send(&stage, 6).await;
        mode(&stage, "postpaid").await.unwrap();
        let first = closed(&stage, "2026-12-01T02:00:00Z").await.remove(0);
        assert_eq!(messages(&first), [line("messages", 60_000), line("credit", -60_000)]);
        assert_eq!(available(&stage).await, 40_000);
        set_clock(&stage, "2026-12-20T12:00:00Z");
        send(&stage, 5).await;
        // What was accepted after the month's end is the next invoice's, and credit pays what was sent first.
        set_clock(&stage, "2027-01-01T00:30:00Z");
        send(&stage, 3).await;
        let second = closed(&stage, "2027-01-01T02:00:00Z").await.remove(1);
        assert_eq!(messages(&second), [line("messages", 50_000), line("credit", -40_000)]);
        pay(&stage, &first).await;
        pay(&stage, &second).await;
        assert_eq!(available(&stage).await, -30_000);
        adds_up(&stage).await;
    }

    async fn an_invoice_evens_out_what_is_owed_however_the_tenant_pays_by_then(db: TestDb) {
        let stage = priced(&db, json!([])).await;
        mode(&stage, "postpaid").await.unwrap();
        set_clock(&stage, "2026-11-20T12:00:00Z");
        send(&stage, 6).await;
        let first = closed(&stage, "2026-12-01T02:00:00Z").await.remove(0);
        mode(&stage, "prepaid").await.unwrap();
        pay(&stage, &first).await;
        assert_eq!(available(&stage).await, 0);
        mode(&stage, "postpaid").await.unwrap();
        set_clock(&stage, "2026-12-20T12:00:00Z");
        send(&stage, 2).await;
        let second = closed(&stage, "2027-01-01T02:00:00Z").await.remove(1);
        mode(&stage, "none").await.unwrap();
        set_clock(&stage, "2027-01-01T02:30:00Z");
        void(&stage, &second).await;
        assert_eq!(available(&stage).await, 0);
        let note = closed(&stage, "2027-01-01T03:00:00Z").await.remove(2);
        let text = on_paper(&stage, &note).await;
        assert!(text.contains(second.number.as_deref().unwrap()), "a credit note names what it takes back: {text}");
        adds_up(&stage).await;
    }

    async fn what_was_charged_is_billed_when_messages_are_charged_no_more(db: TestDb) {
        let stage = priced(&db, json!([])).await;
        mode(&stage, "postpaid").await.unwrap();
        set_clock(&stage, "2026-11-20T12:00:00Z");
        send(&stage, 6).await;
        mode(&stage, "none").await.unwrap();
        let first = closed(&stage, "2026-12-01T02:00:00Z").await.remove(0);
        assert_eq!(messages(&first), [line("messages", 60_000)]);
        pay(&stage, &first).await;
        assert_eq!(available(&stage).await, 0);
    }

    async fn what_is_sent_after_the_last_invoice_is_put_right_on_one_more(db: TestDb) {
        let stage = priced(&db, json!([{"channel": "sms", "included": 100}])).await;
        mode(&stage, "postpaid").await.unwrap();
        set_clock(&stage, "2026-11-20T12:00:00Z");
        for number in 0..4 {
            let to = json!({"phone": format!("+4915510{number:06}")});
            stage.send(json!({"to": to, "channel": "sms", "content": {"text": "Hello"}, "send_at": "2026-12-05T12:00:00Z"})).await;
        }
        subscribe(&stage, json!({"canceled_at": "2026-11-28T00:00:00Z"})).await;
        assert_eq!(closed(&stage, "2026-12-01T02:00:00Z").await.len(), 1);
        assert_eq!(subscribe(&stage, json!({})).await.next_invoice_at, None);
        set_clock(&stage, "2026-12-05T12:00:00Z");
        stage.tick().await;
        stage.dispatch().await;
        assert_eq!(available(&stage).await, -40_000);
        let found = closed(&stage, "2028-06-01T02:00:00Z").await;
        let told: Vec<_> = found.iter().map(|row| (row.lines.len(), row.net.amount_micros)).collect();
        // What stands on the second is what was put right; there is no other.
        assert_eq!((told.len(), told[1]), (2, (1, 40_000)));
        assert_eq!(messages(&found[1]), [line("messages_correction", 40_000)]);
        pay(&stage, &found[1]).await;
        assert_eq!(available(&stage).await, 0);
        // Whoever comes back is billed from then on.
        let again = subscribe(&stage, json!({ "canceled_at": null })).await;
        assert_eq!((again.billed_until, again.next_invoice_at.is_some()), ("2028-06-01T02:00:00Z".parse().unwrap(), true));
        adds_up(&stage).await;
    }

    async fn who_pays_afterwards_is_billed_by_the_price_list_alone(db: TestDb) {
        let stage = alone(&db, "2026-11-10T12:00:00Z", "America/Los_Angeles").await;
        let seen = subscribe(&stage, json!({"customer": {"name": "Acme Ltd", "email": "billing@acme.example"}})).await;
        assert_eq!((seen.plan, seen.next_invoice_at), (None, Some("2026-12-01T08:00:00Z".parse().unwrap())));
        set_clock(&stage, "2026-11-20T12:00:00Z");
        send(&stage, 3).await;
        let first = closed(&stage, "2026-12-01T10:00:00Z").await.remove(0);
        assert_eq!((first.month.as_str(), first.plan.as_deref(), first.number.as_deref()), ("2026-11", None, Some("INV-000001")));
        assert_eq!((first.starts_at, first.ends_at), ("2026-11-10T12:00:00Z".parse().unwrap(), "2026-12-01T08:00:00Z".parse().unwrap()));
        assert_eq!((first.total.currency.as_str(), first.customer.name.as_deref()), ("USD", Some("Acme Ltd")));
        assert_eq!((messages(&first), first.lines.len()), (vec![line("messages", 30_000)], 1));
        let text = on_paper(&stage, &first).await;
        assert!(text.contains("sms to DE by the price list 3 0.03 Total USD 0.03"), "{text}");
        // Where there is nothing, no invoice is made, and the next one reaches back.
        assert_eq!(closed(&stage, "2027-01-01T10:00:00Z").await.len(), 1);
        set_clock(&stage, "2027-01-20T12:00:00Z");
        send(&stage, 2).await;
        let second = closed(&stage, "2027-02-01T10:00:00Z").await.remove(1);
        assert_eq!((second.month.as_str(), second.starts_at, messages(&second)), ("2027-01", first.ends_at, vec![line("messages", 20_000)]));
        // Who does not pay is past due like anybody else.
        set_clock(&stage, "2027-02-16T10:00:00Z");
        assert_eq!(closing::note_overdue(&stage.engine).await.unwrap(), 1);
        let marketing = json!({"to": {"phone": "+4915510000001"}, "channel": "sms", "purpose": "marketing", "content": {"text": "Hello"}});
        set_clock(&stage, "2027-03-03T10:00:00Z");
        assert_eq!(stage.try_send(marketing, None).await.unwrap_err().code, "subscription_past_due");
        pay(&stage, &first).await;
        pay(&stage, &second).await;
        assert_eq!((available(&stage).await, subscribe(&stage, json!({})).await.past_due_since), (0, None));
        adds_up(&stage).await;
    }

    async fn an_invoice_after_months_without_anything_is_the_last_ones(db: TestDb) {
        let stage = alone(&db, "2026-08-30T09:31:32Z", "Pacific/Kiritimati").await;
        assert_eq!(closed(&stage, "2026-11-20T12:00:00Z").await.len(), 0);
        send(&stage, 2).await;
        let first = closed(&stage, "2026-12-01T12:00:00Z").await.remove(0);
        assert_eq!((first.month.as_str(), first.starts_at, first.ends_at), ("2026-11", "2026-08-30T09:31:32Z".parse().unwrap(), "2026-11-30T10:00:00Z".parse().unwrap()));
        assert_eq!(messages(&first), [line("messages", 20_000)]);
        void(&stage, &first).await;
        adds_up(&stage).await;
    }

    async fn who_pays_beforehand_without_a_plan_gets_no_invoice(db: TestDb) {
        let stage = alone(&db, "2026-11-01T00:00:00Z", "UTC").await;
        set_clock(&stage, "2026-11-05T12:00:00Z");
        send(&stage, 3).await;
        mode(&stage, "prepaid").await.unwrap();
        buy(&stage, 100_000).await;
        assert_eq!(subscribe(&stage, json!({})).await.next_invoice_at, None);
        send(&stage, 2).await;
        assert_eq!(closed(&stage, "2026-12-01T02:00:00Z").await.len(), 0);
        assert_eq!(available(&stage).await, 50_000);
        // Afterwards again: what credit does not pay is billed.
        mode(&stage, "postpaid").await.unwrap();
        set_clock(&stage, "2026-12-05T12:00:00Z");
        send(&stage, 6).await;
        let found = closed(&stage, "2027-01-01T02:00:00Z").await;
        assert_eq!((found.len(), found[0].net.amount_micros), (1, 10_000));
        pay(&stage, &found[0]).await;
        assert_eq!(available(&stage).await, 0);
        adds_up(&stage).await;
    }

    async fn a_plan_that_is_given_later_bills_from_then_on(db: TestDb) {
        let stage = alone(&db, "2026-11-01T00:00:00Z", "UTC").await;
        set_clock(&stage, "2026-11-05T12:00:00Z");
        send(&stage, 3).await;
        set_clock(&stage, "2026-11-16T00:00:00Z");
        let plan = crate::plans::plan(&stage, json!([{"channel": "sms", "included": 1, "overage_micros": 20_000}])).await;
        subscribe(&stage, json!({ "plan_id": plan })).await;
        set_clock(&stage, "2026-11-20T12:00:00Z");
        send(&stage, 2).await;
        let first = closed(&stage, "2026-12-01T02:00:00Z").await.remove(0);
        let told: Vec<_> = first.lines.iter().map(|line| (line.description.as_str(), line.quantity, line.amount_micros)).collect();
        let expected = [
            ("Studio, a month (2026-11-16 to 2026-11-30)", 1, 15_000_000), ("sms: 1 of 1 included messages", 1, 0),
            ("sms to DE beyond the 1 included", 1, 20_000), ("sms to DE by the price list", 5, 50_000),
        ];
        assert_eq!((told, first.starts_at), (expected.to_vec(), "2026-11-01T00:00:00Z".parse().unwrap()));
        let second = closed(&stage, "2027-01-01T02:00:00Z").await.remove(1);
        assert!(second.lines.iter().all(|line| !line.description.contains("INV-000001")), "{:?}", second.lines);
    }

    async fn who_paid_ahead_is_billed_from_its_first_plan_on(db: TestDb) {
        let stage = ahead(&db).await;
        let plan = crate::plans::plan(&stage, json!([])).await;
        let seen = subscribe(&stage, json!({ "plan_id": plan })).await;
        let (begins, ends) = ("2026-11-10T12:00:00Z".parse().unwrap(), "2026-12-01T00:00:00Z".parse().unwrap());
        assert_eq!((seen.billed_until, seen.next_invoice_at), (begins, Some(ends)));
        adds_up(&stage).await;
        set_clock(&stage, "2026-11-20T12:00:00Z");
        send(&stage, 2).await;
        let first = closed(&stage, "2026-12-01T02:00:00Z").await.remove(0);
        assert_eq!((first.starts_at, first.ends_at), (begins, ends));
        assert_eq!(messages(&first), [line("messages", 20_000), line("credit", -20_000)]);
        adds_up(&stage).await;
    }

    async fn who_paid_ahead_and_pays_afterwards_is_billed_from_then_on(db: TestDb) {
        let stage = ahead(&db).await;
        mode(&stage, "postpaid").await.unwrap();
        adds_up(&stage).await;
        set_clock(&stage, "2026-11-20T12:00:00Z");
        send(&stage, 9).await;
        // What is changed besides is no new beginning.
        mode(&stage, "postpaid").await.unwrap();
        let first = closed(&stage, "2026-12-01T02:00:00Z").await.remove(0);
        let billed = vec![line("messages", 90_000), line("credit", -70_000)];
        assert_eq!((first.starts_at, messages(&first)), ("2026-11-10T12:00:00Z".parse().unwrap(), billed));
        adds_up(&stage).await;
    }

    async fn who_begins_to_pay_afterwards_before_a_month_is_closed_is_billed_by_the_next(db: TestDb) {
        let stage = unplanned(&db, "2026-08-10T12:00:00Z", "UTC").await;
        subscribe(&stage, json!({"customer": {"name": "Acme Ltd"}})).await;
        set_clock(&stage, "2026-09-01T00:30:00Z");
        mode(&stage, "postpaid").await.unwrap();
        let seen = subscribe(&stage, json!({})).await;
        let (begins, ends) = ("2026-09-01T00:30:00Z".parse().unwrap(), "2026-10-01T00:00:00Z".parse().unwrap());
        assert_eq!((seen.billed_until, seen.next_invoice_at), (begins, Some(ends)));
        adds_up(&stage).await;
        // Months with nothing to bill, and then a plan: its first invoice reaches back.
        assert_eq!(closed(&stage, "2026-11-10T12:00:00Z").await.len(), 0);
        let plan = crate::plans::plan(&stage, json!([])).await;
        assert_eq!(subscribe(&stage, json!({ "plan_id": plan })).await.billed_until, begins);
        adds_up(&stage).await;
    }

    async fn who_paid_afterwards_before_such_tenants_were_billed_is_billed_by_the_running_month(db: TestDb) {
        let stage = alone(&db, "2026-10-05T00:00:00Z", "UTC").await;
        set_clock(&stage, "2026-10-20T12:00:00Z");
        send(&stage, 4).await;
        set_clock(&stage, "2026-11-05T12:00:00Z");
        send(&stage, 2).await;
        let tenant = stage.tenant;
        let forget = db.write(store::Scope::System, move |tx| Box::pin(async move { tx.execute("DELETE FROM subscriptions WHERE tenant_id = $1", &[&tenant]).await }));
        assert_eq!(forget.await.unwrap(), 1);
        assert_eq!(closed(&stage, "2026-11-06T12:00:00Z").await.len(), 0);
        let first = closed(&stage, "2026-12-01T02:00:00Z").await.remove(0);
        assert_eq!((first.starts_at, messages(&first)), ("2026-11-01T00:00:00Z".parse().unwrap(), vec![line("messages", 20_000)]));
        pay(&stage, &first).await;
        assert_eq!(available(&stage).await, -40_000, "what was used before stays what it owes");
    }

    async fn what_a_deleted_tenant_used_is_billed_up_to_that_instant(db: TestDb) {
        let stage = priced(&db, json!([{"channel": "sms", "included": 1, "overage_micros": 10_000}])).await;
        let kept = crate::hooks::neighbour(&stage).await;
        mode(&stage, "postpaid").await.unwrap();
        set_clock(&stage, "2026-11-20T12:00:00Z");
        send(&stage, 4).await;
        // November has ended and is not closed yet.
        set_clock(&stage, "2026-12-01T00:30:00Z");
        send(&stage, 2).await;
        set_clock(&stage, "2026-12-11T00:00:00Z");
        delete(&stage).await;
        let found = everybodys(&kept).await;
        let told: Vec<_> = found.iter().map(|row| (row.number.as_deref(), row.ends_at.to_string(), row.net.amount_micros)).collect();
        let at = |text: &str| text.parse::<model::Timestamp>().unwrap().to_string();
        let (whole, part) = (30_000_000 + 30_000 + 40_000, 9_680_000 + 10_000 + 20_000);
        assert_eq!(told, [(Some("INV-000001"), at("2026-12-01T00:00:00Z"), whole), (Some("INV-000002"), at("2026-12-11T00:00:00Z"), part)]);
        assert_eq!(found[1].lines[0].description, "Studio, a month (2026-12-01 to 2026-12-10)");
        adds_up(&kept).await;
        // They are paid, taken back and printed like any other.
        pay(&kept, &found[0]).await;
        void(&kept, &found[1]).await;
        let after = everybodys(&kept).await;
        assert_eq!(after.iter().map(|row| row.state.as_str()).collect::<Vec<_>>(), ["paid", "void", "paid"]);
        let (_, pdf) = invoices::printing::document(&kept.engine, &operator(), after[2].id).await.unwrap();
        assert!(pdf.starts_with(b"%PDF-"));
        // The operator's log tells of it, and whose they were.
        let asked = serde_json::from_value(json!({"tenant_id": stage.tenant, "about": "invoice"})).unwrap();
        let told = engine::audit::search(kept.engine.parts(), &operator(), &asked).await.unwrap().data;
        let told: Vec<_> = told.iter().map(|entry| (entry.action.as_str(), entry.tenant.as_ref().unwrap().name.as_str())).collect();
        assert_eq!(told, ["invoice.issued", "invoice.voided", "invoice.paid", "invoice.issued", "invoice.issued"].map(|action| (action, "Acme")));
        adds_up(&kept).await;
    }

    async fn who_pays_afterwards_without_a_plan_is_billed_when_it_is_deleted(db: TestDb) {
        let stage = alone(&db, "2026-11-01T00:00:00Z", "UTC").await;
        let other = crate::hooks::neighbour(&stage).await;
        other.account("sandbox", json!({}), None).await;
        mode(&other, "prepaid").await.unwrap();
        buy(&other, 100_000).await;
        set_clock(&stage, "2026-11-20T12:00:00Z");
        send(&stage, 4).await;
        send(&other, 1).await;
        delete(&stage).await;
        delete(&other).await;
        let found = everybodys(&other).await;
        assert_eq!((found.len(), found[0].tenant_id, messages(&found[0])), (1, stage.tenant, vec![line("messages", 40_000)]));
    }

    async fn what_is_charged_later_for_a_month_that_was_taken_back_is_to_be_paid(db: TestDb) {
        let stage = priced(&db, json!([{"channel": "sms", "included": 0, "overage_micros": 10_000}])).await;
        mode(&stage, "postpaid").await.unwrap();
        set_clock(&stage, "2026-11-20T12:00:00Z");
        send(&stage, 4).await;
        let late = json!({"to": {"phone": "+4915510000009"}, "channel": "sms", "content": {"text": "Hello"}, "send_at": "2026-12-05T12:00:00Z"});
        stage.send(late).await;
        let first = closed(&stage, "2026-12-01T02:00:00Z").await.remove(0);
        void(&stage, &first).await;
        assert_eq!(available(&stage).await, -10_000, "what is set aside");
        set_clock(&stage, "2026-12-05T12:00:00Z");
        stage.tick().await;
        stage.dispatch().await;
        let found = closed(&stage, "2027-01-01T02:00:00Z").await;
        let second = &found[2];
        assert_eq!((messages(second), second.lines.len()), (vec![line("messages_correction", 10_000)], 2));
        pay(&stage, second).await;
        assert_eq!(available(&stage).await, 0);
        adds_up(&stage).await;
    }

    async fn what_was_sent_before_there_was_a_plan_is_not_billed_by_it(db: TestDb) {
        let stage = subscribed(&db, "2026-11-01T00:00:00Z", "UTC", json!([])).await;
        let other = crate::hooks::neighbour(&stage).await;
        other.account("sandbox", json!({}), None).await;
        set_clock(&stage, "2026-11-20T12:05:00Z");
        send(&other, 5).await;
        set_clock(&stage, "2026-11-20T12:10:00Z");
        let plan = crate::plans::plan(&stage, json!([{"channel": "sms", "included": 0, "overage_micros": 10_000}])).await;
        subscribe(&other, json!({ "plan_id": plan })).await;
        set_clock(&stage, "2026-11-20T13:00:00Z");
        send(&other, 2).await;
        let first = closed(&other, "2026-12-01T02:00:00Z").await.remove(0);
        let sent: i64 = first.lines.iter().filter(|line| line.channel.is_some()).map(|line| line.quantity).sum();
        assert_eq!((first.starts_at, sent), ("2026-11-20T12:10:00Z".parse().unwrap(), 2));
    }

    async fn what_is_sent_from_the_instant_on_in_which_a_plan_begins_is_billed(db: TestDb) {
        begins(&db, "UTC").await;
    }

    async fn so_it_is_where_sums_are_kept_by_the_quarter(db: TestDb) {
        begins(&db, "Asia/Kathmandu").await;
    }

    async fn what_was_priced_before_the_currency_changed_is_billed_in_that_once(db: TestDb) {
        let stage = priced_in_dollars(&db).await;
        subscribe(&stage, json!({"plan_id": yen(&stage).await})).await;
        let told = |row: &InvoiceView| (row.kind, row.month.clone(), row.total.currency.clone(), messages(row));
        let month = |name: &str| (InvoiceKind::Invoice, name.to_owned(), "JPY".to_owned(), vec![]);
        let apart = |messages, credit| {
            let lines = vec![line("messages_correction", messages), line("credit", credit)];
            (InvoiceKind::Correction, "2026-11".to_owned(), "USD".to_owned(), lines)
        };
        let found = closed(&stage, "2026-12-01T02:00:00Z").await;
        assert_eq!(found.iter().map(told).collect::<Vec<_>>(), [month("2026-11"), apart(10_000, -10_000)]);
        assert_eq!(found[1].lines[0].description, "2026-11: sms to DE by the price list, put right");
        adds_up(&stage).await;
        // What was set aside is sent after the change, and credit reaches for half of it.
        let fee = serde_json::from_value(json!({"amount_micros": -10_000, "reason": "a fee", "may_overdraw": true})).unwrap();
        credits::adjust(stage.engine.parts(), &stage.caller, &Repeat::NONE, fee).await.unwrap();
        set_clock(&stage, "2026-12-05T12:00:00Z");
        stage.tick().await;
        stage.dispatch().await;
        let found = closed(&stage, "2027-01-01T02:00:00Z").await;
        assert_eq!(found[2..].iter().map(told).collect::<Vec<_>>(), [month("2026-12"), apart(20_000, -10_000)]);
        pay(&stage, &found[3]).await;
        assert_eq!(available(&stage).await, 0);
        adds_up(&stage).await;
        let found = closed(&stage, "2027-02-01T02:00:00Z").await;
        assert_eq!(found[4..].iter().map(told).collect::<Vec<_>>(), [month("2027-01")]);
        // What stands on no bill is found.
        let turn = db.write(Scope::System, |tx| Box::pin(async move { tx.execute("DELETE FROM invoices WHERE number = 'INV-000004'", &[]).await }));
        assert_eq!(turn.await.unwrap(), 1);
        let told = engine::books::verify(&db.db).await.unwrap().differences;
        assert!(told.iter().any(|one| one.kind == "billing" && one.detail.contains("INV-000001: its lines and those that put it right come to 10000 by the price list, and 30000 is said to be billed")), "{told:?}");
    }

    async fn what_was_priced_before_a_plan_whose_end_is_said_for_before_its_month_is_billed_in_its_currency(db: TestDb) {
        let stage = priced_in_dollars(&db).await;
        subscribe(&stage, json!({"plan_id": yen(&stage).await, "canceled_at": "2026-10-31T12:00:00Z"})).await;
        let told = |row: &InvoiceView| (row.kind, row.month.clone(), row.plan.clone(), row.total.currency.clone(), messages(row));
        let of = |kind, word, amount| (kind, "2026-11".to_owned(), None, "USD".to_owned(), vec![line(word, amount), line("credit", -amount)]);
        let found = closed(&stage, "2026-12-01T02:00:00Z").await;
        assert_eq!(found.iter().map(told).collect::<Vec<_>>(), [of(InvoiceKind::Invoice, "messages", 10_000)]);
        adds_up(&stage).await;
        // What was accepted before leaves after, and is put right like that of any other month, once.
        set_clock(&stage, "2026-12-05T12:00:00Z");
        stage.tick().await;
        stage.dispatch().await;
        let found = closed(&stage, "2027-03-01T02:00:00Z").await;
        assert_eq!(found[1..].iter().map(told).collect::<Vec<_>>(), [of(InvoiceKind::Correction, "messages_correction", 20_000)]);
        assert_eq!((found[1].lines[0].description.as_str(), available(&stage).await), ("INV-000001: sms to DE by the price list, put right", 0));
        adds_up(&stage).await;
    }

    async fn the_first_minutes_of_a_plan_are_counted_again_only_when_more_is_sent_of_them(db: TestDb) {
        let stage = subscribed(&db, "2026-11-20T12:07:00Z", "UTC", json!([{"channel": "sms", "included": 0, "overage_micros": 10_000}])).await;
        send(&stage, 2).await;
        let late = json!({"to": {"phone": "+4915510000009"}, "channel": "sms", "content": {"text": "Hello"}, "send_at": "2027-01-05T12:00:00Z"});
        stage.send(late).await;
        let billed = |invoice: &InvoiceView| {
            let lines = invoice.lines.iter().filter(|line| line.channel.is_some() && line.quantity != 0);
            lines.map(|line| (line.quantity, line.amount_micros)).collect::<Vec<_>>()
        };
        let first = closed(&stage, "2026-12-01T02:00:00Z").await.remove(0);
        assert_eq!(billed(&first), [(2, 20_000)]);
        adds_up(&stage).await;
        // Behind the sums' back they were accepted before there was the plan: whoever counted them again would take them off.
        let accepted = async |at: &str| {
            let at: model::Timestamp = at.parse().unwrap();
            let sql = "UPDATE messages SET created_at = $1 WHERE send_at IS NULL";
            let shift = db.write(Scope::System, move |tx| Box::pin(async move { tx.execute(sql, &[&at]).await }));
            assert_eq!(shift.await.unwrap(), 2);
        };
        accepted("2026-11-20T12:06:00Z").await;
        let second = closed(&stage, "2027-01-01T02:00:00Z").await.remove(1);
        assert_eq!(billed(&second), []);
        let told = engine::books::verify(&db.db).await.unwrap().differences;
        let counted = "2 sent and 0 charged 0 are said to be billed, and 0 sent and 0 charged 0 were counted";
        assert!(told.iter().any(|one| one.kind == "billing" && one.detail.contains(counted)), "the check counts: {told:?}");
        accepted("2026-11-20T12:07:00Z").await;
        set_clock(&stage, "2027-01-05T12:00:00Z");
        stage.tick().await;
        stage.dispatch().await;
        let third = closed(&stage, "2027-02-01T02:00:00Z").await.remove(2);
        assert_eq!(billed(&third), [(1, 10_000)]);
        adds_up(&stage).await;
        let fourth = closed(&stage, "2027-03-01T02:00:00Z").await.remove(3);
        assert_eq!(billed(&fourth), []);
        adds_up(&stage).await;
    }

    async fn what_was_given_away_is_billed_after_all(db: TestDb) {
        let stage = priced(&db, json!([{"channel": "sms", "included": 1, "overage_micros": 20_000}])).await;
        mode(&stage, "postpaid").await.unwrap();
        set_clock(&stage, "2026-11-20T12:00:00Z");
        send(&stage, 3).await;
        later(&stage, 1).await;
        let first = closed(&stage, "2026-12-01T02:00:00Z").await.remove(0);
        assert_eq!(bill_after_all(&stage, &first).await.unwrap_err().code, "invoice_state");
        void(&stage, &first).await;
        assert_eq!(available(&stage).await, -10_000, "what is set aside");
        set_clock(&stage, "2026-12-05T12:00:00Z");
        stage.tick().await;
        stage.dispatch().await;
        let second = closed(&stage, "2027-01-01T02:00:00Z").await.remove(2);
        assert_eq!((messages(&second), second.lines.len()), (vec![line("messages_correction", 10_000)], 3));
        adds_up(&stage).await;
        let draft = bill_after_all(&stage, &first).await.unwrap();
        assert_eq!((&draft.lines, draft.replaces_id, draft.state), (&first.lines, Some(first.id), InvoiceState::Draft));
        assert_eq!(available(&stage).await, -40_000);
        assert_eq!(bill_after_all(&stage, &first).await.unwrap_err().code, "invoice_billed_again");
        let log = engine::audit::list(stage.engine.parts(), &stage.caller, Some(1), None).await.unwrap().data;
        assert_eq!((log[0].action.as_str(), &log[0].detail["of_number"]), ("invoice.billed_again", &json!("INV-000001")));
        adds_up(&stage).await;
        // A draft that was dropped is billed after all like any other.
        void(&stage, &draft).await;
        let third = issue(&stage, &bill_after_all(&stage, &draft).await.unwrap()).await;
        assert_eq!(bill_after_all(&stage, &first).await.unwrap_err().code, "invoice_billed_again");
        pay(&stage, &third).await;
        pay(&stage, &second).await;
        assert_eq!(available(&stage).await, 0);
        adds_up(&stage).await;
        // What was sent beyond the plan while it was given away is put right now.
        let found = closed(&stage, "2027-02-01T02:00:00Z").await;
        let last = found.last().unwrap();
        let right = &last.lines[last.lines.len() - 1];
        assert_eq!((right.description.as_str(), right.amount_micros), ("INV-000003: 1 sms messages more beyond what was included", 20_000));
        adds_up(&stage).await;
        // Paid, taken back and billed after all, it is to be paid again.
        void(&stage, &third).await;
        assert_eq!(available(&stage).await, 0);
        bill_after_all(&stage, &third).await.unwrap();
        assert_eq!(available(&stage).await, -30_000);
        adds_up(&stage).await;
    }
}
