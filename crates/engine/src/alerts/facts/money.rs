//! What messages cost and what is used of plans, as facts.

use std::collections::BTreeMap;

use model::{Channel, TenantId, Timestamp};
use store::{
    Tx, alert_facts, credits,
    message_counters::{self, Filter, Split},
};

use super::SUMS_MAX;
use crate::{
    Error,
    analytics::{Interval, period::Zone},
    directory::Tenant,
    vault::OPERATOR,
};

/// What is used of the plan on one channel this month.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quota {
    /// Over which channel.
    pub channel: Channel,
    /// Messages so far.
    pub used: i64,
    /// Messages there are.
    pub of: i64,
    /// Whether nothing is accepted beyond them.
    pub stops: bool,
}

/// What messages cost in one currency.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cost {
    /// Since the first of the month.
    pub month_micros: i64,
    /// In the last seven days.
    pub week_micros: i64,
}

/// What messages cost: a tenant's, or everybody's for the operator.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Spent {
    /// The currency of the credit, or else the tenant's own; empty for the operator, who has none.
    pub currency: String,
    /// By currency, as far as it is known.
    pub costs: BTreeMap<String, Cost>,
    /// What is left of the month, in seconds.
    pub month_left_s: i64,
    /// The credit; `None` for tenants who do not pay ahead.
    pub available_micros: Option<i64>,
    /// Below this the tenant wants to be told, at any pace.
    pub low_at_micros: Option<i64>,
}

impl Spent {
    /// What was spent in a currency.
    pub fn cost(&self, currency: &str) -> Cost {
        self.costs.get(currency).copied().unwrap_or_default()
    }

    /// The other currencies in which the month has cost something, with how much.
    pub fn others<'a>(&'a self, currency: &'a str) -> impl Iterator<Item = (&'a str, i64)> {
        let others = self.costs.iter().filter(move |(other, cost)| *other != currency && cost.month_micros != 0);
        others.map(|(other, cost)| (other.as_str(), cost.month_micros))
    }
}

/// The currency of a tenant's credit, or else its own: that of a budget unless another is asked for.
pub(in super::super) async fn own_currency(tx: &mut Tx, tenant: &Tenant) -> Result<String, Error> {
    Ok(currency_of(tenant, credits::find(tx, tenant.id).await?.as_ref()))
}

fn currency_of(tenant: &Tenant, ledger: Option<&credits::Ledger>) -> String {
    ledger.map_or_else(|| tenant.currency.clone(), |ledger| ledger.currency.clone())
}

/// What the caller's messages cost, or everybody's without a tenant.
pub(in super::super) async fn spent_by(
    tx: &mut Tx,
    owner: TenantId,
    tenant: Option<&Tenant>,
    now: Timestamp,
) -> Result<Spent, Error> {
    match tenant {
        Some(tenant) => spent(tx, tenant, now).await,
        None if owner == OPERATOR => spent_by_all(tx, now).await,
        None => Ok(Spent::default()),
    }
}

/// What a tenant's messages cost.
pub(super) async fn spent(tx: &mut Tx, tenant: &Tenant, now: Timestamp) -> Result<Spent, Error> {
    let ledger = credits::find(tx, tenant.id).await?;
    let zone = Zone::named(&tenant.timezone);
    let begin = zone.begin(now, Interval::Month);
    let mut costs = BTreeMap::<String, Cost>::new();
    for (is_month, from) in [(true, begin), (false, now.plus_seconds(-7 * 86_400))] {
        let filter = Filter { from: message_counters::quarter(from), until: now.plus_seconds(1), ..Filter::default() };
        let split = Split { currency: true, ..Split::default() };
        for (key, counts) in message_counters::sums(tx, Some(tenant.id), &filter, split, SUMS_MAX).await? {
            let cost = costs.entry(key.currency).or_default();
            if is_month {
                cost.month_micros = counts.cost_micros;
            } else {
                cost.week_micros = counts.cost_micros;
            }
        }
    }
    // Of some messages no cost is known.
    costs.remove("");
    Ok(Spent {
        currency: currency_of(tenant, ledger.as_ref()),
        costs,
        month_left_s: left_s(&zone, begin, now),
        low_at_micros: ledger.as_ref().and_then(|ledger| ledger.low_at),
        available_micros: ledger.filter(|ledger| ledger.mode == "prepaid").map(|ledger| ledger.left()),
    })
}

/// What is left of the month that began then.
fn left_s(zone: &Zone, begin: Timestamp, now: Timestamp) -> i64 {
    // The next month begins within 32 days of the beginning of this one.
    let end = zone.begin(begin.plus_seconds(32 * 86_400), Interval::Month);
    (end.as_seconds() - now.as_seconds()).max(0)
}

/// What everybody's messages cost: on the days of UTC's month, each on its tenant's clock, and in the seven days before this one, read from sums by day.
pub(super) async fn spent_by_all(tx: &mut Tx, now: Timestamp) -> Result<Spent, Error> {
    let utc = Zone::utc();
    let begin = utc.begin(now, Interval::Month);
    let today = utc.begin(now, Interval::Day);
    let (week, end) = (today.plus_seconds(-7 * 86_400), now.plus_seconds(left_s(&utc, begin, now)));
    let mut costs = BTreeMap::<String, Cost>::new();
    for (currency, day, micros) in alert_facts::costs(tx, begin.min(week), end).await? {
        let cost = costs.entry(currency).or_default();
        if day >= begin {
            cost.month_micros += micros;
        }
        if (week..today).contains(&day) {
            cost.week_micros += micros;
        }
    }
    Ok(Spent { costs, month_left_s: left_s(&utc, begin, now), ..Spent::default() })
}
