//! What happens to endpoints by itself: secrets whose overlap is over stop signing, endpoints that take nothing are switched off, what waits for one
//! that is gone is withdrawn. Each job looks at the database, does what is due in bounded steps, and can be run twice or killed anywhere.

use std::sync::Arc;

use model::{EndpointId, EventId, Fact, Failure, FailureKind, MessageId, TenantId, Timestamp};
use store::{
    Scope, account_states,
    endpoints::{self, Failing},
    events::Event,
    messages, tenants,
};

use super::{changes, nudge};
use crate::{
    Engine, Error,
    apply::{Input, Withdrawn},
    writes::{self, Writes},
};

/// How long an endpoint may take nothing before it is switched off, in seconds: 5 days, longer than the retries of any event.
const FAILING_MAX_S: i64 = 5 * 86_400;
/// How long what waits is kept while its endpoint is switched off, in seconds: 3 days, as long as it would be retried.
const KEPT_WHILE_OFF_S: i64 = 3 * 86_400;
/// Rows read at once.
const PAGE: i64 = 200;
/// Deliveries withdrawn in one transaction.
const WITHDRAWN_PAGE: i64 = 500;

/// Ends the overlaps that are over. Answers how many. Run every minute.
#[crate::boxed]
pub async fn expire_secrets(engine: &Engine, now: Timestamp) -> Result<u64, Error> {
    let read = engine.ports.db.read(Scope::System, move |tx| {
        Box::pin(async move { Ok::<_, Error>(endpoints::secrets_over(tx, now, PAGE).await?) })
    });
    let mut ended = 0;
    for (tenant, id) in read.await? {
        let parts = engine.parts().clone();
        let write = engine.ports.db.write(Scope::Tenant(tenant), move |tx| {
            Box::pin(async move { changes::retire_secrets(tx, &parts, tenant, id, now).await })
        });
        ended += u64::from(write.await?);
    }
    if ended > 0 {
        engine.directory.catch_up().await;
    }
    Ok(ended)
}

/// Switches endpoints off that have taken nothing for 5 days, or answered that they want nothing more (410). The tenant's other endpoints and its streams are told.
/// Answers how many. Run every minute.
#[crate::boxed]
pub async fn disable_failing(engine: &Engine, now: Timestamp) -> Result<u64, Error> {
    let (mut disabled, mut after) = (0, EndpointId::from_ulid(0));
    loop {
        let read = engine.ports.db.read(Scope::System, move |tx| {
            Box::pin(async move { Ok::<_, Error>(endpoints::failing(tx, after, PAGE).await?) })
        });
        let page = read.await?;
        for failing in &page {
            if let Some(reason) = reason(failing.since, failing.failure.as_deref(), now) {
                disabled += u64::from(disable(engine, failing, reason, now).await?);
            }
        }
        match page.last() {
            Some(last) if page.len() as i64 == PAGE => after = last.id,
            _ => return Ok(disabled),
        }
    }
}

/// Why an endpoint is switched off now, for people; `None` when it is not.
fn reason(since: Timestamp, failure: Option<&str>, now: Timestamp) -> Option<String> {
    let failure: Option<Failure> = failure.and_then(|text| serde_json::from_str(text).ok());
    if let Some(failure) = failure.as_ref().filter(|failure| failure.kind == FailureKind::Account) {
        return Some(failure.detail.clone());
    }
    if now < since.plus_seconds(FAILING_MAX_S) {
        return None;
    }
    let last =
        failure.map_or_else(String::new, |failure| format!(" The last answer ({}): {}", failure.code, failure.detail));
    Some(format!(
        "It has taken no event for 5 days.{last} Enable it again when it works; what it missed can be replayed."
    ))
}

