//! Credit ledgers: balances, entries, and what each message was charged.

use std::{
    borrow::{Borrow, Cow},
    collections::BTreeMap,
};

use model::{MessageId, TenantId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{Dialect, Error, Given, Kind, Row, Tx, messages::Message, sql::Sql};

/// A row of `credit_ledgers`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ledger {
    /// Whose.
    pub tenant_id: TenantId,
    /// `none`, `prepaid` or `postpaid`.
    pub mode: String,
    /// ISO 4217 code; does not change once there are entries.
    pub currency: String,
    /// What can be spent.
    pub available: i64,
    /// What is set aside for messages that are under way.
    pub reserved: i64,
    /// What messages have cost.
    pub revenue: i64,
    /// What was bought.
    pub purchased: i64,
    /// What was given or taken by adjustments.
    pub adjusted: i64,
    /// Promotional credit that can be spent: the sum of what its grants have left.
    pub promo: i64,
    /// Promotional credit that was given and has not ended.
    pub granted: i64,
    /// What was used and not charged, because it is less than a millionth, in parts of a millionth: charged once it comes to one. Below zero where a message was to give back more than it paid.
    pub remainder: i64,
    /// Below this the tenant is told.
    pub low_at: Option<i64>,
    /// It was told, and has not been above since.
    pub is_low: bool,
    /// Below this a purchase is asked for.
    pub top_up_at: Option<i64>,
    /// Of how much.
    pub top_up_amount: Option<i64>,
    /// One was asked for, and credit has not been above since.
    pub is_topping_up: bool,
    /// How often one was asked for.
    pub top_ups: i64,
    /// Most that is bought by itself in 30 days.
    pub top_up_month_max: Option<i64>,
    /// The number of the last entry.
    pub entries: i64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When its mode last changed.
    pub updated_at: Timestamp,
}

impl Ledger {
    /// A ledger without anything in it.
    pub fn empty(tenant_id: TenantId, mode: &str, currency: &str, now: Timestamp) -> Self {
        Self {
            tenant_id,
            mode: mode.to_owned(),
            currency: currency.to_owned(),
            available: 0,
            reserved: 0,
            revenue: 0,
            purchased: 0,
            adjusted: 0,
            promo: 0,
            granted: 0,
            remainder: 0,
            low_at: None,
            is_low: false,
            top_up_at: None,
            top_up_amount: None,
            is_topping_up: false,
            top_ups: 0,
            top_up_month_max: None,
            entries: 0,
            created_at: now,
            updated_at: now,
        }
    }

    /// What there is before credit runs out: what was paid for and promotional credit; of those who pay ahead and are in debt, what they owe, as promotional credit cannot be spent then.
    pub fn left(&self) -> i64 {
        let promo = if self.mode == "prepaid" && self.available < 0 { 0 } else { self.promo };
        self.available.saturating_add(promo)
    }
}

/// A row of `credit_entries`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Whose.
    pub tenant_id: TenantId,
    /// Counts up from 1 without gaps.
    pub number: i64,
    /// Why, as a word.
    pub kind: Cow<'static, str>,
    /// The book it was taken from.
    pub from_book: Cow<'static, str>,
    /// The book it went to.
    pub to_book: Cow<'static, str>,
    /// How much; never negative.
    pub amount: i64,
    /// What could be spent after it.
    pub available: i64,
    /// What was set aside after it.
    pub reserved: i64,
    /// What promotional credit was there after it.
    pub promo: i64,
    /// Because of which message; of several, the first.
    pub message_id: Option<MessageId>,
    /// Of how many messages, when it is more than one: they were accepted together and set aside for together, or charged together.
    pub messages: Option<i64>,
    /// The operator's reference or reason.
    pub reference: Option<String>,
    /// Who made it, where it was somebody.
    pub actor: Option<String>,
    /// When what caused it happened.
    pub at: Timestamp,
}

