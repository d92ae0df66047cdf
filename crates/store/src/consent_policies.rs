//! A tenant's own rules of consent, with the sealed secret its links and hashes are keyed by. A tenant without a row has the rules everybody begins with.

use model::{TenantId, Timestamp};

use crate::{Error, Row, Tx};

/// A row of `consent_policies`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsentPolicy {
    /// Whose.
    pub tenant_id: TenantId,
    /// The sealed secret, once something needed it.
    pub secret: Option<Vec<u8>>,
    /// Which data key sealed it; 0 without a secret.
    pub data_key_id: i64,
    /// True once there was a suppression.
    pub has_suppressions: bool,
    /// True once there was the hash of an erased address.
    pub has_erased: bool,
    /// What the tenant set, as JSON.
    pub settings: String,
    /// When it last changed.
    pub updated_at: Timestamp,
}

const COLUMNS: &str = "tenant_id, secret, data_key_id, has_suppressions, has_erased, settings, updated_at";

fn read(mut row: Row) -> Result<ConsentPolicy, Error> {
    Ok(ConsentPolicy {
        tenant_id: row.get(0)?,
        secret: row.get(1)?,
        data_key_id: row.get(2)?,
        has_suppressions: row.get(3)?,
        has_erased: row.get(4)?,
        settings: row.get(5)?,
        updated_at: row.get(6)?,
    })
}

/// The tenant's rules, if it has any of its own.
pub async fn find(tx: &mut Tx, tenant: TenantId) -> Result<Option<ConsentPolicy>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM consent_policies WHERE tenant_id = $1");
    tx.row(&sql, &[&tenant]).await?.map(read).transpose()
}

/// Makes the tenant's row, when there is none, as it is for everybody at first.
pub async fn begin(tx: &mut Tx, tenant: TenantId, now: Timestamp) -> Result<(), Error> {
    tx.execute(
        "INSERT INTO consent_policies (tenant_id, data_key_id, has_suppressions, has_erased, settings, updated_at)
         VALUES ($1, 0, $2, $2, '{}', $3) ON CONFLICT DO NOTHING",
        &[&tenant, &false, &now],
    )
    .await
    .map(drop)
}

/// Keeps a secret, unless there is one. Answers whether this one counts.
pub async fn keep_secret(tx: &mut Tx, tenant: TenantId, secret: &[u8], data_key_id: i64) -> Result<bool, Error> {
    let sql = "UPDATE consent_policies SET secret = $1, data_key_id = $2 WHERE tenant_id = $3 AND secret IS NULL";
    Ok(tx.execute(sql, &[&secret, &data_key_id, &tenant]).await? > 0)
}

/// Replaces the sealed form of the secret, unless somebody else did.
pub async fn reseal(tx: &mut Tx, before: &ConsentPolicy, secret: &[u8], data_key_id: i64) -> Result<bool, Error> {
    let sql = "UPDATE consent_policies SET secret = $1, data_key_id = $2 WHERE tenant_id = $3 AND data_key_id = $4";
    Ok(tx.execute(sql, &[&secret, &data_key_id, &before.tenant_id, &before.data_key_id]).await? > 0)
}

/// Notes that the tenant has suppressions, and perhaps hashes of erased addresses. Answers whether that is news.
pub async fn note_suppressions(tx: &mut Tx, tenant: TenantId, has_erased: bool) -> Result<bool, Error> {
    let sql = "UPDATE consent_policies SET has_suppressions = $1, has_erased = (has_erased OR $2)
        WHERE tenant_id = $3 AND (NOT has_suppressions OR ($2 AND NOT has_erased))";
    Ok(tx.execute(sql, &[&true, &has_erased, &tenant]).await? > 0)
}

/// Writes what the tenant set.
pub async fn set(tx: &mut Tx, tenant: TenantId, settings: &str, now: Timestamp) -> Result<(), Error> {
    let sql = "UPDATE consent_policies SET settings = $1, updated_at = $2 WHERE tenant_id = $3";
    tx.execute(sql, &[&settings, &now, &tenant]).await.map(drop)
}
