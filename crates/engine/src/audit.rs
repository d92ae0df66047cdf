//! The audit log: who changed what. Written in the transaction of the change, never changed, without secrets.
//!
//! Each tenant's entries are a chain: the hash of one covers it and the hash of the one before, so whoever changes, removes, adds or moves an entry in the database breaks the chain
//! there, and `tidings doctor --audit` says where ([`mod@verify`]). Each entry is sealed with a key that is not in the database, so nobody who only has that can make one, and [`seals`] keeps in mind how far each log
//! had come, so that nobody can take its end away. Of what changed the chain holds a salted hash only: when a person is erased it stays whole, and the entry about the erasure says which
//! others it emptied.
//!
//! What the operator's staff and keys do in a tenant is in two logs: the tenant's, and the operator's own ([`mod@operators`]), which is still there when the tenant is gone.

mod entries;
mod operators;
pub mod seals;
mod verify;

pub use entries::{AuditQuery, export, list, search};
pub use verify::{Head, Verified, verify, verify_against};

use aws_lc_rs::digest::{SHA256, digest};
use model::{AuditId, Ids, TenantId, Timestamp};
use serde::Serialize;
use serde_json::Value;
use store::{
    Tx,
    audit::{self, ActedIn, Commitment, Link},
};
use utoipa::ToSchema;

use crate::{Error, Parts, keys::Caller, vault::OPERATOR};

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
    /// What kind of actor that is; `null` for entries from before this was kept.
    pub actor_kind: Option<ActorKind>,
    /// What they were called then: a person's e-mail address, or a key's name. `null` where there is none, and of the operator in a tenant's log: its own log names its people.
    #[schema(example = "Website")]
    pub actor_name: Option<String>,
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
    /// What the browser or program calls itself (`User-Agent`); `null` for what came from inside, and for entries from before this was kept.
    #[schema(example = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0")]
    pub agent: Option<String>,
    /// In the operator's log: the tenant in which, or to which, it was done. `null` for what is about the installation, and in a tenant's own log.
    pub tenant: Option<AuditTenant>,
}

/// Who did something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ActorKind {
    /// A person of the tenant.
    User,
    /// A key of the tenant: a program of its own.
    Key,
    /// The operator's staff, or one of its keys.
    Operator,
    /// Tidings itself, or its command line.
    System,
}

impl ActorKind {
    const ALL: [Self; 4] = [Self::User, Self::Key, Self::Operator, Self::System];

    fn of(caller: &Caller) -> Self {
        match caller {
            _ if caller.acts_for_operator() => Self::Operator,
            Caller { key_id: Some(_), .. } => Self::Key,
            Caller { user_id: Some(_), .. } => Self::User,
            _ => Self::System,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Key => "key",
            Self::Operator => "operator",
            Self::System => "system",
        }
    }
}

/// The tenant an entry of the operator's log is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct AuditTenant {
    /// Which one; it may have been deleted since.
    #[schema(value_type = String, example = "ten_01K9ZC8Q6T7Y2V5B3N4M1XWRSD")]
    pub id: TenantId,
    /// What it was called when that was done.
    #[schema(example = "Acme")]
    pub name: String,
}

/// What entries are about: a noun, and the words before the dot of the actions that are about it. [`record`] takes no others, so the list is whole; new ones are added here.
pub const NOUNS: &[(&str, &[&str])] = &[
    ("account", &["account"]),
    ("alert", &["alert"]),
    ("alert_rule", &["alert_rule"]),
    ("analytics", &["analytics"]),
    ("api_key", &["api_key"]),
    ("attachment", &["attachment"]),
    ("audit_log", &["audit_log"]),
    ("billing_settings", &["billing_settings"]),
    ("branding", &["branding"]),
    ("business_profile", &["business_profile"]),
    ("campaign", &["campaign", "campaign_recipients"]),
    ("consent", &["consent"]),
    ("consent_policy", &["consent_policy"]),
    ("contact", &["contact", "contacts"]),
    ("contact_attribute", &["contact_attribute"]),
    ("content_rule", &["content_rule"]),
    ("credits", &["credits"]),
    ("demo_tenant", &["demo_tenant"]),
    ("domain", &["domain"]),
    ("endpoint", &["endpoint"]),
    ("invoice", &["invoice"]),
    ("list", &["list"]),
    ("message", &["message", "dead_letters"]),
    ("number", &["number"]),
    ("payment_settings", &["payment_settings"]),
    ("plan", &["plan"]),
    ("preferences", &["preferences"]),
    ("prices", &["prices"]),
    ("reconciliation", &["reconciliation"]),
    ("registration", &["registration"]),
    ("retention", &["retention"]),
    ("route", &["route"]),
    ("schedule", &["schedule"]),
    ("segment", &["segment"]),
    ("sender", &["sender"]),
    ("session", &["session"]),
    ("subscription", &["subscription"]),
    ("suppression", &["suppression", "suppressions"]),
    ("template", &["template"]),
    ("tenant", &["tenant"]),
    ("topic", &["topic"]),
    ("usage", &["usage"]),
    ("user", &["user"]),
    ("whatsapp_template", &["whatsapp_template"]),
];

