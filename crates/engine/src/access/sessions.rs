//! What a person carries after signing in, and how it becomes a [`Caller`].
//!
//! The session is read from the database at each request, with the person's roles as they are then: what an administrator takes away is gone with the next request,
//! on every node. It ends after a time without use, after a time in any case, when it is revoked, and when the password changes. Its token is replaced when the
//! person's privileges rise ([`rotate`]), so a token that was seen before is worth nothing after.

use std::{net::IpAddr, sync::Arc};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use model::{Ids, Secret, SessionId, TenantId, Timestamp, UserId};
use serde::Serialize;
use serde_json::json;
use store::{Scope, Tx, memberships, sessions, users};
use utoipa::ToSchema;

use super::{OperatorRole, Permissions, TOKEN_LEN, TOKEN_MAX, hash};
use crate::{
    Error, ErrorKind, Parts, audit,
    keys::Caller,
    page::{Page, Window},
    vault::OPERATOR,
};

/// The cookie a browser carries the token in.
pub const COOKIE: &str = "tidings_session";
/// What begins a session's token.
pub const PREFIX: &str = "tds_";
/// A session that is not used for so long has ended, in seconds: half a day, so that nobody signs in twice on a working day.
pub const IDLE_S: i64 = 12 * 60 * 60;
/// A session has ended after so long in any case, in seconds: a week.
pub const LIFE_S: i64 = 7 * 24 * 60 * 60;
/// How long a token that was replaced is good for requests under way, in seconds.
const GRACE_S: i64 = 30;
/// `seen_at` is written at most this often, in seconds.
const TOUCH_EVERY_S: i64 = 60;
/// Sessions of one person at most; the oldest give way.
const PER_USER_MAX: i64 = 50;
/// Characters of a browser's name that are kept.
const AGENT_MAX: usize = 200;
/// Sessions removed in one transaction.
const PURGE_PAGE: i64 = 1_000;

/// The header `Set-Cookie` that gives a browser its session. `Lax`, so that a link from a mail finds the person signed in; what changes something needs the CSRF token as well.
pub fn set_cookie(parts: &Parts, signed_in: &SignedIn) -> String {
    let secure = if parts.config.public_url.starts_with("https://") { "; Secure" } else { "" };
    format!("{COOKIE}={}; Path=/; Max-Age={LIFE_S}; HttpOnly; SameSite=Lax{secure}", signed_in.token.reveal())
}

/// The header `Set-Cookie` that takes it away again.
pub fn unset_cookie() -> String {
    format!("{COOKIE}=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax")
}

/// Where somebody comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Device {
    /// Their address.
    pub ip: Option<IpAddr>,
    /// What their browser or program calls itself.
    pub agent: String,
}

impl Device {
    /// The one a request comes from, with the bytes of its header `User-Agent`, which need be no text.
    pub fn new(ip: Option<IpAddr>, agent: Option<&[u8]>) -> Self {
        Self { ip, agent: String::from_utf8_lossy(agent.unwrap_or_default()).into_owned() }
    }

    fn ip_text(&self) -> Option<String> {
        self.ip.map(|ip| ip.to_canonical().to_string())
    }

    fn agent_text(&self) -> String {
        self.agent.chars().filter(|c| !c.is_control()).take(AGENT_MAX).collect()
    }

    /// What the browser or program calls itself, cut to what is kept; `None` when it says nothing.
    pub fn agent_kept(&self) -> Option<Arc<str>> {
        Some(self.agent_text()).filter(|text| !text.is_empty()).map(Arc::from)
    }
}

/// A session that was just opened or given a new token. The token is shown this once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedIn {
    /// For the cookie [`COOKIE`], or `Authorization: Bearer`.
    pub token: Secret,
    /// What forms must carry.
    pub csrf: String,
    /// Which session.
    pub session_id: SessionId,
    /// Who.
    pub user_id: UserId,
    /// When it ends in any case.
    pub expires_at: Timestamp,
}

/// A tenant somebody belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// Which tenant.
    pub tenant_id: TenantId,
    /// Its name.
    pub tenant_name: String,
    /// True for a demo tenant.
    pub is_demo: bool,
    /// What they may do there.
    pub permissions: Arc<Permissions>,
}

