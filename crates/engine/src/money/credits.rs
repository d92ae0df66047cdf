//! A tenant's credit: what it has, where it went, and what the operator does with it.

use std::sync::Arc;

use model::{Money, TenantId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;
use store::{
    Scope, Tx,
    credits::{self as rows, Entry, Ledger},
    tenants,
};
use utoipa::ToSchema;

use super::{
    BillingMode,
    ledger::{self, Book, Cause, Open},
};
use crate::{
    Error, Parts, audit,
    csv::Csv,
    keys::Caller,
    names::Faults,
    once::{Repeat, Reply, Secrecy, once},
    page::{Page, Window},
};

/// Most that is moved at once, in millionths: a billion of any currency's unit, so that sums of many stay far from the end of the numbers.
const AMOUNT_MAX: i64 = 1_000_000_000_000_000;
/// Longest reference or reason, in characters.
const REFERENCE_MAX: usize = 200;
/// Entries of a CSV statement: the newest, some 10 MB of text.
const STATEMENT_MAX: i64 = 50_000;

/// A tenant's credit.
#[derive(Debug, Serialize, ToSchema)]
pub struct Credits {
    /// How the tenant pays.
    pub mode: BillingMode,
    /// What can be spent.
    #[schema(value_type = Object)]
    pub available: Money,
    /// What is set aside for messages under way.
    #[schema(value_type = Object)]
    pub reserved: Money,
    /// What messages have cost so far.
    #[schema(value_type = Object)]
    pub spent: Money,
    /// What was bought so far.
    #[schema(value_type = Object)]
    pub purchased: Money,
    /// The sum of all adjustments.
    #[schema(value_type = Object)]
    pub adjusted: Money,
    /// Movements so far; `/v1/credits/entries` lists them.
    pub entries: i64,
    /// What a recount of the messages' charges and of the books finds wrong; empty when everything adds up.
    pub differences: Vec<String>,
}

/// A movement of credit.
#[derive(Debug, Serialize, ToSchema)]
pub struct CreditEntry {
    /// Counts up from 1 without gaps.
    #[schema(example = 1)]
    pub number: i64,
    /// `purchase`, `adjustment`, `reserve`, `settle` or `release`.
    #[schema(example = "purchase")]
    pub kind: String,
    /// The book it was taken from: `available`, `reserved`, `revenue`, `purchased` or `adjusted`.
    #[schema(example = "purchased")]
    pub from: String,
    /// The book it went to.
    #[schema(example = "available")]
    pub to: String,
    /// How much.
    #[schema(value_type = Object)]
    pub amount: Money,
    /// What could be spent after it, in millionths.
    pub available_after_micros: i64,
    /// What was set aside after it, in millionths.
    pub reserved_after_micros: i64,
    /// Because of which message.
    pub message_id: Option<String>,
    /// The operator's reference or reason.
    pub reference: Option<String>,
    /// When what caused it happened.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
}

/// Changes of how a tenant pays.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreditsPatch {
    /// `none`, `prepaid` or `postpaid`. Counts for messages accepted from now on.
    pub mode: BillingMode,
}

/// Credit that was bought, recorded by the operator.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPurchase {
    /// How much, in millionths of the ledger's currency.
    #[schema(example = 50_000_000)]
    pub amount_micros: i64,
    /// The payment's reference.
    #[schema(example = "bank transfer 2026-11-28")]
    pub reference: String,
}

/// A correction by the operator.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewAdjustment {
    /// How much is given, or taken when below zero, in millionths of the ledger's currency.
    #[schema(example = -2_500_000)]
    pub amount_micros: i64,
    /// Why.
    #[schema(example = "goodwill for the outage of 12 November")]
    pub reason: String,
}

fn view(l: &Ledger, (reserved, charged): (i64, i64)) -> Credits {
    let money = |amount_micros| Money { amount_micros, currency: l.currency.clone() };
    let mut differences = Vec::new();
    if !ledger::balances(l) {
        differences.push("available, reserved and spent do not add up to what was purchased and adjusted".to_owned());
    }
    if reserved != l.reserved {
        differences
            .push(format!("the messages under way come to {reserved} micros, the ledger has set aside {}", l.reserved));
    }
    if charged != l.revenue {
        differences.push(format!("the messages sent come to {charged} micros, the ledger has charged {}", l.revenue));
    }
    Credits {
        mode: BillingMode::from_stored(&l.mode),
        available: money(l.available),
        reserved: money(l.reserved),
        spent: money(l.revenue),
        purchased: money(l.purchased),
        adjusted: money(l.adjusted),
        entries: l.entries,
        differences,
    }
}

fn entry_view(e: Entry, currency: &str) -> CreditEntry {
    CreditEntry {
        number: e.number,
        kind: e.kind,
        from: e.from_book,
        to: e.to_book,
        amount: Money { amount_micros: e.amount, currency: currency.to_owned() },
        available_after_micros: e.available,
        reserved_after_micros: e.reserved,
        message_id: e.message_id.map(|id| id.to_string()),
        reference: e.reference,
        at: e.at,
    }
}

