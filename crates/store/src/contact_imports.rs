//! Imports of contacts: where each stands, and what was wrong with which row.
//!
//! A batch of rows moves `position` in the transaction that writes their contacts, and only from where the batch began: so no row is worked on twice, whoever dies
//! whenever.

use model::{ImportId, TenantId, Timestamp};

use crate::{Error, Given, Kind, Row, Tx};

/// A row of `contact_imports`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Import {
    /// Whose.
    pub tenant_id: TenantId,
    /// Which.
    pub id: ImportId,
    /// `receiving`, `waiting`, `running`, `done`, `failed` or `canceled`.
    pub state: String,
    /// What was asked for, as JSON.
    pub options: String,
    /// What each column is, as JSON, once that is decided.
    pub mapping: Option<String>,
    /// Pieces the file lies in.
    pub chunks: u32,
    /// Its bytes.
    pub size: u64,
    /// The byte after the last row that was worked on.
    pub position: u64,
    /// How far it is.
    pub counts: Counts,
    /// Why it failed, for people.
    pub problem: Option<String>,
    /// When the upload began.
    pub created_at: Timestamp,
    /// When the first row was worked on; also the mark of contacts this import touched.
    pub started_at: Option<Timestamp>,
    /// When the last row was.
    pub finished_at: Option<Timestamp>,
    /// When its file was removed.
    pub purged_at: Option<Timestamp>,
}

/// What became of the rows so far. `rows_read` is the sum of the others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Rows worked on.
    pub rows_read: u64,
    /// Rows that became a contact.
    pub created: u64,
    /// Rows that changed one.
    pub updated: u64,
    /// Rows whose contact was there before and was left alone.
    pub skipped: u64,
    /// Rows that are wrong.
    pub failed: u64,
    /// Rows about a contact that a row before was about.
    pub duplicates: u64,
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.rows_read += other.rows_read;
        self.created += other.created;
        self.updated += other.updated;
        self.skipped += other.skipped;
        self.failed += other.failed;
        self.duplicates += other.duplicates;
    }
}

/// Something wrong with a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowError {
    /// The row's number, from 1; the header of a table is row 1.
    pub row_number: u64,
    /// Tells several errors of a row apart.
    pub place: u64,
    /// In which column; empty for the row as a whole.
    pub column: String,
    /// What, for people.
    pub reason: String,
}

const COLUMNS: &str = "tenant_id, id, state, options, mapping, chunks, size, position, rows_read, created, updated, skipped, failed, duplicates, problem,
    created_at, started_at, finished_at, purged_at";

fn read(mut row: Row) -> Result<Import, Error> {
    let row = &mut row;
    Ok(Import {
        tenant_id: row.get(0)?,
        id: row.get(1)?,
        state: row.get(2)?,
        options: row.get(3)?,
        mapping: row.get(4)?,
        chunks: row.get(5)?,
        size: row.get(6)?,
        position: row.get(7)?,
        counts: Counts {
            rows_read: row.get(8)?,
            created: row.get(9)?,
            updated: row.get(10)?,
            skipped: row.get(11)?,
            failed: row.get(12)?,
            duplicates: row.get(13)?,
        },
        problem: row.get(14)?,
        created_at: row.get(15)?,
        started_at: row.get(16)?,
        finished_at: row.get(17)?,
        purged_at: row.get(18)?,
    })
}

/// Adds an import.
pub async fn insert(tx: &mut Tx, import: &Import) -> Result<(), Error> {
    let i = import;
    let sql = format!(
        "INSERT INTO contact_imports ({COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)"
    );
    let params: [&dyn crate::Param; 19] = [
        &i.tenant_id,
        &i.id,
        &i.state,
        &i.options,
        &i.mapping,
        &i.chunks,
        &i.size,
        &i.position,
        &i.counts.rows_read,
        &i.counts.created,
        &i.counts.updated,
        &i.counts.skipped,
        &i.counts.failed,
        &i.counts.duplicates,
        &i.problem,
        &i.created_at,
        &i.started_at,
        &i.finished_at,
        &i.purged_at,
    ];
    tx.execute(&sql, &params).await.map(drop)
}

/// Writes an import on, if it is still in the state and at the position it was read at. `false` when it is not: somebody else was first.
pub async fn advance(tx: &mut Tx, before: &Import, after: &Import) -> Result<bool, Error> {
    let a = after;
    let sql = "UPDATE contact_imports SET state = $1, options = $2, mapping = $3, chunks = $4, size = $5, position = $6, rows_read = $7, created = $8, updated = $9,
         skipped = $10, failed = $11, duplicates = $12, problem = $13, started_at = $14, finished_at = $15, purged_at = $16
         WHERE tenant_id = $17 AND id = $18 AND state = $19 AND position = $20 AND chunks = $21";
    let params: [&dyn crate::Param; 21] = [
        &a.state,
        &a.options,
        &a.mapping,
        &a.chunks,
        &a.size,
        &a.position,
        &a.counts.rows_read,
        &a.counts.created,
        &a.counts.updated,
        &a.counts.skipped,
        &a.counts.failed,
        &a.counts.duplicates,
        &a.problem,
        &a.started_at,
        &a.finished_at,
        &a.purged_at,
        &before.tenant_id,
        &before.id,
        &before.state,
        &before.position,
        &before.chunks,
    ];
    Ok(tx.execute(sql, &params).await? == 1)
}

