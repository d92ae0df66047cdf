//! Credit that was bought and money that went back, against the entries of the ledger.

use model::{PurchaseId, RefundId, TenantId, Timestamp};

use super::{Found, found};
use crate::{
    Error, Row, Tx,
    credits::{ENTRY, Entry, read_entry},
};

/// A purchase that does not fit the ledger, or what was given back of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mispurchased {
    /// Which one.
    pub id: PurchaseId,
    /// Its state.
    pub state: String,
    /// How much was bought.
    pub amount: i64,
    /// What an entry of its own brought; `None` without such an entry.
    pub brought: Option<i64>,
    /// What it says was given back of it.
    pub refunded: i64,
    /// What its refunds come to.
    pub refunds: i64,
    /// The tax on it.
    pub tax: i64,
    /// What it says was given back of that.
    pub refunded_tax: i64,
    /// What its refunds come to of that.
    pub refunded_taxes: i64,
    /// Its tax has a name and a rate, or there is none.
    pub is_tax_named: bool,
}

/// The tenant's purchases that are paid and brought something else than they say, that brought something and are not paid, whose currency is another than the ledger's, of which something
/// else was given back than their refunds say, or whose tax has no name or rate.
pub async fn mispurchased(tx: &mut Tx, tenant: TenantId, limit: i64) -> Result<Found<Mispurchased>, Error> {
    let sql = "SELECT p.id, p.state, p.amount, e.amount AS brought, p.refunded, COALESCE(r.refunds, 0), p.tax, p.refunded_tax, COALESCE(r.taxes, 0),
            (p.tax_name IS NULL) = (p.tax_rate_ppm IS NULL) AND (p.tax_name IS NOT NULL OR p.tax = 0) FROM credit_purchases p
        LEFT JOIN credit_entries e ON e.tenant_id = p.tenant_id AND e.number = p.entry AND e.kind = 'purchase' AND e.from_book = 'purchased' AND e.to_book = 'available'
        LEFT JOIN (SELECT purchase_id, CAST(SUM(amount) AS BIGINT) AS refunds, CAST(SUM(tax) AS BIGINT) AS taxes FROM credit_refunds WHERE tenant_id = $1 AND state <> 'failed' GROUP BY purchase_id) r ON r.purchase_id = p.id
        LEFT JOIN credit_ledgers l ON l.tenant_id = p.tenant_id
        WHERE p.tenant_id = $1 AND ((p.state = 'paid' AND (e.amount IS NULL OR e.amount <> p.amount OR l.currency IS NULL OR l.currency <> p.currency
                OR (p.provider = 'operator' AND COALESCE(e.reference, '') <> COALESCE(p.reference, ''))
                OR (p.provider <> 'operator' AND COALESCE(e.reference, '') NOT LIKE '%(' || COALESCE(p.session, p.payment, p.provider) || ')')))
            OR (p.state <> 'paid' AND (p.entry IS NOT NULL OR p.provider = 'operator' OR p.refunded <> 0 OR p.refunded_tax <> 0))
            OR p.state NOT IN ('opening', 'open', 'pending', 'paid', 'failed', 'expired') OR p.amount <= 0
            OR p.refunded <> COALESCE(r.refunds, 0) OR p.refunded > p.amount
            OR p.tax < 0 OR NOT ((p.tax_name IS NULL) = (p.tax_rate_ppm IS NULL) AND (p.tax_name IS NOT NULL OR p.tax = 0))
            OR p.refunded_tax <> COALESCE(r.taxes, 0) OR p.refunded_tax > p.tax)";
    found(tx, sql, &[&tenant], limit, |mut row| {
        Ok(Mispurchased {
            id: row.get(0)?,
            state: row.get(1)?,
            amount: row.get(2)?,
            brought: row.get(3)?,
            refunded: row.get(4)?,
            refunds: row.get(5)?,
            tax: row.get(6)?,
            refunded_tax: row.get(7)?,
            refunded_taxes: row.get(8)?,
            is_tax_named: row.get(9)?,
        })
    })
    .await
}

/// A purchase that was sold with tax, to be held against its rate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taxed {
    /// Which one.
    pub id: PurchaseId,
    /// At which payment provider.
    pub provider: String,
    /// ISO 4217 code.
    pub currency: String,
    /// How much credit.
    pub amount: i64,
    /// How much tax.
    pub tax: i64,
    /// At which rate, in millionths.
    pub rate_ppm: i64,
}

