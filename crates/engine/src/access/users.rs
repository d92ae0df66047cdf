//! A tenant's members, the operator's staff, and the person themselves.
//!
//! Nobody gives, takes or touches more than they have: an administrator cannot make an owner, nor change or remove one. The last owner of a tenant stays, as
//! does the last administrator among the operator's staff.

use std::sync::{Arc, Mutex, PoisonError};

use model::{EmailAddress, Ids, Secret, TenantId, Timestamp, UserId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use store::{Scope, Tx, installation, memberships, sessions, sign_in as links, users};
use utoipa::ToSchema;

use super::{
    OperatorRole, Permissions, Role, Session,
    mail::{self, Letter},
    sign_in::{EMAIL_MAX, LinkKind, checked_name, make_link, new_token, plain_email},
    throttle,
};
use crate::{
    Engine, Error, ErrorKind, Parts, audit,
    keys::{Caller, Scopes},
    names::Faults,
    once::{Repeat, Reply, Secrecy, once},
    page::{Page, Window},
    patch::Patch,
    vault::OPERATOR,
};

/// People in one tenant at most, open invitations among them.
pub const MEMBERS_MAX: i64 = 1_000;
/// Characters of a password we make: 119 bits.
const MADE_LEN: usize = 20;
/// The fact that the first operator was made.
const FIRST_OPERATOR: &str = "first_operator";
/// Who the first operator is until they say otherwise. It is no address anybody could write to, on purpose.
pub const FIRST_OPERATOR_EMAIL: &str = "operator@tidings.localhost";

/// Somebody to be invited.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewMember {
    /// Where the invitation goes, and how they sign in.
    #[schema(example = "ada@example.com")]
    pub email: String,
    /// Name for people; they can change it.
    #[serde(default)]
    #[schema(example = "Ada Lovelace")]
    pub name: Option<String>,
    /// `owner`, `admin`, `member` or `viewer`; for the operator's staff `admin`, `support` or `sales`.
    #[schema(example = "member")]
    pub role: String,
    /// Permissions beyond the role: `send:email`, `manage:sms`, `templates`, `campaigns`, `contacts`, `conversations`, `billing`, `administration`.
    #[serde(default)]
    #[schema(example = json!(["campaigns"]))]
    pub permissions: Option<Vec<String>>,
}

/// Changes of what somebody may do.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MemberPatch {
    /// The role.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "admin")]
    pub role: Patch<String>,
    /// Permissions beyond the role, all of them; `null` for none.
    #[serde(default)]
    #[schema(value_type = Option<Vec<String>>, example = json!(["campaigns"]))]
    pub permissions: Patch<Vec<String>>,
}

/// Whether somebody took up their invitation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum MemberState {
    /// Not yet.
    Invited,
    /// They can sign in.
    Active,
}

/// Somebody who belongs to a tenant, or to the operator's staff.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct MemberView {
    /// Their id.
    #[schema(value_type = String, example = "usr_01K9ZC8Q6T7Y2V5B3N4M1XWRSD")]
    pub id: UserId,
    /// How they sign in.
    pub email: String,
    /// Name for people; empty until they gave one.
    pub name: String,
    /// The role.
    pub role: String,
    /// Permissions beyond the role.
    pub permissions: Vec<String>,
    /// Whether they took up the invitation.
    pub state: MemberState,
    /// True when they sign in with a second factor.
    pub has_second_factor: bool,
    /// When they were invited.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When their role or permissions last changed.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
    /// When they last signed in.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_signed_in_at: Option<Timestamp>,
}

/// Somebody who was just invited.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct InvitedView {
    /// Who.
    #[serde(flatten)]
    pub view: MemberView,
    /// The link to hand over, shown this once: there is no e-mail account through which it could be sent. `null` when it was sent, and when none is needed.
    #[schema(example = "https://tidings.example/console/invitation/4kQ0yZ1b6mVw8TnR2cXe9JpL5sDf7GhUaBoYx7Kq")]
    pub link: Option<String>,
    /// True when the invitation went out by e-mail.
    pub is_sent: bool,
}

