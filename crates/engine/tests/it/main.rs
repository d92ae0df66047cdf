//! Tests of the engine on both databases.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod path;
