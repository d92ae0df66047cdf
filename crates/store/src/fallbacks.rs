//! Messages with another channel to fall back on, and the ways they went before.

use model::{AccountId, Channel, MessageId, TenantId, Timestamp};

use crate::{Error, Given, Kind, Row, Tx, messages::Message};

/// What is left to try for a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fallback {
    /// Whose.
    pub tenant_id: TenantId,
    /// Which message.
    pub message_id: MessageId,
    /// The channels left, as JSON.
    pub rest: String,
    /// How long to wait for delivery before the next, in seconds; 0 for failures only.
    pub after_s: u32,
    /// When a message that was sent and not delivered moves on.
    pub due_at: Option<Timestamp>,
}

fn read(mut row: Row) -> Result<Fallback, Error> {
    Ok(Fallback {
        tenant_id: row.get(0)?,
        message_id: row.get(1)?,
        rest: row.get(2)?,
        after_s: row.get(3)?,
        due_at: row.get(4)?,
    })
}

const COLUMNS: &str = "tenant_id, message_id, rest, after_s, due_at";

/// Writes what is left to try, for messages of any tenants.
pub async fn put_many(tx: &mut Tx, fallbacks: &[Fallback]) -> Result<(), Error> {
    let mut given = Given::new(&[
        ("tenant_id", Kind::Id),
        ("message_id", Kind::Id),
        ("rest", Kind::Text),
        ("after_s", Kind::Int),
        ("due_at", Kind::Time),
    ]);
    for f in fallbacks {
        given.row([&f.tenant_id, &f.message_id, &f.rest, &f.after_s, &f.due_at]);
    }
    let suffix = "ON CONFLICT (tenant_id, message_id) DO UPDATE SET rest = excluded.rest, after_s = excluded.after_s, due_at = excluded.due_at";
    tx.insert_many_later("fallbacks", &given, suffix).await
}

/// What is left to try for these messages, of any tenants. The messages' own rows are locked by the caller.
pub async fn find_many(tx: &mut Tx, keys: &[(TenantId, MessageId)]) -> Result<Vec<Fallback>, Error> {
    let mut given = Given::new(&[("tenant_id", Kind::Id), ("message_id", Kind::Id)]);
    for (tenant, message) in keys {
        given.row([tenant, message]);
    }
    tx.match_many(&format!("SELECT {COLUMNS} FROM fallbacks"), &given, "").await?.into_iter().map(read).collect()
}

/// Forgets what was left to try.
pub async fn remove_many(tx: &mut Tx, keys: &[(TenantId, MessageId)]) -> Result<(), Error> {
    let mut given = Given::new(&[("tenant_id", Kind::Id), ("message_id", Kind::Id)]);
    for (tenant, message) in keys {
        given.row([tenant, message]);
    }
    tx.delete_many_later("fallbacks", &given).await
}

/// Messages of any tenants whose time to move on has come, to look at.
pub async fn due(tx: &mut Tx, now: Timestamp, limit: i64) -> Result<Vec<(TenantId, MessageId)>, Error> {
    let sql = "SELECT tenant_id, message_id FROM fallbacks WHERE due_at IS NOT NULL AND due_at <= $1 ORDER BY due_at LIMIT $2";
    let rows = tx.rows(sql, &[&now, &limit]).await?;
    rows.into_iter().map(|mut row| Ok((row.get(0)?, row.get(1)?))).collect()
}

/// A way a message went before it moved to another channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FormerRoute {
    /// Whose.
    pub tenant_id: TenantId,
    /// Which message.
    pub message_id: MessageId,
    /// From 0.
    pub position: u32,
    /// Over which channel.
    pub channel: Channel,
    /// To which address.
    pub address: String,
    /// Through which account.
    pub account_id: AccountId,
    /// By which connector.
    pub connector: String,
    /// The provider's id, if it took the message.
    pub provider_message_id: Option<String>,
    /// When it took it.
    pub sent_at: Option<Timestamp>,
    /// Parts it was sent in.
    pub segments: Option<u32>,
    /// What was handed to the provider, in bytes.
    pub bytes: Option<i64>,
    /// What it cost, in millionths, where that is known apart from what the message cost another way.
    pub cost_micros: Option<i64>,
    /// In which currency.
    pub cost_currency: Option<String>,
    /// What was charged for it, see [`crate::credits::Charge::to_way`]; `None` where nothing was, and for ways left before that was kept.
    pub charge: Option<String>,
    /// Why it did not arrive, as JSON.
    pub failure: Option<String>,
    /// The last attempt that went this way.
    pub last_attempt: u32,
    /// When the message moved on.
    pub left_at: Timestamp,
}

const ROUTE: &str = "tenant_id, message_id, position, channel, address, account_id, connector, provider_message_id, sent_at, segments, failure, last_attempt, left_at, bytes, cost_micros, cost_currency, charge";

