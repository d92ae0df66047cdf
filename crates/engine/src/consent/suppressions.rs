//! The suppression list as tenants work with it (`/v1/suppressions`).
//!
//! Every entry is one address on one channel for one reason. What providers report and recipients say is put there by apply and by the recipients' own pages; here it is looked
//! at, added to by hand or in bulk, exported, and entries are taken off with a reason, which goes into the audit log.

use std::{collections::BTreeMap, sync::Arc};

use model::{Address, Blocks, Channel, Ids, MessageId, SuppressionId, SuppressionReason, TenantId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;
use store::{
    Scope, Tx,
    suppressions::{self, Filter, Suppression},
};
use utoipa::{IntoParams, ToSchema};

use super::{bar, policy};
use crate::{
    Engine, Error, ErrorKind, audit,
    csv::Csv,
    directory::Tenant,
    export::{Export, Format},
    keys::Caller,
    names::Faults,
    once::{Repeat, Reply, Secrecy, once},
    page::{Page, Window, read_cursor, write_cursor},
    queries::to_json,
    writes::Writes,
};

/// Entries of one bulk request: a request of some 100 KB, and a transaction of some 10 ms.
pub const BULK_MAX: usize = 1_000;
/// Rows of one export file: some 5 MB. The next file begins at its cursor.
pub const EXPORT_MAX: usize = 50_000;
/// Longest remark, in characters.
const DETAIL_MAX: usize = 500;
const LIST: &str = "suppressions";

/// An address to be suppressed.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewSuppression {
    /// On which channel.
    #[schema(value_type = String, example = "email")]
    pub channel: Channel,
    /// The address: an e-mail address, a phone number in E.164, or a Telegram chat.
    #[schema(example = "ada@example.com")]
    pub address: String,
    /// `manual` (default) or `import`; for lists from elsewhere also `hard_bounce`, `complaint` or `opted_out`.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "manual")]
    pub reason: Option<SuppressionReason>,
    /// `everything` or `marketing`. What the reason stands for when left out: `marketing` for a complaint or an unsubscribed mail, otherwise `everything`.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "everything")]
    pub blocks: Option<Blocks>,
    /// A remark, at most 500 characters.
    #[serde(default)]
    pub detail: Option<String>,
}

/// Many addresses to be suppressed.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewSuppressions {
    /// Up to 1,000. All are checked before any is added.
    pub suppressions: Vec<NewSuppression>,
}

/// What a bulk request did.
#[derive(Debug, Serialize, ToSchema)]
pub struct SuppressionsAdded {
    /// Entries that are new.
    pub added: usize,
    /// Entries that were there already for the same reason, or stood twice in the request.
    pub known: usize,
}

/// An entry of the suppression list.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct SuppressionView {
    /// Its id.
    #[schema(value_type = String, example = "sup_01K9ZC8Q6T7Y2V5B3N4M1XWRSD")]
    pub id: SuppressionId,
    /// On which channel.
    #[schema(value_type = String, example = "email")]
    pub channel: Channel,
    /// The address in the form it is compared in; `null` once its contact was erased.
    #[schema(example = "ada@example.com")]
    pub address: Option<String>,
    /// Why: `hard_bounce`, `soft_bounces`, `complaint`, `opted_out`, `manual`, `import` or `erased`.
    #[schema(value_type = String, example = "hard_bounce")]
    pub reason: SuppressionReason,
    /// What it holds back: `everything` or `marketing`.
    #[schema(value_type = String, example = "everything")]
    pub blocks: Blocks,
    /// Who put it there: `provider`, `recipient`, `engine`, or a key's id.
    #[schema(example = "provider")]
    pub source: String,
    /// More, such as the provider's words.
    pub detail: Option<String>,
    /// The message it came from.
    #[schema(value_type = Option<String>)]
    pub message_id: Option<MessageId>,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}

/// Which suppressions a list shows (`GET /v1/suppressions`).
#[derive(Debug, Clone, Default, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct SuppressionQuery {
    /// On this channel.
    #[param(value_type = Option<String>, example = "email")]
    pub channel: Option<Channel>,
    /// For this reason.
    #[param(value_type = Option<String>, example = "hard_bounce")]
    pub reason: Option<SuppressionReason>,
    /// Of exactly this address; capitals of mail addresses do not matter.
    #[param(example = "ada@example.com")]
    pub address: Option<String>,
    /// Rows of a page, 1 to 500.
    pub limit: Option<u32>,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
}

pub(crate) fn view(row: &Suppression) -> SuppressionView {
    SuppressionView {
        id: row.id,
        channel: row.channel,
        address: Some(row.address.clone()).filter(|address| !address.starts_with("hash:")),
        reason: row.reason,
        blocks: row.blocks,
        source: row.source.clone(),
        detail: row.detail.clone(),
        message_id: row.message_id,
        created_at: row.created_at,
    }
}