/// Somebody who signed in, as they are now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Which session.
    pub id: SessionId,
    /// Who.
    pub user_id: UserId,
    /// Their e-mail address.
    pub email: String,
    /// Their name; empty until they gave one.
    pub name: String,
    /// Their role among the operator's staff.
    pub operator_role: Option<OperatorRole>,
    /// True when they have a second factor.
    pub has_totp: bool,
    /// The tenants they belong to, oldest first.
    pub memberships: Vec<Membership>,
    /// The tenant they look at, as the switcher last said; one they still may enter.
    pub tenant: Option<TenantId>,
    /// What forms must carry.
    pub csrf: String,
    /// How they signed in: `password`, `password+totp`, `link`, `oidc`.
    pub method: String,
    /// When they signed in.
    pub created_at: Timestamp,
    /// When it ends in any case.
    pub expires_at: Timestamp,
    /// True when their privileges changed after the token was made: give them another with [`rotate`] at the next chance.
    pub is_stale: bool,
    /// Where this request comes from.
    pub ip: Option<IpAddr>,
    /// What the browser or program of this request calls itself.
    pub agent: Option<Arc<str>>,
}

impl Session {
    /// The membership in a tenant.
    pub fn membership(&self, tenant: TenantId) -> Option<&Membership> {
        self.memberships.iter().find(|membership| membership.tenant_id == tenant)
    }

    /// The tenant a request acts in: the one it names, or the one the person looks at, or the only one they have. What is no tenant's id is not found.
    pub fn acting_in(&self, named: Option<&str>) -> Result<Option<TenantId>, Error> {
        if let Some(named) = named {
            return named.trim().parse().map(Some).map_err(|_| Error::not_found("tenant"));
        }
        let only = self.memberships.first().filter(|_| self.memberships.len() == 1 && self.operator_role.is_none());
        Ok(self.tenant.or_else(|| only.map(|membership| membership.tenant_id)))
    }

    /// Whether a form or request carries this session's CSRF token. Compared in constant time.
    pub fn has_csrf(&self, given: &str) -> bool {
        verify_slices_are_equal(self.csrf.as_bytes(), given.as_bytes()).is_ok()
    }

    /// The person outside of any tenant, as far as their own things go: for the audit log.
    pub(super) fn person(&self) -> Caller {
        Caller {
            tenant: None,
            is_operator: self.operator_role.is_some(),
            key_id: None,
            user_id: Some(self.user_id),
            name: Some(Arc::from(self.email.as_str())),
            scopes: crate::keys::Scopes::Some(Default::default()),
            permissions: None,
            ip: self.ip,
            agent: self.agent.clone(),
        }
    }

    /// Where this request comes from.
    pub fn device(&self) -> Device {
        Device { ip: self.ip, agent: self.agent.as_deref().unwrap_or_default().to_owned() }
    }
}

/// Opens a session for somebody who proved who they are. Writes it into the log of each tenant they belong to, and the operator's for its staff.
pub(super) async fn open(
    tx: &mut Tx,
    ids: &Ids,
    now: Timestamp,
    user: &mut users::User,
    method: &str,
    device: &Device,
) -> Result<SignedIn, Error> {
    let token = Secret::new(format!("{PREFIX}{}", ids.token(TOKEN_LEN)));
    let memberships = memberships::of_user(tx, user.id).await?;
    let mut accepted = memberships.iter().filter(|of| of.membership.accepted_at.is_some());
    let (first, second) = (accepted.next(), accepted.next());
    let session = sessions::Session {
        id: SessionId::from_ulid(ids.ulid(now)),
        user: user.id,
        hash: hash(token.reveal()).to_vec(),
        previous_hash: None,
        previous_until: None,
        csrf: ids.token(TOKEN_LEN),
        method: method.to_owned(),
        tenant: first.filter(|_| second.is_none()).map(|of| of.membership.tenant),
        ip: device.ip_text(),
        agent: device.agent_text(),
        created_at: now,
        rotated_at: now,
        seen_at: now,
        expires_at: now.plus_seconds(LIFE_S),
    };
    sessions::insert(tx, &session).await?;
    sessions::remove_beyond(tx, user.id, PER_USER_MAX).await?;
    user.signed_in_at = Some(now);
    users::update(tx, user).await?;
    let by = actor(user, device);
    let detail = json!({"method": method});
    record_everywhere(tx, ids, now, &by, user, "user.signed_in", &detail).await?;
    Ok(SignedIn { token, csrf: session.csrf, session_id: session.id, user_id: user.id, expires_at: session.expires_at })
}

