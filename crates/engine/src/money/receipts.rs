//! Receipts for credit that was bought: what says on paper who paid whom how much, when and how.
//!
//! A receipt has the purchase's id and no number of a series. It is written when it is asked for, with the seller and the customer of then; amount, tax, the customer's tax number, day and payment are
//! those of the purchase. Where the credit was sold without tax, it states none.

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
    documents::{self, InvoiceDocument, Item, Kind, Language, Look, Paper, TaxLine, Totals},
    invoices::{
        printable,
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

/// A purchase's receipt as PDF, and the name of the file. Needs the scope `purchases:read`; refused for a purchase that is not paid, and where a name has characters no font has.
#[crate::boxed]
pub async fn document(engine: &Engine, caller: &Caller, id: PurchaseId) -> Result<(String, Vec<u8>), Error> {
    caller.need("purchases:read")?;
    let tenant = caller.need_tenant()?;
    let read = engine.ports.db.read(Scope::Tenant(tenant), move |tx| Box::pin(read(tx, tenant, id)));
    let receipt = read.await?;
    let look = printing::look(engine, &receipt.settings).await?;
    let document = drawn(receipt, look);
    if let Some(why) = printable::said(&documents::uncovered(&document)) {
        return Err(Error::conflict("receipt_unprintable", why));
    }
    Ok((format!("receipt-{id}.pdf"), documents::draw(document).await?))
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
    let Receipt { purchase, paid_at, paid_with, settings, mut customer, timezone } = receipt;
    let (amount, total, currency) = (purchase.amount, purchase.total(), &purchase.currency);
    let paid_on: Date = paid_at.jiff().to_zoned(months::zone(&timezone)).date();
    let payment = purchase.reference.clone().or(purchase.payment.clone()).or(purchase.session.clone());
    // What somebody wrote of a payment stays as it is; where no font has it, the purchase's id has to do.
    let payment = payment.filter(|text| documents::without_font(text).is_none());
    let references = [("Payment", payment), ("Paid with", paid_with)];
    let named = |(name, value): (&str, Option<String>)| value.map(|value| (name.to_owned(), value));
    let disputed = disputes::withdrawn(&purchase, None).total();
    let taken = [
        ("was given back", purchase.refunded.saturating_add(purchase.refunded_tax)),
        ("was taken back by the payer's bank", disputed),
    ];
    let taken = taken.into_iter().filter(|(_, micros)| *micros != 0);
    let notes: Vec<String> = taken.map(|(what, micros)| format!("Of it {} {what}.", words(micros, currency))).collect();
    if let Some(tax) = &purchase.tax {
        customer.tax_id.clone_from(&tax.number);
    }
    let taxes = purchase.tax.iter().map(|tax| TaxLine {
        name: tax.name.clone(),
        // A millionth of the amount is a ten-thousandth of a percent.
        rate_micros: Some(tax.rate_ppm.saturating_mul(100)),
        base_micros: amount,
        amount_micros: tax.amount,
    });
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
        taxes: taxes.collect(),
        totals: Totals { net_micros: amount, total_micros: total, paid_micros: total },
        payment: None,
        notes: Some(notes.join("\n")).filter(|notes| !notes.is_empty()),
        look,
    }
}
