//! How long a tenant keeps things: its policy, how far each kind has come, and the steps that take old things away.
//!
//! Ids are made in the order of time, so "older than" is "smaller than", and a place in a table is an id. A step works on up to `limit` rows. What is still needed when its time is over
//! (a message scheduled for next year) is noted in `retention_left` and looked at again, so that a place never goes back.

use model::{CallbackId, ContactId, InboundId, MessageId, TenantId, Timestamp, Ulid};

use crate::{Error, Given, Kind, Row, Tx, contacts::Contact, inflight::WorkerId, leases::Leased, messages::ContentId};

/// The smallest id of an instant.
pub const fn first_id(at: Timestamp) -> Ulid {
    let millis = at.as_millis();
    if millis > 0 { (millis as u128) << 80 } else { 0 }
}

/// A row of `retention_policies`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Whose.
    pub tenant_id: TenantId,
    /// What it set, as JSON.
    pub settings: String,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// When its rows are looked at again; `None` while nothing is to be taken away.
    pub next_at: Option<Timestamp>,
}

const POLICY: &str = "tenant_id, settings, updated_at, next_at";

fn read(mut row: Row) -> Result<Policy, Error> {
    Ok(Policy { tenant_id: row.get(0)?, settings: row.get(1)?, updated_at: row.get(2)?, next_at: row.get(3)? })
}

/// The tenant's policy, if it has one.
pub async fn find(tx: &mut Tx, tenant: TenantId) -> Result<Option<Policy>, Error> {
    let sql = format!("SELECT {POLICY} FROM retention_policies WHERE tenant_id = $1");
    tx.row(&sql, &[&tenant]).await?.map(read).transpose()
}

/// Writes the tenant's policy.
pub async fn put(tx: &mut Tx, p: &Policy) -> Result<(), Error> {
    let sql = "INSERT INTO retention_policies (tenant_id, settings, updated_at, next_at) VALUES ($1, $2, $3, $4)
        ON CONFLICT (tenant_id) DO UPDATE SET settings = excluded.settings, updated_at = excluded.updated_at, next_at = excluded.next_at";
    tx.execute(sql, &[&p.tenant_id, &p.settings, &p.updated_at, &p.next_at]).await.map(drop)
}

/// Takes policies of any tenants that are there with something to look at that nobody else works on, until `until`.
pub async fn lease(
    tx: &mut Tx,
    worker: WorkerId,
    now: Timestamp,
    until: Timestamp,
    limit: i64,
) -> Result<Vec<Policy>, Error> {
    let leased = Leased { table: "retention_policies", key: "tenant_id", columns: POLICY };
    let rows = leased.lease(tx, worker, now, until, limit).await?;
    let mut leased = rows.into_iter().map(read).collect::<Result<Vec<_>, _>>()?;
    leased.sort_by_key(|policy| (policy.next_at, policy.tenant_id));
    Ok(leased)
}

/// Ends a turn: others may take the policy again, from `next_at` on unless it was changed meanwhile.
pub async fn release(tx: &mut Tx, seen: &Policy, worker: WorkerId, next_at: Timestamp) -> Result<(), Error> {
    let sql = "UPDATE retention_policies SET leased_by = NULL, lease_until = NULL,
        next_at = CASE WHEN updated_at = $1 THEN $2 ELSE next_at END WHERE tenant_id = $3 AND leased_by = $4";
    tx.execute(sql, &[&seen.updated_at, &next_at, &seen.tenant_id, &worker]).await.map(drop)
}

/// How far a kind has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Rows up to here are dealt with.
    pub place: Ulid,
    /// Rows taken away or emptied so far.
    pub done: u64,
    /// When it was last worked on.
    pub worked_at: Timestamp,
}

/// How far each kind of a tenant has come.
pub async fn places(tx: &mut Tx, tenant: TenantId) -> Result<Vec<(String, Progress)>, Error> {
    let sql = "SELECT kind, place, done, worked_at FROM retention_places WHERE tenant_id = $1 ORDER BY kind";
    let read = |mut row: Row| {
        let place: MessageId = row.get(1)?;
        Ok((row.get(0)?, Progress { place: place.ulid(), done: row.get(2)?, worked_at: row.get(3)? }))
    };
    tx.rows(sql, &[&tenant]).await?.into_iter().map(read).collect()
}

/// Moves a kind on, and adds to what was done.
pub async fn advance(
    tx: &mut Tx,
    tenant: TenantId,
    kind: &str,
    place: Ulid,
    done: u64,
    now: Timestamp,
) -> Result<(), Error> {
    let sql = "INSERT INTO retention_places (tenant_id, kind, place, done, worked_at) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (tenant_id, kind) DO UPDATE SET place = excluded.place, done = retention_places.done + excluded.done, worked_at = excluded.worked_at";
    tx.execute(sql, &[&tenant, &kind, &MessageId::from_ulid(place), &done, &now]).await.map(drop)
}

