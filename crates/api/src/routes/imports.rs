//! Contacts by the file: imports and exports.

use axum::{
    body::Body,
    extract::{FromRequest, FromRequestParts, Request, State},
    response::Response,
};
use engine::{
    Error, ErrorKind,
    contacts::{
        export::{Export, ExportQuery},
        import::{self, FILE_MAX, ImportPreview, ImportQuery, ImportView, Receiver},
    },
    export::Format,
    once::IdempotencyKey,
    page::Page,
};
use http::{HeaderValue, header};
use http_body_util::BodyExt as _;
use model::{AttachmentId, ImportId};
use serde::Deserialize;
use utoipa::ToSchema;

use super::PageQuery;
use crate::{
    App,
    answer::{self, Answer},
    examples,
    extract::{Args, Id, Key, Nothing, Post, Who, body_within, check_length, is_json, read},
    formats::{Form, FormatQuery, Formed},
    problem::Problem,
};

/// A file that was uploaded before.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ImportRequest {
    /// An upload of `POST /v1/attachments`.
    #[schema(value_type = String)]
    attachment_id: AttachmentId,
}

/// An import as it came.
pub(crate) struct Incoming {
    query: ImportQuery,
    key: Option<IdempotencyKey>,
    target: String,
    file: File,
}

enum File {
    Attachment(AttachmentId),
    Body { media_type: String, body: Body },
}

impl FromRequest<App> for Incoming {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Self, Problem> {
        let (mut parts, body) = request.into_parts();
        let Key(key) = Key::from_request_parts(&mut parts, app).await?;
        let Args(query): Args<ImportQuery> = Args::from_request_parts(&mut parts, app).await?;
        let target = parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
        let file = if is_json(&parts.headers) {
            let max = app.options().body_max;
            check_length(&parts.headers, max)?;
            let request: ImportRequest = read(&body_within(body, max).await?)?;
            File::Attachment(request.attachment_id)
        } else {
            check_length(&parts.headers, FILE_MAX as usize)?;
            let media_type = parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
            File::Body { media_type: media_type.unwrap_or_default().to_owned(), body }
        };
        Ok(Self { query, key, target, file })
    }
}

/// Imports contacts
///
/// The body is the file: `text/csv` in any encoding and with any usual delimiter, or `application/x-ndjson` with a contact per line, up to 1 GiB; or JSON that names an uploaded
/// file by `attachment_id`. Columns are recognised by their names; others become attributes, declared with the narrowest type that fits the first rows. Rows are matched to
/// contacts by `external_id`, `email`, `phone` and `telegram_chat_id`. Answered 202 once the file is stored; the rows are worked on in the background, and
/// `contact_import.finished` tells the end. With `dry_run=true` nothing is kept, and the answer is 200 with what would be done.
#[utoipa::path(post, path = "/v1/contacts/import", operation_id = "import_contacts", tag = "Contacts", params(ImportQuery),
    request_body(content(
        (ImportRequest = "application/json", example = json!({"attachment_id": "atc_01K9ZC4G5H6J7K8M9N0P1Q2R3S"})),
        (String = "text/csv", example = json!("email,first_name,plan\r\nada@example.com,Ada,pro\r\n")),
        (String = "application/x-ndjson", example = json!("{\"email\": \"ada@example.com\", \"attributes\": {\"plan\": \"pro\"}}\n")))),
    responses(
        (status = 202, description = "The import.", body = ImportView, example = json!(examples::import())),
        (status = 200, description = "What an import would do.", body = ImportPreview, example = json!(examples::dry_run()))))]
pub(crate) async fn import(State(app): State<App>, Who(caller): Who, incoming: Incoming) -> Answer {
    let Incoming { query, key, target, file } = incoming;
    let engine = app.engine();
    let (media_type, mut body) = match file {
        File::Attachment(id) => {
            return answer::reply(import::from_attachment(engine, &caller, query, id, key, &target).await?);
        }
        File::Body { media_type, body } => (media_type, body),
    };
    let mut receiver = Receiver::begin(engine, &caller, query, &media_type).await?;
    let received = receive(&app, &mut receiver, &mut body).await;
    if let Err(problem) = received {
        receiver.abandon(engine).await;
        return Err(problem);
    }
    answer::reply(receiver.finish(engine, key, &target).await?)
}