fn route(mut row: Row) -> Result<FormerRoute, Error> {
    Ok(FormerRoute {
        tenant_id: row.get(0)?,
        message_id: row.get(1)?,
        position: row.get(2)?,
        channel: row.get(3)?,
        address: row.get(4)?,
        account_id: row.get(5)?,
        connector: row.get(6)?,
        provider_message_id: row.get(7)?,
        sent_at: row.get(8)?,
        segments: row.get(9)?,
        failure: row.get(10)?,
        last_attempt: row.get(11)?,
        left_at: row.get(12)?,
        bytes: row.get(13)?,
        cost_micros: row.get(14)?,
        cost_currency: row.get(15)?,
        charge: row.get(16)?,
    })
}

/// Appends ways that were left.
pub async fn leave_many(tx: &mut Tx, routes: &[FormerRoute]) -> Result<(), Error> {
    let mut given = Given::new(&[
        ("tenant_id", Kind::Id),
        ("message_id", Kind::Id),
        ("position", Kind::Int),
        ("channel", Kind::Int),
        ("address", Kind::Text),
        ("account_id", Kind::Id),
        ("connector", Kind::Text),
        ("provider_message_id", Kind::Text),
        ("sent_at", Kind::Time),
        ("segments", Kind::Int),
        ("failure", Kind::Text),
        ("last_attempt", Kind::Int),
        ("left_at", Kind::Time),
        ("bytes", Kind::Int),
        ("cost_micros", Kind::Int),
        ("cost_currency", Kind::Text),
        ("charge", Kind::Json),
    ]);
    for r in routes {
        given.row([
            &r.tenant_id,
            &r.message_id,
            &r.position,
            &r.channel,
            &r.address,
            &r.account_id,
            &r.connector,
            &r.provider_message_id,
            &r.sent_at,
            &r.segments,
            &r.failure,
            &r.last_attempt,
            &r.left_at,
            &r.bytes,
            &r.cost_micros,
            &r.cost_currency,
            &r.charge,
        ]);
    }
    tx.insert_many_later("former_routes", &given, "").await
}

/// Writes what became known later of ways that were left: parts, and what they cost. Their messages' rows are locked by the caller.
pub async fn update_many(tx: &mut Tx, routes: &[FormerRoute]) -> Result<(), Error> {
    let mut given = Given::new(&[
        ("tenant_id", Kind::Id),
        ("message_id", Kind::Id),
        ("position", Kind::Int),
        ("segments", Kind::Int),
        ("cost_micros", Kind::Int),
        ("cost_currency", Kind::Text),
        ("charge", Kind::Json),
    ]);
    for r in routes {
        given.row([&r.tenant_id, &r.message_id, &r.position, &r.segments, &r.cost_micros, &r.cost_currency, &r.charge]);
    }
    tx.update_many_later("former_routes", 3, &given).await
}

/// Points messages of any tenants at the channel, address, content and sender they go by now, which nothing else ever changes, and notes what the ways they left cost.
pub async fn redirect_many(tx: &mut Tx, messages: &[&Message]) -> Result<(), Error> {
    let mut given = Given::new(&[
        ("tenant_id", Kind::Id),
        ("id", Kind::Id),
        ("channel", Kind::Int),
        ("address", Kind::Text),
        ("content_id", Kind::Id),
        ("sender_id", Kind::Id),
        ("cost_before", Kind::Int),
    ]);
    for m in messages {
        given.row([&m.tenant_id, &m.id, &m.channel, &m.address, &m.content_id, &m.sender_id, &m.cost_before]);
    }
    tx.update_many_later("messages", 2, &given).await
}

/// The ways messages of any tenants went before, in order.
pub async fn former(tx: &mut Tx, keys: &[(TenantId, MessageId)]) -> Result<Vec<FormerRoute>, Error> {
    let mut given = Given::new(&[("tenant_id", Kind::Id), ("message_id", Kind::Id)]);
    for (tenant, message) in keys {
        given.row([tenant, message]);
    }
    let rows = tx.match_many(&format!("SELECT {ROUTE} FROM former_routes"), &given, "").await?;
    let mut routes: Vec<FormerRoute> = rows.into_iter().map(route).collect::<Result<_, _>>()?;
    routes.sort_by_key(|route| (route.message_id, route.position));
    Ok(routes)
}

/// The messages that providers knew by these ids before they moved on: account, id, tenant, message.
pub async fn find_by_provider_ids(
    tx: &mut Tx,
    keys: &[(AccountId, String)],
) -> Result<Vec<(AccountId, String, TenantId, MessageId)>, Error> {
    let mut given = Given::new(&[("account_id", Kind::Id), ("provider_message_id", Kind::Text)]);
    for (account, id) in keys {
        given.row([account, id]);
    }
    let sql = "SELECT account_id, provider_message_id, tenant_id, message_id FROM former_routes";
    let rows = tx.match_many(sql, &given, "").await?;
    rows.into_iter().map(|mut row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))).collect()
}
