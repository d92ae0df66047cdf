//! Fresh, migrated databases: an SQLite file in a directory of its own, and a PostgreSQL database, each copied from a template that is migrated once per schema.

use std::{fs, future::Future, ops::Deref, path::Path};

use model::Timestamp;
use store::Db;

use crate::{TempDir, postgres::OwnDatabase};

/// The file each test on SQLite gets a copy of, named after everything that makes the schema; see `build.rs`.
const TEMPLATE: &str = concat!(env!("OUT_DIR"), "/", env!("TIDINGS_SCHEMA_FINGERPRINT"), ".db");

/// A database of one test, gone when dropped. Use it like a [`Db`].
pub struct TestDb {
    /// The open, migrated database.
    pub db: Db,
    /// `sqlite` or `postgres`, for messages of failing tests.
    pub engine: &'static str,
    /// The URL that opens it again, also from another process.
    pub url: String,
    _home: Home,
}

/// What disappears with the test.
enum Home {
    Directory(#[allow(dead_code, reason = "kept for its Drop")] TempDir),
    Postgres(#[allow(dead_code, reason = "kept for its Drop")] OwnDatabase),
}

impl Deref for TestDb {
    type Target = Db;
    fn deref(&self) -> &Db {
        &self.db
    }
}

/// A fresh database on each engine, SQLite first.
///
/// # Panics
/// Without `TIDINGS_TEST_POSTGRES_URL`, so that no engine is left out silently.
pub async fn databases() -> Vec<TestDb> {
    vec![sqlite().await, postgres().await]
}

/// Runs `test` on a fresh database of each engine, one after the other, and says which one it is on.
pub async fn each_database<F, Fut>(test: F)
where
    F: Fn(TestDb) -> Fut,
    Fut: Future<Output = ()>,
{
    for db in databases().await {
        println!("on {}", db.engine);
        test(db).await;
    }
}

/// Runs `test` on a database of each engine as the Tidings of an earlier schema version left it: empty, and not migrated any further.
pub fn on_each_older<Fut: Future<Output = ()>>(version: i64, test: impl Fn(TestDb) -> Fut) {
    block_on(async {
        let directory = TempDir::new();
        let url = format!("sqlite:{}", directory.path().join("tidings.db").display());
        let sqlite = TestDb { db: Db::open(&url).unwrap(), engine: "sqlite", url, _home: Home::Directory(directory) };
        let home = OwnDatabase::empty().await;
        let url = home.url();
        let postgres = TestDb { db: Db::open(&url).unwrap(), engine: "postgres", url, _home: Home::Postgres(home) };
        for db in [sqlite, postgres] {
            println!("on {}", db.engine);
            store::migrate_to(&db, version, Timestamp::EPOCH).await.unwrap();
            test(db).await;
        }
    });
}

/// A fresh SQLite database in a directory of its own, in memory where there is room.
pub async fn sqlite() -> TestDb {
    sqlite_in(TempDir::in_memory()).await
}

/// Another database on the same engine, of which SQLite's is on a disk: for tests about what a process leaves behind there when it is killed.
pub async fn on_disk(db: TestDb) -> TestDb {
    if db.engine == "sqlite" { sqlite_in(TempDir::new()).await } else { db }
}

async fn sqlite_in(directory: TempDir) -> TestDb {
    let template = Path::new(TEMPLATE);
    if !template.exists() {
        make_template(template).await;
    }
    let path = directory.path().join("tidings.db");
    fs::copy(template, &path).unwrap();
    let url = format!("sqlite:{}", path.display());
    TestDb { db: Db::open(&url).unwrap(), engine: "sqlite", url, _home: Home::Directory(directory) }
}

/// Makes the template under a passing name and renames it when it is complete: a process killed half-way leaves no broken template, and two at once make the same.
async fn make_template(template: &Path) {
    let directory = TempDir::new();
    let path = directory.path().join("tidings.db");
    let db = Db::open(&format!("sqlite:{}", path.display())).unwrap();
    store::migrate(&db, Timestamp::EPOCH).await.unwrap();
    // Those of other schemas: who makes one now makes the one of this schema.
    for old in fs::read_dir(template.parent().unwrap()).unwrap().map(|entry| entry.unwrap().path()) {
        if old != template && old.extension().is_some_and(|end| end == "db") {
            let _ = fs::remove_file(old);
        }
    }
    let draft = template.with_file_name(directory.path().file_name().unwrap());
    let _ = fs::remove_file(&draft);
    let migrated = rusqlite::Connection::open(&path).unwrap();
    migrated.execute("VACUUM INTO ?1", [draft.to_str()]).unwrap();
    // As every database of ours is once it was opened.
    rusqlite::Connection::open(&draft).unwrap().execute_batch("PRAGMA journal_mode = WAL").unwrap();
    fs::rename(&draft, template).unwrap();
}

/// A fresh PostgreSQL database, owned by an ordinary role, so that row-level security is in force.
///
/// # Panics
/// Without `TIDINGS_TEST_POSTGRES_URL`.
pub async fn postgres() -> TestDb {
    let home = OwnDatabase::create().await;
    let url = home.url();
    TestDb { db: Db::open(&url).unwrap(), engine: "postgres", url, _home: Home::Postgres(home) }
}

/// Runs a test on SQLite, with a runtime of its own; see [`crate::both!`].
pub fn on_sqlite<Fut: Future<Output = ()>>(test: impl FnOnce(TestDb) -> Fut) {
    block_on(async { test(sqlite().await).await });
}

/// Runs a test on PostgreSQL, with a runtime of its own; see [`crate::both!`].
pub fn on_postgres<Fut: Future<Output = ()>>(test: impl FnOnce(TestDb) -> Fut) {
    block_on(async { test(postgres().await).await });
}

pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}
