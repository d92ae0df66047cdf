//! A tenant's credit: what it has, how it pays, and what the operator does with it. What was given for a time is in `grants`, and where it all went in `statement`.

mod grants;
mod statement;

use std::sync::Arc;

use model::{Money, TenantId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;
use store::{
    Scope, Tx,
    credits::{self as rows, Ledger},
    plans, purchases, subscriptions, tenants,
};
use utoipa::ToSchema;

use super::{
    BillingMode, charge,
    ledger::{self, Book},
    payments::{STRIPE, check_amount},
    purchases::by_hand,
    sale_tax::{NewTax, Terms},
    top_ups::{self, TopUpState},
};
use crate::{
    Error, Parts, audit,
    invoices::compose::TaxRate,
    keys::Caller,
    names::Faults,
    once::{Repeat, Reply, Secrecy, once},
    patch::Patch,
    plans::subscription::bill_from_now,
};

pub(crate) use self::grants::GRANTS_MAX;
use self::statement::entry_view;
pub use self::{
    grants::{CreditGrant, NewGrant, expire_grants, grant, grants},
    statement::{CreditEntry, StatementQuery, entries, statement},
};

/// Most that is moved at once, in millionths: a billion of any currency's unit, so that sums of many stay far from the end of the numbers.
pub(super) const AMOUNT_MAX: i64 = 1_000_000_000_000_000;
/// Longest reference or reason, in characters.
const REFERENCE_MAX: usize = 200;

/// A tenant's credit.
#[derive(Debug, Serialize, ToSchema)]
pub struct Credits {
    /// How the tenant pays.
    pub mode: BillingMode,
    /// What can be spent and was paid for, or is to be.
    #[schema(value_type = Object)]
    pub available: Money,
    /// What the tenant owes: how far what was paid for is below zero, because a payment was disputed or given back after it was spent. Nothing prepaid is accepted before it is paid, for promotional
    /// credit neither.
    #[schema(value_type = Object)]
    pub debt: Money,
    /// What can be spent, unless there is a debt, and was given for a time; it is spent first.
    #[schema(value_type = Object)]
    pub promotional: Money,
    /// What is set aside for messages under way.
    #[schema(value_type = Object)]
    pub reserved: Money,
    /// What messages have cost so far.
    #[schema(value_type = Object)]
    pub spent: Money,
    /// What was bought so far and not given back.
    #[schema(value_type = Object)]
    pub purchased: Money,
    /// The sum of all adjustments.
    #[schema(value_type = Object)]
    pub adjusted: Money,
    /// The promotional credit that was given and has not ended.
    #[schema(value_type = Object)]
    pub granted: Money,
    /// Movements so far; `/v1/credits/entries` lists them.
    pub entries: i64,
    /// Below this, in millionths, the event `credit.low` is told; once, until credit was above it again.
    pub low_at_micros: Option<i64>,
    /// When a purchase is asked for, and of how much.
    pub top_up: Option<TopUp>,
    /// What happens then; `null` without `top_up`.
    pub top_up_state: Option<TopUpState>,
    /// The tax that comes on top of credit this tenant buys now; `null` where it is sold without any.
    pub purchase_tax: Option<TaxRate>,
    /// What is wrong with the books, or with `recount=true` also with the messages' charges; empty when everything adds up.
    pub differences: Vec<String>,
}

/// When a purchase is asked for by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TopUp {
    /// Below this, in millionths.
    #[schema(example = 5_000_000)]
    pub below_micros: i64,
    /// How much is to be bought, in millionths; tax comes on top where credit is sold with it.
    #[schema(example = 50_000_000)]
    pub amount_micros: i64,
    /// Most credit that is bought by itself in 30 days, in millionths, without the tax on it; four times a day at most in any case. Counts where the tenant let us keep what it pays with.
    #[serde(default)]
    #[schema(example = 200_000_000)]
    pub monthly_max_micros: Option<i64>,
}

