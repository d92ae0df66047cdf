//! The ways in: password, second factor, one-time links, password reset, invitation.
//!
//! A stranger learns nothing: an address nobody has, a person without a password and a wrong password are counted alike, cost one hash each and get the same words.
//!
//! An invitation alone never opens the account of somebody who has one: whoever made it may have seen its link. It proves that the tenant wants them; that they are
//! who they say is proved by their own password. A password is set through a link only where none is set, or where the link went to the person or came from
//! the operator.

use std::sync::Arc;

use model::{Ids, Secret, TenantId, Timestamp, UserId};
use serde_json::json;
use store::{
    Scope, Tx, memberships, sessions,
    sign_in::{self, Link},
    users,
};

use super::{
    Device, Role, SignedIn, TOKEN_LEN, TOKEN_MAX, hash, passwords,
    sessions::{actor, open, record_everywhere},
    throttle, totp,
};
use crate::{Error, ErrorKind, Parts, access::Session, audit};

/// Longest e-mail address that is looked at (RFC 5321: 64 + 1 + 255).
pub(super) const EMAIL_MAX: usize = 320;
/// How long the second step of a sign-in is waited for, in seconds.
const TICKET_S: i64 = 5 * 60;
/// Wrong codes in one sign-in at most; then it begins anew, which the throttle has counted.
const CODES_MAX: i64 = 5;
/// How long an invitation is good, in seconds: a week.
pub const INVITATION_S: i64 = 7 * 24 * 60 * 60;
/// How long a password reset is good, in seconds: an hour.
pub const RESET_S: i64 = 60 * 60;
/// How long a sign-in link is good, in seconds: a day.
pub const SIGN_IN_LINK_S: i64 = 24 * 60 * 60;

/// What a link opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkKind {
    /// A tenant, for somebody who was invited.
    Invitation,
    /// A new password.
    Reset,
    /// A session.
    SignIn,
    /// The second step of a sign-in.
    Ticket,
}

impl LinkKind {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Invitation => "invitation",
            Self::Reset => "reset",
            Self::SignIn => "sign_in",
            Self::Ticket => "ticket",
        }
    }

    const fn life_s(self) -> i64 {
        match self {
            Self::Invitation => INVITATION_S,
            Self::Reset => RESET_S,
            Self::SignIn => SIGN_IN_LINK_S,
            Self::Ticket => TICKET_S,
        }
    }
}

/// Where a step of signing in leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// In.
    SignedIn(SignedIn),
    /// To the second factor: give this and a code to [`confirm`].
    NeedsTotp {
        /// Good for five minutes and five codes.
        ticket: Secret,
    },
}

/// One answer for everything that is wrong.
fn refused() -> Error {
    Error::new(
        ErrorKind::Unauthorized,
        "sign_in_failed",
        "The e-mail address or the password is not right. Try again, or reset the password.",
    )
}

fn link_refused() -> Error {
    Error::new(
        ErrorKind::NotFound,
        "link_not_valid",
        "This link was used, has expired, or was replaced by a newer one. Ask for another.",
    )
}

/// An e-mail address as accounts are known by: without surrounding spaces, in lower case.
pub fn plain_email(email: &str) -> String {
    email.trim().to_lowercase()
}

/// Makes a link and answers its token. Links of the same kind to the same place made before are withdrawn.
pub(crate) async fn make_link(
    tx: &mut Tx,
    token: &Secret,
    now: Timestamp,
    kind: LinkKind,
    user: UserId,
    tenant: Option<TenantId>,
    method: &str,
) -> Result<(), Error> {
    if kind != LinkKind::Ticket {
        sign_in::remove_links(tx, user, kind.as_str(), tenant).await?;
    }
    let link = Link {
        hash: hash(token.reveal()).to_vec(),
        user,
        kind: kind.as_str().to_owned(),
        tenant,
        method: method.to_owned(),
        attempts: 0,
        created_at: now,
        expires_at: now.plus_seconds(kind.life_s()),
    };
    Ok(sign_in::insert_link(tx, &link).await?)
}

/// A token for a link.
pub(crate) fn new_token(ids: &Ids) -> Secret {
    Secret::new(ids.token(TOKEN_LEN))
}

async fn find_link(tx: &mut Tx, token: &str, kind: LinkKind, now: Timestamp) -> Result<Link, Error> {
    if token.len() > TOKEN_MAX {
        return Err(link_refused());
    }
    let found = sign_in::find_link(tx, &hash(token)).await?;
    found.filter(|link| link.kind == kind.as_str() && now < link.expires_at).ok_or_else(link_refused)
}

