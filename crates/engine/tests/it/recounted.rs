//! Every difference is told: one at a time is planted in each column that says something of money, in a busy installation in which nothing is wrong, on both engines.

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
/// Where nothing is wrong.
const NOTHING: &str = "TRUE";

/// Whose a difference is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    /// The tenant that pays ahead, with purchases and grants.
    Ahead,
    /// The tenant with a plan and invoices.
    Billed,
    /// The operator's own.
    Operator,
}
use Whose::{Ahead, Billed, Operator};

/// A difference: what is written over which column of which rows, and as what it is told.
struct Plant {
    table: &'static str,
    column: &'static str,
    set: &'static str,
    only: &'static str,
    kind: &'static str,
    whose: Whose,
}

const fn p(
    table: &'static str,
    column: &'static str,
    set: &'static str,
    only: &'static str,
    kind: &'static str,
    whose: Whose,
) -> Plant {
    Plant { table, column, set, only, kind, whose }
}

/// What money is about in each of its tables, and in which columns not, with the reason.
const ELSE: &[(&str, &[&str], &str)] = &[
    (
        "credit_ledgers",
        &["low_at", "is_low", "top_up_at", "top_up_amount", "is_topping_up", "top_ups", "top_up_month_max"],
        "what the tenant asked to be told of and to be bought by itself",
    ),
    ("credit_ledgers", &["created_at", "updated_at"], "dates of no amount"),
    ("credit_entries", &["at"], "a date of no amount, but of grants, which are held against it"),
    ("credit_grants", &["tenant_id"], "keys: told as rows that are gone"),
    ("message_charges", &["is_per_segment"], "read by no program any more"),
    ("message_charges", &["tenant_id", "message_id"], "keys: told as rows that are gone"),
    ("charge_counters", &["tenant_id"], "keys: told as rows that are gone"),
    ("credit_entries", &["tenant_id"], "keys: told as rows that are gone"),
    ("credit_ledgers", &["tenant_id"], "keys: told as rows that are gone"),
    (
        "credit_purchases",
        &[
            "tenant_id",
            "id",
            "url",
            "failure",
            "is_top_up",
            "saves_method",
            "looks",
            "looked",
            "ask_at",
            "retry_at",
            "actor",
            "created_at",
            "updated_at",
        ],
        "how it is paid, and by whom",
    ),
    (
        "credit_purchases",
        &["tax_country", "tax_number"],
        "who bought it, as it was on that day: no amount follows from it",
    ),
    (
        "credit_refunds",
        &["tenant_id", "id", "provider_id", "retry_at", "actor", "created_at", "updated_at"],
        "names and dates of no amount",
    ),
    (
        "subscriptions",
        &["tenant_id", "recount_at", "created_at", "updated_at"],
        "a key, what is still to be counted, and dates of no amount",
    ),
    ("quota_counters", &["tenant_id", "channel", "ends_at"], "keys: told as counters that are gone"),
    ("quota_counters", &["warned_of"], "how large the plan was that the tenant was last told of"),
    (
        "invoices",
        &[
            "tenant_id",
            "id",
            "mailed_at",
            "mail_id",
            "mail_state",
            "mail_failure",
            "mail_tenant_id",
            "mail_tries",
            "mail_at",
            "created_at",
            "updated_at",
        ],
        "letters, and dates of no amount",
    ),
    ("invoice_series", &["series"], "a key: told as a number of no series"),
    ("invoiced_usage", &["tenant_id"], "keys: told as rows that are gone"),
    ("price_lists", &["note", "row_count", "created_at"], "words, how long it is, and a date of no amount"),
    ("billing_settings", &["id", "updated_at"], "a key, and a date of no amount"),
];

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

