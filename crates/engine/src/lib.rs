//! Every business rule and every background job of Tidings.
//!
//! The path of a message: `accept` (validate, plan, one transaction) → `dispatch` (lease due work, no open transaction during IO) → the connector
//! and the transport → `apply` (the only writer of message state) → provider callbacks → `apply` again. Called by `api` and `server`; reaches the world only through the
//! [`Ports`] it is given, so a test or the simulator can put its own behind them.

/// Boxes the future of an async function, so that its body is compiled here, once. The compiler makes an async body anew in every crate that awaits it; the API, the
/// console and the program each had a copy of the whole engine without this.
pub(crate) use async_recursion::async_recursion as boxed;

pub mod accept;
pub mod access;
pub mod accounts;
pub mod alerts;
pub mod analytics;
pub mod apply;
pub mod attachments;
pub mod audit;
pub mod batcher;
pub mod books;
pub mod bounded;
pub mod branding;
pub mod callbacks;
pub mod campaigns;
pub mod cancel;
pub mod consent;
pub mod contacts;
mod content_cache;
pub mod content_rules;
mod country;
pub mod csv;
pub mod dead_letters;
pub mod demo;
pub mod directory;
pub mod dispatch;
pub mod documents;
pub mod domains;
pub mod endpoints;
mod engine;
pub mod error;
pub mod export;
pub mod inbound;
pub mod installation;
pub mod invoice_deliveries;
pub mod invoices;
pub mod jobs;
pub mod keys;
pub mod limits;
pub mod links;
pub mod money;
pub mod names;
pub mod once;
pub mod page;
mod parts;
pub mod patch;
pub mod plans;
mod provider;
pub mod queries;
pub mod reconciliations;
pub mod recovery;
pub mod registrations;
pub mod render;
pub mod retention;
pub mod routing;
pub mod schedules;
pub mod segments;
pub mod senders;
pub mod stream;
pub mod templates;
pub mod tenants;
pub mod tracking;
pub mod usage;
pub mod vault;
pub mod view;
pub mod waiting;
pub mod whatsapp_templates;
pub mod writes;

use std::{collections::BTreeMap, sync::Arc};

use model::{Blobs, Clock, Dns, Ids, TenantId, Transport};
use store::Db;

pub use engine::Engine;
pub use error::{Error, ErrorKind, FieldError};
pub use parts::Parts;

/// The engine's doors to the world.
#[derive(Clone)]
pub struct Ports {
    /// The database, already migrated.
    pub db: Db,
    /// Tells the time and waits.
    pub clock: Arc<dyn Clock>,
    /// Makes ids, tokens and jitter.
    pub ids: Arc<Ids>,
    /// Carries requests to providers.
    pub transport: Arc<dyn Transport>,
    /// Keeps attachments.
    pub blobs: Arc<dyn Blobs>,
    /// Looks up what was published for mail domains.
    pub dns: Arc<dyn Dns>,
}

/// Attempts in flight at once unless configured otherwise: enough for the slowest provider at full rate, some 10 MB of memory.
pub const SLOTS: usize = 1_024;

/// For how long after an upgrade, in seconds, an older Tidings may still run beside this one while it is replaced.
pub(crate) const UPGRADE_S: i64 = 3_600;

/// What the operator configures about the engine.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the world reaches this installation, without a trailing slash: the base of callback URLs.
    pub public_url: String,
    /// Where a connector's requests go instead of the provider, by connector id, without trailing slashes.
    pub base_urls: BTreeMap<String, String>,
    /// API requests a second of a tenant that has no rate of its own; `None` for no limit.
    pub requests_per_second: Option<u32>,
    /// The tenant through whose default e-mail account the installation writes to people; `None`: links are shown instead.
    pub mail_tenant: Option<TenantId>,
    /// The OpenID provider people may sign in with.
    pub oidc: Option<access::oidc::Oidc>,
    /// Attempts in flight at once in this process: [`SLOTS`] unless configured otherwise.
    pub slots: usize,
}

impl Config {
    /// Where an account's requests go instead of its provider.
    pub(crate) fn base_url(&self, account: &directory::Account) -> Option<&str> {
        self.base_urls.get(account.connector.spec().id).map(String::as_str)
    }
}
