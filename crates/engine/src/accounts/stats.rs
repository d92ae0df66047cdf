//! What an account is doing.

use model::{AccountId, Status, Timestamp};
use serde::Serialize;
use store::{accounts, deliveries, inflight};
use utoipa::ToSchema;

use super::{
    AccountState,
    figures::{self, ProviderStats},
    find, view,
};
use crate::{Error, Parts, keys::Caller};

/// The tenant's newest messages among which an account's are counted: enough to see a trend, little enough to read at once.
const RECENT: i64 = 10_000;
/// Waiting messages counted at most.
const QUEUED_MAX: i64 = 100_000;

/// An account's work, now and lately.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct AccountStats {
    /// Whether messages can leave through it.
    pub state: AccountState,
    /// Messages that wait for it; counting stops at 100,000.
    pub queued: i64,
    /// Messages on their way to the provider now.
    pub in_flight: i64,
    /// Failures in a row that speak against the account.
    pub failures_in_a_row: i64,
    /// Its messages among the tenant's newest 10,000.
    pub recent: RecentMessages,
    /// What the provider counted in the last seven days; `null` where it shows no statistics.
    pub provider: Option<ProviderStats>,
    /// When this was true.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
}

/// Messages by what became of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct RecentMessages {
    /// All of them.
    pub total: i64,
    /// The provider took them and nothing more is known.
    pub sent: i64,
    /// They arrived.
    pub delivered: i64,
    /// They were read.
    pub read: i64,
    /// They failed.
    pub failed: i64,
    /// They came back.
    pub bounced: i64,
    /// Nobody can say whether the provider took them.
    pub unknown: i64,
}

/// Reads an account's statistics. Needs the scope `accounts:read`.
#[crate::boxed]
pub async fn stats(parts: &Parts, caller: &Caller, id: AccountId) -> Result<AccountStats, Error> {
    caller.need("accounts:read")?;
    let tenant = caller.need_tenant()?;
    let (now, inner) = (parts.ports.clock.now(), parts.clone());
    // An account that cannot be opened still has numbers of ours.
    let account = parts.directory.account(tenant, id).await?.filter(|account| account.trouble.is_none());
    let provider = match account {
        Some(account) => figures::of(parts, &account, now).await,
        None => None,
    };
    let read = parts.ports.db.read(caller.reach(), move |tx| {
        Box::pin(async move {
            let row = find(tx, tenant, id).await?;
            let states = store::account_states::of_tenant(tx, tenant).await?;
            let running = states.iter().find(|state| state.account_id == id);
            Ok::<_, Error>(AccountStats {
                state: view::read(tx, &inner, &row, running, None, now).await?.state,
                queued: deliveries::count_of_account(tx, tenant, id, QUEUED_MAX).await?,
                in_flight: inflight::count_of_account(tx, tenant, id).await?,
                failures_in_a_row: running.map_or(0, |running| running.failures),
                recent: sum(&accounts::recent_statuses(tx, tenant, id, RECENT).await?),
                provider,
                at: now,
            })
        })
    });
    read.await
}

fn sum(counted: &[(Status, i64)]) -> RecentMessages {
    let mut recent = RecentMessages::default();
    for (status, count) in counted {
        recent.total += count;
        match status {
            Status::Sent => recent.sent += count,
            Status::Delivered => recent.delivered += count,
            Status::Read => recent.read += count,
            Status::Failed => recent.failed += count,
            Status::Bounced => recent.bounced += count,
            Status::Unknown => recent.unknown += count,
            Status::Scheduled
            | Status::Queued
            | Status::Sending
            | Status::Canceled
            | Status::Expired
            | Status::Suppressed => {}
        }
    }
    recent
}
