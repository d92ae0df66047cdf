//! What messages cost their tenant: looked up when they are planned, set aside when they are accepted, and what apply learns that says more of it. [`super::settling`] charges it then, gives it back, or puts
//! right what was charged. A way a message was sent and left keeps a charge of its own, which what is said of it later puts right; the message's own is the sum.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use connectors::Pricing;
use model::{Channel, MessageId, Money, Status, TenantId, Timestamp};
use store::{
    Dialect, Tx, charge_counters,
    credits::{self, Charge},
    fallbacks::FormerRoute,
    messages::Message,
};

use super::{
    book::{Asked, Category, Price},
    ledger::{self, Open, RESERVED, Told},
};
use crate::{Error, ErrorKind, country, directory::Tenant};

/// Grants of promotional credit a ledger is written with besides those that have something left: the newest, so that what comes back finds the grant it came from.
pub(super) const GRANTS_READ: i64 = 2 * super::credits::GRANTS_MAX;

/// The price of a message under its tenant's prices; `None` when the tenant is not billed.
pub(crate) fn price(tenant: &Tenant, m: &Message, category: Option<Category>) -> Option<Result<Price, Error>> {
    let provider = m.connector.as_deref().unwrap_or_default();
    let asked = Asked { category, ..Asked::new(m.channel, provider, &m.address, m.purpose) };
    price_of(tenant, &asked, m.created_at)
}

/// The price of a message that is not there yet.
pub(crate) fn price_of(tenant: &Tenant, asked: &Asked<'_>, at: Timestamp) -> Option<Result<Price, Error>> {
    let billing = tenant.billing.as_ref().filter(|_| asked.channel != Channel::Webhook)?;
    Some(tenant.prices.find(&billing.currency, asked, at).ok_or_else(|| {
        Error::new(
            ErrorKind::Invalid,
            "no_price",
            format!(
                "There is no price for {} to {} in {}. Ask the operator to set one.",
                asked.channel, asked.address, billing.currency
            ),
        )
        .with_action("CONTACT_OPERATOR")
    }))
}

/// What a new message is to be charged, which is written into its row, too. Refuses one without a price.
pub(crate) fn quote(tenant: &Tenant, m: &mut Message, category: Option<Category>) -> Result<Option<Charge>, Error> {
    let Some(price) = price(tenant, m, category).transpose()? else { return Ok(None) };
    let mut charge = Charge::new(m.tenant_id, m.id, RESERVED);
    ledger::quote(&mut charge, &price, category.map_or("", Category::as_str), m.segments);
    charge.may_stay = tenant.billing.as_ref().is_some_and(|billing| m.created_at >= billing.charges_stay_from);
    m.cost_micros = Some(charge.quoted);
    m.cost_currency = tenant.billing.as_ref().map(|billing| billing.currency.clone());
    Ok(Some(charge))
}

/// The ledgers of the billed tenants among those about to accept, locked in one order so that two transactions cannot wait for each other.
pub(crate) async fn lock(
    tx: &mut Tx,
    tenants: BTreeSet<TenantId>,
    now: Timestamp,
) -> Result<BTreeMap<TenantId, Open>, store::Error> {
    let mut open = BTreeMap::new();
    for tenant in tenants {
        if let Some(ledger) = credits::lock(tx, tenant).await? {
            open.insert(tenant, begin(tx, ledger, now).await?);
        }
    }
    Ok(open)
}

/// Begins to write a locked ledger: with its promotional credit, as far as that has not ended.
pub(super) async fn begin(tx: &mut Tx, ledger: credits::Ledger, now: Timestamp) -> Result<Open, store::Error> {
    let has_grants = ledger.promo != 0 || ledger.granted != 0;
    let mut open = Open::new(ledger);
    if has_grants {
        open.with_grants(credits::grants(tx, open.ledger.tenant_id, GRANTS_READ).await?);
        open.trim_grants();
        open.expire(now);
    }
    Ok(open)
}

/// What tenants that are about to accept can spend. Transactions of one tenant wait for each other at its ledger, so where there is clearly enough it is looked at first, and held from
/// [`Spending::hold`] on only: what is written of the messages before waits for nobody.
pub(crate) struct Spending {
    ledgers: BTreeMap<TenantId, Open>,
    is_held: bool,
    /// What was set aside together, to be done again once the ledgers are held.
    reserved: Vec<(TenantId, Vec<Charge>)>,
}

