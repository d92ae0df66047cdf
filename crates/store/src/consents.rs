//! Consent: what contacts said, appended, and the last word of each; what they prefer; and topics of a tenant's own.

use model::{Channel, ConsentId, ConsentMethod, ConsentState, ContactId, TenantId, Timestamp};

use crate::{Error, Given, Kind, Row, Tx};

/// One thing a contact said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsentRecord {
    /// Whose contact.
    pub tenant_id: TenantId,
    /// Who said it.
    pub contact_id: ContactId,
    /// Sortable id.
    pub id: ConsentId,
    /// About which channel.
    pub channel: Channel,
    /// About which topic; empty for the whole channel.
    pub topic: String,
    /// What.
    pub state: ConsentState,
    /// How.
    pub method: ConsentMethod,
    /// Who noted it: an actor, `recipient`, `provider`.
    pub source: String,
    /// The words they were shown.
    pub text_shown: Option<String>,
    /// From which address.
    pub ip: Option<String>,
    /// With which program.
    pub user_agent: Option<String>,
    /// Where the proof lies.
    pub evidence: Option<String>,
    /// When they said it.
    pub at: Timestamp,
    /// When we learned it.
    pub recorded_at: Timestamp,
}

const COLUMNS: &str = "tenant_id, contact_id, id, channel, topic, state, method, source, text_shown, ip, user_agent, evidence, at, recorded_at";

fn read(mut row: Row) -> Result<ConsentRecord, Error> {
    Ok(ConsentRecord {
        tenant_id: row.get(0)?,
        contact_id: row.get(1)?,
        id: row.get(2)?,
        channel: row.get(3)?,
        topic: row.get(4)?,
        state: row.get(5)?,
        method: row.get(6)?,
        source: row.get(7)?,
        text_shown: row.get(8)?,
        ip: row.get(9)?,
        user_agent: row.get(10)?,
        evidence: row.get(11)?,
        at: row.get(12)?,
        recorded_at: row.get(13)?,
    })
}

/// Appends what contacts of any tenants said, and makes it the last word unless a later one is known.
pub async fn append(tx: &mut Tx, records: &[ConsentRecord]) -> Result<(), Error> {
    let mut given = Given::new(&[
        ("tenant_id", Kind::Id),
        ("contact_id", Kind::Id),
        ("id", Kind::Id),
        ("channel", Kind::Int),
        ("topic", Kind::Text),
        ("state", Kind::Int),
        ("method", Kind::Int),
        ("source", Kind::Text),
        ("text_shown", Kind::Text),
        ("ip", Kind::Text),
        ("user_agent", Kind::Text),
        ("evidence", Kind::Text),
        ("at", Kind::Time),
        ("recorded_at", Kind::Time),
    ]);
    for r in records {
        given.row([
            &r.tenant_id,
            &r.contact_id,
            &r.id,
            &r.channel,
            &r.topic,
            &r.state,
            &r.method,
            &r.source,
            &r.text_shown,
            &r.ip,
            &r.user_agent,
            &r.evidence,
            &r.at,
            &r.recorded_at,
        ]);
    }
    tx.insert_many("consent_records", &given, "").await?;
    // One after the other: a batch may hold two words about the same thing, and PostgreSQL changes a row once per statement.
    for r in records {
        tx.execute(
            "INSERT INTO consent_states (tenant_id, contact_id, channel, topic, state, changed_at) VALUES ($1, $2, $3, $4, $5, $6)
             ON CONFLICT (tenant_id, contact_id, channel, topic) DO UPDATE SET state = excluded.state, changed_at = excluded.changed_at
             WHERE consent_states.changed_at <= excluded.changed_at",
            &[&r.tenant_id, &r.contact_id, &r.channel, &r.topic, &r.state, &r.at],
        )
        .await?;
    }
    Ok(())
}

/// What a contact said, newest first, before `before`.
pub async fn list(
    tx: &mut Tx,
    tenant: TenantId,
    contact: ContactId,
    before: ConsentId,
    limit: i64,
) -> Result<Vec<ConsentRecord>, Error> {
    let sql = format!(
        "SELECT {COLUMNS} FROM consent_records WHERE tenant_id = $1 AND contact_id = $2 AND id < $3 ORDER BY id DESC LIMIT $4"
    );
    tx.rows(&sql, &[&tenant, &contact, &before, &limit]).await?.into_iter().map(read).collect()
}