const LEDGERS: &[Plant] = &[
    p("credit_ledgers", "", "", NOTHING, "ledger", Ahead),
    p("credit_ledgers", "mode", "'barter'", NOTHING, "ledger", Billed),
    p("credit_ledgers", "currency", "'EUR'", NOTHING, "charge", Ahead),
    p("credit_ledgers", "available", "available + 1", NOTHING, "ledger", Ahead),
    p("credit_ledgers", "available", "available - 1, revenue = revenue + 1", NOTHING, "ledger", Billed),
    p("credit_ledgers", "reserved", "reserved + 1", NOTHING, "ledger", Ahead),
    p("credit_ledgers", "revenue", "revenue + 1", NOTHING, "ledger", Billed),
    p("credit_ledgers", "purchased", "purchased + 1", NOTHING, "ledger", Ahead),
    p("credit_ledgers", "adjusted", "adjusted + 1, purchased = purchased - 1", NOTHING, "ledger", Ahead),
    p("credit_ledgers", "promo", "promo + 1, granted = granted + 1", NOTHING, "ledger", Ahead),
    p("credit_ledgers", "granted", "granted + 1", NOTHING, "ledger", Ahead),
    p("credit_ledgers", "remainder", "10000000", NOTHING, "ledger", Ahead),
    p("credit_ledgers", "remainder", "remainder + 1", NOTHING, "ledger", Ahead),
    p("credit_ledgers", "remainder", "remainder - 1", NOTHING, "ledger", Billed),
    p("credit_ledgers", "entries", "entries - 1", NOTHING, "ledger", Ahead),
    p("credit_entries", "", "", "number = 3", "ledger", Ahead),
    p("credit_entries", "number", "number + 1000", "kind = 'adjustment'", "ledger", Ahead),
    p("credit_entries", "kind", "'gift'", "kind = 'adjustment'", "ledger", Ahead),
    p("credit_entries", "kind", "'adjustment'", "kind = 'purchase'", "ledger", Ahead),
    p("credit_entries", "kind", "'correct'", "kind = 'settle'", "ledger", Billed),
    p("credit_entries", "from_book", "'adjusted'", "kind = 'grant'", "ledger", Ahead),
    p("credit_entries", "to_book", "'available'", "kind = 'grant'", "ledger", Ahead),
    p("credit_entries", "amount", "amount + 1", "kind = 'refund'", "ledger", Ahead),
    p("credit_entries", "available", "available + 1", "kind = 'settle'", "ledger", Billed),
    p("credit_entries", "reserved", "reserved + 1", "kind = 'settle'", "ledger", Billed),
    p("credit_entries", "promo", "promo + 1", "kind = 'grant'", "ledger", Ahead),
    p("credit_entries", "message_id", "NULL", "kind = 'settle'", "ledger", Billed),
    p(
        "credit_entries",
        "message_id",
        "(SELECT id FROM messages m WHERE m.tenant_id = credit_entries.tenant_id ORDER BY id LIMIT 1)",
        "kind = 'reserve'",
        "charge",
        Billed,
    ),
    p("credit_entries", "messages", "messages + 1", "messages IS NOT NULL", "charge", Billed),
    p("credit_entries", "messages", "2", "kind = 'settle'", "ledger", Billed),
    p("credit_entries", "amount", "amount + 1", "messages IS NOT NULL", "charge", Ahead),
    p("credit_entries", "amount", "amount + 1", "messages IS NOT NULL", "ledger", Billed),
    p("credit_entries", "", "", "messages IS NOT NULL", "charge", Billed),
    p("credit_entries", "reference", "'another'", "kind = 'refund' AND reference = 'closed'", "purchase", Ahead),
    p("credit_entries", "reference", "'another'", "kind = 'refund_failed'", "purchase", Ahead),
    p("credit_entries", "reference", "'another'", "kind = 'dispute'", "purchase", Ahead),
    p("credit_entries", "reference", "'another'", "kind = 'purchase' AND reference = 'bank'", "purchase", Ahead),
    p("credit_entries", "reference", "'another'", "kind = 'purchase' AND reference LIKE 'pur_%'", "purchase", Ahead),
    p("credit_entries", "reference", "'another'", "kind = 'purchase'", "purchase", Billed),
    p("credit_entries", "reference", "'another'", "kind = 'grant'", "grant", Ahead),
    p("credit_entries", "reference", "'another'", "kind = 'expire'", "grant", Ahead),
    p("credit_entries", "reference", "NULL", "kind = 'adjustment'", "ledger", Ahead),
    p("credit_entries", "reference", "'another'", "kind = 'adjustment'", "invoice", Billed),
    p("credit_entries", "actor", "NULL", "kind = 'grant'", "ledger", Ahead),
    p("credit_entries", "actor", "'somebody'", "kind = 'settle'", "ledger", Billed),
    p("credit_grants", "", "", "amount = 40000", "grant", Ahead),
    p("credit_grants", "number", "number + 500", "amount = 40000", "grant", Ahead),
    p("credit_grants", "amount", "amount + 1", "amount = 40000", "grant", Ahead),
    p(
        "credit_grants",
        "rest",
        "CASE WHEN amount = 40000 THEN rest + 1 ELSE rest - 1 END",
        "amount IN (40000, 9000)",
        "grant",
        Ahead,
    ),
    p("credit_grants", "rest", "-1", "amount = 2000000", "ledger", Ahead),
    p("credit_grants", "expires_at", "created_at", "amount = 40000", "grant", Ahead),
    p("credit_grants", "reference", "'another'", "amount = 40000", "grant", Ahead),
    p("credit_grants", "created_at", "expires_at", "amount = 40000", "grant", Ahead),
];

