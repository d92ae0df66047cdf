//! Closing months: the job that makes invoices.
//!
//! A tenant is billed by its plan and by what a price list charged it, and one that pays afterwards and has no plan by the latter alone. Of a deleted tenant what is open is closed before
//! anything it had is removed ([`close_last`]).
//!
//! How far a tenant was billed stands in its subscription and moves in the transaction that writes the invoice, so a process that dies anywhere, or a second one that comes with
//! the same month, neither loses a month nor bills it twice. What is read are sums by channel and country, and messages only of a plan's first minutes
//! (`counting.rs`); one tenant is worked on at a time.
//!
//! What was learned about a month that was billed in another currency is not put right in that of now, but by a bill of its own, in its own; so is what a price list charged in another
//! currency than the tenant's plan has.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::tz::TimeZone;
use model::{InvoiceId, PlanId, TenantId, Timestamp};
use store::{
    Scope, Tx, charge_counters, credits,
    invoices::{self as rows, Invoice, Invoiced},
    plans::{self, Plan},
    subscriptions::{self, Subscription},
    tenants,
};

use super::{
    Body, InvoiceKind, InvoiceState,
    acts::{finish, settle_arrears},
    compose::{Charged, Earlier, Facts, Metered, Sent, compose},
    counting::{FirstMinutes, ceiling, charged, counted, sent_in},
    printable,
    renewing::{addressee, standing},
    settings::BillingSettings,
    telling::{note, note_issued, tell},
};
use crate::{
    Engine, Error,
    keys::Caller,
    money::BillingMode,
    plans::{
        allowances, months, quota,
        subscription::{self, Customer},
    },
};

/// How long after its end a month is closed, in seconds: what was accepted in its last minutes has left by then, as a rule.
const AFTER_S: i64 = 3_600;
/// Tenants read at once.
const PAGE: i64 = 200;
/// How far back months are counted again for corrections, in seconds: messages may be scheduled a year ahead.
const LOOK_BACK_S: i64 = 400 * 86_400;

/// Closes the months that have ended, one tenant after another. Answers how many.
#[crate::boxed]
pub async fn run(engine: &Arc<Engine>) -> Result<u64, Error> {
    let now = engine.ports.clock.now();
    begin_unbilled(engine, now).await?;
    let mut closed = 0;
    loop {
        let due = now.plus_seconds(-AFTER_S);
        let read = engine.ports.db.read(Scope::System, move |tx| {
            Box::pin(async move { Ok::<_, Error>(subscriptions::closing(tx, due, PAGE).await?) })
        });
        let page = read.await?;
        let (found, mut moved) = (page.len(), 0);
        for subscription in page {
            let tenant = subscription.tenant_id;
            // One that cannot be closed now must not keep the others.
            match close(engine, subscription, None, now).await {
                Ok(()) => moved += 1,
                Err(error) => tracing::error!(%error, tenant.id = %tenant, "A tenant's month cannot be closed"),
            }
        }
        closed += moved;
        if moved == 0 || found < PAGE as usize {
            return Ok(closed);
        }
    }
}

/// Begins to bill tenants that pay afterwards, have no plan, and were not billed by an earlier version: from the month on that runs now. What they used before stays what they owe.
async fn begin_unbilled(engine: &Engine, now: Timestamp) -> Result<(), Error> {
    let read = engine
        .ports
        .db
        .read(Scope::System, |tx| Box::pin(async move { Ok::<_, Error>(subscriptions::unbilled(tx, PAGE).await?) }));
    let unbilled = read.await?;
    for tenant in unbilled.iter().copied() {
        let write = engine.ports.db.write(Scope::Tenant(tenant), move |tx| {
            Box::pin(async move {
                tenants::bump(tx, Some(tenant)).await?;
                subscription::bill_alone(tx, tenant, |month, ledger| month.max(ledger), now).await
            })
        });
        // One that cannot be billed now must not keep the others.
        if let Err(error) = write.await {
            tracing::error!(%error, tenant.id = %tenant, "It cannot be begun to bill a tenant that pays afterwards");
        }
    }
    if !unbilled.is_empty() {
        engine.parts().directory.catch_up().await;
    }
    Ok(())
}

