//! Every invoice and credit note against its own lines, dates and plan, the series of numbers, and credit notes against what they take back: also of tenants that are gone, because an
//! operator keeps bills.

use std::collections::BTreeMap;

use model::{Channel, InvoiceId};
use store::{
    Db, Scope, Tx,
    audit::Told,
    invoices::{self, Invoice},
    plans::{self, Plan},
    recounts,
};

use super::{Found, PAGE, ROWS_MAX, issued};
use crate::{
    Error, demo,
    documents::figures::minor_unit,
    invoices::{
        Body, InvoiceKind, InvoiceState,
        compose::{Line, LineKind, TaxRate, taxed},
        digest::{self, Progress},
        settings::BillingSettings,
    },
    plans::{Allowance, allowances, months},
    vault::OPERATOR,
};

/// Numbers that are looked for at once.
const NUMBERS_MAX: usize = 500;
/// Numbers of one series at most that are missed: how many were given is a number in the database, where anything may stand.
const MISSED_MAX: usize = 100_000;
/// The shortest month, in seconds: a February in which the clocks change, and which ends on another clock than it began.
const SHORTEST_S: i64 = 28 * 86_400 - 27 * 3_600;

/// A page of invoices, each with its plan, with the invoice it takes back, and with what the operator's log tells of it.
type Page = Vec<(Invoice, Option<Plan>, Option<Invoice>, Vec<Told>)>;

/// Checks invoices and their numbers.
pub(super) async fn look(db: &Db, found: &mut Found) -> Result<(), Error> {
    let read = db.read(Scope::System, |tx| {
        Box::pin(async move {
            let changed = recounts::billing_settings_changed(tx, OPERATOR).await?;
            let settings = changed.zip(Some(BillingSettings::read(tx).await?));
            Ok::<_, Error>((settings, Progress::read(tx).await? == Progress::Complete))
        })
    });
    let (settings, are_all_told) = read.await?;
    let (mut numbers, mut after) = (Vec::new(), InvoiceId::from_ulid(0));
    loop {
        let page = db.read(Scope::System, move |tx| Box::pin(page(tx, after))).await?;
        let Some(last) = page.last() else { break };
        after = last.0.id;
        for (row, plan, of, told) in &page {
            found.verified.invoices += 1;
            let settings = settings.as_ref().filter(|(since, _)| row.created_at > *since).map(|(_, settings)| settings);
            look_at(row, plan.as_ref(), of.as_ref(), settings, found);
            if let Some(wrong) = issued::untold(row, told, are_all_told) {
                found.add(Some(row.tenant_id), "invoice", || format!("{}: {wrong}", name(row)));
            }
            // A demo's is for show, and goes with its tenant.
            let number = row.number.as_ref().filter(|number| !number.starts_with(demo::bill::SERIES));
            numbers.extend(number.map(|number| (number.clone(), row.tenant_id)));
        }
    }
    issued::missing(db, found).await?;
    // Read last, so that every number that was seen is of a series that is known.
    let read = db.read(Scope::System, |tx| {
        Box::pin(async move {
            let credited = recounts::miscredited(tx, ROWS_MAX).await?;
            let gone = recounts::without_tenant(tx, ROWS_MAX).await?;
            Ok::<_, Error>((invoices::series(tx).await?, credited, gone))
        })
    });
    let (series, credited, gone) = read.await?;
    let mut given: BTreeMap<&str, Vec<i64>> = BTreeMap::new();
    for (number, tenant) in &numbers {
        let of = series.iter().filter(|(name, _)| number.starts_with(name.as_str())).max_by_key(|(name, _)| name.len());
        let place = of.and_then(|(name, _)| Some((name, number[name.len()..].parse::<i64>().ok()?)));
        match place.filter(|(name, place)| *number == format!("{name}{place:06}")) {
            Some((name, place)) => given.entry(name.as_str()).or_default().push(place),
            None => found.add(Some(*tenant), "invoice", || format!("{number} is of no series")),
        }
    }
    for (name, last) in &series {
        let mut given = given.remove(name.as_str()).unwrap_or_default();
        given.sort_unstable();
        for number in given.iter().filter(|number| !(1..=*last).contains(*number)) {
            found.add(None, "invoice", || format!("the number {name}{number:06} was never given"));
        }
        for pair in given.windows(2).filter(|pair| pair[0] == pair[1]) {
            found.add(None, "invoice", || format!("the number {name}{:06} was given twice", pair[0]));
        }
        let missing = (1..=*last).filter(|number| given.binary_search(number).is_err()).take(MISSED_MAX);
        look_for(db, missing.map(|number| format!("{name}{number:06}")), found).await?;
    }
    found.add_all(None, "invoice", credited, |(tenant, id, notes)| match notes {
        -1 => format!("{id} of {tenant} takes an invoice back that is not there"),
        notes => format!("{id} of {tenant} has {notes} credit notes, which does not fit what became of it"),
    });
    found.add_all(None, "billing", gone, |(tenant, table)| {
        format!("{table} has rows of {tenant}, and there is no such tenant")
    });
    Ok(())
}

