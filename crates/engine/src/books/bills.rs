//! Invoices against their lines, their series of numbers, and the months they follow.

use std::collections::BTreeMap;

use model::{InvoiceId, TenantId, Timestamp};
use store::{
    Tx,
    invoices::{self, Invoice},
};

use super::{Found, PAGE, Verified};
use crate::{
    Error, demo,
    invoices::{Body, InvoiceState},
};

/// Checks invoices and their numbers.
pub(super) async fn look(tx: &mut Tx) -> Result<Verified, Error> {
    let mut found = Found::default();
    let mut numbers: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    let series = invoices::series(tx).await?;
    let mut ends: BTreeMap<TenantId, Timestamp> = BTreeMap::new();
    let mut after = InvoiceId::from_ulid(0);
    loop {
        let page = invoices::page(tx, after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after = last.id;
        for row in &page {
            found.verified.invoices += 1;
            look_at_bill(row, &mut ends, &mut found)?;
            let numbered = row.number.as_deref().and_then(|number| {
                let of = series.iter().filter(|(name, _)| number.starts_with(name.as_str()));
                let (name, _) = of.max_by_key(|(name, _)| name.len())?;
                Some((name.clone(), number[name.len()..].parse().ok()?))
            });
            match numbered {
                Some((name, number)) => numbers.entry(name).or_default().push(number),
                // A demo's is for show, and goes with its tenant.
                None if row.number.as_deref().is_some_and(|number| !number.starts_with(demo::bill::SERIES)) => {
                    found.add(Some(row.tenant_id), "invoice", || format!("{} is of no series", name(row)));
                }
                None => {}
            }
        }
    }
    for (name, last) in series {
        let mut given = numbers.remove(&name).unwrap_or_default();
        given.sort_unstable();
        for number in (1..=last).filter(|number| given.binary_search(number).is_err()) {
            found.add(None, "invoice", || format!("the number {name}{number:06} was given and has no invoice"));
        }
        for number in given.iter().filter(|number| **number > last) {
            found.add(None, "invoice", || format!("the number {name}{number:06} was never given"));
        }
    }
    Ok(found.verified)
}

fn name(row: &Invoice) -> String {
    row.number.clone().unwrap_or_else(|| row.id.to_string())
}

fn look_at_bill(row: &Invoice, ends: &mut BTreeMap<TenantId, Timestamp>, found: &mut Found) -> Result<(), Error> {
    let of = Some(row.tenant_id);
    let body = Body::from_stored(&row.body)?;
    let net: i64 = body.lines.iter().map(|line| line.amount_micros).sum();
    let total = net + body.taxes.iter().map(|tax| tax.amount_micros).sum::<i64>();
    if net != body.net || total != row.total {
        found.add(of, "invoice", || {
            format!(
                "{}: its lines come to {net} and {total} with taxes, it says {} and {}",
                name(row),
                body.net,
                row.total
            )
        });
    }
    let has_number = row.number.is_some();
    let is_draft = row.state == InvoiceState::Draft.as_str();
    if (is_draft && has_number) || (!is_draft && !has_number && row.state != InvoiceState::Void.as_str()) {
        found.add(of, "invoice", || format!("{} is {}, and its number does not fit that", name(row), row.state));
    }
    if row.of_id.is_none() {
        if ends.get(&row.tenant_id).is_some_and(|end| row.starts_at < *end) {
            found.add(of, "invoice", || format!("{} bills again what an earlier invoice billed", name(row)));
        }
        ends.insert(row.tenant_id, row.ends_at);
    }
    Ok(())
}
