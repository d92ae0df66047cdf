//! A tenant's events as they happen, and the operator's alerts.

use axum::{body::Body, extract::State, response::Response};
use bytes::Bytes;
use engine::{Error, ErrorKind, FieldError};
use futures_util::stream;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use model::EventId;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::{
    App,
    answer::Answer,
    extract::{Args, Who},
};

/// Where a reader goes on.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Which events.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Query {
    /// `*`, nouns such as `message.*`, or types by name, separated by commas; all by default.
    #[param(example = "message.delivered,message.bounced")]
    events: Option<String>,
    /// The same as the header `Last-Event-ID`, for readers that cannot set one.
    #[param(example = "evt_01K9ZC7R8S9T0V1W2X3Y4Z5A6B")]
    last_event_id: Option<String>,
}

/// Follows events
///
/// Server-sent events: each has an `id`, its type as `event`, and the same JSON as endpoints get as `data`. A reader that comes back with `Last-Event-ID` misses nothing
/// for a week; without it the stream begins now. A comment is sent every 15 s while nothing happens.
///
/// An operator's key without `Tidings-Tenant` follows the operator's alerts (`operator_alert.*`), where the configuration's `mail_tenant` names the tenant that is told of them; that needs the scope
/// `alerts:read` as well.
#[utoipa::path(get, path = "/v1/stream", operation_id = "follow_events", tag = "Events",
    params(Query, ("Last-Event-ID" = Option<String>, Header, description = "Go on after this event.", example = "evt_01K9ZC7R8S9T0V1W2X3Y4Z5A6B")),
    responses((status = 200, description = "The stream, without an end.", body = String, content_type = "text/event-stream",
        example = json!("id: evt_01K9ZC7R8S9T0V1W2X3Y4Z5A6B\nevent: message.delivered\ndata: {\"type\":\"message.delivered\",\"id\":\"evt_01K9ZC7R8S9T0V1W2X3Y4Z5A6B\",\"timestamp\":\"2026-11-21T09:30:04.000000Z\",\"data\":{\"id\":\"msg_01K9ZC8Q6T7Y2V5B3N4M1XWRSD\",\"status\":\"delivered\"}}\n\n"))))]
pub(crate) async fn follow(
    State(app): State<App>,
    Who(caller): Who,
    Args(query): Args<Query>,
    headers: HeaderMap,
) -> Answer {
    let given = headers.get(LAST_EVENT_ID).map(|value| value.to_str().unwrap_or("?"));
    let given = given.filter(|id| !id.is_empty()).or(query.last_event_id.as_deref());
    let last = given.map(|id| id.parse::<EventId>().map_err(|_| no_event_id())).transpose()?;
    let filters: Vec<String> =
        query.events.iter().flat_map(|events| events.split(',')).map(|word| word.trim().to_owned()).collect();
    let subscription = app.engine().subscribe(&caller, last, &filters).await?;
    let frames = stream::unfold(subscription, async |mut subscription| {
        let frame = subscription.next().await?;
        Some((Ok::<_, std::convert::Infallible>(Bytes::from(frame.to_wire())), subscription))
    });
    let mut response = Response::new(Body::from_stream(frames));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Proxies that buffer would keep events to themselves; this is the one many of them listen to.
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    Ok(response)
}

fn no_event_id() -> Error {
    let detail = "`Last-Event-ID` is the `id` of an event of this stream, such as evt_01K9ZC7R8S9T0V1W2X3Y4Z5A6B. Leave it out to begin now.";
    let field = FieldError::new("?last_event_id", "no id of an event");
    Error { errors: vec![field], ..Error::new(ErrorKind::Malformed, "invalid_last_event_id", detail) }
}
