//! `tidings doctor`: the configuration in force, and whether what it leads to works. Changes nothing.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::Args;
use engine::{audit::Head, vault::Vault};
use serde::Serialize;
use store::{Db, Scope};

use crate::{
    cli::{Failure, Outcome, put, put_json, put_table},
    config::{Config, Effective, keys},
    home, telemetry,
};

/// Differences in the books that are printed, each on a line of its own: more than anybody reads.
const LINES_MAX: usize = 1_000;

#[derive(Serialize)]
struct Report<'a> {
    version: &'static str,
    settings: &'a [Effective],
    checks: Vec<Check>,
    warnings: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    audit_heads: Option<Vec<String>>,
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
    /// Verify the audit log too: every entry of every tenant's against its seal and the chain of hashes
    #[arg(long)]
    audit: bool,
    /// Print how far each audit log has come, a line for each, to be kept somewhere else
    #[arg(long, requires = "audit")]
    heads: bool,
    /// Verify that each audit log still has what it had when its line was printed with `--heads` into this file
    #[arg(long, requires = "audit", value_name = "FILE")]
    kept: Option<PathBuf>,
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
    telemetry::errors();
    let mut warnings = config.warnings();
    warnings.extend(home::key_file_warning(config));
    warnings.extend(mail_tenant(config).await);
    let mut checks = vec![
        Check::new("data directory", data_dir(&config.data_dir)),
        Check::new("database", database(config).await),
        Check::new("secrets", secrets(config).await),
    ];
    let mut audit_heads = None;
    if doctor.audit {
        let (verified, heads) = match audit(config, doctor.kept.as_deref()).await {
            Ok((verified, heads)) => (verified, heads),
            Err(problem) => (Err(problem), Vec::new()),
        };
        checks.push(Check::new("audit log", verified));
        audit_heads = doctor.heads.then(|| heads.iter().map(line).collect());
    }
    if doctor.ledger {
        checks.push(Check::new("ledger", ledger(config).await));
    }
    let report =
        Report { version: env!("CARGO_PKG_VERSION"), settings: &config.effective, checks, warnings, audit_heads };
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
    for line in report.audit_heads.iter().flatten() {
        put(line);
    }
}

/// A head as it is printed, and read again.
fn line(head: &Head) -> String {
    let start = format!("head {} {} ", head.owner, head.number);
    head.hash.iter().fold(start, |line, byte| format!("{line}{byte:02x}"))
}

/// The heads among the lines of a file; other lines are passed over.
fn heads(text: &str) -> Result<Vec<Head>, String> {
    let mut heads = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let Some(rest) = line.strip_prefix("head ") else { continue };
        let head = match rest.split_whitespace().collect::<Vec<_>>()[..] {
            [owner, number, hash] => owner.parse().ok().zip(number.parse().ok()).zip(bytes(hash)),
            _ => None,
        };
        let ((owner, number), hash) =
            head.ok_or_else(|| format!("line {} is no head as `--heads` prints them", index + 1))?;
        heads.push(Head { owner, number, hash });
    }
    if heads.is_empty() {
        Err("there is no head in it; `tidings doctor --audit --heads` prints them".to_owned())
    } else {
        Ok(heads)
    }
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let pairs = hex.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).ok().filter(|pair| pair.len() == 2));
    pairs.map(|pair| u8::from_str_radix(pair?, 16).ok()).collect()
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

/// What verifying the audit logs came to, and their heads.
async fn audit(config: &Config, kept: Option<&Path>) -> Result<(Result<String, String>, Vec<Head>), String> {
    let kept = match kept {
        Some(path) => {
            let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
            heads(&text).map_err(|problem| format!("{}: {problem}", path.display()))?
        }
        None => Vec::new(),
    };
    let Some((db, version @ 1..)) = open(config).await? else {
        return Ok((Ok("nothing is logged yet".to_owned()), Vec::new()));
    };
    if version < store::NEWEST {
        return Err("the database is older than this program: run `tidings migrate` first".to_owned());
    }
    if let Some(master) = home::configured_master(config).map_err(|error| error.to_string())? {
        db.accompany(Arc::new(Vault::new(master.keys)));
    }
    let verified = engine::audit::verify_against(&db, &kept).await.map_err(|error| error.detail)?;
    let erased = match verified.erased {
        0 => String::new(),
        some => format!(", but for what {some} said of people who were erased"),
    };
    let since = match verified.sealed_since {
        Some(at) => format!("sealed since {at}, {} of them since they were last marked", verified.unmarked),
        None => "not sealed yet: the next start begins with that".to_owned(),
    };
    let counted = format!(
        "{} entries in {} logs are as they were written{erased}; they are {since}",
        verified.entries, verified.logs
    );
    let result = match verified.broken.is_empty() {
        true => Ok(counted),
        false => Err(format!("{}; {counted}", verified.broken.join("; "))),
    };
    Ok((result, verified.heads))
}

/// What is wrong with the tenant the installation itself writes through. Whether the database can be asked at all is a check of its own.
async fn mail_tenant(config: &Config) -> Option<String> {
    let tenant = config.mail_tenant?;
    let (db, _) = open(config).await.ok()?.filter(|(_, version)| *version >= store::NEWEST)?;
    let read = db.read(Scope::System, move |tx| Box::pin(async move { store::tenants::find(tx, tenant).await }));
    let found: Result<_, store::Error> = read.await;
    found.ok()?.is_none().then(|| {
        format!(
            "`mail_tenant` is {tenant}, and there is no such tenant: nobody hears of the operator's alerts by letter, event or stream, and invitations and password resets \
             do not leave through an account of the operator's. Name a tenant of your own."
        )
    })
}

async fn ledger(config: &Config) -> Result<String, String> {
    let Some((db, version @ 1..)) = open(config).await? else { return Ok("nothing is counted yet".to_owned()) };
    if version < store::NEWEST {
        return Err("the database is older than this program: run `tidings migrate` first".to_owned());
    }
    let verified = engine::books::verify_and_note(&db).await.map_err(|error| error.detail)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read_as_they_are_printed() {
        let head = Head { owner: model::TenantId::from_ulid(7), number: 12, hash: vec![0, 15, 255] };
        let text = format!("ok   audit log: fine\n{}\n", line(&head));
        assert_eq!(heads(&text), Ok(vec![head]));
        assert!(heads("head ten_1 x").unwrap_err().starts_with("line 1"));
        assert!(heads("ok").unwrap_err().contains("--heads"));
    }
}
