//! A PostgreSQL database per test, copied from a template that is migrated once per schema.

use std::env;

use model::Timestamp;
use store::Db;
use tokio_postgres::{Client, NoTls};
use url::Url;

use crate::database::block_on;

/// Where the tests find PostgreSQL: a role that may create databases and is no superuser.
const VARIABLE: &str = "TIDINGS_TEST_POSTGRES_URL";
/// Named after everything that makes the schema; see `build.rs`.
const TEMPLATE: &str = concat!("tidings_template_", env!("TIDINGS_SCHEMA_FINGERPRINT"));
/// Advisory lock held while the template is made: "template" in ASCII.
const LOCK: i64 = 0x7465_6d70_6c61_7465;

/// A database that is dropped with this value.
pub(crate) struct OwnDatabase {
    server: Url,
    name: String,
}

impl OwnDatabase {
    pub(crate) async fn create() -> Self {
        let server = server();
        let admin = connect(&server).await;
        if !exists(&admin, TEMPLATE).await {
            make_template(&server, &admin).await;
        }
        let name = fresh_name(&admin).await;
        admin.batch_execute(&format!("CREATE DATABASE {name} TEMPLATE {TEMPLATE}")).await.unwrap();
        Self { server, name }
    }

    /// One without a schema.
    pub(crate) async fn empty() -> Self {
        let server = server();
        let admin = connect(&server).await;
        let name = fresh_name(&admin).await;
        admin.batch_execute(&format!("CREATE DATABASE {name}")).await.unwrap();
        Self { server, name }
    }

    pub(crate) fn url(&self) -> String {
        with_database(&self.server, &self.name)
    }
}

impl Drop for OwnDatabase {
    /// Runs on a thread of its own, because the test's runtime is busy dropping us. A database that stays is no reason to fail a test.
    fn drop(&mut self) {
        let (server, name) = (self.server.clone(), self.name.clone());
        let dropper = std::thread::spawn(move || {
            block_on(async move {
                let _ =
                    connect(&server).await.batch_execute(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await;
            });
        });
        let _ = dropper.join();
    }
}

async fn fresh_name(admin: &Client) -> String {
    let row = admin.query_one("SELECT 'tidings_test_' || replace(gen_random_uuid()::TEXT, '-', '')", &[]).await;
    row.unwrap().get(0)
}

fn server() -> Url {
    let text = env::var(VARIABLE).unwrap_or_else(|_| {
        panic!("{VARIABLE} is not set: run the tests with `cargo xtask test`, or start a server with `cargo xtask postgres` and set what it prints")
    });
    Url::parse(&text).unwrap_or_else(|error| panic!("{VARIABLE} is not a URL: {error}"))
}

fn with_database(server: &Url, name: &str) -> String {
    let mut url = server.clone();
    url.set_path(name);
    url.into()
}

async fn connect(server: &Url) -> Client {
    let (client, connection) = tokio_postgres::connect(server.as_str(), NoTls)
        .await
        .unwrap_or_else(|error| panic!("cannot reach the PostgreSQL that {VARIABLE} names: {error}"));
    tokio::spawn(connection);
    client
}

async fn exists(admin: &Client, database: &str) -> bool {
    admin.query_opt("SELECT 1 FROM pg_database WHERE datname = $1", &[&database]).await.unwrap().is_some()
}

/// Makes the template under a passing name and renames it when it is complete: a process killed half-way leaves no broken template.
async fn make_template(server: &Url, admin: &Client) {
    let wall = "SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = CURRENT_USER";
    let is_above_walls: bool = admin.query_one(wall, &[]).await.unwrap().get(0);
    assert!(!is_above_walls, "the role in {VARIABLE} bypasses row-level security; use an ordinary role with CREATEDB");
    admin.execute("SELECT pg_advisory_lock($1)", &[&LOCK]).await.unwrap();
    if !exists(admin, TEMPLATE).await {
        let draft = format!("{TEMPLATE}_draft");
        admin.batch_execute(&format!("DROP DATABASE IF EXISTS {draft} WITH (FORCE)")).await.unwrap();
        admin.batch_execute(&format!("CREATE DATABASE {draft}")).await.unwrap();
        let db = Db::open(&with_database(server, &draft)).unwrap();
        store::migrate(&db, Timestamp::EPOCH).await.unwrap();
        drop(db);
        // Waits up to five seconds for the connections above to be gone.
        admin.batch_execute(&format!("ALTER DATABASE {draft} RENAME TO {TEMPLATE}")).await.unwrap();
    }
    admin.execute("SELECT pg_advisory_unlock($1)", &[&LOCK]).await.unwrap();
}
