//! The job that works registrations off: a turn drives one plan after another, outside of any transaction, and writes down what came of each.

use std::sync::Arc;

use connectors::manage::{Business, Progress, Reason, References, Stage, StageResult, TollFree, Work};
use model::{Channel, Failure, FailureKind, NumberId, Timestamp};
use serde_json::json;
use store::{
    Scope, Tx, numbers,
    registrations::{self, Registration},
    tenants,
};

use super::{APPROVED, IN_PROGRESS, OPERATOR_NEEDED, REJECTED, view};
use crate::{
    Engine, Error, ErrorKind,
    accounts::changes,
    audit,
    directory::{Account, Tenant},
    keys::Caller,
    provider,
};

/// Turns of one run of the job, one after another: each makes some ten requests.
const TURNS: u64 = 10;
/// How long a registration is ours, in milliseconds: more than the longest turn takes, which asks 110 times ([`STEPS_MAX`](connectors::manage::STEPS_MAX)) and waits 30 seconds for each
/// answer. Were it over sooner, another node would buy the same number once more.
const LEASE_MS: i64 = 3_600_000;
/// Wait before a review is asked about again, in milliseconds: reviews take days, and providers ask not to be asked more often.
const REVIEW_MS: i64 = 5 * 60_000;
/// Wait before a provider that could not be asked is asked again, in milliseconds.
const DOWN_MS: i64 = 5 * 60_000;
/// How often in a row it may fail to answer before the operator is asked.
const DOWN_MAX: u32 = 10;
/// Wait between two stages, in milliseconds: carriers' registries take one request a second.
const NEXT_MS: i64 = 1_000;

/// Works on registrations whose time has come, each leased for its own turn. Answers how many. Run every two seconds.
#[crate::boxed]
pub async fn run(engine: &Engine) -> Result<u64, Error> {
    for count in 0..TURNS {
        if !next(engine).await? {
            return Ok(count);
        }
    }
    Ok(TURNS)
}

/// Gives the numbers of tenants and registrations that are gone back to the pool. Answers how many. Run every minute.
#[crate::boxed]
pub async fn free_numbers(engine: &Engine) -> Result<u64, Error> {
    let now = engine.ports.clock.now();
    let free = engine.ports.db.write(Scope::System, move |tx| Box::pin(numbers::free_left(tx, now)));
    let freed: Result<u64, store::Error> = free.await;
    Ok(freed?)
}

/// The turn of the registration that is due longest. False when none is.
async fn next(engine: &Engine) -> Result<bool, Error> {
    let (now, worker) = (engine.ports.clock.now(), engine.worker);
    let until = now.plus_millis(LEASE_MS);
    let lease =
        engine.ports.db.write(Scope::System, move |tx| Box::pin(registrations::lease(tx, worker, now, until, 1)));
    let leased: Result<Vec<Registration>, store::Error> = lease.await;
    let Some(row) = leased?.pop() else { return Ok(false) };
    let (tenant, id) = (row.tenant_id, row.id);
    let done = turn(engine, row).await;
    if let Err(error) = &done {
        tracing::warn!(registration.id = %id, %error, "A registration could not be worked on and will be tried again");
    }
    let later = done.err().map(|_| engine.ports.clock.now().plus_millis(DOWN_MS));
    let release = engine
        .ports
        .db
        .write(Scope::Tenant(tenant), move |tx| Box::pin(registrations::release(tx, tenant, id, worker, later)));
    let released: Result<(), store::Error> = release.await;
    released.map(|()| true).map_err(Error::from)
}

/// One stage of one registration.
async fn turn(engine: &Engine, row: Registration) -> Result<(), Error> {
    let parts = engine.parts();
    let now = parts.ports.clock.now();
    let driven = match provider::account(parts, row.tenant_id, row.account_id).await {
        Ok(account) => match stage(engine, &row, &account).await {
            Ok(Ok(progress)) => Ok((progress, account)),
            Ok(Err(failure)) => Err(failure),
            Err(error) => Err(trouble(error)),
        },
        Err(error) => Err(trouble(error)),
    };
    let (mut after, mut settings) = (row.clone(), Vec::new());
    let mut bought = None;
    match driven {
        Ok((progress, account)) => {
            bought = progress.refs.number.clone().map(|_| holder(&account, now));
            settings = progress.settings.clone();
            advance(&mut after, progress, now);
        }
        Err(failure) => fail(&mut after, failure, now),
    }
    after.updated_at = now;
    write(engine, row, after, settings, bought, now).await
}