/// Messages from behind `after` to before `until`, oldest first.
pub async fn messages(
    tx: &mut Tx,
    tenant: TenantId,
    (after, until): (Ulid, Ulid),
    limit: i64,
) -> Result<Vec<MessageId>, Error> {
    let sql = "SELECT id FROM messages WHERE tenant_id = $1 AND id > $2 AND id < $3 ORDER BY id LIMIT $4";
    let (after, until) = (MessageId::from_ulid(after), MessageId::from_ulid(until));
    tx.rows(sql, &[&tenant, &after, &until, &limit]).await?.into_iter().map(|mut row| row.get(0)).collect()
}

/// Notes messages that are still needed.
pub async fn leave(tx: &mut Tx, tenant: TenantId, kind: &str, messages: &[MessageId]) -> Result<(), Error> {
    let mut given = Given::new(&[("tenant_id", Kind::Id), ("kind", Kind::Text), ("id", Kind::Id)]);
    for id in messages {
        given.row([&tenant, &kind, id]);
    }
    tx.insert_many("retention_left", &given, "ON CONFLICT DO NOTHING").await.map(drop)
}

/// Messages that were still needed, behind `after`, in order.
pub async fn left(
    tx: &mut Tx,
    tenant: TenantId,
    kind: &str,
    after: MessageId,
    limit: i64,
) -> Result<Vec<MessageId>, Error> {
    let sql = "SELECT id FROM retention_left WHERE tenant_id = $1 AND kind = $2 AND id > $3 ORDER BY id LIMIT $4";
    tx.rows(sql, &[&tenant, &kind, &after, &limit]).await?.into_iter().map(|mut row| row.get(0)).collect()
}

/// Forgets that messages were still needed.
pub async fn take(tx: &mut Tx, tenant: TenantId, kind: &str, messages: &[MessageId]) -> Result<(), Error> {
    let mut given = Given::new(&[("tenant_id", Kind::Id), ("kind", Kind::Text), ("id", Kind::Id)]);
    for id in messages {
        given.row([&tenant, &kind, id]);
    }
    tx.delete_many("retention_left", &given).await.map(drop)
}

/// Takes out what a message said: its variables, and the tenant's own object. It can no longer be sent again.
pub async fn empty_words(tx: &mut Tx, tenant: TenantId, message: MessageId) -> Result<(), Error> {
    let sql = "UPDATE messages SET variables = NULL, metadata = NULL, dead_at = NULL WHERE tenant_id = $1 AND id = $2";
    tx.execute(sql, &[&tenant, &message]).await.map(drop)
}

/// Takes out to whom a message went; `address` stands there then.
pub async fn empty_address(tx: &mut Tx, tenant: TenantId, message: MessageId, address: &str) -> Result<(), Error> {
    let sql = "UPDATE messages SET address = $1, dead_at = NULL WHERE tenant_id = $2 AND id = $3";
    tx.execute(sql, &[&address, &tenant, &message]).await.map(drop)
}

/// Takes out what was exchanged about a message and what reports said in words. `failure`: what is kept of why it failed.
pub async fn empty_exchanges(
    tx: &mut Tx,
    tenant: TenantId,
    message: MessageId,
    failure: Option<&str>,
) -> Result<(), Error> {
    let sql = "UPDATE messages SET failure = $1 WHERE tenant_id = $2 AND id = $3 AND failure IS NOT NULL";
    tx.execute(sql, &[&failure, &tenant, &message]).await?;
    for sql in [
        "UPDATE attempts SET exchange = NULL, note = NULL WHERE tenant_id = $1 AND message_id = $2",
        "UPDATE observations SET detail = NULL WHERE tenant_id = $1 AND message_id = $2",
    ] {
        tx.execute(sql, &[&tenant, &message]).await?;
    }
    Ok(())
}

/// Whether a message among those accepted with one, whose ids lie from `first` to `last`, says the same and is still to be sent or asked about.
pub async fn is_content_needed(
    tx: &mut Tx,
    tenant: TenantId,
    content: ContentId,
    (first, last): (MessageId, MessageId),
) -> Result<bool, Error> {
    let sql = "SELECT 1 FROM messages WHERE tenant_id = $1 AND id >= $2 AND id <= $3 AND content_id = $4 AND (due_at IS NOT NULL OR poll_at IS NOT NULL) LIMIT 1";
    Ok(tx.row(sql, &[&tenant, &first, &last, &content]).await?.is_some())
}

/// Which of these messages may still move on to another channel.
pub async fn falling_back(tx: &mut Tx, keys: &[(TenantId, MessageId)]) -> Result<Vec<MessageId>, Error> {
    let mut given = Given::new(&[("tenant_id", Kind::Id), ("message_id", Kind::Id)]);
    for (tenant, id) in keys {
        given.row([tenant, id]);
    }
    let rows = tx.match_many("SELECT message_id FROM fallbacks", &given, "AND due_at IS NOT NULL").await?;
    rows.into_iter().map(|mut row| row.get(0)).collect()
}

