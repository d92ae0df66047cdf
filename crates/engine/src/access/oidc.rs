//! Signing in through an OpenID Connect provider the operator configured: authorization code with PKCE, state and nonce (OpenID Connect Core 1.0, RFC 7636).
//!
//! The provider's metadata and keys are read anew for each sign-in: three short requests, and a key that was replaced or withdrawn counts at once. They leave
//! through the transport, past the same guard as everything else.
//!
//! Who comes back is known by issuer and subject. The first time, somebody with the same e-mail address is taken for that person if the provider has verified the
//! address; as anybody may have claimed the address here before, the password and sessions from before then end. Whether a second factor is asked for is the
//! provider's business.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use model::{Answer, Call, HttpCall, Ids, Method, Secret, TenantId, Timestamp, Transport, UserId};
use openidconnect::{
    AsyncHttpClient, AuthorizationCode, ClientId, ClientSecret, CsrfToken, EndpointMaybeSet, EndpointNotSet,
    EndpointSet, HttpRequest, HttpResponse, IssuerUrl, Nonce, PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, Scope,
    TokenResponse,
    core::{CoreAuthenticationFlow, CoreClient, CoreIdTokenClaims, CoreProviderMetadata},
    http,
};
use serde_json::json;
use store::{Scope as Reach, Tx, memberships, sessions as rows, sign_in::OidcRequest, users};

use super::{
    Device, Role, SignedIn, TOKEN_LEN, TOKEN_MAX, hash,
    sessions::{actor, open, record_everywhere},
    sign_in::plain_email,
};
use crate::{Error, ErrorKind, Parts, audit};

/// Where the provider sends people back to, below the public URL.
pub const CALLBACK_PATH: &str = "/v1/oidc/callback";
/// The cookie that binds a sign-in to the browser that began it.
pub const STATE_COOKIE: &str = "tidings_oidc_state";
/// How long somebody may take at the provider, in seconds.
pub const AWAY_S: i64 = 15 * 60;
/// Time for one request to the provider, in milliseconds.
const TIMEOUT_MS: u64 = 10_000;
/// Characters of a code verifier (RFC 7636 takes 43 to 128).
const VERIFIER_LEN: usize = 64;
/// Longest page to come back to.
const RETURN_MAX: usize = 512;
/// Longest code a provider sends back.
const CODE_MAX: usize = 4_096;

/// What the operator configured.
#[derive(Debug, Clone)]
pub struct Oidc {
    /// The issuer's URL, as its tokens say it.
    pub issuer: String,
    /// Who we are to the provider.
    pub client_id: String,
    /// And how we prove it; `None` for a public client.
    pub client_secret: Option<Secret>,
    /// Domains of e-mail addresses that are let in; empty for all.
    pub allowed_domains: Vec<String>,
    /// Where somebody who is new becomes a member, and as what; `None`: only who is there already is let in.
    pub auto_create: Option<(TenantId, Role)>,
}

/// A sign-in that begins: where to send the browser, and what to put into [`STATE_COOKIE`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Departure {
    /// The provider's page.
    pub url: String,
    /// For the cookie.
    pub state: String,
}

/// A sign-in that came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival {
    /// The session.
    pub signed_in: SignedIn,
    /// The page to go on to.
    pub return_to: String,
}

type Client =
    CoreClient<EndpointSet, EndpointNotSet, EndpointNotSet, EndpointNotSet, EndpointMaybeSet, EndpointMaybeSet>;

fn config(parts: &Parts) -> Result<&Oidc, Error> {
    parts.config.oidc.as_ref().ok_or_else(|| {
        Error::new(
            ErrorKind::NotFound,
            "oidc_off",
            "Signing in through another provider is not set up here. Use e-mail address and password, or ask the operator to set `oidc`.",
        )
    })
}

