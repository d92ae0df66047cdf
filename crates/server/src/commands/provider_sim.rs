//! `tidings provider-sim`: the provider simulator as a server. It needs no data directory and no database; what it keeps is in memory.

use std::{future::Future, net::SocketAddr, sync::Arc};

use clap::Args;
use model::{Clock, Ids};
use net::{Allowed, Guard, Net, NetConfig, SystemClock};
use provider_sim::{Simulator, serve_http, serve_smtp};
use serde_json::json;
use tokio::{
    net::{TcpListener, TcpStream},
    signal::unix::{SignalKind, signal},
};

use crate::{
    cli::{Failure, Outcome, put, put_json, say},
    config::{Config, ConfigError},
};

/// Where the providers' HTTP APIs are, unless `--listen` says otherwise.
const LISTEN: &str = "127.0.0.1:9100";
/// Pause after the system refused a connection (usually out of file descriptors), in milliseconds.
const PAUSE_MS: u64 = 50;

/// How to simulate.
#[derive(Debug, Args)]
pub struct ProviderSim {
    /// Where the mail server listens
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:9125")]
    smtp_listen: String,
}

/// Simulates until told to stop. `listen` is the flag of that name.
pub async fn run(config: &Config, listen: Option<&str>, command: ProviderSim, json: bool) -> Outcome {
    let http = bind("--listen", listen.unwrap_or(LISTEN)).await?;
    let smtp = bind("--smtp-listen", &command.smtp_listen).await?;
    let (http_at, smtp_at) = (http.local_addr()?, smtp.local_addr()?);
    for at in [http_at, smtp_at].iter().filter(|at| !at.ip().is_loopback()) {
        say(&format!(
            "{at} can be reached from outside, and everybody there may read and change everything. Use it for tests only."
        ));
    }
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    // Callbacks go wherever a request says: to a Tidings on this machine, mostly.
    let everywhere: Vec<Allowed> =
        ["127.0.0.0/8", "::1/128", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"]
            .iter()
            .filter_map(|text| text.parse().ok())
            .chain(config.outbound.allow.clone())
            .collect();
    let settings = NetConfig {
        guard: Guard::new(everywhere),
        extra_root_pems: config.outbound.extra_root_pems.clone(),
        user_agent: "Tidings-provider-sim".to_owned(),
        ..NetConfig::default()
    };
    let transport =
        Net::new(settings, Arc::clone(&clock)).map_err(|error| ConfigError(format!("`outbound.ca_files`: {error}")))?;
    let simulator = Simulator::new(Arc::clone(&clock), Ids::from_os(), transport);
    simulator.set("smtp", "host", &smtp_at.ip().to_string());
    simulator.set("smtp", "port", &smtp_at.port().to_string());

    let url = format!("http://{http_at}");
    match json {
        true => put_json(&json!({"url": url, "smtp": smtp_at.to_string()}))?,
        false => {
            put(&format!("Providers at {url} (see {url}/_sim/providers), mail at {smtp_at}"));
            say("What to configure is in docs/provider-sim.md. Stop with ctrl-c.");
        }
    }
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let over_http = {
        let simulator = Arc::clone(&simulator);
        move |stream| serve_http(Arc::clone(&simulator), stream)
    };
    let over_smtp = move |stream| {
        let simulator = Arc::clone(&simulator);
        async move {
            // A client that goes away in the middle is its own affair.
            let _ = serve_smtp(simulator, stream).await;
        }
    };
    tokio::select! {
        () = accept(http, Arc::clone(&clock), over_http) => {}
        () = accept(smtp, clock, over_smtp) => {}
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
    Ok(())
}

async fn bind(flag: &str, address: &str) -> Result<TcpListener, Failure> {
    let cannot = |error: &dyn std::fmt::Display| {
        Failure::Misuse(format!(
            "`{flag}` {address} cannot be used: {error}; give an address and a free port, such as 127.0.0.1:9100"
        ))
    };
    let at: SocketAddr = address.parse().map_err(|error| cannot(&error))?;
    TcpListener::bind(at).await.map_err(|error| cannot(&error))
}

/// Serves every connection in a task of its own, for ever.
async fn accept<F: Future<Output = ()> + Send + 'static>(
    listener: TcpListener,
    clock: Arc<dyn Clock>,
    serve: impl Fn(TcpStream) -> F,
) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let _ = stream.set_nodelay(true);
                tokio::spawn(serve(stream));
            }
            Err(_) => clock.sleep(PAUSE_MS).await,
        }
    }
}