/// The noun an action is about.
pub fn noun(action: &str) -> Option<&'static str> {
    let word = action.split('.').next().unwrap_or_default();
    NOUNS.iter().find(|(_, words)| words.contains(&word)).map(|(noun, _)| *noun)
}

/// Nouns whose entries tell of the people a tenant writes to. What the log says of money, of accounts and of who may do what stays whatever it names.
const OF_PEOPLE: [&str; 10] = [
    "audit_log",
    "campaign",
    "consent",
    "contact",
    "list",
    "message",
    "preferences",
    "schedule",
    "segment",
    "suppression",
];

/// Whether the details of an action may name people the tenant writes to, and go when one of those is erased.
pub(crate) fn tells_of_people(action: &str) -> bool {
    !TELL_OF_ERASED.contains(&action) && noun(action).is_some_and(|noun| OF_PEOPLE.contains(&noun))
}

/// Writes one entry into `tenant`'s log ([`OPERATOR`] for the operator's own). When the operator's staff or one of its keys does something in a tenant, the operator's log gets the
/// entry as well.
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
    if changes_nothing(action, detail) {
        return Ok(());
    }
    if tenant != OPERATOR && caller.acts_for_operator() {
        return record_in_both(tx, tenant, ids, now, caller, action, subject, detail).await;
    }
    append(tx, ids, &entry(tenant, ids, now, caller, action, subject, detail)).await
}

/// Writes one entry into a tenant's log and into the operator's, whoever did it: for what is the operator's business as well.
#[allow(clippy::too_many_arguments, reason = "as for an entry in one log")]
pub async fn record_in_both(
    tx: &mut Tx,
    tenant: TenantId,
    ids: &Ids,
    now: Timestamp,
    caller: &Caller,
    action: &'static str,
    subject: impl std::fmt::Display + Send,
    detail: &Value,
) -> Result<(), Error> {
    if changes_nothing(action, detail) {
        return Ok(());
    }
    let entry = entry(tenant, ids, now, caller, action, subject, detail);
    append(tx, ids, &entry).await?;
    operators::copy(tx, ids, entry, caller, detail).await
}

/// Writes one entry into the operator's log alone, about a tenant whose own log is gone or going.
#[allow(clippy::too_many_arguments, reason = "as for an entry in one log")]
pub async fn record_of_gone(
    tx: &mut Tx,
    tenant: TenantId,
    name: String,
    ids: &Ids,
    now: Timestamp,
    caller: &Caller,
    action: &'static str,
    subject: impl std::fmt::Display + Send,
    detail: &Value,
) -> Result<(), Error> {
    let entry = entry(OPERATOR, ids, now, caller, action, subject, detail);
    append(tx, ids, &audit::Entry { acted_in: Some(ActedIn { tenant, name }), ..entry }).await
}

/// Whether somebody changed something into what it was: that is no entry.
fn changes_nothing(action: &str, detail: &Value) -> bool {
    let is_change = action.ends_with(".updated") || ["user.role_changed", "topic.put"].contains(&action);
    is_change && detail.as_object().is_some_and(serde_json::Map::is_empty)
}

fn entry(
    tenant: TenantId,
    ids: &Ids,
    now: Timestamp,
    caller: &Caller,
    action: &'static str,
    subject: impl std::fmt::Display,
    detail: &Value,
) -> audit::Entry {
    debug_assert!(noun(action).is_some(), "{action} is about a noun that is not in NOUNS");
    let kind = ActorKind::of(caller);
    // A tenant learns that it was the operator; by which of its people, the operator's log says.
    let is_named = kind != ActorKind::Operator || tenant == OPERATOR;
    audit::Entry {
        tenant,
        id: AuditId::from_ulid(ids.ulid(now)),
        at: now,
        actor: caller.actor(),
        action: action.to_owned(),
        subject: subject.to_string(),
        detail: detail.to_string(),
        ip: caller.ip.map(|ip| ip.to_canonical().to_string()),
        agent: caller.agent.as_deref().map(str::to_owned),
        actor_kind: Some(kind.as_str().to_owned()),
        actor_name: caller.name.as_deref().filter(|_| is_named).map(str::to_owned),
        acted_in: None,
    }
}

