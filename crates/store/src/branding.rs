//! How a tenant's messages and pages look: one JSON object per tenant.

use model::{TenantId, Timestamp};

use crate::{Error, Tx};

/// The tenant's branding as JSON and when it last changed, unless it never set any.
pub async fn find(tx: &mut Tx, tenant: TenantId) -> Result<Option<(String, Timestamp)>, Error> {
    let sql = "SELECT body, updated_at FROM branding WHERE tenant_id = $1";
    tx.row(sql, &[&tenant]).await?.map(|mut row| Ok((row.get(0)?, row.get(1)?))).transpose()
}

/// Writes the tenant's branding.
pub async fn put(tx: &mut Tx, tenant: TenantId, body: &str, now: Timestamp) -> Result<(), Error> {
    let sql = "INSERT INTO branding (tenant_id, body, updated_at) VALUES ($1, $2, $3)
         ON CONFLICT (tenant_id) DO UPDATE SET body = excluded.body, updated_at = excluded.updated_at";
    tx.execute(sql, &[&tenant, &body, &now]).await.map(drop)
}
