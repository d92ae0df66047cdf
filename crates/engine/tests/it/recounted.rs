//! Every difference is told: one at a time is planted in each column that says something of money, in a busy installation in which nothing is wrong, on both engines.

mod plants;

use std::collections::{BTreeMap, BTreeSet};

use engine::{
    books::{self, Verified},
    invoices::{self, InvoiceView, InvoicesQuery, closing, digest, settings},
    keys::Caller,
    money::{credits, prices},
    once::Repeat,
    tenants,
};
use model::{MessageId, TenantId};
use serde_json::{Value, json};
use store::{Scope, recounts};
use testkit::{Stage, TestDb};

use self::plants::{
    Ahead, BILLS, Billed, CHARGES, ELSE, IN_ROWS, LEDGERS, NOTHING, OTHER, Operator, PURCHASES, Plant, SUMS, WORDS,
    Whose, other, p,
};
use crate::{
    hooks,
    plans::{plan, set_clock, subscribe},
    purchases::Shop,
    templates,
};

const M: i64 = 1_000_000;
const CARD: &str = "4242424242424242";
/// A card whose refunds fail.
const NO_REFUNDS: &str = "4000000000005126";
/// A number the sandbox refuses.
const REFUSED: &str = "+15005550001";

fn operator() -> Caller {
    Caller::system(None)
}

/// Lets three minutes go by, in which everything that was sent comes to its end.
async fn pass(stage: &Stage) {
    stage.tick().await;
    for _ in 0..6 {
        stage.world.clock.advance_ms(30_000);
        stage.tick().await;
    }
}

fn to(phone: &str) -> Value {
    json!({"to": {"phone": phone}, "channel": "sms", "content": {"text": "Hello"}})
}

fn both_ways(phone: &str, after_s: Option<u32>) -> Value {
    let mut new = json!({
        "to": {"phone": phone, "email": "ada@example.com"}, "channel": ["sms", "email"], "content": {"subject": "Hi", "text": "Hello"},
    });
    if let Some(after_s) = after_s {
        new["fallback_after_s"] = json!(after_s);
    }
    new
}

/// An installation in which much has happened and nothing is wrong.
struct World {
    shop: Shop,
    billed: Stage,
    gone: TenantId,
}

impl World {
    async fn new(db: &TestDb) -> Self {
        let shop = Shop::open(db).await;
        set_clock(&shop.stage, "2026-11-01T00:00:00Z");
        let rows = json!([
            {"channel": "sms", "unit": "segment", "amount_micros": 10_000}, {"channel": "sms", "prefix": "91", "unit": "segment", "amount_micros": 4_000},
            {"channel": "email", "unit": "thousand", "cost_micros": 2_401_000, "markup_basis_points": 2_500},
        ]);
        let list = serde_json::from_value(json!({"currency": "USD", "rows": rows})).unwrap();
        prices::create(shop.parts(), &operator(), &Repeat::NONE, list).await.unwrap();
        let rest = serde_json::from_value(
            json!({"currency": "EUR", "rows": [{"channel": "sms", "unit": "message", "amount_micros": 1}]}),
        )
        .unwrap();
        prices::create(shop.parts(), &operator(), &Repeat::NONE, rest).await.unwrap();
        shop.stage.account("sandbox", json!({}), None).await;
        let taxes = json!({"taxes": [{"name": "VAT", "rate_ppm": 190_000}], "seller": {"name": "Host"}, "credit_taxed": "at_purchase"});
        settings::patch(shop.parts(), &operator(), serde_json::from_value(taxes).unwrap()).await.unwrap();
        let billed = hooks::neighbour(&shop.stage).await;
        let gone = hooks::neighbour(&shop.stage).await;
        // Of an earlier Tidings there are no invoices; that is looked for from now on.
        assert_eq!(digest::record_earlier(&billed.engine).await.unwrap(), 0);
        let world = Self { gone: gone.tenant, shop, billed };
        world.pay(db).await;
        world.send(&gone).await;
        world
    }

