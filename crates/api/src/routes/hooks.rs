//! Where providers call. Nothing is decided here: the request is handed over as it came, and the connector says what the provider wants to hear.

use axum::{
    body::Body,
    extract::{Request, State},
    response::Response,
};
use bytes::Bytes;
use connectors::Reply;
use engine::{
    Error,
    callbacks::{BODY_MAX, OwnedRequest},
    money::payment_events,
};
use http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts};
use model::AccountId;

use crate::{
    App,
    answer::{self, Answer},
    extract::{Id, body_within, client_ip},
};

/// What stands before the account in a path.
const PREFIX: &str = "/hooks/";

/// Takes a provider's question
///
/// Some providers prove an address by asking it first. The account's `callback_url` is what to enter at the provider; paths below it belong to the connector.
#[utoipa::path(get, path = "/hooks/{account_id}", operation_id = "answer_provider", tag = "Callbacks",
    responses((status = 200, description = "What the provider wants to hear.", body = String, content_type = "text/plain", example = json!("1158201444"))))]
pub(crate) async fn get(State(app): State<App>, Id(account): Id<AccountId>, request: Request) -> Answer {
    take(&app, account, request).await
}

/// Takes a provider's report
///
/// Delivery reports, bounces and incoming messages. Stored before it is answered, checked the provider's way (a bad signature: 401, and nothing changes), and then
/// applied; what comes twice changes nothing. At most 1 MiB; mails that people write, at the account's `mail_url`, 40 MiB.
#[utoipa::path(post, path = "/hooks/{account_id}", operation_id = "take_callback", tag = "Callbacks",
    request_body(content = String, description = "Whatever the provider sends.", content_type = "*/*", example = json!("MessageSid=SM1&MessageStatus=delivered")),
    responses((status = 200, description = "Stored. The body is what the provider wants to hear, often nothing.", body = String, content_type = "text/plain", example = json!(""))))]
pub(crate) async fn post(State(app): State<App>, Id(account): Id<AccountId>, request: Request) -> Answer {
    take(&app, account, request).await
}

/// Both of them, below an account's own path.
pub(crate) async fn below(State(app): State<App>, Id(account): Id<AccountId>, request: Request) -> Answer {
    take(&app, account, request).await
}

/// Takes Stripe's events
///
/// Checked against the webhook endpoint's signing secret (a bad or old signature: 401, and nothing changes); what comes twice or in another order changes nothing more. At most 1 MiB. The operator's
/// callback log (`GET /v1/callback-log` outside of any tenant) says what came of each, also of those that were refused.
#[utoipa::path(post, path = "/hooks/stripe", operation_id = "take_stripe_event", tag = "Callbacks",
    request_body(content = String, description = "An event as Stripe sends it.", content_type = "application/json", example = json!("{\"id\": \"evt_1\", \"type\": \"checkout.session.completed\"}")),
    responses((status = 204, description = "Taken.")))]
pub(crate) async fn stripe(State(app): State<App>, request: Request) -> Answer {
    let (parts, body) = request.into_parts();
    let raw = raw(&parts, String::new(), body_within(body, BODY_MAX).await?);
    payment_events::take(app.engine(), &raw, client_ip(&parts, &app)).await?;
    answer::nothing()
}

async fn take(app: &App, account: AccountId, request: Request) -> Answer {
    let (parts, body) = request.into_parts();
    let announced = parts.headers.get(header::CONTENT_LENGTH).and_then(|size| size.to_str().ok()?.parse().ok());
    let (body_max, _room) = app.engine().callback_body_max(account, rest(&parts), announced).await?;
    let body = body_within(body, body_max).await?;
    let raw = raw(&parts, rest(&parts).to_owned(), body);
    said(app.engine().callback(account, raw, client_ip(&parts, app)).await?)
}

/// A request as it came. `path`: what of its path is the provider's.
fn raw(parts: &Parts, path: String, body: Bytes) -> OwnedRequest {
    OwnedRequest {
        path,
        query: parts.uri.query().unwrap_or_default().to_owned(),
        headers: lower_case(&parts.headers),
        method: parts.method.as_str().to_owned(),
        body,
    }
}

/// What follows the account in the path, as it was sent: signatures cover it letter by letter.
fn rest(parts: &Parts) -> &str {
    let path = parts.uri.path().strip_prefix(PREFIX).unwrap_or_default();
    path.find('/').map_or("", |slash| &path[slash..])
}

/// Headers as connectors read them. Names are lower case already.
fn lower_case(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect()
}

fn said(reply: Reply) -> Answer {
    let status =
        StatusCode::from_u16(reply.status).map_err(|_| Error::internal("a connector's reply has no HTTP status"))?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    if let Some((kind, body)) = reply.body {
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        *response.body_mut() = Body::from(body);
    }
    Ok(response)
}
