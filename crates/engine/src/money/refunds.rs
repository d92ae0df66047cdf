//! Money that goes back: taken out of the credit when it is asked for, so that it cannot be spent meanwhile, and brought back should it not be paid out after all.
//!
//! A refund of a payment through Stripe is written first (`opening`) and asked of Stripe by a job, under our id as the idempotency key: a process that dies in between asks again and changes
//! nothing. What goes back on Stripe's own pages is learned by asking for all refunds of the payment; each is known by its id, so it counts once in whatever order it is told. With credit that was sold
//! with tax its share of the tax goes back ([`super::sale_tax`]).

use std::sync::Arc;

use connectors::stripe::{self, Disputed, KEY_KEPT_S, Payment, RefundState, Refunded};
use model::{Failure, FailureKind, Money, PurchaseId, RefundId, TenantId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;
use store::{
    Scope, Tx, credits,
    purchases::{self as rows, PaymentMethod, Purchase, Refund, Stuck},
    tenants,
};
use utoipa::ToSchema;

use super::{
    charge,
    credits::{AMOUNT_MAX, check_text, ledger_to_write},
    disputes,
    ledger::{Book, Open},
    payments::{self, STRIPE, Stripe, check_amount},
    purchases::{ACTOR, OPERATOR, Told, by_hand, in_words},
    sale_tax,
};
use crate::{
    Engine, Error, Parts, audit,
    keys::Caller,
    names::Faults,
    once::{Repeat, Reply, Secrecy, once},
    page::{Page, Window},
    provider,
};

/// Rows a job works on in one run: each is one exchange with Stripe.
const PAGE: i64 = 20;
/// How long what could not be written is put off, in seconds.
const RETRY_S: i64 = 600;

/// Money to be given back.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewCreditRefund)]
pub struct NewRefund {
    /// How much credit, in millionths of the ledger's currency. Of a purchase that was sold with tax its share of the tax goes back as well.
    #[schema(example = 5_000_000)]
    pub amount_micros: i64,
    /// Why, or the payment's reference: it stands on the statement.
    #[schema(example = "closed their account")]
    pub reason: String,
    /// The purchase it is a part of: one that was paid through Stripe is given back through it. Left out: money that was given back outside of Tidings.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "pur_01K9ZC8Q6T7Y2V5B3N4M1XWRSD")]
    pub purchase_id: Option<PurchaseId>,
    /// Without `purchase_id`: the tax that was given back besides, in millionths. Of a purchase it is worked out.
    #[serde(default)]
    pub tax_micros: Option<i64>,
    /// True: also when more goes back than is available, so that prepaid credit goes below zero.
    #[serde(default)]
    pub may_overdraw: bool,
}

/// Money given back.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CreditRefund)]
pub struct RefundView {
    /// Which one.
    #[schema(value_type = String, example = "rfd_01K9ZC8Q6T7Y2V5B3N4M1XWRSD")]
    pub id: RefundId,
    /// Of which purchase.
    #[schema(value_type = Option<String>, example = "pur_01K9ZC8Q6T7Y2V5B3N4M1XWRSD")]
    pub purchase_id: Option<PurchaseId>,
    /// `stripe`, or `operator` for money that went back outside of Tidings.
    #[schema(example = "stripe")]
    pub provider: String,
    /// `opening` (not asked of Stripe yet), `pending`, `done` or `failed`.
    #[schema(example = "done")]
    pub state: String,
    /// How much credit.
    #[schema(value_type = Object)]
    pub amount: Money,
    /// The tax that goes back with it.
    #[schema(value_type = Object)]
    pub tax: Money,
    /// Both: the money that goes back.
    #[schema(value_type = Object)]
    pub total: Money,
    /// What the credit gave for it: less only where it was given back on Stripe's own pages and had been spent.
    #[schema(value_type = Object)]
    pub taken: Money,
    /// Why.
    pub reason: String,
    /// Why it came to nothing; the credit was given back then.
    pub failure: Option<String>,
    /// When it was asked for.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it last changed.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}

fn view(r: &Refund, currency: &str) -> RefundView {
    let money = |amount_micros| Money { amount_micros, currency: currency.to_owned() };
    RefundView {
        id: r.id,
        purchase_id: r.purchase_id,
        provider: r.provider.clone(),
        state: r.state.clone(),
        amount: money(r.amount),
        tax: money(r.tax),
        total: money(r.amount.saturating_add(r.tax)),
        taken: money(r.taken),
        reason: r.reason.clone(),
        failure: r.failure.clone(),
        created_at: r.created_at,
        updated_at: r.updated_at,
    }
}

/// Gives money back: takes it from the credit, and has Stripe pay it out when it came through it. Needs an operator with the scope `credits:write`.
#[crate::boxed]
pub async fn create(parts: &Parts, caller: &Caller, repeat: &Repeat, new: NewRefund) -> Result<Reply, Error> {
    caller.need_operator("credits:write")?;
    let (tenant, now) = (caller.need_tenant()?, parts.ports.clock.now());
    let mut faults = Faults::default();
    if !(1..=AMOUNT_MAX).contains(&new.amount_micros) {
        faults.add("/amount_micros", format!("1 to {AMOUNT_MAX} millionths of the currency's unit"));
    }
    match new.tax_micros {
        Some(_) if new.purchase_id.is_some() => {
            faults.add("/tax_micros", "of a purchase it is worked out: leave it out, or leave `purchase_id` out");
        }
        Some(tax) if !(0..=new.amount_micros.max(0)).contains(&tax) => {
            faults.add("/tax_micros", "0 to `amount_micros`: the tax on that");
        }
        _ => {}
    }
    check_text("/reason", &new.reason, &mut faults);
    faults.end()?;
    let has_stripe = new.purchase_id.is_some() && payments::stripe(parts).await?.is_some();
    let (ids, by) = (Arc::clone(&parts.ports.ids), caller.clone());
    once(parts, caller, repeat, 201, Secrecy::Plain, move |tx| {
        Box::pin(async move {
            let ledger = ledger_to_write(tx, tenant, now).await?;
            let mut open = charge::begin(tx, ledger, now).await?;
            let (purchase, tax) = match new.purchase_id {
                Some(id) => {
                    let (purchase, tax) = part_of(tx, tenant, id, new.amount_micros, has_stripe, now).await?;
                    (Some(purchase), tax)
                }
                None => (None, new.tax_micros.unwrap_or(0)),
            };
            check_reach(&open, &new)?;
            let amount = new.amount_micros;
            open.post(Book::Available, Book::Purchased, amount, by_hand("refund", &new.reason, &by.actor(), now));
            let currency = open.ledger.currency.clone();
            charge::write(tx, [(tenant, open)]).await?;
            let is_outside = purchase.as_ref().is_none_or(|purchase| purchase.provider != STRIPE);
            let row = Refund {
                tenant_id: tenant,
                id: RefundId::from_ulid(ids.ulid(now)),
                purchase_id: new.purchase_id,
                provider: if is_outside { OPERATOR } else { STRIPE }.to_owned(),
                state: if is_outside { "done" } else { "opening" }.to_owned(),
                amount,
                tax,
                taken: amount,
                reason: new.reason,
                provider_id: None,
                failure: None,
                actor: by.actor(),
                created_at: now,
                updated_at: now,
            };
            rows::put_refund(tx, tenant, &row).await?;
            if let Some(purchase) = purchase {
                rows::put(tx, tenant, &purchase).await?;
            }
            let detail = json!({
                "amount_micros": row.amount, "tax_micros": row.tax, "reason": row.reason, "purchase_id": new.purchase_id,
                "may_overdraw": new.may_overdraw,
            });
            audit::record(tx, tenant, &ids, now, &by, "credits.refunded", row.id, &detail).await?;
            Ok(view(&row, &currency))
        })
    })
    .await
}

/// A purchase of which so much more credit goes back, and the tax that goes with it.
async fn part_of(
    tx: &mut Tx,
    tenant: TenantId,
    id: PurchaseId,
    amount: i64,
    has_stripe: bool,
    now: Timestamp,
) -> Result<(Purchase, i64), Error> {
    let found = rows::find(tx, tenant, id).await?;
    let row = found.ok_or_else(|| Error::invalid("/purchase_id", "there is no such purchase"))?;
    if row.state != "paid" {
        let detail = format!("This purchase is {}: only what was paid can be given back.", row.state);
        return Err(Error::conflict("purchase_not_paid", detail));
    }
    // What the payer's bank took is gone already.
    let left = sale_tax::left(&row, None);
    if amount > left.credit {
        let detail = format!("only {} millionths of that purchase are left", left.credit);
        return Err(Error::invalid("/amount_micros", detail));
    }
    if row.provider == STRIPE {
        check_amount("/amount_micros", amount, &row.currency)?;
        if !has_stripe {
            let detail = "That purchase was paid through Stripe, and no account at Stripe is set any more. Set one with PATCH /v1/payment-settings, or give the money back there and leave `purchase_id` out.";
            return Err(Error::conflict("payments_not_configured", detail));
        }
    }
    let tax = left.of_credit(amount, sale_tax::coin(&row.provider, &row.currency)).tax;
    let (refunded, refunded_tax) = (row.refunded + amount, row.refunded_tax + tax);
    Ok((Purchase { refunded, refunded_tax, updated_at: now, ..row }, tax))
}

/// Whether there is so much to give back: what was bought, and unless the operator says otherwise, what was not spent of it.
fn check_reach(open: &Open, new: &NewRefund) -> Result<(), Error> {
    let bought = open.ledger.purchased.max(0);
    if new.amount_micros > bought {
        let detail = format!("only {bought} millionths were bought and not given back yet; use an adjustment for more");
        return Err(Error::invalid("/amount_micros", detail));
    }
    if new.amount_micros > open.takeable() && !new.may_overdraw {
        let detail = format!(
            "only {} millionths that were paid for are left; give back less, or say `may_overdraw` to let the credit go below zero",
            open.takeable()
        );
        return Err(Error::invalid("/amount_micros", detail));
    }
    Ok(())
}

/// Lists money given back, newest first. Needs the scope `credits:read`.
#[crate::boxed]
pub async fn list(
    parts: &Parts,
    caller: &Caller,
    limit: Option<u32>,
    cursor: Option<&str>,
) -> Result<Page<RefundView>, Error> {
    caller.need("credits:read")?;
    let (tenant, window) = (caller.need_tenant()?, Window::read("credit-refunds", limit, cursor)?);
    let (before, limit) = (RefundId::from_ulid(window.before), window.rows());
    let read = parts.ports.db.read(Scope::Tenant(tenant), move |tx| {
        Box::pin(async move {
            let currency = credits::find(tx, tenant).await?.map(|ledger| ledger.currency).unwrap_or_default();
            Ok::<_, Error>((currency, rows::refunds(tx, tenant, before, limit).await?))
        })
    });
    let (currency, found) = read.await?;
    Ok(window.page(found, |row: &Refund| row.id.ulid(), |row| view(&row, &currency)))
}

/// A refund is at Stripe: ours, which goes on, or one of Stripe's own pages, which is taken from the credit as far as that reaches.
pub(super) async fn said(
    tx: &mut Tx,
    tenant: TenantId,
    open: &mut Open,
    refunded: &Refunded,
    ids: &model::Ids,
    now: Timestamp,
) -> Result<Told, Error> {
    if let Some(row) = known(tx, tenant, refunded).await? {
        let why = "the payment provider could not pay it out";
        return goes_on(tx, tenant, open, row, refunded.state, Some(&refunded.id), why, now).await;
    }
    let Some(payment) = refunded.payment.as_ref().filter(|_| refunded.state != RefundState::Failed) else {
        return Ok(None);
    };
    let Some(purchase) =
        rows::of_payment(tx, payment).await?.filter(|row| row.tenant_id == tenant && row.state == "paid")
    else {
        return Ok(None);
    };
    let part = sale_tax::parted(&purchase, None, refunded.amount_micros);
    let taken = part.credit.min(open.takeable());
    let row = Refund {
        tenant_id: tenant,
        id: RefundId::from_ulid(ids.ulid(now)),
        purchase_id: Some(purchase.id),
        provider: STRIPE.to_owned(),
        state: word(refunded.state).to_owned(),
        amount: part.credit,
        tax: part.tax,
        taken,
        reason: format!("given back at the payment provider ({})", refunded.id),
        provider_id: Some(refunded.id.clone()),
        failure: None,
        actor: ACTOR.to_owned(),
        created_at: now,
        updated_at: now,
    };
    if !rows::add_refund(tx, tenant, &row).await? {
        // Two purchases have one payment, as an earlier version let them: it was taken from the other's credit.
        tracing::error!(purchase.id = %purchase.id, refund = refunded.id, "Money of a payment that two purchases have went back, and was taken from the other's credit");
        return Ok(None);
    }
    open.post(Book::Available, Book::Purchased, taken, by_hand("refund", &row.reason, ACTOR, now));
    if taken < row.amount {
        tracing::error!(purchase.id = %purchase.id, refund.id = %row.id, missing_micros = row.amount - taken, "Money was given back at Stripe that had been spent; somebody has to look at it");
    }
    let (refunded, refunded_tax) = (purchase.refunded + row.amount, purchase.refunded_tax + row.tax);
    rows::put(tx, tenant, &Purchase { refunded, refunded_tax, updated_at: now, ..purchase }).await?;
    Ok(Some(("credit.refunded", json!(view(&row, &open.ledger.currency)))))
}

/// The row of a refund Stripe speaks of, if there is one: of ours by our id, of Stripe's own pages by theirs.
pub(super) async fn known(tx: &mut Tx, tenant: TenantId, refunded: &Refunded) -> Result<Option<Refund>, Error> {
    Ok(match refunded.reference.as_ref().and_then(|id| id.parse::<RefundId>().ok()) {
        Some(id) => rows::find_refund(tx, tenant, id).await?,
        None => rows::refund_by_provider(tx, tenant, &refunded.id).await?,
    })
}

const fn word(state: RefundState) -> &'static str {
    match state {
        RefundState::Pending => "pending",
        RefundState::Done => "done",
        RefundState::Failed => "failed",
    }
}

/// How far a refund's word is along the way: it never goes back.
fn rank(word: &str) -> usize {
    ["opening", "pending", "done", "failed"].iter().position(|known| *known == word).unwrap_or(0)
}

/// A refund went on. One that failed brings the credit back, once; one that is done may still come back from the bank.
#[allow(clippy::too_many_arguments, reason = "each is a different fact, and a struct would repeat them at both calls")]
async fn goes_on(
    tx: &mut Tx,
    tenant: TenantId,
    open: &mut Open,
    row: Refund,
    state: RefundState,
    provider_id: Option<&str>,
    why: &str,
    now: Timestamp,
) -> Result<Told, Error> {
    if rank(word(state)) <= rank(&row.state) {
        return Ok(None);
    }
    let failure = (state == RefundState::Failed).then(|| why.to_owned());
    let provider_id = provider_id.map(str::to_owned).or_else(|| row.provider_id.clone());
    let row = Refund { state: word(state).to_owned(), failure, provider_id, updated_at: now, ..row };
    rows::put_refund(tx, tenant, &row).await?;
    if state == RefundState::Failed {
        let cause = by_hand("refund_failed", &format!("{} failed", row.id), ACTOR, now);
        open.post(Book::Purchased, Book::Available, row.taken, cause);
        let purchase = match row.purchase_id {
            Some(id) => rows::find(tx, tenant, id).await?,
            None => None,
        };
        if let Some(purchase) = purchase {
            let refunded = (purchase.refunded - row.amount).max(0);
            let refunded_tax = (purchase.refunded_tax - row.tax).max(0);
            rows::put(tx, tenant, &Purchase { refunded, refunded_tax, updated_at: now, ..purchase }).await?;
        }
    }
    let kind = if state == RefundState::Failed { "credit.refund_failed" } else { "credit.refunded" };
    let data = json!(view(&row, &open.ledger.currency));
    Ok((state != RefundState::Pending).then_some((kind, data)))
}

/// Asks Stripe for refunds that were written, and for what there is to know about purchases. Run every few seconds; answers how many were looked at.
#[crate::boxed]
pub async fn run(engine: &Engine) -> Result<u64, Error> {
    let now = engine.ports.clock.now();
    let read = engine.ports.db.read(Scope::System, move |tx| {
        Box::pin(async move {
            Ok::<_, Error>((rows::opening_refunds(tx, now, PAGE).await?, rows::to_look_at(tx, now, PAGE).await?))
        })
    });
    let (opening, looks) = read.await?;
    let count = opening.len() + looks.len();
    if count == 0 {
        return Ok(0);
    }
    let Some(stripe) = payments::stripe(engine.parts()).await? else { return Ok(0) };
    for row in opening {
        let stuck = Stuck::Refund(row.tenant_id, row.id);
        let done = ask(engine, &stripe, row).await;
        passed_over(engine, stuck, done).await;
    }
    for row in looks {
        let stuck = Stuck::Purchase(row.tenant_id, row.id);
        let done = look(engine, &stripe, row).await;
        passed_over(engine, stuck, done).await;
    }
    Ok(count as u64)
}

/// Goes on with the others where something about one row could not be done: that one is tried again later.
pub(super) async fn passed_over(engine: &Engine, stuck: Stuck, done: Result<(), Error>) {
    let Err(error) = done else { return };
    tracing::error!(?stuck, %error, "Something about a payment cannot be written now; somebody has to look at it");
    let until = engine.ports.clock.now().plus_seconds(RETRY_S);
    let write = engine.ports.db.write(Scope::System, move |tx| {
        Box::pin(async move { Ok::<_, Error>(rows::put_off(tx, stuck, until).await?) })
    });
    if let Err(error) = write.await {
        tracing::warn!(?stuck, %error, "It cannot be put off either");
    }
}

async fn ask(engine: &Engine, stripe: &Stripe, row: Refund) -> Result<(), Error> {
    let (tenant, purchase_id, now) = (row.tenant_id, row.purchase_id, engine.ports.clock.now());
    let read = engine.ports.db.read(Scope::Tenant(tenant), move |tx| {
        Box::pin(async move {
            match purchase_id {
                Some(id) => Ok::<_, Error>(rows::find(tx, tenant, id).await?),
                None => Ok(None),
            }
        })
    });
    let purchase = read.await?;
    let asked = match purchase.as_ref().and_then(|purchase| Some((purchase, purchase.payment.as_deref()?))) {
        Some((purchase, payment)) => at_stripe(engine.parts(), stripe, &row, purchase, payment, now).await,
        None => Err(Failure::new(FailureKind::Content, "no_payment", "The purchase has no payment at Stripe.")),
    };
    let (state, provider_id, why) = match asked {
        Ok(refunded) => (refunded.state, Some(refunded.id), "the payment provider could not pay it out".to_owned()),
        Err(failure) if failure.kind == FailureKind::Content => (RefundState::Failed, None, in_words(&failure)),
        // Nobody can say: asked again, under the same key. A refused key is the operator's to mend.
        Err(failure) => {
            tracing::warn!(refund.id = %row.id, code = failure.code, "Could not ask Stripe for a refund");
            return Ok(());
        }
    };
    let id = row.id;
    settle(engine, tenant, move |tx, open, now| {
        Box::pin(async move {
            let Some(row) = rows::find_refund(tx, tenant, id).await? else { return Ok(None) };
            goes_on(tx, tenant, open, row, state, provider_id.as_deref(), &why, now).await
        })
    })
    .await
}

/// Has Stripe give money back. Once it may have forgotten our key, it is asked first whether it did already.
async fn at_stripe(
    parts: &Parts,
    stripe: &Stripe,
    row: &Refund,
    purchase: &Purchase,
    payment: &str,
    now: Timestamp,
) -> Result<Refunded, Failure> {
    let (id, tenant) = (row.id.to_string(), row.tenant_id.to_string());
    let round = now.millis_since(row.created_at) / 1_000 / KEY_KEPT_S;
    if round > 0 {
        let all = payments::ask(parts, stripe, |cx| Ok(stripe::refunds(cx, payment)), stripe::all_refunds).await?;
        if let Some(done) = all.into_iter().find(|refund| refund.reference.as_deref() == Some(id.as_str())) {
            return Ok(done);
        }
    }
    let key = if round > 0 { format!("{id}-{round}") } else { id.clone() };
    let total = row.amount.saturating_add(row.tax);
    let pays =
        Payment { reference: &id, tenant: &tenant, amount_micros: total, tax: None, currency: &purchase.currency };
    payments::ask(parts, stripe, |cx| stripe::refund(cx, &pays, &key, payment), stripe::refunded).await
}

/// Asks what there is to know about a purchase: what was given back of it, whether it is disputed, and what it was paid with.
async fn look(engine: &Engine, stripe: &Stripe, row: Purchase) -> Result<(), Error> {
    let (tenant, id, looks) = (row.tenant_id, row.id, row.looks);
    let found = match &row.payment {
        None => Ok(Seen::default()),
        Some(payment) => seen(engine.parts(), stripe, payment, row.saves_method).await,
    };
    let Seen { refunds, disputes, kept } = match found {
        Ok(found) => found,
        Err(failure) if matches!(failure.kind, FailureKind::Content) => {
            tracing::error!(purchase.id = %id, code = failure.code, "Stripe does not show a payment: {}", in_words(&failure));
            Seen::default()
        }
        Err(failure) => {
            tracing::warn!(purchase.id = %id, code = failure.code, "Could not ask Stripe about a purchase");
            return Ok(());
        }
    };
    for refund in refunds {
        let ids = Arc::clone(&engine.ports.ids);
        settle(engine, tenant, move |tx, open, now| {
            Box::pin(async move { said(tx, tenant, open, &refund, &ids, now).await })
        })
        .await?;
    }
    for dispute in disputes {
        settle(engine, tenant, move |tx, open, now| {
            Box::pin(async move { disputes::said(tx, tenant, open, id, &dispute, now).await })
        })
        .await?;
    }
    settle(engine, tenant, move |tx, open, now| {
        Box::pin(async move {
            let mut told = None;
            if let Some(kept) = kept {
                told = Some(("credit.payment_method_kept", json!({ "provider": STRIPE, "name": kept.name })));
                let method = PaymentMethod {
                    tenant_id: tenant,
                    provider: STRIPE.to_owned(),
                    customer: kept.customer,
                    method: kept.method,
                    name: kept.name,
                    // A mark credit is below is not acted upon with this yet.
                    acted: open.ledger.top_ups - i64::from(open.ledger.is_topping_up),
                    created_at: now,
                };
                rows::put_method(tx, tenant, &method).await?;
            }
            if let Some(row) = rows::find(tx, tenant, id).await? {
                // What was asked for meanwhile is still to be asked.
                let looked = looks.max(row.looked);
                rows::put(tx, tenant, &Purchase { looked, saves_method: false, ..row }).await?;
            }
            Ok(told)
        })
    })
    .await
}

/// What there is at Stripe about a payment.
#[derive(Default)]
struct Seen {
    refunds: Vec<Refunded>,
    disputes: Vec<Disputed>,
    kept: Option<stripe::Kept>,
}

async fn seen(parts: &Parts, stripe: &Stripe, payment: &str, saves_method: bool) -> Result<Seen, Failure> {
    let refunds = payments::ask(parts, stripe, |cx| Ok(stripe::refunds(cx, payment)), stripe::all_refunds).await?;
    let kept = match saves_method {
        true => payments::ask(parts, stripe, |cx| Ok(stripe::method(cx, payment)), stripe::kept).await?,
        false => None,
    };
    let disputes = payments::ask(parts, stripe, |cx| Ok(stripe::disputes(cx, payment)), stripe::all_disputes).await;
    let disputes = match disputes {
        // A key that may see refunds and no disputes: what it may see counts.
        Err(failure) if failure.kind == FailureKind::Account => {
            tracing::error!(
                code = failure.code,
                "Stripe shows no disputes to the operator's key: {}",
                in_words(&failure)
            );
            Vec::new()
        }
        disputes => disputes?,
    };
    Ok(Seen { refunds, disputes, kept })
}

/// Does something about a tenant's purchases under its ledger's lock, and tells the tenant what happened.
pub(super) async fn settle<W>(engine: &Engine, tenant: TenantId, work: W) -> Result<(), Error>
where
    W: for<'t> FnOnce(&'t mut Tx, &'t mut Open, Timestamp) -> model::BoxFuture<'t, Result<Told, Error>>
        + Send
        + 'static,
{
    settled(engine, tenant, work).await.map(drop)
}

/// The same. False when the tenant is not there any more, and nothing was done.
pub(super) async fn settled<W>(engine: &Engine, tenant: TenantId, work: W) -> Result<bool, Error>
where
    W: for<'t> FnOnce(&'t mut Tx, &'t mut Open, Timestamp) -> model::BoxFuture<'t, Result<Told, Error>>
        + Send
        + 'static,
{
    let Some(row) = engine.directory.tenant(tenant).await? else { return Ok(false) };
    let (ids, shard, now) = (Arc::clone(&engine.ports.ids), engine.shard(), engine.ports.clock.now());
    let write = engine.ports.db.write(Scope::Tenant(tenant), move |tx| {
        Box::pin(async move {
            // It may have been deleted since the directory last looked.
            if tenants::find(tx, tenant).await?.is_none() {
                return Ok(None);
            }
            let ledger = ledger_to_write(tx, tenant, now).await?;
            let mut open = charge::begin(tx, ledger, now).await?;
            let told = work(tx, &mut open, now).await?;
            charge::write(tx, [(tenant, open)]).await?;
            match told {
                Some((kind, data)) => provider::tell(tx, &row, kind, &data, now, &ids, shard).await.map(Some),
                None => Ok(Some(Vec::new())),
            }
        })
    });
    let Some(deliveries) = write.await? else { return Ok(false) };
    provider::wake(engine, tenant, &deliveries);
    Ok(true)
}