/// One thing a contact said.
pub async fn find(
    tx: &mut Tx,
    tenant: TenantId,
    contact: ContactId,
    id: ConsentId,
) -> Result<Option<ConsentRecord>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM consent_records WHERE tenant_id = $1 AND contact_id = $2 AND id = $3");
    tx.row(&sql, &[&tenant, &contact, &id]).await?.map(read).transpose()
}

/// The last word of a contact about a channel or a topic on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Whose contact.
    pub tenant_id: TenantId,
    /// Who.
    pub contact_id: ContactId,
    /// About which channel.
    pub channel: Channel,
    /// About which topic; empty for the whole channel.
    pub topic: String,
    /// What.
    pub state: ConsentState,
    /// Since when.
    pub changed_at: Timestamp,
}

/// The last words of contacts of any tenants, in no particular order.
pub async fn standing(tx: &mut Tx, contacts: &[(TenantId, ContactId)]) -> Result<Vec<Standing>, Error> {
    let mut given = Given::new(&[("tenant_id", Kind::Id), ("contact_id", Kind::Id)]);
    for (tenant, contact) in contacts {
        given.row([tenant, contact]);
    }
    let sql = "SELECT tenant_id, contact_id, channel, topic, state, changed_at FROM consent_states";
    let read = |mut row: Row| {
        let row = &mut row;
        Ok(Standing {
            tenant_id: row.get(0)?,
            contact_id: row.get(1)?,
            channel: row.get(2)?,
            topic: row.get(3)?,
            state: row.get(4)?,
            changed_at: row.get(5)?,
        })
    };
    tx.match_many(sql, &given, "").await?.into_iter().map(read).collect()
}

/// What a contact prefers. A contact without a row prefers nothing in particular.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preferences {
    /// Whose contact.
    pub tenant_id: TenantId,
    /// Who.
    pub contact_id: ContactId,
    /// True when nothing at all is to be sent.
    pub do_not_contact: bool,
    /// Quiet hours begin at this minute of the day.
    pub quiet_from: Option<u32>,
    /// Quiet hours end at this minute of the day.
    pub quiet_until: Option<u32>,
    /// Topic to channel, as JSON.
    pub channels: String,
    /// `daily`, `weekly`, `monthly` or `custom`.
    pub reminders: Option<String>,
    /// Days between reminders, for `custom`.
    pub reminder_days: Option<u32>,
    /// When they last changed.
    pub updated_at: Timestamp,
}

const PREFERENCES: &str =
    "tenant_id, contact_id, do_not_contact, quiet_from, quiet_until, channels, reminders, reminder_days, updated_at";

/// What contacts of any tenants prefer, in no particular order.
pub async fn preferences(tx: &mut Tx, contacts: &[(TenantId, ContactId)]) -> Result<Vec<Preferences>, Error> {
    let mut given = Given::new(&[("tenant_id", Kind::Id), ("contact_id", Kind::Id)]);
    for (tenant, contact) in contacts {
        given.row([tenant, contact]);
    }
    let read = |mut row: Row| {
        let row = &mut row;
        Ok(Preferences {
            tenant_id: row.get(0)?,
            contact_id: row.get(1)?,
            do_not_contact: row.get(2)?,
            quiet_from: row.get(3)?,
            quiet_until: row.get(4)?,
            channels: row.get(5)?,
            reminders: row.get(6)?,
            reminder_days: row.get(7)?,
            updated_at: row.get(8)?,
        })
    };
    tx.match_many(&format!("SELECT {PREFERENCES} FROM contact_preferences"), &given, "")
        .await?
        .into_iter()
        .map(read)
        .collect()
}

/// Writes what a contact prefers.
pub async fn prefer(tx: &mut Tx, p: &Preferences) -> Result<(), Error> {
    let sql = format!(
        "INSERT INTO contact_preferences ({PREFERENCES}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
         ON CONFLICT (tenant_id, contact_id) DO UPDATE SET do_not_contact = excluded.do_not_contact, quiet_from = excluded.quiet_from,
             quiet_until = excluded.quiet_until, channels = excluded.channels, reminders = excluded.reminders, reminder_days = excluded.reminder_days,
             updated_at = excluded.updated_at"
    );
    tx.execute(
        &sql,
        &[
            &p.tenant_id,
            &p.contact_id,
            &p.do_not_contact,
            &p.quiet_from,
            &p.quiet_until,
            &p.channels,
            &p.reminders,
            &p.reminder_days,
            &p.updated_at,
        ],
    )
    .await
    .map(drop)
}

