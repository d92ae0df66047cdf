//! Tenants, and the version of everybody's configuration.
//!
//! Every change of a tenant, key, account or endpoint calls [`bump`] in its transaction, before it reads what it changes: the row of the version is then
//! locked, so changes of configuration follow one another, and every node notices by the version that it has to read again.

use model::{EndpointId, TenantId, Timestamp};

use crate::{Error, Row, Tx};

/// A row of `tenants`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenant {
    /// Which one.
    pub id: TenantId,
    /// Name for people.
    pub name: String,
    /// `active` or `suspended`.
    pub state: String,
    /// IANA name.
    pub timezone: String,
    /// ISO 4217 code.
    pub currency: String,
    /// ISO 3166-1 alpha-2 code.
    pub default_country: Option<String>,
    /// API requests a second, when other than the installation's default.
    pub per_second: Option<u32>,
    /// True for a demo tenant, which can never really send.
    pub is_demo: bool,
    /// The configuration version of the last change.
    pub config_version: i64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// When it was deleted.
    pub deleted_at: Option<Timestamp>,
}

const COLUMNS: &str = "id, name, state, timezone, currency, default_country, per_second, is_demo, config_version, created_at, updated_at, deleted_at";

fn read(mut row: Row) -> Result<Tenant, Error> {
    Ok(Tenant {
        id: row.get(0)?,
        name: row.get(1)?,
        state: row.get(2)?,
        timezone: row.get(3)?,
        currency: row.get(4)?,
        default_country: row.get(5)?,
        per_second: row.get(6)?,
        is_demo: row.get(7)?,
        config_version: row.get(8)?,
        created_at: row.get(9)?,
        updated_at: row.get(10)?,
        deleted_at: row.get(11)?,
    })
}

/// The version of all configuration.
pub async fn version(tx: &mut Tx) -> Result<i64, Error> {
    let row = tx.row("SELECT version FROM config_version WHERE id = 1", &[]).await?;
    row.ok_or_else(missing)?.get(0)
}

/// Raises the version of all configuration and marks the tenant as changed with it (`None`: operator's keys). Other changes of configuration wait until
/// this transaction ends.
pub async fn bump(tx: &mut Tx, tenant: Option<TenantId>) -> Result<i64, Error> {
    let row = tx.row("UPDATE config_version SET version = version + 1 WHERE id = 1 RETURNING version", &[]).await?;
    let version = row.ok_or_else(missing)?.get(0)?;
    if let Some(tenant) = tenant {
        tx.execute("UPDATE tenants SET config_version = $1 WHERE id = $2", &[&version, &tenant]).await?;
    }
    Ok(version)
}

fn missing() -> Error {
    Error::Other("the table config_version has lost its row".to_owned())
}

/// Tenants whose configuration changed after `version`, deleted ones too.
pub async fn changed_since(tx: &mut Tx, version: i64) -> Result<Vec<TenantId>, Error> {
    let rows = tx.rows("SELECT id FROM tenants WHERE config_version > $1 ORDER BY id", &[&version]).await?;
    rows.into_iter().map(|mut row| row.get(0)).collect()
}

/// Adds a tenant.
pub async fn insert(tx: &mut Tx, tenant: &Tenant) -> Result<(), Error> {
    let sql = format!("INSERT INTO tenants ({COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)");
    tx.execute(
        &sql,
        &[
            &tenant.id,
            &tenant.name,
            &tenant.state,
            &tenant.timezone,
            &tenant.currency,
            &tenant.default_country,
            &tenant.per_second,
            &tenant.is_demo,
            &tenant.config_version,
            &tenant.created_at,
            &tenant.updated_at,
            &tenant.deleted_at,
        ],
    )
    .await?;
    Ok(())
}

