//! Messages: one thing to one recipient. The row is small; what it says lies in `contents`.

mod list;

use std::collections::BTreeMap;

use model::{
    AccountId, CampaignId, Channel, Class, ContactId, Guarantee, MessageId, Priority, Purpose, SenderId, Status,
    TemplateId, TenantId, Timestamp, Ulid,
};

use crate::{Error, Given, Kind, Param, Row, Tx, Value};

pub use list::{Filter, list};

/// The id of a stored content: any ULID, shared by messages that say the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentId(pub Ulid);

impl Param for ContentId {
    fn value(&self) -> Value<'_> {
        Value::Id(self.0.to_be_bytes())
    }
}

impl crate::Column for ContentId {
    fn read(value: crate::Owned) -> Option<Self> {
        model::MessageId::read(value).map(|id| Self(id.ulid()))
    }
}

/// The version of a template a message was made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OfTemplate {
    /// Which template.
    pub id: TemplateId,
    /// Which of its versions.
    pub version: u32,
}

/// When a message was first opened, clicked, complained about and unsubscribed from; openings and clicks are told apart by who did it. Each is the earliest that is known, so reports may
/// come late and twice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Engagement {
    /// A person opened it.
    pub opened_at: Option<Timestamp>,
    /// A person followed a link.
    pub clicked_at: Option<Timestamp>,
    /// A program loaded its pictures.
    pub machine_opened_at: Option<Timestamp>,
    /// A program followed a link.
    pub machine_clicked_at: Option<Timestamp>,
    /// The recipient reported it as unwanted.
    pub complained_at: Option<Timestamp>,
    /// The recipient asked for no more.
    pub unsubscribed_at: Option<Timestamp>,
    /// The recipient wrote back.
    pub replied_at: Option<Timestamp>,
}

/// A message as stored. `status` is never `sending`: that is told by an attempt in flight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Whose.
    pub tenant_id: TenantId,
    /// Which.
    pub id: MessageId,
    /// Over which channel.
    pub channel: Channel,
    /// Why.
    pub purpose: Purpose,
    /// Its place in the order of work.
    pub class: Class,
    /// What to do when nobody can say whether it was taken.
    pub guarantee: Guarantee,
    /// Where it is.
    pub status: Status,
    /// To whom, in text form.
    pub address: String,
    /// Through which account; `None` once that account is gone.
    pub account_id: Option<AccountId>,
    /// That account's connector.
    pub connector: Option<String>,
    /// What it says.
    pub content_id: ContentId,
    /// The JSON object that fills its placeholders.
    pub variables: Option<String>,
    /// The tenant's own JSON object.
    pub metadata: Option<String>,
    /// What the contact's preferences speak of.
    pub topic: Option<String>,
    /// Why this channel and account, for people.
    pub route: Option<String>,
    /// The provider's id.
    pub provider_message_id: Option<String>,
    /// Exchanges so far.
    pub attempts: u32,
    /// The last failure, as JSON of [`model::Failure`].
    pub failure: Option<String>,
    /// Parts that were sent (SMS).
    pub segments: Option<u32>,
    /// What was handed to the provider when it took it, in bytes; `None` as long as nobody knows.
    pub bytes: Option<i64>,
    /// The price, in millionths.
    pub cost_micros: Option<i64>,
    /// The price's currency.
    pub cost_currency: Option<String>,
    /// What of the price is that of ways it left, which counts where they went.
    pub cost_before: i64,
    /// What is set aside for it until it is sent or over: see [`crate::credits::Charge::to_aside`].
    pub aside: Option<String>,
    /// What it was charged, when that is just what was set aside for it when it was accepted, which this says then: see [`crate::credits::Charge::of_kept`]. Written by [`update_many`] only.
    pub charge: Option<String>,
    /// The contact it goes to.
    pub contact_id: Option<ContactId>,
    /// The campaign it belongs to.
    pub campaign_id: Option<CampaignId>,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When it should leave at the earliest, as asked.
    pub send_at: Option<Timestamp>,
    /// When it should no longer leave.
    pub expires_at: Option<Timestamp>,
    /// The due time of its row in `deliveries`; `None` when it has none.
    pub due_at: Option<Timestamp>,
    /// When the provider is asked what became of it.
    pub poll_at: Option<Timestamp>,
    /// How often it was asked.
    pub polls: u32,
    /// When the provider took it.
    pub sent_at: Option<Timestamp>,
    /// When it arrived.
    pub delivered_at: Option<Timestamp>,
    /// When it was read.
    pub read_at: Option<Timestamp>,
    /// When it ended otherwise (failed, bounced, canceled, …).
    pub ended_at: Option<Timestamp>,
    /// When it became a dead letter: failed, and worth another try by a person.
    pub dead_at: Option<Timestamp>,
    /// As which of the account's senders it leaves; `None` for the account's own.
    pub sender_id: Option<SenderId>,
    /// The template it was made of.
    pub template: Option<OfTemplate>,
    /// Which of its campaign's variants it is, from 0.
    pub variant: Option<u32>,
    /// How far the tenant's clock was ahead of UTC when it was accepted, in quarters of an hour; `None` for those from before that was noted.
    pub clock: Option<i64>,
    /// What is tracked, as a set of bits: see `engine::tracking`.
    pub tracking: u32,
    /// What people and machines did with it.
    pub engagement: Engagement,
}

