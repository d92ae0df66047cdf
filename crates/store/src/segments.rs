//! Segments: contacts described by conditions, and the one query each becomes.
//!
//! A [`Condition`] knows columns, not names, and instants, not "thirty days ago": the engine has looked both up. Every condition is true or false, never unknown: what a contact
//! does not have fails every test, and `Not` turns that into success. Cheap conditions stand first in the query, so that the dear ones are asked about few contacts.

use model::{Blocks, CampaignId, Channel, ConsentState, ListId, MessageId, SegmentId, TenantId, Timestamp};

use crate::{
    Dialect, Error, Row, Tx,
    contact_attributes::{AttributeKind, column},
    contacts::SEPARATOR,
    sql::Sql,
};

/// A row of `segments`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Whose.
    pub tenant_id: TenantId,
    /// Which.
    pub id: SegmentId,
    /// Name for people.
    pub name: String,
    /// What it is for, for people.
    pub description: String,
    /// The conditions as the tenant gave them, in JSON.
    pub conditions: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

const COLUMNS: &str = "tenant_id, id, name, description, conditions, created_at, updated_at";

fn read(mut row: Row) -> Result<Segment, Error> {
    let row = &mut row;
    Ok(Segment {
        tenant_id: row.get(0)?,
        id: row.get(1)?,
        name: row.get(2)?,
        description: row.get(3)?,
        conditions: row.get(4)?,
        created_at: row.get(5)?,
        updated_at: row.get(6)?,
    })
}

/// Adds a segment.
pub async fn insert(tx: &mut Tx, segment: &Segment) -> Result<(), Error> {
    let s = segment;
    let sql = format!("INSERT INTO segments ({COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7)");
    let params: [&dyn crate::Param; 7] =
        [&s.tenant_id, &s.id, &s.name, &s.description, &s.conditions, &s.created_at, &s.updated_at];
    tx.execute(&sql, &params).await.map(drop)
}

/// Writes everything that can change of a segment.
pub async fn update(tx: &mut Tx, segment: &Segment) -> Result<(), Error> {
    let s = segment;
    let sql = "UPDATE segments SET name = $1, description = $2, conditions = $3, updated_at = $4 WHERE tenant_id = $5 AND id = $6";
    let params: [&dyn crate::Param; 6] = [&s.name, &s.description, &s.conditions, &s.updated_at, &s.tenant_id, &s.id];
    tx.execute(sql, &params).await.map(drop)
}

/// One of the tenant's segments.
pub async fn find(tx: &mut Tx, tenant: TenantId, id: SegmentId) -> Result<Option<Segment>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM segments WHERE tenant_id = $1 AND id = $2");
    tx.row(&sql, &[&tenant, &id]).await?.map(read).transpose()
}

/// The tenant's segments, newest first, made before `before`.
pub async fn list(tx: &mut Tx, tenant: TenantId, before: SegmentId, limit: i64) -> Result<Vec<Segment>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM segments WHERE tenant_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3");
    tx.rows(&sql, &[&tenant, &before, &limit]).await?.into_iter().map(read).collect()
}

/// How many segments the tenant has.
pub async fn count(tx: &mut Tx, tenant: TenantId) -> Result<i64, Error> {
    let row = tx.row("SELECT COUNT(*) FROM segments WHERE tenant_id = $1", &[&tenant]).await?;
    row.map_or(Ok(0), |mut row| row.get(0))
}

/// Removes a segment. `false` when there was none.
pub async fn delete(tx: &mut Tx, tenant: TenantId, id: SegmentId) -> Result<bool, Error> {
    Ok(tx.execute("DELETE FROM segments WHERE tenant_id = $1 AND id = $2", &[&tenant, &id]).await? == 1)
}

