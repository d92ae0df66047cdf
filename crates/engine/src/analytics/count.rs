//! What a message's row adds to the sums, and counting all of them again. Pure but for the recount.

use std::collections::BTreeMap;

use model::{AccountId, CampaignId, Channel, Failure, FailureKind, MessageId, Status, TemplateId, TenantId, Timestamp};
use store::{
    Scope, fallbacks,
    fallbacks::FormerRoute,
    message_counters::{self, Counts, Filter, Key, Split, TOOK_MS},
    messages::{self, Message},
};

use crate::{Engine, Error, country, writes};

/// Messages counted again in one step.
const RECOUNT_PAGE: i64 = 5_000;

type Sums = BTreeMap<Key, Counts>;

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

/// Counts what was sent the way a message has left: its row counts only the way it goes now.
pub fn former(sums: &mut Sums, m: &Message, former: &FormerRoute) {
    let key = Key {
        channel: former.channel,
        provider: former.connector.clone(),
        account_id: former.account_id,
        country: country::text(former.channel, &former.address),
        ..key(m)
    };
    sums.entry(key).or_default().outcome += writes::former_counts(former);
}

/// True when a change leaves a message where it is counted.
fn is_same_place(a: &Message, b: &Message) -> bool {
    (a.channel, a.account_id, &a.connector, &a.address) == (b.channel, b.account_id, &b.connector, &b.address)
}

fn key(m: &Message) -> Key {
    Key {
        tenant_id: m.tenant_id,
        at: message_counters::slot(m.created_at),
        channel: m.channel,
        provider: m.connector.clone().unwrap_or_default(),
        account_id: m.account_id.unwrap_or(AccountId::from_ulid(0)),
        purpose: m.purpose,
        country: country::text(m.channel, &m.address),
        campaign_id: m.campaign_id.unwrap_or(CampaignId::from_ulid(0)),
        template_id: m.template.map_or(TemplateId::from_ulid(0), |of| of.id),
        template_version: m.template.map_or(0, |of| of.version),
        topic: m.topic.clone().unwrap_or_default(),
    }
}

fn counts(m: &Message) -> Counts {
    let one = |at: Option<Timestamp>| i64::from(at.is_some());
    let e = &m.engagement;
    let mut counts = Counts {
        outcome: writes::counts(m),
        opened: one(e.opened_at),
        clicked: one(e.clicked_at),
        machine_opened: one(e.machine_opened_at),
        machine_clicked: one(e.machine_clicked_at),
        complained: one(e.complained_at),
        unsubscribed: one(e.unsubscribed_at),
        ..Counts::default()
    };
    if matches!(m.status, Status::Failed | Status::Bounced) {
        *reason(&mut counts, m.failure.as_deref()) = 1;
    }
    if let Some((sent, delivered)) = m.sent_at.zip(m.delivered_at) {
        counts.took[bucket(delivered.millis_since(sent))] = 1;
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

/// The bucket a delivery time falls into. Clocks differ: what seems to have arrived before it was sent took no time.
fn bucket(took_ms: i64) -> usize {
    TOOK_MS.partition_point(|end| *end < took_ms)
}

impl Engine {
    /// Counts all of a tenant's messages again and answers how many sums were wrong, none of which is afterwards. Nothing is accepted or applied meanwhile, so the new sums
    /// are exact; what was counted of messages that have since been removed is gone with them.
    pub async fn recount(&self, tenant: TenantId) -> Result<u64, Error> {
        let recount = self.ports.db.write(Scope::Tenant(tenant), move |tx| {
            Box::pin(async move {
                message_counters::lock(tx).await?;
                let everything = Filter::everything();
                let kept = message_counters::sums(tx, Some(tenant), &everything, Split::FULL, i64::MAX).await?;
                let kept: Sums = kept.into_iter().filter(|(_, counts)| *counts != Counts::default()).collect();
                let mut sums = Sums::new();
                let mut after = MessageId::from_ulid(0);
                loop {
                    let page = messages::after(tx, tenant, after, RECOUNT_PAGE).await?;
                    let Some(last) = page.last() else { break };
                    after = last.id;
                    let people: Vec<&Message> = page.iter().filter(|m| m.channel != Channel::Webhook).collect();
                    let keys: Vec<_> = people.iter().map(|m| (tenant, m.id)).collect();
                    let routes = fallbacks::former(tx, &keys).await?;
                    for m in people {
                        change(&mut sums, None, m);
                        routes
                            .iter()
                            .filter(|route| route.message_id == m.id)
                            .for_each(|route| former(&mut sums, m, route));
                    }
                }
                sums.retain(|_, counts| *counts != Counts::default());
                let is_wrong = |key: &&Key| kept.get(*key) != sums.get(*key);
                let wrong =
                    kept.keys().filter(is_wrong).count() + sums.keys().filter(|key| !kept.contains_key(*key)).count();
                if wrong > 0 {
                    message_counters::remove(tx, tenant).await?;
                    message_counters::add_many(tx, 0, &sums).await?;
                }
                Ok::<_, Error>(wrong as u64)
            })
        });
        recount.await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_fall_into_buckets() {
        let check = |took_ms, expected| assert_eq!(bucket(took_ms), expected, "{took_ms}");
        check(-5, 0);
        check(1_000, 0);
        check(1_001, 1);
        check(86_400_000, 10);
        check(86_400_001, 11);
    }
}