const PURCHASES: &[Plant] = &[
    p("credit_purchases", "", "", "amount = 20000000", "purchase", Ahead),
    p("credit_purchases", "provider", "'stripe'", "provider = 'operator'", "purchase", Ahead),
    p("credit_purchases", "state", "'paid'", "state = 'open'", "purchase", Ahead),
    p("credit_purchases", "state", "'open'", "amount = 5000000", "purchase", Ahead),
    p("credit_purchases", "amount", "amount + 1", "amount = 6000000", "purchase", Ahead),
    p("credit_purchases", "amount", "0", "state = 'open'", "purchase", Ahead),
    p("credit_purchases", "currency", "'EUR'", "amount = 6000000", "purchase", Ahead),
    p("credit_purchases", "refunded", "refunded + 1", "amount = 20000000", "purchase", Ahead),
    p("credit_purchases", "tax", "tax + 1", "amount = 20000000", "purchase", Ahead),
    p("credit_purchases", "tax", "tax + 10000", "amount = 6000000", "purchase", Ahead),
    p("credit_purchases", "tax", "0", "state = 'open'", "purchase", Ahead),
    p("credit_purchases", "tax_name", "NULL", "amount = 6000000", "purchase", Ahead),
    p("credit_purchases", "tax_rate_ppm", "160000", "amount = 20000000", "purchase", Ahead),
    p("credit_purchases", "refunded_tax", "refunded_tax - 10000", "amount = 20000000", "purchase", Ahead),
    p("credit_purchases", "reference", "'another'", "reference = 'bank'", "purchase", Ahead),
    p("credit_purchases", "session", "'cs_another'", "amount = 20000000", "purchase", Ahead),
    p("credit_purchases", "payment", "'pi_same'", "payment IS NOT NULL", "purchase", Ahead),
    p("credit_purchases", "entry", "NULL", "amount = 6000000", "purchase", Ahead),
    p("credit_purchases", "entry", "1", "entry IS NOT NULL", "purchase", Ahead),
    p("credit_purchases", "disputes", "'[]'", "amount = 20000000", "purchase", Ahead),
    p("credit_purchases", "disputes", "'{'", "amount = 20000000", "purchase", Ahead),
    p(
        "credit_purchases",
        "disputes",
        "REPLACE(disputes, '\"taken\":1680000', '\"taken\":1000000')",
        "amount = 20000000",
        "purchase",
        Ahead,
    ),
    p(
        "credit_purchases",
        "disputes",
        "REPLACE(disputes, '\"withdrawn\":2000000', '\"withdrawn\":1000000')",
        "amount = 20000000",
        "purchase",
        Ahead,
    ),
    p("credit_purchases", "is_disputed", "TRUE", "amount = 20000000", "purchase", Ahead),
    p("credit_refunds", "", "", "reason = 'closed'", "purchase", Ahead),
    p("credit_refunds", "purchase_id", "NULL", "reason = 'closed'", "purchase", Ahead),
    p("credit_refunds", "provider", "'operator'", "reason = 'closed'", "purchase", Ahead),
    p("credit_refunds", "state", "'done'", "reason = 'moved'", "purchase", Ahead),
    p("credit_refunds", "state", "'failed', failure = 'no'", "reason = 'closed'", "purchase", Ahead),
    p("credit_refunds", "amount", "amount + 1", "reason = 'closed'", "purchase", Ahead),
    p("credit_refunds", "tax", "tax + 10000", "reason = 'closed'", "purchase", Ahead),
    p("credit_refunds", "tax", "tax - 1", "reason LIKE 'given back at%'", "purchase", Ahead),
    p("credit_refunds", "taken", "taken - 1", "reason = 'closed'", "purchase", Ahead),
    p("credit_refunds", "reason", "'another'", "reason = 'closed'", "purchase", Ahead),
    p("credit_refunds", "failure", "'no'", "reason = 'closed'", "purchase", Ahead),
];