impl Message {
    /// A message to which nothing has happened, transactional and queued. What is not given is empty, for its maker to fill.
    pub fn new(
        tenant_id: TenantId,
        id: MessageId,
        channel: Channel,
        address: String,
        content_id: ContentId,
        now: Timestamp,
    ) -> Self {
        Self {
            tenant_id,
            id,
            channel,
            purpose: Purpose::Transactional,
            class: Class::new(Purpose::Transactional, Priority::Normal),
            guarantee: Guarantee::AtLeastOnce,
            status: Status::Queued,
            address,
            account_id: None,
            connector: None,
            content_id,
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
            contact_id: None,
            campaign_id: None,
            created_at: now,
            send_at: None,
            expires_at: None,
            due_at: None,
            poll_at: None,
            polls: 0,
            sent_at: None,
            delivered_at: None,
            read_at: None,
            ended_at: None,
            dead_at: None,
            sender_id: None,
            template: None,
            variant: None,
            clock: None,
            tracking: 0,
            engagement: Engagement::default(),
        }
    }
}

const COLUMNS: &str = "tenant_id, id, channel, purpose, class, guarantee, status, address, account_id, connector, content_id, variables, metadata, topic, \
     route, provider_message_id, attempts, failure, segments, cost_micros, cost_currency, contact_id, campaign_id, created_at, send_at, expires_at, due_at, \
     poll_at, polls, sent_at, delivered_at, read_at, ended_at, dead_at, sender_id, template_id, template_version, tracking, opened_at, clicked_at, machine_opened_at, \
     machine_clicked_at, complained_at, unsubscribed_at, replied_at, variant, clock, bytes, aside, cost_before, charge";

impl Message {
    fn read(mut row: Row) -> Result<Self, Error> {
        let row = &mut row;
        Ok(Self {
            tenant_id: row.get(0)?,
            id: row.get(1)?,
            channel: row.get(2)?,
            purpose: row.get(3)?,
            class: row.get(4)?,
            guarantee: row.get(5)?,
            status: row.get(6)?,
            address: row.get(7)?,
            account_id: row.get(8)?,
            connector: row.get(9)?,
            content_id: row.get(10)?,
            variables: row.get(11)?,
            metadata: row.get(12)?,
            topic: row.get(13)?,
            route: row.get(14)?,
            provider_message_id: row.get(15)?,
            attempts: row.get(16)?,
            failure: row.get(17)?,
            segments: row.get(18)?,
            cost_micros: row.get(19)?,
            cost_currency: row.get(20)?,
            contact_id: row.get(21)?,
            campaign_id: row.get(22)?,
            created_at: row.get(23)?,
            send_at: row.get(24)?,
            expires_at: row.get(25)?,
            due_at: row.get(26)?,
            poll_at: row.get(27)?,
            polls: row.get(28)?,
            sent_at: row.get(29)?,
            delivered_at: row.get(30)?,
            read_at: row.get(31)?,
            ended_at: row.get(32)?,
            dead_at: row.get(33)?,
            sender_id: row.get(34)?,
            template: row
                .get::<Option<TemplateId>>(35)?
                .zip(row.get::<Option<u32>>(36)?)
                .map(|(id, version)| OfTemplate { id, version }),
            tracking: row.get(37)?,
            engagement: Engagement {
                opened_at: row.get(38)?,
                clicked_at: row.get(39)?,
                machine_opened_at: row.get(40)?,
                machine_clicked_at: row.get(41)?,
                complained_at: row.get(42)?,
                unsubscribed_at: row.get(43)?,
                replied_at: row.get(44)?,
            },
            variant: row.get(45)?,
            clock: row.get(46)?,
            bytes: row.get(47)?,
            aside: row.get(48)?,
            cost_before: row.get::<Option<i64>>(49)?.unwrap_or(0),
            charge: row.get(50)?,
        })
    }
}

