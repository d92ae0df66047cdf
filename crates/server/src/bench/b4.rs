//! B4, mail: a personalised campaign to a mail server over kept connections.

use std::sync::Arc;

use super::{
    Order,
    child::{self, Roles, Server},
    clock::seconds,
    fill, floors,
    meter::Meter,
    report::{Phase, Report, Target},
    sink::{self, Arrivals},
    texts,
};

const MESSAGES: u64 = 100_000;
/// Longest time without a new arrival before what is missing counts as lost, in milliseconds.
const IDLE_MS: u64 = 15_000;

/// Fills the queue, then starts the server again with everything on and watches it drain.
pub async fn run(order: &Order) -> anyhow::Result<Report> {
    let room = order.room().await?;
    let title = "personalised mails, 3.5 KB of HTML and a text, to a mail server on 16 kept connections";
    let mut report = Report::new("b4", title, room.engine(), room.durability());
    let floor = floors::bare_mail_server().await?;
    let messages = order.messages(MESSAGES);
    let arrivals = Arrivals::new(messages);
    let mail_server = sink::smtp::start(Arc::clone(&arrivals)).await?;

    let server = Server::start(&room, Roles::NoWorker, None).await?;
    let api = server.tenant(&server.make_tenant("Bench").await?);
    child::smtp_account(&api, mail_server).await?;
    report.phases.push(
        fill::measured("accepted in batches of 1,000, nothing sent", &room, &server, &api, messages, texts::mail_batch)
            .await?,
    );
    server.kill();
    room.settle().await;

    let server = Server::spawn(&room, Roles::All, None)?;
    let meter = Meter::start(server.pid(), &room, Some(0)).await;
    let arrived = arrivals.wait(messages, IDLE_MS).await;
    let cost = meter.stop(&room, server.commits().await, messages).await;
    let took = seconds(arrivals.first_us(), arrivals.last_us());
    let drain = Phase {
        cost: Some(cost),
        lost: Some(messages - arrived),
        duplicates: Some(arrivals.again()),
        ..Phase::new("sent, from the first mail at the mail server to the last", messages, took)
    };
    let wanted = if room.engine() == "sqlite" { 8_000.0 } else { 5_000.0 };
    report.targets = vec![
        Target::rate("sent", drain.per_second, wanted),
        Target::at_most("CPU per mail sent", cost.cpu_us, 120.0, "µs"),
        Target::at_most("peak memory", cost.peak_mib, 150.0, "MiB"),
        Target::none("lost", drain.lost.unwrap_or(0)),
        Target::none("duplicates", drain.duplicates.unwrap_or(0)),
    ];
    report.phases.push(drain.below(&floor));
    drop(server);
    Ok(report)
}
