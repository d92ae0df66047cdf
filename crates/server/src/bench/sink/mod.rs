//! Receivers: what stands in for providers. They take everything, remember what came and when, and cost little.

pub mod http;
pub mod smtp;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use super::clock::{now_us, sleep_ms};

/// How often a waiting workload looks, in milliseconds.
const LOOK_MS: u64 = 5;

/// What arrived: a place for each number that may.
pub struct Arrivals {
    /// When each arrived first, in microseconds since 1970; 0 for not yet.
    at_us: Vec<AtomicU64>,
    different: AtomicU64,
    again: AtomicU64,
    first_us: AtomicU64,
    last_us: AtomicU64,
}

impl Arrivals {
    /// Room for the numbers below `count`.
    pub fn new(count: u64) -> Arc<Self> {
        Arc::new(Self {
            at_us: (0..count).map(|_| AtomicU64::new(0)).collect(),
            different: AtomicU64::new(0),
            again: AtomicU64::new(0),
            first_us: AtomicU64::new(u64::MAX),
            last_us: AtomicU64::new(0),
        })
    }

    /// Notes that `number` arrived. What bears no number of ours is not counted.
    pub fn note(&self, number: Option<u64>) {
        let place = number.and_then(|number| self.at_us.get(usize::try_from(number).ok()?));
        let Some(place) = place else { return };
        let now = now_us();
        if place.compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            self.first_us.fetch_min(now, Ordering::Relaxed);
            self.last_us.fetch_max(now, Ordering::Relaxed);
            self.different.fetch_add(1, Ordering::Release);
        } else {
            self.again.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Different numbers that arrived.
    pub fn different(&self) -> u64 {
        self.different.load(Ordering::Acquire)
    }

    /// Arrivals of a number that had arrived before.
    pub fn again(&self) -> u64 {
        self.again.load(Ordering::Relaxed)
    }

    /// When the first number arrived; the end of time for not yet.
    pub fn first_us(&self) -> u64 {
        self.first_us.load(Ordering::Relaxed)
    }

    /// When the last new number arrived.
    pub fn last_us(&self) -> u64 {
        self.last_us.load(Ordering::Relaxed)
    }

    /// When `number` arrived; `None` for not yet.
    pub fn at_us(&self, number: u64) -> Option<u64> {
        let at = self.at_us.get(usize::try_from(number).ok()?)?.load(Ordering::Relaxed);
        (at > 0).then_some(at)
    }

    /// Waits until `count` different numbers arrived, or nothing new has for `idle_ms`. Answers how many there are.
    pub async fn wait(&self, count: u64, idle_ms: u64) -> u64 {
        let (mut seen, mut moved_at) = (self.different(), now_us());
        while seen < count && now_us() - moved_at < idle_ms * 1_000 {
            sleep_ms(LOOK_MS).await;
            let now = self.different();
            if now > seen {
                (seen, moved_at) = (now, now_us());
            }
        }
        seen
    }
}

/// The number written in decimal behind `mark`; `None` without the mark or without digits.
pub fn number_after(text: &[u8], mark: &[u8]) -> Option<u64> {
    let from = memchr::memmem::find(text, mark)? + mark.len();
    let digits = text[from..].iter().take_while(|byte| byte.is_ascii_digit());
    digits
        .map(|byte| u64::from(byte - b'0'))
        .fold(None, |number, digit| number.unwrap_or(0_u64).checked_mul(10)?.checked_add(digit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_behind_marks() {
        assert_eq!(number_after(b"To=%2B4915100000042&x", b"To=%2B49151"), Some(42));
        assert_eq!(number_after(b"To=x", b"To="), None);
        assert_eq!(number_after(b"", b"To="), None);
    }

    #[test]
    fn arrivals_know_repeats_and_strangers() {
        let arrivals = Arrivals::new(2);
        for number in [Some(1), Some(1), Some(2), None, Some(0)] {
            arrivals.note(number);
        }
        assert_eq!((arrivals.different(), arrivals.again()), (2, 1));
        assert!(arrivals.at_us(1).is_some() && arrivals.at_us(2).is_none());
    }
}
