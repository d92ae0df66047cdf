//! Letters to people: invitations and password resets, sent through Tidings itself.
//!
//! An invitation leaves through the tenant's own default e-mail account, or through the operator's (`mail_tenant` of the configuration). A password reset opens
//! everything a person may do, and whoever runs the account a letter leaves through can read it: so it leaves through the operator's, or, for somebody who belongs
//! to one tenant alone and not to the staff, through that tenant's. Without such an account the link is shown to whoever asked for it and may see it.
//!
//! The link travels as the variable `secret_link`: what such a variable says is shown nowhere, so nobody reads it in the log of messages.

use std::sync::Arc;

use model::{AccountId, Channel, Secret, TenantId, Timestamp};
use serde_json::json;
use store::{Scope, memberships};
use tokio::task::JoinHandle;

use super::{Device, sign_in, throttle, users::link_url};
use crate::{
    Engine, Error,
    access::sign_in::LinkKind,
    directory::{Tenant, TenantState},
    keys::Caller,
};

/// Connectors through which nothing arrives at a person.
pub(crate) const NOWHERE: &[&str] = &["sandbox", "noop"];

/// The account a letter leaves through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Way {
    tenant: TenantId,
    account: AccountId,
}

impl Way {
    /// For whom it is lent: the tenant, when a letter of its leaves through an account of somebody else's.
    pub fn lent_to(&self, owner: Option<TenantId>) -> Option<TenantId> {
        owner.filter(|tenant| *tenant != self.tenant)
    }
}

/// What a letter says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Letter {
    /// That a tenant wants them.
    Invitation {
        /// The tenant's name, or the installation's for its staff.
        into: String,
    },
    /// That they can choose a new password.
    Reset,
}

/// The way out of a tenant, when it has one: an e-mail account that is its channel's default, works, and really sends.
fn way_of(tenant: &Tenant) -> Option<Way> {
    let sends = |account: &&Arc<crate::directory::Account>| {
        account.is_enabled
            && account.default_for.contains(&Channel::Email)
            && !NOWHERE.contains(&account.connector.spec().id)
    };
    let account = tenant.accounts.iter().find(sends)?;
    (tenant.state == TenantState::Active && !tenant.is_demo).then_some(Way { tenant: tenant.id, account: account.id })
}

/// The first of these tenants with a way out.
async fn first_way(engine: &Engine, tenants: impl IntoIterator<Item = TenantId>) -> Result<Option<Way>, Error> {
    for id in tenants {
        if let Some(tenant) = engine.directory.tenant(id).await?
            && let Some(way) = way_of(&tenant)
        {
            return Ok(Some(way));
        }
    }
    Ok(None)
}

/// How an invitation into a tenant (or to the staff) leaves.
pub(super) async fn way_for_invitation(engine: &Engine, tenant: Option<TenantId>) -> Result<Option<Way>, Error> {
    if let Some(tenant) = tenant
        && engine.tenant(tenant).await?.1.is_demo
    {
        // Nothing of a demo tenant leaves, also not through somebody else's account: the link is shown.
        return Ok(None);
    }
    first_way(engine, tenant.into_iter().chain(engine.config.mail_tenant)).await
}

async fn way_for_reset(engine: &Engine, user: &store::users::User) -> Result<Option<Way>, Error> {
    let id = user.id;
    let read = engine
        .ports
        .db
        .read(Scope::System, move |tx| Box::pin(async move { Ok::<_, Error>(memberships::of_user(tx, id).await?) }));
    let accepted: Vec<_> = read.await?.into_iter().filter(|of| of.membership.accepted_at.is_some()).collect();
    let only = match accepted.as_slice() {
        [only] if user.operator_role.is_none() => Some(only.membership.tenant),
        _ => None,
    };
    first_way(engine, engine.config.mail_tenant.into_iter().chain(only)).await
}

/// Hands a letter to the engine like any other message. It is on disk when this returns.
pub(super) async fn post(engine: &Engine, way: Way, to: &str, letter: &Letter, link: &str) -> Result<(), Error> {
    let (subject, text, into) = match letter {
        Letter::Invitation { into } => (
            "You are invited to {{ tenant }}",
            "Hello,\n\nyou are invited to work with {{ tenant }} in Tidings. Follow this link to take up the invitation; it is good for seven days and works once:\n\n\
             {{ secret_link }}\n\nIf you do not know what this is about, leave it: nothing happens.\n",
            into.as_str(),
        ),
        Letter::Reset => (
            "Your new password for Tidings",
            "Hello,\n\nsomebody, hopefully you, asked for a new password for this address. Follow this link to choose one; it is good for an hour and works once:\n\n\
             {{ secret_link }}\n\nIf it was not you, leave it: your password stays as it is.\n",
            "",
        ),
    };
    let request = json!({
        "to": {"email": to}, "channel": "email", "purpose": "transactional", "account_id": way.account,
        "content": {"subject": subject, "text": text}, "variables": {"tenant": into, "secret_link": link},
    });
    engine.send(&Caller::system(Some(way.tenant)), request.to_string().as_bytes(), None).await.map(drop)
}

/// Asks for a new password for an address. Whether anybody has it cannot be learned: the answer comes before anybody looks, and is counted like a failed sign-in.
/// What follows happens in the task that is answered; tests wait for it, nobody else has to.
#[crate::boxed]
pub async fn request_reset(
    engine: &Arc<Engine>,
    email: &str,
    device: &Device,
    now: Timestamp,
) -> Result<JoinHandle<()>, Error> {
    let email = sign_in::plain_email(email);
    if email.is_empty() || email.len() > sign_in::EMAIL_MAX {
        return Err(Error::invalid("/email", "an e-mail address has 1 to 320 characters"));
    }
    throttle::begin(engine, &format!("reset {email}"), device.ip, now).await?;
    let engine = Arc::clone(engine);
    Ok(tokio::spawn(async move {
        if let Err(error) = reset_by_mail(&engine, &email).await {
            tracing::warn!(%error, "A password reset that was asked for could not be sent");
        }
    }))
}

async fn reset_by_mail(engine: &Engine, email: &str) -> Result<(), Error> {
    let wanted = email.to_owned();
    let read = engine.ports.db.read(Scope::System, move |tx| {
        Box::pin(async move { Ok::<_, Error>(store::users::find_by_email(tx, &wanted).await?) })
    });
    let Some(user) = read.await? else { return Ok(()) };
    let Some(way) = way_for_reset(engine, &user).await? else {
        tracing::warn!(
            user.id = %user.id,
            "Somebody asked for a new password, and there is no e-mail account of the operator's to send it through: set `mail_tenant`, or hand over the link of `tidings user reset`"
        );
        return Ok(());
    };
    let Some((user, token)) = sign_in::reset_link(engine, email).await? else { return Ok(()) };
    let link: Secret = Secret::new(link_url(engine, LinkKind::Reset, &token));
    post(engine, way, &user.email, &Letter::Reset, link.reveal()).await
}
