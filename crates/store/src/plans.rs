//! The operator's plans. They belong to no tenant; what one grants and costs never changes.

use model::{PlanId, TenantId, Timestamp};

use crate::{Error, Row, Tx};

/// A row of `plans`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Which one.
    pub id: PlanId,
    /// Name for people.
    pub name: String,
    /// ISO 4217 code of all its amounts.
    pub currency: String,
    /// What a month costs.
    pub monthly_fee: i64,
    /// What it grants on each channel, as JSON.
    pub allowances: String,
    /// True when every tenant may see it.
    pub is_offered: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// Since when no tenant can be moved to it.
    pub archived_at: Option<Timestamp>,
}

const COLUMNS: &str = "id, name, currency, monthly_fee, allowances, is_offered, created_at, updated_at, archived_at";

fn read(mut row: Row) -> Result<Plan, Error> {
    let row = &mut row;
    Ok(Plan {
        id: row.get(0)?,
        name: row.get(1)?,
        currency: row.get(2)?,
        monthly_fee: row.get(3)?,
        allowances: row.get(4)?,
        is_offered: row.get(5)?,
        created_at: row.get(6)?,
        updated_at: row.get(7)?,
        archived_at: row.get(8)?,
    })
}

/// Adds a plan.
pub async fn insert(tx: &mut Tx, p: &Plan) -> Result<(), Error> {
    let sql = format!("INSERT INTO plans ({COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)");
    let params: [&dyn crate::Param; 9] = [
        &p.id,
        &p.name,
        &p.currency,
        &p.monthly_fee,
        &p.allowances,
        &p.is_offered,
        &p.created_at,
        &p.updated_at,
        &p.archived_at,
    ];
    tx.execute(&sql, &params).await.map(drop)
}

/// Writes what can change: its name, whether it is offered, and whether it is archived.
pub async fn update(tx: &mut Tx, p: &Plan) -> Result<(), Error> {
    let sql = "UPDATE plans SET name = $1, is_offered = $2, archived_at = $3, updated_at = $4 WHERE id = $5";
    tx.execute(sql, &[&p.name, &p.is_offered, &p.archived_at, &p.updated_at, &p.id]).await.map(drop)
}

/// A plan, whoever may see it: for the operator, and for work on a subscription that names it.
pub async fn find(tx: &mut Tx, id: PlanId) -> Result<Option<Plan>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM plans WHERE id = $1");
    tx.row(&sql, &[&id]).await?.map(read).transpose()
}

/// A plan a tenant may see: one that is offered and not archived, or its own.
pub async fn find_visible(tx: &mut Tx, tenant: TenantId, id: PlanId) -> Result<Option<Plan>, Error> {
    let sql = format!(
        "SELECT {COLUMNS} FROM plans WHERE id = $2 AND ((is_offered AND archived_at IS NULL) OR id IN (SELECT plan_id FROM subscriptions WHERE tenant_id = $1))"
    );
    tx.row(&sql, &[&tenant, &id]).await?.map(read).transpose()
}

/// Plans made before `before`, newest first: all of them for the operator (`None`), or those a tenant may see.
pub async fn list(tx: &mut Tx, tenant: Option<TenantId>, before: PlanId, limit: i64) -> Result<Vec<Plan>, Error> {
    let rows = match tenant {
        None => {
            let sql = format!("SELECT {COLUMNS} FROM plans WHERE id < $1 ORDER BY id DESC LIMIT $2");
            tx.rows(&sql, &[&before, &limit]).await?
        }
        Some(tenant) => {
            let sql = format!(
                "SELECT {COLUMNS} FROM plans WHERE id < $2 AND ((is_offered AND archived_at IS NULL)
                    OR id IN (SELECT plan_id FROM subscriptions WHERE tenant_id = $1)) ORDER BY id DESC LIMIT $3"
            );
            tx.rows(&sql, &[&tenant, &before, &limit]).await?
        }
    };
    rows.into_iter().map(read).collect()
}

/// Marks the tenants of a plan as changed in this version of the configuration.
pub async fn touch_subscribers(tx: &mut Tx, id: PlanId, config_version: i64) -> Result<(), Error> {
    let sql =
        "UPDATE tenants SET config_version = $1 WHERE id IN (SELECT tenant_id FROM subscriptions WHERE plan_id = $2)";
    tx.execute(sql, &[&config_version, &id]).await.map(drop)
}
