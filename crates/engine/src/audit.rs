//! The audit log: who changed what. Written in the transaction of the change, never changed, without secrets.
//!
//! Each tenant's entries are a chain: the hash of one covers it and the hash of the one before, so whoever changes, removes, adds or moves an entry in the database breaks the chain
//! there, and `tidings doctor --audit` says where ([`mod@verify`]). Each entry is sealed with a key that is not in the database, so nobody who only has that can make one, and [`seals`] keeps in mind how far each log
//! had come, so that nobody can take its end away. Of what changed the chain holds a salted hash only: when a person is erased it stays whole, and the entry about the erasure says which
//! others it emptied.

pub mod seals;
mod verify;

pub use verify::{Head, Verified, verify, verify_against};

use aws_lc_rs::digest::{SHA256, digest};
use model::{AuditId, Ids, TenantId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use store::{
    Tx,
    audit::{self, Commitment, Link},
};
use utoipa::{IntoParams, ToSchema};

use crate::{
    Error, Parts,
    csv::Csv,
    export::{Export, Format},
    keys::Caller,
    page::{Page, Window, read_cursor, write_cursor},
    queries::{malformed, to_json},
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
    /// What the browser or program calls itself (`User-Agent`); `null` for what came from inside, and for entries from before this was kept.
    #[schema(example = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0")]
    pub agent: Option<String>,
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
    debug_assert!(noun(action).is_some(), "{action} is about a noun that is not in NOUNS");
    let entry = audit::Entry {
        tenant,
        id: AuditId::from_ulid(ids.ulid(now)),
        at: now,
        actor: caller.actor(),
        action: action.to_owned(),
        subject: subject.to_string(),
        detail: detail.to_string(),
        ip: caller.ip.map(|ip| ip.to_canonical().to_string()),
        agent: caller.agent.as_deref().map(str::to_owned),
    };
    // Before the head, so that who makes the key and who waits for it hold no head meanwhile.
    let key = seals::key(tx, ids).await?;
    let head = audit::lock_head(tx, tenant).await?.unwrap_or_else(beginning);
    let number = head.number + 1;
    let salt = ids.token(SALT);
    let commitment = Commitment { hash: commit(&salt, &entry.detail), salt: Some(salt) };
    let hash = hash(&head.hash, number, &entry, &commitment.hash);
    let seal = key.map(|key| key.of_entry(&hash));
    Ok(audit::append(tx, &entry, &Link { number, hash, seal }, &commitment).await?)
}

/// Characters of a salt: some 130 bits.
const SALT: usize = 22;
/// What is left of an erased detail.
const ERASED: &str = "{}";
/// Where the detail of an entry says which others were emptied, as ranges of their numbers.
pub(crate) const ERASED_ENTRIES: &str = "erased_entries";
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

/// The hash of an entry: over the one before and the entry as a JSON array, in which no two entries look the same. Only entries with an agent have it in theirs: those of before have none.
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
    if let (Some(agent), Value::Array(parts)) = (&entry.agent, &mut canonical) {
        parts.push(Value::from(agent.as_str()));
    }
    let text = canonical.to_string();
    digest(&SHA256, &[before, text.as_bytes()].concat()).as_ref().to_vec()
}

/// Which entries a list shows (`GET /v1/audit-log`).
#[derive(Debug, Clone, Default, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AuditQuery {
    /// Only what this one did: an API key's or user's id, or `system`.
    #[param(example = "usr_01K9ZC2B4C5D6E7F8G9H0J1K2M")]
    pub actor: Option<String>,
    /// Only this action, as `account.updated`, or all about a noun, as `account.*`.
    #[param(example = "account.*")]
    pub action: Option<String>,
    /// Only what is about this noun, whatever was done: `account`, `campaign`, `suppression` and so on; an unknown one is refused with all there are.
    #[param(example = "suppression")]
    pub about: Option<String>,
    /// Only with this text in the subject, the actor or the detail, in any case of Latin letters. The newest 100,000 entries before `until` and `cursor` are looked through.
    #[param(example = "acme.example")]
    pub q: Option<String>,
    /// Only what was done to this one: an id.
    #[param(example = "acc_01K9ZC1M2N3P4Q5R6S7T8V9W0X")]
    pub subject: Option<String>,
    /// Made at or after this instant.
    #[param(value_type = Option<String>, format = DateTime)]
    pub since: Option<Timestamp>,
    /// Made before this instant.
    #[param(value_type = Option<String>, format = DateTime)]
    pub until: Option<Timestamp>,
    /// Rows of the page.
    #[param(minimum = 1, maximum = 500, default = 50)]
    pub limit: Option<u32>,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
}

/// Longest text to filter by, in bytes.
const TEXT_MAX: usize = 200;