/// What is set aside for a message under way, with another amount.
const ASIDE: &str = r#"'{"list_version":1,"unit":10000,"per":1,"units":1,"quoted":10001}'"#;
const NO_LIST: &str = r#"'{"list_version":2,"unit":10000,"per":1,"units":1,"quoted":10000}'"#;

const CHARGES: &[Plant] = &[
    p("message_charges", "", "", "charged > 0", "charge", Billed),
    p("message_charges", "list_version", "2", "charged > 0", "charge", Billed),
    p("message_charges", "list_version", "3", "charged > 0", "charge", Billed),
    p("message_charges", "unit", "unit + 1", "unit > 0", "charge", Billed),
    p("message_charges", "per", "0", "per = 1", "charge", Billed),
    p("message_charges", "cost_unit", "cost_unit + 1", "cost_unit IS NOT NULL", "charge", Billed),
    p("message_charges", "markup", "NULL", "markup IS NOT NULL", "charge", Billed),
    p("message_charges", "category", "'nonsense'", "charged > 0", "charge", Billed),
    p(
        "message_charges",
        "units",
        "units + 1",
        "per = 1 AND state = 'settled' AND charged_before = 0",
        "charge",
        Billed,
    ),
    p("message_charges", "units", "1", "units > 1", "charge", Ahead),
    p("message_charges", "quoted", "quoted + 1", "per = 1", "charge", Billed),
    p("message_charges", "quoted", "0", "per = 1", "charge", Ahead),
    p("message_charges", "charged", "charged + 1", "charged > 0", "charge", Billed),
    p("message_charges", "state", "'released'", "state = 'settled'", "charge", Billed),
    p("message_charges", "state", "'settled'", "state = 'released'", "charge", Billed),
    p("message_charges", "reported", "1", NOTHING, "charge", Billed),
    p("message_charges", "reported", "-1, reported_currency = 'USD'", NOTHING, "charge", Billed),
    // What was charged comes of 2,401 and a quarter of it.
    p("message_charges", "reported", "2405, reported_currency = 'USD'", "markup IS NOT NULL", "ledger", Billed),
    p("message_charges", "reported", "2397, reported_currency = 'USD'", "markup IS NOT NULL", "ledger", Ahead),
    p("message_charges", "reported_currency", "'USD'", NOTHING, "charge", Billed),
    p("message_charges", "charged_before", "charged_before + 1", "charged_before > 0", "charge", Billed),
    p("message_charges", "charged_before", "charged_before - 1", "charged_before > 0", "charge", Billed),
    p("message_charges", "promo", "promo + 1", "charged > 0 AND promo = 0 AND charged_before = 0", "charge", Ahead),
    p("message_charges", "promo", "0", "promo > 0", "charge", Ahead),
    p("charge_counters", "", "", "charged > 0", "charge", Billed),
    p("charge_counters", "messages", "messages + 1", NOTHING, "charge", Billed),
    p("charge_counters", "charged", "charged + 1", NOTHING, "charge", Ahead),
    p("charge_counters", "channel", "5", "channel = 2", "charge", Billed),
    p("charge_counters", "country", "'AQ'", "country = 'FR'", "charge", Billed),
    p(
        "charge_counters",
        "at",
        "(SELECT MIN(created_at) FROM tenants)",
        "country = 'FR' AND at = (SELECT MAX(c.at) FROM charge_counters c WHERE c.tenant_id = charge_counters.tenant_id AND c.country = 'FR')",
        "charge",
        Billed,
    ),
    p("messages", "", "", "sent_at IS NOT NULL", "charge", Billed),
    p("messages", "cost_micros", "cost_micros + 1", "aside IS NOT NULL", "charge", Billed),
    p("messages", "cost_micros", "cost_micros + 1", "sent_at IS NOT NULL AND cost_micros > 0", "charge", Ahead),
    p("messages", "cost_micros", "5", "cost_micros = 0", "charge", Ahead),
    p("messages", "cost_micros", "NULL", "sent_at IS NOT NULL", "charge", Billed),
    p("messages", "cost_currency", "'EUR'", "cost_micros > 0", "charge", Billed),
    p("messages", "aside", "NULL", "aside IS NOT NULL", "charge", Billed),
    p("messages", "aside", ASIDE, "aside IS NOT NULL", "charge", Billed),
    p("messages", "aside", NO_LIST, "aside IS NOT NULL", "charge", Billed),
    p("messages", "segments", "segments + 1", "channel = 2 AND sent_at IS NOT NULL", "charge", Billed),
    p("messages", "bytes", "bytes + 1", "bytes IS NOT NULL", "counters", Billed),
    p("messages", "clock", "NULL", NOTHING, "counters", Billed),
    p("messages", "sent_at", "NULL", "sent_at IS NOT NULL", "charge", Billed),
    p("messages", "provider_message_id", "'SM1'", "sent_at IS NOT NULL", "charge", Billed),
    p("messages", "channel", "5", "sent_at IS NOT NULL AND channel = 2", "charge", Billed),
    p("messages", "address", "'+33612345678'", "address LIKE '+49%' AND sent_at IS NOT NULL", "charge", Billed),
    p("messages", "created_at", "(SELECT MIN(created_at) FROM tenants)", "sent_at IS NOT NULL", "charge", Billed),
    p("former_routes", "", "", "sent_at IS NOT NULL", "charge", Billed),
    p("former_routes", "sent_at", "NULL", "sent_at IS NOT NULL", "charge", Billed),
    p("former_routes", "channel", "5", "sent_at IS NOT NULL", "charge", Billed),
    p("former_routes", "address", "'+33612345678'", "sent_at IS NOT NULL", "charge", Billed),
    p("former_routes", "segments", "9", "sent_at IS NOT NULL", "counters", Billed),
    p("former_routes", "cost_micros", "cost_micros + 1", "charge IS NOT NULL", "charge", Billed),
    p("former_routes", "cost_currency", "'EUR'", "charge IS NOT NULL", "charge", Billed),
    p("former_routes", "charge", "'{}'", "charge IS NOT NULL", "charge", Billed),
    p("messages", "cost_before", "cost_before + 1", "cost_before > 0", "charge", Billed),
    p("former_routes", "bytes", "bytes + 1", "sent_at IS NOT NULL AND bytes IS NOT NULL", "counters", Billed),
    p("price_lists", "", "", "version = 1", "charge", Billed),
    p("price_lists", "version", "9", "version = 1", "charge", Billed),
    p("price_lists", "currency", "'EUR'", "version = 1", "charge", Billed),
    p("price_lists", "valid_from", "(SELECT MAX(created_at) FROM messages)", "version = 1", "charge", Billed),
    p("price_lists", "body", "'[]'", "version = 1", "charge", Billed),
];

