//! `tidings bench`: how fast this build is on this machine, beside what the machine itself can do.
//!
//! Each workload runs in a process of its own, with a database of its own, and prints rate, latencies and cost per message beside a floor measured in the same run:
//! the empty HTTP handler, rows a second with the bare driver, the bare receiver. The load generator and the receivers share the machine with the server under test, as they
//! would on the smallest machine; they are made to cost little. Nothing is tuned for the benchmark: settings and durability are as shipped.
//!
//! `b1` to `b8`, `audience` (`b9` to `b11`), `billing` (`b12`, `b13`), `b14`, `b15` and `b16` are the workloads, `singles` the tenants in a hurry of two of them, `floors` what they are held against, `child` the server under test, `inside` the engine without a server, `load` and `sink` the two ends of
//! the wire, `room` the directory and the database, `meter` what it cost, `report` what is printed. Everything ends by itself, and takes its processes, files and
//! databases with it.

mod audience;
mod b1;
mod b14;
mod b15;
mod b16;
mod b2;
mod b3;
mod b4;
mod b5;
mod b6;
mod b7;
mod b8;
mod billing;
mod child;
mod clock;
mod fill;
mod floors;
mod inside;
mod load;
mod meter;
mod report;
mod room;
mod rows;
mod singles;
mod sink;
mod texts;

use std::{
    env,
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use metrics_exporter_prometheus::PrometheusHandle;
use rustix::process::{Pid, Signal, kill_process};

use self::{report::Report, room::Room};
use crate::{
    cli::{Outcome, put, put_json, say},
    telemetry,
};

/// Longest time for one workload: the longest, a million messages on a slow disk, takes a few minutes.
const WORKLOAD_MAX: Duration = Duration::from_secs(20 * 60);

/// What to measure.
#[derive(Debug, Args)]
pub struct Bench {
    /// Which workload
    #[arg(value_enum, default_value = "all")]
    workload: Workload,
    /// `sqlite`, or the URL of a PostgreSQL server on which databases may be made
    #[arg(long, default_value = "sqlite", value_name = "sqlite|postgres://…")]
    database: String,
    /// Messages instead of each workload's own number
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    messages: Option<u64>,
    /// Where temporary directories are made: on the disk to be measured [default: the system's]
    #[arg(long, value_name = "PATH")]
    directory: Option<PathBuf>,
}

/// The workloads of docs/performance.md.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Workload {
    /// All of them, one after the other
    All,
    /// What this machine can do without us
    Floors,
    /// One message per request
    B1,
    /// Batches of a thousand
    B2,
    /// Queued messages to a connector that does nothing
    B3,
    /// A campaign of mails
    B4,
    /// Webhooks out
    B5,
    /// Callbacks in
    B6,
    /// Fairness between tenants
    B7,
    /// Start, and idle with many tenants
    B8,
    /// Contacts imported
    B9,
    /// A segment counted
    B10,
    /// A campaign expanded
    B11,
    /// A month closed
    B12,
    /// Billing on and off
    B13,
    /// Analytics of a year
    B14,
    /// Pages of the console with a million messages
    B15,
    /// A campaign of a million beside single messages
    B16,
}

/// What a workload is asked to do, and what it may use.
pub struct Order {
    database: String,
    messages: Option<u64>,
    directory: Option<PathBuf>,
    metrics: PrometheusHandle,
}

impl Order {
    /// A directory and a database.
    async fn room(&self) -> anyhow::Result<Room> {
        Room::new(self.directory.as_deref(), &self.database).await
    }

    /// How many messages, unless the command line says otherwise.
    fn messages(&self, usual: u64) -> u64 {
        self.messages.unwrap_or(usual)
    }

    /// Commits of the SQLite writer in this process.
    fn commits(&self) -> Option<u64> {
        self.metrics.run_upkeep();
        meter::commits(&self.metrics.render())
    }
}

