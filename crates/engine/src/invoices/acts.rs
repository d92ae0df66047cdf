//! What is done to an invoice: written anew, issued, paid, sent, taken back and billed again. Each is one transaction with what the ledger, the subscription and the audit logs say of it.

use std::sync::Arc;

use model::{InvoiceId, MessageId, TenantId, Timestamp};
use serde_json::{Value, json};
use store::{
    Tx, credits,
    invoices::{self as rows, Invoice, Mail},
    subscriptions, tenants,
};

use super::{
    Body, InvoiceKind, InvoicePayment, InvoiceState,
    digest::Digest,
    found, is_note, is_owed, mailing, printable, renewing,
    settings::BillingSettings,
    telling::{note, note_issued, tell, write_down},
    view,
};
use crate::{
    Engine, Error,
    keys::Caller,
    money::ledger::{Book, Cause, Open},
    once::{Repeat, Reply, Secrecy, once},
};

/// What an act led to besides what became of its invoice.
#[derive(Default)]
struct Led {
    /// The invoice for which the tenant is past due from now on, because another one is not to be paid any more.
    overdue: Option<Invoice>,
    /// What takes the invoice back.
    credit_note: Option<Invoice>,
}

/// What is done to an invoice.
pub(super) enum Act {
    Renew,
    Issue,
    Pay(InvoicePayment),
    Sent {
        tenant: TenantId,
        mail: MessageId,
    },
    /// `note` is the id of the credit note, `again` that of the draft in its place.
    Void {
        reason: String,
        note: InvoiceId,
        again: Option<InvoiceId>,
    },
    /// With the id of the draft.
    BillAgain(InvoiceId),
}

