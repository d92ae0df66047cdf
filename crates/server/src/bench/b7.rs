//! B7, fairness: what other tenants notice of one with a million messages queued, and of accounts whose providers are slow or refuse.

use std::sync::Arc;

use anyhow::ensure;
use tokio::task::JoinSet;

use super::{
    Order,
    child::{self, Roles, Server},
    clock::{now_us, seconds, sleep_ms},
    fill::{self, BATCH},
    load::{Connection, Target as Api, excerpt},
    report::{Latency, Phase, Report, Target},
    room::Room,
    sink::{
        self, Arrivals,
        http::{Kind, SLOW, THROTTLED},
    },
    texts,
};

/// Messages of the tenant with the campaign.
const BULK: u64 = 1_000_000;
/// Tenants that send one message at a time.
const OTHERS: u64 = 10;
/// Messages each of them sends, one every [`EVERY_MS`]: ten seconds.
const EACH: u64 = 100;
const EVERY_MS: u64 = 100;
/// Messages each of the ten has queued beside the accounts in trouble: enough for several seconds, so that the share is no matter of chance.
const QUEUED: u64 = 16 * BATCH;
/// Messages each account in trouble has queued: more than it gets rid of meanwhile.
const TROUBLED: u64 = 4 * BATCH;
/// Longest time without a new arrival before what is missing counts as lost, in milliseconds.
const IDLE_MS: u64 = 20_000;

/// Runs both parts.
pub async fn run(order: &Order) -> anyhow::Result<Report> {
    let room = order.room().await?;
    let title = "ten tenants with one message every 100 ms beside a campaign, and beside accounts in trouble";
    let mut report = Report::new("b7", title, room.engine(), room.durability());
    beside_a_campaign(order, &room, &mut report).await?;
    drop(room);
    let alone = drain_ten(&order.room().await?, "ten queues drained, all accounts well", false).await?;
    let beside =
        drain_ten(&order.room().await?, "the same beside an account that takes 30 s and one that answers 429", true)
            .await?;
    let share = 100.0 * beside.per_second / alone.per_second;
    report.targets.push(Target::at_least("rate beside accounts in trouble", share, 95.0, "%"));
    report.phases.extend([alone, beside]);
    Ok(report)
}

async fn beside_a_campaign(order: &Order, room: &Room, report: &mut Report) -> anyhow::Result<()> {
    let bulk = order.messages(BULK);
    let singles = OTHERS * EACH;
    let arrivals = Arrivals::new(bulk + 2 * singles);
    let provider = sink::http::start(Kind::Twilio(Arc::clone(&arrivals))).await?;
    let server = Server::start(room, Roles::All, Some(provider)).await?;
    let keys = tenants(&server).await?;
    let idle = send_singly(&server, &keys, &arrivals, bulk, "nothing else to do").await?;
    let campaigner = server.make_tenant("Campaign").await?;
    child::twilio_account(&server.tenant(&campaigner), "AC1").await?;
    server.kill();

    let server = Server::start(room, Roles::ApiOnly, Some(provider)).await?;
    fill::post(&server.tenant(&campaigner), bulk, texts::bulk_batch).await?;
    server.kill();
    room.settle().await;

    let server = Server::start(room, Roles::All, Some(provider)).await?;
    let (before, began) = (arrivals.different(), now_us());
    let busy = send_singly(&server, &keys, &arrivals, bulk + singles, "beside the campaign").await?;
    let left = arrivals.different() - before - singles;
    let campaign = Phase::new("the campaign meanwhile", left, seconds(began, now_us()));
    if left >= bulk {
        report.notes.push("The campaign was over before the ten seconds were: take more --messages.".to_owned());
    }
    let (idle_p99, busy_p99) = (idle.latency.unwrap_or_default().p99_ms, busy.latency.unwrap_or_default().p99_ms);
    report.targets.push(Target::at_most(
        "p99 beside the campaign",
        busy_p99,
        (2.0 * idle_p99).min(100.0),
        "ms (twice idle, at most 100)",
    ));
    report.phases.extend([idle, busy, campaign]);
    Ok(())
}

/// The ten, each with an account; answers their keys.
async fn tenants(server: &Server) -> anyhow::Result<Vec<String>> {
    let mut keys = Vec::new();
    for number in 0..OTHERS {
        let key = server.make_tenant(&format!("Tenant {number}")).await?;
        child::twilio_account(&server.tenant(&key), "AC1").await?;
        keys.push(key);
    }
    Ok(keys)
}

/// Lets each of the ten send one message every 100 ms for ten seconds; the messages' numbers begin at `from`.
async fn send_singly(
    server: &Server,
    keys: &[String],
    arrivals: &Arc<Arrivals>,
    from: u64,
    name: &str,
) -> anyhow::Result<Phase> {
    let mut senders = JoinSet::new();
    let began = now_us();
    for (index, key) in keys.iter().enumerate() {
        let from = from + index as u64 * EACH;
        senders.spawn(sender(server.tenant(key), from, began + index as u64 * EVERY_MS * 1_000 / OTHERS));
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
    let phase = Phase::new(format!("from request to provider, {name}"), OTHERS * EACH, seconds(began, now_us()));
    Ok(Phase { latency, lost: Some(lost), ..phase })
}

/// Posts a message whenever its time has come, not when the one before was answered. Answers each number and when its request left.
async fn sender(api: Api, from: u64, began: u64) -> anyhow::Result<Vec<(u64, u64)>> {
    let mut connection = Connection::open(api.address).await?;
    let mut sent = Vec::new();
    for number in 0..EACH {
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

/// Drains a queue of each of the ten, beside two tenants whose accounts are in trouble or not.
async fn drain_ten(room: &Room, name: &str, with_trouble: bool) -> anyhow::Result<Phase> {
    let messages = OTHERS * QUEUED;
    let arrivals = Arrivals::new(messages);
    let provider = sink::http::start(Kind::Twilio(Arc::clone(&arrivals))).await?;
    let server = Server::start(room, Roles::ApiOnly, Some(provider)).await?;
    if with_trouble {
        for sid in [SLOW, THROTTLED] {
            let api = server.tenant(&server.make_tenant(sid).await?);
            child::twilio_account(&api, sid).await?;
            fill::post(&api, TROUBLED, texts::sms_batch).await?;
        }
    }
    for (index, key) in tenants(&server).await?.iter().enumerate() {
        let from = index as u64 * QUEUED;
        fill::post(&server.tenant(key), QUEUED, move |first, last| texts::sms_batch(from + first, from + last)).await?;
    }
    server.kill();
    room.settle().await;
    let _server = Server::spawn(room, Roles::All, Some(provider))?;
    let arrived = arrivals.wait(messages, IDLE_MS).await;
    let took = seconds(arrivals.first_us(), arrivals.last_us());
    Ok(Phase { lost: Some(messages - arrived), duplicates: Some(arrivals.again()), ..Phase::new(name, messages, took) })
}