/// The person, as the audit log names them.
pub(super) fn actor(user: &users::User, device: &Device) -> Caller {
    Caller {
        tenant: None,
        is_operator: false,
        key_id: None,
        user_id: Some(user.id),
        name: Some(Arc::from(user.email.as_str())),
        scopes: crate::keys::Scopes::Some(Default::default()),
        permissions: None,
        ip: device.ip,
        agent: device.agent_kept(),
    }
}

/// Writes what a person did with their own account into the log of each tenant they belong to, and into the operator's for its staff.
pub(super) async fn record_everywhere(
    tx: &mut Tx,
    ids: &Ids,
    now: Timestamp,
    by: &Caller,
    user: &users::User,
    action: &'static str,
    detail: &serde_json::Value,
) -> Result<(), Error> {
    // Also staff does this as themselves, and not as the operator in each of their tenants.
    let myself = Caller { is_operator: false, ..by.clone() };
    for of in memberships::of_user(tx, user.id).await? {
        if of.membership.accepted_at.is_some() {
            audit::record(tx, of.membership.tenant, ids, now, &myself, action, user.id, detail).await?;
        }
    }
    if user.operator_role.is_some() {
        let staff = Caller { is_operator: true, ..myself };
        audit::record(tx, OPERATOR, ids, now, &staff, action, user.id, detail).await?;
    }
    Ok(())
}

/// The session behind a token, as the person is now; `None` when there is none or it has ended. Notes that it was used.
#[crate::boxed]
pub async fn find(parts: &Parts, token: &str, device: &Device, now: Timestamp) -> Result<Option<Session>, Error> {
    let looks_right = token.len() <= TOKEN_MAX && token.starts_with(PREFIX);
    if !looks_right {
        return Ok(None);
    }
    let hash = hash(token);
    let read = parts.ports.db.read(Scope::System, move |tx| {
        Box::pin(async move {
            let Some(row) = sessions::find_by_hash(tx, &hash).await?.filter(|row| is_good(row, &hash, now)) else {
                return Ok(None);
            };
            let Some(user) = users::find(tx, row.user).await? else { return Ok(None) };
            Ok::<_, Error>(Some((memberships::of_user(tx, user.id).await?, user, row)))
        })
    });
    let Some((memberships, user, row)) = read.await? else { return Ok(None) };
    touch(parts, &row, device, now).await?;
    let operator_role = user.operator_role.as_deref().and_then(OperatorRole::from_stored);
    let accepted = memberships.into_iter().filter(|of| of.membership.accepted_at.is_some());
    let memberships: Vec<Membership> = accepted.map(membership).collect();
    let may_enter = |tenant: &TenantId| operator_role.is_some() || memberships.iter().any(|m| m.tenant_id == *tenant);
    Ok(Some(Session {
        id: row.id,
        user_id: user.id,
        email: user.email,
        name: user.name,
        operator_role,
        has_totp: user.has_totp,
        tenant: row.tenant.filter(may_enter),
        memberships,
        csrf: row.csrf,
        method: row.method,
        created_at: row.created_at,
        expires_at: row.expires_at,
        is_stale: user.privileges_at > row.rotated_at,
        ip: device.ip,
        agent: device.agent_kept(),
    }))
}

fn is_good(row: &sessions::Session, hash: &[u8; 32], now: Timestamp) -> bool {
    let is_current = row.hash == hash || row.previous_until.is_some_and(|until| now < until);
    is_current && now < row.expires_at && now < row.seen_at.plus_seconds(IDLE_S)
}

