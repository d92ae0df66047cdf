//! Tenants of the sandbox: how far each was filled, and when it ends.

use model::{TenantId, Timestamp, UserId};

use crate::{Error, Row, Tx};

/// A row of `demo_tenants`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DemoTenant {
    /// Which tenant.
    pub tenant: TenantId,
    /// Whom its link signs in.
    pub owner: UserId,
    /// The stage of its filling that is to be done next.
    pub stage: i64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it is deleted.
    pub ends_at: Timestamp,
}

const COLUMNS: &str = "tenant_id, owner_id, stage, created_at, ends_at";

fn read(mut row: Row) -> Result<DemoTenant, Error> {
    Ok(DemoTenant {
        tenant: row.get(0)?,
        owner: row.get(1)?,
        stage: row.get(2)?,
        created_at: row.get(3)?,
        ends_at: row.get(4)?,
    })
}

/// Adds a demo tenant.
pub async fn insert(tx: &mut Tx, demo: &DemoTenant) -> Result<(), Error> {
    let sql = format!("INSERT INTO demo_tenants ({COLUMNS}) VALUES ($1, $2, $3, $4, $5)");
    tx.execute(&sql, &[&demo.tenant, &demo.owner, &demo.stage, &demo.created_at, &demo.ends_at]).await.map(drop)
}

/// Moves the filling on from one stage to the next; `false` when somebody else did.
pub async fn advance(tx: &mut Tx, tenant: TenantId, from: i64, to: i64) -> Result<bool, Error> {
    let sql = "UPDATE demo_tenants SET stage = $1 WHERE tenant_id = $2 AND stage = $3";
    Ok(tx.execute(sql, &[&to, &tenant, &from]).await? == 1)
}

/// The row of a tenant that was not deleted.
pub async fn find(tx: &mut Tx, tenant: TenantId) -> Result<Option<DemoTenant>, Error> {
    let sql = format!(
        "SELECT {COLUMNS} FROM demo_tenants WHERE tenant_id = $1
         AND EXISTS (SELECT 1 FROM tenants WHERE tenants.id = demo_tenants.tenant_id AND deleted_at IS NULL)"
    );
    tx.row(&sql, &[&tenant]).await?.map(read).transpose()
}

/// Those made since `since` that were not deleted and are not filled up to `stage` yet, oldest first. Across tenants: for the job that fills them.
pub async fn unfilled(tx: &mut Tx, stage: i64, since: Timestamp, limit: i64) -> Result<Vec<DemoTenant>, Error> {
    let sql = format!(
        "SELECT {COLUMNS} FROM demo_tenants WHERE stage < $1 AND created_at >= $2
         AND EXISTS (SELECT 1 FROM tenants WHERE tenants.id = demo_tenants.tenant_id AND deleted_at IS NULL)
         ORDER BY tenant_id LIMIT $3"
    );
    tx.rows(&sql, &[&stage, &since, &limit]).await?.into_iter().map(read).collect()
}

/// Those whose time is over and that were not deleted. Across tenants: for the job that deletes them.
pub async fn ended(tx: &mut Tx, now: Timestamp, limit: i64) -> Result<Vec<DemoTenant>, Error> {
    let sql = format!(
        "SELECT {COLUMNS} FROM demo_tenants WHERE ends_at <= $1
         AND EXISTS (SELECT 1 FROM tenants WHERE tenants.id = demo_tenants.tenant_id AND deleted_at IS NULL)
         ORDER BY ends_at, tenant_id LIMIT $2"
    );
    tx.rows(&sql, &[&now, &limit]).await?.into_iter().map(read).collect()
}

/// Those that were not deleted, newest first, made before `before`. Across tenants: for the operator.
pub async fn list(tx: &mut Tx, before: TenantId, limit: i64) -> Result<Vec<DemoTenant>, Error> {
    let sql = format!(
        "SELECT {COLUMNS} FROM demo_tenants WHERE tenant_id < $1
         AND EXISTS (SELECT 1 FROM tenants WHERE tenants.id = demo_tenants.tenant_id AND deleted_at IS NULL)
         ORDER BY tenant_id DESC LIMIT $2"
    );
    tx.rows(&sql, &[&before, &limit]).await?.into_iter().map(read).collect()
}
