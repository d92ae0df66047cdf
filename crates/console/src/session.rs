//! Who is signed in, for the pages.

use aws_lc_rs::digest::{SHA256, digest};
use axum::extract::ConnectInfo;
use engine::{
    Error,
    keys::{self, Caller},
};
use http::{HeaderMap, HeaderValue, header, request::Parts};
use model::TenantId;
use std::net::{IpAddr, SocketAddr};

use crate::App;

/// Carries the key a person signed in with.
pub(crate) const COOKIE: &str = "tidings_session";
/// Carries which tenant an operator looks at.
pub(crate) const TENANT: &str = "tenant";

/// Somebody who signed in.
#[derive(Debug, Clone)]
pub(crate) struct Person {
    /// How they are called.
    pub(crate) name: String,
    /// Whether they belong to the operator.
    pub(crate) is_staff: bool,
    /// What their forms must carry.
    pub(crate) csrf: String,
    /// The tenants they belong to.
    pub(crate) tenants: Vec<(TenantId, String)>,
}

impl Person {
    /// Whether a form carries this person's token. Compared in constant time.
    pub(crate) fn has_token(&self, given: &str) -> bool {
        aws_lc_rs::constant_time::verify_slices_are_equal(self.csrf.as_bytes(), given.as_bytes()).is_ok()
    }
}

/// Finds out who is asking; `None` when nobody is signed in.
pub(crate) async fn recognise(app: &App, parts: &Parts) -> Result<Option<(Person, Caller)>, Error> {
    let engine = app.engine();
    let Some(key) = cookie(&parts.headers, COOKIE) else { return Ok(None) };
    let tenant = cookie(&parts.headers, TENANT);
    let (ip, now) = (client_ip(app, parts), engine.ports.clock.now());
    let seen = match keys::authenticate(engine.parts(), Some(&key), tenant.as_deref(), ip, now).await {
        Err(error) if error.code == "tenant_not_found" => {
            keys::authenticate(engine.parts(), Some(&key), None, ip, now).await
        }
        seen => seen,
    };
    let caller = match seen {
        Ok(caller) => caller,
        Err(error) if matches!(error.kind.status(), 401 | 403) => return Ok(None),
        Err(error) => return Err(error),
    };
    let sum = digest(&SHA256, format!("csrf {key}").as_bytes());
    let csrf = sum.as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    Ok(Some((Person { name: caller.actor(), is_staff: caller.is_operator, csrf, tenants: Vec::new() }, caller)))
}

/// The value of a cookie.
pub(crate) fn cookie(headers: &HeaderMap, name: &str) -> Option<String> {
    let pairs =
        headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok()).flat_map(|line| line.split(';'));
    pairs
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(known, _)| *known == name)
        .map(|(_, value)| value.to_owned())
}

/// A cookie for the console alone.
pub(crate) fn set_cookie(name: &str, value: &str, max_age_s: Option<i64>, is_secure: bool) -> HeaderValue {
    let age = max_age_s.map_or_else(String::new, |age| format!("; Max-Age={age}"));
    let secure = if is_secure { "; Secure" } else { "" };
    let text = format!("{name}={value}; Path={}; HttpOnly; SameSite=Lax{age}{secure}", crate::BASE);
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(""))
}

/// The client's address: from the trusted proxy's header, or the connection's.
pub(crate) fn client_ip(app: &App, parts: &Parts) -> Option<IpAddr> {
    if let Some(name) = app.options().client_ip_header.as_ref() {
        let last = parts.headers.get_all(name).iter().next_back()?.to_str().ok()?.rsplit(',').next()?.trim();
        return last.parse().ok().or_else(|| last.parse::<SocketAddr>().ok().map(|address| address.ip()));
    }
    parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| peer.ip())
}