/// Closes the months of one tenant that have ended, at once: before its plan changes.
pub(crate) async fn close_ended(engine: &Arc<Engine>, tenant: TenantId) -> Result<(), Error> {
    let now = engine.ports.clock.now();
    loop {
        let read = engine.ports.db.read(Scope::Tenant(tenant), move |tx| {
            Box::pin(async move { Ok::<_, Error>(subscriptions::find(tx, tenant).await?) })
        });
        match read.await?.filter(|row| row.closes_at.is_some_and(|at| at <= now)) {
            Some(ended) => close(engine, ended, None, now).await?,
            None => return Ok(()),
        }
    }
}

/// Closes what is open of a deleted tenant, up to the instant in which it was deleted: what it used is billed like any other month.
pub(crate) async fn close_last(engine: &Engine, tenant: TenantId) -> Result<(), Error> {
    let now = engine.ports.clock.now();
    loop {
        let read = engine.ports.db.read(Scope::Tenant(tenant), move |tx| {
            Box::pin(async move {
                let deleted_at = tenants::find_deleted(tx, tenant).await?.and_then(|row| row.deleted_at);
                let open = subscriptions::find(tx, tenant).await?.filter(|row| row.closes_at.is_some());
                Ok::<_, Error>(deleted_at.zip(open))
            })
        });
        match read.await? {
            Some((deleted_at, open)) => close(engine, open, Some(deleted_at), now).await?,
            None => return Ok(()),
        }
    }
}

/// What a month's bills are made from.
struct Read {
    /// The month's invoice, which has no lines where there is nothing to bill.
    month: Bill,
    /// What is put right in other currencies.
    corrections: Vec<Bill>,
    common: Common,
    next_month_ends: Option<Timestamp>,
}

/// A bill that is to be written.
struct Bill {
    kind: InvoiceKind,
    facts: Facts,
    plan_id: Option<PlanId>,
    month: String,
    /// Until when it bills: earlier than its month ends when the tenant was deleted.
    ends_at: Timestamp,
    /// What is on invoices once this one is written, for its month and those it corrects.
    invoiced: Vec<Invoiced>,
    /// Where it counts from the plan's instant on: what was counted of its first minutes.
    first_minutes: Option<FirstMinutes>,
    /// Whether what a price list charged in its month stands on a correction.
    charges_apart: bool,
}

/// What stands on all of a tenant's bills.
struct Common {
    customer: Customer,
    timezone: String,
    settings: BillingSettings,
}

/// A bill as a draft; `None` where nothing is to be billed. What nobody could read is not issued by itself: it stays a draft, whose mail says what is to be put right.
fn draft(
    tenant_id: TenantId,
    id: InvoiceId,
    bill: &Bill,
    common: &Common,
    is_gone: bool,
    now: Timestamp,
) -> Result<Option<Invoice>, Error> {
    let composed = compose(&bill.facts);
    if composed.lines.is_empty() {
        return Ok(None);
    }
    let (facts, settings) = (&bill.facts, &common.settings);
    let mut body = Body {
        seller: settings.seller.clone(),
        customer: common.customer.clone(),
        plan_id: bill.plan_id,
        plan: facts.plan.clone().unwrap_or_default(),
        allowances: facts.allowances.clone(),
        counted_from: Some(facts.counted_from),
        counts_first_minutes: bill.first_minutes.is_some(),
        first_minutes: bill.first_minutes.clone(),
        charges_apart: bill.charges_apart,
        month: bill.month.clone(),
        timezone: Some(common.timezone.clone()),
        lines: composed.lines,
        net: composed.net,
        taxes: composed.taxes,
        payment: settings.payment.clone(),
        note: settings.note.clone(),
        of_number: None,
        replaces: None,
        reason: None,
        due_days: settings.due_days,
    };
    let (kind, time) = (bill.kind.as_str(), (facts.starts_at, bill.ends_at));
    let mut invoice = Invoice::draft(tenant_id, id, kind, &facts.currency, time, now);
    invoice.total = composed.total;
    if is_gone {
        printable::spell_out(&invoice, &mut body);
    }
    invoice.body = serde_json::to_string(&body).map_err(Error::internal)?;
    if let Some(why) = printable::problem(&invoice, &body).filter(|_| settings.issues_by_itself) {
        tracing::error!(tenant.id = %tenant_id, invoice.id = %id, "An invoice stays a draft: {}", why.detail);
        invoice.mail = printable::held(&why);
    }
    Ok(Some(invoice))
}

