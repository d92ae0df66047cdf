//! The one source of ids, tokens and chance. Everything that needs randomness takes `&Ids`, so a test with a seed
//! makes the same ids, the same jitter and the same nonces every time.

use std::sync::{Mutex, PoisonError};

use rand::{RngCore, SeedableRng, rngs::StdRng};

use crate::{Timestamp, Ulid};

/// Makes ULIDs that never go backwards within one process, secret tokens, nonces and jitter.
pub struct Ids(Mutex<State>);

struct State {
    rng: StdRng,
    last: Ulid,
}

const RANDOM_BITS: u32 = 80;
/// Lowest bits of a ULID that stay clear, for the numbers of up to 1,023 attempts.
pub(crate) const ATTEMPT_BITS: u32 = 10;
pub(crate) const ATTEMPTS_MASK: Ulid = (1 << ATTEMPT_BITS) - 1;
const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

impl Ids {
    /// Seeded by the operating system: for production.
    pub fn from_os() -> Self {
        Self::from_rng(StdRng::from_os_rng())
    }

    /// The same sequence for the same seed: for tests and the simulator.
    pub fn seeded(seed: u64) -> Self {
        Self::from_rng(StdRng::seed_from_u64(seed))
    }

    fn from_rng(rng: StdRng) -> Self {
        Self(Mutex::new(State { rng, last: 0 }))
    }

    /// The next ULID: greater than every one before it, also when the clock stands still or steps back.
    pub fn ulid(&self, now: Timestamp) -> Ulid {
        let mut state = self.state();
        let millis = u128::from(now.as_millis().max(0).unsigned_abs());
        let fresh = (millis << RANDOM_BITS) | (random_u128(&mut state.rng) >> (128 - RANDOM_BITS));
        // The top random bit stays clear so that counting up within a millisecond cannot run into the next one soon.
        // The lowest bits stay clear as well: an attempt's id is its message's id plus its number (see `MessageId::attempt`).
        let fresh = fresh & !(1 << (RANDOM_BITS - 1)) & !ATTEMPTS_MASK;
        let step = (u128::from(state.rng.next_u32()) | 1) << ATTEMPT_BITS;
        let is_later = fresh >> RANDOM_BITS > state.last >> RANDOM_BITS;
        state.last = if is_later { fresh } else { state.last + step };
        state.last
    }

    /// Fills `bytes` with secret randomness (keys, nonces).
    pub fn fill(&self, bytes: &mut [u8]) {
        self.state().rng.fill_bytes(bytes);
    }

    /// A number from 0 up to, not including, `end`; 0 when `end` is 0. For jitter and choices, not for secrets.
    pub fn below(&self, end: u64) -> u64 {
        let wide = u128::from(self.state().rng.next_u64()) * u128::from(end);
        (wide >> 64) as u64
    }

    /// `length` characters of `[0-9A-Za-z]`, unguessable from 22 on (131 bits).
    pub fn token(&self, length: usize) -> String {
        let mut state = self.state();
        let mut token = String::with_capacity(length);
        while token.len() < length {
            // Bytes of 248 and above would favour some characters.
            let byte = (state.rng.next_u32() >> 24) as u8;
            if byte < 248 {
                token.push(char::from(BASE62[usize::from(byte % 62)]));
            }
        }
        token
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn random_u128(rng: &mut StdRng) -> u128 {
    (u128::from(rng.next_u64()) << 64) | u128::from(rng.next_u64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ulids_rise_while_the_clock_stands_still_or_steps_back() {
        let ids = Ids::seeded(1);
        let mut last = 0;
        for millis in [5, 5, 5, 4, 9, 1, 9] {
            let next = ids.ulid(Timestamp::from_millis(millis));
            assert!(next > last);
            last = next;
        }
        assert_eq!(last >> RANDOM_BITS, 9);
    }

    #[test]
    fn a_seed_repeats_everything() {
        let all = |ids: Ids| (ids.ulid(Timestamp::from_millis(3)), ids.token(40), ids.below(1000));
        assert_eq!(all(Ids::seeded(7)), all(Ids::seeded(7)));
        assert_ne!(all(Ids::seeded(7)), all(Ids::seeded(8)));
    }

    #[test]
    fn below_stays_below() {
        let ids = Ids::seeded(3);
        assert!((0..1000).all(|_| ids.below(7) < 7));
        assert_eq!(ids.below(0), 0);
    }
}
