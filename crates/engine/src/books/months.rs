//! What a tenant's invoices billed, against what was counted, against how far its subscription says it was billed, and against what invoices moved in its ledger; and its subscription against
//! what somebody set.

use std::collections::{BTreeMap, BTreeSet};

use jiff::tz::TimeZone;
use model::{Channel, Timestamp};
use store::{
    Db, Tx, charge_counters,
    credits::{self, Ledger},
    invoices::{self, Invoice, Invoiced},
    plans::{self, Plan},
    recounts::{self, OfInvoice},
    subscriptions::{self, Subscription},
};

use super::{
    Found, ROWS_MAX,
    bills::name,
    history::History,
    read,
    subscribed::{Told, feeless, misset},
};
use crate::{
    Error,
    documents::figures::minor_unit,
    invoices::{
        Body, InvoiceKind, InvoiceState,
        compose::{Charged, Line, LineKind, Sent},
        counting,
        renewing::replaced,
    },
};

/// A month on any clock with the hours clocks differ by, in seconds: so long a month may be that is still to be billed.
const MONTH_S: i64 = 33 * 86_400;
/// How far clocks are ahead of UTC at most, and how far they differ at most, in seconds.
const AHEAD_S: i64 = 14 * 3_600;
const APART_S: i64 = 26 * 3_600;

/// A month that was billed.
struct Month {
    invoice: Invoice,
    body: Body,
    /// The plan it bills.
    plan: Option<Plan>,
    /// What is on invoices of it.
    sent: Sent,
    charged: Charged,
    /// What was counted.
    sent_now: Sent,
    charged_now: Charged,
}

/// What is read of a tenant in one snapshot.
struct Bills {
    ledger: Option<Ledger>,
    subscription: Option<(Subscription, Option<Plan>)>,
    months: Vec<Month>,
    /// Bills in whose place others stand, and what was put right in other currencies than the tenant was billed in.
    others: Vec<(Invoice, Body)>,
    entries: Vec<OfInvoice>,
    told: Told,
    loose: recounts::Found<(Timestamp, Channel, String)>,
    /// Whether a charge was put right since the last month was closed.
    is_corrected: bool,
}

/// Checks what a tenant was billed. A demo's bill is for show.
pub(super) async fn look(db: &Db, history: &History, found: &mut Found) -> Result<(), Error> {
    if history.is_demo {
        return Ok(());
    }
    let tenant = history.tenant;
    let bills = read(db, tenant, move |tx| Box::pin(bills(tx, tenant))).await?;
    let of = Some(tenant);
    let Bills { ledger, subscription, months, others, entries, told, loose, is_corrected } = bills;
    for pair in months.windows(2).filter(|pair| pair[1].invoice.starts_at < pair[0].invoice.ends_at) {
        found.add(of, "invoice", || format!("{} bills again what an earlier invoice billed", name(&pair[1].invoice)));
    }
    match &subscription {
        Some((row, plan)) => {
            let all = months.iter().map(|month| &month.invoice).chain(others.iter().map(|(row, _)| row));
            for wrong in misclosed(history, row, plan.as_ref(), &months).into_iter().chain(misset(row, &told, all)) {
                found.add(of, "billing", || wrong);
            }
        }
        None if !months.is_empty() => {
            found.add(of, "billing", || "it was billed, and nothing says how far and what is billed next".to_owned());
        }
        None => {}
    }
    found.add_all(of, "billing", loose, |(at, channel, country)| {
        format!("{channel} to {country:?} is said to be billed from {at} on, and there is no invoice of that month")
    });
    for month in &months {
        // One in the place of others has the lines of the first.
        let closed_at = replaced_by(&month.body, &others).last().map_or(month.invoice.created_at, |of| of.created_at);
        let feeless = |plan| feeless(&month.invoice, &month.body, plan, &told, closed_at);
        if let Some(wrong) = month.plan.as_ref().and_then(feeless) {
            found.add(of, "invoice", || format!("{}: {wrong}", name(&month.invoice)));
        }
    }
    for (index, month) in months.iter().enumerate() {
        // What was charged before was put on invoices in another way.
        if month.invoice.created_at < history.charges_summed {
            continue;
        }
        if let Some(wrong) = unmoved(&month.invoice, &month.body, Again::Never, &entries).filter(|_| ledger.is_some()) {
            found.add(of, "invoice", || format!("{}: {wrong}", name(&month.invoice)));
        }
        let currency = ledger.as_ref().map(|ledger| ledger.currency.as_str());
        let is_in = |currency: &str| months[index..].iter().all(|later| later.invoice.currency == currency);
        // In which currency what a price list charged stands on bills, where it does.
        let charged_in = match currency {
            None => Some(month.invoice.currency.as_str()),
            Some(currency) => Some(currency).filter(|currency| month.body.charges_apart || is_in(currency)),
        };
        for wrong in misbilled(month, &months[index + 1..], &others, charged_in, is_corrected) {
            found.add(of, "billing", || format!("{}: {wrong}", name(&month.invoice)));
        }
    }
    for (row, body) in others.iter().filter(|(row, _)| row.created_at >= history.charges_summed) {
        let in_place = in_place_of(row, &months, &others);
        let again = match in_place {
            None => Again::Never,
            Some(_) if told.was_billed_after_all(row.id) => Again::Later,
            Some(_) => Again::AtOnce,
        };
        if let Some(wrong) = unmoved(row, body, again, &entries).filter(|_| ledger.is_some()) {
            found.add(of, "invoice", || format!("{}: {wrong}", name(row)));
        }
        if in_place.is_some_and(|(other, said)| !is_same((row, body), (other, said))) {
            found.add(of, "invoice", || {
                format!("{}: another one stands in its place and does not say the same", name(row))
            });
        }
    }
    Ok(())
}