async fn page(tx: &mut Tx, after: InvoiceId) -> Result<Page, Error> {
    let (mut page, mut known) = (Page::new(), BTreeMap::new());
    let rows = invoices::page(tx, after, PAGE).await?;
    let mut told = digest::told(tx, &rows).await?;
    for row in rows {
        let plan = Body::from_stored(&row.body).ok().and_then(|body| body.plan_id);
        if let Some(id) = plan
            && !known.contains_key(&id)
        {
            known.insert(id, plans::find(tx, id).await?);
        }
        let of = match row.of_id {
            Some(id) => invoices::find(tx, row.tenant_id, id).await?,
            None => None,
        };
        let told = told.remove(&row.id.to_string()).unwrap_or_default();
        page.push((row, plan.and_then(|id| known[&id].clone()), of, told));
    }
    Ok(page)
}

/// Tells which numbers no invoice has, looking once more at those that were given while the invoices were read.
async fn look_for(db: &Db, missing: impl Iterator<Item = String>, found: &mut Found) -> Result<(), Error> {
    let missing: Vec<String> = missing.collect();
    for numbers in missing.chunks(NUMBERS_MAX) {
        let asked = numbers.to_vec();
        let read = db.read(Scope::System, move |tx| {
            Box::pin(async move { Ok::<_, Error>(recounts::given_numbers(tx, &asked).await?) })
        });
        let there = read.await?;
        for number in numbers.iter().filter(|number| !there.contains(number)) {
            found.add(None, "invoice", || format!("the number {number} was given and has no invoice"));
        }
    }
    Ok(())
}

/// How people find it.
pub(super) fn name(row: &Invoice) -> String {
    row.number.clone().unwrap_or_else(|| row.id.to_string())
}

/// Checks one invoice, with its plan, what it takes back, and how invoices were written then, where that is known.
fn look_at(
    row: &Invoice,
    plan: Option<&Plan>,
    of: Option<&Invoice>,
    settings: Option<&BillingSettings>,
    found: &mut Found,
) {
    let Ok(body) = Body::from_stored(&row.body) else {
        found.add(Some(row.tenant_id), "invoice", || format!("{}: what it says cannot be read", name(row)));
        return;
    };
    let is_demo = row.number.as_deref().is_some_and(|number| number.starts_with(demo::bill::SERIES));
    let mut wrong = Vec::new();
    wrong.extend(misdated(row, &body, is_demo));
    wrong.extend(misadded(row, &body));
    wrong.extend(misplanned(row, &body, plan));
    wrong.extend(settings.filter(|_| of.is_none() && !is_demo).and_then(|settings| mistaxed(&body, settings)));
    let sign = if row.kind == InvoiceKind::CreditNote.as_str() { -1 } else { 1 };
    wrong.extend(
        body.lines.iter().filter_map(|line| misfigured(line, sign, &body.allowances, minor_unit(&row.currency))),
    );
    wrong.extend(misshared(&body, sign));
    if let Some(of) = of {
        wrong.extend(miscredited(row, &body, of));
    }
    for wrong in wrong {
        found.add(Some(row.tenant_id), "invoice", || format!("{}: {wrong}", name(row)));
    }
}

/// What does not fit the state of an invoice: its number, its dates, its payment.
fn misdated(row: &Invoice, body: &Body, is_demo: bool) -> Option<String> {
    let is = |state: InvoiceState| row.state == state.as_str();
    let is_note = row.kind == InvoiceKind::CreditNote.as_str();
    let kinds = [InvoiceKind::Invoice, InvoiceKind::Correction, InvoiceKind::CreditNote];
    let is_known = kinds.iter().any(|kind| row.kind == kind.as_str())
        && [InvoiceState::Draft, InvoiceState::Issued, InvoiceState::Paid, InvoiceState::Void].into_iter().any(is);
    let (has_number, is_issued) = (row.number.is_some(), row.issued_at.is_some());
    // A credit note is nothing to pay, also one of an invoice that gave back.
    let is_due = row
        .issued_at
        .filter(|_| row.total > 0 && !is_note)
        .map(|at| at.plus_seconds(i64::from(body.due_days) * 86_400));
    let is_right = is_known
        && is_note == row.of_id.is_some()
        && has_number == is_issued
        && (has_number || is(InvoiceState::Draft) || is(InvoiceState::Void))
        && !(is(InvoiceState::Draft) && has_number)
        && (row.due_at == is_due || (is_demo && row.due_at > row.issued_at))
        && is(InvoiceState::Void) == row.voided_at.is_some()
        && !(is_note && is(InvoiceState::Void))
        // What was paid may be taken back, and then it still says so.
        && (is(InvoiceState::Paid) == row.paid_at.is_some() || (is(InvoiceState::Void) && has_number))
        // Where nothing is to be paid nobody names a payment.
        && (is_note || row.payment.is_some() == (row.paid_at.is_some() && row.total > 0))
        && (!is(InvoiceState::Issued) || row.total > 0)
        && row.starts_at < row.ends_at;
    (!is_right).then(|| {
        format!("it is a {} that is {}, and its number, its dates or its payment do not fit that", row.kind, row.state)
    })
}

