//! Small facts about this installation by name: what was done once and must not be done again.

use crate::{Error, Tx};

/// Writes a fact unless it is there already; `true` when this call wrote it. Of two nodes that start at once, one wins.
pub async fn claim(tx: &mut Tx, name: &str, value: &str) -> Result<bool, Error> {
    let sql = "INSERT INTO installation (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING";
    Ok(tx.execute(sql, &[&name, &value]).await? == 1)
}

/// Reads a fact.
pub async fn find(tx: &mut Tx, name: &str) -> Result<Option<String>, Error> {
    tx.row("SELECT value FROM installation WHERE name = $1", &[&name]).await?.map(|mut row| row.get(0)).transpose()
}

/// Writes a fact, whatever was there before.
pub async fn put(tx: &mut Tx, name: &str, value: &str) -> Result<(), Error> {
    let sql = "INSERT INTO installation (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value";
    tx.execute(sql, &[&name, &value]).await.map(drop)
}

/// Writes a fact in place of `from`; `false` when it is another one by now. Of two nodes that do so at once, one wins.
pub async fn replace(tx: &mut Tx, name: &str, from: &str, to: &str) -> Result<bool, Error> {
    let sql = "UPDATE installation SET value = $3 WHERE name = $1 AND value = $2";
    Ok(tx.execute(sql, &[&name, &from, &to]).await? == 1)
}
