//! Tests of the API as clients see it: requests in, answers out, through the whole router.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

extern crate tidings_api as api;

mod access;
mod alerts;
mod audit;
mod document;
mod errors;
mod events;
mod hooks;
mod keys;
mod limits;
mod messages;
mod money;
mod support;
mod walls;
