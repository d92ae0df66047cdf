//! What handlers ask of a request: who calls, which row, which page, which body. Each refuses in its own words, before the engine is asked anything.
//!
//! [`Who`] is the only way to a [`Caller`], and every engine operation takes one: a handler cannot forget to authenticate. It stands before the body in a handler's
//! parameters, so strangers are refused before anything of theirs is read.

use std::{
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

use axum::{
    body::Body,
    extract::{ConnectInfo, FromRequest, FromRequestParts, MatchedPath, RawPathParams, Request},
};
use bytes::Bytes;
use engine::{
    Error, ErrorKind, FieldError,
    accept::request,
    access::{Device, Session, sessions},
    keys::Caller,
    limits::Verdict,
    once::{IdempotencyKey, Repeat, fingerprint},
};
use http::{HeaderMap, HeaderName, HeaderValue, header, request::Parts};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use model::Secret;
use serde::de::DeserializeOwned;

use crate::{
    App,
    access::{self, Access, Pace, Verb},
    problem::Problem,
    shell::Paced,
};

/// Which tenant an operator's request acts in.
pub const TIDINGS_TENANT: HeaderName = HeaderName::from_static("tidings-tenant");
/// The client's name for a request that must not be done twice.
pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Longest query string: a cursor and a dozen filters fit many times over.
const QUERY_MAX: usize = 8 * 1024;

/// What a request with a session's cookie carries when it changes something.
pub const TIDINGS_CSRF: HeaderName = HeaderName::from_static("tidings-csrf");

/// Who calls, allowed to.
pub struct Who(pub Caller);

/// Who a request says it comes from.
enum Identity {
    Program(Caller),
    Person(Box<Session>, Secret),
}

/// Recognises an API key or a session's token in `Authorization`, or a session in the cookie.
async fn identify(parts: &Parts, app: &App) -> Result<Identity, Problem> {
    let (engine, ip) = (app.engine(), client_ip(parts, app));
    let now = engine.ports.clock.now();
    let bearer = bearer(&parts.headers)?;
    let is_session = |bearer: &&str| bearer.starts_with(sessions::PREFIX);
    let (token, is_cookie) = match bearer {
        Some(bearer) => (Some(bearer).filter(is_session), false),
        None => (cookie(&parts.headers, sessions::COOKIE), true),
    };
    let Some(token) = token else {
        let tenant = text(&parts.headers, &TIDINGS_TENANT)?;
        return Ok(Identity::Program(app.authenticate(bearer, tenant, ip).await?));
    };
    let found = sessions::find(engine.parts(), token, &device(parts, app), now).await?;
    let session = found.ok_or_else(|| {
        Problem::new(ErrorKind::Unauthorized, "session_ended", "This session has ended or was revoked. Sign in again.")
    })?;
    // Another site can make a browser send the cookie, but not read the token it would have to send beside it.
    if is_cookie && !parts.method.is_safe() {
        let given = text(&parts.headers, &TIDINGS_CSRF)?.unwrap_or_default();
        if !session.has_csrf(given) {
            return Err(Problem::new(
                ErrorKind::Forbidden,
                "csrf_token_missing",
                "A request with a session's cookie that changes something needs the session's token in the header `Tidings-Csrf`; GET /v1/users/me shows it.",
            ));
        }
    }
    Ok(Identity::Person(Box::new(session), Secret::new(token)))
}

/// Where a request comes from, for sessions and throttling.
pub fn device(parts: &Parts, app: &App) -> Device {
    Device::new(client_ip(parts, app), parts.headers.get(header::USER_AGENT).map(|agent| agent.as_bytes()))
}

/// A cookie by its name. Names and values of ours need no quoting.
fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(found, _)| *found == name).map(|(_, value)| value)
}

/// A person who signed in, with the token they carry.
pub struct Person(pub Session, pub Secret);

impl FromRequestParts<App> for Person {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        match identify(parts, app).await? {
            Identity::Person(session, token) => Ok(Self(*session, token)),
            Identity::Program(_) => Err(Problem::new(
                ErrorKind::Forbidden,
                "person_only",
                "This is about a person who signed in; an API key has nothing of the kind. Send the token of a session instead.",
            )),
        }
    }
}

/// The cookies a request carries.
pub struct Cookies(HeaderMap);

impl Cookies {
    /// One by its name.
    pub fn get(&self, name: &str) -> Option<&str> {
        cookie(&self.0, name)
    }
}

impl FromRequestParts<App> for Cookies {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Problem> {
        Ok(Self(parts.headers.clone()))
    }
}

/// Where a request comes from, for who is not known yet.
pub struct Origin(pub Device);

