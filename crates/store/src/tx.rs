//! One transaction on either engine, and the few ways to run SQL in it.
//!
//! One SQL text serves both engines. Parameters are `$1`, `$2`, …. A statement over many rows names them as the relation `{given}`:
//! PostgreSQL gets one statement over UNNESTed arrays, SQLite one execution of the prepared statement per row, or per [`RUN`] rows that are inserted.

use std::{collections::HashMap, fmt::Write as _, sync::Arc};

use crate::{
    Companion, Error, Kind, Param, Row, Value,
    postgres::{self, PgConnection},
    sqlite,
};

/// Rows that SQLite inserts with one statement, where there are as many. To begin and end a statement costs as much as a third of a row, and within one the place of the row before is known.
const RUN: usize = 16;

/// A transaction, or a read-only snapshot.
pub struct Tx {
    pub(crate) connection: Connection,
    pub(crate) companion: Option<Companion>,
}

/// Whose rows a transaction could touch before it was widened.
#[must_use = "the transaction stays wide without"]
pub struct Reach(Option<String>);

pub(crate) enum Connection {
    Sqlite { raw: rusqlite::Connection, texts: HashMap<String, Arc<str>> },
    Postgres(PgConnection),
}

/// The differences between the engines' SQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// SQLite.
    Sqlite,
    /// PostgreSQL.
    Postgres,
}

impl Dialect {
    /// Lets several workers take different rows of one queue; empty on SQLite, which has one writer.
    pub const fn skip_locked(self) -> &'static str {
        match self {
            Self::Sqlite => "",
            Self::Postgres => "FOR UPDATE SKIP LOCKED",
        }
    }

    /// Locks the rows that were read until the transaction ends; empty on SQLite, which has one writer.
    pub const fn for_update(self) -> &'static str {
        match self {
            Self::Sqlite => "",
            Self::Postgres => "FOR UPDATE",
        }
    }
}

/// Rows for a statement over `{given}`.
pub struct Given<'a> {
    columns: &'static [(&'static str, Kind)],
    cells: Vec<Value<'a>>,
}

impl<'a> Given<'a> {
    /// Rows with these columns.
    pub fn new(columns: &'static [(&'static str, Kind)]) -> Self {
        Self { columns, cells: Vec::new() }
    }

    /// Adds a row; its values stand in the order of the columns.
    pub fn row<const N: usize>(&mut self, values: [&'a dyn Param; N]) {
        assert_eq!(N, self.columns.len(), "a row has one value for each column");
        for value in values {
            self.cells.push(value.value());
        }
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.cells.len() / self.columns.len()
    }

    /// True without rows.
    pub fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    fn names(&self, form: impl Fn(&str) -> String) -> String {
        self.columns.iter().map(|(name, _)| form(name)).collect::<Vec<_>>().join(", ")
    }

    /// Parameters of so many rows, as `VALUES` takes them on SQLite.
    fn parameters(&self, rows: usize) -> String {
        let columns = self.columns.len();
        let row = |row| (1..=columns).map(|index| format!("${}", row * columns + index)).collect::<Vec<_>>().join(", ");
        (0..rows).map(|index| format!("({})", row(index))).collect::<Vec<_>>().join(", ")
    }

    fn insertion(&self, table: &str, source: &str, suffix: &str) -> String {
        let columns = self.names(|name| name.to_owned());
        format!("INSERT INTO {table} ({columns}) {source} {suffix}")
    }

    /// The relation for PostgreSQL: one array per column.
    fn arrays(&self) -> String {
        let mut text = String::from("UNNEST(");
        for (index, (_, kind)) in self.columns.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            let _ = write!(text, "{comma}${}::{}[]", index + 1, postgres::type_name(*kind));
        }
        let names = self.columns.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
        let _ = write!(text, ") AS given({names})");
        text
    }

    /// The relation for SQLite: one row of parameters.
    fn one_row(&self) -> String {
        let columns = self
            .columns
            .iter()
            .enumerate()
            .map(|(index, (name, _))| format!("${} AS {name}", index + 1))
            .collect::<Vec<_>>()
            .join(", ");
        format!("(SELECT {columns}) AS given")
    }
}