/// What a message costs its tenant. It stands in the message's own row as long as it is only set aside, and once it was charged just that ([`Charge::is_kept`]); otherwise it is a row of
/// `message_charges`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Charge {
    /// Whose.
    #[serde(skip, default = "nobody")]
    pub tenant_id: TenantId,
    /// For which message.
    #[serde(skip, default = "no_message")]
    pub message_id: MessageId,
    /// The price list it was looked up in.
    pub list_version: i64,
    /// The fixed part of the price of one unit.
    pub unit: i64,
    /// What a unit is, as a number the engine gives: 0 for the message.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub per: i64,
    /// What the provider takes for a unit by the price list, when the list says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_unit: Option<i64>,
    /// What is put on the provider's cost, in hundredths of a percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub markup: Option<i64>,
    /// What kind of message it was priced as; empty for none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub category: String,
    /// Parts it is charged for; 0 when nobody counts any.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub units: i64,
    /// What the provider said it took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reported: Option<i64>,
    /// In which currency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reported_currency: Option<String>,
    /// What was set aside.
    pub quoted: i64,
    /// How much of what is set aside or charged for the way it goes now promotional credit pays.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub promo: i64,
    /// What it was charged for ways it left.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub charged_before: i64,
    /// What it was charged in all; until it is settled, what it was charged for ways it left.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub charged: i64,
    /// `reserved`, `settled` or `released`.
    #[serde(skip, default = "reserved")]
    pub state: Cow<'static, str>,
    /// It was set aside when its message was accepted, nothing became of it since, and no program runs any more that would not look for it in its message's row: it may stay there.
    #[serde(default, rename = "stays", skip_serializing_if = "std::ops::Not::not")]
    pub may_stay: bool,
}

const fn nobody() -> TenantId {
    TenantId::from_ulid(0)
}

const fn no_message() -> MessageId {
    MessageId::from_ulid(0)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
const fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// The state of a charge whose price is set aside: it stands in its message's row.
pub const RESERVED: &str = "reserved";
/// The state of a charge that was paid.
pub const SETTLED: &str = "settled";

const fn reserved() -> Cow<'static, str> {
    Cow::Borrowed(RESERVED)
}

impl Charge {
    /// A charge that has no price yet.
    pub fn new(tenant_id: TenantId, message_id: MessageId, state: &'static str) -> Self {
        Self {
            tenant_id,
            message_id,
            list_version: 0,
            unit: 0,
            per: 0,
            cost_unit: None,
            markup: None,
            category: String::new(),
            units: 0,
            reported: None,
            reported_currency: None,
            quoted: 0,
            promo: 0,
            charged_before: 0,
            charged: 0,
            state: Cow::Borrowed(state),
            may_stay: false,
        }
    }

    /// What a message's row says of its charge as long as its price is set aside: JSON without what is 0 or empty. `None` once it was charged or given back.
    pub fn to_aside(&self) -> Option<String> {
        (self.state == RESERVED).then(|| serde_json::to_string(self).expect("a charge has a JSON form"))
    }

    /// What is set aside for a message, as its row says.
    pub fn of_aside(tenant_id: TenantId, message_id: MessageId, aside: &str) -> Result<Self, Error> {
        let charge: Self = serde_json::from_str(aside).map_err(|error| {
            Error::Other(format!("cannot read what is set aside for {message_id}, or was charged: {error}"))
        })?;
        Ok(Self { tenant_id, message_id, ..charge })
    }

    /// True when its message's row goes on to say what was set aside for it, because it was charged all of that and nothing became of it before. What follows a provider's price, or was billed as a kind,
    /// is likely to be put right later and has a row of its own at once.
    pub fn is_kept(&self, aside: &Self) -> bool {
        let is_plain =
            aside.may_stay && aside.markup.is_none() && aside.reported.is_none() && aside.category.is_empty();
        is_plain && *self == aside.clone().paid()
    }

    /// What a message was charged whose own row says so: what was set aside for it.
    pub fn of_kept(tenant_id: TenantId, message_id: MessageId, charge: &str) -> Result<Self, Error> {
        Self::of_aside(tenant_id, message_id, charge).map(Self::paid)
    }

    fn paid(self) -> Self {
        Self { charged: self.quoted, state: Cow::Borrowed(SETTLED), may_stay: false, ..self }
    }