impl FromRequestParts<App> for Origin {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        Ok(Self(device(parts, app)))
    }
}

impl FromRequestParts<App> for Who {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let matched = parts.extensions.get::<MatchedPath>().and_then(|path| access::route(path.as_str()));
        let operation = Verb::of(&parts.method).and_then(|verb| matched.and_then(|route| route.operation(verb)));
        let Some(operation) = operation else {
            let route = matched.map_or("an unknown path", |route| route.path);
            return Err(Error::internal(format!("{} {route} is not in the table of operations", parts.method)).into());
        };
        let caller = match identify(parts, app).await? {
            Identity::Program(caller) => Caller { agent: device(parts, app).agent_kept(), ..caller },
            Identity::Person(session, _) => {
                let tenant = session.acting_in(text(&parts.headers, &TIDINGS_TENANT)?)?;
                sessions::caller(app.engine().parts(), &session, tenant).await?
            }
        };
        match operation.access {
            Access::Open | Access::Door | Access::Person => {}
            Access::Tenant(scope) => {
                caller.need(scope)?;
                caller.need_tenant()?;
            }
            Access::Operator(scope) => caller.need_operator(scope)?,
            Access::Owner(scope) => caller.need(scope)?,
        }
        charge(parts, app, &caller, operation.pace).await?;
        Ok(Self(caller))
    }
}

/// Counts a request against its tenant's pace, and tells the shell whose pace to show.
async fn charge(parts: &Parts, app: &App, caller: &Caller, pace: Pace) -> Result<(), Problem> {
    let Some(tenant) = caller.tenant.filter(|_| pace != Pace::Free) else { return Ok(()) };
    let per_second = app.per_second(tenant).await?;
    if let Some(paced) = parts.extensions.get::<Paced>() {
        paced.set(tenant, per_second);
    }
    let weight = if pace == Pace::Request { 1 } else { 0 };
    match app.take(tenant, per_second, weight) {
        Verdict::Unlimited | Verdict::Pass(_) => Ok(()),
        Verdict::Wait(allowance) => allowance.refusal().map_or(Ok(()), |error| Err(Problem(error))),
    }
}

/// The key in `Authorization: Bearer …`; another scheme is told apart from none.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let Some(value) = text(headers, &header::AUTHORIZATION)? else { return Ok(None) };
    let (scheme, key) = value.split_once(' ').unwrap_or((value, ""));
    if scheme.eq_ignore_ascii_case("bearer") {
        return Ok(Some(key.trim()));
    }
    Err(Problem::new(
        ErrorKind::Unauthorized,
        "unknown_auth_scheme",
        "The header `Authorization` must read `Bearer` and an API key, as in `Authorization: Bearer tdk_…`.",
    ))
}

/// A header as text.
fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Problem> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    value.to_str().map(Some).map_err(|_| {
        Problem::new(
            ErrorKind::Malformed,
            "invalid_header",
            format!("The header `{name}` holds characters that are not visible ASCII. Send it without them."),
        )
    })
}

/// Where the request comes from: what the trusted proxy says when one is configured, or the peer of the connection.
pub fn client_ip(parts: &Parts, app: &App) -> Option<IpAddr> {
    if let Some(name) = app.options().client_ip_header.as_ref() {
        return parts.headers.get_all(name).iter().next_back().and_then(last_ip);
    }
    parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| peer.ip())
}

/// The last address of a list: what came before it was written by somebody we do not trust.
fn last_ip(value: &HeaderValue) -> Option<IpAddr> {
    let text = value.to_str().ok()?.rsplit(',').next()?.trim();
    text.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))
}

/// An id type with the noun it stands for.
pub trait Noun: FromStr + Send {
    /// As in "There is no such message."
    const NOUN: &'static str;
}

