//! Files that go with messages: uploaded before, given inline, or fetched from a URL when the message is accepted.
//!
//! What is known of a file is a row; its bytes lie in the blob store under their SHA-256, once however often they are sent. Rows come before bytes are needed and bytes go
//! after the last row (see [`store::attachments`]). A message names the file by row and hash; its bytes are held until it has long left, also when the tenant deletes
//! the upload meanwhile.
//!
//! - `attach` and `uploads` (here, called by accept): a request's files become references, and those its media name are known by name, type and size.
//! - `files` (module `cache`, called by dispatch): references become bytes, each file read once for a whole campaign.
//! - module `uploads`: what `/v1/attachments` does. `jobs`: what nobody needs any more goes.

mod cache;
mod check;
mod fetch;
mod jobs;
mod keep;
mod uploads;

use std::collections::HashMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use model::{AttachmentId, AttachmentRef, Channel, Content, TenantId, Timestamp};
use store::{Scope, attachments};

pub(crate) use cache::FileCache;
pub(crate) use fetch::Fetches;
pub use jobs::purge;
pub(crate) use keep::unwritten;
pub(crate) use uploads::kept;
pub use uploads::{AttachmentContent, AttachmentView, UploadRequest, content, delete, get, list, upload, upload_json};

use crate::{
    Engine, Error, ErrorKind, FieldError,
    accept::request::{AttachmentRequest, ChannelChoice, EmailRequest, MessageRequest},
};

/// Largest file given inline or by URL, in bytes: what fits a request of 10 MiB, and what anybody else's server is asked for.
pub const FILE_MAX: usize = 10 << 20;
/// Largest uploaded file, in bytes: more no mail could carry.
pub const UPLOAD_MAX: usize = 25 << 20;
/// Bytes of all files of one message: Gmail takes 25 MB, and SES 40 MB in base64, which is a third larger.
pub const MESSAGE_MAX: u64 = 25 << 20;
/// Files of one message: more are an archive.
pub const FILES_MAX: usize = 20;
/// How long after it leaves a message's files are held, in seconds: 30 days, for its retries and for a person to look at a dead letter.
const HOLD_S: i64 = 30 * 86_400;

/// A file as one place of a request gives it.
struct Given<'a> {
    /// Where it stands in the request.
    pointer: String,
    request: &'a AttachmentRequest,
}

impl Engine {
    /// Turns the files of a request into references, storing what is new; a dry run stores and holds nothing. Costs nothing when there are none.
    pub(crate) async fn attach(&self, tenant: TenantId, request: &MessageRequest) -> Result<Vec<AttachmentRef>, Error> {
        let in_content = files_in_content(request);
        let given: Vec<Given<'_>> = numbered("/attachments", &request.attachments)
            .chain(numbered("/content/attachments", &in_content))
            .collect();
        if given.is_empty() {
            return Ok(Vec::new());
        }
        if given.len() > FILES_MAX {
            return Err(Error::invalid("/attachments", format!("at most {FILES_MAX} files")));
        }
        let bad: Vec<FieldError> =
            given.iter().flat_map(|given| check::request(&given.pointer, given.request)).collect();
        if !bad.is_empty() {
            return Err(Error::invalid_fields(bad));
        }
        let now = self.ports.clock.now();
        let leaves_at = request.send_at.map_or(now, |at| at.max(now));
        let until = (!request.dry_run).then(|| leaves_at.plus_seconds(HOLD_S));
        let uploaded = self.uploaded(tenant, &given, until).await?;
        let mut files = Vec::with_capacity(given.len());
        let mut total: u64 = 0;
        for given in &given {
            let file = self.attach_one(tenant, given, &uploaded, until).await?;
            total += file.size;
            if total > MESSAGE_MAX {
                return Err(too_large(
                    &given.pointer,
                    &format!("all files of a message have at most {MESSAGE_MAX} bytes together"),
                ));
            }
            files.push(file);
        }
        Ok(files)
    }

    /// What is known of the uploads among a content's media. Refuses those that are not there; with `hold_until`, holds the others for a message that leaves by then.
    pub(crate) async fn uploads(
        &self,
        tenant: TenantId,
        content: &Content,
        hold_until: Option<Timestamp>,
    ) -> Result<Vec<AttachmentRef>, Error> {
        let media = content.media().iter().enumerate();
        let wanted: Vec<_> = media.filter_map(|(index, one)| Some((index, one.attachment_id?))).collect();
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let ids: Vec<AttachmentId> = wanted.iter().map(|(_, id)| *id).collect();
        let read = self.ports.db.read(Scope::Tenant(tenant), move |tx| {
            Box::pin(async move { Ok::<_, Error>(attachments::find_many(tx, tenant, &ids).await?) })
        });
        let found = read.await?;
        let mut uploads = Vec::with_capacity(wanted.len());
        for (index, id) in wanted {
            let nobody =
                || Error::invalid(format!("/content/media/{index}/attachment_id"), "there is no such attachment");
            let file = found.iter().find(|file| file.id == id).ok_or_else(nobody)?;
            let is_held = match hold_until {
                Some(until) => self.hold_file(file, until.plus_seconds(HOLD_S)).await?,
                None => true,
            };
            if !is_held {
                return Err(nobody());
            }
            uploads.push(reference(file));
        }
        Ok(uploads)
    }