/// The person who signed in, for themselves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Me {
    /// Their id.
    #[schema(value_type = String, example = "usr_01K9ZC8Q6T7Y2V5B3N4M1XWRSD")]
    pub id: UserId,
    /// How they sign in.
    pub email: String,
    /// Name for people; empty until they gave one.
    pub name: String,
    /// Their role among the operator's staff.
    pub operator_role: Option<OperatorRole>,
    /// The tenants they belong to, oldest first.
    pub memberships: Vec<MyMembership>,
    /// True when they sign in with a second factor.
    pub has_second_factor: bool,
    /// Recovery codes that are left.
    pub recovery_codes: i64,
    /// When the password was set; `null` for somebody who has none.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub password_set_at: Option<Timestamp>,
    /// What a request with the session's cookie must carry in `Tidings-Csrf` when it changes something.
    pub csrf: String,
}

/// A tenant somebody belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct MyMembership {
    /// Which tenant.
    #[schema(value_type = String, example = "ten_01K9ZC8Q6T7Y2V5B3N4M1XWRSD")]
    pub tenant_id: TenantId,
    /// Its name.
    pub tenant_name: String,
    /// Their role.
    pub role: Role,
    /// Permissions beyond the role.
    pub permissions: Vec<String>,
}

fn member_view((membership, user): (memberships::Membership, users::User)) -> MemberView {
    let permissions = Permissions::from_stored(&membership.role, &membership.permissions);
    MemberView {
        id: user.id,
        email: user.email,
        name: user.name,
        role: permissions.role().as_str().to_owned(),
        permissions: permissions.granted(),
        state: if membership.accepted_at.is_some() { MemberState::Active } else { MemberState::Invited },
        has_second_factor: user.has_totp,
        created_at: membership.created_at,
        updated_at: membership.updated_at,
        last_signed_in_at: user.signed_in_at,
    }
}

fn staff_view(user: users::User) -> MemberView {
    let has_way_in = user.password.is_some() || user.oidc_subject.is_some();
    MemberView {
        id: user.id,
        email: user.email,
        name: user.name,
        role: user.operator_role.unwrap_or_default(),
        permissions: Vec::new(),
        state: if has_way_in { MemberState::Active } else { MemberState::Invited },
        has_second_factor: user.has_totp,
        created_at: user.created_at,
        updated_at: user.updated_at,
        last_signed_in_at: user.signed_in_at,
    }
}

/// What somebody is to be, checked.
#[derive(Debug, Clone)]
enum Rank {
    Member(Permissions),
    Staff(OperatorRole),
}

impl Rank {
    fn parse(owner: Option<TenantId>, role: &str, words: &[String]) -> Result<Self, Error> {
        let bad_role = |detail: String| Error::invalid("/role", detail);
        if owner.is_none() {
            if !words.is_empty() {
                return Err(Error::invalid("/permissions", "the operator's staff has roles only; leave this out"));
            }
            return Ok(Self::Staff(role.parse().map_err(bad_role)?));
        }
        let role: Role = role.parse().map_err(bad_role)?;
        Ok(Self::Member(Permissions::parse(role, words, "/permissions").map_err(Error::invalid_fields)?))
    }

    /// Refuses a caller who would give or touch more than they have.
    fn within(&self, caller: &Caller) -> Result<(), Error> {
        let is_within = match self {
            Self::Member(permissions) => {
                caller.scopes.cover(&permissions.scopes())
                    && caller.permissions.as_ref().is_none_or(|own| own.cover(permissions))
            }
            Self::Staff(_) => caller.is_operator && caller.scopes == Scopes::All,
        };
        if is_within {
            return Ok(());
        }
        Err(Error::forbidden(
            "role_escalation",
            "This role or these permissions go beyond your own, so you can neither give nor take them. Ask somebody who has them.",
        ))
    }

    fn detail(&self) -> Value {
        match self {
            Self::Member(permissions) => {
                json!({"role": permissions.role().as_str(), "permissions": permissions.granted()})
            }
            Self::Staff(role) => json!({"operator_role": role.as_str()}),
        }
    }
}