/// The bill that stands in the place of one that was taken back.
fn in_place_of<'a>(
    row: &Invoice,
    months: &'a [Month],
    others: &'a [(Invoice, Body)],
) -> Option<(&'a Invoice, &'a Body)> {
    let months = months.iter().map(|month| (&month.invoice, &month.body));
    months.chain(others.iter().map(|(row, body)| (row, body))).find(|(_, body)| body.replaces == Some(row.id))
}

/// The bills in whose place one stands, the latest first.
fn replaced_by<'a>(body: &Body, others: &'a [(Invoice, Body)]) -> Vec<&'a Invoice> {
    let (mut found, mut replaces) = (Vec::new(), body.replaces);
    while let Some((of, body)) = others.iter().find(|(of, _)| Some(of.id) == replaces) {
        found.push(of);
        replaces = body.replaces.filter(|id| *id < of.id);
    }
    found
}

/// True when a bill that was taken back is billed again as it was, in whatever words.
fn is_same(of: (&Invoice, &Body), again: (&Invoice, &Body)) -> bool {
    let said = |(row, body): (&Invoice, &Body)| {
        (row.kind.clone(), row.currency.clone(), row.starts_at, row.ends_at, body.plan_id)
    };
    let is_line_by_line = of.1.lines.iter().map(Line::figures).eq(again.1.lines.iter().map(Line::figures));
    of.0.state == InvoiceState::Void.as_str() && said(of) == said(again) && is_line_by_line
}

