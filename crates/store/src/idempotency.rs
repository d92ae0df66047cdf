//! Idempotency keys: what a POST answered, kept in the transaction of its effect so that a repeated request gets the same answer.
//!
//! A row older than a day counts as gone; whoever meets one removes it ([`remove`]) before writing its own, and [`purge`] removes the others.

use model::{TenantId, Timestamp};

use crate::{Error, Given, Kind, Row, Tx};

/// A row of `idempotency_keys`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// Whose; the operator's are kept under the zero id.
    pub tenant: TenantId,
    /// The key the client chose.
    pub key: String,
    /// Hash of the request it was first used with.
    pub fingerprint: Vec<u8>,
    /// HTTP status that was answered.
    pub status: u32,
    /// The body that was answered, sealed when [`Answered::data_key_id`] says so.
    pub body: Vec<u8>,
    /// Which data key sealed the body; `None` when it is plain.
    pub data_key_id: Option<i64>,
    /// When.
    pub created_at: Timestamp,
}

const COLUMNS: &str = "tenant_id, key, fingerprint, status, body, data_key_id, created_at";

fn read(mut row: Row) -> Result<Answered, Error> {
    Ok(Answered {
        tenant: row.get(0)?,
        key: row.get(1)?,
        fingerprint: row.get(2)?,
        status: row.get(3)?,
        body: row.get(4)?,
        data_key_id: row.get(5)?,
        created_at: row.get(6)?,
    })
}

/// What was answered under a key, however long ago.
pub async fn find(tx: &mut Tx, tenant: TenantId, key: &str) -> Result<Option<Answered>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM idempotency_keys WHERE tenant_id = $1 AND key = $2");
    tx.row(&sql, &[&tenant, &key]).await?.map(read).transpose()
}

/// What was answered under these keys of any tenants, however long ago and in no particular order. For requests that are accepted together.
pub async fn find_many(tx: &mut Tx, keys: &[(TenantId, &str)]) -> Result<Vec<Answered>, Error> {
    let mut given = Given::new(&[("tenant_id", Kind::Id), ("key", Kind::Text)]);
    for (tenant, key) in keys {
        given.row([tenant, key]);
    }
    let sql = format!("SELECT {COLUMNS} FROM idempotency_keys");
    tx.match_many(&sql, &given, "").await?.into_iter().map(read).collect()
}

/// Adds rows whose keys are free and answers how many. Fewer than given: another request was first with one of the keys, so the caller rolls
/// back and reads what that one answered. On PostgreSQL this waits for a transaction that is writing one of the keys.
pub async fn insert_many(tx: &mut Tx, answered: &[Answered]) -> Result<u64, Error> {
    let mut given = Given::new(&[
        ("tenant_id", Kind::Id),
        ("key", Kind::Text),
        ("fingerprint", Kind::Bytes),
        ("status", Kind::Int),
        ("body", Kind::Bytes),
        ("data_key_id", Kind::Int),
        ("created_at", Kind::Time),
    ]);
    for a in answered {
        given.row([&a.tenant, &a.key, &a.fingerprint, &a.status, &a.body, &a.data_key_id, &a.created_at]);
    }
    tx.insert_many("idempotency_keys", &given, "ON CONFLICT (tenant_id, key) DO NOTHING").await
}

/// Removes a key that was found to be too old, if it still is the row that was found.
pub async fn remove(tx: &mut Tx, old: &Answered) -> Result<(), Error> {
    let sql = "DELETE FROM idempotency_keys WHERE tenant_id = $1 AND key = $2 AND created_at = $3";
    tx.execute(sql, &[&old.tenant, &old.key, &old.created_at]).await.map(drop)
}

/// What one [`purge`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purged {
    /// Rows removed.
    pub removed: u64,
    /// Where the next page begins; `None` when the table's end was reached.
    pub next: Option<(TenantId, String)>,
}

/// Removes the rows older than `before` among the next `page` rows after `after`, in the order of the primary key. Across tenants: for the cleaner.
pub async fn purge(tx: &mut Tx, after: &(TenantId, String), before: Timestamp, page: i64) -> Result<Purged, Error> {
    let last = tx
        .row(
            "SELECT tenant_id, key FROM idempotency_keys WHERE (tenant_id, key) > ($1, $2) ORDER BY tenant_id, key LIMIT 1 OFFSET $3",
            &[&after.0, &after.1, &(page - 1)],
        )
        .await?;
    let Some(mut last) = last else {
        let sql = "DELETE FROM idempotency_keys WHERE (tenant_id, key) > ($1, $2) AND created_at < $3";
        return Ok(Purged { removed: tx.execute(sql, &[&after.0, &after.1, &before]).await?, next: None });
    };
    let next: (TenantId, String) = (last.get(0)?, last.get(1)?);
    let sql = "DELETE FROM idempotency_keys WHERE (tenant_id, key) > ($1, $2) AND (tenant_id, key) <= ($3, $4) AND created_at < $5";
    let removed = tx.execute(sql, &[&after.0, &after.1, &next.0, &next.1, &before]).await?;
    Ok(Purged { removed, next: Some(next) })
}
