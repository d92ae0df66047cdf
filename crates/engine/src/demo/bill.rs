//! What a demo tenant seems to pay: a plan whose quotas count, and the invoice of last month. Nothing of it is charged.
//!
//! Its subscription is closed from the start, so no month of it is ever billed, and its invoice has a number of its own beginning ([`SERIES`]), of which no series of real
//! numbers knows: it goes with the tenant, and leaves no gap.

use jiff::tz::TimeZone;
use model::{InvoiceId, PlanId, TenantId, Timestamp};
use serde_json::json;
use store::{
    Scope, Tx, demo_tenants,
    demo_tenants::DemoTenant,
    invoices::{self, Invoice},
    plans::{self, Plan},
    quotas::{self, Counter},
    subscriptions::{self, Subscription},
    tenants,
};

use crate::{
    Engine, Error,
    invoices::{
        Body, InvoiceKind, InvoiceState,
        compose::{Facts, compose},
        counting,
        settings::{BillingSettings, Seller},
    },
    plans::{allowances, months, subscription::Customer},
};

/// What begins the numbers of demo tenants' invoices. No series of real ones may.
pub(crate) const SERIES: &str = "DEMO-";
/// The plan all demo tenants have. It is archived: nobody else can be moved to it.
const PLAN: PlanId = PlanId::from_ulid(1);
/// Days until its invoice would be due: longer than the tenant lives.
const DUE_DAYS: i64 = 14;
/// How long after the end of its month the invoice seems to be written, in seconds.
const AFTER_S: i64 = 3_600;

/// Writes plan, quotas and invoice, together with the stage that says they are there.
pub(super) async fn write(engine: &Engine, row: DemoTenant) -> Result<(), Error> {
    let id = InvoiceId::from_ulid(engine.ports.ids.ulid(row.created_at));
    let write = engine.ports.db.write(Scope::System, move |tx| {
        Box::pin(async move {
            if demo_tenants::advance(tx, row.tenant, row.stage, row.stage + 1).await? {
                tenants::bump(tx, Some(row.tenant)).await?;
                let plan = plan(tx, row.created_at).await?;
                let zone = TimeZone::UTC;
                let (begins, ends) = months::month(&zone, row.created_at);
                subscribe(tx, row.tenant, begins, row.created_at).await?;
                count(tx, row.tenant, &plan, (begins, ends), row.created_at).await?;
                let last = months::month(&zone, begins.plus_seconds(-1)).0;
                bill(tx, &row, id, &plan, (last, begins)).await?;
            }
            Ok::<_, Error>(())
        })
    });
    write.await?;
    engine.parts().directory.catch_up().await;
    Ok(())
}

/// The plan of demo tenants, made with the first of them.
async fn plan(tx: &mut Tx, now: Timestamp) -> Result<Plan, Error> {
    if let Some(plan) = plans::find(tx, PLAN).await? {
        return Ok(plan);
    }
    let grants = json!([
        {"channel": "email", "included": 1_000, "overage_micros": 1_000},
        {"channel": "sms", "included": 50, "overage_micros": 40_000, "limit": 2_000},
        {"channel": "whatsapp", "included": 500},
    ]);
    let plan = Plan {
        id: PLAN,
        name: "Studio (demo)".to_owned(),
        currency: "USD".to_owned(),
        monthly_fee: 49_000_000,
        allowances: grants.to_string(),
        is_offered: false,
        created_at: now,
        updated_at: now,
        archived_at: Some(now),
    };
    plans::insert(tx, &plan).await?;
    Ok(plan)
}

async fn subscribe(tx: &mut Tx, tenant: TenantId, month_begins: Timestamp, now: Timestamp) -> Result<(), Error> {
    let customer = serde_json::to_string(&customer()).map_err(Error::internal)?;
    let subscription = Subscription {
        tenant_id: tenant,
        plan_id: Some(PLAN),
        trial_ends_at: None,
        past_due_since: None,
        forgiven_until: None,
        canceled_at: None,
        cancel_said_at: None,
        customer,
        counted_from: month_begins,
        billed_until: month_begins,
        closes_at: None,
        created_at: now,
        updated_at: now,
    };
    Ok(subscriptions::put(tx, tenant, &subscription).await?)
}

