//! The suppression list: addresses that must not be written to, each with its reason, and the bounces that may become one.

use model::{Blocks, Channel, MessageId, SuppressionId, SuppressionReason, TenantId, Timestamp};

use crate::{Error, Given, Kind, Param, Row, Tx};

/// A row of `suppressions`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suppression {
    /// Whose list.
    pub tenant_id: TenantId,
    /// On which channel.
    pub channel: Channel,
    /// The address in the form it is compared in, or `hash:…`.
    pub address: String,
    /// Why.
    pub reason: SuppressionReason,
    /// Sortable id.
    pub id: SuppressionId,
    /// What it holds back.
    pub blocks: Blocks,
    /// Who put it there: `provider`, `recipient`, `engine`, or an actor.
    pub source: String,
    /// More, for people.
    pub detail: Option<String>,
    /// The message it came from.
    pub message_id: Option<MessageId>,
    /// When it was put there.
    pub created_at: Timestamp,
}

const COLUMNS: &str = "tenant_id, channel, address, reason, id, blocks, source, detail, message_id, created_at";

fn read(mut row: Row) -> Result<Suppression, Error> {
    Ok(Suppression {
        tenant_id: row.get(0)?,
        channel: row.get(1)?,
        address: row.get(2)?,
        reason: row.get(3)?,
        id: row.get(4)?,
        blocks: row.get(5)?,
        source: row.get(6)?,
        detail: row.get(7)?,
        message_id: row.get(8)?,
        created_at: row.get(9)?,
    })
}

/// Adds suppressions of any tenants. One that is there for the same reason stays as it is. Answers how many were new.
pub async fn insert_many(tx: &mut Tx, suppressions: &[Suppression]) -> Result<u64, Error> {
    let mut given = Given::new(&[
        ("tenant_id", Kind::Id),
        ("channel", Kind::Int),
        ("address", Kind::Text),
        ("reason", Kind::Int),
        ("id", Kind::Id),
        ("blocks", Kind::Int),
        ("source", Kind::Text),
        ("detail", Kind::Text),
        ("message_id", Kind::Id),
        ("created_at", Kind::Time),
    ]);
    for s in suppressions {
        given.row([
            &s.tenant_id,
            &s.channel,
            &s.address,
            &s.reason,
            &s.id,
            &s.blocks,
            &s.source,
            &s.detail,
            &s.message_id,
            &s.created_at,
        ]);
    }
    tx.insert_many("suppressions", &given, "ON CONFLICT DO NOTHING").await
}

/// What stands against these addresses, of any tenants. An address is given in the form it is compared in.
pub async fn against(tx: &mut Tx, addresses: &[(TenantId, Channel, String)]) -> Result<Vec<Suppression>, Error> {
    let mut given = Given::new(&[("tenant_id", Kind::Id), ("channel", Kind::Int), ("address", Kind::Text)]);
    for (tenant, channel, address) in addresses {
        given.row([tenant, channel, address]);
    }
    let sql = format!("SELECT {COLUMNS} FROM suppressions");
    tx.match_many(&sql, &given, "").await?.into_iter().map(read).collect()
}

/// One of the tenant's suppressions.
pub async fn find(tx: &mut Tx, tenant: TenantId, id: SuppressionId) -> Result<Option<Suppression>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM suppressions WHERE tenant_id = $1 AND id = $2");
    tx.row(&sql, &[&tenant, &id]).await?.map(read).transpose()
}

/// The suppression of an address for this reason.
pub async fn find_reason(
    tx: &mut Tx,
    tenant: TenantId,
    channel: Channel,
    address: &str,
    reason: SuppressionReason,
) -> Result<Option<Suppression>, Error> {
    let sql = format!(
        "SELECT {COLUMNS} FROM suppressions WHERE tenant_id = $1 AND channel = $2 AND address = $3 AND reason = $4"
    );
    tx.row(&sql, &[&tenant, &channel, &address, &reason]).await?.map(read).transpose()
}

/// Lets a suppression hold back more than it did.
pub async fn widen(tx: &mut Tx, tenant: TenantId, id: SuppressionId, blocks: Blocks) -> Result<bool, Error> {
    let sql = "UPDATE suppressions SET blocks = $1 WHERE tenant_id = $2 AND id = $3 AND blocks < $1";
    Ok(tx.execute(sql, &[&blocks, &tenant, &id]).await? > 0)
}

/// Takes a suppression off the list. Answers whether it was there.
pub async fn remove(tx: &mut Tx, tenant: TenantId, id: SuppressionId) -> Result<bool, Error> {
    Ok(tx.execute("DELETE FROM suppressions WHERE tenant_id = $1 AND id = $2", &[&tenant, &id]).await? > 0)
}

