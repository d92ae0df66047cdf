//! The binary from outside: exit codes, what stands on standard output, start and stop.
#![allow(missing_docs)]

mod binary;
mod commands;
mod misuse;
mod serving;
