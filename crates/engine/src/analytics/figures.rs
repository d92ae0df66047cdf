//! Figures as people see them, made of sums. Pure.

use std::collections::BTreeMap;

use model::Money;
use serde::Serialize;
use store::message_counters::{Counts, REPLIED_MS, TOOK_MS};
use utoipa::ToSchema;

/// Numbers of messages, and how long their delivery took.
#[derive(Debug, Clone, Default, PartialEq, Serialize, ToSchema)]
pub struct Figures {
    /// Accepted.
    pub accepted: i64,
    /// Taken by the provider.
    pub sent: i64,
    /// Arrived.
    pub delivered: i64,
    /// Read, as far as the provider tells.
    pub read: i64,
    /// Opened by a person.
    pub opened: i64,
    /// Opened by a program, such as a mail provider that loads every picture.
    pub machine_opened: i64,
    /// With a link a person followed.
    pub clicked: i64,
    /// With a link a program followed.
    pub machine_clicked: i64,
    /// Failed.
    pub failed: i64,
    /// Came back.
    pub bounced: i64,
    /// Why those failed and came back.
    pub failed_by_reason: Reasons,
    /// Reported as unwanted.
    pub complained: i64,
    /// Answered by asking for no more.
    pub unsubscribed: i64,
    /// Answered: the recipient wrote back within 30 days.
    pub replied: i64,
    /// Withdrawn before they left.
    pub canceled: i64,
    /// Ran out of time before they left.
    pub expired: i64,
    /// Not sent because the recipient must not be written to.
    pub suppressed: i64,
    /// Nobody can say whether the provider took them.
    pub unknown: i64,
    /// Parts of sent messages (SMS).
    pub segments: i64,
    /// The time from sending to arrival that half of the deliveries stayed below, in milliseconds: estimated from buckets that end at 1, 2, 5, 10, 30 and 60 seconds, 5 and 15 minutes,
    /// 1, 4 and 24 hours. `null` without deliveries.
    pub delivery_median_ms: Option<i64>,
    /// The same for 95 of a hundred.
    pub delivery_p95_ms: Option<i64>,
    /// The time from sending to the reply that half of the replies stayed below, in milliseconds: estimated from buckets that end at 1, 5 and 30 minutes, 4 hours, 1 and 7 days. `null` without
    /// replies.
    pub response_median_ms: Option<i64>,
    /// The same for 95 of a hundred.
    pub response_p95_ms: Option<i64>,
    /// What they cost, by currency, as far as it is known: what was quoted until it is charged, and for tenants who are not billed what the provider names.
    #[schema(value_type = Vec<Object>)]
    pub costs: Vec<Money>,
    /// What one that arrived cost on average, by currency; empty while none arrived.
    #[schema(value_type = Vec<Object>)]
    pub cost_per_delivered: Vec<Money>,
}

/// Failed and bounced messages by the kind of failure.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, ToSchema)]
pub struct Reasons {
    /// The address does not work.
    pub recipient: i64,
    /// The recipient wants none.
    pub opted_out: i64,
    /// What they say was refused.
    pub content: i64,
    /// The provider would take no more.
    pub throttled: i64,
    /// The provider was out of order.
    pub unavailable: i64,
    /// The account does not work.
    pub account: i64,
    /// Nobody can say.
    pub unknown: i64,
}

impl Figures {
    pub(super) const NAMES: [&'static str; 29] = [
        "accepted",
        "sent",
        "delivered",
        "read",
        "opened",
        "machine_opened",
        "clicked",
        "machine_clicked",
        "failed",
        "bounced",
        "failed_recipient",
        "failed_opted_out",
        "failed_content",
        "failed_throttled",
        "failed_unavailable",
        "failed_account",
        "failed_unknown",
        "complained",
        "unsubscribed",
        "replied",
        "canceled",
        "expired",
        "suppressed",
        "unknown",
        "segments",
        "delivery_median_ms",
        "delivery_p95_ms",
        "response_median_ms",
        "response_p95_ms",
    ];

    pub(super) fn cells(&self) -> [Option<i64>; 29] {
        let r = &self.failed_by_reason;
        [
            Some(self.accepted),
            Some(self.sent),
            Some(self.delivered),
            Some(self.read),
            Some(self.opened),
            Some(self.machine_opened),
            Some(self.clicked),
            Some(self.machine_clicked),
            Some(self.failed),
            Some(self.bounced),
            Some(r.recipient),
            Some(r.opted_out),
            Some(r.content),
            Some(r.throttled),
            Some(r.unavailable),
            Some(r.account),
            Some(r.unknown),
            Some(self.complained),
            Some(self.unsubscribed),
            Some(self.replied),
            Some(self.canceled),
            Some(self.expired),
            Some(self.suppressed),
            Some(self.unknown),
            Some(self.segments),
            self.delivery_median_ms,
            self.delivery_p95_ms,
            self.response_median_ms,
            self.response_p95_ms,
        ]
    }
}

