//! Figures over time against a count by hand: every measure, by every dimension, in every period, over both days on which the clock changes.

use std::collections::BTreeMap;

use jiff::{ToSpan as _, tz::TimeZone};
use model::{
    AccountId, CampaignId, Channel, Failure, FailureKind, Ids, MessageId, Purpose, Status, TemplateId, TenantId,
    Timestamp,
};
use serde_json::{Value, json};
use store::{
    Scope,
    message_counters::{REPLIED_MS, TOOK_MS},
    messages::{self, ContentId, Message, OfTemplate},
};
use testkit::Stage;
use tidings_engine::analytics::AnalyticsQuery;

use crate::hooks::read;

const ZONE: &str = "America/Los_Angeles";
const MESSAGES: u128 = 600;
const ADDRESSES: [(Channel, &str, Option<&str>); 4] = [
    (Channel::Sms, "+4915112345678", Some("DE")),
    (Channel::Sms, "+12025550123", Some("US")),
    (Channel::Whatsapp, "+919876543210", Some("IN")),
    (Channel::Email, "ada@example.com", None),
];
const STATUSES: [Status; 9] = [
    Status::Queued,
    Status::Sent,
    Status::Delivered,
    Status::Failed,
    Status::Bounced,
    Status::Canceled,
    Status::Expired,
    Status::Suppressed,
    Status::Unknown,
];
const REASONS: [(FailureKind, &str); 7] = [
    (FailureKind::Recipient, "recipient"),
    (FailureKind::OptedOut, "opted_out"),
    (FailureKind::Content, "content"),
    (FailureKind::Throttled, "throttled"),
    (FailureKind::Unavailable, "unavailable"),
    (FailureKind::Account, "account"),
    (FailureKind::Unknown, "unknown"),
];

/// Messages of the weeks around both changes of the clock in 2026, with everything that can become of one.
fn any(tenant: TenantId) -> Vec<Message> {
    let ids = Ids::seeded(20_261_129);
    let starts: [Timestamp; 2] = ["2026-03-01T00:00:00Z".parse().unwrap(), "2026-10-25T00:00:00Z".parse().unwrap()];
    let mut all = Vec::new();
    for n in 0..MESSAGES {
        let at = starts[ids.below(2) as usize].plus_seconds(ids.below(14 * 86_400) as i64);
        let id = MessageId::from_ulid((u128::from(at.as_millis().unsigned_abs()) << 80) | n);
        let (channel, address, _) = ADDRESSES[ids.below(4) as usize];
        let mut m = Message::new(tenant, id, channel, address.to_owned(), ContentId(1), at);
        m.status = STATUSES[ids.below(9) as usize];
        m.purpose = if ids.below(2) == 0 { Purpose::Marketing } else { Purpose::Transactional };
        m.account_id = (ids.below(4) > 0).then(|| AccountId::from_ulid(u128::from(ids.below(2) + 1)));
        m.connector = (ids.below(4) > 0).then(|| ["twilio", "smtp"][ids.below(2) as usize].to_owned());
        m.topic = (ids.below(2) == 0).then(|| ["news", "invoices"][ids.below(2) as usize].to_owned());
        m.campaign_id = (ids.below(2) == 0).then(|| CampaignId::from_ulid(u128::from(ids.below(2) + 1)));
        m.variant = m.campaign_id.and_then(|_| (ids.below(2) == 0).then(|| ids.below(3) as u32));
        m.template = (ids.below(2) == 0).then(|| OfTemplate {
            id: TemplateId::from_ulid(u128::from(ids.below(2) + 1)),
            version: ids.below(3) as u32 + 1,
        });
        m.segments = Some(ids.below(4) as u32);
        m.cost_micros = (ids.below(3) > 0).then(|| ids.below(9_000) as i64);
        m.cost_currency = (ids.below(3) > 0).then(|| ["USD", "EUR"][ids.below(2) as usize].to_owned());
        if matches!(m.status, Status::Failed | Status::Bounced) {
            let (kind, _) = REASONS[ids.below(7) as usize];
            m.failure = Some(serde_json::to_string(&Failure::new(kind, "x", "It did not work.")).unwrap());
        }
        // Times of every magnitude, so that every bucket has some.
        let later =
            |is: bool| is.then(|| at.plus_millis(10_i64.pow(ids.below(7) as u32 + 2) * (ids.below(9) as i64 + 1)));
        let is_sent = matches!(m.status, Status::Sent | Status::Delivered | Status::Bounced);
        m.sent_at = is_sent.then_some(at);
        m.delivered_at = later(m.status == Status::Delivered);
        let seen = |share: u64| later(is_sent && ids.below(share) == 0);
        m.read_at = seen(3);
        let e = &mut m.engagement;
        (e.opened_at, e.clicked_at, e.machine_opened_at, e.machine_clicked_at) = (seen(3), seen(4), seen(2), seen(3));
        (e.complained_at, e.unsubscribed_at, e.replied_at) = (seen(9), seen(7), seen(3));
        all.push(m);
    }
    all
}

