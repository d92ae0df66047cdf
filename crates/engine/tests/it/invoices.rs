//! Invoices on both engines: months are closed once, numbers have no gaps, and what is learned later stands on the next one.

use engine::{
    Error,
    invoices::{self, InvoiceView, InvoicesQuery, closing, settings},
    keys::Caller,
    money::{credits, prices},
    once::Repeat,
    tenants,
};
use futures_util::future::join_all;
use serde_json::{Value, json};
use store::Scope;
use testkit::{Stage, TestDb};

use crate::{
    hooks,
    plans::{plan, set_clock, subscribe, subscribed},
};

fn sms(number: u32) -> Value {
    json!({"to": {"phone": format!("+4915510{number:06}")}, "channel": "sms", "content": {"text": "Hello"}})
}

fn operator() -> Caller {
    Caller::system(None)
}

async fn close(stage: &Stage) -> u64 {
    closing::run(&stage.engine).await.unwrap()
}

async fn all(stage: &Stage) -> Vec<InvoiceView> {
    let page = invoices::list(&stage.engine, &stage.caller, &InvoicesQuery::default()).await.unwrap();
    page.data.into_iter().rev().collect()
}

async fn settle(stage: &Stage, change: Value) {
    let change = serde_json::from_value(change).unwrap();
    settings::patch(stage.engine.parts(), &operator(), change).await.unwrap();
}

async fn pay(stage: &Stage, invoice: &InvoiceView) -> Result<(), Error> {
    let payment = serde_json::from_value(json!({"reference": "bank"})).unwrap();
    invoices::pay(&stage.engine, &operator(), &Repeat::NONE, invoice.id, payment).await.map(drop)
}

async fn void(stage: &Stage, invoice: &InvoiceView) -> Result<(), Error> {
    let why = serde_json::from_value(json!({"reason": "a mistake"})).unwrap();
    invoices::void(&stage.engine, &operator(), &Repeat::NONE, invoice.id, why).await.map(drop)
}

fn lines(invoice: &InvoiceView) -> Vec<(String, i64, i64)> {
    let line = |line: &engine::invoices::compose::Line| {
        let kind = serde_json::to_value(line.kind).unwrap().as_str().unwrap().to_owned();
        (kind, line.quantity, line.amount_micros)
    };
    invoice.lines.iter().map(line).collect()
}

fn line(kind: &str, quantity: i64, amount: i64) -> (String, i64, i64) {
    (kind.to_owned(), quantity, amount)
}

/// The types of events about invoices.
async fn told(stage: &Stage) -> Vec<String> {
    let tenant = stage.tenant;
    let read = stage.world.ports.db.read(Scope::System, move |tx| {
        Box::pin(async move {
            let sql = "SELECT type FROM events WHERE tenant_id = $1 AND type LIKE 'invoice.%' ORDER BY seq";
            let rows = tx.rows(sql, &[&tenant]).await?;
            rows.into_iter().map(|mut row| row.get(0)).collect::<Result<Vec<String>, store::Error>>()
        })
    });
    read.await.unwrap()
}

/// What was accepted a minute before a month ends stands on its invoice, and what was accepted a minute after on the next.
async fn billed(db: &TestDb, zone: &str, begins: &str, ends: &str) {
    let stage =
        subscribed(db, begins, zone, json!([{"channel": "sms", "included": 0, "overage_micros": 10_000}])).await;
    let (starts, ends): (model::Timestamp, model::Timestamp) = (begins.parse().unwrap(), ends.parse().unwrap());
    for (at, count) in [(starts.plus_seconds(60), 1), (ends.plus_seconds(-60), 2), (ends.plus_seconds(60), 4)] {
        stage.world.clock.set(at);
        for number in 0..count {
            stage.send(sms(number)).await;
        }
        stage.dispatch().await;
    }
    stage.world.clock.set(ends.plus_seconds(3_600));
    assert_eq!(close(&stage).await, 1);
    let invoice = &all(&stage).await[0];
    assert_eq!((invoice.month.as_str(), invoice.starts_at, invoice.ends_at), ("2026-11", starts, ends));
    assert_eq!(lines(invoice), [line("fee", 1, 30_000_000), line("included", 0, 0), line("overage", 3, 30_000)]);
    stage.world.clock.set(ends.plus_seconds(33 * 86_400));
    assert_eq!(close(&stage).await, 1);
    let next = &all(&stage).await[1];
    assert_eq!((next.month.as_str(), next.starts_at), ("2026-12", ends));
    assert_eq!(lines(next)[2], line("overage", 4, 40_000));
}

