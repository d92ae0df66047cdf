//! Sums over messages by half hour and everything they are told apart by, written in the transaction that changes the messages. One table serves analytics, usage by
//! day, account, country and campaign, the figures of campaigns, and the alerts.
//!
//! Hours begin on the half hour (UTC) in every zone but three small ones, where they begin on the quarter: messages of tenants on such a clock are summed by the quarter, which
//! lies within the half hour, so that sums of everybody are cut at the same instants. `message_days` has the same by day on the tenant's clock, written with them: what is asked for by
//! days, weeks and months is read from there.

use std::{
    collections::BTreeMap,
    ops::{AddAssign, Sub},
    sync::LazyLock,
};

use model::{AccountId, CampaignId, Channel, Purpose, TemplateId, TenantId, Timestamp};

use crate::{Error, Given, Kind, Row, Tx, sql::Sql, usage};

/// Length of a slot, in seconds.
pub const SLOT_S: i64 = 1_800;
/// Length of a slot of tenants whose clock is off by a quarter of an hour.
pub const QUARTER_S: i64 = 900;
const DAY_S: i64 = 86_400;

/// Upper ends of the buckets of delivery times, in milliseconds; what took longer than the last lies in one more. Close together where mails and messages are delivered,
/// far apart where only the order of magnitude matters.
pub const TOOK_MS: [i64; 11] =
    [1_000, 2_000, 5_000, 10_000, 30_000, 60_000, 300_000, 900_000, 3_600_000, 14_400_000, 86_400_000];

/// Upper ends of the buckets of response times, in milliseconds: from sending to the reply. People take longer than machines.
pub const REPLIED_MS: [i64; 6] = [60_000, 300_000, 1_800_000, 14_400_000, 86_400_000, 604_800_000];

/// The slot an instant lies in, as its beginning.
pub const fn slot(at: Timestamp) -> Timestamp {
    floor(at, SLOT_S)
}

/// The quarter of an hour an instant lies in, as its beginning.
pub const fn quarter(at: Timestamp) -> Timestamp {
    floor(at, QUARTER_S)
}

const fn floor(at: Timestamp, length_s: i64) -> Timestamp {
    Timestamp::from_seconds(at.as_seconds().div_euclid(length_s) * length_s)
}

/// What is counted together. What a message does not have is empty, or the zero id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Whose.
    pub tenant_id: TenantId,
    /// The beginning of the slot in which the message was accepted.
    pub at: Timestamp,
    /// Over which channel.
    pub channel: Channel,
    /// Through which connector.
    pub provider: String,
    /// Through which account.
    pub account_id: AccountId,
    /// Why.
    pub purpose: Purpose,
    /// To which country, for phone numbers: ISO 3166-1.
    pub country: String,
    /// Of which campaign.
    pub campaign_id: CampaignId,
    /// Made of which template.
    pub template_id: TemplateId,
    /// And which of its versions.
    pub template_version: u32,
    /// About what.
    pub topic: String,
    /// Which of the campaign's variants, from 1; 0 for none.
    pub variant: u32,
    /// In which currency their cost is known.
    pub currency: String,
    /// How far the tenant's clock was ahead of UTC, in quarters of an hour; 0 in sums by day.
    pub clock: i64,
}

impl Key {
    /// The same by day: the midnight of the day on the tenant's clock, as if that showed UTC.
    pub fn day(&self) -> Self {
        let local = self.at.plus_seconds(self.clock * QUARTER_S);
        Self { at: floor(local, DAY_S), clock: 0, ..self.clone() }
    }
}

/// Sums by slot as sums by day.
pub fn by_day(slots: &BTreeMap<Key, Counts>) -> BTreeMap<Key, Counts> {
    let mut days: BTreeMap<Key, Counts> = BTreeMap::new();
    for (key, counts) in slots {
        *days.entry(key.day()).or_default() += *counts;
    }
    days
}

/// Which sums are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Table {
    /// Those by slot.
    Slots,
    /// Those by day on each tenant's clock: days are named by their midnight as if the clock showed UTC.
    Days,
}

impl Table {
    const fn name(self) -> &'static str {
        match self {
            Self::Slots => "message_counters",
            Self::Days => "message_days",
        }
    }
}

