//! Invoices: what a tenant owes for a month, written from the sums that are kept with its messages.
//!
//! When a tenant's month has ended on its own clock, [`closing`] makes a draft, and issues it unless the operator wants to look first. What stands on it is worked out purely
//! ([`compose`]) from the plan, what was sent by channel and country, and what a price list charged. With its number an invoice is final: it is paid, or taken back by a credit
//! note, but never changed; in its place a draft may be made that says the same to the right customer ([`renewing`]). What is learned about a month afterwards (a late report, a message
//! that was scheduled) stands as a correction on the next invoice, or on one of its own where that is in another currency: an amount in one currency is none in another.
//!
//! Numbers come from a series whose row is locked by whoever issues, in the transaction that writes the number: there are no gaps, and none is given twice. Invoices outlive
//! their tenant, because an operator has to keep them.

pub mod closing;
pub mod compose;
pub mod digest;
pub mod mailing;
mod printable;
pub mod printing;
pub(crate) mod renewing;
pub mod settings;

use std::sync::Arc;

use model::{InvoiceId, MessageId, Money, PlanId, TenantId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use store::{
    Scope, Tx, credits,
    invoices::{self as rows, Invoice, Mail},
    subscriptions, tenants,
};
use utoipa::{IntoParams, ToSchema};

use self::{
    compose::{Line, LineKind, TaxLine},
    digest::Digest,
    mailing::MailView,
    settings::{BillingSettings, Seller},
};
use crate::{
    Engine, Error, audit,
    directory::Tenant,
    keys::Caller,
    money::ledger::{Book, Cause, Open},
    names::Faults,
    once::{Repeat, Reply, Secrecy, once},
    page::{Page, Window},
    plans::{
        Allowance,
        subscription::{Customer, check_fonts},
    },
    writes::Writes,
};

/// Longest reference or reason, in characters.
const REFERENCE_MAX: usize = 200;
/// What stands on a credit note.
const REASON: &str = "/reason";

/// Whether it is a bill or takes one back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum InvoiceKind {
    /// A bill for a month.
    Invoice,
    /// A bill in another currency than the tenant is billed in now: for what was learned about earlier months, and for what a price list charged in that currency.
    Correction,
    /// Takes a bill back.
    CreditNote,
}

impl InvoiceKind {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Invoice => "invoice",
            Self::Correction => "correction",
            Self::CreditNote => "credit_note",
        }
    }

    fn from_stored(word: &str) -> Self {
        match word {
            "credit_note" => Self::CreditNote,
            "correction" => Self::Correction,
            _ => Self::Invoice,
        }
    }
}

/// What became of an invoice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum InvoiceState {
    /// Made, without a number; the tenant does not see it.
    Draft,
    /// Final, and to be paid.
    Issued,
    /// Paid, or nothing was due.
    Paid,
    /// Taken back.
    Void,
}

impl InvoiceState {
    /// The word in JSON and SQL.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Issued => "issued",
            Self::Paid => "paid",
            Self::Void => "void",
        }
    }

    /// Reads the database's word; one this binary does not know is not shown to tenants.
    fn from_stored(word: &str) -> Self {
        match word {
            "issued" => Self::Issued,
            "paid" => Self::Paid,
            "void" => Self::Void,
            _ => Self::Draft,
        }
    }
}

/// What an invoice says, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Body {
    pub seller: Seller,
    pub customer: Customer,
    pub plan_id: Option<PlanId>,
    /// Empty without a plan.
    pub plan: String,
    pub allowances: Vec<Allowance>,
    /// Messages accepted from then on count against the plan; an older one has them from its beginning.
    #[serde(default)]
    pub counted_from: Option<Timestamp>,
    /// Whether they count from that instant on, or, as in an older one and where an earlier invoice ended then, from the first sum of messages that begins after it.
    #[serde(default)]
    pub counts_first_minutes: bool,
    /// Whether what a price list charged in its month is in another currency, and stands on a correction.
    #[serde(default)]
    pub charges_apart: bool,
    pub month: String,
    /// The clock its days are told on; that of the tenant where an older one did not keep it.
    #[serde(default)]
    pub timezone: Option<String>,
    pub lines: Vec<Line>,
    pub net: i64,
    pub taxes: Vec<TaxLine>,
    pub payment: Vec<String>,
    pub note: Option<String>,
    /// The number of the invoice a credit note takes back, or in whose place this one stands.
    #[serde(default)]
    pub of_number: Option<String>,
    /// The invoice in whose place this one stands: it says the same, and was taken back.
    #[serde(default)]
    pub replaces: Option<InvoiceId>,
    /// Why a credit note was written.
    pub reason: Option<String>,
    pub due_days: u32,
}

