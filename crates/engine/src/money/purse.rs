//! What is left of prepaid credit for messages that may go another way, or are tried again: looked at under the lock of the ledger, before a message moves. So a channel or an account that
//! credit does not reach for is passed over, and a dead letter is not tried again for nothing.
//!
//! What is given back or charged for other messages in the same transaction is not foreseen: what comes back is there for the next one, and what a provider counts beyond what was set aside is
//! charged as far as credit reaches.

use std::collections::{BTreeMap, BTreeSet};

use model::{Channel, MessageId, Purpose, TenantId, Timestamp};
use store::{
    Tx,
    credits::{self, Charge},
    messages::Message,
};

use super::{
    BillingMode,
    book::{Asked, Category},
    charge,
    ledger::{Open, RESERVED},
};
use crate::{Error, directory::Tenant};

/// What prepaid tenants can still spend, and what is set aside for the messages that may move.
#[derive(Default)]
pub(crate) struct Purses {
    left: BTreeMap<TenantId, i64>,
    charges: BTreeMap<MessageId, Charge>,
}

/// A way a message may go.
pub(crate) struct Way<'a> {
    /// Which message.
    pub id: MessageId,
    /// Over which channel.
    pub channel: Channel,
    /// Through which connector.
    pub connector: &'a str,
    /// To whom.
    pub address: &'a str,
    /// In how many parts.
    pub segments: Option<u32>,
    /// What kind of message it is there, when that is not what it was before.
    pub category: Option<Option<Category>>,
    /// Why it is sent.
    pub purpose: Purpose,
    /// When it was accepted.
    pub accepted_at: Timestamp,
    /// True when it was sent the way it goes now, which then stays paid.
    pub is_sent: bool,
}

impl<'a> Way<'a> {
    /// The way a message goes, through a connector.
    pub(crate) fn through(m: &'a Message, connector: &'a str) -> Self {
        Self {
            id: m.id,
            channel: m.channel,
            connector,
            address: &m.address,
            segments: m.segments,
            category: None,
            purpose: m.purpose,
            accepted_at: m.created_at,
            is_sent: m.sent_at.is_some(),
        }
    }
}

/// What a way takes of a purse.
pub(crate) struct Needed {
    tenant: TenantId,
    id: MessageId,
    more: i64,
    quoted: i64,
}

/// True when credit can run out for a tenant.
pub(crate) fn pays_ahead(tenant: &Tenant) -> bool {
    tenant.billing.as_ref().is_some_and(|billing| billing.mode == BillingMode::Prepaid)
}

impl Purses {
    /// Locks the ledgers of `tenants`, which are all of the transaction, so that two of them cannot wait for each other; `messages` are those that may move.
    pub(crate) async fn lock(
        tx: &mut Tx,
        tenants: BTreeSet<TenantId>,
        messages: &[&Message],
        now: Timestamp,
    ) -> Result<Self, store::Error> {
        let ledgers = charge::lock(tx, tenants, now).await?;
        let is_ahead = |open: &Open| BillingMode::from_stored(&open.ledger.mode) == BillingMode::Prepaid;
        let left: BTreeMap<_, _> = ledgers.iter().filter(|(_, open)| is_ahead(open)).map(spendable).collect();
        let paid_ahead: Vec<&Message> = messages.iter().copied().filter(|m| left.contains_key(&m.tenant_id)).collect();
        Ok(Self { left, charges: credits::of_messages(tx, &paid_ahead).await? })
    }

    /// What a way takes beyond what is set aside for the message now; nothing for messages that are not billed. The refusal when credit does not reach for it.
    pub(crate) fn need(&self, tenant: &Tenant, way: &Way<'_>, remedy: &str) -> Result<Option<Needed>, Error> {
        let (Some(left), Some(charge)) = (self.left.get(&tenant.id), self.charges.get(&way.id)) else {
            return Ok(None);
        };
        let category = way.category.unwrap_or_else(|| Category::parse(&charge.category));
        let asked = Asked { category, ..Asked::new(way.channel, way.connector, way.address, way.purpose) };
        // Without a price for the new way the old one stays.
        let Some(Ok(price)) = charge::price_of(tenant, &asked, way.accepted_at) else { return Ok(None) };
        let aside = if charge.state == RESERVED && !way.is_sent { charge.quoted } else { 0 };
        let quoted = price.of(way.segments);
        let more = quoted - aside;
        if more > *left {
            let available = left.saturating_add(aside);
            return Err(charge::short(quoted, available, tenant.price_currency(), remedy));
        }
        Ok(Some(Needed { tenant: tenant.id, id: way.id, more, quoted }))
    }

    /// Takes it.
    pub(crate) fn take(&mut self, needed: Option<Needed>) {
        let Some(needed) = needed else { return };
        if let (Some(left), Some(charge)) = (self.left.get_mut(&needed.tenant), self.charges.get_mut(&needed.id)) {
            *left -= needed.more;
            (charge.quoted, charge.state) = (needed.quoted, RESERVED.into());
        }
    }
}

fn spendable((tenant, open): (&TenantId, &Open)) -> (TenantId, i64) {
    (*tenant, open.spendable())
}