    /// What a message's own row says of its charge, when it says anything.
    pub fn of_row(m: &Message) -> Result<Option<Self>, Error> {
        match (&m.aside, &m.charge) {
            (Some(aside), _) => Self::of_aside(m.tenant_id, m.id, aside).map(Some),
            (None, Some(charge)) => Self::of_kept(m.tenant_id, m.id, charge).map(Some),
            (None, None) => Ok(None),
        }
    }
}

impl Charge {
    /// What was charged for a way a message left, as its row says: the same JSON.
    pub fn to_way(&self) -> String {
        serde_json::to_string(self).expect("a charge has a JSON form")
    }

    /// What was charged for a way a message left.
    pub fn of_way(tenant_id: TenantId, message_id: MessageId, way: &str) -> Result<Self, Error> {
        Ok(Self { state: Cow::Borrowed(SETTLED), ..Self::of_aside(tenant_id, message_id, way)? })
    }
}

/// A row of `credit_grants`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Whose.
    pub tenant_id: TenantId,
    /// The number of the entry that gave it.
    pub number: i64,
    /// How much was given.
    pub amount: i64,
    /// How much of it is left.
    pub rest: i64,
    /// When the rest ends.
    pub expires_at: Timestamp,
    /// Why it was given.
    pub reference: String,
    /// When it was given.
    pub created_at: Timestamp,
}

const LEDGER: &str = "tenant_id, mode, currency, available, reserved, revenue, purchased, adjusted, promo, granted, remainder, low_at, is_low, top_up_at, top_up_amount, \
                      is_topping_up, top_ups, top_up_month_max, entries, created_at, updated_at";

fn read_ledger(mut row: Row) -> Result<Ledger, Error> {
    Ok(Ledger {
        tenant_id: row.get(0)?,
        mode: row.get(1)?,
        currency: row.get(2)?,
        available: row.get(3)?,
        reserved: row.get(4)?,
        revenue: row.get(5)?,
        purchased: row.get(6)?,
        adjusted: row.get(7)?,
        promo: row.get(8)?,
        granted: row.get(9)?,
        remainder: row.get(10)?,
        low_at: row.get(11)?,
        is_low: row.get(12)?,
        top_up_at: row.get(13)?,
        top_up_amount: row.get(14)?,
        is_topping_up: row.get(15)?,
        top_ups: row.get(16)?,
        top_up_month_max: row.get(17)?,
        entries: row.get(18)?,
        created_at: row.get(19)?,
        updated_at: row.get(20)?,
    })
}

/// The tenant's ledger.
pub async fn find(tx: &mut Tx, tenant: TenantId) -> Result<Option<Ledger>, Error> {
    let sql = format!("SELECT {LEDGER} FROM credit_ledgers WHERE tenant_id = $1");
    tx.row(&sql, &[&tenant]).await?.map(read_ledger).transpose()
}

/// The tenant's ledger, which nobody else moves money in until this transaction ends. Whoever locks several does so in the order of their tenants.
pub async fn lock(tx: &mut Tx, tenant: TenantId) -> Result<Option<Ledger>, Error> {
    let sql = format!("SELECT {LEDGER} FROM credit_ledgers WHERE tenant_id = $1 {}", tx.dialect().for_update());
    tx.row(&sql, &[&tenant]).await?.map(read_ledger).transpose()
}