macro_rules! counts {
    ($($(#[$doc:meta])* $name:ident,)+) => {
        /// The sums.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub struct Counts {
            /// What became of the messages.
            pub outcome: usage::Counts,
            $($(#[$doc])* pub $name: i64,)+
            /// Deliveries by the bucket of [`TOOK_MS`] they fall into.
            pub took: [i64; TOOK_MS.len() + 1],
            /// Replies by the bucket of [`REPLIED_MS`] they fall into.
            pub answer: [i64; REPLIED_MS.len() + 1],
        }

        impl AddAssign for Counts {
            fn add_assign(&mut self, other: Self) {
                self.outcome += other.outcome;
                $(self.$name += other.$name;)+
                self.took.iter_mut().zip(other.took).for_each(|(sum, more)| *sum += more);
                self.answer.iter_mut().zip(other.answer).for_each(|(sum, more)| *sum += more);
            }
        }

        impl Sub for Counts {
            type Output = Self;
            fn sub(mut self, other: Self) -> Self {
                self.outcome = self.outcome - other.outcome;
                $(self.$name -= other.$name;)+
                self.took.iter_mut().zip(other.took).for_each(|(sum, less)| *sum -= less);
                self.answer.iter_mut().zip(other.answer).for_each(|(sum, less)| *sum -= less);
                self
            }
        }

        const NAMES: &[&str] = &[
            "accepted", "sent", "delivered", "read", "failed", "bounced", "canceled", "expired", "suppressed", "unknown", "segments", "bytes",
            $(stringify!($name),)+
            "took_0", "took_1", "took_2", "took_3", "took_4", "took_5", "took_6", "took_7", "took_8", "took_9", "took_10", "took_11",
            "answer_0", "answer_1", "answer_2", "answer_3", "answer_4", "answer_5", "answer_6",
        ];

        fn read_counts(row: &mut Row, first: usize) -> Result<Counts, Error> {
            let mut column = first;
            let mut next = || { column += 1; row.get::<i64>(column - 1) };
            let mut counts = Counts {
                outcome: usage::Counts {
                    accepted: next()?, sent: next()?, delivered: next()?, read: next()?, failed: next()?, bounced: next()?, canceled: next()?,
                    expired: next()?, suppressed: next()?, unknown: next()?, segments: next()?, bytes: next()?,
                },
                $($name: next()?,)+
                took: [0; TOOK_MS.len() + 1],
                answer: [0; REPLIED_MS.len() + 1],
            };
            for bucket in counts.took.iter_mut().chain(&mut counts.answer) {
                *bucket = next()?;
            }
            Ok(counts)
        }

        const COLUMNS: &[(&str, Kind)] = &[
            ("tenant_id", Kind::Id), ("at", Kind::Time), ("channel", Kind::Int), ("provider", Kind::Text), ("account_id", Kind::Id), ("purpose", Kind::Int),
            ("country", Kind::Text), ("campaign_id", Kind::Id), ("template_id", Kind::Id), ("template_version", Kind::Int), ("topic", Kind::Text),
            ("variant", Kind::Int), ("currency", Kind::Text), ("clock", Kind::Int), ("shard", Kind::Int), ("accepted", Kind::Int), ("sent", Kind::Int),
            ("delivered", Kind::Int), ("read", Kind::Int), ("failed", Kind::Int), ("bounced", Kind::Int), ("canceled", Kind::Int), ("expired", Kind::Int),
            ("suppressed", Kind::Int), ("unknown", Kind::Int), ("segments", Kind::Int), ("bytes", Kind::Int), $((stringify!($name), Kind::Int),)+ ("took_0", Kind::Int),
            ("took_1", Kind::Int), ("took_2", Kind::Int), ("took_3", Kind::Int), ("took_4", Kind::Int), ("took_5", Kind::Int), ("took_6", Kind::Int),
            ("took_7", Kind::Int), ("took_8", Kind::Int), ("took_9", Kind::Int), ("took_10", Kind::Int), ("took_11", Kind::Int), ("answer_0", Kind::Int),
            ("answer_1", Kind::Int), ("answer_2", Kind::Int), ("answer_3", Kind::Int), ("answer_4", Kind::Int), ("answer_5", Kind::Int), ("answer_6", Kind::Int),
        ];

        /// Adds to the sums of one table alone: for counting them again. The keys come in order, so that two transactions cannot wait for each other.
        pub async fn add_to(tx: &mut Tx, table: Table, shard: i64, added: &BTreeMap<Key, Counts>) -> Result<(), Error> {
            let zero = Counts::default();
            let mut given = Given::new(COLUMNS);
            for (k, c) in added.iter().filter(|(_, counts)| **counts != zero) {
                let (o, t, a) = (&c.outcome, &c.took, &c.answer);
                given.row([
                    &k.tenant_id, &k.at, &k.channel, &k.provider, &k.account_id, &k.purpose, &k.country, &k.campaign_id, &k.template_id,
                    &k.template_version, &k.topic, &k.variant, &k.currency, &k.clock, &shard, &o.accepted, &o.sent, &o.delivered, &o.read, &o.failed,
                    &o.bounced, &o.canceled, &o.expired, &o.suppressed, &o.unknown, &o.segments, &o.bytes, $(&c.$name,)+ &t[0], &t[1], &t[2], &t[3], &t[4], &t[5],
                    &t[6], &t[7], &t[8], &t[9], &t[10], &t[11], &a[0], &a[1], &a[2], &a[3], &a[4], &a[5], &a[6],
                ]);
            }
            if given.is_empty() {
                return Ok(());
            }
            tx.insert_many_later(table.name(), &given, on_conflict(table)).await
        }
    };
}

counts! {
    /// Still to leave.
    waiting,
    /// Opened by a person.
    opened,
    /// With a link a person followed.
    clicked,
    /// Opened by a program, and by no person.
    machine_opened,
    /// With a link a program followed, and no person.
    machine_clicked,
    /// Reported as unwanted.
    complained,
    /// Answered by asking for no more.
    unsubscribed,
    /// Answered.
    replied,
    /// What they cost, in millionths of the key's currency.
    cost_micros,
    /// Failed or bounced because of the recipient's address.
    failed_recipient,
    /// Failed because the recipient wants none.
    failed_opted_out,
    /// Failed because of what they say.
    failed_content,
    /// Failed because the provider would take no more.
    failed_throttled,
    /// Failed because the provider was out of order.
    failed_unavailable,
    /// Failed because of the account.
    failed_account,
    /// Failed, and nobody can say why.
    failed_unknown,
}

/// Adds to the sums by slot, and to those by day.
pub async fn add_many(tx: &mut Tx, shard: i64, added: &BTreeMap<Key, Counts>) -> Result<(), Error> {
    add_to(tx, Table::Slots, shard, added).await?;
    add_to(tx, Table::Days, shard, &by_day(added)).await
}

fn on_conflict(table: Table) -> &'static str {
    fn text(table: Table) -> String {
        let name = table.name();
        let sets: Vec<_> = NAMES.iter().map(|count| format!("{count} = {name}.{count} + excluded.{count}")).collect();
        format!(
            "ON CONFLICT (tenant_id, at, channel, provider, account_id, purpose, country, campaign_id, template_id, template_version, topic, variant, currency, clock, shard)
             DO UPDATE SET {}",
            sets.join(", ")
        )
    }
    static SLOTS: LazyLock<String> = LazyLock::new(|| text(Table::Slots));
    static DAYS: LazyLock<String> = LazyLock::new(|| text(Table::Days));
    match table {
        Table::Slots => &SLOTS,
        Table::Days => &DAYS,
    }
}

/// What sums are told apart by. What is not asked for is left empty in the keys of the answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "each is one column of the key, chosen by itself")]
pub struct Split {
    /// By tenant.
    pub tenant: bool,
    /// By slot.
    pub at: bool,
    /// By channel.
    pub channel: bool,
    /// By connector.
    pub provider: bool,
    /// By account.
    pub account: bool,
    /// By purpose.
    pub purpose: bool,
    /// By country.
    pub country: bool,
    /// By campaign.
    pub campaign: bool,
    /// By template and version.
    pub template: bool,
    /// By topic.
    pub topic: bool,
    /// By variant of a campaign.
    pub variant: bool,
    /// By the currency of their cost.
    pub currency: bool,
    /// By how far the tenant's clock was ahead.
    pub clock: bool,
}

impl Split {
    /// By everything there is.
    pub const FULL: Self = Self {
        tenant: true,
        at: true,
        channel: true,
        provider: true,
        account: true,
        purpose: true,
        country: true,
        campaign: true,
        template: true,
        topic: true,
        variant: true,
        currency: true,
        clock: true,
    };
}

/// Which messages are summed.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Accepted in this slot or a later one.
    pub from: Timestamp,
    /// Accepted in a slot that begins before.
    pub until: Timestamp,
    /// Over this channel.
    pub channel: Option<Channel>,
    /// Through this connector.
    pub provider: Option<String>,
    /// Through this account.
    pub account_id: Option<AccountId>,
    /// For this purpose.
    pub purpose: Option<Purpose>,
    /// To this country.
    pub country: Option<String>,
    /// Of this campaign.
    pub campaign_id: Option<CampaignId>,
    /// Made of this template.
    pub template_id: Option<TemplateId>,
    /// About this topic.
    pub topic: Option<String>,
    /// About anything but these topics.
    pub other_than: &'static [&'static str],
    /// Without what Tidings says itself, which counts against no plan and costs nothing: topics with a colon, which nobody else can give.
    pub without_ours: bool,
}

