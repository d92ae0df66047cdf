//! Credit that was bought, given back and disputed, against the entries of the ledger.

use std::collections::BTreeMap;

use connectors::stripe::DisputeState;
use model::{PurchaseId, TenantId};
use serde::Deserialize;
use store::{
    Db,
    recounts::{self, Disputed, Returned},
};

use super::{Found, ROWS_MAX, history::History, read};
use crate::{Error, money::sale_tax};

/// Purchases that are held against their tax's rate in one snapshot.
const PAGE: i64 = 1_000;

/// Checks one tenant's payments.
pub(super) async fn look(db: &Db, history: &History, found: &mut Found) -> Result<(), Error> {
    let (tenant, since, of) = (history.tenant, history.purchases_kept, Some(history.tenant));
    let rows = read(db, tenant, move |tx| Box::pin(recounts::mispurchased(tx, tenant, ROWS_MAX))).await?;
    found.add_all(of, "purchase", rows, |p| {
        let brought =
            p.brought.map_or("there is no entry of its own".to_owned(), |amount| format!("an entry brought {amount}"));
        let unnamed = if p.is_tax_named { "" } else { "; its tax has a rate without a name, or none" };
        format!(
            "{} over {} and {} of tax is {}, {brought}; it says {} and {} of tax were given back, and its refunds come to {} and {}{unnamed}",
            p.id, p.amount, p.tax, p.state, p.refunded, p.refunded_tax, p.refunds, p.refunded_taxes
        )
    });
    look_at_taxes(db, tenant, found).await?;
    let rows = read(db, tenant, move |tx| Box::pin(recounts::bought_as_one(tx, tenant, ROWS_MAX))).await?;
    found.add_all(of, "purchase", rows, |(one, other)| {
        format!("{one} and {other} came of one payment, or brought one entry")
    });
    let rows = read(db, tenant, move |tx| Box::pin(recounts::unbought(tx, tenant, since, ROWS_MAX))).await?;
    found.add_all(of, "purchase", rows, |(number, amount, reference)| {
        format!("entry {number} brought {amount} for {reference:?}, which is no purchase and no invoice")
    });
    let rows = read(db, tenant, move |tx| Box::pin(recounts::misrefunded(tx, tenant, ROWS_MAX))).await?;
    found.add_all(of, "purchase", rows, |(id, state, amount, taken)| {
        format!("{id} is {state} with {amount} given back and {taken} taken from the credit, which does not fit, or not its purchase")
    });
    let rows = read(db, tenant, move |tx| Box::pin(recounts::unrefunded(tx, tenant, since, ROWS_MAX))).await?;
    found.add_all(of, "purchase", rows, |(reason, amount, more)| match more {
        1.. => format!("{more} entries took {amount} for {reason:?}, and there is no such refund"),
        _ => format!("{} refunds of {amount} for {reason:?} have no entry", -more),
    });
    let returned = read(db, tenant, move |tx| Box::pin(recounts::returned(tx, tenant))).await?;
    look_at_returns(tenant, &returned, found);
    Ok(())
}

/// The tax of each purchase is what its rate comes to, to the coin.
async fn look_at_taxes(db: &Db, tenant: TenantId, found: &mut Found) -> Result<(), Error> {
    let mut after = PurchaseId::from_ulid(0);
    loop {
        let page = read(db, tenant, move |tx| Box::pin(recounts::taxed(tx, tenant, after, PAGE))).await?;
        for p in &page {
            let coin = sale_tax::coin(&p.provider, &p.currency);
            if !sale_tax::fits(p.amount, p.tax, p.rate_ppm, coin) {
                found.add(Some(tenant), "purchase", || {
                    format!(
                        "the tax of {} is {}, and {} millionths of {} is not that",
                        p.id, p.tax, p.rate_ppm, p.amount
                    )
                });
            }
        }
        match page.last() {
            Some(last) if page.len() >= PAGE as usize => after = last.id,
            _ => return Ok(()),
        }
    }
}

/// A dispute as far as it moves money.
#[derive(Deserialize)]
struct Dispute {
    id: String,
    state: String,
    taken: i64,
    /// What the bank took, tax included; an earlier version knew of none.
    #[serde(default)]
    withdrawn: i64,
}

/// Refunds that failed brought back what they had taken, once; and disputes took what they say.
fn look_at_returns(tenant: TenantId, all: &Returned, found: &mut Found) {
    let of = Some(tenant);
    let mut returns: BTreeMap<&str, i64> = BTreeMap::new();
    let mut disputes: BTreeMap<(String, String), i64> = BTreeMap::new();
    for (kind, reference, amount) in &all.entries {
        match (kind.as_str(), reference.split_once(" (")) {
            ("refund_failed", _) => *returns.entry(reference).or_default() += amount,
            (_, Some((purchase, rest))) => {
                let id = rest.split_once(',').map_or(rest, |(id, _)| id);
                *disputes.entry((purchase.to_owned(), id.to_owned())).or_default() +=
                    if kind == "dispute" { *amount } else { -amount };
            }
            (_, None) => {
                found.add(of, "purchase", || format!("a {kind} of {amount} for {reference:?} names no purchase"))
            }
        }
    }
    let failed: BTreeMap<String, i64> = all
        .failed
        .iter()
        .filter(|(_, taken)| *taken != 0)
        .map(|(id, taken)| (format!("{id} failed"), *taken))
        .collect();
    for (name, taken) in &failed {
        let back = returns.remove(name.as_str()).unwrap_or(0);
        if back != *taken {
            found.add(of, "purchase", || format!("{name}: {taken} were taken for it, and {back} came back"));
        }
    }
    for (name, back) in returns {
        found.add(of, "purchase", || format!("{back} came back because {name}, which it did not"));
    }
    let is_over = |state: &str| {
        [DisputeState::Dropped, DisputeState::Won, DisputeState::Lost].iter().any(|over| over.as_str() == state)
    };
    for Disputed { id, amount, tax, disputes: text, is_disputed } in &all.disputed {
        let Ok(kept) = serde_json::from_str::<Vec<Dispute>>(text) else {
            found.add(of, "purchase", || format!("the disputes of {id} cannot be read"));
            continue;
        };
        if *is_disputed != kept.iter().any(|dispute| !is_over(&dispute.state)) {
            found.add(of, "purchase", || format!("{id} says it is disputed or not, and its disputes say the opposite"));
        }
        for dispute in &kept {
            let took = disputes.remove(&(id.to_string(), dispute.id.clone())).unwrap_or(0);
            if took != dispute.taken || !(0..=*amount).contains(&dispute.taken) {
                found.add(of, "purchase", || {
                    format!(
                        "{} of {id} over {amount} says {} were taken, the entries took {took}",
                        dispute.id, dispute.taken
                    )
                });
            }
            if *tax != 0 && !(0..=*tax).contains(&(dispute.withdrawn - dispute.taken)) {
                found.add(of, "purchase", || {
                    format!(
                        "{} of {id} over {amount} and {tax} of tax says the bank took {}, of which {} were credit",
                        dispute.id, dispute.withdrawn, dispute.taken
                    )
                });
            }
        }
    }
    for ((purchase, id), took) in disputes.into_iter().filter(|(_, took)| *took != 0) {
        let is_one = purchase.parse::<PurchaseId>().is_ok();
        found.add(of, "purchase", || {
            format!(
                "{took} were taken for {id} of {purchase}{}, which says nothing of it",
                if is_one { "" } else { ", no purchase" }
            )
        });
    }
}
