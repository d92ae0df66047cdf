//! Two months that never were: messages that left, arrived, were read or came back, and a campaign that ended.
//!
//! What happened to a message is worked out by pure functions from its number; the rows are written through [`Writes`], which counts usage from them as it does for
//! every message. A week is one transaction, together with the stage that says it is there.

use std::{collections::HashMap, sync::Arc};

use model::{
    AccountId, CampaignId, Channel, Class, ContactId, Content, Failure, FailureKind, Ids, InboundId, MessageId,
    Priority, Purpose, Status, TenantId, Timestamp, Ulid,
};
use serde_json::json;
use store::{
    Scope,
    attempts::{Attempt, Observation},
    campaign_recipients::{self, Recipient},
    campaigns::{self, Campaign},
    contents::Stored,
    demo_tenants,
    demo_tenants::DemoTenant,
    inbound::{self, Inbound},
    messages::{ContentId, Message},
};

use super::{
    cast::{Cast, Person},
    read,
};
use crate::{
    Engine, Error,
    campaigns::{definition::NewCampaign, states::State, work},
    inbound::Body,
    keys::Caller,
    writes::Writes,
};

/// Weeks of history: two months.
pub(super) const WEEKS: i64 = 9;
const DAY_S: i64 = 86_400;
/// Messages of one week of the first, and how many more each week has.
const WEEK_FIRST: usize = 50;
const WEEK_MORE: usize = 6;
/// Answers of people in a week.
const ANSWERS: usize = 6;
/// When the campaign that ended was sent, in days before.
const CAMPAIGN_AGO: i64 = 16;

pub(super) const ANSWER_TEXTS: [&str; 6] = [
    "Thank you, see you tonight!",
    "Can I change my seat?",
    "Is there parking near the hall?",
    "I cannot come, can I give my ticket to a friend?",
    "Great show yesterday.",
    "When do doors open?",
];

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Read,
    Delivered,
    Bounced,
    Failed,
}

/// A number without a pattern one could see, the same for the same number.
pub(super) const fn chance(number: u64) -> u64 {
    let mut z = number.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(0x1234_5678_9abc_def1);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

const fn end(channel: Channel, number: u64) -> End {
    match (chance(number) >> 8) % 100 {
        0..=2 if matches!(channel, Channel::Email) => End::Bounced,
        0..=3 => End::Failed,
        4..=39 => End::Delivered,
        _ => End::Read,
    }
}

const fn channel(number: u64) -> Channel {
    match chance(number ^ 0xc0ffee) % 10 {
        0..=5 => Channel::Email,
        6..=8 => Channel::Sms,
        _ => Channel::Whatsapp,
    }
}

/// One message that was.
struct Past<'a> {
    number: u64,
    person: &'a Person,
    channel: Channel,
    purpose: Purpose,
    at: Timestamp,
    end: End,
    campaign: Option<CampaignId>,
    account: AccountId,
}

/// Messages of a week, `week` of [`WEEKS`], the last of which ended when the tenant was made.
fn of_week<'a>(cast: &'a Cast, made_at: Timestamp, week: i64) -> Vec<Past<'a>> {
    let begins = made_at.plus_seconds(-(WEEKS + 1 - week) * 7 * DAY_S);
    let count = WEEK_FIRST + WEEK_MORE * week.unsigned_abs() as usize;
    let message = |index: usize| {
        let number = week.unsigned_abs() * 1_000 + index as u64;
        // Spread over the week, more by day than by night; none in the last hours before it was made.
        let second = (chance(number ^ 0xda7e) % (7 * 24 * 3_600 - 7_200)).cast_signed();
        let hour = second / 3_600 % 24;
        let second = if hour < 7 { second + 7 * 3_600 - hour * 3_600 } else { second };
        let channel = channel(number);
        Past {
            number,
            person: &cast.people[(chance(number ^ 0xface) % cast.people.len() as u64) as usize],
            channel,
            purpose: Purpose::Transactional,
            at: begins.plus_seconds(second.min(7 * DAY_S - 7_200)).plus_millis((chance(number) % 1_000).cast_signed()),
            end: end(channel, number),
            campaign: None,
            account: cast.account,
        }
    };
    (0..count).map(message).collect()
}