/// Changes of how a tenant pays.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreditsPatch {
    /// `none`, `prepaid` or `postpaid`. Counts for messages accepted from now on. With `postpaid` the tenant gets monthly invoices, also without a plan.
    #[serde(default)]
    pub mode: Option<BillingMode>,
    /// Below this, in millionths, the tenant is told; `null` for never.
    #[serde(default)]
    #[schema(value_type = Option<i64>)]
    pub low_at_micros: Patch<i64>,
    /// When a purchase is asked for, and of how much; `null` for never.
    #[serde(default)]
    #[schema(value_type = Option<TopUp>)]
    pub top_up: Patch<TopUp>,
}

/// Credit that was bought, recorded by the operator.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPurchase {
    /// How much, in millionths of the ledger's currency.
    #[schema(example = 50_000_000)]
    pub amount_micros: i64,
    /// The tax that was paid on it, or none; that of the billing settings when left out.
    #[serde(default)]
    #[schema(value_type = Option<NewTax>)]
    pub tax: Patch<NewTax>,
    /// The payment's reference.
    #[schema(example = "bank transfer 2026-11-28")]
    pub reference: String,
}

/// A correction by the operator.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewAdjustment {
    /// How much is given, or taken when below zero, in millionths of the ledger's currency.
    #[schema(example = -2_500_000)]
    pub amount_micros: i64,
    /// Why.
    #[schema(example = "goodwill for the outage of 12 November")]
    pub reason: String,
    /// True: also when more is taken than is available, so that prepaid credit goes below zero.
    #[serde(default)]
    pub may_overdraw: bool,
}

fn view(
    l: &Ledger,
    top_up_state: Option<TopUpState>,
    purchase_tax: Option<TaxRate>,
    recounted: Option<Recounted>,
) -> Credits {
    let money = |amount_micros| Money { amount_micros, currency: l.currency.clone() };
    let mut differences = Vec::new();
    if !ledger::balances(l) {
        differences
            .push("available, reserved and spent do not add up to what was purchased, adjusted and granted".to_owned());
    }
    if let Some(Recounted { reserved, charged, promo }) = recounted {
        if promo != l.promo {
            differences.push(format!("the grants have {promo} micros left, the ledger has {} of them", l.promo));
        }
        if reserved != l.reserved {
            differences.push(format!(
                "the messages under way come to {reserved} micros, the ledger has set aside {}",
                l.reserved
            ));
        }
        if charged != l.revenue {
            differences
                .push(format!("the messages sent come to {charged} micros, the ledger has charged {}", l.revenue));
        }
    }
    Credits {
        mode: BillingMode::from_stored(&l.mode),
        available: money(l.available),
        debt: money(debt(l)),
        promotional: money(l.promo),
        reserved: money(l.reserved),
        spent: money(l.revenue),
        purchased: money(l.purchased),
        adjusted: money(l.adjusted),
        granted: money(l.granted),
        entries: l.entries,
        low_at_micros: l.low_at,
        top_up: top_up(l),
        top_up_state,
        purchase_tax,
        differences,
    }
}

/// What a ledger's balances have to equal, counted again.
struct Recounted {
    /// What is set aside for messages.
    reserved: i64,
    /// What messages were charged.
    charged: i64,
    /// What grants have left.
    promo: i64,
}

async fn recount(tx: &mut Tx, tenant: TenantId) -> Result<Recounted, Error> {
    let (reserved, charged) = rows::sums(tx, tenant).await?;
    Ok(Recounted { reserved, charged, promo: rows::grants_left(tx, tenant).await? })
}

/// Who pays ahead and is below zero owes that; who pays afterwards owes by the invoice.
fn debt(l: &Ledger) -> i64 {
    match BillingMode::from_stored(&l.mode) {
        BillingMode::Prepaid => l.available.min(0).saturating_neg(),
        BillingMode::None | BillingMode::Postpaid => 0,
    }
}

