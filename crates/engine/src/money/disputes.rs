//! Payments whose payer asks the bank for the money back.
//!
//! Stripe takes the disputed amount from the operator at once, so it is taken from the tenant's credit at once, all of it: what was spent of it becomes a debt (available credit below zero),
//! with which nothing prepaid is accepted until it is paid. What Stripe returns, because the dispute was won or only in part, comes back. Stripe's fee is the operator's. Of credit that was sold with tax
//! the tax in the amount is the operator's, too, who does not owe it any more: the credit loses what is without it.
//!
//! Events about a dispute only say that there is something to ask: [`said`] makes the credit agree with what Stripe shows, so it does not matter in which order, or how often, it is told.

use connectors::stripe::{DisputeState, Disputed};
use model::{Money, PurchaseId, TenantId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;
use store::{
    Tx,
    purchases::{self as rows, Purchase},
};
use utoipa::ToSchema;

use super::{
    ledger::{Book, Open},
    purchases::{ACTOR, Told, by_hand, view},
    sale_tax::{self, Share},
};
use crate::Error;

/// Disputes kept with one purchase: banks allow one, and a few where a payment was made in parts.
const KEPT_MAX: usize = 20;

/// A dispute as it is kept with its purchase.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Dispute {
    id: String,
    state: String,
    reason: String,
    amount: i64,
    /// What the credit lost.
    taken: i64,
    /// What Stripe took: the same, and the tax in it. Not kept before there was any.
    #[serde(default)]
    withdrawn: i64,
    respond_by: Option<Timestamp>,
    created_at: Timestamp,
    updated_at: Timestamp,
}

