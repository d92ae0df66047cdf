//! B16, a large campaign beside somebody in a hurry: a million recipients get a mail of a template in MJML, while ten tenants send one message every 100 ms.

use std::sync::Arc;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use super::{
    Order, audience,
    child::{self, Roles, Server},
    clock::{now_us, seconds, sleep_ms},
    load::{Connection, Target as Api, excerpt},
    meter::Meter,
    report::{Phase, Report, Target},
    room::Room,
    singles::{self, EVERY_MS, OTHERS},
    sink::{
        Arrivals,
        http::{self, Kind},
    },
};

/// Recipients of the campaign.
const RECIPIENTS: u64 = 1_000_000;
/// Messages each of the ten sends meanwhile, for every hundred thousand recipients: about as long as those take.
const EACH: u64 = 40;
/// Between two looks at an import or a campaign, in milliseconds.
const LOOK_MS: u64 = 50;
/// Most memory the server may hold.
const MEMORY_MIB: f64 = 300.0;
/// Longest way of a message that is no campaign's from its request to its provider, of 99 in a hundred.
const HURRY_MS: f64 = 250.0;

/// Makes the campaign with one server, and lets it run with another, whose memory is then only that of running it.
pub async fn run(order: &Order) -> anyhow::Result<Report> {
    let room = order.room().await?;
    let title = "a campaign of mails from a template in MJML, beside ten tenants with one message every 100 ms";
    let mut report = Report::new("b16", title, room.engine(), room.durability());
    let recipients = order.messages(RECIPIENTS);
    let each = (recipients / 100_000).max(1) * EACH;
    let arrivals = Arrivals::new(OTHERS * each);
    let provider = http::start(Kind::Twilio(Arc::clone(&arrivals))).await?;
    let server = Server::start(&room, Roles::All, Some(provider)).await?;
    let keys = singles::tenants(&server).await?;
    let campaigner = server.make_tenant("Campaign").await?;
    let campaign = prepare(&server.tenant(&campaigner), recipients).await?;
    server.kill();
    room.settle().await;

    let server = Server::start(&room, Roles::All, Some(provider)).await?;
    let api = server.tenant(&campaigner);
    report.phases.push(check(&room, &server, &api, &campaign, recipients).await?);
    let meter = Meter::start(server.pid(), &room, server.commits().await).await;
    let began = now_us();
    child::call(&api, "POST", &format!("/v1/campaigns/{campaign}/send"), "", &json!({})).await?;
    let (hurried, ended) = tokio::try_join!(
        singles::send(&server, &keys, &arrivals, (0, each), "beside the campaign"),
        until_accepted(&api, &campaign, recipients),
    )?;
    let cost = meter.stop(&room, server.commits().await, recipients).await;
    if seconds(began, ended) * 1_000.0 < (each * EVERY_MS) as f64 {
        report.notes.push("The campaign was accepted before the last single message was sent.".to_owned());
    }
    let p99 = hurried.latency.unwrap_or_default().p99_ms;
    report.targets.push(Target::at_most("p99 beside the campaign", p99, HURRY_MS, "ms"));
    report.targets.push(Target::at_most("memory at most", cost.peak_mib, MEMORY_MIB, "MiB"));
    report.phases.push(hurried);
    report
        .phases
        .push(Phase { cost: Some(cost), ..Phase::new("accepted meanwhile", recipients, seconds(began, ended)) });
    report.notes.push(
        "The campaign's mails leave by the sandbox connector while it is accepted, so its rate is not that of B11."
            .to_owned(),
    );
    Ok(report)
}