/// Uses a link up: of two who open it at once, one gets in.
async fn take_link(tx: &mut Tx, token: &str, kind: LinkKind, now: Timestamp) -> Result<Link, Error> {
    let link = find_link(tx, token, kind, now).await?;
    if sign_in::remove_link(tx, &link.hash).await? { Ok(link) } else { Err(link_refused()) }
}

async fn held(tx: &mut Tx, user: UserId) -> Result<users::User, Error> {
    users::hold(tx, user).await?.ok_or_else(link_refused)
}

/// Checks a password against its account, with everything that guards it. Answers who that is.
async fn prove(
    parts: &Parts,
    email: &str,
    password: &Secret,
    device: &Device,
    now: Timestamp,
) -> Result<users::User, Error> {
    let email = plain_email(email);
    if email.len() > EMAIL_MAX {
        return Err(refused());
    }
    let failures = throttle::begin(parts, &email, device.ip, now).await?;
    let read = parts.ports.db.read(Scope::System, move |tx| {
        Box::pin(async move { Ok::<_, Error>(users::find_by_email(tx, &email).await?) })
    });
    let user = read.await?;
    let kept = user.as_ref().and_then(|user| user.password.clone());
    let is_right = parts.passwords.verify(kept, password).await?;
    let user = match user {
        Some(user) if is_right => return Ok(user),
        user => user,
    };
    tracing::info!(ip = ?device.ip, "A sign-in was refused");
    // The first, second, fourth, eighth and so on of a row: whoever guesses for days fills no disk, and does not stay unseen.
    if let Some(user) = user.filter(|_| u64::try_from(failures).is_ok_and(u64::is_power_of_two)) {
        let (ids, device) = (Arc::clone(&parts.ports.ids), device.clone());
        let write = parts.ports.db.write(Scope::System, move |tx| {
            Box::pin(async move {
                // Who tried is not known: the entry names the account that was tried, and from where.
                let by = super::sessions::actor(&user, &device);
                let detail = json!({"failures_in_a_row": failures});
                super::sessions::record_everywhere(tx, &ids, now, &by, &user, "user.sign_in_failed", &detail).await
            })
        });
        write.await?;
    }
    Err(refused())
}

/// Signs in by e-mail address and password. Everything that is wrong is `sign_in_failed`; too many failures are `too_many_sign_ins` with when to come back.
#[crate::boxed]
pub async fn with_password(
    parts: &Parts,
    email: &str,
    password: &Secret,
    device: &Device,
    now: Timestamp,
) -> Result<Outcome, Error> {
    let user = prove(parts, email, password, device, now).await?;
    let (id, email, kept) = (user.id, user.email, user.password);
    let (ids, from) = (Arc::clone(&parts.ports.ids), device.clone());
    let write = parts.ports.db.write(Scope::System, move |tx| {
        Box::pin(async move {
            let mut user = users::hold(tx, id).await?.ok_or_else(refused)?;
            // It was changed while we checked the one before.
            if user.password != kept {
                return Err(refused());
            }
            begin(tx, &ids, now, &mut user, "password", &from).await
        })
    });
    let outcome = write.await?;
    // With a second factor to come, the failures stay counted until its code is right too.
    if matches!(outcome, Outcome::SignedIn(_)) {
        throttle::clear(parts, &email, device.ip, now).await?;
    }
    Ok(outcome)
}

/// After the first proof: a session, or the question for the second factor.
pub(super) async fn begin(
    tx: &mut Tx,
    ids: &Ids,
    now: Timestamp,
    user: &mut users::User,
    method: &str,
    device: &Device,
) -> Result<Outcome, Error> {
    if !user.has_totp {
        return Ok(Outcome::SignedIn(open(tx, ids, now, user, method, device).await?));
    }
    let ticket = new_token(ids);
    make_link(tx, &ticket, now, LinkKind::Ticket, user.id, None, method).await?;
    Ok(Outcome::NeedsTotp { ticket })
}

