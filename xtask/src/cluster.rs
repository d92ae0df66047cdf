//! A throwaway PostgreSQL cluster, in memory where the system has room for files there, else in a temporary directory.
//!
//! Stopping it is left to a guardian: a small shell that waits for the end of its standard input. That input is a pipe only this process holds, so
//! the guardian acts when the [`Cluster`] is dropped, after ctrl-c, and even when this process is killed.

use std::{
    env, fs,
    io::Read as _,
    net::TcpListener,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{self, Child, Command, Stdio},
};

use anyhow::{Context as _, bail};

use crate::packages;

/// The account of Debian's package; PostgreSQL refuses to run as root.
const SYSTEM_USER: &str = "postgres";

/// A running cluster. Dropping it stops PostgreSQL and removes its files.
pub(crate) struct Cluster {
    port: u16,
    guardian: Child,
}

/// How to run PostgreSQL's programs: where they are, where the cluster is, and as whom.
struct Programs {
    bin: PathBuf,
    home: PathBuf,
    as_root: bool,
}

impl Cluster {
    /// Makes and starts a cluster with a role `tidings` that may create databases and is no superuser, so that row-level security holds for it.
    pub(crate) fn start() -> anyhow::Result<Self> {
        let bin = packages::ensure_postgres()?;
        let as_root = packages::is_root();
        let home = new_home(as_root)?;
        let programs = Programs { bin, home, as_root };
        // From here on the guardian cleans up, also when one of the next steps fails.
        let mut guardian = programs.guardian()?;
        match programs.start() {
            Ok(port) => Ok(Self { port, guardian }),
            Err(error) => {
                stop(&mut guardian);
                Err(error)
            }
        }
    }

    /// For `TIDINGS_TEST_POSTGRES_URL`.
    pub(crate) fn url(&self) -> String {
        format!("postgres://tidings:tidings@127.0.0.1:{}/postgres", self.port)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        stop(&mut self.guardian);
    }
}

/// Closes the guardian's input, which is what it waits for, and waits until everything is gone.
fn stop(guardian: &mut Child) {
    drop(guardian.stdin.take());
    let _ = guardian.wait();
}

impl Programs {
    fn start(&self) -> anyhow::Result<u16> {
        let data = self.data();
        let mut initdb = self.program("initdb");
        initdb
            .args(["--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C", "--no-sync", "-D"])
            .arg(&data);
        run(&mut initdb)?;
        let port = free_port()?;
        // Nothing here has to survive a power cut; no sockets in the file system, whose paths have a length limit.
        let settings = format!(
            "port = {port}\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = ''\nmax_connections = 200\n\
             fsync = off\nsynchronous_commit = off\nfull_page_writes = off\nautovacuum_naptime = 10s\n"
        );
        let configuration = data.join("postgresql.conf");
        let mut text = fs::read_to_string(&configuration).with_context(|| configuration.display().to_string())?;
        text.push_str(&settings);
        fs::write(&configuration, text).with_context(|| configuration.display().to_string())?;
        let log = self.home.join("log");
        let mut start = self.program("pg_ctl");
        start.arg("start").arg("--wait").arg("-D").arg(&data).arg("-l").arg(&log);
        // The server inherits its output; a pipe would be kept open by it.
        start.stdout(Stdio::null()).stderr(Stdio::null());
        if !start.status().with_context(|| format!("cannot run {start:?}"))?.success() {
            bail!("PostgreSQL did not start:\n{}", fs::read_to_string(&log).unwrap_or_default());
        }
        let role = "CREATE ROLE tidings LOGIN PASSWORD 'tidings' CREATEDB NOSUPERUSER";
        let mut psql = self.program("psql");
        psql.args(["-h", "127.0.0.1", "-p", &port.to_string(), "-U", "postgres", "-d", "postgres", "-qc", role]);
        run(&mut psql)?;
        Ok(port)
    }

    fn guardian(&self) -> anyhow::Result<Child> {
        let script = r#"trap '' INT TERM HUP; read -r _; "$1/pg_ctl" stop -s -m immediate -D "$2/data" >/dev/null 2>&1; rm -rf "$2""#;
        let mut guardian = self.as_owner(Path::new("sh"));
        guardian.args(["-c", script, "guardian"]).arg(&self.bin).arg(&self.home);
        // A process group of its own, so that ctrl-c in the terminal does not reach it.
        guardian.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        guardian.spawn().context("cannot start the shell that stops PostgreSQL")
    }

    fn program(&self, name: &str) -> Command {
        self.as_owner(&self.bin.join(name))
    }

    /// A command as the user who owns the cluster.
    fn as_owner(&self, program: &Path) -> Command {
        let mut command = if self.as_root {
            let mut command = Command::new("runuser");
            command.args(["-u", SYSTEM_USER, "--"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        // The directory we are in may be closed to that user.
        command.current_dir(&self.home).env("LC_ALL", "C");
        command
    }

    fn data(&self) -> PathBuf {
        self.home.join("data")
    }
}

/// Where Linux keeps files in memory. Each test makes a database, which is hundreds of small files: on a disk that takes a third of the whole suite's time.
const MEMORY: &str = "/dev/shm";

fn new_home(as_root: bool) -> anyhow::Result<PathBuf> {
    let memory = Path::new(MEMORY);
    let directory = if memory.is_dir() { memory.to_owned() } else { env::temp_dir() };
    let home = directory.join(format!("tidings-postgres-{}", process::id()));
    fs::create_dir(&home).with_context(|| format!("cannot create {}", home.display()))?;
    if as_root {
        run(Command::new("chown").arg(SYSTEM_USER).arg(&home))?;
    }
    Ok(home)
}

/// A port nobody listens on right now. The system hands out others before it comes back to this one.
fn free_port() -> anyhow::Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).context("no free port on 127.0.0.1")?;
    Ok(listener.local_addr()?.port())
}

/// Runs a command quietly; what it printed is the error when it fails.
fn run(command: &mut Command) -> anyhow::Result<()> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("cannot run {command:?}"))?;
    let mut said = String::new();
    if let Some(stderr) = &mut child.stderr {
        stderr.read_to_string(&mut said)?;
    }
    let status = child.wait()?;
    if !status.success() {
        bail!("{command:?} failed ({status}): {}", said.trim());
    }
    Ok(())
}
