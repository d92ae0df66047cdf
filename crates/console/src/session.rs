//! Who is signed in, for the pages: the engine's session behind the browser's cookie.

use std::net::{IpAddr, SocketAddr};

use axum::extract::ConnectInfo;
use engine::{
    Error, ErrorKind,
    access::{
        Session,
        sessions::{self, COOKIE, Device},
    },
    keys::Caller,
};
use http::{HeaderMap, HeaderValue, header, request::Parts};
use model::{Secret, TenantId};

use crate::App;

/// Somebody who signed in.
#[derive(Debug, Clone)]
pub(crate) struct Person {
    /// Their session, as they are now.
    pub(crate) session: Session,
    /// The session's token, for what replaces it.
    pub(crate) token: Secret,
    /// The caller they are outside of any tenant, for the operator's staff.
    pub(crate) outside: Option<Caller>,
}

impl Person {
    /// How they are called: their name, or their address until they gave one.
    pub(crate) fn name(&self) -> &str {
        if self.session.name.is_empty() { &self.session.email } else { &self.session.name }
    }

    /// Whether they belong to the operator.
    pub(crate) const fn is_staff(&self) -> bool {
        self.session.operator_role.is_some()
    }

    /// The tenants they belong to.
    pub(crate) fn tenants(&self) -> impl Iterator<Item = (TenantId, &str)> {
        self.session.memberships.iter().map(|membership| (membership.tenant_id, membership.tenant_name.as_str()))
    }
}

/// Finds out who is asking; `None` when nobody is signed in. The caller is inside the tenant they look at, or the only one they belong to.
/// When the token was replaced, the cookie that has to be set comes with it.
pub(crate) async fn recognise(
    app: &App,
    parts: &Parts,
) -> Result<Option<(Person, Caller, Option<HeaderValue>)>, Error> {
    let engine = app.engine();
    let Some(token) = cookie(&parts.headers, COOKIE) else { return Ok(None) };
    let now = engine.ports.clock.now();
    let Some(session) = sessions::find(engine.parts(), &token, &device(app, parts), now).await? else {
        return Ok(None);
    };
    let token = Secret::new(token);
    let only = match session.memberships.as_slice() {
        [only] if session.operator_role.is_none() => Some(only.tenant_id),
        _ => None,
    };
    let inside = match session.tenant.or(only) {
        // A tenant that is gone, or that they may not enter any more, is as if they looked at none.
        Some(tenant) => match sessions::caller(engine.parts(), &session, Some(tenant)).await {
            Ok(caller) => Some(caller),
            Err(error) if error.kind == ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        },
        None => None,
    };
    let outside = match session.operator_role {
        Some(_) => sessions::caller(engine.parts(), &session, None).await.ok(),
        None => None,
    };
    let caller = inside.or_else(|| outside.clone()).unwrap_or_else(|| nobody(&session));
    let cookie = if session.is_stale {
        let fresh = sessions::rotate(engine.parts(), &session, &token, false, now).await?;
        fresh.and_then(|signed_in| HeaderValue::from_str(&sessions::set_cookie(engine.parts(), &signed_in)).ok())
    } else {
        None
    };
    Ok(Some((Person { session, token, outside }, caller, cookie)))
}

/// Somebody who belongs nowhere: they may do nothing.
fn nobody(session: &Session) -> Caller {
    Caller {
        tenant: None,
        is_operator: false,
        key_id: None,
        user_id: Some(session.user_id),
        name: None,
        scopes: engine::keys::Scopes::Some(Default::default()),
        permissions: None,
        ip: session.ip,
        agent: session.agent.clone(),
    }
}

/// Where a request comes from.
pub(crate) fn device(app: &App, parts: &Parts) -> Device {
    Device::new(client_ip(app, parts), parts.headers.get(header::USER_AGENT).map(|agent| agent.as_bytes()))
}

/// The value of a cookie.
pub(crate) fn cookie(headers: &HeaderMap, name: &str) -> Option<String> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(known, _)| *known == name).map(|(_, value)| value.to_owned())
}

/// A cookie for the console alone.
pub(crate) fn set_cookie(name: &str, value: &str, max_age_s: Option<i64>, is_secure: bool) -> HeaderValue {
    let age = max_age_s.map_or_else(String::new, |age| format!("; Max-Age={age}"));
    let secure = if is_secure { "; Secure" } else { "" };
    let text = format!("{name}={value}; Path={}; HttpOnly; SameSite=Lax{age}{secure}", crate::BASE);
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(""))
}

/// The client's address: from the trusted proxy's header, or the connection's.
fn client_ip(app: &App, parts: &Parts) -> Option<IpAddr> {
    if let Some(name) = app.options().client_ip_header.as_ref() {
        let last = parts.headers.get_all(name).iter().next_back()?.to_str().ok()?.rsplit(',').next()?.trim();
        return last.parse().ok().or_else(|| last.parse::<SocketAddr>().ok().map(|address| address.ip()));
    }
    parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| peer.ip())
}
