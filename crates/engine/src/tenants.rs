//! Tenants: the operator's customers. Made, suspended and deleted by the operator only; what a tenant is called and where it is at home, its own administrators change, too.
//!
//! A suspended tenant can still look at what it has; accept refuses its messages and the dispatcher holds back what is queued. A deleted tenant is gone for
//! everybody at once: its keys answer 401, its callbacks 404; its rows follow in bounded steps (`removal`).

pub mod removal;

use std::sync::Arc;

use model::{Ids, TenantId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use store::{Scope, Tx, credits, tenants};
use utoipa::ToSchema;

use crate::{
    Error, Parts, audit,
    directory::TenantState,
    keys::{self, Caller, NewApiKeyView},
    names::Faults,
    once::{Repeat, Reply, Secrecy, once},
    page::{Page, Window},
    patch::Patch,
    plans::subscription,
};

/// Highest rate a tenant can be given; more than one node can serve.
const PER_SECOND_MAX: u32 = 1_000_000;
const TIMEZONE_DEFAULT: &str = "UTC";
const CURRENCY_DEFAULT: &str = "USD";

/// A tenant to be made.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewTenant {
    /// Name for people.
    #[schema(example = "Acme Tickets")]
    pub name: String,
    /// IANA time zone; UTC when left out.
    #[serde(default)]
    #[schema(example = "Europe/Berlin")]
    pub timezone: Option<String>,
    /// ISO 4217 currency; USD when left out.
    #[serde(default)]
    #[schema(example = "EUR")]
    pub currency: Option<String>,
    /// ISO 3166-1 alpha-2 country.
    #[serde(default)]
    #[schema(example = "DE")]
    pub default_country: Option<String>,
    /// API requests a second; the installation's default when left out.
    #[serde(default)]
    pub per_second: Option<u32>,
}

/// Changes of a tenant.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TenantPatch {
    /// Name for people.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub name: Patch<String>,
    /// `suspended` stops sending; `active` lets it go on.
    #[serde(default)]
    #[schema(value_type = Option<TenantState>)]
    pub state: Patch<TenantState>,
    /// IANA time zone; `null` for UTC.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub timezone: Patch<String>,
    /// ISO 4217 currency; `null` for USD.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub currency: Patch<String>,
    /// ISO 3166-1 alpha-2 country.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub default_country: Patch<String>,
    /// API requests a second; `null` for the installation's default.
    #[serde(default)]
    #[schema(value_type = Option<u32>)]
    pub per_second: Patch<u32>,
}

/// Changes a tenant makes of itself. What it pays in, how much it may ask and whether it may send is the operator's.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OwnTenantPatch {
    /// Name for people.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub name: Patch<String>,
    /// IANA time zone; `null` for UTC.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub timezone: Patch<String>,
    /// ISO 3166-1 alpha-2 country; `null` for none.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub default_country: Patch<String>,
}

impl From<OwnTenantPatch> for TenantPatch {
    fn from(change: OwnTenantPatch) -> Self {
        let OwnTenantPatch { name, timezone, default_country } = change;
        Self { name, timezone, default_country, ..Self::default() }
    }
}

/// A tenant as people see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct TenantView {
    /// Its id.
    #[schema(value_type = String, example = "ten_01K9ZC8Q6T7Y2V5B3N4M1XWRSD")]
    pub id: TenantId,
    /// Name for people.
    pub name: String,
    /// Whether it may send.
    pub state: TenantState,
    /// IANA time zone.
    pub timezone: String,
    /// ISO 4217 currency.
    pub currency: String,
    /// ISO 3166-1 alpha-2 country.
    pub default_country: Option<String>,
    /// API requests a second, when other than the installation's default.
    pub per_second: Option<u32>,
    /// True for a demo tenant, which can never really send.
    pub is_demo: bool,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it last changed.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}

fn view(row: tenants::Tenant) -> TenantView {
    TenantView {
        id: row.id,
        name: row.name,
        state: TenantState::from_stored(&row.state),
        timezone: row.timezone,
        currency: row.currency,
        default_country: row.default_country,
        per_second: row.per_second,
        is_demo: row.is_demo,
        created_at: row.created_at,
        updated_at: row.updated_at,
    }
}

/// What people can change, for the audit log.
fn detail(row: &tenants::Tenant) -> Value {
    json!({
        "name": row.name, "state": row.state, "timezone": row.timezone, "currency": row.currency, "default_country": row.default_country,
        "per_second": row.per_second,
    })
}

