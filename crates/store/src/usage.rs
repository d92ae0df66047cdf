//! Usage counters: sums over messages by tenant, month, channel, provider and purpose, written in the transaction that changes the messages.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::{AddAssign, Sub},
};

use model::{Channel, Purpose, TenantId};

use crate::{Error, Given, Kind, Row, Tx};

/// What is counted together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Whose.
    pub tenant_id: TenantId,
    /// The month (UTC) in which the message was accepted, as in `2026-11`.
    pub month: String,
    /// Over which channel.
    pub channel: Channel,
    /// Through which connector; empty when the message never had an account.
    pub provider: String,
    /// Why.
    pub purpose: Purpose,
}

macro_rules! counts {
    ($($(#[$doc:meta])* $name:ident,)+) => {
        /// The sums.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
        pub struct Counts { $($(#[$doc])* pub $name: i64,)+ }

        impl AddAssign for Counts {
            fn add_assign(&mut self, other: Self) { $(self.$name += other.$name;)+ }
        }
        impl Sub for Counts {
            type Output = Self;
            fn sub(self, other: Self) -> Self { Self { $($name: self.$name - other.$name,)+ } }
        }

        const NAMES: &[&str] = &[$(stringify!($name)),+];

        impl Counts {
            fn read(row: &mut Row, first: usize) -> Result<Self, Error> {
                let mut column = first;
                let mut next = || { column += 1; row.get(column - 1) };
                Ok(Self { $($name: next()?,)+ })
            }
        }

        /// Adds to the sums. The keys come in order, so that two transactions cannot wait for each other.
        pub async fn add_many(tx: &mut Tx, shard: i64, added: &BTreeMap<Key, Counts>) -> Result<(), Error> {
            let mut given = Given::new(&[
                ("tenant_id", Kind::Id), ("month", Kind::Text), ("channel", Kind::Int), ("provider", Kind::Text), ("purpose", Kind::Int), ("shard", Kind::Int),
                $((stringify!($name), Kind::Int)),+
            ]);
            let zero = Counts::default();
            for (key, counts) in added.iter().filter(|(_, counts)| **counts != zero) {
                given.row([&key.tenant_id, &key.month, &key.channel, &key.provider, &key.purpose, &shard, $(&counts.$name),+]);
            }
            let suffix = concat!("ON CONFLICT (tenant_id, month, channel, provider, purpose, shard) DO UPDATE SET ",
                counts!(@sets $($name)+));
            tx.insert_many_later("usage_counters", &given, suffix).await
        }
    };
    (@sets $first:ident $($name:ident)*) => {
        concat!(stringify!($first), " = usage_counters.", stringify!($first), " + excluded.", stringify!($first),
            $(", ", stringify!($name), " = usage_counters.", stringify!($name), " + excluded.", stringify!($name)),*)
    };
}

counts! {
    /// Messages accepted.
    accepted,
    /// Messages the provider took.
    sent,
    /// Messages that arrived.
    delivered,
    /// Messages that were read.
    read,
    /// Messages that failed.
    failed,
    /// Messages that came back.
    bounced,
    /// Messages withdrawn before they left.
    canceled,
    /// Messages whose time ran out before they left.
    expired,
    /// Messages not sent because the recipient must not be written to.
    suppressed,
    /// Messages of which nobody can say whether the provider took them.
    unknown,
    /// Parts of sent messages (SMS).
    segments,
    /// What was handed to providers of sent messages, in bytes.
    bytes,
}

/// A tenant's sums for a month, one row per channel, provider and purpose, in that order.
pub async fn of_month(tx: &mut Tx, tenant: TenantId, month: &str) -> Result<Vec<(Key, Counts)>, Error> {
    let sql = format!(
        "SELECT tenant_id, month, channel, provider, purpose, {} FROM usage_counters WHERE tenant_id = $1 AND month = $2
         GROUP BY tenant_id, month, channel, provider, purpose ORDER BY channel, provider, purpose",
        sums()
    );
    tx.rows(&sql, &[&tenant, &month]).await?.into_iter().map(read).collect()
}

/// The months a tenant has sums of.
pub async fn months(tx: &mut Tx, tenant: TenantId) -> Result<BTreeSet<String>, Error> {
    let rows = tx.rows("SELECT DISTINCT month FROM usage_counters WHERE tenant_id = $1", &[&tenant]).await?;
    rows.into_iter().map(|mut row| row.get(0)).collect()
}

/// Every tenant's sums for a month, one row per tenant, channel, provider and purpose, in that order, up to `limit` rows. Across tenants: for the operator.
pub async fn of_month_of_all(tx: &mut Tx, month: &str, limit: i64) -> Result<Vec<(Key, Counts)>, Error> {
    let sql = format!(
        "SELECT tenant_id, month, channel, provider, purpose, {} FROM usage_counters WHERE month = $1
         GROUP BY tenant_id, month, channel, provider, purpose ORDER BY tenant_id, channel, provider, purpose LIMIT $2",
        sums()
    );
    tx.rows(&sql, &[&month, &limit]).await?.into_iter().map(read).collect()
}

/// Forgets a tenant's sums of a month, to write them anew.
pub async fn remove(tx: &mut Tx, tenant: TenantId, month: &str) -> Result<(), Error> {
    tx.execute("DELETE FROM usage_counters WHERE tenant_id = $1 AND month = $2", &[&tenant, &month]).await.map(drop)
}

fn sums() -> String {
    NAMES.iter().map(|name| format!("CAST(SUM({name}) AS BIGINT)")).collect::<Vec<_>>().join(", ")
}

fn read(mut row: Row) -> Result<(Key, Counts), Error> {
    let key = Key {
        tenant_id: row.get(0)?,
        month: row.get(1)?,
        channel: row.get(2)?,
        provider: row.get(3)?,
        purpose: row.get(4)?,
    };
    let counts = Counts::read(&mut row, 5)?;
    Ok((key, counts))
}
