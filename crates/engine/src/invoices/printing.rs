//! Invoices on paper and by mail: the PDF, with the operator's branding, and sending it through an account of the operator's own.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::civil::Date;
use model::{Channel, InvoiceId, MessageId, TenantId, Timestamp};
use serde_json::{Value, json};
use store::{
    Scope,
    invoices::{self as rows, Invoice},
};

use super::{
    Act, Body, InvoiceKind, InvoiceState, InvoiceView, act, found,
    settings::{BillingSettings, Seller},
    view,
};
use crate::{
    Engine, Error, ErrorKind,
    branding::{self, Branding},
    documents::{self, InvoiceDocument, Item, Kind, Language, Look, Paper, Party, TaxLine, Totals},
    keys::Caller,
    once::{IdempotencyKey, Repeat, Reply, replay},
    plans::{months, subscription::Customer},
};

/// Invoices one run of the job sends.
const SEND_PAGE: i64 = 50;
/// How long after its issue an invoice may still be sent by itself, in seconds: what could not leave for three days, somebody has to look at.
const SEND_WITHIN_S: i64 = 3 * 86_400;

/// An invoice as PDF, and the name of the file. Needs the scope `invoices:read`.
#[crate::boxed]
pub async fn document(engine: &Engine, caller: &Caller, id: InvoiceId) -> Result<(String, Vec<u8>), Error> {
    caller.need("invoices:read")?;
    let row = found(engine, caller, id).await?;
    print(engine, &row).await
}

async fn print(engine: &Engine, row: &Invoice) -> Result<(String, Vec<u8>), Error> {
    let read = engine.ports.db.read(Scope::System, |tx| Box::pin(BillingSettings::read(tx)));
    let settings: BillingSettings = read.await?;
    let (branding, logo) = match mail_tenant(engine, &settings) {
        Some(tenant) => match engine.parts().directory.tenant(tenant).await? {
            Some(known) => (known.branding.clone(), branding::logo(engine, tenant, &known.branding).await?),
            None => (Branding::default(), None),
        },
        None => (Branding::default(), None),
    };
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
    let document = drawn(row, body, &timezone, Look::of(&branding, logo));
    let file = format!("invoice-{}.pdf", document.number.replace('/', "-"));
    Ok((file, documents::draw(document).await?))
}

/// The tenant of the operator's own through which invoices leave.
fn mail_tenant(engine: &Engine, settings: &BillingSettings) -> Option<TenantId> {
    settings.mail_tenant_id.or(engine.config.mail_tenant)
}

/// What is drawn of an invoice. Pure.
fn drawn(row: &Invoice, body: Body, timezone: &str, look: Look) -> InvoiceDocument {
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
    let of = body.of_number.into_iter().map(|number| ("Invoice".to_owned(), number));
    let reason = body.reason.into_iter().map(|reason| ("Reason".to_owned(), reason));
    InvoiceDocument {
        kind: match InvoiceKind::from_stored(&row.kind) {
            InvoiceKind::Invoice => Kind::Invoice,
            InvoiceKind::CreditNote => Kind::CreditNote,
        },
        title: None,
        language: Language::of(None),
        paper: Paper::A4,
        number: row.number.clone().unwrap_or_else(|| "draft".to_owned()),
        issued_on: day(row.issued_at.unwrap_or(row.created_at)),
        due_on: row.due_at.map(day),
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
            paid_micros: if is_paid && row.total > 0 { row.total } else { 0 },
        },
        payment: Some(body.payment.join("\n")).filter(|text| !text.is_empty()),
        notes: body.note,
        look,
    }
}

fn seller(seller: &Seller) -> Party {
    Party {
        name: seller.name.clone(),
        address: seller.address.clone(),
        tax_id: seller.tax_id.clone(),
        email: seller.email.clone(),
        phone: None,
    }
}

fn buyer(customer: &Customer) -> Party {
    Party {
        name: customer.name.clone().unwrap_or_default(),
        address: customer.address.clone(),
        tax_id: customer.tax_id.clone(),
        email: customer.email.clone(),
        phone: None,
    }
}

/// Sends an issued invoice to its customer, again if it was sent before. Needs an operator with the scope `invoices:write`.
#[crate::boxed]
pub async fn send(engine: &Engine, caller: &Caller, repeat: &Repeat, id: InvoiceId) -> Result<Reply, Error> {
    caller.need_operator("invoices:write")?;
    let by = Caller { tenant: None, ..caller.clone() };
    if let Some(before) = replay(engine.parts(), &by, repeat).await? {
        return Ok(before);
    }
    let row = found(engine, caller, id).await?;
    let now = engine.ports.clock.now();
    let mail = post(engine, &row, &format!("again at {}", now.as_micros())).await?;
    act(engine, caller, repeat, id, Act::Sent(mail)).await
}

