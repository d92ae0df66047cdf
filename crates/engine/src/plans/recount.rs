//! What was used of the running month when the plan changes. A plan counts for the whole month, so a channel it speaks of for the first time begins with what was sent over it since the month's
//! beginning (or since the tenant had its first plan), and a channel it speaks of no more has no counter.
//!
//! The change notes that there is something to count, and counts at once. What was being accepted meanwhile, under the plan before, may have come too late for that: a job counts once more a minute
//! later, and after a process that died in between.

use std::sync::Arc;

use model::{MessageId, TenantId, Timestamp};
use serde_json::Value;
use store::{Scope, Tx, quotas, recounts, retention::first_id, subscriptions as rows};

use super::{
    CHANNELS,
    quota::{self, LATE_S, covers, fresh, notice},
};
use crate::{Engine, Error, directory::Tenant, provider, writes::Writes};

/// How far before a month's beginning ids are looked at, in seconds: an id is made before its message is accepted.
const SKEW_S: i64 = 3_600;
/// Tenants whose use is counted in one run.
const PAGE: i64 = 20;

/// Counts for tenants whose plan changed a minute ago. Run every few seconds; answers how many.
#[crate::boxed]
pub async fn run(engine: &Engine) -> Result<u64, Error> {
    let now = engine.ports.clock.now();
    let read = engine
        .ports
        .db
        .read(Scope::System, move |tx| Box::pin(async move { Ok::<_, Error>(rows::to_recount(tx, now, PAGE).await?) }));
    let due = read.await?;
    for tenant in due.iter().copied() {
        // One that cannot be counted now must not keep the others.
        if let Err(error) = count(engine, tenant).await {
            tracing::warn!(%error, tenant.id = %tenant, "What a tenant used of its new plan cannot be counted now");
            let later = now.plus_seconds(LATE_S);
            let put_off = engine.ports.db.write(Scope::Tenant(tenant), move |tx| {
                Box::pin(async move { rows::recount_at(tx, tenant, later).await })
            });
            put_off.await?;
        }
    }
    Ok(due.len() as u64)
}

/// Counts what a tenant used of its plan's running month, and tells it where it is at one of the marks. This node's directory knows the plan.
pub(super) async fn count(engine: &Engine, tenant: TenantId) -> Result<(), Error> {
    let (ids, shard, now) = (Arc::clone(&engine.ports.ids), engine.shard(), engine.ports.clock.now());
    let known = engine.directory.tenant(tenant).await?;
    let write = engine.ports.db.write(Scope::Tenant(tenant), move |tx| {
        Box::pin(async move {
            rows::recounted(tx, tenant, now).await?;
            let Some(known) = known else { return Ok::<_, Error>(Vec::new()) };
            let mut writes = Writes::default();
            for (kind, data) in counted(tx, &known, now).await? {
                writes.event(&known, kind, data.to_string(), now, &ids);
            }
            writes.write(tx, shard).await?;
            Ok(writes.deliveries)
        })
    });
    let deliveries = write.await?;
    provider::wake(engine, tenant, &deliveries);
    Ok(())
}

/// Writes the running month's counters as the plan has them. Whoever counts messages of these channels meanwhile waits.
async fn counted(tx: &mut Tx, tenant: &Tenant, now: Timestamp) -> Result<Vec<(&'static str, Value)>, Error> {
    let (id, mut told) = (tenant.id, Vec::new());
    for channel in CHANNELS.iter().copied() {
        let allowance = quota::allowance(tenant, channel);
        if allowance.is_some()
            && !quotas::lock(tx, id, channel, now).await?.iter().any(|counter| covers(counter, now))
            && let Some(new) = fresh(tx, tenant, channel, now).await?
        {
            quotas::begin_many(tx, &[new]).await?;
        }
        let all = quotas::lock(tx, id, channel, now).await?;
        let Some(mut counter) = all.into_iter().find(|counter| covers(counter, now)) else { continue };
        let Some(allowance) = allowance else {
            quotas::remove(tx, id, channel, counter.starts_at).await?;
            continue;
        };
        let first = MessageId::from_ulid(first_id(counter.starts_at.plus_seconds(-SKEW_S)));
        counter.used = recounts::used(tx, id, channel, (counter.starts_at, counter.ends_at), first).await?;
        told.extend(notice(&mut counter, allowance));
        quotas::put_many(tx, &[counter]).await?;
    }
    Ok(told)
}
