//! Campaigns: one message to an audience. The row says how far the engine has come; it moves in the transaction that writes what it has come to.

use model::{CampaignId, ContactId, TenantId, Timestamp};

use crate::{Error, Param, Row, Tx, inflight::WorkerId, leases::Leased};

/// A row of `campaigns`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Campaign {
    /// Whose.
    pub tenant_id: TenantId,
    /// Which one.
    pub id: CampaignId,
    /// Name for people.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// `draft`, `scheduled`, `sending`, `paused`, `sent`, `canceled` or `failed`.
    pub state: String,
    /// What is sent to whom, in JSON.
    pub definition: String,
    /// Who made it.
    pub creator: String,
    /// What the engine does while it is sent: `freezing`, `expanding`, `testing`, `resting` or `done`.
    pub phase: String,
    /// The contact it has come to.
    pub cursor: ContactId,
    /// No contact behind this one belongs to it: they were made later.
    pub bound: ContactId,
    /// Recipients of the frozen audience, also those left out.
    pub total: u64,
    /// Recipients with a message.
    pub accepted: u64,
    /// Recipients left out.
    pub excluded: u64,
    /// The variant everybody else gets.
    pub winner: Option<u32>,
    /// Why it failed, for people.
    pub problem: Option<String>,
    /// When it starts by itself.
    pub scheduled_at: Option<Timestamp>,
    /// When its audience was frozen.
    pub started_at: Option<Timestamp>,
    /// When the test between variants ends.
    pub test_ends_at: Option<Timestamp>,
    /// When it was paused.
    pub paused_at: Option<Timestamp>,
    /// When nothing was left to do.
    pub ended_at: Option<Timestamp>,
    /// When there is something to do.
    pub next_at: Option<Timestamp>,
    /// The recurring campaign it is one occurrence of.
    pub parent_id: Option<CampaignId>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed by somebody.
    pub updated_at: Timestamp,
}

const COLUMNS: &str = "tenant_id, id, name, description, state, definition, creator, phase, cursor, bound, total, accepted, excluded, winner, problem,
    scheduled_at, started_at, test_ends_at, paused_at, ended_at, next_at, parent_id, created_at, updated_at";

fn read(mut row: Row) -> Result<Campaign, Error> {
    let row = &mut row;
    Ok(Campaign {
        tenant_id: row.get(0)?,
        id: row.get(1)?,
        name: row.get(2)?,
        description: row.get(3)?,
        state: row.get(4)?,
        definition: row.get(5)?,
        creator: row.get(6)?,
        phase: row.get(7)?,
        cursor: row.get(8)?,
        bound: row.get(9)?,
        total: row.get(10)?,
        accepted: row.get(11)?,
        excluded: row.get(12)?,
        winner: row.get(13)?,
        problem: row.get(14)?,
        scheduled_at: row.get(15)?,
        started_at: row.get(16)?,
        test_ends_at: row.get(17)?,
        paused_at: row.get(18)?,
        ended_at: row.get(19)?,
        next_at: row.get(20)?,
        parent_id: row.get(21)?,
        created_at: row.get(22)?,
        updated_at: row.get(23)?,
    })
}

/// Adds a campaign.
pub async fn insert(tx: &mut Tx, c: &Campaign) -> Result<(), Error> {
    let values = (1..=24).map(|n| format!("${n}")).collect::<Vec<_>>().join(", ");
    let params: [&dyn Param; 24] = [
        &c.tenant_id,
        &c.id,
        &c.name,
        &c.description,
        &c.state,
        &c.definition,
        &c.creator,
        &c.phase,
        &c.cursor,
        &c.bound,
        &c.total,
        &c.accepted,
        &c.excluded,
        &c.winner,
        &c.problem,
        &c.scheduled_at,
        &c.started_at,
        &c.test_ends_at,
        &c.paused_at,
        &c.ended_at,
        &c.next_at,
        &c.parent_id,
        &c.created_at,
        &c.updated_at,
    ];
    tx.execute(&format!("INSERT INTO campaigns ({COLUMNS}) VALUES ({values})"), &params).await.map(drop)
}

