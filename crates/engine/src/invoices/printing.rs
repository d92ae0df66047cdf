//! Invoices on paper: the PDF, with the operator's branding.

use jiff::civil::Date;
use model::{InvoiceId, TenantId, Timestamp};
use store::{Scope, invoices::Invoice};

use super::{
    Body, InvoiceKind, InvoiceState, found, is_owed,
    settings::{BillingSettings, Seller},
};
use crate::{
    Engine, Error,
    branding::{self, Branding},
    documents::{self, InvoiceDocument, Item, Kind, Language, Look, Paper, Party, TaxLine, Totals},
    keys::Caller,
    plans::{months, subscription::Customer},
};

/// An invoice as PDF, and the name of the file. Needs the scope `invoices:read`.
#[crate::boxed]
pub async fn document(engine: &Engine, caller: &Caller, id: InvoiceId) -> Result<(String, Vec<u8>), Error> {
    caller.need("invoices:read")?;
    let row = found(engine, caller, id).await?;
    print(engine, &row).await
}

pub(super) async fn print(engine: &Engine, row: &Invoice) -> Result<(String, Vec<u8>), Error> {
    let read = engine.ports.db.read(Scope::System, |tx| Box::pin(BillingSettings::read(tx)));
    let look = look(engine, &read.await?).await?;
    let body = Body::from_stored(&row.body)?;
    // What was issued stays as it was, whatever the tenant's clock is by now.
    let timezone = match body.timezone.clone() {
        Some(timezone) => timezone,
        None => engine
            .parts()
            .directory
            .tenant(row.tenant_id)
            .await?
            .map_or_else(|| "UTC".to_owned(), |tenant| tenant.timezone.clone()),
    };
    let document = drawn(row, body, &timezone, look);
    let file = format!("invoice-{}.pdf", document.number.replace('/', "-"));
    Ok((file, documents::draw(document).await?))
}

/// How the operator's documents look: as the tenant of its own does through which invoices leave.
pub(crate) async fn look(engine: &Engine, settings: &BillingSettings) -> Result<Look, Error> {
    let known = match mail_tenant(engine, settings) {
        Some(tenant) => engine.parts().directory.tenant(tenant).await?,
        None => None,
    };
    match known {
        Some(known) => Ok(Look::of(&known.branding, branding::logo(engine, known.id, &known.branding).await?)),
        None => Ok(Look::of(&Branding::default(), None)),
    }
}

/// The tenant of the operator's own through which invoices leave.
pub(super) fn mail_tenant(engine: &Engine, settings: &BillingSettings) -> Option<TenantId> {
    settings.mail_tenant_id.or(engine.config.mail_tenant)
}

/// What is drawn of an invoice. Pure.
pub(super) fn drawn(row: &Invoice, body: Body, timezone: &str, look: Look) -> InvoiceDocument {
    let zone = months::zone(timezone);
    let day = |at: Timestamp| -> Date { at.jiff().to_zoned(zone.clone()).date() };
    let micros = |quantity: i64| quantity.saturating_mul(1_000_000);
    let lines = body.lines.iter().map(|line| Item {
        description: line.description.clone(),
        quantity_micros: Some(micros(line.quantity)),
        unit: None,
        unit_price_micros: line.unit_micros,
        tax_rate_micros: None,
        amount_micros: line.amount_micros,
    });
    let taxes = body.taxes.iter().map(|tax| TaxLine {
        name: tax.name.clone(),
        // A millionth of the amount is a ten-thousandth of a percent.
        rate_micros: Some(tax.rate_ppm.saturating_mul(100)),
        base_micros: body.net,
        amount_micros: tax.amount_micros,
    });
    let is_paid = row.state == InvoiceState::Paid.as_str();
    let kind = match InvoiceKind::from_stored(&row.kind) {
        InvoiceKind::Invoice | InvoiceKind::Correction => Kind::Invoice,
        InvoiceKind::CreditNote => Kind::CreditNote,
    };
    let word = if body.replaces.is_some() { "Replaces" } else { "Invoice" };
    let of = body.of_number.into_iter().map(|number| (word.to_owned(), number));
    let reason = body.reason.into_iter().map(|reason| ("Reason".to_owned(), reason));
    InvoiceDocument {
        kind,
        title: None,
        language: Language::of(None),
        paper: Paper::A4,
        number: row.number.clone().unwrap_or_else(|| "draft".to_owned()),
        issued_on: day(row.issued_at.unwrap_or(row.created_at)),
        due_on: row.due_at.filter(|_| is_owed(row)).map(day),
        period: Some((day(row.starts_at), day(row.ends_at.plus_millis(-1)))),
        references: of.chain(reason).collect(),
        seller: seller(&body.seller),
        buyer: buyer(&body.customer),
        currency: row.currency.clone(),
        lines: lines.collect(),
        taxes: taxes.collect(),
        totals: Totals {
            net_micros: body.net,
            total_micros: row.total,
            paid_micros: if is_paid && is_owed(row) { row.total } else { 0 },
        },
        payment: Some(body.payment.join("\n")).filter(|text| !text.is_empty() && is_owed(row)),
        notes: body.note,
        look,
    }
}

pub(crate) fn seller(seller: &Seller) -> Party {
    Party {
        name: seller.name.clone(),
        address: seller.address.clone(),
        tax_id: seller.tax_id.clone(),
        email: seller.email.clone(),
        phone: None,
    }
}

pub(crate) fn buyer(customer: &Customer) -> Party {
    Party {
        name: customer.name.clone().unwrap_or_default(),
        address: customer.address.clone(),
        tax_id: customer.tax_id.clone(),
        email: customer.email.clone(),
        phone: None,
    }
}
