//! Storing a file: its row and its bytes.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use model::{AttachmentId, TenantId, Timestamp};
use store::{
    Scope, Tx,
    attachments::{self, Attachment},
};

use crate::{Engine, Error, ErrorKind};

/// Holds are prolonged to a whole day, so that a file that goes with many messages is written once a day and not once a message.
const HOLD_STEP_S: i64 = 86_400;
/// Times to wait for a removal of the same bytes that is under way, and how long each, in milliseconds: removing a file takes a few.
const REMOVAL_WAITS: usize = 20;
const REMOVAL_WAIT_MS: u64 = 50;

/// SHA-256 in lower-case hex.
pub(super) fn sha256(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(64);
    for byte in digest(&SHA256, bytes).as_ref() {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// What stops a row from being added.
pub(super) enum Stop {
    /// The same bytes are being removed at this moment.
    Removal,
    /// Anything else.
    Error(Error),
}

impl From<store::Error> for Stop {
    fn from(error: store::Error) -> Self {
        Self::Error(error.into())
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// Adds a row, unless its bytes are being removed at this moment.
pub(super) async fn add(tx: &mut Tx, row: &Attachment) -> Result<(), Stop> {
    if attachments::lock_bytes(tx, &row.sha256).await? {
        return Err(Stop::Removal);
    }
    Ok(attachments::insert(tx, row).await?)
}

pub(super) fn removal_under_way() -> Error {
    Error::new(ErrorKind::Unavailable, "attachment_busy", "The same file is being removed at this moment. Try again.")
        .with_retry_after_ms(1_000)
}

impl Engine {
    /// A file as it would be stored, for a message that is not sent.
    pub(super) fn unkept(&self, tenant: TenantId, filename: &str, content_type: &str, bytes: &[u8]) -> Attachment {
        let now = self.ports.clock.now();
        Attachment {
            tenant_id: tenant,
            id: AttachmentId::from_ulid(self.ports.ids.ulid(now)),
            filename: filename.to_owned(),
            content_type: content_type.to_owned(),
            size: bytes.len() as u64,
            sha256: sha256(bytes),
            created_at: now,
            held_until: now,
            purge_at: None,
            deleted_at: None,
        }
    }

    /// Stores a file for one message; the same file of the tenant's under the same name is used again.
    pub(crate) async fn keep_for_message(
        &self,
        tenant: TenantId,
        filename: &str,
        content_type: &str,
        bytes: Bytes,
        until: Timestamp,
    ) -> Result<Attachment, Error> {
        let held_until = whole_day(until);
        let row = Attachment {
            held_until,
            purge_at: Some(held_until),
            ..self.unkept(tenant, filename, content_type, &bytes)
        };
        if let Some(same) = self.same(&row).await?
            && self.hold_file(&same, until).await?
        {
            self.ports.blobs.put(&same.sha256, bytes).await.map_err(unwritten)?;
            return Ok(same);
        }
        self.keep(row, bytes).await
    }

    /// Stores a file under a row of its own, so that it can go without anybody else's: what somebody sent. It is kept for a day; who names it prolongs that ([`attachments::hold`]).
    pub(crate) async fn keep_apart(
        &self,
        tenant: TenantId,
        filename: &str,
        content_type: &str,
        bytes: Bytes,
    ) -> Result<Attachment, Error> {
        let now = self.ports.clock.now();
        let until = whole_day(now.plus_seconds(HOLD_STEP_S));
        let row = Attachment {
            held_until: until,
            purge_at: Some(until),
            ..self.unkept(tenant, filename, content_type, &bytes)
        };
        self.keep(row, bytes).await
    }

    /// Stores a row and its bytes.
    async fn keep(&self, row: Attachment, bytes: Bytes) -> Result<Attachment, Error> {
        for _ in 0..REMOVAL_WAITS {
            // Before the row, so that there is no row without bytes; and after it, should they have been removed just then.
            self.ports.blobs.put(&row.sha256, bytes.clone()).await.map_err(unwritten)?;
            let new = row.clone();
            let write = self.ports.db.write(Scope::System, move |tx| Box::pin(async move { add(tx, &new).await }));
            match write.await {
                Ok(()) => {
                    self.ports.blobs.put(&row.sha256, bytes).await.map_err(unwritten)?;
                    return Ok(row);
                }
                Err(Stop::Error(error)) => return Err(error),
                Err(Stop::Removal) => self.ports.clock.sleep(REMOVAL_WAIT_MS).await,
            }
        }
        Err(removal_under_way())
    }

    async fn same(&self, row: &Attachment) -> Result<Option<Attachment>, Error> {
        let row = Arc::new(row.clone());
        let read = self.ports.db.read(Scope::Tenant(row.tenant_id), move |tx| {
            Box::pin(async move {
                let found =
                    attachments::find_same(tx, row.tenant_id, &row.sha256, &row.filename, &row.content_type).await?;
                Ok::<_, Error>(found)
            })
        });
        read.await
    }

    /// Makes sure that a file's bytes are kept until `until`. `false` when the file was deleted meanwhile. Writes at most once a day per file.
    pub(super) async fn hold_file(&self, file: &Attachment, until: Timestamp) -> Result<bool, Error> {
        if file.held_until >= until {
            return Ok(true);
        }
        let (tenant, id, until) = (file.tenant_id, file.id, whole_day(until));
        let write = self.ports.db.write(Scope::Tenant(tenant), move |tx| {
            Box::pin(async move { Ok::<_, Error>(attachments::hold(tx, tenant, id, until).await?) })
        });
        write.await
    }
}

/// The end of the day after an instant.
fn whole_day(at: Timestamp) -> Timestamp {
    Timestamp::from_seconds((at.as_seconds().div_euclid(HOLD_STEP_S) + 1) * HOLD_STEP_S)
}

/// The disk does not take a file: an error for the caller, with the reason in the log.
pub(crate) fn unwritten(error: std::io::Error) -> Error {
    tracing::error!(%error, "Cannot store a file");
    Error::new(
        ErrorKind::Unavailable,
        "storage_unavailable",
        "Files cannot be stored now. Nothing was done; try again shortly.",
    )
    .with_retry_after_ms(5_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_lower_case_hex() {
        assert_eq!(sha256(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn holds_end_with_a_day_that_is_later() {
        let day = |at_s: i64| whole_day(Timestamp::from_seconds(at_s)).as_seconds();
        assert_eq!((day(0), day(86_399), day(86_400)), (86_400, 86_400, 172_800));
    }
}
