//! Fills a queue through the API of a server that accepts and sends nothing.

use super::{
    child::Server,
    clock::seconds,
    load::{self, Run, Target as Api},
    meter::Meter,
    report::{Latency, Phase},
    room::Room,
};

/// Messages in a batch: the most one request may carry.
pub const BATCH: u64 = 1_000;
/// Clients that post batches at the same time.
const CLIENTS: usize = 4;

/// Posts `messages` messages in batches that `make` writes from and up to a number.
pub async fn post(
    api: &Api,
    messages: u64,
    make: impl Fn(u64, u64) -> String + Send + Sync + 'static,
) -> anyhow::Result<Run> {
    let target = api.clone();
    let batches = messages.div_ceil(BATCH);
    load::run(api.address, CLIENTS, batches, 202, move |number| {
        let body = make(number * BATCH, ((number + 1) * BATCH).min(messages));
        target.request("POST", "/v1/messages/batch", "", &body)
    })
    .await
}

/// The same with its cost.
pub async fn measured(
    name: &str,
    room: &Room,
    server: &Server,
    api: &Api,
    messages: u64,
    make: impl Fn(u64, u64) -> String + Send + Sync + 'static,
) -> anyhow::Result<Phase> {
    let meter = Meter::start(server.pid(), room, server.commits().await).await;
    let mut run = post(api, messages, make).await?;
    let cost = meter.stop(room, server.commits().await, messages).await;
    let latency = Latency::of(&mut run.waits_us);
    Ok(Phase { latency, cost: Some(cost), ..Phase::new(name, messages, seconds(run.began_us, run.ended_us)) })
}
