//! A migrated SQLite database for the tests of this crate, removed at the end.

use std::path::PathBuf;

use model::Timestamp;

use crate::Db;

pub(crate) struct Scratch {
    pub db: Db,
    file: PathBuf,
}

impl Scratch {
    /// `name` tells the databases of tests apart that run at the same time.
    pub(crate) async fn new(name: &str) -> Self {
        let file = std::env::temp_dir().join(format!("tidings-{name}-{}.db", std::process::id()));
        let db = Db::open(&format!("sqlite:{}", file.display())).unwrap();
        crate::migrate(&db, Timestamp::EPOCH).await.unwrap();
        Self { db, file }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        for suffix in ["", "-wal", "-shm", ".lock"] {
            let _ = std::fs::remove_file(self.file.with_extension(format!("db{suffix}")));
        }
    }
}
