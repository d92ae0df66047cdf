//! What a subscription says that somebody set, against what the tenant's audit log says of that; and since when a bill is unpaid, against the bills.

use std::collections::{BTreeMap, BTreeSet};

use model::{InvoiceId, TenantId, Timestamp};
use serde_json::Value;
use store::{Tx, audit, invoices::Invoice, recounts, subscriptions::Subscription};

use crate::{invoices::InvoiceState, plans::subscription::Customer};

/// What the audit log tells.
pub(super) struct Told {
    /// What was set last of a subscription, field by field, and when.
    set: BTreeMap<String, (Timestamp, Value)>,
    /// Unpaid invoices of which it was told that they are overdue.
    overdue: BTreeSet<InvoiceId>,
}

impl Told {
    /// Reads it, in the snapshot of the bills.
    pub(super) async fn read<'a>(
        tx: &mut Tx,
        tenant: TenantId,
        bills: impl Iterator<Item = &'a Invoice> + Send,
    ) -> Result<Self, store::Error> {
        let unpaid: BTreeMap<String, InvoiceId> =
            bills.filter(|row| is_unpaid(row)).map(|row| (row.id.to_string(), row.id)).collect();
        let ids: Vec<String> = unpaid.keys().cloned().collect();
        let told = audit::about_many(tx, tenant, &ids).await?;
        let is_told = |told: &[audit::Told]| told.iter().any(|entry| entry.action == "invoice.overdue");
        let overdue = told.iter().filter(|(_, told)| is_told(told)).filter_map(|(id, _)| unpaid.get(id).copied());
        Ok(Self { overdue: overdue.collect(), set: set(&recounts::changes_of_billing(tx, tenant).await?) })
    }
}

fn is_unpaid(row: &Invoice) -> bool {
    row.state == InvoiceState::Issued.as_str() && row.due_at.is_some()
}

/// What was set last, field by field.
fn set(changes: &[(Timestamp, String, String)]) -> BTreeMap<String, (Timestamp, Value)> {
    let mut set = BTreeMap::new();
    for (at, action, detail) in changes {
        let Ok(Value::Object(fields)) = serde_json::from_str(detail) else { continue };
        for (name, value) in fields {
            let value = match &**action {
                "subscription.created" => value,
                "subscription.updated" => value["to"].clone(),
                _ => continue,
            };
            set.insert(name, (*at, value));
        }
    }
    set
}

/// What a subscription says and nobody set, or says of its unpaid bills and they do not.
pub(super) fn misset<'a>(row: &Subscription, told: &Told, bills: impl Iterator<Item = &'a Invoice>) -> Vec<String> {
    let instant = |field: &str| told.set.get(field).and_then(|(_, value)| value.as_str()?.parse::<Timestamp>().ok());
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
    let said_at = told.set.get("canceled_at").filter(|(_, value)| !value.is_null()).map(|(at, _)| *at);
    // When it was said was not kept by an earlier version.
    if row.cancel_said_at.is_some() && row.cancel_said_at != said_at {
        wrong.push(format!("its end is said to have been set at {:?}, and was at {said_at:?}", row.cancel_said_at));
    }
    let customer = Customer::from_stored(&row.customer);
    let set = told.set.get("customer").and_then(|(_, value)| serde_json::from_value::<Customer>(value.clone()).ok());
    let mut expected = set.unwrap_or_default();
    // It keeps the country it had when the tenant changes its own, which is the tenant's entry.
    expected.country = expected.country.or_else(|| customer.country.clone());
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_was_set_last_counts() {
        let at = Timestamp::from_seconds;
        let change = |seconds: i64, action: &str, detail: Value| (at(seconds), action.to_owned(), detail.to_string());
        let changes = [
            change(1, "subscription.created", json!({"trial_ends_at": "2026-12-01T00:00:00Z", "canceled_at": null})),
            change(2, "credits.updated", json!({"trial_ends_at": {"from": null, "to": "never"}})),
            change(3, "subscription.updated", json!({"canceled_at": {"from": null, "to": "2027-01-01T00:00:00Z"}})),
        ];
        let set = set(&changes);
        assert_eq!(set["trial_ends_at"], (at(1), json!("2026-12-01T00:00:00Z")));
        assert_eq!(set["canceled_at"], (at(3), json!("2027-01-01T00:00:00Z")));
    }
}