/// What cannot be blamed on whoever signs in: the log has the details.
fn unavailable(what: &str, error: &dyn std::error::Error) -> Error {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    tracing::warn!(error = text, "The OpenID provider cannot be used: {what}");
    Error::new(
        ErrorKind::Unavailable,
        "oidc_unavailable",
        "The provider you sign in with cannot be used at this moment. Try again shortly, or use e-mail address and password.",
    )
    .with_retry_after_ms(5_000)
}

fn refused(detail: &str) -> Error {
    Error::new(ErrorKind::Unauthorized, "oidc_refused", detail)
}

/// Carries the library's requests through our transport.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Failed(String);

async fn carry(transport: Arc<dyn Transport>, request: HttpRequest) -> Result<HttpResponse, Failed> {
    let method = if request.method() == http::Method::POST { Method::Post } else { Method::Get };
    let mut call = HttpCall::new(method, request.uri().to_string());
    for (name, value) in request.headers() {
        let value = value.to_str().map_err(|_| Failed(format!("the header {name} is not text")))?;
        call = call.header(name.as_str(), value);
    }
    call.body = request.into_body().into();
    call.timeout_ms = TIMEOUT_MS;
    match transport.exchange(Arc::new(Call::Http(call))).await {
        Ok(Answer::Http(answer)) if answer.is_truncated => Err(Failed("the answer is too long".to_owned())),
        Ok(Answer::Http(answer)) => {
            let mut response = http::Response::builder().status(answer.status);
            for (name, value) in &answer.headers {
                response = response.header(name, value);
            }
            response.body(answer.body.to_vec()).map_err(|error| Failed(error.to_string()))
        }
        Ok(Answer::Smtp(_) | Answer::Local) => Err(Failed("the transport answered something else".to_owned())),
        Err(broken) => Err(Failed(format!("{}: {}", broken.code, broken.detail))),
    }
}

async fn client<C>(parts: &Parts, http_client: &C) -> Result<Client, Error>
where
    C: for<'c> AsyncHttpClient<'c>,
{
    let oidc = config(parts)?;
    let issuer = IssuerUrl::new(oidc.issuer.clone()).map_err(|error| unavailable("its issuer is no URL", &error))?;
    let metadata = CoreProviderMetadata::discover_async(issuer, http_client).await;
    let metadata = metadata.map_err(|error| unavailable("its metadata cannot be read", &error))?;
    let redirect = format!("{}{CALLBACK_PATH}", parts.config.public_url);
    let redirect = RedirectUrl::new(redirect).map_err(|error| unavailable("`public_url` is no URL", &error))?;
    let secret = oidc.client_secret.as_ref().map(|secret| ClientSecret::new(secret.reveal().to_owned()));
    let client = CoreClient::from_provider_metadata(metadata, ClientId::new(oidc.client_id.clone()), secret);
    Ok(client.set_redirect_uri(redirect))
}

/// A page of ours, as a path: another site is never gone to.
pub fn page_of_ours(return_to: &str) -> String {
    let is_ours = return_to.starts_with('/')
        && !return_to.starts_with("//")
        && return_to.len() <= RETURN_MAX
        && return_to.bytes().all(|b| b.is_ascii_graphic() && b != b'\\');
    if is_ours { return_to.to_owned() } else { "/console".to_owned() }
}