/// Replaces an address by its keyed hash, on every channel and whatever the reason: the contact was erased. Answers how many rows were changed; the caller adds the row that
/// blocks for the erasure itself.
pub async fn erase(tx: &mut Tx, tenant: TenantId, channel: Channel, address: &str, hash: &str) -> Result<u64, Error> {
    tx.execute(
        "UPDATE suppressions SET address = $1, detail = NULL WHERE tenant_id = $2 AND channel = $3 AND address = $4
         AND NOT EXISTS (SELECT 1 FROM suppressions AS other WHERE other.tenant_id = suppressions.tenant_id AND other.channel = suppressions.channel
             AND other.address = $1 AND other.reason = suppressions.reason)",
        &[&hash, &tenant, &channel, &address],
    )
    .await
}

/// Which suppressions a list shows.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// On this channel.
    pub channel: Option<Channel>,
    /// For this reason.
    pub reason: Option<SuppressionReason>,
    /// Of exactly this address, in the form it is compared in.
    pub address: Option<String>,
}

/// The tenant's suppressions, newest first, put there before `before`.
pub async fn list(
    tx: &mut Tx,
    tenant: TenantId,
    filter: &Filter,
    before: SuppressionId,
    limit: i64,
) -> Result<Vec<Suppression>, Error> {
    let mut sql = format!("SELECT {COLUMNS} FROM suppressions WHERE tenant_id = $1 AND id < $2");
    let mut params: Vec<&dyn Param> = vec![&tenant, &before];
    let conditions: [(&str, Option<&dyn Param>); 3] = [
        ("channel", filter.channel.as_ref().map(|channel| channel as &dyn Param)),
        ("reason", filter.reason.as_ref().map(|reason| reason as &dyn Param)),
        ("address", filter.address.as_ref().map(|address| address as &dyn Param)),
    ];
    for (column, value) in conditions {
        if let Some(value) = value {
            params.push(value);
            sql.push_str(&format!(" AND {column} = ${}", params.len()));
        }
    }
    params.push(&limit);
    sql.push_str(&format!(" ORDER BY id DESC LIMIT ${}", params.len()));
    tx.rows(&sql, &params).await?.into_iter().map(read).collect()
}

/// A bounce that may pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SoftBounce {
    /// Whose message.
    pub tenant_id: TenantId,
    /// Over which channel.
    pub channel: Channel,
    /// The address in the form it is compared in.
    pub address: String,
    /// Which message.
    pub message_id: MessageId,
    /// When.
    pub at: Timestamp,
}

/// Notes bounces that may pass, of any tenants; each message counts once.
pub async fn note_soft(tx: &mut Tx, bounces: &[SoftBounce]) -> Result<(), Error> {
    let mut given = Given::new(&[
        ("tenant_id", Kind::Id),
        ("channel", Kind::Int),
        ("address", Kind::Text),
        ("message_id", Kind::Id),
        ("at", Kind::Time),
    ]);
    for b in bounces {
        given.row([&b.tenant_id, &b.channel, &b.address, &b.message_id, &b.at]);
    }
    tx.insert_many_later("soft_bounces", &given, "ON CONFLICT DO NOTHING").await
}

/// When an address bounced softly, oldest first.
pub async fn soft(tx: &mut Tx, tenant: TenantId, channel: Channel, address: &str) -> Result<Vec<Timestamp>, Error> {
    let sql = "SELECT at FROM soft_bounces WHERE tenant_id = $1 AND channel = $2 AND address = $3 ORDER BY at";
    let rows = tx.rows(sql, &[&tenant, &channel, &address]).await?;
    rows.into_iter().map(|mut row| row.get(0)).collect()
}

/// Forgets an address's soft bounces up to an instant.
pub async fn forget_soft(
    tx: &mut Tx,
    tenant: TenantId,
    channel: Channel,
    address: &str,
    until: Timestamp,
) -> Result<(), Error> {
    let sql = "DELETE FROM soft_bounces WHERE tenant_id = $1 AND channel = $2 AND address = $3 AND at <= $4";
    tx.execute(sql, &[&tenant, &channel, &address, &until]).await.map(drop)
}

/// When a message to this address, as messages have it, last arrived, looking at the newest `limit` of them.
pub async fn last_arrival(
    tx: &mut Tx,
    tenant: TenantId,
    channel: Channel,
    address: &str,
    limit: i64,
) -> Result<Option<Timestamp>, Error> {
    let sql = "SELECT MAX(delivered_at) FROM (SELECT channel, delivered_at FROM messages WHERE tenant_id = $1 AND address = $2
        ORDER BY id DESC LIMIT $4) AS recent WHERE channel = $3";
    tx.row(sql, &[&tenant, &address, &channel, &limit]).await?.map_or(Ok(None), |mut row| row.get(0))
}
