//! Errors as `application/problem+json` (RFC 9457): the one file that turns an [`engine::Error`] into an answer.
//!
//! A handler returns a [`Problem`]; the body is written by [`crate::shell`], which knows the request id. Nothing private is in an engine error, so
//! everything in it is shown.

use std::borrow::Cow;

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use engine::plans::quota::Choice;
use engine::{Error, ErrorKind, FieldError};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use model::{Channel, Money, Timestamp};
use serde::Serialize;
use utoipa::ToSchema;

/// What begins the `type` of every problem; its code follows. A name, not an address: nothing is served there.
pub const TYPE_PREFIX: &str = "urn:tidings:problem:";

/// The media type of every error.
pub const CONTENT_TYPE: &str = "application/problem+json";

/// The draft's `RateLimit` header: what is left, and until when.
pub const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
/// The draft's `RateLimit-Policy` header: what there is to begin with.
pub const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// An error on its way to the client.
#[derive(Debug, Clone)]
pub struct Problem(pub Error);

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl Problem {
    /// An error of this class, with a stable code and a text for people.
    pub fn new(kind: ErrorKind, code: &'static str, detail: impl Into<String>) -> Self {
        Self(Error::new(kind, code, detail))
    }

    /// 404 for something that is not there, or not the caller's.
    pub fn not_found(noun: &str) -> Self {
        Self(Error::not_found(noun))
    }
}

/// The body of every error.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemView<'a> {
    /// A stable URI for this kind of problem: a name, not an address.
    #[serde(rename = "type")]
    #[schema(value_type = String, format = "uri", example = "urn:tidings:problem:invalid_request")]
    pub kind: Cow<'a, str>,
    /// What class of problem it is, the same for every problem of this status.
    #[schema(example = "Invalid request")]
    pub title: &'a str,
    /// The HTTP status.
    #[schema(minimum = 400, maximum = 599, example = 422)]
    pub status: u16,
    /// What is wrong this time, and what to do about it. For people; its words may change.
    #[schema(example = "/to/phone: expected a phone number in E.164 such as +15550100001")]
    pub detail: &'a str,
    /// What is wrong, for programs: snake_case, never changes.
    #[schema(example = "invalid_request")]
    pub code: &'a str,
    /// The request's id, the same as in `X-Request-Id`. Name it when you ask for help.
    #[schema(example = "req_01K9ZC8Q6T7Y2V5B3N4M1XWRSD")]
    pub request_id: &'a str,
    /// What to do next, where there is one thing to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "ADD_ACCOUNT")]
    pub action: Option<&'a str>,
    /// Which fields are wrong.
    #[serde(skip_serializing_if = "<[FieldError]>::is_empty")]
    #[schema(value_type = Option<Vec<FieldProblem>>)]
    pub errors: &'a [FieldError],
    /// What it would cost, where credit does not reach, as money; or how many messages it is, where the plan does not reach.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Value>)]
    pub need: Option<Need<'a>>,
    /// What is available, where credit does not reach.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub available: Option<&'a Money>,
    /// Over which channel the plan does not reach.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "sms")]
    pub channel: Option<Channel>,
    /// Messages of the month so far, where the plan does not reach.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub used: Option<i64>,
    /// Messages that are left of the month, where the plan does not reach.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remaining: Option<i64>,
    /// When the next month begins, where the plan does not reach.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub resets_at: Option<Timestamp>,
    /// What can be done, where the plan does not reach.
    #[serde(skip_serializing_if = "<[Choice]>::is_empty")]
    #[schema(value_type = Option<Vec<Choice>>)]
    pub choices: &'a [Choice],
    /// When trying again makes sense, in seconds. The same as `Retry-After`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    pub retry_after_s: Option<u64>,
}

/// What a request needs that is not there.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Need<'a> {
    /// Money.
    Credit(&'a Money),
    /// Messages.
    Messages(i64),
}

/// One wrong field.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes engine::FieldError in the document")]
pub struct FieldProblem {
    /// JSON pointer into the request's body, such as `/to/phone`; for a query parameter its name behind `?`.
    #[schema(example = "/to/phone")]
    pointer: String,
    /// What is wrong and what to do.
    #[schema(example = "expected a phone number in E.164 such as +15550100001")]
    detail: String,
}

