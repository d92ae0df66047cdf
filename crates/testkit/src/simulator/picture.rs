//! A look at the whole database in one snapshot, for the laws.

use std::collections::{BTreeMap, BTreeSet};

use engine::{analytics::count, writes};
use model::{AccountId, Channel, Class, MessageId, SuppressionId, TenantId, Timestamp};
use store::{
    Db, Error, Row, Scope, Tx,
    fallbacks::{self, FormerRoute},
    message_counters,
    messages::{self, Filter, Message},
    suppressions::{self, Suppression},
    usage::{self, Counts, Key},
};

/// Messages of one run at most.
const MESSAGES_MAX: i64 = 10_000;

/// A row of `deliveries`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Due {
    pub tenant: TenantId,
    pub account: AccountId,
    pub class: Class,
    pub at: Timestamp,
}

/// A row of `inflight`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Flying {
    pub tenant: TenantId,
    pub account: AccountId,
    pub number: u32,
    pub started_at: Timestamp,
}

/// A row of `attempts`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Attempt {
    pub tenant: TenantId,
    pub account: AccountId,
    pub number: u32,
    pub outcome: i64,
    pub provider_id: Option<String>,
    pub started_at: Timestamp,
}

/// A row of `observations`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Observation {
    pub tenant: TenantId,
    pub dedupe: String,
    pub kind: String,
    pub detail: String,
}

/// What is in the database.
#[derive(Default)]
pub(super) struct Picture {
    pub messages: BTreeMap<MessageId, Message>,
    pub due: BTreeMap<MessageId, Vec<Due>>,
    pub flying: BTreeMap<MessageId, Flying>,
    pub attempts: BTreeMap<MessageId, Vec<Attempt>>,
    pub observations: BTreeMap<MessageId, Vec<Observation>>,
    pub usage: BTreeMap<Key, Counts>,
    pub slots: BTreeMap<message_counters::Key, message_counters::Counts>,
    /// How often each message is told of as accepted.
    pub accepted_events: BTreeMap<MessageId, usize>,
    /// Until when accounts are paused.
    pub paused: BTreeMap<AccountId, Timestamp>,
    /// The ways messages went before they moved on to another channel.
    pub former: Vec<FormerRoute>,
    /// Addresses that must not be written to.
    pub suppressions: Vec<Suppression>,
}

impl Picture {
    /// Looks.
    pub async fn take(db: &Db, tenants: &[TenantId], now: Timestamp) -> Result<Self, Error> {
        let tenants = tenants.to_vec();
        db.read(Scope::System, move |tx| Box::pin(async move { read(tx, &tenants, now).await })).await
    }

    /// What the usage counters should say.
    pub fn recount(&self) -> BTreeMap<Key, Counts> {
        let mut sums: BTreeMap<Key, Counts> = BTreeMap::new();
        for m in self.messages.values() {
            let key = Key {
                tenant_id: m.tenant_id,
                month: m.created_at.month(),
                channel: m.channel,
                provider: m.connector.clone().unwrap_or_default(),
                purpose: m.purpose,
            };
            *sums.entry(key).or_default() += writes::counts(m);
        }
        for former in &self.former {
            let Some(m) = self.messages.get(&former.message_id) else { continue };
            let key = Key {
                tenant_id: m.tenant_id,
                month: m.created_at.month(),
                channel: former.channel,
                provider: former.connector.clone(),
                purpose: m.purpose,
            };
            *sums.entry(key).or_default() += writes::former_counts(former);
        }
        sums
    }

    /// What the counters by half hour should say.
    pub fn recount_slots(&self) -> BTreeMap<message_counters::Key, message_counters::Counts> {
        let mut sums = BTreeMap::new();
        self.messages.values().for_each(|m| count::change(&mut sums, None, m));
        for former in &self.former {
            let Some(m) = self.messages.get(&former.message_id) else { continue };
            count::former(&mut sums, m, former);
        }
        sums
    }

    /// The number of the wish a message came from: its metadata is `{"n":12}`, and this is read often.
    pub fn tag(m: &Message) -> Option<u32> {
        let digits = m.metadata.as_deref()?.chars().filter(char::is_ascii_digit);
        digits.collect::<String>().parse().ok()
    }

    /// A message in few words.
    pub fn name(&self, id: MessageId) -> String {
        let Some(m) = self.messages.get(&id) else { return id.to_string() };
        let tag = Self::tag(m).map_or_else(|| m.id.to_string(), |tag| format!("m{tag}"));
        format!("{tag} ({}, {})", m.status, m.guarantee)
    }

    /// A message's attempts in order.
    pub fn attempts_of(&self, id: MessageId) -> &[Attempt] {
        self.attempts.get(&id).map_or(&[], Vec::as_slice)
    }