/// Writes new messages.
pub async fn insert_many(tx: &mut Tx, messages: &[Message]) -> Result<(), Error> {
    let mut given = Given::new(&[
        ("tenant_id", Kind::Id),
        ("id", Kind::Id),
        ("channel", Kind::Int),
        ("purpose", Kind::Int),
        ("class", Kind::Int),
        ("guarantee", Kind::Int),
        ("status", Kind::Int),
        ("address", Kind::Text),
        ("account_id", Kind::Id),
        ("connector", Kind::Text),
        ("content_id", Kind::Id),
        ("variables", Kind::Text),
        ("metadata", Kind::Text),
        ("topic", Kind::Text),
        ("route", Kind::Text),
        ("attempts", Kind::Int),
        ("failure", Kind::Text),
        ("segments", Kind::Int),
        ("cost_micros", Kind::Int),
        ("cost_currency", Kind::Text),
        ("aside", Kind::Json),
        ("contact_id", Kind::Id),
        ("campaign_id", Kind::Id),
        ("created_at", Kind::Time),
        ("send_at", Kind::Time),
        ("expires_at", Kind::Time),
        ("due_at", Kind::Time),
        ("polls", Kind::Int),
        ("sender_id", Kind::Id),
        ("template_id", Kind::Id),
        ("template_version", Kind::Int),
        ("tracking", Kind::Int),
        ("variant", Kind::Int),
        ("clock", Kind::Int),
    ]);
    let of: Vec<_> = messages.iter().map(|m| (m.template.map(|t| t.id), m.template.map(|t| t.version))).collect();
    for (m, (template_id, template_version)) in messages.iter().zip(&of) {
        given.row([
            &m.tenant_id,
            &m.id,
            &m.channel,
            &m.purpose,
            &m.class,
            &m.guarantee,
            &m.status,
            &m.address,
            &m.account_id,
            &m.connector,
            &m.content_id,
            &m.variables,
            &m.metadata,
            &m.topic,
            &m.route,
            &m.attempts,
            &m.failure,
            &m.segments,
            &m.cost_micros,
            &m.cost_currency,
            &m.aside,
            &m.contact_id,
            &m.campaign_id,
            &m.created_at,
            &m.send_at,
            &m.expires_at,
            &m.due_at,
            &m.polls,
            &m.sender_id,
            template_id,
            template_version,
            &m.tracking,
            &m.variant,
            &m.clock,
        ]);
    }
    tx.insert_many_later("messages", &given, "").await
}

/// What messages' rows are to say they were charged; `None`: nothing any more.
pub type Charges<'a> = BTreeMap<MessageId, Option<&'a str>>;

/// Writes everything about messages that can change. The caller has read them with [`lock_many`] in this transaction. Those not named in `charges` keep what they say they were charged.
pub async fn update_many(tx: &mut Tx, messages: &[Message], charges: &Charges<'_>) -> Result<(), Error> {
    let mut given = Given::new(&[
        ("tenant_id", Kind::Id),
        ("id", Kind::Id),
        ("status", Kind::Int),
        ("account_id", Kind::Id),
        ("connector", Kind::Text),
        ("route", Kind::Text),
        ("provider_message_id", Kind::Text),
        ("attempts", Kind::Int),
        ("failure", Kind::Text),
        ("segments", Kind::Int),
        ("bytes", Kind::Int),
        ("cost_micros", Kind::Int),
        ("cost_currency", Kind::Text),
        ("aside", Kind::Json),
        ("charge", Kind::Text),
        ("due_at", Kind::Time),
        ("poll_at", Kind::Time),
        ("polls", Kind::Int),
        ("sent_at", Kind::Time),
        ("delivered_at", Kind::Time),
        ("read_at", Kind::Time),
        ("ended_at", Kind::Time),
        ("dead_at", Kind::Time),
    ]);
    let charges: Vec<_> = messages.iter().map(|m| charges.get(&m.id).copied().unwrap_or(m.charge.as_deref())).collect();
    for (m, charge) in messages.iter().zip(&charges) {
        given.row([
            &m.tenant_id,
            &m.id,
            &m.status,
            &m.account_id,
            &m.connector,
            &m.route,
            &m.provider_message_id,
            &m.attempts,
            &m.failure,
            &m.segments,
            &m.bytes,
            &m.cost_micros,
            &m.cost_currency,
            &m.aside,
            charge,
            &m.due_at,
            &m.poll_at,
            &m.polls,
            &m.sent_at,
            &m.delivered_at,
            &m.read_at,
            &m.ended_at,
            &m.dead_at,
        ]);
    }
    tx.update_many_later("messages", 2, &given).await
}

