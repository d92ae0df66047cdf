//! B1, transactional: one message per request, from the request to the provider.

use std::sync::Arc;

use anyhow::Context as _;

use super::{
    Order,
    child::{self, Roles, Server},
    clock::{now_us, seconds, sleep_ms},
    floors,
    load::{self, Connection, Target as Api},
    meter::Meter,
    report::{Latency, Phase, Report, Target},
    room::Room,
    rows,
    sink::{self, Arrivals, http::Kind},
    texts,
};

const MESSAGES: u64 = 20_000;
/// Messages sent singly to an idle server.
const SINGLES: u64 = 200;
/// Between two of them, in milliseconds: long enough for everything to come to rest.
const REST_MS: u64 = 10;
/// Longest time without a new arrival before what is missing counts as lost, in milliseconds.
const IDLE_MS: u64 = 15_000;

/// Runs the workload.
pub async fn run(order: &Order) -> anyhow::Result<Report> {
    let room = order.room().await?;
    let mut report = Report::new(
        "b1",
        "one message per request, 64 connections, unique Idempotency-Key",
        room.engine(),
        room.durability(),
    );
    let (handler, rows) = (floors::empty_handler().await?, rows::ceiling(&room).await?);
    let arrivals = Arrivals::new(SINGLES + order.messages(MESSAGES));
    let provider = sink::http::start(Kind::Twilio(Arc::clone(&arrivals))).await?;
    let server = Server::start(&room, Roles::All, Some(provider)).await?;
    let api = server.tenant(&server.make_tenant("Bench").await?);
    child::twilio_account(&api, "AC1").await?;

    let idle = singles(&api, &arrivals).await?;
    let p50_ms = idle.latency.unwrap_or_default().p50_ms;
    report.phases.push(idle);
    let flood = flood(order, &room, &server, &api, &arrivals).await?;
    let [accept, end_to_end] = flood;
    let p99_ms = accept.latency.unwrap_or_default().p99_ms;
    report.targets = vec![
        Target::rate("accepted", accept.per_second, 10_000.0),
        Target::at_most("accept p99", p99_ms, 20.0, "ms"),
        Target::rate("end to end", end_to_end.per_second, 7_000.0),
        Target::at_most("idle to provider p50", p50_ms, 5.0, "ms"),
        Target::none("lost", end_to_end.lost.unwrap_or(0)),
        Target::none("duplicates", end_to_end.duplicates.unwrap_or(0)),
    ];
    report.phases.push(accept.below(&handler));
    report.phases.push(end_to_end.below(&rows));
    drop(server);
    Ok(report)
}

/// Sends one message at a time to an idle server, and looks when each reaches the provider.
pub async fn singles(api: &Api, arrivals: &Arrivals) -> anyhow::Result<Phase> {
    let mut connection = Connection::open(api.address).await?;
    let (mut waits, began) = (Vec::new(), now_us());
    for number in 0..SINGLES {
        let sent_at = now_us();
        let (status, body) = connection.exchange(&post(api, number)).await?;
        anyhow::ensure!(status == 202, "the server answered {status}: {}", load::excerpt(body));
        arrivals.wait(number + 1, IDLE_MS).await;
        let arrived = arrivals.at_us(number).context("a message sent to an idle server did not reach the provider")?;
        waits.push(arrived.saturating_sub(sent_at));
        sleep_ms(REST_MS).await;
    }
    let latency = Latency::of(&mut waits);
    Ok(Phase { latency, ..Phase::new("idle server, from request to provider", SINGLES, seconds(began, now_us())) })
}

/// Sends all messages as fast as they are accepted. Answers the accepting, and the whole way.
async fn flood(
    order: &Order,
    room: &Room,
    server: &Server,
    api: &Api,
    arrivals: &Arc<Arrivals>,
) -> anyhow::Result<[Phase; 2]> {
    let messages = order.messages(MESSAGES);
    let meter = Meter::start(server.pid(), room, server.commits().await).await;
    let client = api.clone();
    let mut run =
        load::run(api.address, load::CONNECTIONS, messages, 202, move |number| post(&client, SINGLES + number)).await?;
    let arrived = arrivals.wait(SINGLES + messages, IDLE_MS).await;
    let cost = meter.stop(room, server.commits().await, messages).await;
    let mut accept = Phase::new("accepted, while sending", messages, seconds(run.began_us, run.ended_us));
    accept.latency = Latency::of(&mut run.waits_us);
    let whole = Phase {
        cost: Some(cost),
        lost: Some(SINGLES + messages - arrived),
        duplicates: Some(arrivals.again()),
        ..Phase::new("end to end, all of it at the provider", messages, seconds(run.began_us, arrivals.last_us()))
    };
    Ok([accept, whole])
}

fn post(api: &Api, number: u64) -> Vec<u8> {
    api.request("POST", "/v1/messages", &format!("idempotency-key: bench-{number:08}\r\n"), &texts::sms(number))
}