/// Where the operator has not said yet who writes invoices.
fn seller() -> Seller {
    Seller {
        name: "Tidings Hosting (demo)".to_owned(),
        address: vec!["2 Harbour Road".to_owned(), "Springfield".to_owned()],
        ..Seller::default()
    }
}

/// Without an address for mail: nobody is written to about it.
fn customer() -> Customer {
    Customer {
        name: Some("Acme Tickets".to_owned()),
        address: vec!["1 High Street".to_owned(), "Springfield".to_owned()],
        country: Some("US".to_owned()),
        ..Customer::default()
    }
}

/// Counts what the running month has used of the plan so far. Everything in it has ended: what was sent is what counts.
async fn count(
    tx: &mut Tx,
    tenant_id: TenantId,
    plan: &Plan,
    (starts_at, ends_at): (Timestamp, Timestamp),
    until: Timestamp,
) -> Result<(), Error> {
    // The half hour that is not over yet is counted, too: nothing is later than now.
    let sent = counting::counted(tx, tenant_id, (starts_at, until.plus_seconds(AFTER_S)), None).await?;
    let counter = |channel| Counter {
        tenant_id,
        channel,
        starts_at,
        ends_at,
        used: sent.iter().filter(|((of, _), _)| *of == channel).map(|(_, sent)| sent).sum(),
        warned: 0,
        warned_of: 0,
    };
    let counters: Vec<Counter> = allowances(&plan.allowances).iter().map(|grant| counter(grant.channel)).collect();
    Ok(quotas::begin_many(tx, &counters).await?)
}

async fn bill(
    tx: &mut Tx,
    row: &DemoTenant,
    id: InvoiceId,
    plan: &Plan,
    (starts_at, ends_at): (Timestamp, Timestamp),
) -> Result<(), Error> {
    let facts = Facts {
        currency: plan.currency.clone(),
        plan: Some(plan.name.clone()),
        monthly_fee: plan.monthly_fee,
        allowances: allowances(&plan.allowances),
        starts_at,
        ends_at,
        month_starts_at: starts_at,
        counted_from: starts_at,
        zone: TimeZone::UTC,
        trial_ends_at: None,
        canceled_at: None,
        sent: counting::counted(tx, row.tenant, (starts_at, ends_at), None).await?,
        earlier: Vec::new(),
        metered: None,
        tax: None,
    };
    let composed = compose(&facts);
    let settings = BillingSettings::read(tx).await?;
    let body = Body {
        seller: if settings.seller.name.is_empty() { seller() } else { settings.seller },
        customer: customer(),
        plan_id: Some(plan.id),
        plan: plan.name.clone(),
        allowances: facts.allowances,
        counted_from: None,
        counts_first_minutes: false,
        first_minutes: None,
        charges_apart: false,
        month: months::name(&TimeZone::UTC, starts_at),
        timezone: Some("UTC".to_owned()),
        lines: composed.lines,
        net: composed.net,
        taxes: composed.taxes,
        payment: vec!["Nothing is to be paid: this is a demo.".to_owned()],
        note: None,
        of_number: None,
        replaces: None,
        reason: None,
        due_days: DUE_DAYS.unsigned_abs() as u32,
    };
    let issued_at = ends_at.plus_seconds(AFTER_S).min(row.created_at);
    let name = row.tenant.to_string();
    // The end of an id is random.
    let number = format!("{SERIES}{}", &name[name.len() - 8..]);
    let (kind, time) = (InvoiceKind::Invoice.as_str(), (starts_at, ends_at));
    let invoice = Invoice {
        state: InvoiceState::Issued.as_str().to_owned(),
        number: Some(number),
        total: composed.total,
        body: serde_json::to_string(&body).map_err(Error::internal)?,
        issued_at: Some(issued_at),
        due_at: Some(row.created_at.plus_seconds(DUE_DAYS * 86_400)),
        ..Invoice::draft(row.tenant, id, kind, &facts.currency, time, issued_at)
    };
    Ok(invoices::insert(tx, row.tenant, &invoice).await?)
}