/// Imports the contacts and makes account, template and campaign. Answers the campaign's id.
async fn prepare(api: &Api, recipients: u64) -> anyhow::Result<String> {
    child::call(api, "POST", "/v1/accounts", "", &json!({"name": "Sandbox", "connector": "sandbox"})).await?;
    import(api, recipients).await?;
    let template = json!({"name": "gates", "channel": "email", "variants": {"en": {"subject": "Hello {{ contact.first_name }}", "mjml": mjml()}}});
    let made = id(&child::call(api, "POST", "/v1/templates", "", &template).await?)?;
    child::call(api, "POST", &format!("/v1/templates/{made}/publish"), "", &json!({})).await?;
    let segment = json!({"name": "All", "conditions": {"field": "email", "exists": true}});
    let segment = id(&child::call(api, "POST", "/v1/segments", "", &segment).await?)?;
    let campaign = json!({
        "name": "Summer", "channel": "email", "purpose": "transactional", "audience": {"segments": [segment]}, "template": {"name": "gates"},
    });
    id(&child::call(api, "POST", "/v1/campaigns", "", &campaign).await?)
}

fn id(made: &Value) -> anyhow::Result<String> {
    made["id"].as_str().map(str::to_owned).context("what was made has an id")
}

/// Three kilobytes of MJML: a heading and a paragraph with variables, a table, a button.
fn mjml() -> String {
    const ROW: &str =
        "<mj-text padding=\"8px\">Doors open at seven, the show begins at eight. Bring this mail.</mj-text>";
    let mut text = String::from(
        "<mjml><mj-body><mj-section><mj-column><mj-text font-size=\"20px\">Hello {{ contact.first_name }}</mj-text>",
    );
    while text.len() + ROW.len() < 2_900 {
        text.push_str(ROW);
    }
    text.push_str("<mj-button href=\"https://acme.example/t/{{ contact.attributes.orders }}\">Your tickets</mj-button></mj-column></mj-section></mj-body></mjml>");
    text
}

/// Posts the contacts as one table and waits until they are there.
async fn import(api: &Api, contacts: u64) -> anyhow::Result<()> {
    let table = audience::piece(0, contacts);
    let head = format!(
        "POST /v1/contacts/import HTTP/1.1\r\n{}content-type: text/csv\r\ncontent-length: {}\r\n\r\n",
        api.headers,
        table.len()
    );
    let mut connection = Connection::open(api.address).await?;
    let (status, body) = connection.exchange(&[head.as_bytes(), table.as_bytes()].concat()).await?;
    ensure!((200..300).contains(&status), "the import was answered {status}: {}", excerpt(body));
    let path = format!("/v1/contacts/imports/{}", id(&serde_json::from_slice(body)?)?);
    loop {
        let seen = child::call(api, "GET", &path, "", &Value::Null).await?;
        if !seen["finished_at"].is_null() {
            ensure!(seen["created"] == contacts, "not every row became a contact: {seen}");
            return Ok(());
        }
        sleep_ms(LOOK_MS).await;
    }
}

/// Asks whether the campaign may go, and waits until every recipient was looked at.
async fn check(room: &Room, server: &Server, api: &Api, campaign: &str, recipients: u64) -> anyhow::Result<Phase> {
    let meter = Meter::start(server.pid(), room, server.commits().await).await;
    let path = format!("/v1/campaigns/{campaign}/check");
    let began = now_us();
    let mut seen = child::call(api, "POST", &path, "", &json!({})).await?;
    while seen["is_complete"] != true {
        sleep_ms(LOOK_MS).await;
        seen = child::call(api, "GET", &path, "", &Value::Null).await?;
    }
    let ended = now_us();
    ensure!(seen["checked"] == recipients && seen["can_send"] == true, "the check came out otherwise: {seen}");
    let cost = meter.stop(room, server.commits().await, recipients).await;
    Ok(Phase { cost: Some(cost), ..Phase::new("checked before", recipients, seconds(began, ended)) })
}

/// Waits until every recipient has a message. Answers when.
async fn until_accepted(api: &Api, campaign: &str, recipients: u64) -> anyhow::Result<u64> {
    let path = format!("/v1/campaigns/{campaign}");
    loop {
        let seen = child::call(api, "GET", &path, "", &Value::Null).await?;
        ensure!(seen["problem"].is_null() && seen["excluded"] == 0, "recipients were left out: {seen}");
        if seen["accepted"] == recipients {
            return Ok(now_us());
        }
        sleep_ms(LOOK_MS).await;
    }
}
