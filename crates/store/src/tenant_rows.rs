//! Every row of one tenant, whatever the table: what is removed when the tenant goes.
//!
//! The tables are those the migrations name, so a table that is added later is emptied too.

use model::TenantId;

use crate::{Dialect, Error, Tx};

/// Removes up to `limit` of the tenant's rows from one of the [tables](crate::tenant_tables) and answers how many.
pub async fn remove_some(tx: &mut Tx, tenant: TenantId, table: &'static str, limit: i64) -> Result<u64, Error> {
    let sql = match tx.dialect() {
        Dialect::Postgres => format!(
            "DELETE FROM {table} WHERE ctid = ANY(ARRAY(SELECT ctid FROM {table} WHERE tenant_id = $1 LIMIT $2))"
        ),
        Dialect::Sqlite => {
            let key = key(tx, table).await?;
            format!("DELETE FROM {table} WHERE ({key}) IN (SELECT {key} FROM {table} WHERE tenant_id = $1 LIMIT $2)")
        }
    };
    tx.execute(&sql, &[&tenant, &limit]).await
}

/// How many rows the tenant has in one of the [tables](crate::tenant_tables).
pub async fn count(tx: &mut Tx, tenant: TenantId, table: &'static str) -> Result<i64, Error> {
    let sql = format!("SELECT COUNT(*) FROM {table} WHERE tenant_id = $1");
    tx.row(&sql, &[&tenant]).await?.map_or(Ok(0), |mut row| row.get(0))
}

/// The columns of a table's primary key, on SQLite, whose clustered tables have no other name for a row.
async fn key(tx: &mut Tx, table: &'static str) -> Result<String, Error> {
    let rows = tx.rows("SELECT name FROM pragma_table_info($1) WHERE pk > 0 ORDER BY pk", &[&table]).await?;
    let names: Vec<String> = rows.into_iter().map(|mut row| row.get(0)).collect::<Result<_, _>>()?;
    if names.is_empty() {
        return Err(Error::Other(format!("the table {table} has no primary key")));
    }
    Ok(names.join(", "))
}