    /// Purchases in every state, given back and disputed, grants, and adjustments.
    async fn pay(&self, db: &TestDb) {
        let shop = &self.shop;
        let paid = shop.buy(20 * M).await;
        shop.on_page(&paid, "paid", CARD);
        shop.tell().await;
        shop.jobs().await;
        let back = |of: &Value, micros: i64, why: &str| json!({"amount_micros": micros, "reason": why, "purchase_id": of["id"]});
        shop.refund(back(&paid, 4 * M, "closed")).await.unwrap();
        shop.jobs().await;
        let payment = crate::setting::column(db, "SELECT payment FROM credit_purchases").await;
        shop.at_stripe("dashboard/refunds", &format!("payment_intent={payment}&amount=300"));
        shop.at_stripe(
            "bank/disputes",
            &format!("payment_intent={payment}&outcome=disputed&amount=200&reason=duplicate"),
        );
        shop.tell().await;
        shop.jobs().await;
        shop.at_stripe("bank/disputes", &format!("payment_intent={payment}&outcome=lost"));
        shop.tell().await;
        shop.jobs().await;
        let fails = shop.buy(5 * M).await;
        shop.on_page(&fails, "paid", NO_REFUNDS);
        shop.tell().await;
        shop.refund(back(&fails, 2 * M, "moved")).await.unwrap();
        for _ in 0..2 {
            shop.jobs().await;
            shop.tell().await;
        }
        shop.buy(7 * M).await;
        let at_bank = shop.try_buy(json!({"amount_micros": 6 * M, "reference": "bank"}), None).await.unwrap();
        shop.refund(back(&at_bank, M, "too much")).await.unwrap();
        let parts = shop.parts();
        for (amount, ends) in
            [(2 * M, "2026-11-10T00:00:00Z"), (40_000, "2027-12-01T00:00:00Z"), (9_000, "2027-11-01T00:00:00Z")]
        {
            let grant = json!({"amount_micros": amount, "reference": format!("welcome {amount}"), "expires_at": ends});
            credits::grant(parts, &shop.stage.caller, &Repeat::NONE, serde_json::from_value(grant).unwrap())
                .await
                .unwrap();
        }
        for amount in [-50_000, 30_000] {
            let new = serde_json::from_value(json!({"amount_micros": amount, "reason": "a gift"})).unwrap();
            credits::adjust(parts, &shop.stage.caller, &Repeat::NONE, new).await.unwrap();
        }
    }