/// What one message counts as, by the names of the figures.
fn measures(m: &Message) -> Vec<(String, i64)> {
    let e = &m.engagement;
    let is = |name: &str, condition: bool| (name.to_owned(), i64::from(condition));
    let mut all = vec![
        is("accepted", true),
        is("sent", m.sent_at.is_some()),
        is("delivered", m.delivered_at.is_some()),
        is("read", m.read_at.is_some()),
        is("opened", e.opened_at.is_some()),
        is("machine_opened", e.machine_opened_at.is_some() && e.opened_at.is_none()),
        is("clicked", e.clicked_at.is_some()),
        is("machine_clicked", e.machine_clicked_at.is_some() && e.clicked_at.is_none()),
        is("failed", m.status == Status::Failed),
        is("bounced", m.status == Status::Bounced),
        is("complained", e.complained_at.is_some()),
        is("unsubscribed", e.unsubscribed_at.is_some()),
        is("replied", e.replied_at.is_some()),
        is("canceled", m.status == Status::Canceled),
        is("expired", m.status == Status::Expired),
        is("suppressed", m.status == Status::Suppressed),
        is("unknown", m.status == Status::Unknown),
        ("segments".to_owned(), if m.sent_at.is_some() { i64::from(m.segments.unwrap()) } else { 0 }),
    ];
    let failure = m.failure.as_deref().map(|text| serde_json::from_str::<Failure>(text).unwrap().kind);
    all.extend(REASONS.iter().map(|(kind, name)| is(&format!("failed_by_reason/{name}"), failure == Some(*kind))));
    for currency in ["EUR", "USD"] {
        let cost = m.cost_micros.filter(|_| m.cost_currency.as_deref() == Some(currency)).unwrap_or(0);
        all.push((format!("costs/{currency}"), cost));
    }
    all
}

/// What a row of the answer is about, by the names of its fields.
fn about(m: &Message, dimension: &str) -> Vec<Value> {
    match dimension {
        "channel" => vec![json!(m.channel)],
        "provider" => vec![json!(m.connector)],
        "account" => vec![json!(m.account_id)],
        "purpose" => vec![json!(m.purpose)],
        "country" => vec![json!(ADDRESSES.iter().find(|(_, address, _)| *address == m.address).unwrap().2)],
        "campaign" => vec![json!(m.campaign_id)],
        "template" => vec![json!(m.template.map(|of| of.id)), json!(m.template.map(|of| of.version))],
        "topic" => vec![json!(m.topic)],
        "variant" => vec![json!(m.variant)],
        _ => Vec::new(),
    }
}

const DIMENSIONS: [(&str, &[&str]); 10] = [
    ("", &[]),
    ("channel", &["channel"]),
    ("provider", &["provider"]),
    ("account", &["account_id"]),
    ("purpose", &["purpose"]),
    ("country", &["country"]),
    ("campaign", &["campaign_id"]),
    ("template", &["template_id", "template_version"]),
    ("topic", &["topic"]),
    ("variant", &["variant"]),
];

/// When the period begins in which a message was accepted, on the wall clock.
fn period(m: &Message, interval: &str) -> Option<i64> {
    let zoned = m.created_at.jiff().to_zoned(TimeZone::get(ZONE).unwrap());
    let begin = match interval {
        "hour" => return Some(m.created_at.as_seconds().div_euclid(3_600) * 3_600),
        "day" => zoned.start_of_day().unwrap(),
        "week" => {
            let days = i64::from(zoned.weekday().to_monday_zero_offset());
            zoned.date().checked_sub(days.days()).unwrap().to_zoned(zoned.time_zone().clone()).unwrap()
        }
        "month" => zoned.date().first_of_month().to_zoned(zoned.time_zone().clone()).unwrap(),
        _ => return None,
    };
    Some(begin.timestamp().as_second())
}

type Table = BTreeMap<String, BTreeMap<String, i64>>;

fn by_hand(all: &[Message], interval: &str, dimension: &str) -> Table {
    let mut table = Table::new();
    for m in all {
        let row = table.entry(json!([period(m, interval), about(m, dimension)]).to_string()).or_default();
        for (name, count) in measures(m) {
            *row.entry(name).or_default() += count;
        }
    }
    table
}

