//! Segments: rows on both engines, and the query of random conditions held against an evaluator that looks at one contact at a time.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use model::{
    Blocks, CampaignId, Channel, ConsentId, ConsentMethod, ConsentState, ContactId, Ids, InboundId, ListId, MessageId,
    SegmentId, SuppressionId, SuppressionReason, TenantId, Timestamp,
};
use store::{
    Error, Scope,
    attempts::{self, Observation},
    consents::{self, ConsentRecord, Preferences},
    contacts::{self, Audience, Contact, join_list, split_list},
    inbound::{self, Inbound},
    lists,
    messages::{self, ContentId, Message},
    segments::{self, Condition, ConsentTest, MessageTest, NumberField, Outcome, Segment, TextField, TextTest},
    suppressions::{self, Suppression},
};

const ACME: TenantId = TenantId::from_ulid(10);
const OTHER: TenantId = TenantId::from_ulid(20);
const CONTACTS: u128 = 60;
/// Conditions tried on each engine.
const TRIES: usize = 400;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(seconds)
}

macro_rules! write {
    ($db:expr, |$tx:ident| $work:expr) => {
        $db.write(Scope::System, move |$tx| Box::pin(async move { Ok::<_, Error>($work) })).await.unwrap()
    };
}

/// A small world: everything conditions look at.
#[derive(Clone)]
struct World {
    contacts: Vec<Contact>,
    members: HashSet<(ListId, ContactId)>,
    messages: Vec<Message>,
    observed: HashSet<(MessageId, &'static str)>,
    inbound: Vec<Inbound>,
    said: HashMap<(ContactId, Channel, &'static str), ConsentState>,
    left_alone: HashSet<ContactId>,
    suppressed: HashMap<(Channel, String), Blocks>,
}

const CHANNELS: [Channel; 4] = [Channel::Email, Channel::Sms, Channel::Whatsapp, Channel::Telegram];
const STATES: [ConsentState; 3] = [ConsentState::Pending, ConsentState::OptedIn, ConsentState::OptedOut];

fn channel(ids: &Ids) -> Channel {
    CHANNELS[ids.below(4) as usize]
}

fn address(c: &Contact, channel: Channel) -> Option<String> {
    match channel {
        Channel::Email => c.email.clone(),
        Channel::Sms | Channel::Voice => c.phone.clone(),
        Channel::Whatsapp => c.whatsapp_number().cloned(),
        Channel::Telegram => c.telegram_chat_id.map(|chat| chat.to_string()),
        Channel::Webhook => None,
    }
}

fn words(ids: &Ids) -> Option<String> {
    ["", "de", "de-AT", "en", "Größe", "größe", "%", "_"]
        .get(ids.below(11) as usize)
        .filter(|w| !w.is_empty())
        .map(|w| (*w).to_owned())
}

fn number(ids: &Ids) -> Option<i64> {
    (ids.below(4) > 0).then(|| ids.below(5) as i64 - 2)
}

fn message_id(second: u64, number: u128) -> MessageId {
    MessageId::from_ulid((u128::from(second * 1_000) << 80) + number)
}

impl World {
    fn random(ids: &Ids) -> Self {
        let contact = |n: u128| Contact {
            external_id: words(ids).map(|word| format!("{word}-{n}")),
            email: Some(format!("a{n}@example.com")),
            phone: (ids.below(2) > 0).then(|| format!("+1555010{n:04}")),
            whatsapp: (ids.below(3) == 0).then(|| format!("+4915100{n:04}")),
            telegram_chat_id: (ids.below(2) > 0).then_some(n as i64),
            language: words(ids),
            numbers: vec![number(ids), number(ids)],
            texts: vec![
                words(ids),
                (ids.below(2) > 0).then(|| {
                    join_list(&[words(ids), words(ids), Some("x".into())].into_iter().flatten().collect::<Vec<_>>())
                }),
            ],
            updated_at: at(100 + ids.below(10) as i64),
            ..Contact::new(ACME, ContactId::from_ulid(n), at(100 + ids.below(10) as i64))
        };
        let contacts: Vec<Contact> = (1..=CONTACTS).map(contact).collect();
        let mut members = HashSet::new();
        let mut messages = Vec::new();
        let mut observed = HashSet::new();
        let mut inbound = Vec::new();
        let (mut said, mut left_alone, mut suppressed) = (HashMap::new(), HashSet::new(), HashMap::new());
        for c in &contacts {
            for topic in ["", "news"] {
                if ids.below(2) == 0 {
                    said.insert((c.id, channel(ids), topic), STATES[ids.below(3) as usize]);
                }
            }
            if ids.below(5) == 0 {
                left_alone.insert(c.id);
            }
            let over = channel(ids);
            if let Some(address) = address(c, over).filter(|_| ids.below(2) == 0) {
                suppressed.insert((over, address), [Blocks::Marketing, Blocks::Everything][ids.below(2) as usize]);
            }
            for list in 1..3 {
                if ids.below(3) == 0 {
                    members.insert((ListId::from_ulid(list), c.id));
                }
            }
            for _ in 0..ids.below(4) {
                let id = message_id(100 + ids.below(10), messages.len() as u128);
                let m = message(id, c.id, ids);
                for kind in ["opened", "clicked"] {
                    if ids.below(4) == 0 {
                        observed.insert((id, kind));
                    }
                }
                messages.push(m);
            }
            if ids.below(4) == 0 {
                inbound.push(Inbound {
                    tenant_id: ACME,
                    id: InboundId::from_ulid(message_id(100 + ids.below(10), 1 << 40).ulid() + inbound.len() as u128),
                    account_id: model::AccountId::from_ulid(1),
                    channel: Channel::Sms,
                    provider_message_id: c.id.to_string(),
                    address: "+15550100000".to_owned(),
                    body: "{}".to_owned(),
                    received_at: at(1),
                    contact_id: Some(c.id),
                });
            }
        }
        Self { contacts, members, messages, observed, inbound, said, left_alone, suppressed }
    }

    fn holds(&self, c: &Contact, condition: &Condition) -> bool {
        match condition {
            Condition::All(parts) => parts.iter().all(|part| self.holds(c, part)),
            Condition::Any(parts) => parts.iter().any(|part| self.holds(c, part)),
            Condition::Not(inner) => !self.holds(c, inner),
            Condition::Text(field, test) => {
                let text = match field {
                    TextField::ExternalId => c.external_id.as_ref(),
                    TextField::Email => c.email.as_ref(),
                    TextField::Phone => c.phone.as_ref(),
                    TextField::Whatsapp => c.whatsapp_number(),
                    TextField::Language => c.language.as_ref(),
                    TextField::Timezone => c.timezone.as_ref(),
                    TextField::FirstName => c.first_name.as_ref(),
                    TextField::LastName => c.last_name.as_ref(),
                    TextField::Attribute(slot) => c.texts.get(*slot).and_then(Option::as_ref),
                };
                text.is_some_and(|text| match test {
                    TextTest::Exists => true,
                    TextTest::Is(values) => values.contains(text),
                    TextTest::StartsWith(prefix) => text.starts_with(prefix),
                    TextTest::Contains(part) => text.contains(part),
                })
            }
            Condition::Number(field, least, most) => {
                let number = match field {
                    NumberField::CreatedAt => Some(c.created_at.as_micros()),
                    NumberField::UpdatedAt => Some(c.updated_at.as_micros()),
                    NumberField::TelegramChat => c.telegram_chat_id,
                    NumberField::Attribute(slot) => c.numbers.get(*slot).copied().flatten(),
                };
                number.is_some_and(|n| least.is_none_or(|least| n >= least) && most.is_none_or(|most| n <= most))
            }
            Condition::Holds(slot, items) => {
                let held = c.texts.get(*slot).and_then(Option::as_ref).map(|text| split_list(text)).unwrap_or_default();
                items.iter().any(|item| held.contains(item))
            }
            Condition::OnList(list) => self.members.contains(&(*list, c.id)),
            Condition::Message(test) => self.messages.iter().any(|m| m.contact_id == Some(c.id) && self.like(m, test)),
            Condition::Consent(test) => {
                let last = self.said.iter().find(|((contact, channel, topic), _)| {
                    *contact == c.id && *channel == test.channel && *topic == test.topic
                });
                last.map(|(_, state)| *state) == test.state
            }
            Condition::DoNotContact => self.left_alone.contains(&c.id),
            Condition::Suppressed(channel, with_marketing) => address(c, *channel)
                .and_then(|address| self.suppressed.get(&(*channel, address)))
                .is_some_and(|blocks| *with_marketing || *blocks == Blocks::Everything),
            Condition::Reachable(channel) => address(c, *channel).is_some(),
        }
    }

    fn like(&self, m: &Message, test: &MessageTest) -> bool {
        test.channel.is_none_or(|channel| m.channel == channel)
            && test.campaign.is_none_or(|campaign| m.campaign_id == Some(campaign))
            && test.since.is_none_or(|since| m.created_at >= since)
            && match test.was {
                Outcome::Accepted => true,
                Outcome::Sent => m.sent_at.is_some(),
                Outcome::Delivered => m.delivered_at.is_some(),
                Outcome::Opened => m.read_at.is_some() || self.observed.contains(&(m.id, "opened")),
                Outcome::Clicked => self.observed.contains(&(m.id, "clicked")),
                Outcome::Failed => matches!(m.status, model::Status::Failed | model::Status::Bounced),
                Outcome::Replied => {
                    self.inbound.iter().any(|i| i.contact_id == m.contact_id && i.id.ulid() > m.id.ulid())
                }
            }
    }
}

fn message(id: MessageId, contact: ContactId, ids: &Ids) -> Message {
    let created_at = Timestamp::from_millis((id.ulid() >> 80) as i64);
    let maybe = |ids: &Ids| (ids.below(2) > 0).then_some(created_at);
    let status = [model::Status::Sent, model::Status::Failed, model::Status::Bounced, model::Status::Queued];
    Message {
        tenant_id: ACME,
        id,
        channel: [Channel::Email, Channel::Sms][ids.below(2) as usize],
        purpose: model::Purpose::Marketing,
        class: model::Class::new(model::Purpose::Marketing, model::Priority::Normal),
        guarantee: model::Guarantee::AtLeastOnce,
        status: status[ids.below(4) as usize],
        address: "a@example.com".to_owned(),
        account_id: None,
        connector: None,
        content_id: ContentId(1),
        variables: None,
        metadata: None,
        topic: None,
        route: None,
        provider_message_id: None,
        attempts: 0,
        failure: None,
        segments: None,
        bytes: None,
        cost_micros: None,
        cost_currency: None,
        cost_before: 0,
        aside: None,
        charge: None,
        contact_id: (ids.below(5) > 0).then_some(contact),
        campaign_id: (ids.below(2) > 0).then(|| CampaignId::from_ulid(1 + u128::from(ids.below(2)))),
        created_at,
        send_at: None,
        expires_at: None,
        due_at: None,
        poll_at: None,
        polls: 0,
        sent_at: maybe(ids),
        delivered_at: maybe(ids),
        read_at: maybe(ids),
        ended_at: None,
        dead_at: None,
        sender_id: None,
        template: None,
        variant: None,
        clock: None,
        tracking: 0,
        engagement: store::messages::Engagement::default(),
    }
}

fn condition(ids: &Ids, depth: u32) -> Condition {
    let parts = |ids: &Ids| (0..1 + ids.below(3)).map(|_| condition(ids, depth - 1)).collect();
    let text = |ids: &Ids| words(ids).unwrap_or_else(|| "e".to_owned());
    match ids.below(if depth == 0 { 6 } else { 10 }) {
        0 => {
            let fields = [
                TextField::ExternalId,
                TextField::Phone,
                TextField::Whatsapp,
                TextField::Language,
                TextField::Timezone,
                TextField::Attribute(0),
            ];
            let tests = [
                TextTest::Exists,
                TextTest::Is(vec![text(ids), text(ids)]),
                TextTest::StartsWith(text(ids)),
                TextTest::Contains(text(ids)),
            ];
            Condition::Text(fields[ids.below(6) as usize], tests[ids.below(4) as usize].clone())
        }
        1 => {
            let fields = [NumberField::Attribute(0), NumberField::Attribute(1), NumberField::TelegramChat];
            Condition::Number(fields[ids.below(3) as usize], number(ids), number(ids))
        }
        2 => {
            let bound = |ids: &Ids| (ids.below(2) > 0).then(|| at(100 + ids.below(10) as i64).as_micros());
            let fields = [NumberField::CreatedAt, NumberField::UpdatedAt];
            Condition::Number(fields[ids.below(2) as usize], bound(ids), bound(ids))
        }
        3 => Condition::Holds(1, vec![text(ids), "x".to_owned()]),
        4 => {
            let was = [
                Outcome::Accepted,
                Outcome::Sent,
                Outcome::Delivered,
                Outcome::Opened,
                Outcome::Clicked,
                Outcome::Failed,
                Outcome::Replied,
            ];
            if ids.below(4) == 0 {
                return Condition::OnList(ListId::from_ulid(1 + u128::from(ids.below(3))));
            }
            Condition::Message(MessageTest {
                was: was[ids.below(7) as usize],
                channel: (ids.below(3) == 0).then_some(Channel::Sms),
                campaign: (ids.below(3) == 0).then(|| CampaignId::from_ulid(1)),
                since: (ids.below(3) == 0).then(|| at(100 + ids.below(10) as i64)),
            })
        }
        5 => match ids.below(5) {
            0 => Condition::DoNotContact,
            1 => Condition::Suppressed(channel(ids), ids.below(2) == 0),
            2 => Condition::Reachable(channel(ids)),
            _ => Condition::Consent(ConsentTest {
                channel: channel(ids),
                topic: ["", "news"][ids.below(2) as usize].to_owned(),
                state: (ids.below(4) > 0).then(|| STATES[ids.below(3) as usize]),
            }),
        },
        6 | 7 => Condition::Not(Box::new(condition(ids, depth - 1))),
        8 => Condition::All(parts(ids)),
        _ => Condition::Any(parts(ids)),
    }
}

async fn found(db: &store::Db, condition: &Condition) -> Vec<u128> {
    let audience = Audience::Segment(Arc::new(condition.clone()));
    let (rows, count) = write!(db, |tx| {
        (
            contacts::page(tx, ACME, &audience, ContactId::from_ulid(0), 1_000).await?,
            contacts::count(tx, ACME, &audience).await?,
        )
    });
    assert_eq!(rows.len() as i64, count);
    rows.into_iter().map(|c| c.id.ulid()).collect()
}

testkit::both! {
    async fn a_query_finds_whom_the_conditions_describe(db: TestDb) {
        let ids = Ids::seeded(20_261_128);
        let world = World::random(&ids);
        let w = world.clone();
        write!(db, |tx| {
            contacts::insert_many(tx, &w.contacts).await?;
            let theirs: Vec<Contact> = w.contacts.iter().map(|c| Contact { tenant_id: OTHER, ..c.clone() }).collect();
            contacts::insert_many(tx, &theirs).await?;
            for (list, contact) in &w.members {
                lists::add(tx, ACME, *list, &[*contact], at(1)).await?;
            }
            messages::insert_many(tx, &w.messages).await?;
            messages::update_many(tx, &w.messages, &messages::Charges::new()).await?;
            inbound::insert_many(tx, &w.inbound).await?;
            let seen: Vec<Observation> = w.observed.iter().map(|(message, kind)| Observation {
                tenant_id: ACME,
                message_id: *message,
                dedupe: (*kind).to_owned(),
                source: "callback".to_owned(),
                kind: (*kind).to_owned(),
                detail: None,
                at: at(1),
                recorded_at: at(1),
            }).collect();
            attempts::insert_observations(tx, &seen).await?;
            let records: Vec<ConsentRecord> = w.said.iter().enumerate().map(|(n, ((contact, channel, topic), state))| ConsentRecord {
                tenant_id: ACME,
                contact_id: *contact,
                id: ConsentId::from_ulid(n as u128),
                channel: *channel,
                topic: (*topic).to_owned(),
                state: *state,
                method: ConsentMethod::Api,
                source: "test".to_owned(),
                text_shown: None,
                ip: None,
                user_agent: None,
                evidence: None,
                at: at(1),
                recorded_at: at(1),
            }).collect();
            consents::append(tx, &records).await?;
            for contact in &w.left_alone {
                consents::prefer(tx, &Preferences {
                    tenant_id: ACME,
                    contact_id: *contact,
                    do_not_contact: true,
                    quiet_from: None,
                    quiet_until: None,
                    channels: "{}".to_owned(),
                    reminders: None,
                    reminder_days: None,
                    updated_at: at(1),
                }).await?;
            }
            let listed: Vec<Suppression> = w.suppressed.iter().enumerate().map(|(n, ((channel, address), blocks))| Suppression {
                tenant_id: ACME,
                channel: *channel,
                address: address.clone(),
                reason: SuppressionReason::Manual,
                id: SuppressionId::from_ulid(n as u128),
                blocks: *blocks,
                source: "test".to_owned(),
                detail: None,
                message_id: None,
                created_at: at(1),
            }).collect();
            suppressions::insert_many(tx, &listed).await?;
        });
        let mut sizes = HashSet::new();
        for try_number in 0..TRIES {
            let condition = condition(&ids, 3);
            let expected: Vec<u128> =
                world.contacts.iter().filter(|c| world.holds(c, &condition)).map(|c| c.id.ulid()).collect();
            sizes.insert(expected.len());
            assert_eq!(found(&db, &condition).await, expected, "try {try_number}: {condition:?}");
        }
        assert!(sizes.len() > 20, "the conditions tell contacts apart: {sizes:?}");
        assert_eq!(found(&db, &Condition::All(vec![])).await.len(), CONTACTS as usize);
        assert_eq!(found(&db, &Condition::Any(vec![])).await.len(), 0);
    }

    async fn a_segment_is_written_changed_listed_and_removed(db: TestDb) {
        let segment = |tenant, ulid| Segment {
            tenant_id: tenant,
            id: SegmentId::from_ulid(ulid),
            name: "German".to_owned(),
            description: String::new(),
            conditions: "{}".to_owned(),
            created_at: at(1),
            updated_at: at(1),
        };
        let changed = Segment { name: "Austrian".to_owned(), conditions: "{\"a\":1}".to_owned(), updated_at: at(2), ..segment(ACME, 2) };
        let expected = changed.clone();
        let (found, others, listed, count, removed) = write!(db, |tx| {
            for new in [segment(ACME, 1), segment(ACME, 2), segment(OTHER, 3)] {
                segments::insert(tx, &new).await?;
            }
            segments::update(tx, &changed).await?;
            (
                segments::find(tx, ACME, SegmentId::from_ulid(2)).await?,
                segments::find(tx, ACME, SegmentId::from_ulid(3)).await?,
                segments::list(tx, ACME, SegmentId::from_ulid(9), 1).await?,
                segments::count(tx, ACME).await?,
                (segments::delete(tx, OTHER, SegmentId::from_ulid(1)).await?, segments::delete(tx, ACME, SegmentId::from_ulid(1)).await?),
            )
        });
        assert_eq!((found, others, listed, count, removed), (Some(expected.clone()), None, vec![expected], 2, (false, true)));
    }
}
