//! Verifying a domain: ask the provider, ask the DNS, write what was found.

use std::sync::Arc;

use connectors::{
    dkim,
    manage::{DnsRecord, DomainRef, DomainState, RecordKind, RecordPurpose},
};
use futures_util::future::join_all;
use model::{Dns, DnsKind, Failure, Timestamp};
use store::{Scope, Tx, deliveries::Delivery, domains, tenants};

use super::{
    DomainView, keys,
    records::{self, Found, RecordState, RecordView},
    spf, view,
};
use crate::{
    Engine, Error, Parts, audit,
    directory::Account,
    keys::Caller,
    once::{Repeat, Reply, Secrecy, once},
    provider,
};

/// First wait before a domain is looked at by itself, in milliseconds.
pub(super) const FIRST_MS: i64 = 60_000;
/// Longest wait while it is not verified: six hours.
const WAIT_MAX_MS: i64 = 6 * 3_600_000;
/// Wait between two looks at a verified domain: a day. Records disappear when people change their DNS provider.
const VERIFIED_MS: i64 = 24 * 3_600_000;
/// Domains looked at in one run of the job: each costs some ten questions to the DNS and a few to the provider.
const PAGE: i64 = 20;

/// The word in SQL.
pub(super) const fn word(state: DomainState) -> &'static str {
    match state {
        DomainState::Pending => "pending",
        DomainState::Verified => "verified",
        DomainState::Failed => "failed",
    }
}

/// Reads the database's word; anything unknown is pending.
pub(super) fn state(word: &str) -> DomainState {
    match word {
        "verified" => DomainState::Verified,
        "failed" => DomainState::Failed,
        _ => DomainState::Pending,
    }
}

/// Looks at the domains whose time has come. Answers how many. Run every ten seconds.
#[crate::boxed]
pub async fn recheck(engine: &Engine) -> Result<u64, Error> {
    let now = engine.ports.clock.now();
    let read =
        engine.ports.db.read(Scope::System, move |tx| Box::pin(async move { domains::due(tx, now, PAGE).await }));
    let due = read.await?;
    let count = due.len() as u64;
    for row in due {
        let (id, caller) = (row.id, Caller::system(Some(row.tenant_id)));
        match check(engine, &caller, &Repeat::NONE, row.clone()).await {
            Ok(_) => {}
            Err(error) if error.kind == crate::ErrorKind::NotFound => {}
            // The provider cannot be asked now: the domain's turn comes again.
            Err(error) => {
                tracing::info!(domain.id = %id, %error, "A mail domain could not be checked");
                put_off(engine, row, now).await?;
            }
        }
    }
    Ok(count)
}

async fn put_off(engine: &Engine, mut row: domains::Domain, now: Timestamp) -> Result<(), Error> {
    row.checks += 1;
    row.next_check_at = Some(now.plus_millis(wait_ms(row.checks)));
    let write = engine.ports.db.write(Scope::Tenant(row.tenant_id), move |tx| {
        Box::pin(async move { domains::update(tx, &row).await.map_err(Error::from) })
    });
    write.await.map(drop)
}

