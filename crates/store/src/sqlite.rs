//! SQLite: one writer thread with group commit, two reader threads.
//!
//! A third thread copies the write-ahead log back while the writer goes on. Every job that waits when the writer is free joins one transaction, so one `fsync` (WAL with `synchronous=FULL`)
//! pays for all of them. A job that fails or panics is rolled back alone, to its savepoint; nobody is told of success before the commit is on disk.

use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
        mpsc,
    },
};

use model::BoxFuture;
use rusqlite::{OpenFlags, config::DbConfig, hooks::Wal, types::ToSqlOutput, types::ValueRef};
use tokio::sync::oneshot;

use crate::{Error, Row, Tx, Value, tx::Connection, value::Owned};

/// Jobs in one transaction at most: bounds how long the first of them waits.
const JOBS_MAX: usize = 256;
/// Snapshots that can be read at once. Two cores are kept busy by two.
const READERS: usize = 2;
/// Pages in the write-ahead log before they are copied back: 16 MiB. Fewer copies of a page that changes often, still a quick recovery.
const CHECKPOINT_PAGES: u32 = 4000;
/// Pages in the log at which the writer no longer waits for the thread that copies them back: 64 MiB, so that a slow disk cannot make the log grow without end.
const LOG_PAGES_MAX: u32 = 4 * CHECKPOINT_PAGES;
/// Page cache of the writer, in KiB.
const CACHE_KIB: u32 = 32 * 1024;
/// Prepared statements kept per connection.
const STATEMENTS: usize = 256;

type Done = Box<dyn FnOnce(Result<(), Error>) + Send>;
type Job = Box<dyn FnOnce(&mut Tx) -> (bool, Done) + Send>;

pub(crate) struct Sqlite {
    writer: mpsc::Sender<Job>,
    readers: mpsc::Sender<Job>,
}

impl Sqlite {
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let mut writer = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE)?;
        writer.execute_batch(&format!(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA journal_size_limit = 67108864;
             PRAGMA cache_size = -{CACHE_KIB};"
        ))?;
        let checkpoints = Checkpoints::start(path, &mut writer)?;
        let (write_jobs, waiting) = mpsc::channel::<Job>();
        thread("tidings-writer", move || write_loop(transaction(writer), &waiting, checkpoints))?;
        let (read_jobs, waiting) = mpsc::channel::<Job>();
        let waiting = Arc::new(Mutex::new(waiting));
        for _ in 0..READERS {
            let reader = connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
            reader.execute_batch("PRAGMA query_only = TRUE; PRAGMA cache_size = -8192;")?;
            let waiting = Arc::clone(&waiting);
            thread("tidings-reader", move || read_loop(transaction(reader), &waiting))?;
        }
        Ok(Self { writer: write_jobs, readers: read_jobs })
    }

    pub(crate) async fn write<T, E>(
        &self,
        work: impl for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<T, E>> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        submit(&self.writer, work).await
    }

    pub(crate) async fn read<T, E>(
        &self,
        work: impl for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<T, E>> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        submit(&self.readers, work).await
    }
}

async fn submit<T, E>(
    jobs: &mpsc::Sender<Job>,
    work: impl for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<T, E>> + Send + 'static,
) -> Result<T, E>
where
    T: Send + 'static,
    E: From<Error> + Send + 'static,
{
    let (answer, answered) = oneshot::channel::<Result<T, E>>();
    let job: Job = Box::new(move |tx| {
        let result = run_now(work(tx));
        let is_ok = result.is_ok();
        let done: Done = Box::new(move |committed| {
            let _ = answer.send(match committed {
                Ok(()) => result,
                Err(error) => result.and(Err(error.into())),
            });
        });
        (is_ok, done)
    });
    let stopped =
        || Error::Unavailable { detail: "the database thread ended while working on this request".to_owned() };
    jobs.send(job).map_err(|_| stopped())?;
    answered.await.map_err(|_| stopped())?
}

/// SQLite answers at once, so a future made of its calls is ready when first polled.
fn run_now<T>(future: BoxFuture<'_, T>) -> T {
    futures_util::FutureExt::now_or_never(future)
        .expect("work on SQLite waits for nothing but SQLite, which answers at once")
}

