//! API keys: a tenant's, or the operator's when they have no tenant. Only hashes are kept.

use model::{KeyId, TenantId, Timestamp};

use crate::{Error, Given, Kind, Row, Tx};

/// A row of `api_keys`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// Which one.
    pub id: KeyId,
    /// Whose; `None` for the operator's.
    pub tenant: Option<TenantId>,
    /// Name for people.
    pub name: String,
    /// SHA-256 of the key.
    pub hash: Vec<u8>,
    /// What people may see of it.
    pub hint: String,
    /// What it may do, separated by spaces.
    pub scopes: String,
    /// From where, separated by spaces; empty for everywhere.
    pub ip_allow_list: String,
    /// Until when.
    pub expires_at: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// When it was last used, to the minute.
    pub last_used_at: Option<Timestamp>,
}

const COLUMNS: &str =
    "id, tenant_id, name, hash, hint, scopes, ip_allow_list, expires_at, created_at, revoked_at, last_used_at";

fn read(mut row: Row) -> Result<ApiKey, Error> {
    Ok(ApiKey {
        id: row.get(0)?,
        tenant: row.get(1)?,
        name: row.get(2)?,
        hash: row.get(3)?,
        hint: row.get(4)?,
        scopes: row.get(5)?,
        ip_allow_list: row.get(6)?,
        expires_at: row.get(7)?,
        created_at: row.get(8)?,
        revoked_at: row.get(9)?,
        last_used_at: row.get(10)?,
    })
}

/// Adds a key.
pub async fn insert(tx: &mut Tx, key: &ApiKey) -> Result<(), Error> {
    let sql = format!("INSERT INTO api_keys ({COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)");
    tx.execute(
        &sql,
        &[
            &key.id,
            &key.tenant,
            &key.name,
            &key.hash,
            &key.hint,
            &key.scopes,
            &key.ip_allow_list,
            &key.expires_at,
            &key.created_at,
            &key.revoked_at,
            &key.last_used_at,
        ],
    )
    .await?;
    Ok(())
}

/// The key with this hash, revoked or not. Across tenants: this is how a caller is recognised.
pub async fn find_by_hash(tx: &mut Tx, hash: &[u8]) -> Result<Option<ApiKey>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM api_keys WHERE hash = $1");
    tx.row(&sql, &[&hash]).await?.map(read).transpose()
}

/// The condition for one owner's keys: `tenant_id = NULL` is never true, so the operator's need another text.
fn of(tenant: Option<TenantId>) -> &'static str {
    if tenant.is_some() { "tenant_id = $1" } else { "tenant_id IS NULL" }
}

/// The owner's keys that were not revoked, newest first, made before `before`.
pub async fn list(tx: &mut Tx, tenant: Option<TenantId>, before: KeyId, limit: i64) -> Result<Vec<ApiKey>, Error> {
    let owner = of(tenant);
    let rows = match tenant {
        Some(tenant) => {
            let sql = format!(
                "SELECT {COLUMNS} FROM api_keys WHERE {owner} AND id < $2 AND revoked_at IS NULL ORDER BY id DESC LIMIT $3"
            );
            tx.rows(&sql, &[&tenant, &before, &limit]).await?
        }
        None => {
            let sql = format!(
                "SELECT {COLUMNS} FROM api_keys WHERE {owner} AND id < $1 AND revoked_at IS NULL ORDER BY id DESC LIMIT $2"
            );
            tx.rows(&sql, &[&before, &limit]).await?
        }
    };
    rows.into_iter().map(read).collect()
}

/// One of the owner's keys, revoked or not.
pub async fn find(tx: &mut Tx, tenant: Option<TenantId>, key: KeyId) -> Result<Option<ApiKey>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM api_keys WHERE id = $1");
    let found = tx.row(&sql, &[&key]).await?.map(read).transpose()?;
    Ok(found.filter(|found| found.tenant == tenant))
}

/// How many keys the owner has that were not revoked.
pub async fn count(tx: &mut Tx, tenant: Option<TenantId>) -> Result<i64, Error> {
    let sql = format!("SELECT COUNT(*) FROM api_keys WHERE {} AND revoked_at IS NULL", of(tenant));
    let row = match tenant {
        Some(tenant) => tx.row(&sql, &[&tenant]).await?,
        None => tx.row(&sql, &[]).await?,
    };
    row.map_or(Ok(0), |mut row| row.get(0))
}

/// Revokes a key; `false` when it was revoked already. The caller has seen that it is the owner's.
pub async fn revoke(tx: &mut Tx, key: KeyId, now: Timestamp) -> Result<bool, Error> {
    let sql = "UPDATE api_keys SET revoked_at = $1 WHERE id = $2 AND revoked_at IS NULL";
    Ok(tx.execute(sql, &[&now, &key]).await? == 1)
}

/// Notes when keys were last used. Across tenants: written in the background, many at once.
pub async fn touch(tx: &mut Tx, used: &[(KeyId, Timestamp)]) -> Result<u64, Error> {
    let mut given = Given::new(&[("id", Kind::Id), ("used_at", Kind::Time)]);
    for (key, at) in used {
        given.row([key, at]);
    }
    tx.execute_many(
        "UPDATE api_keys SET last_used_at = given.used_at FROM {given} WHERE api_keys.id = given.id",
        &given,
    )
    .await
}
