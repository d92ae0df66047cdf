//! Attachments: what is known of each stored file. The bytes lie in the blob store, once for all rows with the same SHA-256, of any tenant.
//!
//! A row is inserted before its bytes are needed and outlives them never: bytes are removed only while no other row names them, and while they are being removed
//! no row can begin to name them ([`lock_bytes`] puts both under one lock).

use model::{AttachmentId, TenantId, Timestamp};

use crate::{Dialect, Error, Given, Kind, Row, Tx};

/// A row of `attachments`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// Whose.
    pub tenant_id: TenantId,
    /// Which.
    pub id: AttachmentId,
    /// Its name.
    pub filename: String,
    /// Its media type.
    pub content_type: String,
    /// Size in bytes.
    pub size: u64,
    /// SHA-256 of the bytes in lower-case hex.
    pub sha256: String,
    /// When it was stored.
    pub created_at: Timestamp,
    /// The bytes are kept until then at least, because messages may need them.
    pub held_until: Timestamp,
    /// When it may be removed; `None` for an uploaded file that was not deleted.
    pub purge_at: Option<Timestamp>,
    /// When the tenant deleted it.
    pub deleted_at: Option<Timestamp>,
}

const COLUMNS: &str =
    "tenant_id, id, filename, content_type, size, sha256, created_at, held_until, purge_at, deleted_at";

fn read(mut row: Row) -> Result<Attachment, Error> {
    let row = &mut row;
    Ok(Attachment {
        tenant_id: row.get(0)?,
        id: row.get(1)?,
        filename: row.get(2)?,
        content_type: row.get(3)?,
        size: row.get(4)?,
        sha256: row.get(5)?,
        created_at: row.get(6)?,
        held_until: row.get(7)?,
        purge_at: row.get(8)?,
        deleted_at: row.get(9)?,
    })
}

/// Keeps others from adding rows for these bytes, and from removing the bytes, until the transaction ends. `true` when they are being removed now: then
/// no row may be added. Across tenants: the same bytes may be everybody's.
pub async fn lock_bytes(tx: &mut Tx, sha256: &str) -> Result<bool, Error> {
    /// Keeps this lock apart from others of the same number: "atta" in ASCII.
    const SPACE: &str = "1635021921";
    if tx.dialect() == Dialect::Postgres {
        tx.execute(&format!("SELECT pg_advisory_xact_lock({SPACE}, hashtext($1))"), &[&sha256]).await?;
    }
    let sql = "SELECT 1 FROM attachments WHERE sha256 = $1 AND purging_at IS NOT NULL LIMIT 1";
    Ok(tx.row(sql, &[&sha256]).await?.is_some())
}

/// Adds a row, under the lock of [`lock_bytes`].
pub async fn insert(tx: &mut Tx, attachment: &Attachment) -> Result<(), Error> {
    let sql = format!("INSERT INTO attachments ({COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)");
    let a = attachment;
    let params: [&dyn crate::Param; 10] = [
        &a.tenant_id,
        &a.id,
        &a.filename,
        &a.content_type,
        &a.size,
        &a.sha256,
        &a.created_at,
        &a.held_until,
        &a.purge_at,
        &a.deleted_at,
    ];
    tx.execute(&sql, &params).await.map(drop)
}

/// One of the tenant's files, unless it was deleted or is being removed.
pub async fn find(tx: &mut Tx, tenant: TenantId, id: AttachmentId) -> Result<Option<Attachment>, Error> {
    let sql = format!(
        "SELECT {COLUMNS} FROM attachments WHERE tenant_id = $1 AND id = $2 AND deleted_at IS NULL AND purging_at IS NULL"
    );
    tx.row(&sql, &[&tenant, &id]).await?.map(read).transpose()
}