async fn disable(engine: &Engine, failing: &Failing, reason: String, now: Timestamp) -> Result<bool, Error> {
    let (tenant_id, id) = (failing.tenant_id, failing.id);
    let Some(tenant) = engine.directory.tenant(tenant_id).await? else { return Ok(false) };
    let (parts, seen) = (engine.parts().clone(), failing.clone());
    let (ids, shard) = (Arc::clone(&engine.ports.ids), engine.shard());
    let write = engine.ports.db.write(Scope::Tenant(tenant_id), move |tx| {
        Box::pin(async move {
            tenants::bump(tx, Some(tenant_id)).await?;
            let state = account_states::lock(tx, tenant_id, id.account()).await?;
            // It may have taken an event, or been switched on again, since we looked.
            if state.is_none_or(|state| state.paused_at != Some(seen.since) || state.pause != seen.failure) {
                return Ok(None);
            }
            let Some(view) = changes::disable(tx, &parts, tenant_id, id, reason, now).await? else { return Ok(None) };
            let mut writes = Writes::default();
            let data = serde_json::to_string(&view).map_err(Error::internal)?;
            let others = tenant.endpoints.iter().filter(|other| other.id != id && other.is_active);
            let told: Vec<EndpointId> = others
                .filter(|other| writes::wants(&other.events, "endpoint.disabled"))
                .map(|other| other.id)
                .collect();
            let event_id = EventId::from_ulid(ids.ulid(now));
            let event = Event { id: event_id, tenant_id, kind: "endpoint.disabled".to_owned(), at: now, data };
            if !told.is_empty() {
                let content = writes.webhook_content(&event);
                for other in &told {
                    writes.webhook_message(&event, *other, content, now, &ids);
                }
            }
            writes.events.push(event);
            writes.write(tx, shard).await?;
            Ok::<_, Error>(Some(told))
        })
    });
    let Some(told) = write.await? else { return Ok(false) };
    engine.directory.catch_up().await;
    engine.wakers.wake(tenant_id);
    for other in told {
        nudge(engine, tenant_id, other);
    }
    tracing::warn!(tenant.id = %tenant_id, endpoint.id = %id, "Switched a webhook endpoint off that takes no events");
    Ok(true)
}

/// Withdraws what waits for endpoints that were deleted, or switched off for three days. Answers how many deliveries. Run every minute.
#[crate::boxed]
pub async fn withdraw_idle(engine: &Engine, now: Timestamp) -> Result<u64, Error> {
    let idle_since = now.plus_seconds(-KEPT_WHILE_OFF_S);
    let read = engine.ports.db.read(Scope::System, move |tx| {
        Box::pin(async move { Ok::<_, Error>(endpoints::idle_with_work(tx, idle_since, PAGE).await?) })
    });
    let mut withdrawn = 0;
    for (tenant, id) in read.await? {
        withdrawn += withdraw(engine, tenant, id).await?;
    }
    Ok(withdrawn)
}

/// Withdraws what waits for one endpoint.
pub(super) async fn withdraw(engine: &Engine, tenant: TenantId, id: EndpointId) -> Result<u64, Error> {
    let (mut withdrawn, mut after) = (0, None::<MessageId>);
    loop {
        let read = engine.ports.db.read(Scope::Tenant(tenant), move |tx| {
            Box::pin(async move {
                Ok::<_, Error>(messages::waiting_on_account(tx, tenant, id.account(), after, WITHDRAWN_PAGE).await?)
            })
        });
        let page = read.await?;
        let Some(last) = page.last() else { return Ok(withdrawn) };
        after = Some(*last);
        let inputs: Vec<_> = page
            .iter()
            .map(|message_id| Withdrawn {
                tenant_id: tenant,
                message_id: *message_id,
                fact: Fact::Canceled,
                source: "engine".to_owned(),
            })
            .collect();
        let count = inputs.len();
        let applied = engine.applies.submit(Input::Withdrawn(inputs), count).await;
        applied.unwrap_or_else(|| Err(Error::internal("the batch was lost to a panic")))?;
        withdrawn += count as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_switched_off_after_five_days_or_at_its_own_word() {
        let now = Timestamp::from_seconds(10_000_000);
        let failure = |kind| serde_json::to_string(&Failure::new(kind, "503", "It answered 503.")).unwrap();
        let check = |failing_s: i64, kind: Option<FailureKind>, expected: bool| {
            let text = kind.map(failure);
            assert_eq!(
                reason(now.plus_seconds(-failing_s), text.as_deref(), now).is_some(),
                expected,
                "{failing_s} {kind:?}"
            );
        };
        check(5 * 86_400 - 1, Some(FailureKind::Unavailable), false);
        check(5 * 86_400, Some(FailureKind::Unavailable), true);
        check(5 * 86_400, None, true);
        check(0, Some(FailureKind::Account), true);
        check(0, Some(FailureKind::Unknown), false);
        check(0, None, false);
    }
}