/// Closes one tenant's month: its bills, and how far the tenant was billed. The month in which the tenant was deleted is closed at that instant, and is the last.
async fn close(
    engine: &Engine,
    seen: Subscription,
    deleted_at: Option<Timestamp>,
    now: Timestamp,
) -> Result<(), Error> {
    let tenant_id = seen.tenant_id;
    // Who is gone is told nothing.
    let tenant = match deleted_at {
        Some(_) => None,
        None => Some(engine.tenant(tenant_id).await?.1),
    };
    let subscription = seen.clone();
    let read = engine
        .ports
        .db
        .read(Scope::Tenant(tenant_id), move |tx| Box::pin(async move { look(tx, &subscription, deleted_at).await }));
    let Some(Read { month, corrections, common, next_month_ends }) = read.await? else { return Ok(()) };
    let ends_at = month.ends_at;
    let mut bills = Vec::new();
    for bill in [month].into_iter().chain(corrections) {
        let id = InvoiceId::from_ulid(engine.ports.ids.ulid(now));
        if let Some(invoice) = draft(tenant_id, id, &bill, &common, deleted_at.is_some(), now)? {
            bills.push((invoice, bill.invoiced));
        }
    }
    let (ids, shard) = (Arc::clone(&engine.ports.ids), engine.shard());
    // Of who is gone the operator's log tells.
    let scope = if deleted_at.is_some() { Scope::System } else { Scope::Tenant(tenant_id) };
    let write = engine.ports.db.write(scope, move |tx| {
        Box::pin(async move {
            let Some(mut subscription) = subscriptions::lock(tx, tenant_id).await?.filter(|row| *row == seen) else {
                // Somebody else closed it, or changed the plan meanwhile: the next run sees what is so then.
                return Ok::<_, Error>(());
            };
            // After its end what becomes known about its last months is still looked for, as long as about any other month.
            let is_looked_at = |end: Timestamp| end.plus_seconds(LOOK_BACK_S) > ends_at;
            let ended = subscription.canceled_at.filter(|at| *at <= ends_at);
            subscription.closes_at = next_month_ends.filter(|_| ended.is_none_or(is_looked_at));
            // Where there is nothing to bill, the next invoice reaches back to where the last one ended.
            if bills.iter().any(|(invoice, _)| invoice.kind == InvoiceKind::Invoice.as_str()) {
                subscription.billed_until = ends_at;
            }
            subscriptions::put(tx, tenant_id, &subscription).await?;
            for (invoice, invoiced) in &mut bills {
                rows::put_invoiced(tx, invoiced).await?;
                rows::insert(tx, tenant_id, invoice).await?;
                if common.settings.issues_by_itself && invoice.mail.state.is_none() {
                    finish(tx, &common.settings, invoice, now).await?;
                }
            }
            bills.retain(|(invoice, _)| invoice.number.is_some());
            // The logs first, and then the events: whoever writes both locks them in this order.
            for (invoice, _) in &bills {
                note_issued(tx, tenant.as_deref(), invoice, &Caller::system(None), &ids, now).await?;
            }
            if let Some(tenant) = &tenant {
                for (invoice, _) in &bills {
                    tell(tx, tenant, invoice, "invoice.issued", &ids, now, shard).await?;
                }
            }
            Ok(())
        })
    });
    write.await?;
    engine.wakers.wake(tenant_id);
    Ok(())
}

