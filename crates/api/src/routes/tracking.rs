//! Where tracked links and pictures of mails lead. Anybody may ask; an address we did not make is not found.

use axum::{body::Body, extract::State, response::Response};
use bytes::Bytes;
use engine::tracking;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

use super::attachments::download;
use crate::{
    App,
    answer::{self, Answer},
    extract::Named,
};

/// One transparent point.
const PIXEL: &[u8] = b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff!\xf9\x04\x01\x00\x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;";

/// Follows a tracked address
///
/// A link of a mail leads on to where it was meant to; the picture that tells of an opening shows nothing; a logo is shown, and an invoice handed to the provider that delivers it. HEAD is answered the same and counts for no person.
#[utoipa::path(get, path = "/t/{token}", operation_id = "follow_tracked_address", tag = "Callbacks",
    responses((status = 200, description = "The picture.", body = String, content_type = "image/gif", example = json!("GIF89a")),
        (status = 302, description = "On to where the link leads."), (status = 204, description = "Nothing is here for people.")))]
pub(crate) async fn follow(State(app): State<App>, Named(token): Named, method: Method, headers: HeaderMap) -> Answer {
    let agent = headers.get(header::USER_AGENT).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let is_head = method == Method::HEAD;
    let mut response = match app.engine().tracked(&token, is_head, agent.as_deref().unwrap_or_default()).await? {
        tracking::Response::Pixel => answer::bytes(StatusCode::OK, "image/gif", Bytes::from_static(PIXEL)),
        tracking::Response::Nothing => with_status(StatusCode::NO_CONTENT),
        tracking::Response::Redirect(url) => {
            let mut response = with_status(StatusCode::FOUND);
            let place = HeaderValue::from_str(&url).map_err(|_| engine::Error::not_found("address"))?;
            response.headers_mut().insert(header::LOCATION, place);
            response
        }
        tracking::Response::Document(file) => download(file)?,
        tracking::Response::Logo(file) => {
            let mut response = Response::new(Body::from(file.bytes));
            let kind = HeaderValue::from_str(&file.view.content_type);
            let kind = kind.unwrap_or(HeaderValue::from_static("application/octet-stream"));
            let headers = response.headers_mut();
            headers.insert(header::CONTENT_TYPE, kind);
            // A drawing may hold a script; shown from here it must not run.
            headers.insert(
                header::CONTENT_SECURITY_POLICY,
                HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'; sandbox"),
            );
            headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=86400"));
            return Ok(response);
        }
    };
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store, max-age=0"));
    Ok(response)
}

fn with_status(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}