impl Spending {
    /// `needs`: the tenants, and what they need at most. `may_wait` says whether ledgers may be held later than what else the transaction locks for so many of them.
    pub(crate) async fn begin(
        tx: &mut Tx,
        needs: BTreeMap<TenantId, i64>,
        may_wait: bool,
        now: Timestamp,
    ) -> Result<Self, store::Error> {
        if may_wait && waits(tx) {
            let mut ledgers = BTreeMap::new();
            for (tenant, need) in &needs {
                let Some(ledger) = credits::find(tx, *tenant).await? else { continue };
                let open = Open::new(ledger);
                // Of what promotional credit pays nobody can speak beforehand: it may end.
                let is_plain = open.ledger.promo == 0 && open.ledger.granted == 0;
                if !is_plain || *need > open.spendable() {
                    break;
                }
                ledgers.insert(*tenant, open);
            }
            if ledgers.len() == needs.len() {
                return Ok(Self { ledgers, is_held: false, reserved: Vec::new() });
            }
        }
        let ledgers = lock(tx, needs.into_keys().collect(), now).await?;
        Ok(Self { ledgers, is_held: true, reserved: Vec::new() })
    }

    /// The ledger of a tenant that is billed.
    pub(crate) fn of(&self, tenant: TenantId) -> Option<&Open> {
        self.ledgers.get(&tenant)
    }

    /// Sets prices aside together.
    pub(crate) fn reserve(&mut self, tenant: TenantId, charges: &mut [Charge], now: Timestamp) {
        let Some(open) = self.ledgers.get_mut(&tenant) else { return };
        open.reserve_all(charges, now);
        if !self.is_held {
            self.reserved.push((tenant, charges.to_vec()));
        }
    }