async fn bills(tx: &mut Tx, tenant: model::TenantId) -> Result<Bills, store::Error> {
    let ledger = credits::find(tx, tenant).await?;
    let subscription = match subscriptions::find(tx, tenant).await? {
        Some(row) => {
            let plan = match row.plan_id {
                Some(id) => plans::find(tx, id).await?,
                None => None,
            };
            Some((row, plan))
        }
        None => None,
    };
    let mut kept: BTreeMap<Timestamp, Vec<Invoiced>> = BTreeMap::new();
    for row in invoices::invoiced_since(tx, tenant, Timestamp::EPOCH).await? {
        kept.entry(row.starts_at).or_default().push(row);
    }
    // One that cannot be read is told of where invoices are.
    let all = invoices::bills(tx, tenant).await?.into_iter();
    let all: Vec<(Invoice, Body)> =
        all.filter_map(|row| Body::from_stored(&row.body).ok().map(|body| (row, body))).collect();
    let told = Told::read(tx, tenant, all.iter().map(|(row, _)| row)).await?;
    let closed = all.iter().filter(|(_, body)| body.replaces.is_none()).map(|(row, _)| row.created_at).max();
    let replaced = replaced(&all);
    let is_month =
        |(row, _): &(Invoice, Body)| row.kind == InvoiceKind::Invoice.as_str() && !replaced.contains(&row.id);
    let (billed, others): (Vec<_>, Vec<_>) = all.into_iter().partition(is_month);
    let mut months = Vec::new();
    for (invoice, body) in billed {
        let rows = kept.remove(&invoice.starts_at).unwrap_or_default();
        let (starts_at, ends_at) = (invoice.starts_at, invoice.ends_at);
        let sent = rows.iter().map(|row| ((row.channel, row.country.clone()), row.sent));
        let counts = |row: &Invoiced| charge_counters::Counts { messages: row.charges, charged: row.charged };
        let charged = rows.iter().map(|row| ((row.channel, row.country.clone()), counts(row)));
        let (sent, charged) = (sent.collect(), charged.collect());
        let sent_now = counting::sent_in(tx, &invoice, &body, None).await?;
        let charged_now = counting::charged(tx, tenant, starts_at, ends_at).await?;
        let plan = match body.plan_id {
            Some(id) => plans::find(tx, id).await?,
            None => None,
        };
        months.push(Month { invoice, body, plan, sent, charged, sent_now, charged_now });
    }
    let billed_until = subscription.as_ref().map_or(Timestamp::EPOCH, |(row, _)| row.billed_until);
    Ok(Bills {
        ledger,
        subscription,
        months,
        others,
        told,
        entries: recounts::entries_of_invoices(tx, tenant).await?,
        loose: recounts::months_without_invoice(tx, tenant, billed_until, ROWS_MAX).await?,
        is_corrected: recounts::is_corrected_since(tx, tenant, closed.unwrap_or(Timestamp::EPOCH)).await?,
    })
}

/// How far a subscription says it was billed, against its invoices. It goes on from a later instant where it was given again.
fn misclosed(history: &History, row: &Subscription, plan: Option<&Plan>, months: &[Month]) -> Vec<String> {
    let mut wrong = Vec::new();
    // One without a plan begins with the way the tenant pays, and, from an upgrade on, with the month that has begun.
    let is_change = |at: Timestamp| history.subscription_changes.contains(&at) || at == row.created_at;
    let billed = months.iter().map(|month| month.invoice.ends_at).max();
    let is_right = match billed {
        Some(billed) if row.billed_until == billed => true,
        None if row.plan_id.is_none() && row.billed_until <= row.created_at => true,
        billed => {
            let begins = is_change(row.billed_until) || history.postpaid_since.contains(&row.billed_until);
            billed.is_none_or(|billed| billed < row.billed_until) && begins
        }
    };
    if !is_right {
        wrong.push(format!("invoices reach to {billed:?}, and the subscription says {}", row.billed_until));
    }
    if !is_change(row.counted_from) {
        wrong.push(format!("messages are counted from {} on, when the plan did not begin", row.counted_from));
    }
    if let (Some(id), None) = (row.plan_id, plan) {
        wrong.push(format!("there is no plan {id}"));
    }
    let is_whole = row.canceled_at.is_some_and(|at| at <= row.billed_until);
    let is_month = |at: Timestamp| {
        let zoned = at.plus_seconds(AHEAD_S).jiff().to_zoned(TimeZone::UTC);
        let first =
            zoned.date().first_of_month().to_zoned(TimeZone::UTC).map(|first| Timestamp::from(first.timestamp()));
        first.is_ok_and(|first| at.plus_seconds(AHEAD_S - APART_S) <= first) && counting::ceiling(at) == at
    };
    let is_right = match row.closes_at {
        None => is_whole,
        // Without a plan there are months with nothing to bill, which the first invoice with one reaches back over where the tenant paid afterwards.
        Some(at) => {
            let since = history.plan_since.map_or(row.billed_until, |since| since.max(row.billed_until));
            let is_next = row.plan_id.is_none() || at <= since.plus_seconds(MONTH_S);
            at > row.billed_until && is_month(at) && (is_whole || is_next)
        }
    };
    if !is_right {
        wrong.push(format!("it was billed until {}, and its next month ends at {:?}", row.billed_until, row.closes_at));
    }
    wrong
}

/// When what a bill said was billed again once it was taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Again {
    Never,
    AtOnce,
    /// It was given away until then.
    Later,
}

