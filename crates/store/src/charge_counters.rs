//! What a price list charged, by the quarter of an hour messages were accepted in, channel and country: what stands on invoices. Written with the charges, under the lock of the
//! tenant's ledger, so that all of it comes to what the ledger says was spent.

use std::{collections::BTreeMap, ops::AddAssign};

use model::{Channel, TenantId, Timestamp};

use crate::{Error, Given, Kind, Row, Tx};

/// Length of a slot, in seconds: months begin on a quarter of an hour in every zone.
pub const SLOT_S: i64 = 900;

/// The slot an instant lies in, as its beginning.
pub const fn slot(at: Timestamp) -> Timestamp {
    Timestamp::from_seconds(at.as_seconds().div_euclid(SLOT_S) * SLOT_S)
}

/// What is counted together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// Whose.
    pub tenant_id: TenantId,
    /// The beginning of the slot in which the messages were accepted, see [`slot`].
    pub at: Timestamp,
    /// Over which channel they were sent.
    pub channel: Channel,
    /// To which country; empty for addresses that lie in none.
    pub country: String,
}

/// The sums.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Messages that were charged; one that was sent two ways is two.
    pub messages: i64,
    /// What they were charged.
    pub charged: i64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.messages += other.messages;
        self.charged += other.charged;
    }
}

/// Adds to the sums. The caller holds the ledgers of the tenants.
pub async fn add_many(tx: &mut Tx, added: &BTreeMap<Key, Counts>) -> Result<(), Error> {
    let mut given = Given::new(&[
        ("tenant_id", Kind::Id),
        ("at", Kind::Time),
        ("channel", Kind::Int),
        ("country", Kind::Text),
        ("messages", Kind::Int),
        ("charged", Kind::Int),
    ]);
    for (key, counts) in added {
        given.row([&key.tenant_id, &key.at, &key.channel, &key.country, &counts.messages, &counts.charged]);
    }
    if given.is_empty() {
        return Ok(());
    }
    let suffix = "ON CONFLICT (tenant_id, at, channel, country) DO UPDATE SET messages = charge_counters.messages + excluded.messages,
        charged = charge_counters.charged + excluded.charged";
    tx.insert_many_later("charge_counters", &given, suffix).await
}

/// What a tenant's messages accepted in a time were charged, by channel and country.
pub async fn sums(
    tx: &mut Tx,
    tenant: TenantId,
    from: Timestamp,
    until: Timestamp,
) -> Result<BTreeMap<(Channel, String), Counts>, Error> {
    let sql =
        "SELECT channel, country, CAST(SUM(messages) AS BIGINT), CAST(SUM(charged) AS BIGINT) FROM charge_counters
        WHERE tenant_id = $1 AND at >= $2 AND at < $3 GROUP BY channel, country ORDER BY channel, country";
    let read = |mut row: Row| Ok(((row.get(0)?, row.get(1)?), Counts { messages: row.get(2)?, charged: row.get(3)? }));
    tx.rows(sql, &[&tenant, &from, &until]).await?.into_iter().map(read).collect()
}

/// All a tenant was charged by these sums. For the recount.
pub async fn total(tx: &mut Tx, tenant: TenantId) -> Result<i64, Error> {
    let sql = "SELECT CAST(COALESCE(SUM(charged), 0) AS BIGINT) FROM charge_counters WHERE tenant_id = $1";
    tx.row(sql, &[&tenant]).await?.map_or(Ok(0), |mut row| row.get(0))
}
