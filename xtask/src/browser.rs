//! Chromium and what drives it: Debian's package, and two packages from the npm registry, by the lock file beside the tests, into `target/browser`.

use std::{
    env,
    ffi::OsString,
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, bail};

use crate::packages;

/// Where the scripts and the lock file are.
const SOURCES: &str = "crates/server/tests/browser";

/// A browser that can be driven.
pub(crate) struct Browser {
    chromium: PathBuf,
    directory: PathBuf,
}

impl Browser {
    /// What the tests read.
    pub(crate) fn environment(&self) -> [(&'static str, OsString); 2] {
        [
            ("TIDINGS_TEST_BROWSER_DIR", self.directory.clone().into()),
            ("TIDINGS_TEST_CHROMIUM", self.chromium.clone().into()),
        ]
    }
}

/// Installs what is missing. Fetches nothing when the lock file is the one that was installed last.
pub(crate) fn prepare() -> anyhow::Result<Browser> {
    let chromium = packages::ensure_chromium()?;
    packages::ensure_node()?;
    let (sources, directory) = (root().join(SOURCES), root().join("target/browser"));
    fs::create_dir_all(&directory)?;
    let lock = fs::read(sources.join("package-lock.json"))?;
    let is_there = directory.join("node_modules/playwright-core").is_dir()
        && fs::read(directory.join("package-lock.json")).is_ok_and(|installed| installed == lock);
    if !is_there {
        fs::copy(sources.join("package.json"), directory.join("package.json"))?;
        fs::write(directory.join("package-lock.json"), lock)?;
        let status = Command::new("npm")
            .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
            .current_dir(&directory)
            .stdout(std::io::stderr())
            .status()
            .context("cannot run npm")?;
        if !status.success() {
            // Half an installation must not pass for a whole one the next time.
            fs::remove_file(directory.join("package-lock.json"))?;
            bail!("npm ci failed ({status})");
        }
    }
    Ok(Browser { chromium, directory })
}

/// Makes a picture of every page of a demo installation: light and dark, wide and narrow.
pub(crate) fn screenshots() -> anyhow::Result<()> {
    let browser = prepare()?;
    let target = root().join("target/screenshots");
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo).args(["build", "-p", "tidings"]).current_dir(root()).status()?;
    if !built.success() {
        bail!("the program could not be built");
    }
    let data = target.join("data");
    // A demo from an earlier run would have lost its sign-in: it is shown once.
    match fs::remove_dir_all(&data) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        _ => fs::create_dir_all(&data)?,
    }
    let (_server, announced) = Server::start(&data)?;
    let status = Command::new("node")
        .arg(root().join(SOURCES).join("screenshots.mjs"))
        .args([announced.trim(), &target.display().to_string()])
        .envs(browser.environment())
        .status()
        .context("cannot run node")?;
    if !status.success() {
        bail!("the pictures could not be made ({status})");
    }
    println!("xtask: the pictures are in {}", target.display());
    Ok(())
}

/// A running demo; killed when dropped.
struct Server(Child);

impl Server {
    /// Starts one and answers what it announced, a line of JSON.
    fn start(data: &Path) -> anyhow::Result<(Self, String)> {
        let mut child = Command::new(root().join("target/debug/tidings"))
            .args(["demo", "--json"])
            .env("TIDINGS_DATA_DIR", data)
            .env("TIDINGS_LISTEN", "127.0.0.1:0")
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start the program")?;
        let mut line = String::new();
        let out = child.stdout.take().context("the program has a standard output")?;
        let server = Self(child);
        BufReader::new(out).read_line(&mut line)?;
        Ok((server, line))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The root of the workspace.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_path_buf).unwrap_or_default()
}
