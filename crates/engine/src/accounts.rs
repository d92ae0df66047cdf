//! Accounts: a tenant's own settings for a provider.
//!
//! Settings are merged field by field against the connector's declaration, sealed before they are stored and never shown again except as hints. A channel has at most one
//! default account; naming another takes it from the one before. Every change is audited in its transaction, without secrets.

mod callbacks;
pub(crate) mod changes;
mod check;
mod figures;
pub mod health;
mod stats;
mod test;
mod view;

use connectors::registry;
use model::{AccountId, Channel, TenantId, Timestamp};
use serde::Deserialize;
use serde_json::{Map, Value};
use store::{Tx, account_states, accounts, deliveries, inflight, messages, tenants};
use utoipa::ToSchema;

pub use callbacks::{AccountCallbacks, PasteView, callbacks, set_callbacks};
pub(crate) use figures::day;
pub use figures::{ProviderDay, ProviderStats, ProviderSuppression, ProviderSuppressions, suppressions};
pub use health::{AccountHealth, AttemptFigures, CircuitView, HealthHour, LastError, ShortHealth, health as health_of};
pub use stats::{AccountStats, RecentMessages, stats};
pub use test::{AccountTest, TestCheck, test};
pub use view::{AccountPause, AccountState, AccountView};

use crate::{
    Error, Parts, audit, directory,
    keys::Caller,
    names::Faults,
    once::{Repeat, Reply, Secrecy, once},
    page::{Page, Window},
    patch::Patch,
    vault::Vault,
};

/// Accounts a tenant can have: they are all read together whenever the tenant is.
pub const ACCOUNTS_MAX: usize = 200;

/// An account to be made.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewAccount {
    /// Name for people.
    #[schema(example = "Ticket mail")]
    pub name: String,
    /// The connector, as in `GET /v1/connectors`.
    #[schema(example = "smtp")]
    pub connector: String,
    /// The connector's settings.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub settings: Map<String, Value>,
    /// Channels it carries; all of the connector's when left out.
    #[serde(default)]
    #[schema(value_type = Option<Vec<String>>)]
    pub channels: Option<Vec<Channel>>,
    /// False to make it without using it yet.
    #[serde(default)]
    pub enabled: Option<bool>,
    /// Channels whose default it is. Left out: those that have no default yet.
    #[serde(default)]
    #[schema(value_type = Option<Vec<String>>)]
    pub default_for: Option<Vec<Channel>>,
    /// Its default sender.
    #[serde(default)]
    #[schema(example = "Acme Tickets <tickets@acme.example>")]
    pub from: Option<String>,
    /// Messages a second, when less than the connector's own limit.
    #[serde(default)]
    pub per_second: Option<u32>,
    /// Requests at once, when less than the connector's own limit.
    #[serde(default)]
    pub concurrency: Option<u32>,
}

/// Changes of an account.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AccountPatch {
    /// Name for people.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub name: Patch<String>,
    /// Settings to change: fields left out keep their value, `null` removes one, a secret sent back as its hint is kept.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub settings: Patch<Map<String, Value>>,
    /// Channels it carries; `null` for all of the connector's.
    #[serde(default)]
    #[schema(value_type = Option<Vec<String>>)]
    pub channels: Patch<Vec<Channel>>,
    /// Whether messages may leave through it.
    #[serde(default)]
    #[schema(value_type = Option<bool>)]
    pub enabled: Patch<bool>,
    /// Channels whose default it is; other accounts lose these.
    #[serde(default)]
    #[schema(value_type = Option<Vec<String>>)]
    pub default_for: Patch<Vec<Channel>>,
    /// Its default sender.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub from: Patch<String>,
    /// Messages a second; `null` for the connector's own limit.
    #[serde(default)]
    #[schema(value_type = Option<u32>)]
    pub per_second: Patch<u32>,
    /// Requests at once; `null` for the connector's own limit.
    #[serde(default)]
    #[schema(value_type = Option<u32>)]
    pub concurrency: Patch<u32>,
}

/// Adds an account. Needs the scope `accounts:write`.
#[crate::boxed]
pub async fn create(parts: &Parts, caller: &Caller, repeat: &Repeat, new: NewAccount) -> Result<Reply, Error> {
    caller.need("accounts:write")?;
    let tenant = caller.need_tenant()?;
    let now = parts.ports.clock.now();
    let id = AccountId::from_ulid(parts.ports.ids.ulid(now));
    let draft = check::new_account(new)?;
    let (inner, by) = (parts.clone(), caller.clone());
    // It names the address the provider reports to, whose end may be a secret.
    let reply = once(parts, caller, repeat, 201, Secrecy::Sealed, move |tx| {
        Box::pin(async move { changes::insert(tx, &inner, &by, tenant, id, draft, now).await })
    })
    .await?;
    parts.directory.catch_up().await;
    Ok(reply)
}