/// Writes everything that can change, except the configuration version, which [`bump`] writes.
pub async fn update(tx: &mut Tx, tenant: &Tenant) -> Result<(), Error> {
    tx.execute(
        "UPDATE tenants SET name = $1, state = $2, timezone = $3, currency = $4, default_country = $5, per_second = $6, updated_at = $7, deleted_at = $8
         WHERE id = $9",
        &[
            &tenant.name,
            &tenant.state,
            &tenant.timezone,
            &tenant.currency,
            &tenant.default_country,
            &tenant.per_second,
            &tenant.updated_at,
            &tenant.deleted_at,
            &tenant.id,
        ],
    )
    .await?;
    Ok(())
}

/// The tenant, unless it was deleted.
pub async fn find(tx: &mut Tx, tenant: TenantId) -> Result<Option<Tenant>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM tenants WHERE id = $1 AND deleted_at IS NULL");
    tx.row(&sql, &[&tenant]).await?.map(read).transpose()
}

/// Tenants that were not deleted, newest first, made before `before`. Across tenants: for the operator.
pub async fn list(tx: &mut Tx, before: TenantId, limit: i64) -> Result<Vec<Tenant>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM tenants WHERE id < $1 AND deleted_at IS NULL ORDER BY id DESC LIMIT $2");
    tx.rows(&sql, &[&before, &limit]).await?.into_iter().map(read).collect()
}

/// Up to `limit` ids from `from` on of all tenants there are, also of those that were deleted and are not removed yet. Across tenants: to verify their logs.
pub async fn ids(tx: &mut Tx, from: TenantId, limit: i64) -> Result<Vec<TenantId>, Error> {
    let sql = "SELECT id FROM tenants WHERE id >= $1 ORDER BY id LIMIT $2";
    tx.rows(sql, &[&from, &limit]).await?.into_iter().map(|mut row| row.get(0)).collect()
}

/// Whether a tenant is, or before it was deleted was, a demo.
pub async fn was_demo(tx: &mut Tx, id: TenantId) -> Result<bool, Error> {
    let row = tx.row("SELECT is_demo FROM tenants WHERE id = $1", &[&id]).await?;
    row.map_or(Ok(false), |mut row| row.get(0))
}

/// What a tenant is called, or was called before it was deleted; `None` once its row is gone.
pub async fn name(tx: &mut Tx, id: TenantId) -> Result<Option<String>, Error> {
    tx.row("SELECT name FROM tenants WHERE id = $1", &[&id]).await?.map(|mut row| row.get(0)).transpose()
}

/// A tenant that was deleted and whose row is still there.
pub async fn find_deleted(tx: &mut Tx, tenant: TenantId) -> Result<Option<Tenant>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM tenants WHERE id = $1 AND deleted_at IS NOT NULL");
    tx.row(&sql, &[&tenant]).await?.map(read).transpose()
}

/// Tenants that were deleted before `before`, the longest gone first. Across tenants: for the job that removes what is left of them.
pub async fn deleted_before(tx: &mut Tx, before: Timestamp, limit: i64) -> Result<Vec<TenantId>, Error> {
    let sql = "SELECT id FROM tenants WHERE deleted_at <= $1 ORDER BY deleted_at, id LIMIT $2";
    tx.rows(sql, &[&before, &limit]).await?.into_iter().map(|mut row| row.get(0)).collect()
}

/// Removes the row of a deleted tenant, of whom nothing else is left.
pub async fn remove(tx: &mut Tx, tenant: TenantId) -> Result<u64, Error> {
    tx.execute("DELETE FROM tenants WHERE id = $1 AND deleted_at IS NOT NULL", &[&tenant]).await
}

/// What the directory needs to know of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Which one.
    pub id: EndpointId,
    /// Event filters, separated by spaces.
    pub events: String,
    /// `active`, or why not.
    pub state: String,
}

/// The tenant's endpoints that were not deleted, oldest first.
pub async fn endpoints(tx: &mut Tx, tenant: TenantId) -> Result<Vec<Endpoint>, Error> {
    let sql = "SELECT id, events, state FROM endpoints WHERE tenant_id = $1 AND deleted_at IS NULL ORDER BY id";
    let rows = tx.rows(sql, &[&tenant]).await?.into_iter();
    rows.map(|mut row| Ok(Endpoint { id: row.get(0)?, events: row.get(1)?, state: row.get(2)? })).collect()
}
