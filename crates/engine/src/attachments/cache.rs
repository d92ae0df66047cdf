//! The bytes of files that are being sent, kept in memory for a while: a file that goes to ten thousand recipients is read once.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use connectors::File;
use model::{AttachmentId, AttachmentRef, Content, Failure, FailureKind, Media, TenantId};
use store::{Scope, attachments};
use tokio::sync::OnceCell;

use super::keep::sha256;
use crate::Engine;

/// Bytes kept at most: two of the largest messages, or a dozen campaigns with a file each.
const BYTES_MAX: u64 = 64 << 20;

/// Files read lately, by their hash.
#[derive(Default)]
pub(crate) struct FileCache(Mutex<State>);

#[derive(Default)]
struct State {
    files: HashMap<String, Entry>,
    bytes: u64,
    /// Counts uses, to find the file that was not used for longest.
    clock: u64,
}

struct Entry {
    /// Shared by all who want the file while it is being read, so that it is read once.
    cell: Arc<OnceCell<Bytes>>,
    size: u64,
    used: u64,
}

impl FileCache {
    fn cell(&self, sha256: &str, size: u64) -> Arc<OnceCell<Bytes>> {
        let mut state = self.state();
        state.clock += 1;
        let now = state.clock;
        if let Some(entry) = state.files.get_mut(sha256) {
            entry.used = now;
            return Arc::clone(&entry.cell);
        }
        let cell = Arc::new(OnceCell::new());
        state.files.insert(sha256.to_owned(), Entry { cell: Arc::clone(&cell), size, used: now });
        state.bytes += size;
        while state.bytes > BYTES_MAX {
            let Some(oldest) = state.files.iter().min_by_key(|(_, entry)| entry.used).map(|(hash, _)| hash.clone())
            else {
                break;
            };
            state.forget(&oldest);
        }
        cell
    }

    fn forget(&self, sha256: &str) {
        self.state().forget(sha256);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn forget(&mut self, sha256: &str) {
        if let Some(entry) = self.files.remove(sha256) {
            self.bytes -= entry.size;
        }
    }
}

impl Engine {
    /// The bytes of a mail's files, in order, or of the uploads among a message's media. A file that is gone is the content's failure; a disk that does not answer is a reason to try again.
    pub(crate) async fn files(&self, tenant: TenantId, content: &Content) -> Result<Vec<File>, Failure> {
        let email = match content {
            Content::Email(email) => email,
            other => return self.media(tenant, other.media()).await,
        };
        let mut files = Vec::with_capacity(email.attachments.len());
        for reference in &email.attachments {
            let bytes = self.file(reference).await?;
            files.push(File { reference: reference.clone(), bytes });
        }
        Ok(files)
    }

    /// The uploads among media: what is known of them is read again, since content names them by id only.
    async fn media(&self, tenant: TenantId, media: &[Media]) -> Result<Vec<File>, Failure> {
        let ids: Vec<AttachmentId> = media.iter().filter_map(|one| one.attachment_id).collect();
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let read = self.ports.db.read(Scope::Tenant(tenant), move |tx| {
            Box::pin(async move { attachments::find_held(tx, tenant, &ids).await })
        });
        let found = read.await.map_err(|error: store::Error| {
            tracing::warn!(%error, "Cannot look up the files of a message");
            Failure::new(
                FailureKind::Unavailable,
                "attachment_unreadable",
                "The message's files cannot be looked up now.",
            )
        })?;
        let mut files = Vec::with_capacity(found.len());
        for row in found {
            let reference = super::reference(&row);
            let bytes = self.file(&reference).await?;
            files.push(File { reference, bytes });
        }
        Ok(files)
    }

    async fn file(&self, reference: &AttachmentRef) -> Result<Bytes, Failure> {
        let cell = self.file_cache.cell(&reference.sha256, reference.size);
        let read = cell.get_or_try_init(|| async {
            let bytes = self.ports.blobs.get(&reference.sha256).await?;
            if sha256(&bytes) == reference.sha256 { Ok(bytes) } else { Err(io::ErrorKind::InvalidData.into()) }
        });
        match read.await {
            Ok(bytes) => Ok(bytes.clone()),
            Err(error) => {
                self.file_cache.forget(&reference.sha256);
                Err(failure(reference, &error))
            }
        }
    }
}

fn failure(reference: &AttachmentRef, error: &io::Error) -> Failure {
    let (kind, code, detail) = match error.kind() {
        io::ErrorKind::NotFound => (
            FailureKind::Content,
            "attachment_gone",
            "was removed before the message left. Send it again with the file",
        ),
        io::ErrorKind::InvalidData => {
            (FailureKind::Content, "attachment_damaged", "was altered on disk. Upload it again")
        }
        _ => (FailureKind::Unavailable, "attachment_unreadable", "cannot be read from disk now"),
    };
    tracing::warn!(attachment.id = %reference.attachment_id, %error, code, "Cannot read a file that is to be sent");
    Failure::new(kind, code, format!("The attachment {} ({}) {detail}.", reference.filename, reference.attachment_id))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn what_was_not_used_for_longest_makes_room() {
        let cache = FileCache::default();
        for (hash, size) in [("a", 30 * MIB), ("b", 30 * MIB), ("a", 30 * MIB), ("c", 30 * MIB)] {
            cache.cell(hash, size);
        }
        let mut kept: Vec<_> = cache.state().files.keys().cloned().collect();
        kept.sort();
        assert_eq!(kept, ["a", "c"]);
        assert_eq!(cache.state().bytes, 60 * MIB);
    }

    #[test]
    fn a_file_beyond_the_bound_is_handed_out_and_not_kept() {
        let cache = FileCache::default();
        cache.cell("large", BYTES_MAX + 1);
        let state = cache.state();
        assert_eq!((state.files.len(), state.bytes), (0, 0));
    }
}
