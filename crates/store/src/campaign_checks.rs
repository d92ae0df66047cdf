//! Checklists of campaigns, counted over whole audiences. The row says how far the count has come; it moves with what was found.

use model::{CampaignId, ContactId, TenantId, Timestamp};

use crate::{Error, Row, Tx, inflight::WorkerId, leases::Leased};

/// A row of `campaign_checks`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CampaignCheck {
    /// Whose.
    pub tenant_id: TenantId,
    /// Of which campaign.
    pub campaign_id: CampaignId,
    /// What is sent to whom, as it was when the count began.
    pub definition: String,
    /// `running`, `done` or `failed`.
    pub state: String,
    /// The contact it has come to.
    pub cursor: ContactId,
    /// How many recipients there are at most; 0 while nobody knows.
    pub expected: u64,
    /// What was found so far, in JSON.
    pub tally: String,
    /// Why it could not go on, for people.
    pub problem: Option<String>,
    /// When it began. It tells one count of a campaign from the next.
    pub created_at: Timestamp,
    /// When everybody was counted.
    pub finished_at: Option<Timestamp>,
    /// When there is something to do.
    pub next_at: Option<Timestamp>,
}

const COLUMNS: &str =
    "tenant_id, campaign_id, definition, state, cursor, expected, tally, problem, created_at, finished_at, next_at";

fn read(mut row: Row) -> Result<CampaignCheck, Error> {
    let row = &mut row;
    Ok(CampaignCheck {
        tenant_id: row.get(0)?,
        campaign_id: row.get(1)?,
        definition: row.get(2)?,
        state: row.get(3)?,
        cursor: row.get(4)?,
        expected: row.get(5)?,
        tally: row.get(6)?,
        problem: row.get(7)?,
        created_at: row.get(8)?,
        finished_at: row.get(9)?,
        next_at: row.get(10)?,
    })
}

/// Begins a count; one of the same campaign that was there ends.
pub async fn begin(tx: &mut Tx, c: &CampaignCheck) -> Result<(), Error> {
    let sql = format!(
        "INSERT INTO campaign_checks ({COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
         ON CONFLICT (tenant_id, campaign_id) DO UPDATE SET definition = excluded.definition, state = excluded.state, cursor = excluded.cursor,
            expected = excluded.expected, tally = excluded.tally, problem = excluded.problem, created_at = excluded.created_at,
            finished_at = excluded.finished_at, next_at = excluded.next_at, leased_by = NULL, lease_until = NULL"
    );
    let params: [&dyn crate::Param; 11] = [
        &c.tenant_id,
        &c.campaign_id,
        &c.definition,
        &c.state,
        &c.cursor,
        &c.expected,
        &c.tally,
        &c.problem,
        &c.created_at,
        &c.finished_at,
        &c.next_at,
    ];
    tx.execute(&sql, &params).await.map(drop)
}

/// Writes how far a count has come, unless somebody else moved it on or began anew. Answers whether it was written.
pub async fn advance(tx: &mut Tx, before: &CampaignCheck, after: &CampaignCheck) -> Result<bool, Error> {
    let sql = "UPDATE campaign_checks SET state = $1, cursor = $2, expected = $3, tally = $4, problem = $5, finished_at = $6, next_at = $7
        WHERE tenant_id = $8 AND campaign_id = $9 AND created_at = $10 AND cursor = $11 AND state = $12";
    let params: [&dyn crate::Param; 12] = [
        &after.state,
        &after.cursor,
        &after.expected,
        &after.tally,
        &after.problem,
        &after.finished_at,
        &after.next_at,
        &before.tenant_id,
        &before.campaign_id,
        &before.created_at,
        &before.cursor,
        &before.state,
    ];
    Ok(tx.execute(sql, &params).await? > 0)
}

/// The newest count of one of the tenant's campaigns.
pub async fn find(tx: &mut Tx, tenant: TenantId, campaign: CampaignId) -> Result<Option<CampaignCheck>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM campaign_checks WHERE tenant_id = $1 AND campaign_id = $2");
    tx.row(&sql, &[&tenant, &campaign]).await?.map(read).transpose()
}

/// Takes counts of any tenants that are there with something to do that nobody else works on, until `until`.
pub async fn lease(
    tx: &mut Tx,
    worker: WorkerId,
    now: Timestamp,
    until: Timestamp,
    limit: i64,
) -> Result<Vec<CampaignCheck>, Error> {
    let leased = Leased { table: "campaign_checks", key: "tenant_id, campaign_id", columns: COLUMNS };
    let rows = leased.lease(tx, worker, now, until, limit).await?;
    let mut leased = rows.into_iter().map(read).collect::<Result<Vec<_>, _>>()?;
    leased.sort_by_key(|check| (check.next_at, check.campaign_id));
    Ok(leased)
}

/// Lets others work on a count again.
pub async fn release(tx: &mut Tx, tenant: TenantId, campaign: CampaignId, worker: WorkerId) -> Result<(), Error> {
    let sql = "UPDATE campaign_checks SET leased_by = NULL, lease_until = NULL WHERE tenant_id = $1 AND campaign_id = $2 AND leased_by = $3";
    tx.execute(sql, &[&tenant, &campaign, &worker]).await.map(drop)
}