fn top_up(l: &Ledger) -> Option<TopUp> {
    let (below_micros, amount_micros) = l.top_up_at.zip(l.top_up_amount)?;
    Some(TopUp { below_micros, amount_micros, monthly_max_micros: l.top_up_month_max })
}

/// The ledger to be written, or as it begins: without any movement it is in the tenant's currency of today. Two that begin one at the same time wait for each other at the configuration's version.
pub(super) async fn ledger_to_write(tx: &mut Tx, tenant: TenantId, now: Timestamp) -> Result<Ledger, Error> {
    if let Some(ledger) = rows::lock(tx, tenant).await? {
        return in_currency(tx, ledger).await;
    }
    tenants::bump(tx, None).await?;
    match rows::lock(tx, tenant).await? {
        Some(ledger) => in_currency(tx, ledger).await,
        None => begin(tx, tenant, now).await,
    }
}

/// The ledger to be looked at, or as it would begin.
pub(super) async fn ledger_to_show(tx: &mut Tx, tenant: TenantId, now: Timestamp) -> Result<Ledger, Error> {
    match rows::find(tx, tenant).await? {
        Some(ledger) => in_currency(tx, ledger).await,
        None => begin(tx, tenant, now).await,
    }
}

/// A ledger that nothing has moved and by which nothing is charged follows the tenant's currency.
async fn in_currency(tx: &mut Tx, ledger: Ledger) -> Result<Ledger, Error> {
    if ledger.entries > 0 || BillingMode::from_stored(&ledger.mode) != BillingMode::None {
        return Ok(ledger);
    }
    let row = tenants::find(tx, ledger.tenant_id).await?;
    Ok(row.map_or(ledger.clone(), |row| Ledger { currency: row.currency, ..ledger }))
}

/// A ledger in the tenant's currency, without anything in it.
async fn begin(tx: &mut Tx, tenant: TenantId, now: Timestamp) -> Result<Ledger, Error> {
    let row = tenants::find(tx, tenant).await?.ok_or_else(|| Error::not_found("tenant"))?;
    Ok(Ledger::empty(tenant, BillingMode::None.as_str(), &row.currency, now))
}

/// Shows a tenant's credit; `is_recounted` also compares it with the messages' charges, which takes the longer the more there are. Needs the scope `credits:read`.
#[crate::boxed]
pub async fn get(parts: &Parts, caller: &Caller, is_recounted: bool) -> Result<Credits, Error> {
    caller.need("credits:read")?;
    show(parts, caller.need_tenant()?, is_recounted).await
}

/// How a tenant pays and what it can spend, without a recount: for a page that only shows it. Needs the scope `credits:read`.
#[crate::boxed]
pub async fn balance(parts: &Parts, caller: &Caller) -> Result<(BillingMode, Money), Error> {
    caller.need("credits:read")?;
    let (tenant, now) = (caller.need_tenant()?, parts.ports.clock.now());
    let read = parts.ports.db.read(Scope::Tenant(tenant), move |tx| {
        Box::pin(async move {
            let ledger = ledger_to_show(tx, tenant, now).await?;
            let available = Money { amount_micros: ledger.available, currency: ledger.currency };
            Ok::<_, Error>((BillingMode::from_stored(&ledger.mode), available))
        })
    });
    read.await
}

async fn show(parts: &Parts, tenant: TenantId, is_recounted: bool) -> Result<Credits, Error> {
    let now = parts.ports.clock.now();
    // A transaction that reads sees one moment: the balances and the recount fit each other, and nobody waits for it.
    let read = parts.ports.db.read(Scope::Tenant(tenant), move |tx| {
        Box::pin(async move {
            let ledger = ledger_to_show(tx, tenant, now).await?;
            let recounted = if is_recounted { Some(recount(tx, tenant).await?) } else { None };
            let top_up_state = match top_up(&ledger) {
                Some(_) => Some(top_ups::state(tx, tenant).await?),
                None => None,
            };
            let terms = Terms::read(tx, tenant).await?;
            Ok::<_, Error>(view(&ledger, top_up_state, terms.rate, recounted))
        })
    });
    read.await
}