/// Several of the tenant's files, in no particular order; those that were deleted or are being removed are left out.
pub async fn find_many(tx: &mut Tx, tenant: TenantId, ids: &[AttachmentId]) -> Result<Vec<Attachment>, Error> {
    let mut given = Given::new(&[("tenant_id", Kind::Id), ("id", Kind::Id)]);
    for id in ids {
        given.row([&tenant, id]);
    }
    let sql = format!("SELECT {COLUMNS} FROM attachments");
    let rows = tx.match_many(&sql, &given, "AND deleted_at IS NULL AND purging_at IS NULL").await?;
    rows.into_iter().map(read).collect()
}

/// Several of the tenant's files, in no particular order, also those it deleted while their bytes are still held for messages.
pub async fn find_held(tx: &mut Tx, tenant: TenantId, ids: &[AttachmentId]) -> Result<Vec<Attachment>, Error> {
    let mut given = Given::new(&[("tenant_id", Kind::Id), ("id", Kind::Id)]);
    for id in ids {
        given.row([&tenant, id]);
    }
    let rows = tx.match_many(&format!("SELECT {COLUMNS} FROM attachments"), &given, "AND purging_at IS NULL").await?;
    rows.into_iter().map(read).collect()
}

/// A file of the tenant's with these bytes, this name and this type, unless it was deleted or is being removed.
pub async fn find_same(
    tx: &mut Tx,
    tenant: TenantId,
    sha256: &str,
    filename: &str,
    content_type: &str,
) -> Result<Option<Attachment>, Error> {
    let sql = format!(
        "SELECT {COLUMNS} FROM attachments WHERE sha256 = $1 AND tenant_id = $2 AND filename = $3 AND content_type = $4
         AND deleted_at IS NULL AND purging_at IS NULL ORDER BY id LIMIT 1"
    );
    tx.row(&sql, &[&sha256, &tenant, &filename, &content_type]).await?.map(read).transpose()
}

/// Keeps a file's bytes until `until` at least. `false` when it was deleted, or is being removed.
pub async fn hold(tx: &mut Tx, tenant: TenantId, id: AttachmentId, until: Timestamp) -> Result<bool, Error> {
    let sql = "UPDATE attachments SET held_until = CASE WHEN held_until < $1 THEN $1 ELSE held_until END,
         purge_at = CASE WHEN purge_at < $1 THEN $1 ELSE purge_at END
         WHERE tenant_id = $2 AND id = $3 AND deleted_at IS NULL AND purging_at IS NULL";
    Ok(tx.execute(sql, &[&until, &tenant, &id]).await? == 1)
}

/// Takes files away from their tenant together with what held them: the bytes go as soon as nobody else has the same.
pub async fn release(tx: &mut Tx, tenant: TenantId, ids: &[AttachmentId], now: Timestamp) -> Result<(), Error> {
    for id in ids {
        let sql = "UPDATE attachments SET deleted_at = $1, held_until = $1, purge_at = $1
             WHERE tenant_id = $2 AND id = $3 AND purging_at IS NULL";
        tx.execute(sql, &[&now, &tenant, id]).await?;
    }
    Ok(())
}

/// Takes a file away from its tenant; the bytes stay as long as they are held. `false` when there was none.
pub async fn delete(tx: &mut Tx, tenant: TenantId, id: AttachmentId, now: Timestamp) -> Result<bool, Error> {
    let sql = "UPDATE attachments SET deleted_at = $1, purge_at = held_until
         WHERE tenant_id = $2 AND id = $3 AND deleted_at IS NULL AND purging_at IS NULL";
    Ok(tx.execute(sql, &[&now, &tenant, &id]).await? == 1)
}

/// Lets go of all the tenant's files, held or not: their bytes are removed as those of any file that is due. Answers how many are still there.
pub async fn let_go(tx: &mut Tx, tenant: TenantId, now: Timestamp) -> Result<i64, Error> {
    let sql = "UPDATE attachments SET deleted_at = $1, purge_at = $1 WHERE tenant_id = $2 AND (purge_at IS NULL OR purge_at > $1)";
    tx.execute(sql, &[&now, &tenant]).await?;
    let count = tx.row("SELECT COUNT(*) FROM attachments WHERE tenant_id = $1", &[&tenant]).await?;
    count.map_or(Ok(0), |mut row| row.get(0))
}