fn check_email(email: &str) -> Result<String, Error> {
    let email = plain_email(email);
    if email.len() > EMAIL_MAX {
        return Err(Error::invalid("/email", "an e-mail address has at most 320 characters"));
    }
    email.parse::<EmailAddress>().map_err(|bad| Error::invalid("/email", bad.to_string()))?;
    Ok(email)
}

/// The caller must be inside of a tenant, or the operator outside of any.
fn owner_of(caller: &Caller) -> Result<Option<TenantId>, Error> {
    if caller.tenant.is_none() && !caller.is_operator {
        caller.need_tenant()?;
    }
    Ok(caller.tenant)
}

/// The user with this e-mail address, made when there is none, and held until the transaction ends.
pub(super) async fn user_of(
    tx: &mut Tx,
    ids: &Ids,
    now: Timestamp,
    email: &str,
    name: &str,
) -> Result<users::User, Error> {
    let fresh = users::User {
        id: UserId::from_ulid(ids.ulid(now)),
        email: email.to_owned(),
        name: name.to_owned(),
        password: None,
        password_at: None,
        operator_role: None,
        totp: None,
        totp_data_key_id: None,
        totp_step: 0,
        has_totp: false,
        oidc_subject: None,
        created_at: now,
        updated_at: now,
        privileges_at: now,
        signed_in_at: None,
    };
    users::insert(tx, &fresh).await?;
    let found = users::find_by_email(tx, email).await?;
    let found = found.ok_or_else(|| Error::internal("a user was written and is not there"))?;
    users::hold(tx, found.id).await?.ok_or_else(|| Error::internal("a user that was there is gone"))
}

/// Makes somebody a member or staff; `accepted` when no invitation has to be taken up.
async fn enrol(
    tx: &mut Tx,
    ids: &Ids,
    now: Timestamp,
    by: &Caller,
    user: &mut users::User,
    rank: &Rank,
    accepted: Option<Timestamp>,
) -> Result<MemberView, Error> {
    let already = |what: &str| Error::conflict("already_a_member", format!("{} is {what} already.", user.email));
    let mut detail = rank.detail();
    detail["email"] = json!(user.email);
    let view = match (rank, by.tenant) {
        (Rank::Member(permissions), Some(tenant)) => {
            if memberships::count(tx, tenant).await? >= MEMBERS_MAX {
                return Err(Error::conflict(
                    "too_many_members",
                    format!(
                        "There are {MEMBERS_MAX} people in this tenant already, which is the most. Remove those who left."
                    ),
                ));
            }
            let row = memberships::Membership {
                tenant,
                user: user.id,
                role: permissions.role().as_str().to_owned(),
                permissions: permissions.granted().join(" "),
                invited_by: by.actor(),
                created_at: now,
                updated_at: now,
                accepted_at: accepted,
            };
            if !memberships::insert(tx, &row).await? {
                return Err(already("a member of this tenant"));
            }
            member_view((row, user.clone()))
        }
        (Rank::Staff(role), None) => {
            if user.operator_role.is_some() {
                return Err(already("one of the operator's staff"));
            }
            (user.operator_role, user.privileges_at, user.updated_at) = (Some(role.as_str().to_owned()), now, now);
            users::update(tx, user).await?;
            staff_view(user.clone())
        }
        (Rank::Member(_), None) | (Rank::Staff(_), Some(_)) => {
            return Err(Error::internal("a rank does not fit its owner"));
        }
    };
    audit::record(tx, by.owner(), ids, now, by, "user.invited", user.id, &detail).await?;
    Ok(view)
}

