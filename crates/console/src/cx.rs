//! The way every request for a page comes in: who is asking, about which tenant, and how they like to see it.

use axum::{
    body::Body,
    extract::{FromRequest, FromRequestParts, Request},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use engine::{
    Engine, Error, ErrorKind,
    access::Permission,
    keys::Caller,
    tenants::{self, TenantView},
};
use http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts};
use http_body_util::{BodyExt as _, Limited};
use jiff::tz::TimeZone;
use maud::Markup;
use model::{Channel, EventId, TenantId};
use serde::de::DeserializeOwned;
use std::sync::Arc;

use crate::{
    App,
    form::{self, Form},
    format::{self, Here},
    guard,
    parts::{self, Tone},
    session::{self, Person},
    shell,
};

/// A signed-in person's request.
pub(crate) struct Cx {
    /// The engine and the options.
    pub(crate) app: App,
    /// Who.
    pub(crate) person: Person,
    /// What they may do, inside the tenant they look at.
    pub(crate) caller: Caller,
    /// The tenant they look at.
    pub(crate) tenant: Option<TenantView>,
    /// The tenant's newest event before anything of the page was read: what happens from then on reaches the page by its stream.
    pub(crate) newest: Option<EventId>,
    /// Theme, zone and instant.
    pub(crate) look: Look,
}

/// How somebody likes to see pages.
pub(crate) struct Look {
    /// `light` or `dark`; `None` for what the system says.
    pub(crate) theme: Option<&'static str>,
    /// The viewer's zone and the current instant.
    pub(crate) here: Here,
    /// A word about what was just done.
    pub(crate) said: Option<(Tone, String)>,
    /// Whether a window on a page asks, by script: it is told what is wrong without the page being left.
    pub(crate) is_dialog: bool,
}

impl Look {
    /// Reads the cookies.
    pub(crate) fn read(app: &App, headers: &HeaderMap) -> Self {
        let theme = match session::cookie(headers, "theme").as_deref() {
            Some("dark") => Some("dark"),
            Some("light") => Some("light"),
            _ => None,
        };
        let zone = session::cookie(headers, "zone").and_then(|zone| TimeZone::get(&decoded(&zone)).ok());
        let said = session::cookie(headers, SAID).and_then(|text| read_said(&text));
        let here = Here { zone: zone.unwrap_or(TimeZone::UTC), now: app.engine().ports.clock.now() };
        Self { theme, here, said, is_dialog: guard::is_dialog(headers) }
    }
}

/// Carries a word about what was done over the redirect that follows.
pub(crate) const SAID: &str = "said";

fn read_said(text: &str) -> Option<(Tone, String)> {
    let (tone, words) = text.split_once('.')?;
    let tone = if tone == "bad" { Tone::Bad } else { Tone::Good };
    Some((tone, decoded(words)))
}

/// Percent-decoding, as `encodeURIComponent` wrote it.
pub(crate) fn decoded(text: &str) -> String {
    form_urlencoded::parse(format!("x={}", text.replace('+', "%2B")).as_bytes())
        .next()
        .map(|(_, value)| value.into_owned())
        .unwrap_or_default()
}

fn encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20")
}

impl Cx {
    /// The engine.
    pub(crate) fn engine(&self) -> &Arc<Engine> {
        self.app.engine()
    }

    /// Times as this person reads them.
    pub(crate) const fn here(&self) -> &Here {
        &self.look.here
    }

    /// Whether a button that needs this scope is shown.
    pub(crate) fn may(&self, scope: &'static str) -> bool {
        self.caller.need(scope).is_ok()
    }

    /// Whether somebody may send over a channel.
    pub(crate) fn may_send(&self, channel: Channel) -> bool {
        self.may("messages:write") && self.caller.need_permission(Permission::Send(channel)).is_ok()
    }

    /// Whether somebody may set up what carries these channels: each of them.
    pub(crate) fn may_manage(&self, channels: &[Channel]) -> bool {
        let is_theirs = |channel: &Channel| self.caller.need_permission(Permission::Manage(*channel)).is_ok();
        self.may("accounts:write") && channels.iter().all(is_theirs)
    }

