//! Uploads: files a tenant stores once and names in messages by id.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use model::{AttachmentId, TenantId, Timestamp};
use serde::{Deserialize, Serialize};
use store::{
    Scope, Tx,
    attachments::{self, Attachment},
};
use utoipa::ToSchema;

use super::{
    UPLOAD_MAX, check,
    keep::{self, sha256, unwritten},
};
use crate::{
    Engine, Error, ErrorKind, audit,
    keys::Caller,
    names::Faults,
    once::{self, Repeat, Reply, Secrecy, once},
    page::{Page, Window},
};

/// Uploads a tenant can have, and their bytes in all: far more than its messages need, and a bound for one that forgets to delete.
const UPLOADS_MAX: u64 = 10_000;
const STORED_MAX: u64 = 10 << 30;

/// An upload as JSON.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UploadRequest {
    /// Its name.
    #[schema(example = "ticket.pdf")]
    pub filename: String,
    /// Its media type.
    #[schema(example = "application/pdf")]
    pub content_type: String,
    /// The bytes in base64.
    #[schema(example = "JVBERi0xLjcK")]
    pub content_base64: String,
}

/// A stored file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct AttachmentView {
    /// Its id: `attachment_id` in a message.
    #[schema(value_type = String, example = "atc_01K9ZC8Q6T7Y2V5B3N4M1XWRSD")]
    pub id: AttachmentId,
    /// Its name.
    #[schema(example = "ticket.pdf")]
    pub filename: String,
    /// Its media type.
    #[schema(example = "application/pdf")]
    pub content_type: String,
    /// Size in bytes.
    #[schema(example = 48_213)]
    pub size: u64,
    /// SHA-256 of the bytes in hex.
    #[schema(example = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")]
    pub sha256: String,
    /// When it was stored.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}

/// A stored file with its bytes. To be sent with its type, as a download, and never to be shown by a browser in our name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttachmentContent {
    /// What is known of it.
    pub view: AttachmentView,
    /// The bytes.
    pub bytes: Bytes,
}

fn view(row: &Attachment) -> AttachmentView {
    AttachmentView {
        id: row.id,
        filename: row.filename.clone(),
        content_type: row.content_type.clone(),
        size: row.size,
        sha256: row.sha256.clone(),
        created_at: row.created_at,
    }
}

/// Stores a file that came as JSON. Needs the scope `attachments:write`.
#[crate::boxed]
pub async fn upload_json(
    engine: &Engine,
    caller: &Caller,
    repeat: &Repeat,
    request: UploadRequest,
) -> Result<Reply, Error> {
    caller.need("attachments:write")?;
    let bytes = STANDARD.decode(&request.content_base64).map_err(|_| {
        Error::invalid(
            "/content_base64",
            "not base64 in the standard alphabet (A-Z, a-z, 0-9, +, /) with padding and without line breaks",
        )
    })?;
    upload(engine, caller, repeat, &request.filename, &request.content_type, bytes.into()).await
}

/// Stores a file of up to 25 MiB; the same bytes are kept once. Needs the scope `attachments:write`.
#[crate::boxed]
pub async fn upload(
    engine: &Engine,
    caller: &Caller,
    repeat: &Repeat,
    filename: &str,
    content_type: &str,
    bytes: Bytes,
) -> Result<Reply, Error> {
    caller.need("attachments:write")?;
    let tenant = caller.need_tenant()?;
    if bytes.len() > UPLOAD_MAX {
        return Err(Error::new(
            ErrorKind::TooLarge,
            "attachment_too_large",
            format!("An attachment has at most {UPLOAD_MAX} bytes; this one has {}.", bytes.len()),
        ));
    }
    let mut faults = Faults::default();
    if let Err(problem) = check::filename(filename) {
        faults.add("/filename", problem);
    }
    if let Err(problem) = check::content_type(content_type) {
        faults.add("/content_type", problem);
    }
    if bytes.is_empty() {
        faults.add("/content_base64", "the file is empty");
    }
    faults.end()?;
    let now = engine.ports.clock.now();
    let row = Attachment {
        tenant_id: tenant,
        id: AttachmentId::from_ulid(engine.ports.ids.ulid(now)),
        filename: filename.to_owned(),
        content_type: content_type.to_owned(),
        size: bytes.len() as u64,
        sha256: sha256(&bytes),
        created_at: now,
        held_until: now,
        purge_at: None,
        deleted_at: None,
    };
    if let Some(reply) = once::replay(engine.parts(), caller, repeat).await? {
        return Ok(reply);
    }
    let sha256 = row.sha256.clone();
    // Before the row, so that there is no row without bytes; and after it, should they have been removed just then.
    engine.ports.blobs.put(&sha256, bytes.clone()).await.map_err(unwritten)?;
    let reply = once(engine.parts(), caller, repeat, 201, Secrecy::Plain, move |tx| {
        Box::pin(async move { insert(tx, &row).await })
    })
    .await?;
    engine.ports.blobs.put(&sha256, bytes).await.map_err(unwritten)?;
    Ok(reply)
}