/// Writes a ledger, new or changed. The caller holds its lock, or makes it.
pub async fn put(tx: &mut Tx, tenant: TenantId, ledger: &Ledger) -> Result<(), Error> {
    let mut given = Given::new(&[
        ("tenant_id", Kind::Id),
        ("mode", Kind::Text),
        ("currency", Kind::Text),
        ("available", Kind::Int),
        ("reserved", Kind::Int),
        ("revenue", Kind::Int),
        ("purchased", Kind::Int),
        ("adjusted", Kind::Int),
        ("promo", Kind::Int),
        ("granted", Kind::Int),
        ("remainder", Kind::Int),
        ("low_at", Kind::Int),
        ("is_low", Kind::Bool),
        ("top_up_at", Kind::Int),
        ("top_up_amount", Kind::Int),
        ("is_topping_up", Kind::Bool),
        ("top_ups", Kind::Int),
        ("top_up_month_max", Kind::Int),
        ("entries", Kind::Int),
        ("created_at", Kind::Time),
        ("updated_at", Kind::Time),
    ]);
    let l = ledger;
    given.row([
        &tenant,
        &l.mode,
        &l.currency,
        &l.available,
        &l.reserved,
        &l.revenue,
        &l.purchased,
        &l.adjusted,
        &l.promo,
        &l.granted,
        &l.remainder,
        &l.low_at,
        &l.is_low,
        &l.top_up_at,
        &l.top_up_amount,
        &l.is_topping_up,
        &l.top_ups,
        &l.top_up_month_max,
        &l.entries,
        &l.created_at,
        &l.updated_at,
    ]);
    let suffix = "ON CONFLICT (tenant_id) DO UPDATE SET mode = excluded.mode, currency = excluded.currency, available = excluded.available, reserved = excluded.reserved, \
         revenue = excluded.revenue, purchased = excluded.purchased, adjusted = excluded.adjusted, promo = excluded.promo, granted = excluded.granted, \
         remainder = excluded.remainder, low_at = excluded.low_at, is_low = excluded.is_low, top_up_at = excluded.top_up_at, top_up_amount = excluded.top_up_amount, \
         is_topping_up = excluded.is_topping_up, top_ups = excluded.top_ups, top_up_month_max = excluded.top_up_month_max, entries = excluded.entries, updated_at = excluded.updated_at";
    // Others wait for the ledger meanwhile, so nobody waits for an answer to this.
    tx.insert_many_later("credit_ledgers", &given, suffix).await
}

/// Adds entries; their tenants are their own.
pub async fn insert_entries(tx: &mut Tx, entries: &[Entry]) -> Result<(), Error> {
    let mut given = Given::new(&[
        ("tenant_id", Kind::Id),
        ("number", Kind::Int),
        ("kind", Kind::Text),
        ("from_book", Kind::Text),
        ("to_book", Kind::Text),
        ("amount", Kind::Int),
        ("available", Kind::Int),
        ("reserved", Kind::Int),
        ("promo", Kind::Int),
        ("message_id", Kind::Id),
        ("messages", Kind::Int),
        ("reference", Kind::Text),
        ("actor", Kind::Text),
        ("at", Kind::Time),
    ]);
    for e in entries {
        given.row([
            &e.tenant_id,
            &e.number,
            &e.kind,
            &e.from_book,
            &e.to_book,
            &e.amount,
            &e.available,
            &e.reserved,
            &e.promo,
            &e.message_id,
            &e.messages,
            &e.reference,
            &e.actor,
            &e.at,
        ]);
    }
    tx.insert_many_later("credit_entries", &given, "").await
}

/// Entries before `before`, newest first.
pub async fn entries(tx: &mut Tx, tenant: TenantId, before: i64, limit: i64) -> Result<Vec<Entry>, Error> {
    let sql = format!(
        "SELECT {ENTRY} FROM credit_entries WHERE tenant_id = $1 AND number < $2 ORDER BY number DESC LIMIT $3"
    );
    tx.rows(&sql, &[&tenant, &before, &limit]).await?.into_iter().map(read_entry).collect()
}

/// Entries that happened at or after `since` and before `until`, from those numbered `from` and before `before`, newest first.
pub async fn entries_between(
    tx: &mut Tx,
    tenant: TenantId,
    (from, before): (i64, i64),
    (since, until): (Option<Timestamp>, Option<Timestamp>),
    limit: i64,
) -> Result<Vec<Entry>, Error> {
    let mut sql = Sql::default();
    sql.push(" FROM credit_entries WHERE tenant_id = ")
        .bind(tenant)
        .push(" AND number >= ")
        .bind(from)
        .push(" AND number < ")
        .bind(before);
    if let Some(since) = since {
        sql.push(" AND at >= ").bind(since);
    }
    if let Some(until) = until {
        sql.push(" AND at < ").bind(until);
    }
    sql.push(" ORDER BY number DESC LIMIT ").bind(limit);
    sql.rows(tx, &format!("SELECT {ENTRY}")).await?.into_iter().map(read_entry).collect()
}

pub(crate) const ENTRY: &str = "tenant_id, number, kind, from_book, to_book, amount, available, reserved, promo, message_id, messages, reference, actor, at";

