//! What an account has at its provider, one row each: how its callbacks are set up, and when its WhatsApp templates are read again.

use model::{AccountId, TenantId, Timestamp};

use crate::{Error, Row, Tx};

/// A row of `account_resources`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resources {
    /// Which account.
    pub account_id: AccountId,
    /// Whose.
    pub tenant_id: TenantId,
    /// When its callbacks were set up.
    pub callbacks_at: Option<Timestamp>,
    /// When its templates are to be read again.
    pub templates_due_at: Option<Timestamp>,
    /// When they were last read.
    pub templates_at: Option<Timestamp>,
    /// Why they could not be read the last time.
    pub templates_trouble: Option<String>,
}

const COLUMNS: &str = "account_id, tenant_id, callbacks_at, templates_due_at, templates_at, templates_trouble";

fn read(mut row: Row) -> Result<Resources, Error> {
    let row = &mut row;
    Ok(Resources {
        account_id: row.get(0)?,
        tenant_id: row.get(1)?,
        callbacks_at: row.get(2)?,
        templates_due_at: row.get(3)?,
        templates_at: row.get(4)?,
        templates_trouble: row.get(5)?,
    })
}

/// What is known of an account.
pub async fn find(tx: &mut Tx, tenant: TenantId, account: AccountId) -> Result<Option<Resources>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM account_resources WHERE account_id = $1 AND tenant_id = $2");
    tx.row(&sql, &[&account, &tenant]).await?.map(read).transpose()
}

/// Notes when callbacks were set up. What earlier versions kept of it may name secret addresses, and is removed.
pub async fn put_callbacks(tx: &mut Tx, tenant: TenantId, account: AccountId, at: Timestamp) -> Result<(), Error> {
    tx.execute(
        "INSERT INTO account_resources (account_id, tenant_id, callbacks_at) VALUES ($1, $2, $3)
         ON CONFLICT (account_id) DO UPDATE SET callbacks = NULL, callbacks_at = excluded.callbacks_at",
        &[&account, &tenant, &at],
    )
    .await
    .map(drop)
}

/// Keeps when templates were read, or why not, and when they are read again.
pub async fn put_templates(
    tx: &mut Tx,
    tenant: TenantId,
    account: AccountId,
    read_at: Option<Timestamp>,
    trouble: Option<&str>,
    due_at: Timestamp,
) -> Result<(), Error> {
    tx.execute(
        "INSERT INTO account_resources (account_id, tenant_id, templates_due_at, templates_at, templates_trouble) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (account_id) DO UPDATE SET templates_due_at = $3, templates_at = COALESCE($4, account_resources.templates_at), templates_trouble = $5",
        &[&account, &tenant, &due_at, &read_at, &trouble],
    )
    .await
    .map(drop)
}

/// Forgets what an account had.
pub async fn remove(tx: &mut Tx, tenant: TenantId, account: AccountId) -> Result<(), Error> {
    let sql = "DELETE FROM account_resources WHERE account_id = $1 AND tenant_id = $2";
    tx.execute(sql, &[&account, &tenant]).await.map(drop)
}

/// Accounts of any tenants whose templates are to be read now, the longest overdue first.
pub async fn templates_due(tx: &mut Tx, now: Timestamp, limit: i64) -> Result<Vec<(TenantId, AccountId)>, Error> {
    let sql = "SELECT tenant_id, account_id FROM account_resources WHERE templates_due_at <= $1 ORDER BY templates_due_at, account_id LIMIT $2";
    let rows = tx.rows(sql, &[&now, &limit]).await?;
    rows.into_iter().map(|mut row| Ok((row.get(0)?, row.get(1)?))).collect()
}