/// Writes what is set aside for messages that go another way or are priced before they are sent: their rows were written before that was known.
pub async fn update_asides(tx: &mut Tx, asides: &[(TenantId, MessageId, String)]) -> Result<(), Error> {
    let mut given = Given::new(&[("tenant_id", Kind::Id), ("id", Kind::Id), ("aside", Kind::Json)]);
    for (tenant, id, aside) in asides {
        given.row([tenant, id, aside]);
    }
    if given.is_empty() {
        return Ok(());
    }
    tx.update_many_later("messages", 2, &given).await
}

/// Writes what of messages' cost is that of ways they left, once that turns out to be more or less.
pub async fn update_costs_before(tx: &mut Tx, messages: &[&Message]) -> Result<(), Error> {
    let mut given = Given::new(&[("tenant_id", Kind::Id), ("id", Kind::Id), ("cost_before", Kind::Int)]);
    for m in messages {
        given.row([&m.tenant_id, &m.id, &m.cost_before]);
    }
    tx.update_many_later("messages", 2, &given).await
}

/// Writes what people and machines did with messages. Apart from [`update_many`], because most changes of a message are others.
pub async fn update_engagements(tx: &mut Tx, messages: &[&Message]) -> Result<(), Error> {
    let mut given = Given::new(&[
        ("tenant_id", Kind::Id),
        ("id", Kind::Id),
        ("opened_at", Kind::Time),
        ("clicked_at", Kind::Time),
        ("machine_opened_at", Kind::Time),
        ("machine_clicked_at", Kind::Time),
        ("complained_at", Kind::Time),
        ("unsubscribed_at", Kind::Time),
        ("replied_at", Kind::Time),
    ]);
    for m in messages {
        let e = &m.engagement;
        given.row([
            &m.tenant_id,
            &m.id,
            &e.opened_at,
            &e.clicked_at,
            &e.machine_opened_at,
            &e.machine_clicked_at,
            &e.complained_at,
            &e.unsubscribed_at,
            &e.replied_at,
        ]);
    }
    tx.update_many_later("messages", 2, &given).await
}

/// Reads one message.
pub async fn find(tx: &mut Tx, tenant: TenantId, id: MessageId) -> Result<Option<Message>, Error> {
    tx.row(&format!("SELECT {COLUMNS} FROM messages WHERE tenant_id = $1 AND id = $2"), &[&tenant, &id])
        .await?
        .map(Message::read)
        .transpose()
}

/// The tenant's messages with ids above `after`, oldest first, events to endpoints among them.
pub async fn after(tx: &mut Tx, tenant: TenantId, after: MessageId, limit: i64) -> Result<Vec<Message>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM messages WHERE tenant_id = $1 AND id > $2 ORDER BY id LIMIT $3");
    tx.rows(&sql, &[&tenant, &after, &limit]).await?.into_iter().map(Message::read).collect()
}

/// The messages of one of the tenant's campaigns with ids above `after`, oldest first.
pub async fn of_campaign(
    tx: &mut Tx,
    tenant: TenantId,
    campaign: CampaignId,
    after: MessageId,
    limit: i64,
) -> Result<Vec<Message>, Error> {
    let sql = format!(
        "SELECT {COLUMNS} FROM messages WHERE tenant_id = $1 AND campaign_id = $2 AND id > $3 ORDER BY id LIMIT $4"
    );
    tx.rows(&sql, &[&tenant, &campaign, &after, &limit]).await?.into_iter().map(Message::read).collect()
}

