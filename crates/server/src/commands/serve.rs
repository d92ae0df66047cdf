//! `tidings serve` and `tidings demo`: everything in one process, until it is told to stop.
//!
//! SIGTERM and ctrl-c stop it in good order: no new connections and no new work, what is in flight is finished, exit 0. A second signal ends it at once.
//! Being killed is no different for the messages: the next start finds everything in the database.

use std::{net::SocketAddr, sync::Arc};

use axum::{Json, Router, http::StatusCode, routing::get};
use engine::{
    Engine,
    access::users::{self, Made},
    callbacks::mail::Returns,
    jobs, keys, recovery,
};
use metrics_exporter_prometheus::PrometheusHandle;
use model::{BoxFuture, Clock, Secret};
use net::{MailListen, MailTls};
use serde_json::json;
use store::Scope;
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
    task::JoinSet,
};

use super::demo::{self, Demo};
use crate::{
    cli::{Failure, Outcome, put_json, say},
    config::{Config, ConfigError},
    home, limits,
    listen::Listen,
    node, telemetry,
};

/// How often a process that answers the API looks for changes others made, and writes down when keys were last used, in milliseconds.
const UPKEEP_MS: u64 = 1_000;

/// How often memory nobody uses is given back, in milliseconds.
const GIVE_BACK_MS: u64 = 4_000;

/// Serves until told to stop.
pub async fn run(config: Config, with_demo: bool, json: bool) -> Outcome {
    telemetry::log(&config.log)?;
    let metrics = telemetry::metrics()?;
    home::make_data_dir(&config)?;
    let _lock = home::lock(&config)?;
    let listener = bind(&config).await?;
    let bound = listener.local_addr()?;
    let mail = mail(&config).await?;
    let mail_tls = mail_tls(&config)?;
    let mail_bound = mail.as_ref().map(TcpListener::local_addr).transpose()?;
    let node = node::open(&config, bound).await?;
    for line in config.warnings().iter().chain(&node.notes) {
        tracing::warn!("{line}");
    }
    let given = config.bootstrap_operator_key.as_ref().map(Secret::reveal);
    let operator_key = keys::bootstrap(node.engine.parts(), given).await?.filter(|_| given.is_none());
    let operator = users::bootstrap(node.engine.parts()).await?;
    let demo = if with_demo { Some(demo::prepare(&node.engine).await?) } else { None };
    if config.roles.worker && node.engine.ports.db.dialect() == store::Dialect::Sqlite {
        // The lock on the data directory says that no other process can be sending: what is in flight was left by one that died.
        recovery::recover(&node.engine, true).await?;
    }
    let router = router(&config, &node.engine, metrics.clone());
    let (stop, mut running) = start(&config, listener, router, &node.engine, metrics);
    if let Some(listener) = mail {
        let listen = MailListen {
            listener,
            name: config.mail_name(bound),
            kept_max: MAIL_KEPT_MAX,
            tls: mail_tls,
            door: Arc::new(Returns(Arc::clone(&node.engine))),
            clock: Arc::clone(&node.engine.ports.clock),
            stop: stop.subscribe(),
        };
        running.spawn(listen.run());
    }
    let mut signals = Signals::new()?;
    let url = config.public_url(bound);
    let console = config.roles.console.then(|| format!("{url}{}", console::BASE));
    announce(&Announcement { url, bound, console, mail: mail_bound, operator_key, operator, demo }, json)?;
    signals.recv().await;
    say("Stopping: finishing what is in flight. A second signal ends at once.");
    stop.send_replace(true);
    finish(running, &mut signals, &config, &node.engine).await
}

/// Bytes of a mail that are handed over: what the listener takes at most.
const MAIL_KEPT_MAX: usize = 40 << 20;

/// The certificate of the mail listener. One that cannot be used is found at the start.
fn mail_tls(config: &Config) -> Result<Option<Arc<MailTls>>, ConfigError> {
    let Some((certificate, key)) = &config.mail_tls else { return Ok(None) };
    match MailTls::open(certificate, key) {
        Ok(tls) => Ok(Some(Arc::new(tls))),
        Err(error) => Err(ConfigError(format!("`mail_tls_certificate` and `mail_tls_key` cannot be used: {error}"))),
    }
}