/// What does not add up: lines, taxes and total.
fn misadded(row: &Invoice, body: &Body) -> Vec<String> {
    let mut wrong = Vec::new();
    let net: i64 = body.lines.iter().map(|line| line.amount_micros).sum();
    let total = net + body.taxes.iter().map(|tax| tax.amount_micros).sum::<i64>();
    if net != body.net || total != row.total {
        wrong.push(format!("its lines come to {net} and {total} with taxes, it says {} and {}", body.net, row.total));
    }
    for tax in &body.taxes {
        let rate = TaxRate { name: tax.name.clone(), rate_ppm: tax.rate_ppm };
        let right = taxed(&rate, body.net, minor_unit(&row.currency)).amount_micros;
        if right != tax.amount_micros {
            wrong.push(format!("{} of {} comes to {right}, it says {}", tax.name, body.net, tax.amount_micros));
        }
    }
    if body.lines.is_empty() {
        wrong.push("it has no lines".to_owned());
    }
    wrong
}

/// Taxes that are not those of the customer, as invoices were written then.
fn mistaxed(body: &Body, settings: &BillingSettings) -> Option<String> {
    let tax = settings.tax(&body.customer, body.customer.country.as_deref());
    let right: Vec<_> = tax.iter().map(|tax| (tax.name.as_str(), tax.rate_ppm)).collect();
    let billed: Vec<_> = body.taxes.iter().map(|tax| (tax.name.as_str(), tax.rate_ppm)).collect();
    (billed != right).then(|| format!("its customer's taxes are {right:?} (in millionths), and it bills {billed:?}"))
}

/// What does not fit the plan, which never changes, or the month on the tenant's clock.
fn misplanned(row: &Invoice, body: &Body, plan: Option<&Plan>) -> Vec<String> {
    let mut wrong = Vec::new();
    match plan {
        Some(plan) if plan.currency != row.currency => {
            wrong.push(format!("it is in {}, and its plan in {}", row.currency, plan.currency))
        }
        Some(plan) if allowances(&plan.allowances) != body.allowances => {
            wrong.push("its plan includes something else".to_owned())
        }
        Some(plan) => wrong.extend(misfitting(row, body, plan)),
        None if body.plan_id.is_some() => wrong.push("there is no such plan as it names".to_owned()),
        None => {}
    }
    if let Some(zone) = &body.timezone {
        let (zone, starts_at, ends_at) = (months::zone(zone), row.starts_at, row.ends_at);
        let month = months::of_bill(&zone, starts_at, ends_at);
        // Of several months that are put right together it says the one in their middle.
        if month != body.month && months::name(&zone, months::middle(starts_at, ends_at)) != body.month {
            wrong.push(format!("it says it is for {}, and its time lies in {month}", body.month));
        }
    }
    wrong
}

/// What an invoice bills of its plan and does not fit it: one fee, which is no more than that of the part of a month it is for, and with it what it includes.
fn misfitting(row: &Invoice, body: &Body, plan: &Plan) -> Vec<String> {
    let mut wrong = Vec::new();
    let fees: Vec<&Line> = body.lines.iter().filter(|line| line.kind == LineKind::Fee).collect();
    let begins_at = body.counted_from.unwrap_or(row.starts_at).max(row.starts_at);
    let part = i128::from(row.ends_at.as_micros()) - i128::from(begins_at.as_micros());
    let most = i128::from(plan.monthly_fee) * part / i128::from(SHORTEST_S * 1_000_000);
    let most = most.clamp(0, plan.monthly_fee.into()) + i128::from(minor_unit(&row.currency));
    let is_other = |line: &&Line| {
        i128::from(line.amount_micros.abs()) > most || line.unit_micros.is_some_and(|unit| unit != plan.monthly_fee)
    };
    if fees.len() > 1 || fees.iter().any(is_other) {
        wrong.push(format!("its plan costs {} a month", plan.monthly_fee));
    }
    let count = |allowance: &Allowance, kind: LineKind| {
        let is_it = |line: &&Line| line.kind == kind && line.channel == Some(allowance.channel);
        body.lines.iter().filter(is_it).count()
    };
    let is_there = |allowance: &Allowance| match (fees.len(), count(allowance, LineKind::Included)) {
        (0, included) => included + count(allowance, LineKind::Overage) == 0,
        (_, included) => included == 1 || (included == 0 && allowance.included == 0),
    };
    if !body.allowances.iter().all(is_there) {
        wrong.push("it does not bill both the fee of its plan and what that includes".to_owned());
    }
    wrong
}

