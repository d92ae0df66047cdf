//! What became of a campaign's messages, by variant: from the sums every message is counted in, so it costs the same for ten recipients and for a million.

use std::collections::BTreeMap;

use model::{Money, Timestamp};
use store::{
    Tx,
    campaigns::Campaign,
    message_counters::{self, Counts, Filter, Split, Table},
};

use crate::{Error, analytics};

/// Sums read at most: variants times the currencies their messages may cost.
const SUMS_MAX: i64 = 1_000;
/// How far the days on a tenant's clock may lie from those of UTC, and the clocks of several nodes from one another, in seconds.
const SKEW_S: i64 = 2 * 86_400;

/// What became of the messages of one variant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// The variant; 0 without a test.
    pub variant: u32,
    /// How many, and what became of them.
    pub counts: Counts,
    /// What they cost, by currency.
    pub costs: BTreeMap<String, i64>,
}

impl Tally {
    /// Adds what became of others.
    pub fn add(&mut self, currency: &str, counts: Counts) {
        self.counts += counts;
        if counts.cost_micros != 0 {
            *self.costs.entry(currency.to_owned()).or_default() += counts.cost_micros;
        }
    }

    /// Adds another one's.
    pub fn merge(&mut self, other: &Self) {
        self.counts += other.counts;
        for (currency, micros) in &other.costs {
            *self.costs.entry(currency.clone()).or_default() += micros;
        }
    }

    /// Opened or read by a person. Mails are opened and everything else is read, so none is counted twice.
    pub fn opened(&self) -> u64 {
        count(self.counts.opened + self.counts.outcome.read)
    }

    /// Failed, bounced, expired or unknown.
    pub fn failed(&self) -> u64 {
        let o = &self.counts.outcome;
        count(o.failed + o.bounced + o.expired + o.unknown)
    }

    /// What they cost.
    pub fn costs(&self) -> Vec<Money> {
        let money = |(currency, micros): (&String, &i64)| Money { amount_micros: *micros, currency: currency.clone() };
        self.costs.iter().map(money).collect()
    }
}

/// A sum as a number of messages. Sums of messages are never below zero once a transaction is over.
pub fn count(sum: i64) -> u64 {
    u64::try_from(sum).unwrap_or(0)
}

/// Reads what became of a campaign's messages, by variant, in their order; a variant nobody got is left out.
#[crate::boxed]
pub async fn read(tx: &mut Tx, campaign: &Campaign, now: Timestamp) -> Result<Vec<Tally>, Error> {
    let began = campaign.started_at.unwrap_or(campaign.created_at);
    let ended = campaign.ended_at.unwrap_or(now);
    let filter = Filter {
        from: began.plus_seconds(-SKEW_S),
        until: ended.plus_seconds(SKEW_S),
        campaign_id: Some(campaign.id),
        ..Filter::default()
    };
    let split = Split { variant: true, currency: true, ..Split::default() };
    let tenant = campaign.tenant_id;
    let sums = if analytics::is_pending_for(tx, tenant).await? {
        // Sums of an earlier version know neither variants nor what these messages cost.
        analytics::count_campaign(tx, tenant, campaign.id).await?.into_iter().collect()
    } else {
        message_counters::sums_of(tx, Table::Days, Some(tenant), &filter, split, SUMS_MAX).await?
    };
    let mut tallies: BTreeMap<u32, Tally> = BTreeMap::new();
    for (key, counts) in sums {
        let variant = key.variant.saturating_sub(1);
        let tally = tallies.entry(variant).or_insert_with(|| Tally { variant, ..Tally::default() });
        tally.add(&key.currency, counts);
    }
    Ok(tallies.into_values().filter(|tally| tally.counts != Counts::default()).collect())
}
