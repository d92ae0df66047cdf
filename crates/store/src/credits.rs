//! Credit ledgers: balances, entries, and what each message was charged.

use model::{MessageId, TenantId, Timestamp};

use crate::{Error, Given, Kind, Row, Tx};

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
    /// The number of the last entry.
    pub entries: i64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When its mode last changed.
    pub updated_at: Timestamp,
}

/// A row of `credit_entries`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Whose.
    pub tenant_id: TenantId,
    /// Counts up from 1 without gaps.
    pub number: i64,
    /// Why, as a word.
    pub kind: String,
    /// The book it was taken from.
    pub from_book: String,
    /// The book it went to.
    pub to_book: String,
    /// How much; never negative.
    pub amount: i64,
    /// What could be spent after it.
    pub available: i64,
    /// What was set aside after it.
    pub reserved: i64,
    /// Because of which message.
    pub message_id: Option<MessageId>,
    /// The operator's reference or reason.
    pub reference: Option<String>,
    /// Who made it, where it was somebody.
    pub actor: Option<String>,
    /// When what caused it happened.
    pub at: Timestamp,
}

/// A row of `message_charges`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Charge {
    /// Whose.
    pub tenant_id: TenantId,
    /// For which message.
    pub message_id: MessageId,
    /// The price list it was looked up in.
    pub list_version: i64,
    /// Price of one unit.
    pub unit: i64,
    /// True when the unit is a segment rather than the message.
    pub is_per_segment: bool,
    /// What was set aside at first.
    pub quoted: i64,
    /// What it cost in the end; 0 until it is settled.
    pub charged: i64,
    /// `reserved`, `settled` or `released`.
    pub state: String,
}

const LEDGER: &str =
    "tenant_id, mode, currency, available, reserved, revenue, purchased, adjusted, entries, created_at, updated_at";

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
        entries: row.get(8)?,
        created_at: row.get(9)?,
        updated_at: row.get(10)?,
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
    let l = ledger;
    let sql = format!(
        "INSERT INTO credit_ledgers ({LEDGER}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT (tenant_id) DO UPDATE SET mode = excluded.mode, \
         currency = excluded.currency, available = excluded.available, reserved = excluded.reserved, revenue = excluded.revenue, purchased = excluded.purchased, \
         adjusted = excluded.adjusted, entries = excluded.entries, updated_at = excluded.updated_at"
    );
    let params: [&dyn crate::Param; 11] = [
        &tenant,
        &l.mode,
        &l.currency,
        &l.available,
        &l.reserved,
        &l.revenue,
        &l.purchased,
        &l.adjusted,
        &l.entries,
        &l.created_at,
        &l.updated_at,
    ];
    tx.execute(&sql, &params).await.map(drop)
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
        ("message_id", Kind::Id),
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
            &e.message_id,
            &e.reference,
            &e.actor,
            &e.at,
        ]);
    }
    tx.insert_many("credit_entries", &given, "").await.map(drop)
}

/// Entries before `before`, newest first.
pub async fn entries(tx: &mut Tx, tenant: TenantId, before: i64, limit: i64) -> Result<Vec<Entry>, Error> {
    let sql = "SELECT tenant_id, number, kind, from_book, to_book, amount, available, reserved, message_id, reference, actor, at \
               FROM credit_entries WHERE tenant_id = $1 AND number < $2 ORDER BY number DESC LIMIT $3";
    let read = |mut row: Row| {
        Ok(Entry {
            tenant_id: row.get(0)?,
            number: row.get(1)?,
            kind: row.get(2)?,
            from_book: row.get(3)?,
            to_book: row.get(4)?,
            amount: row.get(5)?,
            available: row.get(6)?,
            reserved: row.get(7)?,
            message_id: row.get(8)?,
            reference: row.get(9)?,
            actor: row.get(10)?,
            at: row.get(11)?,
        })
    };
    tx.rows(sql, &[&tenant, &before, &limit]).await?.into_iter().map(read).collect()
}

/// Writes charges, new or changed; their tenants are their own.
pub async fn put_charges(tx: &mut Tx, charges: &[Charge]) -> Result<(), Error> {
    let mut given = Given::new(&[
        ("tenant_id", Kind::Id),
        ("message_id", Kind::Id),
        ("list_version", Kind::Int),
        ("unit", Kind::Int),
        ("is_per_segment", Kind::Bool),
        ("quoted", Kind::Int),
        ("charged", Kind::Int),
        ("state", Kind::Text),
    ]);
    for c in charges {
        given.row([
            &c.tenant_id,
            &c.message_id,
            &c.list_version,
            &c.unit,
            &c.is_per_segment,
            &c.quoted,
            &c.charged,
            &c.state,
        ]);
    }
    let suffix = "ON CONFLICT (tenant_id, message_id) DO UPDATE SET charged = excluded.charged, state = excluded.state";
    tx.insert_many_later("message_charges", &given, suffix).await
}

/// The charges of messages, of those that were ever to cost anything, in no particular order.
pub async fn charges(tx: &mut Tx, keys: &[(TenantId, MessageId)]) -> Result<Vec<Charge>, Error> {
    let mut given = Given::new(&[("tenant_id", Kind::Id), ("message_id", Kind::Id)]);
    for (tenant, message) in keys {
        given.row([tenant, message]);
    }
    let sql =
        "SELECT tenant_id, message_id, list_version, unit, is_per_segment, quoted, charged, state FROM message_charges";
    let read = |mut row: Row| {
        Ok(Charge {
            tenant_id: row.get(0)?,
            message_id: row.get(1)?,
            list_version: row.get(2)?,
            unit: row.get(3)?,
            is_per_segment: row.get(4)?,
            quoted: row.get(5)?,
            charged: row.get(6)?,
            state: row.get(7)?,
        })
    };
    tx.match_many(sql, &given, "").await?.into_iter().map(read).collect()
}

/// What a tenant's charges come to: set aside, and charged.
pub async fn sums(tx: &mut Tx, tenant: TenantId) -> Result<(i64, i64), Error> {
    let sql = "SELECT CAST(COALESCE(SUM(CASE WHEN state = 'reserved' THEN quoted ELSE 0 END), 0) AS BIGINT), \
               CAST(COALESCE(SUM(charged), 0) AS BIGINT) FROM message_charges WHERE tenant_id = $1";
    let Some(mut row) = tx.row(sql, &[&tenant]).await? else { return Ok((0, 0)) };
    Ok((row.get(0)?, row.get(1)?))
}
