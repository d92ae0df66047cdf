//! What an attempt's end means for its message: pure, so that every rule of retrying can be read and tested in one table.

use model::{ATTEMPTS_MAX, Channel, Failure, FailureKind, Guarantee, Ids, Timestamp};

/// Tries of a message to a person.
pub const TRIES_MAX: u32 = 5;
/// First wait of a message to a person, in milliseconds; each next one is longer by the golden ratio.
const FIRST_WAIT_MS: f64 = 1_000.0;
const GOLDEN_RATIO: f64 = 1.618_033_988_749_895;
/// Waits of an event to a tenant's endpoint, in seconds: quick while a deployment restarts, then patient; three days in all.
const WEBHOOK_WAITS_S: [u64; 12] = [5, 60, 300, 1_800, 7_200, 18_000, 36_000, 36_000, 36_000, 43_200, 43_200, 43_200];
/// Wait before the provider is asked about an attempt without an answer, in milliseconds: its own books need a moment.
pub const ASK_AFTER_MS: i64 = 5_000;
/// Shortest wait after a provider said it was too much, when it does not say how long, in milliseconds.
const THROTTLE_WAIT_MS: u64 = 1_000;

/// What there is to know about the attempt.
#[derive(Debug, Clone, Copy)]
pub struct Facts {
    /// Over which channel.
    pub channel: Channel,
    /// What was promised.
    pub guarantee: Guarantee,
    /// Its number.
    pub number: u32,
    /// Tries before it that counted.
    pub tries: u32,
    /// True when a repeated request is recognised by the receiver.
    pub repeats_safely: bool,
    /// True when the provider can be asked.
    pub can_ask: bool,
}

/// What happens next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Another attempt.
    Retry {
        /// When.
        due_at: Timestamp,
        /// Tries that counted so far.
        tries: u32,
        /// True when the last attempt may have reached the recipient.
        is_possible_duplicate: bool,
    },
    /// It failed for good. A dead letter is worth another try by a person.
    Fail {
        /// Whether it is.
        is_dead_letter: bool,
    },
    /// Nobody can say; no further attempt is made. The provider is asked from this instant on, where it can be.
    Unknown {
        /// When to ask.
        ask_at: Option<Timestamp>,
    },
    /// The provider is asked first; a retry follows only if it does not know.
    Ask {
        /// When.
        ask_at: Timestamp,
    },
}

/// Says what follows a failed attempt.
pub fn conclude(facts: Facts, failure: &Failure, now: Timestamp, ids: &Ids) -> Next {
    let tries = facts.tries + 1;
    let is_last = facts.number >= ATTEMPTS_MAX;
    match failure.kind {
        FailureKind::Recipient | FailureKind::OptedOut | FailureKind::Content => Next::Fail { is_dead_letter: false },
        _ if is_last && failure.kind != FailureKind::Unknown => Next::Fail { is_dead_letter: true },
        // Another message of its request was refused: nothing is known against this one, and it goes alone now.
        FailureKind::Unavailable if failure.is_of_batch => {
            Next::Retry { due_at: now, tries: facts.tries, is_possible_duplicate: false }
        }
        FailureKind::Throttled => {
            let wait_ms = failure.retry_after_ms.unwrap_or(THROTTLE_WAIT_MS).max(1);
            Next::Retry { due_at: now.plus_millis(wait_ms as i64), tries: facts.tries, is_possible_duplicate: false }
        }
        FailureKind::Account => Next::Retry { due_at: now, tries: facts.tries, is_possible_duplicate: false },
        FailureKind::Unavailable => {
            again(facts.channel, tries, failure, now, ids, false).unwrap_or(Next::Fail { is_dead_letter: true })
        }
        FailureKind::Unknown if facts.repeats_safely => again(facts.channel, tries, failure, now, ids, false)
            .filter(|_| !is_last)
            .unwrap_or(Next::Fail { is_dead_letter: true }),
        FailureKind::Unknown => {
            let ask_at = facts.can_ask.then(|| now.plus_millis(ASK_AFTER_MS));
            match (facts.guarantee, ask_at) {
                (Guarantee::AtLeastOnce, Some(ask_at)) => Next::Ask { ask_at },
                (Guarantee::AtLeastOnce, None) if !is_last => {
                    again(facts.channel, tries, failure, now, ids, true).unwrap_or(Next::Unknown { ask_at: None })
                }
                (_, ask_at) => Next::Unknown { ask_at },
            }
        }
    }
}

/// The retry after `tries` tries, if there is one.
pub fn again(
    channel: Channel,
    tries: u32,
    failure: &Failure,
    now: Timestamp,
    ids: &Ids,
    is_possible_duplicate: bool,
) -> Option<Next> {
    let wait_ms = wait_ms(channel, tries, ids)?.max(failure.retry_after_ms.unwrap_or(0));
    Some(Next::Retry { due_at: now.plus_millis(wait_ms as i64), tries, is_possible_duplicate })
}

