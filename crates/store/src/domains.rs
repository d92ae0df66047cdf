//! Mail domains on an account: what has to stand in the DNS, and what was found there.

use model::{AccountId, DomainId, TenantId, Timestamp};

use crate::{Error, Row, Tx};

/// A row of `domains`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Domain {
    /// Which one.
    pub id: DomainId,
    /// Whose.
    pub tenant_id: TenantId,
    /// On which account.
    pub account_id: AccountId,
    /// Its name in lower case and ASCII.
    pub name: String,
    /// `pending`, `verified` or `failed`.
    pub state: String,
    /// What the provider calls it; the name again where there is no provider.
    pub reference: String,
    /// Its records and what was found, as JSON.
    pub records: String,
    /// The provider's word or reason.
    pub detail: Option<String>,
    /// How often it was checked since it was made or last verified.
    pub checks: u32,
    /// When it was last checked.
    pub checked_at: Option<Timestamp>,
    /// When it is checked next by itself.
    pub next_check_at: Option<Timestamp>,
    /// When it was found in order.
    pub verified_at: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

const COLUMNS: &str = "id, tenant_id, account_id, name, state, reference, records, detail, checks, checked_at, next_check_at, verified_at, created_at, updated_at";

fn read(mut row: Row) -> Result<Domain, Error> {
    let row = &mut row;
    Ok(Domain {
        id: row.get(0)?,
        tenant_id: row.get(1)?,
        account_id: row.get(2)?,
        name: row.get(3)?,
        state: row.get(4)?,
        reference: row.get(5)?,
        records: row.get(6)?,
        detail: row.get(7)?,
        checks: row.get(8)?,
        checked_at: row.get(9)?,
        next_check_at: row.get(10)?,
        verified_at: row.get(11)?,
        created_at: row.get(12)?,
        updated_at: row.get(13)?,
    })
}

/// Adds a domain. `false` when the account has it already.
pub async fn insert(tx: &mut Tx, domain: &Domain) -> Result<bool, Error> {
    let d = domain;
    let sql = format!(
        "INSERT INTO domains ({COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) ON CONFLICT (account_id, name) DO NOTHING"
    );
    let params: [&dyn crate::Param; 14] = [
        &d.id,
        &d.tenant_id,
        &d.account_id,
        &d.name,
        &d.state,
        &d.reference,
        &d.records,
        &d.detail,
        &d.checks,
        &d.checked_at,
        &d.next_check_at,
        &d.verified_at,
        &d.created_at,
        &d.updated_at,
    ];
    Ok(tx.execute(&sql, &params).await? == 1)
}

/// Writes what a check changes. `false` when the domain is gone.
pub async fn update(tx: &mut Tx, domain: &Domain) -> Result<bool, Error> {
    let d = domain;
    let params: [&dyn crate::Param; 11] = [
        &d.state,
        &d.reference,
        &d.records,
        &d.detail,
        &d.checks,
        &d.checked_at,
        &d.next_check_at,
        &d.verified_at,
        &d.updated_at,
        &d.id,
        &d.tenant_id,
    ];
    let touched = tx
        .execute(
            "UPDATE domains SET state = $1, reference = $2, records = $3, detail = $4, checks = $5, checked_at = $6, next_check_at = $7, verified_at = $8,
             updated_at = $9 WHERE id = $10 AND tenant_id = $11",
            &params,
        )
        .await?;
    Ok(touched == 1)
}

/// Forgets a domain. `false` when it is gone already.
pub async fn remove(tx: &mut Tx, tenant: TenantId, id: DomainId) -> Result<bool, Error> {
    Ok(tx.execute("DELETE FROM domains WHERE id = $1 AND tenant_id = $2", &[&id, &tenant]).await? == 1)
}

/// Forgets all domains of an account.
pub async fn remove_of_account(tx: &mut Tx, tenant: TenantId, account: AccountId) -> Result<(), Error> {
    tx.execute("DELETE FROM domains WHERE account_id = $1 AND tenant_id = $2", &[&account, &tenant]).await.map(drop)
}

/// One of the tenant's domains.
pub async fn find(tx: &mut Tx, tenant: TenantId, id: DomainId) -> Result<Option<Domain>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM domains WHERE id = $1 AND tenant_id = $2");
    tx.row(&sql, &[&id, &tenant]).await?.map(read).transpose()
}

/// The tenant's domains, newest first, made before `before`.
pub async fn list(tx: &mut Tx, tenant: TenantId, before: DomainId, limit: i64) -> Result<Vec<Domain>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM domains WHERE tenant_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3");
    tx.rows(&sql, &[&tenant, &before, &limit]).await?.into_iter().map(read).collect()
}

/// Account, name and state of all of the tenant's domains. Bounded by the engine's limit on them.
pub async fn states(tx: &mut Tx, tenant: TenantId) -> Result<Vec<(AccountId, String, String)>, Error> {
    let rows =
        tx.rows("SELECT account_id, name, state FROM domains WHERE tenant_id = $1 ORDER BY id", &[&tenant]).await?;
    rows.into_iter().map(|mut row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).collect()
}

/// Domains of any tenants that are to be checked now, the longest overdue first.
pub async fn due(tx: &mut Tx, now: Timestamp, limit: i64) -> Result<Vec<Domain>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM domains WHERE next_check_at <= $1 ORDER BY next_check_at, id LIMIT $2");
    tx.rows(&sql, &[&now, &limit]).await?.into_iter().map(read).collect()
}
