//! What a tenant allows its messages to say. There are few rules, and they are read whole.

use model::{ContentRuleId, TenantId, Timestamp};

use crate::{Error, Row, Tx};

/// A row of `content_rules`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentRule {
    /// Whose.
    pub tenant_id: TenantId,
    /// Which one.
    pub id: ContentRuleId,
    /// Name for people.
    pub name: String,
    /// False when it is kept and not applied.
    pub is_enabled: bool,
    /// What it looks for, in JSON.
    pub rule: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

const COLUMNS: &str = "tenant_id, id, name, is_enabled, rule, created_at, updated_at";

fn read(mut row: Row) -> Result<ContentRule, Error> {
    Ok(ContentRule {
        tenant_id: row.get(0)?,
        id: row.get(1)?,
        name: row.get(2)?,
        is_enabled: row.get(3)?,
        rule: row.get(4)?,
        created_at: row.get(5)?,
        updated_at: row.get(6)?,
    })
}

/// Adds a rule.
pub async fn insert(tx: &mut Tx, r: &ContentRule) -> Result<(), Error> {
    let sql = format!("INSERT INTO content_rules ({COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7)");
    tx.execute(&sql, &[&r.tenant_id, &r.id, &r.name, &r.is_enabled, &r.rule, &r.created_at, &r.updated_at])
        .await
        .map(drop)
}

/// Writes everything that can change.
pub async fn update(tx: &mut Tx, r: &ContentRule) -> Result<(), Error> {
    let sql = "UPDATE content_rules SET name = $1, is_enabled = $2, rule = $3, updated_at = $4 WHERE tenant_id = $5 AND id = $6";
    tx.execute(sql, &[&r.name, &r.is_enabled, &r.rule, &r.updated_at, &r.tenant_id, &r.id]).await.map(drop)
}

/// All rules of a tenant, oldest first.
pub async fn all(tx: &mut Tx, tenant: TenantId) -> Result<Vec<ContentRule>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM content_rules WHERE tenant_id = $1 ORDER BY id");
    tx.rows(&sql, &[&tenant]).await?.into_iter().map(read).collect()
}

/// Removes a rule. False when it is not there.
pub async fn delete(tx: &mut Tx, tenant: TenantId, id: ContentRuleId) -> Result<bool, Error> {
    Ok(tx.execute("DELETE FROM content_rules WHERE tenant_id = $1 AND id = $2", &[&tenant, &id]).await? > 0)
}
