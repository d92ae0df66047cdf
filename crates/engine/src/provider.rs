//! Plans at a provider: the engine's side of [`connectors::manage`]. Drives a plan from request to request, outside of any transaction, and says what a
//! refusal means to the caller. Also tells tenants what changed there.

use std::sync::Arc;

use connectors::{
    Cx,
    manage::{Next, Plan, STEPS_MAX},
};
use model::{AccountId, Answer, Broken, Call, Failure, FailureKind, Ids, TenantId, Timestamp};
use store::{Tx, deliveries::Delivery};

use crate::{
    Engine, Error, ErrorKind, Parts,
    directory::{Account, Tenant},
    writes::Writes,
};

/// One of the tenant's accounts, ready to be asked about.
pub(crate) async fn account(parts: &Parts, tenant: TenantId, id: AccountId) -> Result<Arc<Account>, Error> {
    let found = parts.directory.account(tenant, id).await?;
    let account =
        found.filter(|found| found.connector.spec().id != "webhook").ok_or_else(|| Error::not_found("account"))?;
    match &account.trouble {
        Some(trouble) => Err(Error::conflict("account_unusable", trouble.clone()).with_action("UPDATE_ACCOUNT")),
        None => Ok(account),
    }
}

/// The same for an account a request's body names.
pub(crate) async fn named_account(parts: &Parts, tenant: TenantId, id: AccountId) -> Result<Arc<Account>, Error> {
    account(parts, tenant, id).await.map_err(|error| match error.kind {
        ErrorKind::NotFound => Error::invalid("/account_id", "there is no such account"),
        _ => error,
    })
}

/// Drives a plan to its end, as the account's own sender.
pub(crate) async fn drive<T>(
    parts: &Parts,
    account: &Account,
    plan: impl Fn(&Cx<'_>, &[Answer]) -> Plan<T>,
) -> Result<T, Failure> {
    drive_as(parts, account, account.from.as_deref(), plan).await
}

/// Drives a plan to its end. Holds no transaction: this waits for somebody else's machines.
pub(crate) async fn drive_as<T>(
    parts: &Parts,
    account: &Account,
    from: Option<&str>,
    plan: impl Fn(&Cx<'_>, &[Answer]) -> Plan<T>,
) -> Result<T, Failure> {
    let mut answers: Vec<Answer> = Vec::new();
    while answers.len() <= STEPS_MAX {
        let now = parts.ports.clock.now();
        let base_url = parts.config.base_url(account);
        let cx = Cx { from, base_url, nonce: parts.ports.ids.ulid(now), ..account.cx(now) };
        match plan(&cx, &answers)? {
            Next::Done(done) => return Ok(done),
            Next::Call(Call::Local) => answers.push(Answer::Local),
            Next::Call(call) => answers.push(parts.ports.transport.exchange(Arc::new(call)).await.map_err(broken)?),
        }
    }
    Err(Failure::new(FailureKind::Unknown, "too_many_steps", "The exchange with the provider did not come to an end."))
}

fn broken(broken: Broken) -> Failure {
    let kind = if broken.code == "refused_address" { FailureKind::Account } else { FailureKind::Unavailable };
    Failure::new(kind, broken.code, format!("The provider gave no answer: {} ({}).", broken.detail, broken.code))
}

/// What a provider's refusal means to whoever asked for the task.
pub(crate) fn refusal(failure: Failure) -> Error {
    match failure.kind {
        FailureKind::Account => {
            Error::conflict("provider_refused_account", failure.detail).with_action("UPDATE_ACCOUNT")
        }
        FailureKind::Unavailable | FailureKind::Throttled | FailureKind::Unknown => {
            let error = Error::new(ErrorKind::Unavailable, "provider_unavailable", failure.detail);
            error.with_retry_after_ms(failure.retry_after_ms.unwrap_or(30_000))
        }
        FailureKind::Content | FailureKind::Recipient | FailureKind::OptedOut => {
            Error::new(ErrorKind::Invalid, "provider_refused", failure.detail)
        }
    }
}

/// 422 for a task this provider's API does not offer.
pub(crate) fn not_offered(account: &Account, pointer: &str, what: &str) -> Error {
    let detail = format!("{} offers {what} on its own pages only", account.connector.spec().name);
    Error::invalid(pointer, detail)
}

/// Writes an event, and the deliveries to the endpoints that want it.
pub(crate) async fn tell(
    tx: &mut Tx,
    tenant: &Tenant,
    kind: &'static str,
    data: &impl serde::Serialize,
    now: Timestamp,
    ids: &Ids,
    shard: i64,
) -> Result<Vec<Delivery>, Error> {
    let mut writes = Writes::default();
    writes.event(tenant, kind, serde_json::to_string(data).map_err(Error::internal)?, now, ids);
    writes.write(tx, shard).await?;
    Ok(writes.deliveries)
}

/// Wakes what waits for news of a tenant.
pub(crate) fn wake(engine: &Engine, tenant: TenantId, deliveries: &[Delivery]) {
    for d in deliveries {
        engine.dispatcher.nudge(d.tenant_id, d.account_id, d.class, d.due_at);
    }
    engine.wakers.wake(tenant);
}
