//! What happened lately, for a person's first page: the tenant's newest messages by channel, status and hour. Called by the console. Changes nothing.
//!
//! The rows themselves are read, newest first and bounded, so it is as true as the list of messages; a tenant busier than the bound learns from which instant on it counts.

use model::{Channel, MessageId, Status, Timestamp};
use store::{Scope, messages};

use crate::{Engine, Error, keys::Caller};

/// Messages looked at most: read within some tens of milliseconds, and enough for a day of most tenants.
pub const LOOKED_AT_MAX: i64 = 20_000;

/// Messages accepted since an instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overview {
    /// From when on they are counted: the instant asked for, or a later one when there are more than [`LOOKED_AT_MAX`].
    pub since: Timestamp,
    /// Whether there were more.
    pub is_cut: bool,
    /// Each message: when it was accepted, over which channel, and where it is. Newest first.
    pub messages: Vec<(Timestamp, Channel, Status)>,
}

impl Engine {
    /// The tenant's messages accepted at or after `since`, without events to its endpoints. Needs the scope `messages:read`.
    pub async fn overview(&self, caller: &Caller, since: Timestamp) -> Result<Overview, Error> {
        caller.need("messages:read")?;
        let tenant = caller.need_tenant()?;
        // An id begins with the millisecond it was made in, so the ids of a time are those above its first one.
        let from = MessageId::from_ulid(u128::from(since.as_millis().max(0).unsigned_abs()) << 80);
        let read = self.ports.db.read(Scope::Tenant(tenant), move |tx| {
            Box::pin(async move { messages::lately(tx, tenant, from, LOOKED_AT_MAX).await })
        });
        let messages = read.await.map_err(Error::from)?;
        let is_cut = messages.len() as i64 == LOOKED_AT_MAX;
        let oldest = messages.last().map(|(at, ..)| *at).filter(|_| is_cut);
        Ok(Overview { since: oldest.unwrap_or(since), is_cut, messages })
    }
}
