//! The audit log: who changed what. Written in the transaction of the change, never changed, without secrets.

use model::{AuditId, Ids, TenantId, Timestamp};
use serde::Serialize;
use serde_json::Value;
use store::{Tx, audit};
use utoipa::ToSchema;

use crate::{
    Error, Parts,
    keys::Caller,
    page::{Page, Window},
};

/// One entry of the audit log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct AuditEntry {
    /// Its id.
    #[schema(value_type = String, example = "aud_01K9ZC8Q6T7Y2V5B3N4M1XWRSD")]
    pub id: AuditId,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// Who: an API key's or user's id, or `system`.
    #[schema(example = "key_01K9ZC8Q6T7Y2V5B3N4M1XWRSD")]
    pub actor: String,
    /// What was done.
    #[schema(example = "account.updated")]
    pub action: String,
    /// To what: an id.
    #[schema(example = "acc_01K9ZC8Q6T7Y2V5B3N4M1XWRSD")]
    pub subject: String,
    /// What changed: for each field the value before and after; secrets only say that they changed.
    #[schema(value_type = Object)]
    pub detail: Value,
    /// From which address.
    pub ip: Option<String>,
}

/// Writes one entry into `tenant`'s log ([`crate::vault::OPERATOR`] for the operator's own).
#[allow(clippy::too_many_arguments, reason = "each is a different fact, and a struct would repeat them at every call")]
pub async fn record(
    tx: &mut Tx,
    tenant: TenantId,
    ids: &Ids,
    now: Timestamp,
    caller: &Caller,
    action: &'static str,
    subject: impl std::fmt::Display + Send,
    detail: &Value,
) -> Result<(), Error> {
    let entry = audit::Entry {
        tenant,
        id: AuditId::from_ulid(ids.ulid(now)),
        at: now,
        actor: caller.actor(),
        action: action.to_owned(),
        subject: subject.to_string(),
        detail: detail.to_string(),
        ip: caller.ip.map(|ip| ip.to_canonical().to_string()),
    };
    Ok(audit::append(tx, &entry).await?)
}

/// Lists the caller's log, newest first. Needs the scope `audit:read`.
pub async fn list(
    parts: &Parts,
    caller: &Caller,
    limit: Option<u32>,
    cursor: Option<&str>,
) -> Result<Page<AuditEntry>, Error> {
    caller.need("audit:read")?;
    let window = Window::read("audit", limit, cursor)?;
    let owner = caller.owner();
    let rows = parts
        .ports
        .db
        .read(caller.reach(), move |tx| {
            Box::pin(async move {
                let before = AuditId::from_ulid(window.before);
                Ok::<_, Error>(audit::list(tx, owner, before, window.rows()).await?)
            })
        })
        .await?;
    Ok(window.page(rows, |row| row.id.ulid(), view))
}

fn view(row: audit::Entry) -> AuditEntry {
    AuditEntry {
        id: row.id,
        at: row.at,
        actor: row.actor,
        action: row.action,
        subject: row.subject,
        detail: serde_json::from_str(&row.detail).unwrap_or(Value::String(row.detail)),
        ip: row.ip,
    }
}

/// What differs between two JSON objects, as `{"field": {"from": …, "to": …}}`, for the log.
pub fn difference(before: &Value, after: &Value) -> Value {
    let (Value::Object(before), Value::Object(after)) = (before, after) else {
        return serde_json::json!({"from": before, "to": after});
    };
    let names = before.keys().chain(after.keys().filter(|name| !before.contains_key(*name)));
    let value = |object: &serde_json::Map<String, Value>, name: &str| object.get(name).cloned().unwrap_or(Value::Null);
    let changed = names
        .map(|name| (name.clone(), value(before, name), value(after, name)))
        .filter(|(_, from, to)| from != to)
        .map(|(name, from, to)| (name, serde_json::json!({"from": from, "to": to})));
    Value::Object(changed.collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_changed_is_told() {
        let before = json!({"name": "a", "enabled": true, "gone": 1});
        let after = json!({"name": "b", "enabled": true, "new": [2]});
        assert_eq!(
            difference(&before, &after),
            json!({"name": {"from": "a", "to": "b"}, "gone": {"from": 1, "to": null}, "new": {"from": null, "to": [2]}})
        );
    }
}