/// Empties messages people wrote, behind `after` and before `until`: what they said, and from where. Whose they are is kept with the contact. Answers the last one, and what all of them
/// said: it may name files.
pub async fn empty_inbound(
    tx: &mut Tx,
    tenant: TenantId,
    (after, until): (Ulid, Ulid),
    body: &str,
    address: &str,
    limit: i64,
) -> Result<(Option<Ulid>, Vec<String>), Error> {
    let sql = "SELECT id, body FROM inbound_messages WHERE tenant_id = $1 AND id > $2 AND id < $3 ORDER BY id LIMIT $4";
    let (from, end) = (InboundId::from_ulid(after), InboundId::from_ulid(until));
    let rows = tx.rows(sql, &[&tenant, &from, &end, &limit]).await?;
    let rows: Vec<(InboundId, String)> =
        rows.into_iter().map(|mut row| Ok((row.get(0)?, row.get(1)?))).collect::<Result<_, Error>>()?;
    let Some((last, _)) = rows.last() else { return Ok((None, Vec::new())) };
    let last = *last;
    let sql = "UPDATE inbound_messages SET body = $1, address = $2 WHERE tenant_id = $3 AND id > $4 AND id <= $5";
    tx.execute(sql, &[&body, &address, &tenant, &from, &last]).await?;
    Ok((Some(last.ulid()), rows.into_iter().map(|(_, body)| body).collect()))
}

/// Removes requests of providers that came before `until`. Answers how many.
pub async fn remove_callbacks(tx: &mut Tx, tenant: TenantId, until: Ulid, limit: i64) -> Result<u64, Error> {
    let sql = "DELETE FROM callback_log WHERE tenant_id = $1 AND id IN (
        SELECT id FROM callback_log WHERE tenant_id = $1 AND id < $2 ORDER BY id LIMIT $3)";
    tx.execute(sql, &[&tenant, &CallbackId::from_ulid(until), &limit]).await
}

/// Removes the tenant's oldest events, as far as they are older than `before`. Answers how many.
pub async fn remove_events(tx: &mut Tx, tenant: TenantId, before: Timestamp, limit: i64) -> Result<u64, Error> {
    let sql = "DELETE FROM events WHERE tenant_id = $1 AND seq IN (
        SELECT seq FROM (SELECT seq, at FROM events WHERE tenant_id = $1 ORDER BY txid, seq LIMIT $3) AS oldest WHERE at < $2)";
    tx.execute(sql, &[&tenant, &before, &limit]).await
}

/// Removes what is known of imports that ended before `before` and whose files are gone, with their errors. Answers how many rows.
pub async fn remove_imports(tx: &mut Tx, tenant: TenantId, before: Timestamp, limit: i64) -> Result<u64, Error> {
    let old = "SELECT id FROM contact_imports WHERE tenant_id = $1 AND finished_at < $2 AND purged_at IS NOT NULL";
    let (key, of) = ("import_id, row_number, place", "contact_import_errors");
    let sql = format!(
        "DELETE FROM {of} WHERE tenant_id = $1 AND ({key}) IN (SELECT {key} FROM {of} WHERE tenant_id = $1 AND import_id IN ({old}) LIMIT $3)"
    );
    let errors = tx.execute(&sql, &[&tenant, &before, &limit]).await?;
    if errors > 0 {
        return Ok(errors);
    }
    let sql = format!("DELETE FROM contact_imports WHERE tenant_id = $1 AND id IN ({old} ORDER BY id LIMIT $3)");
    tx.execute(&sql, &[&tenant, &before, &limit]).await
}

/// Contacts behind `after`, in order, with whether each is idle: not changed since `since`, and neither written to nor heard from, nor asked about its consent. The second value: where the
/// next step begins.
pub async fn idle_contacts(
    tx: &mut Tx,
    tenant: TenantId,
    after: ContactId,
    since: Timestamp,
    limit: i64,
) -> Result<(Vec<Contact>, Option<ContactId>), Error> {
    let page = crate::contacts::page(tx, tenant, &crate::contacts::Audience::All, after, limit).await?;
    let next = page.last().map(|contact| contact.id);
    let mut idle = Vec::new();
    let (message, inbound) = (MessageId::from_ulid(first_id(since)), InboundId::from_ulid(first_id(since)));
    for contact in page.into_iter().filter(|contact| contact.updated_at < since) {
        let (id, mut is_seen) = (contact.id, false);
        let sql = "SELECT 1 FROM messages WHERE tenant_id = $1 AND contact_id = $2 AND (id >= $3 OR due_at IS NOT NULL) LIMIT 1";
        is_seen |= tx.row(sql, &[&tenant, &id, &message]).await?.is_some();
        let sql = "SELECT 1 FROM inbound_messages WHERE tenant_id = $1 AND contact_id = $2 AND id >= $3 LIMIT 1";
        is_seen |= tx.row(sql, &[&tenant, &id, &inbound]).await?.is_some();
        let sql = "SELECT 1 FROM consent_states WHERE tenant_id = $1 AND contact_id = $2 AND changed_at >= $3 LIMIT 1";
        is_seen |= tx.row(sql, &[&tenant, &id, &since]).await?.is_some();
        if !is_seen {
            idle.push(contact);
        }
    }
    Ok((idle, next))
}
