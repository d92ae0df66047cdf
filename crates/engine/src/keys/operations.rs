//! Making, listing and revoking keys, and the first key of an installation.

use std::sync::Arc;

use model::{Ids, KeyId, Secret, TenantId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;
use store::{Scope, Tx, api_keys, installation, tenants};
use utoipa::ToSchema;

use super::{
    BEARER_MAX, Caller, IpRange, OPERATOR_PREFIX, RANGES_MAX, SECRET_LEN, Scopes, TENANT_PREFIX, hash, sha256,
};
use crate::{
    Error, ErrorKind, Parts, audit,
    names::Faults,
    once::{Repeat, Reply, Secrecy, once},
    page::{Page, Window},
    vault::OPERATOR,
};

/// Keys one owner can have that were not revoked: enough for every program and person, few enough to look through.
pub const KEYS_MAX: i64 = 500;
/// Shortest bootstrap key, in characters behind its prefix: 128 bits when random.
const BOOTSTRAP_MIN: usize = 22;
/// The fact that the first operator key was made.
const BOOTSTRAPPED: &str = "operator_key_made";

/// What a new key may do, from where and until when.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewApiKey {
    /// Name for people: which program uses it.
    #[schema(example = "Ticket shop")]
    pub name: String,
    /// What it may do. Left out: everything the key making it may do.
    #[serde(default)]
    #[schema(example = json!(["messages:write", "messages:read"]))]
    pub scopes: Option<Vec<String>>,
    /// IP addresses or CIDR ranges it may be used from. Left out or empty: from everywhere.
    #[serde(default)]
    #[schema(example = json!(["192.0.2.0/24"]))]
    pub ip_allow_list: Option<Vec<String>>,
    /// When it ends. Left out: never.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
}

/// A key as people see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ApiKeyView {
    /// Its id.
    #[schema(value_type = String, example = "key_01K9ZC8Q6T7Y2V5B3N4M1XWRSD")]
    pub id: KeyId,
    /// Name for people.
    pub name: String,
    /// Its last characters.
    #[schema(example = "tdk_••••x7Kq")]
    pub hint: String,
    /// What it may do; `*` is everything.
    pub scopes: Vec<String>,
    /// From where; empty for everywhere.
    pub ip_allow_list: Vec<String>,
    /// When it ends.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it was last used, to the minute.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_used_at: Option<Timestamp>,
}

/// A new key. The key itself is shown this once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct NewApiKeyView {
    /// What people see of it from now on.
    #[serde(flatten)]
    pub view: ApiKeyView,
    /// The key: keep it now, it is not stored.
    pub key: String,
}

fn view(row: api_keys::ApiKey) -> ApiKeyView {
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect();
    ApiKeyView {
        id: row.id,
        name: row.name,
        hint: row.hint,
        scopes: words(&row.scopes),
        ip_allow_list: words(&row.ip_allow_list),
        expires_at: row.expires_at,
        created_at: row.created_at,
        last_used_at: row.last_used_at,
    }
}

/// A request that was checked.
#[derive(Debug, Clone)]
pub(crate) struct Draft {
    name: String,
    scopes: Scopes,
    ip_allow_list: Vec<IpRange>,
    expires_at: Option<Timestamp>,
}

impl Draft {
    /// A key that may do everything, from everywhere.
    pub(crate) fn all(name: &str) -> Self {
        Self { name: name.to_owned(), scopes: Scopes::All, ip_allow_list: Vec::new(), expires_at: None }
    }