/// A topic of a tenant's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// Whose.
    pub tenant_id: TenantId,
    /// Its word in requests.
    pub name: String,
    /// What people read.
    pub title: String,
    /// More of it.
    pub description: String,
    /// When it was made.
    pub created_at: Timestamp,
}

/// The tenant's own topics, by name.
pub async fn topics(tx: &mut Tx, tenant: TenantId) -> Result<Vec<Topic>, Error> {
    let sql = "SELECT tenant_id, name, title, description, created_at FROM topics WHERE tenant_id = $1 ORDER BY name";
    let read = |mut row: Row| {
        let row = &mut row;
        Ok(Topic {
            tenant_id: row.get(0)?,
            name: row.get(1)?,
            title: row.get(2)?,
            description: row.get(3)?,
            created_at: row.get(4)?,
        })
    };
    tx.rows(sql, &[&tenant]).await?.into_iter().map(read).collect()
}

/// Adds a topic, or changes the words of one. Its name stays, and so does the moment it was made.
pub async fn put_topic(tx: &mut Tx, topic: &Topic) -> Result<(), Error> {
    tx.execute(
        "INSERT INTO topics (tenant_id, name, title, description, created_at) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (tenant_id, name) DO UPDATE SET title = excluded.title, description = excluded.description",
        &[&topic.tenant_id, &topic.name, &topic.title, &topic.description, &topic.created_at],
    )
    .await
    .map(drop)
}

/// Removes a topic. What contacts said about it stays on record.
pub async fn remove_topic(tx: &mut Tx, tenant: TenantId, name: &str) -> Result<bool, Error> {
    Ok(tx.execute("DELETE FROM topics WHERE tenant_id = $1 AND name = $2", &[&tenant, &name]).await? > 0)
}

/// One message a contact got, or is about to get, for counting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// Which message.
    pub message_id: model::MessageId,
    /// Whose.
    pub contact_id: ContactId,
    /// Over which channel.
    pub channel: Channel,
    /// About what.
    pub topic: Option<String>,
    /// When it was sent, or is due, or was accepted; of a reminder, when it was planned for.
    pub at: Timestamp,
    /// True once the provider took it.
    pub is_sent: bool,
}

/// Marketing messages of contacts that were accepted since `since` (by id) and were not withdrawn, held back or refused.
pub async fn marketing_since(
    tx: &mut Tx,
    tenant: TenantId,
    contacts: &[ContactId],
    since: model::MessageId,
) -> Result<Vec<Sent>, Error> {
    let mut given = Given::new(&[("tenant_id", Kind::Id), ("contact_id", Kind::Id), ("since", Kind::Id)]);
    for contact in contacts {
        given.row([&tenant, contact, &since]);
    }
    let sql =
        "SELECT m.id, m.contact_id, COALESCE(m.sent_at, m.due_at, m.send_at, m.created_at), m.sent_at, m.channel, m.topic FROM {given}
        JOIN messages AS m ON m.tenant_id = given.tenant_id AND m.contact_id = given.contact_id AND m.id >= given.since
        WHERE m.purpose = 1 AND m.status NOT IN (3, 4, 5, 8)";
    tx.rows_many(sql, &given).await?.into_iter().map(sent).collect()
}

/// Messages of contacts about topics, for whatever purpose, that were accepted since `since` (by id) and were not withdrawn, held back, refused or sent back. Each counts
/// at the time it was planned for, so that one that left late does not push away the next.
pub async fn about_topics_since(
    tx: &mut Tx,
    tenant: TenantId,
    asked: &[(ContactId, String)],
    since: model::MessageId,
) -> Result<Vec<Sent>, Error> {
    let mut given =
        Given::new(&[("tenant_id", Kind::Id), ("contact_id", Kind::Id), ("topic", Kind::Text), ("since", Kind::Id)]);
    for (contact, topic) in asked {
        given.row([&tenant, contact, topic, &since]);
    }
    let sql =
        "SELECT m.id, m.contact_id, COALESCE(m.send_at, m.created_at), m.sent_at, m.channel, m.topic FROM {given}
        JOIN messages AS m ON m.tenant_id = given.tenant_id AND m.contact_id = given.contact_id AND m.id >= given.since AND m.topic = given.topic
        WHERE m.status NOT IN (3, 4, 5, 8, 10)";
    tx.rows_many(sql, &given).await?.into_iter().map(sent).collect()
}