/// Checks a domain and answers it as it is then.
pub(super) async fn check(
    engine: &Engine,
    caller: &Caller,
    repeat: &Repeat,
    mut row: domains::Domain,
) -> Result<Reply, Error> {
    let parts = engine.parts();
    let account = provider::account(parts, row.tenant_id, row.account_id).await?;
    let seen = look(parts, &account, &row).await.map_err(provider::refusal)?;
    let now = parts.ports.clock.now();
    let before = state(&row.state);
    let after = settled(before, seen.state);
    row.state = word(after).to_owned();
    row.reference = seen.reference;
    row.detail = seen.detail;
    row.records = serde_json::to_string(&seen.records).map_err(Error::internal)?;
    row.checks = if after == DomainState::Verified { 0 } else { row.checks + 1 };
    row.checked_at = Some(now);
    row.next_check_at =
        Some(now.plus_millis(if after == DomainState::Verified { VERIFIED_MS } else { wait_ms(row.checks) }));
    row.verified_at = if after == DomainState::Verified { row.verified_at.or(Some(now)) } else { row.verified_at };
    row.updated_at = now;
    let keys = dkim::keys(&account.values, &row.name).filter(|_| account.connector.domains().is_none());
    let signs =
        keys.filter(|keys| keys.is_active != seen.has_keys).map(|keys| dkim::Keys { is_active: seen.has_keys, ..keys });
    let tenant_id = row.tenant_id;
    let (_, tenant) = engine.tenant(tenant_id).await?;
    let (inner, by, shard) = (parts.clone(), caller.clone(), engine.shard());
    let told = Arc::new(std::sync::Mutex::new(Vec::<Delivery>::new()));
    let tell = Arc::clone(&told);
    let reply = once(parts, caller, repeat, 200, Secrecy::Plain, move |tx| {
        Box::pin(async move {
            let change = (before != after).then_some(before);
            let (shown, deliveries) = write(tx, &inner, &by, &tenant, row, change, signs, now, shard).await?;
            *tell.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = deliveries;
            Ok(shown)
        })
    })
    .await?;
    parts.directory.catch_up().await;
    let told = std::mem::take(&mut *told.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
    provider::wake(engine, tenant_id, &told);
    Ok(reply)
}

#[allow(clippy::too_many_arguments, reason = "each is a different fact, and a struct would be used once")]
async fn write(
    tx: &mut Tx,
    parts: &Parts,
    caller: &Caller,
    tenant: &crate::directory::Tenant,
    row: domains::Domain,
    was: Option<DomainState>,
    signs: Option<dkim::Keys>,
    now: Timestamp,
    shard: i64,
) -> Result<(DomainView, Vec<Delivery>), Error> {
    let ids = &parts.ports.ids;
    if was.is_some() || signs.is_some() {
        // What senders may be used, and whether mails are signed, hangs on it.
        tenants::bump(tx, Some(row.tenant_id)).await?;
    }
    if !domains::update(tx, &row).await? {
        return Err(Error::not_found("domain"));
    }
    if let Some(signs) = signs {
        keys::keep(tx, parts, &row, &signs, now).await?;
    }
    let after = state(&row.state);
    let shown = view(row);
    let Some(was) = was else { return Ok((shown, Vec::new())) };
    let detail = serde_json::json!({"state": {"from": was, "to": after}});
    audit::record(tx, tenant.id, ids, now, caller, "domain.checked", shown.id, &detail).await?;
    let kind = match after {
        DomainState::Verified => "domain.verified",
        DomainState::Failed => "domain.failed",
        DomainState::Pending => return Ok((shown, Vec::new())),
    };
    let deliveries = provider::tell(tx, tenant, kind, &shown, now, ids, shard).await?;
    Ok((shown, deliveries))
}

/// What a look found.
struct Seen {
    reference: String,
    state: DomainState,
    detail: Option<String>,
    records: Vec<RecordView>,
    /// True when both of our keys are published.
    has_keys: bool,
}

/// Asks the provider and the DNS. Holds no transaction.
async fn look(parts: &Parts, account: &Account, row: &domains::Domain) -> Result<Seen, Failure> {
    let kept: Vec<RecordView> = serde_json::from_str(&row.records).unwrap_or_default();
    let (reference, provider_state, detail, wanted) = match account.connector.domains() {
        Some(offered) => {
            let at = DomainRef { name: &row.name, reference: &row.reference };
            let found = provider::drive(parts, account, |cx, answers| offered.check(cx, &at, answers)).await?;
            let wanted = records::with_policy(found.records, &row.name);
            (found.reference, Some(found.state), found.detail, wanted)
        }
        None => {
            let wanted = records::renewed(&kept, &row.name, &account.values, &parts.config.public_url);
            (row.reference.clone(), None, None, wanted)
        }
    };
    let dns = &*parts.ports.dns;
    let records = join_all(wanted.into_iter().map(|record| async move {
        let found = find(dns, &record).await;
        records::judge(record, found)
    }))
    .await;
    let stands = |record: &RecordView| matches!(record.state, RecordState::Ok | RecordState::Warning);
    let mut keys = records.iter().filter(|record| record.purpose == RecordPurpose::Dkim);
    let has_keys = keys.all(stands);
    let state = provider_state.unwrap_or_else(|| {
        let all = records.iter().filter(|record| record.required).all(stands);
        if all { DomainState::Verified } else { DomainState::Pending }
    });
    Ok(Seen { reference, state, detail, records, has_keys })
}

async fn find(dns: &dyn Dns, record: &DnsRecord) -> Found {
    let kind = match record.kind {
        RecordKind::Txt => DnsKind::Txt,
        RecordKind::Cname => DnsKind::Cname,
        RecordKind::Mx => DnsKind::Mx,
    };
    let records = dns.look_up(&record.name, kind).await;
    match record.purpose {
        RecordPurpose::Spf if kind == DnsKind::Txt => {
            let policy = records.as_ref().ok().and_then(|texts| texts.iter().find(|text| records::is_spf(text)));
            let spf_lookups = match policy {
                Some(policy) => spf::lookups(dns, policy).await,
                None => 0,
            };
            Found { records, above: None, spf_lookups }
        }
        RecordPurpose::Dmarc if records.as_ref().is_ok_and(Vec::is_empty) => policy_above(dns, &record.name).await,
        _ => Found { records, above: None, spf_lookups: 0 },
    }
}

/// The policy of the nearest domain above (RFC 9989 4.10): what receivers use where a domain has none.
async fn policy_above(dns: &dyn Dns, name: &str) -> Found {
    let mut domain = name.strip_prefix("_dmarc.").unwrap_or(name);
    while let Some((_, above)) = domain.split_once('.').filter(|(_, above)| above.contains('.')) {
        let name = format!("_dmarc.{above}");
        match dns.look_up(&name, DnsKind::Txt).await {
            Ok(found) if found.is_empty() => domain = above,
            records => return Found { records, above: Some(name), spf_lookups: 0 },
        }
    }
    Found { records: Ok(Vec::new()), above: None, spf_lookups: 0 }
}

/// A domain that was verified and no longer is has failed; one that never was is still pending.
fn settled(before: DomainState, seen: DomainState) -> DomainState {
    match (before, seen) {
        (DomainState::Verified | DomainState::Failed, DomainState::Pending) => DomainState::Failed,
        (_, seen) => seen,
    }
}

/// Golden-ratio waits from a minute to six hours.
fn wait_ms(checks: u32) -> i64 {
    let wait = FIRST_MS as f64 * 1.618_f64.powi(checks.min(40) as i32);
    (wait as i64).min(WAIT_MAX_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_that_was_good_and_is_not_has_failed() {
        use DomainState::{Failed, Pending, Verified};
        for (before, seen, after) in [
            (Pending, Pending, Pending),
            (Pending, Verified, Verified),
            (Pending, Failed, Failed),
            (Verified, Pending, Failed),
            (Failed, Pending, Failed),
            (Failed, Verified, Verified),
        ] {
            assert_eq!(settled(before, seen), after, "{before:?} {seen:?}");
        }
    }

    #[test]
    fn waits_grow_to_six_hours() {
        assert_eq!([0, 1, 2].map(wait_ms), [60_000, 97_080, 157_075]);
        assert_eq!(wait_ms(1_000), WAIT_MAX_MS);
    }
}