/// What an error of our own means for a registration: an account that is gone or cannot be opened is somebody's to mend, and everything else may pass.
fn trouble(error: Error) -> Failure {
    let kind = match error.kind {
        ErrorKind::NotFound | ErrorKind::Conflict => FailureKind::Account,
        _ => FailureKind::Unavailable,
    };
    Failure::new(kind, error.code, error.detail)
}

/// Drives the plan of the stage a registration is in.
async fn stage(
    engine: &Engine,
    row: &Registration,
    account: &Arc<Account>,
) -> Result<Result<Progress, Failure>, Error> {
    let parts = engine.parts();
    let business: Business = serde_json::from_str(&row.business).map_err(Error::internal)?;
    let mut refs: References = serde_json::from_str(&row.refs).map_err(Error::internal)?;
    let Some(stage) = Stage::from_stored(&row.stage) else {
        return Err(Error::internal(format!("{} is in the stage {}, which is none", row.id, row.stage)));
    };
    let Some(offered) = account.connector.registrations() else {
        let detail = format!("{} registers no businesses.", account.connector.spec().name);
        return Ok(Err(Failure::new(FailureKind::Account, "not_offered", detail)));
    };
    if stage == Stage::Number && refs.number_id.is_none() {
        allocate(engine, row, account, &mut refs).await?;
    }
    let toll_free: Option<TollFree> =
        row.toll_free.as_deref().map(serde_json::from_str).transpose().map_err(Error::internal)?;
    let name = row.id.to_string();
    let work = Work {
        name: &name,
        stage,
        business: &business,
        area_code: row.area_code.as_deref(),
        toll_free: toll_free.as_ref(),
        refs: &refs,
        submitted_at: row.submitted_at,
    };
    Ok(provider::drive(parts, account, |cx, answers| offered.advance(cx, &work, answers)).await)
}

/// Who holds an account's numbers: the connector and its own word for it.
pub(super) fn holder(account: &Account, now: Timestamp) -> (String, String) {
    let offered = account.connector.registrations();
    let holder = offered.map(|offered| offered.holder(&account.cx(now))).unwrap_or_default();
    (account.connector.spec().id.to_owned(), holder)
}

/// Takes a free number of the same holder from the pool, so that none has to be bought. One that was taken before a crash is found again.
async fn allocate(engine: &Engine, row: &Registration, account: &Account, refs: &mut References) -> Result<(), Error> {
    let (connector, holder) = holder(account, engine.ports.clock.now());
    let start = format!("+1{}", row.area_code.as_deref().unwrap_or_default());
    let (tenant, id, now) = (row.tenant_id, row.id, engine.ports.clock.now());
    let write = engine.ports.db.write(Scope::System, move |tx| {
        Box::pin(async move {
            if let Some(known) = numbers::of_registration(tx, tenant, id).await?.into_iter().next() {
                return Ok(Some(known));
            }
            numbers::allocate(tx, (&connector, &holder), &start, (tenant, id), now).await
        })
    });
    let found: Result<Option<numbers::Number>, store::Error> = write.await;
    if let Some(number) = found? {
        (refs.number_id, refs.number) = (number.reference, Some(number.number));
    }
    Ok(())
}

/// What a stage that came to an end means for the row.
fn advance(row: &mut Registration, progress: Progress, now: Timestamp) {
    row.refs = json!(progress.refs).to_string();
    row.stage = progress.stage.as_str().to_owned();
    (row.problem, row.failures) = (None, 0);
    match progress.result {
        StageResult::Done if progress.stage == Stage::Approved => {
            (row.state, row.approved_at, row.next_at) = (APPROVED.to_owned(), Some(now), None);
        }
        StageResult::Done => row.next_at = Some(now.plus_millis(NEXT_MS)),
        StageResult::Waits(at) => row.next_at = Some(at.unwrap_or_else(|| now.plus_millis(REVIEW_MS))),
        StageResult::Asks(words) => (row.problem, row.next_at) = (Some(words), Some(now.plus_millis(REVIEW_MS))),
        StageResult::Rejected(reasons) => reject(row, &reasons),
    }
}

fn reject(row: &mut Registration, reasons: &[Reason]) {
    (row.state, row.reasons, row.next_at) = (REJECTED.to_owned(), json!(reasons).to_string(), None);
}