/// One of the tenant's imports.
pub async fn find(tx: &mut Tx, tenant: TenantId, id: ImportId) -> Result<Option<Import>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM contact_imports WHERE tenant_id = $1 AND id = $2");
    tx.row(&sql, &[&tenant, &id]).await?.map(read).transpose()
}

/// The tenant's imports that were received whole, newest first, begun before `before`.
pub async fn list(tx: &mut Tx, tenant: TenantId, before: ImportId, limit: i64) -> Result<Vec<Import>, Error> {
    let sql = format!(
        "SELECT {COLUMNS} FROM contact_imports WHERE tenant_id = $1 AND id < $2 AND state <> 'receiving' ORDER BY id DESC LIMIT $3"
    );
    tx.rows(&sql, &[&tenant, &before, &limit]).await?.into_iter().map(read).collect()
}

/// How many of the tenant's imports are not finished.
pub async fn count_open(tx: &mut Tx, tenant: TenantId) -> Result<i64, Error> {
    let sql = "SELECT COUNT(*) FROM contact_imports WHERE tenant_id = $1 AND finished_at IS NULL";
    tx.row(sql, &[&tenant]).await?.map_or(Ok(0), |mut row| row.get(0))
}

/// Imports of any tenants that are not finished, oldest first, after `after`.
pub async fn open(tx: &mut Tx, after: ImportId, limit: i64) -> Result<Vec<Import>, Error> {
    let sql =
        format!("SELECT {COLUMNS} FROM contact_imports WHERE finished_at IS NULL AND id > $1 ORDER BY id LIMIT $2");
    tx.rows(&sql, &[&after, &limit]).await?.into_iter().map(read).collect()
}

/// Finished imports of any tenants whose file is still there.
pub async fn unpurged(tx: &mut Tx, limit: i64) -> Result<Vec<Import>, Error> {
    let sql = format!(
        "SELECT {COLUMNS} FROM contact_imports WHERE purged_at IS NULL AND finished_at IS NOT NULL ORDER BY finished_at LIMIT $1"
    );
    tx.rows(&sql, &[&limit]).await?.into_iter().map(read).collect()
}

/// Ends all the tenant's imports that are under way, and answers how many have files left.
pub async fn stop_all(tx: &mut Tx, tenant: TenantId, now: Timestamp) -> Result<i64, Error> {
    let sql =
        "UPDATE contact_imports SET state = 'canceled', finished_at = $1 WHERE tenant_id = $2 AND finished_at IS NULL";
    tx.execute(sql, &[&now, &tenant]).await?;
    let sql = "SELECT COUNT(*) FROM contact_imports WHERE tenant_id = $1 AND purged_at IS NULL";
    tx.row(sql, &[&tenant]).await?.map_or(Ok(0), |mut row| row.get(0))
}

/// Removes an import that was not received whole, or that repeats another.
pub async fn remove(tx: &mut Tx, tenant: TenantId, id: ImportId) -> Result<(), Error> {
    tx.execute("DELETE FROM contact_imports WHERE tenant_id = $1 AND id = $2", &[&tenant, &id]).await.map(drop)
}

/// Notes what is wrong with rows.
pub async fn add_errors(tx: &mut Tx, tenant: TenantId, import: ImportId, errors: &[RowError]) -> Result<u64, Error> {
    let mut given = Given::new(&[
        ("tenant_id", Kind::Id),
        ("import_id", Kind::Id),
        ("row_number", Kind::Int),
        ("place", Kind::Int),
        ("column_name", Kind::Text),
        ("reason", Kind::Text),
    ]);
    for error in errors {
        given.row([&tenant, &import, &error.row_number, &error.place, &error.column, &error.reason]);
    }
    tx.insert_many("contact_import_errors", &given, "ON CONFLICT DO NOTHING").await
}

/// What is wrong with an import's rows, in their order.
pub async fn errors(tx: &mut Tx, tenant: TenantId, import: ImportId, limit: i64) -> Result<Vec<RowError>, Error> {
    let sql = "SELECT row_number, place, column_name, reason FROM contact_import_errors WHERE tenant_id = $1 AND import_id = $2
         ORDER BY row_number, place LIMIT $3";
    let rows = tx.rows(sql, &[&tenant, &import, &limit]).await?;
    rows.into_iter()
        .map(|mut row| {
            Ok(RowError { row_number: row.get(0)?, place: row.get(1)?, column: row.get(2)?, reason: row.get(3)? })
        })
        .collect()
}

/// How many errors are kept of an import.
pub async fn count_errors(tx: &mut Tx, tenant: TenantId, import: ImportId) -> Result<u64, Error> {
    let sql = "SELECT COUNT(*) FROM contact_import_errors WHERE tenant_id = $1 AND import_id = $2";
    tx.row(sql, &[&tenant, &import]).await?.map_or(Ok(0), |mut row| row.get(0))
}
