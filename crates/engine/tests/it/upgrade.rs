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