/// Appends an entry to its log, chained and sealed.
async fn append(tx: &mut Tx, ids: &Ids, entry: &audit::Entry) -> Result<(), Error> {
    // Before the head, so that who makes the key and who waits for it hold no head meanwhile.
    let key = seals::key(tx, ids).await?;
    let head = audit::lock_head(tx, entry.tenant).await?.unwrap_or_else(beginning);
    let number = head.number + 1;
    let salt = ids.token(SALT);
    let commitment = Commitment { hash: commit(&salt, &entry.detail), salt: Some(salt) };
    let hash = hash(&head.hash, number, entry, &commitment.hash);
    let seal = key.map(|key| key.of_entry(&hash));
    Ok(audit::append(tx, entry, &Link { number, hash, seal }, &commitment).await?)
}

/// Characters of a salt: some 130 bits.
const SALT: usize = 22;
/// What is left of an erased detail.
const ERASED: &str = "{}";
/// Where the detail of an entry says which others were emptied, as ranges of their numbers.
pub(crate) const ERASED_ENTRIES: &str = "erased_entries";
/// Where the detail of an entry names fields of a contact that were given or changed.
pub(crate) const FIELDS: &str = "fields";
/// Actions whose entries say so. Their own details are never erased, so that what they say can be relied on.
pub(crate) const TELL_OF_ERASED: [&str; 2] = [CONTACT_ERASED, "audit_log.sealed"];
/// A person was erased.
pub(crate) const CONTACT_ERASED: &str = "contact.erased";

/// Numbers in order as ranges, each with its first and last.
pub(crate) fn ranges(numbers: &[i64]) -> Vec<(i64, i64)> {
    let mut ranges: Vec<(i64, i64)> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some((_, last)) if *number <= *last + 1 => *last = *number,
            _ => ranges.push((*number, *number)),
        }
    }
    ranges
}

/// The hash of a detail, from which nobody can guess it without the salt.
fn commit(salt: &str, detail: &str) -> Vec<u8> {
    digest(&SHA256, &[salt.as_bytes(), detail.as_bytes()].concat()).as_ref().to_vec()
}

fn beginning() -> Link {
    Link { number: 0, hash: Vec::new(), seal: None }
}

/// The hash of an entry: over the one before and the entry as a JSON array, in which no two entries look the same. An entry without an agent has none
/// in it, and one from before there were kinds of actors has no object at its end.
fn hash(before: &[u8], number: i64, entry: &audit::Entry, detail_hash: &[u8]) -> Vec<u8> {
    let mut canonical = serde_json::json!([
        number,
        entry.tenant,
        entry.id,
        entry.at,
        entry.actor,
        entry.action,
        entry.subject,
        detail_hash,
        entry.ip
    ]);
    if let Value::Array(parts) = &mut canonical {
        parts.extend(entry.agent.as_deref().map(Value::from));
        if entry.actor_kind.is_some() || entry.actor_name.is_some() || entry.acted_in.is_some() {
            let (tenant, tenant_name) = entry.acted_in.as_ref().map(|of| (of.tenant, &of.name)).unzip();
            let (kind, name) = (&entry.actor_kind, &entry.actor_name);
            parts.push(serde_json::json!({"actor_kind": kind, "actor_name": name, "tenant": tenant, "tenant_name": tenant_name}));
        }
    }
    let text = canonical.to_string();
    digest(&SHA256, &[before, text.as_bytes()].concat()).as_ref().to_vec()
}

/// Writes down that somebody took data out: what, how many rows, and what they asked for.
pub async fn note_export(
    parts: &Parts,
    caller: &Caller,
    action: &'static str,
    subject: impl std::fmt::Display + Send + 'static,
    rows: usize,
    query: &impl Serialize,
) -> Result<(), Error> {
    let mut asked = serde_json::to_value(query).map_err(Error::internal)?;
    if let Value::Object(asked) = &mut asked {
        // A file has no pages.
        asked.retain(|name, value| !value.is_null() && name != "limit");
    }
    note(parts, caller, action, subject, serde_json::json!({"rows": rows, "query": asked})).await
}

/// Writes an entry about something that changes nothing, in a transaction of its own.
pub async fn note(
    parts: &Parts,
    caller: &Caller,
    action: &'static str,
    subject: impl std::fmt::Display + Send + 'static,
    detail: Value,
) -> Result<(), Error> {
    let (owner, now, by) = (caller.owner(), parts.ports.clock.now(), caller.clone());
    let ids = std::sync::Arc::clone(&parts.ports.ids);
    let write = parts.ports.db.write(caller.reach(), move |tx| {
        Box::pin(async move { record(tx, owner, &ids, now, &by, action, subject, &detail).await })
    });
    write.await
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
    fn numbers_are_told_as_ranges() {
        assert_eq!(ranges(&[3, 4, 5, 9, 11, 12]), [(3, 5), (9, 9), (11, 12)]);
        assert_eq!(ranges(&[]), []);
    }

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