async fn receive(app: &App, receiver: &mut Receiver, body: &mut Body) -> Result<(), Problem> {
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| {
            Problem::new(
                ErrorKind::Malformed,
                "incomplete_body",
                "The connection ended before the whole body had arrived. Nothing was done; send the request again.",
            )
        })?;
        let Ok(bytes) = frame.into_data() else { continue };
        if !receiver.push(app.engine(), &bytes).await? {
            break;
        }
    }
    Ok(())
}

/// Lists imports
///
/// Newest first.
#[utoipa::path(get, path = "/v1/contacts/imports", operation_id = "list_imports", tag = "Contacts", params(PageQuery),
    responses((status = 200, description = "One page.", body = Page<ImportView>, example = json!(examples::page(examples::import())))))]
pub(crate) async fn list(State(app): State<App>, Who(caller): Who, Args(query): Args<PageQuery>) -> Answer {
    answer::json(&import::list(app.engine(), &caller, query.limit, query.cursor.as_deref()).await?)
}

/// Shows an import
///
/// How far it is and what became of its rows.
#[utoipa::path(get, path = "/v1/contacts/imports/{id}", operation_id = "get_import", tag = "Contacts",
    responses((status = 200, description = "The import.", body = ImportView, example = json!(examples::import()))))]
pub(crate) async fn get(State(app): State<App>, Who(caller): Who, Id(id): Id<ImportId>) -> Answer {
    answer::json(&import::get(app.engine(), &caller, id).await?)
}

/// Downloads an import's errors
///
/// A table with row, column and reason, of up to 10,000 errors. Row 1 is a table's header.
#[utoipa::path(get, path = "/v1/contacts/imports/{id}/errors", operation_id = "get_import_errors", tag = "Contacts", params(FormatQuery),
    responses((status = 200, description = "The table.", content_type = "text/csv", body = String,
        example = json!("row,column,reason\r\n17,E-Mail,the domain needs at least one dot, as in example.com\r\n"))))]
pub(crate) async fn errors(
    State(app): State<App>,
    Who(caller): Who,
    Id(id): Id<ImportId>,
    Formed(Nothing {}, wanted): Formed<Nothing>,
) -> Answer {
    wanted.of(&[Form::Csv])?;
    Ok(answer::csv(import::errors(app.engine(), &caller, id).await?))
}

/// Cancels an import
///
/// What was imported stays.
#[utoipa::path(post, path = "/v1/contacts/imports/{id}/cancel", operation_id = "cancel_import", tag = "Contacts",
    responses((status = 200, description = "The import as it ended.", body = ImportView, example = json!(examples::import()))))]
pub(crate) async fn cancel(State(app): State<App>, Who(caller): Who, Id(id): Id<ImportId>, post: Post) -> Answer {
    post.must_be_empty()?;
    answer::reply(import::cancel(app.engine(), &caller, &post.repeat, id).await?)
}

/// Exports contacts
///
/// Of a list, a segment, or all, oldest first, as one file however many they are. An import reads it back as the same contacts.
#[utoipa::path(get, path = "/v1/contacts/export", operation_id = "export_contacts", tag = "Contacts", params(ExportQuery),
    responses((status = 200, description = "The file.", content(
        (String = "text/csv", example = json!("id,external_id,name\r\ncon_01K9ZCB1C2D3E4F5G6H7J8K9M0,customer-42,Ada Lovelace\r\n")),
        (String = "application/x-ndjson", example = json!("{\"id\":\"con_01K9ZCB1C2D3E4F5G6H7J8K9M0\"}\n"))))))]
pub(crate) async fn export(
    State(app): State<App>,
    Who(caller): Who,
    Formed(query, wanted): Formed<ExportQuery>,
) -> Answer {
    let query = ExportQuery { format: Some(wanted.file(Format::Csv)?), ..query };
    let export = Export::begin(app.engine(), &caller, &query).await?;
    let content_type = export.content_type();
    let pieces = futures_util::stream::try_unfold((app, export), |(app, mut export): (App, Export)| async move {
        let piece = export.next(app.engine()).await?;
        Ok::<_, Error>(piece.map(|piece| (piece, (app, export))))
    });
    let mut response = Response::new(Body::from_stream(pieces));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    Ok(response)
}
