//! Floors beneath the workloads: what the parts of this machine can do when nothing of ours is in the way. `tidings bench floors` prints them all; each workload
//! measures those it is held against.

use std::{net::SocketAddr, sync::Arc};

use anyhow::ensure;
use axum::{Router, http::StatusCode, routing::post};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use super::{
    Order,
    clock::{now_us, seconds},
    load::{self, Target},
    report::{Latency, Phase, Report},
    rows,
    sink::{self, Arrivals, http::Kind},
    texts,
};

/// Requests for each floor over HTTP: about a second's worth.
const REQUESTS: u64 = 30_000;
/// Mails for the floor over SMTP.
const MAILS: u64 = 30_000;
/// Connections of the mail client: what our connector for mail servers opens.
const MAIL_CONNECTIONS: u64 = 16;

/// Every floor.
pub async fn run(order: &Order) -> anyhow::Result<Report> {
    let room = order.room().await?;
    let mut report = Report::new("floors", "what this machine can do without us", room.engine(), room.durability());
    report.phases.push(empty_handler().await?);
    report.phases.extend(rows::floors(&room).await?);
    report.phases.push(rows::syncs(&room).await?);
    report.phases.push(bare_receiver().await?);
    report.phases.push(bare_mail_server().await?);
    Ok(report)
}

/// A handler that reads the request and answers 202, under the server's own HTTP library and the load generator.
pub async fn empty_handler() -> anyhow::Result<Phase> {
    let router = Router::new().route("/v1/messages", post(async |_: axum::body::Bytes| StatusCode::ACCEPTED));
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    let server = tokio::spawn(serve(listener, router));
    let phase = requests("empty HTTP handler, 64 connections", address, 202).await?;
    server.abort();
    Ok(phase)
}

/// Serves a router as `tidings serve` does, without its limits.
async fn serve(listener: TcpListener, router: Router) {
    use hyper_util::{rt::TokioIo, service::TowerToHyperService};
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        let service = TowerToHyperService::new(router.clone());
        tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

/// The receiver that stands in for providers, driven by the load generator alone.
pub async fn bare_receiver() -> anyhow::Result<Phase> {
    let address = sink::http::start(Kind::Bare).await?;
    requests("bare HTTP receiver, 64 connections", address, 200).await
}

async fn requests(name: &str, address: SocketAddr, wanted: u16) -> anyhow::Result<Phase> {
    let target = Target::new(address, "tdk_floor");
    let make = move |number| target.request("POST", "/v1/messages", "", &texts::sms(number));
    let mut run = load::run(address, load::CONNECTIONS, REQUESTS, wanted, make).await?;
    let latency = Latency::of(&mut run.waits_us);
    Ok(Phase { latency, ..Phase::new(name, REQUESTS, seconds(run.began_us, run.ended_us)) })
}

/// The mail server that stands in for real ones, given one mail after the other over kept connections.
pub async fn bare_mail_server() -> anyhow::Result<Phase> {
    let arrivals = Arrivals::new(MAILS);
    let address = sink::smtp::start(Arc::clone(&arrivals)).await?;
    let began = now_us();
    let mut clients = JoinSet::new();
    for client in 0..MAIL_CONNECTIONS {
        clients.spawn(mail_client(address, client));
    }
    while let Some(client) = clients.join_next().await {
        client??;
    }
    ensure!(arrivals.different() == MAILS / MAIL_CONNECTIONS * MAIL_CONNECTIONS, "the mail server missed mails");
    Ok(Phase::new("bare SMTP receiver, 16 connections", arrivals.different(), seconds(began, now_us())))
}

async fn mail_client(address: SocketAddr, client: u64) -> anyhow::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    expect(&mut stream, b"220 ", 1).await?;
    stream.write_all(b"EHLO bench.example\r\n").await?;
    expect(&mut stream, b"250-", 4).await?;
    let body = "x".repeat(76) + "\r\n";
    let mut mail = format!("From: <a@acme.example>\r\nSubject: floor\r\n\r\n{}", body.repeat(64)).into_bytes();
    mail.extend_from_slice(b".\r\n");
    let share = MAILS / MAIL_CONNECTIONS;
    for number in client * share..(client + 1) * share {
        let start = format!("MAIL FROM:<a@acme.example>\r\nRCPT TO:<u{number:08}@example.com>\r\nDATA\r\n");
        stream.write_all(start.as_bytes()).await?;
        expect(&mut stream, b"250 ", 3).await?;
        stream.write_all(&mail).await?;
        expect(&mut stream, b"250 ", 1).await?;
    }
    Ok(())
}

/// Reads until `lines` lines came, the first of which must begin as wanted.
async fn expect(stream: &mut TcpStream, begin: &[u8], lines: usize) -> anyhow::Result<()> {
    let mut reply = Vec::with_capacity(256);
    while memchr::memchr_iter(b'\n', &reply).count() < lines {
        ensure!(stream.read_buf(&mut reply).await? > 0, "the mail server closed the connection");
    }
    ensure!(reply.starts_with(begin), "the mail server answered {}", load::excerpt(&reply));
    Ok(())
}
