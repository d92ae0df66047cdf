//! What a tenant's business says of itself, once.

use model::{TenantId, Timestamp};

use crate::{Error, Tx};

/// A row of `business_profiles`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BusinessProfile {
    /// Whose.
    pub tenant_id: TenantId,
    /// What it says, as JSON.
    pub profile: String,
    /// Whether text messages to the United States may leave unregistered: `when_started`, `required` or `off`.
    pub us_sms: String,
    /// When it was first written.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// The tenant's profile, if it has one.
pub async fn find(tx: &mut Tx, tenant: TenantId) -> Result<Option<BusinessProfile>, Error> {
    let sql = "SELECT tenant_id, profile, us_sms, created_at, updated_at FROM business_profiles WHERE tenant_id = $1";
    let Some(mut row) = tx.row(sql, &[&tenant]).await? else { return Ok(None) };
    Ok(Some(BusinessProfile {
        tenant_id: row.get(0)?,
        profile: row.get(1)?,
        us_sms: row.get(2)?,
        created_at: row.get(3)?,
        updated_at: row.get(4)?,
    }))
}

/// Writes the tenant's profile.
pub async fn put(tx: &mut Tx, p: &BusinessProfile) -> Result<(), Error> {
    let sql = "INSERT INTO business_profiles (tenant_id, profile, us_sms, created_at, updated_at) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (tenant_id) DO UPDATE SET profile = excluded.profile, us_sms = excluded.us_sms, updated_at = excluded.updated_at";
    tx.execute(sql, &[&p.tenant_id, &p.profile, &p.us_sms, &p.created_at, &p.updated_at]).await.map(drop)
}
