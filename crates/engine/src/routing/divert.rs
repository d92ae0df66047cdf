//! Messages that wait for an account that fails, and that rules let go another way: looked for while its circuit is open, a page at a time.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use model::{AccountId, Class, MessageId, Priority, Purpose, Timestamp};
use store::{Scope, account_states, deliveries};

use super::{
    again::Because,
    figures::{Circuit, CircuitState},
};
use crate::{
    Engine, Error,
    apply::{Input, Rerouted},
};

/// Waiting messages of one account looked at in one go.
const PAGE: i64 = 500;
/// How long an account's queue rests after it was looked through, in milliseconds: what is accepted meanwhile goes another way by itself, and little falls due.
const REST_MS: i64 = 2_000;

/// Where the search through a failing account's queue has come to.
#[derive(Debug, Clone, Copy)]
struct Cursor {
    after: (Class, Timestamp, MessageId),
    not_before: Timestamp,
}

impl Cursor {
    fn beginning(not_before: Timestamp) -> Self {
        let first = Class::new(Purpose::Transactional, Priority::High);
        Self { after: (first, Timestamp::EPOCH, MessageId::from_ulid(0)), not_before }
    }
}

/// The searches of this process. Losing them costs one more look.
#[derive(Debug, Default)]
pub(crate) struct Cursors(Mutex<HashMap<AccountId, Cursor>>);

/// Sends messages another way that wait for failing accounts and whose rules allow it. Run every second; answers how many were looked at.
#[crate::boxed]
pub async fn divert(engine: &Engine) -> Result<u64, Error> {
    let read = engine.ports.db.read(Scope::System, |tx| Box::pin(async move { account_states::troubled(tx).await }));
    let now = engine.ports.clock.now();
    let mut failing = read.await.map_err(Error::from)?;
    failing.retain(|state| Circuit::of(Some(state), now).state() == CircuitState::Open);
    engine.diverts.lock().retain(|account, _| failing.iter().any(|state| state.account_id == *account));
    let mut looked_at = 0;
    for state in failing {
        let Some(tenant) = engine.directory.tenant(state.tenant_id).await? else { continue };
        if tenant.routes.is_empty() {
            continue;
        }
        let account = state.account_id;
        let beginning = Cursor::beginning(Timestamp::EPOCH);
        let cursor = engine.diverts.lock().get(&account).copied().unwrap_or(beginning);
        // The clock may have been set back.
        if (0..REST_MS).contains(&cursor.not_before.millis_since(now)) {
            continue;
        }
        let owner = state.tenant_id;
        let read = engine.ports.db.read(Scope::Tenant(owner), move |tx| {
            Box::pin(deliveries::due_of_account(tx, owner, account, now, cursor.after, PAGE))
        });
        let waiting = read.await.map_err(Error::from)?;
        let next = match waiting.last().filter(|_| waiting.len() as i64 == PAGE) {
            Some(last) => Cursor { after: (last.class, last.due_at, last.message_id), not_before: now },
            None => Cursor::beginning(now.plus_millis(REST_MS - 1)),
        };
        engine.diverts.lock().insert(account, next);
        let items: Vec<_> = waiting
            .into_iter()
            .map(|d| Rerouted {
                tenant_id: d.tenant_id,
                message_id: d.message_id,
                account_id: account,
                because: Because::Waits,
                tries: d.tries,
            })
            .collect();
        let count = items.len();
        if count > 0 {
            let applied = engine.applies.submit(Input::Rerouted(items), count).await;
            applied.unwrap_or_else(|| Err(Error::internal("sending messages another way panicked")))?;
            looked_at += count as u64;
        }
    }
    Ok(looked_at)
}

impl Cursors {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<AccountId, Cursor>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