const BILLS: &[Plant] = &[
    p("subscriptions", "", "", NOTHING, "billing", Billed),
    p("subscriptions", "plan_id", "tenant_id", NOTHING, "billing", Billed),
    p("subscriptions", "canceled_at", "NULL, closes_at = NULL", NOTHING, "billing", Billed),
    p("subscriptions", "canceled_at", "closes_at", NOTHING, "billing", Billed),
    p("subscriptions", "cancel_said_at", "created_at", NOTHING, "billing", Billed),
    p("subscriptions", "trial_ends_at", "billed_until", NOTHING, "billing", Billed),
    p("subscriptions", "past_due_since", "NULL", NOTHING, "billing", Billed),
    p("subscriptions", "past_due_since", "counted_from", NOTHING, "billing", Billed),
    p("subscriptions", "forgiven_until", "closes_at", NOTHING, "billing", Billed),
    p("subscriptions", "customer", "'{}'", NOTHING, "billing", Billed),
    p("subscriptions", "counted_from", "billed_until", NOTHING, "billing", Billed),
    p("subscriptions", "billed_until", "counted_from", NOTHING, "billing", Billed),
    p("subscriptions", "billed_until", "closes_at", NOTHING, "billing", Billed),
    p("subscriptions", "closes_at", "billed_until", NOTHING, "billing", Billed),
    p("subscriptions", "closes_at", "NULL", NOTHING, "billing", Billed),
    p("plans", "monthly_fee", "monthly_fee - 1000000", NOTHING, "invoice", Billed),
    p("plans", "currency", "'EUR'", NOTHING, "invoice", Billed),
    p("plans", "allowances", "'[]'", NOTHING, "invoice", Billed),
    p("quota_counters", "", "", NOTHING, "quota", Billed),
    p("quota_counters", "used", "used + 1", NOTHING, "quota", Billed),
    p("quota_counters", "warned", "85", NOTHING, "quota", Billed),
    p(
        "quota_counters",
        "starts_at",
        "(SELECT MAX(m.created_at) FROM messages m)",
        "channel = 2 AND starts_at = (SELECT MIN(q.starts_at) FROM quota_counters q WHERE q.tenant_id = quota_counters.tenant_id)",
        "quota",
        Billed,
    ),
    p("invoices", "", "", "number = 'INV-000001'", "invoice", Operator),
    p("invoices", "kind", "'letter'", "state = 'issued'", "invoice", Billed),
    p("invoices", "state", "'paid'", "state = 'issued'", "invoice", Billed),
    p("invoices", "state", "'issued'", "state = 'draft'", "invoice", Billed),
    p("invoices", "state", "'issued'", "state = 'void'", "invoice", Billed),
    p("invoices", "number", "NULL", "state = 'issued'", "invoice", Billed),
    p("invoices", "number", "'INV-000099'", "number = 'INV-000005'", "invoice", Operator),
    p("invoices", "number", "'ABC-000001'", "state = 'issued'", "invoice", Billed),
    p("invoices", "of_id", "NULL", "of_id IS NOT NULL", "invoice", Billed),
    p("invoices", "currency", "'EUR'", "state = 'issued'", "invoice", Billed),
    // A later invoice puts it right, in another currency than.
    p("invoices", "currency", "'EUR'", "number = 'INV-000001'", "billing", Billed),
    p("invoices", "starts_at", "created_at", "state = 'draft'", "invoice", Billed),
    p(
        "invoices",
        "starts_at",
        "(SELECT MIN(i.starts_at) FROM invoices i) ",
        "state = 'paid' AND kind = 'credit_note'",
        "invoice",
        Billed,
    ),
    p("invoices", "ends_at", "created_at", "state = 'issued'", "billing", Billed),
    p("invoices", "total", "total + 1", "state = 'issued'", "invoice", Billed),
    p("invoices", "issued_at", "created_at", "state = 'draft'", "invoice", Billed),
    p("invoices", "due_at", "issued_at", "state = 'issued'", "invoice", Billed),
    p("invoices", "paid_at", "NULL", "state = 'paid' AND total > 0", "invoice", Billed),
    p("invoices", "paid_at", "issued_at, payment = 'x'", "state = 'void'", "invoice", Billed),
    p("invoices", "payment", "NULL", "state = 'paid' AND total > 0", "invoice", Billed),
    p("invoices", "voided_at", "NULL", "state = 'void'", "invoice", Billed),
    // Each fits the rest, and the operator's log tells something else.
    p("invoices", "id", "tenant_id", "state = 'issued'", "invoice", Billed),
    p("invoices", "state", "'paid', paid_at = issued_at, payment = 'cash'", "state = 'issued'", "invoice", Billed),
    p("invoices", "state", "'void', voided_at = created_at", "state = 'draft'", "invoice", Billed),
    p("invoices", "paid_at", "ends_at", "state = 'paid' AND total > 0", "invoice", Billed),
    p("invoices", "payment", "'cash'", "state = 'paid' AND total > 0", "invoice", Billed),
    p("invoices", "voided_at", "ends_at", "state = 'void'", "invoice", Billed),
    p(
        "invoices",
        "body",
        "REPLACE(body, 'billing@acme.example', 'billing@other.example')",
        "state = 'issued'",
        "invoice",
        Billed,
    ),
    p(
        "invoices",
        "body",
        "REPLACE(body, '\"name\":\"Host\"', '\"name\":\"Ghost\"')",
        "state = 'issued'",
        "invoice",
        Billed,
    ),
    p("invoices", "body", "'{'", "state = 'issued'", "invoice", Billed),
    p(
        "invoices",
        "body",
        "REPLACE(body, '\"unit_micros\":10000,', '\"unit_micros\":20000,')",
        "body LIKE '%\"unit_micros\":10000,%'",
        "invoice",
        Billed,
    ),
    p(
        "invoices",
        "body",
        "REPLACE(body, '\"unit_micros\":30000000,', '\"unit_micros\":20000000,')",
        "body LIKE '%\"unit_micros\":30000000,%'",
        "invoice",
        Billed,
    ),
    p("invoices", "body", "REPLACE(body, '\"rate_ppm\":190000,', '\"rate_ppm\":160000,')", NOTHING, "invoice", Billed),
    p("invoices", "body", "REPLACE(body, '\"included\":2,', '\"included\":3,')", NOTHING, "invoice", Billed),
    p(
        "invoices",
        "body",
        "REPLACE(body, '\"kind\":\"included\"', '\"kind\":\"messages\"')",
        "state = 'draft'",
        "invoice",
        Billed,
    ),
    p("billing_settings", "body", "REPLACE(body, '190000', '160000')", NOTHING, "invoice", Billed),
    p("invoices", "body", "REPLACE(body, '\"due_days\":14', '\"due_days\":15')", "state = 'issued'", "invoice", Billed),
    p(
        "invoices",
        "body",
        "REPLACE(body, '\"month\":\"2027-01\"', '\"month\":\"2027-03\"')",
        "state = 'issued'",
        "invoice",
        Billed,
    ),
    p(
        "invoices",
        "body",
        "REPLACE(body, '\"country\":\"FR\",\"quantity\":', '\"country\":\"FR\",\"quantity\":1')",
        "body LIKE '%\"country\":\"FR\",\"quantity\":%' AND kind = 'invoice'",
        "invoice",
        Billed,
    ),
    p(
        "invoices",
        "body",
        "REPLACE(body, 'INV-000001: ', 'INV-000009: ')",
        "body LIKE '%INV-000001: %' AND kind = 'invoice'",
        "billing",
        Billed,
    ),
    p(
        "invoices",
        "body",
        "REPLACE(body, '\"quantity\":-1,', '\"quantity\":-2,')",
        "kind = 'credit_note'",
        "invoice",
        Billed,
    ),
    p("invoice_series", "", "", "series = 'INV-'", "invoice", Billed),
    p("invoice_series", "last_number", "last_number + 1", "series = 'INV-'", "invoice", Operator),
    p("invoice_series", "last_number", "last_number - 1", "series = 'CN-'", "invoice", Operator),
    p("invoiced_usage", "", "", "charged > 0", "billing", Billed),
    p(
        "invoiced_usage",
        "starts_at",
        "ends_at",
        "starts_at = (SELECT MAX(u.starts_at) FROM invoiced_usage u WHERE u.tenant_id = invoiced_usage.tenant_id)",
        "billing",
        Billed,
    ),
    p("invoiced_usage", "ends_at", "starts_at", NOTHING, "billing", Billed),
    p("invoiced_usage", "channel", "5", "channel = 2", "billing", Billed),
    p("invoiced_usage", "country", "'AQ'", "country = 'FR'", "billing", Billed),
    p("invoiced_usage", "sent", "sent + 1", "channel = 2", "billing", Billed),
    p("invoiced_usage", "sent", "sent - 1", "channel = 2 AND sent > 0", "billing", Billed),
    p("invoiced_usage", "charges", "charges + 1", NOTHING, "billing", Billed),
    p("invoiced_usage", "charges", "charges - 1", "charges > 0", "billing", Billed),
    p("invoiced_usage", "charged", "charged + 10000", "channel = 2", "billing", Billed),
    p(
        "invoiced_usage",
        "charged",
        "CASE WHEN country = 'FR' THEN charged - 1 ELSE charged + 1 END",
        "country IN ('FR', 'DE') AND starts_at = (SELECT MIN(u.starts_at) FROM invoiced_usage u WHERE u.tenant_id = invoiced_usage.tenant_id)",
        "billing",
        Billed,
    ),
];

