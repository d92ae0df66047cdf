//! Routes: a tenant's rules about which account a message leaves through, in the order they are asked.

use model::{Channel, RouteId, TenantId, Timestamp};

use crate::{Error, Given, Kind, Row, Tx};

/// A row of `routes`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Whose.
    pub tenant_id: TenantId,
    /// Which one.
    pub id: RouteId,
    /// For messages over this channel.
    pub channel: Channel,
    /// From 1 within the channel.
    pub position: u32,
    /// Name for people.
    pub name: String,
    /// False while it is passed over.
    pub is_enabled: bool,
    /// Which messages it is about, as JSON.
    pub matches: String,
    /// How it chooses, as JSON.
    pub choice: String,
    /// Among which accounts, as JSON.
    pub accounts: String,
    /// What happens when none of them can be used.
    pub otherwise: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

const COLUMNS: &str =
    "tenant_id, id, channel, position, name, is_enabled, matches, choice, accounts, otherwise, created_at, updated_at";

fn read(mut row: Row) -> Result<Route, Error> {
    let row = &mut row;
    Ok(Route {
        tenant_id: row.get(0)?,
        id: row.get(1)?,
        channel: row.get(2)?,
        position: row.get(3)?,
        name: row.get(4)?,
        is_enabled: row.get(5)?,
        matches: row.get(6)?,
        choice: row.get(7)?,
        accounts: row.get(8)?,
        otherwise: row.get(9)?,
        created_at: row.get(10)?,
        updated_at: row.get(11)?,
    })
}

/// All rules of a tenant, by channel and in the order they are asked. Bounded by the engine's limit on them.
pub async fn all(tx: &mut Tx, tenant: TenantId) -> Result<Vec<Route>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM routes WHERE tenant_id = $1 ORDER BY channel, position, id");
    tx.rows(&sql, &[&tenant]).await?.into_iter().map(read).collect()
}

/// Writes a tenant's rules: new ones, and everything that can change of those that are there.
pub async fn put_many(tx: &mut Tx, tenant: TenantId, routes: &[Route]) -> Result<(), Error> {
    let mut given = Given::new(&[
        ("tenant_id", Kind::Id),
        ("id", Kind::Id),
        ("channel", Kind::Int),
        ("position", Kind::Int),
        ("name", Kind::Text),
        ("is_enabled", Kind::Bool),
        ("matches", Kind::Text),
        ("choice", Kind::Text),
        ("accounts", Kind::Text),
        ("otherwise", Kind::Text),
        ("created_at", Kind::Time),
        ("updated_at", Kind::Time),
    ]);
    for r in routes {
        given.row([
            &tenant,
            &r.id,
            &r.channel,
            &r.position,
            &r.name,
            &r.is_enabled,
            &r.matches,
            &r.choice,
            &r.accounts,
            &r.otherwise,
            &r.created_at,
            &r.updated_at,
        ]);
    }
    let suffix = "ON CONFLICT (tenant_id, id) DO UPDATE SET position = excluded.position, name = excluded.name, is_enabled = excluded.is_enabled,
        matches = excluded.matches, choice = excluded.choice, accounts = excluded.accounts, otherwise = excluded.otherwise, updated_at = excluded.updated_at";
    tx.insert_many("routes", &given, suffix).await.map(drop)
}

/// Removes a rule. `false` when it is gone already.
pub async fn remove(tx: &mut Tx, tenant: TenantId, id: RouteId) -> Result<bool, Error> {
    Ok(tx.execute("DELETE FROM routes WHERE tenant_id = $1 AND id = $2", &[&tenant, &id]).await? == 1)
}