/// The second step: a code of the second factor, or a recovery code, which is used up.
#[crate::boxed]
pub async fn confirm(
    parts: &Parts,
    ticket: &Secret,
    code: &str,
    device: &Device,
    now: Timestamp,
) -> Result<SignedIn, Error> {
    let (ids, vault) = (Arc::clone(&parts.ports.ids), Arc::clone(&parts.vault));
    let (ticket, code, from) = (ticket.clone(), code.to_owned(), device.clone());
    let write = parts.ports.db.write(Scope::System, move |tx| {
        Box::pin(async move {
            let link = find_link(tx, ticket.reveal(), LinkKind::Ticket, now).await?;
            let mut user = held(tx, link.user).await?;
            let Some(proof) = totp::check(tx, &vault, &user, &code, now).await? else {
                // This is an answer, not a failure: what it counts must be kept.
                let attempts = sign_in::count_attempt(tx, &link.hash).await?;
                if attempts.is_none_or(|attempts| attempts >= CODES_MAX) {
                    sign_in::remove_link(tx, &link.hash).await?;
                }
                return Ok(None);
            };
            if !sign_in::remove_link(tx, &link.hash).await? {
                return Err(link_refused());
            }
            let method = format!("{}+{}", link.method, proof.as_str());
            let signed_in = open(tx, &ids, now, &mut user, &method, &from).await?;
            Ok::<_, Error>(Some((signed_in, user.email)))
        })
    });
    match write.await? {
        Some((signed_in, email)) => {
            throttle::clear(parts, &email, device.ip, now).await?;
            Ok(signed_in)
        }
        None => Err(Error::new(
            ErrorKind::Unauthorized,
            "code_not_valid",
            "This code is not right, or was used before. Wait for the next one, or use a recovery code.",
        )),
    }
}

/// Makes a link that signs somebody in once, for the operator to hand over. The caller has checked who asks.
#[crate::boxed]
pub async fn sign_in_link(parts: &Parts, user: UserId, tenant: Option<TenantId>) -> Result<Secret, Error> {
    let (token, now) = (new_token(&parts.ports.ids), parts.ports.clock.now());
    let kept = token.clone();
    let write = parts.ports.db.write(Scope::System, move |tx| {
        Box::pin(async move { make_link(tx, &kept, now, LinkKind::SignIn, user, tenant, "link").await })
    });
    write.await?;
    Ok(token)
}

/// Signs in by a link, which is used up. The session looks at the tenant the link leads to.
#[crate::boxed]
pub async fn with_link(parts: &Parts, token: &str, device: &Device, now: Timestamp) -> Result<Outcome, Error> {
    let (ids, token, from) = (Arc::clone(&parts.ports.ids), token.to_owned(), device.clone());
    let write = parts.ports.db.write(Scope::System, move |tx| {
        Box::pin(async move {
            let link = take_link(tx, &token, LinkKind::SignIn, now).await?;
            let mut user = held(tx, link.user).await?;
            let outcome = begin(tx, &ids, now, &mut user, "link", &from).await?;
            if let (Outcome::SignedIn(signed_in), Some(tenant)) = (&outcome, link.tenant) {
                sessions::look_at(tx, signed_in.session_id, Some(tenant)).await?;
            }
            Ok::<_, Error>(outcome)
        })
    });
    write.await
}

/// An invitation before it is taken up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invitation {
    /// Into which tenant.
    pub tenant_id: TenantId,
    /// Its name.
    pub tenant_name: String,
    /// Who is invited.
    pub email: String,
    /// As what.
    pub role: Role,
    /// True for somebody who has an account and proves it with their password; false for somebody who now chooses one.
    pub has_account: bool,
}

/// Shows an invitation without using it.
#[crate::boxed]
pub async fn invitation(parts: &Parts, token: &str, now: Timestamp) -> Result<Invitation, Error> {
    let token = token.to_owned();
    let read = parts.ports.db.read(Scope::System, move |tx| {
        Box::pin(async move {
            let link = find_link(tx, &token, LinkKind::Invitation, now).await?;
            let tenant_id = link.tenant.ok_or_else(link_refused)?;
            let tenant = store::tenants::find(tx, tenant_id).await?.ok_or_else(link_refused)?;
            let (membership, user) = memberships::find(tx, tenant_id, link.user).await?.ok_or_else(link_refused)?;
            Ok::<_, Error>(Invitation {
                tenant_id,
                tenant_name: tenant.name,
                has_account: has_account(&user),
                email: user.email,
                role: Role::from_stored(&membership.role).unwrap_or(Role::Viewer),
            })
        })
    });
    read.await
}

fn has_account(user: &users::User) -> bool {
    user.password.is_some() || user.oidc_subject.is_some()
}