/// Begins a sign-in.
#[crate::boxed]
pub async fn depart(parts: &Parts, return_to: &str) -> Result<Departure, Error> {
    let transport = Arc::clone(&parts.ports.transport);
    let http_client = move |request: HttpRequest| carry(Arc::clone(&transport), request);
    let client = client(parts, &http_client).await?;
    let (ids, now) = (&parts.ports.ids, parts.ports.clock.now());
    let (state, nonce, verifier) = (ids.token(TOKEN_LEN), ids.token(TOKEN_LEN), ids.token(VERIFIER_LEN));
    let challenge = PkceCodeChallenge::from_code_verifier_sha256(&PkceCodeVerifier::new(verifier.clone()));
    let request = OidcRequest {
        state_hash: hash(&state).to_vec(),
        nonce: nonce.clone(),
        verifier,
        return_to: page_of_ours(return_to),
        created_at: now,
        expires_at: now.plus_seconds(AWAY_S),
    };
    let (sent_state, sent_nonce) = (CsrfToken::new(state.clone()), Nonce::new(nonce));
    let (url, _, _) = client
        .authorize_url(CoreAuthenticationFlow::AuthorizationCode, move || sent_state, move || sent_nonce)
        .add_scope(Scope::new("email".to_owned()))
        .add_scope(Scope::new("profile".to_owned()))
        .set_pkce_challenge(challenge)
        .url();
    let write = parts.ports.db.write(Reach::System, move |tx| {
        Box::pin(async move { Ok::<_, Error>(store::sign_in::insert_oidc(tx, &request).await?) })
    });
    write.await?;
    Ok(Departure { url: url.to_string(), state })
}

/// Who the provider says came back.
struct Claims {
    subject: String,
    email: String,
    is_verified: bool,
    name: String,
}

/// Ends a sign-in: `state` and `code` as the provider sent them back, `cookie` as the browser carries it.
#[crate::boxed]
pub async fn arrive(
    parts: &Parts,
    state: &str,
    code: &str,
    cookie: Option<&str>,
    device: &Device,
    now: Timestamp,
) -> Result<Arrival, Error> {
    let oidc = config(parts)?;
    let elsewhere =
        || refused("This sign-in was not begun in this browser, took too long, or was finished before. Begin again.");
    if cookie != Some(state) || state.len() > TOKEN_MAX || code.len() > CODE_MAX {
        return Err(elsewhere());
    }
    let state_hash = hash(state);
    let take = parts.ports.db.write(Reach::System, move |tx| {
        Box::pin(async move { Ok::<_, Error>(store::sign_in::take_oidc(tx, &state_hash).await?) })
    });
    let request = take.await?.filter(|request| now < request.expires_at).ok_or_else(elsewhere)?;
    let claims = redeem(parts, code, &request, now).await?;
    let domain = claims.email.rsplit('@').next().unwrap_or_default();
    let is_allowed = oidc.allowed_domains.is_empty()
        || claims.is_verified && oidc.allowed_domains.iter().any(|allowed| allowed.eq_ignore_ascii_case(domain));
    if !is_allowed {
        return Err(refused("Your e-mail address is not one that may sign in here. Ask the operator."));
    }
    let (ids, from, auto_create) = (Arc::clone(&parts.ports.ids), device.clone(), oidc.auto_create);
    let write = parts.ports.db.write(Reach::System, move |tx| {
        Box::pin(async move {
            let id = recognise(tx, &ids, now, &claims, auto_create, &from).await?;
            let mut user =
                users::hold(tx, id).await?.ok_or_else(|| Error::internal("a user that was there is gone"))?;
            open(tx, &ids, now, &mut user, "oidc", &from).await
        })
    });
    Ok(Arrival { signed_in: write.await?, return_to: request.return_to })
}