impl Act {
    /// Its name in the audit log, which is also the type of the event that tells of it.
    const fn name(&self) -> &'static str {
        match self {
            Self::Renew => "invoice.renewed",
            Self::Issue => "invoice.issued",
            Self::Pay(_) => "invoice.paid",
            Self::Sent { .. } => "invoice.sent",
            Self::Void { .. } => "invoice.voided",
            Self::BillAgain(_) => "invoice.billed_again",
        }
    }

    /// What the audit log tells of it besides what became of the invoice.
    fn detail(&self, row: &Invoice) -> Value {
        match self {
            Self::Renew | Self::Issue => json!({}),
            Self::Pay(payment) => json!({"reference": payment.reference}),
            Self::Sent { tenant, mail } => json!({"message_id": mail, "mail_tenant_id": tenant}),
            // A draft is taken back without one.
            Self::Void { reason, note, again } => {
                json!({"reason": reason, "credit_note_id": row.number.as_ref().map(|_| note), "replaced_by_id": again})
            }
            // What becomes of it is told of the draft.
            Self::BillAgain(draft) => json!({"replaced_by_id": draft, "of_number": row.number}),
        }
    }

    async fn perform(self, tx: &mut Tx, row: &mut Invoice, now: Timestamp, by: &Caller) -> Result<Led, Error> {
        let state = InvoiceState::from_stored(&row.state);
        match self {
            Self::Renew if state == InvoiceState::Draft => {
                let settings = BillingSettings::read(tx).await?;
                let body = renewing::renew(tx, &settings, row, now).await?;
                if row.mail.state.is_some() {
                    let why = printable::problem(row, &body);
                    row.mail = why.map_or_else(Mail::default, |why| printable::held(&why));
                    rows::update(tx, row.tenant_id, row).await?;
                }
                Ok(Led::default())
            }
            Self::Renew => Err(wrong_state(row, "only a draft can be written anew")),
            Self::Issue if state == InvoiceState::Draft => {
                let settings = BillingSettings::read(tx).await?;
                let body = renewing::renew(tx, &settings, row, now).await?;
                if let Some(why) = printable::problem(row, &body) {
                    return Err(why);
                }
                row.mail = Mail::default();
                finish(tx, &settings, row, now).await?;
                Ok(Led::default())
            }
            Self::Issue => Err(wrong_state(row, "only a draft can be issued")),
            Self::Pay(payment) if state == InvoiceState::Issued => {
                if payment.paid_at.is_some_and(|at| at < row.starts_at) {
                    let detail = format!("not before {}, when what it bills began", row.starts_at);
                    return Err(Error::invalid("/paid_at", detail));
                }
                if payment.paid_at.is_some_and(|at| at > now) {
                    let detail = "not later than now; a payment is recorded when it has arrived";
                    return Err(Error::invalid("/paid_at", detail));
                }
                row.state = InvoiceState::Paid.as_str().to_owned();
                (row.paid_at, row.payment) = (Some(payment.paid_at.unwrap_or(now)), Some(payment.reference));
                row.updated_at = now;
                rows::update(tx, row.tenant_id, row).await?;
                let owed = Body::from_stored(&row.body)?.postpaid();
                even_out(tx, row, owed, Book::Purchased, "purchase", Some(by.actor()), now).await?;
                Ok(Led { overdue: settle_arrears(tx, row.tenant_id, now).await?, credit_note: None })
            }
            Self::Pay(_) => Err(wrong_state(row, "only an issued invoice can be paid")),
            Self::Sent { tenant, mail } => {
                mailing::accepted(row, tenant, mail, now);
                rows::update(tx, row.tenant_id, row).await?;
                Ok(Led::default())
            }
            Self::Void { reason, note, again } if state != InvoiceState::Void && !is_note(row) => {
                let settings = BillingSettings::read(tx).await?;
                let mut credit_note = None;
                if state != InvoiceState::Draft {
                    let note = credit_note.insert(credit_note_of(row, note, reason, now)?);
                    rows::insert(tx, row.tenant_id, note).await?;
                    finish(tx, &settings, note, now).await?;
                }
                let owed = Body::from_stored(&row.body)?.postpaid();
                let moved = match (state == InvoiceState::Paid, again.is_some()) {
                    // What need not be paid any more is owed no more.
                    (false, false) => owed,
                    // Of what was paid, the operator gives the money back, and it is to be paid again.
                    (true, true) => -owed,
                    (false, true) | (true, false) => 0,
                };
                even_out(tx, row, moved, Book::Adjusted, "adjustment", Some(by.actor()), now).await?;
                row.state = InvoiceState::Void.as_str().to_owned();
                (row.voided_at, row.updated_at) = (Some(now), now);
                // What was taken back is not mailed any more; the credit note is.
                row.mail.due_at = None;
                rows::update(tx, row.tenant_id, row).await?;
                // Only now: a month stands on one bill at a time.
                if let Some(id) = again {
                    renewing::replace(tx, &settings, row, id, now).await?;
                }
                Ok(Led { overdue: settle_arrears(tx, row.tenant_id, now).await?, credit_note })
            }
            Self::Void { .. } => Err(wrong_state(row, "only an invoice that was not taken back yet can be")),
            Self::BillAgain(draft) if state == InvoiceState::Void => {
                // What was billed stands on one bill at a time.
                if let Some(other) = renewing::in_place_of(tx, row.tenant_id, row.id).await? {
                    let (name, id) = (other.number.as_deref().unwrap_or("A draft"), other.id);
                    let detail = match other.state == InvoiceState::Void.as_str() {
                        true => format!("{name} stood in its place and was taken back, too: bill {id} again instead."),
                        false => format!("{name} stands in its place: {id}. Take that back if it is wrong."),
                    };
                    return Err(Error::conflict("invoice_billed_again", detail));
                }
                let settings = BillingSettings::read(tx).await?;
                // It was given away, or paid and the operator gave the money back: it is owed again.
                let owed = Body::from_stored(&row.body)?.postpaid();
                even_out(tx, row, -owed, Book::Adjusted, "adjustment", Some(by.actor()), now).await?;
                *row = renewing::replace(tx, &settings, row, draft, now).await?;
                Ok(Led { overdue: settle_arrears(tx, row.tenant_id, now).await?, credit_note: None })
            }
            Self::BillAgain(_) => Err(wrong_state(row, "only a bill that was taken back can be billed again")),
        }
    }
}

