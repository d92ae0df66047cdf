//! An installation that was used before and gets this version: what its tenants had stays theirs, what is new comes to them, and figures are right from the first moment on.

use model::{AccountId, AlertRuleId, CampaignId, Channel, MessageId, Purpose, Status, TemplateId, TenantId, Timestamp};
use serde_json::{Value, json};
use store::{Scope, Tx};
use testkit::{Stage, TestDb, World};
use tidings_engine::{
    alerts::{self, kinds::KINDS, rules},
    analytics::{self, AnalyticsQuery},
    keys::Caller,
};

use crate::{hooks::read, setting::column};

/// The version before there were sums by day, and when there were nine kinds of alerts.
const BEFORE: i64 = 22;
const KINDS_BEFORE: usize = 9;
const ACME: TenantId = TenantId::from_ulid(10);
const OTHER: TenantId = TenantId::from_ulid(20);
const ACCOUNT: AccountId = AccountId::from_ulid(3);

/// What was counted of messages by then.
const COUNTS: [&str; 36] = [
    "accepted",
    "sent",
    "delivered",
    "took_1",
    "segments",
    "read",
    "failed",
    "bounced",
    "canceled",
    "expired",
    "suppressed",
    "unknown",
    "opened",
    "clicked",
    "machine_opened",
    "machine_clicked",
    "complained",
    "unsubscribed",
    "failed_recipient",
    "failed_opted_out",
    "failed_content",
    "failed_throttled",
    "failed_unavailable",
    "failed_account",
    "failed_unknown",
    "took_0",
    "took_2",
    "took_3",
    "took_4",
    "took_5",
    "took_6",
    "took_7",
    "took_8",
    "took_9",
    "took_10",
    "took_11",
];

/// One delivered text message, as it was kept and summed.
async fn message(tx: &mut Tx, at: Timestamp) -> Result<(), store::Error> {
    let id = MessageId::from_ulid(u128::from(at.as_millis().unsigned_abs()) << 80);
    let sql = "INSERT INTO messages (tenant_id, id, channel, purpose, class, guarantee, status, address, account_id, connector, content_id, attempts, polls, segments,
            cost_micros, cost_currency, created_at, sent_at, delivered_at)
        VALUES ($1, $2, $3, $4, 0, 0, $5, '+4915112345678', $6, 'twilio', $2, 1, 0, 1, 7500, 'USD', $7, $7, $8)";
    let (channel, purpose, status) = (Channel::Sms.code(), Purpose::Transactional.code(), Status::Delivered.code());
    let params: [&dyn store::Param; 8] =
        [&ACME, &id, &channel, &purpose, &status, &ACCOUNT, &at, &at.plus_millis(1_500)];
    tx.execute(sql, &params).await?;
    let values =
        COUNTS.iter().enumerate().map(|(index, _)| if index < 5 { "1" } else { "0" }).collect::<Vec<_>>().join(", ");
    let more = COUNTS
        .iter()
        .take(5)
        .map(|name| format!("{name} = message_counters.{name} + 1"))
        .collect::<Vec<_>>()
        .join(", ");
    let sql = format!(
        "INSERT INTO message_counters (tenant_id, at, channel, provider, account_id, purpose, country, campaign_id, template_id, template_version, topic, shard, {})
         VALUES ($1, $2, $3, 'twilio', $4, $5, 'DE', $6, $7, 0, '', 0, {values})
         ON CONFLICT (tenant_id, at, channel, provider, account_id, purpose, country, campaign_id, template_id, template_version, topic, shard) DO UPDATE SET {more}",
        COUNTS.join(", ")
    );
    let (slot, none, plain) = (store::message_counters::slot(at), CampaignId::from_ulid(0), TemplateId::from_ulid(0));
    let params: [&dyn store::Param; 7] = [&ACME, &slot, &channel, &ACCOUNT, &purpose, &none, &plain];
    tx.execute(&sql, &params).await.map(drop)
}