macro_rules! nouns {
    ($($id:ty = $noun:literal,)+) => { $(impl Noun for $id { const NOUN: &'static str = $noun; })+ };
}

nouns! {
    model::TenantId = "tenant",
    model::KeyId = "API key",
    model::UserId = "user",
    model::SessionId = "session",
    model::AccountId = "account",
    model::SenderId = "sender",
    model::RouteId = "route",
    model::DomainId = "domain",
    model::RegistrationId = "registration",
    model::NumberId = "number",
    model::MessageId = "message",
    model::ContactId = "contact",
    model::ImportId = "import",
    model::ListId = "list",
    model::SegmentId = "segment",
    model::AttachmentId = "attachment",
    model::InboundId = "inbound message",
    model::EndpointId = "webhook endpoint",
    model::CallbackId = "callback",
    model::ScheduleId = "schedule",
    model::InvoiceDeliveryId = "invoice delivery",
    model::CampaignId = "campaign",
    model::TemplateId = "template",
    model::SuppressionId = "suppression",
    model::PlanId = "plan",
    model::ContentRuleId = "content rule",
    model::ContactExportId = "export",
    model::AlertId = "alert",
    model::AlertRuleId = "alert rule",
    model::InvoiceId = "invoice",
    model::PurchaseId = "purchase",
    model::ReconciliationId = "reconciliation",
}

/// The name of a WhatsApp template in the path. What no template can be called is not found.
pub struct TemplateName(pub String);

impl FromStr for TemplateName {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        /// Longest name, in bytes (Meta's limit, which the others keep).
        const MAX: usize = 512;
        ((1..=MAX).contains(&text.len()) && !text.chars().any(char::is_control))
            .then(|| Self(text.to_owned()))
            .ok_or(())
    }
}

impl Noun for TemplateName {
    const NOUN: &'static str = "WhatsApp template";
}

/// The id in the path. What is no id of this kind is not found.
pub struct Id<T>(pub T);

impl<T: Noun> FromRequestParts<App> for Id<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let Params(params) = Params::from_request_parts(parts, app).await?;
        params.first().and_then(|text| text.parse().ok()).map(Self).ok_or_else(|| Problem::not_found(T::NOUN))
    }
}

/// Two ids in the path, the second of something that belongs to the first.
pub struct Ids<A, B>(pub A, pub B);

impl<A: Noun, B: Noun> FromRequestParts<App> for Ids<A, B> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let Params(params) = Params::from_request_parts(parts, app).await?;
        let first = params.first().and_then(|text| text.parse().ok()).ok_or_else(|| Problem::not_found(A::NOUN))?;
        let second = params.get(1).and_then(|text| text.parse().ok()).ok_or_else(|| Problem::not_found(B::NOUN))?;
        Ok(Self(first, second))
    }
}

/// A name in the path, of something that has no id.
pub struct Named(pub String);

impl FromRequestParts<App> for Named {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let Params(params) = Params::from_request_parts(parts, app).await?;
        params.into_iter().next().map(Self).ok_or_else(|| Problem::not_found("thing"))
    }
}

/// The texts in the path's places.
struct Params(Vec<String>);

impl FromRequestParts<App> for Params {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        // What is not UTF-8 once decoded names nothing.
        let params = RawPathParams::from_request_parts(parts, app).await.map_err(|_| Problem::not_found("thing"))?;
        Ok(Self(params.iter().map(|(_, text)| text.to_owned()).collect()))
    }
}

/// The query parameters. Unknown ones are refused by name.
pub struct Args<T>(pub T);

impl<T: DeserializeOwned> FromRequestParts<App> for Args<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Problem> {
        Ok(Self(read_query(parts.uri.query().unwrap_or_default(), &[])?))
    }
}

/// Reads a query. `also` names parameters that were read before, for whoever gives an unknown one.
pub(crate) fn read_query<T: DeserializeOwned>(query: &str, also: &[&str]) -> Result<T, Error> {
    let refused = |name: &str, detail: String| Error {
        errors: vec![FieldError::new(format!("?{name}"), detail.clone())],
        ..Error::new(ErrorKind::Malformed, "invalid_query", format!("Query parameter `{name}`: {detail}."))
    };
    if query.len() > QUERY_MAX {
        let detail = format!("The query string has more than {QUERY_MAX} bytes.");
        return Err(Error::new(ErrorKind::Malformed, "invalid_query", detail));
    }
    let reader = serde_urlencoded::Deserializer::new(form_urlencoded::parse(query.as_bytes()));
    serde_path_to_error::deserialize(reader).map_err(|error| {
        let detail = error.inner().to_string();
        let named = ["unknown field `", "missing field `", "duplicate field `"];
        let named = named.iter().find_map(|start| detail.strip_prefix(start)).and_then(|rest| rest.split('`').next());
        match named {
            Some(name) if detail.starts_with("unknown") => {
                let known = detail.split_once("expected ").map_or("", |(_, known)| known).replace("one of ", "");
                let also = also.iter().map(|name| format!("`{name}`"));
                let known = Some(known).filter(|known| !known.is_empty()).into_iter().chain(also).collect::<Vec<_>>();
                let known = known.join(", ");
                refused(
                    name,
                    format!("this list does not know it; it knows {}", if known.is_empty() { "none" } else { &known }),
                )
            }
            Some(name) => refused(name, detail.split(" field").next().unwrap_or_default().to_owned()),
            None => refused(&error.path().to_string(), detail.clone()),
        }
    })
}

