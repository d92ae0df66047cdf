//! Sums over attempts by account and hour, written in the transaction that records the attempts: what is known of an account's health without looking at its messages.

use std::collections::BTreeMap;

use model::{AccountId, TenantId, Timestamp};

use crate::{Error, Given, Kind, Row, Tx};

/// Length of a slot, in seconds.
pub const SLOT_S: i64 = 3_600;

/// Upper ends of the buckets of answer times, in milliseconds; what took longer than the last lies in one more. A provider's answer takes some hundred milliseconds, and none
/// is waited for longer than a minute or so.
pub const TOOK_MS: [i64; 10] = [50, 100, 200, 400, 800, 1_500, 3_000, 6_000, 15_000, 30_000];

/// How long an attempt took that was never answered, in milliseconds: longer than any that was. It lies beyond the last bucket, however soon the connection broke.
pub const UNANSWERED_MS: i64 = i64::MAX;

/// The slot an instant lies in, as its beginning.
pub const fn slot(at: Timestamp) -> Timestamp {
    Timestamp::from_seconds(at.as_seconds().div_euclid(SLOT_S) * SLOT_S)
}

/// What is counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Whose.
    pub tenant_id: TenantId,
    /// Through which account.
    pub account_id: AccountId,
    /// The beginning of the hour in which the attempt ended.
    pub at: Timestamp,
}

/// The sums.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Attempts by outcome: first those the provider took, then by the code of the failure's kind.
    pub outcomes: [i64; 8],
    /// Attempts that asked the provider by the bucket of [`TOOK_MS`] they fall into, those it did not answer in the last.
    pub took: [i64; TOOK_MS.len() + 1],
    /// The last failure, as JSON.
    pub failure: Option<String>,
    /// When it was recorded.
    pub failed_at: Option<Timestamp>,
}

impl Counts {
    /// Adds one attempt. `outcome` is 0 or the failure's code; `took_ms` is `None` when the provider was not asked, and [`UNANSWERED_MS`] when it did not answer.
    pub fn add(&mut self, outcome: i64, took_ms: Option<i64>, failure: Option<&str>, at: Timestamp) {
        if let Some(sum) = usize::try_from(outcome).ok().and_then(|index| self.outcomes.get_mut(index)) {
            *sum += 1;
        }
        if let Some(took_ms) = took_ms {
            self.took[TOOK_MS.partition_point(|end| *end < took_ms)] += 1;
        }
        if failure.is_some() && (self.failed_at, self.failure.as_deref()) < (Some(at), failure) {
            (self.failure, self.failed_at) = (failure.map(str::to_owned), Some(at));
        }
    }

    /// Adds other sums; the later failure counts. Of two at one instant it is the greater text, so that it does not matter which is written first.
    pub fn merge(&mut self, other: &Self) {
        self.outcomes.iter_mut().zip(other.outcomes).for_each(|(sum, more)| *sum += more);
        self.took.iter_mut().zip(other.took).for_each(|(sum, more)| *sum += more);
        if (other.failed_at, &other.failure) > (self.failed_at, &self.failure) {
            (self.failure, self.failed_at) = (other.failure.clone(), other.failed_at);
        }
    }

    /// All attempts.
    pub fn attempts(&self) -> i64 {
        self.outcomes.iter().sum()
    }
}

/// Whether what is written has the later failure, see [`Counts::merge`].
const LATER: &str = "excluded.failed_at IS NOT NULL AND (attempt_counters.failed_at IS NULL OR excluded.failed_at > attempt_counters.failed_at
    OR (excluded.failed_at = attempt_counters.failed_at AND excluded.failure > attempt_counters.failure))";

const SUMS: [&str; 19] = [
    "accepted",
    "recipient",
    "opted_out",
    "content",
    "throttled",
    "unavailable",
    "account",
    "unknown",
    "took_0",
    "took_1",
    "took_2",
    "took_3",
    "took_4",
    "took_5",
    "took_6",
    "took_7",
    "took_8",
    "took_9",
    "took_10",
];