/// What must hold of a contact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// Each of these; none holds always.
    All(Vec<Condition>),
    /// One of these at least; none never holds.
    Any(Vec<Condition>),
    /// Not this.
    Not(Box<Condition>),
    /// Of a text.
    Text(TextField, TextTest),
    /// Of a number, date or flag: within these bounds, both included.
    Number(NumberField, Option<i64>, Option<i64>),
    /// Of an attribute that is a list of texts, by slot: it holds one of these.
    Holds(usize, Vec<String>),
    /// Of the places in lists.
    OnList(ListId),
    /// Of the messages to the contact: there is one such.
    Message(MessageTest),
    /// Of what the contact last said about a channel, or a topic on it.
    Consent(ConsentTest),
    /// It is not to be contacted at all.
    DoNotContact,
    /// Its address over this channel is on the suppression list, as it stands there: those of erased contacts stand there as hashes and are not found. True: also what holds back
    /// marketing only.
    Suppressed(Channel, bool),
    /// It has an address over this channel.
    Reachable(Channel),
}

/// What a contact must have said last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsentTest {
    /// About this channel.
    pub channel: Channel,
    /// About this topic; empty for the whole channel.
    pub topic: String,
    /// That it is so. `None`: nothing at all was said.
    pub state: Option<ConsentState>,
}

/// A text of a contact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "they are the columns")]
pub enum TextField {
    ExternalId,
    Email,
    Phone,
    /// The number of its own, or the phone number.
    Whatsapp,
    Language,
    Timezone,
    FirstName,
    LastName,
    /// An attribute, by slot; also a list, to ask whether there is one.
    Attribute(usize),
}

/// A test of a text. Letters in capitals are other letters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TextTest {
    /// There is one.
    Exists,
    /// It is one of these.
    Is(Vec<String>),
    /// It begins so.
    StartsWith(String),
    /// It holds this somewhere.
    Contains(String),
}

/// A number of a contact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NumberField {
    /// When it was made, in microseconds.
    CreatedAt,
    /// When it last changed, in microseconds.
    UpdatedAt,
    /// The Telegram chat.
    TelegramChat,
    /// An attribute, by slot.
    Attribute(usize),
}

/// Which message there must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageTest {
    /// What became of it.
    pub was: Outcome,
    /// Over this channel.
    pub channel: Option<Channel>,
    /// Of this campaign.
    pub campaign: Option<CampaignId>,
    /// Accepted then or later.
    pub since: Option<Timestamp>,
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was accepted.
    Accepted,
    /// The provider took it.
    Sent,
    /// It arrived.
    Delivered,
    /// It was opened or read.
    Opened,
    /// A link in it was followed.
    Clicked,
    /// It failed or came back.
    Failed,
    /// The contact wrote after it.
    Replied,
}

impl Condition {
    /// How dear a test is, roughly in columns looked at.
    fn cost(&self) -> u32 {
        match self {
            Self::All(parts) | Self::Any(parts) => parts.iter().map(Self::cost).sum(),
            Self::Not(inner) => inner.cost(),
            Self::Number(..) => 1,
            Self::Text(..) => 2,
            Self::Holds(..) => 4,
            Self::Reachable(_) => 2,
            Self::OnList(_) | Self::Consent(_) | Self::DoNotContact => 20,
            Self::Suppressed(..) => 30,
            Self::Message(_) => 100,
        }
    }