/// An id of the time something happened: [`Ids::ulid`] never goes back.
fn ulid_at(at: Timestamp, ids: &Ids) -> Ulid {
    let mut random = [0; 16];
    ids.fill(&mut random);
    let millis = u128::from(at.as_millis().max(0).unsigned_abs());
    // An attempt's id is its message's plus its number: the lowest bits stay clear.
    (millis << 80) | (u128::from_be_bytes(random) >> 49 & !((1 << 10) - 1))
}

/// Adds a message with everything that happened to it.
fn add(writes: &mut Writes, tenant: TenantId, past: &Past<'_>, content: ContentId, ids: &Ids) -> MessageId {
    let id = MessageId::from_ulid(ulid_at(past.at, ids));
    let address = if past.channel == Channel::Email { &past.person.email } else { &past.person.phone };
    let provider_id = id.attempt(1).to_string().replace("att", "sbx");
    let draft = Message {
        purpose: past.purpose,
        class: Class::new(past.purpose, Priority::Normal),
        account_id: Some(past.account),
        connector: Some(super::CONNECTOR.to_owned()),
        variables: Some(json!({"name": past.person.first, "order": 1_000 + past.number}).to_string()),
        route: Some("the default account of its channel".to_owned()),
        segments: (past.channel == Channel::Sms).then_some(1),
        contact_id: Some(past.person.id),
        campaign_id: past.campaign,
        ..Message::new(tenant, id, past.channel, address.clone(), content, past.at)
    };
    let sent_at = past.at.plus_millis(400);
    let delivered_at = sent_at.plus_millis(3_000 + (chance(past.number) % 2_000).cast_signed());
    let read_at = delivered_at
        .plus_seconds(60 + (chance(past.number ^ 7) % 7_200).cast_signed())
        .min(past.at.plus_seconds(7_000));
    let mut after = Message { attempts: 1, ..draft.clone() };
    let refused = Failure::new(FailureKind::Recipient, "invalid_recipient", "The recipient does not exist.");
    let returned = Failure::new(FailureKind::Unavailable, "4.2.2", "The mailbox is full.");
    let mut learned = Vec::new();
    let mut outcome = (0, None, Some(provider_id.clone()));
    if past.end == End::Failed {
        let failure = serde_json::to_string(&refused).expect("a failure has a JSON form");
        (after.status, after.ended_at, after.failure) = (Status::Failed, Some(sent_at), Some(failure.clone()));
        outcome = (refused.kind.code(), Some(failure), None);
    } else {
        (after.sent_at, after.provider_message_id, after.bytes) = (Some(sent_at), Some(provider_id), Some(said(past)));
    }
    match past.end {
        End::Failed => {}
        End::Bounced => {
            let failure = serde_json::to_string(&returned).expect("a failure has a JSON form");
            (after.status, after.ended_at, after.failure) = (Status::Bounced, Some(delivered_at), Some(failure));
            learned.push(("bounced", delivered_at));
        }
        End::Delivered => {
            (after.status, after.delivered_at) = (Status::Delivered, Some(delivered_at));
            learned.push(("delivered", delivered_at));
        }
        End::Read => {
            (after.status, after.delivered_at, after.read_at) = (Status::Read, Some(delivered_at), Some(read_at));
            learned.extend([("delivered", delivered_at), ("read", read_at)]);
        }
    }
    let attempt = Attempt {
        tenant_id: tenant,
        message_id: id,
        number: 1,
        account_id: past.account,
        started_at: past.at.plus_millis(100),
        finished_at: sent_at,
        outcome: outcome.0,
        failure: outcome.1,
        provider_message_id: outcome.2,
        exchange: None,
        note: None,
    };
    let took_ms = attempt.finished_at.millis_since(attempt.started_at);
    writes.attempted(draft.channel, attempt, Some(took_ms), false);
    writes.observations.extend(learned.into_iter().enumerate().map(|(position, (kind, at))| Observation {
        tenant_id: tenant,
        message_id: id,
        dedupe: format!("demo:{position}"),
        source: "sandbox".to_owned(),
        kind: kind.to_owned(),
        detail: None,
        at,
        recorded_at: at,
    }));
    writes.count(None, &after);
    writes.new_messages.push(draft);
    writes.messages.push(after);
    id
}

