//! What a message's row adds to the sums. Pure.

use std::collections::BTreeMap;

use model::{AccountId, CampaignId, Failure, FailureKind, Status, TemplateId, Timestamp};
use store::{
    fallbacks::FormerRoute,
    message_counters::{self, Counts, Key, REPLIED_MS, TOOK_MS},
    messages::Message,
};

use crate::{country, writes};

/// Sums by their keys.
pub type Sums = BTreeMap<Key, Counts>;

/// Counts a message that is new, or the difference a change makes.
pub fn change(sums: &mut Sums, before: Option<&Message>, after: &Message) {
    let now = key(after);
    if let Some(before) = before {
        let then = if is_same_place(before, after) { now.clone() } else { key(before) };
        let entry = sums.entry(then).or_default();
        *entry = *entry - counts(before);
    }
    *sums.entry(now).or_default() += counts(after);
}

/// Counts what was sent the way a message has left, and what that cost: its row counts only the way it goes now.
pub fn former(sums: &mut Sums, m: &Message, former: &FormerRoute) {
    *sums.entry(way(m, former)).or_default() += way_counts(former);
}

/// Counts the difference that what became known later of a way a message had left makes.
pub fn late(sums: &mut Sums, m: &Message, before: &FormerRoute, after: &FormerRoute) {
    let entry = sums.entry(way(m, before)).or_default();
    *entry = *entry - way_counts(before);
    former(sums, m, after);
}

/// Where a way a message left is counted.
fn way(m: &Message, former: &FormerRoute) -> Key {
    Key {
        channel: former.channel,
        provider: former.connector.clone(),
        account_id: former.account_id,
        country: country::text(former.channel, &former.address),
        currency: former.cost_micros.and(former.cost_currency.clone()).unwrap_or_default(),
        ..key(m)
    }
}

fn way_counts(former: &FormerRoute) -> Counts {
    let cost_micros = former.cost_micros.filter(|_| former.cost_currency.is_some()).unwrap_or(0);
    Counts { outcome: writes::former_counts(former), cost_micros, ..Counts::default() }
}

/// True when a change leaves a message where it is counted.
fn is_same_place(a: &Message, b: &Message) -> bool {
    (a.channel, a.account_id, &a.connector, &a.address, a.variant)
        == (b.channel, b.account_id, &b.connector, &b.address, b.variant)
        && currency(a) == currency(b)
}

fn key(m: &Message) -> Key {
    Key {
        tenant_id: m.tenant_id,
        at: slot(m),
        channel: m.channel,
        provider: m.connector.clone().unwrap_or_default(),
        account_id: m.account_id.unwrap_or(AccountId::from_ulid(0)),
        purpose: m.purpose,
        country: country::text(m.channel, &m.address),
        campaign_id: m.campaign_id.unwrap_or(CampaignId::from_ulid(0)),
        template_id: m.template.map_or(TemplateId::from_ulid(0), |of| of.id),
        template_version: m.template.map_or(0, |of| of.version),
        topic: m.topic.clone().unwrap_or_default(),
        variant: m.variant.map_or(0, |variant| variant + 1),
        currency: currency(m).to_owned(),
        clock: m.clock.unwrap_or(0),
    }
}

/// The slot a message was accepted in. On the row stands what the tenant's clock showed then, so everything that becomes of it is counted where it was.
fn slot(m: &Message) -> Timestamp {
    if m.clock.unwrap_or(0) % 2 == 0 {
        message_counters::slot(m.created_at)
    } else {
        message_counters::quarter(m.created_at)
    }
}

/// The currency of what a message costs, once that is known.
fn currency(m: &Message) -> &str {
    m.cost_micros.and(m.cost_currency.as_deref()).unwrap_or_default()
}

fn counts(m: &Message) -> Counts {
    let one = |at: Option<Timestamp>| i64::from(at.is_some());
    let e = &m.engagement;
    let mut counts = Counts {
        outcome: writes::counts(m),
        opened: one(e.opened_at),
        clicked: one(e.clicked_at),
        machine_opened: one(e.machine_opened_at.filter(|_| e.opened_at.is_none())),
        machine_clicked: one(e.machine_clicked_at.filter(|_| e.clicked_at.is_none())),
        waiting: i64::from(matches!(m.status, Status::Scheduled | Status::Queued | Status::Sending)),
        complained: one(e.complained_at),
        unsubscribed: one(e.unsubscribed_at),
        replied: one(e.replied_at),
        // What ways it left cost counts where they went.
        cost_micros: m.cost_micros.filter(|_| m.cost_currency.is_some()).map_or(0, |cost| cost - m.cost_before),
        ..Counts::default()
    };
    if matches!(m.status, Status::Failed | Status::Bounced) {
        *reason(&mut counts, m.failure.as_deref()) = 1;
    }
    if let Some((sent, delivered)) = m.sent_at.zip(m.delivered_at) {
        counts.took[bucket(&TOOK_MS, delivered.millis_since(sent))] = 1;
    }
    if let Some((sent, replied)) = m.sent_at.zip(e.replied_at) {
        counts.answer[bucket(&REPLIED_MS, replied.millis_since(sent))] = 1;
    }
    counts
}

fn reason<'a>(counts: &'a mut Counts, failure: Option<&str>) -> &'a mut i64 {
    let kind = failure.and_then(|text| serde_json::from_str::<Failure>(text).ok()).map(|failure| failure.kind);
    match kind {
        Some(FailureKind::Recipient) => &mut counts.failed_recipient,
        Some(FailureKind::OptedOut) => &mut counts.failed_opted_out,
        Some(FailureKind::Content) => &mut counts.failed_content,
        Some(FailureKind::Throttled) => &mut counts.failed_throttled,
        Some(FailureKind::Unavailable) => &mut counts.failed_unavailable,
        Some(FailureKind::Account) => &mut counts.failed_account,
        Some(FailureKind::Unknown) | None => &mut counts.failed_unknown,
    }
}

/// The bucket a time falls into. Clocks differ: what seems to have arrived before it was sent took no time.
fn bucket(ends_ms: &[i64], took_ms: i64) -> usize {
    ends_ms.partition_point(|end| *end < took_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_fall_into_buckets() {
        let check = |took_ms, expected| assert_eq!(bucket(&TOOK_MS, took_ms), expected, "{took_ms}");
        check(-5, 0);
        check(1_000, 0);
        check(1_001, 1);
        check(86_400_000, 10);
        check(86_400_001, 11);
    }
}
