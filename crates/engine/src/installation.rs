//! The whole installation as the operator watches it: accounts in trouble, what waits in which lane, and the parts the program stands on. Called by the console. Changes
//! nothing. What belongs to tenants is shown by name and number only.

use std::collections::BTreeMap;

use model::{AccountId, Failure, TenantId, Timestamp};
use store::{
    Dialect, Scope, Tx, account_states, accounts,
    deliveries::{self, Lane},
    inflight, messages, tenants,
};

use crate::{Engine, Error, keys::Caller};

/// Accounts shown at most, worst first: more than somebody looks through at once.
pub const SHOWN_MAX: usize = 200;
/// Lanes looked at most: each costs one look into an index.
const LANES_MAX: usize = 600;
/// Waiting messages of an account counted at most.
pub const WAITING_MAX: i64 = 10_000;

/// An account that is paused or fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TroubledAccount {
    /// Whose.
    pub tenant_id: TenantId,
    /// Their name.
    pub tenant: String,
    /// Which account.
    pub account_id: AccountId,
    /// Its name.
    pub account: String,
    /// Its connector.
    pub connector: String,
    /// Failures in a row that speak against it.
    pub failures: i64,
    /// Since when it is paused.
    pub paused_at: Option<Timestamp>,
    /// When it is tried again.
    pub paused_until: Option<Timestamp>,
    /// Why.
    pub pause: Option<Failure>,
}

/// What waits for one account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitingAccount {
    /// Whose.
    pub tenant_id: TenantId,
    /// Their name.
    pub tenant: String,
    /// Which account.
    pub account_id: AccountId,
    /// Its name.
    pub account: String,
    /// Its connector; `webhook` for an endpoint.
    pub connector: String,
    /// How many messages wait; counting stops at [`WAITING_MAX`].
    pub waiting: i64,
    /// How many are on their way.
    pub in_flight: i64,
    /// When the first of them is, or was, due.
    pub first_due_at: Timestamp,
}

/// A tenant with dead letters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetters {
    /// Whose.
    pub tenant_id: TenantId,
    /// Their name.
    pub tenant: String,
    /// How many; counting stops at [`WAITING_MAX`].
    pub count: i64,
    /// When the newest message of them gave up.
    pub newest_at: Option<Timestamp>,
}

/// One process that works on this database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Worker {
    /// Whether it is the one that answers.
    pub is_this: bool,
    /// When it started.
    pub started_at: Timestamp,
    /// When it last gave a sign of life.
    pub seen_at: Timestamp,
}

/// What the program stands on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct System {
    /// `SQLite` or `PostgreSQL`.
    pub database: &'static str,
    /// The version of its tables.
    pub schema: i64,
    /// The newest version this program knows.
    pub schema_newest: i64,
    /// Where the world reaches us.
    pub public_url: String,
    /// Attempts under way in this process.
    pub in_flight: usize,
    /// Attempts that can be under way.
    pub slots: usize,
    /// Open event streams of this process.
    pub streams: usize,
    /// Data keys by the master key that seals them.
    pub sealed_by: Vec<(String, i64)>,
    /// Processes that lease work.
    pub workers: Vec<Worker>,
    /// The background jobs, each with its period in milliseconds.
    pub jobs: Vec<(&'static str, u64)>,
}

impl Engine {
    /// Accounts of any tenants that are paused or fail, worst first. For the operator, with the scope `tenants:read`.
    #[crate::boxed]
    pub async fn troubled_accounts(&self, caller: &Caller) -> Result<Vec<TroubledAccount>, Error> {
        caller.need_operator("tenants:read")?;
        let read = self.ports.db.read(Scope::System, move |tx| {
            Box::pin(async move {
                let mut states = account_states::troubled(tx).await?;
                states.sort_by_key(|state| {
                    (state.paused_at.is_none(), std::cmp::Reverse(state.failures), state.account_id)
                });
                let mut names = Names::default();
                let mut found = Vec::new();
                for state in states.into_iter().take(SHOWN_MAX) {
                    let Some((account, connector)) = names.account(tx, state.tenant_id, state.account_id).await? else {
                        continue;
                    };
                    found.push(TroubledAccount {
                        tenant: names.tenant(tx, state.tenant_id).await?,
                        tenant_id: state.tenant_id,
                        account_id: state.account_id,
                        account,
                        connector,
                        failures: state.failures,
                        paused_at: state.paused_at,
                        paused_until: state.paused_until,
                        pause: state.pause.as_deref().and_then(|text| serde_json::from_str(text).ok()),
                    });
                }
                Ok::<_, Error>(found)
            })
        });
        read.await
    }