/// What a stage that could not be worked on means for the row: what the provider refuses is the tenant's to mend, what it does not answer is tried again for a while.
fn fail(row: &mut Registration, failure: Failure, now: Timestamp) {
    row.problem = Some(failure.detail.clone());
    match failure.kind {
        FailureKind::Content | FailureKind::Recipient | FailureKind::OptedOut => {
            let reason = Reason { code: failure.code, detail: failure.detail, pointers: Vec::new() };
            reject(row, &[reason]);
        }
        FailureKind::Account => (row.state, row.next_at) = (OPERATOR_NEEDED.to_owned(), None),
        FailureKind::Unavailable | FailureKind::Throttled | FailureKind::Unknown => {
            row.failures += 1;
            if row.failures >= DOWN_MAX {
                (row.state, row.next_at) = (OPERATOR_NEEDED.to_owned(), None);
            } else {
                row.next_at = Some(now.plus_millis(DOWN_MS));
            }
        }
    }
}

/// Writes a turn down, with what it means for the account and the pool, and tells.
async fn write(
    engine: &Engine,
    before: Registration,
    after: Registration,
    settings: Vec<(&'static str, String)>,
    bought: Option<(String, String)>,
    now: Timestamp,
) -> Result<(), Error> {
    let parts = engine.parts().clone();
    let (tenant_id, shard) = (before.tenant_id, engine.shard());
    let (_, tenant) = engine.tenant(tenant_id).await?;
    let (state, id, problem) = (after.state.clone(), after.id, after.problem.clone());
    let write = parts.ports.db.write(Scope::System, {
        let (parts, before) = (parts.clone(), before.clone());
        move |tx| {
            Box::pin(async move {
                let is_decided = before.state != after.state;
                if is_decided {
                    tenants::bump(tx, Some(tenant_id)).await?;
                }
                // Whoever changed it meanwhile wins; what was made at the provider is found again under its name.
                let is_written = registrations::update(tx, &after, before.updated_at).await?;
                // With its account it may have been deleted: nobody will look for the number it bought.
                let is_gone = !is_written && registrations::find(tx, tenant_id, id).await?.is_none();
                if let Some(holder) = bought.filter(|_| is_written || is_gone) {
                    let registration = is_written.then_some(&after);
                    keep_number(tx, &parts, &after.refs, registration, holder, tenant.is_demo, now).await?;
                }
                if !is_written {
                    return Ok(Vec::new());
                }
                if after.state == APPROVED {
                    equip(tx, &parts, &after, &settings, now).await?;
                }
                if before.state == after.state && before.stage == after.stage {
                    return Ok(Vec::new());
                }
                tell(tx, &parts, &tenant, &before, after, now, shard).await
            })
        }
    });
    let deliveries = write.await?;
    if state != IN_PROGRESS {
        engine.directory.catch_up().await;
    }
    if state == OPERATOR_NEEDED {
        let problem = problem.unwrap_or_default();
        metrics::counter!("tidings_registrations_stuck_total").increment(1);
        tracing::error!(registration.id = %id, tenant.id = %tenant_id, problem, "A registration needs the operator: see GET /v1/registrations/10dlc, and submit it again");
    }
    provider::wake(engine, tenant_id, &deliveries);
    Ok(())
}

async fn tell(
    tx: &mut Tx,
    parts: &crate::Parts,
    tenant: &Tenant,
    before: &Registration,
    after: Registration,
    now: Timestamp,
    shard: i64,
) -> Result<Vec<store::deliveries::Delivery>, Error> {
    let ids = &parts.ports.ids;
    let caller = Caller::system(Some(tenant.id));
    let detail = json!({
        "state": {"from": before.state, "to": after.state}, "stage": {"from": before.stage, "to": after.stage},
    });
    audit::record(tx, tenant.id, ids, now, &caller, "registration.changed", after.id, &detail).await?;
    let shown = view(after);
    provider::tell(tx, tenant, "registration.changed", &shown, now, ids, shard).await
}

/// Puts the number of a registration into the pool; as a free one when that is gone. Fictional ones of demo tenants are nobody's to give away.
async fn keep_number(
    tx: &mut Tx,
    parts: &crate::Parts,
    refs: &str,
    registration: Option<&Registration>,
    (connector, provider_account): (String, String),
    is_demo: bool,
    now: Timestamp,
) -> Result<(), Error> {
    let refs: References = serde_json::from_str(refs).map_err(Error::internal)?;
    let Some(number) = refs.number.filter(|_| !is_demo && refs.number_id.is_some()) else { return Ok(()) };
    let kept = numbers::Number {
        id: NumberId::from_ulid(parts.ports.ids.ulid(now)),
        country: super::numbers::country(&number),
        number,
        connector,
        provider_account,
        reference: refs.number_id,
        state: if registration.is_some() { "allocated" } else { "free" }.to_owned(),
        detail: None,
        allocated_to: registration.map(|row| row.tenant_id),
        registration_id: registration.map(|row| row.id),
        allocated_at: registration.map(|_| now),
        created_at: now,
        updated_at: now,
    };
    numbers::insert(tx, &kept).await?;
    Ok(())
}

/// Lets the account send as what was registered.
async fn equip(
    tx: &mut Tx,
    parts: &crate::Parts,
    row: &Registration,
    settings: &[(&'static str, String)],
    now: Timestamp,
) -> Result<(), Error> {
    let changed: Vec<_> = settings.iter().map(|(name, value)| ((*name).to_owned(), Some(value.clone()))).collect();
    if !changed.is_empty() {
        changes::change_settings(tx, parts, row.tenant_id, row.account_id, &changed, now).await?;
    }
    let refs: References = serde_json::from_str(&row.refs).map_err(Error::internal)?;
    let account = crate::accounts::find(tx, row.tenant_id, row.account_id).await?;
    // A number is no sender of mails.
    let takes_numbers = !crate::directory::channels(&account.channels).contains(&Channel::Email);
    if let Some(number) = refs.number.filter(|_| takes_numbers && account.sender.is_none()) {
        changes::change_from(tx, row.tenant_id, row.account_id, &number, now).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use model::{AccountId, RegistrationId, TenantId};

    use super::*;

    fn row() -> Registration {
        Registration {
            tenant_id: TenantId::from_ulid(1),
            id: RegistrationId::from_ulid(2),
            account_id: AccountId::from_ulid(3),
            kind: "10dlc".to_owned(),
            sender: String::new(),
            toll_free: None,
            state: IN_PROGRESS.to_owned(),
            stage: "brand".to_owned(),
            refs: "{}".to_owned(),
            business: "{}".to_owned(),
            area_code: None,
            reasons: "[]".to_owned(),
            problem: None,
            failures: 0,
            submitted_at: Timestamp::EPOCH,
            approved_at: None,
            next_at: None,
            created_at: Timestamp::EPOCH,
            updated_at: Timestamp::EPOCH,
        }
    }

    #[test]
    fn a_provider_that_is_down_is_asked_ten_times_every_five_minutes_and_then_the_operator() {
        let (mut row, now) = (row(), Timestamp::EPOCH);
        let down = || Failure::new(FailureKind::Unavailable, "down", "Nobody answers.");
        for count in 1..10 {
            fail(&mut row, down(), now);
            assert_eq!(
                (row.state.as_str(), row.failures, row.next_at),
                (IN_PROGRESS, count, Some(now.plus_seconds(300)))
            );
        }
        fail(&mut row, down(), now);
        assert_eq!((row.state.as_str(), row.failures, row.next_at), (OPERATOR_NEEDED, 10, None));
    }

    #[test]
    fn only_what_is_wrong_with_the_account_is_laid_to_it() {
        let kind = |error: Error| trouble(error).kind;
        assert_eq!(kind(Error::not_found("account")), FailureKind::Account);
        assert_eq!(kind(Error::conflict("account_unusable", "Its settings cannot be read.")), FailureKind::Account);
        assert_eq!(kind(Error::new(ErrorKind::Unavailable, "busy", "The database is busy.")), FailureKind::Unavailable);
        assert_eq!(kind(Error::internal("it cannot be read")), FailureKind::Unavailable);
    }

    #[test]
    fn an_answer_ends_the_count_and_a_refusal_is_the_tenants_to_mend() {
        let (mut row, now) = (row(), Timestamp::EPOCH);
        fail(&mut row, Failure::new(FailureKind::Throttled, "slow", "Later."), now);
        let waits = Progress {
            stage: Stage::BrandReview,
            refs: References::default(),
            result: StageResult::Waits(None),
            settings: Vec::new(),
        };
        advance(&mut row, waits, now);
        assert_eq!((row.failures, row.next_at, row.stage.as_str()), (0, Some(now.plus_seconds(300)), "brand_review"));
        fail(&mut row, Failure::new(FailureKind::Content, "http_400", "EIN unknown."), now);
        assert_eq!((row.state.as_str(), row.next_at), (REJECTED, None));
        assert!(row.reasons.contains("EIN unknown."));
        fail(&mut row, Failure::new(FailureKind::Account, "http_401", "Wrong key."), now);
        assert_eq!(row.state, OPERATOR_NEEDED);
    }
}
