//! Invoices against one another and against the ledger.

use std::collections::BTreeSet;

use model::{Channel, InvoiceId, TenantId, Timestamp};

use super::{Found, found};
use crate::{Error, Given, Kind, Row, Tx};

/// Invoices that were taken back after they had a number, by how many credit notes say so, where that is not one; and credit notes about something that is not there or was not taken back,
/// which have -1.
pub async fn miscredited(tx: &mut Tx, limit: i64) -> Result<Found<(TenantId, InvoiceId, i64)>, Error> {
    let sql = "SELECT i.tenant_id, i.id, COALESCE(n.notes, 0) FROM invoices i
            LEFT JOIN (SELECT tenant_id, of_id, COUNT(*) AS notes FROM invoices WHERE of_id IS NOT NULL GROUP BY tenant_id, of_id) n ON n.tenant_id = i.tenant_id AND n.of_id = i.id
            WHERE i.kind <> 'credit_note' AND COALESCE(n.notes, 0) <> CASE WHEN i.state = 'void' AND i.number IS NOT NULL THEN 1 ELSE 0 END
        UNION ALL SELECT c.tenant_id, c.id, -1 FROM invoices c LEFT JOIN invoices i ON i.tenant_id = c.tenant_id AND i.id = c.of_id AND i.kind <> 'credit_note'
            WHERE c.kind = 'credit_note' AND i.id IS NULL";
    found(tx, sql, &[], limit, |mut row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).await
}

/// Which of these numbers invoices have.
pub async fn given_numbers(tx: &mut Tx, numbers: &[String]) -> Result<Vec<String>, Error> {
    let mut given = Given::new(&[("number", Kind::Text)]);
    for number in numbers {
        given.row([number]);
    }
    let rows = tx.match_many("SELECT number FROM invoices", &given, "").await?;
    rows.into_iter().map(|mut row| row.get(0)).collect()
}

/// Which of these invoices there are.
pub async fn there_are(tx: &mut Tx, ids: &[InvoiceId]) -> Result<BTreeSet<InvoiceId>, Error> {
    let mut given = Given::new(&[("id", Kind::Id)]);
    for id in ids {
        given.row([id]);
    }
    let rows = tx.match_many("SELECT id FROM invoices", &given, "").await?;
    rows.into_iter().map(|mut row| row.get(0)).collect()
}

/// An entry of the operator's log that says what became of an invoice or a credit note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SaidOfInvoice {
    /// Its place in the chain.
    pub number: i64,
    /// About which one: its id.
    pub subject: String,
    /// Whose that is.
    pub tenant_id: Option<TenantId>,
}

/// What the operator's log says of invoices that have or had a number, or were dropped, after a place in its chain; in the order of that.
pub async fn said_of_invoices(
    tx: &mut Tx,
    operator: TenantId,
    after: i64,
    limit: i64,
) -> Result<Vec<SaidOfInvoice>, Error> {
    let sql = "SELECT number, subject, acted_in FROM audit_log WHERE tenant_id = $1 AND number > $2
        AND action IN ('invoice.issued', 'invoice.recorded', 'invoice.paid', 'invoice.voided') ORDER BY number LIMIT $3";
    let read = |mut row: Row| Ok(SaidOfInvoice { number: row.get(0)?, subject: row.get(1)?, tenant_id: row.get(2)? });
    tx.rows(sql, &[&operator, &after, &limit]).await?.into_iter().map(read).collect()
}

/// An entry that a tenant's invoice may have made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfInvoice {
    /// The invoice's number, or its id where it never had one.
    pub reference: String,
    /// `purchase` or `adjustment`.
    pub kind: String,
    /// True when it brought credit.
    pub is_in: bool,
    /// How much.
    pub amount: i64,
}

/// Entries of a tenant that refer to one of its invoices, and are of no purchase.
pub async fn entries_of_invoices(tx: &mut Tx, tenant: TenantId) -> Result<Vec<OfInvoice>, Error> {
    let sql = "SELECT reference, kind, CASE WHEN to_book = 'available' THEN 1 ELSE 0 END, amount FROM credit_entries WHERE tenant_id = $1 AND kind IN ('purchase', 'adjustment')
        AND (reference IN (SELECT number FROM invoices WHERE tenant_id = $1 AND number IS NOT NULL) OR reference LIKE 'inv_%')
        AND number NOT IN (SELECT entry FROM credit_purchases WHERE tenant_id = $1 AND entry IS NOT NULL)";
    let read = |mut row: Row| {
        let is_in: i64 = row.get(2)?;
        Ok(OfInvoice { reference: row.get(0)?, kind: row.get(1)?, is_in: is_in != 0, amount: row.get(3)? })
    };
    tx.rows(sql, &[&tenant]).await?.into_iter().map(read).collect()
}

/// Tenants that have no row any more, or never had one, and the tables that have rows of theirs. Only invoices outlive a tenant.
pub async fn without_tenant(tx: &mut Tx, limit: i64) -> Result<Found<(TenantId, String)>, Error> {
    let tables = [
        "credit_ledgers",
        "credit_entries",
        "message_charges",
        "charge_counters",
        "credit_grants",
        "credit_purchases",
        "credit_refunds",
        "subscriptions",
        "quota_counters",
        "invoiced_usage",
    ];
    let one = |table: &str| {
        format!(
            "SELECT DISTINCT tenant_id, '{table}' AS place FROM {table} WHERE tenant_id NOT IN (SELECT id FROM tenants)"
        )
    };
    let sql = tables.map(one).join(" UNION ALL ");
    found(tx, &sql, &[], limit, |mut row| Ok((row.get(0)?, row.get(1)?))).await
}

/// What is said to be billed of a month that has no invoice: when it begins, channel and country.
pub async fn months_without_invoice(
    tx: &mut Tx,
    tenant: TenantId,
    before: Timestamp,
    limit: i64,
) -> Result<Found<(Timestamp, Channel, String)>, Error> {
    let sql = "SELECT u.starts_at, u.channel, u.country FROM invoiced_usage u WHERE u.tenant_id = $1 AND u.starts_at < $2
        AND NOT EXISTS (SELECT 1 FROM invoices i WHERE i.tenant_id = $1 AND i.kind = 'invoice' AND i.starts_at = u.starts_at AND i.ends_at = u.ends_at)";
    found(tx, sql, &[&tenant, &before], limit, |mut row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).await
}

/// Whether a charge of the tenant was put right since an instant.
pub async fn is_corrected_since(tx: &mut Tx, tenant: TenantId, since: Timestamp) -> Result<bool, Error> {
    let sql = "SELECT 1 FROM credit_entries WHERE tenant_id = $1 AND kind = 'correct' AND at >= $2 LIMIT 1";
    Ok(tx.row(sql, &[&tenant, &since]).await?.is_some())
}