fn write_loop(mut tx: Tx, waiting: &mpsc::Receiver<Job>, mut checkpoints: Checkpoints) {
    while let Ok(first) = waiting.recv() {
        let mut done = Vec::new();
        if let Err(error) = raw(&tx).execute_batch("BEGIN IMMEDIATE") {
            refuse(first, &mut tx, error.into());
            continue;
        }
        let mut next = Some(first);
        while let Some(job) = next {
            done.extend(if done.is_empty() { run_first(job, &mut tx) } else { run_alone(job, &mut tx) });
            // A full disk or a failing one ends the whole transaction by itself: what follows must not run outside it.
            let is_over = raw(&tx).is_autocommit();
            next = if done.len() < JOBS_MAX && !is_over { waiting.try_recv().ok() } else { None };
        }
        metrics::histogram!("tidings_database_batch_jobs", "engine" => "sqlite").record(done.len() as f64);
        let committed = if raw(&tx).is_autocommit() {
            Err(Error::Unavailable {
                detail: "the transaction was rolled back by the database; is the disk full?".to_owned(),
            })
        } else {
            raw(&tx).execute_batch("COMMIT").map_err(Error::from)
        };
        if committed.is_err() && !raw(&tx).is_autocommit() {
            let _ = raw(&tx).execute_batch("ROLLBACK");
        }
        let failure = committed.err().map(|error| (error.is_temporary(), error.to_string()));
        for done in done {
            done(match &failure {
                None => Ok(()),
                Some((true, detail)) => Err(Error::Unavailable { detail: detail.clone() }),
                Some((false, detail)) => Err(Error::Other(detail.clone())),
            });
        }
        checkpoints.after_commit(raw(&tx));
    }
}

/// Runs a job that nothing precedes in its transaction. It needs no savepoint, which would copy every page before its first change: when it fails, the
/// transaction begins anew.
fn run_first(job: Job, tx: &mut Tx) -> Option<Done> {
    let outcome = catch_unwind(AssertUnwindSafe(|| job(tx)));
    if !matches!(outcome, Ok((true, _))) && !raw(tx).is_autocommit() {
        let _ = raw(tx).execute_batch("ROLLBACK; BEGIN IMMEDIATE");
    }
    outcome.ok().map(|(_, done)| done)
}

/// Runs a job in a savepoint; a job that fails or panics leaves nothing behind. `None` after a panic: the caller sees a closed channel.
fn run_alone(job: Job, tx: &mut Tx) -> Option<Done> {
    let _ = raw(tx).prepare_cached("SAVEPOINT job").and_then(|mut statement| statement.execute([]));
    let outcome = catch_unwind(AssertUnwindSafe(|| job(tx)));
    if !matches!(outcome, Ok((true, _))) {
        let _ = raw(tx).execute_batch("ROLLBACK TO job");
    }
    let _ = raw(tx).prepare_cached("RELEASE job").and_then(|mut statement| statement.execute([]));
    outcome.ok().map(|(_, done)| done)
}

/// Copies the write-ahead log back into the database, mostly on a thread of its own, so that commits do not wait for it.
///
/// A log begins anew only when all of it was copied back and nobody is writing. So the thread copies what there is while the writer goes on, and then the
/// writer copies the little that came meanwhile, between two of its transactions.
struct Checkpoints {
    /// Pages in the log after the writer's last commit.
    log_pages: Arc<AtomicU32>,
    wanted: mpsc::SyncSender<()>,
    /// Set by the thread when it is done.
    is_done: Arc<AtomicBool>,
    /// True from the request until the writer has copied the rest.
    is_under_way: bool,
}

impl Checkpoints {
    fn start(path: &Path, writer: &mut rusqlite::Connection) -> Result<Self, Error> {
        let log_pages = Arc::new(AtomicU32::new(0));
        let counts = Arc::clone(&log_pages);
        // Takes the place of SQLite's own checkpoints, which hold up the commit that makes them.
        writer.wal_hook(Some(move |_: &mut Wal, pages| {
            counts.store(u32::try_from(pages).unwrap_or(0), Ordering::Relaxed);
            Ok(())
        }))?;
        let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        connection.execute_batch("PRAGMA synchronous = FULL; PRAGMA cache_size = -1024;")?;
        let (wanted, waiting) = mpsc::sync_channel::<()>(1);
        let is_done = Arc::new(AtomicBool::new(false));
        let tells = Arc::clone(&is_done);
        thread("tidings-checkpoint", move || {
            while waiting.recv().is_ok() {
                checkpoint(&connection);
                tells.store(true, Ordering::Release);
            }
        })?;
        Ok(Self { log_pages, wanted, is_done, is_under_way: false })
    }

