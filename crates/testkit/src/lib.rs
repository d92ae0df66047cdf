//! What tests are made of: a fresh database on each engine, a clock moved by hand, a transport that answers as told, files in memory.
//!
//! Used from `tests/it/main.rs` of the other crates, never from production code. Nothing here sleeps, reads a real clock or talks to anything but
//! the test's own PostgreSQL on loopback. Nothing is skipped: without PostgreSQL a database test fails and says what to run.
//!
//! ```text
//! testkit::both! {
//!     async fn a_tenant_is_found_again(db: TestDb) {
//!         let world = testkit::World::new(&db);
//!         …
//!     }
//! }
//! ```
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "this crate is part of tests")]

mod blobs;
mod clock;
mod database;
mod directory;
mod postgres;
pub mod simulator;
mod stage;
mod transport;
mod world;
mod zone;

pub use blobs::MemoryBlobs;
pub use clock::ManualClock;
pub use database::{
    TestDb, databases, each_database, on_disk, on_each_older, on_postgres, on_sqlite, postgres, sqlite,
};
pub use directory::TempDir;
pub use stage::Stage;
pub use transport::{FakeTransport, broken_after, broken_before, http_answer, smtp_accepted};
pub use world::World;
pub use zone::Zone;

/// Writes each test once and runs it on both engines, as `name::sqlite` and `name::postgres`. The parameter is a fresh, migrated database.
#[macro_export]
macro_rules! both {
    ($($(#[$meta:meta])* async fn $name:ident($db:ident: TestDb) $body:block)+) => {$(
        $(#[$meta])*
        mod $name {
            #[allow(unused_imports, reason = "a test may need nothing from its module")]
            use super::*;

            async fn test($db: $crate::TestDb) $body

            #[test]
            fn sqlite() {
                $crate::on_sqlite(test);
            }

            #[test]
            fn postgres() {
                $crate::on_postgres(test);
            }
        }
    )+};
}