/// Runs what was asked for and prints what came of it.
pub async fn run(bench: Bench, json: bool) -> Outcome {
    meter::check().context("costs are read from /proc, which this system does not have")?;
    if bench.workload == Workload::All {
        return all(&bench, json).await;
    }
    let order = Order {
        database: bench.database,
        messages: bench.messages,
        directory: bench.directory,
        metrics: telemetry::metrics()?,
    };
    let report = tokio::select! {
        report = tokio::time::timeout(WORKLOAD_MAX, perform(&order, bench.workload)) => {
            report.context("the workload did not end within its time")??
        }
        () = told_to_stop() => return Err(anyhow::anyhow!("stopped by a signal").into()),
    };
    print(&report, json)
}

fn print(report: &Report, json: bool) -> Outcome {
    if json {
        return put_json(report);
    }
    put(report.text().trim_end());
    Ok(())
}

async fn perform(order: &Order, workload: Workload) -> anyhow::Result<Report> {
    match workload {
        Workload::All => bail!("`all` runs every workload in a process of its own"),
        Workload::Floors => floors::run(order).await,
        Workload::B1 => b1::run(order).await,
        Workload::B2 => b2::run(order).await,
        Workload::B3 => b3::run(order).await,
        Workload::B4 => b4::run(order).await,
        Workload::B5 => b5::run(order).await,
        Workload::B6 => b6::run(order).await,
        Workload::B7 => b7::run(order).await,
        Workload::B8 => b8::run(order).await,
        Workload::B9 => audience::b9(order).await,
        Workload::B10 => audience::b10(order).await,
        Workload::B11 => audience::b11(order).await,
        Workload::B12 => billing::b12(order).await,
        Workload::B13 => billing::b13(order).await,
        Workload::B14 => b14::run(order).await,
        Workload::B15 => b15::run(order).await,
        Workload::B16 => b16::run(order).await,
    }
}

/// Runs each workload in a process of its own, so that none inherits another's memory. One that fails does not keep the others from running.
async fn all(bench: &Bench, json: bool) -> Outcome {
    let mut failed = Vec::new();
    for workload in Workload::value_variants().iter().filter(|workload| **workload != Workload::All) {
        let name = workload.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
        say(&format!("Running {name} …"));
        match in_own_process(bench, &name).await {
            Ok(report) => print(&report, json)?,
            Err(error) => {
                say(&format!("{name} failed: {error:#}"));
                failed.push(name);
            }
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(anyhow::anyhow!("failed: {}", failed.join(", ")).into()) }
}

async fn in_own_process(bench: &Bench, name: &str) -> anyhow::Result<Report> {
    let mut command = Command::new(env::current_exe()?);
    command.args(["bench", name, "--json", "--database", &bench.database]).stdin(Stdio::null()).stdout(Stdio::piped());
    if let Some(messages) = bench.messages {
        command.args(["--messages", &messages.to_string()]);
    }
    if let Some(directory) = &bench.directory {
        command.arg("--directory").arg(directory);
    }
    let process = command.spawn()?;
    let pid = Pid::from_child(&process);
    let mut output = tokio::task::spawn_blocking(move || process.wait_with_output());
    let output = tokio::select! {
        output = &mut output => output??,
        () = told_to_stop() => {
            // It clears up after itself, and ends.
            kill_process(pid, Signal::TERM)?;
            output.await??;
            bail!("stopped by a signal");
        }
    };
    if !output.status.success() {
        bail!("it ended with {}", output.status);
    }
    serde_json::from_slice(&output.stdout).context("its report cannot be read")
}

/// Waits for ctrl-c or SIGTERM.
async fn told_to_stop() {
    use tokio::signal::unix::{SignalKind, signal};
    match (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) {
        (Ok(mut term), Ok(mut interrupt)) => tokio::select! {
            _ = term.recv() => {}
            _ = interrupt.recv() => {}
        },
        // Without them the system ends us at once; there is nothing to wait for.
        _ => std::future::pending().await,
    }
}
