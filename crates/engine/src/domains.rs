//! Mail domains: made known to the provider, or given keys of our own; their records looked up in the DNS until everything is in order.
//!
//! A domain belongs to one account. Where the provider has an API for domains, it says which records it wants and whether it is content; for a mail server we
//! make the keys and the records ourselves, and sign once they are found ([`connectors::dkim`]). Whoever verifies, a request or the job, does the same: ask the
//! provider, ask the DNS, write what was found. Between the two nothing is locked; the later one wins.

mod check;
mod keys;
mod records;
mod spf;

use connectors::manage::{DomainRef, DomainState};
use model::{AccountId, DomainId, TenantId, Timestamp};
use serde::{Deserialize, Serialize};
use store::{Scope, Tx, domains, tenants};
use utoipa::ToSchema;

pub use check::recheck;
pub use records::{RecordState, RecordView};

use crate::{
    Engine, Error, Parts,
    accounts::changes,
    audit,
    directory::Account,
    keys::Caller,
    once::{self, Repeat, Reply, Secrecy, once},
    page::{Page, Window},
    provider,
};

/// Domains a tenant can have: they are read together whenever the tenant is.
pub const DOMAINS_MAX: usize = 500;

/// A domain to be made.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewDomain {
    /// Its name.
    #[schema(example = "acme.example")]
    pub name: String,
    /// The account that sends for it.
    #[schema(value_type = String, example = "acc_01K9ZC8Q6T7Y2V5B3N4M1XWRSD")]
    pub account_id: AccountId,
}

/// A domain as people see it.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct DomainView {
    /// Its id.
    #[schema(value_type = String, example = "dom_01K9ZC8Q6T7Y2V5B3N4M1XWRSD")]
    pub id: DomainId,
    /// Its name in lower case; letters beyond ASCII in their `xn--` form.
    pub name: String,
    /// The account that sends for it.
    #[schema(value_type = String)]
    pub account_id: AccountId,
    /// `pending` until the records are found and the provider is content, then `verified`; `failed` when it was verified and no longer is, or the provider gave up.
    #[schema(value_type = String, example = "pending")]
    pub state: DomainState,
    /// The provider's own words.
    pub detail: Option<String>,
    /// What has to stand in the DNS, and what was found there.
    pub records: Vec<RecordView>,
    /// When it was last checked.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub checked_at: Option<Timestamp>,
    /// When it is checked next by itself.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_check_at: Option<Timestamp>,
    /// When it was found in order.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub verified_at: Option<Timestamp>,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it last changed.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}

/// Makes a domain known. Needs the scope `accounts:write`.
#[crate::boxed]
pub async fn create(parts: &Parts, caller: &Caller, repeat: &Repeat, new: NewDomain) -> Result<Reply, Error> {
    caller.need("accounts:write")?;
    let tenant = caller.need_tenant()?;
    if let Some(before) = once::replay(parts, caller, repeat).await? {
        return Ok(before);
    }
    let name = read_name(&new.name)?;
    let account = provider::named_account(parts, tenant, new.account_id).await?;
    changes::may_manage(caller, &account.channels)?;
    let read =
        parts.ports.db.read(caller.reach(), move |tx| Box::pin(async move { domains::states(tx, tenant).await }));
    let known = read.await?;
    if known.len() >= DOMAINS_MAX {
        let detail = format!("There are {DOMAINS_MAX} domains already, which is the most. Delete those nobody uses.");
        return Err(Error::conflict("too_many_domains", detail));
    }
    if known.iter().any(|(on, found, _)| *on == account.id && *found == name) {
        return Err(exists(&name));
    }
    let made = make(parts, &account, &name).await?;
    let now = parts.ports.clock.now();
    let row = domains::Domain {
        id: DomainId::from_ulid(parts.ports.ids.ulid(now)),
        tenant_id: tenant,
        account_id: account.id,
        state: check::word(made.state).to_owned(),
        reference: made.reference,
        records: serde_json::to_string(&made.records).map_err(Error::internal)?,
        detail: made.detail,
        checks: 0,
        checked_at: None,
        next_check_at: Some(now.plus_millis(check::FIRST_MS)),
        verified_at: (made.state == DomainState::Verified).then_some(now),
        created_at: now,
        updated_at: now,
        name,
    };
    let (inner, by, keys) = (parts.clone(), caller.clone(), made.keys);
    let reply = once(parts, caller, repeat, 201, Secrecy::Plain, move |tx| {
        Box::pin(async move { insert(tx, &inner, &by, row, keys, now).await })
    })
    .await?;
    parts.directory.catch_up().await;
    Ok(reply)
}