impl Body {
    /// Reads what the database keeps.
    pub(crate) fn from_stored(text: &str) -> Result<Self, Error> {
        serde_json::from_str(text).map_err(|error| Error::internal(format!("an invoice cannot be read: {error}")))
    }

    /// What a price list charged that is to be paid by this invoice.
    pub(crate) fn postpaid(&self) -> i64 {
        let of = |kind| self.lines.iter().filter(move |line| line.kind == kind).map(|line| line.amount_micros);
        of(LineKind::Messages).chain(of(LineKind::MessagesCorrection)).chain(of(LineKind::Credit)).sum()
    }
}

/// An invoice or a credit note.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Invoice)]
pub struct InvoiceView {
    /// Its id.
    #[schema(value_type = String, example = "inv_01K9ZC8Q6T7Y2V5B3N4M1XWRSD")]
    pub id: InvoiceId,
    /// Whose.
    #[schema(value_type = String, example = "ten_01K9ZC8Q6T7Y2V5B3N4M1XWRSD")]
    pub tenant_id: TenantId,
    /// Whether it is a bill or takes one back.
    pub kind: InvoiceKind,
    /// What became of it.
    pub state: InvoiceState,
    /// Its number; none while it is a draft.
    #[schema(example = "INV-000042")]
    pub number: Option<String>,
    /// The invoice a credit note takes back.
    #[schema(value_type = Option<String>)]
    pub credits_id: Option<InvoiceId>,
    /// The invoice that was taken back to be billed again, in whose place this one stands.
    #[schema(value_type = Option<String>)]
    pub replaces_id: Option<InvoiceId>,
    /// The month on the tenant's clock.
    #[schema(example = "2026-11")]
    pub month: String,
    /// From when it bills.
    #[schema(value_type = String, format = DateTime)]
    pub starts_at: Timestamp,
    /// Until when.
    #[schema(value_type = String, format = DateTime)]
    pub ends_at: Timestamp,
    /// Who wrote it.
    pub seller: Seller,
    /// Whom it is addressed to.
    pub customer: Customer,
    /// The plan's name; `null` for a tenant that is billed by the price list alone.
    #[schema(example = "Studio")]
    pub plan: Option<String>,
    /// Its lines.
    pub lines: Vec<Line>,
    /// The sum of the lines.
    #[schema(value_type = Object)]
    pub net: Money,
    /// The taxes.
    pub taxes: Vec<TaxLine>,
    /// What is to be paid; below zero what is given back.
    #[schema(value_type = Object)]
    pub total: Money,
    /// How to pay, line by line; empty where nothing is to be paid.
    pub payment_details: Vec<String>,
    /// What else stands on it.
    pub note: Option<String>,
    /// Why a credit note was written.
    pub reason: Option<String>,
    /// When it was issued.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub issued_at: Option<Timestamp>,
    /// Until when it is to be paid.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub due_at: Option<Timestamp>,
    /// Whether it should have been paid by now.
    #[schema(example = false)]
    pub is_overdue: bool,
    /// When it was paid.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub paid_at: Option<Timestamp>,
    /// The payment's reference.
    pub payment_reference: Option<String>,
    /// When it was taken back.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub voided_at: Option<Timestamp>,
    /// When a mail with it to the customer was last accepted; `mail` says what became of it.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub mailed_at: Option<Timestamp>,
    /// How it goes out to the customer; `null` for one that is not mailed by itself and was not mailed by hand.
    pub mail: Option<MailView>,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it last changed.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}

/// An invoice as somebody sees it: why its mail did not arrive is the operator's to know.
fn view_for(row: &Invoice, is_operator: bool, now: Timestamp) -> Result<InvoiceView, Error> {
    let mut seen = view(row, now)?;
    if let Some(mail) = seen.mail.as_mut().filter(|_| !is_operator) {
        mail.hide();
    }
    Ok(seen)
}

/// True of what asks for money. A credit note never does, whatever it takes back, nor does an invoice that gives back.
fn is_owed(row: &Invoice) -> bool {
    row.total > 0 && !is_note(row)
}

