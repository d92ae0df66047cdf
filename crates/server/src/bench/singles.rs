//! Ten tenants that send one message at a time, as a program does that sends codes and receipts: what they notice of everybody else.

use std::sync::Arc;

use anyhow::ensure;
use tokio::task::JoinSet;

use super::{
    child::{self, Server},
    clock::{now_us, seconds, sleep_ms},
    load::{Connection, Target as Api, excerpt},
    report::{Latency, Phase},
    sink::Arrivals,
    texts,
};

/// Tenants that send one message at a time.
pub const OTHERS: u64 = 10;
/// Between two messages of one of them, in milliseconds.
pub const EVERY_MS: u64 = 100;
/// Longest time without a new arrival before what is missing counts as lost, in milliseconds.
pub const IDLE_MS: u64 = 20_000;

/// The ten, each with an account; answers their keys.
pub async fn tenants(server: &Server) -> anyhow::Result<Vec<String>> {
    let mut keys = Vec::new();
    for number in 0..OTHERS {
        let key = server.make_tenant(&format!("Tenant {number}")).await?;
        child::twilio_account(&server.tenant(&key), "AC1").await?;
        keys.push(key);
    }
    Ok(keys)
}

/// Lets each of the ten send one message every [`EVERY_MS`], `each` of them; the messages' numbers begin at `from`.
pub async fn send(
    server: &Server,
    keys: &[String],
    arrivals: &Arc<Arrivals>,
    (from, each): (u64, u64),
    name: &str,
) -> anyhow::Result<Phase> {
    let mut senders = JoinSet::new();
    let began = now_us();
    for (index, key) in keys.iter().enumerate() {
        let from = from + index as u64 * each;
        senders.spawn(sender(server.tenant(key), (from, each), began + index as u64 * EVERY_MS * 1_000 / OTHERS));
    }
    let mut sent = Vec::new();
    while let Some(sender) = senders.join_next().await {
        sent.extend(sender??);
    }
    let mut waits = Vec::new();
    let mut lost = 0;
    for (number, sent_at) in sent {
        let began = now_us();
        while arrivals.at_us(number).is_none() && now_us() - began < IDLE_MS * 1_000 && lost == 0 {
            sleep_ms(1).await;
        }
        match arrivals.at_us(number) {
            Some(arrived) => waits.push(arrived.saturating_sub(sent_at)),
            None => lost += 1,
        }
    }
    let latency = Latency::of(&mut waits);
    let phase = Phase::new(format!("from request to provider, {name}"), OTHERS * each, seconds(began, now_us()));
    Ok(Phase { latency, lost: Some(lost), ..phase })
}

/// Posts a message whenever its time has come, not when the one before was answered. Answers each number and when its request left.
async fn sender(api: Api, (from, each): (u64, u64), began: u64) -> anyhow::Result<Vec<(u64, u64)>> {
    let mut connection = Connection::open(api.address).await?;
    let mut sent = Vec::new();
    for number in 0..each {
        let due = began + number * EVERY_MS * 1_000;
        sleep_ms(due.saturating_sub(now_us()) / 1_000).await;
        let sent_at = now_us();
        let request = api.request("POST", "/v1/messages", "", &texts::sms(from + number));
        let (status, body) = connection.exchange(&request).await?;
        ensure!(status == 202, "the server answered {status}: {}", excerpt(body));
        sent.push((from + number, sent_at));
    }
    Ok(sent)
}