    /// The person outside of any tenant: what the operator's pages act as. Others are nobody there.
    pub(crate) fn outside(&self) -> Caller {
        self.person.outside.clone().unwrap_or_else(|| Caller {
            tenant: None,
            is_operator: false,
            ..self.caller.clone()
        })
    }

    /// Whether a button of the operator's pages that needs this scope is shown.
    pub(crate) fn may_outside(&self, scope: &'static str) -> bool {
        self.outside().need_operator(scope).is_ok()
    }

    /// The token of this person's forms.
    pub(crate) fn csrf(&self) -> &str {
        &self.person.session.csrf
    }

    /// The tenant the page is about; somebody outside of any is led to the list.
    pub(crate) fn tenant(&self) -> Result<&TenantView, Fault> {
        self.tenant.as_ref().ok_or(Fault::ChooseTenant)
    }

    /// A page in the shell.
    pub(crate) fn page(&self, page: shell::Page<'_>) -> Response {
        let mut response = html(shell::page(self, page));
        if self.look.is_dialog {
            // What was asked for in a window is a page: it takes the place of the one the window is on.
            response.headers_mut().insert("hx-retarget", HeaderValue::from_static("body"));
            response.headers_mut().insert("hx-reswap", HeaderValue::from_static("innerHTML show:window:top"));
        }
        if self.look.said.is_some() {
            response.headers_mut().append(header::SET_COOKIE, session::set_cookie(SAID, "", Some(0), self.is_secure()));
        }
        response
    }

    /// The same page again, because the form on it has to be put right.
    pub(crate) fn again(&self, page: shell::Page<'_>) -> Response {
        let mut response = self.page(page);
        *response.status_mut() = StatusCode::UNPROCESSABLE_ENTITY;
        response
    }

    /// Goes to a page and says there what was done.
    pub(crate) fn done(&self, to: &str, said: &str) -> Response {
        self.told(to, "good", said)
    }

    /// Says what could not be done: in the window that asked, which keeps what was typed, or else on a page to go to.
    pub(crate) fn refused(&self, to: &str, said: &str) -> Response {
        if self.look.is_dialog {
            let mut response = html(parts::notice(Tone::Bad, "", maud::html! { p { (format::spoken(said)) } }));
            *response.status_mut() = StatusCode::UNPROCESSABLE_ENTITY;
            return response;
        }
        self.told(to, "bad", said)
    }

    fn told(&self, to: &str, tone: &str, said: &str) -> Response {
        /// Characters of a text in a cookie: a header has room for a few kilobytes.
        const SAID_MAX: usize = 400;
        let said: String = format::spoken(said).chars().take(SAID_MAX).collect();
        let mut response = go(to);
        let cookie = session::set_cookie(SAID, &format!("{tone}.{}", encoded(&said)), Some(60), self.is_secure());
        response.headers_mut().append(header::SET_COOKIE, cookie);
        response
    }

    /// Whether cookies are for encrypted connections only.
    pub(crate) fn is_secure(&self) -> bool {
        is_secure(&self.app)
    }
}

/// Whether this installation is reached over https.
pub(crate) fn is_secure(app: &App) -> bool {
    app.engine().config.public_url.starts_with("https://")
}

/// Answers a page.
pub(crate) fn html(markup: Markup) -> Response {
    let mut response = Response::new(Body::from(markup.into_string()));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    response
}

/// Leads to another page, with GET.
pub(crate) fn go(to: &str) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SEE_OTHER;
    let to = HeaderValue::from_str(to).unwrap_or(HeaderValue::from_static(crate::BASE));
    response.headers_mut().insert(header::LOCATION, to);
    response
}

/// Why there is no page.
#[derive(Debug)]
pub(crate) enum Fault {
    /// Nobody is signed in; where they wanted to go.
    SignIn(String),
    /// No tenant is chosen.
    ChooseTenant,
    /// The engine refused or failed.
    Error(Error),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// A page, or why there is none.
pub(crate) type Answer = Result<Response, Fault>;

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        match self {
            Self::SignIn(next) => {
                go(&crate::parts::table::address(&format!("{}/sign-in", crate::BASE), [("next", next.as_str())]))
            }
            Self::ChooseTenant => go(&format!("{}/tenants", crate::BASE)),
            Self::Error(error) => {
                let mut response = html(shell::error(&error));
                *response.status_mut() =
                    StatusCode::from_u16(error.kind.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                response
            }
        }
    }
}