/// No fields at all.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Nothing {}

/// A body of JSON, as it was sent: the engine reads it, so that its errors point into it.
pub struct Json(pub Bytes);

impl FromRequest<App> for Json {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Self, Problem> {
        // What belongs into the body must not be lost in the query.
        let Nothing {} = read_query(request.uri().query().unwrap_or_default(), &[])?;
        let is_empty = axum::body::HttpBody::is_end_stream(request.body());
        if !is_empty || request.headers().contains_key(header::CONTENT_TYPE) {
            must_be_json(request.headers())?;
        }
        let max = app.options().body_max;
        check_length(request.headers(), max)?;
        body_within(request.into_body(), max).await.map(Self)
    }
}

/// A POST: its body, and whether it repeats another.
pub struct Post {
    /// JSON, as it was sent.
    pub body: Bytes,
    /// Its `Idempotency-Key`, with the fingerprint of what it asks for.
    pub repeat: Repeat,
}

impl FromRequest<App> for Post {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Self, Problem> {
        let (mut parts, body) = request.into_parts();
        let Key(key) = Key::from_request_parts(&mut parts, app).await?;
        let target = key.as_ref().map(|_| parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default());
        let Json(body) = Json::from_request(Request::from_parts(parts, body), app).await?;
        let repeat = match target {
            Some(target) => Repeat { key, fingerprint: fingerprint("POST", &target, &body) },
            None => Repeat::NONE,
        };
        Ok(Self { body, repeat })
    }
}

impl Post {
    /// Refuses a body where none is expected; `{}` counts as none.
    pub fn must_be_empty(&self) -> Result<(), Problem> {
        if !self.body.is_empty() {
            let Nothing {} = read(&self.body)?;
        }
        Ok(())
    }
}

/// Reads a JSON body into what the engine asks for: 400 when it cannot be read, 422 with a pointer when it is wrong.
pub fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Error> {
    request::read(body, "")
}

/// Refuses a body that does not say it is JSON.
pub fn must_be_json(headers: &HeaderMap) -> Result<(), Problem> {
    if is_json(headers) { Ok(()) } else { Err(unsupported(headers)) }
}

/// `application/json`, or a media type built on it such as `application/merge-patch+json`.
pub fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()) else { return false };
    let essence = value.split(';').next().unwrap_or_default().trim();
    let subtype = match essence.split_once('/') {
        Some((kind, subtype)) if kind.eq_ignore_ascii_case("application") => subtype,
        _ => return false,
    };
    subtype.eq_ignore_ascii_case("json")
        || subtype.len() > 5 && subtype[subtype.len() - 5..].eq_ignore_ascii_case("+json")
}

fn unsupported(headers: &HeaderMap) -> Problem {
    let given = headers.get(header::CONTENT_TYPE).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let given = given.map_or_else(|| "no `Content-Type`".to_owned(), |given| format!("`Content-Type: {given}`"));
    Problem::new(
        ErrorKind::UnsupportedMedia,
        "unsupported_media_type",
        format!("This operation reads JSON: send it with `Content-Type: application/json`. The request has {given}."),
    )
}

/// Refuses by `Content-Length` what would be refused after reading it.
pub fn check_length(headers: &HeaderMap, max: usize) -> Result<(), Error> {
    let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    match length {
        Some(length) if length > max as u64 => Err(too_large(max)),
        _ => Ok(()),
    }
}

/// Reads a body of at most `max` bytes, once. A body that came in one piece is not copied.
pub async fn body_within(body: Body, max: usize) -> Result<Bytes, Problem> {
    match Limited::new(body, max).collect().await {
        Ok(read) => Ok(read.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(too_large(max).into()),
        Err(_) => Err(Problem::new(
            ErrorKind::Malformed,
            "incomplete_body",
            "The connection ended before the whole body had arrived. Nothing was done; send the request again.",
        )),
    }
}

fn too_large(max: usize) -> Error {
    let detail = format!(
        "The body is larger than {max} bytes, which is the most this operation takes. Upload large attachments first with POST /v1/attachments."
    );
    Error::new(ErrorKind::TooLarge, "body_too_large", detail)
}

/// A POST's `Idempotency-Key`, when it has one.
pub struct Key(pub Option<IdempotencyKey>);

impl FromRequestParts<App> for Key {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Problem> {
        let Some(value) = parts.headers.get(IDEMPOTENCY_KEY) else { return Ok(Self(None)) };
        // What is not ASCII is refused in the engine's words, like every other bad key.
        IdempotencyKey::parse(value.to_str().unwrap_or_default()).map(|key| Self(Some(key))).map_err(Problem)
    }
}
