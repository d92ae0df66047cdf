//! API keys: who calls, and what they may do.
//!
//! A key is `tdk_` (a tenant's) or `tdo_` (an operator's) and 40 random characters; only its SHA-256 is kept, which is enough because nobody can guess the key.
//! An unknown, a revoked and an expired key get the same answer.

mod ip;
mod operations;
mod scope;

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use aws_lc_rs::digest::{SHA256, digest};
use model::{KeyId, TenantId, Timestamp, UserId};
use store::{Scope, api_keys};

pub use ip::{IpRange, RANGES_MAX};
pub use operations::{ApiKeyView, KEYS_MAX, NewApiKey, NewApiKeyView, bootstrap, create, list, make, revoke};
pub(crate) use operations::{Draft, insert};
pub use scope::{SCOPES, Scopes};

use crate::{
    Error, ErrorKind, Parts,
    access::permissions::{self, Permission, Permissions},
    bounded::Bounded,
};

/// What begins a tenant's key.
pub const TENANT_PREFIX: &str = "tdk_";
/// What begins an operator's key.
pub const OPERATOR_PREFIX: &str = "tdo_";
/// Random characters of a key we make: 238 bits.
const SECRET_LEN: usize = 40;
/// Longest bearer text we look at.
const BEARER_MAX: usize = 256;
/// `last_used_at` is written at most this often per key, in milliseconds.
const TOUCH_EVERY_MS: i64 = 60_000;
/// Keys whose last use is remembered between writes.
const TOUCHED_MAX: usize = 16_384;
/// Uses written in one transaction.
const TOUCHES_PER_STEP: usize = 500;

/// A key that was not revoked, as the directory keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// Which one.
    pub id: KeyId,
    /// Whose; `None` for the operator's.
    pub tenant: Option<TenantId>,
    /// Name for people.
    pub name: Arc<str>,
    /// What it may do.
    pub scopes: Scopes,
    /// From where it may be used; empty for everywhere.
    pub ip_allow_list: Vec<IpRange>,
    /// Until when it may be used.
    pub expires_at: Option<Timestamp>,
    /// True when the stored allow-list cannot be read; then the key may be used from nowhere.
    pub is_shut: bool,
}

impl ApiKey {
    pub(crate) fn from_row(row: &api_keys::ApiKey) -> Self {
        let ranges: Result<Vec<IpRange>, _> = row.ip_allow_list.split_whitespace().map(str::parse).collect();
        Self {
            id: row.id,
            tenant: row.tenant,
            name: Arc::from(row.name.as_str()),
            scopes: Scopes::from_stored(&row.scopes),
            is_shut: ranges.is_err(),
            ip_allow_list: ranges.unwrap_or_default(),
            expires_at: row.expires_at,
        }
    }

    fn allows(&self, ip: Option<IpAddr>) -> bool {
        let is_listed = |ip| self.ip_allow_list.iter().any(|range| range.holds(ip));
        !self.is_shut && (self.ip_allow_list.is_empty() || ip.is_some_and(is_listed))
    }
}

/// Who makes a request, inside which tenant, and what they may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The tenant the request acts in; `None` for an operator outside of any.
    pub tenant: Option<TenantId>,
    /// True for the operator's staff and programs.
    pub is_operator: bool,
    /// The key; `None` for people, and for the command line on the machine itself.
    pub key_id: Option<KeyId>,
    /// The person who signed in; `None` for keys and the command line.
    pub user_id: Option<UserId>,
    /// The key's name, or the person's e-mail address: for the audit log.
    pub name: Option<Arc<str>>,
    /// What they may do.
    pub scopes: Scopes,
    /// What a tenant's member may do more precisely than scopes tell: channel by channel. `None` for everybody else, whose scopes say all.
    pub permissions: Option<Arc<Permissions>>,
    /// From where.
    pub ip: Option<IpAddr>,
    /// What their browser or program calls itself: for the audit log.
    pub agent: Option<Arc<str>>,
}

impl Caller {
    /// The command line, or the program itself: an operator who may do everything.
    pub const fn system(tenant: Option<TenantId>) -> Self {
        Self {
            tenant,
            is_operator: true,
            key_id: None,
            user_id: None,
            name: None,
            scopes: Scopes::All,
            permissions: None,
            ip: None,
            agent: None,
        }
    }