/// Invites somebody into the caller's tenant, or to the operator's staff when it acts outside of any. Needs the scope `users:write`. The answer may show a link, so
/// it is kept sealed under the idempotency key.
#[crate::boxed]
pub async fn invite(engine: &Engine, caller: &Caller, repeat: &Repeat, new: NewMember) -> Result<Reply, Error> {
    caller.need("users:write")?;
    let owner = owner_of(caller)?;
    let email = check_email(&new.email)?;
    let name = new.name.as_deref().map(|name| checked_name("/name", name)).transpose()?.unwrap_or_default();
    let rank = Rank::parse(owner, &new.role, new.permissions.as_deref().unwrap_or_default())?;
    rank.within(caller)?;
    let way = mail::way_for_invitation(engine, owner).await?;
    let now = engine.ports.clock.now();
    let (ids, by) = (Arc::clone(&engine.ports.ids), caller.clone());
    let token = new_token(&ids);
    let link = link_url(engine, kind_for(owner), &token);
    let (shown, letter_to) = (link.clone(), Arc::new(Mutex::new(None)));
    let left = Arc::clone(&letter_to);
    let reply = once(engine, caller, repeat, 201, Secrecy::Sealed, move |tx| {
        Box::pin(async move {
            let mut user = user_of(tx, &ids, now, &email, &name).await?;
            // Staff who have a way in already have nothing to take up.
            let needs_link = by.tenant.is_some() || user.password.is_none() && user.oidc_subject.is_none();
            let view = enrol(tx, &ids, now, &by, &mut user, &rank, None).await?;
            if needs_link {
                make_link(tx, &token, now, kind_for(by.tenant), user.id, by.tenant, "link").await?;
            }
            let sent = way.filter(|_| needs_link);
            if let Some(way) = sent {
                if let Some(tenant) = way.lent_to(owner) {
                    throttle::letter(tx, tenant, &view.email, now).await?;
                }
                *left.lock().unwrap_or_else(PoisonError::into_inner) = Some(view.email.clone());
            }
            Ok::<_, Error>(InvitedView {
                view,
                link: (needs_link && sent.is_none()).then_some(shown),
                is_sent: sent.is_some(),
            })
        })
    });
    let reply = reply.await?;
    // Only once: what is repeated sends nothing.
    let to = letter_to.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(to) = to {
        send(engine, owner, way, &to, &link).await?;
    }
    Ok(reply)
}

/// What opens the door for somebody new: a tenant's invitation, or for the staff, which has nothing to join, a first password.
const fn kind_for(owner: Option<TenantId>) -> LinkKind {
    if owner.is_some() { LinkKind::Invitation } else { LinkKind::Reset }
}

/// Sends an invitation once it is on disk.
async fn send(
    engine: &Engine,
    owner: Option<TenantId>,
    way: Option<mail::Way>,
    to: &str,
    link: &str,
) -> Result<(), Error> {
    let Some(way) = way else { return Ok(()) };
    let into = match owner {
        Some(tenant) => engine.tenant(tenant).await?.1.name.clone(),
        None => "the operator's staff".to_owned(),
    };
    mail::post(engine, way, to, &Letter::Invitation { into }, link).await.map_err(|error| {
        tracing::warn!(%error, "An invitation could not be sent");
        let detail = "The invitation was made, but could not be sent just now. Send it again with POST /v1/users/{id}/invitation.";
        Error::new(ErrorKind::Unavailable, "invitation_not_sent", detail).with_retry_after_ms(1_000)
    })
}

/// Where a link of this kind leads.
pub fn link_url(parts: &Parts, kind: LinkKind, token: &Secret) -> String {
    let page = match kind {
        LinkKind::Invitation => "invitation",
        LinkKind::Reset => "reset",
        LinkKind::SignIn => "enter",
        LinkKind::Ticket => "code",
    };
    format!("{}/console/{page}/{}", parts.config.public_url, token.reveal())
}