/// Where mail comes in, in processes that take callbacks.
async fn mail(config: &Config) -> Result<Option<TcpListener>, ConfigError> {
    let Some(listen) = config.mail_listen.filter(|_| config.roles.api) else { return Ok(None) };
    let bound = TcpListener::bind(listen).await;
    bound.map(Some).map_err(|error| {
        ConfigError(format!(
            "`mail_listen` {listen} cannot be used: {error}; choose another address, or stop what listens there"
        ))
    })
}

async fn bind(config: &Config) -> Result<TcpListener, ConfigError> {
    let listen: SocketAddr = config.listen;
    TcpListener::bind(listen).await.map_err(|error| {
        ConfigError(format!(
            "`listen` {listen} cannot be used: {error}; choose another address, or stop what listens there"
        ))
    })
}

/// Starts what the roles say. Everything ends when the channel says so.
fn start(
    config: &Config,
    listener: TcpListener,
    router: Router,
    engine: &Arc<Engine>,
    metrics: PrometheusHandle,
) -> (watch::Sender<bool>, JoinSet<()>) {
    let (stop, stopped) = watch::channel(false);
    let clock = Arc::clone(&engine.ports.clock);
    let mut running = JoinSet::new();
    if config.roles.worker {
        running.spawn(jobs::run(Arc::clone(engine), stopped.clone()));
    }
    running.spawn(upkeep(Arc::clone(engine), stopped.clone()));
    let folding = tokio::spawn(telemetry::fold(metrics, Arc::clone(&clock)));
    let giving_back = tokio::spawn(give_back(Arc::clone(&clock)));
    let connections_max = limits::open_files(config.limits.connections);
    let listen = Listen { listener, router, connections_max, stop_ms: config.limits.stop_ms, clock, stop: stopped };
    running.spawn(async move {
        listen.run().await;
        folding.abort();
        giving_back.abort();
    });
    (stop, running)
}

/// Gives memory back that was needed for a moment. The allocator looks for pages that nobody used for a second when it gets or frees some, and when a thread ends: a server at rest does
/// neither, and would hold for good what it took to start.
async fn give_back(clock: Arc<dyn Clock>) {
    loop {
        clock.sleep(GIVE_BACK_MS).await;
        let ending = std::thread::Builder::new().name("tidings-memory".to_owned());
        // A thread that allocated nothing is not known to the allocator. One that cannot be started now is not missed.
        let _started = ending.spawn(|| drop(std::hint::black_box(Box::new(0_u64))));
    }
}

/// What answers requests: programs, the pages that links in messages lead to, and the console.
fn router(config: &Config, engine: &Arc<Engine>, metrics: PrometheusHandle) -> Router {
    let mut router = machines(config, engine, metrics);
    if config.roles.api || config.roles.console {
        router = router.merge(console::public::router(Arc::clone(engine), config.client_ip_header.clone()));
    }
    if !config.roles.console {
        return router;
    }
    let options = console::Options {
        client_ip_header: config.client_ip_header.clone(),
        version: env!("CARGO_PKG_VERSION"),
        warnings: config.warnings(),
    };
    router.merge(console::router(Arc::clone(engine), options))
}

/// What answers programs. A process without the role `api` still tells machines how it is.
fn machines(config: &Config, engine: &Arc<Engine>, metrics: PrometheusHandle) -> Router {
    let engine_here = Arc::clone(engine);
    let is_ready = move || ready(Arc::clone(&engine_here));
    let render = move || metrics.render();
    if config.roles.api {
        let mut options = api::Options::new(render, is_ready);
        options.body_max = config.limits.body_bytes;
        options.client_ip_header.clone_from(&config.client_ip_header);
        return api::router(Arc::clone(engine), options);
    }
    let ready = move || async move {
        match is_ready().await {
            Ok(()) => (StatusCode::OK, Json(json!({"status": "ok"}))),
            Err(detail) => (StatusCode::SERVICE_UNAVAILABLE, Json(json!({"status": "not ready", "detail": detail}))),
        }
    };
    Router::new()
        .route("/healthz", get(|| async { Json(json!({"status": "ok"})) }))
        .route("/readyz", get(ready))
        .route("/metrics", get(move || async move { render() }))
}