    /// Messages that went one way and another, or not; three months of one tenant, and one of another that is gone now.
    async fn send(&self, gone: &Stage) {
        let (ahead, billed) = (&self.shop.stage, &self.billed);
        for other in [billed, gone] {
            other.account("sandbox", json!({}), None).await;
        }
        let mode = serde_json::from_value(json!({"mode": "postpaid"})).unwrap();
        credits::patch(ahead.engine.parts(), &billed.caller, mode).await.unwrap();
        let allowances =
            json!([{"channel": "sms", "included": 2, "overage_micros": 10_000}, {"channel": "email", "included": 10}]);
        let studio = plan(billed, allowances).await;
        subscribe(billed, json!({"plan_id": studio, "customer": {"country": "DE", "email": "billing@acme.example"}}))
            .await;
        subscribe(gone, json!({"plan_id": studio})).await;
        let greets = json!({"en": {"subject": "Hi", "text": "Hello"}});
        let template = templates::published(ahead, "hello", greets).await;
        for (at, phone) in [
            ("2026-11-05T12:05:00Z", "+4915112345678"),
            ("2026-11-12T09:50:00Z", "+919800000001"),
            ("2026-11-20T12:00:00Z", "+15550100001"),
        ] {
            set_clock(ahead, at);
            for stage in [ahead, billed, gone] {
                stage.send(to(phone)).await;
                stage.send(to("+33612345678")).await;
            }
            ahead.send(both_ways(REFUSED, None)).await;
            ahead.send(both_ways("+15005550009", Some(60))).await;
            ahead.send(json!({"to": {"email": "ada@example.com"}, "template": {"id": template}})).await;
            billed.send(both_ways("+15005550009", Some(60))).await;
            billed.send(to("+15005550002")).await;
            billed.send(json!({"to": {"email": "ada@example.com"}, "channel": "email", "content": {"subject": "Hi", "text": "Hello"}})).await;
            let long = "Hello ".repeat(60);
            ahead.send(json!({"to": {"phone": phone}, "channel": "sms", "content": {"text": long}})).await;
            pass(ahead).await;
            self.expire(ahead).await;
        }
        // What was accepted in November and leaves in December is put right on the next bill.
        for stage in [ahead, billed] {
            let mut later = to("+4915112345679");
            later["send_at"] = json!("2026-12-15T12:00:00Z");
            stage.send(later.clone()).await;
            let withdrawn = stage.send(later).await;
            stage.engine.cancel(&stage.caller, &Repeat::NONE, withdrawn).await.unwrap();
        }
        let first = self.close("2026-12-01T02:00:00Z").await.remove(0);
        let paid = serde_json::from_value(json!({"reference": "transfer"})).unwrap();
        invoices::pay(&billed.engine, &operator(), &Repeat::NONE, first.id, paid).await.unwrap();
        set_clock(ahead, "2026-12-15T12:00:00Z");
        ahead.tick().await;
        for number in 0..4 {
            billed.send(to(&format!("+491511234568{number}"))).await;
        }
        pass(ahead).await;
        let second = self.close("2027-01-01T02:00:00Z").await.remove(1);
        let why = serde_json::from_value(json!({"reason": "a mistake"})).unwrap();
        invoices::void(&billed.engine, &operator(), &Repeat::NONE, second.id, why).await.unwrap();
        set_clock(ahead, "2027-01-10T12:00:00Z");
        for number in 0..3 {
            billed.send(to(&format!("+491511234569{number}"))).await;
        }
        pass(ahead).await;
        self.close("2027-02-01T02:00:00Z").await;
        let by_hand = serde_json::from_value(json!({"issues_by_itself": false})).unwrap();
        settings::patch(ahead.engine.parts(), &operator(), by_hand).await.unwrap();
        self.close("2027-03-01T02:00:00Z").await;
        assert_eq!(
            closing::note_overdue(&ahead.engine).await.unwrap(),
            2,
            "who pays afterwards, and the one that is gone soon"
        );
        assert_eq!(digest::record_earlier(&ahead.engine).await.unwrap(), 0, "each was told of when it was issued");
        // Accepted together: one goes another way after it was sent, one is withdrawn, one is sent.
        for stage in [ahead, billed] {
            let mut later = to("+4915112345602");
            later["send_at"] = json!("2027-06-01T12:00:00Z");
            let messages = json!({"messages": [to("+4915112345601"), both_ways("+15005550009", Some(60)), later]});
            let reply = stage.engine.send_batch(&stage.caller, messages.to_string().as_bytes(), None).await.unwrap();
            let reply: Value = serde_json::from_slice(&reply.body).unwrap();
            let last = reply["data"][2]["id"].as_str().unwrap().parse().unwrap();
            stage.engine.cancel(&stage.caller, &Repeat::NONE, last).await.unwrap();
        }
        pass(ahead).await;
        // Under way, with what was set aside for it.
        for stage in [ahead, billed] {
            let mut later = to("+4915112345600");
            later["send_at"] = json!("2027-06-01T12:00:00Z");
            stage.send(later).await;
        }
        tenants::delete(ahead.engine.parts(), &operator(), gone.tenant).await.unwrap();
    }

    async fn expire(&self, stage: &Stage) {
        credits::expire_grants(&stage.engine).await.unwrap();
    }

    /// Closes what ended by an instant, and answers the invoices of the tenant with a plan, the oldest first.
    async fn close(&self, at: &str) -> Vec<InvoiceView> {
        set_clock(&self.billed, at);
        while closing::run(&self.billed.engine).await.unwrap() > 0 {}
        let page = invoices::list(&self.billed.engine, &self.billed.caller, &InvoicesQuery::default()).await.unwrap();
        page.data.into_iter().rev().collect()
    }