/// Makes a new invitation for somebody who did not take up theirs; the one before is withdrawn. Needs the scope `users:write`.
#[crate::boxed]
pub async fn resend(engine: &Engine, caller: &Caller, repeat: &Repeat, id: UserId) -> Result<Reply, Error> {
    caller.need("users:write")?;
    let owner = owner_of(caller)?;
    let way = mail::way_for_invitation(engine, owner).await?;
    let now = engine.ports.clock.now();
    let (ids, by) = (Arc::clone(&engine.ports.ids), caller.clone());
    let token = new_token(&ids);
    let link = link_url(engine, kind_for(owner), &token);
    let (shown, letter_to) = (link.clone(), Arc::new(Mutex::new(None)));
    let left = Arc::clone(&letter_to);
    let reply = once(engine, caller, repeat, 200, Secrecy::Sealed, move |tx| {
        Box::pin(async move {
            let (view, rank) = found(tx, owner, id).await?;
            rank.within(&by)?;
            if view.state == MemberState::Active {
                return Err(Error::conflict(
                    "already_joined",
                    format!("{} has taken up the invitation already.", view.email),
                ));
            }
            make_link(tx, &token, now, kind_for(owner), id, owner, "link").await?;
            let detail = json!({"email": view.email});
            audit::record(tx, by.owner(), &ids, now, &by, "user.invited_again", id, &detail).await?;
            if let Some(tenant) = way.and_then(|way| way.lent_to(owner)) {
                throttle::letter(tx, tenant, &view.email, now).await?;
            }
            *left.lock().unwrap_or_else(PoisonError::into_inner) = Some(view.email.clone());
            Ok::<_, Error>(InvitedView { view, link: way.is_none().then_some(shown), is_sent: way.is_some() })
        })
    });
    let reply = reply.await?;
    let to = letter_to.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(to) = to {
        send(engine, owner, way, &to, &link).await?;
    }
    Ok(reply)
}

/// A member of the tenant, or one of the staff, and what they are. Others are not found.
async fn found(tx: &mut Tx, owner: Option<TenantId>, id: UserId) -> Result<(MemberView, Rank), Error> {
    let not_found = || Error::not_found("user");
    match owner {
        Some(tenant) => {
            let (membership, user) = memberships::find(tx, tenant, id).await?.ok_or_else(not_found)?;
            let rank = Rank::Member(Permissions::from_stored(&membership.role, &membership.permissions));
            Ok((member_view((membership, user)), rank))
        }
        None => {
            let user = users::find(tx, id).await?.ok_or_else(not_found)?;
            let role = user.operator_role.as_deref().and_then(OperatorRole::from_stored).ok_or_else(not_found)?;
            Ok((staff_view(user), Rank::Staff(role)))
        }
    }
}

/// Lists the people of the caller's tenant, or the operator's staff, newest first. Needs the scope `users:read`.
#[crate::boxed]
pub async fn list(
    parts: &Parts,
    caller: &Caller,
    limit: Option<u32>,
    cursor: Option<&str>,
) -> Result<Page<MemberView>, Error> {
    caller.need("users:read")?;
    let owner = owner_of(caller)?;
    let window = Window::read("users", limit, cursor)?;
    let read = parts.ports.db.read(caller.reach(), move |tx| {
        Box::pin(async move {
            let before = UserId::from_ulid(window.before);
            let rows = match owner {
                Some(tenant) => {
                    let rows = memberships::list(tx, tenant, before, window.rows()).await?;
                    rows.into_iter().map(member_view).collect()
                }
                None => users::staff(tx, before, window.rows()).await?.into_iter().map(staff_view).collect(),
            };
            Ok::<Vec<MemberView>, Error>(rows)
        })
    });
    Ok(window.page(read.await?, |row| row.id.ulid(), |row| row))
}

/// Reads one of them. Needs the scope `users:read`.
#[crate::boxed]
pub async fn get(parts: &Parts, caller: &Caller, id: UserId) -> Result<MemberView, Error> {
    caller.need("users:read")?;
    let owner = owner_of(caller)?;
    let read =
        parts.ports.db.read(caller.reach(), move |tx| Box::pin(async move { Ok(found(tx, owner, id).await?.0) }));
    read.await
}

