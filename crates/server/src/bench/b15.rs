//! B15, the console with a million messages: how long the server takes for each page of somebody who looks around.

use std::{env, process::Command};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use super::{
    Order,
    child::{self, Roles, Server},
    clock::{now_us, seconds},
    fill,
    load::{Connection, Target as Api, excerpt},
    report::{Latency, Phase, Report, Target},
    room::Room,
    texts,
};

/// Messages of the tenant.
const MESSAGES: u64 = 1_000_000;
/// Times each page is asked for: enough for a median, few enough to end soon.
const TIMES: u64 = 20;
/// Longest time of a page's median, in milliseconds.
const PAGE_MS: f64 = 100.0;
/// What is looked at, by name.
const PAGES: [(&str, &str); 12] = [
    ("home", "/console"),
    ("messages", "/console/messages"),
    ("messages that failed", "/console/messages?status=failed"),
    ("messages to an address", "/console/messages?q=%2B4915112345678"),
    ("dead letters", "/console/dead-letters"),
    ("contacts", "/console/contacts"),
    ("campaigns", "/console/campaigns"),
    ("templates", "/console/templates"),
    ("channels", "/console/channels"),
    ("analytics", "/console/analytics"),
    ("analytics of a year", "/console/analytics?period=year&by=campaign"),
    ("usage", "/console/usage"),
];

/// Fills a tenant and looks around in it.
pub async fn run(order: &Order) -> anyhow::Result<Report> {
    let room = order.room().await?;
    let mut report = Report::new("b15", "pages of the console", room.engine(), room.durability());
    let server = Server::start(&room, Roles::NoWorker, None).await?;
    let operator = server.operator();
    let tenant = child::call(&operator, "POST", "/v1/tenants", "", &json!({"name": "Bench"})).await?;
    let tenant = tenant["id"].as_str().context("a tenant has an id")?.to_owned();
    let inside = format!("tidings-tenant: {tenant}\r\n");
    let key = child::call(&operator, "POST", "/v1/api-keys", &inside, &json!({"name": "bench"})).await?;
    let api = server.tenant(key["key"].as_str().context("a key is shown")?);
    child::call(&api, "POST", "/v1/accounts", "", &json!({"name": "Sandbox", "connector": "sandbox"})).await?;
    let messages = order.messages(MESSAGES);
    let filled = fill::post(&api, messages, texts::sms_batch).await?;
    report.phases.push(Phase::new("messages accepted", messages, seconds(filled.began_us, filled.ended_us)));
    let cookie = sign_in(&room, &operator, &tenant).await?;
    room.settle().await;

    for (name, path) in PAGES {
        let phase = look(&operator, name, path, &cookie).await?;
        let median = phase.latency.unwrap_or_default().p50_ms;
        report.targets.push(Target::at_most(format!("{name}, half of the times"), median, PAGE_MS, "ms"));
        report.phases.push(phase);
    }
    Ok(report)
}

/// Makes an owner as the command line does, and signs in. Answers the header that proves it.
async fn sign_in(room: &Room, anybody: &Api, tenant: &str) -> anyhow::Result<String> {
    let email = "bench@example.com";
    let mut command = Command::new(env::current_exe()?);
    command
        .args(["user", "create", "--email", email, "--tenant", tenant, "--role", "owner", "--json"])
        .current_dir(room.directory())
        .env_clear()
        .env("TIDINGS_DATA_DIR", room.directory().join("data"))
        .env("TIDINGS_DATABASE_URL", &room.url);
    let said = tokio::task::spawn_blocking(move || command.output()).await??;
    ensure!(said.status.success(), "no user could be made: {}", excerpt(&said.stderr));
    let made: Value = serde_json::from_slice(&said.stdout)?;
    let who = json!({"email": email, "password": made["password"]});
    let session = child::call(anybody, "POST", "/v1/sessions", "", &who).await?;
    let token = session["session"]["token"].as_str().context("a session has a token")?;
    Ok(format!("cookie: tidings_session={token}\r\n"))
}

/// Asks for a page again and again over one connection.
async fn look(api: &Api, name: &str, path: &str, cookie: &str) -> anyhow::Result<Phase> {
    let request = api.request("GET", path, cookie, "");
    let mut connection = Connection::open(api.address).await?;
    let (mut waits, began) = (Vec::new(), now_us());
    for _ in 0..TIMES {
        let asked = now_us();
        let (status, body) = connection.exchange(&request).await?;
        ensure!(status == 200, "{path} was answered {status}: {}", excerpt(body));
        waits.push(now_us() - asked);
    }
    Ok(Phase { latency: Latency::of(&mut waits), ..Phase::new(name, TIMES, seconds(began, now_us())) })
}