fn view(row: &Invoice, now: Timestamp) -> Result<InvoiceView, Error> {
    let body = Body::from_stored(&row.body)?;
    let money = |amount_micros| Money { amount_micros, currency: row.currency.clone() };
    Ok(InvoiceView {
        id: row.id,
        tenant_id: row.tenant_id,
        kind: InvoiceKind::from_stored(&row.kind),
        state: InvoiceState::from_stored(&row.state),
        number: row.number.clone(),
        credits_id: row.of_id,
        replaces_id: body.replaces,
        month: body.month,
        starts_at: row.starts_at,
        ends_at: row.ends_at,
        seller: body.seller,
        customer: body.customer,
        plan: Some(body.plan).filter(|plan| !plan.is_empty()),
        lines: body.lines,
        net: money(body.net),
        taxes: body.taxes,
        total: money(row.total),
        payment_details: if is_owed(row) { body.payment } else { Vec::new() },
        note: body.note,
        reason: body.reason,
        issued_at: row.issued_at,
        due_at: row.due_at,
        is_overdue: is_owed(row)
            && row.state == InvoiceState::Issued.as_str()
            && row.due_at.is_some_and(|at| at <= now),
        paid_at: row.paid_at,
        payment_reference: row.payment.clone(),
        voided_at: row.voided_at,
        mailed_at: row.mail.mailed_at,
        mail: mailing::view(&row.mail),
        created_at: row.created_at,
        updated_at: row.updated_at,
    })
}

/// Which invoices are asked for.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct InvoicesQuery {
    /// Only those in this state.
    #[param(value_type = Option<String>, example = "issued")]
    pub state: Option<InvoiceState>,
    /// Rows of the page.
    #[param(minimum = 1, maximum = 500, default = 50)]
    pub limit: Option<u32>,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
}

/// A payment that arrived.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InvoicePayment {
    /// The payment's reference.
    #[schema(example = "bank transfer 2026-12-09")]
    pub reference: String,
    /// When it arrived; now when left out.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub paid_at: Option<Timestamp>,
}

/// Why an invoice is taken back.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InvoiceVoid {
    /// It stands on the credit note.
    #[schema(example = "The address was wrong.")]
    pub reason: String,
    /// True: what it billed is billed again, by a draft in its place with the customer, tax and seller of now, to be mended (`PATCH /v1/subscription`, `POST /v1/invoices/{id}/renew`) and
    /// issued. False: what it billed is given away, and stands on no other invoice unless `POST /v1/invoices/{id}/bill-again` is said later.
    #[serde(default)]
    #[schema(example = true)]
    pub bills_again: bool,
}

fn check_text(pointer: &str, text: &str) -> Result<(), Error> {
    let mut faults = Faults::default();
    if text.trim().is_empty() || text.chars().count() > REFERENCE_MAX || text.chars().any(char::is_control) {
        faults.add(pointer, format!("1 to {REFERENCE_MAX} characters in one line"));
    }
    if pointer == REASON {
        check_fonts(pointer, text, &mut faults);
    }
    faults.end()
}

/// Lists invoices and credit notes, newest first: the tenant's, or everybody's for an operator outside of any. Needs the scope `invoices:read`.
#[crate::boxed]
pub async fn list(engine: &Engine, caller: &Caller, query: &InvoicesQuery) -> Result<Page<InvoiceView>, Error> {
    caller.need("invoices:read")?;
    let window = Window::read("invoices", query.limit, query.cursor.as_deref())?;
    let (tenant, state, is_operator) = (caller.tenant, query.state, caller.is_operator);
    let read = engine.ports.db.read(caller.reach(), move |tx| {
        Box::pin(async move {
            let before = InvoiceId::from_ulid(window.before);
            rows::list(tx, tenant, state.map(InvoiceState::as_str), is_operator, before, window.rows()).await
        })
    });
    let found: Vec<Invoice> = read.await?;
    let now = engine.ports.clock.now();
    let page = window.page(found, |row| row.id.ulid(), |row| view_for(&row, is_operator, now));
    Ok(Page { data: page.data.into_iter().collect::<Result<_, _>>()?, next_cursor: page.next_cursor })
}

/// Reads an invoice. Needs the scope `invoices:read`.
#[crate::boxed]
pub async fn get(engine: &Engine, caller: &Caller, id: InvoiceId) -> Result<InvoiceView, Error> {
    caller.need("invoices:read")?;
    view_for(&found(engine, caller, id).await?, caller.is_operator, engine.ports.clock.now())
}

