//! Messages of removed tenants, as far as they are still to be known among a provider's records: by marks the engine makes of what the provider called them. Of no tenant.

use model::{TenantId, Timestamp};

use crate::{Error, Given, Kind, Row, Tx};

/// A message, or a way one left, that a provider may have a record of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// Through which connector; `None` before it had one.
    pub connector: Option<String>,
    /// What the provider called it.
    pub provider_message_id: Option<String>,
    /// When it was sent; `None` when it was not.
    pub sent_at: Option<Timestamp>,
}

fn read(mut row: Row) -> Result<Sent, Error> {
    Ok(Sent { connector: row.get(0)?, provider_message_id: row.get(1)?, sent_at: row.get(2)? })
}

/// The tables a provider's ids stand in, and the keys of their rows within a tenant.
const TABLES: [(&str, &str); 2] = [("messages", "id"), ("former_routes", "message_id, position")];

/// Whether a table holds what a provider may have records of, so that it is emptied by [`remove`].
pub fn is_sent(table: &str) -> bool {
    TABLES.iter().any(|(known, _)| *known == table)
}

/// Removes up to `limit` of a tenant's rows from one of these tables and answers what they were. Fewer than `limit`: nothing is left there.
pub async fn remove(tx: &mut Tx, tenant: TenantId, table: &str, limit: i64) -> Result<Vec<Sent>, Error> {
    let Some((table, key)) = TABLES.iter().find(|(known, _)| *known == table) else { return Ok(Vec::new()) };
    let sql = format!(
        "DELETE FROM {table} WHERE tenant_id = $1 AND ({key}) IN (SELECT {key} FROM {table} WHERE tenant_id = $1 ORDER BY {key} LIMIT $2)
         RETURNING connector, provider_message_id, sent_at"
    );
    tx.rows(&sql, &[&tenant, &limit]).await?.into_iter().map(read).collect()
}

/// Keeps marks, with when what they stand for was sent. One that is there stays as it is.
pub async fn keep(tx: &mut Tx, marks: &[(Vec<u8>, Timestamp)]) -> Result<(), Error> {
    let mut given = Given::new(&[("mark", Kind::Bytes), ("sent_at", Kind::Time)]);
    for (mark, sent_at) in marks {
        given.row([mark, sent_at]);
    }
    tx.insert_many("removed_messages", &given, "ON CONFLICT (mark) DO NOTHING").await.map(drop)
}

/// Which of these marks are kept.
pub async fn known(tx: &mut Tx, marks: &[Vec<u8>]) -> Result<Vec<Vec<u8>>, Error> {
    let mut given = Given::new(&[("mark", Kind::Bytes)]);
    for mark in marks {
        given.row([mark]);
    }
    let rows = tx.match_many("SELECT mark FROM removed_messages", &given, "").await?;
    rows.into_iter().map(|mut row| row.get(0)).collect()
}

/// Forgets up to `limit` marks of what was sent before `before`. Answers how many.
pub async fn forget(tx: &mut Tx, before: Timestamp, limit: i64) -> Result<u64, Error> {
    let sql = "DELETE FROM removed_messages WHERE mark IN (SELECT mark FROM removed_messages WHERE sent_at < $1 ORDER BY sent_at LIMIT $2)";
    tx.execute(sql, &[&before, &limit]).await
}
