//! The engine: the parts every request and every job share, and the path of a message built on them.

use std::{
    collections::HashMap,
    ops::Deref,
    sync::{Arc, Weak},
};

use model::{BoxFuture, TenantId};
use store::{Db, inflight::WorkerId};

use crate::{
    Config, Error, Parts, Ports, accept,
    alerts::facts::LongerKept,
    apply,
    attachments::{Fetches, FileCache},
    batcher::Batcher,
    callbacks::{self, Callbacks},
    content_cache::ContentCache,
    directory::Tenant,
    dispatch::Dispatcher,
    limits::Verdict,
    routing::divert::Cursors,
    stream::Wakers,
    tracking::token::Signer,
    vault::MasterKeys,
};

/// Rows a busy tenant's sums are spread over on PostgreSQL: as many as a process has connections, which otherwise wait for each other's commits.
const SHARDS: u64 = 16;

/// Tenants by id, as far as a unit of work needs them.
pub(crate) type Tenants = HashMap<TenantId, Arc<Tenant>>;

/// Everything a request or a job needs. [`Parts`] stand behind it, so `engine.ports` and the like read directly.
pub struct Engine {
    parts: Parts,
    /// This process among those that lease work.
    pub worker: WorkerId,
    /// Wakes streams when their tenant has news.
    pub wakers: Wakers,
    pub(crate) contents: ContentCache,
    pub(crate) fetches: Fetches,
    pub(crate) file_cache: FileCache,
    pub(crate) accepts: Batcher<accept::Item, accept::Committed>,
    pub(crate) applies: Batcher<apply::Input, Result<(), Error>>,
    pub(crate) callbacks: Callbacks,
    pub(crate) dispatcher: Dispatcher,
    pub(crate) diverts: Cursors,
    /// Everybody's mails over longer times, for the operator's alert rules.
    pub(crate) longer_mails: LongerKept,
    /// Signs tracked addresses, once it was needed.
    pub(crate) signer: tokio::sync::OnceCell<Arc<Signer>>,
}

impl Deref for Engine {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.parts
    }
}

/// Transactions of one kind under way at once: one on SQLite, which has one writer, and enough on PostgreSQL to keep it busy while others wait for its disk.
fn runs_max(db: &Db) -> usize {
    match db.dialect() {
        store::Dialect::Sqlite => 1,
        store::Dialect::Postgres => 3,
    }
}

impl Engine {
    /// Puts the parts together. Starts nothing: jobs run when [`crate::jobs`] or a test runs them.
    pub fn new(ports: Ports, config: Config, masters: MasterKeys) -> Arc<Self> {
        let parts = Parts::new(ports, config, masters);
        let worker = WorkerId(parts.ports.ids.ulid(parts.ports.clock.now()));
        let runs = runs_max(&parts.ports.db);
        Arc::new_cyclic(|engine: &Weak<Self>| Self {
            worker,
            wakers: Wakers::default(),
            contents: ContentCache::default(),
            fetches: Fetches::default(),
            file_cache: FileCache::default(),
            accepts: {
                let engine = Weak::clone(engine);
                Batcher::new(
                    accept::COMMIT_MAX,
                    runs,
                    Arc::new(move |items| write_accepted(Weak::clone(&engine), items)),
                )
            },
            applies: {
                let engine = Weak::clone(engine);
                Batcher::new(
                    apply::COMMIT_MAX,
                    runs,
                    Arc::new(move |inputs| write_applied(Weak::clone(&engine), inputs)),
                )
            },
            callbacks: {
                let engine = Weak::clone(engine);
                Callbacks::new(Batcher::new(
                    callbacks::COMMIT_MAX,
                    runs,
                    Arc::new(move |items| write_callbacks(Weak::clone(&engine), items)),
                ))
            },
            dispatcher: Dispatcher::new(parts.config.slots),
            diverts: Cursors::default(),
            longer_mails: LongerKept::default(),
            signer: tokio::sync::OnceCell::new(),
            parts,
        })
    }

    /// The parts alone, for what works on tenants, keys and accounts.
    pub const fn parts(&self) -> &Parts {
        &self.parts
    }

    /// A tenant with its accounts, and the version of the configuration it is at least as new as. A tenant that is gone is not found.
    #[crate::boxed]
    pub async fn tenant(&self, id: TenantId) -> Result<(i64, Arc<Tenant>), Error> {
        let version = self.directory.version();
        let tenant = self.directory.tenant(id).await?.ok_or_else(|| Error::not_found("tenant"))?;
        Ok((version, tenant))
    }

    /// Takes `weight` requests from a tenant's bucket, or says when to come back.
    pub(crate) fn charge(&self, tenant: &Tenant, weight: u32) -> Result<(), Error> {
        match self.limits.take(tenant.id, tenant.per_second, weight, self.ports.clock.now()) {
            Verdict::Unlimited | Verdict::Pass(_) => Ok(()),
            Verdict::Wait(allowance) => allowance.refusal().map_or(Ok(()), Err),
        }
    }

    /// Which of the usage rows this writer adds to: on PostgreSQL writers would otherwise wait for each other's row.
    pub(crate) fn shard(&self) -> i64 {
        match self.ports.db.dialect() {
            store::Dialect::Sqlite => 0,
            store::Dialect::Postgres => self.ports.ids.below(SHARDS) as i64,
        }
    }
}

fn write_accepted(engine: Weak<Engine>, items: Vec<accept::Item>) -> BoxFuture<'static, Vec<accept::Committed>> {
    Box::pin(async move {
        match engine.upgrade() {
            Some(engine) => accept::write(&engine, items).await,
            None => Vec::new(),
        }
    })
}

fn write_applied(engine: Weak<Engine>, inputs: Vec<apply::Input>) -> BoxFuture<'static, Vec<Result<(), Error>>> {
    Box::pin(async move {
        match engine.upgrade() {
            Some(engine) => apply::write(&engine, inputs).await,
            None => Vec::new(),
        }
    })
}

fn write_callbacks(engine: Weak<Engine>, items: Vec<callbacks::Item>) -> BoxFuture<'static, Vec<callbacks::Committed>> {
    Box::pin(async move {
        match engine.upgrade() {
            Some(engine) => callbacks::write(&engine, items).await,
            None => Vec::new(),
        }
    })
}
