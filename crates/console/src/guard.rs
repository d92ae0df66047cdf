//! What surrounds every request to the console: the headers each answer carries, and the refusal of changes that another site asks for.

use std::sync::{Arc, OnceLock};

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};

use crate::{App, parts};

/// Nothing inline, nothing from elsewhere, no frames but our own previews.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'self'; \
     frame-src 'self'; frame-ancestors 'none'; base-uri 'none'";

/// Adds the headers, and refuses what another site sends.
pub(crate) async fn around(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let later = Later::default();
    request.extensions_mut().insert(later.clone());
    let id = app.engine().ports.ids.ulid(app.engine().ports.clock.now());
    let is_change = !matches!(*request.method(), Method::GET | Method::HEAD);
    let is_dialog = is_dialog(request.headers());
    let mut response = if is_change && !is_own(request.headers()) {
        plain(
            StatusCode::FORBIDDEN,
            "This request came from another site and was refused. Open the console and try there.",
        )
    } else {
        next.run(request).await
    };
    if is_dialog && response.status().is_redirection() {
        // A script would follow by itself and put what it finds into the window; the browser shall go there.
        *response.status_mut() = StatusCode::OK;
        if let Some(to) = response.headers_mut().remove(header::LOCATION) {
            response.headers_mut().insert("hx-redirect", to);
        }
    }
    let headers = response.headers_mut();
    if let Some(cookie) = later.0.get() {
        headers.append(header::SET_COOKIE, cookie.clone());
    }
    // A page that needs another policy (the preview of a mail) has set it.
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(HeaderValue::from_static(POLICY));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("permissions-policy"), "camera=(), microphone=(), geolocation=()"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    let id = format!("req_{}", &model::MessageId::from_ulid(id).to_string()[model::MessageId::PREFIX.len() + 1..]);
    headers.insert("x-request-id", HeaderValue::from_str(&id).expect("a ULID is a valid header"));
    response
}

/// Whether a window on a page asks, by script.
pub(crate) fn is_dialog(headers: &HeaderMap) -> bool {
    let target = headers.get("hx-target").and_then(|target| target.to_str().ok());
    target.is_some_and(|target| target.ends_with(parts::SAID))
}

/// What has to go out with whatever the answer is: a session's token that was replaced while the request came in.
#[derive(Clone, Default)]
pub(crate) struct Later(Arc<OnceLock<HeaderValue>>);

impl Later {
    /// Sets a cookie with the answer.
    pub(crate) fn set_cookie(&self, cookie: HeaderValue) {
        // A second one of the same request would be the same.
        let _ = self.0.set(cookie);
    }
}

/// True unless the browser says that another site is asking. Browsers that say nothing are held to the form's own token.
fn is_own(headers: &HeaderMap) -> bool {
    if let Some(site) = headers.get("sec-fetch-site") {
        return matches!(site.as_bytes(), b"same-origin" | b"none");
    }
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    match headers.get(header::ORIGIN).map(|origin| origin.to_str().unwrap_or_default()) {
        None => true,
        Some(origin) => origin.split_once("://").is_some_and(|(_, from)| Some(from) == host),
    }
}

/// A short answer in plain text, for what no person should see.
pub(crate) fn plain(status: StatusCode, text: &'static str) -> Response {
    let mut response = Response::new(text.into());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_pages_may_change_anything() {
        let check = |pairs: &[(&'static str, &'static str)], expected: bool| {
            let headers =
                pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
            assert_eq!(is_own(&headers.collect()), expected, "{pairs:?}");
        };
        check(&[("sec-fetch-site", "same-origin")], true);
        check(&[("sec-fetch-site", "none")], true);
        check(&[("sec-fetch-site", "same-site")], false);
        check(&[("sec-fetch-site", "cross-site"), ("host", "a.example"), ("origin", "https://a.example")], false);
        check(&[("host", "a.example"), ("origin", "https://a.example")], true);
        check(&[("host", "a.example"), ("origin", "https://evil.example")], false);
        check(&[("host", "a.example"), ("origin", "null")], false);
        check(&[("host", "a.example")], true);
    }
}
