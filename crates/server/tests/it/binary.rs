//! Runs the binary with a data directory of its own and none of the environment's settings.
//!
//! `TIDINGS_TEST_BINARY` names another build of the program to test, such as a release build.

use std::{
    env,
    ffi::OsString,
    fs::{self, File},
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Output, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use testkit::TempDir;

/// An installation: a directory, and the settings every command gets.
pub struct Installation {
    directory: TempDir,
    settings: Vec<(String, String)>,
    /// Servers started so far: each has a log of its own.
    started: AtomicU32,
}

/// What a command said, and how it ended.
pub struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Said {
    /// Standard output as JSON, after success.
    #[track_caller]
    pub fn json(&self) -> Value {
        assert_eq!(self.code, 0, "{}", self.err);
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}", self.out))
    }
}

impl Installation {
    /// On SQLite, in a new directory.
    pub fn new() -> Self {
        Self { directory: TempDir::new(), settings: Vec::new(), started: AtomicU32::new(0) }
    }

    /// On the database of a test.
    pub fn on(db: &testkit::TestDb) -> Self {
        Self::new().with("TIDINGS_DATABASE_URL", &db.url)
    }

    /// With one more variable for every command.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The data directory; not there before the first command makes it.
    pub fn data_dir(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// The working directory of every command.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program());
        command.env_clear().current_dir(self.directory()).args(arguments).stdin(Stdio::null());
        command.env("TIDINGS_DATA_DIR", self.data_dir()).env("TIDINGS_LISTEN", "127.0.0.1:0");
        command.envs(self.settings.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs a command to its end.
    pub fn run(&self, arguments: &[&str]) -> Said {
        let Output { status, stdout, stderr } = self.command(arguments).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Said { code: status.code().unwrap_or(-1), out: text(stdout), err: text(stderr) }
    }

    /// Starts a server and waits until it says where it is.
    pub fn serve(&self, arguments: &[&str]) -> Server {
        let number = self.started.fetch_add(1, Ordering::Relaxed);
        let log = self.directory().join(format!("serve-{number}.log"));
        // A file and no pipe: nobody reads while the test does something else, and a full pipe would stop the server.
        let err = Stdio::from(File::create(&log).unwrap());
        let mut child = self.command(arguments).arg("--json").stdout(Stdio::piped()).stderr(err).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        let mut server = Server { child, out, log, announced: Value::Null };
        match serde_json::from_str(&line) {
            Ok(announced) => server.announced = announced,
            Err(_) => panic!("the server did not start: {}", server.stop(Signal::TERM).err),
        }
        server
    }
}

/// What is run.
fn program() -> OsString {
    env::var_os("TIDINGS_TEST_BINARY").unwrap_or_else(|| env!("CARGO_BIN_EXE_tidings").into())
}

/// A running server; killed when dropped.
pub struct Server {
    child: Child,
    out: BufReader<ChildStdout>,
    log: PathBuf,
    /// What it said when it was ready.
    pub announced: Value,
}

impl Server {
    /// Where it answers.
    pub fn url(&self) -> &str {
        self.announced["url"].as_str().unwrap()
    }

    /// Asks for a path; answers status and body.
    pub fn get(&self, path: &str) -> (u16, String) {
        let authority = self.url().strip_prefix("http://").unwrap();
        let mut stream = TcpStream::connect(authority).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: {authority}\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    /// Sends a signal and waits for the end.
    pub fn stop(mut self, signal: Signal) -> Said {
        let _ = kill_process(Pid::from_child(&self.child), signal);
        let mut out = String::new();
        self.out.read_to_string(&mut out).unwrap();
        let code = self.child.wait().unwrap().code().unwrap_or(-1);
        Said { code, out, err: fs::read_to_string(&self.log).unwrap() }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