/// Changes how a tenant pays, and when it is told that credit runs low. Needs an operator with the scope `credits:write`.
#[crate::boxed]
pub async fn patch(parts: &Parts, caller: &Caller, change: CreditsPatch) -> Result<Credits, Error> {
    caller.need_operator("credits:write")?;
    let (tenant, now) = (caller.need_tenant()?, parts.ports.clock.now());
    check_marks(&change)?;
    let (ids, by) = (Arc::clone(&parts.ports.ids), caller.clone());
    let write = parts.ports.db.write(Scope::Tenant(tenant), move |tx| {
        Box::pin(async move {
            tenants::bump(tx, Some(tenant)).await?;
            // Before the ledger, in the order in which closing a month takes them.
            subscriptions::lock(tx, tenant).await?;
            let before = ledger_to_write(tx, tenant, now).await?;
            if change.mode.is_some_and(|mode| mode != BillingMode::None) {
                check_plan(tx, &before).await?;
            }
            if let Patch::Set(top_up) = &change.top_up
                && purchases::settings(tx, STRIPE).await?.is_some()
            {
                check_amount("/top_up/amount_micros", top_up.amount_micros, &before.currency)?;
            }
            let top_up = change.top_up.onto(top_up(&before));
            let after = Ledger {
                mode: change.mode.map_or_else(|| before.mode.clone(), |mode| mode.as_str().to_owned()),
                low_at: change.low_at_micros.onto(before.low_at),
                top_up_at: top_up.map(|top_up| top_up.below_micros),
                top_up_amount: top_up.map(|top_up| top_up.amount_micros),
                top_up_month_max: top_up.and_then(|top_up| top_up.monthly_max_micros),
                updated_at: now,
                ..before.clone()
            };
            // A mark that is set anew is looked at anew.
            let after = Ledger {
                is_low: after.is_low && after.low_at == before.low_at,
                is_topping_up: after.is_topping_up && self::top_up(&after) == self::top_up(&before),
                ..after
            };
            rows::put(tx, tenant, &after).await?;
            // What it uses from now on is billed, with a plan or without.
            if after.mode == BillingMode::Postpaid.as_str() {
                bill_from_now(tx, tenant, &before, now).await?;
            }
            let told = |l: &Ledger| {
                json!({
                    "mode": l.mode, "low_at_micros": l.low_at, "top_up_below_micros": l.top_up_at, "top_up_amount_micros": l.top_up_amount,
                    "top_up_monthly_max_micros": l.top_up_month_max,
                })
            };
            let detail = audit::difference(&told(&before), &told(&after));
            audit::record(tx, tenant, &ids, now, &by, "credits.updated", tenant, &detail).await
        })
    });
    write.await?;
    parts.directory.catch_up().await;
    show(parts, tenant, false).await
}

/// Refuses to charge messages in another currency than the tenant's plan has.
async fn check_plan(tx: &mut Tx, ledger: &Ledger) -> Result<(), Error> {
    let Some(subscription) = subscriptions::find(tx, ledger.tenant_id).await? else { return Ok(()) };
    let Some(id) = subscription.plan_id else { return Ok(()) };
    match plans::find(tx, id).await?.filter(|plan| plan.currency != ledger.currency) {
        Some(plan) => {
            let detail = format!(
                "messages would be charged in {}, and the tenant's plan is in {}; one invoice has one currency: give the tenant a plan in {} first{}",
                ledger.currency,
                plan.currency,
                ledger.currency,
                // As long as nothing moved, the currency of the credit is the tenant's.
                if ledger.entries == 0 { format!(", or the currency {}", plan.currency) } else { String::new() }
            );
            Err(Error::invalid("/mode", detail))
        }
        None => Ok(()),
    }
}

