//! A tenant's subscription: how it is billed, and whether it may send. It has a plan, or pays afterwards by the price list alone ([`bill_alone`]). One may also only say
//! as whom a tenant that pays ahead buys credit: without a plan that needs no invoice, and when it gets one, or pays afterwards, it is billed from then on.
//!
//! The state follows from dates, so it needs no job to be right: a trial is over at its instant, and a cancellation counts from its. A bill that is not paid in time makes a
//! subscription past due. Nothing changes at first; after [`GRACE_S`] marketing is refused, and the rest goes on, because an unpaid bill must not keep a password reset or a
//! ticket from people who did nothing wrong. The operator ends that too by canceling the subscription or suspending the tenant.

use std::sync::Arc;

use jiff::tz::TimeZone;
use model::{PlanId, Purpose, TenantId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;
use store::{
    Scope, Tx, credits, invoices as bills,
    plans::{self as plan_rows, Plan},
    subscriptions::{self as rows, Subscription},
    tenants,
};
use utoipa::ToSchema;

use super::{
    Allowance, PlanView, allowances, months,
    quota::{self, QuotaView},
    recount,
};
use crate::invoices::{
    closing,
    compose::TaxRate,
    settings::{BillingSettings, CreditTaxed, check_rate},
};
use crate::{
    Engine, Error, ErrorKind, Parts, audit, directory::Tenant, documents, keys::Caller, money::BillingMode,
    names::Faults, patch::Patch,
};

/// How long a bill may be unpaid before marketing stops, in seconds: two weeks, in which somebody comes back from a holiday.
pub const GRACE_S: i64 = 14 * 24 * 60 * 60;
/// Longest line of an address, in characters.
const LINE_MAX: usize = 200;
/// Lines of an address: what fits the window of an envelope, with room.
const LINES_MAX: usize = 8;

/// Whether a subscription is in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SubscriptionState {
    /// In use, and no fee is charged yet; messages beyond what is included are.
    Trial,
    /// In use.
    Active,
    /// A bill was not paid in time.
    PastDue,
    /// Over: nothing is accepted.
    Canceled,
}

/// What accept needs to know about a tenant that gets invoices.
#[derive(Debug, Clone)]
pub struct Subscribed {
    /// Which plan, if any.
    pub plan_id: Option<PlanId>,
    /// What it grants.
    pub allowances: Vec<Allowance>,
    /// Until when it is a trial.
    pub trial_ends_at: Option<Timestamp>,
    /// Since when a bill is unpaid.
    pub past_due_since: Option<Timestamp>,
    /// From when nothing is accepted.
    pub canceled_at: Option<Timestamp>,
    /// The tenant's clock, on which months end.
    pub zone: TimeZone,
}

fn state(
    now: Timestamp,
    trial_ends_at: Option<Timestamp>,
    past_due_since: Option<Timestamp>,
    canceled_at: Option<Timestamp>,
) -> SubscriptionState {
    let is_over = |at: Option<Timestamp>| at.is_some_and(|at| at <= now);
    if is_over(canceled_at) {
        SubscriptionState::Canceled
    } else if is_over(past_due_since) {
        SubscriptionState::PastDue
    } else if trial_ends_at.is_some_and(|at| at > now) {
        SubscriptionState::Trial
    } else {
        SubscriptionState::Active
    }
}

impl Subscribed {
    /// Reads a tenant's subscription; `None` when it has none.
    pub(crate) async fn read(tx: &mut Tx, tenant: TenantId, timezone: &str) -> Result<Option<Self>, Error> {
        let Some(row) = rows::find(tx, tenant).await? else { return Ok(None) };
        let plan = find_plan(tx, &row).await?;
        Ok(Some(Self {
            plan_id: row.plan_id,
            allowances: plan.map_or_else(Vec::new, |plan| allowances(&plan.allowances)),
            trial_ends_at: row.trial_ends_at,
            past_due_since: row.past_due_since,
            canceled_at: row.canceled_at,
            zone: months::zone(timezone),
        }))
    }

    /// Whether it is in order at an instant.
    pub fn state(&self, now: Timestamp) -> SubscriptionState {
        state(now, self.trial_ends_at, self.past_due_since, self.canceled_at)
    }