/// A tenant of the version before, which changed one rule and deleted the other eight.
async fn fill(db: &TestDb, now: Timestamp) {
    let write = db.db.write(Scope::System, move |tx| {
        Box::pin(async move {
            let tenant = store::tenants::Tenant {
                id: ACME,
                name: "Acme".to_owned(),
                state: "active".to_owned(),
                timezone: "Asia/Kolkata".to_owned(),
                currency: "USD".to_owned(),
                default_country: None,
                per_second: None,
                is_demo: false,
                config_version: 1,
                created_at: Timestamp::EPOCH,
                updated_at: Timestamp::EPOCH,
                deleted_at: None,
            };
            store::tenants::insert(tx, &tenant).await?;
            for seconds in [48 * 3_600, 26 * 3_600, 2 * 3_600, 2 * 3_600 - 5, 60] {
                message(tx, now.plus_seconds(-seconds)).await?;
            }
            let sql = "INSERT INTO alert_watches (tenant_id, checked_at, created_at) VALUES ($1, $2, $2)";
            tx.execute(sql, &[&ACME, &Timestamp::EPOCH]).await?;
            let sql = "INSERT INTO alert_rules (tenant_id, id, kind, name, is_enabled, threshold_micros, over_s, at_least, for_s, quiet_s, deliver, created_at, updated_at)
                VALUES ($1, $2, $3, 'Fewer arrive', TRUE, 55000000, 3600, 10, 0, 3600, '[]', $4, $4)";
            let params: [&dyn store::Param; 4] = [&ACME, &AlertRuleId::from_ulid(1), &KINDS[2].word, &Timestamp::EPOCH];
            tx.execute(sql, &params).await.map(drop)
        })
    });
    write.await.unwrap();
}

async fn figures(stage: &Stage, interval: &str) -> Value {
    let query: AnalyticsQuery =
        serde_json::from_value(json!({ "interval": interval, "group_by": "channel,country" })).unwrap();
    read(stage.engine.analytics(&Caller::system(Some(ACME)), &query).await)
}

fn delivered(told: &Value) -> Vec<i64> {
    told["data"].as_array().unwrap().iter().map(|row| row["delivered"].as_i64().unwrap()).collect()
}

#[test]
fn a_tenant_of_an_earlier_version_finds_everything() {
    testkit::on_each_older(BEFORE, async |db: TestDb| {
        let world = World::new(&db);
        let now = world.ports.clock.now();
        fill(&db, now).await;
        assert!(!store::migrate(&db.db, now).await.unwrap().is_empty());
        let stage = Stage::in_world(world).await;

        // The figures, while the sums are counted again and afterwards: in India the day begins at 18:30.
        assert_eq!(column(&db, "SELECT CAST(COUNT(*) AS TEXT) FROM message_days").await, "0");
        let (days, all) = (figures(&stage, "day").await, figures(&stage, "all").await);
        assert_eq!((delivered(&days), delivered(&all)), (vec![1, 1, 3], vec![5]), "{days}");
        assert!(analytics::recount_pending(&stage.engine).await.unwrap() > 0);
        let (again, once) = (figures(&stage, "day").await, figures(&stage, "all").await);
        assert_eq!((delivered(&again), delivered(&once)), (vec![1, 1, 3], vec![5]), "{again}");
        assert_eq!(again["totals"]["delivery_median_ms"], days["totals"]["delivery_median_ms"]);
        assert_eq!(
            again["totals"]["costs"],
            json!([{ "amount_micros": 37_500, "currency": "USD" }]),
            "what was not summed before"
        );
        assert_eq!(stage.engine.recount(ACME).await.unwrap(), 0);

        // The rules: the looks come to it because something happens there, and bring the kinds it did not know.
        alerts::watch(&stage.engine).await.unwrap();
        assert_eq!(
            column(&db, "SELECT CAST(kinds AS TEXT) FROM alert_watches ORDER BY tenant_id LIMIT 1").await,
            KINDS.len().to_string()
        );
        let seen = rules::list(stage.engine.parts(), &Caller::system(Some(ACME)), Some(100), None).await.unwrap().data;
        let mut kinds: Vec<_> = seen.iter().map(|rule| rule.kind).collect();
        kinds.sort_unstable();
        let new =
            KINDS.iter().skip(KINDS_BEFORE).filter(|spec| spec.is_tenants && spec.has_default).map(|spec| spec.kind);
        let mut expected: Vec<_> = new.chain([KINDS[2].kind]).collect();
        expected.sort_unstable();
        assert_eq!(kinds, expected, "what it deleted stays deleted");
        let kept = seen.iter().find(|rule| rule.kind == KINDS[2].kind).unwrap();
        assert_eq!((kept.name.as_str(), kept.threshold), ("Fewer arrive", 55.0), "what it changed stays as it is");
    });
}

/// The version before payments were told apart for good, and when a credit note could be to be paid.
const BEFORE_PAYMENTS: i64 = 39;

