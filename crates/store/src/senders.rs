//! Senders: the addresses, numbers and names an account may send as besides its own `from`.

use model::{AccountId, SenderId, TenantId, Timestamp};

use crate::{Error, Row, Tx};

/// A row of `senders`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sender {
    /// Which one.
    pub id: SenderId,
    /// Whose.
    pub tenant_id: TenantId,
    /// On which account.
    pub account_id: AccountId,
    /// Words of the channels it can be used for, separated by spaces.
    pub channels: String,
    /// As whom, as the tenant wrote it.
    pub sender: String,
    /// Name for people.
    pub name: String,
    /// What the provider said of it: `verified`, `refused` or `unknown`.
    pub state: String,
    /// In words.
    pub detail: Option<String>,
    /// When the provider was asked.
    pub checked_at: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

const COLUMNS: &str =
    "id, tenant_id, account_id, channels, sender, name, state, detail, checked_at, created_at, updated_at";

fn read(mut row: Row) -> Result<Sender, Error> {
    let row = &mut row;
    Ok(Sender {
        id: row.get(0)?,
        tenant_id: row.get(1)?,
        account_id: row.get(2)?,
        channels: row.get(3)?,
        sender: row.get(4)?,
        name: row.get(5)?,
        state: row.get(6)?,
        detail: row.get(7)?,
        checked_at: row.get(8)?,
        created_at: row.get(9)?,
        updated_at: row.get(10)?,
    })
}

/// Adds a sender. `false` when the account has it already.
pub async fn insert(tx: &mut Tx, sender: &Sender) -> Result<bool, Error> {
    let s = sender;
    let sql = format!(
        "INSERT INTO senders ({COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT (account_id, sender) DO NOTHING"
    );
    let params: [&dyn crate::Param; 11] = [
        &s.id,
        &s.tenant_id,
        &s.account_id,
        &s.channels,
        &s.sender,
        &s.name,
        &s.state,
        &s.detail,
        &s.checked_at,
        &s.created_at,
        &s.updated_at,
    ];
    Ok(tx.execute(&sql, &params).await? == 1)
}

/// Writes everything that can change. `false` when the sender is gone.
pub async fn update(tx: &mut Tx, sender: &Sender) -> Result<bool, Error> {
    let s = sender;
    let params: [&dyn crate::Param; 8] =
        [&s.channels, &s.name, &s.state, &s.detail, &s.checked_at, &s.updated_at, &s.id, &s.tenant_id];
    let touched = tx
        .execute(
            "UPDATE senders SET channels = $1, name = $2, state = $3, detail = $4, checked_at = $5, updated_at = $6 WHERE id = $7 AND tenant_id = $8",
            &params,
        )
        .await?;
    Ok(touched == 1)
}

/// Forgets a sender. `false` when it is gone already.
pub async fn remove(tx: &mut Tx, tenant: TenantId, id: SenderId) -> Result<bool, Error> {
    Ok(tx.execute("DELETE FROM senders WHERE id = $1 AND tenant_id = $2", &[&id, &tenant]).await? == 1)
}

/// Forgets all senders of an account.
pub async fn remove_of_account(tx: &mut Tx, tenant: TenantId, account: AccountId) -> Result<(), Error> {
    tx.execute("DELETE FROM senders WHERE account_id = $1 AND tenant_id = $2", &[&account, &tenant]).await.map(drop)
}

/// One of the tenant's senders.
pub async fn find(tx: &mut Tx, tenant: TenantId, id: SenderId) -> Result<Option<Sender>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM senders WHERE id = $1 AND tenant_id = $2");
    tx.row(&sql, &[&id, &tenant]).await?.map(read).transpose()
}

/// The tenant's senders, newest first, made before `before`; of one account where one is given.
pub async fn list(
    tx: &mut Tx,
    tenant: TenantId,
    account: Option<AccountId>,
    before: SenderId,
    limit: i64,
) -> Result<Vec<Sender>, Error> {
    let sql = format!(
        "SELECT {COLUMNS} FROM senders WHERE tenant_id = $1 AND id < $2 AND ($3 OR account_id = $4) ORDER BY id DESC LIMIT $5"
    );
    let all = account.is_none();
    let account = account.unwrap_or(AccountId::from_ulid(0));
    tx.rows(&sql, &[&tenant, &before, &all, &account, &limit]).await?.into_iter().map(read).collect()
}

/// All of the tenant's senders, oldest first. Bounded by the engine's limit on them.
pub async fn all(tx: &mut Tx, tenant: TenantId) -> Result<Vec<Sender>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM senders WHERE tenant_id = $1 ORDER BY id");
    tx.rows(&sql, &[&tenant]).await?.into_iter().map(read).collect()
}
