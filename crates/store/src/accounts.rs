//! Accounts: a tenant's sealed settings for a connector. Endpoints have a row here too (connector `webhook`).

use model::{AccountId, Status, TenantId, Timestamp};

use crate::{Error, Row, Tx};

/// A row of `accounts`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Which one.
    pub id: AccountId,
    /// Whose.
    pub tenant: TenantId,
    /// The connector's id.
    pub connector: String,
    /// Name for people.
    pub name: String,
    /// Words of the channels it carries, separated by spaces.
    pub channels: String,
    /// Words of the channels whose default it is, separated by spaces.
    pub default_for: String,
    /// Its default sender as the tenant wrote it.
    pub sender: Option<String>,
    /// Sealed settings; empty once the account is deleted.
    pub settings: Vec<u8>,
    /// Which data key sealed them; 0 once the account is deleted.
    pub data_key_id: i64,
    /// False when nothing may leave through it.
    pub is_enabled: bool,
    /// Messages a second, when less than the connector's own limit.
    pub per_second: Option<u32>,
    /// Requests at once, when less than the connector's own limit.
    pub concurrency: Option<u32>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// When it was deleted.
    pub deleted_at: Option<Timestamp>,
}

const COLUMNS: &str = "id, tenant_id, connector, name, channels, default_for, sender, settings, data_key_id, is_enabled, per_second, concurrency, created_at, updated_at, deleted_at";

fn read(mut row: Row) -> Result<Account, Error> {
    Ok(Account {
        id: row.get(0)?,
        tenant: row.get(1)?,
        connector: row.get(2)?,
        name: row.get(3)?,
        channels: row.get(4)?,
        default_for: row.get(5)?,
        sender: row.get(6)?,
        settings: row.get(7)?,
        data_key_id: row.get(8)?,
        is_enabled: row.get(9)?,
        per_second: row.get(10)?,
        concurrency: row.get(11)?,
        created_at: row.get(12)?,
        updated_at: row.get(13)?,
        deleted_at: row.get(14)?,
    })
}

/// Adds an account.
pub async fn insert(tx: &mut Tx, account: &Account) -> Result<(), Error> {
    let sql = format!(
        "INSERT INTO accounts ({COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)"
    );
    tx.execute(
        &sql,
        &[
            &account.id,
            &account.tenant,
            &account.connector,
            &account.name,
            &account.channels,
            &account.default_for,
            &account.sender,
            &account.settings,
            &account.data_key_id,
            &account.is_enabled,
            &account.per_second,
            &account.concurrency,
            &account.created_at,
            &account.updated_at,
            &account.deleted_at,
        ],
    )
    .await?;
    Ok(())
}

/// Writes everything that can change.
pub async fn update(tx: &mut Tx, account: &Account) -> Result<(), Error> {
    tx.execute(
        "UPDATE accounts SET name = $1, channels = $2, default_for = $3, sender = $4, settings = $5, data_key_id = $6, is_enabled = $7, per_second = $8,
         concurrency = $9, updated_at = $10, deleted_at = $11 WHERE id = $12 AND tenant_id = $13",
        &[
            &account.name,
            &account.channels,
            &account.default_for,
            &account.sender,
            &account.settings,
            &account.data_key_id,
            &account.is_enabled,
            &account.per_second,
            &account.concurrency,
            &account.updated_at,
            &account.deleted_at,
            &account.id,
            &account.tenant,
        ],
    )
    .await?;
    Ok(())
}

/// Writes newly sealed settings, if the account still is as it was read (`before`). Changes nothing people see, so `updated_at` stays.
pub async fn reseal(tx: &mut Tx, before: &Account, settings: &[u8], data_key_id: i64) -> Result<bool, Error> {
    let sql = "UPDATE accounts SET settings = $1, data_key_id = $2 WHERE id = $3 AND tenant_id = $4 AND settings = $5";
    let touched = tx.execute(sql, &[&settings, &data_key_id, &before.id, &before.tenant, &before.settings]).await?;
    Ok(touched == 1)
}

/// One of the tenant's accounts, unless it was deleted.
pub async fn find(tx: &mut Tx, tenant: TenantId, account: AccountId) -> Result<Option<Account>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM accounts WHERE id = $1 AND tenant_id = $2 AND deleted_at IS NULL");
    tx.row(&sql, &[&account, &tenant]).await?.map(read).transpose()
}