    /// True for the operator's staff and keys; not for the program itself, nor for the command line.
    pub const fn acts_for_operator(&self) -> bool {
        self.is_operator && (self.key_id.is_some() || self.user_id.is_some())
    }

    /// How the audit log names them: `key_…`, `usr_…` or `system`.
    pub fn actor(&self) -> String {
        let user = || self.user_id.map(|user| user.to_string());
        self.key_id.map(|key| key.to_string()).or_else(user).unwrap_or_else(|| "system".to_owned())
    }

    /// Whether they may do this. A key may when it has every scope that needs the permission.
    pub fn can(&self, permission: Permission) -> bool {
        match &self.permissions {
            Some(permissions) => permissions.allow(permission),
            None => permissions::scopes_allow(&self.scopes, permission),
        }
    }

    /// The scopes a key they make may have.
    pub fn key_scopes(&self) -> Scopes {
        self.permissions.as_ref().map_or_else(|| self.scopes.clone(), |permissions| permissions.key_scopes())
    }

    /// Refuses a member whose permissions leave this one out; for what scopes are too coarse to tell, such as one channel among several.
    pub fn need_permission(&self, permission: Permission) -> Result<(), Error> {
        match &self.permissions {
            Some(permissions) if !permissions.allow(permission) => Err(Error::forbidden(
                "missing_permission",
                format!(
                    "You do not have the permission `{permission}` here. Ask an administrator of the tenant for it."
                ),
            )),
            _ => Ok(()),
        }
    }

    /// Refuses a caller without this scope.
    pub fn need(&self, scope: &'static str) -> Result<(), Error> {
        if self.scopes.allow(scope) {
            return Ok(());
        }
        if self.user_id.is_some() {
            return Err(Error::forbidden(
                "missing_permission",
                format!("Your role does not allow `{scope}` here. Ask an administrator of the tenant for it."),
            ));
        }
        Err(Error::forbidden(
            "missing_scope",
            format!(
                "This API key does not have the scope `{scope}`. Use a key that has it, or make one under /v1/api-keys."
            ),
        ))
    }

    /// Refuses everybody but operators with this scope.
    pub fn need_operator(&self, scope: &'static str) -> Result<(), Error> {
        if !self.is_operator {
            return Err(Error::forbidden(
                "operator_only",
                "Only the operator can do this. Use an operator's key (tdo_…), or sign in as one of its staff.",
            ));
        }
        self.need(scope)
    }

    /// The tenant the request acts in, or a refusal that says how an operator names one.
    pub fn need_tenant(&self) -> Result<TenantId, Error> {
        self.tenant.ok_or_else(|| {
            Error::new(
                ErrorKind::Malformed,
                "tenant_required",
                "This operation works inside a tenant. Name it in the header `Tidings-Tenant: ten_…`, or use one of its own keys.",
            )
        })
    }

    /// Whose data the caller's own belong to: the tenant, or the operator.
    pub fn owner(&self) -> TenantId {
        self.tenant.unwrap_or(crate::vault::OPERATOR)
    }

    /// The same for somebody with this scope, refused to who is neither in a tenant nor the operator.
    pub fn need_owner(&self, scope: &'static str) -> Result<TenantId, Error> {
        self.need(scope)?;
        if !self.is_operator {
            self.need_tenant()?;
        }
        Ok(self.owner())
    }

    /// Which rows a request of this caller may touch.
    pub fn reach(&self) -> Scope {
        self.tenant.map_or(Scope::System, Scope::Tenant)
    }
}

