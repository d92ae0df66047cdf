//! B3, drain: queued messages leave through a connector that does nothing, so that leasing, rendering and recording are all there is to measure.

use std::sync::Arc;

use anyhow::bail;
use tokio::sync::watch;

use super::{
    Order,
    clock::{now_us, seconds, sleep_ms},
    fill::BATCH,
    inside::Inside,
    meter::{self, Meter},
    report::{Phase, Report, Target},
    room::Room,
    rows, texts,
};

const MESSAGES: u64 = 200_000;
/// How often progress is looked at, in milliseconds.
const LOOK_MS: u64 = 25;
/// Longest time without progress before the workload gives up, in microseconds.
const STALLED_US: u64 = 30_000_000;

/// Drains one message per call, then a hundred.
pub async fn run(order: &Order) -> anyhow::Result<Report> {
    let mut report = Report::new("b3", "queued messages drained to a connector that does nothing", "", "");
    for (is_batching, name) in [(false, "one message per call"), (true, "a hundred messages per call")] {
        let room = order.room().await?;
        (report.database, report.durability) = (room.engine().to_owned(), room.durability().to_owned());
        let ceiling = rows::ceiling(&room).await?;
        let phase = drain(order, &room, name, is_batching).await?.below(&ceiling);
        let wanted = match (room.engine(), is_batching) {
            ("sqlite", false) => 12_000.0,
            ("sqlite", true) => 15_000.0,
            (_, false) => 8_000.0,
            (_, true) => 12_000.0,
        };
        report.targets.push(Target::rate(name, phase.per_second, wanted));
        report.phases.push(phase);
    }
    Ok(report)
}

async fn drain(order: &Order, room: &Room, name: &str, is_batching: bool) -> anyhow::Result<Phase> {
    let inside = Inside::new(room).await?;
    inside.noop(is_batching).await?;
    let batches = order.messages(MESSAGES).div_ceil(BATCH);
    for number in 0..batches {
        let body = texts::sms_batch(number * BATCH, (number + 1) * BATCH);
        inside.send_batch(&body, BATCH as usize).await?;
    }
    let messages = batches * BATCH;
    room.settle().await;
    let meter = Meter::start(meter::ourselves(), room, order.commits()).await;
    let began = now_us();
    let (stop, stopped) = watch::channel(false);
    let jobs = tokio::spawn(engine::jobs::run(Arc::clone(&inside.engine), stopped));
    let ended = until_sent(&inside, messages).await;
    stop.send_replace(true);
    let cost = meter.stop(room, order.commits(), messages).await;
    jobs.await?;
    let took = seconds(began, ended?);
    let (sent, again) = inside.outcome().await?;
    Ok(Phase {
        cost: Some(cost),
        lost: Some((messages + again).saturating_sub(sent)),
        duplicates: Some(again),
        ..Phase::new(name, messages, took)
    })
}

/// Waits until all messages are recorded as sent. Answers when.
async fn until_sent(inside: &Inside, messages: u64) -> anyhow::Result<u64> {
    let (mut last, mut moved_at) = (0, now_us());
    loop {
        sleep_ms(LOOK_MS).await;
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
    }
}