impl FromRequestParts<App> for Cx {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Fault> {
        let path = parts.uri.path().to_owned();
        let Some((person, caller, fresh)) = session::recognise(app, parts).await? else {
            let next = parts.uri.path_and_query().map_or(path.as_str(), |whole| whole.as_str());
            return Err(Fault::SignIn(if parts.method == http::Method::GET { next.to_owned() } else { String::new() }));
        };
        if let (Some(fresh), Some(later)) = (fresh, parts.extensions.get::<guard::Later>()) {
            later.set_cookie(fresh);
        }
        let tenant = match caller.tenant {
            Some(id) => tenant(app, &caller, id).await?,
            None => None,
        };
        // Parts of a page that are asked for again have their page's stream.
        let is_page = parts.method == http::Method::GET && !parts.headers.contains_key("hx-request");
        let newest = match is_page && tenant.is_some() && caller.need("events:read").is_ok() {
            true => Some(app.engine().newest_event(&caller).await?),
            false => None,
        };
        Ok(Self { app: app.clone(), person, caller, tenant, newest, look: Look::read(app, &parts.headers) })
    }
}

/// The tenant for the shell, also for somebody who may not see its settings.
async fn tenant(app: &App, caller: &Caller, id: TenantId) -> Result<Option<TenantView>, Fault> {
    let as_program = Caller { ip: caller.ip, agent: caller.agent.clone(), ..Caller::system(Some(id)) };
    match tenants::own(app.engine().parts(), &as_program).await {
        Ok(tenant) => Ok(Some(tenant)),
        Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// A form a signed-in person sent, with their session's token.
pub(crate) struct Posted {
    /// Who sent it.
    pub(crate) cx: Cx,
    /// What they sent.
    pub(crate) form: Form,
}

impl FromRequest<App> for Posted {
    type Rejection = Fault;

    async fn from_request(request: Request, app: &App) -> Result<Self, Fault> {
        let (mut parts, body) = request.into_parts();
        let cx = Cx::from_request_parts(&mut parts, app).await?;
        let form = Form::read(&read_body(body, form::FORM_MAX).await?);
        check_token(&cx, &parts.headers, &form)?;
        Ok(Self { cx, form })
    }
}

/// Refuses what does not carry the session's token.
pub(crate) fn check_token(cx: &Cx, headers: &HeaderMap, form: &Form) -> Result<(), Fault> {
    let given = headers.get("x-csrf-token").and_then(|value| value.to_str().ok()).or_else(|| form.get(form::TOKEN));
    if given.is_some_and(|given| cx.person.session.has_csrf(given)) {
        return Ok(());
    }
    let detail =
        "This form is from an earlier session, so nothing was changed. Go back, reload the page and send it again.";
    Err(Error::forbidden("form_expired", detail).into())
}

/// Reads a body up to a limit.
pub(crate) async fn read_body(body: Body, most: usize) -> Result<Bytes, Error> {
    let too_large = |_| {
        Error::new(
            ErrorKind::TooLarge,
            "form_too_large",
            format!("That is too much at once: at most {} kB.", most / 1024),
        )
    };
    Ok(Limited::new(body, most).collect().await.map_err(too_large)?.to_bytes())
}

/// The query of a page; what cannot be read is the engine's 400 with words a person understands.
pub(crate) struct Query<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequestParts<App> for Query<T> {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Fault> {
        // Empty fields of a filter form mean nothing.
        let pairs: Vec<(String, String)> = form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes())
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| (name.into_owned(), value.into_owned()))
            .collect();
        let text = serde_urlencoded::to_string(pairs).unwrap_or_default();
        serde_urlencoded::from_str(&text).map(Self).map_err(|error| {
            Error::new(
                ErrorKind::Malformed,
                "invalid_address",
                format!("The address of this page cannot be read: {error}."),
            )
            .into()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_survives_its_cookie() {
        for text in ["Saved “Ünïcode” + 100 %; done=yes", "<script>alert(1)</script>", ""] {
            assert_eq!(decoded(&encoded(text)), text);
        }
        assert_eq!(read_said("bad.No%20way"), Some((Tone::Bad, "No way".to_owned())));
        assert_eq!(read_said("nonsense"), None);
    }
}