impl Filter {
    /// All messages there ever were.
    pub fn everything() -> Self {
        let (from, until) = (Timestamp::EPOCH, Timestamp::from_seconds(200_000_000_000));
        Self { from, until, ..Self::default() }
    }
}

/// The sums by slot of a tenant's messages, told apart as asked, in the order of the keys, up to `limit` rows. `None` for the tenant sums everybody's: for the operator.
pub async fn sums(
    tx: &mut Tx,
    tenant: Option<TenantId>,
    filter: &Filter,
    split: Split,
    limit: i64,
) -> Result<Vec<(Key, Counts)>, Error> {
    sums_of(tx, Table::Slots, tenant, filter, split, limit).await
}

/// The same of either table.
pub async fn sums_of(
    tx: &mut Tx,
    table: Table,
    tenant: Option<TenantId>,
    filter: &Filter,
    split: Split,
    limit: i64,
) -> Result<Vec<(Key, Counts)>, Error> {
    let columns = [
        (split.tenant, "tenant_id"),
        (split.at, "at"),
        (split.channel, "channel"),
        (split.provider, "provider"),
        (split.account, "account_id"),
        (split.purpose, "purpose"),
        (split.country, "country"),
        (split.campaign, "campaign_id"),
        (split.template, "template_id"),
        (split.template, "template_version"),
        (split.topic, "topic"),
        (split.variant, "variant"),
        (split.currency, "currency"),
        (split.clock, "clock"),
    ];
    let wanted: Vec<&str> = columns.iter().filter(|(is_wanted, _)| *is_wanted).map(|(_, name)| *name).collect();
    let sums = NAMES.iter().map(|name| format!("CAST(COALESCE(SUM({name}), 0) AS BIGINT)"));
    let head = wanted.iter().map(|name| (*name).to_owned()).chain(sums).collect::<Vec<_>>().join(", ");
    let mut sql = Sql::default();
    sql.push(&format!(" FROM {} WHERE at >= ", table.name())).bind(filter.from).push(" AND at < ").bind(filter.until);
    if let Some(tenant) = tenant {
        sql.push(" AND tenant_id = ").bind(tenant);
    }
    if let Some(channel) = filter.channel {
        sql.push(" AND channel = ").bind(channel.code());
    }
    if let Some(provider) = &filter.provider {
        sql.push(" AND provider = ").bind(provider.as_str());
    }
    if let Some(account) = filter.account_id {
        sql.push(" AND account_id = ").bind(account);
    }
    if let Some(purpose) = filter.purpose {
        sql.push(" AND purpose = ").bind(purpose.code());
    }
    if let Some(country) = &filter.country {
        sql.push(" AND country = ").bind(country.as_str());
    }
    if let Some(campaign) = filter.campaign_id {
        sql.push(" AND campaign_id = ").bind(campaign);
    }
    if let Some(template) = filter.template_id {
        sql.push(" AND template_id = ").bind(template);
    }
    if let Some(topic) = &filter.topic {
        sql.push(" AND topic = ").bind(topic.as_str());
    }
    for topic in filter.other_than {
        sql.push(" AND topic <> ").bind(*topic);
    }
    if filter.without_ours {
        sql.push(" AND topic NOT LIKE '%:%'");
    }
    if !wanted.is_empty() {
        let by = wanted.join(", ");
        sql.push(&format!(" GROUP BY {by} ORDER BY {by}"));
    }
    sql.push(" LIMIT ").bind(limit);
    let rows = sql.rows(tx, &format!("SELECT {head}")).await?;
    rows.into_iter().map(|row| read(row, split)).collect()
}

