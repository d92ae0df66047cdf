//! The binary from outside: exit codes, what stands on standard output, start and stop; and whole processes with the world around them, killed in the middle.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, missing_docs)]

mod binary;
mod commands;
mod console;
mod dns;
mod domains;
mod events;
mod feed;
mod house;
mod http;
mod invoices;
mod kill;
mod kill_campaign;
mod main_job;
mod misuse;
mod openid;
mod pair;
mod payments;
mod people;
mod postfix;
mod providers;
mod registration;
mod serving;
mod sink;
