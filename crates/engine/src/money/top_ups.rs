//! Buying credit by itself when it runs low, with what the tenant paid with before and let us keep.
//!
//! A mark that was crossed ([`super::marks`]) is acted upon once, in a transaction under the ledger's lock that writes the purchase; a job asks Stripe for the payment under the
//! purchase's id as the idempotency key, so a process that dies in between asks again and nothing is paid twice. A bank that refuses is not asked again until credit was above the mark, something
//! was bought, or the tenant let us keep something else to pay with.

use std::sync::Arc;

use connectors::stripe::{self, Charged, KEY_KEPT_S, Paid};
use model::{FailureKind, Money, PurchaseId, TenantId};
use serde::{Deserialize, Serialize};
use serde_json::json;
use store::{
    Scope, Tx,
    purchases::{self as rows, PaymentMethod, Purchase, Stuck},
};
use utoipa::ToSchema;

use super::{
    disputes,
    ledger::Open,
    payments::{self, STRIPE, Stripe},
    purchases::{self, ACTOR, Told, in_words, payment},
    refunds::{passed_over, settle},
    sale_tax::{self, Terms},
};
use crate::{Engine, Error, Parts, audit, keys::Caller};

/// Purchases with disputes that are read, the newest ones.
const PURCHASES_READ: i64 = 100;
/// Tenants or purchases a job works on in one run: each is one exchange with Stripe.
const PAGE: i64 = 20;
/// Purchases by itself in a day at most: a mark above what is bought, or a mistake that spends, ends here.
const DAY_MAX: i64 = 4;
/// A day, in seconds.
const DAY_S: i64 = 86_400;
/// What `monthly_max_micros` is about, in seconds. It is about credit, without the tax on it.
const MONTH_S: i64 = 30 * DAY_S;

/// What a tenant pays with when credit runs low.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PaymentMethod)]
pub struct MethodView {
    /// At which payment provider.
    #[schema(example = "stripe")]
    pub provider: String,
    /// What it is.
    #[schema(example = "visa •••• 4242")]
    pub name: String,
    /// Since when it is kept.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: model::Timestamp,
}

/// What happens when credit falls below its mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TopUpWay {
    /// Credit is bought by itself, with what the tenant let us keep.
    Buys,
    /// The tenant is asked to buy some: there is nothing kept to pay with.
    Asks,
    /// Nothing is bought by itself: `reason` says why.
    Stopped,
}

/// What happens when credit falls below its mark, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct TopUpState {
    /// What happens.
    pub state: TopUpWay,
    /// Why nothing is bought by itself, and what to do.
    #[schema(example = "The payment of pur_01K9ZC8Q6T7Y2V5B3N4M1XWRSD is disputed at the payer's bank.")]
    pub reason: Option<String>,
}

/// What happens when a tenant's credit falls below its mark.
pub(super) async fn state(tx: &mut Tx, tenant: TenantId) -> Result<TopUpState, Error> {
    let Some(method) = rows::method(tx, tenant).await? else {
        return Ok(TopUpState { state: TopUpWay::Asks, reason: None });
    };
    let reason = disputed(tx, &method).await?;
    Ok(TopUpState { state: if reason.is_some() { TopUpWay::Stopped } else { TopUpWay::Buys }, reason })
}

/// Why nothing is charged to what a tenant pays with: a payment is disputed, or the dispute was lost, since it was kept. What was kept after that was given to us by somebody who wants to pay.
async fn disputed(tx: &mut Tx, method: &PaymentMethod) -> Result<Option<String>, Error> {
    let found = rows::with_disputes(tx, method.tenant_id, PURCHASES_READ).await?;
    let of =
        found.iter().find_map(|purchase| disputes::stands(purchase, method.created_at).map(|how| (purchase.id, how)));
    Ok(of.map(|(id, how)| {
        format!("The payment of {id} {how} at the payer's bank. Nothing is bought by itself until that is settled in your favour, or what you pay with is kept anew by a purchase.")
    }))
}

/// Shows what a tenant pays with when credit runs low. Needs the scope `purchases:read`.
#[crate::boxed]
pub async fn method(parts: &Parts, caller: &Caller) -> Result<MethodView, Error> {
    caller.need("purchases:read")?;
    let tenant = caller.need_tenant()?;
    let read = parts.ports.db.read(Scope::Tenant(tenant), move |tx| {
        Box::pin(async move { Ok::<_, Error>(rows::method(tx, tenant).await?) })
    });
    let found = read.await?.ok_or_else(|| Error::not_found("payment method"))?;
    Ok(MethodView { provider: found.provider, name: found.name, created_at: found.created_at })
}