/// Recognises a caller by the bearer of `Authorization`, the header `Tidings-Tenant` and the address it comes from. Reads memory on the usual path.
#[crate::boxed]
pub async fn authenticate(
    parts: &Parts,
    bearer: Option<&str>,
    tidings_tenant: Option<&str>,
    ip: Option<IpAddr>,
    now: Timestamp,
) -> Result<Caller, Error> {
    let bearer = bearer.ok_or_else(|| {
        Error::new(
            ErrorKind::Unauthorized,
            "api_key_missing",
            "This needs an API key: send the header `Authorization: Bearer tdk_…`.",
        )
    })?;
    let hash = hash(bearer).ok_or_else(invalid)?;
    let key = parts.directory.api_key(&hash).await?.ok_or_else(invalid)?;
    if key.expires_at.is_some_and(|at| at <= now) {
        return Err(invalid());
    }
    // A deleted tenant's keys are as good as unknown.
    if let Some(tenant) = key.tenant {
        parts.directory.tenant(tenant).await?.ok_or_else(invalid)?;
    }
    if !key.allows(ip) {
        return Err(Error::forbidden(
            "ip_not_allowed",
            format!(
                "The API key {} may not be used from this address. Call from an address on its allow-list, or make another key.",
                key.id
            ),
        ));
    }
    let tenant = acting_in(parts, key.tenant, tidings_tenant).await?;
    parts.directory.last_used.note(key.id, now);
    Ok(Caller {
        tenant,
        is_operator: key.tenant.is_none(),
        key_id: Some(key.id),
        user_id: None,
        name: Some(Arc::clone(&key.name)),
        scopes: key.scopes.clone(),
        permissions: None,
        ip,
        agent: None,
    })
}

async fn acting_in(parts: &Parts, own: Option<TenantId>, named: Option<&str>) -> Result<Option<TenantId>, Error> {
    let Some(named) = named else { return Ok(own) };
    let named: Option<TenantId> = named.trim().parse().ok();
    let is_there = match (own, named) {
        (Some(own), Some(named)) => own == named,
        (None, Some(named)) => parts.directory.tenant(named).await?.is_some(),
        (_, None) => false,
    };
    if is_there {
        return Ok(named);
    }
    Err(Error::new(
        ErrorKind::NotFound,
        "tenant_not_found",
        "The header `Tidings-Tenant` names a tenant that does not exist. It takes an id such as ten_01K9ZC8Q6T7Y2V5B3N4M1XWRSD.",
    ))
}

/// One text for every key that is not good.
fn invalid() -> Error {
    Error::new(
        ErrorKind::Unauthorized,
        "invalid_api_key",
        "This API key is unknown, revoked or expired. Make another under /v1/api-keys or ask the operator.",
    )
}

/// The hash of something that looks like a key.
fn hash(bearer: &str) -> Option<[u8; 32]> {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
    let looks_right = bearer.len() <= BEARER_MAX
        && (bearer.starts_with(TENANT_PREFIX) || bearer.starts_with(OPERATOR_PREFIX))
        && bearer.bytes().all(is_plain);
    looks_right.then(|| sha256(bearer))
}

fn sha256(text: &str) -> [u8; 32] {
    digest(&SHA256, text.as_bytes()).as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// Remembers when keys were used until the background job writes it down.
pub struct LastUsed(Mutex<Uses>);

struct Uses {
    noted: Bounded<KeyId, Timestamp>,
    waiting: HashMap<KeyId, Timestamp>,
}

impl Default for LastUsed {
    fn default() -> Self {
        Self(Mutex::new(Uses { noted: Bounded::new(TOUCHED_MAX), waiting: HashMap::new() }))
    }
}

impl LastUsed {
    /// Notes a use, unless one was noted within the last minute.
    fn note(&self, key: KeyId, now: Timestamp) {
        let mut uses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_fresh = uses.noted.get(&key).is_some_and(|at| now.millis_since(*at).abs() < TOUCH_EVERY_MS);
        if !is_fresh && uses.waiting.len() < TOUCHED_MAX {
            uses.noted.insert(key, now);
            uses.waiting.insert(key, now);
        }
    }

    fn take(&self) -> Vec<(KeyId, Timestamp)> {
        let waiting = std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner).waiting);
        // In one order on every node, so that two of them never wait for each other's rows.
        let mut waiting: Vec<_> = waiting.into_iter().collect();
        waiting.sort_unstable();
        waiting
    }
}

/// Writes down when keys were last used. Run every few seconds; what a crash loses is a minute of `last_used_at`.
#[crate::boxed]
pub async fn flush_last_used(parts: &Parts) -> Result<u64, Error> {
    let mut written = 0;
    for step in parts.directory.last_used.take().chunks(TOUCHES_PER_STEP) {
        let step = step.to_vec();
        let write = parts
            .ports
            .db
            .write(Scope::System, move |tx| Box::pin(async move { Ok::<_, Error>(api_keys::touch(tx, &step).await?) }));
        written += write.await?;
    }
    Ok(written)
}