fn membership(of: memberships::OfUser) -> Membership {
    Membership {
        tenant_id: of.membership.tenant,
        tenant_name: of.tenant_name,
        is_demo: of.is_demo,
        permissions: Arc::new(Permissions::from_stored(&of.membership.role, &of.membership.permissions)),
    }
}

async fn touch(parts: &Parts, row: &sessions::Session, device: &Device, now: Timestamp) -> Result<(), Error> {
    if now < row.seen_at.plus_seconds(TOUCH_EVERY_S) {
        return Ok(());
    }
    let (id, ip, agent) = (row.id, device.ip_text(), device.agent_text());
    let write = parts.ports.db.write(Scope::System, move |tx| {
        Box::pin(async move { Ok::<_, Error>(sessions::touch(tx, id, ip.as_deref(), &agent, now).await?) })
    });
    write.await
}

/// The caller a person is inside of a tenant, or the operator's staff outside of any. A tenant they do not belong to is not found.
#[crate::boxed]
pub async fn caller(parts: &Parts, session: &Session, tenant: Option<TenantId>) -> Result<Caller, Error> {
    let plain = session.person();
    let Some(id) = tenant else {
        let Some(scopes) = session.operator_role.and_then(|role| role.scopes(None)) else {
            return Err(Error::new(
                ErrorKind::Malformed,
                "tenant_required",
                "You belong to several tenants, or to none. Name one in the header `Tidings-Tenant: ten_…`.",
            ));
        };
        return Ok(Caller { scopes, ..plain });
    };
    let not_found = || Error::not_found("tenant");
    let found = parts.directory.tenant(id).await?.ok_or_else(not_found)?;
    if let Some(scopes) = session.operator_role.and_then(|role| role.scopes(Some(found.is_demo))) {
        return Ok(Caller { tenant, scopes, ..plain });
    }
    let membership = session.membership(id).ok_or_else(not_found)?;
    let permissions = Arc::clone(&membership.permissions);
    let scopes = permissions.scopes();
    Ok(Caller { tenant, is_operator: false, scopes, permissions: Some(permissions), ..plain })
}

/// Notes which tenant the person looks at, for the switcher. The operator's staff entering a tenant is in both logs.
#[crate::boxed]
pub async fn look_at(parts: &Parts, session: &Session, tenant: Option<TenantId>) -> Result<(), Error> {
    let entered = match tenant {
        Some(tenant) => {
            caller(parts, session, Some(tenant)).await?;
            Some(tenant).filter(|tenant| session.tenant != Some(*tenant) && session.membership(*tenant).is_none())
        }
        None => None,
    };
    let (id, by, now, ids) = (session.id, session.person(), parts.ports.clock.now(), Arc::clone(&parts.ports.ids));
    let write = parts.ports.db.write(Scope::System, move |tx| {
        Box::pin(async move {
            sessions::look_at(tx, id, tenant).await?;
            if let Some(entered) = entered {
                audit::record_in_both(tx, entered, &ids, now, &by, "tenant.entered", entered, &json!({})).await?;
            }
            Ok::<_, Error>(())
        })
    });
    write.await
}

/// Gives the session another token. The one before is good for half a minute more, for requests under way, unless `at_once`. `None` when a request at the same time
/// was first.
#[crate::boxed]
pub async fn rotate(
    parts: &Parts,
    session: &Session,
    token: &Secret,
    at_once: bool,
    now: Timestamp,
) -> Result<Option<SignedIn>, Error> {
    let fresh = Secret::new(format!("{PREFIX}{}", parts.ports.ids.token(TOKEN_LEN)));
    let (id, from, to) = (session.id, hash(token.reveal()), hash(fresh.reveal()));
    let until = if at_once { now } else { now.plus_seconds(GRACE_S) };
    let write = parts.ports.db.write(Scope::System, move |tx| {
        Box::pin(async move { Ok::<_, Error>(sessions::rotate(tx, id, &from, &to, until, now).await?) })
    });
    let signed_in = SignedIn {
        token: fresh,
        csrf: session.csrf.clone(),
        session_id: id,
        user_id: session.user_id,
        expires_at: session.expires_at,
    };
    Ok(write.await?.then_some(signed_in))
}