/// The row of an invoice the caller may see.
pub(crate) async fn found(engine: &Engine, caller: &Caller, id: InvoiceId) -> Result<Invoice, Error> {
    let (tenant, is_operator) = (caller.tenant, caller.is_operator);
    let read = engine.ports.db.read(caller.reach(), move |tx| {
        Box::pin(async move {
            let owner = match tenant {
                Some(tenant) => Some(tenant),
                None => rows::owner(tx, id).await?,
            };
            match owner {
                Some(owner) => rows::find(tx, owner, id).await,
                None => Ok(None),
            }
        })
    });
    let row: Option<Invoice> = read.await?;
    row.filter(|row| is_operator || row.number.is_some()).ok_or_else(|| Error::not_found("invoice"))
}

/// Writes a draft anew with the customer, tax, seller and means of payment of now; its lines stay. Needs an operator with the scope `invoices:write`.
#[crate::boxed]
pub async fn renew(engine: &Engine, caller: &Caller, repeat: &Repeat, id: InvoiceId) -> Result<Reply, Error> {
    act(engine, caller, repeat, id, Act::Renew).await
}

/// Issues a draft: it is written anew like by [`renew`], gets its number and is final. Needs an operator with the scope `invoices:write`.
#[crate::boxed]
pub async fn issue(engine: &Engine, caller: &Caller, repeat: &Repeat, id: InvoiceId) -> Result<Reply, Error> {
    act(engine, caller, repeat, id, Act::Issue).await
}

/// Records a payment. Needs an operator with the scope `invoices:write`.
#[crate::boxed]
pub async fn pay(
    engine: &Engine,
    caller: &Caller,
    repeat: &Repeat,
    id: InvoiceId,
    payment: InvoicePayment,
) -> Result<Reply, Error> {
    caller.need_operator("invoices:write")?;
    check_text("/reference", &payment.reference)?;
    act(engine, caller, repeat, id, Act::Pay(payment)).await
}

/// Takes an invoice back: a draft is dropped, and of an issued one a credit note is written. Where it `bills_again`, a draft in its place says the same. Needs an operator with the scope
/// `invoices:write`.
#[crate::boxed]
pub async fn void(
    engine: &Engine,
    caller: &Caller,
    repeat: &Repeat,
    id: InvoiceId,
    why: InvoiceVoid,
) -> Result<Reply, Error> {
    caller.need_operator("invoices:write")?;
    check_text(REASON, &why.reason)?;
    let new = || InvoiceId::from_ulid(engine.ports.ids.ulid(engine.ports.clock.now()));
    let (note, again) = (new(), why.bills_again.then(new));
    act(engine, caller, repeat, id, Act::Void { reason: why.reason, note, again }).await
}

/// Bills again what a bill said that was taken back without that: makes the draft that `bills_again` would have made. Answers it. Needs an operator with the scope `invoices:write`.
#[crate::boxed]
pub async fn bill_again(engine: &Engine, caller: &Caller, repeat: &Repeat, id: InvoiceId) -> Result<Reply, Error> {
    let draft = InvoiceId::from_ulid(engine.ports.ids.ulid(engine.ports.clock.now()));
    act(engine, caller, repeat, id, Act::BillAgain(draft)).await
}

/// The bill that stands in the place of one that was taken back, if one does. Needs an operator with the scope `invoices:read`.
#[crate::boxed]
pub async fn in_place_of(engine: &Engine, caller: &Caller, id: InvoiceId) -> Result<Option<InvoiceView>, Error> {
    caller.need_operator("invoices:read")?;
    let tenant = found(engine, caller, id).await?.tenant_id;
    let read = engine
        .ports
        .db
        .read(Scope::Tenant(tenant), move |tx| Box::pin(async move { renewing::in_place_of(tx, tenant, id).await }));
    read.await?.map(|row| view(&row, engine.ports.clock.now())).transpose()
}

/// What an act led to besides what became of its invoice.
#[derive(Default)]
struct Led {
    /// The invoice for which the tenant is past due from now on, because another one is not to be paid any more.
    overdue: Option<Invoice>,
    /// What takes the invoice back.
    credit_note: Option<Invoice>,
}

