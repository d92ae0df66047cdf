//! Files nobody needs any more go: those of messages that have long left, and uploads that were deleted.

use std::sync::Arc;

use model::Timestamp;
use store::{
    Scope,
    attachments::{self, Attachment, Removal},
};

use crate::{Engine, Error};

/// Files looked at once.
const PAGE: i64 = 100;
/// Pages of one run: what is left waits for the next.
const PAGES_MAX: u32 = 50;
/// After this long a removal counts as given up by a process that is gone, and is taken over, in seconds. Removing one file takes milliseconds.
const GIVEN_UP_S: i64 = 600;

/// Removes files that are held no longer. Answers how many rows. Run every hour; killed anywhere, a later run carries on.
#[crate::boxed]
pub async fn purge(engine: &Engine, now: Timestamp) -> Result<u64, Error> {
    let begun_before = now.plus_seconds(-GIVEN_UP_S);
    let mut removed = 0;
    for _ in 0..PAGES_MAX {
        let read = engine.ports.db.read(Scope::System, move |tx| {
            Box::pin(async move { Ok::<_, Error>(attachments::due(tx, now, begun_before, PAGE).await?) })
        });
        let page = read.await?;
        let is_last = (page.len() as i64) < PAGE;
        for file in page {
            remove(engine, Arc::new(file), now, begun_before).await?;
            removed += 1;
        }
        if is_last {
            break;
        }
    }
    Ok(removed)
}

async fn remove(engine: &Engine, file: Arc<Attachment>, now: Timestamp, begun_before: Timestamp) -> Result<(), Error> {
    let row = Arc::clone(&file);
    let write = engine.ports.db.write(Scope::System, move |tx| {
        Box::pin(async move { Ok::<_, Error>(attachments::begin_removal(tx, &row, now, begun_before).await?) })
    });
    match write.await? {
        Removal::Done => return Ok(()),
        Removal::Bytes => {}
    }
    // From here on nobody can begin to use these bytes until the row is gone; should we die, a later run removes them again.
    engine.ports.blobs.remove(&file.sha256).await.map_err(Error::internal)?;
    let write = engine.ports.db.write(Scope::System, move |tx| {
        Box::pin(async move { Ok::<_, Error>(attachments::end_removal(tx, &file).await?) })
    });
    write.await
}