/// What was made for a new domain, at the provider or by us.
struct Made {
    reference: String,
    state: DomainState,
    detail: Option<String>,
    records: Vec<RecordView>,
    /// Sealed into the account's settings.
    keys: Option<connectors::dkim::Keys>,
}

async fn make(parts: &Parts, account: &Account, name: &str) -> Result<Made, Error> {
    if let Some(offered) = account.connector.domains() {
        let driven = provider::drive(parts, account, |cx, answers| offered.create(cx, name, answers)).await;
        let made = driven.map_err(provider::refusal)?;
        let records = records::with_policy(made.records, name);
        let records = records.into_iter().map(RecordView::unchecked).collect();
        return Ok(Made { reference: made.reference, state: made.state, detail: made.detail, records, keys: None });
    }
    if !account.connector.signs_mail() {
        let detail = format!("{} knows no mail domains", account.connector.spec().name);
        return Err(Error::invalid("/account_id", detail));
    }
    let (keys, publics) = keys::make(&parts.ports.ids)?;
    let records = records::own(name, &account.values, &parts.config.public_url, &publics);
    Ok(Made {
        reference: name.to_owned(),
        state: DomainState::Pending,
        detail: None,
        records: records.into_iter().map(RecordView::unchecked).collect(),
        keys: Some(keys),
    })
}

async fn insert(
    tx: &mut Tx,
    parts: &Parts,
    caller: &Caller,
    row: domains::Domain,
    keys: Option<connectors::dkim::Keys>,
    now: Timestamp,
) -> Result<DomainView, Error> {
    tenants::bump(tx, Some(row.tenant_id)).await?;
    // The account may have been deleted while the provider was asked.
    crate::accounts::find(tx, row.tenant_id, row.account_id).await?;
    if !domains::insert(tx, &row).await? {
        return Err(exists(&row.name));
    }
    if let Some(keys) = keys {
        keys::keep(tx, parts, &row, &keys, now).await?;
    }
    let detail = serde_json::json!({"name": row.name, "account_id": row.account_id});
    audit::record(tx, row.tenant_id, &parts.ports.ids, now, caller, "domain.created", row.id, &detail).await?;
    Ok(view(row))
}

/// Lists the tenant's domains, newest first. Needs the scope `accounts:read`.
#[crate::boxed]
pub async fn list(
    parts: &Parts,
    caller: &Caller,
    limit: Option<u32>,
    cursor: Option<&str>,
) -> Result<Page<DomainView>, Error> {
    caller.need("accounts:read")?;
    let tenant = caller.need_tenant()?;
    let window = Window::read("domains", limit, cursor)?;
    let read = parts.ports.db.read(caller.reach(), move |tx| {
        Box::pin(async move { domains::list(tx, tenant, DomainId::from_ulid(window.before), window.rows()).await })
    });
    Ok(window.page(read.await?, |row| row.id.ulid(), view))
}

/// Reads one of the tenant's domains. Needs the scope `accounts:read`.
#[crate::boxed]
pub async fn get(parts: &Parts, caller: &Caller, id: DomainId) -> Result<DomainView, Error> {
    caller.need("accounts:read")?;
    find(parts, caller.need_tenant()?, id).await.map(view)
}

/// Looks the domain's records up and asks the provider, now. Needs the scope `accounts:write`.
#[crate::boxed]
pub async fn verify(engine: &Engine, caller: &Caller, repeat: &Repeat, id: DomainId) -> Result<Reply, Error> {
    caller.need("accounts:write")?;
    let tenant = caller.need_tenant()?;
    if let Some(before) = once::replay(engine.parts(), caller, repeat).await? {
        return Ok(before);
    }
    let row = find(engine.parts(), tenant, id).await?;
    let account = provider::account(engine.parts(), tenant, row.account_id).await?;
    changes::may_manage(caller, &account.channels)?;
    check::check(engine, caller, repeat, row).await
}

