//! What surrounds every request, in one place: its id, the body of a problem, the measurement and the access log.
//!
//! One thin service around each route: it starts the inner future, looks at the answer when it is there, and boxes nothing itself. It does not know who calls and
//! does not read bodies; [`crate::extract`] does that, when a handler asks.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll, ready},
};

use axum::{
    extract::{MatchedPath, Request},
    response::Response,
};
use bytes::Bytes;
use engine::limits::Verdict;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use model::{TenantId, Timestamp};
use tower::{Layer, Service};
use tracing::Span;

use crate::{App, access, problem};

/// The header that carries a request's id, both ways.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Longest request id taken from a client or proxy: room for a UUID, a trace id or a ULID with a prefix.
const REQUEST_ID_MAX: usize = 128;

/// What a request that matched no route is counted under, so that made-up paths make no new series.
const NO_ROUTE: &str = "none";

/// Puts [`Shell`] around a service.
#[derive(Clone)]
pub(crate) struct ShellLayer(pub App);

impl<S> Layer<S> for ShellLayer {
    type Service = Shell<S>;

    fn layer(&self, inner: S) -> Shell<S> {
        Shell { inner, app: self.0.clone() }
    }
}

/// A service that gives each request an id and each answer its headers.
#[derive(Clone)]
pub(crate) struct Shell<S> {
    inner: S,
    app: App,
}

impl<S> Service<Request> for Shell<S>
where
    S: Service<Request, Response = Response, Error = Infallible>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Answering<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let started_at = self.app.engine().ports.clock.now();
        let request_id = request_id(request.headers(), &self.app, started_at);
        let matched = request.extensions().get::<MatchedPath>();
        let route = matched.and_then(|path| access::route(path.as_str())).map_or(NO_ROUTE, |route| route.path);
        let method = method_name(request.method());
        let paced = Paced::default();
        request.extensions_mut().insert(paced.clone());
        // The inner call reads no body and waits for nothing, but what it logs belongs to this request.
        let span = tracing::info_span!("request", request.id = %AsText(&request_id), http.route = route);
        let inner = span.in_scope(|| self.inner.call(request));
        Answering { inner, facts: Facts { app: self.app.clone(), request_id, route, method, paced, started_at, span } }
    }
}

/// The request's own id when it is short and harmless, or a new one.
fn request_id(headers: &HeaderMap, app: &App, now: Timestamp) -> HeaderValue {
    let given = headers.get(REQUEST_ID).filter(|value| is_sane(value.as_bytes()));
    given.cloned().unwrap_or_else(|| {
        let id = crate::id_text("req", app.engine().ports.ids.ulid(now));
        HeaderValue::from_str(&id).expect("a ULID is a valid header")
    })
}

fn is_sane(id: &[u8]) -> bool {
    let is_plain = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':' | b'/' | b'=');
    (1..=REQUEST_ID_MAX).contains(&id.len()) && id.iter().all(is_plain)
}

/// Names of methods for metrics; whatever else clients make up is one series.
fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        Method::PUT => "PUT",
        _ => "other",
    }
}

/// A request id in a log line.
struct AsText<'a>(&'a HeaderValue);

impl std::fmt::Display for AsText<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.to_str().unwrap_or_default())
    }
}

/// What is known of a request while it is being answered.
struct Facts {
    app: App,
    request_id: HeaderValue,
    route: &'static str,
    method: &'static str,
    paced: Paced,
    started_at: Timestamp,
    span: Span,
}

/// Whose pace a request counts against, filled in once the caller is known.
#[derive(Clone, Default)]
pub(crate) struct Paced(Arc<OnceLock<(TenantId, Option<u32>)>>);

impl Paced {
    /// Notes the tenant and its own rate.
    pub(crate) fn set(&self, tenant: TenantId, per_second: Option<u32>) {
        // Set once per request; a second caller of the same request would be the same one.
        let _ = self.0.set((tenant, per_second));
    }
}

pin_project_lite::pin_project! {
    /// The answer to come.
    pub(crate) struct Answering<F> {
        #[pin]
        inner: F,
        facts: Facts,
    }
}

impl<F: Future<Output = Result<Response, Infallible>>> Future for Answering<F> {
    type Output = Result<Response, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let _entered = this.facts.span.enter();
        let mut response = ready!(this.inner.poll(cx))?;
        this.facts.finish(&mut response);
        Poll::Ready(Ok(response))
    }
}

impl Facts {
    fn finish(&self, response: &mut Response) {
        problem::write(response, self.request_id.to_str().unwrap_or_default());
        response.headers_mut().insert(REQUEST_ID, self.request_id.clone());
        self.add_pace(response);
        let status = response.status();
        let now = self.app.engine().ports.clock.now();
        let elapsed_micros = now.as_micros().saturating_sub(self.started_at.as_micros()).max(0);
        metrics::histogram!(
            "tidings_http_request_seconds",
            "route" => self.route, "method" => self.method, "status" => status_name(status)
        )
        .record(elapsed_micros as f64 / 1e6);
        tracing::debug!(
            http.method = self.method,
            http.status = status.as_u16(),
            duration_us = elapsed_micros,
            "Answered {} {} with {}",
            self.method,
            self.route,
            status.as_u16()
        );
    }
}

impl Facts {
    /// The `RateLimit` headers, where the tenant has a rate.
    fn add_pace(&self, response: &mut Response) {
        let Some((tenant, per_second)) = self.paced.0.get() else { return };
        let (Verdict::Pass(left) | Verdict::Wait(left)) = self.app.take(*tenant, *per_second, 0) else { return };
        let window_s = left.burst.div_ceil(u64::from(left.per_second.max(1)));
        let full_in_s = left.full_in_ms.div_ceil(1_000);
        let policy = format!("\"tenant\";q={};w={window_s}", left.burst);
        let standing = format!("\"tenant\";r={};t={full_in_s}", left.remaining);
        for (name, value) in [(problem::RATE_LIMIT_POLICY, policy), (problem::RATE_LIMIT, standing)] {
            let value =
                HeaderValue::from_maybe_shared(Bytes::from(value)).expect("numbers and ASCII are a valid header");
            response.headers_mut().insert(name, value);
        }
    }
}

/// The status as text that lives for ever, for the statuses we answer.
fn status_name(status: StatusCode) -> &'static str {
    match status.as_u16() {
        200 => "200",
        201 => "201",
        202 => "202",
        204 => "204",
        304 => "304",
        400 => "400",
        401 => "401",
        402 => "402",
        403 => "403",
        404 => "404",
        405 => "405",
        408 => "408",
        409 => "409",
        413 => "413",
        415 => "415",
        422 => "422",
        429 => "429",
        500 => "500",
        503 => "503",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_short_and_harmless_ids_are_taken() {
        let check = |id: &str, expected: bool| assert_eq!(is_sane(id.as_bytes()), expected, "{id:?}");
        check("7d3c0a52-ffff-4f5e-9a51-5f7a33e0f001", true);
        check("Root=1-67891233-abcdef012345678912345678", true);
        check(&"x".repeat(128), true);
        check(&"x".repeat(129), false);
        check("", false);
        check("a b", false);
        check("a\"b", false);
        check("<script>", false);
    }
}
