//! Credit that is bought: recorded by the operator, paid on a page of Stripe's, or bought by itself when credit runs low.
//!
//! What happened to a payment is told by Stripe, in its answers and in signed events. The credit is added in the transaction that learns of it, once for each purchase and each payment, whatever is told
//! again or in another order: a purchase that is paid stays paid. Whoever changes a purchase holds its tenant's ledger.

use std::sync::Arc;

use connectors::stripe::{self, Page as Leads, Paid, Payment};
use model::{Failure, Money, PurchaseId, TenantId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use store::{
    Scope, Tx,
    purchases::{self as rows, Purchase, Tax},
};
use url::Url;
use utoipa::ToSchema;

pub use super::sale_tax::NewTax;
use super::{
    charge,
    credits::{AMOUNT_MAX, check_text, ledger_to_show, ledger_to_write},
    disputes::{self, DisputeView},
    follow_up::ASK_FIRST_S,
    ledger::{Book, Cause, Open},
    payments::{self, STRIPE, check_amount, need_stripe},
    sale_tax::{self, Terms},
    strays,
};
use crate::{
    Error, Parts, audit,
    invoices::compose::{TaxLine, TaxRate},
    keys::Caller,
    names::Faults,
    once::{self, Repeat, Reply, Secrecy, once},
    page::{Page, Window},
    patch::Patch,
};

/// Longest URL somebody is led to, in characters: Stripe's limit.
const URL_MAX: usize = 2_048;
/// The word for who recorded what was paid outside of Tidings, in place of a payment provider's.
pub(super) const OPERATOR: &str = "operator";
/// Who moved credit, where it was Stripe's word that did.
pub(super) const ACTOR: &str = "stripe";
/// Where people are led after they paid unless the request says otherwise, below the public URL.
const BACK: &str = "/console/billing";

/// Credit to be bought.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewCreditPurchase)]
pub struct NewPurchase {
    /// How much credit, in millionths of the ledger's currency: a whole number of its smallest coin where it is paid through Stripe. Tax comes on top where the operator sells credit with it.
    #[schema(example = 50_000_000)]
    pub amount_micros: i64,
    /// Operator, with `reference`: the tax that was paid on it, or `null` for none; that of the billing settings when left out.
    #[serde(default)]
    #[schema(value_type = Option<NewTax>)]
    pub tax: Patch<NewTax>,
    /// Operator: the reference of a payment that was made outside of Tidings; it is recorded, and nothing is asked of Stripe.
    #[serde(default)]
    #[schema(example = "bank transfer 2026-11-28")]
    pub reference: Option<String>,
    /// Where whoever paid is led; the console's page about credit when left out.
    #[serde(default)]
    #[schema(example = "https://acme.example/credit?paid=1")]
    pub success_url: Option<String>,
    /// Where whoever changed their mind is led.
    #[serde(default)]
    #[schema(example = "https://acme.example/credit")]
    pub cancel_url: Option<String>,
    /// True: what it is paid with is kept and pays from then on when credit runs low (`top_up` of `/v1/credits`), until it is removed.
    #[serde(default)]
    pub save_payment_method: bool,
}

/// Credit that was bought or is being bought.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CreditPurchase)]
pub struct PurchaseView {
    /// Which one.
    #[schema(value_type = String, example = "pur_01K9ZC8Q6T7Y2V5B3N4M1XWRSD")]
    pub id: PurchaseId,
    /// `stripe`, or `operator` for one the operator recorded.
    #[schema(example = "stripe")]
    pub provider: String,
    /// `opening` (not asked of Stripe yet), `open`, `pending` (paid with a method that takes days), `paid`, `failed` or `expired`.
    #[schema(example = "open")]
    pub state: String,
    /// How much credit.
    #[schema(value_type = Object)]
    pub amount: Money,
    /// The tax that is paid on top of it, as it was when it was asked for; empty where credit is sold without any.
    pub taxes: Vec<TaxLine>,
    /// What is paid: the credit and its tax.
    #[schema(value_type = Object)]
    pub total: Money,
    /// The customer's country, by which it is taxed; `null` where it is not.
    #[schema(example = "DE")]
    pub tax_country: Option<String>,
    /// The customer's tax number then.
    #[schema(example = "DE123456789")]
    pub tax_id: Option<String>,
    /// What was given back of the credit, or is about to be.
    #[schema(value_type = Object)]
    pub refunded: Money,
    /// The money that goes back with that: the same, and its share of the tax.
    #[schema(value_type = Object)]
    pub refunded_total: Money,
    /// What payers' banks took of it and did not give back: it is missing from the credit.
    #[schema(value_type = Object)]
    pub disputed: Money,
    /// Where its payer asked the bank for the money, oldest first.
    pub disputes: Vec<DisputeView>,
    /// The operator's reference.
    pub reference: Option<String>,
    /// Where it is paid, while it can be.
    #[schema(example = "https://checkout.stripe.com/c/pay/cs_1")]
    pub url: Option<String>,
    /// Why it came to nothing.
    pub failure: Option<String>,
    /// True when nobody asked for it but the mark at which credit is bought.
    pub is_top_up: bool,
    /// The number of the movement it brought, see `/v1/credits/entries`.
    pub entry: Option<i64>,
    /// When it was asked for.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it last changed.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}

/// What happened, for the tenant: the event's type and data.
pub(super) type Told = Option<(&'static str, Value)>;

pub(super) fn view(p: &Purchase) -> PurchaseView {
    let money = |amount_micros| Money { amount_micros, currency: p.currency.clone() };
    let (disputes, disputed) = disputes::views(p);
    PurchaseView {
        id: p.id,
        provider: p.provider.clone(),
        state: p.state.clone(),
        amount: money(p.amount),
        taxes: p.tax.iter().map(tax_line).collect(),
        total: money(p.total()),
        tax_country: p.tax.as_ref().and_then(|tax| tax.country.clone()),
        tax_id: p.tax.as_ref().and_then(|tax| tax.number.clone()),
        refunded: money(p.refunded),
        refunded_total: money(p.refunded.saturating_add(p.refunded_tax)),
        disputed: money(disputed),
        disputes,
        reference: p.reference.clone(),
        url: p.url.clone().filter(|_| p.state == "open"),
        failure: p.failure.clone(),
        is_top_up: p.is_top_up,
        entry: p.entry,
        created_at: p.created_at,
        updated_at: p.updated_at,
    }
}

fn tax_line(tax: &Tax) -> TaxLine {
    TaxLine { name: tax.name.clone(), rate_ppm: tax.rate_ppm, amount_micros: tax.amount }
}

/// A purchase that was not asked of anybody yet, without tax.
pub(super) fn new(
    tenant_id: TenantId,
    id: PurchaseId,
    amount: i64,
    currency: &str,
    actor: &str,
    now: Timestamp,
) -> Purchase {
    Purchase {
        tenant_id,
        id,
        provider: STRIPE.to_owned(),
        state: "opening".to_owned(),
        amount,
        tax: None,
        currency: currency.to_owned(),
        refunded: 0,
        refunded_tax: 0,
        reference: None,
        session: None,
        payment: None,
        url: None,
        failure: None,
        is_top_up: false,
        saves_method: false,
        looks: 0,
        looked: 0,
        entry: None,
        disputes: "[]".to_owned(),
        is_disputed: false,
        ask_at: None,
        actor: actor.to_owned(),
        created_at: now,
        updated_at: now,
    }
}

/// Buys credit: records what the operator was paid, or opens a page at Stripe. Needs the scope `purchases:write`; recording needs an operator.
#[crate::boxed]
pub async fn create(parts: &Parts, caller: &Caller, repeat: &Repeat, new: NewPurchase) -> Result<Reply, Error> {
    caller.need("purchases:write")?;
    match new.reference.clone() {
        Some(reference) => {
            let mut faults = Faults::default();
            for (pointer, is_there) in [
                ("/success_url", new.success_url.is_some()),
                ("/cancel_url", new.cancel_url.is_some()),
                ("/save_payment_method", new.save_payment_method),
            ] {
                if is_there {
                    faults.add(pointer, "belongs to a payment through Stripe: leave it out, or leave `reference` out");
                }
            }
            faults.end()?;
            record(parts, caller, repeat, new.amount_micros, new.tax, reference).await
        }
        None => open(parts, caller, repeat, new).await,
    }
}

/// Records credit that was paid for outside of Tidings.
pub(super) async fn record(
    parts: &Parts,
    caller: &Caller,
    repeat: &Repeat,
    amount: i64,
    said: Patch<NewTax>,
    reference: String,
) -> Result<Reply, Error> {
    caller.need_operator("purchases:write")?;
    let mut faults = Faults::default();
    if !(1..=AMOUNT_MAX).contains(&amount) {
        faults.add("/amount_micros", format!("1 to {AMOUNT_MAX} millionths of the currency's unit"));
    }
    check_text("/reference", &reference, &mut faults);
    faults.end()?;
    let (tenant, now) = (caller.need_tenant()?, parts.ports.clock.now());
    let (ids, by) = (Arc::clone(&parts.ports.ids), caller.clone());
    once(parts, caller, repeat, 201, Secrecy::Plain, move |tx| {
        Box::pin(async move {
            let ledger = ledger_to_write(tx, tenant, now).await?;
            let mut open = charge::begin(tx, ledger, now).await?;
            let id = PurchaseId::from_ulid(ids.ulid(now));
            let currency = open.ledger.currency.clone();
            let (terms, coin) = (Terms::read(tx, tenant).await?, sale_tax::coin(OPERATOR, &currency));
            let tax = match &said {
                Patch::Keep => terms.on(amount, coin),
                Patch::Clear => None,
                Patch::Set(said) => Some(terms.said(said, amount, coin)?),
            };
            open.post(Book::Purchased, Book::Available, amount, by_hand("purchase", &reference, &by.actor(), now));
            let row = Purchase {
                provider: OPERATOR.to_owned(),
                state: "paid".to_owned(),
                tax,
                reference: Some(reference.clone()),
                entry: Some(open.ledger.entries),
                ..self::new(tenant, id, amount, &currency, &by.actor(), now)
            };
            charge::write(tx, [(tenant, open)]).await?;
            rows::put(tx, tenant, &row).await?;
            let taxes: Vec<TaxLine> = row.tax.iter().map(tax_line).collect();
            let detail = json!({ "kind": "purchase", "amount_micros": amount, "taxes": taxes, "reference": reference });
            audit::record(tx, tenant, &ids, now, &by, "credits.purchased", tenant, &detail).await?;
            Ok(view(&row))
        })
    })
    .await
}

/// Why credit is moved that no message moves.
pub(super) fn by_hand(kind: &'static str, reference: &str, actor: &str, at: Timestamp) -> Cause {
    Cause { kind, message: None, reference: Some(reference.to_owned()), actor: Some(actor.to_owned()), at }
}

async fn open(parts: &Parts, caller: &Caller, repeat: &Repeat, new: NewPurchase) -> Result<Reply, Error> {
    let (tenant, now) = (caller.need_tenant()?, parts.ports.clock.now());
    if let Some(before) = once::replay(parts, caller, repeat).await? {
        return Ok(before);
    }
    let mut faults = Faults::default();
    check_url(&mut faults, "/success_url", new.success_url.as_deref());
    check_url(&mut faults, "/cancel_url", new.cancel_url.as_deref());
    if new.tax != Patch::Keep {
        faults.add("/tax", "belongs to a payment made outside of Tidings: say its `reference`, or leave it out");
    }
    faults.end()?;
    let read = parts.ports.db.read(Scope::Tenant(tenant), move |tx| {
        Box::pin(async move {
            let ledger = ledger_to_show(tx, tenant, now).await?;
            Ok::<_, Error>((ledger.currency, Terms::read(tx, tenant).await?))
        })
    });
    let (currency, terms) = read.await?;
    check_amount("/amount_micros", new.amount_micros, &currency)?;
    if parts.directory.tenant(tenant).await?.is_some_and(|tenant| tenant.is_demo) {
        return Err(Error::conflict(
            "demo_tenant",
            "A demo tenant sends nothing and pays nothing: its credit is not bought.",
        ));
    }
    let stripe = need_stripe(parts).await?;
    let id = PurchaseId::from_ulid(parts.ports.ids.ulid(now));
    let row = Purchase {
        saves_method: new.save_payment_method,
        tax: terms.on(new.amount_micros, sale_tax::coin(STRIPE, &currency)),
        ..self::new(tenant, id, new.amount_micros, &currency, &caller.actor(), now)
    };
    let back = format!("{}{BACK}", parts.config.public_url);
    let leads = Leads {
        success_url: new.success_url.as_deref().unwrap_or(&back),
        cancel_url: new.cancel_url.as_deref().unwrap_or(&back),
        saves_method: row.saves_method,
    };
    let named = named(&row);
    let asked =
        payments::ask(parts, &stripe, |cx| stripe::open(cx, &payment(&row, &named), &leads), stripe::opened).await;
    let opened = asked.map_err(payments::refusal)?;
    let (ids, by) = (Arc::clone(&parts.ports.ids), caller.clone());
    once(parts, caller, repeat, 201, Secrecy::Plain, move |tx| {
        Box::pin(async move {
            // Its event may have been quicker than our own word.
            ledger_to_write(tx, tenant, now).await?;
            if let Some(there) = rows::find(tx, tenant, id).await? {
                let looks = there.looks + i64::from(row.saves_method);
                let there = Purchase { saves_method: row.saves_method, looks, ..there };
                rows::put(tx, tenant, &there).await?;
                return Ok(view(&there));
            }
            let row = Purchase {
                state: "open".to_owned(),
                session: Some(opened.id),
                url: opened.url,
                ask_at: Some(now.plus_seconds(ASK_FIRST_S)),
                ..row
            };
            rows::put(tx, tenant, &row).await?;
            let detail = json!({
                "amount_micros": row.amount, "total_micros": row.total(), "currency": row.currency, "save_payment_method": row.saves_method,
            });
            audit::record(tx, tenant, &ids, now, &by, "credits.purchase_opened", row.id, &detail).await?;
            Ok(view(&row))
        })
    })
    .await
}

/// What Stripe is told of a purchase, in its words.
pub(super) struct Named {
    id: String,
    tenant: String,
    tax: Option<stripe::Tax>,
}

pub(super) fn named(row: &Purchase) -> Named {
    let tax = |tax: &Tax| stripe::Tax { name: tax.name.clone(), rate_ppm: tax.rate_ppm, amount_micros: tax.amount };
    Named { id: row.id.to_string(), tenant: row.tenant_id.to_string(), tax: row.tax.as_ref().map(tax) }
}

/// A purchase as Stripe is asked for it.
pub(super) fn payment<'a>(row: &'a Purchase, named: &'a Named) -> Payment<'a> {
    Payment {
        reference: &named.id,
        tenant: &named.tenant,
        amount_micros: row.amount,
        tax: named.tax.as_ref(),
        currency: &row.currency,
    }
}

/// The payment Stripe was asked for, as that would show it.
pub(super) fn asked_for(row: &Purchase) -> Paid {
    let Named { id, tenant, tax } = named(row);
    Paid {
        payment: row.payment.clone(),
        reference: Some(id),
        tenant: Some(tenant),
        amount_micros: row.total(),
        tax,
        currency: row.currency.clone(),
    }
}

/// What somebody pays at Stripe for so much credit, in millionths, with the tax that is `purchase_tax` of the tenant's credit.
pub fn total(credit: i64, tax: Option<&TaxRate>, currency: &str) -> i64 {
    let on_top = |tax: &TaxRate| sale_tax::on_top(credit, tax.rate_ppm, sale_tax::coin(STRIPE, currency));
    credit.saturating_add(tax.map_or(0, on_top))
}

fn check_url(faults: &mut Faults, pointer: &str, text: Option<&str>) {
    let Some(text) = text else { return };
    let is_url = Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "https" | "http") && url.has_host());
    if !is_url || text.len() > URL_MAX {
        faults.add(pointer, format!("an http or https URL of at most {URL_MAX} characters"));
    }
}

/// The currency of a tenant's ledger, or of the one it would have.
pub(super) async fn currency(parts: &Parts, tenant: TenantId) -> Result<String, Error> {
    let now = parts.ports.clock.now();
    let read = parts.ports.db.read(Scope::Tenant(tenant), move |tx| Box::pin(ledger_to_show(tx, tenant, now)));
    Ok(read.await?.currency)
}

/// Lists a tenant's purchases, newest first. Needs the scope `purchases:read`.
#[crate::boxed]
pub async fn list(
    parts: &Parts,
    caller: &Caller,
    limit: Option<u32>,
    cursor: Option<&str>,
) -> Result<Page<PurchaseView>, Error> {
    caller.need("purchases:read")?;
    let (tenant, window) = (caller.need_tenant()?, Window::read("credit-purchases", limit, cursor)?);
    let (before, limit) = (PurchaseId::from_ulid(window.before), window.rows());
    let read = parts.ports.db.read(Scope::Tenant(tenant), move |tx| {
        Box::pin(async move { Ok::<_, Error>(rows::list(tx, tenant, before, limit).await?) })
    });
    Ok(window.page(read.await?, |row: &Purchase| row.id.ulid(), |row| view(&row)))
}

/// Shows a purchase. Needs the scope `purchases:read`.
#[crate::boxed]
pub async fn get(parts: &Parts, caller: &Caller, id: PurchaseId) -> Result<PurchaseView, Error> {
    caller.need("purchases:read")?;
    let tenant = caller.need_tenant()?;
    let read = parts.ports.db.read(Scope::Tenant(tenant), move |tx| {
        Box::pin(async move { Ok::<_, Error>(rows::find(tx, tenant, id).await?) })
    });
    read.await?.as_ref().map(view).ok_or_else(|| Error::not_found("purchase"))
}

/// A payment was made: adds the credit, once. One we have no row of was begun by a process that died before it wrote one: Stripe's signed word, with our own names in it, is enough.
pub(super) async fn paid(
    tx: &mut Tx,
    tenant: TenantId,
    open: &mut Open,
    paid: &Paid,
    session: Option<&str>,
    now: Timestamp,
) -> Result<Told, Error> {
    let Some(id) = id_of(paid) else { return Ok(None) };
    let row = match rows::find(tx, tenant, id).await? {
        Some(row) => row,
        None => unwritten(tx, tenant, id, paid, now).await?,
    };
    if row.state == "paid" {
        strays::paid_again(tx, &row, paid, session, now).await?;
        return Ok(None);
    }
    if !strays::claim(tx, tenant, id, paid, session, now).await? {
        return Ok(None);
    }
    let row = Purchase {
        session: session.map(str::to_owned).or(row.session),
        payment: paid.payment.clone().or(row.payment),
        updated_at: now,
        ..row
    };
    if paid.currency != open.ledger.currency {
        strays::in_another_currency(tx, &row, paid, &open.ledger.currency, now).await?;
        let why = format!("it was paid in {}, and the ledger is in {}", paid.currency, open.ledger.currency);
        let row = Purchase { state: "failed".to_owned(), failure: Some(why), ask_at: None, ..row };
        rows::put(tx, tenant, &row).await?;
        return Ok(Some(("credit.purchase_failed", json!(view(&row)))));
    }
    let cause = by_hand(
        "purchase",
        &format!("{id} ({})", row.session.as_ref().or(row.payment.as_ref()).unwrap_or(&row.provider)),
        ACTOR,
        now,
    );
    let (amount, tax) = bought(&row, paid);
    open.post(Book::Purchased, Book::Available, amount, cause);
    // A mark credit is still below is looked at anew.
    open.ledger.is_topping_up = false;
    let row = Purchase {
        state: "paid".to_owned(),
        amount,
        tax,
        failure: None,
        // Money may have gone back before we knew whose it was, and what it was paid with may be to be kept.
        looks: row.looks + 1,
        entry: Some(open.ledger.entries),
        ask_at: None,
        ..row
    };
    rows::put(tx, tenant, &row).await?;
    Ok(Some(("credit.purchased", json!(view(&row)))))
}

/// The purchase of a payment we have no row of, with the tax we told Stripe of.
async fn unwritten(
    tx: &mut Tx,
    tenant: TenantId,
    id: PurchaseId,
    paid: &Paid,
    now: Timestamp,
) -> Result<Purchase, Error> {
    let coin = sale_tax::coin(STRIPE, &paid.currency);
    let is_right = |tax: &&connectors::stripe::Tax| {
        (0..paid.amount_micros).contains(&tax.amount_micros)
            && sale_tax::fits(paid.amount_micros - tax.amount_micros, tax.amount_micros, tax.rate_ppm, coin)
    };
    let tax = match paid.tax.as_ref().filter(is_right) {
        Some(said) => Some(Terms::read(tx, tenant).await?.tax(said.name.clone(), said.rate_ppm, said.amount_micros)),
        None => None,
    };
    let amount = paid.amount_micros - tax.as_ref().map_or(0, |tax| tax.amount);
    Ok(Purchase { tax, ..new(tenant, id, amount, &paid.currency, ACTOR, now) })
}

/// How much credit a payment brings, and the tax on it: what was asked for. Of another amount, as much as it pays for.
fn bought(row: &Purchase, paid: &Paid) -> (i64, Option<Tax>) {
    if paid.amount_micros == row.total() {
        return (row.amount, row.tax.clone());
    }
    tracing::error!(purchase.id = %row.id, asked_micros = row.total(), paid_micros = paid.amount_micros, "Another amount was paid at Stripe than was asked for: it brings the credit it pays for; somebody has to look at it");
    let coin = sale_tax::coin(&row.provider, &row.currency);
    let within = |tax: Tax| Tax { amount: sale_tax::within(paid.amount_micros, tax.rate_ppm, coin), ..tax };
    let tax = row.tax.clone().map(within);
    (paid.amount_micros - tax.as_ref().map_or(0, |tax| tax.amount), tax)
}

/// A session or payment came to nothing, or takes days. One that was paid before stays so: events come in any order.
pub(super) async fn moved(
    tx: &mut Tx,
    tenant: TenantId,
    paid: &Paid,
    state: &str,
    failure: Option<String>,
    now: Timestamp,
) -> Result<Told, Error> {
    let Some(id) = id_of(paid) else { return Ok(None) };
    let Some(row) = rows::find(tx, tenant, id).await? else { return Ok(None) };
    let is_next = match state {
        "pending" => matches!(row.state.as_str(), "opening" | "open"),
        _ => matches!(row.state.as_str(), "opening" | "open" | "pending"),
    };
    if !is_next || strays::is_of_another(tx, id, paid).await? {
        return Ok(None);
    }
    let row = Purchase {
        state: state.to_owned(),
        failure,
        payment: paid.payment.clone().or(row.payment),
        ask_at: (state == "pending").then(|| now.plus_seconds(ASK_FIRST_S)),
        updated_at: now,
        ..row
    };
    rows::put(tx, tenant, &row).await?;
    let kind = if row.is_top_up { "credit.top_up_failed" } else { "credit.purchase_failed" };
    Ok((state != "pending").then(|| (kind, json!(view(&row)))))
}

/// Whether a payment that was refused is over: at a page somebody may try again.
pub(super) async fn is_top_up(tx: &mut Tx, tenant: TenantId, paid: &Paid) -> Result<bool, Error> {
    let Some(id) = id_of(paid) else { return Ok(false) };
    Ok(rows::find(tx, tenant, id).await?.is_some_and(|row| row.is_top_up))
}

pub(super) fn id_of(paid: &Paid) -> Option<PurchaseId> {
    paid.reference.as_ref()?.parse().ok()
}

/// What a failure means for somebody who reads it later.
pub(super) fn in_words(failure: &Failure) -> String {
    let words = failure.provider_detail.as_ref().map(|words| format!(" ({words})")).unwrap_or_default();
    format!("{}{words}", failure.detail)
}
