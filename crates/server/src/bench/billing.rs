//! B12 and B13, billing: closing the months of many tenants, and what a prepaid ledger with a price book adds to accepting and sending.

use std::sync::Arc;

use anyhow::{Context as _, bail, ensure};
use engine::{
    invoices::closing,
    keys::Caller,
    money::{credits, prices},
    once::Repeat,
    plans,
};
use model::{AccountId, CampaignId, Channel, PlanId, Purpose, TemplateId, TenantId, Timestamp};
use serde_json::{Value, json};
use store::{
    Scope,
    message_counters::{self, Counts, Key},
    subscriptions::{self, Subscription},
    tenants::{self, Tenant},
};
use tokio::sync::watch;

use super::{
    Order,
    clock::{now_us, seconds, sleep_ms},
    fill::BATCH,
    inside::Inside,
    meter::{self, Meter},
    report::{Phase, Report, Target},
    room::Room,
    texts,
};

/// Messages of the month that is closed.
const MONTH_MESSAGES: u64 = 10_000_000;
const TENANTS: u64 = 1_000;
/// Countries each tenant sends to.
const COUNTRIES: [&str; 5] = ["DE", "FR", "IN", "NG", "US"];
/// Half hours of a month, spread over it, in which each tenant sends to one country.
const SLOTS: u64 = 200;
/// Most the closing may take, in seconds.
const CLOSED_S: f64 = 60.0;

/// Messages that are accepted and sent with billing and without.
const MESSAGES: u64 = 100_000;
/// Times each is measured; the cheaper one of each counts, as what else the machine does only ever adds.
const ROUNDS: usize = 3;
/// Most the ledger may add, in percent.
const MORE_PERCENT: f64 = 15.0;
/// How often progress is looked at, in milliseconds.
const LOOK_MS: u64 = 25;
/// Longest time without progress before the workload gives up, in microseconds.
const STALLED_US: u64 = 30_000_000;

/// Closes a month. The sums it reads are written as accepting and applying would have left them; the messages themselves are not there, and nobody asks for them.
pub async fn b12(order: &Order) -> anyhow::Result<Report> {
    let room = order.room().await?;
    let mut report = Report::new("b12", "a month closed for 1,000 tenants", room.engine(), room.durability());
    let inside = Inside::new(&room).await?;
    let messages = order.messages(MONTH_MESSAGES);
    let sums = fill(&inside, messages).await?;
    room.settle().await;
    let meter = Meter::start(meter::ourselves(), &room, order.commits()).await;
    let began = now_us();
    let closed = closing::run(&inside.engine).await?;
    let took = seconds(began, now_us());
    let cost = meter.stop(&room, order.commits(), closed).await;
    ensure!(closed == TENANTS, "{closed} months were closed instead of {TENANTS}");
    ensure!(closing::run(&inside.engine).await? == 0, "a month was closed twice");
    report.targets.push(Target::at_most(format!("{messages} messages of {TENANTS} tenants"), took, CLOSED_S, "s"));
    report.notes.push(format!("The messages come to {sums} sums by half hour and country, which are what is read."));
    report.phases.push(Phase { cost: Some(cost), ..Phase::new("months closed and invoices issued", closed, took) });
    Ok(report)
}

/// Makes tenants whose month is over, and what they sent in it. Answers how many sums there are.
async fn fill(inside: &Inside, messages: u64) -> anyhow::Result<u64> {
    let parts = inside.engine.parts();
    let now = parts.ports.clock.now();
    let (starts_at, ends_at) = plans::months::month(&plans::months::zone("UTC"), now.plus_seconds(-40 * 86_400));
    let allowances = json!([{"channel": "sms", "included": 1_000, "overage_micros": 9_000}]);
    let new = json!({"name": "Bench", "currency": "USD", "monthly_fee_micros": 49_000_000, "allowances": allowances});
    let made = plans::create(parts, &Caller::system(None), &Repeat::NONE, serde_json::from_value(new)?).await?;
    let made: Value = serde_json::from_slice(&made.body)?;
    let plan: PlanId = made["id"].as_str().and_then(|id| id.parse().ok()).context("a plan has an id")?;
    let each = i64::try_from(messages / (TENANTS * SLOTS))?.max(1);
    for number in 0..TENANTS {
        let id = TenantId::from_ulid(parts.ports.ids.ulid(now));
        let write = parts.ports.db.write(Scope::System, move |tx| {
            Box::pin(async move {
                tenants::insert(tx, &tenant(id, number, now)).await?;
                subscriptions::put(tx, id, &subscription(id, plan, starts_at, ends_at)).await?;
                let sums = (0..SLOTS).map(|slot| {
                    let counts = store::usage::Counts { accepted: each, sent: each, ..store::usage::Counts::default() };
                    (key(id, slot, starts_at), Counts { outcome: counts, ..Counts::default() })
                });
                message_counters::add_many(tx, 0, &sums.collect()).await
            })
        });
        write.await?;
    }
    Ok(TENANTS * SLOTS)
}

fn tenant(id: TenantId, number: u64, now: Timestamp) -> Tenant {
    Tenant {
        id,
        name: format!("Tenant {number}"),
        state: "active".to_owned(),
        timezone: "UTC".to_owned(),
        currency: "USD".to_owned(),
        default_country: None,
        per_second: None,
        is_demo: false,
        config_version: 0,
        created_at: now,
        updated_at: now,
        deleted_at: None,
    }
}

