//! Registrations with carriers: how far each is, what was made for it at the provider, and when it is worked on next.

use model::{AccountId, RegistrationId, TenantId, Timestamp};

use crate::{Error, Row, Tx, inflight::WorkerId, leases::Leased};

/// A row of `registrations`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// Whose.
    pub tenant_id: TenantId,
    /// Which one.
    pub id: RegistrationId,
    /// Of which account; one each, and one for each of its toll-free numbers.
    pub account_id: AccountId,
    /// `10dlc` or `toll_free`.
    pub kind: String,
    /// The toll-free number; empty for `10dlc`.
    pub sender: String,
    /// What is asked about a toll-free number, as JSON.
    pub toll_free: Option<String>,
    /// `in_progress`, `rejected`, `operator_needed` or `approved`.
    pub state: String,
    /// What is done next, or what was.
    pub stage: String,
    /// What was made at the provider, as JSON.
    pub refs: String,
    /// What was submitted, as JSON.
    pub business: String,
    /// Where the number is to be, where that was said.
    pub area_code: Option<String>,
    /// Why it was rejected, as a JSON list.
    pub reasons: String,
    /// What went wrong the last time the provider was asked.
    pub problem: Option<String>,
    /// How often in a row the provider could not be asked.
    pub failures: u32,
    /// When it was last submitted.
    pub submitted_at: Timestamp,
    /// When it was approved.
    pub approved_at: Option<Timestamp>,
    /// When it is worked on next; `None` while nothing is to be done.
    pub next_at: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

const COLUMNS: &str = "tenant_id, id, account_id, state, stage, refs, business, area_code, reasons, problem, failures, submitted_at, approved_at, next_at, created_at, updated_at, kind, sender, toll_free";

fn read(mut row: Row) -> Result<Registration, Error> {
    let row = &mut row;
    Ok(Registration {
        tenant_id: row.get(0)?,
        id: row.get(1)?,
        account_id: row.get(2)?,
        state: row.get(3)?,
        stage: row.get(4)?,
        refs: row.get(5)?,
        business: row.get(6)?,
        area_code: row.get(7)?,
        reasons: row.get(8)?,
        problem: row.get(9)?,
        failures: row.get(10)?,
        submitted_at: row.get(11)?,
        approved_at: row.get(12)?,
        next_at: row.get(13)?,
        created_at: row.get(14)?,
        updated_at: row.get(15)?,
        kind: row.get(16)?,
        sender: row.get(17)?,
        toll_free: row.get(18)?,
    })
}

/// Adds a registration. `false` when the account, or the toll-free number, has one.
pub async fn insert(tx: &mut Tx, r: &Registration) -> Result<bool, Error> {
    let sql = format!(
        "INSERT INTO registrations ({COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)
         ON CONFLICT (tenant_id, account_id, kind, sender) DO NOTHING"
    );
    let params: [&dyn crate::Param; 19] = [
        &r.tenant_id,
        &r.id,
        &r.account_id,
        &r.state,
        &r.stage,
        &r.refs,
        &r.business,
        &r.area_code,
        &r.reasons,
        &r.problem,
        &r.failures,
        &r.submitted_at,
        &r.approved_at,
        &r.next_at,
        &r.created_at,
        &r.updated_at,
        &r.kind,
        &r.sender,
        &r.toll_free,
    ];
    Ok(tx.execute(&sql, &params).await? == 1)
}

/// Writes everything that can change, if nobody changed it since `seen`. `false` when somebody did, or it is gone.
pub async fn update(tx: &mut Tx, r: &Registration, seen: Timestamp) -> Result<bool, Error> {
    let sql = "UPDATE registrations SET state = $1, stage = $2, refs = $3, business = $4, area_code = $5, reasons = $6, problem = $7, failures = $8, submitted_at = $9,
        approved_at = $10, next_at = $11, updated_at = $12, toll_free = $16 WHERE tenant_id = $13 AND id = $14 AND updated_at = $15";
    let params: [&dyn crate::Param; 16] = [
        &r.state,
        &r.stage,
        &r.refs,
        &r.business,
        &r.area_code,
        &r.reasons,
        &r.problem,
        &r.failures,
        &r.submitted_at,
        &r.approved_at,
        &r.next_at,
        &r.updated_at,
        &r.tenant_id,
        &r.id,
        &seen,
        &r.toll_free,
    ];
    Ok(tx.execute(sql, &params).await? == 1)
}

