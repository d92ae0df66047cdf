//! Answers: JSON that the engine made, or views to be made JSON.

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use engine::{Error, export::Export, once::Reply};
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde::Serialize;

use crate::problem::Problem;

/// What every handler returns.
pub type Answer = Result<Response, Problem>;

/// Says that an answer repeats an earlier one.
pub const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// 200 with a view.
pub fn json(view: &impl Serialize) -> Answer {
    let body =
        serde_json::to_vec(view).map_err(|error| Error::internal(format!("a view has no JSON form: {error}")))?;
    Ok(bytes(StatusCode::OK, "application/json", body.into()))
}

/// What the engine answered to a request that writes.
pub fn reply(reply: Reply) -> Answer {
    let status =
        StatusCode::from_u16(reply.status).map_err(|_| Error::internal("a reply's status is no HTTP status"))?;
    let mut response = bytes(status, "application/json", reply.body.into());
    if reply.replayed {
        response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    }
    Ok(response)
}

/// 204.
pub fn nothing() -> Answer {
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// 202 without a body.
pub fn accepted() -> Answer {
    Ok(StatusCode::ACCEPTED.into_response())
}

/// A body of a known type.
pub fn bytes(status: StatusCode, content_type: &'static str, body: Bytes) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// 200 with a table.
pub fn csv(table: Vec<u8>) -> Response {
    bytes(StatusCode::OK, "text/csv; charset=utf-8", table.into())
}

/// 200 with a PDF of this name, to be kept as a file.
pub fn pdf((name, pdf): (String, Vec<u8>)) -> Answer {
    let mut response = bytes(StatusCode::OK, "application/pdf", pdf.into());
    let disposition = HeaderValue::from_str(&format!("attachment; filename=\"{name}\""))
        .map_err(|_| Error::internal("a document's name is no header value"))?;
    response.headers_mut().insert(header::CONTENT_DISPOSITION, disposition);
    Ok(response)
}

/// 200 with JSON the engine made.
pub fn made(body: Vec<u8>) -> Answer {
    Ok(bytes(StatusCode::OK, "application/json", body.into()))
}

/// Where the next file of an export begins.
const NEXT_CURSOR: HeaderName = HeaderName::from_static("next-cursor");

/// A file of an export.
pub fn file(export: Export) -> Response {
    going_on(bytes(StatusCode::OK, export.content_type, export.body.into()), export.next_cursor)
}

/// A file with where the next one begins.
pub fn going_on(mut response: Response, next_cursor: Option<String>) -> Response {
    if let Some(cursor) = next_cursor.and_then(|cursor| HeaderValue::try_from(cursor).ok()) {
        response.headers_mut().insert(NEXT_CURSOR, cursor);
    }
    response
}
