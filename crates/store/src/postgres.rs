//! PostgreSQL: a pool of connections, one transaction per unit of work, arrays for many rows.
//!
//! Statements whose answer nobody needs wait in [`PgConnection`] until one comes that is waited for, and travel with it: a transaction costs a round trip for each
//! question it asks, not for each statement.

use std::str::FromStr as _;

use bytes::{BufMut as _, BytesMut};
use deadpool_postgres::{ManagerConfig, Object, Pool, RecyclingMethod, Runtime};
use futures_util::{TryStreamExt as _, future::join_all};
use model::{BoxFuture, Timestamp};
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

use crate::{EVERYBODY, Error, Kind, Param, Row, Scope, Tx, Value, tx::Connection, value::Owned};

/// Connections of one process. Group commit makes few connections carry much; PostgreSQL's default allows a hundred in all.
const CONNECTIONS: usize = 16;
/// Time to wait for a free connection before the caller is told to come back.
const WAIT: std::time::Duration = std::time::Duration::from_secs(5);
/// Microseconds from 1970 to PostgreSQL's epoch, 2000-01-01.
const EPOCH_MICROS: i64 = 946_684_800_000_000;

pub(crate) struct Postgres {
    pool: Pool,
}

/// Statements that wait, at most: each keeps its rows in memory until it is sent.
const WAITING_MAX: usize = 24;

/// A connection inside a transaction. Dropped before the end, it is thrown away instead of going back to the pool.
pub(crate) struct PgConnection {
    object: Option<Object>,
    /// Begins the transaction, until that was sent.
    begin: Option<String>,
    /// Statements to be sent before the next one that is waited for, in order.
    waiting: Vec<(String, Vec<Encoded>)>,
}

impl Drop for PgConnection {
    fn drop(&mut self) {
        if let Some(object) = self.object.take() {
            drop(Object::take(object));
        }
    }
}

impl Postgres {
    pub(crate) fn open(url: &str) -> Result<Self, Error> {
        let config = tokio_postgres::Config::from_str(url).map_err(|error| {
            Error::Config(format!(
                "the database URL is not a PostgreSQL URL such as postgres://user:password@host/database: {error}"
            ))
        })?;
        let manager = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = deadpool_postgres::Manager::from_config(config, tokio_postgres::NoTls, manager);
        let pool = Pool::builder(manager)
            .max_size(CONNECTIONS)
            .wait_timeout(Some(WAIT))
            .create_timeout(Some(WAIT))
            .recycle_timeout(Some(WAIT))
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|error| Error::Config(error.to_string()))?;
        Ok(Self { pool })
    }

    pub(crate) async fn write<T, E>(
        &self,
        scope: Scope,
        work: impl for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<T, E>> + Send,
    ) -> Result<T, E>
    where
        E: From<Error>,
    {
        self.transaction("", scope, work).await
    }

    pub(crate) async fn read<T, E>(
        &self,
        scope: Scope,
        work: impl for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<T, E>> + Send,
    ) -> Result<T, E>
    where
        E: From<Error>,
    {
        self.transaction("ISOLATION LEVEL REPEATABLE READ READ ONLY", scope, work).await
    }

    async fn transaction<T, E>(
        &self,
        mode: &str,
        scope: Scope,
        work: impl for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<T, E>> + Send,
    ) -> Result<T, E>
    where
        E: From<Error>,
    {
        let object = self.pool.get().await.map_err(|error| Error::Unavailable { detail: error.to_string() })?;
        let tenant = match scope {
            Scope::System => EVERYBODY.to_owned(),
            Scope::Tenant(tenant) => uuid_text(tenant.ulid()),
        };
        let begin = Some(format!("BEGIN {mode}; SET LOCAL tidings.tenant = '{tenant}'"));
        let connection = PgConnection { object: Some(object), begin, waiting: Vec::new() };
        let mut tx = Tx { connection: Connection::Postgres(connection), companion: None };
        let result = work(&mut tx).await;
        let Connection::Postgres(connection) = &mut tx.connection else { unreachable!("made above") };
        let ended = match &result {
            Ok(_) => connection.script("COMMIT").await,
            Err(_) => connection.roll_back().await,
        };
        match (result, ended) {
            // An error of a statement that was sent with the commit makes that a rollback; the connection itself goes on.
            (Ok(_), Err(error)) => Err(error.into()),
            (result, Ok(())) => {
                connection.give_back();
                result
            }
            (result @ Err(_), Err(_)) => result,
        }
    }
}

impl PgConnection {
    fn object(&self) -> &Object {
        self.object.as_ref().expect("the connection is here while the transaction runs")
    }