/// The wait after `tries` tries, with full jitter over its upper half, so that what failed together does not come back together. `None` when there were enough.
fn wait_ms(channel: Channel, tries: u32, ids: &Ids) -> Option<u64> {
    let full_ms = if channel == Channel::Webhook {
        WEBHOOK_WAITS_S.get(tries as usize - 1)? * 1_000
    } else if tries < TRIES_MAX {
        (FIRST_WAIT_MS * GOLDEN_RATIO.powi(tries as i32 - 1)) as u64
    } else {
        return None;
    };
    Some(full_ms / 2 + ids.below(full_ms / 2 + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_000);

    fn facts(tries: u32) -> Facts {
        Facts {
            channel: Channel::Sms,
            guarantee: Guarantee::AtLeastOnce,
            number: tries + 1,
            tries,
            repeats_safely: false,
            can_ask: false,
        }
    }

    fn after(facts: Facts, kind: FailureKind) -> Next {
        conclude(facts, &Failure::new(kind, "x", "y"), NOW, &Ids::seeded(1))
    }

    #[test]
    fn what_cannot_work_is_not_tried_again() {
        for kind in [FailureKind::Recipient, FailureKind::OptedOut, FailureKind::Content] {
            assert_eq!(after(facts(0), kind), Next::Fail { is_dead_letter: false });
        }
    }

    #[test]
    fn who_was_refused_for_another_goes_again_at_once_and_loses_no_try() {
        let failure = Failure { is_of_batch: true, ..Failure::new(FailureKind::Unavailable, "400", "y") };
        let next = |number| conclude(Facts { number, ..facts(0) }, &failure, NOW, &Ids::seeded(1));
        assert_eq!(next(1), Next::Retry { due_at: NOW, tries: 0, is_possible_duplicate: false });
        assert_eq!(next(ATTEMPTS_MAX), Next::Fail { is_dead_letter: true });
    }

    #[test]
    fn trouble_is_retried_by_the_golden_ratio_and_then_a_dead_letter() {
        for (tries, full_ms) in [(0, 1_000), (1, 1_618), (2, 2_618), (3, 4_236)] {
            let Next::Retry { due_at, tries: counted, is_possible_duplicate } =
                after(facts(tries), FailureKind::Unavailable)
            else {
                panic!()
            };
            let wait_ms = due_at.millis_since(NOW);
            assert!((full_ms / 2..=full_ms).contains(&wait_ms), "{tries}: {wait_ms}");
            assert_eq!((counted, is_possible_duplicate), (tries + 1, false));
        }
        assert_eq!(after(facts(4), FailureKind::Unavailable), Next::Fail { is_dead_letter: true });
    }

    #[test]
    fn throttling_and_account_trouble_burn_no_try() {
        for kind in [FailureKind::Throttled, FailureKind::Account] {
            for tries in [0, 4, 100] {
                let Next::Retry { tries: counted, .. } = after(facts(tries), kind) else { panic!() };
                assert_eq!(counted, tries);
            }
        }
        let failure = Failure::new(FailureKind::Throttled, "429", "").with_retry_after_ms(Some(7_000));
        assert_eq!(
            conclude(facts(0), &failure, NOW, &Ids::seeded(1)),
            Next::Retry { due_at: NOW.plus_seconds(7), tries: 0, is_possible_duplicate: false }
        );
    }

    #[test]
    fn an_unanswered_attempt_is_treated_as_promised() {
        let unknown = |facts| after(facts, FailureKind::Unknown);
        assert!(matches!(unknown(facts(0)), Next::Retry { is_possible_duplicate: true, tries: 1, .. }));
        assert_eq!(unknown(facts(4)), Next::Unknown { ask_at: None });
        assert_eq!(unknown(Facts { can_ask: true, ..facts(0) }), Next::Ask { ask_at: NOW.plus_seconds(5) });
        let once = Facts { guarantee: Guarantee::AtMostOnce, ..facts(0) };
        assert_eq!(unknown(once), Next::Unknown { ask_at: None });
        assert_eq!(unknown(Facts { can_ask: true, ..once }), Next::Unknown { ask_at: Some(NOW.plus_seconds(5)) });
        assert!(matches!(
            unknown(Facts { repeats_safely: true, ..once }),
            Next::Retry { is_possible_duplicate: false, .. }
        ));
    }

    #[test]
    fn events_are_retried_for_three_days() {
        let total_s: u64 = WEBHOOK_WAITS_S.iter().sum();
        assert!((259_200..=3 * 86_400 + 43_200).contains(&total_s), "{total_s}");
    }
}