    /// Refuses what must not be sent at an instant: everything once it was canceled, and marketing when a bill has been unpaid for too long.
    pub fn permit(&self, purpose: Purpose, now: Timestamp) -> Result<(), Error> {
        match self.state(now) {
            SubscriptionState::Canceled => Err(Error::new(
                ErrorKind::Payment,
                "subscription_canceled",
                "The subscription has ended, so nothing is accepted. Ask the operator to renew it.",
            )
            .with_action("CONTACT_OPERATOR")),
            SubscriptionState::PastDue
                if purpose == Purpose::Marketing
                    && self.past_due_since.is_some_and(|since| since.plus_seconds(GRACE_S) <= now) =>
            {
                let detail = format!(
                    "A bill has been unpaid for more than {} days, so marketing is not accepted; transactional messages still are. Pay it; GET /v1/invoices lists what is open.",
                    GRACE_S / 86_400
                );
                Err(Error::new(ErrorKind::Payment, "subscription_past_due", detail).with_action("PAY_INVOICE"))
            }
            SubscriptionState::Trial | SubscriptionState::Active | SubscriptionState::PastDue => Ok(()),
        }
    }
}

/// Refuses a message a tenant's subscription does not permit.
pub(crate) fn permit(tenant: &Tenant, purpose: Purpose, now: Timestamp) -> Result<(), Error> {
    tenant.subscription.as_ref().map_or(Ok(()), |subscribed| subscribed.permit(purpose, now))
}

/// Whom invoices and receipts are addressed to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Customer {
    /// Name; the tenant's when left out.
    #[schema(example = "Acme Tickets GmbH")]
    pub name: Option<String>,
    /// Lines of the postal address.
    pub address: Vec<String>,
    /// ISO 3166-1 alpha-2 country, which also decides about taxes; the tenant's when left out. When the tenant changes that itself, it stays here as it was.
    #[schema(example = "DE")]
    pub country: Option<String>,
    /// Its tax number.
    #[schema(example = "DE123456789")]
    pub tax_id: Option<String>,
    /// Where invoices are sent, those too that did not reach anybody before; they are not sent when left out.
    #[schema(example = "billing@acme.example")]
    pub email: Option<String>,
    /// Its tax, where it is not that of its country: 0 for one that is exempt.
    pub tax: Option<TaxRate>,
}

impl Customer {
    /// Reads what the database keeps.
    pub(crate) fn from_stored(text: &str) -> Self {
        serde_json::from_str(text).unwrap_or_default()
    }

    fn check(&self, faults: &mut Faults) {
        let lines = [("/customer/name", &self.name), ("/customer/tax_id", &self.tax_id)];
        for (pointer, text) in lines {
            if let Some(text) = text {
                check_line(pointer, text, faults);
            }
        }
        check_lines("/customer/address", &self.address, faults);
        if let Some(country) = &self.country {
            faults.country("/customer/country", country);
        }
        if let Some(email) = &self.email
            && email.parse::<model::EmailAddress>().is_err()
        {
            faults.add("/customer/email", "not an e-mail address; write one such as billing@acme.example");
        }
        check_fonts("/customer/email", self.email.as_deref().unwrap_or_default(), faults);
        if let Some(tax) = &self.tax {
            check_rate("/customer/tax", &tax.name, tax.rate_ppm, faults);
        }
    }
}

/// Notes what is wrong with one line that stands on an invoice.
pub(crate) fn check_line(pointer: &str, text: &str, faults: &mut Faults) {
    if text.trim().is_empty() || text.chars().count() > LINE_MAX || text.chars().any(char::is_control) {
        faults.add(pointer, format!("1 to {LINE_MAX} characters in one line"));
    }
    check_fonts(pointer, text, faults);
}

/// Notes what cannot be printed.
pub(crate) fn check_fonts(pointer: &str, text: &str, faults: &mut Faults) {
    if let Some(c) = documents::without_font(text) {
        let code = u32::from(c);
        faults.add(pointer, format!("no font we ship has the character `{c}` (U+{code:04X}), and it stands on invoices; write it in another script"));
    }
}

