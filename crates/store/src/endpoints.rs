//! Webhook endpoints: where a tenant wants its events. What is sent to one are messages of the channel `webhook` whose address is the endpoint's id; its URL and
//! secrets lie sealed in the account under the same id.

use model::{EndpointId, MessageId, TenantId, Timestamp};

use crate::{Error, Given, Kind, Row, Tx};

/// A row of `endpoints`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Which one.
    pub id: EndpointId,
    /// Whose.
    pub tenant_id: TenantId,
    /// Where events are posted.
    pub url: String,
    /// What it is for, for people.
    pub description: String,
    /// Event filters, separated by spaces.
    pub events: String,
    /// `active` or `disabled`.
    pub state: String,
    /// Why it is disabled, for people.
    pub state_reason: Option<String>,
    /// Until when secrets before the newest still sign.
    pub previous_secret_until: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// When it was deleted.
    pub deleted_at: Option<Timestamp>,
}

const COLUMNS: &str = "id, tenant_id, url, description, events, state, state_reason, previous_secret_until, created_at, updated_at, deleted_at";

fn read(mut row: Row) -> Result<Endpoint, Error> {
    let row = &mut row;
    Ok(Endpoint {
        id: row.get(0)?,
        tenant_id: row.get(1)?,
        url: row.get(2)?,
        description: row.get(3)?,
        events: row.get(4)?,
        state: row.get(5)?,
        state_reason: row.get(6)?,
        previous_secret_until: row.get(7)?,
        created_at: row.get(8)?,
        updated_at: row.get(9)?,
        deleted_at: row.get(10)?,
    })
}

/// Adds an endpoint.
pub async fn insert(tx: &mut Tx, endpoint: &Endpoint) -> Result<(), Error> {
    let sql = format!("INSERT INTO endpoints ({COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)");
    let e = endpoint;
    let params: [&dyn crate::Param; 11] = [
        &e.id,
        &e.tenant_id,
        &e.url,
        &e.description,
        &e.events,
        &e.state,
        &e.state_reason,
        &e.previous_secret_until,
        &e.created_at,
        &e.updated_at,
        &e.deleted_at,
    ];
    tx.execute(&sql, &params).await.map(drop)
}

/// Writes everything that can change.
pub async fn update(tx: &mut Tx, endpoint: &Endpoint) -> Result<(), Error> {
    let e = endpoint;
    let params: [&dyn crate::Param; 10] = [
        &e.url,
        &e.description,
        &e.events,
        &e.state,
        &e.state_reason,
        &e.previous_secret_until,
        &e.updated_at,
        &e.deleted_at,
        &e.id,
        &e.tenant_id,
    ];
    tx.execute(
        "UPDATE endpoints SET url = $1, description = $2, events = $3, state = $4, state_reason = $5, previous_secret_until = $6, updated_at = $7,
         deleted_at = $8 WHERE id = $9 AND tenant_id = $10",
        &params,
    )
    .await
    .map(drop)
}

/// One of the tenant's endpoints, unless it was deleted.
pub async fn find(tx: &mut Tx, tenant: TenantId, id: EndpointId) -> Result<Option<Endpoint>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM endpoints WHERE id = $1 AND tenant_id = $2 AND deleted_at IS NULL");
    tx.row(&sql, &[&id, &tenant]).await?.map(read).transpose()
}

/// The tenant's endpoints that were not deleted, newest first, made before `before`.
pub async fn list(tx: &mut Tx, tenant: TenantId, before: EndpointId, limit: i64) -> Result<Vec<Endpoint>, Error> {
    let sql = format!(
        "SELECT {COLUMNS} FROM endpoints WHERE tenant_id = $1 AND id < $2 AND deleted_at IS NULL ORDER BY id DESC LIMIT $3"
    );
    tx.rows(&sql, &[&tenant, &before, &limit]).await?.into_iter().map(read).collect()
}

/// How many endpoints the tenant has that were not deleted.
pub async fn count(tx: &mut Tx, tenant: TenantId) -> Result<u64, Error> {
    let sql = "SELECT COUNT(*) FROM endpoints WHERE tenant_id = $1 AND deleted_at IS NULL";
    tx.row(sql, &[&tenant]).await?.map_or(Ok(0), |mut row| row.get(0))
}

/// Endpoints of any tenants whose former secrets no longer sign from `now` on.
pub async fn secrets_over(tx: &mut Tx, now: Timestamp, limit: i64) -> Result<Vec<(TenantId, EndpointId)>, Error> {
    let sql = "SELECT tenant_id, id FROM endpoints WHERE previous_secret_until <= $1 AND deleted_at IS NULL ORDER BY id LIMIT $2";
    tx.rows(sql, &[&now, &limit]).await?.into_iter().map(pair).collect()
}

/// An endpoint that takes no events at the moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failing {
    /// Whose.
    pub tenant_id: TenantId,
    /// Which one.
    pub id: EndpointId,
    /// Since when, without a success in between.
    pub since: Timestamp,
    /// The last failure that paused it, as JSON of [`model::Failure`].
    pub failure: Option<String>,
}

/// Active endpoints of any tenants that take no events at the moment, after `after`, in the order of their ids.
pub async fn failing(tx: &mut Tx, after: EndpointId, limit: i64) -> Result<Vec<Failing>, Error> {
    let sql = "SELECT e.tenant_id, e.id, s.paused_at, s.pause FROM account_states AS s JOIN endpoints AS e ON e.id = s.account_id
         WHERE s.account_id > $1 AND s.paused_at IS NOT NULL AND e.state = 'active' AND e.deleted_at IS NULL ORDER BY s.account_id LIMIT $2";
    let rows = tx.rows(sql, &[&after.account(), &limit]).await?.into_iter();
    rows.map(|mut row| {
        let row = &mut row;
        Ok(Failing { tenant_id: row.get(0)?, id: row.get(1)?, since: row.get(2)?, failure: row.get(3)? })
    })
    .collect()
}

/// Endpoints of any tenants that were deleted, or switched off and not touched since `idle_since`, and for which events still wait.
pub async fn idle_with_work(
    tx: &mut Tx,
    idle_since: Timestamp,
    limit: i64,
) -> Result<Vec<(TenantId, EndpointId)>, Error> {
    let sql =
        "SELECT tenant_id, id FROM endpoints WHERE (deleted_at IS NOT NULL OR (state = 'disabled' AND updated_at < $1))
         AND EXISTS (SELECT 1 FROM deliveries WHERE deliveries.account_id = endpoints.id) ORDER BY id LIMIT $2";
    tx.rows(sql, &[&idle_since, &limit]).await?.into_iter().map(pair).collect()
}

fn pair(mut row: Row) -> Result<(TenantId, EndpointId), Error> {
    Ok((row.get(0)?, row.get(1)?))
}

/// What was exchanged in attempts of a tenant's messages, by message and number: the message and the redacted exchange as JSON.
pub async fn exchanges(
    tx: &mut Tx,
    tenant: TenantId,
    attempts: &[(MessageId, u32)],
) -> Result<Vec<(MessageId, Option<String>)>, Error> {
    let mut given = Given::new(&[("tenant_id", Kind::Id), ("message_id", Kind::Id), ("number", Kind::Int)]);
    for (message, number) in attempts {
        given.row([&tenant, message, number]);
    }
    let rows = tx.match_many("SELECT message_id, exchange FROM attempts", &given, "").await?;
    rows.into_iter().map(|mut row| Ok((row.get(0)?, row.get(1)?))).collect()
}
