//! Time as the workloads read it: one clock for senders and receivers, in microseconds.

use model::Clock as _;
use net::SystemClock;

/// Microseconds since 1970.
pub fn now_us() -> u64 {
    SystemClock.now().as_micros().unsigned_abs()
}

/// Waits.
pub async fn sleep_ms(millis: u64) {
    SystemClock.sleep(millis).await;
}

/// Seconds between two moments.
pub fn seconds(from_us: u64, to_us: u64) -> f64 {
    to_us.saturating_sub(from_us) as f64 / 1e6
}