/// Reads what a tenant's month is made of; `None` when there is none to close.
async fn look(tx: &mut Tx, subscription: &Subscription, deleted_at: Option<Timestamp>) -> Result<Option<Read>, Error> {
    let tenant = subscription.tenant_id;
    let row = match deleted_at {
        Some(_) => tenants::find_deleted(tx, tenant).await?,
        None => tenants::find(tx, tenant).await?,
    };
    let (Some(row), Some(month_ends_at)) = (row, subscription.closes_at) else { return Ok(None) };
    let cut = deleted_at.filter(|at| *at < month_ends_at);
    let ends_at = cut.unwrap_or(month_ends_at);
    let plan = match subscription.plan_id {
        Some(id) => Some(plans::find(tx, id).await?.ok_or_else(|| Error::internal("a plan is gone"))?),
        None => None,
    };
    let ledger = credits::find(tx, tenant).await?;
    let starts_at = subscription.billed_until;
    let charged = charged(tx, tenant, starts_at, month_ends_at).await?;
    let canceled_at = subscription.canceled_at.into_iter().chain(cut).min();
    // After its end a plan bills nothing. What a price list charged in another currency all the same, before the end was said, is billed as without one.
    let is_over = canceled_at.is_some_and(|at| at <= starts_at);
    let is_apart = |plan: &Plan| ledger.as_ref().is_some_and(|ledger| ledger.currency != plan.currency);
    let plan = plan.filter(|plan| !is_over || charged.is_empty() || !is_apart(plan));
    let currency = match (&plan, &ledger) {
        (Some(plan), _) => plan.currency.clone(),
        (None, Some(ledger)) => ledger.currency.clone(),
        (None, None) => row.currency.clone(),
    };
    let settings = BillingSettings::read(tx).await?;
    let zone = months::zone(&row.timezone);
    let counted_from = starts_at.max(subscription.counted_from);
    let months = standing_since(tx, tenant, starts_at.plus_seconds(-LOOK_BACK_S)).await?;
    let first_minutes = match plan.is_some() && !goes_on(&months, counted_from) {
        true => Some(FirstMinutes::count(tx, tenant, counted_from, None).await?),
        false => None,
    };
    // Nothing is accepted once a tenant is deleted: the rest of the month is empty.
    let sent = counted(tx, tenant, (counted_from, month_ends_at), first_minutes.as_ref()).await?;
    let none = (Sent::new(), Charged::new());
    let mut invoiced = written(tenant, starts_at, month_ends_at, (&sent, &charged), (&none.0, &none.1));
    let month_starts_at = month_start(&zone, &months, counted_from, month_ends_at);
    let charged_in = ledger.as_ref().map(|ledger| ledger.currency.as_str());
    let mut found = earlier(tx, tenant, starts_at, months, charged_in).await?;
    let (customer, tax) = addressee(subscription, row.clone(), &settings);
    let ledger = match ledger {
        // What it pays beforehand without a plan needs no invoice: there is nothing else on it.
        Some(ledger) if plan.is_none() && BillingMode::from_stored(&ledger.mode) == BillingMode::Prepaid => None,
        Some(ledger) => Some((ledger.currency.clone(), metered(tx, &ledger, charged, month_ends_at).await?)),
        None => None,
    };
    let (metered, elsewhere) = match ledger {
        Some((of, metered)) if of == currency => (Some(metered), None),
        other => (None, other),
    };
    let name = months::of_bill(&zone, starts_at, ends_at);
    if let Some((of, metered)) = &elsewhere {
        let earlier = Earlier {
            name: name.clone(),
            allowances: Vec::new(),
            invoiced: Sent::new(),
            found: Sent::new(),
            charged: Charged::new(),
            charged_found: metered.charged.clone(),
        };
        if earlier.has_changed() {
            let changed = Changed { starts_at, ends_at, earlier, invoiced: invoiced.clone() };
            found.entry(of.clone()).or_default().push(changed);
        }
    }
    let mut earlier = Vec::new();
    for changed in found.remove(&currency).unwrap_or_default() {
        invoiced.extend(changed.invoiced);
        earlier.push(changed.earlier);
    }
    let facts = Facts {
        currency,
        monthly_fee: plan.as_ref().map_or(0, |plan| plan.monthly_fee),
        allowances: plan.as_ref().map_or_else(Vec::new, |plan| allowances(&plan.allowances)),
        plan: plan.as_ref().map(|plan| plan.name.clone()),
        starts_at,
        ends_at: month_ends_at,
        month_starts_at,
        counted_from: subscription.counted_from,
        zone: zone.clone(),
        trial_ends_at: subscription.trial_ends_at,
        canceled_at,
        sent,
        earlier,
        metered,
        tax,
    };
    let corrections = found.into_iter().map(|(currency, changed)| {
        let metered = elsewhere.as_ref().filter(|(of, _)| *of == currency);
        let metered = metered.map(|(_, metered)| Metered { charged: Charged::new(), owed: metered.owed });
        correction(&facts, currency, changed, metered)
    });
    let corrections: Vec<Bill> = corrections.collect();
    let month = Bill {
        kind: InvoiceKind::Invoice,
        facts,
        plan_id: plan.map(|plan| plan.id),
        month: name,
        ends_at,
        invoiced,
        first_minutes,
        charges_apart: elsewhere.is_some(),
    };
    let next_month_ends = match cut {
        Some(_) => None,
        // Messages of the next month count against its quotas already.
        None => Some(quota::begun_until(tx, tenant, ends_at).await?.unwrap_or_else(|| months::next(&zone, ends_at))),
    };
    Ok(Some(Read {
        month,
        corrections,
        common: Common { customer, timezone: row.timezone, settings },
        next_month_ends,
    }))
}

