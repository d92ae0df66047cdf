//! Bills that are written anew: drafts with what is known of customer, tax, seller and payment by now, and drafts in the place of what was taken back.
//!
//! Lines are never worked out again: what is on a bill was counted once, and what is learned about it later is put right on the next one. So a month is on one bill that stands,
//! however often it was taken back.

use std::collections::BTreeSet;

use model::{InvoiceId, TenantId, Timestamp};
use store::{
    Tx,
    invoices::{self as rows, Invoice},
    subscriptions::{self, Subscription},
    tenants::{self, Tenant},
};

use super::{
    Body,
    acts::drafted,
    compose::{TaxRate, taxed},
    printable,
    settings::BillingSettings,
};
use crate::{Error, documents::figures::minor_unit, plans::subscription::Customer};

/// Whom a tenant's bills are addressed to by now, and with which tax.
pub(super) fn addressee(
    subscription: &Subscription,
    tenant: Tenant,
    settings: &BillingSettings,
) -> (Customer, Option<TaxRate>) {
    let customer = customer(Some(subscription), tenant);
    let tax = settings.tax(&customer, customer.country.as_deref());
    (customer, tax)
}

/// Whom a tenant's documents are addressed to by now.
pub(crate) fn customer(subscription: Option<&Subscription>, tenant: Tenant) -> Customer {
    let said = subscription.map(|row| Customer::from_stored(&row.customer)).unwrap_or_default();
    Customer { country: said.country.or(tenant.default_country), name: said.name.or(Some(tenant.name)), ..said }
}

/// Writes a draft anew, and answers what it says.
pub(super) async fn renew(
    tx: &mut Tx,
    settings: &BillingSettings,
    row: &mut Invoice,
    now: Timestamp,
) -> Result<Body, Error> {
    let mut body = Body::from_stored(&row.body)?;
    let subscription = subscriptions::find(tx, row.tenant_id).await?;
    let tenant = tenants::find(tx, row.tenant_id).await?;
    let is_gone = tenant.is_none();
    let (customer, tax) = match subscription.zip(tenant) {
        Some((subscription, tenant)) => addressee(&subscription, tenant, settings),
        // A tenant that is gone has no other address than the one that stands there.
        None => {
            let tax = settings.tax(&body.customer, body.customer.country.as_deref());
            (body.customer, tax)
        }
    };
    let coin = minor_unit(&row.currency);
    body.customer = customer;
    body.taxes = tax.iter().map(|tax| taxed(tax, body.net, coin)).collect();
    body.seller = settings.seller.clone();
    (body.payment, body.note, body.due_days) = (settings.payment.clone(), settings.note.clone(), settings.due_days);
    printable::rename_plan(tx, row, &mut body).await?;
    if is_gone {
        printable::spell_out(row, &mut body);
    }
    row.total = body.taxes.iter().fold(body.net, |sum, tax| sum.saturating_add(tax.amount_micros));
    row.body = serde_json::to_string(&body).map_err(Error::internal)?;
    row.updated_at = now;
    rows::rewrite(tx, row.tenant_id, row).await?;
    Ok(body)
}

/// Makes a draft that says what a bill says that was taken back, and answers it.
pub(super) async fn replace(
    tx: &mut Tx,
    settings: &BillingSettings,
    of: &Invoice,
    id: InvoiceId,
    now: Timestamp,
) -> Result<Invoice, Error> {
    let mut body = Body::from_stored(&of.body)?;
    body.of_number = of.number.clone().or(body.of_number);
    body.replaces = Some(of.id);
    let mut draft = drafted(of, id, &body, now)?;
    rows::insert(tx, of.tenant_id, &draft).await?;
    renew(tx, settings, &mut draft, now).await?;
    Ok(draft)
}

/// The bill that stands in the place of one that was taken back.
pub(super) async fn in_place_of(tx: &mut Tx, tenant: TenantId, id: InvoiceId) -> Result<Option<Invoice>, Error> {
    for row in rows::bills(tx, tenant).await? {
        if Body::from_stored(&row.body)?.replaces == Some(id) {
            return Ok(Some(row));
        }
    }
    Ok(None)
}

/// The bills in whose place one of these stands.
pub(crate) fn replaced(bills: &[(Invoice, Body)]) -> BTreeSet<InvoiceId> {
    bills.iter().filter_map(|(_, body)| body.replaces).collect()
}

/// Bills with what they say, without those in whose place another one stands.
pub(crate) fn standing(bills: Vec<(Invoice, Body)>) -> Vec<(Invoice, Body)> {
    let replaced = replaced(&bills);
    bills.into_iter().filter(|(row, _)| !replaced.contains(&row.id)).collect()
}
