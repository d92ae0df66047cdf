//! What the planner knows about the tables.
//!
//! PostgreSQL keeps the plan of a prepared statement until the tables it reads are analysed. Autovacuum looks once a minute; in that minute a table that was empty when its
//! statements were first planned is read whole, or along the wrong index, for every lookup. So a table that grew much is analysed at once.
//!
//! SQLite plans by the schema alone as long as nobody analyses. It then takes a tenant to have ten rows, and reads all its messages in order rather than those of an address by
//! their index. So it is told once what large tables look like; its plans stay the same whatever is in them.

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

/// What SQLite is told: a table, an index of it (the table's own name for its key), and the rows it has followed by the rows that share the first column, the first two and so on.
const SHAPES: [[&str; 3]; 12] = [
    ["inbound_messages", "inbound_messages", "1000000 100000 1"],
    ["inbound_messages", "inbound_messages_address", "1000000 100000 4 1"],
    ["inbound_messages", "inbound_messages_contact", "1000000 100000 4 1"],
    ["inbound_messages", "inbound_messages_provider", "1000000 100000 1"],
    ["messages", "messages", "1000000 100000 1"],
    ["messages", "messages_address", "1000000 100000 4 1"],
    ["messages", "messages_campaign", "1000000 100000 10000 1"],
    ["messages", "messages_contact", "1000000 100000 4 1"],
    ["messages", "messages_dead", "10000 1000 1"],
    ["messages", "messages_poll", "10000 1"],
    ["messages", "messages_provider", "1000000 100000 1"],
    ["messages", "messages_trouble", "100000 10000 2000 1"],
];

/// Tells SQLite what large tables look like, unless it knows. Nothing on PostgreSQL.
pub(crate) async fn tell(tx: &mut Tx) -> Result<(), Error> {
    if tx.dialect() != Dialect::Sqlite {
        return Ok(());
    }
    let is_there = "SELECT COUNT(*) FROM sqlite_schema WHERE name = 'sqlite_stat1'";
    if tx.row(is_there, &[]).await?.map_or(Ok(0), |mut row| row.get::<i64>(0))? > 0 {
        let known = tx.rows("SELECT tbl, idx, stat FROM sqlite_stat1 ORDER BY tbl, idx", &[]).await?;
        let known = known.into_iter().map(|mut row| Ok([row.get(0)?, row.get(1)?, row.get(2)?]));
        if known.collect::<Result<Vec<[String; 3]>, Error>>()? == SHAPES {
            return Ok(());
        }
        tx.script("DROP TABLE sqlite_stat1;").await?;
    }
    // Analysing any table makes the one that holds what is known; that it is made anew tells every connection to read it.
    let mut script = "ANALYZE migrations; DELETE FROM sqlite_stat1;\n".to_owned();
    for [table, index, stat] in SHAPES {
        script
            .push_str(&format!("INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES ('{table}', '{index}', '{stat}');\n"));
    }
    tx.script(&script).await
}
