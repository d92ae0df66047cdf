//! What reports mean for addresses: suppressions, bounces that may pass, and what people said by opting out at the provider.

use model::{Channel, ConsentMethod, ConsentState, Fact, SuppressionId, SuppressionReason};
use store::{
    consents::{ConsentRecord, Person},
    messages::Message,
    suppressions::{SoftBounce, Suppression},
};

use super::Fold;
use crate::{
    apply::Change,
    consent::{
        bar,
        notice::{self, Notice},
        records,
    },
};

impl Fold<'_> {
    /// Keeps what a report about a message means for its address, and answers what that is.
    pub(super) fn noticed(&mut self, m: &Message, fact: &Fact) -> Option<Change> {
        let (listed, soft) = (self.suppressions.len(), self.soft.len());
        self.notice(m, |channel, connector| notice::of_fact(channel, connector, fact));
        let suppressed = self.suppressions.get(listed).map(|row| Change::new("suppression", row.reason.as_str()));
        suppressed.or_else(|| (self.soft.len() > soft).then(|| Change::new("soft_bounce", "counted")))
    }

    /// Keeps what a rule says about a message's address.
    pub(super) fn notice(&mut self, m: &Message, rule: impl Fn(Channel, &str) -> Option<Notice>) {
        let Some(notice) = rule(m.channel, m.connector.as_deref().unwrap_or_default()) else { return };
        if m.channel == Channel::Webhook {
            return;
        }
        let address = bar::key(m.channel, &m.address);
        match notice {
            Notice::Suppress { reason, blocks, detail } => self.suppressions.push(Suppression {
                tenant_id: m.tenant_id,
                channel: m.channel,
                address,
                reason,
                id: SuppressionId::from_ulid(self.ids.ulid(self.now)),
                blocks,
                source: "provider".to_owned(),
                detail: Some(detail),
                message_id: Some(m.id),
                created_at: self.now,
            }),
            Notice::Soft => {
                let (tenant_id, channel, message_id, at) = (m.tenant_id, m.channel, m.id, self.now);
                self.soft.push((SoftBounce { tenant_id, channel, address, message_id, at }, m.address.clone()));
            }
        }
    }

    pub(in crate::apply) fn take_notices(&mut self) -> (Vec<Suppression>, Vec<(SoftBounce, String)>) {
        (std::mem::take(&mut self.suppressions), std::mem::take(&mut self.soft))
    }

    /// The suppression of an address that bounced softly often enough.
    pub(in crate::apply) fn soft_suppression(&self, bounce: &SoftBounce) -> Suppression {
        let reason = SuppressionReason::SoftBounces;
        Suppression {
            tenant_id: bounce.tenant_id,
            channel: bounce.channel,
            address: bounce.address.clone(),
            reason,
            id: SuppressionId::from_ulid(self.ids.ulid(self.now)),
            blocks: bar::blocks(bounce.channel, reason),
            source: "engine".to_owned(),
            detail: Some(format!(
                "{} or more messages over a week or longer did not arrive, and none in between did.",
                notice::SOFT_MAX
            )),
            message_id: Some(bounce.message_id),
            created_at: self.now,
        }
    }

    /// What contacts said by opting out at the provider. The suppression holds them back; this keeps when and how they said it.
    pub(in crate::apply) fn opted_out(&mut self, row: &Suppression, people: &[Person]) -> Vec<ConsentRecord> {
        let record = |person: &Person| ConsentRecord {
            evidence: row.message_id.map(|id| id.to_string()),
            ..records::draft(
                row.tenant_id,
                person.id,
                row.channel,
                ConsentState::OptedOut,
                ConsentMethod::Provider,
                self.ids,
                self.now,
            )
        };
        let said: Vec<ConsentRecord> = people.iter().map(record).collect();
        for record in &said {
            self.tell(row.tenant_id, "consent.changed", records::json(record));
        }
        said
    }

    /// Writes new suppressions and tells of them.
    pub(in crate::apply) fn suppress(&mut self, new: Vec<Suppression>) {
        for suppression in new {
            self.tell(suppression.tenant_id, "suppression.added", crate::consent::suppressions::json(&suppression));
            self.writes.suppressions.push(suppression);
        }
    }
}