/// Changes role and permissions; it counts from the person's next request on. Needs the scope `users:write`.
#[crate::boxed]
pub async fn patch(parts: &Parts, caller: &Caller, id: UserId, change: MemberPatch) -> Result<MemberView, Error> {
    caller.need("users:write")?;
    let owner = owner_of(caller)?;
    let now = parts.ports.clock.now();
    let (ids, by) = (Arc::clone(&parts.ports.ids), caller.clone());
    let write = parts.ports.db.write(Scope::System, move |tx| {
        Box::pin(async move {
            let mut user = users::hold(tx, id).await?.ok_or_else(|| Error::not_found("user"))?;
            let (view, before) = found(tx, owner, id).await?;
            before.within(&by)?;
            let mut faults = Faults::default();
            let role = change.role.required(view.role.clone(), "/role", &mut faults.0);
            faults.end()?;
            let after = Rank::parse(owner, &role, &change.permissions.or(view.permissions.clone(), Vec::new()))?;
            after.within(&by)?;
            keep_the_last(tx, owner, id, &before, Some(&after)).await?;
            match (&after, owner) {
                (Rank::Member(permissions), Some(tenant)) => {
                    let (mut row, _) =
                        memberships::find(tx, tenant, id).await?.ok_or_else(|| Error::not_found("user"))?;
                    row.role = permissions.role().as_str().to_owned();
                    row.permissions = permissions.granted().join(" ");
                    row.updated_at = now;
                    memberships::update(tx, &row).await?;
                }
                (Rank::Staff(role), _) => user.operator_role = Some(role.as_str().to_owned()),
                (Rank::Member(_), None) => return Err(Error::internal("a rank does not fit its owner")),
            }
            (user.updated_at, user.privileges_at) = (now, now);
            users::update(tx, &user).await?;
            let difference = audit::difference(&before.detail(), &after.detail());
            audit::record(tx, by.owner(), &ids, now, &by, "user.role_changed", id, &difference).await?;
            Ok::<_, Error>(found(tx, owner, id).await?.0)
        })
    });
    write.await
}

/// Refuses to leave a tenant without an owner, or the operator without an administrator.
async fn keep_the_last(
    tx: &mut Tx,
    owner: Option<TenantId>,
    id: UserId,
    before: &Rank,
    after: Option<&Rank>,
) -> Result<(), Error> {
    let is_owner = |rank: &Rank| matches!(rank, Rank::Member(permissions) if permissions.role() == Role::Owner);
    let is_admin = |rank: &Rank| matches!(rank, Rank::Staff(OperatorRole::Admin));
    let (is_last, code, detail) = match owner {
        Some(tenant) if is_owner(before) && !after.is_some_and(is_owner) => (
            memberships::others_with_role(tx, tenant, id, Role::Owner.as_str()).await? == 0,
            "last_owner",
            "This is the tenant's last owner. Make somebody else an owner first.",
        ),
        None if is_admin(before) && !after.is_some_and(is_admin) => (
            users::count_staff(tx, OperatorRole::Admin.as_str()).await? <= 1,
            "last_administrator",
            "This is the operator's last administrator. Make somebody else one first.",
        ),
        Some(_) | None => return Ok(()),
    };
    if is_last { Err(Error::conflict(code, detail)) } else { Ok(()) }
}

/// Removes somebody from the caller's tenant, or from the operator's staff, at once. Somebody who then belongs nowhere is removed altogether. Needs the scope
/// `users:write`.
#[crate::boxed]
pub async fn remove(parts: &Parts, caller: &Caller, id: UserId) -> Result<(), Error> {
    caller.need("users:write")?;
    let owner = owner_of(caller)?;
    let now = parts.ports.clock.now();
    let (ids, by) = (Arc::clone(&parts.ports.ids), caller.clone());
    let write = parts.ports.db.write(Scope::System, move |tx| {
        Box::pin(async move {
            let mut user = users::hold(tx, id).await?.ok_or_else(|| Error::not_found("user"))?;
            let (view, rank) = found(tx, owner, id).await?;
            rank.within(&by)?;
            keep_the_last(tx, owner, id, &rank, None).await?;
            match owner {
                Some(tenant) => {
                    memberships::remove(tx, tenant, id).await?;
                    links::remove_links(tx, id, LinkKind::Invitation.as_str(), Some(tenant)).await?;
                    links::remove_links(tx, id, LinkKind::SignIn.as_str(), Some(tenant)).await?;
                }
                None => {
                    (user.operator_role, user.updated_at, user.privileges_at) = (None, now, now);
                    users::update(tx, &user).await?;
                }
            }
            let mut detail = rank.detail();
            detail["email"] = json!(view.email);
            audit::record(tx, by.owner(), &ids, now, &by, "user.removed", id, &detail).await?;
            forget_if_nowhere(tx, &user).await
        })
    });
    write.await
}