    fn tenant(&self, whose: Whose) -> Option<TenantId> {
        match whose {
            Ahead => Some(self.shop.stage.tenant),
            Billed => Some(self.billed.tenant),
            Operator => None,
        }
    }
}

async fn verify(db: &TestDb) -> Verified {
    books::verify(db).await.unwrap()
}

/// Runs statements in one transaction, behind the engine's back. Answers how many rows the last one changed.
async fn run(db: &TestDb, statements: Vec<String>) -> Result<u64, store::Error> {
    db.write(Scope::System, move |tx| {
        Box::pin(async move {
            let mut changed = 0;
            for sql in statements {
                changed = tx.execute(&sql, &[]).await?;
            }
            Ok(changed)
        })
    })
    .await
}

/// What messages were charged that say it in their own rows, as rows of `message_charges`.
fn rows_of_their_own(db: &TestDb) -> String {
    let charge = if db.engine == "sqlite" { "charge" } else { "charge::JSON" };
    let number = |name: &str| format!("CAST({charge} ->> '{name}' AS BIGINT)");
    let or_none = |name: &str| format!("COALESCE({}, 0)", number(name));
    format!(
        "INSERT INTO message_charges (tenant_id, message_id, list_version, unit, is_per_segment, per, cost_unit, category, units, quoted, promo, charged_before, charged, state)
        SELECT tenant_id, id, {}, {}, FALSE, {}, {}, '', {}, {quoted}, {}, 0, {quoted}, 'settled' FROM messages WHERE charge IS NOT NULL",
        number("list_version"),
        number("unit"),
        or_none("per"),
        number("cost_unit"),
        or_none("units"),
        or_none("promo"),
        quoted = number("quoted"),
    )
}

/// Plants a difference, lets `look` see it, and takes it back.
async fn with(db: &TestDb, table: &str, sql: String) -> Result<Verified, String> {
    // Made once for each table: after every change of the schema both engines plan each statement anew.
    let keep = vec![
        format!("CREATE TABLE IF NOT EXISTS kept_{table} AS SELECT * FROM {table} WHERE FALSE"),
        format!("DELETE FROM kept_{table}"),
        format!("INSERT INTO kept_{table} SELECT * FROM {table}"),
    ];
    run(db, keep).await.unwrap();
    let planted = run(db, vec![sql.clone()]).await;
    let seen = match planted {
        Ok(0) => Err("nothing was changed".to_owned()),
        Ok(_) => books::verify(db).await.map_err(|error| error.detail),
        Err(error) => Err(error.to_string()),
    };
    let back = vec![format!("DELETE FROM {table}"), format!("INSERT INTO {table} SELECT * FROM kept_{table}")];
    run(db, back).await.unwrap();
    seen
}

/// A difference as a statement.
fn statement(db: &TestDb, world: &World, plant: &Plant) -> String {
    let Plant { table, column, set, only, whose, .. } = plant;
    let of = match world
        .tenant(*whose)
        .filter(|_| !["invoice_series", "price_lists", "plans", "billing_settings"].contains(table))
    {
        Some(tenant) => format!(" AND tenant_id = {}", literal(db, tenant)),
        None => String::new(),
    };
    match *column {
        "" => format!("DELETE FROM {table} WHERE {only}{of}"),
        column => format!("UPDATE {table} SET {column} = {set} WHERE {only}{of}"),
    }
}

/// Plants each difference by itself, and expects that it is told as what it is, of whom it is.
async fn plant_each(db: &TestDb, world: &World, plants: &[Plant]) {
    let mut overlooked = Vec::new();
    for plant in plants {
        let Plant { table, kind, whose, .. } = plant;
        let (tenant, sql) = (world.tenant(*whose), statement(db, world, plant));
        let what = match with(db, table, sql.clone()).await {
            Err(error) => format!("{error}: {sql}"),
            Ok(seen) if seen.differences.iter().any(|one| one.tenant_id == tenant && one.kind == *kind) => continue,
            Ok(seen) => format!(
                "{kind} of {whose:?} is overlooked, of {:?}: {sql}",
                seen.differences.iter().map(ToString::to_string).collect::<Vec<_>>()
            ),
        };
        overlooked.push(what);
    }
    assert!(overlooked.is_empty(), "{} on {}:\n{}", overlooked.len(), db.engine, overlooked.join("\n"));
    assert_eq!(verify(db).await.differences, [], "all was taken back");
}