    fn check(caller: &Caller, new: NewApiKey, now: Timestamp) -> Result<Self, Error> {
        let mut faults = Faults::default();
        let name = faults.name("/name", &new.name);
        let scopes = match new.scopes {
            None => caller.key_scopes().for_owner(caller.tenant.is_none()),
            Some(words) => Scopes::parse(&words, caller.tenant.is_none()).unwrap_or_else(|bad| {
                faults.0.extend(bad);
                Scopes::Some(Default::default())
            }),
        };
        let words = new.ip_allow_list.unwrap_or_default();
        if words.len() > RANGES_MAX {
            faults.add("/ip_allow_list", format!("at most {RANGES_MAX} addresses or ranges"));
        }
        let mut ip_allow_list = Vec::new();
        for (index, word) in words.iter().enumerate().take(RANGES_MAX) {
            match word.parse() {
                Ok(range) => ip_allow_list.push(range),
                Err(detail) => faults.add(format!("/ip_allow_list/{index}"), detail),
            }
        }
        if new.expires_at.is_some_and(|at| at <= now) {
            faults.add("/expires_at", "this instant has passed; the key could never be used");
        }
        faults.end()?;
        if !caller.key_scopes().cover(&scopes) {
            return Err(Error::forbidden(
                "scope_escalation",
                "Nobody makes a key that may do more than they may themselves. Name fewer scopes, or use a key that has them.",
            ));
        }
        Ok(Self { name, scopes, ip_allow_list, expires_at: new.expires_at })
    }

    fn detail(&self) -> serde_json::Value {
        let ranges: Vec<_> = self.ip_allow_list.iter().map(ToString::to_string).collect();
        json!({"name": self.name, "scopes": self.scopes.words(), "ip_allow_list": ranges, "expires_at": self.expires_at})
    }
}

/// Writes a key for `owner` (`None`: the operator) and its audit entry.
pub(crate) async fn insert(
    tx: &mut Tx,
    ids: &Ids,
    now: Timestamp,
    caller: &Caller,
    owner: Option<TenantId>,
    draft: Draft,
    given: Option<Secret>,
) -> Result<NewApiKeyView, Error> {
    let prefix = if owner.is_some() { TENANT_PREFIX } else { OPERATOR_PREFIX };
    let key = given.unwrap_or_else(|| Secret::new(format!("{prefix}{}", ids.token(SECRET_LEN))));
    let detail = draft.detail();
    let row = api_keys::ApiKey {
        id: KeyId::from_ulid(ids.ulid(now)),
        tenant: owner,
        name: draft.name,
        hash: sha256(key.reveal()).to_vec(),
        hint: format!("{prefix}{}", key.hint()),
        scopes: draft.scopes.to_string(),
        ip_allow_list: draft.ip_allow_list.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
        expires_at: draft.expires_at,
        created_at: now,
        revoked_at: None,
        last_used_at: None,
    };
    if api_keys::count(tx, owner).await? >= KEYS_MAX {
        return Err(Error::conflict(
            "too_many_api_keys",
            format!("There are {KEYS_MAX} API keys already, which is the most. Revoke those nobody uses."),
        ));
    }
    api_keys::insert(tx, &row).await?;
    audit::record(tx, owner.unwrap_or(OPERATOR), ids, now, caller, "api_key.created", row.id, &detail).await?;
    Ok(NewApiKeyView { view: view(row), key: key.reveal().to_owned() })
}

/// Makes a key for the caller's tenant, or for the operator when it acts outside of any. Needs the scope `keys:write`. The answer shows the key, so it is kept
/// sealed under the idempotency key.
#[crate::boxed]
pub async fn create(parts: &Parts, caller: &Caller, repeat: &Repeat, new: NewApiKey) -> Result<Reply, Error> {
    caller.need("keys:write")?;
    let now = parts.ports.clock.now();
    let draft = Draft::check(caller, new, now)?;
    let (ids, by) = (Arc::clone(&parts.ports.ids), caller.clone());
    once(parts, caller, repeat, 201, Secrecy::Sealed, move |tx| {
        Box::pin(async move { insert(tx, &ids, now, &by, by.tenant, draft, None).await })
    })
    .await
}

