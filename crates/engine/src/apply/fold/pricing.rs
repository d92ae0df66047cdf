//! What messages cost, by what providers say of them: the way they go now, and each way they left.

use connectors::Pricing;
use model::{Channel, Money};
use store::{fallbacks::FormerRoute, messages::Message};

use super::Fold;
use crate::{
    apply::Learned,
    money::{
        book::{Category, Price},
        charge,
        ledger::Told,
    },
};

impl Fold<'_> {
    /// The provider named its price, or said as what kind of message it billed one. For a tenant that is billed what a message costs is what the tenant pays us: its charge takes note; for the
    /// others it is what the provider takes.
    pub(super) fn priced(&mut self, m: &mut Message, price: Option<&Money>, pricing: Option<&Pricing>) {
        let connector = m.connector.as_deref().unwrap_or_default();
        let kind = self.kind(m, (m.channel, connector, &m.address), pricing);
        if price.is_none() && kind.is_none() {
            return;
        }
        // A message that was charged keeps to its charge, also once its tenant is no longer billed: what it comes to is written over what the provider takes.
        self.writes.charge(charge::told(m, Told { segments: None, price: price.cloned(), kind }, self.now));
        self.repriced.insert(m.id);
        if let Some(price) = price.filter(|price| self.is_shown(m, price)) {
            m.cost_micros = Some(m.cost_before.saturating_add(price.amount_micros));
            m.cost_currency = Some(price.currency.clone());
        }
    }

    /// The provider says more of a way the message was sent and left: in how many parts, what it takes, or for what. That is booked where it went.
    pub(super) fn told_late(&mut self, m: &mut Message, position: usize, learned: &Learned) {
        let Some(former) = self.ways.former.get(&m.id).and_then(|former| former.get(position)) else { return };
        let segments = learned.segments.filter(|count| *count > 0 && Some(*count) != former.segments);
        let kind = self.kind(m, (former.channel, &former.connector, &former.address), learned.pricing.as_ref());
        let says_something = segments.is_some() || learned.price.is_some() || kind.is_some();
        if former.sent_at.is_none() || !says_something {
            return;
        }
        let (before, mut after) = (former.clone(), former.clone());
        after.segments = segments.or(before.segments);
        let told = Told { segments, price: learned.price.clone(), kind };
        self.writes.charge(charge::late(m, &before, told, self.now));
        self.repriced.insert(m.id);
        let is_same = |price: &&Money| after.cost_currency.as_ref().is_none_or(|currency| *currency == price.currency);
        if let Some(price) = learned.price.as_ref().filter(is_same).filter(|price| self.is_shown(m, price)) {
            let more = price.amount_micros - after.cost_micros.unwrap_or(0);
            m.cost_micros = Some(m.cost_micros.unwrap_or(0).saturating_add(more));
            m.cost_before = m.cost_before.saturating_add(more);
            m.cost_currency = Some(price.currency.clone());
            (after.cost_micros, after.cost_currency) = (Some(price.amount_micros), Some(price.currency.clone()));
        }
        self.writes.late(&before, after.clone());
        if let Some(former) = self.ways.former.get_mut(&m.id).and_then(|former| former.get_mut(position)) {
            *former = after;
        }
    }

    /// What a message costs that went this way and was billed so, for a tenant that is billed.
    fn kind(&self, m: &Message, way: (Channel, &str, &str), pricing: Option<&Pricing>) -> Option<(Price, Category)> {
        charge::as_billed(self.tenants.get(&m.tenant_id)?, m, way, pricing?)
    }

    /// True when a message is shown to cost what its provider takes: its tenant is not billed, and it did not cost anything in another currency before.
    fn is_shown(&self, m: &Message, price: &Money) -> bool {
        let is_billed = self.tenants.get(&m.tenant_id).is_some_and(|tenant| tenant.billing.is_some());
        !is_billed && m.cost_currency.as_ref().is_none_or(|currency| *currency == price.currency)
    }

    /// A message goes another way, which may have another price. Called wherever its channel or account changes. `former` is the way it left, where something may have been sent that way;
    /// `category` is what kind of message it is now, where that may be another than before.
    pub(super) fn reprice(
        &mut self,
        m: &mut Message,
        former: Option<&FormerRoute>,
        category: Option<Option<Category>>,
    ) {
        if let Some(tenant) = self.tenants.get(&m.tenant_id) {
            self.writes.charge(charge::moved(tenant, m, former, category, self.now));
        }
    }
}
