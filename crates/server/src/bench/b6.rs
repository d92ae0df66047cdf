//! B6, callbacks in: a provider reports what became of messages, some of it twice and some of it in the wrong order.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{
    Order,
    child::{self, AUTH_TOKEN, Roles, Server},
    clock::{now_us, seconds, sleep_ms},
    fill, floors,
    load::{self, Target as Api},
    meter::Meter,
    report::{Latency, Phase, Report, Target},
    sink::{
        self, Arrivals,
        http::{Kind, Reported},
    },
    texts,
};

const CALLBACKS: u64 = 50_000;
/// Of ten callbacks one comes a second time.
const REPEATED: u64 = 10;
/// Of five messages one is reported as delivered before it is reported as sent.
const REORDERED: u64 = 5;
/// Longest time without a new arrival before what is missing counts as lost, in milliseconds.
const IDLE_MS: u64 = 15_000;
/// Longest wait until everything the provider took is recorded, in microseconds.
const SETTLE_US: u64 = 60_000_000;

/// Sends the messages, then reports on them.
pub async fn run(order: &Order) -> anyhow::Result<Report> {
    let room = order.room().await?;
    let title = "signed status callbacks, 64 connections, one in ten repeated, one message in five out of order";
    let mut report = Report::new("b6", title, room.engine(), room.durability());
    let handler = floors::empty_handler().await?;
    let callbacks = order.messages(CALLBACKS);
    // Two reports per message, and one of ten of those once more.
    let messages = callbacks * (REPEATED - 1) / REPEATED / 2;
    let (arrivals, reported) = (Arrivals::new(messages), Arc::new(Mutex::new(Vec::new())));
    let provider = sink::http::start(Kind::Reported(Arc::clone(&arrivals), Arc::clone(&reported))).await?;
    let server = Server::start(&room, Roles::All, Some(provider)).await?;
    let api = server.tenant(&server.make_tenant("Bench").await?);
    child::twilio_account(&api, "AC1").await?;
    fill::post(&api, messages, texts::sms_batch).await?;
    arrivals.wait(messages, IDLE_MS).await;
    until_counted(&api, "sent", messages).await?;
    let messages: Vec<Reported> = std::mem::take(&mut reported.lock().unwrap_or_else(PoisonError::into_inner));
    room.settle().await;

    let requests = Arc::new(requests(server.address, &messages, callbacks));
    let count = requests.len() as u64;
    let meter = Meter::start(server.pid(), &room, server.commits().await).await;
    let posted = Arc::clone(&requests);
    let mut run =
        load::run(server.address, load::CONNECTIONS, count, 204, move |number| posted[number as usize].clone()).await?;
    let cost = meter.stop(&room, server.commits().await, count).await;
    let delivered = until_counted(&api, "delivered", messages.len() as u64).await?;
    let mut phase = Phase::new("answered after the commit", count, seconds(run.began_us, run.ended_us));
    phase.latency = Latency::of(&mut run.waits_us);
    phase.cost = Some(cost);
    phase.lost = Some((messages.len() as u64).saturating_sub(delivered));
    phase.duplicates = Some(delivered.saturating_sub(messages.len() as u64));
    report.targets = vec![
        Target::rate("callbacks", phase.per_second, 8_000.0),
        Target::none("messages not shown as delivered at the end", phase.lost.unwrap_or(0)),
        Target::none("messages counted as delivered twice", phase.duplicates.unwrap_or(0)),
    ];
    report.phases.push(phase.below(&handler));
    drop(server);
    Ok(report)
}

/// Waits until the tenant's usage counts as many messages. Answers how many it counts.
async fn until_counted(api: &Api, what: &str, wanted: u64) -> anyhow::Result<u64> {
    let began = now_us();
    loop {
        let usage = child::call(api, "GET", "/v1/usage", "", &serde_json::Value::Null).await?;
        let counted = usage["totals"][what]
            .as_u64()
            .with_context(|| format!("GET /v1/usage says nothing of messages {what}: {usage}"))?;
        if counted >= wanted || now_us() - began > SETTLE_US {
            return Ok(counted);
        }
        sleep_ms(20).await;
    }
}

/// The callbacks in the order they come, as whole requests.
fn requests(server: std::net::SocketAddr, messages: &[Reported], count: u64) -> Vec<Vec<u8>> {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, AUTH_TOKEN.as_bytes());
    let mut reports: Vec<(&Reported, &str)> = Vec::new();
    // A provider reports many messages in turn, not one to its end: the two reports of a message lie a hundred messages apart.
    for chunk in messages.chunks(100) {
        for is_second in [false, true] {
            for (index, message) in chunk.iter().enumerate() {
                let is_swapped = (index as u64).is_multiple_of(REORDERED);
                reports.push((message, if is_second == is_swapped { "sent" } else { "delivered" }));
            }
        }
    }
    let mut requests = Vec::with_capacity(reports.len() * 11 / 10);
    for (index, (message, status)) in reports.into_iter().enumerate() {
        let request = request(server, &key, message, status);
        if (index as u64).is_multiple_of(REPEATED - 1) {
            requests.push(request.clone());
        }
        requests.push(request);
    }
    requests.truncate(count as usize);
    requests
}

/// One report, signed as Twilio signs it.
fn request(server: std::net::SocketAddr, key: &hmac::Key, message: &Reported, status: &str) -> Vec<u8> {
    let Reported { sid, callback } = message;
    let fields = [
        ("AccountSid", "AC1"),
        ("ApiVersion", "2010-04-01"),
        ("MessageSid", sid),
        ("MessageStatus", status),
        ("SmsSid", sid),
        ("SmsStatus", status),
    ];
    let mut signed = format!("http://{server}{callback}");
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    for (name, value) in fields {
        signed.push_str(name);
        signed.push_str(value);
        form.append_pair(name, value);
    }
    let body = form.finish();
    let signature = STANDARD.encode(hmac::sign(key, signed.as_bytes()));
    format!(
        "POST {callback} HTTP/1.1\r\nhost: {server}\r\nx-twilio-signature: {signature}\r\ncontent-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_come_in_the_promised_disorder() {
        let messages: Vec<Reported> = (0..450)
            .map(|n| Reported { sid: format!("SM{n}"), callback: format!("/hooks/acc_1?attempt={n}") })
            .collect();
        let requests = requests(([127, 0, 0, 1], 80).into(), &messages, 1_000);
        assert_eq!(requests.len(), 1_000);
        let mut different = requests.clone();
        different.sort();
        different.dedup();
        assert_eq!(different.len(), 900);
        let text = |n: usize| String::from_utf8_lossy(&requests[n]).into_owned();
        assert!(text(0).contains("MessageStatus=delivered") && text(3).contains("MessageStatus=sent"));
    }
}