const SUBJECT: &str = "Your order {{ order }}";
const TEXT: &str = "Hello {{ name }},\n\nyour tickets are ready.\n";
const HTML: &str = "<p>Hello {{ name }},</p><p>your tickets are ready.</p>";
const SHORT: &str = "Hello {{ name }}, your order {{ order }} is ready.";
const INVITED: [&str; 2] =
    ["{{ name }}, come to our autumn gala", "Hello {{ name }},\n\nwe would love to see you at our gala.\n"];

/// How long what a message said was, in bytes.
fn said(past: &Past<'_>) -> i64 {
    let texts: &[&str] = match (past.channel, past.campaign) {
        (Channel::Email, Some(_)) => &INVITED,
        (Channel::Email, None) => &[SUBJECT, TEXT, HTML],
        _ => &[SHORT],
    };
    let order = (1_000 + past.number).to_string();
    let filled = |text: &&str| text.replace("{{ name }}", past.person.first).replace("{{ order }}", &order).len();
    texts.iter().map(filled).sum::<usize>() as i64
}

/// What messages of each channel said.
fn contents(tenant: TenantId, at: Timestamp, ids: &Ids) -> Result<(Vec<Stored>, HashMap<Channel, ContentId>), Error> {
    let texts = [
        json!({"channel": "email", "subject": SUBJECT, "text": TEXT, "html": HTML}),
        json!({"channel": "sms", "text": SHORT}),
        json!({"channel": "whatsapp", "text": SHORT}),
    ];
    let (mut stored, mut of) = (Vec::new(), HashMap::new());
    for text in texts {
        let content: Content = read(text)?;
        let id = ContentId(ulid_at(at, ids));
        of.insert(content.channel(), id);
        let body = serde_json::to_string(&content).map_err(Error::internal)?;
        stored.push(Stored { tenant_id: tenant, id, body, template: None });
    }
    Ok((stored, of))
}

/// What people wrote in a week.
fn answers(cast: &Cast, row: &DemoTenant, week: i64, ids: &Ids) -> Vec<Inbound> {
    let begins = row.created_at.plus_seconds(-(WEEKS + 1 - week) * 7 * DAY_S);
    let answer = |index: usize| {
        let number = week.unsigned_abs() * 100 + index as u64;
        let person = &cast.people[(chance(number ^ 0xfeed) % cast.people.len() as u64) as usize];
        let at = begins.plus_seconds((chance(number) % (7 * 86_400)).cast_signed());
        let body = Body {
            from_name: Some(person.first.to_owned()),
            to: "+12025550100".to_owned(),
            text: ANSWER_TEXTS[index % ANSWER_TEXTS.len()].to_owned(),
            sent_at: Some(at),
            ..Body::default()
        };
        Inbound {
            tenant_id: row.tenant,
            id: InboundId::from_ulid(ulid_at(at, ids)),
            account_id: cast.account,
            channel: if index.is_multiple_of(2) { Channel::Sms } else { Channel::Whatsapp },
            provider_message_id: format!("sbx_in_{number}"),
            address: person.phone.clone(),
            body: serde_json::to_string(&body).expect("an answer has a JSON form"),
            received_at: at,
            contact_id: Some(person.id),
        }
    };
    (0..ANSWERS).map(answer).collect()
}