/// An id as SQL.
fn literal(db: &TestDb, tenant: TenantId) -> String {
    let hex = format!("{:032x}", tenant.ulid());
    match db.engine {
        "sqlite" => format!("x'{hex}'"),
        _ => format!("CAST('{hex}' AS UUID)"),
    }
}

/// Raises each sum of a table by one, and removes all of them. Answers how many sums a row has.
async fn plant_sums(db: &TestDb, table: &'static str, kind: &'static str) -> usize {
    let of_key = [
        "tenant_id",
        "at",
        "month",
        "channel",
        "provider",
        "account_id",
        "purpose",
        "country",
        "campaign_id",
        "template_id",
        "template_version",
        "topic",
        "variant",
        "currency",
        "clock",
        "version",
        "is_test",
        "shard",
    ];
    let world = World::new(db).await;
    let mut plants = vec![p(table, "", "", NOTHING, kind, Ahead)];
    for column in columns(db, table).await {
        if !of_key.contains(&column.as_str()) {
            let set: &'static str = format!("{column} + 1").leak();
            plants.push(p(table, column.leak(), set, NOTHING, kind, Ahead));
        }
    }
    plant_each(db, &world, &plants).await;
    plants.len()
}

/// Every table there is.
async fn tables(db: &TestDb) -> Vec<String> {
    let sql = match db.engine {
        "sqlite" => "SELECT name FROM sqlite_schema WHERE type = 'table'",
        _ => "SELECT CAST(tablename AS TEXT) FROM pg_tables WHERE schemaname = current_schema()",
    };
    crate::setting::column(db, sql).await.lines().map(str::to_owned).collect()
}

/// The columns of a table.
async fn columns(db: &TestDb, table: &str) -> Vec<String> {
    let sql = match db.engine {
        "sqlite" => format!("SELECT name FROM pragma_table_info('{table}')"),
        _ => format!(
            "SELECT CAST(column_name AS TEXT) FROM information_schema.columns WHERE table_name = '{table}' ORDER BY ordinal_position"
        ),
    };
    crate::setting::column(db, Box::leak(sql.into_boxed_str())).await.lines().map(str::to_owned).collect()
}