/// Whether the database answers, and is still one we understand.
fn ready(engine: Arc<Engine>) -> BoxFuture<'static, Result<(), String>> {
    Box::pin(async move {
        let version = engine.ports.db.read(Scope::System, |tx| Box::pin(store::version(tx))).await;
        match version {
            Ok(version) if version <= store::NEWEST => Ok(()),
            Ok(_) => Err("The database was brought to a newer version; this program has to be replaced.".to_owned()),
            Err(store::Error::Unavailable { .. }) => Err("The database does not answer.".to_owned()),
            Err(error) => {
                tracing::error!(%error, "The database cannot be read");
                Err("The database cannot be read; the log says why.".to_owned())
            }
        }
    })
}

/// What every node does beside its jobs: notices what others changed, and writes down when keys were last used, a last time when it stops.
async fn upkeep(engine: Arc<Engine>, mut stopped: watch::Receiver<bool>) {
    let mut is_last = false;
    while !is_last {
        tokio::select! {
            () = engine.ports.clock.sleep(UPKEEP_MS) => {}
            _ = stopped.wait_for(|stopped| *stopped) => is_last = true,
        }
        if let Err(error) = engine.directory.refresh().await {
            tracing::warn!(%error, "Cannot look for changed tenants and keys");
        }
        if let Err(error) = keys::flush_last_used(engine.parts()).await {
            tracing::warn!(%error, "Cannot write down when keys were last used");
        }
    }
}

/// Waits until everything has ended, the time for that is over, or a second signal comes.
async fn finish(mut running: JoinSet<()>, signals: &mut Signals, config: &Config, engine: &Engine) -> Outcome {
    let ended = async {
        while let Some(ended) = running.join_next().await {
            ended?;
        }
        Ok::<_, tokio::task::JoinError>(())
    };
    tokio::select! {
        ended = ended => ended?,
        () = engine.ports.clock.sleep(config.limits.stop_ms) => {
            say("Some work was not finished in time; the next start finds it in the database.");
        }
        () = signals.recv() => {
            return Err(Failure::Failed(anyhow::anyhow!("ended by a second signal")));
        }
    }
    Ok(())
}

/// What people need to begin with.
struct Announcement {
    url: String,
    /// The address that listens; the URL may be a proxy's.
    bound: SocketAddr,
    /// Where the console is, when this process shows it.
    console: Option<String>,
    mail: Option<SocketAddr>,
    operator_key: Option<Secret>,
    operator: Option<Made>,
    demo: Option<Demo>,
}

/// Tells people where we are, and on the very first start how to get in.
fn announce(announcement: &Announcement, json: bool) -> Outcome {
    let Announcement { url, bound, console, mail, operator_key, operator, demo } = announcement;
    let password = operator.as_ref().and_then(|made| made.password.as_ref()).map(Secret::reveal);
    say(&format!("Tidings {} is at {url}", env!("CARGO_PKG_VERSION")));
    if let Some(console) = console {
        say(&format!("The console is at {console}"));
    }
    if let Some(mail) = mail {
        say(&format!("Bounces, complaints and answers come in by SMTP at {mail}"));
    }
    if let Some(key) = operator_key {
        say(&format!("The operator's API key, shown this once: {}", key.reveal()));
    }
    if let (Some(made), Some(password)) = (operator, password) {
        say(&format!("The operator signs in as {} with the password, shown this once: {password}", made.view.email));
    }
    if let Some(demo) = demo {
        say(&demo.text(url));
    }
    if json {
        let operator_key = operator_key.as_ref().map(Secret::reveal);
        let sign_in = operator.as_ref().map(|made| json!({"email": made.view.email, "password": password}));
        put_json(&json!({
            "url": url, "listen": bound, "console_url": console, "mail_address": mail, "operator_api_key": operator_key, "operator_sign_in": sign_in, "demo": demo,
        }))?;
    }
    Ok(())
}

/// SIGTERM and ctrl-c, caught from when this is made until the process ends.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for the next one.
    async fn recv(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
