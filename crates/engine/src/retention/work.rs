//! The job that takes away what is older than a tenant wants it: one bounded step after the other, each in a transaction with the place it moves.

use std::{collections::BTreeMap, sync::Arc};

use model::{ContactId, MessageId, TenantId, Timestamp, Ulid};
use store::{
    Scope, Tx, attempts, contents, erasure, fallbacks,
    messages::{self, Message},
    retention::{self, Policy},
    templates,
};

use super::{KINDS, settings};
use crate::{
    Engine, Error,
    contacts::erase::{self, accepted_with, kept, nothing},
    country,
    inbound::Body,
};

/// Rows of one step: some milliseconds.
const ROWS: i64 = 200;
/// Contacts one step looks at, each with three short questions.
const CONTACTS: i64 = 100;
/// Steps of one kind before the others have their turn.
const STEPS_MAX: u32 = 20;
/// Policies taken at once.
const LEASES: i64 = 4;
/// How long a policy is ours, in milliseconds: many times what a turn takes.
const LEASE_MS: i64 = 300_000;
/// Wait before a tenant's rows are looked at again when nothing was left to do, in seconds: what is a day old may be a day and an hour old.
const AGAIN_S: i64 = 3_600;
/// A look at all contacts begins anew after so long, in seconds: a day, because contacts grow idle in any order.
const CIRCLE_S: i64 = 86_400;
/// What a turn answers when there is more to do: enough to be taken again at once.
const MORE: u64 = 1_000;

/// Takes away what is too old, of tenants that are due. Answers [`MORE`] when there is more to do.
#[crate::boxed]
pub async fn run(engine: &Arc<Engine>) -> Result<u64, Error> {
    let (now, worker) = (engine.ports.clock.now(), engine.worker);
    let until = now.plus_millis(LEASE_MS);
    let lease =
        engine.ports.db.write(Scope::System, move |tx| Box::pin(retention::lease(tx, worker, now, until, LEASES)));
    let leased: Vec<Policy> = lease.await?;
    let mut more = 0;
    for policy in leased {
        // One that cannot go on must not keep the others waiting.
        let next_at = match turn(engine, &policy, now).await {
            Ok(true) => now.plus_seconds(AGAIN_S),
            Ok(false) => {
                more = MORE;
                now
            }
            Err(error) => {
                tracing::warn!(%error, tenant.id = %policy.tenant_id, "What is too old cannot be taken away and will be tried again");
                now.plus_seconds(60)
            }
        };
        let release = engine.ports.db.write(Scope::System, move |tx| {
            Box::pin(async move { retention::release(tx, &policy, worker, next_at).await })
        });
        let released: Result<(), store::Error> = release.await;
        released?;
    }
    Ok(more)
}

/// Works every kind of one tenant on; true when nothing is left to do now.
async fn turn(engine: &Arc<Engine>, policy: &Policy, now: Timestamp) -> Result<bool, Error> {
    let (tenant, settings) = (policy.tenant_id, settings(Some(policy)));
    let mut is_done = true;
    for kind in &KINDS {
        let Some(days) = (kind.of)(&settings) else { continue };
        let before = now.plus_seconds(-i64::from(days) * 86_400);
        let mut steps = 0;
        loop {
            let has_more = match kind.name {
                "inactive_contacts" => contacts(engine, tenant, before, now).await?,
                name => step(engine, tenant, name, before, now).await?,
            };
            if !has_more {
                break;
            }
            steps += 1;
            if steps == STEPS_MAX {
                is_done = false;
                break;
            }
        }
    }
    Ok(is_done)
}