/// Does something to an invoice in one transaction with what is told about it.
pub(super) async fn act(
    engine: &Engine,
    caller: &Caller,
    repeat: &Repeat,
    id: InvoiceId,
    act: Act,
) -> Result<Reply, Error> {
    caller.need_operator("invoices:write")?;
    let tenant_id = found(engine, caller, id).await?.tenant_id;
    // Invoices outlive their tenant, and are paid or taken back all the same.
    let tenant = engine.parts().directory.tenant(tenant_id).await?;
    if tenant.as_ref().is_some_and(|tenant| tenant.is_demo) {
        let detail = "The invoice of a demo tenant is for show: nobody pays it, sends it or takes it back.";
        return Err(Error::conflict("demo_tenant", detail));
    }
    let (now, shard, ids) = (engine.ports.clock.now(), engine.shard(), Arc::clone(&engine.ports.ids));
    let by = Caller { tenant: None, ..caller.clone() };
    let inner = by.clone();
    let status = if matches!(act, Act::BillAgain(_)) { 201 } else { 200 };
    let reply = once(engine.parts(), &by, repeat, status, Secrecy::Plain, move |tx| {
        Box::pin(async move {
            // Two who do something about one tenant's invoices wait for each other here.
            tenants::bump(tx, Some(tenant_id)).await?;
            // Before the ledger, in the order in which closing a month takes them.
            subscriptions::lock(tx, tenant_id).await?;
            let row = rows::lock(tx, tenant_id, id).await?;
            let mut row = row.ok_or_else(|| Error::not_found("invoice"))?;
            let (before, what) = (row.state.clone(), act.name());
            let mut detail = act.detail(&row);
            let Led { overdue, credit_note } = act.perform(tx, &mut row, now, &inner).await?;
            detail["state"] = json!({"from": before, "to": row.state});
            detail["number"] = json!(row.number);
            detail["total_micros"] = json!(row.total);
            detail["currency"] = json!(row.currency);
            if row.paid_at.is_some() {
                detail["paid_at"] = json!(row.paid_at);
            }
            // From now on it says what it says.
            if before == InvoiceState::Draft.as_str() && row.state != before {
                detail["digest"] = json!(Digest::of(&row));
            }
            write_down(tx, tenant.as_deref(), &row, (what, id), &detail, &inner, &ids, now).await?;
            if let Some(credit_note) = &credit_note {
                note_issued(tx, tenant.as_deref(), credit_note, &inner, &ids, now).await?;
            }
            if let Some(tenant) = &tenant {
                // The logs first, and then the events: whoever writes both locks them in this order.
                if let Some(overdue) = &overdue {
                    note(tx, Some(tenant), overdue, "invoice.overdue", &ids, now).await?;
                }
                // Tenants do not see drafts.
                if row.number.is_some() {
                    tell(tx, tenant, &row, what, &ids, now, shard).await?;
                }
                // Marketing stops for this one from now on.
                if let Some(overdue) = &overdue {
                    tell(tx, tenant, overdue, "invoice.overdue", &ids, now, shard).await?;
                }
            }
            view(&row, now)
        })
    });
    let reply = reply.await?;
    engine.parts().directory.catch_up().await;
    engine.wakers.wake(tenant_id);
    Ok(reply)
}

/// What takes an invoice back, not yet issued.
fn credit_note_of(of: &Invoice, id: InvoiceId, reason: String, now: Timestamp) -> Result<Invoice, Error> {
    let mut body = Body::from_stored(&of.body)?;
    for line in &mut body.lines {
        (line.quantity, line.amount_micros) = (-line.quantity, -line.amount_micros);
    }
    body.net = -body.net;
    body.taxes.iter_mut().for_each(|tax| tax.amount_micros = -tax.amount_micros);
    (body.of_number, body.replaces, body.reason) = (of.number.clone(), None, Some(reason));
    // Nobody pays it by the means an invoice is paid by.
    body.payment.clear();
    let kind = InvoiceKind::CreditNote.as_str().to_owned();
    Ok(Invoice { kind, of_id: Some(of.id), total: -of.total, ..drafted(of, id, &body, now)? })
}

