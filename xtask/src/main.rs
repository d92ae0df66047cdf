//! What developers run besides cargo: `cargo xtask test`, `cargo xtask screenshots` and `cargo xtask postgres`.
//!
//! Makes sure that the servers the tests talk to are installed, starts a PostgreSQL of its own that leaves nothing behind, and runs the tests with
//! it. Never touches a PostgreSQL or Postfix that already runs on the machine.
#![allow(clippy::print_stdout, reason = "a command line tool talks to its terminal")]

mod browser;
mod cluster;
mod packages;

use std::{
    env,
    ffi::OsString,
    io::Read as _,
    num::NonZero,
    process::{Command, ExitCode, Stdio},
    thread,
};

use anyhow::{Context as _, bail};

use cluster::Cluster;

/// Tells nextest how many tests to run at once.
const THREADS: &str = "NEXTEST_TEST_THREADS";

const HELP: &str = "\
cargo xtask test [ARGUMENTS]   run every test; further arguments go to `cargo nextest run` or `cargo test`
    cargo xtask test -p tidings-store
cargo xtask screenshots        make pictures of every page of the console into target/screenshots
cargo xtask postgres           run a throwaway PostgreSQL until ctrl-c and print the URL for the tests
    export TIDINGS_TEST_POSTGRES_URL=… ; cargo test -p tidings-store
";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["test", rest @ ..] => test(rest),
        ["screenshots"] => browser::screenshots(),
        ["postgres"] => postgres(),
        ["help" | "--help" | "-h"] => {
            print!("{HELP}");
            Ok(())
        }
        _ => {
            eprint!("{HELP}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the tests of the workspace, or of what `rest` selects, against a PostgreSQL of their own.
fn test(rest: &[&str]) -> anyhow::Result<()> {
    let cluster = Cluster::start()?;
    let mut environment = vec![("TIDINGS_TEST_POSTGRES_URL", OsString::from(cluster.url()))];
    println!("xtask: PostgreSQL at {}", cluster.url());
    match packages::ensure_postfix() {
        Ok(directory) => {
            println!("xtask: Postfix in {}", directory.display());
            environment.extend([("TIDINGS_TEST_POSTFIX", "1".into()), ("TIDINGS_TEST_POSTFIX_DIR", directory.into())]);
        }
        Err(error) => eprintln!("xtask: the tests against Postfix will fail: {error:#}"),
    }
    match browser::prepare() {
        Ok(browser) => environment.extend(browser.environment()),
        Err(error) => eprintln!("xtask: the tests in a browser will fail: {error:#}"),
    }
    if env::var_os(THREADS).is_none() {
        environment.push((THREADS, threads().to_string().into()));
    }
    for mut command in test_commands(rest) {
        let status = command.envs(environment.clone()).status().with_context(|| format!("cannot run {command:?}"))?;
        if !status.success() {
            bail!("the tests failed ({status}); what failed stands above");
        }
    }
    drop(cluster);
    println!("xtask: every test passed; PostgreSQL is stopped and removed");
    Ok(())
}

/// How many tests nextest runs at once: two more than there are cores, for those that wait for half a minute to be over (see `.config/nextest.toml`).
fn threads() -> usize {
    thread::available_parallelism().map_or(2, NonZero::get) + 2
}

/// nextest where it is installed, which runs each test in a process of its own and is quicker, and then the examples in the documentation, which it
/// leaves out. A selection of tests is run alone.
fn test_commands(rest: &[&str]) -> Vec<Command> {
    let cargo = || Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    let probe = cargo().args(["nextest", "--version"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    let has_nextest = probe.is_ok_and(|status| status.success());
    let mut tests = cargo();
    tests.args(if has_nextest { &["nextest", "run"][..] } else { &["test"] });
    if !rest.iter().any(|argument| argument.starts_with("-p") || argument.starts_with("--package")) {
        tests.arg("--workspace");
    }
    tests.args(rest);
    if !has_nextest || !rest.is_empty() {
        return vec![tests];
    }
    let mut examples = cargo();
    examples.args(["test", "--quiet", "--workspace", "--doc"]);
    vec![tests, examples]
}

/// Keeps a PostgreSQL running until ctrl-c, or until standard input ends.
fn postgres() -> anyhow::Result<()> {
    let cluster = Cluster::start()?;
    println!("export TIDINGS_TEST_POSTGRES_URL={}", cluster.url());
    eprintln!("xtask: PostgreSQL runs until ctrl-c; nothing in it is kept");
    // Ctrl-c ends this process at once; the cluster's guardian then stops PostgreSQL and removes its files.
    let mut byte = [0];
    while std::io::stdin().read(&mut byte).is_ok_and(|count| count > 0) {}
    Ok(())
}