fn sent(mut row: Row) -> Result<Sent, Error> {
    let is_sent = row.get::<Option<Timestamp>>(3)?.is_some();
    Ok(Sent {
        message_id: row.get(0)?,
        contact_id: row.get(1)?,
        at: row.get(2)?,
        is_sent,
        channel: row.get(4)?,
        topic: row.get(5)?,
    })
}

/// Contacts' own time zones, of any tenants; without those who have none.
pub async fn zones(tx: &mut Tx, contacts: &[(TenantId, ContactId)]) -> Result<Vec<(ContactId, String)>, Error> {
    let mut given = Given::new(&[("tenant_id", Kind::Id), ("id", Kind::Id)]);
    for (tenant, contact) in contacts {
        given.row([tenant, contact]);
    }
    let rows = tx.match_many("SELECT id, timezone FROM contacts", &given, "AND timezone IS NOT NULL").await?;
    rows.into_iter().map(|mut row| Ok((row.get(0)?, row.get(1)?))).collect()
}

/// A contact as far as consent needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// Who.
    pub id: ContactId,
    /// E-mail address.
    pub email: Option<String>,
    /// Phone number.
    pub phone: Option<String>,
    /// WhatsApp number, when it is another than the phone's.
    pub whatsapp: Option<String>,
    /// Telegram chat.
    pub telegram_chat_id: Option<i64>,
    /// Language tag.
    pub language: Option<String>,
    /// IANA time zone.
    pub timezone: Option<String>,
}

impl Person {
    /// How they are reached over a channel.
    pub fn address(&self, channel: Channel) -> Option<String> {
        match channel {
            Channel::Email => self.email.clone(),
            Channel::Sms | Channel::Voice => self.phone.clone(),
            Channel::Whatsapp => self.whatsapp.clone().or_else(|| self.phone.clone()),
            Channel::Telegram => self.telegram_chat_id.map(|chat| chat.to_string()),
            Channel::Webhook => None,
        }
    }
}

const PERSON: &str = "id, email, phone, whatsapp, telegram_chat_id, language, timezone";

fn person(mut row: Row) -> Result<Person, Error> {
    Ok(Person {
        id: row.get(0)?,
        email: row.get(1)?,
        phone: row.get(2)?,
        whatsapp: row.get(3)?,
        telegram_chat_id: row.get(4)?,
        language: row.get(5)?,
        timezone: row.get(6)?,
    })
}

/// One of the tenant's contacts.
pub async fn find_person(tx: &mut Tx, tenant: TenantId, contact: ContactId) -> Result<Option<Person>, Error> {
    let sql = format!("SELECT {PERSON} FROM contacts WHERE tenant_id = $1 AND id = $2");
    tx.row(&sql, &[&tenant, &contact]).await?.map(person).transpose()
}

/// The tenant's contacts who are reached at an address over a channel: usually one.
pub async fn people_at(tx: &mut Tx, tenant: TenantId, channel: Channel, address: &str) -> Result<Vec<Person>, Error> {
    let number: i64 = address.parse().unwrap_or_default();
    let by = match channel {
        Channel::Email => "email = $2",
        Channel::Sms | Channel::Voice => "phone = $2",
        Channel::Whatsapp => "(whatsapp = $2 OR (whatsapp IS NULL AND phone = $2))",
        Channel::Telegram => "telegram_chat_id = $2",
        Channel::Webhook => return Ok(Vec::new()),
    };
    let sql = format!("SELECT {PERSON} FROM contacts WHERE tenant_id = $1 AND {by} ORDER BY id LIMIT 10");
    let rows = match channel {
        Channel::Telegram => tx.rows(&sql, &[&tenant, &number]).await?,
        _ => tx.rows(&sql, &[&tenant, &address]).await?,
    };
    rows.into_iter().map(person).collect()
}