    /// Asks for a checkpoint when the log is long, and ends one whose thread is done or takes too long.
    fn after_commit(&mut self, writer: &rusqlite::Connection) {
        let pages = self.log_pages.load(Ordering::Relaxed);
        if !self.is_under_way {
            if pages >= CHECKPOINT_PAGES {
                self.is_under_way = self.wanted.try_send(()).is_ok();
            }
            return;
        }
        if self.is_done.swap(false, Ordering::AcqRel) {
            checkpoint(writer);
            self.is_under_way = false;
        } else if pages >= LOG_PAGES_MAX {
            checkpoint(writer);
        }
    }
}

/// Copies back as much of the log as readers allow. What cannot be copied now is copied by a later one.
fn checkpoint(connection: &rusqlite::Connection) {
    if let Err(error) = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())) {
        tracing::warn!(%error, "Cannot copy the write-ahead log back; it grows until this works");
    }
}

fn read_loop(mut tx: Tx, waiting: &Mutex<mpsc::Receiver<Job>>) {
    loop {
        let job = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        if let Err(error) = raw(&tx).execute_batch("BEGIN") {
            refuse(job, &mut tx, error.into());
            continue;
        }
        let outcome = catch_unwind(AssertUnwindSafe(|| job(&mut tx)));
        let _ = raw(&tx).execute_batch("COMMIT");
        if let Ok((_, done)) = outcome {
            done(Ok(()));
        }
    }
}

/// Tells a job's caller why it could not even begin. The job's statements fail on the closed transaction or are rolled back with it.
fn refuse(job: Job, tx: &mut Tx, error: Error) {
    let began = raw(tx).execute_batch("BEGIN");
    if let Ok((_, done)) = catch_unwind(AssertUnwindSafe(|| job(tx))) {
        done(Err(error));
    }
    if began.is_ok() {
        let _ = raw(tx).execute_batch("ROLLBACK");
    }
}

fn connect(path: &Path, flags: OpenFlags) -> Result<rusqlite::Connection, Error> {
    let connection = rusqlite::Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)
        .map_err(|error| Error::Config(format!("cannot open the SQLite database {}: {error}", path.display())))?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    // Without, a statement with `LIMIT $1` is compiled anew each time it is used, because its plan might be better for the next limit.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.execute_batch("PRAGMA busy_timeout = 10000; PRAGMA temp_store = MEMORY;")?;
    Ok(connection)
}

fn thread(name: &str, body: impl FnOnce() + Send + 'static) -> Result<(), Error> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(body)
        .map(drop)
        .map_err(|error| Error::Unavailable { detail: error.to_string() })
}

fn transaction(raw: rusqlite::Connection) -> Tx {
    Tx { connection: Connection::Sqlite { raw, texts: HashMap::new() }, companion: None }
}

fn raw(tx: &Tx) -> &rusqlite::Connection {
    match &tx.connection {
        Connection::Sqlite { raw, .. } => raw,
        Connection::Postgres(_) => unreachable!("the SQLite threads own SQLite connections"),
    }
}

/// The name of the given rows in a statement.
pub(crate) const GIVEN: &str = "{given}";

/// The text as SQLite wants it: numbered parameters (`?1`), and the given rows in place of their name. Kept, because statements repeat.
pub(crate) fn text(
    texts: &mut HashMap<String, Arc<str>>,
    sql: &str,
    name: &str,
    given: impl FnOnce() -> String,
) -> Arc<str> {
    /// Different texts kept; list queries with many filters could otherwise grow this without end.
    const TEXTS_MAX: usize = 1024;
    if let Some(text) = texts.get(sql) {
        return Arc::clone(text);
    }
    let text: Arc<str> = sql.replace(name, &given()).replace('$', "?").into();
    if texts.len() >= TEXTS_MAX {
        texts.clear();
    }
    texts.insert(sql.to_owned(), Arc::clone(&text));
    text
}

impl rusqlite::ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Value::Null => ToSqlOutput::Borrowed(ValueRef::Null),
            Value::Int(int) => ToSqlOutput::Borrowed(ValueRef::Integer(*int)),
            Value::Bool(flag) => ToSqlOutput::Borrowed(ValueRef::Integer(i64::from(*flag))),
            Value::Text(text) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
            Value::Bytes(bytes) => ToSqlOutput::Borrowed(ValueRef::Blob(bytes)),
            Value::Id(ulid) => ToSqlOutput::Borrowed(ValueRef::Blob(ulid)),
            Value::Time(at) => ToSqlOutput::Borrowed(ValueRef::Integer(at.as_micros())),
        })
    }
}

