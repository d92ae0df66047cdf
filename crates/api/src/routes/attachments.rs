//! Files, uploaded once and sent often.

use std::fmt::Write as _;

use axum::{
    body::Body,
    extract::{FromRequest, FromRequestParts, Request, State},
    response::Response,
};
use bytes::Bytes;
use engine::{
    Error,
    attachments::{self, AttachmentContent, AttachmentView, UPLOAD_MAX, UploadRequest},
    once::{Repeat, fingerprint},
    page::Page,
};
use http::{HeaderName, HeaderValue, header};
use model::AttachmentId;
use serde::Deserialize;
use utoipa::IntoParams;

use super::PageQuery;
use crate::{
    App,
    answer::{self, Answer},
    examples,
    extract::{self, Args, Id, Key, Who, body_within, check_length, read},
    problem::Problem,
};

/// Largest upload as JSON: the file in base64, with room for its name and type.
const UPLOAD_JSON_MAX: usize = UPLOAD_MAX / 3 * 4 + 16 * 1024;

/// A file without JSON around it.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct UploadQuery {
    /// The file's name. With it the body is the file itself and `Content-Type` its media type; without it the body is JSON.
    #[param(example = "ticket.pdf")]
    filename: Option<String>,
}

/// An upload as it came.
pub(crate) struct Upload {
    repeat: Repeat,
    form: Form,
}

enum Form {
    Json(Bytes),
    Raw { filename: String, content_type: String, bytes: Bytes },
}

impl FromRequest<App> for Upload {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Self, Problem> {
        let (mut parts, body) = request.into_parts();
        let Key(key) = Key::from_request_parts(&mut parts, app).await?;
        let Args(query): Args<UploadQuery> = Args::from_request_parts(&mut parts, app).await?;
        let max = if query.filename.is_some() { UPLOAD_MAX } else { UPLOAD_JSON_MAX };
        if query.filename.is_none() {
            extract::must_be_json(&parts.headers)?;
        }
        check_length(&parts.headers, max)?;
        let bytes = body_within(body, max).await?;
        let content_type = parts.headers.get(header::CONTENT_TYPE).map(|value| value.to_str().unwrap_or_default());
        let content_type = content_type.unwrap_or("application/octet-stream").to_owned();
        let target = parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
        let repeat = match key {
            Some(key) => {
                Repeat { key: Some(key), fingerprint: fingerprint("POST", &format!("{target} {content_type}"), &bytes) }
            }
            None => Repeat::NONE,
        };
        let form = match query.filename {
            Some(filename) => Form::Raw { filename, content_type, bytes },
            None => Form::Json(bytes),
        };
        Ok(Self { repeat, form })
    }
}

/// Uploads a file
///
/// Up to 25 MiB, to be named by `attachment_id` in messages. Either as JSON with the bytes in base64, or, with `?filename=`, as the body itself. The same bytes are
/// stored once however often they are uploaded.
#[utoipa::path(post, path = "/v1/attachments", operation_id = "upload_attachment", tag = "Attachments", params(UploadQuery),
    request_body(content(
        (UploadRequest = "application/json", example = json!({"filename": "ticket.pdf", "content_type": "application/pdf", "content_base64": "JVBERi0xLjcK"})),
        (String = "application/octet-stream", example = json!("%PDF-1.7\n")))),
    responses((status = 201, description = "The stored file.", body = AttachmentView, example = json!(examples::attachment()))))]
pub(crate) async fn upload(State(app): State<App>, Who(caller): Who, upload: Upload) -> Answer {
    let Upload { repeat, form } = upload;
    answer::reply(match form {
        Form::Json(body) => {
            let request: UploadRequest = read(&body)?;
            attachments::upload_json(app.engine(), &caller, &repeat, request).await?
        }
        Form::Raw { filename, content_type, bytes } => {
            attachments::upload(app.engine(), &caller, &repeat, &filename, &content_type, bytes).await?
        }
    })
}

/// Lists uploads
///
/// Newest first, without files that came inside messages.
#[utoipa::path(get, path = "/v1/attachments", operation_id = "list_attachments", tag = "Attachments", params(PageQuery),
    responses((status = 200, description = "One page.", body = Page<AttachmentView>, example = json!(examples::page(examples::attachment())))))]
pub(crate) async fn list(State(app): State<App>, Who(caller): Who, Args(query): Args<PageQuery>) -> Answer {
    answer::json(&attachments::list(app.engine(), &caller, query.limit, query.cursor.as_deref()).await?)
}

/// Shows what is known of a file
///
/// Also of one that came inside a message.
#[utoipa::path(get, path = "/v1/attachments/{id}", operation_id = "get_attachment", tag = "Attachments",
    responses((status = 200, description = "The file.", body = AttachmentView, example = json!(examples::attachment()))))]
pub(crate) async fn get(State(app): State<App>, Who(caller): Who, Id(id): Id<AttachmentId>) -> Answer {
    answer::json(&attachments::get(app.engine(), &caller, id).await?)
}

/// Downloads a file
///
/// Its bytes under its own media type, as a download.
#[utoipa::path(get, path = "/v1/attachments/{id}/content", operation_id = "download_attachment", tag = "Attachments",
    responses((status = 200, description = "The bytes.", body = String, content_type = "application/octet-stream",
        headers(("Content-Disposition" = String, description = "The file's name.")), example = json!("%PDF-1.7\n"))))]
pub(crate) async fn content(State(app): State<App>, Who(caller): Who, Id(id): Id<AttachmentId>) -> Answer {
    Ok(download(attachments::content(app.engine(), &caller, id).await?)?)
}

/// A stored file as a download.
pub(super) fn download(file: AttachmentContent) -> Result<Response, Error> {
    let mut response = Response::new(Body::from(file.bytes));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, value(&file.view.content_type)?);
    headers.insert(header::CONTENT_DISPOSITION, value(&disposition(&file.view.filename))?);
    // Whatever somebody uploaded, a browser must not run it in our name.
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox; default-src 'none'"));
    headers.insert(HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin"));
    Ok(response)
}

fn value(text: &str) -> Result<HeaderValue, Error> {
    HeaderValue::from_str(text).map_err(|_| Error::internal("a stored file has a name or type that is no header value"))
}

/// A download under this name (RFC 6266, RFC 8187).
fn disposition(filename: &str) -> String {
    let mut text = "attachment; filename*=UTF-8''".to_owned();
    for byte in filename.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => text.push(char::from(byte)),
            other => write!(text, "%{other:02X}").expect("writing to a text cannot fail"),
        }
    }
    text
}

/// Deletes an upload
///
/// Messages that name it already still leave with it; after the last of them its bytes are erased.
#[utoipa::path(delete, path = "/v1/attachments/{id}", operation_id = "delete_attachment", tag = "Attachments",
    responses((status = 204, description = "It is deleted.")))]
pub(crate) async fn delete(State(app): State<App>, Who(caller): Who, Id(id): Id<AttachmentId>) -> Answer {
    attachments::delete(app.engine(), &caller, id).await?;
    answer::nothing()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_name_is_a_header() {
        let check = |name: &str, expected: &str| {
            assert_eq!(disposition(name), format!("attachment; filename*=UTF-8''{expected}"));
            assert!(value(&disposition(name)).is_ok());
        };
        check("ticket.pdf", "ticket.pdf");
        check("Ihr Fahrschein (2).pdf", "Ihr%20Fahrschein%20%282%29.pdf");
        check("Überweisung\r\nX: y\".pdf", "%C3%9Cberweisung%0D%0AX%3A%20y%22.pdf");
    }
}
