//! B8, start and idle: how soon a server answers, and what it holds when nothing happens.

use anyhow::bail;
use serde_json::json;

use super::{
    Order,
    child::{self, Roles, Server},
    clock::{now_us, seconds, sleep_ms},
    load::{self, Connection},
    meter,
    report::{Latency, Phase, Report, Target},
    texts,
};

const TENANTS: u64 = 10_000;
/// Starts that are timed.
const STARTS: u64 = 5;
/// Time for a start to answer before we give up, in microseconds.
const START_US: u64 = 30_000_000;
/// Time in which a server comes to rest, in milliseconds: longer than the period of every job that looks at all tenants.
const REST_MS: u64 = 5_000;

/// Makes the tenants, then starts the server several times.
pub async fn run(order: &Order) -> anyhow::Result<Report> {
    let room = order.room().await?;
    let mut report = Report::new("b8", "start, and idle with many tenants", room.engine(), room.durability());
    let tenants = order.messages(TENANTS);
    let server = Server::start(&room, Roles::All, None).await?;
    let key = server.make_tenant("Bench").await?;
    child::call(&server.tenant(&key), "POST", "/v1/accounts", "", &json!({"name": "Sandbox", "connector": "sandbox"}))
        .await?;
    let operator = server.operator();
    let run = load::run(server.address, load::CONNECTIONS, tenants, 201, move |number| {
        operator.request("POST", "/v1/tenants", "", &json!({"name": format!("Tenant {number}")}).to_string())
    })
    .await?;
    report.phases.push(Phase::new("tenants made", tenants, seconds(run.began_us, run.ended_us)));
    server.kill();
    room.settle().await;

    let (mut waits, began) = (Vec::new(), now_us());
    let mut rested = (0.0, 0);
    for start in 0..STARTS {
        let server = Server::spawn(&room, Roles::All, None)?;
        waits.push(first_accepted(&server, &key, start).await? - server.started_us);
        if start + 1 == STARTS {
            sleep_ms(REST_MS).await;
            rested = (meter::resident_mib(server.pid()), meter::threads(server.pid()));
        }
    }
    let starts = Phase {
        latency: Latency::of(&mut waits),
        ..Phase::new("from start to first 202", STARTS, seconds(began, now_us()))
    };
    report.targets = vec![
        Target::at_most("start to first 202, the slowest", starts.latency.unwrap_or_default().max_ms, 300.0, "ms"),
        Target::at_most(format!("memory idle with {tenants} tenants"), rested.0, 60.0, "MiB"),
    ];
    report.notes.push(format!("{} threads while idle; no thread and no task belongs to a tenant.", rested.1));
    report.phases.push(starts);
    Ok(report)
}

/// Posts a message until it is accepted. Answers when it was.
async fn first_accepted(server: &Server, key: &str, number: u64) -> anyhow::Result<u64> {
    let request = server.tenant(key).request("POST", "/v1/messages", "", &texts::sms(number));
    while now_us() - server.started_us < START_US {
        if let Ok(mut connection) = Connection::open(server.address).await
            && matches!(connection.exchange(&request).await, Ok((202, _)))
        {
            return Ok(now_us());
        }
        sleep_ms(1).await;
    }
    bail!("the server under test accepted nothing within {} s", START_US / 1_000_000)
}