/// Takes up an invitation and signs in. Somebody new chooses `password` and may give a name; somebody who has an account proves it with theirs.
#[crate::boxed]
pub async fn accept_invitation(
    parts: &Parts,
    token: &str,
    name: Option<&str>,
    password: &Secret,
    device: &Device,
    now: Timestamp,
) -> Result<Outcome, Error> {
    let shown = invitation(parts, token, now).await?;
    let name = name.map(|name| checked_name("/name", name)).transpose()?;
    let chosen = if shown.has_account {
        prove(parts, &shown.email, password, device, now).await?;
        None
    } else {
        Some(hashed(parts, password, &shown.email).await?)
    };
    let (ids, token, from) = (Arc::clone(&parts.ports.ids), token.to_owned(), device.clone());
    let write = parts.ports.db.write(Scope::System, move |tx| {
        Box::pin(async move {
            let link = take_link(tx, &token, LinkKind::Invitation, now).await?;
            let mut user = held(tx, link.user).await?;
            match chosen {
                // Somebody chose a password at the same time.
                Some(_) if has_account(&user) => return Err(link_refused()),
                Some(password) => {
                    (user.password, user.password_at, user.privileges_at) = (Some(password), Some(now), now);
                }
                None => {}
            }
            if let Some(name) = name {
                user.name = name;
            }
            user.updated_at = now;
            users::update(tx, &user).await?;
            join(tx, &ids, now, &link, &user, &from).await?;
            let outcome = begin(tx, &ids, now, &mut user, "password", &from).await?;
            if let Outcome::SignedIn(signed_in) = &outcome {
                sessions::look_at(tx, signed_in.session_id, link.tenant).await?;
            }
            Ok::<_, Error>(outcome)
        })
    });
    let outcome = write.await?;
    if shown.has_account && matches!(outcome, Outcome::SignedIn(_)) {
        throttle::clear(parts, &shown.email, device.ip, now).await?;
    }
    Ok(outcome)
}

/// Takes up an invitation for somebody who is signed in as the person who was invited.
#[crate::boxed]
pub async fn accept_in_session(
    parts: &Parts,
    session: &Session,
    token: &str,
    now: Timestamp,
) -> Result<TenantId, Error> {
    let (ids, token, user_id) = (Arc::clone(&parts.ports.ids), token.to_owned(), session.user_id);
    let (session_id, from) = (session.id, session.device());
    let write = parts.ports.db.write(Scope::System, move |tx| {
        Box::pin(async move {
            let link = find_link(tx, &token, LinkKind::Invitation, now).await?;
            if link.user != user_id {
                return Err(Error::forbidden(
                    "invitation_for_another",
                    "This invitation is for another e-mail address than the one you are signed in with. Sign out and follow its link again.",
                ));
            }
            let link = take_link(tx, &token, LinkKind::Invitation, now).await?;
            let user = held(tx, user_id).await?;
            let tenant = join(tx, &ids, now, &link, &user, &from).await?;
            sessions::look_at(tx, session_id, Some(tenant)).await?;
            Ok::<_, Error>(tenant)
        })
    });
    write.await
}

async fn join(
    tx: &mut Tx,
    ids: &Ids,
    now: Timestamp,
    link: &Link,
    user: &users::User,
    device: &Device,
) -> Result<TenantId, Error> {
    let tenant = link.tenant.ok_or_else(link_refused)?;
    store::tenants::find(tx, tenant).await?.ok_or_else(link_refused)?;
    if !memberships::accept(tx, tenant, user.id, now).await? {
        return Err(link_refused());
    }
    let by = actor(user, device);
    audit::record(tx, tenant, ids, now, &by, "user.joined", user.id, &json!({"email": user.email})).await?;
    Ok(tenant)
}

/// The hash of a password somebody chose, after the rules. The fault points at `/password`.
pub(super) async fn hashed(parts: &Parts, password: &Secret, email: &str) -> Result<String, Error> {
    if let Some(fault) = passwords::fault(password.reveal(), email) {
        return Err(Error::invalid("/password", fault));
    }
    parts.passwords.hash(&parts.ports.ids, password).await
}

pub(super) fn checked_name(pointer: &str, name: &str) -> Result<String, Error> {
    let mut faults = crate::names::Faults::default();
    let name = faults.name(pointer, name);
    faults.end()?;
    Ok(name)
}