fn told(answer: &Value, fields: &[&str]) -> Table {
    let row = |row: &Value| {
        let period = row["period"].as_str().map(|text| text.parse::<Timestamp>().unwrap().as_seconds());
        let about: Vec<Value> = fields.iter().map(|field| row[*field].clone()).collect();
        let mut figures = BTreeMap::new();
        for (name, value) in row.as_object().unwrap() {
            if let (Some(count), false) = (value.as_i64(), name.ends_with("_ms") || fields.contains(&name.as_str())) {
                figures.insert(name.clone(), count);
            }
        }
        for (name, count) in row["failed_by_reason"].as_object().unwrap() {
            figures.insert(format!("failed_by_reason/{name}"), count.as_i64().unwrap());
        }
        for currency in ["EUR", "USD"] {
            let of = row["costs"].as_array().unwrap().iter().find(|money| money["currency"] == currency);
            figures.insert(format!("costs/{currency}"), of.map_or(0, |money| money["amount_micros"].as_i64().unwrap()));
        }
        (json!([period, about]).to_string(), figures)
    };
    answer["data"].as_array().unwrap().iter().map(row).collect()
}

/// The figure lies in the bucket of the time that `percent` of a hundred stayed below.
fn in_bucket(mut took: Vec<i64>, ends: &[i64], percent: usize, figure: &Value) {
    took.sort_unstable();
    let exact = took[(took.len() * percent).div_ceil(100) - 1];
    let place = ends.partition_point(|end| *end < exact);
    let low = if place == 0 { 0 } else { ends[place - 1] };
    let high = ends.get(place).copied().unwrap_or(low);
    let figure = figure.as_i64().unwrap();
    assert!(
        (low..=high).contains(&figure),
        "{percent} of a hundred stayed below {exact}, between {low} and {high}: {figure}"
    );
}

async fn ask(stage: &Stage, interval: &str, dimension: &str) -> Value {
    let mut query = json!({ "since": "2026-02-01", "interval": interval });
    if !dimension.is_empty() {
        query["group_by"] = json!(dimension);
    }
    let query: AnalyticsQuery = serde_json::from_value(query).unwrap();
    read(stage.engine.analytics(&stage.caller, &query).await)
}

testkit::both! {
    async fn every_figure_equals_a_count_by_hand(db: TestDb) {
        let stage = Stage::new(&db).await;
        stage.world.clock.set("2026-12-01T12:00:00Z".parse().unwrap());
        let change = serde_json::from_value(json!({ "timezone": ZONE })).unwrap();
        tidings_engine::tenants::patch(stage.engine.parts(), &stage.caller, stage.tenant, change).await.unwrap();
        let all = any(stage.tenant);
        let kept = all.clone();
        let write = db.db.write(Scope::System, move |tx| {
            Box::pin(async move {
                messages::insert_many(tx, &kept).await?;
                messages::update_many(tx, &kept, &messages::Charges::new()).await?;
                messages::update_engagements(tx, &kept.iter().collect::<Vec<_>>()).await
            })
        });
        write.await.unwrap();
        assert!(stage.engine.recount(stage.tenant).await.unwrap() > 0);
        for interval in ["all", "hour", "day", "week", "month"] {
            for (dimension, fields) in DIMENSIONS {
                let (seen, counted) = (told(&ask(&stage, interval, dimension).await, fields), by_hand(&all, interval, dimension));
                assert_eq!(seen.keys().collect::<Vec<_>>(), counted.keys().collect::<Vec<_>>(), "{interval} by {dimension}");
                for (key, figures) in &counted {
                    assert_eq!(&seen[key], figures, "{interval} by {dimension}: {key}");
                }
            }
        }
        // The days of the two changes have 23 and 25 hours.
        let hours = |day: &str| {
            let day: jiff::civil::Date = day.parse().unwrap();
            let of_day = |at: &i64| jiff::Timestamp::from_second(*at).unwrap().to_zoned(TimeZone::get(ZONE).unwrap()).date() == day;
            let begins: std::collections::BTreeSet<i64> = all.iter().filter_map(|m| period(m, "hour")).filter(of_day).collect();
            begins.len()
        };
        assert!(hours("2026-03-08") > 5 && hours("2026-11-01") > 5, "messages fell into them");
        let totals = ask(&stage, "all", "").await["totals"].clone();
        let took = |end: &dyn Fn(&Message) -> Option<Timestamp>| {
            all.iter().filter_map(|m| Some(end(m)?.millis_since(m.sent_at?))).collect::<Vec<_>>()
        };
        for (percent, median) in [(50, "median"), (95, "p95")] {
            in_bucket(took(&|m| m.delivered_at), &TOOK_MS, percent, &totals[format!("delivery_{median}_ms")]);
            in_bucket(took(&|m| m.engagement.replied_at), &REPLIED_MS, percent, &totals[format!("response_{median}_ms")]);
        }
    }
}
