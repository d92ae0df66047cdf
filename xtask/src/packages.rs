//! The servers the tests talk to: found, installed from Debian's packages when we are root, or asked for by name.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, bail};

/// The oldest PostgreSQL that is supported, and tested.
const POSTGRES_MIN: u32 = 15;
/// Where Debian and its relatives keep each version's server programs, outside PATH.
const POSTGRES_HOME: &str = "/usr/lib/postgresql";
/// Where mail servers live; often not in the PATH of ordinary users.
const SBIN: [&str; 2] = ["/usr/sbin", "/usr/local/sbin"];

/// The directory with `initdb`, `pg_ctl` and `psql` of PostgreSQL 15 or newer.
pub(crate) fn ensure_postgres() -> anyhow::Result<PathBuf> {
    if let Some(bin) = find_postgres() {
        return Ok(bin);
    }
    install("postgresql", "PostgreSQL 15 or newer (server programs: initdb, pg_ctl)")?;
    find_postgres().context("the package `postgresql` brought no PostgreSQL 15 or newer; install one and try again")
}

/// The directory with `postfix`, `postconf` and their relatives. Does not start Postfix.
pub(crate) fn ensure_postfix() -> anyhow::Result<PathBuf> {
    let has_postfix = |directory: &PathBuf| directory.join("postfix").is_file() && directory.join("postconf").is_file();
    let find = || path().chain(SBIN.map(PathBuf::from)).find(has_postfix);
    if !is_root() {
        bail!("Postfix runs as root only; run `cargo xtask test` as root, for example in a container");
    }
    if let Some(directory) = find() {
        return Ok(directory);
    }
    install("postfix", "Postfix")?;
    find().context("the package `postfix` brought no `postfix` program")
}

/// Chromium, as Debian packages it.
pub(crate) fn ensure_chromium() -> anyhow::Result<PathBuf> {
    let find = || path().map(|directory| directory.join("chromium")).find(|program| program.is_file());
    if let Some(program) = find() {
        return Ok(program);
    }
    install("chromium", "Chromium")?;
    find().context("the package `chromium` brought no `chromium` program")
}

/// Node and npm, which drive the browser.
pub(crate) fn ensure_node() -> anyhow::Result<()> {
    let has = |name: &str| path().any(|directory| directory.join(name).is_file());
    for (program, package) in [("node", "nodejs"), ("npm", "npm")] {
        if !has(program) {
            install(package, program)?;
        }
    }
    Ok(())
}

/// True when this process may install packages, and when PostgreSQL would refuse to run as us.
pub(crate) fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

fn find_postgres() -> Option<PathBuf> {
    let mut versions: Vec<(u32, PathBuf)> = fs::read_dir(POSTGRES_HOME)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok())
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .collect();
    versions.sort();
    let newest = versions.into_iter().rev().map(|(_, bin)| bin);
    // A `postgres` in PATH may be a link, with none of its companions beside it.
    let linked =
        path().filter_map(|directory| Some(fs::canonicalize(directory.join("postgres")).ok()?.parent()?.to_path_buf()));
    newest.chain(linked).find(|bin| is_usable(bin))
}

fn is_usable(bin: &Path) -> bool {
    let has_all = ["initdb", "pg_ctl", "psql"].iter().all(|program| bin.join(program).is_file());
    has_all && version(bin).is_some_and(|version| version >= POSTGRES_MIN)
}

/// The major version: `postgres --version` says "postgres (PostgreSQL) 15.4 (…)".
fn version(bin: &Path) -> Option<u32> {
    let output = Command::new(bin.join("postgres")).arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let number = text.split_whitespace().nth(2)?;
    number.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

fn install(package: &str, what: &str) -> anyhow::Result<()> {
    let has_apt = path().any(|directory| directory.join("apt-get").is_file());
    if !is_root() || !has_apt {
        bail!("{what} is missing. Install it, on Debian or Ubuntu with: sudo apt-get install {package}");
    }
    eprintln!("xtask: installing the package {package}");
    apt(&["update", "-q"])?;
    apt(&["install", "-y", "-q", "--no-install-recommends", package])
        .with_context(|| format!("{what} could not be installed; install the package {package} by hand"))
}

fn apt(arguments: &[&str]) -> anyhow::Result<()> {
    // Runlevel 1 keeps the package's scripts from starting the service: the tests start their own.
    let mut command = Command::new("apt-get");
    command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive").env("RUNLEVEL", "1");
    command.stdout(std::io::stderr());
    let status = command.status().context("cannot run apt-get")?;
    if !status.success() {
        bail!("apt-get {} failed ({status})", arguments.join(" "));
    }
    Ok(())
}

fn path() -> impl Iterator<Item = PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).collect::<Vec<_>>().into_iter()
}