    /// Lets the connection go back to the pool.
    fn give_back(&mut self) {
        drop(self.object.take());
    }

    /// Undoes what was sent; what was not is forgotten.
    async fn roll_back(&mut self) -> Result<(), Error> {
        self.waiting.clear();
        if self.begin.take().is_some() {
            return Ok(());
        }
        Ok(self.object().batch_execute("ROLLBACK").await?)
    }

    /// Sends what waits, in order, and `last` after it, and waits for all of them: one round trip. Once a statement fails PostgreSQL refuses those after it, so the first
    /// error is the one that says why.
    async fn send<T>(&mut self, last: impl AsyncFnOnce(&Object) -> Result<T, Error>) -> Result<T, Error> {
        let mut statements = Vec::with_capacity(self.waiting.len());
        for (sql, _) in &self.waiting {
            statements.push(self.object().prepare_cached(sql).await?);
        }
        // Taken only now: what comes after an error must still begin the transaction.
        let (begin, waiting) = (self.begin.take(), std::mem::take(&mut self.waiting));
        let object = self.object();
        let begun = async {
            match begin {
                Some(begin) => object.batch_execute(&begin).await,
                None => Ok(()),
            }
        };
        let before = join_all(
            statements.iter().zip(&waiting).map(|(statement, (_, columns))| object.execute_raw(statement, columns)),
        );
        // Polled in this order, so sent in this order.
        let (begun, before, last) = tokio::join!(biased; begun, before, last(object));
        begun?;
        before.into_iter().collect::<Result<Vec<u64>, _>>()?;
        last
    }

    /// Keeps a statement until the next one that is waited for.
    pub(crate) async fn execute_many_later(
        &mut self,
        sql: String,
        columns: &[(&str, Kind)],
        cells: &[Value<'_>],
    ) -> Result<(), Error> {
        if self.waiting.len() >= WAITING_MAX {
            self.send(async |_| Ok(())).await?;
        }
        let encoded: Result<_, EncodeError> = arrays(columns, cells).iter().map(Encoded::new).collect();
        self.waiting.push((sql, encoded.map_err(|error| Error::Other(format!("a value cannot be written: {error}")))?));
        Ok(())
    }

    pub(crate) async fn rows(&mut self, sql: &str, params: &[&dyn Param]) -> Result<Vec<Row>, Error> {
        let values: Vec<_> = params.iter().map(|param| param.value()).collect();
        self.query(sql, &values).await
    }

    pub(crate) async fn rows_many(
        &mut self,
        sql: &str,
        columns: &[(&str, Kind)],
        cells: &[Value<'_>],
    ) -> Result<Vec<Row>, Error> {
        self.query(sql, &arrays(columns, cells)).await
    }

    pub(crate) async fn execute(&mut self, sql: &str, params: &[&dyn Param]) -> Result<u64, Error> {
        let values: Vec<_> = params.iter().map(|param| param.value()).collect();
        self.run(sql, &values).await
    }

    pub(crate) async fn execute_many(
        &mut self,
        sql: &str,
        columns: &[(&str, Kind)],
        cells: &[Value<'_>],
    ) -> Result<u64, Error> {
        self.run(sql, &arrays(columns, cells)).await
    }

    pub(crate) async fn script(&mut self, sql: &str) -> Result<(), Error> {
        self.send(async |object| Ok(object.batch_execute(sql).await?)).await
    }

    async fn query<P: ToSql>(&mut self, sql: &str, params: &[P]) -> Result<Vec<Row>, Error> {
        let statement = self.object().prepare_cached(sql).await?;
        let ask = async |object: &Object| {
            let stream = object.query_raw(&statement, params).await?;
            Ok(stream.try_collect::<Vec<tokio_postgres::Row>>().await?)
        };
        let rows = self.send(ask).await?;
        rows.iter()
            .map(|row| {
                Ok(Row((0..row.len()).map(|column| row.try_get::<_, Owned>(column)).collect::<Result<_, _>>()?))
            })
            .collect()
    }

    async fn run<P: ToSql>(&mut self, sql: &str, params: &[P]) -> Result<u64, Error> {
        let statement = self.object().prepare_cached(sql).await?;
        self.send(async |object| Ok(object.execute_raw(&statement, params).await?)).await
    }
}

/// How PostgreSQL writes a UUID, which the policies compare as text.
fn uuid_text(ulid: u128) -> String {
    let hex = format!("{ulid:032x}");
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// The SQL name of a column kind.
pub(crate) const fn type_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Id => "UUID",
        Kind::Int => "BIGINT",
        Kind::Bool => "BOOLEAN",
        Kind::Text => "TEXT",
        Kind::Json => "JSONB",
        Kind::Bytes => "BYTEA",
        Kind::Time => "TIMESTAMPTZ",
    }
}

const fn wire_type(kind: Kind) -> Type {
    match kind {
        Kind::Id => Type::UUID,
        Kind::Int => Type::INT8,
        Kind::Bool => Type::BOOL,
        Kind::Text => Type::TEXT,
        Kind::Json => Type::JSONB,
        Kind::Bytes => Type::BYTEA,
        Kind::Time => Type::TIMESTAMPTZ,
    }
}

type EncodeError = Box<dyn std::error::Error + Sync + Send>;

impl ToSql for Value<'_> {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, EncodeError> {
        match *self {
            Value::Null => return Ok(IsNull::Yes),
            Value::Bool(flag) => out.put_u8(flag.into()),
            Value::Int(int) if *ty == Type::INT4 => out.put_i32(int.try_into()?),
            Value::Int(int) if *ty == Type::INT2 => out.put_i16(int.try_into()?),
            Value::Int(int) => out.put_i64(int),
            Value::Text(text) => {
                if *ty == Type::JSONB {
                    out.put_u8(1); // the version of the binary form
                }
                out.put_slice(text.as_bytes());
            }
            Value::Bytes(bytes) => out.put_slice(bytes),
            Value::Id(bytes) => out.put_slice(&bytes),
            Value::Time(at) => out.put_i64(at.as_micros().saturating_sub(EPOCH_MICROS)),
        }
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

/// One column of many rows, as an array.
#[derive(Debug)]
struct Array<'a> {
    kind: Kind,
    column: usize,
    columns: usize,
    cells: &'a [Value<'a>],
}

