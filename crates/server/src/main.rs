//! The program `tidings`: command line, configuration, wiring, signals and telemetry. No business rule lives here; they are in the engine.

mod bench;
mod cli;
mod client;
mod commands;
mod config;
mod home;
mod limits;
mod listen;
mod node;
mod telemetry;

use std::process::ExitCode;

/// Keeps memory small and allocations quick under many short-lived requests.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::run()
}