/// Notes what is wrong with the lines of an address.
pub(crate) fn check_lines(pointer: &str, lines: &[String], faults: &mut Faults) {
    if lines.len() > LINES_MAX {
        faults.add(pointer, format!("at most {LINES_MAX} lines"));
    }
    for (index, line) in lines.iter().enumerate().take(LINES_MAX) {
        check_line(&format!("{pointer}/{index}"), line, faults);
    }
}

/// Changes of a subscription. The first one names the plan, unless the tenant is billed by the price list alone, or only says as whom it buys credit (`customer`).
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SubscriptionPatch {
    /// The plan. A change counts at once and for the whole running month: what was used stays used, and the month's invoice has the new plan's fee.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "pln_01K9ZC8Q6T7Y2V5B3N4M1XWRSD")]
    pub plan_id: Patch<PlanId>,
    /// Until when no fee is charged; `null` ends a trial now.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub trial_ends_at: Patch<Timestamp>,
    /// Since when a bill is unpaid: set by itself when an invoice is overdue, and removed when none is any more; `null` removes it now, and forgives the lateness of all that is overdue by now
    /// (`forgiven_until`): only an invoice that is due later sets it again. Not later than now.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub past_due_since: Patch<Timestamp>,
    /// From when nothing is accepted; `null` lets it go on.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub canceled_at: Patch<Timestamp>,
    /// Whom invoices and receipts are addressed to, and by which tax.
    #[serde(default)]
    #[schema(value_type = Option<Customer>)]
    pub customer: Patch<Customer>,
}

