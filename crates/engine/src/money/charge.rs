//! What messages cost their tenant: looked up when they are planned, set aside when they are accepted, charged or given back when apply learns what became of them.

use std::collections::{BTreeMap, BTreeSet};

use model::{Channel, MessageId, Money, Status, TenantId, Timestamp};
use store::{
    Tx,
    credits::{self, Charge},
    messages::Message,
};

use super::{
    ledger::{Open, RESERVED},
    prices::{Asked, Price},
};
use crate::{Error, ErrorKind, directory::Tenant};

/// The price of a message under its tenant's prices; `None` when the tenant is not billed.
pub(crate) fn price(tenant: &Tenant, m: &Message) -> Option<Result<Price, Error>> {
    let billing = tenant.billing.as_ref().filter(|_| m.channel != Channel::Webhook)?;
    let asked = Asked {
        channel: m.channel,
        provider: m.connector.as_deref().unwrap_or_default(),
        address: &m.address,
        purpose: m.purpose,
    };
    let found = billing.book.find(&billing.currency, &asked, m.created_at);
    Some(found.ok_or_else(|| {
        Error::new(
            ErrorKind::Invalid,
            "no_price",
            format!(
                "There is no price for {} to {} in {}. Ask the operator to set one.",
                m.channel, m.address, billing.currency
            ),
        )
        .with_action("CONTACT_OPERATOR")
    }))
}

/// Writes what a new message will cost into its row, or refuses one without a price.
pub(crate) fn quote(tenant: &Tenant, m: &mut Message) -> Result<(), Error> {
    if let Some(price) = price(tenant, m) {
        let cost = price?.of(m.segments);
        (m.cost_micros, m.cost_currency) =
            (Some(cost), tenant.billing.as_ref().map(|billing| billing.currency.clone()));
    }
    Ok(())
}

/// The ledgers of the billed tenants among those about to accept, locked in one order so that two transactions cannot wait for each other.
pub(crate) async fn lock(tx: &mut Tx, tenants: BTreeSet<TenantId>) -> Result<BTreeMap<TenantId, Open>, store::Error> {
    let mut open = BTreeMap::new();
    for tenant in tenants {
        if let Some(ledger) = credits::lock(tx, tenant).await? {
            open.insert(tenant, Open::new(ledger));
        }
    }
    Ok(open)
}

/// The charges of messages about to be accepted, or the refusal when the credit does not reach for all of them.
pub(crate) fn afford<'a>(
    open: Option<&Open>,
    tenant: &Tenant,
    messages: impl Iterator<Item = &'a Message>,
) -> Result<Vec<Charge>, Error> {
    let Some((open, billing)) = open.zip(tenant.billing.as_ref()) else { return Ok(Vec::new()) };
    let mut charges = Vec::new();
    for m in messages {
        let Some(price) = price(tenant, m) else { continue };
        let price = price?;
        charges.push(Charge {
            tenant_id: m.tenant_id,
            message_id: m.id,
            list_version: price.list,
            unit: price.unit_micros,
            is_per_segment: price.is_per_segment,
            quoted: price.of(m.segments),
            charged: 0,
            state: RESERVED.to_owned(),
        });
    }
    let need = charges.iter().fold(0i64, |sum, charge| sum.saturating_add(charge.quoted));
    if need <= open.spendable() {
        return Ok(charges);
    }
    let money = |amount_micros| Money { amount_micros, currency: billing.currency.clone() };
    let available = open.ledger.available;
    let detail = format!(
        "This needs {need} micros of {}, and {available} are available. Buy credit, or send to fewer recipients. Nothing was accepted.",
        billing.currency
    );
    let mut refusal = Error::new(ErrorKind::Payment, "insufficient_credit", detail).with_action("ADD_CREDIT");
    refusal.shortfall = Some(Box::new((money(need), money(available))));
    Err(refusal)
}

/// Writes what was moved.
pub(crate) async fn write(tx: &mut Tx, open: BTreeMap<TenantId, Open>, charges: &[Charge]) -> Result<(), store::Error> {
    for (tenant, open) in open {
        if !open.entries.is_empty() {
            credits::put(tx, tenant, &open.ledger).await?;
            credits::insert_entries(tx, &open.entries).await?;
        }
    }
    credits::put_charges(tx, charges).await
}

/// What became of a message, as far as its price goes.
pub(crate) struct Outcome {
    id: MessageId,
    is_sent: bool,
    segments: Option<u32>,
    cost: Option<i64>,
    at: Timestamp,
}

/// What a change of a message's row means for its price, if anything. Messages that cost nothing are passed over without a look at the database.
pub(crate) fn outcome(before: &Message, after: &Message) -> Option<(TenantId, Outcome)> {
    let is_sent = after.sent_at.is_some() && before.sent_at.is_none();
    let is_over = |m: &Message| {
        m.sent_at.is_none()
            && matches!(
                m.status,
                Status::Failed | Status::Bounced | Status::Canceled | Status::Expired | Status::Suppressed
            )
    };
    let concerns = after.cost_micros.is_some() && (is_sent || (is_over(after) && !is_over(before)));
    concerns.then(|| {
        let at = after.sent_at.or(after.ended_at).unwrap_or(after.created_at);
        (after.tenant_id, Outcome { id: after.id, is_sent, segments: after.segments, cost: after.cost_micros, at })
    })
}

/// Charges messages that were sent and gives back the price of those that will not be. Answers what those cost whose rows say otherwise.
pub(crate) async fn settle(
    tx: &mut Tx,
    outcomes: &BTreeMap<TenantId, Vec<Outcome>>,
) -> Result<BTreeMap<MessageId, i64>, store::Error> {
    let mut ledgers = lock(tx, outcomes.keys().copied().collect()).await?;
    let concerned = outcomes.iter().filter(|(tenant, _)| ledgers.contains_key(tenant));
    let ids = concerned.flat_map(|(tenant, outcomes)| outcomes.iter().map(|outcome| (*tenant, outcome.id)));
    let mut charges: BTreeMap<_, _> = credits::charges(tx, &ids.collect::<Vec<_>>())
        .await?
        .into_iter()
        .map(|charge| ((charge.tenant_id, charge.message_id), charge))
        .collect();
    let (mut changed, mut costs) = (Vec::new(), BTreeMap::new());
    for (tenant, outcomes) in outcomes {
        let Some(open) = ledgers.get_mut(tenant) else { continue };
        for outcome in outcomes {
            let Some(charge) = charges.get_mut(&(*tenant, outcome.id)) else { continue };
            let before = charge.clone();
            if outcome.is_sent {
                open.settle(charge, outcome.segments, outcome.at);
            } else {
                open.release(charge, outcome.at);
            }
            if *charge != before {
                if outcome.cost != Some(charge.charged) {
                    costs.insert(outcome.id, charge.charged);
                }
                changed.push(charge.clone());
            }
        }
    }
    write(tx, ledgers, &changed).await?;
    Ok(costs)
}
