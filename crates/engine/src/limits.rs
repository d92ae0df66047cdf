//! How fast a tenant may call the API: one token bucket per tenant and node, in memory.
//!
//! A request of weight *n* (a batch of *n* messages) passes while the bucket holds anything, and may leave it in debt; what follows waits until the
//! debt is paid. So a batch larger than the bucket is possible, and the average still holds. With several nodes each grants the whole rate: the limit protects the
//! node, while what leaves is paced by the accounts.

use std::sync::{Mutex, PoisonError};

use model::{TenantId, Timestamp};

use crate::{Error, ErrorKind, bounded::Bounded};

/// The bucket holds this many seconds' worth.
const BURST_S: u64 = 2;
/// Buckets in memory at most. A tenant that is dropped begins with a full bucket again.
const BUCKETS_MAX: usize = 16_384;
const MICROS: i64 = 1_000_000;

/// Where a tenant stands, for the `RateLimit` headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// Requests a second on average.
    pub per_second: u32,
    /// What a full bucket holds.
    pub burst: u64,
    /// What is left; 0 while in debt.
    pub remaining: u64,
    /// Until the bucket is full again, in milliseconds.
    pub full_in_ms: u64,
    /// Until the next request passes, in milliseconds; 0 when it would now.
    pub retry_after_ms: u64,
}

impl Allowance {
    /// The error for a request that must wait; `None` when it may go on.
    pub fn refusal(&self) -> Option<Error> {
        (self.retry_after_ms > 0).then(|| {
            Error::new(
                ErrorKind::Throttled,
                "rate_limited",
                format!(
                    "This tenant may make {} requests a second, with a burst of {}; a batch counts each of its messages. Try again in {} ms.",
                    self.per_second, self.burst, self.retry_after_ms
                ),
            )
            .with_retry_after_ms(self.retry_after_ms)
        })
    }
}

/// A request that may go on, or must wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// No limit applies.
    Unlimited,
    /// It passes; this is left.
    Pass(Allowance),
    /// It must wait; nothing was taken.
    Wait(Allowance),
}

/// The buckets of one node.
pub struct Limits {
    default_per_second: Option<u32>,
    buckets: Mutex<Bounded<TenantId, Bucket>>,
}

struct Bucket {
    /// Millionths of a request; negative while in debt.
    tokens_micros: i64,
    filled_at: Timestamp,
}

impl Limits {
    /// Buckets for tenants whose own setting is `None` get `default_per_second`; `None` is no limit.
    pub fn new(default_per_second: Option<u32>) -> Self {
        Self { default_per_second, buckets: Mutex::new(Bounded::new(BUCKETS_MAX)) }
    }

    /// Takes `weight` requests from the tenant's bucket. `per_second` is the tenant's own setting.
    pub fn take(&self, tenant: TenantId, per_second: Option<u32>, weight: u32, now: Timestamp) -> Verdict {
        let Some(rate) = per_second.or(self.default_per_second) else { return Verdict::Unlimited };
        let rate = rate.max(1);
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.get(&tenant).is_none() {
            buckets.insert(tenant, Bucket { tokens_micros: burst_micros(rate), filled_at: now });
        }
        let bucket = buckets.get(&tenant).expect("it was there or was just put there");
        bucket.fill(rate, now);
        let passes = bucket.tokens_micros >= MICROS;
        if passes {
            bucket.tokens_micros -= i64::from(weight) * MICROS;
        }
        let allowance = bucket.allowance(rate);
        if passes { Verdict::Pass(Allowance { retry_after_ms: 0, ..allowance }) } else { Verdict::Wait(allowance) }
    }
}

impl Bucket {
    /// Adds what `rate` brought since the last time. A clock that steps back brings nothing.
    fn fill(&mut self, rate: u32, now: Timestamp) {
        let elapsed_micros = now.as_micros().saturating_sub(self.filled_at.as_micros()).max(0);
        let brought = elapsed_micros.saturating_mul(rate.into());
        self.tokens_micros = self.tokens_micros.saturating_add(brought).min(burst_micros(rate));
        self.filled_at = now;
    }

    fn allowance(&self, rate: u32) -> Allowance {
        let wait_ms = |until_micros: i64| {
            let missing = u64::try_from(until_micros - self.tokens_micros).unwrap_or(0);
            missing.div_ceil(u64::from(rate) * 1_000)
        };
        Allowance {
            per_second: rate,
            burst: u64::from(rate) * BURST_S,
            remaining: u64::try_from(self.tokens_micros / MICROS).unwrap_or(0),
            full_in_ms: wait_ms(burst_micros(rate)),
            retry_after_ms: wait_ms(MICROS),
        }
    }
}

fn burst_micros(rate: u32) -> i64 {
    i64::from(rate) * BURST_S as i64 * MICROS
}

#[cfg(test)]
mod tests {
    use super::*;

    const TENANT: TenantId = TenantId::from_ulid(1);

    /// Left after a request that passed, or the wait of one that did not.
    fn take(limits: &Limits, per_second: u32, weight: u32, at_ms: i64) -> Result<u64, u64> {
        match limits.take(TENANT, Some(per_second), weight, Timestamp::from_millis(at_ms)) {
            Verdict::Unlimited => Ok(u64::MAX),
            Verdict::Pass(left) => Ok(left.remaining),
            Verdict::Wait(left) => {
                assert_eq!(left.refusal().unwrap().retry_after_ms, Some(left.retry_after_ms));
                Err(left.retry_after_ms)
            }
        }
    }

    #[test]
    fn a_burst_passes_and_then_the_rate_holds() {
        let limits = Limits::new(None);
        let passed = (0..30).filter(|_| take(&limits, 10, 1, 0).is_ok()).count();
        assert_eq!(passed, 20);
        assert_eq!(take(&limits, 10, 1, 0), Err(100));
        assert_eq!(take(&limits, 10, 1, 99), Err(1));
        assert_eq!(take(&limits, 10, 1, 100), Ok(0));
        let passed = (0..10_000).filter(|n| take(&limits, 10, 1, 100 + n).is_ok()).count();
        assert_eq!(passed, 99);
    }

    #[test]
    fn a_batch_larger_than_the_bucket_passes_and_is_paid_for() {
        let limits = Limits::new(None);
        assert_eq!(take(&limits, 10, 1_000, 0), Ok(0));
        assert_eq!(take(&limits, 10, 1, 0), Err(98_100));
        assert_eq!(take(&limits, 10, 1, 98_100), Ok(0));
    }

    #[test]
    fn a_clock_that_steps_back_takes_nothing_away() {
        let limits = Limits::new(None);
        assert_eq!(take(&limits, 10, 5, 1_000), Ok(15));
        assert_eq!(take(&limits, 10, 5, 0), Ok(10));
    }

    #[test]
    fn the_tenants_own_rate_goes_before_the_default() {
        let at = Timestamp::EPOCH;
        assert_eq!(Limits::new(None).take(TENANT, None, 1, at), Verdict::Unlimited);
        let per_second = |own| match Limits::new(Some(7)).take(TENANT, own, 1, at) {
            Verdict::Pass(left) => left.per_second,
            other => panic!("{other:?}"),
        };
        assert_eq!((per_second(None), per_second(Some(3))), (7, 3));
    }
}