/// An entry as events carry it.
pub(crate) fn json(row: &Suppression) -> String {
    serde_json::to_string(&view(row)).expect("an entry has a JSON form")
}

/// Reads and checks an entry. `pointer` is where it stands in the request.
fn check(
    new: NewSuppression,
    pointer: &str,
    faults: &mut Faults,
    tenant: TenantId,
    by: &str,
    ids: &Ids,
    now: Timestamp,
) -> Option<Suppression> {
    if new.channel == Channel::Webhook {
        faults.add(format!("{pointer}/channel"), "one of email, sms, whatsapp, telegram and voice");
        return None;
    }
    let address = match Address::read(new.channel, new.address.trim()) {
        Ok(address) => bar::key(new.channel, &address.to_string()),
        Err(error) => {
            faults.add(format!("{pointer}/address"), error.to_string());
            return None;
        }
    };
    let reason = new.reason.unwrap_or(SuppressionReason::Manual);
    if matches!(reason, SuppressionReason::SoftBounces | SuppressionReason::Erased) {
        faults.add(format!("{pointer}/reason"), "one of manual, import, hard_bounce, complaint and opted_out");
    }
    if new.detail.as_ref().is_some_and(|text| text.chars().count() > DETAIL_MAX) {
        faults.add(format!("{pointer}/detail"), format!("at most {DETAIL_MAX} characters"));
    }
    Some(Suppression {
        tenant_id: tenant,
        channel: new.channel,
        address,
        reason,
        id: SuppressionId::from_ulid(ids.ulid(now)),
        blocks: new.blocks.unwrap_or_else(|| bar::blocks(new.channel, reason)),
        source: by.to_owned(),
        detail: new.detail.map(|text| text.replace('\0', "\u{fffd}")),
        message_id: None,
        created_at: now,
    })
}

/// Keeps those that are not on the list for the same reason. An entry that holds back less than its namesake is widened.
pub(crate) async fn unknown(tx: &mut Tx, candidates: Vec<Suppression>) -> Result<Vec<Suppression>, store::Error> {
    let mut new: BTreeMap<(TenantId, Channel, String, SuppressionReason), Suppression> = BTreeMap::new();
    for row in candidates {
        let key = (row.tenant_id, row.channel, row.address.clone(), row.reason);
        let entry = new.entry(key).or_insert_with(|| row.clone());
        entry.blocks = entry.blocks.max(row.blocks);
    }
    let keys: Vec<_> = new.keys().map(|(tenant, channel, address, _)| (*tenant, *channel, address.clone())).collect();
    for known in suppressions::against(tx, &keys).await? {
        let key = (known.tenant_id, known.channel, known.address.clone(), known.reason);
        if let Some(again) = new.remove(&key).filter(|again| again.blocks > known.blocks) {
            suppressions::widen(tx, known.tenant_id, known.id, again.blocks).await?;
        }
    }
    Ok(new.into_values().collect())
}

/// Adds entries in a transaction that may do more, and tells of those that are new. Answers the new ones.
pub(crate) async fn add(
    tx: &mut Tx,
    writes: &mut Writes,
    tenant: &Tenant,
    candidates: Vec<Suppression>,
    now: Timestamp,
    ids: &Ids,
) -> Result<Vec<Suppression>, store::Error> {
    let new = unknown(tx, candidates).await?;
    for row in &new {
        writes.event(tenant, "suppression.added", json(row), now, ids);
    }
    writes.suppressions.extend(new.iter().cloned());
    Ok(new)
}

impl Engine {
    /// Puts one address on the list. 201 with the entry; one that is there for the same reason is answered as it is. Needs the scope `consent:write`.
    #[crate::boxed]
    pub async fn suppress(&self, caller: &Caller, repeat: &Repeat, new: NewSuppression) -> Result<Reply, Error> {
        caller.need("consent:write")?;
        let tenant_id = caller.need_tenant()?;
        let (_, tenant) = self.tenant(tenant_id).await?;
        let (ids, now, shard) = (Arc::clone(&self.ports.ids), self.ports.clock.now(), self.shard());
        let mut faults = Faults::default();
        let row = check(new, "", &mut faults, tenant_id, &caller.actor(), &ids, now);
        faults.end()?;
        let row = row.ok_or_else(|| Error::internal("an entry without faults is read"))?;
        let by = caller.clone();
        let reply = once(self.parts(), caller, repeat, 201, Secrecy::Plain, move |tx| {
            Box::pin(async move {
                let mut writes = Writes::default();
                let (channel, address, reason) = (row.channel, row.address.clone(), row.reason);
                let new = add(tx, &mut writes, &tenant, vec![row], now, &ids).await?;
                writes.write(tx, shard).await?;
                for row in &new {
                    let detail = json!({ "channel": row.channel, "address": row.address, "reason": row.reason, "blocks": row.blocks });
                    audit::record(tx, tenant_id, &ids, now, &by, "suppression.added", row.id, &detail).await?;
                }
                let found = suppressions::find_reason(tx, tenant_id, channel, &address, reason).await?;
                found.as_ref().map(view).ok_or_else(|| Error::internal("an entry that was added is there"))
            })
        });
        let reply = reply.await?;
        self.noticed(tenant_id).await;
        Ok(reply)
    }

