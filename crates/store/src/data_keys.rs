//! Data keys: one or more per tenant, each sealed by a master key. Only the engine's vault reads and writes here.

use model::{TenantId, Timestamp};

use crate::{Error, Row, Tx};

/// A row of `data_keys`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataKey {
    /// Whose.
    pub tenant: TenantId,
    /// 1 for the tenant's first; the highest seals.
    pub id: i64,
    /// Which master key sealed it.
    pub master_key_id: String,
    /// The sealed key.
    pub sealed: Vec<u8>,
    /// When it was made.
    pub created_at: Timestamp,
}

const COLUMNS: &str = "tenant_id, id, master_key_id, sealed, created_at";

fn read(mut row: Row) -> Result<DataKey, Error> {
    Ok(DataKey {
        tenant: row.get(0)?,
        id: row.get(1)?,
        master_key_id: row.get(2)?,
        sealed: row.get(3)?,
        created_at: row.get(4)?,
    })
}

/// Adds a key unless the tenant has one under this number; `true` when it was added.
pub async fn insert(tx: &mut Tx, key: &DataKey) -> Result<bool, Error> {
    let sql =
        format!("INSERT INTO data_keys ({COLUMNS}) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (tenant_id, id) DO NOTHING");
    let params: [&dyn crate::Param; 5] = [&key.tenant, &key.id, &key.master_key_id, &key.sealed, &key.created_at];
    Ok(tx.execute(&sql, &params).await? == 1)
}

/// The tenant's newest key, held until the transaction ends so that [`remove_unused`] waits for what is being sealed with it.
pub async fn newest(tx: &mut Tx, tenant: TenantId) -> Result<Option<DataKey>, Error> {
    let hold = match tx.dialect() {
        crate::Dialect::Sqlite => "",
        crate::Dialect::Postgres => "FOR KEY SHARE",
    };
    let sql = format!("SELECT {COLUMNS} FROM data_keys WHERE tenant_id = $1 ORDER BY id DESC LIMIT 1 {hold}");
    tx.row(&sql, &[&tenant]).await?.map(read).transpose()
}

/// One of the tenant's keys.
pub async fn find(tx: &mut Tx, tenant: TenantId, id: i64) -> Result<Option<DataKey>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM data_keys WHERE tenant_id = $1 AND id = $2");
    tx.row(&sql, &[&tenant, &id]).await?.map(read).transpose()
}

/// How many keys each master key seals: data keys, and that of the audit log. Across tenants: for start, `doctor` and rotation.
pub async fn masters_in_use(tx: &mut Tx) -> Result<Vec<(String, i64)>, Error> {
    let sql = "SELECT master_key_id, COUNT(*) FROM (SELECT master_key_id FROM data_keys UNION ALL SELECT master_key_id FROM audit_register) AS used
        GROUP BY master_key_id ORDER BY master_key_id";
    tx.rows(sql, &[]).await?.into_iter().map(|mut row| Ok((row.get(0)?, row.get(1)?))).collect()
}

/// Up to `limit` keys after `after` (tenant and number) that another master key than `master_key_id` sealed. Across tenants: for rotation.
pub async fn sealed_by_others(
    tx: &mut Tx,
    master_key_id: &str,
    after: (TenantId, i64),
    limit: i64,
) -> Result<Vec<DataKey>, Error> {
    let lock = tx.dialect().for_update();
    let sql = format!(
        "SELECT {COLUMNS} FROM data_keys WHERE master_key_id <> $1 AND (tenant_id, id) > ($2, $3) ORDER BY tenant_id, id LIMIT $4 {lock}"
    );
    tx.rows(&sql, &[&master_key_id, &after.0, &after.1, &limit]).await?.into_iter().map(read).collect()
}

/// Up to `limit` tenants that have more than one data key. Across tenants: for the job that finishes rotations.
pub async fn rotating(tx: &mut Tx, limit: i64) -> Result<Vec<TenantId>, Error> {
    let sql = "SELECT tenant_id FROM data_keys GROUP BY tenant_id HAVING COUNT(*) > 1 ORDER BY tenant_id LIMIT $1";
    tx.rows(sql, &[&limit]).await?.into_iter().map(|mut row| row.get(0)).collect()
}

/// Writes the newly sealed form of a key, if `before` still is the master key that sealed it.
pub async fn reseal(tx: &mut Tx, key: &DataKey, before: &str) -> Result<bool, Error> {
    let sql =
        "UPDATE data_keys SET master_key_id = $1, sealed = $2 WHERE tenant_id = $3 AND id = $4 AND master_key_id = $5";
    Ok(tx.execute(sql, &[&key.master_key_id, &key.sealed, &key.tenant, &key.id, &before]).await? == 1)
}

/// Removes the tenant's keys below `newest` that nothing is sealed with any more and answers how many.
pub async fn remove_unused(tx: &mut Tx, tenant: TenantId, newest: i64) -> Result<u64, Error> {
    // The lock waits for transactions that are sealing with an old key; the statement after it then sees what they wrote.
    let lock = tx.dialect().for_update();
    tx.rows(&format!("SELECT id FROM data_keys WHERE tenant_id = $1 AND id < $2 {lock}"), &[&tenant, &newest]).await?;
    tx.execute(
        "DELETE FROM data_keys WHERE tenant_id = $1 AND id < $2
         AND NOT EXISTS (SELECT 1 FROM accounts WHERE accounts.tenant_id = data_keys.tenant_id AND accounts.data_key_id = data_keys.id)
         AND NOT EXISTS (SELECT 1 FROM idempotency_keys WHERE idempotency_keys.tenant_id = data_keys.tenant_id AND idempotency_keys.data_key_id = data_keys.id)
         AND NOT EXISTS (SELECT 1 FROM consent_policies WHERE consent_policies.tenant_id = data_keys.tenant_id AND consent_policies.data_key_id = data_keys.id)
         AND NOT (tenant_id = $3 AND EXISTS (SELECT 1 FROM users WHERE users.totp_data_key_id = data_keys.id))
         AND NOT (tenant_id = $3 AND EXISTS (SELECT 1 FROM payment_settings WHERE payment_settings.data_key_id = data_keys.id))",
        &[&tenant, &newest, &TenantId::from_ulid(0)],
    )
    .await
}