/// A tenant's subscription.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Subscription)]
pub struct SubscriptionView {
    /// Whether it is in order.
    pub state: SubscriptionState,
    /// Its plan; `null` for a tenant that is billed by the price list alone, or pays ahead.
    pub plan: Option<PlanView>,
    /// What was used of it this month, channel by channel.
    pub quotas: Vec<QuotaView>,
    /// Until when no fee is charged.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub trial_ends_at: Option<Timestamp>,
    /// Since when a bill is unpaid.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub past_due_since: Option<Timestamp>,
    /// Unpaid invoices that were due by then are forgiven: they make nobody past due, and are to be paid all the same.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub forgiven_until: Option<Timestamp>,
    /// When marketing stops, or stopped, because of that bill.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub marketing_stops_at: Option<Timestamp>,
    /// From when nothing is accepted.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub canceled_at: Option<Timestamp>,
    /// Whom invoices are addressed to.
    pub customer: Customer,
    /// How far invoices reach.
    #[schema(value_type = String, format = DateTime)]
    pub billed_until: Timestamp,
    /// When the next invoice is made; `null` when there is nothing more to bill.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_invoice_at: Option<Timestamp>,
    /// When it began.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it last changed.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}

fn view(
    row: Subscription,
    plan: Option<Plan>,
    is_billed: bool,
    quotas: Vec<QuotaView>,
    now: Timestamp,
) -> SubscriptionView {
    SubscriptionView {
        state: state(now, row.trial_ends_at, row.past_due_since, row.canceled_at),
        plan: plan.map(super::view),
        quotas,
        trial_ends_at: row.trial_ends_at,
        past_due_since: row.past_due_since,
        forgiven_until: row.forgiven_until,
        marketing_stops_at: row.past_due_since.map(|since| since.plus_seconds(GRACE_S)),
        canceled_at: row.canceled_at,
        customer: Customer::from_stored(&row.customer),
        billed_until: row.billed_until,
        next_invoice_at: row.closes_at.filter(|_| is_billed && !is_billed_whole(&row)),
        created_at: row.created_at,
        updated_at: row.updated_at,
    }
}

/// Shows the tenant's subscription. Needs the scope `plans:read`.
#[crate::boxed]
pub async fn get(parts: &Parts, caller: &Caller) -> Result<SubscriptionView, Error> {
    caller.need("plans:read")?;
    show(parts, caller.need_tenant()?).await
}

async fn show(parts: &Parts, tenant: TenantId) -> Result<SubscriptionView, Error> {
    let read = parts.ports.db.read(Scope::Tenant(tenant), move |tx| {
        Box::pin(async move {
            let Some(row) = rows::find(tx, tenant).await? else { return Ok::<_, Error>(None) };
            let plan = find_plan(tx, &row).await?;
            // Without a plan there is only what is to be paid afterwards.
            let is_billed = plan.is_some()
                || credits::find(tx, tenant).await?.is_some_and(|ledger| {
                    ledger.mode == BillingMode::Postpaid.as_str()
                        || (ledger.mode == BillingMode::None.as_str() && ledger.available < 0)
                });
            Ok(Some((row, plan, is_billed)))
        })
    });
    let (row, plan, is_billed) = read.await?.ok_or_else(|| Error::not_found("subscription"))?;
    let known = parts.directory.tenant(tenant).await?.ok_or_else(|| Error::not_found("tenant"))?;
    Ok(view(row, plan, is_billed, quota::used(parts, &known).await?, parts.ports.clock.now()))
}

/// The plan of a subscription, if it has one.
async fn find_plan(tx: &mut Tx, row: &Subscription) -> Result<Option<Plan>, Error> {
    let Some(id) = row.plan_id else { return Ok(None) };
    plan_rows::find(tx, id).await?.map(Some).ok_or_else(|| Error::internal("a plan is gone"))
}

/// Begins to bill a tenant that pays afterwards and has no plan, by the price list alone; nothing for one that is billed already. `since` says from when on, of the instants in which the
/// running month and the ledger began. The caller raises the configuration's version.
pub(crate) async fn bill_alone(
    tx: &mut Tx,
    tenant: TenantId,
    since: impl FnOnce(Timestamp, Timestamp) -> Timestamp + Send,
    now: Timestamp,
) -> Result<(), Error> {
    let (Some(of), Some(ledger)) = (tenants::find(tx, tenant).await?, credits::find(tx, tenant).await?) else {
        return Ok(());
    };
    let is_due = ledger.mode == BillingMode::Postpaid.as_str() && !of.is_demo;
    if !is_due || rows::lock(tx, tenant).await?.is_some() {
        return Ok(());
    }
    let (begins, ends) = months::month(&months::zone(&of.timezone), now);
    let row = Subscription { billed_until: since(begins, ledger.created_at), ..begun(tenant, None, ends, now) };
    Ok(rows::put(tx, tenant, &row).await?)
}

/// Bills a tenant that pays afterwards and has no plan from now on, where it paid otherwise until now (`before`) and owes nothing; one that is billed already goes on as it was. The caller
/// raises the configuration's version.
pub(crate) async fn bill_from_now(
    tx: &mut Tx,
    tenant: TenantId,
    before: &credits::Ledger,
    now: Timestamp,
) -> Result<(), Error> {
    let Some(mut row) = rows::lock(tx, tenant).await? else {
        return bill_alone(tx, tenant, |_, _| now, now).await;
    };
    let of = tenants::find(tx, tenant).await?.filter(|of| !of.is_demo);
    let Some(of) = of.filter(|_| row.plan_id.is_none() && is_settled(before) && !is_billed_whole(&row)) else {
        return Ok(());
    };
    begin_now(&mut row, months::month(&months::zone(&of.timezone), now).1, now);
    row.updated_at = now;
    Ok(rows::put(tx, tenant, &row).await?)
}

/// True where nothing that a tenant without a plan used is for an invoice any more: it was paid for ahead, or is charged to nobody.
fn is_settled(ledger: &credits::Ledger) -> bool {
    match BillingMode::from_stored(&ledger.mode) {
        BillingMode::Postpaid => false,
        BillingMode::Prepaid => ledger.available >= 0,
        // What was set aside before charging ended is charged all the same.
        BillingMode::None => ledger.available >= 0 && ledger.reserved == 0,
    }
}

/// Lets what is billed next begin now. The month that runs ends as it was to end.
fn begin_now(row: &mut Subscription, month_ends: Timestamp, now: Timestamp) {
    row.billed_until = row.billed_until.max(now);
    row.closes_at = Some(row.closes_at.filter(|at| *at > now).unwrap_or(month_ends));
}

/// Keeps what a tenant says of its own country away from its taxes, which are the operator's to say: its invoices, and the credit it buys, keep the country it had. The caller raises the configuration's version.
pub(crate) async fn keep_country(
    tx: &mut Tx,
    tenant: TenantId,
    before: Option<String>,
    now: Timestamp,
) -> Result<(), Error> {
    let mut row = match rows::lock(tx, tenant).await? {
        Some(row) => row,
        None => match buyer(tx, tenant, now).await? {
            Some(row) => row,
            None => return Ok(()),
        },
    };
    let customer = Customer::from_stored(&row.customer);
    if customer.country.is_some() {
        return Ok(());
    }
    if before.is_none() {
        let detail = "The country decides about the tax on this tenant's invoices and purchases, and nobody has said which it is. Ask the operator to say so first (`customer.country` of PATCH /v1/subscription).";
        return Err(Error::conflict("country_decides_tax", detail));
    }
    let customer = Customer { country: before, ..customer };
    row.customer = serde_json::to_string(&customer).map_err(Error::internal)?;
    row.updated_at = now;
    Ok(rows::put(tx, tenant, &row).await?)
}

/// The subscription, without a plan, of a tenant that has none and may buy credit with tax; `None` where credit is sold without.
async fn buyer(tx: &mut Tx, tenant: TenantId, now: Timestamp) -> Result<Option<Subscription>, Error> {
    let is_taxed = BillingSettings::read(tx).await?.credit_taxed == CreditTaxed::AtPurchase;
    let of = tenants::find(tx, tenant).await?.filter(|of| is_taxed && !of.is_demo);
    Ok(of.map(|of| begun(tenant, None, months::month(&months::zone(&of.timezone), now).1, now)))
}

/// A subscription that begins now.
fn begun(tenant_id: TenantId, plan_id: Option<PlanId>, month_ends: Timestamp, now: Timestamp) -> Subscription {
    Subscription {
        tenant_id,
        plan_id,
        trial_ends_at: None,
        past_due_since: None,
        forgiven_until: None,
        canceled_at: None,
        cancel_said_at: None,
        customer: "{}".to_owned(),
        counted_from: now,
        billed_until: now,
        closes_at: Some(month_ends),
        created_at: now,
        updated_at: now,
    }
}

/// Gives the tenant a plan, or changes how it is billed. Needs an operator with the scope `plans:write`.
#[crate::boxed]
pub async fn patch(
    engine: &Arc<Engine>,
    caller: &Caller,
    change: SubscriptionPatch,
) -> Result<SubscriptionView, Error> {
    caller.need_operator("plans:write")?;
    let (parts, tenant) = (engine.parts(), caller.need_tenant()?);
    // What changes now is not for a month that is over.
    closing::close_ended(engine, tenant).await?;
    let now = parts.ports.clock.now();
    let (ids, by) = (Arc::clone(&parts.ports.ids), caller.clone());
    let write = parts.ports.db.write(Scope::System, move |tx| {
        Box::pin(async move {
            tenants::bump(tx, Some(tenant)).await?;
            let before = rows::lock(tx, tenant).await?;
            let of = tenants::find(tx, tenant).await?.ok_or_else(|| Error::not_found("tenant"))?;
            if of.is_demo {
                let detail = "A demo tenant is never billed, so its plan stays as it was made. Make a tenant of its own for this customer.";
                return Err(Error::conflict("demo_tenant", detail));
            }
            let zone = months::zone(&of.timezone);
            let mut after = changed(before.clone(), tenant, change, &zone, now)?;
            check_plan(tx, before.as_ref(), &after).await?;
            // Its months before the first plan had nothing to bill, unless it paid afterwards.
            let is_first = before.as_ref().is_some_and(|before| before.plan_id.is_none()) && after.plan_id.is_some();
            if is_first
                && !is_billed_whole(&after)
                && credits::find(tx, tenant).await?.as_ref().is_none_or(is_settled)
            {
                begin_now(&mut after, months::month(&zone, now).1, now);
            }
            rows::put(tx, tenant, &after).await?;
            let is_moved = before.as_ref().is_some_and(|before| before.plan_id != after.plan_id);
            if is_moved {
                rows::recount_at(tx, tenant, now.plus_seconds(quota::LATE_S)).await?;
            }
            let address = |row: &Subscription| Customer::from_stored(&row.customer).email;
            if address(&after).is_some() && before.as_ref().and_then(address) != address(&after) {
                bills::mail_again(tx, tenant, now).await?;
            }
            let detail = |row: &Subscription| {
                json!({
                    "plan_id": row.plan_id, "trial_ends_at": row.trial_ends_at, "past_due_since": row.past_due_since,
                    "forgiven_until": row.forgiven_until, "canceled_at": row.canceled_at,
                    "customer": Customer::from_stored(&row.customer),
                })
            };
            let difference = match &before {
                Some(before) => audit::difference(&detail(before), &detail(&after)),
                None => detail(&after),
            };
            let action = if before.is_some() { "subscription.updated" } else { "subscription.created" };
            audit::record(tx, tenant, &ids, now, &by, action, tenant, &difference).await?;
            Ok(is_moved)
        })
    });
    let is_moved = write.await?;
    parts.directory.catch_up().await;
    if is_moved && let Err(error) = recount::count(engine, tenant).await {
        tracing::warn!(%error, tenant.id = %tenant, "What a tenant used of its new plan is counted in a minute");
    }
    show(parts, tenant).await
}

/// The subscription as a change leaves it.
fn changed(
    before: Option<Subscription>,
    tenant: TenantId,
    change: SubscriptionPatch,
    zone: &TimeZone,
    now: Timestamp,
) -> Result<Subscription, Error> {
    let mut faults = Faults::default();
    let (month_begins, month_ends) = months::month(zone, now);
    let was_billed = before.as_ref().is_some_and(is_billed_whole);
    let is_dated = [&change.trial_ends_at, &change.past_due_since, &change.canceled_at]
        .into_iter()
        .any(|at| matches!(at, Patch::Set(_)));
    let mut after = match (before, &change.plan_id) {
        (Some(before), _) => before,
        (None, Patch::Set(plan_id)) => begun(tenant, Some(*plan_id), month_ends, now),
        // Who it buys credit as has to be said without a plan, too, and nothing else has.
        (None, _) if matches!(change.customer, Patch::Set(_)) && !is_dated => begun(tenant, None, month_ends, now),
        (None, _) => {
            let detail = "this tenant has no plan yet: name one, GET /v1/plans lists them, let it pay afterwards by the price list (`mode` of PATCH /v1/credits), or say no more than its `customer`";
            return Err(Error::invalid("/plan_id", detail));
        }
    };
    after.plan_id = match (after.plan_id, change.plan_id) {
        (None, Patch::Set(plan_id)) => {
            // What was used before is charged by the price list, and counts against no plan.
            after.counted_from = now;
            Some(plan_id)
        }
        (None, Patch::Keep | Patch::Clear) => None,
        (Some(before), change) => Some(change.required(before, "/plan_id", &mut faults.0)),
    };
    after.trial_ends_at = match change.trial_ends_at {
        // What was free stays free: a trial that is ended ends now.
        Patch::Clear => after.trial_ends_at.map(|at| at.min(now)),
        change => change.onto(after.trial_ends_at),
    };
    match change.past_due_since {
        Patch::Clear => after.forgiven_until = Some(now),
        Patch::Set(since) if since > now => {
            faults.add("/past_due_since", "not later than now: since when a bill is unpaid");
        }
        Patch::Set(_) | Patch::Keep => {}
    }
    after.past_due_since = change.past_due_since.onto(after.past_due_since);
    let canceled_at = change.canceled_at.onto(after.canceled_at);
    // Ended and taken back within a month that is not closed: nothing was billed in between, and it goes on as if nothing had been said.
    let is_taken_back = after.cancel_said_at.is_some_and(|at| at >= month_begins) && after.closes_at.is_some();
    if canceled_at != after.canceled_at {
        (after.canceled_at, after.cancel_said_at) = (canceled_at, canceled_at.map(|_| now));
    }
    if was_billed && !is_taken_back && after.canceled_at.is_none_or(|at| at > now) {
        // It goes on after its last bill.
        begin_now(&mut after, month_ends, now);
    }
    // What an earlier version took stays until it is written anew.
    if let Patch::Set(customer) = &change.customer {
        customer.check(&mut faults);
    }
    let customer = change.customer.or(Customer::from_stored(&after.customer), Customer::default());
    after.customer = serde_json::to_string(&customer).map_err(Error::internal)?;
    after.updated_at = now;
    faults.end()?;
    Ok(after)
}

/// True when invoices reach beyond its end: only what is to be put right may follow.
fn is_billed_whole(row: &Subscription) -> bool {
    row.closes_at.is_none() || row.canceled_at.is_some_and(|at| at <= row.billed_until)
}

/// Refuses a plan that is not there, is archived, or is in another currency than the tenant's credit.
async fn check_plan(tx: &mut Tx, before: Option<&Subscription>, after: &Subscription) -> Result<(), Error> {
    if before.is_some_and(|before| before.plan_id == after.plan_id) {
        return Ok(());
    }
    let Some(id) = after.plan_id else { return Ok(()) };
    let plan = plan_rows::find(tx, id).await?.filter(|plan| plan.archived_at.is_none());
    let Some(plan) = plan else {
        return Err(Error::invalid("/plan_id", "there is no such plan to choose; GET /v1/plans lists them"));
    };
    let ledger = credits::find(tx, after.tenant_id).await?;
    // What was owed before billing was ended is still to be put on an invoice.
    let is_billed =
        |ledger: &credits::Ledger| BillingMode::from_stored(&ledger.mode) != BillingMode::None || ledger.available < 0;
    match ledger.filter(|ledger| is_billed(ledger) && ledger.currency != plan.currency) {
        Some(ledger) => {
            let detail = format!(
                "the plan is in {} and the tenant's credit in {}; one invoice has one currency: choose a plan in {}, or let messages be charged no more first (`mode` of PATCH /v1/credits) and settle what is owed",
                plan.currency, ledger.currency, ledger.currency
            );
            Err(Error::invalid("/plan_id", detail))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    fn subscribed(trial: Option<i64>, past_due: Option<i64>, canceled: Option<i64>) -> Subscribed {
        Subscribed {
            plan_id: Some(PlanId::from_ulid(1)),
            allowances: Vec::new(),
            trial_ends_at: trial.map(at),
            past_due_since: past_due.map(at),
            canceled_at: canceled.map(at),
            zone: TimeZone::UTC,
        }
    }

    #[test]
    fn the_state_follows_from_dates() {
        use SubscriptionState::{Active, Canceled, PastDue, Trial};
        let check = |subscribed: Subscribed, now: i64, expected| assert_eq!(subscribed.state(at(now)), expected);
        check(subscribed(None, None, None), 5, Active);
        check(subscribed(Some(6), None, None), 5, Trial);
        check(subscribed(Some(6), None, None), 6, Active);
        check(subscribed(Some(9), Some(5), None), 5, PastDue);
        check(subscribed(None, Some(6), None), 5, Active);
        check(subscribed(None, Some(5), Some(6)), 5, PastDue);
        check(subscribed(Some(9), Some(5), Some(6)), 6, Canceled);
    }

    #[test]
    fn an_unpaid_bill_stops_marketing_and_a_cancellation_everything() {
        let refused = |subscribed: &Subscribed, purpose, now: i64| {
            subscribed.permit(purpose, at(now)).err().map(|error| error.code)
        };
        let (marketing, usual) = (Purpose::Marketing, Purpose::Transactional);
        let late = subscribed(None, Some(10), None);
        assert_eq!(refused(&late, marketing, 10 + GRACE_S - 1), None);
        assert_eq!(refused(&late, marketing, 10 + GRACE_S), Some("subscription_past_due"));
        assert_eq!(refused(&late, usual, 10 + 10 * GRACE_S), None);
        let over = subscribed(None, None, Some(10));
        assert_eq!(refused(&over, usual, 9), None);
        assert_eq!(refused(&over, usual, 10), Some("subscription_canceled"));
    }

    #[test]
    fn a_trial_that_is_ended_was_free_until_then() {
        let zone = TimeZone::UTC;
        let patch = |trial_ends_at| SubscriptionPatch { trial_ends_at, ..SubscriptionPatch::default() };
        let first = SubscriptionPatch { plan_id: Patch::Set(PlanId::from_ulid(1)), ..patch(Patch::Set(at(90))) };
        let made = changed(None, TenantId::from_ulid(1), first, &zone, at(1)).unwrap();
        let ended = |now| {
            let after = changed(Some(made.clone()), made.tenant_id, patch(Patch::Clear), &zone, at(now)).unwrap();
            after.trial_ends_at
        };
        assert_eq!((ended(50), ended(95)), (Some(at(50)), Some(at(90))));
        let never = Subscription { trial_ends_at: None, ..made.clone() };
        let same = changed(Some(never), made.tenant_id, patch(Patch::Clear), &zone, at(50)).unwrap();
        assert_eq!(same.trial_ends_at, None);
    }

    #[test]
    fn without_a_plan_nothing_but_the_customer_is_said() {
        let said = SubscriptionPatch { customer: Patch::Set(Customer::default()), ..SubscriptionPatch::default() };
        let begin = |change: SubscriptionPatch| changed(None, TenantId::from_ulid(1), change, &TimeZone::UTC, at(5));
        let row = begin(said.clone()).unwrap();
        assert_eq!((row.plan_id, row.billed_until), (None, at(5)));
        for change in [
            SubscriptionPatch { trial_ends_at: Patch::Set(at(9)), ..said.clone() },
            SubscriptionPatch { past_due_since: Patch::Set(at(1)), ..said.clone() },
            SubscriptionPatch { canceled_at: Patch::Set(at(1)), ..said },
        ] {
            assert_eq!(begin(change).unwrap_err().errors[0].pointer, "/plan_id");
        }
    }

    #[test]
    fn what_goes_on_after_its_last_bill_is_billed_from_then_on() {
        let zone = TimeZone::UTC;
        let change = |plan_id: Patch<PlanId>, canceled_at: Patch<Timestamp>| SubscriptionPatch {
            plan_id,
            canceled_at,
            ..SubscriptionPatch::default()
        };
        let tenant = TenantId::from_ulid(1);
        let none = changed(None, tenant, change(Patch::Keep, Patch::Keep), &zone, at(1)).unwrap_err();
        assert_eq!(none.errors[0].pointer, "/plan_id");
        let first = change(Patch::Set(PlanId::from_ulid(1)), Patch::Keep);
        let made = changed(None, tenant, first, &zone, at(1)).unwrap();
        assert_eq!(
            (made.billed_until, made.closes_at),
            (at(1), Some(at(31 * 86_400))),
            "what was sent before is not billed"
        );
        // Ended in the past by mistake, and put right in the same month: what was used until now is billed.
        let mistaken =
            changed(Some(made.clone()), tenant, change(Patch::Keep, Patch::Set(at(1))), &zone, at(9)).unwrap();
        assert_eq!((mistaken.billed_until, mistaken.cancel_said_at), (at(1), Some(at(9))));
        let right = changed(Some(mistaken), tenant, change(Patch::Keep, Patch::Clear), &zone, at(10)).unwrap();
        assert_eq!((right.billed_until, right.closes_at, right.cancel_said_at), (at(1), made.closes_at, None));
        let ended = Subscription { canceled_at: Some(at(5)), closes_at: Some(at(8)), billed_until: at(5), ..made };
        let same = changed(Some(ended.clone()), tenant, change(Patch::Keep, Patch::Keep), &zone, at(9)).unwrap();
        assert_eq!((same.billed_until, same.closes_at), (at(5), Some(at(8))));
        let again = changed(Some(ended), tenant, change(Patch::Keep, Patch::Clear), &zone, at(32 * 86_400)).unwrap();
        assert_eq!((again.billed_until, again.closes_at), (at(32 * 86_400), Some(at(59 * 86_400))));
    }
}
