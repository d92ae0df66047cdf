//! A clock that moves only when told.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use model::{BoxFuture, Clock, Timestamp};
use tokio::sync::oneshot;

/// A clock for tests. Time passes by [`ManualClock::advance_ms`]; the wall clock alone can be set, as an administrator or NTP would.
pub struct ManualClock(Mutex<State>);

struct State {
    now: Timestamp,
    /// Time that passed since the clock was made. Sleeps count in this, so that setting the wall clock does not end them.
    passed_ms: u64,
    sleepers: Vec<Sleeper>,
}

struct Sleeper {
    until_ms: u64,
    wake: oneshot::Sender<()>,
}

impl ManualClock {
    /// A clock that shows `now`.
    pub fn new(now: Timestamp) -> Arc<Self> {
        Arc::new(Self(Mutex::new(State { now, passed_ms: 0, sleepers: Vec::new() })))
    }

    /// A clock that shows 2026-11-21T09:30:00Z, for tests that do not mind when they happen.
    pub fn at_some_time() -> Arc<Self> {
        Self::new(Timestamp::from_seconds(1_795_253_400))
    }

    /// Lets time pass and wakes every sleeper whose time has come. Give its task a chance to run afterwards.
    pub fn advance_ms(&self, millis: u64) {
        let mut state = self.state();
        state.now = state.now + Duration::from_millis(millis);
        state.passed_ms += millis;
        let passed_ms = state.passed_ms;
        let (over, rest) = std::mem::take(&mut state.sleepers).into_iter().partition(|s| s.until_ms <= passed_ms);
        state.sleepers = rest;
        drop(state);
        let over: Vec<Sleeper> = over;
        for sleeper in over {
            let _ = sleeper.wake.send(());
        }
    }

    /// Sets the wall clock forwards or backwards. Sleepers do not notice.
    pub fn set(&self, now: Timestamp) {
        self.state().now = now;
    }

    /// Time until the next sleeper wakes, in milliseconds; `None` when nobody sleeps.
    pub fn next_wake_ms(&self) -> Option<u64> {
        let mut state = self.state();
        state.sleepers.retain(|sleeper| !sleeper.wake.is_closed());
        state.sleepers.iter().map(|sleeper| sleeper.until_ms - state.passed_ms).min()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        self.state().now
    }

    fn sleep(&self, millis: u64) -> BoxFuture<'static, ()> {
        if millis == 0 {
            return Box::pin(tokio::task::yield_now());
        }
        let (wake, woken) = oneshot::channel();
        let mut state = self.state();
        let until_ms = state.passed_ms.saturating_add(millis);
        state.sleepers.push(Sleeper { until_ms, wake });
        Box::pin(async move {
            if woken.await.is_err() {
                // The clock is gone, so the time never comes.
                std::future::pending::<()>().await;
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_sleeper_wakes_when_its_time_has_passed_and_not_when_the_clock_is_set() {
        let clock = ManualClock::at_some_time();
        let start = clock.now();
        let mut sleep = clock.sleep(1_000);
        clock.set(start.plus_seconds(3_600));
        clock.advance_ms(999);
        assert!(futures_util::poll!(&mut sleep).is_pending());
        assert_eq!(clock.next_wake_ms(), Some(1));
        clock.advance_ms(1);
        assert!(futures_util::poll!(&mut sleep).is_ready());
        assert_eq!(clock.now(), start.plus_seconds(3_601));
        assert_eq!(clock.next_wake_ms(), None);
    }

    #[tokio::test]
    async fn a_dropped_sleep_is_forgotten() {
        let clock = ManualClock::at_some_time();
        drop(clock.sleep(5));
        assert_eq!(clock.next_wake_ms(), None);
    }
}
