//! SQL on SQLite and PostgreSQL: the tables, one file per noun, and the two engines behind one [`Db`].
//!
//! Called by the engine only. Holds no business rule: functions read and write what they are told, in the transaction they are given. Their first
//! parameter is `&mut Tx`, their second the tenant (the dispatcher's lease and other work across tenants say so in their docs). Time is passed in.
//! Nothing here waits for anything but the database: on SQLite a unit of work runs on the writer's thread and must never wait for something else.

pub mod account_resources;
pub mod account_states;
pub mod accounts;
pub mod alert_facts;
pub mod alert_rules;
pub mod alerts;
pub mod api_keys;
pub mod attachments;
pub mod attempt_counters;
pub mod attempts;
pub mod audit;
pub mod audit_marks;
pub mod blobs;
pub mod branding;
pub mod business_profiles;
pub mod callback_log;
pub mod campaign_checks;
pub mod campaign_recipients;
pub mod campaigns;
pub mod charge_counters;
pub mod consent_policies;
pub mod consents;
pub mod contact_attributes;
pub mod contact_imports;
pub mod contacts;
pub mod content_rules;
pub mod contents;
pub mod credits;
pub mod data_keys;
pub mod deliveries;
pub mod demo_tenants;
pub mod domains;
pub mod dossiers;
pub mod endpoints;
pub mod erasure;
mod error;
pub mod events;
pub mod fallbacks;
pub mod idempotency;
pub mod inbound;
pub mod inflight;
pub mod installation;
pub mod invoice_deliveries;
pub mod invoices;
mod leases;
pub mod lists;
pub mod memberships;
pub mod message_counters;
pub mod messages;
mod migrate;
pub mod numbers;
pub mod payments;
pub mod plans;
mod postgres;
pub mod prices;
pub mod purchases;
pub mod quotas;
pub mod reconciliations;
pub mod recounts;
pub mod registrations;
pub mod removed_messages;
pub mod reports;
pub mod retention;
pub mod routes;
pub mod schedules;
#[cfg(test)]
mod scratch;
pub mod segments;
pub mod senders;
pub mod sessions;
pub mod sign_in;
mod sql;
mod sqlite;
pub mod statistics;
pub mod subscriptions;
pub mod suppressions;
pub mod template_counters;
pub mod templates;
pub mod tenant_rows;
pub mod tenants;
pub mod tracking;
pub mod traffic;
mod tx;
pub mod usage;
pub mod users;
mod value;
pub mod whatsapp_templates;

use std::{
    any::Any,
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock},
};

use model::{BoxFuture, TenantId};

pub use error::Error;
pub use migrate::{NEWEST, migrate, migrate_to, tenant_tables, upgraded_at, version};
pub use tx::{Dialect, Given, Reach, Tx};
pub use value::{Column, Kind, Owned, Param, Row, Value};

/// A database. Cheap to clone.
#[derive(Clone)]
pub struct Db(Arc<Shared>);

struct Shared {
    engine: Engine,
    companion: RwLock<Option<Companion>>,
}

/// Something of the caller's that comes along into every transaction.
pub(crate) type Companion = Arc<dyn Any + Send + Sync>;

enum Engine {
    Sqlite(sqlite::Sqlite),
    Postgres(postgres::Postgres),
}

/// Whose rows a unit of work may touch. On PostgreSQL row-level security enforces it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// One tenant's.
    Tenant(TenantId),
    /// Everybody's: the dispatcher, background jobs, the operator.
    System,
}

/// What PostgreSQL's policies take for [`Scope::System`].
pub(crate) const EVERYBODY: &str = "*";

impl Db {
    /// Opens the database a URL names: `sqlite:PATH` or `postgres://…`. Does not migrate.
    pub fn open(url: &str) -> Result<Self, Error> {
        if let Some(path) = url.strip_prefix("sqlite:") {
            let path = PathBuf::from(path.strip_prefix("//").unwrap_or(path));
            return Ok(Self::around(Engine::Sqlite(sqlite::Sqlite::open(&path)?)));
        }
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            return Ok(Self::around(Engine::Postgres(postgres::Postgres::open(url)?)));
        }
        Err(Error::Config("the database URL must begin with sqlite: or postgres://".to_owned()))
    }

    fn around(engine: Engine) -> Self {
        Self(Arc::new(Shared { engine, companion: RwLock::new(None) }))
    }

    /// Gives every transaction of this database, also of its clones, something to take along: [`Tx::companion`] finds it. It takes the place of what was given before.
    /// The engine's vault is one, so that whatever writes to the audit log can seal it.
    pub fn accompany(&self, companion: Arc<dyn Any + Send + Sync>) {
        *self.0.companion.write().unwrap_or_else(PoisonError::into_inner) = Some(companion);
    }

    fn companion(&self) -> Option<Companion> {
        self.0.companion.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Which engine this is.
    pub fn dialect(&self) -> Dialect {
        match self.0.engine {
            Engine::Sqlite(_) => Dialect::Sqlite,
            Engine::Postgres(_) => Dialect::Postgres,
        }
    }

    /// Runs `work` in a transaction: all of it is kept when it answers `Ok`, nothing when it answers `Err`. Returns after the commit is on disk.
    ///
    /// On SQLite work that waits at the same time shares one commit. `work` must wait for nothing but its `Tx`.
    pub async fn write<T, E>(
        &self,
        scope: Scope,
        work: impl for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<T, E>> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        let companion = self.companion();
        match &self.0.engine {
            Engine::Sqlite(sqlite) => {
                sqlite
                    .write(move |tx| {
                        tx.companion = companion;
                        work(tx)
                    })
                    .await
            }
            Engine::Postgres(postgres) => {
                postgres
                    .write(scope, move |tx| {
                        tx.companion = companion;
                        work(tx)
                    })
                    .await
            }
        }
    }

    /// Runs `work` on a snapshot that changes nothing.
    pub async fn read<T, E>(
        &self,
        scope: Scope,
        work: impl for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<T, E>> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        let companion = self.companion();
        match &self.0.engine {
            Engine::Sqlite(sqlite) => {
                sqlite
                    .read(move |tx| {
                        tx.companion = companion;
                        work(tx)
                    })
                    .await
            }
            Engine::Postgres(postgres) => {
                postgres
                    .read(scope, move |tx| {
                        tx.companion = companion;
                        work(tx)
                    })
                    .await
            }
        }
    }
}