    /// Writes the condition about `contacts AS c`. `is_negated`: inside of a `Not`, where what is unknown must be false by itself.
    pub(crate) fn write(&self, sql: &mut Sql, dialect: Dialect, tenant: TenantId, is_negated: bool) {
        let guard = |sql: &mut Sql, write: &mut dyn FnMut(&mut Sql)| {
            sql.push(if is_negated { "COALESCE(" } else { "(" });
            write(sql);
            sql.push(if is_negated { ", FALSE)" } else { ")" });
        };
        match self {
            Self::All(parts) => join(sql, parts, " AND ", "TRUE", dialect, tenant, is_negated),
            Self::Any(parts) => join(sql, parts, " OR ", "FALSE", dialect, tenant, is_negated),
            Self::Not(inner) => {
                sql.push("NOT (");
                inner.write(sql, dialect, tenant, true);
                sql.push(")");
            }
            Self::Text(field, test) => guard(sql, &mut |sql| test.write(sql, dialect, &field.column())),
            Self::Number(field, least, most) => guard(sql, &mut |sql| field.within(sql, *least, *most)),
            Self::Holds(slot, items) => {
                let column = format!("c.{}", column(AttributeKind::List, *slot));
                guard(sql, &mut |sql| {
                    sql.push("FALSE");
                    for item in items {
                        sql.push(" OR ").contains(dialect, &column, &format!("{SEPARATOR}{item}{SEPARATOR}"));
                    }
                });
            }
            Self::OnList(list) => {
                sql.push("EXISTS (SELECT 1 FROM list_members AS m WHERE m.tenant_id = ").bind(tenant);
                sql.push(" AND m.list_id = ").bind(*list).push(" AND m.contact_id = c.id)");
            }
            Self::Message(test) => test.write(sql, tenant),
            Self::Consent(test) => {
                sql.push(if test.state.is_some() { "EXISTS (" } else { "NOT EXISTS (" });
                sql.push("SELECT 1 FROM consent_states AS s WHERE s.tenant_id = ").bind(tenant);
                sql.push(" AND s.contact_id = c.id AND s.channel = ").bind(test.channel.code());
                sql.push(" AND s.topic = ").bind(test.topic.as_str());
                if let Some(state) = test.state {
                    sql.push(" AND s.state = ").bind(state.code());
                }
                sql.push(")");
            }
            Self::DoNotContact => {
                sql.push("EXISTS (SELECT 1 FROM contact_preferences AS p WHERE p.tenant_id = ").bind(tenant);
                sql.push(" AND p.contact_id = c.id AND p.do_not_contact)");
            }
            Self::Suppressed(channel, with_marketing) => match address(*channel) {
                Some(address) => {
                    sql.push("EXISTS (SELECT 1 FROM suppressions AS s WHERE s.tenant_id = ").bind(tenant);
                    sql.push(" AND s.channel = ").bind(channel.code()).push(&format!(" AND s.address = {address}"));
                    if !with_marketing {
                        sql.push(" AND s.blocks = ").bind(Blocks::Everything.code());
                    }
                    sql.push(")");
                }
                None => {
                    sql.push("FALSE");
                }
            },
            Self::Reachable(channel) => match address(*channel) {
                Some(address) => {
                    sql.push(&format!("{address} IS NOT NULL"));
                }
                None => {
                    sql.push("FALSE");
                }
            },
        }
    }
}

/// The address over a channel in the form suppressions compare.
const fn address(channel: Channel) -> Option<&'static str> {
    match channel {
        Channel::Email => Some("c.email"),
        Channel::Sms | Channel::Voice => Some("c.phone"),
        Channel::Whatsapp => Some("COALESCE(c.whatsapp, c.phone)"),
        Channel::Telegram => Some("CAST(c.telegram_chat_id AS TEXT)"),
        Channel::Webhook => None,
    }
}

fn join(
    sql: &mut Sql,
    parts: &[Condition],
    word: &str,
    empty: &str,
    dialect: Dialect,
    tenant: TenantId,
    is_negated: bool,
) {
    let mut parts: Vec<&Condition> = parts.iter().collect();
    parts.sort_by_key(|part| part.cost());
    sql.push("(");
    if parts.is_empty() {
        sql.push(empty);
    }
    for (index, part) in parts.into_iter().enumerate() {
        if index > 0 {
            sql.push(word);
        }
        part.write(sql, dialect, tenant, is_negated);
    }
    sql.push(")");
}