fn subscription(tenant_id: TenantId, plan_id: PlanId, starts_at: Timestamp, ends_at: Timestamp) -> Subscription {
    Subscription {
        tenant_id,
        plan_id: Some(plan_id),
        trial_ends_at: None,
        past_due_since: None,
        forgiven_until: None,
        canceled_at: None,
        cancel_said_at: None,
        customer: "{}".to_owned(),
        counted_from: starts_at,
        billed_until: starts_at,
        closes_at: Some(ends_at),
        created_at: starts_at,
        updated_at: starts_at,
    }
}

/// One sum: a half hour, to one country.
fn key(tenant_id: TenantId, slot: u64, starts_at: Timestamp) -> Key {
    let at = starts_at.plus_seconds(i64::try_from(slot).unwrap_or(0) * 3 * 1_800);
    Key {
        tenant_id,
        at,
        channel: Channel::Sms,
        provider: "twilio".to_owned(),
        account_id: AccountId::from_ulid(1),
        purpose: Purpose::Transactional,
        country: COUNTRIES[slot as usize % COUNTRIES.len()].to_owned(),
        campaign_id: CampaignId::from_ulid(0),
        template_id: TemplateId::from_ulid(0),
        template_version: 0,
        topic: String::new(),
        variant: 0,
        currency: String::new(),
        clock: 0,
    }
}

/// Accepts and sends messages of a tenant that is not billed, and of one that pays ahead by a price list, in turns.
pub async fn b13(order: &Order) -> anyhow::Result<Report> {
    let mut report = Report::new("b13", "billing on and off: accepted in batches and sent", "", "");
    let mut least = [f64::MAX; 2];
    for round in 1..=ROUNDS {
        for (index, (is_billed, name)) in [(false, "not billed"), (true, "prepaid")].into_iter().enumerate() {
            let room = order.room().await?;
            (report.database, report.durability) = (room.engine().to_owned(), room.durability().to_owned());
            let phase = pass(order, &room, &format!("{name}, round {round}"), is_billed).await?;
            least[index] = least[index].min(phase.seconds * 1e6 / phase.count as f64);
            report.phases.push(phase);
        }
    }
    let [without, with] = least;
    let more = (with / without - 1.0) * 100.0;
    report.targets.push(Target::at_most("what a ledger adds to a message", more.max(0.0), MORE_PERCENT, "%"));
    report.notes.push(format!(
        "From the first request until the last message was recorded as sent, the least of {ROUNDS} rounds: {without:.1} µs a message not billed, {with:.1} µs prepaid."
    ));
    Ok(report)
}

async fn pass(order: &Order, room: &Room, name: &str, is_billed: bool) -> anyhow::Result<Phase> {
    let inside = Inside::new(room).await?;
    inside.noop(true).await?;
    if is_billed {
        bill(&inside).await?;
    }
    let batches = order.messages(MESSAGES).div_ceil(BATCH);
    let messages = batches * BATCH;
    room.settle().await;
    let meter = Meter::start(meter::ourselves(), room, order.commits()).await;
    let (stop, stopped) = watch::channel(false);
    let jobs = tokio::spawn(engine::jobs::run(Arc::clone(&inside.engine), stopped));
    let began = now_us();
    for number in 0..batches {
        let body = texts::sms_batch(number * BATCH, (number + 1) * BATCH);
        inside.send_batch(&body, BATCH as usize).await?;
    }
    let ended = until_sent(&inside, messages).await;
    stop.send_replace(true);
    let cost = meter.stop(room, order.commits(), messages).await;
    jobs.await?;
    let took = seconds(began, ended?);
    if is_billed {
        let credit = credits::get(inside.engine.parts(), &inside.caller, false).await?;
        ensure!(credit.differences.is_empty(), "the ledger does not add up: {:?}", credit.differences);
        ensure!(credit.reserved.amount_micros == 0, "something is still set aside");
    }
    Ok(Phase { cost: Some(cost), ..Phase::new(name, messages, took) })
}

/// Gives the tenant credit and a price list of a size that is usual.
async fn bill(inside: &Inside) -> anyhow::Result<()> {
    let parts = inside.engine.parts();
    let mut rows = vec![json!({"channel": "sms", "unit": "segment", "amount_micros": 9_000})];
    rows.extend((20..99).map(|prefix| {
        json!({"channel": "sms", "prefix": prefix.to_string(), "unit": "segment", "amount_micros": 4_000 + prefix})
    }));
    let list = serde_json::from_value(json!({"currency": "USD", "rows": rows}))?;
    prices::create(parts, &Caller::system(None), &Repeat::NONE, list).await?;
    credits::patch(parts, &inside.caller, serde_json::from_value(json!({"mode": "prepaid"}))?).await?;
    let bought = serde_json::from_value(json!({"amount_micros": 1_000_000_000_000_i64, "reference": "bench"}))?;
    credits::purchase(parts, &inside.caller, &Repeat::NONE, bought).await?;
    Ok(())
}

/// Waits until all messages are recorded as sent. Answers when.
async fn until_sent(inside: &Inside, messages: u64) -> anyhow::Result<u64> {
    let (mut last, mut moved_at) = (0, now_us());
    loop {
        let (_, sent) = inside.counted().await?;
        if sent >= messages {
            return Ok(now_us());
        }
        if sent > last {
            (last, moved_at) = (sent, now_us());
        }
        if now_us() - moved_at > STALLED_US {
            bail!("{sent} of {messages} messages left, and then none for {} s", STALLED_US / 1_000_000);
        }
        sleep_ms(LOOK_MS).await;
    }
}
