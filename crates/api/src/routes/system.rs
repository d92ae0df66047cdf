//! For machines that watch this one: health, readiness, metrics and the document. Answered without a key.

use axum::{extract::State, response::Response};
use engine::ErrorKind;
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    App,
    answer::{self, Answer},
    problem::{Problem, ProblemView},
};

/// A word about the process.
#[derive(Serialize, ToSchema)]
pub(crate) struct Condition {
    /// `ok`.
    #[schema(example = "ok")]
    status: &'static str,
}

/// Tells that the process is alive
///
/// Looks at nothing else: restart the process when this does not answer.
#[utoipa::path(get, path = "/healthz", operation_id = "health", tag = "Operation",
    responses((status = 200, description = "It is.", body = Condition, example = json!({"status": "ok"}))))]
pub(crate) async fn health() -> Answer {
    answer::json(&Condition { status: "ok" })
}

/// Tells whether requests can be served
///
/// Asks the database and the lanes. While it answers 503, send clients elsewhere.
#[utoipa::path(get, path = "/readyz", operation_id = "ready", tag = "Operation",
    responses(
        (status = 200, description = "They can.", body = Condition, example = json!({"status": "ok"})),
        (status = 503, description = "They cannot; `detail` says why.", body = ProblemView<'static>, content_type = "application/problem+json",
            example = json!({"type": "urn:tidings:problem:not_ready", "title": "Not available now", "status": 503, "detail": "The database does not answer.", "code": "not_ready", "request_id": "req_01K9ZC8Q6T7Y2V5B3N4M1XWRSD"}))))]
pub(crate) async fn ready(State(app): State<App>) -> Answer {
    match (app.options().ready)().await {
        Ok(()) => answer::json(&Condition { status: "ok" }),
        Err(detail) => Err(Problem::new(ErrorKind::Unavailable, "not_ready", detail)),
    }
}

/// Measurements for Prometheus
///
/// Counts, durations and queue ages of this process, without addresses or bodies.
#[utoipa::path(get, path = "/metrics", operation_id = "metrics", tag = "Operation",
    responses((status = 200, description = "The Prometheus text format.", body = String, content_type = "text/plain; version=0.0.4",
        example = json!("# TYPE tidings_messages_accepted_total counter\ntidings_messages_accepted_total{channel=\"email\"} 42\n"))))]
pub(crate) async fn metrics(State(app): State<App>) -> Response {
    answer::bytes(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", (app.options().metrics)().into())
}

/// This document
///
/// Generated from the code that answers, so it describes exactly the version that serves it.
#[utoipa::path(get, path = "/openapi.json", operation_id = "openapi", tag = "Operation",
    responses((status = 200, description = "OpenAPI 3.1.", body = Object, content_type = "application/json", example = json!({"openapi": "3.1.0"}))))]
pub(crate) async fn document(State(app): State<App>) -> Response {
    answer::bytes(StatusCode::OK, "application/json", app.document())
}
