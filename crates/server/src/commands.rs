//! One module per command. Each reads its arguments, calls the engine or a running server, and prints what came of it.

pub mod demo;
pub mod doctor;
pub mod key;
pub mod master_key;
pub mod migrate;
pub mod provider_sim;
pub mod recount;
pub mod send;
pub mod serve;
pub mod tail;
pub mod tenant;
pub mod user;