/// As [`create`], for the command line.
#[crate::boxed]
pub async fn make(parts: &Parts, caller: &Caller, new: NewApiKey) -> Result<NewApiKeyView, Error> {
    caller.need("keys:write")?;
    let now = parts.ports.clock.now();
    let draft = Draft::check(caller, new, now)?;
    let (ids, by) = (Arc::clone(&parts.ports.ids), caller.clone());
    let write = parts.ports.db.write(caller.reach(), move |tx| {
        Box::pin(async move { insert(tx, &ids, now, &by, by.tenant, draft, None).await })
    });
    write.await
}

/// Lists the keys of the caller's tenant, or the operator's, newest first. Needs the scope `keys:read`.
#[crate::boxed]
pub async fn list(
    parts: &Parts,
    caller: &Caller,
    limit: Option<u32>,
    cursor: Option<&str>,
) -> Result<Page<ApiKeyView>, Error> {
    caller.need("keys:read")?;
    let window = Window::read("api-keys", limit, cursor)?;
    let owner = caller.tenant;
    let read = parts.ports.db.read(caller.reach(), move |tx| {
        Box::pin(async move {
            let before = KeyId::from_ulid(window.before);
            Ok::<_, Error>(api_keys::list(tx, owner, before, window.rows()).await?)
        })
    });
    Ok(window.page(read.await?, |row| row.id.ulid(), view))
}

/// Revokes a key at once on this node, and within a second or two on others. Revoking again changes nothing. Needs the scope `keys:write`.
#[crate::boxed]
pub async fn revoke(parts: &Parts, caller: &Caller, id: KeyId) -> Result<(), Error> {
    caller.need("keys:write")?;
    let now = parts.ports.clock.now();
    let (ids, by) = (Arc::clone(&parts.ports.ids), caller.clone());
    let write = parts.ports.db.write(caller.reach(), move |tx| {
        Box::pin(async move {
            tenants::bump(tx, by.tenant).await?;
            let found = api_keys::find(tx, by.tenant, id).await?.ok_or_else(|| Error::not_found("API key"))?;
            if api_keys::revoke(tx, id, now).await? {
                let detail = json!({"name": found.name, "hint": found.hint});
                audit::record(tx, by.owner(), &ids, now, &by, "api_key.revoked", id, &detail).await?;
            }
            Ok::<_, Error>(())
        })
    });
    write.await?;
    parts.directory.catch_up().await;
    Ok(())
}

/// Makes the first operator key on the very first start and answers it; `None` on every later one. Of two nodes that start at once one makes it. `given` becomes the
/// key instead of a random one.
#[crate::boxed]
pub async fn bootstrap(parts: &Parts, given: Option<&str>) -> Result<Option<Secret>, Error> {
    let given = given.map(bootstrap_key).transpose()?;
    let now = parts.ports.clock.now();
    let ids = Arc::clone(&parts.ports.ids);
    let write = parts.ports.db.write(Scope::System, move |tx| {
        Box::pin(async move {
            if !installation::claim(tx, BOOTSTRAPPED, &now.to_string()).await? {
                return Ok(None);
            }
            let made = insert(tx, &ids, now, &Caller::system(None), None, Draft::all("First start"), given).await?;
            Ok::<_, Error>(Some(Secret::new(made.key)))
        })
    });
    write.await
}

fn bootstrap_key(text: &str) -> Result<Secret, Error> {
    let is_long = text.len() >= OPERATOR_PREFIX.len() + BOOTSTRAP_MIN;
    if text.starts_with(OPERATOR_PREFIX) && is_long && hash(text).is_some() {
        return Ok(Secret::new(text));
    }
    Err(Error::new(
        ErrorKind::Malformed,
        "invalid_bootstrap_key",
        format!(
            "TIDINGS_BOOTSTRAP_OPERATOR_KEY is {OPERATOR_PREFIX} followed by at least {BOOTSTRAP_MIN} random letters, digits, dashes or underscores, {BEARER_MAX} characters at most; \
             leave it out to have one made."
        ),
    ))
}