pub(crate) fn check(new: NewTenant, id: TenantId, now: Timestamp) -> Result<tenants::Tenant, Error> {
    let mut faults = Faults::default();
    let row = tenants::Tenant {
        id,
        name: faults.name("/name", &new.name),
        state: TenantState::Active.as_str().to_owned(),
        timezone: faults.timezone("/timezone", new.timezone.as_deref().unwrap_or(TIMEZONE_DEFAULT)),
        currency: faults.currency("/currency", new.currency.as_deref().unwrap_or(CURRENCY_DEFAULT)),
        default_country: new.default_country.map(|code| faults.country("/default_country", &code)),
        per_second: new.per_second.map(|rate| faults.number("/per_second", rate, PER_SECOND_MAX)),
        is_demo: false,
        config_version: 0,
        created_at: now,
        updated_at: now,
        deleted_at: None,
    };
    faults.end()?;
    Ok(row)
}

pub(crate) async fn insert(
    tx: &mut Tx,
    ids: &Ids,
    caller: &Caller,
    mut row: tenants::Tenant,
) -> Result<TenantView, Error> {
    row.config_version = tenants::bump(tx, None).await?;
    tenants::insert(tx, &row).await?;
    record(tx, ids, row.created_at, caller, "tenant.created", row.id, &detail(&row)).await?;
    Ok(view(row))
}

/// Into the tenant's log and the operator's.
async fn record(
    tx: &mut Tx,
    ids: &Ids,
    now: Timestamp,
    caller: &Caller,
    action: &'static str,
    tenant: TenantId,
    detail: &Value,
) -> Result<(), Error> {
    audit::record_in_both(tx, tenant, ids, now, caller, action, tenant, detail).await
}

/// The caller outside of any tenant: work on tenants touches rows of more than one.
pub(crate) fn outside(caller: &Caller) -> Caller {
    Caller { tenant: None, ..caller.clone() }
}

/// Makes a tenant. Needs an operator with the scope `tenants:write`.
#[crate::boxed]
pub async fn create(parts: &Parts, caller: &Caller, repeat: &Repeat, new: NewTenant) -> Result<Reply, Error> {
    caller.need_operator("tenants:write")?;
    let now = parts.ports.clock.now();
    let ids = Arc::clone(&parts.ports.ids);
    let row = check(new, TenantId::from_ulid(ids.ulid(now)), now)?;
    let by = outside(caller);
    let inner = by.clone();
    once(parts, &by, repeat, 201, Secrecy::Plain, move |tx| {
        Box::pin(async move { insert(tx, &ids, &inner, row).await })
    })
    .await
}

/// Makes a tenant with a first API key that may do everything, for the command line.
#[crate::boxed]
pub async fn create_with_key(
    parts: &Parts,
    caller: &Caller,
    new: NewTenant,
) -> Result<(TenantView, NewApiKeyView), Error> {
    caller.need_operator("tenants:write")?;
    let now = parts.ports.clock.now();
    let ids = Arc::clone(&parts.ports.ids);
    let row = check(new, TenantId::from_ulid(ids.ulid(now)), now)?;
    let by = outside(caller);
    let write = parts.ports.db.write(Scope::System, move |tx| {
        Box::pin(async move {
            let tenant = insert(tx, &ids, &by, row).await?;
            let draft = keys::Draft::all("First key");
            let key = keys::insert(tx, &ids, now, &by, Some(tenant.id), draft, None).await?;
            Ok::<_, Error>((tenant, key))
        })
    });
    write.await
}

/// Lists tenants, newest first. Needs an operator with the scope `tenants:read`.
#[crate::boxed]
pub async fn list(
    parts: &Parts,
    caller: &Caller,
    limit: Option<u32>,
    cursor: Option<&str>,
) -> Result<Page<TenantView>, Error> {
    caller.need_operator("tenants:read")?;
    let window = Window::read("tenants", limit, cursor)?;
    let read = parts.ports.db.read(Scope::System, move |tx| {
        Box::pin(async move {
            let before = TenantId::from_ulid(window.before);
            Ok::<_, Error>(tenants::list(tx, before, window.rows()).await?)
        })
    });
    Ok(window.page(read.await?, |row| row.id.ulid(), view))
}

/// Reads one tenant. Needs an operator with the scope `tenants:read`.
#[crate::boxed]
pub async fn get(parts: &Parts, caller: &Caller, id: TenantId) -> Result<TenantView, Error> {
    caller.need_operator("tenants:read")?;
    find(parts, id).await
}

/// Reads the tenant the caller acts in. Needs the scope `tenant:read`.
#[crate::boxed]
pub async fn own(parts: &Parts, caller: &Caller) -> Result<TenantView, Error> {
    caller.need("tenant:read")?;
    find(parts, caller.need_tenant()?).await
}

async fn find(parts: &Parts, id: TenantId) -> Result<TenantView, Error> {
    let read = parts
        .ports
        .db
        .read(Scope::Tenant(id), move |tx| Box::pin(async move { Ok::<_, Error>(tenants::find(tx, id).await?) }));
    read.await?.map(view).ok_or_else(|| Error::not_found("tenant"))
}

