//! What the planner knows about the tables.
//!
//! PostgreSQL keeps the plan of a prepared statement until the tables it reads are analysed. Autovacuum looks once a minute; in that minute a table that was empty when its
//! statements were first planned is read whole, or along the wrong index, for every lookup. So a table that grew much is analysed at once. On SQLite nothing is to be
//! done: its plans follow from the schema.

use crate::{Dialect, Error, Tx};

/// Rows that must have changed since the last look before a small table is worth another.
const CHANGED_MIN: i64 = 100;
/// Tables analysed in one go.
const AT_ONCE: i64 = 8;

/// Analyses the tables that changed by more than half since they were last looked at. Answers their names.
///
/// Two nodes at the same time do the same once: the one that comes second finds it being done and leaves.
pub async fn refresh(tx: &mut Tx) -> Result<Vec<String>, Error> {
    if tx.dialect() == Dialect::Sqlite {
        return Ok(Vec::new());
    }
    let lock = "SELECT pg_try_advisory_xact_lock(hashtextextended('tidings.statistics', 0))";
    let is_ours: bool = match tx.row(lock, &[]).await? {
        Some(mut row) => row.get(0)?,
        None => false,
    };
    if !is_ours {
        return Ok(Vec::new());
    }
    let changed = "SELECT quote_ident(relname) FROM pg_stat_user_tables
        WHERE schemaname = current_schema() AND n_mod_since_analyze > $1 AND n_mod_since_analyze > n_live_tup / 2
        ORDER BY n_mod_since_analyze DESC LIMIT $2";
    let rows = tx.rows(changed, &[&CHANGED_MIN, &AT_ONCE]).await?;
    let tables = rows.into_iter().map(|mut row| row.get(0)).collect::<Result<Vec<String>, _>>()?;
    for table in &tables {
        tx.script(&format!("ANALYZE {table}")).await?;
    }
    Ok(tables)
}
