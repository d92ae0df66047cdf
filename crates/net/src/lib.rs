//! Every socket of Tidings besides the API's: HTTP requests and SMTP submissions, behind [`model::Transport`], and the mail that comes back.
//!
//! The engine hands a [`Call`] to [`Net`] and gets an [`Answer`], or a [`Broken`] that says whether the provider may
//! have acted. That one bit decides between a harmless retry and an `unknown` attempt, so the modules here exist to get
//! it right: [`Broken::may_have_acted`] is false up to the first byte of an HTTP request and up to the final dot of a
//! mail, and true from there on.
//!
//! - `guard` and `resolve`: which addresses may be reached, and how a name becomes a checked address.
//! - `dns`: looking records up for people, apart from connections.
//! - `wire`: TCP and TLS. `pool`: kept connections.
//! - `http` and `smtp`: the two protocols.
//! - `mail`: taking mail, for whom and what for says a [`model::MailDoor`].
//! - `system`: the real clock, the only place that reads one.
//!
//! No business lives here: no retries (besides one silent fresh connection when a kept one turns out to be stale and
//! nothing was sent), no rates, no reading of answers. Proxies from the environment are not used, redirects are not
//! followed, and compression is neither asked for nor undone.

mod broken;
mod dns;
pub mod guard;
mod http;
mod mail;
mod pool;
mod resolve;
mod smtp;
mod system;
mod wire;

use std::sync::Arc;

use model::{Answer, BoxFuture, Broken, Call, Clock, Transport};

pub use dns::Lookups;
pub use guard::{Allowed, BadAllowed, Guard, Refusal};
pub use mail::{MailListen, MailTls, MailTlsError};
pub use resolve::{Resolve, SystemResolver};
pub use system::SystemClock;

/// Time for lookup, TCP and, over HTTP, TLS, unless the operator says otherwise, in milliseconds: long enough for a
/// lost packet to be sent three times.
pub const CONNECT_TIMEOUT_MS: u64 = 10_000;

/// How Tidings reaches out.
#[derive(Debug, Clone)]
pub struct NetConfig {
    /// Which addresses may be reached.
    pub guard: Guard,
    /// Certificate authorities to trust besides Mozilla's, each a PEM text with one or more certificates.
    pub extra_root_pems: Vec<String>,
    /// Time to connect, in milliseconds. A call's own timeout may cut it shorter.
    pub connect_timeout_ms: u64,
    /// What HTTP servers see as `user-agent`.
    pub user_agent: String,
}

impl Default for NetConfig {
    fn default() -> Self {
        Self {
            guard: Guard::default(),
            extra_root_pems: Vec::new(),
            connect_timeout_ms: CONNECT_TIMEOUT_MS,
            user_agent: concat!("Tidings/", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }
}

/// A configuration that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NetError {
    /// An extra root certificate cannot be read.
    #[error("Extra root certificate {number} cannot be used: {detail}. Give a PEM file with CA certificates.")]
    BadRoot {
        /// Which one, counted from 1.
        number: usize,
        /// What is wrong with it.
        detail: String,
    },
    /// The user agent is not a header value.
    #[error("The user agent contains a line break or another control character. Remove it.")]
    BadUserAgent,
    /// TLS cannot be set up.
    #[error("TLS cannot be set up: {0}.")]
    Tls(String),
}

/// The transport of the running server.
pub struct Net {
    clients: Arc<Clients>,
    guard: Guard,
}

struct Clients {
    http: http::Client,
    smtp: smtp::Client,
}

impl Net {
    /// Sets up pools and TLS; opens nothing yet. Names are resolved by the system.
    pub fn new(config: NetConfig, clock: Arc<dyn Clock>) -> Result<Arc<Self>, NetError> {
        Self::with_resolver(config, clock, Arc::new(SystemResolver))
    }

    /// The same with another resolver.
    pub fn with_resolver(
        config: NetConfig,
        clock: Arc<dyn Clock>,
        resolver: Arc<dyn Resolve>,
    ) -> Result<Arc<Self>, NetError> {
        let guard = config.guard.clone();
        let dialer = Arc::new(resolve::Dialer {
            guard: config.guard,
            resolver,
            clock: Arc::clone(&clock),
            connect_timeout_ms: config.connect_timeout_ms,
        });
        let http_tls = wire::Tls::new(&config.extra_root_pems, b"http/1.1")?;
        let smtp_tls = wire::Tls::new(&config.extra_root_pems, b"")?;
        let http = http::Client::new(Arc::clone(&dialer), http_tls, Arc::clone(&clock), &config.user_agent)?;
        let smtp = smtp::Client::new(dialer, smtp_tls, clock);
        Ok(Arc::new(Self { clients: Arc::new(Clients { http, smtp }), guard }))
    }

    /// Connections kept idle at the moment: HTTP and SMTP. For metrics.
    pub fn idle_connections(&self) -> (usize, usize) {
        (self.clients.http.idle(), self.clients.smtp.idle())
    }
}

impl Transport for Net {
    /// Must be polled inside a tokio runtime. Dropping the future closes the connection it was using.
    fn exchange(&self, call: Arc<Call>) -> BoxFuture<'static, Result<Answer, Broken>> {
        let clients = Arc::clone(&self.clients);
        Box::pin(async move {
            match &*call {
                Call::Http(call) => clients.http.exchange(call).await.map(Answer::Http),
                Call::Smtp(call) => clients.smtp.exchange(call).await.map(Answer::Smtp),
                Call::Local => Ok(Answer::Local),
            }
        })
    }

    fn check_url(&self, url: &str) -> Result<(), String> {
        self.guard.check_url(url, true).map(drop).map_err(|refusal| refusal.to_string())
    }
}