/// The ledger to be written, or as it begins. Two that begin one at the same time wait for each other at the configuration's version.
async fn ledger_to_write(tx: &mut Tx, tenant: TenantId, now: Timestamp) -> Result<Ledger, Error> {
    if let Some(ledger) = rows::lock(tx, tenant).await? {
        return Ok(ledger);
    }
    tenants::bump(tx, None).await?;
    match rows::lock(tx, tenant).await? {
        Some(ledger) => Ok(ledger),
        None => begin(tx, tenant, now).await,
    }
}

/// A ledger in the tenant's currency, without anything in it.
async fn begin(tx: &mut Tx, tenant: TenantId, now: Timestamp) -> Result<Ledger, Error> {
    let row = tenants::find(tx, tenant).await?.ok_or_else(|| Error::not_found("tenant"))?;
    Ok(Ledger {
        tenant_id: tenant,
        mode: BillingMode::None.as_str().to_owned(),
        currency: row.currency,
        available: 0,
        reserved: 0,
        revenue: 0,
        purchased: 0,
        adjusted: 0,
        entries: 0,
        created_at: now,
        updated_at: now,
    })
}

/// Shows a tenant's credit, recounted. Needs the scope `credits:read`.
pub async fn get(parts: &Parts, caller: &Caller) -> Result<Credits, Error> {
    caller.need("credits:read")?;
    recounted(parts, caller.need_tenant()?).await
}

/// How a tenant pays and what it can spend, without a recount: for a page that only shows it. Needs the scope `credits:read`.
pub async fn balance(parts: &Parts, caller: &Caller) -> Result<(BillingMode, Money), Error> {
    caller.need("credits:read")?;
    let (tenant, now) = (caller.need_tenant()?, parts.ports.clock.now());
    let read = parts.ports.db.read(Scope::Tenant(tenant), move |tx| {
        Box::pin(async move {
            let ledger = match rows::find(tx, tenant).await? {
                Some(ledger) => ledger,
                None => begin(tx, tenant, now).await?,
            };
            let available = Money { amount_micros: ledger.available, currency: ledger.currency };
            Ok::<_, Error>((BillingMode::from_stored(&ledger.mode), available))
        })
    });
    read.await
}

async fn recounted(parts: &Parts, tenant: TenantId) -> Result<Credits, Error> {
    let now = parts.ports.clock.now();
    // A transaction that reads sees one moment: the balances and the recount fit each other, and nobody waits for it.
    let read = parts.ports.db.read(Scope::Tenant(tenant), move |tx| {
        Box::pin(async move {
            let ledger = match rows::find(tx, tenant).await? {
                Some(ledger) => ledger,
                None => begin(tx, tenant, now).await?,
            };
            Ok::<_, Error>(view(&ledger, rows::sums(tx, tenant).await?))
        })
    });
    read.await
}

/// Changes how a tenant pays. Needs an operator with the scope `credits:write`.
pub async fn patch(parts: &Parts, caller: &Caller, change: CreditsPatch) -> Result<Credits, Error> {
    caller.need_operator("credits:write")?;
    let (tenant, now) = (caller.need_tenant()?, parts.ports.clock.now());
    let (ids, by) = (Arc::clone(&parts.ports.ids), caller.clone());
    let write = parts.ports.db.write(Scope::Tenant(tenant), move |tx| {
        Box::pin(async move {
            tenants::bump(tx, Some(tenant)).await?;
            let before = ledger_to_write(tx, tenant, now).await?;
            let after = Ledger { mode: change.mode.as_str().to_owned(), updated_at: now, ..before.clone() };
            rows::put(tx, tenant, &after).await?;
            let detail = json!({ "mode": [before.mode, after.mode] });
            audit::record(tx, tenant, &ids, now, &by, "credits.updated", tenant, &detail).await
        })
    });
    write.await?;
    parts.directory.catch_up().await;
    recounted(parts, tenant).await
}

/// Lists movements, newest first. Needs the scope `credits:read`.
pub async fn entries(
    parts: &Parts,
    caller: &Caller,
    limit: Option<u32>,
    cursor: Option<&str>,
) -> Result<Page<CreditEntry>, Error> {
    caller.need("credits:read")?;
    let window = Window::read("credit-entries", limit, cursor)?;
    let before = i64::try_from(window.before).unwrap_or(i64::MAX);
    let (currency, found) = read_entries(parts, caller.need_tenant()?, before, window.rows()).await?;
    Ok(window.page(found, |entry| u128::from(entry.number.unsigned_abs()), |entry| entry_view(entry, &currency)))
}