/// A payment that its payer asks the bank to give back.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CreditDispute)]
pub struct DisputeView {
    /// The payment provider's id.
    #[schema(example = "du_1MtJUT2eZvKYlo2CNaw2HvEv")]
    pub id: String,
    /// `warning` (the bank only asks), `open` (to be answered at Stripe), `under_review`, `won`, `lost`, or `dropped` (the bank let it be).
    #[schema(example = "open")]
    pub state: String,
    /// Why, as the payment provider's word.
    #[schema(example = "fraudulent")]
    pub reason: String,
    /// How much is disputed, tax included.
    #[schema(value_type = Object)]
    pub amount: Money,
    /// What was taken from the credit for it and did not come back: of what was sold with tax, the part without it.
    #[schema(value_type = Object)]
    pub taken: Money,
    /// Until when the operator has to answer it at the payment provider.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub respond_by: Option<Timestamp>,
    /// When we heard of it.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it last changed.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}

/// The disputes of a purchase, and what all of them took.
pub(super) fn views(p: &Purchase) -> (Vec<DisputeView>, i64) {
    let money = |amount_micros| Money { amount_micros, currency: p.currency.clone() };
    let all = read(p);
    let taken = all.iter().map(|dispute| dispute.taken).sum();
    let view = |d: Dispute| DisputeView {
        id: d.id,
        state: d.state,
        reason: d.reason,
        amount: money(d.amount),
        taken: money(d.taken),
        respond_by: d.respond_by,
        created_at: d.created_at,
        updated_at: d.updated_at,
    };
    (all.into_iter().map(view).collect(), taken)
}

fn read(p: &Purchase) -> Vec<Dispute> {
    let mut all: Vec<Dispute> = serde_json::from_str(&p.disputes).unwrap_or_default();
    if p.tax_micros() == 0 {
        all.iter_mut().for_each(|dispute| dispute.withdrawn = dispute.taken);
    }
    all
}

/// What banks took of a purchase and did not give back; `but`: without this dispute.
pub(super) fn withdrawn(p: &Purchase, but: Option<&str>) -> Share {
    let all = read(p);
    let others = || all.iter().filter(|dispute| but != Some(dispute.id.as_str()));
    let credit = others().map(|dispute| dispute.taken).sum();
    Share { credit, tax: others().map(|dispute| dispute.withdrawn).sum::<i64>() - credit }
}

/// Makes the credit agree with a dispute as Stripe shows it. Answers what the tenant is told.
pub(super) async fn said(
    tx: &mut Tx,
    tenant: TenantId,
    open: &mut Open,
    purchase: PurchaseId,
    seen: &Disputed,
    now: Timestamp,
) -> Result<Told, Error> {
    let Some(row) = rows::find(tx, tenant, purchase).await?.filter(|row| row.state == "paid") else { return Ok(None) };
    let mut all = read(&row);
    let place = all.iter().position(|known| known.id == seen.id);
    if place.is_none() && all.len() >= KEPT_MAX {
        tracing::error!(purchase.id = %purchase, dispute.id = seen.id, "A payment has too many disputes to keep; somebody has to look at it");
        return Ok(None);
    }
    let before = place.map(|place| all[place].clone());
    let mut dispute = before.clone().unwrap_or_else(|| Dispute {
        id: seen.id.clone(),
        state: String::new(),
        reason: String::new(),
        amount: 0,
        taken: 0,
        withdrawn: 0,
        respond_by: None,
        created_at: now,
        updated_at: now,
    });
    if seen.withdrawn_micros != dispute.withdrawn {
        let credit = sale_tax::parted(&row, Some(&seen.id), seen.withdrawn_micros).credit;
        move_credit(open, &row, seen, (dispute.taken, credit), now);
        (dispute.taken, dispute.withdrawn) = (credit, seen.withdrawn_micros);
    }
    seen.state.as_str().clone_into(&mut dispute.state);
    dispute.reason.clone_from(&seen.reason);
    (dispute.amount, dispute.respond_by) = (seen.amount_micros, seen.respond_by);
    if before.as_ref() == Some(&dispute) {
        return Ok(None);
    }
    dispute.updated_at = now;
    let kind = if seen.state.is_over() { "credit.dispute_closed" } else { "credit.disputed" };
    let is_news = before.is_none_or(|before| before.state != dispute.state || before.taken != dispute.taken);
    match place {
        Some(place) => all[place] = dispute,
        None => all.push(dispute),
    }
    let is_disputed = all.iter().any(|dispute| !is_over(&dispute.state));
    if row.is_disputed && !is_disputed && seen.state != DisputeState::Lost {
        // What it stopped is looked at anew: credit is bought by itself again where it is still low.
        open.ledger.is_topping_up = false;
        store::credits::put(tx, tenant, &open.ledger).await?;
    }
    let disputes = serde_json::to_string(&all).map_err(Error::internal)?;
    let row = Purchase { disputes, is_disputed, updated_at: now, ..row };
    rows::put(tx, tenant, &row).await?;
    Ok(is_news.then(|| (kind, json!(view(&row)))))
}

/// How a purchase's dispute stands against its payer's means of payment, if it does: one that is open or was lost, and began after the means was kept.
pub(super) fn stands(p: &Purchase, kept_at: Timestamp) -> Option<&'static str> {
    let lost = DisputeState::Lost.as_str();
    let against =
        |dispute: &&Dispute| dispute.created_at >= kept_at && (dispute.state == lost || !is_over(&dispute.state));
    read(p)
        .iter()
        .rfind(against)
        .map(|dispute| if dispute.state == lost { "was disputed with success" } else { "is disputed" })
}

/// Until when the first of a purchase's disputes has to be answered that is not over, from their JSON.
pub(crate) fn respond_by(disputes: &str) -> Option<Timestamp> {
    let all: Vec<Dispute> = serde_json::from_str(disputes).unwrap_or_default();
    all.into_iter().filter(|dispute| !is_over(&dispute.state)).filter_map(|dispute| dispute.respond_by).min()
}

fn is_over(state: &str) -> bool {
    [DisputeState::Dropped, DisputeState::Won, DisputeState::Lost].iter().any(|over| over.as_str() == state)
}

/// Moves credit so that as much is taken as Stripe took of it.
fn move_credit(open: &mut Open, row: &Purchase, seen: &Disputed, (before, after): (i64, i64), now: Timestamp) {
    let why = format!("{} ({}, {})", row.id, seen.id, seen.reason);
    if after <= before {
        let back = before - after;
        open.post(Book::Purchased, Book::Available, back, by_hand("dispute_returned", &why, ACTOR, now));
        return;
    }
    // The bank takes all of it, also what went back another way before: then more went back than was bought, and the tenant owes that.
    let more = after - before;
    let beyond = more - open.ledger.purchased.max(0);
    if beyond > 0 {
        tracing::error!(purchase.id = %row.id, dispute.id = seen.id, beyond_micros = beyond, "More of a payment went back to its payer than was bought; somebody has to look at it");
    }
    open.post(Book::Available, Book::Purchased, more, by_hand("dispute", &why, ACTOR, now));
}