/// A bill for what is put right of months in another currency. It is for the time of these.
fn correction(month: &Facts, currency: String, changed: Vec<Changed>, metered: Option<Metered>) -> Bill {
    let starts_at = changed.iter().map(|one| one.starts_at).min().unwrap_or(month.starts_at);
    let ends_at = changed.iter().map(|one| one.ends_at).max().unwrap_or(month.ends_at);
    let (mut earlier, mut invoiced) = (Vec::new(), Vec::new());
    for one in changed {
        earlier.push(one.earlier);
        invoiced.extend(one.invoiced);
    }
    let facts = Facts {
        currency,
        plan: None,
        monthly_fee: 0,
        allowances: Vec::new(),
        starts_at,
        ends_at,
        month_starts_at: starts_at,
        sent: Sent::new(),
        earlier,
        metered,
        ..month.clone()
    };
    let name = months::name(&facts.zone, months::middle(starts_at, ends_at));
    Bill {
        kind: InvoiceKind::Correction,
        facts,
        plan_id: None,
        month: name,
        ends_at,
        invoiced,
        first_minutes: None,
        charges_apart: false,
    }
}

/// The months that were billed since an instant, each with the bill that stands.
async fn standing_since(tx: &mut Tx, tenant: TenantId, since: Timestamp) -> Result<Vec<(Invoice, Body)>, Error> {
    let read = |row: Invoice| Body::from_stored(&row.body).map(|body| (row, body));
    let months = rows::months_since(tx, tenant, since).await?.into_iter().map(read);
    Ok(standing(months.collect::<Result<_, _>>()?))
}

