//! Payments at the payment provider: which purchase each brought credit to, and what the operator is to hear of them. They are of no tenant, so they stay when one is removed.

use model::{PurchaseId, TenantId, Timestamp};

use crate::{Error, Row, Tx};

/// A row of `payment_findings`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The provider's id of the payment, or of the page it was made on.
    pub payment: String,
    /// `taken`, `gone` or `currency` for one that brought nobody credit; [`UNHEARD`] for one whose event did not come.
    pub kind: String,
    /// What happened, for people.
    pub detail: String,
    /// When.
    pub found_at: Timestamp,
}

/// A payment whose event did not come: it was found by asking.
pub const UNHEARD: &str = "unheard";

/// Says that a payment brings credit to a purchase. Answers the purchase it brings credit to from then on: an earlier one, if there is one. Whoever says the same of another at the same time waits
/// until this transaction ends.
pub async fn claim(
    tx: &mut Tx,
    payment: &str,
    owner: TenantId,
    purchase: PurchaseId,
) -> Result<(TenantId, PurchaseId), Error> {
    let sql = "INSERT INTO credited_payments (payment, owner_id, purchase_id) VALUES ($1, $2, $3) ON CONFLICT (payment) DO NOTHING";
    if tx.execute(sql, &[&payment, &owner, &purchase]).await? > 0 {
        return Ok((owner, purchase));
    }
    Ok(credited(tx, payment).await?.unwrap_or((owner, purchase)))
}

/// The purchase a payment brought credit to, and whose it was.
pub async fn credited(tx: &mut Tx, payment: &str) -> Result<Option<(TenantId, PurchaseId)>, Error> {
    let row = tx.row("SELECT owner_id, purchase_id FROM credited_payments WHERE payment = $1", &[&payment]).await?;
    row.map(|mut row| Ok((row.get(0)?, row.get(1)?))).transpose()
}

/// Notes something once. False when it was noted before.
pub async fn note(tx: &mut Tx, f: &Finding) -> Result<bool, Error> {
    let sql = "INSERT INTO payment_findings (payment, kind, detail, found_at) VALUES ($1, $2, $3, $4) ON CONFLICT (payment, kind) DO NOTHING";
    Ok(tx.execute(sql, &[&f.payment, &f.kind, &f.detail, &f.found_at]).await? > 0)
}

fn read(mut row: Row) -> Result<Finding, Error> {
    Ok(Finding { payment: row.get(0)?, kind: row.get(1)?, detail: row.get(2)?, found_at: row.get(3)? })
}

/// What was found of a payment.
pub async fn found(tx: &mut Tx, payment: &str) -> Result<Vec<Finding>, Error> {
    let sql = "SELECT payment, kind, detail, found_at FROM payment_findings WHERE payment = $1 ORDER BY found_at, kind";
    tx.rows(sql, &[&payment]).await?.into_iter().map(read).collect()
}

/// Payments that brought nobody credit and are not settled, found since an instant, the newest first.
pub async fn stray(tx: &mut Tx, since: Timestamp, limit: i64) -> Result<Vec<Finding>, Error> {
    let sql = "SELECT payment, kind, detail, found_at FROM payment_findings WHERE found_at > $1 AND kind <> $2 AND settled_at IS NULL ORDER BY found_at DESC, payment LIMIT $3";
    tx.rows(sql, &[&since, &UNHEARD, &limit]).await?.into_iter().map(read).collect()
}

/// When payments were found whose events did not come, since an instant and since an event last came, the newest first.
pub async fn unheard(tx: &mut Tx, since: Timestamp, limit: i64) -> Result<Vec<Timestamp>, Error> {
    let sql = "SELECT found_at FROM payment_findings WHERE found_at > $1 AND kind = $2
        AND NOT EXISTS (SELECT 1 FROM payment_events e WHERE e.received_at >= payment_findings.found_at) ORDER BY found_at DESC LIMIT $3";
    tx.rows(sql, &[&since, &UNHEARD, &limit]).await?.into_iter().map(|mut row| row.get(0)).collect()
}

/// Notes that somebody took care of a payment, or that its money went back. Answers of how many findings that is the end.
pub async fn settle(tx: &mut Tx, payment: &str, now: Timestamp) -> Result<u64, Error> {
    let sql = "UPDATE payment_findings SET settled_at = $1 WHERE payment = $2 AND settled_at IS NULL";
    tx.execute(sql, &[&now, &payment]).await
}

/// Forgets what was found before `before`, `limit` at most. Answers how many.
pub async fn forget(tx: &mut Tx, before: Timestamp, limit: i64) -> Result<u64, Error> {
    let sql = "DELETE FROM payment_findings WHERE (payment, kind) IN (SELECT payment, kind FROM payment_findings WHERE found_at < $1 ORDER BY found_at LIMIT $2)";
    tx.execute(sql, &[&before, &limit]).await
}
