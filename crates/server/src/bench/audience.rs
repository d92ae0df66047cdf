//! B9, B10 and B11: contacts imported, a segment counted, a campaign expanded. The engine alone, in this process, beside the same ceiling: rows a second with the bare driver.

use std::fmt::Write as _;

use anyhow::{Context as _, ensure};
use engine::{
    campaigns,
    contacts::import::{self, ImportQuery, Receiver},
    once::Repeat,
    segments,
};
use serde_json::{Value, json};

use super::{
    Order,
    clock::{now_us, seconds},
    inside::Inside,
    meter::{self, Meter},
    report::{Latency, Phase, Report, Target},
    room::Room,
    rows,
};

const CONTACTS: u64 = 1_000_000;
/// Recipients of the campaign.
const RECIPIENTS: u64 = 200_000;
/// Contacts a piece of the file holds, as it would come over a connection.
const PIECE: u64 = 1_000;
/// Times the segment is counted.
const COUNTS: u64 = 20;

/// A part of the file: addresses nobody else has, a language, a plan and a number.
pub fn piece(from: u64, until: u64) -> String {
    let mut text = if from == 0 { "email,first_name,language,plan,orders\r\n".to_owned() } else { String::new() };
    for n in from..until {
        let (language, plan) = (["de", "en", "fr", "hi"][n as usize % 4], ["free", "pro", "team"][n as usize % 3]);
        let _ = write!(text, "c{n}@example.com,Ada {n},{language},{plan},{}\r\n", n % 100);
    }
    text
}

/// Imports so many contacts; answers when it began and ended.
async fn fill(inside: &Inside, contacts: u64) -> anyhow::Result<(u64, u64)> {
    let began = now_us();
    let engine = &inside.engine;
    let mut receiver = Receiver::begin(engine, &inside.caller, ImportQuery::default(), "text/csv").await?;
    for from in (0..contacts).step_by(PIECE as usize) {
        ensure!(
            receiver.push(engine, piece(from, contacts.min(from + PIECE)).as_bytes()).await?,
            "the file was not taken"
        );
    }
    let reply = receiver.finish(engine, None, "/v1/contacts/import").await?;
    let id = body(&reply.body)?["id"].as_str().and_then(|id| id.parse().ok()).context("an import has an id")?;
    loop {
        import::run(engine).await?;
        let seen = serde_json::to_value(import::get(engine, &inside.caller, id).await?)?;
        if !seen["finished_at"].is_null() {
            ensure!(seen["created"] == contacts, "not every row became a contact: {seen}");
            return Ok((began, now_us()));
        }
    }
}

fn body(bytes: &[u8]) -> anyhow::Result<Value> {
    serde_json::from_slice(bytes).context("an answer is JSON")
}

/// Imports contacts: received, matched against those that are there, indexed and on disk.
pub async fn b9(order: &Order) -> anyhow::Result<Report> {
    let room = order.room().await?;
    let mut report = Report::new("b9", "contacts imported from a table", room.engine(), room.durability());
    let ceiling = rows::ceiling(&room).await?;
    let contacts = order.messages(CONTACTS);
    let inside = Inside::new(&room).await?;
    let meter = Meter::start(meter::ourselves(), &room, order.commits()).await;
    let (began, ended) = fill(&inside, contacts).await?;
    let cost = meter.stop(&room, order.commits(), contacts).await;
    let phase = Phase { cost: Some(cost), ..Phase::new("imported", contacts, seconds(began, ended)) }.below(&ceiling);
    report.targets.push(Target::rate("import", phase.per_second, 15_000.0));
    report.phases.push(phase);
    Ok(report)
}