pub(crate) fn read_entry(mut row: Row) -> Result<Entry, Error> {
    Ok(Entry {
        tenant_id: row.get(0)?,
        number: row.get(1)?,
        kind: Cow::Owned(row.get(2)?),
        from_book: Cow::Owned(row.get(3)?),
        to_book: Cow::Owned(row.get(4)?),
        amount: row.get(5)?,
        available: row.get(6)?,
        reserved: row.get(7)?,
        promo: row.get(8)?,
        message_id: row.get(9)?,
        messages: row.get(10)?,
        reference: row.get(11)?,
        actor: row.get(12)?,
        at: row.get(13)?,
    })
}

const CHARGE: &str = "tenant_id, message_id, list_version, unit, per, cost_unit, markup, category, units, reported, reported_currency, quoted, promo, charged_before, charged, state";

/// Writes what messages were charged or given back, new or changed; their tenants are their own.
pub async fn put_charges<'a>(tx: &mut Tx, charges: impl IntoIterator<Item = &'a Charge>) -> Result<(), Error> {
    let anew = "ON CONFLICT (tenant_id, message_id) DO UPDATE SET list_version = excluded.list_version, unit = excluded.unit, is_per_segment = excluded.is_per_segment, \
                per = excluded.per, cost_unit = excluded.cost_unit, markup = excluded.markup, category = excluded.category, units = excluded.units, reported = excluded.reported, \
                reported_currency = excluded.reported_currency, quoted = excluded.quoted, promo = excluded.promo, charged_before = excluded.charged_before, \
                charged = excluded.charged, state = excluded.state";
    write_charges(tx, charges, anew).await
}

/// Writes what messages were charged or given back of which there is no row yet, for two thirds of what it costs PostgreSQL to see about that.
pub async fn insert_charges<'a>(tx: &mut Tx, charges: impl IntoIterator<Item = &'a Charge>) -> Result<(), Error> {
    write_charges(tx, charges, "").await
}

async fn write_charges<'a>(
    tx: &mut Tx,
    charges: impl IntoIterator<Item = &'a Charge>,
    suffix: &str,
) -> Result<(), Error> {
    let mut given = Given::new(&[
        ("tenant_id", Kind::Id),
        ("message_id", Kind::Id),
        ("list_version", Kind::Int),
        ("unit", Kind::Int),
        ("is_per_segment", Kind::Bool),
        ("per", Kind::Int),
        ("cost_unit", Kind::Int),
        ("markup", Kind::Int),
        ("category", Kind::Text),
        ("units", Kind::Int),
        ("reported", Kind::Int),
        ("reported_currency", Kind::Text),
        ("quoted", Kind::Int),
        ("promo", Kind::Int),
        ("charged_before", Kind::Int),
        ("charged", Kind::Int),
        ("state", Kind::Text),
    ]);
    for c in charges {
        given.row([
            &c.tenant_id,
            &c.message_id,
            &c.list_version,
            &c.unit,
            // What programs before `per` read.
            if c.per == PER_SEGMENT { &true } else { &false },
            &c.per,
            &c.cost_unit,
            &c.markup,
            &c.category,
            &c.units,
            &c.reported,
            &c.reported_currency,
            &c.quoted,
            &c.promo,
            &c.charged_before,
            &c.charged,
            &c.state,
        ]);
    }
    tx.insert_many_later("message_charges", &given, suffix).await
}

/// What `per` says of a charge for each segment.
pub const PER_SEGMENT: i64 = 1;

/// The states of a charge, so that reading many makes no text of each.
const STATES: [&str; 2] = ["settled", "released"];

fn state(word: String) -> Cow<'static, str> {
    STATES.into_iter().find(|state| *state == word).map_or(Cow::Owned(word), Cow::Borrowed)
}