impl TextField {
    fn column(self) -> String {
        match self {
            Self::ExternalId => "c.external_id".to_owned(),
            Self::Email => "c.email".to_owned(),
            Self::Phone => "c.phone".to_owned(),
            Self::Whatsapp => "COALESCE(c.whatsapp, c.phone)".to_owned(),
            Self::Language => "c.language".to_owned(),
            Self::Timezone => "c.timezone".to_owned(),
            Self::FirstName => "c.first_name".to_owned(),
            Self::LastName => "c.last_name".to_owned(),
            Self::Attribute(slot) => format!("c.{}", column(AttributeKind::Text, slot)),
        }
    }
}

impl TextTest {
    fn write(&self, sql: &mut Sql, dialect: Dialect, column: &str) {
        match self {
            Self::Exists => {
                sql.push(&format!("{column} IS NOT NULL"));
            }
            Self::Is(values) => {
                sql.push("FALSE");
                for value in values {
                    sql.push(&format!(" OR {column} = ")).bind(value.as_str());
                }
            }
            Self::StartsWith(prefix) => {
                sql.push(&format!("substr({column}, 1, {}) = ", prefix.chars().count())).bind(prefix.as_str());
            }
            Self::Contains(part) => {
                sql.contains(dialect, column, part);
            }
        }
    }
}

impl NumberField {
    fn within(self, sql: &mut Sql, least: Option<i64>, most: Option<i64>) {
        let column = match self {
            Self::CreatedAt => "c.created_at".to_owned(),
            Self::UpdatedAt => "c.updated_at".to_owned(),
            Self::TelegramChat => "c.telegram_chat_id".to_owned(),
            Self::Attribute(slot) => format!("c.{}", column(AttributeKind::Number, slot)),
        };
        let is_time = matches!(self, Self::CreatedAt | Self::UpdatedAt);
        sql.push(&format!("{column} IS NOT NULL"));
        for (sign, bound) in [(">=", least), ("<=", most)] {
            let Some(bound) = bound else { continue };
            sql.push(&format!(" AND {column} {sign} "));
            if is_time {
                sql.bind(Timestamp::from_micros(bound))
            } else {
                sql.bind(bound)
            };
        }
    }
}

impl MessageTest {
    /// As a set of contacts that is made once: messages in question are fewer than contacts, or the index of a campaign leads to them.
    fn write(&self, sql: &mut Sql, tenant: TenantId) {
        sql.push("c.id IN (SELECT m.contact_id FROM messages AS m");
        if self.was == Outcome::Replied {
            // Ids are made in the order of time.
            sql.push(" JOIN inbound_messages AS i ON i.tenant_id = m.tenant_id AND i.contact_id = m.contact_id AND i.id > m.id");
        }
        sql.push(" WHERE m.tenant_id = ").bind(tenant).push(" AND m.contact_id IS NOT NULL");
        if let Some(campaign) = self.campaign {
            sql.push(" AND m.campaign_id = ").bind(campaign);
        }
        if let Some(channel) = self.channel {
            sql.push(" AND m.channel = ").bind(channel.code());
        }
        if let Some(since) = self.since {
            let lowest = u128::from(since.as_millis().max(0).unsigned_abs()) << 80;
            sql.push(" AND m.id >= ").bind(MessageId::from_ulid(lowest));
        }
        let observed = |kind: &str| {
            format!(
                "EXISTS (SELECT 1 FROM observations AS o WHERE o.tenant_id = m.tenant_id AND o.message_id = m.id AND o.kind = '{kind}')"
            )
        };
        let became = match self.was {
            Outcome::Accepted | Outcome::Replied => String::new(),
            Outcome::Sent => " AND m.sent_at IS NOT NULL".to_owned(),
            Outcome::Delivered => " AND m.delivered_at IS NOT NULL".to_owned(),
            Outcome::Opened => format!(" AND (m.read_at IS NOT NULL OR {})", observed("opened")),
            Outcome::Clicked => format!(" AND {}", observed("clicked")),
            // Failed and bounced.
            Outcome::Failed => " AND m.status IN (8, 10)".to_owned(),
        };
        sql.push(&became).push(")");
    }
}
