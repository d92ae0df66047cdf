//! What was done in tenants, in the operator's own log: who issued, priced, adjusted or changed something is known there when the tenant and its log are gone.
//!
//! It is the tenant's entry over again, under the same id, with the tenant and its name. As nobody erases people from the operator's log, nothing comes here that may name those a tenant
//! writes to, or who is behind its registrations. Whom its invoices are addressed to stays, as the invoices do, and so does whom the operator invited.

use model::{Ids, Timestamp};
use serde_json::{Map, Value, json};
use store::{
    Tx,
    audit::{self, ActedIn},
    tenants,
};

use super::{CONTACT_ERASED, FIELDS, append, noun, tells_of_people};
use crate::{Error, keys::Caller, vault::OPERATOR};

/// Where a detail names the fields that stand in the tenant's log only.
const WITHHELD: &str = "withheld";

/// Appends a tenant's entry, whose detail is `detail`, to the operator's log. Ends with the reach the transaction had.
pub(super) async fn copy(
    tx: &mut Tx,
    ids: &Ids,
    of: audit::Entry,
    caller: &Caller,
    detail: &Value,
) -> Result<(), Error> {
    let reach = tx.widen().await?;
    let tenant = of.tenant;
    let name = tenants::name(tx, tenant).await?.unwrap_or_default();
    let detail = without_people(&of.action, detail).to_string();
    // The operator's own people are named here; what a tenant's are called goes with the tenant.
    let actor_name = caller.name.as_deref().filter(|_| caller.acts_for_operator()).map(str::to_owned);
    let acted_in = Some(ActedIn { tenant, name });
    let entry = audit::Entry { tenant: OPERATOR, detail, actor_name, acted_in, ..of };
    append(tx, ids, &entry).await?;
    Ok(tx.narrow(reach).await?)
}

/// A detail without what may name people: of actions that tell of them only numbers, flags, instants and our own ids are left, and the names of the other fields.
fn without_people(action: &str, detail: &Value) -> Value {
    // Whose business a tenant is says who its people are; what an erasure emptied are numbers of another log.
    if !tells_of_people(action) && action != CONTACT_ERASED && noun(action) != Some("business_profile") {
        return detail.clone();
    }
    let Value::Object(fields) = detail else { return json!({}) };
    let (mut kept, mut withheld) = (Map::new(), Vec::new());
    for (name, value) in fields {
        match name == FIELDS || names_nobody(value) {
            true => drop(kept.insert(name.clone(), value.clone())),
            false => withheld.push(name.as_str()),
        }
    }
    if !withheld.is_empty() {
        kept.insert(WITHHELD.to_owned(), json!(withheld));
    }
    Value::Object(kept)
}

fn names_nobody(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => true,
        Value::String(text) => is_id(text) || text.parse::<Timestamp>().is_ok(),
        Value::Array(_) | Value::Object(_) => false,
    }
}

/// Whether a text has the form of our ids: three letters, and a ULID.
fn is_id(text: &str) -> bool {
    let is_ulid = |text: &str| text.len() == 26 && text.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_uppercase());
    text.split_once('_')
        .is_some_and(|(kind, rest)| kind.len() == 3 && kind.bytes().all(|b| b.is_ascii_lowercase()) && is_ulid(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_name_people_is_withheld() {
        let check =
            |action: &str, detail: Value, expected: Value| assert_eq!(without_people(action, &detail), expected);
        let paid = json!({"state": {"from": "issued", "to": "paid"}, "reference": "Wire 7"});
        check("invoice.paid", paid.clone(), paid);
        check(
            "contacts.imported",
            json!({"rows": 3, "list_id": "lst_01K9ZC8Q6T7Y2V5B3N4M1XWRSD", "problem": "row 2: ada@example.com", "done": true, "at": "2026-11-29T10:00:00Z"}),
            json!({"rows": 3, "list_id": "lst_01K9ZC8Q6T7Y2V5B3N4M1XWRSD", "done": true, "at": "2026-11-29T10:00:00Z", "withheld": ["problem"]}),
        );
        check("suppression.added", json!({"address": "ada@example.com"}), json!({"withheld": ["address"]}));
        check("contact.erased", json!({"erased_entries": [[1, 3]]}), json!({"withheld": ["erased_entries"]}));
        check(
            "business_profile.updated",
            json!({"email": {"from": null, "to": "a@b.example"}}),
            json!({"withheld": ["email"]}),
        );
        check("contact.updated", json!({"fields": ["email"]}), json!({"fields": ["email"]}));
        check("contact.deleted", json!({}), json!({}));
    }
}