/// True for a month that begins where an earlier invoice ended.
fn goes_on(months: &[(Invoice, Body)], starts_at: Timestamp) -> bool {
    months.iter().any(|(invoice, _)| invoice.ends_at == starts_at)
}

/// When the month began whose rest ends at an instant. One that goes on from an earlier invoice began where that ended. One in which the plan began is as long as that month is on the
/// tenant's clock, and ends where it was to end, also when the clock was changed since.
fn month_start(zone: &TimeZone, months: &[(Invoice, Body)], starts_at: Timestamp, ends_at: Timestamp) -> Timestamp {
    if goes_on(months, starts_at) {
        return starts_at;
    }
    let (begins, ends) = months::month(zone, months::middle(starts_at, ends_at));
    Timestamp::from_micros(begins.as_micros() + (ends_at.as_micros() - ends.as_micros())).min(starts_at)
}

/// What a price list charged, and what of it is owed: what the ledger is short of, less what is on invoices that are not paid yet and what was charged after this month. So credit pays
/// what was sent first, and nothing that an invoice asks for is asked for again.
async fn metered(
    tx: &mut Tx,
    ledger: &credits::Ledger,
    charged: Charged,
    ends_at: Timestamp,
) -> Result<Metered, Error> {
    let tenant = ledger.tenant_id;
    if BillingMode::from_stored(&ledger.mode) == BillingMode::Prepaid {
        return Ok(Metered { charged, owed: None });
    }
    let mut asked = 0;
    for invoice in rows::unpaid(tx, tenant).await?.iter().filter(|invoice| invoice.currency == ledger.currency) {
        asked += Body::from_stored(&invoice.body)?.postpaid();
    }
    let later = charge_counters::sums(tx, tenant, ceiling(ends_at), Timestamp::from_micros(i64::MAX)).await?;
    let later: i64 = later.values().map(|counts| counts.charged).sum();
    // What is set aside for messages under way is not spent yet.
    let aside = ledger.reserved - credits::promo_aside(tx, tenant).await?;
    Ok(Metered { charged, owed: Some(-(ledger.available + aside) - asked - later) })
}

/// The rows that say what is on invoices of a month, for what was found and what is gone.
fn written(
    tenant_id: TenantId,
    starts_at: Timestamp,
    ends_at: Timestamp,
    found: (&Sent, &Charged),
    before: (&Sent, &Charged),
) -> Vec<Invoiced> {
    let keys: BTreeSet<_> =
        before.0.keys().chain(before.1.keys()).chain(found.0.keys()).chain(found.1.keys()).collect();
    let row = |key: &(model::Channel, String)| {
        let charged = found.1.get(key).copied().unwrap_or_default();
        Invoiced {
            tenant_id,
            starts_at,
            channel: key.0,
            country: key.1.clone(),
            ends_at,
            sent: found.0.get(key).copied().unwrap_or(0),
            charges: charged.messages,
            charged: charged.charged,
        }
    };
    keys.into_iter().map(row).collect()
}

/// An earlier month whose messages are others now than what is on bills.
struct Changed {
    starts_at: Timestamp,
    ends_at: Timestamp,
    earlier: Earlier,
    /// What is on bills once it is put right.
    invoiced: Vec<Invoiced>,
}

