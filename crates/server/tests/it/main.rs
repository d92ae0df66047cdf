//! The binary from outside: exit codes, what stands on standard output, start and stop; and whole processes with the world around them, killed in the middle.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, missing_docs)]

mod binary;
mod commands;
mod domains;
mod events;
mod feed;
mod house;
mod http;
mod kill;
mod main_job;
mod misuse;
mod pair;
mod postfix;
mod serving;
mod sink;
