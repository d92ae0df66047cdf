//! B14, analytics of a year of one tenant: how long each question takes that a page asks, from the sums that ten million messages leave.

use std::collections::BTreeMap;

use anyhow::ensure;
use engine::analytics::AnalyticsQuery;
use model::{AccountId, CampaignId, Channel, Purpose, TemplateId, TenantId, Timestamp};
use serde_json::{Value, json};
use store::{
    Scope,
    message_counters::{self, Counts, Key, SLOT_S},
};

use super::{
    Order,
    clock::{now_us, seconds},
    inside::Inside,
    report::{Latency, Phase, Report, Target},
};

/// Messages of the year.
const MESSAGES: u64 = 10_000_000;
/// Slots of the year.
const SLOTS: i64 = 365 * 48;
/// Countries text messages go to in every slot.
const COUNTRIES: [&str; 4] = ["DE", "FR", "IN", "US"];
/// Slots between two campaigns: a week.
const CAMPAIGN_SLOTS: i64 = 7 * 48;
/// Slots in which a campaign leaves.
const CAMPAIGN_LASTS: i64 = 6;
/// Slots written in one transaction.
const PAGE: i64 = 500;
/// Times each question is asked: enough for a median, few enough to end soon.
const TIMES: usize = 20;
/// Longest median, in milliseconds.
const ANSWER_MS: f64 = 300.0;

/// Fills a year and asks about it. The sums are written as accepting and applying would have left them; the messages themselves are not there, and nobody asks for them.
pub async fn run(order: &Order) -> anyhow::Result<Report> {
    let room = order.room().await?;
    let mut report =
        Report::new("b14", "analytics of a year of ten million messages", room.engine(), room.durability());
    let inside = Inside::new(&room).await?;
    let messages = order.messages(MESSAGES);
    let year = Year::before(inside.engine.ports.clock.now(), inside.tenant, messages);
    let (began, sums) = (now_us(), year.write(&inside).await?);
    report.phases.push(Phase::new("sums by half hour written", sums, seconds(began, now_us())));
    room.settle().await;
    let questions = [
        ("the year in one sum", json!({})),
        ("by month and channel", json!({"interval": "month", "group_by": "channel"})),
        ("by day", json!({"interval": "day"})),
        ("by week, channel and country", json!({"interval": "week", "group_by": "channel,country"})),
        ("by campaign and variant", json!({"group_by": "campaign,variant"})),
    ];
    for (name, question) in questions {
        let phase = ask(&inside, &year, name, question).await?;
        let median = phase.latency.unwrap_or_default().p50_ms;
        report.targets.push(Target::at_most(format!("{name}, half of the times"), median, ANSWER_MS, "ms"));
        report.phases.push(phase);
    }
    report
        .notes
        .push(format!("{messages} messages come to {sums} sums by half hour; whole days are read from those by day."));
    Ok(report)
}

/// What is asked about.
struct Year {
    tenant: TenantId,
    /// Its first slot, at midnight.
    from: Timestamp,
    /// Messages of each sum.
    each: i64,
}

impl Year {
    fn before(now: Timestamp, tenant: TenantId, messages: u64) -> Self {
        let midnight = Timestamp::from_seconds(now.as_seconds() / 86_400 * 86_400);
        let sums = SLOTS.unsigned_abs() * (COUNTRIES.len() as u64 + 1);
        Self {
            tenant,
            from: midnight.plus_seconds(-SLOTS * SLOT_S),
            each: i64::try_from(messages / sums).unwrap_or(i64::MAX).max(1),
        }
    }

    /// Writes all sums. Answers how many.
    async fn write(&self, inside: &Inside) -> anyhow::Result<u64> {
        let mut written = 0;
        for first in (0..SLOTS).step_by(PAGE as usize) {
            let sums: BTreeMap<Key, Counts> =
                (first..(first + PAGE).min(SLOTS)).flat_map(|slot| self.slot(slot)).collect();
            written += sums.len() as u64;
            let write = inside.engine.ports.db.write(Scope::System, move |tx| {
                Box::pin(async move { message_counters::add_many(tx, 0, &sums).await })
            });
            write.await?;
        }
        Ok(written)
    }

    /// What a half hour leaves: text messages to every country, mails, and once a week a campaign of two variants.
    fn slot(&self, slot: i64) -> Vec<(Key, Counts)> {
        let mut sums: Vec<(Key, Counts)> =
            COUNTRIES.iter().map(|country| (self.key(slot, Channel::Sms, country), self.counts(slot))).collect();
        sums.push((self.key(slot, Channel::Email, ""), self.counts(slot)));
        if slot % CAMPAIGN_SLOTS < CAMPAIGN_LASTS {
            let campaign = CampaignId::from_ulid(1 + (slot / CAMPAIGN_SLOTS).unsigned_abs() as u128);
            for variant in [1, 2] {
                let key = Key {
                    campaign_id: campaign,
                    variant,
                    purpose: Purpose::Marketing,
                    ..self.key(slot, Channel::Email, "")
                };
                sums.push((key, self.counts(slot)));
            }
        }
        sums
    }

    fn key(&self, slot: i64, channel: Channel, country: &str) -> Key {
        Key {
            tenant_id: self.tenant,
            at: self.from.plus_seconds(slot * SLOT_S),
            channel,
            provider: if channel == Channel::Sms { "twilio" } else { "ses" }.to_owned(),
            account_id: AccountId::from_ulid(1),
            purpose: Purpose::Transactional,
            country: country.to_owned(),
            campaign_id: CampaignId::from_ulid(0),
            template_id: TemplateId::from_ulid(1),
            template_version: 1,
            topic: String::new(),
            variant: 0,
            currency: "USD".to_owned(),
            clock: 0,
        }
    }

    fn counts(&self, slot: i64) -> Counts {
        let outcome = store::usage::Counts {
            accepted: self.each,
            sent: self.each,
            delivered: self.each - self.each / 50,
            bounced: self.each / 50,
            ..store::usage::Counts::default()
        };
        let mut counts = Counts { outcome, opened: self.each / 3, cost_micros: self.each * 7_500, ..Counts::default() };
        counts.took[(slot % 6) as usize] = outcome.delivered;
        counts
    }
}

async fn ask(inside: &Inside, year: &Year, name: &str, mut question: Value) -> anyhow::Result<Phase> {
    question["since"] = json!(year.from.to_string());
    let query: AnalyticsQuery = serde_json::from_value(question)?;
    let (mut waits, began) = (Vec::new(), now_us());
    let mut told = Vec::new();
    for _ in 0..TIMES {
        let asked = now_us();
        told = inside.engine.analytics(&inside.caller, &query).await?;
        waits.push(now_us() - asked);
    }
    let told: Value = serde_json::from_slice(&told)?;
    let accepted = told["totals"]["accepted"].as_i64().unwrap_or(0);
    let campaigns = (SLOTS + CAMPAIGN_SLOTS - 1) / CAMPAIGN_SLOTS * CAMPAIGN_LASTS * 2;
    let expected = year.each * (SLOTS * (COUNTRIES.len() as i64 + 1) + campaigns);
    ensure!(accepted == expected, "{name}: {accepted} messages were told instead of {expected}");
    Ok(Phase { latency: Latency::of(&mut waits), ..Phase::new(name, TIMES as u64, seconds(began, now_us())) })
}