/// A draft for the same tenant and time as another invoice, which says something else.
pub(super) fn drafted(of: &Invoice, id: InvoiceId, body: &Body, now: Timestamp) -> Result<Invoice, Error> {
    let time = (of.starts_at, of.ends_at);
    Ok(Invoice {
        total: of.total,
        body: serde_json::to_string(body).map_err(Error::internal)?,
        ..Invoice::draft(of.tenant_id, id, &of.kind, &of.currency, time, now)
    })
}

/// Gives an invoice its number, and lets it go out. Where nothing is to be paid it is paid at once.
pub(super) async fn finish(
    tx: &mut Tx,
    settings: &BillingSettings,
    row: &mut Invoice,
    now: Timestamp,
) -> Result<(), Error> {
    let body = Body::from_stored(&row.body)?;
    let series = if is_note(row) { &settings.credit_note_series } else { &settings.series };
    if settings.sends_by_itself {
        row.mail = mailing::waiting(now);
    }
    let number = rows::next_number(tx, series).await?;
    row.number = Some(format!("{series}{number:06}"));
    row.issued_at = Some(now);
    row.updated_at = now;
    // A credit note is settled by whoever writes it, also one that takes back what was to be given.
    if is_owed(row) {
        row.state = InvoiceState::Issued.as_str().to_owned();
        row.due_at = Some(now.plus_seconds(i64::from(body.due_days) * 86_400));
    } else {
        row.state = InvoiceState::Paid.as_str().to_owned();
        row.paid_at = Some(now);
    }
    rows::update(tx, row.tenant_id, row).await?;
    // Nobody pays it, so what it holds of messages is evened out now. A credit note's is by whoever takes the invoice back.
    if row.total <= 0 && !is_note(row) {
        even_out(tx, row, body.postpaid(), Book::Purchased, "purchase", None, now).await?;
    }
    Ok(())
}

/// Puts what messages had cost by the price list and was `owed` by an invoice back into the ledger, however the tenant pays by now: it was paid, or need not be. What an invoice gave
/// back, by being lower, is taken from it.
async fn even_out(
    tx: &mut Tx,
    row: &Invoice,
    owed: i64,
    with: Book,
    kind: &'static str,
    actor: Option<String>,
    now: Timestamp,
) -> Result<(), Error> {
    if owed == 0 {
        return Ok(());
    }
    let Some(ledger) = credits::lock(tx, row.tenant_id).await? else { return Ok(()) };
    let mut open = Open::new(ledger);
    let reference = row.number.clone().or_else(|| Some(row.id.to_string()));
    let cause = Cause { kind, message: None, reference, actor, at: now };
    let (from, to) = if owed > 0 { (with, Book::Available) } else { (Book::Available, with) };
    open.post(from, to, owed.saturating_abs(), cause);
    credits::put(tx, row.tenant_id, &open.ledger).await?;
    Ok(credits::insert_entries(tx, &open.entries).await?)
}

/// Says of a subscription since when a bill is unpaid, by its invoices that are not forgiven. Answers the one it is past due for from now on, which is to be told. The caller raises the
/// configuration's version, so that it counts at once.
pub(super) async fn settle_arrears(tx: &mut Tx, tenant: TenantId, now: Timestamp) -> Result<Option<Invoice>, Error> {
    let Some(mut subscription) = subscriptions::lock(tx, tenant).await? else { return Ok(None) };
    let first = rows::first_overdue(tx, tenant, subscription.forgiven_until, now).await?;
    let overdue = first.as_ref().and_then(|invoice| invoice.due_at);
    if subscription.past_due_since == overdue {
        return Ok(None);
    }
    (subscription.past_due_since, subscription.updated_at) = (overdue, now);
    subscriptions::put(tx, tenant, &subscription).await?;
    Ok(first)
}

fn wrong_state(row: &Invoice, rule: &str) -> Error {
    let name = row.number.as_deref().unwrap_or("This draft");
    Error::conflict("invoice_state", format!("{name} is {}; {rule}.", row.state))
}
