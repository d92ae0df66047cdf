//! PostgreSQL: a pool of connections, one transaction per unit of work, arrays for many rows.

use std::str::FromStr as _;

use bytes::{BufMut as _, BytesMut};
use deadpool_postgres::{ManagerConfig, Object, Pool, RecyclingMethod, Runtime};
use futures_util::TryStreamExt as _;
use model::{BoxFuture, Timestamp};
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

use crate::{Error, Kind, Param, Row, Scope, Tx, Value, tx::Connection, value::Owned};

/// Connections of one process. Group commit makes few connections carry much; PostgreSQL's default allows a hundred in all.
const CONNECTIONS: usize = 16;
/// Time to wait for a free connection before the caller is told to come back.
const WAIT: std::time::Duration = std::time::Duration::from_secs(5);
/// Microseconds from 1970 to PostgreSQL's epoch, 2000-01-01.
const EPOCH_MICROS: i64 = 946_684_800_000_000;

pub(crate) struct Postgres {
    pool: Pool,
}

/// A connection inside a transaction. Dropped before the end, it is thrown away instead of going back to the pool.
pub(crate) struct PgConnection(Option<Object>);

impl Drop for PgConnection {
    fn drop(&mut self) {
        if let Some(object) = self.0.take() {
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
            Scope::System => "*".to_owned(),
            Scope::Tenant(tenant) => uuid_text(tenant.ulid()),
        };
        object
            .batch_execute(&format!("BEGIN {mode}; SET LOCAL tidings.tenant = '{tenant}'"))
            .await
            .map_err(Error::from)?;
        let mut tx = Tx { connection: Connection::Postgres(PgConnection(Some(object))) };
        let result = work(&mut tx).await;
        let Connection::Postgres(connection) = &mut tx.connection else { unreachable!("made above") };
        let object = connection.0.take().expect("only this function takes the connection out");
        let ended = object.batch_execute(if result.is_ok() { "COMMIT" } else { "ROLLBACK" }).await.map_err(Error::from);
        match (result, ended) {
            (Ok(_), Err(error)) => {
                drop(Object::take(object));
                Err(error.into())
            }
            (result, Ok(())) => result,
            (result @ Err(_), Err(_)) => {
                drop(Object::take(object));
                result
            }
        }
    }
}

impl PgConnection {
    fn object(&self) -> &Object {
        self.0.as_ref().expect("the connection is here while the transaction runs")
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
        Ok(self.object().batch_execute(sql).await?)
    }

    async fn query<P: ToSql>(&self, sql: &str, params: &[P]) -> Result<Vec<Row>, Error> {
        let statement = self.object().prepare_cached(sql).await?;
        let stream = self.object().query_raw(&statement, params).await?;
        let rows: Vec<tokio_postgres::Row> = stream.try_collect().await?;
        rows.iter()
            .map(|row| {
                Ok(Row((0..row.len()).map(|column| row.try_get::<_, Owned>(column)).collect::<Result<_, _>>()?))
            })
            .collect()
    }

    async fn run<P: ToSql>(&self, sql: &str, params: &[P]) -> Result<u64, Error> {
        let statement = self.object().prepare_cached(sql).await?;
        Ok(self.object().execute_raw(&statement, params).await?)
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