/// Makes a link to a new password for somebody; `None` when nobody has the address. The caller decides who may see it, or sends it to that person.
pub(super) async fn reset_link(parts: &Parts, email: &str) -> Result<Option<(users::User, Secret)>, Error> {
    let (token, now, email) = (new_token(&parts.ports.ids), parts.ports.clock.now(), plain_email(email));
    let kept = token.clone();
    let write = parts.ports.db.write(Scope::System, move |tx| {
        Box::pin(async move {
            let Some(user) = users::find_by_email(tx, &email).await? else { return Ok(None) };
            make_link(tx, &kept, now, LinkKind::Reset, user.id, None, "link").await?;
            Ok::<_, Error>(Some(user))
        })
    });
    Ok(write.await?.map(|user| (user, token)))
}

/// Sets a new password through a link. Every session and every other link of the person ends; the second factor stays.
#[crate::boxed]
pub async fn reset(
    parts: &Parts,
    token: &str,
    password: &Secret,
    device: &Device,
    now: Timestamp,
) -> Result<(), Error> {
    let wanted = token.to_owned();
    let read = parts.ports.db.read(Scope::System, move |tx| {
        Box::pin(async move {
            let link = find_link(tx, &wanted, LinkKind::Reset, now).await?;
            Ok::<_, Error>(users::find(tx, link.user).await?.ok_or_else(link_refused)?.email)
        })
    });
    let email = read.await?;
    let chosen = hashed(parts, password, &email).await?;
    let (ids, token, from) = (Arc::clone(&parts.ports.ids), token.to_owned(), device.clone());
    let write = parts.ports.db.write(Scope::System, move |tx| {
        Box::pin(async move {
            let link = take_link(tx, &token, LinkKind::Reset, now).await?;
            let mut user = held(tx, link.user).await?;
            set_password(tx, now, &mut user, chosen).await?;
            sign_in::remove_links(tx, user.id, LinkKind::SignIn.as_str(), None).await?;
            sign_in::remove_links(tx, user.id, LinkKind::Ticket.as_str(), None).await?;
            let ended = sessions::remove_others(tx, user.id, None).await?;
            let detail = json!({"sessions_ended": ended});
            record_everywhere(tx, &ids, now, &actor(&user, &from), &user, "user.password_reset", &detail).await
        })
    });
    write.await?;
    throttle::clear(parts, &email, device.ip, now).await
}

pub(super) async fn set_password(
    tx: &mut Tx,
    now: Timestamp,
    user: &mut users::User,
    password: String,
) -> Result<(), Error> {
    (user.password, user.password_at) = (Some(password), Some(now));
    (user.privileges_at, user.updated_at) = (now, now);
    Ok(users::update(tx, user).await?)
}

/// Changes the password of somebody who is signed in and gives the one they have. Their other sessions end and this one gets another token.
#[crate::boxed]
pub async fn change_password(
    parts: &Parts,
    session: &Session,
    token: &Secret,
    current: &Secret,
    new: &Secret,
    device: &Device,
    now: Timestamp,
) -> Result<SignedIn, Error> {
    let proved = prove(parts, &session.email, current, device, now).await.map_err(|error| match error.code {
        "sign_in_failed" => Error::invalid("/current_password", "this is not the password you have now"),
        _ => error,
    })?;
    throttle::clear(parts, &session.email, device.ip, now).await?;
    let chosen = hashed(parts, new, &session.email).await?;
    let (ids, by, id, kept) = (Arc::clone(&parts.ports.ids), session.person(), session.id, proved.password);
    let user_id = session.user_id;
    let write = parts.ports.db.write(Scope::System, move |tx| {
        Box::pin(async move {
            let mut user = users::hold(tx, user_id).await?.ok_or_else(|| Error::not_found("user"))?;
            if user.password != kept {
                return Err(Error::invalid("/current_password", "this is not the password you have now"));
            }
            set_password(tx, now, &mut user, chosen).await?;
            let ended = sessions::remove_others(tx, user_id, Some(id)).await?;
            let detail = json!({"sessions_ended": ended});
            record_everywhere(tx, &ids, now, &by, &user, "user.password_changed", &detail).await
        })
    });
    write.await?;
    renewed(parts, session, token, now).await
}

/// Another token at once, after something that raises what the session is worth.
pub(super) async fn renewed(
    parts: &Parts,
    session: &Session,
    token: &Secret,
    now: Timestamp,
) -> Result<SignedIn, Error> {
    let rotated = super::sessions::rotate(parts, session, token, true, now).await?;
    rotated.ok_or_else(|| {
        Error::conflict(
            "session_moved_on",
            "It is done, but this session got another token at the same moment. Sign in again if the next request is refused.",
        )
    })
}