async fn insert(tx: &mut Tx, row: &Attachment) -> Result<AttachmentView, Error> {
    let (count, bytes) = attachments::stored(tx, row.tenant_id).await?;
    if count >= UPLOADS_MAX || bytes + row.size > STORED_MAX {
        return Err(Error::conflict(
            "attachments_full",
            format!(
                "There are {count} uploaded attachments with {bytes} bytes; {UPLOADS_MAX} with {STORED_MAX} bytes are the most. Delete those nobody uses."
            ),
        ));
    }
    match keep::add(tx, row).await {
        Ok(()) => Ok(view(row)),
        Err(keep::Stop::Removal) => Err(keep::removal_under_way()),
        Err(keep::Stop::Error(error)) => Err(error),
    }
}

/// Lists the tenant's uploads, newest first. Needs the scope `attachments:read`.
#[crate::boxed]
pub async fn list(
    engine: &Engine,
    caller: &Caller,
    limit: Option<u32>,
    cursor: Option<&str>,
) -> Result<Page<AttachmentView>, Error> {
    let tenant = reader(caller)?;
    let window = Window::read("attachments", limit, cursor)?;
    let read = engine.ports.db.read(caller.reach(), move |tx| {
        Box::pin(async move {
            let before = AttachmentId::from_ulid(window.before);
            Ok::<_, Error>(attachments::list(tx, tenant, before, window.rows()).await?)
        })
    });
    Ok(window.page(read.await?, |row| row.id.ulid(), |row| view(&row)))
}

/// What is known of one of the tenant's files, also one that came with a message. Needs the scope `attachments:read`.
#[crate::boxed]
pub async fn get(engine: &Engine, caller: &Caller, id: AttachmentId) -> Result<AttachmentView, Error> {
    find(engine, caller, id).await.map(|row| view(&row))
}

/// One of the tenant's files with its bytes. Needs the scope `attachments:read`.
#[crate::boxed]
pub async fn content(engine: &Engine, caller: &Caller, id: AttachmentId) -> Result<AttachmentContent, Error> {
    let row = find(engine, caller, id).await?;
    match engine.ports.blobs.get(&row.sha256).await {
        Ok(bytes) => Ok(AttachmentContent { view: view(&row), bytes }),
        Err(error) => Err(Error::internal(format!("the bytes of {id} cannot be read: {error}"))),
    }
}

/// A file with its bytes, for an operation that has its own scope; `None` when it is gone.
pub(crate) async fn kept(
    engine: &Engine,
    tenant: TenantId,
    id: AttachmentId,
) -> Result<Option<AttachmentContent>, Error> {
    let read = engine.ports.db.read(Scope::Tenant(tenant), move |tx| {
        Box::pin(async move { Ok::<_, Error>(attachments::find(tx, tenant, id).await?) })
    });
    let Some(row) = read.await? else { return Ok(None) };
    match engine.ports.blobs.get(&row.sha256).await {
        Ok(bytes) => Ok(Some(AttachmentContent { view: view(&row), bytes })),
        Err(error) => Err(Error::internal(format!("the bytes of {id} cannot be read: {error}"))),
    }
}

/// Deletes an upload. Messages that name it already still leave with it; its bytes go when none can. Needs the scope `attachments:write`.
#[crate::boxed]
pub async fn delete(engine: &Engine, caller: &Caller, id: AttachmentId) -> Result<(), Error> {
    caller.need("attachments:write")?;
    let tenant = caller.need_tenant()?;
    let (now, ids, by) = (engine.ports.clock.now(), engine.ports.ids.clone(), caller.clone());
    let write = engine.ports.db.write(caller.reach(), move |tx| {
        Box::pin(async move {
            if !attachments::delete(tx, tenant, id, now).await? {
                return Err(no_such());
            }
            audit::record(tx, tenant, &ids, now, &by, "attachment.deleted", id, &serde_json::json!({})).await
        })
    });
    write.await
}

fn reader(caller: &Caller) -> Result<TenantId, Error> {
    caller.need("attachments:read")?;
    caller.need_tenant()
}

async fn find(engine: &Engine, caller: &Caller, id: AttachmentId) -> Result<Attachment, Error> {
    let tenant = reader(caller)?;
    let read = engine.ports.db.read(caller.reach(), move |tx| {
        Box::pin(async move { Ok::<_, Error>(attachments::find(tx, tenant, id).await?) })
    });
    read.await?.ok_or_else(no_such)
}

fn no_such() -> Error {
    Error::not_found("attachment")
}