/// Adds to the sums. The keys come in order, so that two transactions cannot wait for each other.
pub async fn add_many(tx: &mut Tx, shard: i64, added: &BTreeMap<Key, Counts>) -> Result<(), Error> {
    if added.is_empty() {
        return Ok(());
    }
    let mut given = Given::new(&[
        ("tenant_id", Kind::Id),
        ("account_id", Kind::Id),
        ("at", Kind::Time),
        ("shard", Kind::Int),
        ("accepted", Kind::Int),
        ("recipient", Kind::Int),
        ("opted_out", Kind::Int),
        ("content", Kind::Int),
        ("throttled", Kind::Int),
        ("unavailable", Kind::Int),
        ("account", Kind::Int),
        ("unknown", Kind::Int),
        ("took_0", Kind::Int),
        ("took_1", Kind::Int),
        ("took_2", Kind::Int),
        ("took_3", Kind::Int),
        ("took_4", Kind::Int),
        ("took_5", Kind::Int),
        ("took_6", Kind::Int),
        ("took_7", Kind::Int),
        ("took_8", Kind::Int),
        ("took_9", Kind::Int),
        ("took_10", Kind::Int),
        ("failure", Kind::Text),
        ("failed_at", Kind::Time),
    ]);
    for (k, c) in added {
        let (o, t) = (&c.outcomes, &c.took);
        given.row([
            &k.tenant_id,
            &k.account_id,
            &k.at,
            &shard,
            &o[0],
            &o[1],
            &o[2],
            &o[3],
            &o[4],
            &o[5],
            &o[6],
            &o[7],
            &t[0],
            &t[1],
            &t[2],
            &t[3],
            &t[4],
            &t[5],
            &t[6],
            &t[7],
            &t[8],
            &t[9],
            &t[10],
            &c.failure,
            &c.failed_at,
        ]);
    }
    tx.insert_many_later("attempt_counters", &given, on_conflict()).await
}

fn on_conflict() -> &'static str {
    static TEXT: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| {
        let sums: Vec<_> =
            SUMS.iter().map(|name| format!("{name} = attempt_counters.{name} + excluded.{name}")).collect();
        format!(
            "ON CONFLICT (tenant_id, account_id, at, shard) DO UPDATE SET {}, failure = CASE WHEN {LATER} THEN excluded.failure ELSE attempt_counters.failure END,
             failed_at = CASE WHEN {LATER} THEN excluded.failed_at ELSE attempt_counters.failed_at END",
            sums.join(", ")
        )
    });
    &TEXT
}

/// A tenant's sums since an instant, by account and hour in order; of one account where one is given.
pub async fn since(
    tx: &mut Tx,
    tenant: TenantId,
    account: Option<AccountId>,
    from: Timestamp,
) -> Result<Vec<(Key, Counts)>, Error> {
    let sums = SUMS.join(", ");
    let one = if account.is_some() { "AND account_id = $3" } else { "" };
    let sql = format!(
        "SELECT account_id, at, {sums}, failure, failed_at FROM attempt_counters WHERE tenant_id = $1 AND at >= $2 {one} ORDER BY account_id, at, shard"
    );
    let rows = match &account {
        Some(account) => tx.rows(&sql, &[&tenant, &from, account]).await?,
        None => tx.rows(&sql, &[&tenant, &from]).await?,
    };
    let mut merged: Vec<(Key, Counts)> = Vec::new();
    for row in rows {
        let (key, counts) = read(row, tenant)?;
        match merged.last_mut().filter(|(last, _)| *last == key) {
            Some((_, sum)) => sum.merge(&counts),
            None => merged.push((key, counts)),
        }
    }
    Ok(merged)
}

fn read(mut row: Row, tenant_id: TenantId) -> Result<(Key, Counts), Error> {
    let row = &mut row;
    let key = Key { tenant_id, account_id: row.get(0)?, at: row.get(1)? };
    let mut counts = Counts::default();
    let sums = counts.outcomes.iter_mut().chain(&mut counts.took);
    for (index, sum) in sums.enumerate() {
        *sum = row.get(2 + index)?;
    }
    counts.failure = row.get(2 + SUMS.len())?;
    counts.failed_at = row.get(3 + SUMS.len())?;
    Ok((key, counts))
}

/// Forgets what lies before an instant, of every tenant. Answers how many rows.
pub async fn purge(tx: &mut Tx, before: Timestamp) -> Result<u64, Error> {
    tx.execute("DELETE FROM attempt_counters WHERE at < $1", &[&before]).await
}
