//! Files in memory.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use model::{Blobs, BoxFuture};

/// A blob store without a disk.
#[derive(Default)]
pub struct MemoryBlobs(Mutex<HashMap<String, Bytes>>);

impl MemoryBlobs {
    /// An empty store.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// How many files there are.
    pub fn len(&self) -> usize {
        self.files().len()
    }

    /// True without files.
    pub fn is_empty(&self) -> bool {
        self.files().is_empty()
    }

    fn files(&self) -> MutexGuard<'_, HashMap<String, Bytes>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Blobs for MemoryBlobs {
    fn put(&self, sha256: &str, bytes: Bytes) -> BoxFuture<'static, io::Result<()>> {
        self.files().insert(sha256.to_owned(), bytes);
        Box::pin(async { Ok(()) })
    }

    fn get(&self, sha256: &str) -> BoxFuture<'static, io::Result<Bytes>> {
        let found = self.files().get(sha256).cloned();
        Box::pin(async { found.ok_or_else(|| io::ErrorKind::NotFound.into()) })
    }

    fn remove(&self, sha256: &str) -> BoxFuture<'static, io::Result<()>> {
        self.files().remove(sha256);
        Box::pin(async { Ok(()) })
    }
}