/// Writes one week and moves the stage on with it.
pub(super) async fn week(engine: &Engine, row: DemoTenant, cast: &Cast, week: i64) -> Result<(), Error> {
    let ids = &engine.ports.ids;
    let mut writes = Writes::default();
    let (stored, of) = contents(row.tenant, row.created_at, ids)?;
    writes.contents = stored;
    for past in of_week(cast, row.created_at, week) {
        add(&mut writes, row.tenant, &past, of[&past.channel], ids);
    }
    let answers = answers(cast, &row, week, ids);
    let shard = engine.shard();
    let write = engine.ports.db.write(Scope::System, move |tx| {
        Box::pin(async move {
            if demo_tenants::advance(tx, row.tenant, row.stage, row.stage + 1).await? {
                writes.write(tx, shard).await?;
                inbound::insert_many(tx, &answers).await?;
            }
            Ok::<_, Error>(())
        })
    });
    write.await
}

/// Writes the campaign that ended: its row, its frozen audience and their messages.
pub(super) async fn campaign(engine: &Engine, row: DemoTenant, cast: &Cast) -> Result<(), Error> {
    let ids = Arc::clone(&engine.ports.ids);
    let at = row.created_at.plus_seconds(-CAMPAIGN_AGO * DAY_S);
    let new: NewCampaign = read(json!({
        "name": "Autumn gala", "description": "Invitations to the gala.", "channel": "email", "purpose": "marketing",
        "content": {"subject": "{{ contact.first_name }}, come to our autumn gala", "text": "Hello {{ contact.first_name }},\n\nwe would love to see you at our gala.\n"},
        "audience": {"lists": [cast.newsletter]},
    }))?;
    let mut faults = crate::names::Faults::default();
    new.check(&mut faults);
    faults.end()?;
    let id = CampaignId::from_ulid(ulid_at(at.plus_seconds(-DAY_S), &ids));
    let mut writes = Writes::default();
    let content: Content = read(json!({
        "channel": "email", "subject": INVITED[0], "text": INVITED[1],
    }))?;
    let content_id = ContentId(ulid_at(at, &ids));
    let body = serde_json::to_string(&content).map_err(Error::internal)?;
    writes.contents.push(Stored { tenant_id: row.tenant, id: content_id, body, template: None });
    let mut recipients = Vec::new();
    for (index, person) in cast.people.iter().filter(|person| person.agreed).enumerate() {
        let number = 90_000 + index as u64;
        let past = Past {
            number,
            person,
            channel: Channel::Email,
            purpose: Purpose::Marketing,
            at: at.plus_seconds(index as i64),
            end: end(Channel::Email, number),
            campaign: Some(id),
            account: cast.slow,
        };
        let message = add(&mut writes, row.tenant, &past, content_id, &ids);
        recipients.push(Recipient {
            tenant_id: row.tenant,
            campaign_id: id,
            contact_id: person.id,
            variant: None,
            outcome: campaign_recipients::ACCEPTED,
            reason: None,
            message_id: Some(message),
        });
    }
    let count = recipients.len() as u64;
    let last = recipients.iter().map(|recipient| recipient.contact_id).max().unwrap_or(ContactId::from_ulid(0));
    let ended = Campaign {
        tenant_id: row.tenant,
        id,
        name: new.name.clone(),
        description: new.description.clone().unwrap_or_default(),
        state: State::Sent.as_str().to_owned(),
        definition: new.stored_text()?,
        creator: Caller::system(None).actor(),
        phase: work::DONE.to_owned(),
        cursor: last,
        bound: last,
        total: count,
        accepted: count,
        excluded: 0,
        winner: None,
        problem: None,
        scheduled_at: None,
        started_at: Some(at),
        test_ends_at: None,
        paused_at: None,
        ended_at: Some(at.plus_seconds(count.cast_signed() + 60)),
        next_at: None,
        parent_id: None,
        created_at: at.plus_seconds(-DAY_S),
        updated_at: at,
    };
    let shard = engine.shard();
    let write = engine.ports.db.write(Scope::System, move |tx| {
        Box::pin(async move {
            if demo_tenants::advance(tx, row.tenant, row.stage, row.stage + 1).await? {
                campaigns::insert(tx, &ended).await?;
                writes.write(tx, shard).await?;
                campaign_recipients::insert_many(tx, &recipients).await?;
            }
            Ok::<_, Error>(())
        })
    });
    write.await
}
