//! What was sent and charged in a time, as bills count it.
//!
//! Sums are kept by the half hour. A month that begins or ends within one (a zone on a quarter hour) begins or ends with the next, for both months the same, so every message stands on one
//! invoice. Where a plan begins within one, nothing is billed by it of before: its messages up to the next sums are counted one by one, as quotas count them: when the
//! month is closed, and then only once more was sent of what those sums hold.

use model::{Channel, TenantId, Timestamp};
use serde::{Deserialize, Serialize};
use store::{
    Tx, charge_counters,
    invoices::Invoice,
    message_counters::{self, Filter, Split},
};

use super::{
    Body,
    compose::{Charged, Sent},
};
use crate::analytics::count_first;

/// Sums of one month at most: every country there is on each channel, with room.
const SUMS_MAX: i64 = 10_000;
/// Seconds of the shortest sum.
const SLOT_S: i64 = message_counters::QUARTER_S;

/// What was counted of a plan's first minutes, as it is kept with the bill of its month.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FirstMinutes {
    /// What was sent of all that the sums hold in which the plan begins, by channel and country.
    of_sums: Vec<(Channel, String, i64)>,
    /// What of that was accepted from the plan's instant on.
    sent: Vec<(Channel, String, i64)>,
}

impl FirstMinutes {
    /// Counts them from a plan's instant on. What was `kept` holds as long as the sums are what they were: a message that was sent stays so, and where it was.
    pub(super) async fn count(
        tx: &mut Tx,
        tenant: TenantId,
        from: Timestamp,
        kept: Option<&Self>,
    ) -> Result<Self, store::Error> {
        let of_sums = listed(sums(tx, tenant, message_counters::slot(from), from).await?);
        if let Some(kept) = kept.filter(|kept| kept.of_sums == of_sums) {
            return Ok(kept.clone());
        }
        let first = match of_sums.is_empty() {
            true => Sent::new(),
            false => {
                let all = count_first(tx, tenant, from).await?;
                sent(all.into_iter().filter(|(key, _)| !key.topic.contains(':')))
            }
        };
        Ok(Self { of_sums, sent: listed(first) })
    }
}

fn listed(sent: Sent) -> Vec<(Channel, String, i64)> {
    sent.into_iter().map(|((channel, country), count)| (channel, country, count)).collect()
}

/// The first quarter of an hour that begins at an instant or after it.
pub(crate) fn ceiling(at: Timestamp) -> Timestamp {
    const SLOT: i64 = SLOT_S * 1_000_000;
    let micros = at.as_micros();
    Timestamp::from_micros(
        micros.div_euclid(SLOT).saturating_add(i64::from(micros.rem_euclid(SLOT) > 0)).saturating_mul(SLOT),
    )
}

/// What was sent of a tenant's messages that were accepted in a time. Sums count from the first that begins at the beginning of the time or after it, and what was sent before that one where a
/// plan's first minutes are counted.
pub(crate) async fn counted(
    tx: &mut Tx,
    tenant: TenantId,
    (starts_at, ends_at): (Timestamp, Timestamp),
    first_minutes: Option<&FirstMinutes>,
) -> Result<Sent, store::Error> {
    let mut sent = sums(tx, tenant, ceiling(starts_at), ceiling(ends_at)).await?;
    for (channel, country, count) in first_minutes.iter().flat_map(|first| &first.sent) {
        *sent.entry((*channel, country.clone())).or_default() += count;
    }
    Ok(sent)
}

/// What was sent by the sums of a time, without what Tidings says itself.
async fn sums(tx: &mut Tx, tenant: TenantId, from: Timestamp, until: Timestamp) -> Result<Sent, store::Error> {
    let filter = Filter { from, until, without_ours: true, ..Filter::default() };
    let split = Split { channel: true, country: true, ..Split::default() };
    Ok(sent(message_counters::sums(tx, Some(tenant), &filter, split, SUMS_MAX).await?))
}

/// What was sent of what was counted, by channel and country.
fn sent(counted: impl IntoIterator<Item = (message_counters::Key, message_counters::Counts)>) -> Sent {
    let mut sent = Sent::new();
    for (key, counts) in counted {
        *sent.entry((key.channel, key.country)).or_default() += counts.outcome.sent;
    }
    sent.retain(|_, sent| *sent != 0);
    sent
}

/// What was sent in a month that was billed, by now and from when its plan counts. What is `kept` of its first minutes is counted again only where it is others now; without it, always.
pub(crate) async fn sent_in(
    tx: &mut Tx,
    invoice: &Invoice,
    body: &Body,
    kept: Option<&FirstMinutes>,
) -> Result<Sent, store::Error> {
    let (tenant, from) =
        (invoice.tenant_id, body.counted_from.map_or(invoice.starts_at, |from| from.max(invoice.starts_at)));
    let first_minutes = match body.counts_first_minutes {
        true => Some(FirstMinutes::count(tx, tenant, from, kept).await?),
        false => None,
    };
    counted(tx, tenant, (from, invoice.ends_at), first_minutes.as_ref()).await
}

/// What a price list charged a tenant for messages that were accepted in a time.
pub(crate) async fn charged(
    tx: &mut Tx,
    tenant: TenantId,
    starts_at: Timestamp,
    ends_at: Timestamp,
) -> Result<Charged, store::Error> {
    // Months meet on a quarter. One that begins within it begins with all of it: before there was a plan nothing was billed, and what credit paid then is not owed.
    charge_counters::sums(tx, tenant, charge_counters::slot(starts_at), ceiling(ends_at)).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_meet_at_quarters_of_an_hour() {
        let check =
            |at: &str, expected: &str| assert_eq!(ceiling(at.parse().unwrap()), expected.parse().unwrap(), "{at}");
        check("2026-11-30T18:30:00Z", "2026-11-30T18:30:00Z");
        check("2026-11-30T18:15:00Z", "2026-11-30T18:15:00Z");
        check("2026-11-30T18:15:00.000001Z", "2026-11-30T18:30:00Z");
        check("2026-11-10T12:00:00.000001Z", "2026-11-10T12:15:00Z");
        check("2026-11-10T12:59:59Z", "2026-11-10T13:00:00Z");
    }
}