/// Sums, each of which is held against the messages.
const SUMS: [&str; 5] = ["message_counters", "message_days", "usage_counters", "template_counters", "attempt_counters"];

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

/// Words for money in names of columns.
const WORDS: [&str; 12] = [
    "amount",
    "charged",
    "quoted",
    "cost",
    "price",
    "total",
    "refunded",
    "taken",
    "available",
    "revenue",
    "fee",
    "used",
];
/// Tables with such a column that say nothing of what anybody owes, with the reason.
const OTHER: &[(&str, &str)] = &[
    ("reconciliations", "what providers take, of which each comparison tells the differences"),
    ("campaigns", "what it is expected to cost"),
    ("api_keys", "when it was last used"),
    ("sessions", "when it was last used"),
    ("messages", "planted column by column"),
    ("invoice_deliveries", "what the customers of tenants owe these"),
    ("users", "when somebody last signed in"),
    ("contact_imports", "rows of a file"),
    ("campaign_checks", "recipients"),
];

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
        plant_each(&db, &world, CHARGES).await;
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
        run(&db, vec!["UPDATE message_charges SET quoted = quoted + 1".to_owned()]).await.unwrap();
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
        let planted = LEDGERS.iter().chain(PURCHASES).chain(CHARGES).chain(BILLS);
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
        run(&db, vec!["UPDATE message_charges SET units = units + 1".to_owned()]).await.unwrap();
        let verified = verify(&db).await;
        let told = |kind: &str| verified.differences.iter().filter(|one| one.kind == kind).count();
        assert_eq!((told("charge"), verified.more.iter().map(|more| more.count).collect::<Vec<_>>(), verified.count()), (100, vec![30], 131), "all prices come to something else, too");
        assert!(verified.more[0].to_string().ends_with("charge: and 30 more of this kind"), "{}", verified.more[0]);
        assert_eq!(books::watch(&stage.engine).await.unwrap(), 131);
        let told = crate::setting::column(&db, "SELECT data FROM events WHERE type = 'ledger.difference'").await;
        assert_eq!(serde_json::from_str::<Value>(&told).unwrap()["count"], 131);
        run(&db, vec!["UPDATE message_charges SET units = units - 1".to_owned()]).await.unwrap();
        run(&db, vec!["DELETE FROM credit_entries WHERE kind = 'settle'".to_owned()]).await.unwrap();
        let verified = verify(&db).await;
        assert!(verified.more.iter().any(|more| more.kind == "charge" && more.count == 30), "{:?}", verified.more);
    }
}