fn own(value: ValueRef<'_>) -> Result<Owned, Error> {
    Ok(match value {
        ValueRef::Null => Owned::Null,
        ValueRef::Integer(int) => Owned::Int(int),
        ValueRef::Text(text) => Owned::Text(String::from_utf8_lossy(text).into_owned()),
        ValueRef::Blob(bytes) => {
            bytes.try_into().map_or_else(|_| Owned::Bytes(bytes.to_vec()), |id| Owned::Id(u128::from_be_bytes(id)))
        }
        ValueRef::Real(_) => {
            return Err(Error::Other("an answer holds a fraction; the schema keeps whole numbers only".to_owned()));
        }
    })
}

fn bind<'a>(
    statement: &mut rusqlite::CachedStatement<'_>,
    params: impl Iterator<Item = Value<'a>>,
) -> Result<(), Error> {
    for (index, value) in params.enumerate() {
        statement.raw_bind_parameter(index + 1, value)?;
    }
    Ok(())
}

/// Binds what is not the same as in the row before: a statement keeps its parameters, and each text or id that is bound is a copy in memory of its own.
fn bind_anew(
    statement: &mut rusqlite::CachedStatement<'_>,
    before: Option<&[Value<'_>]>,
    row: &[Value<'_>],
) -> Result<(), Error> {
    for (index, value) in row.iter().enumerate() {
        if before.is_none_or(|before| before[index] != *value) {
            statement.raw_bind_parameter(index + 1, value)?;
        }
    }
    Ok(())
}

fn collect(statement: &mut rusqlite::CachedStatement<'_>, answer: &mut Vec<Row>) -> Result<(), Error> {
    let columns = statement.column_count();
    let mut rows = statement.raw_query();
    while let Some(row) = rows.next()? {
        answer.push(Row((0..columns).map(|column| own(row.get_ref(column)?)).collect::<Result<_, _>>()?));
    }
    Ok(())
}

pub(crate) fn rows<'a>(
    connection: &rusqlite::Connection,
    sql: &str,
    params: impl Iterator<Item = Value<'a>>,
) -> Result<Vec<Row>, Error> {
    let mut statement = connection.prepare_cached(sql)?;
    bind(&mut statement, params)?;
    let mut answer = Vec::new();
    collect(&mut statement, &mut answer)?;
    Ok(answer)
}

pub(crate) fn execute<'a>(
    connection: &rusqlite::Connection,
    sql: &str,
    params: impl Iterator<Item = Value<'a>>,
) -> Result<u64, Error> {
    let mut statement = connection.prepare_cached(sql)?;
    bind(&mut statement, params)?;
    Ok(statement.raw_execute()? as u64)
}

pub(crate) fn execute_many(
    connection: &rusqlite::Connection,
    sql: &str,
    cells: &[Value<'_>],
    columns: usize,
) -> Result<u64, Error> {
    let mut statement = connection.prepare_cached(sql)?;
    let (mut touched, mut before) = (0, None);
    for row in cells.chunks_exact(columns) {
        bind_anew(&mut statement, before.replace(row), row)?;
        touched += statement.raw_execute()? as u64;
    }
    Ok(touched)
}

pub(crate) fn rows_many(
    connection: &rusqlite::Connection,
    sql: &str,
    cells: &[Value<'_>],
    columns: usize,
) -> Result<Vec<Row>, Error> {
    let mut statement = connection.prepare_cached(sql)?;
    let (mut answer, mut before) = (Vec::with_capacity(cells.len() / columns), None);
    for row in cells.chunks_exact(columns) {
        bind_anew(&mut statement, before.replace(row), row)?;
        collect(&mut statement, &mut answer)?;
    }
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use rusqlite::StatementStatus;

    use super::*;

    #[test]
    fn a_statement_is_compiled_once_whatever_its_limit_is() {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
        let connection = connect(Path::new(":memory:"), flags).unwrap();
        connection.execute_batch("CREATE TABLE letters (id INTEGER PRIMARY KEY)").unwrap();
        for limit in [1, 500, 0, 2] {
            let mut statement = connection.prepare_cached("SELECT id FROM letters ORDER BY id LIMIT ?1").unwrap();
            bind(&mut statement, [Value::Int(limit)].into_iter()).unwrap();
            collect(&mut statement, &mut Vec::new()).unwrap();
            assert_eq!(statement.get_status(StatementStatus::RePrepare), 0, "with {limit}");
        }
    }
}