/// A session as its owner sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct SessionView {
    /// Its id.
    #[schema(value_type = String, example = "ses_01K9ZC8Q6T7Y2V5B3N4M1XWRSD")]
    pub id: SessionId,
    /// True for the session this request was made with.
    pub is_current: bool,
    /// How they signed in.
    #[schema(example = "password")]
    pub method: String,
    /// From which address it was last used.
    pub ip: Option<String>,
    /// What the browser or program calls itself.
    pub agent: String,
    /// When they signed in.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it was last used, to the minute.
    #[schema(value_type = String, format = DateTime)]
    pub last_seen_at: Timestamp,
    /// When it ends, used or not.
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Timestamp,
}

/// Lists the person's sessions that have not ended, newest first.
#[crate::boxed]
pub async fn list(
    parts: &Parts,
    session: &Session,
    limit: Option<u32>,
    cursor: Option<&str>,
) -> Result<Page<SessionView>, Error> {
    let window = Window::read("sessions", limit, cursor)?;
    let (user, current, now) = (session.user_id, session.id, parts.ports.clock.now());
    let read = parts.ports.db.read(Scope::System, move |tx| {
        Box::pin(async move {
            let before = SessionId::from_ulid(window.before);
            Ok::<_, Error>(sessions::list(tx, user, now, now.plus_seconds(-IDLE_S), before, window.rows()).await?)
        })
    });
    Ok(window.page(
        read.await?,
        |row| row.id.ulid(),
        |row| SessionView {
            id: row.id,
            is_current: row.id == current,
            method: row.method,
            ip: row.ip,
            agent: row.agent,
            created_at: row.created_at,
            last_seen_at: row.seen_at,
            expires_at: row.expires_at,
        },
    ))
}

/// Ends one of the person's sessions, also the one that asks (signing out). Somebody else's is not found.
#[crate::boxed]
pub async fn revoke(parts: &Parts, session: &Session, id: SessionId) -> Result<(), Error> {
    let (by, now, ids) = (session.person(), parts.ports.clock.now(), Arc::clone(&parts.ports.ids));
    let user_id = session.user_id;
    let write = parts.ports.db.write(Scope::System, move |tx| {
        Box::pin(async move {
            if !sessions::remove(tx, user_id, id).await? {
                return Err(Error::not_found("session"));
            }
            let user = users::find(tx, user_id).await?.ok_or_else(|| Error::not_found("user"))?;
            record_everywhere(tx, &ids, now, &by, &user, "session.ended", &json!({"session": id})).await
        })
    });
    write.await
}

/// Ends all of the person's sessions but the one that asks, and answers how many.
#[crate::boxed]
pub async fn revoke_others(parts: &Parts, session: &Session) -> Result<u64, Error> {
    let (by, now, ids) = (session.person(), parts.ports.clock.now(), Arc::clone(&parts.ports.ids));
    let (user_id, keep) = (session.user_id, session.id);
    let write = parts.ports.db.write(Scope::System, move |tx| {
        Box::pin(async move {
            let ended = sessions::remove_others(tx, user_id, Some(keep)).await?;
            let user = users::find(tx, user_id).await?.ok_or_else(|| Error::not_found("user"))?;
            record_everywhere(tx, &ids, now, &by, &user, "session.others_ended", &json!({"sessions": ended})).await?;
            Ok::<_, Error>(ended)
        })
    });
    write.await
}

/// Removes sessions that have ended, links and requests nobody can use any more, and failures of long ago. Run every hour.
#[crate::boxed]
pub async fn purge(parts: &Parts) -> Result<u64, Error> {
    let now = parts.ports.clock.now();
    let write = parts.ports.db.write(Scope::System, move |tx| {
        Box::pin(async move {
            let ended = sessions::purge(tx, now, now.plus_seconds(-IDLE_S), PURGE_PAGE).await?;
            let failed_before = now.plus_seconds(-super::throttle::FORGOTTEN_S);
            Ok::<_, Error>(ended + store::sign_in::purge(tx, now, failed_before).await?)
        })
    });
    write.await
}
