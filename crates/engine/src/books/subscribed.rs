//! What a subscription says that somebody set, against what the tenant's audit log says of that; since when a bill is unpaid, against the bills; and the fee of each month, which only a trial or an end makes less.

use std::collections::{BTreeMap, BTreeSet};

use model::{InvoiceId, TenantId, Timestamp};
use serde_json::Value;
use store::{Tx, audit, invoices::Invoice, plans::Plan, recounts, subscriptions::Subscription};

use crate::{
    documents::figures::minor_unit,
    invoices::{Body, InvoiceState, compose::LineKind},
    plans::subscription::Customer,
};

/// The longest month, in seconds: one in which the clocks change, and which ends on another clock than it began.
const LONGEST_S: i64 = 31 * 86_400 + 27 * 3_600;
/// How far clocks of nodes may be apart, in seconds.
const SLACK_S: i64 = 60;
/// How long a run that closes months takes at most, in seconds: its bills have the instant in which it began.
const CLOSING_S: i64 = 3_600;

/// A field of a subscription that was set, or, as `default_country`, the country a tenant had until it took another.
#[derive(Debug, PartialEq)]
struct Set {
    at: Timestamp,
    field: String,
    value: Value,
}

impl Set {
    fn instant(&self) -> Option<Timestamp> {
        self.value.as_str()?.parse().ok()
    }
}

/// What the audit log tells.
pub(super) struct Told {
    /// What was set of a subscription, in that order.
    set: Vec<Set>,
    /// Bills that are to be paid or were taken back and of which it was told that they are overdue.
    overdue: BTreeSet<InvoiceId>,
    /// Those of them that were taken back, and billed again only later.
    billed_again: BTreeSet<InvoiceId>,
}

impl Told {
    /// Reads it, in the snapshot of the bills.
    pub(super) async fn read<'a>(
        tx: &mut Tx,
        tenant: TenantId,
        bills: impl Iterator<Item = &'a Invoice> + Send,
    ) -> Result<Self, store::Error> {
        let is_asked = |row: &&Invoice| is_unpaid(row) || row.state == InvoiceState::Void.as_str();
        let asked: BTreeMap<String, InvoiceId> =
            bills.filter(is_asked).map(|row| (row.id.to_string(), row.id)).collect();
        let ids: Vec<String> = asked.keys().cloned().collect();
        let told = audit::about_many(tx, tenant, &ids).await?;
        let of = |action: &str| {
            let is_told = |told: &[audit::Told]| told.iter().any(|entry| entry.action == action);
            told.iter().filter(|(_, told)| is_told(told)).filter_map(|(id, _)| asked.get(id).copied()).collect()
        };
        let (overdue, billed_again) = (of("invoice.overdue"), of("invoice.billed_again"));
        Ok(Self { set: set(&recounts::changes_of_billing(tx, tenant).await?), overdue, billed_again })
    }

    /// True for a bill that was taken back without being billed again, and was billed again after all.
    pub(super) fn was_billed_after_all(&self, id: InvoiceId) -> bool {
        self.billed_again.contains(&id)
    }
}

fn is_unpaid(row: &Invoice) -> bool {
    row.state == InvoiceState::Issued.as_str() && row.due_at.is_some()
}

/// What changes set, field by field.
fn set(changes: &[(Timestamp, String, String)]) -> Vec<Set> {
    let mut set = Vec::new();
    for (at, action, detail) in changes {
        let Ok(Value::Object(fields)) = serde_json::from_str(detail) else { continue };
        for (field, value) in fields {
            let value = match (&**action, field.as_str()) {
                ("subscription.created", _) => value,
                ("subscription.updated", _) => value["to"].clone(),
                ("tenant.updated", "default_country") => value["from"].clone(),
                _ => continue,
            };
            set.push(Set { at: *at, field, value });
        }
    }
    set
}

