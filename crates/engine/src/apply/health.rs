//! An account's health: when it is paused, for how long, and when that is news. Pure.

use model::{Failure, FailureKind, Timestamp};
use store::account_states::AccountState;

/// Failures in a row before a provider's trouble pauses the account: fewer are bad luck, more burn messages one by one.
const STRIKES: i64 = 5;
/// First pause for trouble at the provider, in milliseconds; doubles with each further failure.
const TROUBLE_PAUSE_MS: i64 = 2_000;
const TROUBLE_PAUSE_MAX_MS: i64 = 5 * 60_000;
/// First pause for an account that fails by itself (credentials, suspension, credit), in milliseconds; doubles likewise.
const ACCOUNT_PAUSE_MS: i64 = 30_000;
const ACCOUNT_PAUSE_MAX_MS: i64 = 60 * 60_000;

/// What is worth telling about an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// Nothing leaves any more.
    Paused,
    /// It works again.
    Resumed,
}

/// Takes one attempt's end into account. `None` for `failure` is a message taken, or refused for reasons of its own.
pub fn observe(state: &mut AccountState, failure: Option<&Failure>, now: Timestamp) -> Option<News> {
    let was_paused = state.pause.is_some();
    let Some(failure) = failure else {
        let is_recovered = state.failures > 0 || was_paused;
        (state.failures, state.paused_until, state.paused_at, state.pause) = (0, None, None, None);
        return (is_recovered && was_paused).then_some(News::Resumed);
    };
    let pause_ms = match failure.kind {
        _ if failure.is_of_batch => return observe(state, None, now),
        FailureKind::Recipient | FailureKind::OptedOut | FailureKind::Content => return observe(state, None, now),
        FailureKind::Throttled => {
            let until = now.plus_millis(failure.retry_after_ms.unwrap_or(1_000).max(1) as i64);
            state.paused_until = state.paused_until.max(Some(until));
            return None;
        }
        FailureKind::Account => {
            state.failures += 1;
            Some(doubled(ACCOUNT_PAUSE_MS, ACCOUNT_PAUSE_MAX_MS, state.failures - 1))
        }
        FailureKind::Unavailable | FailureKind::Unknown => {
            state.failures += 1;
            (state.failures >= STRIKES)
                .then(|| doubled(TROUBLE_PAUSE_MS, TROUBLE_PAUSE_MAX_MS, state.failures - STRIKES))
        }
    };
    state.paused_at = state.paused_at.or(Some(now));
    let pause_ms = pause_ms?;
    // Answers to requests that left together with the first failing one add nothing to a pause that has begun.
    if state.paused_until.is_some_and(|until| until > now) && was_paused {
        state.failures -= 1;
        return None;
    }
    state.paused_until = Some(now.plus_millis(pause_ms));
    state.pause = serde_json::to_string(failure).ok();
    (!was_paused).then_some(News::Paused)
}

fn doubled(first_ms: i64, max_ms: i64, times: i64) -> i64 {
    first_ms.saturating_mul(1 << times.clamp(0, 20)).min(max_ms)
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{AccountId, TenantId};

    const NOW: Timestamp = Timestamp::from_seconds(1_000);

    fn state() -> AccountState {
        AccountState::new(TenantId::from_ulid(1), AccountId::from_ulid(1), NOW)
    }

    fn failure(kind: FailureKind) -> Failure {
        Failure::new(kind, "x", "y")
    }

    #[test]
    fn bad_credentials_pause_at_once_and_are_told_once() {
        let mut state = state();
        let bad = failure(FailureKind::Account);
        assert_eq!(observe(&mut state, Some(&bad), NOW), Some(News::Paused));
        assert_eq!(state.paused_until, Some(NOW.plus_seconds(30)));
        assert_eq!(observe(&mut state, Some(&bad), NOW), None);
        assert_eq!(state.paused_until, Some(NOW.plus_seconds(30)), "answers of the same moment do not lengthen it");
        let later = NOW.plus_seconds(31);
        assert_eq!(observe(&mut state, Some(&bad), later), None);
        assert_eq!(state.paused_until, Some(later.plus_seconds(60)));
        assert_eq!(observe(&mut state, None, later), Some(News::Resumed));
        assert_eq!((state.failures, state.paused_until, state.pause), (0, None, None));
    }

    #[test]
    fn trouble_pauses_after_five_in_a_row() {
        let mut state = state();
        let down = failure(FailureKind::Unavailable);
        for _ in 0..4 {
            assert_eq!(observe(&mut state, Some(&down), NOW), None);
            assert_eq!((state.pause.as_ref(), state.paused_until), (None, None), "a failure alone is no pause");
        }
        assert_eq!(observe(&mut state, Some(&down), NOW), Some(News::Paused));
        assert_eq!(state.paused_at, Some(NOW));
    }

    #[test]
    fn a_bad_recipient_says_that_the_account_works() {
        let mut state = state();
        for _ in 0..4 {
            observe(&mut state, Some(&failure(FailureKind::Unavailable)), NOW);
        }
        observe(&mut state, Some(&failure(FailureKind::Recipient)), NOW);
        assert_eq!((state.failures, state.paused_at), (0, None));
    }

    #[test]
    fn one_bad_message_of_a_batch_is_no_failure_of_the_account() {
        let mut state = state();
        let apart = Failure { is_of_batch: true, ..failure(FailureKind::Unavailable) };
        for _ in 0..50 {
            assert_eq!(observe(&mut state, Some(&apart), NOW), None);
        }
        assert_eq!((state.failures, state.paused_until, state.pause), (0, None, None));
    }

    #[test]
    fn throttling_waits_as_asked_and_is_no_failure() {
        let mut state = state();
        let slow = failure(FailureKind::Throttled).with_retry_after_ms(Some(5_000));
        assert_eq!(observe(&mut state, Some(&slow), NOW), None);
        assert_eq!((state.failures, state.paused_until), (0, Some(NOW.plus_seconds(5))));
    }
}