/// The earlier months whose messages are others now than what is on bills, by the currency in which that is put right: what goes beyond a plan in that of the plan, and what a price list
/// charged in that of the ledger.
async fn earlier(
    tx: &mut Tx,
    tenant: TenantId,
    until: Timestamp,
    months: Vec<(Invoice, Body)>,
    charged_in: Option<&str>,
) -> Result<BTreeMap<String, Vec<Changed>>, Error> {
    let since = until.plus_seconds(-LOOK_BACK_S);
    let mut kept: BTreeMap<Timestamp, (Sent, Charged)> = BTreeMap::new();
    for row in rows::invoiced_since(tx, tenant, since).await? {
        let (sent, priced) = kept.entry(row.starts_at).or_default();
        let counts = charge_counters::Counts { messages: row.charges, charged: row.charged };
        if counts != charge_counters::Counts::default() {
            priced.insert((row.channel, row.country.clone()), counts);
        }
        if row.sent != 0 {
            sent.insert((row.channel, row.country), row.sent);
        }
    }
    let mut changed: BTreeMap<String, Vec<Changed>> = BTreeMap::new();
    for (invoice, body) in months {
        let (before, before_charged) = kept.remove(&invoice.starts_at).unwrap_or_default();
        let (starts_at, ends_at) = (invoice.starts_at, invoice.ends_at);
        // What goes beyond the plan of a month that was taken back is given away with it, and is put right only when it is billed again. What a price list charged since is in the ledger all
        // the same, and is to be paid or given back.
        let is_void = invoice.state == InvoiceState::Void.as_str();
        let first_minutes = body.first_minutes.as_ref();
        let found = if is_void { before.clone() } else { sent_in(tx, &invoice, &body, first_minutes).await? };
        let now_charged = charged(tx, tenant, starts_at, ends_at).await?;
        let (now, then) = ((&found, &now_charged), (&before, &before_charged));
        let invoiced = written(tenant, starts_at, ends_at, now, then);
        let name = invoice.number.unwrap_or(body.month);
        let (charged, charged_found) = (before_charged, now_charged);
        let allowances = body.allowances;
        let whole = Earlier { name, allowances, invoiced: before, found, charged, charged_found };
        let parts = match charged_in.filter(|of| *of != invoice.currency) {
            None => vec![(invoice.currency, whole)],
            Some(of) => {
                let (by_list, by_plan) = whole.apart();
                vec![(invoice.currency, by_plan), (of.to_owned(), by_list)]
            }
        };
        for (currency, earlier) in parts.into_iter().filter(|(_, earlier)| earlier.has_changed()) {
            let part = Changed { starts_at, ends_at, earlier, invoiced: invoiced.clone() };
            changed.entry(currency).or_default().push(part);
        }
    }
    Ok(changed)
}

/// Notices which tenants have not paid in time. Answers how many.
#[crate::boxed]
pub async fn note_overdue(engine: &Arc<Engine>) -> Result<u64, Error> {
    let now = engine.ports.clock.now();
    let read = engine.ports.db.read(Scope::System, move |tx| {
        Box::pin(async move { Ok::<_, Error>(rows::newly_overdue(tx, now, PAGE).await?) })
    });
    let found = read.await?;
    for tenant_id in &found {
        // One of which it cannot be said now must not keep the others.
        if let Err(error) = note_arrears(engine, *tenant_id, now).await {
            tracing::error!(%error, tenant.id = %tenant_id, "It cannot be noted that a tenant has not paid in time");
        }
    }
    Ok(found.len() as u64)
}

async fn note_arrears(engine: &Engine, tenant_id: TenantId, now: Timestamp) -> Result<(), Error> {
    let (_, tenant) = engine.tenant(tenant_id).await?;
    let (ids, shard) = (Arc::clone(&engine.ports.ids), engine.shard());
    let write = engine.ports.db.write(Scope::Tenant(tenant_id), move |tx| {
        Box::pin(async move {
            tenants::bump(tx, Some(tenant_id)).await?;
            let is_known = |row: &Subscription| row.past_due_since.is_some();
            if subscriptions::find(tx, tenant_id).await?.as_ref().is_none_or(is_known) {
                return Ok::<_, Error>(());
            }
            if let Some(invoice) = settle_arrears(tx, tenant_id, now).await? {
                note(tx, Some(&tenant), &invoice, "invoice.overdue", &ids, now).await?;
                tell(tx, &tenant, &invoice, "invoice.overdue", &ids, now, shard).await?;
            }
            Ok(())
        })
    });
    write.await?;
    engine.parts().directory.catch_up().await;
    engine.wakers.wake(tenant_id);
    Ok(())
}