/// What is wrong with a line by itself; `sign` is -1 on a credit note.
fn misfigured(line: &Line, sign: i64, allowances: &[Allowance], coin: i64) -> Option<String> {
    let (quantity, amount) = (line.quantity * sign, line.amount_micros * sign);
    let included = allowances.iter().find(|allowance| Some(allowance.channel) == line.channel);
    let exact = line.unit_micros.map(|unit| quantity.saturating_mul(unit));
    // What is less than a coin is shared out over lines.
    let is_near = exact.is_none_or(|exact| (exact - amount).abs() <= coin);
    let is_right = amount % coin == 0
        && match line.kind {
            LineKind::Fee => quantity == 1 && amount >= 0 && is_near,
            LineKind::Included => {
                amount == 0 && included.is_some_and(|allowance| (0..=allowance.included).contains(&quantity))
            }
            LineKind::Overage => {
                quantity > 0
                    && is_near
                    && line.unit_micros.is_some()
                    && line.unit_micros == included.and_then(|allowance| allowance.overage_micros)
            }
            LineKind::Messages => quantity >= 0 && line.channel.is_some() && line.unit_micros.is_none(),
            LineKind::Credit => quantity == 1 && amount != 0,
            LineKind::Correction => quantity != 0 && is_near && line.unit_micros.is_some(),
            LineKind::MessagesCorrection => amount != 0 && line.channel.is_some() && line.unit_micros.is_none(),
        };
    (!is_right).then(|| {
        format!(
            "the line {:?} of {} at {:?} for {} does not fit",
            line.description, line.quantity, line.unit_micros, line.amount_micros
        )
    })
}

/// Lines that do not fit one another: messages beyond a plan before it is used up, and more paid out of credit than messages cost.
fn misshared(body: &Body, sign: i64) -> Option<String> {
    let sum = |kind: LineKind, channel: Channel| -> Option<i64> {
        let of = body.lines.iter().filter(|line| line.kind == kind && line.channel == Some(channel));
        of.map(|line| line.quantity * sign).reduce(|sum, one| sum + one)
    };
    for allowance in &body.allowances {
        let (within, beyond) = (sum(LineKind::Included, allowance.channel), sum(LineKind::Overage, allowance.channel));
        if beyond.is_some() && within != Some(allowance.included) {
            return Some(format!(
                "{}: {beyond:?} messages are beyond the {} that are included, of which it bills {within:?}",
                allowance.channel, allowance.included
            ));
        }
    }
    let of = |kinds: &[LineKind]| -> i64 {
        body.lines.iter().filter(|line| kinds.contains(&line.kind)).map(|line| line.amount_micros * sign).sum()
    };
    let (due, credit) = (of(&[LineKind::Messages, LineKind::MessagesCorrection]), -of(&[LineKind::Credit]));
    let credits = body.lines.iter().filter(|line| line.kind == LineKind::Credit).count();
    // Who pays ahead has paid all of it, also what comes back.
    let is_right = credits == 0 || (credits == 1 && (credit == due || (0..=due).contains(&credit)));
    (!is_right).then(|| format!("{credit} were paid out of credit for messages that cost {due}"))
}

/// What a credit note says otherwise than the invoice it takes back.
fn miscredited(note: &Invoice, body: &Body, of: &Invoice) -> Option<String> {
    let Ok(other) = Body::from_stored(&of.body) else { return None };
    let turned = |line: &Line| Line { quantity: -line.quantity, amount_micros: -line.amount_micros, ..line.clone() };
    let turned: Vec<Line> = body.lines.iter().map(turned).collect();
    let is_right = (note.currency.as_str(), note.starts_at, note.ends_at, -note.total, -body.net)
        == (of.currency.as_str(), of.starts_at, of.ends_at, of.total, other.net)
        && turned.iter().map(Line::figures).eq(other.lines.iter().map(Line::figures))
        && body.of_number.as_ref().is_none_or(|number| Some(number) == of.number.as_ref());
    (!is_right).then(|| format!("it takes {} back, and does not say the same", name(of)))
}
