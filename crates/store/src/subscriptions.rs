//! How tenants are billed: by which plan, if by any, since when, and how far they were.

use model::{PlanId, TenantId, Timestamp};

use crate::{Error, Row, Tx};

/// A row of `subscriptions`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// Whose.
    pub tenant_id: TenantId,
    /// To which plan; `None` for a tenant that is billed by the price list alone.
    pub plan_id: Option<PlanId>,
    /// Until when nothing is charged for it.
    pub trial_ends_at: Option<Timestamp>,
    /// Since when a bill is unpaid.
    pub past_due_since: Option<Timestamp>,
    /// Unpaid bills that were due by then are forgiven: they make nobody past due.
    pub forgiven_until: Option<Timestamp>,
    /// From when nothing is accepted.
    pub canceled_at: Option<Timestamp>,
    /// When that was said.
    pub cancel_said_at: Option<Timestamp>,
    /// Whom invoices are addressed to, as JSON.
    pub customer: String,
    /// Messages accepted from then on are counted.
    pub counted_from: Timestamp,
    /// How far invoices reach.
    pub billed_until: Timestamp,
    /// When the month that begins at `billed_until` ends; `None` when there is nothing more to bill.
    pub closes_at: Option<Timestamp>,
    /// When the tenant was first billed.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

const COLUMNS: &str = "tenant_id, plan_id, trial_ends_at, past_due_since, forgiven_until, canceled_at, customer, counted_from, billed_until, closes_at, created_at, updated_at, cancel_said_at";

fn read(mut row: Row) -> Result<Subscription, Error> {
    let row = &mut row;
    Ok(Subscription {
        tenant_id: row.get(0)?,
        plan_id: row.get(1)?,
        trial_ends_at: row.get(2)?,
        past_due_since: row.get(3)?,
        forgiven_until: row.get(4)?,
        canceled_at: row.get(5)?,
        customer: row.get(6)?,
        counted_from: row.get(7)?,
        billed_until: row.get(8)?,
        closes_at: row.get(9)?,
        created_at: row.get(10)?,
        updated_at: row.get(11)?,
        cancel_said_at: row.get(12)?,
    })
}

/// The tenant's subscription.
pub async fn find(tx: &mut Tx, tenant: TenantId) -> Result<Option<Subscription>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM subscriptions WHERE tenant_id = $1");
    tx.row(&sql, &[&tenant]).await?.map(read).transpose()
}

/// The tenant's subscription, which nobody else changes until this transaction ends.
pub async fn lock(tx: &mut Tx, tenant: TenantId) -> Result<Option<Subscription>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM subscriptions WHERE tenant_id = $1 {}", tx.dialect().for_update());
    tx.row(&sql, &[&tenant]).await?.map(read).transpose()
}

/// Writes a subscription, new or changed.
pub async fn put(tx: &mut Tx, tenant: TenantId, s: &Subscription) -> Result<(), Error> {
    let sql = format!(
        "INSERT INTO subscriptions ({COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) ON CONFLICT (tenant_id) DO UPDATE SET plan_id = excluded.plan_id,
         trial_ends_at = excluded.trial_ends_at, past_due_since = excluded.past_due_since, forgiven_until = excluded.forgiven_until,
         canceled_at = excluded.canceled_at, customer = excluded.customer, counted_from = excluded.counted_from, billed_until = excluded.billed_until, closes_at = excluded.closes_at,
         updated_at = excluded.updated_at, cancel_said_at = excluded.cancel_said_at"
    );
    let params: [&dyn crate::Param; 13] = [
        &tenant,
        &s.plan_id,
        &s.trial_ends_at,
        &s.past_due_since,
        &s.forgiven_until,
        &s.canceled_at,
        &s.customer,
        &s.counted_from,
        &s.billed_until,
        &s.closes_at,
        &s.created_at,
        &s.updated_at,
        &s.cancel_said_at,
    ];
    tx.execute(&sql, &params).await.map(drop)
}

/// Subscriptions whose month ended by `now`, the longest over first, of tenants that are there. Across tenants: for the job that closes months.
pub async fn closing(tx: &mut Tx, now: Timestamp, limit: i64) -> Result<Vec<Subscription>, Error> {
    let sql = format!(
        "SELECT {COLUMNS} FROM subscriptions WHERE closes_at <= $1 AND tenant_id IN (SELECT id FROM tenants WHERE deleted_at IS NULL)
         ORDER BY closes_at, tenant_id LIMIT $2"
    );
    tx.rows(&sql, &[&now, &limit]).await?.into_iter().map(read).collect()
}

/// Tenants that pay afterwards and whose months nobody closes yet. Across tenants: for the job that closes months.
pub async fn unbilled(tx: &mut Tx, limit: i64) -> Result<Vec<TenantId>, Error> {
    let sql = "SELECT l.tenant_id FROM credit_ledgers l JOIN tenants t ON t.id = l.tenant_id
        WHERE l.mode = 'postpaid' AND t.deleted_at IS NULL AND NOT t.is_demo AND NOT EXISTS (SELECT 1 FROM subscriptions s WHERE s.tenant_id = l.tenant_id)
        ORDER BY l.tenant_id LIMIT $1";
    tx.rows(sql, &[&limit]).await?.into_iter().map(|mut row| row.get(0)).collect()
}

/// Says when what the tenant used of its plan is to be counted again.
pub async fn recount_at(tx: &mut Tx, tenant: TenantId, at: Timestamp) -> Result<(), Error> {
    tx.execute("UPDATE subscriptions SET recount_at = $1 WHERE tenant_id = $2", &[&at, &tenant]).await.map(drop)
}

/// Says that it was, unless it is to be once more later.
pub async fn recounted(tx: &mut Tx, tenant: TenantId, now: Timestamp) -> Result<(), Error> {
    let sql = "UPDATE subscriptions SET recount_at = NULL WHERE tenant_id = $1 AND recount_at <= $2";
    tx.execute(sql, &[&tenant, &now]).await.map(drop)
}

/// Tenants whose plan changed and whose use of it is to be counted again by `now`, those that wait longest first. Across tenants: for the job that counts.
pub async fn to_recount(tx: &mut Tx, now: Timestamp, limit: i64) -> Result<Vec<TenantId>, Error> {
    let sql = "SELECT tenant_id FROM subscriptions WHERE recount_at <= $1 ORDER BY recount_at, tenant_id LIMIT $2";
    tx.rows(sql, &[&now, &limit]).await?.into_iter().map(|mut row| row.get(0)).collect()
}