/// The tenant's purchases that were sold with tax, from behind `after` on, the oldest first.
pub async fn taxed(tx: &mut Tx, tenant: TenantId, after: PurchaseId, limit: i64) -> Result<Vec<Taxed>, Error> {
    let sql = "SELECT id, provider, currency, amount, tax, tax_rate_ppm FROM credit_purchases
        WHERE tenant_id = $1 AND id > $2 AND tax_rate_ppm IS NOT NULL ORDER BY id LIMIT $3";
    let read = |mut row: Row| {
        Ok(Taxed {
            id: row.get(0)?,
            provider: row.get(1)?,
            currency: row.get(2)?,
            amount: row.get(3)?,
            tax: row.get(4)?,
            rate_ppm: row.get(5)?,
        })
    };
    tx.rows(sql, &[&tenant, &after, &limit]).await?.into_iter().map(read).collect()
}

/// Entries of purchases since an instant that no purchase and no invoice of the tenant brought: number, amount and reference.
pub async fn unbought(
    tx: &mut Tx,
    tenant: TenantId,
    since: Timestamp,
    limit: i64,
) -> Result<Found<(i64, i64, String)>, Error> {
    let sql = "SELECT number, amount, COALESCE(reference, '') FROM credit_entries WHERE tenant_id = $1 AND kind = 'purchase' AND at >= $2
        AND number NOT IN (SELECT entry FROM credit_purchases WHERE tenant_id = $1 AND entry IS NOT NULL)
        AND COALESCE(reference, '') NOT IN (SELECT number FROM invoices WHERE tenant_id = $1 AND number IS NOT NULL)";
    found(tx, sql, &[&tenant, &since], limit, |mut row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).await
}

/// Purchases of a tenant that came of one payment, or brought one entry: the first and the last of each such group.
pub async fn bought_as_one(
    tx: &mut Tx,
    tenant: TenantId,
    limit: i64,
) -> Result<Found<(PurchaseId, PurchaseId)>, Error> {
    let one = |of: &str| {
        format!(
            "SELECT p.id, o.id AS other FROM credit_purchases p JOIN credit_purchases o ON o.tenant_id = p.tenant_id AND o.{of} = p.{of} AND o.id < p.id
             WHERE p.tenant_id = $1 AND p.state = 'paid' AND o.state = 'paid'"
        )
    };
    let sql = format!("{} UNION {} UNION {}", one("payment"), one("session"), one("entry"));
    found(tx, &sql, &[&tenant], limit, |mut row| Ok((row.get(1)?, row.get(0)?))).await
}

/// A refund whose own facts do not fit one another or its purchase: which one, its state, its amount and what the ledger gave for it.
pub async fn misrefunded(
    tx: &mut Tx,
    tenant: TenantId,
    limit: i64,
) -> Result<Found<(RefundId, String, i64, i64)>, Error> {
    let sql = "SELECT r.id, r.state, r.amount, r.taken FROM credit_refunds r LEFT JOIN credit_purchases p ON p.tenant_id = r.tenant_id AND p.id = r.purchase_id
        WHERE r.tenant_id = $1 AND (r.amount < 0 OR r.tax < 0 OR r.amount + r.tax <= 0 OR (r.purchase_id IS NULL AND r.tax > r.amount) OR r.taken < 0 OR r.taken > r.amount OR r.state NOT IN ('opening', 'pending', 'done', 'failed')
            OR (r.purchase_id IS NOT NULL AND (p.state IS NULL OR p.state <> 'paid' OR p.provider <> r.provider)) OR (r.purchase_id IS NULL AND r.provider <> 'operator')
            OR (r.provider = 'operator' AND (r.taken <> r.amount OR r.state <> 'done'))
            OR (r.failure IS NOT NULL AND r.state <> 'failed') OR (r.failure IS NULL AND r.state = 'failed'))";
    found(tx, sql, &[&tenant], limit, |mut row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))).await
}

/// Refunds and entries since an instant that do not come in pairs: the reason, the amount, and how many more entries there are than refunds; below zero, fewer.
pub async fn unrefunded(
    tx: &mut Tx,
    tenant: TenantId,
    since: Timestamp,
    limit: i64,
) -> Result<Found<(String, i64, i64)>, Error> {
    let sql = "SELECT reason, amount, CAST(SUM(one) AS BIGINT) FROM (
            SELECT COALESCE(reference, '') AS reason, amount, 1 AS one FROM credit_entries WHERE tenant_id = $1 AND kind = 'refund' AND at >= $2
            UNION ALL SELECT reason, taken AS amount, -1 AS one FROM credit_refunds WHERE tenant_id = $1 AND taken > 0 AND created_at >= $2
        ) AS pairs GROUP BY reason, amount HAVING SUM(one) <> 0";
    found(tx, sql, &[&tenant, &since], limit, |mut row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).await
}