/// One step of a kind; true when there is more to do.
async fn step(
    engine: &Engine,
    tenant: TenantId,
    kind: &'static str,
    before: Timestamp,
    now: Timestamp,
) -> Result<bool, Error> {
    let write = engine.ports.db.write(Scope::Tenant(tenant), move |tx| {
        Box::pin(async move {
            let place = place(tx, tenant, kind).await?;
            let until = retention::first_id(before);
            let removed = match kind {
                "message_content" | "message_addresses" | "exchanges" => {
                    return of_messages(tx, tenant, kind, (place, until), now).await;
                }
                "inbound" => {
                    let body = serde_json::to_string(&Body::default()).map_err(Error::internal)?;
                    let span = (place, until);
                    let (last, emptied) =
                        retention::empty_inbound(tx, tenant, span, &body, erasure::ERASED, ROWS).await?;
                    store::attachments::release(tx, tenant, &crate::inbound::files_of(&emptied), now).await?;
                    let count = emptied.len() as u64;
                    if let Some(last) = last {
                        retention::advance(tx, tenant, kind, last, count, now).await?;
                    }
                    return Ok(last.is_some() && count >= ROWS.unsigned_abs());
                }
                "callbacks" => retention::remove_callbacks(tx, tenant, until, ROWS).await?,
                "events" => retention::remove_events(tx, tenant, before, ROWS).await?,
                "imports" => retention::remove_imports(tx, tenant, before, ROWS).await?,
                other => return Err(Error::internal(format!("there is no kind {other} to take away"))),
            };
            if removed > 0 {
                retention::advance(tx, tenant, kind, until, removed, now).await?;
            }
            // An import's errors go before the import itself, so only nothing means that nothing is left.
            Ok::<_, Error>(removed >= ROWS.unsigned_abs() || (kind == "imports" && removed > 0))
        })
    });
    write.await
}

async fn place(tx: &mut Tx, tenant: TenantId, kind: &str) -> Result<Ulid, Error> {
    let places = retention::places(tx, tenant).await?;
    Ok(places.into_iter().find(|(name, _)| name == kind).map_or(0, |(_, at)| at.place))
}

/// Where the look at messages that were still needed has come to, beside the kind's own place.
fn beside(kind: &str) -> String {
    format!("{kind} left")
}

/// Empties the next messages that are too old, and those that were still needed and are not any more.
async fn of_messages(
    tx: &mut Tx,
    tenant: TenantId,
    kind: &'static str,
    (place, until): (Ulid, Ulid),
    now: Timestamp,
) -> Result<bool, Error> {
    let next = retention::messages(tx, tenant, (place, until), ROWS).await?;
    if let Some(last) = next.last() {
        let (emptied, needed) = empty(tx, tenant, kind, &next).await?;
        retention::leave(tx, tenant, kind, &needed).await?;
        retention::advance(tx, tenant, kind, last.ulid(), emptied, now).await?;
        if next.len() as i64 == ROWS {
            return Ok(true);
        }
    }
    let beside = beside(kind);
    let after = self::place(tx, tenant, &beside).await?;
    let left = retention::left(tx, tenant, kind, MessageId::from_ulid(after), ROWS).await?;
    let Some(last) = left.last().copied() else {
        if after > 0 {
            // Once around: the next look begins at the first.
            retention::advance(tx, tenant, &beside, 0, 0, now).await?;
        }
        return Ok(false);
    };
    let (emptied, needed) = empty(tx, tenant, kind, &left).await?;
    let ready: Vec<MessageId> = left.into_iter().filter(|id| !needed.contains(id)).collect();
    retention::take(tx, tenant, kind, &ready).await?;
    retention::advance(tx, tenant, &beside, last.ulid(), 0, now).await?;
    let at = self::place(tx, tenant, kind).await?;
    retention::advance(tx, tenant, kind, at, emptied, now).await?;
    Ok(true)
}

