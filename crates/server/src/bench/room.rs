//! Where a workload takes place: a temporary directory, and in it an SQLite file or beside it a PostgreSQL database of its own. Both are removed at the end.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::{Context as _, bail};
use tokio_postgres::{Client, NoTls};
use url::Url;

use super::meter;

/// A directory and a database.
pub struct Room {
    directory: PathBuf,
    /// Names the database, for `Db::open` and for the server under test.
    pub url: String,
    server: Option<Server>,
}

/// A PostgreSQL server and our database on it.
struct Server {
    url: String,
    admin: Client,
    database: String,
    postmaster: Option<u32>,
    durability: String,
}

impl Room {
    /// Makes a directory under `under`, and a database: `sqlite`, or a new one on the server that a `postgres://` URL names.
    pub async fn new(under: Option<&Path>, database: &str) -> anyhow::Result<Self> {
        let directory = make_directory(under.map_or_else(env::temp_dir, Path::to_path_buf))?;
        let mut room = Self { directory, url: String::new(), server: None };
        if database == "sqlite" {
            room.url = format!("sqlite:{}", room.directory.join("tidings.db").display());
            return Ok(room);
        }
        let (server, url) = Server::new(database, &room.name()).await?;
        (room.server, room.url) = (Some(server), url);
        Ok(room)
    }

    /// `sqlite` or `postgres`.
    pub const fn engine(&self) -> &'static str {
        if self.server.is_some() { "postgres" } else { "sqlite" }
    }

    /// What a commit waits for, in words.
    pub fn durability(&self) -> &str {
        self.server.as_ref().map_or("WAL, synchronous=FULL: fsync before 202", |server| &server.durability)
    }

    /// The directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The directory's own name, different in every room.
    fn name(&self) -> String {
        self.directory.file_name().and_then(|name| name.to_str()).unwrap_or("bench").replace('-', "_")
    }

    /// The first process of the PostgreSQL cluster, when it runs on this machine.
    pub fn postmaster(&self) -> Option<u32> {
        self.server.as_ref()?.postmaster
    }

    /// Syncs of PostgreSQL's log since its start; `None` on SQLite, and where the server does not say.
    pub async fn syncs(&self) -> Option<u64> {
        let row = self.server.as_ref()?.admin.query_one("SELECT wal_sync FROM pg_stat_wal", &[]).await.ok()?;
        row.get::<_, i64>(0).try_into().ok()
    }

    /// Sweeps PostgreSQL's queues and sums of dead rows. Its autovacuum looks at one database a minute: of two that are held against each other it would be chance which is swept.
    pub async fn sweep(&self) -> anyhow::Result<()> {
        if self.server.is_some() {
            let tables = "deliveries, inflight, message_counters, message_days, attempt_counters, usage_counters, credit_ledgers, charge_counters";
            self.connect().await?.batch_execute(&format!("VACUUM {tables}")).await?;
        }
        Ok(())
    }

    /// A connection of our own to the PostgreSQL database, for floors.
    pub async fn connect(&self) -> anyhow::Result<Client> {
        connect(&self.url).await
    }

    /// Writes what PostgreSQL holds back to disk, so that one workload does not pay for another's.
    pub async fn settle(&self) {
        if let Some(server) = &self.server {
            // Only superusers may; for others the next checkpoint comes when it comes.
            let _ = server.admin.batch_execute("CHECKPOINT").await;
        }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

impl Drop for Server {
    /// Runs on a thread of its own, because the runtime we are dropped on may be ending. A database that stays behind is no reason to fail.
    ///
    /// Not `DROP … WITH (FORCE)`: a role like ours may not end a worker of autovacuum, while a plain `DROP` has it ended and waits for it.
    fn drop(&mut self) {
        let (url, database) = (self.url.clone(), self.database.clone());
        let dropper = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let drop_it = async {
                let client = connect(&url).await?;
                let others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND usename = current_user";
                client.execute(others, &[&database]).await?;
                Ok::<_, anyhow::Error>(client.batch_execute(&format!("DROP DATABASE IF EXISTS {database}")).await?)
            };
            let _ = runtime.map(|runtime| runtime.block_on(drop_it));
        });
        let _ = dropper.join();
    }
}

impl Server {
    async fn new(url: &str, name: &str) -> anyhow::Result<(Self, String)> {
        let admin = connect(url).await?;
        let pid: i32 = admin.query_one("SELECT pg_backend_pid()", &[]).await?.get(0);
        let setting = async |name: &str| -> anyhow::Result<String> {
            Ok(admin.query_one("SELECT current_setting($1)", &[&name]).await?.get(0))
        };
        let durability = format!(
            "fsync={}, synchronous_commit={}, full_page_writes={} (PostgreSQL {})",
            setting("fsync").await?,
            setting("synchronous_commit").await?,
            setting("full_page_writes").await?,
            setting("server_version").await?
        );
        let database = format!("tidings_{name}");
        admin
            .batch_execute(&format!("CREATE DATABASE {database}"))
            .await
            .context("cannot make a database for the benchmark; name a role that may (CREATEDB)")?;
        let mut own = Url::parse(url)?;
        own.set_path(&database);
        // A process of that number here may be another one when the server is elsewhere; then its parent is no postmaster.
        let postmaster = u32::try_from(pid).ok().and_then(meter::parent).filter(|pid| is_postgres(*pid));
        Ok((Self { url: url.to_owned(), admin, database, postmaster, durability }, own.into()))
    }
}

fn is_postgres(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim().starts_with("postgres"))
}

async fn connect(url: &str) -> anyhow::Result<Client> {
    let (client, connection) =
        tokio_postgres::connect(url, NoTls).await.context("cannot reach the PostgreSQL that --database names")?;
    tokio::spawn(connection);
    Ok(client)
}

/// Number of the next room of this process.
static NEXT: AtomicU32 = AtomicU32::new(0);

fn make_directory(under: PathBuf) -> anyhow::Result<PathBuf> {
    for _ in 0..1_000 {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = under.join(format!("tidings-bench-{}-{number}", process::id()));
        match fs::create_dir(&path) {
            Ok(()) => return Ok(path),
            // Left behind by a killed process that had our number.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error).with_context(|| format!("cannot make {}", path.display())),
        }
    }
    bail!("too many left-over directories tidings-bench-… under {}; remove them", under.display())
}
