//! Rows that are work: each is taken by one worker until a time, so that several nodes share a table of them and nobody else takes what one died with before that time is over.

use model::Timestamp;

use crate::{Error, Row, Tx, inflight::WorkerId};

/// A table whose rows are leased. It has the columns `tenant_id`, `next_at`, `leased_by` and `lease_until`.
pub(crate) struct Leased {
    /// Its name.
    pub table: &'static str,
    /// Its key.
    pub key: &'static str,
    /// What is read of a row.
    pub columns: &'static str,
}

impl Leased {
    /// Takes rows of any tenants that are there, with something to do that nobody else works on, until `until`: those that are due longest, in no particular order.
    pub(crate) async fn lease(
        &self,
        tx: &mut Tx,
        worker: WorkerId,
        now: Timestamp,
        until: Timestamp,
        limit: i64,
    ) -> Result<Vec<Row>, Error> {
        let lock = tx.dialect().skip_locked();
        let Self { table, key, columns } = self;
        // Chosen once and kept: a subquery with a lock may be run again for each row, and would choose others each time.
        let sql = format!(
            "WITH chosen AS MATERIALIZED (
                SELECT {key} FROM {table} WHERE next_at <= $3 AND (lease_until IS NULL OR lease_until <= $3 OR leased_by = $1)
                    AND tenant_id IN (SELECT id FROM tenants WHERE deleted_at IS NULL)
                ORDER BY next_at, {key} LIMIT $4 {lock})
             UPDATE {table} SET leased_by = $1, lease_until = $2 WHERE ({key}) IN (SELECT {key} FROM chosen) RETURNING {columns}"
        );
        tx.rows(&sql, &[&worker, &until, &now, &limit]).await
    }
}