/// The newest movements as a CSV table. Needs the scope `credits:read`.
pub async fn statement(parts: &Parts, caller: &Caller) -> Result<Vec<u8>, Error> {
    caller.need("credits:read")?;
    let (currency, found) = read_entries(parts, caller.need_tenant()?, i64::MAX, STATEMENT_MAX).await?;
    let names = [
        "number",
        "at",
        "kind",
        "from",
        "to",
        "amount_micros",
        "currency",
        "available_after_micros",
        "reserved_after_micros",
        "message_id",
        "reference",
    ];
    let mut csv = Csv::with_header(&names);
    for e in found {
        let e = entry_view(e, &currency);
        let cells = [
            e.number.to_string(),
            e.at.to_string(),
            e.kind,
            e.from,
            e.to,
            e.amount.amount_micros.to_string(),
            e.amount.currency,
            e.available_after_micros.to_string(),
            e.reserved_after_micros.to_string(),
            e.message_id.unwrap_or_default(),
            e.reference.unwrap_or_default(),
        ];
        csv.row(cells.iter().map(String::as_str));
    }
    Ok(csv.into_bytes())
}

async fn read_entries(parts: &Parts, tenant: TenantId, before: i64, limit: i64) -> Result<(String, Vec<Entry>), Error> {
    let read = parts.ports.db.read(Scope::Tenant(tenant), move |tx| {
        Box::pin(async move {
            let currency = rows::find(tx, tenant).await?.map(|ledger| ledger.currency).unwrap_or_default();
            Ok::<_, Error>((currency, rows::entries(tx, tenant, before, limit).await?))
        })
    });
    read.await
}

/// Records credit that was bought. Needs an operator with the scope `credits:write`.
pub async fn purchase(parts: &Parts, caller: &Caller, repeat: &Repeat, new: NewPurchase) -> Result<Reply, Error> {
    caller.need_operator("credits:write")?;
    let mut faults = Faults::default();
    if !(1..=AMOUNT_MAX).contains(&new.amount_micros) {
        faults.add("/amount_micros", format!("1 to {AMOUNT_MAX} millionths of the currency's unit"));
    }
    check_text("/reference", &new.reference, &mut faults);
    faults.end()?;
    move_money(parts, caller, repeat, "purchase", new.amount_micros, new.reference).await
}

/// Corrects a tenant's credit. Needs an operator with the scope `credits:write`.
pub async fn adjust(parts: &Parts, caller: &Caller, repeat: &Repeat, new: NewAdjustment) -> Result<Reply, Error> {
    caller.need_operator("credits:write")?;
    let mut faults = Faults::default();
    if new.amount_micros == 0 || !(-AMOUNT_MAX..=AMOUNT_MAX).contains(&new.amount_micros) {
        faults.add(
            "/amount_micros",
            format!("-{AMOUNT_MAX} to {AMOUNT_MAX} millionths of the currency's unit, and not 0"),
        );
    }
    check_text("/reason", &new.reason, &mut faults);
    faults.end()?;
    move_money(parts, caller, repeat, "adjustment", new.amount_micros, new.reason).await
}

fn check_text(pointer: &str, text: &str, faults: &mut Faults) {
    if text.trim().is_empty() || text.chars().count() > REFERENCE_MAX {
        faults.add(pointer, format!("1 to {REFERENCE_MAX} characters that let somebody find the reason again"));
    }
}

async fn move_money(
    parts: &Parts,
    caller: &Caller,
    repeat: &Repeat,
    kind: &'static str,
    amount: i64,
    reference: String,
) -> Result<Reply, Error> {
    let (tenant, now) = (caller.need_tenant()?, parts.ports.clock.now());
    let (ids, by) = (Arc::clone(&parts.ports.ids), caller.clone());
    once(parts, caller, repeat, 201, Secrecy::Plain, move |tx| {
        Box::pin(async move {
            let mut open = Open::new(ledger_to_write(tx, tenant, now).await?);
            let source = if kind == "purchase" { Book::Purchased } else { Book::Adjusted };
            let cause =
                Cause { kind, message: None, reference: Some(reference.clone()), actor: Some(by.actor()), at: now };
            if amount > 0 {
                open.post(source, Book::Available, amount, cause);
            } else if -amount <= open.spendable() {
                open.post(Book::Available, source, -amount, cause);
            } else {
                let detail = format!("only {} millionths are available to take", open.ledger.available);
                return Err(Error::invalid("/amount_micros", detail));
            }
            rows::put(tx, tenant, &open.ledger).await?;
            rows::insert_entries(tx, &open.entries).await?;
            let detail = json!({ "kind": kind, "amount_micros": amount, "reference": reference });
            let action = if kind == "purchase" { "credits.purchased" } else { "credits.adjusted" };
            audit::record(tx, tenant, &ids, now, &by, action, tenant, &detail).await?;
            let currency = open.ledger.currency.clone();
            let made = open.entries.pop().ok_or_else(|| Error::internal("a movement left no entry"))?;
            Ok(entry_view(made, &currency))
        })
    })
    .await
}