/// One of the tenant's registrations.
pub async fn find(tx: &mut Tx, tenant: TenantId, id: RegistrationId) -> Result<Option<Registration>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM registrations WHERE tenant_id = $1 AND id = $2");
    tx.row(&sql, &[&tenant, &id]).await?.map(read).transpose()
}

/// The tenant's registrations of a kind, newest first, made before `before`.
pub async fn list(
    tx: &mut Tx,
    tenant: TenantId,
    kind: &str,
    before: RegistrationId,
    limit: i64,
) -> Result<Vec<Registration>, Error> {
    let sql = format!(
        "SELECT {COLUMNS} FROM registrations WHERE tenant_id = $1 AND kind = $2 AND id < $3 ORDER BY id DESC LIMIT $4"
    );
    tx.rows(&sql, &[&tenant, &kind, &before, &limit]).await?.into_iter().map(read).collect()
}

/// Registrations of a kind, of all tenants, that need the operator, newest first, made before `before`.
pub async fn stuck(tx: &mut Tx, kind: &str, before: RegistrationId, limit: i64) -> Result<Vec<Registration>, Error> {
    let sql = format!(
        "SELECT {COLUMNS} FROM registrations WHERE state = 'operator_needed' AND kind = $1 AND id < $2 ORDER BY id DESC LIMIT $3"
    );
    tx.rows(&sql, &[&kind, &before, &limit]).await?.into_iter().map(read).collect()
}

/// Account, toll-free number (empty for `10dlc`) and state of all of the tenant's registrations.
pub async fn states(tx: &mut Tx, tenant: TenantId) -> Result<Vec<(AccountId, String, String)>, Error> {
    let sql = "SELECT account_id, sender, state FROM registrations WHERE tenant_id = $1 ORDER BY id";
    let rows = tx.rows(sql, &[&tenant]).await?;
    rows.into_iter().map(|mut row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).collect()
}

/// Forgets a registration nobody works on. `false` when somebody does, or it is gone already.
pub async fn remove(tx: &mut Tx, tenant: TenantId, id: RegistrationId, now: Timestamp) -> Result<bool, Error> {
    let sql =
        "DELETE FROM registrations WHERE tenant_id = $1 AND id = $2 AND (lease_until IS NULL OR lease_until <= $3)";
    Ok(tx.execute(sql, &[&tenant, &id, &now]).await? == 1)
}

/// Forgets the registrations of an account, and answers which they were.
pub async fn remove_of_account(
    tx: &mut Tx,
    tenant: TenantId,
    account: AccountId,
) -> Result<Vec<RegistrationId>, Error> {
    let sql = "DELETE FROM registrations WHERE tenant_id = $1 AND account_id = $2 RETURNING id";
    let rows = tx.rows(sql, &[&tenant, &account]).await?;
    let mut ids = rows.into_iter().map(|mut row| row.get(0)).collect::<Result<Vec<_>, Error>>()?;
    ids.sort_unstable();
    Ok(ids)
}

/// Takes registrations of any tenants with something to do that nobody else works on, until `until`.
pub async fn lease(
    tx: &mut Tx,
    worker: WorkerId,
    now: Timestamp,
    until: Timestamp,
    limit: i64,
) -> Result<Vec<Registration>, Error> {
    let leased = Leased { table: "registrations", key: "tenant_id, id", columns: COLUMNS };
    let rows = leased.lease(tx, worker, now, until, limit).await?;
    let mut leased = rows.into_iter().map(read).collect::<Result<Vec<_>, _>>()?;
    leased.sort_by_key(|row| (row.next_at, row.id));
    Ok(leased)
}

/// Ends a turn: others may take it again when it is due, which is `next_at` for one that came to nothing.
pub async fn release(
    tx: &mut Tx,
    tenant: TenantId,
    id: RegistrationId,
    worker: WorkerId,
    next_at: Option<Timestamp>,
) -> Result<(), Error> {
    let sql = "UPDATE registrations SET leased_by = NULL, lease_until = NULL, next_at = COALESCE($4, next_at) WHERE tenant_id = $1 AND id = $2 AND leased_by = $3";
    tx.execute(sql, &[&tenant, &id, &worker, &next_at]).await.map(drop)
}