testkit::both! {
    async fn where_nothing_is_wrong_nothing_is_told(db: TestDb) {
        let world = World::new(&db).await;
        let verified = verify(&db).await;
        assert_eq!((verified.differences, verified.more), (vec![], vec![]));
        assert!(verified.messages > 30 && verified.entries > 60 && verified.invoices >= 6, "{} {} {}", verified.messages, verified.entries, verified.invoices);
        let kinds: BTreeSet<String> = world.shop.kinds().await.into_iter().collect();
        let expected = ["adjustment", "dispute", "expire", "grant", "purchase", "refund", "refund_failed", "release", "reserve", "settle"];
        assert!(expected.iter().all(|kind| kinds.contains(*kind)), "{kinds:?}");
        let found = crate::setting::column(&db, "SELECT state FROM invoices ORDER BY state").await;
        let states: BTreeSet<&str> = found.lines().collect();
        assert_eq!(states, ["draft", "issued", "paid", "void"].into_iter().collect::<BTreeSet<_>>());
        assert!(!crate::setting::column(&db, "SELECT body FROM invoices WHERE body LIKE '%INV-000001: %'").await.is_empty(), "a month was put right");
        assert_eq!(crate::setting::column(&db, "SELECT state FROM invoices i WHERE tenant_id IN (SELECT id FROM tenants WHERE deleted_at IS NOT NULL)").await.lines().count() > 0, world.gone != world.billed.tenant);
    }

    async fn what_is_wrong_in_a_ledger_is_told(db: TestDb) {
        let world = World::new(&db).await;
        plant_each(&db, &world, LEDGERS).await;
    }

    async fn what_is_wrong_with_a_payment_is_told(db: TestDb) {
        let world = World::new(&db).await;
        plant_each(&db, &world, PURCHASES).await;
    }

    async fn what_is_wrong_with_a_charge_is_told(db: TestDb) {
        let world = World::new(&db).await;
        assert!(run(&db, vec![rows_of_their_own(&db)]).await.unwrap() > 9);
        let seen = verify(&db).await.differences;
        for tenant in [world.shop.stage.tenant, world.billed.tenant] {
            assert!(seen.iter().any(|one| one.tenant_id == Some(tenant) && one.kind == "charge"), "what is charged in two places is told: {seen:?}");
        }
        // As an earlier Tidings had it.
        run(&db, vec!["UPDATE messages SET charge = NULL".to_owned()]).await.unwrap();
        assert_eq!(verify(&db).await.differences, []);
        plant_each(&db, &world, CHARGES).await;
    }

    async fn what_is_wrong_with_a_charge_in_its_messages_row_is_told(db: TestDb) {
        let world = World::new(&db).await;
        plant_each(&db, &world, IN_ROWS).await;
    }

    async fn what_is_wrong_with_a_bill_is_told(db: TestDb) {
        let world = World::new(&db).await;
        plant_each(&db, &world, BILLS).await;
    }

    async fn a_bill_that_loses_its_fee_with_all_that_goes_with_it_is_told(db: TestDb) {
        let world = World::new(&db).await;
        let tenant = world.billed.tenant;
        let no_fee = "its plan costs 30000000 a month, and of that it bills 0";
        for (state, expected) in [("issued", vec!["does not say what it said when it became final", no_fee]), ("draft", vec![no_fee])] {
            let only = format!("state = '{state}' AND tenant_id = {}", literal(&db, tenant));
            let body = crate::setting::column(&db, format!("SELECT body FROM invoices WHERE {only}").leak()).await;
            let mut body: Value = serde_json::from_str(&body).unwrap();
            let of_plan = |line: &Value| ["fee", "included", "overage"].contains(&line["kind"].as_str().unwrap());
            let lines: Vec<Value> = body["lines"].as_array().unwrap().iter().filter(|line| !of_plan(line)).cloned().collect();
            let net: i64 = lines.iter().map(|line| line["amount_micros"].as_i64().unwrap()).sum();
            // 19 percent in whole cents.
            let tax = (net * 19 + 500_000) / 1_000_000 * 10_000;
            (body["lines"], body["net"], body["taxes"][0]["amount_micros"]) = (json!(lines), json!(net), json!(tax));
            let text = body.to_string().replace('\'', "''");
            let written_over = format!("UPDATE invoices SET total = {}, body = '{text}' WHERE {only}", net + tax);
            let seen = with(&db, "invoices", written_over).await.unwrap().differences;
            for expected in expected {
                assert!(seen.iter().any(|one| one.tenant_id == Some(tenant) && one.detail.contains(expected)), "{state}: {expected} is not in {seen:?}");
            }
            assert!(!seen.iter().any(|one| one.detail.contains("come to")), "all of it adds up: {seen:?}");
        }
    }

    async fn an_invoice_that_is_gone_with_its_number_and_one_that_was_made_up_are_told(db: TestDb) {
        let world = World::new(&db).await;
        let newest = "number = (SELECT MAX(i.number) FROM invoices i WHERE i.number LIKE 'INV-%')";
        let forge = [
            format!("CREATE TABLE forged AS SELECT * FROM invoices WHERE {newest}"),
            "UPDATE forged SET id = tenant_id, number = 'INV-000099', starts_at = issued_at, ends_at = due_at".to_owned(),
            "INSERT INTO invoices SELECT * FROM forged".to_owned(),
        ];
        run(&db, forge.to_vec()).await.unwrap();
        let seen = verify(&db).await.differences;
        assert!(seen.iter().any(|one| one.detail.starts_with("INV-000099: it is issued, and no entry of the operator's log says who made it so")), "{seen:?}");
        let remove = [
            "DELETE FROM invoices WHERE number = 'INV-000099'".to_owned(),
            format!("DELETE FROM invoices WHERE {newest}"),
            "UPDATE invoice_series SET last_number = last_number - 1 WHERE series = 'INV-'".to_owned(),
            "DROP TABLE forged".to_owned(),
        ];
        run(&db, remove.to_vec()).await.unwrap();
        let seen = verify(&db).await.differences;
        let gone: Vec<_> = seen.iter().filter(|one| one.detail.contains("is gone, and the operator's log tells of it")).collect();
        assert!(gone.len() == 1 && [Some(world.billed.tenant), Some(world.gone)].contains(&gone[0].tenant_id), "{seen:?}");
        assert!(!seen.iter().any(|one| one.detail.contains("was given and has no invoice")), "its series knows nothing of it: {seen:?}");
    }

    async fn a_sum_by_half_hour_that_is_wrong_is_told(db: TestDb) {
        assert!(plant_sums(&db, "message_counters", "counters").await > 40);
    }

    async fn a_sum_by_day_that_is_wrong_is_told(db: TestDb) {
        assert!(plant_sums(&db, "message_days", "counters").await > 40);
    }

    async fn a_sum_by_month_that_is_wrong_is_told(db: TestDb) {
        assert!(plant_sums(&db, "usage_counters", "usage").await > 10);
    }

    async fn a_sum_by_template_that_is_wrong_is_told(db: TestDb) {
        assert!(plant_sums(&db, "template_counters", "counters").await > 10);
    }

    async fn a_sum_of_attempts_that_is_wrong_is_told(db: TestDb) {
        let world = World::new(&db).await;
        let of = |column: &'static str, set: &'static str| p("attempt_counters", column, set, NOTHING, "attempts", Billed);
        let plants = [
            of("accepted", "accepted + 1"), of("recipient", "recipient + 1"), of("unavailable", "unavailable + 1"),
            p("attempts", "", "", "outcome = 0", "attempts", Billed),
        ];
        plant_each(&db, &world, &plants).await;
    }

    async fn of_ways_whose_charges_were_not_kept_only_their_own_places_are_compared_together(db: TestDb) {
        let world = World::new(&db).await;
        let (billed, parts) = (&world.billed, world.shop.parts());
        // As an earlier Tidings left it. Who was billed all the time was charged for a message's one earlier way where that went.
        let earlier = ["UPDATE former_routes SET charge = NULL, cost_micros = NULL, cost_currency = NULL", "UPDATE messages SET cost_before = NULL"];
        run(&db, earlier.map(str::to_owned).to_vec()).await.unwrap();
        for stage in [&world.shop.stage, billed] {
            billed.engine.recount(stage.tenant).await.unwrap();
        }
        assert_eq!(verify(&db).await.differences, []);
        let moved = |from: &str, to: &str| {
            let set = format!("CASE WHEN country = '{from}' THEN charged - 1 ELSE charged + 1 END");
            let only = format!("(country = '{from}' OR ({to})) AND at = (SELECT MIN(c.at) FROM charge_counters c WHERE c.tenant_id = charge_counters.tenant_id)");
            p("charge_counters", "charged", set.leak(), only.leak(), "charge", Billed)
        };
        let mails = "country = '' AND channel = 1";
        plant_each(&db, &world, &[moved("FR", "country = 'DE'"), moved("US", mails)]).await;
        // Who is not billed any more may not have been when a message left its way.
        let mode = serde_json::from_value(json!({"mode": "none"})).unwrap();
        credits::patch(parts, &billed.caller, mode).await.unwrap();
        assert_eq!(verify(&db).await.differences, []);
        let messages = p("charge_counters", "messages", "messages + 1", "country = 'FR'", "charge", Billed);
        plant_each(&db, &world, &[moved("FR", "country = 'DE'"), moved("FR", mails), messages]).await;
        let unknown = statement(&db, &world, &moved("US", mails));
        // Of these only what they come to is known, and what is billed of them.
        let seen = with(&db, "charge_counters", unknown).await.unwrap().differences;
        assert!(!seen.is_empty() && seen.iter().all(|one| one.kind == "billing"), "{seen:?}");
    }

    async fn entries_are_put_together_the_same_in_any_ranges(db: TestDb) {
        let world = World::new(&db).await;
        let tenant = world.billed.tenant;
        run(&db, vec![format!("UPDATE messages SET charge = {}", other!("quoted", "10000", "10000,\"promo\":20000"))]).await.unwrap();
        let counts = db.read(Scope::Tenant(tenant), move |tx| {
            Box::pin(async move {
                let messages = store::messages::after(tx, tenant, MessageId::from_ulid(0), 1_000).await?;
                let (from, middle, until) = (MessageId::from_ulid(0), messages[messages.len() / 2].id, MessageId::from_ulid(u128::MAX));
                let mut counts = Vec::new();
                for range in [(from, until), (from, middle), (middle, until)] {
                    counts.push(recounts::mischarged(tx, tenant, range, 1_000).await?.0.count);
                }
                Ok::<_, store::Error>(counts)
            })
        });
        let counts = counts.await.unwrap();
        assert!(counts[0] == counts[1] + counts[2] && counts[1] > 0 && counts[2] > 0, "{counts:?}");
    }

    async fn every_column_of_money_has_its_difference(db: TestDb) {
        let planted = LEDGERS.iter().chain(PURCHASES).chain(CHARGES).chain(IN_ROWS).chain(BILLS);
        let mut known: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for plant in planted {
            known.entry(plant.table).or_default().insert(plant.column);
        }
        for (table, columns, reason) in ELSE {
            assert!(!reason.is_empty());
            known.entry(table).or_default().extend(columns.iter());
        }
        let mut missing = Vec::new();
        for table in tables(&db).await {
            let is_money = |column: &String| WORDS.iter().any(|word| column.split('_').any(|part| part == *word));
            let is_known = known.contains_key(&*table) || SUMS.contains(&&*table) || OTHER.iter().any(|(other, _)| *other == table);
            let found: Vec<String> = columns(&db, &table).await.into_iter().filter(is_money).collect();
            if !found.is_empty() && !is_known {
                missing.push(format!("{table}: {found:?}"));
            }
        }
        // Of these only some columns say something of money.
        for table in ["messages", "former_routes", "plans"] {
            known.remove(table);
        }
        for (table, known) in known {
            let found = columns(&db, table).await.into_iter().filter(|column| !known.contains(column.as_str()));
            missing.extend(found.map(|column| format!("{table}: {column}")));
        }
        assert!(missing.is_empty(), "there is no difference that is told, and no reason why not: {missing:?}");
    }

    async fn all_differences_count_and_a_hundred_are_told_one_by_one(db: TestDb) {
        let stage = crate::money::prepaid(&db, 10 * M).await;
        for number in 0..130 {
            stage.send(to(&format!("+1555010{number:04}"))).await;
        }
        stage.pass(60_000).await;
        assert_eq!(verify(&db).await.count(), 0);
        run(&db, vec![format!("UPDATE messages SET charge = {}", other!("units", "1", "2"))]).await.unwrap();
        let verified = verify(&db).await;
        let told = |kind: &str| verified.differences.iter().filter(|one| one.kind == kind).count();
        assert_eq!((told("charge"), verified.more.iter().map(|more| more.count).collect::<Vec<_>>(), verified.count()), (100, vec![30], 131), "all prices come to something else, too");
        assert!(verified.more[0].to_string().ends_with("charge: and 30 more of this kind"), "{}", verified.more[0]);
        assert_eq!(books::watch(&stage.engine).await.unwrap(), 131);
        let told = crate::setting::column(&db, "SELECT data FROM events WHERE type = 'ledger.difference'").await;
        assert_eq!(serde_json::from_str::<Value>(&told).unwrap()["count"], 131);
        run(&db, vec![format!("UPDATE messages SET charge = {}", other!("units", "2", "1"))]).await.unwrap();
        run(&db, vec!["UPDATE credit_entries SET amount = amount + 1 WHERE kind = 'settle'".to_owned()]).await.unwrap();
        let verified = verify(&db).await;
        assert!(verified.more.iter().any(|more| more.kind == "charge" && more.count == 30), "{:?}", verified.more);
    }
}