/// What is rare: entries about refunds that failed and about disputes (kind, reference, amount), refunds that failed (id, what the ledger gave), and purchases that were disputed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Returned {
    /// Kind, reference and amount of each.
    pub entries: Vec<(String, String, i64)>,
    /// Refunds that failed, and what the ledger had given for each.
    pub failed: Vec<(RefundId, i64)>,
    /// Purchases that were disputed.
    pub disputed: Vec<Disputed>,
}

/// A purchase that was disputed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disputed {
    /// Which one.
    pub id: PurchaseId,
    /// How much credit was bought.
    pub amount: i64,
    /// The tax on it.
    pub tax: i64,
    /// Its disputes, as a JSON array.
    pub disputes: String,
    /// Whether one of these is not over.
    pub is_disputed: bool,
}

/// What came back to a tenant's ledger, or left it, because of banks.
pub async fn returned(tx: &mut Tx, tenant: TenantId) -> Result<Returned, Error> {
    let sql = "SELECT kind, COALESCE(reference, ''), amount FROM credit_entries WHERE tenant_id = $1 AND kind IN ('refund_failed', 'dispute', 'dispute_returned') ORDER BY number";
    let read = |mut row: Row| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
    let entries = tx.rows(sql, &[&tenant]).await?.into_iter().map(read).collect::<Result<_, Error>>()?;
    let sql = "SELECT id, taken FROM credit_refunds WHERE tenant_id = $1 AND state = 'failed' ORDER BY id";
    let read = |mut row: Row| Ok((row.get(0)?, row.get(1)?));
    let failed = tx.rows(sql, &[&tenant]).await?.into_iter().map(read).collect::<Result<_, Error>>()?;
    let sql = "SELECT id, amount, tax, disputes, is_disputed FROM credit_purchases WHERE tenant_id = $1 AND (disputes <> '[]' OR is_disputed) ORDER BY id";
    let read = |mut row: Row| {
        Ok(Disputed {
            id: row.get(0)?,
            amount: row.get(1)?,
            tax: row.get(2)?,
            disputes: row.get(3)?,
            is_disputed: row.get(4)?,
        })
    };
    let disputed = tx.rows(sql, &[&tenant]).await?.into_iter().map(read).collect::<Result<_, Error>>()?;
    Ok(Returned { entries, failed, disputed })
}

/// How many rows there are of a tenant that only one with a ledger can have: entries, charges in rows of their own, sums of charges, grants, and purchases that were paid.
pub async fn rows_of_ledger(tx: &mut Tx, tenant: TenantId) -> Result<i64, Error> {
    let sql = "SELECT (SELECT COUNT(*) FROM credit_entries WHERE tenant_id = $1) + (SELECT COUNT(*) FROM message_charges WHERE tenant_id = $1)
        + (SELECT COUNT(*) FROM charge_counters WHERE tenant_id = $1) + (SELECT COUNT(*) FROM credit_grants WHERE tenant_id = $1)
        + (SELECT COUNT(*) FROM credit_refunds WHERE tenant_id = $1) + (SELECT COUNT(*) FROM credit_purchases WHERE tenant_id = $1 AND state = 'paid')";
    tx.row(sql, &[&tenant]).await?.map_or(Ok(0), |mut row| row.get(0))
}

/// A tenant's entries that move promotional credit, from behind the number `after` up to `last`, the oldest first.
pub async fn promotional_entries(
    tx: &mut Tx,
    tenant: TenantId,
    after: i64,
    last: i64,
    limit: i64,
) -> Result<Vec<Entry>, Error> {
    let sql = format!(
        "SELECT {ENTRY} FROM credit_entries WHERE tenant_id = $1 AND number > $2 AND number <= $3 AND (from_book = 'promotional' OR to_book = 'promotional')
         ORDER BY number LIMIT $4"
    );
    tx.rows(&sql, &[&tenant, &after, &last, &limit]).await?.into_iter().map(read_entry).collect()
}

/// How many entries have a number beyond the last one their ledger knows of.
pub async fn entries_beyond(tx: &mut Tx, tenant: TenantId) -> Result<i64, Error> {
    let sql = "SELECT COUNT(*) FROM credit_entries e JOIN credit_ledgers l ON l.tenant_id = e.tenant_id WHERE e.tenant_id = $1 AND e.number > l.entries";
    tx.row(sql, &[&tenant]).await?.map_or(Ok(0), |mut row| row.get(0))
}
