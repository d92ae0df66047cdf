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
use tokio::{sync::watch, task::JoinHandle};

use super::{
    Order,
    clock::{now_us, seconds, sleep_ms},
    fill::BATCH,
    inside::Inside,
    meter::{self, Meter},
    report::{Cost, Phase, Report, Target},
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

/// Messages that are accepted and sent with billing, and as many without: in a run of half as many chance makes twice the difference on PostgreSQL.
const MESSAGES: u64 = 400_000;
/// Messages of one turn. A machine is quicker and slower for seconds at a time; turns of half a second share that out evenly.
const TURN: u64 = 10_000;
/// Most the ledger may add, in percent.
const MORE_PERCENT: f64 = 15.0;
/// How often progress is looked at, in milliseconds.
const LOOK_MS: u64 = 5;
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

/// Accepts and sends messages of a tenant that is not billed, and of one that pays ahead by a price list, in turns: each has a database and an engine of its own, and rests while it is the other's turn.
pub async fn b13(order: &Order) -> anyhow::Result<Report> {
    let mut report = Report::new("b13", "billing on and off: accepted in batches and sent", "", "");
    let mut sides = [Side::new(order, false).await?, Side::new(order, true).await?];
    (report.database, report.durability) = (sides[0].room.engine().to_owned(), sides[0].room.durability().to_owned());
    let turns = order.messages(MESSAGES).div_ceil(TURN);
    for turn in 0..turns as usize {
        // Who goes first changes, so what a turn leaves behind falls on both alike.
        for side in [turn % 2, (turn + 1) % 2] {
            sides[side].turn(order).await?;
        }
    }
    let mut took = Vec::new();
    for (side, name) in sides.into_iter().zip(["not billed", "prepaid"]) {
        let phase = side.end(name).await?;
        took.push(phase.seconds * 1e6 / phase.count as f64);
        report.phases.push(phase);
    }
    let more = (took[1] / took[0] - 1.0) * 100.0;
    report.targets.push(Target::at_most("what a ledger adds to a message", more.max(0.0), MORE_PERCENT, "%"));
    report.notes.push(format!(
        "From the first request of a turn of {TURN} until its last message was recorded as sent, {turns} turns: {:.1} µs a message not billed, {:.1} µs prepaid.",
        took[0], took[1]
    ));
    Ok(report)
}

/// A tenant, billed or not, in a database of its own.
struct Side {
    room: Room,
    inside: Inside,
    is_billed: bool,
    jobs: JoinHandle<()>,
    stop: watch::Sender<bool>,
    messages: u64,
    seconds: f64,
    /// Of all its messages together.
    cost: Cost,
}

impl Side {
    async fn new(order: &Order, is_billed: bool) -> anyhow::Result<Self> {
        let room = order.room().await?;
        let inside = Inside::new(&room).await?;
        inside.noop(true).await?;
        if is_billed {
            bill(&inside).await?;
        }
        room.settle().await;
        let (stop, stopped) = watch::channel(false);
        let jobs = tokio::spawn(engine::jobs::run(Arc::clone(&inside.engine), stopped));
        Ok(Self { room, inside, is_billed, jobs, stop, messages: 0, seconds: 0.0, cost: Cost::default() })
    }

    /// Accepts and sends one turn of messages.
    async fn turn(&mut self, order: &Order) -> anyhow::Result<()> {
        self.room.sweep().await?;
        let meter = Meter::start(meter::ourselves(), &self.room, order.commits()).await;
        let began = now_us();
        let end = self.messages + TURN;
        for first in (self.messages..end).step_by(BATCH as usize) {
            let body = texts::sms_batch(first, first + BATCH);
            self.inside.send_batch(&body, BATCH as usize).await?;
        }
        let ended = until_sent(&self.inside, end).await?;
        self.cost.add(meter.stop(&self.room, order.commits(), 1).await);
        self.seconds += seconds(began, ended);
        self.messages = end;
        Ok(())
    }

    /// What all turns came to.
    async fn end(self, name: &str) -> anyhow::Result<Phase> {
        self.stop.send_replace(true);
        self.jobs.await?;
        if self.is_billed {
            let credit = credits::get(self.inside.engine.parts(), &self.inside.caller, false).await?;
            ensure!(credit.differences.is_empty(), "the ledger does not add up: {:?}", credit.differences);
            ensure!(credit.reserved.amount_micros == 0, "something is still set aside");
        }
        Ok(Phase { cost: Some(self.cost.each(self.messages)), ..Phase::new(name, self.messages, self.seconds) })
    }
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