/// What money was then: a payment two purchases have, a price list, and a credit note for an invoice below zero, which made its tenant past due.
async fn fill_money(tx: &mut Tx, now: Timestamp) -> Result<(), store::Error> {
    let due = now.plus_seconds(-86_400);
    for (tenant, id, payment) in [(ACME, 1_u128, "pi_1"), (OTHER, 2, "pi_1"), (OTHER, 3, "pi_3")] {
        let (state, session) = (if id == 3 { "failed" } else { "paid" }, format!("cs_{id}"));
        let id = model::PurchaseId::from_ulid(id);
        let sql = "INSERT INTO credit_purchases (tenant_id, id, provider, state, amount, currency, refunded, session, payment, is_top_up, saves_method, looks, looked, actor, created_at, updated_at)
            VALUES ($1, $2, 'stripe', $3, 5, 'USD', 0, $4, $5, FALSE, FALSE, 0, 0, 'stripe', $6, $6)";
        tx.execute(sql, &[&tenant, &id, &state, &session, &payment, &now]).await?;
    }
    let rows = json!([{"channel": "sms", "unit": "segment", "amount_micros": 7}, {"channel": "email", "unit": "message", "amount_micros": 1}]);
    let sql = "INSERT INTO price_lists (version, currency, valid_from, note, body, created_at) VALUES (1, 'USD', $1, '\"channel\":', $2, $1)";
    tx.execute(sql, &[&now, &rows.to_string()]).await?;
    for (id, kind, total) in [(1_u128, "invoice", -5_i64), (2, "credit_note", 5), (3, "invoice", 7)] {
        let invoice = store::invoices::Invoice {
            tenant_id: ACME,
            id: model::InvoiceId::from_ulid(id),
            kind: kind.to_owned(),
            state: if id == 1 { "void" } else { "issued" }.to_owned(),
            number: Some(format!("N-{id}")),
            of_id: None,
            currency: "USD".to_owned(),
            starts_at: now.plus_seconds(i64::try_from(id).unwrap_or_default()),
            ends_at: now.plus_seconds(9),
            total,
            body: "{}".to_owned(),
            issued_at: Some(due),
            due_at: Some(if id == 3 { now } else { due }),
            paid_at: None,
            payment: None,
            voided_at: None,
            mail: store::invoices::Mail::default(),
            created_at: now,
            updated_at: now,
        };
        store::invoices::insert(tx, ACME, &invoice).await?;
    }
    let subscription = store::subscriptions::Subscription {
        tenant_id: ACME,
        plan_id: None,
        trial_ends_at: None,
        past_due_since: Some(due),
        forgiven_until: None,
        canceled_at: None,
        cancel_said_at: None,
        customer: "{}".to_owned(),
        counted_from: now,
        billed_until: now,
        closes_at: None,
        created_at: now,
        updated_at: now,
    };
    store::subscriptions::put(tx, ACME, &subscription).await
}

#[test]
fn money_of_an_earlier_version_is_put_right() {
    testkit::on_each_older(BEFORE_PAYMENTS, async |db: TestDb| {
        let now = Timestamp::from_seconds(1_800_000_000);
        db.db.write(Scope::System, move |tx| Box::pin(async move { fill_money(tx, now).await })).await.unwrap();
        assert!(!store::migrate(&db.db, now).await.unwrap().is_empty());
        let seen = db.db.write(Scope::System, move |tx| {
            Box::pin(async move {
                let mut credited = Vec::new();
                for payment in ["pi_1", "cs_1", "cs_2", "pi_3", "cs_3"] {
                    let found = store::payments::credited(tx, payment).await?;
                    credited.push(found.map(|(tenant, id)| (tenant, id.ulid())));
                }
                let lists = store::prices::list(tx, i64::MAX, 9).await?;
                let note = store::invoices::find(tx, ACME, model::InvoiceId::from_ulid(2)).await?.unwrap();
                let past_due_since = store::subscriptions::find(tx, ACME).await?.unwrap().past_due_since;
                let overdue =
                    store::invoices::first_overdue(tx, ACME, None, now).await?.map(|invoice| invoice.id.ulid());
                let bought = store::purchases::find(tx, ACME, model::PurchaseId::from_ulid(1)).await?.unwrap();
                Ok::<_, store::Error>((credited, lists[0].row_count, note, past_due_since, overdue, bought))
            })
        });
        let (credited, row_count, note, past_due_since, overdue, bought) = seen.await.unwrap();
        assert_eq!(
            (bought.tax, bought.amount, bought.refunded_tax),
            (None, 5, 0),
            "what was bought before was sold without tax"
        );
        assert_eq!(credited, [Some((ACME, 1)), Some((ACME, 1)), Some((OTHER, 2)), None, None]);
        assert_eq!((row_count, past_due_since, overdue), (2, None, Some(3)));
        assert_eq!((note.state.as_str(), note.due_at, note.paid_at), ("paid", None, note.issued_at));
    });
}