/// Counts a segment of three conditions.
pub async fn b10(order: &Order) -> anyhow::Result<Report> {
    let room = order.room().await?;
    let mut report = Report::new("b10", "a segment of three conditions counted", room.engine(), room.durability());
    let contacts = order.messages(CONTACTS);
    let inside = Inside::new(&room).await?;
    let (began, ended) = fill(&inside, contacts).await?;
    report.phases.push(Phase::new("contacts made", contacts, seconds(began, ended)));
    room.settle().await;
    let conditions = json!({"all": [
        {"attribute": "plan", "is": ["pro", "team"]}, {"field": "language", "is": "de"}, {"attribute": "orders", "at_least": 50},
    ]});
    let expected = (0..contacts).filter(|n| n % 3 > 0 && n % 4 == 0 && n % 100 >= 50).count() as i64;
    let (mut waits, began) = (Vec::new(), now_us());
    for _ in 0..COUNTS {
        let request = serde_json::from_value(json!({"conditions": conditions}))?;
        let asked = now_us();
        let preview = segments::preview(&inside.engine, &inside.caller, request).await?;
        waits.push(now_us() - asked);
        ensure!(preview.contacts == expected, "{} contacts were counted, and there are {expected}", preview.contacts);
    }
    let latency = Latency::of(&mut waits);
    let counted = Phase { latency, ..Phase::new("counted, with a sample", COUNTS, seconds(began, now_us())) };
    let slowest = latency.unwrap_or_default().max_ms;
    report.targets.push(Target::at_most(
        format!("three conditions over {contacts} contacts, the slowest"),
        slowest,
        500.0,
        "ms",
    ));
    report.phases.push(counted);
    Ok(report)
}

/// Expands a campaign: its audience is frozen and each recipient's message accepted. Nothing leaves meanwhile.
pub async fn b11(order: &Order) -> anyhow::Result<Report> {
    let room = order.room().await?;
    let mut report = Report::new("b11", "a campaign expanded into accepted messages", room.engine(), room.durability());
    let ceiling = rows::ceiling(&room).await?;
    let recipients = order.messages(RECIPIENTS);
    let (began, ended, cost) = expand(order, &room, recipients).await?;
    let phase = Phase { cost: Some(cost), ..Phase::new("expanded", recipients, seconds(began, ended)) }.below(&ceiling);
    report.targets.push(Target::rate("expansion", phase.per_second, 15_000.0));
    report.targets.push(Target::at_most("memory at most", cost.peak_mib, 300.0, "MiB"));
    report.phases.push(phase);
    report.notes.push("Accepted by the engine in this process; the memory is that of the whole process, contacts imported before included.".to_owned());
    Ok(report)
}

async fn expand(order: &Order, room: &Room, recipients: u64) -> anyhow::Result<(u64, u64, super::report::Cost)> {
    let inside = Inside::new(room).await?;
    inside.noop(true).await?;
    fill(&inside, recipients).await?;
    let (engine, caller) = (&inside.engine, &inside.caller);
    let segment = serde_json::from_value(json!({"name": "All", "conditions": {"field": "email", "exists": true}}))?;
    let segment = body(&segments::create(engine, caller, &Repeat::NONE, segment).await?.body)?;
    let campaign = serde_json::from_value(json!({
        "name": "Summer", "channel": "email", "purpose": "transactional", "audience": {"segments": [segment["id"]]},
        "content": {"subject": "Hello {{ contact.first_name }}", "text": "The gates open at six, {{ contact.first_name }}."},
    }))?;
    let made = body(&campaigns::create(engine, caller, &Repeat::NONE, campaign).await?.body)?;
    let id = made["id"].as_str().and_then(|id| id.parse().ok()).context("a campaign has an id")?;
    room.settle().await;
    let meter = Meter::start(meter::ourselves(), room, order.commits()).await;
    let began = now_us();
    campaigns::start(engine, caller, &Repeat::NONE, id, None).await?;
    loop {
        campaigns::work::run(engine).await?;
        let seen = campaigns::get(engine, caller, id).await?;
        ensure!(seen.excluded == 0 && seen.problem.is_none(), "recipients were left out: {:?}", seen.problem);
        if seen.accepted == recipients {
            let ended = now_us();
            return Ok((began, ended, meter.stop(room, order.commits(), recipients).await));
        }
    }
}