fn read(mut row: Row, split: Split) -> Result<(Key, Counts), Error> {
    let row = &mut row;
    let mut key = Key {
        tenant_id: TenantId::from_ulid(0),
        at: Timestamp::EPOCH,
        channel: Channel::Email,
        provider: String::new(),
        account_id: AccountId::from_ulid(0),
        purpose: Purpose::Transactional,
        country: String::new(),
        campaign_id: CampaignId::from_ulid(0),
        template_id: TemplateId::from_ulid(0),
        template_version: 0,
        topic: String::new(),
        variant: 0,
        currency: String::new(),
        clock: 0,
    };
    let mut column = 0;
    macro_rules! take {
        ($($is_wanted:expr => $field:ident),+ $(,)?) => {$(
            if $is_wanted {
                key.$field = row.get(column)?;
                column += 1;
            }
        )+};
    }
    take!(
        split.tenant => tenant_id, split.at => at, split.channel => channel, split.provider => provider, split.account => account_id,
        split.purpose => purpose, split.country => country, split.campaign => campaign_id, split.template => template_id,
        split.template => template_version, split.topic => topic, split.variant => variant, split.currency => currency,
        split.clock => clock,
    );
    Ok((key, read_counts(row, column)?))
}

/// Keeps every other transaction from counting until this one ends: what is read of the messages then is what was counted. SQLite has one writer anyway.
pub async fn lock(tx: &mut Tx) -> Result<(), Error> {
    match tx.dialect() {
        crate::Dialect::Sqlite => Ok(()),
        crate::Dialect::Postgres => {
            tx.execute("LOCK TABLE message_counters IN SHARE ROW EXCLUSIVE MODE", &[]).await.map(drop)
        }
    }
}

