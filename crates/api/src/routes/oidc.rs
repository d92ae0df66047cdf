//! Signing in through the operator's OpenID provider, for browsers: away to the provider, and back.

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use engine::{
    Error,
    access::{
        oidc::{self, STATE_COOKIE},
        sessions,
    },
};
use http::{HeaderValue, StatusCode, header};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::{
    App,
    answer::Answer,
    extract::{Args, Cookies, Origin},
    problem::Problem,
};

/// Where to go afterwards.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct DepartQuery {
    /// A page of this installation, as a path; the console's first page when left out.
    #[param(example = "/console")]
    return_to: Option<String>,
}

/// Signs in through the OpenID provider
///
/// Sends a browser to the provider the operator configured (authorization code with PKCE). 404 when there is none.
#[utoipa::path(get, path = "/v1/oidc/start", operation_id = "start_oidc", tag = "Sessions", params(DepartQuery),
    responses((status = 303, description = "On to the provider.")))]
pub(crate) async fn depart(State(app): State<App>, Args(query): Args<DepartQuery>) -> Answer {
    let parts = app.engine().parts();
    let departure = oidc::depart(parts, query.return_to.as_deref().unwrap_or_default()).await?;
    let secure = if parts.config.public_url.starts_with("https://") { "; Secure" } else { "" };
    let cookie = format!(
        "{STATE_COOKIE}={}; Path={}; Max-Age={}; HttpOnly; SameSite=Lax{secure}",
        departure.state,
        oidc::CALLBACK_PATH,
        oidc::AWAY_S
    );
    go(&departure.url, &[cookie])
}

/// What the provider sends along. It may send more, which is not looked at.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ArriveQuery {
    /// What is exchanged for who it is.
    code: Option<String>,
    /// What we sent.
    state: Option<String>,
    /// Why not, when the provider or the person refused.
    error: Option<String>,
}

/// Comes back from the OpenID provider
///
/// Signs the browser in (cookie `tidings_session`) and sends it on. Only for the redirect of the provider.
#[utoipa::path(get, path = "/v1/oidc/callback", operation_id = "finish_oidc", tag = "Sessions", params(ArriveQuery),
    responses((status = 303, description = "Signed in, and on to the page.")))]
pub(crate) async fn arrive(
    State(app): State<App>,
    Origin(device): Origin,
    cookies: Cookies,
    Args(query): Args<ArriveQuery>,
) -> Answer {
    if query.error.is_some() {
        return Err(Problem::new(
            engine::ErrorKind::Unauthorized,
            "oidc_refused",
            "The provider did not sign you in, or you changed your mind. Begin again.",
        ));
    }
    let parts = app.engine().parts();
    let now = parts.ports.clock.now();
    let (state, code) = (query.state.unwrap_or_default(), query.code.unwrap_or_default());
    let arrival = oidc::arrive(parts, &state, &code, cookies.get(STATE_COOKIE), &device, now).await?;
    let forget = format!("{STATE_COOKIE}=; Path={}; Max-Age=0; HttpOnly; SameSite=Lax", oidc::CALLBACK_PATH);
    go(&arrival.return_to, &[sessions::set_cookie(parts, &arrival.signed_in), forget])
}

/// 303 with cookies.
fn go(to: &str, cookies: &[String]) -> Answer {
    let bad = |_| Error::internal("a redirect is no header");
    let mut response: Response = StatusCode::SEE_OTHER.into_response();
    response.headers_mut().insert(header::LOCATION, HeaderValue::from_str(to).map_err(bad)?);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    for cookie in cookies {
        response.headers_mut().append(header::SET_COOKIE, HeaderValue::from_str(cookie).map_err(bad)?);
    }
    Ok(response)
}
