//! B5, events out: signed webhooks to one endpoint, and to a hundred.

use std::{net::SocketAddr, sync::Arc};

use serde_json::json;

use super::{
    Order,
    child::{self, Roles, Server},
    clock::seconds,
    fill, floors,
    meter::Meter,
    report::{Phase, Report, Target},
    room::Room,
    sink::{self, Arrivals, http::Kind},
    texts,
};

const WEBHOOKS: u64 = 50_000;
/// Longest time without a new arrival before what is missing counts as lost, in milliseconds.
const IDLE_MS: u64 = 15_000;

/// Runs both.
pub async fn run(order: &Order) -> anyhow::Result<Report> {
    let floor = floors::bare_receiver().await?;
    let mut report = Report::new("b5", "signed webhooks, one event each", "", "");
    for endpoints in [1, 100] {
        let room = order.room().await?;
        (report.database, report.durability) = (room.engine().to_owned(), room.durability().to_owned());
        let phase = deliver(order, &room, endpoints).await?.below(&floor);
        report.targets.extend([
            Target::rate(&phase.name, phase.per_second, 5_000.0),
            Target::none("lost", phase.lost.unwrap_or(0)),
        ]);
        report.phases.push(phase);
    }
    report.notes.push("Receivers drop repeats by `webhook-id`; duplicates are counted all the same.".to_owned());
    Ok(report)
}

/// Accepts the messages whose events are to be told, then starts the server again with everything on and watches the webhooks leave. The messages
/// themselves are due in a year, so that nothing else happens.
async fn deliver(order: &Order, room: &Room, endpoints: u64) -> anyhow::Result<Phase> {
    let messages = order.messages(WEBHOOKS).div_ceil(endpoints);
    let webhooks = messages * endpoints;
    let arrivals = Arrivals::new(webhooks);
    let receiver = sink::http::start(Kind::Endpoint(Arc::clone(&arrivals), messages)).await?;

    let server = Server::start(room, Roles::NoWorker, None).await?;
    let api = server.tenant(&server.make_tenant("Bench").await?);
    child::twilio_account(&api, "AC1").await?;
    for number in 0..endpoints {
        let endpoint = json!({"url": url(receiver, number), "events": ["message.accepted"]});
        child::call(&api, "POST", "/v1/webhook-endpoints", "", &endpoint).await?;
    }
    fill::post(&api, messages, texts::later_batch).await?;
    server.kill();
    room.settle().await;

    let server = Server::spawn(room, Roles::All, None)?;
    let meter = Meter::start(server.pid(), room, Some(0)).await;
    let arrived = arrivals.wait(webhooks, IDLE_MS).await;
    let cost = meter.stop(room, server.commits().await, webhooks).await;
    let name = if endpoints == 1 { "to one endpoint".to_owned() } else { format!("to {endpoints} endpoints") };
    Ok(Phase {
        cost: Some(cost),
        lost: Some(webhooks - arrived),
        duplicates: Some(arrivals.again()),
        ..Phase::new(name, webhooks, seconds(arrivals.first_us(), arrivals.last_us()))
    })
}

fn url(receiver: SocketAddr, number: u64) -> String {
    format!("http://{receiver}/{number}")
}