/// Notes what the tenant's clock showed when messages were accepted that do not say so.
pub async fn set_clocks(tx: &mut Tx, messages: &[Message]) -> Result<(), Error> {
    let mut given = Given::new(&[("tenant_id", Kind::Id), ("id", Kind::Id), ("clock", Kind::Int)]);
    for m in messages {
        given.row([&m.tenant_id, &m.id, &m.clock]);
    }
    if given.is_empty() {
        return Ok(());
    }
    tx.update_many_later("messages", 2, &given).await
}

/// Whoever wrote to us: through which of a tenant's accounts, over which channel, and from where.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Writer {
    /// The tenant.
    pub tenant_id: TenantId,
    /// Its account.
    pub account_id: AccountId,
    /// The channel.
    pub channel: Channel,
    /// The address they write from.
    pub address: String,
}

/// The newest message that left through the same account to each of these, from `oldest` on, and whether it was answered: what they answer.
pub async fn newest_sent_to(
    tx: &mut Tx,
    writers: &[Writer],
    oldest: MessageId,
) -> Result<Vec<(Writer, MessageId, bool)>, Error> {
    let mut given = Given::new(&[
        ("tenant_id", Kind::Id),
        ("account_id", Kind::Id),
        ("channel", Kind::Int),
        ("address", Kind::Text),
        ("oldest", Kind::Id),
    ]);
    for one in writers {
        given.row([&one.tenant_id, &one.account_id, &one.channel, &one.address, &oldest]);
    }
    let sql = "SELECT m.tenant_id, m.account_id, m.channel, m.address, m.id, m.replied_at FROM {given}
        JOIN messages AS m ON m.tenant_id = given.tenant_id AND m.id = (
            SELECT sent.id FROM messages AS sent WHERE sent.tenant_id = given.tenant_id AND sent.address = given.address AND sent.id >= given.oldest
                AND sent.channel = given.channel AND sent.account_id = given.account_id AND sent.sent_at IS NOT NULL ORDER BY sent.id DESC LIMIT 1)";
    let found = |mut row: Row| {
        let writer =
            Writer { tenant_id: row.get(0)?, account_id: row.get(1)?, channel: row.get(2)?, address: row.get(3)? };
        Ok((writer, row.get(4)?, row.get::<Option<Timestamp>>(5)?.is_some()))
    };
    tx.rows_many(sql, &given).await?.into_iter().map(found).collect()
}

/// Reads many messages of any tenants: for the dispatcher.
pub async fn find_many(tx: &mut Tx, keys: &[(TenantId, MessageId)]) -> Result<Vec<Message>, Error> {
    matching(tx, keys, "").await
}

/// Reads many messages of any tenants and keeps others from changing them until the transaction ends: for `apply`. Locks are taken in one order, so
/// two transactions cannot wait for each other.
pub async fn lock_many(tx: &mut Tx, keys: &[(TenantId, MessageId)]) -> Result<Vec<Message>, Error> {
    let suffix = match tx.dialect() {
        crate::Dialect::Sqlite => "",
        crate::Dialect::Postgres => "ORDER BY tenant_id, id FOR UPDATE",
    };
    matching(tx, keys, suffix).await
}

async fn matching(tx: &mut Tx, keys: &[(TenantId, MessageId)], suffix: &str) -> Result<Vec<Message>, Error> {
    let mut given = Given::new(&[("tenant_id", Kind::Id), ("id", Kind::Id)]);
    for (tenant, id) in keys {
        given.row([tenant, id]);
    }
    tx.match_many(&format!("SELECT {COLUMNS} FROM messages"), &given, suffix)
        .await?
        .into_iter()
        .map(Message::read)
        .collect()
}

/// Finds the messages behind provider ids of one account each. Answers (account, provider id, tenant, message).
pub async fn find_by_provider_ids(
    tx: &mut Tx,
    ids: &[(AccountId, String)],
) -> Result<Vec<(AccountId, String, TenantId, MessageId)>, Error> {
    let mut given = Given::new(&[("account_id", Kind::Id), ("provider_message_id", Kind::Text)]);
    for (account, id) in ids {
        given.row([account, id]);
    }
    let rows = tx
        .match_many(
            "SELECT account_id, provider_message_id, tenant_id, id FROM messages",
            &given,
            "AND provider_message_id IS NOT NULL",
        )
        .await?;
    rows.into_iter().map(|mut row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))).collect()
}