    async fn attach_one(
        &self,
        tenant: TenantId,
        given: &Given<'_>,
        uploaded: &HashMap<AttachmentId, attachments::Attachment>,
        until: Option<Timestamp>,
    ) -> Result<AttachmentRef, Error> {
        let request = given.request;
        let stored = match (&request.attachment_id, &request.content_base64, &request.url) {
            (Some(id), _, _) => uploaded.get(id).cloned().ok_or_else(|| no_such(&given.pointer))?,
            (None, Some(text), _) => {
                let bytes = decode(&format!("{}/content_base64", given.pointer), text)?;
                let (filename, content_type) = (request.filename.as_deref(), request.content_type.as_deref());
                let (filename, content_type) = (filename.unwrap_or_default(), content_type.unwrap_or_default());
                match until {
                    Some(until) => self.keep_for_message(tenant, filename, content_type, bytes, until).await?,
                    None => self.unkept(tenant, filename, content_type, &bytes),
                }
            }
            (None, None, Some(url)) => {
                let nothing_fetched =
                    || Error::invalid(&given.pointer, "a dry run fetches nothing; leave files given by URL out");
                self.fetch(tenant, given, url, until.ok_or_else(nothing_fetched)?).await?
            }
            (None, None, None) => return Err(Error::internal("a file without a source passed its check")),
        };
        let named = reference(&stored);
        Ok(AttachmentRef {
            filename: request.filename.clone().unwrap_or(named.filename),
            content_type: request.content_type.clone().unwrap_or(named.content_type),
            content_id: request.content_id.clone(),
            ..named
        })
    }

    /// Reads and holds the uploaded files a request names.
    async fn uploaded(
        &self,
        tenant: TenantId,
        given: &[Given<'_>],
        until: Option<Timestamp>,
    ) -> Result<HashMap<AttachmentId, attachments::Attachment>, Error> {
        let mut ids: Vec<_> = given.iter().filter_map(|given| given.request.attachment_id).collect();
        ids.sort_unstable();
        ids.dedup();
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        let read = self.ports.db.read(Scope::Tenant(tenant), move |tx| {
            Box::pin(async move { Ok::<_, Error>(attachments::find_many(tx, tenant, &ids).await?) })
        });
        let mut found = HashMap::new();
        for file in read.await? {
            let is_held = match until {
                Some(until) => self.hold_file(&file, until).await?,
                None => true,
            };
            if is_held {
                found.insert(file.id, file);
            }
        }
        Ok(found)
    }
}

/// The files inside the content, when this is a mail. What is wrong with the content otherwise is said by the plan.
fn files_in_content(request: &MessageRequest) -> Vec<AttachmentRequest> {
    let may_be_mail = match &request.channel {
        Some(ChannelChoice::One(channel)) => *channel == Channel::Email,
        Some(ChannelChoice::List(channels)) => channels.contains(&Channel::Email),
        Some(ChannelChoice::Auto) | None => request.to.email.is_some(),
    };
    let Some(raw) = request.content.as_ref().filter(|raw| may_be_mail && raw.get().contains("\"attachments\"")) else {
        return Vec::new();
    };
    serde_json::from_str::<EmailRequest>(raw.get()).map(|email| email.attachments).unwrap_or_default()
}

/// A stored file as a message names it.
fn reference(file: &attachments::Attachment) -> AttachmentRef {
    AttachmentRef {
        attachment_id: file.id,
        filename: file.filename.clone(),
        content_type: file.content_type.clone(),
        sha256: file.sha256.clone(),
        size: file.size,
        content_id: None,
    }
}

fn numbered<'a>(base: &'static str, files: &'a [AttachmentRequest]) -> impl Iterator<Item = Given<'a>> {
    files.iter().enumerate().map(move |(index, request)| Given { pointer: format!("{base}/{index}"), request })
}

/// Reads base64 of at most [`FILE_MAX`] bytes.
fn decode(pointer: &str, text: &str) -> Result<Bytes, Error> {
    if text.len() / 4 > FILE_MAX.div_ceil(3) {
        return Err(too_large(
            pointer,
            &format!("at most {FILE_MAX} bytes; upload larger files with POST /v1/attachments"),
        ));
    }
    let bytes = STANDARD.decode(text).map_err(|_| {
        Error::invalid(
            pointer,
            "not base64 in the standard alphabet (A-Z, a-z, 0-9, +, /) with padding and without line breaks",
        )
    })?;
    if bytes.len() > FILE_MAX {
        return Err(too_large(
            pointer,
            &format!("at most {FILE_MAX} bytes; upload larger files with POST /v1/attachments"),
        ));
    }
    Ok(bytes.into())
}

fn too_large(pointer: &str, detail: &str) -> Error {
    Error {
        errors: vec![FieldError::new(pointer, detail)],
        ..Error::new(ErrorKind::Invalid, "attachment_too_large", format!("{pointer}: {detail}"))
    }
}

fn no_such(pointer: &str) -> Error {
    Error::invalid(format!("{pointer}/attachment_id"), "there is no such attachment")
}