/// Makes somebody new the owner of a tenant that is being made, with a link that signs them in. The address must be nobody's: a link never opens an account
/// that was there before.
pub(crate) async fn make_owner(
    tx: &mut Tx,
    ids: &Ids,
    now: Timestamp,
    by: &Caller,
    (email, name): (&str, &str),
    token: &Secret,
) -> Result<UserId, Error> {
    let mut user = user_of(tx, ids, now, email, name).await?;
    let rank = Rank::Member(Permissions::of(Role::Owner));
    enrol(tx, ids, now, by, &mut user, &rank, Some(now)).await?;
    make_link(tx, token, now, LinkKind::SignIn, user.id, by.tenant, "link").await?;
    Ok(user.id)
}

/// Takes all members out of a tenant that is gone, up to `limit` of them; those who belong to nothing else are forgotten. Answers how many left.
pub(crate) async fn disband(tx: &mut Tx, tenant: TenantId, limit: i64) -> Result<u64, Error> {
    let members = memberships::list(tx, tenant, UserId::from_ulid(u128::MAX), limit).await?;
    for (_, user) in &members {
        memberships::remove(tx, tenant, user.id).await?;
        forget_if_nowhere(tx, user).await?;
    }
    Ok(members.len() as u64)
}

/// Removes a person who belongs to no tenant and no staff, with everything that is theirs.
async fn forget_if_nowhere(tx: &mut Tx, user: &users::User) -> Result<(), Error> {
    if user.operator_role.is_some() || memberships::has_any(tx, user.id).await? {
        return Ok(());
    }
    sessions::remove_others(tx, user.id, None).await?;
    links::remove_all_links(tx, user.id).await?;
    links::replace_codes(tx, user.id, &[]).await?;
    Ok(users::remove(tx, user.id).await?)
}

/// The person who signed in.
#[crate::boxed]
pub async fn me(parts: &Parts, session: &Session) -> Result<Me, Error> {
    let id = session.user_id;
    let read = parts.ports.db.read(Scope::System, move |tx| {
        Box::pin(async move {
            let user = users::find(tx, id).await?.ok_or_else(|| Error::not_found("user"))?;
            Ok::<_, Error>((links::count_codes(tx, id).await?, user))
        })
    });
    let (recovery_codes, user) = read.await?;
    let memberships = session.memberships.iter().map(|membership| MyMembership {
        tenant_id: membership.tenant_id,
        tenant_name: membership.tenant_name.clone(),
        role: membership.permissions.role(),
        permissions: membership.permissions.granted(),
    });
    Ok(Me {
        id,
        email: user.email,
        name: user.name,
        operator_role: session.operator_role,
        memberships: memberships.collect(),
        has_second_factor: user.has_totp,
        recovery_codes,
        password_set_at: user.password_at,
        csrf: session.csrf.clone(),
    })
}

/// Changes the name of the person who signed in.
#[crate::boxed]
pub async fn rename(parts: &Parts, session: &Session, name: &str) -> Result<Me, Error> {
    let name = checked_name("/name", name)?;
    let (id, now) = (session.user_id, parts.ports.clock.now());
    let write = parts.ports.db.write(Scope::System, move |tx| {
        Box::pin(async move {
            let mut user = users::hold(tx, id).await?.ok_or_else(|| Error::not_found("user"))?;
            (user.name, user.updated_at) = (name, now);
            Ok::<_, Error>(users::update(tx, &user).await?)
        })
    });
    write.await?;
    me(parts, session).await
}

