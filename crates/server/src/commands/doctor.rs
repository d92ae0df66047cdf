//! `tidings doctor`: the configuration in force, and whether what it leads to works. Changes nothing.

use std::path::Path;

use clap::Args;
use engine::vault::Vault;
use serde::Serialize;
use store::{Db, Scope};

use crate::{
    cli::{Failure, Outcome, put, put_json, put_table},
    config::{Config, Effective, keys},
    home,
};

/// Differences in the books that are printed, each on a line of its own: more than anybody reads.
const LINES_MAX: usize = 1_000;

#[derive(Serialize)]
struct Report<'a> {
    version: &'static str,
    settings: &'a [Effective],
    checks: Vec<Check>,
    warnings: Vec<String>,
}

#[derive(Serialize)]
struct Check {
    name: &'static str,
    ok: bool,
    detail: String,
}

impl Check {
    fn new(name: &'static str, result: Result<String, String>) -> Self {
        let ok = result.is_ok();
        Self { name, ok, detail: result.unwrap_or_else(|problem| problem) }
    }
}

/// What to show.
#[derive(Debug, Args)]
pub struct Doctor {
    /// Print every setting there is, explained, instead
    #[arg(long)]
    settings: bool,
    /// Verify the audit log too: every entry of every tenant's against the chain of hashes
    #[arg(long)]
    audit: bool,
    /// Check the books too: usage, plans, ledgers and invoices against a recount of all messages
    #[arg(long)]
    ledger: bool,
}

/// Prints the report; fails when a check does.
pub async fn run(config: &Config, doctor: Doctor, json: bool) -> Outcome {
    if doctor.settings {
        put(keys::reference().trim_end());
        return Ok(());
    }
    let mut warnings = config.warnings();
    warnings.extend(home::key_file_warning(config));
    let mut checks = vec![
        Check::new("data directory", data_dir(&config.data_dir)),
        Check::new("database", database(config).await),
        Check::new("secrets", secrets(config).await),
    ];
    if doctor.audit {
        checks.push(Check::new("audit log", audit(config).await));
    }
    if doctor.ledger {
        checks.push(Check::new("ledger", ledger(config).await));
    }
    let report = Report { version: env!("CARGO_PKG_VERSION"), settings: &config.effective, checks, warnings };
    if json {
        put_json(&report)?;
    } else {
        print(&report);
    }
    let failed: Vec<&str> = report.checks.iter().filter(|check| !check.ok).map(|check| check.name).collect();
    if failed.is_empty() { Ok(()) } else { Err(Failure::Failed(anyhow::anyhow!("failed: {}", failed.join(", ")))) }
}

fn print(report: &Report<'_>) {
    let rows: Vec<_> = report.settings.iter().map(|s| [s.key.clone(), s.value.clone(), s.origin.clone()]).collect();
    put_table(["SETTING", "VALUE", "FROM"], &rows);
    put("");
    for check in &report.checks {
        put(&format!("{} {}: {}", if check.ok { "ok  " } else { "FAIL" }, check.name, check.detail));
    }
    for warning in &report.warnings {
        put(&format!("warn {warning}"));
    }
}

fn data_dir(path: &Path) -> Result<String, String> {
    match std::fs::metadata(path) {
        Ok(metadata) if !metadata.is_dir() => Err(format!("{} is no directory; set `data_dir` to one", path.display())),
        Ok(metadata) if metadata.permissions().readonly() => Err(format!("{} cannot be written to", path.display())),
        Ok(_) => Ok(path.display().to_string()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Ok(format!("{} is not there yet; the first start makes it", path.display()))
        }
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

/// The open database and its version; `None` when there is none yet.
async fn open(config: &Config) -> Result<Option<(Db, i64)>, String> {
    if config.sqlite_file().is_some_and(|file| !file.exists()) {
        return Ok(None);
    }
    let db = Db::open(config.database_url.reveal()).map_err(|error| error.to_string())?;
    let version = db.read(Scope::System, |tx| Box::pin(store::version(tx))).await;
    let version = version.map_err(|error: store::Error| error.to_string())?;
    Ok(Some((db, version)))
}

async fn database(config: &Config) -> Result<String, String> {
    let newest = store::NEWEST;
    match open(config).await? {
        None | Some((_, 0)) => Ok("empty; the first start fills it".to_owned()),
        Some((_, version)) if version > newest => Err(format!(
            "version {version} is newer than this program, which knows versions up to {newest}: run the newer program"
        )),
        Some((_, version)) if version < newest => {
            Ok(format!("version {version}; `tidings migrate` or the next start brings it to {newest}"))
        }
        Some((_, version)) => Ok(format!("version {version}, the newest")),
    }
}

async fn secrets(config: &Config) -> Result<String, String> {
    let Some((db, 1..)) = open(config).await? else { return Ok("nothing is sealed yet".to_owned()) };
    let Some(master) = home::configured_master(config).map_err(|error| error.to_string())? else {
        return Ok("no master key yet; the first start makes one".to_owned());
    };
    let first = master.keys.first_id().to_owned();
    let in_use = Vault::new(master.keys).check(&db).await.map_err(|error| error.detail)?;
    let used: Vec<String> = in_use.iter().map(|(id, count)| format!("{count} data keys by `{id}`")).collect();
    let used =
        if used.is_empty() { "nothing is sealed yet".to_owned() } else { format!("sealed: {}", used.join(", ")) };
    Ok(format!("master key `{first}` seals; {used}"))
}

async fn audit(config: &Config) -> Result<String, String> {
    let Some((db, version @ 1..)) = open(config).await? else { return Ok("nothing is logged yet".to_owned()) };
    if version < store::NEWEST {
        return Err("the database is older than this program: run `tidings migrate` first".to_owned());
    }
    let verified = engine::audit::verify(&db).await.map_err(|error| error.detail)?;
    let erased = match verified.erased {
        0 => String::new(),
        some => format!(", but for what {some} said of people who were erased"),
    };
    let counted = format!("{} entries in {} logs are as they were written{erased}", verified.entries, verified.logs);
    match verified.broken.is_empty() {
        true => Ok(counted),
        false => Err(format!("{}; {counted}", verified.broken.join("; "))),
    }
}

async fn ledger(config: &Config) -> Result<String, String> {
    let Some((db, version @ 1..)) = open(config).await? else { return Ok("nothing is counted yet".to_owned()) };
    if version < store::NEWEST {
        return Err("the database is older than this program: run `tidings migrate` first".to_owned());
    }
    let verified = engine::books::verify(&db).await.map_err(|error| error.detail)?;
    let counted = format!(
        "{} messages, {} movements of credit and {} invoices of {} tenants were recounted",
        verified.messages, verified.entries, verified.invoices, verified.tenants
    );
    let told = verified.differences.iter().map(ToString::to_string);
    let told: Vec<String> = told.chain(verified.more.iter().map(ToString::to_string)).collect();
    match verified.count() {
        0 => Ok(format!("{counted}, and everything adds up")),
        some => {
            let beyond = told.len().saturating_sub(LINES_MAX);
            let mut lines = vec![format!("{some} differences; {counted}")];
            lines.extend(told.into_iter().take(LINES_MAX));
            lines.extend((beyond > 0).then(|| format!("and {beyond} lines like these")));
            Err(lines.join("\n     "))
        }
    }
}