/// What messages were charged or given back whose rows do not say it themselves, in no particular order. See [`of_messages`] for all.
pub async fn charges(tx: &mut Tx, keys: &[(TenantId, MessageId)]) -> Result<Vec<Charge>, Error> {
    let mut given = Given::new(&[("tenant_id", Kind::Id), ("message_id", Kind::Id)]);
    for (tenant, message) in keys {
        given.row([tenant, message]);
    }
    let read = |mut row: Row| {
        Ok(Charge {
            tenant_id: row.get(0)?,
            message_id: row.get(1)?,
            list_version: row.get(2)?,
            unit: row.get(3)?,
            per: row.get(4)?,
            cost_unit: row.get(5)?,
            markup: row.get(6)?,
            category: row.get(7)?,
            units: row.get(8)?,
            reported: row.get(9)?,
            reported_currency: row.get(10)?,
            quoted: row.get(11)?,
            promo: row.get(12)?,
            charged_before: row.get(13)?,
            charged: row.get(14)?,
            state: state(row.get(15)?),
            may_stay: false,
        })
    };
    tx.match_many(&format!("SELECT {CHARGE} FROM message_charges"), &given, "").await?.into_iter().map(read).collect()
}

/// What messages cost, of those that were ever to cost anything: set aside, charged or given back.
pub async fn of_messages<M: Borrow<Message> + Sync>(
    tx: &mut Tx,
    messages: &[M],
) -> Result<BTreeMap<MessageId, Charge>, Error> {
    let (mut all, mut others) = (BTreeMap::new(), Vec::new());
    for m in messages.iter().map(Borrow::borrow) {
        match Charge::of_row(m)? {
            Some(charge) => drop(all.insert(m.id, charge)),
            None => others.push((m.tenant_id, m.id)),
        }
    }
    all.extend(charges(tx, &others).await?.into_iter().map(|charge| (charge.message_id, charge)));
    Ok(all)
}

const GRANT: &str = "tenant_id, number, amount, rest, expires_at, reference, created_at";

fn read_grant(mut row: Row) -> Result<Grant, Error> {
    Ok(Grant {
        tenant_id: row.get(0)?,
        number: row.get(1)?,
        amount: row.get(2)?,
        rest: row.get(3)?,
        expires_at: row.get(4)?,
        reference: row.get(5)?,
        created_at: row.get(6)?,
    })
}

/// A tenant's grants of promotional credit that have something left, and the newest `limit` besides; those that end first first.
pub async fn grants(tx: &mut Tx, tenant: TenantId, limit: i64) -> Result<Vec<Grant>, Error> {
    let sql = format!(
        "SELECT {GRANT} FROM credit_grants WHERE tenant_id = $1 AND rest > 0 UNION SELECT {GRANT} FROM (SELECT {GRANT} FROM credit_grants WHERE tenant_id = $1 \
         ORDER BY number DESC LIMIT $2) AS newest ORDER BY expires_at, number"
    );
    tx.rows(&sql, &[&tenant, &limit]).await?.into_iter().map(read_grant).collect()
}

/// What all of a tenant's grants have left together.
pub async fn grants_left(tx: &mut Tx, tenant: TenantId) -> Result<i64, Error> {
    let sql = "SELECT CAST(COALESCE(SUM(rest), 0) AS BIGINT) FROM credit_grants WHERE tenant_id = $1";
    tx.row(sql, &[&tenant]).await?.map_or(Ok(0), |mut row| row.get(0))
}

/// Grants before `before`, newest first.
pub async fn grants_before(tx: &mut Tx, tenant: TenantId, before: i64, limit: i64) -> Result<Vec<Grant>, Error> {
    let sql =
        format!("SELECT {GRANT} FROM credit_grants WHERE tenant_id = $1 AND number < $2 ORDER BY number DESC LIMIT $3");
    tx.rows(&sql, &[&tenant, &before, &limit]).await?.into_iter().map(read_grant).collect()
}

/// Writes grants, new or changed; their tenants are their own, and the caller holds their ledgers.
pub async fn put_grants(tx: &mut Tx, grants: &[Grant]) -> Result<(), Error> {
    let mut given = Given::new(&[
        ("tenant_id", Kind::Id),
        ("number", Kind::Int),
        ("amount", Kind::Int),
        ("rest", Kind::Int),
        ("expires_at", Kind::Time),
        ("reference", Kind::Text),
        ("created_at", Kind::Time),
    ]);
    if grants.is_empty() {
        return Ok(());
    }
    for g in grants {
        given.row([&g.tenant_id, &g.number, &g.amount, &g.rest, &g.expires_at, &g.reference, &g.created_at]);
    }
    tx.insert_many("credit_grants", &given, "ON CONFLICT (tenant_id, number) DO UPDATE SET rest = excluded.rest")
        .await
        .map(drop)
}