/// Changes a tenant. Needs an operator with the scope `tenants:write`.
#[crate::boxed]
pub async fn patch(parts: &Parts, caller: &Caller, id: TenantId, change: TenantPatch) -> Result<TenantView, Error> {
    caller.need_operator("tenants:write")?;
    change_to(parts, caller, id, change).await
}

/// Changes the tenant the caller acts in. Needs the scope `tenant:write`.
#[crate::boxed]
pub async fn patch_own(parts: &Parts, caller: &Caller, change: OwnTenantPatch) -> Result<TenantView, Error> {
    caller.need("tenant:write")?;
    change_to(parts, caller, caller.need_tenant()?, change.into()).await
}

async fn change_to(parts: &Parts, caller: &Caller, id: TenantId, change: TenantPatch) -> Result<TenantView, Error> {
    let now = parts.ports.clock.now();
    let (ids, by) = (Arc::clone(&parts.ports.ids), outside(caller));
    let write = parts.ports.db.write(Scope::System, move |tx| {
        Box::pin(async move {
            tenants::bump(tx, Some(id)).await?;
            let before = tenants::find(tx, id).await?.ok_or_else(|| Error::not_found("tenant"))?;
            let after = changed(before.clone(), change, now)?;
            if after.currency != before.currency {
                change_ledger(tx, id, &after.currency, now).await?;
            }
            if after.default_country != before.default_country && !by.is_operator {
                subscription::keep_country(tx, id, before.default_country.clone(), now).await?;
            }
            tenants::update(tx, &after).await?;
            let difference = audit::difference(&detail(&before), &detail(&after));
            record(tx, &ids, now, &by, "tenant.updated", id, &difference).await?;
            Ok::<_, Error>(view(after))
        })
    });
    let after = write.await?;
    parts.directory.catch_up().await;
    Ok(after)
}

/// Gives a ledger that nothing was ever moved in the tenant's new currency; one that is in use has its own for good.
async fn change_ledger(tx: &mut Tx, id: TenantId, currency: &str, now: Timestamp) -> Result<(), Error> {
    let Some(ledger) = credits::lock(tx, id).await?.filter(|ledger| ledger.currency != currency) else { return Ok(()) };
    if ledger.entries > 0 || ledger.mode != "none" {
        let detail = format!(
            "The tenant's credit is in {}, and its messages are charged in it: an amount in one currency is none in another. Make a tenant of its own for {currency}.",
            ledger.currency
        );
        return Err(Error::conflict("ledger_in_use", detail));
    }
    Ok(credits::put(tx, id, &credits::Ledger { currency: currency.to_owned(), updated_at: now, ..ledger }).await?)
}

fn changed(before: tenants::Tenant, change: TenantPatch, now: Timestamp) -> Result<tenants::Tenant, Error> {
    let mut faults = Faults::default();
    let mut after = before;
    after.name = change.name.required(after.name, "/name", &mut faults.0);
    after.name = faults.name("/name", &after.name);
    let state = change.state.required(TenantState::from_stored(&after.state), "/state", &mut faults.0);
    after.state = state.as_str().to_owned();
    after.timezone = faults.timezone("/timezone", &change.timezone.or(after.timezone, TIMEZONE_DEFAULT.to_owned()));
    after.currency = faults.currency("/currency", &change.currency.or(after.currency, CURRENCY_DEFAULT.to_owned()));
    after.default_country =
        change.default_country.onto(after.default_country).map(|code| faults.country("/default_country", &code));
    after.per_second =
        change.per_second.onto(after.per_second).map(|rate| faults.number("/per_second", rate, PER_SECOND_MAX));
    after.updated_at = now;
    faults.end()?;
    Ok(after)
}

/// Deletes a tenant: it is suspended and hidden, and its keys stop working; everything it has is removed soon after. Needs an operator with the scope `tenants:write`.
#[crate::boxed]
pub async fn delete(parts: &Parts, caller: &Caller, id: TenantId) -> Result<(), Error> {
    caller.need_operator("tenants:write")?;
    end(parts, caller, id).await
}

/// What [`delete`] does, for whoever may.
pub(crate) async fn end(parts: &Parts, caller: &Caller, id: TenantId) -> Result<(), Error> {
    let now = parts.ports.clock.now();
    let (ids, by) = (Arc::clone(&parts.ports.ids), outside(caller));
    let write = parts.ports.db.write(Scope::System, move |tx| {
        Box::pin(async move {
            tenants::bump(tx, Some(id)).await?;
            let mut row = tenants::find(tx, id).await?.ok_or_else(|| Error::not_found("tenant"))?;
            row.state = TenantState::Suspended.as_str().to_owned();
            row.updated_at = now;
            row.deleted_at = Some(now);
            tenants::update(tx, &row).await?;
            record(tx, &ids, now, &by, "tenant.deleted", id, &json!({"name": row.name})).await
        })
    });
    write.await?;
    parts.directory.catch_up().await;
    Ok(())
}