/// Forgets a domain, here and at the provider, with its keys. Needs the scope `accounts:write`.
#[crate::boxed]
pub async fn delete(parts: &Parts, caller: &Caller, id: DomainId) -> Result<(), Error> {
    caller.need("accounts:write")?;
    let tenant = caller.need_tenant()?;
    let row = find(parts, tenant, id).await?;
    let account = provider::account(parts, tenant, row.account_id).await?;
    changes::may_manage(caller, &account.channels)?;
    if let Some(offered) = account.connector.domains() {
        let at = DomainRef { name: &row.name, reference: &row.reference };
        let driven = provider::drive(parts, &account, |cx, answers| offered.remove(cx, &at, answers)).await;
        driven.map_err(provider::refusal)?;
    }
    let (now, inner, by) = (parts.ports.clock.now(), parts.clone(), caller.clone());
    let write = parts.ports.db.write(caller.reach(), move |tx| {
        Box::pin(async move {
            tenants::bump(tx, Some(tenant)).await?;
            if !domains::remove(tx, tenant, id).await? {
                return Err(Error::not_found("domain"));
            }
            let forgotten = [(connectors::dkim::setting(&row.name), None)];
            changes::change_settings(tx, &inner, tenant, row.account_id, &forgotten, now).await?;
            let detail = serde_json::json!({"name": row.name, "account_id": row.account_id});
            audit::record(tx, tenant, &inner.ports.ids, now, &by, "domain.deleted", id, &detail).await
        })
    });
    write.await?;
    parts.directory.catch_up().await;
    Ok(())
}

async fn find(parts: &Parts, tenant: TenantId, id: DomainId) -> Result<domains::Domain, Error> {
    let read = parts
        .ports
        .db
        .read(Scope::Tenant(tenant), move |tx| Box::pin(async move { domains::find(tx, tenant, id).await }));
    read.await?.ok_or_else(|| Error::not_found("domain"))
}

fn view(row: domains::Domain) -> DomainView {
    DomainView {
        id: row.id,
        account_id: row.account_id,
        state: check::state(&row.state),
        detail: row.detail,
        records: serde_json::from_str(&row.records).unwrap_or_default(),
        checked_at: row.checked_at,
        next_check_at: row.next_check_at,
        verified_at: row.verified_at,
        created_at: row.created_at,
        updated_at: row.updated_at,
        name: row.name,
    }
}

/// The name as the DNS has it.
fn read_name(text: &str) -> Result<String, Error> {
    let refused = || Error::invalid("/name", "must be a domain such as acme.example, without a scheme or an @");
    let text = text.trim().trim_end_matches('.');
    if text.contains('@') || !text.contains('.') {
        return Err(refused());
    }
    // What can stand behind the @ of an address can send mail.
    let address: model::EmailAddress = format!("postmaster@{text}").parse().map_err(|_| refused())?;
    Ok(address.domain().to_ascii_lowercase())
}

fn exists(name: &str) -> Error {
    Error::conflict("domain_exists", format!("This account has the domain {name} already."))
}

/// The state of the nearest domain of an account that covers a name.
pub(crate) fn covering(states: &[(AccountId, String, String)], account: AccountId, name: &str) -> Option<DomainState> {
    let mut name = name;
    while name.contains('.') {
        if let Some((_, _, state)) = states.iter().find(|(on, found, _)| *on == account && found == name) {
            return Some(check::state(state));
        }
        name = name.split_once('.')?.1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_the_dns_has_them() {
        let read = |text: &str| read_name(text).map_err(|error| error.errors[0].pointer.clone());
        assert_eq!(read(" Acme.Example. "), Ok("acme.example".to_owned()));
        assert_eq!(read("bücher.example"), Ok("xn--bcher-kva.example".to_owned()));
        for bad in ["", "acme", "https://acme.example", "a@acme.example", "acme..example", "-acme.example x"] {
            assert_eq!(read(bad), Err("/name".to_owned()), "{bad}");
        }
    }

    #[test]
    fn a_domain_covers_those_below_it() {
        let account = AccountId::from_ulid(1);
        let states = [(account, "acme.example".to_owned(), "verified".to_owned())];
        assert_eq!(covering(&states, account, "news.acme.example"), Some(DomainState::Verified));
        assert_eq!(covering(&states, account, "acme.example.org"), None);
        assert_eq!(covering(&states, AccountId::from_ulid(2), "acme.example"), None);
    }
}