    /// Holds the ledgers to the end of the transaction. False when what was set aside is not so any more, because others spent credit meanwhile: all has to be done anew, with the ledgers held.
    pub(crate) async fn hold(&mut self, tx: &mut Tx, now: Timestamp) -> Result<bool, store::Error> {
        if self.is_held {
            return Ok(true);
        }
        self.is_held = true;
        self.ledgers = lock(tx, self.reserved.iter().map(|(tenant, _)| *tenant).collect(), now).await?;
        for (tenant, charges) in &self.reserved {
            let Some(open) = self.ledgers.get_mut(tenant) else { return Ok(false) };
            let mut again = charges.clone();
            open.reserve_all(&mut again, now);
            if again != *charges {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The ledgers in which something was moved.
    pub(crate) fn changed(&mut self) -> impl Iterator<Item = (TenantId, &mut Open)> {
        self.ledgers.iter_mut().filter(|(_, open)| open.has_changed()).map(|(tenant, open)| (*tenant, open))
    }

    /// Writes what was moved.
    pub(crate) async fn write(self, tx: &mut Tx) -> Result<(), store::Error> {
        write(tx, self.ledgers).await
    }
}

/// True where transactions run beside each other and wait for rows: not on SQLite, which writes one at a time.
pub(super) fn waits(tx: &Tx) -> bool {
    tx.dialect() == Dialect::Postgres
}

/// The charges of messages about to be accepted, or the refusal when the credit does not reach for all of them.
pub(crate) fn afford<'a>(
    open: Option<&Open>,
    tenant: &Tenant,
    quoted: impl Iterator<Item = &'a Charge>,
) -> Result<Vec<Charge>, Error> {
    let Some((open, billing)) = open.zip(tenant.billing.as_ref()) else { return Ok(Vec::new()) };
    let charges: Vec<Charge> = quoted.cloned().collect();
    let need = charges.iter().fold(0i64, |sum, charge| sum.saturating_add(charge.quoted));
    // What costs nothing is accepted whatever is owed.
    if need == 0 || need <= open.spendable() {
        return Ok(charges);
    }
    let remedy = "Buy credit, or send to fewer recipients. Nothing was accepted.";
    Err(short(need, open.spendable(), &billing.currency, remedy))
}

/// The refusal where credit does not reach, with what can be done about it.
pub(super) fn short(need: i64, available: i64, currency: &str, remedy: &str) -> Error {
    let money = |amount_micros| Money { amount_micros, currency: currency.to_owned() };
    let (needs, is_there) = (super::words(need, currency), super::words(available, currency));
    let detail = format!("This needs {needs}, and {is_there} are available. {remedy}");
    let mut refusal = Error::new(ErrorKind::Payment, "insufficient_credit", detail).with_action("ADD_CREDIT");
    refusal.shortfall = Some(Box::new((money(need), money(available))));
    refusal
}

/// Writes what was moved.
pub(crate) async fn write(tx: &mut Tx, open: impl IntoIterator<Item = (TenantId, Open)>) -> Result<(), store::Error> {
    for (tenant, mut open) in open {
        open.close();
        if open.has_changed() {
            credits::put(tx, tenant, &open.ledger).await?;
            credits::insert_entries(tx, &open.entries).await?;
            credits::put_grants(tx, &open.changed_grants()).await?;
        }
    }
    Ok(())
}

/// What became of a message, as far as its price goes.
pub(crate) struct Outcome {
    pub(super) id: MessageId,
    /// What its row said before of what it costs.
    pub(super) row: InRow,
    /// Where what it is charged is counted.
    pub(super) place: charge_counters::Key,
    pub(super) fact: Fact,
}

/// What a message's own row says of what it costs.
pub(super) enum InRow {
    /// What is set aside for it.
    Aside(String),
    /// What it was charged, which is what was set aside for it.
    Kept(String),
    /// Nothing: it was charged otherwise, or given back.
    Nothing,
}

impl InRow {
    fn of(m: &Message) -> Self {
        let aside = m.aside.clone().map(Self::Aside);
        aside.or_else(|| m.charge.clone().map(Self::Kept)).unwrap_or(Self::Nothing)
    }
}

/// Where a message's charge is counted, over a channel to an address.
fn place(m: &Message, channel: Channel, address: &str) -> charge_counters::Key {
    charge_counters::Key {
        tenant_id: m.tenant_id,
        at: charge_counters::slot(m.created_at),
        channel,
        country: country::text(channel, address),
    }
}

pub(super) enum Fact {
    /// It was sent; so many parts as are known.
    Sent { segments: Option<u32>, at: Timestamp },
    /// It will not be sent, or nobody will say any more whether it was.
    Over { at: Timestamp },
    /// The provider said what it takes, or for what kind of message.
    Told { told: Told, at: Timestamp },
    /// It goes another way. `left` is the number of the way it was sent; `category`: what it is there, when that is not what it was before.
    Moved { tenant: Arc<Tenant>, m: Box<Message>, category: Option<Option<Category>>, left: Option<u32>, at: Timestamp },
    /// The provider said more of a way it left, by its number, which was charged this.
    Late { position: u32, charge: Option<String>, told: Told, at: Timestamp },
}

impl Fact {
    pub(super) const fn at(&self) -> Timestamp {
        match self {
            Self::Sent { at, .. }
            | Self::Over { at }
            | Self::Told { at, .. }
            | Self::Moved { at, .. }
            | Self::Late { at, .. } => *at,
        }
    }
}

/// True for a message that will not be sent the way it goes now. What arrived without having been sent did so by a way it had left.
pub(crate) const fn is_over(m: &Message) -> bool {
    m.sent_at.is_none()
        && !matches!(m.status, Status::Scheduled | Status::Queued | Status::Sending | Status::Sent | Status::Unknown)
}

/// True for a message whose price is given back: it will not be sent, or it may have been, nobody said so, and nobody is waited for any longer.
pub(crate) const fn is_given_back(m: &Message) -> bool {
    is_over(m) || (m.sent_at.is_none() && matches!(m.status, Status::Unknown) && m.poll_at.is_none())
}

/// What a change of a message's row means for its price, if anything. Messages that cost nothing are passed over without a look at the database.
pub(crate) fn outcome(before: &Message, after: &Message) -> Option<(TenantId, Outcome)> {
    let said = |m: &Message| (m.sent_at, m.segments, m.account_id, m.channel);
    after.cost_micros?;
    let fact = match after.sent_at {
        Some(at) if said(before) != said(after) => Fact::Sent { segments: after.segments, at },
        None if is_given_back(after) && !is_given_back(before) => {
            let waited = before.poll_at.filter(|_| after.status == Status::Unknown && before.status == Status::Unknown);
            Fact::Over { at: waited.or(after.ended_at).unwrap_or(after.created_at) }
        }
        _ => return None,
    };
    let place = place(after, after.channel, &after.address);
    Some((after.tenant_id, Outcome { id: after.id, row: InRow::of(before), place, fact }))
}

/// What the provider says it takes for a message that costs its tenant something, or for what kind of message.
pub(crate) fn told(m: &Message, told: Told, at: Timestamp) -> Option<(TenantId, Outcome)> {
    m.cost_micros?;
    let fact = Fact::Told { told, at };
    Some((m.tenant_id, Outcome { id: m.id, row: InRow::of(m), place: place(m, m.channel, &m.address), fact }))
}

/// What the provider says later of a way that was sent and left.
pub(crate) fn late(m: &Message, former: &FormerRoute, told: Told, at: Timestamp) -> Option<(TenantId, Outcome)> {
    m.cost_micros?;
    let fact = Fact::Late { position: former.position, charge: former.charge.clone(), told, at };
    let place = place(m, former.channel, &former.address);
    Some((m.tenant_id, Outcome { id: m.id, row: InRow::of(m), place, fact }))
}

/// What a message that went over a channel, by a connector and to an address costs as the kind its provider billed it as, by the prices that counted when it was accepted. What the provider
/// takes nothing for is a message of the kind [`Category::Service`], whatever it was sent as: it costs what the price list asks for such, and its provider nothing. `None` for kinds we do
/// not know, and where there is no price.
pub(crate) fn as_billed(
    tenant: &Tenant,
    m: &Message,
    (channel, connector, address): (Channel, &str, &str),
    pricing: &Pricing,
) -> Option<(Price, Category)> {
    let category = Category::billed(pricing)?;
    let asked = Asked { category: Some(category), ..Asked::new(channel, connector, address, m.purpose) };
    let price = price_of(tenant, &asked, m.created_at)?.ok()?;
    let cost_micros = price.cost_micros.map(|cost| if pricing.is_free { 0 } else { cost });
    Some((Price { cost_micros, ..price }, category))
}

/// What a message costs the way it goes now, as far as that is known before its ledger is looked at, is written into its row. `former` is the way it left; `category` what it is now, where that may be
/// another than before. Answers what is to be done about it. Without a price for the new way the old one stays.
pub(crate) fn moved(
    tenant: &Arc<Tenant>,
    m: &mut Message,
    former: Option<&FormerRoute>,
    category: Option<Option<Category>>,
    now: Timestamp,
) -> Vec<(TenantId, Outcome)> {
    let Some(before) = m.cost_micros else { return Vec::new() };
    let guessed = category.unwrap_or_else(|| (m.channel == Channel::Whatsapp).then(|| Category::of_purpose(m.purpose)));
    let Some(Ok(price)) = price(tenant, m, guessed) else { return Vec::new() };
    let sent = former.and_then(|former| former.sent_at.map(|at| (former.segments, at)));
    let paid = if sent.is_some() { before } else { m.cost_before };
    m.cost_micros = Some(paid.saturating_add(price.of(m.segments)));
    let mut outcomes = Vec::new();
    if let (Some(former), Some((segments, at))) = (former, sent) {
        outcomes.push((place(m, former.channel, &former.address), Fact::Sent { segments, at }));
    }
    let left = former.filter(|former| former.sent_at.is_some()).map(|former| former.position);
    let moved = Fact::Moved { tenant: Arc::clone(tenant), m: Box::new(m.clone()), category, left, at: now };
    outcomes.push((place(m, m.channel, &m.address), moved));
    let of = |(place, fact)| (m.tenant_id, Outcome { id: m.id, row: InRow::of(m), place, fact });
    outcomes.into_iter().map(of).collect()
}

/// What a message is shown to cost.
pub(crate) fn shown(charge: &Charge) -> i64 {
    if charge.state == RESERVED { charge.charged_before + charge.quoted } else { charge.charged }
}