/// The same, also once it was deleted: its messages are still there.
pub async fn find_ever(tx: &mut Tx, tenant: TenantId, account: AccountId) -> Result<Option<Account>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM accounts WHERE id = $1 AND tenant_id = $2");
    tx.row(&sql, &[&account, &tenant]).await?.map(read).transpose()
}

/// Whose account this is. Across tenants: a provider's callback names only the account.
pub async fn owner(tx: &mut Tx, account: AccountId) -> Result<Option<TenantId>, Error> {
    let sql = "SELECT tenant_id FROM accounts WHERE id = $1 AND deleted_at IS NULL";
    tx.row(sql, &[&account]).await?.map(|mut row| row.get(0)).transpose()
}

/// All of the tenant's accounts that were not deleted, oldest first, endpoints too. Bounded by the engine's limits on both.
pub async fn all(tx: &mut Tx, tenant: TenantId) -> Result<Vec<Account>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM accounts WHERE tenant_id = $1 AND deleted_at IS NULL ORDER BY id");
    tx.rows(&sql, &[&tenant]).await?.into_iter().map(read).collect()
}

/// Accounts at a provider that were not deleted, behind `after`, oldest first, with whose they are. Across tenants: for what the operator does at the provider.
pub async fn of_connector(
    tx: &mut Tx,
    connector: &str,
    after: AccountId,
    limit: i64,
) -> Result<Vec<(TenantId, AccountId)>, Error> {
    let sql = "SELECT a.tenant_id, a.id FROM accounts AS a JOIN tenants AS t ON t.id = a.tenant_id
        WHERE a.connector = $1 AND a.id > $2 AND a.deleted_at IS NULL AND t.deleted_at IS NULL ORDER BY a.id LIMIT $3";
    let rows = tx.rows(sql, &[&connector, &after, &limit]).await?;
    rows.into_iter().map(|mut row| Ok((row.get(0)?, row.get(1)?))).collect()
}

/// Accounts there ever were at a provider, of any tenant, made before `before`, newest first. Across tenants: several may send through one account at the provider.
pub async fn ever_of_connector(
    tx: &mut Tx,
    connector: &str,
    before: AccountId,
    limit: i64,
) -> Result<Vec<AccountId>, Error> {
    let sql = "SELECT id FROM accounts WHERE connector = $1 AND id < $2 ORDER BY id DESC LIMIT $3";
    tx.rows(sql, &[&connector, &before, &limit]).await?.into_iter().map(|mut row| row.get(0)).collect()
}

/// The tenant's accounts that were not deleted and are no endpoints, newest first, made before `before`.
pub async fn list(tx: &mut Tx, tenant: TenantId, before: AccountId, limit: i64) -> Result<Vec<Account>, Error> {
    let sql = format!(
        "SELECT {COLUMNS} FROM accounts WHERE tenant_id = $1 AND id < $2 AND deleted_at IS NULL AND connector <> 'webhook' ORDER BY id DESC LIMIT $3"
    );
    tx.rows(&sql, &[&tenant, &before, &limit]).await?.into_iter().map(read).collect()
}

/// Up to `limit` of the tenant's accounts after `after` whose settings another data key than `data_key_id` sealed.
pub async fn sealed_by_others(
    tx: &mut Tx,
    tenant: TenantId,
    data_key_id: i64,
    after: AccountId,
    limit: i64,
) -> Result<Vec<Account>, Error> {
    let lock = tx.dialect().for_update();
    let sql = format!(
        "SELECT {COLUMNS} FROM accounts WHERE tenant_id = $1 AND data_key_id <> $2 AND data_key_id <> 0 AND id > $3 ORDER BY id LIMIT $4 {lock}"
    );
    tx.rows(&sql, &[&tenant, &data_key_id, &after, &limit]).await?.into_iter().map(read).collect()
}

/// How many of the account's messages have each status, among the tenant's newest `window` messages.
pub async fn recent_statuses(
    tx: &mut Tx,
    tenant: TenantId,
    account: AccountId,
    window: i64,
) -> Result<Vec<(Status, i64)>, Error> {
    let sql = "SELECT status, COUNT(*) FROM (SELECT status, account_id FROM messages WHERE tenant_id = $1 ORDER BY id DESC LIMIT $2) AS newest
               WHERE account_id = $3 GROUP BY status ORDER BY status";
    let rows = tx.rows(sql, &[&tenant, &window, &account]).await?;
    rows.into_iter().map(|mut row| Ok((row.get(0)?, row.get(1)?))).collect()
}
