//! Log lines on standard error, and metrics for `GET /metrics`.

use std::io::{self, IsTerminal as _};

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use model::Clock;
use tracing_subscriber::EnvFilter;

use crate::config::{ConfigError, Log};

/// Bounds of histograms of durations, in seconds: from a group commit to a slow provider.
const SECONDS: &[f64] = &[
    0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0,
];
/// Bounds of every other histogram: sizes of batches and the like.
const COUNTS: &[f64] = &[1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0];
/// How often observed values are folded into their histograms. Without a scraper they would pile up.
const FOLD_MS: u64 = 5_000;

/// What libraries say too much of, unless `log.level` asks for it by name.
const QUIET: &str = "tokio_postgres=warn";

/// Starts logging. Called once, by commands that serve; others talk to people in plain sentences.
pub fn log(log: &Log) -> Result<(), ConfigError> {
    let filter = EnvFilter::try_new(format!("{QUIET},{}", log.level));
    let filter = filter.map_err(|error| ConfigError(format!("`log.level`: {error}")))?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    let started = if log.is_json {
        lines.json().flatten_event(true).try_init()
    } else {
        lines.with_ansi(io::stderr().is_terminal()).try_init()
    };
    started.map_err(|error| ConfigError(format!("logging cannot be started: {error}")))
}

/// Shows on standard error what is logged as an error and nothing else: for commands whose findings would only say that something went wrong, and that the log has the details.
pub fn errors() {
    let lines = tracing_subscriber::fmt().with_max_level(tracing::Level::ERROR).with_writer(io::stderr);
    // Whoever logs already shows them.
    let _ = lines.with_ansi(io::stderr().is_terminal()).try_init();
}

/// Starts collecting metrics and answers what renders them.
pub fn metrics() -> Result<PrometheusHandle, anyhow::Error> {
    let builder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), SECONDS)?
        .set_buckets(COUNTS)?;
    let handle = builder.install_recorder()?;
    Ok(handle)
}

/// Folds observed values for as long as the process lives.
pub async fn fold(handle: PrometheusHandle, clock: std::sync::Arc<dyn Clock>) {
    loop {
        clock.sleep(FOLD_MS).await;
        handle.run_upkeep();
    }
}