/// What a bill did not move in the ledger, or moved otherwise: what messages had cost and it asked for comes back once it is paid, or need not be. Where another one stands in its place
/// it is still to be paid, and is again if it was.
fn unmoved(row: &Invoice, body: &Body, again: Again, entries: &[OfInvoice]) -> Option<String> {
    let owed = body.postpaid();
    let of = |reference: &str, kind: &str| -> Vec<(bool, i64)> {
        let of = entries.iter().filter(|entry| entry.reference == reference && entry.kind == kind);
        of.map(|entry| (entry.is_in, entry.amount)).collect()
    };
    let reference = name(row);
    let (bought, adjusted) = (of(&reference, "purchase"), of(&reference, "adjustment"));
    let is_void = row.state == InvoiceState::Void.as_str();
    let (moved, back) = ((owed > 0, owed.abs()), (owed < 0, owed.abs()));
    let paid = if row.paid_at.is_some() && owed != 0 { vec![moved] } else { Vec::new() };
    let expected = match (row.paid_at.is_some(), again) {
        (false, Again::Never) => vec![moved],
        (false, Again::Later) => vec![moved, back],
        (true, Again::AtOnce | Again::Later) => vec![back],
        (false, Again::AtOnce) | (true, Again::Never) => Vec::new(),
    };
    // An operator may name an invoice as the reason of an adjustment, too.
    let is_adjusted = !is_void || owed == 0 || expected.iter().all(|expected| adjusted.contains(expected));
    (bought != paid || !is_adjusted).then(|| {
        format!("it is {} and asks for {owed} that a price list charged, and the ledger took {bought:?} and {adjusted:?} for it", row.state)
    })
}

/// What is on a month's invoice, and on later ones that put it right, against what is said to be on them; and that against what was counted.
fn misbilled(
    month: &Month,
    later: &[Month],
    others: &[(Invoice, Body)],
    charged_in: Option<&str>,
    is_corrected: bool,
) -> Vec<String> {
    let mut wrong = Vec::new();
    let row = &month.invoice;
    let mut called = vec![month.body.month.as_str()];
    called.extend(row.number.as_deref());
    // It was put right under the names, too, of those in whose place it stands.
    called.extend(replaced_by(&month.body, others).into_iter().filter_map(|of| of.number.as_deref()));
    let is_of = |description: &str| called.iter().any(|name| names(description, name));
    let replaced = replaced(others);
    // An amount in another currency puts nothing right.
    let corrections = |currency: &str| {
        let later = later.iter().map(|month| (&month.invoice, &month.body));
        let apart = others
            .iter()
            .filter(|(other, _)| other.kind == InvoiceKind::Correction.as_str() && !replaced.contains(&other.id));
        let bills = later.chain(apart.map(|(other, body)| (other, body)));
        let lines = bills.filter(|(other, _)| other.currency == currency).flat_map(|(_, body)| &body.lines);
        lines.filter(|line| is_of(&line.description)).collect::<Vec<_>>()
    };
    let put_right = charged_in.map(&corrections).unwrap_or_default();
    let is_own = |line: &Line| row.number.as_ref().is_some_and(|number| names(&line.description, number));
    for other in later.iter().filter(|later| later.invoice.currency != row.currency) {
        if other.body.lines.iter().any(is_own) {
            let (by, currency) = (name(&other.invoice), &other.invoice.currency);
            wrong.push(format!("it is in {}, and {by} puts it right in {currency}", row.currency));
        }
    }
    for line in month.body.lines.iter().filter(|line| line.kind == LineKind::Messages) {
        let key = (line.channel.unwrap_or(Channel::Webhook), line.country.clone().unwrap_or_default());
        let put_right = put_right.iter().filter(|one| {
            one.kind == LineKind::MessagesCorrection && (one.channel, &one.country) == (line.channel, &line.country)
        });
        let billed = line.quantity + put_right.map(|one| one.quantity).sum::<i64>();
        let said = month.charged.get(&key).map_or(0, |counts| counts.messages);
        // A line that comes to less than a coin does not put its messages right either.
        if charged_in.is_some() && (billed > said || (later.is_empty() && billed != said)) {
            wrong.push(format!(
                "{} to {:?}: {billed} messages are billed by the price list, and {said} are said to be",
                key.0, key.1
            ));
        }
    }
    // What was taken back is put right no more.
    if row.state != InvoiceState::Void.as_str() && row.kind == InvoiceKind::Invoice.as_str() {
        let own = month.body.lines.iter().filter(|line| line.kind == LineKind::Messages);
        let put_right = put_right.iter().copied().filter(|line| line.kind == LineKind::MessagesCorrection);
        let billed: i64 = own.chain(put_right).map(|line| line.amount_micros).sum();
        let said: i64 = month.charged.values().map(|counts| counts.charged).sum();
        if charged_in.is_some_and(|currency| billed != rounded(said, minor_unit(currency))) {
            wrong.push(format!("its lines and those that put it right come to {billed} by the price list, and {said} is said to be billed"));
        }
        let by_plan = corrections(&row.currency);
        let has_fee = month.body.lines.iter().any(|line| line.kind == LineKind::Fee);
        for allowance in month.body.allowances.iter().filter(|_| has_fee) {
            let is_of = |channel: Option<Channel>| channel == Some(allowance.channel);
            let quantity = |kind: LineKind| -> i64 {
                let own = month.body.lines.iter().filter(|line| line.kind == kind && is_of(line.channel));
                own.map(|line| line.quantity).sum()
            };
            let of_channel = month.sent.iter().filter(|((channel, _), _)| *channel == allowance.channel);
            let sent: i64 = of_channel.map(|(_, sent)| sent).sum();
            let beyond = (sent - allowance.included).max(0);
            let put_right = by_plan.iter().filter(|line| line.kind == LineKind::Correction && is_of(line.channel));
            let billed = quantity(LineKind::Overage) + put_right.map(|line| line.quantity).sum::<i64>();
            if allowance.overage_micros.is_some() && billed != beyond || quantity(LineKind::Included) > sent {
                wrong.push(format!(
                    "{}: {} included and {billed} beyond are billed, and {sent} are said to be",
                    allowance.channel,
                    quantity(LineKind::Included)
                ));
            }
        }
    }
    wrong.extend(miscounted(month, is_corrected));
    wrong
}