/// What is done to an invoice.
enum Act {
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
async fn act(engine: &Engine, caller: &Caller, repeat: &Repeat, id: InvoiceId, act: Act) -> Result<Reply, Error> {
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
fn drafted(of: &Invoice, id: InvoiceId, body: &Body, now: Timestamp) -> Result<Invoice, Error> {
    let time = (of.starts_at, of.ends_at);
    Ok(Invoice {
        total: of.total,
        body: serde_json::to_string(body).map_err(Error::internal)?,
        ..Invoice::draft(of.tenant_id, id, &of.kind, &of.currency, time, now)
    })
}

/// Gives an invoice its number, and lets it go out. Where nothing is to be paid it is paid at once.
pub(crate) async fn finish(
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

/// True for a credit note.
fn is_note(row: &Invoice) -> bool {
    InvoiceKind::from_stored(&row.kind) == InvoiceKind::CreditNote
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
pub(crate) async fn settle_arrears(tx: &mut Tx, tenant: TenantId, now: Timestamp) -> Result<Option<Invoice>, Error> {
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

/// Writes into the audit log what happened to an invoice by itself and changes nothing of it: the tenant's, or the operator's once the tenant is gone.
pub(crate) async fn note(
    tx: &mut Tx,
    tenant: Option<&Tenant>,
    row: &Invoice,
    what: &'static str,
    ids: &model::Ids,
    now: Timestamp,
) -> Result<(), Error> {
    let detail = facts(row);
    let by = Caller::system(None);
    match tenant {
        Some(tenant) => audit::record(tx, tenant.id, ids, now, &by, what, row.id, &detail).await,
        None => {
            let name = name_of_gone(tx, row).await?;
            audit::record_of_gone(tx, row.tenant_id, name, ids, now, &by, what, row.id, &detail).await
        }
    }
}

/// Writes into the audit log that an invoice or a credit note has its number, with the digest it is held against from now on.
pub(crate) async fn note_issued(
    tx: &mut Tx,
    tenant: Option<&Tenant>,
    row: &Invoice,
    by: &Caller,
    ids: &model::Ids,
    now: Timestamp,
) -> Result<(), Error> {
    let mut detail = facts(row);
    detail["paid_at"] = json!(row.paid_at);
    detail["digest"] = json!(Digest::of(row));
    write_down(tx, tenant, row, ("invoice.issued", row.id), &detail, by, ids, now).await
}

/// What the audit log tells of an invoice.
fn facts(row: &Invoice) -> Value {
    json!({
        "state": row.state, "number": row.number, "total_micros": row.total, "currency": row.currency, "due_at": row.due_at, "message_id": row.mail.id,
    })
}

/// Writes into the audit log what became of an invoice: the tenant's, and the operator's, which outlives the tenant as the invoice does. `what` was done, and to which invoice.
#[allow(clippy::too_many_arguments, reason = "as for an entry in one log")]
async fn write_down(
    tx: &mut Tx,
    tenant: Option<&Tenant>,
    row: &Invoice,
    (what, id): (&'static str, InvoiceId),
    detail: &Value,
    by: &Caller,
    ids: &model::Ids,
    now: Timestamp,
) -> Result<(), Error> {
    match tenant {
        Some(tenant) => audit::record_in_both(tx, tenant.id, ids, now, by, what, id, detail).await,
        None => {
            let name = name_of_gone(tx, row).await?;
            audit::record_of_gone(tx, row.tenant_id, name, ids, now, by, what, id, detail).await
        }
    }
}

/// What a tenant was called that is gone: as long as its row is kept that says so, then its invoice.
async fn name_of_gone(tx: &mut Tx, row: &Invoice) -> Result<String, Error> {
    match tenants::name(tx, row.tenant_id).await? {
        Some(name) => Ok(name),
        // One nobody can read any more has an entry all the same.
        None => Ok(Body::from_stored(&row.body).ok().and_then(|body| body.customer.name).unwrap_or_default()),
    }
}

fn wrong_state(row: &Invoice, rule: &str) -> Error {
    let name = row.number.as_deref().unwrap_or("This draft");
    Error::conflict("invoice_state", format!("{name} is {}; {rule}.", row.state))
}

/// Tells the tenant what happened to an invoice, in the transaction in which it happens.
pub(crate) async fn tell(
    tx: &mut Tx,
    tenant: &Tenant,
    row: &Invoice,
    what: &'static str,
    ids: &model::Ids,
    now: Timestamp,
    shard: i64,
) -> Result<(), Error> {
    let mut writes = Writes::default();
    let data = serde_json::to_string(&view_for(row, false, now)?).map_err(Error::internal)?;
    writes.event(tenant, what, data, now, ids);
    Ok(writes.write(tx, shard).await?)
}