/// Forgets what a tenant pays with: nothing is bought by itself any more. Needs the scope `purchases:write`.
#[crate::boxed]
pub async fn forget(parts: &Parts, caller: &Caller) -> Result<(), Error> {
    caller.need("purchases:write")?;
    let (tenant, now) = (caller.need_tenant()?, parts.ports.clock.now());
    let (ids, by) = (Arc::clone(&parts.ports.ids), caller.clone());
    let write = parts.ports.db.write(Scope::Tenant(tenant), move |tx| {
        Box::pin(async move {
            if !rows::forget_method(tx, tenant).await? {
                return Err(Error::not_found("payment method"));
            }
            audit::record(tx, tenant, &ids, now, &by, "credits.payment_method_removed", tenant, &json!({})).await
        })
    });
    write.await
}

/// Buys credit for those who run low, and asks Stripe for the payments. Run every few seconds; answers how much it did.
#[crate::boxed]
pub async fn run(engine: &Engine) -> Result<u64, Error> {
    let now = engine.ports.clock.now();
    let read = engine.ports.db.read(Scope::System, move |tx| {
        Box::pin(async move {
            Ok::<_, Error>((rows::running_low(tx, now, PAGE).await?, rows::opening(tx, now, PAGE).await?))
        })
    });
    let (low, mut opening) = read.await?;
    let count = low.len() + opening.len();
    if count == 0 {
        return Ok(0);
    }
    let Some(stripe) = payments::stripe(engine.parts()).await? else { return Ok(0) };
    for tenant in low {
        match begin(engine, tenant).await {
            Ok(begun) => opening.extend(begun),
            Err(error) => passed_over(engine, Stuck::Method(tenant), Err(error)).await,
        }
    }
    for purchase in opening {
        let stuck = Stuck::Purchase(purchase.tenant_id, purchase.id);
        let done = pay(engine, &stripe, purchase).await;
        passed_over(engine, stuck, done).await;
    }
    Ok(count as u64)
}

/// Writes the purchase of a tenant whose credit fell below its mark, unless its limits stop that.
async fn begin(engine: &Engine, tenant: TenantId) -> Result<Option<Purchase>, Error> {
    let id = PurchaseId::from_ulid(engine.ports.ids.ulid(engine.ports.clock.now()));
    settle(engine, tenant, move |tx, open, now| {
        Box::pin(async move {
            let Some(method) = rows::method(tx, tenant).await? else { return Ok(None) };
            let (amount, is_due) = due(open, &method);
            if !is_due {
                return Ok(None);
            }
            let method = PaymentMethod { acted: open.ledger.top_ups, ..method };
            rows::put_method(tx, tenant, &method).await?;
            if let Some(why) = stopped(tx, &method, open, amount, now).await? {
                tracing::warn!(tenant.id = %tenant, why, "Credit is not bought by itself");
                let money = |amount_micros| Money { amount_micros, currency: open.ledger.currency.clone() };
                let data =
                    json!({ "available": money(open.ledger.available), "amount": money(amount), "failure": why });
                return Ok(Some(("credit.top_up_failed", data)));
            }
            let currency = &open.ledger.currency;
            let row = Purchase {
                is_top_up: true,
                tax: Terms::read(tx, tenant).await?.on(amount, sale_tax::coin(STRIPE, currency)),
                ..purchases::new(tenant, id, amount, currency, ACTOR, now)
            };
            rows::put(tx, tenant, &row).await?;
            Ok(None)
        })
    })
    .await?;
    let read = engine.ports.db.read(Scope::Tenant(tenant), move |tx| {
        Box::pin(async move { Ok::<_, Error>(rows::find(tx, tenant, id).await?) })
    });
    read.await
}

/// How much is to be bought, and whether it still is.
fn due(open: &Open, method: &PaymentMethod) -> (i64, bool) {
    let l = &open.ledger;
    let is_low = l.top_up_at.is_some_and(|mark| l.left() < mark);
    (l.top_up_amount.unwrap_or(0), is_low && l.is_topping_up && l.top_ups > method.acted)
}