    /// Puts up to [`BULK_MAX`] addresses on the list, all or none. Needs the scope `consent:write`.
    #[crate::boxed]
    pub async fn suppress_many(&self, caller: &Caller, repeat: &Repeat, new: NewSuppressions) -> Result<Reply, Error> {
        caller.need("consent:write")?;
        let tenant_id = caller.need_tenant()?;
        let (_, tenant) = self.tenant(tenant_id).await?;
        let (ids, now, shard) = (Arc::clone(&self.ports.ids), self.ports.clock.now(), self.shard());
        if new.suppressions.is_empty() || new.suppressions.len() > BULK_MAX {
            return Err(Error::invalid("/suppressions", format!("1 to {BULK_MAX} entries")));
        }
        let (mut faults, mut rows) = (Faults::default(), Vec::with_capacity(new.suppressions.len()));
        for (index, entry) in new.suppressions.into_iter().enumerate() {
            let pointer = format!("/suppressions/{index}");
            rows.extend(check(entry, &pointer, &mut faults, tenant_id, &caller.actor(), &ids, now));
        }
        faults.end()?;
        let by = caller.clone();
        let reply = once(self.parts(), caller, repeat, 200, Secrecy::Plain, move |tx| {
            Box::pin(async move {
                let mut writes = Writes::default();
                let count = rows.len();
                let new = add(tx, &mut writes, &tenant, rows, now, &ids).await?;
                writes.write(tx, shard).await?;
                let done = SuppressionsAdded { added: new.len(), known: count - new.len() };
                let detail = json!({ "added": done.added, "known": done.known });
                audit::record(tx, tenant_id, &ids, now, &by, "suppressions.added", tenant_id, &detail).await?;
                Ok::<_, Error>(done)
            })
        });
        let reply = reply.await?;
        self.noticed(tenant_id).await;
        Ok(reply)
    }

    /// Takes an entry off the list, with the reason given for it. Needs the scope `consent:write`.
    #[crate::boxed]
    pub async fn unsuppress(&self, caller: &Caller, id: SuppressionId, reason: Option<String>) -> Result<(), Error> {
        caller.need("consent:write")?;
        let tenant_id = caller.need_tenant()?;
        let (_, tenant) = self.tenant(tenant_id).await?;
        let (ids, now, shard) = (Arc::clone(&self.ports.ids), self.ports.clock.now(), self.shard());
        let by = caller.clone();
        let write = self.ports.db.write(Scope::Tenant(tenant_id), move |tx| {
            Box::pin(async move {
                let row = suppressions::find(tx, tenant_id, id).await?;
                let row = row.ok_or_else(|| Error::not_found("suppression"))?;
                let reason = said(reason)?;
                suppressions::remove(tx, tenant_id, id).await?;
                let mut writes = Writes::default();
                writes.event(&tenant, "suppression.removed", json(&row), now, &ids);
                writes.write(tx, shard).await?;
                let detail = json!({
                    "channel": row.channel, "address": view(&row).address, "reason": row.reason, "blocks": row.blocks, "since": row.created_at, "because": reason,
                });
                audit::record(tx, tenant_id, &ids, now, &by, "suppression.removed", id, &detail).await
            })
        });
        write.await?;
        self.noticed(tenant_id).await;
        Ok(())
    }

    /// Makes the secret a tenant's links are sealed with, when it has none.
    pub(crate) async fn need_secret(&self, tenant: TenantId) -> Result<(), Error> {
        let (vault, ids, now) = (Arc::clone(&self.vault), Arc::clone(&self.ports.ids), self.ports.clock.now());
        let write = self.ports.db.write(Scope::Tenant(tenant), move |tx| {
            Box::pin(async move { policy::need_secret(tx, &vault, &ids, tenant, now).await })
        });
        write.await?;
        self.directory.catch_up().await;
        Ok(())
    }