/// True when a message other than `except`, of any tenant, is known to the accounts of a connector by a provider's id, the way it goes or a way it left. Across tenants: several accounts may send
/// through one account at the provider. Until the transaction ends no other transaction gets an answer about this id, so that two messages cannot both take it.
pub async fn is_anothers(
    tx: &mut Tx,
    connector: &str,
    provider_message_id: &str,
    except: (TenantId, MessageId),
) -> Result<bool, Error> {
    /// Keeps this lock apart from others of the same number: "prov" in ASCII.
    const SPACE: &str = "1886547830";
    if tx.dialect() == crate::Dialect::Postgres {
        let sql = format!("SELECT pg_advisory_xact_lock({SPACE}, hashtext($1))");
        tx.execute(&sql, &[&provider_message_id]).await?;
    }
    let sql = "SELECT m.tenant_id, m.id FROM accounts a JOIN messages m ON m.account_id = a.id WHERE a.connector = $1 AND m.provider_message_id = $2
        UNION SELECT r.tenant_id, r.message_id FROM accounts a JOIN former_routes r ON r.account_id = a.id WHERE a.connector = $1 AND r.provider_message_id = $2";
    for mut row in tx.rows(sql, &[&connector, &provider_message_id]).await? {
        if (row.get::<TenantId>(0)?, row.get::<MessageId>(1)?) != except {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Messages whose provider should be asked about now, of any tenant, earliest first.
pub async fn due_polls(tx: &mut Tx, now: Timestamp, limit: i64) -> Result<Vec<Message>, Error> {
    let sql =
        format!("SELECT {COLUMNS} FROM messages WHERE poll_at IS NOT NULL AND poll_at <= $1 ORDER BY poll_at LIMIT $2");
    tx.rows(&sql, &[&now, &limit]).await?.into_iter().map(Message::read).collect()
}

/// Messages that still wait on an account, of its tenant, oldest first, after `after`.
pub async fn waiting_on_account(
    tx: &mut Tx,
    tenant: TenantId,
    account: AccountId,
    after: Option<MessageId>,
    limit: i64,
) -> Result<Vec<MessageId>, Error> {
    let sql = "SELECT message_id FROM deliveries WHERE tenant_id = $1 AND account_id = $2 AND message_id > $3 ORDER BY message_id LIMIT $4";
    let after = after.unwrap_or(MessageId::from_ulid(0));
    tx.rows(sql, &[&tenant, &account, &after, &limit]).await?.into_iter().map(|mut row| row.get(0)).collect()
}

/// How many messages wait to be asked about at an account's provider before they may be tried again, counted up to `limit`.
pub async fn count_unsettled(tx: &mut Tx, tenant: TenantId, account: AccountId, limit: i64) -> Result<i64, Error> {
    let sql = "SELECT COUNT(*) FROM (SELECT 1 FROM messages WHERE tenant_id = $1 AND account_id = $2 AND poll_at IS NOT NULL AND status IN (0, 1) LIMIT $3) AS waiting";
    tx.row(sql, &[&tenant, &account, &limit]).await?.map_or(Ok(0), |mut row| row.get(0))
}

/// The first tenant after one that has dead letters. Across tenants: for the operator.
pub async fn next_with_dead(tx: &mut Tx, after: TenantId) -> Result<Option<TenantId>, Error> {
    let sql = "SELECT tenant_id FROM messages WHERE dead_at IS NOT NULL AND tenant_id > $1 ORDER BY tenant_id LIMIT 1";
    tx.row(sql, &[&after]).await?.map(|mut row| row.get(0)).transpose()
}

/// How many dead letters a tenant has, counted up to `limit`, and when the newest message of them became one.
pub async fn count_dead(tx: &mut Tx, tenant: TenantId, limit: i64) -> Result<(i64, Option<Timestamp>), Error> {
    let sql =
        "SELECT COUNT(*) FROM (SELECT 1 FROM messages WHERE tenant_id = $1 AND dead_at IS NOT NULL LIMIT $2) AS dead";
    let count = tx.row(sql, &[&tenant, &limit]).await?.map_or(Ok(0), |mut row| row.get(0))?;
    let sql = "SELECT dead_at FROM messages WHERE tenant_id = $1 AND dead_at IS NOT NULL ORDER BY id DESC LIMIT 1";
    let newest = tx.row(sql, &[&tenant]).await?.map(|mut row| row.get(0)).transpose()?;
    Ok((count, newest))
}
