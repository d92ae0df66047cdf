//! The real clock. Besides this file nothing in Tidings reads raw clocks or sleeps: everybody takes a `&dyn Clock`.
#![allow(clippy::disallowed_methods, reason = "this is the one place the bans point to")]

use std::time::Duration;

use model::{BoxFuture, Clock, Timestamp};

/// The machine's wall clock, and tokio's timer for waiting. The wall clock may jump; waits do not follow such jumps.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        jiff::Timestamp::now().into()
    }

    /// Must be polled inside a tokio runtime with its timer enabled.
    fn sleep(&self, millis: u64) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(Duration::from_millis(millis)))
    }
}