/// Exchanges the code for an ID token and checks it: signature, issuer, audience, time, nonce.
async fn redeem(parts: &Parts, code: &str, request: &OidcRequest, now: Timestamp) -> Result<Claims, Error> {
    let transport = Arc::clone(&parts.ports.transport);
    let http_client = move |request: HttpRequest| carry(Arc::clone(&transport), request);
    let client = client(parts, &http_client).await?;
    let exchange = client
        .exchange_code(AuthorizationCode::new(code.to_owned()))
        .map_err(|error| unavailable("it names no token endpoint", &error))?
        .set_pkce_verifier(PkceCodeVerifier::new(request.verifier.clone()));
    let answer = exchange.request_async(&http_client).await.map_err(|error| {
        tracing::warn!(%error, "The OpenID provider refused a code");
        refused("The provider did not confirm this sign-in. Begin again.")
    })?;
    let at = SystemTime::UNIX_EPOCH + Duration::from_micros(now.as_micros().max(0).unsigned_abs());
    let verifier = client.id_token_verifier().set_time_fn(move || at.into());
    let token = answer.id_token().ok_or_else(|| refused("The provider sent no ID token. Ask the operator."))?;
    let claims: &CoreIdTokenClaims = token.claims(&verifier, &Nonce::new(request.nonce.clone())).map_err(|error| {
        tracing::warn!(%error, "An ID token was refused");
        refused("What the provider sent back cannot be verified. Begin again.")
    })?;
    let email = claims.email().map(|email| plain_email(email.as_str())).unwrap_or_default();
    let name = claims.name().and_then(|name| name.get(None)).map(|name| name.as_str().to_owned());
    Ok(Claims {
        subject: format!("{} {}", claims.issuer().as_str(), claims.subject().as_str()),
        email,
        is_verified: claims.email_verified() == Some(true),
        name: name
            .map(|name| name.chars().filter(|c| !c.is_control()).take(crate::names::NAME_MAX).collect())
            .unwrap_or_default(),
    })
}

/// The person behind the claims: known by subject, by verified address, or new where that is allowed.
async fn recognise(
    tx: &mut Tx,
    ids: &Ids,
    now: Timestamp,
    claims: &Claims,
    auto_create: Option<(TenantId, Role)>,
    device: &Device,
) -> Result<UserId, Error> {
    if let Some(user) = users::find_by_subject(tx, &claims.subject).await? {
        return Ok(user.id);
    }
    if !claims.is_verified || claims.email.parse::<model::EmailAddress>().is_err() {
        return Err(refused(
            "The provider has not verified your e-mail address, so it cannot be said who you are here.",
        ));
    }
    let (user, is_new) = match users::find_by_email(tx, &claims.email).await? {
        Some(user) => (user, false),
        None if auto_create.is_some() => {
            (super::users::user_of(tx, ids, now, &claims.email, &claims.name).await?, true)
        }
        None => return Err(refused("Nobody here has your e-mail address. Ask to be invited first.")),
    };
    let mut user = users::hold(tx, user.id).await?.ok_or_else(|| Error::internal("a user that was there is gone"))?;
    if user.oidc_subject.is_some() {
        return Err(refused("Your e-mail address is bound to another account of the provider. Ask the operator."));
    }
    user.oidc_subject = Some(claims.subject.clone());
    // Whoever chose the password before need not be the person the provider knows.
    (user.password, user.password_at) = (None, None);
    (user.updated_at, user.privileges_at) = (now, now);
    users::update(tx, &user).await?;
    let ended = rows::remove_others(tx, user.id, None).await?;
    let by = actor(&user, device);
    if let (true, Some((tenant, role))) = (is_new, auto_create) {
        let member = memberships::Membership {
            tenant,
            user: user.id,
            role: role.as_str().to_owned(),
            permissions: String::new(),
            invited_by: "oidc".to_owned(),
            created_at: now,
            updated_at: now,
            accepted_at: Some(now),
        };
        store::tenants::find(tx, tenant)
            .await?
            .ok_or_else(|| refused("The tenant new people belong to is gone. Ask the operator."))?;
        memberships::insert(tx, &member).await?;
        let detail = json!({"email": user.email, "role": role.as_str()});
        audit::record(tx, tenant, ids, now, &by, "user.joined", user.id, &detail).await?;
    }
    record_everywhere(tx, ids, now, &by, &user, "user.oidc_bound", &json!({"sessions_ended": ended})).await?;
    Ok(user.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_pages_are_gone_to() {
        let check = |given: &str, expected: &str| assert_eq!(page_of_ours(given), expected, "{given}");
        check("/console/messages?status=failed", "/console/messages?status=failed");
        for bad in [
            "",
            "https://evil.example/",
            "//evil.example/",
            "/\\evil.example",
            "javascript:alert(1)",
            "/a b",
            "/\n/evil",
        ] {
            check(bad, "/console");
        }
    }
}
