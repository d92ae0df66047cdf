//! Exchanges against servers that misbehave on purpose, over loopback.
//!
//! Nothing here waits for time to pass: where a time limit is the matter, the server tells when it got so far, and the
//! test rings the clock.
#![allow(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod dns;
mod http;
mod mail;
mod script;
mod smtp;
mod smtp_pool;
mod smtp_tls;