fn check_marks(change: &CreditsPatch) -> Result<(), Error> {
    let mut faults = Faults::default();
    let range = format!("0 to {AMOUNT_MAX} millionths of the currency's unit");
    if let Patch::Set(low_at) = change.low_at_micros
        && !(0..=AMOUNT_MAX).contains(&low_at)
    {
        faults.add("/low_at_micros", range.clone());
    }
    if let Patch::Set(top_up) = &change.top_up {
        if !(0..=AMOUNT_MAX).contains(&top_up.below_micros) {
            faults.add("/top_up/below_micros", range);
        }
        if !(1..=AMOUNT_MAX).contains(&top_up.amount_micros) {
            faults.add("/top_up/amount_micros", format!("1 to {AMOUNT_MAX} millionths of the currency's unit"));
        }
        if top_up.monthly_max_micros.is_some_and(|most| !(top_up.amount_micros..=AMOUNT_MAX).contains(&most)) {
            faults.add("/top_up/monthly_max_micros", format!("at least `amount_micros`, at most {AMOUNT_MAX}"));
        }
    }
    faults.end()
}

/// Records credit that was bought. Needs an operator with the scope `purchases:write`.
#[crate::boxed]
pub async fn purchase(parts: &Parts, caller: &Caller, repeat: &Repeat, new: NewPurchase) -> Result<Reply, Error> {
    super::purchases::record(parts, caller, repeat, new.amount_micros, new.tax, new.reference).await
}

/// Corrects a tenant's credit. Needs an operator with the scope `credits:write`.
#[crate::boxed]
pub async fn adjust(parts: &Parts, caller: &Caller, repeat: &Repeat, new: NewAdjustment) -> Result<Reply, Error> {
    caller.need_operator("credits:write")?;
    let mut faults = Faults::default();
    if new.amount_micros == 0 || !(-AMOUNT_MAX..=AMOUNT_MAX).contains(&new.amount_micros) {
        faults.add(
            "/amount_micros",
            format!("-{AMOUNT_MAX} to {AMOUNT_MAX} millionths of the currency's unit, and not 0"),
        );
    }
    check_text("/reason", &new.reason, &mut faults);
    faults.end()?;
    let (tenant, now) = (caller.need_tenant()?, parts.ports.clock.now());
    let (ids, by) = (Arc::clone(&parts.ports.ids), caller.clone());
    once(parts, caller, repeat, 201, Secrecy::Plain, move |tx| {
        Box::pin(async move {
            let (amount, reason) = (new.amount_micros, new.reason);
            let ledger = ledger_to_write(tx, tenant, now).await?;
            let mut open = charge::begin(tx, ledger, now).await?;
            let cause = by_hand("adjustment", &reason, &by.actor(), now);
            if amount > 0 {
                open.post(Book::Adjusted, Book::Available, amount, cause);
            } else if -amount <= open.takeable() || new.may_overdraw {
                open.post(Book::Available, Book::Adjusted, -amount, cause);
            } else {
                let detail = format!(
                    "only {} millionths are available to take; take less, or say `may_overdraw` to let the credit go below zero",
                    open.takeable()
                );
                return Err(Error::invalid("/amount_micros", detail));
            }
            let currency = open.ledger.currency.clone();
            let made = open.entries.last().cloned();
            charge::write(tx, [(tenant, open)]).await?;
            let detail = json!({ "kind": "adjustment", "amount_micros": amount, "reference": reason });
            audit::record(tx, tenant, &ids, now, &by, "credits.adjusted", tenant, &detail).await?;
            let made = made.ok_or_else(|| Error::internal("a movement left no entry"))?;
            Ok(entry_view(made, &currency))
        })
    })
    .await
}

pub(super) fn check_text(pointer: &str, text: &str, faults: &mut Faults) {
    if text.trim().is_empty() || text.chars().count() > REFERENCE_MAX || text.chars().any(char::is_control) {
        faults.add(
            pointer,
            format!("1 to {REFERENCE_MAX} characters in one line that let somebody find the reason again"),
        );
    }
}
