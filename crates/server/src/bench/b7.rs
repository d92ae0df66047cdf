//! B7, fairness: what other tenants notice of one with a million messages queued, and of accounts whose providers are slow or refuse.

use std::sync::Arc;

use super::{
    Order,
    child::{self, Roles, Server},
    clock::{now_us, seconds},
    fill::{self, BATCH},
    report::{Phase, Report, Target},
    room::Room,
    singles::{self, IDLE_MS, OTHERS},
    sink::{
        self, Arrivals,
        http::{Kind, SLOW, THROTTLED},
    },
    texts,
};

/// Messages of the tenant with the campaign.
const BULK: u64 = 1_000_000;
/// Messages each of the ten tenants sends one at a time: ten seconds.
const EACH: u64 = 100;
/// Messages each of the ten has queued beside the accounts in trouble: enough for several seconds, so that the share is no matter of chance.
const QUEUED: u64 = 16 * BATCH;
/// Messages each account in trouble has queued: more than it gets rid of meanwhile.
const TROUBLED: u64 = 4 * BATCH;

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
    let keys = singles::tenants(&server).await?;
    let idle = singles::send(&server, &keys, &arrivals, (bulk, EACH), "nothing else to do").await?;
    let campaigner = server.make_tenant("Campaign").await?;
    child::twilio_account(&server.tenant(&campaigner), "AC1").await?;
    server.kill();

    let server = Server::start(room, Roles::NoWorker, Some(provider)).await?;
    fill::post(&server.tenant(&campaigner), bulk, texts::bulk_batch).await?;
    server.kill();
    room.settle().await;

    let server = Server::start(room, Roles::All, Some(provider)).await?;
    let (before, began) = (arrivals.different(), now_us());
    let busy = singles::send(&server, &keys, &arrivals, (bulk + singles, EACH), "beside the campaign").await?;
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

/// Drains a queue of each of the ten, beside two tenants whose accounts are in trouble or not.
async fn drain_ten(room: &Room, name: &str, with_trouble: bool) -> anyhow::Result<Phase> {
    let messages = OTHERS * QUEUED;
    let arrivals = Arrivals::new(messages);
    let provider = sink::http::start(Kind::Twilio(Arc::clone(&arrivals))).await?;
    let server = Server::start(room, Roles::NoWorker, Some(provider)).await?;
    if with_trouble {
        for sid in [SLOW, THROTTLED] {
            let api = server.tenant(&server.make_tenant(sid).await?);
            child::twilio_account(&api, sid).await?;
            fill::post(&api, TROUBLED, texts::sms_batch).await?;
        }
    }
    for (index, key) in singles::tenants(&server).await?.iter().enumerate() {
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