impl Tx {
    /// What was given to come along ([`crate::Db::accompany`]); `None` when nothing was, or another kind of thing.
    pub fn companion<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        Arc::clone(self.companion.as_ref()?).downcast().ok()
    }

    /// Lets the transaction touch everybody's rows, whosever it was begun for, until [`Tx::narrow`] gets what this answers: for the operator's log, which tells of what was done in a
    /// tenant. SQLite knows no walls.
    pub async fn widen(&mut self) -> Result<Reach, Error> {
        match self.dialect() {
            Dialect::Sqlite => Ok(Reach(None)),
            Dialect::Postgres => {
                let before = self.row("SELECT current_setting('tidings.tenant')", &[]).await?;
                let before = before.map(|mut row| row.get::<String>(0)).transpose()?;
                self.reach(crate::EVERYBODY).await?;
                Ok(Reach(before))
            }
        }
    }

    /// Takes back what [`Tx::widen`] allowed. A transaction that fails meanwhile ends with it.
    pub async fn narrow(&mut self, before: Reach) -> Result<(), Error> {
        match before.0 {
            Some(before) => self.reach(&before).await,
            None => Ok(()),
        }
    }

    async fn reach(&mut self, setting: &str) -> Result<(), Error> {
        self.row("SELECT set_config('tidings.tenant', $1, TRUE)", &[&setting]).await.map(drop)
    }

    /// Which engine this is.
    pub const fn dialect(&self) -> Dialect {
        match self.connection {
            Connection::Sqlite { .. } => Dialect::Sqlite,
            Connection::Postgres(_) => Dialect::Postgres,
        }
    }

    /// Runs a statement and answers its rows.
    pub async fn rows(&mut self, sql: &str, params: &[&dyn Param]) -> Result<Vec<Row>, Error> {
        match &mut self.connection {
            Connection::Sqlite { raw, texts } => {
                let sql = sqlite::text(texts, sql, sqlite::GIVEN, String::new);
                sqlite::rows(raw, &sql, params.iter().map(|param| param.value()))
            }
            Connection::Postgres(connection) => connection.rows(sql, params).await,
        }
    }

    /// Runs a statement and answers its only row, or `None`.
    pub async fn row(&mut self, sql: &str, params: &[&dyn Param]) -> Result<Option<Row>, Error> {
        Ok(self.rows(sql, params).await?.into_iter().next())
    }

    /// Runs a statement and answers how many rows it touched.
    pub async fn execute(&mut self, sql: &str, params: &[&dyn Param]) -> Result<u64, Error> {
        match &mut self.connection {
            Connection::Sqlite { raw, texts } => {
                let sql = sqlite::text(texts, sql, sqlite::GIVEN, String::new);
                sqlite::execute(raw, &sql, params.iter().map(|param| param.value()))
            }
            Connection::Postgres(connection) => connection.execute(sql, params).await,
        }
    }

    /// Inserts the given rows; `suffix` may be an `ON CONFLICT` clause. Answers how many were inserted.
    pub async fn insert_many(&mut self, table: &str, given: &Given<'_>, suffix: &str) -> Result<u64, Error> {
        if given.is_empty() {
            return Ok(0);
        }
        match &mut self.connection {
            Connection::Sqlite { raw, texts } => {
                let (runs, rest) = given.cells.split_at(given.len() / RUN * RUN * given.columns.len());
                let mut inserted = 0;
                for (name, rows, cells) in [("{run}", RUN, runs), (sqlite::GIVEN, 1, rest)] {
                    if cells.is_empty() {
                        continue;
                    }
                    let sql = given.insertion(table, &format!("VALUES {name}"), suffix);
                    let sql = sqlite::text(texts, &sql, name, || given.parameters(rows));
                    inserted += sqlite::execute_many(raw, &sql, cells, rows * given.columns.len())?;
                }
                Ok(inserted)
            }
            Connection::Postgres(connection) => {
                let sql = given.insertion(table, &format!("SELECT * FROM {}", given.arrays()), suffix);
                connection.execute_many(&sql, given.columns, &given.cells).await
            }
        }
    }

    /// Inserts the given rows as [`Tx::insert_many`] does, without an answer: on PostgreSQL they leave with the next statement that has one, or with the commit, and an error
    /// shows there.
    pub async fn insert_many_later(&mut self, table: &str, given: &Given<'_>, suffix: &str) -> Result<(), Error> {
        match self.dialect() {
            Dialect::Sqlite => self.insert_many(table, given, suffix).await.map(drop),
            Dialect::Postgres => {
                let sql = given.insertion(table, &format!("SELECT * FROM {}", given.arrays()), suffix);
                self.execute_many_later(sql, given).await
            }
        }
    }

    /// Updates the rows whose first `keys` given columns match, setting the other given columns. Answers how many were updated.
    pub async fn update_many(&mut self, table: &str, keys: usize, given: &Given<'_>) -> Result<u64, Error> {
        self.execute_many(&self.change(table, keys, given), given).await
    }

    /// Updates rows as [`Tx::update_many`] does, without an answer: see [`Tx::insert_many_later`].
    pub async fn update_many_later(&mut self, table: &str, keys: usize, given: &Given<'_>) -> Result<(), Error> {
        self.execute_many_later(self.change(table, keys, given), given).await
    }

    fn change(&self, table: &str, keys: usize, given: &Given<'_>) -> String {
        let numbered = given.columns.iter().enumerate();
        match self.dialect() {
            Dialect::Sqlite => {
                let pair = |(index, (name, _)): (usize, &(&str, Kind))| format!("{name} = ${}", index + 1);
                let set = numbered.clone().skip(keys).map(pair).collect::<Vec<_>>().join(", ");
                let matching = numbered.take(keys).map(pair).collect::<Vec<_>>().join(" AND ");
                format!("UPDATE {table} SET {set} WHERE {matching}")
            }
            Dialect::Postgres => {
                let set = numbered
                    .clone()
                    .skip(keys)
                    .map(|(_, (name, _))| format!("{name} = given.{name}"))
                    .collect::<Vec<_>>()
                    .join(", ");
                let matching = numbered
                    .take(keys)
                    .map(|(_, (name, _))| format!("{table}.{name} = given.{name}"))
                    .collect::<Vec<_>>()
                    .join(" AND ");
                format!("UPDATE {table} SET {set} FROM {} WHERE {matching}", given.arrays())
            }
        }
    }

    /// Deletes the rows that match one given row in all its columns. Answers how many were deleted.
    pub async fn delete_many(&mut self, table: &str, given: &Given<'_>) -> Result<u64, Error> {
        let matching = self.matching(given);
        self.execute_many(&format!("DELETE FROM {table} WHERE {matching}"), given).await
    }

    /// Deletes rows as [`Tx::delete_many`] does, without an answer: see [`Tx::insert_many_later`].
    pub async fn delete_many_later(&mut self, table: &str, given: &Given<'_>) -> Result<(), Error> {
        let matching = self.matching(given);
        self.execute_many_later(format!("DELETE FROM {table} WHERE {matching}"), given).await
    }

    /// Runs `SELECT …` or `DELETE …`, completed by `WHERE` for the rows that match one given row in all its columns, and `suffix`.
    /// The answer has no particular order.
    pub async fn match_many(&mut self, statement: &str, given: &Given<'_>, suffix: &str) -> Result<Vec<Row>, Error> {
        let matching = self.matching(given);
        self.rows_many(&format!("{statement} WHERE {matching} {suffix}"), given).await
    }

    fn matching(&self, given: &Given<'_>) -> String {
        match self.dialect() {
            Dialect::Sqlite => given
                .columns
                .iter()
                .enumerate()
                .map(|(index, (name, _))| format!("{name} = ${}", index + 1))
                .collect::<Vec<_>>()
                .join(" AND "),
            Dialect::Postgres => {
                let names = given.names(|name| name.to_owned());
                format!("({names}) IN (SELECT {names} FROM {})", given.arrays())
            }
        }
    }

    /// Runs a statement over `{given}` and answers how many rows it touched.
    pub async fn execute_many(&mut self, sql: &str, given: &Given<'_>) -> Result<u64, Error> {
        if given.is_empty() {
            return Ok(0);
        }
        match &mut self.connection {
            Connection::Sqlite { raw, texts } => {
                let sql = sqlite::text(texts, sql, sqlite::GIVEN, || given.one_row());
                sqlite::execute_many(raw, &sql, &given.cells, given.columns.len())
            }
            Connection::Postgres(connection) => {
                connection.execute_many(&sql.replace("{given}", &given.arrays()), given.columns, &given.cells).await
            }
        }
    }

    async fn execute_many_later(&mut self, sql: String, given: &Given<'_>) -> Result<(), Error> {
        if given.is_empty() {
            return Ok(());
        }
        match &mut self.connection {
            Connection::Sqlite { .. } => self.execute_many(&sql, given).await.map(drop),
            Connection::Postgres(connection) => connection.execute_many_later(sql, given.columns, &given.cells).await,
        }
    }

    /// Runs a statement over `{given}` and answers all rows, in no particular order.
    pub async fn rows_many(&mut self, sql: &str, given: &Given<'_>) -> Result<Vec<Row>, Error> {
        if given.is_empty() {
            return Ok(Vec::new());
        }
        match &mut self.connection {
            Connection::Sqlite { raw, texts } => {
                let sql = sqlite::text(texts, sql, sqlite::GIVEN, || given.one_row());
                sqlite::rows_many(raw, &sql, &given.cells, given.columns.len())
            }
            Connection::Postgres(connection) => {
                connection.rows_many(&sql.replace("{given}", &given.arrays()), given.columns, &given.cells).await
            }
        }
    }

    /// Runs several statements without parameters or answers: for migrations and upkeep.
    pub(crate) async fn script(&mut self, sql: &str) -> Result<(), Error> {
        match &mut self.connection {
            Connection::Sqlite { raw, .. } => Ok(raw.execute_batch(sql)?),
            Connection::Postgres(connection) => connection.script(sql).await,
        }
    }
}