/// Lists the tenant's accounts, newest first. Needs the scope `accounts:read`.
#[crate::boxed]
pub async fn list(
    parts: &Parts,
    caller: &Caller,
    limit: Option<u32>,
    cursor: Option<&str>,
) -> Result<Page<AccountView>, Error> {
    caller.need("accounts:read")?;
    let tenant = caller.need_tenant()?;
    let window = Window::read("accounts", limit, cursor)?;
    let (now, inner) = (parts.ports.clock.now(), parts.clone());
    let read = parts.ports.db.read(caller.reach(), move |tx| {
        Box::pin(async move {
            let rows = accounts::list(tx, tenant, AccountId::from_ulid(window.before), window.rows()).await?;
            let states = account_states::of_tenant(tx, tenant).await?;
            let sums = health::lately(tx, tenant, None, now).await?;
            let mut views = Vec::new();
            for row in &rows {
                let state = states.iter().find(|state| state.account_id == row.id);
                views.push(view::read(tx, &inner, row, state, sums.get(&row.id), now).await?);
            }
            Ok::<_, Error>(views)
        })
    });
    Ok(window.page(read.await?, |view| view.id.ulid(), |view| view.seen_by(caller)))
}

/// Reads one of the tenant's accounts. Needs the scope `accounts:read`.
#[crate::boxed]
pub async fn get(parts: &Parts, caller: &Caller, id: AccountId) -> Result<AccountView, Error> {
    caller.need("accounts:read")?;
    let tenant = caller.need_tenant()?;
    let (now, inner) = (parts.ports.clock.now(), parts.clone());
    let read = parts.ports.db.read(caller.reach(), move |tx| {
        Box::pin(async move {
            let row = find(tx, tenant, id).await?;
            view::of(tx, &inner, &row, now).await
        })
    });
    Ok(read.await?.seen_by(caller))
}

/// Changes an account. New settings or a new sender end a pause. Needs the scope `accounts:write`.
#[crate::boxed]
pub async fn patch(parts: &Parts, caller: &Caller, id: AccountId, change: AccountPatch) -> Result<AccountView, Error> {
    caller.need("accounts:write")?;
    let tenant = caller.need_tenant()?;
    let now = parts.ports.clock.now();
    let (inner, by) = (parts.clone(), caller.clone());
    let write = parts.ports.db.write(caller.reach(), move |tx| {
        Box::pin(async move { changes::patch(tx, &inner, &by, tenant, id, change, now).await })
    });
    let after = write.await?;
    parts.directory.catch_up().await;
    Ok(after)
}

/// Deletes an account and its stored secrets. Refused while messages wait for it or are on their way. Needs the scope `accounts:write`.
#[crate::boxed]
pub async fn delete(parts: &Parts, caller: &Caller, id: AccountId) -> Result<(), Error> {
    remove(parts, caller, id, false).await
}

/// Deletes an account although messages may wait for it or be on their way: those that wait take the channel's default account instead, or become dead letters
/// ([`crate::waiting::reroute`]). Needs the scope `accounts:write`.
#[crate::boxed]
pub async fn force_delete(parts: &Parts, caller: &Caller, id: AccountId) -> Result<(), Error> {
    remove(parts, caller, id, true).await
}

async fn remove(parts: &Parts, caller: &Caller, id: AccountId, is_forced: bool) -> Result<(), Error> {
    caller.need("accounts:write")?;
    let tenant = caller.need_tenant()?;
    let now = parts.ports.clock.now();
    let (inner, by) = (parts.clone(), caller.clone());
    let write = parts.ports.db.write(caller.reach(), move |tx| {
        Box::pin(async move { changes::delete(tx, &inner, &by, tenant, id, is_forced, now).await })
    });
    write.await?;
    parts.directory.catch_up().await;
    Ok(())
}

/// One of the tenant's accounts that people manage: endpoints are found elsewhere.
pub(crate) async fn find(tx: &mut Tx, tenant: TenantId, id: AccountId) -> Result<accounts::Account, Error> {
    let row = accounts::find(tx, tenant, id).await?;
    let is_listed = |row: &accounts::Account| !registry::is_internal(&row.connector) || row.connector == "noop";
    row.filter(is_listed).ok_or_else(|| Error::not_found("account"))
}