    /// After a change of consent on this node: the directory looks again, and streams are woken.
    pub(crate) async fn noticed(&self, tenant: TenantId) {
        self.directory.catch_up().await;
        self.wakers.wake(tenant);
    }

    /// Reads one entry. Needs the scope `consent:read`.
    #[crate::boxed]
    pub async fn suppression(&self, caller: &Caller, id: SuppressionId) -> Result<SuppressionView, Error> {
        caller.need("consent:read")?;
        let tenant = caller.need_tenant()?;
        let read = self.ports.db.read(Scope::Tenant(tenant), move |tx| Box::pin(suppressions::find(tx, tenant, id)));
        read.await.map_err(Error::from)?.as_ref().map(view).ok_or_else(|| Error::not_found("suppression"))
    }

    /// Lists entries, newest first, as JSON. Needs the scope `consent:read`.
    #[crate::boxed]
    pub async fn suppressions(&self, caller: &Caller, query: &SuppressionQuery) -> Result<Vec<u8>, Error> {
        let window = Window::read(LIST, query.limit, query.cursor.as_deref())?;
        let rows = self.read_suppressions(caller, query, window.before, window.rows()).await?;
        let page: Page<SuppressionView> = window.page(rows, |row| row.id.ulid(), |row| view(&row));
        to_json(&page)
    }

    /// Writes entries into a file of up to [`EXPORT_MAX`] rows, newest first. Needs the scope `consent:read`.
    #[crate::boxed]
    pub async fn export_suppressions(
        &self,
        caller: &Caller,
        query: &SuppressionQuery,
        format: Format,
    ) -> Result<Export, Error> {
        let before = query.cursor.as_deref().map_or(Ok(u128::MAX), |cursor| read_cursor(LIST, cursor))?;
        let mut rows = self.read_suppressions(caller, query, before, EXPORT_MAX as i64 + 1).await?;
        let has_more = rows.len() > EXPORT_MAX;
        rows.truncate(EXPORT_MAX);
        let next_cursor = rows.last().filter(|_| has_more).map(|last| write_cursor(LIST, last.id.ulid()));
        audit::note_export(self.parts(), caller, "suppressions.exported", caller.owner(), rows.len(), query).await?;
        let body = match format {
            Format::Ndjson => lines(&rows),
            Format::Csv => table(&rows),
        };
        Ok(Export { content_type: format.media_type(), body, next_cursor })
    }

    async fn read_suppressions(
        &self,
        caller: &Caller,
        query: &SuppressionQuery,
        before: u128,
        limit: i64,
    ) -> Result<Vec<Suppression>, Error> {
        caller.need("consent:read")?;
        let tenant = caller.need_tenant()?;
        let filter = Filter {
            channel: query.channel,
            reason: query.reason,
            // Lower case is what mail is compared in, and changes neither a number nor a chat.
            address: query.address.as_ref().map(|address| address.trim().to_lowercase()),
        };
        let before = SuppressionId::from_ulid(before);
        let read = self.ports.db.read(Scope::Tenant(tenant), move |tx| {
            Box::pin(async move { suppressions::list(tx, tenant, &filter, before, limit).await })
        });
        read.await.map_err(Error::from)
    }
}

/// The reason given for lifting a suppression; there must be one.
fn said(reason: Option<String>) -> Result<String, Error> {
    let reason = reason.unwrap_or_default().trim().to_owned();
    if reason.is_empty() || reason.contains('\0') || reason.chars().count() > DETAIL_MAX {
        return Err(Error::new(
            ErrorKind::Malformed,
            "reason_required",
            format!(
                "Taking an address off the suppression list needs a reason of up to {DETAIL_MAX} characters, which is kept in the audit log: add ?reason=…"
            ),
        ));
    }
    Ok(reason)
}

fn lines(rows: &[Suppression]) -> Vec<u8> {
    rows.iter().map(|row| json(row) + "\n").collect::<String>().into_bytes()
}

fn table(rows: &[Suppression]) -> Vec<u8> {
    let mut csv = Csv::with_header(&[
        "id",
        "channel",
        "address",
        "reason",
        "blocks",
        "source",
        "detail",
        "message_id",
        "created_at",
    ]);
    for row in rows {
        let shown = view(row);
        let message_id = shown.message_id.map(|id| id.to_string()).unwrap_or_default();
        csv.row([
            shown.id.to_string().as_str(),
            shown.channel.as_str(),
            shown.address.as_deref().unwrap_or_default(),
            shown.reason.as_str(),
            shown.blocks.as_str(),
            &shown.source,
            shown.detail.as_deref().unwrap_or_default(),
            &message_id,
            &shown.created_at.to_string(),
        ]);
    }
    csv.into_bytes()
}
