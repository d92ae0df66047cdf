//! Contents that were compiled lately, so that a message accepted a moment ago, or one of a hundred thousand that say the same, is not read and compiled again.

use std::sync::{Arc, Mutex, PoisonError};

use store::messages::ContentId;

use crate::{bounded::Bounded, render::Prepared};

/// Contents kept. At a few kilobytes each this is some 10 MB at worst.
const CONTENTS_MAX: usize = 2_000;

/// Compiled contents by id.
pub struct ContentCache(Mutex<Bounded<ContentId, Arc<Prepared>>>);

impl Default for ContentCache {
    fn default() -> Self {
        Self(Mutex::new(Bounded::new(CONTENTS_MAX)))
    }
}

impl ContentCache {
    /// Keeps a content.
    pub fn put(&self, id: ContentId, content: Arc<Prepared>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(id, content);
    }

    /// A content, when it is still here.
    pub fn get(&self, id: ContentId) -> Option<Arc<Prepared>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&id).map(|content| Arc::clone(content))
    }
}