/// Tenants with promotional credit that has ended, in their order. Across tenants: for the job that takes it back.
pub async fn with_ended_grants(tx: &mut Tx, now: Timestamp, limit: i64) -> Result<Vec<TenantId>, Error> {
    let sql =
        "SELECT DISTINCT tenant_id FROM credit_grants WHERE rest > 0 AND expires_at <= $1 ORDER BY tenant_id LIMIT $2";
    tx.rows(sql, &[&now, &limit]).await?.into_iter().map(|mut row| row.get(0)).collect()
}

/// Tenants whose credit has crossed one of their marks, up or down, and was not noticed yet. Across tenants: for the job that tells them.
pub async fn across_marks(tx: &mut Tx, limit: i64) -> Result<Vec<TenantId>, Error> {
    // As `Ledger::left`.
    let left = "available + CASE WHEN mode = 'prepaid' AND available < 0 THEN 0 ELSE promo END";
    let sql = format!(
        "SELECT tenant_id FROM credit_ledgers WHERE mode <> 'none' AND ((low_at IS NOT NULL AND is_low <> ({left} < low_at)) \
         OR (top_up_at IS NOT NULL AND is_topping_up <> ({left} < top_up_at))) ORDER BY tenant_id LIMIT $1"
    );
    tx.rows(&sql, &[&limit]).await?.into_iter().map(|mut row| row.get(0)).collect()
}

/// How much promotional credit is set aside for messages under way. Looks at charges only where there is some of both.
pub async fn promo_aside(tx: &mut Tx, tenant: TenantId) -> Result<i64, Error> {
    let sql = "SELECT CAST(COALESCE(SUM(COALESCE(CAST(m.aside ->> 'promo' AS BIGINT), 0)), 0) AS BIGINT) FROM messages m JOIN credit_ledgers l ON l.tenant_id = m.tenant_id
        WHERE m.tenant_id = $1 AND m.aside IS NOT NULL AND l.reserved <> 0 AND l.granted <> 0";
    tx.row(sql, &[&tenant]).await?.map_or(Ok(0), |mut row| row.get(0))
}

/// What is charged, as a table for statements: the rows of `message_charges` and what messages' own rows say, with those columns of the former that are asked for.
pub(crate) fn charged(dialect: Dialect) -> String {
    let charge = match dialect {
        Dialect::Sqlite => "charge",
        Dialect::Postgres => "charge::JSON",
    };
    let given = |name: &str| format!("CAST({charge} ->> '{name}' AS BIGINT)");
    let number = |name: &str| format!("COALESCE({}, 0)", given(name));
    let (unit, per, units) = (number("unit"), number("per"), number("units"));
    let (cost_unit, quoted, promo) = (given("cost_unit"), number("quoted"), number("promo"));
    // With every type the same PostgreSQL leaves out what is not asked for.
    format!(
        "(SELECT tenant_id, message_id, unit, per, cost_unit, markup, units, reported, reported_currency, quoted, promo, charged_before, charged, state FROM message_charges
        UNION ALL SELECT tenant_id, id, {unit}, {per}, {cost_unit}, NULL, {units}, NULL, NULL, {quoted}, {promo}, CAST(0 AS BIGINT), {quoted}, 'settled' FROM messages WHERE charge IS NOT NULL)"
    )
}

/// What a tenant's charges come to: set aside, and charged.
pub async fn sums(tx: &mut Tx, tenant: TenantId) -> Result<(i64, i64), Error> {
    let sql = format!(
        "SELECT (SELECT CAST(COALESCE(SUM(CAST(aside ->> 'quoted' AS BIGINT)), 0) AS BIGINT) FROM messages WHERE tenant_id = $1 AND aside IS NOT NULL),
        (SELECT CAST(COALESCE(SUM(charged), 0) AS BIGINT) FROM {} AS c WHERE tenant_id = $1)",
        charged(tx.dialect())
    );
    let Some(mut row) = tx.row(&sql, &[&tenant]).await? else { return Ok((0, 0)) };
    Ok((row.get(0)?, row.get(1)?))
}