testkit::both! {
    async fn a_month_is_closed_once_with_what_was_sent_in_it(db: TestDb) {
        let stage = subscribed(&db, "2026-11-01T00:00:00Z", "UTC", json!([{"channel": "sms", "included": 2, "overage_micros": 10_000}])).await;
        settle(&stage, json!({"taxes": [{"country": "DE", "name": "VAT", "rate_ppm": 190_000}, {"name": "none", "rate_ppm": 0}], "seller": {"name": "Host"}})).await;
        subscribe(&stage, json!({"customer": {"country": "DE", "email": "billing@acme.example"}})).await;
        set_clock(&stage, "2026-11-20T12:00:00Z");
        for number in 0..5 {
            stage.send(sms(number)).await;
        }
        stage.dispatch().await;
        set_clock(&stage, "2026-12-01T00:59:59Z");
        assert_eq!(close(&stage).await, 0, "an hour is left for what was accepted last");
        set_clock(&stage, "2026-12-01T01:00:00Z");
        assert_eq!((close(&stage).await, close(&stage).await), (1, 0));
        let found = all(&stage).await;
        assert_eq!(found.len(), 1);
        let invoice = &found[0];
        assert_eq!(lines(invoice), [line("fee", 1, 30_000_000), line("included", 2, 0), line("overage", 3, 30_000)]);
        assert_eq!((invoice.lines[2].country.as_deref(), invoice.month.as_str()), (Some("DE"), "2026-11"));
        assert_eq!((invoice.net.amount_micros, invoice.total.amount_micros), (30_030_000, 35_740_000));
        assert_eq!((invoice.number.as_deref(), invoice.customer.name.as_deref()), (Some("INV-000001"), Some("Acme")));
        assert_eq!(invoice.due_at, Some("2026-12-15T01:00:00Z".parse().unwrap()));
        assert_eq!(told(&stage).await, ["invoice.issued"]);
        set_clock(&stage, "2027-01-01T02:00:00Z");
        assert_eq!(close(&stage).await, 1);
        assert_eq!(lines(&all(&stage).await[1]), [line("fee", 1, 30_000_000), line("included", 0, 0)]);
    }

    async fn numbers_have_no_gaps_however_many_close_at_once(db: TestDb) {
        let stage = subscribed(&db, "2026-11-01T00:00:00Z", "UTC", json!([])).await;
        let studio = plan(&stage, json!([])).await;
        let mut others = Vec::new();
        for _ in 0..11 {
            let other = hooks::neighbour(&stage).await;
            subscribe(&other, json!({ "plan_id": studio })).await;
            others.push(other);
        }
        set_clock(&stage, "2026-12-01T01:00:00Z");
        // Several nodes come with the same months at once.
        let closed: u64 = join_all((0..4).map(|_| async { closing::run(&stage.engine).await.unwrap_or(0) })).await.into_iter().sum();
        assert!(closed >= 12, "{closed}");
        let mut numbers = Vec::new();
        for stage in others.iter().chain([&stage]) {
            numbers.extend(all(stage).await.into_iter().map(|invoice| invoice.number.unwrap()));
        }
        numbers.sort_unstable();
        assert_eq!(numbers, (1..=12).map(|number| format!("INV-{number:06}")).collect::<Vec<_>>());
        assert_eq!(engine::books::verify(&db.db).await.unwrap().differences, []);
    }

    async fn a_month_is_billed_on_the_clock_of_kolkata(db: TestDb) {
        billed(&db, "Asia/Kolkata", "2026-10-31T18:30:00Z", "2026-11-30T18:30:00Z").await;
    }

    async fn a_month_is_billed_on_the_clock_of_lagos(db: TestDb) {
        billed(&db, "Africa/Lagos", "2026-10-31T23:00:00Z", "2026-11-30T23:00:00Z").await;
    }

    async fn a_month_with_an_hour_more_is_billed_in_los_angeles(db: TestDb) {
        billed(&db, "America/Los_Angeles", "2026-11-01T07:00:00Z", "2026-12-01T08:00:00Z").await;
    }

    async fn months_that_were_missed_are_closed_one_after_the_other(db: TestDb) {
        let stage = subscribed(&db, "2026-08-16T12:00:00Z", "America/Los_Angeles", json!([])).await;
        set_clock(&stage, "2026-12-01T12:00:00Z");
        while close(&stage).await > 0 {}
        let found = all(&stage).await;
        assert_eq!(found.iter().map(|invoice| invoice.month.as_str()).collect::<Vec<_>>(), ["2026-08", "2026-09", "2026-10", "2026-11"]);
        assert!(found.windows(2).all(|pair| pair[0].ends_at == pair[1].starts_at));
        // The clocks went back on 1 November: that month has an hour more, and costs a month.
        assert_eq!(found[3].ends_at, "2026-12-01T08:00:00Z".parse().unwrap());
        assert_eq!((found[1].total.amount_micros, found[3].total.amount_micros), (30_000_000, 30_000_000));
        assert_eq!(found[0].total.amount_micros, 15_280_000);
        let numbers: Vec<_> = found.iter().map(|invoice| invoice.number.clone().unwrap()).collect();
        assert_eq!(numbers, ["INV-000001", "INV-000002", "INV-000003", "INV-000004"]);
    }

    async fn what_is_learned_later_stands_on_the_next_invoice(db: TestDb) {
        let stage = subscribed(&db, "2026-11-01T00:00:00Z", "UTC", json!([{"channel": "sms", "included": 1, "overage_micros": 10_000}])).await;
        set_clock(&stage, "2026-11-20T12:00:00Z");
        stage.send(sms(1)).await;
        stage.dispatch().await;
        // Accepted in November, sent in December.
        let mut later = sms(2);
        later["send_at"] = json!("2026-12-05T12:00:00Z");
        stage.send(later).await;
        set_clock(&stage, "2026-12-01T02:00:00Z");
        close(&stage).await;
        set_clock(&stage, "2026-12-05T12:00:00Z");
        stage.tick().await;
        set_clock(&stage, "2027-01-01T02:00:00Z");
        close(&stage).await;
        set_clock(&stage, "2027-02-01T02:00:00Z");
        close(&stage).await;
        let found = all(&stage).await;
        assert_eq!(lines(&found[0]), [line("fee", 1, 30_000_000), line("included", 1, 0)]);
        assert_eq!(lines(&found[1]), [line("fee", 1, 30_000_000), line("included", 0, 0), line("correction", 1, 10_000)]);
        assert_eq!(lines(&found[2]), [line("fee", 1, 30_000_000), line("included", 0, 0)], "a correction is made once");
    }

    async fn a_month_that_is_too_long_ago_is_put_right_no_more(db: TestDb) {
        let stage = subscribed(&db, "2026-09-01T00:00:00Z", "UTC", json!([{"channel": "sms", "included": 0, "overage_micros": 10_000}])).await;
        set_clock(&stage, "2026-09-28T12:00:00Z");
        stage.send(sms(1)).await;
        stage.dispatch().await;
        for month in 10..=12 {
            set_clock(&stage, &format!("2026-{month}-01T02:00:00Z"));
            close(&stage).await;
        }
        for month in 1..=12 {
            set_clock(&stage, &format!("2027-{month:02}-01T02:00:00Z"));
            close(&stage).await;
        }
        let found = all(&stage).await;
        assert_eq!(lines(&found[0]), [line("fee", 1, 30_000_000), line("included", 0, 0), line("overage", 1, 10_000)]);
        for later in &found[1..] {
            assert!(lines(later).iter().all(|(kind, ..)| kind != "correction"), "{}: {:?}", later.month, lines(later));
        }
        assert_eq!(found.len(), 15);
    }

    async fn a_draft_waits_and_what_is_issued_is_paid_or_taken_back(db: TestDb) {
        let stage = subscribed(&db, "2026-11-01T00:00:00Z", "UTC", json!([])).await;
        settle(&stage, json!({"issues_by_itself": false, "series": "T-"})).await;
        for at in ["2026-12-01T02:00:00Z", "2027-01-01T02:00:00Z", "2027-02-01T02:00:00Z"] {
            set_clock(&stage, at);
            close(&stage).await;
        }
        let drafts = all(&stage).await;
        assert!(drafts.iter().all(|draft| draft.number.is_none()));
        let tenant = Caller { is_operator: false, ..stage.caller.clone() };
        let seen = invoices::list(&stage.engine, &tenant, &InvoicesQuery::default()).await.unwrap();
        assert!(seen.data.is_empty());
        assert_eq!(invoices::get(&stage.engine, &tenant, drafts[0].id).await.unwrap_err().code, "not_found");
        assert_eq!(pay(&stage, &drafts[0]).await.unwrap_err().code, "invoice_state");
        void(&stage, &drafts[0]).await.unwrap();
        for draft in &drafts[1..] {
            invoices::issue(&stage.engine, &operator(), &Repeat::NONE, draft.id).await.unwrap();
        }
        assert_eq!(invoices::issue(&stage.engine, &operator(), &Repeat::NONE, drafts[1].id).await.unwrap_err().code, "invoice_state");
        pay(&stage, &drafts[1]).await.unwrap();
        void(&stage, &drafts[2]).await.unwrap();
        assert_eq!(void(&stage, &drafts[2]).await.unwrap_err().code, "invoice_state");
        let found = all(&stage).await;
        let told: Vec<_> = found.iter().map(|row| (row.number.as_deref(), row.state.as_str(), row.total.amount_micros)).collect();
        let fee = 30_000_000;
        assert_eq!(told, [(None, "void", fee), (Some("T-000001"), "paid", fee), (Some("T-000002"), "void", fee), (Some("CN-000001"), "paid", -fee)]);
        assert_eq!((found[3].credits_id, found[3].reason.as_deref()), (Some(drafts[2].id), Some("a mistake")));
        assert_eq!(lines(&found[2]), lines(&drafts[2]), "what was issued stays as it was");
    }

    async fn a_draft_is_mended_before_it_is_issued(db: TestDb) {
        let stage = subscribed(&db, "2026-11-01T00:00:00Z", "UTC", json!([])).await;
        let taxes = json!([{"country": "DE", "name": "VAT", "rate_ppm": 190_000}, {"name": "none", "rate_ppm": 0}]);
        settle(&stage, json!({"issues_by_itself": false, "taxes": taxes})).await;
        subscribe(&stage, json!({"customer": {"country": "FR"}})).await;
        set_clock(&stage, "2026-12-01T02:00:00Z");
        close(&stage).await;
        let draft = all(&stage).await.remove(0);
        assert_eq!((draft.total.amount_micros, draft.customer.country.as_deref()), (30_000_000, Some("FR")));
        subscribe(&stage, json!({"customer": {"country": "DE", "name": "Acme GmbH"}})).await;
        settle(&stage, json!({"seller": {"name": "Host"}, "payment": ["IBAN DE02 1203"], "due_days": 30})).await;
        set_clock(&stage, "2026-12-02T12:00:00Z");
        invoices::renew(&stage.engine, &operator(), &Repeat::NONE, draft.id).await.unwrap();
        let renewed = all(&stage).await.remove(0);
        assert_eq!((renewed.state.as_str(), renewed.total.amount_micros, renewed.taxes[0].amount_micros), ("draft", 35_700_000, 5_700_000));
        assert_eq!((renewed.seller.name.as_str(), renewed.customer.name.as_deref()), ("Host", Some("Acme GmbH")));
        assert_eq!((&renewed.lines, told(&stage).await.len()), (&draft.lines, 0));
        // What was mended since is on it as well once it is issued, and never afterwards.
        subscribe(&stage, json!({"customer": {"country": "DE", "name": "Acme AG"}})).await;
        invoices::issue(&stage.engine, &operator(), &Repeat::NONE, draft.id).await.unwrap();
        let issued = all(&stage).await.remove(0);
        assert_eq!((issued.customer.name.as_deref(), issued.total.amount_micros), (Some("Acme AG"), 35_700_000));
        assert_eq!((issued.payment_details.len(), issued.due_at), (1, Some("2027-01-01T12:00:00Z".parse().unwrap())));
        assert_eq!(invoices::renew(&stage.engine, &operator(), &Repeat::NONE, draft.id).await.unwrap_err().code, "invoice_state");
        assert_eq!(engine::books::verify(&db.db).await.unwrap().differences, []);
    }

    async fn the_next_overdue_invoice_is_told_once_the_first_is_paid(db: TestDb) {
        let stage = subscribed(&db, "2026-11-01T00:00:00Z", "UTC", json!([])).await;
        for at in ["2026-12-01T02:00:00Z", "2027-01-01T02:00:00Z"] {
            set_clock(&stage, at);
            close(&stage).await;
        }
        set_clock(&stage, "2027-01-20T02:00:00Z");
        closing::note_overdue(&stage.engine).await.unwrap();
        let found = all(&stage).await;
        let before = told(&stage).await.len();
        pay(&stage, &found[0]).await.unwrap();
        assert_eq!(told(&stage).await[before..], ["invoice.paid", "invoice.overdue"]);
        assert_eq!(subscribe(&stage, json!({})).await.past_due_since, found[1].due_at);
        pay(&stage, &found[1]).await.unwrap();
        assert_eq!((told(&stage).await[before + 2..].len(), subscribe(&stage, json!({})).await.past_due_since), (1, None));
    }

    async fn a_tenant_does_not_choose_its_tax(db: TestDb) {
        let stage = subscribed(&db, "2026-11-01T00:00:00Z", "UTC", json!([])).await;
        let taxes = json!([{"country": "DE", "name": "VAT", "rate_ppm": 190_000}, {"name": "none", "rate_ppm": 0}]);
        settle(&stage, json!({ "taxes": taxes })).await;
        let own = Caller { is_operator: false, ..stage.caller.clone() };
        let move_to = async |country: &str| {
            let change = serde_json::from_value(json!({ "default_country": country })).unwrap();
            tenants::patch_own(stage.engine.parts(), &own, change).await
        };
        assert_eq!(move_to("US").await.unwrap_err().code, "country_decides_tax");
        let german = serde_json::from_value(json!({"default_country": "DE"})).unwrap();
        tenants::patch(stage.engine.parts(), &operator(), stage.tenant, german).await.unwrap();
        // Numbers are read as American ones from then on, and the invoice goes to Germany as before.
        assert_eq!(move_to("US").await.unwrap().default_country.as_deref(), Some("US"));
        set_clock(&stage, "2026-12-01T02:00:00Z");
        close(&stage).await;
        let invoice = all(&stage).await.remove(0);
        assert_eq!((invoice.customer.country.as_deref(), invoice.total.amount_micros), (Some("DE"), 35_700_000));
        crate::bills::adds_up(&stage).await;
        // Nor does whoever has the database: its country is the one the log tells of.
        let told = async |from: &'static str, to: &'static str| {
            let sql = format!("UPDATE subscriptions SET customer = REPLACE(customer, '\"{from}\"', '\"{to}\"')");
            let turn = db.write(Scope::System, move |tx| Box::pin(async move { tx.execute(&sql, &[]).await }));
            assert_eq!(turn.await.unwrap(), 1);
            let found = engine::books::verify(&db.db).await.unwrap().differences;
            found.into_iter().map(|one| one.detail).collect::<Vec<_>>()
        };
        assert_eq!(told("DE", "US").await, ["its customer is not the one the audit log tells of"]);
        assert_eq!(told("US", "DE").await, Vec::<String>::new());
        // What the operator said is the operator's.
        subscribe(&stage, json!({"customer": {"country": "FR"}})).await;
        move_to("GB").await.unwrap();
        assert_eq!(subscribe(&stage, json!({})).await.customer.country.as_deref(), Some("FR"));
        assert_eq!(told("FR", "DE").await, ["its customer is not the one the audit log tells of"]);
        // Without a country of its own it has the tenant's again, and keeps that.
        subscribe(&stage, json!({"customer": {"name": "Acme"}})).await;
        crate::bills::adds_up(&stage).await;
        move_to("US").await.unwrap();
        assert_eq!(subscribe(&stage, json!({})).await.customer.country.as_deref(), Some("GB"));
        crate::bills::adds_up(&stage).await;
        assert_eq!(told("GB", "DE").await, ["its customer is not the one the audit log tells of"], "the country of before");
    }

    async fn who_does_not_pay_is_past_due_until_it_does(db: TestDb) {
        let stage = subscribed(&db, "2026-11-01T00:00:00Z", "UTC", json!([])).await;
        set_clock(&stage, "2026-12-01T02:00:00Z");
        close(&stage).await;
        set_clock(&stage, "2026-12-15T01:59:59Z");
        assert_eq!(closing::note_overdue(&stage.engine).await.unwrap(), 0);
        assert!(!all(&stage).await[0].is_overdue);
        set_clock(&stage, "2026-12-15T02:00:00Z");
        assert!(all(&stage).await[0].is_overdue, "the invoice says so at the same instant");
        assert_eq!((closing::note_overdue(&stage.engine).await.unwrap(), closing::note_overdue(&stage.engine).await.unwrap()), (1, 0));
        let seen = subscribe(&stage, json!({})).await;
        assert_eq!(seen.past_due_since, Some("2026-12-15T02:00:00Z".parse().unwrap()));
        set_clock(&stage, "2026-12-29T02:00:00Z");
        let mut marketing = sms(1);
        marketing["purpose"] = json!("marketing");
        assert_eq!(stage.try_send(marketing.clone(), None).await.unwrap_err().code, "subscription_past_due");
        stage.send(sms(1)).await;
        pay(&stage, &all(&stage).await[0]).await.unwrap();
        assert!(!all(&stage).await[0].is_overdue, "what is paid is not");
        assert_eq!(subscribe(&stage, json!({})).await.past_due_since, None);
        assert_ne!(stage.try_send(marketing, None).await.map_err(|error| error.code), Err("subscription_past_due"));
        assert_eq!(told(&stage).await, ["invoice.issued", "invoice.overdue", "invoice.paid"]);
        // Who did it is on record, also where it was nobody.
        let log = crate::setting::column(&db, "SELECT actor || ' ' || action FROM audit_log WHERE action LIKE 'invoice.%' AND acted_in IS NULL ORDER BY id").await;
        assert_eq!(log.lines().collect::<Vec<_>>(), ["system invoice.issued", "system invoice.overdue", "system invoice.paid"]);
        // What becomes of an invoice is the operator's business as well, and stays when the tenant is gone.
        let log = crate::setting::column(&db, "SELECT action FROM audit_log WHERE action LIKE 'invoice.%' AND acted_in IS NOT NULL ORDER BY id").await;
        assert_eq!(log.lines().collect::<Vec<_>>(), ["invoice.issued", "invoice.paid"]);
    }

    async fn a_credit_note_is_nothing_to_be_paid_and_a_payment_is_not_older_than_what_it_pays(db: TestDb) {
        let stage = subscribed(&db, "2026-11-01T00:00:00Z", "UTC", json!([])).await;
        settle(&stage, json!({"payment": ["IBAN DE02 1203"]})).await;
        set_clock(&stage, "2026-12-01T02:00:00Z");
        close(&stage).await;
        let invoice = all(&stage).await.remove(0);
        let early = serde_json::from_value(json!({"reference": "bank", "paid_at": "1999-01-01T00:00:00Z"})).unwrap();
        let refused = invoices::pay(&stage.engine, &operator(), &Repeat::NONE, invoice.id, early).await.unwrap_err();
        assert_eq!(refused.errors[0].pointer, "/paid_at");
        // As an invoice that gives something back: taking it back comes to an amount above zero.
        let tenant = stage.tenant;
        let turn = db.write(Scope::System, move |tx| Box::pin(async move { tx.execute("UPDATE invoices SET total = -total, state = 'paid' WHERE tenant_id = $1", &[&tenant]).await }));
        assert_eq!(turn.await.unwrap(), 1);
        void(&stage, &invoice).await.unwrap();
        let note = all(&stage).await.remove(1);
        assert_eq!((note.total.amount_micros, note.state.as_str(), note.due_at), (30_000_000, "paid", None));
        assert_eq!((invoice.payment_details.len(), note.payment_details.len()), (1, 0));
        let why = serde_json::from_value(json!({"reason": "株式会社"})).unwrap();
        assert_eq!(invoices::void(&stage.engine, &operator(), &Repeat::NONE, invoice.id, why).await.unwrap_err().errors[0].pointer, "/reason");
    }

    async fn what_cannot_be_printed_or_told_apart_is_refused_where_it_is_written(db: TestDb) {
        let stage = subscribed(&db, "2026-11-01T00:00:00Z", "UTC", json!([])).await;
        let pointers = |error: Error| error.errors.into_iter().map(|field| field.pointer).collect::<Vec<_>>();
        let settings = async |change: Value| {
            let change = serde_json::from_value(change).unwrap();
            settings::patch(stage.engine.parts(), &operator(), change).await
        };
        let odd = json!({"seller": {"name": "株式会社"}, "payment": ["銀行"], "note": "Thank\u{0} you"});
        assert_eq!(pointers(settings(odd).await.unwrap_err()), ["/payment/0", "/seller/name", "/note"]);
        assert_eq!(pointers(settings(json!({"series": "INV-1", "credit_note_series": "C2"})).await.unwrap_err()), ["/series", "/credit_note_series"]);
        settings(json!({"series": "INV-2026-", "note": "Thank you.\nGood-bye."})).await.unwrap();
        let refused = crate::plans::try_subscribe(&stage, json!({"customer": {"name": "Käufer 株式会社", "email": "a@acme.example"}})).await.unwrap_err();
        assert!(refused.errors[0].pointer == "/customer/name" && refused.errors[0].detail.contains("`株`"), "{refused:?}");
        subscribe(&stage, json!({"customer": {"name": "Käufer <&> Ελλάς Москва"}})).await;
    }

    async fn what_cannot_be_printed_stays_a_draft_until_it_is_put_right(db: TestDb) {
        let stage = subscribed(&db, "2026-11-01T00:00:00Z", "UTC", json!([])).await;
        let name = serde_json::from_value(json!({"name": "東京堂"})).unwrap();
        engine::tenants::patch(stage.engine.parts(), &operator(), stage.tenant, name).await.unwrap();
        set_clock(&stage, "2026-12-01T02:00:00Z");
        close(&stage).await;
        assert_eq!((close(&stage).await, all(&stage).await.len()), (0, 1), "the month is closed");
        let draft = all(&stage).await.remove(0);
        let mail = draft.mail.unwrap();
        let why = mail.failure.unwrap();
        assert_eq!((draft.state.as_str(), draft.number, why.code.as_str(), mail.next_try_at), ("draft", None, "invoice_unprintable", None));
        assert!(why.detail.contains("the customer's name has the character `東` (U+6771)") && why.detail.contains("PATCH /v1/subscription"), "{}", why.detail);
        let unmailed = async || {
            let read = db.read(Scope::System, |tx| Box::pin(async move { store::alert_facts::unmailed(tx, 9).await }));
            read.await.unwrap().len()
        };
        let issue = async || invoices::issue(&stage.engine, &operator(), &Repeat::NONE, draft.id).await;
        assert_eq!((unmailed().await, issue().await.unwrap_err().code), (1, "invoice_unprintable"));
        subscribe(&stage, json!({"customer": {"name": "Tokyodo KK", "email": "a@acme.example"}})).await;
        assert_eq!(engine::invoices::mailing::run(&stage.engine).await.unwrap(), 0, "a draft is not mailed");
        issue().await.unwrap();
        let issued = all(&stage).await.remove(0);
        assert_eq!((issued.state.as_str(), issued.number.as_deref(), issued.customer.name.as_deref()), ("issued", Some("INV-000001"), Some("Tokyodo KK")));
        assert_eq!((unmailed().await, issued.mail.map(|mail| mail.failure)), (0, Some(None)));
        assert_eq!(engine::books::verify(&db.db).await.unwrap().differences, []);
        // Of who is gone nobody can say the name otherwise.
        let back = serde_json::from_value(json!({"name": "京"})).unwrap();
        engine::tenants::patch(stage.engine.parts(), &operator(), stage.tenant, back).await.unwrap();
        subscribe(&stage, json!({"customer": null})).await;
        set_clock(&stage, "2026-12-10T00:00:00Z");
        engine::tenants::delete(stage.engine.parts(), &operator(), stage.tenant).await.unwrap();
        set_clock(&stage, "2026-12-10T01:00:00Z");
        engine::tenants::removal::run(&stage.engine).await.unwrap();
        let last = invoices::list(&stage.engine, &operator(), &InvoicesQuery::default()).await.unwrap().data.remove(0);
        assert_eq!((last.state.as_str(), last.number.as_deref(), last.customer.name), ("issued", Some("INV-000002"), Some(stage.tenant.to_string())));
    }

    async fn what_is_forgiven_stays_forgiven_and_the_next_delay_is_not(db: TestDb) {
        let stage = subscribed(&db, "2026-11-01T00:00:00Z", "UTC", json!([])).await;
        set_clock(&stage, "2026-12-01T02:00:00Z");
        close(&stage).await;
        set_clock(&stage, "2026-12-15T02:00:00Z");
        assert_eq!(closing::note_overdue(&stage.engine).await.unwrap(), 1);
        let forgiven = subscribe(&stage, json!({"past_due_since": null})).await;
        assert_eq!((forgiven.past_due_since, forgiven.forgiven_until), (None, Some("2026-12-15T02:00:00Z".parse().unwrap())));
        set_clock(&stage, "2026-12-30T02:00:00Z");
        assert_eq!(closing::note_overdue(&stage.engine).await.unwrap(), 0);
        let mut marketing = sms(1);
        marketing["purpose"] = json!("marketing");
        assert_ne!(stage.try_send(marketing, None).await.map_err(|error| error.code), Err("subscription_past_due"));
        assert!(all(&stage).await[0].is_overdue, "it is to be paid all the same");
        set_clock(&stage, "2027-01-01T02:00:00Z");
        close(&stage).await;
        set_clock(&stage, "2027-01-15T02:00:00Z");
        assert_eq!(closing::note_overdue(&stage.engine).await.unwrap(), 1);
        assert_eq!(subscribe(&stage, json!({})).await.past_due_since, Some("2027-01-15T02:00:00Z".parse().unwrap()));
        pay(&stage, &all(&stage).await[1]).await.unwrap();
        assert_eq!(subscribe(&stage, json!({})).await.past_due_since, None, "the first one is forgiven");
        assert_eq!(told(&stage).await, ["invoice.issued", "invoice.overdue", "invoice.issued", "invoice.overdue", "invoice.paid"]);
    }

    async fn messages_by_the_price_list_are_due_unless_credit_paid_them(db: TestDb) {
        let stage = subscribed(&db, "2026-11-01T00:00:00Z", "UTC", json!([])).await;
        let new = serde_json::from_value(json!({"currency": "USD", "rows": [{"channel": "sms", "unit": "message", "amount_micros": 2_000_000}]})).unwrap();
        prices::create(stage.engine.parts(), &operator(), &Repeat::NONE, new).await.unwrap();
        let mode = async |word: &str| {
            let change = serde_json::from_value(json!({"mode": word})).unwrap();
            credits::patch(stage.engine.parts(), &stage.caller, change).await.unwrap();
        };
        mode("postpaid").await;
        set_clock(&stage, "2026-11-20T12:00:00Z");
        stage.send(sms(1)).await;
        stage.dispatch().await;
        // Accepted after the month's end: it is for the next invoice.
        set_clock(&stage, "2026-12-01T00:30:00Z");
        stage.send(sms(2)).await;
        stage.dispatch().await;
        set_clock(&stage, "2026-12-01T02:00:00Z");
        close(&stage).await;
        let first = all(&stage).await.remove(0);
        assert_eq!(lines(&first)[1], line("messages", 1, 2_000_000));
        assert_eq!(first.total.amount_micros, 32_000_000);
        let available = async || credits::get(stage.engine.parts(), &stage.caller, false).await.unwrap().available.amount_micros;
        assert_eq!(available().await, -4_000_000);
        pay(&stage, &first).await.unwrap();
        assert_eq!(available().await, -2_000_000);
        mode("prepaid").await;
        set_clock(&stage, "2027-01-01T02:00:00Z");
        close(&stage).await;
        let second = all(&stage).await.remove(1);
        assert_eq!(lines(&second)[1..], [line("messages", 1, 2_000_000), line("credit", 1, -2_000_000)]);
        assert_eq!(second.total.amount_micros, 30_000_000);
    }

    async fn an_invoice_says_on_paper_what_was_charged_where(db: TestDb) {
        let stage = subscribed(&db, "2026-11-01T00:00:00Z", "UTC", json!([{"channel": "email", "included": 1, "overage_micros": 20_000}])).await;
        let rows = json!([{"channel": "sms", "unit": "message", "amount_micros": 1_254_000}, {"channel": "sms", "country": "IN", "unit": "message", "amount_micros": 333_400}, {"channel": "email", "unit": "message", "amount_micros": 0}]);
        let new = serde_json::from_value(json!({"currency": "USD", "rows": rows})).unwrap();
        prices::create(stage.engine.parts(), &operator(), &Repeat::NONE, new).await.unwrap();
        credits::patch(stage.engine.parts(), &stage.caller, serde_json::from_value(json!({"mode": "postpaid"})).unwrap()).await.unwrap();
        settle(&stage, json!({"seller": {"name": "Host GmbH", "address": ["Hafenstr. 1"]}, "taxes": [{"country": "DE", "name": "VAT", "rate_ppm": 190_000}]})).await;
        subscribe(&stage, json!({"customer": {"name": "Acme", "country": "DE"}})).await;
        set_clock(&stage, "2026-11-20T12:00:00Z");
        for number in 1..=2 {
            stage.send(sms(number)).await;
            stage.send(json!({"to": {"phone": format!("+91980000000{number}")}, "channel": "sms", "content": {"text": "Hello"}})).await;
            stage.send(json!({"to": {"email": "ada@example.com"}, "channel": "email", "content": {"subject": "Hi", "text": "Hello"}})).await;
        }
        let late = stage.send(json!({"to": {"phone": "+4915510000009"}, "channel": "sms", "content": {"text": "Hello"}, "send_at": "2026-12-02T00:00:00Z"})).await;
        stage.dispatch().await;
        set_clock(&stage, "2026-12-01T02:00:00Z");
        close(&stage).await;
        // What was accepted in November and sent in December is a correction on December's: November's 4.4288 are 4.43, of which 3.17 were billed.
        set_clock(&stage, "2026-12-02T12:00:00Z");
        stage.pass(60_000).await;
        assert!(stage.message(late).await.sent_at.is_some());
        set_clock(&stage, "2027-01-01T02:00:00Z");
        close(&stage).await;
        let invoices = all(&stage).await;
        let text = async |invoice: &InvoiceView| {
            let (_, pdf) = invoices::printing::document(&stage.engine, &stage.caller, invoice.id).await.unwrap();
            let text = lopdf::Document::load_mem(&pdf).unwrap().extract_text(&[1]).unwrap();
            text.split_whitespace().collect::<Vec<_>>().join(" ")
        };
        let first = text(&invoices[0]).await;
        let expected = "Studio, a month 1 30.00 30.00 email: 1 of 1 included messages 1 0.00 email beyond the 1 included 1 0.02 0.02 \
            sms to DE by the price list 2 2.51 sms to IN by the price list 2 0.66 33.19 Net amount 6.31 VAT 19 % on 33.19 Total USD 39.50";
        assert!(first.contains(expected), "{first}");
        let second = text(&invoices[1]).await;
        let expected = "Studio, a month 1 30.00 30.00 email: 0 of 1 included messages 0 0.00 \
            INV-000001: sms to DE by the price list, put right 1 1.26 31.26 Net amount 5.94 VAT 19 % on 31.26 Total USD 37.20";
        assert!(second.contains(expected), "{second}");
        assert_eq!(engine::books::verify(&stage.world.ports.db).await.unwrap().differences, []);
    }

    async fn a_change_of_plan_counts_for_the_running_month_and_the_last_bill_is_the_last(db: TestDb) {
        let stage = subscribed(&db, "2026-11-01T00:00:00Z", "UTC", json!([])).await;
        // November is over; what is chosen now is December's.
        set_clock(&stage, "2026-12-01T00:10:00Z");
        let new = json!({"name": "Other", "currency": "USD", "monthly_fee_micros": 31_000_000});
        let new = serde_json::from_value(new).unwrap();
        let made = engine::plans::create(stage.engine.parts(), &operator(), &Repeat::NONE, new).await.unwrap();
        let made: Value = serde_json::from_slice(&made.body).unwrap();
        subscribe(&stage, json!({"plan_id": made["id"], "canceled_at": "2026-12-11T00:00:00Z"})).await;
        set_clock(&stage, "2027-02-01T02:00:00Z");
        while close(&stage).await > 0 {}
        let found = all(&stage).await;
        let told: Vec<_> = found.iter().map(|row| (row.plan.as_deref().unwrap(), row.month.as_str(), row.total.amount_micros)).collect();
        assert_eq!(told, [("Studio", "2026-11", 30_000_000), ("Other", "2026-12", 10_000_000)]);
        assert_eq!(subscribe(&stage, json!({})).await.next_invoice_at, None);
    }
}
