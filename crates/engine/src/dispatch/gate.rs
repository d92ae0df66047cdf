//! The places at an account: how many requests are under way to it at once, and who is next.
//!
//! More is claimed for a busy account than may be under way ([`super::lanes::Pace::ahead`]), so that a request that is answered is followed by the next at once instead
//! of after the commit that claims it. What was claimed ahead waits here, in the order of its class.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use model::{AccountId, Class};
use tokio::sync::oneshot;

/// Requests under way and waiting, by account. An account with neither has no entry.
#[derive(Debug, Default)]
pub(super) struct Gate(Mutex<HashMap<AccountId, Line>>);

#[derive(Debug, Default)]
struct Line {
    under_way: usize,
    waiting: BTreeMap<(Class, u64), oneshot::Sender<Turn>>,
    /// Numbers those that wait, so that within a class the first is first.
    number: u64,
}

/// A place at an account; dropping it lets the next request leave.
#[derive(Debug)]
pub(super) struct Turn {
    /// `None` once it was given back.
    gate: Option<Arc<Gate>>,
    account: AccountId,
}

impl Gate {
    /// Waits until fewer than `limit` requests are under way to the account and nobody more urgent waits.
    pub(super) async fn enter(self: &Arc<Self>, account: AccountId, class: Class, limit: usize) -> Turn {
        let called = {
            let mut lines = self.lines();
            let line = lines.entry(account).or_default();
            if line.under_way < limit.max(1) {
                line.under_way += 1;
                return Turn { gate: Some(Arc::clone(self)), account };
            }
            let (call, called) = oneshot::channel();
            line.number += 1;
            line.waiting.insert((class, line.number), call);
            called
        };
        called.await.expect("a line stays while somebody waits in it, and whoever leaves calls the next")
    }

    fn lines(&self) -> MutexGuard<'_, HashMap<AccountId, Line>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let Some(gate) = self.gate.take() else { return };
        let mut lines = gate.lines();
        let Some(line) = lines.get_mut(&self.account) else { return };
        while let Some((_, call)) = line.waiting.pop_first() {
            match call.send(Turn { gate: Some(Arc::clone(&gate)), account: self.account }) {
                Ok(()) => return,
                // It went away while it waited, and has nothing to give back.
                Err(mut turn) => turn.gate = None,
            }
        }
        line.under_way = line.under_way.saturating_sub(1);
        if line.under_way == 0 {
            lines.remove(&self.account);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use model::{Priority, Purpose};

    use super::*;

    const BULK: Class = Class::new(Purpose::Marketing, Priority::Normal);
    const URGENT: Class = Class::new(Purpose::Transactional, Priority::Normal);
    const ACCOUNT: AccountId = AccountId::from_ulid(1);

    #[test]
    fn the_most_urgent_is_next_and_one_that_went_away_is_passed_over() {
        let gate = Arc::new(Gate::default());
        let first = gate.enter(ACCOUNT, BULK, 1).now_or_never().expect("the place is free");
        let mut bulk = Box::pin(gate.enter(ACCOUNT, BULK, 1));
        let mut gone = Box::pin(gate.enter(ACCOUNT, URGENT, 1));
        let mut urgent = Box::pin(gate.enter(ACCOUNT, URGENT, 1));
        for waiting in [&mut bulk, &mut gone, &mut urgent] {
            assert!(waiting.as_mut().now_or_never().is_none(), "the place is taken");
        }
        drop(gone);
        drop(first);
        assert!(bulk.as_mut().now_or_never().is_none(), "something urgent is before it");
        let turn = urgent.as_mut().now_or_never().expect("it is called");
        drop(turn);
        assert!(bulk.as_mut().now_or_never().is_some());
        drop(bulk);
        assert!(gate.lines().is_empty(), "nothing is left of an idle account");
    }

    #[test]
    fn a_place_called_out_to_one_that_never_came_is_given_on() {
        let gate = Arc::new(Gate::default());
        let first = gate.enter(ACCOUNT, BULK, 1).now_or_never().expect("the place is free");
        let mut called = Box::pin(gate.enter(ACCOUNT, BULK, 1));
        assert!(called.as_mut().now_or_never().is_none());
        drop(first);
        drop(called);
        assert!(gate.enter(ACCOUNT, BULK, 1).now_or_never().is_some());
        assert!(gate.lines().is_empty());
    }
}
