//! Messages of tenants that are gone: a provider's record of one is no message that nobody here sent, as long as other accounts share the account it went through.
//!
//! What is kept of each is a hash of what the provider called it, and when it was sent. No tenant, account, address or content can be told from that, and in half a year nothing is left of it.

use std::collections::BTreeMap;

use aws_lc_rs::digest::{SHA256, digest};
use model::{TenantId, Timestamp};
use store::{
    Scope, Tx, accounts,
    reconciliations::Reconciliation,
    removed_messages::{self as rows, Sent},
};

use super::{PERIOD_MAX_S, compare::UNIQUE_MIN};
use crate::{Engine, Error};

/// How long after it was sent a message is known, in seconds: as far as one comparison reaches back, and a month to ask for it.
const KEPT_S: i64 = PERIOD_MAX_S + 31 * 86_400;
/// Marks the cleaner forgets in one step.
const PAGE: i64 = 500;
/// Bytes of a mark: no two messages have the same.
const MARK_LEN: usize = 16;

/// What a message at a provider is known by.
fn mark(connector: &str, provider_message_id: &str) -> Vec<u8> {
    let named = [connector.as_bytes(), b" ", provider_message_id.as_bytes()].concat();
    digest(&SHA256, &named).as_ref()[..MARK_LEN].to_vec()
}

/// Removes up to `limit` rows of a removed tenant from a table of what was sent ([`rows::is_sent`]), and keeps their marks. Answers how many.
pub(crate) async fn remove(
    tx: &mut Tx,
    tenant: TenantId,
    table: &str,
    limit: i64,
    now: Timestamp,
) -> Result<u64, Error> {
    let removed = rows::remove(tx, tenant, table, limit).await?;
    let since = now.plus_seconds(-KEPT_S);
    let marked = |sent: &Sent| {
        let sent_at = sent.sent_at.filter(|at| *at >= since)?;
        let (connector, id) = (sent.connector.as_ref()?, sent.provider_message_id.as_ref()?);
        // The sandbox has no records, and shorter ids are numbers every account begins anew.
        (connector != "sandbox" && id.len() >= UNIQUE_MIN).then(|| (mark(connector, id), sent_at))
    };
    let marks: BTreeMap<Vec<u8>, Timestamp> = removed.iter().filter_map(marked).collect();
    rows::keep(tx, &marks.into_iter().collect::<Vec<_>>()).await?;
    Ok(removed.len() as u64)
}

/// Which of these ids are of messages that tenants sent who are gone, through the provider of a reconciliation's account.
pub(super) async fn known(engine: &Engine, row: &Reconciliation, ids: Vec<String>) -> Result<Vec<String>, Error> {
    if ids.is_empty() {
        return Ok(ids);
    }
    let (tenant, account_id) = (row.tenant_id, row.account_id);
    let read = engine.ports.db.read(Scope::System, move |tx| {
        Box::pin(async move {
            let Some(account) = accounts::find_ever(tx, tenant, account_id).await? else { return Ok(Vec::new()) };
            let by_mark: BTreeMap<Vec<u8>, String> =
                ids.into_iter().map(|id| (mark(&account.connector, &id), id)).collect();
            let marks: Vec<Vec<u8>> = by_mark.keys().cloned().collect();
            let known = rows::known(tx, &marks).await?;
            Ok::<_, Error>(known.iter().filter_map(|mark| by_mark.get(mark).cloned()).collect())
        })
    });
    read.await
}

/// Forgets what was sent so long ago that nobody compares it any more. Run every hour; answers how many.
#[crate::boxed]
pub async fn forget(engine: &Engine) -> Result<u64, Error> {
    let before = engine.ports.clock.now().plus_seconds(-KEPT_S);
    let write = engine
        .ports
        .db
        .write(Scope::System, move |tx| Box::pin(async move { Ok::<_, Error>(rows::forget(tx, before, PAGE).await?) }));
    write.await
}
