//! The command line: which commands there are, their flags, and how they end.
//!
//! Data goes to standard output, words for people to standard error. Exit 0 is success, 2 is misuse (of the command line or the configuration), 1 is
//! every other failure.

use std::{
    env,
    io::{self, Write as _},
    process::ExitCode,
};

use clap::{Args, Parser, Subcommand};

use crate::{
    commands,
    config::{Config, ConfigError, Flags},
};

/// Sends messages on every channel and tells exactly what became of each.
#[derive(Debug, Parser)]
#[command(name = "tidings", version, subcommand_required = true, arg_required_else_help = true)]
#[command(after_help = "Examples:\n  tidings serve\n  tidings tenant create \"Acme Tickets\"\n  tidings doctor")]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Flags every command takes.
#[derive(Debug, Args)]
pub struct Global {
    /// Configuration file [default: tidings.toml, when there is one]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<std::path::PathBuf>,
    /// Sets any setting of docs/configuration.md; may be repeated
    #[arg(long, global = true, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Where the API listens
    #[arg(long, global = true, value_name = "ADDRESS:PORT")]
    listen: Option<String>,
    /// Where files live
    #[arg(long, global = true, value_name = "PATH")]
    data_dir: Option<String>,
    /// sqlite:PATH or postgres://…
    #[arg(long, global = true, value_name = "URL")]
    database_url: Option<String>,
    /// Where the world reaches this server
    #[arg(long, global = true, value_name = "URL")]
    public_url: Option<String>,
    /// Print JSON to standard output
    #[arg(long, global = true)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the API, the dispatcher and every background job in one process
    #[command(after_help = "Example:\n  tidings serve --listen 0.0.0.0:8080 --public-url https://tidings.example.com")]
    Serve,
    /// The same with a demo tenant that has a small campaign under way; nothing leaves this machine
    #[command(after_help = "Example:\n  tidings demo --data-dir /tmp/tidings-demo")]
    Demo,
    /// Bring the database to the version this program knows
    #[command(after_help = "Example:\n  tidings migrate --database-url postgres://tidings@db.internal/tidings")]
    Migrate,
    /// Show the configuration in force, check what it leads to, and warn
    #[command(after_help = "Example:\n  tidings doctor --json")]
    Doctor(commands::doctor::Doctor),
    /// Count every message again, and correct the sums that analytics, usage by day and alerts read. Servers may keep running
    #[command(after_help = "Example:\n  tidings recount --tenant ten_01K9ZC0A1B2C3D4E5F6G7H8J9K")]
    Recount(commands::recount::Recount),
    /// Make and list tenants
    #[command(subcommand, after_help = "Example:\n  tidings tenant create \"Acme Tickets\" --json")]
    Tenant(commands::tenant::Tenant),
    /// Make, list and revoke API keys
    #[command(
        subcommand,
        after_help = "Example:\n  tidings key create --tenant ten_01K9ZC8Q6T7Y2V5B3N4M1XWRSD --name deploy"
    )]
    Key(commands::key::Key),
    /// Make and list people who sign in, and help those who forgot their password
    #[command(
        subcommand,
        after_help = "Example:\n  tidings user create --email ada@example.com --tenant ten_01K9ZC8Q6T7Y2V5B3N4M1XWRSD --role owner"
    )]
    User(commands::user::User),
    /// Send one message through a running server
    #[command(
        after_help = "Example:\n  TIDINGS_API_KEY=tdk_… tidings send --to ada@example.com --subject Hello --text 'Hello Ada'"
    )]
    Send(commands::send::Send),
    /// Follow a tenant's events as they happen
    #[command(after_help = "Example:\n  TIDINGS_API_KEY=tdk_… tidings tail")]
    Tail(commands::tail::Tail),
    /// Work on the master key
    #[command(subcommand, after_help = "Example:\n  TIDINGS_MASTER_KEY=new:…,old:… tidings master-key rotate")]
    MasterKey(commands::master_key::MasterKey),
    /// Simulate every provider on this machine, to develop and test against
    #[command(after_help = "Example:\n  tidings provider-sim --listen 127.0.0.1:9100")]
    ProviderSim(commands::provider_sim::ProviderSim),
    /// Measure how fast this build is on this machine
    #[command(
        after_help = "Example:\n  tidings bench b1\n  tidings bench all --database postgres://tidings@127.0.0.1/postgres --json"
    )]
    Bench(crate::bench::Bench),
}

