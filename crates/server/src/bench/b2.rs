//! B2, batches: messages accepted a thousand at a time. Through the server with nothing else to do, through the server while it sends them, and by the
//! engine alone, without HTTP.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use super::{
    Order,
    child::{self, Roles, Server},
    clock::{now_us, seconds},
    fill::{self, BATCH},
    inside::Inside,
    meter::{self, Meter},
    report::{Latency, Phase, Report, Target},
    room::Room,
    rows,
    sink::{self, Arrivals, http::Kind},
    texts,
};

/// Callers of the engine at the same time: as many as clients of the server.
const CALLERS: usize = 4;
const MESSAGES: u64 = 200_000;
/// Longest time without a new arrival before what is missing counts as lost, in milliseconds.
const IDLE_MS: u64 = 15_000;

/// Accepts batches in each of the three ways.
pub async fn run(order: &Order) -> anyhow::Result<Report> {
    let room = order.room().await?;
    let mut report = Report::new("b2", "batches of 1,000, 4 connections", room.engine(), room.durability());
    let ceiling = rows::ceiling(&room).await?;
    let accepted = accepted(order, &room).await?.below(&ceiling);
    report.targets.push(Target::rate("accepted", accepted.per_second, 20_000.0));
    report.phases.push(accepted);
    drop(room);
    report.phases.extend(while_sending(order, &order.room().await?).await?);
    report.phases.push(inside(order, &order.room().await?).await?.below(&ceiling));
    Ok(report)
}

async fn accepted(order: &Order, room: &Room) -> anyhow::Result<Phase> {
    let server = Server::start(room, Roles::NoWorker, None).await?;
    let api = server.tenant(&server.make_tenant("Bench").await?);
    child::twilio_account(&api, "AC1").await?;
    fill::measured("accepted, nothing sent meanwhile", room, &server, &api, order.messages(MESSAGES), texts::sms_batch)
        .await
}

async fn while_sending(order: &Order, room: &Room) -> anyhow::Result<[Phase; 2]> {
    let messages = order.messages(MESSAGES);
    let arrivals = Arrivals::new(messages);
    let provider = sink::http::start(Kind::Twilio(Arc::clone(&arrivals))).await?;
    let server = Server::start(room, Roles::All, Some(provider)).await?;
    let api = server.tenant(&server.make_tenant("Bench").await?);
    child::twilio_account(&api, "AC1").await?;
    let meter = Meter::start(server.pid(), room, server.commits().await).await;
    let mut run = fill::post(&api, messages, texts::sms_batch).await?;
    let accepted = Phase {
        latency: Latency::of(&mut run.waits_us),
        ..Phase::new("accepted while sending to an HTTP provider", messages, seconds(run.began_us, run.ended_us))
    };
    let arrived = arrivals.wait(messages, IDLE_MS).await;
    let cost = meter.stop(room, server.commits().await, messages).await;
    let sent = Phase {
        cost: Some(cost),
        lost: Some(messages - arrived),
        duplicates: Some(arrivals.again()),
        ..Phase::new("the same, until all were sent", messages, seconds(run.began_us, arrivals.last_us()))
    };
    Ok([accepted, sent])
}

async fn inside(order: &Order, room: &Room) -> anyhow::Result<Phase> {
    let inside = Arc::new(Inside::new(room).await?);
    inside.noop(false).await?;
    let batches = order.messages(MESSAGES).div_ceil(BATCH);
    room.settle().await;
    let meter = Meter::start(meter::ourselves(), room, order.commits()).await;
    let (began, next) = (now_us(), Arc::new(AtomicU64::new(0)));
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..CALLERS {
        callers.spawn(post(Arc::clone(&inside), Arc::clone(&next), batches));
    }
    let mut waits = Vec::new();
    while let Some(posted) = callers.join_next().await {
        waits.extend(posted??);
    }
    let took = seconds(began, now_us());
    let messages = batches * BATCH;
    let cost = meter.stop(room, order.commits(), messages).await;
    let (accepted, _) = inside.counted().await?;
    Ok(Phase {
        latency: Latency::of(&mut waits),
        cost: Some(cost),
        lost: Some(messages.saturating_sub(accepted)),
        duplicates: Some(accepted.saturating_sub(messages)),
        ..Phase::new("the engine alone, 4 callers", messages, took)
    })
}

async fn post(inside: Arc<Inside>, next: Arc<AtomicU64>, batches: u64) -> anyhow::Result<Vec<u64>> {
    let mut waits = Vec::new();
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= batches {
            return Ok(waits);
        }
        let body = texts::sms_batch(number * BATCH, (number + 1) * BATCH);
        let began = now_us();
        inside.send_batch(&body, BATCH as usize).await?;
        waits.push(now_us() - began);
    }
}
