//! The JSON API of Tidings and the doors providers call back on, as one [`axum::Router`].
//!
//! [`router`] is mounted by the server, which owns sockets, TLS and deadlines for slow clients. A handler reads its path, query and body, asks the engine one thing
//! and writes the answer; every rule lives in the engine. What all requests share lives once:
//!
//! - `access`: the table of operations, with who may call each.
//! - `extract`: who calls, which row, which page, which body.
//! - `formats`: JSON, a table or lines, by the query or by `Accept`.
//! - `shell`: request ids, problems, measurements, the access log.
//! - `problem`: errors as `application/problem+json`.
//! - `openapi`: the document that describes all of it, generated from the handlers in `routes`.
//!
//! Nothing here opens a database or speaks to a provider.

pub mod access;
mod answer;
mod examples;
pub mod extract;
mod formats;
mod openapi;
pub mod problem;
mod routes;
mod shell;

use std::{
    net::IpAddr,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use engine::{
    Engine, Error,
    keys::{self, Caller},
    limits::Verdict,
};
use http::HeaderName;
use model::{BoxFuture, TenantId, Ulid};

use crate::problem::Problem;

/// Largest body unless configured otherwise: a batch of 1,000 mails, or one with inline attachments.
pub const BODY_MAX: usize = 10 * 1024 * 1024;

/// What the server decides about the API.
#[derive(Clone)]
pub struct Options {
    /// Largest body of a request, in bytes.
    pub body_max: usize,
    /// A header in which a trusted proxy writes the client's address (the last address of a list counts). `None`: the peer of the connection is the client, and no
    /// header is believed.
    pub client_ip_header: Option<HeaderName>,
    /// Renders `GET /metrics` in the Prometheus text format.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
    /// Answers `GET /readyz`: whether the database and the lanes can be used, or what is wrong, in words that may be shown.
    pub ready: Arc<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>,
}

impl Options {
    /// The defaults, with how to tell metrics and readiness.
    pub fn new(
        metrics: impl Fn() -> String + Send + Sync + 'static,
        ready: impl Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync + 'static,
    ) -> Self {
        Self { body_max: BODY_MAX, client_ip_header: None, metrics: Arc::new(metrics), ready: Arc::new(ready) }
    }
}

/// The whole API. The connection's peer is read from [`axum::extract::ConnectInfo`]: serve it with `into_make_service_with_connect_info::<SocketAddr>()`, or put
/// one into each request's extensions.
pub fn router(engine: Arc<Engine>, options: Options) -> axum::Router {
    let app = App(Arc::new(Shared { engine, options, document: OnceLock::new() }));
    routes::all()
        .split_for_parts()
        .0
        .fallback(routes::no_such_path)
        .method_not_allowed_fallback(routes::no_such_method)
        .layer(shell::ShellLayer(app.clone()))
        .with_state(app)
}

/// The OpenAPI document as `GET /openapi.json` answers it.
///
/// # Panics
/// When an operation of the table has no handler or a handler is not in the table: a mistake in this crate, found by its tests.
pub fn document() -> serde_json::Value {
    openapi::finish(&routes::all().split_for_parts().1)
}

/// What handlers share. Cheap to clone.
#[derive(Clone)]
pub struct App(Arc<Shared>);

struct Shared {
    engine: Arc<Engine>,
    options: Options,
    /// Made when somebody asks first: it takes more memory than an idle server otherwise holds.
    document: OnceLock<Bytes>,
}

impl App {
    pub(crate) fn engine(&self) -> &Arc<Engine> {
        &self.0.engine
    }

    pub(crate) fn options(&self) -> &Options {
        &self.0.options
    }

    pub(crate) fn document(&self) -> Bytes {
        let made = || serde_json::to_vec(&document()).expect("a document has a JSON form").into();
        self.0.document.get_or_init(made).clone()
    }

    pub(crate) async fn authenticate(
        &self,
        bearer: Option<&str>,
        tenant: Option<&str>,
        ip: Option<IpAddr>,
    ) -> Result<Caller, Problem> {
        let engine = self.engine();
        Ok(keys::authenticate(engine.parts(), bearer, tenant, ip, engine.ports.clock.now()).await?)
    }

    /// Takes `weight` requests from the bucket of a tenant with this rate of its own; 0 only looks.
    pub(crate) fn take(&self, tenant: TenantId, per_second: Option<u32>, weight: u32) -> Verdict {
        self.engine().limits.take(tenant, per_second, weight, self.engine().ports.clock.now())
    }

    /// The tenant's own request rate, when it has one.
    pub(crate) async fn per_second(&self, tenant: TenantId) -> Result<Option<u32>, Error> {
        Ok(self.engine().tenant(tenant).await?.1.per_second)
    }
}

/// An id of our own as text: a prefix and a ULID, as everywhere.
pub(crate) fn id_text(prefix: &str, ulid: Ulid) -> String {
    // The text of a ULID is the same under every prefix.
    let text = model::MessageId::from_ulid(ulid).to_string();
    format!("{prefix}_{}", &text[model::MessageId::PREFIX.len() + 1..])
}
