//! Another account for a message that was accepted: after its attempt failed, while its account fails, and when its account is deleted. The rules are asked again as they are now,
//! without the accounts that had their turn and those that cannot carry the content. Pure but for reading what was tried.
//!
//! Never for a message one of whose attempts may have reached the recipient: another account would send it a second time by guess.

use std::collections::HashMap;

use model::{AccountId, Failure, FailureKind, MessageId, Timestamp};
use store::{Tx, attempts, messages::Message};

use super::{
    decide::{Decision, Facts, Routed, route},
    figures::Figures,
    rule::Subject,
    words,
};
use crate::directory::{Account, Tenant};

/// What marks the route of a message that rules decided about: it may move to another account. A text that looks like it costs a look-up and nothing else.
pub const MARK: &str = "; by rule";

/// The kind of observation that keeps a decision.
pub const KIND: &str = "routed";

/// True when rules decided about a message: without a look at the database.
pub fn was_ruled(m: &Message) -> bool {
    m.route.as_deref().is_some_and(|route| route.contains(MARK))
}

/// True when a failure says that nothing was taken, and that another account may do better.
pub const fn allows(failure: &Failure) -> bool {
    !failure.is_of_batch
        && matches!(failure.kind, FailureKind::Throttled | FailureKind::Unavailable | FailureKind::Account)
}

/// What was tried for a message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    /// Attempts that ended, by account.
    tried: HashMap<AccountId, u32>,
    /// True when nobody can say of one of them whether it was taken.
    is_doubtful: bool,
    /// Accounts that cannot carry its content.
    cannot_carry: Vec<AccountId>,
}

/// Reads what was tried for messages that rules decided about.
#[crate::boxed]
pub async fn histories(tx: &mut Tx, messages: &[&Message]) -> Result<HashMap<MessageId, History>, store::Error> {
    let mut keys: Vec<_> = messages.iter().map(|m| (m.tenant_id, m.id)).collect();
    keys.sort_unstable();
    keys.dedup();
    let mut histories: HashMap<MessageId, History> = keys.iter().map(|(_, id)| (*id, History::default())).collect();
    if keys.is_empty() {
        return Ok(histories);
    }
    for (id, account, outcome) in attempts::ways_of(tx, &keys).await? {
        let history = histories.entry(id).or_default();
        *history.tried.entry(account).or_default() += 1;
        history.is_doubtful |= outcome == FailureKind::Unknown.code();
    }
    for (id, detail) in attempts::details_of(tx, &keys, KIND).await? {
        if let Ok(decision) = serde_json::from_str::<Decision>(&detail) {
            histories.entry(id).or_default().cannot_carry = decision.cannot_carry;
        }
    }
    Ok(histories)
}

impl History {
    /// Attempts through an account.
    pub fn tries(&self, account: AccountId) -> u32 {
        self.tried.get(&account).copied().unwrap_or(0)
    }
}

/// Why a message is to go another way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Because {
    /// Its attempt through the account has just failed; the attempt is not among those of the history.
    Failed,
    /// It waits, and the account fails.
    Waits,
    /// The account is gone.
    Gone,
}

/// What the rules say of a message that was accepted, when it must not go through `account`.
pub fn elsewhere(
    tenant: &Tenant,
    m: &Message,
    account: AccountId,
    history: &History,
    because: Because,
    figures: &Figures,
    now: Timestamp,
) -> Routed {
    if because != Because::Gone && history.is_doubtful {
        return Routed::Unruled;
    }
    // An account has its turn again once all the others had as many.
    let had_its_turn = |id: AccountId| because == Because::Failed && history.tries(id) > history.tries(account);
    let refuses = |candidate: &Account| {
        if candidate.id == account {
            Some("not this time".to_owned())
        } else if history.cannot_carry.contains(&candidate.id) {
            Some("cannot carry this content".to_owned())
        } else {
            had_its_turn(candidate.id).then(|| "had its turn".to_owned())
        }
    };
    route(&Facts::of(tenant, subject(m), figures, &refuses), now)
}

/// A stored message as rules see it: as when it was accepted.
fn subject(m: &Message) -> Subject<'_> {
    Subject {
        id: m.id,
        channel: m.channel,
        address: &m.address,
        purpose: m.purpose,
        topic: m.topic.as_deref(),
        template: m.template.map(|of| of.id),
        metadata: m.metadata.as_deref(),
        segments: m.segments,
        leaves_at: m.send_at.map_or(m.created_at, |at| at.max(m.created_at)),
        accepted_at: m.created_at,
    }
}

/// Puts a message on the account that was decided for. What its route says of channels left to try stays.
pub fn put_on(m: &mut Message, account: &Account, decision: &Decision, because: &str) {
    let before = m.route.take().unwrap_or_default();
    let head = before.split(MARK).next().unwrap_or_default();
    let head = head.split(crate::apply::fallback::MARK).next().unwrap_or_default();
    let route = format!("{head}{}; {because}", words(decision));
    m.route = Some(crate::apply::fallback::with_rest_of(&before, route));
    (m.account_id, m.connector) = (Some(account.id), Some(account.connector.spec().id.to_owned()));
}