fn arrays<'a>(columns: &[(&str, Kind)], cells: &'a [Value<'a>]) -> Vec<Array<'a>> {
    columns
        .iter()
        .enumerate()
        .map(|(column, (_, kind))| Array { kind: *kind, column, columns: columns.len(), cells })
        .collect()
}

impl ToSql for Array<'_> {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, EncodeError> {
        let ty = wire_type(self.kind);
        let values = || self.cells.iter().skip(self.column).step_by(self.columns);
        out.put_i32(1); // dimensions
        out.put_i32(values().any(|value| *value == Value::Null).into());
        out.put_u32(ty.oid());
        out.put_i32((self.cells.len() / self.columns).try_into()?);
        out.put_i32(1); // first index
        for value in values() {
            let at = out.len();
            out.put_i32(-1);
            if let IsNull::No = value.to_sql(&ty, out)? {
                let length = i32::try_from(out.len() - at - 4)?;
                out[at..at + 4].copy_from_slice(&length.to_be_bytes());
            }
        }
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

/// An array in PostgreSQL's binary form, which outlives the rows it was made from.
#[derive(Debug)]
struct Encoded(BytesMut);

impl Encoded {
    fn new(array: &Array<'_>) -> Result<Self, EncodeError> {
        let mut bytes = BytesMut::new();
        array.to_sql(&Type::UNKNOWN, &mut bytes)?;
        Ok(Self(bytes))
    }
}

impl ToSql for Encoded {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, EncodeError> {
        out.put_slice(&self.0);
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

impl<'a> FromSql<'a> for Owned {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Self, EncodeError> {
        Ok(match *ty {
            Type::INT8 => Self::Int(i64::from_be_bytes(raw.try_into()?)),
            Type::INT4 => Self::Int(i32::from_be_bytes(raw.try_into()?).into()),
            Type::INT2 => Self::Int(i16::from_be_bytes(raw.try_into()?).into()),
            Type::BOOL => Self::Bool(raw == [1]),
            Type::UUID => Self::Id(u128::from_be_bytes(raw.try_into()?)),
            Type::TIMESTAMPTZ => {
                Self::Time(Timestamp::from_micros(i64::from_be_bytes(raw.try_into()?).saturating_add(EPOCH_MICROS)))
            }
            Type::BYTEA => Self::Bytes(raw.to_vec()),
            Type::JSONB => Self::Text(std::str::from_utf8(raw.get(1..).unwrap_or_default())?.to_owned()),
            Type::TEXT | Type::VARCHAR | Type::NAME | Type::JSON => Self::Text(std::str::from_utf8(raw)?.to_owned()),
            ref other => return Err(format!("an answer holds the type {other}, which the schema does not use").into()),
        })
    }

    fn from_sql_null(_: &Type) -> Result<Self, EncodeError> {
        Ok(Self::Null)
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}
