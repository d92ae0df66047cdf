//! The operator's price lists. They belong to no tenant; a list never changes once it is there.

use model::Timestamp;

use crate::{Error, Row, Tx};

/// A row of `price_lists`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PriceList {
    /// Counts up from 1.
    pub version: i64,
    /// ISO 4217 code.
    pub currency: String,
    /// From when it counts.
    pub valid_from: Timestamp,
    /// What people should know about it.
    pub note: String,
    /// Its rows as JSON.
    pub body: String,
    /// When it was made.
    pub created_at: Timestamp,
}

/// A row of `price_lists` without its rows, which may be a megabyte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PriceHead {
    /// Counts up from 1.
    pub version: i64,
    /// ISO 4217 code.
    pub currency: String,
    /// From when it counts.
    pub valid_from: Timestamp,
    /// What people should know about it.
    pub note: String,
    /// How many rows it has.
    pub row_count: i64,
    /// When it was made.
    pub created_at: Timestamp,
}

const LIST: &str = "version, currency, valid_from, note, body, created_at";
const HEAD: &str = "version, currency, valid_from, note, row_count, created_at";

fn read(mut row: Row) -> Result<PriceList, Error> {
    Ok(PriceList {
        version: row.get(0)?,
        currency: row.get(1)?,
        valid_from: row.get(2)?,
        note: row.get(3)?,
        body: row.get(4)?,
        created_at: row.get(5)?,
    })
}

fn read_head(mut row: Row) -> Result<PriceHead, Error> {
    Ok(PriceHead {
        version: row.get(0)?,
        currency: row.get(1)?,
        valid_from: row.get(2)?,
        note: row.get(3)?,
        row_count: row.get(4)?,
        created_at: row.get(5)?,
    })
}

/// Adds a list with the next version, which is answered, and the number of its rows. Runs after [`crate::tenants::bump`], so two cannot take the same.
pub async fn insert(tx: &mut Tx, list: &PriceList, row_count: i64) -> Result<i64, Error> {
    let version = newest(tx).await? + 1;
    tx.execute(
        "INSERT INTO price_lists (version, currency, valid_from, note, body, created_at, row_count) VALUES ($1, $2, $3, $4, $5, $6, $7)",
        &[&version, &list.currency, &list.valid_from, &list.note, &list.body, &list.created_at, &row_count],
    )
    .await?;
    Ok(version)
}

/// The highest version; 0 when there is none.
pub async fn newest(tx: &mut Tx) -> Result<i64, Error> {
    let row = tx.row("SELECT COALESCE(MAX(version), 0) FROM price_lists", &[]).await?;
    row.map_or(Ok(0), |mut row| row.get(0))
}

/// Lists before `before` without their rows, newest first.
pub async fn list(tx: &mut Tx, before: i64, limit: i64) -> Result<Vec<PriceHead>, Error> {
    let sql = format!("SELECT {HEAD} FROM price_lists WHERE version < $1 ORDER BY version DESC LIMIT $2");
    tx.rows(&sql, &[&before, &limit]).await?.into_iter().map(read_head).collect()
}

/// The versions of the lists that count at an instant, one for each currency.
pub async fn counting(tx: &mut Tx, at: Timestamp) -> Result<Vec<i64>, Error> {
    let sql = "SELECT version FROM (
            SELECT version, ROW_NUMBER() OVER (PARTITION BY currency ORDER BY valid_from DESC, version DESC) AS place FROM price_lists WHERE valid_from <= $1
        ) AS ranked WHERE place = 1 ORDER BY version";
    tx.rows(sql, &[&at]).await?.into_iter().map(|mut row| row.get(0)).collect()
}

/// The list that counts for a currency at an instant.
pub async fn counting_in(tx: &mut Tx, currency: &str, at: Timestamp) -> Result<Option<PriceList>, Error> {
    let sql = format!(
        "SELECT {LIST} FROM price_lists WHERE currency = $1 AND valid_from <= $2 ORDER BY valid_from DESC, version DESC LIMIT 1"
    );
    tx.row(&sql, &[&currency, &at]).await?.map(read).transpose()
}

/// The lists that are to count for a currency after an instant, without their rows, soonest first. One that another list replaces from the instant it was to count is not among them.
pub async fn coming_in(tx: &mut Tx, currency: &str, at: Timestamp, limit: i64) -> Result<Vec<PriceHead>, Error> {
    let sql = format!(
        "SELECT {HEAD} FROM price_lists WHERE version IN (SELECT MAX(version) FROM price_lists WHERE currency = $1 AND valid_from > $2 GROUP BY valid_from)
         ORDER BY valid_from LIMIT $3"
    );
    tx.rows(&sql, &[&currency, &at, &limit]).await?.into_iter().map(read_head).collect()
}

/// The `limit` lists of each currency that count from the latest instants, the latest first. One that another list replaces from the instant it was to count is not among them.
pub async fn latest_of_each(tx: &mut Tx, limit: i64) -> Result<Vec<PriceList>, Error> {
    let sql = "SELECT version, currency, valid_from, note, body, created_at FROM (
            SELECT version, currency, valid_from, note, body, created_at, ROW_NUMBER() OVER (PARTITION BY currency ORDER BY valid_from DESC) AS place FROM price_lists
                WHERE version IN (SELECT MAX(version) FROM price_lists GROUP BY currency, valid_from)
        ) AS ranked WHERE place <= $1 ORDER BY valid_from DESC, version DESC";
    tx.rows(sql, &[&limit]).await?.into_iter().map(read).collect()
}

/// Instants after `now` from which another list of the currency counts, without this one.
pub async fn ahead(tx: &mut Tx, currency: &str, now: Timestamp, without: Timestamp) -> Result<i64, Error> {
    let sql = "SELECT COUNT(DISTINCT valid_from) FROM price_lists WHERE currency = $1 AND valid_from > $2 AND valid_from <> $3";
    tx.row(sql, &[&currency, &now, &without]).await?.map_or(Ok(0), |mut row| row.get(0))
}

/// One list.
pub async fn find(tx: &mut Tx, version: i64) -> Result<Option<PriceList>, Error> {
    let sql = format!("SELECT {LIST} FROM price_lists WHERE version = $1");
    tx.row(&sql, &[&version]).await?.map(read).transpose()
}

/// Marks every tenant as changed in this version of the configuration: what they pay, and which account is the cheapest, may be other now.
pub async fn touch_tenants(tx: &mut Tx, config_version: i64) -> Result<(), Error> {
    tx.execute("UPDATE tenants SET config_version = $1", &[&config_version]).await.map(drop)
}
