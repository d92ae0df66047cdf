//! Receipts for credit that was bought: what says on paper who paid whom how much, when and how.
//!
//! A receipt is no invoice: it has the purchase's id and no number of a series, and states no tax. It is written when it is asked for, with the seller and the customer of then; amount, day and payment
//! are those of the purchase.

use jiff::civil::Date;
use model::{PurchaseId, TenantId, Timestamp};
use store::{
    Scope, Tx, credits,
    purchases::{self, Purchase},
    subscriptions, tenants,
};

use super::{disputes, words};
use crate::{
    Engine, Error,
    documents::{self, InvoiceDocument, Item, Kind, Language, Look, Paper, Totals},
    invoices::{
        printing::{self, buyer, seller},
        renewing::customer,
        settings::BillingSettings,
    },
    keys::Caller,
    plans::{months, subscription::Customer},
};

/// What stands on a receipt.
struct Receipt {
    purchase: Purchase,
    /// When the credit was there.
    paid_at: Timestamp,
    /// What it was paid with, where that is known.
    paid_with: Option<String>,
    settings: BillingSettings,
    customer: Customer,
    timezone: String,
}

/// A purchase's receipt as PDF, and the name of the file. Needs the scope `purchases:read`; refused for a purchase that is not paid.
#[crate::boxed]
pub async fn document(engine: &Engine, caller: &Caller, id: PurchaseId) -> Result<(String, Vec<u8>), Error> {
    caller.need("purchases:read")?;
    let tenant = caller.need_tenant()?;
    let read = engine.ports.db.read(Scope::Tenant(tenant), move |tx| Box::pin(read(tx, tenant, id)));
    let receipt = read.await?;
    let look = printing::look(engine, &receipt.settings).await?;
    Ok((format!("receipt-{id}.pdf"), documents::draw(drawn(receipt, look)).await?))
}

async fn read(tx: &mut Tx, tenant: TenantId, id: PurchaseId) -> Result<Receipt, Error> {
    let purchase = purchases::find(tx, tenant, id).await?.ok_or_else(|| Error::not_found("purchase"))?;
    if purchase.state != "paid" {
        let detail = format!("The purchase is {}; it has a receipt once it is paid.", purchase.state);
        return Err(Error::conflict("purchase_not_paid", detail));
    }
    let entry = match purchase.entry {
        Some(number) => credits::entries(tx, tenant, number.saturating_add(1), 1).await?.into_iter().next(),
        None => None,
    };
    // What is kept now paid by itself if it was kept before.
    let kept = purchases::method(tx, tenant).await?;
    let kept = kept.filter(|kept| purchase.is_top_up && kept.created_at <= purchase.created_at);
    let subscription = subscriptions::find(tx, tenant).await?;
    let of = tenants::find(tx, tenant).await?.ok_or_else(|| Error::not_found("tenant"))?;
    Ok(Receipt {
        paid_at: entry.map_or(purchase.created_at, |entry| entry.at),
        paid_with: kept.map(|kept| kept.name),
        settings: BillingSettings::read(tx).await?,
        timezone: of.timezone.clone(),
        customer: customer(subscription.as_ref(), of),
        purchase,
    })
}

/// What is drawn of a receipt. Pure.
fn drawn(receipt: Receipt, look: Look) -> InvoiceDocument {
    let Receipt { purchase, paid_at, paid_with, settings, customer, timezone } = receipt;
    let (amount, currency) = (purchase.amount, &purchase.currency);
    let paid_on: Date = paid_at.jiff().to_zoned(months::zone(&timezone)).date();
    let payment = purchase.reference.clone().or(purchase.payment.clone()).or(purchase.session.clone());
    let references = [("Payment", payment), ("Paid with", paid_with)];
    let named = |(name, value): (&str, Option<String>)| value.map(|value| (name.to_owned(), value));
    let taken =
        [("was given back", purchase.refunded), ("was taken back by the payer's bank", disputes::views(&purchase).1)];
    let taken = taken.into_iter().filter(|(_, micros)| *micros != 0);
    let notes: Vec<String> = taken.map(|(what, micros)| format!("Of it {} {what}.", words(micros, currency))).collect();
    InvoiceDocument {
        kind: Kind::Invoice,
        title: Some("Receipt".to_owned()),
        language: Language::of(None),
        paper: Paper::A4,
        number: purchase.id.to_string(),
        issued_on: paid_on,
        due_on: None,
        period: None,
        references: references.into_iter().filter_map(named).collect(),
        seller: seller(&settings.seller),
        buyer: buyer(&customer),
        currency: currency.clone(),
        lines: vec![Item { description: "Prepaid credit".to_owned(), amount_micros: amount, ..Item::default() }],
        taxes: Vec::new(),
        totals: Totals { net_micros: amount, total_micros: amount, paid_micros: amount },
        payment: None,
        notes: Some(notes.join("\n")).filter(|notes| !notes.is_empty()),
        look,
    }
}