/// True when a line says that it puts an invoice right, which it calls by its number or its month.
fn names(description: &str, invoice: &str) -> bool {
    description.strip_prefix(invoice).is_some_and(|rest| rest.starts_with(": "))
}

/// What is said to be on invoices and was not counted. Messages and charges only become more, so where all of them are as many each must be, and none can be more.
fn miscounted(month: &Month, is_corrected: bool) -> Vec<String> {
    let mut wrong = Vec::new();
    let keys: BTreeSet<_> = month
        .sent
        .keys()
        .chain(month.charged.keys())
        .chain(month.sent_now.keys())
        .chain(month.charged_now.keys())
        .collect();
    let of = |sent: &Sent, charged: &Charged, key: &(Channel, String)| {
        (sent.get(key).copied().unwrap_or(0), charged.get(key).copied().unwrap_or_default())
    };
    let all = |sent: &Sent, charged: &Charged| {
        let mut sum = charge_counters::Counts::default();
        charged.values().for_each(|counts| sum += *counts);
        (sent.values().sum::<i64>(), sum)
    };
    let (said, counted) = (all(&month.sent, &month.charged), all(&month.sent_now, &month.charged_now));
    for key in keys {
        let (billed, now) = (of(&month.sent, &month.charged, key), of(&month.sent_now, &month.charged_now, key));
        let is_more = billed.0 > now.0 || billed.1.messages > now.1.messages;
        let is_other = (said.0 == counted.0 && billed.0 != now.0)
            || (said.1.messages == counted.1.messages && billed.1.messages != now.1.messages)
            || (said.1 == counted.1 && !is_corrected && billed.1 != now.1);
        if is_more || is_other || billed.0 < 0 || billed.1.messages < 0 {
            wrong.push(format!(
                "{} to {:?}: {} sent and {} charged {} are said to be billed, and {} sent and {} charged {} were counted",
                key.0, key.1, billed.0, billed.1.messages, billed.1.charged, now.0, now.1.messages, now.1.charged
            ));
        }
    }
    wrong
}

/// An amount in whole coins, half away from zero.
const fn rounded(amount: i64, coin: i64) -> i64 {
    (amount.abs() + coin / 2) / coin * coin * amount.signum()
}