/// Somebody the command line made: no invitation, and a password when they had none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// Who.
    pub view: MemberView,
    /// The password we made, shown this once; `None` for somebody who has one.
    pub password: Option<Secret>,
}

/// Makes somebody a member of the caller's tenant, or one of the operator's staff, at once. For the command line on the machine itself.
#[crate::boxed]
pub async fn make(parts: &Parts, caller: &Caller, new: NewMember) -> Result<Made, Error> {
    caller.need_operator("users:write")?;
    let email = check_email(&new.email)?;
    let name = new.name.as_deref().map(|name| checked_name("/name", name)).transpose()?.unwrap_or_default();
    let rank = Rank::parse(caller.tenant, &new.role, new.permissions.as_deref().unwrap_or_default())?;
    rank.within(caller)?;
    let now = parts.ports.clock.now();
    let password = Secret::new(parts.ports.ids.token(MADE_LEN));
    let hashed = parts.passwords.hash(&parts.ports.ids, &password).await?;
    let (ids, by) = (Arc::clone(&parts.ports.ids), caller.clone());
    let write = parts.ports.db.write(Scope::System, move |tx| {
        Box::pin(async move {
            let mut user = user_of(tx, &ids, now, &email, &name).await?;
            let is_new = user.password.is_none();
            if is_new {
                super::sign_in::set_password(tx, now, &mut user, hashed).await?;
            }
            Ok::<_, Error>((enrol(tx, &ids, now, &by, &mut user, &rank, Some(now)).await?, is_new))
        })
    });
    let (view, is_new) = write.await?;
    Ok(Made { view, password: is_new.then_some(password) })
}

/// Makes the first operator on the very first start and answers how they sign in; `None` on every later one. Of two nodes that start at once one makes it.
#[crate::boxed]
pub async fn bootstrap(parts: &Parts) -> Result<Option<Made>, Error> {
    let known = parts.ports.db.read(Scope::System, |tx| {
        Box::pin(async move { Ok::<_, Error>(installation::find(tx, FIRST_OPERATOR).await?) })
    });
    if known.await?.is_some() {
        return Ok(None);
    }
    let now = parts.ports.clock.now();
    let password = Secret::new(parts.ports.ids.token(MADE_LEN));
    let hashed = parts.passwords.hash(&parts.ports.ids, &password).await?;
    let ids = Arc::clone(&parts.ports.ids);
    let write = parts.ports.db.write(Scope::System, move |tx| {
        Box::pin(async move {
            // Whoever made staff by the command line before the first start knows how to get in.
            let has_staff = users::count_staff(tx, OperatorRole::Admin.as_str()).await? > 0;
            if !installation::claim(tx, FIRST_OPERATOR, &now.to_string()).await? || has_staff {
                return Ok(None);
            }
            let mut user = user_of(tx, &ids, now, FIRST_OPERATOR_EMAIL, "Operator").await?;
            super::sign_in::set_password(tx, now, &mut user, hashed).await?;
            let by = Caller::system(None);
            Ok::<_, Error>(Some(
                enrol(tx, &ids, now, &by, &mut user, &Rank::Staff(OperatorRole::Admin), Some(now)).await?,
            ))
        })
    });
    Ok(write.await?.map(|view| Made { view, password: Some(password) }))
}

/// Makes a link to a new password for somebody, to be handed over. For the operator.
#[crate::boxed]
pub async fn reset_link(parts: &Parts, caller: &Caller, email: &str) -> Result<String, Error> {
    caller.need_operator("users:write")?;
    let found = super::sign_in::reset_link(parts, email).await?;
    let (user, token) = found.ok_or_else(|| Error::not_found("user"))?;
    let (ids, by, now) = (Arc::clone(&parts.ports.ids), caller.clone(), parts.ports.clock.now());
    let write = parts.ports.db.write(Scope::System, move |tx| {
        Box::pin(async move {
            audit::record(tx, OPERATOR, &ids, now, &by, "user.reset_link_made", user.id, &json!({"email": user.email}))
                .await
        })
    });
    write.await?;
    Ok(link_url(parts, LinkKind::Reset, &token))
}