/// Writes everything that can change.
pub async fn update(tx: &mut Tx, c: &Campaign) -> Result<(), Error> {
    let params: [&dyn Param; 21] = [
        &c.name,
        &c.description,
        &c.state,
        &c.definition,
        &c.phase,
        &c.cursor,
        &c.bound,
        &c.total,
        &c.accepted,
        &c.excluded,
        &c.winner,
        &c.problem,
        &c.scheduled_at,
        &c.started_at,
        &c.test_ends_at,
        &c.paused_at,
        &c.ended_at,
        &c.next_at,
        &c.updated_at,
        &c.tenant_id,
        &c.id,
    ];
    let sql = "UPDATE campaigns SET name = $1, description = $2, state = $3, definition = $4, phase = $5, cursor = $6, bound = $7, total = $8, accepted = $9,
        excluded = $10, winner = $11, problem = $12, scheduled_at = $13, started_at = $14, test_ends_at = $15, paused_at = $16, ended_at = $17, next_at = $18,
        updated_at = $19 WHERE tenant_id = $20 AND id = $21";
    tx.execute(sql, &params).await.map(drop)
}

/// One of the tenant's campaigns.
pub async fn find(tx: &mut Tx, tenant: TenantId, id: CampaignId) -> Result<Option<Campaign>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM campaigns WHERE tenant_id = $1 AND id = $2");
    tx.row(&sql, &[&tenant, &id]).await?.map(read).transpose()
}

/// Reads one of the tenant's campaigns and keeps others from changing it until the transaction ends.
pub async fn lock(tx: &mut Tx, tenant: TenantId, id: CampaignId) -> Result<Option<Campaign>, Error> {
    let lock = tx.dialect().for_update();
    let sql = format!("SELECT {COLUMNS} FROM campaigns WHERE tenant_id = $1 AND id = $2 {lock}");
    tx.row(&sql, &[&tenant, &id]).await?.map(read).transpose()
}

/// The tenant's campaigns, newest first, made before `before`.
pub async fn list(tx: &mut Tx, tenant: TenantId, before: CampaignId, limit: i64) -> Result<Vec<Campaign>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM campaigns WHERE tenant_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3");
    tx.rows(&sql, &[&tenant, &before, &limit]).await?.into_iter().map(read).collect()
}

/// Removes a campaign with its recipients. False when it is not there.
pub async fn delete(tx: &mut Tx, tenant: TenantId, id: CampaignId) -> Result<bool, Error> {
    for table in ["campaign_recipients", "campaign_checks"] {
        let sql = format!("DELETE FROM {table} WHERE tenant_id = $1 AND campaign_id = $2");
        tx.execute(&sql, &[&tenant, &id]).await?;
    }
    Ok(tx.execute("DELETE FROM campaigns WHERE tenant_id = $1 AND id = $2", &[&tenant, &id]).await? > 0)
}

/// Takes the campaigns of any tenant that is there with something to do that nobody else works on, until `until`.
pub async fn lease(
    tx: &mut Tx,
    worker: WorkerId,
    now: Timestamp,
    until: Timestamp,
    limit: i64,
) -> Result<Vec<Campaign>, Error> {
    let leased = Leased { table: "campaigns", key: "tenant_id, id", columns: COLUMNS };
    let rows = leased.lease(tx, worker, now, until, limit).await?;
    let mut leased = rows.into_iter().map(read).collect::<Result<Vec<_>, _>>()?;
    leased.sort_by_key(|campaign| (campaign.next_at, campaign.id));
    Ok(leased)
}

/// Lets others work on a campaign again.
pub async fn release(tx: &mut Tx, tenant: TenantId, id: CampaignId, worker: WorkerId) -> Result<(), Error> {
    let sql =
        "UPDATE campaigns SET leased_by = NULL, lease_until = NULL WHERE tenant_id = $1 AND id = $2 AND leased_by = $3";
    tx.execute(sql, &[&tenant, &id, &worker]).await.map(drop)
}
