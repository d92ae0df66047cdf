//! What nodes share about running accounts: pauses, and the token bucket of those with a rate. Accounts in good health and without a rate have no row.

use model::{AccountId, TenantId, Timestamp};

use crate::{Error, Row, Tx};

/// A running account's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountState {
    /// Which account.
    pub account_id: AccountId,
    /// Whose.
    pub tenant_id: TenantId,
    /// Nothing leaves before this instant.
    pub paused_until: Option<Timestamp>,
    /// Since when it has been paused without a success in between.
    pub paused_at: Option<Timestamp>,
    /// Why, as JSON of [`model::Failure`].
    pub pause: Option<String>,
    /// Failures in a row that speak against the account or its provider.
    pub failures: i64,
    /// What is in the bucket, in millionths of a message.
    pub tokens_micros: i64,
    /// When the bucket was last filled.
    pub refilled_at: Timestamp,
}

const COLUMNS: &str = "account_id, tenant_id, paused_until, paused_at, pause, failures, tokens_micros, refilled_at";

impl AccountState {
    /// An account in good health with an empty bucket.
    pub fn new(tenant_id: TenantId, account_id: AccountId, now: Timestamp) -> Self {
        Self {
            account_id,
            tenant_id,
            paused_until: None,
            paused_at: None,
            pause: None,
            failures: 0,
            tokens_micros: 0,
            refilled_at: now,
        }
    }

    fn read(mut row: Row) -> Result<Self, Error> {
        let row = &mut row;
        Ok(Self {
            account_id: row.get(0)?,
            tenant_id: row.get(1)?,
            paused_until: row.get(2)?,
            paused_at: row.get(3)?,
            pause: row.get(4)?,
            failures: row.get(5)?,
            tokens_micros: row.get(6)?,
            refilled_at: row.get(7)?,
        })
    }
}

/// Reads one account's state and keeps others from changing it until the transaction ends.
pub async fn lock(tx: &mut Tx, tenant: TenantId, account: AccountId) -> Result<Option<AccountState>, Error> {
    let lock = tx.dialect().for_update();
    let sql = format!("SELECT {COLUMNS} FROM account_states WHERE account_id = $1 AND tenant_id = $2 {lock}");
    tx.row(&sql, &[&account, &tenant]).await?.map(AccountState::read).transpose()
}

/// Writes one account's state.
pub async fn save(tx: &mut Tx, state: &AccountState) -> Result<(), Error> {
    let sql = format!(
        "INSERT INTO account_states ({COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (account_id) DO UPDATE SET
         paused_until = excluded.paused_until, paused_at = excluded.paused_at, pause = excluded.pause, failures = excluded.failures,
         tokens_micros = excluded.tokens_micros, refilled_at = excluded.refilled_at"
    );
    let s = state;
    let params: [&dyn crate::Param; 8] = [
        &s.account_id,
        &s.tenant_id,
        &s.paused_until,
        &s.paused_at,
        &s.pause,
        &s.failures,
        &s.tokens_micros,
        &s.refilled_at,
    ];
    tx.execute(&sql, &params).await.map(drop)
}

/// The accounts of any tenants that are paused or failing: for the dispatcher of every node.
pub async fn troubled(tx: &mut Tx) -> Result<Vec<AccountState>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM account_states WHERE failures > 0 OR paused_until IS NOT NULL");
    tx.rows(&sql, &[]).await?.into_iter().map(AccountState::read).collect()
}

/// The state of some of a tenant's accounts.
pub async fn of_tenant(tx: &mut Tx, tenant: TenantId) -> Result<Vec<AccountState>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM account_states WHERE tenant_id = $1");
    tx.rows(&sql, &[&tenant]).await?.into_iter().map(AccountState::read).collect()
}
