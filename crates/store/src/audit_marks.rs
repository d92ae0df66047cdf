//! How far each audit log had come when it was last looked at, and the register of all of them. The engine makes what stands here, and what it means: see `engine::audit::seals`.

use model::{TenantId, Timestamp};

use crate::{Error, Row, Tx};

/// A row of `audit_marks`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// Whose log; the operator's own is kept under the zero id. The mark of a deleted tenant stays.
    pub owner: TenantId,
    /// How many entries the chain had; 0 for a log without a chain.
    pub number: i64,
    /// The hash of the last of them.
    pub hash: Vec<u8>,
    /// When.
    pub at: Timestamp,
    /// Entries up to this number have no seal of their own: they are from before there were seals.
    pub unsealed: i64,
    /// Entries outside of the chain: from before there was one.
    pub loose: i64,
    /// Covers those, but for what they say of people.
    pub loose_hash: Vec<u8>,
    /// Covers all this with the installation's key.
    pub seal: Vec<u8>,
}

/// The row of `audit_register`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Register {
    /// The key of all seals, itself sealed.
    pub key: Vec<u8>,
    /// By which master key.
    pub master_key_id: String,
    /// Since when every log has its mark; `None` until then.
    pub begun_at: Option<Timestamp>,
    /// When a mark was last made.
    pub marked_at: Option<Timestamp>,
    /// Covers the seals of all marks with the installation's key.
    pub seal: Vec<u8>,
}

/// The register, to look at.
pub async fn register(tx: &mut Tx) -> Result<Option<Register>, Error> {
    register_with(tx, "").await
}

/// The register, held until the transaction ends, so that one at a time makes marks.
pub async fn lock_register(tx: &mut Tx) -> Result<Option<Register>, Error> {
    let lock = tx.dialect().for_update();
    register_with(tx, lock).await
}

async fn register_with(tx: &mut Tx, lock: &str) -> Result<Option<Register>, Error> {
    let sql = format!("SELECT key, master_key_id, begun_at, marked_at, seal FROM audit_register WHERE id = 1 {lock}");
    let read = |mut row: Row| {
        Ok(Register {
            key: row.get(0)?,
            master_key_id: row.get(1)?,
            begun_at: row.get(2)?,
            marked_at: row.get(3)?,
            seal: row.get(4)?,
        })
    };
    tx.row(&sql, &[]).await?.map(read).transpose()
}

/// Writes the register's key unless it has one. Of two nodes that do so at once, one wins.
pub async fn make_register(tx: &mut Tx, key: &[u8], master_key_id: &str) -> Result<(), Error> {
    let sql =
        "INSERT INTO audit_register (id, key, master_key_id, seal) VALUES (1, $1, $2, $3) ON CONFLICT (id) DO NOTHING";
    tx.execute(sql, &[&key, &master_key_id, &Vec::<u8>::new()]).await.map(drop)
}

/// Writes the newly sealed form of the register's key. The caller holds it.
pub async fn reseal(tx: &mut Tx, key: &[u8], master_key_id: &str) -> Result<(), Error> {
    let sql = "UPDATE audit_register SET key = $1, master_key_id = $2 WHERE id = 1";
    tx.execute(sql, &[&key, &master_key_id]).await.map(drop)
}

/// Writes how far the register has come. The caller holds it.
pub async fn put_register(tx: &mut Tx, register: &Register) -> Result<(), Error> {
    let sql = "UPDATE audit_register SET begun_at = $1, marked_at = $2, seal = $3 WHERE id = 1";
    tx.execute(sql, &[&register.begun_at, &register.marked_at, &register.seal]).await.map(drop)
}

const COLUMNS: &str = "owner_id, number, hash, at, unsealed, loose, loose_hash, seal";

/// Up to `limit` marks from the owner `from` on, in their order.
pub async fn page(tx: &mut Tx, from: TenantId, limit: i64) -> Result<Vec<Mark>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM audit_marks WHERE owner_id >= $1 ORDER BY owner_id LIMIT $2");
    tx.rows(&sql, &[&from, &limit]).await?.into_iter().map(read).collect()
}

/// The seals of all marks, in the order of their owners.
pub async fn seals(tx: &mut Tx) -> Result<Vec<Vec<u8>>, Error> {
    let rows = tx.rows("SELECT seal FROM audit_marks ORDER BY owner_id", &[]).await?;
    rows.into_iter().map(|mut row| row.get(0)).collect()
}

/// One owner's mark.
pub async fn find(tx: &mut Tx, owner: TenantId) -> Result<Option<Mark>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM audit_marks WHERE owner_id = $1");
    tx.row(&sql, &[&owner]).await?.map(read).transpose()
}

fn read(mut row: Row) -> Result<Mark, Error> {
    Ok(Mark {
        owner: row.get(0)?,
        number: row.get(1)?,
        hash: row.get(2)?,
        at: row.get(3)?,
        unsealed: row.get(4)?,
        loose: row.get(5)?,
        loose_hash: row.get(6)?,
        seal: row.get(7)?,
    })
}

/// Writes a mark in place of the one before.
pub async fn put(tx: &mut Tx, mark: &Mark) -> Result<(), Error> {
    let sql = format!(
        "INSERT INTO audit_marks ({COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
         ON CONFLICT (owner_id) DO UPDATE SET number = excluded.number, hash = excluded.hash, at = excluded.at, unsealed = excluded.unsealed,
         loose = excluded.loose, loose_hash = excluded.loose_hash, seal = excluded.seal"
    );
    tx.execute(
        &sql,
        &[&mark.owner, &mark.number, &mark.hash, &mark.at, &mark.unsealed, &mark.loose, &mark.loose_hash, &mark.seal],
    )
    .await
    .map(drop)
}

/// Up to `limit` owners from `from` on whose log has gone on since its mark, or has none, in their order.
pub async fn behind(tx: &mut Tx, from: TenantId, limit: i64) -> Result<Vec<TenantId>, Error> {
    let sql = "SELECT h.tenant_id FROM audit_heads AS h LEFT JOIN audit_marks AS m ON m.owner_id = h.tenant_id
        WHERE h.tenant_id >= $1 AND (m.owner_id IS NULL OR m.number < h.number) ORDER BY h.tenant_id LIMIT $2";
    tx.rows(sql, &[&from, &limit]).await?.into_iter().map(|mut row| row.get(0)).collect()
}

/// Up to `limit` owners from `from` on of logs, with or without a chain, that have no mark, in their order. Looks through all entries: for the first marks.
pub async fn without(tx: &mut Tx, from: TenantId, limit: i64) -> Result<Vec<TenantId>, Error> {
    let sql = "SELECT tenant_id FROM (SELECT tenant_id FROM audit_log UNION SELECT tenant_id FROM audit_heads) AS owners
        WHERE tenant_id >= $1 AND NOT EXISTS (SELECT 1 FROM audit_marks WHERE owner_id = tenant_id) ORDER BY tenant_id LIMIT $2";
    tx.rows(sql, &[&from, &limit]).await?.into_iter().map(|mut row| row.get(0)).collect()
}