/// Hands an invoice to the engine as a mail. It is on disk when this returns; `occasion` makes a repeated one the same.
async fn post(engine: &Engine, row: &Invoice, occasion: &str) -> Result<MessageId, Error> {
    let seen: InvoiceView = view(row, engine.ports.clock.now())?;
    let Some(number) = seen.number else {
        return Err(Error::conflict("invoice_state", "A draft cannot be sent; issue it first."));
    };
    let Some(to) = seen.customer.email else {
        let detail =
            "The customer has no e-mail address; give one with PATCH /v1/subscription. It counts for the next invoice.";
        return Err(Error::conflict("invoice_without_recipient", detail));
    };
    let read = engine.ports.db.read(Scope::System, |tx| Box::pin(BillingSettings::read(tx)));
    let settings: BillingSettings = read.await?;
    let Some(tenant) = mail_tenant(engine, &settings) else {
        let detail = "There is no tenant through whose account invoices leave: set `mail_tenant_id` with PATCH /v1/billing-settings.";
        return Err(Error::new(ErrorKind::Conflict, "mail_tenant_missing", detail));
    };
    let (_, from) = engine.tenant(tenant).await?;
    if !from.accounts.iter().any(|account| account.is_enabled && account.channels.contains(&Channel::Email)) {
        let detail = format!("The tenant {tenant}, through which invoices leave, has no e-mail account that works.");
        return Err(Error::new(ErrorKind::Conflict, "mail_tenant_missing", detail));
    }
    let (file, pdf) = print(engine, row).await?;
    let word = match seen.kind {
        InvoiceKind::Invoice => "Invoice",
        InvoiceKind::CreditNote => "Credit note",
    };
    let request = json!({
        "to": {"email": to}, "channel": "email", "purpose": "transactional",
        "content": {
            "subject": "{{ word }} {{ number }}",
            "text": "Hello,\n\nattached is {{ word }} {{ number }} for {{ month }}.\n{% if seller %}\n{{ seller }}\n{% endif %}",
        },
        "variables": {"word": word, "number": number, "month": seen.month, "seller": seen.seller.name},
        "attachments": [{"filename": file, "content_type": "application/pdf", "content_base64": STANDARD.encode(pdf)}],
        "metadata": {"invoice_id": seen.id},
    });
    let key = IdempotencyKey::parse(&format!("{}-{}", seen.id, occasion.replace(' ', "-")))?;
    let reply = engine.send(&Caller::system(Some(tenant)), request.to_string().as_bytes(), Some(key)).await?;
    let made: Value = serde_json::from_slice(&reply.body).map_err(Error::internal)?;
    made["id"].as_str().and_then(|id| id.parse().ok()).ok_or_else(|| Error::internal("an accepted message has no id"))
}

/// Sends the invoices that were issued and not sent yet, of customers that have an address. Answers how many.
#[crate::boxed]
pub async fn send_new(engine: &Arc<Engine>) -> Result<u64, Error> {
    let since = engine.ports.clock.now().plus_seconds(-SEND_WITHIN_S);
    let read = engine.ports.db.read(Scope::System, move |tx| {
        Box::pin(async move {
            let settings = BillingSettings::read(tx).await?;
            if !settings.sends_by_itself {
                return Ok::<_, Error>((settings, Vec::new()));
            }
            Ok((settings, rows::unsent(tx, since, SEND_PAGE).await?))
        })
    });
    let (settings, unsent) = read.await?;
    if mail_tenant(engine, &settings).is_none() {
        return Ok(0);
    }
    let mut sent = 0;
    for row in unsent {
        let has_address = Body::from_stored(&row.body)?.customer.email.is_some();
        // A tenant that is gone gets no more mail; an invoice nobody can be sent is passed over.
        if !has_address || engine.parts().directory.tenant(row.tenant_id).await?.is_none() {
            continue;
        }
        match post(engine, &row, "first").await {
            Ok(mail) => {
                note(engine, &row, mail).await?;
                sent += 1;
            }
            Err(error) => tracing::warn!(%error, invoice.id = %row.id, "An invoice cannot be sent now"),
        }
    }
    Ok(sent)
}

/// Notes that an invoice was sent. The mail has a key of its own, so a process that dies before this sends it once all the same.
async fn note(engine: &Engine, row: &Invoice, mail: MessageId) -> Result<(), Error> {
    let (tenant, id, now) = (row.tenant_id, row.id, engine.ports.clock.now());
    let write = engine.ports.db.write(Scope::Tenant(tenant), move |tx| {
        Box::pin(async move {
            if let Some(mut row) = rows::lock(tx, tenant, id).await? {
                (row.mailed_at, row.mail_id, row.updated_at) = (Some(now), Some(mail), now);
                rows::update(tx, tenant, &row).await?;
            }
            Ok::<_, Error>(())
        })
    });
    write.await
}