/// Why a command failed.
#[derive(Debug)]
pub enum Failure {
    /// The command line or the configuration cannot be used: exit 2.
    Misuse(String),
    /// Anything else: exit 1.
    Failed(anyhow::Error),
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        let error = error.into();
        if let Some(ConfigError(line)) = error.downcast_ref() {
            return Self::Misuse(line.clone());
        }
        if let Some(store::Error::Config(line)) = error.downcast_ref() {
            return Self::Misuse(line.clone());
        }
        Self::Failed(error)
    }
}

/// How a command ends.
pub type Outcome = Result<(), Failure>;

/// Reads the command line, runs the command, and answers the exit code.
pub fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help goes to standard output and exits 0, misuse to standard error and exits 2.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS };
        }
    };
    match start(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Misuse(line)) => {
            say(&format!("tidings: {line}"));
            ExitCode::from(2)
        }
        Err(Failure::Failed(error)) => {
            say(&format!("tidings: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn start(cli: Cli) -> Outcome {
    let json = cli.global.json;
    let listen = cli.global.listen.clone();
    let environment =
        env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let config = Config::load(&cli.global.flags(), environment)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async move {
        match cli.command {
            Command::Serve => commands::serve::run(config, false, json).await,
            Command::Demo => commands::serve::run(config, true, json).await,
            Command::Migrate => commands::migrate::run(&config, json).await,
            Command::Doctor(command) => commands::doctor::run(&config, command, json).await,
            Command::Recount(command) => commands::recount::run(&config, command, json).await,
            Command::Tenant(command) => commands::tenant::run(&config, command, json).await,
            Command::Key(command) => commands::key::run(&config, command, json).await,
            Command::User(command) => commands::user::run(&config, command, json).await,
            Command::Send(command) => commands::send::run(&config, command, json).await,
            Command::Tail(command) => commands::tail::run(&config, command, json).await,
            Command::MasterKey(command) => commands::master_key::run(&config, command, json).await,
            Command::ProviderSim(command) => {
                commands::provider_sim::run(&config, listen.as_deref(), command, json).await
            }
            Command::Bench(bench) => crate::bench::run(bench, json).await,
        }
    })
}

impl Global {
    fn flags(&self) -> Flags {
        let named = [
            ("listen", &self.listen),
            ("data_dir", &self.data_dir),
            ("database_url", &self.database_url),
            ("public_url", &self.public_url),
        ];
        Flags {
            file: self.config.clone(),
            named: named.into_iter().filter_map(|(path, value)| Some((path, value.clone()?))).collect(),
            set: self.set.clone(),
        }
    }
}

/// Tells people something, on standard error.
pub fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Puts a line of data on standard output. A reader that has gone away (`| head`) is no failure.
pub fn put(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// Puts a value on standard output as JSON in one line.
pub fn put_json(value: &impl serde::Serialize) -> Outcome {
    put(&serde_json::to_string(value)?);
    Ok(())
}

/// Puts rows on standard output in columns as wide as they need to be.
pub fn put_table<const N: usize>(head: [&str; N], rows: &[[String; N]]) {
    let width = |column: usize| {
        rows.iter().map(|row| row[column].chars().count()).chain([head[column].chars().count()]).max().unwrap_or(0)
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let line = |cells: [&str; N]| {
        let cells: Vec<String> = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        cells.join("  ").trim_end().to_owned()
    };
    put(&line(head));
    for row in rows {
        put(&line(std::array::from_fn(|column| row[column].as_str())));
    }
}