/// The HTTP status of a class of errors.
pub const fn status(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::Malformed => StatusCode::BAD_REQUEST,
        ErrorKind::Unauthorized => StatusCode::UNAUTHORIZED,
        ErrorKind::Payment => StatusCode::PAYMENT_REQUIRED,
        ErrorKind::Forbidden => StatusCode::FORBIDDEN,
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::Conflict => StatusCode::CONFLICT,
        ErrorKind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorKind::UnsupportedMedia => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        ErrorKind::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
        ErrorKind::Throttled => StatusCode::TOO_MANY_REQUESTS,
        ErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// The title of a problem of this status.
pub fn title(status: StatusCode) -> &'static str {
    match status.as_u16() {
        400 => "Malformed request",
        401 => "Not authenticated",
        402 => "Payment required",
        403 => "Not allowed",
        404 => "Not found",
        405 => "Method not allowed",
        409 => "Conflict",
        413 => "Too large",
        415 => "Unsupported content type",
        422 => "Invalid request",
        429 => "Too many requests",
        503 => "Not available now",
        _ => "Internal error",
    }
}

impl IntoResponse for Problem {
    /// An empty answer that carries the error to the shell.
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = status(self.0.kind);
        response.extensions_mut().insert(self);
        response
    }
}

/// Writes the body and the headers of a problem that a handler left in the answer's extensions.
pub fn write(response: &mut Response, request_id: &str) {
    let Some(Problem(error)) = response.extensions_mut().remove::<Problem>() else { return };
    let status = response.status();
    let retry_after_s = error.retry_after_ms.map(|wait_ms| wait_ms.div_ceil(1_000).max(1));
    let quota = error.quota.as_deref();
    let view = ProblemView {
        kind: Cow::Owned(format!("{TYPE_PREFIX}{}", error.code)),
        title: title(status),
        status: status.as_u16(),
        detail: &error.detail,
        code: error.code,
        request_id,
        action: error.action,
        errors: &error.errors,
        need: match quota {
            Some(quota) => Some(Need::Messages(quota.need)),
            None => error.shortfall.as_deref().map(|(need, _)| Need::Credit(need)),
        },
        available: error.shortfall.as_deref().map(|(_, available)| available),
        channel: quota.map(|quota| quota.channel),
        used: quota.map(|quota| quota.used),
        remaining: quota.map(|quota| quota.remaining),
        resets_at: quota.map(|quota| quota.resets_at),
        choices: quota.map_or(&[], |quota| &quota.choices),
        retry_after_s,
    };
    let body = serde_json::to_vec(&view).expect("a problem has a JSON form");
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    add_headers(headers, status, &error, retry_after_s);
    *response.body_mut() = Body::from(body);
}

fn add_headers(headers: &mut HeaderMap, status: StatusCode, error: &Error, retry_after_s: Option<u64>) {
    if status == StatusCode::UNAUTHORIZED {
        let challenge = match error.code {
            "api_key_missing" => r#"Bearer realm="tidings""#,
            _ => r#"Bearer realm="tidings", error="invalid_token""#,
        };
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    }
    let is_retry_worthwhile = matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
    if let Some(wait_s) = retry_after_s.or(is_retry_worthwhile.then_some(1)) {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(wait_s));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(error: Error) -> Response {
        let mut response = Problem(error).into_response();
        write(&mut response, "req_1");
        response
    }

    #[test]
    fn headers_say_what_the_status_promises() {
        let header = |error: Error, name: HeaderName| {
            written(error).headers().get(name).map(|value| value.to_str().unwrap().to_owned())
        };
        let new = |kind, code| Error::new(kind, code, "x");
        let throttled = new(ErrorKind::Throttled, "rate_limited").with_retry_after_ms(1_200);
        assert_eq!(header(throttled, header::RETRY_AFTER).as_deref(), Some("2"));
        assert_eq!(header(new(ErrorKind::Unavailable, "x"), header::RETRY_AFTER).as_deref(), Some("1"));
        assert_eq!(header(new(ErrorKind::Conflict, "x"), header::RETRY_AFTER), None);
        let missing = new(ErrorKind::Unauthorized, "api_key_missing");
        assert_eq!(header(missing, header::WWW_AUTHENTICATE).as_deref(), Some(r#"Bearer realm="tidings""#));
        assert_eq!(header(Error::not_found("x"), header::CONTENT_TYPE).as_deref(), Some(CONTENT_TYPE));
    }

    #[tokio::test]
    async fn the_body_has_every_member_that_applies() {
        let body = |response: Response| async {
            let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
            String::from_utf8(bytes.to_vec()).unwrap()
        };
        assert_eq!(
            body(written(Error::not_found("message"))).await,
            r#"{"type":"urn:tidings:problem:not_found","title":"Not found","status":404,"detail":"There is no such message.","code":"not_found","request_id":"req_1"}"#
        );
        let error = Error::invalid("/to", "is missing").with_action("ADD_TO").with_retry_after_ms(1);
        assert_eq!(
            body(written(error)).await,
            r#"{"type":"urn:tidings:problem:invalid_request","title":"Invalid request","status":422,"detail":"/to: is missing","code":"invalid_request","request_id":"req_1","action":"ADD_TO","errors":[{"pointer":"/to","detail":"is missing"}],"retry_after_s":1}"#
        );
    }
}