/// Sums, with the cost by currency.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Sum {
    pub counts: Counts,
    costs: BTreeMap<String, i64>,
}

impl Sum {
    /// Adds sums whose cost is in a currency.
    pub fn add(&mut self, currency: &str, counts: Counts) {
        self.counts += counts;
        if counts.cost_micros != 0 {
            *self.costs.entry(currency.to_owned()).or_default() += counts.cost_micros;
        }
    }
}

impl From<Sum> for Figures {
    fn from(sum: Sum) -> Self {
        let c = sum.counts;
        let o = c.outcome;
        let money = |per: i64| {
            let money =
                |(currency, micros): (&String, &i64)| Money { amount_micros: micros / per, currency: currency.clone() };
            sum.costs.iter().map(money).collect::<Vec<_>>()
        };
        Self {
            accepted: o.accepted,
            sent: o.sent,
            delivered: o.delivered,
            read: o.read,
            opened: c.opened,
            machine_opened: c.machine_opened,
            clicked: c.clicked,
            machine_clicked: c.machine_clicked,
            failed: o.failed,
            bounced: o.bounced,
            failed_by_reason: Reasons {
                recipient: c.failed_recipient,
                opted_out: c.failed_opted_out,
                content: c.failed_content,
                throttled: c.failed_throttled,
                unavailable: c.failed_unavailable,
                account: c.failed_account,
                unknown: c.failed_unknown,
            },
            complained: c.complained,
            unsubscribed: c.unsubscribed,
            replied: c.replied,
            canceled: o.canceled,
            expired: o.expired,
            suppressed: o.suppressed,
            unknown: o.unknown,
            segments: o.segments,
            delivery_median_ms: quantile(&c.took, &TOOK_MS, 50),
            delivery_p95_ms: quantile(&c.took, &TOOK_MS, 95),
            response_median_ms: quantile(&c.answer, &REPLIED_MS, 50),
            response_p95_ms: quantile(&c.answer, &REPLIED_MS, 95),
            costs: money(1),
            cost_per_delivered: if o.delivered > 0 { money(o.delivered) } else { Vec::new() },
        }
    }
}

/// The time `percent` of a hundred stayed below: within its bucket they are taken to be spread evenly. Beyond the last bucket's end only that is known.
pub(crate) fn quantile(took: &[i64], ends_ms: &[i64], percent: i64) -> Option<i64> {
    let total: i64 = took.iter().sum();
    // The rank of the one that is looked for, from 1.
    let rank = (total * percent + 99) / 100;
    let mut below = 0;
    let mut start = 0;
    for (count, end) in took.iter().zip(ends_ms) {
        if below + count >= rank && *count > 0 {
            return Some(start + (end - start) * (rank - below) / count);
        }
        (below, start) = (below + count, *end);
    }
    (total > 0).then_some(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_lie_within_their_buckets() {
        let mut took = [0; TOOK_MS.len() + 1];
        assert_eq!(quantile(&took, &TOOK_MS, 50), None);
        took[0] = 10;
        assert_eq!((quantile(&took, &TOOK_MS, 50), quantile(&took, &TOOK_MS, 95)), (Some(500), Some(1_000)));
        took[4] = 1;
        assert_eq!((quantile(&took, &TOOK_MS, 50), quantile(&took, &TOOK_MS, 95)), (Some(600), Some(30_000)));
        let mut late = [0; TOOK_MS.len() + 1];
        late[TOOK_MS.len()] = 1;
        assert_eq!(quantile(&late, &TOOK_MS, 50), Some(86_400_000));
    }

    #[test]
    fn cost_is_told_by_currency_and_by_what_arrived() {
        let mut sum = Sum::default();
        let counts = |delivered, cost_micros| Counts {
            outcome: store::usage::Counts { delivered, ..Default::default() },
            cost_micros,
            ..Counts::default()
        };
        sum.add("", counts(2, 0));
        sum.add("EUR", counts(1, 9_000));
        let money = |amount_micros| vec![Money { amount_micros, currency: "EUR".to_owned() }];
        let figures = Figures::from(sum);
        assert_eq!((figures.costs, figures.cost_per_delivered), (money(9_000), money(3_000)));
        assert_eq!(Figures::from(Sum::default()).costs, []);
    }
}