/// What stops a purchase, in words: a dispute, or a limit.
async fn stopped(
    tx: &mut Tx,
    method: &PaymentMethod,
    open: &Open,
    amount: i64,
    now: model::Timestamp,
) -> Result<Option<String>, Error> {
    let tenant = method.tenant_id;
    if let Some(why) = disputed(tx, method).await? {
        return Ok(Some(why));
    }
    if let Err(error) = payments::check_amount("/top_up/amount_micros", amount, &open.ledger.currency) {
        return Ok(Some(error.detail));
    }
    let (today, _) = rows::topped_up(tx, tenant, now.plus_seconds(-DAY_S)).await?;
    if today >= DAY_MAX {
        return Ok(Some(format!("credit was bought {today} times within a day already")));
    }
    let (_, month) = rows::topped_up(tx, tenant, now.plus_seconds(-MONTH_S)).await?;
    let most = open.ledger.top_up_month_max;
    Ok(most.filter(|most| month.saturating_add(amount) > *most).map(|most| {
        format!("{month} of at most {most} millionths were bought within 30 days, and {amount} more would exceed that")
    }))
}

/// Asks Stripe for the payment of a purchase.
async fn pay(engine: &Engine, stripe: &Stripe, purchase: Purchase) -> Result<(), Error> {
    let (tenant, id) = (purchase.tenant_id, purchase.id);
    let read = engine.ports.db.read(Scope::Tenant(tenant), move |tx| {
        Box::pin(async move {
            let Some(method) = rows::method(tx, tenant).await? else { return Ok::<_, Error>((None, None)) };
            let disputed = disputed(tx, &method).await?;
            Ok((Some(method), disputed))
        })
    });
    let age_s = engine.ports.clock.now().millis_since(purchase.created_at) / 1_000;
    let named = purchases::named(&purchase);
    let pays = payment(&purchase, &named);
    let (kept, disputed) = read.await?;
    let outcome = match kept {
        None => Charged::Refused("what was kept to pay with was removed".to_owned()),
        // Stripe may have forgotten our key by now, and would take a repetition for a second payment.
        Some(_) if age_s > KEY_KEPT_S => {
            Charged::Refused("Stripe gave no answer within a day: look there whether it was paid".to_owned())
        }
        // It began to be disputed before Stripe was heard. Had Stripe taken the payment, its events say so.
        Some(_) if disputed.is_some() => Charged::Refused(disputed.unwrap_or_default()),
        Some(kept) => {
            let call = |cx: &stripe::Cx<'_>| stripe::charge(cx, &pays, &kept.customer, &kept.method);
            match payments::ask(engine.parts(), stripe, call, stripe::charged).await {
                Ok(charged) => charged,
                Err(failure) if failure.kind == FailureKind::Content => Charged::Refused(in_words(&failure)),
                // Asked again, under the same key. A refused key is the operator's to mend.
                Err(failure) => {
                    tracing::warn!(purchase.id = %id, code = failure.code, "Could not ask Stripe for a payment");
                    return Ok(());
                }
            }
        }
    };
    let said = purchases::asked_for(&purchase);
    settle(engine, tenant, move |tx, open, now| {
        Box::pin(async move { became(tx, tenant, open, &outcome, &said, now).await })
    })
    .await
}

/// Writes what Stripe says became of a payment that was `asked` for.
pub(super) async fn became(
    tx: &mut Tx,
    tenant: TenantId,
    open: &mut Open,
    outcome: &Charged,
    asked: &Paid,
    now: model::Timestamp,
) -> Result<Told, Error> {
    // Stripe's answer says which payment it is and of how much; that it is ours we know from having asked.
    let ours = |paid: &Paid| Paid {
        payment: paid.payment.clone(),
        amount_micros: paid.amount_micros,
        currency: paid.currency.clone(),
        ..asked.clone()
    };
    match outcome {
        Charged::Paid(paid) => purchases::paid(tx, tenant, open, &ours(paid), None, now).await,
        Charged::Awaited(paid) => purchases::moved(tx, tenant, &ours(paid), "pending", None, now).await,
        Charged::Refused(why) => {
            let over = Paid { payment: None, ..asked.clone() };
            purchases::moved(tx, tenant, &over, "failed", Some(why.clone()), now).await
        }
    }
}