/// Forgets a tenant's sums of one table from `from` on and before `until`, to write them anew.
pub async fn remove(
    tx: &mut Tx,
    table: Table,
    tenant: TenantId,
    from: Timestamp,
    until: Timestamp,
) -> Result<(), Error> {
    let sql = format!("DELETE FROM {} WHERE tenant_id = $1 AND at >= $2 AND at < $3", table.name());
    tx.execute(&sql, &[&tenant, &from, &until]).await.map(drop)
}

/// The first slot the tenant has sums of.
pub async fn first(tx: &mut Tx, tenant: TenantId) -> Result<Option<Timestamp>, Error> {
    let row = tx.row("SELECT MIN(at) FROM message_counters WHERE tenant_id = $1", &[&tenant]).await?;
    row.map_or(Ok(None), |mut row| row.get(0))
}

/// The first slot anybody has sums of. Across tenants: for the operator.
pub async fn first_of_all(tx: &mut Tx) -> Result<Option<Timestamp>, Error> {
    let row = tx.row("SELECT MIN(at) FROM message_counters", &[]).await?;
    row.map_or(Ok(None), |mut row| row.get(0))
}

/// The first and the last instant the tenant has sums of, in either table; `None` without any.
pub async fn span(tx: &mut Tx, tenant: TenantId) -> Result<Option<(Timestamp, Timestamp)>, Error> {
    let mut found: Option<(Timestamp, Timestamp)> = None;
    for table in [Table::Slots, Table::Days] {
        let sql = format!("SELECT MIN(at), MAX(at) FROM {} WHERE tenant_id = $1", table.name());
        let Some(mut row) = tx.row(&sql, &[&tenant]).await? else { continue };
        let (first, last): (Option<Timestamp>, Option<Timestamp>) = (row.get(0)?, row.get(1)?);
        if let Some((first, last)) = first.zip(last) {
            found = Some(found.map_or((first, last), |(a, b)| (a.min(first), b.max(last))));
        }
    }
    Ok(found)
}