/// Empties messages of which nothing is needed any more. Answers how many, and which are still needed.
async fn empty(tx: &mut Tx, tenant: TenantId, kind: &str, ids: &[MessageId]) -> Result<(u64, Vec<MessageId>), Error> {
    let keys: Vec<_> = ids.iter().map(|id| (tenant, *id)).collect();
    let rows = messages::lock_many(tx, &keys).await?;
    let falling = retention::falling_back(tx, &keys).await?;
    let is_needed =
        |m: &Message| !m.status.is_final() || m.due_at.is_some() || m.poll_at.is_some() || falling.contains(&m.id);
    let (needed, ready): (Vec<Message>, Vec<Message>) = rows.into_iter().partition(is_needed);
    for m in &ready {
        match kind {
            "message_content" => retention::empty_words(tx, tenant, m.id).await?,
            "message_addresses" => {
                // An event's way to an endpoint has no address of anybody.
                if m.channel != model::Channel::Webhook {
                    let address = country::erased(m.channel, &m.address);
                    retention::empty_address(tx, tenant, m.id, &address).await?;
                }
            }
            _ => {
                for attempt in attempts::of_message(tx, tenant, m.id).await? {
                    let kept = attempt.failure.as_deref().map(kept);
                    erasure::keep_failure(tx, tenant, m.id, attempt.number, kept.as_deref()).await?;
                }
                let kept = m.failure.as_deref().map(kept);
                retention::empty_exchanges(tx, tenant, m.id, kept.as_deref()).await?;
            }
        }
    }
    let ready_keys: Vec<_> = ready.iter().map(|m| (tenant, m.id)).collect();
    match kind {
        "message_content" => empty_contents(tx, tenant, &ready).await?,
        "message_addresses" => {
            for route in fallbacks::former(tx, &ready_keys).await? {
                let address = country::erased(route.channel, &route.address);
                erasure::empty_route(tx, tenant, route.message_id, route.position, &address).await?;
            }
        }
        _ => {}
    }
    Ok((ready.len() as u64, needed.into_iter().map(|m| m.id).collect()))
}

/// Empties what these messages said, as far as nobody else is still to be told it. What a template says is the template's.
async fn empty_contents(tx: &mut Tx, tenant: TenantId, ready: &[Message]) -> Result<(), Error> {
    let by_content: BTreeMap<_, &Message> = ready.iter().map(|m| (m.content_id.0, m)).collect();
    for m in by_content.into_values() {
        if let Some(of) = m.template
            && templates::says(tx, tenant, of, m.content_id).await?
        {
            continue;
        }
        if !retention::is_content_needed(tx, tenant, m.content_id, accepted_with(m)).await? {
            contents::replace(tx, tenant, m.content_id, &nothing(m.channel)).await?;
        }
    }
    Ok(())
}

/// Erases the next contacts that were idle for too long; true when there are more to look at.
async fn contacts(engine: &Arc<Engine>, tenant: TenantId, since: Timestamp, now: Timestamp) -> Result<bool, Error> {
    const KIND: &str = "inactive_contacts";
    let read = engine.ports.db.read(Scope::Tenant(tenant), move |tx| {
        Box::pin(async move {
            let places = retention::places(tx, tenant).await?;
            let at = places.into_iter().find(|(name, _)| name == KIND).map(|(_, at)| at);
            let after = ContactId::from_ulid(at.map_or(0, |at| at.place));
            if after.ulid() == Ulid::MAX && at.is_some_and(|at| at.worked_at.plus_seconds(CIRCLE_S) > now) {
                return Ok(None);
            }
            let after = if after.ulid() == Ulid::MAX { ContactId::from_ulid(0) } else { after };
            Ok::<_, Error>(Some(retention::idle_contacts(tx, tenant, after, since, CONTACTS).await?))
        })
    });
    let Some((idle, next)) = read.await? else { return Ok(false) };
    let erased = erase::idle(engine, tenant, idle).await?;
    let place = next.map_or(Ulid::MAX, ContactId::ulid);
    let write = engine.ports.db.write(Scope::Tenant(tenant), move |tx| {
        Box::pin(async move { Ok::<_, Error>(retention::advance(tx, tenant, KIND, place, erased, now).await?) })
    });
    write.await?;
    Ok(next.is_some())
}