    /// The accounts something waits for, the longest wait first. For the operator, with the scope `tenants:read`.
    #[crate::boxed]
    pub async fn waiting_accounts(&self, caller: &Caller) -> Result<Vec<WaitingAccount>, Error> {
        caller.need_operator("tenants:read")?;
        let read = self.ports.db.read(Scope::System, move |tx| {
            Box::pin(async move {
                let mut first: BTreeMap<AccountId, Lane> = BTreeMap::new();
                for lane in deliveries::lanes(tx, LANES_MAX).await? {
                    let known = first.entry(lane.account_id).or_insert(lane);
                    known.due_at = known.due_at.min(lane.due_at);
                }
                let mut lanes: Vec<Lane> = first.into_values().collect();
                lanes.sort_by_key(|lane| (lane.due_at, lane.account_id));
                let mut names = Names::default();
                let mut found = Vec::new();
                for lane in lanes.into_iter().take(SHOWN_MAX) {
                    let gone = || ("(deleted)".to_owned(), String::new());
                    let (account, connector) =
                        names.account(tx, lane.tenant_id, lane.account_id).await?.unwrap_or_else(gone);
                    found.push(WaitingAccount {
                        tenant: names.tenant(tx, lane.tenant_id).await?,
                        tenant_id: lane.tenant_id,
                        account_id: lane.account_id,
                        account,
                        connector,
                        waiting: deliveries::count_of_account(tx, lane.tenant_id, lane.account_id, WAITING_MAX).await?,
                        in_flight: inflight::count_of_account(tx, lane.tenant_id, lane.account_id).await?,
                        first_due_at: lane.due_at,
                    });
                }
                Ok::<_, Error>(found)
            })
        });
        read.await
    }

    /// The tenants with dead letters, most of them first. For the operator, with the scope `tenants:read`.
    #[crate::boxed]
    pub async fn dead_letters_by_tenant(&self, caller: &Caller) -> Result<Vec<DeadLetters>, Error> {
        caller.need_operator("tenants:read")?;
        let read = self.ports.db.read(Scope::System, move |tx| {
            Box::pin(async move {
                let (mut names, mut found, mut after) = (Names::default(), Vec::new(), TenantId::from_ulid(0));
                while let Some(tenant_id) = messages::next_with_dead(tx, after).await? {
                    after = tenant_id;
                    let (count, newest_at) = messages::count_dead(tx, tenant_id, WAITING_MAX).await?;
                    found.push(DeadLetters { tenant: names.tenant(tx, tenant_id).await?, tenant_id, count, newest_at });
                    if found.len() == SHOWN_MAX {
                        break;
                    }
                }
                found.sort_by_key(|dead| (std::cmp::Reverse(dead.count), dead.tenant_id));
                Ok::<_, Error>(found)
            })
        });
        read.await
    }

    /// What the program stands on. For the operator, with the scope `tenants:read`.
    #[crate::boxed]
    pub async fn system(&self, caller: &Caller) -> Result<System, Error> {
        caller.need_operator("tenants:read")?;
        let (schema, rows) = self
            .ports
            .db
            .read(Scope::System, |tx| {
                Box::pin(async move { Ok::<_, Error>((store::version(tx).await?, inflight::workers(tx).await?)) })
            })
            .await?;
        let worker = |(id, started_at, seen_at)| Worker { is_this: id == self.worker, started_at, seen_at };
        Ok(System {
            database: match self.ports.db.dialect() {
                Dialect::Sqlite => "SQLite",
                Dialect::Postgres => "PostgreSQL",
            },
            schema,
            schema_newest: store::NEWEST,
            public_url: self.config.public_url.clone(),
            in_flight: self.dispatcher.in_flight(),
            slots: self.config.slots,
            streams: self.wakers.len(),
            sealed_by: self.vault.check(&self.ports.db).await?,
            workers: rows.into_iter().map(worker).collect(),
            jobs: crate::jobs::periods().collect(),
        })
    }
}

/// Names that were looked up already: an account or tenant may come more than once.
#[derive(Default)]
struct Names {
    tenants: BTreeMap<TenantId, String>,
}

impl Names {
    async fn tenant(&mut self, tx: &mut Tx, id: TenantId) -> Result<String, Error> {
        if let Some(name) = self.tenants.get(&id) {
            return Ok(name.clone());
        }
        let name = tenants::find(tx, id).await?.map_or_else(|| "(deleted)".to_owned(), |tenant| tenant.name);
        self.tenants.insert(id, name.clone());
        Ok(name)
    }

    /// An account's name and connector; an endpoint goes by its connector.
    async fn account(&self, tx: &mut Tx, tenant: TenantId, id: AccountId) -> Result<Option<(String, String)>, Error> {
        let row = accounts::find(tx, tenant, id).await?;
        Ok(row.map(|row| {
            (if row.connector == "webhook" { "Webhook endpoint".to_owned() } else { row.name }, row.connector)
        }))
    }
}