    /// What was learned about a message.
    pub fn observed(&self, id: MessageId) -> &[Observation] {
        self.observations.get(&id).map_or(&[], Vec::as_slice)
    }
}

async fn read(tx: &mut Tx, tenants: &[TenantId], now: Timestamp) -> Result<Picture, Error> {
    let mut picture = Picture::default();
    for tenant in tenants {
        let rows = messages::list(tx, *tenant, &Filter::default(), None, now, MESSAGES_MAX).await?;
        picture.messages.extend(rows.into_iter().filter(|m| m.channel != Channel::Webhook).map(|m| (m.id, m)));
    }
    for row in tx.rows("SELECT message_id, tenant_id, account_id, class, due_at FROM deliveries", &[]).await? {
        let (id, due) = due(row)?;
        picture.due.entry(id).or_default().push(due);
    }
    for row in tx.rows("SELECT message_id, tenant_id, account_id, number, started_at FROM inflight", &[]).await? {
        let (id, flying) = flying(row)?;
        picture.flying.insert(id, flying);
    }
    let sql = "SELECT message_id, tenant_id, account_id, number, outcome, provider_message_id, started_at FROM attempts ORDER BY message_id, number";
    for row in tx.rows(sql, &[]).await? {
        let (id, attempt) = attempt(row)?;
        picture.attempts.entry(id).or_default().push(attempt);
    }
    for row in tx.rows("SELECT message_id, tenant_id, dedupe, kind, detail FROM observations", &[]).await? {
        let (id, observation) = observation(row)?;
        picture.observations.entry(id).or_default().push(observation);
    }
    for row in tx.rows("SELECT data FROM events WHERE type = 'message.accepted'", &[]).await? {
        if let Some(id) = told_of(row)? {
            *picture.accepted_events.entry(id).or_default() += 1;
        }
    }
    let sql = "SELECT account_id, paused_until FROM account_states WHERE paused_until IS NOT NULL";
    for mut row in tx.rows(sql, &[]).await? {
        picture.paused.insert(row.get(0)?, row.get(1)?);
    }
    for tenant in tenants {
        let (filter, newest) = (suppressions::Filter::default(), SuppressionId::from_ulid(u128::MAX));
        picture.suppressions.extend(suppressions::list(tx, *tenant, &filter, newest, MESSAGES_MAX).await?);
    }
    let moved: Vec<_> = picture.messages.values().map(|m| (m.tenant_id, m.id)).collect();
    picture.former = fallbacks::former(tx, &moved).await?;
    let months: BTreeSet<String> = picture.messages.values().map(|m| m.created_at.month()).collect();
    for month in months {
        picture.usage.extend(usage::of_month_of_all(tx, &month, MESSAGES_MAX).await?);
    }
    let (everything, split) = (message_counters::Filter::everything(), message_counters::Split::FULL);
    picture.slots.extend(message_counters::sums(tx, None, &everything, split, MESSAGES_MAX).await?);
    Ok(picture)
}

fn due(mut row: Row) -> Result<(MessageId, Due), Error> {
    let row = &mut row;
    Ok((row.get(0)?, Due { tenant: row.get(1)?, account: row.get(2)?, class: row.get(3)?, at: row.get(4)? }))
}

fn flying(mut row: Row) -> Result<(MessageId, Flying), Error> {
    let row = &mut row;
    let flying = Flying { tenant: row.get(1)?, account: row.get(2)?, number: row.get(3)?, started_at: row.get(4)? };
    Ok((row.get(0)?, flying))
}

fn attempt(mut row: Row) -> Result<(MessageId, Attempt), Error> {
    let row = &mut row;
    let attempt = Attempt {
        tenant: row.get(1)?,
        account: row.get(2)?,
        number: row.get(3)?,
        outcome: row.get(4)?,
        provider_id: row.get(5)?,
        started_at: row.get(6)?,
    };
    Ok((row.get(0)?, attempt))
}

fn observation(mut row: Row) -> Result<(MessageId, Observation), Error> {
    let row = &mut row;
    let detail: Option<String> = row.get(4)?;
    let observation =
        Observation { tenant: row.get(1)?, dedupe: row.get(2)?, kind: row.get(3)?, detail: detail.unwrap_or_default() };
    Ok((row.get(0)?, observation))
}

/// The message an event is about: the first id in its data, which is not read as JSON because it is read often.
fn told_of(mut row: Row) -> Result<Option<MessageId>, Error> {
    /// Characters of `msg_` and a ULID.
    const LEN: usize = 30;
    let data: String = row.get(0)?;
    Ok(data.find("msg_").and_then(|start| data.get(start..start + LEN)?.parse().ok()))
}