/// The tenant's uploaded files that were not deleted, newest first, made before `before`.
pub async fn list(tx: &mut Tx, tenant: TenantId, before: AttachmentId, limit: i64) -> Result<Vec<Attachment>, Error> {
    let sql = format!(
        "SELECT {COLUMNS} FROM attachments WHERE tenant_id = $1 AND id < $2 AND purge_at IS NULL ORDER BY id DESC LIMIT $3"
    );
    tx.rows(&sql, &[&tenant, &before, &limit]).await?.into_iter().map(read).collect()
}

/// How many uploaded files the tenant has that were not deleted, and their bytes in all.
pub async fn stored(tx: &mut Tx, tenant: TenantId) -> Result<(u64, u64), Error> {
    let sql = "SELECT COUNT(*), CAST(COALESCE(SUM(size), 0) AS BIGINT) FROM attachments WHERE tenant_id = $1 AND purge_at IS NULL";
    match tx.row(sql, &[&tenant]).await? {
        Some(mut row) => Ok((row.get(0)?, row.get(1)?)),
        None => Ok((0, 0)),
    }
}

/// Files of any tenants that may be removed now, and those whose removal began before `begun_before` and never ended.
pub async fn due(tx: &mut Tx, now: Timestamp, begun_before: Timestamp, limit: i64) -> Result<Vec<Attachment>, Error> {
    let sql = format!(
        "SELECT {COLUMNS} FROM attachments WHERE purge_at IS NOT NULL AND purge_at <= $1 AND (purging_at IS NULL OR purging_at < $2)
         ORDER BY purge_at LIMIT $3"
    );
    tx.rows(&sql, &[&now, &begun_before, &limit]).await?.into_iter().map(read).collect()
}

/// What is left to do about a file that is being removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// Nothing: it is held again, another node is at it, or only its row went because other rows name the same bytes.
    Done,
    /// Its bytes go now; then [`end_removal`].
    Bytes,
}

/// Begins to remove a file that was [`due`].
pub async fn begin_removal(
    tx: &mut Tx,
    file: &Attachment,
    now: Timestamp,
    begun_before: Timestamp,
) -> Result<Removal, Error> {
    lock_bytes(tx, &file.sha256).await?;
    let others = "SELECT 1 FROM attachments WHERE sha256 = $1 AND NOT (tenant_id = $2 AND id = $3) LIMIT 1";
    let is_shared = tx.row(others, &[&file.sha256, &file.tenant_id, &file.id]).await?.is_some();
    let still_due = "tenant_id = $1 AND id = $2 AND purge_at <= $3";
    if is_shared {
        // One that is being removed has its bytes to itself, so this row is not.
        let sql = format!("DELETE FROM attachments WHERE {still_due} AND purging_at IS NULL");
        tx.execute(&sql, &[&file.tenant_id, &file.id, &now]).await?;
        return Ok(Removal::Done);
    }
    let sql =
        format!("UPDATE attachments SET purging_at = $3 WHERE {still_due} AND (purging_at IS NULL OR purging_at < $4)");
    let begun = tx.execute(&sql, &[&file.tenant_id, &file.id, &now, &begun_before]).await?;
    Ok(if begun == 1 { Removal::Bytes } else { Removal::Done })
}

/// Removes the row of a file whose bytes are gone.
pub async fn end_removal(tx: &mut Tx, file: &Attachment) -> Result<(), Error> {
    let sql = "DELETE FROM attachments WHERE tenant_id = $1 AND id = $2 AND purging_at IS NOT NULL";
    tx.execute(sql, &[&file.tenant_id, &file.id]).await.map(drop)
}
