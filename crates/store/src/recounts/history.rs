//! What was so when: for holding old rows against the rules of their time.

use model::{TenantId, Timestamp};

use crate::{Error, Row, Tx};

/// Since when the database has had this version; [`Timestamp::EPOCH`] when it began with it. What is older was written by an earlier Tidings.
pub async fn upgraded_at(tx: &mut Tx, version: i64) -> Result<Timestamp, Error> {
    let sql = "SELECT applied_at FROM migrations WHERE version = $1 AND applied_at > (SELECT MIN(applied_at) FROM migrations)";
    tx.row(sql, &[&version]).await?.map_or(Ok(Timestamp::EPOCH), |mut row| row.get(0))
}

/// Version, currency and beginning of every price list.
pub async fn price_lists(tx: &mut Tx) -> Result<Vec<(i64, String, Timestamp)>, Error> {
    let rows = tx.rows("SELECT version, currency, valid_from FROM price_lists ORDER BY version", &[]).await?;
    rows.into_iter().map(|mut row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).collect()
}

/// When somebody last changed how the operator writes invoices, whose log this is.
pub async fn billing_settings_changed(tx: &mut Tx, operator: TenantId) -> Result<Option<Timestamp>, Error> {
    let sql = "SELECT MAX(at) FROM audit_log WHERE tenant_id = $1 AND action = 'billing_settings.updated'";
    tx.row(sql, &[&operator]).await?.map_or(Ok(None), |mut row| row.get(0))
}

/// When somebody changed how a tenant pays, what plan it has or where it is, and what was changed: time, action and detail, the oldest first: those from
/// before there was a chain, and then in the order of that.
pub async fn changes_of_billing(tx: &mut Tx, tenant: TenantId) -> Result<Vec<(Timestamp, String, String)>, Error> {
    let sql = "SELECT at, action, detail FROM audit_log WHERE tenant_id = $1 AND subject = $2
        AND action IN ('credits.updated', 'subscription.created', 'subscription.updated', 'tenant.updated') ORDER BY COALESCE(number, 0), id";
    let read = |mut row: Row| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
    tx.rows(sql, &[&tenant, &tenant.to_string()]).await?.into_iter().map(read).collect()
}