/// What a subscription says and nobody set, or says of its unpaid bills and they do not.
pub(super) fn misset<'a>(row: &Subscription, told: &Told, bills: impl Iterator<Item = &'a Invoice>) -> Vec<String> {
    let last = |field: &str| told.set.iter().rfind(|set| set.field == field);
    let instant = |field: &str| last(field).and_then(Set::instant);
    let mut wrong = Vec::new();
    let fields = [
        ("trial_ends_at", row.trial_ends_at),
        ("canceled_at", row.canceled_at),
        ("forgiven_until", row.forgiven_until),
    ];
    for (field, says) in fields {
        let expected = instant(field);
        if says != expected {
            wrong.push(format!("the subscription says {field} {says:?}, and the audit log {expected:?}"));
        }
    }
    let said_at = last("canceled_at").filter(|set| !set.value.is_null()).map(|set| set.at);
    // When it was said was not kept by an earlier version.
    if row.cancel_said_at.is_some() && row.cancel_said_at != said_at {
        wrong.push(format!("its end is said to have been set at {:?}, and was at {said_at:?}", row.cancel_said_at));
    }
    let customer = Customer::from_stored(&row.customer);
    let place = told.set.iter().rposition(|set| set.field == "customer");
    let set = place.and_then(|place| serde_json::from_value::<Customer>(told.set[place].value.clone()).ok());
    let mut expected = set.unwrap_or_default();
    // Where nobody said its country, it keeps the one the tenant had when that took another.
    let since = &told.set[place.map_or(0, |place| place + 1)..];
    let had = |country: &String| since.iter().any(|set| set.field == "default_country" && set.value == *country);
    expected.country = expected.country.or_else(|| customer.country.clone().filter(had));
    if customer != expected {
        wrong.push("its customer is not the one the audit log tells of".to_owned());
    }
    let is_late = |bill: &&Invoice| is_unpaid(bill) && bill.due_at > row.forgiven_until;
    let late: Vec<&Invoice> = bills.filter(is_late).collect();
    let is_right = match row.past_due_since {
        None => !late.iter().any(|bill| told.overdue.contains(&bill.id)),
        Some(since) => late.iter().any(|bill| bill.due_at == Some(since)) || instant("past_due_since") == Some(since),
    };
    if !is_right {
        wrong.push(format!(
            "it is past due since {:?}, and by its bills and the audit log it is not so",
            row.past_due_since
        ));
    }
    wrong
}

/// What a month's bill lacks of the fee of its plan, where by what was said when it was closed no part of it is free or after the end.
pub(super) fn feeless(row: &Invoice, body: &Body, plan: &Plan, told: &Told, closed_at: Timestamp) -> Option<String> {
    // One of an earlier Tidings does not say since when there was the plan.
    let begins_at = body.counted_from?.max(row.starts_at);
    let by_then = |field: &'static str| {
        let of = || told.set.iter().filter(move |set| set.field == field);
        let (before, about) = (closed_at.plus_seconds(-SLACK_S), closed_at.plus_seconds(CLOSING_S));
        let last = of().rfind(|set| set.at <= before);
        last.into_iter().chain(of().filter(move |set| set.at > before && set.at <= about)).filter_map(Set::instant)
    };
    if by_then("trial_ends_at").any(|at| at > begins_at) || by_then("canceled_at").any(|at| at < row.ends_at) {
        return None;
    }
    let part = i128::from(row.ends_at.as_micros()) - i128::from(begins_at.as_micros());
    let least = i128::from(plan.monthly_fee) * part / i128::from(LONGEST_S * 1_000_000);
    let least = least.min(plan.monthly_fee.into()) - i128::from(minor_unit(&row.currency));
    let fee: Option<i64> =
        body.lines.iter().filter(|line| line.kind == LineKind::Fee).map(|line| line.amount_micros).reduce(|a, b| a + b);
    fee.is_none_or(|fee| i128::from(fee) < least)
        .then(|| format!("its plan costs {} a month, and of that it bills {}", plan.monthly_fee, fee.unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_was_set_is_told_field_by_field() {
        let at = Timestamp::from_seconds;
        let change = |seconds: i64, action: &str, detail: Value| (at(seconds), action.to_owned(), detail.to_string());
        let changes = [
            change(1, "subscription.created", json!({"canceled_at": null, "trial_ends_at": "2026-12-01T00:00:00Z"})),
            change(2, "credits.updated", json!({"trial_ends_at": {"from": null, "to": "never"}})),
            change(3, "subscription.updated", json!({"canceled_at": {"from": null, "to": "2027-01-01T00:00:00Z"}})),
            change(
                4,
                "tenant.updated",
                json!({"name": {"from": "A", "to": "B"}, "default_country": {"from": "DE", "to": "US"}}),
            ),
        ];
        let set: Vec<_> = set(&changes).into_iter().map(|set| (set.at, set.field, set.value)).collect();
        let one = |seconds: i64, field: &str, value: Value| (at(seconds), field.to_owned(), value);
        let expected = [
            one(1, "canceled_at", Value::Null),
            one(1, "trial_ends_at", json!("2026-12-01T00:00:00Z")),
            one(3, "canceled_at", json!("2027-01-01T00:00:00Z")),
            one(4, "default_country", json!("DE")),
        ];
        assert_eq!(set, expected);
    }
}
