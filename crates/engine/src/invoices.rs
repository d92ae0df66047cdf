//! Invoices: what a tenant owes for a month, written from the sums that are kept with its messages.
//!
//! When a tenant's month has ended on its own clock, [`closing`] makes a draft, and issues it unless the operator wants to look first. What stands on it is worked out purely
//! ([`compose`]) from the plan, what was sent by channel and country, and what a price list charged. With its number an invoice is final: it is paid, or taken back by a credit
//! note, but never changed; in its place a draft may be made that says the same to the right customer ([`renewing`]). What is learned about a month afterwards (a late report, a message
//! that was scheduled) stands as a correction on the next invoice, or on one of its own where that is in another currency: an amount in one currency is none in another.
//!
//! Numbers come from a series whose row is locked by whoever issues, in the transaction that writes the number: there are no gaps, and none is given twice. Invoices outlive
//! their tenant, because an operator has to keep them.

mod acts;
pub mod closing;
pub mod compose;
pub(crate) mod counting;
pub mod digest;
pub mod mailing;
pub(crate) mod printable;
pub mod printing;
pub(crate) mod renewing;
pub mod settings;
mod telling;

use model::{InvoiceId, Money, PlanId, TenantId, Timestamp};
use serde::{Deserialize, Serialize};
use store::{
    Scope,
    invoices::{self as rows, Invoice},
};
use utoipa::{IntoParams, ToSchema};

use self::{
    acts::{Act, act},
    compose::{Line, LineKind, TaxLine},
    counting::FirstMinutes,
    mailing::MailView,
    settings::Seller,
};
use crate::{
    Engine, Error,
    keys::Caller,
    names::Faults,
    once::{Repeat, Reply},
    page::{Page, Window},
    plans::{
        Allowance,
        subscription::{Customer, check_fonts},
    },
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
    /// What was counted of the time until that sum; `None` where it does not count, and in an older one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_minutes: Option<FirstMinutes>,
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

/// True for a credit note.
fn is_note(row: &Invoice) -> bool {
    InvoiceKind::from_stored(&row.kind) == InvoiceKind::CreditNote
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
