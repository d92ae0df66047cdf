//! The audit log: who changed what in a tenant. Append-only.

use model::{AuditId, TenantId, Timestamp};

use crate::{Error, Row, Tx};

/// A row of `audit_log`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Whose log; the operator's own is kept under the zero id.
    pub tenant: TenantId,
    /// Sortable id.
    pub id: AuditId,
    /// When.
    pub at: Timestamp,
    /// Who: a key, a user or the system.
    pub actor: String,
    /// What was done, as in `account.updated`.
    pub action: String,
    /// To what: an id.
    pub subject: String,
    /// What changed, as JSON without secrets.
    pub detail: String,
    /// From where.
    pub ip: Option<String>,
}

const COLUMNS: &str = "tenant_id, id, at, actor, action, subject, detail, ip";

fn read(mut row: Row) -> Result<Entry, Error> {
    Ok(Entry {
        tenant: row.get(0)?,
        id: row.get(1)?,
        at: row.get(2)?,
        actor: row.get(3)?,
        action: row.get(4)?,
        subject: row.get(5)?,
        detail: row.get(6)?,
        ip: row.get(7)?,
    })
}

/// Appends an entry.
pub async fn append(tx: &mut Tx, entry: &Entry) -> Result<(), Error> {
    let sql = format!("INSERT INTO audit_log ({COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)");
    tx.execute(
        &sql,
        &[&entry.tenant, &entry.id, &entry.at, &entry.actor, &entry.action, &entry.subject, &entry.detail, &entry.ip],
    )
    .await?;
    Ok(())
}

/// The tenant's entries made before `before`, newest first.
pub async fn list(tx: &mut Tx, tenant: TenantId, before: AuditId, limit: i64) -> Result<Vec<Entry>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM audit_log WHERE tenant_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3");
    tx.rows(&sql, &[&tenant, &before, &limit]).await?.into_iter().map(read).collect()
}
