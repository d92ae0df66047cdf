//! Reading a log: as pages, and as files.

use model::{AuditId, TenantId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use store::audit;
use utoipa::IntoParams;

use super::{ActorKind, AuditEntry, AuditTenant, NOUNS, note_export};
use crate::{
    Error, Parts,
    csv::Csv,
    export::{Export, Format},
    keys::Caller,
    page::{Page, Window, read_cursor, write_cursor},
    queries::{malformed, to_json},
};

/// Which entries a list shows (`GET /v1/audit-log`).
#[derive(Debug, Clone, Default, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AuditQuery {
    /// Only what this one did: an API key's or user's id, `system`, or `operator` for its staff and keys, as far as entries say of what kind who did it was: those from before that was kept
    /// (`actor_kind` is `null`) are found by the id of the key or user only.
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
    /// In the operator's log: only what was done in this tenant, or to it, also when it is gone. Not together with `Tidings-Tenant`.
    #[param(value_type = Option<String>, example = "ten_01K9ZC8Q6T7Y2V5B3N4M1XWRSD")]
    pub tenant_id: Option<TenantId>,
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
    fn filter(&self, caller: &Caller) -> Result<audit::Filter, Error> {
        if self.tenant_id.is_some() && caller.tenant.is_some() {
            let detail =
                "only the operator's own log tells of several tenants, and this is the log of one: leave it out";
            return Err(malformed("?tenant_id", detail.to_owned()));
        }
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
        let is_operator = self.actor.as_deref() == Some(ActorKind::Operator.as_str());
        Ok(audit::Filter {
            actor: self.actor.clone().filter(|_| !is_operator),
            actor_kind: is_operator.then(|| ActorKind::Operator.as_str().to_owned()),
            action,
            nouns: words.iter().map(|word| format!("{word}.")).collect(),
            subject: self.subject.clone(),
            acted_in: self.tenant_id,
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
    let owner = caller.need_owner("audit:read")?;
    let before = query.cursor.as_deref().map_or(Ok(u128::MAX), |cursor| read_cursor(LIST, cursor))?;
    let filter = query.filter(caller)?;
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
    note_export(parts, caller, "audit_log.exported", owner, rows.len(), query).await?;
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
    let mut csv = Csv::with_header(&[
        "id",
        "at",
        "actor",
        "action",
        "subject",
        "detail",
        "ip",
        "agent",
        "tenant_id",
        "tenant_name",
        "actor_kind",
        "actor_name",
    ]);
    for row in rows {
        let (id, at) = (row.id.to_string(), row.at.to_string());
        let (ip, agent) = (row.ip.unwrap_or_default(), row.agent.unwrap_or_default());
        let (tenant, name) = row.acted_in.map(|of| (of.tenant.to_string(), of.name)).unwrap_or_default();
        let (kind, actor) = (row.actor_kind.unwrap_or_default(), row.actor_name.unwrap_or_default());
        csv.row([
            id.as_str(),
            &at,
            &row.actor,
            &row.action,
            &row.subject,
            &row.detail,
            &ip,
            &agent,
            &tenant,
            &name,
            &kind,
            &actor,
        ]);
    }
    csv.into_bytes()
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
    let owner = caller.need_owner("audit:read")?;
    let window = Window::read(LIST, query.limit, query.cursor.as_deref())?;
    let filter = query.filter(caller)?;
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
        actor_kind: ActorKind::ALL.into_iter().find(|kind| Some(kind.as_str()) == row.actor_kind.as_deref()),
        actor_name: row.actor_name,
        tenant: row.acted_in.map(|of| AuditTenant { id: of.tenant, name: of.name }),
    }
}
