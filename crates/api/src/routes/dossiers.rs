//! Everything about one person, as a file.

use axum::{body::Body, extract::State, response::Response};
use engine::{
    Error,
    contacts::dossier::{self, ContactExportView, Dossier},
};
use http::{HeaderValue, header};
use model::{ContactExportId, ContactId};

use crate::{
    App,
    answer::{self, Answer},
    examples,
    extract::{Id, Ids, Post, Who},
};

/// Asks for everything about a contact
///
/// Answers where it can be read for a day: a zip of JSON and files with the contact, its lists, preferences, consent and suppressions, every message both ways with its timeline, campaigns,
/// repeating messages, files, and who changed what. Both this and each reading stand in the audit log. Needs the right to change contacts, because it carries away what messages said.
#[utoipa::path(post, path = "/v1/contacts/{id}/export", operation_id = "export_contact", tag = "Contacts",
    responses((status = 201, description = "Where it can be read.", body = ContactExportView, example = json!(examples::contact_export()))))]
pub(crate) async fn ask(State(app): State<App>, Who(caller): Who, Id(id): Id<ContactId>, post: Post) -> Answer {
    post.must_be_empty()?;
    answer::reply(dossier::ask(app.engine(), &caller, &post.repeat, id).await?)
}

/// Reads everything about a contact
///
/// As a zip, made while it is read and kept nowhere. Its `index.json` says what is in it.
#[utoipa::path(get, path = "/v1/contacts/{id}/exports/{export_id}", operation_id = "read_contact_export", tag = "Contacts",
    responses((status = 200, description = "The file.", content_type = "application/zip", body = String, example = json!("PK…"))))]
pub(crate) async fn content(
    State(app): State<App>,
    Who(caller): Who,
    Ids(id, export): Ids<ContactId, ContactExportId>,
) -> Answer {
    let dossier = Dossier::begin(app.engine(), &caller, id, export).await?;
    let pieces = futures_util::stream::try_unfold((app, dossier), |(app, mut dossier): (App, Dossier)| async move {
        let piece = dossier.next(app.engine()).await?;
        Ok::<_, Error>(piece.map(|piece| (piece, (app, dossier))))
    });
    let mut response = Response::new(Body::from_stream(pieces));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/zip"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let name = format!("attachment; filename=\"{id}.zip\"");
    headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_str(&name).map_err(Error::internal)?);
    Ok(response)
}