impl AuditQuery {
    fn filter(&self) -> Result<audit::Filter, Error> {
        let texts = [("?actor", &self.actor), ("?action", &self.action), ("?subject", &self.subject), ("?q", &self.q)];
        for (pointer, text) in texts {
            if text.as_ref().is_some_and(|text| text.is_empty() || text.len() > TEXT_MAX || text.contains('\0')) {
                return Err(malformed(pointer, format!("1 to {TEXT_MAX} bytes")));
            }
        }
        let action = self.action.as_ref().map(|action| match action.strip_suffix('*') {
            Some(start) => audit::Action::BeginsWith(start.to_owned()),
            None => audit::Action::Is(action.clone()),
        });
        let words = self.about.as_ref().map(|about| {
            NOUNS.iter().find(|(noun, _)| noun == about).map(|(_, words)| *words).ok_or_else(|| {
                let nouns = NOUNS.iter().map(|(noun, _)| *noun).collect::<Vec<_>>().join(", ");
                malformed("?about", format!("nothing is written about that; there are {nouns}"))
            })
        });
        let words = words.transpose()?.unwrap_or_default();
        Ok(audit::Filter {
            actor: self.actor.clone(),
            action,
            nouns: words.iter().map(|word| format!("{word}.")).collect(),
            subject: self.subject.clone(),
            text: self.q.clone(),
            since: self.since,
            until: self.until,
        })
    }
}

/// Most rows of one file: some 5 MB. The next file begins at its cursor.
const EXPORT_MAX: usize = 10_000;
/// The list's name, which its cursors are bound to.
const LIST: &str = "audit";

/// Writes the caller's log into a file of up to 10,000 entries, newest first; the query's `limit` is not looked at. That somebody took it is an entry itself.
/// Needs the scope `audit:read`.
#[crate::boxed]
pub async fn export(parts: &Parts, caller: &Caller, query: &AuditQuery, format: Format) -> Result<Export, Error> {
    caller.need("audit:read")?;
    let before = query.cursor.as_deref().map_or(Ok(u128::MAX), |cursor| read_cursor(LIST, cursor))?;
    let (owner, filter) = (caller.owner(), query.filter()?);
    let read = parts.ports.db.read(caller.reach(), move |tx| {
        Box::pin(async move {
            let before = AuditId::from_ulid(before);
            Ok::<_, Error>(audit::list(tx, owner, &filter, before, EXPORT_MAX as i64 + 1).await?)
        })
    });
    let mut rows = read.await?;
    let has_more = rows.len() > EXPORT_MAX;
    rows.truncate(EXPORT_MAX);
    let next_cursor = rows.last().filter(|_| has_more).map(|last| write_cursor(LIST, last.id.ulid()));
    note_export(parts, caller, "audit_log.exported", caller.owner(), rows.len(), query).await?;
    let body = match format {
        Format::Ndjson => lines(rows)?,
        Format::Csv => table(rows),
    };
    Ok(Export { content_type: format.media_type(), body, next_cursor })
}

fn lines(rows: Vec<audit::Entry>) -> Result<Vec<u8>, Error> {
    let mut lines = Vec::new();
    for row in rows {
        lines.extend(to_json(&view(row))?);
        lines.push(b'\n');
    }
    Ok(lines)
}

fn table(rows: Vec<audit::Entry>) -> Vec<u8> {
    let mut csv = Csv::with_header(&["id", "at", "actor", "action", "subject", "detail", "ip", "agent"]);
    for row in rows {
        let (id, at) = (row.id.to_string(), row.at.to_string());
        let (ip, agent) = (row.ip.unwrap_or_default(), row.agent.unwrap_or_default());
        csv.row([id.as_str(), &at, &row.actor, &row.action, &row.subject, &row.detail, &ip, &agent]);
    }
    csv.into_bytes()
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

/// Lists the caller's log, newest first, without a filter. Needs the scope `audit:read`.
#[crate::boxed]
pub async fn list(
    parts: &Parts,
    caller: &Caller,
    limit: Option<u32>,
    cursor: Option<&str>,
) -> Result<Page<AuditEntry>, Error> {
    let query = AuditQuery { limit, cursor: cursor.map(str::to_owned), ..AuditQuery::default() };
    search(parts, caller, &query).await
}

/// Lists those entries of the caller's log that are asked for, newest first. Needs the scope `audit:read`.
#[crate::boxed]
pub async fn search(parts: &Parts, caller: &Caller, query: &AuditQuery) -> Result<Page<AuditEntry>, Error> {
    caller.need("audit:read")?;
    let window = Window::read(LIST, query.limit, query.cursor.as_deref())?;
    let (owner, filter) = (caller.owner(), query.filter()?);
    let rows = parts
        .ports
        .db
        .read(caller.reach(), move |tx| {
            Box::pin(async move {
                let before = AuditId::from_ulid(window.before);
                Ok::<_, Error>(audit::list(tx, owner, &filter, before, window.rows()).await?)
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
        agent: row.agent,
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
